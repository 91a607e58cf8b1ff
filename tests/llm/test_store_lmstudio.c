/* "lmstudio:NAME": folders as LM Studio lays them out, in the usual place, an older one and one that its settings name. */
#include "llm/runtime_private.h"
#include "tests/llm/scratch.h"

static const char *const files[] = {
    "lmstudio-community/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf",
    "lmstudio-community/gemma-3-4b-it-GGUF/gemma-3-4b-it-Q4_K_M.gguf",
    "lmstudio-community/gemma-3-4b-it-GGUF/mmproj-model-f16.gguf",
    "bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q4_0.gguf",
    "bartowski/Llama-3.2-1B-Instruct-GGUF/Llama-3.2-1B-Instruct-Q8_0.gguf",
    "unsloth/big-GGUF/big-Q4-00001-of-00003.gguf",
    "unsloth/big-GGUF/big-Q4-00002-of-00003.gguf",
    "unsloth/big-GGUF/big-Q4-00003-of-00003.gguf",
    "mlx-community/Phi-4-4bit/model.safetensors",
};

static const struct {
    const char *name;
    size_t file;
    const char *says; /* NULL: it is found */
} rows[] = {
    {"lmstudio:lmstudio-community/Qwen3-4B-GGUF", 0, NULL},
    {"lmstudio:lmstudio-community/qwen3-4b", 0, NULL},
    {"lmstudio:qwen/qwen3-4b", 0, NULL}, /* LM Studio's own key */
    {"lmstudio:Qwen3-4B-Q4_K_M", 0, NULL},
    {"lmstudio:lmstudio-community/Qwen3-4B-GGUF/Qwen3-4B-Q4_K_M.gguf", 0, NULL},
    {"lmstudio:gemma-3-4b-it", 1, NULL},
    {"lmstudio:Llama-3.2-1B-Instruct-Q8_0.gguf", 4, NULL},
    {"lmstudio:big", 5, NULL},
    {"lmstudio:Llama-3.2-1B-Instruct", 0, "keeps 2 files of 'Llama-3.2-1B-Instruct': name one"},
    {"lmstudio:mlx-community/Phi-4-4bit", 0, "is an MLX model"},
    {"lmstudio:absent", 0, "keeps no model 'absent'"},
    {"lmstudio:../../etc", 0, "keeps no model"},
    {"lmstudio:", 0, "is no name of a model"},
    {"lmstudio:x/", 0, "is no name of a model"},
};

static void lay_out(const char *models)
{
    char name[256];
    for (size_t i = 0; i < JL_COUNT(files); i++) {
        snprintf(name, sizeof name, "%s/%s", models, files[i]);
        scratch_write(name, "GGUF", 4);
    }
}

static void check_all(const char *models)
{
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char *path, expected[1024];
        struct joulet_error err = {.status = JOULET_OK};
        enum joulet_status status = runtime_store_find(rows[i].name, &path, &err);
        snprintf(expected, sizeof expected, "%s/%s", scratch_path(models), files[rows[i].file]);
        if (rows[i].says ? status != JOULET_USAGE || !strstr(err.message, rows[i].says) || path
                         : status != JOULET_OK || strcmp(path, expected) != 0)
            fail_msg("%s: %s, \"%s\", %s", rows[i].name, joulet_status_text(status), err.message, path ? path : "no path");
        free(path);
    }
}

static void nothing_there(void **state)
{
    char *path;
    struct joulet_error err;
    (void)state;
    setenv("HOME", scratch, 1);
    assert_int_equal(runtime_store_find("lmstudio:x", &path, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "keeps no models on this machine"));
}

static void in_the_older_home(void **state)
{
    (void)state;
    lay_out(".cache/lm-studio/models");
    check_all(".cache/lm-studio/models");
}

static void where_the_settings_say(void **state)
{
    char settings[256];
    (void)state;
    lay_out("disk/models");
    snprintf(settings, sizeof settings, "{\"downloadsFolder\":\"%s/disk/models\"}", scratch);
    scratch_write("studio/settings.json", settings, strlen(settings));
    snprintf(settings, sizeof settings, "%s/studio\n", scratch);
    scratch_write(".lmstudio-home-pointer", settings, strlen(settings));
    check_all("disk/models");
    scratch_write("studio/settings.json", "{\"downloadsFolder\":", 19); /* damaged: the usual folder */
    lay_out("studio/models");
    check_all("studio/models");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_there),
        cmocka_unit_test(in_the_older_home),
        cmocka_unit_test(where_the_settings_say),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
