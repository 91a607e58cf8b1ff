/* trigger.c - see trigger.h. Tokens of an answer are counted by slot: its first one comes from the prompt, each step with one
 * token of the slot gives one more. The last token of a prompt that came alone cannot be told from an answer's (steps.h). */
#include "profile/trigger.h"

#include <string.h>

void trigger_init(struct trigger *t, const struct trigger_wish *w)
{
    *t = (struct trigger){.wish = *w};
}

void trigger_forget(struct trigger *t)
{
    memset(t->slots, 0, sizeof t->slots);
}

/* Where there is no room the one that was silent longest makes some. */
static struct trigger_slot *slot_of(struct trigger *t, uint32_t context, uint32_t id)
{
    struct trigger_slot *oldest = &t->slots[0];
    for (size_t i = 0; i < TRIGGER_SLOTS; i++) {
        struct trigger_slot *q = &t->slots[i];
        if (q->used && q->context == context && q->id == id)
            return q;
        if (oldest->used && (!q->used || q->last_ns < oldest->last_ns))
            oldest = q;
    }
    *oldest = (struct trigger_slot){.context = context, .id = id, .next = WIRE_UNKNOWN};
    return oldest;
}

/* Models with places in a plane (M-RoPE) go on after an image by its longer side, not by its vectors; those of one image have all
 * the same place, also where they come in several steps. */
static bool after_image(const struct trigger_slot *q, const struct step_sequence *in)
{
    return q->vectors && !q->decodes && in->position >= q->at && in->position < q->next;
}

static bool begins(const struct trigger_slot *q, const struct step_sequence *in)
{
    bool follows = in->position == WIRE_UNKNOWN || q->next == WIRE_UNKNOWN || in->position == q->next || after_image(q, in);
    return !q->used || !follows || (q->decodes && in->tokens > 1);
}

static void one_sequence(struct trigger *t, const struct profile_step *s, const struct step_sequence *in,
                         struct trigger_seen *out)
{
    struct trigger_slot *q = slot_of(t, s->context, in->id);
    uint32_t tokens = in->tokens == WIRE_UNKNOWN ? 1 : in->tokens;
    bool fresh = begins(q, in), mine = t->wish.slot < 0 || in->id == (uint64_t)t->wish.slot;
    if (fresh) {
        q->decodes = false;
        q->answered = 0;
        q->counted = mine && (t->wish.requests <= 0 || t->begun < t->wish.requests);
        t->begun += q->counted;
        out->begins |= q->counted;
    }
    bool decodes = tokens == 1 && !fresh && !s->vectors;
    q->answered = decodes ? (q->answered ? q->answered : 1) + 1 : 0;
    q->decodes = decodes;
    q->used = true;
    q->next = in->position == WIRE_UNKNOWN ? WIRE_UNKNOWN : in->position + tokens;
    q->at = in->position;
    q->vectors = s->vectors;
    q->last_ns = s->t1_ns;
    bool wanted = q->counted && (t->wish.first_tokens <= 0 || q->answered <= t->wish.first_tokens);
    if (wanted && !out->wanted)
        out->position = in->position == WIRE_UNKNOWN ? 0 : in->position;
    out->wanted |= wanted;
    *(wanted ? &out->own : &out->others) += tokens;
    out->prompt += wanted && !decodes ? tokens : 0;
}

void trigger_step(struct trigger *t, const struct profile_step *s, struct trigger_seen *out)
{
    *out = (struct trigger_seen){.wanted = false};
    uint32_t n = s->n_sequences < STEP_SEQUENCES ? s->n_sequences : STEP_SEQUENCES;
    for (uint32_t i = 0; i < n; i++)
        one_sequence(t, s, &s->sequences[i], out);
    t->wanted = out->wanted;
}

bool trigger_over(const struct trigger *t, int64_t now_ns, int64_t quiet_ns)
{
    if (t->wish.requests <= 0 || t->begun < t->wish.requests)
        return false;
    for (size_t i = 0; i < TRIGGER_SLOTS; i++)
        if (t->slots[i].counted && now_ns - t->slots[i].last_ns < quiet_ns)
            return false;
    return true;
}
