/* load_cpu.c - load for a processor: threads that wake at once and end within a microsecond, because the end of a pulse is what
 * fixes the lag (docs/method.md 1.4). They compute on more memory than a cache holds, so that memory is busy too. */
#include "cli/load.h"
#include "cli/parse.h"

#include <stdlib.h>
#include <string.h>

#define THREADS_MAX 1024
#define DOUBLES     ((size_t)1 << 18) /* 2 MiB a thread */
#define CHUNK       1024              /* between two looks at the switch */

struct spinner {
    struct cpu_load *of;
    struct jl_thread *thread;
    struct jl_event *event;
    double *memory;
};

struct cpu_load {
    struct load base;
    atomic_bool on, stop;
    size_t n;
    struct spinner spinners[];
};

static void work(double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        x[i] = x[i] * 0.999999 + 1e-3;
}

static void spin(void *arg)
{
    struct spinner *s = arg;
    size_t at = 0;
    while (!atomic_load(&s->of->stop)) {
        jl_event_wait_until(s->event, jl_mono_ns() + JL_NS_PER_S);
        while (atomic_load_explicit(&s->of->on, memory_order_relaxed)) {
            work(s->memory + at, CHUNK);
            at = at + CHUNK < DOUBLES ? at + CHUNK : 0;
        }
    }
}

static void turn(struct cpu_load *l, bool on)
{
    atomic_store(&l->on, on);
    for (size_t i = 0; on && i < l->n; i++)
        jl_event_set(l->spinners[i].event);
}

static enum joulet_status cpu_pulse(struct load *load, struct joulet *m, double on_s, struct joulet_pulse *out,
                                    struct joulet_error *err)
{
    struct cpu_load *l = jl_container_of(load, struct cpu_load, base);
    out->on_ns = joulet_now();
    turn(l, true);
    joulet_mark_at(m, out->on_ns);
    bool whole = terminal_wait_until(out->on_ns + jl_ns(on_s));
    turn(l, false);
    out->off_ns = joulet_now();
    joulet_mark_at(m, out->off_ns);
    return whole ? jl_ok(err) : jl_fail(err, JOULET_CANCELLED, "interrupted");
}

static enum joulet_status cpu_steady(struct load *load, bool on, struct joulet_error *err)
{
    turn(jl_container_of(load, struct cpu_load, base), on);
    return jl_ok(err);
}

static void cpu_close(struct load *load)
{
    struct cpu_load *l = jl_container_of(load, struct cpu_load, base);
    atomic_store(&l->on, false);
    atomic_store(&l->stop, true);
    for (size_t i = 0; i < l->n; i++) {
        if (l->spinners[i].thread) {
            jl_event_set(l->spinners[i].event);
            jl_thread_join(l->spinners[i].thread);
        }
        jl_event_close(l->spinners[i].event);
        free(l->spinners[i].memory);
    }
    free(l);
}

static const struct load_ops cpu_ops = {cpu_pulse, cpu_steady, cpu_close};

enum joulet_status load_cpu_open(struct load **out, struct joulet_error *err)
{
    struct jl_machine machine;
    jl_machine_get(&machine);
    size_t n = machine.threads > 1 ? (size_t)machine.threads - 1 : 1;
    n = n < THREADS_MAX ? n : THREADS_MAX;
    struct cpu_load *l = calloc(1, sizeof *l + n * sizeof l->spinners[0]);
    enum joulet_status st = jl_ok(err);
    *out = NULL;
    if (!l)
        return jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
    l->base.ops = &cpu_ops;
    for (; l->n < n && st == JOULET_OK; l->n++) {
        struct spinner *s = &l->spinners[l->n];
        s->of = l;
        s->event = jl_event_open();
        s->memory = calloc(DOUBLES, sizeof *s->memory);
        if (!s->event || !s->memory)
            st = jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
        else
            st = jl_thread_start(&s->thread, "joulet-load", spin, s, err);
    }
    if (st == JOULET_OK)
        *out = &l->base;
    else
        cpu_close(&l->base);
    return st;
}

void load_close(struct load *l)
{
    if (l)
        l->ops->close(l);
}
