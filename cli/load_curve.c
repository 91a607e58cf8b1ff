/* load_curve.c - load for a simulated device: the power it is to draw, appended to the file that it follows while it does. */
#include "cli/load.h"
#include "cli/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_W 60
#define BUSY_W 300

struct curve_load {
    struct load base;
    char *path;
    int fd;
};

static enum joulet_status say(struct curve_load *l, bool on, joulet_mark *t, struct joulet_error *err)
{
    char line[64];
    *t = joulet_now();
    int n = snprintf(line, sizeof line, "%lld %d\n", (long long)*t, on ? BUSY_W : IDLE_W);
    if (write(l->fd, line, (size_t)n) == n)
        return jl_ok(err);
    return jl_fail(err, JOULET_IO, "%s could not be written: %s; free some space, or name another file to follow", l->path,
                   strerror(errno));
}

static enum joulet_status curve_pulse(struct load *load, struct joulet *m, double on_s, struct joulet_pulse *out,
                                      struct joulet_error *err)
{
    struct curve_load *l = jl_container_of(load, struct curve_load, base);
    enum joulet_status st = say(l, true, &out->on_ns, err);
    joulet_mark_at(m, out->on_ns);
    bool whole = terminal_wait_until(out->on_ns + jl_ns(on_s));
    if (st == JOULET_OK)
        st = say(l, false, &out->off_ns, err);
    joulet_mark_at(m, out->off_ns);
    return st == JOULET_OK && !whole ? jl_fail(err, JOULET_CANCELLED, "interrupted") : st;
}

static enum joulet_status curve_steady(struct load *load, bool on, struct joulet_error *err)
{
    joulet_mark t;
    return say(jl_container_of(load, struct curve_load, base), on, &t, err);
}

static void curve_close(struct load *load)
{
    struct curve_load *l = jl_container_of(load, struct curve_load, base);
    close(l->fd);
    free(l->path);
    free(l);
}

static const struct load_ops curve_ops = {curve_pulse, curve_steady, curve_close};

/* A file of somebody else's is not written into by a slip of the pen: ours begin with a time and watts. */
static bool is_curve(int fd)
{
    char line[128] = "", *end;
    ssize_t n = pread(fd, line, sizeof line - 1, 0);
    if (n <= 0)
        return n == 0;
    long long t = strtoll(line, &end, 10);
    return line[0] == '#' || (end > line && t > 0 && *end == ' ');
}

enum joulet_status load_curve_open(struct load **out, const char *path, struct joulet_error *err)
{
    struct curve_load *l = calloc(1, sizeof *l);
    joulet_mark t;
    *out = NULL;
    if (!l || !(l->path = jl_strdup(path))) {
        free(l);
        return jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
    }
    l->base.ops = &curve_ops;
    l->fd = open(path, O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
    enum joulet_status st = jl_ok(err);
    if (l->fd < 0)
        st = jl_fail(err, JOULET_IO, "%s, which the simulated device follows, cannot be written: %s; name another file", path,
                     strerror(errno));
    else if (!is_curve(l->fd))
        st = jl_fail(err, JOULET_USAGE,
                     "%s holds something else than the power of a simulated device: name a new file after follow:", path);
    else
        st = say(l, false, &t, err);
    if (st == JOULET_OK) {
        *out = &l->base;
        return st;
    }
    if (l->fd >= 0)
        close(l->fd);
    free(l->path);
    free(l);
    return st;
}
