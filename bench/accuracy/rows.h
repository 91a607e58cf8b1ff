/* rows.h - the rows of the accuracy table, in its order. */
#ifndef ACCURACY_ROWS_H
#define ACCURACY_ROWS_H

#include "bench/accuracy/window.h"

extern const struct row rows[];
extern const size_t n_rows;

#endif
