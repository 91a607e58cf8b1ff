/* profile_replay.c - the cross-check of a profile: each kind of component executed over and over for seconds, nothing else, and
 * its mean power beside what the regression found for it in tokens (docs/method.md 8.8). */
#include "cli/profile.h"

#include <math.h>
#include <string.h>

#define LOOP_MOST_S 30.0
#define LARGE       0.03 /* of a token */

static const struct {
    const char *name, *component; /* as asked for; as in records */
    enum measure_kind kind;
    enum wire_again again;
} kinds[] = {
    {"attention", "attention", MEASURE_ATTENTION, WIRE_AGAIN_ATTENTION},
    {"ffn", "ffn", MEASURE_FFN, WIRE_AGAIN_FFN},
    {"head", "head", MEASURE_HEAD, WIRE_AGAIN_HEAD},
    {"norms", "norm", MEASURE_NORM, WIRE_AGAIN_NORM},
};

static bool names(const char *list, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = list; (at = strstr(at, name)); at += n)
        if ((at == list || at[-1] == ',') && (at[n] == ',' || !at[n]))
            return true;
    return false;
}

int profile_replay_read(struct profiling *x)
{
    const char *list = cli_str(x->cli, "cross-check");
    for (const char *at = list; at && *at;) {
        size_t n = strcspn(at, ","), k = 0;
        while (k < JL_COUNT(kinds) && (strlen(kinds[k].name) != n || strncmp(at, kinds[k].name, n)))
            k++;
        if (k == JL_COUNT(kinds) && (strcmp(list, "large") && strcmp(list, "all")))
            return cli_usage(x->cli,
                             "--cross-check: \"%.*s\" is no component; give large, all, or some of attention, ffn, head, norms",
                             n > 40 ? 40 : (int)n, at);
        at += n + (at[n] == ',');
    }
    return list && !*list ? cli_usage(x->cli, "--cross-check: give large, all, or some of attention, ffn, head, norms")
                          : CLI_DONE;
}

static void left_out(struct profiling *x, const char *why)
{
    cli_warn(x->cli, "no cross-check was made: %s", why);
    run_profile_note(&x->p, "no cross-check was made: %s", why);
}

/* Those asked for that take part in a token; how many. */
static size_t plan(struct profiling *x, const char *list, struct ring_control *c)
{
    double token_s[MEASURE_KINDS], all_s = 0;
    size_t n = 0;
    *c = (struct ring_control){.watch = WIRE_WATCH_ALL, .loop_ms = (uint32_t)ceil(1e3 * profile_loop_s(x, LOOP_MOST_S))};
    if (!measure_token(x->m, token_s))
        return 0;
    for (size_t k = 0; k < MEASURE_KINDS; k++)
        all_s += token_s[k];
    for (size_t i = 0; i < JL_COUNT(kinds); i++) {
        double s = token_s[kinds[i].kind];
        bool wanted = !strcmp(list, "all") ? s > 0 : !strcmp(list, "large") ? s >= LARGE * all_s : names(list, kinds[i].name);
        c->again[kinds[i].again] = wanted && s > 0;
        n += wanted && s > 0;
    }
    return n;
}

/* A loop after each token of an answer that has one token more than there are kinds. */
void profile_replay(struct profiling *x)
{
    const char *list = cli_str(x->cli, "cross-check");
    struct ring_control loops;
    if (!list || atomic_load(&cli_cancel))
        return;
    if (!x->probe || x->level != WIRE_COMPONENTS || x->every > 1) {
        left_out(x, "it needs a probe at level components that watches every graph");
        return;
    }
    size_t n = plan(x, list, &loops);
    if (!n) {
        left_out(x, "none of these components was seen");
        return;
    }
    x->loops = loops;
    size_t first = x->s.run.n_windows;
    cli_say(x->cli, "cross-check: %zu component%s alone, %.3g s each", n, n > 1 ? "s" : "", 1e-3 * loops.loop_ms);
    profile_pass(x, MEASURE_REPLAY, profile_prompt(x, 0), (int64_t)n + 1);
    profile_watch(x, MEASURE_ASIDE); /* nothing loops any more */
    for (size_t i = 0; i < x->m->n_loops; i++) {
        const struct measure_loop *l = &x->m->loops[i];
        session_window(&x->s, "replay", l->from_ns, l->to_ns, x->s.idle, false);
        profile_span(x, "replay", jl_s(l->from_ns - x->s.run.start_ns), jl_s(l->to_ns - x->s.run.start_ns));
    }
    x->first_loop = first;
    if (!x->m->n_loops)
        left_out(x, "nothing could be executed again in this engine");
}

/* Windows of the loops of a kind together; false: it has none. */
static bool sum_loops(const struct profiling *x, enum measure_kind kind, struct joulet_energy *e, double *seconds, double *rounds)
{
    size_t next = 0;
    *e = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    *seconds = *rounds = 0;
    for (size_t i = x->first_loop; i < x->s.run.n_windows && next < x->m->n_loops; i++) {
        if (strcmp(x->s.run.windows[i].name, "replay") != 0)
            continue;
        const struct measure_loop *l = &x->m->loops[next++];
        if (l->kind != kind)
            continue;
        joulet_energy_chain(e, &x->s.run.windows[i].energy.total);
        *seconds += jl_s(l->to_ns - l->from_ns);
        *rounds += l->rounds;
    }
    return *seconds > 0;
}

void profile_replay_record(struct profiling *x, const struct measure_result *decode, double ratio)
{
    for (size_t i = 0; x->m && x->m->n_loops && i < JL_COUNT(kinds); i++) {
        enum measure_kind k = kinds[i].kind;
        struct run_profile_replay row = {.found_j = NAN, .found_pm = NAN};
        struct joulet_energy loop;
        struct joulet_replay check;
        bool found = decode->known && decode->path != JOULET_COMPONENTS_TIME && !decode->limit_only[k];
        if (!sum_loops(x, k, &loop, &row.seconds, &row.rounds))
            continue;
        if (found) {
            row.found_j = decode->energy_j[k];
            row.found_pm = decode->pm_j[k];
        }
        row.token_s = decode->unit_s[k];
        row.time_ratio = measure_loop_ratio(x->m, k);
        joulet_components_replay(&(struct joulet_replay_in){.loop = &loop,
                                                            .loop_s = row.seconds,
                                                            .token_s = row.token_s,
                                                            .instrumented_ratio = ratio,
                                                            .found_j = row.found_j,
                                                            .u_found_j = found ? decode->scatter_j[k] / 2 : NAN,
                                                            .time_ratio = row.time_ratio},
                                 &check);
        snprintf(row.component, sizeof row.component, "%s", kinds[i].component);
        row.watts = check.power_w;
        row.watts_pm = check.power_pm_w;
        row.joules = check.token_j;
        row.joules_pm = check.token_pm_j;
        row.difference = check.difference;
        row.difference_pm = check.difference_pm;
        row.warm = check.warm;
        run_profile_add_replay(&x->p, &row);
    }
}
