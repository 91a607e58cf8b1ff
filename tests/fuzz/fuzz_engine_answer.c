/* Any answer of an engine: streams and whole bodies (errors too) of all protocols, in pieces, and the windows made of what was
 * read. The first byte chooses protocol, kind and size of the pieces. */
#include "llm/engine.h"
#include "llm/engines/engines.h"

#include <stdlib.h>
#include <string.h>

#define STEP_NS 1000000

/* What holds for every answer, however mad: counts are known or -1, the sentence ends, windows follow each other. */
static void check(const struct generated *g, const struct run_request *q)
{
    if (g->tokens.prompt < -1 || g->tokens.cached < -1 || g->tokens.generated < -1 || g->tokens.reasoning < -1)
        abort();
    if (!memchr(g->engine_error, '\0', sizeof(g->engine_error)) || !memchr(g->finish, '\0', sizeof(g->finish)))
        abort();
    for (size_t i = 0; i < q->n_windows; i++) {
        if (q->windows[i].end_ns <= q->windows[i].start_ns || (i && q->windows[i].start_ns != q->windows[i - 1].end_ns))
            abort();
    }
}

/* By bits 0, 6 and 7 of the first byte; the corpus counts on their places. */
static const struct engine_ops *const kinds[8] = {&engine_llamacpp,    &engine_openai,    &engine_ollama,    &engine_lmstudio,
                                                  &engine_lmstudio_ws, &engine_responses, &engine_anthropic, &engine_ollama};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct generated g;
    struct run_request q;
    if (size < 1)
        return 0;
    size_t step = (size_t)(data[0] >> 2 & 15) + 1, n = size - 1;
    int64_t t_ns = JL_NS_PER_S;
    generated_init(&g);
    run_request_init(&q);
    struct engine_parser *p = engine_parser_open(kinds[(data[0] & 1) | (data[0] >> 5 & 6)], data[0] & 2, &g);
    if (!p)
        return 0;
    g.t_sent_ns = t_ns;
    for (size_t at = 0; at < n; at += step) {
        t_ns += STEP_NS;
        engine_parser_bytes(p, (const char *)data + 1 + at, n - at < step ? n - at : step, t_ns);
    }
    engine_parser_end(p, t_ns + STEP_NS);
    engine_parser_close(p);
    engine_to_request(&g, &q);
    check(&g, &q);
    run_request_release(&q);
    generated_release(&g);
    return 0;
}
