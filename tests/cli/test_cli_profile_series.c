/* test_cli_profile_series.c - `joulet profile` against what is varied: models with one component less, several answers at once,
 * the tokens in the context, the length of the prompt. The simulated engine says what each of them really costs. */
#include "lib/platform/platform.h"
#include "run/profile.h"
#include "tests/cli/profiled.h"
#include "tests/cli/program.h"
#include "tests/sim_engine/sim_probe.h"

#include <dirent.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define TRIES    6    /* a machine that is busy with others may keep the sensor from being read: once more then */
#define LATE     0.01 /* of the time of steps: from there on the engine's lateness may be what is seen */
#define WIDER    1.5  /* where it is each time */
#define SENSOR   ";device=amdgpu-energy"
#define NEAR     0.05 /* of the truth */
#define PM_MOST  0.15
#define AT_ONCE  8
#define ENV_MOST 4
#define BEFORE_W 6.0

/* One profile of several that run beside each other; each has folders, a curve and a server of its own. */
struct one {
    const char *args[10], *vars[ENV_MOST]; /* variables of the engine */
    double before_w;                       /* drawn before any engine runs; 0: nobody knows */
    bool slow;                             /* the sensor gives a value each 20 ms: components are executed again */
    const char *plan;                      /* of prompts; NULL: one prompt */
    size_t at_once;                        /* answers at most; 0: one */
    struct program p;
    struct run_profile r;
    const char *env[ENV_MOST + 5];
    char *texts[8];
};

static char *place(const char *name, int i)
{
    char file[64];
    snprintf(file, sizeof file, "%s%d", name, i);
    return jl_strdup(scratch(file));
}

/* From now on, as an engine would write it. */
static void draw(const struct one *o, double watts)
{
    FILE *f = fopen(o->texts[0], "ae");
    assert_non_null(f);
    fprintf(f, "%lld %g\n", (long long)jl_mono_ns(), watts);
    fclose(f);
}

static void start(struct one *o, int i)
{
    const char *args[40] = {"profile",    "--engine", PROFILED_SERVER, "-m", tiny_model(NULL),
                            "--baseline", "1s",       "--requests",    "1",  "--json"};
    size_t n = 10, e = 0;
    char *curve = o->texts[0] = place("curve", i), *runtime = o->texts[1] = place("runtime", i);
    remove(curve);
    mkdir(runtime, 0700);
    o->texts[2] = jl_strf("SIM_CURVE=%s", curve);
    o->texts[3] = jl_strf("XDG_RUNTIME_DIR=%s", runtime);
    o->texts[4] = jl_strf("follow:%s%s%s", curve, SENSOR, o->slow ? ";period=20ms" : "");
    o->texts[5] = place("profile", i);
    o->texts[6] = jl_strf("JOULET_DATA_DIR=%s/data%d", scratch(""), i);
    remove(o->texts[5]);
    o->env[e++] = o->texts[2];
    o->env[e++] = o->texts[3];
    o->env[e++] = o->texts[6];
    o->env[e++] = "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0";
    for (size_t k = 0; k < ENV_MOST && o->vars[k]; k++)
        o->env[e++] = o->vars[k];
    o->env[e] = NULL;
    args[n++] = "--sim";
    args[n++] = o->texts[4];
    args[n++] = "-o";
    args[n++] = o->texts[5];
    for (size_t k = 0; k < JL_COUNT(o->args) && o->args[k]; k++)
        args[n++] = o->args[k];
    args[n++] = o->plan ? "--prompts" : "why is that so";
    args[n++] = o->plan;
    args[n] = NULL;
    if (o->before_w > 0)
        draw(o, o->before_w);
    o->p = (struct program){.env = o->env};
    program_start(&o->p, args);
}

static void release(struct one *o)
{
    program_release(&o->p);
    for (size_t i = 0; i < JL_COUNT(o->texts); i++) {
        free(o->texts[i]);
        o->texts[i] = NULL;
    }
}

/* Its record; release it. */
static void finish_with(struct one *o, int code)
{
    struct jl_buf b;
    struct joulet_error err;
    program_end(&o->p);
    if (o->p.code != code)
        fail_msg("ended with %d: %s", o->p.code, kept(&o->p.err));
    jl_buf_init(&b, (size_t)64 << 20);
    if (jl_read_file(o->texts[5], &b, &err) != JOULET_OK || run_profile_from_json(b.data, b.len, &o->r, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    jl_buf_release(&b);
    release(o);
}

static void finish(struct one *o)
{
    finish_with(o, 0);
}

/* Whether it is as in truth, with tolerances `wider` times as wide; `why` says how far it is from that. */
typedef bool (*holds_fn)(const struct run_profile *p, size_t i, double wider, char *why, size_t size);

struct tried {
    bool done;
    int failed, late; /* without and with an engine that was late: powers that are wrong that does not excuse */
    char why[200];    /* the last one that did not hold */
};

static void judge(struct one *o, size_t i, holds_fn holds, struct tried *t)
{
    char curve[32];
    double slower = o->at_once > 1 ? 1 + (double)(o->at_once - 1) * SIM_MORE_REST : 1;
    snprintf(curve, sizeof curve, "curve%zu", i);
    t->done = holds(&o->r, i, 1, t->why, sizeof t->why);
    if (!t->done) {
        double late = profile_lateness(curve, slower);
        print_message("  %s; the engine was late by %.2g of its time\n", t->why, late);
        t->late += late > LATE;
        t->failed += !(late > LATE);
        t->done = t->late >= TRIES && holds(&o->r, i, WIDER, t->why, sizeof t->why);
    }
    run_profile_release(&o->r);
}

/* Profiles that run beside each other, so that they take no longer than one; those that do not hold are made once more, on a
 * machine that is busy with others. */
static void all_hold(size_t n, struct one (*of)(size_t i), holds_fn holds)
{
    struct one all[AT_ONCE];
    struct tried tried[AT_ONCE] = {{.done = false}};
    assert_true(n <= AT_ONCE);
    for (size_t left = n; left > 0;) {
        for (size_t i = 0; i < n; i++) {
            all[i] = of(i);
            if (!tried[i].done)
                start(&all[i], (int)i);
        }
        left = 0;
        for (size_t i = 0; i < n; i++) {
            if (tried[i].done)
                continue;
            finish(&all[i]);
            judge(&all[i], i, holds, &tried[i]);
            left += !tried[i].done;
        }
        for (size_t i = 0; i < n; i++)
            if (!tried[i].done && (tried[i].failed >= TRIES || tried[i].late >= 2 * TRIES))
                fail_msg("%s", tried[i].why);
    }
}

static const struct run_profile_point *point(const struct run_profile *p, const char *series, double x, const char *component)
{
    for (size_t i = 0; i < p->n_points; i++)
        if (!strcmp(p->points[i].series, series) && p->points[i].x == x && !strcmp(p->points[i].component, component))
            return &p->points[i];
    return NULL;
}

/* The interval excuses nothing: for the sensor's gain, which has no error here, it is 6 % and more. */
static bool is_near(const struct run_profile_point *p, double truth, double wider)
{
    return fabs(p->joules - truth) <= wider * NEAR * truth && p->joules_pm > 0 && p->joules_pm <= wider * PM_MOST * truth;
}

/* ---- models with one component less -------------------------------------------------------------------------------- */

static int models_left(int i)
{
    char *folder = jl_strf("%s/data%d/joulet/models", scratch(""), i), **names;
    size_t n = 0;
    if (jl_list_dir(folder, &names, &n, NULL) == JOULET_OK)
        jl_free_list(names, n);
    free(folder);
    return (int)n;
}

static double token_j(struct sim_probe_options o)
{
    o.slower = 1;
    return sim_whole_step_j(&o, 1, 0);
}

/* Files of probes; *first_pid: process of the one that was made first, 0 none. */
static int rings_left(int i, long long *first_pid)
{
    char *folder = jl_strf("%s/runtime%d/joulet/probes", scratch(""), i), **names;
    unsigned long long first = 0;
    size_t n = 0;
    *first_pid = 0;
    if (jl_list_dir(folder, &names, &n, NULL) == JOULET_OK) {
        for (size_t k = 0; k < n; k++) {
            long long pid;
            unsigned long long start;
            if (sscanf(names[k], WIRE_FILE, &pid, &start) == 2 && (!*first_pid || start < first)) {
                *first_pid = pid;
                first = start;
            }
        }
        jl_free_list(names, n);
    }
    free(folder);
    return (int)n;
}

struct difference {
    const char *what;
    struct sim_probe_options less;
    int changed;
    bool seen;  /* it is large enough to be told */
    bool probe; /* both servers have it; else none has */
};

/* True: as it is in truth. Otherwise the sentence says what is not. */
static bool as_in_truth(const struct run_profile *p, const struct difference *d, double wider, char *why, size_t size)
{
    const struct run_profile_point *whole = point(p, "model", 0, ""), *less = point(p, "model", 2, ""),
                                   *one = point(p, "model", 3, "");
    struct sim_probe_options plain = {0};
    double all = token_j(plain), truth = all - token_j(d->less);
    assert_non_null(whole);
    assert_non_null(less);
    assert_non_null(one);
    assert_non_null(point(p, "model", 1, ""));
    assert_true(d->probe == (p->n_rows > 0));
    for (size_t i = 0; i < p->n_notes; i++)
        assert_null(strstr(p->notes[i], "without the probe"));
    assert_true(fabs(one->joules * d->changed - less->joules) < 1e-9 * all);
    snprintf(why, size, "%s: %.4g J +- %.2g (at most %.3g) of %.4g J a token, and in truth %.4g of %.4g", d->what, less->joules,
             less->joules_pm, less->limit_j, whole->joules, truth, all);
    if (!is_near(whole, all, wider))
        return false;
    if (!d->seen)
        return less->limit_j >= truth && less->limit_j <= wider * NEAR * all && one->limit_j * d->changed >= truth;
    return isnan(less->limit_j) && fabs(less->joules - truth) <= fmax(less->joules_pm, wider * NEAR * truth) &&
           less->joules_pm > 0 && less->joules_pm <= wider * PM_MOST * truth;
}

/* Four kinds, and heads of which nobody could tell anything. */
static const struct difference differences[] = {{"layers", {.layers = SIM_LAYERS - 1}, 1, true, false},
                                                {"ffn", {.ffn = 0.75}, 256, true, true},
                                                {"heads", {.attention = 0.5}, 4, true, false},
                                                {"vocab", {.head = 0.5}, 1024, true, false},
                                                {"heads", {.attention = 1 - 0.5e-3}, 4, false, false}};

static struct one different(size_t i)
{
    const struct difference *d = &differences[i];
    return (struct one){.args = {"-n", "10", "--against", d->what, d->probe ? NULL : "--coarse"},
                        .vars = {"SIM_SLOWER=1", "SIM_STEPS=1", d->seen ? NULL : "SIM_HEADS=0.001"}};
}

static bool costs_the_difference(const struct run_profile *p, size_t i, double wider, char *why, size_t size)
{
    assert_int_equal(models_left((int)i), 0);
    return as_in_truth(p, &differences[i], wider, why, size);
}

static void what_is_taken_away_costs_the_difference(void **state)
{
    (void)state;
    all_hold(JL_COUNT(differences), different, costs_the_difference);
}

/* The last layer draws as the others, or 1.6 times as much: its rows have the power of all, and leaving it out tells.
 * By a sensor slower than a layer: a faster one sees that a kind has two powers, and its intervals become wide. */
static const struct {
    const char *last, *power;
    double ratio;
} lasts[] = {{NULL, "checked", 1}, {"SIM_LAST=1.6", "differs", 1.6 / ((SIM_LAYERS - 1 + 1.6) / SIM_LAYERS)}};

static struct one without_the_last(size_t i)
{
    return (struct one){.args = {"-n", "60", "--against", "layers-1"}, .vars = {"SIM_SLOWER=1", lasts[i].last}, .slow = true};
}

static bool is_told(const struct run_profile *p, size_t i, double wider, char *why, size_t size)
{
    const struct run_profile_how *h = &p->how;
    const struct run_profile_point *saved = point(p, "model", 2, "");
    snprintf(why, size, "%s: %s, %.4g +- %.2g of %.4g J, %.4g +- %.2g of it, and in truth %.4g", lasts[i].last, h->layers_power,
             h->layers_saved_j, saved ? saved->joules_pm : NAN, h->layers_told_j, h->layers_ratio, h->layers_ratio_pm,
             lasts[i].ratio);
    if (isnan(h->layers_ratio))
        return false;
    assert_non_null(saved);
    assert_true(h->layers_saved_j == saved->joules);
    assert_int_equal(h->layers_left_out, 1);
    return strcmp(h->layers_power, lasts[i].power) == 0 && h->layers_ratio_pm > 0 &&
           fabs(h->layers_ratio - lasts[i].ratio) <= wider * NEAR;
}

static void a_layer_left_out_tells_whether_it_draws_as_the_others(void **state)
{
    (void)state;
    all_hold(JL_COUNT(lasts), without_the_last, is_told);
}

/* Round by round the next prompt, as the components' passes ask them; both models the same one. */
static void each_round_asks_another_prompt(void **state)
{
    enum { ROUNDS = 6, WIDTH = 80 };
    char variable[256], model[64], digest[2 * ROUNDS][WIDTH] = {{0}};
    snprintf(variable, sizeof variable, "SIM_PROMPTS=%s", scratch("prompts"));
    struct one o = {.args = {"--coarse", "-n", "4", "--against", "ffn"}, .vars = {"SIM_SLOWER=1", variable}, .plan = "nine"};
    (void)state;
    remove(scratch("prompts"));
    start(&o, 10);
    finish(&o);
    char *text = scratch_read("prompts"), *rest = NULL;
    assert_non_null(text);
    size_t n = 0;
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest), n++)
        assert_int_equal(sscanf(line, "%63s %79s", model, digest[n % (2 * ROUNDS)]), 2);
    assert_true(n > 2 * ROUNDS);
    for (size_t i = 0, first = n % (2 * ROUNDS); i < 2 * ROUNDS; i += 2) {
        const char *one = digest[(first + i) % (2 * ROUNDS)];
        assert_string_equal(one, digest[(first + i + 1) % (2 * ROUNDS)]);
        assert_string_not_equal(one, digest[(first + i + 2) % (2 * ROUNDS)]);
    }
    free(text);
    bool said = false;
    for (size_t i = 0; i < o.r.n_notes; i++)
        if (strstr(o.r.notes[i], " taken away: ")) {
            said = strstr(o.r.notes[i], " of a token, ") != NULL;
            if (strstr(o.r.notes[i], "e-0") || strstr(o.r.notes[i], "0.00")) /* 0.49 mJ, not 0.00049 J */
                fail_msg("%s", o.r.notes[i]);
        }
    assert_true(said);
    run_profile_release(&o.r);
}

/* What was measured before is there, and that something is missing is not said in words alone. */
static void a_second_server_that_does_not_come_up_is_a_failure(void **state)
{
    struct one o = {.args = {"--coarse", "-n", "8", "--against", "ffn"}, .vars = {"SIM_SLOWER=1", "SIM_FAILS=-against"}};
    (void)state;
    start(&o, 5);
    finish_with(&o, 4);
    assert_true(run_profile_phase(&o.r, "decode")->joules > 0);
    assert_null(point(&o.r, "model", 0, ""));
    run_profile_release(&o.r);
}

static void an_interrupted_profile_leaves_no_files(void **state)
{
    struct one o = {.args = {"-n", "8", "--against", "ffn"}, .vars = {"SIM_SLOWER=1"}};
    long long pid;
    (void)state;
    start(&o, 7);
    while (models_left(7) != 1 || rings_left(7, &pid) != 1 || access(o.texts[0], F_OK)) /* the curve: an engine runs */
        usleep(20000);
    kill(o.p.pid, SIGINT);
    program_end(&o.p);
    assert_int_equal(o.p.code, 130);
    assert_int_equal(models_left(7), 0);
    assert_int_equal(rings_left(7, &pid), 0);
    release(&o);
}

/* What the record says of the engine, of the idle level with it and of the one without it is of the first server; the power with
 * both loaded is another one. */
static void a_server_beside_that_fails_changes_nothing(void **state)
{
    static const char *const faults[] = {"SIM_BESIDE_FAULT=internal@0", "SIM_BESIDE_FAULT=internal@1"}; /* warm-up, round */
    static const char again[] = "measuring the idle level";
    struct one all[JL_COUNT(faults)];
    long long pids[JL_COUNT(faults)], pid;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(faults); i++) {
        all[i] = (struct one){
            .args = {"--verbose", "-n", "8", "--against", "layers"}, .vars = {"SIM_SLOWER=1", faults[i]}, .before_w = BEFORE_W};
        start(&all[i], 8 + (int)i);
    }
    for (size_t i = 0; i < JL_COUNT(faults); i++) {
        while (rings_left(8 + (int)i, &pids[i]) < 1)
            usleep(20000);
        program_until_err(&all[i].p, again);
    }
    jl_buf_clear(&all[1].p.err);
    program_until_err(&all[1].p, again);
    draw(&all[1], 3 * SIM_IDLE_WATTS);
    for (size_t i = 0; i < JL_COUNT(faults); i++) {
        finish_with(&all[i], 4);
        const char *told = run_pairs_get(&all[i].r.engine, "pid"), *more = run_pairs_get(&all[i].r.engine, "loaded_idle_w");
        assert_non_null(told);
        if (atoll(told) != pids[i])
            fail_msg("%s: the engine is process %s, and the first server was %lld", faults[i], told, pids[i]);
        double more_w = more ? atof(more) : NAN; /* neither is known where a busy machine kept the sensor from being read */
        if (fabs(all[i].r.how.idle_w - SIM_IDLE_WATTS) > 0.5 || fabs(more_w - (SIM_IDLE_WATTS - BEFORE_W)) > 0.5)
            fail_msg("%s: idle at %g W, %g W of it since the server was started; in truth %g and %g W", faults[i],
                     all[i].r.how.idle_w, more_w, SIM_IDLE_WATTS, SIM_IDLE_WATTS - BEFORE_W);
        assert_int_equal(rings_left(8 + (int)i, &pid), 0);
        assert_int_equal(models_left(8 + (int)i), 0);
        run_profile_release(&all[i].r);
    }
}

static void what_cannot_be_compared_is_said_at_once(void **state)
{
    static const struct {
        const char *make[6]; /* changes of the shape */
        const char *args[4], *says;
        int code;
    } rows[] = {
        {{NULL}, {"--against", "layers", "-m", "no-model.gguf"}, "`joulet model make` has written", 2},
        {{NULL}, {"--against", "layers", "--engine", "http://127.0.0.1:1"}, "`joulet model make` has written", 2},
        {{NULL}, {"--against", "layer-2"}, "layers-N for N of them", 2},
        {{NULL}, {"--against", "layers-0"}, "layers-N for N of them", 2},
        {{NULL}, {"--against", "layers-4"}, "nothing would be left with less", 2},
        {{"--with", "layers=1"}, {"--against", "layers"}, "nothing would be left with less", 2},
        {{"--with", "heads=4"}, {"--against", "heads"}, "nothing would be left with less", 2},
        {{NULL}, {"--against", "ffn", "--context", "1000000000"}, "GB of memory", 5},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0}, made = {0};
        program_run(&made, ARGS("model", "make", "--force", "--shape", "tiny", "-o", scratch("small.gguf"), rows[i].make[0],
                                rows[i].make[1]));
        assert_int_equal(made.code, 0);
        program_release(&made);
        const char *args[16] = {"profile", "--sim", "1", "--engine", PROFILED_SERVER, "-m", scratch("small.gguf")};
        memcpy(args + 7, rows[i].args, sizeof rows[i].args);
        program_run(&p, args);
        if (p.code != rows[i].code)
            fail_msg("row %zu ended with %d: %s", i, p.code, kept(&p.err));
        must_say(kept(&p.err), rows[i].says);
        program_release(&p);
    }
}

/* A file that may not grow is what a full disk looks like from inside. */
static void a_full_disk_leaves_nothing(void **state)
{
    struct one o = {.args = {"--coarse", "--against", "ffn"}, .vars = {"SIM_SLOWER=1"}};
    struct rlimit was, small;
    (void)state;
    tiny_model(NULL);
    getrlimit(RLIMIT_FSIZE, &was);
    small = was;
    small.rlim_cur = 1 << 20;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    start(&o, 6);
    program_end(&o.p);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(o.p.code, 5);
    must_say(kept(&o.p.err), "MB");
    assert_int_equal(models_left(6), 0);
    release(&o);
}

/* ---- batches, contexts, prompts -------------------------------------------------------------------------------------- */

static bool near_truth(const struct run_profile_point *p, double truth, double wider, char *why, size_t size)
{
    if (!p) {
        snprintf(why, size, "a point is missing");
        return false;
    }
    snprintf(why, size, "%s %g %s: %.4g J +- %.2g, and in truth %.4g J", p->series, p->x, p->component, p->joules, p->joules_pm,
             truth);
    return is_near(p, truth, wider);
}

/* Weights are read once for all sequences: a token of eight at once takes a third of the energy, attention hardly less. */
static bool batches_are_true(const struct run_profile *p, double wider, char *why, size_t size)
{
    static const struct {
        const char *name;
        enum wire_kind kind;
    } kinds[] = {{"attention", WIRE_ATTENTION}, {"ffn", WIRE_FFN}, {"head", WIRE_HEAD}};
    static const size_t batches[] = {1, 2, 8};
    struct sim_probe_options o = {.slower = 1};
    for (size_t i = 0; i < JL_COUNT(batches); i++) {
        size_t n = batches[i];
        if (!near_truth(point(p, "batch", (double)n, ""), sim_whole_step_j(&o, n, 0) / (double)n, wider, why, size))
            return false;
        for (size_t k = 0; k < JL_COUNT(kinds); k++)
            if (!near_truth(point(p, "batch", (double)n, kinds[k].name), sim_step_j(&o, kinds[k].kind, n, 0) / (double)n, wider,
                            why, size))
                return false;
    }
    return true;
}

/* A prompt's fixed part is shared by its tokens. The engine's own loop behind it is not in it. */
static bool prompts_are_true(const struct run_profile *p, double wider, char *why, size_t size)
{
    struct sim_probe_options o = {.slower = 1, .prompt = 100};
    size_t n = 0;
    for (size_t i = 0; i < p->n_points; i++) {
        const struct run_profile_point *x = &p->points[i];
        double truth = sim_prompt_j(&o, x->x) / x->x;
        if (strcmp(x->series, "prompt") != 0)
            continue;
        n++;
        snprintf(why, size, "a prompt of %g tokens: %.4g J +- %.2g a token, and in truth %.4g J", x->x, x->joules, x->joules_pm,
                 truth);
        if (!is_near(x, truth, wider))
            return false;
    }
    if (n != 3)
        snprintf(why, size, "%zu prompts", n);
    return n == 3;
}

/* Classes that double. Attention takes twice its time at 200 tokens, nothing else does. */
static bool contexts_are_true(const struct run_profile *p, double wider, char *why, size_t size)
{
    struct sim_probe_options o = {.slower = 1, .context = 200};
    size_t n = 0;
    for (size_t i = 0; i < p->n_points; i++) {
        const struct run_profile_point *x = &p->points[i];
        bool attention = !strcmp(x->component, "attention"), ffn = !strcmp(x->component, "ffn");
        if (strcmp(x->series, "position") || !(attention || ffn))
            continue;
        n++;
        if (!near_truth(x, sim_step_j(&o, attention ? WIRE_ATTENTION : WIRE_FFN, 1, x->x), wider, why, size))
            return false;
    }
    snprintf(why, size, "%zu points", n);
    return n >= 6;
}

static const struct {
    const char *args[10], *vars[ENV_MOST];
    bool (*check)(const struct run_profile *p, double wider, char *why, size_t size);
    size_t at_once;
} series[] = {
    {{"-n", "32", "--batches", "1,2,8"}, {"SIM_SLOWER=1"}, batches_are_true, 8},
    {{"-n", "4", "--coarse", "--prompt-tokens", "40,100,200"},
     {"SIM_SLOWER=1", "SIM_PROMPT=100", "SIM_STEPS=1"},
     prompts_are_true,
     1},
    {{"-n", "140"}, {"SIM_SLOWER=1", "SIM_CONTEXT=200"}, contexts_are_true, 1},
};

static struct one of_series(size_t i)
{
    struct one o = {.r = {.n_points = 0}};
    memcpy(o.args, series[i].args, sizeof series[i].args);
    memcpy(o.vars, series[i].vars, sizeof series[i].vars);
    o.at_once = series[i].at_once;
    return o;
}

static bool series_is_true(const struct run_profile *p, size_t i, double wider, char *why, size_t size)
{
    return series[i].check(p, wider, why, size);
}

static void series_follow_the_engine(void **state)
{
    (void)state;
    all_hold(JL_COUNT(series), of_series, series_is_true);
}

static int notes_with(const struct run_profile *p, const char *text)
{
    int n = 0;
    for (size_t i = 0; i < p->n_notes; i++)
        n += strstr(p->notes[i], text) != NULL;
    return n;
}

/* Answers that short have no time in which all of them decode: each batch says so, and none of them ends the others. */
static void a_batch_of_which_nothing_is_told_leaves_the_others(void **state)
{
    struct one o = {.args = {"--coarse", "-n", "2", "--batches", "1,2,3"}, .vars = {"SIM_SLOWER=1"}};
    (void)state;
    start(&o, 4);
    finish(&o);
    assert_int_equal(notes_with(&o.r, "never all decoded at the same time"), 3);
    assert_int_equal(notes_with(&o.r, "a batch of 3: "), 1);
    run_profile_release(&o.r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_taken_away_costs_the_difference),
        cmocka_unit_test(a_layer_left_out_tells_whether_it_draws_as_the_others),
        cmocka_unit_test(each_round_asks_another_prompt),
        cmocka_unit_test(a_second_server_that_does_not_come_up_is_a_failure),
        cmocka_unit_test(an_interrupted_profile_leaves_no_files),
        cmocka_unit_test(a_server_beside_that_fails_changes_nothing),
        cmocka_unit_test(what_cannot_be_compared_is_said_at_once),
        cmocka_unit_test(a_full_disk_leaves_nothing),
        cmocka_unit_test(series_follow_the_engine),
        cmocka_unit_test(a_batch_of_which_nothing_is_told_leaves_the_others),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
