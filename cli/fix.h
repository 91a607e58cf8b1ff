/* fix.h - what `joulet doctor --fix` changes on a machine, so that a group may read the energy counters of the CPU and nobody
 * else (docs/permissions.md), and `--undo`. Below a root folder, so that it can be tried and tested. */
#ifndef CLI_FIX_H
#define CLI_FIX_H

#include "lib/platform/platform.h"

#define FIX_GROUP    "joulet"
#define FIX_MANIFEST "/var/lib/joulet/doctor-fix"

enum fix_kind {
    FIX_LINE,      /* one more line in a table of accounts */
    FIX_FILE,      /* a file of ours */
    FIX_MODE,      /* group and mode of a file that is there */
    FIX_CAPABILITY /* of the program */
};
struct fix_step {
    enum fix_kind kind;
    char *path, *text; /* below the root: "/etc/group"; text: line, content, capabilities in words */
    unsigned mode;     /* FIX_MODE, FIX_CAPABILITY */
    bool in_place;     /* nothing to do */
};
struct fix_plan {
    const char *root; /* "" the machine itself */
    struct fix_step *steps;
    size_t n, to_do;
    uint32_t gid;
    uint64_t capabilities; /* bits */
    bool counters;         /* something is there that the fix is for */
    bool registers;        /* /dev/cpu is there, asked for or not */
    bool member;           /* the user is in the group, or will be */
};
/* What is to be done. user: becomes a member of the new group; NULL nobody. msr: asked for by name.
 * Error: JOULET_BUSY when a file that is not ours is in the way. */
enum joulet_status fix_plan_make(struct fix_plan *p, const char *root, const char *user, bool msr, struct joulet_error *err);
void fix_plan_release(struct fix_plan *p);
/* Does it and remembers every step before the next one, so that an interrupted fix can be undone. */
enum joulet_status fix_apply(const struct fix_plan *p, struct joulet_error *err);
/* Takes back what the manifest says, the last first. left: sentences about what somebody changed since, and stays. *undone: steps
 * taken back; 0 without a manifest. */
enum joulet_status fix_undo(const char *root, struct jl_buf *left, size_t *undone, struct joulet_error *err);

/* ---- shared by the two files --------------------------------------------------------------------------------------- */
char *fix_path(const char *root, const char *path); /* malloc'ed */
/* The same with links followed, malloc'ed: what is changed is what they lead to, and they stay. NULL and JOULET_PERMISSION when
 * they lead out of a root folder: a link in an image must not reach into the machine that prepares it. */
char *fix_inside(const char *root, const char *path, struct joulet_error *err);
/* Whether the running program would find its library as one with capabilities; else the folder where it is now. */
bool fix_library_found(char *folder, size_t size);
/* The capabilities that a file gives, effective; 0 none. */
uint64_t fix_capabilities(const char *path);
/* Number of the group in a table of groups; -1 none. */
int64_t fix_group_id(const char *table, const char *name);

#endif
