/* When each request is to begin. Pure.
 *
 * The rate changes linearly from first_per_s to last_per_s over the duration; the same twice is a
 * fixed rate. Request n is due when n requests should have begun, so nothing that the server or
 * this machine does moves it: that is what makes the load open-loop.
 */
#ifndef TEST_BENCH_LOAD_SCHEDULE_H
#define TEST_BENCH_LOAD_SCHEDULE_H

#include <stdint.h>

struct schedule {
    double first_per_s, last_per_s;
    double duration_s;
};

/* How many requests begin within the duration. */
uint64_t schedule_count(const struct schedule *schedule);

/* The part of it until then, which is due as before. */
struct schedule schedule_until(const struct schedule *schedule, double seconds);

/* When request n (from 0, below schedule_count) begins, in nanoseconds from the start. */
int64_t schedule_due_ns(const struct schedule *schedule, uint64_t n);

#endif
