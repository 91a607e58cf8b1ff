/* profile_facts.c - what a profile tells besides energies, for its roofline and for advice: the keys that run/profile.h names.
 * What is not known is left out. */
#include "cli/profile.h"
#include "profile/advice.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WAIT_S     0.1  /* before a request is taken up: less is its way through the engine */
#define WAIT_SHARE 0.1  /* of the time to its first token */
#define LARGE_PART 0.03 /* of a phase: rates of shorter components are those of caches, and of the clock */

static void set(struct run_pairs *p, const char *key, double value)
{
    if (isfinite(value))
        run_pairs_set(p, key, 'n', "%.15g", value);
}

static double number(const struct run_pairs *p, const char *key)
{
    double value = NAN;
    const char *text = run_pairs_get(p, key);
    return text && jl_parse_double(text, &value) ? value : NAN;
}

static void reach(struct profile_machine *m, double flop, double bytes, double seconds)
{
    if (!(seconds > 0) || !(flop > 0) || !(bytes > 0))
        return;
    m->peak_flops = fmax(m->peak_flops, flop / seconds);
    m->bytes_per_s = fmax(m->bytes_per_s, bytes / seconds);
}

/* The roof that the best rates of this profile make, those of a phase or of a component that takes a good part of one: the
 * machine can do at least as much. */
void profile_roof(struct run_profile *p)
{
    struct profile_machine m = {NAN, NAN};
    for (size_t i = 0; i < p->n_phases; i++) {
        const struct run_profile_phase *x = &p->phases[i];
        double watched_s = run_profile_sum(p, x->name, NULL, RUN_PROFILE_ALL_LAYERS).seconds;
        reach(&m, x->flop, x->bytes, x->seconds);
        for (int c = 0; c < PROFILE_COMPONENTS; c++) {
            const char *name = profile_component_name((enum profile_component)c);
            struct run_profile_row sum = run_profile_sum(p, x->name, name, RUN_PROFILE_ALL_LAYERS);
            if (sum.seconds > LARGE_PART * watched_s)
                reach(&m, sum.flop, sum.bytes, sum.seconds);
        }
    }
    for (size_t i = 0; i < p->n_phases; i++) {
        struct run_profile_phase *x = &p->phases[i];
        struct profile_count c = {.flop = x->flop, .weight_bytes = x->bytes};
        struct profile_place place = profile_place(&c, &m);
        x->least_s = place.least_s;
        x->memory_bound = place.memory_bound;
    }
    set(&p->machine, "peak_flops", m.peak_flops);
    set(&p->machine, "bytes_per_s", m.bytes_per_s);
}

/* One format for both, or none is told: as our options or the environment of the server say, else the engine's own. */
static void tell_cache(struct profiling *x)
{
    const char *k = profile_option(x, "cache-type-k"), *v = profile_option(x, "cache-type-v");
    k = k ? k : "f16";
    v = v ? v : "f16";
    if (strcmp(k, v) == 0)
        run_pairs_set(&x->p.settings, "kv_type", 's', "%s", k);
}

static void tell_settings(struct profiling *x)
{
    struct run_pairs *to = &x->p.settings;
    if (!x->choice.started) { /* another's engine: who knows how it was started */
        set(to, "parallel", number(&x->p.engine, "slots"));
        return;
    }
    double threads = (double)cli_int(x->cli, "threads", 0);
    set(to, "threads", threads > 0 ? threads : number(&x->p.machine, "cores"));
    set(to, "parallel", 1); /* more slots are there for --batches alone */
    tell_cache(x);
    const char *flash = profile_option(x, "flash-attn");
    if (flash && jl_word_in("on,off", ',', flash))
        run_pairs_set(to, "flash_attention", 's', "%s", flash);
    if (x->m && x->level == WIRE_NODES && !run_pairs_get(to, "flash_attention"))
        run_pairs_set(to, "flash_attention", 's', "%s", x->m->flash ? "on" : "off");
}

/* Time that a request waited before the engine took it up: as the engine tells, else what its first token took besides the
 * prompt. NAN: neither is known. */
static double waited_s(const struct run_request *q)
{
    double load_s = isnan(q->server_load_s) ? 0 : q->server_load_s;
    return isnan(q->server_queue_s) ? q->ttft_s - q->server_prompt_s - load_s : q->server_queue_s;
}

/* Of an engine that others ask too; one of ours has nobody else. */
static void tell_queue(struct profiling *x)
{
    double known = 0, queued = 0;
    for (size_t i = 0; i < x->s.run.n_requests && i < x->n_passes; i++) {
        const struct run_request *q = &x->s.run.requests[i];
        double wait_s = waited_s(q);
        if (x->passes[i] != MEASURE_PLAIN || q->outcome != RUN_OK || isnan(wait_s))
            continue;
        known++;
        queued += wait_s > WAIT_S && wait_s > WAIT_SHARE * q->ttft_s;
    }
    if (known > 0 && !x->choice.started)
        set(&x->p.engine, "requests_queued", queued);
}

/* From the end of a request to the load before the next one: an engine that keeps no model loads again and again. */
static void tell_gaps(struct profiling *x)
{
    double sum_s = 0, most_s = NAN, n = 0;
    int64_t end_ns = 0;
    for (size_t i = 0; i < x->s.run.n_requests; i++) {
        const struct run_request *q = &x->s.run.requests[i];
        for (size_t k = 0; k < q->n_windows; k++) {
            const struct run_window *w = &q->windows[k];
            if (end_ns && !strcmp(w->name, "load") && w->start_ns >= end_ns) {
                sum_s += jl_s(w->start_ns - end_ns);
                most_s = fmax(most_s, jl_s(w->start_ns - end_ns));
                n++;
            }
        }
        end_ns = q->n_windows ? q->windows[q->n_windows - 1].end_ns : end_ns;
    }
    if (n == 0)
        return;
    set(&x->p.engine, "between_loads_s", sum_s / n);
    set(&x->p.engine, "between_loads_most_s", most_s);
}

/* What the loaded model draws while nothing is asked: the idle level with it, less that before our server was started. */
static void tell_loaded(struct profiling *x)
{
    double more_w = x->p.how.idle_w - x->s.unloaded_w;
    if (!x->choice.started || isnan(more_w))
        return;
    set(&x->p.engine, "loaded_idle_w", more_w);
    set(&x->p.engine, "loaded_idle_pm_w", hypot(x->p.how.idle_w_pm, 2 * x->s.unloaded_u_w));
}

static void tell_requests(struct profiling *x)
{
    double n = 0, cut = 0, made = 0, tokens = 0, context = 0;
    for (size_t i = 0; i < x->s.run.n_requests && i < x->n_passes; i++) {
        const struct run_request *q = &x->s.run.requests[i];
        if (x->passes[i] != MEASURE_PLAIN || q->outcome != RUN_OK || q->tokens.prompt < 0 || q->tokens.generated < 1)
            continue;
        double steps = (double)q->tokens.generated;
        n++;
        cut += q->finish && strcmp(q->finish, "length") == 0;
        made += steps;
        tokens += steps;
        context += steps * ((double)q->tokens.prompt + steps / 2);
    }
    if (n == 0)
        return;
    set(&x->p.engine, "requests", n);
    set(&x->p.engine, "requests_cut", cut);
    set(&x->p.engine, "output_tokens", made / n);
    set(&x->p.engine, "context_tokens", context / tokens);
}

void profile_tell(struct profiling *x, const struct profile_counts *decode, double steps)
{
    tell_queue(x);
    tell_gaps(x);
    tell_loaded(x);
    tell_settings(x);
    tell_requests(x);
    set(&x->p.model, "weight_bits", 8 * number(&x->p.model, "weight_bytes") / number(&x->p.model, "parameters"));
    if (!decode || !(steps > 0))
        return;
    struct profile_count all = profile_counts_all(decode);
    set(&x->p.engine, "step_bytes", profile_count_bytes(&all) / steps);
    set(&x->p.engine, "step_weight_bytes", all.weight_bytes / steps);
    set(&x->p.engine, "step_cache_bytes", all.cache_read_bytes / steps);
}

/* No advice on joules that may be none. */
void profile_give_advice(struct run_profile *p)
{
    const struct run_profile_phase *decode = run_profile_phase(p, "decode");
    if (decode && decode->joules > decode->joules_pm && !profile_advise_record(p))
        run_profile_note(p, "out of memory for advice");
}
