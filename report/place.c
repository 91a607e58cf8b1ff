/* place.c - emission factors of countries, states, provinces, Nordic zones and cloud regions, and PUE and WUE of the latter, from
 * the files of data/ (sources, licences and what each column is: data/README.md).
 *
 * What a row means is said here where the file does not: the factors of Our World in Data count the life cycle, those of Google,
 * EPA, EEA, EMA and of Canada's fuel mix what power stations emit. A factor of 0 in the first file is a gap. */
#include "report/carbon.h"

#include "data/data.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define LIFE_CYCLE "life cycle"
#define DIRECT     "direct"
#define NOT_STATED "not stated"
#define PLACES_MAX 2000
#define NAMED_MAX  6 /* candidates in a sentence */

static const char owid_source[] =
    "Ember (2026); Energy Institute - Statistical Review of World Energy (2025) - with major processing by Our World in Data";

struct places {
    struct carbon_place *items;
    size_t n;
};

static struct carbon_place *add(struct places *p, const char *kind)
{
    if (p->n == PLACES_MAX)
        return NULL;
    struct carbon_place *x = &p->items[p->n++];
    *x = (struct carbon_place){.g_per_kwh = NAN, .pue = NAN, .wue_l_per_kwh = NAN, .basis = NOT_STATED};
    snprintf(x->kind, sizeof x->kind, "%s", kind);
    return x;
}

static void set(char *out, size_t size, const char *text)
{
    snprintf(out, size, "%s", text);
}

static double number(const char *text)
{
    double x;
    return jl_parse_double(text, &x) ? x : NAN;
}

static void lower(char *s)
{
    for (; *s; s++)
        *s = (char)tolower((unsigned char)*s);
}

/* Letters and digits in lower case, and what is not ASCII: "Cote d'Ivoire" is "cotedivoire". */
static void fold(char *out, size_t size, const char *text)
{
    size_t n = 0;
    for (; *text && n + 1 < size; text++)
        if (isalnum((unsigned char)*text) || (unsigned char)*text >= 0x80)
            out[n++] = (char)tolower((unsigned char)*text);
    out[n] = '\0';
}

/* ---- rows of the files ------------------------------------------------------------------------------------------- */

/* name,iso2,iso3,g_co2e_per_kwh,year,kind */
static void country(struct places *p, char **f)
{
    struct carbon_place *x = add(p, f[5]);
    if (!x)
        return;
    set(x->code, sizeof x->code, *f[1] ? f[1] : f[0]);
    set(x->name, sizeof x->name, f[0]);
    set(x->iso3, sizeof x->iso3, f[2]);
    set(x->year, sizeof x->year, f[4]);
    set(x->source, sizeof x->source, owid_source);
    x->basis = LIFE_CYCLE;
    double g = number(f[3]);
    x->g_per_kwh = g > 0 ? g : NAN;
}

/* country_iso2,region_code,region_name,g_co2e_per_kwh,year,kind,original_value,original_unit_or_basis,source */
static void region(struct places *p, char **f)
{
    bool zone = !strcmp(f[5], "bidding_zone");
    struct carbon_place *x = add(p, zone ? "zone" : f[5]);
    if (!x)
        return;
    if (zone && strcmp(f[0], f[1]))
        set(x->code, sizeof x->code, f[1]);
    else {
        snprintf(x->code, sizeof x->code, "%s-%s", f[0], f[1]);
        lower(x->code);
    }
    set(x->name, sizeof x->name, !strcmp(f[1], "USA") ? "United States, EPA eGRID" : f[2]);
    set(x->year, sizeof x->year, f[4]);
    set(x->source, sizeof x->source, f[8]);
    x->basis = zone ? NOT_STATED : DIRECT;
    x->g_per_kwh = number(f[3]);
}

static const char *cloud_basis(const char *source)
{
    static const char *const direct[] = {"Google", "origin EPA", "origin EEA", "origin EMA"};
    for (size_t i = 0; i < JL_COUNT(direct); i++)
        if (strstr(source, direct[i]))
            return DIRECT;
    return NOT_STATED;
}

/* Azure's names have blanks, its identifiers have none. */
static void cloud_code(char *out, size_t size, const char *provider, const char *id)
{
    size_t n = (size_t)snprintf(out, size, "%s:", provider);
    for (; *id && n + 1 < size; id++)
        if (*id != ' ')
            out[n++] = (char)tolower((unsigned char)*id);
    out[n] = '\0';
}

/* provider,region,location,g_co2e_per_kwh,year,carbon_free_fraction,source */
static void cloud(struct places *p, char **f)
{
    struct carbon_place *x = add(p, "cloud region");
    if (!x)
        return;
    cloud_code(x->code, sizeof x->code, f[0], f[1]);
    set(x->name, sizeof x->name, f[2]);
    set(x->year, sizeof x->year, f[4]);
    set(x->source, sizeof x->source, f[6]);
    x->basis = cloud_basis(f[6]);
    x->g_per_kwh = number(f[3]);
}

static struct carbon_place *by_code(const struct places *p, const char *code)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcasecmp(p->items[i].code, code))
            return &p->items[i];
    return NULL;
}

/* year,provider,region,location,pue,wue_l_per_kwh. The newest value of each wins; where a region has two rows for one year, as
 * Azure's northeurope has in 2022, the one whose place is that of the emission factor. */
static void efficiency(struct places *p, char **f)
{
    const char *provider = !strcmp(f[1], "Amazon Web Services") ? "aws" : !strcmp(f[1], "Google Cloud") ? "gcp" : "azure";
    char code[48];
    cloud_code(code, sizeof code, provider, f[2]);
    struct carbon_place *x = by_code(p, code);
    if (!x && (x = add(p, "cloud region"))) {
        set(x->code, sizeof x->code, code);
        set(x->name, sizeof x->name, f[3]);
        set(x->source, sizeof x->source, "no emission factor is published for this region");
    }
    if (!x)
        return;
    bool here = !strcmp(x->name, f[3]);
    double pue = number(f[4]), wue = number(f[5]);
    if (!isnan(pue) && (strcmp(f[0], x->pue_year) > 0 || (here && !strcmp(f[0], x->pue_year)))) {
        x->pue = pue;
        set(x->pue_year, sizeof x->pue_year, f[0]);
    }
    if (!isnan(wue) && (strcmp(f[0], x->wue_year) > 0 || (here && !strcmp(f[0], x->wue_year)))) {
        x->wue_l_per_kwh = wue;
        set(x->wue_year, sizeof x->wue_year, f[0]);
    }
}

static void read_rows(struct places *p, const struct data_file *file, size_t columns, void (*row)(struct places *, char **))
{
    struct jl_csv csv;
    jl_csv_init(&csv, file->text, file->len);
    jl_csv_next(&csv); /* the header */
    while (jl_csv_next(&csv))
        if (csv.n == columns)
            row(p, csv.fields);
    jl_csv_release(&csv);
}

enum joulet_status carbon_places(struct carbon_place **out, size_t *n, struct joulet_error *err)
{
    struct places p = {.items = calloc(PLACES_MAX, sizeof *p.items)};
    *out = NULL;
    *n = 0;
    if (!p.items)
        return jl_fail(err, JOULET_MEMORY, "out of memory for the table of places");
    read_rows(&p, &data_emission_factors_owid, 6, country);
    read_rows(&p, &data_emission_factors_subnational, 9, region);
    read_rows(&p, &data_emission_factors_cloud, 7, cloud);
    read_rows(&p, &data_cloud_pue, 6, efficiency);
    *out = p.items;
    *n = p.n;
    return jl_ok(err);
}

/* ---- finding one ------------------------------------------------------------------------------------------------- */

bool carbon_matches(const struct carbon_place *p, const char *text)
{
    char want[96], code[96], name[96];
    fold(want, sizeof want, text);
    fold(code, sizeof code, p->code);
    fold(name, sizeof name, p->name);
    return strstr(code, want) || strstr(name, want) || strcasestr(p->kind, text);
}

/* Clouds name their regions after places; "Iowa" is the state. */
static bool has_name(const struct carbon_place *p, const char *text)
{
    char name[96], want[96];
    fold(name, sizeof name, p->name);
    fold(want, sizeof want, text);
    return *want && !strcmp(name, want) && strcmp(p->kind, "cloud region");
}

/* Without what its source sets in brackets: "EU (Ember)". */
static bool has_bare_name(const struct carbon_place *p, const char *text)
{
    char bare[96], want[96];
    const char *bracket = strstr(p->name, " (");
    snprintf(bare, sizeof bare, "%.*s", bracket ? (int)(bracket - p->name) : 0, p->name);
    fold(bare, sizeof bare, bare);
    fold(want, sizeof want, text);
    return *bare && !strcmp(bare, want) && strcmp(p->kind, "cloud region");
}

static bool has_code(const struct carbon_place *p, const char *text)
{
    char code[96], want[96];
    const char *colon = strchr(p->code, ':');
    fold(code, sizeof code, p->code);
    fold(want, sizeof want, text);
    if (!strcmp(p->kind, "country"))
        return !strcasecmp(p->code, text) || (*p->iso3 && !strcasecmp(p->iso3, text));
    if (colon && !strchr(text, ':')) /* a region without its provider */
        return !strcasecmp(colon + 1, text);
    return !strcmp(code, want);
}

/* Names that people use for a code. */
static const char *alias(const char *text, char *buf, size_t size)
{
    static const struct {
        const char *said, *meant;
    } whole[] = {{"UK", "GB"}, {"U.S.", "US"}, {"Holland", "NL"}, {"England", "GB"}, {"Czech Republic", "CZ"}},
      prefix[] = {{"amazon:", "aws:"}, {"google:", "gcp:"}, {"microsoft:", "azure:"}};
    for (size_t i = 0; i < JL_COUNT(whole); i++)
        if (!strcasecmp(text, whole[i].said))
            return whole[i].meant;
    for (size_t i = 0; i < JL_COUNT(prefix); i++)
        if (!strncasecmp(text, prefix[i].said, strlen(prefix[i].said))) {
            snprintf(buf, size, "%s%s", prefix[i].meant, text + strlen(prefix[i].said));
            return buf;
        }
    return text;
}

/* A code beats a name, a name one without its brackets. */
static size_t collect(const struct carbon_place *all, size_t n, const char *text, size_t *found)
{
    static bool (*const ways[])(const struct carbon_place *, const char *) = {has_code, has_name, has_bare_name};
    size_t k = 0;
    for (size_t way = 0; way < JL_COUNT(ways) && k == 0; way++)
        for (size_t i = 0; i < n && k < NAMED_MAX; i++)
            if (ways[way](&all[i], text))
                found[k++] = i;
    return k;
}

static void name_them(struct jl_buf *b, const struct carbon_place *all, const size_t *which, size_t k)
{
    for (size_t i = 0; i < k; i++)
        jl_buf_printf(b, "%s%s (%s)", i ? ", " : "", all[which[i]].code, all[which[i]].name);
}

static enum joulet_status none(const struct carbon_place *all, size_t n, const char *text, struct joulet_error *err)
{
    size_t like[NAMED_MAX], k = 0;
    struct jl_buf b;
    for (size_t i = 0; i < n && k < NAMED_MAX && strlen(text) > 2; i++)
        if (carbon_matches(&all[i], text))
            like[k++] = i;
    jl_buf_init(&b, 2000);
    jl_buf_str(&b, "");
    name_them(&b, all, like, k);
    enum joulet_status st =
        k ? jl_fail(err, JOULET_USAGE, "there is no place \"%.60s\"; there are %s", text, b.data)
          : jl_fail(err, JOULET_USAGE,
                    "there is no place \"%.60s\": `joulet carbon list` shows those that are known, and --grid takes "
                    "a factor of your own",
                    text);
    jl_buf_release(&b);
    return st;
}

enum joulet_status carbon_find(const char *text, struct carbon_place *out, struct joulet_error *err)
{
    struct carbon_place *all;
    char buf[96];
    size_t n, found[NAMED_MAX];
    enum joulet_status st = carbon_places(&all, &n, err);
    if (st != JOULET_OK)
        return st;
    text = alias(text, buf, sizeof buf);
    size_t k = collect(all, n, text, found);
    if (k == 1) {
        *out = all[found[0]];
    } else if (k == 0) {
        st = none(all, n, text, err);
    } else {
        struct jl_buf b;
        jl_buf_init(&b, 2000);
        name_them(&b, all, found, k);
        st = jl_fail(err, JOULET_USAGE, "\"%.60s\" may be %s; say which", text, b.data);
        jl_buf_release(&b);
    }
    free(all);
    return st;
}
