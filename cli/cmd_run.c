/* cmd_run.c - one prompt, or a chat: the answer as it comes, then what it cost. */
#include "cli/session.h"

#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROMPT_MAX ((size_t)16 << 20)
#define AFTER_S    2.0  /* 4.2: the tail is followed for 2 s at most */
#define COVER_S    0.25 /* with a stored baseline: only until the sensors have covered the end */

struct turn {
    struct session *s;
    struct runtime_choice *choice;
    struct generation *q;
    bool stored; /* a stored baseline is in use */
    bool print;  /* the answer goes to stdout as it comes */
    bool ended_line, first_seen;
};

static void on_text(void *user, const char *text, size_t n, bool thinking)
{
    struct turn *t = user;
    if (!t->first_seen && n) /* the end of prefill is an event for the sampler as well (1.3) */
        joulet_mark_now(t->s->meter);
    t->first_seen |= n > 0;
    if (!t->print || thinking || !n)
        return;
    fwrite(text, 1, n, stdout);
    fflush(stdout);
    t->ended_line = text[n - 1] == '\n';
}

/* The level after is only needed without a stored one; a chat does not wait for it: the user reads meanwhile. */
static joulet_mark level_after(struct turn *t, joulet_mark from, joulet_mark end)
{
    joulet_mark until = end + jl_ns(t->stored ? COVER_S : AFTER_S);
    if (session_is_told(t->s)) /* its sensors are looked at by the server */
        return end;
    bool whole = session_wait_until(until); /* who interrupts waits no longer: then only the level before is known */
    if (!t->stored)
        session_baseline_short(t->s, from, whole ? until - JL_NS_PER_S : 0, whole ? until : 0, "no idle level: ");
    return whole ? until : joulet_now();
}

/* One exchange, measured and kept. Returns the request in the run, NULL on no memory. answer: gets the text; NULL: not needed. */
static struct run_request *do_turn(struct turn *t, const char *prompt, struct jl_buf *answer)
{
    struct generated g;
    struct run_request q;
    struct joulet_error err = {0};
    generated_init(&g);
    run_request_init(&q);
    t->ended_line = true;
    t->first_seen = false;
    q.temperature_before_c = jl_temperature_c();
    session_watch(t->s);
    joulet_mark from = joulet_mark_now(t->s->meter);
    enum joulet_status st = engine_generate(t->choice->engine, t->q, &g, on_text, t, &err);
    joulet_mark_now(t->s->meter);
    q.temperature_after_c = jl_temperature_c();
    if (t->print && !t->ended_line)
        putchar('\n');
    session_request_of(t->s, &q, &g, prompt, st, &err);
    if (answer && g.text.len)
        jl_buf_add(answer, g.text.data, g.text.len);
    joulet_mark end = q.n_windows ? q.windows[q.n_windows - 1].end_ns : joulet_now();
    joulet_mark quiet = level_after(t, q.n_windows ? q.windows[0].start_ns : from, end);
    if (st != JOULET_OK)
        cli_warn(t->s->cli, "%s", err.message);
    struct run_request *kept = session_request(t->s, &q, quiet);
    if (st == JOULET_OK)
        session_cooldown(t->s, end, t->stored ? COVER_S : AFTER_S);
    generated_release(&g);
    run_request_release(&q);
    return kept;
}

/* ---- prompt ------------------------------------------------------------------------------------------------------ */

static int read_stdin(const struct cli *c, char **prompt)
{
    struct jl_buf b;
    char block[65536];
    size_t n;
    jl_buf_init(&b, PROMPT_MAX);
    while ((n = fread(block, 1, sizeof block, stdin)) > 0 && jl_buf_add(&b, block, n))
        ;
    if (b.failed) {
        jl_buf_release(&b);
        return cli_usage(c, "the prompt on standard input is longer than 16 MiB");
    }
    *prompt = jl_buf_take(&b);
    return CLI_DONE;
}

static bool blank(const char *s)
{
    return !s || s[strspn(s, " \t\r\n")] == '\0';
}

static char *words(int argc, char **argv)
{
    struct jl_buf b;
    jl_buf_init(&b, PROMPT_MAX);
    for (int i = 0; i < argc; i++)
        jl_buf_printf(&b, "%s%s", i ? " " : "", argv[i]);
    return jl_buf_take(&b);
}

static int get_prompt(const struct cli *c, int argc, char **argv, char **prompt, bool *chat)
{
    *prompt = NULL;
    *chat = false;
    int code = CLI_DONE;
    if (argc > 0 && cli_str(c, "messages"))
        return cli_usage(c, "--messages takes the place of the prompt: put \"%s\" into the messages", argv[0]);
    if (argc == 1 && !strcmp(argv[0], "-"))
        code = read_stdin(c, prompt);
    else if (argc > 0)
        *prompt = words(argc, argv);
    else if (cli_str(c, "messages"))
        return CLI_DONE;
    else if (isatty(STDIN_FILENO))
        *chat = true;
    else
        code = read_stdin(c, prompt);
    if (code == CLI_DONE && !*chat && blank(*prompt))
        return cli_usage(c, "the prompt is empty: give it as an argument, or - to read it from standard input");
    return code;
}

/* What no engine could answer is refused before one is started. */
static int checked(const struct cli *c, const struct generation *q)
{
    struct joulet_error err;
    return engine_check(q, &err) == JOULET_OK ? CLI_DONE : cli_usage(c, "%s", err.message);
}

/* ---- output ------------------------------------------------------------------------------------------------------ */

static int show(struct session *s, const struct run_request *q)
{
    const struct cli *c = s->cli;
    struct jl_buf out;
    struct joulet_error err;
    int code = CLI_DONE;
    jl_buf_init(&out, (size_t)256 << 20);
    if (cli_json(c)) {
        if (run_to_json(&s->run, &out, &err) != JOULET_OK)
            code = cli_fail(c, &err);
    } else {
        if (!cli_str(c, "output"))
            putchar('\n');
        report_block(&out, &s->run, q, cli_style(c));
    }
    if (code == CLI_DONE)
        code = cli_result(c, out.data, out.len);
    jl_buf_release(&out);
    return code;
}

static int one_prompt(struct turn *t, char *prompt)
{
    struct session *s = t->s;
    struct run_request *q = do_turn(t, prompt ? prompt : t->q->messages_json, NULL);
    bool ok = q && q->outcome == RUN_OK;
    bool stopped = q && q->outcome == RUN_CANCELLED;
    session_finish(s, ok ? "done" : stopped ? "interrupted" : "failed");
    int code = CLI_DONE;
    bool answered = q && (ok || q->ttft_s > 0); /* of a refusal its sentence says all, the record keeps the rest */
    if (answered || (q && cli_json(s->cli)))
        code = show(s, &s->run.requests[0]);
    return code != CLI_DONE ? code : session_exit(s, ok ? CLI_DONE : CLI_ENGINE);
}

/* ---- chat -------------------------------------------------------------------------------------------------------- */

static void add_message(json_t *messages, const char *role, const char *content)
{
    json_t *text = json_string(content);
    if (!text) /* not UTF-8: the engine would refuse it too */
        text = json_string("");
    json_array_append_new(messages, json_pack("{s:s, s:o}", "role", role, "content", text));
}

static void chat_turn(struct turn *t, json_t *messages, const char *line)
{
    struct jl_buf answer, block;
    jl_buf_init(&answer, PROMPT_MAX);
    jl_buf_init(&block, 1 << 20);
    add_message(messages, "user", line);
    char *text = json_dumps(messages, JSON_COMPACT);
    t->q->messages_json = text;
    struct run_request *q = do_turn(t, line, &answer);
    if (q && q->outcome == RUN_OK) {
        add_message(messages, "assistant", answer.data ? answer.data : "");
        (cli_flag(t->s->cli, "verbose") ? report_block : report_turn)(&block, &t->s->run, q, cli_style(t->s->cli));
        fputs("\n", stdout);
        fwrite(block.data, 1, block.len, stdout);
    } else {
        json_array_remove(messages, json_array_size(messages) - 1); /* the context is as before the failed turn */
    }
    t->q->messages_json = NULL;
    free(text);
    jl_buf_release(&answer);
    jl_buf_release(&block);
}

static json_t *first_messages(const struct generation *q)
{
    json_t *m = q->messages_json ? json_loads(q->messages_json, 0, NULL) : NULL;
    if (!json_is_array(m)) {
        json_decref(m);
        m = json_array();
    }
    if (q->system && !json_array_size(m))
        add_message(m, "system", q->system);
    return m;
}

static void chat_loop(struct turn *t)
{
    json_t *messages = first_messages(t->q);
    char *line = NULL;
    size_t cap = 0;
    const char *model = run_pairs_get(&t->s->run.model, "name");
    printf("%s\nEnd with Ctrl-D or /bye; /clear forgets the conversation.\n", model ? model : "");
    while (!atomic_load(&cli_cancel)) {
        fputs("\n> ", stdout);
        fflush(stdout);
        ssize_t n = getline(&line, &cap, stdin);
        if (n < 0)
            break;
        line[strcspn(line, "\r\n")] = '\0';
        if (!strcmp(line, "/bye"))
            break;
        if (!strcmp(line, "/clear")) {
            json_array_clear(messages);
            puts("The conversation starts anew.");
        } else if (!blank(line)) {
            chat_turn(t, messages, line);
        }
    }
    free(line);
    json_decref(messages);
}

static int chat(struct turn *t)
{
    chat_loop(t);
    bool stopped = atomic_load(&cli_cancel);
    session_finish(t->s, stopped ? "interrupted" : "done");
    if (!t->s->run.n_requests)
        return session_exit(t->s, CLI_DONE);
    printf("\nThe conversation, %zu turn%s:\n", t->s->run.n_requests, t->s->run.n_requests == 1 ? "" : "s");
    int code = show(t->s, NULL);
    return code != CLI_DONE ? code : session_exit(t->s, CLI_DONE);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int run_run(struct cli *c, int argc, char **argv)
{
    struct session s;
    struct runtime_choice choice = {0};
    struct generation q;
    struct session_files files;
    char *prompt = NULL;
    bool is_chat;
    int code = session_generation(c, &q, &files);
    if (code == CLI_DONE)
        code = get_prompt(c, argc, argv, &prompt, &is_chat);
    q.prompt = prompt;
    if (code == CLI_DONE && !is_chat)
        code = checked(c, &q);
    if (code == CLI_DONE)
        code = session_open(&s, c, is_chat ? "chat" : "run");
    if (code == CLI_DONE) {
        session_settings(&s, &q);
        code = session_choose(&s, &choice, &q);
        if (code == CLI_DONE) {
            struct turn t = {.s = &s, .choice = &choice, .q = &q, .print = !cli_json(c)};
            q.model = choice.model;
            t.stored = session_prepare(&s);
            code = is_chat ? chat(&t) : one_prompt(&t, prompt);
        }
        runtime_choice_release(&choice);
        session_close(&s);
    }
    free(prompt);
    session_files_release(&files);
    return code;
}

const struct command cmd_run = {
    .name = "run",
    .summary = "send one prompt, or chat, and show what it cost",
    .usage = "joulet run [OPTION]... [PROMPT | -]",
    .options =
        "engine protocol key token pid remote model system messages raw seed temperature top-p top-k min-p repeat-penalty stop "
        "max-tokens context "
        "engine-option threads gpu-layers prompt-cache think think-budget keep-alive tools timeout sensors meter sim replay "
        "interval trust-root calibration "
        "measured-only json "
        "output run-id title private place grid grid-series grid-command pue wue embodied-kg lifetime-years price tariff "
        "device-hour currency db no-store width color",
    .about =
        "Streams the answer, then prints its energy: gross and above idle, by phase and device, per token, with the interval\n"
        "that holds. Without a prompt on a terminal it is a chat: the context is kept, each turn shows its energy (with\n"
        "--verbose the whole block), the end shows the sum. With - the prompt is read from standard input.\n"
        "\n"
        "Nothing waits for a long baseline: the idle level is the one stored for this machine and engine less than 10 minutes\n"
        "ago, else the second before the request and the level after it (`short baseline`).",
    .examples = "joulet run \"Why is the sky blue?\"\n  on the engine that answers, or one of our own\n"
                "joulet run -m model.gguf -n 64 --seed 1 \"Hello\"\n  a GGUF file, 64 tokens\n"
                "joulet run --json -o hello.json Hello\n  the record as JSON\n",
    .run = run_run,
};
