/* profile_files.c - profiles as files in the data folder: saved, found by id, listed, deleted (docs/profile-record.md). */
#include "cli/profile_files.h"

#include "cli/json.h"
#include "cli/records.h"
#include "report/profile.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SUFFIX ".json"

static char *folder_name(void)
{
    char *data = jl_data_dir_name(), *folder = data ? jl_strf("%s/profiles", data) : NULL;
    free(data);
    return folder;
}

static char *path_of(const char *folder, const char *id)
{
    return folder ? jl_strf("%s/%s" SUFFIX, folder, id) : NULL;
}

enum joulet_status profile_save(const struct run_profile *p, char **path, struct joulet_error *err)
{
    struct jl_buf b;
    char *data = jl_data_dir(err), *folder = data ? jl_strf("%s/profiles", data) : NULL;
    *path = NULL;
    if (!data)
        return err->status;
    enum joulet_status st = folder ? jl_make_dirs(folder, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    jl_buf_init(&b, RUN_JSON_MAX);
    if (st == JOULET_OK)
        st = run_profile_to_json(p, &b, err);
    if (st == JOULET_OK && (*path = path_of(folder, p->id)))
        st = jl_write_file(*path, b.data, b.len, 0644, err);
    if (st != JOULET_OK) {
        free(*path);
        *path = NULL;
    }
    jl_buf_release(&b);
    free(folder);
    free(data);
    return st;
}

/* ---- finding ----------------------------------------------------------------------------------------------------- */

static int by_name(const void *a, const void *b)
{
    const char *const *x = a, *const *y = b;
    return strcmp(*x, *y);
}

/* Ids of all profiles, the oldest first; n 0 where there is no folder yet. jl_free_list. */
static enum joulet_status ids(const char *folder, char ***names, size_t *n, struct joulet_error *err)
{
    size_t kept = 0;
    *names = NULL;
    *n = 0;
    if (access(folder, F_OK))
        return jl_ok(err);
    enum joulet_status st = jl_list_dir(folder, names, n, err);
    for (size_t i = 0; st == JOULET_OK && i < *n; i++) {
        char *name = (*names)[i];
        size_t len = strlen(name), tail = strlen(SUFFIX);
        (*names)[i] = NULL;
        if (len > tail && !strcmp(name + len - tail, SUFFIX)) {
            name[len - tail] = '\0';
            (*names)[kept++] = name;
        } else {
            free(name);
        }
    }
    *n = kept;
    if (kept)
        qsort(*names, kept, sizeof **names, by_name);
    return st;
}

/* The one id that `name` is, begins, or is the last of. */
static enum joulet_status find(const char *folder, const char *name, char *id, size_t size, struct joulet_error *err)
{
    char **names;
    size_t n, found = 0, at = 0;
    enum joulet_status st = ids(folder, &names, &n, err);
    if (st != JOULET_OK)
        return st;
    for (size_t i = 0; i < n; i++)
        if (*name && jl_starts(names[i], name)) {
            at = i;
            found = strcmp(names[i], name) ? found + 1 : 1;
            if (!strcmp(names[i], name))
                break;
        }
    if (!strcmp(name, "last") && n) {
        at = n - 1;
        found = 1;
    }
    if (found == 1)
        snprintf(id, size, "%s", names[at]);
    jl_free_list(names, n);
    if (!n)
        return jl_fail(err, JOULET_NOT_FOUND,
                       "there is no profile yet in %s and no file \"%s\"; `joulet profile -m MODEL.gguf` makes a profile", folder,
                       name);
    if (found > 1)
        return jl_fail(err, JOULET_USAGE, "%zu profiles begin with \"%s\": give more of the id", found, name);
    if (!found)
        return jl_fail(err, JOULET_NOT_FOUND,
                       "there is no profile \"%s\" and no file of that name; `joulet profile list` shows them", name);
    return jl_ok(err);
}

static enum joulet_status read_profile(const char *path, struct run_profile *out, struct joulet_error *err)
{
    struct jl_buf b;
    struct joulet_error why;
    jl_buf_init(&b, RUN_JSON_MAX);
    enum joulet_status st = records_text(path, &b, err);
    if (st == JOULET_OK) {
        st = run_profile_from_json(b.data ? b.data : "", b.len, out, &why);
        if (st != JOULET_OK)
            st = jl_fail(err, st == JOULET_MEMORY ? st : JOULET_USAGE, "%s: %s", path, why.message);
    }
    jl_buf_release(&b);
    return st;
}

enum joulet_status profile_load(const char *name, struct run_profile *out, struct joulet_error *err)
{
    char id[256];
    if (!strcmp(name, "-") || strpbrk(name, "./") || (*name && access(name, F_OK) == 0))
        return read_profile(name, out, err);
    char *folder = folder_name();
    enum joulet_status st = folder ? find(folder, name, id, sizeof id, err)
                                   : jl_fail(err, JOULET_NOT_FOUND,
                                             "there is no profile \"%s\" and no file of that name; "
                                             "`joulet profile list` shows them",
                                             name);
    char *path = st == JOULET_OK ? path_of(folder, id) : NULL;
    if (path)
        st = read_profile(path, out, err);
    free(path);
    free(folder);
    return st;
}

/* ---- list and delete --------------------------------------------------------------------------------------------- */

static void json_entry(struct jl_buf *out, const struct run_profile *p, bool first)
{
    const struct run_profile_phase *decode = run_profile_phase(p, "decode");
    bool begin = true;
    double tokens = decode ? (double)decode->tokens : NAN;
    jl_buf_str(out, first ? "\n {" : ",\n {");
    cli_json_key(out, &begin, "id");
    cli_json_string(out, p->id);
    cli_json_key(out, &begin, "title");
    cli_json_string(out, p->title);
    cli_json_key(out, &begin, "model");
    cli_json_string(out, run_pairs_get(&p->model, "name"));
    cli_json_key(out, &begin, "started_wall_ns");
    jl_buf_printf(out, "%lld", (long long)p->started_wall_ns);
    cli_json_key(out, &begin, "path");
    cli_json_string(out, p->how.path[0] ? p->how.path : NULL);
    cli_json_key(out, &begin, "estimated");
    jl_buf_str(out, p->how.estimated ? "true" : "false");
    cli_json_key(out, &begin, "simulated");
    jl_buf_str(out, p->how.simulated > 0 ? "true" : "false");
    cli_json_key(out, &begin, "decode_j_per_token");
    cli_json_number(out, decode && tokens > 0 && run_profile_resolved(p, "decode") ? decode->joules / tokens : NAN);
    jl_buf_str(out, "}");
}

/* A file that is no profile is named, and the others are still listed. */
static int list_all(const struct cli *c, const char *folder, char **names, size_t n)
{
    struct report_profile_list *list = report_profile_list_new();
    struct jl_buf out;
    size_t shown = 0;
    jl_buf_init(&out, (size_t)64 << 20);
    if (cli_json(c))
        jl_buf_str(&out, "[");
    for (size_t i = n; i-- > 0;) {
        struct run_profile p;
        struct joulet_error err;
        char *path = path_of(folder, names[i]);
        if (path && read_profile(path, &p, &err) == JOULET_OK) {
            if (cli_json(c))
                json_entry(&out, &p, shown == 0);
            else
                report_profile_list_add(list, &p, cli_style(c));
            shown++;
            run_profile_release(&p);
        } else if (path) {
            cli_warn(c, "%s", err.message);
        }
        free(path);
    }
    if (cli_json(c))
        jl_buf_str(&out, shown ? "\n]\n" : "]\n");
    report_profile_list_write(list, cli_json(c) ? NULL : &out, cli_style(c));
    int code = cli_result(c, out.data ? out.data : "", out.len);
    jl_buf_release(&out);
    return code;
}

int profile_list(const struct cli *c, int argc, char **argv)
{
    char **names, *folder = folder_name();
    size_t n;
    struct joulet_error err;
    if (argc > 0) {
        free(folder);
        return cli_usage(c, "profile list takes no operand \"%s\"", argv[0]);
    }
    enum joulet_status st = ids(folder ? folder : "", &names, &n, &err);
    int code = st == JOULET_OK ? list_all(c, folder ? folder : "", names, n) : cli_fail(c, &err);
    if (st == JOULET_OK)
        jl_free_list(names, n);
    free(folder);
    return code;
}

static int delete_one(const struct cli *c, const char *folder, const char *name, struct jl_buf *out)
{
    char id[256];
    struct joulet_error err;
    if (find(folder, name, id, sizeof id, &err) != JOULET_OK)
        return cli_fail_named(c, &err);
    char *path = path_of(folder, id);
    if (!path || unlink(path)) {
        jl_fail(&err, JOULET_IO, "%s cannot be deleted: %s", path ? path : id, strerror(errno));
        free(path);
        return cli_fail(c, &err);
    }
    free(path);
    if (cli_json(c)) {
        jl_buf_str(out, out->len ? ", " : "{\"deleted\": [");
        cli_json_string(out, id);
    } else {
        jl_buf_printf(out, "profile %s is deleted\n", id);
    }
    return CLI_DONE;
}

int profile_delete(const struct cli *c, int argc, char **argv)
{
    struct jl_buf out;
    int code = CLI_DONE;
    if (argc < 1)
        return cli_usage(c, "profile delete needs the id of a profile");
    char *folder = folder_name();
    jl_buf_init(&out, 1 << 20);
    for (int i = 0; i < argc; i++) {
        int one = delete_one(c, folder ? folder : "", argv[i], &out);
        code = code == CLI_DONE ? one : code;
    }
    if (cli_json(c) && out.len)
        jl_buf_str(&out, "]}\n");
    int written = out.len ? cli_result(c, out.data, out.len) : CLI_DONE;
    jl_buf_release(&out);
    free(folder);
    return code == CLI_DONE ? written : code;
}
