/* runtime_apt.c - apt-get as an unprivileged reader of an archive: lists, cache and sources live in a scratch folder, the
 * packages of the machine are neither read nor changed, and apt checks every signature and checksum with the archive's own
 * keyring. */
#include "llm/runtime_private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define INDEX_MAX ((size_t)512 << 20)
#define LOG_MAX   ((size_t)1 << 20)

static const char *const keyrings[] = {"/usr/share/keyrings/debian-archive-keyring.gpg",
                                       "/usr/share/keyrings/debian-archive-keyring.pgp"};

void apt_say(const struct apt *a, const char *fmt, ...)
{
    char line[512];
    va_list args;
    if (!a->how->progress)
        return;
    va_start(args, fmt);
    vsnprintf(line, sizeof(line), fmt, args);
    va_end(args);
    a->how->progress(a->how->user, line);
}

/* ---- running -------------------------------------------------------------------------------------------------------------- */

static bool cancelled(const struct apt *a)
{
    return a->how->cancel && atomic_load(a->how->cancel);
}

/* The first error line of a program's output, without its "E: ", else the last line. */
static void own_words(const char *log, char *out, size_t size)
{
    struct jl_buf text;
    jl_buf_init(&text, LOG_MAX);
    snprintf(out, size, "it said nothing");
    jl_read_file(log, &text, NULL);
    bool error = false;
    for (const char *line = text.data; line && *line && !error;) {
        size_t n = strcspn(line, "\n");
        error = n > 3 && strncmp(line, "E: ", 3) == 0;
        if (n)
            snprintf(out, size, "%.*s", (int)(error ? n - 3 : n), error ? line + 3 : line);
        line += n + (line[n] == '\n');
    }
    jl_buf_release(&text);
}

enum joulet_status apt_run(const struct apt *a, const char *const *argv, const char *cwd, const char *log,
                           struct joulet_error *err)
{
    struct jl_process p = {.pid = -1, .ended = true};
    char *output = jl_strf("%s/%s", a->dir, log), *config = jl_strf("APT_CONFIG=%s/apt.conf", a->dir);
    /* The system's own configuration is asked before ours is written. */
    bool ours = config && access(config + strlen("APT_CONFIG="), R_OK) == 0;
    const char *env[] = {"LC_ALL=C", ours ? config : NULL, NULL};
    char words[300];
    enum joulet_status status = output && config ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK) {
        unlink(output);
        status = jl_spawn(&p, &(struct jl_spawn){.argv = argv, .env = env, .cwd = cwd, .log = output}, err);
    }
    while (status == JOULET_OK && !jl_process_wait(&p, 0.1)) {
        if (cancelled(a)) {
            jl_process_stop(&p, 2);
            break;
        }
    }
    if (status == JOULET_OK && cancelled(a)) {
        status = jl_fail(err, JOULET_CANCELLED, "the installation was interrupted: what was there before is untouched");
    } else if (status == JOULET_OK && p.status != 0) {
        own_words(output, words, sizeof(words));
        status = jl_fail(err, JOULET_IO, "%s %s failed: %s", argv[0], argv[1], words);
    }
    free(output);
    free(config);
    return status;
}

static enum joulet_status read_output(const struct apt *a, const char *log, struct jl_buf *out, struct joulet_error *err)
{
    char *path = jl_strf("%s/%s", a->dir, log);
    jl_buf_init(out, LOG_MAX);
    enum joulet_status status = path ? jl_read_file(path, out, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    free(path);
    if (status != JOULET_OK)
        jl_buf_release(out);
    return status;
}

/* ---- preparing ------------------------------------------------------------------------------------------------------------ */

/* os-release, or a line that says macOS, where there is no such file. */
static void read_os_release(struct jl_buf *out)
{
    struct jl_machine m;
    jl_buf_init(out, 65536);
    if (jl_read_file("/etc/os-release", out, NULL) == JOULET_OK || jl_read_file("/usr/lib/os-release", out, NULL) == JOULET_OK)
        return;
    jl_machine_get(&m);
    jl_buf_str(out, jl_starts(m.os, "macOS") || jl_starts(m.kernel, "Darwin") ? "ID=macos\n" : "");
}

static enum joulet_status unsupported(const char *why, struct joulet_error *err)
{
    struct jl_buf os;
    read_os_release(&os);
    jl_fail(err, JOULET_UNSUPPORTED, "the private llama.cpp cannot be had here: %s; %s", why, apt_advice(os.data ? os.data : ""));
    jl_buf_release(&os);
    return JOULET_UNSUPPORTED;
}

static enum joulet_status make_folders(const struct apt *a, struct joulet_error *err)
{
    static const char *const folders[] = {"state", "lists/partial", "cache/archives/partial", "log", "etc/none", "debs", "tree"};
    enum joulet_status status = jl_ok(err);
    if (!runtime_remove_tree(a->dir))
        return jl_fail(err, JOULET_IO, "%s is left from an earlier installation and cannot be removed: remove it by hand",
                       a->dir);
    for (size_t i = 0; i < JL_COUNT(folders) && status == JOULET_OK; i++) {
        char *path = jl_strf("%s/%s", a->dir, folders[i]);
        status = path ? jl_make_dirs(path, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
        free(path);
    }
    return status;
}

static enum joulet_status find_arch(struct apt *a, struct joulet_error *err)
{
    struct jl_buf out;
    struct joulet_error why;
    enum joulet_status status = apt_run(a, (const char *const[]){"dpkg", "--print-architecture", NULL}, NULL, "arch.txt", &why);
    if (status == JOULET_NOT_FOUND)
        return unsupported("it needs Debian's dpkg and apt-get", err);
    if (status != JOULET_OK)
        return jl_fail(err, status, "%s", why.message);
    status = read_output(a, "arch.txt", &out, err);
    if (status != JOULET_OK)
        return status;
    a->arch = jl_strf("%.*s", (int)strcspn(out.data, "\n"), out.data);
    jl_buf_release(&out);
    return a->arch ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
}

static enum joulet_status check_mirror(const char *mirror, struct joulet_error *err)
{
    for (const char *p = mirror; *p; p++)
        if (!isgraph((unsigned char)*p))
            return jl_fail(err, JOULET_USAGE, "--mirror '%.200s' is no address: it contains white space", mirror);
    if (!strchr(mirror, ':') || !isalpha((unsigned char)*mirror))
        return jl_fail(err, JOULET_USAGE,
                       "--mirror '%.200s' is no address: write it as in sources.list, with http:// or file:/ in front", mirror);
    return jl_ok(err);
}

static enum joulet_status list_targets(const struct apt *a, bool fetched, struct jl_buf *out, struct joulet_error *err)
{
    /* What was never fetched has no origin; apt lists it only without asking for that. */
    const char *format =
        fetched ? "$(ORIGIN)|$(LABEL)|$(CODENAME)|$(COMPONENT)|$(REPO_URI)" : "||$(RELEASE)|$(COMPONENT)|$(REPO_URI)";
    const char *const argv[] = {
        "apt-get", "indextargets", "--format", format, "Created-By: Packages", fetched ? NULL : "--no-release-info", NULL};
    enum joulet_status status = apt_run(a, argv, NULL, "targets.txt", err);
    if (status == JOULET_NOT_FOUND)
        return unsupported("it needs Debian's apt-get", err);
    return status == JOULET_OK ? read_output(a, "targets.txt", out, err) : status;
}

/* Codename of the running system when it is Debian itself; "" otherwise. */
static void debian_codename(char *codename, size_t size)
{
    struct jl_buf os;
    char id[64];
    read_os_release(&os);
    apt_os_release_value(os.data ? os.data : "", "ID", id, sizeof(id));
    apt_os_release_value(os.data ? os.data : "", "VERSION_CODENAME", codename, size);
    if (strcmp(id, "debian") != 0)
        codename[0] = '\0';
    jl_buf_release(&os);
}

static enum joulet_status system_mirror(struct apt *a, struct joulet_error *err)
{
    char codename[64];
    debian_codename(codename, sizeof(codename));
    for (int fetched = 1; fetched >= 0 && !a->mirror; fetched--) {
        struct jl_buf out;
        enum joulet_status status = list_targets(a, fetched, &out, err);
        if (status != JOULET_OK)
            return status;
        a->mirror = apt_pick_mirror(out.data, codename[0] ? codename : NULL);
        jl_buf_release(&out);
    }
    return a->mirror ? JOULET_OK : unsupported("apt's sources name no Debian archive", err);
}

static enum joulet_status find_mirror(struct apt *a, struct joulet_error *err)
{
    if (!a->how->mirror)
        return system_mirror(a, err);
    enum joulet_status status = check_mirror(a->how->mirror, err);
    if (status != JOULET_OK)
        return status;
    a->mirror = jl_strdup(a->how->mirror);
    return a->mirror ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
}

static enum joulet_status find_keyring(struct apt *a, struct joulet_error *err)
{
    for (size_t i = 0; i < JL_COUNT(keyrings) && !a->keyring; i++)
        if (access(keyrings[i], R_OK) == 0)
            a->keyring = jl_strdup(keyrings[i]);
    if (a->keyring)
        return jl_ok(err);
    return jl_fail(
        err, JOULET_UNSUPPORTED,
        "signatures of Debian's archive cannot be checked without its keyring: install the package debian-archive-keyring");
}

static enum joulet_status find_inherited(struct apt *a, struct joulet_error *err)
{
    struct jl_buf out;
    enum joulet_status status = apt_run(a, (const char *const[]){"apt-config", "dump", NULL}, NULL, "config.txt", err);
    if (status == JOULET_NOT_FOUND)
        return unsupported("it needs Debian's apt-get", err);
    if (status == JOULET_OK)
        status = read_output(a, "config.txt", &out, err);
    if (status != JOULET_OK)
        return status;
    a->inherited = apt_pick_inherited(out.data);
    jl_buf_release(&out);
    return a->inherited ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
}

enum joulet_status apt_open(struct apt *a, const struct runtime_install *how, struct joulet_error *err)
{
    *a = (struct apt){.how = how, .check_valid = true, .dir = runtime_path("engine.work", err)};
    enum joulet_status status = a->dir ? make_folders(a, err) : JOULET_IO;
    if (status == JOULET_OK)
        status = find_arch(a, err);
    if (status == JOULET_OK)
        status = find_mirror(a, err);
    if (status == JOULET_OK)
        status = find_keyring(a, err);
    if (status == JOULET_OK)
        status = find_inherited(a, err);
    if (status != JOULET_OK)
        apt_close(a);
    return status;
}

void apt_close(struct apt *a)
{
    if (a->dir)
        runtime_remove_tree(a->dir);
    free(a->dir);
    free(a->mirror);
    free(a->keyring);
    free(a->arch);
    free(a->inherited);
    *a = (struct apt){0};
}

/* ---- index and packages ------------------------------------------------------------------------------------------ */

static enum joulet_status write_text(const struct apt *a, const char *name, bool (*text)(const struct apt *, struct jl_buf *),
                                     struct joulet_error *err)
{
    struct jl_buf b;
    char *path = jl_strf("%s/%s", a->dir, name);
    jl_buf_init(&b, LOG_MAX);
    enum joulet_status status = JOULET_MEMORY;
    if (path && text(a, &b))
        status = jl_write_file(path, b.data, b.len, 0600, err);
    else
        jl_fail(err, JOULET_MEMORY, "out of memory");
    jl_buf_release(&b);
    free(path);
    return status;
}

static enum joulet_status write_config(const struct apt *a, struct joulet_error *err)
{
    char *status_file = jl_strf("%s/status", a->dir);
    enum joulet_status status =
        status_file ? jl_write_file(status_file, "", 0, 0600, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    free(status_file);
    if (status == JOULET_OK)
        status = write_text(a, "etc/joulet.sources", apt_sources_text, err);
    if (status == JOULET_OK)
        status = write_text(a, "apt.conf", apt_config_text, err);
    return status;
}

/* The one file of the lists folder whose name ends so; malloc'ed. */
static char *list_file(const struct apt *a, const char *ending)
{
    char **names, *found = NULL;
    size_t n;
    char *lists = jl_strf("%s/lists", a->dir), *suite = jl_strf("_dists_%s_", a->suite);
    if (lists && suite && jl_list_dir(lists, &names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n && !found; i++) {
            size_t len = strlen(names[i]), end = strlen(ending);
            if (len > end && strcmp(names[i] + len - end, ending) == 0 && strstr(names[i], suite))
                found = jl_strf("%s/%s", lists, names[i]);
        }
        jl_free_list(names, n);
    }
    free(suite);
    free(lists);
    return found;
}

static enum joulet_status read_list(const struct apt *a, const char *ending, struct jl_buf *out, struct joulet_error *err)
{
    char *path = list_file(a, ending);
    jl_buf_init(out, INDEX_MAX);
    enum joulet_status status = path ? jl_read_file(path, out, err)
                                     : jl_fail(err, JOULET_IO, "apt-get brought no index of %s from %s", a->suite, a->mirror);
    free(path);
    if (status != JOULET_OK)
        jl_buf_release(out);
    return status;
}

/* Signatures are checked by now: the date is the archive's own. */
enum joulet_status apt_judge_age(const struct apt *a, char date[32], struct joulet_error *err)
{
    struct jl_buf release;
    int64_t made_s;
    enum joulet_status status = read_list(a, "Release", &release, err); /* InRelease too */
    if (status != JOULET_OK)
        return status;
    bool dated = package_release_date(release.data, release.len, &made_s);
    jl_buf_release(&release);
    if (!dated)
        return jl_fail(err, JOULET_FORMAT, "the index of %s from %s has no date", a->suite, a->mirror);
    int64_t days = (jl_wall_ns() / JL_NS_PER_S - made_s) / 86400;
    jl_format_time(date, 32, made_s * JL_NS_PER_S);
    if (days > RUNTIME_STALE_DAYS && !a->how->allow_stale)
        return jl_fail(err, JOULET_UNSUPPORTED,
                       "the index of %s from %s is %lld days old (%.10s), as a frozen or hostile mirror would serve it: give a "
                       "current one with "
                       "--mirror URL, or --allow-stale to take it all the same",
                       a->suite, a->mirror, (long long)days, date);
    if (!a->check_valid)
        apt_say(a, "warning: this mirror serves an expired index, %lld days old (%.10s); signatures are good, going on",
                (long long)days, date);
    else
        apt_say(a, "index of %.10s, signature good", date);
    return jl_ok(err);
}

static enum joulet_status run_update(struct apt *a, struct joulet_error *err)
{
    const char *const argv[] = {"apt-get", "update", "-q", NULL};
    struct jl_buf log;
    enum joulet_status status = write_config(a, err);
    if (status == JOULET_OK)
        status = apt_run(a, argv, NULL, "update.txt", err);
    if (status != JOULET_IO || !a->check_valid || read_output(a, "update.txt", &log, NULL) != JOULET_OK)
        return status;
    bool expired = apt_is_expired(log.data);
    jl_buf_release(&log);
    if (!expired)
        return status;
    a->check_valid = false;
    status = write_config(a, err);
    return status == JOULET_OK ? apt_run(a, argv, NULL, "update.txt", err) : status;
}

/* What a failure of the network or of the archive leaves to do. */
static enum joulet_status with_remedy(enum joulet_status status, struct joulet_error *err)
{
    static const char remedy[] = "; check the network, or give another mirror with --mirror URL";
    size_t n = err ? strlen(err->message) : 0;
    if (err && status == JOULET_IO && n + sizeof(remedy) <= sizeof(err->message))
        memcpy(err->message + n, remedy, sizeof(remedy));
    return status;
}

enum joulet_status apt_update(struct apt *a, struct jl_buf *packages, char date[32], struct joulet_error *err)
{
    a->check_valid = true;
    enum joulet_status status = with_remedy(run_update(a, err), err);
    if (status == JOULET_OK)
        status = apt_judge_age(a, date, err);
    if (status == JOULET_OK)
        status = read_list(a, "_Packages", packages, err);
    return status;
}

char *apt_deb_path(const struct apt *a, struct slice package)
{
    char **names, *found = NULL;
    size_t n;
    char *debs = jl_strf("%s/debs", a->dir);
    if (debs && jl_list_dir(debs, &names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n && !found; i++)
            if (strlen(names[i]) > package.n && memcmp(names[i], package.at, package.n) == 0 && names[i][package.n] == '_')
                found = jl_strf("%s/%s", debs, names[i]);
        jl_free_list(names, n);
    }
    free(debs);
    return found;
}

static enum joulet_status check_deb(const struct apt *a, const struct stanza *s, struct joulet_error *err)
{
    struct slice want = package_field(s, "SHA256");
    struct jl_buf deb;
    struct jl_sha256 digest;
    char have[65] = "";
    char *path = apt_deb_path(a, s->name);
    jl_buf_init(&deb, INDEX_MAX);
    if (path && jl_read_file(path, &deb, NULL) == JOULET_OK) {
        jl_sha256_init(&digest);
        jl_sha256_add(&digest, deb.data, deb.len);
        jl_sha256_hex(&digest, have);
    }
    jl_buf_release(&deb);
    free(path);
    if (want.n == 64 && memcmp(want.at, have, 64) == 0)
        return jl_ok(err);
    return jl_fail(err, JOULET_IO,
                   "the package %.*s from %s is not the one its index names: try again or give another mirror with --mirror URL",
                   (int)s->name.n, s->name.at, a->mirror);
}

enum joulet_status apt_download(struct apt *a, const struct package_set *set, struct joulet_error *err)
{
    const char **argv = calloc(set->n + 4, sizeof(*argv));
    char **names = calloc(set->n + 1, sizeof(*names));
    char *debs = jl_strf("%s/debs", a->dir);
    enum joulet_status status = argv && names && debs ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK) {
        argv[0] = "apt-get", argv[1] = "download", argv[2] = "-q";
        for (size_t i = 0; i < set->n && status == JOULET_OK; i++) {
            struct slice version = package_field(set->items[i], "Version");
            names[i] = jl_strf("%.*s=%.*s", (int)set->items[i]->name.n, set->items[i]->name.at, (int)version.n, version.at);
            argv[3 + i] = names[i];
            status = names[i] ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
        }
    }
    if (status == JOULET_OK)
        status = with_remedy(apt_run(a, argv, debs, "download.txt", err), err);
    for (size_t i = 0; i < set->n && status == JOULET_OK; i++)
        status = check_deb(a, set->items[i], err);
    for (size_t i = 0; names && i < set->n; i++)
        free(names[i]);
    free(names);
    free(argv);
    free(debs);
    return status;
}
