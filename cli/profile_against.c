/* profile_against.c - differential runs: the same prompts to a model that joulet made and to one with one component less, in
 * turns, on two servers that are started alike. What a layer, a part of the feed-forward, some heads or words of the vocabulary
 * cost is the difference (profile/difference.h); a single head is below what most sensors resolve, and then an upper limit.
 *
 * The smaller model is written before anything is measured, so that what cannot be is said at once, and removed at the end
 * whatever happened in between, unless it was there before. */
#include "cli/parse.h"
#include "cli/profile.h"
#include "lib/platform/platform.h"
#include "llm/gguf/gguf.h"
#include "profile/difference.h"
#include "profile/probe.h"
#include "report/report.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define ROUNDS         6                    /* even: drift cancels between those that begin with one and those with the other */
#define OVERHEAD_BYTES ((int64_t)200 << 20) /* of a server besides weights and cache */
#define CONTEXT        4096
#define WARM_TOKENS    16

struct profile_against {
    struct profiling *x;
    const char *given; /* of the command line: `what`, and how many layers */
    const char *what;
    struct gguf_made whole;
    struct gguf_shape less;
    char *path;
    bool ours;        /* written for this profile */
    int all, changed; /* layers, width, heads or words */
    char *ring_path;  /* of the server beside */
    struct profile_answer answers[2][ROUNDS];
    size_t n;
    struct profile_difference d; /* rounds below 2: not measured */
};

/* ---- the model with less ----------------------------------------------------------------------------------------------- */

/* "layers-8": eight of them; else one. -1: that is no number of layers. */
static int layers_less(const char *given)
{
    const char *number = given + strlen("layers");
    int64_t n = -1;
    if (!*number)
        return 1;
    return *number == '-' && jl_parse_i64(number + 1, &n) && n > 0 && n < GGUF_LAYERS_MAX ? (int)n : -1;
}

static bool is_known(const char *given)
{
    return jl_word_in(option_find("against")->words, ',', given) || (jl_starts(given, "layers") && layers_less(given) > 0);
}

static enum joulet_status change(struct profile_against *a, struct joulet_error *err)
{
    const struct gguf_shape *s = &a->whole.shape;
    int less = jl_starts(a->given, "layers") ? layers_less(a->given) : -1;
    const struct {
        const char *what;
        int all, left;
        bool named;
    } rows[] = {{"layers", s->layers, s->layers - less, less > 0},
                {"ffn", s->ffn, s->ffn * 7 / 8 / 256 * 256, !strcmp(a->given, "ffn")},
                {"heads", s->heads, s->heads - s->kv_heads, !strcmp(a->given, "heads")},
                {"vocab", s->vocab, s->vocab / 2 / 64 * 64, !strcmp(a->given, "vocab")}};
    char text[40] = "";
    int left = 0;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        if (!rows[i].named)
            continue;
        a->what = rows[i].what;
        a->all = rows[i].all;
        left = rows[i].left;
        a->changed = a->all - left;
        snprintf(text, sizeof text, "%s=%d", a->what, left);
    }
    if (left < 1)
        return jl_fail(err, JOULET_USAGE, "--against %s: %s has so few that nothing would be left with less: take another shape",
                       a->given, s->name);
    a->less = *s;
    return gguf_shape_change(&a->less, text, err);
}

static double cache_bytes(const struct profiling *x, const struct gguf_shape *s)
{
    double slots = profile_slots(x);
    double context = (double)cli_int(x->cli, "context", CONTEXT);               /* of each slot */
    return 2.0 * 2.0 * s->layers * s->kv_heads * s->head_dim * slots * context; /* keys and values of 16 bits */
}

/* Both lie in memory at the same time. */
static enum joulet_status check_memory(const struct profile_against *a, struct joulet_error *err)
{
    struct jl_machine m;
    const struct gguf_shape *shapes[] = {&a->whole.shape, &a->less};
    double need = 0;
    for (size_t i = 0; i < JL_COUNT(shapes); i++)
        need += (double)(gguf_shape_bytes(shapes[i], a->whole.quant) + OVERHEAD_BYTES) + cache_bytes(a->x, shapes[i]);
    jl_machine_get(&m);
    if (m.memory_available_bytes <= 0 || need <= (double)m.memory_available_bytes)
        return jl_ok(err);
    return jl_fail(
        err, JOULET_MEMORY,
        "--against: two models beside each other need %.1f GB of memory and %.1f GB are free: take a smaller shape, or a "
        "shorter --context",
        need / 1e9, (double)m.memory_available_bytes / 1e9);
}

static bool progress(void *user, double done)
{
    (void)user;
    (void)done;
    return !atomic_load(&cli_cancel);
}

/* One that is there already is taken; else the file has a name of its own, so that none of the user's is written over. */
static enum joulet_status make(struct profile_against *a, struct joulet_error *err)
{
    char *dir = runtime_models_dir(err);
    const char *quant = gguf_quant_name(a->whole.quant);
    if (!dir)
        return err->status;
    a->path = jl_strf("%s/%s-%s.gguf", dir, a->less.name, quant);
    if (a->path && !gguf_is_written(a->path, &a->less, a->whole.quant, a->whole.seed)) {
        free(a->path);
        a->path = jl_strf("%s/%s-%s-against-%lld.gguf", dir, a->less.name, quant, (long long)getpid());
        a->ours = true;
    }
    free(dir);
    if (!a->path)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    if (!a->ours)
        return jl_ok(err);
    cli_say(a->x->cli, "writing %s, which is removed in the end", a->path);
    return gguf_write(a->path, &a->less, a->whole.quant, a->whole.seed, progress, NULL, err);
}

static char *model_path(struct profiling *x)
{
    const char *engine = cli_str(x->cli, "engine"), *model = cli_str(x->cli, "model");
    struct joulet_error err;
    char *path = NULL;
    if (engine && strstr(engine, "://"))
        return NULL;
    if (model)
        return runtime_model_find(model);
    return runtime_model_only(&path, &err) == JOULET_OK ? path : NULL;
}

int profile_against_prepare(struct profiling *x)
{
    struct joulet_error err = {0};
    struct profile_against *a;
    if (!cli_str(x->cli, "against"))
        return CLI_DONE;
    a = x->against = calloc(1, sizeof *a);
    if (!a)
        return CLI_FAILED;
    a->x = x;
    a->given = cli_str(x->cli, "against");
    if (!is_known(a->given))
        return cli_usage(x->cli, "--against takes layers, layers-N for N of them, ffn, heads or vocab, and not '%s'", a->given);
    char *path = model_path(x);
    bool made = path && gguf_find_made(path, &a->whole);
    free(path);
    if (!made)
        return cli_usage(x->cli, "--against needs a model that `joulet model make` has written, on a server of our own");
    if (change(a, &err) != JOULET_OK)
        return cli_usage(x->cli, "%s", err.message);
    return check_memory(a, &err) == JOULET_OK && make(a, &err) == JOULET_OK ? CLI_DONE : cli_fail(x->cli, &err);
}

void profile_against_release(struct profiling *x)
{
    struct profile_against *a = x->against;
    if (a && a->path && a->ours)
        unlink(a->path);
    if (a) {
        free(a->path);
        free(a->ring_path);
    }
    free(a);
    x->against = NULL;
}

/* ---- both in turns ------------------------------------------------------------------------------------------------------ */

/* The server that is asked now is the one whose processes are ours and not others'. */
static void turn_to(struct profiling *x, const struct runtime_choice *server)
{
    x->choice = *server;
    session_watch_engine(&x->s, &x->choice);
}

/* The second server; its load and its idle level are its own matter. */
static bool start(struct profile_against *a, struct runtime_choice *other)
{
    struct profiling *x = a->x;
    struct joulet_baseline *idle = calloc(x->s.n_channels + 1, sizeof *idle);
    if (!idle)
        return false;
    memcpy(idle, x->s.idle, x->s.n_channels * sizeof *idle);
    int code = profile_engine_start(x, other, a->path);
    memcpy(x->s.idle, idle, x->s.n_channels * sizeof *idle);
    free(idle);
    session_watch_engine(&x->s, &x->choice);
    x->code = code;
    return code == CLI_DONE;
}

/* One request to the server beside: what is told of it goes into rings of its own. */
static bool ask_other(struct profile_against *a, struct runtime_choice *other, const char *prompt, int64_t tokens)
{
    struct profiling *x = a->x;
    struct runtime_choice ours = x->choice;
    char *ring_path = x->ring_path;
    bool probe = x->probe;
    turn_to(x, other);
    x->ring_path = a->ring_path;
    x->probe = probe && a->ring_path;
    bool ok = profile_pass(x, MEASURE_ASIDE, prompt, tokens);
    x->probe = probe;
    x->ring_path = ring_path;
    *other = x->choice;
    turn_to(x, &ours);
    return ok;
}

/* The first request pages the weights in and lets the probe find its place: it does not count, as that of the first server. */
static bool warm(struct profile_against *a, struct runtime_choice *other, const char *prompt)
{
    struct joulet_error err;
    bool ok = ask_other(a, other, prompt, WARM_TOKENS);
    if (ok && a->x->probe && probe_check(other->server.process.pid, a->x->folder, &a->ring_path, &err) != JOULET_OK)
        run_profile_note(&a->x->p, "the model with less ran without the probe: %s", err.message);
    return ok && profile_pass(a->x, MEASURE_ASIDE, prompt, WARM_TOKENS);
}

/* The last request that was asked, if it can be counted. */
static void keep_answer(struct profile_against *a, size_t which, size_t round)
{
    struct profile_answer *to = &a->answers[which][round];
    const struct run_request *q = &a->x->s.run.requests[a->x->s.run.n_requests - 1];
    const struct run_window *w = q->n_windows ? &q->windows[q->n_windows - 1] : NULL;
    *to = (struct profile_answer){NAN, 0, NAN};
    if (w && strcmp(w->name, "decode") == 0 && q->tokens.generated > 1)
        *to = (struct profile_answer){w->energy.total.net_j, (double)q->tokens.generated - 1, run_window_s(w)};
}

static bool one_round(struct profile_against *a, struct runtime_choice *other, const char *prompt, int64_t tokens)
{
    bool ok = true;
    for (int turn = 0; ok && turn < 2; turn++) {
        bool less = (a->n % 2 == 0) == (turn == 1);
        ok = less ? ask_other(a, other, prompt, tokens) : profile_pass(a->x, MEASURE_ASIDE, prompt, tokens);
        if (ok)
            keep_answer(a, less, a->n);
    }
    a->n += ok;
    return ok;
}

/* ---- what comes of it ---------------------------------------------------------------------------------------------------- */

static void add_point(struct profile_against *a, const char *label, double place, double s, double j, double pm, double limit_j)
{
    struct run_profile_point p = {.series = "model", .phase = "decode", .x = place, .seconds = s, .joules = j, .joules_pm = pm};
    double tokens = 0;
    for (size_t i = 0; i < a->n; i++)
        tokens += a->answers[place == 1][i].tokens;
    snprintf(p.label, sizeof p.label, "%s", label);
    p.tokens = tokens;
    p.limit_j = limit_j;
    run_profile_add_point(&a->x->p, &p);
}

/* Standard uncertainty of the gain of the sensor that knows its own least. */
static double gain_of(const struct session *s)
{
    double spec = 0;
    for (size_t i = 0; i < s->n_channels; i++)
        if (s->run.channels[i].in_total)
            spec = fmax(spec, s->run.channels[i].spec);
    return spec / sqrt(3);
}

struct words {
    const char *what, *all, *few, *one; /* few: of what was taken away */
};
static const struct words words[] = {{"layers", "layers", "layers", "layer"},
                                     {"ffn", "columns of the feed-forward in every layer", "columns", "column"},
                                     {"heads", "attention heads in every layer", "heads", "head"},
                                     {"vocab", "words of the vocabulary", "words", "word"}};

static const struct words *words_of(const char *what)
{
    size_t i = 0;
    while (i + 1 < JL_COUNT(words) && strcmp(words[i].what, what) != 0)
        i++;
    return &words[i];
}

static void say(struct profile_against *a, const struct profile_difference *d)
{
    const struct words *w = words_of(a->what);
    struct run_profile *p = &a->x->p;
    double j = d->resolved ? d->less_j : d->limit_j;
    char all[32], pm[32], one[32];
    report_si(all, sizeof all, j, "J");
    report_si(pm, sizeof pm, d->less_pm, "J");
    report_si(one, sizeof one, j / a->changed, "J");
    if (d->resolved)
        run_profile_note(p, "%d of %d %s taken away: %s +- %s of a token, %s each %s", a->changed, a->all, w->all, all, pm, one,
                         w->one);
    else
        run_profile_note(p, "%d of %d %s taken away: not resolved, at most %s of a token, %s each %s", a->changed, a->all, w->all,
                         all, one, w->one);
    if (d->reversed)
        run_profile_note(p, "the model with less took more than the whole one: something else changed meanwhile, and the limit "
                            "means nothing");
}

static void report(struct profile_against *a)
{
    const struct words *w = words_of(a->what);
    struct profile_difference d;
    char label[48];
    profile_difference(a->answers[0], a->answers[1], a->n, session_idle_total(&a->x->s).u_w, gain_of(&a->x->s), &d);
    a->d = d;
    if (d.rounds < 2) {
        run_profile_note(&a->x->p, "--against %s: fewer than two answers of each model were measured, so nothing is compared",
                         a->given);
        return;
    }
    for (int i = 0; i < 2; i++) {
        snprintf(label, sizeof label, "%d %s", i ? a->all - a->changed : a->all, w->few);
        add_point(a, label, i, d.s[i], d.j[i], d.pm[i], NAN);
    }
    snprintf(label, sizeof label, "%d of them", a->changed);
    add_point(a, label, 2, d.less_s, d.less_j, d.less_pm, d.limit_j);
    snprintf(label, sizeof label, "one %s", w->one);
    add_point(a, label, 3, d.less_s / a->changed, d.less_j / a->changed, d.less_pm / a->changed, d.limit_j / a->changed);
    say(a, &d);
}

void profile_against(struct profiling *x, int64_t tokens)
{
    struct profile_against *a = x->against;
    struct runtime_choice other = {.server.process = {.pid = -1, .ended = true}};
    if (!a)
        return;
    struct joulet_baseline *idle = calloc(x->s.n_channels + 1, sizeof *idle);
    bool ok = idle && start(a, &other) && warm(a, &other, profile_prompt(x, 0)), kept = ok;
    if (kept)
        memcpy(idle, x->s.idle, x->s.n_channels * sizeof *idle);
    ok = ok && profile_idle(x) == CLI_DONE; /* with both loaded */
    for (int i = 0; ok && i < ROUNDS && !atomic_load(&cli_cancel); i++) {
        cli_say(x->cli, "%s against %s, round %d of %d", a->whole.shape.name, a->less.name, i + 1, ROUNDS);
        ok = one_round(a, &other, profile_prompt(x, (size_t)i), tokens);
    }
    if (!ok && x->code == CLI_DONE)
        x->code = CLI_ENGINE;
    if (other.started)
        report(a);
    runtime_choice_release(&other);
    if (kept)
        memcpy(x->s.idle, idle, x->s.n_channels * sizeof *idle);
    free(idle);
}

int profile_against_layers(const struct profiling *x, struct profile_difference *d)
{
    const struct profile_against *a = x->against;
    if (!a || a->d.rounds < 2 || strcmp(a->what, "layers") != 0)
        return 0;
    *d = a->d;
    return a->changed;
}
