/* The lane's owner. What lane.c and lane_payments.c do around lane_memory_step, without libcurl:
 * the processors answer at once, and not always well. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "shm/shm_doorbell.h"
#include "test/race/hammer/hammer.h"
#include "worker/lane_memory.h"

#define TAKE_BATCH 24
/* One answer in so many is a refusal, one unknown, one look-up gets none. */
#define TROUBLE_ONE_IN 24
/* Nobody who lives needs this long between a push and its ring, however crowded the machine. */
#define LOST_AFTER_MS 20000

struct owner {
    struct hammer_party *party;
    struct hammer *hammer;
    struct lane_memory memory;
    int fifo_fd;
    uint32_t slots;
    struct todo {
        enum payment_action action; /* what the last step asked for */
        unsigned processor;
    } * todo;
    uint32_t next_to_recycle;
    bool settles; /* takes nothing in until nothing is open */
};

static bool trouble(struct owner *owner)
{
    return hammer_random(owner->party) % TROUBLE_ONE_IN == 0;
}

static void step(struct owner *owner, uint32_t slot, const struct payment_event *event)
{
    struct payment_step step = lane_memory_step(&owner->memory, slot, event);
    owner->todo[slot] = (struct todo){step.action, step.processor};
}

/* --------------------------------------------------------------- the processors */

static _Atomic uint8_t *book_of(struct owner *owner, const struct payment_view *payment)
{
    uint64_t number = payment->id.lo;
    if (number >= 2 * owner->hammer->numbers_max ||
        payment->id.hi != hammer_id(owner->hammer, number).hi)
        hammer_fail(owner->hammer, "the table holds an id that nobody posted: %" PRIx64, number);
    return &owner->hammer->books[number];
}

static void post(struct owner *owner, uint32_t slot, const struct payment_view *payment)
{
    struct payment_event event = {.kind = PAYMENT_EVENT_REFUSED};
    if (payment->processor != hammer_processor(payment->id.lo) ||
        payment->requested_at_us != hammer_at_ms(owner->party->region, payment->id.lo) * 1000)
        hammer_fail(owner->hammer, "payment %" PRIu64 " is sent other than it was bound",
                    payment->id.lo);
    if (!trouble(owner)) {
        bool known = atomic_exchange(book_of(owner, payment), 1);
        event.kind = trouble(owner) ? PAYMENT_EVENT_UNKNOWN
                     : known        ? PAYMENT_EVENT_EXISTS
                                    : PAYMENT_EVENT_ACCEPTED;
    } else if (trouble(owner)) {
        event.kind = PAYMENT_EVENT_UNKNOWN; /* and not executed */
    }
    step(owner, slot, &event);
}

static void look_up(struct owner *owner, uint32_t slot, const struct payment_view *payment)
{
    unsigned asked = owner->todo[slot].processor;
    struct payment_event event = {.kind = PAYMENT_EVENT_ABSENT, .processor = asked};
    if (trouble(owner)) {
        event.kind = PAYMENT_EVENT_UNANSWERED;
    } else if (atomic_load(book_of(owner, payment)) && asked == hammer_processor(payment->id.lo)) {
        event.kind = PAYMENT_EVENT_FOUND;
        event.stored_amount_cents = payment->amount_cents;
        event.stored_requested_at_us = hammer_at_ms(owner->party->region, payment->id.lo) * 1000;
    }
    step(owner, slot, &event);
}

/* ------------------------------------------------------------------- the payments */

static void bind_or_ask(struct owner *owner, uint32_t slot, const struct payment_view *payment)
{
    struct payment_event event = {.kind = PAYMENT_EVENT_ASK};
    if (!(payment->flags & PAYMENT_FLAG_ASK)) {
        event.kind = PAYMENT_EVENT_BIND;
        event.processor = hammer_processor(payment->id.lo);
        event.now_ms = hammer_at_ms(owner->party->region, payment->id.lo);
    }
    step(owner, slot, &event);
}

static void advance(struct owner *owner, uint32_t slot)
{
    enum payment_action action = owner->todo[slot].action;
    if (action == PAYMENT_ACTION_NONE || action == PAYMENT_ACTION_ENDED ||
        action == PAYMENT_ACTION_FREED)
        return;
    struct payment_view payment = lane_memory_view(&owner->memory, slot);
    switch (action) {
    case PAYMENT_ACTION_READY:
        bind_or_ask(owner, slot, &payment);
        return;
    case PAYMENT_ACTION_POST:
        lane_memory_note_attempt(&owner->memory, slot);
        post(owner, slot, &payment);
        break;
    case PAYMENT_ACTION_LOOKUP:
    case PAYMENT_ACTION_RETRY_LOOKUP:
        look_up(owner, slot, &payment);
        break;
    case PAYMENT_ACTION_RESEND:
        step(owner, slot, &(struct payment_event){.kind = PAYMENT_EVENT_RESEND});
        return;
    default:
        return;
    }
    if (owner->todo[slot].action == PAYMENT_ACTION_ENDED)
        hammer_count(owner->hammer, HAMMER_SETTLED, 1);
}

static enum payment_state state_of(const struct owner *owner, uint32_t slot)
{
    return atomic_load_explicit(&owner->memory.payments.records[slot].state, memory_order_relaxed);
}

/* A slot for a new payment: a free one, or that of one that has ended. */
static uint32_t slot_for_new(struct owner *owner)
{
    uint32_t ended = SHM_PAYMENTS_NONE;
    for (uint32_t n = 0; n < owner->slots; n++) {
        uint32_t slot = (owner->next_to_recycle + n) % owner->slots;
        if (state_of(owner, slot) == PAYMENT_FREE)
            return slot;
        if (ended == SHM_PAYMENTS_NONE && payment_state_is_terminal(state_of(owner, slot)))
            ended = slot;
    }
    if (ended == SHM_PAYMENTS_NONE)
        return ended;
    owner->next_to_recycle = (ended + 1) % owner->slots;
    CHECK(lane_memory_may_recycle(&owner->memory, 0, 0));
    step(owner, ended, &(struct payment_event){.kind = PAYMENT_EVENT_RECYCLE});
    hammer_count(owner->hammer, HAMMER_RECYCLED, 1);
    return ended;
}

/* The judge's look at what came out of the ring. */
static void check_entry(const struct owner *owner, unsigned api, uint64_t number,
                        const struct shm_ring_entry *entry)
{
    uint64_t payment = hammer_payment(owner->hammer, api, number);
    struct uuid id = hammer_id(owner->hammer, payment);
    if (!uuid_equal(&entry->id, &id) || entry->amount_cents != hammer_amount_cents(payment) ||
        entry->accepted_at_ms != hammer_at_ms(owner->party->region, payment))
        hammer_fail(owner->hammer,
                    "entry %" PRIu64 " of ring %u is not what was pushed: payment %" PRIu64
                    " instead of %" PRIu64 ", %" PRId64 " cents",
                    number, api, entry->id.lo, payment, entry->amount_cents);
}

static bool take_one(struct owner *owner, unsigned api)
{
    struct lane_memory *memory = &owner->memory;
    struct shm_ring_consumer *ring = &memory->rings[api];
    struct shm_ring_entry entry;
    uint64_t applied = lane_memory_lane_view(memory).purge_applied;
    if (!shm_ring_peek(ring, &entry))
        return false;
    check_entry(owner, api, ring->local_head, &entry);
    if (entry.purge_generation > applied)
        return false;
    struct payment_event event = {
        .kind = PAYMENT_EVENT_INTAKE,
        .id = entry.id,
        .amount_cents = entry.amount_cents,
        .accepted_at_ms = entry.accepted_at_ms,
        .purge_generation = entry.purge_generation,
    };
    memory->ring = ring;
    uint32_t record = shm_payments_owner_find(&memory->payments, &entry.id);
    if (record != SHM_PAYMENTS_NONE || entry.purge_generation < applied) {
        lane_memory_step(memory, record, &event);
        return true;
    }
    uint32_t slot = slot_for_new(owner);
    if (slot == SHM_PAYMENTS_NONE)
        return false;
    event.remembered = shm_filter_contains(&memory->filter, &entry.id);
    step(owner, slot, &event);
    return true;
}

static bool take_in(struct owner *owner)
{
    unsigned taken = 0;
    for (unsigned api = 0; api < HAMMER_APIS; api++)
        for (unsigned n = 0; n < TAKE_BATCH && take_one(owner, api); n++)
            taken++;
    hammer_count(owner->hammer, HAMMER_TAKEN, taken);
    return taken > 0;
}

/* ------------------------------------------------------------ purge and take-over */

static bool purge_is_due(const struct owner *owner)
{
    return atomic_load_explicit(&shm_region_purge(owner->party->region)->generation,
                                memory_order_seq_cst) !=
           lane_memory_lane_view(&owner->memory).purge_applied;
}

static void purge(struct owner *owner)
{
    struct lane_memory *memory = &owner->memory;
    uint64_t wanted = atomic_load_explicit(&shm_region_purge(owner->party->region)->generation,
                                           memory_order_seq_cst);
    struct payment_event event = {.kind = PAYMENT_EVENT_PURGE, .purge_generation = wanted};
    atomic_store_explicit(&memory->control->first_row, memory->ledger.row_count,
                          memory_order_release);
    for (uint32_t slot = 0; slot < owner->slots; slot++) {
        enum payment_state state = lane_memory_view(memory, slot).state;
        if (state == PAYMENT_FREE || state == PAYMENT_SENT)
            continue; /* what is sent goes on as it was */
        struct payment_step step = lane_memory_step(memory, slot, &event);
        if (step.action == PAYMENT_ACTION_FREED)
            owner->todo[slot].action = PAYMENT_ACTION_NONE;
    }
    atomic_store_explicit(&memory->control->purge_applied, wanted, memory_order_release);
}

static void visit(struct owner *owner, uint32_t slot)
{
    struct payment_event event = {.kind = PAYMENT_EVENT_TAKE_OVER};
    struct shm_payment_snapshot record;
    struct shm_row row;
    shm_payments_owner_get(&owner->memory.payments, slot, &record);
    if (record.state == PAYMENT_FREE)
        return;
    if (shm_ledger_read_named(owner->party->region, HAMMER_LANE, record.row_name, &row)) {
        event.row_published = true;
        event.processor = row.processor;
        event.stored_requested_at_us = row.requested_at_us;
    }
    step(owner, slot, &event);
}

static void take_over(struct owner *owner)
{
    uint64_t unsettled = 0;
    for (uint32_t slot = 0; slot < owner->slots; slot++) {
        visit(owner, slot);
        enum payment_state state = lane_memory_view(&owner->memory, slot).state;
        unsettled += state == PAYMENT_QUEUED || state == PAYMENT_SENT;
    }
    atomic_store_explicit(&owner->memory.control->unsettled, unsettled, memory_order_release);
}

/* --------------------------------------------------------------------------- turns */

static uint64_t open_payments(const struct owner *owner)
{
    return atomic_load_explicit(&owner->memory.control->unsettled, memory_order_relaxed);
}

/* Nothing is open: all that was ever taken has ended. */
static void tell_ended(struct owner *owner)
{
    for (unsigned api = 0; api < HAMMER_APIS; api++)
        atomic_store_explicit(&owner->hammer->ended_below[api], owner->memory.rings[api].local_head,
                              memory_order_release);
}

static bool rings_are_empty(struct owner *owner)
{
    struct shm_ring_entry entry;
    for (unsigned api = 0; api < HAMMER_APIS; api++)
        if (shm_ring_peek(&owner->memory.rings[api], &entry))
            return false;
    return true;
}

static void check_not_lost(struct owner *owner, uint64_t deaths, int ready)
{
    if (ready == 0 && !rings_are_empty(owner) &&
        atomic_load(&owner->hammer->producer_deaths) == deaths)
        hammer_fail(owner->hammer,
                    "a lost wake-up: entries lie in a ring, and nobody rang for "
                    "%d ms",
                    LOST_AFTER_MS);
}

/* In poll or at the bell, as it comes. How it ended: as poll's. */
static int sleep_until_rung(struct owner *owner, bool alone, uint32_t rung)
{
    struct pollfd fifo = {.fd = owner->fifo_fd, .events = POLLIN};
    int64_t began_ms = clock_monotonic_ms();
    if (!alone)
        return poll(&fifo, 1, LOST_AFTER_MS);
    shm_doorbell_wait(owner->party->region, HAMMER_LANE, rung, LOST_AFTER_MS);
    return clock_monotonic_ms() - began_ms < LOST_AFTER_MS;
}

static void rest(struct owner *owner)
{
    struct shm_lane *control = owner->memory.control;
    bool alone = hammer_random(owner->party) % 2;
    uint32_t rung = 0;
    uint64_t deaths = atomic_load(&owner->hammer->producer_deaths);
    if (alone)
        rung = shm_doorbell_sleep_alone(owner->party->region, HAMMER_LANE);
    else
        shm_doorbell_sleep(control);
    if (rings_are_empty(owner) && !purge_is_due(owner) &&
        atomic_load(&owner->hammer->phase) != HAMMER_END) {
        hammer_count(owner->hammer, HAMMER_SLEPT, 1);
        int ready = sleep_until_rung(owner, alone, rung);
        if (ready > 0)
            hammer_count(owner->hammer, HAMMER_WOKEN, 1);
        check_not_lost(owner, deaths, ready < 0 && errno == EINTR ? 1 : ready);
    }
    shm_doorbell_awake(control, owner->fifo_fd);
}

static void turn(struct owner *owner)
{
    if (purge_is_due(owner))
        purge(owner);
    if (hammer_random(owner->party) % 16 == 0)
        owner->settles = true;
    bool taken = !owner->settles && take_in(owner);
    for (uint32_t slot = 0; slot < owner->slots; slot++)
        advance(owner, slot);
    if (open_payments(owner) > 0)
        return;
    tell_ended(owner);
    if (!taken && !owner->settles)
        rest(owner);
    owner->settles = false;
}

static bool is_done(struct owner *owner)
{
    return atomic_load(&owner->hammer->phase) == HAMMER_END && open_payments(owner) == 0 &&
           rings_are_empty(owner) && !purge_is_due(owner);
}

void hammer_owner(struct hammer_party *party)
{
    struct owner owner = {.party = party, .hammer = party->hammer};
    struct explain why;
    owner.slots = party->region->geometry.payment_slots;
    owner.todo = calloc(owner.slots, sizeof *owner.todo);
    owner.fifo_fd = shm_doorbell_listen(party->region, HAMMER_LANE, &why);
    if (!owner.todo || owner.fifo_fd < 0 ||
        lane_memory_open(&owner.memory, party->region, HAMMER_LANE, &why) != STATUS_OK)
        hammer_fail(party->hammer, "the lane cannot be opened: %s", why.text);
    take_over(&owner);
    while (hammer_goes_on(party) && !is_done(&owner))
        turn(&owner);
    close(owner.fifo_fd);
    free(owner.todo);
}
