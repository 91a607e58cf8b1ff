/* program.h - runs the built program as a user would, in a scratch folder of its own, and keeps what it wrote. */
#ifndef TEST_CLI_PROGRAM_H
#define TEST_CLI_PROGRAM_H

#include "lib/base/base.h"
#include "tests/cli/test.h"

#include <sys/types.h>

/* Scratch folder of the test; data, settings and caches of the program are below it. */
int scratch_open(void **state);        /* group setup */
int scratch_close(void **state);       /* group teardown */
const char *scratch(const char *name); /* path of a file in it; valid until the 8th next call of the same thread */
void scratch_write(const char *name, const char *text);
char *scratch_read(const char *name); /* malloc'ed; NULL when it is not there */

#define PROGRAM_NOT_RUN 98 /* exit code when the program could not be started */

struct program {
    const char *const *env; /* "K=V" added for this run, NULL-terminated; NULL: none */
    const char *out_path;   /* standard output goes there instead of being kept */
    bool unreadable_files;  /* as a user without the right to read everything, also when root runs the tests */
    /* filled in */
    pid_t pid;
    int out_fd, err_fd;
    struct jl_buf out, err;
    int code; /* exit code; 128 + signal when a signal killed it */
    bool killed;
};

/* args: NULL-terminated, without the program's name. */
void program_start(struct program *p, const char *const *args);
/* Reads until standard output (or error) holds the text; fails the test when the program ends before. */
void program_until_out(struct program *p, const char *text);
void program_until_err(struct program *p, const char *text);
/* Waits until `joulet serve` has an idle level of each device, before which nobody has net energy. `base`: its address, with the
 * token in the path where it wants one. */
void program_until_level(const char *base);
/* Waits until it catches the signal, which before would just end it. */
void program_until_catching(struct program *p, int signal_number);
void program_close_out(struct program *p); /* nobody reads its standard output any more */
/* Reads the rest and waits for its end. */
void program_end(struct program *p);
/* A server: SIGTERM, after which it must end well; released. */
void program_stop(struct program *p);
void program_release(struct program *p);

#define ARGS(...) ((const char *[]){__VA_ARGS__, NULL})
/* Starts and ends; `p` as after program_end. */
void program_run(struct program *p, const char *const *args);

/* The model of the shape "tiny" in a format (NULL: the usual one), made once in the scratch folder: "tiny.gguf". */
const char *tiny_model(const char *quant);
int free_port(void); /* on loopback, free a moment ago */

/* The text must hold these words; says which text it was otherwise. */
void must_say(const char *text, const char *words);
size_t lines_of(const char *text);
const char *kept(const struct jl_buf *b); /* "" when nothing came */

#endif
