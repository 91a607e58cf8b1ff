/* sampler_sink.c - the thread that hands samples to the caller's sink: each once, in order, whole seconds of the clock, when
 * they are about a second old. The sink may block: the samplers go on, and samples wait in memory up to the bound. */
#include "lib/meter/sampler.h"

#define BATCH     1024
#define SETTLE_NS 500000000 /* after the end of a second: locked reads take polled samples back, slow updates come late */
#define WAKE_NS   250000000
#define HURRY_NS  20000000 /* where memory is short: just older than what a locked read can take back */

static void hand_over(struct joulet *m, int64_t cutoff_ns)
{
    struct joulet_sample batch[BATCH];
    size_t channels = atomic_load(&m->n_channels);
    for (size_t i = 0; i < channels; i++)
        for (size_t n; (n = ring_take(&m->store, &m->channels[i]->ring, cutoff_ns, batch, BATCH)) > 0;)
            m->opt.sink(m->opt.sink_user, i, batch, n);
}

/* Whole seconds that are over; all that is settled where memory would not hold them so long. */
static int64_t cutoff(struct joulet *m, int64_t now)
{
    return ring_store_pressed(&m->store) ? now - HURRY_NS : (now - SETTLE_NS) / JL_NS_PER_S * JL_NS_PER_S;
}

static void run_sink(void *arg)
{
    struct joulet *m = arg;
    while (!atomic_load(&m->sink_stop)) {
        int64_t now = jl_mono_ns();
        hand_over(m, cutoff(m, now));
        jl_event_wait_until(m->sink_event, now + WAKE_NS);
    }
    hand_over(m, INT64_MAX);
}

enum joulet_status sink_open(struct joulet *m, struct joulet_error *err)
{
    if (!m->opt.sink || m->opt.no_thread)
        return jl_ok(err);
    m->sink_event = jl_event_open();
    if (!m->sink_event)
        return jl_fail(err, JOULET_LIMIT, "the meter could not be opened: out of file descriptors; raise the limit (ulimit -n)");
    return jl_thread_start(&m->sink_thread, "joulet-sink", run_sink, m, err);
}

void sink_close(struct joulet *m)
{
    if (m->sink_thread) {
        atomic_store(&m->sink_stop, true);
        jl_event_set(m->sink_event);
        jl_thread_join(m->sink_thread);
        m->sink_thread = NULL;
    }
    jl_event_close(m->sink_event);
    m->sink_event = NULL;
}
