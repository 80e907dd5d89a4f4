/* The SPSC ring from one API process to one lane.
 *
 *        head (lane)                 tail (API)
 *          │                           │
 *   ───────▼───────────────────────────▼────────── slots, count & (slots - 1)
 *    taken │ pushed, not yet taken     │ free
 *
 * `tail` (pushed ever) lies in the API's control page, `head` (taken ever) in
 * the lane's, the slots in the API's area. Both counts run freely and never go
 * back: a new tenant of either side goes on from the shared counts. Each side
 * keeps its own count and a copy of the other's, so that under load neither
 * touches the other's cache line. A copy that is behind only makes the ring
 * look fuller to the producer and emptier to the consumer than it is.
 *
 * Always 0 <= tail - head <= slots. Counts that say otherwise hit CHECK: a ring
 * that lies about what it holds must not be drained.
 */
#ifndef PAYRING_SHM_RING_H
#define PAYRING_SHM_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "common/check.h"
#include "common/crash_point.h"
#include "common/uuid.h"
#include "shm/shm_region.h"

struct shm_ring_entry {
    struct uuid id;
    int64_t amount_cents;
    int64_t accepted_at_ms; /* wall clock */
    uint64_t purge_generation;
};

struct shm_ring_producer {
    _Atomic uint64_t *tail;
    const _Atomic uint64_t *head;
    struct shm_ring_slot *slots;
    uint64_t mask; /* slots - 1 */
    uint64_t local_tail, cached_head;
};

struct shm_ring_consumer {
    const _Atomic uint64_t *tail;
    _Atomic uint64_t *head;
    const struct shm_ring_slot *slots;
    uint64_t mask;
    uint64_t local_head, cached_tail;
};

/* Open one side. Caller: the one thread of the process that holds the lease of
 * the API slot or of the lane, with its area writable. */
void shm_ring_producer_open(struct shm_ring_producer *, const struct shm_region *,
                            unsigned api_slot, unsigned lane);
void shm_ring_consumer_open(struct shm_ring_consumer *, const struct shm_region *,
                            unsigned api_slot, unsigned lane);

/* Entries in it as a third party sees it; may count some twice.
 *
 * Order:   head is read before tail, so that an entry that is taken meanwhile
 *          is still counted. Whoever reads this and then the lane's `unsettled`
 *          and `row_count` misses no payment: taking releases head after
 *          `unsettled` went up.
 */
uint64_t shm_ring_depth(const struct shm_region *, unsigned api_slot, unsigned lane);

/* Copy the entry of that number, counting from the first ever pushed. Any
 * process. false: taken by now, or not pushed yet. */
bool shm_ring_look(const struct shm_region *, unsigned api_slot, unsigned lane, uint64_t number,
                   struct shm_ring_entry *);

/* Find the oldest entry of an id that has not been taken, for GET /payments/{id}.
 * Any process. Looks at no more entries than the ring has slots; one that is
 * overwritten meanwhile is recognised and not reported. false: not there, or
 * taken by now. */
bool shm_ring_find(const struct shm_region *, unsigned api_slot, unsigned lane, const struct uuid *,
                   struct shm_ring_entry *);

/* The producer's rare half: look at the consumer's count. */
bool shm_ring_producer_refresh(struct shm_ring_producer *);
bool shm_ring_consumer_refresh(struct shm_ring_consumer *);

/* Offer one payment to the lane that owns this ring. Never waits.
 *
 * false:   full, shed load; nothing was written.
 * Owner:   the entry is copied.
 * Caller:  the ring's single producer thread.
 * Order:   the slot is filled, then tail is stored with release; the consumer's
 *          acquire of tail makes the slot visible. Then ring the doorbell, once
 *          for any number of entries.
 * Crash:   before the tail store loses this payment only, which nobody was told
 *          is accepted. After it the payment is the lane's.
 */
static inline bool shm_ring_try_push(struct shm_ring_producer *ring,
                                     const struct shm_ring_entry *entry)
{
    if (__builtin_expect(ring->local_tail - ring->cached_head > ring->mask, 0) &&
        !shm_ring_producer_refresh(ring))
        return false;
    struct shm_ring_slot *slot = &ring->slots[ring->local_tail & ring->mask];
    /* Release, for a searching third party only: pairs with the acquires in shm_ring_find. */
    atomic_store_explicit(&slot->id_hi, entry->id.hi, memory_order_release);
    CRASH_POINT(ring_id_half);
    atomic_store_explicit(&slot->id_lo, entry->id.lo, memory_order_release);
    atomic_store_explicit(&slot->amount_cents, entry->amount_cents, memory_order_release);
    atomic_store_explicit(&slot->accepted_at_ms, entry->accepted_at_ms, memory_order_release);
    atomic_store_explicit(&slot->purge_generation, entry->purge_generation, memory_order_release);
    CRASH_POINT(ring_slot_filled);
    /* Pairs with the acquire in shm_ring_consumer_refresh. */
    atomic_store_explicit(ring->tail, ++ring->local_tail, memory_order_release);
    CRASH_POINT(ring_published);
    return true;
}

/* Copy the entry at head without taking it; false: empty.
 * Caller:  the lane's owner. Never waits. */
static inline bool shm_ring_peek(struct shm_ring_consumer *ring, struct shm_ring_entry *entry)
{
    if (__builtin_expect(ring->local_head == ring->cached_tail, 0) &&
        !shm_ring_consumer_refresh(ring))
        return false;
    const struct shm_ring_slot *slot = &ring->slots[ring->local_head & ring->mask];
    /* Relaxed: the acquire of tail made them visible and they stay until head moves. */
    entry->id.hi = atomic_load_explicit(&slot->id_hi, memory_order_relaxed);
    entry->id.lo = atomic_load_explicit(&slot->id_lo, memory_order_relaxed);
    entry->amount_cents = atomic_load_explicit(&slot->amount_cents, memory_order_relaxed);
    entry->accepted_at_ms = atomic_load_explicit(&slot->accepted_at_ms, memory_order_relaxed);
    entry->purge_generation = atomic_load_explicit(&slot->purge_generation, memory_order_relaxed);
    return true;
}

/* Take the entry that was peeked.
 *
 * Order:   release, after the payment stands in the table: the producer's
 *          acquire of head may overwrite the slot.
 * Crash:   before it the next owner peeks the entry again and knows it by its id.
 */
static inline void shm_ring_take(struct shm_ring_consumer *ring)
{
    CHECK(ring->local_head != ring->cached_tail);
    /* Pairs with the acquires in shm_ring_producer_refresh, depth and find. */
    atomic_store_explicit(ring->head, ++ring->local_head, memory_order_release);
}

#endif
