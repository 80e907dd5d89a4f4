#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/payment_age.h"

#define HOUR_MS INT64_C(3600000)
#define WALL_MS INT64_C(1795824000000)
#define NOW_US  INT64_C(86400000000)

/* The age in ms that follows, of a payment accepted `ago_ms` before now by the wall clock, and
 * whose ring was seen empty `empty_ms` ago. */
static int64_t age_ms(int64_t ago_ms, int64_t empty_ms)
{
    return (NOW_US -
            payment_age_accepted_us(WALL_MS - ago_ms, WALL_MS, NOW_US, NOW_US - empty_ms * 1000)) /
           1000;
}

static void test_steady_clock(void **state)
{
    (void)state;
    assert_int_equal(age_ms(0, 5), 0);
    assert_int_equal(age_ms(3, 5), 3);
    assert_int_equal(age_ms(5, 5), 5);
    assert_int_equal(age_ms(20000, 60000), 20000);
}

static void test_stepped_forward(void **state)
{
    (void)state;
    assert_int_equal(age_ms(HOUR_MS, 4), 4);
    assert_int_equal(age_ms(HOUR_MS + 20000, 60000), 60000);
}

static void test_stepped_back(void **state)
{
    (void)state;
    assert_int_equal(age_ms(-HOUR_MS, 4), 0);
    assert_int_equal(age_ms(20000 - HOUR_MS, 60000), 0);
}

static void test_limits_that_cross(void **state)
{
    (void)state;
    assert_int_equal(age_ms(10, 0), 0);
    assert_int_equal(age_ms(10, -7), 0); /* seen empty after now: an older turn's now */
}

static void test_any_number(void **state)
{
    (void)state;
    assert_int_equal(payment_age_accepted_us(INT64_MIN, WALL_MS, NOW_US, 0), 0);
    assert_int_equal(payment_age_accepted_us(INT64_MAX, -WALL_MS, NOW_US, 0), NOW_US);
    assert_int_equal(payment_age_accepted_us(0, INT64_MAX, NOW_US, NOW_US - 1000), NOW_US - 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_steady_clock), cmocka_unit_test(test_stepped_forward),
        cmocka_unit_test(test_stepped_back), cmocka_unit_test(test_limits_that_cross),
        cmocka_unit_test(test_any_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
