/* Lines of blocked Bloom filters: all bits of an id lie in one cache line.
 *
 * No false negatives. With 16 bits for each id about 1 in 900 false positives when a filter is full
 * (build/bench-journal-ids says it), fewer before.
 */
#ifndef PAYRING_BLOOM_H
#define PAYRING_BLOOM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"

#define BLOOM_LINE_WORDS 8u

/* What belongs to an id: its line is hash & (lines - 1), a power of two of them. */
struct bloom_pattern {
    uint64_t hash;
    uint64_t words[BLOOM_LINE_WORDS];
};

/* The seed is secret to who picks ids on purpose: he cannot crowd a line. */
struct bloom_pattern bloom_pattern_of(const struct uuid *id, const struct uuid *seed);

static inline bool bloom_line_has(const uint64_t *line, const struct bloom_pattern *pattern)
{
    uint64_t missing = 0;
    for (unsigned i = 0; i < BLOOM_LINE_WORDS; i++)
        missing |= pattern->words[i] & ~line[i];
    return missing == 0;
}

#endif
