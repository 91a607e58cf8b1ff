/* profile.h - views of the record of a profile: words, tables, a heat map of layers and components, power over time, and the data
 * that charts of it need (docs/profile-record.md). */
#ifndef REPORT_PROFILE_H
#define REPORT_PROFILE_H

#include "report/report.h"
#include "run/profile.h"

struct report_profile_options {
    bool layers;       /* every layer in a line of its own, instead of the heat map */
    const char *phase; /* components of this one; NULL: prefill and decode */
};
/* What `joulet profile` ends with and `joulet profile show` prints. options NULL: none. */
void report_profile(struct jl_buf *out, const struct run_profile *p, const struct report_profile_options *options,
                    const struct report_style *style);
/* The data behind Sankey, heat map, power, bars and series: JSON, "joulet.profile-view/1". */
void report_profile_data(struct jl_buf *out, const struct run_profile *p);

/* `joulet profile list`. */
struct report_profile_list;
struct report_profile_list *report_profile_list_new(void); /* NULL on no memory: then nothing is listed */
void report_profile_list_add(struct report_profile_list *l, const struct run_profile *p, const struct report_style *style);
void report_profile_list_write(struct report_profile_list *l, struct jl_buf *out,
                               const struct report_style *style); /* and frees */

/* B against A: per token, per parameter, per FLOP, and what of it cannot be compared. */
void report_profile_compare(struct jl_buf *out, const struct run_profile *a, const struct run_profile *b,
                            const struct report_style *style);
void report_profile_compare_json(struct jl_buf *out, const struct run_profile *a, const struct run_profile *b);

#endif
