/* What a peer says: written, read back, cut off anywhere, changed anywhere, and added up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "api/peer_reply.h"
#include "common/money.h"

#define BODY                                                                                       \
    "payring-peer 1\n"                                                                             \
    "region 0123456789abcdeffedcba9876543210\n"                                                    \
    "generation 7\n"                                                                               \
    "default 3 5970\n"                                                                             \
    "fallback 0 0\n"

#define PAYMENTS_MAX (UINT64_C(1) << 48)

static const struct peer_sums sums_of_body = {
    .region_id_hi = 0x0123456789abcdef,
    .region_id_lo = 0xfedcba9876543210,
    .purge_generation = 7,
    .totals = {.payments = {3, 0}, .sum_cents = {5970, 0}},
};

static void expect_sums(const struct peer_sums *got, const struct peer_sums *expected)
{
    assert_true(got->region_id_hi == expected->region_id_hi);
    assert_true(got->region_id_lo == expected->region_id_lo);
    assert_true(got->purge_generation == expected->purge_generation);
    for (int i = 0; i < 2; i++) {
        assert_true(got->totals.payments[i] == expected->totals.payments[i]);
        assert_true(got->totals.sum_cents[i] == expected->totals.sum_cents[i]);
    }
}

/* Read from memory of just that size: a sanitizer sees a step too far. */
static enum peer_reply read_bytes(const char *text, size_t length, struct peer_sums *sums,
                                  struct explain *why)
{
    char *copy = test_malloc(length + 1);

    memcpy(copy, text, length);
    enum peer_reply verdict = peer_reply_read(copy, length, sums, why);
    test_free(copy);
    return verdict;
}

static size_t make_reply(char *text, const char *status, const char *body)
{
    return (size_t)sprintf(
        text,
        "HTTP/1.1 %s\r\nDate: now\r\nConnection: close\r\ncontent-length: %zu\r\n"
        "content-type: text/plain\r\n\r\n%s",
        status, strlen(body), body);
}

static void expect_bad(const char *text, size_t length, const char *reason)
{
    struct peer_sums sums = sums_of_body;
    struct explain why = {{0}};

    if (read_bytes(text, length, &sums, &why) != PEER_REPLY_BAD)
        fail_msg("taken: %.*s", (int)length, text);
    assert_string_equal(why.text, reason);
    expect_sums(&sums, &sums_of_body);
}

static void expect_bad_body(const char *body, const char *reason)
{
    char text[PEER_REPLY_SIZE];

    expect_bad(text, make_reply(text, "200 OK", body), reason);
}

static void expect_bad_head(const char *head)
{
    char text[PEER_REPLY_SIZE];

    expect_bad(text, (size_t)sprintf(text, "%s\r\n\r\n%s", head, BODY), "answered nonsense");
}

/* ---- what is written is read ---- */

static void written_as_documented(void **state)
{
    char text[PEER_SUMS_SIZE];

    (void)state;
    assert_int_equal(peer_sums_write(text, &sums_of_body), strlen(BODY));
    assert_string_equal(text, BODY);
}

static void the_largest_is_written_and_read(void **state)
{
    struct peer_sums largest = {
        .region_id_hi = UINT64_MAX,
        .region_id_lo = UINT64_MAX,
        .purge_generation = UINT64_MAX,
        .totals = {.payments = {PAYMENTS_MAX, PAYMENTS_MAX},
                   .sum_cents = {PAYMENTS_MAX * (unsigned __int128)MONEY_MAX_CENTS,
                                 PAYMENTS_MAX * (unsigned __int128)MONEY_MAX_CENTS}},
    };
    struct peer_sums got;
    char body[PEER_SUMS_SIZE], text[PEER_REPLY_SIZE];

    (void)state;
    peer_sums_write(body, &largest);
    assert_non_null(strstr(body, "default 281474976710656 2814749767106560000000000000\n"));
    assert_int_equal(read_bytes(text, make_reply(text, "200 OK", body), &got, NULL),
                     PEER_REPLY_SUMS);
    expect_sums(&got, &largest);
    for (int i = 0; i < 2; i++) { /* what no region has still fits */
        largest.totals.payments[i] = UINT64_MAX;
        largest.totals.sum_cents[i] = ~(unsigned __int128)0;
    }
    assert_int_equal(peer_sums_write(body, &largest), 226);
    assert_non_null(strstr(body, " 340282366920938463463374607431768211455\n"));
}

static void a_reply_is_read_however_it_is_cut(void **state)
{
    char text[PEER_REPLY_SIZE];
    size_t length = make_reply(text, "200 OK", BODY);
    struct peer_sums sums = {0}, untouched = {0};
    struct explain why = {{0}};

    (void)state;
    for (size_t cut = 0; cut < length; cut++) {
        if (read_bytes(text, cut, &sums, &why) != PEER_REPLY_INCOMPLETE)
            fail_msg("not incomplete at %zu: %s", cut, why.text);
        expect_sums(&sums, &untouched);
    }
    assert_int_equal(read_bytes(text, length, &sums, &why), PEER_REPLY_SUMS);
    expect_sums(&sums, &sums_of_body);
}

/* A changed byte is refused, waited for more, or is a digit (or HTTP's own matter) that makes other
 * sums of a region that could be: never a crash, never a sum out of its limits. */
static void a_changed_byte_is_no_harm(void **state)
{
    char text[PEER_REPLY_SIZE];
    size_t length = make_reply(text, "200 OK", BODY), body_begin = length - strlen(BODY);
    struct peer_sums sums;

    (void)state;
    for (size_t at = 0; at < length; at++) {
        char before = text[at];
        for (int byte = 0; byte < 256; byte++) {
            text[at] = (char)byte;
            if (read_bytes(text, length, &sums, NULL) != PEER_REPLY_SUMS)
                continue;
            for (int i = 0; i < 2; i++)
                assert_true(sums.totals.payments[i] <= PAYMENTS_MAX &&
                            sums.totals.sum_cents[i] >= sums.totals.payments[i]);
            bool was_digit = (before >= '0' && before <= '9') || (before >= 'a' && before <= 'f');
            if (at >= body_begin && text[at] != before && !was_digit)
                fail_msg("%d instead of %d is taken at %zu", byte, before, at - body_begin);
        }
        text[at] = before;
    }
}

/* ---- what is not taken ---- */

static void other_bodies_are_nonsense(void **state)
{
#define LINES(region, generation, default_, fallback)                                              \
    "payring-peer 1\n" region "\n" generation "\n" default_ "\n" fallback "\n"
#define REGION "region 0123456789abcdeffedcba9876543210"
    static const char *const bodies[] = {
        "",
        "payring-peer 1\n",
        "payring-peer 1",
        "payring-peer 01\n",
        "payring-peer\n",
        "{}",
        BODY "\n",
        BODY BODY,
        " " BODY,
        LINES("region 0123456789ABCDEFfedcba9876543210", "generation 7", "default 0 0",
              "fallback 0 0"),
        LINES("region 0123456789abcdeffedcba987654321", "generation 7", "default 0 0",
              "fallback 0 0"),
        LINES("region 0123456789abcdeffedcba98765432100", "generation 7", "default 0 0",
              "fallback 0 0"),
        LINES("region ", "generation 7", "default 0 0", "fallback 0 0"),
        LINES(REGION, "generation -1", "default 0 0", "fallback 0 0"),
        LINES(REGION, "generation ", "default 0 0", "fallback 0 0"),
        LINES(REGION, "generation 07", "default 0 0", "fallback 0 0"),
        LINES(REGION, "generation 18446744073709551616", "default 0 0", "fallback 0 0"),
        LINES(REGION, "generation 7", "fallback 0 0", "default 0 0"),
        LINES(REGION, "generation 7", "default 0", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 0 0 0", "fallback 0 0"),
        LINES(REGION, "generation 7", "default  0 0", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 0\t0", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 0 0\r", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 00 0", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 0 1", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 0 9", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 1 0", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 3 2", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 1 10000000000001", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 1 19.90", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 1 +19", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 1 1e3", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 281474976710657 281474976710657", "fallback 0 0"),
        LINES(REGION, "generation 7", "default 0 0",
              "fallback 1 340282366920938463463374607431768211457"),
        LINES(REGION, "generation 7", "default 0 0",
              "fallback 9 999999999999999999999999999999999999999999999999999999999"),
        LINES(REGION, "generation 7", "default 0 0", "fallback 18446744073709551617 1"),
    };

    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        expect_bad_body(bodies[i], "answered nonsense");
}

static void another_version_is_told(void **state)
{
    static const char reason[] = "speaks version 2 of the language of peers, not 1";
    char text[PEER_REPLY_SIZE];

    (void)state;
    expect_bad_body("payring-peer 2\n", reason);
    expect_bad_body("payring-peer 2\nwhatever it says then\n", reason);
    expect_bad(text, make_reply(text, "400 Bad Request", "payring-peer 2\n"), reason);
    expect_bad(text, make_reply(text, "403 Forbidden", "payring-peer 2\n"), reason);
    expect_bad(text, make_reply(text, "400 Bad Request", PEER_FIRST_LINE),
               "answered with status 400");
}

static void another_status_is_told(void **state)
{
    char text[PEER_REPLY_SIZE];

    (void)state;
    expect_bad(text, make_reply(text, "403 Forbidden", "{}"), "has another secret");
    expect_bad(text, make_reply(text, "503 Service Unavailable", "{}"), "answered with status 503");
    expect_bad(text, make_reply(text, "500 x", BODY), "answered with status 500");
    expect_bad(text, make_reply(text, "201 Created", BODY), "answered with status 201");
}

static void heads(void **state)
{
    static const char *const good[] = {"HTTP/1.1 200 OK\r\nContent-Length: 96",
                                       "HTTP/1.0 200\r\nCONTENT-LENGTH:96",
                                       "HTTP/1.1 200 \r\na: b\r\ncontent-length:   96\r\nc: d"};
    static const char *const bad[] = {
        "HTTP/1.1 200 OK",
        "HTTP/1.1 200 OK\r\nContent-Length: ",
        "HTTP/1.1 200 OK\r\nContent-Length: x",
        "HTTP/1.1 200 OK\r\nContent-Length: -96",
        "HTTP/1.1 200 OK\r\nContent-Length: +96",
        "HTTP/1.1 200 OK\r\nContent-Length: 096",
        "HTTP/1.1 200 OK\r\nContent-Length: 96 ",
        "HTTP/1.1 200 OK\r\nContent-Length: 96, 96",
        "HTTP/1.1 200 OK\r\nContent-Length: 4294967392",           /* 2^32 + 96 */
        "HTTP/1.1 200 OK\r\nContent-Length: 18446744073709551712", /* 2^64 + 96 */
        "HTTP/1.1 200 OK\r\nContent-Length: 96\r\nContent-Length: 96",
        "HTTP/1.1 200 OK\r\nContent-Length: 96\r\nTransfer-Encoding: identity",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked",
        "HTTP/2 200 OK\r\nContent-Length: 96",
        "HTTP/2.0 200 OK\r\nContent-Length: 96",
        "HTTP/1.x 200 OK\r\nContent-Length: 96",
        "HTTP/1.1 20\r\nContent-Length: 96",
        "HTTP/1.1  200\r\nContent-Length: 96",
        "HTTP/1.1 2000 OK\r\nContent-Length: 96",
        "HTTP/1.1 999 OK\r\nContent-Length: 96",
        "HTTP/1.1 200OK\r\nContent-Length: 96",
        "http/1.1 200 OK\r\nContent-Length: 96",
        "HTTP/1.1 100 Continue",
        "ICY 200 OK\r\nContent-Length: 96",
        "",
    };
    char text[PEER_REPLY_SIZE];
    struct peer_sums sums;

    (void)state;
    assert_int_equal(strlen(BODY), 96);
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        size_t length = (size_t)sprintf(text, "%s\r\n\r\n%s", good[i], BODY);
        if (read_bytes(text, length, &sums, NULL) != PEER_REPLY_SUMS)
            fail_msg("not taken: %s", good[i]);
        expect_sums(&sums, &sums_of_body);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        expect_bad_head(bad[i]);
}

/* There is room for PEER_REPLY_SIZE bytes: with so many, it must be decided. */
static void never_more_than_there_is_room_for(void **state)
{
    static const char *const begins[] = {"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200 OK\r\nX: ",
                                         "HTTP/1.1 200 OK\r\nContent-Length: 1500\r\nX: "};
    static const char reason[] = "answered too much";
    char text[PEER_REPLY_SIZE];

    (void)state;
    for (size_t i = 0; i < sizeof begins / sizeof begins[0]; i++) {
        memset(text, 'x', sizeof text);
        memcpy(text, begins[i], strlen(begins[i]));
        assert_int_equal(read_bytes(text, sizeof text - 1, NULL, NULL), PEER_REPLY_INCOMPLETE);
        expect_bad(text, sizeof text, reason);
    }
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n";
    size_t head_length = strlen(head) - 3 + 4, room = sizeof text - head_length;
    sprintf(text, head, room + 1);
    expect_bad(text, head_length, reason);
    sprintf(text, head, room);
    assert_int_equal(read_bytes(text, head_length, NULL, NULL), PEER_REPLY_INCOMPLETE);
    size_t length = make_reply(text, "200 OK", BODY);
    text[length] = '\n';
    expect_bad(text, length + 1, reason);
}

/* ---- adding up ---- */

static struct peer_sums answer_of(uint64_t region, uint64_t generation, uint64_t payments)
{
    return (struct peer_sums){.region_id_hi = region >> 4,
                              .region_id_lo = region & 15,
                              .purge_generation = generation,
                              .totals = {.payments = {payments, payments * 2},
                                         .sum_cents = {payments * 100, payments * 1000}}};
}

/* Our own region is 0x11. */
static void expect_total(const struct peer_sums *answers, unsigned count, uint64_t payments)
{
    struct payment_summary got = peer_sums_add_up(answers, count, 1, 1);

    assert_int_equal(got.payments[0], payments);
    assert_int_equal(got.payments[1], payments * 2);
    assert_true(got.sum_cents[0] == payments * 100);
    assert_true(got.sum_cents[1] == payments * 1000);
}

static void each_region_counts_once(void **state)
{
    (void)state;
    expect_total(NULL, 0, 0);
    expect_total((struct peer_sums[]){answer_of(0x22, 0, 5)}, 1, 5);
    expect_total((struct peer_sums[]){answer_of(0x22, 0, 5), answer_of(0x33, 0, 7)}, 2, 12);
    /* half of an id is not an id */
    expect_total((struct peer_sums[]){answer_of(0x12, 0, 5), answer_of(0x21, 0, 7)}, 2, 12);
    expect_total(
        (struct peer_sums[]){answer_of(0x22, 0, 5), answer_of(0x23, 0, 7), answer_of(0x32, 0, 9)},
        3, 21);
    expect_total((struct peer_sums[]){answer_of(0x11, 0, 5)}, 1, 0);
    expect_total(
        (struct peer_sums[]){answer_of(0x11, 9, 5), answer_of(0x22, 0, 7), answer_of(0x11, 0, 6)},
        3, 7);
    /* of two answers the first, or the one after the later purge */
    expect_total((struct peer_sums[]){answer_of(0x22, 3, 5), answer_of(0x22, 3, 6)}, 2, 5);
    expect_total((struct peer_sums[]){answer_of(0x22, 2, 5), answer_of(0x22, 3, 6)}, 2, 6);
    expect_total((struct peer_sums[]){answer_of(0x22, 3, 5), answer_of(0x22, 2, 6)}, 2, 5);
    expect_total((struct peer_sums[]){answer_of(0x22, 3, 1), answer_of(0x33, 0, 2),
                                      answer_of(0x22, 5, 4), answer_of(0x22, 5, 8),
                                      answer_of(0x22, 4, 16), answer_of(0x33, 0, 32)},
                 6, 6);
}

static void eight_of_the_largest_do_not_overflow(void **state)
{
    struct peer_sums answers[8];
    unsigned __int128 largest = PAYMENTS_MAX * (unsigned __int128)MONEY_MAX_CENTS;

    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        answers[i] = answer_of(0x20 + i, 0, 0);
        answers[i].totals.payments[0] = PAYMENTS_MAX;
        answers[i].totals.sum_cents[0] = largest;
    }
    struct payment_summary got = peer_sums_add_up(answers, 8, 1, 1);
    assert_true(got.payments[0] == PAYMENTS_MAX * 8);
    assert_true(got.sum_cents[0] == largest * 8 && got.sum_cents[0] > largest);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_as_documented),
        cmocka_unit_test(the_largest_is_written_and_read),
        cmocka_unit_test(a_reply_is_read_however_it_is_cut),
        cmocka_unit_test(a_changed_byte_is_no_harm),
        cmocka_unit_test(other_bodies_are_nonsense),
        cmocka_unit_test(another_version_is_told),
        cmocka_unit_test(another_status_is_told),
        cmocka_unit_test(heads),
        cmocka_unit_test(never_more_than_there_is_room_for),
        cmocka_unit_test(each_region_counts_once),
        cmocka_unit_test(eight_of_the_largest_do_not_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
