/* A lane's payment table: records, and the hash index that finds them by id.
 *
 *   heads[hash & mask] ─▶ record + 1 ─▶ next[record] ─▶ ... ─▶ 0
 *
 * The owner writes; APIs read while it changes. A record is read as a whole
 * under its sequence number: odd while the owner is at it, and every store to a
 * record is a release store that readers acquire, so that one who has seen a
 * new word sees the odd number too. The index is a hint for readers: a hit is
 * verified against the record; a miss may be wrong and is harmless (the payment
 * is enqueued, and its lane recognises it). For the owner it is exact; it is
 * rebuilt from the records at take-over.
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
    _Atomic uint32_t *heads; /* record number + 1; 0 ends a chain */
    _Atomic uint32_t *next;
    uint32_t slots;
    uint32_t heads_mask;
    struct uuid
        seed; /* the region's id: who picks payment ids on purpose cannot make long chains */
};

/* A consistent copy of one record. */
struct shm_payment_snapshot {
    enum payment_state state;
    unsigned processor, flags, refusals, attempts, epoch;
    struct uuid id;
    int64_t amount_cents;
    int64_t accepted_at_ms; /* wall clock */
    int64_t requested_at_us;
    uint32_t row_name; /* ledger row + 1; 0 = none */
    uint32_t purge_generation;
};

void shm_payments_open(struct shm_payments *, const struct shm_region *, unsigned lane);

/* Which lane a payment belongs to: the same in every process of the region. */
unsigned shm_payments_lane_of(const struct shm_region *, const struct uuid *);

/* "free", "queued", ...; "damaged" for a number that is none. */
const char *shm_payments_state_name(enum payment_state);

/* ---- any process ---- */

/* Copy one record. A bounded number of tries, never a wait: false is "not
 * known" - in motion for all of them (the owner may be stopped in the middle),
 * or damaged (its checksum, state or processor cannot be). */
bool shm_payments_read(const struct shm_payments *, uint32_t record, struct shm_payment_snapshot *);

/* Look for that id soon: have fetched, first, where its chain in the index begins, and when that is
 * there, the chain's first record, since both take longer to come than much else takes to do.
 * Hints: nothing is found, and nothing is ordered (a relaxed load). */
void shm_payments_expect(const struct shm_payments *, const struct uuid *);
void shm_payments_expect_record(const struct shm_payments *, const struct uuid *);

/* What came of a look for an id. The first two as truth values. */
enum shm_payments_finding {
    SHM_PAYMENTS_MISS = 0,
    SHM_PAYMENTS_HIT = 1,
    SHM_PAYMENTS_IN_MOTION = 2, /* there, and being changed for as long as we looked (or damaged) */
};

/* Find by id: a verified hit, or not. A bounded walk; the snapshot is of a hit only. */
enum shm_payments_finding shm_payments_find(const struct shm_payments *, const struct uuid *,
                                            struct shm_payment_snapshot *);

/* ---- the owner ---- */

/* The record of that id, which is not FREE, or NONE. Exact. */
uint32_t shm_payments_owner_find(const struct shm_payments *, const struct uuid *);

/* Copy one record; nobody else changes it. */
void shm_payments_owner_get(const struct shm_payments *, uint32_t record,
                            struct shm_payment_snapshot *);

/* Around the stores of one change; between them readers take nothing from this
 * record. Crash: the sequence stays odd, the record "not known", until the next
 * owner's rebuild. */
void shm_payments_begin_write(struct shm_payments *, uint32_t record); /* sequence odd */
void shm_payments_end_write(struct shm_payments *, uint32_t record);   /* sequence even */

/* Fill a FREE record's fields except its state, with its checksum; flags as
 * given, the rest cleared. Within begin and end. Crash: it is still FREE. */
void shm_payments_fill(struct shm_payments *, uint32_t record, const struct uuid *,
                       int64_t amount_cents, int64_t accepted_at_ms, uint32_t purge_generation,
                       unsigned flags);

/* Put a filled record into the index, or take it out. Before it becomes
 * something else than FREE, and before it becomes FREE again. */
void shm_payments_index_add(struct shm_payments *, uint32_t record);
void shm_payments_index_remove(struct shm_payments *, uint32_t record);

/* Take-over: make every sequence even and rebuild the index from the records.
 * STATUS_DAMAGED names the first record that cannot be (checksum, state or
 * processor); the rest of the index is built, the lane must not be driven. */
enum status shm_payments_rebuild(struct shm_payments *, struct explain *why);

/* Over the words that never change while a record stands. */
uint32_t shm_payment_checksum(const struct uuid *, int64_t amount_cents, int64_t accepted_at_ms,
                              uint32_t purge_generation);

#endif
