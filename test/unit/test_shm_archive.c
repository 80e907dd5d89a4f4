/* A ledger of many segments, most of them in files: sums, readers in a race with the owner,
 * damage, purges, and a new region that goes on from the files of an older one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "shm/shm_archive.h"
#include "shm/shm_check.h"
#include "shm/shm_ledger.h"
#include "shm/shm_ledger_file.h"
#include "test/unit/ledger_double.h"
#include "test/unit/shm_fixture.h"

#define SEGMENT_BLOCKS 2u
#define SEGMENT_ROWS   (SEGMENT_BLOCKS * SHM_BLOCK_ROWS)
#define SEGMENTS       3u /* in memory */

static const struct shm_window always = {INT64_MIN, INT64_MAX};

struct archived {
    struct shm_fixture *fixture;
    char directory[64];
    struct shm_ledger_writer writers[2];
    struct ledger_double doubles[2];
    uint64_t random;
};

static struct shm_region *region_of(struct archived *a)
{
    return &a->fixture->region;
}

static struct shm_lane *lane_of(struct archived *a, unsigned lane)
{
    return shm_region_lane(region_of(a), lane);
}

static void open_archive(struct archived *a)
{
    shm_archive_close(region_of(a));
    assert_int_equal(shm_archive_open(region_of(a), a->directory, &a->fixture->why), STATUS_OK);
}

static void open_writers(struct archived *a)
{
    for (unsigned lane = 0; lane < 2; lane++)
        shm_ledger_writer_open(&a->writers[lane], region_of(a), lane);
}

static struct shm_geometry geometry(void)
{
    struct shm_geometry g = shm_fixture_geometry();
    g.ledger_segment_rows = SEGMENT_ROWS;
    g.ledger_rows = SEGMENTS * SEGMENT_ROWS;
    return g;
}

static int setup(void **state)
{
    struct archived *a = calloc(1, sizeof *a);
    struct shm_geometry g = geometry();
    void *fixture = NULL;
    assert_non_null(a);
    shm_fixture_setup_nameless(&fixture);
    a->fixture = fixture;
    shm_fixture_create(a->fixture, &g);
    strcpy(a->directory, "/tmp/payring-archive.XXXXXX");
    assert_non_null(mkdtemp(a->directory));
    open_writers(a);
    open_archive(a);
    a->random = shm_fixture_seed();
    *state = a;
    return 0;
}

/* Names in the directory, the last of them in `last`. */
static unsigned count_files(const char *directory, char last[256], bool remove_them)
{
    unsigned count = 0;
    DIR *listing = opendir(directory);
    assert_non_null(listing);
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        if (last)
            snprintf(last, 256, "%s", entry->d_name);
        if (remove_them)
            assert_int_equal(unlinkat(dirfd(listing), entry->d_name, 0), 0);
    }
    closedir(listing);
    return count;
}

static int teardown(void **state)
{
    struct archived *a = *state;
    void *fixture = a->fixture;
    shm_archive_close(region_of(a));
    shm_fixture_teardown(&fixture);
    count_files(a->directory, NULL, true);
    assert_int_equal(rmdir(a->directory), 0);
    for (unsigned lane = 0; lane < 2; lane++)
        ledger_double_forget(&a->doubles[lane]);
    free(a);
    return 0;
}

/* As the filing thread does, one segment. */
static enum status file_one(struct archived *a, unsigned lane)
{
    _Atomic uint64_t *filed = &lane_of(a, lane)->segments_filed;
    uint64_t segment = atomic_load(filed);
    enum status status =
        shm_ledger_file_write(region_of(a), lane, segment, a->directory, NULL, &a->fixture->why);
    if (status == STATUS_OK)
        atomic_store_explicit(filed, segment + 1, memory_order_release);
    return status;
}

static void file_full_ones(struct archived *a, unsigned lane)
{
    while ((atomic_load(&lane_of(a, lane)->segments_filed) + 1) * a->writers[lane].segment_rows <=
           a->writers[lane].row_count)
        if (file_one(a, lane) != STATUS_OK)
            fail_msg("not filed: %s", a->fixture->why.text);
}

static void append(struct archived *a, unsigned lane, unsigned escape_every)
{
    struct shm_row row =
        ledger_double_row(region_of(a), &a->random, a->doubles[lane].count, escape_every);
    if (shm_ledger_rows_left(&a->writers[lane]) < 3)
        file_full_ones(a, lane);
    ledger_double_append(&a->doubles[lane], &a->writers[lane], &row);
}

static void fill_to(struct archived *a, unsigned lane, uint64_t row, unsigned escape_every)
{
    while (a->writers[lane].row_count < row)
        append(a, lane, escape_every);
}

static uint64_t findings(struct archived *a, const char *word)
{
    char *text = NULL;
    size_t size = 0;
    struct shm_check_result result;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(shm_check(region_of(a), out, &result, &a->fixture->why), STATUS_OK);
    fclose(out);
    if (word ? !strstr(text, word) : result.findings > 0)
        fail_msg("check said: %s", text);
    free(text);
    return result.findings;
}

static enum status lose_and_adopt(struct archived *a, const struct shm_geometry *g,
                                  const struct ledger_double *replayed);

/* -------------------------------------------------------------------- sums */

static void rows_come_back(struct archived *a, unsigned lane)
{
    const struct ledger_double *d = &a->doubles[lane];
    for (size_t i = 0; i < d->count; i++) {
        struct shm_row row = {0}, named = {0};
        assert_true(shm_ledger_read(region_of(a), lane, d->numbers[i], &row));
        assert_true(ledger_double_equal(&row, &d->rows[i]));
        assert_true(shm_ledger_read_named(region_of(a), lane, d->names[i], &named));
        assert_true(ledger_double_equal(&named, &d->rows[i]));
    }
}

/* Twelve segments a lane with room for three, filed soon or late, read by this process or by one
 * that has just come. */
static void sums_are_those_of_the_rows(void **state)
{
    struct archived *a = *state;
    for (int step = 0; a->writers[0].row_count < 12 * SEGMENT_ROWS; step++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            uint64_t some = shm_fixture_random(&a->random) % 3000;
            while (some-- > 0)
                append(a, lane, lane ? 3 : 50);
            if (step % 3 == 0)
                file_full_ones(a, lane);
            if (step % 7 == 0) /* a new owner goes on */
                shm_ledger_writer_open(&a->writers[lane], region_of(a), lane);
        }
        if (step % 10 == 0)
            open_archive(a);
        ledger_double_compare(region_of(a), a->doubles, &a->random, 10);
    }
    assert_true(atomic_load(&lane_of(a, 0)->segments_dropped) >= 9);
    for (unsigned lane = 0; lane < 2; lane++)
        rows_come_back(a, lane);
    assert_int_equal(findings(a, NULL), 0);
}

/* Segments of whole groups, the highest level but their own. */
static void groups_are_taken_whole(void **state)
{
    struct archived *a = *state;
    struct shm_geometry g = geometry();
    g.ledger_segment_rows = 2 * SHM_GROUP_ROWS;
    g.ledger_rows = SEGMENTS * g.ledger_segment_rows;
    assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_OK);
    for (uint64_t segment = 1; segment <= 6; segment++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            fill_to(a, lane, segment * g.ledger_segment_rows - 30000 * lane, 7);
            file_full_ones(a, lane);
            if (segment % 2)
                shm_ledger_writer_open(&a->writers[lane], region_of(a), lane);
        }
        ledger_double_compare(region_of(a), a->doubles, &a->random, 40);
    }
    assert_int_equal(findings(a, NULL), 0);
    shm_region_groups(region_of(a), 0)[5 % region_of(a)->places.group_count].payments[0]++;
    assert_true(findings(a, "group") >= 1);
}

static void an_escape_never_lies_in_two_segments(void **state)
{
    struct archived *a = *state;
    struct shm_ledger_writer *writer = &a->writers[0];
    for (uint64_t segment = 1; segment <= 5; segment++) {
        fill_to(a, 0, segment * SEGMENT_ROWS - 1, 0);
        assert_int_equal(writer->row_count, segment * SEGMENT_ROWS - 1);
        append(a, 0, 1); /* takes two words */
        assert_int_equal(writer->row_count, segment * SEGMENT_ROWS + 2);
        assert_int_equal(a->doubles[0].numbers[a->doubles[0].count - 1], segment * SEGMENT_ROWS);
        uint64_t filler = segment * SEGMENT_ROWS - 1;
        assert_true(shm_region_rows(region_of(a), 0)[filler % writer->places] == SHM_ROW_FILLER);
        struct shm_row row;
        assert_false(shm_ledger_read(region_of(a), 0, filler, &row));
        shm_ledger_writer_open(writer, region_of(a), 0);
        assert_int_equal(
            writer->index.open_slice.payments[0] + writer->index.open_slice.payments[1], 1);
        ledger_double_compare(region_of(a), a->doubles, &a->random, 20);
    }
    file_full_ones(a, 0);
    rows_come_back(a, 0);
    assert_int_equal(findings(a, NULL), 0);
}

/* The owner dies between the name and the row, at a segment's end. */
static void a_filler_that_was_never_published_names_nothing(void **state)
{
    struct archived *a = *state;
    struct shm_row escape = {0, 1, region_of(a)->created_at_ms * 1000 + 1}, row;
    fill_to(a, 0, SEGMENT_ROWS - 1, 0);
    uint32_t name = shm_ledger_next_name(&a->writers[0]);
    shm_ledger_write(&a->writers[0], &escape);
    assert_false(shm_ledger_read_named(region_of(a), 0, name, &row));
    shm_ledger_writer_open(&a->writers[0], region_of(a), 0);
    shm_ledger_write(&a->writers[0], &escape);
    shm_ledger_publish(&a->writers[0]);
    assert_true(shm_ledger_read_named(region_of(a), 0, name, &row));
    assert_true(ledger_double_equal(&row, &escape));
}

/* Names come round after 2^32 - 1 rows: a row below them is not the one that is meant. */
static void a_name_is_of_the_last_rows(void **state)
{
    struct archived *a = *state;
    const uint64_t round = UINT32_MAX;
    struct shm_lane *lane = lane_of(a, 0);
    struct shm_row row, last = {1, 77, region_of(a)->created_at_ms * 1000};
    uint64_t segment = round / SEGMENT_ROWS;
    atomic_store(&lane->segments_filed, segment); /* as if all of them were in files */
    atomic_store(&lane->segments_dropped, segment);
    atomic_store(&lane->row_count, segment * SEGMENT_ROWS);
    shm_ledger_writer_open(&a->writers[0], region_of(a), 0);
    shm_ledger_skip_to(&a->writers[0], round - 1);
    for (int i = -1; i < 3; i++) {
        uint32_t name = shm_ledger_next_name(&a->writers[0]);
        assert_int_equal(name, i < 0 ? UINT32_MAX : (uint32_t)i + 1);
        assert_false(
            shm_ledger_read_named(region_of(a), 0, name, &row)); /* not row i of long ago */
        last.amount_cents++;
        shm_ledger_write(&a->writers[0], &last);
        shm_ledger_publish(&a->writers[0]);
        assert_true(shm_ledger_read_named(region_of(a), 0, name, &row));
        assert_true(ledger_double_equal(&row, &last));
    }
    assert_false(shm_ledger_read_named(region_of(a), 0, 0, &row));
}

static void write_beyond_what_is_filed(struct shm_fixture *f)
{
    struct shm_ledger_writer writer;
    struct shm_row row = {0, 1, f->region.created_at_ms * 1000};
    shm_ledger_writer_open(&writer, &f->region, 0);
    for (int i = 0; i < 2; i++) {
        shm_ledger_write(&writer, &row);
        shm_ledger_publish(&writer);
    }
}

/* Nothing is overwritten before it is filed; a filed segment makes room for one. */
static void room_is_what_is_filed(void **state)
{
    struct archived *a = *state;
    fill_to(a, 0, SEGMENTS * SEGMENT_ROWS - 1, 0);
    assert_int_equal(atomic_load(&lane_of(a, 0)->segments_filed), 2); /* by append, for 3 rows */
    atomic_store(&lane_of(a, 0)->segments_filed, 0);
    assert_int_equal(shm_ledger_rows_left(&a->writers[0]), 1);
    assert_int_equal(shm_ledger_used_percent(region_of(a), 0), 99);
    assert_int_equal(shm_fixture_signal_of(write_beyond_what_is_filed, a->fixture), SIGABRT);
    assert_int_equal(shm_ledger_budget(region_of(a), 0), 0);
    assert_int_equal(atomic_load(&lane_of(a, 0)->segments_dropped), 0);
    a->doubles[0].count = 0; /* the child wrote a row: not compared */
    atomic_store(&lane_of(a, 0)->segments_filed, 1);
    open_writers(a);
    assert_int_equal(shm_ledger_rows_left(&a->writers[0]), SEGMENT_ROWS);
    assert_int_equal(shm_ledger_used_percent(region_of(a), 0), 66);
    assert_int_equal(shm_ledger_budget(region_of(a), 0), SHM_LEDGER_BUDGET);
}

static void without_files_a_sum_says_so(void **state)
{
    struct archived *a = *state;
    struct shm_totals sum;
    struct shm_row row;
    fill_to(a, 0, 4 * SEGMENT_ROWS, 0);
    shm_archive_close(region_of(a));
    assert_int_equal(shm_ledger_sum_or_say(region_of(a), &always, &sum, &a->fixture->why),
                     STATUS_NOT_FOUND);
    assert_non_null(strstr(a->fixture->why.text, "PAYRING_STATE_DIR"));
    assert_false(shm_ledger_read(region_of(a), 0, 0, &row));
    assert_int_equal(findings(a, "PAYRING_STATE_DIR"), 1);
}

/* ---------------------------------------------------------------- in a race */

struct race {
    struct archived *archived;
    _Atomic bool done;
    uint64_t segments;
};

/* Rows in pairs of words now and then, all of 7 cents, processors in turn; each segment is filed
 * by this thread as soon as it is full, so that places are used again at once. */
static void *grow(void *context)
{
    struct race *race = context;
    struct archived *a = race->archived;
    int64_t us = region_of(a)->created_at_ms * 1000;
    struct shm_ledger_writer *writer = &a->writers[0];
    for (uint64_t n = 0; writer->row_count < race->segments * SEGMENT_ROWS; n++) {
        struct shm_row row = {n % 2, 7, us + (n % 5 == 0)};
        if (shm_ledger_rows_left(writer) < 3)
            file_full_ones(a, 0);
        shm_ledger_write(writer, &row);
        shm_ledger_publish(writer);
        if (n % 64 == 0)
            sched_yield();
    }
    atomic_store(&race->done, true);
    return NULL;
}

static void sums_are_exact_while_places_are_used_again(void **state)
{
    struct race race = {.archived = *state, .segments = 60};
    const struct shm_region *region = region_of(race.archived);
    const _Atomic uint64_t *dropped = &lane_of(race.archived, 0)->segments_dropped;
    uint64_t before = 0, sums = 0, overtaken = 0, busy = 0;
    pthread_t owner;
    assert_int_equal(pthread_create(&owner, NULL, grow, &race), 0);
    while (!atomic_load(&race.done)) {
        struct shm_totals sum;
        struct explain why = {{0}};
        uint64_t at_first = atomic_load(dropped);
        enum status status = shm_ledger_sum_or_say(region, &always, &sum, &why);
        overtaken += atomic_load(dropped) != at_first;
        busy += status == STATUS_BUSY;
        if (status == STATUS_BUSY)
            continue;
        if (status != STATUS_OK)
            fail_msg("no sum: %s", why.text);
        uint64_t payments = sum.payments[0] + sum.payments[1];
        assert_true(sum.sum_cents[0] == sum.payments[0] * 7);
        assert_true(sum.sum_cents[1] == sum.payments[1] * 7);
        /* Alternately: a sum is of a moment, so they never differ by more than one. */
        assert_true(sum.payments[0] - sum.payments[1] <= 1);
        assert_true(payments >= before);
        before = payments;
        sums++;
    }
    pthread_join(owner, NULL);
    print_message("# %llu sums, %llu overtaken, %llu gave up\n", (unsigned long long)sums,
                  (unsigned long long)overtaken, (unsigned long long)busy);
    assert_true(sums > 0);
}

/* The owner at the worst moment: a page that a reader comes to is taken away from him; when he
 * faults there, the owner goes on until he has written over all of it, and then the reader. */
static struct {
    struct archived *archived;
    uint8_t *page;
    uint64_t until; /* row_count of lane 0 */
    volatile unsigned faults;
} trap;

static void overtake(int signal_number, siginfo_t *info, void *context)
{
    (void)context;
    if ((uint8_t *)info->si_addr < trap.page || (uint8_t *)info->si_addr >= trap.page + 4096) {
        signal(signal_number, SIG_DFL); /* somebody else's error */
        return;
    }
    trap.faults++;
    mprotect(trap.page, 4096, PROT_READ | PROT_WRITE);
    fill_to(trap.archived, 0, trap.until, 5);
}

#ifdef __SANITIZE_THREAD__
/* The fault is the reader's own and never in the middle of malloc. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "report_signal_unsafe=0";
}
#endif

static void set_trap(struct archived *a, const void *inside, uint64_t until)
{
    uintptr_t page = (uintptr_t)inside & ~(uintptr_t)4095;
    trap.archived = a;
    trap.page = (uint8_t *)page;
    trap.until = until;
    trap.faults = 0;
    assert_int_equal(mprotect(trap.page, 4096, PROT_NONE), 0);
}

/* Whatever part of a segment in memory is read, rows, entries of blocks or its own: if its places
 * were used again in between, what was read is thrown away, and the sum is right. */
static void a_reader_who_is_overtaken_begins_again(void **state)
{
    struct archived *a = *state;
    struct sigaction action = {.sa_sigaction = overtake, .sa_flags = SA_SIGINFO | SA_NODEFER},
                     before;
    assert_int_equal(sigaction(SIGSEGV, &action, &before), 0);
    for (unsigned round = 0; round < 5; round++) {
        struct shm_totals sum, right = {0};
        struct shm_row row;
        uint64_t oldest = round * 5; /* segment in memory that is read, and overtaken */
        fill_to(a, 0, (oldest + SEGMENTS) * SEGMENT_ROWS - 10, 5);
        assert_int_equal(atomic_load(&lane_of(a, 0)->segments_dropped), oldest);
        uint64_t place = oldest % SEGMENTS;
        const void *parts[] = {
            shm_region_rows(region_of(a), 0) + place * SEGMENT_ROWS + 100,
            &shm_region_slices(region_of(a), 0)[place * SEGMENT_ROWS / SHM_SLICE_ROWS],
            &shm_region_blocks(region_of(a), 0)[place * SEGMENT_BLOCKS],
            &shm_region_segments(region_of(a), 0)[place],
            shm_region_rows(region_of(a), 0) + place * SEGMENT_ROWS + 100,
        };
        /* Its edge lies in the middle of that segment: entries are looked at, rows are scanned. */
        size_t middle = 0;
        while (a->doubles[0].numbers[middle] < oldest * SEGMENT_ROWS + 300)
            middle++;
        struct shm_window window = {a->doubles[0].rows[middle].requested_at_us, INT64_MAX};
        set_trap(a, parts[round], (oldest + SEGMENTS + 2) * SEGMENT_ROWS + 100);
        if (round < 4) {
            assert_int_equal(shm_ledger_sum(region_of(a), &window, &sum), STATUS_OK);
            ledger_double_sum(&a->doubles[0], 0, &window, &right);
            assert_true(ledger_double_totals_equal(&sum, &right));
        } else {
            while (a->doubles[0].numbers[middle] > oldest * SEGMENT_ROWS + 100)
                middle--;
            assert_true(shm_ledger_read(region_of(a), 0, a->doubles[0].numbers[middle], &row));
            assert_true(ledger_double_equal(&row, &a->doubles[0].rows[middle]));
        }
        assert_int_equal(trap.faults, 1);
        assert_true(atomic_load(&lane_of(a, 0)->segments_dropped) > oldest);
    }
    assert_int_equal(sigaction(SIGSEGV, &before, NULL), 0);
}

/* ------------------------------------------------------------------- files */

static void path_of(const struct archived *a, unsigned lane, uint64_t segment,
                    char path[static SHM_LEDGER_FILE_PATH_SIZE])
{
    shm_ledger_file_path(path, a->directory, lane, segment);
}

/* Turn a bit of a file. */
static void turn_bit(const char *path, uint64_t offset)
{
    uint8_t byte;
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, (off_t)offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, (off_t)offset), 1);
    close(fd);
}

static void refused(struct archived *a, enum status status, const char *word)
{
    struct shm_totals sum;
    struct shm_window edge = {a->doubles[0].rows[SEGMENT_ROWS / 2].requested_at_us, INT64_MAX};
    assert_int_equal(shm_ledger_sum_or_say(region_of(a), &edge, &sum, &a->fixture->why), status);
    if (!strstr(a->fixture->why.text, word) ||
        !strstr(a->fixture->why.text, "ledger-lane0-0000000000.rows"))
        fail_msg("it says: %s", a->fixture->why.text);
    assert_null(strstr(a->fixture->why.text, a->directory)); /* clients read it */
    assert_true(findings(a, "ledger-lane0-0000000000.rows") >= 1);
}

/* Wherever a bit is turned in a file, no sum that needs it is made of it; when the file is whole
 * again, all is well, in the same process. */
static void damage_is_never_summed(void **state)
{
    struct archived *a = *state;
    char path[SHM_LEDGER_FILE_PATH_SIZE], aside[SHM_LEDGER_FILE_PATH_SIZE];
    uint64_t rows = shm_ledger_file_rows_offset(SEGMENT_ROWS);
    uint64_t slices = shm_ledger_file_slices_offset(SEGMENT_ROWS);
    const struct {
        uint64_t offset;
        const char *word;
    } bits[] = {
        {0, "it is none"},
        {8, "version"},
        {20, "header"},
        {85, "header"},
        {3000, "header"},
        {4095, "header"},
        {4096, "index"},
        {4096 + 64 * SEGMENT_BLOCKS + 2, "index"},
        {8191, "index"},
        {slices, "rows"},
        {slices + 64 * SHM_BLOCK_ROWS / SHM_SLICE_ROWS - 1, "rows"},
        {rows, "rows"},
        {rows + 8 * SHM_BLOCK_ROWS - 1, "rows"},
        {rows + 8 * SHM_BLOCK_ROWS + 100, "rows"},
        {rows + 8 * SEGMENT_ROWS - 1, "rows"},
    };
    assert_int_equal(slices, 8192);
    assert_int_equal(rows, 8192 + 2 * 16 * 64);
    fill_to(a, 0, 5 * SEGMENT_ROWS, 5);
    file_full_ones(a, 0);
    path_of(a, 0, 0, path);
    for (size_t i = 0; i < sizeof bits / sizeof bits[0]; i++) {
        bool is_first_half = bits[i].offset < rows + 8 * SHM_BLOCK_ROWS;
        open_archive(a); /* a process that has not seen it when it was good */
        turn_bit(path, bits[i].offset);
        if (is_first_half || bits[i].offset >= rows)
            assert_true(findings(a, "ledger-lane0-0000000000.rows") >= 1);
        open_archive(a);
        /* The window's edge lies in the first block or behind it: all that it reads is verified. */
        struct shm_window edge = {a->doubles[0].rows[is_first_half ? 2000 : 6000].requested_at_us,
                                  INT64_MAX};
        struct shm_totals sum;
        assert_int_equal(shm_ledger_sum_or_say(region_of(a), &edge, &sum, &a->fixture->why),
                         STATUS_DAMAGED);
        assert_non_null(strstr(a->fixture->why.text, bits[i].word));
        if (bits[i].offset >= 4096) /* its totals are whole, and all that this one needs */
            assert_int_equal(shm_ledger_sum(region_of(a), &always, &sum), STATUS_OK);
        turn_bit(path, bits[i].offset);
        ledger_double_compare(region_of(a), a->doubles, &a->random, 5);
    }
    open_archive(a);
    snprintf(aside, sizeof aside, "%s/aside", a->directory);
    assert_int_equal(rename(path, aside), 0);
    refused(a, STATUS_NOT_FOUND, "missing");
    assert_int_equal(link(aside, path), 0);
    ledger_double_compare(region_of(a), a->doubles, &a->random, 5);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(truncate(aside, (off_t)rows + 8), 0);
    assert_int_equal(rename(aside, path), 0);
    open_archive(a);
    refused(a, STATUS_DAMAGED, "size");
    assert_int_equal(truncate(path, 100), 0);
    open_archive(a);
    refused(a, STATUS_DAMAGED, "cut off");
}

/* Another lane's, another segment's, another ledger's: whole files in the wrong place. */
static void a_whole_file_in_the_wrong_place_is_damage(void **state)
{
    struct archived *a = *state;
    char path[SHM_LEDGER_FILE_PATH_SIZE], other[SHM_LEDGER_FILE_PATH_SIZE];
    for (unsigned lane = 0; lane < 2; lane++) {
        fill_to(a, lane, 5 * SEGMENT_ROWS, 5);
        file_full_ones(a, lane);
    }
    path_of(a, 0, 0, path);
    for (unsigned i = 0; i < 2; i++) {
        path_of(a, i, 1 - i, other);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(link(other, path), 0);
        open_archive(a);
        refused(a, STATUS_DAMAGED, "than its name says");
    }
    region_of(a)->ledger_id_lo++; /* of this handle: what is filed now is of another ledger */
    assert_int_equal(unlink(path), 0);
    assert_int_equal(
        shm_ledger_file_write(region_of(a), 0, 2, a->directory, NULL, &a->fixture->why),
        STATUS_EXISTS);
    assert_non_null(strstr(a->fixture->why.text, "of another ledger"));
    region_of(a)->ledger_id_lo--;
    open_archive(a);
    refused(a, STATUS_NOT_FOUND, "missing");
    path_of(a, 0, 1, other);
    region_of(a)->ledger_id_lo++;
    open_archive(a);
    assert_true(findings(a, "ledger-lane0-0000000001.rows is of another ledger") >= 1);
}

/* ------------------------------------------------------------------ filing */

/* A predecessor died: half of a new file is there, or the whole file without anybody's knowing. */
static void what_a_dead_predecessor_left_is_taken_or_replaced(void **state)
{
    struct archived *a = *state;
    char path[SHM_LEDGER_FILE_PATH_SIZE], half[SHM_LEDGER_FILE_PATH_SIZE];
    struct stat before, after;
    fill_to(a, 0, 2 * SEGMENT_ROWS, 5);
    snprintf(half, sizeof half, "%s/ledger-lane0.new", a->directory);
    int fd = open(half, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    assert_int_equal(file_one(a, 0), STATUS_OK);
    assert_int_equal(access(half, F_OK), -1);
    path_of(a, 0, 0, path);
    assert_int_equal(stat(path, &before), 0);

    atomic_store(&lane_of(a, 0)->segments_filed, 0);
    assert_int_equal(file_one(a, 0), STATUS_OK); /* it is there, and the same */
    assert_int_equal(stat(path, &after), 0);
    assert_int_equal(before.st_ino, after.st_ino);

    atomic_store(&lane_of(a, 0)->segments_filed, 0);
    turn_bit(path, 5000);
    assert_int_equal(file_one(a, 0), STATUS_OK); /* its rows are not looked at: check does */
    turn_bit(path, 5000);
    atomic_store(&lane_of(a, 0)->segments_filed, 0);
    turn_bit(path, 100); /* not what would be written: not touched, and nothing is filed */
    assert_int_equal(file_one(a, 0), STATUS_EXISTS);
    assert_int_equal(atomic_load(&lane_of(a, 0)->segments_filed), 0);
    turn_bit(path, 100);
    uint64_t *rows = shm_region_rows(region_of(a), 0);
    rows[10] ^= 1;
    assert_int_equal(file_one(a, 0), STATUS_EXISTS);
    assert_non_null(strstr(a->fixture->why.text, "other rows"));
    rows[10] ^= 1;
    assert_int_equal(count_files(a->directory, NULL, false), 1);
}

static void a_disk_that_refuses_files_nothing(void **state)
{
    struct archived *a = *state;
    atomic_bool stopping = true;
    fill_to(a, 0, SEGMENT_ROWS, 5);
    struct explain *why = &a->fixture->why;
    const struct shm_region *region = region_of(a);
    assert_int_equal(shm_ledger_file_write(region, 0, 0, "/nowhere", NULL, why), STATUS_SYSTEM);
    assert_non_null(strstr(why->text, "/nowhere/ledger-lane0.new cannot be created"));
    assert_int_equal(shm_ledger_file_write(region, 0, 0, "/dev/null", NULL, why), STATUS_SYSTEM);
    assert_int_equal(shm_ledger_file_write(region, 0, 0, a->directory, &stopping, why),
                     STATUS_BUSY);
    assert_int_equal(shm_ledger_file_write_first(region, 0, 5, "/nowhere", why), STATUS_SYSTEM);
    assert_int_equal(count_files(a->directory, NULL, false), 0);
}

static void names_tell_lane_and_segment(void **state)
{
    static const char *const bad[] = {
        "",
        "ledger-lane0-0000000000.new",
        "ledger-lane0.first",
        "ledger-lane0-0000000000.rows2",
        "ledger-lane0-000000000.rows",
        "ledger-lane+1-0000000000.rows",
        "ledger-lane01-0000000000.rows",
        "ledger-lane0- 000000000.rows",
        "ledger-lane0--000000001.rows",
        "aledger-lane0-0000000001.rows",
    };
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    unsigned lane;
    uint64_t segment;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(shm_ledger_file_parse_name(bad[i], &lane, &segment));
    for (uint64_t n = 0; n < UINT64_MAX / 3; n = n * 3 + 1) {
        shm_ledger_file_path(path, "/d", (unsigned)(n % 16), n);
        assert_true(shm_ledger_file_parse_name(path + 3, &lane, &segment));
        assert_int_equal(lane, n % 16);
        assert_true(segment == n);
    }
}

/* ------------------------------------------------------------------- purge */

static void purge(struct archived *a, uint64_t generation)
{
    atomic_store(&shm_region_purge(region_of(a))->generation, generation);
    for (unsigned lane = 0; lane < 2; lane++) {
        atomic_store(&lane_of(a, lane)->first_row, a->writers[lane].row_count);
        atomic_store(&lane_of(a, lane)->purge_applied, generation);
    }
}

static void remove_files_below(struct archived *a, unsigned lane, uint64_t end)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    for (uint64_t segment = 0; segment < end; segment++) {
        path_of(a, lane, segment, path);
        assert_true(unlink(path) == 0 || errno == ENOENT);
    }
}

/* Files that hold nothing but purged rows are not missed, mapped or not. */
static void purged_files_may_go(void **state)
{
    struct archived *a = *state;
    uint64_t end = 0;
    for (uint64_t generation = 1; generation <= 4; generation++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            end += 9000 + shm_fixture_random(&a->random) % 30000;
            fill_to(a, lane, a->writers[lane].row_count + 9000 + end % 20000, 9);
            file_full_ones(a, lane);
        }
        ledger_double_compare(region_of(a), a->doubles, &a->random, 10);
        purge(a, generation);
        for (unsigned lane = 0; lane < 2; lane++)
            remove_files_below(a, lane, a->writers[lane].row_count / SEGMENT_ROWS);
        ledger_double_compare(region_of(a), a->doubles, &a->random, 3);
        for (unsigned lane = 0; lane < 2; lane++)
            fill_to(a, lane, a->writers[lane].row_count + 5000, 9);
        ledger_double_compare(region_of(a), a->doubles, &a->random, 10);
        assert_int_equal(findings(a, NULL), 0);
    }
}

/* ---------------------------------------------------------------- adoption */

struct seeding {
    struct archived *archived;
    const struct ledger_double *doubles; /* rows to replay, as a journal would; NULL: none */
};

/* What a journal does: rows that no file has get their numbers again. */
static void replay(struct shm_region *region, unsigned lane, const struct ledger_double *d)
{
    struct shm_ledger_writer writer;
    shm_ledger_writer_open(&writer, region, lane);
    uint64_t filed = writer.row_count;
    for (size_t i = 0; i < d->count; i++) {
        if (d->numbers[i] < filed)
            continue;
        /* Half of them as a journal knows them that tells of the name and not of the row. */
        uint64_t known = i % 2 ? d->numbers[i] : d->numbers[i] - (d->names[i] == d->numbers[i]);
        if (known > writer.row_count)
            shm_ledger_skip_to(&writer, known);
        shm_ledger_write(&writer, &d->rows[i]);
        shm_ledger_publish(&writer);
    }
}

static enum status seed(struct shm_region *region, void *context, struct explain *why)
{
    struct seeding *seeding = context;
    enum status status = shm_archive_adopt(region, seeding->archived->directory, why);
    for (unsigned lane = 0; lane < 2 && status == STATUS_OK && seeding->doubles; lane++)
        replay(region, lane, &seeding->doubles[lane]);
    return status;
}

/* The region is lost with all that was not filed; a new one goes on. */
static enum status lose_and_adopt(struct archived *a, const struct shm_geometry *g,
                                  const struct ledger_double *replayed)
{
    struct seeding seeding = {a, replayed};
    struct shm_region_seed with = {seed, &seeding};
    shm_archive_close(region_of(a));
    shm_fixture_remove(a->fixture);
    enum status status = shm_region_create_seeded(a->fixture->name, g, &with, &a->fixture->why);
    if (status != STATUS_OK)
        return status;
    shm_fixture_attach(a->fixture);
    open_archive(a);
    open_writers(a);
    return status;
}

static void forget_what_was_not_filed(struct archived *a, unsigned lane)
{
    struct ledger_double *d = &a->doubles[lane];
    uint64_t filed = atomic_load(&lane_of(a, lane)->segments_filed) * SEGMENT_ROWS;
    while (d->count > 0 && d->numbers[d->count - 1] >= filed)
        d->count--;
}

static void a_new_region_goes_on_from_the_files(void **state)
{
    struct archived *a = *state;
    struct shm_geometry g = geometry();
    int64_t base_time_ms = region_of(a)->base_time_ms;
    uint64_t id = region_of(a)->ledger_id_lo;
    for (int life = 0; life < 3; life++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            fill_to(a, lane, a->writers[lane].row_count + (4 + lane) * SEGMENT_ROWS + 100, 7);
            file_full_ones(a, lane);
            forget_what_was_not_filed(a, lane);
        }
        assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_OK);
        assert_int_equal(region_of(a)->base_time_ms, base_time_ms);
        assert_true(region_of(a)->ledger_id_lo == id);
        assert_false(region_of(a)->region_id_lo == id);
        for (unsigned lane = 0; lane < 2; lane++) {
            int64_t lowest_us = INT64_MAX;
            for (size_t i = 0; i < a->doubles[lane].count; i++)
                if (a->doubles[lane].rows[i].requested_at_us < lowest_us)
                    lowest_us = a->doubles[lane].rows[i].requested_at_us;
            assert_true(atomic_load(&lane_of(a, lane)->lowest_bound_us) == lowest_us);
            assert_int_equal(a->writers[lane].row_count % SEGMENT_ROWS, 0);
        }
        ledger_double_compare(region_of(a), a->doubles, &a->random, 20);
        assert_int_equal(findings(a, NULL), 0);
    }
}

/* Rows that a journal knows come back with their numbers, fillers and all. */
static void replayed_rows_have_their_numbers_again(void **state)
{
    struct archived *a = *state;
    struct shm_geometry g = geometry();
    for (int life = 0; life < 4; life++) {
        for (unsigned lane = 0; lane < 2; lane++) {
            fill_to(a, lane,
                    a->writers[lane].row_count / SEGMENT_ROWS * SEGMENT_ROWS + 2 * SEGMENT_ROWS - 1,
                    7);
            append(a, lane, 1); /* with a filler, unless the row was even */
            if (life % 2)
                file_full_ones(a, lane);
            fill_to(a, lane, a->writers[lane].row_count + 300, 7);
        }
        uint64_t counts[2] = {a->writers[0].row_count, a->writers[1].row_count};
        assert_int_equal(lose_and_adopt(a, &g, a->doubles), STATUS_OK);
        for (unsigned lane = 0; lane < 2; lane++) {
            assert_int_equal(a->writers[lane].row_count, counts[lane]);
            rows_come_back(a, lane);
        }
        ledger_double_compare(region_of(a), a->doubles, &a->random, 20);
        assert_int_equal(findings(a, NULL), 0);
    }
}

/* A purge before the region was lost holds after it: in the middle of a file, behind all files, and
 * where nothing was filed at all. */
static void purges_are_adopted(void **state)
{
    struct archived *a = *state;
    struct shm_geometry g = geometry();
    static const uint64_t filed[] = {0, 3, 2, 5}, behind[] = {100, 100, SEGMENT_ROWS + 50, 0};
    for (unsigned i = 0; i < 4; i++) {
        uint64_t first[2];
        for (unsigned lane = 0; lane < 2; lane++) {
            uint64_t begin = a->writers[lane].row_count / SEGMENT_ROWS;
            fill_to(a, lane, (begin + filed[i]) * SEGMENT_ROWS, 0);
            file_full_ones(a, lane);
            fill_to(a, lane, a->writers[lane].row_count + behind[i], 0);
            first[lane] = a->writers[lane].row_count;
        }
        purge(a, i + 1);
        for (unsigned lane = 0; lane < 2; lane++) {
            assert_int_equal(shm_ledger_file_write_first(region_of(a), lane, first[lane],
                                                         a->directory, &a->fixture->why),
                             STATUS_OK);
            remove_files_below(a, lane, first[lane] / SEGMENT_ROWS);
        }
        assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_OK);
        for (unsigned lane = 0; lane < 2; lane++) {
            assert_int_equal(atomic_load(&lane_of(a, lane)->first_row), first[lane]);
            assert_int_equal(a->writers[lane].row_count, first[lane]);
            fill_to(a, lane, first[lane] + 3000, 9);
        }
        ledger_double_compare(region_of(a), a->doubles, &a->random, 10);
        assert_int_equal(findings(a, NULL), 0);
        /* the next life begins with what was filed, and no purge before it */
        for (unsigned lane = 0; lane < 2; lane++)
            file_full_ones(a, lane);
    }
}

static void what_does_not_fit_is_not_adopted(void **state)
{
    struct archived *a = *state;
    struct shm_geometry g = geometry();
    char path[SHM_LEDGER_FILE_PATH_SIZE], aside[SHM_LEDGER_FILE_PATH_SIZE];
    struct explain *why = &a->fixture->why;
    for (unsigned lane = 0; lane < 2; lane++) {
        fill_to(a, lane, 4 * SEGMENT_ROWS, 9);
        file_full_ones(a, lane);
        forget_what_was_not_filed(a, lane);
    }
    g.lanes = 1;
    assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_UNSUPPORTED);
    assert_non_null(strstr(why->text, "PAYRING_LANES"));
    g.lanes = 3;
    assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_UNSUPPORTED);
    g = geometry();
    g.ledger_segment_rows = SHM_BLOCK_ROWS;
    assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_UNSUPPORTED);
    assert_non_null(strstr(why->text, "PAYRING_LEDGER_SEGMENT_ROWS"));
    g = geometry();
    snprintf(aside, sizeof aside, "%s/aside", a->directory);
    for (uint64_t segment = 0; segment < 3; segment++) { /* not the last: that is an older backup */
        path_of(a, 1, segment, path);
        assert_int_equal(rename(path, aside), 0);
        assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_NOT_FOUND);
        assert_non_null(strstr(why->text, strrchr(path, '/') + 1));
        assert_int_equal(rename(aside, path), 0);
        turn_bit(path, 90);
        assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_DAMAGED);
        turn_bit(path, 90);
    }
    strcpy(aside, a->directory);
    strcpy(a->directory, "/nowhere");
    assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_SYSTEM);
    assert_non_null(strstr(why->text, "PAYRING_STATE_DIR /nowhere"));
    strcpy(a->directory, aside);
    assert_int_equal(access(a->fixture->name, F_OK), -1);
    assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_OK);
    ledger_double_compare(region_of(a), a->doubles, &a->random, 10);
}

static void an_empty_directory_is_a_new_ledger(void **state)
{
    struct archived *a = *state;
    struct shm_geometry g = geometry();
    assert_int_equal(lose_and_adopt(a, &g, NULL), STATUS_OK);
    assert_true(region_of(a)->ledger_id_lo == region_of(a)->region_id_lo);
    assert_int_equal(a->writers[0].row_count, 0);
    assert_true(atomic_load(&lane_of(a, 0)->lowest_bound_us) == INT64_MAX);
}

/* A worker that was given another directory than its predecessor had must not file there. */
static void another_directory_is_noticed(void **state)
{
    struct archived *a = *state;
    struct explain *why = &a->fixture->why;
    assert_int_equal(shm_archive_check_directory(region_of(a), 0, "/tmp", why), STATUS_OK);
    fill_to(a, 0, 2 * SEGMENT_ROWS, 9);
    file_full_ones(a, 0);
    assert_int_equal(shm_archive_check_directory(region_of(a), 0, a->directory, why), STATUS_OK);
    assert_int_equal(shm_archive_check_directory(region_of(a), 0, "/tmp", why), STATUS_NOT_FOUND);
    purge(a, 1);
    assert_int_equal(shm_archive_check_directory(region_of(a), 0, "/tmp", why), STATUS_OK);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(sums_are_those_of_the_rows),
        TEST(groups_are_taken_whole),
        TEST(an_escape_never_lies_in_two_segments),
        TEST(a_filler_that_was_never_published_names_nothing),
        TEST(a_name_is_of_the_last_rows),
        TEST(room_is_what_is_filed),
        TEST(without_files_a_sum_says_so),
        TEST(sums_are_exact_while_places_are_used_again),
        TEST(a_reader_who_is_overtaken_begins_again),
        TEST(damage_is_never_summed),
        TEST(a_whole_file_in_the_wrong_place_is_damage),
        TEST(what_a_dead_predecessor_left_is_taken_or_replaced),
        TEST(a_disk_that_refuses_files_nothing),
        TEST(names_tell_lane_and_segment),
        TEST(purged_files_may_go),
        TEST(a_new_region_goes_on_from_the_files),
        TEST(replayed_rows_have_their_numbers_again),
        TEST(purges_are_adopted),
        TEST(what_does_not_fit_is_not_adopted),
        TEST(an_empty_directory_is_a_new_ledger),
        TEST(another_directory_is_noticed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
