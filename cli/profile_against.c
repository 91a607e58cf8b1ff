/* profile_against.c - differential runs: the same prompts to a model that joulet made and to one with one component less, in
 * turns, on two servers. What a layer, a part of the feed-forward, some heads or words of the vocabulary cost is the difference;
 * a single head is below what most sensors resolve, and then an upper limit. */
#include "cli/profile.h"
#include "llm/gguf/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS 3
#define SEED   1 /* of `joulet model make`, unless it is told another */

struct against {
    struct profiling *x;
    const char *what;
    struct gguf_shape whole, less;
    enum gguf_quant quant;
    char *path;
    int all, changed; /* layers, width, heads or words */
    double j[2][ROUNDS], tokens[2][ROUNDS], seconds[2];
    size_t n[2];
};

/* The shape and the format that the file was made with. */
static bool find_shape(struct against *a, const char *path)
{
    static const enum gguf_quant quants[] = {GGUF_Q4_0, GGUF_Q8_0, GGUF_F16, GGUF_F32};
    for (size_t i = 0; gguf_shape_get(i, &a->whole); i++)
        for (size_t q = 0; q < JL_COUNT(quants); q++)
            if (gguf_is_written(path, &a->whole, quants[q], SEED)) {
                a->quant = quants[q];
                return true;
            }
    return false;
}

static bool change(struct against *a, struct joulet_error *err)
{
    const struct gguf_shape *s = &a->whole;
    const struct {
        const char *what;
        int all, left;
    } rows[] = {{"layers", s->layers, s->layers - 1},
                {"ffn", s->ffn, s->ffn * 7 / 8 / 256 * 256},
                {"heads", s->heads, s->heads - s->kv_heads},
                {"vocab", s->vocab, s->vocab / 2 / 64 * 64}};
    char text[40];
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        if (strcmp(rows[i].what, a->what) != 0)
            continue;
        a->all = rows[i].all;
        a->changed = rows[i].all - rows[i].left;
        snprintf(text, sizeof text, "%s=%d", a->what, rows[i].left);
    }
    a->less = a->whole;
    return gguf_shape_change(&a->less, text, err) == JOULET_OK;
}

static bool make(struct against *a, struct joulet_error *err)
{
    char *dir = runtime_models_dir(err);
    a->path = dir ? jl_strf("%s/%s-%s.gguf", dir, a->less.name, gguf_quant_name(a->quant)) : NULL;
    free(dir);
    if (!a->path)
        return false;
    cli_say(a->x->cli, "writing %s", a->path);
    return gguf_is_written(a->path, &a->less, a->quant, SEED) ||
           gguf_write(a->path, &a->less, a->quant, SEED, NULL, NULL, err) == JOULET_OK;
}

/* One answer of one of the two: plain, and kept apart from the profile's own requests. */
static bool one(struct against *a, int which, const char *prompt, int64_t tokens)
{
    if (!profile_pass(a->x, MEASURE_ASIDE, prompt, tokens))
        return false;
    const struct run_request *q = &a->x->s.run.requests[a->x->s.run.n_requests - 1];
    const struct run_window *w = q->n_windows ? &q->windows[q->n_windows - 1] : NULL;
    if (!w || strcmp(w->name, "decode") != 0 || q->tokens.generated < 2)
        return true;
    a->seconds[which] += run_window_s(w);
    a->j[which][a->n[which]] = w->energy.total.net_j;
    a->tokens[which][a->n[which]++] = (double)q->tokens.generated - 1;
    return true;
}

static void point(struct against *a, const char *label, double place, double tokens, double seconds, double j, double pm)
{
    struct run_profile_point p = {.series = "model", .phase = "decode", .x = place, .tokens = tokens, .seconds = seconds};
    snprintf(p.label, sizeof p.label, "%s", label);
    p.joules = j;
    p.joules_pm = pm;
    run_profile_add_point(&a->x->p, &p);
}

static void report(struct against *a)
{
    double j[2] = {NAN, NAN}, pm[2] = {NAN, NAN}, tokens[2] = {0, 0};
    char label[48];
    for (int i = 0; i < 2; i++) {
        if (!a->n[i])
            return;
        joulet_ratio_of_sums(a->j[i], a->tokens[i], a->n[i], &j[i], &pm[i]);
        for (size_t k = 0; k < a->n[i]; k++)
            tokens[i] += a->tokens[i][k];
        snprintf(label, sizeof label, "%s %d", a->what, i ? a->all - a->changed : a->all);
        point(a, label, i, tokens[i], a->seconds[i] / tokens[i], j[i], pm[i]);
    }
    double d = j[0] - j[1], u = hypot(pm[0], pm[1]);
    snprintf(label, sizeof label, "%d %s of it", a->changed, a->what);
    point(a, label, 2, tokens[0], a->seconds[0] / tokens[0] - a->seconds[1] / tokens[1], d, u);
    if (fabs(d) > u)
        run_profile_note(&a->x->p, "%d of %d %s: %.3g J +- %.2g of a token, %.2g J each", a->changed, a->all, a->what, d, u,
                         d / a->changed);
    else
        run_profile_note(&a->x->p, "%d of %d %s: not resolved, at most %.3g J of a token, %.2g J each", a->changed, a->all,
                         a->what, fmax(0, d) + u, (fmax(0, d) + u) / a->changed);
}

/* The second server; its load and its idle level are its own matter. */
static bool start(struct against *a, struct runtime_choice *other)
{
    struct profiling *x = a->x;
    const struct session_ask ask = {.engine = cli_given(x->cli, "engine") ? cli_str(x->cli, "engine") : "private",
                                    .model = a->path,
                                    .context = cli_int(x->cli, "context", -1),
                                    .threads = (int)cli_int(x->cli, "threads", 0),
                                    .gpu_layers = (int)cli_int(x->cli, "gpu-layers", -1),
                                    .parallel = 1,
                                    .q = &x->q,
                                    .further = true};
    struct joulet_baseline *idle = calloc(x->s.n_channels + 1, sizeof *idle);
    if (!idle)
        return false;
    memcpy(idle, x->s.idle, x->s.n_channels * sizeof *idle);
    int code = session_choose_as(&x->s, other, &ask);
    memcpy(x->s.idle, idle, x->s.n_channels * sizeof *idle);
    free(idle);
    return code == CLI_DONE;
}

static void compare(struct against *a, int64_t tokens)
{
    struct profiling *x = a->x;
    struct runtime_choice ours = x->choice, other = {.server.process = {.pid = -1, .ended = true}};
    const char *prompt = x->prompt ? x->prompt : x->plan.prompts[0].text;
    bool ok = start(a, &other);
    for (int i = 0; ok && i < ROUNDS && !atomic_load(&cli_cancel); i++) {
        cli_say(x->cli, "against %s, round %d", a->less.name, i + 1);
        ok = one(a, 0, prompt, tokens);
        x->choice = other;
        ok = ok && one(a, 1, prompt, tokens);
        other = x->choice;
        x->choice = ours;
    }
    runtime_choice_release(&other);
    report(a);
}

void profile_against(struct profiling *x, int64_t tokens)
{
    struct joulet_error err;
    struct against a = {.x = x, .what = cli_str(x->cli, "against")};
    if (!a.what)
        return;
    if (!x->choice.started || !x->choice.model_file || !find_shape(&a, x->choice.model_file)) {
        cli_warn(x->cli,
                 "--against needs a model that `joulet model make` has written, on a server of our own: nothing was compared");
        run_profile_note(
            &x->p, "--against needs a model that `joulet model make` has written, on a server of our own: nothing was compared");
        return;
    }
    if (change(&a, &err) && make(&a, &err))
        compare(&a, tokens);
    else
        cli_warn(x->cli, "%s", err.message);
    free(a.path);
}
