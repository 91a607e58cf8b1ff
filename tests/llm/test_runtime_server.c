/* A server of ours from its command line to its end, with a stand-in for llama-server: what it is given, every way it fails with
 * its sentence, and that nothing we started stays. Where a test waits, it waits for an end that would otherwise be minutes away.
 */
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"
#include "llm/runtime_private.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char model[256];

static int begin(void **state)
{
    struct gguf_shape s;
    if (scratch_open(state) != 0)
        return -1;
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    snprintf(model, sizeof(model), "%s/model.gguf", scratch);
    return gguf_shape_find("tiny", &s, NULL) == JOULET_OK && gguf_write(model, &s, GGUF_Q4_0, 1, NULL, NULL, NULL) == JOULET_OK
               ? 0
               : -1;
}

static struct runtime_start plain(void)
{
    return (struct runtime_start){.program = FAKE_SERVER, .model = model, .context_length = -1, .gpu_layers = -1};
}

static struct runtime_start faking(const char *const *option)
{
    struct runtime_start how = plain();
    how.options = option;
    how.n_options = 1;
    return how;
}

static void started(struct runtime_server *s, const struct runtime_start *how)
{
    struct joulet_error err;
    if (runtime_server_start(s, how, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void read_log(const struct runtime_server *s, struct jl_buf *b)
{
    jl_buf_init(b, 1 << 20);
    assert_int_equal(jl_read_file(s->log, b, NULL), JOULET_OK);
}

static bool has_arguments(const struct jl_buf *log, const char *a, const char *b)
{
    char lines[8192];
    snprintf(lines, sizeof(lines), "argument %s\nargument %s\n", a, b);
    return strstr(log->data, lines) != NULL;
}

/* True when the process is gone or only waits to be reaped by whoever inherited it. */
static bool gone(int64_t pid)
{
    for (int i = 0; i < 18000 && runtime_process_start(pid) >= 0; i++)
        usleep(10000);
    return runtime_process_start(pid) < 0;
}

/* ---- what it is given -------------------------------------------------------------------------------------------- */

static void command_line(void **state)
{
    static const char *const options[] = {"flash-attn=off", "no-warmup"};
    struct runtime_server s;
    struct jl_buf log;
    char port[16], folder[4096], real[4096];
    (void)state;
    struct runtime_start how = plain();
    how.context_length = 512;
    how.threads = 3;
    how.parallel = 2;
    how.gpu_layers = 5;
    how.options = options;
    how.n_options = 2;
    started(&s, &how);
    read_log(&s, &log);
    snprintf(port, sizeof(port), "%d", s.port);
    assert_non_null(realpath(model, real));
    assert_true(has_arguments(&log, "-m", real));
    assert_true(has_arguments(&log, "--host", "127.0.0.1"));
    assert_true(has_arguments(&log, "--port", port));
    assert_true(has_arguments(&log, "-t", "3"));
    assert_true(has_arguments(&log, "-np", "2"));
    assert_true(has_arguments(&log, "-c", "1024")); /* 512 for each of two */
    assert_true(has_arguments(&log, "-ngl", "5"));
    assert_true(has_arguments(&log, "--flash-attn", "off"));
    assert_true(has_arguments(&log, "--no-warmup", "-m"));
    /* Everybody can read a command line: the key is not in it. */
    assert_int_equal(strlen(s.key), 64);
    assert_null(strstr(log.data, s.key));
    snprintf(folder, sizeof(folder), "folder %.*s\n", (int)(strrchr(FAKE_SERVER, '/') - FAKE_SERVER), FAKE_SERVER);
    assert_non_null(strstr(log.data, folder));
    jl_buf_release(&log);
    runtime_server_stop(&s);
}

static void defaults(void **state)
{
    struct runtime_server s;
    struct runtime_start how = plain();
    struct jl_buf log;
    (void)state;
    started(&s, &how);
    read_log(&s, &log);
    assert_true(has_arguments(&log, "-c", "4096"));
    assert_true(has_arguments(&log, "-np", "1"));
    assert_null(strstr(log.data, "argument -ngl"));
    assert_true(s.t_spawn_ns > 0 && s.t_ready_ns > s.t_spawn_ns);
    jl_buf_release(&log);
    runtime_server_stop(&s);
}

static void answers_only_who_has_the_key(void **state)
{
    struct runtime_server s, other;
    struct runtime_start how = plain();
    struct engine *e;
    (void)state;
    started(&s, &how);
    started(&other, &how);
    assert_string_not_equal(s.key, other.key);
    assert_int_equal(engine_open(&e, s.url, s.key, NULL, NULL), JOULET_OK);
    assert_string_equal(e->info.model, "model");
    engine_close(e);
    assert_int_equal(engine_open(&e, s.url, other.key, NULL, NULL), JOULET_PERMISSION);
    assert_int_equal(engine_open(&e, s.url, NULL, NULL, NULL), JOULET_PERMISSION);
    runtime_server_stop(&other);
    runtime_server_stop(&s);
}

static void options_of_ours_are_refused(void **state)
{
    static const struct {
        const char *option, *says;
    } rows[] = {{"host=0.0.0.0", "joulet chooses"},
                {"port=1", "joulet chooses"},
                {"api-key=x", "joulet chooses"},
                {"ctx-size=9", "use --context"},
                {"threads=9", "use --threads"},
                {"=x", "KEY=VALUE"},
                {"a b=x", "KEY=VALUE"},
                {"--x=1", "KEY=VALUE"},
                {"X=1", "KEY=VALUE"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct runtime_server s;
        struct joulet_error err;
        struct runtime_start how = faking(&rows[i].option);
        assert_int_equal(runtime_server_start(&s, &how, &err), JOULET_USAGE);
        assert_says(err.message, rows[i].says);
    }
}

/* ---- how it fails ------------------------------------------------------------------------------------------------ */

static void failures_say_why(void **state)
{
    static const struct {
        const char *option, *says, *words;
    } rows[] = {
        {"fake=memory", "not enough memory", "std::bad_alloc"},
        {"fake=architecture", "does not know that kind of model", "unknown model architecture: 'zlama'"},
        {"fake=strange", "could not serve", "an error of its own kind"},
        {"fake=silent", "could not serve", "folder"},
        {"fake=mute", "without a word", "with code 1"},
        {"fake=killed", "probably because memory ran out", ""},
        {"fake=port", "another program took the port", "couldn't bind"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct runtime_server s;
        struct joulet_error err;
        struct runtime_start how = faking(&rows[i].option);
        assert_int_equal(runtime_server_start(&s, &how, &err), JOULET_ENGINE);
        assert_says(err.message, rows[i].says);
        assert_says(err.message, rows[i].words);
        assert_true(s.process.ended);
        assert_int_equal(access(scratch_path("joulet/llama-server.failed.log"), R_OK), 0); /* kept for who wants to read on */
    }
}

static void a_port_that_was_taken_is_tried_again(void **state)
{
    struct runtime_server s;
    char option[300];
    (void)state;
    snprintf(option, sizeof(option), "fake=once:%s", scratch_path("mark"));
    const char *options[] = {option};
    struct runtime_start how = faking(options);
    started(&s, &how);
    runtime_server_stop(&s);
}

static void wrong_models_and_programs(void **state)
{
    static const struct {
        const char *program, *model;
        enum joulet_status status;
        const char *says;
    } rows[] = {
        {FAKE_SERVER, "nothing.gguf", JOULET_USAGE, "no such file"},
        {FAKE_SERVER, "text.gguf", JOULET_USAGE, "not a GGUF file"},
        {"/no/such/server", "model.gguf", JOULET_NOT_FOUND, "no program"},
        {"no-such-server", "model.gguf", JOULET_NOT_FOUND, "no program"},
        {NULL, "model.gguf", JOULET_NOT_FOUND, "no program"}, /* a file that may not be run */
    };
    (void)state;
    scratch_write("text.gguf", "text", 4);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct runtime_server s;
        struct joulet_error err;
        struct runtime_start how = plain();
        how.program = rows[i].program ? rows[i].program : scratch_path("text.gguf");
        how.model = scratch_path(rows[i].model);
        assert_int_equal(runtime_server_start(&s, &how, &err), rows[i].status);
        assert_says(err.message, rows[i].says);
    }
}

static void loading_can_be_interrupted(void **state)
{
    static atomic_bool cancel = true;
    static const char *const hang[] = {"fake=hang"};
    struct runtime_server s;
    struct joulet_error err;
    struct runtime_start how = faking(hang);
    (void)state;
    how.cancel = &cancel;
    assert_int_equal(runtime_server_start(&s, &how, &err), JOULET_CANCELLED);
    assert_true(s.process.ended);
}

/* Ctrl-C and the end of the server may come in either order. */
static void a_server_that_ended_with_us_was_interrupted(void **state)
{
    static atomic_bool cancel = true;
    static const char *const dead[] = {"fake=strange"};
    struct runtime_server s;
    struct joulet_error err;
    struct runtime_start how = faking(dead);
    (void)state;
    how.cancel = &cancel;
    assert_int_equal(runtime_server_start(&s, &how, &err), JOULET_CANCELLED);
    assert_says(err.message, "interrupted");
}

static void slow_loading_is_waited_for(void **state)
{
    static const char *const slow[] = {"fake=slow"};
    struct runtime_server s;
    struct runtime_start how = faking(slow);
    (void)state;
    started(&s, &how);
    assert_true(s.t_ready_ns - s.t_spawn_ns >= 200000000); /* what it said: 503 for 0.2 s */
    runtime_server_stop(&s);
}

/* ---- how it ends ------------------------------------------------------------------------------------------------- */

static void stopped_without_a_trace(void **state)
{
    struct runtime_server s;
    struct runtime_start how = plain();
    (void)state;
    started(&s, &how);
    int64_t pid = s.process.pid;
    char *log = jl_strdup(s.log);
    runtime_server_stop(&s);
    assert_true(gone(pid));
    assert_int_not_equal(access(log, F_OK), 0);
    assert_null(s.log);
    runtime_server_stop(&s); /* twice does no harm */
    free(log);
}

static void ends_with_us(void **state)
{
    int ends[2];
    int64_t server = 0;
    (void)state;
    assert_int_equal(pipe(ends), 0);
    pid_t us = fork();
    if (us == 0) {
        struct runtime_server s;
        struct runtime_start how = plain();
        int64_t pid = runtime_server_start(&s, &how, NULL) == JOULET_OK ? s.process.pid : -1;
        ssize_t n = write(ends[1], &pid, sizeof(pid));
        for (;;)
            (void)n, pause();
    }
    assert_int_equal(read(ends[0], &server, sizeof(server)), sizeof(server));
    assert_true(server > 0);
    kill(us, SIGKILL);
    waitpid(us, NULL, 0);
    assert_true(gone(server));
    close(ends[0]);
    close(ends[1]);
}

/* ---- in the background ------------------------------------------------------------------------------------------- */

static void background_is_found_again(void **state)
{
    struct runtime_server s, found, second;
    struct runtime_start how = plain();
    struct joulet_error err;
    struct stat st;
    (void)state;
    assert_int_equal(runtime_background(&found, &err), JOULET_NOT_FOUND);
    assert_says(err.message, "joulet engine start");
    how.background = true;
    started(&s, &how);
    assert_int_equal(stat(scratch_path("joulet/engine.json"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600); /* it holds the key */
    assert_int_equal(runtime_background(&found, &err), JOULET_OK);
    assert_int_equal(found.process.pid, s.process.pid);
    assert_string_equal(found.key, s.key);
    assert_string_equal(found.url, s.url);
    assert_string_equal(found.model, s.model);
    assert_false(found.private_engine);
    assert_int_equal(runtime_server_start(&second, &how, &err), JOULET_BUSY);
    assert_says(err.message, "joulet engine stop");
    runtime_server_release(&found);
    int64_t pid = s.process.pid;
    runtime_server_release(&s);
    assert_int_equal(runtime_background_stop(&err), JOULET_OK);
    assert_true(gone(pid));
    assert_int_equal(runtime_background_stop(&err), JOULET_NOT_FOUND);
    assert_int_not_equal(access(scratch_path("joulet/engine.json"), F_OK), 0);
}

static void background_that_died_is_forgotten(void **state)
{
    struct runtime_server s, found;
    struct runtime_start how = plain();
    (void)state;
    how.background = true;
    started(&s, &how);
    kill((pid_t)s.process.pid, SIGKILL);
    assert_true(gone(s.process.pid));
    assert_int_equal(runtime_background(&found, NULL), JOULET_NOT_FOUND);
    assert_int_not_equal(access(scratch_path("joulet/engine.json"), F_OK), 0);
    assert_true(jl_process_wait(&s.process, -1));
    runtime_server_release(&s);
}

/* A file that names another process by a reused number, or nonsense, never ends anything. */
static void foreign_states_are_not_believed(void **state)
{
    static const char form[] =
        "{\"pid\": %lld, \"process_start\": %lld, \"port\": 1, \"url\": \"http://127.0.0.1:1\", \"key\": \"k\", "
        "\"log\": \"/l\", \"model\": \"/m\", \"private_engine\": false}";
    char texts[5][512] = {"", "nonsense", "{}", "[1, 2]"};
    (void)state;
    snprintf(texts[4], sizeof(texts[4]), form, (long long)getpid(), 1LL);
    for (size_t i = 0; i < JL_COUNT(texts); i++) {
        struct runtime_server s;
        scratch_write("joulet/engine.json", texts[i], strlen(texts[i]));
        assert_int_equal(runtime_background(&s, NULL), JOULET_NOT_FOUND);
        assert_int_equal(runtime_background_stop(NULL), JOULET_NOT_FOUND);
    }
    assert_true(runtime_process_start(getpid()) > 1); /* we are still here, and began at another time */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(command_line),
        cmocka_unit_test(defaults),
        cmocka_unit_test(answers_only_who_has_the_key),
        cmocka_unit_test(options_of_ours_are_refused),
        cmocka_unit_test(failures_say_why),
        cmocka_unit_test(a_port_that_was_taken_is_tried_again),
        cmocka_unit_test(wrong_models_and_programs),
        cmocka_unit_test(loading_can_be_interrupted),
        cmocka_unit_test(a_server_that_ended_with_us_was_interrupted),
        cmocka_unit_test(slow_loading_is_waited_for),
        cmocka_unit_test(stopped_without_a_trace),
        cmocka_unit_test(ends_with_us),
        cmocka_unit_test(background_is_found_again),
        cmocka_unit_test(background_that_died_is_forgotten),
        cmocka_unit_test(foreign_states_are_not_believed),
    };
    return cmocka_run_group_tests(tests, begin, scratch_close);
}
