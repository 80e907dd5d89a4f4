/* The time index over a lane's rows: per slice of SHM_SLICE_ROWS rows the lowest and
 * highest requestedAt, counts and sums; the same per block of 16 slices,
 * per group of 16 blocks, and per segment of up to 16 groups. Rows lie in the order of settling,
 * not of requestedAt: an entry says what a scan of its rows would. A window's edge costs the
 * entries of the one or two segments that it lies in, of a few blocks, and a few slices' rows.
 *
 * A payment belongs to the slice of its row's first word, even if an escape's
 * second word lies in the next one. An entry is written before row_count
 * passes its last row and is immutable from then on, until the place of its
 * segment is used again; before that it may be anything, and nobody but the
 * lane's owner looks at it.
 *
 * Slices, blocks, groups and segments are numbered for ever, as rows are: number n is at place
 * n modulo the places that the region has.
 */
#ifndef PAYRING_SHM_BLOCK_INDEX_H
#define PAYRING_SHM_BLOCK_INDEX_H

#include <stdint.h>

#include "shm/shm_layout.h"

struct shm_row; /* shm_ledger.h */

/* A word of a row or of an entry. Its place may be used again while it is read; whoever
 * reads it then finds out afterwards (shm_ledger.h), so relaxed is enough. The explorer
 * of interleavings, where no place is used again, sees plain accesses instead: it knows
 * whether they were published. */
static inline uint64_t shm_word_load(const uint64_t *place)
{
#ifdef SHM_WORDS_ARE_PLAIN
    return *place;
#else
    return __atomic_load_n(place, __ATOMIC_RELAXED);
#endif
}

static inline void shm_word_store(uint64_t *place, uint64_t word)
{
#ifdef SHM_WORDS_ARE_PLAIN
    *place = word;
#else
    __atomic_store_n(place, word, __ATOMIC_RELAXED);
#endif
}

/* The owner's handle. The open sums are its own memory: a new owner makes them
 * again from the published rows. */
struct shm_block_index_writer {
    struct shm_block *slices, *blocks, *groups, *segments; /* by place */
    uint64_t slice_places, block_places, group_places, segment_places;
    uint64_t segment_rows;
    struct shm_block open_slice;   /* sums of the rows after the last full slice */
    struct shm_block open_block;   /* sums of the full slices after the last full block */
    struct shm_block open_group;   /* sums of the full blocks after the last full group */
    struct shm_block open_segment; /* sums of the full blocks after the last full segment */
};

/* Pure sums. */
void shm_block_clear(struct shm_block *);
void shm_block_add_row(struct shm_block *, const struct shm_row *);
void shm_block_add_block(struct shm_block *, const struct shm_block *);
unsigned __int128 shm_block_sum_cents(const struct shm_block *, unsigned processor);

/* Account the one row whose words take the row count from `before` to `after`,
 * or, with NULL, words that hold no payment, and write the entries of the slice,
 * the block, the group and the segment that this completes: `after` lies in the same slice or
 * at most one word into the next, and not beyond the segment.
 *
 * Order:   before row_count is released, which publishes the entries too.
 * Crash:   an entry that row_count never passed is written anew.
 */
void shm_block_index_append(struct shm_block_index_writer *, const struct shm_row *,
                            uint64_t before, uint64_t after);

/* Copy an entry that may be overwritten meanwhile, word by word: what comes of
 * it then is nothing, and the reader has to find out by himself that it was. */
void shm_block_copy(struct shm_block *to, const struct shm_block *from);

#endif
