/* The gateway with one rule less, for the self-test: lies to the automaton before its step, or
 * other stores after it. In this tree only; SIM_SOUND is the production code. */
#include "test/sim/observe.h"

#include "shm/shm_block_index.h"
#include "shm/shm_doorbell.h"
#include "shm/shm_payments.h"
#include "test/sim/kernel.h"
#include "worker/lane_internal.h"

enum sim_mutation sim_mutation;

static bool is(enum sim_mutation mutation)
{
    return sim_mutation == mutation;
}

void sim_mutate_before(struct payment_view *payment, struct payment_lane_view *lane,
                       struct payment_event *event)
{
    if (is(SIM_UNKNOWN_UNPINS) && event->kind == PAYMENT_EVENT_UNKNOWN)
        event->kind = PAYMENT_EVENT_REFUSED;
    if (is(SIM_LATER_NO_UNPINS) && event->kind == PAYMENT_EVENT_REFUSED)
        payment->flags &= ~(unsigned)PAYMENT_FLAG_UNKNOWN;
    if (is(SIM_EXISTS_SETTLES) && event->kind == PAYMENT_EVENT_EXISTS)
        event->kind = PAYMENT_EVENT_ACCEPTED;
    if (is(SIM_SEEN_FORGOTTEN) && event->kind == PAYMENT_EVENT_INTAKE)
        event->remembered = false;
    if (is(SIM_ADOPTS_ANYTHING) && event->kind == PAYMENT_EVENT_FOUND) {
        lane->lowest_bound_us = INT64_MAX;
        payment->flags &= ~(unsigned)PAYMENT_FLAG_SEEN;
    }
    if (is(SIM_AMOUNT_IGNORED) && event->kind == PAYMENT_EVENT_FOUND)
        event->stored_amount_cents = payment->amount_cents;
    if (is(SIM_PURGE_DROPS_SENT) && event->kind == PAYMENT_EVENT_PURGE &&
        payment->state == PAYMENT_SENT)
        payment->state = PAYMENT_QUEUED;
    if (is(SIM_NAME_COUNTS) && event->kind == PAYMENT_EVENT_TAKE_OVER && payment->row_named &&
        !event->row_published) {
        event->row_published = true;
        event->processor = payment->processor;
        event->stored_requested_at_us = payment->requested_at_us;
    }
}

static unsigned find(const struct payment_step *step, enum payment_store_kind kind)
{
    unsigned i = 0;
    while (i < step->store_count && step->stores[i].kind != kind)
        i++;
    return i;
}

static void drop(struct payment_step *step, enum payment_store_kind kind)
{
    unsigned i = find(step, kind);
    if (i == step->store_count)
        return;
    for (step->store_count--; i < step->store_count; i++)
        step->stores[i] = step->stores[i + 1];
}

/* Make the last store the first. */
static void hurry_last(struct payment_step *step)
{
    struct payment_store last = step->stores[step->store_count - 1];
    for (unsigned i = step->store_count - 1; i > 0; i--)
        step->stores[i] = step->stores[i - 1];
    step->stores[0] = last;
}

static void add(struct payment_step *step, enum payment_store_kind kind, int64_t value,
                unsigned processor)
{
    step->stores[step->store_count++] =
        (struct payment_store){.kind = kind, .processor = processor, .value = value};
}

static void publish_twice(struct payment_step *step)
{
    unsigned row = find(step, PAYMENT_STORE_ROW);
    if (row == step->store_count)
        return;
    struct payment_store again = step->stores[row];
    add(step, PAYMENT_STORE_ROW, again.value, again.processor);
    add(step, PAYMENT_STORE_ROW_COUNT, 0, 0);
}

static void bind_anew(const struct payment_view *payment, struct payment_step *step)
{
    if (payment->state != PAYMENT_SENT || step->action != PAYMENT_ACTION_RESEND)
        return;
    drop(step, PAYMENT_STORE_FLAGS);
    add(step, PAYMENT_STORE_FLAGS, payment->flags & ~(unsigned)PAYMENT_FLAG_UNKNOWN, 0);
    add(step, PAYMENT_STORE_STATE, PAYMENT_QUEUED, 0);
    step->action = PAYMENT_ACTION_READY;
}

void sim_mutate_after(const struct payment_view *payment, const struct payment_event *event,
                      struct payment_step *step)
{
    if (is(SIM_DEAD_OWNER_UNPINS) && event->kind == PAYMENT_EVENT_TAKE_OVER)
        bind_anew(payment, step);
    if (is(SIM_LATER_NO_UNPINS) && event->kind == PAYMENT_EVENT_REFUSED)
        add(step, PAYMENT_STORE_FLAGS, payment->flags & ~(unsigned)PAYMENT_FLAG_UNKNOWN, 0);
    if (is(SIM_TIME_ANEW) && event->kind == PAYMENT_EVENT_RESEND)
        add(step, PAYMENT_STORE_REQUESTED_AT, payment->requested_at_us + 1000, 0);
    if (is(SIM_REMEMBER_FORGOTTEN))
        drop(step, PAYMENT_STORE_REMEMBER);
    if (is(SIM_NAME_STANDS) && event->kind == PAYMENT_EVENT_TAKE_OVER)
        drop(step, PAYMENT_STORE_ROW_NAME);
    if (is(SIM_COUNTED_TWICE))
        publish_twice(step);
    if (is(SIM_SETTLED_FIRST) && find(step, PAYMENT_STORE_ROW_COUNT) < step->store_count)
        hurry_last(step);
    if (is(SIM_HEAD_FIRST) && event->kind == PAYMENT_EVENT_INTAKE)
        hurry_last(step);
}

/* ------------------------------------------------------------ beside the automaton */

uint32_t __wrap_shm_payments_owner_find(const struct shm_payments *payments, const struct uuid *id);
uint32_t __real_shm_payments_owner_find(const struct shm_payments *payments, const struct uuid *id);
void __wrap_shm_block_index_append(struct shm_block_index_writer *index, const struct shm_row *row,
                                   uint64_t before, uint64_t after);
void __real_shm_block_index_append(struct shm_block_index_writer *index, const struct shm_row *row,
                                   uint64_t before, uint64_t after);
void __wrap_shm_ledger_write(struct shm_ledger_writer *writer, const struct shm_row *row);
void __real_shm_ledger_write(struct shm_ledger_writer *writer, const struct shm_row *row);

uint32_t __wrap_shm_payments_owner_find(const struct shm_payments *payments, const struct uuid *id)
{
    return is(SIM_COPY_OVERLOOKED) ? SHM_PAYMENTS_NONE
                                   : __real_shm_payments_owner_find(payments, id);
}

void __wrap_shm_block_index_append(struct shm_block_index_writer *index, const struct shm_row *row,
                                   uint64_t before, uint64_t after)
{
    struct shm_row short_one = {.processor = 0}; /* NULL: a filler */
    if (row)
        short_one = *row;
    short_one.amount_cents -= is(SIM_BLOCK_LOSES) && short_one.processor == 1;
    __real_shm_block_index_append(index, row ? &short_one : NULL, before, after);
}

void __wrap_shm_ledger_write(struct shm_ledger_writer *writer, const struct shm_row *row)
{
    struct shm_row short_one = *row;
    short_one.amount_cents -= is(SIM_ROW_SHORT) && row->amount_cents > 1;
    __real_shm_ledger_write(writer, &short_one);
}

bool __wrap_lane_purge_if_due(struct lane *lane);
bool __real_lane_purge_if_due(struct lane *lane);

bool __wrap_lane_purge_if_due(struct lane *lane)
{
    uint64_t first = lane->memory.control->first_row;
    bool was_due = __real_lane_purge_if_due(lane);
    if (is(SIM_PURGE_KEEPS_ROWS))
        lane->memory.control->first_row = first;
    return was_due;
}
