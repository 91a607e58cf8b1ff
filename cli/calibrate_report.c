/* calibrate_report.c - what `joulet calibrate` will do, and what it found, as text and as JSON. */
#include "cli/calibrate.h"
#include "cli/json.h"
#include "cli/parse.h"

#include <math.h>
#include <string.h>

enum { EVERY_WIDTH = 8, WINDOW_WIDTH = 8, LAG_WIDTH = 16, RATIO_WIDTH = 13, WHY_COLUMN = 4 };

/* ---- figures ------------------------------------------------------------------------------------------------------------ */

static const char *ms(char *buf, size_t size, double s)
{
    if (isnan(s) || s <= 0)
        snprintf(buf, size, "-");
    else
        snprintf(buf, size, "%.3g %s", s < 0.9995 ? s * 1e3 : s, s < 0.9995 ? "ms" : "s");
    return buf;
}

/* Half-width of 95 %, to two digits; the lag to the same decimal. */
static const char *lag(char *buf, size_t size, double l, double u, bool utf8)
{
    double pm = 2e3 * u;
    int decimals = pm >= 9.95 ? 0 : pm >= 0.995 ? 1 : 2;
    snprintf(buf, size, "%.*f %s %.*f ms", decimals, l * 1e3, utf8 ? "±" : "+-", decimals, pm);
    return buf;
}

static int name_width(const struct calibration *k)
{
    size_t width = 12;
    for (size_t i = 0; i < k->n; i++)
        width = strlen(k->targets[i].ch.id) > width ? strlen(k->targets[i].ch.id) : width;
    return (int)width;
}

static int width_of(const struct calibration *k)
{
    const struct report_style *style = cli_style(k->cli);
    return style->width ? style->width : 100;
}

/* Columns count characters, not bytes. */
static int padded(int width, const char *s)
{
    return width + (strstr(s, "±") ? 1 : 0);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------ */

static const char *reading_words(enum joulet_reading way)
{
    static const char *const words[] = {"", "; read every 5 ms, because reading it oftener changes what it says",
                                        "; read once a second, because reading it oftener changes what it says"};
    return words[way];
}

static const char *counter_words(double ratio)
{
    enum joulet_verdict v = joulet_ratio_verdict(ratio);
    return v == JOULET_VERDICT_GOOD   ? ""
           : v == JOULET_VERDICT_FAIR ? "; counter and power disagree, so power counts"
                                      : "; the counter is wrong, so power counts";
}

static void text_target(const struct calibration *k, struct jl_buf *out, const struct target *t, int width)
{
    char every[32], window[32], l[48], ratio[24] = "-";
    bool utf8 = cli_style(k->cli)->utf8;
    if (t->status != JOULET_OK) {
        jl_buf_printf(out, "%-*s  not calibrated\n%*s", width, t->ch.id, WHY_COLUMN, "");
        text_wrap(out, t->why, strlen(t->why), WHY_COLUMN, WHY_COLUMN, width_of(k));
        return;
    }
    if (!isnan(t->entry.ratio))
        snprintf(ratio, sizeof ratio, "%.3f", t->entry.ratio);
    lag(l, sizeof l, t->entry.lag_s, t->entry.u_lag_s, utf8);
    jl_buf_printf(out, "%-*s  %*s  %*s  %*s  %*s  %s%s%s\n", width, t->ch.id, EVERY_WIDTH,
                  ms(every, sizeof every, t->entry.period_s), WINDOW_WIDTH, ms(window, sizeof window, t->entry.window_s),
                  padded(LAG_WIDTH, l), l, RATIO_WIDTH, ratio, joulet_verdict_name(t->entry.verdict),
                  counter_words(t->entry.ratio), reading_words(t->entry.reading));
}

static void text_cost(const struct calibration *k, struct jl_buf *out)
{
    const struct joulet_self_cost *c = &k->cost;
    if (!c->at_s)
        return;
    jl_buf_printf(out, "\nthe sampler takes %.2g %% of one core", c->cpu_share * 100);
    if (!isnan(c->power_w))
        jl_buf_printf(out, ", %.2f %s %.2f W", c->power_w, cli_style(k->cli)->utf8 ? "±" : "+-", 2 * c->u_power_w);
    jl_buf_str(out, "\n");
}

static void text_kept(const struct calibration *k, struct jl_buf *out)
{
    if (k->kept)
        jl_buf_printf(out, "kept in %s\n", k->path);
    else if (k->simulated && !k->path[0])
        jl_buf_str(
            out, "not kept, because sensors are simulated: --calibration FILE keeps it there, --trust-root in the data folder\n");
    else
        jl_buf_str(out, "nothing was kept\n");
}

void calibration_text(const struct calibration *k, struct jl_buf *out)
{
    int width = name_width(k);
    jl_buf_printf(out, "%-*s  %*s  %*s  %*s  %*s  result\n", width, "channel", EVERY_WIDTH, "every", WINDOW_WIDTH, "window",
                  LAG_WIDTH, "lag", RATIO_WIDTH, "counter/power");
    for (size_t i = 0; i < k->n; i++)
        text_target(k, out, &k->targets[i], width);
    text_cost(k, out);
    text_kept(k, out);
}

void calibration_text_plan(const struct calibration *k, struct jl_buf *out)
{
    int width = name_width(k);
    jl_buf_printf(out, "%-*s  %-12s  load\n", width, "channel", "what");
    for (size_t i = 0; i < k->n; i++) {
        const struct target *t = &k->targets[i];
        jl_buf_printf(out, "%-*s  %-12s  %s\n", width, t->ch.id,
                      t->ch.quantity != JOULET_ENERGY ? "power"
                      : t->fast                       ? "fast counter"
                                                      : "counter",
                      t->load == LOAD_NONE ? t->why : load_words(t->load));
    }
    jl_buf_printf(out, "\nabout %.0f s, with %lld pulses of load; ", calibration_plan(k, LOAD_KINDS), (long long)k->n_pulses);
    if (k->path[0])
        jl_buf_printf(out, "to be kept in %s\n", k->path);
    else
        jl_buf_str(out, "not to be kept\n");
}

/* ---- JSON ------------------------------------------------------------------------------------------------------------------ */

static void json_text(struct jl_buf *out, bool *first, const char *key, const char *s)
{
    cli_json_key(out, first, key);
    cli_json_string(out, s);
}

static void json_number(struct jl_buf *out, bool *first, const char *key, double x)
{
    cli_json_key(out, first, key);
    cli_json_number(out, x);
}

static void json_bool(struct jl_buf *out, bool *first, const char *key, bool on)
{
    cli_json_key(out, first, key);
    jl_buf_str(out, on ? "true" : "false");
}

static void json_found(struct jl_buf *out, bool *first, const struct target *t)
{
    const struct joulet_calibrated *e = &t->entry;
    bool ok = t->status == JOULET_OK;
    const struct {
        const char *key;
        double value;
    } numbers[] = {
        {"period_s", ok ? e->period_s : NAN}, {"window_s", ok ? e->window_s : NAN}, {"lag_s", ok ? e->lag_s : NAN},
        {"u_lag_s", ok ? e->u_lag_s : NAN},   {"counter_ratio", e->ratio},          {"fit_lag_s", t->found.fit_lag_s},
        {"fit_u_s", t->found.fit_u_s},        {"step_w", t->found.step_w},          {"residual_w", t->found.residual_w},
        {"explained", t->found.explained},    {"window_rival", t->found.rival},     {"readings", (double)t->found.n_readings},
        {"ratio_search", t->ratios[0]},       {"ratio_poll", t->ratios[1]},         {"ratio_second", t->ratios[2]}};
    for (size_t i = 0; i < JL_COUNT(numbers); i++)
        json_number(out, first, numbers[i].key, t->load == LOAD_NONE ? NAN : numbers[i].value);
    json_text(out, first, "reading", joulet_reading_name(e->reading));
    json_text(out, first, "verdict", joulet_verdict_name(ok ? e->verdict : JOULET_VERDICT_NONE));
    json_text(out, first, "problem", ok ? NULL : t->why);
}

static void json_channels(const struct calibration *k, struct jl_buf *out, bool plan)
{
    jl_buf_str(out, "{\n  \"channels\": [");
    for (size_t i = 0; i < k->n; i++) {
        const struct target *t = &k->targets[i];
        bool first = true;
        jl_buf_str(out, i ? ",\n    {" : "\n    {");
        json_text(out, &first, "channel", t->ch.id);
        json_text(out, &first, "sensor", t->ch.sensor);
        json_text(out, &first, "device", t->ch.device);
        json_text(out, &first, "uuid", t->entry.uuid[0] ? t->entry.uuid : NULL);
        json_text(out, &first, "driver", t->entry.driver[0] ? t->entry.driver : NULL);
        json_bool(out, &first, "simulated", t->entry.simulated);
        json_text(out, &first, "load", t->load == LOAD_NONE ? NULL : load_words(t->load));
        if (!plan)
            json_found(out, &first, t);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "\n  ],\n  ");
}

static void json_end(const struct calibration *k, struct jl_buf *out, bool *first, bool kept)
{
    json_number(out, first, "pulses", (double)k->n_pulses);
    cli_json_key(out, first, "seed");
    jl_buf_printf(out, "%llu", (unsigned long long)k->seed);
    json_text(out, first, "file", kept && k->path[0] ? k->path : NULL);
    jl_buf_str(out, "\n}\n");
}

void calibration_json(const struct calibration *k, struct jl_buf *out)
{
    bool first = true, inner = true;
    json_channels(k, out, false);
    cli_json_key(out, &first, "self_cost");
    if (k->cost.at_s) {
        jl_buf_str(out, "{");
        json_number(out, &inner, "cpu_share", k->cost.cpu_share);
        json_number(out, &inner, "power_w", k->cost.power_w);
        json_number(out, &inner, "u_power_w", k->cost.u_power_w);
        jl_buf_str(out, "}");
    } else {
        jl_buf_str(out, "null");
    }
    json_end(k, out, &first, k->kept);
}

void calibration_json_plan(const struct calibration *k, struct jl_buf *out)
{
    bool first = true;
    json_channels(k, out, true);
    json_number(out, &first, "duration_s", round(calibration_plan(k, LOAD_KINDS)));
    json_end(k, out, &first, true);
}
