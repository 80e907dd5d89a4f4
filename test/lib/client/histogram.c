#include "test/lib/client/histogram.h"

#include <inttypes.h>

static unsigned step_of(int64_t value)
{
    uint64_t v = (uint64_t)value;
    if (v < UINT64_C(2) << HISTOGRAM_STEP_BITS)
        return (unsigned)v;
    unsigned shift = 63U - (unsigned)__builtin_clzll(v) - HISTOGRAM_STEP_BITS;
    return (shift << HISTOGRAM_STEP_BITS) + (unsigned)(v >> shift);
}

static int64_t highest_of(unsigned step)
{
    if (step < 2U << HISTOGRAM_STEP_BITS)
        return step;
    unsigned shift = (step >> HISTOGRAM_STEP_BITS) - 1;
    uint64_t lowest = (uint64_t)(step - (shift << HISTOGRAM_STEP_BITS)) << shift;
    return (int64_t)(lowest + (UINT64_C(1) << shift) - 1);
}

void histogram_note(struct histogram *histogram, int64_t value_ns)
{
    if (value_ns < 0)
        value_ns = 0;
    histogram->steps[step_of(value_ns)]++;
    histogram->count++;
    histogram->sum_ns += (double)value_ns;
    if (value_ns > histogram->max_ns)
        histogram->max_ns = value_ns;
}

int64_t histogram_percentile(const struct histogram *histogram, unsigned per_100000)
{
    /* The smallest rank with at least that share at or below it. */
    uint64_t rank = (histogram->count * per_100000 + 99999) / 100000, seen = 0;
    for (unsigned step = 0; step < HISTOGRAM_STEPS; step++) {
        seen += histogram->steps[step];
        if (seen >= rank && seen > 0) {
            int64_t highest = highest_of(step);
            return highest < histogram->max_ns ? highest : histogram->max_ns;
        }
    }
    return 0;
}

static double us(int64_t ns)
{
    return (double)ns / 1000.0;
}

void histogram_write(const struct histogram *histogram, FILE *out)
{
    uint64_t count = histogram->count;
    fprintf(out,
            "{\"count\":%" PRIu64 ",\"mean\":%.1f,\"p50\":%.1f,\"p90\":%.1f,\"p99\":%.1f,"
            "\"p999\":%.1f,\"max\":%.1f}",
            count, count ? histogram->sum_ns / 1000.0 / (double)count : 0.0,
            us(histogram_percentile(histogram, 50000)), us(histogram_percentile(histogram, 90000)),
            us(histogram_percentile(histogram, 99000)), us(histogram_percentile(histogram, 99900)),
            us(histogram->max_ns));
}
