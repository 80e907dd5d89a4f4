#include "worker/journal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "worker/journal_internal.h"

/* The append itself waits here: what is in flight cannot make so many records. */
#define BEHIND_HARD (JOURNAL_BEHIND_MAX - 1024u)

/* So much of the digests is read for its ids before the lane goes on: some milliseconds. */
#define LOAD_AT_OPEN (UINT64_C(4) << 20)

/* In async: do not let more than this wait for the interval. */
#define COMMIT_EARLY (JOURNAL_BEHIND_SOFT / 2)

uint32_t journal_segment_records(uint64_t bytes_max)
{
    uint64_t records = bytes_max / JOURNAL_SEGMENTS_MIN / JOURNAL_RECORD_SIZE - 1;
    return records < JOURNAL_SEGMENT_RECORDS ? (uint32_t)records : JOURNAL_SEGMENT_RECORDS;
}

uint64_t journal_appended(const struct journal *journal)
{
    return atomic_load_explicit(&journal->appended, memory_order_acquire);
}

uint64_t journal_durable(const struct journal *journal)
{
    return atomic_load_explicit(&journal->durable, memory_order_acquire);
}

bool journal_has_failed(const struct journal *journal)
{
    return atomic_load_explicit(&journal->failed, memory_order_acquire);
}

static uint64_t behind(const struct journal *journal)
{
    uint64_t durable = journal_durable(journal); /* first: it never passes appended */
    return journal_appended(journal) - durable;
}

bool journal_is_behind(const struct journal *journal)
{
    return behind(journal) >= JOURNAL_BEHIND_SOFT;
}

static void wake_lane(const struct journal *journal)
{
    if (journal->settings.wake)
        journal->settings.wake(journal->settings.context);
}

void journal_fail(struct journal *journal, const char *format, ...)
{
    char text[sizeof(struct explain)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    /* Before anybody can find out and go on without it: whoever comes after the death of this
     * process must know that the region is ahead of the journal. */
    if (journal->settings.failed)
        journal->settings.failed(journal->settings.context);
    if (atomic_exchange(&journal->failed, true))
        return;
    LOG_ERROR("journal_failed", "lane=%u why=%s", journal->identity.lane, text);
    pthread_mutex_lock(&journal->lock);
    pthread_cond_broadcast(&journal->commit_wanted);
    pthread_cond_broadcast(&journal->keep_wanted);
    pthread_cond_broadcast(&journal->prepared_changed);
    pthread_mutex_unlock(&journal->lock);
    wake_lane(journal);
}

/* ------------------------------------------------------------------- commit */

/* What is to be synced, oldest first; a copy, so that the lane goes on meanwhile. */
static unsigned copy_unsynced(struct journal *journal, struct journal_segment *segments)
{
    pthread_mutex_lock(&journal->lock);
    unsigned count = journal->unsynced_count;
    memcpy(segments, journal->unsynced, count * sizeof *segments);
    pthread_mutex_unlock(&journal->lock);
    return count;
}

/* Those that were full when they were copied were synced whole. */
static void drop_synced(struct journal *journal, const struct journal_segment *segments,
                        unsigned count)
{
    unsigned full = 0;
    while (full < count && segments[full].is_full)
        journal->settings.disk->close(journal->settings.disk->context, segments[full++].fd);
    pthread_mutex_lock(&journal->lock);
    journal->unsynced_count -= full;
    memmove(journal->unsynced, journal->unsynced + full,
            journal->unsynced_count * sizeof *journal->unsynced);
    if (full)
        pthread_cond_signal(&journal->keep_wanted);
    pthread_mutex_unlock(&journal->lock);
}

static void commit_locked(struct journal *journal)
{
    struct journal_segment segments[JOURNAL_UNSYNCED_MAX];
    /* Before the copy: a record up to this one lies in a segment of the copy. */
    uint64_t target = journal_appended(journal);
    if (target == journal_durable(journal) || journal_has_failed(journal))
        return;
    unsigned count = copy_unsynced(journal, segments);
    for (unsigned i = 0; i < count; i++)
        if (journal->settings.disk->sync(journal->settings.disk->context, segments[i].fd) != 0) {
            journal_fail(journal, "segment %016" PRIx64 " of %s could not be synced: %m",
                         segments[i].number, journal->directory);
            return;
        }
    CRASH_POINT(journal_synced);
    drop_synced(journal, segments, count);
    /* Pairs with the acquire in journal_durable. */
    atomic_store_explicit(&journal->durable, target, memory_order_release);
}

void journal_commit_now(struct journal *journal)
{
    pthread_mutex_lock(&journal->commit_lock);
    commit_locked(journal);
    pthread_mutex_unlock(&journal->commit_lock);
}

/* ms from now, which is now if that has passed: a time before it is no valid one. */
static struct timespec after_ms(int64_t ms)
{
    struct timespec when;
    clock_gettime(CLOCK_MONOTONIC, &when);
    int64_t ns = when.tv_nsec + (ms > 0 ? ms : 0) * 1000000;
    when.tv_sec += (time_t)(ns / 1000000000);
    when.tv_nsec = (long)(ns % 1000000000);
    return when;
}

/* With the lock held: until the interval is over, or too much has gathered. */
static void wait_for_interval(struct journal *journal, int64_t last_ms)
{
    int64_t left_ms = journal->settings.interval_ms - (clock_monotonic_ms() - last_ms);
    struct timespec due = after_ms(left_ms);
    while (!journal->stopping && !journal_has_failed(journal) && behind(journal) < COMMIT_EARLY) {
        int result = pthread_cond_timedwait(&journal->commit_wanted, &journal->lock, &due);
        CHECK(result == 0 || result == ETIMEDOUT);
        if (result == ETIMEDOUT)
            return;
    }
}

/* Until there is something to commit and its time has come; false: the end. */
static bool wait_for_work(struct journal *journal, int64_t *last_ms)
{
    pthread_mutex_lock(&journal->lock);
    while (!journal->stopping && !journal_has_failed(journal) && !journal->kick)
        pthread_cond_wait(&journal->commit_wanted, &journal->lock);
    if (!journal->settings.sync)
        wait_for_interval(journal, *last_ms);
    journal->kick = false;
    bool goes_on = !journal->stopping && !journal_has_failed(journal);
    pthread_mutex_unlock(&journal->lock);
    *last_ms = clock_monotonic_ms();
    return goes_on;
}

static void *commit_run(void *context)
{
    struct journal *journal = context;
    int64_t last_ms = 0;
    while (wait_for_work(journal, &last_ms)) {
        uint64_t before = journal_durable(journal);
        journal_commit_now(journal);
        if (journal_durable(journal) != before)
            wake_lane(journal);
    }
    return NULL;
}

void journal_kick(struct journal *journal)
{
    uint64_t appended = journal_appended(journal);
    if (appended == journal->kicked)
        return;
    journal->kicked = appended;
    pthread_mutex_lock(&journal->lock);
    /* In async only the first record of an interval has to wake anybody. */
    bool tell = !journal->kick || behind(journal) >= COMMIT_EARLY;
    journal->kick = true;
    if (tell)
        pthread_cond_signal(&journal->commit_wanted);
    pthread_mutex_unlock(&journal->lock);
}

/* ------------------------------------------------------------------- append */

/* Before the threads run (a table full of payments is told of again): made here. */
static bool make_next(struct journal *journal, struct journal_segment *next)
{
    struct explain why = {{0}};
    enum status status = journal_segment_make(journal, journal->current_number + 1,
                                              journal->next_first_sequence, next, &why);
    if (status != STATUS_OK)
        journal_fail(journal, "%s", why.text);
    else
        journal_keeper_note_made(journal, next->number);
    return status == STATUS_OK;
}

static bool has_room_for_unsynced(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    bool room = journal->unsynced_count < JOURNAL_UNSYNCED_MAX;
    pthread_mutex_unlock(&journal->lock);
    return room;
}

/* The lane goes on in it. All in one hold of the lock: a keeper that came between would make a
 * segment of this number again, over this one's name. */
static void begin_segment(struct journal *journal, const struct journal_segment *next)
{
    CHECK(journal->unsynced_count > 0 && journal->unsynced_count < JOURNAL_UNSYNCED_MAX);
    journal->unsynced[journal->unsynced_count - 1].is_full = true;
    journal->unsynced[journal->unsynced_count++] = *next;
    journal->current_number = next->number;
    journal->next_first_sequence = next->first_sequence + next->records;
    journal->current = *next;
    journal->used = 0;
    pthread_cond_signal(&journal->keep_wanted);
}

/* The one that the keeper has made ready; false: nobody makes one, or the journal has failed. */
static bool begin_prepared(struct journal *journal)
{
    pthread_mutex_lock(&journal->lock);
    while (journal->started && journal->prepared.fd < 0 && !journal_has_failed(journal))
        pthread_cond_wait(&journal->prepared_changed, &journal->lock);
    bool is_ready = journal->prepared.fd >= 0 && !journal_has_failed(journal);
    if (is_ready) {
        begin_segment(journal, &journal->prepared);
        journal->prepared.fd = -1;
    }
    pthread_mutex_unlock(&journal->lock);
    return is_ready;
}

/* Crash: the next segment is there and empty; whoever opens the journal goes on in it. */
static bool switch_segment(struct journal *journal)
{
    struct journal_segment next;
    if (!has_room_for_unsynced(journal))
        journal_commit_now(journal); /* the lane outruns the disk */
    if (begin_prepared(journal))
        return true;
    if (journal_has_failed(journal) || !make_next(journal, &next))
        return false;
    pthread_mutex_lock(&journal->lock);
    begin_segment(journal, &next);
    pthread_mutex_unlock(&journal->lock);
    return true;
}

static void note_latest(struct journal *journal, const struct journal_payment *payment,
                        uint32_t slot)
{
    if (slot == JOURNAL_NO_SLOT)
        return;
    CHECK(slot < journal->settings.slots);
    bool is_open = payment->state == PAYMENT_QUEUED || payment->state == PAYMENT_SENT;
    journal->latest[slot] = is_open ? journal->current.number : 0;
}

uint64_t journal_append(struct journal *journal, enum journal_kind kind,
                        const struct journal_payment *payment, uint32_t slot)
{
    struct journal_record record;
    const struct journal_disk *disk = journal->settings.disk;
    if (behind(journal) >= (journal->started ? BEHIND_HARD : JOURNAL_BEHIND_SOFT))
        journal_commit_now(journal);
    if (journal_has_failed(journal) ||
        (journal->used == journal->current.records && !switch_segment(journal)))
        return 0;
    struct journal_entry entry = {
        .kind = kind,
        .sequence = journal->current.first_sequence + journal->used,
        .durable = journal_durable(journal),
        .payment = *payment,
    };
    journal_format_pack(&record, &entry, journal->current.seed);
    if (journal_disk_write_all(disk, journal->current.fd, &record, sizeof record,
                               (uint64_t)(journal->used + 1) * sizeof record) != 0) {
        journal_fail(journal, "segment %016" PRIx64 " of %s could not be written: %m",
                     journal->current.number, journal->directory);
        return 0;
    }
    CRASH_POINT(journal_record_written);
    journal->used++;
    note_latest(journal, payment, slot);
    if (kind == JOURNAL_ACCEPTED)
        journal_ids_add(journal->ids, &payment->id);
    /* Pairs with the acquire in journal_appended: the write comes first. */
    atomic_store_explicit(&journal->appended, entry.sequence, memory_order_release);
    return entry.sequence;
}

bool journal_may_know(struct journal *journal, const struct uuid *id)
{
    return journal_ids_may_know(journal->ids, id);
}

void journal_note_filed(struct journal *journal, uint64_t rows)
{
    /* Pairs with the acquire of the keeper. */
    atomic_store_explicit(&journal->filed_rows, rows, memory_order_release);
}

bool journal_wants_carry(const struct journal *journal)
{
    return !journal_has_failed(journal) &&
           atomic_load_explicit(&journal->carry_wanted, memory_order_acquire) >
               atomic_load_explicit(&journal->carry_done, memory_order_relaxed);
}

void journal_carry(struct journal *journal,
                   void (*image)(void *context, uint32_t slot, struct journal_payment *),
                   void *context)
{
    uint64_t wanted = atomic_load_explicit(&journal->carry_wanted, memory_order_acquire);
    if (wanted <= journal->carried_upto)
        return;
    for (uint32_t slot = 0; slot < journal->settings.slots; slot++) {
        struct journal_payment payment;
        if (journal->latest[slot] == 0 || journal->latest[slot] > wanted)
            continue;
        if (journal_is_behind(journal) || journal_has_failed(journal))
            return; /* the rest in another turn */
        image(context, slot, &payment);
        if (payment.state == PAYMENT_QUEUED || payment.state == PAYMENT_SENT)
            journal_append(journal, JOURNAL_CARRIED, &payment, slot);
        else
            journal->latest[slot] = 0; /* cleared by a purge */
    }
    journal->carried_upto = wanted;
    atomic_store_explicit(&journal->carry_sequence, journal_appended(journal),
                          memory_order_relaxed);
    /* Pairs with the keeper's acquire: carry_sequence comes first. */
    atomic_store_explicit(&journal->carry_done, wanted, memory_order_release);
    pthread_mutex_lock(&journal->lock);
    pthread_cond_signal(&journal->keep_wanted);
    pthread_mutex_unlock(&journal->lock);
}

/* --------------------------------------------------------------------- open */

static bool make_locks(struct journal *journal)
{
    pthread_condattr_t monotonic;
    return pthread_condattr_init(&monotonic) == 0 &&
           pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC) == 0 &&
           pthread_mutex_init(&journal->lock, NULL) == 0 &&
           pthread_mutex_init(&journal->commit_lock, NULL) == 0 &&
           pthread_cond_init(&journal->commit_wanted, &monotonic) == 0 &&
           pthread_cond_init(&journal->keep_wanted, &monotonic) == 0 &&
           pthread_cond_init(&journal->prepared_changed, &monotonic) == 0;
}

static enum status open_segment(struct journal *journal, uint64_t number,
                                const struct journal_end *end, struct explain *why)
{
    const struct journal_disk *disk = journal->settings.disk;
    char name[JOURNAL_NAME_SIZE], path[JOURNAL_PATH_SIZE];
    journal_format_segment_name(name, number);
    journal_files_path(path, journal->directory, name);
    struct journal_segment segment = {.fd = disk->open(disk->context, path, JOURNAL_DISK_WRITE),
                                      .number = number,
                                      .is_full = number != end->segment};
    if (segment.fd < 0)
        return explain(why, STATUS_SYSTEM, "%s cannot be opened: %m", path);
    if (disk->sync(disk->context, segment.fd) != 0) {
        explain_in(why, "%s could not be synced: %m", path);
        disk->close(disk->context, segment.fd);
        return STATUS_SYSTEM;
    }
    if (segment.is_full) {
        disk->close(disk->context, segment.fd);
        return STATUS_OK;
    }
    segment.records = end->records;
    segment.seed = end->seed;
    segment.first_sequence = end->next_sequence - end->used;
    journal->current = segment;
    return STATUS_OK;
}

/* Everything up to the end is synced by us, whoever wrote it. What lies behind
 * the open segment is empty and is made anew when it is wanted. */
static enum status open_segments(struct journal *journal, const struct journal_end *end,
                                 struct explain *why)
{
    enum status status = STATUS_OK;
    if (end->segments == 0)
        return journal_segment_make(journal, end->last_digest + 1, end->next_sequence,
                                    &journal->current, why);
    for (uint64_t n = end->last_digest + 1; status == STATUS_OK && n <= end->segment; n++)
        status = open_segment(journal, n, end, why);
    journal->used = end->used;
    return status;
}

static enum status take_id(void *journal, const struct journal_entry *entry, struct explain *why)
{
    (void)why;
    if (entry->kind == JOURNAL_ACCEPTED)
        journal_ids_add(((struct journal *)journal)->ids, &entry->payment.id);
    return STATUS_OK;
}

static enum status find_end(struct journal *journal, struct journal_end *end, struct explain *why)
{
    struct journal_visitor ids = {.context = journal, .entry = take_id};
    enum status status = journal_scan(journal->settings.disk, journal->directory,
                                      &journal->identity, &ids, end, why);
    if (status == STATUS_OK && end->cut)
        status = explain(why, STATUS_DAMAGED,
                         "the journal has no clean end: %" PRIu64 " records behind %.300s",
                         end->cut, end->where);
    return status;
}

/* The youngest digest, and how much all files take. Files that are left from
 * what was cut short go: they would be read by nobody. */
static enum status read_digested(struct journal *journal, struct explain *why)
{
    struct journal_files files;
    const struct journal_disk *disk = journal->settings.disk;
    enum status status = journal_files_list(&files, disk, journal->directory, why);
    if (status != STATUS_OK)
        return status;
    size_t length = journal_files_chain(&files, disk, journal->directory, &journal->identity, why);
    if (length == 0)
        status = STATUS_DAMAGED;
    for (size_t i = 0; status == STATUS_OK && i < length; i++) {
        status = journal_scan_digest_header(disk, journal->directory, &journal->identity,
                                            files.digests[i], &journal->digested, why);
        journal->bytes += journal_keeper_bytes(&journal->digested);
    }
    journal->highest = journal->digested.last;
    /* The digest's name is on disk before what it stands for goes. */
    if (status == STATUS_OK && disk->sync_directory(disk->context, journal->directory) != 0)
        status = explain(why, STATUS_SYSTEM, "%s could not be synced: %m", journal->directory);
    for (size_t i = 0; status == STATUS_OK && i < files.segment_count; i++)
        if (files.segments[i] <= journal->digested.last)
            journal_keeper_remove_segment(journal, files.segments[i]);
        else
            journal_keeper_note_made(journal, files.segments[i]);
    if (status == STATUS_OK)
        journal_loader_begin(&journal->loader, disk, journal->directory, &journal->identity, &files,
                             length, journal->ids);
    else
        journal_files_free(&files);
    return status;
}

static enum status open_at_end(struct journal *journal, struct explain *why)
{
    struct journal_end end;
    enum status status = find_end(journal, &end, why);
    if (status == STATUS_OK)
        status = open_segments(journal, &end, why);
    if (status == STATUS_OK)
        status = read_digested(journal, why);
    if (status != STATUS_OK)
        return status;
    journal->unsynced[0] = journal->current;
    journal->unsynced_count = 1;
    journal->current_number = journal->current.number;
    journal->next_first_sequence = journal->current.first_sequence + journal->current.records;
    journal->kicked = end.next_sequence - 1;
    atomic_init(&journal->appended, end.next_sequence - 1);
    atomic_init(&journal->durable, end.next_sequence - 1);
    while (!journal->loader.done && journal->loader.cost < LOAD_AT_OPEN)
        journal_keeper_load(journal);
    return STATUS_OK;
}

static void release(struct journal *journal)
{
    const struct journal_disk *disk = journal->settings.disk;
    if (journal->unsynced_count == 0 && journal->current.fd >= 0)
        disk->close(disk->context, journal->current.fd);
    for (unsigned i = 0; i < journal->unsynced_count; i++)
        disk->close(disk->context, journal->unsynced[i].fd);
    if (journal->prepared.fd >= 0)
        disk->close(disk->context, journal->prepared.fd);
    journal_loader_end(&journal->loader);
    journal_ids_destroy(journal->ids);
    free(journal->latest);
    free(journal);
}

enum status journal_open(struct journal **opened, const char *directory,
                         const struct journal_identity *identity,
                         const struct journal_settings *settings, struct explain *why)
{
    *opened = NULL;
    struct journal *journal = calloc(1, sizeof *journal);
    if (!journal)
        return explain(why, STATUS_SYSTEM, "out of memory for a journal");
    journal->settings = *settings;
    journal->identity = *identity;
    journal->current.fd = journal->prepared.fd = journal->loader.fd = -1;
    snprintf(journal->directory, sizeof journal->directory, "%s", directory);
    journal->latest = calloc(settings->slots, sizeof *journal->latest);
    journal->ids = journal_ids_create(
        settings->bytes_max / sizeof(struct uuid),
        &(struct uuid){.hi = identity->region_id_hi, .lo = identity->region_id_lo});
    enum status status = STATUS_OK;
    if (!journal->latest || !journal->ids || !make_locks(journal))
        status = explain(why, STATUS_SYSTEM, "out of memory for a journal");
    if (status == STATUS_OK)
        status = open_at_end(journal, why);
    if (status == STATUS_OK)
        *opened = journal;
    else
        release(journal);
    return status;
}

enum status journal_start(struct journal *journal, struct explain *why)
{
    journal_commit_now(journal);
    if (journal_has_failed(journal))
        return explain(why, STATUS_SYSTEM, "the journal in %s has failed", journal->directory);
    journal->started = true;
    errno = pthread_create(&journal->commit_thread, NULL, commit_run, journal);
    if (errno != 0) {
        journal->started = false;
        return explain(why, STATUS_SYSTEM, "cannot start a journal's thread: %m");
    }
    errno = pthread_create(&journal->keeper_thread, NULL, journal_keeper_run, journal);
    if (errno == 0)
        return STATUS_OK;
    journal_fail(journal, "cannot start a journal's thread: %m");
    pthread_join(journal->commit_thread, NULL);
    journal->started = false;
    return explain(why, STATUS_SYSTEM, "cannot start a journal's thread");
}

void journal_close(struct journal *journal)
{
    if (journal->started) {
        pthread_mutex_lock(&journal->lock);
        journal->stopping = true;
        pthread_cond_broadcast(&journal->commit_wanted);
        pthread_cond_broadcast(&journal->keep_wanted);
        pthread_mutex_unlock(&journal->lock);
        pthread_join(journal->commit_thread, NULL);
        pthread_join(journal->keeper_thread, NULL);
    }
    journal_commit_now(journal);
    release(journal);
}
