/* probed.h - engines of the stand-ins, run with the probe and without, and what it tells of them. */
#ifndef TESTS_PROBES_PROBED_H
#define TESTS_PROBES_PROBED_H

#include "tests/llm/scratch.h"

#include "profile/probe.h"
#include "profile/steps.h"

#include <sys/stat.h>
#include <unistd.h>

#ifndef PROBE
#define PROBE "joulet-probe-ggml.so" /* the build says where it is */
#endif

struct told {
    struct ring_info info;
    struct ring_record *records;
    size_t n;
    char said[1024]; /* by the engine */
    size_t kinds[WIRE_KINDS];
};

/* Runs an engine with "K=V" words in its environment; its words go to `said`. */
static int64_t probed_engine(const char *program, const char *arguments, const char *const *env, char said[1024])
{
    char words[256], *at = words;
    struct jl_process p;
    struct joulet_error err;
    const char *argv[8] = {program};
    size_t n = 1;
    snprintf(words, sizeof(words), "%s", arguments);
    for (char *w; (w = strsep(&at, " ")) && n < 7;)
        argv[n++] = w;
    unlink(scratch_path("log"));
    struct jl_spawn what = {.argv = argv, .env = env, .log = scratch_path("log")};
    if (jl_spawn(&p, &what, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_true(jl_process_wait(&p, -1));
    said[0] = '\0';
    jl_read_text(scratch_path("log"), said, 1024, NULL);
    if (p.status != 0)
        fail_msg("%s %s ended with %d: %s", program, arguments, p.status, said);
    return p.pid;
}

static size_t probed_files(void)
{
    char **names;
    size_t n = 0;
    jl_list_dir(scratch_path("rings"), &names, &n, NULL);
    jl_free_list(names, n);
    return n;
}

static void probed_empty(void)
{
    char **names;
    size_t n;
    mkdir(scratch_path("rings"), 0700);
    assert_int_equal(jl_list_dir(scratch_path("rings"), &names, &n, NULL), JOULET_OK);
    for (size_t i = 0; i < n; i++) {
        char *path = jl_strf("%s/%s", scratch_path("rings"), names[i]);
        unlink(path);
        free(path);
    }
    jl_free_list(names, n);
}

static void read_all(const char *path, struct told *t)
{
    struct ring *r;
    struct joulet_error err;
    if (ring_open(&r, path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    ring_info(r, &t->info);
    t->records = calloc((size_t)t->info.capacity, sizeof(*t->records));
    assert_non_null(t->records);
    t->n = ring_read(r, t->records, (size_t)t->info.capacity);
    assert_int_equal(ring_lost(r), 0);
    assert_int_equal(ring_broken(r), 0);
    for (size_t i = 0; i < t->n; i++)
        t->kinds[t->records[i].kind]++;
    ring_close(r);
}

/* With the probe, at a level; it must not change what is computed. every: a number, or "turns". */
static void probed(struct told *t, const char *program, const char *arguments, const char *level, const char *every)
{
    char plain[1024], dir[256], l[64], e[64];
    memset(t, 0, sizeof(*t));
    probed_empty();
    probed_engine(program, arguments, NULL, plain);
    snprintf(dir, sizeof(dir), "JOULET_PROBE_DIR=%s", scratch_path("rings"));
    snprintf(l, sizeof(l), "JOULET_PROBE_LEVEL=%s", level);
    snprintf(e, sizeof(e), "JOULET_PROBE_EVERY=%s", every);
    bool turns = strcmp(every, "turns") == 0;
    const char *const env[] = {"LD_PRELOAD=" PROBE,         dir, l, turns ? "JOULET_PROBE_TURNS=1" : e,
                               "JOULET_PROBE_RECORDS=8192", NULL};
    int64_t pid = probed_engine(program, arguments, env, t->said);
    assert_string_equal(t->said, plain);
    char *path = ring_find(scratch_path("rings"), pid);
    assert_non_null(path);
    assert_int_equal(probed_files(), 1);
    read_all(path, t);
    free(path);
}

#endif
