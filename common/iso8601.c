#include "common/iso8601.h"

#define SECONDS_PER_DAY 86400
#define DAYS_TO_1970    719468 /* from 0000-03-01 */
#define US_PER_SECOND   INT64_C(1000000)

/* 0001-01-01T00:00:00Z and 9999-12-31T23:59:59.999999Z */
#define LOWEST_DAY INT64_C(-719162)
#define LOWEST_US  (LOWEST_DAY * SECONDS_PER_DAY * US_PER_SECOND)
#define HIGHEST_US (INT64_C(2932897) * SECONDS_PER_DAY * US_PER_SECOND - 1)

struct calendar {
    int year, month, day, hour, minute, second;
};

/* What is still to be read. */
struct cursor {
    const char *next, *end;
};

static bool take(struct cursor *cursor, char upper)
{
    if (cursor->next == cursor->end)
        return false;
    char c = *cursor->next;
    bool same = c == upper || (upper >= 'A' && upper <= 'Z' && c == upper - 'A' + 'a');
    cursor->next += same;
    return same;
}

static bool take_number(struct cursor *cursor, int digits, int *number)
{
    if (cursor->end - cursor->next < digits)
        return false;
    *number = 0;
    for (; digits > 0; digits--, cursor->next++) {
        if (*cursor->next < '0' || *cursor->next > '9')
            return false;
        *number = *number * 10 + (*cursor->next - '0');
    }
    return true;
}

static int days_in_month(int year, int month)
{
    static const int days[12] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    return days[month - 1] + (month == 2 && leap);
}

/* Days since 1970-01-01 of a day of the Gregorian calendar. Years are counted from March, so that
 * a leap day is the last of its year, and in eras of 400 years, which have 146097 days each
 * (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms"). From year 1 on nothing here is
 * negative. */
static int64_t days_from_calendar(const struct calendar *date)
{
    int year = date->year - (date->month <= 2);
    int era = year / 400, year_of_era = year % 400;
    int month_from_march = (date->month + 9) % 12;
    int day_of_year = (153 * month_from_march + 2) / 5 + date->day - 1;

    return era * INT64_C(146097) + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 +
           day_of_year - DAYS_TO_1970;
}

static void calendar_from_days(int64_t days, struct calendar *date)
{
    days += DAYS_TO_1970;
    int era = (int)(days / 146097), day_of_era = (int)(days % 146097);
    int year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int month_from_march = (5 * day_of_year + 2) / 153;

    date->day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    date->month = month_from_march < 10 ? month_from_march + 3 : month_from_march - 9;
    date->year = era * 400 + year_of_era + (date->month <= 2);
}

static enum status read_calendar(struct cursor *cursor, struct calendar *at, struct explain *why)
{
    if (!(take_number(cursor, 4, &at->year) && take(cursor, '-') &&
          take_number(cursor, 2, &at->month) && take(cursor, '-') &&
          take_number(cursor, 2, &at->day) && take(cursor, 'T') &&
          take_number(cursor, 2, &at->hour) && take(cursor, ':') &&
          take_number(cursor, 2, &at->minute) && take(cursor, ':') &&
          take_number(cursor, 2, &at->second)))
        return explain(why, STATUS_INVALID, "not of the form YYYY-MM-DDThh:mm:ss");
    if (at->year < 1)
        return explain(why, STATUS_INVALID, "there is no year 0000");
    if (at->month < 1 || at->month > 12)
        return explain(why, STATUS_INVALID, "there is no month %02d", at->month);
    if (at->day < 1 || at->day > days_in_month(at->year, at->month))
        return explain(why, STATUS_INVALID, "there is no day %04d-%02d-%02d", at->year, at->month,
                       at->day);
    if (at->second == 60)
        return explain(why, STATUS_INVALID, "leap seconds are not supported");
    if (at->hour > 23 || at->minute > 59 || at->second > 59)
        return explain(why, STATUS_INVALID, "there is no time of day %02d:%02d:%02d", at->hour,
                       at->minute, at->second);
    return STATUS_OK;
}

/* The fraction of a second in ns, 0 when there is none. */
static enum status read_fraction(struct cursor *cursor, int *ns, struct explain *why)
{
    int digits = 0, digit;

    *ns = 0;
    if (!take(cursor, '.'))
        return STATUS_OK;
    for (; take_number(cursor, 1, &digit); digits++) {
        if (digits == 9)
            return explain(why, STATUS_INVALID, "more than 9 digits after the point");
        *ns = *ns * 10 + digit;
    }
    if (digits == 0)
        return explain(why, STATUS_INVALID, "no digit after the point");
    for (; digits < 9; digits++)
        *ns *= 10;
    return STATUS_OK;
}

/* How far local time is ahead of UTC, in seconds. "-00:00", UTC from an unknown place, is UTC. */
static enum status read_zone(struct cursor *cursor, enum iso8601_zone zone, int *ahead,
                             struct explain *why)
{
    int hours, minutes;

    *ahead = 0;
    if (take(cursor, 'Z') || (cursor->next == cursor->end && zone == ISO8601_ZONE_OR_UTC))
        return STATUS_OK;
    int sign = take(cursor, '+') ? 1 : take(cursor, '-') ? -1 : 0;
    if (sign == 0 || !take_number(cursor, 2, &hours) || !take(cursor, ':') ||
        !take_number(cursor, 2, &minutes))
        return explain(why, STATUS_INVALID, "must end in Z or an offset like +00:00");
    if (hours > 23 || minutes > 59)
        return explain(why, STATUS_INVALID, "there is no offset %02d:%02d", hours, minutes);
    *ahead = sign * (hours * 3600 + minutes * 60);
    return STATUS_OK;
}

enum status iso8601_parse(const char *text, size_t length, enum iso8601_zone zone,
                          struct iso8601_time *time, struct explain *why)
{
    struct cursor cursor = {.next = text, .end = text + length};
    struct calendar at;
    int ns, ahead;
    enum status status;

    if ((status = read_calendar(&cursor, &at, why)) != STATUS_OK ||
        (status = read_fraction(&cursor, &ns, why)) != STATUS_OK ||
        (status = read_zone(&cursor, zone, &ahead, why)) != STATUS_OK)
        return status;
    if (cursor.next != cursor.end)
        return explain(why, STATUS_INVALID, "something follows the end of the time");

    int64_t seconds = days_from_calendar(&at) * SECONDS_PER_DAY + at.hour * 3600 + at.minute * 60 +
                      at.second - ahead;
    int64_t us = seconds * US_PER_SECOND + ns / 1000;
    if (us < LOWEST_US || us > HIGHEST_US)
        return explain(why, STATUS_INVALID, "not within the years 0001 to 9999 of UTC");
    *time = (struct iso8601_time){.us = us, .below = (unsigned)(ns % 1000)};
    return STATUS_OK;
}

static char *put_number(char *text, int64_t number, int digits, char behind)
{
    for (int place = digits - 1; place >= 0; place--, number /= 10)
        text[place] = (char)('0' + (int)(number % 10));
    text[digits] = behind;
    return text + digits + 1;
}

static int64_t clamp(int64_t value, int64_t lowest, int64_t highest)
{
    return value < lowest ? lowest : value > highest ? highest : value;
}

/* seconds: since the year 1 began, so that nothing is negative. fraction: of the second behind
 * them, in units of its last digit. */
static size_t format(char *text, int64_t seconds, int64_t fraction, int fraction_digits)
{
    int64_t second_of_day = seconds % SECONDS_PER_DAY;
    struct calendar at;
    char *end = text;

    calendar_from_days(seconds / SECONDS_PER_DAY + LOWEST_DAY, &at);
    end = put_number(end, at.year, 4, '-');
    end = put_number(end, at.month, 2, '-');
    end = put_number(end, at.day, 2, 'T');
    end = put_number(end, second_of_day / 3600, 2, ':');
    end = put_number(end, second_of_day / 60 % 60, 2, ':');
    end = put_number(end, second_of_day % 60, 2, '.');
    end = put_number(end, fraction, fraction_digits, 'Z');
    *end = '\0';
    return (size_t)(end - text);
}

size_t iso8601_format_us(char text[static ISO8601_TEXT_SIZE], int64_t time_us)
{
    int64_t since_lowest = clamp(time_us, LOWEST_US, HIGHEST_US) - LOWEST_US;

    return format(text, since_lowest / US_PER_SECOND, since_lowest % US_PER_SECOND, 6);
}

size_t iso8601_format_ms(char text[static ISO8601_TEXT_SIZE], int64_t time_ms)
{
    int64_t since_lowest = clamp(time_ms, LOWEST_US / 1000, HIGHEST_US / 1000) - LOWEST_US / 1000;

    return format(text, since_lowest / 1000, since_lowest % 1000, 3);
}
