/* What a step of the protocol has to say to the journal. Pure.
 *
 *   QUEUED from FREE ─ ACCEPTED     SENT ─ BOUND     QUEUED from SENT ─ UNBOUND
 *   SETTLED ─ SETTLED               DUPLICATE, CONFLICT, REJECTED ─ ENDED
 *   whatever an operator decided ─ DECIDED
 *
 * Nothing is said of flags that only tell what is still to be done (a replay asks
 * and resends anyway), of records that are recycled (their payments have ended),
 * of single records that a purge clears (PURGED tells of all of them), nor of a
 * take-over's visits (whoever takes over tells of everything anew).
 */
#ifndef PAYRING_WORKER_JOURNAL_STEP_H
#define PAYRING_WORKER_JOURNAL_STEP_H

#include "worker/journal_format.h"
#include "worker/payment_protocol.h"

/* Fill in the image of the payment as it will stand after the step's stores.
 * JOURNAL_NOTHING: there is nothing to say. `row_count` is the ledger's: the row
 * that the step writes, if it does. */
enum journal_kind journal_step_image(struct journal_payment *, const struct payment_view *before,
                                     const struct payment_event *, const struct payment_step *,
                                     uint64_t row_count);

#endif
