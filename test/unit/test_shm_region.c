/* Places, creation, attaching, access and removal of a region, and dying in the middle of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>

#include "common/clock.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"
#include "test/unit/shm_fixture.h"

static const char *path_of(const struct shm_fixture *fixture, const char *suffix)
{
    static char path[SHM_REGION_PATH_SIZE];
    snprintf(path, sizeof path, "/dev/shm/%s%s", fixture->name, suffix);
    return path;
}

static void pause_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

/* Change bytes of the object behind everybody's back. */
static void patch(const struct shm_fixture *fixture, off_t offset, const void *bytes, size_t size)
{
    int fd = open(path_of(fixture, ""), O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, offset), size);
    close(fd);
}

/* ------------------------------------------------------------------ places */

struct range {
    uint64_t from, to;
};

static int by_start(const void *left, const void *right)
{
    const struct range *a = left, *b = right;
    return (a->from > b->from) - (a->from < b->from);
}

static void places_do_not_overlap(void **state)
{
    (void)state;
    struct shm_geometry g = {3, 5, 128, 1000, 3 * SHM_BLOCK_ROWS, 5000, SHM_BLOCK_ROWS};
    struct shm_places p;
    assert_int_equal(shm_places_compute(&p, &g, NULL), STATUS_OK);
    uint64_t n = 0;
    struct range ranges[128];
    ranges[n++] = (struct range){0, SHM_PAGE_SIZE};
    ranges[n++] = (struct range){SHM_PURGE_OFFSET, SHM_PURGE_OFFSET + SHM_PAGE_SIZE};
    ranges[n++] = (struct range){SHM_HEALTH_OFFSET, SHM_HEALTH_OFFSET + SHM_PAGE_SIZE};
    ranges[n++] = (struct range){SHM_OPERATOR_OFFSET, SHM_OPERATOR_OFFSET + SHM_PAGE_SIZE};
    for (unsigned a = 0; a < g.api_slots; a++) {
        uint64_t area = p.api_offset + a * p.api_stride;
        assert_int_equal(area % SHM_PAGE_SIZE, 0);
        ranges[n++] = (struct range){area, area + sizeof(struct shm_api)};
        for (unsigned l = 0; l < g.lanes; l++) {
            uint64_t ring = area + p.ring_offset + l * p.ring_stride;
            ranges[n++] = (struct range){ring, ring + g.ring_slots * sizeof(struct shm_ring_slot)};
        }
    }
    for (unsigned l = 0; l < g.lanes; l++) {
        uint64_t area = p.lane_offset + l * p.lane_stride;
        assert_int_equal(area % SHM_PAGE_SIZE, 0);
        const struct {
            uint64_t offset, size;
        } parts[] = {
            {0, sizeof(struct shm_lane)},
            {p.payments_offset, g.payment_slots * sizeof(struct shm_payment)},
            {p.index_heads_offset, p.index_heads * sizeof(uint32_t)},
            {p.index_next_offset, g.payment_slots * sizeof(uint32_t)},
            {p.filter_offset[0], p.filter_lines * SHM_CACHE_LINE_SIZE},
            {p.filter_offset[1], p.filter_lines * SHM_CACHE_LINE_SIZE},
            {p.slices_offset, p.slice_count * sizeof(struct shm_block)},
            {p.blocks_offset, p.block_count * sizeof(struct shm_block)},
            {p.groups_offset, p.group_count * sizeof(struct shm_block)},
            {p.segments_offset, p.segment_count * sizeof(struct shm_block)},
            {p.rows_offset, g.ledger_rows * sizeof(uint64_t)},
        };
        for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
            ranges[n++] =
                (struct range){area + parts[i].offset, area + parts[i].offset + parts[i].size};
    }
    qsort(ranges, n, sizeof ranges[0], by_start);
    for (uint64_t i = 0; i + 1 < n; i++)
        assert_true(ranges[i].to <= ranges[i + 1].from);
    assert_true(ranges[n - 1].to <= p.total_size);
    assert_int_equal(p.index_heads, 1024);
    assert_true(p.filter_lines * UINT64_C(512) >= g.horizon_payments * UINT64_C(16));
}

/* What nobody chose divides the ledger, and is as long as it may be. */
static void segments_suit_the_ledger(void **state)
{
    static const struct {
        uint32_t blocks, segment_blocks;
    } cases[] = {
        {1, 1},   {2, 1},    {3, 1},    {4, 1},      {7, 1},    {8, 2},       {12, 3},
        {64, 16}, {256, 64}, {1021, 1}, {1024, 256}, {1028, 4}, {32768, 256}, {524288, 256},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(shm_places_segment_rows(cases[i].blocks * SHM_BLOCK_ROWS),
                         cases[i].segment_blocks * SHM_BLOCK_ROWS);
}

static void places_name_the_setting(void **state)
{
    (void)state;
    const struct shm_geometry good = {1, 1, 64, 64, 4 * SHM_BLOCK_ROWS, 64, 2 * SHM_BLOCK_ROWS};
    const struct {
        size_t field;
        uint32_t value;
        const char *setting;
    } bad[] = {
        {offsetof(struct shm_geometry, api_slots), 0, "PAYRING_API_SLOTS"},
        {offsetof(struct shm_geometry, api_slots), 17, "PAYRING_API_SLOTS"},
        {offsetof(struct shm_geometry, lanes), 0, "PAYRING_LANES"},
        {offsetof(struct shm_geometry, lanes), 17, "PAYRING_LANES"},
        {offsetof(struct shm_geometry, ring_slots), 32, "PAYRING_RING_SLOTS"},
        {offsetof(struct shm_geometry, ring_slots), 65, "PAYRING_RING_SLOTS"},
        {offsetof(struct shm_geometry, ring_slots), 2097152, "PAYRING_RING_SLOTS"},
        {offsetof(struct shm_geometry, payment_slots), 63, "PAYRING_PAYMENT_SLOTS"},
        {offsetof(struct shm_geometry, payment_slots), 4194305, "PAYRING_PAYMENT_SLOTS"},
        {offsetof(struct shm_geometry, ledger_rows), 0, "PAYRING_LEDGER_ROWS"},
        {offsetof(struct shm_geometry, ledger_rows), 4097, "PAYRING_LEDGER_ROWS"},
        {offsetof(struct shm_geometry, ledger_rows), 2147483648u + 4096, "PAYRING_LEDGER_ROWS"},
        {offsetof(struct shm_geometry, horizon_payments), 0, "PAYRING_HORIZON_PAYMENTS"},
        {offsetof(struct shm_geometry, horizon_payments), 268435457, "PAYRING_HORIZON_PAYMENTS"},
        {offsetof(struct shm_geometry, ledger_segment_rows), 0, "PAYRING_LEDGER_SEGMENT_ROWS"},
        {offsetof(struct shm_geometry, ledger_segment_rows), 4097, "PAYRING_LEDGER_SEGMENT_ROWS"},
        {offsetof(struct shm_geometry, ledger_segment_rows), 3 * SHM_BLOCK_ROWS,
         "PAYRING_LEDGER_SEGMENT_ROWS"},
        {offsetof(struct shm_geometry, ledger_segment_rows), 8 * SHM_BLOCK_ROWS,
         "PAYRING_LEDGER_SEGMENT_ROWS"},
        {offsetof(struct shm_geometry, ledger_segment_rows), 257 * SHM_BLOCK_ROWS,
         "PAYRING_LEDGER_SEGMENT_ROWS"},
        /* whole segments, but more than a summary should walk over */
        {offsetof(struct shm_geometry, ledger_rows), 8194 * SHM_BLOCK_ROWS, "PAYRING_LEDGER_ROWS"},
    };
    struct shm_places places;
    assert_int_equal(shm_places_compute(&places, &good, NULL), STATUS_OK);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct shm_geometry g = good;
        struct explain why = {{0}};
        memcpy((char *)&g + bad[i].field, &bad[i].value, sizeof(uint32_t));
        assert_int_equal(shm_places_compute(&places, &g, &why), STATUS_INVALID);
        assert_non_null(strstr(why.text, bad[i].setting));
    }
}

static void the_largest_geometry_has_places(void **state)
{
    (void)state;
    struct shm_geometry g = {
        16, 16, 1048576, 4194304, 2147483648u, 268435456, SHM_SEGMENT_ROWS_MAX};
    struct shm_places p;
    assert_int_equal(shm_places_compute(&p, &g, NULL), STATUS_OK);
    assert_int_equal(p.lane_stride % SHM_PAGE_SIZE, 0);
    assert_true(p.total_size > UINT64_C(16) * 2147483648u * 8);
    assert_true(p.total_size < INT64_MAX);
}

/* ---------------------------------------------------------------- creation */

static void a_new_region_is_ready(void **state)
{
    struct shm_fixture *f = *state;
    struct stat object;
    char bell[SHM_REGION_PATH_SIZE];
    const struct shm_header *header = shm_region_header(&f->region);
    assert_int_equal(header->magic, SHM_MAGIC);
    assert_int_equal(atomic_load(&header->state), SHM_REGION_READY);
    assert_true(f->region.region_id_hi != 0 && f->region.region_id_lo != 0);
    assert_int_equal(f->region.base_time_ms, f->region.created_at_ms - 86400000);
    for (unsigned lane = 0; lane < 2; lane++) {
        const struct shm_lane *l = shm_region_lane(&f->region, lane);
        assert_int_equal(atomic_load(&l->lowest_bound_us), INT64_MAX);
        assert_int_equal(atomic_load(&l->filter.adopted_lowest_us[0]), INT64_MAX);
        assert_int_equal(atomic_load(&l->filter.adopted_lowest_us[1]), INT64_MAX);
        assert_true(atomic_load(&l->filter.started_at_monotonic_ms[0]) > 0);
        shm_region_fifo_path(f->name, lane, bell, sizeof bell);
        assert_int_equal(stat(bell, &object), 0);
        assert_true(S_ISFIFO(object.st_mode));
        assert_int_equal(object.st_mode & 0777, 0600);
    }
    assert_int_equal(stat(path_of(f, ""), &object), 0);
    assert_int_equal(object.st_mode & 0777, 0600);
    assert_int_equal(object.st_size, f->region.places.total_size);
    assert_int_equal((uint64_t)object.st_blocks * 512, f->region.places.total_size);
    assert_int_not_equal(access(path_of(f, ".new"), F_OK), 0);
}

static void an_existing_region_is_left_alone(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_geometry other = f->geometry;
    struct shm_region again;
    other.lanes = 1;
    assert_int_equal(shm_region_create(f->name, &other, &f->why), STATUS_EXISTS);
    assert_non_null(strstr(f->why.text, f->name));
    assert_int_equal(shm_region_attach(&again, f->name, 0, NULL), STATUS_OK);
    assert_int_equal(again.region_id_lo, f->region.region_id_lo);
    assert_int_equal(again.geometry.lanes, 2);
    shm_region_detach(&again);
}

static void bad_names_are_refused(void **state)
{
    (void)state;
    struct shm_geometry g = shm_fixture_geometry();
    static const char *const bad[] = {
        "",         ".",       "..",
        ".hidden",  "a/b",     "a b",
        "name.new", "x.bell0", "12345678901234567890123456789012345678901234567890123456789012345"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct explain why = {{0}};
        struct shm_region region;
        assert_int_equal(shm_region_create(bad[i], &g, &why), STATUS_INVALID);
        assert_non_null(strstr(why.text, "PAYRING_REGION"));
        assert_int_equal(shm_region_attach(&region, bad[i], 0, NULL), STATUS_INVALID);
    }
}

static void a_full_tmpfs_is_a_sentence(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_geometry huge = {
        16, 16, 1048576, 4194304, 2147483648u, 268435456, SHM_SEGMENT_ROWS_MAX};
    struct shm_places places;
    struct statvfs room;
    assert_int_equal(shm_places_compute(&places, &huge, NULL), STATUS_OK);
    assert_int_equal(statvfs("/dev/shm", &room), 0);
    if ((uint64_t)room.f_blocks * room.f_frsize > places.total_size)
        skip(); /* a machine with 300 GB of shared memory */
    assert_int_equal(shm_region_create(f->name, &huge, &f->why), STATUS_FULL);
    assert_non_null(strstr(f->why.text, "PAYRING_LEDGER_ROWS"));
    assert_int_not_equal(access(path_of(f, ".new"), F_OK), 0);
    assert_int_not_equal(access(path_of(f, ""), F_OK), 0);
}

/* Even where they find a dead one's half, and one takes it over from the other. */
static void one_of_many_creators_wins(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_geometry g = shm_fixture_geometry();
    enum { CREATORS = 4 };
    for (int round = 0; round < 50; round++) {
        pid_t children[CREATORS];
        unsigned made = 0, existed = 0;
        close(open(path_of(f, ".new"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
        for (unsigned i = 0; i < CREATORS; i++) {
            children[i] = fork();
            if (children[i] == 0)
                _exit(shm_region_create(f->name, &g, NULL));
        }
        for (unsigned i = 0; i < CREATORS; i++) {
            int status;
            assert_int_equal(waitpid(children[i], &status, 0), children[i]);
            assert_true(WIFEXITED(status));
            made += WEXITSTATUS(status) == STATUS_OK;
            existed += WEXITSTATUS(status) == STATUS_EXISTS;
        }
        assert_int_equal(made, 1);
        assert_int_equal(existed, CREATORS - 1);
        assert_int_not_equal(access(path_of(f, ".new"), F_OK), 0);
        shm_fixture_attach(f);
        shm_region_detach(&f->region);
        assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
    }
}

/* Killed anywhere between its first and last system call. */
static void a_killed_creator_leaves_nothing_in_the_way(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_geometry g = shm_fixture_geometry();
    uint64_t random = shm_fixture_seed();
    unsigned finished = 0;
    for (int round = 0; round < 60; round++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            (void)shm_region_create(f->name, &g, NULL);
            pause();
        }
        pause_us((long)(shm_fixture_random(&random) % (round % 2 ? 300 : 1500)));
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
        enum status status = shm_region_create(f->name, &g, &f->why);
        assert_true(status == STATUS_OK || status == STATUS_EXISTS);
        finished += status == STATUS_EXISTS;
        shm_fixture_attach(f); /* whoever made it: it is ready and its bells are there */
        shm_region_detach(&f->region);
        for (unsigned lane = 0; lane < 2; lane++) {
            char bell[SHM_REGION_PATH_SIZE];
            shm_region_fifo_path(f->name, lane, bell, sizeof bell);
            assert_int_equal(access(bell, F_OK), 0);
        }
        assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
    }
    print_message("# %u of 60 creators had finished when they were killed\n", finished);
}

static void a_dead_creators_half_is_taken_over(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_geometry g = shm_fixture_geometry();
    int fd = open(path_of(f, ".new"), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "half", 4), 4);
    close(fd);
    assert_int_equal(mkfifo(path_of(f, ".bell0"), 0600), 0);
    shm_fixture_create(f, &g);
    assert_int_not_equal(access(path_of(f, ".new"), F_OK), 0);
}

/* The creator died between naming the region and taking the half's name away:
 * both names are one live region. */
static void a_half_that_is_a_live_region_is_not_touched(void **state)
{
    struct shm_fixture *f = *state;
    char object[SHM_REGION_PATH_SIZE];
    snprintf(object, sizeof object, "%s", path_of(f, ""));
    uint64_t id = f->region.region_id_lo;
    assert_int_equal(link(object, path_of(f, ".new")), 0);
    assert_int_equal(shm_region_create(f->name, &f->geometry, NULL), STATUS_EXISTS);
    assert_int_equal(shm_region_header(&f->region)->region_id_lo, id);

    /* The same, after the name was taken away: what is mapped here stays as it is. */
    struct shm_region before = f->region;
    assert_int_equal(unlink(object), 0);
    shm_lease_give_back(&before, SHM_LEASE_CREATION); /* only creators and removers hold it */
    shm_fixture_create(f, &f->geometry);
    assert_int_equal(shm_region_header(&before)->region_id_lo, id);
    assert_int_not_equal(f->region.region_id_lo, id);
    assert_false(shm_region_is_current(&before));
    assert_true(shm_region_is_current(&f->region));
    shm_region_detach(&before);
}

/* ------------------------------------------------------------------ attach */

static void attaching_says_what_it_waited_for(void **state)
{
    struct shm_fixture *f = *state;
    int64_t before = clock_monotonic_ms();
    assert_int_equal(shm_region_attach(&f->region, f->name, 0, &f->why), STATUS_NOT_FOUND);
    assert_int_equal(shm_region_attach(&f->region, f->name, 60, &f->why), STATUS_TIMED_OUT);
    assert_true(clock_monotonic_ms() - before >= 60);
    assert_non_null(strstr(f->why.text, f->name));
    assert_non_null(strstr(f->why.text, "60 ms"));
    assert_int_equal(f->region.fd, -1);
}

static void attaching_waits_for_the_region(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_geometry g = shm_fixture_geometry();
    pid_t child = fork();
    if (child == 0) {
        pause_us(50000);
        _exit(shm_region_create(f->name, &g, NULL));
    }
    assert_int_equal(shm_region_attach(&f->region, f->name, 10000, &f->why), STATUS_OK);
    waitpid(child, NULL, 0);
}

/* Attach must refuse with this status and a word of the sentence. */
static void refuses(struct shm_fixture *f, enum status status, const char *word)
{
    struct shm_region region;
    assert_int_equal(shm_region_attach(&region, f->name, 10000, &f->why), status);
    assert_non_null(strstr(f->why.text, word));
    assert_non_null(strstr(f->why.text, f->name));
}

static void what_is_not_understood_is_refused(void **state)
{
    struct shm_fixture *f = *state;
    uint32_t version = 7, zero = 0, wild = 777;
    uint64_t word = 1;
    struct shm_header good = *shm_region_header(&f->region);

    patch(f, offsetof(struct shm_header, layout_version), &version, sizeof version);
    refuses(f, STATUS_UNSUPPORTED, "version 7");
    patch(f, 0, &good, sizeof good);
    patch(f, offsetof(struct shm_header, layout_fingerprint), &word, sizeof word);
    refuses(f, STATUS_UNSUPPORTED, "build");
    patch(f, 0, &good, sizeof good);
    patch(f, offsetof(struct shm_header, magic), &word, sizeof word);
    refuses(f, STATUS_DAMAGED, "no region");
    patch(f, 0, &good, sizeof good);
    patch(f, offsetof(struct shm_header, geometry.lanes), &zero, sizeof zero);
    refuses(f, STATUS_DAMAGED, "PAYRING_LANES");
    patch(f, 0, &good, sizeof good);
    patch(f, offsetof(struct shm_header, geometry.payment_slots), &wild, sizeof wild);
    refuses(f, STATUS_DAMAGED, "bytes"); /* other places than the file's size */
    patch(f, 0, &good, sizeof good);
    patch(f, offsetof(struct shm_header, total_size), &word, sizeof word);
    refuses(f, STATUS_DAMAGED, "bytes");
    patch(f, 0, &good, sizeof good);
    patch(f, offsetof(struct shm_header, state), &wild, sizeof wild);
    refuses(f, STATUS_DAMAGED, "state");
    patch(f, 0, &good, sizeof good);
    assert_true(shm_region_is_current(&f->region));
}

static void a_wrong_size_is_refused(void **state)
{
    struct shm_fixture *f = *state;
    off_t size = (off_t)f->region.places.total_size;
    shm_region_detach(&f->region);
    assert_int_equal(truncate(path_of(f, ""), size + 4096), 0);
    refuses(f, STATUS_DAMAGED, "bytes");
    assert_int_equal(truncate(path_of(f, ""), size - 4096), 0);
    refuses(f, STATUS_DAMAGED, "bytes");
    assert_int_equal(truncate(path_of(f, ""), 100), 0);
    refuses(f, STATUS_DAMAGED, "header");
}

static void a_handle_of_zeros_detaches_to_nothing(void **state)
{
    (void)state;
    struct shm_region region = {.fd = 0};
    int copy = dup(0);
    shm_region_detach(&region);
    assert_int_not_equal(fcntl(0, F_GETFD), -1);
    close(copy);
}

/* ------------------------------------------------------------------ access */

static void write_lane(struct shm_fixture *f)
{
    atomic_store(&shm_region_lane(&f->region, 1)->sleep_count, 4);
}
static void write_last_row(struct shm_fixture *f)
{
    shm_region_rows(&f->region, 1)[f->geometry.ledger_rows - 1] = 1;
}
static void write_api(struct shm_fixture *f)
{
    atomic_store(&shm_region_api(&f->region, 1)->tail[0].value, 4);
}
static void write_ring(struct shm_fixture *f)
{
    atomic_store(&shm_region_ring_slots(&f->region, 1, 1)[63].amount_cents, 4);
}
static void write_header(struct shm_fixture *f)
{
    atomic_store(&shm_region_header(&f->region)->state, 4);
}
static void write_purge(struct shm_fixture *f)
{
    atomic_store(&shm_region_purge(&f->region)->generation, 4);
}
static void write_health(struct shm_fixture *f)
{
    atomic_store(&shm_region_health(&f->region)->processor[0].report, 4);
}

static void write_operator(struct shm_fixture *f)
{
    atomic_store(&shm_region_operator(&f->region)->intake, 4);
}

static void write_bell(struct shm_fixture *f)
{
    atomic_store(&shm_region_bell(&f->region, 1)->rung, 4);
}

static void only_what_is_leased_can_be_written(void **state)
{
    struct shm_fixture *f = *state;
    void (*const writes[])(struct shm_fixture *) = {write_lane,    write_last_row, write_api,
                                                    write_ring,    write_purge,    write_health,
                                                    write_operator};
    struct explain *why = &f->why;
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_attach(&f->region, f->name, 0, why), STATUS_OK);
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        assert_int_equal(shm_fixture_signal_of(writes[i], f), SIGSEGV);
    assert_int_equal(shm_fixture_signal_of(write_bell, f), 0); /* it needs no lease */
    assert_int_equal(shm_region_open_lane(&f->region, 1, why), STATUS_OK);
    assert_int_equal(shm_region_open_api(&f->region, 1, why), STATUS_OK);
    assert_int_equal(shm_region_open_purge(&f->region, why), STATUS_OK);
    assert_int_equal(shm_region_open_health(&f->region, why), STATUS_OK);
    assert_int_equal(shm_region_open_operator(&f->region, why), STATUS_OK);
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        assert_int_equal(shm_fixture_signal_of(writes[i], f), 0);
    assert_int_equal(shm_fixture_signal_of(write_header, f), SIGSEGV);
    shm_region_close_lane(&f->region, 1);
    shm_region_close_api(&f->region, 1);
    shm_region_close_purge(&f->region);
    shm_region_close_health(&f->region);
    shm_region_close_operator(&f->region);
    for (size_t i = 0; i < sizeof writes / sizeof writes[0]; i++)
        assert_int_equal(shm_fixture_signal_of(writes[i], f), SIGSEGV);
}

static void an_inspector_can_write_nothing(void **state)
{
    struct shm_fixture *f = *state;
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_attach_read_only(&f->region, f->name, &f->why), STATUS_OK);
    assert_int_equal(shm_region_open_lane(&f->region, 0, &f->why), STATUS_SYSTEM);
    assert_int_not_equal(shm_lease_try_take(&f->region, SHM_LEASE_LANE), STATUS_OK);
}

static void use_lane_2(struct shm_fixture *f)
{
    (void)shm_region_lane(&f->region, 2);
}
static void use_api_2(struct shm_fixture *f)
{
    (void)shm_region_ring_slots(&f->region, 2, 0);
}

static void places_that_are_none_hit_check(void **state)
{
    assert_int_equal(shm_fixture_signal_of(use_lane_2, *state), SIGABRT);
    assert_int_equal(shm_fixture_signal_of(use_api_2, *state), SIGABRT);
}

/* ----------------------------------------------------------------- removal */

static void push_one(struct shm_fixture *f)
{
    struct shm_ring_producer ring;
    struct shm_ring_entry entry = {.id = {1, 2}, .amount_cents = 3};
    shm_ring_producer_open(&ring, &f->region, 1, 0);
    assert_true(shm_ring_try_push(&ring, &entry));
}

static void a_region_with_payments_is_not_removed(void **state)
{
    struct shm_fixture *f = *state;
    push_one(f);
    atomic_store(&shm_region_payments(&f->region, 1)[99].state, PAYMENT_SENT);
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_EXISTS);
    assert_non_null(strstr(f->why.text, "1 in rings and 1 in tables"));
    shm_fixture_attach(f); /* refused, and still alive */
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_remove(f->name, true, &f->why), STATUS_OK);
    assert_int_not_equal(access(path_of(f, ""), F_OK), 0);
    assert_int_not_equal(access(path_of(f, ".bell0"), F_OK), 0);
    assert_int_not_equal(access(path_of(f, ".bell1"), F_OK), 0);
    assert_int_equal(shm_region_remove(f->name, true, &f->why), STATUS_NOT_FOUND);
}

static void ended_payments_do_not_keep_a_region(void **state)
{
    struct shm_fixture *f = *state;
    for (int s = PAYMENT_SETTLED; s <= PAYMENT_REJECTED; s++)
        atomic_store(&shm_region_payments(&f->region, 0)[s].state, (uint8_t)s);
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
}

static void a_region_in_use_is_not_removed(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_region user;
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_attach(&user, f->name, 0, NULL), STATUS_OK);
    assert_int_equal(shm_lease_try_take(&user, SHM_LEASE_LANE + 1), STATUS_OK);
    assert_int_equal(shm_region_remove(f->name, true, &f->why), STATUS_BUSY);
    assert_non_null(strstr(f->why.text, "lane 1"));
    assert_int_equal(shm_lease_try_take(&user, SHM_LEASE_API), STATUS_OK);
    assert_int_equal(shm_region_remove(f->name, true, &f->why), STATUS_BUSY);
    assert_non_null(strstr(f->why.text, "API slot 0"));
    assert_true(shm_region_is_current(&user));
    shm_region_detach(&user);
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
}

static void whoever_is_attached_sees_the_removal(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_region user;
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_attach(&user, f->name, 0, NULL), STATUS_OK);
    assert_true(shm_region_is_current(&user));
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
    assert_int_equal(shm_lease_try_take(&user, SHM_LEASE_LANE), STATUS_OK);
    assert_false(shm_region_is_current(&user));
    shm_region_detach(&user);
}

/* The remover died after marking: nobody attaches, and it can be removed again. */
static void a_half_removed_region_can_be_removed(void **state)
{
    struct shm_fixture *f = *state;
    uint32_t removed = SHM_REGION_REMOVED;
    patch(f, offsetof(struct shm_header, state), &removed, sizeof removed);
    assert_false(shm_region_is_current(&f->region));
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_attach(&f->region, f->name, 0, &f->why), STATUS_NOT_FOUND);
    assert_non_null(strstr(f->why.text, "remove"));
    assert_int_equal(shm_region_create(f->name, &f->geometry, &f->why), STATUS_EXISTS);
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
}

/* Killed between naming the region and unlinking <name>.new: both are names of one file. */
static void what_its_creator_left_beside_it_is_removed_too(void **state)
{
    struct shm_fixture *f = *state;
    char object[SHM_REGION_PATH_SIZE];
    shm_region_detach(&f->region);
    snprintf(object, sizeof object, "%s", path_of(f, ""));
    assert_int_equal(link(object, path_of(f, ".new")), 0);
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
    assert_int_not_equal(access(object, F_OK), 0);
    assert_int_not_equal(access(path_of(f, ".new"), F_OK), 0);
    /* Another creator's is not ours to touch. */
    assert_int_equal(shm_region_create(f->name, &f->geometry, &f->why), STATUS_OK);
    close(open(path_of(f, ".new"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_OK);
    assert_int_equal(unlink(path_of(f, ".new")), 0);
}

static void an_unknown_layout_is_removed_by_force_only(void **state)
{
    struct shm_fixture *f = *state;
    uint32_t version = 7;
    patch(f, offsetof(struct shm_header, layout_version), &version, sizeof version);
    shm_region_detach(&f->region);
    assert_int_equal(shm_region_remove(f->name, false, &f->why), STATUS_UNSUPPORTED);
    assert_int_equal(access(path_of(f, ""), F_OK), 0);
    assert_int_equal(shm_region_remove(f->name, true, &f->why), STATUS_OK);
    assert_int_not_equal(access(path_of(f, ""), F_OK), 0);
    assert_int_not_equal(access(path_of(f, ".bell1"), F_OK), 0);
}

int main(void)
{
#define NAMELESS(test)                                                                             \
    cmocka_unit_test_setup_teardown(test, shm_fixture_setup_nameless, shm_fixture_teardown)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(places_do_not_overlap),
        cmocka_unit_test(segments_suit_the_ledger),
        cmocka_unit_test(places_name_the_setting),
        cmocka_unit_test(the_largest_geometry_has_places),
        SHM_FIXTURE_TEST(a_new_region_is_ready),
        SHM_FIXTURE_TEST(an_existing_region_is_left_alone),
        cmocka_unit_test(bad_names_are_refused),
        NAMELESS(a_full_tmpfs_is_a_sentence),
        NAMELESS(one_of_many_creators_wins),
        NAMELESS(a_killed_creator_leaves_nothing_in_the_way),
        NAMELESS(a_dead_creators_half_is_taken_over),
        SHM_FIXTURE_TEST(a_half_that_is_a_live_region_is_not_touched),
        NAMELESS(attaching_says_what_it_waited_for),
        NAMELESS(attaching_waits_for_the_region),
        SHM_FIXTURE_TEST(what_is_not_understood_is_refused),
        SHM_FIXTURE_TEST(a_wrong_size_is_refused),
        cmocka_unit_test(a_handle_of_zeros_detaches_to_nothing),
        SHM_FIXTURE_TEST(only_what_is_leased_can_be_written),
        SHM_FIXTURE_TEST(an_inspector_can_write_nothing),
        SHM_FIXTURE_TEST(places_that_are_none_hit_check),
        SHM_FIXTURE_TEST(a_region_with_payments_is_not_removed),
        SHM_FIXTURE_TEST(ended_payments_do_not_keep_a_region),
        SHM_FIXTURE_TEST(a_region_in_use_is_not_removed),
        SHM_FIXTURE_TEST(whoever_is_attached_sees_the_removal),
        SHM_FIXTURE_TEST(a_half_removed_region_can_be_removed),
        SHM_FIXTURE_TEST(what_its_creator_left_beside_it_is_removed_too),
        SHM_FIXTURE_TEST(an_unknown_layout_is_removed_by_force_only),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
