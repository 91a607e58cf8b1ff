/* tail_line.c - a request in a line of text, as much of it as the screen has columns. */
#include "cli/tail.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define TIME      8
#define TOKENS    12
#define ENERGY    16
#define PER_TOKEN 8
#define POWER     6
#define DURATION  7
#define MODEL_MIN 12
#define MODEL_MAX 32
#define CLIENT    16
#define STATE     12

/* What matters most stays longest: joules, model, tokens, what is unusual, then time of day, duration, J per token, watts and the
 * client. What is left makes the model's name longer. */
struct tail_columns tail_columns_for(int width)
{
    struct tail_columns c = {.energy = ENERGY, .model = MODEL_MIN, .tokens = TOKENS, .width = width > 0 ? width : 100};
    int left = c.width - 1 - ENERGY - MODEL_MIN - TOKENS - 2 * 2;
    const struct {
        int *column, wide;
    } more[] = {{&c.state, STATE},         {&c.time, TIME},   {&c.duration, DURATION},
                {&c.per_token, PER_TOKEN}, {&c.power, POWER}, {&c.client, CLIENT}};
    for (size_t i = 0; i < JL_COUNT(more) && left >= more[i].wide + 2; i++) {
        *more[i].column = more[i].wide;
        left -= more[i].wide + 2;
    }
    if (left > 0)
        c.model += left < MODEL_MAX - MODEL_MIN ? left : MODEL_MAX - MODEL_MIN;
    return c;
}

/* ---- cells ---------------------------------------------------------------------------------------------------------------- */

static void put(struct jl_buf *out, const char *s, int wide, bool right)
{
    int n = report_width(s);
    if (!wide)
        return;
    jl_buf_str(out, out->len && out->data[out->len - 1] != '\n' && out->data[out->len - 1] != '\r' ? "  " : "");
    if (n > wide) { /* the end of a name tells more than nothing */
        jl_buf_add(out, s, report_cut(s, wide - 1));
        jl_buf_str(out, ">");
        return;
    }
    jl_buf_printf(out, "%*s", right ? wide - n : 0, "");
    jl_buf_str(out, s);
    jl_buf_printf(out, "%*s", right ? 0 : wide - n, "");
}

static void put_clean(struct jl_buf *out, const char *s, int wide, const struct report_style *style)
{
    char *clean = wide ? report_clean(*s ? s : "-", style) : NULL;
    put(out, clean ? clean : "", wide, false);
    free(clean);
}

/* As many digits as the interval leaves a meaning. */
static int decimals(double x, double pm, int most)
{
    double unit = pm > 0 ? pm : fabs(x) / 10;
    int d = unit > 0 ? 1 - (int)floor(log10(unit)) : 0;
    return d < 0 ? 0 : d > most ? most : d;
}

static void energy_text(char *out, size_t size, const struct joulet_energy *e, const struct report_style *style)
{
    bool net = !isnan(e->net_j);
    double j = net ? e->net_j : e->gross_j, pm = net ? e->net_pm_j : e->gross_pm_j;
    const char *about = e->provenance != JOULET_ESTIMATED ? "" : style->utf8 ? "\xe2\x89\x88 " : "~ ";
    int d = decimals(j, pm, 3);
    if (isnan(j))
        snprintf(out, size, "-");
    else if (isnan(pm))
        snprintf(out, size, "%s%.*f J", about, d, j);
    else
        snprintf(out, size, "%s%.*f %s %.*f J", about, d, j, style->utf8 ? "\xc2\xb1" : "+-", d, pm);
}

static void seconds_text(char *out, size_t size, double s)
{
    if (isnan(s))
        snprintf(out, size, "-");
    else if (s < 0.9995)
        snprintf(out, size, "%.0f ms", s * 1e3);
    else if (s < 99.95)
        snprintf(out, size, "%.1f s", s);
    else if (s < 3600)
        snprintf(out, size, "%.0f min", s / 60);
    else
        snprintf(out, size, "%.0f h", s / 3600);
}

static void count_text(char *out, size_t size, int64_t n)
{
    if (n < 0)
        snprintf(out, size, "-");
    else if (n < 100000)
        snprintf(out, size, "%lld", (long long)n);
    else
        snprintf(out, size, "%.0fk", (double)n / 1e3);
}

/* The server's clock in this machine's time zone; what is no time of its form is shown as it is. */
static void time_text(char *out, size_t size, const char *utc)
{
    struct tm tm = {0};
    if (sscanf(utc, "%4d-%2d-%2dT%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec) == 6) {
        tm.tm_year -= 1900;
        tm.tm_mon -= 1;
        time_t t = timegm(&tm);
        localtime_r(&t, &tm);
        strftime(out, size, "%H:%M:%S", &tm);
        return;
    }
    snprintf(out, size, "%.8s", utc);
}

/* What is unusual about it; "" nothing. */
static const char *state_text(const struct tail_request *r, char *buf, size_t size)
{
    if (r->running)
        return "running";
    if (r->status >= 400) {
        snprintf(buf, size, "HTTP %d", r->status);
        return buf;
    }
    if (strcmp(r->state, "done") != 0)
        return r->state;
    if (!r->final)
        return "settling";
    if (r->told.elsewhere)
        return "elsewhere";
    if (isnan(r->told.e.gross_j))
        return "not measured";
    if (isnan(r->told.e.net_j))
        return "gross";
    if (r->told.e.provenance == JOULET_SIMULATED)
        return "simulated";
    return strcmp(r->kind, "inference") != 0 ? r->kind : "";
}

/* ---- lines ---------------------------------------------------------------------------------------------------------------- */

void tail_header(struct jl_buf *out, const struct tail_columns *c, const struct report_style *style)
{
    struct jl_buf line;
    jl_buf_init(&line, 4096);
    put(&line, "time", c->time, false);
    put(&line, "model", c->model, false);
    put(&line, "client", c->client, false);
    put(&line, "tokens", c->tokens, true);
    put(&line, "above idle", c->energy, true);
    put(&line, "J/token", c->per_token, true);
    put(&line, "W", c->power, true);
    put(&line, "took", c->duration, true);
    jl_buf_printf(out, "%s%s%s\n", style->colour ? "\033[2m" : "", line.data ? line.data : "", style->colour ? "\033[0m" : "");
    jl_buf_release(&line);
}

void tail_line(struct jl_buf *out, const struct tail_request *r, const struct tail_columns *c, double since_s,
               const struct report_style *style)
{
    char text[80], in[24], made[24], buf[24];
    struct jl_buf line;
    const struct joulet_energy *e = &r->told.e;
    double seconds = r->running ? since_s : r->duration_s;
    jl_buf_init(&line, 4096);
    time_text(text, sizeof text, r->time);
    put(&line, text, c->time, false);
    put_clean(&line, report_model_name(r->model), c->model, style);
    put_clean(&line, *r->tag ? r->tag : r->client, c->client, style);
    count_text(in, sizeof in, r->tokens_in);
    count_text(made, sizeof made, r->tokens_out);
    snprintf(text, sizeof text, "%s %s %s", in, style->utf8 ? "\xe2\x86\x92" : ">", made);
    put(&line, text, c->tokens, true);
    energy_text(text, sizeof text, e, style);
    put(&line, r->running && isnan(e->gross_j) ? "" : text, c->energy, true);
    double j = isnan(e->net_j) ? e->gross_j : e->net_j, each = r->tokens_out > 0 ? j / (double)r->tokens_out : NAN;
    snprintf(text, sizeof text, isnan(each) ? "-" : "%.*f", decimals(each, NAN, 5), each);
    put(&line, r->running ? "" : text, c->per_token, true);
    double watts = seconds > 0 ? e->gross_j / seconds : NAN;
    snprintf(text, sizeof text, isnan(watts) ? "-" : "%.*f", watts < 100 ? 1 : 0, watts);
    put(&line, r->running ? "" : text, c->power, true);
    seconds_text(text, sizeof text, seconds);
    put(&line, text, c->duration, true);
    put_clean(&line, state_text(r, buf, sizeof buf), *state_text(r, buf, sizeof buf) ? c->state : 0, style);
    jl_buf_str(&line, "");
    line.len = report_cut(line.data ? line.data : "", c->width - 1);
    while (line.len && line.data[line.len - 1] == ' ')
        line.len--;
    if (style->colour && (r->running || !r->final))
        jl_buf_printf(out, "\033[2m%.*s\033[0m\n", (int)line.len, line.data);
    else
        jl_buf_printf(out, "%.*s\n", (int)line.len, line.data ? line.data : "");
    jl_buf_release(&line);
}

/* ---- the end -------------------------------------------------------------------------------------------------------------- */

void tail_sums_init(struct tail_sums *s)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *s = (struct tail_sums){.energy = unknown};
}

void tail_sums_add(struct tail_sums *s, const struct tail_request *r)
{
    s->requests++;
    s->failed += strcmp(r->state, "done") != 0 || r->status >= 400;
    s->tokens_in += r->tokens_in > 0 ? r->tokens_in : 0;
    s->tokens_out += r->tokens_out > 0 ? r->tokens_out : 0;
    joulet_energy_chain(&s->energy, &r->told.e);
}

void tail_summary(struct jl_buf *out, const struct tail_sums *s, const struct report_style *style)
{
    char text[80];
    energy_text(text, sizeof text, &s->energy, style);
    jl_buf_printf(out, "%llu request%s", (unsigned long long)s->requests, s->requests == 1 ? "" : "s");
    if (s->failed)
        jl_buf_printf(out, " (%llu not whole)", (unsigned long long)s->failed);
    jl_buf_printf(out, ", %lld tokens in, %lld out", (long long)s->tokens_in, (long long)s->tokens_out);
    if (s->requests)
        jl_buf_printf(out, ", %s %s", text, isnan(s->energy.net_j) ? "in all" : "above idle");
    jl_buf_str(out, s->energy.flags & JOULET_FLAG_PARTIAL && s->requests ? " (of those with a figure)\n" : "\n");
}
