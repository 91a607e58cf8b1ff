/* counts_step.c - the work of one step of the engine, and of a prompt and an answer as sums of steps (docs/method.md 8.5). */
#include "profile/counts.h"

#include <math.h>

#define ACTIVATION 4.0 /* bytes of an element between two parts */

/* One step, seen by all parts alike. */
struct step {
    const struct profile_shape *s;
    double rows, outputs, expert_share; /* of the experts' bytes that are read */
    double last_share;                  /* the same for the rows that go through the last feed-forward */
};

/* Share of experts met by so many rows. */
static double experts_met(const struct profile_shape *s, double rows)
{
    return s->experts > 0 && rows > 0 ? 1 - pow(1 - s->experts_used / s->experts, rows) : 0;
}

static void add_weights(struct profile_count *to, const struct profile_weights *w, double rows, double expert_share)
{
    to->flop += w->row_flop * rows;
    if (rows > 0)
        to->weight_bytes += w->bytes + w->expert_bytes * expert_share;
}

/* Elements of activations that each row reads and writes in a part. */
static double activations(const struct profile_shape *s, const struct profile_layer *l, enum profile_part p)
{
    bool two = l->ff > 0 && l->weights[PROFILE_GATE].bytes > 0;
    switch (p) {
    case PROFILE_ATTENTION_NORM:
    case PROFILE_FFN_NORM:
        return l->weights[p].bytes > 0 ? 2 * s->hidden : 0;
    case PROFILE_QKV:
        return l->q > 0 ? s->hidden + l->q + l->k + l->v : 0;
    case PROFILE_ROPE:
        return 2 * l->rotated;
    case PROFILE_KV_WRITE:
        return l->k + l->v;
    case PROFILE_SCORES:
        return l->q + l->joined;
    case PROFILE_ATTENTION_OUTPUT:
        return l->joined > 0 ? l->joined + s->hidden : 0;
    case PROFILE_ATTENTION_RESIDUAL: /* it is read; what it is added to counts where that is made */
        return l->joined > 0 ? s->hidden : 0;
    case PROFILE_ROUTER:
        return l->router > 0 ? s->hidden + l->router : 0;
    case PROFILE_GATE: /* both read the same rows: half of them each */
        return two ? s->hidden / 2 + l->ff : 0;
    case PROFILE_UP:
        return two ? s->hidden / 2 + l->ff : l->ff > 0 ? s->hidden + (l->gated ? 2 : 1) * l->ff : 0;
    case PROFILE_ACTIVATION:
        return (l->gated ? 3 : 2) * l->ff;
    case PROFILE_DOWN:
        return l->ff > 0 ? l->ff + s->hidden : 0;
    case PROFILE_EXPERTS:
        return l->expert_ff > 0 ? 2 * s->hidden + (l->gated ? 6 : 4) * l->expert_ff : 0;
    case PROFILE_FFN_RESIDUAL:
        return l->ff + l->expert_ff > 0 ? s->hidden : 0;
    default:
        return 0;
    }
}

static bool in_attention(enum profile_part p)
{
    return p <= PROFILE_ATTENTION_RESIDUAL;
}

static void add_layer(struct profile_count *to, const struct step *t, const struct profile_layer *l, bool last)
{
    for (int i = PROFILE_ATTENTION_NORM; i <= PROFILE_FFN_RESIDUAL; i++) {
        enum profile_part p = (enum profile_part)i;
        bool cut = last && !in_attention(p);
        double rows = cut ? t->outputs : t->rows;
        add_weights(&to[p], &l->weights[p], rows, cut ? t->last_share : t->expert_share);
        to[p].activation_bytes += ACTIVATION * activations(t->s, l, p) * rows;
    }
    to[PROFILE_ROPE].flop += 3 * l->rotated * t->rows;
    double each = (l->gated ? 5 : 4) * (last ? t->outputs : t->rows);
    to[PROFILE_ACTIVATION].flop += each * l->ff;
    to[PROFILE_EXPERTS].flop += each * l->expert_ff;
    to[PROFILE_KV_WRITE].cache_write_bytes += (l->k * t->s->k_bytes + l->v * t->s->v_bytes) * t->rows;
}

/* Scores of one sequence: how many cached tokens its new ones see together, and how many different ones are read. */
static void add_scores(struct profile_count *to, const struct profile_shape *s, const struct profile_layer *l,
                       const struct profile_sequence *q)
{
    double n = q->tokens, seen = n * q->past + n * (n + 1) / 2, read = q->past + n;
    if (isfinite(l->window)) {
        double whole = fmin(fmax(l->window - q->past, 0), n); /* tokens whose whole past is inside the window */
        seen = whole * q->past + whole * (whole + 1) / 2 + (n - whole) * l->window;
        read = fmin(read, n + l->window - 1);
    }
    if (n <= 0)
        return;
    to->flop += q->copies * seen * (2 * l->q + 2 * l->joined + 5 * l->heads);
    to->cache_read_bytes += q->copies * read * (l->k * s->k_bytes + l->v * s->v_bytes);
}

static void add_ends(struct profile_counts *to, const struct step *t)
{
    const struct profile_shape *s = t->s;
    struct profile_count *embedding = &to->ends[PROFILE_EMBEDDING], *norm = &to->ends[PROFILE_OUTPUT_NORM],
                         *head = &to->ends[PROFILE_HEAD];
    add_weights(embedding, &s->weights[PROFILE_EMBEDDING], t->rows, 0);
    embedding->weight_bytes += s->embedding_row_bytes * t->rows;
    embedding->activation_bytes += ACTIVATION * s->hidden * t->rows;
    add_weights(norm, &s->weights[PROFILE_OUTPUT_NORM], t->outputs, 0);
    norm->activation_bytes += s->weights[PROFILE_OUTPUT_NORM].bytes > 0 ? ACTIVATION * 2 * s->hidden * t->outputs : 0;
    add_weights(head, &s->weights[PROFILE_HEAD], t->outputs, 0);
    head->activation_bytes += ACTIVATION * (s->hidden + s->vocab) * t->outputs;
}

void profile_count_step(struct profile_counts *to, const struct profile_shape *s, const struct profile_sequence *seq, size_t n)
{
    struct step t = {.s = s};
    for (size_t i = 0; i < n; i++) {
        t.rows += seq[i].copies * seq[i].tokens;
        t.outputs += seq[i].copies * seq[i].outputs;
    }
    t.expert_share = experts_met(s, t.rows);
    t.last_share = experts_met(s, t.outputs);
    add_ends(to, &t);
    for (size_t i = 0; i < s->n_layers; i++) {
        add_layer(to->layers[i], &t, &s->layers[i], i + 1 == s->n_layers);
        for (size_t k = 0; k < n; k++)
            add_scores(&to->layers[i][PROFILE_SCORES], s, &s->layers[i], &seq[k]);
    }
}

void profile_count_prefill(struct profile_counts *to, const struct profile_shape *s, double past, double tokens, double piece)
{
    if (!(piece >= 1))
        piece = tokens;
    for (double done = 0; done < tokens; done += piece) {
        double now = fmin(piece, tokens - done);
        struct profile_sequence seq = {.past = past + done, .tokens = now, .outputs = done + now >= tokens, .copies = 1};
        profile_count_step(to, s, &seq, 1);
    }
}

void profile_count_decode(struct profile_counts *to, const struct profile_shape *s, double past, double tokens, double batch)
{
    for (double done = 0; done < tokens; done++) {
        struct profile_sequence seq = {.past = past + done, .tokens = 1, .outputs = 1, .copies = batch};
        profile_count_step(to, s, &seq, 1);
    }
}
