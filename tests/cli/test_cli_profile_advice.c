/* test_cli_profile_advice.c - advice as `joulet profile` prints it: each rule fires on what a profile of the simulated engine
 * shows, names the numbers, the saving with its +-, and a plan that `joulet bench` takes; and nothing fires where nothing is
 * wrong. Two profiles of models of different sizes and formats are compared, and the figures follow from the records. */
#include "run/profile.h"
#include "tests/cli/profiled.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"
#include "tests/run/near.h"
#include "tests/sim_engine/sim_probe.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define WORDS 2300 /* of a long prompt */
#define TRIES 4    /* a machine that is busy with others may keep the sensor from being read: once more then */

/* Made once; malloc'ed path in the scratch folder, without ".gguf" where `bare`. */
static const char *model(const char *shape, const char *quant)
{
    static char path[300];
    char name[80];
    struct program made = {0};
    snprintf(name, sizeof name, "%s-%s.gguf", shape, quant);
    snprintf(path, sizeof path, "%s", scratch(name));
    struct stat st;
    if (stat(path, &st)) {
        program_run(&made, ARGS("model", "make", "--shape", shape, "--quant", quant, "-o", path));
        if (made.code)
            fail_msg("%s", kept(&made.err));
        program_release(&made);
    }
    return path;
}

static char *long_prompt(int words)
{
    struct jl_buf b;
    jl_buf_init(&b, 1 << 20);
    for (int i = 0; i < words; i++)
        jl_buf_printf(&b, "%sword%d", i ? " " : "", i % 97);
    return jl_buf_take(&b);
}

struct scene {
    const char *model, *slower, *tokens, *prompt;
    const char *env[4], *options[5]; /* besides what all have */
    bool loaded_before;              /* the curve is there before the engine is */
};

/* Power before anything was started. */
static void begin_curve(void)
{
    char line[80];
    snprintf(line, sizeof line, "%lld %g\n", (long long)jl_mono_ns(), SIM_IDLE_WATTS - 1);
    scratch_write("curve", line);
}

/* Without the probe where `env` says SIM_STATIC: stages are enough for most rules. Text as it is printed; the record in p.json.
 */
static char *profile(const struct scene *s, struct run_profile *out)
{
    static char curve[400], slower[40], folder[400], sim[400];
    struct program p = {0};
    snprintf(curve, sizeof curve, "SIM_CURVE=%s", scratch("curve"));
    snprintf(slower, sizeof slower, "SIM_SLOWER=%s", s->slower);
    snprintf(folder, sizeof folder, "XDG_RUNTIME_DIR=%s", scratch("runtime"));
    snprintf(sim, sizeof sim, "follow:%s", scratch("curve"));
    mkdir(scratch("runtime"), 0700);
    remove(scratch("curve"));
    if (s->loaded_before)
        begin_curve();
    const char *env[9] = {curve, slower, folder, "ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0"};
    memcpy(env + 4, s->env, sizeof s->env);
    const char *args[24] = {"profile", "--engine", PROFILED_SERVER, "-m",     s->model, "--baseline", "1s", "--requests",
                            "1",       "-n",       s->tokens,       s->prompt};
    size_t n = 12;
    for (size_t i = 0; i < JL_COUNT(s->options) && s->options[i]; i++)
        args[n++] = s->options[i];
    if (!s->options[0] || strcmp(s->options[0], "--sensors")) {
        args[n++] = "--sim";
        args[n++] = sim;
    }
    p.env = env;
    program_run(&p, args);
    p.env = NULL;
    if (p.code)
        fail_msg("ended with %d: %s", p.code, kept(&p.err));
    char *text = jl_strdup(kept(&p.out));
    program_release(&p);
    program_run(&p, ARGS("profile", "show", "last", "--json", "-o", scratch("p.json")));
    assert_int_equal(p.code, 0);
    program_release(&p);
    profile_read("p.json", out);
    return text;
}

static const struct run_profile_advice *fired(const struct run_profile *p, const char *rule)
{
    for (size_t i = 0; i < p->n_advice; i++)
        if (strcmp(p->advice[i].rule, rule) == 0)
            return &p->advice[i];
    return NULL;
}

static const struct run_profile_advice *find(const struct run_profile *p, const char *rule)
{
    if (!fired(p, rule))
        fail_msg("%s did not fire", rule);
    return fired(p, rule);
}

/* Until these rules fired, or (none are named) nothing did; the last try is left to the caller to judge. */
static char *profile_until(const struct scene *s, const char *const *rules, struct run_profile *out)
{
    for (int i = 1;; i++) {
        char *text = profile(s, out);
        bool all = rules[0] || !out->n_advice;
        for (size_t k = 0; rules[k]; k++)
            all &= fired(out, rules[k]) != NULL;
        if (all || i == TRIES)
            return text;
        free(text);
        run_profile_release(out);
    }
}

static double fact(const struct run_pairs *p, const char *key)
{
    double x = NAN;
    const char *text = run_pairs_get(p, key);
    if (!text || !jl_parse_double(text, &x))
        fail_msg("%s is not known", key);
    return x;
}

/* The plan is one that the program takes: words of the line, what stands for the user's own file replaced, and looked at only. */
static void must_be_a_plan(const struct run_profile_advice *a, const char *narrow)
{
    struct program p = {0};
    char line[400];
    const char *args[24];
    size_t n = 0;
    snprintf(line, sizeof line, "%.*s", (int)strcspn(a->bench, "("), a->bench);
    assert_int_equal(strncmp(line, "joulet bench ", 13), 0);
    for (char *save, *word = strtok_r(line + 7, " ", &save); word && n < 22; word = strtok_r(NULL, " ", &save))
        args[n++] = strcmp(word, "MODEL-Q4") ? word : narrow;
    args[n++] = "--dry-run";
    args[n] = NULL;
    program_run(&p, args);
    if (p.code)
        fail_msg("%s: %s", a->bench, kept(&p.err));
    program_release(&p);
    assert_int_equal(strncmp(a->compare, "joulet compare ", 15), 0);
}

/* As printed: what to do with the saving and its +-, and below it why, and the two lines. */
static void must_print(const char *text, const struct run_profile_advice *a)
{
    char *joined = jl_strdup(text), *to = joined; /* lines are broken where the terminal ends */
    for (const char *c = text; *c; c++)
        if (!(*c == ' ' || *c == '\n') || (to > joined && to[-1] != ' '))
            *to++ = *c == '\n' ? ' ' : *c;
    *to = '\0';
    must_say(joined, a->action);
    must_say(joined, a->why);
    must_say(joined, a->bench);
    must_say(joined, a->compare);
    must_say(joined, "% of the energy of requests");
    assert_true(a->saving_pm > 0);
    free(joined);
}

/* ---- rules that fire ------------------------------------------------------------------------------------------------------ */

static void wasteful_settings_are_named(void **state)
{
    static const char *const rules[] = {"threads", "quantisation", "context", "output_length", NULL};
    char *prompt = long_prompt(WORDS), says[200], narrow[300];
    struct run_profile p;
    (void)state;
    snprintf(narrow, sizeof narrow, "%s", model("tiny", "q4_0"));
    const struct scene s = {.model = model("tiny", "f16"),
                            .slower = "0.05",
                            .tokens = "500",
                            .prompt = prompt,
                            .env = {"SIM_STATIC=1", "SIM_LOAD_MS=1000"},
                            .options = {"--threads", "4096"},
                            .loaded_before = true};
    char *text = profile_until(&s, rules, &p);
    for (size_t i = 0; rules[i]; i++) {
        must_print(text, find(&p, rules[i]));
        must_be_a_plan(find(&p, rules[i]), narrow);
    }
    must_say(text, "what would save energy");
    snprintf(says, sizeof says, "4096 threads on %.0f cores", fact(&p.machine, "cores"));
    must_say(find(&p, "threads")->why, says);
    snprintf(says, sizeof says, "%.1f bits a weight", fact(&p.model, "weight_bits"));
    must_say(find(&p, "quantisation")->why, says);
    assert_near(fact(&p.model, "weight_bits"), 16, 0.5);
    snprintf(says, sizeof says, "%.0f tokens in the cache, whose reading is %.0f %%", fact(&p.engine, "context_tokens"),
             100 * fact(&p.engine, "step_cache_bytes") / fact(&p.engine, "step_bytes"));
    must_say(find(&p, "context")->why, says);
    must_say(find(&p, "output_length")->why, "answers of 500 tokens in the mean, 100 % of them cut at their limit of 500");
    /* The load: a second at 80 W; waiting: 1 W more than before. But this engine keeps its model whatever it is told. */
    const struct run_profile_phase *load = run_profile_phase(&p, "load");
    assert_non_null(load);
    assert_int_equal(load->steps, 1);
    assert_near(fact(&p.engine, "loaded_idle_w"), 1, fact(&p.engine, "loaded_idle_pm_w") + 1);
    assert_null(fired(&p, "keep_alive"));
    free(text);
    free(prompt);
    run_profile_release(&p);
}

static void scores_without_flash_attention(void **state)
{
    char *prompt = long_prompt(WORDS), says[200];
    struct run_profile p;
    (void)state;
    const struct scene s = {
        .model = model("tiny", "q4_0"), .slower = "0.2", .tokens = "24", .prompt = prompt, .options = {"--level", "nodes"}};
    char *text = profile_until(&s, ARGS("flash_attention"), &p);
    const struct run_profile_advice *a = find(&p, "flash_attention");
    must_print(text, a);
    must_be_a_plan(a, "");
    snprintf(says, sizeof says, "%.0f tokens in the cache", fact(&p.engine, "context_tokens"));
    must_say(a->why, "flash attention is off, and scores take");
    must_say(a->why, says);
    must_say(a->bench, "--vary flash-attention=off,on");
    free(text);
    free(prompt);
    run_profile_release(&p);
}

static const struct run_profile_point *batch_point(const struct run_profile *p, double at)
{
    for (size_t i = 0; i < p->n_points; i++)
        if (!strcmp(p->points[i].series, "batch") && p->points[i].x == at)
            return &p->points[i];
    fail_msg("no batch of %g", at);
    return NULL;
}

static void must_be_the_batch(const struct run_profile *p, const char *text)
{
    char says[200];
    const struct run_profile_advice *a = find(p, "batch");
    double one = batch_point(p, 1)->joules, four = batch_point(p, 4)->joules;
    snprintf(says, sizeof says, "a token took %.3g J with one answer at a time and %.3g J with 4 at once", one, four);
    must_say(a->why, says);
    const struct run_profile_phase *d = run_profile_phase(p, "decode"), *pre = run_profile_phase(p, "prefill");
    double saving = (1 - four / one) * d->joules / (d->joules + pre->joules);
    assert_true(fabs(saving - a->saving) <= a->saving_pm);
    must_print(text, a);
    must_be_a_plan(a, "");
}

/* The card draws as much for four answers as for one. */
static void a_card_at_its_limit_and_a_batch_that_takes_less(void **state)
{
    char nvml[400], follow[400], says[200];
    struct run_profile p;
    (void)state;
    snprintf(nvml, sizeof nvml, "JOULET_NVML=%s", getenv("FAKE_NVML"));
    snprintf(follow, sizeof follow, "FAKE_NVML_FOLLOW=%s", scratch("curve"));
    const struct scene s = {.model = model("tiny", "q4_0"),
                            .slower = "1",
                            .tokens = "120",
                            .prompt = "why is that so",
                            .env = {"SIM_STATIC=1", nvml, follow, "FAKE_NVML_LIMIT_W=43"},
                            .options = {"--sensors", "nvml", "--batches", "1,4"},
                            .loaded_before = true};
    char *text = profile_until(&s, ARGS("power_cap", "batch"), &p);
    const struct run_profile_advice *a = find(&p, "power_cap");
    const struct run_profile_phase *d = run_profile_phase(&p, "decode");
    must_print(text, a);
    snprintf(says, sizeof says, "%.0f W of a limit of 43 W in decode", d->joules / d->seconds + p.how.idle_w);
    must_say(a->why, says);
    must_say(a->action, "limit the power to 34 W (nvidia-smi -pl 34, as root)");
    must_be_a_plan(a, "");
    must_be_the_batch(&p, text);
    free(text);
    run_profile_release(&p);
}

/* An engine with one slot that others use as well: requests wait before their prompt is taken up. */
static void requests_that_wait(void **state)
{
    struct sim_config c;
    struct quick k;
    struct program p = {0};
    struct run_profile r;
    char *name = jl_strdup(model("tiny", "q4_0")), *prompt = long_prompt(400);
    (void)state;
    name[strlen(name) - 5] = '\0'; /* the simulated engine adds ".gguf" to its path */
    sim_config_init(&c);
    c.model = name;
    c.overhead_ms = 500;
    c.prefill_ms = 0.1;
    c.decode_ms = 10;
    remove(scratch("curve"));
    c.curve = scratch("curve");
    quick_start(&k, &c);
    char *sim = jl_strf("follow:%s", scratch("curve"));
    program_run(&p, ARGS("profile", "--engine", k.url, "--sim", sim, "--baseline", "1s", "--requests", "2", "-n", "60", "--json",
                         "-o", scratch("p.json"), prompt));
    if (p.code)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    profile_read("p.json", &r);
    assert_near(fact(&r.engine, "requests_queued"), 2, 0);
    must_say(find(&r, "batch")->why, "100 % of requests waited for one of 1 slots");
    must_be_a_plan(find(&r, "batch"), "");
    run_profile_release(&r);
    quick_close(&k);
    free(sim);
    free(name);
    free(prompt);
}

/* ---- and nothing where nothing is wrong; two profiles --------------------------------------------------------------------- */

static double bar(json_t *o, const char *phase, const char *by)
{
    json_t *x;
    size_t i;
    json_array_foreach(json_object_get(o, "bars"), i, x)
    {
        if (!strcmp(json_string_value(json_object_get(x, "phase")), phase) && json_is_null(json_object_get(x, "component")))
            return json_number_value(json_object_get(json_object_get(x, by), "change"));
    }
    fail_msg("no bar of %s", phase);
    return NAN;
}

static void must_compare(const struct run_profile *a, const struct run_profile *b)
{
    struct program p = {0};
    program_run(&p, ARGS("profile", "compare", a->id, b->id, "--json"));
    assert_int_equal(p.code, 0);
    json_t *o = json_loads(kept(&p.out), 0, NULL);
    assert_non_null(o);
    static const char *const phases[] = {"prefill", "decode"};
    for (size_t i = 0; i < JL_COUNT(phases); i++) {
        const struct run_profile_phase *x = run_profile_phase(a, phases[i]), *y = run_profile_phase(b, phases[i]);
        double a_j = x->joules / (double)x->tokens, b_j = y->joules / (double)y->tokens;
        double a_flop = x->flop / (double)x->tokens, b_flop = y->flop / (double)y->tokens;
        double a_n = fact(&a->model, "parameters"), b_n = fact(&b->model, "parameters");
        if (!(a_j > x->joules_pm / (double)x->tokens) || !(b_j > y->joules_pm / (double)y->tokens))
            continue; /* what may be nothing has no ratio */
        assert_near(bar(o, phases[i], "per_token"), b_j / a_j - 1, 1e-6);
        assert_near(bar(o, phases[i], "per_parameter"), b_j / b_n / (a_j / a_n) - 1, 1e-6);
        assert_near(bar(o, phases[i], "per_flop"), b_j / b_flop / (a_j / a_flop) - 1, 1e-6);
    }
    json_decref(o);
    program_release(&p);
    program_run(&p, ARGS("profile", "compare", a->id, b->id));
    must_say(kept(&p.out), "tiny-moe");
    must_say(kept(&p.out), "Q8_0");
    must_say(kept(&p.out), "Q4_0");
    must_say(kept(&p.out), "energy of both is of a simulated or replayed sensor");
    program_release(&p);
}

/* The second model takes twice as long for a token, at the same powers. */
static void nothing_wrong_nothing_said_and_two_compared(void **state)
{
    struct run_profile a, b;
    (void)state;
    struct scene s = {.model = model("tiny", "q4_0"),
                      .slower = "0.5",
                      .tokens = "60",
                      .prompt = "why is that so",
                      .env = {"SIM_STATIC=1"},
                      .options = {"--threads", "1"}};
    char *text = profile_until(&s, ARGS(NULL), &a);
    assert_int_equal(a.n_advice, 0);
    assert_null(strstr(text, "what would save energy"));
    must_say(text, "simulated ──");
    free(text);
    s.model = model("tiny-moe", "q8_0");
    s.slower = "1";
    free(profile(&s, &b));
    must_compare(&a, &b);
    const struct run_profile_phase *x = run_profile_phase(&a, "decode"), *y = run_profile_phase(&b, "decode");
    double ratio = y->joules / (double)y->tokens / (x->joules / (double)x->tokens);
    if (!(ratio > 1.2 && ratio < 3)) /* the machine is busy with other tests */
        fail_msg("a token takes %g times as much, not 2", ratio);
    run_profile_release(&a);
    run_profile_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wasteful_settings_are_named),
        cmocka_unit_test(scores_without_flash_attention),
        cmocka_unit_test(a_card_at_its_limit_and_a_batch_that_takes_less),
        cmocka_unit_test(requests_that_wait),
        cmocka_unit_test(nothing_wrong_nothing_said_and_two_compared),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
