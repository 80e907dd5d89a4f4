/* What scenarios share. */
#ifndef PAYRING_TEST_RACE_SCENARIOS_H
#define PAYRING_TEST_RACE_SCENARIOS_H

#include "shm/shm_ring.h"
#include "test/race/explore/memory.h"
#include "test/race/explore/region.h"
#include "worker/lane_memory.h"

enum { RACE_OPEN = 0, RACE_NOBODY = 200 };

/* What tenant t of an API slot puts into entry n. Another tenant's words would be other ones. */
static inline struct shm_ring_entry race_entry(uint64_t number, unsigned tenant)
{
    return (struct shm_ring_entry){.id = {.hi = number + 1, .lo = 16 * (number + 1) + tenant},
                                   .amount_cents = (int64_t)(1000 + 16 * number + tenant),
                                   .accepted_at_ms = (int64_t)(2000 + 16 * number + tenant),
                                   .purge_generation = 16 * number + tenant};
}

static inline bool race_is_entry(const struct shm_ring_entry *entry, uint64_t number,
                                 unsigned tenant)
{
    struct shm_ring_entry wanted = race_entry(number, tenant);
    return uuid_equal(&entry->id, &wanted.id) && entry->amount_cents == wanted.amount_cents &&
           entry->accepted_at_ms == wanted.accepted_at_ms &&
           entry->purge_generation == wanted.purge_generation;
}

/* A lane's owner that takes what lies in its ring, settles it and recycles its records. */
struct race_owner {
    uint8_t pc; /* RACE_OPEN first */
    uint8_t visited;
    struct lane_memory memory;
};
static_assert(sizeof(struct race_owner) <= RACE_LOCAL, "an owner");

void race_owner_run(struct race_owner *);

/* Payments of such a lane: number n, always of generation 0. */
struct shm_ring_entry race_payment(uint64_t number, bool large);
#define RACE_BOUND_MS(id_lo) (INT64_C(100) + (int64_t)(id_lo))

#endif
