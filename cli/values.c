/* values.c - rows of the option table: finding them, turning text into their values, and reading the values of an invocation. */
#include "cli/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* Taken by every command. */
static const char common_options[] = "json output color width verbose quiet config help version";

const struct option_row *option_find(const char *name)
{
    for (size_t i = 0; i < option_count; i++)
        if (strcmp(option_table[i].name, name) == 0)
            return &option_table[i];
    return NULL;
}

bool option_common(const struct option_row *row)
{
    return jl_word_in(common_options, ' ', row->name);
}

bool option_taken(const struct command *command, const struct option_row *row)
{
    if (option_common(row))
        return true;
    return command && command->options && jl_word_in(command->options, ' ', row->name);
}

const char *option_env(const struct option_row *row, char *buf, size_t size)
{
    if (row->env) {
        snprintf(buf, size, "%s", row->env);
        return buf;
    }
    snprintf(buf, size, "JOULET_%s", row->name);
    for (char *p = buf; *p; p++) {
        if (*p >= 'a' && *p <= 'z')
            *p = (char)(*p - 'a' + 'A');
        if (*p == '-')
            *p = '_';
    }
    return buf;
}

/* ---- text to value ------------------------------------------------------------------------------------------------ */

static bool convert_flag(const char *text, struct cli_value *v, char *why, size_t size)
{
    static const struct {
        const char *word;
        bool on;
    } words[] = {{"yes", true}, {"true", true},   {"on", true},   {"1", true},
                 {"no", false}, {"false", false}, {"off", false}, {"0", false}};
    for (size_t i = 0; i < JL_COUNT(words); i++) {
        if (strcasecmp(text, words[i].word) == 0) {
            v->on = words[i].on;
            return true;
        }
    }
    snprintf(why, size, "'%.60s' is neither yes nor no", text);
    return false;
}

static bool in_limits(const struct option_row *row, double x)
{
    return row->min >= row->max || (x >= row->min && x <= row->max);
}

static bool out_of_limits(const struct option_row *row, const char *text, const char *unit, char *why, size_t size)
{
    snprintf(why, size, "%.60s is out of range, which is %.10g to %.10g%s", text, row->min, row->max, unit);
    return false;
}

static bool convert_number(const struct option_row *row, const char *text, struct cli_value *v, char *why, size_t size)
{
    if (row->type == OPTION_INT) {
        if (!jl_parse_i64(text, &v->integer)) {
            snprintf(why, size, "'%.60s' is not a whole number", text);
            return false;
        }
        return in_limits(row, (double)v->integer) || out_of_limits(row, text, "", why, size);
    }
    if (row->type == OPTION_REAL) {
        if (!jl_parse_double(text, &v->number)) {
            snprintf(why, size, "'%.60s' is not a number such as 0.7", text);
            return false;
        }
        return in_limits(row, v->number) || out_of_limits(row, text, "", why, size);
    }
    if (!jl_parse_duration(text, &v->integer)) {
        snprintf(why, size, "'%.60s' is not a time such as 250ms, 10s or 2m", text);
        return false;
    }
    return in_limits(row, jl_s(v->integer)) || out_of_limits(row, text, " s", why, size);
}

static bool convert_choice(const struct option_row *row, const char *text, struct cli_value *v, char *why, size_t size)
{
    size_t len = strlen(text);
    for (const char *p = row->choices; p; p = strchr(p, ',') ? strchr(p, ',') + 1 : NULL) {
        if (len && strcspn(p, ",") == len && strncasecmp(p, text, len) == 0) {
            free(v->text);
            v->text = strndup(p, len);
            return v->text || (snprintf(why, size, "out of memory"), false);
        }
    }
    snprintf(why, size, "'%.60s' is not one of %s", text, row->choices);
    return false;
}

bool option_convert(const struct option_row *row, const char *text, struct cli_value *v, char *why, size_t why_size)
{
    switch (row->type) {
    case OPTION_FLAG:
        return convert_flag(text, v, why, why_size);
    case OPTION_INT:
    case OPTION_REAL:
    case OPTION_DURATION:
        return convert_number(row, text, v, why, why_size);
    case OPTION_CHOICE:
        return convert_choice(row, text, v, why, why_size);
    case OPTION_STRING:
    case OPTION_LIST:
        return true;
    }
    return false;
}

static void drop_items(struct cli_value *v)
{
    for (size_t i = 0; i < v->n_items; i++)
        free(v->items[i]);
    free(v->items);
    v->items = NULL;
    v->n_items = 0;
}

static bool add_item(struct cli_value *v, const char *text)
{
    char **more = realloc(v->items, (v->n_items + 1) * sizeof *more);
    if (!more)
        return false;
    v->items = more;
    v->items[v->n_items] = jl_strdup(text);
    return v->items[v->n_items] && ++v->n_items;
}

bool cli_set(struct cli *c, const struct option_row *row, enum value_source source, const char *text, char *why, size_t why_size)
{
    struct cli_value *v = &c->values[row - option_table];
    if (v->source > source)
        return true;
    if (v->source < source)
        drop_items(v);
    char *copy = jl_strdup(text);
    if (!copy || (row->type == OPTION_LIST && !add_item(v, text))) {
        free(copy);
        snprintf(why, why_size, "out of memory");
        return false;
    }
    free(v->text);
    v->text = copy;
    if (!option_convert(row, text, v, why, why_size))
        return false;
    v->source = source;
    return true;
}

void cli_release(struct cli *c)
{
    for (size_t i = 0; c->values && i < option_count; i++) {
        drop_items(&c->values[i]);
        free(c->values[i].text);
    }
    free(c->values);
    free(c->operands);
    memset(c, 0, sizeof *c);
}

/* ---- reading them ------------------------------------------------------------------------------------------------- */

/* The value of an option that the command takes and that has one; else NULL. */
static const struct cli_value *value_of(const struct cli *c, const char *option)
{
    const struct option_row *row = option_find(option);
    if (!row || !c->values || c->values[row - option_table].source == VALUE_NONE)
        return NULL;
    return &c->values[row - option_table];
}

bool cli_given(const struct cli *c, const char *option)
{
    const struct cli_value *v = value_of(c, option);
    return v && v->source > VALUE_DEFAULT;
}

bool cli_flag(const struct cli *c, const char *option)
{
    const struct cli_value *v = value_of(c, option);
    return v && v->on;
}

const char *cli_str(const struct cli *c, const char *option)
{
    const struct cli_value *v = value_of(c, option);
    return v ? v->text : NULL;
}

int64_t cli_int(const struct cli *c, const char *option, int64_t otherwise)
{
    const struct cli_value *v = value_of(c, option);
    return v ? v->integer : otherwise;
}

double cli_real(const struct cli *c, const char *option)
{
    const struct cli_value *v = value_of(c, option);
    return v ? v->number : NAN;
}

int64_t cli_duration_ns(const struct cli *c, const char *option)
{
    const struct cli_value *v = value_of(c, option);
    return v ? v->integer : -1;
}

size_t cli_list(const struct cli *c, const char *option, const char *const **items)
{
    const struct cli_value *v = value_of(c, option);
    *items = v ? (const char *const *)v->items : NULL;
    return v ? v->n_items : 0;
}

void cli_meter_options(const struct cli *c, struct joulet_options *opt)
{
    opt->sim = cli_str(c, "sim");
    opt->replay = cli_str(c, "replay");
    opt->sensors = cli_str(c, "sensors");
    if (!opt->sensors && opt->sim)
        opt->sensors = opt->replay ? "sim,file" : "sim";
    else if (!opt->sensors && opt->replay)
        opt->sensors = "file";
    opt->trust_root = cli_flag(c, "trust-root");
    opt->calibration = cli_str(c, "calibration");
    if (opt->calibration && strcmp(opt->calibration, "none") == 0)
        opt->calibration = "";
}

/* ---- near misses -------------------------------------------------------------------------------------------------- */

/* Edits (insert, delete, replace, swap of neighbours) between two words, both below 32 characters. */
static size_t edits(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b), d[33][33];
    if (n > 32 || m > 32)
        return 33;
    for (size_t i = 0; i <= n; i++) {
        for (size_t j = 0; j <= m; j++) {
            if (i == 0 || j == 0) {
                d[i][j] = i + j;
                continue;
            }
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
            best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    }
    return d[n][m];
}

const char *cli_nearest(const char *word, const char *const *words, size_t n)
{
    const char *best = NULL;
    size_t best_edits = strlen(word) < 4 ? 2 : 3; /* exclusive: more would be a guess */
    for (size_t i = 0; i < n; i++) {
        size_t e = edits(word, words[i]);
        if (e < best_edits) {
            best_edits = e;
            best = words[i];
        }
    }
    if (best)
        return best;
    /* A beginning is meant as an abbreviation. */
    for (size_t i = 0; i < n && strlen(word) >= 2; i++) {
        if (!jl_starts(words[i], word))
            continue;
        if (best)
            return NULL;
        best = words[i];
    }
    return best;
}

const char *option_meant(const struct command *command, const char *word)
{
    const char **names = calloc(option_count, sizeof *names);
    size_t n = 0;
    for (size_t i = 0; names && i < option_count; i++)
        if (option_taken(command, &option_table[i]))
            names[n++] = option_table[i].name;
    const char *best = names ? cli_nearest(word, names, n) : NULL;
    free(names);
    return best;
}
