/* Money: decimal texts are read exactly, whatever their length, and written with two decimals. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/money.h"

static void expect_cents(const char *text, int64_t expected)
{
    int64_t cents = -77;
    enum money_result result = money_parse_cents(text, strlen(text), &cents);

    if (result != MONEY_OK || cents != expected)
        fail_msg("\"%.80s\": result %d, %" PRId64 " cents instead of %" PRId64, text, (int)result,
                 cents, expected);
}

static void expect_refusal(const char *text, enum money_result expected)
{
    int64_t cents = -77;
    enum money_result result = money_parse_cents(text, strlen(text), &cents);

    if (result != expected || cents != -77)
        fail_msg("\"%.80s\": result %d instead of %d, %" PRId64 " cents", text, (int)result,
                 (int)expected, cents);
}

static void reads_every_spelling_of_an_amount(void **state)
{
    (void)state;
    expect_cents("19.90", 1990);
    expect_cents("19.9", 1990);
    expect_cents("19.9000000000000000000000000000000000000", 1990);
    expect_cents("1", 100);
    expect_cents("0.01", 1);
    expect_cents("0.99", 99);
    expect_cents("1e2", 10000);
    expect_cents("1E+2", 10000);
    expect_cents("100e-2", 100);
    expect_cents("0.001990e4", 1990);
    expect_cents("1990E-02", 1990);
    expect_cents("1e-2", 1);
    expect_cents("1e0000000000000000000000000000000002", 10000);
    expect_cents("1e-0", 100);
}

static void rounds_half_to_even(void **state)
{
    (void)state;
    expect_refusal("0.004", MONEY_NOT_POSITIVE);
    expect_refusal("0.005", MONEY_NOT_POSITIVE);
    expect_cents("0.0050000000000000000000000000000000000000000001", 1);
    expect_cents("0.0051", 1);
    expect_cents("0.009", 1);
    expect_cents("0.014", 1);
    expect_cents("0.015", 2);
    expect_cents("0.01500", 2);
    expect_cents("0.025", 2);
    expect_cents("0.0250000000000000000000000000000000000000000001", 3);
    expect_cents("0.035", 4);
    expect_cents("19.905", 1990);
    expect_cents("19.915", 1992);
    expect_cents("0.995", 100);
    expect_cents("0.985", 98);
    expect_cents("9.995", 1000);
}

static void knows_the_limits(void **state)
{
    (void)state;
    expect_cents("100000000000", MONEY_MAX_CENTS);
    expect_cents("100000000000.00", MONEY_MAX_CENTS);
    expect_cents("100000000000.005", MONEY_MAX_CENTS);
    expect_cents("1e11", MONEY_MAX_CENTS);
    expect_cents("99999999999.99", MONEY_MAX_CENTS - 1);
    expect_cents("99999999999.995", MONEY_MAX_CENTS);
    expect_refusal("100000000000.0050000000000000001", MONEY_TOO_LARGE);
    expect_refusal("100000000000.01", MONEY_TOO_LARGE);
    expect_refusal("999999999999.99", MONEY_TOO_LARGE);
    expect_refusal("1e12", MONEY_TOO_LARGE);
    expect_refusal("9223372036854775807", MONEY_TOO_LARGE);
    expect_refusal("18446744073709551616.01", MONEY_TOO_LARGE);
}

static void refuses_what_is_not_positive(void **state)
{
    static const char *const texts[] = {"0",     "-0",     "0.00",    "0e5",    "-1",
                                        "-0.01", "-1e400", "-0.0e-9", "0.0049", "4.999e-3",
                                        "1e-3",  "5e-3",   "-5e-9",   "9e-4"};
    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_refusal(texts[i], MONEY_NOT_POSITIVE);
}

static void refuses_what_is_not_a_json_number(void **state)
{
    static const char *const texts[] = {
        "",    " ",     "-",    "+1",  ".5",        "1.",    "01",   "00", "-01",
        "1e",  "1e+",   "1e-",  "e1",  "1.e1",      "1,5",   "1 ",   " 1", "1.0.0",
        "0x1", "1e1.0", "1e1e", "NaN", "-Infinity", "1_000", "--1",  "1f", "\"1\"",
        "1-1", "\n1",   "1e ",  "१",   ".",         "1.2.",  "1e--1"};
    int64_t cents;

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_refusal(texts[i], MONEY_NOT_A_NUMBER);
    assert_int_equal(money_parse_cents("1\0002", 3, &cents), MONEY_NOT_A_NUMBER);
    assert_int_equal(money_parse_cents("12.345", 4, &cents), MONEY_OK); /* only as far as told */
    assert_int_equal(cents, 1230);
    assert_int_equal(money_parse_cents("12.345", 3, &cents), MONEY_NOT_A_NUMBER);
}

static void survives_huge_exponents(void **state)
{
    (void)state;
    expect_refusal("1e999999999", MONEY_TOO_LARGE);
    expect_refusal("1e99999999999999999999999999999999999999", MONEY_TOO_LARGE);
    expect_refusal("1e9223372036854775807", MONEY_TOO_LARGE);
    expect_refusal("1e18446744073709551616", MONEY_TOO_LARGE); /* 2^64 must not become 0 */
    expect_refusal("1e-18446744073709551616", MONEY_NOT_POSITIVE);
    expect_refusal("1e-999999999", MONEY_NOT_POSITIVE);
    expect_refusal("9e-99999999999999999999999999999999999999", MONEY_NOT_POSITIVE);
    expect_refusal("0e999999999999999999999", MONEY_NOT_POSITIVE);
    expect_refusal("0.000e-999999999999999999999", MONEY_NOT_POSITIVE);
    expect_refusal("-1e999999999999999999999", MONEY_NOT_POSITIVE);
}

/* `head`, then `zeros` zeros, then `tail`. */
static char *with_zeros(const char *head, size_t zeros, const char *tail)
{
    size_t head_length = strlen(head);
    char *text = malloc(head_length + zeros + strlen(tail) + 1);

    assert_non_null(text);
    memcpy(text, head, head_length);
    memset(text + head_length, '0', zeros);
    strcpy(text + head_length + zeros, tail);
    return text;
}

static void survives_long_texts(void **state)
{
    static const struct {
        const char *head, *tail;
        enum money_result result;
        int64_t cents;
    } cases[] = {
        {"199", "e-100001", MONEY_OK, 1990},
        {"0.", "199e100002", MONEY_OK, 1990},
        {"0.01", "", MONEY_OK, 1},
        {"0.005", "", MONEY_NOT_POSITIVE, 0},
        {"0.005", "1", MONEY_OK, 1},
        {"0.", "9", MONEY_NOT_POSITIVE, 0},
        {"1", "", MONEY_TOO_LARGE, 0},
        {"1", "e-99990", MONEY_OK, INT64_C(1000000000000)},
        {"1", "e-99988", MONEY_TOO_LARGE, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char *text = with_zeros(cases[i].head, 100000, cases[i].tail);
        if (cases[i].result == MONEY_OK)
            expect_cents(text, cases[i].cents);
        else
            expect_refusal(text, cases[i].result);
        free(text);
    }
}

/* ---- against an oracle of its own: 128-bit integer arithmetic ---- */

static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

/* mantissa x 10^power in cents, half to even; mantissa < 10^18, |power| <= 30. */
static enum money_result oracle(bool negative, uint64_t mantissa, int power, int64_t *cents)
{
    unsigned __int128 value = mantissa, divisor = 1;

    for (; power > 0 && value <= (unsigned __int128)MONEY_MAX_CENTS; power--)
        value *= 10;
    for (; power < 0; power++)
        divisor *= 10;
    unsigned __int128 whole = value / divisor, rest = value % divisor;
    if (rest * 2 > divisor || (rest * 2 == divisor && whole % 2 == 1))
        whole++;
    if (negative || whole == 0)
        return MONEY_NOT_POSITIVE;
    if (whole > (unsigned __int128)MONEY_MAX_CENTS)
        return MONEY_TOO_LARGE;
    *cents = (int64_t)whole;
    return MONEY_OK;
}

/* Spell mantissa x 10^exponent with `behind` of its digits behind the point. */
static void spell(char text[static 128], bool negative, uint64_t mantissa, int exponent,
                  size_t behind)
{
    char digits[64];
    int count = snprintf(digits, sizeof digits, "%0*" PRIu64, (int)behind + 1, mantissa);
    size_t whole = (size_t)count - behind;
    int printed = exponent + (int)behind;
    const char *sign = negative ? "-" : "";

    int length = snprintf(text, 128, "%s%.*s", sign, (int)whole, digits);
    if (behind > 0)
        length += snprintf(text + length, 128 - (size_t)length, ".%s", digits + whole);
    if (printed != 0 || random_below(4) == 0)
        snprintf(text + length, 128 - (size_t)length, "%c%s%d", "eE"[random_below(2)],
                 printed >= 0 && random_below(2) ? "+" : "", printed);
}

static void agrees_with_integer_arithmetic(void **state)
{
    enum { ROUNDS = 300000 };
    unsigned results[4] = {0};

    (void)state;
    random_state = 20250715;
    for (int i = 0; i < ROUNDS; i++) {
        uint64_t bound = 10;
        for (uint64_t width = random_below(18); width > 0; width--)
            bound *= 10;
        uint64_t mantissa = random_below(bound);
        if (random_below(4) == 0)
            mantissa = mantissa / 10 * 10 + 5; /* ties */
        int exponent = (int)random_below(40) - 25;
        bool negative = random_below(16) == 0;
        char text[128];
        spell(text, negative, mantissa, exponent, random_below(24));

        int64_t expected_cents = 0, cents = 0;
        enum money_result expected = oracle(negative, mantissa, exponent + 2, &expected_cents);
        enum money_result result = money_parse_cents(text, strlen(text), &cents);
        if (result != expected || cents != expected_cents)
            fail_msg("round %d: \"%s\": %d, %" PRId64 " instead of %d, %" PRId64, i, text,
                     (int)result, cents, (int)expected, expected_cents);
        results[result]++;
    }
    assert_true(results[MONEY_OK] > ROUNDS / 10);
    assert_true(results[MONEY_NOT_POSITIVE] > ROUNDS / 10);
    assert_true(results[MONEY_TOO_LARGE] > ROUNDS / 10);
    assert_int_equal(results[MONEY_NOT_A_NUMBER], 0);
}

static void no_text_is_read_beyond_its_end(void **state)
{
    static const char alphabet[] = "0123456789.eE+-5";

    (void)state;
    random_state = 4711;
    for (int i = 0; i < 200000; i++) {
        size_t length = random_below(12);
        char *text = malloc(length + 1); /* the last byte is a digit that must not count */
        assert_non_null(text);
        for (size_t place = 0; place < length; place++)
            text[place] = alphabet[random_below(sizeof alphabet - 1)];
        int64_t with = 0, without = 0;
        text[length] = '7';
        enum money_result result = money_parse_cents(text, length, &with);
        text[length] = '\0';
        assert_int_equal(money_parse_cents(text, length, &without), result);
        assert_int_equal(with, without);
        free(text);
    }
}

/* ---- writing ---- */

static void expect_text(int64_t cents, const char *expected)
{
    char text[MONEY_TEXT_SIZE];

    assert_int_equal(money_format_cents(text, cents), strlen(expected));
    assert_string_equal(text, expected);
}

static void writes_two_decimals(void **state)
{
    (void)state;
    expect_text(0, "0.00");
    expect_text(1, "0.01");
    expect_text(10, "0.10");
    expect_text(99, "0.99");
    expect_text(100, "1.00");
    expect_text(1990, "19.90");
    expect_text(MONEY_MAX_CENTS, "100000000000.00");
    expect_text(-1, "-0.01");
    expect_text(-1990, "-19.90");
    expect_text(INT64_MAX, "92233720368547758.07");
    expect_text(INT64_MIN, "-92233720368547758.08");
}

static void expect_sum_text(unsigned __int128 cents, const char *expected)
{
    char text[MONEY_SUM_TEXT_SIZE];

    assert_int_equal(money_format_sum128(text, cents), strlen(expected));
    assert_string_equal(text, expected);
}

static void writes_sums_beyond_64_bits(void **state)
{
    const unsigned __int128 one = 1;

    (void)state;
    expect_sum_text(0, "0.00");
    expect_sum_text(7, "0.07");
    expect_sum_text(UINT64_MAX, "184467440737095516.15");
    expect_sum_text(one << 64, "184467440737095516.16");
    expect_sum_text((one << 64) * 100, "18446744073709551616.00");
    expect_sum_text((unsigned __int128)MONEY_MAX_CENTS << 31, "214748364800000000000.00");
    expect_sum_text(~(unsigned __int128)0, "3402823669209384634633746074317682114.55");
}

static void reads_back_what_it_wrote(void **state)
{
    (void)state;
    random_state = 99;
    for (int i = 0; i < 100000; i++) {
        char text[MONEY_TEXT_SIZE];
        uint64_t bound = UINT64_C(1) << (1 + random_below(43));
        int64_t written = 1 + (int64_t)random_below(bound), read = 0;
        size_t length = money_format_cents(text, written);
        assert_int_equal(money_parse_cents(text, length, &read), MONEY_OK);
        assert_int_equal(read, written);
        assert_int_equal(text[length - 3], '.');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_every_spelling_of_an_amount),
        cmocka_unit_test(rounds_half_to_even),
        cmocka_unit_test(knows_the_limits),
        cmocka_unit_test(refuses_what_is_not_positive),
        cmocka_unit_test(refuses_what_is_not_a_json_number),
        cmocka_unit_test(survives_huge_exponents),
        cmocka_unit_test(survives_long_texts),
        cmocka_unit_test(agrees_with_integer_arithmetic),
        cmocka_unit_test(no_text_is_read_beyond_its_end),
        cmocka_unit_test(writes_two_decimals),
        cmocka_unit_test(writes_sums_beyond_64_bits),
        cmocka_unit_test(reads_back_what_it_wrote),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
