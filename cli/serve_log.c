/* serve_log.c - a line for every request, written beside the stream by the observer's thread: on standard error for people
 * (--verbose), or appended to a file in a form that stays (--log). A file that was moved away is left when the signal comes that
 * logrotate sends. What is written is never a query, a header or a body, because those hold keys and prompts. */
#include "cli/serve.h"

#include "cli/json.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum form { FOR_PEOPLE, AS_WORDS, AS_JSON };
struct serve_log {
    struct observer observer;
    const struct cli *cli;
    atomic_bool on;       /* somebody wants lines */
    atomic_int form;      /* enum form */
    pthread_mutex_t lock; /* of all below */
    char *path;           /* NULL: for people, on standard error */
    int fd;               /* -1: none */
    bool failed;          /* said already */
    uint64_t lost;
    pthread_mutex_t refused_lock; /* of all below, held while nothing is written: clients wait for it */
    struct jl_buf refused;        /* lines that wait to be written */
    int64_t second_ns;            /* since when refusals are counted, ... */
    unsigned in_second;
    uint64_t not_shown; /* ... and those that were too many */
};

#define REFUSED_A_SECOND 20u               /* lines: whoever floods the server shall not fill the disk */
#define REFUSED_MAX      ((size_t)1 << 18) /* bytes of lines that wait */
#define REFUSED_PATH_MAX ((size_t)1024)

struct line {
    struct serve_log *log;
    const struct observed *seen;
    int status;
    uint64_t bytes;
    int64_t t_first_ns;
};

/* ---- forms ------------------------------------------------------------------------------------------------------------- */

static const char *const how_it_ended[] = {"done", "client-gone", "cut", "no-answer"};

/* Nothing that a path holds can make a second word or a second line. */
static void put_word(struct jl_buf *out, const char *text, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c <= ' ' || c == 0x7f || c == '\\' || c == '"')
            jl_buf_printf(out, "\\x%02x", c);
        else
            jl_buf_add(out, text + i, 1);
    }
    jl_buf_str(out, n ? " " : "- ");
}

static void put_text(struct jl_buf *out, const struct line *l, const struct observed_end *e, const char *time)
{
    const struct observed *x = l->seen;
    jl_buf_printf(out, "%s %s ", time, x->id);
    put_word(out, x->peer, strlen(x->peer));
    put_word(out, x->method, strlen(x->method));
    put_word(out, x->target, strcspn(x->target, "?"));
    jl_buf_printf(out, "%d %" PRIu64, l->status, l->bytes);
    if (l->t_first_ns)
        jl_buf_printf(out, " %.6f", jl_s(l->t_first_ns - x->t_ns));
    else
        jl_buf_str(out, " -");
    jl_buf_printf(out, " %.6f %s%s\n", jl_s(e->t_ns - x->t_ns), how_it_ended[e->how], e->lost ? " not-wholly-seen" : "");
}

/* Bytes that are no UTF-8 would make the line unreadable for every reader of JSON. */
static void put_json_text(struct jl_buf *out, const char *text, size_t n)
{
    jl_buf_str(out, "\"");
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c == '"' || c == '\\')
            jl_buf_printf(out, "\\%c", c);
        else if (c < ' ' || c >= 0x7f)
            jl_buf_printf(out, "\\u%04x", c);
        else
            jl_buf_add(out, text + i, 1);
    }
    jl_buf_str(out, "\"");
}

static void put_json(struct jl_buf *out, const struct line *l, const struct observed_end *e, const char *time)
{
    const struct observed *x = l->seen;
    jl_buf_printf(out, "{\"time\":\"%s\",\"id\":\"%s\",\"client\":", time, x->id);
    put_json_text(out, x->peer, strlen(x->peer));
    jl_buf_str(out, ",\"method\":");
    put_json_text(out, x->method, strlen(x->method));
    jl_buf_str(out, ",\"path\":");
    put_json_text(out, x->target, strcspn(x->target, "?"));
    jl_buf_printf(out, ",\"status\":%d,\"bytes\":%" PRIu64 ",\"first_s\":", l->status, l->bytes);
    if (l->t_first_ns)
        jl_buf_printf(out, "%.6f", jl_s(l->t_first_ns - x->t_ns));
    else
        jl_buf_str(out, "null");
    jl_buf_printf(out, ",\"total_s\":%.6f,\"end\":\"%s\",\"wholly_seen\":%s}\n", jl_s(e->t_ns - x->t_ns), how_it_ended[e->how],
                  e->lost ? "false" : "true");
}

static void put_people(struct jl_buf *out, const struct line *l, const struct observed_end *e)
{
    static const char *const how[] = {"", ", the client left", ", cut", ", no answer"};
    const struct observed *x = l->seen;
    jl_buf_printf(out, "%s ", x->id);
    put_word(out, x->method, strnlen(x->method, 7));
    put_word(out, x->target, strcspn(x->target, "?")); /* what a terminal would obey is no path */
    jl_buf_printf(out, "%d, %" PRIu64 " bytes", l->status, l->bytes);
    if (l->t_first_ns)
        jl_buf_printf(out, ", first after %.4f s", jl_s(l->t_first_ns - x->t_ns));
    jl_buf_printf(out, ", %.4f s%s%s\n", jl_s(e->t_ns - x->t_ns), how[e->how], e->lost ? ", not wholly seen" : "");
}

/* ---- requests that went nowhere ------------------------------------------------------------------------------------------ */

static void put_refused_text(struct jl_buf *out, const struct server_refusal *r, const char *time)
{
    jl_buf_printf(out, "%s - ", time);
    put_word(out, r->peer, strlen(r->peer));
    put_word(out, r->method, strlen(r->method));
    put_word(out, r->path, r->path_n);
    if (r->status)
        jl_buf_printf(out, "%d - - - refused\n", r->status);
    else
        jl_buf_str(out, "- - - - refused\n");
}

static void put_refused_json(struct jl_buf *out, const struct server_refusal *r, const char *time)
{
    jl_buf_printf(out, "{\"time\":\"%s\",\"client\":", time);
    put_json_text(out, r->peer, strlen(r->peer));
    jl_buf_str(out, ",\"method\":");
    put_json_text(out, r->method, strlen(r->method));
    jl_buf_str(out, ",\"path\":");
    put_json_text(out, r->path, r->path_n);
    jl_buf_printf(out, r->status ? ",\"status\":%d" : ",\"status\":null", r->status);
    jl_buf_str(out, ",\"end\":\"refused\",\"why\":");
    put_json_text(out, r->why, strlen(r->why));
    jl_buf_str(out, "}\n");
}

static void put_refused_people(struct jl_buf *out, const struct server_refusal *r)
{
    jl_buf_printf(out, "refused %s ", r->peer);
    put_word(out, r->method, strnlen(r->method, 7));
    put_word(out, r->path, r->path_n);
    jl_buf_printf(out, "%d: %s\n", r->status, r->why);
}

/* How many had no line of their own. */
static void put_not_shown(struct jl_buf *out, struct serve_log *l, const char *time)
{
    if (!l->not_shown)
        return;
    int form = atomic_load(&l->form);
    if (form == FOR_PEOPLE)
        jl_buf_printf(out, "refused %" PRIu64 " more\n", l->not_shown);
    else if (form == AS_JSON)
        jl_buf_printf(out, "{\"time\":\"%s\",\"end\":\"refused\",\"more\":%" PRIu64 "}\n", time, l->not_shown);
    else
        jl_buf_printf(out, "%s - - - - - - - - refused+%" PRIu64 "\n", time, l->not_shown);
    l->not_shown = 0;
}

/* ---- the file ---------------------------------------------------------------------------------------------------------- */

/* Under the lock. In one piece, so that several writers do not mix. */
static void append(struct serve_log *l, const struct jl_buf *line)
{
    int fd = l->path ? l->fd : STDERR_FILENO;
    if (line->failed || fd < 0)
        return;
    ssize_t n = write(fd, line->data, line->len);
    if (n == (ssize_t)line->len) {
        l->failed = false;
        return;
    }
    l->lost++;
    if (!l->failed && l->path)
        cli_warn(l->cli, "%s cannot be written: %s; lines are lost until it can", l->path,
                 n < 0 ? strerror(errno) : "the disk is full");
    l->failed = true;
}

static int open_file(const char *path, struct joulet_error *err)
{
    if (!path || strcmp(path, "-") == 0)
        return dup(STDERR_FILENO);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (fd < 0)
        jl_fail(err, errno == EACCES ? JOULET_PERMISSION : JOULET_IO,
                "%s cannot be opened for --log: %s; name a file in a folder that this user may write to", path, strerror(errno));
    return fd;
}

bool serve_log_can(const struct cli *c, struct joulet_error *err)
{
    int fd = open_file(cli_str(c, "log"), err);
    if (fd >= 0)
        close(fd);
    return fd >= 0;
}

enum joulet_status serve_log_reload(struct serve_log *l, const struct cli *c, struct joulet_error *err)
{
    const char *path = cli_str(c, "log"), *format = cli_str(c, "log-format");
    char *copy = path ? jl_strdup(path) : NULL;
    int fd = path ? open_file(path, err) : -1;
    if (path && (!copy || fd < 0)) {
        free(copy);
        return copy ? err->status : jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    pthread_mutex_lock(&l->lock);
    free(l->path);
    if (l->fd >= 0)
        close(l->fd);
    l->path = copy;
    l->fd = fd;
    l->failed = false;
    pthread_mutex_unlock(&l->lock);
    atomic_store(&l->form, !path ? FOR_PEOPLE : format && strcmp(format, "json") == 0 ? AS_JSON : AS_WORDS);
    atomic_store(&l->on, path || cli_flag(c, "verbose"));
    return jl_ok(err);
}

enum joulet_status serve_log_reopen(struct serve_log *l, struct joulet_error *err)
{
    if (!l || !l->path) /* only this thread changes it */
        return jl_ok(err);
    int fd = open_file(l->path, err);
    if (fd < 0)
        return err->status;
    pthread_mutex_lock(&l->lock);
    if (l->fd >= 0)
        close(l->fd);
    l->fd = fd;
    pthread_mutex_unlock(&l->lock);
    return jl_ok(err);
}

/* ---- the observer ------------------------------------------------------------------------------------------------------ */

static void *on_begin(void *user, const struct observed *x)
{
    struct serve_log *log = user;
    struct line *l = atomic_load(&log->on) ? calloc(1, sizeof(*l)) : NULL;
    if (l)
        *l = (struct line){.log = log, .seen = x};
    return l;
}

static void on_head(void *state, int status, const struct net_header *headers, size_t n, int64_t t_ns)
{
    struct line *l = state;
    (void)headers, (void)n, (void)t_ns;
    l->status = status;
}

static void on_chunk(void *state, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    struct line *l = state;
    (void)bytes;
    if (from_client)
        return;
    if (!l->t_first_ns)
        l->t_first_ns = t_ns;
    l->bytes += n;
}

static void format_now(char *time, size_t size, int64_t wall_ns)
{
    jl_format_time(time, size, wall_ns);
    snprintf(time + 19, size - 19, ".%03dZ", (int)(wall_ns / 1000000 % 1000));
}

static void on_end(void *state, const struct observed_end *e)
{
    struct line *l = state;
    struct serve_log *log = l->log;
    struct jl_buf out;
    char time[40];
    jl_buf_init(&out, 1 << 18);
    format_now(time, sizeof time, l->seen->wall_ns);
    int form = atomic_load(&log->form);
    if (form == FOR_PEOPLE)
        put_people(&out, l, e);
    else if (form == AS_JSON)
        put_json(&out, l, e, time);
    else
        put_text(&out, l, e, time);
    pthread_mutex_lock(&log->lock);
    append(log, &out);
    pthread_mutex_unlock(&log->lock);
    jl_buf_release(&out);
    free(l);
}

/* Whether this one has a line. */
static bool has_line(struct serve_log *l)
{
    int64_t now_ns = jl_mono_ns();
    if (now_ns - l->second_ns >= JL_NS_PER_S) {
        l->second_ns = now_ns;
        l->in_second = 0;
    }
    return l->in_second++ < REFUSED_A_SECOND && l->refused.len < REFUSED_MAX / 2;
}

void serve_log_refused(struct serve_log *l, const struct server_refusal *r)
{
    struct server_refusal x = *r;
    char time[40];
    if (!l || !atomic_load(&l->on))
        return;
    x.path_n = x.path_n < REFUSED_PATH_MAX ? x.path_n : REFUSED_PATH_MAX;
    format_now(time, sizeof time, jl_wall_ns());
    int form = atomic_load(&l->form);
    pthread_mutex_lock(&l->refused_lock);
    if (!has_line(l))
        l->not_shown++;
    else if (form == FOR_PEOPLE)
        put_refused_people(&l->refused, &x);
    else if (form == AS_JSON)
        put_refused_json(&l->refused, &x, time);
    else
        put_refused_text(&l->refused, &x, time);
    pthread_mutex_unlock(&l->refused_lock);
}

void serve_log_write(struct serve_log *l)
{
    struct jl_buf out;
    char time[40];
    if (!l)
        return;
    format_now(time, sizeof time, jl_wall_ns());
    pthread_mutex_lock(&l->refused_lock);
    put_not_shown(&l->refused, l, time);
    out = l->refused;
    jl_buf_init(&l->refused, REFUSED_MAX);
    pthread_mutex_unlock(&l->refused_lock);
    if (out.len) {
        pthread_mutex_lock(&l->lock);
        append(l, &out);
        pthread_mutex_unlock(&l->lock);
    }
    jl_buf_release(&out);
}

enum joulet_status serve_log_open(struct serve_log **out, const struct cli *c, bool may, struct joulet_error *err)
{
    *out = NULL;
    if (!may && !cli_given(c, "log") && !cli_flag(c, "verbose"))
        return jl_ok(err);
    struct serve_log *l = calloc(1, sizeof(*l));
    if (!l)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    l->cli = c;
    l->fd = -1;
    pthread_mutex_init(&l->lock, NULL);
    pthread_mutex_init(&l->refused_lock, NULL);
    jl_buf_init(&l->refused, REFUSED_MAX);
    l->observer = (struct observer){.user = l, .begin = on_begin, .head = on_head, .chunk = on_chunk, .end = on_end};
    if (serve_log_reload(l, c, err) == JOULET_OK)
        *out = l;
    else
        serve_log_close(l);
    return err->status;
}

const struct observer *serve_log_observer(const struct serve_log *l)
{
    return l ? &l->observer : NULL;
}

void serve_log_close(struct serve_log *l)
{
    if (!l)
        return;
    serve_log_write(l);
    if (l->fd >= 0)
        close(l->fd);
    jl_buf_release(&l->refused);
    pthread_mutex_destroy(&l->refused_lock);
    pthread_mutex_destroy(&l->lock);
    free(l->path);
    free(l);
}
