/* What an API counts before it accepts more: every payment on its way from the ring through the
 * table into the ledger is seen somewhere. The ledger is so small that two payments (escapes, two
 * rows each) and the margin of one API just do not fit: a look that grants has missed one. */
#include <string.h>

#include "test/race/explore/scenarios.h"

enum { OWNER, API };
enum { PUSH = 1, LOOK };
enum { PAYMENTS = 2 };

struct api {
    uint8_t pc, looks;
    struct shm_ring_producer ring;
};

static void setup(const struct race_parameters *p)
{
    CHECK(p->entries == PAYMENTS);
    race_region_make(&(struct race_region_shape){
        .lanes = 1,
        .ring_slots = 2,
        .payment_slots = p->slots,
        .index_heads = 1,
        .ledger_rows = (SHM_LEDGER_BUDGET + PAYMENTS) * SHM_ROWS_PER_PAYMENT_MAX - 1});
    atomic_init(&shm_region_lane(&race_region, 0)->lowest_bound_us, INT64_MAX);
    race_add_ring(0, 0, API, OWNER, true);
    race_written_by(OWNER);
    for (unsigned i = 0; i < p->slots; i++)
        race_add_record(0, i);
    race_add_index(0);
    race_add_lane(0);
    race_add_rows(0, 0, PAYMENTS * SHM_ROWS_PER_PAYMENT_MAX);
}

static void accept(struct api *me)
{
    if (me->pc == RACE_OPEN) {
        shm_ring_producer_open(&me->ring, &race_region, 0, 0);
        me->pc = PUSH;
    } else if (me->ring.local_tail < PAYMENTS) {
        struct shm_ring_entry entry = race_payment(me->ring.local_tail, true);
        if (!shm_ring_try_push(&me->ring, &entry))
            race_broken("an empty ring is full");
    } else {
        if (shm_ledger_budget(&race_region, 0) != 0)
            race_broken("the ledger could be overfilled: a payment is counted nowhere");
        if (++me->looks >= race_parameters.readers)
            race_done();
    }
}

static void run(unsigned party, void *local)
{
    if (party == OWNER)
        race_owner_run(local);
    else
        accept(local);
}

static void on_crash(unsigned party, void *local)
{
    (void)party;
    memset(local, 0, sizeof(struct race_owner));
}

static const char *at_end(const struct race_state *state)
{
    uint64_t count = race_newest(state, &shm_region_lane(&race_region, 0)->row_count);
    return count == PAYMENTS * SHM_ROWS_PER_PAYMENT_MAX ? NULL : "a payment is lost or doubled";
}

const struct race_scenario race_budget = {
    .name = "budget",
    .words = "payments on their way from the ring to the ledger, and an API that counts them",
    .parties = 2,
    .party = {"owner", "API"},
    .local_size = {sizeof(struct race_owner), sizeof(struct api)},
    .mortal = 1 << OWNER,
    .setup = setup,
    .run = run,
    .on_crash = on_crash,
    .at_end = at_end,
};
