/* Package index: stanzas, the closure of what a program needs, and the date of a Release file. */
#include "tests/llm/scratch.h"

#include "llm/runtime_private.h"

static const char index_text[] = "Package: tool\n"
                                 "Version: 1:0.7.0+x-2\n"
                                 "Pre-Depends: libpre (>= 1)\n"
                                 "Depends: liba0 (= 1:0.7.0+x-2), setup, fetch | libfetch, setup (>= 0.5) | setup-2.0,\n"
                                 " libc:any (>= 2.43), virtual-lib, nowhere\n"
                                 "Section: science\n"
                                 "Size: 100\n"
                                 "Description: Depends: on nothing\n"
                                 "\n"
                                 "Package: liba0\n"
                                 "Section: libs\n"
                                 "Depends: libc (>= 2.43), libgone | libold [amd64]\n"
                                 "Version: 2\n"
                                 "\n\n"
                                 "Package: libc\n"
                                 "Section: libs\n"
                                 "Depends: liba0\n" /* a circle */
                                 "\n"
                                 "Package: libpre\nSection: libs\n\n"
                                 "Package: libold\nSection: contrib/oldlibs\n\n"
                                 "Package: libfetch\nSection: libs\n\n"
                                 "Package: libreal\nSection: libs\nProvides: other (= 1), virtual-lib (= 2), more\n\n"
                                 "Package: libunused\nSection: libs\nProvides: virtual-library\n\n"
                                 "Package: setup\nSection: admin\nDepends: libsetup\n\n"
                                 "Package: libsetup\nSection: libs\n\n"
                                 "Package: fetch\nSection: web\n";

static void names_of(const struct package_set *set, char *out, size_t size)
{
    out[0] = '\0';
    for (size_t i = 0; i < set->n; i++)
        snprintf(out + strlen(out), size - strlen(out), "%s%.*s", i ? " " : "", (int)set->items[i]->name.n,
                 set->items[i]->name.at);
}

static void closure_of_libraries(void **state)
{
    struct package_index x;
    struct package_set set;
    char names[256];
    (void)state;
    assert_int_equal(package_index_init(&x, index_text, strlen(index_text), NULL), JOULET_OK);
    assert_int_equal(x.n, 11);
    assert_int_equal(package_closure(&x, "tool", true, &set, NULL), JOULET_OK);
    names_of(&set, names, sizeof(names));
    /* No setup, no fetch; the alternative that is a library; the provider of a virtual one; an old one through its alternative.
     */
    assert_string_equal(names, "tool libpre liba0 libfetch libc libreal libold");
    package_set_release(&set);
    assert_int_equal(package_closure(&x, "tool", false, &set, NULL), JOULET_OK);
    names_of(&set, names, sizeof(names));
    assert_string_equal(names, "tool libpre liba0 setup fetch libc libreal libold libsetup");
    package_set_release(&set);
    package_index_release(&x);
}

static void a_missing_root_is_named(void **state)
{
    struct package_index x;
    struct package_set set;
    struct joulet_error err;
    (void)state;
    assert_int_equal(package_index_init(&x, index_text, strlen(index_text), NULL), JOULET_OK);
    assert_int_equal(package_closure(&x, "virtual-lib", true, &set, &err), JOULET_NOT_FOUND); /* the very package, no provider */
    assert_says(err.message, "virtual-lib");
    package_index_release(&x);
    assert_int_equal(package_index_init(&x, "", 0, NULL), JOULET_OK);
    assert_int_equal(package_closure(&x, "tool", true, &set, &err), JOULET_NOT_FOUND);
    package_index_release(&x);
}

static void fields(void **state)
{
    static const struct {
        const char *package, *field, *value;
    } rows[] = {
        {"tool", "Version", "1:0.7.0+x-2"},
        {"tool", "version", "1:0.7.0+x-2"},
        {"tool", "Size", "100"},
        {"tool", "SHA256", ""},
        {"tool", "Description", "Depends: on nothing"},
        {"liba0", "Section", "libs"},
        {"libc", "Depends", "liba0"},
        {"fetch", "Section", "web"},
    };
    struct package_index x;
    (void)state;
    assert_int_equal(package_index_init(&x, index_text, strlen(index_text), NULL), JOULET_OK);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct stanza *s = package_find(&x, (struct slice){rows[i].package, strlen(rows[i].package)});
        assert_non_null(s);
        struct slice v = package_field(s, rows[i].field);
        assert_int_equal(v.n, strlen(rows[i].value));
        assert_memory_equal(v.at, rows[i].value, v.n);
    }
    const struct stanza *tool = package_find(&x, (struct slice){"tool", 4});
    struct slice depends = package_field(tool, "Depends");
    assert_true(memmem(depends.at, depends.n, "virtual-lib", 11) != NULL); /* the folded line belongs to it */
    assert_true(memmem(depends.at, depends.n, "Section", 7) == NULL);
    assert_null(package_find(&x, (struct slice){"nowhere", 7}));
    package_index_release(&x);
}

static void every_cut_is_read(void **state)
{
    (void)state;
    for (size_t n = 0; n <= strlen(index_text); n++) {
        struct package_index x;
        struct package_set set;
        char *copy = malloc(n ? n : 1);
        memcpy(copy, index_text, n);
        assert_int_equal(package_index_init(&x, copy, n, NULL), JOULET_OK);
        if (package_closure(&x, "tool", n % 2, &set, NULL) == JOULET_OK)
            package_set_release(&set);
        package_index_release(&x);
        free(copy);
    }
}

static void dates(void **state)
{
    static const struct {
        const char *text;
        int64_t unix_s; /* -1: no date */
    } rows[] = {
        {"Origin: Debian\nDate: Fri, 30 Oct 2026 08:08:01 UTC\nValid-Until: Fri, 06 Nov 2026 08:08:01 UTC\n", 1793347681},
        {"date: Thu, 29 Feb 2024 23:59:59 GMT", 1709251199},
        {"Date: Fri, 01 Mar 2024 00:00:00 +0000\n", 1709251200},
        {"Date: Sat, 1 Jan 2000 00:00:00 UTC\n", 946684800},
        {"Date: Fri, 30 Oct 2026 08:08:01 CEST\n", -1},
        {"Date: Fri, 30 Okt 2026 08:08:01 UTC\n", -1},
        {"Date: Fri, 30 anF 2026 08:08:01 UTC\n", -1},
        {"Date: Fri, 30 Oct 2026 28:08:01 UTC\n", -1},
        {"Date: yesterday\n", -1},
        {"Valid-Until: Fri, 06 Nov 2026 08:08:01 UTC\n", -1},
        {"", -1},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        int64_t t = -1;
        assert_int_equal(package_release_date(rows[i].text, strlen(rows[i].text), &t), rows[i].unix_s >= 0);
        assert_int_equal(t, rows[i].unix_s);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closure_of_libraries),
        cmocka_unit_test(a_missing_root_is_named),
        cmocka_unit_test(fields),
        cmocka_unit_test(every_cut_is_read),
        cmocka_unit_test(dates),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
