#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/journal_ids.h"

static struct uuid id_of(uint64_t number)
{
    return (struct uuid){.hi = number, .lo = ~number};
}

static struct journal_ids *make(uint64_t ids_max)
{
    struct uuid seed = {.hi = 3, .lo = 5};
    struct journal_ids *ids = journal_ids_create(ids_max, &seed);
    assert_non_null(ids);
    return ids;
}

static void add_old(struct journal_ids *ids, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        struct uuid id = id_of(i);
        journal_ids_add_old(ids, &id);
    }
}

static void add_young(struct journal_ids *ids, uint64_t from, uint64_t to)
{
    for (uint64_t i = from; i < to; i++) {
        struct uuid id = id_of(i);
        journal_ids_add(ids, &id);
    }
}

static uint64_t known(struct journal_ids *ids, uint64_t from, uint64_t to)
{
    uint64_t count = 0;
    for (uint64_t i = from; i < to; i++) {
        struct uuid id = id_of(i);
        count += journal_ids_may_know(ids, &id);
    }
    return count;
}

static void nothing_is_certain_before_all_is_loaded(void **state)
{
    (void)state;
    struct journal_ids *ids = make(1 << 20);
    add_young(ids, 0, 10);
    assert_int_equal(known(ids, 0, 1000), 1000);
    add_old(ids, 10, 20);
    assert_int_equal(known(ids, 0, 1000), 1000);
    journal_ids_loaded(ids);
    assert_int_equal(known(ids, 0, 20), 20);
    assert_true(known(ids, 20, 1000) < 10);
    journal_ids_destroy(ids);
}

static void each_id_is_known_and_hardly_another(void **state)
{
    (void)state;
    struct journal_ids *ids = make(1 << 20);
    add_old(ids, 0, 400000);
    journal_ids_loaded(ids);
    add_young(ids, 400000, 1000000);
    assert_int_equal(known(ids, 0, 1000000), 1000000);
    /* Some ten parts, each of which is wrong about one id in a thousand. */
    assert_true(known(ids, 1000000, 1100000) < 2000);
    /* 2 bytes an id, and a part that is not full. */
    assert_in_range(journal_ids_bytes(ids), 2000000, 4000000);
    journal_ids_destroy(ids);
}

/* The oldest go first, and none goes that is not forgotten. */
static void what_is_forgotten_goes_in_the_order_of_acceptance(void **state)
{
    (void)state;
    struct journal_ids *ids = make(1 << 16); /* parts of 4,096, 8,192 and 16,384 */
    add_old(ids, 0, 20000);
    journal_ids_loaded(ids);
    add_young(ids, 20000, 60000);
    uint64_t all = journal_ids_bytes(ids), forgotten = 0;
    for (; forgotten < 60000; forgotten += 1000) {
        assert_int_equal(known(ids, forgotten, 60000), 60000 - forgotten);
        journal_ids_forget(ids, 1000);
    }
    assert_true(known(ids, 0, 4096) < 200); /* the last part stays, and is wrong at times */
    assert_true(journal_ids_bytes(ids) <= 2 * 16384 && all > 120000);
    add_young(ids, 60000, 100000);
    assert_int_equal(known(ids, 60000, 100000), 40000);
    journal_ids_destroy(ids);
}

static void given_up_they_take_no_more_memory(void **state)
{
    (void)state;
    struct journal_ids *ids = journal_ids_create(1 << 20, &(struct uuid){.hi = 1});
    assert_non_null(ids);
    journal_ids_give_up(ids);
    for (uint64_t i = 0; i < 10000; i++)
        journal_ids_add(ids, &(struct uuid){.hi = i, .lo = i});
    assert_int_equal(journal_ids_bytes(ids), 0);
    assert_true(journal_ids_may_know(ids, &(struct uuid){.hi = 7, .lo = 8}));
    journal_ids_destroy(ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(given_up_they_take_no_more_memory),
        cmocka_unit_test(nothing_is_certain_before_all_is_loaded),
        cmocka_unit_test(each_id_is_known_and_hardly_another),
        cmocka_unit_test(what_is_forgotten_goes_in_the_order_of_acceptance),
    };
    return cmocka_run_group_tests_name("journal_ids", tests, NULL, NULL);
}
