/* Frames of RFC 6455 in any cut, and what breaks the standard. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "net/net_ws.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct seen {
    char log[4096]; /* "text(Hello) ping(x) ..." */
    size_t stop_after, n;
};

static bool note(void *user, enum ws_kind kind, const char *bytes, size_t n)
{
    static const char *const names[] = {"?", "text", "binary", "?", "?", "?", "?", "?", "close", "ping", "pong"};
    struct seen *s = user;
    char *copy = malloc(n + 1); /* a sanitizer sees a read beyond the message */
    memcpy(copy, bytes, n);
    size_t at = strlen(s->log);
    if (n <= 200)
        snprintf(s->log + at, sizeof(s->log) - at, "%s(%.*s) ", names[kind], (int)n, copy);
    else
        snprintf(s->log + at, sizeof(s->log) - at, "%s[%zu] ", names[kind], n);
    free(copy);
    return ++s->n != s->stop_after;
}

/* In pieces of `piece` bytes after a first one of `cut`. */
static void read_all(struct ws_reader *r, struct seen *s, bool masked, const char *bytes, size_t n, size_t cut, size_t piece)
{
    bool on = true;
    *s = (struct seen){.n = 0};
    ws_reader_init(r, masked, 100000);
    for (size_t at = 0, size = cut; on && at < n; at += size, size = piece) {
        size = size > n - at ? n - at : size;
        char *block = malloc(size + 1);
        memcpy(block, bytes + at, size);
        on = ws_reader_bytes(r, block, size, note, s);
        free(block);
    }
}

/* ---- examples of RFC 6455, 5.7, and what else must be read ------------------------------------------------------- */

static const struct {
    const char *name, *bytes;
    size_t n;
    bool masked;
    const char *want, *problem;
} rows[] = {
#define ROW(name, bytes, masked, want, problem)                                                                                  \
    {                                                                                                                            \
        name, bytes, sizeof(bytes) - 1, masked, want, problem                                                                    \
    }
    ROW("unmasked text", "\x81\x05Hello", false, "text(Hello) ", NULL),
    ROW("masked text", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", true, "text(Hello) ", NULL),
    ROW("in pieces", "\x01\x03Hel\x80\x02lo", false, "text(Hello) ", NULL),
    ROW("ping between the pieces", "\x01\x03Hel\x89\x05Hello\x80\x02lo", false, "ping(Hello) text(Hello) ", NULL),
    ROW("masked pong", "\x8a\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", true, "pong(Hello) ", NULL),
    ROW("empty text", "\x81\x00\x81\x01x", false, "text() text(x) ", NULL),
    ROW("empty pieces", "\x01\x00\x00\x00\x80\x00", false, "text() ", NULL),
    ROW("close with a code", "\x88\x02\x03\xe8\x81\x01x", false, "close(\x03\xe8) ", NULL),
    ROW("close without one", "\x88\x00", false, "close() ", NULL),
    ROW("binary", "\x82\x02\xff\xfe", false, "binary(\xff\xfe) ", NULL),
    ROW("a character over two pieces", "\x01\x01\xc3\x80\x01\xa9", false, "text(\xc3\xa9) ", NULL),
    ROW("compressed", "\xc1\x05Hello", false, "",
        "a frame with a reserved bit, which belongs to an extension that was not offered"),
    ROW("unknown kind", "\x83\x01x", false, "", "a frame of an unknown kind"),
    ROW("unknown control", "\x8b\x00", false, "", "a frame of an unknown kind"),
    ROW("mask of a server", "\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", false, "", "a frame with a mask"),
    ROW("no mask of a client", "\x81\x05Hello", true, "", "a frame without a mask"),
    ROW("long ping", "\x89\x7e\x00\x7e", false, "", "a control frame that is too long or in pieces"),
    ROW("ping in pieces", "\x09\x01x", false, "", "a control frame that is too long or in pieces"),
    ROW("piece of nothing", "\x80\x01x", false, "", "a piece of a message that was not begun"),
    ROW("message inside another", "\x01\x01x\x81\x01y", false, "", "a message inside another one"),
    ROW("wasteful length", "\x81\x7e\x00\x05Hello", false, "", "a frame whose length is not written in the shortest way"),
    ROW("wasteful long length", "\x81\x7f\0\0\0\0\0\0\xff\xff", false, "",
        "a frame whose length is not written in the shortest way"),
    ROW("length above 2^63", "\x81\x7f\x80\0\0\0\0\0\0\0", false, "", "a frame whose length is not written in the shortest way"),
    ROW("longer than the limit", "\x81\x7f\0\0\0\0\0\x02\0\0", false, "", "a message longer than the limit"),
    ROW("not UTF-8", "\x81\x02\xc3\x28", false, "", "a text that is not UTF-8"),
    ROW("overlong", "\x81\x02\xc0\xaf", false, "", "a text that is not UTF-8"),
    ROW("half of a pair", "\x81\x03\xed\xa0\x80", false, "", "a text that is not UTF-8"),
    ROW("close with one byte", "\x88\x01\x03", false, "", "a close frame with a code or text that cannot be"),
    ROW("close with a reserved code", "\x88\x02\x03\xed", false, "", "a close frame with a code or text that cannot be"),
    ROW("HTML", "<html><body>", false, "", "a frame with a reserved bit, which belongs to an extension that was not offered"),
};

static void frames_in_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        for (size_t cut = 0; cut <= rows[i].n; cut++) {
            {
                struct ws_reader r;
                struct seen s;
                read_all(&r, &s, rows[i].masked, rows[i].bytes, rows[i].n, cut ? cut : 1, cut ? rows[i].n : 1);
                if (strcmp(s.log, rows[i].want) || (r.problem != NULL) != (rows[i].problem != NULL) ||
                    (r.problem && strcmp(r.problem, rows[i].problem)))
                    fail_msg("%s, cut %zu: \"%s\", %s", rows[i].name, cut, s.log, r.problem ? r.problem : "no problem");
                if (!r.problem && !r.closed)
                    assert_true(ws_reader_between(&r));
                ws_reader_release(&r);
            }
        }
    }
}

static void write_and_read(size_t size, bool masked)
{
    struct ws_reader r;
    struct seen s;
    struct jl_buf out;
    char *text = malloc(size + 1), *want;
    for (size_t k = 0; k < size; k++)
        text[k] = (char)('a' + k % 26);
    text[size] = '\0';
    jl_buf_init(&out, 200000);
    assert_true(ws_write(&out, WS_TEXT, text, size, masked ? (const unsigned char *)"\x01\x80\xff\x7f" : NULL));
    assert_true(ws_write(&out, WS_PING, "p", 1, masked ? (const unsigned char *)"\x11\x22\x33\x44" : NULL));
    want = size <= 200 ? jl_strf("text(%s) ping(p) ", text) : jl_strf("text[%zu] ping(p) ", size);
    for (size_t piece = 1; piece < 5000; piece += 1777) {
        read_all(&r, &s, masked, out.data, out.len, 1, piece);
        assert_null(r.problem);
        assert_string_equal(s.log, want);
        assert_true(ws_reader_between(&r));
        ws_reader_release(&r);
    }
    jl_buf_release(&out);
    free(text);
    free(want);
}

/* What is written is read again, at every length where the head changes, with and without a mask. */
static void there_and_back(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 125, 126, 127, 65535, 65536, 70000};
    for (size_t i = 0; i < JL_COUNT(sizes); i++) {
        write_and_read(sizes[i], false);
        write_and_read(sizes[i], true);
    }
}

static void limits(void **state)
{
    (void)state;
    struct jl_buf out;
    char long_ping[126] = {0};
    jl_buf_init(&out, 100);
    assert_false(ws_write(&out, WS_PING, long_ping, sizeof(long_ping), NULL));
    assert_int_equal(out.len, 0);
    assert_false(ws_write(&out, WS_TEXT, long_ping, sizeof(long_ping), NULL));
    jl_buf_release(&out);
    struct ws_reader r;
    struct seen s = {.n = 0};
    ws_reader_init(&r, false, 8); /* over all pieces of a message */
    assert_false(ws_reader_bytes(&r, "\x01\x05Hello\x00\x05Hello", 14, note, &s));
    assert_string_equal(r.problem, "a message longer than the limit");
    assert_false(ws_reader_bytes(&r, "\x81\x00", 2, note, &s));
    assert_int_equal(r.used, 0);
    assert_int_equal(s.n, 0);
    ws_reader_release(&r);
}

/* The caller may stop at a message; `used` tells where the next one begins. */
static void stopped_between_two(void **state)
{
    (void)state;
    struct ws_reader r;
    struct seen s = {.stop_after = 1};
    ws_reader_init(&r, false, 100);
    assert_false(ws_reader_bytes(&r,
                                 "\x81\x01"
                                 "a\x81\x01"
                                 "b",
                                 6, note, &s));
    assert_true(r.stopped && r.used == 3);
    r.stopped = false;
    assert_true(ws_reader_bytes(&r,
                                "\x81\x01"
                                "b",
                                3, note, &s));
    assert_string_equal(s.log, "text(a) text(b) ");
    ws_reader_release(&r);
}

static void the_answer_to_a_key(void **state)
{
    (void)state;
    char out[WS_ACCEPT_SIZE];
    ws_accept("dGhlIHNhbXBsZSBub25jZQ==", out); /* RFC 6455, 1.3 */
    assert_string_equal(out, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_int_equal(ws_close_code("\x03\xe9", 2), 1001);
    assert_int_equal(ws_close_code("", 0), 1005);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_in_any_cut),   cmocka_unit_test(there_and_back),      cmocka_unit_test(limits),
        cmocka_unit_test(stopped_between_two), cmocka_unit_test(the_answer_to_a_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
