/* test_cli_attach_real.c - `joulet profile --attach` to a real llama-server with two slots, where one is installed, by its
 * process and by its address, while clients of this test use it: what it tells of them, and that they get the same answers
 * meanwhile. Nothing here depends on how fast the machine is, nor on its sensors. */
#include "lib/platform/platform.h"
#include "llm/engine.h"
#include "llm/runtime.h"
#include "run/profile.h"
#include "tests/cli/profiled.h"
#include "tests/cli/program.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOTS  2
#define LAYERS 4
#define TOKENS 100
#define TRIES  3 /* a machine that is busy with others may have no turn of each kind in the time: four times as long then */

static struct runtime_server server;
static bool runs;

static bool installed(void)
{
    char *data = jl_data_dir_name(), *manifest = data ? jl_strf("%s/engine/MANIFEST", data) : NULL;
    bool is = manifest && access(manifest, R_OK) == 0;
    free(manifest);
    free(data);
    return is;
}

static int begin(void **state)
{
    struct joulet_error err;
    bool is = installed();
    if (scratch_open(state) != 0)
        return -1;
    if (!is)
        return 0;
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    mkdir(scratch("probes"), 0700);
    char *dir = jl_strf("JOULET_PROBE_DIR=%s", scratch("probes"));
    const char *const environment[] = {dir, NULL};
    const struct runtime_start how = {.private_only = true,
                                      .model = tiny_model(NULL),
                                      .context_length = 1024,
                                      .threads = 1,
                                      .parallel = SLOTS,
                                      .gpu_layers = -1,
                                      .preload = PROBE,
                                      .environment = environment};
    runs = runtime_server_start(&server, &how, &err) == JOULET_OK;
    if (!runs)
        print_error("%s\n", err.message);
    free(dir);
    return runs ? 0 : -1;
}

static int end(void **state)
{
    if (runs)
        runtime_server_stop(&server);
    return scratch_close(state);
}

/* ---- clients ------------------------------------------------------------------------------------------------------------- */

/* Asks the same of one slot after the other, until it is told to stop. */
struct client {
    pthread_t thread;
    int first_slot, slots; /* in turn */
    atomic_bool stop;
    int64_t answers[SLOTS], generated[SLOTS];
    char *text; /* that every answer has; NULL: the first one's */
    char *why;  /* what went wrong; NULL: nothing */
};

static void keep_text(struct client *c, const struct generated *g)
{
    if (!c->text)
        c->text = jl_strdup(kept(&g->text));
    else if (!c->why && strcmp(c->text, kept(&g->text)) != 0)
        c->why = jl_strf("not %s\nbut %s", c->text, kept(&g->text));
}

static void ask(struct client *c, struct engine *e, int slot)
{
    struct generated g;
    struct joulet_error err;
    char id[16];
    snprintf(id, sizeof id, "id_slot=%d", slot);
    const char *const options[] = {id, "ignore_eos=true"};
    const struct generation q = {.prompt = "one two three",
                                 .raw = true,
                                 .max_tokens = TOKENS,
                                 .context_length = -1,
                                 .top_k = -1,
                                 .seed = 1,
                                 .top_p = NAN,
                                 .min_p = NAN,
                                 .repeat_penalty = NAN,
                                 .options = options,
                                 .n_options = JL_COUNT(options)};
    generated_init(&g);
    if (engine_generate(e, &q, &g, NULL, NULL, &err) == JOULET_OK) {
        c->answers[slot]++;
        c->generated[slot] += g.tokens.generated;
        keep_text(c, &g);
    } else if (!c->why)
        c->why = jl_strdup(err.message);
    generated_release(&g);
}

static void *be_client(void *user)
{
    struct client *c = user;
    struct joulet_error err;
    struct engine *e;
    if (engine_open(&e, server.url, server.key, NULL, &err) != JOULET_OK) {
        c->why = jl_strdup(err.message);
        return NULL;
    }
    for (int i = 0; !c->why && (!atomic_load(&c->stop) || i < SLOTS); i++)
        ask(c, e, c->first_slot + i % c->slots);
    engine_close(e);
    return NULL;
}

static void client_start(struct client *c)
{
    assert_int_equal(pthread_create(&c->thread, NULL, be_client, c), 0);
}

static void client_stop(struct client *c)
{
    atomic_store(&c->stop, true);
    pthread_join(c->thread, NULL);
}

static void client_release(struct client *c)
{
    free(c->text);
    free(c->why);
}

/* ---- attached ------------------------------------------------------------------------------------------------------------- */

/* While the clients ask; the record in *r. more: of the command line, NULL after the last. */
static void attach(const char *what, const char *duration, const char *const *more, struct client *all, size_t n,
                   struct run_profile *r)
{
    const char *args[24] = {"profile",    "--attach", what,        "--sim",  "50", "--baseline",     "1s",
                            "--duration", duration,   "--verbose", "--json", "-o", scratch("p.json")};
    struct program p = {0};
    size_t k = 0;
    while (args[k])
        k++;
    for (size_t i = 0; more[i]; i++)
        args[k++] = more[i];
    remove(scratch("p.json"));
    program_start(&p, args);
    program_until_err(&p, "its clients may ask now");
    for (size_t i = 0; i < n; i++)
        client_start(&all[i]);
    program_end(&p);
    for (size_t i = 0; i < n; i++)
        client_stop(&all[i]);
    for (size_t i = 0; i < n; i++)
        if (all[i].why)
            fail_msg("%s", all[i].why);
    if (p.code)
        fail_msg("%d: %s", p.code, kept(&p.err));
    program_release(&p);
    profile_read("p.json", r);
}

/* Until there were turns of both kinds. */
static bool has_both(const struct run_profile *r)
{
    const struct run_profile_phase *decode = run_profile_phase(r, "decode");
    return decode && decode->tokens > 0 && run_profile_sum(r, "decode", "ffn", RUN_PROFILE_ALL_LAYERS).seconds > 0;
}

static const char *const durations[TRIES] = {"6s", "24s", "96s"};

/* Every layer and component, and all of the graphs' time. */
static void must_be_whole(const struct run_profile *r)
{
    static const char *const in_layers[] = {"attention_norm", "attention", "ffn_norm", "ffn"};
    for (int64_t layer = 0; layer < LAYERS; layer++)
        for (size_t k = 0; k < JL_COUNT(in_layers); k++)
            assert_true(run_profile_sum(r, "decode", in_layers[k], layer).seconds > 0);
    assert_true(run_profile_sum(r, "decode", "head", RUN_PROFILE_ALL_LAYERS).seconds > 0);
    if (r->how.stretches + r->how.between < 0.99)
        fail_msg("stretches are %g and stops %g of the graphs", r->how.stretches, r->how.between);
    assert_non_null(run_profile_phase(r, "sample"));
    assert_string_equal(run_pairs_get(&r->model, "layers"), "4"); /* from the file that its command line names */
    assert_int_equal(atoll(run_pairs_get(&r->engine, "pid")), server.process.pid);
    probe_must_be_as_started(scratch("probes"), server.process.pid);
}

/* One client that asks the two slots in turn: those of the slot that is looked at count. */
static void by_its_process(void **state)
{
    struct client before = {.slots = 1, .stop = true};
    struct run_profile r;
    char number[24];
    (void)state;
    if (!runs)
        skip();
    client_start(&before);
    client_stop(&before);
    if (before.why)
        fail_msg("%s", before.why);
    assert_true(before.text && *before.text);
    snprintf(number, sizeof number, "%lld", (long long)server.process.pid);
    for (int i = 0; i < TRIES; i++) {
        struct client c = {.slots = SLOTS, .text = jl_strdup(before.text)};
        attach(number, durations[i], ARGS("--slot", "0"), &c, 1, &r);
        int64_t answers = c.answers[0], generated = c.generated[0];
        client_release(&c);
        const struct run_profile_phase *decode = run_profile_phase(&r, "decode");
        assert_true(answers > 0 && decode && decode->tokens <= generated - answers); /* prompts give the first ones */
        assert_int_equal(decode->tokens, decode->steps);                             /* nobody else was in them */
        if (has_both(&r) || i + 1 == TRIES)
            break;
        run_profile_release(&r);
    }
    assert_true(has_both(&r));
    must_be_whole(&r);
    run_profile_release(&r);
    client_release(&before);
}

/* Two clients, each with a slot: most steps are of both, and nothing is sent besides. */
static void by_its_address(void **state)
{
    struct run_profile r;
    (void)state;
    if (!runs)
        skip();
    for (int i = 0; i < TRIES; i++) {
        struct client c[SLOTS] = {{.first_slot = 0, .slots = 1}, {.first_slot = 1, .slots = 1}};
        attach(server.url, durations[i], ARGS("--key", server.key), c, SLOTS, &r);
        const struct run_profile_phase *decode = run_profile_phase(&r, "decode");
        assert_true(decode && decode->tokens <= c[0].generated[0] + c[1].generated[1]);
        for (int k = 0; k < SLOTS; k++) {
            assert_true(c[k].answers[k] > 0);
            client_release(&c[k]);
        }
        if (has_both(&r) || i + 1 == TRIES)
            break;
        run_profile_release(&r);
    }
    assert_true(has_both(&r));
    must_be_whole(&r);
    const struct run_profile_phase *decode = run_profile_phase(&r, "decode");
    if (decode->steps >= decode->tokens)
        fail_msg("%lld tokens in %lld steps", (long long)decode->tokens, (long long)decode->steps);
    run_profile_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(by_its_process), cmocka_unit_test(by_its_address)};
    return cmocka_run_group_tests(tests, begin, end);
}
