/* monitor_screen.c - the live screen of `monitor`: opens the ncurses module and fills its view from the rows. */
#include "cli/monitor.h"
#include "cli/parse.h"
#include "cli/tui/tui.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TUI_INSTALL_DIR
#error "the build must say where modules are installed"
#endif

enum { HISTORY = 240, SHOW_NS = 250000000, PROCESSES_TOP = 8 };

struct screen_line {
    float history[HISTORY];
    size_t n;
    double sum, max;
    uint64_t rows;
    char energy[64], name[48];
};

struct screen {
    void *lib;
    const struct tui_module *module;
    struct tui_row *rows; /* of the view; the total is the last row that draws power, gauges follow */
    struct screen_line *lines;
    size_t n, n_shown; /* channels, total and gauges; with the processes of the last row */
    struct screen_line top[PROCESSES_TOP + 1];
    double interval_s;
    bool paused, utf8, colour;
};

/* ---- the module --------------------------------------------------------------------------------------------------- */

static void *open_in(const char *dir, const char *below)
{
    char *path = dir ? jl_strf("%s%s/" TUI_FILE, dir, below) : NULL;
    void *lib = path && access(path, R_OK) == 0 ? jl_lib_open(path, NULL) : NULL;
    free(path);
    return lib;
}

/* The places where the HTTP module is looked for too. */
static bool load(struct screen *s)
{
    char *beside = jl_program_dir();
    s->lib = open_in(jl_env("JOULET_MODULE_DIR"), "");
    s->lib = s->lib ? s->lib : open_in(beside, "");
    s->lib = s->lib ? s->lib : open_in(beside, "/../lib/joulet");
    s->lib = s->lib ? s->lib : open_in(TUI_INSTALL_DIR, "");
    free(beside);
    s->module = s->lib ? jl_lib_symbol(s->lib, TUI_SYMBOL) : NULL;
    return s->module && s->module->version == TUI_VERSION && s->module->view_size == sizeof(struct tui_view);
}

bool screen_open(struct screen **out, const struct live *l, bool processes, const struct report_style *style, double interval_s)
{
    struct screen *s = calloc(1, sizeof *s);
    *out = NULL;
    if (!s)
        return false;
    s->interval_s = interval_s;
    s->utf8 = style->utf8;
    s->colour = style->colour;
    s->n = l->n + 1;
    s->n_shown = s->n;
    s->rows = calloc(s->n + (processes ? PROCESSES_TOP + 1 : 0), sizeof *s->rows);
    s->lines = calloc(s->n, sizeof *s->lines);
    if (!s->rows || !s->lines || !load(s)) {
        s->module = NULL;
        screen_close(s);
        return false;
    }
    terminal_keep();
    if (!s->module->open()) {
        s->module = NULL;
        screen_close(s);
        return false;
    }
    *out = s;
    return true;
}

void screen_close(struct screen *s)
{
    if (!s)
        return;
    if (s->module) {
        s->module->close();
        terminal_restore = NULL;
    }
    jl_lib_close(s->lib);
    free(s->rows);
    free(s->lines);
    free(s);
}

/* ---- the view ----------------------------------------------------------------------------------------------------- */

static void add(struct screen_line *line, double value)
{
    if (line->n == HISTORY)
        memmove(line->history, line->history + 1, --line->n * sizeof *line->history);
    line->history[line->n++] = (float)value;
    if (isnan(value))
        return;
    line->max = line->rows && line->max > value ? line->max : value;
    line->sum += value;
    line->rows++;
}

static void fill(struct screen *s, size_t at, const char *name, double value, const char *unit, bool strong,
                 const struct joulet_energy *e)
{
    struct screen_line *line = &s->lines[at];
    add(line, value);
    snprintf(line->name, sizeof line->name, "%s", name);
    line->energy[0] = '\0';
    if (e)
        joulet_format_j(line->energy, sizeof line->energy, e->gross_j, e->gross_pm_j, s->utf8);
    s->rows[at] = (struct tui_row){.name = line->name,
                                   .strong = strong,
                                   .now = value,
                                   .mean = line->rows ? line->sum / (double)line->rows : NAN,
                                   .max = line->rows ? line->max : NAN,
                                   .unit = unit,
                                   .energy = line->energy,
                                   .history = line->history,
                                   .n_history = line->n};
}

/* The busiest, by name and number: which they are changes, so they have no history. */
static void fill_processes(struct screen *s, const struct processes *processes)
{
    size_t n, at = 0;
    const struct process_row *rows = processes_rows(processes, &n);
    for (size_t i = 0; i < n && at < PROCESSES_TOP + 1; i++) {
        struct screen_line *line = &s->top[at];
        if (!(rows[i].share.used_s > 0) || (at == PROCESSES_TOP && rows[i].pid))
            continue;
        char name[16];
        process_name(&rows[i], s->utf8, name, sizeof name);
        if (rows[i].pid)
            snprintf(line->name, sizeof line->name, "%.0f%% %s (%lld)", rows[i].share.share * 100, name, (long long)rows[i].pid);
        else
            snprintf(line->name, sizeof line->name, "%.0f%% rest", rows[i].share.share * 100);
        joulet_format_j(line->energy, sizeof line->energy, rows[i].energy.gross_j, NAN, s->utf8);
        s->rows[s->n + at++] = (struct tui_row){
            .name = line->name, .now = rows[i].power_w, .mean = NAN, .max = NAN, .unit = "W", .energy = line->energy};
    }
    s->n_shown = s->n + at;
}

void screen_row(struct screen *s, const struct live *l, const struct processes *processes)
{
    size_t at = 0;
    for (size_t i = 0; i < l->n; i++) {
        const struct live_channel *x = &l->channels[i];
        if (live_is_power(&x->ch))
            fill(s, at++, x->ch.id, x->now, "W", x->ch.in_total, &x->energy);
    }
    fill(s, at++, "total", l->total_w, "W", true, &l->total);
    for (size_t i = 0; i < l->n; i++) {
        const struct live_channel *x = &l->channels[i];
        double scale;
        const char *unit = live_unit(x->ch.quantity, s->utf8, &scale);
        if (!live_is_power(&x->ch))
            fill(s, at++, x->ch.id, x->now * scale, unit, false, NULL);
    }
    if (processes)
        fill_processes(s, processes);
}

static void show(const struct screen *s, const struct live *l)
{
    char status[64], note[400];
    int64_t run_s = (joulet_now() - l->start) / JL_NS_PER_S;
    snprintf(status, sizeof status, "%lld:%02lld:%02lld  every %.4g s", (long long)(run_s / 3600), (long long)(run_s / 60 % 60),
             (long long)(run_s % 60), s->interval_s);
    monitor_note(l, note, sizeof note);
    const struct tui_view view = {.title = "joulet monitor",
                                  .status = status,
                                  .note = note,
                                  .rows = s->rows,
                                  .n_rows = s->lines[0].n ? s->n_shown : 0,
                                  .paused = s->paused,
                                  .utf8 = s->utf8,
                                  .colour = s->colour};
    s->module->draw(&view);
}

bool screen_until(struct screen *s, const struct live *l, joulet_mark t_ns)
{
    if (!s->paused)
        show(s, l);
    while (!atomic_load(&cli_cancel)) {
        int64_t left = t_ns - joulet_now();
        /* Late or not, keys are looked for: a slow sensor must not make the screen deaf. */
        int key = s->module->key(left <= 0 ? 0 : (int)((left < SHOW_NS ? left : SHOW_NS) / 1000000));
        if (key == 'q' || key == 'Q')
            return false;
        if (key == ' ')
            s->paused = !s->paused;
        if (key == ' ' || key == TUI_RESIZED || !s->paused)
            show(s, l);
        if (left <= 0)
            return true;
    }
    return true;
}
