/* file.c - a recorded trace, played in real time from the moment of opening: every sample comes when it came then, with the time
 * it had then. What the recording does not tell (lag, gain) is taken from the defaults of 1.1. Form: docs/sensors/file.md. */
#include "lib/sensors/replay.h"
#include "lib/sensors/sensor.h"

#include <stdlib.h>
#include <string.h>

#define FILE_MAX_BYTES ((size_t)256 << 20)
#define AFTER_END_NS   JL_NS_PER_S       /* the device leaves this long after its last sample */
#define BEHIND_NS      (JL_NS_PER_S / 2) /* what is older than this when it is read is skipped */
#define SLOW_S         0.5               /* gauges that come as seldom: nobody knows what they are a mean of */
#define LAG            0.15              /* of such a one, in periods */
#define U_LAG          0.25

extern const struct sensor_ops sensor_file;

struct player {
    struct sensor base;
    struct replay trace;
    int64_t open_ns;
    struct played {
        size_t next;
        int64_t last, total; /* of a counter: as the file has it, since its first sample */
        bool started;
    } tracks[REPLAY_TRACKS_MAX];
};

/* The next sample of a counter: whether it began anew, as the file says or as it shows by falling. */
static bool count(struct played *p, const struct replay_sample *s)
{
    bool reset = p->started && ((s->flags & JOULET_SAMPLE_RESET) || s->value < p->last);
    p->total += p->started && s->value > p->last ? s->value - p->last : 0;
    p->last = s->value;
    p->started = true;
    return reset;
}

static void play(struct player *p, size_t i, int64_t now, struct sensor_reading *out)
{
    const struct replay_track *t = &p->trace.tracks[i];
    struct played *at = &p->tracks[i];
    int64_t shift = p->open_ns - p->trace.first_ns;
    bool reset = false, counter = t->quantity == JOULET_ENERGY;
    *out = (struct sensor_reading){.status = JOULET_OK};
    if (now > p->trace.last_ns + shift + AFTER_END_NS) {
        out->status = JOULET_GONE;
        return;
    }
    for (; at->next < t->n && t->samples[at->next].t_ns + shift <= now; at->next++) {
        const struct replay_sample *s = &t->samples[at->next];
        bool late = at->next + 1 < t->n && t->samples[at->next + 1].t_ns + shift < now - BEHIND_NS;
        bool failed = s->flags & JOULET_SAMPLE_FAILED;
        reset |= counter && !failed && count(at, s);
        if (late)
            continue;
        at->next++;
        out->status = failed ? JOULET_IO : JOULET_OK;
        if (!failed)
            *out = (struct sensor_reading){
                .has = true, .value = counter ? at->total : s->value, .t_ns = s->t_ns + shift, .reset = reset};
        return;
    }
}

static void file_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct player *p = jl_container_of(s, struct player, base);
    int64_t now = jl_mono_ns();
    for (size_t i = 0; i < s->n_channels; i++) {
        readings[i] = (struct sensor_reading){.status = JOULET_OK};
        if (gauges || s->channels[i].quantity <= JOULET_POWER)
            play(p, i, now, &readings[i]);
    }
}

static void file_close(struct sensor *s)
{
    struct player *p = jl_container_of(s, struct player, base);
    replay_release(&p->trace);
    sensor_release(s);
    free(p);
}

/* ---- what the channels are, from their names ---------------------------------------------------------------------- */

static bool ends(const char *id, const char *tail)
{
    size_t n = strlen(id), m = strlen(tail);
    return n >= m && strcmp(id + n - m, tail) == 0;
}

static enum joulet_group group_of(const char *id)
{
    if (ends(id, ".dram"))
        return JOULET_GROUP_DRAM;
    if (jl_starts(id, "gpu"))
        return JOULET_GROUP_GPU;
    if (jl_starts(id, "cpu"))
        return JOULET_GROUP_CPU;
    return jl_starts(id, "platform") ? JOULET_GROUP_PLATFORM : JOULET_GROUP_OTHER;
}

static bool same_device(const char *a, const char *b)
{
    size_t n = strcspn(a, ".");
    return strcspn(b, ".") == n && memcmp(a, b, n) == 0;
}

/* Each joule once: parts of a package and the platform stay out, and so does power where the device has a counter or a better
 * power reading. */
static bool counts(const struct replay *r, size_t i)
{
    const struct replay_track *t = &r->tracks[i];
    if (t->quantity > JOULET_POWER || group_of(t->id) == JOULET_GROUP_PLATFORM || ends(t->id, ".core") || ends(t->id, ".uncore"))
        return false;
    for (size_t k = 0; t->quantity == JOULET_POWER && k < r->n; k++) {
        const struct replay_track *o = &r->tracks[k];
        if (o == t || o->quantity > JOULET_POWER || !same_device(o->id, t->id))
            continue;
        if (o->quantity == JOULET_ENERGY || ends(t->id, "_average"))
            return false;
    }
    return true;
}

static struct joulet_channel describe(const struct replay *r, size_t i)
{
    const struct replay_track *t = &r->tracks[i];
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    double period = replay_period_s(t);
    bool gpu = group_of(t->id) == JOULET_GROUP_GPU, power = t->quantity == JOULET_POWER;
    ch.id = t->id;
    ch.device = "recorded trace";
    ch.quantity = t->quantity;
    ch.group = group_of(t->id);
    ch.provenance = JOULET_SIMULATED;
    ch.in_total = counts(r, i);
    if (t->quantity > JOULET_POWER)
        return ch;
    ch.period_s = period > 0 ? period : 0.1;
    ch.window_s = !power ? 0 : isnan(t->window_s) ? ch.period_s : t->window_s;
    ch.contiguous = power && ch.window_s == ch.period_s;
    ch.quantum_j = power ? 0 : gpu ? 0.001 : 0x1p-14;
    ch.lag_s = gpu ? 0.025 : 0;
    ch.u_lag_s = hypot(gpu ? 0.014 : 0.0003, t->hw_sum_s / (double)t->n / sqrt(3));
    ch.lag_max_s = gpu ? 0.05 : 0.002;
    if (power && isnan(t->window_s) && period >= SLOW_S) { /* of one moment, or a mean of any age */
        ch.lag_s = LAG * period;
        ch.u_lag_s = U_LAG * period;
        ch.lag_max_s = period;
    }
    ch.rise_s = gpu ? 0.003 : 0.0003;
    ch.spec = ch.group == JOULET_GROUP_DRAM ? 0.2 : 0.05;
    return ch;
}

/* ---- discovery ------------------------------------------------------------------------------------------------------ */

static enum joulet_status load(struct player *p, const char *path, struct joulet_error *err)
{
    struct jl_buf text;
    jl_buf_init(&text, FILE_MAX_BYTES);
    enum joulet_status status = jl_read_file(path, &text, err);
    if (status == JOULET_OK)
        status = replay_parse(&p->trace, text.data ? text.data : "", text.len, path, err);
    jl_buf_release(&text);
    for (size_t i = 0; status == JOULET_OK && i < p->trace.n; i++) {
        struct joulet_channel ch = describe(&p->trace, i);
        if (!sensor_channel_add(&p->base, &ch))
            status = jl_fail(err, JOULET_MEMORY, "out of memory while reading the trace %s", path);
    }
    return status;
}

static enum joulet_status file_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    if (!opt || !opt->replay)
        return jl_fail(err, JOULET_USAGE,
                       "the sensor file replays a recorded trace and none is given: name one with --replay FILE");
    struct player *p = calloc(1, sizeof(*p));
    if (!p)
        return jl_fail(err, JOULET_MEMORY, "out of memory while opening the trace %s", opt->replay);
    p->base.ops = &sensor_file;
    enum joulet_status status = load(p, opt->replay, err);
    if (status == JOULET_OK && !sensor_list_add(out, &p->base))
        status = jl_fail(err, JOULET_LIMIT, "the trace cannot be replayed: there are more sensors than joulet can hold");
    if (status == JOULET_OK)
        p->open_ns = jl_mono_ns();
    else
        file_close(&p->base);
    return status;
}

const struct sensor_ops sensor_file = {
    .name = "file",
    .summary = "replay of a recorded trace (--replay)",
    .cls = SENSOR_FILE,
    .on_request = true,
    .poll_ns = 1000000LL,
    .discover = file_discover,
    .read = file_read,
    .close = file_close,
};
