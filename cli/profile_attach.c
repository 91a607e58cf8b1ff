/* profile_attach.c - a profile of an engine that runs and holds the probe, while its own clients use it: nothing is sent. What
 * the probe tells makes requests, or pieces of them: prompt steps and the answer after them, cut every few seconds so that they
 * take turns as those of a profile do, plain and watched. What others do at the same time is in the same steps, and no share of
 * it is taken out. */
#include "cli/profile.h"
#include "cli/session_span.h"
#include "lib/platform/platform.h"
#include "profile/probe.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PIECE_S   6.0  /* of answers at most, then it is another one's turn; the first turns are shorter */
#define TURN_S    1.0  /* shorter ones are not worth asking the probe */
#define QUIET_S   0.3  /* without a step, and four times as long as the last one took */
#define SAID_S    10.0 /* between two lines about how it goes */
#define POLL_NS   20000000
#define PLAIN_FEW 20.0                     /* tokens: as many readings as a mean power is of at least */
#define HELD_MOST (MEASURE_PENDING + 4096) /* what else is told of a step, and between steps */

struct attached {
    struct profiling *x;
    int64_t pid;
    struct trigger trigger;
    struct steps steps;
    struct ring_record held[HELD_MOST]; /* of the step that has not ended */
    size_t n_held;
    enum measure_pass pass;
    int64_t turn_ns; /* when its turn began */
    int64_t turns;   /* so far */
    bool paired;     /* there was one of these */
    /* the piece that is open */
    bool open, decodes;
    int64_t from_ns, prefill_ns, to_ns; /* prefill_ns: its end, 0 none */
    double prompt, position, decoded;
    /* all of them */
    int64_t last_ns, step_ns; /* end and length of the last step of all */
    int64_t pieces, said_ns;
    double decode_steps, decode_tokens, own, others;
    struct joulet_energy plain;
    double plain_tokens;
};

bool profile_attaches(const struct cli *c)
{
    return cli_given(c, "attach");
}

int profile_attach_check(const struct cli *c, bool prompted)
{
    static const char *const asking[] = {"engine",  "model",   "prompts",     "coarse",        "level",     "every",
                                         "batches", "against", "cross-check", "prompt-tokens", "max-tokens"};
    if (!profile_attaches(c))
        return cli_given(c, "slot")
                   ? cli_usage(c, "--slot needs --attach: an engine of joulet's own serves one request at a time")
                   : CLI_DONE;
    for (size_t i = 0; i < JL_COUNT(asking); i++)
        if (cli_given(c, asking[i]))
            return cli_usage(c, "--%s does not go with --attach: the engine runs as it was started, and its own clients ask",
                             asking[i]);
    return prompted ? cli_usage(c, "a prompt does not go with --attach: nothing is sent to the engine") : CLI_DONE;
}

/* ---- finding it ---------------------------------------------------------------------------------------------------------- */

static int refuse(struct attached *a, const struct joulet_error *err)
{
    int code = cli_fail(a->x->cli, err);
    return code == CLI_USAGE ? code : CLI_ENGINE;
}

static void describe_process(struct attached *a)
{
    struct run *r = &a->x->s.run;
    char *file = probe_argument(a->pid, "-m");
    if (!file)
        file = probe_argument(a->pid, "--model");
    char *path = file && *file != '/' ? jl_strf("/proc/%lld/cwd/%s", (long long)a->pid, file) : NULL;
    char *real = file ? realpath(path ? path : file, NULL) : NULL;
    run_pairs_set(&r->engine, "started_by", 's', "user");
    run_pairs_set(&r->engine, "local", 'b', "true");
    if (real)
        session_model_file(&r->model, real);
    free(real);
    free(path);
    free(file);
}

static int find_by_url(struct attached *a, const char *url)
{
    struct profiling *x = a->x;
    const struct session_ask ask = {.engine = url, .context = -1, .gpu_layers = -1, .parallel = 1};
    int code = session_choose_as(&x->s, &x->choice, &ask);
    if (code != CLI_DONE)
        return code;
    a->pid = x->s.watch.pid;
    if (a->pid > 0)
        return CLI_DONE;
    return cli_usage(x->cli, "--attach %s: no process of this machine is seen to serve it; give the number of the process", url);
}

static int find_engine(struct attached *a)
{
    struct profiling *x = a->x;
    const char *what = cli_str(x->cli, "attach");
    bool number = jl_parse_i64(what, &a->pid);
    if (!number && !strstr(what, "://"))
        return cli_usage(x->cli, "--attach '%s' is neither the number of a process nor a URL", what);
    if (number && (a->pid <= 0 || !jl_pid_alive(a->pid)))
        return cli_usage(x->cli, "--attach: process %s does not run", what);
    int code = number ? CLI_DONE : find_by_url(a, what);
    if (code != CLI_DONE)
        return code;
    a->pid = probe_process(a->pid);
    if (number) {
        describe_process(a);
        session_begin(&x->s);
        snprintf(x->s.level, sizeof x->s.level, "L1");
    }
    run_pairs_set(&x->s.run.engine, "pid", 'n', "%lld", (long long)a->pid);
    return CLI_DONE;
}

static int open_probe(struct attached *a)
{
    struct profiling *x = a->x;
    struct joulet_error err;
    struct ring_info info;
    x->folder = probe_folder_of(a->pid);
    enum joulet_status status =
        x->folder ? probe_check(a->pid, x->folder, &x->ring_path, &err) : jl_fail(&err, JOULET_NOT_FOUND, "out of memory");
    bool nothing_yet = status == JOULET_NOT_FOUND && x->ring_path;
    bool stages = status == JOULET_UNSUPPORTED && x->ring_path;
    if (stages)
        cli_warn(x->cli, "%s", err.message);
    else if (status != JOULET_OK && !nothing_yet)
        return refuse(a, &err);
    const struct ring_control as_started = {.watch = WIRE_AS_SET};
    if (ring_open(&x->ring, x->ring_path, &err) != JOULET_OK || ring_hold(x->ring, &err) != JOULET_OK ||
        measure_open(&x->m, &err) != JOULET_OK || ring_ask(x->ring_path, &as_started, &err) != JOULET_OK)
        return refuse(a, &err);
    ring_info(x->ring, &info);
    profile_level_note(x, a->pid, info.level, info.level == WIRE_STAGES ? WIRE_COMPONENTS : info.level);
    x->level = stages ? WIRE_STAGES : info.level;
    x->probe = true;
    x->m->attached = true;
    x->m->source = MEASURE_WATCHED;
    run_pairs_set(&x->p.engine, "device", 's', "%s", info.device);
    if (info.engine[0] && !run_pairs_get(&x->s.run.engine, "version"))
        run_pairs_set(&x->s.run.engine, "version", 's', "%s", info.engine);
    return CLI_DONE;
}

/* ---- turns --------------------------------------------------------------------------------------------------------------- */

static void begin_turn(struct attached *a, enum measure_pass pass)
{
    a->pass = pass;
    a->turn_ns = joulet_now();
    a->turns++;
    a->paired |= pass == MEASURE_PAIRED;
    if (a->x->level != WIRE_STAGES)
        profile_watch(a->x, pass);
}

static enum measure_pass next_turn(const struct attached *a)
{
    if (a->x->level == WIRE_STAGES)
        return MEASURE_PLAIN;
    if (a->pass == MEASURE_PLAIN)
        return MEASURE_WATCHED;
    if (a->pass == MEASURE_WATCHED && a->x->lockin)
        return MEASURE_AGAIN;
    return a->turns > 0 && !a->paired ? MEASURE_PAIRED : MEASURE_PLAIN;
}

/* The engine is a few steps further than what it was asked. */
static bool fits(const struct attached *a, const struct profile_step *s)
{
    bool all = s->graphs > 0 && s->watched == s->graphs;
    return a->pass == MEASURE_PLAIN     ? s->watched == 0
           : a->pass == MEASURE_WATCHED ? all && !s->repeated
           : a->pass == MEASURE_AGAIN   ? all
                                        : true;
}

/* ---- pieces -------------------------------------------------------------------------------------------------------------- */

static void add_window(struct run_request *q, const char *name, int64_t from_ns, int64_t to_ns)
{
    struct run_window w;
    run_window_init(&w, name, from_ns, to_ns);
    if (to_ns > from_ns)
        run_add_window(&q->windows, &q->n_windows, &w);
}

static void say_so_far(struct attached *a, const struct run_request *q)
{
    const struct run_window *w = q && q->n_windows ? &q->windows[q->n_windows - 1] : NULL;
    if (a->pass == MEASURE_PLAIN && w && strcmp(w->name, "decode") == 0 && isfinite(w->energy.total.net_j)) {
        joulet_energy_chain(&a->plain, &w->energy.total);
        a->plain_tokens += a->decoded;
    }
    if (joulet_now() - a->said_ns < jl_ns(SAID_S) || !(a->plain_tokens > 0))
        return;
    a->said_ns = joulet_now();
    cli_say(a->x->cli, "%lld requests, %.0f tokens of answers, %.3g J a token above idle", (long long)a->trigger.begun,
            a->decode_tokens, a->plain.net_j / a->plain_tokens);
}

/* As a request of a profile: what came before it in its context counts as cached. */
static void close_piece(struct attached *a, bool turns)
{
    struct profiling *x = a->x;
    struct run_request q;
    enum measure_pass pass = a->pass;
    a->open = false;
    if (turns && joulet_now() - a->turn_ns >= jl_ns(TURN_S))
        begin_turn(a, next_turn(a));
    run_request_init(&q);
    q.index = a->pieces++;
    q.outcome = RUN_OK;
    q.tokens.prompt = (int64_t)(a->position + a->prompt);
    q.tokens.cached = (int64_t)a->position;
    q.tokens.generated = (int64_t)a->decoded + 1;
    if (a->prefill_ns)
        add_window(&q, "prefill", a->from_ns, a->prefill_ns);
    if (a->decodes)
        add_window(&q, "decode", a->prefill_ns ? a->prefill_ns : a->from_ns, a->to_ns);
    enum measure_pass turn = a->pass;
    a->pass = pass;
    if (q.n_windows && profile_keep(x, &q, pass, a->from_ns, a->to_ns, true))
        say_so_far(a, profile_kept(x, q.index)); /* one that is thinned out is not in the figure so far either */
    else
        measure_end(x->m);
    a->pass = turn;
    run_request_release(&q);
    if (pass == MEASURE_WATCHED && x->level == WIRE_COMPONENTS)
        profile_plan_lockin(x);
}

static void open_piece(struct attached *a, const struct profile_step *s, const struct trigger_seen *seen)
{
    a->open = true;
    a->decodes = false;
    a->from_ns = s->t0_ns;
    a->prefill_ns = 0;
    a->prompt = a->decoded = 0;
    a->position = seen->position;
    for (size_t i = 0; i < a->n_held; i++) /* its text became tokens before */
        if (a->held[i].kind == WIRE_TOKENISE && a->held[i].t0_ns < a->from_ns && s->t0_ns - a->held[i].t0_ns < JL_NS_PER_S)
            a->from_ns = a->held[i].t0_ns;
    measure_begin(a->x->m, a->pass, a->from_ns);
}

static void hand_on(struct attached *a)
{
    for (size_t i = 0; i < a->n_held; i++)
        measure_record(a->x->m, &a->held[i]);
}

static void extend(struct attached *a, const struct profile_step *s, const struct trigger_seen *seen)
{
    hand_on(a);
    a->to_ns = s->t1_ns;
    if (s->prefilled > 0 || s->decoded == 0) {
        a->prefill_ns = s->t1_ns;
        a->prompt += seen->prompt;
        return;
    }
    a->decodes = true;
    a->decoded += s->decoded;
    a->decode_steps++;
    a->decode_tokens += s->decoded;
    a->own += seen->own;
    a->others += seen->others;
}

static bool is_quiet(const struct attached *a, int64_t now_ns)
{
    return now_ns - a->last_ns > jl_ns(QUIET_S) + 4 * a->step_ns;
}

/* Where another request or prompt begins, or goes on after a pause: it is computed already, in the turn that it is. */
static bool begins_piece(const struct attached *a, const struct profile_step *s, const struct trigger_seen *seen)
{
    bool prompt = s->prefilled > 0 || s->decoded == 0;
    return seen->begins || (prompt && a->decodes) || is_quiet(a, s->t0_ns);
}

/* Answers are cut for the next turn, prompts are not. */
static bool ends_turn(const struct attached *a, const struct profile_step *s)
{
    int64_t from = a->turn_ns < a->from_ns ? a->turn_ns : a->from_ns;
    return a->decodes && s->t0_ns - from > jl_ns(fmin(PIECE_S, TURN_S * (1 + (double)a->turns / 2)));
}

static void on_step(struct attached *a, const struct profile_step *s)
{
    struct trigger_seen seen;
    trigger_step(&a->trigger, s, &seen);
    bool wanted = seen.wanted && !s->failed;
    if (a->open && begins_piece(a, s, &seen))
        close_piece(a, false);
    else if (a->open && (!wanted || ends_turn(a, s)))
        close_piece(a, true);
    if (!wanted && a->trigger.wish.first_tokens > 0)
        profile_unwatch(a->x); /* the engine is spared the stops */
    else if (seen.begins && !a->x->stops && a->pass != MEASURE_PLAIN)
        profile_watch(a->x, a->pass);
    a->last_ns = s->t1_ns;
    a->step_ns = s->t1_ns - s->t0_ns;
    if (!wanted || !fits(a, s)) {
        if (a->open)
            close_piece(a, false);
        return;
    }
    if (!a->open)
        open_piece(a, s, &seen);
    extend(a, s, &seen);
}

static void on_record(struct attached *a, const struct ring_record *r)
{
    struct profile_step s;
    if (a->n_held == HELD_MOST) { /* more than a step can have: what they are of is not known */
        a->n_held = 0;
        steps_init(&a->steps);
    }
    a->held[a->n_held++] = *r;
    if (!steps_add(&a->steps, r, &s))
        return;
    on_step(a, &s);
    a->n_held = 0;
}

/* ---- until it ends ------------------------------------------------------------------------------------------------------- */

static bool drain(struct attached *a)
{
    struct ring_record r[256];
    size_t n = ring_read(a->x->ring, r, JL_COUNT(r));
    for (size_t i = 0; i < n; i++)
        on_record(a, &r[i]);
    return n > 0;
}

static bool goes_on(const struct attached *a, int64_t until_ns)
{
    return !atomic_load(&cli_cancel) && joulet_now() < until_ns && jl_pid_alive(a->pid);
}

/* The engine must be left alone for so long: another level than its own would be in all figures. */
static bool wait_idle(struct attached *a, int64_t until_ns)
{
    struct profiling *x = a->x;
    struct ring_record r[256];
    int64_t wanted = profile_idle_ns(x), from = joulet_mark_now(x->s.meter);
    cli_say(x->cli, "waiting for %.3g s without a request, for the idle level", jl_s(wanted));
    while (ring_read(x->ring, r, JL_COUNT(r)) > 0) /* from before */
        continue;
    while (goes_on(a, until_ns)) {
        size_t n = ring_read(x->ring, r, JL_COUNT(r));
        profile_power_tick(x);
        for (size_t i = 0; i < n; i++)
            from = r[i].t1_ns > from ? r[i].t1_ns : from;
        if (joulet_now() >= from + wanted && !n) {
            profile_idle_of(x, from, joulet_mark_now(x->s.meter));
            return true;
        }
        if (!n)
            jl_sleep_until(joulet_now() + POLL_NS);
    }
    return false;
}

static void follow(struct attached *a, int64_t until_ns)
{
    begin_turn(a, MEASURE_PLAIN);
    cli_say(a->x->cli, "profiling process %lld: its clients may ask now%s", (long long)a->pid,
            until_ns == INT64_MAX ? "; Ctrl-C ends it" : "");
    while (goes_on(a, until_ns)) {
        int64_t quiet = jl_ns(1) + 4 * a->step_ns;
        profile_power_tick(a->x);
        if (drain(a))
            continue;
        int64_t now = joulet_now();
        if (a->open && is_quiet(a, now))
            close_piece(a, true);
        if (!a->open && !a->x->stops && a->pass != MEASURE_PLAIN && is_quiet(a, now))
            profile_watch(a->x, a->pass); /* before the next prompt */
        if (trigger_over(&a->trigger, now, quiet))
            break;
        jl_sleep_until(now + POLL_NS);
    }
    for (int i = 0; i < 4096 && drain(a); i++) /* what was computed until now */
        continue;
    if (a->open)
        close_piece(a, true);
}

/* Turns of the clients' requests fall as they do: a trigger can leave next to nothing to the plain ones. */
static void note_few(struct attached *a)
{
    double n = 0;
    for (size_t i = 0; i < a->x->n_passes && i < a->x->s.run.n_requests; i++)
        n += a->x->passes[i] == MEASURE_PLAIN ? (double)a->x->s.run.requests[i].tokens.generated - 1 : 0;
    if (n < PLAIN_FEW && a->decode_tokens > 0)
        run_profile_note(
            &a->x->p,
            "the plain turns hold %.0f of the %.0f tokens of answers that were seen: energies and times of decode are "
            "of so few; watch for longer, or with more --requests or --first-tokens",
            n, a->decode_tokens);
}

static int judge(struct attached *a, bool idle)
{
    struct profiling *x = a->x;
    size_t plain = 0;
    for (size_t i = 0; i < x->n_passes; i++)
        plain += x->passes[i] == MEASURE_PLAIN;
    x->batch = a->decode_steps > 0 ? a->decode_tokens / a->decode_steps : 1;
    if (a->others > 0)
        run_profile_note(&x->p,
                         "%.0f %% of the tokens in the steps that count are of other slots: a token is an equal part of its step",
                         100 * a->others / (a->own + a->others));
    if (!jl_pid_alive(a->pid))
        run_profile_note(&x->p, "process %lld has ended meanwhile", (long long)a->pid);
    if (plain) {
        note_few(a);
        return CLI_DONE;
    }
    if (!idle && atomic_load(&cli_signal))
        return 128 + atomic_load(&cli_signal);
    if (!jl_pid_alive(a->pid))
        cli_warn(x->cli, "process %lld ended before enough of it was seen to measure: attach to an engine that goes on running",
                 (long long)a->pid);
    else if (!idle)
        cli_warn(
            x->cli,
            "process %lld was never without a request for %.3g s, so its idle level is not known and nothing could be measured: "
            "let its clients pause, or give a shorter --baseline",
            (long long)a->pid, jl_s(profile_idle_ns(x)));
    else if (a->trigger.wish.slot >= 0 && a->last_ns)
        cli_warn(x->cli,
                 "slot %lld of process %lld computed too little to measure: others did; leave --slot out, or name another one",
                 (long long)a->trigger.wish.slot, (long long)a->pid);
    else
        cli_warn(x->cli,
                 "process %lld computed too little to measure: let its clients ask while it is watched, for %.0f s at least",
                 (long long)a->pid, 2 * PIECE_S);
    return CLI_ENGINE;
}

int profile_attach(struct profiling *x)
{
    struct attached *a = calloc(1, sizeof *a);
    const struct trigger_wish wish = {.first_tokens = cli_int(x->cli, "first-tokens", 0),
                                      .slot = cli_int(x->cli, "slot", -1),
                                      .requests = cli_int(x->cli, "requests", 0)};
    if (!a)
        return CLI_FAILED;
    a->x = x;
    a->plain = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    trigger_init(&a->trigger, &wish);
    steps_init(&a->steps);
    int64_t for_ns = cli_duration_ns(x->cli, "duration");
    int code = find_engine(a);
    if (code == CLI_DONE)
        code = open_probe(a);
    if (code == CLI_DONE) {
        x->reading_s = profile_reading_s(&x->s);
        bool idle = wait_idle(a, for_ns > 0 ? joulet_now() + for_ns + profile_idle_ns(x) : INT64_MAX);
        if (idle)
            follow(a, for_ns > 0 ? joulet_now() + for_ns : INT64_MAX);
        code = judge(a, idle);
    }
    free(a);
    return code;
}
