#include "worker/lane_memory.h"

#include "common/check.h"
#include "common/crash_point.h"
#include "shm/shm_doorbell.h"
#include "shm/shm_lease.h"

enum status lane_memory_open(struct lane_memory *memory, struct shm_region *region, unsigned lane,
                             struct explain *why)
{
    *memory = (struct lane_memory){.region = region, .number = lane};
    memory->control = shm_region_lane(region, lane);
    memory->epoch = (uint16_t)shm_presence_begin(&memory->control->presence);
    CRASH_POINT(lane_epoch_raised);
    shm_doorbell_reset(memory->control);
    CRASH_POINT(lane_sleep_reset);
    shm_payments_open(&memory->payments, region, lane);
    enum status status = shm_payments_rebuild(&memory->payments, why);
    if (status != STATUS_OK)
        return status;
    shm_ledger_writer_open(&memory->ledger, region, lane);
    shm_filter_open(&memory->filter, region, lane);
    for (unsigned api = 0; api < region->geometry.api_slots; api++)
        shm_ring_consumer_open(&memory->rings[api], region, api, lane);
    return STATUS_OK;
}

struct payment_view lane_memory_view(const struct lane_memory *memory, uint32_t record)
{
    struct shm_payment_snapshot s;
    shm_payments_owner_get(&memory->payments, record, &s);
    return (struct payment_view){
        .state = s.state,
        .processor = s.processor,
        .flags = s.flags,
        .refusals = s.refusals,
        .id = s.id,
        .amount_cents = s.amount_cents,
        .accepted_at_ms = s.accepted_at_ms,
        .requested_at_us = s.requested_at_us,
        .row_named = s.row_name != 0,
        .purge_generation = s.purge_generation,
    };
}

struct payment_lane_view lane_memory_lane_view(const struct lane_memory *memory)
{
    /* Own words: nobody else writes them. */
    return (struct payment_lane_view){
        .purge_applied =
            atomic_load_explicit(&memory->control->purge_applied, memory_order_relaxed),
        .lowest_bound_us =
            atomic_load_explicit(&memory->control->lowest_bound_us, memory_order_relaxed),
        .refusals_max = LANE_MEMORY_REFUSALS_MAX,
    };
}

/* Keeps the index and `unsettled` with the state. `unsettled` may be too high
 * after a crash, never too low: up before the state says so, down after. */
static void store_state(struct lane_memory *memory, uint32_t record, enum payment_state before,
                        enum payment_state after)
{
    _Atomic uint64_t *unsettled = &memory->control->unsettled;
    uint64_t count = atomic_load_explicit(unsettled, memory_order_relaxed);
    bool was_open = before == PAYMENT_QUEUED || before == PAYMENT_SENT;
    bool is_open = after == PAYMENT_QUEUED || after == PAYMENT_SENT;
    if (before == PAYMENT_FREE)
        shm_payments_index_add(&memory->payments, record);
    CRASH_POINT_IF(before == PAYMENT_FREE, index_added);
    if (after == PAYMENT_FREE)
        shm_payments_index_remove(&memory->payments, record);
    CRASH_POINT_IF(after == PAYMENT_FREE, index_removed);
    if (is_open && !was_open)
        atomic_store_explicit(unsettled, count + 1, memory_order_release);
    CRASH_POINT_IF(is_open && !was_open, unsettled_raised);
    atomic_store_explicit(&memory->payments.records[record].state, (uint8_t)after,
                          memory_order_release);
    CRASH_POINT_IF(before == PAYMENT_FREE, record_queued);
    CRASH_POINT_IF(after == PAYMENT_SENT, record_sent);
    CRASH_POINT_IF(before == PAYMENT_SENT && after == PAYMENT_QUEUED, record_requeued);
    CRASH_POINT_IF(after == PAYMENT_SETTLED, record_settled);
    CRASH_POINT_IF(after > PAYMENT_SETTLED, record_ended);
    CRASH_POINT_IF(after == PAYMENT_FREE, record_freed);
    if (was_open && !is_open)
        atomic_store_explicit(unsettled, count - 1, memory_order_release);
    CRASH_POINT_IF(was_open && !is_open, unsettled_lowered);
}

static void store_fields(struct lane_memory *memory, uint32_t record,
                         const struct payment_event *event, int64_t flags)
{
    shm_payments_fill(&memory->payments, record, &event->id, event->amount_cents,
                      event->accepted_at_ms, (uint32_t)event->purge_generation, (unsigned)flags);
    CRASH_POINT(record_filled);
}

static void make_store(struct lane_memory *memory, uint32_t record,
                       const struct payment_view *payment, const struct payment_event *event,
                       const struct payment_store *store)
{
    struct shm_payment *r = &memory->payments.records[record];
    switch (store->kind) {
    case PAYMENT_STORE_FIELDS:
        store_fields(memory, record, event, store->value);
        return;
    case PAYMENT_STORE_STATE:
        store_state(memory, record, payment->state, (enum payment_state)store->value);
        CRASH_POINT_IF(event->kind == PAYMENT_EVENT_TAKE_OVER, take_over_settled);
        return;
    case PAYMENT_STORE_FLAGS:
        atomic_store_explicit(&r->flags, (uint8_t)store->value, memory_order_release);
        CRASH_POINT(flags_stored);
        return;
    case PAYMENT_STORE_REFUSALS:
        atomic_store_explicit(&r->refusals, (uint8_t)store->value, memory_order_release);
        CRASH_POINT(refusals_stored);
        return;
    case PAYMENT_STORE_PROCESSOR:
        atomic_store_explicit(&r->processor, (uint8_t)store->value, memory_order_release);
        CRASH_POINT_IF(event->kind == PAYMENT_EVENT_BIND, bind_processor);
        CRASH_POINT_IF(event->kind != PAYMENT_EVENT_BIND, settle_processor);
        return;
    case PAYMENT_STORE_REQUESTED_AT:
        atomic_store_explicit(&r->requested_at_us, store->value, memory_order_release);
        CRASH_POINT_IF(event->kind == PAYMENT_EVENT_BIND, bind_requested_at);
        CRASH_POINT_IF(event->kind != PAYMENT_EVENT_BIND, settle_requested_at);
        return;
    case PAYMENT_STORE_ROW_NAME:
        atomic_store_explicit(&r->row_name,
                              store->value ? shm_ledger_next_name(&memory->ledger) : 0,
                              memory_order_release);
        CRASH_POINT_IF(store->value, row_named);
        CRASH_POINT_IF(!store->value, row_name_cleared);
        return;
    case PAYMENT_STORE_ROW:
        shm_ledger_write(&memory->ledger,
                         &(struct shm_row){store->processor, payment->amount_cents, store->value});
        return;
    case PAYMENT_STORE_ROW_COUNT:
        shm_ledger_publish(&memory->ledger);
        return;
    case PAYMENT_STORE_LOWEST_BOUND:
        atomic_store_explicit(&memory->control->lowest_bound_us, store->value,
                              memory_order_release);
        CRASH_POINT(bind_lowest_bound);
        return;
    case PAYMENT_STORE_REMEMBER:
        shm_filter_remember(&memory->filter, &payment->id, store->value);
        return;
    case PAYMENT_STORE_RING_HEAD:
        shm_ring_take(memory->ring);
        CRASH_POINT(ring_head_moved);
        return;
    }
    CHECK(!"an unknown store");
}

/* Write-ahead: whoever sees what the step stores, sees that the journal knows of it. */
static void tell(struct lane_memory *memory, uint32_t record, const struct payment_view *payment,
                 const struct payment_event *event, const struct payment_step *step)
{
    memory->told =
        memory->tell(memory->journal, record, payment, event, step, memory->ledger.row_count);
    /* Pairs with the acquire in payment_intake.c, after its look at the record. */
    if (memory->told)
        atomic_store_explicit(&memory->control->journal.written, memory->told,
                              memory_order_release);
    CRASH_POINT_IF(memory->told, journal_written_published);
}

struct payment_step lane_memory_step(struct lane_memory *memory, uint32_t record,
                                     const struct payment_event *event)
{
    static const struct payment_view nothing = {.state = PAYMENT_FREE};
    struct payment_view payment =
        record == SHM_PAYMENTS_NONE ? nothing : lane_memory_view(memory, record);
    struct payment_lane_view lane = lane_memory_lane_view(memory);
    struct payment_step step;
    payment_protocol_step(&step, &payment, &lane, event);
    if (memory->journal)
        tell(memory, record, &payment, event, &step);

    /* An entry that makes no record only moves the ring's head. */
    bool changes_record = step.store_count > (event->kind == PAYMENT_EVENT_INTAKE ? 1u : 0u);
    if (changes_record)
        shm_payments_begin_write(&memory->payments, record);
    CRASH_POINT_IF(changes_record, record_begun);
    for (unsigned i = 0; i < step.store_count; i++)
        make_store(memory, record, &payment, event, &step.stores[i]);
    if (changes_record)
        shm_payments_end_write(&memory->payments, record);
    CRASH_POINT_IF(changes_record, record_whole);
    return step;
}

void lane_memory_note_attempt(struct lane_memory *memory, uint32_t record)
{
    struct shm_payment *r = &memory->payments.records[record];
    uint16_t attempts = atomic_load_explicit(&r->attempts, memory_order_relaxed);
    if (attempts < UINT16_MAX)
        atomic_store_explicit(&r->attempts, (uint16_t)(attempts + 1), memory_order_relaxed);
    atomic_store_explicit(&r->epoch, memory->epoch, memory_order_relaxed);
}

bool lane_memory_may_recycle(struct lane_memory *memory, int64_t now_monotonic_ms,
                             int64_t horizon_ms)
{
    if (!shm_filter_is_full(&memory->filter))
        return true;
    if (shm_filter_rotation_age_ms(&memory->filter, now_monotonic_ms) < horizon_ms)
        return false;
    struct payment_lane_view lane = lane_memory_lane_view(memory);
    int64_t lowest =
        payment_protocol_forget(&lane, shm_filter_forgotten_adopted_us(&memory->filter));
    atomic_store_explicit(&memory->control->lowest_bound_us, lowest, memory_order_release);
    CRASH_POINT(rotation_lowest_bound);
    shm_filter_rotate(&memory->filter, now_monotonic_ms);
    lane_memory_count(memory, SHM_LANE_COUNTER_filter_rotations);
    return true;
}
