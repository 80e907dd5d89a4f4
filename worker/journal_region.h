/* From a lane of a region to its journal: what stands in the region is told as a
 * digest. Caller: the lane's owner, or the creator of a region without a name.
 */
#ifndef PAYRING_WORKER_JOURNAL_REGION_H
#define PAYRING_WORKER_JOURNAL_REGION_H

#include "shm/shm_payments.h"
#include "worker/journal_digest.h"

/* A record of the table as the journal tells of it. */
struct journal_payment journal_region_image(const struct shm_payments *, uint32_t record);

/* What OPENED says of a lane whose owner goes on. */
struct journal_payment journal_region_opened(const struct shm_region *, unsigned lane);

struct journal_identity journal_region_identity(const struct shm_region *, unsigned lane);

/* Set the scalars of a digest that stands for the lane as it is, and put its rows
 * that count and the payments that have not ended. Ids come before. */
void journal_region_put(struct journal_digest_writer *, const struct shm_region *, unsigned lane);

/* Begin a lane's journal anew from its living region, after it had failed or was
 * damaged: one digest takes the place of all that is not digested. Ids that only
 * the bad part told of are taken from it as far as it can be read, and from the payment table:
 * those that were accepted and recycled while the journal had failed are told of nowhere.
 *
 * Caller:  nobody has the journal open.
 * Crash:   the old journal stands, or the new digest does.
 */
enum status journal_begin_anew(const struct journal_disk *, const char *directory,
                               const struct shm_region *, unsigned lane, uint32_t segment_records,
                               struct explain *why);

#endif
