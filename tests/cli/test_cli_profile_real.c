/* test_cli_profile_real.c - `joulet profile` on a real llama-server, where one is installed: every layer and component of a model
 * is in the record, with the time it took. Nothing here depends on how fast the machine is, nor on its sensors. */
#include "lib/platform/platform.h"
#include "run/profile.h"
#include "tests/cli/profiled.h"
#include "tests/cli/program.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char *engine; /* folder of the private one; NULL: none is installed */

static int begin(void **state)
{
    char *data = jl_data_dir_name();
    engine = data ? jl_strf("%s/engine", data) : NULL;
    char *manifest = engine ? jl_strf("%s/MANIFEST", engine) : NULL;
    if (!manifest || access(manifest, R_OK) != 0) {
        free(engine);
        engine = NULL;
    }
    free(manifest);
    free(data);
    return scratch_open(state);
}

static int end(void **state)
{
    free(engine);
    return scratch_close(state);
}

static void read_profile(const char *shape, const char *level, struct run_profile *out)
{
    char data[600], runtime[600], model[64];
    snprintf(model, sizeof model, "%s.gguf", shape);
    snprintf(data, sizeof data, "JOULET_DATA_DIR=%s", scratch("real"));
    snprintf(runtime, sizeof runtime, "XDG_RUNTIME_DIR=%s", scratch("runtime"));
    mkdir(scratch("real"), 0700);
    mkdir(scratch("real/joulet"), 0700);
    mkdir(scratch("runtime"), 0700);
    if (symlink(engine, scratch("real/joulet/engine")) != 0)
        assert_int_equal(access(scratch("real/joulet/engine"), R_OK), 0);
    const char *env[] = {data, runtime, NULL};
    struct program made = {.env = env}, p = {.env = env};
    program_run(&made, ARGS("model", "make", "--shape", shape, "-o", scratch(model)));
    program_release(&made);
    program_run(&p,
                ARGS("profile", "--engine", "private", "-m", scratch(model), "--sim", "50", "--baseline", "2s", "--threads", "1",
                     "--requests", "1", "-n", "24", "--level", level, "--json", "-o", scratch("p.json"), "one two three"));
    if (p.code)
        fail_msg("ended with %d: %s", p.code, kept(&p.err));
    program_release(&p);
    profile_read("p.json", out);
}

static const struct run_profile_row *row(const struct run_profile *p, int64_t layer, const char *component, const char *part)
{
    for (size_t i = 0; i < p->n_rows; i++)
        if (!strcmp(p->rows[i].phase, "decode") && p->rows[i].layer == layer && !strcmp(p->rows[i].component, component) &&
            !strcmp(p->rows[i].part, part))
            return &p->rows[i];
    fail_msg("no row of %s %s in layer %lld", component, part, (long long)layer);
    return NULL;
}

/* Its own best rates are the roof: no phase comes above it. And what advice asks is told. */
static void roof_and_facts(const struct run_profile *p)
{
    static const char *const machine[] = {"peak_flops", "bytes_per_s"}, *const model[] = {"weight_bits", "weight_bytes"},
                             *const seen[] = {"requests", "output_tokens", "context_tokens", "step_bytes"};
    static const char *const phases[] = {"prefill", "decode"};
    for (size_t i = 0; i < JL_COUNT(machine); i++)
        assert_non_null(run_pairs_get(&p->machine, machine[i]));
    for (size_t i = 0; i < JL_COUNT(model); i++)
        assert_non_null(run_pairs_get(&p->model, model[i]));
    for (size_t i = 0; i < JL_COUNT(seen); i++)
        assert_non_null(run_pairs_get(&p->engine, seen[i]));
    assert_string_equal(run_pairs_get(&p->settings, "threads"), "1");
    for (size_t i = 0; i < JL_COUNT(phases); i++) {
        const struct run_profile_phase *x = run_profile_phase(p, phases[i]);
        assert_true(x->least_s > 0 && x->least_s <= x->seconds * 1.000001);
    }
}

/* Each of them has an interval, or a limit; how much of a loop is the work itself is a matter of the engine, and whether the
 * power of the rest is known one of the sensor. */
static void host_work(const struct run_profile *p)
{
    static const char *const names[] = {"tokenise", "sample", "detokenise"};
    assert_int_equal(p->n_host, 2);
    for (size_t i = 0; i < p->n_host; i++) {
        const struct run_profile_host *x = &p->host[i];
        assert_true(x->seconds >= 2 && x->tokens > 1000 && x->inside > 0 && x->watts_pm > 0);
    }
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        const struct run_profile_phase *x = run_profile_phase(p, names[i]);
        assert_non_null(x);
        assert_true(x->seconds > 0);
        assert_true(x->power_of[0] ? x->joules_pm > 0 || x->limit_j >= 0 : isnan(x->joules) && isnan(x->joules_pm));
        assert_true(x->power_of[0] || !strcmp(x->name, "sample"));
    }
}

static void components_of_a_real_engine(void **state)
{
    static const char *const in_layers[] = {"attention_norm", "attention", "ffn_norm", "ffn"};
    struct run_profile p;
    (void)state;
    if (!engine)
        skip();
    read_profile("tiny", "components", &p);
    for (int64_t layer = 0; layer < 4; layer++)
        for (size_t k = 0; k < JL_COUNT(in_layers); k++) {
            const struct run_profile_row *r = row(&p, layer, in_layers[k], "");
            assert_true(r->seconds > 0 && r->flop > 0 && r->bytes > 0);
        }
    assert_true(row(&p, -1, "head", "")->seconds > 0);
    assert_int_equal(run_profile_phase(&p, "decode")->tokens, 23);
    assert_non_null(run_profile_phase(&p, "tokenise"));
    assert_non_null(run_profile_phase(&p, "sample"));
    if (!(p.how.stretches + p.how.between >= 0.99))
        fail_msg("stretches are %g and stops %g of the graphs", p.how.stretches, p.how.between);
    assert_int_equal(p.how.lost, 0);
    roof_and_facts(&p);
    host_work(&p);
    assert_true(p.how.path[0] && strcmp(p.how.path, "stages") != 0);
    run_profile_release(&p);
}

/* Each part that was seen has work of its own, and together they have that of their component. */
static void parts_have_its_work(const struct run_profile *p, const struct run_profile_row *of)
{
    double flop = 0, bytes = 0;
    for (size_t i = 0; i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        if (strcmp(r->phase, of->phase) != 0 || r->layer != of->layer || strcmp(r->component, of->component) != 0 || !r->part[0])
            continue;
        if (!(r->flop >= 0 && r->bytes > 0))
            fail_msg("%s of %s has %g FLOP and %g bytes", r->part, r->component, r->flop, r->bytes);
        flop += r->flop;
        bytes += r->bytes;
    }
    if (bytes > 0 && (fabs(flop / of->flop - 1) > 1e-9 || fabs(bytes / of->bytes - 1) > 1e-9))
        fail_msg("the parts of %s have %g of %g FLOP and %g of %g bytes", of->component, flop, of->flop, bytes, of->bytes);
}

static void parts_of_components(void **state)
{
    static const char *const in_all[][2] = {{"attention_norm", "norm"}, {"attention", "qkv"},        {"attention", "scores"},
                                            {"ffn_norm", "norm"},       {"attention", "projection"}, {"attention", "residual"}};
    static const struct {
        const char *shape, *of_ffn[5];
    } rows[] = {{"tiny", {"gate", "up", "activation", "down", "residual"}}, {"tiny-moe", {"router", "experts", "residual"}}};
    struct run_profile p;
    (void)state;
    if (!engine)
        skip();
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        read_profile(rows[i].shape, "nodes", &p);
        for (int64_t layer = 0; layer < 4; layer++) {
            for (size_t k = 0; k < JL_COUNT(in_all); k++)
                assert_true(row(&p, layer, in_all[k][0], in_all[k][1])->seconds <= row(&p, layer, in_all[k][0], "")->seconds);
            for (size_t k = 0; k < JL_COUNT(rows[i].of_ffn) && rows[i].of_ffn[k]; k++)
                assert_true(row(&p, layer, "ffn", rows[i].of_ffn[k])->seconds < row(&p, layer, "ffn", "")->seconds);
        }
        for (size_t k = 0; k < p.n_rows; k++)
            if (!p.rows[k].part[0])
                parts_have_its_work(&p, &p.rows[k]);
        assert_true(p.how.flash);
        run_profile_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(components_of_a_real_engine), cmocka_unit_test(parts_of_components)};
    return cmocka_run_group_tests(tests, begin, end);
}
