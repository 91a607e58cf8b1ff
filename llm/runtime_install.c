/* runtime_install.c - `joulet engine install`: a current llama.cpp from Debian's next release in a folder of our own. No root,
 * nothing of the system changes. The index is read anew each time, because packages there change weekly and old ones leave the
 * archive; what was taken is written to a manifest. Built aside as engine.new, tried, then renamed: an interrupted run leaves the
 * old engine. */
#include "llm/runtime_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define ROOT_PACKAGE "llama.cpp-tools"
#define ROOM_BYTES                                                                                                               \
    ((int64_t)300 * 1000 * 1000) /* index 60 MB, packages 15, unpacked 70, engine 50, and as much again to spare                 \
                                  */

/* In order: sid only when the testing suite has lost the package for a while. */
static const char *const suites[] = {"forky", "sid"};

struct installation {
    const struct runtime_install *how;
    struct apt apt;
    struct jl_buf text; /* of the index; package_index points into it */
    struct package_index index;
    struct package_set set;
    char date[32];
    char *folder, *fresh, *tree;
    int lock;
};

static enum joulet_status take_lock(struct installation *in, struct joulet_error *err)
{
    char *path = runtime_path("engine.lock", err);
    if (!path)
        return JOULET_IO;
    in->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    enum joulet_status status = jl_ok(err);
    if (in->lock < 0)
        status = jl_fail(err, JOULET_IO, "%s could not be opened: %s", path, strerror(errno));
    else if (fcntl(in->lock, F_SETLK, &whole) != 0)
        status = jl_fail(err, JOULET_BUSY, "another joulet is installing llama.cpp: wait for it to end");
    free(path);
    return status;
}

static enum joulet_status check_room(const struct installation *in, struct joulet_error *err)
{
    int64_t room = jl_disk_free(in->apt.dir);
    if (room < 0 || room >= ROOM_BYTES)
        return jl_ok(err);
    return jl_fail(err, JOULET_IO,
                   "installing llama.cpp needs %.0f MB for a while and the disk of %s has %.0f MB free: free some space",
                   (double)ROOM_BYTES / 1e6, in->folder, (double)room / 1e6);
}

/* ---- from the index --------------------------------------------------------------------------------------------------- */

static void forget_index(struct installation *in)
{
    package_set_release(&in->set);
    package_index_release(&in->index);
    jl_buf_release(&in->text);
}

static enum joulet_status read_suite(struct installation *in, const char *suite, struct joulet_error *err)
{
    in->apt.suite = suite;
    apt_say(&in->apt, "reading the index of Debian %s from %s", suite, in->apt.mirror);
    enum joulet_status status = apt_update(&in->apt, &in->text, in->date, err);
    if (status == JOULET_OK)
        status = package_index_init(&in->index, in->text.data, in->text.len, err);
    if (status == JOULET_OK)
        status = package_closure(&in->index, ROOT_PACKAGE, true, &in->set, err);
    return status;
}

static enum joulet_status find_packages(struct installation *in, struct joulet_error *err)
{
    for (size_t i = 0; i < JL_COUNT(suites); i++) {
        enum joulet_status status = read_suite(in, suites[i], err);
        if (status != JOULET_NOT_FOUND)
            return status;
        forget_index(in);
    }
    return jl_fail(err, JOULET_UNSUPPORTED,
                   "%s has no %s for %s at present: build llama.cpp and give its llama-server with --engine PROGRAM",
                   in->apt.mirror, ROOT_PACKAGE, in->apt.arch);
}

static double set_megabytes(const struct package_set *set)
{
    double bytes = 0;
    for (size_t i = 0; i < set->n; i++) {
        char number[24];
        int64_t v;
        struct slice size = package_field(set->items[i], "Size");
        snprintf(number, sizeof(number), "%.*s", (int)size.n, size.at);
        if (jl_parse_i64(number, &v))
            bytes += (double)v;
    }
    return bytes / 1e6;
}

static enum joulet_status unpack(struct installation *in, struct joulet_error *err)
{
    enum joulet_status status = jl_ok(err);
    for (size_t i = 0; i < in->set.n && status == JOULET_OK; i++) {
        char *deb = apt_deb_path(&in->apt, in->set.items[i]->name);
        const char *const argv[] = {"dpkg-deb", "-x", deb, in->tree, NULL};
        status = deb ? apt_run(&in->apt, argv, NULL, "unpack.txt", err) : jl_fail(err, JOULET_IO, "a downloaded package is gone");
        free(deb);
    }
    return status;
}

static enum joulet_status fetch(struct installation *in, struct joulet_error *err)
{
    apt_say(&in->apt, "downloading %zu packages, %.1f MB", in->set.n, set_megabytes(&in->set));
    enum joulet_status status = apt_download(&in->apt, &in->set, err);
    if (status == JOULET_OK)
        apt_say(&in->apt, "unpacking");
    return status == JOULET_OK ? unpack(in, err) : status;
}

/* ---- the new folder ------------------------------------------------------------------------------------------------------ */

static enum joulet_status empty_folder(const char *path, struct joulet_error *err)
{
    if (!runtime_remove_tree(path))
        return jl_fail(err, JOULET_IO, "%s is left from an earlier installation and cannot be removed: remove it by hand", path);
    return jl_make_dirs(path, err);
}

static enum joulet_status assemble(struct installation *in, struct joulet_error *err)
{
    enum joulet_status status = empty_folder(in->fresh, err);
    if (status == JOULET_OK)
        status = runtime_assemble(in->tree, in->fresh, err);
    if (status != JOULET_NOT_FOUND)
        return status;
    /* A library lies in a package that is not filed under libraries: take everything the programs depend on. */
    package_set_release(&in->set);
    status = package_closure(&in->index, ROOT_PACKAGE, false, &in->set, err);
    if (status == JOULET_OK)
        status = fetch(in, err);
    if (status == JOULET_OK)
        status = empty_folder(in->fresh, err);
    return status == JOULET_OK ? runtime_assemble(in->tree, in->fresh, err) : status;
}

static void add_manifest_line(struct jl_buf *b, const struct stanza *s)
{
    struct slice version = package_field(s, "Version"), sha256 = package_field(s, "SHA256");
    jl_buf_printf(b, "%.*s %.*s %.*s\n", (int)s->name.n, s->name.at, (int)version.n, version.at, (int)sha256.n, sha256.at);
}

static enum joulet_status write_manifest(struct installation *in, struct joulet_error *err)
{
    struct jl_buf b;
    char *path = jl_strf("%s/MANIFEST", in->fresh);
    jl_buf_init(&b, 1 << 20);
    jl_buf_printf(&b, "# llama.cpp from Debian %s (%s), index of %s, %s\n# package version sha256\n", in->apt.suite, in->apt.arch,
                  in->date, in->apt.mirror);
    for (size_t i = 0; i < in->set.n; i++) {
        add_manifest_line(&b, in->set.items[i]);
        if (!runtime_copy_licence(in->tree, in->set.items[i]->name, in->fresh))
            apt_say(&in->apt, "warning: the package %.*s has no licence text", (int)in->set.items[i]->name.n,
                    in->set.items[i]->name.at);
    }
    enum joulet_status status =
        path && !b.failed ? jl_write_file(path, b.data, b.len, 0644, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    jl_buf_release(&b);
    free(path);
    return status;
}

static enum joulet_status try_it(struct installation *in, struct joulet_error *err)
{
    struct args args;
    struct joulet_error why;
    enum joulet_status status = args_private(&args, in->fresh, RUNTIME_PROGRAM, err);
    if (status != JOULET_OK)
        return status;
    args_add(&args, "--version");
    status = args.failed ? JOULET_MEMORY : apt_run(&in->apt, (const char *const *)args.v, in->fresh, "try.txt", &why);
    args_release(&args);
    if (status == JOULET_OK || status == JOULET_CANCELLED)
        return status == JOULET_OK ? jl_ok(err) : jl_fail(err, status, "%s", why.message);
    return jl_fail(err, status, "the llama-server of Debian %s does not run on this machine: its trial %.300s", in->apt.suite,
                   status == JOULET_MEMORY ? "found no memory" : why.message);
}

static enum joulet_status replace(struct installation *in, struct joulet_error *err)
{
    char *old = runtime_path("engine.old", err);
    enum joulet_status status = old ? jl_ok(err) : JOULET_MEMORY;
    if (old && !runtime_remove_tree(old))
        status = jl_fail(err, JOULET_IO, "%s cannot be removed: remove it by hand", old);
    if (status == JOULET_OK && rename(in->folder, old) != 0 && errno != ENOENT)
        status = jl_fail(err, JOULET_IO, "%s could not be put aside: %s", in->folder, strerror(errno));
    if (status == JOULET_OK && rename(in->fresh, in->folder) != 0) {
        status = jl_fail(err, JOULET_IO, "%s could not be put in place: %s", in->folder, strerror(errno));
        (void)rename(old, in->folder);
    }
    if (status == JOULET_OK)
        runtime_remove_tree(old);
    free(old);
    return status;
}

/* ---- all together ---------------------------------------------------------------------------------------------------------- */

static enum joulet_status install(struct installation *in, struct joulet_error *err)
{
    in->fresh = runtime_path("engine.new", err);
    in->tree = jl_strf("%s/tree", in->apt.dir);
    enum joulet_status status = in->fresh && in->tree ? check_room(in, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        status = find_packages(in, err);
    if (status == JOULET_OK)
        status = fetch(in, err);
    if (status == JOULET_OK)
        status = assemble(in, err);
    if (status == JOULET_OK)
        status = write_manifest(in, err);
    if (status == JOULET_OK)
        status = try_it(in, err);
    if (status == JOULET_OK)
        status = replace(in, err);
    if (status != JOULET_OK && in->fresh)
        runtime_remove_tree(in->fresh);
    forget_index(in);
    free(in->fresh);
    free(in->tree);
    return status;
}

enum joulet_status runtime_install(const struct runtime_install *how, struct joulet_error *err)
{
    char version[64];
    struct installation in = {.how = how, .lock = -1, .folder = runtime_folder(err)};
    if (!in.folder)
        return JOULET_IO;
    in.apt.how = how;
    bool there = runtime_version(version, sizeof(version), NULL) == JOULET_OK;
    enum joulet_status status = jl_ok(err);
    if (there && !how->force) {
        apt_say(&in.apt, "llama.cpp %s is already in %s; --force installs it anew", version, in.folder);
        free(in.folder);
        return status;
    }
    status = take_lock(&in, err);
    if (status == JOULET_OK)
        status = apt_open(&in.apt, how, err);
    if (status == JOULET_OK) {
        status = install(&in, err);
        apt_close(&in.apt);
    }
    if (status == JOULET_OK && runtime_version(version, sizeof(version), err) == JOULET_OK) {
        in.apt.how = how;
        apt_say(&in.apt, "llama.cpp %s is ready in %s", version, in.folder);
    }
    if (in.lock >= 0)
        close(in.lock);
    free(in.folder);
    return status;
}
