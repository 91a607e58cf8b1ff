/* metering_ledger.h - requests that ended go to the store, by a thread of its own: within a second of their end with what is
 * known then, and again when their figures are final. Neither streams nor metering ever wait for it: what cannot be written is
 * kept for a while, then dropped, counted and said. */
#ifndef SERVER_METERING_LEDGER_H
#define SERVER_METERING_LEDGER_H

#include "report/usage.h"
#include "server/metering_private.h"

#define LEDGER_ITEMS    32768               /* requests that wait, unless metering_options says other */
#define LEDGER_TEXT     ((size_t)256 << 10) /* bytes of a request and of an answer that are kept */
#define LEDGER_TEXT_ALL ((size_t)64 << 20)  /* of all that wait */

/* What was asked and answered, as it passed. */
struct ledger_text {
    struct jl_buf request, answer;
    int64_t request_bytes, answer_bytes; /* all of it, kept or not */
};
void ledger_text_init(struct ledger_text *t);
void ledger_text_release(struct ledger_text *t);

struct ledger;
enum joulet_status ledger_open(struct ledger **out, struct metering *m, struct joulet_error *err);
/* Writes what waits. False: the store hangs, and its thread is left behind with all it knows. */
bool ledger_close(struct ledger *l);
/* Under the lock of the metering. text NULL: none is kept; else its content is taken. */
void ledger_ended(struct ledger *l, const struct metered *x, struct ledger_text *text);
void ledger_final(struct ledger *l, const struct metered *x);
/* What is stored, by a connection of its own that waits for no writing; store_close it. Not under the lock of the metering, as
 * all that follows. */
enum joulet_status ledger_store(const struct ledger *l, struct store **out, struct joulet_error *err);
/* A request that is no longer remembered, as it was stored. */
bool ledger_read(struct ledger *l, const char *id, struct jl_buf *out);
enum joulet_status ledger_usage(struct ledger *l, const struct usage_wanted *w, struct usage *u, struct joulet_error *err);
void ledger_state(struct ledger *l, struct metering_kept *out);

/* metering_told.c, under the lock of the metering: the row of a request that ended. What it points to is in *x, in m and in *out,
 * which gets its devices and its JSON, unless out is NULL. */
void metering_row(struct metering *m, const struct metered *x, struct store_proxied *q, char *devices, size_t size,
                  char client[WHO_CLIENT], struct jl_buf *out);

#endif
