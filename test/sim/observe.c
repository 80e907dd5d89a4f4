#include "test/sim/observe.h"

#include <inttypes.h>
#include <string.h>

#include "common/check.h"
#include "shm/shm_filter.h"
#include "shm/shm_payments.h"
#include "test/sim/gateway.h"
#include "test/sim/kernel.h"
#include "worker/payment_protocol.h"

/* A payment is given up after so many at least. */
#define LASTING_400S 3u

uint64_t sim_purges_begun;

static struct sim_row *rows; /* ledger_rows for each lane */
static uint64_t row_capacity;
static struct sim_payment *in_step[SHM_LANES_MAX]; /* whose stores the lane is making */

void sim_observe_begin(void)
{
    uint64_t wanted = (uint64_t)sim_settings.geometry.lanes * sim_settings.geometry.ledger_rows;
    if (wanted > row_capacity) {
        rows = sim_own_realloc(rows, wanted * sizeof *rows);
        row_capacity = wanted;
    }
    memset(rows, 0, wanted * sizeof *rows);
    memset(in_step, 0, sizeof in_step);
    sim_purges_begun = 0;
}

struct sim_row *sim_row_of(unsigned lane, uint64_t number)
{
    CHECK(number < sim_settings.geometry.ledger_rows);
    return &rows[(uint64_t)lane * sim_settings.geometry.ledger_rows + number];
}

void sim_purge_begins(void)
{
    sim_purges_begun++;
    for (uint32_t i = 0; i < sim_payment_count; i++)
        sim_payments[i].promised = false;
    sim_say("a purge begins");
}

/* ------------------------------------------------------------------- the protocol */

void __wrap_payment_protocol_step(struct payment_step *step, const struct payment_view *payment,
                                  const struct payment_lane_view *lane,
                                  const struct payment_event *event);
void __real_payment_protocol_step(struct payment_step *step, const struct payment_view *payment,
                                  const struct payment_lane_view *lane,
                                  const struct payment_event *event);

static void note_end(struct sim_payment *payment, const struct payment_step *step)
{
    const struct payment_store *last = step->stores;
    while (last->kind != PAYMENT_STORE_STATE)
        last++;
    sim_say("#%u ends: %s", sim_number(payment),
            shm_payments_state_name((enum payment_state)last->value));
    if (last->value != PAYMENT_REJECTED)
        return;
    payment->rejected = true;
    if (payment->bad_requests < LASTING_400S)
        sim_fail("#%u is REJECTED after %u answers 400", sim_number(payment),
                 (unsigned)payment->bad_requests);
}

void __wrap_payment_protocol_step(struct payment_step *step, const struct payment_view *payment,
                                  const struct payment_lane_view *lane,
                                  const struct payment_event *event)
{
    struct payment_view view = *payment;
    struct payment_lane_view lane_view = *lane;
    struct payment_event seen = *event;
    const struct uuid *id = event->kind == PAYMENT_EVENT_INTAKE ? &event->id : &payment->id;
    if (sim_mutation != SIM_SOUND)
        sim_mutate_before(&view, &lane_view, &seen);
    __real_payment_protocol_step(step, &view, &lane_view, &seen);
    if (sim_mutation != SIM_SOUND)
        sim_mutate_after(payment, event, step);
    if (step->store_count == 0 && step->action == PAYMENT_ACTION_NONE)
        return;
    struct sim_payment *of = sim_payment_of(id);
    in_step[of->lane = (uint8_t)shm_payments_lane_of(sim_region(), id)] = of;
    if (step->action == PAYMENT_ACTION_ENDED)
        note_end(of, step);
}

/* --------------------------------------------------------------------- the ledger */

void __wrap_shm_ledger_publish(struct shm_ledger_writer *writer);
void __real_shm_ledger_publish(struct shm_ledger_writer *writer);

static unsigned lane_of_control(const struct shm_lane *control)
{
    unsigned lane = 0;
    while (shm_region_lane(sim_region(), lane) != control)
        lane++;
    return lane;
}

/* Only what stands in a book may be counted, and as it stands there. */
static void check_row(const struct sim_row *seen)
{
    const struct sim_payment *payment = seen->payment;
    const struct sim_insert *insert = &payment->book[seen->row.processor];
    if (!insert->there || insert->amount_cents != seen->row.amount_cents ||
        insert->requested_at_us + !insert->exact != seen->row.requested_at_us)
        sim_fail("#%u is counted with processor %u, %" PRId64 " cents, %" PRId64
                 " us, which its book does not say",
                 sim_number(payment), seen->row.processor, seen->row.amount_cents,
                 seen->row.requested_at_us);
}

void __wrap_shm_ledger_publish(struct shm_ledger_writer *writer)
{
    unsigned lane = lane_of_control(writer->lane);
    struct sim_row *seen = sim_row_of(lane, writer->row_count);
    *seen = (struct sim_row){
        .payment = in_step[lane],
        .row = writer->pending,
        .words = writer->filler_words + writer->pending_words,
        .fillers = writer->filler_words,
        .generation = atomic_load_explicit(&writer->lane->purge_applied, memory_order_relaxed),
    };
    seen->payment->settled_us = sim_now_us;
    check_row(seen);
    __real_shm_ledger_publish(writer);
    seen->confirmed = true;
}

/* --------------------------------------------------------------------- the filter */

void __wrap_shm_filter_remember(struct shm_filter_handle *filter, const struct uuid *id,
                                int64_t adopted_us);
void __real_shm_filter_remember(struct shm_filter_handle *filter, const struct uuid *id,
                                int64_t adopted_us);
void __wrap_shm_filter_rotate(struct shm_filter_handle *filter, int64_t now_monotonic_ms);
void __real_shm_filter_rotate(struct shm_filter_handle *filter, int64_t now_monotonic_ms);

static unsigned active(const struct shm_filter_handle *filter)
{
    return (unsigned)__atomic_load_n(&filter->meta->active, __ATOMIC_RELAXED);
}

void __wrap_shm_filter_remember(struct shm_filter_handle *filter, const struct uuid *id,
                                int64_t adopted_us)
{
    struct sim_payment *payment = sim_payment_of(id);
    payment->remembered |= (uint8_t)(1u << active(filter));
    payment->remembered_us = sim_now_us;
    __real_shm_filter_remember(filter, id, adopted_us);
}

/* From here on those of the older generation are beyond the horizon. None of them may be younger
 * than the setting promises. */
void __wrap_shm_filter_rotate(struct shm_filter_handle *filter, int64_t now_monotonic_ms)
{
    unsigned next = 1 - active(filter);
    unsigned lane = 0;
    while (&shm_region_lane(sim_region(), lane)->filter != filter->meta)
        lane++;
    for (uint32_t i = 0; i < sim_payment_count; i++) {
        struct sim_payment *payment = &sim_payments[i];
        if (payment->lane != lane || !(payment->remembered & 1u << next))
            continue;
        payment->remembered &= (uint8_t) ~(1u << next);
        if (payment->remembered)
            continue;
        payment->forgotten = true;
        sim_say("#%u is forgotten", i);
        if (sim_now_us - payment->remembered_us <
            sim_settings.lane.horizon_ms * 1000 - sim_settings.hold_up_us)
            sim_fail("#%u is forgotten after %" PRId64 " ms", i,
                     (sim_now_us - payment->remembered_us) / 1000);
    }
    __real_shm_filter_rotate(filter, now_monotonic_ms);
}

/* ----------------------------------------------------------------------- summaries */

struct bounds {
    uint64_t payments[SHM_PROCESSORS];
    unsigned __int128 cents[SHM_PROCESSORS];
};

/* All rows of the current generation in a window, as seen: those that were published for certain,
 * or all that may have been. */
static void add_up(struct bounds *bounds, const struct shm_region *region,
                   const struct shm_window *window, bool certain)
{
    uint64_t generation = __atomic_load_n(&shm_region_purge(region)->generation, __ATOMIC_RELAXED);
    memset(bounds, 0, sizeof *bounds);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        for (uint64_t at = 0; at < region->geometry.ledger_rows;) {
            const struct sim_row *seen = sim_row_of(lane, at);
            if (!seen->payment)
                break;
            at += seen->words;
            if (seen->generation != generation || (certain && !seen->confirmed) ||
                seen->row.requested_at_us < window->from_us ||
                seen->row.requested_at_us > window->to_us)
                continue;
            bounds->payments[seen->row.processor]++;
            bounds->cents[seen->row.processor] += (unsigned __int128)seen->row.amount_cents;
        }
    }
}

void sim_check_sum(const struct shm_region *region, const struct shm_window *window)
{
    struct bounds least, most;
    struct shm_totals totals;
    uint64_t purges = sim_purges_begun;
    add_up(&least, region, window, true);
    enum status status = shm_ledger_sum(region, window, &totals);
    add_up(&most, region, window, false);
    sim_gateway_tally.sums++;
    if (status != STATUS_OK || purges != sim_purges_begun)
        return; /* STATUS_BUSY, or a purge has moved the bounds */
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        if (totals.payments[p] < least.payments[p] || totals.payments[p] > most.payments[p] ||
            totals.sum_cents[p] < least.cents[p] || totals.sum_cents[p] > most.cents[p])
            sim_fail("a summary counts %" PRIu64 " payments of processor %u, %" PRIu64
                     " cents; %" PRIu64 " to %" PRIu64 " were published, %" PRIu64 " to %" PRIu64
                     " cents",
                     totals.payments[p], p, (uint64_t)totals.sum_cents[p], least.payments[p],
                     most.payments[p], (uint64_t)least.cents[p], (uint64_t)most.cents[p]);
}
