/* The lane's part of the region, and the one place where a step of the
 * protocol becomes stores into it.
 *
 * Everything here belongs to the lane's owner (the thread that runs the lane,
 * in the process that holds its lease). */
#ifndef PAYRING_WORKER_LANE_MEMORY_H
#define PAYRING_WORKER_LANE_MEMORY_H

#include "shm/shm_counters.h"
#include "shm/shm_filter.h"
#include "shm/shm_ledger.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"
#include "worker/payment_protocol.h"

/* 400s in a row until a payment is REJECTED. With the pauses between them (lane_payments.c) that is
 * ten seconds and more: a processor that was misconfigured for a moment, or refuses at random,
 * costs nobody an accepted payment. */
#define LANE_MEMORY_REFUSALS_MAX 16u

struct journal;

struct lane_memory {
    struct shm_region *region;
    unsigned number;
    struct shm_lane *control;
    struct shm_payments payments;
    struct shm_ledger_writer ledger;
    struct shm_filter_handle filter;
    struct shm_ring_consumer rings[SHM_API_SLOTS_MAX];
    struct shm_ring_consumer *ring; /* whose entry is being taken in */
    struct journal *journal;        /* NULL: none is kept, or it has not been opened yet */
    /* Told of every step before it is stored (journal_tell.h); returns the number of its record. */
    uint64_t (*tell)(struct journal *, uint32_t record, const struct payment_view *before,
                     const struct payment_event *, const struct payment_step *, uint64_t row_count);
    uint64_t told; /* the record of the last step, 0: it had none */
    uint16_t epoch;
};

/* Open a lane whose lease is held and whose pages are writable: a new epoch,
 * index, filter and open block rebuilt. STATUS_DAMAGED: a record does not check. */
enum status lane_memory_open(struct lane_memory *, struct shm_region *, unsigned lane,
                             struct explain *);

struct payment_view lane_memory_view(const struct lane_memory *, uint32_t record);
struct payment_lane_view lane_memory_lane_view(const struct lane_memory *);

/* Decide and store: one event for one record. Returns the step for its action.
 * Order: the journal is told first, then its sequence number is released; each
 *        store of the step is a release store, in the step's order.
 * Crash: any prefix of the stores; see payment_protocol.h. */
struct payment_step lane_memory_step(struct lane_memory *, uint32_t record,
                                     const struct payment_event *);

/* Count a POST that is about to begin (attempts, epoch). For people. */
void lane_memory_note_attempt(struct lane_memory *, uint32_t record);

/* Make room in the filter for one more id; false: that would forget ids
 * younger than horizon_ms, so nothing may be recycled now. */
bool lane_memory_may_recycle(struct lane_memory *, int64_t now_monotonic_ms, int64_t horizon_ms);

static inline void lane_memory_count(struct lane_memory *memory, enum shm_lane_counter counter)
{
    shm_counter_add(&memory->control->counters[counter], 1);
}

#endif
