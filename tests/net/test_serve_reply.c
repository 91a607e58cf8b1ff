/* test_serve_reply.c - answers of upstreams taken apart (RFC 9112, 2.2, 6.3, 7.1): heads, framings, what is refused, and that
 * where the bytes are cut changes nothing. */
#include "net/serve_reply.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

struct seen {
    struct reply r;
    enum reply_head head;
    struct jl_buf body;
};

static void take(struct seen *s, char *bytes, size_t n)
{
    size_t used = 0;
    if (s->head == REPLY_MORE)
        s->head = reply_head_bytes(&s->r, bytes, n, &used);
    if (s->head == REPLY_HEAD)
        jl_buf_add(&s->body, bytes + used, reply_body_bytes(&s->r, bytes + used, n - used));
}

/* In pieces of so many bytes; then the connection ends. */
static void see(struct seen *s, const char *text, size_t piece, bool to_head)
{
    size_t n = strlen(text);
    char *bytes = strdup(text);
    *s = (struct seen){.head = REPLY_MORE};
    reply_init(&s->r, to_head);
    jl_buf_init(&s->body, SIZE_MAX);
    jl_buf_str(&s->body, "");
    for (size_t i = 0; i < n; i += piece)
        take(s, bytes + i, n - i < piece ? n - i : piece);
    free(bytes);
}

static void forget(struct seen *s)
{
    reply_release(&s->r);
    jl_buf_release(&s->body);
}

#define OK      "HTTP/1.1 200 OK\r\n"
#define CHUNKED OK "Transfer-Encoding: chunked\r\n\r\n"

struct row {
    const char *text;
    enum reply_head head;
    int status;
    int64_t length;
    const char *body;
    bool done, broken, keeps, more; /* before the connection ends */
    bool to_head;
};

static const struct row rows[] = {
    {OK "Content-Length: 5\r\n\r\nhello", REPLY_HEAD, 200, 5, "hello", .done = true, .keeps = true},
    {OK "Content-Length: 5\n\nhello", REPLY_HEAD, 200, 5, "hello", .done = true, .keeps = true},
    {OK "Content-Length: 5\r\ncontent-length:5\r\n\r\nhello!", REPLY_HEAD, 200, 5, "hello", .done = true, .keeps = true,
     .more = true},
    {OK "Content-Length: 5\r\n\r\nhell", REPLY_HEAD, 200, 5, "hell", .keeps = true},
    {OK "Content-Length: 0\r\n\r\n", REPLY_HEAD, 200, 0, "", .done = true, .keeps = true},
    {OK "Connection: Keep-Alive, Close\r\nContent-Length: 1\r\n\r\nx", REPLY_HEAD, 200, 1, "x", .done = true},
    {"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", REPLY_HEAD, 200, 1, "x", .done = true},
    {"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", REPLY_HEAD, 200, 1, "x", .done = true,
     .keeps = true},
    {OK "\r\nuntil the end", REPLY_HEAD, 200, -1, "until the end", .done = false},
    {"HTTP/1.1 204\r\n\r\n", REPLY_HEAD, 204, -1, "", .done = true, .keeps = true},
    {"HTTP/1.1 304 Not Modified\r\nContent-Length: 77\r\n\r\n", REPLY_HEAD, 304, 77, "", .done = true, .keeps = true},
    {OK "Content-Length: 77\r\n\r\n", REPLY_HEAD, 200, 77, "", .done = true, .keeps = true, .to_head = true},
    {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" OK "Content-Length: 2\r\n\r\nok", REPLY_HEAD, 200,
     2, "ok", .done = true, .keeps = true},
    {CHUNKED "5\r\nhello\r\n6;a=b\r\n world\r\n0\r\nTrailer: x\r\n\r\n", REPLY_HEAD, 200, -1, "hello world", .done = true,
     .keeps = true},
    {CHUNKED "00000a\r\n0123456789\r\n0\r\n\r\nmore", REPLY_HEAD, 200, -1, "0123456789", .done = true, .keeps = true,
     .more = true},
    {CHUNKED "5\nhello\n0\n\n", REPLY_HEAD, 200, -1, "hello", .done = true, .keeps = true},
    {OK "Content-Length: 3\r\nTransfer-Encoding: gzip, Chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n", REPLY_HEAD, 200, -1, "x",
     .done = true},
    {OK "Transfer-Encoding: gzip\r\n\r\nx", REPLY_HEAD, 200, -1, "x", .done = false},
    {CHUNKED "zz\r\n", REPLY_HEAD, 200, -1, "", .broken = true, .keeps = true},
    {CHUNKED "\r\n", REPLY_HEAD, 200, -1, "", .broken = true, .keeps = true},
    {CHUNKED "5\r\nhelloX", REPLY_HEAD, 200, -1, "hello", .broken = true, .keeps = true},
    {CHUNKED "1000000000000000\r\n", REPLY_HEAD, 200, -1, "", .broken = true, .keeps = true},
    {OK "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", .head = REPLY_BAD},
    {OK "Content-Length: five\r\n\r\n", .head = REPLY_BAD},
    {OK "Content-Length: -5\r\n\r\n", .head = REPLY_BAD},
    {OK "Content-Length: 5, 5\r\n\r\n", .head = REPLY_BAD},
    {OK "Content-Length: 1234567890123456789\r\n\r\n", .head = REPLY_BAD},
    {OK "Content-Length:\r\n\r\n", .head = REPLY_BAD},
    {"HTTP/1.1 101 Switching Protocols\r\n\r\n", .head = REPLY_BAD},
    {"SSH-2.0-OpenSSH\r\n", .head = REPLY_NO_HTTP},
    {"HTTP/2 200\r\n\r\n", .head = REPLY_NO_HTTP},
    {"HTTP/1.1 2000 OK\r\n\r\n", .head = REPLY_NO_HTTP},
    {"HTTP/1.1 20\r\n\r\n", .head = REPLY_NO_HTTP},
    {"\r\n" OK "\r\n", .head = REPLY_NO_HTTP},
    {OK "Content-Le", .head = REPLY_MORE},
    {"HTT", .head = REPLY_MORE},
};

static void answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct row *row = &rows[i];
        for (size_t piece = 1; piece <= strlen(row->text); piece++) {
            struct seen s;
            see(&s, row->text, piece, row->to_head);
            if (s.head != row->head)
                fail_msg("%s in pieces of %zu: %d", row->text, piece, s.head);
            if (row->head == REPLY_HEAD &&
                (s.r.status != row->status || s.r.length != row->length || strcmp(s.body.data, row->body) != 0 ||
                 s.r.done != row->done || s.r.broken != row->broken || s.r.keeps != row->keeps || s.r.more != row->more))
                fail_msg("%s in pieces of %zu: status %d, length %lld, body \"%s\", done %d, broken %d, keeps %d, more %d",
                         row->text, piece, s.r.status, (long long)s.r.length, s.body.data, s.r.done, s.r.broken, s.r.keeps,
                         s.r.more);
            forget(&s);
        }
    }
}

static void the_end_of_the_connection(void **state)
{
    static const struct {
        const char *text;
        bool done;
    } ends[] = {{OK "\r\nuntil the end", true},
                {OK "Content-Length: 5\r\n\r\nhell", false},
                {OK "Content-Length: 5\r\n\r\nhello", true},
                {CHUNKED "5\r\nhello\r\n", false},
                {CHUNKED "5\r\nhello\r\n0\r\n", false}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(ends); i++) {
        struct seen s;
        see(&s, ends[i].text, 1000, false);
        reply_ends(&s.r);
        assert_int_equal(s.r.done, ends[i].done);
        assert_int_equal(s.r.broken, !ends[i].done);
        assert_false(s.r.keeps);
        forget(&s);
    }
}

static void headers(void **state)
{
    static const struct net_header expected[] = {{"X-Empty", ""},       {"X-Blank", "a  b"},     {"X-Folded", "one     two"},
                                                 {"Set-Cookie", "a=1"}, {"Set-Cookie", "b=2:3"}, {"X-Name", "value"}};
    (void)state;
    for (size_t piece = 1; piece < 60; piece++) {
        struct seen s;
        see(&s,
            OK "X-Empty:\r\nX-Blank: \t a  b \t\r\nX-Folded: one\r\n \t two\r\nno header\r\n: nameless\r\nSet-Cookie: "
               "a=1\r\nSet-Cookie: "
               "b=2:3\r\nX-Name \t:value\r\n\r\n",
            piece, false);
        assert_int_equal(s.head, REPLY_HEAD);
        assert_int_equal(s.r.n_headers, JL_COUNT(expected));
        for (size_t i = 0; i < JL_COUNT(expected); i++) {
            assert_string_equal(s.r.headers[i].name, expected[i].name);
            if (i == 2)
                assert_true(strncmp(s.r.headers[i].value, "one", 3) == 0 && strstr(s.r.headers[i].value, " two"));
            else
                assert_string_equal(s.r.headers[i].value, expected[i].value);
        }
        forget(&s);
    }
}

/* A byte 0, and a head that does not end. */
static void heads_that_are_none(void **state)
{
    struct reply r;
    size_t used;
    static const char zero[] = OK "X-A: b\0c\r\n\r\n";
    char *flood = malloc(REPLY_HEAD_MAX + 1);
    (void)state;
    reply_init(&r, false);
    assert_int_equal(reply_head_bytes(&r, zero, sizeof(zero) - 1, &used), REPLY_BAD);
    reply_release(&r);
    reply_init(&r, false);
    memset(flood, 'a', REPLY_HEAD_MAX + 1);
    memcpy(flood, OK, strlen(OK));
    assert_int_equal(reply_head_bytes(&r, flood, REPLY_HEAD_MAX, &used), REPLY_MORE);
    assert_int_equal(reply_head_bytes(&r, flood, 1, &used), REPLY_BAD);
    reply_release(&r);
    free(flood);
}

/* The limit for what is no body is that of one chunk: an answer of a long night has far more of them than fit below it. */
static void many_chunks(void **state)
{
    enum { CHUNKS = 200000 };
    struct reply r;
    size_t used;
    (void)state;
    reply_init(&r, false);
    assert_int_equal(reply_head_bytes(&r, CHUNKED, strlen(CHUNKED), &used), REPLY_HEAD);
    for (int i = 0; i < CHUNKS; i++) {
        char chunk[] = "1;a=b\r\nx\r\n";
        assert_int_equal(reply_body_bytes(&r, chunk, sizeof chunk - 1), 1);
    }
    assert_int_equal(reply_body_bytes(&r, (char[]){"0\r\n\r\n"}, 5), 0);
    assert_true(r.done);
    reply_release(&r);

    reply_init(&r, false);
    assert_int_equal(reply_head_bytes(&r, CHUNKED, strlen(CHUNKED), &used), REPLY_HEAD);
    reply_body_bytes(&r, (char[]){"1;"}, 2);
    for (int i = 0; i < CHUNKS; i++)
        reply_body_bytes(&r, (char[]){"a"}, 1);
    assert_true(r.broken);
    reply_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers),     cmocka_unit_test(the_end_of_the_connection),
        cmocka_unit_test(headers),     cmocka_unit_test(heads_that_are_none),
        cmocka_unit_test(many_chunks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
