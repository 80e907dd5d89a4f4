/* Query values: found once, percent-decoded, never guessed. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "common/query.h"

static void expect_found(const char *query, const char *expected)
{
    char value[32];
    size_t length = 0;
    struct explain why = {.text = ""};

    if (query_find(query, strlen(query), "from", value, sizeof value, &length, &why) != STATUS_OK)
        fail_msg("\"%s\": nothing found: %s", query, why.text);
    assert_string_equal(value, expected);
    assert_int_equal(length, strlen(expected));
}

static void expect_status(const char *query, enum status expected, const char *reason)
{
    char value[32];
    size_t length;
    struct explain why = {.text = ""};
    enum status status =
        query_find(query, strlen(query), "from", value, sizeof value, &length, &why);

    if (status != expected || strstr(why.text, reason) == NULL)
        fail_msg("\"%s\": status %d, \"%s\"", query, (int)status, why.text);
}

static void finds_and_decodes_a_value(void **state)
{
    (void)state;
    expect_found("from=1", "1");
    expect_found("to=2&from=1", "1");
    expect_found("from=1&to=2", "1");
    expect_found("&&from=1&", "1");
    expect_found("from=", "");
    expect_found("from", "");
    expect_found("from=a=b", "a=b");
    expect_found("from=12%3A34%3a56", "12:34:56");
    expect_found("from=%2B00:00", "+00:00");
    expect_found("from=+00:00", "+00:00");
    expect_found("from=a%26to%3Db&to=c", "a&to=b");
    expect_found("%66r%6Fm=1", "1");
    expect_found("from=%c3%a9", "\xc3\xa9");
    expect_found("from=1234567890123456789012345678901", "1234567890123456789012345678901");
}

static void tells_absence_from_presence(void **state)
{
    (void)state;
    expect_status("", STATUS_NOT_FOUND, "");
    expect_status("&", STATUS_NOT_FOUND, "");
    expect_status("to=1", STATUS_NOT_FOUND, "");
    expect_status("fro=1", STATUS_NOT_FOUND, "");
    expect_status("fromm=1", STATUS_NOT_FOUND, "");
    expect_status("From=1", STATUS_NOT_FOUND, "");
    expect_status("x=from", STATUS_NOT_FOUND, "");
    expect_status("=from", STATUS_NOT_FOUND, "");
    expect_status("fr%26om=1", STATUS_NOT_FOUND, "");
    expect_status("from%3D1", STATUS_NOT_FOUND, "");
}

static void refuses_what_it_would_have_to_guess(void **state)
{
    (void)state;
    expect_status("from=1&from=1", STATUS_INVALID, "more than once");
    expect_status("from=1&to=2&fro%6d=3", STATUS_INVALID, "more than once");
    expect_status("from&from", STATUS_INVALID, "more than once");
    expect_status("from=%", STATUS_INVALID, "encodes no character");
    expect_status("from=%2", STATUS_INVALID, "encodes no character");
    expect_status("from=%2&to=b", STATUS_INVALID, "encodes no character");
    expect_status("from=%zz", STATUS_INVALID, "encodes no character");
    expect_status("from=%3g", STATUS_INVALID, "encodes no character");
    expect_status("from=%%41", STATUS_INVALID, "encodes no character");
    expect_status("from=%00", STATUS_INVALID, "encodes no character");
    expect_status("from=1&x=%q0", STATUS_INVALID, "encodes no character");
    expect_status("%2=1&from=1", STATUS_INVALID, "encodes no character");
    expect_status("from=12345678901234567890123456789012", STATUS_INVALID, "longer than 31");
    expect_status("from=%31234567890123456789012345678901%32", STATUS_INVALID, "longer than 31");
}

static void reads_only_as_far_as_told(void **state)
{
    char value[8];
    size_t length = 99;

    (void)state;
    assert_int_equal(query_find("from=123&to", 7, "from", value, sizeof value, &length, NULL),
                     STATUS_OK);
    assert_string_equal(value, "12");
    assert_int_equal(query_find("from=%31", 7, "from", value, sizeof value, &length, NULL),
                     STATUS_INVALID);
    assert_int_equal(query_find("from=\0", 6, "from", value, sizeof value, &length, NULL),
                     STATUS_INVALID);
    assert_int_equal(query_find(NULL, 0, "from", value, sizeof value, &length, NULL),
                     STATUS_NOT_FOUND);
}

static void expect_byte(const char *query, unsigned byte)
{
    char value[4];
    size_t length = 0;

    assert_int_equal(query_find(query, 8, "from", value, sizeof value, &length, NULL), STATUS_OK);
    assert_int_equal(length, 1);
    assert_int_equal((unsigned char)value[0], byte);
}

static void every_byte_survives_encoding(void **state)
{
    (void)state;
    for (unsigned byte = 1; byte < 256; byte++) {
        char query[16];
        snprintf(query, sizeof query, "from=%%%02x", byte);
        expect_byte(query, byte);
        snprintf(query, sizeof query, "from=%%%02X", byte);
        expect_byte(query, byte);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_and_decodes_a_value),
        cmocka_unit_test(tells_absence_from_presence),
        cmocka_unit_test(refuses_what_it_would_have_to_guess),
        cmocka_unit_test(reads_only_as_far_as_told),
        cmocka_unit_test(every_byte_survives_encoding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
