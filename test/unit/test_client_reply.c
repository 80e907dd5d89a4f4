/* How the test clients read a reply: in pieces, with any framing, and garbage. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "test/lib/client/reply.h"

/* Every proper beginning is PARTIAL, the whole is COMPLETE with this status and body. The bytes are
 * copied to a block of exactly their size, so that a sanitizer sees one read too far. */
static struct reply assert_reads(const char *text, bool ended, int status, const char *body)
{
    struct reply reply = {0};
    size_t size = strlen(text);
    for (size_t part = 1; part <= size; part++) {
        char *bytes = malloc(part);
        memcpy(bytes, text, part);
        enum reply_progress progress = reply_parse(bytes, part, ended && part == size, &reply);
        assert_int_equal(progress, part == size ? REPLY_COMPLETE : REPLY_PARTIAL);
        if (part == size) {
            char out[256];
            assert_int_equal(reply_body(bytes, &reply, out, sizeof out), strlen(body));
            assert_string_equal(out, body);
        }
        free(bytes);
    }
    assert_int_equal(reply.status, status);
    return reply;
}

static void assert_garbled(const char *text)
{
    struct reply reply;
    assert_int_equal(reply_parse(text, strlen(text), false, &reply), REPLY_GARBLED);
}

static void test_length(void **state)
{
    (void)state;
    struct reply reply = assert_reads(
        "HTTP/1.1 202 Accepted\r\ncontent-length:   5\r\nX: y\r\n\r\nhello", false, 202, "hello");
    assert_false(reply.close);
    assert_reads("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", false, 503, "");
}

static void test_close(void **state)
{
    (void)state;
    assert_true(assert_reads("HTTP/1.1 400 No\r\nConnection: Close\r\nContent-Length: 1\r\n\r\n!",
                             false, 400, "!")
                    .close);
    assert_true(assert_reads("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", false, 200, "").close);
}

static void test_chunks(void **state)
{
    (void)state;
    assert_reads("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                 "4\r\n{\"a\"\r\nA;x=y\r\n:123456789\r\n1\r\n}\r\n0\r\n\r\n",
                 false, 200, "{\"a\":123456789}");
}

static void test_trailers(void **state)
{
    (void)state;
    assert_reads(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nT: 1\r\n\r\n", false,
        200, "ok");
}

static void test_no_body(void **state)
{
    (void)state;
    assert_reads("HTTP/1.1 204 No Content\r\n\r\n", false, 204, "");
}

static void test_until_the_end(void **state)
{
    (void)state;
    assert_true(
        assert_reads("HTTP/1.1 200 OK\r\nX: y\r\n\r\nall of it", true, 200, "all of it").close);
}

static void test_ended_too_early_is_never_complete(void **state)
{
    (void)state;
    static const char SHORT[] = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell";
    struct reply reply;
    assert_int_equal(reply_parse(SHORT, sizeof SHORT - 1, true, &reply), REPLY_PARTIAL);
}

static void test_garbage(void **state)
{
    (void)state;
    assert_garbled("x");
    assert_garbled("HTTP/2 200 OK\r\n\r\n");
    assert_garbled("HTTP/1.1 banana\r\n\r\n");
    assert_garbled("HTTP/1.1\r\n\r\n");
    assert_garbled("HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n");
    assert_garbled("HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n");
    assert_garbled("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n");
}

static void test_a_long_body_is_cut(void **state)
{
    (void)state;
    static const char TEXT[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n3\r\ndef\r\n0\r\n\r\n";
    struct reply reply;
    char out[6];
    assert_int_equal(reply_parse(TEXT, sizeof TEXT - 1, false, &reply), REPLY_COMPLETE);
    assert_int_equal(reply_body(TEXT, &reply, out, sizeof out), 5);
    assert_string_equal(out, "abcde");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),
        cmocka_unit_test(test_close),
        cmocka_unit_test(test_chunks),
        cmocka_unit_test(test_trailers),
        cmocka_unit_test(test_no_body),
        cmocka_unit_test(test_until_the_end),
        cmocka_unit_test(test_ended_too_early_is_never_complete),
        cmocka_unit_test(test_garbage),
        cmocka_unit_test(test_a_long_body_is_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
