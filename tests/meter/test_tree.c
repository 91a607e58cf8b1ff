/* test_tree.c - one machine, one view: machines as tables of channels; what counts, what is inside what, what a total lacks. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <stdio.h>
#include <string.h>

#define PCI(bus) JOULET_PLACE_PCI(0, bus, 0, 0)
#define MOST     12

struct line {
    const char *id, *sensor, *parent;
    enum joulet_domain domain;
    int64_t place;
    bool asks, counts;
    const char *inside; /* id of what must contain it in the tree; "" nothing */
    enum joulet_provenance provenance;
};

static const struct machine {
    const char *name;
    struct line lines[MOST];
    const char *total;
} machines[] = {
    {"desktop with a wall meter",
     {{"cpu0.package", "rapl", "", JOULET_DOMAIN_PACKAGE, 1, true, true, "psys", 0},
      {"cpu0.core", "rapl", "cpu0.package", JOULET_DOMAIN_CORE, 1, false, false, "cpu0.package", 0},
      {"psys", "rapl", "", JOULET_DOMAIN_PSYS, 0, false, false, "wall0.power", 0},
      {"gpu0.board", "nvml", "", JOULET_DOMAIN_GPU, PCI(1), true, true, "psys", 0},
      {"gpu0.power", "nvml", "gpu0.board", JOULET_DOMAIN_GPU, PCI(1), false, false, "gpu0.board", 0},
      {"wall0.power", "shelly", "", JOULET_DOMAIN_WALL, 0, true, false, "", 0},
      {"wall0.energy", "shelly", "wall0.power", JOULET_DOMAIN_WALL, 0, false, false, "wall0.power", 0}},
     "covers cpu0.package and gpu0.board; lacks memory, board, disks and fans, losses of the power supply"},
    {"laptop with a battery",
     {{"battery0.power", "battery", "", JOULET_DOMAIN_BATTERY, 0, true, false, "", 0},
      {"psys", "rapl", "", JOULET_DOMAIN_PSYS, 0, false, false, "battery0.power", 0},
      {"cpu0.package", "rapl", "", JOULET_DOMAIN_PACKAGE, 1, true, true, "psys", 0},
      {"cpu0.uncore", "rapl", "cpu0.package", JOULET_DOMAIN_UNCORE, 1, false, false, "cpu0.package", 0},
      {"igpu0.power", "hwmon", "", JOULET_DOMAIN_IGPU, PCI(0), true, false, "cpu0.package", 0}},
     "covers cpu0.package; lacks memory, screen, board, disks and fans, losses of the power supply"},
    {"laptop of which only the battery may be read",
     {{"battery0.power", "battery", "", JOULET_DOMAIN_BATTERY, 0, true, true, "", 0},
      {"cpu0.estimate", "tdp", "", JOULET_DOMAIN_PACKAGE, 0, true, false, "battery0.power", JOULET_ESTIMATED}},
     "covers battery0.power; lacks losses of the power supply"},
    {"server with two sockets and a management controller",
     {{"chassis.power", "redfish", "", JOULET_DOMAIN_CHASSIS, 0, true, false, "", 0},
      {"ipmi.power", "ipmi", "", JOULET_DOMAIN_CHASSIS, 0, true, false, "", 0},
      {"cpu0.package", "rapl", "", JOULET_DOMAIN_PACKAGE, 1, true, true, "chassis.power", 0},
      {"cpu1.package", "rapl", "", JOULET_DOMAIN_PACKAGE, 2, true, true, "chassis.power", 0},
      {"cpu0.dram", "rapl", "", JOULET_DOMAIN_DRAM, 1, true, true, "chassis.power", 0},
      {"cpu1.dram", "rapl", "", JOULET_DOMAIN_DRAM, 2, true, true, "chassis.power", 0},
      {"cpu1.core", "rapl", "", JOULET_DOMAIN_CORE, 2, false, false, "cpu1.package", 0},
      {"host0.socket0", "scaphandre", "", JOULET_DOMAIN_PACKAGE, 1, true, false, "chassis.power", 0}},
     "covers cpu0.package, cpu1.package, cpu0.dram and cpu1.dram; lacks board, disks and fans, losses of the power supply"},
    {"virtual machine with nothing but an estimate",
     {{"cpu0.estimate", "tdp", "", JOULET_DOMAIN_PACKAGE, 0, true, true, "", JOULET_ESTIMATED}},
     "covers cpu0.estimate; lacks memory, board, disks and fans, losses of the power supply"},
    {"virtual machine with its host's exporter",
     {{"cpu0.estimate", "tdp", "", JOULET_DOMAIN_PACKAGE, 0, true, false, "", JOULET_ESTIMATED},
      {"host0.socket0", "scaphandre", "", JOULET_DOMAIN_PACKAGE, 1, true, true, "", 0}},
     "covers host0.socket0; lacks memory, board, disks and fans, losses of the power supply"},
    {"Apple silicon",
     {{"soc.combined", "powermetrics", "", JOULET_DOMAIN_SOC, 0, false, false, "", 0},
      {"soc.cpu", "powermetrics", "soc.combined", JOULET_DOMAIN_CORE, 0, true, true, "soc.combined", 0},
      {"soc.gpu", "powermetrics", "soc.combined", JOULET_DOMAIN_IGPU, 0, true, true, "soc.combined", 0},
      {"soc.ane", "powermetrics", "soc.combined", JOULET_DOMAIN_NPU, 0, true, true, "soc.combined", 0}},
     "covers soc.cpu, soc.gpu and soc.ane; lacks memory, board, disks and fans, losses of the power supply"},
    {"Apple silicon whose package holds its memory",
     {{"soc.package", "powermetrics", "", JOULET_DOMAIN_PACKAGE, 0, true, true, "", 0},
      {"soc.dram", "powermetrics", "soc.package", JOULET_DOMAIN_DRAM, 0, false, false, "soc.package", 0},
      {"soc.cpu", "powermetrics", "soc.package", JOULET_DOMAIN_CORE, 0, false, false, "soc.package", 0},
      {"soc.gpu", "powermetrics", "soc.package", JOULET_DOMAIN_IGPU, 0, false, false, "soc.package", 0}},
     "covers soc.package; lacks board, disks and fans, losses of the power supply"},
    {"power supply that tells its rails, beside what the platform tells of itself",
     {{"psys", "rapl", "", JOULET_DOMAIN_PSYS, 0, false, false, "", 0},
      {"cpu0.package", "rapl", "", JOULET_DOMAIN_PACKAGE, 1, true, true, "psys", 0},
      {"psu0.total", "hwmon", "", JOULET_DOMAIN_PSYS, 0, false, false, "", 0},
      {"psu0.rail12", "hwmon", "", JOULET_DOMAIN_PART, 0, false, false, "psu0.total", 0}},
     "covers cpu0.package; lacks memory, board, disks and fans, losses of the power supply"},
    {"AMD APU: its graphics driver reads the whole chip",
     {{"cpu0.package", "rapl", "", JOULET_DOMAIN_PACKAGE, 1, true, true, "apu0.power", 0},
      {"apu0.power", "hwmon", "", JOULET_DOMAIN_SOC, PCI(0xc1), true, false, "", 0}},
     "covers cpu0.package; lacks memory, graphics, board, disks and fans, losses of the power supply"},
    {"AMD APU whose counters may not be read",
     {{"cpu0.estimate", "tdp", "", JOULET_DOMAIN_PACKAGE, 0, true, false, "apu0.power", JOULET_ESTIMATED},
      {"apu0.power", "hwmon", "", JOULET_DOMAIN_SOC, PCI(0xc1), true, true, "", 0}},
     "covers apu0.power; lacks memory, board, disks and fans, losses of the power supply"},
    {"Grace Hopper: only the module has a counter",
     {{"gpu0.module", "nvml", "", JOULET_DOMAIN_MODULE, 0, true, true, "", 0},
      {"cpu0.package", "hwmon", "", JOULET_DOMAIN_PACKAGE, 1, true, false, "gpu0.module", 0}},
     "covers gpu0.module; lacks memory, board, disks and fans, losses of the power supply"},
    {"only a wall meter, and an estimate",
     {{"cpu0.estimate", "tdp", "", JOULET_DOMAIN_PACKAGE, 0, true, false, "wall0.power", JOULET_ESTIMATED},
      {"wall0.power", "tasmota", "", JOULET_DOMAIN_WALL, 0, true, true, "", 0}},
     "covers wall0.power"},
    {"two plugs, one for each power supply",
     {{"wall0.power", "shelly", "", JOULET_DOMAIN_WALL, 0, true, true, "", 0},
      {"wall1.power", "shelly", "", JOULET_DOMAIN_WALL, 0, true, true, "", 0}},
     "covers wall0.power and wall1.power"},
    {"one card seen by two sensors, another by one",
     {{"gpu0.board", "amdgpu", "", JOULET_DOMAIN_GPU, PCI(3), true, true, "", 0},
      {"gpu0.hwmon", "hwmon", "", JOULET_DOMAIN_GPU, PCI(3), true, false, "", 0},
      {"gpu1.hwmon", "hwmon", "", JOULET_DOMAIN_GPU, PCI(4), true, true, "", 0}},
     "covers gpu0.board and gpu1.hwmon; lacks the processor, memory, board, disks and fans, losses of the power supply"},
    {"names alone, as older records have them",
     {{"psys", "rapl", "", 0, 0, false, false, "", 0},
      {"cpu0.package", "rapl", "", 0, 0, true, true, "psys", 0},
      {"cpu1.package", "rapl", "", 0, 0, true, true, "psys", 0},
      {"cpu1.core", "rapl", "", 0, 0, false, false, "cpu1.package", 0}},
     "covers cpu0.package and cpu1.package; lacks memory, board, disks and fans, losses of the power supply"},
    {"nothing that counts", {{"cpu0.core", "rapl", "", JOULET_DOMAIN_CORE, 1, false, false, "", 0}}, ""},
    {"parents in a circle",
     {{"a", "x", "b", 0, 0, true, true, "b", 0}, {"b", "x", "a", 0, 0, true, false, "a", 0}},
     "covers a; lacks memory, board, disks and fans, losses of the power supply"},
};

static size_t channels_of(const struct machine *m, struct joulet_channel *out, bool backwards)
{
    size_t n = 0;
    while (n < MOST && m->lines[n].id)
        n++;
    for (size_t i = 0; i < n; i++) {
        const struct line *l = &m->lines[backwards ? n - 1 - i : i];
        out[i] = (struct joulet_channel){.id = l->id,
                                         .sensor = l->sensor,
                                         .device = "",
                                         .parent = l->parent,
                                         .domain = l->domain,
                                         .place = l->place,
                                         .in_total = l->asks,
                                         .provenance = l->provenance,
                                         .factor_lo = 1,
                                         .factor_hi = 1};
    }
    return n;
}

static const struct line *line_of(const struct machine *m, const char *id)
{
    const struct line *l = m->lines;
    while (strcmp(l->id, id) != 0)
        l++;
    return l;
}

static void each_joule_counts_once(void **state)
{
    (void)state;
    for (size_t k = 0; k < JL_COUNT(machines); k++) {
        const struct machine *m = &machines[k];
        struct joulet_channel all[MOST];
        char text[512];
        size_t n = channels_of(m, all, false);
        joulet_tree_count(all, n);
        for (size_t i = 0; i < n; i++)
            if (all[i].in_total != m->lines[i].counts)
                fail_msg("%s: %s %s", m->name, all[i].id, all[i].in_total ? "counts" : "does not count");
        if (strcmp(joulet_total_text(all, n, text, sizeof(text)), m->total) != 0)
            fail_msg("%s: %s", m->name, text);
        struct joulet_channel again[MOST];
        memcpy(again, all, sizeof(all));
        joulet_tree_count(again, n);
        assert_memory_equal(again, all, n * sizeof(all[0]));
    }
}

/* Whatever order sensors were found in, what is counted has nothing in common. */
static void the_order_does_not_make_a_joule_count_twice(void **state)
{
    (void)state;
    for (size_t k = 0; k < JL_COUNT(machines); k++) {
        const struct machine *m = &machines[k];
        struct joulet_channel all[MOST];
        struct joulet_tree_node nodes[MOST];
        size_t n = channels_of(m, all, true), counted = 0, wanted = 0;
        joulet_tree_count(all, n);
        size_t listed = joulet_tree_of(all, n, nodes);
        assert_int_equal(listed, n);
        for (size_t i = 0; i < n; i++) {
            counted += all[i].in_total;
            wanted += m->lines[i].counts;
            for (size_t p = nodes[i].parent;
                 all[nodes[i].channel].in_total && p != JOULET_TOTAL && strcmp(m->name, "parents in a circle");) {
                assert_false(all[p].in_total);
                size_t j = 0;
                while (nodes[j].channel != p)
                    j++;
                p = nodes[j].parent;
            }
        }
        assert_int_equal(counted, wanted);
    }
}

static void the_tree_shows_what_is_inside_what(void **state)
{
    (void)state;
    for (size_t k = 0; k < JL_COUNT(machines); k++) {
        const struct machine *m = &machines[k];
        struct joulet_channel all[MOST];
        struct joulet_tree_node nodes[MOST];
        bool seen[MOST] = {false};
        size_t n = channels_of(m, all, false);
        joulet_tree_count(all, n);
        size_t listed = joulet_tree_of(all, n, nodes);
        assert_int_equal(listed, n);
        for (size_t i = 0; i < n && strcmp(m->name, "parents in a circle") != 0; i++) {
            const struct joulet_tree_node *x = &nodes[i];
            const char *inside = x->parent == JOULET_TOTAL ? "" : all[x->parent].id;
            if (strcmp(inside, line_of(m, all[x->channel].id)->inside) != 0)
                fail_msg("%s: %s is inside \"%s\"", m->name, all[x->channel].id, inside);
            assert_true(x->parent == JOULET_TOTAL || seen[x->parent]); /* after what contains it */
            assert_int_equal(x->counted == JOULET_COUNTED, all[x->channel].in_total);
            seen[x->channel] = true;
        }
    }
}

static void the_reason_is_told(void **state)
{
    static const struct {
        size_t machine;
        const char *id;
        enum joulet_counted want;
    } cases[] = {{0, "wall0.power", JOULET_COUNTED_BELOW},  {0, "cpu0.core", JOULET_COUNTED_ABOVE},
                 {0, "gpu0.power", JOULET_COUNTED_ABOVE},   {2, "cpu0.estimate", JOULET_COUNTED_ABOVE},
                 {3, "host0.socket0", JOULET_COUNTED_TWIN}, {5, "cpu0.estimate", JOULET_COUNTED_TWIN},
                 {14, "gpu0.hwmon", JOULET_COUNTED_TWIN},   {16, "cpu0.core", JOULET_COUNTED_APART}};
    (void)state;
    for (size_t k = 0; k < JL_COUNT(cases); k++) {
        struct joulet_channel all[MOST];
        struct joulet_tree_node nodes[MOST];
        size_t n = channels_of(&machines[cases[k].machine], all, false), found = 0;
        joulet_tree_count(all, n);
        for (size_t i = 0, listed = joulet_tree_of(all, n, nodes); i < listed; i++)
            if (strcmp(all[nodes[i].channel].id, cases[k].id) == 0) {
                assert_int_equal(nodes[i].counted, cases[k].want);
                found++;
            }
        assert_int_equal(found, 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_joule_counts_once),
        cmocka_unit_test(the_order_does_not_make_a_joule_count_twice),
        cmocka_unit_test(the_tree_shows_what_is_inside_what),
        cmocka_unit_test(the_reason_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
