/* What a lane's new owner makes of what a killed one left: every state between
 * two stores that matters, placed by hand into a real region. */
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>

#include <cmocka.h>

#include "test/unit/shm_fixture.h"
#include "worker/lane_internal.h"

#define LANE 0u

struct taken {
    struct shm_fixture *fixture;
    struct lane lane; /* without processors: nothing is sent here */
};

/* When the payments here were bound: after the region was made, so that a row of one is plain,
 * whatever day the test is run on. */
static int64_t bound_us;

/* An id of LANE, the n-th. */
static struct uuid id_of(const struct shm_fixture *fixture, unsigned n)
{
    struct uuid id = {.hi = 0x5eed, .lo = 0};
    for (unsigned found = 0;; id.lo++)
        if (shm_payments_lane_of(&fixture->region, &id) == LANE && found++ == n)
            return id;
}

static void open_memory(struct taken *taken)
{
    assert_int_equal(
        lane_memory_open(&taken->lane.memory, &taken->fixture->region, LANE, &taken->fixture->why),
        STATUS_OK);
}

static int setup(void **state)
{
    struct taken *taken = calloc(1, sizeof *taken);
    void *fixture = NULL;
    assert_non_null(taken);
    shm_fixture_setup(&fixture);
    taken->fixture = fixture;
    taken->lane.region = &taken->fixture->region;
    bound_us = taken->fixture->region.created_at_ms * 1000;
    taken->lane.settings.horizon_ms = 0;
    assert_true(lane_queues_create(&taken->lane.queues, taken->fixture->geometry.payment_slots));
    open_memory(taken);
    lane_take_over(&taken->lane);
    *state = taken;
    return 0;
}

static int teardown(void **state)
{
    struct taken *taken = *state;
    void *fixture = taken->fixture;
    lane_queues_destroy(&taken->lane.queues);
    shm_fixture_teardown(&fixture);
    free(taken);
    return 0;
}

/* A record as a dead owner left it. */
static struct shm_payment *left_behind(struct taken *taken, uint32_t slot,
                                       enum payment_state record_state, unsigned processor)
{
    struct shm_payments *payments = &taken->lane.memory.payments;
    struct shm_payment *record = &payments->records[slot];
    struct uuid id = id_of(taken->fixture, slot);
    shm_payments_begin_write(payments, slot);
    shm_payments_fill(payments, slot, &id, 1990, 1000 - (int64_t)slot, 0, 0);
    record->processor = (uint8_t)processor;
    record->requested_at_us = bound_us;
    record->state = (uint8_t)record_state;
    shm_payments_end_write(payments, slot);
    return record;
}

static void take_over(struct taken *taken)
{
    open_memory(taken);
    lane_take_over(&taken->lane);
}

static uint64_t unsettled(const struct taken *taken)
{
    return taken->lane.memory.control->unsettled;
}

static uint32_t only_one_in(const struct taken *taken, enum lane_place list)
{
    assert_int_equal(taken->lane.queues.lists[list].length, 1);
    return lane_queues_first(&taken->lane.queues, list);
}

static struct shm_totals totals_of(const struct taken *taken)
{
    struct shm_totals totals;
    struct shm_window all = {INT64_MIN, INT64_MAX};
    assert_int_equal(shm_ledger_sum(&taken->fixture->region, &all, &totals), STATUS_OK);
    return totals;
}

static void what_was_sent_is_unknown_and_pinned_to_its_processor(void **state)
{
    struct taken *taken = *state;
    struct shm_payment *record = left_behind(taken, 3, PAYMENT_SENT, 1);
    take_over(taken);
    assert_int_equal(record->state, PAYMENT_SENT);
    assert_int_equal(record->flags, PAYMENT_FLAG_UNKNOWN);
    assert_int_equal(record->requested_at_us, bound_us);
    assert_int_equal(only_one_in(taken, LANE_PINNED + 1), 3);
    assert_int_equal(unsettled(taken), 1);
}

/* Killed between naming the row and publishing it, the row written or not. */
static void a_name_without_a_published_row_is_cleared(void **state)
{
    struct taken *taken = *state;
    struct shm_payment *record = left_behind(taken, 3, PAYMENT_SENT, 0);
    record->row_name = 1;
    shm_ledger_write(&taken->lane.memory.ledger, &(struct shm_row){0, 1990, bound_us});
    take_over(taken);
    assert_int_equal(record->row_name, 0);
    assert_int_equal(record->state, PAYMENT_SENT);
    assert_int_equal(record->flags, PAYMENT_FLAG_UNKNOWN);
    assert_int_equal(only_one_in(taken, LANE_PINNED + 0), 3);
    assert_int_equal(totals_of(taken).payments[0], 0);
}

/* Killed between publishing the row and SETTLED. The row was adopted from a
 * book: its values count, not the bound ones. */
static void a_published_row_settles_its_payment_with_the_rows_values(void **state)
{
    struct taken *taken = *state;
    struct shm_payment *record = left_behind(taken, 3, PAYMENT_SENT, 0);
    record->row_name = 1;
    shm_ledger_write(&taken->lane.memory.ledger, &(struct shm_row){1, 1990, bound_us - 7});
    shm_ledger_publish(&taken->lane.memory.ledger);
    take_over(taken);
    assert_int_equal(record->state, PAYMENT_SETTLED);
    assert_int_equal(record->processor, 1);
    assert_int_equal(record->requested_at_us, bound_us - 7);
    assert_int_equal(only_one_in(taken, LANE_ENDED), 3);
    assert_int_equal(unsettled(taken), 0);
    assert_int_equal(totals_of(taken).payments[1], 1);
    take_over(taken); /* a second death changes nothing */
    assert_int_equal(totals_of(taken).payments[1], 1);
    assert_int_equal(record->state, PAYMENT_SETTLED);
}

static void what_was_queued_waits_oldest_first(void **state)
{
    struct taken *taken = *state;
    left_behind(taken, 2, PAYMENT_QUEUED, 0);
    left_behind(taken, 9, PAYMENT_QUEUED, 0); /* accepted earlier: see left_behind */
    left_behind(taken, 5, PAYMENT_QUEUED, 0);
    take_over(taken);
    assert_int_equal(lane_queues_pop(&taken->lane.queues, LANE_READY), 9);
    assert_int_equal(lane_queues_pop(&taken->lane.queues, LANE_READY), 5);
    assert_int_equal(lane_queues_pop(&taken->lane.queues, LANE_READY), 2);
    assert_int_equal(unsettled(taken), 3);
}

static void what_had_ended_stays_ended_and_is_recycled_oldest_first(void **state)
{
    struct taken *taken = *state;
    left_behind(taken, 1, PAYMENT_REJECTED, 0);
    left_behind(taken, 2, PAYMENT_DUPLICATE, 0);
    left_behind(taken, 3, PAYMENT_CONFLICT, 0);
    take_over(taken);
    assert_int_equal(taken->lane.queues.lists[LANE_FREE].length,
                     taken->fixture->geometry.payment_slots - 3);
    assert_int_equal(lane_queues_pop(&taken->lane.queues, LANE_ENDED), 3);
    assert_int_equal(lane_queues_pop(&taken->lane.queues, LANE_ENDED), 2);
    assert_int_equal(lane_queues_pop(&taken->lane.queues, LANE_ENDED), 1);
    assert_int_equal(unsettled(taken), 0);
}

/* Killed in the middle of a write: readers may go on, the count is exact again. */
static void a_torn_write_and_a_stale_count_are_mended(void **state)
{
    struct taken *taken = *state;
    struct shm_payment_snapshot snapshot;
    left_behind(taken, 3, PAYMENT_QUEUED, 0)->sequence = 41;
    taken->lane.memory.control->unsettled = 17;
    take_over(taken);
    assert_int_equal(taken->lane.memory.payments.records[3].sequence % 2, 0);
    assert_true(shm_payments_read(&taken->lane.memory.payments, 3, &snapshot));
    assert_int_equal(unsettled(taken), 1);
}

/* Killed between QUEUED and the ring's head: the entry is read again. */
static void an_entry_read_twice_is_recognised(void **state)
{
    struct taken *taken = *state;
    struct shm_ring_producer producer;
    struct shm_ring_entry entry = {.id = id_of(taken->fixture, 3), .amount_cents = 1990};
    shm_ring_producer_open(&producer, &taken->fixture->region, 0, LANE);
    assert_true(shm_ring_try_push(&producer, &entry));
    left_behind(taken, 3, PAYMENT_QUEUED, 0);
    take_over(taken);
    assert_true(lane_take_in(&taken->lane));
    assert_int_equal(shm_ring_depth(&taken->fixture->region, 0, LANE), 0);
    assert_int_equal(unsettled(taken), 1);
    assert_int_equal(taken->lane.memory.control->counters[SHM_LANE_COUNTER_copies], 1);
}

/* Killed in the middle of a purge, or before it was noticed. */
static void a_purge_that_was_due_is_done_before_anything_newer_is_taken(void **state)
{
    struct taken *taken = *state;
    struct shm_lane *control = taken->lane.memory.control;
    struct shm_ring_producer producer;
    struct shm_ring_entry entry = {
        .id = id_of(taken->fixture, 50), .amount_cents = 5, .purge_generation = 1};
    shm_ledger_write(&taken->lane.memory.ledger, &(struct shm_row){0, 1990, bound_us});
    shm_ledger_publish(&taken->lane.memory.ledger);
    uint64_t rows = taken->lane.memory.ledger.row_count; /* 1, or 2 when the region is younger */
    left_behind(taken, 1, PAYMENT_QUEUED, 0);
    left_behind(taken, 2, PAYMENT_SENT, 1);
    left_behind(taken, 3, PAYMENT_DUPLICATE, 0);
    shm_ring_producer_open(&producer, &taken->fixture->region, 0, LANE);
    assert_true(shm_ring_try_push(&producer, &entry));
    shm_region_purge(&taken->fixture->region)->generation = 1;

    assert_int_equal(totals_of(taken).payments[0], 0); /* before any owner comes */
    take_over(taken);
    assert_false(lane_take_in(&taken->lane)); /* newer than the last purge here */
    assert_true(lane_purge_if_due(&taken->lane));
    assert_false(lane_purge_if_due(&taken->lane));
    assert_int_equal(control->purge_applied, 1);
    assert_int_equal(control->first_row, rows);
    assert_int_equal(unsettled(taken), 1); /* what was sent survives */
    assert_int_equal(only_one_in(taken, LANE_PINNED + 1), 2);
    assert_true(lane_take_in(&taken->lane));
    assert_int_equal(unsettled(taken), 2);
}

/* What a purge cleared is asked for in both books when it comes again (rule 9). */
static void a_purged_id_is_remembered(void **state)
{
    struct taken *taken = *state;
    struct shm_ring_producer producer;
    struct shm_ring_entry entry = {
        .id = id_of(taken->fixture, 3), .amount_cents = 1990, .purge_generation = 1};
    left_behind(taken, 3, PAYMENT_DUPLICATE, 0);
    take_over(taken);
    shm_region_purge(&taken->fixture->region)->generation = 1;
    assert_true(lane_purge_if_due(&taken->lane));
    shm_ring_producer_open(&producer, &taken->fixture->region, 0, LANE);
    assert_true(shm_ring_try_push(&producer, &entry));
    assert_true(lane_take_in(&taken->lane));
    uint32_t slot = only_one_in(taken, LANE_READY);
    assert_int_equal(taken->lane.memory.payments.records[slot].flags,
                     PAYMENT_FLAG_SEEN | PAYMENT_FLAG_ASK);
}

static void a_damaged_record_stops_the_take_over_by_name(void **state)
{
    struct taken *taken = *state;
    left_behind(taken, 3, PAYMENT_QUEUED, 0)->amount_cents = 1;
    assert_int_equal(
        lane_memory_open(&taken->lane.memory, &taken->fixture->region, LANE, &taken->fixture->why),
        STATUS_DAMAGED);
    assert_non_null(strstr(taken->fixture->why.text, "3"));
}

int main(void)
{
#define TAKE_OVER_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TAKE_OVER_TEST(what_was_sent_is_unknown_and_pinned_to_its_processor),
        TAKE_OVER_TEST(a_name_without_a_published_row_is_cleared),
        TAKE_OVER_TEST(a_published_row_settles_its_payment_with_the_rows_values),
        TAKE_OVER_TEST(what_was_queued_waits_oldest_first),
        TAKE_OVER_TEST(what_had_ended_stays_ended_and_is_recycled_oldest_first),
        TAKE_OVER_TEST(a_torn_write_and_a_stale_count_are_mended),
        TAKE_OVER_TEST(an_entry_read_twice_is_recognised),
        TAKE_OVER_TEST(a_purge_that_was_due_is_done_before_anything_newer_is_taken),
        TAKE_OVER_TEST(a_purged_id_is_remembered),
        TAKE_OVER_TEST(a_damaged_record_stops_the_take_over_by_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
