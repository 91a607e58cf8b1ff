/* real_engines.h - engines of other makers for tests: those that tools/check-engines has put into the user's cache. Header only.
 */
#ifndef TESTS_LLM_REAL_ENGINES_H
#define TESTS_LLM_REAL_ENGINES_H

#include "llm/runtime_private.h"

#include <arpa/inet.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define UNSET .context_length = -1, .top_k = -1, .seed = 1, .temperature = 0, .top_p = NAN, .min_p = NAN, .repeat_penalty = NAN

/* Path of a file of the cache; "" when it is not there. Before scratch_open. */
static inline void real_path(char *out, size_t size, const char *name)
{
    const char *xdg = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    const char *base = xdg && *xdg ? xdg : home ? home : "";
    snprintf(out, size, "%s%s/joulet/engines/%s", base, xdg && *xdg ? "" : "/.cache", name);
    if (access(out, X_OK) != 0)
        out[0] = '\0';
}

static inline int real_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0 && getsockname(fd, (struct sockaddr *)&a, &n) == 0;
    close(fd);
    return ok ? ntohs(a.sin_port) : -1;
}

/* Waits until an engine answers there; the process must live meanwhile. NULL: it ended, or took longer. */
static inline struct engine *real_wait(struct jl_process *p, const char *url, double most_s, const atomic_bool *cancel)
{
    int64_t until = jl_mono_ns() + jl_ns(most_s);
    struct engine *e = NULL;
    while (engine_open(&e, url, NULL, cancel, NULL) != JOULET_OK && jl_mono_ns() < until && !jl_process_wait(p, 0.2))
        ;
    return e;
}

static inline void real_show_log(const char *path)
{
    struct jl_buf b;
    jl_buf_init(&b, 1 << 22);
    if (jl_read_file(path, &b, NULL) == JOULET_OK)
        fprintf(stderr, "%s\n", b.len > 6000 ? b.data + b.len - 6000 : b.data);
    jl_buf_release(&b);
}

/* Tells how long it takes, and stops after the first text when asked to. */
struct real_watch {
    atomic_bool *cancel;
    size_t pieces;
};

static inline void real_text(void *user, const char *text, size_t n, bool thinking)
{
    struct real_watch *w = user;
    (void)text, (void)n, (void)thinking;
    w->pieces++;
    if (w->cancel)
        atomic_store(w->cancel, true);
}

#endif
