/* "ollama:NAME": manifests as Ollama writes them, good and bad, in a folder of the test's own. */
#include "llm/runtime_private.h"
#include "tests/llm/scratch.h"

#define HEX    "1111111111111111111111111111111111111111111111111111111111111111"
#define ABSENT "2222222222222222222222222222222222222222222222222222222222222222"
#define LAYER(kind, digest)                                                                                                      \
    "{\"mediaType\":\"application/vnd.ollama.image." kind "\",\"digest\":\"sha256:" digest "\",\"size\":4}"
#define MANIFEST(layers)                                                                                                         \
    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.docker.distribution.manifest.v2+json\",\"layers\":[" layers "]}"

static const struct {
    const char *path, *text;
} files[] = {
    {"registry.ollama.ai/library/good/latest", MANIFEST(LAYER("template", ABSENT) "," LAYER("model", HEX))},
    {"registry.ollama.ai/library/good/1b-q4_0", MANIFEST(LAYER("model", HEX))},
    {"registry.ollama.ai/me/mine/latest", MANIFEST(LAYER("model", HEX))},
    {"127.0.0.1:5000/ns/m/latest", MANIFEST(LAYER("model", HEX))},
    {"hf.co/them/theirs-GGUF/Q8_0", MANIFEST(LAYER("model", HEX) "," LAYER("projector", ABSENT))},
    {"registry.ollama.ai/library/adapter/latest", MANIFEST(LAYER("model", HEX) "," LAYER("adapter", HEX))},
    {"registry.ollama.ai/library/split/latest", MANIFEST(LAYER("model", HEX) "," LAYER("model", ABSENT))},
    {"registry.ollama.ai/library/tensors/latest", MANIFEST(LAYER("tensor", HEX) "," LAYER("tensor", ABSENT))},
    {"registry.ollama.ai/library/cloud/latest", MANIFEST("")},
    {"registry.ollama.ai/library/gone/latest", MANIFEST(LAYER("model", ABSENT))},
    {"registry.ollama.ai/library/damaged/latest", "{\"layers\":["},
    {"registry.ollama.ai/library/escape/latest",
     MANIFEST(
         "{\"mediaType\":\"application/vnd.ollama.image.model\",\"digest\":\"sha256:../../../../../../../../../../../../../../"
         "../../etc/hostname\"}")},
};

static const struct {
    const char *name;
    enum joulet_status status;
    const char *says; /* NULL: it is found */
} rows[] = {
    {"ollama:good", JOULET_OK, NULL},
    {"ollama:good:latest", JOULET_OK, NULL},
    {"ollama:good:1b-q4_0", JOULET_OK, NULL},
    {"ollama:library/good", JOULET_OK, NULL},
    {"ollama:me/mine", JOULET_OK, NULL},
    {"ollama:hf.co/them/theirs-GGUF:Q8_0", JOULET_OK, NULL},
    {"ollama:registry.ollama.ai/me/mine:latest", JOULET_OK, NULL},
    {"ollama:127.0.0.1:5000/ns/m", JOULET_OK, NULL},
    {"ollama:127.0.0.1:5000/ns/m:latest", JOULET_OK, NULL},
    {"ollama:127.0.0.1:5001/ns/m", JOULET_NOT_FOUND, "keeps no model 127.0.0.1:5001/ns/m"},
    {"ollama:good:7b", JOULET_NOT_FOUND, "keeps no model good:7b"},
    {"ollama:absent", JOULET_NOT_FOUND, "`ollama list` names"},
    {"ollama:adapter", JOULET_UNSUPPORTED, "is an adapter upon another model"},
    {"ollama:split", JOULET_UNSUPPORTED, "in several files"},
    {"ollama:tensors", JOULET_UNSUPPORTED, "in several files"},
    {"ollama:cloud", JOULET_UNSUPPORTED, "has no weights on this machine"},
    {"ollama:gone", JOULET_NOT_FOUND, "pull it again"},
    {"ollama:damaged", JOULET_FORMAT, "no manifest in the known form"},
    {"ollama:escape", JOULET_UNSUPPORTED, "has no weights"},
    {"ollama:", JOULET_USAGE, "is no name of an Ollama model"},
    {"ollama:../../etc/passwd", JOULET_USAGE, "is no name of an Ollama model"},
    {"ollama:a/../b/c", JOULET_USAGE, "is no name of an Ollama model"},
    {"ollama:a//b", JOULET_USAGE, "is no name of an Ollama model"},
    {"ollama:a/b/c/d", JOULET_USAGE, "is no name of an Ollama model"},
    {"ollama:a:b:c", JOULET_USAGE, "is no name of an Ollama model"},
    {"ollama:a b", JOULET_USAGE, "is no name of an Ollama model"},
};

static void lay_out(const char *models)
{
    char name[256];
    for (size_t i = 0; i < JL_COUNT(files); i++) {
        snprintf(name, sizeof name, "%s/manifests/%s", models, files[i].path);
        scratch_write(name, files[i].text, strlen(files[i].text));
    }
    snprintf(name, sizeof name, "%s/blobs/sha256-" HEX, models);
    scratch_write(name, "GGUF", 4);
}

static void check_all(const char *models)
{
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char *path, expected[1024];
        struct joulet_error err;
        enum joulet_status status = runtime_store_find(rows[i].name, &path, &err);
        snprintf(expected, sizeof expected, "%s/blobs/sha256-" HEX, scratch_path(models));
        if (status != rows[i].status || (rows[i].says ? !strstr(err.message, rows[i].says) : strcmp(path, expected) != 0))
            fail_msg("%s: %s, \"%s\", %s", rows[i].name, joulet_status_text(status), err.message, path ? path : "no path");
        assert_true(!rows[i].says || !path);
        free(path);
    }
}

static void in_the_folder_that_is_named(void **state)
{
    (void)state;
    lay_out("elsewhere");
    setenv("OLLAMA_MODELS", scratch_path("elsewhere"), 1);
    check_all("elsewhere");
    char *found = runtime_model_find("ollama:good");
    assert_non_null(found);
    free(found);
    assert_null(runtime_model_find("ollama:absent"));
}

static void in_the_home(void **state)
{
    (void)state;
    unsetenv("OLLAMA_MODELS");
    setenv("HOME", scratch, 1);
    lay_out(".ollama/models");
    check_all(".ollama/models");
}

static void other_names_are_not_its_own(void **state)
{
    static const char *const names[] = {"good", "ollamas:x", "x/ollama:y", "", "lm:x"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        char *path;
        assert_int_equal(runtime_store_find(names[i], &path, NULL), JOULET_OK);
        assert_null(path);
    }
    assert_string_equal(runtime_store_name("ollama:a:b", "ollama"), "a:b");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_the_folder_that_is_named),
        cmocka_unit_test(in_the_home),
        cmocka_unit_test(other_names_are_not_its_own),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
