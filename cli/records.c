/* records.c - see records.h. */
#include "cli/records.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct record {
    char *name;
    struct run run;
};

static enum joulet_status read_file(const char *path, struct run *r, struct joulet_error *err)
{
    struct jl_buf b;
    struct joulet_error why;
    jl_buf_init(&b, RUN_JSON_MAX);
    enum joulet_status st = jl_read_file(path, &b, err);
    if (st == JOULET_OK) {
        st = run_from_json(b.data ? b.data : "", b.len, r, &why);
        if (st != JOULET_OK)
            st = jl_fail(err, st == JOULET_MEMORY ? st : JOULET_USAGE, "%s: %s", path, why.message);
    }
    jl_buf_release(&b);
    return st;
}

/* An id has no full stop, and a file of that name wins. */
static enum joulet_status load(struct records *r, const char *name, struct run *out, struct joulet_error *err)
{
    if (strchr(name, '.') || (name[0] && access(name, F_OK) == 0))
        return read_file(name, out, err);
    enum joulet_status st = r->store ? JOULET_OK : store_open(&r->store, cli_str(r->cli, "db"), err);
    return st == JOULET_OK ? store_load(r->store, name, out, err) : st;
}

static enum joulet_status keep(struct records *r, const char *name, struct run *run, struct joulet_error *err)
{
    struct record **grown = realloc(r->items, (r->n + 1) * sizeof(*grown)), *x = calloc(1, sizeof *x);
    if (grown)
        r->items = grown;
    if (!grown || !x || !(x->name = jl_strdup(name))) {
        free(x);
        run_release(run);
        return jl_fail(err, JOULET_MEMORY, "out of memory while reading %s", name);
    }
    x->run = *run;
    r->items[r->n++] = x;
    return jl_ok(err);
}

enum joulet_status records_get(struct records *r, const char *name, const struct run **out, struct joulet_error *err)
{
    struct run run;
    *out = NULL;
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->items[i]->name, name)) {
            *out = &r->items[i]->run;
            return jl_ok(err);
        }
    enum joulet_status st = load(r, name, &run, err);
    if (st != JOULET_OK)
        return st;
    for (size_t i = 0; i < r->n; i++)
        if (!strcmp(r->items[i]->run.id, run.id)) {
            run_release(&run);
            *out = &r->items[i]->run;
            return jl_ok(err);
        }
    st = keep(r, name, &run, err);
    if (st == JOULET_OK)
        *out = &r->items[r->n - 1]->run;
    return st;
}

void records_release(struct records *r)
{
    for (size_t i = 0; i < r->n; i++) {
        run_release(&r->items[i]->run);
        free(r->items[i]->name);
        free(r->items[i]);
    }
    free(r->items);
    store_close(r->store);
}

static enum joulet_status read_stdin(struct jl_buf *b, struct joulet_error *err)
{
    char bytes[65536];
    ssize_t n;
    while ((n = read(STDIN_FILENO, bytes, sizeof bytes)) > 0)
        if (!jl_buf_add(b, bytes, (size_t)n))
            return jl_fail(err, JOULET_LIMIT, "standard input is longer than %zu MiB, the most a record may have", b->max >> 20);
    return n == 0 ? jl_ok(err) : jl_fail(err, JOULET_IO, "standard input cannot be read; name a file instead");
}

enum joulet_status records_text(const char *path, struct jl_buf *b, struct joulet_error *err)
{
    return strcmp(path, "-") ? jl_read_file(path, b, err) : read_stdin(b, err);
}

void records_rescue(const struct cli *c, const char *id, const struct jl_buf *json, const struct joulet_error *why,
                    const char *command)
{
    struct joulet_error err;
    char *path = jl_strf("joulet-%s.json", id);
    if (path && jl_write_file(path, json->data, json->len, 0600, &err) == JOULET_OK)
        cli_warn(c, "%s; the record was written to %s instead: `joulet %s %s`", why->message, path, command, path);
    else
        cli_warn(c, "%s; the record could not be written to the current folder either: %s", why->message,
                 path ? err.message : "out of memory");
    free(path);
}
