#include "common/bloom.h"

#define BITS_PER_ID 8u
#define LINE_BITS   (BLOOM_LINE_WORDS * 64u)

/* Two hashes: the first gives the line, and the bits come from nine bits each
 * of the second, the last of them from the first hash's upper half. */
struct bloom_pattern bloom_pattern_of(const struct uuid *id, const struct uuid *seed)
{
    struct uuid one = {.hi = id->hi ^ seed->hi, .lo = id->lo ^ seed->lo};
    struct uuid two = {.hi = ~one.lo, .lo = one.hi};
    uint64_t first = uuid_hash(&one), bits = uuid_hash(&two);
    struct bloom_pattern pattern = {.hash = first};
    for (unsigned i = 0; i < BITS_PER_ID; i++) {
        unsigned bit =
            (unsigned)(i == BITS_PER_ID - 1 ? first >> 48 : bits >> (9 * i)) & (LINE_BITS - 1);
        pattern.words[bit / 64] |= UINT64_C(1) << bit % 64;
    }
    return pattern;
}
