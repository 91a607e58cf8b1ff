/* What goes to apt and what is made of its answers; nothing here touches a network. */
#include "tests/llm/scratch.h"

#include "llm/runtime_private.h"

#include <unistd.h>

/* ---- mirror ------------------------------------------------------------------------------------------------------ */

static void the_archive_debian_comes_from(void **state)
{
    static const struct {
        const char *lines, *codename, *want;
    } rows[] = {
        {"Debian|Debian-Security|bookworm-security|main|http://a/sec/\nDebian|Debian|bookworm|main|http://a/deb/\n", "bookworm",
         "http://a/deb/"},
        {"Some "
         "Vendor|Vendor|stable|main|http://v/\nDebian|Debian|bookworm|contrib|http://c/\nDebian|Debian|bookworm|main|http://a/\n",
         NULL, "http://a/"},
        {"|||main|http://unread-ppa/\n||bookworm|main|http://unread/\n", "bookworm", "http://unread/"},
        {"||bookworm|main|http://unread/\nDebian|Debian|bookworm|main|http://read/\n", "bookworm", "http://read/"},
        {"||bookworm|main|http://unread/\n", NULL, NULL},
        {"Ubuntu|Ubuntu|noble|main|http://u/\n", NULL, NULL},
        {"Debian|Debian|bookworm|main|\n", NULL, NULL},
        {"nonsense\n\n|\n", "bookworm", NULL},
        {"", "bookworm", NULL},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char *got = apt_pick_mirror(rows[i].lines, rows[i].codename);
        if (rows[i].want)
            assert_string_equal(got, rows[i].want);
        else
            assert_null(got);
        free(got);
    }
}

static void an_address_is_checked_before_anything_runs(void **state)
{
    static const char *const bad[] = {"no address", "http://a/\nTrusted: yes", "foo", "/tmp"};
    (void)state;
    if (access("/usr/bin/dpkg", X_OK) != 0)
        skip();
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        struct joulet_error err;
        struct runtime_install how = {.mirror = bad[i]};
        assert_int_equal(runtime_install(&how, &err), JOULET_USAGE);
        assert_says(err.message, "--mirror");
        assert_int_not_equal(access(scratch_path("joulet/engine.work"), F_OK), 0);
    }
}

/* ---- configuration ----------------------------------------------------------------------------------------------- */

static const char dump[] = "APT::Sandbox::User \"_apt\";\nAcquire::http \"\";\nAcquire::http::Proxy \"http://proxy:3128/\";\n"
                           "Acquire::https::CAInfo \"/etc/ssl/our.pem\";\nAcquire::Check-Valid-Until \"false\";\n"
                           "Acquire::AllowInsecureRepositories \"1\";\nDPkg::Post-Invoke:: \"rm -rf /\";\n";

static void only_the_way_to_the_network_is_inherited(void **state)
{
    char *got = apt_pick_inherited(dump);
    (void)state;
    assert_string_equal(got, "Acquire::http::Proxy \"http://proxy:3128/\";\nAcquire::https::CAInfo \"/etc/ssl/our.pem\";\n");
    free(got);
    got = apt_pick_inherited("");
    assert_string_equal(got, "");
    free(got);
}

static struct apt example(const struct runtime_install *how)
{
    static char mirror[] = "http://mirror.example/debian/", keyring[] = "/usr/share/keyrings/k.gpg", arch[] = "amd64";
    return (struct apt){
        .how = how, .dir = scratch, .mirror = mirror, .keyring = keyring, .arch = arch, .suite = "forky", .check_valid = true};
}

static void sources_name_keyring_and_suite(void **state)
{
    static const struct runtime_install how;
    struct apt a = example(&how);
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 65536);
    assert_true(apt_sources_text(&a, &b));
    assert_string_equal(b.data,
                        "Types: deb\nURIs: http://mirror.example/debian/\nSuites: forky\nComponents: main\nArchitectures: amd64\n"
                        "Signed-By: /usr/share/keyrings/k.gpg\n");
    jl_buf_release(&b);
}

static bool says(const char *text, const char *line)
{
    return strstr(text, line) != NULL;
}

static void configuration_is_private(void **state)
{
    static const struct runtime_install how;
    struct apt a = example(&how);
    struct jl_buf b;
    char want[256];
    (void)state;
    a.inherited = apt_pick_inherited("Acquire::http::Proxy \"http://proxy:3128/\";\n");
    jl_buf_init(&b, 65536);
    assert_true(apt_config_text(&a, &b));
    snprintf(want, sizeof(want), "Dir::Etc::parts \"%s/etc/none\";\n", scratch);
    assert_true(says(b.data, want));
    snprintf(want, sizeof(want), "Dir::State::status \"%s/status\";\n", scratch);
    assert_true(says(b.data, want));
    assert_true(says(b.data, "Acquire::Check-Valid-Until \"true\";\n"));
    assert_true(says(b.data, "Acquire::http::Proxy \"http://proxy:3128/\";\n"));
    assert_false(says(b.data, "AllowInsecure"));
    assert_false(says(b.data, "Trusted"));
    jl_buf_clear(&b);
    a.check_valid = false;
    assert_true(apt_config_text(&a, &b));
    assert_true(says(b.data, "Acquire::Check-Valid-Until \"false\";\n"));
    jl_buf_release(&b);
    free(a.inherited);
}

/* apt itself, told to read the configuration, knows nothing of the machine's own: neither its switches nor its sources. */
static void apt_reads_it_so(void **state)
{
    static const struct runtime_install how;
    static const char *const folders[] = {"etc/none", "state", "lists/partial", "cache"};
    struct apt a = example(&how);
    struct jl_buf b;
    struct joulet_error err;
    (void)state;
    if (access("/usr/bin/apt-config", X_OK) != 0 || access("/usr/bin/apt-get", X_OK) != 0)
        skip();
    for (size_t i = 0; i < JL_COUNT(folders); i++)
        assert_int_equal(jl_make_dirs(scratch_path(folders[i]), NULL), JOULET_OK);
    scratch_write("status", "", 0);
    jl_buf_init(&b, 65536);
    assert_true(apt_sources_text(&a, &b));
    scratch_write("etc/joulet.sources", b.data, b.len);
    jl_buf_clear(&b);
    assert_true(apt_config_text(&a, &b));
    scratch_write("apt.conf", b.data, b.len);
    jl_buf_clear(&b);
    if (apt_run(&a, (const char *const[]){"apt-config", "dump", NULL}, NULL, "dump.txt", &err) != JOULET_OK)
        fail_msg("%s", err.message);
    b.max = 1 << 20;
    assert_int_equal(jl_read_file(scratch_path("dump.txt"), &b, NULL), JOULET_OK);
    assert_true(says(b.data, "Acquire::Check-Valid-Until \"true\";\n"));
    assert_false(says(b.data, "Acquire::Check-Date \"false\""));
    assert_false(says(b.data, "DPkg::Post-Invoke::"));
    jl_buf_clear(&b);
    if (apt_run(&a,
                (const char *const[]){"apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(CREATED_BY)",
                                      "--no-release-info", NULL},
                NULL, "targets.txt", &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(jl_read_file(scratch_path("targets.txt"), &b, NULL), JOULET_OK);
    assert_true(b.len > 0);
    for (const char *line = b.data; *line; line += strcspn(line, "\n") + 1) /* one for each architecture */
        assert_true(jl_starts(line, "http://mirror.example/debian/ forky Packages\n"));
    jl_buf_release(&b);
    unlink(scratch_path("apt.conf"));
}

/* ---- age --------------------------------------------------------------------------------------------------------- */

static void only_an_expired_index_is_expired(void **state)
{
    static const char expired[] =
        "E: Release file for http://m/debian/dists/forky/InRelease is expired (invalid since 15d 7h 32min 40s). "
        "Updates for this repository will not be applied.\n";
    static const char unsigned_too[] = "E: Release file for http://m/InRelease is expired (invalid since 1d). Updates.\n"
                                       "E: The repository 'http://m forky InRelease' is not signed.\n";
    (void)state;
    assert_true(apt_is_expired(expired));
    assert_false(apt_is_expired(unsigned_too));
    assert_false(apt_is_expired("W: Release file for x is expired (invalid since 1d)\n"));
    assert_false(apt_is_expired("E: Release file for http://m/InRelease is not valid yet (invalid for another 2h)\n"));
    assert_false(apt_is_expired(""));
}

static void remember(void *user, const char *line)
{
    snprintf(user, 512, "%s", line);
}

static void an_old_index_is_refused(void **state)
{
    static const struct {
        int days;
        bool allow_stale, check_valid;
        enum joulet_status status;
        const char *says; /* progress, or the error */
    } rows[] = {
        {3, false, true, JOULET_OK, "signature good"},          {22, false, false, JOULET_OK, "22 days old"},
        {89, false, false, JOULET_OK, "89 days old"},           {92, false, false, JOULET_UNSUPPORTED, "92 days old"},
        {92, false, true, JOULET_UNSUPPORTED, "--allow-stale"}, {4000, true, false, JOULET_OK, "4000 days old"},
    };
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char text[128], when[32], said[512] = "", date[32];
        struct joulet_error err;
        struct runtime_install how = {.allow_stale = rows[i].allow_stale, .progress = remember, .user = said};
        struct apt a = example(&how);
        a.check_valid = rows[i].check_valid;
        jl_format_time(when, sizeof(when), jl_wall_ns() - (rows[i].days * 86400LL + 3600) * JL_NS_PER_S);
        snprintf(text, sizeof(text), "Origin: Debian\nDate: Mon, %.2s %s %.4s %.8s UTC\n", when + 8, months[atoi(when + 5) - 1],
                 when, when + 11);
        scratch_write("lists/mirror.example_debian_dists_forky_InRelease", text, strlen(text));
        scratch_write("lists/mirror.example_debian_dists_sid_InRelease", "Date: never\n", 12);
        assert_int_equal(apt_judge_age(&a, date, &err), rows[i].status);
        assert_says(rows[i].status == JOULET_OK ? said : err.message, rows[i].says);
        assert_memory_equal(date, when, 10);
    }
}

static void no_index_and_no_date(void **state)
{
    static const struct runtime_install how;
    struct apt a = example(&how);
    struct joulet_error err;
    char date[32];
    (void)state;
    a.suite = "gone";
    assert_int_equal(apt_judge_age(&a, date, &err), JOULET_IO);
    assert_says(err.message, "no index of gone");
    a.suite = "sid";
    scratch_write("lists/m_dists_sid_InRelease", "Date: never\n", 12);
    assert_int_equal(apt_judge_age(&a, date, &err), JOULET_FORMAT);
}

static void packages_are_found_by_their_whole_name(void **state)
{
    static const struct runtime_install how;
    struct apt a = example(&how);
    (void)state;
    scratch_write("debs/libggml0-extra_1_amd64.deb", "", 0);
    scratch_write("debs/libggml0_0.27.0-1_amd64.deb", "", 0);
    char *got = apt_deb_path(&a, (struct slice){"libggml0", 8});
    assert_string_equal(got, scratch_path("debs/libggml0_0.27.0-1_amd64.deb"));
    free(got);
    assert_null(apt_deb_path(&a, (struct slice){"libggml", 7}));
}

/* ---- running ----------------------------------------------------------------------------------------------------- */

static void failures_end_with_the_programs_words(void **state)
{
    static const struct runtime_install how;
    struct apt a = example(&how);
    struct joulet_error err;
    (void)state;
    const char *const apt_like[] = {"sh", "-c", "echo 'Reading lists'; echo 'E: first trouble'; echo 'E: second'; exit 100",
                                    NULL};
    assert_int_equal(apt_run(&a, apt_like, NULL, "x.txt", &err), JOULET_IO);
    assert_says(err.message, "failed: first trouble");
    const char *const other[] = {"sh", "-c", "echo one >&2; echo two >&2; exit 1", NULL};
    assert_int_equal(apt_run(&a, other, NULL, "x.txt", &err), JOULET_IO);
    assert_says(err.message, "failed: two");
    assert_int_equal(apt_run(&a, (const char *const[]){"sh", "-c", "exit 1", NULL}, NULL, "x.txt", &err), JOULET_IO);
    assert_says(err.message, "it said nothing");
    assert_int_equal(apt_run(&a, (const char *const[]){"no-such-program-here", "x", NULL}, NULL, "x.txt", &err),
                     JOULET_NOT_FOUND);
}

static void interrupted_programs_are_ended(void **state)
{
    static atomic_bool cancel = true;
    struct runtime_install how = {.cancel = &cancel};
    struct apt a = example(&how);
    struct joulet_error err;
    (void)state;
    assert_int_equal(apt_run(&a, (const char *const[]){"sleep", "600", NULL}, NULL, "x.txt", &err), JOULET_CANCELLED);
    assert_says(err.message, "interrupted");
}

/* ---- other systems ----------------------------------------------------------------------------------------------- */

static void advice_by_system(void **state)
{
    static const struct {
        const char *os_release, *says;
    } rows[] = {
        {"NAME=\"Ubuntu\"\nID=ubuntu\nID_LIKE=debian\n", "on Ubuntu"},
        {"ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n", "on Ubuntu"},
        {"ID=fedora\n", "dnf install llama-cpp"},
        {"ID=\"rhel\"\nID_LIKE=\"fedora\"\n", "dnf"},
        {"ID=arch\n", "AUR"},
        {"ID='manjaro'\nID_LIKE=arch\n", "AUR"},
        {"ID=opensuse-tumbleweed\nID_LIKE=\"opensuse suse\"\n", "zypper"},
        {"ID=macos\n", "brew install llama.cpp"},
        {"ID=debian\n", "--mirror URL"},
        {"ID=plan9\n", "on PATH"},
        {"", "on PATH"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_says(apt_advice(rows[i].os_release), rows[i].says);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_archive_debian_comes_from),
        cmocka_unit_test(an_address_is_checked_before_anything_runs),
        cmocka_unit_test(only_the_way_to_the_network_is_inherited),
        cmocka_unit_test(sources_name_keyring_and_suite),
        cmocka_unit_test(configuration_is_private),
        cmocka_unit_test(apt_reads_it_so),
        cmocka_unit_test(only_an_expired_index_is_expired),
        cmocka_unit_test(an_old_index_is_refused),
        cmocka_unit_test(no_index_and_no_date),
        cmocka_unit_test(packages_are_found_by_their_whole_name),
        cmocka_unit_test(failures_end_with_the_programs_words),
        cmocka_unit_test(interrupted_programs_are_ended),
        cmocka_unit_test(advice_by_system),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
