/* Points in time as the real processor reads and prints them (ISO 8601). */
#ifndef PROCESSOR_INSTANT_H
#define PROCESSOR_INSTANT_H

#include <stddef.h>
#include <stdint.h>

/* The longest text that is read: 16 fractional digits and an offset. */
enum { INSTANT_TEXT_MAX = 48 };

/* Read "YYYY-MM-DD", "YYYY-MM-DDThh:mm[:ss[.f...]]" followed by nothing or "Z"
 * (both UTC) or "+hh:mm"/"-hh:mm". 1 to 16 fractional digits; those beyond
 * microseconds are cut off, because that is what the real processor's database
 * column keeps.
 *
 * 0: *us is microseconds since the Unix epoch, UTC.
 * -1: it is no such text, or no such day or time exists.
 */
int instant_parse(const char *text, size_t length, int64_t *us);

/* Print as the real processor does: no zone, and of the fraction only what is
 * needed ("2025-07-15T12:34:56", "2025-07-15T12:34:56.12"). Returns the length. */
size_t instant_print(int64_t us, char out[INSTANT_TEXT_MAX]);

/* Print with milliseconds and "Z", the form most payments are sent in; what is
 * below a millisecond is not shown. Returns the length. */
size_t instant_print_ms(int64_t us, char out[INSTANT_TEXT_MAX]);

/* Now, by the wall clock, in microseconds since the Unix epoch. */
int64_t instant_now_us(void);

#endif
