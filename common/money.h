/* Money is int64 cents. A decimal point exists in texts only, and only here and in payment_json.c
 * is one read or written; floating point is nowhere near it. */
#ifndef PAYRING_MONEY_H
#define PAYRING_MONEY_H

#include <stddef.h>
#include <stdint.h>

/* The largest amount of one payment: 10^11 units. A lane's sum of 2^31 of them passes int64, so
 * sums are 128 bits wide. */
#define MONEY_MAX_CENTS INT64_C(10000000000000)

#define MONEY_TEXT_SIZE     24 /* "-92233720368547758.08" and its NUL */
#define MONEY_SUM_TEXT_SIZE 44 /* 39 digits, a point and a NUL */

enum money_result {
    MONEY_OK = 0,
    MONEY_NOT_A_NUMBER, /* not the grammar of a JSON number (RFC 8259, section 6) */
    MONEY_NOT_POSITIVE, /* negative, zero, or rounded to zero */
    MONEY_TOO_LARGE,    /* over MONEY_MAX_CENTS after rounding */
};

/* Read an amount from the text of a JSON number, exactly: any number of digits, any exponent,
 * rounded half to even at two decimals, as the processors round. One pass, whatever the exponent.
 * *cents is written for MONEY_OK only. */
enum money_result money_parse_cents(const char *text, size_t length, int64_t *cents);

/* Write cents with exactly two decimals and a NUL; return the length without it. */
size_t money_format_cents(char text[static MONEY_TEXT_SIZE], int64_t cents);
size_t money_format_sum128(char text[static MONEY_SUM_TEXT_SIZE], unsigned __int128 sum_cents);

#endif
