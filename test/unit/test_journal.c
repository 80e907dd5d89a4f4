/* A journal as it is written, read and folded: segments, ends, tears, damage, digests, the bound,
 * threads, and disks that fail. */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/clock.h"
#include "test/unit/journal_fixture.h"
#include "worker/journal.h"

/* ------------------------------------------------------------------ what is read back */

static void what_was_written_is_read_back(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    journal_fixture_whole(journal, 1, 0);
    journal_fixture_append(journal, JOURNAL_ACCEPTED, 2, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_ACCEPTED, 3, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_BOUND, 3, PAYMENT_SENT, 0);
    journal_fixture_append(journal, JOURNAL_ACCEPTED, 4, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_ENDED, 4, PAYMENT_CONFLICT, 0);
    journal_close(journal);

    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.entries, 8);
    assert_int_equal(end.next_sequence, 9);
    assert_int_equal(end.cut, 0);
    assert_int_equal(fold.row_count, 1);
    assert_int_equal(fold.open_count, 2);
    struct uuid id = journal_fixture_payment(2, PAYMENT_QUEUED).id;
    assert_int_equal(journal_fold_find(&fold, &id)->state, PAYMENT_QUEUED);
    id = journal_fixture_payment(3, PAYMENT_QUEUED).id;
    assert_int_equal(journal_fold_find(&fold, &id)->state, PAYMENT_SENT);
    assert_int_equal(journal_fold_find(&fold, &id)->requested_at_us,
                     (JOURNAL_FIXTURE_BASE_MS + 3) * 1000);
    assert_int_equal(fold.lowest_bound_us, (JOURNAL_FIXTURE_BASE_MS + 1) * 1000);
    journal_fold_end(&fold);
}

static void segments_follow_one_another(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 40; i++)
        journal_fixture_whole(journal, i, i);
    journal_close(journal);
    for (uint64_t number = 1; number <= 8; number++)
        assert_true(journal_fixture_has(f, false, number));
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.row_count, 40);
    assert_int_equal(fold.open_count, 0);
    assert_int_equal(end.segment, 8);
    assert_int_equal(end.used, 120 - 7 * 16);
    journal_fold_end(&fold);
}

static void another_owner_goes_on_at_the_end(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    for (unsigned owner = 0; owner < 40; owner++) {
        struct journal *journal = journal_fixture_open(f);
        struct journal_payment opened = {.row = owner, .requested_at_us = INT64_MAX};
        journal_append(journal, JOURNAL_OPENED, &opened, JOURNAL_NO_SLOT);
        journal_fixture_whole(journal, owner, owner);
        if (owner % 2)
            journal_close(journal);
        else
            journal_fixture_die(f, journal);
    }
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.row_count, 40);
    assert_int_equal(end.next_sequence, 161);
    journal_fold_end(&fold);
}

/* The journal is a step ahead of the region when its owner dies between the two. */
static void a_row_that_never_was_is_taken_back(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    struct journal_payment opened = {.row = 1, .requested_at_us = INT64_MAX};
    journal_fixture_whole(journal, 1, 0);
    journal_fixture_whole(journal, 2, 1);
    journal_append(journal, JOURNAL_OPENED, &opened, JOURNAL_NO_SLOT);
    journal_commit_now(journal);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    struct uuid id = journal_fixture_payment(2, PAYMENT_SENT).id;
    assert_int_equal(fold.row_count, 1);
    assert_non_null(journal_fold_find(&fold, &id));
    assert_int_equal(journal_fold_find(&fold, &id)->state, PAYMENT_SENT);
    journal_fold_end(&fold);

    journal_fixture_append(journal, JOURNAL_CARRIED, 2, PAYMENT_SENT, 0);
    journal_fixture_append(journal, JOURNAL_SETTLED, 2, PAYMENT_SETTLED, 2);
    journal_close(journal);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.row_count, 2);
    assert_int_equal(fold.open_count, 0);
    journal_fold_end(&fold);
}

static void rows_that_are_missing_are_damage(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    journal_fixture_whole(journal, 1, 0);
    journal_fixture_whole(journal, 2, 2);
    journal_close(journal);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "ledger row 2"));
    journal_fold_end(&fold);
}

static void a_purge_clears_what_waited(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    struct journal_payment purged = {.purge_generation = 1, .row = 1};
    journal_fixture_whole(journal, 1, 0);
    for (unsigned i = 2; i < 40; i++)
        journal_fixture_append(journal, JOURNAL_ACCEPTED, i, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_BOUND, 2, PAYMENT_SENT, 0);
    journal_fixture_append(journal, JOURNAL_BOUND, 3, PAYMENT_SENT, 0);
    journal_fixture_append(journal, JOURNAL_UNBOUND, 3, PAYMENT_QUEUED, 0);
    journal_append(journal, JOURNAL_PURGED, &purged, JOURNAL_NO_SLOT);
    struct journal_payment later = journal_fixture_payment(50, PAYMENT_QUEUED);
    later.purge_generation = 1;
    journal_append(journal, JOURNAL_ACCEPTED, &later, 50);
    journal_close(journal);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.first_row, 1);
    assert_int_equal(fold.purge_generation, 1);
    assert_int_equal(fold.open_count, 2); /* the one that was sent, and the later one */
    assert_non_null(journal_fold_find(&fold, &later.id));
    journal_fold_end(&fold);
}

/* ------------------------------------------------------------------ tears and damage */

static void change_bytes(const struct journal_fixture *f, bool is_digest, uint64_t number,
                         off_t offset, size_t size, uint8_t with)
{
    char path[128];
    uint8_t bytes[4096];
    journal_fixture_path(f, path, is_digest, number);
    int fd = open(path, O_RDWR);
    assert_true(fd >= 0 && size <= sizeof bytes);
    assert_int_equal(pread(fd, bytes, size, offset), size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = with ? bytes[i] ^ with : 0;
    assert_int_equal(pwrite(fd, bytes, size, offset), size);
    close(fd);
}

static void a_torn_tail_is_cut(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    journal_fixture_whole(journal, 1, 0);
    journal_commit_now(journal);
    journal_fixture_whole(journal, 2, 1); /* never synced */
    journal_fixture_die(f, journal);
    change_bytes(f, false, 1, 4 * 64 + 20, 30, 0x55);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.entries, 3);
    assert_int_equal(end.cut, 3);
    assert_int_equal(end.next_sequence, 4);
    assert_non_null(strstr(end.where, "journal-0000000000000001.pj at byte 256"));
    journal_fold_end(&fold);
    /* And a living region's journal has no torn tail. */
    assert_int_equal(journal_open(&journal, f->directory, &f->identity, &f->settings, &f->why),
                     STATUS_DAMAGED);
    assert_null(journal);
}

static void a_hole_in_what_was_not_synced_is_the_end(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 3; i++)
        journal_fixture_whole(journal, i, i);
    journal_commit_now(journal);
    for (unsigned i = 3; i < 10; i++) /* into the next segment */
        journal_fixture_whole(journal, i, i);
    journal_fixture_die(f, journal);
    change_bytes(f, false, 1, 11 * 64, 64, 0);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.entries, 10);
    assert_int_equal(fold.row_count, 3);
    assert_int_equal(end.cut, 19);
    journal_fold_end(&fold);
}

static void a_hole_in_what_was_synced_is_damage(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 3; i++)
        journal_fixture_whole(journal, i, i);
    journal_commit_now(journal);
    journal_fixture_whole(journal, 3, 3);
    journal_close(journal);
    change_bytes(f, false, 1, 5 * 64, 64, 0); /* all zeros, as if never written */
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "journal-0000000000000001.pj at byte 320"));
    journal_fold_end(&fold);
}

static void files_that_are_missing_or_wrong_are_named(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    char path[128];
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 20; i++)
        journal_fixture_whole(journal, i, i);
    journal_close(journal);

    change_bytes(f, false, 2, 16, 1, 1);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "journal-0000000000000002.pj: the checksum"));
    journal_fold_end(&fold);
    change_bytes(f, false, 2, 16, 1, 1);

    journal_fixture_path(f, path, false, 2);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "segment 0000000000000002 is missing"));
    journal_fold_end(&fold);

    journal_fixture_path(f, path, true, 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "no digest"));
    journal_fold_end(&fold);
}

static void a_short_segment_is_damage(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    char path[128];
    struct journal *journal = journal_fixture_open(f);
    journal_fixture_whole(journal, 0, 0);
    journal_close(journal);
    journal_fixture_path(f, path, false, 1);
    assert_int_equal(truncate(path, 64 * 10), 0);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "too few for 16 records"));
    journal_fold_end(&fold);
}

/* ------------------------------------------------------------------ digests */

static struct journal_payment carried;

static void carry_image(void *context, uint32_t slot, struct journal_payment *payment)
{
    (void)context;
    *payment = carried;
    payment->state = slot == 63 ? PAYMENT_SENT : PAYMENT_FREE;
}

static void keep_all(struct journal *journal)
{
    for (int i = 0; i < 100; i++) {
        journal_carry(journal, carry_image, NULL);
        journal_commit_now(journal);
        (void)journal_keep_now(journal);
    }
}

struct ids {
    unsigned count;
    uint64_t last;
    bool in_order;
};

static void count_id(void *context, const struct uuid *id)
{
    struct ids *ids = context;
    ids->in_order &= ids->count == 0 || id->hi >= ids->last;
    ids->last = id->hi;
    ids->count++;
}

static void fold_ids(struct journal_fixture *f, struct journal_fold *fold, struct ids *ids,
                     struct journal_end *end)
{
    journal_fold_begin(fold);
    fold->id = count_id;
    fold->context = ids;
    struct journal_visitor visitor = journal_fold_visitor(fold);
    assert_int_equal(journal_scan(&f->disk, f->directory, &f->identity, &visitor, end, &f->why),
                     STATUS_OK);
}

/* What the files tell of ids and rows. */
static struct ids read_ids(struct journal_fixture *f, uint64_t rows)
{
    struct journal_fold fold;
    struct journal_end end;
    struct ids ids = {.in_order = true};
    fold_ids(f, &fold, &ids, &end);
    assert_int_equal(fold.row_count, rows);
    journal_fold_end(&fold);
    return ids;
}

static void assert_all_is_there(struct journal_fixture *f, unsigned payments)
{
    struct journal_fold fold;
    struct journal_end end;
    struct ids ids = {.in_order = true};
    fold_ids(f, &fold, &ids, &end);
    assert_int_equal(fold.row_count, payments);
    assert_int_equal(ids.count, payments + 1);
    assert_int_equal(fold.open_count, 1);
    struct uuid id = journal_fixture_payment(63, PAYMENT_SENT).id;
    assert_non_null(journal_fold_find(&fold, &id));
    journal_fold_end(&fold);
}

/* A payment that never ends is told of again and again; everything else shrinks. */
static void digests_take_the_place_of_segments(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    carried = journal_fixture_payment(63, PAYMENT_SENT);
    journal_fixture_append(journal, JOURNAL_ACCEPTED, 63, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_BOUND, 63, PAYMENT_SENT, 0);
    for (unsigned i = 0; i < 60; i++) {
        journal_fixture_whole(journal, i, i);
        if (i % 5 == 0) {
            keep_all(journal);
            assert_all_is_there(f, i + 1);
        }
    }
    keep_all(journal);
    assert_false(journal_has_failed(journal));
    assert_false(journal_fixture_has(f, false, 1));
    assert_false(journal_fixture_has(f, false, 9));
    assert_true(journal_fixture_has(f, true, 9));
    assert_all_is_there(f, 60);
    journal_close(journal);
    journal = journal_fixture_open(f); /* and goes on behind them */
    journal_fixture_whole(journal, 60, 60);
    journal_close(journal);
    assert_all_is_there(f, 61);
}

/* Whoever starts from it has to ask for every id: by the digest, when the record is long gone. */
static void that_its_end_may_be_missing_is_told_for_ever(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    f->settings.bytes_max = 12000; /* digests are merged, too */
    struct journal *journal = journal_fixture_open(f);
    struct journal_payment opened = {.flags = JOURNAL_MAY_MISS};
    journal_append(journal, JOURNAL_OPENED, &opened, JOURNAL_NO_SLOT);
    for (unsigned i = 0; i < 300; i++) {
        journal_fixture_whole(journal, i, i);
        if (i % 5 == 0)
            keep_all(journal);
    }
    opened = (struct journal_payment){.row = 300};
    journal_append(journal, JOURNAL_OPENED, &opened, JOURNAL_NO_SLOT);
    journal_close(journal);
    assert_false(journal_fixture_has(f, true, 0));
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_true(fold.may_miss);
    journal_fold_end(&fold);
}

static void a_digest_of_a_segment_that_was_not_removed_counts_once(void **state)
{
    struct journal_fixture *f = *state;
    char path[128], copy[160], command[400];
    struct journal *journal = journal_fixture_open(f);
    carried = journal_fixture_payment(63, PAYMENT_SENT);
    journal_fixture_append(journal, JOURNAL_ACCEPTED, 63, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_BOUND, 63, PAYMENT_SENT, 0);
    for (unsigned i = 0; i < 10; i++)
        journal_fixture_whole(journal, i, i);
    journal_commit_now(journal);
    journal_fixture_path(f, path, false, 1);
    snprintf(copy, sizeof copy, "%s/kept", f->directory);
    snprintf(command, sizeof command, "cp %s %s", path, copy);
    assert_int_equal(system(command), 0);
    keep_all(journal);
    assert_false(journal_fixture_has(f, false, 1));
    assert_int_equal(rename(copy, path), 0);
    assert_all_is_there(f, 10);
    journal_close(journal);
    journal = journal_fixture_open(f);
    assert_false(journal_fixture_has(f, false, 1)); /* opening cleans up */
    journal_close(journal);
}

static void the_bound_is_kept_by_forgetting_the_oldest_ids(void **state)
{
    struct journal_fixture *f = *state;
    f->settings.bytes_max = 12000;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 300; i++) {
        journal_fixture_whole(journal, i, i);
        if (i % 5 == 0)
            keep_all(journal);
    }
    keep_all(journal);
    assert_false(journal_has_failed(journal));
    journal_close(journal);
    struct ids ids = read_ids(f, 300); /* every row is there still */
    assert_true(ids.count < 300 && ids.count > 50);
    assert_true(ids.in_order);
    assert_int_equal(ids.last, 300);
    assert_false(journal_fixture_has(f, true, 0)); /* merged */
}

/* What a cold start has written may fill most of the bound: its ids go as soon as others come. */
static void the_ids_of_the_beginning_are_forgotten_too(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_digest_writer writer;
    journal_digest_begin(&writer, &f->disk, f->directory, &f->identity, 0, 0);
    writer.header.base_time_ms = JOURNAL_FIXTURE_BASE_MS;
    writer.header.lanes = 1;
    for (unsigned i = 0; i < 800; i++)
        journal_digest_put_ids(&writer, &(struct uuid){.hi = 0, .lo = i}, 1);
    assert_int_equal(journal_digest_finish(&writer, &f->why), STATUS_OK);
    f->settings.bytes_max = 12000;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 40; i++) {
        keep_all(journal); /* it finds one digest alone, and no room */
        journal_fixture_whole(journal, i, i);
    }
    keep_all(journal);
    journal_close(journal);
    struct ids ids = read_ids(f, 40);
    assert_true(ids.count > 0 && ids.count <= 40);
}

/* Rows are kept, and the ids among them go all the same. */
static void ids_are_forgotten_beside_rows_that_are_too_many(void **state)
{
    struct journal_fixture *f = *state;
    f->settings.bytes_max = 12000;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 3000; i++) {
        journal_fixture_whole(journal, i, i);
        if (i % 5 == 0)
            keep_all(journal);
    }
    keep_all(journal);
    assert_false(journal_has_failed(journal));
    journal_close(journal);
    struct ids ids = read_ids(f, 3000); /* 24,000 bytes */
    assert_true(ids.count > 0 && ids.count < 200);
    assert_int_equal(ids.last, 3000);
}

static bool may_know(struct journal *journal, unsigned number)
{
    struct uuid id = journal_fixture_payment(number, PAYMENT_QUEUED).id;
    return journal_may_know(journal, &id);
}

/* Whether a digest or a segment tells of it, or it was just accepted. */
static void whoever_opens_it_knows_all_ids(void **state)
{
    struct journal_fixture *f = *state;
    unsigned wrong = 0;
    for (unsigned owner = 0; owner < 3; owner++) {
        struct journal *journal = journal_fixture_open(f);
        for (unsigned i = owner * 100; i < owner * 100 + 100; i++) {
            wrong += may_know(journal, i);
            journal_fixture_whole(journal, i, i);
            if (owner < 2 && i % 5 == 0)
                keep_all(journal);
        }
        for (unsigned i = 0; i < owner * 100 + 100; i++)
            assert_true(may_know(journal, i));
        for (unsigned i = 1000; i < 2000; i++)
            wrong += may_know(journal, i);
        if (owner == 1)
            journal_fixture_die(f, journal);
        else
            journal_close(journal);
    }
    assert_true(wrong < 20);
}

/* Too many to be read before the lane goes on. */
static void ids_are_read_while_the_lane_goes_on(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_digest_writer writer;
    unsigned wrong = 0;
    journal_digest_begin(&writer, &f->disk, f->directory, &f->identity, 0, 0);
    writer.header.base_time_ms = JOURNAL_FIXTURE_BASE_MS;
    writer.header.lanes = 1;
    for (unsigned i = 0; i < 300000; i++)
        journal_digest_put_ids(&writer, &(struct uuid){.hi = 0, .lo = i}, 1);
    assert_int_equal(journal_digest_finish(&writer, &f->why), STATUS_OK);
    struct journal *journal = journal_fixture_open(f);
    assert_true(may_know(journal, 7)); /* nobody can say yet */
    journal_fixture_whole(journal, 8, 0);
    for (int i = 0; i < 10; i++)
        (void)journal_keep_now(journal);
    assert_true(may_know(journal, 8));
    for (unsigned i = 0; i < 300000; i++)
        assert_true(journal_may_know(journal, &(struct uuid){.hi = 0, .lo = i}));
    for (unsigned i = 1000; i < 2000; i++)
        wrong += may_know(journal, i);
    assert_true(wrong < 20);
    journal_close(journal);
}

/* Whatever a digest told of that cannot be read is looked up for good; the lane goes on. */
static void nothing_is_certain_after_a_damaged_digest(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 30; i++)
        journal_fixture_whole(journal, i, i);
    keep_all(journal);
    journal_close(journal);
    change_bytes(f, true, 2, 200, 1, 1);
    journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 2000; i++)
        assert_true(may_know(journal, i));
    journal_fixture_whole(journal, 30, 30);
    keep_all(journal);
    assert_false(journal_has_failed(journal));
    assert_true(may_know(journal, 5000));
    journal_close(journal);
}

static void a_damaged_digest_is_named(void **state)
{
    struct journal_fixture *f = *state;
    struct journal_fold fold;
    struct journal_end end;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 30; i++)
        journal_fixture_whole(journal, i, i);
    keep_all(journal);
    journal_close(journal);
    change_bytes(f, true, 2, 200, 1, 1);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(
        strstr(f->why.text, "digest-0000000000000002.pj: the checksum of its contents"));
    journal_fold_end(&fold);
    char path[128];
    journal_fixture_path(f, path, true, 2);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_DAMAGED);
    assert_non_null(strstr(f->why.text, "the digest of segment 2 is missing"));
    journal_fold_end(&fold);
}

/* ------------------------------------------------------------------ disks that fail */

static void assert_failed_for_good(struct journal_fixture *f, struct journal *journal)
{
    int64_t deadline = clock_monotonic_ms() + 10000;
    while (atomic_load(&f->wakes) == 0 && clock_monotonic_ms() < deadline)
        usleep(200); /* the thread that failed wakes the lane last */
    assert_true(journal_has_failed(journal));
    assert_true(atomic_load(&f->wakes) > 0);
    assert_int_equal(journal_fixture_append(journal, JOURNAL_ACCEPTED, 9, PAYMENT_QUEUED, 0), 0);
}

static void an_fsync_is_never_tried_again(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    journal_fixture_whole(journal, 1, 0);
    journal_commit_now(journal);
    assert_int_equal(journal_durable(journal), 3);
    journal_fixture_whole(journal, 2, 1);
    atomic_store(&f->failing.sync, EIO);
    journal_commit_now(journal);
    assert_failed_for_good(f, journal);
    assert_int_equal(journal_durable(journal), 3);
    atomic_store(&f->failing.sync, 0); /* the disk says that it is well again */
    journal_commit_now(journal);
    journal_close(journal);
    assert_int_equal(atomic_load(&f->failing.syncs_after_failure), 1);
    struct journal_fold fold;
    struct journal_end end;
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_true(fold.entries >= 3);
    journal_fold_end(&fold);
}

static void a_write_that_fails_ends_it(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    journal_fixture_whole(journal, 1, 0);
    atomic_store(&f->failing.write, EIO);
    assert_int_equal(journal_fixture_append(journal, JOURNAL_ACCEPTED, 2, PAYMENT_QUEUED, 0), 0);
    atomic_store(&f->failing.write, 0);
    assert_failed_for_good(f, journal);
    assert_int_equal(journal_appended(journal), 3);
    journal_close(journal);
}

/* The segments are whole files: a disk is full when the next one is made, not before. */
static void a_full_disk_ends_it_between_two_segments(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    atomic_store(&f->failing.allocate, ENOSPC);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(journal_fixture_append(journal, JOURNAL_ACCEPTED, i, PAYMENT_QUEUED, 0),
                         i + 1);
    assert_int_equal(journal_fixture_append(journal, JOURNAL_ACCEPTED, 16, PAYMENT_QUEUED, 0), 0);
    assert_failed_for_good(f, journal);
    journal_close(journal);
}

static void so_does_a_digest_that_cannot_be_written(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    for (unsigned i = 0; i < 20; i++)
        journal_fixture_whole(journal, i, i);
    journal_commit_now(journal);
    (void)journal_keep_now(journal); /* the next segment */
    atomic_store(&f->failing.rename, ENOSPC);
    keep_all(journal);
    assert_failed_for_good(f, journal);
    journal_close(journal);
    atomic_store(&f->failing.rename, 0);
    struct journal_fold fold;
    struct journal_end end;
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK); /* all of it stands */
    assert_int_equal(fold.row_count, 20);
    journal_fold_end(&fold);
}

static void a_journal_whose_end_cannot_be_synced_is_not_opened(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    journal_fixture_whole(journal, 1, 0);
    journal_close(journal);
    atomic_store(&f->failing.sync, EIO);
    assert_int_equal(journal_open(&journal, f->directory, &f->identity, &f->settings, &f->why),
                     STATUS_SYSTEM);
}

static struct journal *noted;
static bool was_known;

static void note_failure(void *context)
{
    (void)context;
    was_known = journal_has_failed(noted);
}

/* The lane goes on without it as soon as it is known to have failed: a successor must find it
 * noted. */
static void that_it_failed_is_noted_before_it_is_known(void **state)
{
    struct journal_fixture *f = *state;
    f->settings.failed = note_failure;
    noted = journal_fixture_open(f);
    was_known = true;
    atomic_store(&f->failing.write, EIO);
    assert_int_equal(journal_fixture_append(noted, JOURNAL_ACCEPTED, 1, PAYMENT_QUEUED, 0), 0);
    assert_false(was_known);
    assert_true(journal_has_failed(noted));
    journal_close(noted);
}

/* ------------------------------------------------------------------ threads */

static bool becomes_durable(struct journal *journal, uint64_t sequence)
{
    int64_t deadline = clock_monotonic_ms() + 10000;
    while (journal_durable(journal) < sequence && !journal_has_failed(journal) &&
           clock_monotonic_ms() < deadline)
        usleep(200);
    return journal_durable(journal) >= sequence;
}

static void threads_make_it_durable(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    assert_int_equal(journal_start(journal, &f->why), STATUS_OK);
    carried = journal_fixture_payment(63, PAYMENT_SENT);
    journal_fixture_append(journal, JOURNAL_ACCEPTED, 63, PAYMENT_QUEUED, 0);
    journal_fixture_append(journal, JOURNAL_BOUND, 63, PAYMENT_SENT, 0);
    for (unsigned i = 0; i < 1000; i++) {
        journal_fixture_whole(journal, i % 63, i);
        journal_carry(journal, carry_image, NULL);
        journal_kick(journal);
        if (i % 100 == 0)
            assert_true(becomes_durable(journal, journal_appended(journal)));
    }
    assert_true(becomes_durable(journal, journal_appended(journal)));
    assert_true(atomic_load(&f->wakes) > 0);
    journal_close(journal);
    assert_false(journal_fixture_has(f, false, 1)); /* the keeper was at work */
    struct journal_fold fold;
    struct journal_end end;
    assert_int_equal(journal_fixture_fold(f, &fold, &end), STATUS_OK);
    assert_int_equal(fold.row_count, 1000);
    journal_fold_end(&fold);
}

/* While one sync is under way the next group gathers. */
static void a_group_is_committed_at_once(void **state)
{
    struct journal_fixture *f = *state;
    f->settings.segment_records = 4096;
    struct journal *journal = journal_fixture_open(f);
    assert_int_equal(journal_start(journal, &f->why), STATUS_OK);
    atomic_store(&f->failing.slow, true);
    int before = atomic_load(&f->failing.syncs);
    for (unsigned i = 0; i < 1000; i++) {
        journal_fixture_append(journal, JOURNAL_ACCEPTED, i % 64, PAYMENT_QUEUED, 0);
        journal_kick(journal);
    }
    assert_true(becomes_durable(journal, 1000));
    assert_true(atomic_load(&f->failing.syncs) - before < 500);
    journal_close(journal);
}

static void async_commits_once_an_interval(void **state)
{
    struct journal_fixture *f = *state;
    f->settings.sync = false;
    f->settings.interval_ms = 50;
    f->settings.segment_records = 4096;
    struct journal *journal = journal_fixture_open(f);
    assert_int_equal(journal_start(journal, &f->why), STATUS_OK);
    int before = atomic_load(&f->failing.syncs);
    int64_t begin_ms = clock_monotonic_ms();
    for (unsigned i = 0; clock_monotonic_ms() - begin_ms < 400; i++) {
        journal_fixture_append(journal, JOURNAL_ACCEPTED, i % 64, PAYMENT_QUEUED, 0);
        journal_kick(journal);
        usleep(2000);
    }
    assert_true(becomes_durable(journal, journal_appended(journal)));
    int64_t intervals = (clock_monotonic_ms() - begin_ms) / 50 + 1;
    assert_true(atomic_load(&f->failing.syncs) - before <= intervals + 2);
    journal_close(journal);
}

/* The first record of a journal waits for no interval, whatever the clock shows. */
static void async_begins_at_once(void **state)
{
    struct journal_fixture *f = *state;
    f->settings.sync = false;
    f->settings.interval_ms = 5000;
    for (unsigned i = 0; i < 50; i++) {
        struct journal *journal = journal_fixture_open(f);
        assert_int_equal(journal_start(journal, &f->why), STATUS_OK);
        int64_t begin_ms = clock_monotonic_ms();
        journal_fixture_append(journal, JOURNAL_ACCEPTED, i, PAYMENT_QUEUED, 0);
        journal_kick(journal);
        assert_true(becomes_durable(journal, journal_appended(journal)));
        assert_true(clock_monotonic_ms() - begin_ms < 2500);
        journal_close(journal);
        usleep(7000 + i * 411);
    }
}

static void a_thread_that_finds_the_disk_broken_wakes_the_lane(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    assert_int_equal(journal_start(journal, &f->why), STATUS_OK);
    atomic_store(&f->failing.sync, EIO);
    journal_fixture_whole(journal, 1, 0);
    journal_kick(journal);
    int64_t deadline = clock_monotonic_ms() + 10000;
    while (!journal_has_failed(journal) && clock_monotonic_ms() < deadline)
        usleep(200);
    assert_failed_for_good(f, journal);
    journal_close(journal);
}

/* Nobody who appends waits for ever on a disk that is broken. */
static void a_full_disk_lets_the_lane_go_on(void **state)
{
    struct journal_fixture *f = *state;
    struct journal *journal = journal_fixture_open(f);
    atomic_store(&f->failing.allocate, ENOSPC);
    assert_int_equal(journal_start(journal, &f->why), STATUS_OK);
    for (unsigned i = 0; i < 40; i++)
        journal_fixture_append(journal, JOURNAL_ACCEPTED, i, PAYMENT_QUEUED, 0);
    assert_failed_for_good(f, journal);
    journal_close(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        JOURNAL_FIXTURE_TEST(what_was_written_is_read_back),
        JOURNAL_FIXTURE_TEST(segments_follow_one_another),
        JOURNAL_FIXTURE_TEST(another_owner_goes_on_at_the_end),
        JOURNAL_FIXTURE_TEST(a_row_that_never_was_is_taken_back),
        JOURNAL_FIXTURE_TEST(rows_that_are_missing_are_damage),
        JOURNAL_FIXTURE_TEST(a_purge_clears_what_waited),
        JOURNAL_FIXTURE_TEST(a_torn_tail_is_cut),
        JOURNAL_FIXTURE_TEST(a_hole_in_what_was_not_synced_is_the_end),
        JOURNAL_FIXTURE_TEST(a_hole_in_what_was_synced_is_damage),
        JOURNAL_FIXTURE_TEST(files_that_are_missing_or_wrong_are_named),
        JOURNAL_FIXTURE_TEST(a_short_segment_is_damage),
        JOURNAL_FIXTURE_TEST(digests_take_the_place_of_segments),
        JOURNAL_FIXTURE_TEST(a_digest_of_a_segment_that_was_not_removed_counts_once),
        JOURNAL_FIXTURE_TEST(that_its_end_may_be_missing_is_told_for_ever),
        JOURNAL_FIXTURE_TEST(that_it_failed_is_noted_before_it_is_known),
        JOURNAL_FIXTURE_TEST(the_bound_is_kept_by_forgetting_the_oldest_ids),
        JOURNAL_FIXTURE_TEST(the_ids_of_the_beginning_are_forgotten_too),
        JOURNAL_FIXTURE_TEST(ids_are_forgotten_beside_rows_that_are_too_many),
        JOURNAL_FIXTURE_TEST(whoever_opens_it_knows_all_ids),
        JOURNAL_FIXTURE_TEST(ids_are_read_while_the_lane_goes_on),
        JOURNAL_FIXTURE_TEST(nothing_is_certain_after_a_damaged_digest),
        JOURNAL_FIXTURE_TEST(a_damaged_digest_is_named),
        JOURNAL_FIXTURE_TEST(an_fsync_is_never_tried_again),
        JOURNAL_FIXTURE_TEST(a_write_that_fails_ends_it),
        JOURNAL_FIXTURE_TEST(a_full_disk_ends_it_between_two_segments),
        JOURNAL_FIXTURE_TEST(so_does_a_digest_that_cannot_be_written),
        JOURNAL_FIXTURE_TEST(a_journal_whose_end_cannot_be_synced_is_not_opened),
        JOURNAL_FIXTURE_TEST(threads_make_it_durable),
        JOURNAL_FIXTURE_TEST(a_group_is_committed_at_once),
        JOURNAL_FIXTURE_TEST(async_commits_once_an_interval),
        JOURNAL_FIXTURE_TEST(async_begins_at_once),
        JOURNAL_FIXTURE_TEST(a_thread_that_finds_the_disk_broken_wakes_the_lane),
        JOURNAL_FIXTURE_TEST(a_full_disk_lets_the_lane_go_on),
    };
    return cmocka_run_group_tests_name("journal", tests, NULL, NULL);
}
