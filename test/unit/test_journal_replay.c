/* From a region to its journal and back: lanes that live, a region that is lost, another number of
 * lanes, a journal begun anew, and what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "common/clock.h"
#include "shm/shm_archive.h"
#include "shm/shm_ledger_file.h"
#include "test/unit/shm_fixture.h"
#include "worker/journal_region.h"
#include "worker/journal_replay.h"
#include "worker/journal_state.h"
#include "worker/journal_tell.h"
#include "worker/lane_memory.h"

struct fixture {
    struct shm_fixture *shm; /* its name is used for one region after the other */
    char state[64];
    struct shm_region region;
    struct lane_memory lanes[SHM_LANES_MAX];
    struct explain why;
};

/* ---------------------------------------------------------------------- a small gateway */

struct seeding {
    struct journal_replay replay;
    enum shm_durability durability;
};

static enum status seed(struct shm_region *region, void *context, struct explain *why)
{
    struct seeding *seeding = context;
    enum status status = shm_archive_adopt(region, seeding->replay.state_directory, why);
    if (status != STATUS_OK)
        return status;
    shm_region_header(region)->durability = region->durability = seeding->durability;
    seeding->replay.now_monotonic_ms = clock_monotonic_ms();
    return journal_replay_into(&seeding->replay, region, why);
}

static enum status create(struct fixture *f, const struct shm_geometry *geometry,
                          enum shm_durability durability, struct journal_replay *replay)
{
    struct seeding seeding = {
        .replay = {.disk = &journal_disk_real, .state_directory = f->state},
        .durability = durability,
    };
    struct shm_region_seed with = {seed, &seeding};
    enum status status = shm_region_create_seeded(f->shm->name, geometry, &with, &f->why);
    if (status == STATUS_OK)
        journal_replay_keep(&seeding.replay);
    *replay = seeding.replay;
    return status;
}

static void open_journal(struct fixture *f, unsigned lane, enum status expected)
{
    char directory[JOURNAL_PATH_SIZE];
    uint64_t generation;
    unsigned lanes;
    struct journal_identity identity = journal_region_identity(&f->region, lane);
    struct journal_settings settings = {.disk = &journal_disk_real,
                                        .sync = true,
                                        .segment_records = 64,
                                        .bytes_max = 1 << 30,
                                        .slots = f->region.geometry.payment_slots};
    assert_int_equal(journal_state_find(&journal_disk_real, f->state, &generation, &lanes, &f->why),
                     STATUS_OK);
    journal_state_lane_path(directory, f->state, generation, lane);
    enum status status =
        journal_open(&f->lanes[lane].journal, directory, &identity, &settings, &f->why);
    f->lanes[lane].tell = journal_tell;
    assert_int_equal(status, expected);
}

static void tell_all(struct fixture *f, unsigned lane)
{
    struct lane_memory *memory = &f->lanes[lane];
    struct journal_payment opened = journal_region_opened(&f->region, lane);
    journal_append(memory->journal, JOURNAL_OPENED, &opened, JOURNAL_NO_SLOT);
    for (uint32_t slot = 0; slot < memory->payments.slots; slot++) {
        struct journal_payment image = journal_region_image(&memory->payments, slot);
        if (image.state == PAYMENT_QUEUED || image.state == PAYMENT_SENT)
            journal_append(memory->journal, JOURNAL_CARRIED, &image, slot);
    }
}

static void take_over(struct fixture *f)
{
    struct shm_region *region = &f->region;
    assert_int_equal(shm_region_attach(region, f->shm->name, 0, &f->why), STATUS_OK);
    assert_int_equal(shm_lease_try_take_all(region, &f->why), STATUS_OK);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        assert_int_equal(shm_region_open_lane(region, lane, &f->why), STATUS_OK);
        assert_int_equal(lane_memory_open(&f->lanes[lane], region, lane, &f->why), STATUS_OK);
        open_journal(f, lane, STATUS_OK);
        tell_all(f, lane);
    }
    for (unsigned slot = 0; slot < region->geometry.api_slots; slot++)
        assert_int_equal(shm_region_open_api(region, slot, &f->why), STATUS_OK);
    assert_int_equal(shm_region_open_purge(region, &f->why), STATUS_OK);
}

/* The journals end well; the region is gone. */
static void lose_region(struct fixture *f)
{
    for (unsigned lane = 0; lane < f->region.geometry.lanes; lane++)
        journal_close(f->lanes[lane].journal);
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_remove(f->shm->name, true, &f->why), STATUS_OK);
}

static struct uuid id_of(unsigned number)
{
    return (struct uuid){.hi = number * UINT64_C(0x9e3779b97f4a7c15), .lo = number};
}

/* The last row of the first segment has no room for this one, which takes two. */
#define LARGE (SHM_BLOCK_ROWS - 1)

static int64_t cents_of(unsigned number)
{
    return number == LARGE ? INT64_C(1) << 30 : 100 + (int64_t)number;
}

static struct lane_memory *lane_of(struct fixture *f, unsigned number)
{
    struct uuid id = id_of(number);
    return &f->lanes[shm_payments_lane_of(&f->region, &id)];
}

static uint32_t slot_of(struct fixture *f, unsigned number)
{
    struct uuid id = id_of(number);
    return shm_payments_owner_find(&lane_of(f, number)->payments, &id);
}

static void accept(struct fixture *f, unsigned number)
{
    struct lane_memory *lane = lane_of(f, number);
    struct shm_ring_producer ring;
    struct payment_event event = {.kind = PAYMENT_EVENT_INTAKE,
                                  .id = id_of(number),
                                  .amount_cents = cents_of(number),
                                  .accepted_at_ms = clock_wall_ms()};
    struct shm_ring_entry entry = {.id = event.id, .amount_cents = event.amount_cents};
    uint32_t slot = 0;
    shm_ring_producer_open(&ring, &f->region, 0, lane->number);
    assert_true(shm_ring_try_push(&ring, &entry));
    lane->ring = &lane->rings[0];
    assert_true(shm_ring_peek(lane->ring, &entry));
    while (slot < lane->payments.slots && lane_memory_view(lane, slot).state != PAYMENT_FREE)
        slot++;
    if (slot == lane->payments.slots) {
        slot = number % 50;
        (void)lane_memory_step(lane, slot, &(struct payment_event){.kind = PAYMENT_EVENT_RECYCLE});
    }
    (void)lane_memory_step(lane, slot, &event);
}

static void step(struct fixture *f, unsigned number, enum payment_event_kind kind)
{
    struct payment_event event = {.kind = kind, .processor = number % 2, .now_ms = clock_wall_ms()};
    (void)lane_memory_step(lane_of(f, number), slot_of(f, number), &event);
}

static void settle(struct fixture *f, unsigned number)
{
    accept(f, number);
    step(f, number, PAYMENT_EVENT_BIND);
    step(f, number, PAYMENT_EVENT_ACCEPTED);
}

static struct shm_totals totals(struct fixture *f)
{
    struct shm_totals sums;
    assert_int_equal(shm_ledger_sum(&f->region, &(struct shm_window){INT64_MIN, INT64_MAX}, &sums),
                     STATUS_OK);
    return sums;
}

/* 0..99 settled, 100..109 bound, 110..119 waiting. */
static struct shm_totals live(struct fixture *f)
{
    for (unsigned i = 0; i < 100; i++)
        settle(f, i);
    for (unsigned i = 100; i < 120; i++)
        accept(f, i);
    for (unsigned i = 100; i < 110; i++)
        step(f, i, PAYMENT_EVENT_BIND);
    return totals(f);
}

static void assert_same_totals(struct shm_totals a, struct shm_totals b)
{
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        assert_int_equal(a.payments[p], b.payments[p]);
        assert_true(a.sum_cents[p] == b.sum_cents[p]);
    }
}

static bool remembers(struct fixture *f, unsigned number)
{
    struct uuid id = id_of(number);
    return shm_filter_contains(&lane_of(f, number)->filter, &id);
}

static void assert_lives_on(struct fixture *f, struct shm_totals before)
{
    assert_same_totals(totals(f), before);
    for (unsigned i = 0; i < 120; i++)
        assert_true(remembers(f, i));
    for (unsigned i = 100; i < 120; i++) {
        struct payment_view view = lane_memory_view(lane_of(f, i), slot_of(f, i));
        bool is_bound = i < 110;
        assert_int_equal(view.state, is_bound ? PAYMENT_SENT : PAYMENT_QUEUED);
        assert_int_equal(view.flags, PAYMENT_FLAG_ASK | PAYMENT_FLAG_UNCOUNTED |
                                         (is_bound ? PAYMENT_FLAG_UNKNOWN : 0u));
        assert_int_equal(view.amount_cents, 100 + i);
        if (is_bound)
            assert_int_equal(view.processor, i % 2);
    }
}

/* ----------------------------------------------------------------------------- set-up */

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct journal_replay replay;
    struct shm_geometry geometry = shm_fixture_geometry();
    assert_non_null(f);
    assert_int_equal(shm_fixture_setup_nameless((void **)&f->shm), 0);
    strcpy(f->state, "/tmp/replay.XXXXXX");
    assert_non_null(mkdtemp(f->state));
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    assert_int_equal(replay.lanes, 0);
    take_over(f);
    assert_int_equal(f->region.origin, SHM_ORIGIN_EMPTY);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    shm_region_detach(&f->region);
    assert_int_equal(shm_fixture_teardown((void **)&f->shm), 0);
    snprintf(command, sizeof command, "rm -rf %s", f->state);
    int result = system(command);
    free(f);
    return result;
}

/* ------------------------------------------------------------------------------ tests */

static void a_lost_region_comes_back(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    struct shm_geometry geometry = shm_fixture_geometry();
    struct shm_totals before = live(f);
    int64_t base_time_ms = f->region.base_time_ms;
    lose_region(f);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    assert_int_equal(replay.rows, 100);
    assert_int_equal(replay.ids, 120);
    assert_int_equal(replay.sent, 10);
    assert_int_equal(replay.queued, 10);
    assert_int_equal(replay.cut, 0);
    take_over(f);
    assert_int_equal(f->region.origin, SHM_ORIGIN_JOURNAL);
    assert_int_equal(f->region.base_time_ms, base_time_ms);
    assert_lives_on(f, before);
}

/* Again and again: the beginning of a journal is as good as the journal. */
static void so_does_what_came_back(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    struct shm_geometry geometry = shm_fixture_geometry();
    struct shm_totals before = live(f);
    lose_region(f);
    for (unsigned lanes = 1; lanes <= 5; lanes++) {
        geometry.lanes = lanes;
        assert_int_equal(create(f, &geometry, SHM_DURABILITY_ASYNC, &replay), STATUS_OK);
        take_over(f);
        assert_lives_on(f, before);
        lose_region(f);
    }
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    /* And once more before any lane has an owner. */
    assert_int_equal(shm_region_remove(f->shm->name, true, &f->why), STATUS_OK);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    take_over(f);
    assert_int_equal(f->region.origin, SHM_ORIGIN_JOURNAL_ASYNC);
    assert_lives_on(f, before);
}

static void a_purge_that_one_lane_had_not_applied_is_applied(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    struct shm_geometry geometry = shm_fixture_geometry();
    (void)live(f);
    struct journal_payment purged = {.purge_generation = 1, .row = f->lanes[0].ledger.row_count};
    journal_append(f->lanes[0].journal, JOURNAL_PURGED, &purged, JOURNAL_NO_SLOT);
    lose_region(f);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    take_over(f);
    assert_int_equal(replay.rows, 0);
    assert_int_equal(replay.queued, 0); /* it waited */
    assert_int_equal(replay.sent, 10);  /* it was sent */
    assert_int_equal(atomic_load(&shm_region_purge(&f->region)->generation), 1);
    for (unsigned i = 0; i < 120; i++)
        assert_true(remembers(f, i));
}

/* Accepted and settled while its lane has no journal. */
static unsigned settle_untold(struct fixture *f, unsigned lane)
{
    unsigned number = 300;
    while (lane_of(f, number)->number != lane)
        number++;
    settle(f, number);
    return number;
}

static void a_journal_is_begun_anew_from_a_living_region(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    struct shm_geometry geometry = shm_fixture_geometry();
    unsigned untold[2];
    struct shm_totals before = live(f);
    for (unsigned lane = 0; lane < 2; lane++) {
        char directory[JOURNAL_PATH_SIZE], command[JOURNAL_PATH_SIZE + 96];
        journal_close(f->lanes[lane].journal);
        f->lanes[lane].journal = NULL;
        untold[lane] = settle_untold(f, lane);
        journal_state_lane_path(directory, f->state, 1, lane);
        /* A disk that has lost a page of the first segment: not even its head is whole. */
        snprintf(command, sizeof command,
                 "dd if=/dev/zero of=%s/journal-0000000000000001.pj bs=512 count=1 conv=notrunc "
                 "status=none",
                 directory);
        assert_int_equal(system(command), 0);
        open_journal(f, lane, STATUS_DAMAGED);
        assert_int_equal(
            journal_begin_anew(&journal_disk_real, directory, &f->region, lane, 64, &f->why),
            STATUS_OK);
        open_journal(f, lane, STATUS_OK);
        tell_all(f, lane);
    }
    settle(f, 120);
    before = totals(f);
    lose_region(f);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    take_over(f);
    assert_same_totals(totals(f), before);
    assert_int_equal(replay.rows, 103);
    for (unsigned lane = 0; lane < 2; lane++)
        assert_true(remembers(f, untold[lane]));
    assert_int_equal(replay.queued + replay.sent, 20);
}

static int refuse_to_remove(void *context, const char *path)
{
    (void)context, (void)path;
    return -1;
}

/* It has its name no more when the first file of it goes: a torn one is nobody's. */
static void the_highest_of_many_generations_goes_whole(void **state)
{
    struct fixture *f = *state;
    char command[256];
    uint64_t generation;
    unsigned lanes;
    snprintf(command, sizeof command,
             "cd %s && for n in 0 1 2 3 4 5 6 7 8 9 a b c d e f; do mkdir -p "
             "journal-000000000000001$n/lane-0 journal-000000000000002$n.new/lane-0; done",
             f->state);
    assert_int_equal(system(command), 0);
    assert_int_equal(journal_state_find(&journal_disk_real, f->state, &generation, &lanes, &f->why),
                     STATUS_OK);
    assert_int_equal(generation, 0x1f);
    struct journal_disk disk = journal_disk_real;
    disk.remove_directory = refuse_to_remove; /* as if killed in the middle */
    journal_state_remove(&disk, f->state, generation);
    assert_int_equal(journal_state_find(&journal_disk_real, f->state, &generation, &lanes, &f->why),
                     STATUS_OK);
    assert_int_equal(generation, 0x1e);
}

static void a_region_that_is_too_small_is_refused(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    struct shm_geometry geometry = shm_fixture_geometry();
    struct shm_totals before = live(f);
    for (unsigned i = 200; i < 250; i++)
        accept(f, i);
    lose_region(f);
    geometry.payment_slots = 64;
    geometry.lanes = 1;
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_INVALID);
    assert_non_null(strstr(f->why.text, "PAYRING_PAYMENT_SLOTS"));
    geometry = shm_fixture_geometry();
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    take_over(f);
    assert_lives_on(f, before);
}

/* Rows that are filed are not in the journal any more; the others get their numbers again. */
static void a_ledger_goes_on_from_its_files_and_the_journal(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    struct shm_geometry geometry = shm_fixture_geometry();
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    atomic_bool stopping = false;
    lose_region(f);
    geometry.lanes = 1;
    geometry.ledger_segment_rows = SHM_BLOCK_ROWS;
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    for (unsigned round = 0; round < 3; round++) {
        take_over(f);
        assert_int_equal(shm_archive_open(&f->region, f->state, &f->why), STATUS_OK);
        struct shm_lane *control = shm_region_lane(&f->region, 0);
        for (unsigned i = 0; round == 0 && i < 5000; i++)
            settle(f, i);
        settle(f, 5000 + round);
        accept(f, 6000 + round);
        if (round == 0) {
            /* One word of the first segment was left over for it. */
            assert_int_equal(control->row_count, 5001 + 2);
            assert_int_equal(shm_ledger_file_write(&f->region, 0, 0, f->state, &stopping, &f->why),
                             STATUS_OK);
            atomic_store(&control->segments_filed, 1);
            journal_note_filed(f->lanes[0].journal, SHM_BLOCK_ROWS);
        }
        uint64_t row_count = control->row_count;
        struct shm_totals before = totals(f);
        shm_archive_close(&f->region);
        lose_region(f);
        assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
        assert_int_equal(replay.rows, 5001 + round - (SHM_BLOCK_ROWS - 1));
        assert_int_equal(replay.queued, 1 + round);
        take_over(f);
        assert_int_equal(shm_region_lane(&f->region, 0)->row_count, row_count);
        assert_int_equal(shm_archive_open(&f->region, f->state, &f->why), STATUS_OK);
        assert_same_totals(totals(f), before);
        shm_archive_close(&f->region);
        lose_region(f);
        assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    }
    take_over(f);
    lose_region(f);
    shm_ledger_file_path(path, f->state, 0, 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "were filed, and their files are not in"));
}

/* The old generation is removed last: one that was left tells nothing. */
static void the_youngest_generation_counts(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    char command[256];
    struct shm_geometry geometry = shm_fixture_geometry();
    struct shm_totals before = live(f);
    lose_region(f);
    snprintf(command, sizeof command, "cp -r %s/journal-0000000000000001 %s/old", f->state,
             f->state);
    assert_int_equal(system(command), 0);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    snprintf(command, sizeof command, "mv %s/old %s/journal-0000000000000001", f->state, f->state);
    assert_int_equal(system(command), 0);
    take_over(f);
    settle(f, 120);
    before = totals(f);
    lose_region(f);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_OK);
    assert_int_equal(replay.generation, 3);
    take_over(f);
    assert_same_totals(totals(f), before);
}

static void a_lane_that_is_missing_is_damage(void **state)
{
    struct fixture *f = *state;
    struct journal_replay replay;
    char command[256];
    struct shm_geometry geometry = shm_fixture_geometry();
    (void)live(f);
    lose_region(f);
    snprintf(command, sizeof command, "mv %s/journal-0000000000000001/lane-1 %s/kept", f->state,
             f->state);
    assert_int_equal(system(command), 0);
    assert_int_equal(create(f, &geometry, SHM_DURABILITY_SYNC, &replay), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "is of 2 lanes, and there are 1"));
}

static void in_use_it_is_locked(void **state)
{
    struct fixture *f = *state;
    int one, two, three;
    assert_int_equal(journal_state_lock(f->state, false, &one, &f->why), STATUS_OK);
    assert_int_equal(journal_state_lock(f->state, false, &two, &f->why), STATUS_OK);
    assert_int_equal(journal_state_lock(f->state, true, &three, &f->why), STATUS_BUSY);
    assert_non_null(strstr(f->why.text, "is in use"));
    close(one);
    close(two);
    assert_int_equal(journal_state_lock(f->state, true, &three, &f->why), STATUS_OK);
    assert_int_equal(journal_state_lock(f->state, false, &one, &f->why), STATUS_BUSY);
    close(three);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_lost_region_comes_back),
        TEST(so_does_what_came_back),
        TEST(a_purge_that_one_lane_had_not_applied_is_applied),
        TEST(a_journal_is_begun_anew_from_a_living_region),
        TEST(a_region_that_is_too_small_is_refused),
        TEST(the_highest_of_many_generations_goes_whole),
        TEST(a_ledger_goes_on_from_its_files_and_the_journal),
        TEST(the_youngest_generation_counts),
        TEST(a_lane_that_is_missing_is_damage),
        TEST(in_use_it_is_locked),
    };
    return cmocka_run_group_tests_name("journal_replay", tests, NULL, NULL);
}
