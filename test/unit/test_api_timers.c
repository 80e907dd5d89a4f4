#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "api/api_timers.h"

#define LONGEST 1000

struct probe {
    struct api_timer timer; /* first: a timer is its probe */
    struct api_timers *timers;
    struct api_timer *cancels;
    int64_t again_ms; /* 0: not again */
    unsigned rung;
    unsigned place; /* in the order of ringing */
};

static unsigned rings;

static void ring(struct api_timer *timer)
{
    struct probe *probe = (struct probe *)timer;
    probe->rung++;
    probe->place = ++rings;
    if (probe->cancels)
        api_timers_cancel(probe->cancels);
    if (probe->again_ms)
        api_timers_set(probe->timers, timer, probe->again_ms, ring);
}

static int forget_rings(void **state)
{
    (void)state;
    rings = 0;
    return 0;
}

static void they_ring_when_due_in_order(void **state)
{
    (void)state;
    struct api_timers timers = {NULL};
    struct probe late = {.again_ms = 0}, early = late, second = late;
    api_timers_set(&timers, &late.timer, 30, ring);
    api_timers_set(&timers, &early.timer, 10, ring);
    api_timers_set(&timers, &second.timer, 10, ring);
    assert_int_equal(api_timers_wait_ms(&timers, 4, LONGEST), 6);
    assert_false(api_timers_ring(&timers, 9));
    assert_int_equal(rings, 0);
    assert_true(api_timers_ring(&timers, 10));
    assert_int_equal(early.place, 1);
    assert_int_equal(second.place, 2);
    assert_int_equal(late.rung, 0);
    assert_true(api_timers_ring(&timers, 1000));
    assert_int_equal(late.place, 3);
    assert_false(api_timers_ring(&timers, 2000));
    assert_int_equal(rings, 3);
}

static void the_wait_has_limits(void **state)
{
    (void)state;
    struct api_timers timers = {NULL};
    struct probe probe = {.again_ms = 0};
    assert_int_equal(api_timers_wait_ms(&timers, 5, LONGEST), LONGEST);
    api_timers_set(&timers, &probe.timer, INT64_MAX / 2, ring);
    assert_int_equal(api_timers_wait_ms(&timers, 5, LONGEST), LONGEST);
    api_timers_set(&timers, &probe.timer, 5 + LONGEST - 1, ring);
    assert_int_equal(api_timers_wait_ms(&timers, 5, LONGEST), LONGEST - 1);
    api_timers_set(&timers, &probe.timer, 3, ring);
    assert_int_equal(api_timers_wait_ms(&timers, 5, LONGEST), 0);
}

static void one_is_moved_or_cancelled(void **state)
{
    (void)state;
    struct api_timers timers = {NULL};
    struct probe a = {.again_ms = 0}, b = a, c = a;
    api_timers_set(&timers, &a.timer, 1, ring);
    api_timers_set(&timers, &b.timer, 2, ring);
    api_timers_set(&timers, &c.timer, 3, ring);
    api_timers_set(&timers, &a.timer, 4, ring);
    api_timers_cancel(&b.timer);
    api_timers_cancel(&b.timer);
    assert_true(api_timers_ring(&timers, 3));
    assert_int_equal(c.place, 1);
    assert_true(api_timers_ring(&timers, 4));
    assert_int_equal(a.place, 2);
    assert_int_equal(b.rung, 0);
    assert_null(timers.first);
}

static void one_that_sets_itself_rings_at_the_next_call(void **state)
{
    (void)state;
    struct api_timers timers = {NULL};
    struct probe probe = {.timers = &timers, .again_ms = 1};
    api_timers_set(&timers, &probe.timer, 1, ring);
    assert_true(api_timers_ring(&timers, 5));
    assert_int_equal(probe.rung, 1);
    probe.again_ms = 0;
    assert_true(api_timers_ring(&timers, 5));
    assert_int_equal(probe.rung, 2);
    assert_false(api_timers_ring(&timers, 5));
}

static void one_that_is_due_can_be_cancelled_by_another(void **state)
{
    (void)state;
    struct api_timers timers = {NULL};
    struct probe victim = {.again_ms = 0}, last = victim;
    struct probe first = {.cancels = &victim.timer};
    api_timers_set(&timers, &first.timer, 1, ring);
    api_timers_set(&timers, &victim.timer, 1, ring);
    api_timers_set(&timers, &last.timer, 1, ring);
    assert_true(api_timers_ring(&timers, 1));
    assert_int_equal(victim.rung, 0);
    assert_int_equal(last.rung, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(they_ring_when_due_in_order, forget_rings),
        cmocka_unit_test_setup(the_wait_has_limits, forget_rings),
        cmocka_unit_test_setup(one_is_moved_or_cancelled, forget_rings),
        cmocka_unit_test_setup(one_that_sets_itself_rings_at_the_next_call, forget_rings),
        cmocka_unit_test_setup(one_that_is_due_can_be_cancelled_by_another, forget_rings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
