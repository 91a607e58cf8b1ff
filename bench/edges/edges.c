/* edges.c - how far the proxy's phase edges are from the true ones: a simulated engine on the same clock, the real proxy in front
 * of it, one stream after the other. With the engine's own times, and from the arrival of pieces alone. True is when the engine
 * really sent a piece, not when it meant to: a machine that wakes its thread late makes it late, and that is not the proxy's.
 * Beside it what the machine does: how late the engine was, how late a program that only reads saw the first piece of the same
 * engine without any proxy, in turns with the others, and how late a thread wakes that asked for a time. One JSON object a line.
 */
#include "lib/platform/platform.h"
#include "server/metering_private.h"
#include "server/server.h"
#include "tests/sim_engine/sim_engine.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS = 100 };
#define QUIET_S    1.5
#define PATIENCE_S 30.0

struct sample {
    double s[4 * REQUESTS];
    size_t n;
};

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

static void add(struct sample *x, double s)
{
    if (x->n < JL_COUNT(x->s))
        x->s[x->n++] = s;
}

static const double levels[] = {0.5, 0.99};

static double level_ms(struct sample *x, size_t i)
{
    qsort(x->s, x->n, sizeof *x->s, by_size);
    return 1e3 * x->s[(size_t)(levels[i] * (double)(x->n - 1))];
}

/* bare: what the machine does without us; NULL: none. */
static void print(const char *name, struct sample *x, double goal_ms, struct sample *bare)
{
    for (size_t i = 0; i < JL_COUNT(levels) && x->n; i++) {
        double ms = level_ms(x, i);
        printf("{\"figure\": \"edges.%s.p%g\", \"value\": %.3f, \"unit\": \"ms\", \"goal\": ", name, 100 * levels[i], ms);
        if (i && isfinite(goal_ms))
            printf("%g", goal_ms);
        else
            printf("null");
        printf(", \"baseline\": ");
        if (bare && bare->n)
            printf("%.3f", level_ms(bare, i));
        else
            printf("null");
        printf(", \"meets\": %s}\n", i && isfinite(goal_ms) ? ms <= goal_ms ? "true" : "false" : "null");
    }
}

/* ---- the machine's own lateness ---------------------------------------------------------------------------------- */

struct timer {
    struct sample late;
    atomic_bool stop;
};

static void *watch_timer(void *arg)
{
    struct timer *t = arg;
    for (int64_t at = jl_mono_ns(); !atomic_load(&t->stop);) {
        at += 20 * JL_NS_PER_S / 1000;
        jl_sleep_until(at);
        int64_t now = jl_mono_ns();
        add(&t->late, jl_s(now - at));
        at = now;
    }
    return NULL;
}

/* ---- one stream after the other ---------------------------------------------------------------------------------- */

/* t_first_ns: when the first event was read; NULL: nobody wants to know. */
static bool ask(const char *address, const char *path, const char *body, int64_t *t_first_ns)
{
    const char *colon = strrchr(address, ':');
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon + 1))};
    char bytes[4096], *request = jl_strf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Type: "
                                         "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                                         path, strlen(body), body);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool ok = request && fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0 &&
              write(fd, request, strlen(request)) == (ssize_t)strlen(request);
    size_t all = 0;
    bool over = false; /* the last chunk came: the engine keeps the connection */
    for (ssize_t n; ok && !over && (n = read(fd, bytes, sizeof bytes - 1)) > 0;) {
        int64_t now = jl_mono_ns();
        all += (size_t)n;
        bytes[n] = '\0';
        if (t_first_ns && !*t_first_ns && strstr(bytes, "data:"))
            *t_first_ns = now;
        over = n >= 5 && memcmp(bytes + n - 5, "0\r\n\r\n", 5) == 0 && (n == 5 || bytes[n - 6] == '\n');
    }
    if (fd >= 0)
        close(fd);
    free(request);
    return ok && all > 100;
}

/* The i-th that came. */
static bool edges_of(struct metering *m, size_t i, struct metering_edges *e)
{
    bool there = false;
    for (int64_t until = jl_mono_ns() + jl_ns(PATIENCE_S); !there && jl_mono_ns() < until;) {
        pthread_mutex_lock(&m->lock);
        const struct metered *x = &m->table[i % METERING_REQUESTS];
        there = x->used && !x->live;
        if (there)
            *e = metering_edges_of(x);
        pthread_mutex_unlock(&m->lock);
        if (!there)
            jl_sleep_until(jl_mono_ns() + 1000000);
    }
    return there;
}

struct seen {
    struct sample off, ends, after; /* boundary, end; pieces after the engine's times */
    struct sample plan, late, bare; /* boundary against the schedule, the engine behind it; a bare reader */
};

static const char body[] = "{\"model\":\"sim-model\",\"stream\":true,\"max_tokens\":12,\"prompt\":\"a b c d e f g h\"}";

/* Without the proxy, then with it. */
static bool ask_both(struct sim_engine *engine, struct server *server, struct metering *metering, size_t i, struct seen *x)
{
    struct sim_truth bare, t;
    struct metering_edges e;
    int64_t first_ns = 0;
    char direct[64];
    snprintf(direct, sizeof direct, "127.0.0.1:%d", sim_engine_port(engine));
    if (!ask(direct, "/v1/completions", body, &first_ns) || !sim_engine_truth(engine, 2 * i, &bare) || !first_ns ||
        !ask(server_address(server), "/v1/completions", body, NULL) || !edges_of(metering, i, &e) ||
        !sim_engine_truth(engine, 2 * i + 1, &t) || !e.source)
        return false;
    add(&x->bare, jl_s(first_ns - bare.t_first_sent_ns));
    add(&x->off, fabs(jl_s(e.boundary_ns - t.t_first_sent_ns)));
    add(&x->ends, fabs(jl_s(e.end_ns - t.t_last_sent_ns)));
    add(&x->plan, fabs(jl_s(e.boundary_ns - t.t_decode_ns)));
    add(&x->late, jl_s(t.t_last_sent_ns - t.t_end_ns));
    add(&x->late, jl_s(t.t_first_sent_ns - t.t_decode_ns));
    if (!isnan(e.off_s))
        add(&x->after, e.off_s);
    return true;
}

/* times: the engine tells its own. */
static bool play(bool times, struct seen *x)
{
    struct sim_config c;
    struct joulet *meter = NULL;
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct metering_options m = {.n_channels = 1, .devices = 1};
    struct metering *metering = NULL;
    struct server *server = NULL;
    struct joulet_error err = {0};
    char url[64];
    sim_config_init(&c);
    c.openai = !times;
    c.stamps = true;
    c.overhead_ms = 0;
    c.prefill_ms = 3;
    c.decode_ms = 6;
    struct sim_engine *engine = sim_engine_start(&c, &err);
    o.sim = "50";
    o.sensors = "sim";
    o.calibration = "";
    bool ok = engine && joulet_open(&meter, &o, &err) == JOULET_OK && joulet_wait_ready(meter, 10, &err) == JOULET_OK;
    m.meter = meter;
    ok = ok && metering_open(&metering, &m, &err) == JOULET_OK;
    snprintf(url, sizeof url, "http://127.0.0.1:%d", engine ? sim_engine_port(engine) : 0);
    struct server_upstream to = {.url = url};
    struct server_options so = {
        .listen = "127.0.0.1:0", .upstreams = &to, .n_upstreams = 1, .metering = metering, .inject = SPLICE_ENERGY};
    ok = ok && server_open(&server, &so, &err) == JOULET_OK;
    jl_sleep_until(jl_mono_ns() + jl_ns(QUIET_S));
    for (size_t i = 0; i < REQUESTS && ok; i++)
        ok = ask_both(engine, server, metering, i, x);
    if (err.message[0])
        fprintf(stderr, "edges: %s\n", err.message);
    server_close(server);
    metering_close(metering);
    joulet_close(meter);
    sim_engine_stop(engine);
    return ok;
}

int main(void)
{
    static struct seen timings, arrival;
    static struct timer timer;
    pthread_t watcher;
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 0);
    if (pthread_create(&watcher, NULL, watch_timer, &timer) != 0)
        return 1;
    bool ok = play(true, &timings) && play(false, &arrival);
    atomic_store(&timer.stop, true);
    pthread_join(watcher, NULL);
    if (!ok) {
        fprintf(stderr, "edges: an exchange did not come through\n");
        return 1;
    }
    print("timings", &timings.off, 1, &timings.bare);
    print("arrival", &arrival.off, 3, &arrival.bare);
    print("end_timings", &timings.ends, 1, &timings.bare);
    print("end_arrival", &arrival.ends, 3, &arrival.bare);
    print("arrival_after_timings", &timings.after, NAN, NULL);
    print("timings_against_schedule", &timings.plan, NAN, &timings.late);
    print("arrival_against_schedule", &arrival.plan, NAN, &arrival.late);
    print("timer_late", &timer.late, NAN, NULL);
    return 0;
}
