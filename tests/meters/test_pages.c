/* test_pages.c - answers of meters as tables, and addresses. Composed from the documentation of their makers; the second Shelly
 * answer has the shape of a published capture. */
#include "meters/address.h"
#include "tests/base/test.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    page_parser *parse;
    const char *body;
    int channel;
    double power_w, energy_j; /* NAN: not told; power NAN: refused */
} cases[] = {
    {"gen 1", page_shelly, "{\"meters\":[{\"power\":12.34,\"is_valid\":true,\"total\":1000},{\"power\":5,\"total\":7}]}", -1,
     12.34, 60000},
    {"gen 1, second", page_shelly, "{\"meters\":[{\"power\":12.34,\"total\":1000},{\"power\":5,\"total\":7}]}", 1, 5, 420},
    {"gen 1, none such", page_shelly, "{\"meters\":[{\"power\":12.34,\"total\":1000}]}", 3, NAN, NAN},
    {"gen 1, not valid", page_shelly, "{\"meters\":[{\"power\":0,\"is_valid\":false,\"total\":0}]}", -1, NAN, NAN},
    {"gen 1, one meter", page_shelly, "{\"power\":33.3,\"is_valid\":true,\"total\":2}", -1, 33.3, 120},
    {"energy meter", page_shelly, "{\"emeters\":[{\"power\":200.5,\"total\":10.5}],\"meters\":[]}", -1, 200.5, 37800},
    {"gen 2", page_shelly,
     "{\"id\":0,\"source\":\"init\",\"output\":true,\"apower\":2.7,\"voltage\":227.9,\"current\":0.121,\"aenergy\":{\"total\":"
     "7258.589,\"by_minute\":[34.786,45.552,45.552],"
     "\"minute_ts\":1707326925}}",
     -1, 2.7, 26130920.4},
    {"gen 2, no counter", page_shelly, "{\"apower\":2.7}", -1, 2.7, NAN},
    {"gen 2, feeds the net", page_shelly, "{\"apower\":-250.0,\"aenergy\":{\"total\":1}}", -1, NAN, NAN},
    {"a relay alone", page_shelly, "{\"id\":0,\"output\":true}", -1, NAN, NAN},
    {"tasmota", page_tasmota, "{\"StatusSNS\":{\"Time\":\"x\",\"ENERGY\":{\"Total\":3.185,\"Today\":0.127,\"Power\":42}}}", -1,
     42, 11466000},
    {"tasmota, sum of two", page_tasmota, "{\"StatusSNS\":{\"ENERGY\":{\"Total\":[1,2],\"Power\":[40,2]}}}", -1, 42, 10800000},
    {"tasmota, second", page_tasmota, "{\"StatusSNS\":{\"ENERGY\":{\"Total\":[1,2],\"Power\":[40,2]}}}", 2, 2, 7200000},
    {"tasmota, third of two", page_tasmota, "{\"StatusSNS\":{\"ENERGY\":{\"Total\":[1,2],\"Power\":[40,2]}}}", 3, NAN, NAN},
    {"tasmota in quotes", page_tasmota, "{\"StatusSNS\":{\"ENERGY\":{\"Power\":\"17\"}}}", -1, 17, NAN},
    {"tasmota wants a password", page_tasmota, "{\"WARNING\":\"Need user=<username>&password=<password>\"}", -1, NAN, NAN},
    {"tasmota without a meter", page_tasmota, "{\"StatusSNS\":{\"Time\":\"x\"}}", -1, NAN, NAN},
    {"redfish power", page_redfish,
     "{\"Name\":\"Power\",\"PowerControl\":[{\"PowerConsumedWatts\":344},{\"PowerConsumedWatts\":9}]}", -1, 344, NAN},
    {"redfish metrics", page_redfish, "{\"PowerWatts\":{\"Reading\":374.5},\"EnergykWh\":{\"Reading\":2}}", -1, 374.5, 7200000},
    {"redfish embedded", page_redfish, "{\"EnvironmentMetrics\":{\"PowerWatts\":{\"Reading\":81}}}", -1, 81, NAN},
    {"redfish supplies of the older kind", page_redfish,
     "{\"PowerControl\":[],\"PowerSupplies\":[{\"PowerInputWatts\":210},{\"PowerInputWatts\":190.5},"
     "{\"Status\":{\"State\":\"Absent\"},\"PowerInputWatts\":null}]}",
     -1, 400.5, NAN},
    {"redfish supplies, one does not tell", page_redfish,
     "{\"PowerControl\":[],\"PowerSupplies\":[{\"PowerInputWatts\":210},{\"PowerInputWatts\":null}]}", -1, NAN, NAN},
    {"redfish supply", page_redfish, "{\"InputPowerWatts\":{\"Reading\":937.4},\"OutputPowerWatts\":{\"Reading\":878}}", -1,
     937.4, NAN},
    {"redfish joules", page_redfish, "{\"PowerWatts\":{\"Reading\":374},\"EnergyJoules\":{\"Reading\":25}}", -1, 374, 25},
    {"redfish null", page_redfish, "{\"PowerControl\":[{\"PowerConsumedWatts\":null}]}", -1, NAN, NAN},
    {"a web page", page_shelly, "<!DOCTYPE html><html>", -1, NAN, NAN},
    {"half a page", page_tasmota, "{\"StatusSNS\":{\"ENERGY\":{\"Pow", -1, NAN, NAN},
    {"an array", page_redfish, "[1,2]", -1, NAN, NAN},
    {"nothing", page_shelly, "", -1, NAN, NAN},
    {"a giant", page_shelly, "{\"apower\":1e300}", -1, NAN, NAN},
    {"no number", page_shelly, "{\"apower\":\"much\"}", -1, NAN, NAN},
};

static void what_answers_say(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct page p;
        struct joulet_error err = {0};
        struct page_ask ask = {.channel = cases[i].channel};
        enum joulet_status st = cases[i].parse(cases[i].body, strlen(cases[i].body), &ask, &p, &err);
        if ((st == JOULET_OK) != !isnan(cases[i].power_w))
            fail_msg("%s: %s", cases[i].name, st == JOULET_OK ? "taken" : err.message);
        assert_true(st == JOULET_OK || jl_starts(err.message, "answers"));
        if (st != JOULET_OK)
            continue;
        assert_near(p.values[0].value, cases[i].power_w, 1e-9);
        assert_int_equal(p.n, isnan(cases[i].energy_j) ? 1 : 2);
        if (p.n == 2)
            assert_near(p.values[1].value, cases[i].energy_j, 1e-3);
    }
}

/* ---- memory ------------------------------------------------------------------------------------------------------ */

static long allocations, fails_at, left;

static void *may_fail(size_t n)
{
    void *p = ++allocations == fails_at ? NULL : malloc(n);
    left += p != NULL;
    return p;
}

static void let_go(void *p)
{
    left -= p != NULL;
    free(p);
}

static void any_allocation_may_fail(void **state)
{
    (void)state;
    json_set_alloc_funcs(may_fail, let_go);
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct page_ask ask = {.channel = cases[i].channel};
        for (fails_at = 1, allocations = 1; allocations >= fails_at; fails_at++) {
            struct page p;
            struct joulet_error err = {0};
            allocations = left = 0;
            enum joulet_status st = cases[i].parse(cases[i].body, strlen(cases[i].body), &ask, &p, &err);
            bool failed = allocations >= fails_at;
            assert_int_equal(left, 0);
            if (failed && (st == JOULET_OK || !err.message[0])) /* jansson does not tell it from bad syntax */
                fail_msg("%s: taken although allocation %ld failed", cases[i].name, fails_at);
        }
    }
    json_set_alloc_funcs(malloc, free);
}

/* A plug that was told to print more decimals moves in smaller steps. */
static void steps_of_tasmota(void **state)
{
    static const struct {
        const char *body;
        double step_w, step_j;
    } rows[] = {{"{\"StatusSNS\":{\"ENERGY\":{\"TotalStartTime\":\"x\",\"Total\":3.185,\"Power\":42}}}", 1, 3600},
                {"{\"StatusSNS\":{\"ENERGY\":{\"Total\":3.18500,\"Power\":42.350}}}", 0.001, 36},
                {"{\"StatusSNS\":{\"ENERGY\":{\"Total\":[3.1850,1.0000],\"Power\":[42.3,0.0]}}}", 0.1, 360},
                {"{\"StatusSNS\":{\"ENERGY\":{\"Total\" : \"3.185000000\",\"Power\":\"42.3\"}}}", 0.1, 36},
                {"{\"StatusSNS\":{\"ENERGY\":{\"Total\":3,\"Power\":4e1}}}", 1, 3600}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct page p;
        struct page_ask ask = {.channel = -1};
        assert_int_equal(page_tasmota(rows[i].body, strlen(rows[i].body), &ask, &p, NULL), JOULET_OK);
        assert_near(p.values[0].quantum, rows[i].step_w, 1e-9);
        assert_near(p.values[1].quantum, rows[i].step_j, 1e-6);
    }
}

static void every_cut_of_an_answer_is_borne(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        for (size_t n = 0; n < strlen(cases[i].body); n++) {
            struct page p;
            struct joulet_error err;
            struct page_ask ask = {.channel = cases[i].channel};
            assert_int_not_equal(cases[i].parse(cases[i].body, n, &ask, &p, &err), JOULET_OK);
        }
}

#define PROCESS(microwatts)          "scaph_process_power_consumption_microwatts{pid=\"42\"} " microwatts "\n"
#define HOST_AND_PROCESS(microwatts) "scaph_host_energy_microjoules 1000000\n" PROCESS(microwatts)

static const char exporter[] =
    "# HELP scaph_host_energy_microjoules Energy\n"
    "# TYPE scaph_host_energy_microjoules counter\n"
    "scaph_socket_energy_microjoules{socket_id=\"1\"} 2000000\n"
    "scaph_host_energy_microjoules{value_source=\"powercap_rapl_psys\"} 5000000\r\n"
    "scaph_socket_energy_microjoules{socket_id=\"0\"} 1000000 1700000000\n"
    "scaph_process_power_consumption_microwatts{exe=\"a\",cmdline=\"say \\\"pid=\\\" {x}\",pid=\"42\"} 1500000\n"
    "scaph_process_power_consumption_microwatts{pid=\"42\",container_id=\"c\"} 500000\n"
    "scaph_process_power_consumption_microwatts{pid=\"420\"} 9\n"
    "go_goroutines 7\n";

static void an_exporter_tells_host_sockets_and_a_process(void **state)
{
    struct page p;
    struct joulet_error err;
    struct page_ask ask = {.pid = 42};
    static const char *const unbelievable[] = {
        HOST_AND_PROCESS("-1000000"),
        HOST_AND_PROCESS("-1000000") PROCESS("3000000"),
        HOST_AND_PROCESS("3000000") PROCESS("-1000000"),
        HOST_AND_PROCESS("1e300"),
    };
    (void)state;
    assert_int_equal(page_scaphandre(exporter, strlen(exporter), &ask, &p, &err), JOULET_OK);
    assert_int_equal(p.n, 4);
    assert_string_equal(p.values[0].name, "socket1");
    assert_int_equal(p.values[0].place, 2);
    assert_string_equal(p.values[1].name, "host");
    assert_near(p.values[1].value, 5, 1e-12);
    assert_string_equal(p.values[2].parent, "host");
    assert_near(p.values[2].value, 1, 1e-12);
    assert_string_equal(p.values[3].name, "process");
    assert_near(p.values[3].value, 2, 1e-12);
    ask.pid = 7;
    assert_int_equal(page_scaphandre(exporter, strlen(exporter), &ask, &p, &err), JOULET_OK);
    assert_true(isnan(p.values[3].value));
    ask.pid = 42;
    for (size_t i = 0; i < sizeof(unbelievable) / sizeof(unbelievable[0]); i++) {
        assert_int_equal(page_scaphandre(unbelievable[i], strlen(unbelievable[i]), &ask, &p, &err), JOULET_OK);
        assert_int_equal(p.n, 2);
        assert_true(isnan(p.values[1].value));
    }
    assert_int_equal(page_scaphandre("up 1\n", 5, &ask, &p, &err), JOULET_FORMAT);
    assert_int_equal(page_scaphandre("scaph_self_x 1\n", 15, &ask, &p, &err), JOULET_FORMAT);
}

static void members_of_a_collection(void **state)
{
    static const char list[] =
        "{\"Members\":[{\"@odata.id\":\"/redfish/v1/Chassis/1\"},{\"@odata.id\":\"http://evil/\"},{\"x\":1}]}";
    char id[64];
    (void)state;
    assert_true(page_redfish_member(list, strlen(list), 0, id, sizeof(id)));
    assert_string_equal(id, "/redfish/v1/Chassis/1");
    assert_false(page_redfish_member(list, strlen(list), 1, id, sizeof(id)));
    assert_false(page_redfish_member(list, strlen(list), 2, id, sizeof(id)));
    assert_false(page_redfish_member(list, strlen(list), 9, id, sizeof(id)));
    assert_false(page_redfish_member(list, strlen(list), 0, id, 5));
    assert_false(page_redfish_member("<", 1, 0, id, sizeof(id)));
    static const char links[] = "{\"Metrics\":{\"@odata.id\":\"/redfish/v1/M\"},\"X\":{\"@odata.id\":\"//evil/x\"},\"Y\":7}";
    assert_true(page_redfish_link(links, strlen(links), "Metrics", id, sizeof(id)));
    assert_string_equal(id, "/redfish/v1/M");
    assert_false(page_redfish_link(links, strlen(links), "X", id, sizeof(id)));
    assert_false(page_redfish_link(links, strlen(links), "Y", id, sizeof(id)));
    assert_false(page_redfish_link(links, strlen(links), "Z", id, sizeof(id)));
    assert_false(page_redfish_is_absent(links, strlen(links)));
    assert_false(page_redfish_is_absent("", 0));
}

static void addresses(void **state)
{
    static const struct {
        const char *text, *origin, *path;
        int channel;
        bool insecure;
    } good[] = {
        {"shelly://192.168.1.20", "http://192.168.1.20", "", -1, false},
        {"shelly://plug.local:8080/2", "http://plug.local:8080", "", 2, false},
        {"tasmota://[fe80::1]:80/", "http://[fe80::1]:80", "", -1, false},
        {"redfish+https://bmc/redfish/v1/Chassis/1?insecure", "https://bmc", "/redfish/v1/Chassis/1", -1, true},
        {"redfish://bmc", "http://bmc", "", -1, false},
        {"scaphandre://10.0.0.1", "http://10.0.0.1:8080", "", -1, false},
        {"scaphandre://10.0.0.1:9999", "http://10.0.0.1:9999", "", -1, false},
    };
    static const char *const bad[] = {"",
                                      "192.168.1.20",
                                      "http://192.168.1.20",
                                      "shelly://",
                                      "shelly:///0",
                                      "shelly://a b",
                                      "shelly://h:port",
                                      "shelly://h:123456",
                                      "shelly://user:word@h",
                                      "shelly://h/x",
                                      "shelly://h/-1",
                                      "shelly://h/64",
                                      "shelly://h/1/2",
                                      "shelly://h?secure",
                                      "redfish://bmc/etc/passwd",
                                      "shelly://[::1",
                                      "shelly://h/redfish/v1"};
    struct meter_address a;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(good); i++) {
        if (meter_address_parse(good[i].text, &a, &err) != JOULET_OK)
            fail_msg("%s", err.message);
        assert_string_equal(a.origin, good[i].origin);
        assert_string_equal(a.path, good[i].path);
        assert_int_equal(a.channel, good[i].channel);
        assert_int_equal(a.insecure, good[i].insecure);
    }
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        if (meter_address_parse(bad[i], &a, &err) != JOULET_USAGE)
            fail_msg("%s was taken", bad[i]);
        assert_null(strstr(err.message, "word@"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_answers_say),
        cmocka_unit_test(any_allocation_may_fail),
        cmocka_unit_test(steps_of_tasmota),
        cmocka_unit_test(every_cut_of_an_answer_is_borne),
        cmocka_unit_test(an_exporter_tells_host_sockets_and_a_process),
        cmocka_unit_test(members_of_a_collection),
        cmocka_unit_test(addresses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
