/* The doorbell: one ring a sleep, in poll and at the bell, listeners that come and go, and no
 * wake-up lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#include "common/clock.h"
#include "shm/shm_doorbell.h"
#include "shm/shm_ring.h"
#include "test/unit/shm_fixture.h"

/* Long enough that only a lost wake-up takes it. */
#define LOST_MS 1500

/* How many bytes are in a FIFO; they are gone then. */
static int bytes_in(int fd)
{
    char bytes[4096];
    ssize_t count = read(fd, bytes, sizeof bytes);
    return count > 0 ? (int)count : 0;
}

static bool is_readable(int fd, int wait_ms)
{
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    return poll(&ready, 1, wait_ms) == 1;
}

static void rings_once_per_sleep(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_doorbell bell;
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    assert_true(fd >= 0);
    shm_doorbell_open(&bell, &f->region, 0);
    shm_doorbell_ring(&bell); /* awake: no system call, not even an open */
    assert_int_equal(bell.fd, -1);
    assert_int_equal(bytes_in(fd), 0);
    for (int sleep = 0; sleep < 3; sleep++) {
        shm_doorbell_sleep(lane);
        assert_true(atomic_load(&lane->sleep_count) & 1);
        for (int i = 0; i < 5; i++)
            shm_doorbell_ring(&bell);
        assert_int_equal(bytes_in(fd), 1);
        assert_false(is_readable(fd, 0));
        shm_doorbell_awake(lane, fd);
        shm_doorbell_ring(&bell);
        assert_int_equal(bytes_in(fd), 0);
    }
    shm_doorbell_close(&bell);
    close(fd);
}

static uint32_t bell_says(struct shm_fixture *f)
{
    return atomic_load(&shm_region_bell(&f->region, 0)->rung);
}

static void the_bell_is_rung_once_per_sleep(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_doorbell bells[2];
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    for (int i = 0; i < 2; i++)
        shm_doorbell_open(&bells[i], &f->region, 0);
    atomic_store(&shm_region_bell(&f->region, 0)->rung, UINT32_MAX - 2); /* and goes on at 0 */
    for (uint32_t sleep = 0; sleep < 3; sleep++) {
        uint32_t rung = shm_doorbell_sleep_alone(&f->region, 0);
        assert_int_equal(rung, (uint32_t)(UINT32_MAX - 2 + 2 * sleep));
        assert_true(atomic_load(&lane->sleep_count) & 1);
        for (int i = 0; i < 10; i++)
            shm_doorbell_ring(&bells[i % 2]);
        assert_int_equal(bell_says(f), rung + 2); /* each producer once */
        int64_t began_ms = clock_monotonic_ms();
        shm_doorbell_wait(&f->region, 0, rung, LOST_MS);
        assert_true(clock_monotonic_ms() - began_ms < LOST_MS); /* it did not sleep */
        shm_doorbell_awake(lane, fd);
        assert_false(atomic_load(&lane->sleep_count) & 1);
        shm_doorbell_ring(&bells[0]);
        assert_int_equal(bell_says(f), rung + 2); /* awake: none */
    }
    assert_int_equal(bells[0].fd, -1); /* the FIFO is not touched */
    assert_int_equal(bytes_in(fd), 0);
    close(fd);
}

/* What was written for a sleep in poll and came late is for the next one in poll. */
static void each_sleep_is_rung_for_in_its_own_way(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_doorbell bell;
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    shm_doorbell_open(&bell, &f->region, 0);
    uint32_t before = bell_says(f);
    uint64_t counts[4];
    for (int sleep = 0; sleep < 4; sleep++) {
        bool alone = sleep % 2;
        if (alone)
            (void)shm_doorbell_sleep_alone(&f->region, 0);
        else
            shm_doorbell_sleep(lane);
        counts[sleep] = atomic_load(&lane->sleep_count);
        assert_int_equal(counts[sleep] % 4, alone ? SHM_SLEEP_ALONE : SHM_SLEEP_POLL);
        assert_true(sleep == 0 || counts[sleep] > counts[sleep - 1]);
        shm_doorbell_ring(&bell);
        assert_int_equal(bell_says(f), before + (uint32_t)(sleep + 1) / 2);
        assert_int_equal(is_readable(fd, 0), !alone);
        shm_doorbell_awake(lane, fd);
        assert_false(is_readable(fd, 0));
    }
    assert_int_equal(write(fd, "", 1), 1);
    (void)shm_doorbell_sleep_alone(&f->region, 0);
    shm_doorbell_awake(lane, fd);
    assert_true(is_readable(fd, 0)); /* not looked at: it costs the next sleep in poll one look */
    shm_doorbell_close(&bell);
    close(fd);
}

static void a_wait_at_the_bell_has_a_limit(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    uint32_t rung = shm_doorbell_sleep_alone(&f->region, 0);
    int64_t began_ms = clock_monotonic_ms();
    shm_doorbell_wait(&f->region, 0, rung, -1); /* a deadline that has passed */
    shm_doorbell_wait(&f->region, 0, rung, 30);
    assert_true(clock_monotonic_ms() - began_ms >= 29);
    shm_doorbell_awake(lane, -1);
}

static void own_threads_ring_as_it_sleeps(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    shm_doorbell_ring_own(&f->region, 0, fd);
    assert_int_equal(bytes_in(fd), 0); /* awake */
    shm_doorbell_sleep(lane);
    shm_doorbell_ring_own(&f->region, 0, fd);
    assert_true(is_readable(fd, 0));
    shm_doorbell_awake(lane, fd);
    uint32_t rung = shm_doorbell_sleep_alone(&f->region, 0);
    shm_doorbell_ring_own(&f->region, 0, fd);
    assert_int_equal(bell_says(f), rung + 1);
    assert_false(is_readable(fd, 0));
    shm_doorbell_awake(lane, fd);
    close(fd);
}

static void waking_up_empties_the_fifo(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_doorbell bells[2];
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    char many[300] = {0};
    shm_doorbell_sleep(lane);
    for (int i = 0; i < 2; i++) {
        shm_doorbell_open(&bells[i], &f->region, 0);
        shm_doorbell_ring(&bells[i]);
    }
    assert_int_equal(write(fd, many, sizeof many), sizeof many);
    assert_true(is_readable(fd, 0));
    shm_doorbell_awake(lane, fd);
    assert_false(is_readable(fd, 0));
    assert_false(atomic_load(&lane->sleep_count) & 1);
    for (int i = 0; i < 2; i++)
        shm_doorbell_close(&bells[i]);
    close(fd);
}

static void a_full_fifo_has_been_rung(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_doorbell bell;
    char page[4096] = {0};
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    while (write(fd, page, sizeof page) > 0)
        continue;
    while (write(fd, page, 1) > 0)
        continue;
    shm_doorbell_open(&bell, &f->region, 0);
    shm_doorbell_sleep(shm_region_lane(&f->region, 0));
    shm_doorbell_ring(&bell);
    assert_int_not_equal(bell.fd, -1); /* and did not block */
    assert_true(is_readable(fd, 0));
    shm_doorbell_close(&bell);
    close(fd);
}

static void nobody_listens(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_doorbell bell;
    shm_doorbell_open(&bell, &f->region, 0);
    shm_doorbell_sleep(lane); /* and died */
    shm_doorbell_ring(&bell);
    assert_int_equal(bell.fd, -1);

    shm_doorbell_reset(lane); /* its successor */
    assert_false(atomic_load(&lane->sleep_count) & 1);
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    shm_doorbell_sleep(lane);
    shm_doorbell_ring(&bell);
    assert_int_equal(bytes_in(fd), 1);
    shm_doorbell_close(&bell);
    close(fd);
}

static void a_broken_bell_is_opened_again(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_doorbell bell;
    char path[SHM_REGION_PATH_SIZE];
    int fd = shm_doorbell_listen(&f->region, 0, &f->why);
    shm_doorbell_open(&bell, &f->region, 0);
    shm_doorbell_sleep(lane);
    shm_doorbell_ring(&bell);
    assert_int_equal(bytes_in(fd), 1);
    close(fd); /* the owner dies asleep: EPIPE from now on */

    shm_doorbell_reset(lane);
    shm_doorbell_sleep(lane);
    shm_doorbell_ring(&bell);
    assert_int_equal(bell.fd, -1);

    /* Its successor finds the FIFO deleted and makes a new one. */
    shm_region_fifo_path(f->name, 0, path, sizeof path);
    assert_int_equal(unlink(path), 0);
    shm_doorbell_reset(lane);
    fd = shm_doorbell_listen(&f->region, 0, &f->why);
    assert_true(fd >= 0);
    shm_doorbell_sleep(lane);
    shm_doorbell_ring(&bell);
    assert_int_equal(bytes_in(fd), 1);

    /* A new listener on a new FIFO while the producer's end is open and good for nothing. */
    close(fd);
    assert_int_equal(unlink(path), 0);
    shm_doorbell_reset(lane);
    fd = shm_doorbell_listen(&f->region, 0, &f->why);
    shm_doorbell_sleep(lane);
    shm_doorbell_ring(&bell);
    assert_int_equal(bytes_in(fd), 1);
    shm_doorbell_close(&bell);
    close(fd);
}

static void what_is_no_fifo_is_refused(void **state)
{
    struct shm_fixture *f = *state;
    char path[SHM_REGION_PATH_SIZE];
    shm_region_fifo_path(f->name, 1, path, sizeof path);
    assert_int_equal(unlink(path), 0);
    close(open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0600));
    assert_int_equal(shm_doorbell_listen(&f->region, 1, &f->why), -1);
    assert_non_null(strstr(f->why.text, path));
}

static void sleep_twice(struct shm_fixture *f)
{
    shm_doorbell_sleep(shm_region_lane(&f->region, 0));
    shm_doorbell_sleep(shm_region_lane(&f->region, 0));
}

static void sleep_alone_twice(struct shm_fixture *f)
{
    (void)shm_doorbell_sleep_alone(&f->region, 0);
    (void)shm_doorbell_sleep_alone(&f->region, 0);
}

static void a_new_owner_must_reset(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    assert_int_equal(shm_fixture_signal_of(sleep_twice, f), SIGABRT);
    assert_true(atomic_load(&lane->sleep_count) & 1); /* as the dead child left it */
    shm_doorbell_reset(lane);
    assert_int_equal(atomic_load(&lane->sleep_count), 4);
    shm_doorbell_reset(lane);
    assert_int_equal(atomic_load(&lane->sleep_count), 4);
    assert_int_equal(shm_fixture_signal_of(sleep_alone_twice, f), SIGABRT);
    shm_doorbell_reset(lane);
    assert_int_equal(atomic_load(&lane->sleep_count), 8);
}

/* ------------------------------------------------------- no wake-up is lost */

/* One moment, many times: the owner announces sleep and looks at its ring while
 * the producer pushes and looks at the count. At least one sees the other.
 * Without either fence this fails within some thousand rounds. */
struct moment {
    struct shm_fixture *fixture;
    bool alone;
    _Atomic uint64_t round, pushed; /* of the round that may begin, and of the last done */
    uint64_t rounds;
};

static void wait_for(const _Atomic uint64_t *count, uint64_t value)
{
    for (unsigned spins = 0; atomic_load_explicit(count, memory_order_acquire) < value; spins++)
        if (spins % 1024 == 1023)
            sched_yield(); /* the other one may need this core */
}

static void *push_each_round(void *context)
{
    struct moment *moment = context;
    struct shm_ring_producer ring;
    struct shm_doorbell bell;
    struct shm_ring_entry entry = {.id = {1, 1}, .amount_cents = 1};
    shm_ring_producer_open(&ring, &moment->fixture->region, 0, 0);
    shm_doorbell_open(&bell, &moment->fixture->region, 0);
    for (uint64_t round = 1; round <= moment->rounds; round++) {
        wait_for(&moment->round, round);
        (void)shm_ring_try_push(&ring, &entry);
        shm_doorbell_ring(&bell);
        atomic_store_explicit(&moment->pushed, round, memory_order_release);
    }
    shm_doorbell_close(&bell);
    return NULL;
}

/* Announce sleep and look; whether the ring was seen or the doorbell rung. */
static bool is_met(struct moment *moment, struct shm_ring_consumer *ring, int fd, uint64_t round)
{
    struct shm_region *region = &moment->fixture->region;
    struct shm_ring_entry entry;
    uint32_t rung = 0;
    if (moment->alone)
        rung = shm_doorbell_sleep_alone(region, 0);
    else
        shm_doorbell_sleep(shm_region_lane(region, 0));
    bool seen = shm_ring_peek(ring, &entry);
    wait_for(&moment->pushed, round);
    return seen || (moment->alone ? bell_says(moment->fixture) != rung : bytes_in(fd) > 0);
}

static void one_sees_the_other(struct moment *moment)
{
    struct shm_lane *lane = shm_region_lane(&moment->fixture->region, 0);
    struct shm_ring_consumer ring;
    struct shm_ring_entry entry;
    pthread_t producer;
    uint64_t lost = 0;
    int64_t deadline = clock_monotonic_ms() + 2000;
    int fd = shm_doorbell_listen(&moment->fixture->region, 0, NULL);
    shm_ring_consumer_open(&ring, &moment->fixture->region, 0, 0);
    assert_int_equal(pthread_create(&producer, NULL, push_each_round, moment), 0);
    for (uint64_t round = 1; round <= moment->rounds; round++) {
        atomic_store_explicit(&moment->round, round, memory_order_release);
        for (volatile uint64_t pause = round % 64; pause > 0; pause--)
            continue; /* the other one has to come here first */
        lost += !is_met(moment, &ring, fd, round);
        shm_doorbell_awake(lane, fd);
        while (shm_ring_peek(&ring, &entry))
            shm_ring_take(&ring);
        if (clock_monotonic_ms() > deadline)
            break;
    }
    atomic_store_explicit(&moment->round, moment->rounds, memory_order_release);
    pthread_join(producer, NULL);
    close(fd);
    assert_int_equal(lost, 0);
}

static void one_sees_the_other_in_poll(void **state)
{
    one_sees_the_other(&(struct moment){.fixture = *state, .rounds = 300000});
}

static void one_sees_the_other_at_the_bell(void **state)
{
    one_sees_the_other(&(struct moment){.fixture = *state, .alone = true, .rounds = 300000});
}

/* For all of it, which takes a second: on a machine that has other things to do, many. A test that
 * gives up while its other half goes on pulls the region away from under it. */
#define DEADLINE_MS 120000

struct hammer {
    struct shm_fixture *fixture;
    uint64_t count;
};

/* Push one entry at a time, with pauses of all short lengths, so that the
 * owner is met in every moment of falling asleep. */
static void *hammer_pushes(void *context)
{
    struct hammer *hammer = context;
    struct shm_ring_producer ring;
    struct shm_doorbell bell;
    uint64_t random = 1;
    shm_ring_producer_open(&ring, &hammer->fixture->region, 0, 0);
    shm_doorbell_open(&bell, &hammer->fixture->region, 0);
    for (uint64_t n = 0; n < hammer->count;) {
        struct shm_ring_entry entry = {.id = {n, n}, .amount_cents = 1};
        if (shm_ring_try_push(&ring, &entry)) {
            shm_doorbell_ring(&bell);
            n++;
        }
        for (volatile uint64_t pause = shm_fixture_random(&random) % 400; pause > 0; pause--)
            continue;
        if (n % 8 == 0)
            sched_yield();
    }
    shm_doorbell_close(&bell);
    return NULL;
}

static bool take_all(struct shm_ring_consumer *ring, uint64_t *taken)
{
    struct shm_ring_entry entry;
    bool any = false;
    while (shm_ring_peek(ring, &entry)) {
        shm_ring_take(ring);
        (*taken)++;
        any = true;
    }
    return any;
}

static bool is_rung(struct hammer *hammer, bool alone, uint32_t rung, int fd)
{
    int64_t began_ms = clock_monotonic_ms();
    if (!alone)
        return is_readable(fd, LOST_MS);
    shm_doorbell_wait(&hammer->fixture->region, 0, rung, LOST_MS);
    return clock_monotonic_ms() - began_ms < LOST_MS;
}

/* The owner's loop; counts the wake-ups that were lost. */
static unsigned sleep_and_take(struct hammer *hammer, uint64_t *sleeps)
{
    struct shm_lane *lane = shm_region_lane(&hammer->fixture->region, 0);
    struct shm_ring_consumer ring;
    uint64_t taken = 0;
    uint64_t random = 2;
    unsigned lost = 0;
    int64_t deadline = clock_monotonic_ms() + DEADLINE_MS;
    int fd = shm_doorbell_listen(&hammer->fixture->region, 0, NULL);
    assert_true(fd >= 0);
    shm_ring_consumer_open(&ring, &hammer->fixture->region, 0, 0);
    while (taken < hammer->count && clock_monotonic_ms() < deadline) {
        if (take_all(&ring, &taken))
            continue;
        bool alone = shm_fixture_random(&random) % 2;
        uint32_t rung = 0;
        if (alone)
            rung = shm_doorbell_sleep_alone(&hammer->fixture->region, 0);
        else
            shm_doorbell_sleep(lane);
        if (!take_all(&ring, &taken)) {
            ++*sleeps;
            lost += !is_rung(hammer, alone, rung, fd) && taken < hammer->count;
        }
        shm_doorbell_awake(lane, fd);
    }
    close(fd);
    assert_int_equal(taken, hammer->count);
    return lost;
}

static void no_wake_up_is_lost_between_threads(void **state)
{
    struct hammer hammer = {.fixture = *state, .count = 100000};
    uint64_t sleeps = 0;
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, hammer_pushes, &hammer), 0);
    assert_int_equal(sleep_and_take(&hammer, &sleeps), 0);
    pthread_join(producer, NULL);
    print_message("# %llu sleeps\n", (unsigned long long)sleeps);
    assert_true(sleeps > 0);
}

static void no_wake_up_is_lost_between_processes(void **state)
{
    struct hammer hammer = {.fixture = *state, .count = 100000};
    uint64_t sleeps = 0;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* or a failure would wait for it for ever */
        hammer_pushes(&hammer);
        _exit(0);
    }
    assert_int_equal(sleep_and_take(&hammer, &sleeps), 0);
    waitpid(child, NULL, 0);
    print_message("# %llu sleeps\n", (unsigned long long)sleeps);
    assert_true(sleeps > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(rings_once_per_sleep),
        SHM_FIXTURE_TEST(the_bell_is_rung_once_per_sleep),
        SHM_FIXTURE_TEST(each_sleep_is_rung_for_in_its_own_way),
        SHM_FIXTURE_TEST(a_wait_at_the_bell_has_a_limit),
        SHM_FIXTURE_TEST(own_threads_ring_as_it_sleeps),
        SHM_FIXTURE_TEST(waking_up_empties_the_fifo),
        SHM_FIXTURE_TEST(a_full_fifo_has_been_rung),
        SHM_FIXTURE_TEST(nobody_listens),
        SHM_FIXTURE_TEST(a_broken_bell_is_opened_again),
        SHM_FIXTURE_TEST(what_is_no_fifo_is_refused),
        SHM_FIXTURE_TEST(a_new_owner_must_reset),
        SHM_FIXTURE_TEST(one_sees_the_other_in_poll),
        SHM_FIXTURE_TEST(one_sees_the_other_at_the_bell),
        SHM_FIXTURE_TEST(no_wake_up_is_lost_between_threads),
        SHM_FIXTURE_TEST(no_wake_up_is_lost_between_processes),
    };
    signal(SIGPIPE, SIG_IGN); /* as both programs do */
    return cmocka_run_group_tests(tests, NULL, NULL);
}
