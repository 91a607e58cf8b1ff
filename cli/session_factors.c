/* session_factors.c - see session_factors.h. Everything that a report needs stays in the record: value, source, year, what is
 * counted, PUE and its source, the age of a value that changes (docs/carbon.md). */
#include "cli/session_factors.h"
#include "report/carbon.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERIES_BYTES_MAX ((size_t)64 << 20)
#define RECORD_BYTES_MAX ((size_t)1 << 20) /* of a series in the record: about 50,000 points */
#define ASK_EVERY_NS     (15 * 60 * JL_NS_PER_S)
#define ASK_TIMEOUT_S    10.0

struct session_factors {
    struct carbon_series grid; /* of --grid-series or --grid-command; empty: neither */
    bool changes;
    int64_t asked_ns; /* wall time of the last value of the command */
};

static void set_number(struct run_pairs *p, const char *key, double value)
{
    if (!isnan(value))
        run_pairs_set(p, key, 'n', "%.15g", value);
}

/* ---- the command: asked at most every 15 minutes, over all runs -------------------------------------------------- */

static char *data_path(const char *name)
{
    struct joulet_error err;
    char *folder = jl_data_dir(&err), *path = folder ? jl_strf("%s/%s", folder, name) : NULL;
    free(folder);
    return path;
}

static void digest_of(const char *command, char hex[65])
{
    struct jl_sha256 sha;
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, command, strlen(command));
    jl_sha256_hex(&sha, hex);
}

/* The value that this command gave last: "DIGEST SECONDS VALUE". */
static bool kept_value(const char *command, int64_t *wall_ns, double *g)
{
    char text[256], digest[65], *path = data_path("grid-command.txt");
    bool there = path && jl_read_text(path, text, sizeof text, NULL) == JOULET_OK;
    free(path);
    digest_of(command, digest);
    char *time = there && jl_starts(text, digest) && text[64] == ' ' ? text + 65 : NULL, *value = time ? strchr(time, ' ') : NULL;
    if (!value)
        return false;
    *value = '\0';
    return carbon_time(time, wall_ns) && carbon_value(value + 1, g) && *wall_ns <= jl_wall_ns();
}

static void keep_value(const char *command, int64_t wall_ns, double g)
{
    char digest[65], *path = data_path("grid-command.txt");
    digest_of(command, digest);
    char *text = jl_strf("%s %lld %.10g\n", digest, (long long)(wall_ns / JL_NS_PER_S), g);
    if (path && text) /* for the runs that follow; this one has the value */
        jl_write_file(path, text, strlen(text), 0600, NULL);
    free(text);
    free(path);
}

static enum joulet_status run_command(const char *command, const char *path, struct joulet_error *err)
{
    const char *const argv[] = {"/bin/sh", "-c", "eval \"$1\" >\"$2\"", "sh", command, path, NULL};
    struct jl_process child = {0};
    enum joulet_status st = jl_spawn(&child, &(struct jl_spawn){.argv = argv}, err);
    if (st == JOULET_OK && !jl_process_wait(&child, ASK_TIMEOUT_S)) {
        jl_process_stop(&child, 1);
        return jl_fail(err, JOULET_IO, "the grid command gave no answer within %.0f s", ASK_TIMEOUT_S);
    }
    if (st == JOULET_OK && child.status != 0)
        st = jl_fail(err, JOULET_IO, "the grid command failed with exit code %d", child.status);
    return st;
}

/* What the command writes comes through a file; its messages go where ours go. */
static enum joulet_status ask(const char *command, double *g, struct joulet_error *err)
{
    char text[256] = "", *path = data_path("grid-XXXXXX");
    int fd = path ? mkstemp(path) : -1;
    enum joulet_status st =
        fd < 0 ? jl_fail(err, JOULET_IO, "no file for the answer of the grid command can be made in the data folder")
               : run_command(command, path, err);
    if (st == JOULET_OK && (jl_read_text(path, text, sizeof text, NULL) != JOULET_OK || !carbon_value(text, g)))
        st = jl_fail(err, JOULET_FORMAT, "the grid command wrote '%.40s', which is no single number of g/kWh", text);
    if (fd >= 0) {
        close(fd);
        unlink(path);
    }
    free(path);
    return st;
}

/* What is told while the run is being opened holds from its start. */
static int64_t first_ns(const struct run *r)
{
    return r->start_ns + r->wall_offset_ns;
}

static void ask_again(struct session *s)
{
    struct session_factors *f = s->factors;
    const char *command = cli_str(s->cli, "grid-command");
    struct joulet_error err;
    int64_t now = jl_wall_ns(), kept_ns;
    double g;
    if (f->asked_ns && now - f->asked_ns < ASK_EVERY_NS)
        return;
    bool opening = !f->asked_ns, kept = !f->grid.n && kept_value(command, &kept_ns, &g);
    if (kept)
        carbon_series_add(&f->grid, kept_ns, g);
    f->asked_ns = kept ? kept_ns : now;
    if (kept && now - kept_ns < ASK_EVERY_NS)
        return;
    f->asked_ns = now; /* a command that fails is not asked more often than one that works */
    if (ask(command, &g, &err) == JOULET_OK) {
        carbon_series_add(&f->grid, opening ? first_ns(&s->run) : now, g);
        keep_value(command, now, g);
    } else if (f->grid.n) {
        run_note(&s->run, "%s; its last value, %.6g g/kWh, is used, and its age printed", err.message,
                 f->grid.points[f->grid.n - 1].value);
    } else {
        run_note(&s->run, "%s, and there is none from before: emissions are unknown", err.message);
    }
}

/* ---- options ----------------------------------------------------------------------------------------------------- */

static int read_series(struct session *s, const char *path)
{
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, SERIES_BYTES_MAX);
    enum joulet_status st = jl_read_file(path, &b, &err);
    if (st == JOULET_OK)
        st = carbon_series_parse(&s->factors->grid, path, b.data ? b.data : "", b.len, &err);
    jl_buf_release(&b);
    if (st == JOULET_OK)
        return CLI_DONE;
    return cli_usage(s->cli, "%s", err.message);
}

/* Which of the ways to a factor is taken; two at once would leave open which of them counts. */
static int grid_changes(struct session *s)
{
    const struct cli *c = s->cli;
    const char *series = cli_str(c, "grid-series"), *command = cli_str(c, "grid-command");
    struct run_pairs *p = &s->run.factors;
    if ((series != NULL) + (command != NULL) + !isnan(cli_real(c, "grid")) > 1)
        return cli_usage(c, "--grid, --grid-series and --grid-command exclude each other: each gives the factor");
    if (command && jl_privileged())
        return cli_usage(c, "--grid-command is not for a program with more rights than its user");
    s->factors->changes = series || command;
    if (!s->factors->changes)
        return CLI_DONE;
    const char *name = series && strrchr(series, '/') ? strrchr(series, '/') + 1 : series;
    run_pairs_set(p, "grid_source", 's', series ? "series %s" : "%s", series ? name : "the command of --grid-command");
    run_pairs_set(p, "grid_basis", 's', "not stated");
    if (series)
        return read_series(s, series);
    ask_again(s);
    return CLI_DONE;
}

static void grid_of_place(struct run_pairs *p, const struct carbon_place *place)
{
    set_number(p, "grid_g_per_kwh", place->g_per_kwh);
    run_pairs_set(p, "grid_source", 's', "%s", place->source);
    run_pairs_set(p, "grid_basis", 's', "%s", place->basis);
    if (*place->year)
        run_pairs_set(p, "grid_year", 's', "%s", place->year);
}

static void grid_constant(struct session *s, const struct carbon_place *place)
{
    struct run_pairs *p = &s->run.factors;
    double own = cli_real(s->cli, "grid");
    if (!isnan(own) || !place) {
        set_number(p, "grid_g_per_kwh", isnan(own) ? CARBON_DEFAULT_G : own);
        run_pairs_set(p, "grid_source", 's', isnan(own) ? CARBON_DEFAULT_SOURCE : "given by the user");
        run_pairs_set(p, "grid_basis", 's', isnan(own) ? "direct" : "not stated");
        return;
    }
    grid_of_place(p, place);
    if (isnan(place->g_per_kwh))
        run_note(&s->run, "no emission factor of %s (%s) is known, so its emissions are not either; --grid takes one of your own",
                 place->name, place->code);
}

static void efficiency(struct session *s, const struct carbon_place *place)
{
    struct run_pairs *p = &s->run.factors;
    double pue = cli_real(s->cli, "pue"), wue = cli_real(s->cli, "wue");
    bool own = !isnan(pue);
    if (!own && place)
        pue = place->pue;
    set_number(p, "pue", isnan(pue) ? 1 : pue);
    if (isnan(pue))
        run_pairs_set(p, "pue_source", 's', "%s",
                      place && !strcmp(place->kind, "cloud region") ? "none published, so 1 is taken"
                                                                    : "1 where no site is known");
    else
        run_pairs_set(p, "pue_source", 's', own ? "given by the user" : "the provider, %s, %s", place ? place->code : "",
                      place ? place->pue_year : "");
    own = !isnan(wue);
    if (!own && place)
        wue = place->wue_l_per_kwh;
    set_number(p, "wue_l_per_kwh", wue);
    if (!isnan(wue))
        run_pairs_set(p, "wue_source", 's', own ? "given by the user" : "the provider, %s, %s", place ? place->code : "",
                      place ? place->wue_year : "");
}

static int money(struct session *s)
{
    const struct cli *c = s->cli;
    struct run_pairs *p = &s->run.factors;
    double price = cli_real(c, "price"), device = cli_real(c, "device-hour");
    const char *tariff = cli_str(c, "tariff"), *currency = cli_str(c, "currency");
    struct carbon_tariff parsed;
    struct joulet_error err;
    if (tariff && !isnan(price))
        return cli_usage(c, "--price and --tariff exclude each other: both give the price of a kWh");
    if (tariff && carbon_tariff_parse(&parsed, tariff, &err) != JOULET_OK)
        return cli_usage(c, "%s", err.message);
    set_number(p, "price_per_kwh", price);
    if (tariff) {
        run_pairs_set(p, "tariff", 's', "%s", tariff);
        run_pairs_set(p, "utc_offset_s", 'n', "%d", jl_utc_offset_s(jl_wall_ns()));
    }
    set_number(p, "device_hour", device);
    if (tariff || !isnan(price) || !isnan(device))
        run_pairs_set(p, "currency", 's', "%s", currency ? currency : "");
    return CLI_DONE;
}

static int embodied(struct session *s)
{
    double kg = cli_real(s->cli, "embodied-kg"), years = cli_real(s->cli, "lifetime-years");
    if (isnan(kg) != isnan(years))
        return cli_usage(s->cli, "--embodied-kg and --lifetime-years go together: the share is that of the time of use");
    set_number(&s->run.factors, "embodied_kg", kg);
    set_number(&s->run.factors, "lifetime_years", years);
    return CLI_DONE;
}

int session_factors_open(struct session *s)
{
    const char *text = cli_str(s->cli, "place");
    struct carbon_place place;
    struct joulet_error err;
    s->factors = calloc(1, sizeof *s->factors);
    if (!s->factors)
        return CLI_FAILED;
    if (text && carbon_find(text, &place, &err) != JOULET_OK)
        return cli_usage(s->cli, "%s", err.message);
    if (text)
        run_pairs_set(&s->run.factors, "place", 's', "%s (%s)", place.name, place.code);
    int code = grid_changes(s);
    if (code != CLI_DONE)
        return code;
    if (!s->factors->changes)
        grid_constant(s, text ? &place : NULL);
    efficiency(s, text ? &place : NULL);
    code = money(s);
    return code == CLI_DONE ? embodied(s) : code;
}

void session_factors_tick(struct session *s)
{
    if (s->factors && cli_str(s->cli, "grid-command"))
        ask_again(s);
}

void session_factors_finish(struct session *s)
{
    struct session_factors *f = s->factors;
    struct run *r = &s->run;
    int64_t from = r->start_ns + r->wall_offset_ns, to = r->end_ns + r->wall_offset_ns;
    struct jl_buf text;
    if (!f || !f->changes)
        return;
    session_factors_tick(s);
    jl_buf_init(&text, RECORD_BYTES_MAX);
    jl_buf_str(&text, "");
    if (f->grid.n && carbon_series_text(&f->grid, from, to, &text) && text.len)
        run_pairs_set(&r->factors, "grid_series", 's', "%s", text.data);
    jl_buf_release(&text);
    set_number(&r->factors, "grid_g_per_kwh", carbon_series_mean(&f->grid, from, to));
    set_number(&r->factors, "grid_age_s", carbon_series_age_s(&f->grid, to));
    if (cli_str(s->cli, "grid-series") && isnan(carbon_series_mean(&f->grid, from, to)))
        run_note(r, "the series of --grid-series says nothing about a part of this run, so its emissions are unknown");
}

void session_factors_close(struct session *s)
{
    if (s->factors)
        carbon_series_release(&s->factors->grid);
    free(s->factors);
    s->factors = NULL;
}
