/* Amounts: the text of a JSON number to cents and back, without floating point. */
#ifndef PROCESSOR_AMOUNT_H
#define PROCESSOR_AMOUNT_H

#include <stddef.h>
#include <stdint.h>

__extension__ typedef __int128 int128_t;

/* Room for any number that the printing functions below write, with its NUL. */
enum { AMOUNT_TEXT_SIZE = 56 };

/* Beyond this many cents (ten million million units) an amount is refused. */
#define AMOUNT_LIMIT_CENTS INT64_C(1000000000000000)

/* Read the text of a JSON number (the grammar is the caller's promise) and
 * round it to cents, half to even. Zero and negative amounts are read too: the
 * real processor books what it is sent.
 *
 * 0: *cents is the amount, *decimals (0..2) how many decimals the real
 *    processor would print again: as many as were sent, at most two.
 * -1: the amount is beyond AMOUNT_LIMIT_CENTS.
 */
int amount_parse(const char *text, size_t length, int64_t *cents, unsigned *decimals);

/* Print cents with so many decimals (0..2); what is cut off must be zeros, as
 * amount_parse promises of its own results. Returns the length. */
size_t amount_print(int64_t cents, unsigned decimals, char out[AMOUNT_TEXT_SIZE]);

/* Print value * 10^-decimals with all its decimals. Returns the length. */
size_t amount_print_wide(int128_t value, unsigned decimals, char out[AMOUNT_TEXT_SIZE]);

/* A fee as a fraction of one: value * 10^-decimals, at most 6 decimals. */
struct fee {
    int64_t value;
    unsigned decimals;
};

/* Read a fee such as "0.05": at least 0, at most 1. -1 if it is not one. */
int fee_parse(const char *text, struct fee *fee);

#endif
