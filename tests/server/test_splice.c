/* Energy put into answers as they pass (docs/proxy.md): only what was to be put in differs, wherever the bytes are cut. */
#include "server/splice.h"
#include "tests/base/test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCE  "\"source\":\"http://a\""
#define MEMBERS "\"energy\":{\"net_j\":12.5}"

struct run {
    struct jl_buf text;
    int calls;
};

static size_t members(void *user, char *out, size_t size)
{
    struct run *r = user;
    assert_true(size >= sizeof MEMBERS - 1);
    memcpy(out, MEMBERS, sizeof MEMBERS - 1);
    r->calls++;
    return sizeof MEMBERS - 1;
}

static void collect(void *user, const char *bytes, size_t n)
{
    struct run *r = user;
    assert_true(jl_buf_add(&r->text, bytes, n));
}

/* In pieces of `step`, the first one of `cut`. */
static void splice(const struct splice_options *o, const char *in, size_t n, size_t cut, size_t step, struct run *r)
{
    struct splice_options own = *o;
    struct splicer s;
    *r = (struct run){.calls = 0};
    jl_buf_init(&r->text, (size_t)1 << 24);
    own.members = members;
    own.out = collect;
    own.user = r;
    splicer_init(&s, &own);
    splicer_bytes(&s, in, cut);
    for (size_t i = cut; i < n; i += step)
        splicer_bytes(&s, in + i, n - i < step ? n - i : step);
    splicer_end(&s);
    assert_int_equal(r->text.len, n + s.added - s.dropped);
    splicer_release(&s);
}

static const struct {
    const char *name;
    struct splice_options o;
    const char *in, *want;
} cases[] = {
    {"whole",
     {.framing = SPLICE_JSON, .form = SPLICE_ENERGY},
     "{\"a\": [1, {\"b\":\"}\\\"\"}]}\n",
     "{\"a\": [1, {\"b\":\"}\\\"\"}]," MEMBERS "}\n"},
    {"zeros that nobody asked for",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY, .drop_usage = true},
     "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0}}\n\n",
     "data: {\"choices\":[{\"text\":\"a\"}]}\n\n"},
    {"counts in an object with text",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY, .drop_usage = true},
     "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":10}}\n\n",
     "data: {\"choices\":[{\"text\":\"a\"}],\"usage\":{\"prompt_tokens\":10}}\n\n"},
    {"an empty object", {.framing = SPLICE_JSON, .form = SPLICE_ENERGY}, " { } ", " { " MEMBERS "} "},
    {"no object", {.framing = SPLICE_JSON, .form = SPLICE_ENERGY}, "[1,2]", "[1,2]"},
    {"text", {.framing = SPLICE_JSON, .form = SPLICE_ENERGY}, "not { json }", "not { json }"},
    {"cut", {.framing = SPLICE_JSON, .form = SPLICE_ENERGY}, "{\"a\":{\"b\":1}", "{\"a\":{\"b\":1}"},
    {"has it already", {.framing = SPLICE_JSON, .form = SPLICE_ENERGY}, "{\"energy\":{}}", "{\"energy\":{}}"},
    {"of a server behind us",
     {.framing = SPLICE_JSON, .form = SPLICE_ENERGY, .source = SOURCE},
     "{\"energy\":{\"net_j\":1,\"x\":{}}}",
     "{\"energy\":{\"net_j\":1,\"x\":{}," SOURCE "}}"},
    {"of a server behind us, empty",
     {.framing = SPLICE_JSON, .form = SPLICE_ENERGY, .source = SOURCE},
     "{\"energy\":{}}",
     "{\"energy\":{" SOURCE "}}"},
    {"of one behind that",
     {.framing = SPLICE_JSON, .form = SPLICE_ENERGY, .source = SOURCE},
     "{\"energy\":{\"source\":\"http://b\"}}",
     "{\"energy\":{\"source\":\"http://b\"}}"},
    {"in the usage of a server behind us",
     {.framing = SPLICE_JSON, .form = SPLICE_ENERGY, .source = SOURCE},
     "{\"usage\":{\"a\":1,\"energy\":{\"net_j\":1}},\"b\":2}",
     "{\"usage\":{\"a\":1,\"energy\":{\"net_j\":1," SOURCE "}},\"b\":2}"},
    {"an energy that is elsewhere",
     {.framing = SPLICE_JSON, .form = SPLICE_ENERGY, .source = SOURCE},
     "{\"x\":{\"energy\":{}}}",
     "{\"x\":{\"energy\":{}}," MEMBERS "}"},
    {"byte for byte of a server behind us",
     {.framing = SPLICE_JSON, .form = SPLICE_NONE, .source = SOURCE},
     "{\"energy\":{}}",
     "{\"energy\":{}}"},
    {"in a stream of a server behind us",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY, .source = SOURCE},
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"energy\":{\"net_j\":1}}\n\ndata: [DONE]\n\n",
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"energy\":{\"net_j\":1," SOURCE "}}\n\ndata: [DONE]\n\n"},
    {"byte for byte", {.framing = SPLICE_SSE, .form = SPLICE_NONE}, "data: {\"done\":true}\n\n", "data: {\"done\":true}\n\n"},
    {"usage",
     {.framing = SPLICE_JSON, .form = SPLICE_USAGE},
     "{\"usage\":{\"total_tokens\":3},\"x\":1}",
     "{\"usage\":{\"total_tokens\":3," MEMBERS "},\"x\":1}"},
    {"empty usage", {.framing = SPLICE_JSON, .form = SPLICE_USAGE}, "{\"usage\":{}}", "{\"usage\":{" MEMBERS "}}"},
    {"no usage", {.framing = SPLICE_JSON, .form = SPLICE_USAGE}, "{\"x\":1}", "{\"x\":1," MEMBERS "}"},
    {"a usage elsewhere",
     {.framing = SPLICE_JSON, .form = SPLICE_USAGE},
     "{\"x\":{\"usage\":{}}}",
     "{\"x\":{\"usage\":{}}," MEMBERS "}"},
    {"lines",
     {.framing = SPLICE_LINES, .form = SPLICE_ENERGY},
     "{\"response\":\"done\",\"done\":false}\n{\"done\":true,\"eval_count\":2}\n",
     "{\"response\":\"done\",\"done\":false}\n{\"done\":true,\"eval_count\":2," MEMBERS "}\n"},
    {"lines, true elsewhere",
     {.framing = SPLICE_LINES, .form = SPLICE_ENERGY},
     "{\"m\":{\"done\":true}}\n",
     "{\"m\":{\"done\":true}}\n"},
    {"llama.cpp",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY},
     "data: {\"content\":\"a\",\"stop\":false}\n\ndata: {\"content\":\"\",\"stop\":true}\n\n",
     "data: {\"content\":\"a\",\"stop\":false}\n\ndata: {\"content\":\"\",\"stop\":true," MEMBERS "}\n\n"},
    {"finish",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY},
     "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\r\n\r\ndata: "
     "{\"choices\":[{\"finish_reason\":\"stop\"}]}\r\n\r\ndata: [DONE]\r\n\r\n",
     "data: {\"choices\":[{\"delta\":{\"content\":\"x\"},\"finish_reason\":null}]}\r\n\r\ndata: "
     "{\"choices\":[{\"finish_reason\":\"stop\"}]," MEMBERS "}\r\n\r\ndata: [DONE]\r\n\r\n"},
    {"counts were asked for",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY, .asks_usage = true},
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"a\":1}}\n\ndata: "
     "[DONE]\n\n",
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":{\"a\":1}," MEMBERS
     "}\n\ndata: [DONE]\n\n"},
    {"in the counts",
     {.framing = SPLICE_SSE, .form = SPLICE_USAGE, .asks_usage = true},
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"a\":1}}\n\n",
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"a\":1," MEMBERS "}}\n\n"},
    {"in the times of a stream without counts",
     {.framing = SPLICE_SSE, .form = SPLICE_USAGE},
     "data: {\"choices\":[{\"finish_reason\":null}],\"timings\":{\"a\":1}}\n\ndata: "
     "{\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1},\"x\":2}\n\ndata: [DONE]\n\n",
     "data: {\"choices\":[{\"finish_reason\":null}],\"timings\":{\"a\":1}}\n\ndata: "
     "{\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1," MEMBERS "},\"x\":2}\n\ndata: [DONE]\n\n"},
    {"empty times",
     {.framing = SPLICE_SSE, .form = SPLICE_USAGE},
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{ }}\n\n",
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{ " MEMBERS "}}\n\n"},
    {"times before the counts that were asked for",
     {.framing = SPLICE_SSE, .form = SPLICE_USAGE, .asks_usage = true},
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1}}\n\ndata: "
     "{\"choices\":[],\"timings\":{\"a\":1},\"usage\":{\"b\":1}}\n\n",
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1}}\n\ndata: "
     "{\"choices\":[],\"timings\":{\"a\":1},\"usage\":{\"b\":1," MEMBERS "}}\n\n"},
    {"times beside counts",
     {.framing = SPLICE_JSON, .form = SPLICE_USAGE},
     "{\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1},\"usage\":{\"b\":1}}",
     "{\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1},\"usage\":{\"b\":1," MEMBERS "}}"},
    {"in the times of a server behind us",
     {.framing = SPLICE_SSE, .form = SPLICE_USAGE, .source = SOURCE},
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1,\"energy\":{\"net_j\":1}}}\n\n",
     "data: {\"choices\":[{\"finish_reason\":\"stop\"}],\"timings\":{\"a\":1,\"energy\":{\"net_j\":1," SOURCE "}}}\n\n"},
    {"counts that only we asked for",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY, .drop_usage = true},
     "data: {\"choices\":[{\"finish_reason\":null}],\"usage\":null}\n\ndata: "
     "{\"usage\":null,\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"a\":1}}\n\ndata: "
     "[DONE]\n\n",
     "data: {\"choices\":[{\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]," MEMBERS
     "}\n\ndata: [DONE]\n\n"},
    {"counts in every object",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY, .drop_usage = true, .drop_each = true},
     "data: {\"choices\":[{\"finish_reason\":null}],\"usage\":{\"a\":{\"b\":1}}}\n\ndata: {\"usage\": {\"a\":\",\"} "
     ",\"choices\":[{\"finish_reason\":\"stop\"}]}\n\ndata: "
     "{\"choices\":[],\"usage\":{\"a\":1}}\n\n",
     "data: {\"choices\":[{\"finish_reason\":null}]}\n\ndata: {\"choices\":[{\"finish_reason\":\"stop\"}]," MEMBERS "}\n\n"},
    {"the same without energy",
     {.framing = SPLICE_SSE, .form = SPLICE_NONE, .drop_usage = true},
     ": hi\r\n\r\ndata: {\"choices\":[ ] , \"usage\": {\"a\":1}}\r\n\r\ndata: [DONE]\r\n\r\n",
     ": hi\r\n\r\ndata: [DONE]\r\n\r\n"},
    {"Anthropic",
     {.framing = SPLICE_SSE, .form = SPLICE_USAGE},
     "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{}}}\n\nevent: message_delta\ndata: "
     "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5}}\n\n",
     "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{}}}\n\nevent: message_delta\ndata: "
     "{\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{\"output_tokens\":5," MEMBERS "}}\n\n"},
    {"responses",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY},
     "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{}}\n\n",
     "data: {\"type\":\"response.created\"}\n\ndata: {\"type\":\"response.completed\",\"response\":{}," MEMBERS "}\n\n"},
    {"LM Studio",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY},
     "event: chat.end\ndata: {\"type\":\"chat.end\",\"result\":{}}\n\n",
     "event: chat.end\ndata: {\"type\":\"chat.end\",\"result\":{}," MEMBERS "}\n\n"},
    {"TGI",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY},
     "data:{\"token\":{},\"generated_text\":null}\n\ndata:{\"token\":{},\"generated_text\":\"a\"}\n\n",
     "data:{\"token\":{},\"generated_text\":null}\n\ndata:{\"token\":{},\"generated_text\":\"a\"," MEMBERS "}\n\n"},
    {"SGLang",
     {.framing = SPLICE_SSE, .form = SPLICE_ENERGY},
     "data: {\"meta_info\":{\"finish_reason\":null}}\n\ndata: {\"meta_info\":{\"finish_reason\":{\"type\":\"stop\"}}}\n\n",
     "data: {\"meta_info\":{\"finish_reason\":null}}\n\ndata: {\"meta_info\":{\"finish_reason\":{\"type\":\"stop\"}}," MEMBERS
     "}\n\n"},
};

/* Every case, cut once at every byte, and into single bytes. */
static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        size_t n = strlen(cases[i].in);
        for (size_t cut = 0; cut <= n; cut++) {
            struct run r;
            splice(&cases[i].o, cases[i].in, n, cut, cut == 0 ? 1 : n, &r);
            if (strcmp(r.text.data ? r.text.data : "", cases[i].want) != 0)
                fail_msg("%s, cut at %zu:\n%s\nwanted\n%s", cases[i].name, cut, r.text.data, cases[i].want);
            assert_true(r.calls <= 1);
            jl_buf_release(&r.text);
        }
    }
}

/* An announced length grows by the same number of bytes, whatever is put in; readers of JSON do not see the blanks. */
static void test_announced_length(void **state)
{
    static const char *const bodies[] = {"{\"a\":1}", "{}", "[1]", "", "{\"a\":"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(bodies); i++) {
        struct splice_options o = {.framing = SPLICE_JSON, .form = SPLICE_ENERGY, .reserve = 100};
        struct run r;
        size_t n = strlen(bodies[i]);
        splice(&o, bodies[i], n, n / 2, 1, &r);
        assert_int_equal(r.text.len, n + 100);
        jl_buf_release(&r.text);
    }
}

static const struct {
    const char *in, *want; /* NULL: left alone */
    bool asks;
} bodies[] = {
    {"{\"model\":\"m\",\"stream\":true}", "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", false},
    {"{ \"stream\" : true , \"messages\":[{\"stream\":false}] }",
     "{ \"stream\" : true,\"stream_options\":{\"include_usage\":true} , \"messages\":[{\"stream\":false}] }", false},
    {"{\"stream_options\":{},\"stream\":true}", "{\"stream_options\":{\"include_usage\":true},\"stream\":true}", false},
    {"{\"stream\":true,\"stream_options\":{\"x\":1}}", "{\"stream\":true,\"stream_options\":{\"include_usage\":true,\"x\":1}}",
     false},
    {"{\"stream\":true,\"stream_options\":{\"include_usage\": true}}", NULL, true},
    {"{\"stream\":true,\"stream_options\":{\"include_usage\":false}}", NULL, false},
    {"{\"stream\":true,\"stream_options\":null}", NULL, false},
    {"{\"stream\":false}", NULL, false},
    {"{\"a\":{\"stream\":true}}", NULL, false},
    {"{\"stream\":\"true\"}", NULL, false},
    {"{\"stream\":true", NULL, false},
    {"", NULL, false},
    {"[]", NULL, false},
};

static void test_asking_for_counts(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(bodies); i++) {
        struct jl_buf out;
        bool asks, changed = splice_ask_usage(bodies[i].in, strlen(bodies[i].in), false, &out, &asks);
        assert_int_equal(changed, bodies[i].want != NULL);
        assert_int_equal(asks, bodies[i].asks);
        if (changed)
            assert_string_equal(out.data, bodies[i].want);
        jl_buf_release(&out);
    }
    struct jl_buf out;
    bool asks;
    assert_true(splice_ask_usage("{\"stream\":true}", 15, true, &out, &asks));
    assert_string_equal(out.data,
                        "{\"stream\":true,\"stream_options\":{\"include_usage\":true,\"continuous_usage_stats\":true}}");
    jl_buf_release(&out);
}

/* ---- recorded answers ------------------------------------------------------------------------------------------------ */

/* What was put in, taken out again, leaves what came; once at most; and bytes may be cut anywhere. */
static void check_recorded(const char *in, size_t n, enum splice_framing framing, enum splice_form form)
{
    struct splice_options o = {.framing = framing, .form = form};
    struct run r, other;
    splice(&o, in, n, n, 1, &r);
    const char *put = r.calls ? strstr(r.text.data, MEMBERS) : NULL;
    if (put) {
        size_t from = (size_t)(put - r.text.data), size = sizeof MEMBERS - 1;
        if (from > 0 && put[-1] == ',') {
            from--;
            size++;
        }
        assert_int_equal(r.text.len - size, n);
        assert_memory_equal(r.text.data, in, from);
        assert_memory_equal(r.text.data + from + size, in + from, n - from);
    } else {
        assert_int_equal(r.text.len, n);
    }
    size_t every = n > 3000 ? n / 60 : 7;
    for (size_t cut = 1; cut < n; cut += every) {
        splice(&o, in, n, cut, n, &other);
        assert_int_equal(other.text.len, r.text.len);
        assert_memory_equal(other.text.data, r.text.data, r.text.len);
        jl_buf_release(&other.text);
    }
    splice(&o, in, n, 0, 1, &other);
    assert_int_equal(other.text.len, r.text.len);
    assert_memory_equal(other.text.data, r.text.data, r.text.len);
    jl_buf_release(&other.text);
    jl_buf_release(&r.text);
}

static void check_folder(const char *folder)
{
    char path[1024];
    struct dirent *e;
    size_t seen = 0;
    snprintf(path, sizeof path, "%s/%s", FIXTURES, folder);
    DIR *d = opendir(path);
    assert_non_null(d);
    while ((e = readdir(d))) {
        static char text[1 << 18];
        if (!strstr(e->d_name, ".response.http"))
            continue;
        snprintf(path, sizeof path, "%s/%s/%s", FIXTURES, folder, e->d_name);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        size_t n = fread(text, 1, sizeof text, f);
        fclose(f);
        char *body = memmem(text, n, "\r\n\r\n", 4);
        if (!body || memmem(text, (size_t)(body - text), "chunked", 7) == NULL)
            body = body ? body : text; /* chunk sizes between the lines are lines of no object: they must pass too */
        size_t left = n - (size_t)(body - text);
        for (int form = SPLICE_NONE; form <= SPLICE_USAGE; form++)
            for (int framing = SPLICE_JSON; framing <= SPLICE_SSE; framing++)
                if (left < 60000)
                    check_recorded(body + (left > 4 ? 4 : 0), left > 4 ? left - 4 : left, framing, form);
        seen++;
    }
    closedir(d);
    assert_true(seen > 10);
}

static void test_recorded(void **state)
{
    (void)state;
    check_folder("llama-server");
    check_folder("ollama");
}

/* ---- no memory --------------------------------------------------------------------------------------------------------- */

/* The allocation that is refused; the linker puts this in place of realloc (CMakeLists.txt). */
static size_t refused_at = SIZE_MAX, asked;
void *__real_realloc(void *p, size_t n);
__attribute__((visibility("default"))) void *__wrap_realloc(void *p, size_t n); /* the linker refers libraries to it, too */
void *__wrap_realloc(void *p, size_t n)
{
    return asked++ >= refused_at ? NULL : __real_realloc(p, n);
}

struct kept { /* in memory that nobody has to ask for */
    char text[4096];
    size_t n;
};

static void keep(void *user, const char *bytes, size_t n)
{
    struct kept *k = user;
    assert_true(k->n + n < sizeof k->text);
    memcpy(k->text + k->n, bytes, n);
    k->n += n;
}

static size_t keep_members(void *user, char *out, size_t size)
{
    (void)user;
    (void)size;
    memcpy(out, MEMBERS, sizeof MEMBERS - 1);
    return sizeof MEMBERS - 1;
}

/* What was not to be taken out comes, whole or with the members put in, whichever allocation fails. */
static void test_no_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        for (size_t at = 0; at < 4; at++) {
            struct splice_options o = cases[i].o;
            struct splicer s;
            struct kept got = {.n = 0};
            size_t n = strlen(cases[i].in);
            o.members = keep_members;
            o.out = keep;
            o.user = &got;
            splicer_init(&s, &o);
            asked = 0;
            refused_at = at;
            for (size_t k = 0; k < n; k += 5)
                splicer_bytes(&s, cases[i].in + k, n - k < 5 ? n - k : 5);
            splicer_end(&s);
            refused_at = SIZE_MAX;
            assert_int_equal(got.n, n + s.added - s.dropped);
            got.text[got.n] = '\0';
            if (!o.drop_usage)
                assert_string_equal(got.text, cases[i].want); /* nothing has to be kept */
            else if (at == 0)
                assert_string_equal(got.text, cases[i].in);
            splicer_release(&s);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),    cmocka_unit_test(test_announced_length), cmocka_unit_test(test_asking_for_counts),
        cmocka_unit_test(test_recorded), cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
