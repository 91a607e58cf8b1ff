/* proxy.c - what `joulet serve` adds between a client and its engine: time per streamed chunk and to the first one, requests a
 * second, processor time per chunk and request, memory per open stream. Ways (direct, joulet without metering, with an observer
 * that looks at each byte, with an observer that hangs, with metering on a simulated sensor, a relay that understands
 * nothing, and nginx when the variable BENCH_NGINX names one) take turns in shuffled order; each figure is the median over rounds
 * of what a round's median or percentile shows. Where it is what a way adds, that is taken in each round, so that what the
 * machine does for some seconds is in both; from 16 streams on of many rounds, with the quarters of the rounds that lie below and
 * above. One JSON object a line; goals in docs/performance.md. */
#include "bench/proxy/peer.h"
#include "server/metering.h"
#include "server/recognise_apart.h"
#include "server/server.h"

#include <dirent.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { DIRECT, PLAIN, OBSERVED, STUCK, METERED, RELAY, NGINX, WAYS };
enum { ROUNDS = 5, ROUNDS_OF_MANY = 15, STREAMS_MOST = 64, HELD = 2000, LEAVERS = 100 };
static const char *const way_names[] = {"direct", "--no-meter", "observed", "observer hangs", "metered", "bare relay", "nginx"};

struct way {
    int port; /* 0: not there */
    pid_t pid;
};
static struct way ways[WAYS];
static pid_t upstream_pid;
static struct peer_silence *silence;
static char folder[] = "/tmp/joulet-bench-XXXXXX";

/* ---- one figure a line ------------------------------------------------------------------------------------------- */

static void print_number(const char *key, double v)
{
    if (isfinite(v))
        printf(", \"%s\": %.6g", key, v);
    else
        printf(", \"%s\": null", key);
}

/* Over rounds: the median, and what a quarter of the rounds is below and above. */
struct over_rounds {
    double low, mid, high;
};

static struct over_rounds over_rounds(struct sample *x)
{
    struct over_rounds r = {sample_quantile(x, 0.25), sample_quantile(x, 0.5), sample_quantile(x, 0.75)};
    sample_release(x);
    return r;
}

static void figure_begins(const char *name, double value, const char *unit)
{
    printf("{\"figure\": \"%s\"", name);
    print_number("value", value);
    printf(", \"unit\": \"%s\"", unit);
}

static void figure_ends(double value, double goal, double baseline, bool more_is_better)
{
    bool judged = isfinite(goal) && isfinite(value);
    print_number("goal", goal);
    print_number("baseline", baseline);
    printf(", \"meets\": %s}\n", judged ? ((more_is_better ? value >= goal : value <= goal) ? "true" : "false") : "null");
    fflush(stdout);
}

static void figure(const char *name, double value, const char *unit, double goal, double baseline, bool more_is_better)
{
    figure_begins(name, value, unit);
    figure_ends(value, goal, baseline, more_is_better);
}

/* Less is better. */
static void figure_spread(const char *name, struct over_rounds r, const char *unit, double goal, double baseline)
{
    figure_begins(name, r.mid, unit);
    print_number("low", r.low);
    print_number("high", r.high);
    figure_ends(r.mid, goal, baseline, false);
}

/* ---- the processes ----------------------------------------------------------------------------------------------- */

static pid_t child(void)
{
    pid_t pid = fork();
    if (pid == 0)
        prctl(PR_SET_PDEATHSIG, SIGKILL);
    return pid;
}

static void *on_begin(void *user, const struct observed *x)
{
    (void)x;
    return user;
}

static void on_chunk(void *state, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    unsigned long long *sum = state;
    (void)from_client, (void)t_ns;
    for (size_t i = 0; i < n; i++) /* about what looking for a word costs */
        *sum += (unsigned char)bytes[i] == '"';
}

static void on_end(void *state, const struct observed_end *e)
{
    (void)state, (void)e;
}

/* The worst that can become of it. */
static void *on_begin_hang(void *user, const struct observed *x)
{
    (void)x;
    for (;;)
        pause();
    return user;
}

static struct metering *open_metering(void)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct metering_options m = {.n_channels = 1, .devices = 1};
    struct metering *metering = NULL;
    struct joulet_error err;
    o.sim = "20";
    o.sensors = "sim";
    o.calibration = "";
    if (joulet_open(&m.meter, &o, &err) != JOULET_OK || joulet_wait_ready(m.meter, 10, &err) != JOULET_OK ||
        metering_open(&metering, &m, &err) != JOULET_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    return metering;
}

static void serve(int upstream_port, int way, int tell_fd)
{
    static unsigned long long sum;
    struct observer looks = {.user = &sum, .begin = on_begin, .chunk = on_chunk, .end = on_end};
    struct observer hangs = {.user = &sum, .begin = on_begin_hang, .end = on_end};
    char *url = jl_strf("http://127.0.0.1:%d", upstream_port);
    struct server_upstream up = {.url = url};
    struct server_options o = {.listen = "127.0.0.1:0",
                               .upstreams = &up,
                               .n_upstreams = 1,
                               .inject = SPLICE_ENERGY,
                               .metering = way == METERED ? open_metering() : NULL,
                               .observer = way == OBSERVED ? &looks
                                           : way == STUCK  ? &hangs
                                                           : NULL};
    struct server *s;
    struct joulet_error err;
    jl_open_files_most();
    jl_heap_of_few(); /* as the program does */
    if (server_open(&s, &o, &err) != JOULET_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    int port = atoi(strrchr(server_address(s), ':') + 1);
    if (write(tell_fd, &port, sizeof(port)) != sizeof(port))
        _exit(1);
    for (;;)
        pause();
}

static bool start_joulet(int way, int upstream_port)
{
    int tell[2];
    if (pipe(tell))
        return false;
    ways[way].pid = child();
    if (ways[way].pid == 0)
        serve(upstream_port, way, tell[1]);
    close(tell[1]);
    bool ok = read(tell[0], &ways[way].port, sizeof(int)) == sizeof(int);
    close(tell[0]);
    return ok;
}

/* As an operator sets it up for streams: no buffering, connections to the upstream kept. */
static void start_nginx(int upstream_port)
{
    const char *nginx = getenv("BENCH_NGINX");
    int port, fd = peer_listen(&port);
    char *path = jl_strf("%s/nginx.conf", folder), *errors = jl_strf("%s/error.log", folder);
    char *text = jl_strf(
        "daemon off; worker_processes 2; pid %s/nginx.pid; error_log %s/error.log crit;\n"
        "events { worker_connections 8192; }\n"
        "http { access_log off; client_body_temp_path %s/b; proxy_temp_path %s/p; fastcgi_temp_path %s/f; uwsgi_temp_path "
        "%s/u; scgi_temp_path %s/s; client_body_buffer_size 1m; keepalive_requests 1000000;\n"
        "upstream u { server 127.0.0.1:%d; keepalive 256; }\n"
        "server { listen 127.0.0.1:%d; location / { proxy_pass http://u; proxy_http_version 1.1; proxy_set_header "
        "Connection \"\"; proxy_buffering off; } } }\n",
        folder, folder, folder, folder, folder, folder, folder, upstream_port, port);
    close(fd);
    if (nginx && *nginx && jl_write_file(path, text, strlen(text), 0644, NULL) == JOULET_OK) {
        ways[NGINX].pid = child();
        if (ways[NGINX].pid == 0) {
            execlp(nginx, "nginx", "-p", folder, "-e", errors, "-c", path, (char *)NULL);
            _exit(127);
        }
        for (int i = 0; i < 100 && !ways[NGINX].port && waitpid(ways[NGINX].pid, NULL, WNOHANG) == 0; i++) {
            usleep(50000);
            fd = peer_connect(port);
            if (fd >= 0) {
                ways[NGINX].port = port;
                close(fd);
            }
        }
    }
    if (!ways[NGINX].port)
        fprintf(stderr, "proxy: without nginx: the variable BENCH_NGINX names none that works\n");
    free(errors);
    free(path);
    free(text);
}

static void start_relay(int upstream_port)
{
    int fd = peer_listen(&ways[RELAY].port);
    ways[RELAY].pid = child();
    if (ways[RELAY].pid == 0)
        relay_serve(fd, upstream_port);
    close(fd);
}

static bool start_all(void)
{
    int port, fd = peer_listen(&port);
    silence = peer_share();
    if (fd < 0 || !silence || !mkdtemp(folder))
        return false;
    upstream_pid = child();
    if (upstream_pid == 0) {
        jl_open_files_most();
        peer_serve(fd);
    }
    close(fd);
    ways[DIRECT] = (struct way){port, upstream_pid};
    bool ok = true;
    for (int way = PLAIN; way <= METERED && ok; way++)
        ok = start_joulet(way, port);
    start_relay(port);
    start_nginx(port);
    return ok;
}

static void stop_all(void)
{
    for (int i = PLAIN; i < WAYS; i++)
        if (ways[i].pid > 0)
            kill(ways[i].pid, i == NGINX ? SIGTERM : SIGKILL);
    kill(upstream_pid, SIGKILL);
    while (wait(NULL) > 0)
        continue;
    char *command = jl_strf("rm -rf %s", folder);
    if (command && system(command))
        fprintf(stderr, "proxy: %s could not be removed\n", folder);
    free(command);
}

/* ---- one round --------------------------------------------------------------------------------------------------- */

struct job {
    int way;
    size_t body;
    unsigned chunks, gap_us;
    struct sample *sample; /* of this client */
    double first_s;
    int64_t until_ns;
    size_t asked;
    bool ok;
};

static void *stream_job(void *arg)
{
    struct job *j = arg;
    int fd = peer_connect(ways[j->way].port);
    j->ok = fd >= 0 && peer_stream(fd, j->body, j->chunks, j->gap_us, j->sample, &j->first_s);
    if (fd >= 0)
        close(fd);
    return NULL;
}

static void *ask_job(void *arg)
{
    struct job *j = arg;
    int fd = peer_connect(ways[j->way].port);
    for (j->ok = fd >= 0; j->ok && jl_mono_ns() < j->until_ns; j->asked++)
        j->ok = peer_ask(fd);
    if (fd >= 0)
        close(fd);
    return NULL;
}

/* To the nanosecond, unlike what procfs tells. */
static double cpu_s_alone(pid_t pid)
{
    clockid_t clock;
    struct timespec t;
    if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return (double)NAN;
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static double cpu_s_of_children(pid_t pid, const char *task)
{
    char path[300], text[1024], *end;
    double s = 0;
    snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int)pid, task);
    if (jl_read_text(path, text, sizeof(text), NULL) != JOULET_OK)
        return 0;
    for (char *p = text; (pid = (pid_t)strtol(p, &end, 10)) > 0 && end != p; p = end) {
        double one = cpu_s_alone(pid);
        s += isfinite(one) ? one : 0;
    }
    return s;
}

/* With its children: nginx works in those, and what is metered is recognised in one. The kernel lists them by the thread that
 * made them. */
static double cpu_s_of(int way)
{
    char path[64];
    pid_t pid = ways[way].pid;
    double s = cpu_s_alone(pid);
    snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
    DIR *tasks = way == NGINX || way == METERED ? opendir(path) : NULL;
    for (struct dirent *d; tasks && (d = readdir(tasks));)
        if (d->d_name[0] != '.')
            s += cpu_s_of_children(pid, d->d_name);
    if (tasks)
        closedir(tasks);
    return s;
}

/* So many streams at once; all chunks but the first of each in *all, CPU seconds of the way in *cpu_s. */
static bool streams_round(int way, unsigned streams, unsigned chunks, unsigned gap_us, struct sample *all, double *cpu_s)
{
    struct job jobs[STREAMS_MOST];
    struct sample samples[STREAMS_MOST] = {0};
    pthread_t threads[STREAMS_MOST];
    bool ok = true;
    double before = cpu_s_of(way);
    for (unsigned i = 0; i < streams; i++) {
        jobs[i] = (struct job){.way = way, .body = 200, .chunks = chunks, .gap_us = gap_us, .sample = &samples[i]};
        if (pthread_create(&threads[i], NULL, stream_job, &jobs[i]))
            abort();
    }
    for (unsigned i = 0; i < streams; i++) {
        pthread_join(threads[i], NULL);
        ok &= jobs[i].ok;
        for (size_t k = 1; k < samples[i].n; k++)
            sample_add(all, samples[i].s[k]);
        sample_release(&samples[i]);
    }
    *cpu_s = cpu_s_of(way) - before;
    return ok;
}

static double requests_round(int way, unsigned clients, double seconds, double *cpu_s)
{
    struct job jobs[STREAMS_MOST];
    pthread_t threads[STREAMS_MOST];
    size_t n = 0;
    double before = cpu_s_of(way);
    int64_t from_ns = jl_mono_ns(), until_ns = from_ns + jl_ns(seconds);
    for (unsigned i = 0; i < clients; i++) {
        jobs[i] = (struct job){.way = way, .until_ns = until_ns};
        if (pthread_create(&threads[i], NULL, ask_job, &jobs[i]))
            abort();
    }
    for (unsigned i = 0; i < clients; i++) {
        pthread_join(threads[i], NULL);
        n += jobs[i].asked;
        if (!jobs[i].ok)
            return (double)NAN;
    }
    *cpu_s = (cpu_s_of(way) - before) / (double)n;
    return (double)n / jl_s(jl_mono_ns() - from_ns);
}

static double first_round(int way, size_t body, unsigned times)
{
    struct sample first = {0};
    int fd = peer_connect(ways[way].port);
    for (unsigned i = 0; i <= times && fd >= 0; i++) {
        double s;
        if (!peer_stream(fd, body, 1, 0, NULL, &s))
            break;
        if (i) /* the first one connects */
            sample_add(&first, s);
    }
    close(fd);
    double s = first.n == times ? sample_quantile(&first, 0.5) : (double)NAN;
    sample_release(&first);
    return s;
}

/* ---- rounds in shuffled order ------------------------------------------------------------------------------------ */

static double median(struct sample *x)
{
    double m = sample_quantile(x, 0.5);
    sample_release(x);
    return m;
}

struct goals { /* NAN: none */
    double p50_us, p99_us, cpu_us, above_nginx_us;
};

static void figure_of(const char *what, int way, double value, const char *unit, double goal, double baseline)
{
    char name[120];
    snprintf(name, sizeof(name), "%s, %s", what, way_names[way]);
    figure(name, value, unit, way == METERED ? goal : (double)NAN, baseline, false);
}

/* What each round showed, by ways. */
struct streamed {
    bool there[WAYS];
    double p50_us[WAYS], p99_us[WAYS], cpu_us[WAYS];
};

/* What one way has more than another in the rounds that have both. */
static struct over_rounds beside(const struct streamed *rounds, int n, size_t of, int way, int other)
{
    struct sample more = {0};
    for (int i = 0; i < n; i++) {
        const double *at = (const double *)(const void *)((const char *)&rounds[i] + of);
        if (rounds[i].there[way] && (other < 0 || rounds[i].there[other]))
            sample_add(&more, at[way] - (other < 0 ? 0 : at[other]));
    }
    return over_rounds(&more);
}

static void spread_of(const char *what, int way, struct over_rounds r, double goal, double baseline)
{
    char name[120];
    snprintf(name, sizeof(name), "%s, %s", what, way_names[way]);
    figure_spread(name, r, "us", way == METERED ? goal : (double)NAN, baseline);
}

/* The goals are those with metering on, which is what people run; the others stand beside it. */
static void tell_streams(unsigned streams, const struct goals *goals, const struct streamed *rounds, int n)
{
    size_t p50 = offsetof(struct streamed, p50_us), p99 = offsetof(struct streamed, p99_us),
           cpu = offsetof(struct streamed, cpu_us);
    char what[80];
    double with = beside(rounds, n, cpu, METERED, -1).mid, without = beside(rounds, n, cpu, PLAIN, -1).mid;
    for (int w = PLAIN; w < WAYS; w++) {
        if (!ways[w].port)
            continue;
        snprintf(what, sizeof(what), "added per chunk p50, %u streams", streams);
        spread_of(what, w, beside(rounds, n, p50, w, DIRECT), goals->p50_us, beside(rounds, n, p50, NGINX, DIRECT).mid);
        snprintf(what, sizeof(what), "added per chunk p99, %u streams", streams);
        spread_of(what, w, beside(rounds, n, p99, w, DIRECT), goals->p99_us, beside(rounds, n, p99, NGINX, DIRECT).mid);
        snprintf(what, sizeof(what), "processor time per chunk, %u streams", streams);
        spread_of(what, w, beside(rounds, n, cpu, w, -1), goals->cpu_us, beside(rounds, n, cpu, NGINX, -1).mid);
    }
    snprintf(what, sizeof(what), "p99 per chunk above that of nginx, %u streams", streams);
    if (ways[NGINX].port)
        spread_of(what, METERED, beside(rounds, n, p99, METERED, NGINX), goals->above_nginx_us, (double)NAN);
    snprintf(what, sizeof(what), "metering, processor time per chunk, %u streams", streams);
    figure(what, with - without, "us", (double)NAN, (double)NAN, false);
}

/* Observers that are no part of the program are seen in the first rounds alone. */
static void bench_streams(unsigned streams, unsigned chunks, unsigned gap_us, const struct goals *goals, struct jl_rng *rng)
{
    struct streamed rounds[ROUNDS_OF_MANY] = {0};
    int n = streams > 1 ? ROUNDS_OF_MANY : ROUNDS;
    for (int round = 0; round < n; round++) {
        int order[WAYS];
        peer_shuffle(order, WAYS, rng);
        for (int i = 0; i < WAYS; i++) {
            struct sample all = {0};
            double cpu_s;
            int w = order[i];
            bool wanted = ways[w].port && (round < ROUNDS || (w != OBSERVED && w != STUCK));
            if (wanted && streams_round(w, streams, chunks, gap_us, &all, &cpu_s)) {
                rounds[round].there[w] = true;
                rounds[round].p50_us[w] = sample_quantile(&all, 0.5) * 1e6;
                rounds[round].p99_us[w] = sample_quantile(&all, 0.99) * 1e6;
                rounds[round].cpu_us[w] = cpu_s / (double)all.n * 1e6;
            }
            sample_release(&all);
        }
    }
    tell_streams(streams, goals, rounds, n);
}

static void bench_first(size_t body, struct jl_rng *rng)
{
    struct sample first[WAYS] = {0};
    double s[WAYS];
    char what[80];
    for (int round = 0; round < ROUNDS; round++) {
        int order[WAYS];
        peer_shuffle(order, WAYS, rng);
        for (int i = 0; i < WAYS; i++) {
            double x = ways[order[i]].port ? first_round(order[i], body, 100) : (double)NAN;
            if (isfinite(x))
                sample_add(&first[order[i]], x);
        }
    }
    for (int w = 0; w < WAYS; w++)
        s[w] = median(&first[w]) * 1e6;
    snprintf(what, sizeof(what), "added to the first chunk p50, body of %zu kB", body / 1000);
    for (int w = PLAIN; w < WAYS; w++)
        if (ways[w].port)
            figure_of(what, w, s[w] - s[DIRECT], "us", 200, s[NGINX] - s[DIRECT]);
}

static void bench_requests(struct jl_rng *rng)
{
    struct sample rate[WAYS] = {0}, cpu[WAYS] = {0};
    double r[WAYS], cost[WAYS];
    char name[100];
    for (int round = 0; round < ROUNDS; round++) {
        int order[WAYS];
        peer_shuffle(order, WAYS, rng);
        for (int i = 0; i < WAYS; i++) {
            double each, x = ways[order[i]].port ? requests_round(order[i], 16, 0.5, &each) : (double)NAN;
            if (isfinite(x)) {
                sample_add(&rate[order[i]], x);
                sample_add(&cpu[order[i]], each);
            }
        }
    }
    for (int w = 0; w < WAYS; w++) {
        r[w] = median(&rate[w]);
        cost[w] = median(&cpu[w]) * 1e6;
    }
    for (int w = DIRECT; w < WAYS; w++) {
        snprintf(name, sizeof(name), "requests, %s", way_names[w]);
        if (ways[w].port)
            figure(name, r[w], "1/s", w == METERED ? 17000 : w == PLAIN ? 20000 : (double)NAN, r[NGINX], true);
    }
    for (int w = PLAIN; w < WAYS; w++)
        if (ways[w].port)
            figure_of("processor time per request", w, cost[w], "us", (double)NAN, cost[NGINX]);
    figure("metering, processor time per request", cost[METERED] - cost[PLAIN], "us", (double)NAN, (double)NAN, false);
}

/* What runs without any request: sensors are read, and whoever looks at the streams looks whether there are any. */
static void bench_idle(void)
{
    double before[WAYS];
    int64_t from_ns = jl_mono_ns();
    for (int w = PLAIN; w <= METERED; w++)
        before[w] = cpu_s_of(w);
    usleep(2000000);
    for (int w = PLAIN; w <= METERED; w += METERED - PLAIN) {
        double part = (cpu_s_of(w) - before[w]) / jl_s(jl_mono_ns() - from_ns);
        figure_of("processor time without requests", w, part * 100, "%", (double)NAN, (double)NAN);
    }
}

static double resident_kb(pid_t pid)
{
    char path[64], text[4096];
    snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    const char *line = jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK ? strstr(text, "VmRSS:") : NULL;
    return line ? strtod(line + 6, NULL) : (double)NAN;
}

static void bench_memory(void)
{
    static int fds[HELD];
    size_t n = 0;
    double before = resident_kb(ways[METERED].pid);
    while (n < HELD && (fds[n] = peer_connect(ways[METERED].port)) >= 0 && peer_hold(fds[n]))
        n++;
    figure("open streams", (double)n, "", HELD, (double)NAN, true);
    figure("memory per open stream, metered", n ? (resident_kb(ways[METERED].pid) - before) / (double)n : (double)NAN, "kB", 100,
           (double)NAN, false);
    for (size_t i = 0; i < n; i++)
        close(fds[i]);
}

/* From the client's leaving to the upstream's seeing it; NAN: it did not. in_prefill: before the answer begins, else after its
 * first chunk. */
static double leave_once(int port, bool in_prefill)
{
    int64_t begun = atomic_load(&silence->begun), patient_ns = jl_mono_ns() + 10 * JL_NS_PER_S;
    int fd = peer_connect(port);
    bool ok = fd >= 0 && (in_prefill ? peer_wait(fd) : peer_hold(fd));
    while (ok && atomic_load(&silence->begun) == begun && jl_mono_ns() < patient_ns)
        usleep(100);
    usleep(2000 + (useconds_t)(begun % 7) * 20000); /* at any moment of whatever waits there */
    atomic_store(&silence->left_ns, 0);
    int64_t from_ns = jl_mono_ns();
    if (fd >= 0)
        close(fd);
    while (ok && !atomic_load(&silence->left_ns) && jl_mono_ns() < patient_ns)
        usleep(100);
    int64_t left_ns = atomic_load(&silence->left_ns);
    return ok && left_ns ? jl_s(left_ns - from_ns) : (double)NAN;
}

/* An engine that computes for nobody wastes energy: it must learn of it at once. */
static void bench_leaving(void)
{
    static const char *const when[] = {"between chunks", "in a silent prefill"};
    for (int in_prefill = 1; in_prefill >= 0; in_prefill--) {
        struct sample s[WAYS] = {0};
        char what[80];
        for (int i = 0; i < LEAVERS; i++)
            for (int w = DIRECT; w < WAYS; w++) {
                double x = ways[w].port && (w != STUCK && w != OBSERVED) ? leave_once(ways[w].port, in_prefill) : (double)NAN;
                if (isfinite(x))
                    sample_add(&s[w], x * 1e3);
            }
        for (int w = PLAIN; w < WAYS; w++) {
            if (!s[w].n)
                continue;
            snprintf(what, sizeof(what), "upstream closed after the client left %s, p50", when[in_prefill]);
            figure_of(what, w, sample_quantile(&s[w], 0.5), "ms", (double)NAN, sample_quantile(&s[DIRECT], 0.5));
            snprintf(what, sizeof(what), "upstream closed after the client left %s, p99", when[in_prefill]);
            figure_of(what, w, sample_quantile(&s[w], 0.99), "ms", 200, sample_quantile(&s[DIRECT], 0.99));
        }
        for (int w = 0; w < WAYS; w++)
            sample_release(&s[w]);
    }
}

int main(int argc, char **argv)
{
    struct jl_rng rng = {20261122};
    int code;
    if (apart_main(argc, argv, &code)) /* the process that recognises, started by the one that meters */
        return code;
    signal(SIGPIPE, SIG_IGN);
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 0);
    jl_open_files_most();
    if (!start_all()) {
        fprintf(stderr, "proxy: the upstream or joulet could not be started\n");
        stop_all();
        return 1;
    }
    bench_idle();
    bench_streams(1, 200, 5000, &(struct goals){35, 150, 40, (double)NAN}, &rng);
    bench_streams(16, 60, 20000, &(struct goals){50, 150, 40, (double)NAN}, &rng);
    bench_streams(64, 30, 50000, &(struct goals){(double)NAN, (double)NAN, 40, 0}, &rng);
    bench_first(2000, &rng);
    bench_first(64000, &rng);
    bench_requests(&rng);
    bench_memory();
    bench_leaving();
    stop_all();
    return 0;
}
