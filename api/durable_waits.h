/* Payments that are accepted and whose answer waits for the disk (durability sync).
 *
 * One timer looks at all of them, every millisecond while there are any: what a lane has become
 * durable up to is two words in memory. Answered in any order, each within its deadline. */
#ifndef PAYRING_API_DURABLE_WAITS_H
#define PAYRING_API_DURABLE_WAITS_H

#include <h2o.h>

#include "api/api.h"

/* true: the answer will be given, by `answer`, when the payment is known to be durable, or not to
 * become so in time. false: DURABLE_WAITS_MAX wait already. Lives in the request's pool and ends
 * with it. */
bool durable_waits_add(struct api *, h2o_req_t *, const struct payment_intake_receipt *,
                       void (*answer)(struct api *, h2o_req_t *, enum payment_intake_durability));

#endif
