/* accuracy.c - how far the figures are from a truth that is known: every row of docs/accuracy.md from one seed.
 *
 *     accuracy [--windows N] [--more N] [--seed S] [--devices N] [--row NAME]... [--markdown] [--check] [--threads N]
 *
 * A cell whose rms comes within a tenth of its goal, on either side, is drawn again with N times as many windows on N times as
 * many devices (--more, 5 unless told, 1 for never), and these count: chance does not decide whether it meets its goal.
 * One JSON object a line, or the table in Markdown. --check ends with 1 when a cell leaves its goal; below 1000 windows a cell
 * three standard deviations of chance are allowed for. The same seed gives the same table, however many threads. */
#include "bench/accuracy/cell.h"
#include "bench/accuracy/report.h"
#include "bench/accuracy/rows.h"

#include "lib/platform/platform.h"
#include "lib/sensors/sensor.h"

#include <getopt.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOWS     1000
#define DEVICES     250 /* at most; at least DEVICES_MIN where there are so many windows */
#define DEVICES_MIN 50
#define MORE        5
#define NEAR        0.1 /* of a goal: so near to it more windows are drawn */
#define SLOW_PART   3   /* of the windows of a small table for slow meters */
#define WRAPS       1000000
#define THREADS_MAX 64

struct options {
    struct setting setting;
    bool markdown, check;
    int threads;
    size_t more;
    const char *only[64];
    size_t n_only;
};

/* ---- restarts of a counter ------------------------------------------------------------------------------------------------ */

/* Counters of random ranges, grown by random amounts; the growth that the library sees beside the true one. */
static size_t wraps_lost(uint64_t seed)
{
    struct chance c = chance_of(seed, "wraps", 0);
    size_t lost = 0;
    for (size_t wraps = 0; wraps < WRAPS;) {
        uint64_t range = 2 + jl_rng_below(&c.rng, UINT64_C(1) << (2 + jl_rng_below(&c.rng, 46))),
                 raw = jl_rng_below(&c.rng, range);
        for (int i = 0; i < 64; i++) {
            uint64_t grown = jl_rng_below(&c.rng, range), next = (raw + grown) % range;
            wraps += raw + grown >= range;
            lost += jl_counter_delta(raw, next, range) != grown;
            raw = next;
        }
    }
    return lost;
}

/* ---- one cell ------------------------------------------------------------------------------------------------------------- */

struct work {
    const struct row *row;
    size_t length, n;
    const struct setting *setting;
    struct outcome *outcomes;
    atomic_size_t next;
};

static void work_on(void *arg)
{
    struct work *w = arg;
    for (size_t i = atomic_fetch_add(&w->next, 1); i < w->n; i = atomic_fetch_add(&w->next, 1))
        window_run(w->row, w->length, w->setting->seed, i, w->setting->devices, &w->outcomes[i]);
}

static bool draw_cell(const struct options *o, const struct setting *s, const struct row *row, size_t length, struct cell *out)
{
    struct work w = {.row = row, .length = length, .n = s->windows, .setting = s};
    struct jl_thread *threads[THREADS_MAX];
    int started = 0;
    w.outcomes = calloc(w.n, sizeof(*w.outcomes));
    if (!w.outcomes)
        return false;
    while (started + 1 < o->threads && jl_thread_start(&threads[started], "accuracy", work_on, &w, NULL) == JOULET_OK)
        started++;
    work_on(&w);
    while (started > 0)
        jl_thread_join(threads[--started]);
    cell_of(row, length, w.outcomes, w.n, out);
    free(w.outcomes);
    return true;
}

static bool is_near_its_goal(const struct cell *c)
{
    double goal = c->row->rms[c->length];
    return goal > 0 && fabs(c->rms - goal) < NEAR * goal;
}

/* A sample too small to tell on which side of its goal a cell lies is replaced by a larger one, whatever it says. */
static bool run_cell(const struct options *o, const struct row *row, size_t length, struct cell *out)
{
    struct setting own = o->setting, larger = o->setting;
    larger.windows *= o->more;
    larger.devices *= o->more;
    if (row->slow && own.windows < CELL_STRICT) /* a minute of power takes its time: a small table has fewer of them */
        own.windows = (own.windows + SLOW_PART - 1) / SLOW_PART;
    if (!draw_cell(o, &own, row, length, out))
        return false;
    bool enough = o->more < 2 || o->setting.windows < CELL_STRICT || !is_near_its_goal(out);
    return enough || draw_cell(o, &larger, row, length, out);
}

static bool is_asked(const struct options *o, const struct row *row)
{
    for (size_t i = 0; i < o->n_only; i++)
        if (strcmp(o->only[i], row->name) == 0)
            return true;
    return o->n_only == 0;
}

/* Cells of one row, those with a goal or shown without one; returns how many. */
static size_t run_row(const struct options *o, const struct row *row, struct cell *cells)
{
    size_t n = 0;
    for (size_t k = 0; k < LENGTHS; k++) {
        size_t i = window_order[k];
        if (row->rms[i] == 0 && row->mean[i] == 0)
            continue;
        if (!run_cell(o, row, i, &cells[n])) {
            fprintf(stderr, "accuracy: out of memory for %zu windows; ask for fewer with --windows\n", o->setting.windows);
            exit(1);
        }
        if (!o->markdown)
            report_cell_json(stdout, &cells[n]);
        fflush(stdout);
        n++;
    }
    if (!o->markdown)
        report_row_json(stdout, cells, n);
    return n;
}

/* ---- options -------------------------------------------------------------------------------------------------------------- */

static bool is_row(const char *name)
{
    for (size_t i = 0; i < n_rows; i++)
        if (strcmp(rows[i].name, name) == 0)
            return true;
    fprintf(stderr, "accuracy: there is no row %s; the rows are:", name);
    for (size_t i = 0; i < n_rows; i++)
        fprintf(stderr, " %s", rows[i].name);
    fprintf(stderr, "\n");
    return false;
}

static bool number(const char *text, uint64_t least, uint64_t most, uint64_t *out)
{
    if (jl_parse_u64(text, out) && *out >= least && *out <= most)
        return true;
    fprintf(stderr, "accuracy: %s is not a whole number from %llu to %llu\n", text, (unsigned long long)least,
            (unsigned long long)most);
    return false;
}

static bool take_option(struct options *o, int key, const char *value)
{
    uint64_t n;
    switch (key) {
    case 'w':
        return number(value, 1, 10000000, &n) && (o->setting.windows = (size_t)n, true);
    case 's':
        return number(value, 0, UINT64_MAX, &o->setting.seed);
    case 'd':
        return number(value, 1, 10000000, &n) && (o->setting.devices = (size_t)n, true);
    case 'n':
        return number(value, 1, 1000, &n) && (o->more = (size_t)n, true);
    case 't':
        return number(value, 1, THREADS_MAX, &n) && (o->threads = (int)n, true);
    case 'r':
        return is_row(value) && o->n_only < JL_COUNT(o->only) && (o->only[o->n_only++] = value, true);
    case 'm':
        return o->markdown = true;
    case 'c':
        return o->check = true;
    default:
        fprintf(stderr, "usage: accuracy [--windows N] [--more N] [--seed S] [--devices N] [--row NAME]... [--markdown] "
                        "[--check] [--threads N]\n");
        return false;
    }
}

static bool parse(struct options *o, int argc, char **argv)
{
    static const struct option longs[] = {
        {"windows", required_argument, NULL, 'w'},
        {"seed", required_argument, NULL, 's'},
        {"devices", required_argument, NULL, 'd'},
        {"threads", required_argument, NULL, 't'},
        {"more", required_argument, NULL, 'n'},
        {"row", required_argument, NULL, 'r'},
        {"markdown", no_argument, NULL, 'm'},
        {"check", no_argument, NULL, 'c'},
        {NULL, 0, NULL, 0},
    };
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    *o = (struct options){.setting = {.seed = 1, .windows = WINDOWS},
                          .more = MORE,
                          .threads = cores < 1   ? 1
                                     : cores > 8 ? 8
                                                 : (int)cores};
    for (int key; (key = getopt_long(argc, argv, "", longs, NULL)) != -1;)
        if (!take_option(o, key, optarg))
            return false;
    size_t quarter = o->setting.windows / 4;
    if (o->setting.devices == 0)
        o->setting.devices = quarter > DEVICES ? DEVICES : quarter > DEVICES_MIN ? quarter : DEVICES_MIN;
    return true;
}

int main(int argc, char **argv)
{
    struct options o;
    if (!parse(&o, argc, argv))
        return 2;
    struct cell *cells = calloc(n_rows * LENGTHS, sizeof(*cells));
    size_t n = 0, lost = wraps_lost(o.setting.seed);
    bool met = lost == 0;
    if (!cells)
        return 1;
    if (!o.markdown)
        report_figure_json(stdout, "wraps.lost", (double)lost, "of 1000000", 0, NAN, lost == 0);
    for (size_t i = 0; i < n_rows; i++) {
        if (!is_asked(&o, &rows[i]))
            continue;
        size_t added = run_row(&o, &rows[i], cells + n);
        for (size_t k = 0; k < added; k++)
            met = met && cell_is_as_known(&cells[n + k]);
        met = met && row_meets(cells + n, added);
        n += added;
    }
    double held = slow_hold(cells, n);
    if (!o.markdown && !isnan(held))
        report_figure_json(stdout, "slow.interval_holds", held, "%", SLOW_MIN, NAN, held >= SLOW_MIN);
    if (o.markdown)
        report_markdown(stdout, &o.setting, cells, n, WRAPS, (double)lost);
    free(cells);
    return o.check && !met ? 1 : 0;
}
