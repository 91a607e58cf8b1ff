/* Many at once, end to end (docs/method.md 7.7): eight clients stream through the proxy from an engine that computes all of them
 * in the same steps. What each step draws is decided before it is computed and written into the curve that the simulated sensor
 * follows, so that the true energy of every request is known, however late the machine is. Once by the times of the pieces
 * alone, once with the steps that a probe in the engine would tell. */
#include "lib/platform/platform.h"
#include "probes/wire.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 8, EACH = 6, EACH_PROBED = 3, ALL = CLIENTS * EACH, CHUNK = 96 };
#define STEP_J    0.9 /* of a step, a prompt's token, a token of an answer, a token of its context */
#define PROMPT_J  0.012
#define TOKEN_J   0.06
#define CONTEXT_J 0.0002
#define IDLE_W    10.0
#define RECORDS   8192u
#define AHEAD_NS  ((int64_t)2 * 1000000) /* a step is written down so long before it begins */

/* ---- the engine -------------------------------------------------------------------------------------------------- */

struct sequence {
    int fd, prompt, done, made, wanted, slot;
    double energy_j;
    bool open;
};

struct engine {
    int listener, port;
    FILE *curve;
    pthread_t accepts, computes;
    pthread_mutex_t lock;
    struct sequence all[ALL];
    int n;
    atomic_bool stop;
    struct wire_head *ring; /* of its probe; NULL: it has none */
    uint32_t steps;
};

/* ---- its probe ----------------------------------------------------------------------------------------------------- */

#define RING_BYTES (WIRE_HEAD_BYTES + RECORDS * sizeof(struct wire_record))

static void ring_make(struct engine *e, const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)RING_BYTES), 0);
    e->ring = mmap(NULL, RING_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(e->ring != MAP_FAILED);
    close(fd);
    e->ring->version = WIRE_VERSION;
    e->ring->head_bytes = WIRE_HEAD_BYTES;
    e->ring->record_bytes = sizeof(struct wire_record);
    e->ring->capacity = RECORDS;
    e->ring->pid = getpid();
    strcpy(e->ring->device, "CPU");
    memcpy(e->ring->magic, WIRE_MAGIC, 8);
}

static void record(struct wire_head *h, const struct wire_record *r)
{
    uint64_t n = atomic_load(&h->reserved);
    struct wire_record *to = (struct wire_record *)(void *)((char *)h + WIRE_HEAD_BYTES) + n % RECORDS;
    *to = *r;
    to->stamp = wire_stamp(n);
    atomic_store(&h->reserved, n + 1);
}

/* As the probe of llama.cpp: sequences by the numbers of their slots, then the step. */
static void record_step(struct engine *e, const int *given, const double *own_j, int64_t from, int64_t to)
{
    struct wire_record r = {.kind = WIRE_SEQUENCE, .layer = -1, .t0_ns = (uint64_t)from, .t1_ns = (uint64_t)to, .c = e->steps++};
    uint32_t all = 0;
    for (int i = 0; i < e->n && e->ring; i++) {
        const struct sequence *s = &e->all[i];
        if (isnan(own_j[i]))
            continue;
        r.a = (uint32_t)s->slot;
        r.tokens = given[i] ? (uint32_t)given[i] : 1;
        r.b = (uint32_t)(s->done + (given[i] ? 0 : s->made - 1));
        all += r.tokens;
        record(e->ring, &r);
    }
    r.kind = WIRE_STEP;
    r.tokens = all;
    if (e->ring)
        record(e->ring, &r);
}

static int free_slot(const struct engine *e)
{
    for (int slot = 0;; slot++) {
        bool taken = false;
        for (int i = 0; i < e->n; i++)
            taken |= e->all[i].open && e->all[i].slot == slot;
        if (!taken)
            return slot;
    }
}

/* ---- computing ------------------------------------------------------------------------------------------------------- */

static int count_of(const char *text, const char *key)
{
    const char *at = strstr(text, key);
    return at ? atoi(at + strlen(key)) : 0;
}

static int words_of(const char *body)
{
    const char *at = strstr(body, "\"prompt\":\"") + strlen("\"prompt\":\"");
    int n = 1;
    for (; *at != '"'; at++)
        n += *at == ' ';
    return n;
}

/* The proxy sends what was asked in one go, or a little later. */
static void read_request(int fd, char *text, size_t size)
{
    size_t n = 0;
    for (;;) {
        ssize_t got = read(fd, text + n, size - 1 - n);
        if (got <= 0)
            return;
        text[n += (size_t)got] = '\0';
        const char *body = strstr(text, "\r\n\r\n");
        if (body && strlen(body + 4) >= (size_t)count_of(text, "Content-Length: "))
            return;
    }
}

static void *accept_all(void *arg)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    struct engine *e = arg;
    char text[8192];
    for (;;) {
        int fd = accept(e->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        text[0] = '\0';
        read_request(fd, text, sizeof text);
        if (!strstr(text, "\"prompt\":\"") || e->n == ALL || write(fd, head, sizeof head - 1) < 0) {
            close(fd);
            continue;
        }
        pthread_mutex_lock(&e->lock);
        int slot = free_slot(e);
        e->all[e->n++] = (struct sequence){
            .fd = fd, .prompt = words_of(text), .wanted = count_of(text, "\"n_predict\":"), .slot = slot, .open = true};
        pthread_mutex_unlock(&e->lock);
    }
}

/* Who computes: all that have their prompt, and prompts in the order of their coming. Returns what the step draws. */
static double plan(struct engine *e, int *given, double *own_j, int *members)
{
    int room = CHUNK;
    double all_j = STEP_J;
    *members = 0;
    for (int i = 0; i < e->n; i++) {
        struct sequence *s = &e->all[i];
        given[i] = !s->open || s->done == s->prompt ? 0 : s->prompt - s->done < room ? s->prompt - s->done : room;
        room -= given[i];
        own_j[i] = given[i] ? PROMPT_J * given[i] : TOKEN_J + CONTEXT_J * (s->prompt + s->made);
        if (!s->open || (s->done < s->prompt && !given[i]))
            own_j[i] = NAN;
        if (isnan(own_j[i]))
            continue;
        ++*members;
        all_j += own_j[i];
    }
    return all_j;
}

static void say(struct sequence *s, bool last)
{
    char *event = jl_strf("data: {\"content\":\"%s\",\"stop\":%s,\"tokens_predicted\":%d,\"tokens_evaluated\":%d%s}\n\n",
                          last ? "" : "x ", last ? "true" : "false", s->made, s->prompt, last ? ",\"stop_type\":\"limit\"" : "");
    if (write(s->fd, event, strlen(event)) < 0)
        s->wanted = s->made;
    free(event);
}

static void finish_step(struct engine *e, const int *given, const double *own_j, int members)
{
    for (int i = 0; i < e->n; i++) {
        struct sequence *s = &e->all[i];
        if (isnan(own_j[i]))
            continue;
        s->energy_j += own_j[i] + STEP_J / members;
        s->done += given[i];
        if (s->done < s->prompt)
            continue;
        s->made++;
        say(s, false);
        if (s->made < s->wanted)
            continue;
        say(s, true);
        close(s->fd);
        s->open = false;
    }
}

static void *compute(void *arg)
{
    struct engine *e = arg;
    int given[ALL], members;
    double own_j[ALL];
    while (!atomic_load(&e->stop)) {
        pthread_mutex_lock(&e->lock);
        int n = e->n;
        double all_j = plan(e, given, own_j, &members), prompt = 0;
        for (int i = 0; i < n; i++)
            prompt += given[i];
        for (int i = n; i < ALL; i++)
            own_j[i] = NAN;
        pthread_mutex_unlock(&e->lock);
        int64_t from = jl_mono_ns() + AHEAD_NS, to = from + (int64_t)(1e6 * (12 + 0.25 * prompt + 0.2 * members));
        if (!members) {
            jl_sleep_until(from);
            continue;
        }
        fprintf(e->curve, "%lld %.9g\n%lld %g\n", (long long)from, IDLE_W + all_j / jl_s(to - from), (long long)to, IDLE_W);
        fflush(e->curve);
        jl_sleep_until(to);
        pthread_mutex_lock(&e->lock);
        record_step(e, given, own_j, from, to);
        finish_step(e, given, own_j, members);
        pthread_mutex_unlock(&e->lock);
    }
    return NULL;
}

static void engine_start(struct engine *e, const char *curve, const char *ring)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof a;
    *e = (struct engine){.listener = socket(AF_INET, SOCK_STREAM, 0), .curve = fopen(curve, "w")};
    assert_non_null(e->curve);
    fprintf(e->curve, "%lld %g\n", (long long)jl_mono_ns(), IDLE_W);
    fflush(e->curve);
    pthread_mutex_init(&e->lock, NULL);
    if (ring)
        ring_make(e, ring);
    assert_int_equal(bind(e->listener, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(e->listener, 64), 0);
    assert_int_equal(getsockname(e->listener, (struct sockaddr *)&a, &size), 0);
    e->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&e->accepts, NULL, accept_all, e), 0);
    assert_int_equal(pthread_create(&e->computes, NULL, compute, e), 0);
}

static void engine_stop(struct engine *e)
{
    atomic_store(&e->stop, true);
    shutdown(e->listener, SHUT_RDWR);
    pthread_join(e->accepts, NULL);
    pthread_join(e->computes, NULL);
    close(e->listener);
    fclose(e->curve);
    if (e->ring)
        munmap(e->ring, RING_BYTES);
    pthread_mutex_destroy(&e->lock);
}

/* ---- clients ----------------------------------------------------------------------------------------------------- */

struct client {
    const struct server *server;
    int number, each;
    pthread_t thread;
};

/* Prompts of as many words as no other has. */
static char *request_of(int i)
{
    struct jl_buf body;
    jl_buf_init(&body, 8192);
    jl_buf_str(&body, "{\"prompt\":\"w");
    for (int k = 1; k < 10 + 5 * (i * 29 % ALL); k++)
        jl_buf_str(&body, " w");
    jl_buf_printf(&body, "\",\"n_predict\":%d,\"stream\":true}", 12 + i * 17 % 50);
    char *request = post("/completion", body.data);
    jl_buf_release(&body);
    return request;
}

static void *ask_all(void *arg)
{
    struct client *c = arg;
    for (int k = 0; k < c->each; k++) {
        struct asker x = {.server = c->server, .request = request_of(c->number * EACH + k)};
        ask_one(&x);
        free(x.request);
    }
    return NULL;
}

static const struct sequence *of_prompt(const struct engine *e, double prompt)
{
    for (int i = 0; i < e->n; i++)
        if (e->all[i].prompt == prompt)
            return &e->all[i];
    fail_msg("no request had a prompt of %g tokens", prompt);
    return NULL;
}

static int by_size(const void *a, const void *b)
{
    const double *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* How much went to the wrong request, of all; and how far off requests are. */
static void compare(struct engine *e, const json_t *requests)
{
    double off[ALL] = {0}, off_j = 0, all_j = 0, equal_j = 0, sum_j = 0;
    size_t n = json_array_size(requests);
    assert_int_equal(n, e->n);
    for (size_t i = 0; i < n; i++) {
        const json_t *r = json_array_get(requests, i);
        double net_j = number(json_object_get(r, "energy"), "net_j");
        const struct sequence *s = of_prompt(e, number(json_object_get(r, "tokens"), "prompt"));
        assert_int_equal(number(json_object_get(r, "tokens"), "generated"), s->made);
        off[i] = fabs(net_j - s->energy_j) / s->energy_j;
        off_j += fabs(net_j - s->energy_j);
        all_j += s->energy_j;
        sum_j += net_j;
    }
    for (int i = 0; i < e->n; i++)
        equal_j += fabs(all_j / e->n - e->all[i].energy_j);
    qsort(off, n, sizeof *off, by_size);
    printf("misplaced %.1f %% of %.1f J, p95 %.1f %%; all alike: %.1f %%; sum %.2f %%\n", 100 * off_j / all_j, all_j,
           100 * off[n * 95 / 100], 100 * equal_j / all_j, 100 * (sum_j / all_j - 1));
    assert_near(sum_j, all_j, 0.03 * all_j);
    assert_true(off_j < 0.15 * all_j);
    assert_true(off[n * 95 / 100] < 0.45);
    assert_true(off_j < equal_j / 2);
}

/* How many requests had the steps that the probe told. */
static double told_by_probe(const json_t *all)
{
    return number(json_array_get(json_object_get(all, "upstreams"), 0), "probe_requests");
}

static void at_once(bool probe)
{
    struct engine *e = calloc(1, sizeof *e);
    struct metered_server s;
    struct client clients[CLIENTS];
    struct joulet_error err;
    int each = probe ? EACH_PROBED : EACH, requests = CLIENTS * each;
    char curve[64], ring[64], url[64], *sim;
    assert_non_null(e);
    snprintf(curve, sizeof curve, "/tmp/joulet-batching-%d.curve", (int)getpid());
    snprintf(ring, sizeof ring, "/tmp/joulet-batching-%d.ring", (int)getpid());
    engine_start(e, curve, probe ? ring : NULL);
    sim = jl_strf("follow:%s", curve);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", e->port);
    struct metering_options what = {.n_channels = 1, .devices = 1, .n_upstreams = 1};
    what.upstreams[0] = (struct metering_upstream){.url = url, .devices = 1, .ring = probe ? ring : NULL};
    open_metering_on(&s, sim, &what);
    s.to.url = url;
    struct server_options o = {
        .listen = "127.0.0.1:0", .upstreams = &s.to, .n_upstreams = 1, .metering = s.metering, .inject = SPLICE_ENERGY};
    assert_int_equal(server_open(&s.server, &o, &err), JOULET_OK);
    jl_sleep_until(jl_mono_ns() + QUIET_NS);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.server = s.server, .number = i, .each = each};
        assert_int_equal(pthread_create(&clients[i].thread, NULL, ask_all, &clients[i]), 0);
    }
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i].thread, NULL);
    json_t *all = settled(s.server, requests), *list = get(s.server, "/joulet/requests?limit=100", 200);
    assert_conserved(json_object_get(all, "total"));
    compare(e, json_object_get(list, "requests"));
    printf("%g of %d by their steps\n", told_by_probe(all), requests);
    assert_true(probe ? told_by_probe(all) > requests / 4.0 : isnan(told_by_probe(all)));
    json_decref(all);
    json_decref(list);
    close_metering(&s);
    engine_stop(e);
    unlink(curve);
    unlink(ring);
    free(sim);
    free(e);
}

static void by_their_pieces(void **state)
{
    (void)state;
    at_once(false);
}

static void by_the_steps_of_a_probe(void **state)
{
    (void)state;
    at_once(true);
}

/* "probe": the second, so that both can run at once: they wait for their figures. */
int main(int argc, char **argv)
{
    const struct CMUnitTest pieces[] = {cmocka_unit_test(by_their_pieces)}, steps[] = {cmocka_unit_test(by_the_steps_of_a_probe)};
    bool probe = argc > 1 && strcmp(argv[1], "probe") == 0;
    return probe ? cmocka_run_group_tests(steps, NULL, NULL) : cmocka_run_group_tests(pieces, NULL, NULL);
}
