/* batch.c - steps: what was computed for whom. Prefill or decode does not follow from the size of a batch (two decoding slots
 * make a batch of two, one batch may hold a prompt and a token of another slot), so tokens are counted by their sequence: from
 * the arrays of llama_decode's batch, or as they are added to the opaque batch of llama_process. */
#include "probes/ggml/probe.h"

#include <string.h>

#define BATCHES   16
#define SEQUENCES 256

/* Built by one thread at a time, as the engine's own is. */
struct tally {
    _Atomic(void *) batch; /* NULL: free */
    uint32_t tokens, n;    /* n: sequences in it */
    int32_t last_index, last_sequence;
    uint16_t used[SEQUENCES];
    uint32_t count[SEQUENCES], position[SEQUENCES];
};
static struct tally tallies[BATCHES];
static _Atomic(struct context *) contexts[64];
static _Atomic uint32_t steps;

__thread struct step probe_step = {.tokens = WIRE_UNKNOWN};
__thread uint64_t probe_waited_ns;
__thread uint8_t probe_turn;

/* ---- tallies -------------------------------------------------------------------------------------------------------------- */

static struct tally *tally_of(void *batch, bool make)
{
    for (int i = 0; i < BATCHES; i++)
        if (atomic_load_explicit(&tallies[i].batch, memory_order_relaxed) == batch)
            return &tallies[i];
    for (int i = 0; make && i < BATCHES; i++) {
        void *empty = NULL;
        if (atomic_compare_exchange_strong(&tallies[i].batch, &empty, batch))
            return &tallies[i];
    }
    if (make)
        probe_count(WIRE_N_TABLE_FULL);
    return NULL;
}

/* Tokens are counted for the step to come, and a batch is given back, whatever the turn of the step that went. */
static bool counts_tokens(void)
{
    return atomic_load_explicit(&probe_head, memory_order_acquire) != NULL;
}

static void tally_clear(struct tally *t)
{
    for (uint32_t i = 0; i < t->n; i++)
        t->count[t->used[i]] = 0;
    t->n = t->tokens = 0;
    t->last_index = -1;
}

static void tally_add(struct tally *t, int32_t sequence, uint32_t position)
{
    t->tokens++;
    if (sequence < 0 || sequence >= SEQUENCES)
        return;
    if (t->count[sequence]++ == 0) {
        t->used[t->n++] = (uint16_t)sequence;
        t->position[sequence] = position;
    }
}

void llama_batch_ext_clear(struct batch_ext *b)
{
    REAL(llama_batch_ext_clear);
    probe_turn = WIRE_TURN_NONE; /* the next step begins */
    struct tally *t = counts_tokens() ? tally_of(b, true) : NULL;
    if (t)
        tally_clear(t);
    real(b);
}

void llama_batch_ext_free(struct batch_ext *b)
{
    REAL(llama_batch_ext_free);
    struct tally *t = b && counts_tokens() ? tally_of(b, false) : NULL;
    if (t) {
        tally_clear(t);
        atomic_store(&t->batch, NULL);
    }
    real(b);
}

int32_t llama_batch_ext_add_token(struct batch_ext *b, int32_t sequence, int32_t token)
{
    REAL(llama_batch_ext_add_token);
    int32_t index = real(b, sequence, token);
    struct tally *t = index >= 0 && counts_tokens() ? tally_of(b, true) : NULL;
    if (t) {
        tally_add(t, sequence, WIRE_UNKNOWN);
        t->last_index = index;
        t->last_sequence = sequence;
    }
    return index;
}

int32_t llama_batch_ext_set_pos(struct batch_ext *b, int32_t index, const int32_t *position)
{
    REAL(llama_batch_ext_set_pos);
    int32_t result = real(b, index, position);
    struct tally *t = position && counts_tokens() ? tally_of(b, false) : NULL;
    if (t && index == t->last_index && t->last_sequence >= 0 && t->last_sequence < SEQUENCES &&
        t->position[t->last_sequence] == WIRE_UNKNOWN)
        t->position[t->last_sequence] = (uint32_t)*position;
    return result;
}

/* ---- steps ------------------------------------------------------------------------------------------------------------------
 */

static uint16_t context_number(struct context *c)
{
    for (uint16_t i = 0; i < 64; i++) {
        struct context *none = NULL;
        struct context *there = atomic_load_explicit(&contexts[i], memory_order_relaxed);
        if (there == c || (!there && atomic_compare_exchange_strong(&contexts[i], &none, c)))
            return i;
    }
    return UINT16_MAX;
}

/* The way of the next step; in random order within four, so that neighbours differ in nothing else. */
static uint8_t next_turn(void)
{
    enum { N = WIRE_TURNS - WIRE_TURN_OFF };
    static __thread struct {
        uint8_t order[N], at;
        uint64_t random;
    } turns = {.at = N};
    const struct wire_head *h = atomic_load_explicit(&probe_head, memory_order_acquire);
    if (!h || atomic_load_explicit(&h->control.watch, memory_order_relaxed) != WIRE_WATCH_TURNS)
        return WIRE_TURN_NONE;
    if (turns.at == N) {
        for (turns.at = 0; turns.at < N; turns.at++)
            turns.order[turns.at] = (uint8_t)(WIRE_TURN_OFF + turns.at);
        for (uint32_t i = N - 1; i > 0; i--) {
            turns.random = turns.random * 6364136223846793005u + 1442695040888963407u + probe_settings.seed;
            uint32_t j = (uint32_t)(turns.random >> 33) % (i + 1);
            uint8_t other = turns.order[i];
            turns.order[i] = turns.order[j];
            turns.order[j] = other;
        }
        turns.at = 0;
    }
    return turns.order[turns.at++];
}

static void step_begin(struct step *before, struct context *c, const struct tally *t, uint32_t tokens)
{
    *before = probe_step;
    probe_turn = next_turn();
    probe_step = (struct step){
        .context = c, .tokens = tokens, .source = context_number(c), .decodes = t && t->n == t->tokens && tokens == t->tokens};
}

static void step_end(const struct step *before, uint64_t t0, const struct tally *t, enum wire_route route, int32_t result)
{
    uint64_t t1 = probe_now();
    uint32_t number = atomic_fetch_add_explicit(&steps, 1, memory_order_relaxed);
    struct wire_record r = {.t0_ns = t0, .t1_ns = t1, .layer = -1, .source = probe_step.source, .c = number};
    uint8_t turn = probe_turn;
    for (uint32_t i = 0; t && i < t->n && turn != WIRE_TURN_OFF; i++) {
        r.kind = WIRE_SEQUENCE;
        r.tokens = t->count[t->used[i]];
        r.a = t->used[i];
        r.b = t->position[t->used[i]];
        probe_record(&r);
    }
    r.kind = WIRE_STEP;
    r.tokens = probe_step.tokens;
    r.a = (uint32_t)route;
    r.b = (uint32_t)result;
    r.flags = (uint16_t)((result ? WIRE_FAILED : 0) | (probe_step.vectors ? WIRE_VECTORS : 0) | wire_segment(turn));
    probe_turn = WIRE_TURN_NONE; /* this record is written in every turn: it tells which it was */
    probe_record(&r);
    probe_turn = turn;
    probe_step = *before;
}

int32_t llama_process(struct context *c, int type, struct batch_ext *b)
{
    REAL(llama_process);
    if (!probe_begin())
        return real(c, type, b);
    struct tally *t = tally_of(b, false);
    struct step before;
    step_begin(&before, c, t, t ? t->tokens : WIRE_UNKNOWN);
    probe_count(WIRE_N_PROCESS);
    uint64_t t0 = probe_now();
    int32_t result = real(c, type, b);
    step_end(&before, t0, t, type == 0 ? WIRE_PROCESS_ENCODE : WIRE_PROCESS_DECODE, result);
    return result;
}

static __thread struct tally own; /* of the batch that comes with its arrays */

static struct tally *tally_arrays(const struct batch *b)
{
    tally_clear(&own);
    for (int32_t i = 0; i < b->n_tokens; i++)
        tally_add(&own, b->seq_id && b->n_seq_id && b->n_seq_id[i] > 0 && b->seq_id[i] ? b->seq_id[i][0] : 0,
                  b->pos ? (uint32_t)b->pos[i] : WIRE_UNKNOWN);
    return &own;
}

typedef int32_t compute(struct context *c, struct batch b);

static int32_t step_of(compute *real, struct context *c, struct batch b, enum wire_route route)
{
    if (!probe_begin())
        return real(c, b);
    struct step before;
    step_begin(&before, c, tally_arrays(&b), b.n_tokens < 0 ? WIRE_UNKNOWN : (uint32_t)b.n_tokens);
    probe_step.vectors = b.embd && !b.token;
    probe_count(WIRE_N_DECODE);
    uint64_t t0 = probe_now();
    int32_t result = real(c, b);
    step_end(&before, t0, &own, route, result);
    return result;
}

int32_t llama_decode(struct context *c, struct batch b)
{
    REAL(llama_decode);
    return step_of(real, c, b, WIRE_DECODE);
}

int32_t llama_encode(struct context *c, struct batch b)
{
    REAL(llama_encode);
    return step_of(real, c, b, WIRE_ENCODE);
}

void llama_synchronize(struct context *c)
{
    REAL(llama_synchronize);
    if (!probe_on()) {
        real(c);
        return;
    }
    uint64_t t0 = probe_now();
    real(c);
    uint64_t t1 = probe_now();
    probe_waited_ns += t1 - t0;
    probe_record(&(struct wire_record){.kind = WIRE_WAIT,
                                       .t0_ns = t0,
                                       .t1_ns = t1,
                                       .layer = -1,
                                       .tokens = WIRE_UNKNOWN,
                                       .source = context_number(c),
                                       .flags = probe_step.context ? 0 : WIRE_OUTSIDE});
}

void llama_free(struct context *c)
{
    REAL(llama_free);
    for (int i = 0; i < 64; i++) {
        struct context *there = c;
        atomic_compare_exchange_strong(&contexts[i], &there, NULL);
    }
    real(c);
}
