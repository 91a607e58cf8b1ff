/* base.h - what every room may use: failing, growing text, parsing, tracing. Depends on nothing but libc. Not part of the ABI:
 * libjoulet and the program each link their own copy. */
#ifndef JL_BASE_H
#define JL_BASE_H

#include "joulet.h"

#include <stdarg.h>

#define JL_PRINTF(f, a)                    __attribute__((format(printf, f, a)))
#define jl_container_of(ptr, type, member) ((type *)((char *)(ptr)-offsetof(type, member)))
#define JL_COUNT(a)                        (sizeof(a) / sizeof((a)[0]))
#define JL_NS_PER_S                        1000000000LL
#define jl_s(ns)                           ((double)(ns)*1e-9) /* ns to s */

/* s to ns; no macro, since what it is asked of may have side effects. */
static inline int64_t jl_ns(double s)
{
    return (int64_t)(s * 1e9 + (s < 0 ? -0.5 : 0.5));
}

/* Fills *err (NULL is fine) and returns status, so that failing is one line. */
enum joulet_status jl_fail(struct joulet_error *err, enum joulet_status status, const char *fmt, ...) JL_PRINTF(3, 4);
/* Clears *err; returns JOULET_OK. */
enum joulet_status jl_ok(struct joulet_error *err);

/* ---- growing buffer with a limit; always NUL-terminated once touched -------------------------------------------- */
struct jl_buf {
    char *data;
    size_t len, cap, max;
    size_t least; /* of its first block; 0: a short one */
    bool failed;  /* out of memory or over max: data is what fitted, further writes do nothing */
};
void jl_buf_init(struct jl_buf *b, size_t max);
void jl_buf_init_unkept(struct jl_buf *b, size_t max); /* its blocks are as those of jl_malloc_unkept */
void jl_buf_release(struct jl_buf *b);
void jl_buf_clear(struct jl_buf *b); /* len 0, memory and limit kept */
bool jl_buf_add(struct jl_buf *b, const void *bytes, size_t n);
bool jl_buf_str(struct jl_buf *b, const char *s);
bool jl_buf_printf(struct jl_buf *b, const char *fmt, ...) JL_PRINTF(2, 3);
void jl_buf_drop(struct jl_buf *b, size_t n); /* removes the first n bytes */
char *jl_buf_take(struct jl_buf *b);          /* the caller frees; b is as after init */

/* For what lives shortly in one of thousands of threads: longer than the blocks that glibc keeps for the thread that frees them,
 * of which up to seven of each of 64 sizes stay in each thread, more and more of them the longer it lives. */
#define JL_UNKEPT ((size_t)1040)
void *jl_malloc_unkept(size_t n); /* as malloc */

/* ---- strings and numbers ------------------------------------------------------------------------------------------ */
char *jl_strdup(const char *s);                      /* NULL in, NULL out; NULL on no memory */
char *jl_strf(const char *fmt, ...) JL_PRINTF(1, 2); /* malloc'ed; NULL on no memory */
bool jl_parse_i64(const char *s, int64_t *out);      /* whole string, decimal, no trailing bytes but one newline */
bool jl_parse_u64(const char *s, uint64_t *out);
bool jl_parse_double(const char *s, double *out);   /* '.' as decimal mark whatever the locale; finite only */
bool jl_parse_duration(const char *s, int64_t *ns); /* "250us", "10ms", "1.5s", "2m", "1h"; bare number: seconds */
bool jl_starts(const char *s, const char *prefix);
bool jl_word_in(const char *list, char sep, const char *word); /* "rapl,nvml" contains "nvml" */

/* ---- CSV rows (RFC 4180: quotes, doubled quotes, CRLF) --------------------------------------------------------- */
struct jl_csv {
    const char *p, *end;
    char **fields; /* of the current row; valid until the next call */
    size_t n;
    size_t cap;
    struct jl_buf text;
    size_t *offsets;
};
void jl_csv_init(struct jl_csv *c, const char *text, size_t len);
bool jl_csv_next(struct jl_csv *c); /* false at the end */
void jl_csv_release(struct jl_csv *c);

/* ---- trace switch: JOULET_TRACE=sensor,engine (or "all") writes to stderr; ignored in a privileged process ------- */
bool jl_trace_on(const char *component);
void jl_trace(const char *component, const char *fmt, ...) JL_PRINTF(2, 3);

/* ---- clock -------------------------------------------------------------------------------------------------------- */
int64_t jl_mono_ns(void); /* CLOCK_MONOTONIC */
int64_t jl_wall_ns(void); /* CLOCK_REALTIME since 1970 */
int64_t jl_thread_cpu_ns(void);
void jl_format_time(char *buf, size_t size, int64_t wall_ns); /* "2026-11-21T15:23:49Z" */

/* ---- splitmix64 [22]; below(n) = (next * n) >> 64 --------------------------------------------------------------- */
struct jl_rng {
    uint64_t s;
};
uint64_t jl_rng_next(struct jl_rng *r);
uint64_t jl_rng_below(struct jl_rng *r, uint64_t n);
double jl_rng_uniform(struct jl_rng *r); /* [0, 1), 53 bits */

/* ---- SHA-256 ------------------------------------------------------------------------------------------------------ */
struct jl_sha256 {
    uint32_t h[8];
    uint64_t n;
    uint8_t block[64];
};
void jl_sha256_init(struct jl_sha256 *s);
void jl_sha256_add(struct jl_sha256 *s, const void *bytes, size_t n);
void jl_sha256_hex(struct jl_sha256 *s, char out[65]);
void jl_sha256_bytes(struct jl_sha256 *s, uint8_t out[32]);
/* HMAC-SHA-256 (RFC 2104): says nothing about the text to who does not know the key. */
void jl_hmac_sha256(const void *key, size_t key_n, const void *text, size_t n, uint8_t out[32]);

#endif
