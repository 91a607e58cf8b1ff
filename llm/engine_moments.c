/* engine_moments.c - from what an exchange told to the windows of a request (docs/method.md 6.1).
 *
 * The boundary between prefill and decode is the moment when the first token was made. Two clocks tell of it: ours saw the first
 * text come (t_first), and the engine says how long it decoded, which counts back from the end. Transport, buffering and a
 * starved client only ever delay what we see, so both are upper bounds, and the earlier one is the better. Without the engine's
 * times only ours is left. Times between tokens are those between the pieces of text that came: an engine may put several tokens
 * into one piece. */
#include "lib/stats/stats.h"
#include "llm/engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define U_SERVER_S 0.0005 /* 6.1 */
#define U_CLIENT_S 0.0015
#define SLACK_S    0.001 /* rounding of the engine's milliseconds */

struct moments {
    int64_t start, load, prefill, boundary, end; /* load: where loading begins, prefill: where prefill begins */
    double u;
    const char *source;
    bool mixed; /* several phases of prompt processing: no one boundary */
};

static int64_t latest(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* What we saw of the last token: its text when every token brought one, else the end of the answer. */
static int64_t last_token_seen(const struct generated *g)
{
    bool each = g->tokens.generated > 0 && (size_t)g->tokens.generated == g->n_token_ns;
    return each ? g->t_last_ns : g->t_end_ns;
}

/* Where the engine's own decode time puts the boundary; 0 when it cannot, or contradicts our clock. */
static int64_t server_boundary(const struct generated *g, int64_t prefill_from)
{
    if (!g->done || isnan(g->server_decode_s) || g->server_decode_s > 1e7 || !g->t_end_ns)
        return 0;
    int64_t b = last_token_seen(g) - jl_ns(g->server_decode_s);
    if (g->t_first_ns && g->t_first_ns < b)
        b = g->t_first_ns;
    double prompt_s = isnan(g->server_prompt_s) ? 0 : g->server_prompt_s;
    return jl_s(b - prefill_from) >= prompt_s - SLACK_S && b >= prefill_from ? b : 0;
}

/* An end token makes no text: the engine computed until its decode time was over, which is after the last text. */
static int64_t decode_end(const struct generated *g, int64_t boundary)
{
    int64_t end = g->t_last_ns ? g->t_last_ns : g->t_end_ns;
    if (!g->done || isnan(g->server_decode_s) || !g->t_end_ns)
        return end;
    int64_t told = boundary + jl_ns(g->server_decode_s);
    return told > g->t_end_ns ? latest(end, g->t_end_ns) : latest(end, told);
}

/* The engine announced the end of the prompt's processing: seen by our clock like a first text, and no later than that. */
static bool announced(const struct generated *g, int64_t prefill_from)
{
    return g->t_prefill_ns > prefill_from && (!g->t_first_ns || g->t_prefill_ns < g->t_first_ns);
}

static struct moments moments_of(const struct generated *g)
{
    struct moments m = {.start = g->t_sent_ns, .load = g->t_sent_ns, .prefill = g->t_sent_ns, .u = U_CLIENT_S};
    int64_t over = latest(g->t_end_ns, g->t_sent_ns);
    if (g->server_queue_s > 0 && g->server_queue_s <= jl_s(over - m.start))
        m.load = m.prefill = m.start + jl_ns(g->server_queue_s);
    if (!g->was_loaded && g->server_load_s > 0 && g->server_load_s <= jl_s(over - m.load))
        m.prefill = m.load + jl_ns(g->server_load_s);
    m.boundary = server_boundary(g, m.prefill);
    if (m.boundary) {
        m.source = "server timings";
        m.u = U_SERVER_S;
        m.end = g->tokens.generated == 1 ? m.boundary
                                         : latest(decode_end(g, m.boundary), m.boundary); /* the first token is prefill's */
    } else {
        int64_t first = announced(g, m.prefill) ? g->t_prefill_ns : g->t_first_ns;
        m.source = !first ? NULL : first == g->t_first_ns ? "client timing" : "engine events";
        m.boundary = latest(first ? first : over, m.prefill);
        m.end = latest(g->done && g->t_last_ns ? g->t_last_ns : over, m.boundary);
    }
    return m;
}

static void add_to(struct run_window **list, size_t *n, const char *name, int64_t from, int64_t to, double u_from, double u_to)
{
    struct run_window w;
    if (to <= from)
        return;
    run_window_init(&w, name, from, to);
    w.u_start_s = u_from;
    w.u_end_s = u_to;
    if (!run_add_window(list, n, &w))
        run_energy_release(&w.energy);
}

static void add_window(struct run_request *q, const char *name, int64_t from, int64_t to, double u_from, double u_to)
{
    add_to(&q->windows, &q->n_windows, name, from, to, u_from, u_to);
}

/* Decode of a model that thinks first: the turn is when the first text of the answer came. */
static void add_parts(const struct generated *g, const struct moments *m, struct run_request *q)
{
    int64_t turn = g->t_answer_ns ? g->t_answer_ns : g->thinking.len ? m->end : 0;
    if (turn <= m->boundary)
        return;
    turn = turn < m->end ? turn : m->end;
    add_to(&q->parts, &q->n_parts, "thinking", m->boundary, turn, m->u, turn < m->end ? U_CLIENT_S : m->u);
    add_to(&q->parts, &q->n_parts, "answer", turn, m->end, U_CLIENT_S, m->u);
}

/* The start is our own act and exact; where the engine told of queue and load, those edges are as good as its times. */
static void add_windows(const struct moments *m, struct run_request *q)
{
    add_window(q, "queue", m->start, m->load, 0, U_SERVER_S);
    add_window(q, "load", m->load, m->prefill, m->load > m->start ? U_SERVER_S : 0, U_SERVER_S);
    if (m->mixed) { /* tools ran, and the prompt was processed again after each: prefill and decode alternate */
        add_window(q, "generation", m->prefill, m->end, m->prefill > m->start ? U_SERVER_S : 0, m->u);
        return;
    }
    add_window(q, "prefill", m->prefill, m->boundary, m->prefill > m->start ? U_SERVER_S : 0, m->u);
    add_window(q, "decode", m->boundary, m->end, m->u, m->u);
}

static void latencies(const struct generated *g, struct run_request *q)
{
    if (!g->t_first_ns || !g->t_sent_ns)
        return;
    q->ttft_s = jl_s(g->t_first_ns - g->t_sent_ns);
    int64_t tokens = g->tokens.generated >= 0 ? g->tokens.generated : (int64_t)g->n_token_ns;
    if (tokens > 1 && g->n_token_ns > 1)
        q->tpot_s = jl_s(g->t_last_ns - g->t_first_ns) / (double)(tokens - 1);
    if (g->n_token_ns < 2)
        return;
    size_t n = g->n_token_ns - 1;
    double *gaps = malloc(n * sizeof(*gaps));
    if (!gaps)
        return;
    for (size_t i = 0; i < n; i++)
        gaps[i] = jl_s(g->token_ns[i + 1] - g->token_ns[i]);
    jl_sort(gaps, n);
    q->itl_p50_s = jl_quantile(gaps, n, 0.50);
    q->itl_p95_s = jl_quantile(gaps, n, 0.95);
    q->itl_p99_s = jl_quantile(gaps, n, 0.99);
    free(gaps);
}

static void set_text(char **slot, const char *text)
{
    free(*slot);
    *slot = text && text[0] ? jl_strdup(text) : NULL;
}

void engine_to_request(const struct generated *g, struct run_request *q)
{
    q->tokens = g->tokens;
    q->draft_tokens = g->draft_tokens;
    q->draft_accepted = g->draft_accepted;
    q->tool_calls = g->done || g->tool_calls ? (int64_t)g->tool_calls : -1;
    q->server_prompt_s = g->server_prompt_s;
    q->server_decode_s = g->server_decode_s;
    q->server_load_s = g->server_load_s;
    q->server_queue_s = g->server_queue_s;
    q->server_tokens_per_s = g->server_rate;
    set_text(&q->finish, g->finish);
    latencies(g, q);
    if (!g->t_sent_ns) { /* nothing was sent: no window, no energy */
        set_text(&q->phase_source, NULL);
        return;
    }
    struct moments m = moments_of(g);
    m.mixed = g->prefills > 1;
    set_text(&q->phase_source, m.mixed ? NULL : m.source);
    add_windows(&m, q);
    if (!m.mixed)
        add_parts(g, &m, q);
}
