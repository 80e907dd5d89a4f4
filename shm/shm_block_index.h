/* The time index over a lane's rows: per block of SHM_BLOCK_ROWS rows the lowest
 * and highest requestedAt, counts and sums, and a second level per
 * SHM_SUPERBLOCK_BLOCKS blocks. Rows lie in the order of settling, not of
 * requestedAt: an entry says what a scan of its rows would.
 *
 * A payment belongs to the block of its row's first word, even if an escape's
 * second word lies in the next one. An entry is written before row_count
 * passes its last row and is immutable from then on; before that it may be
 * anything, and nobody but the lane's owner looks at it.
 */
#ifndef PAYRING_SHM_BLOCK_INDEX_H
#define PAYRING_SHM_BLOCK_INDEX_H

#include <stdint.h>

#include "shm/shm_layout.h"

#define SHM_SUPERBLOCK_ROWS ((uint64_t)SHM_BLOCK_ROWS * SHM_SUPERBLOCK_BLOCKS)

struct shm_row; /* shm_ledger.h */

/* The owner's handle. The open sums are its own memory: a new owner makes them
 * again from the published rows. */
struct shm_block_index_writer {
    struct shm_block *blocks, *superblocks;
    struct shm_block open_block;      /* sums of the rows after the last full block */
    struct shm_block open_superblock; /* sums of the full blocks after the last full superblock */
};

/* Pure sums. */
void shm_block_clear(struct shm_block *);
void shm_block_add_row(struct shm_block *, const struct shm_row *);
void shm_block_add_block(struct shm_block *, const struct shm_block *);
unsigned __int128 shm_block_sum_cents(const struct shm_block *, unsigned processor);

/* Account the one row whose words take the row count from `before` to `after`,
 * and write the entries of the block and the superblock that this completes.
 *
 * Order:   before row_count is released, which publishes the entries too.
 * Crash:   an entry that row_count never passed is written anew.
 */
void shm_block_index_append(struct shm_block_index_writer *, const struct shm_row *,
                            uint64_t before, uint64_t after);

#endif
