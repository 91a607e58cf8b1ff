/* AMD and Intel graphics cards below fixture machines: the binary table of AMD in all its versions, which counters are believed,
 * what counts in the total, and cards whose drivers are loaded again under another number. */
#include "lib/sensors/amdgpu.h"
#include "lib/sensors/gpu_metrics.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MI210 "sys/devices/pci0000:00/0000:00:01.1/0000:03:00.0/gpu_metrics"
#define NAVI  "sys/devices/pci0000:00/0000:00:03.1/0000:0a:00.0/gpu_metrics"
#define APU   "sys/devices/pci0000:00/0000:00:08.1/0000:0c:00.0/gpu_metrics"

/* ---- the table --------------------------------------------------------------------------------------------------- */

struct table {
    uint8_t bytes[256];
    size_t n;
};

static void put(struct table *t, size_t at, uint64_t v, int n)
{
    for (int i = 0; i < n; i++)
        t->bytes[at + (size_t)i] = (uint8_t)(v >> (8 * i));
}

static struct table empty_table(unsigned format, unsigned content, size_t n)
{
    struct table t = {.n = n};
    memset(t.bytes, 0xff, n);
    put(&t, 0, n, 2);
    put(&t, 2, format, 1);
    put(&t, 3, content, 1);
    return t;
}

/* Where each version has power, energy and the time: from the structs of the driver's header, written down apart from the reader.
 */
static const struct {
    unsigned format, content;
    size_t power, energy, stamp;
    int power_bytes, energy_bytes;
    double unit_w;
    bool apu, documented;
} versions[] = {
    {1, 0, 34, 36, 8, 2, 4, 1, false, false},     {1, 1, 22, 24, 32, 2, 8, 1, false, false},
    {1, 2, 22, 24, 32, 2, 8, 1, false, false},    {1, 3, 22, 24, 32, 2, 8, 1, false, false},
    {1, 4, 10, 24, 32, 2, 8, 1, false, true},     {1, 5, 10, 88, 96, 2, 8, 1, false, true},
    {1, 6, 10, 16, 24, 2, 8, 1, false, true},     {1, 7, 10, 24, 32, 2, 8, 1, false, true},
    {1, 8, 10, 24, 32, 2, 8, 1, false, true},     {2, 0, 0, 0, 8, 0, 0, 1, true, false},
    {2, 1, 0, 0, 32, 0, 0, 1, true, false},       {2, 4, 0, 0, 32, 0, 0, 1, true, false},
    {3, 0, 120, 0, 104, 4, 0, 1e-3, true, false},
};

static void all_versions(void **state)
{
    struct gpu_metrics m;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(versions); i++) {
        struct table t = empty_table(versions[i].format, versions[i].content, 200);
        if (versions[i].power)
            put(&t, versions[i].power, 305, versions[i].power_bytes);
        if (versions[i].energy)
            put(&t, versions[i].energy, 123456789, versions[i].energy_bytes);
        put(&t, versions[i].stamp, 987654321012, 8);
        if (gpu_metrics_parse(t.bytes, t.n, &m) != GPU_METRICS_OK)
            fail_msg("%u.%u", versions[i].format, versions[i].content);
        assert_int_equal(m.has_power, versions[i].power != 0);
        assert_int_equal(m.has_energy, versions[i].energy != 0);
        assert_true(m.has_stamp && m.stamp_ns == 987654321012);
        assert_true(!m.has_power || fabs(m.power_w - 305 * versions[i].unit_w) < 1e-9);
        assert_true(!m.has_energy || m.energy == 123456789);
        assert_int_equal(m.apu, versions[i].apu);
        assert_int_equal(m.documented, versions[i].documented);
    }
}

/* All ones are not a value, and no cut of any table gives one. */
static void nonsense(void **state)
{
    struct gpu_metrics m;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(versions); i++) {
        struct table t = empty_table(versions[i].format, versions[i].content, 200);
        assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_OK);
        assert_false(m.has_power || m.has_energy || m.has_stamp);
        for (size_t n = 0; n < t.n; n++) {
            uint8_t *cut = malloc(n ? n : 1); /* so that a read behind the end is seen */
            memcpy(cut, t.bytes, n);
            assert_int_equal(gpu_metrics_parse(cut, n, &m), GPU_METRICS_CUT);
            free(cut);
        }
    }
    struct table t = empty_table(1, 3, 120);
    put(&t, 24, UINT32_MAX, 8); /* 32 ones in 64 bits */
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_OK);
    assert_false(m.has_energy);
    t = empty_table(1, 10, 120);
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_UNKNOWN);
    t = empty_table(1, 3, 20); /* its own size is too small for its version */
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_CUT);
}

/* Attributes as the driver's macro puts them together: unit, type, attribute, number of values. */
static void attribute(struct table *t, unsigned unit, unsigned type, unsigned id, unsigned count, uint64_t value)
{
    static const int widths[] = {1, 1, 2, 2, 4, 4, 8, 8};
    put(t, t->n, (uint64_t)unit << 24 | (uint64_t)type << 20 | (uint64_t)id << 10 | count, 8);
    t->n += 8;
    for (unsigned i = 0; i < count; i++, t->n += (size_t)widths[type & 7])
        put(t, t->n, value, widths[type & 7]);
    put(t, 0, t->n, 2);
    t->bytes[4]++;
}

static struct table list_head(void)
{
    struct table t = empty_table(1, 9, 8);
    put(&t, 4, 0, 4);
    return t;
}

/* Version 1.9, in the order in which its driver fills it in, with an array of clocks and an attribute of the future between. */
static struct table list_of(uint64_t energy, unsigned power_w)
{
    struct table t = list_head();
    attribute(&t, 2, 2, 0, 1, 42);
    attribute(&t, 3, 2, 3, 1, power_w);
    attribute(&t, 1, 2, 33, 8, 2100);
    attribute(&t, 77, 1, 1000, 3, 1);
    attribute(&t, 0, 6, 7, 1, energy);
    attribute(&t, 4, 6, 8, 1, 987654321012);
    return t;
}

static void a_list_of_attributes(void **state)
{
    struct gpu_metrics m;
    (void)state;
    struct table t = list_of(123456789, 305);
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_OK);
    assert_true(m.has_power && m.has_energy && m.has_stamp && m.documented && !m.apu);
    assert_near(m.power_w, 305, 0);
    assert_true(m.energy == 123456789 && m.stamp_ns == 987654321012);
    for (size_t n = 0; n < t.n; n++) {
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, t.bytes, n);
        assert_int_equal(gpu_metrics_parse(cut, n, &m), GPU_METRICS_CUT);
        if (n >= 2) {
            cut[0] = (uint8_t)n; /* its head agrees with what is there, its list does not */
            assert_int_equal(gpu_metrics_parse(cut, n, &m), GPU_METRICS_CUT);
        }
        assert_false(m.has_power || m.has_energy || m.has_stamp);
        free(cut);
    }
    t = list_of(UINT64_MAX, 0xffff);
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_OK);
    assert_false(m.has_power || m.has_energy);
    t = list_head();
    attribute(&t, 1, 2, 3, 1, 305);     /* "watts" in megahertz */
    attribute(&t, 3, 6, 3, 1, 1 << 30); /* more than any card draws */
    attribute(&t, 0, 7, 7, 1, 5);       /* a counter with a sign */
    attribute(&t, 0, 6, 7, 2, 5);       /* two counters */
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_OK);
    assert_false(m.has_power || m.has_energy);
    attribute(&t, 0, 8, 9, 1, 0); /* a type that nobody knows the length of */
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_UNKNOWN);
    t = list_head();
    put(&t, 4, 0x80000000, 4);
    assert_int_equal(gpu_metrics_parse(t.bytes, t.n, &m), GPU_METRICS_CUT);
}

/* ---- AMD cards --------------------------------------------------------------------------------------------------- */

static void write_table(const struct machine *m, const char *file, unsigned content, uint64_t energy, unsigned power_w)
{
    struct table t = empty_table(1, content, 120);
    put(&t, content >= 4 ? 10 : 22, power_w, 2);
    put(&t, content == 6 ? 16 : 24, energy, 8);
    machine_write_at(m, file, 0, t.bytes, t.n);
}

static void write_apu(const struct machine *m)
{
    struct table t = empty_table(2, 3, 180);
    machine_write_at(m, APU, 0, t.bytes, t.n);
}

static void check_channel(struct sensor_list *l, const char *id, const char *parent, bool in_total, enum joulet_domain domain)
{
    const struct joulet_channel *c = find_channel(l, id);
    assert_string_equal(c->parent, parent);
    assert_int_equal(c->in_total, in_total);
    assert_int_equal(c->domain, domain);
}

/* Cards are numbered by their place on the bus, whatever their hwmon is called. Nothing moves: no counter is believed. */
static void cards_of_amd(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    amdgpu_look_s = 0.05;
    machine_open(&m, "amd-cards");
    write_table(&m, MI210, 3, 1000000, 41);
    write_apu(&m);
    assert_int_equal(open_sensors(&l, "amdgpu", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n, 3);
    assert_int_equal(l.n_problems, 1); /* the counter stands still while 41 W are shown */
    assert_non_null(strstr(l.problems[0].message, "amd0 counts 0 times"));
    check_channel(&l, "amd0.board", "", false, JOULET_DOMAIN_GPU);
    check_channel(&l, "amd0.power", "amd0.board", true, JOULET_DOMAIN_GPU);
    check_channel(&l, "amd1.power", "", true, JOULET_DOMAIN_GPU);
    check_channel(&l, "amd2.socket", "", true, JOULET_DOMAIN_SOC);
    assert_string_equal(find_channel(&l, "amd0.board")->device, "AMD Instinct MI210");
    assert_string_equal(find_fact(&l, "amd0", "uuid"), "5c88007a2b1f8a3d");
    assert_string_equal(find_fact(&l, "amd0", "power_limit_w"), "300");
    assert_string_equal(find_fact(&l, "amd0", "gpu_metrics"), "1.3");
    assert_int_equal(read_channel(&l, "amd0.power").value, 41000000);
    assert_int_equal(read_channel(&l, "amd1.power").value, 19000000);
    close_sensors(&l);
    machine_close(&m);
}

/* With RAPL open, the package counts there. */
static void graphics_of_a_processor_are_not_added_to_it(void **state)
{
    struct machine m;
    struct sensor_list cards, rapl;
    struct joulet_channel all[8];
    size_t n = 0;
    (void)state;
    machine_open(&m, "amd-cards");
    machine_lay_out(&m, "amd");
    open_sensors(&cards, "amdgpu", NULL, NULL);
    open_sensors(&rapl, "rapl", NULL, NULL);
    for (size_t i = 0; i < cards.n; i++)
        all[n++] = cards.items[i]->channels[0];
    all[n++] = *find_channel(&rapl, "cpu0.package");
    joulet_tree_count(all, n);
    for (size_t i = 0; i < n; i++)
        assert_int_equal(all[i].in_total, strcmp(all[i].id, "amd2.socket") != 0);
    close_sensors(&cards);
    close_sensors(&rapl);
    machine_close(&m);
}

static void a_documented_counter_without_power(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "amd-cards");
    write_table(&m, NAVI, 6, 65536, 0xffff);
    machine_remove(&m, "sys/class/hwmon/hwmon2/power1_input");
    open_sensors(&l, "amdgpu", NULL, NULL);
    check_channel(&l, "amd1.board", "", true, JOULET_DOMAIN_GPU);
    assert_false(read_channel(&l, "amd1.board").has); /* the first value may be nonsense: it is taken once it moves */
    write_table(&m, NAVI, 6, 65537, 0xffff);
    assert_true(read_channel(&l, "amd1.board").has);
    write_table(&m, NAVI, 6, 65536 * 3 + 1, 0xffff);
    assert_int_equal(read_channel(&l, "amd1.board").value, 2000000);
    write_table(&m, NAVI, 6, UINT64_MAX, 0xffff); /* garbage is a failed read, and forgotten */
    assert_int_equal(read_channel(&l, "amd1.board").status, JOULET_FORMAT);
    write_table(&m, NAVI, 6, UINT64_C(1) << 50, 0xffff);
    assert_int_equal(read_channel(&l, "amd1.board").status, JOULET_FORMAT);
    write_table(&m, NAVI, 6, 65536 * 4 + 1, 0xffff);
    struct sensor_reading r = read_channel(&l, "amd1.board");
    assert_true(r.has && !r.reset && r.value == 3000000);
    close_sensors(&l);
    write_table(&m, NAVI, 3, 65536, 0xffff); /* before 1.4 the unit is not named: nothing is left */
    open_sensors(&l, "amdgpu", NULL, NULL);
    for (size_t i = 0; i < l.n; i++)
        for (size_t k = 0; k < l.items[i]->n_channels; k++)
            assert_true(strcmp(l.items[i]->channels[k].id, "amd1.board") != 0 || !l.items[i]->channels[k].in_total);
    close_sensors(&l);
    machine_close(&m);
}

/* An Instinct whose driver tells a list: its accumulator counts, as that of the versions before. */
static void a_card_with_a_list(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct table t = list_of(65536, 0xffff);
    (void)state;
    machine_open(&m, "amd-cards");
    machine_remove(&m, "sys/class/hwmon/hwmon2/power1_input");
    machine_write_at(&m, NAVI, 0, t.bytes, t.n);
    open_sensors(&l, "amdgpu", NULL, NULL);
    check_channel(&l, "amd1.board", "", true, JOULET_DOMAIN_GPU);
    assert_string_equal(find_fact(&l, "amd1", "gpu_metrics"), "1.9");
    for (uint64_t i = 0; i < 4; i++) { /* the first value may be nonsense: counting begins once it moves */
        t = list_of(65537 + 65536 * i, 0xffff);
        machine_write_at(&m, NAVI, 0, t.bytes, t.n);
        struct sensor_reading r = read_channel(&l, "amd1.board");
        assert_int_equal(r.has, i > 0);
        assert_int_equal(r.value, i > 0 ? 1000000 * (i - 1) : 0);
    }
    close_sensors(&l);
    machine_close(&m);
}

/* A version of the future: told, and what hwmon shows is measured with. */
static void a_card_of_the_future(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct table t = empty_table(1, 10, 120);
    (void)state;
    machine_open(&m, "amd-cards");
    machine_write_at(&m, NAVI, 0, t.bytes, t.n);
    open_sensors(&l, "amdgpu", NULL, NULL);
    check_channel(&l, "amd1.power", "", true, JOULET_DOMAIN_GPU);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "gpu_metrics of amd1 has version 1.10"));
    close_sensors(&l);
    machine_remove(&m, "sys/class/hwmon/hwmon2/power1_input");
    open_sensors(&l, "amdgpu", NULL, NULL);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "nothing else tells its power"));
    close_sensors(&l);
    machine_close(&m);
}

static void older_counters_wrap_at_32_bits(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "amd-cards");
    write_table(&m, MI210, 1, UINT32_MAX - 65535, 41);
    open_sensors(&l, "amdgpu", NULL, NULL);
    read_channel(&l, "amd0.board");
    write_table(&m, MI210, 1, UINT32_MAX - 65534, 41);
    read_channel(&l, "amd0.board");
    write_table(&m, MI210, 1, 65536 + 1, 41);
    struct sensor_reading r = read_channel(&l, "amd0.board");
    assert_true(r.has && !r.reset);
    assert_near((double)r.value, 2e6, 2);
    close_sensors(&l);
    machine_close(&m);
}

static void power_that_cannot_be(void **state)
{
    static const char *const bad[] = {"-1\n", "18446744073709551615\n", "9000000000\n", "garbage\n", "", "\n", "41 W\n"};
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "amd-cards");
    open_sensors(&l, "amdgpu", NULL, NULL);
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        machine_write(&m, "sys/class/hwmon/hwmon2/power1_input", "%s", bad[i]);
        struct sensor_reading r = read_channel(&l, "amd1.power");
        if (r.has || r.status != JOULET_FORMAT)
            fail_msg("%s", bad[i]);
    }
    machine_write(&m, "sys/class/hwmon/hwmon2/power1_input", "0\n");
    assert_true(read_channel(&l, "amd1.power").has);
    close_sensors(&l);
    machine_close(&m);
}

/* The driver is loaded again: the card is hwmon7 now, and hwmon2 is another chip with a file of the same name. */
static void a_card_under_another_number(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "amd-cards");
    open_sensors(&l, "amdgpu", NULL, NULL);
    assert_int_equal(read_channel(&l, "amd1.power").value, 19000000);
    machine_remove(&m, "sys/class/hwmon/hwmon2/power1_input");
    machine_write(&m, "sys/class/hwmon/hwmon2/power1_input", "77000000\n");
    machine_write(&m, "sys/class/hwmon/hwmon2/name", "somethingelse\n");
    jl_sleep_until(jl_mono_ns() + 1050000000);
    assert_int_equal(read_channel(&l, "amd1.power").status, JOULET_GONE);
    machine_write_at(&m, "sys/class/hwmon/hwmon7/name", 0, "amdgpu\n", 7);
    machine_write_at(&m, "sys/class/hwmon/hwmon7/power1_input", 0, "23000000\n", 9);
    char *link = jl_strf("%s/sys/class/hwmon/hwmon7/device", m.dir);
    assert_int_equal(symlink("../../../devices/pci0000:00/0000:00:03.1/0000:0a:00.0", link), 0);
    free(link);
    jl_sleep_until(jl_mono_ns() + 1050000000);
    struct sensor_reading r = read_channel(&l, "amd1.power");
    assert_true(r.has && r.value == 23000000);
    close_sensors(&l);
    machine_close(&m);
}

/* ---- Intel cards -------------------------------------------------------------------------------------------------------- */

static void cards_of_intel(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "intel-cards");
    assert_int_equal(open_sensors(&l, "intelgpu", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n_problems, 0);
    check_channel(&l, "intel0.card", "", true,
                  JOULET_DOMAIN_GPU); /* by place on the bus: 0000:00:01.0, then :02.0 without, then :06.0 */
    check_channel(&l, "intel0.package", "intel0.card", false, JOULET_DOMAIN_GPU_CHIP);
    check_channel(&l, "intel2.card", "", true, JOULET_DOMAIN_GPU);
    check_channel(&l, "intel2.tile0", "intel2.card", false, JOULET_DOMAIN_GPU_CHIP);
    check_channel(&l, "intel2.tile1", "intel2.card", false, JOULET_DOMAIN_GPU_CHIP);
    assert_int_equal(l.n, 4);
    assert_string_equal(find_fact(&l, "intel0", "driver"), "xe");
    read_channel(&l, "intel0.card");
    machine_write(&m, "sys/class/hwmon/hwmon3/energy1_input", "9000000\n");
    assert_int_equal(read_channel(&l, "intel0.card").value, 2000000);
    machine_write(&m, "sys/class/hwmon/hwmon3/energy1_input", "5\n"); /* 64 bits never wrap: it was restarted */
    assert_true(read_channel(&l, "intel0.card").reset);
    machine_write(&m, "sys/class/hwmon/hwmon3/energy1_input", "-5\n");
    assert_int_equal(read_channel(&l, "intel0.card").status, JOULET_FORMAT);
    close_sensors(&l);
    machine_close(&m);
}

/* Without the whole card, its tiles stand side by side. */
static void tiles_alone(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "intel-cards");
    machine_remove(&m, "sys/class/hwmon/hwmon4/energy1_input");
    machine_remove(&m, "sys/class/hwmon/hwmon3/energy1_input");
    open_sensors(&l, "intelgpu", NULL, NULL);
    check_channel(&l, "intel2.tile0", "", true, JOULET_DOMAIN_GPU_CHIP);
    check_channel(&l, "intel2.tile1", "", true, JOULET_DOMAIN_GPU_CHIP);
    check_channel(&l, "intel0.package", "", true, JOULET_DOMAIN_GPU_CHIP);
    close_sensors(&l);
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_versions),
        cmocka_unit_test(nonsense),
        cmocka_unit_test(cards_of_amd),
        cmocka_unit_test(graphics_of_a_processor_are_not_added_to_it),
        cmocka_unit_test(a_documented_counter_without_power),
        cmocka_unit_test(a_list_of_attributes),
        cmocka_unit_test(a_card_with_a_list),
        cmocka_unit_test(a_card_of_the_future),
        cmocka_unit_test(older_counters_wrap_at_32_bits),
        cmocka_unit_test(power_that_cannot_be),
        cmocka_unit_test(a_card_under_another_number),
        cmocka_unit_test(cards_of_intel),
        cmocka_unit_test(tiles_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
