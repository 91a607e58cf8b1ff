/* ring.c - settings of the probe, its file, and the records in it. The file is made when a model is first loaded, not when the
 * library is: the same environment reaches programs that never load one (Ollama's own, its look for graphics cards). All of its
 * space is taken when it is made: a full disk must refuse it then, not end the engine later. */
#include "probes/ggml/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAME_MOST       30         /* bytes of a node's name that are kept */
#define RECORDS_DEFAULT (1u << 18) /* 12 MiB: two minutes of a model of 1B, some seconds of a tiny one */
#define RECORDS_LEAST   1024u
#define RECORDS_MOST    (1u << 24)

struct probe_settings probe_settings;
struct wire_head *_Atomic probe_head;

static struct wire_record *ring;
static uint64_t ring_mask;
static _Atomic int state; /* 0: no file yet, 1: being made, 2: made, or not to be made */

/* ---- settings ------------------------------------------------------------------------------------------------------- */

static uint64_t number(const char *name, uint64_t otherwise, uint64_t least, uint64_t most)
{
    const char *s = secure_getenv(name);
    char *end;
    if (!s || *s < '0' || *s > '9')
        return otherwise;
    unsigned long long v = strtoull(s, &end, 10);
    return *end ? otherwise : v < least ? least : v > most ? most : v;
}

static enum wire_level level_of(const char *s)
{
    static const char *const names[WIRE_LEVELS] = {"stages", "layers", "components", "nodes"};
    for (int i = 0; s && i < WIRE_LEVELS; i++)
        if (strcmp(s, names[i]) == 0)
            return (enum wire_level)i;
    return WIRE_COMPONENTS;
}

/* "norm=64,attention=3,ffn=1,head=3" */
static void read_repeats(const char *s)
{
    static const struct {
        const char *name;
        enum wire_kind kind[3];
    } rows[] = {{"norm", {WIRE_ATTENTION_NORM, WIRE_FFN_NORM, WIRE_OUTPUT_NORM}},
                {"attention", {WIRE_ATTENTION}},
                {"ffn", {WIRE_FFN}},
                {"head", {WIRE_HEAD}}};
    while (s && *s) {
        size_t n = strcspn(s, "=,");
        unsigned long k = s[n] == '=' ? strtoul(s + n + 1, NULL, 10) : 0;
        for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
            if (strlen(rows[i].name) == n && strncmp(s, rows[i].name, n) == 0)
                for (int j = 0; j < 3 && rows[i].kind[j] && k > 0; j++) {
                    probe_settings.repeat[rows[i].kind[j]] = k < 64 ? (uint32_t)k : 64;
                    probe_settings.repeats = true;
                }
        s += strcspn(s, ",");
        s += *s == ',';
    }
}

static uint64_t power_of_two(uint64_t n)
{
    uint64_t p = RECORDS_LEAST;
    while (p < n)
        p *= 2;
    return p;
}

/* Now, at the load of a model, and not between two stretches: a page that is first written stops its writer for microseconds. */
static void touch(struct wire_record *records, uint64_t n)
{
    for (uint64_t i = 0; i < n; i += 64) /* 3 KiB, so each page */
        atomic_store_explicit(&records[i].stamp, 0, memory_order_relaxed);
}

/* ---- the file ------------------------------------------------------------------------------------------------------- */

static void say(const char *text)
{
    dprintf(STDERR_FILENO, "joulet's probe: %s\n", text);
}

static void *make_file(size_t bytes, uint64_t start_ns)
{
    char path[4096];
    int n =
        snprintf(path, sizeof(path), "%s/" WIRE_FILE, probe_settings.folder, (long long)getpid(), (unsigned long long)start_ns);
    int fd = n > 0 && (size_t)n < sizeof(path) ? open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600) : -1;
    if (fd < 0) {
        say("its file could not be made in JOULET_PROBE_DIR: nothing is recorded");
        return NULL;
    }
    int failed = posix_fallocate(fd, 0, (off_t)bytes);
    void *at = failed ? MAP_FAILED : mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at != MAP_FAILED)
        return at;
    unlink(path);
    say("there is no room for its file in JOULET_PROBE_DIR: nothing is recorded");
    return NULL;
}

static void in_child(void)
{
    /* The file is its parent's, and so is the thread that computes, or that was making the file. Where there was none yet the
     * child may make its own: an engine that goes into the background does. */
    atomic_store(&probe_head, NULL);
    if (atomic_load(&state) != 0)
        atomic_store(&state, 2);
}

static void make_ring(void)
{
    struct timespec wall;
    uint64_t start = probe_now(), records = power_of_two(probe_settings.records);
    struct wire_head *h = make_file(WIRE_HEAD_BYTES + records * sizeof(struct wire_record), start);
    if (!h)
        return;
    ring = (struct wire_record *)((char *)h + WIRE_HEAD_BYTES);
    ring_mask = records - 1;
    touch(ring, records);
    clock_gettime(CLOCK_REALTIME, &wall);
    h->version = WIRE_VERSION;
    h->head_bytes = WIRE_HEAD_BYTES;
    h->record_bytes = sizeof(struct wire_record);
    h->level = probe_settings.level;
    h->capacity = records;
    h->pid = getpid();
    h->start_ns = start;
    h->start_wall_ns = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec;
    h->every = probe_settings.every;
    atomic_store(&h->repeats, probe_settings.repeats);
    atomic_store(&h->control.watch, probe_settings.turns ? WIRE_WATCH_TURNS : WIRE_AS_SET);
    atomic_thread_fence(memory_order_release);
    memcpy(h->magic, WIRE_MAGIC, sizeof(h->magic)); /* last: a reader waits for it */
    atomic_store_explicit(&probe_head, h, memory_order_release);
}

bool probe_begin(void)
{
    int unmade = 0;
    if (atomic_load_explicit(&state, memory_order_acquire) == 0 && atomic_compare_exchange_strong(&state, &unmade, 1)) {
        make_ring();
        atomic_store_explicit(&state, 2, memory_order_release);
    }
    while (atomic_load_explicit(&state, memory_order_acquire) == 1) /* another thread is at it: once in the life of a process */
        sched_yield();
    return atomic_load_explicit(&probe_head, memory_order_acquire) != NULL;
}

__attribute__((constructor)) static void read_settings(void)
{
    struct probe_settings *s = &probe_settings;
    s->folder = secure_getenv("JOULET_PROBE_DIR");
    s->level = level_of(secure_getenv("JOULET_PROBE_LEVEL"));
    s->every = (uint32_t)number("JOULET_PROBE_EVERY", 0, 0, 1000000);
    s->records = number("JOULET_PROBE_RECORDS", RECORDS_DEFAULT, RECORDS_LEAST, RECORDS_MOST);
    s->segment_ns = number("JOULET_PROBE_SEGMENT_MS", 450, 1, 60000) * 1000000u;
    s->seed = number("JOULET_PROBE_SEED", 1, 0, UINT64_MAX);
    s->repeat_rows = (uint32_t)number("JOULET_PROBE_REPEAT_ROWS", 1, 1, 1u << 20);
    s->turns = number("JOULET_PROBE_TURNS", 0, 0, 1) == 1;
    s->verify = number("JOULET_PROBE_VERIFY", 0, 0, 1) == 1;
    if (s->folder && s->level == WIRE_COMPONENTS)
        read_repeats(secure_getenv("JOULET_PROBE_REPEAT"));
    if (s->repeats)
        s->every = 1;
    if (!s->folder || *s->folder != '/') {
        s->folder = NULL;
        atomic_store(&state, 2);
    } else {
        pthread_atfork(NULL, NULL, in_child); /* before there is a file: a child may be forked while it is made */
    }
}

/* A model was loaded through us and nothing computed through us: the rest of the engine is linked in, or has other names. */
__attribute__((destructor)) static void say_what_never_fired(void)
{
    struct wire_head *h = probe_on();
    if (h && atomic_load(&h->counts[WIRE_N_GRAPHS]) == 0)
        say("a model was loaded but no computation was seen: this engine is linked statically, or is a version that is not "
            "known");
}

/* ---- records ---------------------------------------------------------------------------------------------------------- */

uint32_t probe_thread(void)
{
    static __thread uint32_t id;
    if (!id)
        id = (uint32_t)syscall(SYS_gettid);
    return id;
}

void probe_record(const struct wire_record *r)
{
    struct wire_head *h = probe_on();
    if (!h)
        return;
    uint64_t n = atomic_fetch_add_explicit(&h->reserved, 1, memory_order_relaxed);
    struct wire_record *to = &ring[n & ring_mask];
    atomic_store_explicit(&to->stamp, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    to->tokens = r->tokens;
    to->t0_ns = r->t0_ns;
    to->t1_ns = r->t1_ns;
    to->kind = r->kind;
    to->layer = r->layer;
    to->source = r->source;
    to->flags = r->flags;
    to->a = r->a;
    to->b = r->b;
    to->c = r->c;
    to->thread = probe_thread();
    atomic_store_explicit(&to->stamp, wire_stamp(n), memory_order_release);
    __builtin_prefetch(&ring[(n + 1) & ring_mask], 1); /* while the model computes: it has driven the ring out of the caches */
}

void probe_count(enum wire_count c)
{
    struct wire_head *h = probe_on();
    if (h)
        atomic_fetch_add_explicit(&h->counts[c], 1, memory_order_relaxed);
}

void probe_remark(const char *text)
{
    struct wire_head *h = probe_on();
    if (!h || h->remark[0])
        return;
    snprintf(h->remark, sizeof(h->remark), "%s", text);
    say(text);
}

/* ---- names ------------------------------------------------------------------------------------------------------------ */

/* FNV-1a of "name:operation", as it is kept. */
static uint32_t hash_of(const char *name, size_t n, const char *operation)
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (unsigned char)name[i]) * 16777619u;
    for (; *operation; operation++)
        h = (h ^ (unsigned char)*operation) * 16777619u;
    return h;
}

static bool is_name(const struct wire_name *w, uint32_t hash, const char *name, size_t n, const char *operation)
{
    size_t room = sizeof(w->text) - n - 2; /* what is too long was cut */
    return w->hash == hash && memcmp(w->text, name, n) == 0 && w->text[n] == ':' &&
           strncmp(w->text + n + 1, operation, room) == 0;
}

/* After every node at level nodes: nothing is formatted but a name that is new. */
uint32_t probe_name(const char *name, size_t n, const char *operation)
{
    struct wire_head *h = probe_on();
    n = n < NAME_MOST ? n : NAME_MOST;
    uint32_t hash = hash_of(name, n, operation);
    for (uint32_t i = 0; h && i < WIRE_NAMES; i++) {
        uint32_t at = (hash + i) % WIRE_NAMES, empty = 0;
        struct wire_name *w = &h->names[at];
        uint32_t now = atomic_load_explicit(&w->state, memory_order_acquire);
        if (now == 2 && is_name(w, hash, name, n, operation))
            return at + 1;
        if (now == 0 && atomic_compare_exchange_strong(&w->state, &empty, 1)) {
            w->hash = hash;
            snprintf(w->text, sizeof(w->text), "%.*s:%s", (int)n, name, operation);
            atomic_store_explicit(&w->state, 2, memory_order_release);
            return at + 1;
        }
    }
    probe_count(WIRE_N_TABLE_FULL);
    return 0;
}
