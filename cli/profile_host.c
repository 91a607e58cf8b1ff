/* profile_host.c - host work by itself: the text of the profile's prompts into tokens, and its answers' tokens into text, over
 * and over for seconds, so that a sensor sees what a thread draws that does nothing else (docs/method.md 8.11). Bodies are long,
 * so that little of the time goes into HTTP; how much is known from the probe. */
#include "cli/profile.h"
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOOP_MOST_S 10.0
#define TEXT_BYTES  ((size_t)32 << 10) /* of a question */
#define TEXT_MOST   ((size_t)1 << 20)  /* of one whose prompt is longer */

/* As much of a text as there is room for, in whole characters. */
static void add_text(struct jl_buf *b, const char *text, size_t n, size_t most)
{
    if (n > most - b->len) {
        n = most - b->len;
        while (n && ((unsigned char)text[n] & 0xc0) == 0x80)
            n--;
    }
    jl_buf_add(b, text, n);
}

void profile_host_hear(struct profiling *x, const struct jl_buf *answer)
{
    struct jl_buf *b = &x->host.answers;
    if (!b->max)
        jl_buf_init(b, TEXT_BYTES + 1);
    if (!answer->len || b->len >= TEXT_BYTES - 1)
        return;
    add_text(b, answer->data, answer->len, TEXT_BYTES - 1);
    jl_buf_str(b, "\n");
}

/* Prompts in turn, or what was answered to them, until it is long enough. */
static char *long_text(const struct profiling *x, enum measure_work work)
{
    struct jl_buf b;
    bool answers = work == MEASURE_DETOKENISE && x->host.answers.len > 0;
    jl_buf_init(&b, TEXT_MOST + 1);
    for (size_t i = 0; b.len < TEXT_BYTES && !b.failed; i++) {
        const char *text = answers ? x->host.answers.data : profile_prompt(x, i);
        add_text(&b, text, strlen(text), TEXT_MOST - 1);
        jl_buf_str(&b, "\n");
    }
    return b.failed ? (jl_buf_release(&b), NULL) : jl_buf_take(&b);
}

/* The question of a work, answered once; how many tokens it is about. */
static enum joulet_status prepare(struct profiling *x, enum measure_work work, struct engine_question *q, double *tokens,
                                  struct joulet_error *err)
{
    struct engine_question other;
    char *text = long_text(x, work);
    int64_t *list;
    size_t n;
    *q = (struct engine_question){0};
    if (!text)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    enum joulet_status status = engine_tokenise(x->choice.engine, x->choice.model, text, &other, &list, &n, err);
    *tokens = (double)n;
    if (status == JOULET_OK && work == MEASURE_DETOKENISE) {
        status = engine_detokenise(x->choice.engine, x->choice.model, list, n, q, err);
        engine_question_release(&other);
    } else {
        *q = other;
    }
    free(list);
    free(text);
    return status;
}

/* What the processor and its memory drew, by counters of their own: a total in which cards idle wanders more than this work
 * takes. */
static struct joulet_energy host_energy(const struct run_energy *e, bool *cpu)
{
    struct joulet_energy sum = e->total;
    *cpu = e->has_group[JOULET_GROUP_CPU] && isfinite(e->groups[JOULET_GROUP_CPU].net_j);
    if (*cpu)
        sum = e->groups[JOULET_GROUP_CPU];
    if (*cpu && e->has_group[JOULET_GROUP_DRAM])
        joulet_energy_add(&sum, &e->groups[JOULET_GROUP_DRAM], false);
    return sum;
}

static enum joulet_status keep(struct profiling *x, enum measure_work work, joulet_mark from, joulet_mark to,
                               struct joulet_error *err)
{
    struct host_loop *l = &x->host.loops[work];
    const struct run *r = &x->s.run;
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    size_t before = r->n_windows;
    session_window(&x->s, "host", from, to, x->s.idle, false);
    if (r->n_windows > before)
        e = host_energy(&r->windows[before].energy, &x->host.cpu[work]);
    profile_span(x, run_profile_works[work].name, jl_s(from - x->s.run.start_ns), jl_s(to - x->s.run.start_ns));
    profile_power_add(x);
    if (!isfinite(profile_net_j(&e)) || !isfinite(e.net_pm_j))
        return jl_fail(err, JOULET_NO_DATA, "no energy above idle is known of that time");
    *l = (struct host_loop){
        .net_j = e.net_j, .net_pm_j = e.net_pm_j, .seconds = jl_s(to - from), .inside_s = x->m->host_s[MEASURE_TEXT][work]};
    return jl_ok(err);
}

/* What the probe tells is read after each answer, before its ring comes round: of text it tells each token. */
static enum joulet_status loop(struct profiling *x, enum measure_work work, struct joulet_error *err)
{
    struct engine_question q;
    double tokens = 0;
    enum joulet_status status = prepare(x, work, &q, &tokens, err);
    profile_drain(x);
    memset(x->m->host_s[MEASURE_TEXT], 0, sizeof x->m->host_s[MEASURE_TEXT]);
    joulet_mark from = joulet_mark_now(x->s.meter), until = from + jl_ns(x->host.loop_s);
    measure_begin(x->m, MEASURE_TEXT, from);
    while (status == JOULET_OK && joulet_now() < until && !atomic_load(&cli_cancel)) {
        status = engine_ask_again(x->choice.engine, &q, err);
        profile_drain(x);
        x->host.tokens[work] += tokens;
    }
    joulet_mark to = joulet_mark_now(x->s.meter);
    measure_end(x->m);
    engine_question_release(&q);
    if (status == JOULET_OK && atomic_load(&cli_cancel))
        return JOULET_CANCELLED;
    return status == JOULET_OK ? keep(x, work, from, to, err) : status;
}

/* Where one cannot be made nothing else is lost: what host work draws is then taken from elsewhere (profile/host.h). Without an
 * idle level, or without a sensor, no energy above idle would come of it. */
void profile_host(struct profiling *x)
{
    static const enum measure_work works[] = {MEASURE_TOKENISE, MEASURE_DETOKENISE};
    enum joulet_status status = JOULET_OK;
    if (!x->probe || !isfinite(session_idle_total(&x->s).power_w) || atomic_load(&cli_cancel))
        return;
    x->host.loop_s = profile_loop_s(x, LOOP_MOST_S);
    if (x->choice.engine->ops->tokenises)
        cli_say(x->cli, "host work by itself: text into tokens and back, %.3g s each", x->host.loop_s);
    profile_watch(x, MEASURE_TEXT);
    profile_drain(x);
    measure_begin(x->m, MEASURE_TEXT, joulet_mark_now(x->s.meter));
    for (size_t i = 0; i < JL_COUNT(works) && status == JOULET_OK; i++)
        status = loop(x, works[i], &x->host.why);
}

void profile_host_record(struct profiling *x)
{
    for (int i = 0; i < MEASURE_WORKS; i++) {
        const struct host_loop *l = &x->host.loops[i];
        struct run_profile_host row = {.seconds = l->seconds, .tokens = x->host.tokens[i]};
        if (!(l->seconds > 0))
            continue;
        snprintf(row.work, sizeof row.work, "%s", run_profile_works[i].name);
        snprintf(row.channels, sizeof row.channels, "%s", x->host.cpu[i] ? "cpu" : "total");
        row.inside = fmin(1, l->inside_s / l->seconds);
        host_loop_power(l, &row.watts, &row.watts_pm);
        run_profile_add_host(&x->p, &row);
    }
}

void profile_host_release(struct profiling *x)
{
    jl_buf_release(&x->host.answers);
}
