/* cmd_carbon.c - the factors that come with the program: which places there are, and what is known of one. */
#include "cli/cli.h"
#include "cli/json.h"
#include "report/carbon.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_MAX ((size_t)4 << 20)

static int write_result(const struct cli *c, struct jl_buf *out)
{
    int code = cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

/* ---- JSON -------------------------------------------------------------------------------------------------------- */

static void text_member(struct jl_buf *out, bool *first, const char *key, const char *value)
{
    cli_json_key(out, first, key);
    cli_json_string(out, value && *value ? value : NULL);
}

static void number_member(struct jl_buf *out, bool *first, const char *key, double value)
{
    cli_json_key(out, first, key);
    cli_json_number(out, value);
}

static void json_place(struct jl_buf *out, const struct carbon_place *p)
{
    bool first = true;
    jl_buf_str(out, "{");
    text_member(out, &first, "place", p->code);
    text_member(out, &first, "name", p->name);
    text_member(out, &first, "kind", p->kind);
    number_member(out, &first, "grid_g_per_kwh", p->g_per_kwh);
    text_member(out, &first, "year", p->year);
    text_member(out, &first, "basis", p->basis);
    text_member(out, &first, "source", p->source);
    number_member(out, &first, "pue", p->pue);
    text_member(out, &first, "pue_year", p->pue_year);
    number_member(out, &first, "wue_l_per_kwh", p->wue_l_per_kwh);
    text_member(out, &first, "wue_year", p->wue_year);
    jl_buf_str(out, "}");
}

static void json_places(struct jl_buf *out, const struct carbon_place *p, size_t n)
{
    jl_buf_str(out, "[");
    for (size_t i = 0; i < n; i++) {
        jl_buf_str(out, i ? ",\n " : "\n ");
        json_place(out, &p[i]);
    }
    jl_buf_str(out, n ? "\n]\n" : "]\n");
}

/* ---- the verbs --------------------------------------------------------------------------------------------------- */

/* Keeps those that every word fits. */
static size_t narrow(struct carbon_place *p, size_t n, int argc, char **argv)
{
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool all = true;
        for (int k = 0; k < argc; k++)
            all = all && carbon_matches(&p[i], argv[k]);
        if (all)
            p[kept++] = p[i];
    }
    return kept;
}

static int carbon_list(const struct cli *c, int argc, char **argv)
{
    struct carbon_place *places;
    struct joulet_error err;
    struct jl_buf out;
    size_t n;
    if (carbon_places(&places, &n, &err) != JOULET_OK)
        return cli_fail(c, &err);
    n = narrow(places, n, argc, argv);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        json_places(&out, places, n);
    else
        report_places(&out, places, n, cli_style(c));
    free(places);
    return write_result(c, &out);
}

static int carbon_show(const struct cli *c, int argc, char **argv)
{
    struct carbon_place *found = calloc((size_t)argc + 1, sizeof *found);
    struct joulet_error err;
    struct jl_buf out;
    int code = found ? CLI_DONE : CLI_FAILED;
    for (int i = 0; code == CLI_DONE && i < argc; i++)
        if (carbon_find(argv[i], &found[i], &err) != JOULET_OK)
            code = cli_usage(c, "%s", err.message);
    jl_buf_init(&out, RESULT_MAX);
    if (code == CLI_DONE && cli_json(c))
        json_places(&out, found, (size_t)argc);
    for (int i = 0; code == CLI_DONE && !cli_json(c) && i < argc; i++)
        report_place(&out, &found[i], cli_style(c));
    free(found);
    if (code == CLI_DONE)
        return write_result(c, &out);
    jl_buf_release(&out);
    return code;
}

static int carbon_run(struct cli *c, int argc, char **argv)
{
    if (argc == 0 || !strcmp(argv[0], "list"))
        return carbon_list(c, argc ? argc - 1 : 0, argc ? argv + 1 : argv);
    if (strcmp(argv[0], "show"))
        return cli_usage(c, "there is no \"carbon %s\": it is list or show", argv[0]);
    if (argc < 2)
        return cli_usage(c, "carbon show needs a place, as in DE, us-ca or aws:eu-west-1");
    return carbon_show(c, argc - 1, argv + 1);
}

const struct command cmd_carbon = {
    .name = "carbon",
    .summary = "show what a kWh emits in a country, a state or a cloud region",
    .usage = "joulet carbon [OPTION]... [list [WORD]... | show PLACE...]",
    .options = "json output width color",
    .about =
        "The places that --place knows: countries and parts of the world, states of the US, provinces of Canada, Nordic zones,\n"
        "and regions of AWS, Google Cloud and Azure. `list` shows those that have every WORD in their code, name or kind.\n"
        "\n"
        "PLACE is a country by its name or its ISO code of two or three letters, a state or province as us-ca or ca-on, a zone\n"
        "as SE3, or a cloud region as aws:eu-west-1. A name that several places have is refused with all of them.\n"
        "\n"
        "Each factor has its year, its source, and what it counts: the whole life cycle of power stations and fuels, or what "
        "the\n"
        "stations emit directly. The two are not to be compared. What is not published is shown as -, never as 0.",
    .examples = "joulet carbon show DE\n  grams of CO2 equivalent per kWh in Germany\n"
                "joulet carbon list aws\n  the regions of a cloud, with PUE and water\n"
                "joulet carbon show us-ca aws:us-west-1 --json\n  two factors for a script\n",
    .run = carbon_run,
    .verbs = "list show",
};
