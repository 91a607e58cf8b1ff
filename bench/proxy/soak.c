/* soak.c - `joulet serve`, metering on, with 2000 open streams for an hour (or MINUTES): each gets a chunk every few seconds and
 * ends after half a minute to four minutes. Then its connection asks for the next one; every fourth time it is closed and a new
 * one is opened. What the program, the process that recognises and a server without a stream hold is written every ten seconds,
 * as rows of FILE; each minute as an object a line; at the end whether memory rose: the slope of the last three quarters with its
 * 95 % interval, and the rise between their first and their last minute. The first quarter is for everything to be used once.
 * soak [MINUTES [STREAMS [FILE]]] */
#include "bench/proxy/peer.h"
#include "bench/proxy/served.h"
#include "lib/stats/stats.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STREAMS_MOST = 4000, MINUTES_MOST = 24 * 60, A_MINUTE = 6 /* looks */, LOOKS_MOST = MINUTES_MOST * A_MINUTE + 1 };
#define LOOK_NS      ((int64_t)10 * JL_NS_PER_S)
#define CLOSES_EVERY 4
#define END          "\r\n0\r\n\r\n"
#define RISE_MOST    0.02 /* of the memory, an hour */

struct stream {
    int fd;
    char tail[8]; /* the end may be cut */
    size_t tail_n;
};
static struct stream streams[STREAMS_MOST];
static size_t n_streams, n_broken, n_ended, n_opened;
static unsigned long long n_bytes;
static double above[LOOKS_MOST]; /* memory above that of the server without streams, kB */
static struct jl_rng rng = {1};

/* ---- the streams -------------------------------------------------------------------------------------------------------- */

/* Of differing length and pace, with prompts of 200 bytes to 16 kB, short ones mostly. */
static bool ask(int fd)
{
    unsigned chunks = 15 + (unsigned)(jl_rng_uniform(&rng) * 30), gap_us = 2500000 + (unsigned)(jl_rng_uniform(&rng) * 3e6);
    return peer_ask_stream(fd, (size_t)(200 * exp(jl_rng_uniform(&rng) * jl_rng_uniform(&rng) * log(80))), chunks, gap_us);
}

static bool open_one(struct stream *s, int port, int epoll)
{
    struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
    s->tail_n = 0;
    s->fd = peer_connect(port);
    n_opened++;
    return s->fd >= 0 && ask(s->fd) && epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &e) == 0;
}

static bool open_streams(int port, size_t n, int epoll)
{
    while (n_streams < n) {
        if (!open_one(&streams[n_streams], port, epoll))
            return false;
        n_streams++;
        usleep(2000); /* so that their chunks do not come all at once */
    }
    return true;
}

static void broke(struct stream *s)
{
    n_broken++;
    if (s->fd >= 0)
        close(s->fd);
    s->fd = -1;
}

static void ended(struct stream *s, int port, int epoll)
{
    bool anew = ++n_ended % CLOSES_EVERY == 0;
    s->tail_n = 0;
    if (anew)
        close(s->fd);
    if (anew ? !open_one(s, port, epoll) : !ask(s->fd))
        broke(s);
}

static void look(struct stream *s, int port, int epoll)
{
    char in[16384 + sizeof(s->tail)];
    memcpy(in, s->tail, s->tail_n);
    ssize_t got = recv(s->fd, in + s->tail_n, 16384, MSG_DONTWAIT);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (got <= 0) {
        broke(s);
        return;
    }
    size_t n = s->tail_n + (size_t)got, end = sizeof(END) - 1;
    n_bytes += (size_t)got;
    s->tail_n = n < end - 1 ? n : end - 1;
    memmove(s->tail, in + n - s->tail_n, s->tail_n);
    if (n >= end && memcmp(in + n - end, END, end) == 0)
        ended(s, port, epoll);
}

static void look_until(int port, int epoll, int64_t until_ns)
{
    struct epoll_event events[256];
    for (int64_t left; (left = until_ns - jl_mono_ns()) > 0;) {
        int n = epoll_wait(epoll, events, 256, (int)(left / 1000000) + 1);
        for (int i = 0; i < n; i++) {
            struct stream *s = events[i].data.ptr;
            if (s->fd >= 0)
                look(s, port, epoll);
        }
    }
}

/* ---- the verdict -------------------------------------------------------------------------------------------------------- */

/* Slope of `above` from look `from` on, kB an hour; half its 95 % interval in *pm. Looks that resemble their predecessor count
 * for less. */
static double slope(size_t from, size_t n, double *pm)
{
    static double residuals[LOOKS_MOST];
    double mx = 0, my = 0, sxx = 0, sxy = 0, sum = 0, count = (double)(n - from), an_hour = 60 * A_MINUTE;
    for (size_t i = from; i < n; i++) {
        mx += (double)i / count;
        my += above[i] / count;
    }
    for (size_t i = from; i < n; i++) {
        sxx += ((double)i - mx) * ((double)i - mx);
        sxy += ((double)i - mx) * (above[i] - my);
    }
    for (size_t i = from; i < n; i++) {
        residuals[i - from] = above[i] - my - sxy / sxx * ((double)i - mx);
        sum += residuals[i - from] * residuals[i - from];
    }
    double r1 = jl_autocorrelation(residuals, n - from);
    r1 = r1 > 0 ? r1 < 0.97 ? r1 : 0.97 : 0;
    double worth = count * (1 - r1) / (1 + r1) - 2;
    *pm = worth >= 1 ? jl_t975(worth) * sqrt(sum / worth / sxx) * an_hour : (double)NAN;
    return sxy / sxx * an_hour;
}

/* Of the minute that begins with that look. */
static double mean_of_minute(size_t from)
{
    double sum = 0;
    for (size_t i = 0; i < A_MINUTE; i++)
        sum += above[from + i];
    return sum / A_MINUTE;
}

static void figure(const char *name, double value, double pm, const char *unit, double goal, bool meets)
{
    printf("{\"figure\": \"%s\", \"value\": %.4g, \"pm\": ", name, value);
    printf(isfinite(pm) ? "%.3g" : "null", pm);
    printf(", \"unit\": \"%s\", \"goal\": %.4g, \"meets\": %s}\n", unit, goal, meets ? "true" : "false");
}

/* Flat: it does not rise by more than 2 % an hour, as surely as can be told. */
static bool judge(size_t looks)
{
    size_t from = looks / 4;
    double pm, n = (double)n_streams, rise = slope(from, looks, &pm), last = mean_of_minute(looks - A_MINUTE);
    double between = last - mean_of_minute(from), most = RISE_MOST * last;
    bool flat = rise + pm <= most, whole = n_broken == 0;
    figure("open streams that broke", (double)n_broken, (double)NAN, "", 0, whole);
    figure("streams that ended, and others after them", (double)n_ended, (double)NAN, "", 1, n_ended > 0);
    figure("connections", (double)n_opened, (double)NAN, "", n, true);
    figure("memory per open stream at the end", last / n, (double)NAN, "kB", 100, last / n <= 100);
    figure("rise from the end of the first quarter to the end, per stream", between / n, (double)NAN, "kB", most / n,
           between <= most);
    figure("slope of the last three quarters, per stream and hour", rise / n, pm / n, "kB", most / n, flat);
    printf("{\"verdict\": \"%s\"}\n", flat ? "flat" : rise - pm > 0 ? "rises" : "not told: the interval is too wide");
    return flat && whole && last / n <= 100;
}

/* ---- looking ------------------------------------------------------------------------------------------------------------ */

static void write_row(FILE *f, double s, const struct held *h, const struct held *recogniser, const struct held *idle)
{
    fprintf(f, "%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%.0f,%zu,%zu,%zu,%zu\n", s, h->resident_kb, h->share_kb, h->threads, h->files,
            recogniser->resident_kb, recogniser->share_kb, idle->resident_kb, n_streams - n_broken, n_ended, n_opened, n_broken);
    fflush(f);
}

static void write_minute(size_t minute, const struct held *h, const struct held *recogniser, const struct held *idle, double over)
{
    printf("{\"minute\": %zu, \"resident_kb\": %.0f, \"without_streams_kb\": %.0f, \"per_stream_kb\": %.2f, \"recogniser_kb\": "
           "%.0f, \"threads\": %.0f, \"files\": %.0f, \"streams\": %zu, \"ended\": %zu, \"broken\": %zu, \"bytes\": %llu}\n",
           minute, h->resident_kb, idle->resident_kb, over / (double)n_streams, recogniser->resident_kb, h->threads, h->files,
           n_streams - n_broken, n_ended, n_broken, n_bytes);
    fflush(stdout);
}

static bool soak(size_t minutes, size_t n, const struct served *joulet, const struct served *idle, FILE *rows)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    pid_t child = served_recogniser(joulet->pid);
    if (!open_streams(joulet->port, n, epoll)) {
        fprintf(stderr, "soak: only %zu streams could be opened: %s\n", n_streams, strerror(errno));
        return false;
    }
    fprintf(rows, "s,resident_kb,pss_kb,threads,files,recogniser_resident_kb,recogniser_pss_kb,without_streams_kb,streams,ended,"
                  "connections,broken\n");
    int64_t t_ns = jl_mono_ns();
    size_t looks = minutes * A_MINUTE + 1;
    for (size_t i = 0; i < looks; i++) {
        look_until(joulet->port, epoll, t_ns + (int64_t)i * LOOK_NS);
        struct held h = served_held(joulet->pid), recogniser = served_held(child), base = served_held(idle->pid);
        above[i] = h.resident_kb - base.resident_kb;
        write_row(rows, jl_s(jl_mono_ns() - t_ns), &h, &recogniser, &base);
        if (i % A_MINUTE == 0)
            write_minute(i / A_MINUTE, &h, &recogniser, &base, above[i]);
    }
    return judge(looks);
}

int main(int argc, char **argv)
{
    size_t minutes = argc > 1 ? strtoul(argv[1], NULL, 10) : 60, n = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;
    struct served joulet = {0}, idle = {0};
    int port, fd = peer_listen(&port);
    if (minutes < 4 || minutes > MINUTES_MOST || n < 1 || n > STREAMS_MOST) {
        fprintf(stderr, "usage: soak [MINUTES [STREAMS [FILE]]]: at least 4 minutes, at most %d streams\n", STREAMS_MOST);
        return 2;
    }
    FILE *rows = fopen(argc > 3 ? argv[3] : "/dev/null", "we");
    signal(SIGPIPE, SIG_IGN);
    jl_open_files_most();
    pid_t upstream = fd >= 0 ? served_child() : -1;
    if (upstream == 0)
        peer_serve(fd);
    bool both = rows && upstream > 0 && served_start(&joulet, port, 0, NULL) && served_start(&idle, port, 0, NULL);
    bool ok = both && soak(minutes, n, &joulet, &idle, rows);
    if (!rows)
        fprintf(stderr, "soak: %s cannot be written\n", argv[3]);
    else if (!both)
        fprintf(stderr, "soak: joulet serve could not be started\n");
    if (upstream > 0)
        kill(upstream, SIGKILL);
    served_stop(&joulet);
    served_stop(&idle);
    if (rows)
        fclose(rows);
    return ok ? 0 : 1;
}
