/* Read everything in a region and say what contradicts what.
 *
 * Only reads; takes no lease; may run beside the live processes: what is in
 * motion is looked at again before it is called a finding. */
#ifndef PAYRING_SHM_CHECK_H
#define PAYRING_SHM_CHECK_H

#include <stdio.h>

#include "common/status.h"
#include "shm/shm_region.h"

struct shm_check_result {
    uint64_t findings;
    uint64_t records, rows, entries; /* looked at: not FREE, published, in rings */
    uint64_t files;                  /* of the ledger, whole and as their rows say */
};

/* Check a region; each finding is one sentence on `out`.
 *
 *   rings     counts within their slots; entries of the right lane, with an
 *             amount and generation that can be
 *   tables    checksum, state, lane; no id twice; SETTLED names a published row
 *             that holds its processor, amount and requestedAt, and no two the
 *             same; SENT is not below lowest_bound_us; found through the index
 *   ledgers   every row decodes; every full entry of the index is what its rows
 *             say; counts within the ledger; the same of every file
 *             from the first row that counts on (region->archive), every byte of
 *             which is what its checksum says
 *   counts    `unsettled` is never below the open records; equal while the
 *             owner sleeps
 *
 * STATUS_SYSTEM: no memory for the comparison; the result is not complete.
 */
enum status shm_check(const struct shm_region *, FILE *out, struct shm_check_result *,
                      struct explain *why);

#endif
