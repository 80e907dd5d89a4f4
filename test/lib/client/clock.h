/* Time for the programs that load and judge the gateway. */
#ifndef TEST_LIB_CLIENT_CLOCK_H
#define TEST_LIB_CLIENT_CLOCK_H

#include <stddef.h>
#include <stdint.h>

enum { CLOCK_TEXT_SIZE = 32 };

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S  INT64_C(1000000000)

/* CLOCK_MONOTONIC in nanoseconds. */
int64_t clock_now_ns(void);

/* CLOCK_REALTIME in microseconds since the Unix epoch. */
int64_t clock_wall_us(void);

/* "YYYY-MM-DDThh:mm:ss.mmmZ" of a wall-clock time; what is below a millisecond is cut off. */
void clock_print_ms(int64_t wall_us, char out[CLOCK_TEXT_SIZE]);

/* Let waits of this process end when they should: the kernel otherwise gathers timers that lie
 * within 50 us of each other (prctl(2), PR_SET_TIMERSLACK), which is as long as a whole request. */
void clock_wake_on_time(void);

#endif
