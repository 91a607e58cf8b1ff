/* fix_plan.c - what is missing for a group to read the energy counters of the CPU: looked up below a root folder, changed by
 * fix_apply.c. Counters are never made readable for everybody: their steps tell what other programs compute (CVE-2020-8694). */
#include "cli/fix.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define TABLE_MAX  ((size_t)1 << 20)
#define GID_MOST   999 /* of system groups, as groupadd counts: downwards */
#define GID_LEAST  100
#define GROUP_READ 0440u
#define RULES      "/etc/udev/rules.d/70-joulet.rules"
#define ZONES      "/sys/class/powercap"
#define PERF       "/sys/bus/event_source/devices/power/type"
#define MSRS       "/dev/cpu"

static const char powercap_rule[] =
    "# written by joulet doctor --fix: the group " FIX_GROUP " may read the energy counters of the CPU, and nobody else\n"
    "# (CVE-2020-8694). Removed by joulet doctor --undo.\n"
    "SUBSYSTEM==\"powercap\", ACTION==\"add|change\", KERNEL==\"intel-rapl*:*\", "
    "RUN+=\"/bin/chgrp " FIX_GROUP " /sys%p/energy_uj\", RUN+=\"/bin/chmod 0440 /sys%p/energy_uj\"\n";
static const char msr_rule[] = "SUBSYSTEM==\"msr\", GROUP=\"" FIX_GROUP "\", MODE=\"0440\"\n";

char *fix_path(const char *root, const char *path)
{
    return jl_strf("%s%s", root, path);
}

/* As realpath, also of what is not there yet. */
static char *followed(const char *full)
{
    char *path = jl_strdup(full), *real = NULL;
    size_t cut = path ? strlen(path) : 0;
    while (path && cut > 0 && !(real = realpath(path, NULL))) {
        while (cut > 0 && path[--cut] != '/')
            ;
        path[cut] = '\0';
    }
    char *out = path ? jl_strf("%s%s", real && strcmp(real, "/") != 0 ? real : "", full + cut) : NULL;
    free(real);
    free(path);
    return out;
}

char *fix_inside(const char *root, const char *path, struct joulet_error *err)
{
    char *full = fix_path(root, path), *to = full ? followed(full) : NULL, *top = *root ? realpath(root, NULL) : NULL;
    free(full);
    bool inside = to && (!*root || (top && jl_starts(to, top) && (to[strlen(top)] == '/' || !strcmp(top, "/"))));
    free(top);
    if (inside)
        return to;
    if (to)
        jl_fail(err, JOULET_PERMISSION, "%s%s leads out of that folder, to %s: make the link one that stays inside", root, path,
                to);
    else
        jl_fail(err, JOULET_MEMORY, "out of memory");
    free(to);
    return NULL;
}

static bool exists(const char *root, const char *path)
{
    char *full = fix_path(root, path);
    bool yes = full && access(full, F_OK) == 0;
    free(full);
    return yes;
}

/* A whole table; "" when there is none. */
static char *read_table(const char *root, const char *path)
{
    struct jl_buf b;
    char *full = fix_path(root, path);
    jl_buf_init(&b, TABLE_MAX);
    if (!full || jl_read_file(full, &b, NULL) != JOULET_OK)
        jl_buf_clear(&b);
    jl_buf_str(&b, "");
    free(full);
    return jl_buf_take(&b);
}

static struct fix_step *add(struct fix_plan *p, enum fix_kind kind, const char *path, char *text)
{
    struct fix_step *grown = realloc(p->steps, (p->n + 1) * sizeof *grown);
    if (!grown || !text) {
        p->steps = grown ? grown : p->steps;
        free(text);
        return NULL;
    }
    p->steps = grown;
    grown[p->n] = (struct fix_step){.kind = kind, .path = jl_strdup(path), .text = text};
    return &grown[p->n++];
}

void fix_plan_release(struct fix_plan *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->steps[i].path);
        free(p->steps[i].text);
    }
    free(p->steps);
    *p = (struct fix_plan){0};
}

/* ---- the group ------------------------------------------------------------------------------------------------------- */

static bool line_of(const char *table, const char *name, int64_t gid, int64_t *found)
{
    for (const char *line = table; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t n = strcspn(line, ":\n");
        const char *second = line[n] == ':' ? strchr(line + n + 1, ':') : NULL;
        char number[24];
        int64_t v;
        if (!second)
            continue;
        snprintf(number, sizeof number, "%.*s", (int)strcspn(second + 1, ":\n"), second + 1);
        if (!jl_parse_i64(number, &v))
            continue;
        if (name ? strlen(name) == n && !strncmp(line, name, n) : v == gid) {
            *found = v;
            return true;
        }
    }
    return false;
}

int64_t fix_group_id(const char *table, const char *name)
{
    int64_t id = -1;
    return line_of(table, name, -1, &id) ? id : -1;
}

/* Numbers that somebody has as user or as first group must not become ours: he would read the counters. */
static bool in_passwd(const char *table, int64_t id)
{
    for (const char *line = table; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        long long uid, gid;
        if (sscanf(line, "%*[^:\n]:%*[^:\n]:%lld:%lld", &uid, &gid) == 2 && (uid == id || gid == id))
            return true;
    }
    return false;
}

static bool has_member(const char *table, const char *user)
{
    const char *line = table;
    for (; line && strncmp(line, FIX_GROUP ":", sizeof FIX_GROUP) != 0; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        ;
    char *members = line ? jl_strf("%.*s", (int)strcspn(line, "\n"), line) : NULL, *last = members ? strrchr(members, ':') : NULL;
    bool yes = last && jl_word_in(last + 1, ',', user);
    free(members);
    return yes;
}

static enum joulet_status plan_group(struct fix_plan *p, const char *user, struct joulet_error *err)
{
    char *groups = read_table(p->root, "/etc/group"), *users = read_table(p->root, "/etc/passwd");
    int64_t id = groups ? fix_group_id(groups, FIX_GROUP) : -1, other;
    bool there = id >= 0;
    for (id = there ? id : GID_MOST; !there && id >= GID_LEAST && (line_of(groups, NULL, id, &other) || in_passwd(users, id));
         id--)
        ;
    p->member = user && (!there || has_member(groups, user));
    free(groups);
    free(users);
    if (id < GID_LEAST && !there)
        return jl_fail(err, JOULET_LIMIT,
                       "/etc/group has no free number for the group joulet: make the group with groupadd joulet");
    p->gid = (uint32_t)id;
    struct fix_step *s = add(p, FIX_LINE, "/etc/group", jl_strf(FIX_GROUP ":x:%lld:%s", (long long)id, user ? user : ""));
    if (s)
        s->in_place = there;
    if (s && exists(p->root, "/etc/gshadow")) {
        s = add(p, FIX_LINE, "/etc/gshadow", jl_strf(FIX_GROUP ":!::%s", user ? user : ""));
        if (s)
            s->in_place = there;
    }
    return s ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static enum joulet_status plan_rules(struct fix_plan *p, bool zones, bool msr, struct joulet_error *err)
{
    if (!zones && !msr)
        return JOULET_OK;
    struct fix_step *s = add(p, FIX_FILE, RULES, jl_strf("%s%s", zones ? powercap_rule : "", msr ? msr_rule : ""));
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    char *now = read_table(p->root, RULES);
    s->in_place = now && !strcmp(now, s->text);
    bool ours = !now || !*now || s->in_place || strstr(now, "joulet doctor --fix");
    free(now);
    if (exists(p->root, RULES) && !s->in_place)
        return jl_fail(err, JOULET_BUSY,
                       ours ? "%s%s is from another joulet doctor --fix: take that back first with `joulet doctor --undo`"
                            : "%s%s is there already and not joulet's: move it away, then try again",
                       p->root, RULES);
    return JOULET_OK;
}

/* Group and mode at once: the rule speaks from the next start on. */
static bool plan_mode(struct fix_plan *p, const char *path)
{
    struct stat st;
    char *full = fix_path(p->root, path);
    bool there = full && stat(full, &st) == 0 && S_ISDIR(st.st_mode) == 0;
    free(full);
    if (!there)
        return false;
    struct fix_step *s = add(p, FIX_MODE, path, jl_strdup(""));
    if (!s)
        return false;
    s->mode = GROUP_READ;
    s->in_place = st.st_gid == p->gid && (st.st_mode & 07777) == GROUP_READ;
    return true;
}

static size_t plan_each(struct fix_plan *p, const char *dir, const char *file, bool (*wanted)(const char *))
{
    char **names, *full = fix_path(p->root, dir);
    size_t n, found = 0;
    if (full && jl_list_dir(full, &names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++) {
            char *path = wanted(names[i]) ? jl_strf("%s/%s/%s", dir, names[i], file) : NULL;
            found += path && plan_mode(p, path);
            free(path);
        }
        jl_free_list(names, n);
    }
    free(full);
    return found;
}

static bool is_zone(const char *name)
{
    return jl_starts(name, "intel-rapl") && strchr(name, ':') && !jl_starts(name, "intel-rapl-mmio");
}

static bool is_cpu(const char *name)
{
    return name[0] >= '0' && name[0] <= '9';
}

/* ---- capabilities --------------------------------------------------------------------------------------------------- */

/* The installed program: of the machine the running one. */
static char *program_of(const char *root)
{
    char *dir = *root ? jl_strdup("/usr/bin") : jl_program_dir(), *path = dir ? jl_strf("%s/joulet", dir) : NULL;
    free(dir);
    return path;
}

/* struct vfs_cap_data of revisions 2 and 3: little-endian words. */
uint64_t fix_capabilities(const char *path)
{
    uint32_t w[6] = {0};
    ssize_t n = getxattr(path, "security.capability", w, sizeof w);
    bool effective = n >= 20 && (le32toh(w[0]) & 1);
    return effective ? le32toh(w[1]) | (uint64_t)le32toh(w[3]) << 32 : 0;
}

/* perf shows the same counters with one narrow right, where powercap has none. Only the group may run the program then: it would
 * read the counters for everybody otherwise. */
static bool plan_capability(struct fix_plan *p, bool perf, bool msr)
{
    struct stat st;
    char *path = program_of(p->root), *full = path ? fix_path(p->root, path) : NULL;
    bool there = full && stat(full, &st) == 0 && S_ISREG(st.st_mode), planned = false;
    if (there && (perf || msr)) {
        p->capabilities = (perf ? 1ull << 38 : 0) | (msr ? 1ull << 17 : 0);
        struct fix_step *s = add(p, FIX_CAPABILITY, path,
                                 jl_strdup(perf && msr ? "cap_perfmon,cap_sys_rawio=ep"
                                           : perf      ? "cap_perfmon=ep"
                                                       : "cap_sys_rawio=ep"));
        if (s) {
            s->mode = 0750;
            s->in_place = st.st_gid == p->gid && (st.st_mode & 07777) == 0750 && fix_capabilities(full) == p->capabilities;
        }
        planned = s != NULL;
    }
    free(full);
    free(path);
    return planned;
}

static enum joulet_status all_inside(const struct fix_plan *p, struct joulet_error *err)
{
    char *at = fix_inside(p->root, FIX_MANIFEST, err);
    for (size_t i = 0; at && i < p->n; i++) {
        free(at);
        at = fix_inside(p->root, p->steps[i].path, err);
    }
    free(at);
    return at ? JOULET_OK : err->status;
}

static enum joulet_status library_found(struct joulet_error *err)
{
    char folder[4096];
    if (fix_library_found(folder, sizeof folder))
        return JOULET_OK;
    return jl_fail(err, JOULET_UNSUPPORTED,
                   "with capabilities joulet would not find its library in %.300s: install joulet for that folder (cmake "
                   "--install-prefix), or name the folder in /etc/ld.so.conf.d and run ldconfig",
                   folder);
}

enum joulet_status fix_plan_make(struct fix_plan *p, const char *root, const char *user, bool msr, struct joulet_error *err)
{
    *p = (struct fix_plan){.root = root};
    enum joulet_status st = plan_group(p, user, err);
    size_t zones = st == JOULET_OK ? plan_each(p, ZONES, "energy_uj", is_zone) : 0;
    size_t msrs = st == JOULET_OK && msr ? plan_each(p, MSRS, "msr", is_cpu) : 0;
    if (st == JOULET_OK)
        st = plan_rules(p, zones > 0, msrs > 0, err);
    bool perf = st == JOULET_OK && !zones && exists(root, PERF);
    if (perf || msrs)
        perf = plan_capability(p, perf, msrs > 0);
    p->registers = exists(root, MSRS "/0/msr");
    p->counters = zones > 0 || msrs > 0 || perf;
    for (size_t i = 0; i < p->n; i++)
        p->to_do += !p->steps[i].in_place;
    if (st == JOULET_OK)
        st = all_inside(p, err);
    if (st == JOULET_OK && p->capabilities && !*root)
        st = library_found(err);
    if (st != JOULET_OK)
        fix_plan_release(p);
    return st;
}
