/* Every recorded and composed exchange with a model, and what of it is told (docs/proxy-recognition.md, "Protocols"): kind,
 * model, tokens and where they come from, and the edges of its phases, in the order of time. The request's path and body are
 * those of the recording; the answer comes in pieces, each a microsecond later. */
#include "lib/platform/platform.h"
#include "server/recognise.h"
#include "tests/base/test.h"
#include "tests/llm/exchange.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BEGIN_NS 1000000
#define STEP     37

struct row {
    const char *folder, *name, *path; /* path NULL: as in the recorded request */
    enum recognised_kind kind;
    const char *protocol, *model;
    int prompt, cached, generated, reasoning;
    enum recognised_source from; /* of the generated tokens */
    const char *phases;          /* "p" first piece, "a" the answer after thinking: those that are told */
    const char *finish;
    bool times; /* the engine's own */
};

#define INFER   RECOGNISED_INFERENCE
#define EMBED   RECOGNISED_EMBEDDINGS
#define TIMINGS RECOGNISED_TIMINGS
#define USAGE   RECOGNISED_USAGE
#define COUNTED RECOGNISED_COUNTED
#define UNKNOWN RECOGNISED_UNKNOWN

static const struct row rows[] = {
#include "recognise_rows.inc"
};

/* ---- the request ------------------------------------------------------------------------------------------------------- */

struct request {
    struct jl_buf file;
    char method[16], path[256];
    const char *body;
    size_t n;
};

static bool load_request(struct request *q, const char *folder, const char *name)
{
    char *file = jl_strf("%s/%s/%s.request.http", FIXTURES, folder, name);
    jl_buf_init(&q->file, 1 << 24);
    bool ok = jl_read_file(file, &q->file, NULL) == JOULET_OK;
    const char *end = ok ? strstr(q->file.data, "\r\n\r\n") : NULL;
    free(file);
    q->body = "";
    q->n = 0;
    if (!end || sscanf(q->file.data, "%15s %255s", q->method, q->path) != 2)
        return false;
    q->body = end + 4;
    q->n = q->file.len - (size_t)(q->body - q->file.data);
    return true;
}

/* ---- the answer -------------------------------------------------------------------------------------------------------- */

static struct recognised recognise(const char *folder, const char *name, const char *path)
{
    struct request q;
    struct exchange x;
    bool recorded = load_request(&q, folder, name);
    exchange_load_from(&x, folder, name);
    struct recogniser *r = recogniser_open(recorded ? q.method : "POST", path ? path : q.path, NULL);
    bool lines = x.stream && x.n && x.body[0] == '{';
    struct net_header header = {"Content-Type", !x.stream ? "application/json"
                                                : lines   ? "application/x-ndjson"
                                                          : "text/event-stream"};
    int64_t t_ns = BEGIN_NS;
    recogniser_request(r, q.body, q.n);
    recogniser_request_end(r, true);
    recogniser_head(r, x.status, &header, 1);
    for (size_t i = 0; i < x.n; i += STEP)
        recogniser_chunk(r, x.body + i, x.n - i < STEP ? x.n - i : STEP, t_ns += 1000);
    recogniser_end(r, true, t_ns + 1000);
    struct recognised result = *recogniser_result(r);
    recogniser_close(r);
    exchange_release(&x);
    jl_buf_release(&q.file);
    return result;
}

static void print_row(const char *folder, const char *name, const char *path, const struct recognised *r)
{
    static const char *const kinds[] = {"OTHER", "INFER", "EMBED"}, *const from[] = {"TIMINGS", "USAGE", "COUNTED", "UNKNOWN"};
    bool times = !isnan(r->server_prompt_s) || !isnan(r->server_decode_s);
    char text[300];
    snprintf(text, sizeof text, path ? "\"%s\"" : "NULL", path);
    printf("{\"%s\", \"%s\", %s, %s, \"%s\", \"%s\", %d, %d, %d, %d, %s, \"%s%s\", \"%s\", %s},\n", folder, name, text,
           kinds[r->kind], r->protocol, r->model, (int)r->tokens.prompt, (int)r->tokens.cached, (int)r->tokens.generated,
           (int)r->tokens.reasoning, from[r->generated_source], r->t_first_ns ? "p" : "", r->t_answer_ns ? "a" : "", r->finish,
           times ? "true" : "false");
}

static void check(const struct row *w)
{
    struct recognised r = recognise(w->folder, w->name, w->path);
    bool times = !isnan(r.server_prompt_s) || !isnan(r.server_decode_s);
    char phases[4];
    snprintf(phases, sizeof phases, "%s%s", r.t_first_ns ? "p" : "", r.t_answer_ns ? "a" : "");
    if (r.kind != w->kind || strcmp(r.protocol, w->protocol) != 0 || strcmp(r.model, w->model) != 0 ||
        r.tokens.prompt != w->prompt || r.tokens.cached != w->cached || r.tokens.generated != w->generated ||
        r.tokens.reasoning != w->reasoning || r.generated_source != w->from || strcmp(phases, w->phases) != 0 ||
        strcmp(r.finish, w->finish) != 0 || times != w->times) {
        print_row(w->folder, w->name, w->path, &r);
        fail_msg("%s/%s is told differently", w->folder, w->name);
    }
    if (r.t_first_ns)
        assert_true(r.t_first_ns >= BEGIN_NS && r.t_last_ns >= r.t_first_ns);
    if (r.t_answer_ns)
        assert_true(r.t_answer_ns > r.t_first_ns && r.t_answer_ns <= r.t_last_ns);
}

static void every_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        check(&rows[i]);
}

static bool in_table(const char *folder, const char *name)
{
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (strcmp(rows[i].folder, folder) == 0 && strcmp(rows[i].name, name) == 0)
            return true;
    return false;
}

/* A recording that is added later is missed here, so that it is looked at. */
static void nothing_is_left_out(void **state)
{
    static const char *const folders[] = {"llama-server", "ollama"};
    size_t missing = 0;
    (void)state;
    for (size_t k = 0; k < JL_COUNT(folders); k++) {
        char path[1024];
        struct dirent *e;
        snprintf(path, sizeof path, "%s/%s", FIXTURES, folders[k]);
        DIR *d = opendir(path);
        assert_non_null(d);
        while ((e = readdir(d))) {
            char name[256];
            struct request q;
            const char *end = strstr(e->d_name, ".response.http");
            if (!end)
                continue;
            snprintf(name, sizeof name, "%.*s", (int)(end - e->d_name), e->d_name);
            bool recorded = load_request(&q, folders[k], name);
            if (recorded && recognise_path(q.method, q.path) != RECOGNISED_OTHER && !in_table(folders[k], name)) {
                struct recognised r = recognise(folders[k], name, NULL);
                print_row(folders[k], name, NULL, &r);
                missing++;
            }
            jl_buf_release(&q.file);
        }
        closedir(d);
    }
    assert_int_equal(missing, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_row), cmocka_unit_test(nothing_is_left_out)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
