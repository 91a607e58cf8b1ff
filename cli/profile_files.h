/* profile_files.h - profiles that were made: a file each, <data>/profiles/ID.json, and the verbs that read them. */
#ifndef CLI_PROFILE_FILES_H
#define CLI_PROFILE_FILES_H

#include "cli/cli.h"
#include "run/profile.h"

/* Writes the profile beside the others; *path (the caller's) where. */
enum joulet_status profile_save(const struct run_profile *p, char **path, struct joulet_error *err);
/* A file, "-" for standard input, an id, its beginning, or "last". JOULET_NOT_FOUND, JOULET_USAGE for a file that is none. */
enum joulet_status profile_load(const char *name, struct run_profile *out, struct joulet_error *err);

/* Verbs of `joulet profile`; the operands behind the verb. */
int profile_list(const struct cli *c, int argc, char **argv);
int profile_show(const struct cli *c, int argc, char **argv);
int profile_compare(const struct cli *c, int argc, char **argv);
int profile_delete(const struct cli *c, int argc, char **argv);

#endif
