/* The time index: sums of blocks, and when their entries are written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "shm/shm_block_index.h"
#include "shm/shm_ledger.h"

static struct shm_row row(unsigned processor, int64_t cents, int64_t us)
{
    return (struct shm_row){processor, cents, us};
}

static void an_empty_block_widens_nothing(void **state)
{
    (void)state;
    struct shm_block empty, block;
    shm_block_clear(&empty);
    shm_block_clear(&block);
    struct shm_row one = row(1, 5, -7);
    shm_block_add_row(&block, &one);
    struct shm_block before = block;
    shm_block_add_block(&block, &empty);
    assert_memory_equal(&block, &before, sizeof block);
    shm_block_add_block(&empty, &block);
    assert_memory_equal(&empty, &block, sizeof block);
}

static void rows_add_up(void **state)
{
    (void)state;
    struct shm_block block;
    const struct shm_row rows[] = {row(0, 100, 50), row(1, 7, -3), row(0, 1, 999), row(1, 2, 4)};
    shm_block_clear(&block);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        shm_block_add_row(&block, &rows[i]);
    assert_int_equal(block.lowest_us, -3);
    assert_int_equal(block.highest_us, 999);
    assert_int_equal(block.payments[0], 2);
    assert_int_equal(block.payments[1], 2);
    assert_true(shm_block_sum_cents(&block, 0) == 101);
    assert_true(shm_block_sum_cents(&block, 1) == 9);
}

static void sums_pass_64_bits(void **state)
{
    (void)state;
    struct shm_block block, total;
    struct shm_row large = row(1, INT64_C(10000000000000), 1);
    unsigned __int128 right = 0;
    shm_block_clear(&block);
    shm_block_clear(&total);
    for (unsigned i = 0; i < SHM_BLOCK_ROWS; i++)
        shm_block_add_row(&block, &large);
    for (unsigned i = 0; i < 1000; i++) {
        shm_block_add_block(&total, &block);
        right += (unsigned __int128)SHM_BLOCK_ROWS * 10000000000000u;
    }
    assert_true(right > UINT64_MAX);
    assert_true(shm_block_sum_cents(&total, 1) == right);
    assert_true(shm_block_sum_cents(&total, 0) == 0);
    assert_int_equal(total.payments[1], 1000 * SHM_BLOCK_ROWS);
}

/* An index over memory of its own, with canaries in every entry. */
#define SEGMENT_BLOCKS 32u
#define GROUP_BLOCKS   (SHM_GROUP_ROWS / SHM_BLOCK_ROWS)
#define SEGMENT_ROWS   (SEGMENT_BLOCKS * SHM_BLOCK_ROWS)
#define PLACES         2u
struct index {
    struct shm_block slices[PLACES * SEGMENT_ROWS / SHM_SLICE_ROWS];
    struct shm_block blocks[PLACES * SEGMENT_BLOCKS],
        groups[PLACES * SEGMENT_BLOCKS / GROUP_BLOCKS], segments[PLACES];
    struct shm_block_index_writer writer;
    uint64_t rows;
};

static int setup(void **state)
{
    struct index *index = malloc(sizeof *index);
    assert_non_null(index);
    memset(index, 0xee, sizeof *index);
    index->rows = 0;
    index->writer.slices = index->slices;
    index->writer.blocks = index->blocks;
    index->writer.groups = index->groups;
    index->writer.segments = index->segments;
    index->writer.group_places = PLACES * SEGMENT_BLOCKS / GROUP_BLOCKS;
    index->writer.slice_places = PLACES * SEGMENT_ROWS / SHM_SLICE_ROWS;
    index->writer.block_places = PLACES * SEGMENT_BLOCKS;
    index->writer.segment_places = PLACES;
    index->writer.segment_rows = SEGMENT_ROWS;
    shm_block_clear(&index->writer.open_slice);
    shm_block_clear(&index->writer.open_block);
    shm_block_clear(&index->writer.open_group);
    shm_block_clear(&index->writer.open_segment);
    *state = index;
    return 0;
}

static int teardown(void **state)
{
    free(*state);
    return 0;
}

static void append(struct index *index, unsigned words)
{
    struct shm_row one = row(0, 1, (int64_t)index->rows);
    shm_block_index_append(&index->writer, &one, index->rows, index->rows + words);
    index->rows += words;
}

static bool is_written(const struct shm_block *block)
{
    struct shm_block canary;
    memset(&canary, 0xee, sizeof canary);
    return memcmp(block, &canary, sizeof canary) != 0;
}

static void an_entry_is_written_with_the_last_row(void **state)
{
    struct index *index = *state;
    while (index->rows < SHM_BLOCK_ROWS - 1)
        append(index, 1);
    assert_false(is_written(&index->blocks[0]));
    append(index, 1);
    assert_true(is_written(&index->blocks[0]));
    assert_int_equal(index->blocks[0].payments[0], SHM_BLOCK_ROWS);
    assert_int_equal(index->blocks[0].lowest_us, 0);
    assert_int_equal(index->blocks[0].highest_us, SHM_BLOCK_ROWS - 1);
    assert_int_equal(index->writer.open_block.payments[0], 0);
    append(index, 1);
    assert_false(is_written(&index->blocks[1]));
}

/* First word in block 0, second in block 1: the payment is block 0's. */
static void an_escape_across_the_edge_is_of_the_block_it_begins_in(void **state)
{
    struct index *index = *state;
    while (index->rows < SHM_BLOCK_ROWS - 1)
        append(index, 1);
    append(index, 2);
    assert_int_equal(index->rows, SHM_BLOCK_ROWS + 1);
    assert_int_equal(index->blocks[0].payments[0], SHM_BLOCK_ROWS);
    while (index->rows < 2 * SHM_BLOCK_ROWS)
        append(index, 1);
    assert_int_equal(index->blocks[1].payments[0], SHM_BLOCK_ROWS - 1);
    assert_int_equal(index->blocks[1].lowest_us, SHM_BLOCK_ROWS + 1);
}

/* Before a block's last slice is full its entry is not there, but those of its slices are. */
static void a_slice_is_written_with_its_last_row(void **state)
{
    struct index *index = *state;
    while (index->rows < SHM_SLICE_ROWS - 1)
        append(index, 1);
    assert_false(is_written(&index->slices[0]));
    append(index, 2); /* across this edge too */
    assert_int_equal(index->slices[0].payments[0], SHM_SLICE_ROWS);
    assert_int_equal(index->slices[0].highest_us, SHM_SLICE_ROWS - 1);
    while (index->rows < SHM_BLOCK_ROWS)
        append(index, 1);
    assert_int_equal(index->slices[1].payments[0], SHM_SLICE_ROWS - 1);
    assert_int_equal(index->blocks[0].payments[0], SHM_BLOCK_ROWS - 1);
    assert_false(is_written(&index->slices[SHM_BLOCK_ROWS / SHM_SLICE_ROWS]));
}

static void a_group_is_written_with_its_last_block(void **state)
{
    struct index *index = *state;
    while (index->rows < SHM_GROUP_ROWS - 1)
        append(index, 1);
    assert_false(is_written(&index->groups[0]));
    append(index, 2); /* across this edge too */
    assert_int_equal(index->groups[0].payments[0], SHM_GROUP_ROWS);
    assert_int_equal(index->groups[0].highest_us, SHM_GROUP_ROWS - 1);
    while (index->rows < 2 * SHM_GROUP_ROWS)
        append(index, 1);
    assert_int_equal(index->groups[1].payments[0], SHM_GROUP_ROWS - 1);
    assert_int_equal(index->groups[1].lowest_us, SHM_GROUP_ROWS + 1);
}

static void a_segment_is_written_with_its_last_block(void **state)
{
    struct index *index = *state;
    while (index->rows < SEGMENT_ROWS - 1)
        append(index, 1);
    assert_false(is_written(&index->segments[0]));
    append(index, 1);
    assert_int_equal(index->segments[0].payments[0], SEGMENT_ROWS);
    assert_int_equal(index->segments[0].lowest_us, 0);
    assert_int_equal(index->segments[0].highest_us, SEGMENT_ROWS - 1);
    assert_int_equal(index->writer.open_segment.payments[0], 0);
    assert_true(is_written(&index->blocks[SEGMENT_BLOCKS - 1]));
    assert_false(is_written(&index->blocks[SEGMENT_BLOCKS]));
    while (index->rows < 2 * SEGMENT_ROWS)
        append(index, 1);
    assert_int_equal(index->segments[1].payments[0], SEGMENT_ROWS);
    assert_int_equal(index->segments[1].lowest_us, SEGMENT_ROWS);
}

/* A word that holds no payment completes a block and a segment like any other. */
static void a_filler_completes_and_counts_nothing(void **state)
{
    struct index *index = *state;
    while (index->rows < SEGMENT_ROWS - 1)
        append(index, 1);
    shm_block_index_append(&index->writer, NULL, index->rows, index->rows + 1);
    index->rows++;
    assert_int_equal(index->blocks[SEGMENT_BLOCKS - 1].payments[0], SHM_BLOCK_ROWS - 1);
    assert_int_equal(index->segments[0].payments[0], SEGMENT_ROWS - 1);
    assert_int_equal(index->segments[0].highest_us, SEGMENT_ROWS - 2);
    append(index, 2);
    assert_int_equal(index->writer.open_slice.payments[0], 1);
    assert_int_equal(index->writer.open_slice.lowest_us, SEGMENT_ROWS);
}

static void places_are_used_again(void **state)
{
    struct index *index = *state;
    while (index->rows < 2 * SEGMENT_ROWS)
        append(index, 1);
    struct shm_block second = index->segments[1];
    while (index->rows < 3 * SEGMENT_ROWS)
        append(index, 1);
    assert_int_equal(index->segments[0].lowest_us, 2 * SEGMENT_ROWS);
    assert_int_equal(index->segments[0].highest_us, 3 * SEGMENT_ROWS - 1);
    assert_int_equal(index->blocks[0].lowest_us, 2 * SEGMENT_ROWS);
    assert_memory_equal(&index->segments[1], &second, sizeof second);
    struct shm_block copy;
    shm_block_copy(&copy, &index->segments[1]);
    assert_memory_equal(&copy, &second, sizeof second);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_empty_block_widens_nothing),
        cmocka_unit_test(rows_add_up),
        cmocka_unit_test(sums_pass_64_bits),
        TEST(an_entry_is_written_with_the_last_row),
        TEST(an_escape_across_the_edge_is_of_the_block_it_begins_in),
        TEST(a_slice_is_written_with_its_last_row),
        TEST(a_group_is_written_with_its_last_block),
        TEST(a_segment_is_written_with_its_last_block),
        TEST(a_filler_completes_and_counts_nothing),
        TEST(places_are_used_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
