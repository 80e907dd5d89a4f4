/* The owner of a lane: each call is one event for one payment, through lane_memory_step. */
#include <string.h>

#include "test/race/explore/scenarios.h"

enum { VISIT = 1, COUNT, WORK };

struct shm_ring_entry race_payment(uint64_t number, bool large)
{
    return (struct shm_ring_entry){.id = {.hi = 7, .lo = number + 1},
                                   .amount_cents = large ? (INT64_C(1) << SHM_ROW_CENTS_BITS) + 5
                                                         : (int64_t)(1000 + number),
                                   .accepted_at_ms = (int64_t)(50 + number)};
}

static void begin(struct race_owner *me)
{
    struct explain why;
    if (lane_memory_open(&me->memory, &race_region, 0, &why) != STATUS_OK)
        race_broken("a new owner finds a damaged record");
    me->pc = VISIT;
}

/* As lane_payments.c visits a record. */
static void visit(struct race_owner *me)
{
    struct payment_event event = {.kind = PAYMENT_EVENT_TAKE_OVER};
    struct shm_payment_snapshot record;
    struct shm_row row;
    uint32_t slot = me->visited;
    if (slot + 1u == race_region.geometry.payment_slots)
        me->pc = COUNT;
    me->visited = (uint8_t)(slot + 1);
    shm_payments_owner_get(&me->memory.payments, slot, &record);
    if (record.state == PAYMENT_FREE)
        return;
    if (shm_ledger_read_named(&race_region, 0, record.row_name, &row)) {
        event.row_published = true;
        event.processor = row.processor;
        event.stored_requested_at_us = row.requested_at_us;
    }
    lane_memory_step(&me->memory, slot, &event);
}

static enum payment_state state_of(struct race_owner *me, uint32_t slot)
{
    return atomic_load_explicit(&me->memory.payments.records[slot].state, memory_order_relaxed);
}

static bool is_open(enum payment_state state)
{
    return state == PAYMENT_QUEUED || state == PAYMENT_SENT;
}

static void count_unsettled(struct race_owner *me)
{
    uint64_t unsettled = 0;
    for (uint32_t slot = 0; slot < race_region.geometry.payment_slots; slot++)
        unsettled += is_open(state_of(me, slot));
    atomic_store_explicit(&me->memory.control->unsettled, unsettled, memory_order_release);
    me->pc = WORK;
}

static bool drive(struct race_owner *me, uint32_t slot)
{
    enum payment_state state = state_of(me, slot);
    struct payment_event event = {.kind = PAYMENT_EVENT_ACCEPTED};
    if (!is_open(state))
        return false;
    if (state == PAYMENT_QUEUED) {
        struct payment_view payment = lane_memory_view(&me->memory, slot);
        event = (struct payment_event){
            .kind = PAYMENT_EVENT_BIND, .processor = 1, .now_ms = RACE_BOUND_MS(payment.id.lo)};
    }
    lane_memory_step(&me->memory, slot, &event);
    return true;
}

static bool find_slot(struct race_owner *me, enum payment_state least, enum payment_state most,
                      uint32_t *slot)
{
    for (*slot = 0; *slot < race_region.geometry.payment_slots; ++*slot) {
        enum payment_state state = state_of(me, *slot);
        if (state >= least && state <= most)
            return true;
    }
    return false;
}

static void take(struct race_owner *me)
{
    struct shm_ring_entry entry;
    uint32_t slot;
    me->memory.ring = &me->memory.rings[0];
    if (!shm_ring_peek(me->memory.ring, &entry)) {
        if (me->memory.ring->local_head == race_parameters.entries)
            race_done();
        return;
    }
    struct payment_event event = {.kind = PAYMENT_EVENT_INTAKE,
                                  .id = entry.id,
                                  .amount_cents = entry.amount_cents,
                                  .accepted_at_ms = entry.accepted_at_ms,
                                  .purge_generation = entry.purge_generation};
    uint32_t known = shm_payments_owner_find(&me->memory.payments, &entry.id);
    if (known != SHM_PAYMENTS_NONE || find_slot(me, PAYMENT_FREE, PAYMENT_FREE, &slot))
        lane_memory_step(&me->memory, known != SHM_PAYMENTS_NONE ? known : slot, &event);
    else if (find_slot(me, PAYMENT_SETTLED, PAYMENT_REJECTED, &slot))
        lane_memory_step(&me->memory, slot, &(struct payment_event){.kind = PAYMENT_EVENT_RECYCLE});
}

void race_owner_run(struct race_owner *me)
{
    if (me->pc == RACE_OPEN) {
        begin(me);
    } else if (me->pc == VISIT) {
        visit(me);
    } else if (me->pc == COUNT) {
        count_unsettled(me);
    } else {
        for (uint32_t slot = 0; slot < race_region.geometry.payment_slots; slot++)
            if (drive(me, slot))
                return;
        take(me);
    }
}
