/* tune_stage.c - one stage of a search: candidates on servers of their own take turns in rounds (docs/method.md 5.6). Each stage
 * is a run with a cell for each candidate, measured as `joulet bench` does. */
#include "cli/tune.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double tune_spent_s(const struct tune *t)
{
    return jl_s(joulet_now() - t->started);
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static enum joulet_status plan_of(struct tune *t, struct tune_stage *g, const char *what, const struct tune_candidate *c,
                                  size_t n, struct joulet_error *err)
{
    struct plan_draft *d = plan_draft_open();
    const char *slash = strrchr(t->plan.model, '/');
    char *title = jl_strf("tune %s: %s", slash ? slash + 1 : t->plan.model, what);
    t->plan.title = title;
    char *text = title ? tune_plan_text(&t->plan, c, n) : NULL;
    enum joulet_status st = d && text ? plan_draft_parse(d, "the plan of tune", text, strlen(text), err)
                                      : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (st == JOULET_OK)
        st = plan_draft_finish(d, &g->b.m, err);
    if (st == JOULET_OK)
        st = plan_steps(&g->b.m, 0, &g->b.steps, &g->b.n_steps, err);
    plan_draft_close(d);
    free(text);
    free(title);
    t->plan.title = NULL;
    return st;
}

/* The plan is listed, since rounds put their steps in order themselves: the record says how. */
static int measure_from_here(struct tune_stage *g, const char *order)
{
    struct bench *b = &g->b;
    int code = session_open(&b->s, b->s.cli, "bench");
    if (code != CLI_DONE)
        return code;
    g->open = true;
    bench_describe(b);
    run_pairs_set(&b->s.run.settings, "order", 's', "%s", order);
    return bench_servers(b);
}

static void mark_refused(struct tune_stage *g, size_t i, const struct joulet_error *why)
{
    struct tune_standing *x = &g->at[i];
    if (x->state == TUNE_REFUSED)
        return;
    x->state = TUNE_REFUSED;
    g->race.out[i] = true;
    snprintf(x->why, sizeof x->why, "%s", why->message);
    cli_warn(g->b.s.cli, "%s is left out of the search: %s", x->c.name, why->message);
}

/* Servers that did not start: their candidates are out before the first round. */
static void drop_refused(struct tune_stage *g)
{
    for (size_t i = 1; i < g->n; i++) {
        const struct bench_server *v = &g->b.servers[g->b.cells[i].server];
        if (v->refused)
            mark_refused(g, i, &v->why);
    }
}

int tune_stage_open(struct tune *t, struct tune_stage *g, const char *what, const struct tune_candidate *c, size_t n,
                    size_t rounds, const char *order)
{
    struct joulet_error err;
    *g = (struct tune_stage){.n = n, .units = (size_t)tune_streams(c, n), .b = {.s.cli = t->cli, .spare = true}};
    jl_race_init(&g->race, n);
    jl_race_init(&g->rates, n);
    for (size_t i = 0; i < n; i++)
        g->at[i] = (struct tune_standing){.c = c[i], .rate = NAN, .ratio = NAN, .lo = NAN, .hi = NAN, .mean = NAN};
    t->plan.repeat = (int64_t)rounds * (int64_t)g->units;
    int code = session_generation(t->cli, &g->b.q, &g->b.files);
    if (code == CLI_DONE && plan_of(t, g, what, c, n, &err) != JOULET_OK)
        code = cli_fail(t->cli, &err);
    if (code == CLI_DONE && !bench_make_cells(&g->b))
        code = CLI_FAILED;
    if (code == CLI_DONE)
        code = measure_from_here(g, order);
    if (code == CLI_ENGINE && g->b.why.message[0]) /* of the defaults: without them nothing can be told */
        cli_fail(t->cli, &g->b.why);
    if (code == CLI_DONE)
        drop_refused(g);
    return code;
}

/* ---- a round ----------------------------------------------------------------------------------------------------- */

struct block {
    double j, tokens, requests, rates; /* rates: sum over requests */
    bool ok;
};

static double energy_of(const struct tune *t, const struct run_energy *e)
{
    return t->gross || isnan(e->total.net_j) ? e->total.gross_j : e->total.net_j;
}

/* What the requests from `first` on and the windows from `window` on tell of a candidate. */
static struct block block_of(const struct tune *t, struct tune_stage *g, size_t cell, size_t first, size_t window)
{
    const struct run *r = &g->b.s.run;
    struct block x = {.ok = true};
    bool level = false;
    for (size_t i = window; i < r->n_windows; i++)
        if (run_is_level(&r->windows[i]) && r->windows[i].cell == (int64_t)cell) {
            x.j += energy_of(t, &r->windows[i].energy);
            g->estimated |= r->windows[i].energy.total.provenance == JOULET_ESTIMATED;
            level = true;
        }
    for (size_t i = first; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (q->warmup || q->cell != (int64_t)cell)
            continue;
        double s = q->n_windows ? jl_s(q->windows[q->n_windows - 1].end_ns - q->windows[0].start_ns) : NAN;
        x.ok &= q->outcome == RUN_OK;
        x.j += level ? 0 : energy_of(t, &q->energy);
        g->estimated |= q->energy.total.provenance == JOULET_ESTIMATED;
        x.tokens += q->tokens.generated > 0 ? (double)q->tokens.generated : 0;
        x.rates += (double)q->tokens.generated / s;
        x.requests++;
    }
    x.ok &= x.requests > 0;
    return x;
}

/* Prompts of round `round`, the same for each candidate. */
static size_t steps_of(struct tune_stage *g, size_t cell, size_t round, struct plan_step *steps)
{
    size_t prompts = g->b.m.sets[g->b.m.cells[cell].set].n;
    for (size_t u = 0; u < g->units; u++) {
        size_t k = round * g->units + u;
        steps[u] =
            (struct plan_step){.cell = cell, .prompt = k % prompts, .repeat = (int64_t)(k / prompts), .position = g->position++};
    }
    return g->units;
}

static void measure(struct tune *t, struct tune_stage *g, size_t i, size_t round, double *value, double *slowness)
{
    struct plan_step steps[PLAN_STREAMS_MAX];
    struct run *r = &g->b.s.run;
    size_t n = steps_of(g, i, round, steps), first = r->n_requests, window = r->n_windows;
    joulet_mark from = joulet_now();
    bool ok = bench_run_steps(&g->b, steps, n);
    struct block x = block_of(t, g, i, first, window);
    if (atomic_load(&cli_cancel)) {
        g->ended = true;
        return;
    }
    if (!ok || !x.ok) {
        const struct bench_server *v = &g->b.servers[g->b.cells[i].server];
        mark_refused(g, i, v->refused ? &v->why : &g->b.why);
        g->ended |= i == 0;
        return;
    }
    g->work_s += jl_s(joulet_now() - from);
    g->blocks++;
    *value = x.j / (t->per_request ? x.requests : x.tokens);
    *slowness = x.requests / x.rates;
    t->blocks++;
    t->nothing += !(x.j > 0);
    if (!(x.j > 0)) /* no more than the idle level, or no figure: it says nothing of the setting */
        return;
    g->at[i].rounds++;
}

static void one_round(struct tune *t, struct tune_stage *g, const size_t *order, size_t n)
{
    static const char *const words[] = {"first", "second", "third"};
    double values[JL_RACE_MAX], slowness[JL_RACE_MAX];
    size_t round = g->race.rounds;
    if (round < JL_COUNT(words))
        cli_say(t->cli, "%s round, %zu settings", words[round], n);
    else
        cli_say(t->cli, "round %zu, %zu settings", round + 1, n);
    for (size_t i = 0; i < JL_RACE_MAX; i++)
        values[i] = slowness[i] = NAN;
    for (size_t k = 0; k < n && !g->ended; k++)
        measure(t, g, order[k], round, &values[order[k]], &slowness[order[k]]);
    jl_race_add(&g->race, values);
    jl_race_add(&g->rates, slowness);
    g->block_s = g->blocks ? g->work_s / (double)g->blocks : NAN;
}

/* ---- standings --------------------------------------------------------------------------------------------------- */

/* ln(wanted/rate) of candidate i over its rounds, with a half-width that holds always. */
static void slower(const struct tune *t, const struct tune_stage *g, size_t i, double *mean, double *pm)
{
    double square = 0;
    size_t n = 0;
    *mean = 0;
    for (size_t k = 0; k < g->rates.rounds; k++) {
        double d = g->rates.x[k][i] + log(t->least_rate);
        if (isnan(d))
            continue;
        double step = d - *mean;
        *mean += step / (double)++n;
        square += step * (d - *mean);
    }
    *pm = n < 2 ? INFINITY : jl_always_half_width(sqrt(square / (double)(n - 1)), n, JL_RACE_ALPHA / (double)g->n);
    if (!n)
        *mean = NAN;
}

static void drop_slow(const struct tune *t, struct tune_stage *g)
{
    for (size_t i = 1; i < g->n && t->least_rate > 0; i++) {
        double mean, pm;
        slower(t, g, i, &mean, &pm);
        if (g->race.out[i] || !(mean > pm))
            continue;
        g->race.out[i] = true;
        g->at[i].state = TUNE_SLOW;
    }
}

/* Over the rounds in which candidate i had a figure; NAN none. */
static double geometric_mean(const struct jl_race *r, size_t i)
{
    double sum = 0;
    size_t n = 0;
    for (size_t k = 0; k < r->rounds; k++)
        if (!isnan(r->x[k][i])) {
            sum += r->x[k][i];
            n++;
        }
    return n ? exp(sum / (double)n) : NAN;
}

static void stand(struct tune_stage *g)
{
    for (size_t i = 0; i < g->n; i++) {
        struct tune_standing *x = &g->at[i];
        double ratio, pm, sum = 0;
        size_t n = 0;
        if (g->race.out[i] && x->state == TUNE_IN)
            x->state = TUNE_LOST;
        for (size_t k = 0; k < g->rates.rounds; k++)
            if (!isnan(g->rates.x[k][i])) {
                sum += exp(-g->rates.x[k][i]);
                n++;
            }
        x->rate = n ? sum / (double)n : NAN;
        if (i && jl_race_between(&g->race, 0, i, JL_RACE_ALPHA, &ratio, &pm)) {
            x->ratio = exp(ratio);
            x->lo = exp(ratio - pm);
            x->hi = exp(ratio + pm);
        }
        x->mean = isnan(x->ratio) ? geometric_mean(&g->race, i) : x->ratio * g->at[0].mean;
    }
}

/* The defaults are what all are compared with: they are measured to the end, whatever beats them. */
void tune_stage_race(struct tune *t, struct tune_stage *g, size_t rounds, double until_s)
{
    while (!g->ended && g->race.rounds < rounds && (g->race.rounds < 2 || tune_spent_s(t) < until_s)) {
        size_t order[JL_RACE_MAX];
        bool defaults_lost = g->race.out[0];
        g->race.out[0] = false;
        size_t n = jl_race_order(&g->race, g->race.rounds, t->seed, order);
        if (n < 2 || (n == 2 && defaults_lost))
            break;
        one_round(t, g, order, n);
        jl_race_drop(&g->race);
        drop_slow(t, g);
    }
    stand(g);
}

void tune_stage_compare(struct tune *t, struct tune_stage *g, size_t rounds)
{
    while (!g->ended && g->race.rounds < rounds) {
        bool odd = false;
        for (size_t r = g->race.rounds; r; r &= r - 1)
            odd = !odd;
        one_round(t, g, odd ? (size_t[]){1, 0} : (size_t[]){0, 1}, 2);
        g->ended |= g->race.out[1];
    }
    stand(g);
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static void find_power_limit(struct tune *t, const struct run *r)
{
    for (size_t i = 0; i < r->machine.n; i++) {
        const struct run_pair *p = &r->machine.items[i];
        if (jl_starts(p->key, "gpu") && strstr(p->key, "_power_limit_w"))
            snprintf(t->power_limit, sizeof t->power_limit, "%.*s %.20s W", (int)strcspn(p->key, "_"), p->key, p->value);
    }
}

void tune_stage_close(struct tune *t, struct tune_stage *g)
{
    struct bench *b = &g->b;
    if (g->open) {
        bench_progress_end(b);
        if (b->s.watch.choice)
            session_finish(&b->s, atomic_load(&cli_cancel) ? "interrupted" : g->at[0].state == TUNE_REFUSED ? "failed" : "done");
        if (g->race.rounds && t->n_runs < JL_COUNT(t->runs))
            snprintf(t->runs[t->n_runs++], sizeof t->runs[0], "%s", b->s.run.id);
        t->stored |= b->s.saved;
        t->estimated |= g->estimated;
        t->interrupted |= atomic_load(&cli_cancel);
        find_power_limit(t, &b->s.run);
    }
    if (b->servers)
        bench_servers_close(b);
    if (g->open)
        session_close(&b->s);
    bench_release(b);
    g->open = false;
}
