/* When a payment was accepted, on the clock that nobody sets: its age is what the deadline is
 * measured by, and a wall clock that is stepped by an hour must not make every waiting payment look
 * an hour older, and be sent to the dearer processor at once.
 *
 * The ring and the record carry the wall clock of the acceptance, which people read. The lane turns
 * it into monotonic time once, when it takes the payment in or takes the lane over, and knows
 * limits that hold whatever the wall clock does: not after now, and not before its ring was last
 * seen empty (at a take-over: before the region was made). While a lane keeps up with its rings,
 * these are milliseconds apart.
 */
#ifndef PAYRING_WORKER_PAYMENT_AGE_H
#define PAYRING_WORKER_PAYMENT_AGE_H

#include <stdint.h>

/* Monotonic us of the acceptance at wall_ms; now by both clocks, not_before_us monotonic. Pure and
 * total: the limits win over any wall clock. */
int64_t payment_age_accepted_us(int64_t accepted_at_wall_ms, int64_t now_wall_ms, int64_t now_us,
                                int64_t not_before_us);

#endif
