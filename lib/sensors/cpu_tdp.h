/* cpu_tdp.h - thermal design power of a processor by its marketing name. Pure. */
#ifndef JL_CPU_TDP_H
#define JL_CPU_TDP_H

#include <stddef.h>

/* Looks `cpu` up in a CSV of cpu_name,tdp_w. W, and the name of the row in matched (may be NULL); NAN when no row names it. */
double cpu_tdp_find(const char *csv, size_t len, const char *cpu, char *matched, size_t size);

#endif
