/* load_engine.c - load for a GPU: prompts, which an engine computes with all the device has. A pulse is the time from sending a
 * prompt to its first token; random words of a length that takes as long as the pulse shall, so that nothing can be cached. Where
 * the context is too short for that, or prompts are too quick, a pulse is an answer of so many tokens. */
#include "cli/load.h"
#include "cli/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TRIAL_WORDS   256
#define TRIAL_TOKENS  16
#define LONGEST_S     0.4
#define CONTEXT_SHARE 0.8
#define STEADY_TOKENS 4096
#define LEARN         0.3
#define BUSY_S        1.0 /* after the start of a steady load */

struct engine_load {
    struct load base;
    struct engine *engine;
    struct engine *second; /* of the steady load, which is stopped on its own */
    const char *model;
    struct jl_rng rng;
    double words_per_s, fixed_s; /* a prompt of n words takes fixed + n / words_per_s */
    double tokens_per_s;         /* of an answer */
    bool by_answer;
    struct jl_thread *thread;
    atomic_bool stop;
};

static char *words(struct jl_rng *rng, size_t n)
{
    static const char *const some[] = {"river", "stone", "cloud", "light", "paper", "metal", "green", "seven",
                                       "music", "north", "table", "wheel", "ocean", "field", "glass", "night"};
    struct jl_buf b;
    jl_buf_init(&b, (size_t)4 << 20);
    for (size_t i = 0; i < n; i++)
        jl_buf_printf(&b, "%s%s", i ? " " : "", some[jl_rng_below(rng, JL_COUNT(some))]);
    return jl_buf_take(&b);
}

static enum joulet_status ask(struct engine_load *l, struct engine *e, size_t n_words, int64_t tokens, struct generated *g,
                              struct joulet_error *err)
{
    char *prompt = words(&l->rng, n_words ? n_words : 1);
    struct generation q = {.model = l->model,
                           .prompt = prompt,
                           .raw = true,
                           .max_tokens = tokens,
                           .context_length = -1,
                           .top_k = -1,
                           .seed = -1,
                           .temperature = NAN,
                           .top_p = NAN,
                           .min_p = NAN,
                           .repeat_penalty = NAN};
    generated_init(g);
    enum joulet_status st = prompt ? engine_generate(e, &q, g, NULL, NULL, err)
                                   : jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
    free(prompt);
    return st;
}

/* ---- its speed ------------------------------------------------------------------------------------------------------- */

static enum joulet_status time_prompt(struct engine_load *l, size_t n_words, double *s, int64_t *tokens, struct joulet_error *err)
{
    struct generated g;
    enum joulet_status st = ask(l, l->engine, n_words, 1, &g, err);
    int64_t end = g.t_first_ns ? g.t_first_ns : g.t_end_ns;
    *s = jl_s(end - g.t_sent_ns);
    *tokens = g.tokens.prompt > 0 ? g.tokens.prompt : (int64_t)n_words * 2;
    generated_release(&g);
    return st;
}

static enum joulet_status time_answer(struct engine_load *l, struct joulet_error *err)
{
    struct generated g;
    enum joulet_status st = ask(l, l->engine, 8, TRIAL_TOKENS, &g, err);
    double s = jl_s(g.t_last_ns - g.t_first_ns);
    if (st == JOULET_OK && g.tokens.generated > 1 && s > 0)
        l->tokens_per_s = (double)(g.tokens.generated - 1) / s;
    generated_release(&g);
    if (st == JOULET_OK && !(l->tokens_per_s > 0))
        return jl_fail(err, JOULET_ENGINE,
                       "the engine gave too few tokens to know its speed: take another model to calibrate with");
    return st;
}

/* The first prompt warms up. */
static enum joulet_status find_speed(struct engine_load *l, struct joulet_error *err)
{
    double s0, s1, s2;
    int64_t t0, t1, t2, context = l->engine->info.context_length;
    enum joulet_status st = time_prompt(l, TRIAL_WORDS, &s0, &t0, err);
    if (st == JOULET_OK)
        st = time_prompt(l, TRIAL_WORDS / 4, &s1, &t1, err);
    if (st == JOULET_OK)
        st = time_prompt(l, TRIAL_WORDS, &s2, &t2, err);
    if (st != JOULET_OK)
        return st;
    double slope = (s2 - s1) / (TRIAL_WORDS - TRIAL_WORDS / 4);
    l->words_per_s = slope > 0 ? 1 / slope : INFINITY;
    l->fixed_s = fmax(0, s1 - slope * TRIAL_WORDS / 4);
    double most = LONGEST_S * l->words_per_s * (double)t2 / TRIAL_WORDS; /* tokens */
    l->by_answer = !isfinite(l->words_per_s) || (context > 0 && most > CONTEXT_SHARE * (double)context);
    return l->by_answer ? time_answer(l, err) : jl_ok(err);
}

/* What a pulse really took tells the length of the next: other work, clocks and caches change the speed of the trial. */
static void learn(double *rate, double n, double s)
{
    if (s > 0 && n > 0)
        *rate = (1 - LEARN) * *rate + LEARN * fmin(fmax(n / s, *rate / 4), *rate * 4);
}

/* ---- pulses ---------------------------------------------------------------------------------------------------------- */

static enum joulet_status engine_pulse(struct load *load, struct joulet *m, double on_s, struct joulet_pulse *out,
                                       struct joulet_error *err)
{
    struct engine_load *l = jl_container_of(load, struct engine_load, base);
    struct generated g;
    size_t n = l->by_answer ? 8 : (size_t)fmax(1, (on_s - l->fixed_s) * l->words_per_s);
    int64_t tokens = l->by_answer ? (int64_t)fmax(2, on_s * l->tokens_per_s) : 1;
    joulet_mark_now(m);
    enum joulet_status st = ask(l, l->engine, n, tokens, &g, err);
    out->on_ns = g.t_sent_ns;
    out->off_ns = l->by_answer ? g.t_last_ns : g.t_first_ns ? g.t_first_ns : g.t_end_ns;
    joulet_mark_at(m, out->off_ns);
    double took_s = jl_s(out->off_ns - out->on_ns);
    if (st == JOULET_OK && l->by_answer)
        learn(&l->tokens_per_s, (double)g.tokens.generated, took_s);
    else if (st == JOULET_OK)
        learn(&l->words_per_s, (double)n, fmax(took_s - l->fixed_s, took_s / 4));
    if (st == JOULET_OK && out->off_ns <= out->on_ns)
        st = jl_fail(err, JOULET_ENGINE, "the engine gave no token, so the end of its work is not known: take another model");
    generated_release(&g);
    return st;
}

/* ---- without a pause --------------------------------------------------------------------------------------------------- */

static void go_on(void *arg)
{
    struct engine_load *l = arg;
    while (!atomic_load(&l->stop)) {
        struct generated g;
        struct joulet_error err;
        enum joulet_status st = ask(l, l->second, 8, STEADY_TOKENS, &g, &err);
        generated_release(&g);
        if (st != JOULET_OK)
            break;
    }
}

static void end_steady(struct engine_load *l)
{
    atomic_store(&l->stop, true);
    jl_thread_join(l->thread);
    l->thread = NULL;
    if (l->second)
        engine_close(l->second);
    l->second = NULL;
    atomic_store(&l->stop, false);
}

static enum joulet_status engine_steady(struct load *load, bool on, struct joulet_error *err)
{
    struct engine_load *l = jl_container_of(load, struct engine_load, base);
    if (!on || l->thread) {
        end_steady(l);
        return jl_ok(err);
    }
    enum joulet_status st = engine_open(&l->second, l->engine->url, l->engine->key, &l->stop, err);
    if (st == JOULET_OK)
        st = jl_thread_start(&l->thread, "joulet-load", go_on, l, err);
    if (st == JOULET_OK && !terminal_wait_until(joulet_now() + jl_ns(BUSY_S)))
        st = jl_fail(err, JOULET_CANCELLED, "interrupted");
    if (st != JOULET_OK)
        end_steady(l);
    return st;
}

static void engine_load_close(struct load *load)
{
    struct engine_load *l = jl_container_of(load, struct engine_load, base);
    end_steady(l);
    free(l);
}

static const struct load_ops engine_ops = {engine_pulse, engine_steady, engine_load_close};

enum joulet_status load_engine_open(struct load **out, struct engine *engine, const char *model, uint64_t seed,
                                    struct joulet_error *err)
{
    struct engine_load *l = calloc(1, sizeof *l);
    *out = NULL;
    if (!l)
        return jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
    l->base.ops = &engine_ops;
    l->engine = engine;
    l->model = model;
    l->rng.s = seed;
    enum joulet_status st = find_speed(l, err);
    if (st == JOULET_OK)
        *out = &l->base;
    else
        free(l);
    return st;
}
