/* advice_facts.c - from the record of a profile to what the rules of advice ask: keys of its pairs (run/profile.h), sums over its
 * phases and rows. What the record does not tell stays unknown. */
#include "llm/engine.h"
#include "profile/advice.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double number(const struct run_pairs *p, const char *key)
{
    double x = NAN;
    const char *text = run_pairs_get(p, key);
    return text && jl_parse_double(text, &x) ? x : NAN;
}

/* -1 unknown. */
static int whole(const struct run_pairs *p, const char *key)
{
    double x = number(p, key);
    return x >= 0 && x < 1e6 ? (int)x : -1;
}

/* Bits of an element by the name of its format: "f16", "q8_0" (8 bits and a 16-bit scale for 32 of them: 8.5, rounded up). */
static int bits_of(const char *type)
{
    static const struct {
        const char *name;
        int bits;
    } rows[] = {{"f32", 32}, {"f16", 16}, {"bf16", 16}, {"q8_0", 9},  {"q5_1", 6},
                {"q5_0", 6}, {"q4_1", 5}, {"q4_0", 5},  {"iq4_nl", 5}};
    for (size_t i = 0; type && i < JL_COUNT(rows); i++)
        if (strcmp(rows[i].name, type) == 0)
            return rows[i].bits;
    return -1;
}

static int on_off(const char *text)
{
    return !text ? -1 : strcmp(text, "on") == 0 ? 1 : strcmp(text, "off") == 0 ? 0 : -1;
}

/* Of a phase: joules where every row has them, else seconds (equal power assumed); NAN when no node was watched. */
static double scores_share(const struct run_profile *p, const char *phase_name)
{
    double j = 0, s = 0, all_s = 0;
    size_t n = 0;
    const struct run_profile_phase *phase = run_profile_phase(p, phase_name);
    for (size_t i = 0; phase && i < p->n_rows; i++) {
        const struct run_profile_row *r = &p->rows[i];
        if (strcmp(r->phase, phase_name) != 0)
            continue;
        if (!r->part[0])
            all_s += r->seconds;
        if (strcmp(r->part, "scores") != 0)
            continue;
        n++;
        j += r->joules;
        s += r->seconds;
    }
    if (!n)
        return NAN;
    return isfinite(j) && phase->joules > 0 ? j / phase->joules : all_s > 0 ? s / all_s : NAN;
}

/* Limit of the one device that the energy is of; with several devices their sum says nothing of one limit. */
static void power_limit(const struct run_profile *p, struct profile_facts *f)
{
    static const char *const devices[] = {"gpu", "amd", "cpu"};
    if (!p->sensor || strchr(p->sensor, '+'))
        return;
    for (size_t i = 0; i < JL_COUNT(devices); i++) {
        if (!jl_starts(p->sensor, devices[i]))
            continue;
        char *key = jl_strf("%.*s_power_limit_w", (int)strcspn(p->sensor, ". "), p->sensor);
        f->limit_w = key ? number(&p->machine, key) : NAN;
        f->limited = p->sensor;
        free(key);
    }
}

static bool is_batch(const struct run_profile_point *x)
{
    return strcmp(x->series, "batch") == 0 && strcmp(x->phase, "decode") == 0 && !x->component[0];
}

/* Of the batches that were measured the one whose tokens took least, beside one answer at a time: measured so, or the requests of
 * the profile. */
static void take_batches(const struct run_profile *p, struct profile_facts *f)
{
    const struct run_profile_phase *decode = run_profile_phase(p, "decode");
    const struct run_profile_point *best = NULL;
    if (decode && decode->tokens > 0) {
        f->alone_j = decode->joules / (double)decode->tokens;
        f->alone_pm_j = decode->joules_pm / (double)decode->tokens;
    }
    for (size_t i = 0; i < p->n_points; i++) {
        const struct run_profile_point *x = &p->points[i];
        if (is_batch(x) && x->x == 1) {
            f->alone_j = x->joules;
            f->alone_pm_j = x->joules_pm;
        } else if (is_batch(x) && x->x < 1000 && x->joules > 0 && (!best || x->joules < best->joules)) {
            best = x;
        }
    }
    if (!best)
        return;
    f->batch = (int)best->x;
    f->batch_j = best->joules;
    f->batch_pm_j = best->joules_pm;
}

static void take_phases(const struct run_profile *p, struct profile_facts *f)
{
    const struct run_profile_phase *prefill = run_profile_phase(p, "prefill"), *decode = run_profile_phase(p, "decode"),
                                   *load = run_profile_phase(p, "load");
    if (prefill)
        f->prefill_j = prefill->joules;
    if (decode) {
        f->decode_j = decode->joules;
        f->memory_bound = decode->memory_bound;
        if (decode->seconds > 0) /* a phase is net; the limit is of all that the board draws */
            f->draw_w = decode->joules / decode->seconds + p->how.idle_w;
    }
    if (load && load->steps > 0) {
        f->loads = load->steps < 1000000 ? (int)load->steps : 1000000;
        f->load_j = load->joules / (double)load->steps;
    }
}

/* Engines that load models by themselves unload them too, after a time that can be told. */
static bool unloads(const char *protocol)
{
    for (size_t i = 0; protocol && engine_table[i]; i++)
        if (strcmp(engine_table[i]->name, protocol) == 0)
            return engine_table[i]->load != NULL;
    return false;
}

struct profile_facts profile_facts_of(const struct run_profile *p)
{
    struct profile_facts f = profile_facts_none;
    const char *path = run_pairs_get(&p->model, "path"), *name = run_pairs_get(&p->model, "name");
    double requests = number(&p->engine, "requests");
    f.model = path ? path : name ? name : f.model;
    f.name = name ? name : f.model;
    f.unloads = unloads(run_pairs_get(&p->engine, "protocol"));
    f.threads = whole(&p->settings, "threads");
    f.cores = whole(&p->machine, "cores");
    f.slots = whole(&p->settings, "parallel");
    f.queued_share = number(&p->engine, "requests_queued") / requests;
    f.cut_share = number(&p->engine, "requests_cut") / requests;
    f.output_tokens = number(&p->engine, "output_tokens");
    f.context_tokens = number(&p->engine, "context_tokens");
    f.weight_bits = number(&p->model, "weight_bits");
    f.decode_bytes = number(&p->engine, "step_bytes");
    f.weight_bytes = number(&p->engine, "step_weight_bytes");
    f.cache_bytes = number(&p->engine, "step_cache_bytes");
    f.flash_attention = on_off(run_pairs_get(&p->settings, "flash_attention"));
    f.cache_bits = bits_of(run_pairs_get(&p->settings, "kv_type"));
    f.loaded_idle_w = number(&p->engine, "loaded_idle_w");
    f.loaded_idle_pm_w = number(&p->engine, "loaded_idle_pm_w");
    f.between_s = number(&p->engine, "between_loads_s");
    f.longest_s = number(&p->engine, "between_loads_most_s");
    f.scores_share = scores_share(p, "decode");
    f.prefill_scores_share = scores_share(p, "prefill");
    f.output_limit = number(&p->settings, "max_tokens");
    f.idle_w = p->how.idle_w;
    f.requests = requests;
    power_limit(p, &f);
    take_phases(p, &f);
    take_batches(p, &f);
    return f;
}

bool profile_advise_record(struct run_profile *p)
{
    struct profile_facts f = profile_facts_of(p);
    struct profile_advice a[PROFILE_RULES];
    size_t n = profile_advise(&f, a);
    p->n_advice = 0;
    for (size_t i = 0; i < n; i++) {
        struct run_profile_advice x = {.saving = a[i].saving, .saving_pm = a[i].saving_pm};
        snprintf(x.rule, sizeof x.rule, "%s", a[i].rule);
        snprintf(x.why, sizeof x.why, "%s", a[i].why);
        snprintf(x.action, sizeof x.action, "%s", a[i].action);
        snprintf(x.bench, sizeof x.bench, "%s", a[i].bench);
        snprintf(x.compare, sizeof x.compare, "%s", a[i].compare);
        if (!run_profile_add_advice(p, &x))
            return false;
    }
    return true;
}
