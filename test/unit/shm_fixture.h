/* A small region of its own for each test, removed after it whatever happened.
 *
 * Use as cmocka_unit_test_setup_teardown(test, shm_fixture_setup, shm_fixture_teardown);
 * the test's state is the struct shm_fixture. Include after cmocka.h. */
#ifndef PAYRING_TEST_SHM_FIXTURE_H
#define PAYRING_TEST_SHM_FIXTURE_H

#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/shm_lease.h"
#include "shm/shm_region.h"

#define SHM_FIXTURE_TEST(test)                                                                     \
    cmocka_unit_test_setup_teardown(test, shm_fixture_setup, shm_fixture_teardown)

struct shm_fixture {
    char name[SHM_REGION_NAME_MAX + 1];
    struct shm_geometry geometry;
    struct shm_region region; /* attached, every area of it leased and writable */
    struct explain why;
};

static inline struct shm_geometry shm_fixture_geometry(void)
{
    return (struct shm_geometry){.api_slots = 2,
                                 .lanes = 2,
                                 .ring_slots = 64,
                                 .payment_slots = 100,
                                 .ledger_rows = 4 * SHM_BLOCK_ROWS,
                                 .horizon_payments = 4096,
                                 .ledger_segment_rows = 4 * SHM_BLOCK_ROWS};
}

/* Attach, lease and open everything. */
static inline void shm_fixture_attach(struct shm_fixture *fixture)
{
    struct shm_region *region = &fixture->region;
    struct explain *why = &fixture->why;
    assert_int_equal(shm_region_attach(region, fixture->name, 0, why), STATUS_OK);
    assert_int_equal(shm_lease_try_take_all(region, why), STATUS_OK);
    for (unsigned slot = 0; slot < region->geometry.api_slots; slot++)
        assert_int_equal(shm_region_open_api(region, slot, why), STATUS_OK);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        assert_int_equal(shm_region_open_lane(region, lane, why), STATUS_OK);
    assert_int_equal(shm_region_open_health(region, why), STATUS_OK);
    assert_int_equal(shm_region_open_purge(region, why), STATUS_OK);
    assert_int_equal(shm_region_open_operator(region, why), STATUS_OK);
}

static inline void shm_fixture_create(struct shm_fixture *fixture,
                                      const struct shm_geometry *geometry)
{
    fixture->geometry = *geometry;
    assert_int_equal(shm_region_create(fixture->name, geometry, &fixture->why), STATUS_OK);
    shm_fixture_attach(fixture);
}

static inline void shm_fixture_remove(struct shm_fixture *fixture)
{
    char path[SHM_REGION_PATH_SIZE];
    shm_region_detach(&fixture->region);
    (void)shm_region_remove(fixture->name, true, NULL);
    snprintf(path, sizeof path, "/dev/shm/%s.new", fixture->name);
    (void)unlink(path);
}

/* Nothing but a name: for tests that create the region by themselves. */
static inline int shm_fixture_setup_nameless(void **state)
{
    static unsigned count;
    struct shm_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    snprintf(fixture->name, sizeof fixture->name, "unit.%d.%u", (int)getpid(), count++);
    fixture->region.fd = -1;
    *state = fixture;
    return 0;
}

static inline int shm_fixture_setup(void **state)
{
    struct shm_geometry geometry = shm_fixture_geometry();
    shm_fixture_setup_nameless(state);
    shm_fixture_create(*state, &geometry);
    return 0;
}

static inline int shm_fixture_teardown(void **state)
{
    shm_fixture_remove(*state);
    free(*state);
    return 0;
}

/* Run `body` in a child and say how it ended: its signal, or 0 if it came to its end. The child
 * says nothing on stderr: a failed CHECK is what some tests wait for. */
static inline int shm_fixture_signal_of(void (*body)(struct shm_fixture *),
                                        struct shm_fixture *fixture)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        /* The sanitizers' handlers would make an exit of these. */
        signal(SIGSEGV, SIG_DFL);
        signal(SIGBUS, SIG_DFL);
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        body(fixture);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

static inline uint64_t shm_fixture_random(uint64_t *state)
{
    /* SplitMix64: the same numbers for the same start. */
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A start that is printed, and can be given back: PAYRING_TEST_SEED. */
static inline uint64_t shm_fixture_seed(void)
{
    const char *given = getenv("PAYRING_TEST_SEED");
    uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)getpid() * 2654435761u;
    print_message("# PAYRING_TEST_SEED=%llu\n", (unsigned long long)seed);
    return seed;
}

#endif
