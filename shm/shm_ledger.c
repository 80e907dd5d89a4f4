#include "shm/shm_ledger.h"

#include <string.h>

#include "common/check.h"
#include "common/crash_point.h"
#include "shm/shm_archive.h"
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
    if (words[0] == 0 || words[0] == SHM_ROW_FILLER || (words[0] & ESCAPE_SECOND) == ESCAPE_SECOND)
        return 0;
    if (!(words[0] & SHM_ROW_ESCAPE)) {
        unpack_plain(row, words[0], base_time_ms);
        return 1;
    }
    unpack_escape(row, words[0], words[1]);
    return 2;
}

/* --------------------------------------------------------------- the owner */

static void rebuild_open_slice(struct shm_ledger_writer *writer)
{
    struct shm_row row;
    uint64_t at = writer->row_count / SHM_SLICE_ROWS * SHM_SLICE_ROWS;
    shm_block_clear(&writer->index.open_slice);
    while (at < writer->row_count) {
        unsigned words =
            shm_ledger_unpack(&row, &writer->rows[at % writer->places], writer->base_time_ms);
        if (words > 0)
            shm_block_add_row(&writer->index.open_slice, &row);
        at += words > 0 ? words : 1; /* 0: the escape that the slice before ends with, a filler */
    }
}

/* Of the full entries below, from the beginning of the open one on. */
static void rebuild_open(struct shm_block *open, uint64_t begin_row, uint64_t row_count,
                         const struct shm_block *entries, uint64_t places, uint64_t entry_rows)
{
    shm_block_clear(open);
    for (uint64_t entry = begin_row / entry_rows; entry < row_count / entry_rows; entry++)
        shm_block_add_block(open, &entries[entry % places]);
}

static void rebuild_open_sums(struct shm_ledger_writer *writer)
{
    struct shm_block_index_writer *index = &writer->index;
    uint64_t count = writer->row_count;
    rebuild_open_slice(writer);
    rebuild_open(&index->open_block, count / SHM_BLOCK_ROWS * SHM_BLOCK_ROWS, count, index->slices,
                 index->slice_places, SHM_SLICE_ROWS);
    rebuild_open(&index->open_group, count / SHM_GROUP_ROWS * SHM_GROUP_ROWS, count, index->blocks,
                 index->block_places, SHM_BLOCK_ROWS);
    rebuild_open(&index->open_segment, count / writer->segment_rows * writer->segment_rows, count,
                 index->blocks, index->block_places, SHM_BLOCK_ROWS);
}

static uint64_t filed(const struct shm_lane *lane)
{
    /* Pairs with the release of the filing thread: it has read the segment's words. */
    return atomic_load_explicit(&lane->segments_filed, memory_order_acquire);
}

void shm_ledger_writer_open(struct shm_ledger_writer *writer, const struct shm_region *region,
                            unsigned lane)
{
    uint64_t segment_rows = region->geometry.ledger_segment_rows;
    *writer = (struct shm_ledger_writer){
        .lane = shm_region_lane(region, lane),
        .rows = shm_region_rows(region, lane),
        .places = region->geometry.ledger_rows,
        .segment_rows = segment_rows,
        .base_time_ms = region->base_time_ms,
        .index = {.slices = shm_region_slices(region, lane),
                  .blocks = shm_region_blocks(region, lane),
                  .groups = shm_region_groups(region, lane),
                  .segments = shm_region_segments(region, lane),
                  .slice_places = region->places.slice_count,
                  .block_places = region->places.block_count,
                  .group_places = region->places.group_count,
                  .segment_places = region->places.segment_count,
                  .segment_rows = segment_rows},
    };
    /* Our own words; a dead owner's stores came with the lease. */
    uint64_t dropped = atomic_load_explicit(&writer->lane->segments_dropped, memory_order_relaxed);
    writer->row_count = atomic_load_explicit(&writer->lane->row_count, memory_order_acquire);
    writer->places_end = dropped * segment_rows + writer->places;
    CHECK(dropped <= filed(writer->lane));
    CHECK(writer->row_count <= writer->places_end);
    rebuild_open_sums(writer);
}

uint64_t shm_ledger_rows_left(const struct shm_ledger_writer *writer)
{
    return filed(writer->lane) * writer->segment_rows + writer->places - writer->row_count;
}

/* Give up the oldest segment in memory: its places are wanted. */
static void drop_segment(struct shm_ledger_writer *writer)
{
    struct shm_lane *lane = writer->lane;
    uint64_t dropped = atomic_load_explicit(&lane->segments_dropped, memory_order_relaxed) + 1;
    CHECK(dropped <= filed(lane));
    atomic_store_explicit(&lane->segments_dropped, dropped, memory_order_relaxed);
    /* Pairs with the acquire fence in is_given_up: who has read one of the words
     * that follow sees that the segment was dropped. */
    atomic_thread_fence(memory_order_release);
    CRASH_POINT(segments_dropped_raised);
    writer->places_end += writer->segment_rows;
}

static void put(struct shm_ledger_writer *writer, uint64_t at, uint64_t word)
{
    if (at >= writer->places_end)
        drop_segment(writer);
    shm_word_store(&writer->rows[at % writer->places], word);
}

static uint64_t left_in_segment(const struct shm_ledger_writer *writer)
{
    return writer->segment_rows - writer->row_count % writer->segment_rows;
}

void shm_ledger_write(struct shm_ledger_writer *writer, const struct shm_row *row)
{
    uint64_t words[2], at = writer->row_count;
    unsigned count = shm_ledger_pack(words, row, writer->base_time_ms);
    unsigned fillers = count > left_in_segment(writer);
    CHECK(fillers + count <= shm_ledger_rows_left(writer));
    if (fillers > 0)
        put(writer, at++, SHM_ROW_FILLER);
    for (unsigned i = 0; i < count; i++) {
        put(writer, at++, words[i]);
        CRASH_POINT_IF(i + 1 < count, row_escape_half);
    }
    writer->pending = *row;
    writer->pending_words = count;
    writer->filler_words = fillers;
    CRASH_POINT(row_written);
}

static void release_row_count(struct shm_ledger_writer *writer, uint64_t row_count)
{
    writer->row_count = row_count;
    writer->pending_words = 0;
    writer->filler_words = 0;
    /* Pairs with the acquire of row_count by every reader. */
    atomic_store_explicit(&writer->lane->row_count, row_count, memory_order_release);
}

void shm_ledger_publish(struct shm_ledger_writer *writer)
{
    CHECK(writer->pending_words > 0);
    uint64_t at = writer->row_count;
    if (writer->filler_words > 0)
        shm_block_index_append(&writer->index, NULL, at, at + writer->filler_words);
    at += writer->filler_words;
    uint64_t after = at + writer->pending_words;
    shm_block_index_append(&writer->index, &writer->pending, at, after);
    release_row_count(writer, after);
    CRASH_POINT(row_published);
}

void shm_ledger_skip_to(struct shm_ledger_writer *writer, uint64_t row)
{
    CHECK(writer->pending_words == 0 && row >= writer->row_count);
    CHECK(row - writer->row_count <= shm_ledger_rows_left(writer));
    for (uint64_t at = writer->row_count; at < row; at++) {
        put(writer, at, SHM_ROW_FILLER);
        shm_block_index_append(&writer->index, NULL, at, at + 1);
    }
    release_row_count(writer, row);
}

#define NAMES (UINT64_C(0xffffffff)) /* 2^32 - 1; 0 is none */

uint32_t shm_ledger_next_name(const struct shm_ledger_writer *writer)
{
    return (uint32_t)(writer->row_count % NAMES) + 1;
}

/* ----------------------------------------------------------------- reading */

static uint64_t published(const struct shm_region *region, unsigned lane)
{
    /* Pairs with the release in release_row_count: all below is immutable. */
    uint64_t count =
        atomic_load_explicit(&shm_region_lane(region, lane)->row_count, memory_order_acquire);
    CHECK(count <= shm_ledger_end(region, lane)); /* looked at later, and it only moves up */
    return count;
}

/* After row_count: what was dropped when it was released is seen, so that never
 * more rows seem to be in memory than there are places. */
static uint64_t dropped_rows(const struct shm_region *region, unsigned lane)
{
    return region->geometry.ledger_segment_rows *
           atomic_load_explicit(&shm_region_lane(region, lane)->segments_dropped,
                                memory_order_relaxed);
}

/* Were words from that row on given up while we read them? */
static bool is_given_up(const struct shm_region *region, unsigned lane, uint64_t row)
{
    /* Pairs with the release fence in drop_segment. */
    atomic_thread_fence(memory_order_acquire);
    return row < dropped_rows(region, lane);
}

uint64_t shm_ledger_end(const struct shm_region *region, unsigned lane)
{
    return filed(shm_region_lane(region, lane)) * region->geometry.ledger_segment_rows +
           region->geometry.ledger_rows;
}

unsigned shm_ledger_used_percent(const struct shm_region *region, unsigned lane)
{
    uint64_t places = region->geometry.ledger_rows;
    uint64_t count = published(region, lane), end = shm_ledger_end(region, lane);
    uint64_t used = count + places > end ? count + places - end : 0; /* filed in between */
    return (unsigned)(used * 100 / places);
}

/* The words at a published row, wherever they are; words[1] is 0 where nothing
 * published follows in the segment. */
static enum status fetch(const struct shm_region *region, unsigned lane, uint64_t row,
                         uint64_t count, uint64_t words[2], struct explain *why)
{
    const uint64_t segment_rows = region->geometry.ledger_segment_rows;
    uint64_t offset = row % segment_rows;
    bool has_second = offset + 1 < segment_rows && row + 1 < count;
    if (row >= dropped_rows(region, lane)) {
        const uint64_t *place = shm_region_rows(region, lane) + row % region->geometry.ledger_rows;
        words[0] = shm_word_load(&place[0]);
        words[1] = has_second ? shm_word_load(&place[1]) : 0;
        if (!is_given_up(region, lane, row))
            return STATUS_OK;
    }
    struct shm_archive_part part;
    enum status status = shm_archive_open_part(region, lane, row / segment_rows, &part, why);
    if (status == STATUS_OK)
        status = shm_archive_verify(&part, offset, offset + 1 + has_second, why);
    if (status != STATUS_OK)
        return status;
    words[0] = part.rows[offset];
    words[1] = has_second ? part.rows[offset + 1] : 0;
    return STATUS_OK;
}

static unsigned unpack_fetched(const uint64_t words[2], int64_t base_time_ms,
                               struct shm_row *result)
{
    bool is_whole = !(words[0] & SHM_ROW_ESCAPE) || words[1] != 0;
    return is_whole ? shm_ledger_unpack(result, words, base_time_ms) : 0;
}

enum status shm_ledger_read_or_say(const struct shm_region *region, unsigned lane, uint64_t number,
                                   struct shm_row *result, unsigned *words, struct explain *why)
{
    uint64_t fetched[2], count = published(region, lane);
    *words = 0;
    if (number >= count)
        return STATUS_OK;
    enum status status = fetch(region, lane, number, count, fetched, why);
    if (status == STATUS_OK)
        *words = unpack_fetched(fetched, region->base_time_ms, result);
    return status;
}

bool shm_ledger_read(const struct shm_region *region, unsigned lane, uint64_t number,
                     struct shm_row *result)
{
    unsigned words;
    return shm_ledger_read_or_say(region, lane, number, result, &words, NULL) == STATUS_OK &&
           words > 0;
}

bool shm_ledger_find_named(const struct shm_region *region, unsigned lane, uint32_t name,
                           uint64_t *number)
{
    uint64_t words[2], count = published(region, lane);
    uint64_t behind = name > 0 ? (count % NAMES + NAMES - (name - 1)) % NAMES : 0;
    if (behind == 0 || behind > count) /* 0: the next row, which is not published */
        return false;
    *number = count - behind;
    if ((*number + 1) % region->geometry.ledger_segment_rows != 0)
        return true; /* a filler is a segment's last word */
    if (fetch(region, lane, *number, count, words, NULL) != STATUS_OK)
        return false;
    *number += words[0] == SHM_ROW_FILLER;
    return *number < count;
}

bool shm_ledger_read_named(const struct shm_region *region, unsigned lane, uint32_t name,
                           struct shm_row *result)
{
    uint64_t number;
    return shm_ledger_find_named(region, lane, name, &number) &&
           shm_ledger_read(region, lane, number, result);
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
#elif defined(SHM_WORDS_ARE_PLAIN)
#define FAST_SCAN
#else
#define FAST_SCAN __attribute__((optimize("O3"), no_sanitize("thread")))
#endif

/* The words are read plainly, since atomic loads are not taken several at a time:
 * if the owner writes over them meanwhile, what comes of it is thrown away
 * (is_given_up), which the thread sanitizer cannot know. */

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

static uint64_t lower(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Of one segment, or of what is published of it: its words and the entries of its
 * slices, blocks and groups (NULL: it has none), by their places in it. */
struct part {
    const uint64_t *rows;
    const struct shm_block *slices, *blocks, *groups;
    uint64_t from, to;                   /* places of rows that count */
    const struct shm_archive_part *file; /* NULL: in memory */
};

static void scan_escapes(const struct part *part, uint64_t from, uint64_t to,
                         const struct shm_window *window, struct shm_totals *totals)
{
    struct shm_row row;
    for (uint64_t at = from; at < to; at++) {
        uint64_t first = shm_word_load(&part->rows[at]);
        /* The second word may lie in the next block, never above the count. */
        if ((first & ESCAPE_SECOND) != SHM_ROW_ESCAPE || first == SHM_ROW_FILLER ||
            at + 1 >= part->to)
            continue;
        unpack_escape(&row, first, shm_word_load(&part->rows[at + 1]));
        if (!is_inside(window, row.requested_at_us))
            continue;
        totals->payments[row.processor]++;
        totals->sum_cents[row.processor] += (unsigned __int128)row.amount_cents;
    }
}

static void scan(const struct part *part, uint64_t from, uint64_t to,
                 const struct shm_window *window, int64_t base_time_ms, struct shm_totals *totals)
{
    struct plain_sums sums =
        scan_plain(part->rows + from, to - from, plain_window_of(window, base_time_ms));
    uint64_t processors[SHM_PROCESSORS] = {sums.all - sums.fallback, sums.fallback};
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        totals->payments[processor] += processors[processor] / COUNT_ONE;
        totals->sum_cents[processor] += processors[processor] % COUNT_ONE;
    }
    if (sums.any_word & SHM_ROW_ESCAPE)
        scan_escapes(part, from, to, window, totals);
}

static bool is_outside(const struct shm_block *block, const struct shm_window *window)
{
    return block->highest_us < window->from_us || block->lowest_us > window->to_us;
}

/* Take a block or a segment whole or leave it out; false: it lies across an edge. */
static bool try_whole(const struct shm_block *block, const struct shm_window *window,
                      struct shm_totals *totals)
{
    if (is_outside(block, window))
        return true;
    if (!is_inside(window, block->lowest_us) || !is_inside(window, block->highest_us))
        return false;
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        totals->payments[processor] += block->payments[processor];
        totals->sum_cents[processor] += shm_block_sum_cents(block, processor);
    }
    return true;
}

/* The same of the entry of a slice or a block that begins at a place of the part and
 * ends within it. */
static bool try_entry(const struct shm_block *entry, const struct shm_window *window,
                      struct shm_totals *totals)
{
    struct shm_block copy;
    shm_block_copy(&copy, entry);
    return try_whole(&copy, window, totals);
}

/* Whole slices, then rows. */
static void sum_block(const struct part *part, uint64_t from, uint64_t to,
                      const struct shm_window *window, int64_t base_time_ms,
                      struct shm_totals *totals)
{
    for (uint64_t at = from, end; at < to; at = end) {
        end = lower((at / SHM_SLICE_ROWS + 1) * SHM_SLICE_ROWS, to);
        if (end - at < SHM_SLICE_ROWS ||
            !try_entry(&part->slices[at / SHM_SLICE_ROWS], window, totals))
            scan(part, at, end, window, base_time_ms, totals);
    }
}

static bool try_group(const struct part *part, uint64_t at, const struct shm_window *window,
                      struct shm_totals *totals)
{
    return part->groups && at % SHM_GROUP_ROWS == 0 && part->to - at >= SHM_GROUP_ROWS &&
           try_entry(&part->groups[at / SHM_GROUP_ROWS], window, totals);
}

/* Whole groups, then whole blocks, then slices: the first row and the open block are
 * usually in the middle of one. */
static enum status sum_part(const struct part *part, const struct shm_window *window,
                            int64_t base_time_ms, struct shm_totals *totals, struct explain *why)
{
    for (uint64_t at = part->from, end; at < part->to; at = end) {
        end = at + SHM_GROUP_ROWS;
        if (try_group(part, at, window, totals))
            continue;
        end = lower((at / SHM_BLOCK_ROWS + 1) * SHM_BLOCK_ROWS, part->to);
        if (end - at == SHM_BLOCK_ROWS &&
            try_entry(&part->blocks[at / SHM_BLOCK_ROWS], window, totals))
            continue;
        if (part->file) {
            /* and the second word of an escape that ends the block */
            uint64_t last = end + (end < part->to);
            enum status status = shm_archive_verify(part->file, at, last, why);
            if (status != STATUS_OK)
                return status;
        }
        sum_block(part, at, end, window, base_time_ms, totals);
    }
    return STATUS_OK;
}

/* What a reader takes of one lane: the rows first..count - 1, those from `kept` on in memory. */
struct view {
    const struct shm_region *region;
    unsigned lane;
    uint64_t first, count, kept;
};

/* false: the lane has not applied the purge; nothing of it counts. */
static bool view_lane(const struct shm_region *region, unsigned lane, uint64_t generation,
                      struct view *view)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    /* Pairs with the owner's release after first_row. */
    if (atomic_load_explicit(&control->purge_applied, memory_order_acquire) < generation)
        return false;
    /* first_row before row_count, which it was a value of. Acquire: should it be of a
     * later purge, the later look at the generation sees that one. */
    *view = (struct view){.region = region, .lane = lane};
    view->first = atomic_load_explicit(&control->first_row, memory_order_acquire);
    view->count = published(region, lane);
    view->kept = dropped_rows(region, lane);
    CHECK(view->first <= view->count);
    return true;
}

static void sum_memory(const struct view *view, const struct shm_window *window,
                       struct shm_totals *totals)
{
    const struct shm_region *region = view->region;
    const uint64_t segment_rows = region->geometry.ledger_segment_rows;
    const struct shm_block *segments = shm_region_segments(region, view->lane);
    uint64_t at = view->first > view->kept ? view->first : view->kept, end;
    for (; at < view->count; at = end) {
        uint64_t begin = at / segment_rows * segment_rows;
        uint64_t place = begin % region->geometry.ledger_rows;
        struct shm_block whole;
        end = lower(begin + segment_rows, view->count);
        shm_block_copy(&whole, &segments[place / segment_rows]);
        if (at == begin && end == begin + segment_rows && try_whole(&whole, window, totals))
            continue;
        struct part part = {
            .rows = shm_region_rows(region, view->lane) + place,
            .slices = shm_region_slices(region, view->lane) + place / SHM_SLICE_ROWS,
            .blocks = shm_region_blocks(region, view->lane) + place / SHM_BLOCK_ROWS,
            .groups = region->places.group_count
                          ? shm_region_groups(region, view->lane) + place / SHM_GROUP_ROWS
                          : NULL,
            .from = at - begin,
            .to = end - begin,
        };
        (void)sum_part(&part, window, region->base_time_ms, totals, NULL); /* no file, no failure */
    }
}

static enum status sum_file(const struct view *view, uint64_t segment, uint64_t from, uint64_t to,
                            const struct shm_window *window, struct shm_totals *totals,
                            struct explain *why)
{
    struct shm_archive_part file;
    enum status status = shm_archive_open_part(view->region, view->lane, segment, &file, why);
    struct part part = {.rows = file.rows,
                        .slices = file.slices,
                        .blocks = file.blocks,
                        .groups = file.groups,
                        .from = from,
                        .to = to,
                        .file = &file};
    if (status == STATUS_OK)
        status = sum_part(&part, window, view->region->base_time_ms, totals, why);
    return status;
}

static enum status sum_files(const struct view *view, const struct shm_window *window,
                             struct shm_totals *totals, struct explain *why)
{
    const uint64_t segment_rows = view->region->geometry.ledger_segment_rows;
    uint64_t kept = lower(view->kept, view->count), end;
    if (view->first >= kept)
        return STATUS_OK;
    const struct shm_block *segments; /* by number */
    enum status status = shm_archive_load(view->region, view->lane, view->first / segment_rows,
                                          (kept + segment_rows - 1) / segment_rows, &segments, why);
    for (uint64_t at = view->first; at < kept && status == STATUS_OK; at = end) {
        uint64_t segment = at / segment_rows, begin = segment * segment_rows;
        end = lower(begin + segment_rows, kept);
        bool is_all = at == begin && end == begin + segment_rows;
        if (is_outside(&segments[segment], window) ||
            (is_all && try_whole(&segments[segment], window, totals)))
            continue;
        status = sum_file(view, segment, at - begin, end - begin, window, totals, why);
    }
    return status;
}

static void add_totals(struct shm_totals *totals, const struct shm_totals *more)
{
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        totals->payments[processor] += more->payments[processor];
        totals->sum_cents[processor] += more->sum_cents[processor];
    }
}

static enum status sum_lane(const struct shm_region *region, unsigned lane, uint64_t generation,
                            const struct shm_window *window, struct shm_totals *totals,
                            struct explain *why)
{
    for (int tries = 0; tries < SUM_TRIES_MAX; tries++) {
        struct shm_totals sums = {0};
        struct view view;
        if (!view_lane(region, lane, generation, &view))
            return STATUS_OK;
        sum_memory(&view, window, &sums);
        if (view.kept < view.count &&
            is_given_up(region, lane, view.first > view.kept ? view.first : view.kept))
            continue; /* some of it: what was read may be anything */
        enum status status = sum_files(&view, window, &sums, why);
        if (status == STATUS_OK)
            add_totals(totals, &sums);
        return status;
    }
    return explain(why, STATUS_BUSY, "payments settle faster than the ledger can be read");
}

enum status shm_ledger_sum_or_say(const struct shm_region *region, const struct shm_window *window,
                                  struct shm_totals *totals, struct explain *why)
{
    const _Atomic uint64_t *generation = &shm_region_purge(region)->generation;
    for (int tries = 0; tries < SUM_TRIES_MAX; tries++) {
        uint64_t before = atomic_load_explicit(generation, memory_order_seq_cst);
        enum status status = STATUS_OK;
        *totals = (struct shm_totals){0};
        for (unsigned lane = 0; lane < region->geometry.lanes && status == STATUS_OK; lane++)
            status = sum_lane(region, lane, before, window, totals, why);
        /* A purge meanwhile: files that it made superfluous may be gone. */
        if (atomic_load_explicit(generation, memory_order_seq_cst) == before)
            return status;
    }
    return explain(why, STATUS_BUSY, "purges keep changing what is to be summed");
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
    return rows <= shm_ledger_end(region, lane) ? SHM_LEDGER_BUDGET : 0;
}
