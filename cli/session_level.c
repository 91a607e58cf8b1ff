/* session_level.c - m_eff of a level: the engine's part of what the CPU drew while it was in prefill or decode of any request.
 * The phases of several requests overlap, so it is the time that they cover together (docs/method.md 6.4). */
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STRETCHES_MAX 64 /* of requests that come one by one with pauses between them; more are not measured one by one */

struct stretch {
    joulet_mark from, to;
};

static int by_start(const void *a, const void *b)
{
    const struct stretch *x = a, *y = b;
    return (x->from > y->from) - (x->from < y->from);
}

static bool is_phase(const struct run_window *w)
{
    return w->end_ns > w->start_ns && (!strcmp(w->name, "prefill") || !strcmp(w->name, "decode"));
}

/* Prefill and decode of every request inside the level, in order, those that touch made one. malloc'ed; *n 0: none. */
static struct stretch *stretches_of(const struct run *r, const struct run_window *level, size_t *n)
{
    struct stretch *all = NULL;
    size_t most = 0, k = 0;
    for (size_t i = 0; i < r->n_requests; i++)
        most += r->requests[i].stream >= 0 ? r->requests[i].n_windows : 0;
    *n = 0;
    if (!most || !(all = calloc(most, sizeof *all)))
        return all;
    for (size_t i = 0; i < r->n_requests; i++)
        for (size_t j = 0; r->requests[i].stream >= 0 && j < r->requests[i].n_windows; j++) {
            const struct run_window *w = &r->requests[i].windows[j];
            if (is_phase(w) && w->start_ns >= level->start_ns && w->end_ns <= level->end_ns)
                all[k++] = (struct stretch){w->start_ns, w->end_ns};
        }
    qsort(all, k, sizeof *all, by_start);
    for (size_t i = 0; i < k; i++) {
        if (*n && all[i].from <= all[*n - 1].to)
            all[*n - 1].to = all[i].to > all[*n - 1].to ? all[i].to : all[*n - 1].to;
        else
            all[(*n)++] = all[i];
    }
    return all;
}

static struct joulet_energy cpu_of(struct session *s, const struct stretch *x, joulet_mark until)
{
    struct run_window w;
    struct run_energy whole;
    run_window_init(&w, "phases", x->from, x->to);
    run_energy_init(&whole);
    session_measure(s, &(struct session_span){.windows = &w, .n = 1, .until = until}, s->idle, &whole);
    struct joulet_energy e = session_cpu_energy(&s->run, &w.energy);
    run_energy_release(&whole);
    run_energy_release(&w.energy);
    return e;
}

void session_level_phases(struct session *s, struct run_window *level, joulet_mark until)
{
    const struct run_cpu_time *t = &level->cpu_time;
    struct joulet_cpu_share share = {t->share, t->share_pm, t->engine_s, t->busy_s};
    struct joulet_energy phases = JOULET_ENERGY_UNKNOWN;
    size_t n, notes = s->run.n_notes;
    if (!run_is_level(level) || isnan(share.used_s) || session_elsewhere(s))
        return;
    struct stretch *all = stretches_of(&s->run, level, &n);
    for (size_t i = 0; i < n && n <= STRETCHES_MAX; i++) {
        struct joulet_energy e = cpu_of(s, &all[i], until);
        joulet_energy_chain(&phases, &e);
    }
    while (s->run.n_notes > notes) /* what went wrong was said of the level */
        free(s->run.notes[--s->run.n_notes]);
    joulet_energy_of_share(&phases, &share, &level->cpu_time.m_eff);
    free(all);
}
