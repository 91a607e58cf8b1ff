/* api_power.c - what the sensors say: their channels, and power and energy as they go. The rows are those of `joulet monitor`
 * (report/live.h), drawn from the meter that the requests are metered with. */
#include "lib/platform/platform.h"
#include "report/live.h"
#include "server/api.h"

#include <math.h>
#include <stdlib.h>

#define LOOK_S     0.3 /* over which the value now is taken; longer for slow devices */
#define LOOK_MAX_S 2.5

/* Rows from so long ago until now. False: answered with an error. */
static bool look_back(struct api_call *c, struct live *l, double s)
{
    struct joulet_error err;
    struct joulet *meter = c->server->o.api.meter;
    joulet_mark now = joulet_mark_now(meter);
    if (live_begin(l, meter, now - jl_ns(s), &err) != JOULET_OK) {
        live_end(l);
        api_error(c, 503, "unavailable", err.message, NULL);
        return false;
    }
    live_row(l, now);
    return true;
}

static double slowest_s(struct joulet *meter)
{
    double s = LOOK_S;
    struct joulet_channel ch;
    for (size_t i = 0; i < joulet_channel_count(meter); i++)
        if (joulet_channel_get(meter, i, &ch) == JOULET_OK)
            s = fmax(s, 3 * ch.period_s);
    return fmin(s, LOOK_MAX_S);
}

bool api_sensors(struct api_call *c)
{
    struct live l;
    struct jl_buf out;
    if (!c->server->o.api.meter)
        return api_not_measured(c);
    if (!look_back(c, &l, slowest_s(c->server->o.api.meter)))
        return true;
    jl_buf_init(&out, (size_t)4 << 20);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.sensors/1");
    live_sensors_json(&out, &l);
    jl_buf_str(&out, "\n}\n");
    live_end(&l);
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}

/* ---- power ------------------------------------------------------------------------------------------------------- */

static void put_power_channel(struct jl_buf *out, const struct live_channel *x)
{
    put_begin(out, NULL, '{');
    put_text(out, "id", x->ch.id);
    put_text(out, "group", joulet_group_name(x->ch.group));
    put_bool(out, "in_total", x->ch.in_total);
    put_text(out, "provenance", joulet_provenance_name(x->ch.provenance));
    put_real(out, "power_w", x->now);
    put_energy(out, "energy", &x->energy);
    put_end(out, '}');
}

static void put_power(struct jl_buf *out, const struct live *l, double interval_s)
{
    int64_t wall_less_mono_ns = jl_wall_ns() - jl_mono_ns();
    put_begin(out, NULL, '{');
    put_text(out, "schema", "joulet.power/1");
    put_time(out, "time", l->last + wall_less_mono_ns);
    put_count(out, "t_ns", l->last);
    put_time(out, "since", l->start + wall_less_mono_ns);
    put_real(out, "since_s", jl_s(l->last - l->start));
    put_real(out, "interval_s", interval_s);
    put_begin(out, "channels", '[');
    for (size_t i = 0; i < l->n; i++)
        if (live_is_power(&l->channels[i].ch))
            put_power_channel(out, &l->channels[i]);
    put_end(out, ']');
    put_begin(out, "total", '{');
    put_real(out, "power_w", l->total_w);
    put_energy(out, "energy", &l->total);
    jl_buf_str(out, "}}");
}

struct powering {
    struct api_stream s;
    struct live l;
    int64_t interval_ns, next_ns;
    bool *silent; /* of each channel, as it was told */
};

/* Sensors that fell silent since the last row, and those that are back: a missing figure alone says neither since when. */
static void tell_changes(struct powering *p, struct jl_buf *out)
{
    for (size_t i = 0; i < p->l.n; i++) {
        const struct live_channel *x = &p->l.channels[i];
        if (x->silent == p->silent[i] || !live_is_power(&x->ch))
            continue;
        p->silent[i] = x->silent;
        api_event_begin(out, "sensor");
        put_begin(out, NULL, '{');
        put_text(out, "id", x->ch.id);
        put_bool(out, "up", !x->silent);
        put_time(out, "time", jl_wall_ns());
        jl_buf_str(out, "}");
        api_event_end(out);
    }
}

/* A reader that was too slow for some rows is told how many; the energy goes on in the next one, so that none of it is lost. */
static bool fill(struct api_stream *s)
{
    struct powering *p = jl_container_of(s, struct powering, s);
    joulet_mark now = jl_mono_ns(), last = p->l.last;
    if (now < p->next_ns)
        return true;
    int64_t lost = (now - p->next_ns) / p->interval_ns;
    if (lost)
        jl_buf_printf(&s->out, "event: lost\ndata: {\"lost\":%lld}\n\n", (long long)lost);
    p->next_ns += (lost + 1) * p->interval_ns;
    now = joulet_mark_now(p->l.meter);
    live_row(&p->l, now);
    tell_changes(p, &s->out);
    api_event_begin(&s->out, "power");
    put_power(&s->out, &p->l, jl_s(now - last));
    api_event_end(&s->out);
    return true;
}

static void release(struct api_stream *s)
{
    struct powering *p = jl_container_of(s, struct powering, s);
    live_end(&p->l);
    free(p->silent);
    free(p);
}

static bool stream(struct api_call *c, double interval_s)
{
    struct joulet_error err;
    struct powering *p = calloc(1, sizeof *p);
    struct joulet *meter = c->server->o.api.meter;
    if (!p)
        return api_no_memory(c);
    if (live_begin(&p->l, meter, joulet_mark_now(meter), &err) != JOULET_OK) {
        release(&p->s);
        return api_error(c, 503, "unavailable", err.message, NULL);
    }
    p->silent = calloc(p->l.n + 1, sizeof *p->silent);
    if (!p->silent) {
        release(&p->s);
        return api_no_memory(c);
    }
    p->interval_ns = jl_ns(interval_s);
    p->next_ns = p->l.start + p->interval_ns;
    p->s.fill = fill;
    p->s.release = release;
    return api_events(c, &p->s);
}

bool api_power(struct api_call *c)
{
    struct live l;
    struct jl_buf out;
    double interval_ms;
    bool asked;
    if (!c->server->o.api.meter)
        return api_not_measured(c);
    if (!api_flag(c, "follow", &asked) || !api_number(c, "interval_ms", 100, 60000, 1000, &interval_ms))
        return true;
    if (api_wants_events(c, "follow"))
        return stream(c, interval_ms / 1e3);
    if (!look_back(c, &l, interval_ms / 1e3))
        return true;
    jl_buf_init(&out, (size_t)4 << 20);
    put_power(&out, &l, interval_ms / 1e3);
    jl_buf_str(&out, "\n");
    live_end(&l);
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}
