/* Every way to ask an engine, and of each the same eight cases: plain, stream, thinking, tools, an error in mid-stream, a cached
 * prompt, an answer that is cut off, one that is aborted by us. Each cell is one whole exchange with a stand-in that plays a
 * recording (tests/fixtures/ollama, llama-server), a composed answer (tests/fixtures/composed), or speaks by itself (LM Studio's
 * WebSocket); or the protocol has no such thing, and the cell says why. docs/engines.md shows the table; it is held to it here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/platform/platform.h"
#include "llm/engine.h"
#include "tests/llm/mock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum sort { PLAIN, STREAM, THINKING, TOOLS, ERROR, CACHED, CUT, ABORTED, SORTS };
enum source { RECORDED, COMPOSED, SPOKEN, ABSENT };

static const char *const source_names[] = {"recorded", "composed", "composed", "–"};
static const char *const sort_names[] = {"plain", "stream", "thinking", "tools", "error", "cached", "cut off", "aborted"};

/* How each kind of server is recognised. */
static const struct mock_route ollama[] = {{"GET /api/version", "ollama", "version", MOCK_WHOLE},
                                           {"GET /api/ps", "ollama", "ps", MOCK_WHOLE},
                                           {"GET /api/tags", "ollama", "tags", MOCK_WHOLE}};
static const struct mock_route studio_v0[] = {{"GET /api/v0/models", "composed", "lmstudio-v0-models", MOCK_WHOLE}};
static const struct mock_route studio_v1[] = {{"GET /api/v1/models", "composed", "lmstudio-v1-models", MOCK_WHOLE}};
static const struct mock_route openai[] = {{"GET /v1/models", "composed", "openai-models", MOCK_WHOLE}};
static const struct mock_route llama[] = {{"GET /props", "llama-server", "props", MOCK_WHOLE},
                                          {"GET /v1/models", "llama-server", "v1-models", MOCK_WHOLE}};
enum { LISTS_MAX = 3 };

static const struct way {
    const char *label, *protocol;
    bool raw;
    const char *route;
    const struct mock_route *lists;
    size_t n_lists;
} ways[] = {
    {"ollama, generate", "ollama", true, "POST /api/generate", ollama, 3},
    {"ollama, chat", "ollama", false, "POST /api/chat", ollama, 3},
    {"lmstudio, v0", "lmstudio", false, "POST /api/v0/chat/completions", studio_v0, 1},
    {"lmstudio, v1", "lmstudio", false, "POST /api/v1/chat", studio_v1, 1},
    {"lmstudio-ws", "lmstudio-ws", false, "", NULL, 0},
    {"openai, chat", "openai", false, "POST /v1/chat/completions", openai, 1},
    {"openai, completions", "openai", true, "POST /v1/completions", openai, 1},
    {"responses", "responses", false, "POST /v1/responses", openai, 1},
    {"anthropic", "anthropic", false, "POST /v1/messages", openai, 1},
    {"llama.cpp, chat", "llama.cpp", false, "POST /v1/chat/completions", llama, 2},
    {"llama.cpp, completion", "llama.cpp", true, "POST /completion", llama, 2},
};
enum { OLLAMA_RAW, OLLAMA_CHAT, STUDIO_V0, STUDIO_V1, STUDIO_WS, CHAT, TEXT, RESPONSES, MESSAGES, LLAMA_CHAT, LLAMA_RAW };

static const struct cell {
    int way;
    enum sort sort;
    enum source source;
    const char *folder, *name; /* name: of the answer, the fault of what speaks by itself; where there is none, why */
    size_t events;             /* of it, before it is cut or aborted */
    const char *text, *thinking, *finish;
    size_t calls;
    int64_t cached;
    const char *sentence; /* a part of it, of what fails */
} cells[] = {
#include "matrix_cells.inc"
};

/* ---- one exchange ------------------------------------------------------------------------------------------------ */

struct pull_out {
    struct mock *m;
    const char *route;
    atomic_bool cancel, over;
};

/* Of an answer that comes whole no text tells that it began: the request is there. */
static void cancel_when_asked(void *arg)
{
    struct pull_out *p = arg;
    for (bool asked = false; !asked && !atomic_load(&p->over); jl_sleep_until(jl_mono_ns() + 2000000)) {
        char *request = mock_last_request(p->m);
        asked = strstr(request, p->route) != NULL;
        free(request);
    }
    atomic_store(&p->cancel, true);
}

static void cancel_now(void *user, const char *text, size_t n, bool thinking)
{
    struct pull_out *p = user;
    (void)text, (void)n, (void)thinking;
    atomic_store(&p->cancel, true);
}

static enum joulet_status wanted(const struct cell *c)
{
    return c->sort == ABORTED ? JOULET_CANCELLED : c->sort == ERROR || c->sort == CUT ? JOULET_ENGINE : JOULET_OK;
}

static void judge(const struct cell *c, const struct generated *g, enum joulet_status status, const struct joulet_error *err)
{
    const char *text = g->text.data ? g->text.data : "", *thinking = g->thinking.data ? g->thinking.data : "";
    bool begun = c->sort == ABORTED && strncmp(text, c->text, strlen(text)) == 0; /* how much of it came is chance */
    if (status != wanted(c) || (strcmp(text, c->text) != 0 && !begun) || strcmp(thinking, c->thinking) != 0 ||
        strcmp(g->finish, c->finish) != 0 || g->tool_calls != c->calls || (c->sort < ERROR && g->tokens.generated < 1) ||
        (c->sort == CACHED ? g->tokens.cached != c->cached || c->cached < 1 : false) ||
        (c->sentence && !strstr(err->message, c->sentence)))
        fail_msg("%s, %s: %s, \"%s\" / \"%s\", finish \"%s\", %zu calls, %lld cached, %lld generated: %s", ways[c->way].label,
                 sort_names[c->sort], joulet_status_text(status), text, thinking, g->finish, g->tool_calls,
                 (long long)g->tokens.cached, (long long)g->tokens.generated, err->message);
}

/* What the server sees of an abort: LM Studio a word, the others the end of the connection, which ends their work. */
static void judge_abort(const struct cell *c, struct mock *m)
{
    for (int i = 0; i < 90000 && c->source == SPOKEN; i++, jl_sleep_until(jl_mono_ns() + 2000000)) {
        char *last = mock_last_request(m);
        bool said = strstr(last, "\"type\":\"cancel\"") != NULL;
        free(last);
        if (said)
            return;
    }
    if (c->source == SPOKEN)
        fail_msg("%s was not told of the abort", ways[c->way].label);
}

static void exchange(const struct cell *c)
{
    const struct way *w = &ways[c->way];
    enum mock_end end = c->sort == CUT ? MOCK_CUT : c->sort == ABORTED ? MOCK_HOLD : MOCK_WHOLE;
    struct mock_route before[1 + LISTS_MAX] = {{w->route, "composed", "openai-empty-request", MOCK_WHOLE}};
    struct mock_route routes[1 + LISTS_MAX] = {{w->route, c->folder, c->name, end}};
    size_t n = 1;
    for (size_t i = 0; i < w->n_lists; i++, n++)
        before[n] = routes[n] = w->lists[i];
    bool speaks = c->source == SPOKEN, studio = strncmp(w->protocol, "lmstudio", 8) == 0;
    struct mock_config config = {.routes = before,
                                 .n_routes = speaks ? 0 : n,
                                 .otherwise = studio ? "lmstudio-unknown-path" : NULL,
                                 .events = c->events,
                                 .lmstudio = speaks,
                                 .fault = speaks ? c->name : NULL};
    struct pull_out p = {.m = mock_start(&config), .route = w->route};
    struct engine *e;
    struct generated g;
    struct joulet_error err = {.status = JOULET_OK};
    struct jl_thread *thread = NULL;
    const struct generation q = {.prompt = "hi",
                                 .raw = w->raw,
                                 .max_tokens = -1,
                                 .context_length = -1,
                                 .top_k = -1,
                                 .seed = -1,
                                 .temperature = NAN,
                                 .top_p = NAN,
                                 .min_p = NAN,
                                 .repeat_penalty = NAN,
                                 .timeout_s = 180};
    if (engine_open_as(&e, mock_url(p.m), NULL, w->protocol, &p.cancel, &err) != JOULET_OK)
        fail_msg("%s: %s", w->label, err.message);
    config.routes = routes;
    generated_init(&g);
    if (c->sort == ABORTED && !c->text[0])
        assert_int_equal(jl_thread_start(&thread, "cancel", cancel_when_asked, &p, NULL), JOULET_OK);
    enum joulet_status status = engine_generate(e, &q, &g, c->sort == ABORTED && c->text[0] ? cancel_now : NULL, &p, &err);
    atomic_store(&p.over, true);
    if (thread)
        jl_thread_join(thread);
    judge(c, &g, status, &err);
    if (c->sort == ABORTED)
        judge_abort(c, p.m);
    generated_release(&g);
    engine_close(e);
    mock_stop(p.m);
}

/* ---- the whole table --------------------------------------------------------------------------------------------- */

static const struct cell *cell_of(size_t way, enum sort sort)
{
    const struct cell *found = NULL;
    for (size_t i = 0; i < JL_COUNT(cells); i++) {
        if ((size_t)cells[i].way != way || cells[i].sort != sort)
            continue;
        if (found)
            fail_msg("%s has two cells for %s", ways[way].label, sort_names[sort]);
        found = &cells[i];
    }
    if (!found)
        fail_msg("%s has no case for %s", ways[way].label, sort_names[sort]);
    return found;
}

static void every_cell(void **state)
{
    (void)state;
    for (size_t w = 0; w < JL_COUNT(ways); w++) {
        for (int s = 0; s < SORTS; s++) {
            const struct cell *c = cell_of(w, (enum sort)s);
            if (c->source != ABSENT)
                exchange(c);
        }
    }
}

/* The documentation has a line for each way, and the reason of each cell without a case. */
static void the_documentation_agrees(void **state)
{
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 1 << 20);
    assert_int_equal(jl_read_file(DOCUMENT, &b, NULL), JOULET_OK);
    for (size_t w = 0; w < JL_COUNT(ways); w++) {
        char line[512];
        size_t n = (size_t)snprintf(line, sizeof line, "| `%s` |", ways[w].label);
        for (int s = 0; s < SORTS; s++) {
            const struct cell *c = cell_of(w, (enum sort)s);
            n += (size_t)snprintf(line + n, sizeof line - n, " %s |", source_names[c->source]);
            if (c->source == ABSENT && !strstr(b.data, c->name))
                fail_msg("docs/engines.md does not say of %s, %s: %s", ways[w].label, sort_names[s], c->name);
        }
        if (!strstr(b.data, line))
            fail_msg("docs/engines.md lacks the line\n%s", line);
    }
    jl_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_cell), cmocka_unit_test(the_documentation_agrees)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
