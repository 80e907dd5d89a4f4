/* A region as small as a scenario wants it, over race_arena: the production code's own handle,
 * places that no attacher would accept. */
#ifndef PAYRING_TEST_RACE_REGION_H
#define PAYRING_TEST_RACE_REGION_H

#include "shm/shm_region.h"

extern struct shm_region race_region;

struct race_region_shape {
    unsigned apis; /* 0: one */
    unsigned lanes, ring_slots, payment_slots, index_heads;
    uint64_t ledger_rows;
};

/* Empty. Nothing of it is a word yet, counters and presences are ignored. */
void race_region_make(const struct race_region_shape *);

void race_add_ring(unsigned api, unsigned lane, unsigned producer, unsigned consumer,
                   bool has_slots); /* without: their words are ignored */
struct shm_ring_slot;
struct shm_ring_entry;
void race_fill_slot(struct shm_ring_slot *,
                    const struct shm_ring_entry *); /* pushed before it all begins */
void race_add_record(unsigned lane, uint32_t record);
void race_add_index(unsigned lane);
void race_add_lane(unsigned lane); /* the words of summaries and budgets */
void race_add_rows(unsigned lane, uint64_t first, unsigned count);

#endif
