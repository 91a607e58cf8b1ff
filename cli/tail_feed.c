/* tail_feed.c - the stream of requests of a joulet server: server-sent events, asked for again when it breaks off. */
#include "cli/tail.h"
#include "llm/engine_framing.h"
#include "llm/engine_wire.h"
#include "net/net.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define QUIET_S     60.0 /* a server sends something every 15 s */
#define BACK_OFF_S  0.5
#define BACK_MOST_S 10.0
#define AGAIN       200 /* of the latest, after a break: what ended meanwhile */
#define WAITING     65536
#define SAID_MAX    4096

struct item {
    char *json;
    struct item *next;
};

struct tail_feed {
    char *url, *token;
    size_t last;
    atomic_bool stop;
    struct jl_thread *thread;
    pthread_mutex_t lock; /* of all below */
    pthread_cond_t some;
    struct item *first, **end;
    size_t waiting;
    bool away, told_away, refused; /* as it is, and as it was told */
    struct joulet_error why;
    /* of the thread alone */
    struct framing framing;
    struct jl_buf said; /* an answer that is no stream */
    int status;
    bool streams, ever;
};

/* ---- one answer ------------------------------------------------------------------------------------------------------------ */

static void on_event(void *user, enum frame_kind kind, const char *bytes, size_t n)
{
    struct tail_feed *f = user;
    struct item *i = kind == FRAME_DATA ? calloc(1, sizeof *i) : NULL;
    if (!i || !(i->json = strndup(bytes, n))) {
        free(i);
        return;
    }
    pthread_mutex_lock(&f->lock);
    bool room = f->waiting < WAITING;
    if (room) {
        *f->end = i;
        f->end = &i->next;
        f->waiting++;
        pthread_cond_signal(&f->some);
    }
    pthread_mutex_unlock(&f->lock);
    if (!room) {
        free(i->json);
        free(i);
    }
}

static bool on_status(void *user, int status, int64_t t_ns)
{
    struct tail_feed *f = user;
    (void)t_ns;
    f->status = status;
    f->streams = false;
    return true;
}

static void back(struct tail_feed *f)
{
    pthread_mutex_lock(&f->lock);
    f->away = false;
    pthread_cond_signal(&f->some);
    pthread_mutex_unlock(&f->lock);
}

static bool on_header(void *user, const char *name, const char *value)
{
    struct tail_feed *f = user;
    if (strcasecmp(name, "Content-Type") == 0 && strncasecmp(value, "text/event-stream", 17) == 0 && f->status == 200) {
        f->streams = f->ever = true;
        back(f);
    }
    return true;
}

static bool on_body(void *user, const char *bytes, size_t n, int64_t t_ns)
{
    struct tail_feed *f = user;
    (void)t_ns;
    if (f->streams)
        framing_bytes(&f->framing, bytes, n);
    else
        jl_buf_add(&f->said, bytes, n);
    return !atomic_load(&f->stop) && !f->said.failed && !f->framing.overflow;
}

static enum joulet_status ask(struct tail_feed *f, size_t last, struct joulet_error *err)
{
    char limit[32] = "";
    if (last)
        snprintf(limit, sizeof limit, "?limit=%zu", last);
    char *url = jl_strf("%s/joulet/requests%s", f->url, limit);
    struct net_header headers[2] = {{"Accept", "text/event-stream"}, {"X-Joulet-Token", f->token}};
    struct net_request q = {.method = "GET",
                            .url = url,
                            .headers = headers,
                            .n_headers = f->token ? 2 : 1,
                            .idle_timeout_s = QUIET_S,
                            .max_bytes = (size_t)1 << 40,
                            .ca_file = jl_env("JOULET_ENGINE_CA"),
                            .cancel = &f->stop,
                            .user = f,
                            .on_status = on_status,
                            .on_header = on_header,
                            .on_body = on_body};
    struct net_response r = {0};
    f->status = 0;
    jl_buf_clear(&f->said);
    framing_init(&f->framing, ENGINE_SSE, on_event, f);
    enum joulet_status status = url ? net_http(&q, &r, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    framing_release(&f->framing);
    net_response_release(&r);
    free(url);
    return status;
}

/* ---- again and again --------------------------------------------------------------------------------------------- */

/* An answer that no patience changes: JOULET_OK when it may be otherwise later. */
static enum joulet_status refusal(const struct tail_feed *f, struct joulet_error *err)
{
    const char *said = f->said.data ? f->said.data : "";
    json_t *root = wire_object(said, f->said.len);
    char words[300];
    const json_t *error = json_object_get(root, "error");
    const char *text = json_is_string(error) ? json_string_value(error) : wire_string(error, "message");
    wire_clean(words, sizeof words, text, strlen(text));
    bool ours = jl_starts(words, "joulet: ") || (json_is_object(error) && *words);
    json_decref(root);
    if (f->status == 401)
        return jl_fail(err, JOULET_PERMISSION,
                       "the joulet server at %s wants %s token: give it with --token, in JOULET_TOKEN, or as /joulet/t/TOKEN "
                       "behind the address",
                       f->url, f->token ? "another" : "a");
    if (f->status == 200)
        return jl_fail(err, JOULET_UNSUPPORTED,
                       "what answers at %s tells no requests as they go: it is no joulet server, or an older one", f->url);
    if (f->status >= 400 && f->status < 500)
        return jl_fail(err, JOULET_ENGINE, "the joulet server at %s tells no requests (HTTP %d)%s%s", f->url, f->status,
                       ours ? ": " : "", ours ? words + (jl_starts(words, "joulet: ") ? 8 : 0) : "");
    return JOULET_OK;
}

static void away(struct tail_feed *f, const struct joulet_error *why, bool refused)
{
    pthread_mutex_lock(&f->lock);
    f->away = true;
    f->refused = refused;
    f->why = *why;
    pthread_cond_signal(&f->some);
    pthread_mutex_unlock(&f->lock);
}

static void pause_s(struct tail_feed *f, double s)
{
    int64_t until = jl_mono_ns() + jl_ns(s);
    while (jl_mono_ns() < until && !atomic_load(&f->stop))
        jl_sleep_until(jl_mono_ns() + 50000000);
}

static void run(void *user)
{
    struct tail_feed *f = user;
    double wait_s = BACK_OFF_S;
    while (!atomic_load(&f->stop)) {
        struct joulet_error err = {.status = JOULET_OK}, why;
        bool before = f->ever;
        enum joulet_status status = ask(f, before ? AGAIN : f->last, &err);
        if (atomic_load(&f->stop))
            return;
        if (status == JOULET_UNSUPPORTED || (!f->streams && f->status && refusal(f, &err) != JOULET_OK)) {
            away(f, &err, true);
            return;
        }
        if (f->streams)
            wait_s = BACK_OFF_S;
        if (!f->ever) {
            jl_fail(&why, JOULET_UNREACHABLE,
                    "no joulet server answers at %s (%s): start one with `joulet serve`, or name its "
                    "address with --url",
                    f->url, err.status ? err.message : "it closed the connection");
            away(f, &why, true);
            return;
        }
        jl_fail(&why, JOULET_UNREACHABLE, "the joulet server at %s went away: it is asked again until it is back", f->url);
        away(f, &why, false);
        pause_s(f, wait_s);
        wait_s = wait_s * 2 < BACK_MOST_S ? wait_s * 2 : BACK_MOST_S;
    }
}

/* ---- for the screen ---------------------------------------------------------------------------------------------- */

/* A token in the address goes into the header, so that no sentence shows it. */
static bool take_address(struct tail_feed *f, const char *url, const char *token)
{
    f->url = jl_strf("%s%s", strstr(url, "://") ? "" : "http://", url);
    char *at = f->url ? strstr(f->url, "/joulet/t/") : NULL;
    if (at) {
        f->token = strndup(at + 10, strcspn(at + 10, "/"));
        *at = '\0';
    } else if (token && *token) {
        f->token = jl_strdup(token);
    }
    for (size_t n = f->url ? strlen(f->url) : 0; n && f->url[n - 1] == '/'; n--)
        f->url[n - 1] = '\0';
    return f->url && (f->token || !(at || (token && *token)));
}

enum joulet_status tail_feed_open(struct tail_feed **out, const char *url, const char *token, size_t last,
                                  struct joulet_error *err)
{
    struct tail_feed *f = calloc(1, sizeof *f);
    *out = NULL;
    if (!f || !take_address(f, url, token)) {
        tail_feed_close(f);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    f->end = &f->first;
    f->last = last;
    jl_buf_init(&f->said, SAID_MAX);
    pthread_mutex_init(&f->lock, NULL);
    pthread_cond_init(&f->some, NULL);
    if (jl_thread_start(&f->thread, "tail", run, f, err) != JOULET_OK) {
        tail_feed_close(f);
        return err->status;
    }
    *out = f;
    return JOULET_OK;
}

static enum tail_news take(struct tail_feed *f, char **json, struct joulet_error *err)
{
    struct item *i = f->first;
    if (i) {
        f->first = i->next;
        f->end = f->first ? f->end : &f->first;
        f->waiting--;
        *json = i->json;
        free(i);
        return TAIL_REQUEST;
    }
    if (f->away == f->told_away)
        return TAIL_NOTHING;
    f->told_away = f->away;
    *err = f->why;
    return !f->away ? TAIL_BACK : f->refused ? TAIL_REFUSED : TAIL_AWAY;
}

enum tail_news tail_feed_next(struct tail_feed *f, double wait_s, char **json, struct joulet_error *err)
{
    struct timespec until;
    *json = NULL;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_nsec += (long)(wait_s * 1e9);
    until.tv_sec += until.tv_nsec / JL_NS_PER_S;
    until.tv_nsec %= JL_NS_PER_S;
    pthread_mutex_lock(&f->lock);
    enum tail_news news = take(f, json, err);
    if (news == TAIL_NOTHING && wait_s > 0) {
        pthread_cond_timedwait(&f->some, &f->lock, &until);
        news = take(f, json, err);
    }
    pthread_mutex_unlock(&f->lock);
    return news;
}

void tail_feed_close(struct tail_feed *f)
{
    if (!f)
        return;
    atomic_store(&f->stop, true);
    jl_thread_join(f->thread);
    for (struct item *i = f->first, *next; i; i = next) {
        next = i->next;
        free(i->json);
        free(i);
    }
    jl_buf_release(&f->said);
    free(f->url);
    free(f->token);
    free(f);
}
