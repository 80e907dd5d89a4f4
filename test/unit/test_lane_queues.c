#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <setjmp.h>

#include <cmocka.h>

#include "worker/lane_queues.h"

#define SLOTS 64u

static int create(void **state)
{
    struct lane_queues *queues = malloc(sizeof *queues);
    assert_non_null(queues);
    assert_true(lane_queues_create(queues, SLOTS));
    *state = queues;
    return 0;
}

static int destroy(void **state)
{
    lane_queues_destroy(*state);
    free(*state);
    return 0;
}

static void all_slots_begin_free_in_order(void **state)
{
    struct lane_queues *queues = *state;
    for (uint32_t i = 0; i < SLOTS; i++)
        assert_int_equal(lane_queues_pop(queues, LANE_FREE), i);
    assert_int_equal(lane_queues_pop(queues, LANE_FREE), LANE_QUEUES_NONE);
}

static void a_list_is_first_in_first_out_but_for_what_is_put_back(void **state)
{
    struct lane_queues *queues = *state;
    uint32_t a = lane_queues_pop(queues, LANE_FREE), b = lane_queues_pop(queues, LANE_FREE);
    uint32_t c = lane_queues_pop(queues, LANE_FREE);
    lane_queues_append(queues, LANE_READY, a);
    lane_queues_append(queues, LANE_READY, b);
    lane_queues_prepend(queues, LANE_READY, c);
    assert_int_equal(queues->lists[LANE_READY].length, 3);
    assert_int_equal(lane_queues_first(queues, LANE_READY), c);
    assert_int_equal(lane_queues_pop(queues, LANE_READY), c);
    assert_int_equal(lane_queues_pop(queues, LANE_READY), a);
    assert_int_equal(lane_queues_pop(queues, LANE_READY), b);
    assert_int_equal(lane_queues_first(queues, LANE_READY), LANE_QUEUES_NONE);
    lane_queues_prepend(queues, LANE_READY, a);
    lane_queues_append(queues, LANE_READY, b);
    assert_int_equal(lane_queues_pop(queues, LANE_READY), a);
    assert_int_equal(lane_queues_pop(queues, LANE_READY), b);
}

static void pauses_end_in_the_order_of_their_times(void **state)
{
    struct lane_queues *queues = *state;
    int64_t due[SLOTS];
    srand(7);
    for (uint32_t i = 0; i < SLOTS; i++) {
        uint32_t slot = lane_queues_pop(queues, LANE_FREE);
        due[slot] = rand() % 1000;
        lane_queues_pause(queues, slot, LANE_ASKING + 1, due[slot]);
    }
    int64_t before = -1;
    for (int64_t now = 0; now < 1000; now++) {
        int64_t next = lane_queues_wake(queues, now);
        assert_true(next > now);
        for (uint32_t slot;
             (slot = lane_queues_pop(queues, LANE_ASKING + 1)) != LANE_QUEUES_NONE;) {
            assert_true(due[slot] >= before && due[slot] == now);
            before = due[slot];
        }
    }
    assert_int_equal(queues->pause_count, 0);
    assert_int_equal(lane_queues_wake(queues, 5000), INT64_MAX);
}

static void a_pause_leads_to_the_list_it_was_meant_for(void **state)
{
    struct lane_queues *queues = *state;
    uint32_t a = lane_queues_pop(queues, LANE_FREE), b = lane_queues_pop(queues, LANE_FREE);
    lane_queues_pause(queues, a, LANE_PINNED + 1, 10);
    lane_queues_pause(queues, b, LANE_READY, 20);
    assert_int_equal(lane_queues_wake(queues, 10), 20);
    assert_int_equal(lane_queues_first(queues, LANE_PINNED + 1), a);
    assert_int_equal(lane_queues_first(queues, LANE_READY), LANE_QUEUES_NONE);
    assert_int_equal(lane_queues_wake(queues, 20), INT64_MAX);
    assert_int_equal(lane_queues_first(queues, LANE_READY), b);
}

static void the_oldest_in_flight_is_known_whatever_returns_first(void **state)
{
    struct lane_queues *queues = *state;
    uint32_t slots[4];
    assert_int_equal(lane_queues_oldest_sent_us(queues, 1), 0);
    for (int i = 0; i < 4; i++) {
        slots[i] = lane_queues_pop(queues, LANE_FREE);
        lane_queues_depart(queues, slots[i], 1, 100 + i);
    }
    assert_int_equal(lane_queues_oldest_sent_us(queues, 0), 0);
    lane_queues_return(queues, slots[1], 1); /* from the middle */
    assert_int_equal(lane_queues_oldest_sent_us(queues, 1), 100);
    lane_queues_return(queues, slots[0], 1); /* the first */
    assert_int_equal(lane_queues_oldest_sent_us(queues, 1), 102);
    lane_queues_return(queues, slots[3], 1); /* the last */
    assert_int_equal(lane_queues_oldest_sent_us(queues, 1), 102);
    lane_queues_return(queues, slots[2], 1);
    assert_int_equal(lane_queues_oldest_sent_us(queues, 1), 0);
    lane_queues_depart(queues, slots[2], 0, 200);
    assert_int_equal(lane_queues_oldest_sent_us(queues, 0), 200);
}

static void those_sent_before_a_time_are_counted_whatever_returns(void **state)
{
    struct lane_queues *queues = *state;
    uint32_t slots[6];
    for (int i = 0; i < 6; i++) {
        slots[i] = lane_queues_pop(queues, LANE_FREE);
        lane_queues_depart(queues, slots[i], 1, 100 + i);
    }
    assert_int_equal(lane_queues_overtaken(queues, 1, 0), 0);
    assert_int_equal(lane_queues_overtaken(queues, 1, 102), 2);
    assert_int_equal(lane_queues_overtaken(queues, 0, 102), 0);
    lane_queues_return(queues, slots[0], 1); /* one of them */
    assert_int_equal(lane_queues_overtaken(queues, 1, 102), 1);
    lane_queues_return(queues, slots[2], 1); /* the first of the others, and one further on */
    lane_queues_return(queues, slots[4], 1);
    assert_int_equal(lane_queues_overtaken(queues, 1, 50), 1); /* it never goes back */
    assert_int_equal(lane_queues_overtaken(queues, 1, 104), 2);
    assert_int_equal(lane_queues_overtaken(queues, 1, 1000), 3);
    lane_queues_return(queues, slots[5], 1);
    lane_queues_return(queues, slots[1], 1);
    lane_queues_return(queues, slots[3], 1);
    assert_int_equal(lane_queues_overtaken(queues, 1, 1000), 0);
    lane_queues_depart(queues, slots[0], 1, 1000);
    assert_int_equal(lane_queues_overtaken(queues, 1, 1000), 0);
    assert_int_equal(lane_queues_overtaken(queues, 1, 1001), 1);
}

/* A purge takes waiting slots away and leaves those alone whose request is out. */
static void clearing_keeps_what_is_out(void **state)
{
    struct lane_queues *queues = *state;
    uint32_t out = lane_queues_pop(queues, LANE_FREE), paused = lane_queues_pop(queues, LANE_FREE);
    uint32_t ready = lane_queues_pop(queues, LANE_FREE);
    lane_queues_depart(queues, out, 0, 1);
    lane_queues_pause(queues, paused, LANE_ASKING + 1, 10);
    lane_queues_append(queues, LANE_READY, ready);
    lane_queues_clear(queues);
    assert_int_equal(queues->slots[out].place, LANE_OUT);
    assert_int_equal(queues->slots[paused].place, LANE_LOOSE);
    assert_int_equal(queues->slots[ready].place, LANE_LOOSE);
    for (int list = 0; list < LANE_LISTS; list++)
        assert_int_equal(queues->lists[list].length, 0);
    assert_int_equal(lane_queues_wake(queues, 100), INT64_MAX);
    assert_int_equal(lane_queues_oldest_sent_us(queues, 0), 1);
    lane_queues_append(queues, LANE_FREE, paused);
    assert_int_equal(lane_queues_pop(queues, LANE_FREE), paused);
}

static void a_slot_is_taken_out_of_the_middle_of_a_list(void **state)
{
    struct lane_queues *queues = *state;
    const enum lane_place list = LANE_PINNED + 1;
    for (uint32_t taken = 0; taken < 3; taken++) {
        uint32_t slots[3];
        for (unsigned i = 0; i < 3; i++)
            lane_queues_append(queues, list, slots[i] = lane_queues_pop(queues, LANE_FREE));
        assert_true(lane_queues_withdraw(queues, slots[taken]));
        assert_false(lane_queues_withdraw(queues, slots[taken])); /* OUT already */
        assert_int_equal(queues->lists[list].length, 2);
        lane_queues_append(queues, list, slots[taken]);
        for (unsigned i = 0; i < 3; i++)
            assert_int_equal(lane_queues_pop(queues, list),
                             i < 2 ? slots[i < taken ? i : i + 1] : slots[taken]);
        assert_int_equal(lane_queues_first(queues, list), LANE_QUEUES_NONE);
    }
}

/* Again and again: what is left of a pause must not fill the heap, and the others keep their order.
 */
static void a_slot_is_taken_out_of_its_pause(void **state)
{
    struct lane_queues *queues = *state;
    int64_t due[SLOTS];
    srand(11);
    for (uint32_t i = 0; i < SLOTS; i++) {
        due[i] = rand() % 1000;
        lane_queues_pause(queues, lane_queues_pop(queues, LANE_FREE), LANE_PINNED, due[i]);
    }
    for (unsigned n = 0; n < 1000; n++) {
        uint32_t slot = (uint32_t)rand() % SLOTS;
        assert_true(lane_queues_withdraw(queues, slot));
        assert_int_equal(queues->pause_count, SLOTS - 1);
        due[slot] = rand() % 1000;
        lane_queues_pause(queues, slot, LANE_PINNED, due[slot]);
    }
    int64_t before = -1;
    for (int64_t now = 0; now < 1000; now++) {
        assert_true(lane_queues_wake(queues, now) > now);
        for (uint32_t slot; (slot = lane_queues_pop(queues, LANE_PINNED)) != LANE_QUEUES_NONE;) {
            assert_true(due[slot] >= before && due[slot] == now);
            before = due[slot];
        }
    }
    assert_int_equal(queues->pause_count, 0);
}

int main(void)
{
#define QUEUES_TEST(name) cmocka_unit_test_setup_teardown(name, create, destroy)
    const struct CMUnitTest tests[] = {
        QUEUES_TEST(all_slots_begin_free_in_order),
        QUEUES_TEST(a_list_is_first_in_first_out_but_for_what_is_put_back),
        QUEUES_TEST(pauses_end_in_the_order_of_their_times),
        QUEUES_TEST(a_pause_leads_to_the_list_it_was_meant_for),
        QUEUES_TEST(the_oldest_in_flight_is_known_whatever_returns_first),
        QUEUES_TEST(those_sent_before_a_time_are_counted_whatever_returns),
        QUEUES_TEST(clearing_keeps_what_is_out),
        QUEUES_TEST(a_slot_is_taken_out_of_the_middle_of_a_list),
        QUEUES_TEST(a_slot_is_taken_out_of_its_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
