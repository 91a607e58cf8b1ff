/* `joulet tune` on the built program: a simulated llama-server whose settings change its energy, and a sensor that follows it.
 * The settings that save are found, and what they save is the truth of the simulation. */
#include "cli/tune.h"
#include "run/run.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"
#include "tests/sim_engine/sim_llama.h"

#include <jansson.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ANSWER 16

/* A llama-server at scratch("bin/llama-server"), its power in scratch("curve"); `more` options of sim_llama. */
static const char *server(const char *more)
{
    char script[2048];
    const char *path = scratch("bin/llama-server");
    mkdir(scratch("bin"), 0755);
    unlink(scratch("curve"));
    snprintf(script, sizeof script, "#!/bin/sh\nexec %s \"$@\" --sim-curve %s %s\n", SIM_LLAMA, scratch("curve"), more);
    scratch_write("bin/llama-server", script);
    scratch_write("curve", "0 10\n");
    assert_int_equal(chmod(path, 0755), 0);
    return path;
}

/* A search of the settings whose values do not hang on the machine that runs the test. */
static void tune_files(struct program *p, const char *more, const char *const *args, const char *file, const char *other)
{
    static char sim[512], engine[512], model[512], prompts[512];
    const char *all[40] = {"tune",       NULL,    "--engine", NULL, "--sim",    NULL, "--prompts",  NULL,
                           "--baseline", "300ms", "-n",       "16", "--budget", "2s", "--settings", "flash-attn,kv-type"};
    size_t n = 16;
    snprintf(engine, sizeof engine, "%s", server(more));
    snprintf(model, sizeof model, "%s", file);
    scratch_write("prompts.txt", "one two three four five six seven eight nine ten\n");
    snprintf(prompts, sizeof prompts, "%s", scratch("prompts.txt"));
    snprintf(sim, sizeof sim, "follow:%s;period=2ms", scratch("curve"));
    all[1] = model;
    all[3] = engine;
    all[5] = sim;
    all[7] = prompts;
    for (size_t i = 0; i < 20 && args[i]; i++)
        all[n++] = args[i];
    all[n] = other;
    program_start(p, all);
}

static void tune(struct program *p, const char *more, const char *const *args)
{
    tune_files(p, more, args, tiny_model("q8_0"), NULL);
}

/* Until it prints `found`: a machine that is busy beside may leave the last comparison open, and the search says so. */
static void tune_finds(struct program *p, const char *more, const char *const *args, const char *file, const char *other,
                       const char *found)
{
    const char *const *env = p->env;
    for (int i = 0; i < 6; i++) {
        program_release(p);
        p->env = env;
        tune_files(p, more, args, file, other);
        program_end(p);
        assert_int_equal(p->code, 0);
        if (strstr(kept(&p->out), found))
            return;
    }
    fail_msg("six searches do not find %s: %s", found, kept(&p->out));
}

static json_t *told(struct program *p)
{
    json_error_t e;
    json_t *root = json_loadb(p->out.data ? p->out.data : "", p->out.len, JSON_DECODE_INT_AS_REAL, &e);
    if (!root)
        fail_msg("no JSON: %s\n%s\n%s", e.text, kept(&p->out), kept(&p->err));
    return root;
}

static double real_of(const json_t *o, const char *key)
{
    return json_real_value(json_object_get(o, key));
}

/* Its interval, which is wide on a busy machine. */
static bool holds(const json_t *saving, double truth)
{
    return real_of(saving, "share_lo") <= truth && truth <= real_of(saving, "share_hi");
}

static const json_t *tried(const json_t *root, const char *name)
{
    size_t i;
    json_t *x;
    json_array_foreach(json_object_get(root, "tried"), i,
                       x) if (strcmp(json_string_value(json_object_get(x, "name")), name) == 0) return x;
    fail_msg("%s was not tried", name);
    return NULL;
}

static double true_saving(void)
{
    struct sim_settings before = sim_llama_settings(), after = before;
    after.flash = true;
    after.cache_bits = 8.5;
    double prompt = 10 + 8; /* words, and what the template adds */
    return 1 - sim_llama_request_j(&after, prompt, ANSWER) / sim_llama_request_j(&before, prompt, ANSWER);
}

/* A row's J is its ratio times the J of the defaults above it: the defaults of the same stage. */
static void figures_agree(const json_t *root)
{
    double defaults = NAN;
    json_t *x;
    size_t i;
    json_array_foreach(json_object_get(root, "tried"), i, x)
    {
        if (json_object_size(json_object_get(x, "settings")) == 0)
            defaults = real_of(x, "j_per_token");
        else if (json_is_real(json_object_get(x, "ratio")))
            assert_true(fabs(real_of(x, "j_per_token") / (real_of(x, "ratio") * defaults) - 1) < 1e-9);
    }
    const json_t *saving = json_object_get(root, "saving");
    assert_true(fabs(real_of(saving, "choice") / ((1 - real_of(saving, "share")) * real_of(saving, "defaults")) - 1) < 1e-9);
}

/* ---- what it finds ------------------------------------------------------------------------------------------------- */

static void the_settings_that_save_are_found(void **state)
{
    struct program p = {0};
    (void)state;
    tune_finds(&p, "", ARGS("--json"), tiny_model("q8_0"), NULL, "\"different\"");
    json_t *root = told(&p);
    const json_t *settings = json_object_get(json_object_get(root, "best"), "settings"),
                 *saving = json_object_get(root, "saving");
    assert_string_equal(json_string_value(json_object_get(settings, "flash-attention")), "on");
    assert_string_equal(json_string_value(json_object_get(settings, "kv-type")), "q8_0");
    assert_string_equal(json_string_value(json_object_get(saving, "verdict")), "different");
    print_message("saving %.3f (%.3f to %.3f), truth %.3f\n", real_of(saving, "share"), real_of(saving, "share_lo"),
                  real_of(saving, "share_hi"), true_saving());
    assert_true(true_saving() > 0.3);
    assert_true(holds(saving, true_saving()) || fabs(real_of(saving, "share") - true_saving()) < 0.03);
    assert_true(real_of(saving, "share_lo") > 0);
    assert_true(real_of(tried(root, "KV q8_0"), "ratio") < 1);
    figures_agree(root);
    assert_true(real_of(saving, "tokens_per_s") > real_of(saving, "defaults_tokens_per_s"));
    const char *line = json_string_value(json_array_get(json_object_get(root, "commands"), 0));
    must_say(line, " --flash-attn on");
    must_say(line, " --cache-type-k q8_0 --cache-type-v q8_0");
    assert_int_equal(json_array_size(json_object_get(root, "runs")), 3);
    json_decref(root);
    program_release(&p);

    struct run r;
    record_last(&r); /* the last comparison, as any plan */
    assert_int_equal(r.n_cells, 2);
    assert_string_equal(run_pairs_get(&r.cells[1].settings, "flash_attention"), "on");
    run_release(&r);
    program_run(&p, ARGS("compare", "last", "--metric", "j-per-token"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "B uses ");
    assert_null(strstr(kept(&p.out), "did not take turns"));
    program_release(&p);
}

/* All layers are on the GPU by themselves, where they draw twice what they draw on the processor. */
static void fewer_layers_on_a_gpu(void **state)
{
    char devices[600];
    const char *env[] = {devices, NULL};
    struct program p = {.env = env};
    (void)state;
    mkdir(scratch("dev"), 0755);
    mkdir(scratch("dev/dri"), 0755);
    scratch_write("dev/dri/renderD128", "");
    snprintf(devices, sizeof devices, "JOULET_DEVFS=%s", scratch("dev"));
    tune_finds(&p, "--sim-gpu yes", ARGS("--json", "--settings", "gpu-layers"), tiny_model("q8_0"), NULL, "\"different\"");
    json_t *root = told(&p);
    const json_t *best = json_object_get(root, "best"), *saving = json_object_get(root, "saving");
    assert_int_equal(json_array_size(json_object_get(root, "tried")), 4); /* the defaults, none, half, all */
    assert_string_equal(json_string_value(json_object_get(best, "name")), "GPU layers 0");
    assert_string_equal(json_string_value(json_object_get(saving, "verdict")), "different");
    assert_true(holds(saving, 0.5) || fabs(real_of(saving, "share") - 0.5) < 0.05);
    assert_true(real_of(saving, "tokens_per_s") < real_of(saving, "defaults_tokens_per_s"));
    must_say(json_string_value(json_array_get(json_object_get(root, "commands"), 0)), " --n-gpu-layers 0");
    must_say(json_string_value(json_array_get(json_object_get(root, "commands"), 1)), " --gpu-layers 0");
    json_decref(root);
    program_release(&p);
}

static void fewer_bits_a_weight(void **state)
{
    struct program p = {0}, made = {0};
    char q4[512], q8[512];
    (void)state;
    snprintf(q4, sizeof q4, "%s", scratch("tiny-q4_0.gguf"));
    snprintf(q8, sizeof q8, "%s", scratch("tiny-q8_0.gguf"));
    program_run(&made, ARGS("model", "make", "--shape", "tiny", "--quant", "q4_0", "-o", q4));
    assert_int_equal(made.code, 0);
    program_release(&made);
    assert_int_equal(rename(tiny_model("q8_0"), q8), 0);
    tune_finds(&p, "", ARGS("--settings", "power-cap"), q8, q4, "Best settings: tiny-q4_0.gguf");
    must_say(kept(&p.out), "tiny-q8_0.gguf: least J/token");
    must_say(kept(&p.out), q4);
    program_release(&p);
}

/* The simulated engine answers one after the other, so that nothing can be saved: that the search runs, with as many prompts a
 * round as there are requests at once at most, and says what it found. */
static void requests_at_once(void **state)
{
    struct program p = {0};
    (void)state;
    tune(&p, "", ARGS("--json", "--settings", "streams", "-n", "4", "--budget", "1s"));
    program_end(&p);
    assert_int_equal(p.code, 0);
    json_t *root = told(&p);
    assert_int_equal(json_array_size(json_object_get(root, "tried")), 4);
    assert_true(real_of(tried(root, "streams 8"), "rounds") >= 2);
    assert_true(real_of(tried(root, "streams 8"), "j_per_token") > 0);
    json_decref(root);
    program_release(&p);
    program_run(&p, ARGS("compare", "last", "--metric", "j-per-token", "--gross"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "requests ran at once");
    program_release(&p);
}

/* Which values are tried together: what saves, one of each setting, unless it makes an engine too slow. */
static void what_helps_is_tried_together(void **state)
{
    struct tune t = {.least_rate = 20};
    struct tune_standing x[] = {
        {.rounds = 4, .rate = 10, .ratio = NAN},
        {.c = {.choices = {{.setting = "threads"}}}, .rounds = 4, .rate = 15, .ratio = 0.8}, /* alone too slow, and faster */
        {.c = {.choices = {{.setting = "kv-type"}}}, .rounds = 4, .rate = 25, .ratio = 0.9},
        {.c = {.choices = {{.setting = "batch"}}}, .rounds = 4, .rate = 5, .ratio = 0.5, .state = TUNE_SLOW},
        {.c = {.choices = {{.setting = "threads"}}}, .rounds = 4, .rate = 30, .ratio = 0.7, .state = TUNE_LOST},
        {.c = {.choices = {{.setting = "flash-attn"}}}, .rounds = 4, .rate = 30, .ratio = 1.1},
        {.c = {.choices = {{.setting = "context"}}}, .rounds = 1, .rate = 30, .ratio = 0.1, .state = TUNE_REFUSED},
    };
    const struct tune_standing *out[JL_COUNT(x)];
    (void)state;
    assert_int_equal(tune_helpful(&t, x, JL_COUNT(x), out), 2);
    assert_ptr_equal(out[0], &x[4]);
    assert_ptr_equal(out[1], &x[2]);
    assert_int_equal(tune_helpful(&t, x, 3, out), 2);
    assert_ptr_equal(out[0], &x[1]);
    t.least_rate = NAN;
    assert_int_equal(tune_helpful(&t, x, JL_COUNT(x), out), 3);
    assert_ptr_equal(out[0], &x[3]);
}

/* A value that was dropped after a dear round stands beside the defaults as its ratio says, and each stage has defaults. */
static void a_row_does_not_contradict_its_ratio(void **state)
{
    static struct tune t;
    struct jl_buf out;
    (void)state;
    t = (struct tune){.plan = {.model = "m.gguf", .engine = "private"}, .n_tried = 4, .least_rate = NAN};
    t.tried[0] = (struct tune_standing){.c = {.name = "defaults"}, .rounds = 3, .rate = 9, .ratio = NAN, .mean = .01};
    t.tried[1] = (struct tune_standing){.c = {.name = "threads 1", .n = 1}, .rounds = 1, .rate = 9, .ratio = .9, .mean = .009};
    t.tried[2] = t.tried[0];
    t.tried[2].mean = .02;
    snprintf(t.tried[2].c.name, sizeof t.tried[2].c.name, "defaults again");
    t.tried[3] = t.tried[1];
    t.tried[3].mean = .018;
    jl_buf_init(&out, 1 << 16);
    tune_text(&out, &t);
    must_say(out.data, "defaults              0.01 ");
    must_say(out.data, "threads 1            0.009  -10.0 % ");
    must_say(out.data, "defaults again        0.02                       ");
    must_say(out.data, "threads 1            0.018  -10.0 % ");
    jl_buf_release(&out);
}

/* ---- what goes wrong ----------------------------------------------------------------------------------------------- */

static void what_fails_is_left_out(void **state)
{
    struct program p = {0};
    (void)state;
    tune(&p, "--sim-refuse q8_0 --sim-die 1 1024", ARGS("--budget", "1s", "--settings", "flash-attn,kv-type,batch"));
    program_end(&p);
    assert_int_equal(p.code, 0);
    must_say(kept(&p.err), "KV q8_0 is left out of the search: ");
    must_say(kept(&p.err), "V cache quantization requires flash_attn");
    must_say(kept(&p.err), "batch 1024 is left out of the search: ");
    assert_int_equal(lines_of(kept(&p.err)), 2); /* a sentence each */
    must_say(kept(&p.out), "refused");
    must_say(kept(&p.out), "joulet engine start --engine ");
    bool chosen = strstr(kept(&p.out), "Best settings: flash attention on") != NULL; /* six turns beside others may not tell */
    must_say(kept(&p.out), chosen ? "--engine-option flash-attn=on" : "Best settings: the defaults");
    program_release(&p);
}

static void a_rate_that_nothing_keeps(void **state)
{
    struct program p = {0};
    (void)state;
    tune(&p, "", ARGS("--min-tokens-per-s", "100000", "--settings", "flash-attn", "--budget", "1s"));
    program_end(&p);
    assert_int_equal(p.code, 1);
    must_say(kept(&p.err), "no setting that was tried keeps 100000 tokens/s");
    must_say(kept(&p.out), "Nothing that was tried keeps 100000 tokens/s");
    program_release(&p);
}

static void interrupted_it_tells_the_best_so_far(void **state)
{
    struct program p = {0};
    (void)state;
    tune(&p, "", ARGS("--budget", "1h", "--verbose", "--settings", "flash-attn"));
    program_until_err(&p, "third round");
    kill(p.pid, SIGINT);
    program_end(&p);
    assert_int_equal(p.code, 130);
    must_say(kept(&p.out), "Interrupted. Best so far: ");
    must_say(kept(&p.out), "joulet compare ");
    program_release(&p);
}

static void bad_words_are_refused(void **state)
{
    const struct {
        const char *args[4], *says;
    } rows[] = {
        {{"--settings", "threads,colour"}, "there is no setting \"colour\" to try"},
        {{"--settings", "power-cap"}, "there is nothing to try"},
        {{"--engine", "http://127.0.0.1:1"}, "tune starts servers of its own"},
        {{"--for", "speed"}, "speed"},
        {{"nowhere.gguf"}, "there is no model nowhere.gguf"},
        {{"--settings", "power-cap", scratch("tiny.gguf")}, "is named twice"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        bool model = strcmp(rows[i].args[0], "nowhere.gguf") != 0;
        program_run(&p, ARGS("tune", rows[i].args[0], model ? rows[i].args[1] : NULL, tiny_model("q8_0"), rows[i].args[2]));
        if (p.code != 2 || !strstr(kept(&p.err), rows[i].says))
            fail_msg("row %zu: code %d, \"%s\"", i, p.code, kept(&p.err));
        program_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_settings_that_save_are_found),
        cmocka_unit_test(what_helps_is_tried_together),
        cmocka_unit_test(fewer_layers_on_a_gpu),
        cmocka_unit_test(fewer_bits_a_weight),
        cmocka_unit_test(requests_at_once),
        cmocka_unit_test(a_row_does_not_contradict_its_ratio),
        cmocka_unit_test(what_fails_is_left_out),
        cmocka_unit_test(a_rate_that_nothing_keeps),
        cmocka_unit_test(interrupted_it_tells_the_best_so_far),
        cmocka_unit_test(bad_words_are_refused),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
