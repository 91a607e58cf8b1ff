/* doctor_fix.c - `joulet doctor --fix` and `--undo`: shows what it would write, asks, writes it or takes it back. */
#include "cli/doctor.h"
#include "cli/fix.h"
#include "cli/json.h"
#include "cli/parse.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_MAX ((size_t)1 << 20)

static const char *root_of(const struct cli *c)
{
    const char *root = cli_str(c, "root");
    return !root || !strcmp(root, "/") ? "" : root;
}

/* The user behind sudo: root needs no group. */
static const char *who(void)
{
    const char *user = getenv("SUDO_USER");
    return user && *user && strcmp(user, "root") != 0 && !strpbrk(user, ":,\n\t ") ? user : NULL;
}

/* ---- showing ---------------------------------------------------------------------------------------------------------- */

static void indented(struct jl_buf *out, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        jl_buf_printf(out, "      %.*s\n", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void show_step(struct jl_buf *out, const struct fix_plan *p, const struct fix_step *s)
{
    const char *state = s->in_place ? "in place" : "to do   ";
    switch (s->kind) {
    case FIX_LINE:
        jl_buf_printf(out, "  %s  add a line to %s%s\n", state, p->root, s->path);
        break;
    case FIX_FILE:
        jl_buf_printf(out, "  %s  write %s%s\n", state, p->root, s->path);
        break;
    case FIX_MODE:
        jl_buf_printf(out, "  %s  group " FIX_GROUP ", mode %04o: %s%s\n", state, s->mode, p->root, s->path);
        break;
    case FIX_CAPABILITY:
        jl_buf_printf(out, "  %s  group " FIX_GROUP ", mode %04o and the capability below: %s%s\n", state, s->mode, p->root,
                      s->path);
        break;
    }
    indented(out, s->text);
}

static void show_plan(struct jl_buf *out, const struct fix_plan *p)
{
    jl_buf_str(out, "To let the group " FIX_GROUP " read the energy counters of the CPU, and nobody else (CVE-2020-8694):\n\n");
    for (size_t i = 0; i < p->n; i++)
        show_step(out, p, &p->steps[i]);
}

static void json_plan(struct jl_buf *out, const struct fix_plan *p, const char *result)
{
    static const char *const kinds[] = {"line", "file", "mode", "capability"};
    bool outer = true;
    char mode[8];
    jl_buf_str(out, "{");
    cli_json_key(out, &outer, "result");
    cli_json_string(out, result);
    cli_json_key(out, &outer, "steps");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < p->n; i++) {
        const struct fix_step *s = &p->steps[i];
        bool first = true;
        snprintf(mode, sizeof mode, "%04o", s->mode);
        jl_buf_str(out, i ? ",\n  {" : "\n  {");
        cli_json_key(out, &first, "kind");
        cli_json_string(out, kinds[s->kind]);
        cli_json_key(out, &first, "path");
        cli_json_string(out, s->path);
        cli_json_key(out, &first, "text");
        cli_json_string(out, *s->text ? s->text : NULL);
        cli_json_key(out, &first, "mode");
        cli_json_string(out, s->mode ? mode : NULL);
        cli_json_key(out, &first, "in_place");
        jl_buf_str(out, s->in_place ? "true" : "false");
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "\n]}\n");
}

/* ---- asking ------------------------------------------------------------------------------------------------------------ */

static bool agreed(void)
{
    char line[16] = "";
    fputs("Do this? [y/N] ", stderr);
    fflush(stderr);
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

/* CLI_DONE: go on. What is said here says what to do instead. */
static int may_change(const struct cli *c, const char *what)
{
    if (geteuid() != 0) {
        cli_warn(c, "this user may not change that; an administrator may: sudo joulet doctor --%s", what);
        return CLI_CHECK_FAILED;
    }
    if (cli_flag(c, "yes"))
        return CLI_DONE;
    if (!terminal_is(STDIN_FILENO) || !terminal_is(STDERR_FILENO))
        return cli_usage(c, "nobody can be asked here, so nothing was changed: add --yes");
    if (agreed())
        return CLI_DONE;
    cli_warn(c, "nothing was changed");
    return CLI_CHECK_FAILED;
}

/* The rules are read at once; where there is no udev, as in a container, they wait for it. */
static void tell_udev(const char *root)
{
    const char *const reload[] = {"udevadm", "control", "--reload", NULL};
    struct jl_process p;
    if (!*root && jl_spawn(&p, &(struct jl_spawn){.argv = reload, .log = "/dev/null"}, NULL) == JOULET_OK)
        jl_process_wait(&p, 10);
}

static int result(const struct cli *c, const struct fix_plan *p, const char *word, const char *sentence)
{
    struct jl_buf out;
    int code = CLI_DONE;
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c))
        json_plan(&out, p, word);
    else
        jl_buf_printf(&out, "%s\n", sentence);
    code = cli_result(c, out.data, out.len);
    jl_buf_release(&out);
    return code;
}

/* What is left for the user to do. */
static int finished(const struct cli *c, const struct fix_plan *p, const char *word, const char *said)
{
    char *sentence =
        !who() ? jl_strf("%s; add users with: sudo usermod -aG " FIX_GROUP " USER; joulet doctor --undo takes it back", said)
        : p->member
            ? jl_strf("%s; log in again, so that the group holds for you; joulet doctor --undo takes it back", said)
            : jl_strf("%s; the group was there before, so become its member: sudo usermod -aG " FIX_GROUP " %s", said, who());
    int code = result(c, p, word, sentence ? sentence : said);
    free(sentence);
    return code;
}

static int apply(const struct cli *c, const struct fix_plan *p)
{
    struct joulet_error err;
    struct jl_buf plan;
    jl_buf_init(&plan, RESULT_MAX);
    show_plan(&plan, p);
    fwrite(plan.data, 1, plan.len, stderr);
    jl_buf_release(&plan);
    int code = may_change(c, "fix");
    if (code != CLI_DONE)
        return code;
    if (fix_apply(p, &err) != JOULET_OK)
        return cli_fail(c, &err);
    tell_udev(p->root);
    return finished(c, p, "done", "done");
}

int doctor_fix(const struct cli *c)
{
    struct fix_plan p;
    struct joulet_error err;
    const char *sensors = cli_str(c, "sensors");
    bool msr = sensors && jl_word_in(sensors, ',', "msr");
    int code;
    if (fix_plan_make(&p, root_of(c), who(), msr, &err) != JOULET_OK)
        return cli_fail(c, &err);
    if (!p.counters)
        code =
            result(c, &(struct fix_plan){0}, "nothing to fix",
                   !msr && p.registers ? "nothing to fix: no energy counter of a CPU is to be seen here but its registers; for "
                                         "those: joulet doctor --fix --sensors msr"
                                       : "nothing to fix: no energy counter of a CPU is to be seen here");
    else if (!p.to_do)
        code = who() && !p.member ? finished(c, &p, "in place", "nothing to do: everything is in place")
                                  : result(c, &p, "in place", "nothing to do: everything is in place");
    else
        code = apply(c, &p);
    fix_plan_release(&p);
    return code;
}

int doctor_undo(const struct cli *c)
{
    struct jl_buf left;
    struct joulet_error err;
    size_t undone = 0;
    char *manifest = fix_path(root_of(c), FIX_MANIFEST), text[64];
    bool there = manifest && access(manifest, F_OK) == 0;
    int code = CLI_DONE;
    jl_buf_init(&left, RESULT_MAX);
    if (there && !cli_flag(c, "yes"))
        fprintf(stderr, "What joulet doctor --fix wrote, as %s lists it, will be taken back.\n", manifest);
    if (there)
        code = may_change(c, "undo");
    if (code == CLI_DONE && there && fix_undo(root_of(c), &left, &undone, &err) != JOULET_OK)
        code = cli_fail(c, &err);
    if (code == CLI_DONE) {
        snprintf(text, sizeof text, "taken back: %zu changes", undone);
        if (there)
            tell_udev(root_of(c));
        if (left.len)
            fwrite(left.data, 1, left.len, stderr);
        code = result(c, &(struct fix_plan){0}, there ? "taken back" : "nothing to undo",
                      there ? text : "nothing to undo: joulet doctor --fix has changed nothing here");
        code = code == CLI_DONE && left.len ? CLI_CHECK_FAILED : code;
    }
    jl_buf_release(&left);
    free(manifest);
    return code;
}
