/* The shared health report: packed, unpacked, saturated. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shm/shm_health.h"
#include "test/unit/shm_fixture.h"

static void no_report_yet(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_health_report report;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        assert_false(shm_health_read(&f->region, p, &report));
        assert_int_equal(shm_health_called_at(&f->region, p), 0);
    }
}

static void a_report_is_read_as_it_was_published(void **state)
{
    struct shm_fixture *f = *state;
    const struct shm_health_report reports[] = {
        {false, 0, 0},
        {true, 0, 1},
        {false, 1048574, UINT64_C(1) << 41},
        {true, 1048575, (UINT64_C(1) << 42) - 1},
    };
    for (size_t i = 0; i < sizeof reports / sizeof reports[0]; i++) {
        struct shm_health_report read;
        shm_health_publish(&f->region, 1, &reports[i]);
        assert_true(shm_health_read(&f->region, 1, &read));
        assert_int_equal(read.failing, reports[i].failing);
        assert_int_equal(read.min_response_ms, reports[i].min_response_ms);
        assert_int_equal(read.checked_at_monotonic_ms, reports[i].checked_at_monotonic_ms);
        assert_false(shm_health_read(&f->region, 0, &read)); /* the other one's is its own */
    }
}

static void long_times_saturate(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_health_report read,
        report = {.failing = false, .min_response_ms = INT64_MAX, .checked_at_monotonic_ms = 5};
    shm_health_publish(&f->region, 0, &report);
    assert_true(shm_health_read(&f->region, 0, &read));
    assert_int_equal(read.min_response_ms, 1048575);
    assert_int_equal(read.checked_at_monotonic_ms, 5);
    assert_false(read.failing);
}

static void calls_are_noted_for_a_successor(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_region successor;
    shm_health_note_call(&f->region, 0, 12345);
    shm_health_note_call(&f->region, 1, 54321);
    assert_int_equal(shm_region_attach(&successor, f->name, 0, NULL), STATUS_OK);
    assert_int_equal(shm_health_called_at(&successor, 0), 12345);
    assert_int_equal(shm_health_called_at(&successor, 1), 54321);
    shm_region_detach(&successor);
}

static void read_of_a_third_processor(struct shm_fixture *f)
{
    struct shm_health_report report;
    (void)shm_health_read(&f->region, SHM_PROCESSORS, &report);
}

static void there_are_two_processors(void **state)
{
    assert_int_equal(shm_fixture_signal_of(read_of_a_third_processor, *state), SIGABRT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(no_report_yet),
        SHM_FIXTURE_TEST(a_report_is_read_as_it_was_published),
        SHM_FIXTURE_TEST(long_times_saturate),
        SHM_FIXTURE_TEST(calls_are_noted_for_a_successor),
        SHM_FIXTURE_TEST(there_are_two_processors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
