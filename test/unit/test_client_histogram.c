/* The histogram that every latency of the benchmarks goes through. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "test/lib/client/histogram.h"

static struct histogram histogram;

static int clear(void **state)
{
    (void)state;
    memset(&histogram, 0, sizeof histogram);
    return 0;
}

static void test_empty(void **state)
{
    (void)state;
    assert_int_equal(histogram_percentile(&histogram, 99000), 0);
}

static void assert_within_1_percent(int64_t got, int64_t value)
{
    assert_true(got >= value);
    assert_true(got - value <= value / 100);
}

/* With one larger value above it, nothing but the step itself limits what is reported. */
static void test_resolution_is_1_percent_everywhere(void **state)
{
    (void)state;
    for (unsigned shift = 0; shift < 62; shift++) {
        for (int64_t part = 0; part < 37; part++) {
            int64_t value = (INT64_C(1) << shift) + ((INT64_C(1) << shift) / 37) * part;
            memset(&histogram, 0, sizeof histogram);
            histogram_note(&histogram, value);
            histogram_note(&histogram, INT64_MAX);
            assert_within_1_percent(histogram_percentile(&histogram, 50000), value);
        }
    }
}

static void test_small_values_are_exact(void **state)
{
    (void)state;
    for (int64_t value = 0; value < 256; value++) {
        memset(&histogram, 0, sizeof histogram);
        histogram_note(&histogram, value);
        histogram_note(&histogram, INT64_MAX);
        assert_int_equal(histogram_percentile(&histogram, 50000), value);
    }
}

static int ascending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? -1 : x > y;
}

/* Against sorting: values over seven powers of ten. */
static void test_percentiles_are_those_of_the_sorted_values(void **state)
{
    (void)state;
    enum { COUNT = 20000 };
    static int64_t values[COUNT];
    static const unsigned PERCENTILES[] = {1000, 50000, 90000, 99000, 99900, 100000};
    uint64_t random = 20250715;
    for (unsigned i = 0; i < COUNT; i++) {
        random = random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
        values[i] = (int64_t)((random >> 34) >> (random >> 60));
        histogram_note(&histogram, values[i]);
    }
    qsort(values, COUNT, sizeof *values, ascending);
    for (unsigned i = 0; i < sizeof PERCENTILES / sizeof *PERCENTILES; i++) {
        size_t rank = (size_t)COUNT * PERCENTILES[i] / 100000;
        assert_within_1_percent(histogram_percentile(&histogram, PERCENTILES[i]), values[rank - 1]);
    }
}

static void test_the_highest_is_exact_and_never_exceeded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++)
        histogram_note(&histogram, 1000001);
    assert_int_equal(histogram.max_ns, 1000001);
    assert_int_equal(histogram_percentile(&histogram, 50000), 1000001);
    assert_int_equal(histogram_percentile(&histogram, 100000), 1000001);
}

static void test_negative_is_zero(void **state)
{
    (void)state;
    histogram_note(&histogram, -5);
    assert_int_equal(histogram.count, 1);
    assert_int_equal(histogram_percentile(&histogram, 100000), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_empty, clear),
        cmocka_unit_test_setup(test_resolution_is_1_percent_everywhere, clear),
        cmocka_unit_test_setup(test_small_values_are_exact, clear),
        cmocka_unit_test_setup(test_percentiles_are_those_of_the_sorted_values, clear),
        cmocka_unit_test_setup(test_the_highest_is_exact_and_never_exceeded, clear),
        cmocka_unit_test_setup(test_negative_is_zero, clear),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
