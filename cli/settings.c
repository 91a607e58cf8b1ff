/* settings.c - the settings file: lines `option = value` for all commands, then sections `[command]` with lines for one. Every
 * line is checked, also those of other commands, so that a slip is found when it is made and not when it matters. */
#include "cli/parse.h"

#include <stdlib.h>
#include <string.h>

enum { WHY_SIZE = 256, SETTINGS_MAX = 1 << 16 };

/* The folder is only looked into; the platform would make it. */
char *settings_path(void)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"JOULET_CONFIG_DIR", ""}, {"XDG_CONFIG_HOME", ""}, {"HOME", "/.config"}};
    for (size_t i = 0; i < JL_COUNT(places); i++) {
        const char *base = jl_env(places[i].variable);
        if (base && (i == 0 || base[0] == '/'))
            return jl_strf("%s%s/joulet/joulet.conf", base, places[i].below);
    }
    return NULL;
}

static char *trim(char *s)
{
    s += strspn(s, " \t\r");
    size_t n = strlen(s);
    while (n && strchr(" \t\r", s[n - 1]))
        s[--n] = '\0';
    return s;
}

/* ---- a line -------------------------------------------------------------------------------------------------------- */

static bool unknown_key(const struct cli *c, const struct command *section, const struct option_row *row, const char *key,
                        char *why, size_t size)
{
    const struct command *whose = section ? section : c->command;
    const char *best = row ? NULL : option_meant(whose, key);
    if (best)
        snprintf(why, size, "there is no setting '%.40s'; did you mean '%s'?", key, best);
    else if (section && row && !row->flag_only)
        snprintf(why, size, "%s has no option '%.40s': put the line above all sections, or into that of another command",
                 section->name, key);
    else
        snprintf(why, size, "'%.40s' is not a setting", key);
    return false;
}

static bool row_is_setting(const struct option_row *row)
{
    return row && !row->flag_only && strcmp(row->name, "config") != 0;
}

static bool settings_row(struct cli *c, const struct command *section, char *line, char *why, size_t size)
{
    char *equals = strchr(line, '=');
    if (!equals || equals == line) {
        snprintf(why, size, "'%.40s' is not of the form key = value", line);
        return false;
    }
    *equals = '\0';
    char *key = trim(line), *value = trim(equals + 1);
    const struct option_row *row = option_find(key);
    if (!row_is_setting(row) || (section && !option_taken(section, row)))
        return unknown_key(c, section, row, key, why, size);
    if (!*value) {
        snprintf(why, size, "%s has no value; remove the line to go back to the default", key);
        return false;
    }
    size_t used = (size_t)snprintf(why, size, "%s: ", key);
    bool ours = section ? strcmp(section->name, c->command->name) == 0 : option_taken(c->command, row);
    if (ours)
        return cli_set(c, row, section ? VALUE_SECTION : VALUE_FILE, value, why + used, size - used);
    struct cli_value unused = {0}; /* a setting of other commands: checked all the same */
    bool good = option_convert(row, value, &unused, why + used, size - used);
    free(unused.text);
    return good;
}

/* "[serve]": the lines below are for that command. */
static bool settings_section(char *line, const struct command **section, char *why, size_t size)
{
    size_t n = strlen(line);
    if (line[n - 1] != ']') {
        snprintf(why, size, "'%.40s' is not of the form [command]", line);
        return false;
    }
    line[n - 1] = '\0';
    char *name = trim(line + 1);
    *section = command_find(name);
    if (*section)
        return true;
    const char *names[32];
    size_t count = 0;
    for (const struct command *const *c = command_table; *c && count < JL_COUNT(names); c++)
        names[count++] = (*c)->name;
    const char *best = cli_nearest(name, names, count);
    if (best)
        snprintf(why, size, "there is no command '%.40s'; did you mean [%s]?", name, best);
    else
        snprintf(why, size, "there is no command '%.40s'; sections are named after commands, as in [serve]", name);
    return false;
}

/* ---- the file ------------------------------------------------------------------------------------------------------ */

enum joulet_status settings_text(struct cli *c, const char *path, char *text, struct joulet_error *err)
{
    const struct command *section = NULL;
    char *next = text;
    for (int number = 1; next && *next; number++) {
        char *line = next, why[WHY_SIZE];
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        line = trim(line);
        bool good =
            !*line || *line == '#' ||
            (*line == '[' ? settings_section(line, &section, why, sizeof why) : settings_row(c, section, line, why, sizeof why));
        if (!good)
            return jl_fail(err, JOULET_USAGE, "%s, line %d: %s", path, number, why);
    }
    return jl_ok(err);
}

enum joulet_status settings_read(struct cli *c, const char *path, bool must_exist, struct joulet_error *err)
{
    struct jl_buf b;
    jl_buf_init(&b, SETTINGS_MAX);
    enum joulet_status st = jl_read_file(path, &b, err);
    if (st == JOULET_OK && b.data && memchr(b.data, '\0', b.len))
        st = jl_fail(err, JOULET_USAGE, "%s is not a text file; settings are lines of the form key = value", path);
    else if (st == JOULET_OK && b.data)
        st = settings_text(c, path, b.data, err);
    else if (st == JOULET_NOT_FOUND && !must_exist)
        st = jl_ok(err);
    else if (st == JOULET_NOT_FOUND)
        st = jl_fail(err, JOULET_USAGE, "there is no settings file %s", path);
    jl_buf_release(&b);
    return st;
}
