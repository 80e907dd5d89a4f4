#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>

#include "api/payment_intake.h"
#include "shm/shm_ledger.h"
#include "shm/shm_operator.h"
#include "test/unit/shm_fixture.h"

#define SLOT   1
#define NOW_MS INT64_C(1760000000123)

/* An id of a lane, the n-th one. */
static struct uuid id_in(const struct shm_region *region, unsigned lane, unsigned n)
{
    struct uuid id = {.hi = UINT64_C(0x4a7901b87d264d9d), .lo = 0};
    for (unsigned seen = 0;; id.lo++)
        if (shm_payments_lane_of(region, &id) == lane && seen++ == n)
            return id;
}

static void open_intake(struct payment_intake *intake, struct shm_fixture *fixture)
{
    payment_intake_open(intake, &fixture->region, SLOT);
}

static void put_record(struct shm_fixture *fixture, unsigned lane, uint32_t record,
                       const struct uuid *id, int64_t cents, enum payment_state state,
                       uint32_t generation)
{
    struct shm_payments payments;
    shm_payments_open(&payments, &fixture->region, lane);
    shm_payments_begin_write(&payments, record);
    shm_payments_fill(&payments, record, id, cents, NOW_MS, generation, 0);
    shm_payments_index_add(&payments, record);
    atomic_store(&payments.records[record].state, (uint8_t)state);
    shm_payments_end_write(&payments, record);
}

static void set_generation(struct shm_fixture *fixture, uint64_t generation)
{
    atomic_store(&shm_region_purge(&fixture->region)->generation, generation);
}

static uint64_t depth(const struct shm_fixture *fixture, unsigned lane)
{
    return shm_ring_depth(&fixture->region, SLOT, lane);
}

/* Take the next entry of a lane's ring, as its owner would. */
static struct shm_ring_entry take(struct shm_fixture *fixture, unsigned lane)
{
    struct shm_ring_consumer ring;
    struct shm_ring_entry entry;
    shm_ring_consumer_open(&ring, &fixture->region, SLOT, lane);
    assert_true(shm_ring_peek(&ring, &entry));
    shm_ring_take(&ring);
    return entry;
}

#define assert_verdict(intake, id, cents, verdict)                                                 \
    assert_int_equal(payment_intake_offer((intake), (id), (cents), NOW_MS), (verdict))

/* ------------------------------------------------------------------- accepting */

static void an_unknown_payment_goes_to_its_lane(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    set_generation(fixture, 7);
    open_intake(&intake, fixture);
    for (unsigned lane = 0; lane < 2; lane++) {
        struct uuid id = id_in(&fixture->region, lane, 0);
        assert_verdict(&intake, &id, 1990 + lane, PAYMENT_INTAKE_ACCEPTED);
        assert_int_equal(depth(fixture, lane), 1);
        assert_int_equal(depth(fixture, 1 - lane), 0);
        struct shm_ring_entry entry = take(fixture, lane);
        assert_true(uuid_equal(&entry.id, &id));
        assert_int_equal(entry.amount_cents, 1990 + lane);
        assert_int_equal(entry.accepted_at_ms, NOW_MS);
        assert_int_equal(entry.purge_generation, 7);
    }
    assert_int_equal(shm_ring_depth(&fixture->region, 1 - SLOT, 0), 0);
    payment_intake_close(&intake);
}

/* The lane drops the copy: until a payment stands in the table we do not know it. */
static void a_copy_of_one_in_the_ring_is_enqueued_again(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct uuid id = id_in(&fixture->region, 0, 0);
    open_intake(&intake, fixture);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    assert_int_equal(depth(fixture, 0), 2);
    payment_intake_close(&intake);
}

static void a_new_tenant_goes_on_where_the_last_one_ended(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake first, second;
    struct uuid ids[3];
    open_intake(&first, fixture);
    for (unsigned n = 0; n < 2; n++) {
        ids[n] = id_in(&fixture->region, 1, n);
        assert_verdict(&first, &ids[n], 100, PAYMENT_INTAKE_ACCEPTED);
    }
    payment_intake_close(&first);
    open_intake(&second, fixture);
    ids[2] = id_in(&fixture->region, 1, 2);
    assert_verdict(&second, &ids[2], 100, PAYMENT_INTAKE_ACCEPTED);
    assert_int_equal(depth(fixture, 1), 3);
    for (unsigned n = 0; n < 3; n++) {
        struct shm_ring_entry entry = take(fixture, 1);
        assert_true(uuid_equal(&entry.id, &ids[n]));
    }
    payment_intake_close(&second);
}

/* ----------------------------------------------------------------------- known */

static void a_known_payment_is_judged_and_not_enqueued(void **state)
{
    static const enum payment_intake_verdict same[] = {
        [PAYMENT_QUEUED] = PAYMENT_INTAKE_KNOWN,     [PAYMENT_SENT] = PAYMENT_INTAKE_KNOWN,
        [PAYMENT_SETTLED] = PAYMENT_INTAKE_KNOWN,    [PAYMENT_DUPLICATE] = PAYMENT_INTAKE_KNOWN,
        [PAYMENT_CONFLICT] = PAYMENT_INTAKE_REFUSED, [PAYMENT_REJECTED] = PAYMENT_INTAKE_REFUSED,
    };
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    open_intake(&intake, fixture);
    for (unsigned is = PAYMENT_QUEUED; is <= PAYMENT_REJECTED; is++) {
        struct uuid id = id_in(&fixture->region, 1, is);
        put_record(fixture, 1, is, &id, 1990, is, 0);
        assert_verdict(&intake, &id, 1990, same[is]);
        assert_verdict(&intake, &id, 1991, PAYMENT_INTAKE_DIFFERS);
    }
    assert_int_equal(depth(fixture, 0) + depth(fixture, 1), 0);
    payment_intake_close(&intake);
}

static void a_free_record_is_a_miss(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct uuid id = id_in(&fixture->region, 0, 0);
    open_intake(&intake, fixture);
    put_record(fixture, 0, 5, &id, 1990, PAYMENT_FREE, 0);
    assert_verdict(&intake, &id, 1, PAYMENT_INTAKE_ACCEPTED);
    assert_int_equal(depth(fixture, 0), 1);
    payment_intake_close(&intake);
}

static void a_record_in_motion_is_a_miss(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct uuid id = id_in(&fixture->region, 0, 0);
    open_intake(&intake, fixture);
    put_record(fixture, 0, 5, &id, 1990, PAYMENT_SETTLED, 0);
    struct shm_payments *payments = &intake.lanes[0].payments;
    shm_payments_begin_write(payments, 5);
    assert_verdict(&intake, &id, 1990, PAYMENT_INTAKE_ACCEPTED);
    shm_payments_end_write(payments, 5);
    assert_verdict(&intake, &id, 1990, PAYMENT_INTAKE_KNOWN);
    assert_int_equal(depth(fixture, 0), 1);
    payment_intake_close(&intake);
}

static void a_record_from_before_the_purge_is_a_miss(void **state)
{
    static const struct {
        uint32_t record;
        uint64_t current;
        enum payment_intake_verdict verdict;
    } cases[] = {
        {4, 5, PAYMENT_INTAKE_ACCEPTED},
        {5, 5, PAYMENT_INTAKE_KNOWN},
        {6, 5, PAYMENT_INTAKE_KNOWN}, /* accepted elsewhere after a purge that we have not seen */
        {UINT32_MAX, UINT64_C(1) << 32, PAYMENT_INTAKE_ACCEPTED},
        {0, UINT64_C(1) << 32, PAYMENT_INTAKE_KNOWN},
        {0, UINT32_MAX, PAYMENT_INTAKE_KNOWN},
    };
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    open_intake(&intake, fixture);
    for (unsigned n = 0; n < sizeof cases / sizeof cases[0]; n++) {
        struct uuid id = id_in(&fixture->region, 0, n);
        put_record(fixture, 0, n, &id, 1990, PAYMENT_SETTLED, cases[n].record);
        set_generation(fixture, cases[n].current);
        assert_verdict(&intake, &id, 1990, cases[n].verdict);
        if (cases[n].verdict == PAYMENT_INTAKE_ACCEPTED)
            assert_int_equal(take(fixture, 0).purge_generation, cases[n].current);
        assert_int_equal(depth(fixture, 0), 0);
    }
    payment_intake_close(&intake);
}

/* ------------------------------------------------------------------------ full */

static void a_full_ring_refuses_and_loses_nothing(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    uint32_t slots = fixture->geometry.ring_slots;
    open_intake(&intake, fixture);
    for (unsigned n = 0; n < slots; n++) {
        struct uuid id = id_in(&fixture->region, 0, n);
        assert_verdict(&intake, &id, 100 + n, PAYMENT_INTAKE_ACCEPTED);
    }
    struct uuid late = id_in(&fixture->region, 0, slots);
    for (int i = 0; i < 3; i++)
        assert_verdict(&intake, &late, 1, PAYMENT_INTAKE_RING_FULL);
    assert_int_equal(depth(fixture, 0), slots);

    struct uuid other = id_in(&fixture->region, 1, 0);
    assert_verdict(&intake, &other, 1, PAYMENT_INTAKE_ACCEPTED);

    assert_int_equal(take(fixture, 0).amount_cents, 100);
    assert_verdict(&intake, &late, 1, PAYMENT_INTAKE_ACCEPTED);
    assert_verdict(&intake, &late, 1, PAYMENT_INTAKE_RING_FULL);
    for (unsigned n = 1; n < slots; n++)
        assert_int_equal(take(fixture, 0).amount_cents, 100 + n);
    assert_int_equal(take(fixture, 0).amount_cents, 1);
    payment_intake_close(&intake);
}

/* Rows are taken by others behind our back: what a look has granted holds, and no more. */
static void a_full_ledger_refuses_when_the_granted_budget_is_used_up(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    _Atomic uint64_t *row_count = &shm_region_lane(&fixture->region, 0)->row_count;
    open_intake(&intake, fixture);
    for (unsigned n = 0; n < SHM_LEDGER_BUDGET; n++) {
        struct uuid id = id_in(&fixture->region, 0, n);
        assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
        atomic_store(row_count, fixture->geometry.ledger_rows);
        take(fixture, 0);
    }
    struct uuid late = id_in(&fixture->region, 0, SHM_LEDGER_BUDGET);
    assert_verdict(&intake, &late, 100, PAYMENT_INTAKE_LEDGER_FULL);
    assert_verdict(&intake, &late, 100, PAYMENT_INTAKE_LEDGER_FULL);
    assert_int_equal(depth(fixture, 0), 0);

    struct uuid other = id_in(&fixture->region, 1, 0);
    assert_verdict(&intake, &other, 100, PAYMENT_INTAKE_ACCEPTED);

    atomic_store(row_count, 0);
    assert_verdict(&intake, &late, 100, PAYMENT_INTAKE_ACCEPTED);
    payment_intake_close(&intake);
}

static void a_full_ring_uses_up_no_budget(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    open_intake(&intake, fixture);
    intake.lanes[0].budget = fixture->geometry.ring_slots + 1;
    for (unsigned n = 0; n < fixture->geometry.ring_slots; n++) {
        struct uuid id = id_in(&fixture->region, 0, n);
        assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    }
    struct uuid late = id_in(&fixture->region, 0, 1000);
    assert_verdict(&intake, &late, 100, PAYMENT_INTAKE_RING_FULL);
    assert_int_equal(intake.lanes[0].budget, 1);
    payment_intake_close(&intake);
}

/* ------------------------------------------------------------------------ gone */

static void nothing_is_accepted_into_a_region_that_is_gone(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct uuid id = id_in(&fixture->region, 0, 0);
    open_intake(&intake, fixture);
    intake.region_gone = true;
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_REGION_GONE);
    intake.region_gone = false;
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);

    uint32_t removed = SHM_REGION_REMOVED;
    assert_int_equal(
        pwrite(fixture->region.fd, &removed, sizeof removed, offsetof(struct shm_header, state)),
        sizeof removed);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_REGION_GONE);
    assert_int_equal(depth(fixture, 0), 1);
    payment_intake_close(&intake);
}

/* ------------------------------------------------------------------------ bell */

static int bytes_in(int fd)
{
    char bytes[16];
    return poll(&(struct pollfd){.fd = fd, .events = POLLIN}, 1, 0) == 1
               ? (int)read(fd, bytes, sizeof bytes)
               : 0;
}

static void sleep_both(struct shm_fixture *fixture)
{
    for (unsigned lane = 0; lane < 2; lane++)
        shm_doorbell_sleep(shm_region_lane(&fixture->region, lane));
}

static void a_sleeping_lane_is_woken_once(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct uuid id = id_in(&fixture->region, 0, 0);
    int bells[2];
    open_intake(&intake, fixture);
    for (unsigned lane = 0; lane < 2; lane++) {
        bells[lane] = shm_doorbell_listen(&fixture->region, lane, &fixture->why);
        assert_true(bells[lane] >= 0);
    }
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    payment_intake_wake(&intake);
    assert_int_equal(bytes_in(bells[0]), 0); /* awake: no system call for it */

    sleep_both(fixture);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    assert_int_equal(bytes_in(bells[0]), 0); /* not before the answers */
    payment_intake_wake(&intake);
    assert_int_equal(bytes_in(bells[0]), 1);
    assert_int_equal(bytes_in(bells[1]), 0);
    payment_intake_wake(&intake); /* nothing new */
    assert_int_equal(bytes_in(bells[0]), 0);

    payment_intake_wake_all(&intake);
    assert_int_equal(bytes_in(bells[0]), 0); /* rung for this sleep already */
    assert_int_equal(bytes_in(bells[1]), 1);
    payment_intake_close(&intake);
    close(bells[0]);
    close(bells[1]);
}

/* What is known is answered all the same: nothing of it is new. */
static void nothing_new_is_accepted_while_intake_is_stopped(void **state)
{
    struct shm_fixture *fixture = *state;
    struct shm_region *region = &fixture->region;
    const _Atomic uint64_t *seen = &shm_region_api(region, SLOT)->intake_seen;
    struct payment_intake intake;
    struct uuid id = id_in(region, 0, 0), known = id_in(region, 0, 1);
    open_intake(&intake, fixture);
    put_record(fixture, 0, 3, &known, 100, PAYMENT_QUEUED, 0);
    assert_int_equal(*seen, 0);
    assert_int_equal(shm_operator_set_intake(region, true), 1);
    assert_int_equal(shm_operator_set_intake(region, true), 1);
    assert_verdict(&intake, &known, 100, PAYMENT_INTAKE_KNOWN);
    assert_int_equal(*seen, 0); /* nothing was new, so nothing was looked at */
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_STOPPED);
    assert_int_equal(*seen, 1);
    assert_int_equal(depth(fixture, 0), 0);
    assert_int_equal(shm_operator_set_intake(region, false), 2);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    assert_int_equal(*seen, 2);
    payment_intake_close(&intake);
}

/* Also one that nobody offers anything, and a new tenant of the slot. */
static void a_stop_is_seen_without_an_offer(void **state)
{
    struct shm_fixture *fixture = *state;
    const _Atomic uint64_t *seen = &shm_region_api(&fixture->region, SLOT)->intake_seen;
    struct payment_intake intake, next;
    open_intake(&intake, fixture);
    shm_operator_set_intake(&fixture->region, true);
    assert_true(payment_intake_is_stopped(&intake));
    assert_int_equal(*seen, 1);
    shm_operator_set_intake(&fixture->region, false);
    shm_operator_set_intake(&fixture->region, true);
    payment_intake_close(&intake);
    open_intake(&next, fixture);
    assert_int_equal(*seen, 3);
    assert_true(payment_intake_is_stopped(&next));
    payment_intake_close(&next);
}

/* An API at full speed, as its event loop would be. */
struct busy_api {
    struct shm_fixture *fixture;
    atomic_bool ends;
};

static void *offer_and_offer(void *context)
{
    struct busy_api *api = context;
    struct payment_intake intake;
    struct uuid id = {.hi = 5, .lo = 0};
    payment_intake_open(&intake, &api->fixture->region, SLOT);
    for (; !atomic_load(&api->ends); id.lo++)
        if (payment_intake_offer(&intake, &id, 100, NOW_MS) == PAYMENT_INTAKE_RING_FULL)
            for (unsigned lane = 0; lane < 2; lane++)
                while (depth(api->fixture, lane) > 0)
                    take(api->fixture, lane);
    payment_intake_close(&intake);
    return NULL;
}

static uint64_t pushed(const struct shm_fixture *fixture)
{
    const struct shm_api *api = shm_region_api(&fixture->region, SLOT);
    return atomic_load_explicit(&api->tail[0].value, memory_order_acquire) +
           atomic_load_explicit(&api->tail[1].value, memory_order_acquire);
}

/* What drain rests on. */
static void nothing_follows_once_a_stop_was_seen(void **state)
{
    struct busy_api api = {.fixture = *state};
    struct shm_region *region = &api.fixture->region;
    const _Atomic uint64_t *seen = &shm_region_api(region, SLOT)->intake_seen;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, offer_and_offer, &api), 0);
    for (unsigned n = 0; n < 100; n++) {
        uint64_t before = pushed(api.fixture);
        while (pushed(api.fixture) < before + 100)
            sched_yield();
        uint64_t stop = shm_operator_set_intake(region, true);
        while (atomic_load_explicit(seen, memory_order_acquire) != stop)
            sched_yield();
        uint64_t at_the_stop = pushed(api.fixture);
        for (unsigned looks = 0; looks < 1000; looks++)
            assert_int_equal(pushed(api.fixture), at_the_stop);
        shm_operator_set_intake(region, false);
    }
    atomic_store(&api.ends, true);
    pthread_join(thread, NULL);
}

/* ------------------------------------------------------------------- durability */

/* The handle says what it read at attach: the header need not be written for this. */
static void be_durable(struct shm_fixture *fixture, enum shm_durability durability)
{
    fixture->region.durability = durability;
    for (unsigned lane = 0; lane < 2; lane++)
        atomic_store(&shm_region_lane(&fixture->region, lane)->journal.state, SHM_JOURNAL_WORKING);
}

static enum payment_intake_durability look(const struct payment_intake *intake,
                                           const struct payment_intake_receipt *receipt)
{
    return payment_intake_look(intake, receipt);
}

static void in_memory_there_is_nothing_to_wait_for(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct uuid id = id_in(&fixture->region, 0, 0);
    open_intake(&intake, fixture);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
    assert_int_equal(look(&intake, &intake.receipt), PAYMENT_INTAKE_DURABLE);
    payment_intake_close(&intake);
}

/* The lane says up to which entry of our ring everything is on disk. */
static void in_sync_an_entry_waits_for_its_lane(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct shm_lane *control = shm_region_lane(&fixture->region, 1);
    struct payment_intake_receipt receipts[3];
    be_durable(fixture, SHM_DURABILITY_SYNC);
    open_intake(&intake, fixture);
    for (unsigned n = 0; n < 3; n++) {
        struct uuid id = id_in(&fixture->region, 1, n);
        assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_ACCEPTED);
        receipts[n] = intake.receipt;
        assert_int_equal(look(&intake, &receipts[n]), PAYMENT_INTAKE_NOT_YET);
    }
    atomic_store(&control->durable_head[1 - SLOT].value, 100); /* another API's */
    assert_int_equal(look(&intake, &receipts[0]), PAYMENT_INTAKE_NOT_YET);
    atomic_store(&control->durable_head[SLOT].value, 2);
    assert_int_equal(look(&intake, &receipts[0]), PAYMENT_INTAKE_DURABLE);
    assert_int_equal(look(&intake, &receipts[1]), PAYMENT_INTAKE_DURABLE);
    assert_int_equal(look(&intake, &receipts[2]), PAYMENT_INTAKE_NOT_YET);
    atomic_store(&control->journal.state, SHM_JOURNAL_FAILED);
    assert_int_equal(look(&intake, &receipts[1]), PAYMENT_INTAKE_DURABLE); /* it is on disk */
    assert_int_equal(look(&intake, &receipts[2]), PAYMENT_INTAKE_NEVER_KNOWN);
    payment_intake_close(&intake);
}

/* It may have been taken in a moment ago: 202 only when what the lane has written is on disk. */
static void in_sync_a_known_payment_waits_for_what_was_written(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct shm_lane *control = shm_region_lane(&fixture->region, 0);
    struct uuid id = id_in(&fixture->region, 0, 0);
    be_durable(fixture, SHM_DURABILITY_SYNC);
    put_record(fixture, 0, 3, &id, 100, PAYMENT_QUEUED, 0);
    atomic_store(&control->journal.written, 7);
    atomic_store(&control->journal.durable, 6);
    open_intake(&intake, fixture);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_KNOWN);
    struct payment_intake_receipt receipt = intake.receipt;
    assert_int_equal(look(&intake, &receipt), PAYMENT_INTAKE_NOT_YET);
    atomic_store(&control->journal.written, 9); /* of others */
    atomic_store(&control->journal.durable, 7);
    assert_int_equal(look(&intake, &receipt), PAYMENT_INTAKE_DURABLE);
    atomic_store(&control->journal.state, SHM_JOURNAL_FAILED); /* or of none, from now on */
    assert_int_equal(look(&intake, &receipt), PAYMENT_INTAKE_NEVER_KNOWN);
    payment_intake_close(&intake);
}

static void nothing_is_accepted_for_a_lane_whose_journal_has_failed(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    struct uuid id = id_in(&fixture->region, 0, 0), other = id_in(&fixture->region, 1, 0);
    be_durable(fixture, SHM_DURABILITY_ASYNC);
    atomic_store(&shm_region_lane(&fixture->region, 0)->journal.state, SHM_JOURNAL_FAILED);
    open_intake(&intake, fixture);
    assert_verdict(&intake, &id, 100, PAYMENT_INTAKE_JOURNAL_FAILED);
    assert_int_equal(depth(fixture, 0), 0);
    assert_verdict(&intake, &other, 100, PAYMENT_INTAKE_ACCEPTED);
    assert_int_equal(look(&intake, &intake.receipt), PAYMENT_INTAKE_DURABLE); /* soon */
    payment_intake_close(&intake);
}

static void in_async_a_lane_that_takes_nothing_in_gets_nothing_more(void **state)
{
    struct shm_fixture *fixture = *state;
    struct payment_intake intake;
    be_durable(fixture, SHM_DURABILITY_ASYNC);
    open_intake(&intake, fixture);
    for (unsigned n = 0; n < 3; n++) {
        struct uuid id = id_in(&fixture->region, 0, n);
        assert_int_equal(payment_intake_offer(&intake, &id, 100, NOW_MS + n * 500),
                         PAYMENT_INTAKE_ACCEPTED);
    }
    struct uuid id = id_in(&fixture->region, 0, 3);
    assert_int_equal(payment_intake_offer(&intake, &id, 100, NOW_MS + 1001),
                     PAYMENT_INTAKE_JOURNAL_BEHIND);
    (void)take(fixture, 0);
    assert_int_equal(payment_intake_offer(&intake, &id, 100, NOW_MS + 1001),
                     PAYMENT_INTAKE_ACCEPTED);
    payment_intake_close(&intake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(in_memory_there_is_nothing_to_wait_for),
        SHM_FIXTURE_TEST(in_sync_an_entry_waits_for_its_lane),
        SHM_FIXTURE_TEST(in_sync_a_known_payment_waits_for_what_was_written),
        SHM_FIXTURE_TEST(nothing_is_accepted_for_a_lane_whose_journal_has_failed),
        SHM_FIXTURE_TEST(in_async_a_lane_that_takes_nothing_in_gets_nothing_more),
        SHM_FIXTURE_TEST(an_unknown_payment_goes_to_its_lane),
        SHM_FIXTURE_TEST(a_copy_of_one_in_the_ring_is_enqueued_again),
        SHM_FIXTURE_TEST(a_new_tenant_goes_on_where_the_last_one_ended),
        SHM_FIXTURE_TEST(a_known_payment_is_judged_and_not_enqueued),
        SHM_FIXTURE_TEST(a_free_record_is_a_miss),
        SHM_FIXTURE_TEST(a_record_in_motion_is_a_miss),
        SHM_FIXTURE_TEST(a_record_from_before_the_purge_is_a_miss),
        SHM_FIXTURE_TEST(a_full_ring_refuses_and_loses_nothing),
        SHM_FIXTURE_TEST(a_full_ledger_refuses_when_the_granted_budget_is_used_up),
        SHM_FIXTURE_TEST(a_full_ring_uses_up_no_budget),
        SHM_FIXTURE_TEST(nothing_is_accepted_into_a_region_that_is_gone),
        SHM_FIXTURE_TEST(nothing_new_is_accepted_while_intake_is_stopped),
        SHM_FIXTURE_TEST(a_stop_is_seen_without_an_offer),
        SHM_FIXTURE_TEST(nothing_follows_once_a_stop_was_seen),
        SHM_FIXTURE_TEST(a_sleeping_lane_is_woken_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
