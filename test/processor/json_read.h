/* A strict reader for one flat JSON object (RFC 8259).
 *
 * The bodies a processor receives are one object of a few scalars, so this
 * reader finds named members of one object and checks the grammar of all the
 * rest, nested values included, without building anything. A number stays
 * the text that was sent: nobody here turns an amount into a double.
 */
#ifndef PROCESSOR_JSON_READ_H
#define PROCESSOR_JSON_READ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum json_kind {
    JSON_ABSENT,
    JSON_STRING,
    JSON_NUMBER,
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_OTHER, /* an object, an array, or a string with escapes */
};

/* One member to look for. `text` points into the document that was read:
 * the bytes between the quotes of a string, or the whole token of a number. */
struct json_field {
    const char *name;
    enum json_kind kind;
    const char *text;
    size_t length;
};

/* Read the object in text[0..length) and fill in those of the fields that it has.
 *
 * 0: the document is one correct object; fields not in it are JSON_ABSENT.
 *    Of a repeated member the last one counts, as in the real processor.
 * -1: it is not; what the fields hold then means nothing.
 * A string with escapes is reported as JSON_OTHER: no value that we expect
 * needs one, and two spellings of one id would be a trap.
 */
int json_read_object(const char *text, size_t length, struct json_field *fields, size_t count);

/* The value of a JSON_NUMBER that is an integer within lowest..highest
 * (no fraction, no exponent). False if it is anything else. */
bool json_field_integer(const struct json_field *field, int64_t lowest, int64_t highest,
                        int64_t *value);

/* Whether the field is a string with exactly these bytes. */
bool json_field_is(const struct json_field *field, const char *expected);

#endif
