/* cmd_doctor.c - what can be measured here, what is in the way, and the exact remedy: rows of checks, one after the other. */
#include "cli/doctor.h"
#include "cli/json.h"
#include "cli/parse.h"
#include "llm/engine_joulet.h"

#include <math.h>
#include <string.h>

#define READY_S 5.0
#define LOOK_S  0.5 /* of the sensors: long enough for a few updates of every one */

enum { NAME_COLUMN = 11, TEXT_COLUMN = 25 };

static const struct {
    const char *word, *colour;
} verdicts[] = {
    [DOCTOR_OK] = {"ok", "\033[32m"},
    [DOCTOR_ADVICE] = {"advice", "\033[33m"},
    [DOCTOR_UNKNOWN] = {"cannot tell", "\033[36m"},
    [DOCTOR_FAILED] = {"failed", "\033[1;31m"},
};

void found(struct finding *f, enum verdict v, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(f->text, sizeof f->text, fmt, ap);
    va_end(ap);
    f->verdict = v;
}

void remedy(struct finding *f, const char *fmt, ...)
{
    size_t n = strlen(f->remedy);
    va_list ap;
    if (n && n + 1 < sizeof f->remedy)
        f->remedy[n++] = '\n';
    va_start(ap, fmt);
    vsnprintf(f->remedy + n, sizeof f->remedy - n, fmt, ap);
    va_end(ap);
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

struct tally {
    size_t n[4];
    struct jl_buf out;
    bool json;
    const struct report_style *style;
};

/* Commands are never broken: they are there to be copied. */
static void remedy_lines(struct jl_buf *out, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, "\n");
        jl_buf_printf(out, "%*s  %.*s\n", TEXT_COLUMN, "", (int)n, text);
        text += n + (text[n] == '\n');
    }
}

static void text_finding(struct tally *t, const char *name, const struct finding *f)
{
    int width = t->style->width ? t->style->width : 100;
    const char *word = verdicts[f->verdict].word;
    jl_buf_printf(&t->out, "%s%-*s%s  %-*s", t->style->colour ? verdicts[f->verdict].colour : "", NAME_COLUMN, word,
                  t->style->colour ? "\033[0m" : "", TEXT_COLUMN - NAME_COLUMN - 2, name);
    text_wrap(&t->out, f->text, strlen(f->text), TEXT_COLUMN, TEXT_COLUMN, width);
    remedy_lines(&t->out, f->remedy);
}

static void json_finding(struct tally *t, const char *name, const struct finding *f)
{
    const char *const pairs[][2] = {{"check", name},
                                    {"verdict", verdicts[f->verdict].word},
                                    {"message", f->text},
                                    {"remedy", f->remedy[0] ? f->remedy : NULL}};
    bool first = true, any = t->n[0] + t->n[1] + t->n[2] + t->n[3] > 0;
    jl_buf_str(&t->out, any ? ",\n    {" : "\n    {");
    for (size_t i = 0; i < JL_COUNT(pairs); i++) {
        cli_json_key(&t->out, &first, pairs[i][0]);
        cli_json_string(&t->out, pairs[i][1]);
    }
    jl_buf_str(&t->out, "}");
}

static void tell(struct tally *t, const char *name, const struct finding *f)
{
    if (t->json)
        json_finding(t, name, f);
    else
        text_finding(t, name, f);
    t->n[f->verdict]++;
}

static void conclusion(const struct doctor *d, struct tally *t)
{
    if (t->json) {
        doctor_models_json(d, &t->out);
        jl_buf_printf(&t->out, "\n  ],\n  \"ok\": %zu, \"advice\": %zu, \"cannot_tell\": %zu, \"failed\": %zu\n}\n",
                      t->n[DOCTOR_OK], t->n[DOCTOR_ADVICE], t->n[DOCTOR_UNKNOWN], t->n[DOCTOR_FAILED]);
        return;
    }
    if (t->n[DOCTOR_FAILED])
        jl_buf_printf(&t->out, "\n%zu in the way, %zu could be better\n", t->n[DOCTOR_FAILED], t->n[DOCTOR_ADVICE]);
    else if (t->n[DOCTOR_ADVICE])
        jl_buf_printf(&t->out, "\nnothing is in the way, %zu could be better\n", t->n[DOCTOR_ADVICE]);
    else
        jl_buf_str(&t->out, "\nall is well\n");
}

/* ---- the command -------------------------------------------------------------------------------------------------- */

static bool said_before(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

static void examine_meter(const struct doctor *d, struct tally *t, const char *const *names, size_t n)
{
    struct joulet_sensor row = {.name = names[n], .summary = "a meter behind HTTP"};
    struct finding f = {.verdict = DOCTOR_UNKNOWN};
    doctor_sensor(d, &row, &f);
    tell(t, row.name, &f);
}

/* The meters of --meter, one finding for each kind: those that answer and those in trouble. */
static void examine_meters(const struct doctor *d, struct tally *t)
{
    const char *names[8];
    struct joulet_problem p;
    size_t n = 0;
    if (!d->live.meter)
        return;
    for (size_t i = 0; i < joulet_problem_count(d->live.meter) && n < JL_COUNT(names); i++)
        if (joulet_problem_get(d->live.meter, i, &p) == JOULET_OK && live_is_pushed(p.sensor) &&
            !said_before(names, n, p.sensor)) {
            names[n] = p.sensor;
            examine_meter(d, t, names, n++);
        }
    for (size_t i = 0; i < d->live.n && n < JL_COUNT(names); i++) {
        const char *sensor = d->live.channels[i].ch.sensor;
        if (live_is_pushed(sensor) && !said_before(names, n, sensor)) {
            names[n] = sensor;
            examine_meter(d, t, names, n++);
        }
    }
}

static void examine(const struct doctor *d, struct tally *t)
{
    struct joulet_sensor row;
    if (t->json)
        jl_buf_str(&t->out, "{\n  \"checks\": [");
    for (size_t i = 0; joulet_sensor_get(i, &row) == JOULET_OK; i++) {
        struct finding f = {.verdict = DOCTOR_UNKNOWN};
        if (row.on_request)
            continue;
        doctor_sensor(d, &row, &f);
        tell(t, row.name, &f);
    }
    examine_meters(d, t);
    for (size_t i = 0; i < doctor_check_count && !atomic_load(&cli_cancel); i++) {
        struct finding f = {.verdict = DOCTOR_UNKNOWN};
        doctor_checks[i].look(d, &f);
        tell(t, doctor_checks[i].name, &f);
    }
    conclusion(d, t);
}

static void open_sensors(struct doctor *d)
{
    if (live_try(&d->live, d->cli, 0, READY_S, &d->error) != JOULET_OK)
        return;
    terminal_wait_until(d->live.start + jl_ns(LOOK_S));
    joulet_mark end = joulet_mark_now(d->live.meter);
    joulet_wait_covered(d->live.meter, end, LOOK_S, NULL);
    live_row(&d->live, end);
}

static int doctor_run(struct cli *c, int argc, char **argv)
{
    struct doctor d = {.cli = c};
    struct tally t = {.json = cli_json(c), .style = cli_style(c)};
    if (argc > 0)
        return cli_usage(c, "doctor takes no argument '%s'", argv[0]);
    if (cli_flag(c, "fix") && cli_flag(c, "undo"))
        return cli_usage(c, "--fix and --undo exclude each other");
    if (cli_flag(c, "fix") || cli_flag(c, "undo"))
        return (cli_flag(c, "fix") ? doctor_fix : doctor_undo)(c);
    engine_joulet_use_token(cli_str(c, "token"));
    jl_buf_init(&t.out, 1 << 20);
    jl_machine_get(&d.machine);
    open_sensors(&d);
    if (d.error.status == JOULET_USAGE) { /* what was asked for is wrong, not the machine */
        jl_buf_release(&t.out);
        return cli_fail(c, &d.error);
    }
    examine(&d, &t);
    int code = cli_result(c, t.out.data, t.out.len), sig = atomic_load(&cli_signal);
    jl_buf_release(&t.out);
    live_close(&d.live);
    if (code != CLI_DONE)
        return code;
    return sig ? 128 + sig : t.n[DOCTOR_FAILED] ? CLI_CHECK_FAILED : CLI_DONE;
}

const struct command cmd_doctor = {
    .name = "doctor",
    .summary = "say what can be measured here, and what is in the way",
    .usage = "joulet doctor [OPTION]...",
    .options = "fix undo yes root sensors meter sim replay trust-root calibration engine protocol key token db",
    .about =
        "Looks at everything a measurement depends on and says how it stands: ok, advice (works, could be better), cannot tell, "
        "or "
        "failed (in the way). Below advice and failures stand the commands that help; nothing is changed.\n\n"
        "--fix shows what lets the group joulet read the energy counters of the CPU, and nobody else, asks, and writes it: a "
        "rule "
        "of udev, the group, and a capability of the program where there is only perf. --undo removes exactly that. Both need "
        "root, and say so.\n\n"
        "The exit code is 0 unless a check failed, then 1. With --json the result is an object with `checks`, a list of objects "
        "with `check`, `verdict`, `message` and `remedy` (null when there is nothing to do), `models`, a list of shapes with "
        "what "
        "they need and whether they fit, and the number of each verdict.",
    .examples = "joulet doctor\n  everything\n"
                "joulet doctor --json | jq '.checks[] | select(.verdict == \"failed\")'\n  what is in the way, for a script\n"
                "sudo joulet doctor --fix\n  let the group joulet read the energy counters\n",
    .run = doctor_run,
};
