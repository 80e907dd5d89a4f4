/* Everybody but the owner: who pushes, who reads, who purges. */
#include <inttypes.h>
#include <time.h>

#include "shm/shm_doorbell.h"
#include "shm/shm_ledger.h"
#include "test/race/hammer/hammer.h"

static void nap(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static bool drains(const struct hammer *hammer)
{
    return atomic_load_explicit(&hammer->phase, memory_order_relaxed) != HAMMER_RUN;
}

static uint64_t generation_of(const struct shm_region *region)
{
    return atomic_load_explicit(&shm_region_purge(region)->generation, memory_order_seq_cst);
}

/* ------------------------------------------------------------------------ producers */

struct producer {
    struct hammer_party *party;
    unsigned api;
    struct shm_ring_producer ring;
    struct shm_doorbell bell;
    unsigned budget;
};

/* As payment_intake.c does it. */
static bool push(struct producer *producer)
{
    struct hammer *hammer = producer->party->hammer;
    const struct shm_region *region = producer->party->region;
    uint64_t number = producer->ring.local_tail;
    uint64_t payment = hammer_payment(hammer, producer->api, number);
    struct shm_ring_entry entry = {
        .id = hammer_id(hammer, payment),
        .amount_cents = hammer_amount_cents(payment),
        .accepted_at_ms = hammer_at_ms(region, payment),
        .purge_generation = generation_of(region),
    };
    if (producer->budget == 0)
        producer->budget = shm_ledger_budget(region, HAMMER_LANE);
    if (producer->budget == 0) {
        hammer_count(hammer, HAMMER_LEDGER_FULL, 1);
        return false;
    }
    if (!shm_ring_try_push(&producer->ring, &entry)) {
        hammer_count(hammer, HAMMER_RING_FULL, 1);
        return false;
    }
    producer->budget--;
    return true;
}

/* Bursts, and pauses that let the owner fall asleep. */
void hammer_producer(struct hammer_party *party)
{
    struct producer producer = {.party = party, .api = party->role - HAMMER_PRODUCER_0};
    shm_ring_producer_open(&producer.ring, party->region, producer.api, HAMMER_LANE);
    shm_doorbell_open(&producer.bell, party->region, HAMMER_LANE);
    while (hammer_goes_on(party) && !drains(party->hammer)) {
        uint64_t wanted = 1 + hammer_random(party) % 96, pushed = 0;
        while (pushed < wanted && producer.ring.local_tail < party->hammer->numbers_max &&
               push(&producer))
            pushed++;
        shm_doorbell_ring(&producer.bell); /* for all of them: an API does so after its answers */
        hammer_count(party->hammer, HAMMER_PUSHED, pushed);
        if (hammer_random(party) % 128 == 0)
            nap((long)(hammer_random(party) % 20000));
        else if (pushed < wanted || hammer_random(party) % 16 == 0)
            nap((long)(hammer_random(party) % 100));
    }
    shm_doorbell_close(&producer.bell);
}

/* -------------------------------------------------------------------- record reader */

struct reader {
    struct hammer_party *party;
    struct shm_payments payments;
};

static void check_row(const struct reader *reader, const struct shm_payment_snapshot *s)
{
    struct shm_row row;
    if (!shm_ledger_read_named(reader->party->region, HAMMER_LANE, s->row_name, &row))
        hammer_fail(reader->party->hammer, "SETTLED, but its row %" PRIu32 " is not published",
                    s->row_name);
    if (row.amount_cents != s->amount_cents || row.processor != s->processor ||
        row.requested_at_us != s->requested_at_us)
        hammer_fail(reader->party->hammer,
                    "the row named %" PRIu32 " is not that of payment %" PRIu64, s->row_name,
                    s->id.lo);
}

static void check_record(const struct reader *reader, const struct shm_payment_snapshot *s)
{
    struct hammer *hammer = reader->party->hammer;
    uint64_t payment = s->id.lo;
    int64_t at_ms = hammer_at_ms(reader->party->region, payment);
    if (s->state == PAYMENT_FREE)
        return;
    hammer_count(hammer, HAMMER_RECORDS_READ, 1);
    bool bound = s->state == PAYMENT_SENT || s->state == PAYMENT_SETTLED;
    if (s->id.hi != hammer_id(hammer, payment).hi || s->accepted_at_ms != at_ms ||
        s->amount_cents != hammer_amount_cents(payment) || s->state > PAYMENT_DUPLICATE ||
        (bound &&
         (s->requested_at_us != at_ms * 1000 || s->processor != hammer_processor(payment))))
        hammer_fail(hammer, "a torn record: payment %" PRIu64 ", %" PRId64 " cents, state %u",
                    payment, s->amount_cents, (unsigned)s->state);
    if (s->state == PAYMENT_SETTLED)
        check_row(reader, s);
}

static uint64_t recent(struct hammer_party *party, unsigned api)
{
    uint64_t tail = atomic_load_explicit(
        &shm_region_api(party->region, api)->tail[HAMMER_LANE].value, memory_order_acquire);
    uint64_t back = hammer_random(party) % 160;
    return tail > back ? tail - back : 0;
}

static void read_record(struct reader *reader)
{
    struct hammer_party *party = reader->party;
    struct shm_payment_snapshot snapshot;
    uint32_t record = (uint32_t)(hammer_random(party) % reader->payments.slots);
    if (shm_payments_read(&reader->payments, record, &snapshot))
        check_record(reader, &snapshot);
    else
        hammer_count(party->hammer, HAMMER_RECORDS_IN_MOTION, 1);
}

static void find_record(struct reader *reader)
{
    struct hammer_party *party = reader->party;
    struct shm_payment_snapshot snapshot;
    unsigned api = hammer_random(party) % HAMMER_APIS;
    struct uuid id =
        hammer_id(party->hammer, hammer_payment(party->hammer, api, recent(party, api)));
    if (shm_payments_find(&reader->payments, &id, &snapshot) != SHM_PAYMENTS_HIT)
        return;
    if (!uuid_equal(&snapshot.id, &id) || snapshot.state == PAYMENT_FREE)
        hammer_fail(party->hammer, "found another payment than the one looked for");
    check_record(reader, &snapshot);
}

void hammer_record_reader(struct hammer_party *party)
{
    struct reader reader = {.party = party};
    shm_payments_open(&reader.payments, party->region, HAMMER_LANE);
    while (hammer_goes_on(party) && !drains(party->hammer)) {
        for (unsigned n = 0; n < 64; n++) {
            read_record(&reader);
            find_record(&reader);
        }
        nap((long)(hammer_random(party) % 20));
    }
}

/* ---------------------------------------------------------------------- ring reader */

static void check_found(struct hammer *hammer, const struct shm_region *region, uint64_t payment,
                        const struct shm_ring_entry *entry)
{
    struct uuid id = hammer_id(hammer, payment);
    hammer_count(hammer, HAMMER_ENTRIES_READ, 1);
    if (!uuid_equal(&entry->id, &id) || entry->amount_cents != hammer_amount_cents(payment) ||
        entry->accepted_at_ms != hammer_at_ms(region, payment) ||
        entry->purge_generation > generation_of(region))
        hammer_fail(hammer, "a searcher was given a torn entry: payment %" PRIu64, payment);
}

static void search_ring(struct hammer_party *party)
{
    struct shm_ring_entry entry;
    unsigned api = hammer_random(party) % HAMMER_APIS;
    uint64_t number = recent(party, api);
    uint64_t payment = hammer_payment(party->hammer, api, number);
    struct uuid id = hammer_id(party->hammer, payment);
    if (shm_ring_look(party->region, api, HAMMER_LANE, number, &entry))
        check_found(party->hammer, party->region, payment, &entry);
    if (shm_ring_find(party->region, api, HAMMER_LANE, &id, &entry))
        check_found(party->hammer, party->region, payment, &entry);
}

void hammer_ring_reader(struct hammer_party *party)
{
    while (hammer_goes_on(party) && !drains(party->hammer)) {
        for (unsigned n = 0; n < 64; n++)
            search_ring(party);
        nap((long)(hammer_random(party) % 20));
    }
}

/* ----------------------------------------------------------------------- sum reader */

/* Payments from..to - 1, of which every one has ended and none is purged. */
struct span {
    uint64_t generation, from, to;
};

static bool choose_span(struct hammer_party *party, struct span *span)
{
    struct hammer *hammer = party->hammer;
    span->generation = atomic_load_explicit(&hammer->clean_generation, memory_order_acquire);
    span->from = 0;
    span->to = UINT64_MAX;
    for (unsigned api = 0; api < HAMMER_APIS; api++) {
        uint64_t clean = atomic_load_explicit(&hammer->clean_from[api], memory_order_acquire);
        uint64_t ended = atomic_load_explicit(&hammer->ended_below[api], memory_order_acquire);
        span->from = span->from > clean ? span->from : clean;
        span->to = span->to < ended ? span->to : ended;
    }
    if (span->from >= span->to)
        return false;
    if (hammer_random(party) % 32 != 0) {
        span->from += hammer_random(party) % (span->to - span->from);
        uint64_t most = 1 + hammer_random(party) % 24000;
        span->to = span->to - span->from < most ? span->to : span->from + most;
    }
    span->from *= HAMMER_APIS;
    span->to *= HAMMER_APIS;
    return true;
}

static void add_up(const struct hammer *hammer, const struct span *span, struct shm_totals *totals)
{
    *totals = (struct shm_totals){0};
    for (uint64_t payment = span->from; payment < span->to; payment++) {
        unsigned processor = hammer_processor(payment);
        if (hammer_is_copy(hammer, payment & 1, payment >> 1))
            continue;
        totals->payments[processor]++;
        totals->sum_cents[processor] += (unsigned __int128)hammer_amount_cents(payment);
    }
}

static bool are_equal(const struct shm_totals *a, const struct shm_totals *b)
{
    bool equal = true;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        equal = equal && a->payments[p] == b->payments[p] && a->sum_cents[p] == b->sum_cents[p];
    return equal;
}

/* A window over what has ended is exact, whatever happens beside it. */
static void check_sum(struct hammer_party *party)
{
    struct hammer *hammer = party->hammer;
    struct span span;
    struct shm_totals wanted, found;
    if (!choose_span(party, &span) || generation_of(party->region) != span.generation)
        return;
    struct shm_window window = {.from_us = hammer_at_ms(party->region, span.from) * 1000,
                                .to_us = hammer_at_ms(party->region, span.to - 1) * 1000};
    if (shm_ledger_sum(party->region, &window, &found) != STATUS_OK) {
        hammer_count(hammer, HAMMER_SUMS_BUSY, 1);
        return;
    }
    if (generation_of(party->region) != span.generation)
        return;
    add_up(hammer, &span, &wanted);
    hammer_count(hammer, HAMMER_SUMS, 1);
    if (!are_equal(&wanted, &found))
        hammer_fail(hammer,
                    "a summary of payments %" PRIu64 " to %" PRIu64 ": %" PRIu64 " + %" PRIu64
                    " instead of %" PRIu64 " + %" PRIu64 " (or other sums)",
                    span.from, span.to, found.payments[0], found.payments[1], wanted.payments[0],
                    wanted.payments[1]);
}

void hammer_sum_reader(struct hammer_party *party)
{
    while (hammer_goes_on(party) && !drains(party->hammer)) {
        check_sum(party);
        nap((long)(hammer_random(party) % 200));
    }
}

/* --------------------------------------------------------------------------- purger */

static void await_purge(struct hammer_party *party, uint64_t generation)
{
    const struct shm_lane *lane = shm_region_lane(party->region, HAMMER_LANE);
    struct shm_doorbell bell;
    shm_doorbell_open(&bell, party->region, HAMMER_LANE);
    shm_doorbell_ring(&bell);
    while (atomic_load_explicit(&lane->purge_applied, memory_order_acquire) < generation &&
           !atomic_load(&party->hammer->failed))
        nap(50);
    shm_doorbell_close(&bell);
}

/* What is pushed from now on carries this generation. The one entry that each producer may have
 * stamped before and not yet pushed is number `tail` at most. */
static void tell_clean(struct hammer_party *party, uint64_t generation)
{
    for (unsigned api = 0; api < HAMMER_APIS; api++)
        atomic_store_explicit(
            &party->hammer->clean_from[api],
            1 + atomic_load_explicit(&shm_region_api(party->region, api)->tail[HAMMER_LANE].value,
                                     memory_order_acquire),
            memory_order_release);
    atomic_store_explicit(&party->hammer->clean_generation, generation, memory_order_release);
}

/* A new purger first ends what its predecessor began. */
void hammer_purger(struct hammer_party *party)
{
    _Atomic uint64_t *current = &shm_region_purge(party->region)->generation;
    uint64_t generation = generation_of(party->region);
    if (generation != atomic_load(&party->hammer->clean_generation)) {
        await_purge(party, generation);
        tell_clean(party, generation);
    }
    while (hammer_goes_on(party) && !drains(party->hammer)) {
        nap(1000 + (long)(hammer_random(party) % 3000));
        if (hammer_random(party) % 128 != 0)
            continue;
        atomic_store_explicit(current, ++generation, memory_order_seq_cst);
        await_purge(party, generation);
        tell_clean(party, generation);
        hammer_count(party->hammer, HAMMER_PURGES, 1);
    }
}
