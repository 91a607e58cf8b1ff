/* The probe beside every build of llama.cpp there is: the private engine's, and an old one that tools/check-engines has put into
 * the user's cache. The libraries are loaded at run time and driven through llama_decode; all logits of 40 tokens stay the same
 * to the byte, and what is told is whole. Left out where there is no build. */
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"
#include "llm/runtime_private.h"
#include "profile/steps.h"
#include "tests/llm/real_engines.h"

#include <sys/stat.h>

#define TOKENS 40
#define LAYERS 4

static char old_build[4096], private_build[4096];

static int begin(void **state)
{
    char path[4096];
    real_path(path, sizeof(path), "llama-old/libggml-base.so");
    if (*path)
        snprintf(old_build, sizeof(old_build), "%.*s", (int)(strrchr(path, '/') - path), path);
    char *folder = jl_data_dir_name();
    snprintf(path, sizeof(path), "%s/engine/MANIFEST", folder ? folder : "");
    if (access(path, R_OK) == 0)
        snprintf(private_build, sizeof(private_build), "%s/engine", folder);
    free(folder);
    if (scratch_open(state) != 0)
        return -1;
    return mkdir(scratch_path("rings"), 0700);
}

/* Words of the program; "" when it has none of the functions. env NULL: without the probe. */
static int64_t run(char words[64], const char *folder, bool private, const char *const *env)
{
    struct args a = {.v = NULL};
    struct jl_process p;
    struct joulet_error err;
    if (private) {
        assert_int_equal(args_private(&a, folder, "llama-server", &err), JOULET_OK);
        free(a.v[--a.n]);
        if (env) {
            args_add(&a, "--preload");
            args_add(&a, "%s", PROBE);
        }
    }
    args_add(&a, "%s", LOGITS);
    args_add(&a, "%s", folder);
    args_add(&a, "%s", scratch_path("m.gguf"));
    unlink(scratch_path("log"));
    struct jl_spawn what = {.argv = (const char *const *)a.v, .env = env, .cwd = folder, .log = scratch_path("log")};
    if (jl_spawn(&p, &what, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    jl_process_wait(&p, -1);
    args_release(&a);
    words[0] = '\0';
    if (p.status == 0)
        jl_read_text(scratch_path("log"), words, 64, NULL);
    else if (p.status != 77)
        fail_msg("%s ended with %d", folder, p.status);
    return p.pid;
}

static void check_ring(int64_t pid, enum wire_level level, bool again)
{
    struct ring *r;
    struct ring_record records[256];
    struct ring_info info;
    struct joulet_error err;
    struct profile_step p;
    struct steps *s = malloc(sizeof(*s));
    size_t steps = 0, layers = 0, ffn = 0;
    char *path = ring_find(scratch_path("rings"), pid);
    assert_non_null(path);
    if (ring_open(&r, path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    steps_init(s);
    for (size_t n; (n = ring_read(r, records, JL_COUNT(records))) > 0;)
        for (size_t i = 0; i < n; i++) {
            if (!steps_add(s, &records[i], &p))
                continue;
            assert_int_equal(p.tokens, steps == 0 ? 9 : 1);
            assert_int_equal(p.sequences[0].position, steps == 0 ? 0 : 8 + steps);
            steps++;
            layers += p.kind_n[WIRE_LAYER];
            ffn += p.kind_n[WIRE_FFN];
        }
    ring_info(r, &info);
    assert_int_equal(steps, TOKENS);
    assert_int_equal(info.counts[WIRE_N_DECODE], TOKENS);
    assert_int_equal(layers, level == WIRE_LAYERS ? LAYERS * TOKENS : 0);
    assert_true(level == WIRE_COMPONENTS ? ffn == LAYERS * TOKENS : level == WIRE_NODES ? ffn > LAYERS * TOKENS : ffn == 0);
    assert_string_equal(info.remark, "");
    assert_true((info.counts[WIRE_N_CHECKED] > 0) == again);
    assert_int_equal(info.counts[WIRE_N_DIFFER] + info.counts[WIRE_N_REFUSED], 0);
    ring_close(r);
    unlink(path);
    free(path);
    free(s);
}

static void a_build(const char *folder, bool private, const char *shape)
{
    static const struct {
        const char *setting;
        enum wire_level level;
    } rows[] = {{"JOULET_PROBE_LEVEL=layers", WIRE_LAYERS},
                {"JOULET_PROBE_LEVEL=components", WIRE_COMPONENTS},
                {"JOULET_PROBE_LEVEL=nodes", WIRE_NODES},
                {"JOULET_PROBE_REPEAT=norm=4,attention=2,ffn=2,head=2", WIRE_COMPONENTS}};
    char plain[64], probed[64], dir[256];
    struct gguf_shape s;
    assert_int_equal(gguf_shape_find(shape, &s, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &s, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    run(plain, folder, private, NULL);
    if (!*plain)
        skip();
    snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", scratch_path("rings"));
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const char *const env[] = {dir,
                                   rows[i].setting,
                                   "JOULET_PROBE_EVERY=1",
                                   "JOULET_PROBE_VERIFY=1",
                                   "JOULET_PROBE_SEGMENT_MS=1",
                                   private ? NULL : "LD_PRELOAD=" PROBE,
                                   NULL};
        int64_t pid = run(probed, folder, private, env);
        if (strcmp(plain, probed) != 0)
            fail_msg("%s, %s, %s: the logits differ: %s %s", folder, shape, rows[i].setting, plain, probed);
        check_ring(pid, rows[i].level, strstr(rows[i].setting, "REPEAT") != NULL);
    }
}

static void the_private_engine(void **state)
{
    (void)state;
    if (!*private_build)
        skip();
    a_build(private_build, true, "tiny");
    a_build(private_build, true, "tiny-moe");
}

static void an_old_build(void **state)
{
    (void)state;
    if (!*old_build)
        skip();
    a_build(old_build, false, "tiny");
    a_build(old_build, false, "tiny-moe");
}

/* "old": the second. Each is skipped as a whole where its build is not there. */
int main(int argc, char **argv)
{
    const struct CMUnitTest current[] = {cmocka_unit_test(the_private_engine)}, old[] = {cmocka_unit_test(an_old_build)};
    bool is_old = argc > 1 && strcmp(argv[1], "old") == 0;
    int failed =
        is_old ? cmocka_run_group_tests(old, begin, scratch_close) : cmocka_run_group_tests(current, begin, scratch_close);
    return failed || *(is_old ? old_build : private_build) ? failed : 77;
}
