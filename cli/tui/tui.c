/* tui.c - draws the live screen with ncurses: a line for each channel with its bar and its recent history, the total last. */
#include "cli/tui/tui.h"

#include <curses.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    NAME_WIDTH = 16,
    NAME_MOST = 30,
    ROOMY = 80,
    NUMBER_WIDTH = 8,
    ENERGY_WIDTH = 18,
    GRAPH_LEAST = 8,
    GRAPH_COLOUR = 1,
    NOTE_COLOUR
};

/* ncurses would end the program when a terminal is unknown: newterm reports it. */
static SCREEN *screen;

static bool tui_open(void)
{
    setlocale(LC_CTYPE, "");
    screen = newterm(NULL, stdout, stdin);
    if (!screen)
        return false;
    cbreak();
    noecho();
    curs_set(0);
    keypad(stdscr, TRUE);
    if (has_colors()) {
        start_color();
        use_default_colors();
        init_pair(GRAPH_COLOUR, COLOR_CYAN, -1);
        init_pair(NOTE_COLOUR, COLOR_YELLOW, -1);
    }
    return true;
}

static void tui_close(void)
{
    if (!screen)
        return;
    endwin();
    delscreen(screen);
    screen = NULL;
}

static int tui_key(int timeout_ms)
{
    timeout(timeout_ms);
    int key = getch();
    return key == KEY_RESIZE ? TUI_RESIZED : key == ERR ? 0 : key;
}

static void number(int y, int x, double value)
{
    if (isnan(value))
        mvprintw(y, x, "%*s", NUMBER_WIDTH, "-");
    else
        mvprintw(y, x, "%*.*f", NUMBER_WIDTH, fabs(value) < 100 ? 2 : fabs(value) < 1000 ? 1 : 0, value);
}

/* Height of a value on a scale from 0 to top, in eighths; 0 for a gap. */
static int level(double value, double top)
{
    if (isnan(value) || top <= 0)
        return 0;
    int n = (int)ceil(value / top * 8);
    return n < 1 ? 1 : n > 8 ? 8 : n;
}

static void history(int y, int x, int width, const struct tui_row *row, bool utf8)
{
    static const char *const blocks[] = {" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"};
    static const char ascii[] = " _..--==#";
    size_t n = row->n_history < (size_t)width ? row->n_history : (size_t)width;
    double top = 0;
    for (size_t i = row->n_history - n; i < row->n_history; i++)
        top = (double)row->history[i] > top ? (double)row->history[i] : top;
    attron(COLOR_PAIR(GRAPH_COLOUR));
    for (size_t i = 0; i < n; i++) {
        int high = level((double)row->history[row->n_history - n + i], top);
        if (utf8)
            mvaddstr(y, x + width - (int)n + (int)i, blocks[high]);
        else
            mvaddch(y, x + width - (int)n + (int)i, (chtype)ascii[high]);
    }
    attroff(COLOR_PAIR(GRAPH_COLOUR));
}

/* Columns of a text: bytes that begin a character. */
static int columns_of(const char *s)
{
    int n = 0;
    for (; *s; s++)
        n += (*s & 0xc0) != 0x80;
    return n;
}

/* Columns from left to right; those that do not fit are left out: energy before the graph, the graph before mean and max. */
struct layout {
    int name, now, mean, max, energy, graph, graph_width;
};

/* As wide as the longest name wants, where there is room. */
static int name_width(const struct tui_view *view, int columns)
{
    int width = NAME_WIDTH;
    for (size_t i = 0; i < view->n_rows; i++)
        if (columns_of(view->rows[i].name) > width)
            width = columns_of(view->rows[i].name);
    int most = columns >= ROOMY ? NAME_MOST : NAME_WIDTH;
    return width < most ? width : most;
}

static struct layout lay_out(int columns, int name)
{
    struct layout l = {.name = name, .now = name + 1, .mean = -1, .max = -1, .energy = -1, .graph = -1};
    int x = l.now + NUMBER_WIDTH + 4;
    if (x + 2 * (NUMBER_WIDTH + 1) <= columns) {
        l.mean = x;
        l.max = x + NUMBER_WIDTH + 1;
        x += 2 * (NUMBER_WIDTH + 1);
    }
    if (x + ENERGY_WIDTH + 1 <= columns) {
        l.energy = x;
        x += ENERGY_WIDTH + 1;
    }
    if (columns - x >= GRAPH_LEAST + 1) {
        l.graph = x + 1;
        l.graph_width = columns - x - 1;
    }
    return l;
}

static void heads(int y, const struct layout *l)
{
    attron(A_UNDERLINE);
    mvprintw(y, 0, "%-*s", COLS, "channel");
    mvprintw(y, l->now, "%*s", NUMBER_WIDTH, "now");
    if (l->mean >= 0) {
        mvprintw(y, l->mean, "%*s", NUMBER_WIDTH, "mean");
        mvprintw(y, l->max, "%*s", NUMBER_WIDTH, "max");
    }
    if (l->energy >= 0)
        mvprintw(y, l->energy, "%*s", ENERGY_WIDTH, "energy so far");
    if (l->graph >= 0)
        mvprintw(y, l->graph, "history");
    attroff(A_UNDERLINE);
}

static void line(int y, const struct layout *l, const struct tui_row *row, bool utf8)
{
    if (row->strong)
        attron(A_BOLD);
    mvprintw(y, 0, "%-*.*s", l->name, l->name, row->name);
    number(y, l->now, row->now);
    mvprintw(y, l->now + NUMBER_WIDTH + 1, "%s", isnan(row->now) ? "" : row->unit);
    if (l->mean >= 0) {
        number(y, l->mean, row->mean);
        number(y, l->max, row->max);
    }
    int width = columns_of(row->energy);
    if (l->energy >= 0 && width <= ENERGY_WIDTH)
        mvaddstr(y, l->energy + ENERGY_WIDTH - width, row->energy);
    if (row->strong)
        attroff(A_BOLD);
    if (l->graph >= 0 && row->history)
        history(y, l->graph, l->graph_width, row, utf8);
}

static void tui_draw(const struct tui_view *view)
{
    struct layout l = lay_out(COLS, name_width(view, COLS));
    int bottom = LINES - 2;
    erase();
    attron(A_BOLD);
    mvaddnstr(0, 0, view->title, COLS);
    attroff(A_BOLD);
    int x = COLS - columns_of(view->status);
    if (x > columns_of(view->title))
        mvaddstr(0, x, view->status);
    heads(2, &l);
    int y = 3;
    for (size_t i = 0; i < view->n_rows && y < bottom; i++)
        line(y++, &l, &view->rows[i], view->utf8);
    if (y == bottom && (size_t)(bottom - 3) < view->n_rows)
        mvprintw(bottom - 1, 0, "%-*s", COLS - 1, "... more than fits: make the window higher");
    attron(COLOR_PAIR(NOTE_COLOUR));
    mvaddnstr(bottom, 0, view->note, COLS);
    attroff(COLOR_PAIR(NOTE_COLOUR));
    attron(A_REVERSE);
    mvprintw(LINES - 1, 0, "%-*.*s", COLS - 1, COLS - 1,
             view->paused ? " q end   space go on   (paused: still measuring)" : " q end   space pause");
    attroff(A_REVERSE);
    refresh();
}

__attribute__((visibility("default"))) const struct tui_module joulet_tui_module = {
    .version = TUI_VERSION,
    .view_size = sizeof(struct tui_view),
    .open = tui_open,
    .draw = tui_draw,
    .key = tui_key,
    .close = tui_close,
};
