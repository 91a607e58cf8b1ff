/* crowd.c - ten thousand connections to `joulet serve`, which may have so many: every hundredth asks for something in between,
 * further ones are closed, and what all of them held is given back when they have left. Twice, because what stays after the first
 * time must not stay again. crowd [CONNECTIONS] */
#include "bench/proxy/peer.h"
#include "bench/proxy/served.h"

#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CROWD_MOST = 20000, ASKS_EVERY = 100, FURTHER = 200, THREADS_OF_OURS = 64 };
#define PATIENCE_NS ((int64_t)120 * JL_NS_PER_S)

struct crowd {
    size_t n, opened, asked, answered, refused;
    double before_kb, with_kb, after_kb;
};
static int fds[CROWD_MOST];

static bool wait_for_threads(pid_t pid, double least, double most)
{
    for (int64_t until_ns = jl_mono_ns() + PATIENCE_NS; jl_mono_ns() < until_ns; jl_sleep_until(jl_mono_ns() + 100000000)) {
        double n = served_held(pid).threads;
        if (n >= least && n <= most)
            return true;
    }
    return false;
}

/* Beyond the limit: closed, and never answered. */
static void ask_further(struct crowd *c, int port)
{
    for (size_t i = 0; i < FURTHER; i++) {
        int fd = peer_connect(port);
        c->refused += fd < 0 || !peer_ask(fd);
        if (fd >= 0)
            close(fd);
    }
}

static bool come_and_go(struct crowd *c, const struct served *s)
{
    *c = (struct crowd){.n = c->n, .before_kb = served_held(s->pid).resident_kb};
    while (c->opened < c->n && (fds[c->opened] = peer_connect(s->port)) >= 0)
        c->opened++;
    bool all = c->opened == c->n && wait_for_threads(s->pid, (double)c->n, INFINITY);
    for (size_t i = 0; i < c->opened; i += i + ASKS_EVERY < c->opened || i + 1 == c->opened ? ASKS_EVERY : c->opened - 1 - i) {
        c->asked++;
        c->answered += peer_ask(fds[i]);
    }
    if (all)
        ask_further(c, s->port);
    c->with_kb = served_held(s->pid).resident_kb;
    for (size_t i = 0; i < c->opened; i++)
        close(fds[i]);
    bool left = wait_for_threads(s->pid, 1, THREADS_OF_OURS);
    jl_sleep_until(jl_mono_ns() + 12 * JL_NS_PER_S); /* it looks every few seconds what it can give back */
    c->after_kb = served_held(s->pid).resident_kb;
    return all && left;
}

static bool figure(const char *name, double value, const char *unit, double goal, bool meets)
{
    printf("{\"figure\": \"%s\", \"value\": %.5g, \"unit\": \"%s\", \"goal\": %.5g, \"meets\": %s}\n", name, value, unit, goal,
           meets ? "true" : "false");
    fflush(stdout);
    return meets;
}

static bool judge(const struct crowd *first, const struct crowd *again)
{
    double n = (double)first->n, each = (first->with_kb - first->before_kb) / n;
    bool ok =
        figure("connections at a time", (double)first->opened, "", n, first->opened == first->n && again->opened == first->n);
    ok &= figure("requests among them", (double)first->asked, "", 1, first->asked > 1);
    ok &= figure("answered", (double)first->answered, "", (double)first->asked,
                 first->answered == first->asked && again->answered == again->asked);
    ok &= figure("further connections that were closed", (double)first->refused, "", FURTHER,
                 first->refused == FURTHER && again->refused == FURTHER);
    ok &= figure("memory per connection", each, "kB", 100, each <= 100);
    ok &= figure("memory before them", first->before_kb, "kB", first->before_kb, true);
    ok &= figure("memory with them", first->with_kb, "kB", 100 * n, first->with_kb <= 100 * n);
    double stays = (first->with_kb - first->before_kb) / 10;
    ok &= figure("memory that stays when they have left", first->after_kb - first->before_kb, "kB", stays,
                 first->after_kb - first->before_kb <= stays);
    ok &= figure("and more of it after the second time", again->after_kb - first->after_kb, "kB", stays / 10,
                 again->after_kb - first->after_kb <= stays / 10);
    return ok;
}

int main(int argc, char **argv)
{
    struct crowd first = {.n = argc > 1 ? strtoul(argv[1], NULL, 10) : 10000}, again = {.n = first.n};
    struct served s = {0};
    int port, fd = peer_listen(&port);
    if (first.n < ASKS_EVERY || first.n > CROWD_MOST) {
        fprintf(stderr, "usage: crowd [CONNECTIONS]: %d to %d\n", ASKS_EVERY, CROWD_MOST);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    jl_open_files_most();
    pid_t upstream = fd >= 0 ? served_child() : -1;
    if (upstream == 0)
        peer_serve(fd);
    bool ok = upstream > 0 && served_start(&s, port, (unsigned)first.n, NULL);
    if (!ok)
        fprintf(stderr, "soak: joulet serve could not be started\n");
    int one = ok ? peer_connect(s.port) : -1; /* so that what the first request needs is there before */
    if (one >= 0) {
        peer_ask(one);
        close(one);
        wait_for_threads(s.pid, 1, THREADS_OF_OURS);
    }
    bool came = ok && come_and_go(&first, &s) && come_and_go(&again, &s);
    ok = ok && judge(&first, &again) && came;
    if (upstream > 0)
        kill(upstream, SIGKILL);
    served_stop(&s);
    return ok ? 0 : 1;
}
