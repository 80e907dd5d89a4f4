/* Timers of the API's event loop, on the monotonic clock.
 *
 * libh2o has timers of its own, but they count in wall-clock time: when somebody sets the clock
 * back they stand still for as long. What must happen in time (the beat, the deadline of a purge,
 * accepting again) is kept here instead, and the loop waits no longer than these allow.
 */
#ifndef PAYRING_API_TIMERS_H
#define PAYRING_API_TIMERS_H

#include <stdbool.h>
#include <stdint.h>

struct api_timer {
    int64_t due_ms; /* monotonic */
    void (*ring)(struct api_timer *);
    struct api_timer *next;
    struct api_timer **link; /* what points to this one; NULL: not set */
};

/* In the order they are due. All zeros: none set. The list points into itself: do not copy it. */
struct api_timers {
    struct api_timer *first;
};

/* Ring once, when due_ms has come. One that is set is moved. Linear in the number of timers that
 * are due before it, and those are few (API_WAITING_MAX). The timer is the caller's: it stays where
 * it is until it rings or is cancelled. */
void api_timers_set(struct api_timers *, struct api_timer *, int64_t due_ms,
                    void (*ring)(struct api_timer *));
void api_timers_cancel(struct api_timer *); /* nothing if it is not set */

/* ms until the first is due, at least 0 and at most longest_ms. */
int32_t api_timers_wait_ms(const struct api_timers *, int64_t now_ms, int32_t longest_ms);

/* Ring all that are due; true if there was one. A timer may set itself anew, or set and cancel
 * others: one that is set while ringing rings at the next call at the earliest. */
bool api_timers_ring(struct api_timers *, int64_t now_ms);

#endif
