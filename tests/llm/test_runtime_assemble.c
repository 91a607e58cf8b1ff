/* From unpacked packages to a folder that runs by itself: what ELF files ask for, what is taken, and what is missing. */
#include "tests/llm/scratch.h"

#include "llm/runtime_private.h"
#include "tests/llm/elf_make.h"

#include <unistd.h>

#define NEEDS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void put(const char *path, const char *const *needs, const char *interpreter)
{
    struct jl_buf b;
    char name[256];
    snprintf(name, sizeof(name), "tree/%s", path);
    elf_make(&b, needs, interpreter);
    scratch_write(name, b.data, b.len);
    jl_buf_release(&b);
}

static bool taken(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "out/%s", name);
    return access(scratch_path(path), X_OK) == 0;
}

static enum joulet_status assemble(struct joulet_error *err)
{
    runtime_remove_tree(scratch_path("out"));
    assert_int_equal(jl_make_dirs(scratch_path("out"), NULL), JOULET_OK);
    return runtime_assemble(scratch_path("tree"), scratch_path("out"), err);
}

/* ---- ELF ------------------------------------------------------------------------------------------------------------------- */

static void needs_and_interpreter(void **state)
{
    struct jl_buf b;
    struct elf_needs e;
    (void)state;
    elf_make(&b, NEEDS("libone.so.1", "libtwo.so.2"), "/lib64/ld-test.so.2");
    assert_int_equal(elf_needs_parse((const uint8_t *)b.data, b.len, &e, NULL), JOULET_OK);
    assert_int_equal(e.n, 2);
    assert_string_equal(e.names[0], "libone.so.1");
    assert_string_equal(e.names[1], "libtwo.so.2");
    assert_string_equal(e.interpreter, "/lib64/ld-test.so.2");
    elf_needs_release(&e);
    jl_buf_release(&b);
}

/* Our own program, as this machine's linker made it. */
static void a_real_program(void **state)
{
    struct jl_buf b;
    struct elf_needs e;
    bool libc = false;
    (void)state;
    jl_buf_init(&b, (size_t)256 << 20);
    if (jl_read_file("/proc/self/exe", &b, NULL) != JOULET_OK ||
        elf_needs_parse((const uint8_t *)b.data, b.len, &e, NULL) != JOULET_OK) {
        jl_buf_release(&b);
        skip(); /* no procfs, or no 64-bit ELF system */
    }
    for (size_t i = 0; i < e.n; i++)
        libc = libc || jl_starts(e.names[i], "libc.");
    assert_true(libc);
    assert_non_null(e.interpreter);
    elf_needs_release(&e);
    jl_buf_release(&b);
}

/* Every cut and every changed byte is read without looking outside; a wrong file never names a path. */
static void damaged_files(void **state)
{
    struct jl_buf b;
    struct elf_needs e;
    (void)state;
    elf_make(&b, NEEDS("libone.so.1"), "/lib64/ld-test.so.2");
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        memcpy(copy, b.data, n);
        assert_int_equal(elf_needs_parse(copy, n, &e, NULL), JOULET_FORMAT);
        free(copy);
    }
    for (size_t at = 0; at < b.len; at++) {
        for (int bit = 0; bit < 8; bit++) {
            b.data[at] ^= (char)(1 << bit);
            if (elf_needs_parse((const uint8_t *)b.data, b.len, &e, NULL) == JOULET_OK) {
                for (size_t i = 0; i < e.n; i++)
                    assert_null(strchr(e.names[i], '/'));
                elf_needs_release(&e);
            }
            b.data[at] ^= (char)(1 << bit);
        }
    }
    jl_buf_release(&b);
    assert_int_equal(elf_needs_parse((const uint8_t *)"", 0, &e, NULL), JOULET_FORMAT);
}

/* ---- the folder -------------------------------------------------------------------------------------------------- */

static int build_tree(void **state)
{
    (void)state;
    runtime_remove_tree(scratch_path("tree"));
    put("usr/bin/llama-server", NEEDS("libserver.so", "libc.so.6"), "/lib64/ld-test.so.2");
    put("usr/bin/llama-bench", NEEDS("libc.so.6"), "/lib64/ld-test.so.2");
    put("usr/bin/something-else", NEEDS("libmissing.so"), "/lib64/ld-test.so.2");
    put("usr/lib/t/llama/libserver.so", NEEDS("libssl.so.3"), NULL);
    put("usr/lib/t/libssl.so.3.1", NEEDS("libcrypto.so.3", "libc.so.6"), NULL);
    put("usr/lib/t/libcrypto.so.3", NEEDS("libc.so.6"), NULL);
    put("usr/lib/t/libc.so.6", NEEDS("ld-test.so.2"), NULL);
    put("usr/lib/t/ld-test.so.2", NEEDS(NULL), NULL);
    put("usr/lib/t/libunused.so.1", NEEDS("libc.so.6"), NULL);
    put("usr/lib/t/ggml/backends0/libggml-cpu-a.so", NEEDS("libgomp.so.1"), NULL);
    put("usr/lib/t/ggml/backends0/libggml-cpu-b.so", NEEDS("libgomp.so.1"), NULL);
    put("usr/lib/t/libgomp.so.1", NEEDS("libc.so.6"), NULL);
    return symlink("libssl.so.3.1", scratch_path("tree/usr/lib/t/libssl.so.3"));
}

static void takes_what_is_needed(void **state)
{
    static const char *const want[] = {"llama-server", "llama-bench",  "libserver.so",     "libssl.so.3",      "libcrypto.so.3",
                                       "libc.so.6",    "ld-test.so.2", "libggml-cpu-a.so", "libggml-cpu-b.so", "libgomp.so.1"};
    static const char *const leave[] = {"something-else", "libunused.so.1", "libssl.so.3.1", "llama-cli"};
    struct joulet_error err;
    char **names;
    size_t n;
    (void)state;
    if (assemble(&err) != JOULET_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < JL_COUNT(want); i++)
        assert_true(taken(want[i]));
    for (size_t i = 0; i < JL_COUNT(leave); i++)
        assert_false(taken(leave[i]));
    assert_int_equal(jl_list_dir(scratch_path("out"), &names, &n, NULL), JOULET_OK);
    assert_int_equal(n, JL_COUNT(want));
    jl_free_list(names, n);
}

static void missing_parts_are_named(void **state)
{
    static const struct {
        const char *remove, *says;
    } rows[] = {
        {"usr/lib/t/libgomp.so.1", "libgomp.so.1, which libggml-cpu-a.so needs"},
        {"usr/lib/t/libssl.so.3", "libssl.so.3, which libserver.so needs"},
        {"usr/lib/t/ld-test.so.2", "ld-test.so.2"},
        {"usr/bin/llama-server", "no llama-server"},
        {"usr/lib/t/ggml", "no compute backend"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_error err;
        char path[128];
        assert_int_equal(build_tree(state), 0);
        snprintf(path, sizeof(path), "tree/%s", rows[i].remove);
        assert_true(runtime_remove_tree(scratch_path(path)));
        assert_int_equal(assemble(&err), JOULET_NOT_FOUND);
        assert_says(err.message, rows[i].says);
    }
}

/* A package's link to a file of the machine would bring that into the engine. */
static void links_out_of_the_tree_are_not_followed(void **state)
{
    struct joulet_error err;
    struct jl_buf b;
    (void)state;
    elf_make(&b, NEEDS("libc.so.6"), NULL);
    scratch_write("outside.so", b.data, b.len);
    jl_buf_release(&b);
    unlink(scratch_path("tree/usr/lib/t/libcrypto.so.3"));
    assert_int_equal(symlink(scratch_path("outside.so"), scratch_path("tree/usr/lib/t/libcrypto.so.3")), 0);
    assert_int_equal(assemble(&err), JOULET_NOT_FOUND);
    assert_says(err.message, "libcrypto.so.3");
}

static void licences_come_along(void **state)
{
    (void)state;
    scratch_write("tree/usr/share/doc/gcc-base/copyright", "GPL\n", 4);
    scratch_write("tree/usr/share/doc/none/other", "x", 1);
    assert_int_equal(symlink("gcc-base", scratch_path("tree/usr/share/doc/libgomp1")), 0);
    assert_int_equal(jl_make_dirs(scratch_path("out"), NULL), JOULET_OK);
    assert_true(runtime_copy_licence(scratch_path("tree"), (struct slice){"libgomp1", 8}, scratch_path("out")));
    assert_int_equal(access(scratch_path("out/licences/libgomp1"), R_OK), 0);
    assert_false(runtime_copy_licence(scratch_path("tree"), (struct slice){"none", 4}, scratch_path("out")));
}

/* ---- what is installed ------------------------------------------------------------------------------------------- */

static void version_and_loader(void **state)
{
    static const char manifest[] =
        "# llama.cpp from Debian forky\n# package version sha256\nllama.cpp-tools 1:0.7.0+dfsg-2 00\nlibc6 2.43-7 00\n";
    char version[64];
    struct args args;
    struct joulet_error err;
    (void)state;
    assert_int_equal(runtime_version(version, sizeof(version), &err), JOULET_NOT_FOUND);
    assert_says(err.message, "joulet engine install");
    assert_int_equal(runtime_remove(&err), JOULET_NOT_FOUND);
    /* As an installation that was killed between its two renames leaves it. */
    scratch_write("joulet/engine.old/MANIFEST", manifest, strlen(manifest));
    scratch_write("joulet/engine.old/ld-test.so.2", "", 0);
    scratch_write("joulet/engine.old/llama-server", "", 0);
    chmod(scratch_path("joulet/engine.old/llama-server"), 0755);
    assert_int_equal(runtime_version(version, sizeof(version), &err), JOULET_OK);
    assert_string_equal(version, "0.7.0");
    char *folder = runtime_folder(&err);
    assert_int_equal(args_private(&args, folder, "llama-server", &err), JOULET_OK);
    assert_string_equal(args.v[0], scratch_path("joulet/engine/ld-test.so.2"));
    assert_string_equal(args.v[args.n - 1], scratch_path("joulet/engine/llama-server"));
    assert_null(args.v[args.n]);
    args_release(&args);
    assert_int_equal(args_private(&args, folder, "llama-bench", &err), JOULET_NOT_FOUND);
    free(folder);
    assert_int_equal(runtime_remove(&err), JOULET_OK);
    assert_int_equal(runtime_version(version, sizeof(version), &err), JOULET_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(needs_and_interpreter),
        cmocka_unit_test(a_real_program),
        cmocka_unit_test(damaged_files),
        cmocka_unit_test_setup(takes_what_is_needed, build_tree),
        cmocka_unit_test_setup(missing_parts_are_named, build_tree),
        cmocka_unit_test_setup(links_out_of_the_tree_are_not_followed, build_tree),
        cmocka_unit_test_setup(licences_come_along, build_tree),
        cmocka_unit_test(version_and_loader),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
