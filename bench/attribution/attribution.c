/* attribution.c - how much of the energy of concurrent requests goes to the wrong one: a simulated engine of known energies, a
 * sensor with its lag and noise, and the meter between them, from its first second on: nothing was learnt before. Beside it the
 * rules that others use. One JSON object a line; --table writes the rows of docs/accuracy.md. */
#include "bench/attribution/rules.h"

#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const size_t levels[] = {1, 2, 4, 8, 16, 32, 0};
static const struct {
    const char *name, *title;
    double mean, p95; /* goals, % */
} rows[RULES] = {{"engine_events", "engine events", 2.5, 7},
                 {"token_clusters", "token clusters", 5, 15},
                 {"token_clusters_prompt_guessed", "token clusters, prompt counted at the end", 5, 15},
                 {"equal_time", "equal time", NAN, NAN},
                 {"token_share", "token share per window", NAN, NAN}};

struct figure {
    double mean, p95; /* % */
};

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Energy-weighted mean error, and the 95th percentile of requests. */
static bool judge(const struct history *h, const double *est, struct figure *f)
{
    double all = 0, off = 0, *each = calloc(h->n_requests, sizeof *each);
    if (!each)
        return false;
    for (size_t i = 0; i < h->n_requests; i++) {
        double e = fabs(est[i] - h->requests[i].energy_j);
        all += h->requests[i].energy_j;
        off += e;
        each[i] = e / h->requests[i].energy_j;
    }
    qsort(each, h->n_requests, sizeof *each, by_size);
    *f = (struct figure){100 * off / all, 100 * each[(size_t)(0.95 * (double)h->n_requests)]};
    free(each);
    return true;
}

static void print_figure(const char *machine, size_t level, const char *row, const char *what, double value, double goal)
{
    char concurrent[32] = "changing";
    if (level)
        snprintf(concurrent, sizeof concurrent, "%zu", level);
    printf("{\"figure\": \"attribution.%s.%s.%s.%s\", \"value\": %.3f, \"unit\": \"%%\", \"goal\": ", machine, concurrent, row,
           what, value);
    if (isfinite(goal))
        printf("%g, \"baseline\": null, \"meets\": %s}\n", goal, value <= goal ? "true" : "false");
    else
        printf("null, \"baseline\": null, \"meets\": null}\n");
}

/* All rules over one history. learnt: of each rule, what it knows at first and in the end. */
static bool measure(const struct machine *m, size_t level, size_t requests, uint64_t seed, char (*learnt)[JOULET_LEARNT_MAX],
                    struct figure out[RULES])
{
    bool small = m->peak_flops < 1e13;
    struct workload w = {.concurrent = level,
                         .requests = requests,
                         .prompt = small ? 60 : 200,
                         .long_part = 0.1,
                         .output = 100,
                         .think_s = 0.3,
                         .seed = seed * 1000 + level};
    struct sensor_spec s = {
        .period_s = 0.1, .jitter_s = 0.002, .lag_error_s = 0.003, .quantum_j = 1e-3, .noise = 0.003, .seed = seed + 7};
    struct history h;
    struct seen_window *windows = NULL;
    size_t n = 0;
    bool ok = history_make(&h, m, &w) && history_windows(&h, &s, &windows, &n);
    double *est = ok ? malloc(h.n_requests * sizeof *est) : NULL;
    ok = est != NULL;
    for (int r = 0; r < RULES && ok; r++) {
        memset(est, 0, h.n_requests * sizeof *est);
        ok = rule_shares((enum rule)r, &h, windows, n, est, learnt[r]) && judge(&h, est, &out[r]);
    }
    free(est);
    free(windows);
    history_release(&h);
    return ok;
}

struct asked {
    size_t requests, before; /* before: of an earlier run, whose weights were kept */
    uint64_t seed;
    bool table, check;
};

static bool measure_one(const struct asked *a, const struct machine *m, size_t level, struct figure out[RULES])
{
    char learnt[RULES][JOULET_LEARNT_MAX] = {{0}};
    return (!a->before || measure(m, level, a->before, a->seed + 500, learnt, out)) &&
           measure(m, level, a->requests, a->seed, learnt, out);
}

static bool read_options(int argc, char **argv, struct asked *a)
{
    static const struct option options[] = {{"requests", required_argument, NULL, 'r'}, {"before", required_argument, NULL, 'b'},
                                            {"seed", required_argument, NULL, 's'},     {"table", no_argument, NULL, 't'},
                                            {"check", no_argument, NULL, 'c'},          {NULL, 0, NULL, 0}};
    int c;
    while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
        uint64_t n = 0;
        if (optarg && !jl_parse_u64(optarg, &n))
            return false;
        if (c == 'r' && n >= 100 && n <= 100000)
            a->requests = n;
        else if (c == 'b' && n >= 100 && n <= 100000)
            a->before = n;
        else if (c == 's')
            a->seed = n;
        else if (c == 't')
            a->table = true;
        else if (c == 'c')
            a->check = true;
        else
            return false;
    }
    return optind == argc;
}

static void print_row(const char *machine, size_t level, const struct figure f[RULES])
{
    if (level)
        printf("| %s | %zu |", machine, level);
    else
        printf("| %s | 1 to 32, changing |", machine);
    for (int r = 0; r < RULES; r++)
        printf(" %.1f / %.1f |", f[r].mean, f[r].p95);
    printf("\n");
}

int main(int argc, char **argv)
{
    struct asked a = {.requests = 1500, .seed = 1};
    bool meets = true;
    if (!read_options(argc, argv, &a)) {
        fprintf(stderr, "usage: attribution [--requests N] [--before N] [--seed N] [--table] [--check]\n");
        return 2;
    }
    for (size_t i = 0; i < n_machines; i++)
        for (size_t k = 0; k < JL_COUNT(levels); k++) {
            struct figure f[RULES];
            if (!measure_one(&a, &machines[i], levels[k], f)) {
                fprintf(stderr, "attribution: out of memory, or the meter refused\n");
                return 1;
            }
            if (a.table)
                print_row(machines[i].name, levels[k], f);
            for (int r = 0; r < RULES; r++) {
                if (!a.table) {
                    print_figure(machines[i].name, levels[k], rows[r].name, "misplaced", f[r].mean, rows[r].mean);
                    print_figure(machines[i].name, levels[k], rows[r].name, "p95", f[r].p95, rows[r].p95);
                }
                meets = meets && !(f[r].mean > rows[r].mean) && !(f[r].p95 > rows[r].p95);
            }
            fflush(stdout);
        }
    return a.check && !meets;
}
