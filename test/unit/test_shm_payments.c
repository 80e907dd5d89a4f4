/* The payment table: records and index, readers beside the owner, and what its death leaves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "common/clock.h"
#include "shm/shm_payments.h"
#include "test/unit/shm_fixture.h"

#define SLOTS 100u /* of the fixture's tables */

static struct uuid id_of(uint64_t n)
{
    return (struct uuid){.hi = n, .lo = 77};
}

static void set_state(struct shm_payments *payments, uint32_t record, enum payment_state state)
{
    atomic_store_explicit(&payments->records[record].state, (uint8_t)state, memory_order_release);
}

/* As the lane does it: fields, index, state. */
static void put(struct shm_payments *payments, uint32_t record, uint64_t n)
{
    struct uuid id = id_of(n);
    shm_payments_begin_write(payments, record);
    shm_payments_fill(payments, record, &id, (int64_t)n + 1, (int64_t)n * 10, 3, PAYMENT_FLAG_ASK);
    shm_payments_index_add(payments, record);
    set_state(payments, record, PAYMENT_QUEUED);
    shm_payments_end_write(payments, record);
}

static void take_away(struct shm_payments *payments, uint32_t record)
{
    shm_payments_begin_write(payments, record);
    shm_payments_index_remove(payments, record);
    set_state(payments, record, PAYMENT_FREE);
    shm_payments_end_write(payments, record);
}

static void open_lane(struct shm_payments *payments, struct shm_fixture *f)
{
    shm_payments_open(payments, &f->region, 0);
}

static void a_record_is_read_as_it_was_filled(void **state)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s = {0};
    struct uuid id = id_of(41);
    open_lane(&payments, *state);
    assert_true(shm_payments_read(&payments, 7, &s)); /* FREE is an answer */
    assert_int_equal(s.state, PAYMENT_FREE);
    memset(&payments.records[7].id_hi, 0xff, 40); /* what an earlier payment left */
    put(&payments, 7, 41);
    assert_true(shm_payments_read(&payments, 7, &s));
    assert_int_equal(s.state, PAYMENT_QUEUED);
    assert_true(uuid_equal(&s.id, &id));
    assert_int_equal(s.amount_cents, 42);
    assert_int_equal(s.accepted_at_ms, 410);
    assert_int_equal(s.purge_generation, 3);
    assert_int_equal(s.flags, PAYMENT_FLAG_ASK);
    assert_int_equal(s.processor + s.refusals + s.attempts + s.epoch + s.row_name, 0);
    assert_int_equal(s.requested_at_us, 0);

    struct shm_payment_snapshot own = {0};
    shm_payments_owner_get(&payments, 7, &own);
    assert_memory_equal(&own, &s, sizeof s);
}

static void ids_are_found_and_verified(void **state)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s = {0};
    open_lane(&payments, *state);
    for (uint32_t i = 0; i < SLOTS; i++) /* a full table: chains of several */
        put(&payments, i, 1000 + i);
    for (uint32_t i = 0; i < SLOTS; i++) {
        struct uuid id = id_of(1000 + i);
        assert_int_equal(shm_payments_owner_find(&payments, &id), i);
        assert_int_equal(shm_payments_find(&payments, &id, &s), SHM_PAYMENTS_HIT);
        assert_int_equal(s.amount_cents, 1001 + i);
    }
    for (uint64_t n = 0; n < 1000; n++) {
        struct uuid id = id_of(n);
        assert_int_equal(shm_payments_owner_find(&payments, &id), SHM_PAYMENTS_NONE);
        assert_int_equal(shm_payments_find(&payments, &id, &s), SHM_PAYMENTS_MISS);
    }
}

static void what_is_gone_is_not_found(void **state)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s = {0};
    uint64_t random = shm_fixture_seed(), ids[SLOTS], next_id = 1;
    open_lane(&payments, *state);
    for (uint32_t i = 0; i < SLOTS; i++)
        put(&payments, i, ids[i] = next_id++);
    for (int round = 0; round < 5000; round++) {
        uint32_t i = (uint32_t)(shm_fixture_random(&random) % SLOTS);
        struct uuid old = id_of(ids[i]);
        take_away(&payments, i);
        assert_int_equal(shm_payments_owner_find(&payments, &old), SHM_PAYMENTS_NONE);
        assert_int_equal(shm_payments_find(&payments, &old, &s), SHM_PAYMENTS_MISS);
        put(&payments, i, ids[i] = next_id++);
        uint32_t other = (uint32_t)(shm_fixture_random(&random) % SLOTS);
        struct uuid id = id_of(ids[other]);
        assert_int_equal(shm_payments_owner_find(&payments, &id), other);
        assert_int_equal(shm_payments_find(&payments, &id, &s), SHM_PAYMENTS_HIT);
    }
}

static void motion_is_not_known(void **state)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s = {0};
    struct uuid id = id_of(5);
    open_lane(&payments, *state);
    put(&payments, 3, 5);
    shm_payments_begin_write(&payments, 3);
    assert_false(shm_payments_read(&payments, 3, &s)); /* and did not wait */
    assert_int_equal(shm_payments_find(&payments, &id, &s), SHM_PAYMENTS_IN_MOTION);
    assert_int_equal(shm_payments_owner_find(&payments, &id), 3);
    shm_payments_end_write(&payments, 3);
    assert_int_equal(shm_payments_find(&payments, &id, &s), SHM_PAYMENTS_HIT);
}

/* Its owner died in the middle of a change. */
static void a_new_owner_ends_the_motion(void **state)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s = {0};
    struct uuid id = id_of(5);
    open_lane(&payments, *state);
    put(&payments, 3, 5);
    shm_payments_begin_write(&payments, 3);
    shm_payments_begin_write(&payments, 4); /* FREE, with half of its fields */
    atomic_store(&payments.records[4].amount_cents, 5);
    assert_int_equal(shm_payments_rebuild(&payments, NULL), STATUS_OK);
    assert_int_equal(shm_payments_find(&payments, &id, &s), SHM_PAYMENTS_HIT);
    assert_true(shm_payments_read(&payments, 4, &s));
    assert_int_equal(s.state, PAYMENT_FREE);
    put(&payments, 4, 6);
}

/* Every immutable word is under the checksum, and every number has its limits. */
static void damage_is_not_known(void **state)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s = {0};
    struct explain why;
    open_lane(&payments, *state);
    put(&payments, 3, 5);
    struct shm_payment *r = &payments.records[3];
    struct shm_payment good;
    memcpy(&good, r, sizeof good);
    const size_t words[] = {
        offsetof(struct shm_payment, id_hi),
        offsetof(struct shm_payment, id_lo),
        offsetof(struct shm_payment, amount_cents),
        offsetof(struct shm_payment, accepted_at_ms),
        offsetof(struct shm_payment, purge_generation),
        offsetof(struct shm_payment, checksum),
    };
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        for (unsigned bit = 0; bit < 32; bit++) {
            ((uint8_t *)r)[words[i] + bit / 8] ^= (uint8_t)(1u << bit % 8);
            assert_false(shm_payments_read(&payments, 3, &s));
            memcpy(r, &good, sizeof good);
        }
    }
    set_state(&payments, 3, (enum payment_state)(PAYMENT_REJECTED + 1));
    assert_false(shm_payments_read(&payments, 3, &s));
    memcpy(r, &good, sizeof good);
    atomic_store(&r->processor, SHM_PROCESSORS);
    assert_false(shm_payments_read(&payments, 3, &s));
    assert_int_equal(shm_payments_rebuild(&payments, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "record 3 "));
    memcpy(r, &good, sizeof good);
    assert_int_equal(shm_payments_rebuild(&payments, &why), STATUS_OK);
    assert_true(shm_payments_read(&payments, 3, &s));
}

/* Readers are given any index at all and come back. */
static void a_wild_index_is_survived(void **state)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s = {0};
    struct uuid id = id_of(12345);
    open_lane(&payments, *state);
    put(&payments, 0, 1);
    const uint32_t wild[] = {SLOTS + 1, UINT32_MAX, 1, SLOTS};
    for (size_t w = 0; w < sizeof wild / sizeof wild[0]; w++) {
        for (uint32_t i = 0; i <= payments.heads_mask; i++)
            atomic_store(&payments.heads[i], wild[w]);
        for (uint32_t i = 0; i < SLOTS; i++)
            atomic_store(&payments.next[i], wild[w]); /* 1 and SLOTS: circles */
        shm_payments_expect(&payments, &id);
        shm_payments_expect_record(&payments, &id);
        assert_int_equal(shm_payments_find(&payments, &id, &s), SHM_PAYMENTS_MISS);
    }
    assert_int_equal(shm_payments_rebuild(&payments, NULL), STATUS_OK);
    id = id_of(1);
    assert_int_equal(shm_payments_owner_find(&payments, &id), 0);
}

static void find_in_a_circle(struct shm_fixture *f)
{
    struct shm_payments payments;
    struct uuid id = id_of(12345);
    open_lane(&payments, f);
    for (uint32_t i = 0; i <= payments.heads_mask; i++)
        atomic_store(&payments.heads[i], 1);
    atomic_store(&payments.next[0], 1);
    (void)shm_payments_owner_find(&payments, &id);
}
static void fill_what_is_not_free(struct shm_fixture *f)
{
    struct shm_payments payments;
    open_lane(&payments, f);
    put(&payments, 0, 1);
    put(&payments, 0, 2);
}
static void read_beyond_the_table(struct shm_fixture *f)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s;
    open_lane(&payments, f);
    (void)shm_payments_read(&payments, SLOTS, &s);
}

static void the_owners_errors_hit_check(void **state)
{
    assert_int_equal(shm_fixture_signal_of(find_in_a_circle, *state), SIGABRT);
    assert_int_equal(shm_fixture_signal_of(fill_what_is_not_free, *state), SIGABRT);
    assert_int_equal(shm_fixture_signal_of(read_beyond_the_table, *state), SIGABRT);
}

static void lanes_share_evenly(void **state)
{
    struct shm_fixture *f = *state;
    const unsigned count = 20000;
    for (unsigned lanes = 1; lanes <= SHM_LANES_MAX; lanes++) {
        unsigned seen[SHM_LANES_MAX] = {0};
        struct shm_region region = f->region;
        region.geometry.lanes = lanes;
        for (uint64_t n = 0; n < count; n++) {
            struct uuid id = id_of(n);
            unsigned lane = shm_payments_lane_of(&region, &id);
            assert_true(lane < lanes);
            assert_int_equal(lane, shm_payments_lane_of(&region, &id));
            seen[lane]++;
        }
        for (unsigned lane = 0; lane < lanes; lane++) {
            assert_true(seen[lane] > count / lanes * 8 / 10);
            assert_true(seen[lane] < count / lanes * 12 / 10 + 1);
        }
    }
}

static void states_have_names(void **state)
{
    (void)state;
    assert_string_equal(shm_payments_state_name(PAYMENT_FREE), "free");
    assert_string_equal(shm_payments_state_name(PAYMENT_SETTLED), "settled");
    assert_string_equal(shm_payments_state_name(PAYMENT_REJECTED), "rejected");
    assert_string_equal(shm_payments_state_name((enum payment_state)200), "damaged");
}

/* ------------------------------------------------------------ while it moves */

struct motion {
    struct shm_payments payments;
    _Atomic bool stop;
};

/* One record, again and again another payment, whose words all follow from one number. */
static void *change(void *context)
{
    struct motion *motion = context;
    for (uint64_t n = 1; !atomic_load_explicit(&motion->stop, memory_order_relaxed); n++) {
        struct shm_payment *r = &motion->payments.records[0];
        put(&motion->payments, 0, n);
        shm_payments_begin_write(&motion->payments, 0);
        atomic_store_explicit(&r->requested_at_us, (int64_t)n * 100, memory_order_release);
        atomic_store_explicit(&r->attempts, (uint16_t)n, memory_order_release);
        set_state(&motion->payments, 0, PAYMENT_SENT);
        shm_payments_end_write(&motion->payments, 0);
        take_away(&motion->payments, 0);
    }
    return NULL;
}

static bool is_of_one_payment(const struct shm_payment_snapshot *s)
{
    uint64_t n = s->id.hi;
    bool whole = s->amount_cents == (int64_t)n + 1 && s->accepted_at_ms == (int64_t)n * 10;
    if (s->state == PAYMENT_SENT)
        return whole && s->requested_at_us == (int64_t)n * 100 && s->attempts == (uint16_t)n;
    return whole && s->state == PAYMENT_QUEUED && s->requested_at_us == 0 && s->attempts == 0;
}

static void readers_never_see_a_mixture(void **state)
{
    struct motion motion = {.stop = false};
    pthread_t owner;
    unsigned read = 0, sent = 0, mixed = 0;
    open_lane(&motion.payments, *state);
    assert_int_equal(pthread_create(&owner, NULL, change, &motion), 0);
    int64_t start_ms = clock_monotonic_ms(), ms = 0;
    for (; ms < 300 || (sent == 0 && ms < 20000); ms = clock_monotonic_ms() - start_ms) {
        struct shm_payment_snapshot s;
        if (!shm_payments_read(&motion.payments, 0, &s) || s.state == PAYMENT_FREE)
            continue;
        read++;
        sent += s.state == PAYMENT_SENT;
        mixed += !is_of_one_payment(&s);
    }
    atomic_store(&motion.stop, true);
    pthread_join(owner, NULL);
    print_message("# %u whole records read, %u of them sent\n", read, sent);
    assert_int_equal(mixed, 0);
    assert_true(sent > 0);
}

/* Killed at any instruction: its successor finds a table without a contradiction. */
static void a_killed_owner_leaves_a_table_that_is_made_good(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_payments payments;
    uint64_t random = shm_fixture_seed();
    open_lane(&payments, f);
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            for (uint64_t n = (uint64_t)round << 32;; n++) {
                uint32_t i = (uint32_t)(shm_fixture_random(&random) % SLOTS);
                if (atomic_load(&payments.records[i].state) != PAYMENT_FREE)
                    take_away(&payments, i);
                put(&payments, i, n);
            }
        }
        for (uint64_t pause = 1 + shm_fixture_random(&random) % 5; pause > 0; pause--)
            sched_yield();
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        assert_int_equal(shm_payments_rebuild(&payments, &f->why), STATUS_OK);
        for (uint32_t i = 0; i < SLOTS; i++) {
            struct shm_payment_snapshot s = {0};
            assert_true(shm_payments_read(&payments, i, &s));
            if (s.state == PAYMENT_FREE)
                continue;
            assert_int_equal(shm_payments_owner_find(&payments, &s.id), i);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(a_record_is_read_as_it_was_filled),
        SHM_FIXTURE_TEST(ids_are_found_and_verified),
        SHM_FIXTURE_TEST(what_is_gone_is_not_found),
        SHM_FIXTURE_TEST(motion_is_not_known),
        SHM_FIXTURE_TEST(a_new_owner_ends_the_motion),
        SHM_FIXTURE_TEST(damage_is_not_known),
        SHM_FIXTURE_TEST(a_wild_index_is_survived),
        SHM_FIXTURE_TEST(the_owners_errors_hit_check),
        SHM_FIXTURE_TEST(lanes_share_evenly),
        cmocka_unit_test(states_have_names),
        SHM_FIXTURE_TEST(readers_never_see_a_mixture),
        SHM_FIXTURE_TEST(a_killed_owner_leaves_a_table_that_is_made_good),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
