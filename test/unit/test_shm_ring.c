/* The SPSC ring: order, limits, tenants that follow each other, third parties, and kills. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <sched.h>

#include "shm/shm_ring.h"
#include "test/unit/shm_fixture.h"

#define SLOTS 64u /* of the fixture's rings */

/* Every field follows from a number, so that a mixture of two entries shows. */
static struct shm_ring_entry entry_of(uint64_t n)
{
    return (struct shm_ring_entry){.id = {n * 3, ~n},
                                   .amount_cents = (int64_t)n + 1,
                                   .accepted_at_ms = (int64_t)n * 5,
                                   .purge_generation = n / 7};
}

static bool entry_is(const struct shm_ring_entry *entry, uint64_t n)
{
    struct shm_ring_entry right = entry_of(n);
    return uuid_equal(&entry->id, &right.id) && entry->amount_cents == right.amount_cents &&
           entry->accepted_at_ms == right.accepted_at_ms &&
           entry->purge_generation == right.purge_generation;
}

static bool push(struct shm_ring_producer *ring, uint64_t n)
{
    struct shm_ring_entry entry = entry_of(n);
    return shm_ring_try_push(ring, &entry);
}

static void take(struct shm_ring_consumer *ring, uint64_t n)
{
    struct shm_ring_entry entry = {0};
    assert_true(shm_ring_peek(ring, &entry));
    assert_true(entry_is(&entry, n));
    shm_ring_take(ring);
}

static void set_counts(struct shm_fixture *f, uint64_t head, uint64_t tail)
{
    atomic_store(&shm_region_lane(&f->region, 0)->head[0].value, head);
    atomic_store(&shm_region_api(&f->region, 0)->tail[0].value, tail);
}

static void first_in_first_out(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_producer producer;
    struct shm_ring_consumer consumer;
    struct shm_ring_entry entry;
    shm_ring_producer_open(&producer, &f->region, 0, 0);
    shm_ring_consumer_open(&consumer, &f->region, 0, 0);
    assert_false(shm_ring_peek(&consumer, &entry));
    assert_true(push(&producer, 1));
    assert_true(push(&producer, 2));
    assert_int_equal(shm_ring_depth(&f->region, 0, 0), 2);
    assert_true(shm_ring_peek(&consumer, &entry)); /* looking takes nothing */
    take(&consumer, 1);
    take(&consumer, 2);
    assert_false(shm_ring_peek(&consumer, &entry));
    assert_int_equal(shm_ring_depth(&f->region, 0, 0), 0);
}

static void a_full_ring_refuses(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_producer producer;
    struct shm_ring_consumer consumer;
    shm_ring_producer_open(&producer, &f->region, 0, 0);
    shm_ring_consumer_open(&consumer, &f->region, 0, 0);
    for (uint64_t n = 0; n < SLOTS; n++)
        assert_true(push(&producer, n));
    assert_false(push(&producer, SLOTS));
    assert_int_equal(atomic_load(&shm_region_api(&f->region, 0)->tail[0].value), SLOTS);
    take(&consumer, 0); /* nothing was overwritten */
    assert_true(push(&producer, SLOTS));
    assert_false(push(&producer, SLOTS + 1));
    for (uint64_t n = 1; n <= SLOTS; n++)
        take(&consumer, n);
}

/* Head and tail by hand: around a multiple of the slots and just before it, empty and full. */
static void every_place_wraps(void **state)
{
    struct shm_fixture *f = *state;
    const uint64_t starts[] = {SLOTS - 1, SLOTS, 5 * SLOTS - 2, UINT64_C(1) << 40};
    for (size_t i = 0; i < sizeof starts / sizeof starts[0]; i++) {
        struct shm_ring_producer producer;
        struct shm_ring_consumer consumer;
        set_counts(f, starts[i], starts[i]);
        shm_ring_producer_open(&producer, &f->region, 0, 0);
        shm_ring_consumer_open(&consumer, &f->region, 0, 0);
        for (uint64_t n = 0; n < 3 * SLOTS; n++) {
            for (uint64_t k = 0; k < SLOTS; k++)
                assert_true(push(&producer, n * SLOTS + k));
            assert_false(push(&producer, 0));
            for (uint64_t k = 0; k < SLOTS; k++)
                take(&consumer, n * SLOTS + k);
        }
    }
}

static void new_tenants_go_on(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_producer producer;
    struct shm_ring_consumer consumer;
    shm_ring_producer_open(&producer, &f->region, 0, 0);
    for (uint64_t n = 0; n < SLOTS; n++)
        assert_true(push(&producer, n));
    shm_ring_consumer_open(&consumer, &f->region, 0, 0);
    take(&consumer, 0);
    shm_ring_consumer_open(&consumer, &f->region, 0, 0); /* its owner died: nothing is lost */
    take(&consumer, 1);
    shm_ring_producer_open(&producer, &f->region, 0, 0);
    assert_true(push(&producer, SLOTS));
    assert_true(push(&producer, SLOTS + 1));
    assert_false(push(&producer, SLOTS + 2));
    for (uint64_t n = 2; n < SLOTS + 2; n++)
        take(&consumer, n);
}

/* Dying between looking and taking: the next owner sees the entry again. */
static void an_entry_that_was_not_taken_is_seen_again(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_producer producer;
    struct shm_ring_consumer consumer;
    struct shm_ring_entry entry;
    shm_ring_producer_open(&producer, &f->region, 0, 0);
    assert_true(push(&producer, 9));
    shm_ring_consumer_open(&consumer, &f->region, 0, 0);
    assert_true(shm_ring_peek(&consumer, &entry));
    shm_ring_consumer_open(&consumer, &f->region, 0, 0);
    take(&consumer, 9);
}

static void rings_do_not_mix(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_producer producers[2][2];
    for (unsigned api = 0; api < 2; api++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            shm_ring_producer_open(&producers[api][lane], &f->region, api, lane);
            for (uint64_t n = 0; n < SLOTS; n++)
                assert_true(push(&producers[api][lane], 1000 * api + 100 * lane + n));
        }
    }
    for (unsigned api = 0; api < 2; api++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            struct shm_ring_consumer consumer;
            shm_ring_consumer_open(&consumer, &f->region, api, lane);
            for (uint64_t n = 0; n < SLOTS; n++)
                take(&consumer, 1000 * api + 100 * lane + n);
        }
    }
}

static void open_producer(struct shm_fixture *f)
{
    struct shm_ring_producer ring;
    shm_ring_producer_open(&ring, &f->region, 0, 0);
}
static void open_consumer(struct shm_fixture *f)
{
    struct shm_ring_consumer ring;
    shm_ring_consumer_open(&ring, &f->region, 0, 0);
}
static void take_from_nothing(struct shm_fixture *f)
{
    struct shm_ring_consumer ring;
    shm_ring_consumer_open(&ring, &f->region, 0, 0);
    shm_ring_take(&ring);
}

static void counts_that_cannot_be_hit_check(void **state)
{
    struct shm_fixture *f = *state;
    set_counts(f, 0, SLOTS);
    assert_int_equal(shm_fixture_signal_of(open_producer, f), 0);
    assert_int_equal(shm_fixture_signal_of(open_consumer, f), 0);
    set_counts(f, 0, SLOTS + 1);
    assert_int_equal(shm_fixture_signal_of(open_producer, f), SIGABRT);
    assert_int_equal(shm_fixture_signal_of(open_consumer, f), SIGABRT);
    set_counts(f, 2, 1);
    assert_int_equal(shm_fixture_signal_of(open_producer, f), SIGABRT);
    assert_int_equal(shm_fixture_signal_of(open_consumer, f), SIGABRT);
    set_counts(f, 2, 2);
    assert_int_equal(shm_fixture_signal_of(take_from_nothing, f), SIGABRT);
}

static void an_entry_is_found_until_it_is_taken(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_producer producer;
    struct shm_ring_consumer consumer;
    struct shm_ring_entry found, wanted = entry_of(70), absent = entry_of(1234567);
    shm_ring_producer_open(&producer, &f->region, 0, 0);
    shm_ring_consumer_open(&consumer, &f->region, 0, 0);
    for (uint64_t n = 0; n < SLOTS; n++)
        assert_true(push(&producer, n));
    for (uint64_t n = 0; n < 10; n++)
        take(&consumer, n);
    for (uint64_t n = SLOTS; n < SLOTS + 10; n++)
        assert_true(push(&producer, n));
    assert_true(shm_ring_find(&f->region, 0, 0, &wanted.id, &found));
    assert_true(entry_is(&found, 70));
    assert_false(shm_ring_find(&f->region, 0, 0, &absent.id, &found));
    assert_false(shm_ring_find(&f->region, 1, 0, &wanted.id, &found));
    assert_true(shm_ring_look(&f->region, 0, 0, 70, &found));
    assert_false(shm_ring_look(&f->region, 0, 0, SLOTS + 10, &found)); /* not pushed */
    assert_false(shm_ring_look(&f->region, 0, 0, 9, &found));          /* taken */
    for (uint64_t n = 10; n <= 70; n++)
        take(&consumer, n);
    assert_false(shm_ring_find(&f->region, 0, 0, &wanted.id, &found));
}

/* ------------------------------------------------------------ several at once */

struct traffic {
    struct shm_fixture *fixture;
    uint64_t count;
    _Atomic bool done;
};

static void *produce(void *context)
{
    struct traffic *traffic = context;
    struct shm_ring_producer ring;
    shm_ring_producer_open(&ring, &traffic->fixture->region, 0, 0);
    for (uint64_t n = 0; n < traffic->count;) {
        if (push(&ring, n))
            n++;
        else
            sched_yield();
    }
    return NULL;
}

/* Counts the entries that come out of order or mixed. */
static uint64_t consume(struct traffic *traffic)
{
    struct shm_ring_consumer ring;
    struct shm_ring_entry entry;
    uint64_t wrong = 0;
    shm_ring_consumer_open(&ring, &traffic->fixture->region, 0, 0);
    for (uint64_t n = 0; n < traffic->count;) {
        if (!shm_ring_peek(&ring, &entry)) {
            sched_yield();
            continue;
        }
        wrong += !entry_is(&entry, n);
        shm_ring_take(&ring);
        n++;
    }
    return wrong;
}

static void two_threads(void **state)
{
    struct traffic traffic = {.fixture = *state, .count = 200000};
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, &traffic), 0);
    assert_int_equal(consume(&traffic), 0);
    pthread_join(producer, NULL);
}

static void two_processes(void **state)
{
    struct traffic traffic = {.fixture = *state, .count = 200000};
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        produce(&traffic);
        _exit(0);
    }
    assert_int_equal(consume(&traffic), 0);
    waitpid(child, NULL, 0);
}

static void *work(void *context)
{
    struct traffic *traffic = context;
    pthread_t producer;
    uint64_t wrong = 1;
    if (pthread_create(&producer, NULL, produce, traffic) == 0) {
        wrong = consume(traffic);
        pthread_join(producer, NULL);
    }
    atomic_store(&traffic->done, true);
    return (void *)(uintptr_t)wrong;
}

/* A third party searches while slots are overwritten: what it is given is whole. */
static void searching_in_traffic(void **state)
{
    struct shm_fixture *f = *state;
    struct traffic traffic = {.fixture = f, .count = 200000};
    pthread_t worker;
    void *wrong;
    uint64_t looks = 0, mixed = 0, seen = 0;
    assert_int_equal(pthread_create(&worker, NULL, work, &traffic), 0);
    while (!atomic_load(&traffic.done)) {
        struct shm_ring_entry found, wanted;
        uint64_t n = atomic_load(&shm_region_api(&f->region, 0)->tail[0].value) + 2;
        wanted = entry_of(n);
        if (shm_ring_find(&f->region, 0, 0, &wanted.id, &found)) {
            seen++;
            mixed += !entry_is(&found, n);
        }
        if (shm_ring_look(&f->region, 0, 0, n > 30 ? n - 30 : 0, &found))
            mixed += !entry_is(&found, n > 30 ? n - 30 : 0);
        looks++;
    }
    pthread_join(worker, &wrong);
    assert_int_equal((uintptr_t)wrong, 0);
    assert_int_equal(mixed, 0);
    print_message("# %llu searches, %llu found\n", (unsigned long long)looks,
                  (unsigned long long)seen);
}

/* Killed at any instruction: what was told to be pushed is there, in order, whole. */
static void a_killed_producer_leaves_whole_entries(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_consumer ring;
    struct shm_ring_entry entry;
    uint64_t taken = 0;
    shm_ring_consumer_open(&ring, &f->region, 0, 0);
    for (int round = 0; round < 20; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            struct shm_ring_producer producer;
            shm_ring_producer_open(&producer, &f->region, 0, 0);
            for (;;)
                push(&producer, producer.local_tail);
        }
        for (uint64_t until = taken + 500; taken < until;) {
            if (!shm_ring_peek(&ring, &entry)) {
                sched_yield();
                continue;
            }
            assert_true(entry_is(&entry, taken++));
            shm_ring_take(&ring);
        }
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    while (shm_ring_peek(&ring, &entry)) {
        assert_true(entry_is(&entry, taken++));
        shm_ring_take(&ring);
    }
    assert_int_equal(taken, atomic_load(&shm_region_api(&f->region, 0)->tail[0].value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(first_in_first_out),
        SHM_FIXTURE_TEST(a_full_ring_refuses),
        SHM_FIXTURE_TEST(every_place_wraps),
        SHM_FIXTURE_TEST(new_tenants_go_on),
        SHM_FIXTURE_TEST(an_entry_that_was_not_taken_is_seen_again),
        SHM_FIXTURE_TEST(rings_do_not_mix),
        SHM_FIXTURE_TEST(counts_that_cannot_be_hit_check),
        SHM_FIXTURE_TEST(an_entry_is_found_until_it_is_taken),
        SHM_FIXTURE_TEST(two_threads),
        SHM_FIXTURE_TEST(two_processes),
        SHM_FIXTURE_TEST(searching_in_traffic),
        SHM_FIXTURE_TEST(a_killed_producer_leaves_whole_entries),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
