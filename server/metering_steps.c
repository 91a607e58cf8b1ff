/* metering_steps.c - which sequence of an engine is whose request, by exclusion (docs/method.md 7.7).
 *
 * When the first piece of an answer comes, its sequence has been computed at least once since the request arrived, and it is not
 * that of another request that is known. So every sequence with a step in that time is a candidate, however it got there
 * (requests of other clients, other contexts); the one exception are sequences that were being computed at the moment when the
 * request came, and only went on, token after token: they were somebody's before. When one candidate is left it is the right
 * one, provided that nothing the probe wrote was missed. With several the request stays with the times at which its pieces are
 * seen, and claims one of them: k requests that claim the same k sequences leave none of these for another. */
#include "server/metering_steps.h"

#include "profile/steps.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BATCH   256
#define SNAP_NS JL_NS_PER_S /* pieces come at most so much later than their step */

struct sequence {
    uint32_t context, id, next; /* next: position that follows */
    bool used, decodes;         /* its prompt is done */
    int64_t start_ns;           /* of the prompt that it computes, or computed */
    int64_t t0_ns, t1_ns;       /* its last step */
    double prompt, cached, made;
    struct metering_follower *owner;
};

struct metering_steps {
    struct ring *ring;
    char *path;
    bool off; /* what it tells cannot be used */
    uint64_t missed;
    struct steps records;
    struct ring_record batch[BATCH];
    size_t at, n;
    bool ready;
    struct profile_step next; /* read, and later than what may be told */
    struct sequence sequences[STEPS_SLOTS];
    struct metering_follower *followers;
    int64_t last_ns; /* end of the last step; */
    bool last_open;  /* it had sequences of which it is not known whose they are */
    int64_t requests;
};

/* ---- finding it ---------------------------------------------------------------------------------------------------------- */

char *metering_steps_look(const char *folder, int64_t pid, const struct joulet_followed *followed)
{
    struct jl_process_time *all = NULL;
    size_t n = 0, found = 0;
    char *path = pid > 0 ? ring_find(folder, pid) : NULL;
    if (path || !followed || jl_processes(&all, &n, NULL) != JOULET_OK)
        return path;
    for (size_t i = 0; i < n; i++) { /* runners of Ollama: one may be told apart, not several */
        char *its = joulet_follow_has(followed, all[i].pid) ? ring_find(folder, all[i].pid) : NULL;
        found += its != NULL;
        if (found == 1 && its)
            path = its;
        else
            free(its);
    }
    free(all);
    if (found <= 1)
        return path;
    free(path);
    return NULL;
}

static bool on_processor(const struct ring_info *info)
{
    return strspn(info->device, "CPUBLAS,") == strlen(info->device);
}

static void forget(struct metering_steps *s)
{
    while (s->followers) {
        struct metering_follower *f = s->followers;
        s->followers = f->next;
        *f = (struct metering_follower){.slot = -1, .told = f->told, .pieces = f->pieces};
    }
    for (size_t i = 0; i < STEPS_SLOTS; i++)
        s->sequences[i].used = false;
    s->last_open = false;
}

static void steps_free(struct metering_steps *s)
{
    if (!s)
        return;
    forget(s);
    ring_close(s->ring);
    free(s->path);
    free(s);
}

/* What was written before is passed by: whose it was nobody knows. */
static void pass_by(struct metering_steps *s)
{
    while (ring_read(s->ring, s->batch, BATCH) > 0)
        continue;
    s->missed = ring_lost(s->ring) + ring_broken(s->ring);
}

void metering_steps_use(struct metering *m, size_t place, const char *path)
{
    struct metering_host *p = &m->places[place];
    if (p->steps && path && strcmp(p->steps->path, path) == 0)
        return;
    steps_free(p->steps);
    p->steps = NULL;
    struct metering_steps *s = path ? calloc(1, sizeof *s) : NULL;
    if (!s)
        return;
    s->path = jl_strdup(path);
    steps_init(&s->records);
    if (!s->path || ring_open(&s->ring, path, NULL) != JOULET_OK) {
        steps_free(s);
        return;
    }
    pass_by(s);
    p->steps = s;
}

void metering_steps_close(struct metering *m)
{
    for (size_t i = 0; i < m->n_places; i++) {
        steps_free(m->places[i].steps);
        m->places[i].steps = NULL;
    }
}

int64_t metering_steps_requests(const struct metering_host *p)
{
    return p->steps && !p->steps->off ? p->steps->requests : -1;
}

/* ---- a step -------------------------------------------------------------------------------------------------------------- */

static uint64_t bit(size_t i)
{
    return (uint64_t)1 << i;
}

static size_t sequence_of(struct metering_steps *s, uint32_t context, uint32_t id)
{
    size_t free_one = STEPS_SLOTS;
    for (size_t i = 0; i < STEPS_SLOTS; i++) {
        const struct sequence *q = &s->sequences[i];
        if (q->used && q->context == context && q->id == id)
            return i;
        if (!q->used && free_one == STEPS_SLOTS)
            free_one = i;
    }
    if (free_one < STEPS_SLOTS)
        s->sequences[free_one] = (struct sequence){.used = true, .context = context, .id = id, .next = WIRE_UNKNOWN};
    return free_one;
}

static void let_go(struct metering_steps *s, struct metering_follower *f)
{
    if (f->slot >= 0)
        s->sequences[f->slot].owner = NULL;
    f->slot = -1;
}

/* A sequence of which it is not known whose it is was computed: he may wait for it. Those who had a piece already and claim it
 * have it not when it still is at its prompt. When it begins another one they have it not, or are over, which pieces of them
 * that still come will tell. */
static void offer(struct metering_steps *s, size_t i, const struct profile_step *p, bool goes_on, bool same_prompt)
{
    for (struct metering_follower *f = s->followers; f; f = f->next) {
        if (!f->waits) {
            bool begins = f->slot < 0 && f->candidates & bit(i) && !goes_on;
            f->candidates &= begins ? ~bit(i) : ~(uint64_t)0;
            if (begins && !same_prompt) {
                f->renewed = true;
                f->doubt = f->pieces + 2;
            }
            continue;
        }
        if (p->t0_ns < f->arrived_ns) {
            f->spanned |= p->t1_ns > f->arrived_ns ? bit(i) : 0;
        } else if (!(f->spanned & bit(i)) || !goes_on) {
            f->spanned &= ~bit(i);
            f->candidates |= bit(i);
        }
    }
}

static void count(struct sequence *q, const struct step_sequence *in, const struct profile_step *p, bool goes_on)
{
    bool follows = in->position != WIRE_UNKNOWN && in->position == q->next;
    if (!goes_on && (!follows || q->decodes || q->prompt <= 0)) {
        q->start_ns = p->t0_ns;
        q->cached = in->position == WIRE_UNKNOWN ? NAN : in->position;
        q->prompt = q->made = 0;
        q->decodes = false;
    }
    if (goes_on) {
        q->decodes = true;
        q->made += 1;
    } else {
        q->prompt += in->tokens;
    }
    q->next = in->position == WIRE_UNKNOWN ? WIRE_UNKNOWN : in->position + in->tokens;
    q->t0_ns = p->t0_ns;
    q->t1_ns = p->t1_ns;
}

/* ---- whose it is ------------------------------------------------------------------------------------------------------------
 */

/* Sequences that nobody is known to have, of those that may be his. */
static uint64_t open_ones(const struct metering_steps *s, uint64_t candidates)
{
    for (size_t i = 0; i < STEPS_SLOTS; i++)
        candidates &= s->sequences[i].owner ? ~bit(i) : ~(uint64_t)0;
    return candidates;
}

/* What of them another one claims, who shares them with all others who had a piece. He whose sequence may be another's by now
 * still has none that was begun later. */
static uint64_t claimed(const struct metering_steps *s, const struct metering_follower *f, const struct metering_follower *by)
{
    if (by == f || by->waits || by->slot >= 0 || (by->renewed && f->arrived_ns < by->first_ns))
        return 0;
    return open_ones(s, by->candidates);
}

/* As many claim nothing beside these as there are. */
static bool all_claimed(const struct metering_steps *s, const struct metering_follower *f, uint64_t these)
{
    int n = 0;
    for (const struct metering_follower *by = s->followers; by; by = by->next) {
        uint64_t its = claimed(s, f, by);
        n += its && !(its & ~these);
    }
    return these && n >= __builtin_popcountll(these);
}

static uint64_t without_claimed(const struct metering_steps *s, const struct metering_follower *f)
{
    uint64_t left = open_ones(s, f->candidates), any = 0, taken = 0;
    for (const struct metering_follower *by = s->followers; by; by = by->next) {
        uint64_t its = claimed(s, f, by);
        any |= its;
        taken |= all_claimed(s, f, its) ? its : 0;
    }
    taken |= all_claimed(s, f, any) ? any : 0;
    return left & ~taken;
}

/* What its sequence made and was not seen yet is told now, from then on each token with its step. */
static void own(struct metering *m, struct metering_steps *s, struct metering_follower *f, size_t slot)
{
    struct sequence *q = &s->sequences[slot];
    bool fresh = q->start_ns >= f->arrived_ns; /* else the end of its prompt looked like another's next token */
    q->owner = f;
    f->slot = (int)slot;
    s->requests++;
    f->told = fmax(f->pieces, fresh ? 1 + q->made : 1);
    if (fresh) {
        f->prompt = q->prompt;
        if (!isnan(q->cached))
            joulet_attribution_prompt(m->attribution, f->request, q->prompt, q->cached + q->prompt, NULL);
    }
    if (f->told > f->pieces)
        joulet_attribution_tokens(m->attribution, f->request, f->told - f->pieces, q->t1_ns, NULL);
}

/* All who have had a piece, as long as one more is known. */
static void settle(struct metering *m, struct metering_steps *s)
{
    for (bool again = true; again;) {
        again = false;
        for (struct metering_follower *f = s->followers; f; f = f->next) {
            bool may = !f->waits && f->slot < 0 && f->candidates && f->pieces >= f->doubt;
            uint64_t left = may ? without_claimed(s, f) : 0;
            if (!left || left & (left - 1))
                continue;
            own(m, s, f, (size_t)__builtin_ctzll(left));
            again = true;
        }
    }
}

/* ---- telling ----------------------------------------------------------------------------------------------------------------
 */

static void one_sequence(struct metering *m, struct metering_steps *s, size_t i, const struct step_sequence *in,
                         const struct profile_step *p)
{
    struct sequence *q = &s->sequences[i];
    bool goes_on = in->tokens == 1 && q->prompt > 0 && in->position != WIRE_UNKNOWN && in->position == q->next;
    if (q->owner &&
        !goes_on) /* it serves the next one already, or computes in a way that cannot be told: context shifts, drafts */
        let_go(s, q->owner);
    if (q->owner) {
        joulet_attribution_tokens(m->attribution, q->owner->request, 1, p->t1_ns, NULL);
        q->owner->told += 1;
    } else {
        offer(s, i, p, goes_on, !goes_on && !q->decodes && in->position != WIRE_UNKNOWN && in->position == q->next);
        s->last_open = true;
    }
    count(q, in, p, goes_on);
}

/* Those that were not computed this time do not just go on. */
static void drop_absent(struct metering_steps *s, uint32_t context, uint64_t present)
{
    uint64_t others = 0;
    for (size_t i = 0; i < STEPS_SLOTS; i++)
        others |= s->sequences[i].used && s->sequences[i].context != context ? bit(i) : 0;
    for (struct metering_follower *f = s->followers; f; f = f->next)
        f->spanned &= present | others;
}

static void one_step(struct metering *m, struct metering_steps *s, const struct profile_step *p)
{
    uint64_t present = 0;
    if (p->failed)
        return;
    if (p->n_sequences == 0 || p->n_sequences > STEP_SEQUENCES) { /* whose they are cannot be told */
        forget(s);
        s->off = true;
        return;
    }
    s->last_ns = p->t1_ns;
    s->last_open = false;
    for (uint32_t k = 0; k < p->n_sequences; k++) {
        size_t i = sequence_of(s, p->context, p->sequences[k].id);
        if (i == STEPS_SLOTS) {
            forget(s);
            s->off = true;
            return;
        }
        one_sequence(m, s, i, &p->sequences[k], p);
        present |= bit(i);
    }
    drop_absent(s, p->context, present);
    settle(m, s);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------- */

static bool read_step(struct metering_steps *s)
{
    while (!s->ready) {
        if (s->at == s->n) {
            s->at = 0;
            s->n = ring_read(s->ring, s->batch, BATCH);
            if (!s->n)
                return false;
        }
        s->ready = steps_add(&s->records, &s->batch[s->at++], &s->next);
    }
    return true;
}

static void tell_until(struct metering *m, struct metering_steps *s, int64_t t_ns)
{
    while (!s->off && read_step(s)) {
        uint64_t missed = ring_lost(s->ring) + ring_broken(s->ring) + s->records.dropped;
        if (missed != s->missed)
            forget(s);
        s->missed = missed;
        if (s->next.t1_ns > t_ns)
            return;
        one_step(m, s, &s->next);
        s->ready = false;
    }
}

void metering_steps_until(struct metering *m, int64_t t_ns)
{
    for (size_t i = 0; i < m->n_places; i++)
        if (m->places[i].steps)
            tell_until(m, m->places[i].steps, t_ns);
}

/* ---- requests -------------------------------------------------------------------------------------------------------------- */

/* On devices that compute on their own a step ends later than its call. */
static bool can_be_used(struct metering_steps *s)
{
    struct ring_info info;
    if (s->requests || s->off)
        return !s->off;
    ring_info(s->ring, &info);
    s->off = !on_processor(&info);
    return !s->off;
}

void metering_steps_enter(struct metering *m, size_t place, struct metering_follower *f, size_t request, int64_t arrived_ns)
{
    struct metering_steps *s = place == NOWHERE ? NULL : m->places[place].steps;
    *f = (struct metering_follower){.slot = -1};
    if (!s || !can_be_used(s))
        return;
    *f = (struct metering_follower){
        .next = s->followers, .steps = s, .arrived_ns = arrived_ns, .request = request, .waits = true, .slot = -1, .prompt = NAN};
    s->followers = f;
    for (size_t i = 0; i < STEPS_SLOTS; i++) { /* what was told before it was known of */
        const struct sequence *q = &s->sequences[i];
        if (!q->used || q->owner)
            continue;
        f->candidates |= q->t0_ns >= arrived_ns ? bit(i) : 0;
        f->spanned |= q->t0_ns < arrived_ns && q->t1_ns > arrived_ns ? bit(i) : 0;
    }
}

bool metering_steps_piece(struct metering *m, struct metering_follower *f, double *tokens, int64_t *t_ns)
{
    struct metering_steps *s = f->steps;
    double n = isnan(*tokens) ? 1 : *tokens, ahead = f->told - f->pieces;
    if (s && f->waits) {
        f->waits = false; /* everything that can be its sequence is known */
        f->first_ns = *t_ns;
        settle(m, s);
        ahead = f->told - f->pieces;
    }
    f->pieces += n;
    if (s && f->slot >= 0 && f->pieces <= f->told + 1)
        return false;
    if (s && f->slot >= 0) { /* more came than its sequence can have made */
        s->off = true;
        ahead = f->told - (f->pieces - n);
        forget(s);
    } else if (s && s->last_open && *t_ns >= s->last_ns && *t_ns - s->last_ns < SNAP_NS) {
        *t_ns = s->last_ns; /* one of its sequences made it */
    }
    if (ahead <= 0)
        return true;
    *tokens = n - ahead;
    return *tokens > 0;
}

void metering_steps_leave(struct metering *m, struct metering_follower *f, int64_t computed)
{
    struct metering_steps *s = f->steps;
    (void)m;
    if (!s)
        return;
    if (f->slot >= 0 && computed >= 0 && !isnan(f->prompt) && fabs((double)computed - f->prompt) > 1) {
        s->off = true; /* it was another's */
        forget(s);
        return;
    }
    let_go(s, f);
    struct metering_follower **at = &s->followers;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    f->steps = NULL;
}
