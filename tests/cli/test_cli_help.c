/* test_cli_help.c - what is shown agrees with the tables: help, manual and completion of every command. */
#include "cli/parse.h"
#include "tests/cli/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *text_of(void (*write)(struct jl_buf *, const struct command *), const struct command *command)
{
    struct jl_buf b;
    jl_buf_init(&b, 1 << 20);
    write(&b, command);
    assert_false(b.failed);
    return jl_buf_take(&b);
}

static void write_help(struct jl_buf *out, const struct command *command)
{
    const struct report_style plain = {.width = 80};
    if (command)
        help_command(out, command, &plain);
    else
        help_program(out, &plain);
}

/* roff to plain words: escapes undone, font changes gone. */
static char *plain(const char *roff)
{
    char *out = malloc(strlen(roff) + 1), *q = out;
    assert_non_null(out);
    for (const char *p = roff; *p;) {
        if (strncmp(p, "\\f", 2) == 0) {
            p += 3;
        } else if (strncmp(p, "\\-", 2) == 0) {
            *q++ = '-';
            p += 2;
        } else if (strncmp(p, "\\(aq", 4) == 0) {
            *q++ = '\'';
            p += 4;
        } else if (strncmp(p, ".PP\n", 4) == 0 || strncmp(p, ".nf\n", 4) == 0 || strncmp(p, ".fi\n", 4) == 0) {
            p += 4;
        } else if (strncmp(p, "\\&", 2) == 0) {
            p += 2;
        } else if (strncmp(p, "\\e", 2) == 0) {
            *q++ = '\\';
            p += 2;
        } else {
            *q++ = *p++;
        }
    }
    *q = '\0';
    return out;
}

/* The words of text with single blanks between them, so that line breaks do not matter. */
static char *flat(const char *text)
{
    char *out = malloc(strlen(text) + 2), *q = out;
    assert_non_null(out);
    for (const char *p = text; *p; p++) {
        bool blank = *p == ' ' || *p == '\n' || *p == '`';
        if (!blank)
            *q++ = *p;
        else if (q > out && q[-1] != ' ' && *p != '`')
            *q++ = ' ';
    }
    *q = '\0';
    return out;
}

static void must_hold(const char *what, const char *command, const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("%s of %s lacks \"%s\"", what, command, words);
}

/* ---- tables ------------------------------------------------------------------------------------------------------- */

static void rows_are_sound(void **state)
{
    (void)state;
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        struct cli_value v = {0};
        char why[256];
        assert_ptr_equal(option_find(row->name), row); /* names are unique */
        assert_true((row->type == OPTION_FLAG) == (row->arg == NULL));
        assert_true((row->type == OPTION_CHOICE) == (row->choices != NULL));
        assert_true(!row->words || row->type == OPTION_STRING);
        assert_true(row->help[strlen(row->help) - 1] == '.');
        if (row->def && !option_convert(row, row->def, &v, why, sizeof why))
            fail_msg("the default of --%s: %s", row->name, why);
        free(v.text);
        for (const struct command *const *c = command_table; *c && row->letter;
             c++) /* a letter may mean another thing elsewhere */
            for (size_t k = 0; k < i; k++)
                assert_true(option_table[k].letter != row->letter || !option_taken(*c, row) ||
                            !option_taken(*c, &option_table[k]));
        bool used = option_common(row);
        for (const struct command *const *c = command_table; *c; c++)
            used = used || option_taken(*c, row);
        if (!used)
            fail_msg("no command takes --%s", row->name);
    }
}

static void commands_are_sound(void **state)
{
    (void)state;
    for (const struct command *const *c = command_table; *c; c++) {
        const char *list = (*c)->options ? (*c)->options : "";
        char usage[64];
        assert_ptr_equal(command_find((*c)->name), *c);
        assert_true((*c)->summary && (*c)->usage && (*c)->about && (*c)->examples && (*c)->run);
        assert_true((*c)->summary[strlen((*c)->summary) - 1] != '.');
        snprintf(usage, sizeof usage, "joulet %s", (*c)->name);
        must_hold("usage", (*c)->name, (*c)->usage, usage);
        while (*list) {
            char name[64];
            size_t n = strcspn(list, " ");
            snprintf(name, sizeof name, "%.*s", (int)n, list);
            if (n && !option_find(name))
                fail_msg("%s takes --%s, which is not in the table", (*c)->name, name);
            list += n;
            list += strspn(list, " ");
        }
    }
}

/* ---- help and manual ---------------------------------------------------------------------------------------------- */

static void help_and_manual_show_every_option(void **state)
{
    (void)state;
    for (const struct command *const *c = command_table; *c; c++) {
        char *help = text_of(write_help, *c), *roff = text_of(man_page, *c), *man = plain(roff);
        char *help_words = flat(help), *man_words = flat(man);
        for (size_t i = 0; i < option_count; i++) {
            const struct option_row *row = &option_table[i];
            char name[128], sentence[512], variable[64];
            if (!option_taken(*c, row))
                continue;
            snprintf(name, sizeof name, "--%s%s%s", row->name, row->arg ? " " : "", row->arg ? row->arg : "");
            option_text(row, sentence, sizeof sentence);
            must_hold("the help", (*c)->name, help_words, name);
            must_hold("the manual", (*c)->name, man_words, name);
            must_hold("the help", (*c)->name, help_words, sentence);
            must_hold("the manual", (*c)->name, man_words, sentence);
            if (!row->flag_only)
                must_hold("the manual", (*c)->name, man_words, option_env(row, variable, sizeof variable));
        }
        char *about = flat((*c)->about);
        must_hold("the help", (*c)->name, help_words, about);
        must_hold("the manual", (*c)->name, man_words, about);
        must_hold("the help", (*c)->name, help_words, (*c)->summary);
        must_hold("the manual", (*c)->name, man, (*c)->summary);
        free(about);
        free(help);
        free(roff);
        free(man);
        free(help_words);
        free(man_words);
    }
}

static void help_fits_80_columns(void **state)
{
    (void)state;
    for (const struct command *const *c = command_table;; c++) {
        char *help = text_of(write_help, *c);
        int number = 1;
        for (const char *line = help; *line; number++) {
            size_t n = strcspn(line, "\n");
            if (n > 80)
                fail_msg("help of %s, line %d: %zu columns: %.*s", *c ? (*c)->name : "joulet", number, n, (int)n, line);
            if (n && line[n - 1] == ' ')
                fail_msg("help of %s, line %d ends in a blank", *c ? (*c)->name : "joulet", number);
            line += n + (line[n] == '\n');
        }
        free(help);
        if (!*c)
            break;
    }
}

static void the_manual_of_the_program_names_all_commands(void **state)
{
    char *roff = text_of(man_page, NULL), *man = plain(roff);
    char *help = text_of(write_help, NULL);
    (void)state;
    for (const struct command *const *c = command_table; *c; c++) {
        must_hold("the manual", "joulet", man, (*c)->summary);
        must_hold("the help", "joulet", help, (*c)->name);
    }
    static const char *const codes[] = {"130, 143", "125, 126, 127", "JOULET_SYSFS", "JOULET_CONFIG_DIR", "joulet.conf"};
    for (size_t i = 0; i < JL_COUNT(codes); i++)
        must_hold("the manual", "joulet", man, codes[i]);
    free(roff);
    free(man);
    free(help);
}

/* A line that begins with a dot or a quote is a request to roff: only ours may. */
static void roff_requests_are_ours(void **state)
{
    static const char *const requests[] = {".TH ", ".SH ", ".SS ", ".PP", ".TP", ".B ", ".BR ", ".nf", ".fi"};
    (void)state;
    for (const struct command *const *c = command_table;; c++) {
        char *roff = text_of(man_page, *c);
        for (const char *line = roff; *line;) {
            size_t n = strcspn(line, "\n");
            bool ours = *line != '.' && *line != '\'';
            for (size_t i = 0; i < JL_COUNT(requests); i++)
                ours = ours || strncmp(line, requests[i], strlen(requests[i])) == 0;
            if (!ours)
                fail_msg("unknown request: %.*s", (int)n, line);
            line += n + (line[n] == '\n');
        }
        free(roff);
        if (!*c)
            break;
    }
}

/* ---- completion --------------------------------------------------------------------------------------------------- */

static void completion_knows_commands_and_options(void **state)
{
    static const char *const shells[] = {"bash", "zsh", "fish"};
    (void)state;
    for (size_t s = 0; s < JL_COUNT(shells); s++) {
        struct jl_buf b;
        jl_buf_init(&b, 1 << 20);
        completion_script(&b, shells[s]);
        assert_false(b.failed);
        for (const struct command *const *c = command_table; *c; c++)
            must_hold("completion", shells[s], b.data, (*c)->name);
        for (size_t i = 0; i < option_count; i++) {
            char name[80];
            snprintf(name, sizeof name, s == 2 ? "-l %s" : "--%s", option_table[i].name);
            must_hold("completion", shells[s], b.data, name);
        }
        jl_buf_release(&b);
    }
}

/* Of an option that takes other words too, as layers-8. */
static void completion_offers_words(void **state)
{
    static const struct {
        const char *shell, *rule;
    } rows[] = {
        {"bash", "--against) mapfile -t COMPREPLY < <(compgen -W 'layers ffn heads vocab' -- \"$cur\"); return ;;"},
        {"zsh", ":WHAT:(layers ffn heads vocab)'"},
        {"fish", "-l against -x -a 'layers ffn heads vocab' -d "},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_buf b;
        jl_buf_init(&b, 1 << 20);
        completion_script(&b, rows[i].shell);
        must_hold("completion", rows[i].shell, b.data, rows[i].rule);
        jl_buf_release(&b);
    }
    assert_true(option_find("against")->type == OPTION_STRING);
}

/* ---- faults ------------------------------------------------------------------------------------------------------- */

static void faults_lead_to_their_entry(void **state)
{
    static const struct {
        const char *message, *entry;
    } cases[] = {
        {"/sys/class/powercap/intel-rapl:0/energy_uj may be read by root only: run joulet with sudo, or give a group the right "
         "with "
         "`sudo sh -c 'groupadd -f joulet; cd /sys/class/powercap; chgrp joulet */energy_uj; chmod 0440 */energy_uj'` and join "
         "it; "
         "`joulet doctor` shows how to keep this after a restart",
         "rapl-permission"},
        {"the prompt is empty: give a text as an argument, or - to read it from standard input", "prompt"},
        {"/data/joulet.db: no room left while writing; free some disk space or delete old runs with `joulet runs delete`; "
         "the record was written to joulet-20261121-1.json instead: `joulet runs import joulet-20261121-1.json`",
         "disk-full"}, /* the cause, not what follows from it */
        {"what was said here was never written down anywhere", NULL},
        {"", NULL},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        char name[64] = "";
        if (trouble_name(cases[i].message, name, sizeof name) != (cases[i].entry != NULL) ||
            strcmp(name, cases[i].entry ? cases[i].entry : "") != 0)
            fail_msg("case %zu leads to '%s'", i, name);
    }
}

static void an_entry_can_be_shown(void **state)
{
    const struct report_style plain_style = {.width = 80};
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 1 << 16);
    assert_true(trouble_entry(&b, "disk-full", &plain_style));
    must_hold("the entry", "disk-full", b.data, "no room left while");
    must_hold("the entry", "disk-full", b.data, "\n\nFree some space");
    assert_null(strstr(b.data, "###"));
    jl_buf_clear(&b);
    assert_false(trouble_entry(&b, "disk", &plain_style)); /* a beginning is not a name */
    assert_int_equal(b.len, 0);
    jl_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_are_sound),
        cmocka_unit_test(commands_are_sound),
        cmocka_unit_test(help_and_manual_show_every_option),
        cmocka_unit_test(help_fits_80_columns),
        cmocka_unit_test(the_manual_of_the_program_names_all_commands),
        cmocka_unit_test(roff_requests_are_ours),
        cmocka_unit_test(completion_knows_commands_and_options),
        cmocka_unit_test(completion_offers_words),
        cmocka_unit_test(faults_lead_to_their_entry),
        cmocka_unit_test(an_entry_can_be_shown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
