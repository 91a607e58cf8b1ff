/* IPMI DCMI: the answer of a management controller, and a stand-in for one behind the production reader. */
#include "lib/sensors/dcmi.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"
#include "tests/sensors/stand_in.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* 214 W now, 10 to 500, 199 on average; 1 s; measuring. */
static const uint8_t good[] = {0x00, 0xdc, 0xd6, 0x00, 0x0a, 0x00, 0xf4, 0x01, 0xc7, 0x00,
                               0x00, 0xe4, 0x54, 0x65, 0xe8, 0x03, 0x00, 0x00, 0x40};

static void answers(void **state)
{
    struct dcmi_power p;
    (void)state;
    assert_int_equal(dcmi_parse(good, sizeof(good), &p), DCMI_OK);
    assert_int_equal(p.now_w, 214);
    assert_int_equal(p.least_w, 10);
    assert_int_equal(p.most_w, 500);
    assert_int_equal(p.mean_w, 199);
    assert_int_equal(p.period_ms, 1000);
    assert_int_equal(p.time_s, 0x6554e400);
    assert_true(p.active);
    for (size_t n = 0; n < sizeof(good); n++) {
        uint8_t *cut = malloc(n ? n : 1);
        memcpy(cut, good, n);
        assert_int_equal(dcmi_parse(cut, n, &p), DCMI_NONSENSE);
        free(cut);
    }
    static const struct {
        uint8_t code;
        enum dcmi_result want;
    } codes[] = {{0xc1, DCMI_NONE}, {0xcc, DCMI_NONE}, {0xd4, DCMI_REFUSED},
                 {0xc0, DCMI_BUSY}, {0xd5, DCMI_BUSY}, {0xff, DCMI_NONSENSE}};
    for (size_t i = 0; i < JL_COUNT(codes); i++)
        assert_int_equal(dcmi_parse(&codes[i].code, 1, &p), codes[i].want);
    uint8_t other[sizeof(good)];
    memcpy(other, good, sizeof(good));
    other[1] = 0;
    assert_int_equal(dcmi_parse(other, sizeof(other), &p), DCMI_NONSENSE);
}

static void a_server(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "server");
    stand_in_begin(312);
    stand_in.period_ms = 5000;
    assert_int_equal(open_sensors(&l, "ipmi", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n, 1);
    const struct joulet_channel *c = find_channel(&l, "server0.power");
    assert_int_equal(c->domain, JOULET_DOMAIN_CHASSIS);
    assert_false(c->in_total);
    assert_near(c->window_s, 5, 0);
    assert_int_equal(c->provenance, JOULET_SIMULATED);
    assert_string_equal(find_fact(&l, "server0", "averaged_s"), "5");
    assert_int_equal(read_channel(&l, "server0.power").value, 312000000);
    stand_in.power_w = 280;
    assert_int_equal(read_channel(&l, "server0.power").value, 280000000);
    stand_in.inactive = true;
    struct sensor_reading r = read_channel(&l, "server0.power");
    assert_true(!r.has && r.status == JOULET_OK);
    stand_in.inactive = false;
    stand_in.nonsense = true;
    assert_int_equal(read_channel(&l, "server0.power").status, JOULET_FORMAT);
    stand_in.nonsense = false;
    stand_in.code = 0xc0;
    assert_int_equal(read_channel(&l, "server0.power").status, JOULET_IO);
    stand_in.code = 0;
    stand_in.read_error = ETIMEDOUT;
    assert_int_equal(read_channel(&l, "server0.power").status, JOULET_IO);
    close_sensors(&l);
    assert_int_equal(stand_in.opened, stand_in.closed);
    stand_in_end();
    machine_close(&m);
}

static void a_controller_that_leaves_and_returns(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "server");
    stand_in_begin(312);
    open_sensors(&l, "ipmi", NULL, NULL);
    stand_in.read_error = ENODEV;
    assert_int_equal(read_channel(&l, "server0.power").status, JOULET_GONE);
    stand_in.read_error = 0;
    assert_int_equal(read_channel(&l, "server0.power").status, JOULET_GONE);
    jl_sleep_until(jl_mono_ns() + 1050000000);
    assert_true(read_channel(&l, "server0.power").has);
    close_sensors(&l);
    assert_int_equal(stand_in.opened, stand_in.closed);
    stand_in_end();
    machine_close(&m);
}

static void what_is_in_the_way(void **state)
{
    static const struct {
        int open_error, read_error;
        uint8_t code;
        bool nonsense;
        size_t problems;
        enum joulet_status status;
        const char *says;
    } rows[] = {
        {ENOENT, 0, 0, false, 0, 0, ""},
        {EACCES, 0, 0, false, 1, JOULET_PERMISSION, "root only"},
        {EIO, 0, 0, false, 1, JOULET_IO, "modprobe ipmi_si"},
        {0, ETIMEDOUT, 0, false, 1, JOULET_IO, "does not answer"},
        {0, 0, 0xc1, false, 0, 0, ""}, /* a controller without power readings */
        {0, 0, 0xd4, false, 1, JOULET_PERMISSION, "root only"},
        {0, 0, 0xff, false, 1, JOULET_FORMAT, "firmware"},
        {0, 0, 0, true, 1, JOULET_FORMAT, "firmware"},
    };
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "server");
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        stand_in_begin(312);
        stand_in.open_error = rows[i].open_error;
        stand_in.read_error = rows[i].read_error;
        stand_in.code = rows[i].code;
        stand_in.nonsense = rows[i].nonsense;
        assert_int_equal(open_sensors(&l, "ipmi", NULL, NULL), JOULET_OK);
        assert_int_equal(l.n, 0);
        if (l.n_problems != rows[i].problems ||
            (l.n_problems && (l.problems[0].status != rows[i].status || !strstr(l.problems[0].message, rows[i].says))))
            fail_msg("row %zu: %zu problems, %s", i, l.n_problems, l.n_problems ? l.problems[0].message : "");
        close_sensors(&l);
        assert_int_equal(stand_in.opened, stand_in.closed);
        stand_in_end();
    }
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),
        cmocka_unit_test(a_server),
        cmocka_unit_test(a_controller_that_leaves_and_returns),
        cmocka_unit_test(what_is_in_the_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
