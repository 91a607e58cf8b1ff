/* estimate_private.h - the sets that are compiled in (estimate_published.c), for the files of sets. */
#ifndef REPORT_ESTIMATE_PRIVATE_H
#define REPORT_ESTIMATE_PRIVATE_H

#include "report/estimate.h"

enum { ESTIMATE_PUBLISHED_SETS = 2 };
const char *estimate_published_name(size_t i); /* i < ESTIMATE_PUBLISHED_SETS; static */
bool estimate_is_published(const char *name);
enum joulet_status estimate_published(struct estimate_set *s, const char *name, struct joulet_error *err);

#endif
