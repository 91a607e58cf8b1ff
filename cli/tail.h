/* tail.h - requests of a joulet server as they go: read from its events, shown as lines. */
#ifndef CLI_TAIL_H
#define CLI_TAIL_H

#include "cli/cli.h"
#include "llm/engine_joulet.h"

/* One request as the server tells it (docs/proxy.md). Nothing in it is trusted: text is cut and has no control characters. */
struct tail_request {
    char id[24], state[16], kind[16], time[40], model[96], client[64], tag[64], session[64];
    int64_t tokens_in, tokens_out; /* -1: not told */
    bool counted;                  /* the latter from pieces of the answer */
    int status;                    /* of HTTP; -1 */
    double duration_s;             /* NAN: not over */
    struct engine_told told;
    bool running, final; /* final: nothing more will come of it */
};
/* False: no request. */
bool tail_read(struct tail_request *r, const char *json, size_t n);

/* What is wanted of them; NULL: any. "llama*": all that begin so. */
struct tail_filter {
    const char *const *models; /* any of them */
    size_t n_models;
    const char *client, *session;
};
bool tail_wanted(const struct tail_request *r, const struct tail_filter *f);

/* ---- lines (tail_line.c); pure ------------------------------------------------------------------------------------------- */

struct tail_columns {
    int time, model, client, tokens, energy, per_token, power, duration, state; /* columns on the screen; 0: left out */
    int width;
};
struct tail_columns tail_columns_for(int width);
void tail_header(struct jl_buf *out, const struct tail_columns *c, const struct report_style *style);
/* One line with its end. since_s: how long a request that is under way has been there; NAN: it is over. */
void tail_line(struct jl_buf *out, const struct tail_request *r, const struct tail_columns *c, double since_s,
               const struct report_style *style);

struct tail_sums {
    uint64_t requests, failed;
    int64_t tokens_in, tokens_out;
    struct joulet_energy energy;
};
void tail_sums_init(struct tail_sums *s);
void tail_sums_add(struct tail_sums *s, const struct tail_request *r);
void tail_summary(struct jl_buf *out, const struct tail_sums *s, const struct report_style *style);

/* ---- the stream (tail_feed.c): a thread of its own, so that the screen never waits for the network --------------- */

enum tail_news { TAIL_NOTHING, TAIL_REQUEST, TAIL_AWAY, TAIL_BACK, TAIL_REFUSED };
struct tail_feed;
enum joulet_status tail_feed_open(struct tail_feed **out, const char *url, const char *token, size_t last,
                                  struct joulet_error *err);
/* What came, waiting at most wait_s for it. REQUEST: *json is malloc'ed. AWAY: *err says why it is gone, and it is asked again
 * and again. REFUSED: *err, and nothing more will come. */
enum tail_news tail_feed_next(struct tail_feed *f, double wait_s, char **json, struct joulet_error *err);
void tail_feed_close(struct tail_feed *f);

#endif
