/* parse.c - from the command line, the environment and the settings file to the values of one invocation.
 * The flag wins over the environment, that over the file, that over the default. Everything is checked before the command begins.
 */
#include "cli/parse.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { LONG_BASE = 1000, WHY_SIZE = 256 };

/* What getopt is told: the rows that the command takes. */
struct spelling {
    struct option *longs;
    char shorts[160];
};

static bool spell(struct spelling *s, const struct command *command)
{
    s->longs = calloc(option_count + 1, sizeof *s->longs);
    if (!s->longs)
        return false;
    /* '-' hands operands over in order, whatever POSIXLY_CORRECT says; ':' reports a missing argument as such. */
    size_t n = 0, len = (size_t)snprintf(s->shorts, sizeof s->shorts, "%s:", command->stop_at_operand ? "+" : "-");
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (!option_taken(command, row))
            continue;
        bool flag = row->type == OPTION_FLAG;
        s->longs[n++] = (struct option){
            .name = row->name, .has_arg = flag ? optional_argument : required_argument, .val = LONG_BASE + (int)i};
        if (row->letter)
            len += (size_t)snprintf(s->shorts + len, sizeof s->shorts - len, "%c%s", row->letter, flag ? "" : ":");
    }
    return true;
}

static const struct option_row *row_of(const struct command *command, int code)
{
    if (code >= LONG_BASE)
        return &option_table[code - LONG_BASE];
    for (size_t i = 0; i < option_count; i++)
        if (option_table[i].letter == code && option_taken(command, &option_table[i]))
            return &option_table[i];
    return NULL;
}

static int unknown_long(const struct cli *c, const char *arg)
{
    char word[64];
    snprintf(word, sizeof word, "%.*s", (int)strcspn(arg + 2, "="), arg + 2);
    const char *best = option_meant(c->command, word);
    const struct option_row *row = option_find(word);
    if (best)
        return cli_usage(c, "unknown option --%s; did you mean --%s?", word, best);
    if (row)
        return cli_usage(c, "--%s is not an option of this command", word);
    return cli_usage(c, "unknown option --%s", word);
}

/* One dash before a long name is the likeliest mistake. getopt moves on to the next word only after the last letter. */
static int unknown_short(const struct cli *c, int argc, char **argv)
{
    for (int i = optind - 1; i <= optind && i < argc; i++) {
        const struct option_row *row = argv[i][0] == '-' ? option_find(argv[i] + 1) : NULL;
        if (row && option_taken(c->command, row))
            return cli_usage(c, "unknown option -%c; did you mean --%s?", optopt, row->name);
    }
    return cli_usage(c, "unknown option -%c", optopt);
}

static int missing_argument(const struct cli *c)
{
    const struct option_row *row = row_of(c->command, optopt);
    if (optopt < LONG_BASE)
        return cli_usage(c, "-%c needs a value, as in -%c %s", optopt, optopt, row ? row->arg : "VALUE");
    return cli_usage(c, "--%s needs a value, as in --%s %s", row->name, row->name, row->arg);
}

/* getopt takes any unambiguous beginning of a name; what is unambiguous changes with the next option, so only whole names count.
 */
static const char *spelled(char **argv, const struct option_row *row)
{
    const char *arg = argv[optarg && optarg == argv[optind - 1] ? optind - 2 : optind - 1];
    size_t len = strlen(row->name);
    bool whole = strncmp(arg + 2, row->name, len) == 0 && (arg[2 + len] == '\0' || arg[2 + len] == '=');
    return whole ? NULL : arg;
}

static int take(struct cli *c, char **argv, int code)
{
    const struct option_row *row = row_of(c->command, code);
    const char *abbreviated = code >= LONG_BASE ? spelled(argv, row) : NULL;
    if (abbreviated)
        return unknown_long(c, abbreviated);
    char why[WHY_SIZE];
    if (cli_set(c, row, VALUE_FLAG, optarg ? optarg : "yes", why, sizeof why))
        return CLI_DONE;
    return cli_usage(c, "--%s: %s", row->name, why);
}

static int read_flags(struct cli *c, const struct spelling *s, int argc, char **argv)
{
    int code, rc = CLI_DONE;
    optind = 0;
    opterr = 0;
    while (rc == CLI_DONE && (code = getopt_long(argc, argv, s->shorts, s->longs, NULL)) != -1) {
        if (code == 1)
            c->operands[c->n_operands++] = optarg;
        else if (code == ':')
            rc = missing_argument(c);
        else if (code == '?' && optopt)
            rc = unknown_short(c, argc, argv);
        else if (code == '?')
            rc = unknown_long(c, argv[optind - 1]);
        else
            rc = take(c, argv, code);
    }
    for (; optind < argc; optind++)
        c->operands[c->n_operands++] = argv[optind];
    return rc;
}

static int read_environment(struct cli *c)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char name[64], why[WHY_SIZE];
        const char *text = NULL;
        if (!row->flag_only && option_taken(c->command, row))
            text = jl_env(option_env(row, name, sizeof name));
        if (text && !cli_set(c, row, VALUE_ENV, text, why, sizeof why))
            return cli_usage(c, "the environment variable %s: %s", name, why);
    }
    return CLI_DONE;
}

/* ---- settings file ------------------------------------------------------------------------------------------------ */

static enum joulet_status read_settings(struct cli *c, struct joulet_error *err)
{
    char variable[64];
    const char *given = cli_str(c, "config");
    if (!given)
        given = jl_env(option_env(option_find("config"), variable, sizeof variable));
    char *path = given ? jl_strdup(given) : settings_path();
    enum joulet_status st = path ? settings_read(c, path, given != NULL, err) : jl_ok(err);
    free(path);
    return st;
}

/* ---- all together ------------------------------------------------------------------------------------------------- */

static bool set_defaults(struct cli *c)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        char why[WHY_SIZE];
        if (row->def && option_taken(c->command, row) && !cli_set(c, row, VALUE_DEFAULT, row->def, why, sizeof why))
            return false;
    }
    return true;
}

static void choose_style(struct cli *c)
{
    const char *colour = cli_str(c, "color");
    bool to_file = cli_given(c, "output") && strcmp(cli_str(c, "output"), "-") != 0;
    c->style.utf8 = terminal_utf8();
    c->style.colour = strcmp(colour, "always") == 0 || (strcmp(colour, "auto") == 0 && !to_file && terminal_colour());
    c->style.width = (int)cli_int(c, "width", to_file ? 0 : terminal_width());
}

int cli_parse(struct cli *c, const struct command *command, int argc, char **argv)
{
    struct spelling s = {0};
    *c = (struct cli){.command = command,
                      .values = calloc(option_count, sizeof *c->values),
                      .operands = calloc((size_t)argc + 1, sizeof *c->operands)};
    if (!c->values || !c->operands || !spell(&s, command) || !set_defaults(c)) {
        free(s.longs);
        cli_warn(c, "out of memory; end other programs and try again");
        return CLI_FAILED;
    }
    int rc = read_flags(c, &s, argc, argv);
    free(s.longs);
    bool informed = cli_flag(c, "help") || cli_flag(c, "version");
    struct joulet_error err;
    if (rc == CLI_DONE && !informed && read_settings(c, &err) != JOULET_OK)
        rc = cli_usage(c, "%s", err.message);
    if (rc == CLI_DONE && !informed)
        rc = read_environment(c);
    if (rc == CLI_DONE && !informed && !cli_output_good(c))
        rc = CLI_USAGE;
    if (rc == CLI_DONE)
        choose_style(c);
    return rc;
}

/* What came from the command line and the environment cannot have changed. */
static bool copy_given(struct cli *fresh, const struct cli *c)
{
    char why[WHY_SIZE];
    for (size_t i = 0; i < option_count; i++) {
        const struct cli_value *v = &c->values[i];
        if (v->source < VALUE_ENV)
            continue;
        if (option_table[i].type != OPTION_LIST && !cli_set(fresh, &option_table[i], v->source, v->text, why, sizeof why))
            return false;
        for (size_t k = 0; k < v->n_items; k++)
            if (!cli_set(fresh, &option_table[i], v->source, v->items[k], why, sizeof why))
                return false;
    }
    return true;
}

enum joulet_status cli_reread(struct cli **out, const struct cli *c, struct joulet_error *err)
{
    struct cli *fresh = calloc(1, sizeof *fresh);
    *out = NULL;
    if (!fresh)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    *fresh = (struct cli){.command = c->command, .values = calloc(option_count, sizeof *fresh->values), .style = c->style};
    enum joulet_status st = JOULET_OK;
    if (!fresh->values || !set_defaults(fresh) || !copy_given(fresh, c))
        st = jl_fail(err, JOULET_MEMORY, "out of memory");
    else
        st = read_settings(fresh, err);
    if (st == JOULET_OK)
        *out = fresh;
    else
        cli_forget(fresh);
    return st;
}

void cli_forget(struct cli *c)
{
    if (c)
        cli_release(c);
    free(c);
}
