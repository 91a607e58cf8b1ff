/* Advice: each rule fires on the numbers that it is about and names them, and is silent when one of them is different or unknown.
 */
#include "tests/base/test.h"

#include "profile/advice.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* A decode that waits for memory, and nothing else that could be said of it. */
static struct profile_facts quiet(void)
{
    struct profile_facts f = profile_facts_none;
    f.model = "m.gguf";
    f.name = "m";
    f.unloads = true;
    f.threads = f.cores = 8;
    f.queued_share = 0;
    f.slots = 1;
    f.weight_bits = 4.5;
    f.decode_j = 80;
    f.prefill_j = 20;
    f.decode_bytes = 1000;
    f.weight_bytes = 800;
    f.cache_bytes = 150;
    f.memory_bound = true;
    f.scores_share = f.prefill_scores_share = .1;
    f.context_tokens = 500;
    f.flash_attention = 1;
    f.cache_bits = 16;
    f.loads = 1;
    f.load_j = 100;
    f.loaded_idle_w = 1;
    f.between_s = 50;
    f.longest_s = 60;
    f.output_tokens = 200;
    f.cut_share = 0;
    f.output_limit = 900;
    f.idle_w = 40;
    f.limit_w = 300;
    f.draw_w = 200;
    return f;
}

static void threads(struct profile_facts *f)
{
    f->threads = 16;
}
static void batch(struct profile_facts *f)
{
    f->queued_share = .5;
}
static void quantisation(struct profile_facts *f)
{
    f->weight_bits = 9;
}
static void context(struct profile_facts *f)
{
    f->context_tokens = 9000, f->cache_bytes = 400, f->weight_bytes = 580;
}
static void flash(struct profile_facts *f)
{
    f->context_tokens = 9000, f->flash_attention = 0;
}
static void loads(struct profile_facts *f)
{
    f->loads = 3;
}
static void output(struct profile_facts *f)
{
    f->output_tokens = 800, f->cut_share = .4;
}
static void cap(struct profile_facts *f)
{
    f->draw_w = 290;
}

static void fewer_threads(struct profile_facts *f)
{
    f->threads = 8;
}
static void no_queue(struct profile_facts *f)
{
    f->queued_share = .05;
}
static void computing(struct profile_facts *f)
{
    f->memory_bound = false;
}
static void short_context(struct profile_facts *f)
{
    f->context_tokens = 100;
}
static void flash_unknown(struct profile_facts *f)
{
    f->flash_attention = -1;
}
static void dear_idle(struct profile_facts *f)
{
    f->loaded_idle_w = 3;
}
static void uncut(struct profile_facts *f)
{
    f->cut_share = .1;
}
static void limit_unknown(struct profile_facts *f)
{
    f->limit_w = NAN;
}

static const struct {
    const char *rule, *why[4], *bench;
    void (*fires)(struct profile_facts *), (*silent)(struct profile_facts *);
    double least, most; /* of the whole profile */
} rows[] = {
    {"threads", {"16 threads", "8 cores"}, "--vary threads=16,8", threads, fewer_threads, -.1, .5},
    {"batch", {"50 %", "1 slots", "80 %"}, "--vary streams=1,4 --repeat 20", batch, no_queue, 0, 1.04 * .48},
    {"quantisation", {"9.0 bits", "80 %"}, "-m m.gguf -m ", quantisation, computing, 0, 1.04 * .32},
    {"context", {"9000 tokens", "40 %"}, "--vary kv-type=f16,q8_0", context, short_context, -.15 * .02, 1.04 * .15},
    {"flash_attention", {"10 %", "9000 tokens"}, "--vary flash-attention=off,on", flash, flash_unknown, -.02, .09},
    {"keep_alive", {"3 loads", "100 J", "50 s", "50 J"}, "keep-alive=0s,60s", loads, dear_idle, .01, .19},
    {"output_length", {"800 tokens", "40 %", "900"}, "--vary max-tokens=900,675", output, uncut, .09 / 1.04, 1.04 * .26},
    {"power_cap", {"290 W", "300 W"}, "joulet bench -m m.gguf", cap, limit_unknown, -.25 * 60 / 260, 1.04 * 60 / 260},
};

/* Further triggers of a rule, each with a near case in which it is silent. */
static void batch_seen(struct profile_facts *f)
{
    f->batch = 4, f->alone_j = 2, f->alone_pm_j = .06, f->batch_j = 1, f->batch_pm_j = .04;
}
static void one_load(struct profile_facts *f)
{
    f->requests = 10, f->load_j = 100, f->loaded_idle_w = .5, f->loaded_idle_pm_w = 2;
}
static void one_load_that_draws(struct profile_facts *f)
{
    one_load(f);
    f->load_j = 200, f->loaded_idle_w = 4, f->loaded_idle_pm_w = 1;
}
static void loads_without_idle(struct profile_facts *f)
{
    f->loads = 3, f->loaded_idle_w = NAN, f->between_s = f->longest_s = .5;
}
static void cap_of_a_card(struct profile_facts *f)
{
    f->draw_w = 290, f->limited = "amd0.board";
}
static void cap_of_a_processor(struct profile_facts *f)
{
    f->draw_w = 290, f->limited = "cpu0.package";
}
static void batch_no_cheaper(struct profile_facts *f)
{
    f->batch_j = 1.95;
}
static void small_load(struct profile_facts *f)
{
    f->load_j = .9;
}
static void dear_to_keep(struct profile_facts *f)
{
    f->loaded_idle_w = 8; /* nobody asks again within 9 s */
}
static void never_unloads(struct profile_facts *f)
{
    f->unloads = false;
}
static void long_gaps(struct profile_facts *f)
{
    f->between_s = f->longest_s = 50; /* 40 W for so long is more than a load */
}
static void far_from_it(struct profile_facts *f)
{
    f->draw_w = 200;
}

static const struct {
    const char *rule, *why[5], *action, *bench;
    void (*fires)(struct profile_facts *), (*silent)(struct profile_facts *);
    double least, most;
} further[] = {
    {"batch",
     {"2 J", "1 J", "4 at once"},
     "4 requests",
     "--vary streams=1,4 --repeat 20",
     batch_seen,
     batch_no_cheaper,
     .475 * .8 / 1.04,
     .525 * .8 * 1.04},
    {"keep_alive",
     {"100 J", "10 requests", "at most 2.5 W"},
     "16 s",
     "-m m --vary keep-alive=0s,16s",
     one_load,
     small_load,
     46 / 110.,
     1},
    {"keep_alive", {"100 J"}, "16 s", "keep-alive=0s,16s", one_load, never_unloads, 46 / 110., 1},
    {"keep_alive", {"3 loads"}, "1 s", "keep-alive=0s,1s", loads_without_idle, never_unloads, 114 / 400., 166 / 400.},
    {"keep_alive",
     {"200 J", "20 requests", "at most 5 W"},
     "16 s",
     "keep-alive=0s,16s",
     one_load_that_draws,
     dear_to_keep,
     92 / 210.,
     1},
    {"keep_alive",
     {"3 loads", "0.5 s", "20 J"},
     "1 s",
     "keep-alive=0s,1s",
     loads_without_idle,
     long_gaps,
     (180 - 1.1 * 60) / 400.,
     (220 - .9 * 60) / 400.},
    {"power_cap",
     {"290 W"},
     "rocm-smi --setpoweroverdrive 240",
     "joulet bench",
     cap_of_a_card,
     far_from_it,
     -.25 * 60 / 260,
     1.04 * 60 / 260},
    {"power_cap", {"290 W"}, "cpu0 to 240 W", "joulet bench", cap_of_a_processor, far_from_it, -.25 * 60 / 260, 1.04 * 60 / 260},
};

static void further_triggers(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(further); i++) {
        struct profile_advice a[PROFILE_RULES];
        struct profile_facts f = quiet();
        further[i].fires(&f);
        assert_int_equal(profile_advise(&f, a), 1);
        assert_string_equal(a[0].rule, further[i].rule);
        for (size_t k = 0; k < JL_COUNT(further[i].why) && further[i].why[k]; k++)
            if (!strstr(a[0].why, further[i].why[k]))
                fail_msg("%s: '%s' does not say '%s'", further[i].rule, a[0].why, further[i].why[k]);
        if (!strstr(a[0].action, further[i].action))
            fail_msg("%s: '%s' does not say '%s'", further[i].rule, a[0].action, further[i].action);
        assert_non_null(strstr(a[0].bench, further[i].bench));
        assert_near(a[0].saving - a[0].saving_pm, further[i].least, 1e-3);
        assert_near(a[0].saving + a[0].saving_pm, further[i].most, 1e-3);
        further[i].silent(&f);
        assert_int_equal(profile_advise(&f, a), 0);
    }
}

/* Requests that come within the time it names, each loading for itself before and none of them after: what that saves lies
 * inside, whatever the gaps. */
static void staying_loaded_saves_what_is_said(void **state)
{
    struct jl_rng rng = {7};
    (void)state;
    for (int round = 0; round < 500; round++) {
        struct profile_advice a[PROFILE_RULES];
        struct profile_facts f = quiet();
        double kept_s, kept_j = 0, requests_j, requests = 10;
        int n = 1 + (int)jl_rng_below(&rng, 30);
        f.requests = requests;
        f.load_j = 100 + 100 * jl_rng_uniform(&rng); /* enough for 10 s at 4 W */
        f.loaded_idle_w = jl_rng_uniform(&rng) * 3 - 1;
        f.loaded_idle_pm_w = .2 + jl_rng_uniform(&rng);
        double true_w = fmax(0, f.loaded_idle_w + f.loaded_idle_pm_w * (2 * jl_rng_uniform(&rng) - 1));
        assert_int_equal(profile_advise(&f, a), 1);
        assert_int_equal(sscanf(strstr(a[0].bench, "0s,"), "0s,%lfs", &kept_s), 1);
        for (int i = 0; i < n; i++)
            kept_j += true_w * kept_s * jl_rng_uniform(&rng);
        requests_j = n * (f.decode_j + f.prefill_j) / requests;
        double saving = (n * f.load_j - kept_j) / (requests_j + n * f.load_j);
        assert_true(fabs(saving - a[0].saving) <= a[0].saving_pm);
    }
}

static void each_rule_fires_on_its_numbers(void **state)
{
    (void)state;
    assert_int_equal(JL_COUNT(rows), PROFILE_RULES);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct profile_advice a[PROFILE_RULES];
        struct profile_facts f = quiet();
        rows[i].fires(&f);
        assert_int_equal(profile_advise(&f, a), 1);
        assert_string_equal(a[0].rule, rows[i].rule);
        for (size_t k = 0; k < JL_COUNT(rows[i].why) && rows[i].why[k]; k++)
            if (!strstr(a[0].why, rows[i].why[k]))
                fail_msg("%s: '%s' does not say '%s'", rows[i].rule, a[0].why, rows[i].why[k]);
        assert_non_null(strstr(a[0].bench, rows[i].bench));
        assert_true(strncmp(a[0].bench, "joulet bench ", 13) == 0 && strncmp(a[0].compare, "joulet compare ", 15) == 0);
        assert_true(a[0].action[0] != '\0');
        assert_near(a[0].saving - a[0].saving_pm, rows[i].least, 1e-9);
        assert_near(a[0].saving + a[0].saving_pm, rows[i].most, 1e-9);
        rows[i].silent(&f);
        assert_int_equal(profile_advise(&f, a), 0);
    }
}

static void nothing_known_nothing_said(void **state)
{
    struct profile_advice a[PROFILE_RULES];
    struct profile_facts f = profile_facts_none;
    (void)state;
    assert_int_equal(profile_advise(&f, a), 0);
    f = quiet();
    assert_int_equal(profile_advise(&f, a), 0);
    f.threads = 16;
    f.decode_j = NAN; /* a trigger, but nothing to say of the saving */
    assert_int_equal(profile_advise(&f, a), 0);
}

static void the_largest_first(void **state)
{
    struct profile_advice a[PROFILE_RULES];
    struct profile_facts f = quiet();
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        rows[i].fires(&f);
    size_t n = profile_advise(&f, a);
    assert_int_equal(n, PROFILE_RULES);
    for (size_t i = 1; i < n; i++)
        assert_true(a[i].saving <= a[i - 1].saving);
}

static void commands_can_be_copied(void **state)
{
    struct profile_advice a[PROFILE_RULES];
    struct profile_facts f = quiet();
    char longest[200];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        rows[i].fires(&f);
    f.model = "my models/it's.gguf";
    f.name = "it is";
    assert_int_equal(profile_advise(&f, a), PROFILE_RULES);
    for (size_t i = 0; i < PROFILE_RULES; i++) {
        bool loads = strcmp(a[i].rule, "keep_alive") == 0;
        assert_non_null(strstr(a[i].bench, loads ? " -m 'it is' " : " -m 'my models/it'\\''s.gguf' "));
        assert_null(strchr(a[i].bench, '('));
    }
    memset(longest, 'x', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    f.model = longest; /* a command that breaks off does harm */
    assert_int_equal(profile_advise(&f, a), PROFILE_RULES);
    for (size_t i = 0; i < PROFILE_RULES; i++)
        assert_true(strstr(a[i].bench, " -m MODEL ") || strcmp(a[i].rule, "keep_alive") == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_rule_fires_on_its_numbers),
        cmocka_unit_test(further_triggers),
        cmocka_unit_test(staying_loaded_saves_what_is_said),
        cmocka_unit_test(nothing_known_nothing_said),
        cmocka_unit_test(the_largest_first),
        cmocka_unit_test(commands_can_be_copied),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
