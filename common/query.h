/* The query part of a request target (RFC 3986, section 3.4). */
#ifndef PAYRING_QUERY_H
#define PAYRING_QUERY_H

#include <stddef.h>

#include "common/status.h"

/* Find `key` in the text after the "?" and write its value, percent-decoded and with a NUL.
 *
 * "+" stays "+": clients send the offset of a time unencoded. A key without "=" has an empty
 * value. Other keys are ignored, yet a query that is malformed anywhere is not guessed at.
 *
 * STATUS_OK         found once; *length is set, without the NUL
 * STATUS_NOT_FOUND  not there
 * STATUS_INVALID    there twice, a value longer than size - 1, a "%" without two hexadecimal
 *                   digits, a NUL; `why` says which
 */
enum status query_find(const char *query, size_t query_length, const char *key, char *value,
                       size_t size, size_t *length, struct explain *why);

#endif
