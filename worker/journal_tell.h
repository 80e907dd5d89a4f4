/* From a step of a lane to its record in the journal: what lane_memory calls before it stores. */
#ifndef PAYRING_WORKER_JOURNAL_TELL_H
#define PAYRING_WORKER_JOURNAL_TELL_H

#include "worker/journal.h"
#include "worker/payment_protocol.h"

/* Append what the step has to say (journal_step.h). Returns its sequence number; 0: nothing, or the
 * journal has failed. As lane_memory.tell wants it. */
uint64_t journal_tell(struct journal *, uint32_t record, const struct payment_view *before,
                      const struct payment_event *, const struct payment_step *,
                      uint64_t row_count);

#endif
