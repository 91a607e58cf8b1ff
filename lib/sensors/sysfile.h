/* sysfile.h - one small file of sysfs or /dev that is read again and again: kept open, and looked for once a second when it went
 * away. Nothing here allocates. */
#ifndef JL_SYSFILE_H
#define JL_SYSFILE_H

#include "lib/platform/platform.h"

#define SYSFILE_PATH 512

struct sysfile {
    char path[SYSFILE_PATH];
    int fd;          /* -1 while away */
    int error;       /* errno of the last failure */
    int64_t look_ns; /* last time it was made sure that it is still there */
    bool back;       /* it was away and is there again: what counts may have restarted; the reader clears it */
    /* Optional, before it is opened again: whether what stands there now is the same device; may set another path. */
    bool (*same)(struct sysfile *f, void *of);
    void *of;
};

/* Opens dir/name. false: it is not there or may not be read, `error` says why; it can be read later nevertheless. */
bool sysfile_open(struct sysfile *f, const char *dir, const char *name);
void sysfile_close(struct sysfile *f);
/* Up to size bytes from `at`. JOULET_GONE while it is away, JOULET_PERMISSION, JOULET_IO; *n is 0 then. */
enum joulet_status sysfile_read(struct sysfile *f, void *buf, size_t size, int64_t at, size_t *n);
/* A whole number with at most one line end, nothing else: FORMAT otherwise. */
enum joulet_status sysfile_number(struct sysfile *f, int64_t *out);
/* Its first line without the end of line, shortened to size. */
enum joulet_status sysfile_text(struct sysfile *f, char *buf, size_t size);
/* An errno of reading in the words of the meter. */
enum joulet_status sysfile_status(int e);

/* The same of a text in memory. Pure. */
bool sysfile_parse(const char *text, size_t n, int64_t *out);

/* Once, for what does not change: the text of dir/name, false when there is none. */
bool sysfile_once(const char *dir, const char *name, char *buf, size_t size);
bool sysfile_once_number(const char *dir, const char *name, int64_t *out);

#endif
