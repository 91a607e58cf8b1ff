/* powermetrics.h - what Apple's powermetrics prints, as text or as property lists: one span of time after the other. Pure. */
#ifndef JL_POWERMETRICS_H
#define JL_POWERMETRICS_H

#include "lib/base/base.h"

enum pm_part { PM_CPU, PM_GPU, PM_ANE, PM_DRAM, PM_COMBINED, PM_PACKAGE, PM_PARTS };

/* One span: what it lasted, and the energy of each part in it. NAN: not told. */
struct pm_span {
    double elapsed_s;
    double energy_j[PM_PARTS];
};

#define PM_DOCUMENT_MAX ((size_t)4 << 20) /* a sample with every task of the machine stays far below */

/* Bytes as they come, in any pieces; a span when one is whole. Text samples end where the next begins, property lists at a NUL
 * byte or their last tag. */
struct pm_decoder {
    struct jl_buf bytes;
    size_t scanned;
    uint64_t bad; /* samples that could not be understood */
};
void pm_init(struct pm_decoder *d);
void pm_release(struct pm_decoder *d);
/* False when out of memory, or when a sample is longer than PM_DOCUMENT_MAX: what there is of it is dropped and counted as bad.
 */
bool pm_feed(struct pm_decoder *d, const char *bytes, size_t n);
/* The next whole span; false when more bytes are needed. `ended`: no more will come, so the last text sample is whole. */
bool pm_next(struct pm_decoder *d, bool ended, struct pm_span *out);

/* What is there of a sample will not go on: it is dropped, and counted as bad. */
void pm_forget(struct pm_decoder *d);

/* One sample; false when it tells no length or no energy. */
bool pm_text(const char *text, size_t n, struct pm_span *out);
bool pm_plist(const char *xml, size_t n, struct pm_span *out);

/* How long the first sample is waited for: a pipe may carry one every 5 s. Tests shorten it, nothing else writes it. */
extern int64_t powermetrics_first_ns;

#endif
