/* driver.c - an engine of the stand-ins: does what its arguments say and prints what it computed, which the probe must not
 * change. driver ARCHITECTURE WAY STEPS WAY: decode, process, foreign (a callback of its own), cancel (which ends graphs),
 * gpu (on a device, with a clock of its own), vision (a vision encoder before every fourth step, a draft model after
 * each), threads (two contexts at once), fork (a child computes too), born (a child is forked while the probe makes its file, and
 * computes), background (all is done by a child), batches (a new batch for each step), launch (asks for a function that launches
 * captured graphs, where there is none), load (computes nothing), stay (runs on when it is done). */
#include "tests/probes/stand_in/stand_in.h"

#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const char *way = "decode";
static int steps = 10;
static unsigned asked, told;

/* Allocations from the fifth step on, when every function has been called: the probe must add none. */
static _Atomic bool counting;
static _Atomic unsigned allocations;

#ifdef __GLIBC__
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static void count(void)
{
    allocations += counting;
}

void *malloc(size_t n)
{
    count();
    return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
    count();
    return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
    count();
    return __libc_realloc(p, n);
}
#endif

/* The device's clock, where there is one. */
int clock_gettime(clockid_t id, struct timespec *t)
{
    uint64_t ns = id == CLOCK_MONOTONIC ? stand_in_clock() : 0;
    if (!ns)
        return (int)syscall(SYS_clock_gettime, id, t);
    t->tv_sec = (time_t)(ns / 1000000000u);
    t->tv_nsec = (long)(ns % 1000000000u);
    return 0;
}

static void *serve(void *arg);

/* Of what the process forks: it must end by itself. */
static void wait_for(pid_t child)
{
    int status;
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0)
        abort();
}

static pid_t fork_server(char *architecture)
{
    pid_t child = fork();
    if (child == 0) {
        alarm(60); /* rather than for ever */
        free(serve(architecture));
        _exit(0);
    }
    return child;
}

/* The probe makes its file. */
int posix_fallocate64(int fd, off64_t from, off64_t n)
{
    if (strcmp(way, "born") == 0)
        wait_for(fork_server((char *)"dense"));
    return ftruncate(fd, from + n);
}

static bool look(struct ggml_tensor *t, bool ask, void *user)
{
    (void)user;
    if (ask) {
        asked++;
        return strncmp(ggml_op_desc(t), "MUL_MAT", 7) == 0;
    }
    told++;
    return strcmp(way, "cancel") != 0 || strncmp(t->name, "Vcur", 4) != 0;
}

static struct context *begin(const char *architecture)
{
    struct model_parameters mp;
    struct context_parameters cp;
    for (int i = 0; i < 9; i++)
        mp.words[i] = 1000003 * i;
    for (int i = 0; i < 19; i++)
        cp.words[i] = 7919 * i;
    struct context *c = llama_init_from_model(llama_model_load_from_file(architecture, mp), cp);
    if (strcmp(way, "foreign") == 0 || strcmp(way, "cancel") == 0)
        stand_in_callback(c, look, NULL);
    return c;
}

/* A prompt of seven tokens in sequence 0, then a token of it at a time; every fourth step with a prompt of five in sequence 3. */
static int32_t tokens_of(int step, int32_t sequence[], int32_t position[])
{
    int32_t n = 0, first = step == 0 ? 7 : 1;
    for (int32_t i = 0; i < first; i++, n++) {
        sequence[n] = 0;
        position[n] = step == 0 ? i : 6 + step;
    }
    for (int32_t i = 0; i < 5 && step % 4 == 3; i++, n++) {
        sequence[n] = 3;
        position[n] = i;
    }
    return n;
}

static void decode(struct context *c, int step)
{
    int32_t sequence[16], position[16], one[16], *ids[16];
    float image[16] = {0};
    int32_t n = tokens_of(step, sequence, position), text[16] = {0};
    for (int32_t i = 0; i < n; i++) {
        ids[i] = &sequence[i];
        one[i] = 1;
    }
    struct batch b = {.n_tokens = n, .pos = position, .n_seq_id = one, .seq_id = ids};
    if (strcmp(way, "vision") == 0 && step % 4 == 3)
        b.embd = image;
    else
        b.token = text;
    if (llama_decode(c, b) != 0)
        abort();
}

static void process(struct context *c, struct batch_ext *b, int step)
{
    int32_t sequence[16], position[16], n = tokens_of(step, sequence, position);
    llama_batch_ext_clear(b);
    for (int32_t i = 0; i < n; i++)
        llama_batch_ext_set_pos(b, llama_batch_ext_add_token(b, sequence[i], 42), &position[i]);
    if (llama_process(c, 1, b) != 0)
        abort();
}

/* Each step's batch is another, and all are at other addresses. */
static void process_once(struct context *c, struct batch_ext **b, int step)
{
    process(c, *b, step);
    llama_batch_ext_free(*b);
    *b = NULL;
}

static void *serve(void *arg)
{
    struct context *c = begin(arg), *vision = NULL, *draft = NULL;
    struct batch_ext *b = llama_batch_ext_init(c), **one_each = calloc((size_t)steps + 1, sizeof(struct batch_ext *));
    int32_t tokens[64];
    char text[8];
    int depth = 2;
    if (llama_tokenize(NULL, "a prompt", 8, tokens, 64, true, true) != 8)
        abort();
    for (int i = 0; i < steps; i++)
        one_each[i] = llama_batch_ext_init(c);
    if (strcmp(way, "vision") == 0) {
        vision = stand_in_vision();
        draft = begin("parallel");
    }
    for (int i = 0; i < steps && strcmp(way, "load") != 0; i++) {
        counting = i >= 4 && !vision;
        if (vision && i % 4 == 0)
            stand_in_encode(vision);
        if (strcmp(way, "process") == 0)
            process(c, b, i);
        else if (strcmp(way, "batches") == 0)
            process_once(c, &one_each[i], i);
        else
            decode(c, i);
        if (draft)
            decode(draft, i);
        depth = 2;
        llama_sampler_sample(&depth, c, 0);
        llama_token_to_piece(NULL, 'x', text, sizeof(text), 0, false);
    }
    counting = false;
    uint64_t *sum = malloc(sizeof(*sum));
    *sum = stand_in_sum(c) + (vision ? stand_in_sum(vision) + stand_in_sum(draft) : 0);
    if (vision) {
        llama_free(vision);
        llama_free(draft);
    }
    for (int i = 0; i < steps; i++)
        llama_batch_ext_free(one_each[i]);
    free(one_each);
    llama_batch_ext_free(b);
    llama_free(c);
    return sum;
}

int main(int argc, char **argv)
{
    char *architecture = argc > 1 ? argv[1] : (char *)"dense";
    pthread_t other;
    void *sum, *second = NULL;
    way = argc > 2 ? argv[2] : way;
    steps = argc > 3 ? atoi(argv[3]) : steps;
    if (strcmp(way, "gpu") == 0)
        stand_in_device();
    if (strcmp(way, "background") == 0) {
        pid_t child = fork();
        if (child != 0) {
            wait_for(child);
            return 0;
        }
    }
    if (strcmp(way, "launch") == 0) {
        int (*launch)(void *, void *);
        *(void **)&launch = dlsym(RTLD_DEFAULT, "hipGraphLaunch");
        if (launch && launch(NULL, NULL) == 0)
            abort();
    }
    bool threads = strcmp(way, "threads") == 0;
    if (threads)
        pthread_create(&other, NULL, serve, architecture);
    sum = serve(architecture);
    if (threads)
        pthread_join(other, &second);
    if (strcmp(way, "fork") == 0)
        wait_for(fork_server(architecture));
    printf("%llx %llx asked %u allocated %u told %u\n", (unsigned long long)*(uint64_t *)sum,
           second ? (unsigned long long)*(uint64_t *)second : 0ull, asked, threads ? 0 : allocations, told);
    fflush(stdout);
    for (int i = 0; i < 600 && strcmp(way, "stay") == 0; i++)
        sleep(1);
    free(sum);
    free(second);
    return 0;
}
