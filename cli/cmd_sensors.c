/* cmd_sensors.c - every channel that can be read here, what it says now, and what is in the way of the others. */
#include "cli/json.h"
#include "cli/live.h"
#include "cli/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define READY_S    5.0 /* for vendor libraries */
#define LOOK_S     0.3 /* over which the current value is taken; longer for slow devices */
#define LOOK_MAX_S 2.5

/* ---- figures as text ---------------------------------------------------------------------------------------------- */

static void format_period(char *buf, size_t size, double s)
{
    if (isnan(s) || s <= 0)
        snprintf(buf, size, "-");
    else if (s < 0.0995)
        snprintf(buf, size, "%.3g ms", s * 1e3);
    else
        snprintf(buf, size, "%.3g s", s);
}

static void format_lag(char *buf, size_t size, const struct joulet_channel *ch)
{
    if (!live_is_power(ch) || live_is_estimate(ch) || isnan(ch->lag_s))
        snprintf(buf, size, "-");
    else if (ch->lag_s < 0.0995)
        snprintf(buf, size, "%.3g ms", ch->lag_s * 1e3);
    else
        snprintf(buf, size, "%.3g s", ch->lag_s);
}

static void format_throttle(char *buf, size_t size, double bits)
{
    static const struct {
        unsigned bit;
        const char *name;
    } names[] = {{JOULET_THROTTLE_POWER_CAP, "power cap"},
                 {JOULET_THROTTLE_THERMAL, "thermal"},
                 {JOULET_THROTTLE_POWER_BRAKE, "power brake"},
                 {JOULET_THROTTLE_HW_SLOWDOWN, "hardware"}};
    size_t n = (size_t)snprintf(buf, size, "%s", bits == 0 ? "no" : "");
    for (size_t i = 0; i < JL_COUNT(names); i++)
        if ((unsigned)bits & names[i].bit && n < size)
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "", names[i].name);
}

static void format_now(char *buf, size_t size, const struct live_channel *x, bool utf8)
{
    double scale;
    const char *unit = live_unit(x->ch.quantity, utf8, &scale);
    if (isnan(x->now))
        snprintf(buf, size, "-");
    else if (x->ch.quantity == JOULET_THROTTLE)
        format_throttle(buf, size, x->now);
    else
        snprintf(buf, size, x->now * scale >= 1000 ? "%.0f %s" : "%.4g %s", x->now * scale, unit);
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

static void part_of(char *buf, size_t size, const struct joulet_channel *ch)
{
    if (ch->in_total)
        snprintf(buf, size, "in the total");
    else if (ch->parent[0])
        snprintf(buf, size, "inside %s", ch->parent);
    else
        snprintf(buf, size, "%s", live_is_power(ch) ? "beside the total" : "");
}

static void text_channels(struct jl_buf *out, const struct live *l, bool utf8)
{
    int width = 8;
    for (size_t i = 0; i < l->n; i++)
        width = (int)strlen(l->channels[i].ch.id) > width ? (int)strlen(l->channels[i].ch.id) : width;
    jl_buf_printf(out, "%-*s  %-11s  %-8s  %7s  %7s  %10s  figures\n", width, "channel", "what", "sensor", "every", "lag", "now");
    for (size_t i = 0; i < l->n; i++) {
        const struct live_channel *x = &l->channels[i];
        char period[24], lag[24], now[64], place[80];
        format_period(period, sizeof period, x->ch.period_s);
        format_lag(lag, sizeof lag, &x->ch);
        format_now(now, sizeof now, x, utf8);
        part_of(place, sizeof place, &x->ch);
        int pad = 10 + (strstr(now, "°") ? 1 : 0);
        jl_buf_printf(out, "%-*s  %-11s  %-8s  %7s  %7s  %*s  %-9s%s%s%s\n", width, x->ch.id, live_quantity_name(x->ch.quantity),
                      x->ch.sensor, period, lag, pad, now, joulet_provenance_name(x->ch.provenance), place[0] ? "  " : "", place,
                      x->ch.calibrated ? ", calibrated" : "");
    }
}

/* Devices once each, with their names. */
static void text_devices(struct jl_buf *out, const struct live *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct joulet_channel *ch = &l->channels[i].ch;
        size_t prefix = strcspn(ch->id, ".");
        bool seen = !ch->device[0];
        for (size_t k = 0; k < i && !seen; k++)
            seen = strncmp(l->channels[k].ch.id, ch->id, prefix + 1) == 0;
        if (!seen)
            jl_buf_printf(out, "%.*s: %s\n", (int)prefix, ch->id, ch->device);
    }
}

static bool has_problem(struct joulet *m, const char *sensor)
{
    struct joulet_problem p;
    for (size_t i = 0; i < joulet_problem_count(m); i++)
        if (joulet_problem_get(m, i, &p) == JOULET_OK && strcmp(p.sensor, sensor) == 0)
            return true;
    return false;
}

static void text_sensors(struct jl_buf *out, const struct live *l, int width)
{
    enum { SUMMARY_COLUMN = 29 };
    struct joulet_sensor row;
    jl_buf_str(out, "\nsensors that joulet knows\n");
    for (size_t i = 0; joulet_sensor_get(i, &row) == JOULET_OK; i++) {
        size_t n = live_channels_of(l, row.name);
        char state[32];
        if (n)
            snprintf(state, sizeof state, "%zu channel%s", n, n == 1 ? "" : "s");
        else
            snprintf(state, sizeof state, "%s",
                     has_problem(l->meter, row.name) ? "in trouble"
                     : row.on_request                ? "on request"
                                                     : "not here");
        jl_buf_printf(out, "  %-12s  %-11s  ", row.name, state);
        text_wrap(out, row.summary, strlen(row.summary), SUMMARY_COLUMN, SUMMARY_COLUMN, width);
    }
}

static void text_problems(struct jl_buf *out, const struct live *l, int width)
{
    enum { PROBLEM_COLUMN = 16 };
    struct joulet_problem p;
    if (joulet_problem_count(l->meter))
        jl_buf_str(out, "\nin the way\n");
    for (size_t i = 0; i < joulet_problem_count(l->meter); i++)
        if (joulet_problem_get(l->meter, i, &p) == JOULET_OK) {
            jl_buf_printf(out, "  %-12s  ", p.sensor);
            text_wrap(out, p.message, strlen(p.message), PROBLEM_COLUMN, PROBLEM_COLUMN, width);
        }
}

static void text_all(struct jl_buf *out, const struct live *l, const struct report_style *style)
{
    int width = style->width ? style->width : 100;
    text_channels(out, l, style->utf8);
    jl_buf_str(out, "\n");
    text_devices(out, l);
    text_sensors(out, l, width);
    text_problems(out, l, width);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static void json_texts(struct jl_buf *out, bool *first, const char *const (*pairs)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        cli_json_key(out, first, pairs[i][0]);
        cli_json_string(out, pairs[i][1]);
    }
}

static void json_all(struct jl_buf *out, const struct live *l)
{
    jl_buf_str(out, "{");
    live_sensors_json(out, l);
    jl_buf_str(out, "\n}\n");
}

/* ---- the tree ------------------------------------------------------------------------------------------------------- */

/* Channels as the tree wants them. malloc'ed, NULL when out of memory. */
static struct joulet_channel *plain_channels(const struct live *l)
{
    struct joulet_channel *all = calloc(l->n + 1, sizeof *all);
    for (size_t i = 0; all && i < l->n; i++)
        all[i] = l->channels[i].ch;
    return all;
}

static void why_not(char *buf, size_t size, const struct joulet_channel *all, const struct joulet_tree_node *x)
{
    static const char *const words[] = {[JOULET_COUNTED] = "in the total",
                                        [JOULET_COUNTED_BELOW] = "beside the total, which is inside it",
                                        [JOULET_COUNTED_ABOVE] = "counted above",
                                        [JOULET_COUNTED_APART] = "beside the total"};
    bool second = x->parent != JOULET_TOTAL && !all[x->channel].in_total && !all[x->parent].in_total &&
                  joulet_domain_of(&all[x->parent]) == joulet_domain_of(&all[x->channel]);
    if (x->counted == JOULET_COUNTED_TWIN)
        snprintf(buf, size, "the same joules as %s", all[x->twin].id);
    else if (second)
        snprintf(buf, size, "another look at %s", all[x->parent].id);
    else
        snprintf(buf, size, "%s", words[x->counted]);
}

static void text_tree(struct jl_buf *out, const struct live *l, const struct joulet_channel *all,
                      const struct joulet_tree_node *nodes, size_t n, bool utf8)
{
    char lacks[1024];
    int width = 0;
    for (size_t i = 0; i < n; i++) {
        int w = (int)(2 * nodes[i].depth + strlen(all[nodes[i].channel].id));
        width = w > width ? w : width;
    }
    for (size_t i = 0; i < n; i++) {
        const struct live_channel *x = &l->channels[nodes[i].channel];
        char now[64], why[120];
        format_now(now, sizeof now, x, utf8);
        why_not(why, sizeof why, all, &nodes[i]);
        jl_buf_printf(out, "%*s%-*s  %-10s  %-11s  %10s  %-9s  %s\n", (int)(2 * nodes[i].depth), "",
                      width - (int)(2 * nodes[i].depth), x->ch.id, joulet_domain_name(joulet_domain_of(&x->ch)), x->ch.sensor,
                      now, joulet_provenance_name(x->ch.provenance), why);
    }
    joulet_total_text(all, l->n, lacks, sizeof lacks);
    jl_buf_printf(out, "\nthe total %s\n", lacks[0] ? lacks : "covers nothing");
}

static void json_node(struct jl_buf *out, const struct live *l, const struct joulet_channel *all,
                      const struct joulet_tree_node *x)
{
    static const char *const words[] = {[JOULET_COUNTED] = "counted",
                                        [JOULET_COUNTED_BELOW] = "contains what is counted",
                                        [JOULET_COUNTED_ABOVE] = "inside what is counted",
                                        [JOULET_COUNTED_TWIN] = "twin",
                                        [JOULET_COUNTED_APART] = "apart"};
    const struct joulet_channel *ch = &all[x->channel];
    const char *const texts[][2] = {{"id", ch->id},
                                    {"domain", joulet_domain_name(joulet_domain_of(ch))},
                                    {"sensor", ch->sensor},
                                    {"inside", x->parent == JOULET_TOTAL ? "" : all[x->parent].id},
                                    {"twin", x->twin == JOULET_TOTAL ? "" : all[x->twin].id},
                                    {"total", words[x->counted]},
                                    {"provenance", joulet_provenance_name(ch->provenance)}};
    bool first = true;
    jl_buf_str(out, "{");
    json_texts(out, &first, texts, JL_COUNT(texts));
    cli_json_key(out, &first, "depth");
    cli_json_number(out, x->depth);
    cli_json_key(out, &first, "now_w");
    cli_json_number(out, l->channels[x->channel].now);
    jl_buf_str(out, "}");
}

static void json_tree(struct jl_buf *out, const struct live *l, const struct joulet_channel *all,
                      const struct joulet_tree_node *nodes, size_t n)
{
    char lacks[1024];
    jl_buf_str(out, "{\n  \"tree\": [");
    for (size_t i = 0; i < n; i++) {
        jl_buf_str(out, i ? ",\n    " : "\n    ");
        json_node(out, l, all, &nodes[i]);
    }
    jl_buf_str(out, "\n  ],\n  \"total\": ");
    cli_json_string(out, joulet_total_text(all, l->n, lacks, sizeof lacks));
    live_problems_json(out, l->meter);
    jl_buf_str(out, "\n}\n");
}

static void show_tree(struct cli *c, struct jl_buf *out, const struct live *l)
{
    struct joulet_channel *all = plain_channels(l);
    struct joulet_tree_node *nodes = calloc(l->n + 1, sizeof *nodes);
    size_t n = all && nodes ? joulet_tree_of(all, l->n, nodes) : 0;
    const struct report_style *style = cli_style(c);
    if (n && cli_json(c)) {
        json_tree(out, l, all, nodes, n);
    } else if (n) {
        text_tree(out, l, all, nodes, n, style->utf8);
        text_problems(out, l, style->width ? style->width : 100);
    }
    free(all);
    free(nodes);
}

/* ---- the command -------------------------------------------------------------------------------------------------- */

/* Long enough for two updates of the slowest device. */
static void look(struct live *l)
{
    double s = LOOK_S;
    for (size_t i = 0; i < l->n; i++)
        s = fmax(s, 3 * l->channels[i].ch.period_s);
    terminal_wait_until(l->start + jl_ns(fmin(s, LOOK_MAX_S)));
    joulet_mark end = joulet_mark_now(l->meter);
    joulet_wait_covered(l->meter, end, LOOK_S, NULL);
    live_row(l, end);
}

static int sensors_run(struct cli *c, int argc, char **argv)
{
    struct live l;
    struct jl_buf out;
    if (argc > 0)
        return cli_usage(c, "sensors takes no argument '%s'; --sensors NAMES chooses some", argv[0]);
    int code = live_open(&l, c, 0, READY_S);
    if (code != CLI_DONE)
        return code;
    look(&l);
    jl_buf_init(&out, 4 << 20);
    if (cli_flag(c, "tree"))
        show_tree(c, &out, &l);
    else if (cli_json(c))
        json_all(&out, &l);
    else
        text_all(&out, &l, cli_style(c));
    code = cli_result(c, out.data, out.len);
    jl_buf_release(&out);
    live_close(&l);
    return code;
}

const struct command cmd_sensors = {
    .name = "sensors",
    .summary = "list what can be read on this machine, and what it says now",
    .usage = "joulet sensors [OPTION]...",
    .options = "tree sensors meter sim replay trust-root calibration measured-only",
    .about =
        "Lists the channels of every sensor found: what they report, how often it changes, the value now, where the figures come "
        "from, and whether they count in the total. Each joule counts once: a channel inside another is shown and not added.\n\n"
        "Figures are measured, derived, estimated (no sensor: a model of the hardware), imported or simulated. What exists and "
        "does "
        "not work is listed with the remedy; `joulet doctor` says more.\n\n"
        "With --json the result is an object with `channels`, `problems`, `facts` about devices, and `sensors`, the sources that "
        "joulet knows. Keys name their unit; what is not known is null.",
    .examples = "joulet sensors\n  everything that is here\n"
                "joulet sensors --tree\n  what is inside what, and what the total lacks\n"
                "joulet sensors --tree --meter shelly://192.168.1.20\n  the same with a plug in the wall\n"
                "joulet sensors --sensors tdp\n  what an estimate would say\n"
                "joulet sensors --json | jq -r .channels[].id\n  the names of the channels\n",
    .run = sensors_run,
};
