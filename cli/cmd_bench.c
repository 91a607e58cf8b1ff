/* cmd_bench.c - a suite of prompts, measured one after the other: load, idle, prompts, cool-down; every one a window with energy.
 */
#include "cli/session.h"
#include "llm/plans/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define TRIAL_S      2.0 /* how long the speed trial may generate */
#define TRIAL_TOKENS 2048
#define TRIAL_PIECES 8 /* the least that gives a speed, however slow the prefill was */

struct bench {
    struct session s;
    struct runtime_choice choice;
    struct generation q;
    struct plan plan;
    char *messages;
    int64_t repeat, warmup;
    double baseline_s, cooldown_s;
    joulet_mark t_first; /* of the suite, for the ETA */
    size_t done, planned;
};

/* ---- one request ---------------------------------------------------------------------------------------------------------- */

static void place_in_plan(struct run_request *q, const struct plan_prompt *p, int64_t repeat, bool warmup)
{
    q->set = jl_strdup(p->set);
    q->category = jl_strdup(p->category);
    q->number = p->number;
    q->repeat = repeat;
    q->warmup = warmup;
}

/* The boundary between prefill and decode is an event for the sampler as well: counters are read locked to it (1.3). */
struct first_text {
    struct joulet *meter;
    bool seen;
};

static void mark_first(void *user, const char *text, size_t n, bool thinking)
{
    struct first_text *f = user;
    (void)text;
    (void)thinking;
    if (!f->seen && n)
        joulet_mark_now(f->meter);
    f->seen |= n > 0;
}

/* Returns the status of the exchange; the request is kept whatever it was. */
static enum joulet_status one(struct bench *b, const struct plan_prompt *p, int64_t repeat, bool warmup)
{
    struct generated g;
    struct run_request q;
    struct joulet_error err = {0};
    struct generation ask = b->q;
    struct first_text first = {.meter = b->s.meter};
    generated_init(&g);
    run_request_init(&q);
    ask.prompt = p->text;
    if (p->messages)
        ask.messages_json = p->messages;
    if (ask.max_tokens < 0)
        ask.max_tokens = p->max_tokens;
    q.temperature_before_c = jl_temperature_c();
    session_watch(&b->s);
    session_place(&b->s, b->s.run.n_requests);
    joulet_mark_now(b->s.meter);
    enum joulet_status st = engine_generate(b->choice.engine, &ask, &g, mark_first, &first, &err);
    joulet_mark_now(b->s.meter);
    q.temperature_after_c = jl_temperature_c();
    session_request_of(&b->s, &q, &g, p->text, st, &err);
    place_in_plan(&q, p, repeat, warmup);
    if (st == JOULET_OK)
        q.check = plan_check(p, g.text.data ? g.text.data : "");
    session_request(&b->s, &q, 0);
    if (st != JOULET_OK && st != JOULET_CANCELLED)
        cli_warn(b->s.cli, "%s %lld: %s", p->category ? p->category : "prompt", (long long)p->number, err.message);
    generated_release(&g);
    run_request_release(&q);
    return st;
}

/* ---- progress ---------------------------------------------------------------------------------------------------------------
 */

static void progress(struct bench *b, const char *what)
{
    if (!isatty(STDERR_FILENO) || cli_flag(b->s.cli, "quiet"))
        return;
    double spent = jl_s(joulet_now() - b->t_first);
    if (b->done && b->t_first)
        fprintf(stderr, "\r\033[K%s  %zu of %zu, about %.0f s left", what, b->done + 1, b->planned,
                ceil(spent / (double)b->done * (double)(b->planned - b->done)));
    else
        fprintf(stderr, "\r\033[K%s", what);
    fflush(stderr);
}

static void progress_end(const struct bench *b)
{
    if (isatty(STDERR_FILENO) && !cli_flag(b->s.cli, "quiet"))
        fputs("\r\033[K", stderr);
}

/* ---- the suite --------------------------------------------------------------------------------------------------------------
 */

/* Idle and cool-down are windows with energy, never bare sleeps; Ctrl-C ends them at once. */
static void idle_window(struct bench *b)
{
    char what[64];
    if (b->baseline_s <= 0) {
        session_baseline_stored(&b->s);
        return;
    }
    snprintf(what, sizeof what, "idle level, %.0f s", b->baseline_s);
    progress(b, what);
    joulet_mark from = joulet_mark_now(b->s.meter);
    session_wait_until(from + jl_ns(b->baseline_s));
    joulet_mark to = joulet_mark_now(b->s.meter);
    joulet_wait_covered(b->s.meter, to, 3.0, NULL);
    session_baseline(&b->s, from, to);
    session_window(&b->s, "idle", from, to, b->s.idle, false);
    session_keep(&b->s);
    b->s.last_end = from; /* what comes before the first prompt is this window */
}

static void cooldown_window(struct bench *b)
{
    if (!b->s.run.n_requests || b->cooldown_s <= 0 || atomic_load(&cli_cancel))
        return;
    progress(b, "cool-down");
    joulet_mark end = b->s.last_end, to = session_cooldown(&b->s, end, b->cooldown_s);
    session_window(&b->s, "cooldown", end, to, b->s.idle, false);
}

/* False when the suite must stop: interrupted, or the engine is gone. */
static bool go_on(enum joulet_status st)
{
    return !atomic_load(&cli_cancel) && st != JOULET_CANCELLED && st != JOULET_UNREACHABLE;
}

static bool prompts(struct bench *b)
{
    enum joulet_status st = JOULET_OK;
    for (int64_t w = 0; w < b->warmup && go_on(st); w++) {
        progress(b, "warm-up");
        st = one(b, &b->plan.prompts[0], -1, true);
    }
    b->t_first = joulet_now();
    b->planned = b->plan.n * (size_t)b->repeat;
    for (int64_t r = 0; r < b->repeat; r++)
        for (size_t i = 0; i < b->plan.n; i++) {
            if (!go_on(st))
                return false;
            progress(b, b->plan.prompts[i].category ? b->plan.prompts[i].category : "prompt");
            st = one(b, &b->plan.prompts[i], r, false);
            b->done += st != JOULET_CANCELLED;
        }
    return go_on(st);
}

/* ---- trial: how long would the suite take? -------------------------------------------------------------------------------- */

struct trial {
    struct generation q;
    joulet_mark until;
    int pieces;
    atomic_bool stop;
};

static void trial_text(void *user, const char *text, size_t n, bool thinking)
{
    struct trial *t = user;
    (void)text;
    (void)n;
    (void)thinking;
    if (++t->pieces >= TRIAL_PIECES && joulet_now() >= t->until)
        atomic_store(&t->stop, true);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The median: a machine that stalls now and then must not be taken for a slow one. Changes the times into gaps. */
static double middle_gap_s(struct generated *g)
{
    size_t n = g->n_token_ns - 1;
    for (size_t i = 0; i < n; i++)
        g->token_ns[i] = g->token_ns[i + 1] - g->token_ns[i];
    qsort(g->token_ns, n, sizeof *g->token_ns, by_size);
    return jl_s(g->token_ns[n / 2]);
}

/* A real prompt of the suite, generated for TRIAL_S: seconds per character of prompt and per token of answer, times the suite. */
static int trial_run(struct bench *b)
{
    struct trial t = {.q = b->q};
    struct generated g;
    struct joulet_error err;
    struct engine *e = b->choice.engine;
    const struct plan_prompt *p = &b->plan.prompts[b->plan.n / 2];
    double chars = 0, tokens = 0;
    for (size_t i = 0; i < b->plan.n; i++) {
        chars += (double)strlen(b->plan.prompts[i].text);
        tokens += (double)(b->q.max_tokens >= 0 ? b->q.max_tokens : b->plan.prompts[i].max_tokens);
    }
    generated_init(&g);
    t.q.prompt = p->text;
    t.q.messages_json = p->messages;
    t.q.max_tokens = TRIAL_TOKENS;
    e->cancel = &t.stop;
    t.until = joulet_now() + jl_ns(TRIAL_S);
    enum joulet_status st = engine_generate(e, &t.q, &g, trial_text, &t, &err);
    e->cancel = &cli_cancel;
    if (g.t_first_ns == 0 || g.n_token_ns < 2) {
        if (st != JOULET_OK && st != JOULET_CANCELLED)
            cli_warn(b->s.cli, "%s", err.message);
        generated_release(&g);
        return CLI_ENGINE;
    }
    double per_char = jl_s(g.t_first_ns - g.t_sent_ns) / (double)strlen(p->text);
    double per_token = middle_gap_s(&g);
    char line[32];
    int n = snprintf(line, sizeof line, "%.0f\n", ceil(per_char * chars + per_token * tokens));
    generated_release(&g);
    return cli_result(b->s.cli, line, (size_t)n);
}

/* ---- the command ------------------------------------------------------------------------------------------------------------
 */

static int load_plan(struct bench *b)
{
    struct joulet_error err;
    const char *file = cli_str(b->s.cli, "prompts");
    enum joulet_status st = plan_open(&b->plan, file ? file : "nine", &err);
    if (st == JOULET_OK)
        return CLI_DONE;
    cli_fail(b->s.cli, &err);
    return st == JOULET_MEMORY ? CLI_FAILED : CLI_USAGE;
}

/* What no engine could answer is refused before one is started. */
static int check_plan(const struct bench *b)
{
    struct joulet_error err;
    struct generation q = b->q;
    for (size_t i = 0; i < b->plan.n; i++) {
        q.prompt = b->plan.prompts[i].text;
        q.messages_json = b->plan.prompts[i].messages;
        if (q.messages_json && (q.system || q.raw))
            return cli_usage(b->s.cli, "prompt %zu of %s has messages of its own: take --system and --raw away", i + 1,
                             b->plan.name);
        if (engine_check(&q, &err) != JOULET_OK)
            return cli_usage(b->s.cli, "%s", err.message);
    }
    return CLI_DONE;
}

static void describe_plan(struct bench *b)
{
    struct run_pairs *p = &b->s.run.settings;
    session_settings(&b->s, &b->q);
    run_pairs_set(p, "prompts", 's', "%s", b->plan.name);
    run_pairs_set(p, "prompts_sha256", 's', "%s", b->plan.sha256);
    run_pairs_set(p, "repeat", 'n', "%lld", (long long)b->repeat);
    run_pairs_set(p, "warmup", 'n', "%lld", (long long)b->warmup);
    run_pairs_set(p, "baseline_s", 'n', "%.15g", b->baseline_s);
    run_pairs_set(p, "cooldown_s", 'n', "%.15g", b->cooldown_s);
    run_pairs_set(p, "order", 's', "as listed");
}

static int show(struct bench *b)
{
    const struct cli *c = b->s.cli;
    struct jl_buf out;
    struct joulet_error err;
    int code = CLI_DONE;
    jl_buf_init(&out, (size_t)512 << 20);
    if (cli_json(c)) {
        if (run_to_json(&b->s.run, &out, &err) != JOULET_OK)
            code = cli_fail(c, &err);
    } else {
        report_table(&out, &b->s.run, cli_style(c));
        if (b->s.saved)
            jl_buf_printf(&out, "Record: joulet runs show %s   (%s)\n", b->s.run.id, store_path(b->s.store));
    }
    if (code == CLI_DONE)
        code = cli_result(c, out.data, out.len);
    jl_buf_release(&out);
    return code;
}

static bool any_ok(const struct run *r)
{
    for (size_t i = 0; i < r->n_requests; i++)
        if (!r->requests[i].warmup && r->requests[i].outcome == RUN_OK)
            return true;
    return false;
}

static void interrupted(const struct bench *b)
{
    size_t planned = b->plan.n * (size_t)b->repeat;
    if (b->s.saved)
        cli_warn(b->s.cli, "interrupted after %zu of %zu prompts; what was measured is kept: `joulet runs show %s`", b->done,
                 planned, b->s.run.id);
    else
        cli_warn(b->s.cli, "interrupted after %zu of %zu prompts", b->done, planned);
}

/* A limit is broken only when the whole interval lies above it, and not kept when nothing is known. */
static int within_limit(const struct bench *b)
{
    double limit = cli_real(b->s.cli, "max-j-per-token"), j, lo;
    if (isnan(limit))
        return CLI_DONE;
    if (!report_j_per_token(&b->s.run, &j, &lo)) {
        cli_warn(b->s.cli, "no net energy per output token is known, so --max-j-per-token cannot be checked");
        return CLI_CHECK_FAILED;
    }
    if (lo <= limit)
        return CLI_DONE;
    cli_warn(b->s.cli, "%.4g J per output token is surely above the limit of %.6g: the interval begins at %.4g", j, limit, lo);
    return CLI_CHECK_FAILED;
}

static int measured_suite(struct bench *b)
{
    idle_window(b);
    bool whole = !atomic_load(&cli_cancel) && prompts(b);
    cooldown_window(b);
    progress_end(b);
    bool ok = any_ok(&b->s.run);
    session_finish(&b->s, atomic_load(&cli_cancel) ? "interrupted" : whole && ok ? "done" : "failed");
    if (atomic_load(&cli_cancel))
        interrupted(b);
    int code = b->s.run.n_requests || b->s.run.n_windows ? show(b) : CLI_DONE;
    return code != CLI_DONE ? code : session_exit(&b->s, ok ? within_limit(b) : CLI_ENGINE);
}

static int bench_run(struct cli *c, int argc, char **argv)
{
    struct bench b = {0};
    if (argc > 0)
        return cli_usage(c, "bench takes no operand \"%s\": prompts come from --prompts FILE", argv[0]);
    int code = session_generation(c, &b.q, &b.messages);
    b.s.cli = c;
    if (code == CLI_DONE)
        code = load_plan(&b);
    if (code == CLI_DONE)
        code = check_plan(&b);
    if (code == CLI_DONE)
        code = session_open(&b.s, c, "bench");
    if (code != CLI_DONE) {
        plan_release(&b.plan);
        free(b.messages);
        return code;
    }
    b.repeat = cli_int(c, "repeat", 1);
    b.warmup = cli_int(c, "warmup", 1);
    b.baseline_s = jl_s(cli_duration_ns(c, "baseline"));
    b.cooldown_s = jl_s(cli_duration_ns(c, "cooldown"));
    bool trial = cli_flag(c, "trial");
    describe_plan(&b);
    if (trial) /* that is no run */
        session_forget(&b.s);
    code = session_choose(&b.s, &b.choice);
    b.q.model = b.choice.model;
    if (code == CLI_DONE)
        code = trial ? trial_run(&b) : measured_suite(&b);
    runtime_choice_release(&b.choice);
    session_close(&b.s);
    plan_release(&b.plan);
    free(b.messages);
    return code;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "measure a suite of prompts",
    .usage = "joulet bench [OPTION]...",
    .options =
        "prompts repeat warmup baseline cooldown trial engine key model system raw seed temperature top-p top-k min-p "
        "repeat-penalty stop max-tokens context engine-option threads gpu-layers prompt-cache timeout sensors sim replay "
        "interval trust-root calibration measured-only json output title private place grid grid-series grid-command pue wue "
        "embodied-kg lifetime-years price tariff device-hour currency db no-store quiet width color max-j-per-token",
    .about = "Sends the prompts one after the other and measures each: queue, prefill and decode. Around them stand the load of\n"
             "the model, an idle window (10 s) and a cool-down (until the power has settled, 10 s at most). The prompt cache is\n"
             "off. The first request is a warm-up and enters no sum. Without --prompts it is the suite of nine: three short,\n"
             "three medium, three long.\n"
             "\n"
             "Every finished request is on disk within a second; Ctrl-C keeps what was measured.",
    .examples = "joulet bench -m model.gguf\n  nine prompts on a server of our own\n"
                "joulet bench --engine http://127.0.0.1:8080 --repeat 5\n  the server that runs there, five times\n"
                "joulet bench --json -o record.json\n  the record as JSON\n",
    .run = bench_run,
};
