/* cmd_usage.c - what passed `joulet serve`, in sums and as trees: read from the store, drawn by report/. */
#include "cli/cli.h"
#include "cli/session_factors.h"
#include "report/usage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_MAX ((size_t)1 << 28)

/* "2026-11-22", a time, or how long ago: "24h", "30m". */
static int read_time(const struct cli *c, const char *option, int64_t *wall_ns)
{
    const char *text = cli_str(c, option);
    int64_t ago_ns, days;
    size_t n = text ? strlen(text) : 0;
    char number[24];
    *wall_ns = 0;
    if (!text)
        return CLI_DONE;
    if (strspn(text, "0123456789") + 1 == n && text[n - 1] == 'd' && n < sizeof number) {
        snprintf(number, sizeof number, "%.*s", (int)(n - 1), text);
        if (jl_parse_i64(number, &days) && days < 100000) {
            *wall_ns = jl_wall_ns() - days * 86400 * JL_NS_PER_S;
            return CLI_DONE;
        }
    }
    if (strpbrk(text, "hms") && jl_parse_duration(text, &ago_ns)) {
        *wall_ns = jl_wall_ns() - ago_ns;
        return CLI_DONE;
    }
    if (n == 10 && text[4] == '-') {
        char *midnight = jl_strf("%sT00:00Z", text);
        bool ok = midnight && carbon_time(midnight, wall_ns);
        free(midnight);
        if (ok) {
            *wall_ns -= (int64_t)jl_utc_offset_s(*wall_ns) * JL_NS_PER_S;
            return CLI_DONE;
        }
    }
    if (carbon_time(text, wall_ns))
        return CLI_DONE;
    return cli_usage(c, "--%s: '%s' is no time: give 2026-11-22, 2026-11-22T15:00Z, or how long ago as in 24h or 7d", option,
                     text);
}

static int read_by(const struct cli *c, struct usage_wanted *w)
{
    const char *const *items;
    size_t n = cli_list(c, "by", &items);
    for (size_t i = 0; i < n; i++) {
        enum usage_by by = usage_by_name(items[i]);
        if (by == USAGE_DIMENSIONS)
            return cli_usage(c, "--by: '%s' is none of model, client, tag, session, upstream and day", items[i]);
        for (size_t k = 0; k < w->n_by; k++)
            if (w->by[k] == by)
                return cli_usage(c, "--by: %s is named twice", items[i]);
        w->by[w->n_by++] = by;
    }
    if (!n)
        w->by[w->n_by++] = USAGE_MODEL;
    return CLI_DONE;
}

static int write_result(const struct cli *c, struct jl_buf *out)
{
    int code = out->failed ? cli_usage(c, "the result is longer than %zu MiB: give a shorter time with --since and --until",
                                       out->max >> 20)
                           : cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

static int show_sums(const struct cli *c, struct store *s, const struct usage_wanted *w)
{
    struct joulet_error err;
    struct jl_buf out;
    struct usage *u = malloc(sizeof *u);
    if (!u) {
        jl_fail(&err, JOULET_MEMORY, "out of memory");
        return cli_fail(c, &err);
    }
    if (usage_read(u, s, w, &err) != JOULET_OK) {
        free(u);
        return cli_fail(c, &err);
    }
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        usage_json(&out, u);
    else if (cli_flag(c, "csv"))
        usage_csv(&out, u);
    else
        usage_text(&out, u, cli_style(c));
    usage_release(u);
    free(u);
    return write_result(c, &out);
}

static int show_tree(const struct cli *c, struct store *s, const struct usage_wanted *w, const char *session)
{
    struct joulet_error err;
    struct jl_buf out;
    struct usage_tree *t;
    if (usage_tree_read(&t, s, w, session, &err) != JOULET_OK)
        return cli_fail(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        usage_tree_json(&out, t);
    else
        usage_tree_text(&out, t, cli_style(c));
    usage_tree_release(t);
    return write_result(c, &out);
}

/* Grams and money: the options of a run, for the time that is looked at. */
static int factors(const struct cli *c, struct session *s, const struct usage_wanted *w)
{
    *s = (struct session){.cli = c};
    int code = session_factors_open(s);
    s->run.start_ns = w->since_ns;
    s->run.end_ns = w->until_ns ? w->until_ns : jl_wall_ns();
    if (code == CLI_DONE)
        session_factors_finish(s);
    return code;
}

static int delete_requests(const struct cli *c, struct store *s, int64_t before_ns)
{
    struct joulet_error err;
    int64_t n;
    if (store_delete_proxied(s, before_ns, &n, &err) != JOULET_OK)
        return cli_fail(c, &err);
    struct jl_buf out;
    jl_buf_init(&out, 256);
    jl_buf_printf(&out, cli_json(c) ? "{\"deleted\":%lld}\n" : "%lld requests were deleted\n", (long long)n);
    return write_result(c, &out);
}

static int usage_run(struct cli *c, int argc, char **argv)
{
    struct usage_wanted w = {0};
    struct session s = {0};
    struct store *store;
    struct joulet_error err;
    int64_t delete_ns = 0;
    if (argc > 1 || (argc == 1 && !cli_flag(c, "tree")))
        return cli_usage(c, "usage takes no argument '%s'; a session is named with --tree SESSION", argv[argc - 1]);
    if (cli_flag(c, "tree") && (cli_given(c, "by") || cli_flag(c, "csv")))
        return cli_usage(c, "--tree goes neither with --by nor with --csv: it has a line for each call");
    int code = read_time(c, "since", &w.since_ns);
    if (code == CLI_DONE)
        code = read_time(c, "until", &w.until_ns);
    if (code == CLI_DONE)
        code = read_time(c, "delete-before", &delete_ns);
    if (code == CLI_DONE)
        code = read_by(c, &w);
    if (code == CLI_DONE)
        code = factors(c, &s, &w);
    w.utc_offset_s = jl_utc_offset_s(jl_wall_ns());
    w.factors = &s.run;
    if (code == CLI_DONE && store_open(&store, cli_str(c, "db"), &err) != JOULET_OK)
        code = cli_fail(c, &err);
    else if (code == CLI_DONE) {
        code = delete_ns             ? delete_requests(c, store, delete_ns)
               : cli_flag(c, "tree") ? show_tree(c, store, &w, argc ? argv[0] : NULL)
                                     : show_sums(c, store, &w);
        store_close(store);
    }
    session_factors_close(&s);
    run_release(&s.run);
    return code;
}

const struct command cmd_usage = {
    .name = "usage",
    .summary = "what passed the proxy: tokens, joules, CO2 and cost by model, client or day",
    .usage = "joulet usage [--by NAME]... [--since TIME] [--until TIME]\n"
             "joulet usage --tree [SESSION]",
    .options = "by since until tree csv delete-before place grid grid-series pue price tariff currency db",
    .about =
        "Sums up the requests that passed `joulet serve`, from its database: how many, their tokens, the energy with its "
        "interval, joules per output token, watt-hours for 1000 of them, emissions and cost. --by names what the rows are, and "
        "may "
        "be repeated: model (otherwise), client, tag, session, upstream, day.\n\n"
        "Energies are gross, with each request's part of the idle power, so that below the table requests, idle time and what "
        "other programs drew add up to what was measured. JSON has net energies too.\n\n"
        "A client is the header X-Joulet-Tag, else the hash of its API key, else its address. --tree shows the calls of agents "
        "one "
        "inside the other: sessions by X-Joulet-Session or the trace of `traceparent`, a call below the one that its parent "
        "names. "
        "The time between the calls of a session is a line of its own, with the idle energy of it.\n\n"
        "Emissions and cost take the factors of `joulet run`: --place, --grid, --grid-series, --pue, --price, --tariff.",
    .examples = "joulet usage\n  all that is stored, by model\n"
                "joulet usage --by client --since 7d --price 0.30 --currency EUR\n  who used how much in a week\n"
                "joulet usage --by day --by model --json\n  for another program\n"
                "joulet usage --tree my-agent\n  the calls of one session\n",
    .run = usage_run,
};
