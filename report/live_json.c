/* live_json.c - what can be read on this machine and what it says now, as JSON: for `sensors --json` and the server. */
#include "report/live.h"
#include "report/put.h"

#include <stdio.h>
#include <string.h>

size_t live_channels_of(const struct live *l, const char *sensor)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += strcmp(l->channels[i].ch.sensor, sensor) == 0;
    return n;
}

static void texts(struct jl_buf *out, const char *const (*pairs)[2], size_t n)
{
    put_sep(out);
    jl_buf_str(out, "\n    ");
    put_begin(out, NULL, '{');
    for (size_t i = 0; i < n; i++) {
        put_key(out, pairs[i][0]);
        put_value(out, pairs[i][1]);
    }
}

static void put_channel(struct jl_buf *out, const struct live_channel *x)
{
    const struct joulet_channel *ch = &x->ch;
    const char *const words[][2] = {{"id", ch->id},
                                    {"sensor", ch->sensor},
                                    {"device", ch->device},
                                    {"parent", ch->parent},
                                    {"quantity", live_quantity_name(ch->quantity)},
                                    {"group", joulet_group_name(ch->group)},
                                    {"provenance", joulet_provenance_name(ch->provenance)}};
    const struct {
        const char *key;
        double value;
    } numbers[] = {{"period_s", ch->period_s},   {"window_s", ch->window_s},   {"quantum_j", ch->quantum_j},
                   {"lag_s", ch->lag_s},         {"u_lag_s", ch->u_lag_s},     {"spec", ch->spec},
                   {"lag_max_s", ch->lag_max_s}, {"factor_lo", ch->factor_lo}, {"factor_hi", ch->factor_hi}};
    char key[24];
    texts(out, words, JL_COUNT(words));
    put_bool(out, "in_total", ch->in_total);
    put_bool(out, "calibrated", ch->calibrated);
    for (size_t i = 0; i < JL_COUNT(numbers); i++)
        put_real(out, numbers[i].key, numbers[i].value);
    snprintf(key, sizeof key, "now_%s", live_si(ch->quantity));
    put_real(out, key, x->now);
    put_end(out, '}');
}

void live_problems_json(struct jl_buf *out, struct joulet *m)
{
    struct joulet_problem p;
    put_begin(out, "problems", '[');
    for (size_t i = 0; i < joulet_problem_count(m) && joulet_problem_get(m, i, &p) == JOULET_OK; i++) {
        const char *const words[][2] = {{"sensor", p.sensor}, {"status", joulet_status_text(p.status)}, {"message", p.message}};
        texts(out, words, JL_COUNT(words));
        put_end(out, '}');
    }
    jl_buf_str(out, "\n  ]");
}

static void put_facts(struct jl_buf *out, struct joulet *m)
{
    struct joulet_fact f;
    for (size_t i = 0; i < joulet_fact_count(m) && joulet_fact_get(m, i, &f) == JOULET_OK; i++) {
        const char *const words[][2] = {{"device", f.device}, {"key", f.key}, {"value", f.value}};
        texts(out, words, JL_COUNT(words));
        put_end(out, '}');
    }
}

static void put_sensors(struct jl_buf *out, const struct live *l)
{
    struct joulet_sensor row;
    for (size_t i = 0; joulet_sensor_get(i, &row) == JOULET_OK; i++) {
        const char *const words[][2] = {{"name", row.name}, {"summary", row.summary}};
        texts(out, words, JL_COUNT(words));
        put_bool(out, "on_request", row.on_request);
        put_count(out, "channels", (int64_t)live_channels_of(l, row.name));
        put_end(out, '}');
    }
}

void live_sensors_json(struct jl_buf *out, const struct live *l)
{
    put_begin(out, "channels", '[');
    for (size_t i = 0; i < l->n; i++)
        put_channel(out, &l->channels[i]);
    jl_buf_str(out, "\n  ]");
    live_problems_json(out, l->meter);
    put_begin(out, "facts", '[');
    put_facts(out, l->meter);
    jl_buf_str(out, "\n  ]");
    put_begin(out, "sensors", '[');
    put_sensors(out, l);
    jl_buf_str(out, "\n  ]");
}
