/* test_cli_profile.c - `joulet profile` from end to end on an engine whose components draw known powers: the three ways by which
 * their energy is found, which one the record names, and what is left when the engine cannot be looked into. */
#include "profile/counts.h"
#include "run/profile.h"
#include "tests/cli/profiled.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"
#include "tests/sim_engine/sim_probe.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* How exact the figures are is the matter of bench/profile: here the machine is busy with other tests. */
#define TOKEN_S 0.02285         /* of the simulated engine, without the rest behind it */
#define LATE    0.01            /* of the time of steps: from there on the engine's lateness may be what is seen */
#define GAIN    (0.1 / sqrt(3)) /* +- of a sensor whose gain errs by 5 % at most */
#define TRIES   3               /* a machine that is busy with others may keep the sensor from being read: once more then */

struct way {
    const char *sensor, *slower, *more; /* what the sensor is besides its curve; one more variable of the engine, NULL none */
    const char *tokens, *requests, *option, *value;
};

/* Idle, before anything was started: a load has a level to be above. */
static void begin_curve(void)
{
    char line[80];
    snprintf(line, sizeof line, "%lld %g\n", (long long)jl_mono_ns(), SIM_IDLE_WATTS);
    scratch_write("curve", line);
}

static void profile(const struct way *w, struct program *p)
{
    char curve[600], slower[40], folder[600], sim[700];
    snprintf(curve, sizeof curve, "SIM_CURVE=%s", scratch("curve"));
    snprintf(slower, sizeof slower, "SIM_SLOWER=%s", w->slower);
    snprintf(folder, sizeof folder, "XDG_RUNTIME_DIR=%s", scratch("runtime"));
    snprintf(sim, sizeof sim, "follow:%s%s", scratch("curve"), w->sensor);
    mkdir(scratch("runtime"), 0700);
    begin_curve();
    remove(scratch("p.json"));
    const char *env[] = {curve, slower, folder, "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0", w->more, NULL};
    const char *args[] = {"profile",
                          "--engine",
                          PROFILED_SERVER,
                          "-m",
                          tiny_model(NULL),
                          "--sim",
                          sim,
                          "--baseline",
                          "2s",
                          "--requests",
                          w->requests,
                          "-n",
                          w->tokens,
                          "--json",
                          "-o",
                          scratch("p.json"),
                          "why is that so",
                          w->option,
                          w->value,
                          NULL};
    *p = (struct program){.env = env};
    program_run(p, args);
    p->env = NULL;
}

/* Until the record names the path; the last try is left to the caller to judge. */
static void profile_until(const struct way *w, const char *path, struct run_profile *out)
{
    for (int i = 0; i < TRIES; i++) {
        struct program p;
        profile(w, &p);
        if (p.code != 0)
            fail_msg("ended with %d: %s", p.code, kept(&p.err));
        program_release(&p);
        profile_read("p.json", out);
        if (!strcmp(out->how.path, path))
            return;
        if (i + 1 < TRIES)
            run_profile_release(out);
    }
    fail_msg("the path is %s (%s), not %s", out->how.path, out->how.reason, path);
}

static bool is(const struct run_profile *p, const char *phase, const char *component, double truth, double within)
{
    struct run_profile_row sum = run_profile_sum(p, phase, component, RUN_PROFILE_ALL_LAYERS);
    bool near = fabs(sum.joules - truth) <= fmax(within * truth, sum.joules_pm) && sum.joules_pm <= 3 * within * truth;
    if (!near)
        print_message("  %s, %s: %.4g J +- %.2g, and in truth %.4g J\n", phase, component, sum.joules, sum.joules_pm, truth);
    return near;
}

/* Of a phase in which each component takes `times` as long as in one token. wider: times 5 %, of norms 8. */
static bool rows_are(const struct run_profile *p, const char *phase, double times, double wider)
{
    static const struct {
        const char *component;
        enum wire_kind kind;
        double within;
    } rows[] = {{"attention", WIRE_ATTENTION, 0.05},
                {"ffn", WIRE_FFN, 0.05},
                {"head", WIRE_HEAD, 0.05},
                {"ffn_norm", WIRE_FFN_NORM, 0.08}};
    bool all = true;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        all &= is(p, phase, rows[i].component, times * sim_component_j(rows[i].kind), wider * rows[i].within);
    return all;
}

/* What came after the engine had read it, until the first token was here, is in it, at the power of tokens at most. */
static bool prefill_is(const struct run_profile *p, const struct way *w, double wider)
{
    const struct sim_probe_options o = {.slower = atof(w->slower)};
    const struct run_profile_phase *x = run_profile_phase(p, "prefill");
    double prompts = atof(w->requests), truth = prompts * sim_prompt_j(&o, 0), truth_s = prompts * SIM_WIDE * o.slower * TOKEN_S;
    double behind = fmax(0, x->seconds - truth_s) * sim_component_token_j() / TOKEN_S;
    double within = fmax(wider * 0.03 * truth, x->joules_pm);
    bool near = x->joules >= truth - within && x->joules <= truth + within + behind;
    if (!near)
        print_message("  prefill: %.4g J in %.4g s, and in truth %.4g J\n", x->joules, x->seconds, truth);
    return near && (strcmp(p->how.path, "plain") || rows_are(p, "prefill", prompts * SIM_WIDE * o.slower, wider));
}

/* Of the gain and of the idle level: there is no +- below that. */
static double least_pm(const struct run_profile *p, double joules, double seconds)
{
    return hypot(GAIN * joules, p->how.idle_w_pm * seconds);
}

static bool is_small(const struct run_profile_row *r)
{
    return !strcmp(r->component, "rest") || !strcmp(r->component, "embedding");
}

/* What the probe costs is in each +- besides; where the engine was on time, little else. */
static bool is_narrow(const struct run_profile *p)
{
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        double expected = hypot(least_pm(p, r->joules, r->seconds), p->how.instrumented_pm * r->joules);
        if (is_small(r) || !(r->joules_pm > 3 * expected))
            continue;
        print_message("  %s, %s: +- %.2g J, not %.2g\n", r->phase, r->component, r->joules_pm, expected);
        return false;
    }
    return true;
}

static bool components_are(const struct run_profile *p, const struct way *w, double wider)
{
    double tokens = (double)run_profile_phase(p, "decode")->tokens;
    return rows_are(p, "decode", tokens * atof(w->slower), wider) && prefill_is(p, w, wider);
}

static bool is_sound(const struct run_profile *p)
{
    double rows_s = 0;
    for (size_t i = 0; i < p->n_rows; i++)
        rows_s += strcmp(p->rows[i].phase, "decode") ? 0 : p->rows[i].seconds;
    return p->how.closure > 0.95 && p->how.closure < 1.05 && p->how.stretches > 0.99 && p->how.condition < 30 &&
           fabs(p->how.instrumented - 1) <= fmax(0.1, p->how.instrumented_pm) &&
           fabs(rows_s / run_profile_phase(p, "decode")->seconds - 1) < 0.2; /* its own length is that of the plain requests */
}

/* ---- what does not depend on the machine ---------------------------------------------------------------------------------- */

/* Of plain requests. In order there are one to warm up, one in pairs where each graph is watched, and then in each round a plain
 * one, a watched one and, for lock-in, one in which components are executed again. */
static double plain_s(const struct run_profile *p, const char *stage, size_t rounds)
{
    size_t n = 0, first = p->how.every > 1 ? 1 : 2, round = strcmp(p->how.path, "lock-in") ? 2 : 3;
    double sum = 0;
    for (size_t i = 0; i < p->n_spans; i++) {
        if (strcmp(p->spans[i].stage, stage) != 0)
            continue;
        if (n >= first && n < first + rounds * round && (n - first) % round == 0)
            sum += p->spans[i].to_s - p->spans[i].from_s;
        n++;
    }
    return sum;
}

/* Phases do not overlap, and nothing is lost between them; host work without a power stays in its phase. */
static void must_last(const struct run_profile *p, const struct way *w)
{
    static const char *const phases[][3] = {{"prefill", "tokenise"}, {"decode", "sample", "detokenise"}};
    double rounds = atof(w->requests);
    for (size_t i = 0; i < JL_COUNT(phases); i++) {
        double sum = 0, plain = plain_s(p, phases[i][0], (size_t)rounds);
        for (size_t k = 0; k < JL_COUNT(phases[i]) && phases[i][k]; k++) {
            const struct run_profile_phase *x = run_profile_phase(p, phases[i][k]);
            sum += x && (k == 0 || x->power_of[0]) ? x->seconds : 0;
        }
        if (!(fabs(sum / plain - 1) < 1e-6))
            fail_msg("%s and its host work take %.9g s, the plain requests %.9g", phases[i][0], sum, plain);
    }
    /* Half of the rest, behind each step: an answer's first token is its prompt's. */
    double steps = (double)run_profile_phase(p, "decode")->tokens + rounds;
    double sample_s = steps * SIM_REST_MS / 2 * 1e-3 * atof(w->slower);
    assert_true(fabs(run_profile_phase(p, "sample")->seconds / sample_s - 1) < 1e-6);
}

static void must_add_up(const struct run_profile *p, const struct way *w)
{
    size_t layers = 0;
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        layers += !strcmp(r->phase, "decode") && !strcmp(r->component, "attention") && r->layer >= 0;
        if (isfinite(r->joules_pm) && !(r->joules_pm >= 0.95 * least_pm(p, r->joules, r->seconds)))
            fail_msg("%s, %s: +- %g J, less than gain and idle level", r->phase, r->component, r->joules_pm);
    }
    assert_int_equal(layers, SIM_LAYERS);
    assert_non_null(run_profile_phase(p, "load"));
    must_last(p, w);
    assert_true(p->n_trace > 10 && p->n_spans >= 5 && p->n_points > 0);
    assert_non_null(p->sensor);
    assert_non_null(run_pairs_get(&p->model, "layers"));
    assert_string_equal(p->how.layers_power, "assumed");
    assert_true(fabs(p->how.idle_w / SIM_IDLE_WATTS - 1) < 0.1 && p->how.idle_w_pm > 0);
    assert_true(p->how.instrumented != 1 && p->how.instrumented_pm > 0); /* measured: no two answers took the same */
    assert_int_equal(p->how.lost, 0);
    assert_false(p->how.estimated);
}

/* Once more where it is not true, and where the engine was late without counting that. On a machine on which it always is,
 * figures must lie within twice the limits; false then, for what a machine that keeps time alone can show. */
static bool profile_true(const struct way *w, const char *path, struct run_profile *out)
{
    for (int failed = 0, late = 0;;) {
        profile_until(w, path, out);
        must_add_up(out, w);
        if (components_are(out, w, 1) && is_sound(out) && is_narrow(out))
            return true;
        double share = profile_lateness("curve", atof(w->slower));
        bool was_late = share > LATE;
        print_message("  closure %.3f, with the probe %.3f; the engine was late by %.2g of its time\n", out->how.closure,
                      out->how.instrumented, share);
        late += was_late;
        failed += !was_late;
        assert_true(failed < TRIES);
        if (late >= TRIES) {
            assert_true(components_are(out, w, 2));
            return false;
        }
        run_profile_release(out);
    }
}

/* ---- the three paths ----------------------------------------------------------------------------------------------------- */

/* As RAPL: many readings in a token. Shares of time would be a failure here. */
static void a_fast_counter_tells_plain_tokens_apart(void **state)
{
    static const struct way w = {.sensor = ";device=amdgpu-energy", .slower = "3", .tokens = "14", .requests = "2"};
    struct run_profile p;
    (void)state;
    profile_true(&w, "plain", &p);
    assert_string_equal(p.how.reason, "");
    run_profile_release(&p);
}

static bool has_note(const struct run_profile *p, const char *words)
{
    for (size_t i = 0; i < p->n_notes; i++)
        if (strstr(p->notes[i], words))
            return true;
    return false;
}

/* Half of the rest is sampling, at its power. */
static void must_have_sampled(const struct run_profile *p)
{
    const struct run_profile_phase *x = run_profile_phase(p, "sample");
    double truth = x->seconds * SIM_REST_WATTS;
    assert_string_equal(x->power_of, "rest");
    assert_true(x->joules_pm > 0 && isnan(x->limit_j));
    assert_true(fabs(x->joules - truth) <= fmax(0.1 * truth, x->joules_pm));
    assert_int_equal(p->n_host, 0);
    assert_true(has_note(p, "host work was not run by itself, so its seconds have the power of the rest of the phase"));
    assert_true(has_note(p, "refused /tokenize (HTTP 404)"));
}

/* Alone each draws what it draws in tokens; the head is faster then, as if in a cache. */
static void must_check_out(const struct run_profile *p)
{
    static const struct {
        const char *component;
        enum wire_kind kind;
        double watts, ratio;
    } rows[] = {{"ffn", WIRE_FFN, 95, 1}, {"head", WIRE_HEAD, 60, SIM_WARM}};
    assert_int_equal(p->n_replay, JL_COUNT(rows));
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct run_profile_replay *x = &p->replay[i];
        assert_string_equal(x->component, rows[i].component);
        assert_true(x->seconds >= 2 && x->rounds > 0);
        assert_true(fabs(x->watts - rows[i].watts) <= fmax(0.05 * rows[i].watts, x->watts_pm));
        assert_true(fabs(x->joules - sim_component_j(rows[i].kind)) <= fmax(0.05 * x->joules, x->joules_pm));
        assert_true(fabs(x->difference) <= fmax(0.06, x->difference_pm) && x->difference_pm > 0);
        assert_true(fabs(x->time_ratio - rows[i].ratio) < 0.02);
        assert_true(x->warm == (rows[i].ratio < 0.9));
    }
}

static void a_slow_counter_needs_repeats(void **state)
{
    static const struct way w = {.sensor = ";device=amdgpu-energy;period=20ms",
                                 .slower = "1",
                                 .tokens = "60",
                                 .requests = "2",
                                 .option = "--cross-check",
                                 .value = "ffn,head"};
    struct run_profile p;
    (void)state;
    if (profile_true(&w, "lock-in", &p))
        must_check_out(&p);
    must_have_sampled(&p);
    run_profile_release(&p);
}

/* ---- host work ----------------------------------------------------------------------------------------------------------- */

/* What else lies in a loop draws half of its power at most. */
static double host_most_pm(const struct run_profile *p, const char *name, const struct run_profile_phase *x)
{
    for (size_t i = 0; i < p->n_host; i++)
        if (!strcmp(p->host[i].work, name))
            return 2 * (least_pm(p, x->joules, x->seconds) + (1 - p->host[i].inside) * x->joules);
    fail_msg("%s was not run by itself", name);
    return NAN;
}

/* Its seconds are those of its tokens, and its joules those at the power that it draws. */
static bool host_is(const struct run_profile *p, const char *name, double tokens, double watts)
{
    const struct run_profile_phase *x = run_profile_phase(p, name);
    assert_non_null(x);
    assert_true(fabs(x->seconds / (tokens * SIM_TEXT_US * 1e-6) - 1) < 1e-6);
    assert_string_equal(x->power_of, "loop");
    assert_true(x->joules_pm > 0 && isnan(x->limit_j));
    bool near = fabs(x->joules - x->seconds * watts) <= x->joules_pm && x->joules_pm <= host_most_pm(p, name, x);
    if (!near)
        print_message("  %s: %.4g J +- %.2g, and in truth %.4g J\n", name, x->joules, x->joules_pm, x->seconds * watts);
    return near;
}

static void must_have_loops(const struct run_profile *p)
{
    static const char *const names[] = {"tokenise", "detokenise"};
    assert_int_equal(p->n_host, JL_COUNT(names));
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        assert_string_equal(p->host[i].work, names[i]);
        assert_string_equal(p->host[i].channels, "total"); /* the sensor is one of a card */
        assert_true(p->host[i].seconds >= 2 && p->host[i].tokens > 0);
        assert_true(fabs(p->host[i].inside - fmin(1, p->host[i].tokens * SIM_TEXT_US * 1e-6 / p->host[i].seconds)) < 1e-6);
        assert_true(p->host[i].watts_pm >= 0.95 * least_pm(p, p->host[i].watts, 1));
    }
    assert_false(has_note(p, "by itself"));
}

static double known(double x)
{
    return isnan(x) ? 0 : x;
}

/* What is taken out of a phase is in another one, and its interval is in both. */
static void must_stay_whole(const struct run_profile *p)
{
    const struct run_profile_phase *decode = run_profile_phase(p, "decode"), *sample = run_profile_phase(p, "sample"),
                                   *detokenise = run_profile_phase(p, "detokenise");
    double j = known(sample->joules) + known(detokenise->joules), pm = known(sample->joules_pm) + known(detokenise->joules_pm);
    assert_true(fabs((decode->joules + j) / p->how.measured_j - 1) < 1e-9);
    assert_true(fabs(decode->joules_pm / hypot(p->how.measured_pm, pm) - 1) < 1e-9);
}

/* Shares of time are of what is left of a phase. */
static void rows_must_be_the_phase(const struct run_profile *p, const char *name)
{
    const struct run_profile_phase *phase = run_profile_phase(p, name);
    double sum_j = run_profile_sum(p, name, NULL, RUN_PROFILE_ALL_LAYERS).joules;
    if (!(fabs(sum_j / phase->joules - 1) < 1e-6))
        fail_msg("%s: the rows have %g J, the phase %g J", name, sum_j, phase->joules);
}

/* So has the rest of decode lost them: with host work the rows are what least squares found. */
static void rest_must_be_without_them(const struct run_profile *p)
{
    double rows_j = run_profile_sum(p, "decode", NULL, RUN_PROFILE_ALL_LAYERS).joules;
    double host_j = run_profile_phase(p, "sample")->joules + run_profile_phase(p, "detokenise")->joules;
    double found_j = p->how.closure * p->how.measured_j;
    if (!(fabs((rows_j + host_j) / found_j - 1) < 1e-6))
        fail_msg("the rows have %g J and host work %g J, together %g J", rows_j, host_j, found_j);
}

static void host_work_has_a_power_of_its_own(void **state)
{
    static const struct way w = {
        .sensor = ";device=amdgpu-energy;period=20ms", .slower = "1", .tokens = "40", .requests = "2", .more = "SIM_TEXT=1"};
    struct run_profile p;
    (void)state;
    for (int i = 1;; i++) {
        profile_until(&w, "lock-in", &p);
        double prompts = (double)run_profile_phase(&p, "prefill")->tokens,
               tokens = (double)run_profile_phase(&p, "decode")->tokens;
        bool near = host_is(&p, "tokenise", prompts, SIM_TOKENISE_WATTS);
        near &= host_is(&p, "detokenise", tokens, SIM_DETOKENISE_WATTS);
        if (near)
            break;
        run_profile_release(&p);
        assert_true(i < TRIES);
    }
    must_add_up(&p, &w);
    must_have_loops(&p);
    must_stay_whole(&p);
    rest_must_be_without_them(&p);
    assert_string_equal(run_profile_phase(&p, "sample")->power_of, "rest");
    run_profile_release(&p);
}

/* Where the regression knows no power of the rest, sampling has no joules: they and its seconds stay in decode. So have the
 * others where an engine stops in the middle of its loop. */
static void without_a_rest_there_are_loops_or_nothing(void **state)
{
    static const struct way w = {.sensor = ";device=amdgpu-energy;period=20ms",
                                 .slower = "1",
                                 .tokens = "16",
                                 .requests = "1",
                                 .more = "SIM_TEXT=1",
                                 .option = "--every",
                                 .value = "2"};
    struct run_profile p;
    (void)state;
    profile_until(&w, "time", &p);
    const struct run_profile_phase *sample = run_profile_phase(&p, "sample"), *decode = run_profile_phase(&p, "decode");
    must_have_loops(&p);
    must_stay_whole(&p);
    must_last(&p, &w);
    rows_must_be_the_phase(&p, "decode");
    assert_string_equal(sample->power_of, "");
    assert_true(sample->seconds > 0 && isnan(sample->joules));
    assert_string_equal(run_profile_phase(&p, "detokenise")->power_of, "loop");
    run_profile_release(&p);
    setenv("SIM_FAULT", "text-refused:1", 1); /* the loop's first question: a slow engine answers few */
    profile_until(&w, "time", &p);
    unsetenv("SIM_FAULT");
    sample = run_profile_phase(&p, "sample");
    decode = run_profile_phase(&p, "decode");
    assert_string_equal(sample->power_of, "");
    assert_true(sample->seconds > 0 && isnan(sample->joules) && isnan(sample->joules_pm) && isnan(sample->limit_j));
    assert_true(fabs(decode->joules / p.how.measured_j - 1) < 1e-12 && p.n_host == 0);
    rows_must_be_the_phase(&p, "decode");
    must_last(&p, &w);
    assert_true(has_note(&p, "host work was not run by itself"));
    assert_true(has_note(&p, "refused /tokenize (HTTP 503)"));
    run_profile_release(&p);
}

/* An answer that fails in the second round, and an engine that has one of the two routes. */
static void what_was_not_run_by_itself_says_why(void **state)
{
    static const struct {
        const char *fault, *says, *why;
    } rows[] = {{"internal@3", "host work was not run by itself", "an answer failed before that"},
                {"text-one-way", "detokenising was not run by itself", "refused /detokenize (HTTP 404)"}};
    static const struct way w = {.sensor = ";device=amdgpu-energy;period=20ms",
                                 .slower = "1",
                                 .tokens = "16",
                                 .requests = "2",
                                 .more = "SIM_TEXT=1",
                                 .option = "--every",
                                 .value = "2"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p;
        struct run_profile r;
        setenv("SIM_FAULT", rows[i].fault, 1);
        profile(&w, &p);
        unsetenv("SIM_FAULT");
        profile_read("p.json", &r);
        if (!has_note(&r, rows[i].says) || !has_note(&r, rows[i].why))
            fail_msg("%s: %d, %s", rows[i].fault, p.code, r.n_notes ? r.notes[r.n_notes - 1] : kept(&p.err));
        assert_int_equal(r.n_host, i);
        assert_int_equal(p.code, i == 0 ? 4 : 0); /* what was measured is kept, and that it is not all is told */
        run_profile_release(&r);
        program_release(&p);
    }
}

/* ---- less than that ------------------------------------------------------------------------------------------------------- */

static void must_share_time(const struct run_profile *p, const char *why)
{
    struct run_profile_row ffn = run_profile_sum(p, "decode", "ffn", RUN_PROFILE_ALL_LAYERS);
    struct run_profile_row attention = run_profile_sum(p, "decode", "attention", RUN_PROFILE_ALL_LAYERS);
    must_say(p->how.reason, why);
    assert_true(isnan(ffn.joules_pm) && isnan(ffn.limit_j));
    assert_true(fabs(ffn.joules / ffn.seconds / (attention.joules / attention.seconds) - 1) < 1e-6); /* equal power, as it says */
}

static void without_repeats_a_slow_counter_gives_shares_of_time(void **state)
{
    static const struct way w = {
        .sensor = ";device=amdgpu-energy;period=20ms", .slower = "1", .tokens = "16", .requests = "1", .more = "SIM_REFUSES=1"};
    struct run_profile p;
    (void)state;
    setenv("SIM_TEXT", "1", 1);
    profile_until(&w, "time", &p);
    unsetenv("SIM_TEXT");
    must_share_time(&p, "nothing could be executed again");
    assert_string_equal(run_profile_phase(&p, "tokenise")->power_of, "loop");
    rows_must_be_the_phase(&p, "decode");
    rows_must_be_the_phase(&p, "prefill");
    run_profile_release(&p);
}

static void sampled_graphs_give_shares_of_time(void **state)
{
    static const struct way w = {.sensor = ";device=amdgpu-energy;period=20ms",
                                 .slower = "1",
                                 .tokens = "16",
                                 .requests = "1",
                                 .option = "--every",
                                 .value = "2"};
    struct run_profile p;
    (void)state;
    profile_until(&w, "time", &p);
    must_share_time(&p, "only some of the graphs");
    assert_int_equal(p.how.every, 2);
    run_profile_release(&p);
}

/* ---- without a look inside ----------------------------------------------------------------------------------------------- */

/* By the engine's own curve, however long it took: it was idle before and behind. */
static void must_have_loaded(const struct run_profile *p)
{
    double truth = SIM_LOAD_WATTS * profile_drew_s("curve", SIM_IDLE_WATTS + SIM_LOAD_WATTS);
    const struct run_profile_phase *load = run_profile_phase(p, "load");
    assert_non_null(load);
    if (!(truth > 0 && fabs(load->joules - truth) <= 0.05 * truth))
        fail_msg("the load took %g J +- %g, and in truth %g", load->joules, load->joules_pm, truth);
}

static void an_engine_that_tells_nothing_is_said_to(void **state)
{
    static const struct way w = {.sensor = "", .slower = "1", .tokens = "8", .requests = "1", .more = "SIM_LOAD_MS=500"};
    struct program p;
    struct run_profile r;
    (void)state;
    setenv("SIM_STATIC", "1", 1);
    profile(&w, &p);
    unsetenv("SIM_STATIC");
    assert_int_equal(p.code, 0);
    must_say(kept(&p.err), "where the probe cannot reach it");
    profile_read("p.json", &r);
    assert_string_equal(r.how.path, "stages");
    assert_int_equal(r.n_rows, 0);
    must_have_loaded(&r);
    assert_true(run_profile_phase(&r, "decode")->joules > 0);
    run_profile_release(&r);
    program_release(&p);
}

static void must_have_keys_of_8_bits(const struct run_profile *r)
{
    struct gguf_model file;
    struct profile_shape s;
    struct profile_counts c;
    assert_null(run_pairs_get(&r->settings, "kv_type")); /* keys have 8 bits, values 16 */
    const struct run_profile_phase *decode = run_profile_phase(r, "decode"), *prefill = run_profile_phase(r, "prefill");
    assert_int_equal(gguf_read_model(tiny_model(NULL), &file, NULL), JOULET_OK);
    assert_int_equal(profile_shape_init(&s, &file, gguf_type_find("q8_0"), NULL, NULL), JOULET_OK);
    assert_int_equal(profile_counts_init(&c, &s, NULL), JOULET_OK);
    profile_count_decode(&c, &s, (double)prefill->tokens, (double)decode->tokens, 1);
    struct profile_count all = profile_counts_all(&c);
    assert_true(fabs(decode->bytes / profile_count_bytes(&all) - 1) < 1e-9);
    profile_counts_release(&c);
    profile_shape_release(&s);
    gguf_model_release(&file);
}

/* Work is counted for the cache that the server was really given: by an option of its own, which is not one of requests, or by
 * its environment. */
static void work_is_of_the_settings(void **state)
{
    static const struct {
        const char *option, *value, *more;
        const char *given; /* lines of the server's command line; NULL: none of ours */
    } rows[] = {{"--engine-option", "cache-type-k=q8_0", NULL, "--cache-type-k\nq8_0\n"},
                {"--coarse", NULL, "LLAMA_ARG_CACHE_TYPE_K=q8_0", NULL},
                {"--engine-option", "ignore_eos=true", "LLAMA_ARG_CACHE_TYPE_K=q8_0", NULL},
                {"--engine-option", "mlock", "LLAMA_ARG_CACHE_TYPE_K=q8_0", "--mlock\n"},
                {"--engine-option", "numa=distribute", "LLAMA_ARG_CACHE_TYPE_K=q8_0", "--numa\ndistribute\n"}};
    (void)state;
    setenv("SIM_ARGS", scratch("args"), 1);
    setenv("SIM_STATIC", "1", 1);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct way w = {.sensor = "",
                        .slower = "1",
                        .tokens = "8",
                        .requests = "1",
                        .more = rows[i].more,
                        .option = rows[i].option,
                        .value = rows[i].value};
        struct program p;
        struct run_profile r;
        profile(&w, &p);
        if (p.code)
            fail_msg("row %zu: %d: %s", i, p.code, kept(&p.err));
        program_release(&p);
        char *args = scratch_read("args");
        assert_non_null(args);
        if (rows[i].given ? !strstr(args, rows[i].given) : strstr(args, "--cache-type-k") != NULL)
            fail_msg("row %zu: the server was started with %s", i, args);
        assert_null(strstr(args, "ignore_eos")); /* a member of requests */
        free(args);
        profile_read("p.json", &r);
        must_have_keys_of_8_bits(&r);
        run_profile_release(&r);
    }
    unsetenv("SIM_ARGS");
    unsetenv("SIM_STATIC");
}

static void stages_of_any_engine(void **state)
{
    struct quick k;
    struct program p = {0};
    struct run_profile r;
    (void)state;
    quick_open(&k, NULL);
    program_run(&p, ARGS("profile", "--engine", k.url, "--sim", "50", "--baseline", "2s", "--requests", "1", "-n", "8", "--json",
                         "-o", scratch("p.json"), "hello"));
    if (p.code)
        fail_msg("%d: %s", p.code, kept(&p.err));
    profile_read("p.json", &r);
    assert_string_equal(r.how.path, "stages");
    assert_int_equal(r.how.every, -1);
    assert_true(run_profile_phase(&r, "decode")->tokens > 0);
    run_profile_release(&r);
    program_release(&p);
    quick_close(&k);
}

/* A data folder that takes no profile: the record lies in the current folder then, and can be shown from there. */
static void what_cannot_be_kept_lies_beside(void **state)
{
    struct quick k;
    struct program p = {0}, again = {0};
    char here[4096], data[600], name[80], *at;
    (void)state;
    quick_open(&k, NULL);
    assert_non_null(getcwd(here, sizeof here));
    snprintf(data, sizeof data, "JOULET_DATA_DIR=%s", scratch("full"));
    p.env = (const char *[]){data, NULL};
    mkdir(scratch("full"), 0700);
    mkdir(scratch("full/joulet"), 0700);
    scratch_write("full/joulet/profiles", "no folder");
    assert_int_equal(chdir(scratch("")), 0);
    program_run(&p, ARGS("profile", "--engine", k.url, "--sim", "50", "--baseline", "1s", "--requests", "1", "-n", "8", "hello"));
    if (p.code != 5)
        fail_msg("%d: %s", p.code, kept(&p.err));
    must_say(kept(&p.err), "; the record was written to joulet-");
    must_say(kept(&p.out), "decode"); /* shown all the same */
    at = strstr(kept(&p.err), "`joulet profile show joulet-");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "`joulet profile show %79[^`]", name), 1);
    program_run(&again, ARGS("profile", "show", name));
    assert_int_equal(again.code, 0);
    must_say(kept(&again.out), "decode");
    program_release(&again);
    program_release(&p);
    remove(name);
    assert_int_equal(chdir(here), 0);
    quick_close(&k);
}

static void ended_before_a_round_is_no_profile(void **state)
{
    struct quick k;
    struct program p = {0};
    (void)state;
    quick_open(&k, NULL);
    program_start(&p, ARGS("profile", "--engine", k.url, "--sim", "50", "--baseline", "60s", "--requests", "1", "hello"));
    program_until_catching(&p, SIGINT);
    kill(p.pid, SIGINT);
    program_end(&p);
    assert_int_equal(p.code, 130);
    must_say(kept(&p.err), "interrupted before the first round was whole: there is no profile");
    assert_string_equal(kept(&p.out), "");
    program_release(&p);
    quick_close(&k);
}

/* A figure, or what it is at most. */
static void must_have_a_limit(const struct run_profile_point *x)
{
    if (x->joules > x->joules_pm)
        assert_true(isnan(x->limit_j));
    else
        assert_true(isfinite(x->limit_j) && x->limit_j >= 0 && x->limit_j > x->joules);
}

/* The simulated engine draws the same whatever model it is given: a difference would be one of the measurement. */
static void what_a_model_has_less_is_a_limit_when_it_is_not_seen(void **state)
{
    static const struct way w = {.sensor = "",
                                 .slower = "1",
                                 .tokens = "12",
                                 .requests = "1",
                                 .more = "SIM_STATIC=1",
                                 .option = "--against",
                                 .value = "ffn"};
    struct program p;
    struct run_profile r;
    size_t points = 0;
    (void)state;
    profile(&w, &p);
    assert_int_equal(p.code, 0);
    profile_read("p.json", &r);
    for (size_t i = 0; i < r.n_points; i++) {
        if (strcmp(r.points[i].series, "model"))
            continue;
        assert_true(isfinite(r.points[i].joules) && isfinite(r.points[i].joules_pm));
        if (r.points[i].x >= 2)
            must_have_a_limit(&r.points[i]);
        points++;
    }
    assert_int_equal(points, 4); /* both, what is less, and one column of it */
    run_profile_release(&r);
    program_release(&p);
}

static void bad_input_starts_nothing(void **state)
{
    static const struct {
        const char *args[4], *says;
    } rows[] = {
        {{"--level", "atoms"}, "--level"},
        {{"--requests", "0"}, "--requests"},
        {{"--prompts", "nine", "hello"}, "not both"},
        {{"--prompts", "nowhere.txt"}, "nowhere.txt"},
        {{"--batches", "1,1000"}, "at most 64"},
        {{"--prompt-tokens", "few"}, "few"},
        {{"--against", "norms"}, "--against takes layers"},
        {{"--cross-check", "ffn,atoms"}, "atoms"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        const char *args[8] = {"profile", "--sim", "1"};
        memcpy(args + 3, rows[i].args, sizeof rows[i].args);
        program_run(&p, args);
        assert_int_equal(p.code, 2);
        must_say(kept(&p.err), rows[i].says);
        program_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fast_counter_tells_plain_tokens_apart),
        cmocka_unit_test(a_slow_counter_needs_repeats),
        cmocka_unit_test(host_work_has_a_power_of_its_own),
        cmocka_unit_test(without_a_rest_there_are_loops_or_nothing),
        cmocka_unit_test(what_was_not_run_by_itself_says_why),
        cmocka_unit_test(without_repeats_a_slow_counter_gives_shares_of_time),
        cmocka_unit_test(sampled_graphs_give_shares_of_time),
        cmocka_unit_test(an_engine_that_tells_nothing_is_said_to),
        cmocka_unit_test(work_is_of_the_settings),
        cmocka_unit_test(stages_of_any_engine),
        cmocka_unit_test(what_cannot_be_kept_lies_beside),
        cmocka_unit_test(ended_before_a_round_is_no_profile),
        cmocka_unit_test(what_a_model_has_less_is_a_limit_when_it_is_not_seen),
        cmocka_unit_test(bad_input_starts_nothing),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
