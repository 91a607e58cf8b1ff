/* profile_internal.h - the rows of a profile's record, for its writer, its reader and its table. */
#ifndef RUN_PROFILE_INTERNAL_H
#define RUN_PROFILE_INTERNAL_H

#include "run/internal.h"
#include "run/profile.h"

extern const struct field profile_fields[], profile_how_fields[], profile_phase_fields[], profile_row_fields[],
    profile_point_fields[], profile_replay_fields[], profile_host_fields[], profile_sample_fields[], profile_span_fields[],
    profile_advice_fields[];

extern const struct pairs_row profile_pairs[];
extern const size_t profile_pairs_count;

/* A list of structs in struct run_profile, in the order of the record. */
struct profile_list {
    const char *key;
    size_t items, n; /* offsets of the pointer and of its length */
    size_t size;     /* of one item */
    const struct field *rows;
    size_t most; /* items that are read */
};
extern const struct profile_list profile_lists[];
extern const size_t profile_lists_count;

#endif
