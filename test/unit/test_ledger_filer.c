/* The thread that files a lane's ledger: in time, in order, and not where it must not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <time.h>

#include "common/clock.h"
#include "shm/shm_archive.h"
#include "shm/shm_counters.h"
#include "shm/shm_ledger.h"
#include "shm/shm_ledger_file.h"
#include "test/unit/shm_fixture.h"
#include "worker/ledger_filer.h"

#define SEGMENT_ROWS SHM_BLOCK_ROWS

struct filing {
    struct shm_fixture *fixture;
    struct shm_lane *lane;
    char parent[64], directory[80];
    struct ledger_filer *filer;
};

static void write_rows(struct filing *f, uint64_t until)
{
    struct shm_ledger_writer writer;
    struct shm_row row = {0, 5, f->fixture->region.created_at_ms * 1000};
    shm_ledger_writer_open(&writer, &f->fixture->region, 0);
    while (writer.row_count < until) {
        shm_ledger_write(&writer, &row);
        shm_ledger_publish(&writer);
    }
}

static void start(struct filing *f)
{
    f->filer = ledger_filer_start(&f->fixture->region, 0, f->directory, &f->fixture->why);
    assert_non_null(f->filer);
}

static void stop(struct filing *f)
{
    ledger_filer_stop(f->filer);
    f->filer = NULL;
}

static int setup(void **state)
{
    struct filing *f = calloc(1, sizeof *f);
    struct shm_geometry g = shm_fixture_geometry();
    void *fixture = NULL;
    assert_non_null(f);
    g.ledger_segment_rows = SEGMENT_ROWS; /* four in memory */
    shm_fixture_setup_nameless(&fixture);
    f->fixture = fixture;
    shm_fixture_create(f->fixture, &g);
    f->lane = shm_region_lane(&f->fixture->region, 0);
    strcpy(f->parent, "/tmp/payring-filer.XXXXXX");
    assert_non_null(mkdtemp(f->parent));
    snprintf(f->directory, sizeof f->directory, "%s/state", f->parent);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct filing *f = *state;
    char command[160];
    void *fixture = f->fixture;
    stop(f);
    shm_archive_close(&f->fixture->region);
    shm_fixture_teardown(&fixture);
    snprintf(command, sizeof command, "rm -rf '%s'", f->parent);
    assert_int_equal(system(command), 0);
    free(f);
    return 0;
}

static bool eventually(const _Atomic uint64_t *word, uint64_t at_least)
{
    int64_t deadline_ms = clock_monotonic_ms() + 20000;
    while (atomic_load(word) < at_least && clock_monotonic_ms() < deadline_ms)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    return atomic_load(word) >= at_least;
}

static bool is_there(struct filing *f, uint64_t segment)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    shm_ledger_file_path(path, f->directory, 0, segment);
    return access(path, F_OK) == 0;
}

static void make_directory(struct filing *f)
{
    assert_int_equal(mkdir(f->directory, 0700), 0);
}

static void full_segments_are_filed(void **state)
{
    struct filing *f = *state;
    make_directory(f);
    write_rows(f, 2 * SEGMENT_ROWS + 5); /* by a predecessor */
    start(f);
    assert_true(eventually(&f->lane->segments_filed, 2));
    assert_int_equal(f->lane->counters[SHM_LANE_COUNTER_filings], 2);
    write_rows(f, 5 * SEGMENT_ROWS - 1);
    ledger_filer_wake(f->filer);
    assert_true(eventually(&f->lane->segments_filed, 4));
    stop(f);
    assert_int_equal(f->lane->segments_filed, 4);
    assert_int_equal(f->lane->counters[SHM_LANE_COUNTER_filing_failures], 0);
    for (uint64_t segment = 0; segment < 5; segment++)
        assert_int_equal(is_there(f, segment), segment < 4);

    struct shm_totals sum;
    const struct shm_window always = {INT64_MIN, INT64_MAX};
    assert_int_equal(shm_archive_open(&f->fixture->region, f->directory, &f->fixture->why),
                     STATUS_OK);
    assert_int_equal(shm_ledger_sum(&f->fixture->region, &always, &sum), STATUS_OK);
    assert_int_equal(sum.payments[0], 5 * SEGMENT_ROWS - 1);
}

/* As long as the disk refuses nothing is filed; then all of it is. */
static void a_failing_disk_is_tried_again(void **state)
{
    struct filing *f = *state;
    write_rows(f, 3 * SEGMENT_ROWS);
    start(f);
    assert_true(eventually(&f->lane->counters[SHM_LANE_COUNTER_filing_failures], 2));
    assert_int_equal(f->lane->segments_filed, 0);
    make_directory(f);
    assert_true(eventually(&f->lane->segments_filed, 3));
}

/* Its predecessor filed elsewhere: filing here would tear the ledger apart. */
static void nothing_is_filed_into_another_directory(void **state)
{
    struct filing *f = *state;
    char elsewhere[96];
    make_directory(f);
    write_rows(f, SEGMENT_ROWS);
    start(f);
    assert_true(eventually(&f->lane->segments_filed, 1));
    stop(f);
    snprintf(elsewhere, sizeof elsewhere, "%s/elsewhere", f->parent);
    assert_int_equal(rename(f->directory, elsewhere), 0);
    make_directory(f);
    write_rows(f, 2 * SEGMENT_ROWS);
    start(f);
    assert_true(eventually(&f->lane->counters[SHM_LANE_COUNTER_filing_failures], 1));
    assert_int_equal(f->lane->segments_filed, 1);
    assert_false(is_there(f, 1));
    assert_int_equal(rmdir(f->directory), 0);
    assert_int_equal(rename(elsewhere, f->directory), 0);
    assert_true(eventually(&f->lane->segments_filed, 2));
    assert_true(is_there(f, 1));
}

static bool first_is(struct filing *f, uint64_t first_row)
{
    struct shm_ledger_first first;
    return shm_ledger_file_read_first(f->directory, 0, &f->fixture->region, &first, NULL) ==
               STATUS_OK &&
           first.first_row == first_row;
}

/* The first row is on disk, files below it are gone; what was purged before it was filed never
 * gets a file, and makes room all the same. */
static void purged_rows_leave_the_disk(void **state)
{
    struct filing *f = *state;
    int64_t deadline_ms = clock_monotonic_ms() + 20000;
    make_directory(f);
    write_rows(f, 2 * SEGMENT_ROWS);
    start(f);
    assert_true(eventually(&f->lane->segments_filed, 2));
    stop(f);
    write_rows(f, 4 * SEGMENT_ROWS + 77);
    atomic_store(&f->lane->first_row, 4 * SEGMENT_ROWS + 70);
    start(f);
    assert_true(eventually(&f->lane->segments_filed, 4));
    assert_true(first_is(f, 4 * SEGMENT_ROWS + 70));
    while (is_there(f, 1) && clock_monotonic_ms() < deadline_ms)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    for (uint64_t segment = 0; segment < 5; segment++)
        assert_false(is_there(f, segment));
    write_rows(f, 5 * SEGMENT_ROWS);
    ledger_filer_wake(f->filer);
    assert_true(eventually(&f->lane->segments_filed, 5));
    assert_true(is_there(f, 4));
    assert_int_equal(f->lane->counters[SHM_LANE_COUNTER_filings], 3);
}

/* Stopped and started again and again in the middle of the work. */
/* The journal must know durably of the settling of a row before it is in a file. */
static void with_a_journal_rows_wait_until_it_knows_of_them(void **state)
{
    struct filing *f = *state;
    make_directory(f);
    f->fixture->region.durability = SHM_DURABILITY_ASYNC;
    write_rows(f, 2 * SEGMENT_ROWS + 5);
    start(f);
    ledger_filer_allow(f->filer, 2 * SEGMENT_ROWS - 1);
    ledger_filer_wake(f->filer);
    assert_true(eventually(&f->lane->segments_filed, 1));
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    assert_int_equal(f->lane->segments_filed, 1);
    assert_false(is_there(f, 1));
    ledger_filer_allow(f->filer, 2 * SEGMENT_ROWS);
    ledger_filer_wake(f->filer);
    assert_true(eventually(&f->lane->segments_filed, 2));
    /* Nor is a purge told of before the journal has it. */
    atomic_store(&f->lane->first_row, 2 * SEGMENT_ROWS + 5);
    ledger_filer_wake(f->filer);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    assert_true(is_there(f, 0) && is_there(f, 1));
    ledger_filer_allow(f->filer, 2 * SEGMENT_ROWS + 5);
    ledger_filer_wake(f->filer);
    int64_t deadline_ms = clock_monotonic_ms() + 20000;
    while (is_there(f, 1) && clock_monotonic_ms() < deadline_ms)
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    assert_false(is_there(f, 0) || is_there(f, 1));
}

static void stopping_leaves_the_rest_to_the_successor(void **state)
{
    struct filing *f = *state;
    make_directory(f);
    for (uint64_t segment = 1; segment < 60; segment++) {
        write_rows(f, segment * SEGMENT_ROWS);
        start(f);
        if (segment % 3 == 0) /* four have room */
            assert_true(eventually(&f->lane->segments_filed, segment));
        stop(f);
    }
    start(f);
    assert_true(eventually(&f->lane->segments_filed, 59));
    assert_int_equal(f->lane->counters[SHM_LANE_COUNTER_filing_failures], 0);
    for (uint64_t segment = 0; segment < 59; segment++)
        assert_true(is_there(f, segment));
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(full_segments_are_filed),
        TEST(a_failing_disk_is_tried_again),
        TEST(nothing_is_filed_into_another_directory),
        TEST(purged_rows_leave_the_disk),
        TEST(with_a_journal_rows_wait_until_it_knows_of_them),
        TEST(stopping_leaves_the_rest_to_the_successor),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
