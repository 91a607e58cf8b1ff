/* follow.h - the processor time of a process and its descendants, from lists of all processes (docs/method.md 6.4). Pure: the
 * lists are read elsewhere. */
#ifndef JL_FOLLOW_H
#define JL_FOLLOW_H

#include "lib/platform/platform.h"

/* The list of the last look, and which of it are followed. */
struct jl_follow {
    struct jl_process_time *all;
    bool *member;
    size_t n;
    uint64_t used_ticks; /* since the first look */
    size_t members;
    double readings; /* counters that the sum was made of in the last look */
};

/* The first look: `pid` and its descendants; false when it is not in the list, or without memory. Takes `all` in every case. */
bool jl_follow_begin(struct jl_follow *f, int64_t pid, struct jl_process_time *all, size_t n);
/* A further look: what they used since the last one. Takes `all`; false without memory, then the old look stays. */
bool jl_follow_next(struct jl_follow *f, struct jl_process_time *all, size_t n);
bool jl_follow_has(const struct jl_follow *f, int64_t pid);
void jl_follow_end(struct jl_follow *f);

#endif
