/* internal.h - shared inside this room: rows that say how a struct is written as JSON, and the reader that knows where it is. */
#ifndef RUN_INTERNAL_H
#define RUN_INTERNAL_H

#include "run/run.h"

#include <jansson.h>

/* ---- rows: one table drives writer and reader, so that they cannot disagree -------------------------------------- */
enum field_type {
    FIELD_REAL,   /* double; NAN is null */
    FIELD_TIME,   /* int64_t nanoseconds or another whole number that is always known */
    FIELD_COUNT,  /* int64_t; -1 is null */
    FIELD_BOOL,   /* bool */
    FIELD_MAYBE,  /* int64_t; 1 true, 0 false, -1 null */
    FIELD_TEXT,   /* char * of the struct's own; NULL is null */
    FIELD_WORD,   /* char * of the struct's own; never NULL, "" when unknown */
    FIELD_CHARS,  /* char[size]; "" is null */
    FIELD_NAME,   /* an enum by its name */
    FIELD_FLAGS,  /* uint32_t of enum joulet_flag, as a list of names */
    FIELD_METHOD, /* const char *, static */
    FIELD_OBJECT  /* a struct inside, with rows of its own */
};

struct field {
    const char *key;
    enum field_type type;
    size_t at, size;                 /* offset and size of the member */
    const char *(*name)(unsigned i); /* FIELD_NAME: names from 0 on, NULL at the end */
    const struct field *sub;         /* FIELD_OBJECT */
};

#define ROW(struct_, key_, type_, member)                                                                                        \
    {                                                                                                                            \
        .key = key_, .type = type_, .at = offsetof(struct struct_, member), .size = sizeof(((struct struct_ *)0)->member)        \
    }
#define NAME(struct_, key_, member, name_)                                                                                       \
    {                                                                                                                            \
        .key = key_, .type = FIELD_NAME, .at = offsetof(struct struct_, member), .size = sizeof(unsigned), .name = name_         \
    }
#define OBJECT(struct_, key_, member, sub_)                                                                                      \
    {                                                                                                                            \
        .key = key_, .type = FIELD_OBJECT, .at = offsetof(struct struct_, member), .sub = sub_                                   \
    }
#define END                                                                                                                      \
    {                                                                                                                            \
        .key = NULL                                                                                                              \
    }

extern const struct field energy_fields[], window_fields[], request_fields[], channel_fields[], baseline_fields[], run_fields[],
    run_end_fields[], cell_fields[], cpu_time_fields[], series_fields[], former_fields[],
    former_request_fields[]; /* each ends with a row without a key */

/* The pairs of a run, in the order of the record. */
struct pairs_row {
    const char *key;
    size_t at;
};
extern const struct pairs_row pairs_rows[];
extern const size_t pairs_count;

void run_make_id(char *id, size_t size, int64_t wall_ns);

/* ---- writing ----------------------------------------------------------------------------------------------------- */
/* Adds every field of `base` to object o; false on no memory. */
bool fields_write(json_t *o, const void *base, const struct field *rows);
/* Objects of a record; NULL on no memory. */
bool json_put(json_t *o, const char *key, json_t *value); /* false on failure, and when value is NULL; owns value */
json_t *json_whole(json_t *o, bool ok);                   /* o, or NULL after freeing it when something could not be added */
json_t *json_of_fields(const void *base, const struct field *rows);
json_t *json_list_of_fields(const void *items, size_t n, size_t size, const struct field *rows); /* n things of `size` bytes */
json_t *json_of_pairs(const struct run_pairs *p);
json_t *json_of_texts(char *const *texts, size_t n);
/* Writes o (NULL: it could not be built) and frees it. */
enum joulet_status json_dump_record(json_t *o, size_t flags, bool newline, struct jl_buf *out, struct joulet_error *err);
json_t *real_or_null(double x);
json_t *text_or_null(const char *s);
/* Copy of s in which every byte that is no UTF-8 is U+FFFD; NULL on no memory. Engines cut characters in half. */
char *utf8_clean(const char *s);

/* ---- cells of a table (RFC 4180) --------------------------------------------------------------------------------- */
void csv_text(struct jl_buf *b, const char *s);
void csv_real(struct jl_buf *b, double x); /* unknown is an empty cell */
void csv_field(struct jl_buf *b, const void *member, const struct field *f);

/* ---- reading ----------------------------------------------------------------------------------------------------- */
struct reader {
    struct joulet_error *err;
    char path[256]; /* of the value that is read: "requests[3].windows.prefill" */
};
/* Extends the path by ".key" or "[i]"; returns the length to give to reader_back. */
size_t reader_into(struct reader *rd, const char *key);
size_t reader_item(struct reader *rd, size_t i);
void reader_back(struct reader *rd, size_t len);
enum joulet_status reader_fail(struct reader *rd, const char *wanted, json_t *found);
enum joulet_status reader_no_memory(struct reader *rd);
/* Reads every row from object o into `base`; a key that is missing is null, one that is unknown is passed over. */
enum joulet_status fields_read(struct reader *rd, json_t *o, void *base, const struct field *rows);
/* Member `key` of o as an object or array of at most `max` items; *out NULL when missing or null. */
enum joulet_status reader_list(struct reader *rd, json_t *o, const char *key, json_type type, size_t max, json_t **out);
void reader_printable(char *s); /* what is not ASCII becomes '?' */
/* The root of the record that the text holds; the caller frees it. */
enum joulet_status reader_load(const char *text, size_t n, json_t **out, struct joulet_error *err);
bool reader_id_ok(const char *id); /* ids name rows and files */
/* Members "energy" and `key` of o; a request, and all lists of a run. */
enum joulet_status reader_energy(struct reader *rd, json_t *o, struct run_energy *e);
enum joulet_status reader_pairs(struct reader *rd, json_t *o, const char *key, struct run_pairs *p);
enum joulet_status reader_request(struct reader *rd, json_t *o, struct run_request *q);
enum joulet_status reader_lists(struct reader *rd, json_t *o, struct run *r);

/* A static copy of a short text: the same pointer for the same text. */

#endif
