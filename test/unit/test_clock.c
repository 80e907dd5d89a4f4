/* The clocks: each is the kernel's clock of its name, in the unit of its name. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <time.h>

#include "common/clock.h"

static int64_t kernel_us(clockid_t id)
{
    struct timespec now;

    assert_int_equal(clock_gettime(id, &now), 0);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* What the kernel says before and after encloses what is said in between. */
static void monotonic_time_is_the_kernels(void **state)
{
    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t before = kernel_us(CLOCK_MONOTONIC);
        int64_t us = clock_monotonic_us(), ms = clock_monotonic_ms();
        int64_t after = kernel_us(CLOCK_MONOTONIC);
        assert_true(before <= us && us <= after);
        assert_true(us / 1000 <= ms && ms <= after / 1000);
    }
}

/* The wall clock may be set while the test runs; it will not be set in each of many tries. */
static void wall_time_is_the_kernels(void **state)
{
    int good = 0;

    (void)state;
    for (int i = 0; i < 1000; i++) {
        int64_t before = kernel_us(CLOCK_REALTIME);
        int64_t us = clock_wall_us(), ms = clock_wall_ms();
        int64_t after = kernel_us(CLOCK_REALTIME);
        good += before <= us && us <= after && us / 1000 <= ms && ms <= after / 1000;
    }
    assert_true(good > 900);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(monotonic_time_is_the_kernels),
        cmocka_unit_test(wall_time_is_the_kernels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
