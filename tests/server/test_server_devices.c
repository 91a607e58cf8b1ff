/* Which devices an upstream draws from: processes of a machine that is played, on cards of a stand-in for the driver's library;
 * what of the processor's energy is whose; phase edges from both clocks; levels with and without a model. */
#include "server/metering_private.h"
#include "server/server.h"
#include "tests/platform/scratch.h"
#include "tests/server/metered.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATIENCE_NS ((int64_t)300 * JL_NS_PER_S)

/* ---- a machine ----------------------------------------------------------------------------------------------------------- */

static void put(const char *name, const char *text)
{
    char *path = jl_strf("%s/%s", scratch, name), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(jl_make_dirs(path, NULL), JOULET_OK);
    *slash = '/';
    assert_int_equal(jl_write_file(path, text, strlen(text), 0644, NULL), JOULET_OK);
    free(path);
}

/* A process that holds a socket; 0: none. */
static void put_process(int pid, int parent, const char *name, int socket, const char *cgroup)
{
    char at[64], *text = jl_strf("%d (%s) S %d 1 1 0 -1 0 1 0 0 0 100 0 0 0 20 0 9 0 %d 0 0\n", pid, name, parent, pid);
    snprintf(at, sizeof at, "%d/stat", pid);
    put(at, text);
    free(text);
    text = jl_strf("%s\n", name);
    snprintf(at, sizeof at, "%d/comm", pid);
    put(at, text);
    free(text);
    snprintf(at, sizeof at, "%d/cgroup", pid);
    put(at, cgroup);
    snprintf(at, sizeof at, "%d/fd/none", pid);
    put(at, "");
    if (!socket)
        return;
    char *link = jl_strf("%s/%d/fd/3", scratch, pid), *target = jl_strf("socket:[%d]", socket);
    unlink(link);
    assert_int_equal(symlink(target, link), 0);
    free(link);
    free(target);
}

static void remove_process(int pid)
{
    char *path = jl_strf("%s/%d", scratch, pid);
    assert_int_equal(nftw(path, scratch_remove, 16, FTW_DEPTH | FTW_PHYS), 0);
    free(path);
}

/* Ports 8001 and 8002 are 1F41 and 1F42. */
static void put_listeners(int first, int second)
{
    char *text = jl_strf("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                         "   0: 0100007F:1F41 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0        0 %d 1 0\n"
                         "   1: 0100007F:1F42 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0        0 %d 1 0\n",
                         first, second);
    put("net/tcp", text);
    free(text);
}

static int open_machine(void **state)
{
    char *processes;
    int rc = scratch_open(state);
    setenv("JOULET_PROCFS", scratch, 1);
    setenv("JOULET_NVML", FAKE_NVML, 1);
    setenv("FAKE_NVML_GPUS", "3", 1);
    processes = jl_strf("@%s/cards", scratch);
    setenv("FAKE_NVML_PROCESSES", processes, 1);
    free(processes);
    put("stat", "cpu  1000 0 0 9000 0 0 0 0 0 0\n");
    return rc;
}

static int close_machine(void **state)
{
    unsetenv("JOULET_PROCFS");
    unsetenv("JOULET_NVML");
    unsetenv("FAKE_NVML_GPUS");
    unsetenv("FAKE_NVML_PROCESSES");
    return scratch_close(state);
}

struct metered_cards {
    struct joulet *meter;
    struct metering *metering;
};

static void open_cards(struct metered_cards *x, const struct metering_upstream *upstreams, size_t n)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct metering_options m = {.n_channels = 3, .devices = 7, .n_upstreams = n, .look_up = true};
    struct joulet_error err;
    o.sensors = "nvml";
    o.calibration = "";
    assert_int_equal(joulet_open(&x->meter, &o, &err), JOULET_OK);
    assert_int_equal(joulet_wait_ready(x->meter, 20, &err), JOULET_OK);
    size_t k = 0;
    for (size_t i = 0; i < joulet_channel_count(x->meter) && k < 3; i++) {
        struct joulet_channel ch;
        joulet_channel_get(x->meter, i, &ch);
        if (ch.in_total)
            m.channels[k++] = i;
    }
    assert_int_equal(k, 3);
    for (size_t i = 0; i < n; i++)
        m.upstreams[i] = upstreams[i];
    m.meter = x->meter;
    assert_int_equal(metering_open(&x->metering, &m, &err), JOULET_OK);
}

static void close_cards(struct metered_cards *x)
{
    metering_close(x->metering);
    joulet_close(x->meter);
}

/* Waits until the upstreams have these devices, and that is so known. */
static void await(struct metered_cards *x, size_t place, const char *found, uint32_t devices)
{
    struct metering *m = x->metering;
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; jl_mono_ns() < until; jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&m->lock);
        const struct metering_host *p = &m->places[place];
        bool is = p->devices == devices && strcmp(metering_place_state(p), found) == 0;
        pthread_mutex_unlock(&m->lock);
        if (is)
            return;
    }
    fail_msg("upstream %zu is not %s on %x", place, found, devices);
}

static json_t *energy(struct metered_cards *x)
{
    struct jl_buf b;
    jl_buf_init(&b, 1 << 20);
    metering_write_energy(x->metering, &b);
    json_t *all = json_loads(b.data, 0, NULL);
    assert_non_null(all);
    jl_buf_release(&b);
    return all;
}

#define HERE "0::/here\n"

/* The first on two cards, where it has one worker each; the second on one of these; the third card is nobody's. */
static void test_cards(void **state)
{
    static const struct metering_upstream both[] = {{.url = "http://127.0.0.1:8001", .look_up = true},
                                                    {.url = "http://127.0.0.1:8002", .look_up = true}};
    struct metered_cards x;
    (void)state;
    put_listeners(111, 222);
    put_process(600, 1, "vllm", 111, HERE);
    put_process(601, 600, "EngineCore", 0, HERE);
    put_process(602, 601, "Worker", 0, HERE);
    put_process(700, 1, "llama-server", 222, HERE);
    put("cards", "0 601\n1 602\n1 700\n");
    open_cards(&x, both, 2);
    await(&x, 0, "found", 3);
    await(&x, 1, "found", 2);
    json_t *all = energy(&x), *devices = json_object_get(all, "devices");
    assert_true(json_is_true(json_object_get(json_array_get(devices, 0), "used")));
    assert_true(json_is_true(json_object_get(json_array_get(devices, 1), "loaded")));
    assert_true(json_is_false(json_object_get(json_array_get(devices, 2), "used")));
    assert_true(json_is_false(json_object_get(json_array_get(devices, 2), "loaded")));
    json_t *first = json_array_get(json_object_get(all, "upstreams"), 0);
    assert_int_equal(json_integer_value(json_object_get(first, "pid")), 600);
    assert_string_equal(json_string_value(json_object_get(first, "process")), "vllm");
    assert_int_equal(json_array_size(json_object_get(first, "devices")), 2);
    json_decref(all);
    /* another program computes on the second card; then the first engine starts anew, on the third */
    put_process(900, 1, "python", 0, HERE);
    put("cards", "0 601\n1 602\n1 700\n1 900\n");
    for (bool seen = false; !seen; jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&x.metering->lock);
        seen = x.metering->places[1].others == 2;
        pthread_mutex_unlock(&x.metering->lock);
    }
    put("cards", "2 651\n1 700\n");
    remove_process(602);
    remove_process(601);
    remove_process(600);
    put_process(650, 1, "vllm", 333, HERE);
    put_process(651, 650, "EngineCore", 0, HERE);
    put_listeners(333, 222);
    await(&x, 0, "found", 4);
    await(&x, 1, "found", 2);
    close_cards(&x);
}

/* What cannot be known is as without it, and said: nobody serves, nothing was computed yet, processes that are not to be seen. */
static void test_not_known(void **state)
{
    static const struct metering_upstream both[] = {{.url = "http://127.0.0.1:8001", .look_up = true},
                                                    {.url = "http://127.0.0.1:8002", .look_up = true}};
    struct metered_cards x;
    (void)state;
    put_listeners(111, 222);
    put_process(700, 1, "ollama", 222, HERE);
    put("cards", "");
    open_cards(&x, both, 2);
    for (bool seen = false; !seen; jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&x.metering->lock);
        seen = x.metering->places[1].pid == 700 && x.metering->places[1].loaded == 0;
        pthread_mutex_unlock(&x.metering->lock);
    }
    await(&x, 0, "assumed", 7);
    await(&x, 1, "assumed", 7);
    json_t *all = energy(&x), *list = json_object_get(all, "upstreams");
    for (size_t i = 0; i < 2; i++)
        assert_true(json_is_string(json_object_get(json_array_get(list, i), "why")));
    json_decref(all);
    /* a model is loaded: the runner comes, on one card */
    put_process(701, 700, "ollama", 0, HERE);
    put("cards", "1 701\n");
    await(&x, 1, "found", 2);
    all = energy(&x);
    assert_true(json_is_true(json_object_get(json_array_get(json_object_get(all, "upstreams"), 1), "loaded")));
    json_decref(all);
    /* it goes: the next one is expected there, and none is loaded */
    remove_process(701);
    put("cards", "");
    for (bool gone = false; !gone; jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&x.metering->lock);
        gone = x.metering->devices[1].loaded == 0 || x.metering->places[1].loaded == 0;
        pthread_mutex_unlock(&x.metering->lock);
    }
    await(&x, 1, "found", 2);
    close_cards(&x);
}

/* ---- a look that takes long ------------------------------------------------------------------------------------------ */

/* The driver lets the first look wait for seconds: the next one does not wait for minutes. */
static void test_late_look(void **state)
{
    static const struct metering_upstream one[] = {{.url = "http://127.0.0.1:8001", .look_up = true}};
    struct metered_cards x;
    char *cards = jl_strf("%s/cards", scratch), *others = jl_strf("%s/others", scratch);
    (void)state;
    put_listeners(111, 222);
    put_process(700, 1, "ollama", 111, HERE);
    put_process(701, 700, "ollama", 0, HERE);
    put_process(900, 1, "game", 0, HERE);
    put("others", "2 900\n");
    unlink(cards);
    assert_int_equal(mkfifo(cards, 0600), 0);
    open_cards(&x, one, 1);
    int fd = open(cards, O_WRONLY); /* once the look waits for it */
    assert_true(fd >= 0);
    jl_sleep_until(jl_mono_ns() + PATIENCE_NS / 90); /* a hundred times this is more than our patience */
    assert_int_equal(rename(others, cards), 0);
    close(fd);
    for (uint32_t seen = 0; seen != 4; jl_sleep_until(jl_mono_ns() + 20000000)) { /* until it is over */
        pthread_mutex_lock(&x.metering->lock);
        seen = x.metering->places[0].others;
        pthread_mutex_unlock(&x.metering->lock);
    }
    put("cards", "1 701\n");
    await(&x, 0, "found", 2);
    close_cards(&x);
    free(cards);
    free(others);
}

/* ---- the first request ------------------------------------------------------------------------------------------- */

#define HEAD  "HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n\r\n"
#define PIECE "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false}\n"
#define ASKED "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"one two three\"}]}"

static void await_levels(struct metered_cards *x)
{
    struct metering *m = x->metering;
    for (bool known = false; !known; jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&m->lock);
        known = metering_level_known(m, 0);
        pthread_mutex_unlock(&m->lock);
    }
}

/* Waits until the only request is on these devices, and that is so known; or, final: for its last figures. */
static void await_request(struct metered_cards *x, uint32_t devices, bool assumed, bool final)
{
    struct metering *m = x->metering;
    const struct metered *r = &m->table[0];
    uint32_t on = 0;
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; jl_mono_ns() < until; jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&m->lock);
        on = r->devices;
        bool is = r->entered && on == devices && r->assumed == assumed && r->final == final;
        pthread_mutex_unlock(&m->lock);
        if (is)
            return;
    }
    fail_msg("the request is on %x, not on %x", on, devices);
}

/* Nobody has seen this model compute. While the first request waits, its runner comes on the second of three cards: it pays for
 * that one from its beginning, and for no other. */
static void test_first_request(void **state)
{
    static const struct play plays[] = {{.bytes = HEAD PIECE, .then = THEN_HOLD}};
    struct upstream *upstream = upstream_start(plays, 1);
    struct metering_upstream one[] = {{.url = upstream_url(upstream), .look_up = true}};
    struct server_upstream to = {.url = upstream_url(upstream)};
    struct metered_cards x;
    struct server *server;
    struct joulet_error err;
    (void)state;
    int port = atoi(strrchr(upstream_url(upstream), ':') + 1);
    char *text = jl_strf("  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
                         "   0: 0100007F:%04X 00000000:0000 0A 00000000:00000000 00:00000000 00000000  0        0 111 1 0\n",
                         port);
    put("net/tcp", text);
    free(text);
    put_process(700, 1, "ollama", 111, HERE);
    put("cards", "");
    open_cards(&x, one, 1);
    await(&x, 0, "assumed", 7);
    await_levels(&x);
    struct server_options o = {.listen = "127.0.0.1:0", .upstreams = &to, .n_upstreams = 1, .metering = x.metering};
    assert_int_equal(server_open(&server, &o, &err), JOULET_OK);
    int fd = client_connect(server);
    char *request = post("/api/chat", ASKED);
    client_say(fd, request);
    await_request(&x, 7, true, false);
    put_process(701, 700, "ollama", 0, HERE);
    put("cards", "1 701\n");
    await_request(&x, 2, false, false);
    close(fd);
    await_request(&x, 2, false, true);
    json_t *all = energy(&x), *devices = json_object_get(all, "devices");
    for (size_t i = 0; i < 3; i++) {
        const json_t *d = json_array_get(devices, i);
        assert_conserved(d);
        double paid_j = number(d, "requests_j") + number(d, "idle_shares_j");
        if ((i == 1) != (paid_j > 1e-3))
            fail_msg("card %zu: %g J", i, paid_j);
    }
    json_decref(all);
    free(request);
    server_close(server);
    close_cards(&x);
    upstream_stop(upstream);
}

static void put_power(double watts, const char *how)
{
    char *path = jl_strf("%s/power", scratch);
    FILE *f = fopen(path, how);
    assert_non_null(f);
    fprintf(f, "%lld %g\n", (long long)jl_mono_ns(), watts);
    fclose(f);
    free(path);
}

/* A card draws 60 W, and 85 W with a model in its memory: what keeps it there has an account. */
static void test_keep_alive(void **state)
{
    static const struct metering_upstream one[] = {{.url = "http://127.0.0.1:8001", .look_up = true}};
    struct metered_cards x;
    double idle_w = NAN, empty_w = NAN;
    char *follow = jl_strf("%s/power", scratch);
    (void)state;
    setenv("FAKE_NVML_FOLLOW", follow, 1);
    put_power(60, "w");
    put_listeners(111, 222);
    put_process(700, 1, "ollama", 111, HERE);
    put("cards", "");
    open_cards(&x, one, 1);
    struct metering *m = x.metering;
    for (bool known = false; !known; jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&m->lock);
        known = !isnan(m->devices[0].levels[0].power_w);
        assert_true(isnan(m->devices[0].levels[1].power_w));
        pthread_mutex_unlock(&m->lock);
    }
    json_t *all = energy(&x);
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(all, "devices"), 0), "keep_alive_j")));
    json_decref(all);
    put_process(701, 700, "ollama", 0, HERE);
    put("cards", "0 701\n");
    put_power(85, "a");
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; isnan(empty_w) && jl_mono_ns() < until;
         jl_sleep_until(jl_mono_ns() + 20000000)) {
        pthread_mutex_lock(&m->lock);
        idle_w = m->devices[0].idle.power_w;
        empty_w = m->devices[0].empty_w;
        pthread_mutex_unlock(&m->lock);
    }
    assert_near(empty_w, 60, 1);
    assert_near(idle_w, 85, 3);
    double kept_j = 0;
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; !(kept_j > 5) && jl_mono_ns() < until;
         jl_sleep_until(jl_mono_ns() + 50000000)) {
        all = energy(&x);
        const json_t *d = json_array_get(json_object_get(all, "devices"), 0);
        kept_j = json_number_value(json_object_get(d, "keep_alive_j"));
        assert_true(json_is_true(json_object_get(d, "loaded")));
        json_decref(all);
    }
    assert_true(kept_j > 5);
    close_cards(&x);
    unsetenv("FAKE_NVML_FOLLOW");
    free(follow);
}

/* A launcher's other children are on the card, in the same container. */
static void test_container(void **state)
{
    static const struct metering_upstream one[] = {{.url = "http://127.0.0.1:8001", .look_up = true}};
    static const char box[] = "0::/docker/0123456789abcdef\n";
    struct metered_cards x;
    (void)state;
    put_listeners(111, 222);
    put_process(800, 1, "launcher", 0, box);
    put_process(801, 800, "router", 111, box);
    put_process(802, 800, "shard", 0, box);
    put("cards", "2 802\n");
    open_cards(&x, one, 1);
    await(&x, 0, "found", 4);
    close_cards(&x);
}

/* ---- the processor's part -------------------------------------------------------------------------------------------------- */

static void look(struct metering_host *p, double t_s, double used_s, double busy_s)
{
    p->looks[p->n_looks++ % METERING_LOOKS] = (struct metering_look){jl_ns(t_s), used_s, busy_s, false};
}

static void test_processor(void **state)
{
    struct metering *m = calloc(1, sizeof *m);
    struct metering_device cpu = {.ch.group = JOULET_GROUP_CPU}, gpu = {.ch.group = JOULET_GROUP_GPU};
    struct joulet_followed *const somebody = (struct joulet_followed *)m; /* only whether there is one is asked */
    double parts[METERING_PLACES];
    (void)state;
    assert_non_null(m);
    pthread_mutex_init(&m->lock, NULL);
    m->n_places = 3;
    for (size_t i = 0; i < 3; i++)
        m->places[i] = (struct metering_host){.idle_used = NAN, .idle_busy = NAN, .followed = i < 2 ? somebody : NULL};
    assert_int_equal(metering_parts(m, &cpu, jl_ns(10), jl_ns(11), parts), 0); /* nobody looked */
    assert_true(metering_looked_until(m, &cpu, jl_ns(11)) == INT64_MAX);
    /* 0.1 s a second of others while nobody asks; then the first takes 1.2 of 2.1, the second 0.3 */
    for (int i = 0; i <= 4; i++) {
        look(&m->places[0], 10 + i * .5, i * .6, i * 1.05);
        look(&m->places[1], 10 + i * .5, i * .15, i * 1.05);
    }
    m->places[0].idle_busy = m->places[1].idle_busy = .1;
    m->places[0].idle_used = m->places[1].idle_used = 0;
    assert_int_equal(metering_parts(m, &cpu, jl_ns(10.6), jl_ns(10.7), parts), 3);
    assert_near(parts[0], .6, 1e-9);
    assert_near(parts[1], .15, 1e-9);
    assert_true(isnan(parts[2]));
    assert_int_equal(metering_parts(m, &gpu, jl_ns(10.6), jl_ns(10.7), parts), 0);
    assert_int_equal(metering_parts(m, &cpu, jl_ns(11.9), jl_ns(12.1), parts), 0); /* not looked at yet */
    assert_true(metering_looked_until(m, &cpu, jl_ns(12.1)) == jl_ns(12));
    assert_true(metering_looked_until(m, &cpu, jl_ns(60)) == INT64_MAX); /* nobody looks any more: nobody waits */
    assert_true(metering_looked_until(m, &gpu, jl_ns(12.1)) == INT64_MAX);
    /* clocks that are cut to ticks may tell more of both than there was */
    for (int i = 0; i <= 4; i++) {
        look(&m->places[0], 20 + i * .5, 10 + i * .6, 10 + i * 1.);
        look(&m->places[1], 20 + i * .5, 10 + i * .6, 10 + i * 1.);
    }
    assert_int_equal(metering_parts(m, &cpu, jl_ns(20.6), jl_ns(20.7), parts), 3);
    assert_near(parts[0] + parts[1], 1, 1e-12);
    pthread_mutex_destroy(&m->lock);
    free(m);
}

/* ---- edges ------------------------------------------------------------------------------------------------------- */

static void test_edges(void **state)
{
    static const struct {
        const char *what, *source;
        double first, last, end, prompt, decode, queue; /* s after it was sent; NAN, 0: not */
        int64_t generated;
        size_t pieces;
        double boundary, over;
    } rows[] = {
        {"both clocks", "engine timings", .104, .300, .301, .1, .2, NAN, 20, 20, .100, .300},
        {"pieces of several tokens", "engine timings", .104, .290, .300, .1, .2, NAN, 20, 7, .100, .300},
        {"no times", "stream arrival", .104, .300, .301, NAN, NAN, NAN, 20, 20, .104, .300},
        {"times that contradict us", "stream arrival", .104, .300, .301, .2, .2, NAN, 20, 20, .104, .300},
        {"in one piece", "engine timings", 0, 0, .300, .1, .2, NAN, 20, 0, .100, .300},
        {"a queue", "engine timings", .154, .350, .351, .1, .2, .05, 20, 20, .150, .350},
        {"nothing at all", NULL, 0, 0, .3, NAN, NAN, NAN, -1, 0, 0, 0},
    };
    const int64_t sent = 7 * JL_NS_PER_S;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct metered x = {.t_sent_ns = sent, .t_end_ns = sent + jl_ns(rows[i].end)};
        x.r = (struct recognised){.done = true,
                                  .t_first_ns = rows[i].first > 0 ? sent + jl_ns(rows[i].first) : 0,
                                  .t_last_ns = rows[i].last > 0 ? sent + jl_ns(rows[i].last) : 0,
                                  .pieces = rows[i].pieces,
                                  .tokens.generated = rows[i].generated,
                                  .server_prompt_s = rows[i].prompt,
                                  .server_decode_s = rows[i].decode,
                                  .server_queue_s = rows[i].queue,
                                  .server_load_s = NAN};
        struct metering_edges e = metering_edges_of(&x);
        if (!rows[i].source) {
            assert_null(e.source);
            continue;
        }
        if (!e.source || strcmp(e.source, rows[i].source) != 0 || fabs(jl_s(e.boundary_ns - sent) - rows[i].boundary) > 1e-6 ||
            fabs(jl_s(e.end_ns - sent) - rows[i].over) > 1e-6)
            fail_msg("%s: %s, %.6f, %.6f", rows[i].what, e.source, jl_s(e.boundary_ns - sent), jl_s(e.end_ns - sent));
    }
    /* what pieces come late is the doubt about edges that only we saw */
    struct metering_engine engine = {0};
    struct metering_edges late = {.u_s = .0005, .off_s = .004}, seen = {.u_s = .0015, .off_s = NAN};
    assert_near(metering_edge_u(&engine, &seen), .0015, 1e-12);
    for (int i = 0; i < 10; i++)
        metering_edges_learn(&engine, &late);
    assert_near(metering_edge_u(&engine, &seen), .004, 1e-9);
    assert_near(metering_edge_u(&engine, &late), .0005, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(test_cards, open_machine, close_machine),
                                       cmocka_unit_test_setup_teardown(test_not_known, open_machine, close_machine),
                                       cmocka_unit_test_setup_teardown(test_container, open_machine, close_machine),
                                       cmocka_unit_test_setup_teardown(test_late_look, open_machine, close_machine),
                                       cmocka_unit_test_setup_teardown(test_first_request, open_machine, close_machine),
                                       cmocka_unit_test_setup_teardown(test_keep_alive, open_machine, close_machine),
                                       cmocka_unit_test(test_processor),
                                       cmocka_unit_test(test_edges)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
