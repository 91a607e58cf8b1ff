/* recognise_frames.h - the requests inside a WebSocket of LM Studio's SDKs (docs/engines.md, "LM Studio's SDKs"): text messages
 * of JSON in channels, many at a time. Predictions, embeddings and loads of models are told as requests of their own. Bytes of
 * both directions in any cut, with bounded memory; where they are no such frames reading stops, and nothing else happens. */
#ifndef SERVER_RECOGNISE_FRAMES_H
#define SERVER_RECOGNISE_FRAMES_H

#include "server/recognise.h"

/* part: from 1 on, never used twice in one tunnel. */
struct frames_told {
    void (*request)(void *user, uint32_t part, const struct recognised *r, int64_t t_ns);
    void (*progress)(void *user, uint32_t part, double share, int64_t t_ns); /* of its prompt, 0 to 1 */
    void (*prompt)(void *user, uint32_t part, double computed, double all);
    void (*piece)(void *user, uint32_t part, double tokens, bool thinking, int64_t t_ns);
    void (*end)(void *user, uint32_t part, const struct recognised *r, int64_t t_ns);
    /* The tunnel is one of these, and is read from here on; or is read no more, and what comes is not known. */
    void (*reads)(void *user, bool reads);
    void *user;
};
struct frames;
/* Whether tunnels to this path are read: /llm, /embedding, ... of LM Studio. */
bool recognise_frames_at(const char *path);
struct frames *frames_open(const char *path, const struct frames_told *told); /* NULL: no memory */
void frames_close(struct frames *f);                                          /* NULL is fine */
void frames_bytes(struct frames *f, bool from_client, const char *bytes, size_t n, int64_t t_ns);
void frames_end(struct frames *f, bool whole, int64_t t_ns); /* what is under way was cut */
bool frames_whole(const struct frames *f);                   /* every frame so far was read */

#endif
