/* probe.h - the library that looks inside an engine: where it is, and why it tells nothing. */
#ifndef PROFILE_PROBE_H
#define PROFILE_PROBE_H

#include "lib/base/base.h"

#define PROBE_GGML "joulet-probe-ggml.so"

/* Absolute path of the probe for llama.cpp, malloc'ed; NULL and *err when it is not installed. */
char *probe_library(struct joulet_error *err);
/* Folder for the files of probes that this user starts, made with mode 0700; malloc'ed. */
char *probe_folder(struct joulet_error *err);
/* The same, made or not; NULL: this user has none. */
char *probe_folder_name(void);
/* Folder that a running process has been given for the files of its probe, else that of this user; malloc'ed, NULL none. */
char *probe_folder_of(int64_t pid);
/* The argument after an option on the command line of a process; malloc'ed, NULL none, or another user's. */
char *probe_argument(int64_t pid, const char *option);
/* The process itself, or the only one below it that has a file of a probe: a server whose runner computes. */
int64_t probe_process(int64_t pid);
/* Whether the probe in a process tells of computation; else the sentence says why not: it is not loaded, llama.cpp is linked
 * statically, its version is not known, nothing was computed yet. *ring: path of its file, malloc'ed, NULL none. */
enum joulet_status probe_check(int64_t pid, const char *folder, char **ring, struct joulet_error *err);
/* What stops do to graphs that a device captured, a sentence for a record; false: no captured graph was seen. */
struct ring_info;
bool probe_capture(const struct ring_info *info, char *out, size_t size);

#endif
