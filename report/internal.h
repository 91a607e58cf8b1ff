/* internal.h - shared inside this room: text of a given width, numbers with units, figures with their interval, tables. */
#ifndef REPORT_INTERNAL_H
#define REPORT_INTERNAL_H

#include "report/report.h"

/* ---- text (text.c): nothing is ever wider than the style says ---------------------------------------------------- */
enum tone { TONE_PLAIN, TONE_STRONG, TONE_FAINT, TONE_WARN };

int text_columns(const struct report_style *style); /* columns of a line */
int text_width(const char *s);                      /* columns that s takes on a terminal */
size_t text_fit(const char *s, int columns);        /* bytes of s that fit */
/* s for a terminal: no control characters, blanks folded, characters beyond ASCII only where the style has them. Malloc'ed. */
const char *text_threads(const char *n); /* " threads", of "1" " thread"; n may be NULL */
char *text_clean(const char *s, const struct report_style *style);
const char *text_pm(const struct report_style *style);    /* "±" or "+-" */
const char *text_about(const struct report_style *style); /* "≈" or "~" */
void text_tone(struct jl_buf *out, const struct report_style *style, enum tone tone, const char *s, size_t n);
/* "── left ─────── right ──" over the whole line. */
void text_rule(struct jl_buf *out, const struct report_style *style, const char *left, const char *right, enum tone right_tone);
/* "  label      text": wrapped with the text indented. `strong` in front is set off and never broken; both may be NULL. */
void text_item(struct jl_buf *out, const struct report_style *style, const char *label, const char *strong, const char *text,
               enum tone tone);
/* The same without a label and never wrapped: what is to be copied, a command. */
void text_whole(struct jl_buf *out, const struct report_style *style, const char *text);

/* ---- numbers (numbers.c): unknown is "-" ------------------------------------------------------------------------- */
#define NUMBER_SIZE 80
struct number {
    char text[NUMBER_SIZE];
};
struct number number_f(const char *fmt, ...) JL_PRINTF(1, 2); /* what fits */
struct number number_digits(double x, int digits);            /* that many significant digits, never an exponent: "0.0015" */
/* Two significant digits, but none that an interval of that width makes meaningless: "0.00". */
struct number number_coarse(double x, double width);
struct number number_plain(double x);                               /* as someone would type it: "0.3", "445" */
struct number number_s(double s, const struct report_style *style); /* "850 µs", "52.0 ms", "1.25 s", "2 min 05 s" */
struct number number_w(double w);                                   /* "74.2 W" */
struct number number_watts(double w);                               /* without the unit */
struct number number_count(int64_t n);                              /* -1 is "-" */
struct number number_pm(double x, double pm, const char *unit, const struct report_style *style); /* "0.194 ± 0.012 J" */
/* Factor and name of the unit in which g grams of CO2e read best: 1000 and "mgCO2e". */
double unit_co2e(double g, const struct report_style *style, const char **unit);

/* ---- figures (figures.c) ----------------------------------------------------------------------------------------- */
/* One energy as it is shown: measured with a symmetric interval, or an estimate between two ends (10). */
struct figure {
    double j, pm;
    double lo, hi; /* estimates */
    bool estimate;
};
struct number figure_text(const struct figure *f, const struct report_style *style);
/* The same of something that is the figure divided by n tokens, or times a factor. */
struct number figure_scaled(const struct figure *f, double factor, const char *unit, const struct report_style *style);

/* Net and gross of a window, a request or a sum of them. */
struct part {
    char name[64];
    double seconds;
    struct joulet_energy e; /* sum over what was added */
    struct figure net, gross;
    double power_min_w, power_mean_w, power_max_w;
    int64_t updates;
    size_t n;
};
void part_init(struct part *p, const char *name);
void part_add_window(struct part *p, const struct run *r, const struct run_window *w);
void part_add_request(struct part *p, const struct run *r, const struct run_request *q);
void part_add_energy(struct part *p, const struct run *r, const struct run_energy *e); /* without time and power */
/* Energies of all requests together, where the record has them so (2.5). */
void part_jointly(struct part *p, const struct run *r);
void part_of_run(struct part *p, const struct run *r); /* exec: the whole */
struct figure figure_net(const struct run *r, const struct run_energy *e);
struct figure figure_gross(const struct run *r, const struct run_energy *e);
void figure_of_channel(const struct run *r, const char *channel, const struct joulet_energy *e, struct figure *net,
                       struct figure *gross);
/* What stands in an energy column: an unresolved phase has only its bounds. */
struct number part_net(const struct part *p, const struct report_style *style);
struct number part_gross(const struct part *p, const struct report_style *style);
bool counted(const struct run_request *q); /* enters sums: no warm-up, and it succeeded */

/* ---- tables (grid.c) --------------------------------------------------------------------------------------------- */
#define GRID_COLUMNS_MAX 12
struct grid_column {
    const char *title;
    bool right;
    int rank; /* columns of the highest rank go first when the line is too narrow; 0 stays */
};
struct grid_row {
    char *cells[GRID_COLUMNS_MAX]; /* NULL: empty; cells[0] alone with `line`: a text over the whole row */
    enum tone tone;
    bool line;
};
struct grid {
    const struct grid_column *columns;
    size_t n_columns;
    struct grid_row *rows;
    size_t n;
    bool failed;
};
void grid_init(struct grid *g, const struct grid_column *columns, size_t n);
void grid_add(struct grid *g, enum tone tone, const char *const *cells); /* copies n_columns texts */
void grid_line(struct grid *g, enum tone tone, const char *text);
void grid_write(struct grid *g, struct jl_buf *out, const struct report_style *style); /* and frees the rows */

/* ---- words (words.c) --------------------------------------------------------------------------------------------- */
const char *words_provenance(enum joulet_provenance p); /* what it means, in a sentence */
const char *words_flag(uint32_t bit);
/* "the idle level of 60.4 ± 1.2 W (model loaded, no request)"; nothing without a level. */
void words_idle(struct jl_buf *b, const struct run *r, const struct report_style *style);
/* "cpu0.package, cpu0.dram (rapl); gpu0.board (nvml)" */
void words_sensors(struct jl_buf *b, const struct run *r);

/* ---- what block and table share (view.c, metrics.c) -------------------------------------------------------------- */
#define PHASES_MAX 16
struct view {
    const struct run *r;
    const struct run_request *q; /* NULL: all requests that count, or a run without any */
    const struct report_style *style;
    struct jl_buf *out;
    struct run_sums sums;
    struct part whole;
    struct part phases[PHASES_MAX]; /* windows by name, in the order of time */
    size_t n_phases;
    bool estimate; /* the figures are estimates, or hold some */
    bool mixed;    /* and hold measured ones too */
};
void view_init(struct view *v, struct jl_buf *out, const struct run *r, const struct run_request *q,
               const struct report_style *style);
/* Titles of energy columns, which say when the figures are estimates. */
const char *view_net_title(const struct view *v);
const char *view_gross_title(const struct view *v);
const char *view_provenance(const struct view *v);                     /* "measured", "estimated", "partly estimated", ... */
enum tone view_tone(const struct view *v);                             /* what no sensor of this machine has seen is set off */
const struct part *view_phase(const struct view *v, const char *name); /* NULL when there is none */
char *view_prompt_name(const struct view *v, const struct run_request *q); /* "short 1", "short 1 #2"; malloc'ed */
/* Half-width of the net energy per output token if other requests like these were sent: jackknife over requests (9) and what all
 * of them share (3). NAN with fewer than two requests. */
double view_per_token_pm(const struct view *v);
/* Keep-alive power and break-even of the record (keep.c); false: not both idle levels are known. */
bool keep_of(const struct run *r, struct joulet_keep *out);
void metrics_keep(const struct view *v);
void cells_table(const struct view *v);    /* cells.c: the configurations of a plan */
void metrics_energy(const struct view *v); /* net, gross, tail */
void metrics_tokens(const struct view *v); /* tokens, per token, speed, latency */
void metrics_brief(const struct view *v);  /* the same in a line or two, and the names of the flags */
void metrics_power(const struct view *v);
void metrics_cpu_time(const struct view *v); /* processes.c: the engine's part of the CPU's energy */
void processes_figures(const struct run *r, const struct joulet_energy *e, struct figure *net, struct figure *gross);
void metrics_money(const struct view *v);  /* carbon, embodied share, water, cost (money.c) */
void metrics_source(const struct view *v); /* provenance, flags, notes */

#endif
