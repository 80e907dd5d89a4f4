#include "shm/shm_ring.h"

void shm_ring_producer_open(struct shm_ring_producer *ring, const struct shm_region *region,
                            unsigned api_slot, unsigned lane)
{
    struct shm_lane *consumer = shm_region_lane(region, lane);
    *ring = (struct shm_ring_producer){
        .tail = &shm_region_api(region, api_slot)->tail[lane].value,
        .head = &consumer->head[api_slot].value,
        .slots = shm_region_ring_slots(region, api_slot, lane),
        .mask = region->geometry.ring_slots - 1,
    };
    ring->local_tail = atomic_load_explicit(ring->tail, memory_order_relaxed); /* our own */
    (void)shm_ring_producer_refresh(ring);
}

void shm_ring_consumer_open(struct shm_ring_consumer *ring, const struct shm_region *region,
                            unsigned api_slot, unsigned lane)
{
    struct shm_lane *consumer = shm_region_lane(region, lane);
    *ring = (struct shm_ring_consumer){
        .tail = &shm_region_api(region, api_slot)->tail[lane].value,
        .head = &consumer->head[api_slot].value,
        .slots = shm_region_ring_slots(region, api_slot, lane),
        .mask = region->geometry.ring_slots - 1,
    };
    ring->local_head = atomic_load_explicit(ring->head, memory_order_relaxed); /* our own */
    (void)shm_ring_consumer_refresh(ring);
}

bool shm_ring_producer_refresh(struct shm_ring_producer *ring)
{
    /* Pairs with the release in shm_ring_take: what it freed is free to write. */
    ring->cached_head = atomic_load_explicit(ring->head, memory_order_acquire);
    CHECK(ring->local_tail - ring->cached_head <= ring->mask + 1);
    return ring->local_tail - ring->cached_head <= ring->mask;
}

bool shm_ring_consumer_refresh(struct shm_ring_consumer *ring)
{
    /* Pairs with the release in shm_ring_try_push. */
    ring->cached_tail = atomic_load_explicit(ring->tail, memory_order_acquire);
    CHECK(ring->cached_tail - ring->local_head <= ring->mask + 1);
    return ring->cached_tail != ring->local_head;
}

uint64_t shm_ring_depth(const struct shm_region *region, unsigned api_slot, unsigned lane)
{
    uint64_t head = atomic_load_explicit(&shm_region_lane(region, lane)->head[api_slot].value,
                                         memory_order_acquire);
    uint64_t tail = atomic_load_explicit(&shm_region_api(region, api_slot)->tail[lane].value,
                                         memory_order_acquire);
    return tail - head;
}

/* Acquire on every word: if one was the next lap's, the later look at head sees
 * the head that allowed the producer to write it. */
static void read_slot(const struct shm_ring_slot *slot, struct shm_ring_entry *entry)
{
    entry->id.hi = atomic_load_explicit(&slot->id_hi, memory_order_acquire);
    entry->id.lo = atomic_load_explicit(&slot->id_lo, memory_order_acquire);
    entry->amount_cents = atomic_load_explicit(&slot->amount_cents, memory_order_acquire);
    entry->accepted_at_ms = atomic_load_explicit(&slot->accepted_at_ms, memory_order_acquire);
    entry->purge_generation = atomic_load_explicit(&slot->purge_generation, memory_order_acquire);
}

bool shm_ring_look(const struct shm_region *region, unsigned api_slot, unsigned lane,
                   uint64_t number, struct shm_ring_entry *entry)
{
    const struct shm_ring_slot *slots = shm_region_ring_slots(region, api_slot, lane);
    /* Pairs with the release in shm_ring_try_push. */
    if (number >= atomic_load_explicit(&shm_region_api(region, api_slot)->tail[lane].value,
                                       memory_order_acquire))
        return false;
    read_slot(&slots[number & (region->geometry.ring_slots - 1)], entry);
    return number >= atomic_load_explicit(&shm_region_lane(region, lane)->head[api_slot].value,
                                          memory_order_acquire);
}

bool shm_ring_find(const struct shm_region *region, unsigned api_slot, unsigned lane,
                   const struct uuid *id, struct shm_ring_entry *entry)
{
    uint64_t slots = region->geometry.ring_slots;
    uint64_t number = atomic_load_explicit(&shm_region_lane(region, lane)->head[api_slot].value,
                                           memory_order_acquire);
    uint64_t end = atomic_load_explicit(&shm_region_api(region, api_slot)->tail[lane].value,
                                        memory_order_acquire);
    if (end - number > slots)
        number = end - slots; /* head moved in between: what lies below was taken */
    for (; number < end; number++)
        if (shm_ring_look(region, api_slot, lane, number, entry) && uuid_equal(&entry->id, id))
            return true;
    return false;
}
