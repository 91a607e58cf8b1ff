/* Files, folders and paths: whole or not at all, and a sentence with the path when not. */
#include "tests/platform/scratch.h"

#include <fcntl.h>

static void write_text(const char *path, const char *text)
{
    struct joulet_error err;
    if (jl_write_file(path, text, strlen(text), 0644, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void test_write_is_atomic(void **state)
{
    struct jl_buf b;
    struct stat st;
    struct joulet_error err;
    char **names;
    size_t n;
    (void)state;
    jl_buf_init(&b, 1000);
    write_text(in_scratch("f"), "old");
    int old = open(in_scratch("f"), O_RDONLY);
    assert_int_equal(jl_write_file(in_scratch("f"), "new\0er", 6, 0600, &err), JOULET_OK);
    assert_int_equal(jl_read_file(in_scratch("f"), &b, &err), JOULET_OK);
    assert_int_equal(b.len, 6);
    assert_memory_equal(b.data, "new\0er", 7);
    char kept[8] = "";
    assert_int_equal(read(old, kept, sizeof(kept)), 3); /* who had the old file open reads the old file */
    assert_string_equal(kept, "old");
    close(old);
    assert_int_equal(stat(in_scratch("f"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(jl_list_dir(scratch, &names, &n, &err), JOULET_OK);
    assert_int_equal(n, 1); /* nothing is left beside it */
    jl_free_list(names, n);
    jl_buf_release(&b);
}

static void test_failed_write_keeps_the_old(void **state)
{
    struct joulet_error err;
    char text[32];
    (void)state;
    assert_int_equal(jl_write_file(in_scratch("no/such/f"), "x", 1, 0644, &err), JOULET_NOT_FOUND);
    assert_non_null(strstr(err.message, "no/such/f"));
    /* a folder cannot be replaced by a file: the rename fails after everything was written */
    assert_int_equal(mkdir(in_scratch("d"), 0755), 0);
    write_text(in_scratch("d/inside"), "kept");
    assert_int_not_equal(jl_write_file(in_scratch("d"), "x", 1, 0644, &err), JOULET_OK);
    assert_int_equal(jl_read_text(in_scratch("d/inside"), text, sizeof(text), &err), JOULET_OK);
    assert_string_equal(text, "kept");
    char **names;
    size_t n;
    assert_int_equal(jl_list_dir(scratch, &names, &n, &err), JOULET_OK);
    assert_int_equal(n, 1);
    jl_free_list(names, n);
}

static void test_full_disk_is_said(void **state)
{
    struct joulet_error err;
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 100);
    if (access("/dev/full", W_OK) != 0)
        skip();
    assert_int_equal(jl_read_file("/dev/full", &b, &err), JOULET_LIMIT); /* endless zeros: the limit ends it */
    jl_buf_release(&b);
}

static void test_read_errors(void **state)
{
    struct joulet_error err;
    struct jl_buf b;
    char text[8];
    (void)state;
    jl_buf_init(&b, 4);
    assert_int_equal(jl_read_file(in_scratch("none"), &b, &err), JOULET_NOT_FOUND);
    assert_int_equal(jl_read_text(in_scratch("none"), text, sizeof(text), &err), JOULET_NOT_FOUND);
    assert_int_equal(jl_read_file(scratch, &b, &err), JOULET_IO); /* a folder */
    write_text(in_scratch("five"), "12345");
    assert_int_equal(jl_read_file(in_scratch("five"), &b, &err), JOULET_LIMIT);
    assert_non_null(strstr(err.message, "five"));
    jl_buf_release(&b);
    if (geteuid() != 0) {
        assert_int_equal(chmod(in_scratch("five"), 0), 0);
        assert_int_equal(jl_read_text(in_scratch("five"), text, sizeof(text), &err), JOULET_PERMISSION);
    }
}

static void test_read_text(void **state)
{
    char text[8];
    (void)state;
    write_text(in_scratch("a"), "abc \n\t\n");
    assert_int_equal(jl_read_text(in_scratch("a"), text, sizeof(text), NULL), JOULET_OK);
    assert_string_equal(text, "abc");
    write_text(in_scratch("a"), "0123456789");
    assert_int_equal(jl_read_text(in_scratch("a"), text, sizeof(text), NULL), JOULET_OK);
    assert_string_equal(text, "0123456");
    write_text(in_scratch("a"), "");
    assert_int_equal(jl_read_text(in_scratch("a"), text, sizeof(text), NULL), JOULET_OK);
    assert_string_equal(text, "");
}

static void test_empty_file(void **state)
{
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 10);
    write_text(in_scratch("empty"), "");
    assert_int_equal(jl_read_file(in_scratch("empty"), &b, NULL), JOULET_OK);
    assert_int_equal(b.len, 0);
    assert_string_equal(b.data, "");
    jl_buf_release(&b);
}

static void test_list_is_sorted(void **state)
{
    char **names, name[16];
    size_t n;
    struct joulet_error err;
    (void)state;
    for (int i = 99; i >= 0; i--) {
        snprintf(name, sizeof(name), "%02d", i);
        write_text(in_scratch(name), "");
    }
    assert_int_equal(jl_list_dir(scratch, &names, &n, &err), JOULET_OK);
    assert_int_equal(n, 100);
    for (int i = 0; i < 100; i++) {
        snprintf(name, sizeof(name), "%02d", i);
        assert_string_equal(names[i], name);
    }
    jl_free_list(names, n);
    assert_int_equal(jl_list_dir(in_scratch("none"), &names, &n, &err), JOULET_NOT_FOUND);
    assert_null(names);
}

static void test_make_dirs(void **state)
{
    struct joulet_error err;
    struct stat st;
    (void)state;
    assert_int_equal(jl_make_dirs(in_scratch("a/b//c/"), &err), JOULET_OK);
    assert_int_equal(stat(in_scratch("a/b/c"), &st), 0);
    assert_true(S_ISDIR(st.st_mode));
    assert_int_equal(jl_make_dirs(in_scratch("a/b/c"), &err), JOULET_OK);
    write_text(in_scratch("a/file"), "");
    assert_int_equal(jl_make_dirs(in_scratch("a/file/d"), &err), JOULET_IO);
    assert_non_null(strstr(err.message, "a/file"));
}

static void test_user_folders(void **state)
{
    struct stat st;
    struct joulet_error err;
    (void)state;
    setenv("JOULET_DATA_DIR", in_scratch("own"), 1);
    setenv("XDG_DATA_HOME", in_scratch("xdg"), 1);
    setenv("HOME", in_scratch("home"), 1);
    char *dir = jl_data_dir(&err);
    assert_string_equal(dir, in_scratch("own/joulet"));
    assert_int_equal(stat(dir, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0700);
    free(dir);
    unsetenv("JOULET_DATA_DIR");
    dir = jl_data_dir(&err);
    assert_string_equal(dir, in_scratch("xdg/joulet"));
    free(dir);
    setenv("XDG_DATA_HOME", "relative", 1); /* must be ignored, says XDG */
    dir = jl_data_dir(&err);
    assert_string_equal(dir, in_scratch("home/.local/share/joulet"));
    free(dir);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("JOULET_CACHE_DIR");
    dir = jl_cache_dir(&err);
    assert_string_equal(dir, in_scratch("home/.cache/joulet"));
    free(dir);
    write_text(in_scratch("file"), "");
    setenv("JOULET_CONFIG_DIR", in_scratch("file"), 1);
    assert_null(jl_config_dir(&err));
    assert_non_null(strstr(err.message, "file"));
    assert_non_null(strstr(err.message, "JOULET_CONFIG_DIR"));
    unsetenv("XDG_DATA_HOME");
    unsetenv("JOULET_CONFIG_DIR");
}

static void test_environment(void **state)
{
    (void)state;
    setenv("JOULET_SYSFS", "", 1); /* empty is unset */
    assert_string_equal(jl_sysfs_root(), "/sys");
    assert_false(jl_roots_redirected());
    setenv("JOULET_SYSFS", scratch, 1);
    assert_string_equal(jl_sysfs_root(), scratch);
    assert_true(jl_roots_redirected());
    unsetenv("JOULET_SYSFS");
    setenv("JOULET_NVML", "x.so", 1);
    assert_true(jl_roots_redirected());
    unsetenv("JOULET_NVML");
    assert_string_equal(jl_procfs_root(), "/proc");
    assert_false(jl_privileged());
    char *dir = jl_program_dir();
    assert_int_equal(dir[0], '/');
    free(dir);
}

#define WITH_SCRATCH(f) cmocka_unit_test_setup_teardown(f, scratch_open, scratch_close)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_SCRATCH(test_write_is_atomic),   WITH_SCRATCH(test_failed_write_keeps_the_old),
        WITH_SCRATCH(test_full_disk_is_said), WITH_SCRATCH(test_read_errors),
        WITH_SCRATCH(test_read_text),         WITH_SCRATCH(test_empty_file),
        WITH_SCRATCH(test_list_is_sorted),    WITH_SCRATCH(test_make_dirs),
        WITH_SCRATCH(test_user_folders),      WITH_SCRATCH(test_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
