/* tui.h - the live screen of `joulet monitor`, a module of its own: ncurses is loaded only where there is a terminal to draw on.
 * The program fills a view, the module draws it; what the figures mean is decided on the program's side. */
#ifndef CLI_TUI_H
#define CLI_TUI_H

#include <stdbool.h>
#include <stddef.h>

#define TUI_VERSION 1u
#define TUI_FILE    "joulet-ncurses.so"
#define TUI_SYMBOL  "joulet_tui_module"

struct tui_row {
    const char *name;
    bool strong;           /* in the total, or the total itself */
    double now, mean, max; /* NAN: not known */
    const char *unit;
    const char *energy;   /* text, "" for gauges */
    const float *history; /* n_history values, oldest first, NAN for gaps; NULL: none */
    size_t n_history;
};

struct tui_view {
    const char *title;  /* "joulet monitor" and what is watched */
    const char *status; /* time, interval */
    const char *note;   /* provenance and what is wrong; "" nothing */
    const struct tui_row *rows;
    size_t n_rows;
    bool paused;
    bool utf8, colour;
};

struct tui_module {
    unsigned version;   /* TUI_VERSION */
    size_t view_size;   /* sizeof(struct tui_view) */
    bool (*open)(void); /* false: this terminal cannot show it */
    void (*draw)(const struct tui_view *view);
    int (*key)(int timeout_ms); /* 0: none in time; TUI_RESIZED */
    void (*close)(void);
};
enum { TUI_RESIZED = -1 };

#endif
