/* runtime_private.h - inside the runtime: what its files share. */
#ifndef LLM_RUNTIME_PRIVATE_H
#define LLM_RUNTIME_PRIVATE_H

#include "llm/runtime.h"

#include <sys/types.h>

#define RUNTIME_PROGRAM    "llama-server"
#define RUNTIME_STALE_DAYS 90

/* ---- folders (runtime.c) ------------------------------------------------------------------------------------------- */

char *runtime_path(const char *below_data, struct joulet_error *err); /* "<data>/below_data", malloc'ed */
bool runtime_remove_tree(const char *path); /* true when nothing is left; symbolic links are not followed */
/* The argument vector of a process, grown by printf; NULL-terminated. */
struct args {
    char **v;
    size_t n;
    bool failed;
};
void args_add(struct args *a, const char *fmt, ...) JL_PRINTF(2, 3);
void args_release(struct args *a);
/* Begins *a so that `program` of the private engine runs through the engine's own loader. JOULET_NOT_FOUND: not installed there.
 */
enum joulet_status args_private(struct args *a, const char *folder, const char *program, struct joulet_error *err);

/* ---- server (runtime_log.c, runtime_background.c) ------------------------------------------------------------------------ */

struct telling {
    char line[256];     /* of the log, without time and level; "" when it says nothing */
    const char *remedy; /* static; NULL when the cause is not a known one */
    bool port_taken;
};
/* Why a llama-server failed, from its log: a known cause first, else the last line that sounds like an error, else the last. */
void runtime_telling(const char *log, size_t n, struct telling *out);
/* Writes <data>/engine.json, readable by its owner alone: it holds the key. */
enum joulet_status runtime_background_save(const struct runtime_server *s, struct joulet_error *err);
/* When a process began, in the kernel's ticks since boot: tells it from a later one with the same number. -1 unknown. */
int64_t runtime_process_start(int64_t pid);

/* ---- package index (runtime_packages.c); pure ------------------------------------------------------------------------ */

struct slice {
    const char *at;
    size_t n;
};
struct stanza {
    struct slice name, text;
};
struct package_index {
    struct stanza *items; /* sorted by name */
    size_t n;
};
/* text must outlive the index. */
enum joulet_status package_index_init(struct package_index *x, const char *text, size_t n, struct joulet_error *err);
void package_index_release(struct package_index *x);
const struct stanza *package_find(const struct package_index *x, struct slice name); /* also by Provides; NULL */
struct slice package_field(const struct stanza *s, const char *field);               /* empty when absent */

struct package_set {
    const struct stanza **items; /* in the order found: root first */
    size_t n;
};
/* What `root` needs through Depends and Pre-Depends. libraries_only: only packages of a library section are followed: the rest
 * (shells, downloaders, configuration) serves installation, not running. JOULET_NOT_FOUND: the index lacks root. */
enum joulet_status package_closure(const struct package_index *x, const char *root, bool libraries_only, struct package_set *out,
                                   struct joulet_error *err);
void package_set_release(struct package_set *set);
bool package_release_date(const char *text, size_t n, int64_t *unix_s); /* "Date:" of a Release or InRelease file */

/* ---- programs and libraries (runtime_elf.c) ---------------------------------------------------------------------------- */

struct elf_needs {
    char **names; /* sonames of DT_NEEDED */
    size_t n;
    char *interpreter; /* PT_INTERP; NULL for libraries */
};
/* 64-bit little-endian ELF; anything else is JOULET_FORMAT. */
enum joulet_status elf_needs_parse(const uint8_t *bytes, size_t n, struct elf_needs *out, struct joulet_error *err);
void elf_needs_release(struct elf_needs *e);

/* ---- apt (runtime_apt.c) ------------------------------------------------------------------------------------------------ */

struct apt {
    const struct runtime_install *how;
    char *dir; /* scratch folder of this installation, absolute */
    char *mirror, *keyring, *arch;
    const char *suite;
    bool check_valid; /* an expired Release file is refused */
    char *inherited;  /* lines of the system's configuration that say how to reach the network */
};
/* The private configuration and its source list, as text. */
bool apt_config_text(const struct apt *a, struct jl_buf *out);
bool apt_sources_text(const struct apt *a, struct jl_buf *out);
/* From lines "ORIGIN|LABEL|CODENAME|COMPONENT|URI": the archive Debian itself is installed from; malloc'ed, NULL when there is
 * none. codename: of the running system when it is Debian, for lists that were never updated and so have no origin yet; NULL. */
char *apt_pick_mirror(const char *lines, const char *codename);
/* Proxy and TLS lines of `apt-config dump`; malloc'ed. */
char *apt_pick_inherited(const char *dump);
bool apt_is_expired(const char *log); /* the one error that only says the index is old */

enum joulet_status apt_open(struct apt *a, const struct runtime_install *how,
                            struct joulet_error *err); /* mirror, keyring, folders */
void apt_close(struct apt *a);                         /* removes the folder */
/* Index of a->suite, read and judged by its age. text is freed by the caller. */
enum joulet_status apt_update(struct apt *a, struct jl_buf *packages, char date[32], struct joulet_error *err);
/* Refuses an index of more than RUNTIME_STALE_DAYS unless allowed; date gets its day and time. */
enum joulet_status apt_judge_age(const struct apt *a, char date[32], struct joulet_error *err);
/* Into a->dir "/debs", checked against the index once more. */
enum joulet_status apt_download(struct apt *a, const struct package_set *set, struct joulet_error *err);
/* Runs argv with its output in a file below the scratch folder; NULL env. A failure's sentence ends with the program's own words.
 */
enum joulet_status apt_run(const struct apt *a, const char *const *argv, const char *cwd, const char *log,
                           struct joulet_error *err);
char *apt_deb_path(const struct apt *a, struct slice package); /* malloc'ed; NULL when it was not downloaded */
void apt_say(const struct apt *a, const char *fmt, ...) JL_PRINTF(2, 3);
/* What to do on a system the Debian route does not fit, from its os-release text; static. */
const char *apt_advice(const char *os_release);
void apt_os_release_value(const char *text, const char *key, char *out,
                          size_t size); /* of KEY=, without quotes; "" when absent */

/* ---- assembly (runtime_assemble.c) -------------------------------------------------------------------------------------- */

/* Copies programs, backends and every library they need from a tree of unpacked packages into one flat folder. `set` gets the
 * packages' licences copied too. JOULET_NOT_FOUND names a library that no package brought. */
enum joulet_status runtime_assemble(const char *tree, const char *folder, struct joulet_error *err);
/* The copyright file of a package; true when it has one. */
bool runtime_copy_licence(const char *tree, struct slice package, const char *folder);

/* store_ollama.c: the GGUF file that Ollama keeps of a model NAME[:TAG], NAMESPACE/NAME[:TAG] or HOST/NAMESPACE/NAME[:TAG]. */
enum joulet_status runtime_store_ollama(const char *name, char **path, struct joulet_error *err);
/* store_lmstudio.c: the GGUF file that LM Studio keeps: PUBLISHER/REPOSITORY/FILE, PUBLISHER/REPOSITORY, REPOSITORY or FILE. */
enum joulet_status runtime_store_lmstudio(const char *name, char **path, struct joulet_error *err);

#endif
