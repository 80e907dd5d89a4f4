/* A directory of its own for each test, with an empty journal of lane 0 in it, and a disk that
 * fails on demand. Include after cmocka.h.
 *
 * Use as cmocka_unit_test_setup_teardown(test, journal_fixture_setup, journal_fixture_teardown). */
#ifndef PAYRING_TEST_JOURNAL_FIXTURE_H
#define PAYRING_TEST_JOURNAL_FIXTURE_H

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "worker/journal.h"
#include "worker/journal_digest.h"
#include "worker/journal_fold.h"
#include "worker/journal_scan.h"

#define JOURNAL_FIXTURE_TEST(test)                                                                 \
    cmocka_unit_test_setup_teardown(test, journal_fixture_setup, journal_fixture_teardown)

/* Which operation fails next, with which errno; 0: none. */
struct failing_disk {
    atomic_int write, sync, allocate, rename, sync_directory;
    atomic_int syncs, syncs_after_failure;
    atomic_bool slow; /* a sync takes a millisecond */
};

struct journal_fixture {
    char directory[64];
    struct failing_disk failing;
    struct journal_disk disk;
    struct journal_identity identity;
    struct journal_settings settings;
    struct explain why;
    atomic_int wakes;
};

static inline bool failing_fails(atomic_int *error)
{
    int code = atomic_load(error);
    errno = code;
    return code != 0;
}

static inline ssize_t failing_write(void *context, int fd, const void *bytes, size_t size,
                                    uint64_t offset)
{
    struct failing_disk *disk = context;
    if (failing_fails(&disk->write))
        return -1;
    return journal_disk_real.write(NULL, fd, bytes, size, offset);
}

static inline int failing_allocate(void *context, int fd, uint64_t size)
{
    struct failing_disk *disk = context;
    return failing_fails(&disk->allocate) ? -1 : journal_disk_real.allocate(NULL, fd, size);
}

static inline int failing_sync(void *context, int fd)
{
    struct failing_disk *disk = context;
    atomic_fetch_add(&disk->syncs, 1);
    if (atomic_load(&disk->slow))
        usleep(1000);
    if (!failing_fails(&disk->sync))
        return journal_disk_real.sync(NULL, fd);
    atomic_fetch_add(&disk->syncs_after_failure, 1);
    return -1;
}

static inline int failing_rename(void *context, const char *from, const char *to)
{
    struct failing_disk *disk = context;
    return failing_fails(&disk->rename) ? -1 : journal_disk_real.rename(NULL, from, to);
}

static inline int failing_sync_directory(void *context, const char *path)
{
    struct failing_disk *disk = context;
    return failing_fails(&disk->sync_directory) ? -1 : journal_disk_real.sync_directory(NULL, path);
}

static inline void fixture_wake(void *context)
{
    struct journal_fixture *fixture = context;
    atomic_fetch_add(&fixture->wakes, 1);
}

#define JOURNAL_FIXTURE_BASE_MS INT64_C(1700000000000)

static inline void journal_fixture_begin(struct journal_fixture *fixture)
{
    struct journal_digest_writer writer;
    journal_digest_begin(&writer, &fixture->disk, fixture->directory, &fixture->identity, 0, 0);
    writer.header.base_time_ms = JOURNAL_FIXTURE_BASE_MS;
    writer.header.lanes = 1;
    assert_int_equal(journal_digest_finish(&writer, &fixture->why), STATUS_OK);
}

static inline int journal_fixture_setup(void **state)
{
    struct journal_fixture *fixture = calloc(1, sizeof *fixture);
    assert_non_null(fixture);
    strcpy(fixture->directory, "/tmp/journal.XXXXXX");
    assert_non_null(mkdtemp(fixture->directory));
    fixture->disk = journal_disk_real;
    fixture->disk.context = &fixture->failing;
    fixture->disk.write = failing_write;
    fixture->disk.allocate = failing_allocate;
    fixture->disk.sync = failing_sync;
    fixture->disk.rename = failing_rename;
    fixture->disk.sync_directory = failing_sync_directory;
    fixture->identity = (struct journal_identity){.region_id_hi = 7, .region_id_lo = 9};
    fixture->settings = (struct journal_settings){.disk = &fixture->disk,
                                                  .sync = true,
                                                  .interval_ms = 20,
                                                  .segment_records = 16,
                                                  .bytes_max = 1 << 30,
                                                  .slots = 64,
                                                  .wake = fixture_wake,
                                                  .context = fixture};
    journal_fixture_begin(fixture);
    *state = fixture;
    return 0;
}

static inline int journal_fixture_teardown(void **state)
{
    struct journal_fixture *fixture = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", fixture->directory);
    int result = system(command);
    free(fixture);
    return result;
}

/* A payment of that number; cents say which. */
static inline struct journal_payment journal_fixture_payment(unsigned number,
                                                             enum payment_state payment_state)
{
    return (struct journal_payment){
        .state = payment_state,
        .processor = number % 2,
        .id = {.hi = number + 1, .lo = number * UINT64_C(0x9e3779b97f4a7c15)},
        .amount_cents = 100 + (int64_t)number,
        .accepted_at_ms = JOURNAL_FIXTURE_BASE_MS + number,
        .requested_at_us =
            payment_state == PAYMENT_QUEUED ? 0 : (JOURNAL_FIXTURE_BASE_MS + number) * 1000,
    };
}

static inline uint64_t journal_fixture_append(struct journal *journal, enum journal_kind kind,
                                              unsigned number, enum payment_state payment_state,
                                              uint64_t row)
{
    struct journal_payment payment = journal_fixture_payment(number, payment_state);
    payment.row = row;
    return journal_append(journal, kind, &payment, number % 64);
}

/* Accepted, bound and settled in that row. */
static inline void journal_fixture_whole(struct journal *journal, unsigned number, uint64_t row)
{
    journal_fixture_append(journal, JOURNAL_ACCEPTED, number, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_BOUND, number, PAYMENT_SENT, 0);
    journal_fixture_append(journal, JOURNAL_SETTLED, number, PAYMENT_SETTLED, row + 1);
}

static inline struct journal *journal_fixture_open(struct journal_fixture *fixture)
{
    struct journal *journal;
    enum status status = journal_open(&journal, fixture->directory, &fixture->identity,
                                      &fixture->settings, &fixture->why);
    if (status != STATUS_OK)
        print_message("# %s\n", fixture->why.text);
    assert_int_equal(status, STATUS_OK);
    return journal;
}

/* As a process that dies: nothing more is synced. */
static inline void journal_fixture_die(struct journal_fixture *fixture, struct journal *journal)
{
    atomic_store(&fixture->failing.sync, EIO);
    journal_close(journal);
    atomic_store(&fixture->failing.sync, 0);
}

static inline void journal_fixture_path(const struct journal_fixture *fixture, char path[128],
                                        bool is_digest, uint64_t number)
{
    char name[JOURNAL_NAME_SIZE];
    if (is_digest)
        journal_format_digest_name(name, number);
    else
        journal_format_segment_name(name, number);
    snprintf(path, 128, "%s/%s", fixture->directory, name);
}

static inline bool journal_fixture_has(const struct journal_fixture *fixture, bool is_digest,
                                       uint64_t number)
{
    char path[128];
    journal_fixture_path(fixture, path, is_digest, number);
    return access(path, F_OK) == 0;
}

static inline enum status journal_fixture_fold(struct journal_fixture *fixture,
                                               struct journal_fold *fold, struct journal_end *end)
{
    journal_fold_begin(fold);
    struct journal_visitor visitor = journal_fold_visitor(fold);
    return journal_scan(&fixture->disk, fixture->directory, &fixture->identity, &visitor, end,
                        &fixture->why);
}

#endif
