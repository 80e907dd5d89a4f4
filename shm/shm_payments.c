#include "shm/shm_payments.h"

#include "common/check.h"
#include "common/crash_point.h"

/* The owner is in the middle of a change for some tens of nanoseconds. */
#define READ_TRIES_MAX 64

/* Chains of a table that is full are one record long on average and about ten
 * at most; beyond this a reader rather says "not known". */
#define READER_STEPS_MAX 64

void shm_payments_open(struct shm_payments *payments, const struct shm_region *region,
                       unsigned lane)
{
    *payments = (struct shm_payments){
        .records = shm_region_payments(region, lane),
        .heads = shm_region_index_heads(region, lane),
        .next = shm_region_index_next(region, lane),
        .slots = region->geometry.payment_slots,
        .heads_mask = region->places.index_heads - 1,
        .seed = {.hi = region->region_id_hi, .lo = region->region_id_lo},
    };
}

unsigned shm_payments_lane_of(const struct shm_region *region, const struct uuid *id)
{
    /* The upper half of the hash scaled to the lanes: no division. */
    return (unsigned)((uuid_hash(id) >> 32) * region->geometry.lanes >> 32);
}

const char *shm_payments_state_name(enum payment_state state)
{
    static const char *const names[] = {
        [PAYMENT_FREE] = "free",           [PAYMENT_QUEUED] = "queued",
        [PAYMENT_SENT] = "sent",           [PAYMENT_SETTLED] = "settled",
        [PAYMENT_DUPLICATE] = "duplicate", [PAYMENT_CONFLICT] = "conflict",
        [PAYMENT_REJECTED] = "rejected",
    };
    return (unsigned)state <= PAYMENT_REJECTED ? names[state] : "damaged";
}

uint32_t shm_payment_checksum(const struct uuid *id, int64_t amount_cents, int64_t accepted_at_ms,
                              uint32_t purge_generation)
{
    struct uuid rest = {
        .hi = (uint64_t)amount_cents ^ (uint64_t)purge_generation << 32,
        .lo = (uint64_t)accepted_at_ms ^ uuid_hash(id),
    };
    uint64_t hash = uuid_hash(&rest);
    return (uint32_t)(hash ^ hash >> 32);
}

/* ----------------------------------------------------------------- reading */

/* Acquire on every word: pairs with the owner's release stores, so that the
 * later look at the sequence sees the odd number that came before the store. */
#define ACQUIRE(field) atomic_load_explicit(&(field), memory_order_acquire)

static uint32_t copy(const struct shm_payment *record, struct shm_payment_snapshot *s)
{
    *s = (struct shm_payment_snapshot){
        .state = (enum payment_state)ACQUIRE(record->state),
        .processor = ACQUIRE(record->processor),
        .flags = ACQUIRE(record->flags),
        .refusals = ACQUIRE(record->refusals),
        .attempts = ACQUIRE(record->attempts),
        .epoch = ACQUIRE(record->epoch),
        .id = {.hi = ACQUIRE(record->id_hi), .lo = ACQUIRE(record->id_lo)},
        .amount_cents = ACQUIRE(record->amount_cents),
        .accepted_at_ms = ACQUIRE(record->accepted_at_ms),
        .requested_at_us = ACQUIRE(record->requested_at_us),
        .row_name = ACQUIRE(record->row_name),
        .purge_generation = ACQUIRE(record->purge_generation),
    };
    return ACQUIRE(record->checksum);
}

/* The fields of a FREE record are nobody's: a crash may have left half of them. */
static bool is_whole(const struct shm_payment_snapshot *s, uint32_t checksum)
{
    return s->state == PAYMENT_FREE ||
           (s->state <= PAYMENT_REJECTED && s->processor < SHM_PROCESSORS &&
            checksum == shm_payment_checksum(&s->id, s->amount_cents, s->accepted_at_ms,
                                             s->purge_generation));
}

bool shm_payments_read(const struct shm_payments *payments, uint32_t record,
                       struct shm_payment_snapshot *snapshot)
{
    CHECK(record < payments->slots);
    const struct shm_payment *r = &payments->records[record];
    for (int tries = 0; tries < READ_TRIES_MAX; tries++) {
        uint32_t before = ACQUIRE(r->sequence); /* pairs with the release in end_write */
        uint32_t checksum = copy(r, snapshot);
        uint32_t after = atomic_load_explicit(&r->sequence, memory_order_relaxed);
        if (before == after && !(before & 1))
            return is_whole(snapshot, checksum);
    }
    return false;
}

static _Atomic uint32_t *head_of(const struct shm_payments *payments, const struct uuid *id)
{
    struct uuid seeded = {.hi = id->hi ^ payments->seed.hi, .lo = id->lo ^ payments->seed.lo};
    return &payments->heads[uuid_hash(&seeded) & payments->heads_mask];
}

void shm_payments_expect(const struct shm_payments *payments, const struct uuid *id)
{
    __builtin_prefetch(head_of(payments, id));
}

void shm_payments_expect_record(const struct shm_payments *payments, const struct uuid *id)
{
    uint32_t link = atomic_load_explicit(head_of(payments, id), memory_order_relaxed);
    if (link == 0 || link > payments->slots)
        return;
    __builtin_prefetch(&payments->records[link - 1]);
    __builtin_prefetch(&payments->next[link - 1]);
}

static bool has_id(const struct shm_payment *record, const struct uuid *id)
{
    return ACQUIRE(record->id_hi) == id->hi && ACQUIRE(record->id_lo) == id->lo;
}

enum shm_payments_finding shm_payments_find(const struct shm_payments *payments,
                                            const struct uuid *id,
                                            struct shm_payment_snapshot *snapshot)
{
    enum shm_payments_finding finding = SHM_PAYMENTS_MISS;
    /* Pairs with the release in index_add. A chain may change under us: we end
     * in another one or step out early, and miss. */
    uint32_t link = ACQUIRE(*head_of(payments, id));
    for (int steps = 0; steps < READER_STEPS_MAX; steps++) {
        if (link == 0 || link > payments->slots)
            break;
        uint32_t record = link - 1;
        if (has_id(&payments->records[record], id)) {
            if (!shm_payments_read(payments, record, snapshot))
                finding = SHM_PAYMENTS_IN_MOTION;
            else if (snapshot->state != PAYMENT_FREE && uuid_equal(&snapshot->id, id))
                return SHM_PAYMENTS_HIT;
        }
        link = ACQUIRE(payments->next[record]);
    }
    return finding;
}

/* --------------------------------------------------------------- the owner */

uint32_t shm_payments_owner_find(const struct shm_payments *payments, const struct uuid *id)
{
    uint32_t link = atomic_load_explicit(head_of(payments, id), memory_order_relaxed);
    for (uint32_t steps = 0; link != 0; steps++) {
        CHECK(link <= payments->slots && steps < payments->slots);
        if (has_id(&payments->records[link - 1], id))
            return link - 1;
        link = atomic_load_explicit(&payments->next[link - 1], memory_order_relaxed);
    }
    return SHM_PAYMENTS_NONE;
}

void shm_payments_owner_get(const struct shm_payments *payments, uint32_t record,
                            struct shm_payment_snapshot *snapshot)
{
    CHECK(record < payments->slots);
    (void)copy(&payments->records[record], snapshot);
}

void shm_payments_begin_write(struct shm_payments *payments, uint32_t record)
{
    CHECK(record < payments->slots);
    _Atomic uint32_t *sequence = &payments->records[record].sequence;
    uint32_t even = atomic_load_explicit(sequence, memory_order_relaxed);
    CHECK(!(even & 1));
    /* Published by the release of each store that follows. */
    atomic_store_explicit(sequence, even + 1, memory_order_relaxed);
}

void shm_payments_end_write(struct shm_payments *payments, uint32_t record)
{
    CHECK(record < payments->slots);
    _Atomic uint32_t *sequence = &payments->records[record].sequence;
    uint32_t odd = atomic_load_explicit(sequence, memory_order_relaxed);
    CHECK(odd & 1);
    /* Pairs with the acquire at the start of shm_payments_read. */
    atomic_store_explicit(sequence, odd + 1, memory_order_release);
}

#define RELEASE(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

void shm_payments_fill(struct shm_payments *payments, uint32_t record, const struct uuid *id,
                       int64_t amount_cents, int64_t accepted_at_ms, uint32_t purge_generation,
                       unsigned flags)
{
    CHECK(record < payments->slots && flags <= UINT8_MAX);
    struct shm_payment *r = &payments->records[record];
    CHECK(atomic_load_explicit(&r->state, memory_order_relaxed) == PAYMENT_FREE);
    CHECK(atomic_load_explicit(&r->sequence, memory_order_relaxed) & 1);
    RELEASE(r->processor, 0);
    RELEASE(r->flags, (uint8_t)flags);
    RELEASE(r->refusals, 0);
    RELEASE(r->id_hi, id->hi);
    CRASH_POINT(record_id_half);
    RELEASE(r->id_lo, id->lo);
    CRASH_POINT(record_id_written);
    RELEASE(r->amount_cents, amount_cents);
    RELEASE(r->accepted_at_ms, accepted_at_ms);
    RELEASE(r->requested_at_us, 0);
    RELEASE(r->row_name, 0);
    RELEASE(r->attempts, 0);
    RELEASE(r->epoch, 0);
    RELEASE(r->purge_generation, purge_generation);
    CRASH_POINT(record_unchecked);
    RELEASE(r->checksum, shm_payment_checksum(id, amount_cents, accepted_at_ms, purge_generation));
}

static struct uuid id_of(const struct shm_payment *record)
{
    return (struct uuid){.hi = ACQUIRE(record->id_hi), .lo = ACQUIRE(record->id_lo)};
}

void shm_payments_index_add(struct shm_payments *payments, uint32_t record)
{
    CHECK(record < payments->slots);
    struct uuid id = id_of(&payments->records[record]);
    _Atomic uint32_t *head = head_of(payments, &id);
    RELEASE(payments->next[record], atomic_load_explicit(head, memory_order_relaxed));
    CRASH_POINT(index_linked);
    /* Pairs with the acquire in shm_payments_find: whoever comes here finds the
     * rest of the chain behind it. */
    RELEASE(*head, record + 1);
}

void shm_payments_index_remove(struct shm_payments *payments, uint32_t record)
{
    CHECK(record < payments->slots);
    struct uuid id = id_of(&payments->records[record]);
    _Atomic uint32_t *link = head_of(payments, &id);
    for (uint32_t steps = 0;; steps++) {
        uint32_t to = atomic_load_explicit(link, memory_order_relaxed);
        CHECK(to != 0 && to <= payments->slots && steps < payments->slots);
        if (to == record + 1)
            break;
        link = &payments->next[to - 1];
    }
    /* The record's own link stays: a reader that stands on it goes on. */
    RELEASE(*link, atomic_load_explicit(&payments->next[record], memory_order_relaxed));
}

static void make_even(struct shm_payment *record)
{
    uint32_t sequence = atomic_load_explicit(&record->sequence, memory_order_relaxed);
    if (sequence & 1)
        RELEASE(record->sequence, sequence + 1);
    CRASH_POINT_IF(sequence & 1, sequence_made_even);
}

enum status shm_payments_rebuild(struct shm_payments *payments, struct explain *why)
{
    enum status status = STATUS_OK;
    for (uint32_t i = 0; i <= payments->heads_mask; i++)
        RELEASE(payments->heads[i], 0);
    CRASH_POINT(index_cleared);
    for (uint32_t i = 0; i < payments->slots; i++) {
        struct shm_payment_snapshot s;
        uint32_t checksum = copy(&payments->records[i], &s);
        bool whole = is_whole(&s, checksum);
        if (whole)
            make_even(&payments->records[i]);
        if (whole && s.state != PAYMENT_FREE)
            shm_payments_index_add(payments, i);
        CRASH_POINT_IF(s.state != PAYMENT_FREE, index_record_visited);
        if (!whole && status == STATUS_OK)
            status = explain(why, STATUS_DAMAGED,
                             "record %u of the payment table is damaged: state %u, processor %u, "
                             "or its checksum does not fit",
                             i, (unsigned)s.state, s.processor);
    }
    return status;
}
