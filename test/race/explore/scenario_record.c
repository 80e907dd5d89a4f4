/* One lane with real records, and an API that reads them: two payments take turns. */
#include <string.h>

#include "test/race/explore/scenarios.h"

enum { OWNER, READER };
/* parameters.variant */
enum { READS = 0, FINDS = 16 };

struct reader {
    uint8_t calls;
};

/* All contents that records had while their sequence was even. */
struct ghost {
    uint64_t version[40];
    uint8_t count;
};

static struct shm_payment *record_0(void)
{
    return shm_region_payments(&race_region, 0);
}

static uint64_t mix(uint64_t a, uint64_t b)
{
    a = (a ^ b) * UINT64_C(0x9e3779b97f4a7c15);
    return a ^ a >> 29;
}

static uint64_t hash_of(const struct shm_payment_snapshot *s)
{
    uint64_t words[] = {s->state,
                        s->processor,
                        s->flags,
                        s->refusals,
                        s->id.hi,
                        s->id.lo,
                        s->row_name,
                        (uint64_t)s->amount_cents,
                        (uint64_t)s->accepted_at_ms,
                        (uint64_t)s->requested_at_us,
                        s->purge_generation};
    uint64_t hash = 1;
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        hash = mix(hash, words[i]);
    return hash;
}

static void setup(const struct race_parameters *p)
{
    race_region_make(&(struct race_region_shape){.lanes = 1,
                                                 .ring_slots = 2,
                                                 .payment_slots = p->slots,
                                                 .index_heads = 1,
                                                 .ledger_rows = SHM_BLOCK_ROWS});
    for (unsigned n = 0; n < p->entries; n++) {
        struct shm_ring_slot *slot = &shm_region_ring_slots(&race_region, 0, 0)[n];
        struct shm_ring_entry entry = race_payment(n, false);
        race_fill_slot(slot, &entry);
    }
    atomic_init(&shm_region_api(&race_region, 0)->tail[0].value, p->entries);
    atomic_init(&shm_region_lane(&race_region, 0)->lowest_bound_us, INT64_MAX);
    race_add_ring(0, 0, OWNER, OWNER, true); /* nobody pushes */
    for (unsigned i = 0; i < p->slots; i++)
        race_add_record(0, i);
    race_add_index(0);
    race_add_lane(0);
    race_add_rows(0, 0, p->entries + 1);
    race_start_over_at(READER, RACE_SEQUENCE, 3);
    if (p->readers == 0)
        race_absent(READER);
}

static void check(const struct shm_payment_snapshot *s)
{
    const struct ghost *ghost = race_ghost();
    uint64_t hash = hash_of(s);
    if (s->state == PAYMENT_FREE)
        return;
    for (unsigned i = 0; i < ghost->count; i++)
        if (ghost->version[i] == hash)
            return;
    race_say("    reader: has state %u, id %llu, %lld cents, requestedAt %lld us, row name %u\n",
             (unsigned)s->state, (unsigned long long)s->id.lo, (long long)s->amount_cents,
             (long long)s->requested_at_us, s->row_name);
    race_broken("a reader is given a record that never was");
}

static void look(struct reader *me)
{
    struct shm_payments payments;
    struct shm_payment_snapshot snapshot;
    struct uuid id = race_payment(race_parameters.variant & 15, false).id;
    shm_payments_open(&payments, &race_region, 0);
    if (race_parameters.variant == READS) {
        if (shm_payments_read(&payments, 0, &snapshot))
            check(&snapshot);
    } else if (shm_payments_find(&payments, &id, &snapshot) == SHM_PAYMENTS_HIT) {
        if (!uuid_equal(&snapshot.id, &id))
            race_broken("another payment is found than the one looked for");
        check(&snapshot);
    }
    if (++me->calls >= race_parameters.readers)
        race_done();
}

static void run(unsigned party, void *local)
{
    if (party == OWNER)
        race_owner_run(local);
    else
        look(local);
}

#define NEWEST(field) race_newest(race_now(), &r->field)

static void on_store(unsigned party, const struct race_word *word, uint64_t value)
{
    (void)party;
    if (word->class != RACE_SEQUENCE || (value & 1))
        return;
    const struct shm_payment *r = word->address;
    struct ghost *ghost = race_ghost();
    struct shm_payment_snapshot s = {.state = (enum payment_state)NEWEST(state),
                                     .processor = (unsigned)NEWEST(processor),
                                     .flags = (unsigned)NEWEST(flags),
                                     .refusals = (unsigned)NEWEST(refusals),
                                     .id = {.hi = NEWEST(id_hi), .lo = NEWEST(id_lo)},
                                     .amount_cents = (int64_t)NEWEST(amount_cents),
                                     .accepted_at_ms = (int64_t)NEWEST(accepted_at_ms),
                                     .requested_at_us = (int64_t)NEWEST(requested_at_us),
                                     .row_name = (uint32_t)NEWEST(row_name),
                                     .purge_generation = (uint32_t)NEWEST(purge_generation)};
    uint64_t hash = hash_of(&s);
    for (unsigned i = 0; i < ghost->count; i++)
        if (ghost->version[i] == hash)
            return;
    CHECK(ghost->count < 40);
    ghost->version[ghost->count++] = hash;
}

static void on_crash(unsigned party, void *local)
{
    (void)party;
    memset(local, 0, sizeof(struct race_owner));
}

/* Every payment is in the ledger, once, as it was sent. */
static const char *at_end(const struct race_state *state)
{
    const uint64_t *rows = shm_region_rows(&race_region, 0);
    struct shm_lane *lane = shm_region_lane(&race_region, 0);
    uint64_t count = race_newest(state, &lane->row_count);
    if (race_newest(state, &lane->head[0].value) != race_parameters.entries)
        return "an accepted payment is never taken from its ring";
    if (count != race_parameters.entries)
        return count < race_parameters.entries ? "an accepted payment is lost"
                                               : "a payment is counted twice";
    for (unsigned n = 0; n < race_parameters.entries; n++) {
        struct shm_ring_entry entry = race_payment(n, false);
        uint64_t word = race_newest_plain(state, &rows[n]);
        struct shm_row row;
        if (shm_ledger_unpack(&row, &word, 0) != 1 || row.amount_cents != entry.amount_cents ||
            row.requested_at_us != RACE_BOUND_MS(entry.id.lo) * 1000)
            return "a row is not that of its payment";
    }
    if (race_newest(state, &record_0()->sequence) & 1)
        return "a record stays in motion for ever";
    return race_newest(state, &lane->unsettled) == 0 ? NULL : "`unsettled` counts what has ended";
}

const struct race_scenario race_record = {
    .name = "record",
    .words = "a lane's records, from the ring to the ledger, and a reader of them",
    .parties = 2,
    .party = {"owner", "reader"},
    .local_size = {sizeof(struct race_owner), sizeof(struct reader)},
    .mortal = 1 << OWNER,
    .first = 1 << OWNER,
    .setup = setup,
    .run = run,
    .on_store = on_store,
    .on_crash = on_crash,
    .at_end = at_end,
};
