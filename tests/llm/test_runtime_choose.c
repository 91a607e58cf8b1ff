/* Which engine is taken: the named one, ours in the background, or one that is started, and never one without the model asked
 * for. */
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"
#include "llm/runtime_private.h"
#include "tests/sim_engine/sim_engine.h"

#include <unistd.h>

static void write_model(const char *name)
{
    struct gguf_shape s;
    char *dir = runtime_models_dir(NULL), *path = jl_strf("%s/%s", dir, name);
    assert_int_equal(gguf_shape_find("tiny", &s, NULL), JOULET_OK);
    assert_int_equal(gguf_write(path, &s, GGUF_Q4_0, 1, NULL, NULL, NULL), JOULET_OK);
    free(path);
    free(dir);
}

static int begin(void **state)
{
    if (scratch_open(state) != 0)
        return -1;
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    unsetenv("JOULET_ENGINE_KEY");
    return 0;
}

/* A folder on PATH in which llama-server is the stand-in, or is not. */
static void set_path(bool with_server)
{
    assert_int_equal(jl_make_dirs(scratch_path("bin"), NULL), JOULET_OK);
    unlink(scratch_path("bin/llama-server"));
    if (with_server)
        assert_int_equal(symlink(FAKE_SERVER, scratch_path("bin/llama-server")), 0);
    setenv("PATH", scratch_path("bin"), 1);
}

static int no_models(void **state)
{
    (void)state;
    runtime_remove_tree(scratch_path("joulet/models"));
    set_path(false);
    return 0;
}

static const struct runtime_start how = {.context_length = -1, .gpu_layers = -1};

static struct sim_engine *engine_at(char url[64], struct sim_config *c)
{
    struct joulet_error err;
    struct sim_engine *e = sim_engine_start(c, &err);
    if (!e)
        fail_msg("%s", err.message);
    snprintf(url, 64, "http://127.0.0.1:%d", sim_engine_port(e));
    return e;
}

static void choose(struct runtime_choice *c, const char *engine, const char *model)
{
    struct joulet_error err;
    if (runtime_choose(c, engine, model, &how, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

/* ---- an address -------------------------------------------------------------------------------------------------- */

static void address_with_and_without_a_model(void **state)
{
    static const struct {
        const char *model;
        enum joulet_status status;
    } rows[] = {{NULL, JOULET_OK},
                {"sim-model", JOULET_OK},
                {"sim-model.gguf", JOULET_OK},
                {"/elsewhere/sim-model.gguf", JOULET_USAGE},
                {"other", JOULET_NOT_FOUND},
                {"", JOULET_USAGE}};
    struct sim_config config;
    char url[64];
    (void)state;
    sim_config_init(&config);
    struct sim_engine *e = engine_at(url, &config);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct runtime_choice c;
        struct joulet_error err;
        assert_int_equal(runtime_choose(&c, url, rows[i].model, &how, &err), rows[i].status);
        if (rows[i].status == JOULET_OK) {
            assert_string_equal(c.engine->url, url);
            assert_false(c.started);
            assert_null(c.model); /* the loaded one */
            runtime_choice_release(&c);
        }
        assert_null(c.engine);
    }
    struct runtime_choice c;
    choose(&c, url + strlen("http://"), NULL); /* as people write it */
    runtime_choice_release(&c);
    sim_engine_stop(e);
}

static void a_file_that_the_named_engine_lacks_is_refused(void **state)
{
    struct sim_config config;
    struct runtime_choice c;
    struct joulet_error err;
    char url[64];
    (void)state;
    sim_config_init(&config);
    struct sim_engine *e = engine_at(url, &config);
    write_model("mine.gguf");
    assert_int_equal(runtime_choose(&c, url, "mine", &how, &err), JOULET_NOT_FOUND);
    assert_says(err.message, "does not have the model mine");
    sim_engine_stop(e);
}

static void its_key_comes_from_the_caller_or_the_environment(void **state)
{
    struct sim_config config;
    struct runtime_choice c;
    struct runtime_start keyed = how;
    char url[64];
    (void)state;
    sim_config_init(&config);
    config.key = "secret";
    struct sim_engine *e = engine_at(url, &config);
    assert_int_equal(runtime_choose(&c, url, NULL, &how, NULL), JOULET_PERMISSION);
    keyed.key = "secret";
    assert_int_equal(runtime_choose(&c, url, NULL, &keyed, NULL), JOULET_OK);
    runtime_choice_release(&c);
    setenv("JOULET_ENGINE_KEY", "secret", 1);
    choose(&c, url, NULL);
    runtime_choice_release(&c);
    keyed.key = "wrong";
    assert_int_equal(runtime_choose(&c, url, NULL, &keyed, NULL), JOULET_PERMISSION);
    unsetenv("JOULET_ENGINE_KEY");
    sim_engine_stop(e);
}

static void a_loading_engine_is_waited_for(void **state)
{
    struct sim_config config;
    struct runtime_choice c;
    char url[64];
    (void)state;
    sim_config_init(&config);
    sim_config_fault(&config, "loading:0.2");
    struct sim_engine *e = engine_at(url, &config);
    choose(&c, url, "sim-model");
    assert_false(c.engine->info.loading);
    runtime_choice_release(&c);
    sim_engine_stop(e);
}

static void nobody_there(void **state)
{
    struct runtime_choice c;
    struct joulet_error err;
    (void)state;
    assert_int_equal(runtime_choose(&c, "http://127.0.0.1:1", NULL, &how, &err), JOULET_UNREACHABLE);
    assert_int_equal(runtime_choose(&c, "no-such-engine", NULL, &how, &err), JOULET_NOT_FOUND);
}

/* ---- a program --------------------------------------------------------------------------------------------------- */

static void a_program_is_started_with_the_only_model(void **state)
{
    struct runtime_choice c;
    struct joulet_error err;
    (void)state;
    assert_int_equal(runtime_choose(&c, FAKE_SERVER, NULL, &how, &err), JOULET_NOT_FOUND);
    assert_says(err.message, "joulet model make");
    write_model("one.gguf");
    choose(&c, FAKE_SERVER, NULL);
    assert_true(c.started);
    assert_string_equal(c.engine->info.model, "one");
    assert_string_equal(c.model_file, scratch_path("joulet/models/one.gguf"));
    int64_t pid = c.server.process.pid;
    runtime_choice_release(&c);
    assert_true(runtime_process_start(pid) < 0);
    write_model("two.gguf");
    assert_int_equal(runtime_choose(&c, FAKE_SERVER, NULL, &how, &err), JOULET_USAGE);
    assert_says(err.message, "one.gguf, two.gguf");
    choose(&c, FAKE_SERVER, "two");
    assert_string_equal(c.engine->info.model, "two");
    runtime_choice_release(&c);
    assert_int_equal(runtime_choose(&c, FAKE_SERVER, "three", &how, &err), JOULET_USAGE);
    assert_says(err.message, "three");
}

static void the_private_one_must_be_installed(void **state)
{
    struct runtime_choice c;
    struct joulet_error err;
    (void)state;
    write_model("one.gguf");
    assert_int_equal(runtime_choose(&c, "private", "one", &how, &err), JOULET_NOT_FOUND);
    assert_says(err.message, "joulet engine install");
    assert_null(c.model_file);
}

/* ---- the default ------------------------------------------------------------------------------------------------- */

static void ours_in_the_background_comes_first(void **state)
{
    struct runtime_server s;
    struct runtime_choice c;
    struct joulet_error err;
    (void)state;
    write_model("unlikely-name.gguf");
    write_model("another-name.gguf");
    set_path(true);
    struct runtime_start start = how;
    start.model = scratch_path("joulet/models/unlikely-name.gguf");
    start.background = true;
    if (runtime_server_start(&s, &start, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    choose(&c, NULL, NULL);
    assert_string_equal(c.engine->url, s.url);
    assert_false(c.started);
    runtime_choice_release(&c);
    /* Another file is loaded by a server of its own, found on PATH; the first stays. */
    choose(&c, NULL, "another-name");
    assert_true(c.started);
    assert_string_not_equal(c.engine->url, s.url);
    assert_string_equal(c.engine->info.model, "another-name");
    runtime_choice_release(&c);
    assert_true(runtime_process_start(s.process.pid) > 0);
    runtime_server_release(&s);
    assert_int_equal(runtime_background_stop(&err), JOULET_OK);
}

static void a_file_is_served_by_what_is_on_path(void **state)
{
    struct runtime_choice c;
    struct joulet_error err;
    (void)state;
    write_model("unlikely-name.gguf");
    assert_int_equal(runtime_choose(&c, NULL, "unlikely-name", &how, &err), JOULET_NOT_FOUND);
    assert_says(err.message, "no llama-server on PATH and no private llama.cpp");
    set_path(true);
    choose(&c, NULL, scratch_path("joulet/models/unlikely-name.gguf"));
    assert_true(c.started);
    assert_false(c.server.private_engine);
    runtime_choice_release(&c);
    assert_int_equal(runtime_choose(&c, NULL, "/no/such/file.gguf", &how, &err), JOULET_USAGE);
    assert_says(err.message, "/no/such/file.gguf");
    assert_int_equal(runtime_choose(&c, NULL, "a model nobody has", &how, &err), JOULET_USAGE);
    assert_says(err.message, "a model nobody has");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(address_with_and_without_a_model, no_models),
        cmocka_unit_test_setup(a_file_that_the_named_engine_lacks_is_refused, no_models),
        cmocka_unit_test_setup(its_key_comes_from_the_caller_or_the_environment, no_models),
        cmocka_unit_test_setup(a_loading_engine_is_waited_for, no_models),
        cmocka_unit_test_setup(nobody_there, no_models),
        cmocka_unit_test_setup(a_program_is_started_with_the_only_model, no_models),
        cmocka_unit_test_setup(the_private_one_must_be_installed, no_models),
        cmocka_unit_test_setup(ours_in_the_background_comes_first, no_models),
        cmocka_unit_test_setup(a_file_is_served_by_what_is_on_path, no_models),
    };
    return cmocka_run_group_tests(tests, begin, scratch_close);
}
