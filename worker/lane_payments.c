#include <inttypes.h>
#include <stdlib.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "worker/journal.h"
#include "worker/lane_internal.h"
#include "worker/payment_age.h"

/* Entries taken from one ring before replies are looked at again. */
#define TAKE_BATCH 64

/* Pauses before asking or sending again: doubled from the first to the last. */
#define PAUSE_FIRST_MS 20
#define PAUSE_LAST_MS  1000

/* --- what follows a step ------------------------------------------------------ */

static void pause_slot(struct lane *lane, uint32_t slot, enum lane_place list)
{
    struct lane_slot *s = &lane->queues.slots[slot];
    int64_t length = (int64_t)PAUSE_FIRST_MS << s->tries;
    if (length < PAUSE_LAST_MS)
        s->tries++;
    else
        length = PAUSE_LAST_MS;
    lane_queues_pause(&lane->queues, slot, list, lane->now_us / 1000 + length);
}

static void count_end(struct lane *lane, uint32_t slot)
{
    static const enum shm_lane_counter counters[] = {
        [PAYMENT_DUPLICATE] = SHM_LANE_COUNTER_duplicates,
        [PAYMENT_CONFLICT] = SHM_LANE_COUNTER_conflicts,
        [PAYMENT_REJECTED] = SHM_LANE_COUNTER_rejected,
    };
    struct payment_view payment = lane_memory_view(&lane->memory, slot);
    if (payment.state == PAYMENT_SETTLED) {
        /* Its time is no attempt's of ours: a book's. */
        if (payment.requested_at_us < lane_memory_lane_view(&lane->memory).lowest_bound_us)
            lane_memory_count(&lane->memory, SHM_LANE_COUNTER_adopted);
        lane_memory_count(&lane->memory, payment.processor == ROUTING_DEFAULT
                                             ? SHM_LANE_COUNTER_settled_default
                                             : SHM_LANE_COUNTER_settled_fallback);
        return;
    }
    char id[UUID_TEXT_LENGTH + 1];
    uuid_format(id, &payment.id);
    lane_memory_count(&lane->memory, counters[payment.state]);
    LOG_WARN("payment_ended", "lane=%u id=%s state=%s amount_cents=%" PRId64, lane->memory.number,
             id, shm_payments_state_name(payment.state), payment.amount_cents);
}

/* The record changes hands: what still waits or flies for the old one is stale. */
static void release_slot(struct lane *lane, uint32_t slot, enum lane_place place)
{
    lane->queues.slots[slot].use++;
    lane->queues.slots[slot].tries = 0;
    lane->queues.slots[slot].unknown_us = 0;
    lane_queues_append(&lane->queues, place, slot);
}

static void follow(struct lane *lane, uint32_t slot, const struct payment_event *event,
                   const struct payment_step *step)
{
    struct lane_queues *queues = &lane->queues;
    switch (step->action) {
    case PAYMENT_ACTION_NONE:
        return;
    case PAYMENT_ACTION_READY:
        /* What comes back is older than what waits. A 400 would be repeated at
         * once; after a 429 the view holds new payments back by itself. */
        if (event->kind == PAYMENT_EVENT_BAD_REQUEST)
            pause_slot(lane, slot, LANE_READY);
        else if (event->kind == PAYMENT_EVENT_INTAKE)
            lane_queues_append(queues, LANE_READY, slot);
        else
            lane_queues_prepend(queues, LANE_READY, slot);
        return;
    case PAYMENT_ACTION_POST:
        lane_send_post(lane, slot, step->processor, event->kind == PAYMENT_EVENT_BIND);
        return;
    case PAYMENT_ACTION_LOOKUP:
        lane_queues_append(queues, LANE_ASKING + step->processor, slot);
        return;
    case PAYMENT_ACTION_RETRY_LOOKUP:
        pause_slot(lane, slot, LANE_ASKING + step->processor);
        return;
    case PAYMENT_ACTION_RESEND:
        pause_slot(lane, slot, LANE_PINNED + step->processor);
        return;
    case PAYMENT_ACTION_ENDED:
        count_end(lane, slot);
        release_slot(lane, slot, LANE_ENDED);
        return;
    case PAYMENT_ACTION_FREED:
        release_slot(lane, slot, LANE_FREE);
        return;
    }
    CHECK(!"an unknown action");
}

struct payment_step lane_step_known(struct lane *lane, uint32_t slot,
                                    const struct payment_event *event)
{
    struct payment_step step = lane_memory_step(&lane->memory, slot, event);
    follow(lane, slot, event, &step);
    return step;
}

void lane_step(struct lane *lane, uint32_t slot, const struct payment_event *event)
{
    (void)lane_step_known(lane, slot, event);
}

/* --- replies ------------------------------------------------------------------ */

struct payment_event lane_event_of(const struct upstream_completion *completion)
{
    static const enum payment_event_kind kinds[] = {
        [UPSTREAM_ACCEPTED] = PAYMENT_EVENT_ACCEPTED,
        [UPSTREAM_EXISTS] = PAYMENT_EVENT_EXISTS,
        [UPSTREAM_UNREACHED] = PAYMENT_EVENT_REFUSED,
        [UPSTREAM_BUSY] = PAYMENT_EVENT_REFUSED,
        [UPSTREAM_FAILING] = PAYMENT_EVENT_REFUSED,
        [UPSTREAM_BAD_REQUEST] = PAYMENT_EVENT_BAD_REQUEST,
        [UPSTREAM_UNKNOWN] = PAYMENT_EVENT_UNKNOWN,
    };
    struct payment_event event = {.processor = (unsigned)completion->processor};
    if (completion->kind == UPSTREAM_POST) {
        event.kind = kinds[completion->outcome];
    } else if (completion->outcome == UPSTREAM_FOUND) {
        event.kind = PAYMENT_EVENT_FOUND;
        event.stored_amount_cents = completion->stored_amount_cents;
        /* Digits below the microsecond were never ours: a microsecond later is
         * not equal to what we bound, and in no other window of whole milliseconds. */
        event.stored_requested_at_us =
            completion->stored_requested_at_us + !completion->stored_requested_at_is_exact;
    } else {
        event.kind = completion->outcome == UPSTREAM_ABSENT ? PAYMENT_EVENT_ABSENT
                                                            : PAYMENT_EVENT_UNANSWERED;
    }
    return event;
}

static void count_answer(struct lane *lane, const struct upstream_completion *completion)
{
    switch (completion->outcome) {
    case UPSTREAM_EXISTS:
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_exists);
        return;
    case UPSTREAM_BAD_REQUEST:
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_bad_request);
        LOG_WARN("bad_request", "lane=%u processor=%s", lane->memory.number,
                 lane_processor_names[completion->processor]);
        return;
    case UPSTREAM_UNKNOWN:
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_unknown);
        LOG_WARN("outcome_unknown", "lane=%u processor=%s http_status=%ld after_ms=%" PRId64,
                 lane->memory.number, lane_processor_names[completion->processor],
                 completion->http_status, completion->latency_us / 1000);
        return;
    case UPSTREAM_UNREACHED:
    case UPSTREAM_BUSY:
    case UPSTREAM_FAILING:
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_refused);
        return;
    default:
        return;
    }
}

void lane_on_completion(void *context, const struct upstream_completion *completion)
{
    struct lane *lane = context;
    uint32_t slot = (uint32_t)completion->ticket;
    bool is_post = completion->kind == UPSTREAM_POST;
    lane->now_us = clock_monotonic_us();
    CRASH_POINT_IF(is_post, reply_read);
    CHECK(slot < lane->queues.slot_count);
    if (is_post)
        lane_note_answer(lane, slot, completion);
    else
        lane->lookups[completion->processor]--;

    /* A payment that a purge cleared while a book was asked for it. A POST in
     * flight keeps its record: SENT survives a purge. */
    if (lane->queues.slots[slot].use != (uint32_t)(completion->ticket >> 32)) {
        CHECK(!is_post);
        return;
    }
    if (is_post) {
        count_answer(lane, completion);
        lane_decision_note(lane, slot, completion);
    } else if (lane_decision_takes(lane, slot, completion)) {
        return;
    }
    struct payment_event event = lane_event_of(completion);
    lane_step(lane, slot, &event);
}

/* --- intake ------------------------------------------------------------------- */

/* A slot for a new payment, OUT; a terminal record's if none is free. */
static uint32_t slot_for_new(struct lane *lane)
{
    uint32_t slot = lane_queues_pop(&lane->queues, LANE_FREE);
    if (slot != LANE_QUEUES_NONE)
        return slot;
    if (lane_queues_first(&lane->queues, LANE_ENDED) == LANE_QUEUES_NONE ||
        !lane_memory_may_recycle(&lane->memory, lane->now_us / 1000, lane->settings.horizon_ms))
        return LANE_QUEUES_NONE;
    slot = lane_queues_pop(&lane->queues, LANE_ENDED);
    lane_step(lane, slot, &(struct payment_event){.kind = PAYMENT_EVENT_RECYCLE});
    lane_memory_count(&lane->memory, SHM_LANE_COUNTER_recycled);
    return lane_queues_pop(&lane->queues, LANE_FREE);
}

static bool is_young(const struct lane *lane)
{
    int64_t young_ms = lane->settings.lookup_young_ms;
    /* What an async journal has lost, its senders may send again for as long as any other. */
    if (lane->region->origin == SHM_ORIGIN_JOURNAL_ASYNC) {
        int64_t least_ms = lane->settings.horizon_ms > lane->settings.quarantine_ms
                               ? lane->settings.horizon_ms
                               : lane->settings.quarantine_ms;
        young_ms = young_ms > least_ms ? young_ms : least_ms;
    }
    return lane->now_us / 1000 - (int64_t)lane->region->created_at_monotonic_ms < young_ms;
}

/* The ledger must be able to hold whatever is taken in. The APIs see to it
 * (shm_ledger_budget); this is the last gate. */
static bool ledger_has_room(const struct lane *lane)
{
    uint64_t unsettled =
        atomic_load_explicit(&lane->memory.control->unsettled, memory_order_relaxed);
    return shm_ledger_rows_left(&lane->memory.ledger) >= (unsettled + 1) * SHM_ROWS_PER_PAYMENT_MAX;
}

static void take_new(struct lane *lane, uint32_t slot, struct payment_event *event)
{
    size_t api = (size_t)(lane->memory.ring - lane->memory.rings);
    lane->queues.slots[slot].accepted_us = payment_age_accepted_us(
        event->accepted_at_ms, clock_wall_ms(), lane->now_us, lane->emptied_us[api]);
    bool in_filter = shm_filter_contains(&lane->memory.filter, &event->id);
    bool told_of = !in_filter && lane_journal_may_know(lane, &event->id);
    /* SEEN in either case: a copy that has not ended at a power cut may have been counted before.
     */
    event->remembered = in_filter || told_of;
    event->ask_first = is_young(lane);
    if (in_filter)
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_filter_hits);
    if (told_of)
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_journal_hits);
    lane_memory_count(&lane->memory, SHM_LANE_COUNTER_taken);
    lane_step(lane, slot, event);
}

/* An entry that makes no record: the head moves, nothing else happens. */
static void pass_over(struct lane *lane, uint32_t record, const struct payment_event *event)
{
    static const enum shm_lane_counter counters[] = {
        [PAYMENT_INTAKE_COPY] = SHM_LANE_COUNTER_copies,
        [PAYMENT_INTAKE_CONFLICT] = SHM_LANE_COUNTER_copies_conflicting,
        [PAYMENT_INTAKE_PURGED] = SHM_LANE_COUNTER_purged_entries,
    };
    struct payment_step step = lane_memory_step(&lane->memory, record, event);
    CHECK(step.intake != PAYMENT_INTAKE_TAKEN);
    lane_memory_count(&lane->memory, counters[step.intake]);
    if (step.intake == PAYMENT_INTAKE_CONFLICT) {
        char id[UUID_TEXT_LENGTH + 1];
        uuid_format(id, &event->id);
        LOG_WARN("conflicting_copy", "lane=%u id=%s amount_cents=%" PRId64, lane->memory.number, id,
                 event->amount_cents);
    }
}

/* false: the ring is empty, or there is no room. */
static bool take_one(struct lane *lane, struct shm_ring_consumer *ring)
{
    struct shm_ring_entry entry;
    uint64_t applied = lane_memory_lane_view(&lane->memory).purge_applied;
    if (!shm_ring_peek(ring, &entry)) {
        lane->emptied_us[ring - lane->memory.rings] = lane->now_us;
        return false;
    }
    if (entry.purge_generation > applied)
        return false; /* newer than the last purge here: the purge comes first */
    struct payment_event event = {
        .kind = PAYMENT_EVENT_INTAKE,
        .id = entry.id,
        .amount_cents = entry.amount_cents,
        .accepted_at_ms = entry.accepted_at_ms,
        .purge_generation = entry.purge_generation,
    };
    lane->memory.ring = ring;
    uint32_t record = shm_payments_owner_find(&lane->memory.payments, &entry.id);
    if (record != SHM_PAYMENTS_NONE || entry.purge_generation < applied) {
        pass_over(lane, record, &event);
        return true;
    }
    uint32_t slot = ledger_has_room(lane) ? slot_for_new(lane) : LANE_QUEUES_NONE;
    lane->full = slot == LANE_QUEUES_NONE;
    if (lane->full)
        return false;
    take_new(lane, slot, &event);
    return true;
}

bool lane_take_in(struct lane *lane)
{
    bool any = false;
    lane->full = false;
    if (lane_journal_is_behind(lane)) {
        lane->full = true;
        return false;
    }
    for (unsigned api = 0; api < lane->region->geometry.api_slots; api++)
        for (unsigned n = 0; n < TAKE_BATCH && take_one(lane, &lane->memory.rings[api]); n++)
            any = true;
    lane_journal_mark(lane);
    return any;
}

/* --- purge and take-over ------------------------------------------------------ */

static uint64_t purge_wanted(const struct lane *lane)
{
    return atomic_load_explicit(&shm_region_purge(lane->region)->generation, memory_order_seq_cst);
}

bool lane_purge_is_due(const struct lane *lane)
{
    return purge_wanted(lane) != lane_memory_lane_view(&lane->memory).purge_applied;
}

/* Place a slot that a purge's clearing left LOOSE. Only what was sent survives. */
static void place_after_purge(struct lane *lane, uint32_t slot)
{
    struct lane_slot *s = &lane->queues.slots[slot];
    struct payment_view payment = lane_memory_view(&lane->memory, slot);
    if (payment.state == PAYMENT_FREE)
        lane_queues_append(&lane->queues, LANE_FREE, slot);
    else if (s->place == LANE_LOOSE)
        lane_queues_append(&lane->queues, LANE_PINNED + payment.processor, slot);
}

/* Crash: until purge_applied is stored the next owner does it all again, from
 * a row count that has only grown by rows settled before the crash. */
bool lane_purge_if_due(struct lane *lane)
{
    uint64_t wanted = purge_wanted(lane);
    struct shm_lane *control = lane->memory.control;
    uint64_t applied = lane_memory_lane_view(&lane->memory).purge_applied;
    if (wanted == applied)
        return false;
    CHECK(wanted > applied && wanted <= UINT32_MAX);
    struct payment_event event = {.kind = PAYMENT_EVENT_PURGE, .purge_generation = wanted};
    if (lane->memory.journal)
        journal_append(lane->memory.journal, JOURNAL_PURGED,
                       &(struct journal_payment){.purge_generation = (uint32_t)wanted,
                                                 .row = lane->memory.ledger.row_count},
                       JOURNAL_NO_SLOT);
    atomic_store_explicit(&control->first_row, lane->memory.ledger.row_count, memory_order_release);
    CRASH_POINT(purge_first_row);
    lane_queues_clear(&lane->queues);
    for (uint32_t slot = 0; slot < lane->queues.slot_count; slot++) {
        enum payment_state before = lane_memory_view(&lane->memory, slot).state;
        /* A purge cannot wait: if the filter may not forget yet, it gets fuller than it should. */
        if (before != PAYMENT_FREE)
            lane_memory_may_recycle(&lane->memory, lane->now_us / 1000, lane->settings.horizon_ms);
        if (before != PAYMENT_FREE &&
            lane_memory_step(&lane->memory, slot, &event).action == PAYMENT_ACTION_FREED) {
            lane->queues.slots[slot].use++;
            lane->queues.slots[slot].tries = 0;
            lane->queues.slots[slot].unknown_us = 0;
            if (before == PAYMENT_QUEUED)
                lane_memory_count(&lane->memory, SHM_LANE_COUNTER_purged);
        }
        place_after_purge(lane, slot);
        CRASH_POINT_IF(before != PAYMENT_FREE, purge_record_visited);
    }
    CRASH_POINT(purge_records_visited);
    lane_journal_commit(lane);
    /* Partner: shm_ledger_sum's acquire of purge_applied sees first_row. */
    atomic_store_explicit(&control->purge_applied, wanted, memory_order_release);
    CRASH_POINT(purge_done);
    LOG_INFO("purged", "lane=%u generation=%" PRIu64, lane->memory.number, wanted);
    return true;
}

struct aged_slot {
    int64_t accepted_at_ms;
    uint32_t slot;
};

static int by_age(const void *a, const void *b)
{
    const struct aged_slot *x = a, *y = b;
    if (x->accepted_at_ms != y->accepted_at_ms)
        return x->accepted_at_ms < y->accepted_at_ms ? -1 : 1;
    return x->slot < y->slot ? -1 : x->slot > y->slot;
}

/* Rule 8: what the dead owner left half done, made whole, before anything settles. */
static void visit(struct lane *lane, uint32_t slot)
{
    struct payment_event event = {.kind = PAYMENT_EVENT_TAKE_OVER};
    struct shm_payment_snapshot record;
    shm_payments_owner_get(&lane->memory.payments, slot, &record);
    struct shm_row row;
    if (shm_ledger_read_named(lane->region, lane->memory.number, record.row_name, &row)) {
        event.row_published = true;
        event.processor = row.processor;
        event.stored_requested_at_us = row.requested_at_us;
    }
    if (record.state == PAYMENT_SENT)
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_take_overs);
    lane_memory_step(&lane->memory, slot, &event);
}

static enum lane_place place_of(const struct payment_view *payment)
{
    switch (payment->state) {
    case PAYMENT_FREE:
        return LANE_FREE;
    case PAYMENT_QUEUED:
        return LANE_READY;
    case PAYMENT_SENT:
        return LANE_PINNED + payment->processor;
    default:
        return LANE_ENDED;
    }
}

void lane_take_over(struct lane *lane)
{
    uint32_t count = lane->queues.slot_count;
    struct aged_slot *slots = calloc(count, sizeof *slots);
    CHECK(slots != NULL);
    uint64_t unsettled = 0;
    int64_t now_wall_ms = clock_wall_ms();
    CRASH_POINT(take_over_begun);
    for (uint32_t slot = 0; slot < count; slot++) {
        struct payment_view payment = lane_memory_view(&lane->memory, slot);
        slots[slot] = (struct aged_slot){payment.accepted_at_ms, slot};
        lane->queues.slots[slot].accepted_us =
            payment_age_accepted_us(payment.accepted_at_ms, now_wall_ms, lane->now_us,
                                    (int64_t)lane->region->created_at_monotonic_ms * 1000);
        if (payment.state != PAYMENT_FREE)
            visit(lane, slot);
        CRASH_POINT_IF(payment.state != PAYMENT_FREE, take_over_visited);
    }
    qsort(slots, count, sizeof *slots, by_age);
    lane_queues_clear(&lane->queues);
    for (uint32_t i = 0; i < count; i++) {
        struct payment_view payment = lane_memory_view(&lane->memory, slots[i].slot);
        lane_queues_append(&lane->queues, place_of(&payment), slots[i].slot);
        unsettled += payment.state == PAYMENT_QUEUED || payment.state == PAYMENT_SENT;
    }
    free(slots);
    lane_decision_drop(lane);
    CRASH_POINT(take_over_placed);
    /* Too high after a crash at worst; now exact. */
    atomic_store_explicit(&lane->memory.control->unsettled, unsettled, memory_order_release);
    CRASH_POINT(take_over_done);
    lane_journal_open(lane);
    LOG_INFO("lane_taken", "lane=%u epoch=%u unsettled=%" PRIu64 " rows=%" PRIu64,
             lane->memory.number, lane->memory.epoch, unsettled, lane->memory.ledger.row_count);
}
