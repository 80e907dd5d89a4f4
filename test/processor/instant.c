#include "test/processor/instant.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define SECOND_US INT64_C(1000000)
enum { FRACTION_DIGITS_MAX = 16, MICROSECOND_DIGITS = 6 };

struct cursor {
    const char *at;
    const char *end;
};

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool take(struct cursor *c, char expected)
{
    if (c->at == c->end || *c->at != expected)
        return false;
    c->at++;
    return true;
}

/* Exactly `digits` digits within lowest..highest, else false. */
static bool take_number(struct cursor *c, int digits, int lowest, int highest, int *value)
{
    *value = 0;
    for (int i = 0; i < digits; i++, c->at++) {
        if (c->at == c->end || !is_digit(*c->at))
            return false;
        *value = *value * 10 + (*c->at - '0');
    }
    return *value >= lowest && *value <= highest;
}

static bool is_leap(int year)
{
    return (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
}

static int days_in_month(int year, int month)
{
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    return days[month - 1] + (month == 2 && is_leap(year));
}

static bool take_date(struct cursor *c, struct tm *tm)
{
    int year, month, day;
    if (!take_number(c, 4, 1, 9999, &year) || !take(c, '-') || !take_number(c, 2, 1, 12, &month) ||
        !take(c, '-') || !take_number(c, 2, 1, 31, &day) || day > days_in_month(year, month))
        return false;
    tm->tm_year = year - 1900;
    tm->tm_mon = month - 1;
    tm->tm_mday = day;
    return true;
}

static bool take_fraction(struct cursor *c, int64_t *us)
{
    int digits = 0;
    *us = 0;
    for (; c->at < c->end && is_digit(*c->at); c->at++)
        if (digits++ < MICROSECOND_DIGITS)
            *us = *us * 10 + (*c->at - '0');
    if (digits == 0 || digits > FRACTION_DIGITS_MAX)
        return false;
    for (; digits < MICROSECOND_DIGITS; digits++)
        *us *= 10;
    return true;
}

static bool take_time(struct cursor *c, struct tm *tm, int64_t *us)
{
    if (!take_number(c, 2, 0, 23, &tm->tm_hour) || !take(c, ':') ||
        !take_number(c, 2, 0, 59, &tm->tm_min))
        return false;
    if (!take(c, ':'))
        return true;
    if (!take_number(c, 2, 0, 59, &tm->tm_sec))
        return false;
    return !take(c, '.') || take_fraction(c, us);
}

/* *seconds is what has to be subtracted to get to UTC. */
static bool take_zone(struct cursor *c, int *seconds)
{
    int hours, minutes;
    *seconds = 0;
    if (c->at == c->end || take(c, 'Z'))
        return true;
    bool east = *c->at == '+';
    if (!east && *c->at != '-')
        return false;
    c->at++;
    if (!take_number(c, 2, 0, 14, &hours) || !take(c, ':') || !take_number(c, 2, 0, 59, &minutes))
        return false;
    *seconds = (east ? 1 : -1) * (hours * 3600 + minutes * 60);
    return true;
}

int instant_parse(const char *text, size_t length, int64_t *us)
{
    struct cursor c = {text, text + length};
    struct tm tm = {0};
    int64_t fraction_us = 0;
    int offset = 0;
    if (length >= INSTANT_TEXT_MAX || !take_date(&c, &tm))
        return -1;
    if (take(&c, 'T') && (!take_time(&c, &tm, &fraction_us) || !take_zone(&c, &offset)))
        return -1;
    if (c.at != c.end)
        return -1;
    *us = ((int64_t)timegm(&tm) - offset) * SECOND_US + fraction_us;
    return 0;
}

/* Prints up to the seconds; *fraction_us is what is left. */
static size_t print_seconds(int64_t us, char out[INSTANT_TEXT_MAX], int *fraction_us)
{
    struct tm tm;
    *fraction_us = (int)(((us % SECOND_US) + SECOND_US) % SECOND_US);
    time_t seconds = (time_t)((us - *fraction_us) / SECOND_US);
    gmtime_r(&seconds, &tm);
    int length = snprintf(out, INSTANT_TEXT_MAX, "%04d-%02d-%02dT%02d:%02d:%02d", tm.tm_year + 1900,
                          tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
    return (size_t)length;
}

size_t instant_print(int64_t us, char out[INSTANT_TEXT_MAX])
{
    int fraction_us;
    size_t length = print_seconds(us, out, &fraction_us);
    if (fraction_us == 0)
        return length;
    length += (size_t)snprintf(out + length, INSTANT_TEXT_MAX - length, ".%06d", fraction_us);
    while (out[length - 1] == '0')
        length--;
    out[length] = '\0';
    return length;
}

size_t instant_print_ms(int64_t us, char out[INSTANT_TEXT_MAX])
{
    int fraction_us;
    size_t length = print_seconds(us, out, &fraction_us);
    return length +
           (size_t)snprintf(out + length, INSTANT_TEXT_MAX - length, ".%03dZ", fraction_us / 1000);
}

int64_t instant_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    return (int64_t)now.tv_sec * SECOND_US + now.tv_nsec / 1000;
}
