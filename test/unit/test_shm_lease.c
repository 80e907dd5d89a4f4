/* Leases: one holder at a time, gone with it, kept by a stopped one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "common/clock.h"
#include "shm/shm_lease.h"
#include "test/unit/shm_fixture.h"

/* A second process's view: attached, nothing leased. */
static struct shm_region attach_another(struct shm_fixture *f)
{
    struct shm_region region;
    assert_int_equal(shm_region_attach(&region, f->name, 0, &f->why), STATUS_OK);
    return region;
}

static int setup(void **state)
{
    shm_fixture_setup(state);
    struct shm_fixture *f = *state;
    shm_region_detach(&f->region); /* gives back all that the fixture took */
    f->region = attach_another(f);
    return 0;
}

static void one_holder_at_a_time(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_region other = attach_another(f);
    const unsigned leases[] = {SHM_LEASE_PURGE, SHM_LEASE_HEALTH,   SHM_LEASE_API,
                               SHM_LEASE_LANE,  SHM_LEASE_LANE + 1, SHM_LEASE_API + 15};
    for (size_t i = 0; i < sizeof leases / sizeof leases[0]; i++) {
        assert_false(shm_lease_is_taken(&other, leases[i]));
        assert_int_equal(shm_lease_try_take(&f->region, leases[i]), STATUS_OK);
        assert_int_equal(shm_lease_try_take(&f->region, leases[i]), STATUS_OK);
        assert_int_equal(shm_lease_try_take(&other, leases[i]), STATUS_BUSY);
        assert_true(shm_lease_is_taken(&other, leases[i]));
        assert_false(shm_lease_is_taken(&f->region, leases[i])); /* by another, that is */
    }
    shm_lease_give_back(&f->region, SHM_LEASE_LANE);
    assert_int_equal(shm_lease_try_take(&other, SHM_LEASE_LANE), STATUS_OK);
    assert_int_equal(shm_lease_try_take(&other, SHM_LEASE_LANE + 1), STATUS_BUSY);
    assert_true(shm_lease_is_taken(&f->region, SHM_LEASE_LANE));
    shm_region_detach(&other);
    assert_false(shm_lease_is_taken(&f->region, SHM_LEASE_LANE));
}

static void an_inspector_sees_who_holds_what(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_region inspector;
    assert_int_equal(shm_lease_try_take(&f->region, SHM_LEASE_API + 1), STATUS_OK);
    assert_int_equal(shm_region_attach_read_only(&inspector, f->name, NULL), STATUS_OK);
    assert_true(shm_lease_is_taken(&inspector, SHM_LEASE_API + 1));
    assert_false(shm_lease_is_taken(&inspector, SHM_LEASE_API));
    shm_region_detach(&inspector);
}

static void all_or_none(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_region other = attach_another(f);
    const struct {
        unsigned lease;
        const char *name;
    } named[] = {{SHM_LEASE_PURGE, "purge"},
                 {SHM_LEASE_HEALTH, "health"},
                 {SHM_LEASE_API + 1, "API slot 1"},
                 {SHM_LEASE_LANE + 1, "lane 1"}};
    for (size_t i = 0; i < sizeof named / sizeof named[0]; i++) {
        assert_int_equal(shm_lease_try_take(&other, named[i].lease), STATUS_OK);
        assert_int_equal(shm_lease_try_take_all(&f->region, &f->why), STATUS_BUSY);
        assert_non_null(strstr(f->why.text, named[i].name));
        shm_lease_give_back(&other, named[i].lease);
        assert_false(shm_lease_is_taken(&other, SHM_LEASE_LANE)); /* none was kept */
    }
    assert_int_equal(shm_lease_try_take_all(&f->region, &f->why), STATUS_OK);
    for (unsigned lane = 0; lane < SHM_LANES_MAX; lane++)
        assert_true(shm_lease_is_taken(&other, SHM_LEASE_LANE + lane));
    shm_region_detach(&other);
}

/* Whoever came first: what tells a person which process to stop. */
static void of_several_the_same_is_named(void **state)
{
    struct shm_fixture *f = *state;
    static const unsigned held[] = {SHM_LEASE_HEALTH, SHM_LEASE_LANE, SHM_LEASE_API,
                                    SHM_LEASE_PURGE};
    const size_t count = sizeof held / sizeof held[0];
    for (size_t first = 0; first < count; first++) {
        struct shm_region others[sizeof held / sizeof held[0]];
        for (size_t i = 0; i < count; i++) {
            others[i] = attach_another(f);
            assert_int_equal(shm_lease_try_take(&others[i], held[(first + i) % count]), STATUS_OK);
        }
        assert_int_equal(shm_lease_try_take_all(&f->region, &f->why), STATUS_BUSY);
        assert_non_null(strstr(f->why.text, "API slot 0"));
        for (size_t i = 0; i < count; i++)
            shm_region_detach(&others[i]);
    }
}

/* A child that holds lane 0 and says so. */
static pid_t start_holder(struct shm_fixture *f)
{
    int ready[2];
    char byte;
    assert_int_equal(pipe(ready), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct shm_region own; /* opened after the fork, as every process does */
        if (shm_region_attach(&own, f->name, 0, NULL) == STATUS_OK &&
            shm_lease_try_take(&own, SHM_LEASE_LANE) == STATUS_OK && write(ready[1], "", 1) == 1)
            for (;;)
                pause();
        _exit(1);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void a_lease_vanishes_with_its_holder(void **state)
{
    struct shm_fixture *f = *state;
    pid_t holder = start_holder(f);
    assert_int_equal(shm_lease_try_take(&f->region, SHM_LEASE_LANE), STATUS_BUSY);
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    assert_int_equal(shm_lease_try_take(&f->region, SHM_LEASE_LANE), STATUS_OK);
}

static void a_stopped_holder_keeps_it(void **state)
{
    struct shm_fixture *f = *state;
    int status;
    pid_t holder = start_holder(f);
    kill(holder, SIGSTOP);
    assert_int_equal(waitpid(holder, &status, WUNTRACED), holder);
    assert_true(WIFSTOPPED(status));
    assert_int_equal(shm_lease_try_take(&f->region, SHM_LEASE_LANE), STATUS_BUSY);
    kill(holder, SIGKILL);
    waitpid(holder, NULL, 0);
    assert_int_equal(shm_lease_try_take(&f->region, SHM_LEASE_LANE), STATUS_OK);
}

static void a_tenancy_is_noted(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_presence *presence = &shm_region_lane(&f->region, 0)->presence;
    assert_int_equal(shm_region_open_lane(&f->region, 0, &f->why), STATUS_OK);
    int64_t before_ms = clock_wall_ms();
    assert_int_equal(shm_presence_begin(presence), 1);
    assert_int_equal(shm_presence_begin(presence), 2);
    assert_int_equal(atomic_load(&presence->epoch), 2);
    assert_int_equal(atomic_load(&presence->pid), getpid());
    assert_true((int64_t)atomic_load(&presence->since_ms) >= before_ms);
    atomic_store(&presence->beat_ms, 0);
    shm_presence_beat(presence);
    assert_true((int64_t)atomic_load(&presence->beat_ms) >= before_ms);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, shm_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_holder_at_a_time),
        TEST(an_inspector_sees_who_holds_what),
        TEST(all_or_none),
        TEST(of_several_the_same_is_named),
        TEST(a_lease_vanishes_with_its_holder),
        TEST(a_stopped_holder_keeps_it),
        TEST(a_tenancy_is_noted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
