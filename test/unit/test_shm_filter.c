/* The filter of forgotten records: no false negatives, few false positives, rotation. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shm/shm_filter.h"
#include "test/unit/shm_fixture.h"

#define CAPACITY 4096u /* of the fixture */

/* Ids of one kind, sequential on purpose: real ones are rarely that bad. */
static struct uuid id_of(uint64_t kind, uint64_t n)
{
    return (struct uuid){.hi = kind, .lo = n};
}

static void remember_range(struct shm_filter_handle *filter, uint64_t kind, uint64_t count)
{
    for (uint64_t n = 0; n < count; n++) {
        struct uuid id = id_of(kind, n);
        shm_filter_remember(filter, &id, INT64_MAX);
    }
}

static uint64_t known(const struct shm_filter_handle *filter, uint64_t kind, uint64_t count)
{
    uint64_t hits = 0;
    for (uint64_t n = 0; n < count; n++) {
        struct uuid id = id_of(kind, n);
        hits += shm_filter_contains(filter, &id);
    }
    return hits;
}

static void remembers_all_and_little_else(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_filter_handle filter;
    const uint64_t probes = 200000;
    shm_filter_open(&filter, &f->region, 0);
    assert_int_equal(known(&filter, 9, probes), 0); /* empty */
    assert_false(shm_filter_is_full(&filter));
    remember_range(&filter, 1, CAPACITY);
    assert_true(shm_filter_is_full(&filter));
    shm_filter_rotate(&filter, 0);
    assert_false(shm_filter_is_full(&filter));
    remember_range(&filter, 2, CAPACITY);
    assert_true(shm_filter_is_full(&filter));

    /* Both full: every id is known, and of others about 1 in 500. */
    assert_int_equal(known(&filter, 1, CAPACITY), CAPACITY);
    assert_int_equal(known(&filter, 2, CAPACITY), CAPACITY);
    uint64_t false_hits = known(&filter, 3, probes);
    print_message("# false positives: %llu in %llu\n", (unsigned long long)false_hits,
                  (unsigned long long)probes);
    assert_true(false_hits <= probes / 400); /* six standard deviations more */
}

static void the_older_generation_is_forgotten_whole(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_filter_handle filter;
    shm_filter_open(&filter, &f->region, 0);
    for (uint64_t kind = 1; kind <= 5; kind++) {
        remember_range(&filter, kind, CAPACITY);
        assert_int_equal(known(&filter, kind, CAPACITY), CAPACITY);
        if (kind > 1)
            assert_int_equal(known(&filter, kind - 1, CAPACITY), CAPACITY);
        if (kind > 2)
            assert_true(known(&filter, kind - 2, CAPACITY) <= CAPACITY / 100);
        shm_filter_rotate(&filter, 0);
    }
}

static void what_is_forgotten_has_an_age(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_filter_handle filter;
    struct uuid id = id_of(1, 1);
    shm_filter_open(&filter, &f->region, 0);
    shm_filter_rotate(&filter, 1000);
    /* The older generation is empty: forgetting it forgets nothing. */
    assert_int_equal(shm_filter_rotation_age_ms(&filter, 1000), INT64_MAX);
    shm_filter_remember(&filter, &id, INT64_MAX);
    assert_int_equal(shm_filter_rotation_age_ms(&filter, 1500), INT64_MAX);
    shm_filter_rotate(&filter, 5000);
    /* Now it holds an id that is at least as old as the active one. */
    assert_int_equal(shm_filter_rotation_age_ms(&filter, 5000), 0);
    assert_int_equal(shm_filter_rotation_age_ms(&filter, 65000), 60000);
    shm_filter_rotate(&filter, 70000);
    assert_int_equal(shm_filter_rotation_age_ms(&filter, 90000), INT64_MAX);
    assert_false(shm_filter_contains(&filter, &id));
}

static void adopted_times_go_with_their_generation(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_filter_handle filter;
    struct uuid id = id_of(1, 1);
    shm_filter_open(&filter, &f->region, 0);
    assert_int_equal(shm_filter_forgotten_adopted_us(&filter), INT64_MAX);
    shm_filter_remember(&filter, &id, 500);
    shm_filter_remember(&filter, &id, 300);
    shm_filter_remember(&filter, &id, 400);
    shm_filter_remember(&filter, &id, INT64_MAX);
    assert_int_equal(shm_filter_forgotten_adopted_us(&filter), INT64_MAX); /* not the older one */
    shm_filter_rotate(&filter, 0);
    assert_int_equal(shm_filter_forgotten_adopted_us(&filter), 300);
    shm_filter_remember(&filter, &id, 100);
    assert_int_equal(shm_filter_forgotten_adopted_us(&filter), 300);
    shm_filter_rotate(&filter, 0);
    assert_int_equal(shm_filter_forgotten_adopted_us(&filter), 100);
    shm_filter_rotate(&filter, 0);
    assert_int_equal(shm_filter_forgotten_adopted_us(&filter), INT64_MAX);
}

static void lanes_remember_for_themselves(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_filter_handle filters[2];
    struct uuid id = id_of(7, 7);
    for (unsigned lane = 0; lane < 2; lane++)
        shm_filter_open(&filters[lane], &f->region, lane);
    shm_filter_remember(&filters[0], &id, INT64_MAX);
    assert_true(shm_filter_contains(&filters[0], &id));
    assert_false(shm_filter_contains(&filters[1], &id));
    shm_filter_open(&filters[0], &f->region, 0); /* a new owner */
    assert_true(shm_filter_contains(&filters[0], &id));
}

/* The owner is killed while it remembers and rotates; what it said it remembered is known. */
static void a_killed_owner_forgets_nothing_it_has_said(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_filter_handle filter;
    uint64_t n = 0;
    int said[2];
    shm_filter_open(&filter, &f->region, 0);
    for (int round = 0; round < 20; round++) {
        uint64_t last = n;
        assert_int_equal(pipe(said), 0);
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (;; n++) {
                struct uuid id = id_of(1, n);
                if (shm_filter_is_full(&filter))
                    shm_filter_rotate(&filter, (int64_t)n);
                shm_filter_remember(&filter, &id, INT64_MAX);
                if (write(said[1], &n, sizeof n) != sizeof n)
                    _exit(1);
            }
        }
        close(said[1]);
        for (int i = 0; i < 300; i++)
            assert_int_equal(read(said[0], &last, sizeof last), sizeof last);
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        while (read(said[0], &last, sizeof last) == sizeof last)
            continue;
        close(said[0]);
        for (uint64_t i = last >= CAPACITY ? last - CAPACITY + 1 : 0; i <= last; i++) {
            struct uuid id = id_of(1, i);
            assert_true(shm_filter_contains(&filter, &id));
        }
        n = last + 1;
    }
}

/* It died after it had emptied the older generation and before the switch. */
static void a_rotation_that_was_cut_off_is_done_again(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_filter_handle filter;
    shm_filter_open(&filter, &f->region, 0);
    remember_range(&filter, 1, CAPACITY);
    shm_filter_rotate(&filter, 100);
    remember_range(&filter, 2, CAPACITY);
    uint64_t active = atomic_load(&filter.meta->active);
    shm_filter_rotate(&filter, 200);
    atomic_store(&filter.meta->active, active);
    shm_filter_open(&filter, &f->region, 0);
    assert_true(shm_filter_is_full(&filter));
    assert_int_equal(shm_filter_rotation_age_ms(&filter, 300), INT64_MAX); /* it is empty */
    shm_filter_rotate(&filter, 300);
    assert_false(shm_filter_is_full(&filter));
    assert_int_equal(known(&filter, 2, CAPACITY), CAPACITY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(remembers_all_and_little_else),
        SHM_FIXTURE_TEST(the_older_generation_is_forgotten_whole),
        SHM_FIXTURE_TEST(what_is_forgotten_has_an_age),
        SHM_FIXTURE_TEST(adopted_times_go_with_their_generation),
        SHM_FIXTURE_TEST(lanes_remember_for_themselves),
        SHM_FIXTURE_TEST(a_killed_owner_forgets_nothing_it_has_said),
        SHM_FIXTURE_TEST(a_rotation_that_was_cut_off_is_done_again),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
