/* A lane's payment table: records, and the hash index that finds them by id.
 *
 * The owner writes; APIs read while it changes. The index (chains of record
 * numbers) is a hint for readers: a hit is verified against the record, a miss
 * may be wrong and is harmless (the payment is enqueued and recognised by the
 * lane). For the owner it is exact; it is rebuilt from the records at take-over.
 */
#ifndef PAYRING_SHM_PAYMENTS_H
#define PAYRING_SHM_PAYMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"
#include "shm/shm_region.h"

#define SHM_PAYMENTS_NONE UINT32_MAX

struct shm_payments {
    struct shm_payment *records;
    _Atomic uint32_t *heads; /* record number + 1 */
    _Atomic uint32_t *next;
    uint32_t slots;
    uint32_t heads_mask;
};

/* A consistent copy of one record. */
struct shm_payment_snapshot {
    enum payment_state state;
    unsigned processor, flags, refusals, attempts, epoch;
    struct uuid id;
    int64_t amount_cents, accepted_at_ms, requested_at_us;
    uint32_t row_name, purge_generation;
};

void shm_payments_open(struct shm_payments *, const struct shm_region *, unsigned lane);

/* Which lane a payment belongs to. */
unsigned shm_payments_lane_of(const struct shm_region *, const struct uuid *);

/* ---- any process ---- */
/* A bounded number of tries; false: in motion (owner stopped in the middle), or damaged
 * (checksum of a non-FREE record differs), never a wait. */
bool shm_payments_read(const struct shm_payments *, uint32_t record, struct shm_payment_snapshot *);
/* Find by id: verified hit or false ("not known"). Bounded chain walk, bounds-checked. */
bool shm_payments_find(const struct shm_payments *, const struct uuid *, struct shm_payment_snapshot *);

/* ---- the owner ---- */
uint32_t shm_payments_owner_find(const struct shm_payments *, const struct uuid *); /* record or NONE */
void shm_payments_owner_get(const struct shm_payments *, uint32_t record, struct shm_payment_snapshot *); /* no retry needed */
void shm_payments_begin_write(struct shm_payments *, uint32_t record); /* sequence odd */
void shm_payments_end_write(struct shm_payments *, uint32_t record);   /* sequence even */
/* Fill a FREE record's fields except its state, with its checksum; flags as given, the rest cleared. */
void shm_payments_fill(struct shm_payments *, uint32_t record, const struct uuid *, int64_t amount_cents,
                       int64_t accepted_at_ms, uint32_t purge_generation, unsigned flags);
void shm_payments_index_add(struct shm_payments *, uint32_t record);
void shm_payments_index_remove(struct shm_payments *, uint32_t record);
/* Take-over: make every sequence even, rebuild the index from the records.
 * STATUS_DAMAGED names the first record whose checksum is wrong. */
enum status shm_payments_rebuild(struct shm_payments *, struct explain *);
uint32_t shm_payment_checksum(const struct uuid *, int64_t amount_cents, int64_t accepted_at_ms, uint32_t purge_generation);

#endif
