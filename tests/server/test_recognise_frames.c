/* What is asked inside a WebSocket of LM Studio's SDKs (docs/proxy-recognition.md): predictions, embeddings and loads as they are
 * opened in channels, in frames of every form and cut anywhere; and that what is none of it is left alone. */
#include "net/net_ws.h"
#include "server/recognise_frames.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- a conversation ---------------------------------------------------------------------------------------------------- */

struct said {
    bool up;
    const char *text; /* NULL: a ping */
    size_t pieces;    /* frames it comes in; 0: one */
};

static const unsigned char mask[4] = {0x12, 0xa7, 0x00, 0xff};

static void frame(struct jl_buf *out, bool up, unsigned kind, bool fin, const char *bytes, size_t n)
{
    size_t at = out->len;
    assert_true(ws_write(out, (enum ws_kind)kind, bytes, n, up ? mask : NULL));
    if (!fin)
        out->data[at] = (char)(out->data[at] & 0x7f);
}

static void say(struct jl_buf *out, const struct said *s)
{
    size_t n = s->text ? strlen(s->text) : 0, pieces = s->pieces ? s->pieces : 1;
    if (!s->text) {
        frame(out, s->up, WS_PING, true, "alive", 5);
        return;
    }
    for (size_t i = 0, at = 0; i < pieces; i++) {
        size_t size = i + 1 == pieces ? n - at : n / pieces;
        frame(out, s->up, i ? WS_CONTINUATION : WS_TEXT, i + 1 == pieces, s->text + at, size);
        if (i + 1 < pieces)
            frame(out, s->up, WS_PING, true, "", 0); /* between the pieces of a message */
        at += size;
    }
}

#define SEND(channel, message) "{\"type\":\"channelSend\",\"channelId\":" channel ",\"message\":" message "}"
#define FRAGMENT(content, kind)                                                                                                  \
    "{\"type\":\"fragment\",\"fragment\":{\"content\":\"" content "\",\"tokensCount\":2,\"reasoningType\":\"" kind "\"}}"
#define PREDICT(channel, specifier)                                                                                              \
    "{\"type\":\"channelCreate\",\"endpoint\":\"predict\",\"channelId\":" channel                                                \
    ",\"creationParameter\":{\"modelSpecifier\":" specifier                                                                      \
    ",\"history\":{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"12345678\"}]}]}}}"
#define STATS(prompt, made, why)                                                                                                 \
    "{\"type\":\"success\",\"stats\":{\"stopReason\":\"" why "\",\"promptTokensCount\":" prompt                                  \
    ",\"predictedTokensCount\":" made                                                                                            \
    ",\"timeToFirstTokenSec\":0.25,\"tokensPerSecond\":20},\"modelInfo\":{\"identifier\":\"mock\"}}"
#define AUTH "{\"authVersion\":1,\"clientIdentifier\":\"guest:1\",\"clientPasskey\":\"1\"}"

static const struct said talk[] = {
    {true, AUTH, 0},
    {false, "{\"success\":true}", 0},
    {true, NULL, 0},
    {true, "{\"type\":\"rpcCall\",\"endpoint\":\"listLoaded\",\"callId\":1}", 0},
    {false, "{\"type\":\"rpcResult\",\"callId\":1,\"result\":[]}", 0},
    {true,
     "{\"type\":\"channelCreate\",\"endpoint\":\"getOrLoad\",\"channelId\":0,\"creationParameter\":{\"identifier\":\"mock\"}}",
     0},
    {false, SEND("0", "{\"type\":\"startLoading\",\"identifier\":\"mock\"}"), 0},
    {false, SEND("0", "{\"type\":\"loadProgress\",\"progress\":0.5}"), 0},
    {false, SEND("0", "{\"type\":\"loadSuccess\",\"info\":{\"identifier\":\"mock\",\"instanceReference\":\"abc\"}}"), 0},
    {false, "{\"type\":\"channelClose\",\"channelId\":0}", 0},
    {true, PREDICT("1", "{\"type\":\"instanceReference\",\"instanceReference\":\"abc\"}"), 3},
    {true, PREDICT("2", "{\"type\":\"query\",\"query\":{\"identifier\":\"other\"}}"), 0},
    {false, SEND("1", "{\"type\":\"promptProcessingProgress\",\"progress\":0.5}"), 0},
    {false, SEND("1", "{\"type\":\"promptProcessingProgress\",\"progress\":1}"), 0},
    {false, SEND("1", FRAGMENT("So", "reasoning")), 2},
    {false, NULL, 0},
    {false, SEND("2", FRAGMENT("b", "none")), 0},
    {false, SEND("1", FRAGMENT("yes", "none")), 0},
    {true, SEND("2", "{\"type\":\"cancel\"}"), 0},
    {false, SEND("1", STATS("9", "4", "eosFound")), 0},
    {false, SEND("2", STATS("5", "2", "userStopped")), 0},
    {false, "{\"type\":\"channelClose\",\"channelId\":2}", 0},
    {true, PREDICT("1", "{\"type\":\"query\",\"query\":{\"identifier\":\"mock\"}}"), 0}, /* the number is used again */
    {false, "{\"type\":\"channelError\",\"channelId\":1,\"error\":{\"title\":\"The model has crashed\"}}", 0},
};

static const char wanted[] = "reads 1\n"
                             "request 1 load mock\nend 1 load mock  prompt -1 made -1 done 1 whole 1 \n"
                             "request 2 inference mock bytes 8\nrequest 3 inference other bytes 8\n"
                             "progress 2 0.5\nprogress 2 1\npiece 2 2 thinks\npiece 3 2\npiece 2 2\n"
                             "prompt 2 9\nend 2 inference mock stop prompt 9 made 4 done 1 whole 1 \n"
                             "prompt 3 5\nend 3 inference other cancelled prompt 5 made 2 done 1 whole 1 \n"
                             "request 4 inference mock bytes 8\n"
                             "end 4 inference mock error prompt -1 made 0 done 0 whole 1 The model has crashed\n";

/* ---- what is told -------------------------------------------------------------------------------------------------------- */

static void on_request(void *user, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    (void)t_ns;
    jl_buf_printf(user, "request %u %s %s", (unsigned)part, recognised_kind_name(r->kind), r->model);
    if (r->prompt_bytes >= 0)
        jl_buf_printf(user, " bytes %d", (int)r->prompt_bytes);
    jl_buf_str(user, "\n");
}

static void on_progress(void *user, uint32_t part, double share, int64_t t_ns)
{
    (void)t_ns;
    jl_buf_printf(user, "progress %u %g\n", (unsigned)part, share);
}

static void on_prompt(void *user, uint32_t part, double computed, double all)
{
    (void)computed;
    jl_buf_printf(user, "prompt %u %g\n", (unsigned)part, all);
}

static void on_piece(void *user, uint32_t part, double tokens, bool thinking, int64_t t_ns)
{
    (void)t_ns;
    jl_buf_printf(user, "piece %u %g%s\n", (unsigned)part, tokens, thinking ? " thinks" : "");
}

static void on_end(void *user, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    (void)t_ns;
    assert_string_equal(r->protocol, "lmstudio-ws");
    jl_buf_printf(user, "end %u %s %s %s prompt %d made %d done %d whole %d %s\n", (unsigned)part, recognised_kind_name(r->kind),
                  r->model, r->finish, (int)r->tokens.prompt, (int)r->tokens.generated, r->done, r->whole, r->error);
}

static void on_reads(void *user, bool reads)
{
    jl_buf_printf(user, "reads %d\n", reads);
}

static struct frames *open_frames(const char *path, struct jl_buf *out)
{
    jl_buf_init(out, 1 << 20);
    jl_buf_str(out, "");
    const struct frames_told told = {on_request, on_progress, on_prompt, on_piece, on_end, on_reads, out};
    struct frames *f = frames_open(path, &told);
    assert_non_null(f);
    return f;
}

/* Bytes in memory of their own, at most `step` at a time, the first time `cut`. */
static void give(struct frames *f, bool up, const struct jl_buf *b, size_t cut, size_t step)
{
    for (size_t at = 0, n; at < b->len; at += n) {
        n = at == 0 && cut ? cut : step;
        n = n < b->len - at ? n : b->len - at;
        char *piece = malloc(n);
        memcpy(piece, b->data + at, n);
        frames_bytes(f, up, piece, n, 7);
        free(piece);
    }
}

/* ---- tests --------------------------------------------------------------------------------------------------------------- */

static void a_conversation(void **state)
{
    (void)state;
    for (size_t step = 1; step < 4000; step = step < 40 ? step + 1 : step * 3) {
        struct jl_buf told, bytes;
        struct frames *f = open_frames("/llm?x=1", &told);
        for (size_t i = 0; i < JL_COUNT(talk); i++) {
            jl_buf_init(&bytes, 1 << 20);
            say(&bytes, &talk[i]);
            give(f, talk[i].up, &bytes, 0, step);
            jl_buf_release(&bytes);
        }
        frames_end(f, true, 8);
        assert_string_equal(told.data, wanted);
        assert_true(frames_whole(f));
        frames_close(f);
        jl_buf_release(&told);
    }
}

/* Cut once, at every byte of one direction. */
static void cut_anywhere(void **state)
{
    struct jl_buf bytes;
    (void)state;
    jl_buf_init(&bytes, 1 << 20);
    for (size_t i = 0; i < JL_COUNT(talk); i++)
        if (talk[i].up)
            say(&bytes, &talk[i]);
    struct jl_buf first;
    struct frames *f = open_frames("/llm", &first);
    give(f, true, &bytes, 0, bytes.len);
    frames_close(f);
    for (size_t cut = 1; cut < bytes.len; cut++) {
        struct jl_buf told;
        f = open_frames("/llm", &told);
        give(f, true, &bytes, cut, bytes.len);
        assert_string_equal(told.data, first.data);
        frames_close(f);
        jl_buf_release(&told);
    }
    jl_buf_release(&first);
    jl_buf_release(&bytes);
}

static void embeddings(void **state)
{
    static const struct said said[] = {
        {true, AUTH, 0},
        {true,
         "{\"type\":\"rpcCall\",\"endpoint\":\"embedString\",\"callId\":7,\"parameter\":{\"modelSpecifier\":{\"type\":\"query\","
         "\"query\":{\"identifier\":\"e\"}},\"inputString\":\"abc\"}}",
         0},
        {false, "{\"type\":\"rpcResult\",\"callId\":7,\"result\":{\"embedding\":[0.1]}}", 0}};
    struct jl_buf told, bytes;
    (void)state;
    struct frames *f = open_frames("/embedding", &told);
    for (size_t i = 0; i < JL_COUNT(said); i++) {
        jl_buf_init(&bytes, 1 << 20);
        say(&bytes, &said[i]);
        give(f, said[i].up, &bytes, 0, 1);
        jl_buf_release(&bytes);
    }
    assert_string_equal(told.data, "reads 1\nrequest 1 embeddings e bytes 3\n"
                                   "end 1 embeddings e  prompt -1 made -1 done 1 whole 1 \n");
    frames_close(f);
    jl_buf_release(&told);
}

/* A length of 64 bits, and one beyond the limit: reading stops, what is under way ends as not whole. */
static void lengths(void **state)
{
    struct jl_buf told, bytes;
    char *long_text = malloc(70001);
    (void)state;
    memset(long_text, 'a', 70000);
    long_text[70000] = '\0';
    char *text =
        jl_strf("{\"type\":\"channelCreate\",\"endpoint\":\"predict\",\"channelId\":3,\"creationParameter\":{\"history\":"
                "{\"messages\":[{\"content\":\"%s\"}]}}}",
                long_text);
    struct frames *f = open_frames("/llm", &told);
    jl_buf_init(&bytes, 1 << 20);
    say(&bytes, &(struct said){true, AUTH, 0});
    say(&bytes, &(struct said){true, text, 0});
    give(f, true, &bytes, 0, 999);
    assert_string_equal(told.data, "reads 1\nrequest 1 inference  bytes 70000\n");
    assert_true(frames_whole(f));
    static const char too_long[] = "\x81\x7f\0\0\0\0\x10\0\0\0";
    frames_bytes(f, false, too_long, sizeof too_long - 1, 9);
    assert_string_equal(told.data, "reads 1\nrequest 1 inference  bytes 70000\n"
                                   "end 1 inference   prompt -1 made 0 done 0 whole 0 \nreads 0\n");
    assert_false(frames_whole(f));
    frames_bytes(f, false, "anything", 8, 9); /* and nothing more is said */
    frames_end(f, true, 9);
    frames_close(f);
    jl_buf_release(&told);
    jl_buf_release(&bytes);
    free(text);
    free(long_text);
}

/* Another protocol at the same path is nobody's business, and nothing is missing of it. */
static void strangers(void **state)
{
    static const char *const firsts[] = {"{\"hello\":1}", "no json", "[1]"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(firsts) + 1; i++) {
        struct jl_buf told, bytes;
        struct frames *f = open_frames("/llm", &told);
        jl_buf_init(&bytes, 1 << 20);
        if (i < JL_COUNT(firsts))
            say(&bytes, &(struct said){true, firsts[i], 0});
        else
            jl_buf_str(&bytes, "GET / no frames at all");
        give(f, true, &bytes, 0, 1);
        assert_string_equal(told.data, "");
        assert_true(frames_whole(f));
        frames_close(f);
        jl_buf_release(&told);
        jl_buf_release(&bytes);
    }
    assert_true(recognise_frames_at("/llm") && recognise_frames_at("/embedding?a"));
    assert_false(recognise_frames_at("/llm/x") || recognise_frames_at("/files") || recognise_frames_at("/"));
}

/* More channels than are followed: reading stops, memory does not grow. */
static void many_channels(void **state)
{
    struct jl_buf told, bytes;
    (void)state;
    struct frames *f = open_frames("/llm", &told);
    jl_buf_init(&bytes, 1 << 20);
    say(&bytes, &(struct said){true, AUTH, 0});
    for (int i = 0; i < 70; i++) {
        char *text = jl_strf("{\"type\":\"channelCreate\",\"endpoint\":\"predict\",\"channelId\":%d}", i);
        say(&bytes, &(struct said){true, text, 0});
        free(text);
    }
    give(f, true, &bytes, 0, 4096);
    assert_false(frames_whole(f));
    assert_non_null(strstr(told.data, "request 64 "));
    assert_null(strstr(told.data, "request 65 "));
    assert_non_null(strstr(told.data, "end 64 "));
    frames_close(f);
    jl_buf_release(&told);
    jl_buf_release(&bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_conversation), cmocka_unit_test(cut_anywhere),
                                       cmocka_unit_test(embeddings),     cmocka_unit_test(lengths),
                                       cmocka_unit_test(strangers),      cmocka_unit_test(many_channels)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
