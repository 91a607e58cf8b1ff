/* records.h - runs that a command line names: by id, its beginning, "last", or as a record file; each is read once. */
#ifndef CLI_RECORDS_H
#define CLI_RECORDS_H

#include "cli/cli.h"

struct record;
struct records {
    const struct cli *cli;
    struct store *store; /* NULL until a stored run is asked for */
    struct record **items;
    size_t n;
};
/* The run of that name, as long as *r lives. Two names of one run give the same one. */
enum joulet_status records_get(struct records *r, const char *name, const struct run **out, struct joulet_error *err);
void records_release(struct records *r);
/* The text of a record from a file, or from standard input for "-"; at most what *b may hold. */
enum joulet_status records_text(const char *path, struct jl_buf *b, struct joulet_error *err);
/* Nothing that was measured may be lost: the record of `id`, which could not be kept for the reason `why`, goes to a file
 * of its own in the current folder, and stderr says which command takes it from there ("runs import"). */
void records_rescue(const struct cli *c, const char *id, const struct jl_buf *json, const struct joulet_error *why,
                    const char *command);

#endif
