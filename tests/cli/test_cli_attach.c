/* test_cli_attach.c - `joulet profile` of an engine that runs already: attached to while its own clients use it, or asked by
 * ourselves; parts of requests only. The engine is the simulated one with a probe inside; its clients are other joulets. */
#include "lib/platform/platform.h"
#include "llm/gguf/gguf.h"
#include "profile/counts.h"
#include "profile/ring.h"
#include "run/profile.h"
#include "tests/cli/profiled.h"
#include "tests/cli/program.h"

#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static struct server {
    pid_t pid;
    int port;
    char url[64], number[24], sim[700];
} server;

static void be_server(const char *port, const char *model)
{
    setenv("SIM_CURVE", scratch("curve"), 1);
    setenv("JOULET_PROBE_DIR", scratch("probes"), 1);
    execl(PROFILED_SERVER, "llama-server", "--port", port, "-m", model, "-np", "2", (char *)NULL);
    _exit(127);
}

static bool listens(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return ok;
}

static int begin(void **state)
{
    char port[16];
    if (scratch_open(state) != 0)
        return -1;
    tiny_model(NULL);
    mkdir(scratch("probes"), 0700);
    server.port = free_port();
    snprintf(port, sizeof port, "%d", server.port);
    snprintf(server.url, sizeof server.url, "http://127.0.0.1:%d", server.port);
    snprintf(server.sim, sizeof server.sim, "follow:%s;device=amdgpu-energy;period=20ms", scratch("curve"));
    server.pid = fork();
    if (server.pid == 0)
        be_server(port, scratch("tiny.gguf"));
    snprintf(server.number, sizeof server.number, "%d", (int)server.pid);
    for (int i = 0; i < 3000 && !listens(server.port); i++)
        usleep(20000);
    return listens(server.port) ? 0 : -1;
}

static int end(void **state)
{
    if (server.pid > 0) {
        kill(server.pid, SIGTERM);
        waitpid(server.pid, NULL, 0);
    }
    return scratch_close(state);
}

/* Its head tells the length of the rest. */
static void receive_answer(int fd)
{
    char text[65536];
    size_t n = 0, whole = 0;
    while (n + 1 < sizeof text && (!whole || n < whole)) {
        ssize_t got = recv(fd, text + n, sizeof text - 1 - n, 0);
        if (got <= 0)
            return;
        n += (size_t)got;
        text[n] = '\0';
        const char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "content-length:");
        if (body && !whole)
            whole = length ? (size_t)(body + 4 - text) + strtoul(length + 15, NULL, 10) : 1;
    }
}

/* A client that waits for its answer. */
static void ask(int tokens)
{
    struct sockaddr_in a = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)server.port)};
    char body[96], text[512];
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    int n = snprintf(body, sizeof body, "{\"prompt\": \"why is that so\", \"n_predict\": %d}", tokens);
    n = snprintf(text, sizeof text,
                 "POST /completion HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\n"
                 "Content-Length: %d\r\n\r\n%s",
                 n, body);
    assert_int_equal(send(fd, text, (size_t)n, MSG_NOSIGNAL), n);
    receive_answer(fd);
    close(fd);
}

static void read_profile(struct run_profile *p)
{
    profile_read("p.json", p);
    remove(scratch("p.json"));
}

static bool has_ended(struct program *p)
{
    siginfo_t info = {0};
    return waitid(P_PID, (id_t)p->pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == p->pid;
}

static void must_be_left_as_started(void)
{
    probe_must_be_as_started(scratch("probes"), server.pid);
}

static void must_note(const struct run_profile *p, const char *words)
{
    for (size_t i = 0; i < p->n_notes; i++)
        if (strstr(p->notes[i], words))
            return;
    fail_msg("no note has \"%s\"", words);
}

static double component_s(const struct run_profile *p, const char *name)
{
    struct run_profile_row sum = run_profile_sum(p, "decode", name, RUN_PROFILE_ALL_LAYERS);
    return sum.seconds;
}

/* ---- attached ---------------------------------------------------------------------------------------------------------- */

static void attach(struct program *p, const char *const *more)
{
    const char *args[24] = {"profile", "--attach",  server.number, "--sim", server.sim,       "--baseline",
                            "1s",      "--verbose", "--json",      "-o",    scratch("p.json")};
    for (size_t i = 0; more[i]; i++)
        args[11 + i] = more[i];
    *p = (struct program){0};
    program_start(p, args);
    program_until_err(p, "its clients may ask now");
}

/* Until there were turns of both kinds: a machine that is busy with others may keep the reader from being told in time. */
static void watch_clients(struct run_profile *r)
{
    for (int i = 0; i < 3; i++) {
        struct program p;
        attach(&p, ARGS("--requests", "5"));
        while (!has_ended(&p))
            ask(80);
        program_end(&p);
        if (p.code)
            fail_msg("%d: %s", p.code, kept(&p.err));
        program_release(&p);
        read_profile(r);
        if (component_s(r, "ffn") > 0)
            return;
        run_profile_release(r);
    }
    fail_msg("no component was seen");
}

/* Nothing is sent, so there is no loop, and a word on it: the rest's power with its interval, or no joules. */
static void must_tell_of_sampling(const struct run_profile *p)
{
    const struct run_profile_phase *x = run_profile_phase(p, "sample");
    bool said = false;
    assert_true(x && x->seconds > 0 && p->n_host == 0);
    for (size_t i = 0; i < p->n_notes; i++)
        said |= strstr(p->notes[i], "nothing is sent to an engine that is attached to") != NULL;
    bool known = !strcmp(x->power_of, "rest");
    assert_true(known ? x->joules_pm > 0 || x->limit_j >= 0 : isnan(x->joules) && isnan(x->joules_pm));
    assert_true(said);
}

static void its_clients_are_watched(void **state)
{
    struct run_profile r;
    (void)state;
    watch_clients(&r);
    const struct run_profile_phase *decode = run_profile_phase(&r, "decode");
    assert_true(decode && decode->tokens > 0 && decode->joules > 0);
    assert_string_not_equal(r.how.path, "stages");
    assert_true(fabs(component_s(&r, "ffn") / component_s(&r, "attention") - 3.0 / 2.4) < 0.05);
    assert_true(component_s(&r, "head") > 0 && component_s(&r, "ffn_norm") > 0);
    must_tell_of_sampling(&r);
    assert_non_null(run_pairs_get(&r.model, "layers")); /* from the file that its command line names */
    assert_string_equal(run_pairs_get(&r.engine, "started_by"), "user");
    must_be_left_as_started();
    run_profile_release(&r);
}

/* Bytes of weights that a step of decoding reads, of one sequence or of more. */
static double weight_bytes_of_a_step(void)
{
    struct gguf_model file;
    struct profile_shape s;
    struct profile_counts c;
    assert_int_equal(gguf_read_model(scratch("tiny.gguf"), &file, NULL), JOULET_OK);
    assert_int_equal(profile_shape_init(&s, &file, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(profile_counts_init(&c, &s, NULL), JOULET_OK);
    profile_count_decode(&c, &s, 8, 1, 1);
    double bytes = profile_counts_all(&c).weight_bytes;
    profile_counts_release(&c);
    profile_shape_release(&s);
    gguf_model_release(&file);
    return bytes;
}

/* Another client beside ask(), until it is killed. */
static pid_t ask_beside(void)
{
    pid_t child = fork();
    if (child == 0)
        for (;;)
            ask(80);
    return child;
}

/* Weights are read once for all sequences of a step: what is told of a step is not of a token. */
static void steps_of_two_clients(void **state)
{
    struct program p;
    struct run_profile r;
    double bytes;
    (void)state;
    attach(&p, ARGS("--requests", "4"));
    pid_t child = ask_beside();
    while (!has_ended(&p))
        ask(80);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    program_end(&p);
    if (p.code)
        fail_msg("%d: %s", p.code, kept(&p.err));
    read_profile(&r);
    const struct run_profile_phase *decode = run_profile_phase(&r, "decode");
    assert_true(decode->steps > 0 && (double)decode->steps < 0.9 * (double)decode->tokens); /* most steps are of both */
    assert_true(jl_parse_double(run_pairs_get(&r.engine, "step_weight_bytes"), &bytes));
    double truth = weight_bytes_of_a_step();
    if (fabs(bytes / truth - 1) > 0.5 / (double)decode->steps + 1e-9)
        fail_msg("%.6g bytes of weights in a step, not %.6g, and %lld tokens in %lld steps", bytes, truth,
                 (long long)decode->tokens, (long long)decode->steps);
    must_be_left_as_started();
    run_profile_release(&r);
    program_release(&p);
}

static void the_first_tokens_of_a_slot(void **state)
{
    struct program p;
    struct run_profile r;
    (void)state;
    attach(&p, ARGS("--slot", "0", "--first-tokens", "10", "--requests", "5"));
    while (!has_ended(&p))
        ask(40);
    program_end(&p);
    if (p.code)
        fail_msg("%d: %s", p.code, kept(&p.err));
    read_profile(&r);
    const struct run_profile_phase *decode = run_profile_phase(&r, "decode");
    assert_true(decode->tokens > 0 && decode->tokens <= 5 * 9);
    assert_true(r.how.slot == 0 && r.how.first_tokens == 10 && r.how.requests == 5);
    must_be_left_as_started();
    run_profile_release(&r);
    program_release(&p);
}

/* The second would take turns in the first one's: it is refused, asks nothing, and the first goes on. */
static void one_at_a_time(void **state)
{
    struct program first, second = {0};
    struct run_profile r;
    (void)state;
    attach(&first, ARGS("--requests", "3", "--first-tokens", "4"));
    program_run(&second, ARGS("profile", "--attach", server.number, "--sim", server.sim, "--duration", "1s"));
    assert_int_equal(second.code, 4);
    must_say(kept(&second.err), "another joulet is profiling this engine");
    while (!has_ended(&first))
        ask(40);
    program_end(&first);
    if (first.code)
        fail_msg("%d: %s", first.code, kept(&first.err));
    read_profile(&r);
    assert_true(run_profile_phase(&r, "decode")->tokens <= 3 * 3);
    must_note(&r, "tokens of answers that were seen: energies and times of decode are of so few");
    must_be_left_as_started();
    run_profile_release(&r);
    program_release(&first);
    program_release(&second);
}

static void a_slot_that_computes_nothing(void **state)
{
    struct program p;
    (void)state;
    attach(&p, ARGS("--slot", "1", "--duration", "2s"));
    while (!has_ended(&p))
        ask(8);
    program_end(&p);
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "slot 1 of process");
    program_release(&p);
}

/* Without an end it goes on until it is interrupted, and that is no failure. */
static void until_it_is_interrupted(void **state)
{
    struct program p;
    struct run_profile r;
    (void)state;
    attach(&p, (const char *[]){NULL});
    for (int i = 0; i < 4; i++)
        ask(80);
    kill(p.pid, SIGINT);
    program_end(&p);
    if (p.code)
        fail_msg("%d: %s", p.code, kept(&p.err));
    read_profile(&r);
    assert_true(run_profile_phase(&r, "decode")->tokens > 0);
    must_be_left_as_started();
    run_profile_release(&r);
    program_release(&p);
}

static void nothing_is_sent(void **state)
{
    struct program p;
    (void)state;
    attach(&p, ARGS("--duration", "1s"));
    program_end(&p);
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "computed too little to measure");
    program_release(&p);
}

/* While it waits for an idle level that takes too long: whoever ends that is not told of clients without a pause. */
static void wait_and_end(struct program *p, bool engine)
{
    *p = (struct program){0};
    program_start(p, ARGS("profile", "--attach", server.number, "--sim", server.sim, "--baseline", "10m", "--verbose"));
    program_until_err(p, "without a request, for the idle level");
    kill(engine ? server.pid : p->pid, engine ? SIGTERM : SIGINT);
    if (engine) {
        waitpid(server.pid, NULL, 0);
        server.pid = 0;
    }
    program_end(p);
    assert_null(strstr(kept(&p->err), "was never without a request"));
}

static void interrupted_before_it_began(void **state)
{
    struct program p;
    (void)state;
    wait_and_end(&p, false);
    assert_int_equal(p.code, 130);
    program_release(&p);
}

static void its_engine_ends(void **state)
{
    struct program p;
    (void)state;
    wait_and_end(&p, true);
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "ended before enough of it was seen to measure");
    program_release(&p);
}

/* ---- asked by ourselves ------------------------------------------------------------------------------------------------ */

static void an_engine_that_runs_with_the_probe(void **state)
{
    struct program p = {0};
    struct run_profile r;
    (void)state;
    program_run(&p, ARGS("profile", "--engine", server.url, "--pid", server.number, "--sim", server.sim, "--baseline", "1s",
                         "--requests", "1", "-n", "40", "--first-tokens", "12", "--level", "nodes", "--json", "-o",
                         scratch("p.json"), "why is that so"));
    if (p.code)
        fail_msg("%d: %s", p.code, kept(&p.err));
    read_profile(&r);
    assert_string_not_equal(r.how.path, "stages");
    assert_int_equal(run_profile_phase(&r, "decode")->tokens, 11);
    assert_true(r.how.slot == -1 && r.how.first_tokens == 12 && r.how.requests == -1);
    static const char level[] = "was started at level components, and stays there: for nodes start the engine with";
    must_say(kept(&p.err), level);
    must_note(&r, level);
    assert_true(component_s(&r, "ffn") > 0);
    must_be_left_as_started();
    run_profile_release(&r);
    program_release(&p);
}

/* ---- wrong uses -------------------------------------------------------------------------------------------------------- */

static void wrong_uses_start_nothing(void **state)
{
    char self[24];
    pid_t other = fork(); /* no probe in it, and no engine below it */
    if (other == 0)
        for (;;)
            pause();
    snprintf(self, sizeof self, "%d", (int)other);
    const struct {
        const char *args[6];
        int code;
        const char *says;
    } rows[] = {
        {{"--attach", "x"}, 2, "neither the number of a process nor a URL"},
        {{"--attach", "0"}, 2, "does not run"},
        {{"--attach", self}, 4, "runs without the probe: start the engine by joulet, or as JOULET_PROBE_DIR="},
        {{"--attach", self, "hello"}, 2, "nothing is sent"},
        {{"--attach", self, "--engine", server.url}, 2, "--engine does not go with --attach"},
        {{"--attach", self, "--level", "nodes"}, 2, "--level does not go with --attach"},
        {{"--attach", self, "-n", "4"}, 2, "--max-tokens does not go with --attach"},
        {{"--attach", self, "--slot", "-1"}, 2, "--slot"},
        {{"--slot", "1"}, 2, "--slot needs --attach"},
        {{"--first-tokens", "1"}, 2, "--first-tokens"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        const char *args[10] = {"profile", "--sim", "1"};
        memcpy(args + 3, rows[i].args, sizeof rows[i].args);
        program_run(&p, args);
        if (p.code != rows[i].code)
            fail_msg("row %zu: %d: %s", i, p.code, kept(&p.err));
        must_say(kept(&p.err), rows[i].says);
        program_release(&p);
    }
    kill(other, SIGKILL);
    waitpid(other, NULL, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(its_clients_are_watched),
        cmocka_unit_test(steps_of_two_clients),
        cmocka_unit_test(the_first_tokens_of_a_slot),
        cmocka_unit_test(one_at_a_time),
        cmocka_unit_test(a_slot_that_computes_nothing),
        cmocka_unit_test(until_it_is_interrupted),
        cmocka_unit_test(nothing_is_sent),
        cmocka_unit_test(an_engine_that_runs_with_the_probe),
        cmocka_unit_test(wrong_uses_start_nothing),
        cmocka_unit_test(interrupted_before_it_began),
        cmocka_unit_test(its_engine_ends), /* and serves no other test */
    };
    return cmocka_run_group_tests(tests, begin, end);
}
