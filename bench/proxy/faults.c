/* faults.c - what becomes of the chunks of `joulet serve` when a part of what meters them fails: the process that recognises is
 * stopped, or killed again and again; the read of a sensor hangs; the store is locked. A sound server stands beside it, and takes
 * turns with it in shuffled order. One JSON object a line: percentiles of the whole time per chunk, the sound server's as
 * baseline, and streams that broke. */
#include "bench/proxy/peer.h"
#include "bench/proxy/served.h"

#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SOUND, STOPPED, KILLED, HUNG, LOCKED, WAYS };
enum { ROUNDS = 7, STREAMS = 16, CHUNKS = 100, GAP_US = 20000 };
static const char *const names[WAYS] = {"sound", "recogniser stopped", "recogniser killed", "sensor hangs", "store locked"};

static struct served ways[WAYS];
static int upstream_port;
static char pipe_path[64];
static pid_t recognised_by; /* the last process that was stopped or killed */
static unsigned harmed;

/* ---- the faults --------------------------------------------------------------------------------------------------------- */

/* The sensor reads a pipe: without a writer there is nothing more to be read, with a silent one the read does not end. */
static void write_first(void)
{
    char line[64];
    int fd = open(pipe_path, O_WRONLY); /* until the sensor opens it */
    int n = snprintf(line, sizeof(line), "%lld 100\n", (long long)jl_mono_ns());
    _exit(fd >= 0 && write(fd, line, (size_t)n) == n ? 0 : 1);
}

static bool start_hung(struct served *s)
{
    char sim[96];
    snprintf(pipe_path, sizeof(pipe_path), "/tmp/joulet-bench-sensor-%d", (int)getpid());
    snprintf(sim, sizeof(sim), "follow:%s", pipe_path);
    unlink(pipe_path);
    pid_t writer = mkfifo(pipe_path, 0600) == 0 ? served_child() : -1;
    if (writer == 0)
        write_first();
    bool ok = writer > 0 && served_start(s, upstream_port, 0, sim) && waitpid(writer, NULL, 0) == writer;
    return ok && open(pipe_path, O_WRONLY) >= 0;
}

/* A row was written to it before, so that it is the writing that waits. */
static bool lock_store(const struct served *s)
{
    char *path = jl_strf("%s/joulet/joulet.db", s->folder);
    sqlite3 *db = NULL;
    bool ok = path && sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE, NULL) == SQLITE_OK &&
              sqlite3_busy_timeout(db, 10000) == SQLITE_OK && sqlite3_exec(db, "BEGIN EXCLUSIVE", NULL, NULL, NULL) == SQLITE_OK;
    free(path);
    return ok; /* it stays open, and so locked, until this process ends */
}

/* Again and again, as each is followed by another one. */
static void harm(int way)
{
    pid_t pid = way == STOPPED || way == KILLED ? served_recogniser(ways[way].pid) : 0;
    if (pid <= 0 || pid == recognised_by)
        return;
    kill(pid, way == STOPPED ? SIGSTOP : SIGKILL);
    recognised_by = pid;
    harmed++;
}

/* ---- a round ------------------------------------------------------------------------------------------------------------ */

struct job {
    int way;
    struct sample chunks;
    atomic_bool over;
    bool ok;
};

static void *stream(void *arg)
{
    struct job *j = arg;
    int fd = peer_connect(ways[j->way].port);
    j->ok = fd >= 0 && peer_stream(fd, 200, CHUNKS, GAP_US, &j->chunks, NULL);
    if (fd >= 0)
        close(fd);
    atomic_store(&j->over, true);
    return NULL;
}

/* Streams that broke; all chunks but the first of each in *all. */
static unsigned run_streams(int way, struct sample *all)
{
    static struct job jobs[STREAMS];
    pthread_t threads[STREAMS];
    unsigned broke = 0;
    for (int i = 0; i < STREAMS; i++) {
        jobs[i] = (struct job){.way = way};
        if (pthread_create(&threads[i], NULL, stream, &jobs[i]))
            abort();
    }
    for (unsigned k = 0; !atomic_load(&jobs[0].over); k++) {
        if (k % 16 == 0) /* to look for the process takes time, too */
            harm(way);
        usleep(20000);
    }
    for (int i = 0; i < STREAMS; i++) {
        pthread_join(threads[i], NULL);
        broke += !jobs[i].ok;
        for (size_t k = 1; k < jobs[i].chunks.n; k++)
            sample_add(all, jobs[i].chunks.s[k]);
        sample_release(&jobs[i].chunks);
    }
    return broke;
}

/* ---- what is told ------------------------------------------------------------------------------------------------------- */

static void figure(const char *what, int way, double value, const char *unit, double baseline)
{
    printf("{\"figure\": \"%s, %s\", \"value\": %.6g, \"unit\": \"%s\", \"goal\": null, \"baseline\": %.6g, \"meets\": null}\n",
           what, names[way], value, unit, baseline);
}

static void tell(struct sample at50[], struct sample at99[], const unsigned broke[])
{
    double p50[WAYS], p99[WAYS];
    for (int w = 0; w < WAYS; w++) {
        p50[w] = sample_quantile(&at50[w], 0.5) * 1e6;
        p99[w] = sample_quantile(&at99[w], 0.5) * 1e6;
        sample_release(&at50[w]);
        sample_release(&at99[w]);
    }
    for (int w = 0; w < WAYS; w++) {
        figure("time per chunk p50, 16 streams", w, p50[w], "us", p50[SOUND]);
        figure("time per chunk p99, 16 streams", w, p99[w], "us", p99[SOUND]);
        figure("streams that broke", w, broke[w], "", broke[SOUND]);
    }
    printf("{\"figure\": \"processes stopped or killed\", \"value\": %u, \"unit\": \"\", \"goal\": 1, \"baseline\": null, "
           "\"meets\": %s}\n",
           harmed, harmed ? "true" : "false");
}

static void measure(void)
{
    struct jl_rng rng = {20261122};
    struct sample at50[WAYS] = {0}, at99[WAYS] = {0};
    unsigned broke[WAYS] = {0};
    for (int round = 0; round < ROUNDS; round++) {
        int order[WAYS];
        peer_shuffle(order, WAYS, &rng);
        for (int i = 0; i < WAYS; i++) {
            struct sample all = {0};
            int w = order[i];
            broke[w] += run_streams(w, &all);
            if (all.n) {
                sample_add(&at50[w], sample_quantile(&all, 0.5));
                sample_add(&at99[w], sample_quantile(&all, 0.99));
            }
            sample_release(&all);
        }
    }
    tell(at50, at99, broke);
}

/* A request through each first: what is made with the first one is there, and the store has its rows. */
static bool start_all(void)
{
    bool ok = true;
    for (int w = 0; w < WAYS && ok; w++)
        ok = w == HUNG ? start_hung(&ways[w]) : served_start(&ways[w], upstream_port, 0, NULL);
    for (int w = 0; w < WAYS && ok; w++) {
        int fd = peer_connect(ways[w].port);
        ok = fd >= 0 && peer_stream(fd, 200, 2, 1000, NULL, NULL);
        close(fd);
    }
    usleep(2000000); /* the row is there within a second */
    return ok && lock_store(&ways[LOCKED]);
}

int main(void)
{
    int fd = peer_listen(&upstream_port);
    signal(SIGPIPE, SIG_IGN);
    jl_open_files_most();
    pid_t upstream = fd >= 0 ? served_child() : -1;
    if (upstream == 0)
        peer_serve(fd);
    bool ok = upstream > 0 && start_all();
    if (ok)
        measure();
    else
        fprintf(stderr, "proxy_faults: joulet serve could not be started, or its store not locked\n");
    for (int w = 0; w < WAYS; w++) {
        pid_t recogniser = w == STOPPED && ways[w].pid > 0 ? served_recogniser(ways[w].pid) : 0;
        if (recogniser > 0)
            kill(recogniser, SIGKILL);
        if (w == HUNG && ways[w].pid > 0) /* it cannot end by itself */
            kill(ways[w].pid, SIGKILL);
        served_stop(&ways[w]);
    }
    if (upstream > 0)
        kill(upstream, SIGKILL);
    unlink(pipe_path);
    return ok ? 0 : 1;
}
