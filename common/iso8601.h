/* Times as text: RFC 3339, read strictly, written in UTC. */
#ifndef PAYRING_ISO8601_H
#define PAYRING_ISO8601_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"

#define ISO8601_TEXT_SIZE 32 /* the longest that is written takes 28 with its NUL */

/* A point in time. Nanoseconds since 1970 do not fit an int64 over the years that may be asked
 * for, so what lies below the microsecond is kept aside. */
struct iso8601_time {
    int64_t us;     /* since the Unix epoch, rounded down */
    unsigned below; /* 0..999 ns above it */
};

enum iso8601_zone {
    ISO8601_ZONE_REQUIRED, /* what clients send: "Z" or an offset */
    ISO8601_ZONE_OR_UTC,   /* what a processor's book says: no zone means UTC */
};

/* Read YYYY-MM-DDThh:mm:ss[.1 to 9 digits](Z|+hh:mm|-hh:mm); "t" and "z" are allowed (RFC 3339,
 * section 5.6), a space for the "T" is not.
 *
 * STATUS_INVALID explains itself: no such day or hour, year 0000, a second 60 (Unix time gives a
 * leap second the number of the second after it, so taking it would be a guess), or a time that
 * its offset moves out of the years 0001 to 9999. *time is written for STATUS_OK only.
 */
enum status iso8601_parse(const char *text, size_t length, enum iso8601_zone zone,
                          struct iso8601_time *time, struct explain *why);

/* The bounds of an inclusive window: the first and the last microsecond inside it. */
static inline int64_t iso8601_round_up_us(const struct iso8601_time *time)
{
    return time->us + (time->below != 0);
}
static inline int64_t iso8601_round_down_us(const struct iso8601_time *time)
{
    return time->us;
}

/* Write "2025-07-15T12:34:56.000Z" or "2025-07-15T12:34:56.000000Z" and a NUL; return the length.
 * Outside the years 0001 to 9999 the nearest time inside is written. */
size_t iso8601_format_ms(char text[static ISO8601_TEXT_SIZE], int64_t time_ms);
size_t iso8601_format_us(char text[static ISO8601_TEXT_SIZE], int64_t time_us);

#endif
