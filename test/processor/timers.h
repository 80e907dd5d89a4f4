/* Timers of arbitrary length on the monotonic clock: a heap, earliest first.
 *
 * libh2o's own timeouts have one length per list; the delays here change from
 * request to request. The server links the two: see server_run. One thread.
 */
#ifndef PROCESSOR_TIMERS_H
#define PROCESSOR_TIMERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Embedded in what it wakes; all zeros is a timer that is not set. */
struct timer {
    int64_t due_us;
    uint64_t order; /* equal times ring in the order they were set */
    size_t place;   /* 1 + index in the heap, 0 = not set */
    void (*ring)(struct timer *timer);
};

struct timers {
    struct timer **heap;
    size_t count;
    size_t room;
    uint64_t orders;
};

/* Set a timer that is not set: `ring` is called once, from timers_ring, not
 * before so many milliseconds have passed. The timer stays the caller's. */
void timers_set(struct timers *timers, struct timer *timer, int64_t after_ms,
                void (*ring)(struct timer *timer));

/* Take a timer back. One that is not set stays as it is. */
void timers_cancel(struct timers *timers, struct timer *timer);

/* Milliseconds until the earliest is due, rounded up; 0 = one is due now;
 * at most `longest_ms`, also when there is none. */
int timers_wait_ms(const struct timers *timers, int longest_ms);

/* Ring all that are due. They may set and cancel timers; what they set rings
 * in a later call. */
void timers_ring(struct timers *timers);

/* Now, by the monotonic clock, in microseconds. */
int64_t timers_now_us(void);

#endif
