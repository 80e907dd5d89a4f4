/* Times: strict RFC 3339 in, UTC out; the calendar against the C library's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/iso8601.h"

#define US INT64_C(1000000)

static void expect_time(const char *text, enum iso8601_zone zone, int64_t us, unsigned below)
{
    struct iso8601_time time = {0};
    struct explain why = {.text = ""};

    if (iso8601_parse(text, strlen(text), zone, &time, &why) != STATUS_OK)
        fail_msg("\"%s\" is refused: %s", text, why.text);
    if (time.us != us || time.below != below)
        fail_msg("\"%s\": %" PRId64 " us and %u ns instead of %" PRId64 " and %u", text, time.us,
                 time.below, us, below);
}

static void expect_refusal(const char *text, enum iso8601_zone zone, const char *reason)
{
    struct iso8601_time time = {.us = 42, .below = 7};
    struct explain why = {.text = ""};
    enum status status = iso8601_parse(text, strlen(text), zone, &time, &why);

    if (status != STATUS_INVALID || time.us != 42 || time.below != 7)
        fail_msg("\"%s\": status %d, %" PRId64 " us", text, (int)status, time.us);
    if (strstr(why.text, reason) == NULL)
        fail_msg("\"%s\": \"%s\" does not say \"%s\"", text, why.text, reason);
}

static void reads_times_with_a_zone(void **state)
{
    const enum iso8601_zone zone = ISO8601_ZONE_REQUIRED;

    (void)state;
    expect_time("1970-01-01T00:00:00Z", zone, 0, 0);
    expect_time("1970-01-01t00:00:01z", zone, US, 0);
    expect_time("2025-07-15T12:34:56Z", zone, 1752582896 * US, 0);
    expect_time("2025-07-15T12:34:56+00:00", zone, 1752582896 * US, 0);
    expect_time("2025-07-15T12:34:56-00:00", zone, 1752582896 * US, 0);
    expect_time("2025-07-15T14:34:56+02:00", zone, 1752582896 * US, 0);
    expect_time("2025-07-15T09:04:56-03:30", zone, 1752582896 * US, 0);
    expect_time("2025-07-16T12:33:56+23:59", zone, 1752582896 * US, 0);
    expect_time("1969-12-31T23:59:59.999999Z", zone, -1, 0);
    expect_time("2000-02-29T00:00:00Z", zone, 951782400 * US, 0);
    expect_time("0001-01-01T00:00:00Z", zone, -62135596800 * US, 0);
    expect_time("0001-01-01T00:01:00+00:01", zone, -62135596800 * US, 0);
    expect_time("9999-12-31T23:59:59.999999999Z", zone, 253402300800 * US - 1, 999);
    expect_time("9999-12-31T23:58:59.999999999-00:01", zone, 253402300800 * US - 1, 999);
}

static void reads_zero_to_nine_digits_of_a_second(void **state)
{
    static const struct {
        const char *digits;
        int64_t us;
        unsigned below;
    } cases[] = {
        {"", 0, 0},
        {".5", 500000, 0},
        {".05", 50000, 0},
        {".123", 123000, 0},
        {".1234", 123400, 0},
        {".12345", 123450, 0},
        {".123456", 123456, 0},
        {".1234567", 123456, 700},
        {".12345678", 123456, 780},
        {".123456789", 123456, 789},
        {".000000001", 0, 1},
        {".000000000", 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char text[64];
        snprintf(text, sizeof text, "1969-12-31T23:59:58%sZ", cases[i].digits);
        expect_time(text, ISO8601_ZONE_REQUIRED, -2 * US + cases[i].us, cases[i].below);
    }
}

static void bounds_round_into_the_window(void **state)
{
    struct iso8601_time time;

    (void)state;
    assert_int_equal(
        iso8601_parse("1970-01-01T00:00:00.000001001Z", 30, ISO8601_ZONE_REQUIRED, &time, NULL),
        STATUS_OK);
    assert_int_equal(iso8601_round_up_us(&time), 2);
    assert_int_equal(iso8601_round_down_us(&time), 1);
    assert_int_equal(
        iso8601_parse("1969-12-31T23:59:59.999998500Z", 30, ISO8601_ZONE_REQUIRED, &time, NULL),
        STATUS_OK);
    assert_int_equal(iso8601_round_up_us(&time), -1);
    assert_int_equal(iso8601_round_down_us(&time), -2);
    time = (struct iso8601_time){.us = 5, .below = 0};
    assert_int_equal(iso8601_round_up_us(&time), 5);
    assert_int_equal(iso8601_round_down_us(&time), 5);
}

static void a_missing_zone_is_utc_in_a_processors_book_only(void **state)
{
    (void)state;
    expect_time("2025-07-15T12:34:56.789", ISO8601_ZONE_OR_UTC, 1752582896789000, 0);
    expect_time("2025-07-15T12:34:56", ISO8601_ZONE_OR_UTC, 1752582896 * US, 0);
    expect_time("2025-07-15T12:34:56.789Z", ISO8601_ZONE_OR_UTC, 1752582896789000, 0);
    expect_time("2025-07-15T14:34:56+02:00", ISO8601_ZONE_OR_UTC, 1752582896 * US, 0);
    expect_refusal("2025-07-15T12:34:56.789", ISO8601_ZONE_REQUIRED, "must end in Z");
    expect_refusal("2025-07-15T12:34:56.789X", ISO8601_ZONE_OR_UTC, "must end in Z");
    expect_refusal("2025-07-15T12:34:56.", ISO8601_ZONE_OR_UTC, "no digit after the point");
}

static void refuses_everything_else(void **state)
{
    static const struct {
        const char *text, *reason;
    } cases[] = {
        {"", "form"},
        {"now", "form"},
        {"1752582896", "form"},
        {"2025-07-15", "form"},
        {"2025-07-15T12:34Z", "form"},
        {"2025-07-15 12:34:56Z", "form"},
        {" 2025-07-15T12:34:56Z", "form"},
        {"25-07-15T12:34:56Z", "form"},
        {"+2025-07-15T12:34:56Z", "form"},
        {"2025-7-15T12:34:56Z", "form"},
        {"20250715T123456Z", "form"},
        {"2025-07-15T12:34:5Z", "form"},
        {"2025-07-15T1x:34:56Z", "form"},
        {"12025-07-15T12:34:56Z", "form"},
        {"0000-01-01T00:00:00Z", "no year 0000"},
        {"2025-00-15T12:34:56Z", "no month 00"},
        {"2025-13-15T12:34:56Z", "no month 13"},
        {"2025-07-00T12:34:56Z", "no day 2025-07-00"},
        {"2025-07-32T12:34:56Z", "no day 2025-07-32"},
        {"2025-04-31T12:34:56Z", "no day 2025-04-31"},
        {"2025-02-29T12:34:56Z", "no day 2025-02-29"},
        {"1900-02-29T12:34:56Z", "no day 1900-02-29"},
        {"2025-07-15T24:00:00Z", "no time of day 24:00:00"},
        {"2025-07-15T12:60:00Z", "no time of day 12:60:00"},
        {"2025-07-15T12:34:61Z", "no time of day 12:34:61"},
        {"2016-12-31T23:59:60Z", "leap seconds"},
        {"2025-07-15T12:34:56.Z", "no digit after the point"},
        {"2025-07-15T12:34:56,5Z", "must end in Z"},
        {"2025-07-15T12:34:56.1234567890Z", "more than 9 digits"},
        {"2025-07-15T12:34:56 00:00", "must end in Z"}, /* a "+" decoded as a space */
        {"2025-07-15T12:34:56+0000", "must end in Z"},
        {"2025-07-15T12:34:56+00", "must end in Z"},
        {"2025-07-15T12:34:56+0:00", "must end in Z"},
        {"2025-07-15T12:34:56+24:00", "no offset 24:00"},
        {"2025-07-15T12:34:56-02:60", "no offset 02:60"},
        {"2025-07-15T12:34:56ZZ", "follows the end"},
        {"2025-07-15T12:34:56Z ", "follows the end"},
        {"2025-07-15T12:34:56+00:00Z", "follows the end"},
        {"0001-01-01T00:00:59.999999999+00:01", "years 0001 to 9999"},
        {"9999-12-31T23:59:00-00:01", "years 0001 to 9999"},
        {"9999-12-31T23:59:59-00:01", "years 0001 to 9999"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_refusal(cases[i].text, ISO8601_ZONE_REQUIRED, cases[i].reason);
    struct iso8601_time time;
    assert_int_equal(
        iso8601_parse("2025-07-15T12:34:56Z\0", 21, ISO8601_ZONE_REQUIRED, &time, NULL),
        STATUS_INVALID);
    for (size_t length = 0; length < 20; length++) /* cut off anywhere */
        assert_int_equal(
            iso8601_parse("2025-07-15T12:34:56Z", length, ISO8601_ZONE_REQUIRED, &time, NULL),
            STATUS_INVALID);
}

/* Every day of the calendar, against timegm, through both directions. */
static void agrees_with_the_c_library_on_every_day(void **state)
{
    static const int month_days[12] = {31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int64_t expected_day = -719162;

    (void)state;
    for (int year = 1; year <= 9999; year++) {
        for (int month = 1; month <= 12; month++) {
            for (int day = 1; day <= month_days[month - 1]; day++) {
                char text[64], back[ISO8601_TEXT_SIZE];
                struct iso8601_time time;
                struct tm tm = {.tm_year = year - 1900, .tm_mon = month - 1, .tm_mday = day};
                bool exists = true;

                if (month == 2 && day == 29) {
                    timegm(&tm);
                    exists = tm.tm_mon == 1;
                    tm = (struct tm){.tm_year = year - 1900, .tm_mon = 1, .tm_mday = 29};
                }
                snprintf(text, sizeof text, "%04d-%02d-%02dT00:00:00.000Z", year, month, day);
                enum status status = iso8601_parse(text, 24, ISO8601_ZONE_REQUIRED, &time, NULL);
                assert_int_equal(status, exists ? STATUS_OK : STATUS_INVALID);
                if (!exists)
                    continue;
                assert_true(time.us == expected_day++ * 86400 * US);
                if (day == 1 || day >= 28)
                    assert_true(time.us == (int64_t)timegm(&tm) * US);
                iso8601_format_ms(back, time.us / 1000);
                assert_string_equal(back, text);
            }
        }
    }
    assert_int_equal(expected_day, 2932897);
}

static uint64_t random_state;

static uint64_t random_below(uint64_t bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state % bound;
}

static void reads_back_what_it_wrote(void **state)
{
    const int64_t lowest = -62135596800 * US, highest = 253402300800 * US - 1;

    (void)state;
    random_state = 20250715;
    for (int i = 0; i < 200000; i++) {
        int64_t us = lowest + (int64_t)random_below((uint64_t)(highest - lowest) + 1);
        int64_t seconds = (us - lowest) / US + lowest / US;
        char text[ISO8601_TEXT_SIZE], expected[64], day[32];
        struct iso8601_time time;
        struct tm tm;
        time_t as_time_t = (time_t)seconds;

        gmtime_r(&as_time_t, &tm);
        snprintf(day, sizeof day, "%04d-%02d-%02dT%02d:%02d:%02d", (tm.tm_year + 1900) % 10000,
                 tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
        snprintf(expected, sizeof expected, "%s.%06" PRId64 "Z", day, us - seconds * US);
        assert_int_equal(iso8601_format_us(text, us), 27);
        assert_string_equal(text, expected);
        assert_int_equal(iso8601_parse(text, 27, ISO8601_ZONE_REQUIRED, &time, NULL), STATUS_OK);
        assert_true(time.us == us && time.below == 0);
    }
}

static void an_offset_moves_the_time(void **state)
{
    (void)state;
    random_state = 12;
    for (int i = 0; i < 100000; i++) {
        int64_t second = (int64_t)random_below(4102444800);
        int hours = (int)random_below(24), minutes = (int)random_below(60);
        int sign = random_below(2) ? 1 : -1;
        char utc[ISO8601_TEXT_SIZE], text[64];
        struct iso8601_time time;

        iso8601_format_ms(utc, second * 1000);
        snprintf(text, sizeof text, "%.19s%c%02d:%02d", utc, sign > 0 ? '+' : '-', hours, minutes);
        assert_int_equal(iso8601_parse(text, 25, ISO8601_ZONE_REQUIRED, &time, NULL), STATUS_OK);
        assert_true(time.us == (second - sign * (hours * 3600 + minutes * 60)) * US);
    }
}

static void writes_milliseconds_and_microseconds(void **state)
{
    char text[ISO8601_TEXT_SIZE];

    (void)state;
    assert_int_equal(iso8601_format_ms(text, 1752582896000), 24);
    assert_string_equal(text, "2025-07-15T12:34:56.000Z");
    assert_int_equal(iso8601_format_us(text, 1752582896000007), 27);
    assert_string_equal(text, "2025-07-15T12:34:56.000007Z");
    iso8601_format_ms(text, -1);
    assert_string_equal(text, "1969-12-31T23:59:59.999Z");
    iso8601_format_us(text, -1);
    assert_string_equal(text, "1969-12-31T23:59:59.999999Z");
}

static void writes_the_nearest_when_out_of_range(void **state)
{
    char text[ISO8601_TEXT_SIZE];

    (void)state;
    iso8601_format_ms(text, INT64_MIN);
    assert_string_equal(text, "0001-01-01T00:00:00.000Z");
    iso8601_format_ms(text, INT64_MAX);
    assert_string_equal(text, "9999-12-31T23:59:59.999Z");
    iso8601_format_us(text, INT64_MIN);
    assert_string_equal(text, "0001-01-01T00:00:00.000000Z");
    iso8601_format_us(text, INT64_MAX);
    assert_string_equal(text, "9999-12-31T23:59:59.999999Z");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_times_with_a_zone),
        cmocka_unit_test(reads_zero_to_nine_digits_of_a_second),
        cmocka_unit_test(bounds_round_into_the_window),
        cmocka_unit_test(a_missing_zone_is_utc_in_a_processors_book_only),
        cmocka_unit_test(refuses_everything_else),
        cmocka_unit_test(agrees_with_the_c_library_on_every_day),
        cmocka_unit_test(reads_back_what_it_wrote),
        cmocka_unit_test(an_offset_moves_the_time),
        cmocka_unit_test(writes_milliseconds_and_microseconds),
        cmocka_unit_test(writes_the_nearest_when_out_of_range),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
