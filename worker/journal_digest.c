#include "worker/journal_digest.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/crash_point.h"
#include "common/crc32c.h"
#include "shm/shm_ledger.h"
#include "worker/journal_fold.h"

#define BUFFER_SIZE 65536u

static void fail(struct journal_digest_writer *writer, const char *what)
{
    if (writer->status == STATUS_OK)
        writer->status =
            explain(&writer->why, STATUS_SYSTEM, "%.300s cannot be %s: %m", writer->path, what);
}

void journal_digest_begin(struct journal_digest_writer *writer, const struct journal_disk *disk,
                          const char *directory, const struct journal_identity *identity,
                          uint64_t first, uint64_t last)
{
    char name[JOURNAL_NAME_SIZE], half[JOURNAL_NAME_SIZE + 4];
    *writer = (struct journal_digest_writer){
        .disk = disk,
        .identity = *identity,
        .header = {.first = first, .last = last, .lowest_bound_us = INT64_MAX, .next_sequence = 1},
    };
    snprintf(writer->directory, sizeof writer->directory, "%s", directory);
    journal_format_digest_name(name, last);
    snprintf(half, sizeof half, "%s.new", name);
    journal_files_path(writer->path, directory, half);
    writer->buffer = malloc(BUFFER_SIZE);
    if (!writer->buffer)
        writer->status = explain(&writer->why, STATUS_SYSTEM, "out of memory for a digest");
    writer->fd = disk->open(disk->context, writer->path, JOURNAL_DISK_CREATE);
    if (writer->fd < 0)
        fail(writer, "made");
}

static void flush(struct journal_digest_writer *writer)
{
    if (writer->status != STATUS_OK || writer->filled == 0)
        return;
    writer->checksum = crc32c(writer->checksum, writer->buffer, writer->filled);
    if (journal_disk_write_all(writer->disk, writer->fd, writer->buffer, writer->filled,
                               sizeof writer->header + writer->written) != 0)
        fail(writer, "written");
    writer->written += writer->filled;
    writer->filled = 0;
}

static void put(struct journal_digest_writer *writer, const void *bytes, uint64_t size)
{
    const uint8_t *from = bytes;
    while (writer->status == STATUS_OK && size > 0) {
        size_t part = BUFFER_SIZE - writer->filled;
        if (part > size)
            part = (size_t)size;
        memcpy(writer->buffer + writer->filled, from, part);
        writer->filled += part;
        from += part;
        size -= part;
        if (writer->filled == BUFFER_SIZE)
            flush(writer);
    }
}

void journal_digest_put_ids(struct journal_digest_writer *writer, const struct uuid *ids,
                            uint64_t count)
{
    CHECK(writer->header.rows == 0 && writer->header.images == 0);
    writer->header.ids += count;
    put(writer, ids, count * sizeof *ids);
}

void journal_digest_put_rows(struct journal_digest_writer *writer, const uint64_t *words,
                             uint64_t count)
{
    CHECK(writer->header.images == 0);
    writer->header.rows += count;
    put(writer, words, count * sizeof *words);
}

void journal_digest_put_image(struct journal_digest_writer *writer,
                              const struct journal_payment *payment)
{
    struct journal_record record;
    struct journal_entry entry = {
        .kind = JOURNAL_CARRIED,
        .sequence = writer->header.images + 1,
        .durable = writer->header.images,
        .payment = *payment,
    };
    writer->header.images++;
    journal_format_pack(&record, &entry, 0);
    put(writer, &record, sizeof record);
}

/* Contents, then the header in front of them, then both on disk. */
static void complete(struct journal_digest_writer *writer)
{
    const struct journal_disk *disk = writer->disk;
    flush(writer);
    if (writer->status != STATUS_OK)
        return;
    writer->header.body_checksum = writer->checksum;
    journal_format_seal_digest(&writer->header, &writer->identity);
    if (journal_disk_write_all(disk, writer->fd, &writer->header, sizeof writer->header, 0) != 0)
        fail(writer, "written");
    else if (disk->sync(disk->context, writer->fd) != 0)
        fail(writer, "synced");
    CRASH_POINT_IF(writer->status == STATUS_OK, digest_synced);
}

static void give_name(struct journal_digest_writer *writer)
{
    const struct journal_disk *disk = writer->disk;
    char name[JOURNAL_NAME_SIZE], path[JOURNAL_PATH_SIZE];
    journal_format_digest_name(name, writer->header.last);
    journal_files_path(path, writer->directory, name);
    if (disk->rename(disk->context, writer->path, path) != 0)
        fail(writer, "renamed");
    else if (disk->sync_directory(disk->context, writer->directory) != 0)
        fail(writer, "made durable in its directory");
    CRASH_POINT_IF(writer->status == STATUS_OK, digest_named);
}

void journal_digest_abandon(struct journal_digest_writer *writer)
{
    if (writer->fd >= 0)
        writer->disk->close(writer->disk->context, writer->fd);
    free(writer->buffer);
    writer->fd = -1;
    writer->buffer = NULL;
    writer->disk->remove(writer->disk->context, writer->path); /* or it is not there */
}

enum status journal_digest_finish(struct journal_digest_writer *writer, struct explain *why)
{
    complete(writer);
    if (writer->status == STATUS_OK)
        give_name(writer);
    enum status status = writer->status;
    if (status != STATUS_OK)
        explain_in(why, "%s", writer->why.text);
    journal_digest_abandon(writer);
    return status;
}

/* ------------------------------------------------------------- one segment */

struct collected {
    struct journal_digest_header header; /* of the digest to be */
    struct uuid *ids;
    uint64_t *rows;
    uint64_t ids_capacity, rows_capacity;
};

static bool reserve(void **array, uint64_t *capacity, uint64_t wanted, size_t size)
{
    if (wanted <= *capacity)
        return true;
    uint64_t larger = *capacity * 2 > wanted ? *capacity * 2 : wanted + 256;
    void *more = realloc(*array, larger * size);
    if (!more)
        return false;
    *array = more;
    *capacity = larger;
    return true;
}

static bool collect_id(struct collected *c, const struct uuid *id)
{
    void *ids = c->ids;
    bool room = reserve(&ids, &c->ids_capacity, c->header.ids + 1, sizeof *c->ids);
    c->ids = ids;
    if (room)
        c->ids[c->header.ids++] = *id;
    return room;
}

/* Rows from `row` on do not exist (yet): a new owner said so, or they are told of again. */
static void cut_rows(struct collected *c, uint64_t row)
{
    if (row < c->header.row_first) {
        c->header.row_first = row;
        c->header.rows = 0;
    } else if (row < c->header.row_first + c->header.rows) {
        c->header.rows = row - c->header.row_first;
    }
}

static bool collect_row(struct collected *c, const struct journal_payment *payment)
{
    struct shm_row row = {payment->processor, payment->amount_cents, payment->requested_at_us};
    uint64_t words[SHM_ROWS_PER_PAYMENT_MAX];
    void *rows = c->rows;
    cut_rows(c, payment->row - 1);
    bool room = reserve(&rows, &c->rows_capacity, c->header.rows + SHM_ROWS_PER_PAYMENT_MAX + 1,
                        sizeof *c->rows);
    c->rows = rows;
    if (!room)
        return false;
    unsigned count = shm_ledger_pack(words, &row, c->header.base_time_ms);
    if (journal_fold_fillers(payment->row - 1, count, c->header.segment_rows))
        c->rows[c->header.rows++] = SHM_ROW_FILLER;
    memcpy(c->rows + c->header.rows, words, count * sizeof *words);
    c->header.rows += count;
    return true;
}

static void lower_bound(struct journal_digest_header *header, int64_t us)
{
    if (us < header->lowest_bound_us)
        header->lowest_bound_us = us;
}

static enum status collect(void *context, const struct journal_entry *entry, struct explain *why)
{
    struct collected *c = context;
    const struct journal_payment *payment = &entry->payment;
    bool room = true;
    c->header.next_sequence = entry->sequence + 1;
    if (entry->kind == JOURNAL_ACCEPTED)
        room = collect_id(c, &payment->id);
    if (entry->kind == JOURNAL_BOUND || entry->kind == JOURNAL_OPENED ||
        payment->state == PAYMENT_SETTLED)
        lower_bound(&c->header, payment->requested_at_us);
    if (payment->state == PAYMENT_SETTLED)
        room = collect_row(c, payment);
    if (entry->kind == JOURNAL_OPENED) {
        cut_rows(c, payment->row);
        c->header.flags |= payment->flags & JOURNAL_MAY_MISS;
    }
    if (entry->kind == JOURNAL_PURGED) {
        c->header.first_row = payment->row;
        c->header.purge_generation = payment->purge_generation;
    }
    return room ? STATUS_OK : explain(why, STATUS_SYSTEM, "out of memory for a digest");
}

static void take_scalars(struct journal_digest_header *to, const struct journal_digest_header *from)
{
    to->lanes = from->lanes;
    to->flags = from->flags;
    to->base_time_ms = from->base_time_ms;
    to->row_first = from->row_first;
    to->first_row = from->first_row;
    to->filed_rows = from->filed_rows;
    to->segment_rows = from->segment_rows;
    to->ledger_id_hi = from->ledger_id_hi;
    to->ledger_id_lo = from->ledger_id_lo;
    to->lowest_bound_us = from->lowest_bound_us;
    to->purge_generation = from->purge_generation;
    to->next_sequence = from->next_sequence;
}

/* What the digest before it hands on. */
static struct journal_digest_header following(const struct journal_digest_header *before)
{
    struct journal_digest_header header = {0};
    take_scalars(&header, before);
    header.row_first = before->row_first + before->rows;
    return header;
}

enum status journal_digest_segment(const struct journal_disk *disk, const char *directory,
                                   const struct journal_identity *identity,
                                   struct journal_digest_header *before, uint64_t number,
                                   struct explain *why)
{
    struct journal_digest_writer writer;
    struct collected c = {.header = following(before)};
    struct journal_visitor visitor = {.context = &c, .entry = collect};
    CHECK(before->last + 1 == number);
    enum status status = journal_scan_segment(disk, directory, identity, number, &visitor, why);
    if (status == STATUS_OK) {
        journal_digest_begin(&writer, disk, directory, identity, number, number);
        take_scalars(&writer.header, &c.header);
        journal_digest_put_ids(&writer, c.ids, c.header.ids);
        journal_digest_put_rows(&writer, c.rows, c.header.rows);
        status = journal_digest_finish(&writer, why);
    }
    if (status == STATUS_OK)
        *before = writer.header;
    free(c.ids);
    free(c.rows);
    return status;
}

/* ------------------------------------------------------------------- merging */

struct merge {
    struct journal_digest_writer writer;
    uint64_t *rows; /* they come after all ids: kept until then */
    uint64_t capacity;
    struct journal_digest_header header;
    uint64_t digests;
    bool forget_ids;
};

static enum status merge_one(void *context, const struct journal_digest *digest,
                             struct explain *why)
{
    struct merge *merge = context;
    const struct journal_digest_header *header = &digest->header;
    struct journal_digest_header *all = &merge->header;
    bool is_beginning =
        header->row_first > all->row_first + all->rows &&
        (header->first_row >= header->row_first || header->filed_rows >= header->row_first);
    if (merge->digests++ == 0 || header->row_first < all->row_first || is_beginning) {
        all->row_first = header->row_first;
        all->rows = 0;
    }
    if (header->row_first > all->row_first + all->rows)
        return explain(why, STATUS_DAMAGED, "ledger rows are missing before it");
    all->rows = header->row_first - all->row_first;
    void *rows = merge->rows;
    bool room = reserve(&rows, &merge->capacity, all->rows + header->rows, sizeof *merge->rows);
    merge->rows = rows;
    if (!room)
        return explain(why, STATUS_SYSTEM, "out of memory for a digest");
    if (header->rows)
        memcpy(merge->rows + all->rows, digest->rows, header->rows * sizeof *digest->rows);
    all->rows += header->rows;
    uint64_t rows_now = all->rows, row_first = all->row_first;
    take_scalars(all, header);
    all->rows = rows_now;
    all->row_first = row_first;
    if (!merge->forget_ids)
        journal_digest_put_ids(&merge->writer, digest->ids, header->ids);
    return STATUS_OK;
}

/* Rows that count no more or are filed are not kept. */
static void put_rows_that_count(struct merge *merge)
{
    struct journal_digest_header *all = &merge->header;
    uint64_t from = all->first_row > all->filed_rows ? all->first_row : all->filed_rows;
    uint64_t skipped = from > all->row_first ? from - all->row_first : 0;
    if (skipped > all->rows)
        skipped = all->rows;
    all->row_first += skipped;
    take_scalars(&merge->writer.header, all);
    journal_digest_put_rows(&merge->writer, merge->rows + skipped, all->rows - skipped);
}

static void remove_merged(const struct journal_disk *disk, const char *directory,
                          const struct journal_files *files, size_t count)
{
    for (size_t i = 0; i + 1 < count; i++) {
        char name[JOURNAL_NAME_SIZE], path[JOURNAL_PATH_SIZE];
        journal_format_digest_name(name, files->digests[i]);
        journal_files_path(path, directory, name);
        disk->remove(disk->context, path); /* one that stays is in nobody's chain */
        CRASH_POINT(digest_merged_gone);
    }
}

/* The images of the first digests are of no use any more: whatever had not ended
 * was told of again in the first segment, when its lane was opened. */
enum status journal_digest_merge(const struct journal_disk *disk, const char *directory,
                                 const struct journal_identity *identity,
                                 const struct journal_files *files, size_t count, bool forget_ids,
                                 struct explain *why)
{
    struct merge merge = {.forget_ids = forget_ids};
    struct journal_visitor visitor = {.context = &merge, .digest = merge_one};
    enum status status = STATUS_OK;
    CHECK(count > 1 && count <= files->digest_count && files->digests[count - 1] > 0);
    journal_digest_begin(&merge.writer, disk, directory, identity, 0, files->digests[count - 1]);
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = journal_scan_digest(disk, directory, identity, files->digests[i], &visitor, why);
    if (status == STATUS_OK) {
        put_rows_that_count(&merge);
        status = journal_digest_finish(&merge.writer, why);
    } else {
        journal_digest_abandon(&merge.writer);
    }
    if (status == STATUS_OK)
        remove_merged(disk, directory, files, count);
    free(merge.rows);
    return status;
}
