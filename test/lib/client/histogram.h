/* Counts of durations, log-linear: every power of two is divided into 128 equal steps.
 *
 *   value (ns)    0..255   256..511   512..1023   ...   2^62..2^63-1
 *   step (ns)        1         2          4       ...      2^55
 *
 * So a percentile is off by less than 1/128 of itself (0.8 %), upwards: what is reported is the
 * highest value of its step, but never more than the highest value noted. Size is fixed, noting
 * costs a shift and an increment.
 */
#ifndef TEST_LIB_CLIENT_HISTOGRAM_H
#define TEST_LIB_CLIENT_HISTOGRAM_H

#include <stdint.h>
#include <stdio.h>

enum {
    HISTOGRAM_STEP_BITS = 7,
    HISTOGRAM_STEPS = (63 - HISTOGRAM_STEP_BITS + 1) << HISTOGRAM_STEP_BITS
};

/* All zeros is an empty one. */
struct histogram {
    uint64_t count;
    int64_t max_ns;
    double sum_ns;
    uint64_t steps[HISTOGRAM_STEPS];
};

/* Note one duration; a negative one is noted as 0. */
void histogram_note(struct histogram *histogram, int64_t value_ns);

/* The value that so many of 100,000 noted ones do not exceed (50000: the median). 0 if empty. */
int64_t histogram_percentile(const struct histogram *histogram, unsigned per_100000);

/* Write as a JSON object: count, and mean, p50, p90, p99, p999 (99.9 %) and max in microseconds. */
void histogram_write(const struct histogram *histogram, FILE *out);

#endif
