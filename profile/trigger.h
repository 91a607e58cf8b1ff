/* trigger.h - which steps of an engine are wanted: those of one slot, of the first tokens of each answer, of so many requests. A
 * request of a slot is told by its positions: one begins with several tokens after an answer, or at a place that does not follow
 * the last one (after an image there are several that do). Pure. */
#ifndef PROFILE_TRIGGER_H
#define PROFILE_TRIGGER_H

#include "profile/steps.h"

#define TRIGGER_SLOTS 64

struct trigger_wish {
    int64_t first_tokens; /* of each answer, the one that its prompt gives included; 0: all */
    int64_t slot;         /* number of the sequence; -1: all */
    int64_t requests;     /* 0: all */
};
struct trigger_slot {
    bool used, decodes, counted; /* decodes: its prompt is done; counted: its request is among those wanted */
    uint32_t context, id, next;  /* next: position that follows, WIRE_UNKNOWN */
    uint32_t at;                 /* position of its last step */
    bool vectors;                /* that was of an image or a sound */
    int64_t answered;            /* tokens of its answer so far */
    int64_t last_ns;             /* end of its last step */
};
struct trigger {
    struct trigger_wish wish;
    struct trigger_slot slots[TRIGGER_SLOTS];
    int64_t begun; /* requests that are wanted */
    bool wanted;   /* the last step was */
};
/* Of one step. */
struct trigger_seen {
    bool wanted;             /* it counts: a wanted sequence is in it */
    bool begins;             /* a wanted request begins in it */
    uint32_t own, others;    /* tokens of wanted sequences in it, and of others */
    double prompt, position; /* tokens of prompts in it, wanted ones; position of the first of them or of the first token */
};
void trigger_init(struct trigger *t, const struct trigger_wish *w);
/* What is under way is forgotten: what comes next are new requests. */
void trigger_forget(struct trigger *t);
void trigger_step(struct trigger *t, const struct profile_step *s, struct trigger_seen *out);
/* As many requests as were wanted have begun, and each of them is over: its slot serves another one, or nothing was computed for
 * it for quiet_ns. */
bool trigger_over(const struct trigger *t, int64_t now_ns, int64_t quiet_ns);

#endif
