/* The ledger: rows, sums against a plain recount, purges, publication and budgets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "shm/shm_ledger.h"
#include "shm/shm_ring.h"
#include "test/unit/ledger_double.h"
#include "test/unit/shm_fixture.h"

#define BASE_MS INT64_C(1700000000000)

static const struct shm_window always = {INT64_MIN, INT64_MAX};

/* -------------------------------------------------------------------- rows */

static void rows_come_back_as_they_went(void **state)
{
    (void)state;
    const int64_t base_us = BASE_MS * 1000, last_ms = (INT64_C(1) << 38) - 1;
    const struct {
        int64_t cents, us;
        unsigned words;
    } rows[] = {
        {1, base_us, 1},
        {1990, base_us + 5000, 1},
        {(1 << 24) - 1, base_us + last_ms * 1000, 1},
        {1 << 24, base_us, 2},
        {1990, base_us + (last_ms + 1) * 1000, 2},
        {1990, base_us - 1000, 2},
        {1990, base_us + 1, 2},
        {1990, base_us - 1, 2},
        {LEDGER_DOUBLE_MAX_CENTS, base_us, 2},
        {1, 0, 2},
        {1, -1, 2},
        {1, -1001, 2},
        {1, -(INT64_C(1) << 61), 2},
        {LEDGER_DOUBLE_MAX_CENTS, (INT64_C(1) << 61) - 1, 2},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
            struct shm_row in = {processor, rows[i].cents, rows[i].us}, out = {0};
            uint64_t words[2] = {0, UINT64_MAX};
            assert_int_equal(shm_ledger_pack(words, &in, BASE_MS), rows[i].words);
            assert_int_not_equal(words[0], 0);
            assert_int_equal(shm_ledger_unpack(&out, words, BASE_MS), rows[i].words);
            assert_true(ledger_double_equal(&out, &in));
            if (rows[i].words == 2)
                assert_int_equal(shm_ledger_unpack(&out, &words[1], BASE_MS), 0);
        }
    }
}

static void random_rows_come_back(void **state)
{
    (void)state;
    uint64_t random = shm_fixture_seed();
    for (int i = 0; i < 100000; i++) {
        struct shm_row out = {0}, in = {
                                      .processor = (unsigned)(shm_fixture_random(&random) & 1),
                                      .amount_cents = 1 + (int64_t)(shm_fixture_random(&random) >>
                                                                    (20 + i % 40)) %
                                                              LEDGER_DOUBLE_MAX_CENTS,
                                      .requested_at_us =
                                          BASE_MS * 1000 +
                                          (int64_t)(shm_fixture_random(&random) >> (10 + i % 30)) *
                                              (i % 3 ? 1000 : 1) -
                                          (i % 5 ? 0 : 1000000000),
                                  };
        uint64_t words[2] = {0, 0};
        if (in.requested_at_us >= INT64_C(1) << 61)
            in.requested_at_us /= 1024;
        unsigned count = shm_ledger_pack(words, &in, BASE_MS);
        assert_int_equal(shm_ledger_unpack(&out, words, BASE_MS), count);
        assert_true(ledger_double_equal(&out, &in));
    }
}

static void zero_is_no_row(void **state)
{
    (void)state;
    struct shm_row row;
    const uint64_t zero[2] = {0, 0};
    assert_int_equal(shm_ledger_unpack(&row, zero, BASE_MS), 0);
}

static void pack_one(int64_t cents, int64_t us, unsigned processor)
{
    uint64_t words[2];
    struct shm_row row = {processor, cents, us};
    (void)shm_ledger_pack(words, &row, BASE_MS);
}
static void pack_nothing(struct shm_fixture *f)
{
    (void)f;
    pack_one(0, 0, 0);
}
static void pack_negative(struct shm_fixture *f)
{
    (void)f;
    pack_one(-5, 0, 0);
}
static void pack_too_much(struct shm_fixture *f)
{
    (void)f;
    pack_one(INT64_C(1) << 44, 0, 0);
}
static void pack_too_late(struct shm_fixture *f)
{
    (void)f;
    pack_one(1, INT64_C(1) << 61, 0);
}
static void pack_a_third_processor(struct shm_fixture *f)
{
    (void)f;
    pack_one(1, 0, 2);
}

static void what_no_row_can_hold_hits_check(void **state)
{
    void (*const packs[])(struct shm_fixture *) = {pack_nothing, pack_negative, pack_too_much,
                                                   pack_too_late, pack_a_third_processor};
    (void)state;
    for (size_t i = 0; i < sizeof packs / sizeof packs[0]; i++)
        assert_int_equal(shm_fixture_signal_of(packs[i], NULL), SIGABRT);
}

/* --------------------------------------------------- a ledger and its double */

static void sums_are_those_of_the_rows(void **state)
{
    struct shm_fixture *f = *state;
    uint64_t random = shm_fixture_seed();
    const unsigned escapes[2] = {50, 3};
    struct shm_ledger_writer writers[2];
    struct ledger_double expected[2] = {{0}};
    for (unsigned lane = 0; lane < 2; lane++)
        shm_ledger_writer_open(&writers[lane], &f->region, lane);
    ledger_double_compare(&f->region, expected, &random, 3); /* nothing yet */
    for (int step = 0; step < 60; step++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            uint64_t some = shm_fixture_random(&random) % 400;
            while (some-- > 0 && shm_ledger_rows_left(&writers[lane]) >= 2) {
                struct shm_row row =
                    ledger_double_row(&f->region, &random, expected[lane].count, escapes[lane]);
                ledger_double_append(&expected[lane], &writers[lane], &row);
            }
            if (step % 7 == 0) /* a new owner goes on */
                shm_ledger_writer_open(&writers[lane], &f->region, lane);
        }
        ledger_double_compare(&f->region, expected, &random, 10);
    }
    for (unsigned lane = 0; lane < 2; lane++) {
        for (size_t i = 0; i < expected[lane].count; i++) {
            struct shm_row row = {0};
            assert_true(shm_ledger_read(&f->region, lane, expected[lane].numbers[i], &row));
            assert_true(ledger_double_equal(&row, &expected[lane].rows[i]));
        }
        ledger_double_forget(&expected[lane]);
    }
}

/* A window's edge exactly at, just before and just after a row. */
static void edges_are_inclusive(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ledger_writer writer;
    struct ledger_double expected = {0};
    const int64_t us = f->region.created_at_ms * 1000;
    const int64_t times[] = {us, us + 1};
    shm_ledger_writer_open(&writer, &f->region, 0);
    for (size_t i = 0; i < 2; i++) { /* a plain row, and an escape one microsecond later */
        struct shm_row row = {0, 100, times[i]};
        ledger_double_append(&expected, &writer, &row);
    }
    for (int64_t from = us - 1001; from <= us + 1001;
         from += 1 + (from < us - 2 || from > us + 2) * 99) {
        for (int64_t to = us - 1001; to <= us + 1001; to += 1 + (to < us - 2 || to > us + 2) * 99) {
            struct shm_window window = {from, to};
            struct shm_totals right = {0}, sum;
            ledger_double_sum(&expected, 0, &window, &right);
            assert_int_equal(shm_ledger_sum(&f->region, &window, &sum), STATUS_OK);
            assert_true(ledger_double_totals_equal(&sum, &right));
        }
    }
    ledger_double_forget(&expected);
}

/* Every way an escape can lie across the edge of a block, in every kind of reading. */
static void escapes_across_the_edges_of_blocks(void **state)
{
    struct shm_fixture *f = *state;
    uint64_t random = shm_fixture_seed();
    struct ledger_double expected[2] = {{0}};
    struct shm_ledger_writer writer;
    shm_ledger_writer_open(&writer, &f->region, 0);
    for (uint64_t block = 1; block <= 3; block++) {
        while (writer.row_count < block * SHM_BLOCK_ROWS - 1) {
            struct shm_row row = ledger_double_row(&f->region, &random, expected[0].count, 0);
            ledger_double_append(&expected[0], &writer, &row);
        }
        struct shm_row across = ledger_double_row(&f->region, &random, expected[0].count, 1);
        ledger_double_append(&expected[0], &writer, &across);
        assert_int_equal(writer.row_count, block * SHM_BLOCK_ROWS + 1);
        ledger_double_compare(&f->region, expected, &random, 50);
        shm_ledger_writer_open(&writer, &f->region, 0);
        assert_int_equal(writer.index.open_block.payments[0], 0);
        assert_int_equal(writer.index.open_block.payments[1], 0);
    }
    ledger_double_forget(&expected[0]);
}

/* ------------------------------------------------------------------- purges */

static void purge_lane(struct shm_fixture *f, unsigned lane, uint64_t generation)
{
    struct shm_lane *control = shm_region_lane(&f->region, lane);
    atomic_store_explicit(&control->first_row, atomic_load(&control->row_count),
                          memory_order_release);
    atomic_store_explicit(&control->purge_applied, generation, memory_order_release);
}

static void purged_rows_do_not_count(void **state)
{
    struct shm_fixture *f = *state;
    uint64_t random = shm_fixture_seed();
    struct shm_ledger_writer writers[2];
    struct ledger_double expected[2] = {{0}};
    for (unsigned lane = 0; lane < 2; lane++)
        shm_ledger_writer_open(&writers[lane], &f->region, lane);
    for (uint64_t generation = 1; generation <= 12; generation++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            /* Floors in the middle of blocks, and at last one right after an escape that lies
             * across an edge. */
            uint64_t some = shm_fixture_random(&random) % 1500;
            while (some-- > 0 && shm_ledger_rows_left(&writers[lane]) >= 2) {
                struct shm_row row =
                    ledger_double_row(&f->region, &random, expected[lane].count, 9);
                ledger_double_append(&expected[lane], &writers[lane], &row);
            }
        }
        ledger_double_compare(&f->region, expected, &random, 20);
        atomic_store(&shm_region_purge(&f->region)->generation, generation);
        for (unsigned lane = 0; lane < 2; lane++)
            purge_lane(f, lane, generation);
        ledger_double_compare(&f->region, expected, &random, 2);
    }
    for (unsigned lane = 0; lane < 2; lane++)
        ledger_double_forget(&expected[lane]);
}

static void a_lane_that_has_not_purged_counts_nothing(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_totals sum;
    for (unsigned lane = 0; lane < 2; lane++) {
        struct shm_ledger_writer writer;
        struct shm_row row = {lane, 100, f->region.created_at_ms * 1000};
        shm_ledger_writer_open(&writer, &f->region, lane);
        shm_ledger_write(&writer, &row);
        shm_ledger_publish(&writer);
    }
    atomic_store(&shm_region_purge(&f->region)->generation, 1);
    assert_int_equal(shm_ledger_sum(&f->region, &always, &sum), STATUS_OK);
    assert_int_equal(sum.payments[0] + sum.payments[1], 0);
    atomic_store(&shm_region_lane(&f->region, 1)->purge_applied, 1); /* with first_row 0 */
    assert_int_equal(shm_ledger_sum(&f->region, &always, &sum), STATUS_OK);
    assert_int_equal(sum.payments[0], 0);
    assert_int_equal(sum.payments[1], 1);
}

/* What may be read row by row is what a summary adds up. */
static void the_extents_are_those_of_a_summary(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_extent extents[SHM_LANES_MAX];
    struct shm_ledger_writer writers[2];
    struct shm_row row = {0, 100, f->region.created_at_ms * 1000};
    for (unsigned lane = 0; lane < 2; lane++) {
        shm_ledger_writer_open(&writers[lane], &f->region, lane);
        for (unsigned n = 0; n < 3 + lane; n++) {
            shm_ledger_write(&writers[lane], &row);
            shm_ledger_publish(&writers[lane]);
        }
    }
    shm_ledger_write(&writers[0], &row); /* and not published */
    assert_int_equal(shm_ledger_extents(&f->region, extents), STATUS_OK);
    assert_int_equal(extents[0].first, 0);
    assert_int_equal(extents[0].end, 3);
    assert_int_equal(extents[1].end, 4);
    atomic_store(&shm_region_purge(&f->region)->generation, 1);
    purge_lane(f, 1, 1);
    shm_ledger_write(&writers[1], &row);
    shm_ledger_publish(&writers[1]);
    assert_int_equal(shm_ledger_extents(&f->region, extents), STATUS_OK);
    assert_int_equal(extents[0].end - extents[0].first, 0); /* has not purged */
    assert_int_equal(extents[1].first, 4);
    assert_int_equal(extents[1].end, 5);
}

/* -------------------------------------------------------------- publication */

static void a_row_counts_from_its_publication_on(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ledger_writer writer;
    struct shm_totals sum;
    struct shm_row row = {0, LEDGER_DOUBLE_MAX_CENTS, f->region.created_at_ms * 1000}, read = {0};
    shm_ledger_writer_open(&writer, &f->region, 0);
    uint64_t left = shm_ledger_rows_left(&writer);
    shm_ledger_write(&writer, &row);
    assert_int_equal(shm_ledger_sum(&f->region, &always, &sum), STATUS_OK);
    assert_int_equal(sum.payments[0], 0);
    assert_false(shm_ledger_read(&f->region, 0, 0, &read));

    /* Its owner dies; the next one writes another row over it. */
    shm_ledger_writer_open(&writer, &f->region, 0);
    row = (struct shm_row){1, 5, f->region.created_at_ms * 1000};
    shm_ledger_write(&writer, &row);
    shm_ledger_publish(&writer);
    assert_int_equal(shm_ledger_rows_left(&writer), left - 1);
    assert_int_equal(shm_ledger_sum(&f->region, &always, &sum), STATUS_OK);
    assert_int_equal(sum.payments[0], 0);
    assert_int_equal(sum.payments[1], 1);
    assert_true(shm_ledger_read(&f->region, 0, 0, &read));
    assert_int_equal(read.amount_cents, 5);
    assert_false(shm_ledger_read(&f->region, 0, 1, &read)); /* the escape's old second word */
}

static void fill_up_and_write_one_more(struct shm_fixture *f)
{
    struct shm_ledger_writer writer;
    struct shm_row row = {0, 1, f->region.created_at_ms * 1000};
    shm_ledger_writer_open(&writer, &f->region, 1);
    while (shm_ledger_rows_left(&writer) > 1) {
        shm_ledger_write(&writer, &row);
        shm_ledger_publish(&writer);
    }
    row.requested_at_us++; /* takes two words */
    shm_ledger_write(&writer, &row);
}
static void publish_nothing(struct shm_fixture *f)
{
    struct shm_ledger_writer writer;
    shm_ledger_writer_open(&writer, &f->region, 1);
    shm_ledger_publish(&writer);
}

static void the_owners_errors_hit_check(void **state)
{
    assert_int_equal(shm_fixture_signal_of(publish_nothing, *state), SIGABRT);
    assert_int_equal(shm_fixture_signal_of(fill_up_and_write_one_more, *state), SIGABRT);
}

static void the_last_row_of_the_ledger_counts(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ledger_writer writer;
    struct shm_totals sum;
    struct shm_window none = {0, 1};
    struct shm_row row = {0, 1, f->region.created_at_ms * 1000};
    shm_ledger_writer_open(&writer, &f->region, 1);
    while (shm_ledger_rows_left(&writer) > 0) {
        shm_ledger_write(&writer, &row);
        shm_ledger_publish(&writer);
    }
    assert_int_equal(shm_ledger_sum(&f->region, &always, &sum), STATUS_OK);
    assert_int_equal(sum.payments[0], f->geometry.ledger_rows);
    assert_int_equal(shm_ledger_sum(&f->region, &none, &sum), STATUS_OK);
    assert_int_equal(sum.payments[0], 0);
    shm_ledger_writer_open(&writer, &f->region, 1);
    assert_int_equal(shm_ledger_rows_left(&writer), 0);
}

/* ------------------------------------------------------------- many rows */

static int setup_large(void **state)
{
    struct shm_geometry geometry = shm_fixture_geometry();
    geometry.ledger_segment_rows = SHM_SEGMENT_ROWS_MAX;
    geometry.ledger_rows = 3 * SHM_SEGMENT_ROWS_MAX;
    shm_fixture_setup_nameless(state);
    shm_fixture_create(*state, &geometry);
    return 0;
}

/* Segments, and sums beyond int64. */
static void large_ledgers_are_summed_exactly(void **state)
{
    struct shm_fixture *f = *state;
    uint64_t random = shm_fixture_seed();
    struct shm_ledger_writer writer;
    struct ledger_double expected[2] = {{0}};
    shm_ledger_writer_open(&writer, &f->region, 0);
    while (shm_ledger_rows_left(&writer) > 5000) {
        struct shm_row row = ledger_double_row(&f->region, &random, expected[0].count, 20);
        if (expected[0].count % 4 != 0)
            row.amount_cents = LEDGER_DOUBLE_MAX_CENTS;
        ledger_double_append(&expected[0], &writer, &row);
        if (expected[0].count % 700000 == 0)
            shm_ledger_writer_open(&writer, &f->region, 0);
    }
    struct shm_totals sum;
    assert_int_equal(shm_ledger_sum(&f->region, &always, &sum), STATUS_OK);
    assert_true(sum.sum_cents[0] > INT64_MAX);
    ledger_double_compare(&f->region, expected, &random, 40);
    atomic_store(&shm_region_lane(&f->region, 0)->first_row,
                 expected[0].numbers[expected[0].count / 3]);
    ledger_double_compare(&f->region, expected, &random, 20);
    ledger_double_forget(&expected[0]);
}

/* ------------------------------------------------------------ while it moves */

struct growth {
    struct shm_fixture *fixture;
    _Atomic bool done;
};

/* Rows in pairs of words now and then, all of 7 cents, until the ledger is full. */
static void *grow(void *context)
{
    struct growth *growth = context;
    struct shm_ledger_writer writer;
    int64_t us = growth->fixture->region.created_at_ms * 1000;
    shm_ledger_writer_open(&writer, &growth->fixture->region, 0);
    for (uint64_t n = 0; shm_ledger_rows_left(&writer) >= 2; n++) {
        struct shm_row row = {n % 2, 7, us + (n % 5 == 0)};
        shm_ledger_write(&writer, &row);
        shm_ledger_publish(&writer);
        if (n % 64 == 0)
            sched_yield();
    }
    atomic_store(&growth->done, true);
    return NULL;
}

static void sums_are_exact_while_rows_are_appended(void **state)
{
    struct growth growth = {.fixture = *state};
    uint64_t before = 0, sums = 0;
    pthread_t owner;
    assert_int_equal(pthread_create(&owner, NULL, grow, &growth), 0);
    while (!atomic_load(&growth.done)) {
        struct shm_totals sum;
        assert_int_equal(shm_ledger_sum(&growth.fixture->region, &always, &sum), STATUS_OK);
        uint64_t payments = sum.payments[0] + sum.payments[1];
        assert_true(sum.sum_cents[0] == sum.payments[0] * 7);
        assert_true(sum.sum_cents[1] == sum.payments[1] * 7);
        /* Alternately: a sum is of a moment, so they never differ by more than one. */
        assert_true(sum.payments[0] - sum.payments[1] <= 1);
        assert_true(payments >= before);
        before = payments;
        sums++;
    }
    pthread_join(owner, NULL);
    print_message("# %llu sums while rows were appended\n", (unsigned long long)sums);
}

/* Killed at any instruction: row_count, the rows below it and the blocks agree. */
static void a_killed_owner_leaves_a_ledger_that_adds_up(void **state)
{
    struct shm_fixture *f = *state;
    uint64_t random = shm_fixture_seed();
    for (int round = 0; round < 30; round++) {
        uint64_t start = atomic_load(&shm_region_lane(&f->region, 0)->row_count);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct growth growth = {.fixture = f};
            grow(&growth);
            _exit(0);
        }
        uint64_t until = start + shm_fixture_random(&random) % 900;
        int status;
        while (atomic_load(&shm_region_lane(&f->region, 0)->row_count) < until)
            if (waitpid(child, &status, WNOHANG) == child)
                break;
        kill(child, SIGKILL);
        waitpid(child, &status, 0);
        /* By the rows alone, one after the other. */
        struct shm_totals sum, right = {0};
        uint64_t count = atomic_load(&shm_region_lane(&f->region, 0)->row_count);
        for (uint64_t at = 0; at < count; at++) {
            struct shm_row row;
            if (!shm_ledger_read(&f->region, 0, at, &row))
                continue;
            right.payments[row.processor]++;
            right.sum_cents[row.processor] += (unsigned __int128)row.amount_cents;
        }
        assert_int_equal(shm_ledger_sum(&f->region, &always, &sum), STATUS_OK);
        assert_true(ledger_double_totals_equal(&sum, &right));
        struct shm_ledger_writer writer;
        shm_ledger_writer_open(&writer, &f->region, 0);
        assert_int_equal(writer.row_count, count);
    }
}

/* ------------------------------------------------------------------ budgets */

static void the_budget_ends_before_the_ledger_does(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    const uint64_t rows = f->geometry.ledger_rows;
    const uint64_t margin = 2 * SHM_LEDGER_BUDGET * SHM_ROWS_PER_PAYMENT_MAX; /* 2 API slots */
    struct shm_ring_producer ring;
    struct shm_ring_entry entry = {.id = {1, 1}, .amount_cents = 1};

    assert_int_equal(shm_ledger_budget(&f->region, 0), SHM_LEDGER_BUDGET);
    atomic_store(&lane->row_count, rows - margin);
    assert_int_equal(shm_ledger_budget(&f->region, 0), SHM_LEDGER_BUDGET);
    atomic_store(&lane->row_count, rows - margin + 1);
    assert_int_equal(shm_ledger_budget(&f->region, 0), 0);

    atomic_store(&lane->row_count, rows - margin - 20); /* 10 payments more */
    atomic_store(&lane->unsettled, 10);
    assert_int_equal(shm_ledger_budget(&f->region, 0), SHM_LEDGER_BUDGET);
    atomic_store(&lane->unsettled, 11);
    assert_int_equal(shm_ledger_budget(&f->region, 0), 0);
    atomic_store(&lane->unsettled, 0);
    for (unsigned api = 0; api < 2; api++) { /* every ring into the lane counts */
        shm_ring_producer_open(&ring, &f->region, api, 0);
        for (int i = 0; i < 5; i++)
            assert_true(shm_ring_try_push(&ring, &entry));
    }
    assert_int_equal(shm_ledger_budget(&f->region, 0), SHM_LEDGER_BUDGET);
    assert_true(shm_ring_try_push(&ring, &entry));
    assert_int_equal(shm_ledger_budget(&f->region, 0), 0);
    assert_int_equal(shm_ledger_budget(&f->region, 1), SHM_LEDGER_BUDGET);
}

/* Two APIs accept as fast as their budgets let them, while a lane settles
 * everything with two words each: the ledger is used up and never passed. */
struct accepter {
    struct shm_fixture *fixture;
    unsigned slot;
    uint64_t accepted;
    _Atomic bool done;
};

static bool is_on_its_way(const struct shm_region *region)
{
    return shm_ring_depth(region, 0, 0) + shm_ring_depth(region, 1, 0) > 0 ||
           atomic_load(&shm_region_lane(region, 0)->unsettled) > 0;
}

static void *accept_until_refused(void *context)
{
    struct accepter *accepter = context;
    const struct shm_region *region = &accepter->fixture->region;
    struct shm_ring_producer ring;
    struct shm_ring_entry entry = {.id = {1, 1}, .amount_cents = 1};
    unsigned budget = 0;
    shm_ring_producer_open(&ring, region, accepter->slot, 0);
    for (bool refused = false; !refused;) {
        if (budget > 0 && shm_ring_try_push(&ring, &entry)) {
            budget--;
            accepter->accepted++;
        } else if (budget == 0) {
            /* What is on its way is counted at its worst: look again after it. */
            bool moving = is_on_its_way(region);
            budget = shm_ledger_budget(region, 0);
            refused = budget == 0 && !moving;
        } else {
            sched_yield();
        }
    }
    atomic_store(&accepter->done, true);
    return NULL;
}

/* The lane: takes some, settles some, in the order of stores that the worker keeps. */
static uint64_t settle_all(struct shm_fixture *f, const struct accepter accepters[2])
{
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_ring_consumer rings[2];
    struct shm_ledger_writer writer;
    struct shm_row row = {0, 1, f->region.created_at_ms * 1000 + 1};
    uint64_t settled = 0, unsettled = 0, random = 7;
    for (unsigned api = 0; api < 2; api++)
        shm_ring_consumer_open(&rings[api], &f->region, api, 0);
    shm_ledger_writer_open(&writer, &f->region, 0);
    for (;;) {
        struct shm_ring_entry entry;
        bool done = atomic_load(&accepters[0].done) && atomic_load(&accepters[1].done);
        unsigned api = (unsigned)(shm_fixture_random(&random) & 1);
        if (unsettled < 50 && shm_ring_peek(&rings[api], &entry)) {
            atomic_store_explicit(&lane->unsettled, ++unsettled, memory_order_release);
            shm_ring_take(&rings[api]);
        } else if (unsettled > 0) {
            shm_ledger_write(&writer, &row);
            shm_ledger_publish(&writer);
            atomic_store_explicit(&lane->unsettled, --unsettled, memory_order_release);
            settled++;
        } else if (done && !is_on_its_way(&f->region)) {
            return settled;
        } else {
            sched_yield();
        }
    }
}

static void no_race_overfills_the_ledger(void **state)
{
    struct shm_fixture *f = *state;
    struct accepter accepters[2] = {{.fixture = f, .slot = 0}, {.fixture = f, .slot = 1}};
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, accept_until_refused, &accepters[i]), 0);
    uint64_t settled = settle_all(f, accepters); /* CHECKs that each row has room */
    for (unsigned i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    uint64_t rows = atomic_load(&shm_region_lane(&f->region, 0)->row_count);
    assert_int_equal(settled, accepters[0].accepted + accepters[1].accepted);
    assert_int_equal(rows, 2 * settled);
    assert_true(rows <= f->geometry.ledger_rows);
    /* And is used: nobody was refused while there was more room than the margin. */
    assert_true(rows + 2 * SHM_LEDGER_BUDGET * SHM_ROWS_PER_PAYMENT_MAX > f->geometry.ledger_rows);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_come_back_as_they_went),
        cmocka_unit_test(random_rows_come_back),
        cmocka_unit_test(zero_is_no_row),
        cmocka_unit_test(what_no_row_can_hold_hits_check),
        SHM_FIXTURE_TEST(sums_are_those_of_the_rows),
        SHM_FIXTURE_TEST(edges_are_inclusive),
        SHM_FIXTURE_TEST(escapes_across_the_edges_of_blocks),
        SHM_FIXTURE_TEST(purged_rows_do_not_count),
        SHM_FIXTURE_TEST(a_lane_that_has_not_purged_counts_nothing),
        SHM_FIXTURE_TEST(the_extents_are_those_of_a_summary),
        SHM_FIXTURE_TEST(a_row_counts_from_its_publication_on),
        SHM_FIXTURE_TEST(the_owners_errors_hit_check),
        SHM_FIXTURE_TEST(the_last_row_of_the_ledger_counts),
        cmocka_unit_test_setup_teardown(large_ledgers_are_summed_exactly, setup_large,
                                        shm_fixture_teardown),
        SHM_FIXTURE_TEST(sums_are_exact_while_rows_are_appended),
        SHM_FIXTURE_TEST(a_killed_owner_leaves_a_ledger_that_adds_up),
        SHM_FIXTURE_TEST(the_budget_ends_before_the_ledger_does),
        SHM_FIXTURE_TEST(no_race_overfills_the_ledger),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
