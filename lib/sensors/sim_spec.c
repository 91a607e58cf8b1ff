/* sim_spec.c - reads the expression that says what the simulated sensor plays. Grammar:
 *
 *     expression = device { "|" device }          device = curve { ";" option }
 *     curve      = watts | seconds ":" watts { "," seconds ":" watts } | "file:" path | "follow:" path | path
 *     option     = name "=" value | "late"
 *
 * Options come from rows; what is not given takes the habits of the presets that `device` names, or else of the group: a CPU
 * behaves like RAPL, a GPU like NVML (1.1). */
#include "lib/sensors/sim_spec.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WATTS_MAX 1e6
#define TIME_MAX  1e7

struct cursor {
    const char *text, *p;
    struct joulet_error *err;
};

/* Says what was expected at `at`; a long expression is shown around the place. */
static enum joulet_status wrong(struct cursor *c, const char *at, const char *fmt, ...) JL_PRINTF(3, 4);
static enum joulet_status wrong(struct cursor *c, const char *at, const char *fmt, ...)
{
    char why[320];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    size_t place = (size_t)(at - c->text), from = place > 40 ? place - 40 : 0;
    return jl_fail(c->err, JOULET_USAGE, "the simulated power curve is wrong at character %zu, here: \"%s%.*s[*]%.40s\": %s",
                   place + 1, from ? "..." : "", (int)(place - from), c->text + from, at, why);
}

/* ---- the curve -------------------------------------------------------------------------------------------------- */

static bool take_number(struct cursor *c, double max, double *out)
{
    char text[40];
    size_t n = strspn(c->p, "0123456789.eE+-");
    if (n == 0 || n >= sizeof(text))
        return false;
    memcpy(text, c->p, n);
    text[n] = '\0';
    if (!jl_parse_double(text, out) || *out < 0 || *out > max)
        return false;
    c->p += n;
    return true;
}

static bool at_end(const char *p)
{
    return !*p || *p == ';' || *p == '|';
}

static bool add_step(struct sim_play *d, double t, double p)
{
    if (!d->t_s) {
        d->t_s = calloc(SIM_STEPS_MAX, sizeof(*d->t_s));
        d->p_w = calloc(SIM_STEPS_MAX, sizeof(*d->p_w));
    }
    if (!d->t_s || !d->p_w || d->n_steps == SIM_STEPS_MAX)
        return false;
    d->t_s[d->n_steps] = t;
    d->p_w[d->n_steps++] = p;
    return true;
}

static enum joulet_status parse_steps(struct cursor *c, struct sim_play *d)
{
    for (;; c->p++) {
        const char *start = c->p;
        double t = 0, p;
        if (!take_number(c, TIME_MAX, &p))
            return wrong(c, start, "a number is expected there, 0 or more, as in 100 or 0:60,2:300");
        if (*c->p == ':') {
            t = p;
            c->p++;
            if (!take_number(c, WATTS_MAX, &p))
                return wrong(c, c->p, "watts are expected after the time, 0 or more, as in 2:300");
        } else if (p > WATTS_MAX || d->n_steps || *c->p == ',') {
            return wrong(c, start, "steps are written SECONDS:WATTS, as in 0:60,2:300");
        }
        if (d->n_steps && t < d->t_s[d->n_steps - 1])
            return wrong(c, start, "times must not go back");
        if (!add_step(d, t, p))
            return wrong(c, start, "at most %d steps; put longer curves into a file", SIM_STEPS_MAX);
        if (*c->p != ',')
            break;
    }
    return at_end(c->p) ? JOULET_OK : wrong(c, c->p, "a comma, a semicolon or the end is expected there");
}

static enum joulet_status parse_path(struct cursor *c, struct sim_play *d, enum sim_source source)
{
    size_t n = strcspn(c->p, ";|");
    if (n == 0 || n >= sizeof(d->path))
        return wrong(c, c->p, "a file name of at most %zu characters is expected there", sizeof(d->path) - 1);
    d->source = source;
    memcpy(d->path, c->p, n);
    d->path[n] = '\0';
    c->p += n;
    return JOULET_OK;
}

static enum joulet_status parse_curve(struct cursor *c, struct sim_play *d)
{
    if (jl_starts(c->p, "file:")) {
        c->p += strlen("file:");
        return parse_path(c, d, SIM_FILE);
    }
    if (jl_starts(c->p, "follow:")) {
        c->p += strlen("follow:");
        return parse_path(c, d, SIM_FOLLOW);
    }
    if (*c->p && strchr("0123456789.+-", *c->p) && strncmp(c->p, "./", 2) != 0 && strncmp(c->p, "../", 3) != 0)
        return parse_steps(c, d);
    if (at_end(c->p))
        return wrong(c, c->p, "watts, steps or a file name are expected there, as in 100 or 0:60,2:300");
    return parse_path(c, d, SIM_FILE);
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

enum option_type { DURATION, NUMBER, WHOLE, WORD, NAME, KINDS };

static const char *const kind_words[] = {"counter", "power", NULL};
static const char *const group_words[] = {"cpu", "dram", "gpu", "platform", "other", NULL}; /* in the order of joulet_group */
static const char *const total_words[] = {"no", "yes", NULL};

static const struct option {
    const char *name;
    enum option_type type;
    size_t slot;
    double min, max;
    const char *const *words;
} options[] = {
#define AT(member) offsetof(struct sim_play, member)
    {"device", KINDS, AT(kinds), 0, 0, NULL},
    {"kind", WORD, AT(power), 0, 0, kind_words},
    {"group", WORD, AT(group), 0, 0, group_words},
    {"total", WORD, AT(in_total), 0, 0, total_words},
    {"name", NAME, AT(name), 0, 0, NULL},
    {"period", DURATION, AT(period_s), 1e-4, 60, NULL},
    {"window", DURATION, AT(window_s), 0, 60, NULL},
    {"jitter", DURATION, AT(jitter_s), 0, 10, NULL},
    {"rise", DURATION, AT(rise_s), 0, 10, NULL},
    {"lag", DURATION, AT(lag_s), 0, 10, NULL},
    {"u_lag", DURATION, AT(u_lag_s), 0, 10, NULL},
    {"lag_max", DURATION, AT(lag_max_s), 0, 10, NULL},
    {"skew", DURATION, AT(skew_s), 0, 10, NULL},
    {"gone", DURATION, AT(gone_s), 0, TIME_MAX, NULL},
    {"frozen", DURATION, AT(frozen_s), 0, TIME_MAX, NULL},
    {"back", DURATION, AT(back_s), 0, TIME_MAX, NULL},
    {"garbage", NUMBER, AT(garbage), 0, 0.5, NULL},
    {"quantum", NUMBER, AT(quantum), 1e-9, 1e6, NULL},
    {"range", NUMBER, AT(range_j), 1, 1e12, NULL},
    {"noise", NUMBER, AT(noise), 0, 0.3, NULL},
    {"gain", NUMBER, AT(gain), 0.01, 100, NULL},
    {"spec", NUMBER, AT(spec), 0, 1, NULL},
    {"fail", WHOLE, AT(fail), 1, 1e9, NULL},
    {"late", WHOLE, AT(late), 1, 1e9, NULL},
    {"seed", WHOLE, AT(seed), 0, 1e15, NULL},
#undef AT
};

const char *sim_group_word(enum joulet_group group)
{
    return group_words[group];
}

static void unset(struct sim_play *d)
{
    *d = (struct sim_play){.in_total = true, .group = JOULET_GROUP_COUNT, .gain = 1, .seed = 1};
    d->period_s = d->window_s = d->jitter_s = d->rise_s = NAN;
    d->lag_s = d->skew_s = d->u_lag_s = d->lag_max_s = d->quantum = NAN;
    d->range_j = d->noise = d->spec = NAN;
    d->gone_s = d->frozen_s = d->back_s = NAN;
}

static bool set_word(struct sim_play *d, const struct option *o, const char *value)
{
    for (int i = 0; o->words[i]; i++) {
        if (strcmp(o->words[i], value) != 0)
            continue;
        if (o->words == group_words)
            d->group = (enum joulet_group)i;
        else
            memcpy((char *)d + o->slot, &(bool){i == 1}, sizeof(bool));
        return true;
    }
    return false;
}

static bool set_name(struct sim_play *d, const char *value)
{
    size_t n = strlen(value);
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)value[i]) && !strchr("._-", value[i]))
            return false;
    if (n == 0 || n >= sizeof(d->name))
        return false;
    memcpy(d->name, value, n + 1);
    return true;
}

static bool set_kinds(struct sim_play *d, const char *value)
{
    const struct sim_preset *presets[SIM_OUTLETS_MAX];
    const char *wrong;
    if (strlen(value) >= sizeof(d->kinds) || sim_kinds_parse(value, presets, &wrong) < 1)
        return false;
    strcpy(d->kinds, value);
    return true;
}

static bool set_option(struct sim_play *d, const struct option *o, const char *value)
{
    int64_t i;
    double v;
    switch (o->type) {
    case WORD:
        return set_word(d, o, value);
    case NAME:
        return set_name(d, value);
    case KINDS:
        return set_kinds(d, value);
    case WHOLE:
        if (!jl_parse_i64(value, &i) || i < (int64_t)o->min || i > (int64_t)o->max)
            return false;
        memcpy((char *)d + o->slot, &i, sizeof(i));
        return true;
    case DURATION:
        if (!jl_parse_duration(value, &i))
            return false;
        v = jl_s(i);
        break;
    default:
        if (!jl_parse_double(value, &v))
            return false;
    }
    memcpy((char *)d + o->slot, &v, sizeof(v));
    return v >= o->min && v <= o->max;
}

static void list_kinds(char *buf, size_t size)
{
    size_t n = (size_t)snprintf(buf, size, "one of ");
    for (const struct sim_preset *p = sim_presets; p->name && n < size; p++)
        n += (size_t)snprintf(buf + n, size - n, "%s%s", p == sim_presets ? "" : ", ", p->name);
}

static void example(const struct option *o, char *buf, size_t size)
{
    static const char *const examples[] = {[DURATION] = "a time such as 100ms, within its limits",
                                           [NUMBER] = "a number, within its limits",
                                           [WHOLE] = "a whole number, within its limits",
                                           [NAME] = "letters, digits, dots, dashes, at most 39"};
    if (o->type == KINDS)
        list_kinds(buf, size);
    else if (o->type == WORD)
        snprintf(buf, size, "%s",
                 o->words == kind_words    ? "counter or power"
                 : o->words == group_words ? "cpu, dram, gpu, platform or other"
                                           : "yes or no");
    else
        snprintf(buf, size, "%s", examples[o->type]);
}

static enum joulet_status parse_option(struct cursor *c, struct sim_play *d)
{
    char name[16], value[96] = "", takes[300];
    const char *start = c->p;
    size_t n = strcspn(c->p, "=;|");
    if (n == 0 || n >= sizeof(name))
        return wrong(c, start, "an option is expected there, as in period=100ms");
    memcpy(name, c->p, n);
    name[n] = '\0';
    c->p += n;
    const struct option *o = NULL;
    for (size_t i = 0; i < JL_COUNT(options) && !o; i++)
        o = strcmp(options[i].name, name) == 0 ? &options[i] : NULL;
    if (!o)
        return wrong(c, start, "there is no option %s", name);
    const char *at = c->p;
    if (*c->p == '=') {
        at = ++c->p;
        n = strcspn(c->p, ";|");
        memcpy(value, c->p, n < sizeof(value) - 1 ? n : sizeof(value) - 1);
        c->p += n;
    } else if (strcmp(name, "late") == 0) {
        strcpy(value, "1"); /* alone: every read is late */
    }
    if (set_option(d, o, value)) {
        d->kind_given = d->kind_given || o->words == kind_words;
        return JOULET_OK;
    }
    example(o, takes, sizeof(takes));
    return wrong(c, at, "%s takes %s", name, takes);
}

/* ---- devices ----------------------------------------------------------------------------------------------------- */

static void default_to(double *slot, double value)
{
    if (isnan(*slot))
        *slot = value;
}

static void fill_defaults(struct sim_play *d)
{
    const struct sim_preset *presets[SIM_OUTLETS_MAX];
    const char *wrong_name;
    if (d->kinds[0]) { /* the rest is theirs */
        sim_kinds_parse(d->kinds, presets, &wrong_name);
        d->group = d->group == JOULET_GROUP_COUNT ? presets[0]->group : d->group;
        return;
    }
    d->group = d->group == JOULET_GROUP_COUNT ? JOULET_GROUP_CPU : d->group;
    default_to(&d->skew_s, 0);
    default_to(&d->range_j, 0);
    default_to(&d->noise, 0);
    default_to(&d->spec, 0);
    bool gpu = d->group == JOULET_GROUP_GPU;
    default_to(&d->period_s, gpu ? 0.1 : 0.001);
    bool slow = d->period_s >= 0.01;
    default_to(&d->window_s, d->power ? d->period_s : 0);
    default_to(&d->jitter_s, gpu ? 0 : 0.05 * d->period_s);
    default_to(&d->quantum, gpu || d->power ? 0.001 : 0x1p-14);
    default_to(&d->lag_s, gpu ? 0.025 : 0);
    default_to(&d->u_lag_s, slow ? 0.003 : 0.00015);
    default_to(&d->lag_max_s, fmax(d->lag_s + 3 * d->u_lag_s + d->skew_s, slow ? 0.05 : 0.002));
}

static enum joulet_status check_device(struct cursor *c, const struct sim_spec *s, const struct sim_play *d, const char *start)
{
    if (d->jitter_s * 2 > d->period_s)
        return wrong(c, start, "jitter may be half the period at most");
    if (d->power && d->range_j > 0)
        return wrong(c, start, "range belongs to counters");
    if (d->kinds[0] && d->kind_given)
        return wrong(c, start, "kind is said by device already");
    for (size_t i = 0; i < s->n; i++)
        if (d->name[0] && strcmp(d->name, s->devices[i].name) == 0)
            return wrong(c, start, "two devices are called %s", d->name);
    return JOULET_OK;
}

static enum joulet_status parse_device(struct cursor *c, struct sim_spec *s)
{
    const char *start = c->p;
    if (s->n == SIM_DEVICES_MAX)
        return wrong(c, start, "at most %d devices", SIM_DEVICES_MAX);
    struct sim_play *d = &s->devices[s->n];
    unset(d);
    enum joulet_status status = parse_curve(c, d);
    while (status == JOULET_OK && *c->p == ';') {
        c->p++;
        status = parse_option(c, d);
    }
    if (status == JOULET_OK) {
        fill_defaults(d);
        status = check_device(c, s, d, start);
    }
    s->n++; /* even when wrong: its memory is freed with the others' */
    return status;
}

enum joulet_status sim_spec_parse(struct sim_spec *out, const char *expr, struct joulet_error *err)
{
    struct joulet_error own;
    struct cursor c = {expr, expr, err ? err : &own};
    out->n = 0;
    enum joulet_status status = parse_device(&c, out);
    while (status == JOULET_OK && *c.p == '|') {
        c.p++;
        status = parse_device(&c, out);
    }
    if (status != JOULET_OK)
        sim_spec_release(out);
    return status == JOULET_OK ? jl_ok(err) : status;
}

void sim_spec_release(struct sim_spec *s)
{
    for (size_t i = 0; i < s->n; i++) {
        free(s->devices[i].t_s);
        free(s->devices[i].p_w);
    }
    s->n = 0;
}
