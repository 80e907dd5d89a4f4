/* A correlationId: 128 bits, compared as bits. Its text is the 36 characters of RFC 9562; upper
 * and lower case are the same id, and any version and variant is an id. */
#ifndef PAYRING_UUID_H
#define PAYRING_UUID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UUID_TEXT_LENGTH 36

struct uuid {
    uint64_t hi; /* the first 16 hexadecimal digits */
    uint64_t lo;
};

/* false: not exactly 8-4-4-4-12 hexadecimal digits; *id is untouched then. */
bool uuid_parse(const char *text, size_t length, struct uuid *id);

/* Lower case, and a NUL. */
void uuid_format(char text[static UUID_TEXT_LENGTH + 1], const struct uuid *id);

/* 64 well-mixed bits. The lane, the index within a lane and the filter take different bits of
 * them, so every bit depends on every bit of the id: sequential ids, random ones and ids that
 * differ in one half only spread alike. With one half fixed it is a bijection of the other.
 * The same in every process and build: a payment's lane must not change while it lives. Not keyed:
 * who picks ids on purpose can crowd a lane, which costs throughput, never a payment. */
uint64_t uuid_hash(const struct uuid *id);

static inline bool uuid_equal(const struct uuid *a, const struct uuid *b)
{
    return a->hi == b->hi && a->lo == b->lo;
}

#endif
