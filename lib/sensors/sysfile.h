/* sysfile.h - one small file of sysfs or /dev that is read again and again: kept open, and looked for once a second when it went
 * away. Nothing here but sysfile_list allocates. */
#ifndef JL_SYSFILE_H
#define JL_SYSFILE_H

#include "lib/platform/platform.h"

#define SYSFILE_PATH 512

struct sysfile {
    char path[SYSFILE_PATH];
    int fd;          /* -1 while away */
    int error;       /* errno of the last failure */
    int64_t look_ns; /* last time it was made sure that it is still there */
    bool unsure;     /* a read that fails says that a part of the device is not there: registers */
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
/* Between two looks whether what is away is back: a second; tests shorten it. */
extern int64_t sysfile_look_ns;
/* An errno of reading in the words of the meter. */
enum joulet_status sysfile_status(int e);

/* While a source looks for its devices: a file that could not be read for another reason than that it is not there, not open to
 * us or not in use may have been a device. The first such file of this thread since the begin; false: there was none. */
void sysfile_trouble_begin(void);
void sysfile_trouble_note(const char *path, int error);
bool sysfile_trouble(char *path, size_t size, int *error);

/* jl_list_dir, with what stands in its way noted. */
enum joulet_status sysfile_list(const char *dir, char ***names, size_t *n, struct joulet_error *err);

/* The same of a text in memory. Pure. */
bool sysfile_parse(const char *text, size_t n, int64_t *out);

/* Once, for what does not change: the text of dir/name, false when there is none. */
bool sysfile_once(const char *dir, const char *name, char *buf, size_t size);
bool sysfile_once_number(const char *dir, const char *name, int64_t *out);

#endif
