/* cmd_estimate.c - energies for requests that were not measured, from sets of coefficients; and the sets themselves. */
#include "cli/cli.h"
#include "cli/json.h"
#include "report/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_MAX ((size_t)64 << 20)
#define ALSO_SIZE  400

static int write_result(const struct cli *c, struct jl_buf *out)
{
    int code = cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

/* Not to know a model or a set is a mistake of the question. */
static int failed(const struct cli *c, const struct joulet_error *err)
{
    return err->status == JOULET_NOT_FOUND ? cli_usage(c, "%s", err->message) : cli_fail(c, err);
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

static void set_members(struct jl_buf *out, bool *first, const struct estimate_set *s)
{
    text_member(out, first, "set", s->name);
    text_member(out, first, "origin", estimate_origin_name(s->origin));
    text_member(out, first, "source", s->source);
    text_member(out, first, "date", s->date);
    text_member(out, first, "machine", s->machine);
    text_member(out, first, "sensor", s->sensor);
    text_member(out, first, "boundary", s->boundary);
    text_member(out, first, "basis", s->net ? "net" : "gross");
    cli_json_key(out, first, "measured");
    jl_buf_str(out, !s->provenance_known ? "null" : s->provenance <= JOULET_DERIVED ? "true" : "false");
    text_member(out, first, "rests_on", s->provenance_known ? joulet_provenance_name(s->provenance) : NULL);
}

static void json_estimate(struct jl_buf *out, const struct estimate_result *e, const struct run *r, const char *also)
{
    bool first = true;
    double j = e->set->net ? e->energy.net_j : e->energy.gross_j;
    jl_buf_str(out, "{");
    text_member(out, &first, "model", e->model->name);
    text_member(out, &first, "run", r ? r->id : NULL);
    number_member(out, &first, "requests", (double)e->requests);
    number_member(out, &first, "left_out", (double)e->left_out);
    number_member(out, &first, "tokens_in", e->tokens_in);
    number_member(out, &first, "tokens_out", e->tokens_out);
    cli_json_key(out, &first, "energy");
    cli_json_energy(out, &e->energy);
    number_member(out, &first, "j_per_output_token", e->tokens_out > 0 && !e->model->no_output ? j / e->tokens_out : NAN);
    number_member(out, &first, "factor_lo", e->f_lo);
    number_member(out, &first, "factor_hi", e->f_hi);
    set_members(out, &first, e->set);
    text_member(out, &first, "also_in", also);
    if (r) {
        cli_json_key(out, &first, "recorded");
        cli_json_energy(out, &r->energy.total);
    }
    jl_buf_str(out, "}\n");
}

static void json_model(struct jl_buf *out, const struct estimate_model *m)
{
    bool first = true;
    jl_buf_str(out, "{");
    text_member(out, &first, "model", m->name);
    for (unsigned i = 0; i < JOULET_COEFFICIENTS && !m->n_workloads; i++)
        number_member(out, &first, joulet_coefficient_name(i), m->c.e[i]);
    if (m->n_workloads) {
        cli_json_key(out, &first, "workloads");
        jl_buf_str(out, "[");
        for (size_t i = 0; i < m->n_workloads; i++) {
            bool one = true;
            jl_buf_str(out, i ? ",{" : "{");
            number_member(out, &one, "tokens_in", m->workloads[i].tokens_in);
            number_member(out, &one, "tokens_out", m->workloads[i].tokens_out);
            number_member(out, &one, "energy_j", m->workloads[i].energy_j);
            number_member(out, &one, "u_j", m->workloads[i].u_j);
            jl_buf_str(out, "}");
        }
        jl_buf_str(out, "]");
    }
    jl_buf_str(out, "}");
}

static void json_set(struct jl_buf *out, const struct estimate_set *s, bool models)
{
    bool first = true;
    jl_buf_str(out, "{");
    set_members(out, &first, s);
    number_member(out, &first, "n_models", (double)s->n);
    if (models) {
        cli_json_key(out, &first, "models");
        jl_buf_str(out, "[");
        for (size_t i = 0; i < s->n; i++) {
            jl_buf_str(out, i ? ",\n  " : "\n  ");
            json_model(out, &s->models[i]);
        }
        jl_buf_str(out, "\n ]");
    }
    jl_buf_str(out, "}");
}

/* ---- an estimate ------------------------------------------------------------------------------------------------- */

static int show(const struct cli *c, const struct estimate_result *e, const struct run *r, const char *also)
{
    struct jl_buf out;
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        json_estimate(&out, e, r, also);
    else
        report_estimate(&out, e, r, also, cli_style(c));
    return write_result(c, &out);
}

static int of_request(const struct cli *c, const char *model)
{
    struct estimate_set set;
    struct estimate_result e;
    struct joulet_error err;
    struct jl_machine m;
    char also[ALSO_SIZE];
    size_t index;
    if (!cli_given(c, "in"))
        return cli_usage(c, "an estimate needs the tokens of the prompt and of the answer: --in N --out M");
    if (estimate_find(&set, &index, cli_str(c, "set"), model, also, sizeof also, &err) != JOULET_OK)
        return failed(c, &err);
    jl_machine_get(&m);
    double tokens_out = cli_given(c, "out") ? (double)cli_int(c, "out", 0) : NAN;
    enum joulet_status st = estimate_request(&set, index, m.hostname_hash, (double)cli_int(c, "in", 0), tokens_out, &e, &err);
    int code = st == JOULET_OK              ? show(c, &e, NULL, also)
               : err.status == JOULET_USAGE ? cli_usage(c, "%s; give them with --out", err.message)
                                            : cli_fail(c, &err);
    estimate_set_release(&set);
    return code;
}

static int of_run(const struct cli *c, const char *id, const char *model)
{
    struct store *s;
    struct run r;
    struct estimate_set set;
    struct estimate_result e;
    struct joulet_error err;
    char also[ALSO_SIZE];
    size_t index;
    if (store_open(&s, cli_str(c, "db"), &err) != JOULET_OK)
        return cli_fail(c, &err);
    enum joulet_status st = store_load(s, id, &r, &err);
    store_close(s);
    if (st != JOULET_OK)
        return cli_fail(c, &err);
    if (!model)
        model = run_pairs_get(&r.model, "name");
    int code = CLI_DONE;
    if (!model)
        code = cli_usage(c, "run %s names no model: give one, as in `joulet estimate MODEL --run %s`", r.id, r.id);
    else if (estimate_find(&set, &index, cli_str(c, "set"), model, also, sizeof also, &err) != JOULET_OK)
        code = failed(c, &err);
    else {
        code = estimate_run(&set, index, &r, &e, &err) == JOULET_OK ? show(c, &e, &r, also) : cli_fail(c, &err);
        estimate_set_release(&set);
    }
    run_release(&r);
    return code;
}

/* ---- sets -------------------------------------------------------------------------------------------------------- */

static int sets_list(const struct cli *c)
{
    char **names;
    size_t n, good = 0;
    struct joulet_error err;
    struct jl_buf out;
    if (estimate_set_names(&names, &n, &err) != JOULET_OK)
        return cli_fail(c, &err);
    struct estimate_set *sets = calloc(n + 1, sizeof *sets);
    for (size_t i = 0; sets && i < n; i++) {
        if (estimate_set_load(&sets[good], names[i], &err) == JOULET_OK)
            good++;
        else
            cli_warn(c, "%s", err.message);
    }
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        jl_buf_str(&out, "[");
        for (size_t i = 0; i < good; i++) {
            jl_buf_str(&out, i ? ",\n " : "\n ");
            json_set(&out, &sets[i], false);
        }
        jl_buf_str(&out, "\n]\n");
    } else {
        report_sets(&out, sets, good, cli_style(c));
    }
    for (size_t i = 0; i < good; i++)
        estimate_set_release(&sets[i]);
    free(sets);
    jl_free_list(names, n);
    return write_result(c, &out);
}

static int sets_show(const struct cli *c, const char *name)
{
    struct estimate_set s;
    struct joulet_error err;
    struct jl_buf out;
    if (estimate_set_load(&s, name, &err) != JOULET_OK)
        return failed(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        json_set(&out, &s, true);
        jl_buf_str(&out, "\n");
    } else {
        report_set(&out, &s, cli_style(c));
    }
    estimate_set_release(&s);
    return write_result(c, &out);
}

static int sets_delete(const struct cli *c, const char *name)
{
    struct joulet_error err;
    if (estimate_set_delete(name, &err) != JOULET_OK)
        return failed(c, &err);
    cli_say(c, "the set %s is deleted", name);
    return CLI_DONE;
}

/* The file's name without its folder and its ending is the name of the set. */
static int sets_import(const struct cli *c, const char *path)
{
    struct estimate_set s;
    struct joulet_error err;
    struct jl_buf b;
    const char *slash = strrchr(path, '/');
    char *name = jl_strdup(slash ? slash + 1 : path), *dot = name ? strrchr(name, '.') : NULL;
    if (dot)
        *dot = '\0';
    jl_buf_init(&b, RESULT_MAX);
    enum joulet_status st = jl_read_file(path, &b, &err);
    if (st == JOULET_OK)
        st = estimate_set_parse(&s, path, b.data ? b.data : "", b.len, &err);
    jl_buf_release(&b);
    if (st == JOULET_OK) {
        snprintf(s.name, sizeof s.name, "%s", name ? name : "");
        st = estimate_set_save(&s, cli_flag(c, "force"), &err);
        estimate_set_release(&s);
    }
    if (st == JOULET_OK)
        cli_say(c, "%s is the set %s now: joulet estimate sets show %s", path, name, name);
    free(name);
    return st == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

/* "e_in=0.05" of --coefficient. */
static int read_coefficient(const struct cli *c, const char *text, struct joulet_coefficients *k)
{
    const char *equals = strchr(text, '=');
    double x;
    for (unsigned i = 0; equals && i < JOULET_COEFFICIENTS; i++) {
        const char *name = joulet_coefficient_name(i);
        if (strlen(name) != (size_t)(equals - text) || strncmp(name, text, (size_t)(equals - text)))
            continue;
        if (!jl_parse_double(equals + 1, &x))
            return cli_usage(c, "--coefficient: '%.40s' is not a number of joules", equals + 1);
        k->e[i] = x;
        return CLI_DONE;
    }
    return cli_usage(c, "--coefficient: '%.40s' is not of the form e_in=0.05; there are e0, e_in, e_q, e_out and e_x, in joules",
                     text);
}

static int sets_create(const struct cli *c, const char *name)
{
    struct estimate_set s;
    struct estimate_model m = {.name = (char *)(uintptr_t)cli_str(c, "model")};
    struct joulet_error err;
    const char *const *items;
    size_t n = cli_list(c, "coefficient", &items);
    int code = CLI_DONE;
    if (!m.name || !n)
        return cli_usage(c, "a set needs a model and what it needs: --model NAME --coefficient e_in=J --coefficient e_out=J");
    for (size_t i = 0; code == CLI_DONE && i < n; i++)
        code = read_coefficient(c, items[i], &m.c);
    if (code != CLI_DONE)
        return code;
    estimate_set_init(&s, name, ESTIMATE_CUSTOM);
    free(s.source);
    s.source = jl_strdup(cli_str(c, "source") ? cli_str(c, "source") : "given by the user");
    s.net = strcmp(cli_str(c, "basis"), "gross") != 0;
    bool good = estimate_set_add(&s, &m) && estimate_set_save(&s, cli_flag(c, "force"), &err) == JOULET_OK;
    estimate_set_release(&s);
    if (!good)
        return cli_fail(c, &err);
    cli_say(c, "set %s is made: joulet estimate %s --set %s --in N --out M", name, m.name, name);
    return CLI_DONE;
}

static const struct {
    const char *verb, *operand;
    int (*run)(const struct cli *c, const char *operand);
} verbs[] = {
    {"show", "the name of a set", sets_show},
    {"create", "a name for the set", sets_create},
    {"import", "a file of the form in docs/estimates.md", sets_import},
    {"delete", "the name of a set", sets_delete},
};

static int sets(const struct cli *c, int argc, char **argv)
{
    if (argc == 0 || (!strcmp(argv[0], "list") && argc == 1))
        return sets_list(c);
    for (size_t i = 0; i < JL_COUNT(verbs); i++) {
        if (strcmp(argv[0], verbs[i].verb))
            continue;
        if (argc != 2)
            return cli_usage(c, "estimate sets %s needs %s, and no more", verbs[i].verb, verbs[i].operand);
        return verbs[i].run(c, argv[1]);
    }
    return cli_usage(c, "there is no \"estimate sets %s\": it is list, show, create, import or delete", argv[0]);
}

static int estimate_run_command(struct cli *c, int argc, char **argv)
{
    const char *run = cli_str(c, "run");
    if (argc > 0 && !strcmp(argv[0], "sets"))
        return sets(c, argc - 1, argv + 1);
    if (argc > 1)
        return cli_usage(c, "estimate takes one model, not \"%s\" as well", argv[1]);
    if (run && (cli_given(c, "in") || cli_given(c, "out")))
        return cli_usage(c, "--run takes the tokens from the record: it does not go with --in and --out");
    if (run)
        return of_run(c, run, argc ? argv[0] : NULL);
    if (argc == 0)
        return cli_usage(c, "estimate needs a model: joulet estimate MODEL --in N --out M");
    return of_request(c, argv[0]);
}

const struct command cmd_estimate = {
    .name = "estimate",
    .summary = "estimate the energy of a model where nothing can be measured",
    .usage =
        "joulet estimate [OPTION]... MODEL --in N --out M | --run ID [MODEL] | sets [list | show | create | import | delete]",
    .options = "in out set run model coefficient source basis force db json output width color",
    .about =
        "Tells what a request of N prompt tokens and M output tokens needs, from your own fits (joulet fit --save), published\n"
        "figures (ai-energy-score, jegham-2025) or sets you made. The set that has MODEL is found by itself, your own first;\n"
        "--set names one. The name of a model is taken as it is written, else without its maker, quantisation and dashes.\n"
        "\n"
        "With --run a stored run is estimated anew from the tokens in its record: the way to a figure for an engine in the "
        "cloud.\n"
        "\n"
        "Every figure is marked `estimated` and stands between two ends that hold in about 9 of 10 cases: 0.91 to 1.10 for a "
        "fit\n"
        "that was measured on this machine, a factor of 2 for what was published about another one. `sets create` makes a set of "
        "one model from\n"
        "--coefficient e0=J, e_in=J (each prompt token), e_out=J (each output token), e_q=J and e_x=J (docs/estimates.md).",
    .examples = "joulet estimate Llama-3.1-8B --in 1000 --out 500\n  from the first set that knows it\n"
                "joulet estimate --run last --set jegham-2025\n  a stored run by other figures\n"
                "joulet estimate sets create mine -m my-model --coefficient e_out=2.4\n  a set of your own\n"
                "joulet estimate sets show ai-energy-score\n  the models of a set\n",
    .run = estimate_run_command,
    .verbs = "sets",
};
