/* The closed loop of advice: a simulated engine is profiled with a sensor that errs by 2 %, the record gives the advice, the
 * engine is set as advised, and what that really saves must lie inside the advice's interval. Machines, models and work are drawn
 * at random; the truth follows from tests/sim_engine/sim_energy.c, which knows nothing of the rules. */
#include "tests/base/test.h"
#include "tests/sim_engine/sim_energy.h"

#include "profile/advice.h"

#include <math.h>
#include <string.h>

enum { SEEDS = 400, ANSWERS = 20, LEAST_FIRED = 40 };
#define ERROR    0.02 /* of the sensor, one standard deviation */
#define COVERAGE 0.99 /* of the advice whose interval must hold */

struct work {
    double prompt, answers[ANSWERS], limit; /* tokens; limit: answers end there */
    int loads;
    double load_j, loaded_w, gaps[8];
    bool keep; /* the model stays loaded over the gaps, and for the longest of them after the last request */
};

struct scene {
    struct jl_rng rng;
    struct sim_machine machine;
    struct sim_model model;
    struct sim_settings set;
    struct work work;
    double queued; /* share of the requests */
};

static double draw(struct scene *s, double least, double most)
{
    return least + (most - least) * jl_rng_uniform(&s->rng);
}

/* ---- the truth ----------------------------------------------------------------------------------------------------- */

static double longest(const struct work *w)
{
    double most = 0;
    for (int i = 0; i + 1 < w->loads; i++)
        most = fmax(most, w->gaps[i]);
    return most;
}

static double loads_j(const struct work *w)
{
    if (!w->keep)
        return w->loads * w->load_j;
    double loaded_s = longest(w);
    for (int i = 0; i + 1 < w->loads; i++)
        loaded_s += w->gaps[i];
    return w->load_j + w->loaded_w * loaded_s;
}

struct energies {
    double prefill_j, decode_j, decode_s, loads_j;
};

static struct energies energies_of(const struct scene *s)
{
    struct energies e = {.loads_j = loads_j(&s->work)};
    for (int i = 0; i < ANSWERS; i++) { /* at_once of them make their steps together */
        struct sim_cost d = sim_decode(&s->machine, &s->model, &s->set, s->work.prompt, fmin(s->work.answers[i], s->work.limit));
        e.prefill_j += sim_prefill(&s->machine, &s->model, &s->set, s->work.prompt).j;
        e.decode_j += d.j / s->set.at_once;
        e.decode_s += d.s / s->set.at_once;
    }
    return e;
}

/* What a saving is a share of: the requests; loads belong to it only where they are what changes. */
static double total_j(const struct scene *s)
{
    struct energies e = energies_of(s);
    return e.prefill_j + e.decode_j + (s->work.loads > 1 ? e.loads_j : 0);
}

/* ---- the profile of it --------------------------------------------------------------------------------------------- */

/* Normal, from twelve. */
static double erring(struct scene *s, double x)
{
    double sum = -6;
    for (int i = 0; i < 12; i++)
        sum += jl_rng_uniform(&s->rng);
    return x * (1 + ERROR * sum);
}

static void put_number(struct run_pairs *p, const char *key, double x)
{
    assert_true(run_pairs_set(p, key, 'n', "%.9g", x));
}

static double mean_answer(const struct work *w, double *cut)
{
    double sum = 0, n = 0;
    for (int i = 0; i < ANSWERS; i++) {
        sum += fmin(w->answers[i], w->limit);
        n += w->answers[i] >= w->limit;
    }
    *cut = n;
    return sum / ANSWERS;
}

/* As a probe of nodes tells them; its joules err as the others do. */
static void put_scores(struct scene *s, struct run_profile *p, const char *phase, double share, double phase_s, double phase_j)
{
    struct run_profile_row r = {.component = "attention", .part = "scores", .seconds = share * phase_s};
    snprintf(r.phase, sizeof r.phase, "%s", phase);
    r.joules = erring(s, share * phase_j);
    assert_non_null(run_profile_add_row(p, &r));
}

static void put_phases(struct scene *s, struct run_profile *p, const struct sim_cost *step)
{
    struct energies e = energies_of(s);
    double peak = s->machine.cores * s->machine.core_flops;
    struct run_profile_phase prefill = {.name = "prefill", .joules = erring(s, e.prefill_j)},
                             load = {.name = "load", .steps = s->work.loads, .joules = erring(s, s->work.loads * s->work.load_j)};
    struct run_profile_phase decode = {.name = "decode",
                                       .seconds = e.decode_s,
                                       .joules = erring(s, e.decode_j),
                                       .memory_bound = step->bytes / s->machine.bytes_per_s > step->flop / peak};
    struct sim_cost prompt = sim_prefill(&s->machine, &s->model, &s->set, s->work.prompt);
    assert_non_null(run_profile_add_phase(p, &prefill));
    assert_non_null(run_profile_add_phase(p, &decode));
    assert_non_null(run_profile_add_phase(p, &load));
    put_scores(s, p, "decode", step->scores_s / step->s, e.decode_s, e.decode_j);
    put_scores(s, p, "prefill", prompt.scores_s / prompt.s, prompt.s * ANSWERS, e.prefill_j);
}

static void profile(struct scene *s, struct run_profile *p)
{
    const struct work *w = &s->work;
    double cut, answer = mean_answer(w, &cut), context = w->prompt + answer / 2, gap = 0;
    struct sim_cost step = sim_step(&s->machine, &s->model, &s->set, context);
    run_profile_init(p);
    p->sensor = jl_strdup("gpu0.board");
    p->how.idle_w = erring(s, s->machine.idle_w);
    put_phases(s, p, &step);
    put_number(&p->machine, "cores", s->machine.cores);
    if (s->set.limit_w > 0)
        put_number(&p->machine, "gpu0_power_limit_w", s->set.limit_w);
    put_number(&p->settings, "threads", s->set.threads);
    put_number(&p->settings, "parallel", s->set.at_once);
    put_number(&p->settings, "max_tokens", w->limit);
    run_pairs_set(&p->settings, "flash_attention", 's', "%s", s->set.flash ? "on" : "off");
    run_pairs_set(&p->settings, "kv_type", 's', "%s", s->set.cache_bits == 16 ? "f16" : "q8_0");
    run_pairs_set(&p->model, "path", 's', "m.gguf");
    put_number(&p->model, "weight_bits", s->set.weight_bits);
    run_pairs_set(&p->engine, "protocol", 's', "ollama");
    put_number(&p->engine, "requests", ANSWERS);
    put_number(&p->engine, "requests_queued", s->queued * ANSWERS);
    put_number(&p->engine, "requests_cut", cut);
    put_number(&p->engine, "output_tokens", answer);
    put_number(&p->engine, "context_tokens", context);
    put_number(&p->engine, "step_bytes", step.bytes);
    put_number(&p->engine, "step_weight_bytes", step.weight_bytes);
    put_number(&p->engine, "step_cache_bytes", step.cache_bytes);
    put_number(&p->engine, "loaded_idle_w", erring(s, w->loaded_w));
    for (int i = 0; i + 1 < w->loads; i++)
        gap += w->gaps[i] / (w->loads - 1);
    put_number(&p->engine, "between_loads_s", gap);
    put_number(&p->engine, "between_loads_most_s", longest(w));
}

/* ---- scenes: work in which one rule should fire, and what its advice changes --------------------------------------- */

static void scene_init(struct scene *s, uint64_t seed)
{
    static const double bits[] = {4.5, 5.5, 8.5, 16};
    *s = (struct scene){.rng = {seed ^ 0x5851f42d4c957f2d}};
    sim_machine_draw(&s->machine, &s->model, seed);
    s->set = (struct sim_settings){.threads = s->machine.cores,
                                   .at_once = 1,
                                   .weight_bits = bits[jl_rng_below(&s->rng, JL_COUNT(bits))],
                                   .cache_bits = 16,
                                   .flash = true};
    s->work = (struct work){.prompt = draw(s, 30, 1500), .limit = 4096, .loads = 1, .load_j = draw(s, 20, 2000), .loaded_w = 1};
    for (int i = 0; i < ANSWERS; i++)
        s->work.answers[i] = draw(s, 50, 350);
}

static void too_many_threads(struct scene *s)
{
    s->set.threads = s->machine.cores + 1 + (int)jl_rng_below(&s->rng, (uint64_t)s->machine.cores);
}
static void threads_of_cores(struct scene *s)
{
    s->set.threads = s->machine.cores;
}
static void waiting_requests(struct scene *s)
{
    s->set.at_once = 1 + (int)jl_rng_below(&s->rng, 3);
    s->queued = draw(s, 0.2, 1);
}
static void four_at_once(struct scene *s)
{
    s->set.at_once = 4;
}
static void wide_weights(struct scene *s)
{
    s->set.weight_bits = jl_rng_below(&s->rng, 2) ? 8.5 : 16;
}
static void narrow_weights(struct scene *s)
{
    s->set.weight_bits = 4.5;
}
static void long_context(struct scene *s)
{
    s->work.prompt = draw(s, 3000, 16000);
}
static void narrow_cache(struct scene *s)
{
    s->set.cache_bits = 8.5;
}
static void no_flash(struct scene *s)
{
    long_context(s);
    s->set.flash = false;
}
static void flash(struct scene *s)
{
    s->set.flash = true;
}
static void many_loads(struct scene *s)
{
    s->work.loads = 2 + (int)jl_rng_below(&s->rng, 6);
    s->work.loaded_w = draw(s, 0.2, 20);
    for (int i = 0; i + 1 < s->work.loads; i++)
        s->work.gaps[i] = draw(s, 1, 200);
}
static void stay_loaded(struct scene *s)
{
    s->work.keep = true;
}
/* Some short, some that would go on for ever, and what lies between. */
static void long_answers(struct scene *s)
{
    double endless = draw(s, 0.2, 0.9);
    s->work.limit = draw(s, 500, 2000);
    for (int i = 0; i < ANSWERS; i++)
        s->work.answers[i] = jl_rng_uniform(&s->rng) < endless ? 1e4 : draw(s, 20, 2000);
}
static void shorter_limit(struct scene *s)
{
    s->work.limit *= 0.75;
}
static void at_its_limit(struct scene *s)
{
    struct sim_cost step = sim_step(&s->machine, &s->model, &s->set, s->work.prompt);
    s->set.limit_w = (s->machine.idle_w + step.j / step.s) * draw(s, 0.9, 1.1);
}
static void lower_limit(struct scene *s)
{
    s->set.limit_w *= 0.8;
}

static const struct {
    const char *rule;
    void (*before)(struct scene *), (*after)(struct scene *);
} scenes[] = {
    {"threads", too_many_threads, threads_of_cores},
    {"batch", waiting_requests, four_at_once},
    {"quantisation", wide_weights, narrow_weights},
    {"context", long_context, narrow_cache},
    {"flash_attention", no_flash, flash},
    {"keep_alive", many_loads, stay_loaded},
    {"output_length", long_answers, shorter_limit},
    {"power_cap", at_its_limit, lower_limit},
};

static const struct run_profile_advice *find(const struct run_profile *p, const char *rule)
{
    for (size_t i = 0; i < p->n_advice; i++)
        if (strcmp(p->advice[i].rule, rule) == 0)
            return &p->advice[i];
    return NULL;
}

static void the_saving_lies_inside(void **state)
{
    (void)state;
    assert_int_equal(JL_COUNT(scenes), PROFILE_RULES);
    for (size_t k = 0; k < JL_COUNT(scenes); k++) {
        int fired = 0, held = 0;
        double width = 0, least = INFINITY, most = -INFINITY;
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct scene s;
            struct run_profile p;
            scene_init(&s, seed);
            scenes[k].before(&s);
            profile(&s, &p);
            assert_true(profile_advise_record(&p));
            const struct run_profile_advice *a = find(&p, scenes[k].rule);
            if (a) {
                double before = total_j(&s);
                scenes[k].after(&s);
                double saving = 1 - total_j(&s) / before, place = (saving - a->saving) / a->saving_pm;
                fired++;
                held += fabs(place) <= 1;
                width += a->saving_pm;
                least = fmin(least, place);
                most = fmax(most, place);
            }
            run_profile_release(&p);
        }
        print_message("%-16s fired %4d of %d, held %5.1f %%, mean +- %.1f %%, truths at %.2f to %.2f of the half-width\n",
                      scenes[k].rule, fired, SEEDS, 100.0 * held / fired, 100 * width / fired, least, most);
        assert_true(fired >= LEAST_FIRED);
        assert_true(held >= COVERAGE * fired);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_saving_lies_inside)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
