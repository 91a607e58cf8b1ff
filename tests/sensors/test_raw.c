/* Raw values of devices: counters that wrap, restart or show nonsense, and values that cover spans. Every fault has a case that
 * fires and a near one that stays silent. */
#include "lib/sensors/sensor.h"

#include "tests/base/test.h"

#define J    1000000u
#define ONES UINT64_MAX

enum told { COUNTS, RESTARTS, NONSENSE, WAITS }; /* WAITS: nothing yet, and nothing wrong */

struct step {
    double t_s;
    uint64_t raw;
    enum told told;
    int64_t total; /* of a good reading */
};

static const struct row {
    const char *name;
    struct jl_counter counter;
    struct step steps[6];
} rows[] = {
    {"steady", {.max_w = 100}, {{0, 5 * J, COUNTS, 0}, {1, 6 * J, COUNTS, J}, {2, 6 * J, COUNTS, J}, {3, 7 * J, COUNTS, 2 * J}}},
    {"a wrap is no restart",
     {.range_uj = 262143328850, .max_w = 2000},
     {{0, 262143000000, COUNTS, 0}, {0.01, 500000, COUNTS, 828850}, {0.02, 600000, COUNTS, 928850}}},
    {"nobody knows how often it wrapped meanwhile",
     {.range_uj = 5 * J, .max_w = 2000, .wraps_w = 20},
     {{0, 1 * J, COUNTS, 0}, {0.2, 4 * J, COUNTS, 3 * J}, {1, 2 * J, RESTARTS, 3 * J}, {1.1, 3 * J, COUNTS, 4 * J}}},
    {"a wrap that would need more power than there is",
     {.range_uj = 262143328850, .max_w = 2000},
     {{0, 200000 * (uint64_t)J, COUNTS, 0}, {0.01, 5, RESTARTS, 0}, {0.02, 10, COUNTS, 5}}},
    {"a jump just possible: 150 W for 1.1 s", {.max_w = 100}, {{0, 0, COUNTS, 0}, {1, 164 * J, COUNTS, 164 * J}}},
    {"a jump just impossible", {.max_w = 100}, {{0, 0, COUNTS, 0}, {1, 166 * J, RESTARTS, 0}, {2, 167 * J, COUNTS, J}}},
    {"a device that updates seldom may jump", {.max_w = 100, .longest_s = 2}, {{0, 0, COUNTS, 0}, {1, 166 * J, COUNTS, 166 * J}}},
    {"without a known limit any jump is possible",
     {.max_w = NAN},
     {{0, 0, COUNTS, 0}, {1, 166000 * (uint64_t)J, COUNTS, 166000 * (int64_t)J}}},
    {"64 bits never go back", {.max_w = 100}, {{0, 5 * J, COUNTS, 0}, {1, 5 * J - 1, RESTARTS, 0}, {2, 6 * J, COUNTS, J + 1}}},
    {"all bits set is no value", {.max_w = NAN}, {{0, 5 * J, COUNTS, 0}, {1, ONES, NONSENSE, 0}, {2, 7 * J, COUNTS, 2 * J}}},
    {"nearly all bits set is one", {.max_w = NAN}, {{0, 5, COUNTS, 0}, {1, ONES >> 1, COUNTS, (int64_t)(ONES >> 1) - 5}}},
    {"a doubted jump that is taken back",
     {.max_w = 100, .doubt = true, .started = true},
     {{0, 0, COUNTS, 0}, {1, 5000 * (uint64_t)J, NONSENSE, 0}, {2, 20 * J, COUNTS, 20 * J}}},
    {"the same doubted value again and again is no restart",
     {.max_w = 100, .longest_s = 1, .doubt = true, .started = true},
     {{0, 0, COUNTS, 0},
      {1, 5000 * (uint64_t)J, NONSENSE, 0},
      {1.5, 5000 * (uint64_t)J, NONSENSE, 0},
      {2, 20 * J, COUNTS, 20 * J}}},
    {"a counter that stands where it jumped to has restarted",
     {.max_w = 100, .longest_s = 1, .doubt = true, .started = true, .last_uj = 9 * J},
     {{0, 9 * J, COUNTS, 0}, {1, 1 * J, NONSENSE, 0}, {2.9, 1 * J, NONSENSE, 0}, {3.1, 1 * J, RESTARTS, 0}}},
    {"a doubted jump that goes on is a restart",
     {.max_w = 100, .doubt = true, .started = true, .last_uj = 9 * J},
     {{0, 9 * J, COUNTS, 0}, {1, 1 * J, NONSENSE, 0}, {2, 2 * J, RESTARTS, 0}, {3, 3 * J, COUNTS, J}}},
    {"two doubted values that do not agree",
     {.max_w = 100, .doubt = true, .started = true},
     {{0, 0, COUNTS, 0},
      {1, 5000 * (uint64_t)J, NONSENSE, 0},
      {2, 900000 * (uint64_t)J, NONSENSE, 0},
      {3, 30 * J, COUNTS, 30 * J}}},
    {"the device begins with nonsense",
     {.max_w = 100, .doubt = true},
     {{0, ONES, NONSENSE, 0}, {1, 5 * J, WAITS, 0}, {2, 6 * J, COUNTS, 0}, {3, 7 * J, COUNTS, J}}},
    {"the device begins with a jump",
     {.max_w = 100, .doubt = true},
     {{0, 5000 * (uint64_t)J, WAITS, 0}, {1, 5 * J, WAITS, 0}, {2, 6 * J, COUNTS, 0}, {3, 7 * J, COUNTS, J}}},
    {"a device that is not doubted begins at once", {.max_w = 100}, {{0, 5 * J, COUNTS, 0}, {1, 6 * J, COUNTS, J}}},
};

static void counters(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_counter c = rows[i].counter;
        for (size_t k = 0; k < JL_COUNT(rows[i].steps) && (k == 0 || rows[i].steps[k].t_s > 0); k++) {
            const struct step *s = &rows[i].steps[k];
            struct sensor_reading r;
            jl_counter_take(&c, s->raw, jl_ns(s->t_s), &r);
            enum told told = r.status == JOULET_FORMAT ? NONSENSE : !r.has ? WAITS : r.reset ? RESTARTS : COUNTS;
            if (told != s->told || (told == NONSENSE && r.has) || (r.has && r.value != s->total))
                fail_msg("%s, step %zu: told %d, %lld", rows[i].name, k, (int)told, (long long)r.value);
        }
    }
}

static void powers(void **state)
{
    static const struct {
        uint64_t raw;
        bool ok;
    } cases[] = {{0, true},     {699u * J, true},      {1050u * J, true},  {1051u * J, false},
                 {ONES, false}, {65535000000u, false}, {1ull << 63, false}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct sensor_reading r;
        jl_power_take(cases[i].raw, 700, &r);
        assert_int_equal(r.has, cases[i].ok);
        assert_int_equal(r.status, cases[i].ok ? JOULET_OK : JOULET_FORMAT);
        assert_true(!cases[i].ok || r.value == (int64_t)cases[i].raw);
    }
}

/* Texts arrive 20 ms late at best and up to 50 ms: once one came at its best, ends are told to that. */
static void spans(void **state)
{
    static const double lengths[] = {0.120, 0.118, 0.125, 0.129, 0.116}, delays[] = {0.050, 0.030, 0.020, 0.045, 0.024};
    static const double late[] = {0.050, 0.030, 0.020, 0.020, 0.020};
    struct jl_spans s = {.any = false};
    double end = 3;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(lengths); i++) {
        end += lengths[i];
        assert_near(jl_spans_end(&s, end + delays[i], lengths[i]), end + late[i], 1e-12);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(counters), cmocka_unit_test(powers), cmocka_unit_test(spans)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
