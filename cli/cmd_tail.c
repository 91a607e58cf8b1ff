/* cmd_tail.c - requests of a joulet server as they end, with what they cost; on a terminal those under way stand below. */
#include "cli/parse.h"
#include "cli/tail.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define LOOK_S       0.25
#define PIPE_WIDTH   160
#define HEADER_EVERY 40
#define LIVE_MAX     4096
#define PRINTED      4096 /* ids that are remembered, so that none is shown twice after a break */
#define DRAWN_MAX    200
#define SETTLE_S     30.0 /* a figure that is not final by then is shown as it is */

struct live_request {
    struct tail_request r;
    char *json;
    int64_t came_ns, ended_ns;
};

struct tail {
    const struct cli *cli;
    struct tail_feed *feed;
    struct tail_filter filter;
    struct tail_sums sums;
    struct live_request *live;
    size_t n_live;
    char (*printed)[24];
    size_t n_printed;
    char newest[40]; /* time of the newest request seen; before the first: when we began */
    bool terminal, json, again;
    int drawn, lines;          /* of those under way; since the last header */
    int drawn_wide[DRAWN_MAX]; /* columns of each: a window that became narrower has broken them */
    struct jl_buf out;
};

/* ---- what there is ----------------------------------------------------------------------------------------------- */

static bool was_printed(const struct tail *t, const char *id)
{
    size_t n = t->n_printed < PRINTED ? t->n_printed : PRINTED;
    for (size_t i = 0; i < n; i++)
        if (strcmp(t->printed[i], id) == 0)
            return true;
    return false;
}

static void forget(struct tail *t, size_t i)
{
    free(t->live[i].json);
    t->live[i] = t->live[--t->n_live];
}

static void forget_all(struct tail *t)
{
    while (t->n_live)
        forget(t, t->n_live - 1);
}

static size_t find(const struct tail *t, const char *id)
{
    size_t i = 0;
    while (i < t->n_live && strcmp(t->live[i].r.id, id) != 0)
        i++;
    return i;
}

/* ---- what is shown ----------------------------------------------------------------------------------------------- */

static struct tail_columns columns_now(const struct tail *t)
{
    return tail_columns_for(t->terminal ? terminal_width() : PIPE_WIDTH);
}

static void erase(struct tail *t)
{
    int width = t->drawn ? terminal_width() : 0, rows = 0;
    for (int i = 0; i < t->drawn; i++)
        rows += width > 0 && t->drawn_wide[i] > width ? (t->drawn_wide[i] + width - 1) / width : 1;
    if (rows)
        jl_buf_printf(&t->out, "\033[%dA\r\033[J", rows);
    t->drawn = 0;
}

static void print(struct tail *t, const struct tail_request *r, const char *json)
{
    if (!tail_wanted(r, &t->filter) || was_printed(t, r->id))
        return;
    memcpy(t->printed[t->n_printed++ % PRINTED], r->id, sizeof r->id);
    tail_sums_add(&t->sums, r);
    erase(t);
    if (t->json) {
        for (const char *p = json; *p; p++)
            jl_buf_add(&t->out, *p == '\n' || *p == '\r' ? " " : p, 1);
        jl_buf_str(&t->out, "\n");
        return;
    }
    struct tail_columns c = columns_now(t);
    if (t->terminal && t->lines++ % HEADER_EVERY == 0)
        tail_header(&t->out, &c, cli_style(t->cli));
    tail_line(&t->out, r, &c, NAN, cli_style(t->cli));
}

static int rows_left(void)
{
    struct winsize size;
    int rows = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_row > 4 ? size.ws_row - 3 : 10;
    return rows < DRAWN_MAX - 1 ? rows : DRAWN_MAX - 1;
}

static int oldest_first(const void *a, const void *b)
{
    const struct live_request *x = a, *y = b;
    return (x->came_ns > y->came_ns) - (x->came_ns < y->came_ns);
}

/* Those under way, below what has ended. */
static void draw(struct tail *t)
{
    struct tail_columns c = columns_now(t);
    int most = rows_left(), more = 0;
    if (!t->terminal)
        return;
    erase(t);
    qsort(t->live, t->n_live, sizeof *t->live, oldest_first);
    for (size_t i = 0; i < t->n_live; i++) {
        const struct live_request *l = &t->live[i];
        if (!tail_wanted(&l->r, &t->filter))
            continue;
        if (t->drawn >= most) {
            more++;
            continue;
        }
        t->drawn_wide[t->drawn++] = c.width - 1;
        tail_line(&t->out, &l->r, &c, jl_s(jl_mono_ns() - l->came_ns), cli_style(t->cli));
    }
    if (more) {
        jl_buf_printf(&t->out, "and %d more under way\n", more);
        t->drawn_wide[t->drawn++] = 1;
    }
}

static bool hand_on(struct tail *t)
{
    FILE *f = cli_out(t->cli);
    if (!f)
        return false;
    fwrite(t->out.data ? t->out.data : "", 1, t->out.len, f);
    jl_buf_clear(&t->out);
    return cli_flush(t->cli);
}

/* ---- what comes -------------------------------------------------------------------------------------------------- */

static void keep(struct tail *t, size_t i, const struct tail_request *r, char *json)
{
    struct live_request *l = &t->live[i];
    if (i == t->n_live) {
        if (t->n_live == LIVE_MAX) {
            free(json);
            return;
        }
        t->n_live++;
        *l = (struct live_request){.came_ns = jl_mono_ns()};
    }
    free(l->json);
    l->json = json;
    l->r = *r;
    if (!r->running && !l->ended_ns)
        l->ended_ns = jl_mono_ns();
}

/* After a break the server tells its latest requests: of those, what came since the newest that was seen. */
static void on_request(struct tail *t, char *json)
{
    struct tail_request r;
    if (!tail_read(&r, json, strlen(json))) {
        free(json);
        return;
    }
    size_t i = find(t, r.id);
    bool old = t->again && i == t->n_live && strcmp(r.time, t->newest) < 0;
    if (!old && strcmp(r.time, t->newest) > 0)
        snprintf(t->newest, sizeof t->newest, "%s", r.time);
    if (old || !r.final) {
        if (old)
            free(json);
        else
            keep(t, i, &r, json);
        return;
    }
    print(t, &r, json);
    if (i < t->n_live)
        forget(t, i);
    free(json);
}

static void give_up_waiting(struct tail *t)
{
    for (size_t i = 0; i < t->n_live;) {
        struct live_request *l = &t->live[i];
        if (!l->ended_ns || jl_s(jl_mono_ns() - l->ended_ns) < SETTLE_S) {
            i++;
            continue;
        }
        snprintf(l->r.state, sizeof l->r.state, "provisional");
        print(t, &l->r, l->json);
        forget(t, i);
    }
}

/* A sentence between the lines. */
static bool say(struct tail *t, const char *sentence)
{
    erase(t);
    bool ok = hand_on(t);
    cli_warn(t->cli, "%s", sentence);
    return ok;
}

static int follow(struct tail *t)
{
    struct joulet_error err;
    char *json;
    bool on = true;
    while (on && !atomic_load(&cli_cancel)) {
        enum tail_news news = tail_feed_next(t->feed, LOOK_S, &json, &err);
        for (; news == TAIL_REQUEST; news = tail_feed_next(t->feed, 0, &json, &err))
            on_request(t, json);
        if (news == TAIL_REFUSED) {
            say(t, err.message);
            return err.status == JOULET_PERMISSION || err.status == JOULET_USAGE ? CLI_USAGE : CLI_ENGINE;
        }
        if (news == TAIL_AWAY)
            on = say(t, err.message);
        if (news == TAIL_BACK) {
            forget_all(t);
            t->again = true;
            on = say(t, "the joulet server is back");
        }
        give_up_waiting(t);
        draw(t);
        on = on && hand_on(t);
    }
    return CLI_DONE;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int finish(struct tail *t, int code)
{
    int sig = atomic_load(&cli_signal);
    erase(t);
    hand_on(t);
    if (code == CLI_DONE && !cli_flag(t->cli, "quiet")) {
        tail_summary(&t->out, &t->sums, cli_style(t->cli));
        fwrite(t->out.data, 1, t->out.len, stderr);
    }
    return code != CLI_DONE ? code : sig ? 128 + sig : CLI_DONE;
}

static int tail_run(struct cli *c, int argc, char **argv)
{
    struct joulet_error err;
    struct tail t = {.cli = c,
                     .filter = {.client = cli_str(c, "client"), .session = cli_str(c, "session")},
                     .json = cli_json(c),
                     .terminal = terminal_is(STDOUT_FILENO) && !cli_json(c) && !cli_given(c, "output")};
    if (argc > 0)
        return cli_usage(c, "tail takes no argument '%s'; name the server with --url %s", argv[0], argv[0]);
    t.filter.n_models = cli_list(c, "model", &t.filter.models);
    t.live = calloc(LIVE_MAX, sizeof *t.live);
    t.printed = calloc(PRINTED, sizeof *t.printed);
    jl_buf_init(&t.out, (size_t)16 << 20);
    tail_sums_init(&t.sums);
    jl_format_time(t.newest, sizeof t.newest, jl_wall_ns());
    int code = CLI_FAILED;
    if (!t.live || !t.printed) {
        jl_fail(&err, JOULET_MEMORY, "out of memory");
        code = cli_fail(c, &err);
    } else if (tail_feed_open(&t.feed, cli_str(c, "url"), cli_str(c, "token"), (size_t)cli_int(c, "last", 0), &err) !=
               JOULET_OK) {
        code = cli_fail(c, &err);
    } else {
        code = finish(&t, follow(&t));
    }
    tail_feed_close(t.feed);
    if (t.live)
        forget_all(&t);
    free(t.live);
    free(t.printed);
    jl_buf_release(&t.out);
    return code;
}

const struct command cmd_tail = {
    .name = "tail",
    .summary = "follow the requests of a joulet server as they go",
    .usage = "joulet tail [OPTION]...",
    .options = "url token last model client session",
    .about =
        "Shows every request that passes through `joulet serve`, one line when it has ended and its joules are final: when it "
        "came, its model and client, tokens in and out, energy above idle with its interval, J for each output token, mean "
        "power, how long it took, and what is unusual about it. On a terminal the requests under way stand below, and those "
        "that have ended and wait for their figure (settling). In a pipe there are only the lines; with --json the objects of "
        "the server, one a line.\n\n"
        "Where the idle level was not known the energy is the whole and says gross. Ctrl-C ends it with a sum. When the server "
        "goes away it is asked again until it is back.",
    .examples = "joulet tail\n  the server on this machine\n"
                "joulet tail -n 20 --model 'llama*'\n  the last 20 of one family first\n"
                "JOULET_TOKEN=... joulet tail --url http://gpu:8737\n  one on another machine\n"
                "joulet tail --json | jq '{model, j: .energy.net_j}'\n  for other programs\n",
    .run = tail_run,
};
