#include "shm/shm_ledger.h"

#include <string.h>

#include "common/check.h"
#include "common/crash_point.h"
#include "shm/shm_ring.h"

#define ROW_TIME_MASK     ((UINT64_C(1) << SHM_ROW_TIME_BITS) - 1)
#define ROW_CENTS_MASK    ((UINT64_C(1) << SHM_ROW_CENTS_BITS) - 1)
#define ESCAPE_CENTS_MASK ((UINT64_C(1) << SHM_ESCAPE_CENTS_BITS) - 1)
#define ESCAPE_TIME_MASK  (SHM_ROW_CONTINUATION - 1)
#define ESCAPE_SECOND     (SHM_ROW_ESCAPE | SHM_ROW_CONTINUATION)

/* A purge takes milliseconds and the next one waits for it: two in a row during
 * one scan are rare, eight are somebody's loop. */
#define SUM_TRIES_MAX 8

/* -------------------------------------------------------------------- rows */

static bool fits_plain(const struct shm_row *row, int64_t base_time_ms)
{
    int64_t ms = row->requested_at_us / 1000 - base_time_ms;
    return row->requested_at_us % 1000 == 0 && ms >= 0 && (uint64_t)ms <= ROW_TIME_MASK &&
           (uint64_t)row->amount_cents <= ROW_CENTS_MASK;
}

unsigned shm_ledger_pack(uint64_t words[2], const struct shm_row *row, int64_t base_time_ms)
{
    int64_t us = row->requested_at_us;
    CHECK(row->processor < SHM_PROCESSORS);
    CHECK(row->amount_cents >= 1 && (uint64_t)row->amount_cents <= ESCAPE_CENTS_MASK);
    CHECK(us >= -SHM_ESCAPE_TIME_BIAS && us < SHM_ESCAPE_TIME_BIAS);
    uint64_t cents = (uint64_t)row->amount_cents, processor = row->processor;
    if (fits_plain(row, base_time_ms)) {
        words[0] = processor << SHM_ROW_PROCESSOR_SHIFT |
                   (uint64_t)(us / 1000 - base_time_ms) << SHM_ROW_TIME_SHIFT | cents;
        return 1;
    }
    words[0] = SHM_ROW_ESCAPE | processor << SHM_ESCAPE_PROCESSOR_SHIFT | cents;
    words[1] = ESCAPE_SECOND | (uint64_t)(us + SHM_ESCAPE_TIME_BIAS);
    return 2;
}

static void unpack_plain(struct shm_row *row, uint64_t word, int64_t base_time_ms)
{
    int64_t ms = (int64_t)(word >> SHM_ROW_TIME_SHIFT & ROW_TIME_MASK) + base_time_ms;
    *row = (struct shm_row){
        .processor = (unsigned)(word >> SHM_ROW_PROCESSOR_SHIFT),
        .amount_cents = (int64_t)(word & ROW_CENTS_MASK),
        .requested_at_us = ms * 1000,
    };
}

static void unpack_escape(struct shm_row *row, uint64_t first, uint64_t second)
{
    *row = (struct shm_row){
        .processor = (unsigned)(first >> SHM_ESCAPE_PROCESSOR_SHIFT & 1),
        .amount_cents = (int64_t)(first & ESCAPE_CENTS_MASK),
        .requested_at_us = (int64_t)(second & ESCAPE_TIME_MASK) - SHM_ESCAPE_TIME_BIAS,
    };
}

unsigned shm_ledger_unpack(struct shm_row *row, const uint64_t *words, int64_t base_time_ms)
{
    if (words[0] == 0 || (words[0] & ESCAPE_SECOND) == ESCAPE_SECOND)
        return 0;
    if (!(words[0] & SHM_ROW_ESCAPE)) {
        unpack_plain(row, words[0], base_time_ms);
        return 1;
    }
    unpack_escape(row, words[0], words[1]);
    return 2;
}

/* --------------------------------------------------------------- the owner */

static void rebuild_open_block(struct shm_ledger_writer *writer)
{
    struct shm_row row;
    uint64_t at = writer->row_count / SHM_BLOCK_ROWS * SHM_BLOCK_ROWS;
    shm_block_clear(&writer->index.open_block);
    while (at < writer->row_count) {
        unsigned words = shm_ledger_unpack(&row, &writer->rows[at], writer->base_time_ms);
        if (words > 0)
            shm_block_add_row(&writer->index.open_block, &row);
        at += words > 0 ? words : 1; /* 0: the escape that the block before ends with */
    }
}

static void rebuild_open_superblock(struct shm_ledger_writer *writer)
{
    uint64_t full_blocks = writer->row_count / SHM_BLOCK_ROWS;
    uint64_t block = full_blocks / SHM_SUPERBLOCK_BLOCKS * SHM_SUPERBLOCK_BLOCKS;
    shm_block_clear(&writer->index.open_superblock);
    for (; block < full_blocks; block++)
        shm_block_add_block(&writer->index.open_superblock, &writer->index.blocks[block]);
}

void shm_ledger_writer_open(struct shm_ledger_writer *writer, const struct shm_region *region,
                            unsigned lane)
{
    *writer = (struct shm_ledger_writer){
        .lane = shm_region_lane(region, lane),
        .rows = shm_region_rows(region, lane),
        .capacity = region->geometry.ledger_rows,
        .base_time_ms = region->base_time_ms,
        .index = {.blocks = shm_region_blocks(region, lane),
                  .superblocks = shm_region_superblocks(region, lane)},
    };
    /* Our own word; a dead owner's stores came with the lease. */
    writer->row_count = atomic_load_explicit(&writer->lane->row_count, memory_order_acquire);
    CHECK(writer->row_count <= writer->capacity);
    rebuild_open_block(writer);
    rebuild_open_superblock(writer);
}

uint64_t shm_ledger_rows_left(const struct shm_ledger_writer *writer)
{
    return writer->capacity - writer->row_count;
}

void shm_ledger_write(struct shm_ledger_writer *writer, const struct shm_row *row)
{
    uint64_t words[2];
    unsigned count = shm_ledger_pack(words, row, writer->base_time_ms);
    CHECK(count <= shm_ledger_rows_left(writer));
    for (unsigned i = 0; i < count; i++) {
        writer->rows[writer->row_count + i] = words[i];
        CRASH_POINT_IF(i + 1 < count, row_escape_half);
    }
    writer->pending = *row;
    writer->pending_words = count;
    CRASH_POINT(row_written);
}

void shm_ledger_publish(struct shm_ledger_writer *writer)
{
    CHECK(writer->pending_words > 0);
    uint64_t after = writer->row_count + writer->pending_words;
    shm_block_index_append(&writer->index, &writer->pending, writer->row_count, after);
    writer->row_count = after;
    writer->pending_words = 0;
    /* Pairs with the acquire of row_count by every reader. */
    atomic_store_explicit(&writer->lane->row_count, after, memory_order_release);
    CRASH_POINT(row_published);
}

/* ----------------------------------------------------------------- reading */

/* What one reader may look at of one lane: the rows first..count - 1. */
struct view {
    const uint64_t *rows;
    const struct shm_block *blocks, *superblocks;
    uint64_t first, count;
    int64_t base_time_ms;
};

static uint64_t published(const struct shm_region *region, unsigned lane)
{
    /* Pairs with the release in shm_ledger_publish: all below is immutable. */
    uint64_t count =
        atomic_load_explicit(&shm_region_lane(region, lane)->row_count, memory_order_acquire);
    CHECK(count <= region->geometry.ledger_rows);
    return count;
}

bool shm_ledger_read(const struct shm_region *region, unsigned lane, uint64_t row,
                     struct shm_row *result)
{
    const uint64_t *rows = shm_region_rows(region, lane);
    uint64_t count = published(region, lane);
    bool readable = row < count && (!(rows[row] & SHM_ROW_ESCAPE) || row + 1 < count);
    return readable && shm_ledger_unpack(result, &rows[row], region->base_time_ms) > 0;
}

/* A window as plain rows can tell it: their words without the processor lie from
 * low to high. One that no plain row can be in has low above high. */
struct plain_window {
    uint64_t low, high;
};

static int64_t clamp(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static struct plain_window plain_window_of(const struct shm_window *window, int64_t base_time_ms)
{
    int64_t base_us = base_time_ms * 1000;
    int64_t end_us = base_us + (int64_t)ROW_TIME_MASK * 1000;
    if (window->to_us < base_us || window->from_us > end_us)
        return (struct plain_window){.low = 1, .high = 0};
    /* from up, to down to the millisecond; from the least to the most cents */
    int64_t from_ms = (clamp(window->from_us, base_us, end_us) - base_us + 999) / 1000;
    int64_t to_ms = (clamp(window->to_us, base_us, end_us) - base_us) / 1000;
    return (struct plain_window){
        .low = (uint64_t)from_ms << SHM_ROW_TIME_SHIFT,
        .high = (uint64_t)to_ms << SHM_ROW_TIME_SHIFT | ROW_CENTS_MASK,
    };
}

static bool is_inside(const struct shm_window *window, int64_t us)
{
    return window->from_us <= us && us <= window->to_us;
}

/* Sums of at most a block of plain rows. Count and cents share a word: 4,096
 * rows of less than 2^24 cents stay below 2^36. */
#define COUNT_ONE (UINT64_C(1) << 40)
static_assert(((uint64_t)SHM_BLOCK_ROWS << SHM_ROW_CENTS_BITS) < COUNT_ONE, "sums of a scan");

struct plain_sums {
    uint64_t all, fallback; /* count and cents */
    uint64_t any_word;      /* all words OR-ed: the highest bit tells of escapes */
};

/* Two to four rows at a time where the processor can (0.57 and 0.28 ns a row,
 * 0.77 with branches). The sanitizers cannot start a program with clones. */
#if defined(__x86_64__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FAST_SCAN __attribute__((optimize("O3"), target_clones("avx2", "default")))
#else
#define FAST_SCAN __attribute__((optimize("O3")))
#endif

/* No branch depends on a row. A difference of two numbers below 2^62 has its
 * highest bit set exactly if it is negative, and so has the word of an escape:
 * `outside` is 0 or 1, and one less is a mask. */
FAST_SCAN static struct plain_sums scan_plain(const uint64_t *rows, uint64_t count,
                                              struct plain_window window)
{
    struct plain_sums sums = {0};
    for (uint64_t i = 0; i < count; i++) {
        uint64_t word = rows[i];
        uint64_t place = word & ~(SHM_ROW_ESCAPE | UINT64_C(1) << SHM_ROW_PROCESSOR_SHIFT);
        uint64_t outside = ((place - window.low) | (window.high - place) | word) >> 63;
        uint64_t counted = (COUNT_ONE | (word & ROW_CENTS_MASK)) & (outside - 1);
        sums.all += counted;
        sums.fallback += counted & (0 - (word >> SHM_ROW_PROCESSOR_SHIFT));
        sums.any_word |= word;
    }
    return sums;
}

static void scan_escapes(const struct view *view, uint64_t from, uint64_t to,
                         const struct shm_window *window, struct shm_totals *totals)
{
    struct shm_row row;
    for (uint64_t at = from; at < to; at++) {
        /* The second word may lie in the next block, never above the count. */
        if ((view->rows[at] & ESCAPE_SECOND) != SHM_ROW_ESCAPE || at + 1 >= view->count)
            continue;
        unpack_escape(&row, view->rows[at], view->rows[at + 1]);
        if (!is_inside(window, row.requested_at_us))
            continue;
        totals->payments[row.processor]++;
        totals->sum_cents[row.processor] += (unsigned __int128)row.amount_cents;
    }
}

static void scan(const struct view *view, uint64_t from, uint64_t to,
                 const struct shm_window *window, struct shm_totals *totals)
{
    struct plain_sums sums =
        scan_plain(view->rows + from, to - from, plain_window_of(window, view->base_time_ms));
    uint64_t processors[SHM_PROCESSORS] = {sums.all - sums.fallback, sums.fallback};
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        totals->payments[processor] += processors[processor] / COUNT_ONE;
        totals->sum_cents[processor] += processors[processor] % COUNT_ONE;
    }
    if (sums.any_word & SHM_ROW_ESCAPE)
        scan_escapes(view, from, to, window, totals);
}

/* Take a block whole or leave it out; false: it lies across an edge. */
static bool try_whole(const struct shm_block *block, const struct shm_window *window,
                      struct shm_totals *totals)
{
    if (block->highest_us < window->from_us || block->lowest_us > window->to_us)
        return true;
    if (!is_inside(window, block->lowest_us) || !is_inside(window, block->highest_us))
        return false;
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        totals->payments[processor] += block->payments[processor];
        totals->sum_cents[processor] += shm_block_sum_cents(block, processor);
    }
    return true;
}

static bool is_whole(uint64_t at, uint64_t size, uint64_t end)
{
    return at % size == 0 && at + size <= end;
}

/* Whole superblocks, then whole blocks, then rows: the first row and the open
 * block are usually in the middle of one. */
static void sum_lane(const struct view *view, const struct shm_window *window,
                     struct shm_totals *totals)
{
    uint64_t at = view->first;
    while (at < view->count) {
        if (is_whole(at, SHM_SUPERBLOCK_ROWS, view->count) &&
            try_whole(&view->superblocks[at / SHM_SUPERBLOCK_ROWS], window, totals)) {
            at += SHM_SUPERBLOCK_ROWS;
            continue;
        }
        uint64_t end = (at / SHM_BLOCK_ROWS + 1) * SHM_BLOCK_ROWS;
        if (end > view->count)
            end = view->count;
        if (!is_whole(at, SHM_BLOCK_ROWS, view->count) ||
            !try_whole(&view->blocks[at / SHM_BLOCK_ROWS], window, totals))
            scan(view, at, end, window, totals);
        at = end;
    }
}

/* false: the lane has not applied the purge; nothing of it counts. */
static bool view_lane(const struct shm_region *region, unsigned lane, uint64_t generation,
                      struct view *view)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    /* Pairs with the owner's release after first_row. */
    if (atomic_load_explicit(&control->purge_applied, memory_order_acquire) < generation)
        return false;
    *view = (struct view){
        .rows = shm_region_rows(region, lane),
        .blocks = shm_region_blocks(region, lane),
        .superblocks = shm_region_superblocks(region, lane),
        /* Before row_count, which it was a value of. Acquire: should it be of a
         * later purge, the later look at the generation sees that one. */
        .first = atomic_load_explicit(&control->first_row, memory_order_acquire),
        .base_time_ms = region->base_time_ms,
    };
    view->count = published(region, lane);
    CHECK(view->first <= view->count);
    return true;
}

enum status shm_ledger_sum(const struct shm_region *region, const struct shm_window *window,
                           struct shm_totals *totals)
{
    const _Atomic uint64_t *generation = &shm_region_purge(region)->generation;
    for (int tries = 0; tries < SUM_TRIES_MAX; tries++) {
        uint64_t before = atomic_load_explicit(generation, memory_order_seq_cst);
        *totals = (struct shm_totals){0};
        for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
            struct view view;
            if (view_lane(region, lane, before, &view))
                sum_lane(&view, window, totals);
        }
        if (atomic_load_explicit(generation, memory_order_seq_cst) == before)
            return STATUS_OK;
    }
    return STATUS_BUSY;
}

enum status shm_ledger_extents(const struct shm_region *region,
                               struct shm_extent extents[SHM_LANES_MAX])
{
    const _Atomic uint64_t *generation = &shm_region_purge(region)->generation;
    for (int tries = 0; tries < SUM_TRIES_MAX; tries++) {
        uint64_t before = atomic_load_explicit(generation, memory_order_seq_cst);
        for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
            struct view view = {0};
            (void)view_lane(region, lane, before, &view);
            extents[lane] = (struct shm_extent){view.first, view.count};
        }
        if (atomic_load_explicit(generation, memory_order_seq_cst) == before)
            return STATUS_OK;
    }
    return STATUS_BUSY;
}

unsigned shm_ledger_budget(const struct shm_region *region, unsigned lane)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    uint64_t payments = (uint64_t)region->geometry.api_slots * SHM_LEDGER_BUDGET;
    /* The proof in the header rests on this fence and on the order of the reads. */
    atomic_thread_fence(memory_order_seq_cst);
    for (unsigned api = 0; api < region->geometry.api_slots; api++)
        payments += shm_ring_depth(region, api, lane);
    payments += atomic_load_explicit(&control->unsettled, memory_order_acquire);
    uint64_t rows = published(region, lane) + payments * SHM_ROWS_PER_PAYMENT_MAX;
    return rows <= region->geometry.ledger_rows ? SHM_LEDGER_BUDGET : 0;
}
