/* The models of AMD's cards and of Apple's powermetrics (docs/method.md 1.1), through the readers that read real ones, in virtual
 * time: what stands in the files is the model's, and what the meter is told is the model's too, and the truth behind it. */
#include "lib/sensors/amdgpu.h"
#include "lib/sensors/powermetrics.h"
#include "lib/sensors/sim_device.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SEED   11
#define STEP_J 0x1p-16

/* 60 W, 300 W from 2 s on, 90 W from 5 s on; *user of it, NULL: all. */
static double energy(void *user, double t)
{
    double part = user ? *(double *)user : 1;
    return part * (t < 2 ? 60 * t : t < 5 ? 120 + 300 * (t - 2) : 1020 + 90 * (t - 5));
}

static struct sim_device device_of(const char *preset, void *part)
{
    struct sim_device d;
    struct sim_model m;
    sim_preset_draw(sim_preset_find(preset), SEED, &m);
    m.read_s = 0;
    sim_device_init(&d, &m, energy, part, SEED);
    return d;
}

/* ---- AMD ---------------------------------------------------------------------------------------------------------------- */

#define TABLE "sys/devices/pci0000:00/0000:00:01.1/0000:03:00.0/gpu_metrics"
#define POWER "sys/class/hwmon/hwmon4/power1_average"

/* 1.3: the counter has 32 bits, and restarts on the way. 1.8: 64 bits, and the table's own power when hwmon shows none. */
static const struct card_row {
    unsigned content;
    size_t power_at; /* in the table */
    bool hwmon, restarts;
} cards[] = {{3, 22, true, true}, {8, 10, true, false}, {8, 10, false, false}};

struct card {
    struct machine m;
    const struct card_row *row;
    struct sim_device counter, power;
    struct sim_update first; /* of the counter: the origin */
    int64_t stamp_lo_ns, stamp_hi_ns;
};

static void put(uint8_t *bytes, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        bytes[i] = (uint8_t)(v >> (8 * i));
}

/* As if that long ago by the driver's clock; between which times that is by ours. */
static uint64_t stamp(struct card *c, double age_s)
{
    struct timespec boot;
    c->stamp_lo_ns = jl_mono_ns() - jl_ns(age_s);
    assert_int_equal(clock_gettime(CLOCK_BOOTTIME, &boot), 0);
    c->stamp_hi_ns = jl_mono_ns() - jl_ns(age_s);
    return (uint64_t)((int64_t)boot.tv_sec * JL_NS_PER_S + boot.tv_nsec - jl_ns(age_s));
}

/* The files as they are at that time; what the two devices show. */
static void show_card(struct card *c, double t, struct sim_update *counter, struct sim_update *power)
{
    uint8_t bytes[120];
    struct sim_read e, p;
    sim_device_read(&c->counter, t, &e);
    sim_device_read(&c->power, t, &p);
    memset(bytes, 0xff, sizeof(bytes));
    put(bytes, sizeof(bytes), 2);
    put(bytes + 2, 1, 1);
    put(bytes + 3, c->row->content, 1);
    put(bytes + 24, (uint64_t)llround((double)e.u.raw * 1e-6 / STEP_J), 8);
    put(bytes + 32, stamp(c, t - e.u.own_s), 8);
    if (c->row->hwmon)
        machine_write(&c->m, POWER, "%llu\n", (unsigned long long)p.u.raw);
    else
        put(bytes + c->row->power_at, p.u.raw / 1000000, 2);
    machine_write_at(&c->m, TABLE, 0, bytes, sizeof(bytes));
    *counter = e.u;
    *power = p.u;
}

static void open_card(struct card *c, struct sensor_list *l)
{
    struct sim_update e, p;
    c->counter = device_of("amdgpu-energy", NULL);
    c->power = device_of("amdgpu-power", NULL);
    if (c->row->restarts) {
        c->counter.m.range_j = 0x1p16;
        c->counter.start_raw = UINT64_C(65536000000) - 500000000;
    }
    machine_open(&c->m, "amd-cards");
    if (!c->row->hwmon)
        machine_remove(&c->m, POWER);
    show_card(c, 0, &e, &p);
    amdgpu_look_s = 0; /* nothing moves by itself here: there is nothing to compare */
    assert_int_equal(open_sensors(l, "amdgpu", NULL, NULL), JOULET_OK);
    assert_int_equal(l->n_problems, 0);
    assert_string_equal(l->items[0]->channels[0].id, "amd0.board");
    assert_string_equal(l->items[0]->channels[1].id, "amd0.power");
}

/* The reader's two clocks are read one after the other: it may be early by as much as lay between. */
static void check_stamp(const struct card *c, const struct sensor_reading *r, int64_t began_ns)
{
    int64_t now = jl_mono_ns(), took = now - began_ns;
    if (r->t_ns == 0)
        assert_true(now - c->stamp_lo_ns > JL_NS_PER_S / 2); /* the machine stood still meanwhile */
    else
        assert_in_range(r->t_ns, c->stamp_lo_ns - took, c->stamp_hi_ns);
}

static void check_energy(struct card *c, const struct sensor_reading *r, const struct sim_update *u)
{
    if (!c->first.visible_s)
        c->first = *u;
    assert_true(r->has && !r->reset);
    assert_near((double)r->value, (double)(u->value - c->first.value), 2); /* steps are no whole microjoules */
    assert_near((double)r->value * 1e-6, energy(NULL, u->end_s) - energy(NULL, c->first.end_s), STEP_J + 2e-6);
}

static double filtered(double t)
{
    double rise = t > 2 ? 240 * (1 - exp(-(t - 2) / 0.1)) : 0, fall = t > 5 ? 210 * (1 - exp(-(t - 5) / 0.1)) : 0;
    return 60 + rise - fall;
}

static void a_card_is_read_as_it_is_shown(const struct card_row *row)
{
    struct card c = {.row = row};
    struct sensor_list l;
    struct sensor_reading r[2];
    struct sim_update e, p;
    open_card(&c, &l);
    for (int i = 0; i < 860; i++) {
        show_card(&c, 0.007 * i, &e, &p);
        int64_t began = jl_mono_ns();
        l.items[0]->ops->read(l.items[0], r, false);
        if (i > 0) { /* the first value may be nonsense: it is taken once it moves */
            check_stamp(&c, &r[0], began);
            check_energy(&c, &r[0], &e);
        }
        assert_true(r[1].has && r[1].status == JOULET_OK);
        assert_int_equal(r[1].value, p.value);
        assert_near((double)r[1].value * 1e-6, filtered(p.end_s), 3);
    }
    close_sensors(&l);
    machine_close(&c.m);
}

static void cards_of_amd(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cards); i++)
        a_card_is_read_as_it_is_shown(&cards[i]);
}

/* ---- powermetrics ------------------------------------------------------------------------------------------------------- */

enum form { TEXT, LIST, LIST_OF_ENERGIES, FORMS };

/* What rounding leaves open of one span: of its length (text: 0.01 ms at up to 420 W), and of its power or energy. */
static const double open_j[FORMS] = {2.3e-3, 2e-4, 8e-4}, open_s[FORMS] = {5e-6, 1e-9, 1e-9};

static double cpu_part = 0.75, gpu_part = 0.25;

struct mac {
    enum form form;
    bool recorded;
    struct sim_device cpu, gpu; /* of one seed: their spans are the same */
    int64_t k;                  /* the span that is to be read next */
    struct sim_update origin;
    int64_t origin_ns;
    struct sensor_reading before[PM_PARTS];
};

static char *sample(const struct mac *m, int64_t k)
{
    struct sim_update c, g;
    sim_device_update(&m->cpu, k, &c);
    sim_device_update(&m->gpu, k, &g);
    assert_near(c.span_s, g.span_s, 0);
    long long cpu = c.value / 1000, gpu = g.value / 1000;
    if (m->form == TEXT)
        return jl_strf("*** Sampled system activity (Fri Aug 21 10:00:00 2026 +0000) (%.2fms elapsed) ***\n\n"
                       "CPU Power: %lld mW\nGPU Power: %lld mW\nCombined Power (CPU + GPU + ANE): %lld mW\n\n",
                       c.span_s * 1e3, cpu, gpu, cpu + gpu);
    char *energies = jl_strf("<key>cpu_energy</key><integer>%lld</integer><key>gpu_energy</key><integer>%lld</integer>",
                             llround((double)cpu * c.span_s), llround((double)gpu * g.span_s));
    char *list = jl_strf("<plist version=\"1.0\"><dict><key>elapsed_ns</key><integer>%lld</integer><key>processor</key><dict>%s"
                         "<key>cpu_power</key><real>%lld</real><key>gpu_power</key><real>%lld</real>"
                         "<key>combined_power</key><real>%lld</real></dict></dict></plist>\n",
                         llround(c.span_s * 1e9), m->form == LIST ? "" : energies, cpu, gpu, cpu + gpu);
    free(energies);
    return list;
}

/* The energy of this span and that of all since the origin. */
static void check_energies(struct mac *m, const struct sensor *s, const struct sensor_reading *r, const struct sim_update *u)
{
    double n = (double)(m->k - m->origin.k);
    for (size_t i = 0; i < s->n_channels; i++) {
        const char *id = s->channels[i].id;
        double part = strcmp(id, "soc0.cpu") == 0 ? cpu_part : strcmp(id, "soc0.gpu") == 0 ? gpu_part : 1;
        double span_j = n > 0 ? energy(&part, u->end_s) - energy(&part, u->end_s - u->span_s) : 0;
        assert_true(r[i].has && !r[i].reset);
        assert_near((double)(r[i].value - m->before[i].value) * 1e-6, span_j, open_j[m->form]);
        assert_near((double)r[i].value * 1e-6, energy(&part, u->end_s) - energy(&part, m->origin.end_s), n * open_j[m->form]);
    }
}

/* One read. A recording lies on the clock by its lengths alone; a pipe by the moments of arrival, which are of this machine. */
static enum joulet_status take(struct mac *m, struct sensor *s, bool *got)
{
    struct sensor_reading r[PM_PARTS];
    struct sim_update u;
    s->ops->read(s, r, false);
    *got = r[0].status == JOULET_OK && r[0].has;
    if (!*got)
        return r[0].status;
    sim_device_update(&m->cpu, m->k, &u);
    if (m->k == m->origin.k)
        m->origin_ns = r[0].t_ns;
    check_energies(m, s, r, &u);
    if (m->recorded)
        assert_near(jl_s(r[0].t_ns - m->origin_ns), u.end_s - m->origin.end_s,
                    (double)(m->k - m->origin.k) * open_s[m->form] + 1e-8);
    memcpy(m->before, r, sizeof(r));
    m->k++;
    return JOULET_OK;
}

static void write_samples(const struct mac *m, int fd, int64_t from, int64_t to)
{
    for (int64_t k = from; k < to; k++) {
        char *text = sample(m, k);
        assert_int_equal(write(fd, text, strlen(text)), (ssize_t)strlen(text));
        free(text);
    }
}

/* Of a pipe, the first sample shows that it is one, and is over; the next sets the origin, and a text is whole when another
 * begins. A file is played at its own pace, less than a second here, from its first to its last. The power rises on the way. */
static void a_mac_is_read(const struct machine *home, enum form form, bool recorded)
{
    struct mac m = {.form = form, .recorded = recorded, .k = recorded ? 13 : 1};
    struct sensor_list l;
    bool got;
    int64_t last = recorded ? 19 : form == TEXT ? 58 : 59;
    m.cpu = device_of("powermetrics", &cpu_part);
    m.gpu = device_of("powermetrics", &gpu_part);
    sim_device_update(&m.cpu, m.k, &m.origin);
    char *path = jl_strf("%s/%s", home->dir, recorded ? "recorded" : "pipe");
    assert_true(recorded || mkfifo(path, 0600) == 0);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600); /* so that a pipe takes bytes before anyone reads */
    write_samples(&m, fd, recorded ? 13 : 0, recorded ? 20 : 60);
    setenv("JOULET_POWERMETRICS", path, 1);
    assert_int_equal(open_sensors(&l, "powermetrics", NULL, NULL), JOULET_OK);
    assert_int_equal(l.items[0]->n_channels, 3);
    while (take(&m, l.items[0], &got) == JOULET_OK && (got || recorded)) /* a pipe has what it has */
        jl_sleep_until(jl_mono_ns() + 100000);
    assert_int_equal(m.k, last + 1);
    close_sensors(&l);
    close(fd);
    unlink(path);
    free(path);
}

static void powermetrics_in_all_forms(void **state)
{
    struct machine home;
    (void)state;
    machine_open(&home, "amd-cards");
    for (enum form form = TEXT; form < FORMS; form++) {
        a_mac_is_read(&home, form, false);
        a_mac_is_read(&home, form, true);
    }
    machine_close(&home);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(cards_of_amd), cmocka_unit_test(powermetrics_in_all_forms)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
