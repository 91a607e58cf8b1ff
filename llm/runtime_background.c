/* runtime_background.c - the server of `joulet engine start`, found again by later commands through <data>/engine.json. The file
 * names the process by its number and its start, because numbers are used again, and holds the key, so only its owner may read
 * it. */
#include "llm/runtime_private.h"

#include <jansson.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATE_MAX ((size_t)1 << 16)

int64_t runtime_process_start(int64_t pid)
{
    char path[64], text[1024];
    int64_t start;
    snprintf(path, sizeof(path), "/proc/%lld/stat", (long long)pid); /* never the redirected root: this is about killing */
    if (jl_read_text(path, text, sizeof(text), NULL) != JOULET_OK)
        return -1;
    char *rest = strrchr(text, ')'); /* the name before it may hold anything */
    if (rest && (strncmp(rest, ") Z", 3) == 0 || strncmp(rest, ") X", 3) == 0))
        return -1; /* ended, not yet reaped */
    for (int field = 2; rest && field < 22; field++)
        rest = strchr(rest + 1, ' ');
    if (!rest)
        return -1;
    rest[1 + strcspn(rest + 1, " ")] = '\0';
    return jl_parse_i64(rest + 1, &start) ? start : -1;
}

enum joulet_status runtime_background_save(const struct runtime_server *s, struct joulet_error *err)
{
    char *path = runtime_path("engine.json", err);
    json_t *o = json_pack("{s:I, s:I, s:i, s:s, s:s, s:s, s:s, s:b}", "pid", (json_int_t)s->process.pid, "process_start",
                          (json_int_t)runtime_process_start(s->process.pid), "port", s->port, "url", s->url, "key", s->key, "log",
                          s->log, "model", s->model, "private_engine", s->private_engine);
    char *dump = o ? json_dumps(o, JSON_INDENT(2)) : NULL;
    char *text = dump ? jl_strf("%s\n", dump) : NULL;
    enum joulet_status status = path ? JOULET_OK : JOULET_IO;
    if (path && !text)
        status =
            jl_fail(err, JOULET_FORMAT, "the state of the engine could not be written: the path of its model is no UTF-8 text");
    if (status == JOULET_OK)
        status = jl_write_file(path, text, strlen(text), 0600, err);
    free(text);
    free(dump);
    json_decref(o);
    free(path);
    return status;
}

static bool from_json(const char *text, size_t n, struct runtime_server *s, int64_t *start)
{
    json_int_t pid, began;
    int port, private_engine;
    const char *url, *key, *log, *model;
    json_t *o = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
    bool good =
        o && json_unpack(o, "{s:I, s:I, s:i, s:s, s:s, s:s, s:s, s:b}", "pid", &pid, "process_start", &began, "port", &port,
                         "url", &url, "key", &key, "log", &log, "model", &model, "private_engine", &private_engine) == 0;
    good = good && pid > 1 && pid <= INT32_MAX && strlen(url) < sizeof(s->url) && strlen(key) < sizeof(s->key);
    if (good) {
        *s = (struct runtime_server){.process = {.pid = pid}, .port = port, .private_engine = private_engine != 0};
        memcpy(s->url, url, strlen(url) + 1);
        memcpy(s->key, key, strlen(key) + 1);
        s->log = jl_strdup(log);
        s->model = jl_strdup(model);
        *start = began;
    }
    json_decref(o);
    return good;
}

static bool still_runs(const struct runtime_server *s, int64_t start)
{
    return start >= 0 && runtime_process_start(s->process.pid) == start;
}

enum joulet_status runtime_background(struct runtime_server *s, struct joulet_error *err)
{
    struct jl_buf text;
    int64_t start = -1;
    *s = (struct runtime_server){.process = {.pid = -1, .ended = true}};
    char *path = runtime_path("engine.json", err);
    if (!path)
        return JOULET_IO;
    jl_buf_init(&text, STATE_MAX);
    bool read = jl_read_file(path, &text, NULL) == JOULET_OK;
    bool runs = read && from_json(text.data, text.len, s, &start) && still_runs(s, start);
    if (read && !runs)
        unlink(path); /* of a server that is gone */
    if (!runs)
        runtime_server_release(s);
    jl_buf_release(&text);
    free(path);
    return runs ? jl_ok(err)
                : jl_fail(err, JOULET_NOT_FOUND,
                          "no engine of joulet's runs in the background: `joulet engine start -m MODEL` starts one");
}

/* It is not our child (or was, in a test): look until it is gone. */
static bool wait_gone(const struct runtime_server *s, int64_t start, double timeout_s)
{
    int64_t until = jl_mono_ns() + jl_ns(timeout_s);
    for (;;) {
        (void)waitpid((pid_t)s->process.pid, NULL, WNOHANG);
        if (!still_runs(s, start))
            return true;
        if (jl_mono_ns() >= until)
            return false;
        jl_sleep_until(jl_mono_ns() + 10000000);
    }
}

enum joulet_status runtime_background_stop(struct joulet_error *err)
{
    struct runtime_server s;
    enum joulet_status status = runtime_background(&s, err);
    if (status != JOULET_OK)
        return status;
    int64_t start = runtime_process_start(s.process.pid);
    kill((pid_t)s.process.pid, SIGTERM);
    bool gone = wait_gone(&s, start, 5);
    if (!gone) {
        kill((pid_t)s.process.pid, SIGKILL);
        gone = wait_gone(&s, start, 5);
    }
    char *path = gone ? runtime_path("engine.json", err) : NULL;
    if (path)
        unlink(path);
    if (!gone)
        status = jl_fail(err, JOULET_BUSY, "the engine (process %lld) does not end: end it by hand", (long long)s.process.pid);
    free(path);
    runtime_server_release(&s);
    return status;
}
