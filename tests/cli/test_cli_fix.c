/* test_cli_fix.c - joulet doctor --fix on a root folder: what it writes, byte for byte before and after --undo, twice the same,
 * and that a member of the group can read the counters and nobody else. */
#include "cli/fix.h"
#include "tests/cli/program.h"

#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ZONE  "sys/devices/virtual/powercap/intel-rapl/intel-rapl:0"
#define RULES "etc/udev/rules.d/70-joulet.rules"

/* ---- a small machine --------------------------------------------------------------------------------------------------- */

static void put(const char *name, const char *text, mode_t mode)
{
    char path[600];
    struct joulet_error err;
    snprintf(path, sizeof path, "%s/%s", scratch("root"), name);
    *strrchr(path, '/') = '\0';
    assert_int_equal(jl_make_dirs(path, &err), JOULET_OK);
    path[strlen(path)] = '/';
    assert_int_equal(jl_write_file(path, text, strlen(text), (int)mode, &err), JOULET_OK);
}

static const char *in_root(const char *name)
{
    static char path[4][600];
    static unsigned next;
    char *p = path[next++ % 4];
    snprintf(p, sizeof path[0], "%s/%s", scratch("root"), name);
    return p;
}

static int make_root(void **state)
{
    (void)state;
    put("etc/group", "root:x:0:\naudio:x:999:alice\nusers:x:100:\n", 0644);
    put("etc/gshadow", "root:*::\naudio:!::alice\nusers:*::\n", 0640);
    put(ZONE "/energy_uj", "123456\n", 0400);
    put(ZONE "/name", "package-0\n", 0444);
    put(ZONE "/intel-rapl:0:0/energy_uj", "456\n", 0400);
    assert_int_equal(jl_make_dirs(in_root("sys/class/powercap"), NULL), JOULET_OK);
    assert_int_equal(
        symlink("../../devices/virtual/powercap/intel-rapl/intel-rapl:0", in_root("sys/class/powercap/intel-rapl:0")), 0);
    assert_int_equal(symlink("../../devices/virtual/powercap/intel-rapl/intel-rapl:0/intel-rapl:0:0",
                             in_root("sys/class/powercap/intel-rapl:0:0")),
                     0);
    assert_int_equal(chmod(scratch("root"), 0755), 0);
    return 0;
}

static int removed(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static int drop_root(void **state)
{
    (void)state;
    return nftw(scratch("root"), removed, 16, FTW_DEPTH | FTW_PHYS);
}

/* Every name, mode, owner and content below the root. */
static struct jl_buf picture;

static int describe(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    struct jl_buf b;
    (void)ftw;
    jl_buf_printf(&picture, "%s %o %u %u\n", path, st->st_mode, st->st_uid, st->st_gid);
    if (type != FTW_F)
        return 0;
    jl_buf_init(&b, 1 << 20);
    assert_int_equal(jl_read_file(path, &b, NULL), JOULET_OK);
    jl_buf_add(&picture, b.data, b.len);
    jl_buf_release(&b);
    jl_buf_printf(&picture, "|%zd\n", getxattr(path, "security.capability", NULL, 0));
    return 0;
}

static char *everything(void)
{
    jl_buf_init(&picture, (size_t)1 << 22);
    assert_int_equal(nftw(scratch("root"), describe, 16, FTW_PHYS), 0);
    return jl_buf_take(&picture);
}

static int doctor(struct program *p, const char *what, const char *yes)
{
    program_release(p); /* what it said before */
    program_run(p, ARGS("doctor", what, "--root", scratch("root"), yes));
    return p->code;
}

static bool as_root(void)
{
    if (geteuid() == 0)
        return true;
    print_message("skipped: only root may change groups and modes\n");
    skip();
    return false;
}

/* ---- tests ------------------------------------------------------------------------------------------------------------ */

static void what_is_written_and_taken_back(void **state)
{
    struct program p = {0};
    (void)state;
    if (!as_root())
        return;
    char *before = everything(), *rules;
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    must_say(kept(&p.err), "70-joulet.rules");
    must_say(kept(&p.err), "CVE-2020-8694");
    rules = scratch_read("root/" RULES);
    must_say(rules, "chgrp joulet /sys%p/energy_uj");
    must_say(rules, "chmod 0440 /sys%p/energy_uj");
    assert_null(strstr(rules, "444"));
    free(rules);
    char *group = scratch_read("root/etc/group"), *shadow = scratch_read("root/etc/gshadow");
    assert_string_equal(group, "root:x:0:\naudio:x:999:alice\nusers:x:100:\njoulet:x:998:\n"); /* 999 is taken */
    assert_string_equal(shadow, "root:*::\naudio:!::alice\nusers:*::\njoulet:!::\n");
    free(group);
    free(shadow);
    struct stat st;
    assert_int_equal(stat(in_root("sys/class/powercap/intel-rapl:0:0/energy_uj"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_int_equal(st.st_gid, 998);
    assert_int_equal(stat(in_root("etc/gshadow"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    char *fixed = everything(), *again;
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0); /* twice is once */
    must_say(kept(&p.out), "everything is in place");
    again = everything();
    assert_string_equal(fixed, again);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    free(again);
    again = everything();
    assert_string_equal(before, again);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    must_say(kept(&p.out), "nothing to undo");
    free(again);
    free(fixed);
    free(before);
    program_release(&p);
}

/* A table without a line end at its end gets none. */
static void tables_without_a_last_line_end(void **state)
{
    struct program p = {0};
    (void)state;
    if (!as_root())
        return;
    put("etc/group", "root:x:0:\nusers:x:100:", 0644);
    char *before = everything();
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    char *group = scratch_read("root/etc/group");
    assert_string_equal(group, "root:x:0:\nusers:x:100:\njoulet:x:999:");
    free(group);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    char *after = everything();
    assert_string_equal(before, after);
    free(after);
    free(before);
    program_release(&p);
}

/* The content of the counter as this user and group, -1 when it may not be read. */
static long read_as(uid_t uid, gid_t gid, const char *path)
{
    int out[2], status;
    char text[32] = "";
    assert_int_equal(pipe(out), 0);
    pid_t pid = fork();
    if (pid == 0) {
        gid_t groups[] = {gid};
        if (setgroups(1, groups) != 0 || setgid(65534) != 0 || setuid(uid) != 0)
            _exit(2);
        int fd = open(path, O_RDONLY);
        ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
        if (n > 0 && write(out[1], text, (size_t)n) != n)
            _exit(3);
        _exit(n > 0 ? 0 : 1);
    }
    close(out[1]);
    ssize_t n = read(out[0], text, sizeof text - 1);
    close(out[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
    return WEXITSTATUS(status) == 0 && n > 0 ? atol(text) : -1;
}

static void the_group_may_read_and_nobody_else(void **state)
{
    struct program p = {0};
    const char *counter = in_root("sys/class/powercap/intel-rapl:0/energy_uj");
    char path[600];
    (void)state;
    if (!as_root())
        return;
    snprintf(path, sizeof path, "%s", scratch("root"));
    for (char *slash = path; (slash = strchr(slash + 1, '/'));) { /* the folder of tests is closed to others */
        *slash = '\0';
        struct stat st;
        if (strlen(path) > 4 && stat(path, &st) == 0)
            assert_int_equal(chmod(path, st.st_mode | 0011), 0);
        *slash = '/';
    }
    assert_int_equal(read_as(65534, 998, counter), -1);
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    assert_int_equal(read_as(65534, 998, counter), 123456);
    assert_int_equal(read_as(65534, 997, counter), -1);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    assert_int_equal(read_as(65534, 998, counter), -1);
    program_release(&p);
}

/* What somebody changed since stays, and is said. */
static void what_others_changed_is_left(void **state)
{
    struct program p = {0};
    (void)state;
    if (!as_root())
        return;
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    put(RULES, "# mine now\n", 0644);
    assert_int_equal(chmod(in_root(ZONE "/energy_uj"), 0400), 0);
    put("etc/group", "root:x:0:\naudio:x:999:alice\njoulet:x:998:bob,carol\nlater:x:997:\n", 0644);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 1);
    must_say(kept(&p.err), "70-joulet.rules was left as it is: somebody changed it since");
    must_say(kept(&p.err), "energy_uj was left as it is");
    char *text = scratch_read("root/" RULES), *group = scratch_read("root/etc/group");
    assert_string_equal(text, "# mine now\n");
    assert_string_equal(group, "root:x:0:\naudio:x:999:alice\nlater:x:997:\n"); /* the group is ours, members or not */
    free(text);
    free(group);
    assert_int_equal(doctor(&p, "--fix", "--yes"), 5); /* and a file that is not ours is not overwritten */
    must_say(kept(&p.err), "is there already and not joulet's");
    program_release(&p);
}

static void perf_gets_a_capability_for_the_group_alone(void **state)
{
    struct program p = {0};
    struct stat st;
    unsigned char caps[20];
    static const unsigned char want[20] = {1, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0x40};
    (void)state;
    if (!as_root())
        return;
    assert_int_equal(nftw(in_root("sys"), removed, 16, FTW_DEPTH | FTW_PHYS), 0);
    put("sys/bus/event_source/devices/power/type", "9\n", 0444);
    put("usr/bin/joulet", "not really", 0755);
    char *before = everything();
    int code = doctor(&p, "--fix", "--yes");
    if (code != 0 && strstr(kept(&p.err), "not supported")) {
        print_message("skipped: this file system keeps no capabilities\n");
        skip();
    }
    assert_int_equal(code, 0);
    assert_int_equal(stat(in_root("usr/bin/joulet"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0750); /* else everybody would read the counters through it */
    assert_int_equal(st.st_gid, 998);
    assert_int_equal(getxattr(in_root("usr/bin/joulet"), "security.capability", caps, sizeof caps), 20);
    assert_memory_equal(caps, want, sizeof want);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    char *after = everything();
    assert_string_equal(before, after);
    free(after);
    free(before);
    program_release(&p);
}

/* Both capabilities, the nodes and one rules file; what the program could do before comes back. */
static void msr_only_when_asked_by_name(void **state)
{
    struct program p = {0};
    struct stat st;
    unsigned char caps[20];
    static const unsigned char before_caps[20] = {1, 0, 0, 2, 0, 4, 0, 0}; /* cap_net_bind_service */
    static const unsigned char want[20] = {1, 0, 0, 2, 0, 0, 2, 0, 0, 0, 0, 0, 0x40};
    (void)state;
    if (!as_root())
        return;
    assert_int_equal(nftw(in_root("sys"), removed, 16, FTW_DEPTH | FTW_PHYS), 0);
    put("sys/bus/event_source/devices/power/type", "9\n", 0444);
    put("dev/cpu/0/msr", "", 0600);
    put("dev/cpu/1/msr", "", 0600);
    put("dev/cpu/microcode", "", 0600);
    put("usr/bin/joulet", "not really", 0755);
    if (setxattr(in_root("usr/bin/joulet"), "security.capability", before_caps, sizeof before_caps, 0) != 0) {
        print_message("skipped: this file system keeps no capabilities\n");
        skip();
    }
    char *before = everything();
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    assert_int_equal(stat(in_root("dev/cpu/0/msr"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600); /* not asked for */
    program_release(&p);
    program_run(&p, ARGS("doctor", "--fix", "--root", scratch("root"), "--yes", "--sensors", "msr"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.err), "cap_perfmon,cap_sys_rawio=ep");
    assert_int_equal(stat(in_root("dev/cpu/1/msr"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0440);
    assert_int_equal(st.st_gid, 998);
    char *rules = scratch_read("root/" RULES);
    assert_string_equal(rules, "SUBSYSTEM==\"msr\", GROUP=\"joulet\", MODE=\"0440\"\n");
    free(rules);
    assert_int_equal(getxattr(in_root("usr/bin/joulet"), "security.capability", caps, sizeof caps), 20);
    assert_memory_equal(caps, want, sizeof want);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    char *after = everything();
    assert_string_equal(before, after);
    assert_int_equal(getxattr(in_root("usr/bin/joulet"), "security.capability", caps, sizeof caps), 20);
    assert_memory_equal(caps, before_caps, sizeof before_caps);
    free(after);
    free(before);
    program_release(&p);
}

/* An image that is prepared must not reach into the machine that prepares it. */
static void links_out_of_the_folder_are_refused(void **state)
{
    static const char *const links[][2] = {
        {"etc/group", "victim"}, {"etc/udev", "."}, {"var", "."}, {"sys/class/powercap/intel-rapl:9", "."}};
    struct program p = {0};
    (void)state;
    if (!as_root())
        return;
    for (size_t i = 0; i < JL_COUNT(links); i++) {
        char outside[600];
        assert_int_equal(drop_root(NULL), 0);
        assert_int_equal(make_root(NULL), 0);
        scratch_write("outside/victim", "root:x:0:\n");
        scratch_write("outside/energy_uj", "1\n");
        snprintf(outside, sizeof outside, "%s/%s", scratch("outside"), links[i][1]);
        unlink(in_root(links[i][0]));
        assert_int_equal(symlink(outside, in_root(links[i][0])), 0);
        char *before = everything(), *after;
        assert_int_equal(doctor(&p, "--fix", "--yes") > 0, 1);
        must_say(kept(&p.err), "leads out of that folder");
        after = everything();
        assert_string_equal(before, after);
        char *victim = scratch_read("outside/victim");
        assert_string_equal(victim, "root:x:0:\n");
        free(victim);
        free(after);
        free(before);
    }
    program_release(&p);
}

/* A link that stays inside stays a link, and what it leads to is changed. */
static void links_inside_stay(void **state)
{
    struct program p = {0};
    struct stat st;
    (void)state;
    if (!as_root())
        return;
    assert_int_equal(rename(in_root("etc/group"), in_root("etc/group.real")), 0);
    assert_int_equal(symlink("group.real", in_root("etc/group")), 0);
    char *before = everything();
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    assert_int_equal(lstat(in_root("etc/group"), &st), 0);
    assert_true(S_ISLNK(st.st_mode));
    char *group = scratch_read("root/etc/group.real");
    must_say(group, "joulet:x:998:\n");
    free(group);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    char *after = everything();
    assert_string_equal(before, after);
    free(after);
    free(before);
    program_release(&p);
}

/* What others may write is no list of ours: it would let them choose what root does. */
static void a_list_that_others_wrote_is_not_believed(void **state)
{
    struct program p = {0};
    struct stat st;
    (void)state;
    if (!as_root())
        return;
    put("etc/shadow", "secret\n", 0600);
    put("var/lib/joulet/doctor-fix", "joulet doctor --fix 1\nmode\t/etc/shadow\t644\t0\t600\t0\n", 0644);
    assert_int_equal(chmod(in_root("var/lib/joulet"), 0777), 0);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 5);
    must_say(kept(&p.err), "is not believed");
    assert_int_equal(doctor(&p, "--fix", "--yes"), 5);
    assert_int_equal(chmod(in_root("var/lib/joulet"), 0755), 0);
    assert_int_equal(chown(in_root("var/lib/joulet/doctor-fix"), 65534, 65534), 0);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 5);
    assert_int_equal(stat(in_root("etc/shadow"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    program_release(&p);
}

/* A number that is somebody's own would let him read; a group that was there may lack the user. */
static void numbers_and_members(void **state)
{
    struct program p = {0};
    (void)state;
    if (!as_root())
        return;
    assert_int_equal(setenv("SUDO_USER", "dora", 1), 0);
    put("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nold:x:998:100::/:/bin/sh\nodd:x:1000:997::/:/bin/sh\n", 0644);
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    must_say(kept(&p.out), "log in again");
    char *group = scratch_read("root/etc/group");
    must_say(group, "joulet:x:996:dora\n");
    free(group);
    assert_int_equal(doctor(&p, "--undo", "--yes"), 0);
    put("etc/group", "root:x:0:\njoulet:x:500:carl,eve\n", 0644);
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    must_say(kept(&p.out), "sudo usermod -aG joulet dora");
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    must_say(kept(&p.out), "everything is in place; the group was there before");
    unsetenv("SUDO_USER");
    program_release(&p);
}

/* Not asked, not changed; nothing to fix; both at once; a manifest of somebody else. */
static void wrong_use(void **state)
{
    struct program p = {0};
    (void)state;
    char *before = everything(), *after;
    int code = doctor(&p, "--fix", NULL);
    if (geteuid() == 0) {
        assert_int_equal(code, 2);
        must_say(kept(&p.err), "nobody can be asked here, so nothing was changed: add --yes");
    } else {
        assert_int_equal(code, 1);
        must_say(kept(&p.err), "sudo joulet doctor --fix");
    }
    must_say(kept(&p.err), "chmod 0440"); /* shown before */
    program_release(&p);
    program_run(&p, ARGS("doctor", "--fix", "--undo"));
    assert_int_equal(p.code, 2);
    after = everything();
    assert_string_equal(before, after);
    free(after);
    free(before);
    assert_int_equal(nftw(in_root("sys"), removed, 16, FTW_DEPTH | FTW_PHYS), 0);
    assert_int_equal(doctor(&p, "--fix", "--yes"), 0);
    must_say(kept(&p.out), "nothing to fix");
    if (geteuid() == 0) {
        put("var/lib/joulet/doctor-fix", "file\t/etc/group\t0\n", 0644);
        assert_true(doctor(&p, "--undo", "--yes") != 0);
        must_say(kept(&p.err), "nothing was taken back");
    }
    program_release(&p);
}

#define ON_ROOT(f) cmocka_unit_test_setup_teardown(f, make_root, drop_root)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_ROOT(what_is_written_and_taken_back),
        ON_ROOT(tables_without_a_last_line_end),
        ON_ROOT(the_group_may_read_and_nobody_else),
        ON_ROOT(what_others_changed_is_left),
        ON_ROOT(perf_gets_a_capability_for_the_group_alone),
        ON_ROOT(msr_only_when_asked_by_name),
        ON_ROOT(links_out_of_the_folder_are_refused),
        ON_ROOT(links_inside_stay),
        ON_ROOT(a_list_that_others_wrote_is_not_believed),
        ON_ROOT(numbers_and_members),
        ON_ROOT(wrong_use),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
