/* sim_engine.c - settings, life and books of the simulated engine: one thread accepts, one serves each connection, one generation
 * runs at a time, or as many as there are slots (sim_batch.c). */
#include "tests/sim_engine/sim_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* ---- settings ------------------------------------------------------------------------------------------------------- */

const char sim_fault_help[] = "  garbage            answers bytes that are not HTTP\n"
                              "  empty-reply        closes the connection without an answer\n"
                              "  html               answers 200 with a web page\n"
                              "  loading:S          answers 503 to everything in the first S seconds\n"
                              "  oom                answers 500: out of memory\n"
                              "  internal           answers 500 without a body\n"
                              "  unknown-model      answers 404: no such model\n"
                              "  die:N              dies after N tokens: no more connections, the program ends with 1\n"
                              "  cut:N              cuts the connection after N tokens\n"
                              "  stall:N            sends nothing more after N tokens\n"
                              "  error:N            an error object in the stream after N tokens\n"
                              "  error-line:N       the same as an `error:` line\n"
                              "  bad-json:N         an event that is not JSON after N tokens\n"
                              "  bad-utf8:N         an event with bytes that are not UTF-8 after N tokens\n"
                              "  huge-line:BYTES    an event of so many bytes after the first token\n"
                              "  no-tokens          ends at once, without having made a token\n"
                              "  no-reason          gives no reason for its end\n"
                              "  no-time            tells times of 0\n"
                              "  no-done            ends without its terminal object\n"
                              "  no-timings         tells no timings\n"
                              "  no-usage           tells neither timings nor counts\n"
                              "  cached:N           tells that N tokens of the prompt were cached\n"
                              "  busy:N             says that it serves N other requests\n"
                              "  truncated          tells that the prompt was cut\n"
                              "  thinking:N         the first N tokens are thoughts\n"
                              "  text-garbled       answers text for tokens with something else\n"
                              "  text-refused:N     answers 503 to text for tokens after N of them\n"
                              "  text-one-way       has no route from tokens to text\n"
                              "  ping               sends keep-alive comments between tokens\n"
                              "  whole              answers in one body although a stream was asked for\n"
                              "  slow-chunks        sends 7 bytes at a time, 1 ms apart\n";

void sim_config_init(struct sim_config *c)
{
    *c = (struct sim_config){.overhead_ms = 2,
                             .prefill_ms = 1,
                             .decode_ms = 10,
                             .idle_w = 10,
                             .prefill_w = 60,
                             .decode_w = 40,
                             .tokens = 16,
                             .context = 4096,
                             .model = "sim-model"};
}

/* The table of faults is the help text: what it does not list does not exist. */
static bool fault_exists(const char *name)
{
    size_t n = strlen(name);
    for (const char *p = sim_fault_help; (p = strstr(p, "  ")); p++) {
        if (strncmp(p + 2, name, n) == 0 && (p[n + 2] == ' ' || p[n + 2] == ':') && (p == sim_fault_help || p[-1] == '\n'))
            return n > 0;
    }
    return false;
}

bool sim_config_fault(struct sim_config *c, const char *spec)
{
    struct sim_fault f = {.arg = NAN, .request = -1};
    char text[64];
    if (c->n_faults == JL_COUNT(c->faults) || strlen(spec) >= sizeof(text))
        return false;
    snprintf(text, sizeof(text), "%s", spec);
    char *at = strchr(text, '@');
    if (at)
        *at = '\0';
    if (at && !jl_parse_i64(at + 1, &f.request))
        return false;
    char *colon = strchr(text, ':');
    if (colon)
        *colon = '\0';
    if (colon && !jl_parse_double(colon + 1, &f.arg))
        return false;
    if (strlen(text) >= sizeof(f.name) || !fault_exists(text))
        return false;
    memcpy(f.name, text, strlen(text) + 1);
    c->faults[c->n_faults++] = f;
    return true;
}

const struct sim_fault *sim_fault_of(const struct sim_engine *e, int64_t request, const char *name)
{
    for (size_t i = 0; i < e->config.n_faults; i++) {
        const struct sim_fault *f = &e->config.faults[i];
        if (strcmp(f->name, name) == 0 && (f->request < 0 || f->request == request))
            return f;
    }
    return NULL;
}

/* ---- books ---------------------------------------------------------------------------------------------------------- */

void sim_power(struct sim_engine *e, int64_t t_ns, double watts)
{
    char line[64];
    if (e->curve_fd < 0)
        return;
    int n = snprintf(line, sizeof(line), "%lld %.6g\n", (long long)t_ns, watts);
    if (write(e->curve_fd, line, (size_t)n) != n)
        fprintf(stderr, "sim_engine: the curve cannot be written: %s\n", strerror(errno));
}

void sim_engine_power(struct sim_engine *e, int64_t t_ns, double watts)
{
    sim_power(e, t_ns, watts);
}

static void print_truth(const struct sim_engine *e, const struct sim_truth *t)
{
    fprintf(
        e->truth,
        "{\"request\":%lld,\"outcome\":\"%s\",\"prompt_tokens\":%lld,\"cached_tokens\":%lld,\"generated_tokens\":%lld,"
        "\"t_arrival_ns\":%lld,\"t_prefill_ns\":%lld,\"t_decode_ns\":%lld,\"t_end_ns\":%lld,\"idle_w\":%.9g,\"prefill_w\":%.9g,"
        "\"decode_w\":%.9g,\"prefill_j\":%.9g,\"decode_j\":%.9g,\"gross_j\":%.9g,\"net_j\":%.9g}\n",
        (long long)t->request, t->outcome, (long long)t->prompt_tokens, (long long)t->cached_tokens,
        (long long)t->generated_tokens, (long long)t->t_arrival_ns, (long long)t->t_prefill_ns, (long long)t->t_decode_ns,
        (long long)t->t_end_ns, e->config.idle_w, e->config.prefill_w, e->config.decode_w, t->prefill_j, t->decode_j,
        t->prefill_j + t->decode_j, t->prefill_j + t->decode_j - e->config.idle_w * jl_s(t->t_end_ns - t->t_prefill_ns));
    fflush(e->truth);
}

void sim_add_truth(struct sim_engine *e, const struct sim_truth *t)
{
    pthread_mutex_lock(&e->lock);
    struct sim_truth *longer = realloc(e->truths, (e->n_truths + 1) * sizeof(*longer));
    if (longer) {
        e->truths = longer;
        e->truths[e->n_truths++] = *t;
    }
    if (e->truth)
        print_truth(e, t);
    pthread_mutex_unlock(&e->lock);
}

bool sim_engine_truth(struct sim_engine *e, size_t i, struct sim_truth *out)
{
    pthread_mutex_lock(&e->lock);
    bool there = i < e->n_truths;
    if (there)
        *out = e->truths[i];
    pthread_mutex_unlock(&e->lock);
    return there;
}

char *sim_engine_last_body(struct sim_engine *e)
{
    pthread_mutex_lock(&e->lock);
    char *copy = jl_strdup(e->last_body);
    pthread_mutex_unlock(&e->lock);
    return copy;
}

size_t sim_engine_connections(struct sim_engine *e)
{
    pthread_mutex_lock(&e->lock);
    size_t n = e->n_connections;
    pthread_mutex_unlock(&e->lock);
    return n;
}

int sim_engine_port(const struct sim_engine *e)
{
    return e->port;
}

bool sim_engine_dead(struct sim_engine *e)
{
    return atomic_load(&e->dead);
}

/* ---- connections ---------------------------------------------------------------------------------------------------- */

static void *serve(void *arg)
{
    struct sim_connection *c = arg;
    struct sim_http q;
    while (!c->broken && sim_read_request(c, &q)) {
        sim_answer(c, &q);
        jl_buf_drop(&c->in, q.total);
    }
    shutdown(c->fd, SHUT_RDWR);
    atomic_store(&c->ended, true);
    return NULL;
}

/* Joins threads that have ended; all of them when the engine stops. */
static void reap(struct sim_engine *e, bool all)
{
    pthread_mutex_lock(&e->lock);
    struct sim_connection *list = e->connections;
    e->connections = NULL;
    pthread_mutex_unlock(&e->lock);
    while (list) {
        struct sim_connection *c = list;
        list = c->next;
        if (all || atomic_load(&c->ended)) {
            shutdown(c->fd, SHUT_RDWR);
            pthread_join(c->thread, NULL);
            close(c->fd);
            jl_buf_release(&c->in);
            free(c);
            continue;
        }
        pthread_mutex_lock(&e->lock);
        c->next = e->connections;
        e->connections = c;
        pthread_mutex_unlock(&e->lock);
    }
}

static void add_connection(struct sim_engine *e, int fd)
{
    int yes = 1;
    struct sim_connection *c = calloc(1, sizeof(*c));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
    if (!c) {
        close(fd);
        return;
    }
    c->engine = e;
    c->fd = fd;
    jl_buf_init(&c->in, (size_t)128 << 20);
    if (pthread_create(&c->thread, NULL, serve, c) != 0) {
        close(fd);
        free(c);
        return;
    }
    pthread_mutex_lock(&e->lock);
    c->next = e->connections;
    e->connections = c;
    e->n_connections++;
    pthread_mutex_unlock(&e->lock);
}

static void *accept_all(void *arg)
{
    struct sim_engine *e = arg;
    while (!atomic_load(&e->stopping) && !atomic_load(&e->dead)) {
        int fd = accept4(e->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            add_connection(e, fd);
        else if (errno != EINTR && errno != ECONNABORTED)
            break;
        reap(e, false);
    }
    return NULL;
}

void sim_die(struct sim_engine *e)
{
    atomic_store(&e->dead, true);
    shutdown(e->listen_fd, SHUT_RDWR);
}

/* ---- life ----------------------------------------------------------------------------------------------------------- */

static int listen_on(int port, int *got)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    int yes = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    if (bind(fd, (struct sockaddr *)&a, sizeof(a)) != 0 || listen(fd, 64) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &n) != 0) {
        close(fd);
        return -1;
    }
    *got = ntohs(a.sin_port);
    return fd;
}

static bool open_books(struct sim_engine *e, struct joulet_error *err)
{
    const struct sim_config *c = &e->config;
    e->curve_fd = c->curve ? open(c->curve, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644) : -1;
    e->truth = c->truth ? strcmp(c->truth, "-") == 0 ? stdout : fopen(c->truth, "ae") : NULL;
    if (c->curve && e->curve_fd < 0)
        jl_fail(err, JOULET_IO, "%s cannot be written: %s", c->curve, strerror(errno));
    else if (c->truth && !e->truth)
        jl_fail(err, JOULET_IO, "%s cannot be written: %s", c->truth, strerror(errno));
    else
        return true;
    return false;
}

static void release(struct sim_engine *e)
{
    if (e->listen_fd >= 0)
        close(e->listen_fd);
    if (e->curve_fd >= 0)
        close(e->curve_fd);
    if (e->truth && e->truth != stdout)
        fclose(e->truth);
    pthread_mutex_destroy(&e->lock);
    pthread_mutex_destroy(&e->slot);
    free(e->truths);
    free(e->last_body);
    free(e);
}

struct sim_engine *sim_engine_start(const struct sim_config *c, struct joulet_error *err)
{
    struct sim_engine *e = calloc(1, sizeof(*e));
    if (!e)
        return NULL;
    e->config = *c;
    e->curve_fd = -1;
    e->t_start_ns = jl_mono_ns();
    pthread_mutex_init(&e->lock, NULL);
    pthread_mutex_init(&e->slot, NULL);
    e->listen_fd = listen_on(c->port, &e->port);
    if (e->listen_fd < 0) {
        jl_fail(err, JOULET_IO, "port %d cannot be listened on: %s", c->port, strerror(errno));
    } else if (open_books(e, err)) {
        sim_power(e, e->t_start_ns, c->idle_w);
        e->batch = c->step && c->slots > 1 ? sim_batch_open(e) : NULL;
        if (pthread_create(&e->acceptor, NULL, accept_all, e) == 0)
            return e;
        sim_batch_stop(e->batch);
        sim_batch_close(e->batch);
        jl_fail(err, JOULET_MEMORY, "no thread could be started");
    }
    release(e);
    return NULL;
}

void sim_engine_stop(struct sim_engine *e)
{
    if (!e)
        return;
    atomic_store(&e->stopping, true);
    shutdown(e->listen_fd, SHUT_RDWR);
    pthread_join(e->acceptor, NULL);
    sim_batch_stop(e->batch);
    reap(e, true);
    sim_batch_close(e->batch);
    release(e);
}
