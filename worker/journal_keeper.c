#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "worker/journal_digest.h"
#include "worker/journal_internal.h"

/* When the bound is passed, so much of it is made free at once: the rows that stay are written
 * again each time. */
#define FREE_PART 8

#define LOOK_AGAIN_MS 50

static uint64_t segment_bytes(const struct journal *journal)
{
    return (uint64_t)(journal->settings.segment_records + 1) * JOURNAL_RECORD_SIZE;
}

uint64_t journal_keeper_bytes(const struct journal_digest_header *header)
{
    return sizeof *header + journal_format_digest_body(header);
}

/* -------------------------------------------------------------- the next segment */

/* The whole file is there, zeros and all, before it has its name. */
static enum status fill_segment(const struct journal *journal, const char *path,
                                const struct journal_segment_header *header, int fd,
                                struct explain *why)
{
    const struct journal_disk *disk = journal->settings.disk;
    if (disk->allocate(disk->context, fd, segment_bytes(journal)) != 0)
        return explain(why, errno == ENOSPC || errno == EDQUOT ? STATUS_FULL : STATUS_SYSTEM,
                       "%s: no room for a segment of %" PRIu64 " bytes: %m", path,
                       segment_bytes(journal));
    if (journal_disk_write_all(disk, fd, header, sizeof *header, 0) != 0)
        return explain(why, STATUS_SYSTEM, "%s cannot be written: %m", path);
    if (disk->sync(disk->context, fd) != 0)
        return explain(why, STATUS_SYSTEM, "%s could not be synced: %m", path);
    CRASH_POINT(segment_file_synced);
    return STATUS_OK;
}

static enum status name_segment(const struct journal *journal, const char *half, const char *path,
                                struct explain *why)
{
    const struct journal_disk *disk = journal->settings.disk;
    if (disk->rename(disk->context, half, path) != 0)
        return explain(why, STATUS_SYSTEM, "%s cannot be renamed: %m", half);
    if (disk->sync_directory(disk->context, journal->directory) != 0)
        return explain(why, STATUS_SYSTEM, "%s could not be synced: %m", journal->directory);
    CRASH_POINT(segment_file_named);
    return STATUS_OK;
}

enum status journal_segment_make(const struct journal *journal, uint64_t number,
                                 uint64_t first_sequence, struct journal_segment *segment,
                                 struct explain *why)
{
    const struct journal_disk *disk = journal->settings.disk;
    struct journal_segment_header header;
    char name[JOURNAL_NAME_SIZE], path[JOURNAL_PATH_SIZE], half[JOURNAL_PATH_SIZE];
    journal_format_segment_name(name, number);
    journal_files_path(path, journal->directory, name);
    journal_files_path(half, journal->directory, "segment.new");
    journal_format_segment_header(&header, &journal->identity, number, first_sequence,
                                  journal->settings.segment_records, clock_wall_ms());
    *segment = (struct journal_segment){.fd = disk->open(disk->context, half, JOURNAL_DISK_CREATE),
                                        .number = number,
                                        .first_sequence = first_sequence,
                                        .records = header.records,
                                        .seed = header.checksum};
    if (segment->fd < 0)
        return explain(why, STATUS_SYSTEM, "%s cannot be made: %m", half);
    enum status status = fill_segment(journal, half, &header, segment->fd, why);
    if (status == STATUS_OK)
        status = name_segment(journal, half, path, why);
    if (status == STATUS_OK)
        return status;
    disk->close(disk->context, segment->fd);
    disk->remove(disk->context, half);
    segment->fd = -1;
    return status;
}

void journal_keeper_note_made(struct journal *journal, uint64_t number)
{
    if (number <= journal->highest)
        return;
    journal->highest = number;
    journal->bytes += segment_bytes(journal);
}

static void prepare(struct journal *journal, uint64_t number, uint64_t first_sequence)
{
    struct explain why = {{0}};
    struct journal_segment segment;
    if (journal_segment_make(journal, number, first_sequence, &segment, &why) != STATUS_OK) {
        journal_fail(journal, "%s", why.text);
        return;
    }
    journal_keeper_note_made(journal, number);
    pthread_mutex_lock(&journal->lock);
    journal->prepared = segment;
    pthread_cond_signal(&journal->prepared_changed);
    pthread_mutex_unlock(&journal->lock);
}

/* ------------------------------------------------------------------- digesting */

void journal_keeper_remove_segment(const struct journal *journal, uint64_t number)
{
    char name[JOURNAL_NAME_SIZE], path[JOURNAL_PATH_SIZE];
    const struct journal_disk *disk = journal->settings.disk;
    journal_format_segment_name(name, number);
    journal_files_path(path, journal->directory, name);
    disk->remove(disk->context, path); /* one that stays is behind its digest, and read by nobody */
}

static void digest(struct journal *journal, uint64_t number)
{
    struct explain why = {{0}};
    uint64_t filed_rows = atomic_load_explicit(&journal->filed_rows, memory_order_acquire);
    if (filed_rows > journal->digested.filed_rows)
        journal->digested.filed_rows = filed_rows;
    if (journal_digest_segment(journal->settings.disk, journal->directory, &journal->identity,
                               &journal->digested, number, &why) != STATUS_OK) {
        journal_fail(journal, "%s", why.text);
        return;
    }
    journal->bytes += journal_keeper_bytes(&journal->digested);
    journal_keeper_remove_segment(journal, number);
    CRASH_POINT(segment_file_removed);
    journal->bytes -= segment_bytes(journal);
    LOG_DEBUG("journal_digested", "lane=%u segment=%" PRIu64 " ids=%" PRIu64 " rows=%" PRIu64,
              journal->identity.lane, number, journal->digested.ids, journal->digested.rows);
}

/* A segment is ready to go when all that it tells of has ended or was told of
 * again, and that is durable. Returns true if anything was done. */
static bool retire(struct journal *journal, uint64_t number)
{
    if (atomic_load_explicit(&journal->carry_wanted, memory_order_relaxed) < number) {
        /* Pairs with the acquire in journal_carry. */
        atomic_store_explicit(&journal->carry_wanted, number, memory_order_release);
        if (journal->settings.wake)
            journal->settings.wake(journal->settings.context);
        return true;
    }
    if (atomic_load_explicit(&journal->carry_done, memory_order_acquire) < number ||
        journal_durable(journal) <
            atomic_load_explicit(&journal->carry_sequence, memory_order_relaxed))
        return false;
    digest(journal, number);
    return true;
}

/* --------------------------------------------------------------------- the bound */

/* What of a digest is not kept when it is merged: its ids, and rows that no longer count or are
 * filed. */
static uint64_t freed_by_merging(const struct journal_digest_header *header,
                                 const struct journal_digest_header *youngest)
{
    uint64_t from =
        youngest->first_row > youngest->filed_rows ? youngest->first_row : youngest->filed_rows;
    uint64_t gone = from > header->row_first ? from - header->row_first : 0;
    if (gone > header->rows)
        gone = header->rows;
    return header->ids * sizeof(struct uuid) + gone * sizeof(uint64_t);
}

/* How many of the oldest digests make enough room when they are merged; 0: all of them do not. */
static size_t worth_merging(const struct journal *journal, const struct journal_files *files,
                            size_t length)
{
    uint64_t freed = 0;
    size_t count = 0;
    while (count < length && freed < journal->settings.bytes_max / FREE_PART) {
        struct journal_digest_header header;
        if (journal_scan_digest_header(journal->settings.disk, journal->directory,
                                       &journal->identity, files->digests[count], &header,
                                       NULL) != STATUS_OK)
            break;
        freed += freed_by_merging(&header, &journal->digested);
        count++;
    }
    return freed < journal->settings.bytes_max / FREE_PART ? 0 : count;
}

/* Once, until the bound is kept to again. */
static void tell_of_bound(struct journal *journal)
{
    if (!journal->told_of_bound)
        LOG_WARN("journal_over_bound", "lane=%u bytes=%" PRIu64 " bound=%" PRIu64,
                 journal->identity.lane, journal->bytes, journal->settings.bytes_max);
    journal->told_of_bound = true;
}

static bool merge(struct journal *journal, struct journal_files *files, size_t count,
                  struct explain *why)
{
    const struct journal_disk *disk = journal->settings.disk;
    uint64_t last = files->digests[count - 1], before = 0, ids = 0;
    struct journal_digest_header header;
    enum status status = STATUS_OK;
    for (size_t i = 0; status == STATUS_OK && i < count; i++) {
        status = journal_scan_digest_header(disk, journal->directory, &journal->identity,
                                            files->digests[i], &header, why);
        before += journal_keeper_bytes(&header);
        ids += header.ids;
    }
    if (status == STATUS_OK)
        status = journal_digest_merge(disk, journal->directory, &journal->identity, files, count,
                                      true, why);
    if (status == STATUS_OK)
        status = journal_scan_digest_header(disk, journal->directory, &journal->identity, last,
                                            &header, why);
    if (status != STATUS_OK) {
        journal_fail(journal, "%s", why->text);
        return false;
    }
    journal->bytes -= before - journal_keeper_bytes(&header);
    journal_ids_forget(journal->ids, ids);
    if (last == journal->digested.last)
        journal->digested = header;
    LOG_INFO("journal_forgot", "lane=%u digests=%zu bytes=%" PRIu64, journal->identity.lane, count,
             journal->bytes);
    return true;
}

static bool make_room(struct journal *journal, struct journal_files *files, struct explain *why)
{
    size_t length = journal_files_chain(files, journal->settings.disk, journal->directory,
                                        &journal->identity, why);
    if (length == 0) {
        journal_fail(journal, "%s", why->text);
        return false;
    }
    size_t count = worth_merging(journal, files, length);
    if (count == 0)
        tell_of_bound(journal);
    /* The first one alone has what a journal begins with, and waits for the next. */
    if (count == 0 || length == 1)
        return false;
    return merge(journal, files, count > 1 ? count : 2, why);
}

/* Ids are what a bound can be kept by: the oldest go first. One look for each new digest: before
 * that there is nothing new to be found. */
static bool keep_to_bound(struct journal *journal)
{
    struct explain why = {{0}};
    struct journal_files files;
    bool is_kept = journal->bytes <= journal->settings.bytes_max;
    journal->told_of_bound &= !is_kept;
    if (is_kept || journal->bound_looked_at == journal->digested.last + 1)
        return false;
    journal->bound_looked_at = journal->digested.last + 1;
    if (journal_files_list(&files, journal->settings.disk, journal->directory, &why) != STATUS_OK) {
        journal_fail(journal, "%s", why.text);
        return false;
    }
    bool done = make_room(journal, &files, &why);
    journal_files_free(&files);
    return done;
}

/* ------------------------------------------------------------------------- the ids */

void journal_keeper_load(struct journal *journal)
{
    struct explain why = {{0}};
    if (journal_loader_read(&journal->loader, &why) != STATUS_OK)
        LOG_ERROR("journal_not_read", "lane=%u why=%s", journal->identity.lane, why.text);
}

/* ---------------------------------------------------------------------- the thread */

bool journal_keep_now(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    bool wants_segment = journal->prepared.fd < 0;
    uint64_t current = journal->current_number, first_sequence = journal->next_first_sequence;
    /* Full and synced. */
    uint64_t oldest_unsynced = journal->unsynced[0].number;
    pthread_mutex_unlock(&journal->lock);
    if (journal_has_failed(journal))
        return false;
    if (wants_segment) {
        prepare(journal, current + 1, first_sequence);
        return true;
    }
    /* Before anything is merged: the files are as they were found. */
    if (!journal->loader.done) {
        journal_keeper_load(journal);
        return true;
    }
    uint64_t next = journal->digested.last + 1;
    if (next < oldest_unsynced && next < current && retire(journal, next))
        return true;
    return keep_to_bound(journal);
}

/* Most of what it waits for is signalled; that what was carried has become
 * durable is not. */
static void wait_for_work(struct journal *journal)
{
    struct timespec limit;
    clock_gettime(CLOCK_MONOTONIC, &limit);
    limit.tv_nsec += LOOK_AGAIN_MS * 1000000L;
    limit.tv_sec += limit.tv_nsec / 1000000000;
    limit.tv_nsec %= 1000000000;
    if (journal->prepared.fd < 0)
        return;
    if (journal->digested.last + 1 < journal->current_number)
        pthread_cond_timedwait(&journal->keep_wanted, &journal->lock, &limit);
    else
        pthread_cond_wait(&journal->keep_wanted, &journal->lock);
}

void *journal_keeper_run(void *context)
{
    struct journal *journal = context;
    bool goes_on = true;
    while (goes_on) {
        /* What is left when it stops is the next owner's keeper's. */
        bool worked = journal_keep_now(journal);
        pthread_mutex_lock(&journal->lock);
        if (!worked && !journal->stopping && !journal_has_failed(journal))
            wait_for_work(journal);
        goes_on = !journal->stopping && !journal_has_failed(journal);
        pthread_mutex_unlock(&journal->lock);
    }
    return NULL;
}
