#include "api/payment_intake.h"

#include "common/check.h"
#include "shm/shm_ledger.h"
#include "shm/shm_operator.h"

/* In async, entries that a lane has not taken in for so long are as good as lost, should the power
 * go: nothing more is accepted before they are in its journal. */
#define BEHIND_MS 1000

void payment_intake_open(struct payment_intake *intake, const struct shm_region *region,
                         unsigned api_slot)
{
    *intake = (struct payment_intake){
        .region = region,
        .api_slot = api_slot,
        .intake = UINT64_MAX, /* not seen yet */
        .intake_seen = &shm_region_api(region, api_slot)->intake_seen,
    };
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        shm_ring_producer_open(&intake->lanes[lane].ring, region, api_slot, lane);
        shm_doorbell_open(&intake->lanes[lane].bell, region, lane);
        shm_payments_open(&intake->lanes[lane].payments, region, lane);
    }
    (void)payment_intake_is_stopped(intake); /* a new tenant says so at once */
}

void payment_intake_close(struct payment_intake *intake)
{
    for (unsigned lane = 0; lane < intake->region->geometry.lanes; lane++)
        shm_doorbell_close(&intake->lanes[lane].bell);
}

static void wake(struct payment_intake_lane *lane)
{
    shm_doorbell_ring(&lane->bell);
    lane->unwoken = false;
}

void payment_intake_wake(struct payment_intake *intake)
{
    for (unsigned lane = 0; lane < intake->region->geometry.lanes; lane++)
        if (intake->lanes[lane].unwoken)
            wake(&intake->lanes[lane]);
}

void payment_intake_wake_all(struct payment_intake *intake)
{
    for (unsigned lane = 0; lane < intake->region->geometry.lanes; lane++)
        wake(&intake->lanes[lane]);
}

bool payment_intake_is_stopped(struct payment_intake *intake)
{
    uint64_t number = shm_operator_intake(intake->region);
    if (number != intake->intake) {
        intake->intake = number;
        /* Pairs with the acquire of whoever drains: our tails up to here come with it. */
        atomic_store_explicit(intake->intake_seen, number, memory_order_release);
    }
    return shm_operator_is_stopped(number);
}

/* A name that was deleted is noticed once a second, from outside; a removal at once. */
static bool is_region_gone(const struct payment_intake *intake)
{
    /* Pairs with the release of whoever removes the region. */
    return intake->region_gone || atomic_load_explicit(&shm_region_header(intake->region)->state,
                                                       memory_order_acquire) != SHM_REGION_READY;
}

/* Records keep the low half of the generation only: a signed difference orders them for the next
 * 2^31 purges. Newer than ours is possible, since another API may have accepted it meanwhile. */
static bool is_purged(const struct shm_payment_snapshot *payment, uint64_t generation)
{
    return (int32_t)(payment->purge_generation - (uint32_t)generation) < 0;
}

static enum payment_intake_verdict judge_known(const struct shm_payment_snapshot *payment,
                                               int64_t amount_cents)
{
    if (payment->amount_cents != amount_cents)
        return PAYMENT_INTAKE_DIFFERS;
    if (payment->state == PAYMENT_CONFLICT || payment->state == PAYMENT_REJECTED)
        return PAYMENT_INTAKE_REFUSED;
    return PAYMENT_INTAKE_KNOWN;
}

static const struct shm_lane *control_of(const struct payment_intake *intake, unsigned lane)
{
    return shm_region_lane(intake->region, lane);
}

/* Pairs with the release in lane_journal.c. */
static bool has_journal_failed(const struct payment_intake *intake, unsigned lane)
{
    return intake->region->durability != SHM_DURABILITY_MEMORY &&
           atomic_load_explicit(&control_of(intake, lane)->journal.state, memory_order_acquire) ==
               SHM_JOURNAL_FAILED;
}

static bool is_journal_behind(const struct payment_intake *intake, unsigned lane, int64_t now_ms)
{
    struct shm_ring_entry oldest;
    if (intake->region->durability != SHM_DURABILITY_ASYNC)
        return false;
    uint64_t head = atomic_load_explicit(&control_of(intake, lane)->head[intake->api_slot].value,
                                         memory_order_acquire);
    return shm_ring_look(intake->region, intake->api_slot, lane, head, &oldest) &&
           now_ms - oldest.accepted_at_ms > BEHIND_MS;
}

enum payment_intake_durability payment_intake_look(const struct payment_intake *intake,
                                                   const struct payment_intake_receipt *receipt)
{
    const struct shm_lane *control = control_of(intake, receipt->lane);
    if (intake->region->durability != SHM_DURABILITY_SYNC)
        return has_journal_failed(intake, receipt->lane) ? PAYMENT_INTAKE_NEVER_KNOWN
                                                         : PAYMENT_INTAKE_DURABLE;
    /* A record that is known may be one that nothing was told of any more: seen before this look.
     */
    if (!receipt->is_entry && has_journal_failed(intake, receipt->lane))
        return PAYMENT_INTAKE_NEVER_KNOWN;
    /* Pairs with the releases in lane_journal.c. */
    uint64_t durable =
        atomic_load_explicit(receipt->is_entry ? &control->durable_head[intake->api_slot].value
                                               : &control->journal.durable,
                             memory_order_acquire);
    if (durable >= receipt->upto)
        return PAYMENT_INTAKE_DURABLE;
    return has_journal_failed(intake, receipt->lane) ? PAYMENT_INTAKE_NEVER_KNOWN
                                                     : PAYMENT_INTAKE_NOT_YET;
}

static enum payment_intake_verdict push(struct payment_intake *intake, unsigned number,
                                        struct payment_intake_lane *lane,
                                        const struct shm_ring_entry *entry)
{
    if (has_journal_failed(intake, number))
        return PAYMENT_INTAKE_JOURNAL_FAILED;
    if (is_journal_behind(intake, number, entry->accepted_at_ms))
        return PAYMENT_INTAKE_JOURNAL_BEHIND;
    if (lane->budget == 0)
        lane->budget = shm_ledger_budget(intake->region, number);
    if (lane->budget == 0)
        return PAYMENT_INTAKE_LEDGER_FULL;
    if (!shm_ring_try_push(&lane->ring, entry))
        return PAYMENT_INTAKE_RING_FULL;
    lane->budget--;
    lane->unwoken = true;
    intake->receipt = (struct payment_intake_receipt){number, true, lane->ring.local_tail};
    return PAYMENT_INTAKE_ACCEPTED;
}

static const struct shm_payments *table_of(const struct payment_intake *intake,
                                           const struct uuid *id)
{
    return &intake->lanes[shm_payments_lane_of(intake->region, id)].payments;
}

void payment_intake_expect(const struct payment_intake *intake, const struct uuid *id)
{
    shm_payments_expect(table_of(intake, id), id);
}

void payment_intake_expect_record(const struct payment_intake *intake, const struct uuid *id)
{
    shm_payments_expect_record(table_of(intake, id), id);
}

enum payment_intake_verdict payment_intake_offer(struct payment_intake *intake,
                                                 const struct uuid *id, int64_t amount_cents,
                                                 int64_t now_ms)
{
    struct shm_payment_snapshot known;

    CHECK(amount_cents > 0);
    if (is_region_gone(intake))
        return PAYMENT_INTAKE_REGION_GONE;
    unsigned number = shm_payments_lane_of(intake->region, id);
    struct payment_intake_lane *lane = &intake->lanes[number];
    /* Before the look at the table and before the push: see the header. */
    uint64_t generation =
        atomic_load_explicit(&shm_region_purge(intake->region)->generation, memory_order_seq_cst);

    /* A record that the purge has not reached yet is a miss: the lane clears it, or keeps it if it
     * is in flight, before it takes anything newer out of a ring, and judges the copy then. */
    if (shm_payments_find(&lane->payments, id, &known) == SHM_PAYMENTS_HIT &&
        !is_purged(&known, generation)) {
        /* After the look at the record: whatever it tells of was written before. Pairs with the
         * release in lane_memory.c. */
        intake->receipt = (struct payment_intake_receipt){
            number, false,
            atomic_load_explicit(&control_of(intake, number)->journal.written,
                                 memory_order_acquire)};
        return judge_known(&known, amount_cents);
    }
    if (payment_intake_is_stopped(intake))
        return PAYMENT_INTAKE_STOPPED;
    return push(intake, number, lane,
                &(struct shm_ring_entry){.id = *id,
                                         .amount_cents = amount_cents,
                                         .accepted_at_ms = now_ms,
                                         .purge_generation = generation});
}
