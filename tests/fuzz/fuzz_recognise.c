/* Any exchange: request and answer of any bytes, cut once, give the same as whole. The first byte chooses the path, the second
 * the kind of content, the third the cut; the request ends at the first zero. */
#include "server/recognise.h"

#include <stdlib.h>
#include <string.h>

static const char *const paths[] = {"/api/chat",        "/v1/chat/completions",
                                    "/completion",      "/v1/messages",
                                    "/v1/responses",    "/api/v1/chat",
                                    "/generate",        "/v1/embeddings",
                                    "/api/embed",       "/v1/images/generations",
                                    "/v1/completions",  "/generate_stream",
                                    "/v1/rerank",       "/v1/audio/transcriptions",
                                    "/v1/audio/speech", "/sdapi/v1/txt2img",
                                    "/api/generate",    "/api/v0/chat/completions",
                                    "/infill",          "/"};
static const char *const types[] = {"text/event-stream", "application/x-ndjson", "application/json", "audio/wav"};

static struct recognised recognise(const char *path, const char *type, const char *request, size_t n_request, const char *bytes,
                                   size_t n, size_t cut)
{
    struct recogniser *r = recogniser_open("POST", path, NULL);
    struct net_header header = {"content-type", type};
    if (!r)
        abort();
    recogniser_request(r, request, n_request);
    recogniser_request_end(r, true);
    recogniser_head(r, 200, &header, 1);
    recogniser_chunk(r, bytes, cut, 1);
    recogniser_chunk(r, bytes + cut, n - cut, 1);
    recogniser_end(r, true, 2);
    struct recognised x = *recogniser_result(r);
    recogniser_close(r);
    return x;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size < 3)
        return 0;
    const char *path = paths[data[0] % JL_COUNT(paths)], *type = types[data[1] % JL_COUNT(types)];
    const char *request = (const char *)data + 3;
    size_t left = size - 3, n_request = strnlen(request, left), n = n_request < left ? left - n_request - 1 : 0;
    const char *bytes = request + left - n;
    struct recognised a = recognise(path, type, request, n_request, bytes, n, n);
    struct recognised b = recognise(path, type, request, n_request, bytes, n, n ? data[2] % (n + 1) : 0);
    if (a.pieces != b.pieces || a.tokens.generated != b.tokens.generated || a.tokens.prompt != b.tokens.prompt ||
        a.done != b.done || strcmp(a.error, b.error) != 0 || strcmp(a.finish, b.finish) != 0 || strcmp(a.model, b.model) != 0)
        abort();
    if (a.images != b.images || !(a.audio_s == b.audio_s || (a.audio_s != a.audio_s && b.audio_s != b.audio_s)))
        abort();
    if (a.tokens.generated < -1 || a.tokens.prompt < -1 || !memchr(a.model, '\0', sizeof a.model))
        abort();
    return 0;
}
