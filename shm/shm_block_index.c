#include "shm/shm_block_index.h"

#include "common/crash_point.h"
#include "shm/shm_ledger.h"

void shm_block_clear(struct shm_block *block)
{
    *block = (struct shm_block){.lowest_us = INT64_MAX, .highest_us = INT64_MIN};
}

unsigned __int128 shm_block_sum_cents(const struct shm_block *block, unsigned processor)
{
    return (unsigned __int128)block->sum_cents_high[processor] << 64 |
           block->sum_cents_low[processor];
}

static void add_cents(struct shm_block *block, unsigned processor, unsigned __int128 cents)
{
    unsigned __int128 sum = shm_block_sum_cents(block, processor) + cents;
    block->sum_cents_low[processor] = (uint64_t)sum;
    block->sum_cents_high[processor] = (uint64_t)(sum >> 64);
}

static void widen(struct shm_block *block, int64_t lowest_us, int64_t highest_us)
{
    if (lowest_us < block->lowest_us)
        block->lowest_us = lowest_us;
    if (highest_us > block->highest_us)
        block->highest_us = highest_us;
}

void shm_block_add_row(struct shm_block *block, const struct shm_row *row)
{
    widen(block, row->requested_at_us, row->requested_at_us);
    block->payments[row->processor]++;
    add_cents(block, row->processor, (unsigned __int128)row->amount_cents);
}

void shm_block_add_block(struct shm_block *block, const struct shm_block *other)
{
    widen(block, other->lowest_us, other->highest_us);
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        block->payments[processor] += other->payments[processor];
        add_cents(block, processor, shm_block_sum_cents(other, processor));
    }
}

/* Both sides word by word and atomic: readers may look at an entry whose place is
 * used again, and throw away what they saw. */
static void store_entry(struct shm_block *to, const struct shm_block *from)
{
    const uint64_t *words = (const uint64_t *)(const void *)from;
    uint64_t *places = (uint64_t *)(void *)to;
    for (size_t i = 0; i < sizeof *to / sizeof *places; i++)
        shm_word_store(&places[i], words[i]);
}

void shm_block_copy(struct shm_block *to, const struct shm_block *from)
{
    const uint64_t *places = (const uint64_t *)(const void *)from;
    uint64_t *words = (uint64_t *)(void *)to;
    for (size_t i = 0; i < sizeof *to / sizeof *words; i++)
        words[i] = shm_word_load(&places[i]);
}

void shm_block_index_append(struct shm_block_index_writer *index, const struct shm_row *row,
                            uint64_t before, uint64_t after)
{
    uint64_t slice = before / SHM_SLICE_ROWS, block = before / SHM_BLOCK_ROWS;
    uint64_t group = before / SHM_GROUP_ROWS, segment = before / index->segment_rows;
    if (row)
        shm_block_add_row(&index->open_slice, row);
    if (after / SHM_SLICE_ROWS == slice)
        return;
    store_entry(&index->slices[slice % index->slice_places], &index->open_slice);
    shm_block_add_block(&index->open_block, &index->open_slice);
    shm_block_clear(&index->open_slice);
    if (after / SHM_BLOCK_ROWS == block)
        return;
    store_entry(&index->blocks[block % index->block_places], &index->open_block);
    CRASH_POINT(block_finished);
    shm_block_add_block(&index->open_segment, &index->open_block);
    shm_block_add_block(&index->open_group, &index->open_block);
    shm_block_clear(&index->open_block);
    if (after / SHM_GROUP_ROWS != group) {
        if (index->group_places > 0)
            store_entry(&index->groups[group % index->group_places], &index->open_group);
        shm_block_clear(&index->open_group);
    }
    if (after / index->segment_rows == segment)
        return;
    store_entry(&index->segments[segment % index->segment_places], &index->open_segment);
    CRASH_POINT(segment_finished);
    shm_block_clear(&index->open_segment);
}
