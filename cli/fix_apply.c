/* fix_apply.c - does the steps of a plan and takes them back. Each step is written into a manifest before it is done, with what
 * was there before: that alone is undone, byte for byte; what somebody changed since is left and said.
 *
 * Lines of the manifest, tab-separated: "line PATH TEXT", "file PATH SHA256", "mode PATH MODE GID SET_MODE SET_GID",
 * "cap PATH MODE GID VALUE" (hexadecimal, "" none), "dir PATH". */
#include "cli/fix.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <shadow.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define HEAD          "joulet doctor --fix 1\n"
#define TABLE_MAX     ((size_t)1 << 20)
#define CAPS          "security.capability"
#define ACCOUNTS_LOCK "/etc/.pwd.lock"
#define LABEL         "security.selinux"

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static enum joulet_status failed(struct joulet_error *err, const char *path)
{
    return jl_fail(err, errno == EACCES || errno == EPERM ? JOULET_PERMISSION : JOULET_IO,
                   "%s could not be changed: %s; nothing more was done, `joulet doctor --undo` takes back what was", path,
                   strerror(errno));
}

static bool read_all(const char *path, struct jl_buf *b)
{
    jl_buf_init(b, TABLE_MAX);
    bool ok = jl_read_file(path, b, NULL) == JOULET_OK;
    jl_buf_str(b, "");
    return ok;
}

/* The same owner, group, mode and label (SELinux) as before: these tables belong to the system. */
static enum joulet_status replace_table(const char *path, const struct jl_buf *b, struct joulet_error *err)
{
    struct stat st;
    char label[512];
    if (stat(path, &st) != 0)
        return failed(err, path);
    ssize_t n = getxattr(path, LABEL, label, sizeof label);
    enum joulet_status status = jl_write_file(path, b->data, b->len, (int)(st.st_mode & 07777), err);
    if (status == JOULET_OK &&
        (chown(path, st.st_uid, st.st_gid) != 0 || (n > 0 && setxattr(path, LABEL, label, (size_t)n, 0) != 0)))
        return failed(err, path);
    return status;
}

static bool is_dir(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* A file that the lock itself has made goes with it. */
static void unlock_accounts(bool fresh)
{
    if (fresh)
        unlink(ACCOUNTS_LOCK);
    ulckpwdf();
}

/* ---- the manifest ------------------------------------------------------------------------------------------------------ */

/* What undoes as root must have been written by root: file and folder are his, and nobody else may write there. */
static bool only_ours(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0 && !S_ISLNK(st.st_mode) && (st.st_uid == 0 || st.st_uid == geteuid()) && !(st.st_mode & 022);
}

static enum joulet_status believe(const char *path, struct joulet_error *err)
{
    struct stat st;
    char *folder = jl_strf("%.*s", (int)(strrchr(path, '/') - path), path);
    bool good = folder && (lstat(folder, &st) != 0 || only_ours(folder)) && (lstat(path, &st) != 0 || only_ours(path));
    free(folder);
    return good ? JOULET_OK
                : jl_fail(
                      err, JOULET_PERMISSION,
                      "%s or its folder belongs to or may be changed by others, so it is not believed and nothing was done: look "
                      "at it, then remove it",
                      path);
}

static enum joulet_status remember(const char *root, const char *line, struct joulet_error *err)
{
    struct jl_buf b;
    char *path = fix_path(root, FIX_MANIFEST);
    if (path && !read_all(path, &b))
        jl_buf_str(&b, HEAD);
    enum joulet_status st = JOULET_OK;
    if (!path || !jl_buf_str(&b, line) || !jl_buf_str(&b, "\n"))
        st = jl_fail(err, JOULET_MEMORY, "out of memory");
    else
        st = jl_write_file(path, b.data, b.len, 0644, err);
    if (path)
        jl_buf_release(&b);
    free(path);
    return st;
}

static enum joulet_status remember_take(const char *root, char *line, struct joulet_error *err)
{
    enum joulet_status st = line ? remember(root, line, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    free(line);
    return st;
}

/* Folders on the way to a file that are not there yet; those that are made are remembered, unless they hold the manifest. */
static enum joulet_status make_way(const char *root, const char *path, bool note, struct joulet_error *err)
{
    enum joulet_status st = JOULET_OK;
    for (const char *slash = strchr(path + 1, '/'); slash && st == JOULET_OK; slash = strchr(slash + 1, '/')) {
        char *dir = jl_strf("%s%.*s", root, (int)(slash - path), path);
        if (dir && !is_dir(dir)) {
            if (note)
                st = remember_take(root, jl_strf("dir\t%.*s", (int)(slash - path), path), err);
            if (st == JOULET_OK && mkdir(dir, 0755) != 0)
                st = failed(err, dir);
        }
        free(dir);
    }
    return st;
}

/* The manifest's own folders cannot be written into it before they are there; afterwards they can. */
static enum joulet_status open_manifest(const char *root, struct joulet_error *err)
{
    char *made[8];
    size_t n = 0;
    const char *path = FIX_MANIFEST;
    for (const char *slash = strchr(path + 1, '/'); slash && n < 8; slash = strchr(slash + 1, '/')) {
        char *dir = jl_strf("%s%.*s", root, (int)(slash - path), path);
        if (dir && !is_dir(dir))
            made[n++] = jl_strf("dir\t%.*s", (int)(slash - path), path);
        free(dir);
    }
    enum joulet_status st = make_way(root, path, false, err);
    char *full = fix_path(root, path);
    if (st == JOULET_OK)
        st = full ? believe(full, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    free(full);
    for (size_t i = 0; i < n; i++) {
        if (st == JOULET_OK)
            st = remember_take(root, made[i], err);
        else
            free(made[i]);
    }
    return st;
}

/* ---- doing ------------------------------------------------------------------------------------------------------------- */

/* A table without a line end at its end stays one. */
static enum joulet_status do_line(const struct fix_plan *p, const struct fix_step *s, const char *path, struct joulet_error *err)
{
    struct jl_buf b;
    enum joulet_status st = remember_take(p->root, jl_strf("line\t%s\t%s", s->path, s->text), err);
    if (st == JOULET_OK && access(path, F_OK) != 0)
        st = failed(err, path);
    if (st != JOULET_OK)
        return st;
    read_all(path, &b);
    bool ended = !b.len || b.data[b.len - 1] == '\n';
    jl_buf_printf(&b, ended ? "%s\n" : "\n%s", s->text);
    st = b.failed ? jl_fail(err, JOULET_MEMORY, "out of memory") : replace_table(path, &b, err);
    jl_buf_release(&b);
    return st;
}

static void digest(const char *bytes, size_t n, char out[65])
{
    struct jl_sha256 sha;
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, bytes, n);
    jl_sha256_hex(&sha, out);
}

static enum joulet_status do_file(const struct fix_plan *p, const struct fix_step *s, const char *path, struct joulet_error *err)
{
    char hex[65];
    digest(s->text, strlen(s->text), hex);
    enum joulet_status st = make_way(p->root, s->path, true, err);
    if (st == JOULET_OK)
        st = remember_take(p->root, jl_strf("file\t%s\t%s", s->path, hex), err);
    return st == JOULET_OK ? jl_write_file(path, s->text, strlen(s->text), 0644, err) : st;
}

/* The group first: a mode must never be wider for the old group. */
static bool set_mode(const char *path, uint32_t gid, unsigned mode)
{
    return chown(path, (uid_t)-1, gid) == 0 && chmod(path, mode) == 0;
}

static enum joulet_status do_mode(const struct fix_plan *p, const struct fix_step *s, const char *path, struct joulet_error *err)
{
    struct stat was;
    if (stat(path, &was) != 0)
        return failed(err, path);
    enum joulet_status st = remember_take(
        p->root, jl_strf("mode\t%s\t%o\t%u\t%o\t%u", s->path, was.st_mode & 07777, was.st_gid, s->mode, p->gid), err);
    return st == JOULET_OK && !set_mode(path, p->gid, s->mode) ? failed(err, path) : st;
}

/* struct vfs_cap_data of revision 2: little-endian words, effective. */
static bool set_capabilities(const char *path, uint64_t bits)
{
    const uint32_t words[5] = {htole32(0x02000001), htole32((uint32_t)bits), 0, htole32((uint32_t)(bits >> 32)), 0};
    return setxattr(path, CAPS, words, sizeof words, 0) == 0;
}

/* The attribute as it is, in hexadecimal; "" none. */
static void caps_text(const char *path, char *out, size_t size)
{
    unsigned char value[64];
    ssize_t n = getxattr(path, CAPS, value, sizeof value);
    out[0] = '\0';
    for (ssize_t i = 0; i < n; i++)
        snprintf(out + strlen(out), size - strlen(out), "%02x", value[i]);
}

/* As it was: the value, or none. */
static bool put_caps(const char *path, const char *text)
{
    unsigned char value[64];
    size_t n = 0;
    for (unsigned byte; n < sizeof value && text[0] && text[1] && sscanf(text, "%2x", &byte) == 1; text += 2)
        value[n++] = (unsigned char)byte;
    return n ? setxattr(path, CAPS, value, n, 0) == 0 : removexattr(path, CAPS) == 0 || errno == ENODATA;
}

static enum joulet_status do_capability(const struct fix_plan *p, const struct fix_step *s, const char *path,
                                        struct joulet_error *err)
{
    struct stat was;
    if (stat(path, &was) != 0)
        return failed(err, path);
    char caps[160];
    caps_text(path, caps, sizeof caps);
    enum joulet_status st =
        remember_take(p->root, jl_strf("cap\t%s\t%o\t%u\t%s", s->path, was.st_mode & 07777, was.st_gid, caps), err);
    /* A change of owner clears capabilities, so they come last. */
    return st == JOULET_OK && (!set_mode(path, p->gid, s->mode) || !set_capabilities(path, p->capabilities)) ? failed(err, path)
                                                                                                             : st;
}

enum joulet_status fix_apply(const struct fix_plan *p, struct joulet_error *err)
{
    static enum joulet_status (*const how[])(const struct fix_plan *, const struct fix_step *, const char *,
                                             struct joulet_error *) = {
        [FIX_LINE] = do_line, [FIX_FILE] = do_file, [FIX_MODE] = do_mode, [FIX_CAPABILITY] = do_capability};
    bool fresh = access(ACCOUNTS_LOCK, F_OK) != 0;
    bool locked = !*p->root && lckpwdf() == 0; /* others wait with their changes of the accounts */
    enum joulet_status st = open_manifest(p->root, err);
    for (size_t i = 0; st == JOULET_OK && i < p->n; i++) {
        if (p->steps[i].in_place)
            continue;
        char *path = fix_inside(p->root, p->steps[i].path, err);
        st = path ? JOULET_OK : err->status;
        if (path)
            st = how[p->steps[i].kind](p, &p->steps[i], path, err);
        free(path);
    }
    if (locked)
        unlock_accounts(fresh);
    return st;
}

/* ---- taking back -------------------------------------------------------------------------------------------------------- */

struct undoing {
    const char *root;
    struct jl_buf *left;
    size_t undone;
};

static void leave(struct undoing *u, const char *path, const char *why)
{
    jl_buf_printf(u->left, "%s%s was left as it is: %s\n", u->root, path, why);
}

/* The line as it was written; when members came since, the line of the same group. */
static void undo_line(struct undoing *u, const char *name, const char *path, const char *text)
{
    struct jl_buf b, out;
    struct joulet_error err;
    size_t key = strcspn(text, ":") + 1;
    bool whole = read_all(path, &b);
    char *at = NULL;
    for (char *line = b.data; whole && line && *line && !at; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL)
        at = strncmp(line, text, key) == 0 ? line : NULL;
    if (!at) {
        jl_buf_release(&b);
        return;
    }
    size_t before = (size_t)(at - b.data), n = strcspn(at, "\n");
    bool last = at[n] == '\0';
    jl_buf_init(&out, TABLE_MAX);
    jl_buf_add(&out, b.data, last && before ? before - 1 : before); /* without the line end that was put before it */
    jl_buf_str(&out, at + n + !last);
    if (replace_table(path, &out, &err) == JOULET_OK)
        u->undone++;
    else
        leave(u, name, err.message);
    jl_buf_release(&out);
    jl_buf_release(&b);
}

static void undo_file(struct undoing *u, const char *name, const char *path, const char *hex)
{
    struct jl_buf b;
    char now[65];
    bool there = read_all(path, &b);
    digest(b.data ? b.data : "", b.len, now);
    jl_buf_release(&b);
    if (!there)
        return;
    if (strcmp(now, hex) != 0)
        leave(u, name, "somebody changed it since");
    else if (unlink(path) != 0)
        leave(u, name, strerror(errno));
    else
        u->undone++;
}

static void undo_mode(struct undoing *u, const char *name, const char *path, const char *text)
{
    unsigned mode, set;
    uint32_t gid, set_gid;
    struct stat st;
    if (sscanf(text, "%o\t%u\t%o\t%u", &mode, &gid, &set, &set_gid) != 4 || stat(path, &st) != 0)
        return;
    if ((st.st_mode & 07777) == mode && st.st_gid == gid)
        return;
    if ((st.st_mode & 07777) != set || st.st_gid != set_gid)
        leave(u, name, "somebody changed its mode since");
    else if (chmod(path, mode & set) != 0 || !set_mode(path, gid, mode)) /* never wider for either group on the way */
        leave(u, name, strerror(errno));
    else
        u->undone++;
}

static void undo_capability(struct undoing *u, const char *name, const char *path, const char *text)
{
    unsigned mode;
    uint32_t gid;
    int n = 0;
    if (sscanf(text, "%o\t%u%n", &mode, &gid, &n) != 2 || access(path, F_OK) != 0)
        return;
    /* Without capabilities before the mode is wider, and those of before last, for a change of owner clears them. */
    if (!put_caps(path, "") || !set_mode(path, gid, mode) || !put_caps(path, text[n] == '\t' ? text + n + 1 : ""))
        leave(u, name, strerror(errno));
    else
        u->undone++;
}

static void undo_dir(struct undoing *u, const char *name, const char *path, const char *text)
{
    (void)text;
    if (rmdir(path) == 0)
        u->undone++;
    else if (errno != ENOENT && errno != ENOTEMPTY && errno != EEXIST)
        leave(u, name, strerror(errno));
}

static void undo_one(struct undoing *u, char *line)
{
    static const struct {
        const char *word;
        void (*undo)(struct undoing *, const char *, const char *, const char *);
    } rows[] = {{"line", undo_line}, {"file", undo_file}, {"mode", undo_mode}, {"cap", undo_capability}, {"dir", undo_dir}};
    char *name = strchr(line, '\t'), *text = name ? strchr(name + 1, '\t') : NULL;
    if (!name)
        return;
    *name++ = '\0';
    if (text)
        *text++ = '\0';
    struct joulet_error err = {.status = JOULET_OK};
    char *path = name[0] == '/' && !strstr(name, "/../") ? fix_inside(u->root, name, &err) : NULL;
    if (err.status != JOULET_OK)
        leave(u, name, err.message);
    for (size_t i = 0; path && i < JL_COUNT(rows); i++)
        if (!strcmp(rows[i].word, line))
            rows[i].undo(u, name, path, text ? text : "");
    free(path);
}

/* dirs: the folders, which must be empty by then; else everything but them. The last first. */
static void undo_lines(struct undoing *u, struct jl_buf *b, bool dirs)
{
    for (size_t end = b->len; end > sizeof HEAD - 1;) {
        size_t start = end - 1;
        b->data[start] = '\0';
        while (start > 0 && b->data[start - 1] != '\n' && b->data[start - 1] != '\0')
            start--;
        if (jl_starts(b->data + start, "dir\t") == dirs)
            undo_one(u, b->data + start);
        end = start;
    }
}

enum joulet_status fix_undo(const char *root, struct jl_buf *left, size_t *undone, struct joulet_error *err)
{
    struct jl_buf b;
    struct undoing u = {.root = root, .left = left};
    enum joulet_status st = jl_ok(err);
    char *path = fix_path(root, FIX_MANIFEST);
    bool there = path && read_all(path, &b);
    bool fresh = access(ACCOUNTS_LOCK, F_OK) != 0, locked = there && !*root && lckpwdf() == 0;
    if (there && believe(path, err) != JOULET_OK) {
        st = err->status;
    } else if (there && !jl_starts(b.data, HEAD)) {
        st = jl_fail(err, JOULET_FORMAT, "%s is not a list of changes that joulet made: nothing was taken back", path);
    } else if (there) {
        undo_lines(&u, &b, false);
        if (unlink(path) != 0)
            st = failed(err, path);
    }
    if (st == JOULET_OK && there)
        undo_lines(&u, &b, true);
    if (locked)
        unlock_accounts(fresh);
    *undone = u.undone;
    if (path)
        jl_buf_release(&b);
    free(path);
    return st;
}
