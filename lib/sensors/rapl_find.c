/* rapl_find.c - looks for RAPL zones below class/powercap and tells what kind of machine they belong to.
 * Zones are known by the content of `name`, never by number: numbering follows probe order. */
#include "lib/sensors/rapl_find.h"
#include "lib/sensors/sysfile.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct rapl_found *find_zone(struct rapl_search *s, const struct rapl_folder *f)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct rapl_folder *have = &s->zones[i].folder;
        if (have->mmio == f->mmio && have->top == f->top && have->sub == f->sub)
            return &s->zones[i];
    }
    return NULL;
}

static struct rapl_found *top_of(struct rapl_search *s, const struct rapl_found *z)
{
    return find_zone(s, &(struct rapl_folder){.mmio = z->folder.mmio, .top = z->folder.top, .sub = -1});
}

/* false when out of memory. A name that cannot be read may have been a package: that is noted. */
static bool add_zone(struct rapl_search *s, const char *dir, const char *name)
{
    struct rapl_folder folder;
    char text[64];
    if (!rapl_parse_folder(name, &folder) || find_zone(s, &folder) || s->n == RAPL_ZONES_MAX)
        return true;
    struct rapl_found *z = &s->zones[s->n];
    *z = (struct rapl_found){.folder = folder, .path = jl_strf("%s/%s", dir, name)};
    char *file = jl_strf("%s/%s/name", dir, name);
    bool memory = z->path && file;
    enum joulet_status status = memory ? jl_read_text(file, text, sizeof(text), NULL) : JOULET_MEMORY;
    bool known = status == JOULET_OK && rapl_parse_name(text, &z->name);
    if (status == JOULET_IO)
        sysfile_trouble_note(file, EIO);
    jl_trace("sensor", "rapl: %s/%s %s", dir, name, known ? text : "is no zone that is known");
    free(file);
    if (known)
        s->n++;
    else
        free(z->path);
    return memory;
}

/* The class folder of a kernel lists all zones side by side; a copy of the device tree has inner zones only inside outer ones. */
static enum joulet_status list_zones(struct rapl_search *s, const char *dir, struct joulet_error *err)
{
    char **names = NULL;
    size_t n = 0;
    enum joulet_status status = sysfile_list(dir, &names, &n, err);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++)
        ok = add_zone(s, dir, names[i]);
    jl_free_list(names, n);
    return ok ? status : jl_fail(err, JOULET_MEMORY, "out of memory while looking for RAPL zones");
}

static enum joulet_status search_zones(struct rapl_search *s, struct joulet_error *err)
{
    char *dir = jl_strf("%s/class/powercap", jl_sysfs_root());
    if (!dir)
        return jl_fail(err, JOULET_MEMORY, "out of memory while looking for RAPL zones");
    enum joulet_status status = list_zones(s, dir, err);
    free(dir);
    for (size_t i = 0, n = s->n; i < n && status != JOULET_MEMORY; i++)
        if (s->zones[i].folder.sub < 0 && list_zones(s, s->zones[i].path, NULL) == JOULET_MEMORY)
            status = jl_fail(err, JOULET_MEMORY, "out of memory while looking for RAPL zones");
    return status;
}

static bool same_name(const struct rapl_found *a, const struct rapl_found *b)
{
    return a->name.kind == b->name.kind && a->name.socket == b->name.socket && a->name.die == b->name.die;
}

static bool has_twin(const struct rapl_search *s, const struct rapl_found *top, bool mmio)
{
    for (size_t i = 0; i < s->n; i++)
        if (s->zones[i].folder.mmio == mmio && s->zones[i].folder.sub < 0 && same_name(&s->zones[i], top))
            return true;
    return false;
}

/* Inner zones take socket and die from the zone that holds them; the twins of what is there already are marked. */
static void settle_zones(struct rapl_search *s)
{
    for (size_t i = 0; i < s->n; i++) {
        struct rapl_found *z = &s->zones[i], *top = top_of(s, z);
        if (top && top != z) {
            z->name.socket = top->name.socket;
            z->name.die = top->name.die;
        }
        s->many_sockets |= z->name.socket > 0;
    }
    for (size_t i = 0; i < s->n; i++) {
        struct rapl_found *z = &s->zones[i], *top = top_of(s, z);
        z->duplicate = z->folder.mmio && top && has_twin(s, top, false);
    }
}

uint64_t rapl_read_number(const char *path, const char *file)
{
    char text[64], *full = jl_strf("%s/%s", path, file);
    uint64_t v = 0;
    if (!full || jl_read_text(full, text, sizeof(text), NULL) != JOULET_OK || !rapl_parse_digits(text, strlen(text), &v))
        v = 0;
    free(full);
    return v;
}

/* The processor's own words count only when they come from the machine whose zones these are. */
static void know_processor(struct rapl_search *s)
{
    static const char *const client[] = {"Core(TM)", "Pentium", "Celeron", "Atom"};
    char vendor[64] = "";
    bool same = (strcmp(jl_sysfs_root(), "/sys") == 0) == (strcmp(jl_procfs_root(), "/proc") == 0);
    if (same && jl_cpuinfo("vendor_id", vendor, sizeof(vendor))) {
        jl_cpuinfo("model name", s->cpu, sizeof(s->cpu));
        s->amd = strcmp(vendor, "AuthenticAMD") == 0 || strcmp(vendor, "HygonGenuine") == 0;
        for (size_t i = 0; i < JL_COUNT(client); i++)
            s->client_name |= strstr(s->cpu, client[i]) && !strstr(s->cpu, "Xeon");
        return;
    }
    for (size_t i = 0; i < s->n; i++) /* AMD counts packages in 2^-16 J, Intel in 2^-14 J */
        if (s->zones[i].name.kind == RAPL_PACKAGE)
            s->amd |= rapl_quantum_j(rapl_read_number(s->zones[i].path, "max_energy_range_uj")) == 0x1p-16;
}

bool rapl_is_client(const struct rapl_search *s, const struct rapl_found *dram)
{
    if (s->many_sockets)
        return false;
    for (size_t i = 0; i < s->n; i++)
        if (s->zones[i].name.kind == RAPL_UNCORE && s->zones[i].name.socket == dram->name.socket)
            return true;
    struct rapl_found package = {.name = {RAPL_PACKAGE, dram->name.socket, dram->name.die}};
    return (has_twin(s, &package, true) && has_twin(s, &package, false)) || s->client_name;
}

/* By socket, die and kind, the platform last, whatever the order on disk was. */
static int by_place(const void *a, const void *b)
{
    const struct rapl_found *x = a, *y = b;
    int px = x->name.kind == RAPL_PSYS, py = y->name.kind == RAPL_PSYS;
    if (px != py)
        return px - py;
    if (x->name.socket != y->name.socket)
        return x->name.socket - y->name.socket;
    if (x->name.die != y->name.die)
        return x->name.die - y->name.die;
    return (int)x->name.kind - (int)y->name.kind;
}

bool rapl_is_filtered(const struct rapl_search *s)
{
    char flags[4096];
    if (s->amd || !s->cpu[0] || !jl_cpuinfo("flags", flags, sizeof(flags)))
        return false;
    return jl_word_in(flags, ' ', "sgx");
}

void rapl_search_close(struct rapl_search *s)
{
    for (size_t i = 0; s && i < s->n; i++)
        free(s->zones[i].path);
    free(s);
}

struct rapl_search *rapl_search_open(struct joulet_error *err)
{
    struct rapl_search *s = calloc(1, sizeof(*s));
    enum joulet_status status =
        s ? search_zones(s, err) : jl_fail(err, JOULET_MEMORY, "out of memory while looking for RAPL zones");
    if (status != JOULET_OK && status != JOULET_NOT_FOUND) { /* no powercap: another kind of processor, a virtual machine */
        rapl_search_close(s);
        return NULL;
    }
    settle_zones(s);
    know_processor(s);
    qsort(s->zones, s->n, sizeof(s->zones[0]), by_place);
    return s;
}
