/* measure.c - gathering: which step a stretch belongs to, which phase a step is of, and what is kept of both. A step's stretches
 * come before it (steps.c); a step is prefill when a sequence has several tokens in it. The length of a token reaches from the
 * begin of its step to that of the next one: what no stretch covers in it is the rest. */
#include "profile/measure.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MERGED_S   0.0002 /* of repeats that are kept as one: a fifth of the fastest sensor's reading */
#define MERGED_GAP 0.25   /* of a stretch, between it and the one before */

static const struct {
    enum measure_kind kind;
    const char *name;
} rows[WIRE_KINDS] = {
    [WIRE_EMBEDDING] = {MEASURE_REST, "embedding"},
    [WIRE_ATTENTION_NORM] = {MEASURE_NORM, "attention_norm"},
    [WIRE_ATTENTION] = {MEASURE_ATTENTION, "attention"},
    [WIRE_FFN_NORM] = {MEASURE_NORM, "ffn_norm"},
    [WIRE_FFN] = {MEASURE_FFN, "ffn"},
    [WIRE_OUTPUT_NORM] = {MEASURE_NORM, "output_norm"},
    [WIRE_HEAD] = {MEASURE_HEAD, "head"},
    [WIRE_LAYER] = {MEASURE_LAYER, "layer"},
    [WIRE_OTHER] = {MEASURE_REST, "other"},
};

enum measure_kind measure_kind_of(enum wire_kind k)
{
    return rows[k].name ? rows[k].kind : MEASURE_REST;
}

const char *measure_component_name(enum wire_kind k)
{
    return rows[k].name ? rows[k].name : "rest";
}

enum joulet_status measure_open(struct measure **out, struct joulet_error *err)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    (*out)->source = MEASURE_WATCHED;
    (*out)->pass_from_ns = INT64_MAX; /* nothing counts before the first request */
    for (int i = 0; i < MEASURE_PASSES; i++)
        (*out)->keep_every[i] = 1;
    (*out)->trigger.wish.slot = -1;
    return jl_ok(err);
}

void measure_close(struct measure *m)
{
    for (size_t p = 0; m && p < MEASURE_PHASES; p++) {
        free(m->phases[p].stretches);
        free(m->phases[p].unmodified);
        free(m->phases[p].layers);
        for (size_t c = 0; c < MEASURE_CHANNELS; c++)
            free(m->channels[p][c].trace.samples);
    }
    if (m) {
        free(m->paired);
        free(m->kept);
    }
    free(m);
}

void measure_from(struct measure *m, enum measure_pass source)
{
    struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    m->source = source;
    p->n_stretches = p->n_unmodified = 0;
    p->full = false;
    for (size_t c = 0; c < MEASURE_CHANNELS; c++)
        m->channels[MEASURE_DECODE][c].trace.n = 0;
}

static bool counts(const struct measure *m)
{
    return m->pass == m->source || (m->source == MEASURE_AGAIN && m->pass == MEASURE_WATCHED);
}

void measure_begin(struct measure *m, enum measure_pass pass, int64_t from_ns)
{
    m->pass = pass;
    m->pass_from_ns = from_ns;
    m->n_pending = 0;
    m->has_before = m->overflowed = false;
    m->prefill_from_ns = m->prefill_to_ns = m->decode_from_ns = m->decode_to_ns = 0;
    m->phases[MEASURE_PREFILL].repeat_to_s = m->phases[MEASURE_DECODE].repeat_to_s = 0;
    steps_init(&m->steps);
    m->keeping = counts(m) && measure_keep(m, from_ns);
    m->passed_by = false;
    trigger_forget(&m->trigger);
}

/* ---- a step ------------------------------------------------------------------------------------------------------------ */

/* Room for one more; false when there is none, and then the phase is full. Asked for in one piece, of which no more is used than
 * is written: lists that grow and are thinned out, over and over, would lie in memory twice while they are moved. */
static bool room(struct measure *m, struct measure_of_phase *p, struct joulet_stretch **list, size_t n)
{
    if (n >= MEASURE_STRETCHES || m->failed)
        p->full = true;
    else if (!*list && !(*list = malloc(MEASURE_STRETCHES * sizeof **list)))
        m->failed = true;
    return !p->full && !m->failed;
}

/* A step is kept whole or not at all, and nothing after one that was not. */
static bool fits(struct measure *m, struct measure_of_phase *p, const struct profile_step *s)
{
    if (!p->full && p->n_stretches + m->n_pending <= MEASURE_STRETCHES && p->n_unmodified < MEASURE_STRETCHES)
        return true;
    if (!p->full)
        p->until_ns = s->t0_ns;
    p->full = true;
    return false;
}

/* Repeats of a kind run back to back, and those of small kinds would fill the room in seconds: neighbours become one stretch,
 * short for any sensor, of their seconds alone. */
static bool goes_on(struct measure_of_phase *p, const struct joulet_stretch *x)
{
    struct joulet_stretch *last = p->n_stretches ? &p->stretches[p->n_stretches - 1] : NULL;
    double length_s = x->end_s - x->start_s, gap_s = x->start_s - p->repeat_to_s;
    if (!last || !(p->repeat_to_s > 0) || last->kind != x->kind || gap_s < 0 || gap_s > MERGED_GAP * length_s ||
        x->end_s - last->start_s > MERGED_S)
        return false;
    last->end_s += length_s;
    return true;
}

static void keep_stretch(struct measure *m, struct measure_of_phase *p, const struct ring_record *r, enum measure_kind kind)
{
    if (kind == MEASURE_REST || r->t1_ns <= r->t0_ns)
        return;
    struct joulet_stretch x = {.kind = kind, .start_s = (double)r->t0_ns * 1e-9, .end_s = (double)r->t1_ns * 1e-9};
    bool repeat = (r->flags & WIRE_REPEATED) != 0, merged = repeat && goes_on(p, &x);
    if (!merged && room(m, p, &p->stretches, p->n_stretches))
        p->stretches[p->n_stretches++] = x;
    p->repeat_to_s = repeat ? x.end_s : 0;
}

static void keep_unmodified(struct measure *m, struct measure_of_phase *p, int64_t from_ns, int64_t to_ns)
{
    struct joulet_stretch x = {.start_s = (double)from_ns * 1e-9, .end_s = (double)to_ns * 1e-9};
    struct joulet_stretch *last = p->n_unmodified ? &p->unmodified[p->n_unmodified - 1] : NULL;
    if (last && last->end_s == x.start_s)
        last->end_s = x.end_s;
    else if (room(m, p, &p->unmodified, p->n_unmodified))
        p->unmodified[p->n_unmodified++] = x;
}

static void time_part(struct measure *m, struct measure_of_phase *p, const struct ring_record *r)
{
    int layer = r->layer < 0 ? 0 : r->layer + 1;
    uint32_t part = wire_part_of(r->b) < WIRE_PARTS ? wire_part_of(r->b) : WIRE_PART_NONE;
    if (!p->layers && !m->failed) {
        p->layers = calloc(MEASURE_LAYERS + 1, sizeof *p->layers);
        m->failed = !p->layers;
    }
    if (!p->layers || layer > MEASURE_LAYERS)
        return;
    if (r->layer >= m->layers)
        m->layers = r->layer + 1;
    p->layers[layer].s[r->kind][part] += jl_s(r->t1_ns - r->t0_ns);
    p->layers[layer].n[r->kind][part]++;
    m->flash |= (r->flags & WIRE_FLASH) != 0;
    m->norm_inside |= (r->flags & WIRE_NORM_INSIDE) != 0;
}

/* A step in which a kind is executed again, or would be were it not refused. */
static bool is_again(const struct measure *m, uint32_t thread)
{
    for (size_t i = 0; i < m->n_pending; i++)
        if (m->pending[i].thread == thread && wire_segment_of(m->pending[i].flags) != WIRE_NONE)
            return true;
    return false;
}

/* The stretches of a step into its phase; kind_s gets their seconds. */
static void take_pending(struct measure *m, const struct profile_step *s, uint32_t thread, enum measure_phase phase, bool again,
                         double kind_s[MEASURE_KINDS])
{
    struct measure_of_phase *p = &m->phases[phase];
    bool regress = m->keeping && (m->pass == m->source || (phase == MEASURE_PREFILL && counts(m)));
    bool timed = !again && s->watched == s->graphs && s->graphs && counts(m);
    size_t left = 0;
    regress = regress && fits(m, p, s);
    if (timed)
        p->layer_units += phase == MEASURE_DECODE ? (double)s->decoded : !m->prefill_from_ns;
    for (size_t i = 0; i < m->n_pending; i++) {
        const struct ring_record *r = &m->pending[i];
        if (r->thread != thread) {
            m->pending[left++] = *r;
            continue;
        }
        enum measure_kind kind = measure_kind_of(r->kind);
        bool repeat = (r->flags & WIRE_REPEATED) != 0;
        double seconds = jl_s(r->t1_ns - r->t0_ns);
        if (regress)
            keep_stretch(m, p, r, kind);
        if (repeat) {
            p->again_s[kind] += seconds;
            p->again_n[kind]++;
            continue;
        }
        kind_s[kind] += seconds;
        if (!timed)
            continue;
        p->first_s[kind] += seconds;
        p->first_n[kind]++;
        time_part(m, p, r);
    }
    m->n_pending = left;
}

static void drop_pending(struct measure *m, uint32_t thread)
{
    size_t left = 0;
    for (size_t i = 0; i < m->n_pending; i++)
        if (m->pending[i].thread != thread)
            m->pending[left++] = m->pending[i];
    m->n_pending = left;
}

double measure_layers_s(const struct measure *m, enum measure_phase phase, enum measure_kind kind, int from)
{
    const struct measure_of_phase *p = &m->phases[phase];
    double sum_s = 0;
    for (int layer = from; p->layers && layer <= m->layers; layer++)
        for (int k = WIRE_EMBEDDING; k < WIRE_KINDS; k++)
            for (int part = 0; part < WIRE_PARTS && measure_kind_of((enum wire_kind)k) == kind; part++)
                sum_s += p->layers[layer].s[k][part];
    return sum_s;
}

double measure_layers_scale(const struct measure *m, enum measure_phase phase, enum measure_kind kind)
{
    const struct measure_of_phase *p = &m->phases[phase];
    if (!p->layers || !(p->layer_units > 0))
        return 0;
    if (kind == MEASURE_REST || !(p->units > 0))
        return 1 / p->layer_units;
    double sum_s = measure_layers_s(m, phase, kind, 0);
    return sum_s > 0 ? p->kind_s[kind] / p->units / sum_s : 0;
}

static size_t bucket_of(uint32_t position)
{
    size_t b = 0;
    for (uint32_t edge = 64; position >= edge && b + 1 < MEASURE_BUCKETS; edge *= 2)
        b++;
    return b;
}

/* The token before this one is over, and so its length is known. */
static void end_token(struct measure *m, int64_t next_ns)
{
    struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    const struct profile_step *b = &m->before;
    double length_s = jl_s(next_ns - b->t0_ns), covered = 0, tokens = (double)b->decoded;
    if (!m->has_before || m->before_again || b->watched < b->graphs || !b->graphs || !counts(m) || length_s <= 0)
        return;
    for (int k = 0; k < MEASURE_REST; k++)
        covered += m->before_kind_s[k];
    m->before_kind_s[MEASURE_REST] = fmax(0, length_s - covered);
    struct measure_bucket *bucket =
        b->n_sequences && b->sequences[0].position != WIRE_UNKNOWN ? &m->buckets[bucket_of(b->sequences[0].position)] : NULL;
    for (int k = 0; k < MEASURE_KINDS; k++) {
        p->kind_s[k] += m->before_kind_s[k];
        if (bucket)
            bucket->kind_s[k] += m->before_kind_s[k];
    }
    if (bucket) {
        bucket->tokens += tokens;
        bucket->positions += tokens * (double)b->sequences[0].position;
    }
    p->units += tokens;
    p->seconds += length_s;
    if (m->keeping && m->pass == m->source)
        keep_unmodified(m, p, b->t0_ns, next_ns);
}

static void decode_step(struct measure *m, const struct profile_step *s, uint32_t thread)
{
    double kind_s[MEASURE_KINDS] = {0};
    bool again = is_again(m, thread);
    if (m->sequences && s->decoded != m->sequences) { /* some have not begun, or are done */
        drop_pending(m, thread);
        m->has_before = false;
        return;
    }
    end_token(m, s->t0_ns);
    take_pending(m, s, thread, MEASURE_DECODE, again, kind_s);
    if (!m->decode_from_ns)
        m->decode_from_ns = s->t0_ns;
    m->decode_to_ns = s->t0_ns; /* the last one has no end: its samples do not count */
    m->before = *s;
    m->before_again = again || s->repeated;
    m->has_before = true;
    memcpy(m->before_kind_s, kind_s, sizeof kind_s);
    m->decoded[m->pass] += s->decoded;
}

static void prefill_step(struct measure *m, const struct profile_step *s, uint32_t thread)
{
    struct measure_of_phase *p = &m->phases[MEASURE_PREFILL];
    double kind_s[MEASURE_KINDS] = {0}, covered = 0;
    bool timed = counts(m) && s->graphs && s->watched == s->graphs;
    take_pending(m, s, thread, MEASURE_PREFILL, false, kind_s);
    m->has_before = false;
    if (!m->prefill_from_ns) {
        m->prefill_from_ns = s->t0_ns;
        m->prompts[m->pass]++;
        p->units += timed;
    }
    if (timed) {
        for (int k = 0; k < MEASURE_REST; k++) {
            covered += kind_s[k];
            p->kind_s[k] += kind_s[k];
        }
        double length_s = jl_s(s->t1_ns - (m->prefill_to_ns ? m->prefill_to_ns : s->t0_ns));
        p->kind_s[MEASURE_REST] += fmax(0, length_s - covered);
        p->seconds += length_s;
    }
    m->prefill_to_ns = s->t1_ns;
}

static void keep_paired(struct measure *m, const struct profile_step *s)
{
    if (!m->paired && !(m->paired = malloc(MEASURE_STEPS * sizeof *m->paired)))
        m->failed = true;
    if (m->paired && m->n_paired < MEASURE_STEPS)
        m->paired[m->n_paired++] = *s;
}

double measure_stop_s(const struct measure *m)
{
    struct step_cost cost;
    if (!steps_cost(m->paired, m->n_paired, &cost) || !(cost.low_s > 0))
        return 0;
    for (size_t i = 0; i < m->n_paired; i++)
        if (m->paired[i].watched && m->paired[i].stops)
            return step_stop_inside_s(&m->paired[i], cost.stop_s);
    return 0;
}

/* Not wanted: the token before it has an end all the same. */
static void pass_by(struct measure *m, const struct profile_step *s, uint32_t thread)
{
    end_token(m, s->t0_ns);
    m->has_before = false;
    drop_pending(m, thread);
}

static void step_ended(struct measure *m, const struct profile_step *s, uint32_t thread)
{
    struct trigger_seen seen = {.wanted = true};
    if (!m->attached)
        trigger_step(&m->trigger, s, &seen);
    m->passed_by = !seen.wanted && s->n_sequences > 0;
    if (m->passed_by || m->overflowed) {
        pass_by(m, s, thread);
        return;
    }
    m->steps_seen++;
    if (s->watched && s->watched == s->graphs && !s->repeated) {
        m->graph_s += jl_s(s->graph_ns);
        m->stretch_s += jl_s(s->stretch_ns);
        m->stop_s += jl_s(s->stop_ns);
    }
    if (m->pass == MEASURE_PAIRED)
        keep_paired(m, s);
    if (s->prefilled > 0 || s->decoded == 0)
        prefill_step(m, s, thread);
    else
        decode_step(m, s, thread);
}

static void stage(struct measure *m, const struct ring_record *r)
{
    double seconds = jl_s(r->t1_ns - r->t0_ns), *host_s = m->host_s[m->pass];
    host_s[MEASURE_TOKENISE] += r->kind == WIRE_TOKENISE ? seconds : 0;
    if (m->passed_by)
        return; /* of a token that is in no sum */
    host_s[MEASURE_SAMPLE] += r->kind == WIRE_SAMPLE ? seconds - (double)r->a * 1e-9 : 0;
    host_s[MEASURE_DETOKENISE] += r->kind == WIRE_DETOKENISE ? seconds : 0;
}

static void keep_loop(struct measure *m, const struct ring_record *r)
{
    if (m->n_loops < MEASURE_LOOPS && r->t1_ns > r->t0_ns && !(r->flags & WIRE_FAILED))
        m->loops[m->n_loops++] = (struct measure_loop){.kind = measure_kind_of(r->kind),
                                                       .from_ns = r->t0_ns,
                                                       .to_ns = r->t1_ns,
                                                       .rounds = r->b,
                                                       .stretches = (double)r->b * r->tokens,
                                                       .ran_s = 1e-6 * r->a};
}

double measure_loop_ratio(const struct measure *m, enum measure_kind kind)
{
    const struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    double ran_s = 0, n = 0;
    for (size_t i = 0; i < m->n_loops; i++) {
        ran_s += m->loops[i].kind == kind ? m->loops[i].ran_s : 0;
        n += m->loops[i].kind == kind ? m->loops[i].stretches : 0;
    }
    return n > 0 && p->first_s[kind] > 0 ? ran_s / n / (p->first_s[kind] / (double)p->first_n[kind]) : NAN;
}

/* Half of a step would be worse than none: what is missing would count as the rest. */
static void add_pending(struct measure *m, const struct ring_record *r)
{
    if (!m->overflowed && m->n_pending < MEASURE_PENDING) {
        m->pending[m->n_pending++] = *r;
        return;
    }
    m->overflows += !m->overflowed;
    m->overflowed = true;
    m->n_pending = 0;
}

void measure_record(struct measure *m, const struct ring_record *r)
{
    struct profile_step s;
    m->records += m->pass != MEASURE_TEXT; /* there they are as many as there were words */
    if (r->kind == WIRE_LOAD)
        m->load_s += jl_s(r->t1_ns - r->t0_ns);
    if (r->t0_ns < m->pass_from_ns || r->t1_ns < r->t0_ns)
        return;
    if (r->flags & WIRE_LOOPED)
        keep_loop(m, r);
    if (m->pass == MEASURE_REPLAY || r->flags & WIRE_LOOPED)
        return;
    if (r->kind >= WIRE_EMBEDDING && r->kind < WIRE_KINDS && !(r->flags & WIRE_OUTSIDE))
        add_pending(m, r);
    else if (r->kind < WIRE_EMBEDDING)
        stage(m, r);
    if (steps_add(&m->steps, r, &s) && !s.failed)
        step_ended(m, &s, r->thread);
}

void measure_end(struct measure *m)
{
    m->n_pending = 0;
    m->has_before = false;
}

/* ---- samples ----------------------------------------------------------------------------------------------------------- */

static bool add_sample(struct measure *m, struct joulet_trace *t, const struct joulet_sample *s)
{
    if (t->n >= MEASURE_SAMPLES)
        return false;
    if (!t->samples && !(t->samples = malloc(MEASURE_SAMPLES * sizeof *t->samples))) {
        m->failed = true;
        return false;
    }
    t->samples[t->n++] = *s;
    return true;
}

/* Samples whose windows lie in [from, to), whatever the lag is within its uncertainty; before them a cut. */
static void add_span(struct measure *m, enum measure_phase phase, size_t channel, const struct joulet_trace *t, int64_t from_ns,
                     int64_t to_ns)
{
    const struct joulet_channel *ch = &t->channel;
    struct joulet_trace *own = &m->channels[phase][channel].trace;
    int64_t lag = jl_ns(ch->lag_s), open = jl_ns(3 * ch->u_lag_s);
    int64_t first = from_ns + lag + open + (ch->quantity == JOULET_POWER ? jl_ns(ch->window_s) : 0), last = to_ns + lag - open;
    bool cut = false;
    if (!own->samples)
        own->channel = *ch;
    for (size_t i = 0; i < t->n; i++) {
        const struct joulet_sample *s = &t->samples[i];
        if (s->t_ns < first || s->t_ns > last || s->flags & JOULET_SAMPLE_LAST)
            continue;
        if (!cut)
            add_sample(m, own,
                       &(struct joulet_sample){
                           .t_ns = s->t_ns - 1, .value = s->value, .flags = JOULET_SAMPLE_FAILED | JOULET_SAMPLE_RESET});
        cut = true;
        add_sample(m, own, s);
    }
}

static int64_t earlier(int64_t to_ns, const struct measure_of_phase *p)
{
    return p->full && p->until_ns < to_ns ? p->until_ns : to_ns;
}

void measure_samples(struct measure *m, size_t channel, const struct joulet_trace *t, double idle_w, double u_idle_w)
{
    if (channel >= MEASURE_CHANNELS || !m->keeping)
        return;
    if (channel >= m->n_channels)
        m->n_channels = channel + 1;
    for (int p = 0; p < MEASURE_PHASES; p++) {
        m->channels[p][channel].idle_w = idle_w;
        m->channels[p][channel].u_idle_w = u_idle_w;
    }
    int64_t prefill_to = earlier(m->prefill_to_ns, &m->phases[MEASURE_PREFILL]);
    int64_t decode_to = earlier(m->decode_to_ns, &m->phases[MEASURE_DECODE]);
    if (prefill_to > m->prefill_from_ns)
        add_span(m, MEASURE_PREFILL, channel, t, m->prefill_from_ns, prefill_to);
    if (m->pass == m->source && decode_to > m->decode_from_ns)
        add_span(m, MEASURE_DECODE, channel, t, m->decode_from_ns, decode_to);
}
