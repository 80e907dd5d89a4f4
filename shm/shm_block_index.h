/* The time index over a lane's rows: per block of SHM_BLOCK_ROWS rows the lowest and highest
 * requestedAt, counts and sums; a second level per SHM_SUPERBLOCK_BLOCKS blocks. Entries are
 * immutable from the moment that row_count passes their last row. */
#ifndef PAYRING_SHM_BLOCK_INDEX_H
#define PAYRING_SHM_BLOCK_INDEX_H

#include "shm/shm_layout.h"

struct shm_row;

struct shm_block_index_writer {
    struct shm_block *blocks, *superblocks;
    struct shm_block open_block;      /* sums of the rows after the last full block */
    struct shm_block open_superblock; /* sums of the full blocks after the last full superblock */
};

void shm_block_clear(struct shm_block *);
void shm_block_add_row(struct shm_block *, const struct shm_row *);
void shm_block_add_block(struct shm_block *, const struct shm_block *);
/* Account the row(s) that take the count from `before` to `after`, writing the entry of every block and
 * superblock that this completes. Before row_count is released. */
void shm_block_index_append(struct shm_block_index_writer *, const struct shm_row *, uint64_t before, uint64_t after);

#endif
