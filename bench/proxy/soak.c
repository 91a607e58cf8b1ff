/* soak.c - `joulet serve`, metering on, with 2000 open streams for an hour (or MINUTES): each gets a chunk every ten seconds,
 * ends after five minutes and is asked for again on the same connection. Each minute's resident memory is written as an object a
 * line, then whether it rose: the slope with its 95 % interval, after the first quarter in which everything is used for the first
 * time. soak [MINUTES [STREAMS]] */
#include "bench/proxy/peer.h"
#include "lib/stats/stats.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

enum { STREAMS_MOST = 10000, CHUNKS = 12, GAP_US = 10000000, MINUTES_MOST = 24 * 60 };
#define END       "\r\n0\r\n\r\n"
#define RISE_MOST 0.02 /* of the memory, an hour */

struct stream {
    int fd;
    char tail[8]; /* the end may be cut */
    size_t tail_n;
};
static struct stream streams[STREAMS_MOST];
static size_t n_streams, n_broken, n_ended;
static unsigned long long n_bytes;
static double resident[MINUTES_MOST + 1]; /* above that of the one without streams */
static char folder[] = "/tmp/joulet-soak-XXXXXX";

/* ---- the processes ------------------------------------------------------------------------------------------------------ */

static pid_t child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

/* The program as a user starts it. Its port; 0: it did not start. */
static int start_joulet(int upstream_port, pid_t *pid)
{
    int out[2], port = 0;
    char *upstream = jl_strf("http://127.0.0.1:%d", upstream_port), line[256] = "";
    if (pipe(out))
        return 0;
    *pid = child();
    if (*pid == 0) {
        dup2(out[1], 1);
        setenv("JOULET_DATA_DIR", folder, 1);
        execl(JOULET_PROGRAM, "joulet", "serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--sim", "20", "--sensors",
              "sim", (char *)NULL);
        _exit(127);
    }
    close(out[1]);
    for (size_t n = 0; n + 1 < sizeof(line) && !strchr(line, '\n');) {
        ssize_t got = read(out[0], line + n, sizeof(line) - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        line[n] = '\0';
    }
    const char *colon = strchr(line + (strlen(line) > 7 ? 7 : 0), ':');
    port = colon ? atoi(colon + 1) : 0;
    free(upstream);
    return port; /* its standard output stays open: it may write to it */
}

static double of_status(pid_t pid, const char *key)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    const char *line = jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK ? strstr(text, key) : NULL;
    return line ? strtod(line + strlen(key), NULL) : (double)NAN;
}

/* ---- the streams -------------------------------------------------------------------------------------------------------- */

static bool open_streams(int port, size_t n, int epoll)
{
    while (n_streams < n) {
        struct stream *s = &streams[n_streams];
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = n_streams};
        s->fd = peer_connect(port);
        if (s->fd < 0 || !peer_ask_stream(s->fd, 200, CHUNKS, GAP_US) || epoll_ctl(epoll, EPOLL_CTL_ADD, s->fd, &e))
            return false;
        n_streams++;
        usleep(2000); /* so that their chunks do not come all at once */
    }
    return true;
}

static void broke(struct stream *s)
{
    n_broken++;
    close(s->fd);
    s->fd = -1;
}

static void look(struct stream *s)
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
    memcpy(s->tail, in + n - s->tail_n, s->tail_n);
    if (n < end || memcmp(in + n - end, END, end) != 0)
        return;
    n_ended++;
    s->tail_n = 0;
    if (!peer_ask_stream(s->fd, 200, CHUNKS, GAP_US))
        broke(s);
}

static void look_until(int epoll, int64_t until_ns)
{
    struct epoll_event events[256];
    for (int64_t left; (left = until_ns - jl_mono_ns()) > 0;) {
        int n = epoll_wait(epoll, events, 256, (int)(left / 1000000) + 1);
        for (int i = 0; i < n; i++) {
            struct stream *s = &streams[events[i].data.u64];
            if (s->fd >= 0)
                look(s);
        }
    }
}

/* ---- the verdict -------------------------------------------------------------------------------------------------------- */

/* Slope of memory from minute `from` on, kB an hour; half its 95 % interval in *pm. Minutes that resemble their
 * predecessor count for less. */
static double slope(size_t from, size_t n, double *pm)
{
    double residuals[MINUTES_MOST + 1], mx = 0, my = 0, sxx = 0, sxy = 0, sum = 0, count = (double)(n - from);
    for (size_t i = from; i < n; i++) {
        mx += (double)i / count;
        my += resident[i] / count;
    }
    for (size_t i = from; i < n; i++) {
        sxx += ((double)i - mx) * ((double)i - mx);
        sxy += ((double)i - mx) * (resident[i] - my);
    }
    for (size_t i = from; i < n; i++) {
        residuals[i - from] = resident[i] - my - sxy / sxx * ((double)i - mx);
        sum += residuals[i - from] * residuals[i - from];
    }
    double r1 = jl_autocorrelation(residuals, n - from);
    r1 = r1 > 0 ? r1 < 0.9 ? r1 : 0.9 : 0;
    double worth = count * (1 - r1) / (1 + r1) - 2;
    *pm = worth >= 1 ? jl_t975(worth) * sqrt(sum / worth / sxx) * 60 : (double)NAN;
    return sxy / sxx * 60;
}

static void figure(const char *name, double value, double pm, const char *unit, double goal, bool meets)
{
    printf("{\"figure\": \"%s\", \"value\": %.6g, \"pm\": ", name, value);
    printf(isfinite(pm) ? "%.3g" : "null", pm);
    printf(", \"unit\": \"%s\", \"goal\": %.6g, \"meets\": %s}\n", unit, goal, meets ? "true" : "false");
}

/* Flat: it does not rise by more than 2 % an hour, as surely as can be told. */
static bool judge(size_t minutes)
{
    size_t from = minutes / 4, n = minutes + 1;
    double pm, rise = slope(from, n, &pm), last = resident[n - 1], each = last / (double)n_streams;
    double most = RISE_MOST * last;
    bool flat = rise + pm <= most, whole = n_broken == 0;
    figure("open streams that broke", (double)n_broken, (double)NAN, "", 0, whole);
    figure("streams that ended and were asked for again", (double)n_ended, (double)NAN, "", 1, n_ended > 0);
    figure("memory per open stream at the end", each, (double)NAN, "kB", 100, each <= 100);
    figure("rise of memory an hour", rise, pm, "kB", most, flat);
    return flat && whole && each <= 100;
}

static bool soak(size_t minutes, size_t n, pid_t joulet, pid_t idle, int port)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!open_streams(port, n, epoll)) {
        fprintf(stderr, "soak: only %zu streams could be opened: %s\n", n_streams, strerror(errno));
        return false;
    }
    int64_t t_ns = jl_mono_ns();
    for (size_t minute = 0; minute <= minutes; minute++) {
        look_until(epoll, t_ns + (int64_t)minute * 60 * JL_NS_PER_S);
        double all = of_status(joulet, "VmRSS:"), base = of_status(idle, "VmRSS:");
        resident[minute] = all - base;
        printf(
            "{\"minute\": %zu, \"resident_kb\": %.0f, \"without_streams_kb\": %.0f, \"per_stream_kb\": %.2f, \"threads\": %.0f, "
            "\"streams\": %zu, \"ended\": %zu, \"broken\": %zu, \"bytes\": %llu}\n",
            minute, all, base, resident[minute] / (double)n_streams, of_status(joulet, "Threads:"), n_streams - n_broken, n_ended,
            n_broken, n_bytes);
        fflush(stdout);
    }
    return judge(minutes);
}

int main(int argc, char **argv)
{
    size_t minutes = argc > 1 ? strtoul(argv[1], NULL, 10) : 60, n = argc > 2 ? strtoul(argv[2], NULL, 10) : 2000;
    int port, fd = peer_listen(&port);
    pid_t upstream, joulet, idle;
    if (minutes < 8 || minutes > MINUTES_MOST || n < 1 || n > STREAMS_MOST) {
        fprintf(stderr, "usage: soak [MINUTES [STREAMS]]: at least 8 minutes, at most %d streams\n", STREAMS_MOST);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    jl_open_files_most();
    upstream = fd >= 0 && mkdtemp(folder) ? child() : -1;
    if (upstream == 0)
        peer_serve(fd);
    int at = upstream > 0 ? start_joulet(port, &joulet) : 0;
    bool both = at > 0 && start_joulet(port, &idle) > 0;
    bool ok = both && soak(minutes, n, joulet, idle, at);
    if (!both)
        fprintf(stderr, "soak: joulet serve could not be started\n");
    if (upstream > 0) {
        kill(upstream, SIGKILL);
        kill(joulet, SIGTERM);
    }
    if (at > 0)
        kill(idle, SIGTERM);
    while (wait(NULL) > 0)
        continue;
    char *command = jl_strf("rm -rf %s", folder);
    if (command && system(command))
        fprintf(stderr, "soak: %s could not be removed\n", folder);
    free(command);
    return ok ? 0 : 1;
}
