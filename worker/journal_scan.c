#include "worker/journal_scan.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/crc32c.h"

/* Names are for the start of a journal and for its keeper: no path is on a payment's way. */
void journal_files_path(char path[static JOURNAL_PATH_SIZE], const char *directory,
                        const char *name)
{
    int length = snprintf(path, JOURNAL_PATH_SIZE, "%s/%s", directory, name);
    CHECK(length > 0 && length < (int)JOURNAL_PATH_SIZE);
}

/* ------------------------------------------------------------------- files */

struct listing {
    struct journal_files *files;
    bool out_of_memory;
};

static bool add(uint64_t **numbers, size_t *count, uint64_t number)
{
    /* In steps of powers of two: there is room unless the count is one. */
    if ((*count & (*count - 1)) == 0) {
        uint64_t *more = realloc(*numbers, (*count ? *count * 2 : 1) * sizeof **numbers);
        if (!more)
            return false;
        *numbers = more;
    }
    (*numbers)[(*count)++] = number;
    return true;
}

static void note_name(void *context, const char *name)
{
    struct listing *listing = context;
    struct journal_files *files = listing->files;
    uint64_t number;
    bool kept = true;
    if (journal_format_is_segment_name(name, &number))
        kept = add(&files->segments, &files->segment_count, number);
    else if (journal_format_is_digest_name(name, &number))
        kept = add(&files->digests, &files->digest_count, number);
    listing->out_of_memory |= !kept;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

enum status journal_files_list(struct journal_files *files, const struct journal_disk *disk,
                               const char *directory, struct explain *why)
{
    struct listing listing = {.files = files};
    *files = (struct journal_files){0};
    if (disk->list(disk->context, directory, note_name, &listing) != 0) {
        enum status status = errno == ENOENT ? STATUS_NOT_FOUND : STATUS_SYSTEM;
        return explain(why, status, "%s cannot be read: %m", directory);
    }
    if (listing.out_of_memory) {
        journal_files_free(files);
        return explain(why, STATUS_SYSTEM, "out of memory for the files of %s", directory);
    }
    if (files->digest_count)
        qsort(files->digests, files->digest_count, sizeof *files->digests, by_number);
    if (files->segment_count)
        qsort(files->segments, files->segment_count, sizeof *files->segments, by_number);
    return STATUS_OK;
}

void journal_files_free(struct journal_files *files)
{
    free(files->digests);
    free(files->segments);
    *files = (struct journal_files){0};
}

static int open_named(const struct journal_disk *disk, const char *directory, const char *name,
                      struct explain *why)
{
    char path[JOURNAL_PATH_SIZE];
    journal_files_path(path, directory, name);
    int fd = disk->open(disk->context, path, JOURNAL_DISK_READ);
    if (fd < 0)
        explain_in(why, "%s cannot be opened: %m", path);
    return fd;
}

static enum status read_digest_header(const struct journal_disk *disk, const char *directory,
                                      uint64_t last, struct journal_digest_header *header,
                                      struct explain *why)
{
    char name[JOURNAL_NAME_SIZE];
    journal_format_digest_name(name, last);
    int fd = open_named(disk, directory, name, why);
    if (fd < 0)
        return STATUS_SYSTEM;
    int result = journal_disk_read_all(disk, fd, header, sizeof *header, 0);
    disk->close(disk->context, fd);
    if (result == 0)
        return STATUS_OK;
    return explain(why, errno == EIO ? STATUS_DAMAGED : STATUS_SYSTEM, "%s/%s has no header: %m",
                   directory, name);
}

static enum status in_file(struct explain *why, enum status status, const char *directory,
                           const char *name, const struct explain *reason)
{
    return explain(why, status, "%.180s/%s: %.250s", directory, name, reason->text);
}

enum status journal_scan_digest_header(const struct journal_disk *disk, const char *directory,
                                       const struct journal_identity *identity, uint64_t last,
                                       struct journal_digest_header *header, struct explain *why)
{
    char name[JOURNAL_NAME_SIZE];
    struct explain reason = {{0}};
    enum status status = read_digest_header(disk, directory, last, header, why);
    if (status != STATUS_OK)
        return status;
    status = journal_format_check_digest(header, identity, last, &reason);
    journal_format_digest_name(name, last);
    return status == STATUS_OK ? status : in_file(why, status, directory, name, &reason);
}

enum status journal_scan_whose(const struct journal_disk *disk, const char *directory,
                               struct journal_identity *identity, struct explain *why)
{
    struct journal_files files;
    struct journal_digest_header header;
    enum status status = journal_files_list(&files, disk, directory, why);
    if (status != STATUS_OK)
        return status;
    if (files.digest_count == 0)
        status = explain(why, files.segment_count ? STATUS_DAMAGED : STATUS_NOT_FOUND,
                         "there is no digest in %s", directory);
    else
        status = STATUS_DAMAGED;
    for (size_t i = files.digest_count; status == STATUS_DAMAGED && i-- > 0;)
        status = read_digest_header(disk, directory, files.digests[i], &header, why);
    if (status == STATUS_OK)
        *identity = (struct journal_identity){
            .region_id_hi = header.region_id_hi,
            .region_id_lo = header.region_id_lo,
            .lane = header.lane,
        };
    journal_files_free(&files);
    return status;
}

static bool has_digest(const struct journal_files *files, uint64_t last, size_t *place)
{
    for (*place = files->digest_count; (*place)-- > 0;)
        if (files->digests[*place] == last)
            return true;
    return false;
}

/* From the youngest down: each says where the one before it has to end. */
size_t journal_files_chain(struct journal_files *files, const struct journal_disk *disk,
                           const char *directory, const struct journal_identity *identity,
                           struct explain *why)
{
    size_t place = files->digest_count - 1, length = 0;
    uint64_t *chain = calloc(files->digest_count, sizeof *chain);
    struct journal_digest_header header = {.first = 1};
    if (!chain)
        explain_in(why, "out of memory for the digests of %s", directory);
    while (chain && header.first > 0) {
        if (length > 0 && !has_digest(files, header.first - 1, &place)) {
            explain_in(why, "%s: the digest of segment %" PRIu64 " is missing", directory,
                       header.first - 1);
            length = 0;
            break;
        }
        chain[length++] = files->digests[place];
        if (journal_scan_digest_header(disk, directory, identity, files->digests[place], &header,
                                       why) != STATUS_OK) {
            length = 0;
            break;
        }
    }
    for (size_t i = 0; i < length; i++)
        files->digests[i] = chain[length - 1 - i];
    free(chain);
    return length;
}

/* ------------------------------------------------------------------ digests */

/* Read a whole file; the caller frees. NULL: why says it. */
static uint8_t *read_file(const struct journal_disk *disk, const char *directory, const char *name,
                          uint64_t *size, enum status *status, struct explain *why)
{
    int fd = open_named(disk, directory, name, why);
    *status = STATUS_SYSTEM;
    if (fd < 0)
        return NULL;
    int64_t length = disk->size(disk->context, fd);
    uint8_t *bytes = length > 0 ? malloc((size_t)length) : NULL;
    *size = (uint64_t)length;
    if (length == 0) {
        *status = explain(why, STATUS_DAMAGED, "%s/%s is empty", directory, name);
    } else if (!bytes) {
        explain_in(why, "%s/%s: no memory for its %" PRId64 " bytes", directory, name, length);
    } else if (journal_disk_read_all(disk, fd, bytes, (size_t)length, 0) != 0) {
        explain_in(why, "%s/%s cannot be read: %m", directory, name);
        free(bytes);
        bytes = NULL;
    }
    disk->close(disk->context, fd);
    if (bytes)
        *status = STATUS_OK;
    return bytes;
}

static enum status visit_digest(const uint8_t *bytes, uint64_t size,
                                const struct journal_visitor *visitor, struct explain *why)
{
    struct journal_digest digest;
    memcpy(&digest.header, bytes, sizeof digest.header);
    uint64_t body = journal_format_digest_body(&digest.header);
    if (size < sizeof digest.header + body)
        return explain(why, STATUS_DAMAGED, "it ends at byte %" PRIu64 ", not at %" PRIu64, size,
                       sizeof digest.header + body);
    bytes += sizeof digest.header;
    if (crc32c(0, bytes, body) != digest.header.body_checksum)
        return explain(why, STATUS_DAMAGED, "the checksum of its contents does not fit");
    /* Aligned: the header has 192 bytes and each part whole words. */
    const void *ids = bytes;
    digest.ids = ids;
    digest.rows = (const void *)(digest.ids + digest.header.ids);
    digest.images = (const void *)(digest.rows + digest.header.rows);
    return visitor->digest ? visitor->digest(visitor->context, &digest, why) : STATUS_OK;
}

enum status journal_scan_digest(const struct journal_disk *disk, const char *directory,
                                const struct journal_identity *identity, uint64_t last,
                                const struct journal_visitor *visitor, struct explain *why)
{
    char name[JOURNAL_NAME_SIZE];
    uint64_t size = 0;
    struct explain reason = {{0}};
    struct journal_digest_header header;
    enum status status = journal_scan_digest_header(disk, directory, identity, last, &header, why);
    if (status != STATUS_OK)
        return status;
    journal_format_digest_name(name, last);
    uint8_t *bytes = read_file(disk, directory, name, &size, &status, why);
    if (!bytes)
        return status;
    status = visit_digest(bytes, size, visitor, &reason);
    free(bytes);
    return status == STATUS_OK ? status : in_file(why, status, directory, name, &reason);
}

bool journal_scan_image(const struct journal_digest *digest, uint64_t place,
                        struct journal_payment *payment)
{
    struct journal_entry entry;
    CHECK(place < digest->header.images);
    /* Begun with 0: the header's checksum is made after the body's, which covers the image. */
    bool whole = journal_format_unpack(&entry, &digest->images[place], 0, place + 1);
    *payment = entry.payment;
    return whole;
}

/* ----------------------------------------------------------------- segments */

struct scan {
    const struct journal_disk *disk;
    const char *directory;
    const struct journal_identity *identity;
    const struct journal_visitor *visitor;
    struct journal_end *end;
    uint64_t bad_sequence; /* of the first record that is not whole; 0 = none so far */
    char bad_place[JOURNAL_PATH_SIZE];
};

static bool is_zero(const struct journal_record *record)
{
    static const struct journal_record nothing;
    return memcmp(record, &nothing, sizeof nothing) == 0;
}

static void describe_place(char place[static JOURNAL_PATH_SIZE], const char *directory,
                           uint64_t number, uint32_t index)
{
    char name[JOURNAL_NAME_SIZE];
    journal_format_segment_name(name, number);
    snprintf(place, JOURNAL_PATH_SIZE, "%.400s/%s at byte %" PRIu64, directory, name,
             (uint64_t)(index + 1) * JOURNAL_RECORD_SIZE);
}

/* A record that is not whole: the end, unless a later one proves the contrary. */
static void note_bad(struct scan *scan, const struct journal_record *record, uint64_t number,
                     uint32_t index, uint64_t sequence)
{
    scan->end->cut += !is_zero(record);
    if (scan->bad_sequence)
        return;
    scan->bad_sequence = sequence;
    describe_place(scan->bad_place, scan->directory, number, index);
}

static enum status take_record(struct scan *scan, const struct journal_record *record,
                               uint64_t number, uint32_t index, uint32_t seed, uint64_t sequence,
                               struct explain *why)
{
    struct journal_entry entry;
    if (!journal_format_unpack(&entry, record, seed, sequence)) {
        note_bad(scan, record, number, index, sequence);
        return STATUS_OK;
    }
    if (scan->bad_sequence) {
        if (entry.durable >= scan->bad_sequence)
            return explain(why, STATUS_DAMAGED,
                           "the journal is damaged in %.300s: a record that was on disk is not "
                           "whole, and %" PRIu64 " records later there is one that is",
                           scan->bad_place, sequence - scan->bad_sequence);
        scan->end->cut++;
        return STATUS_OK;
    }
    scan->end->segment = number;
    scan->end->used = index + 1;
    scan->end->next_sequence = sequence + 1;
    return scan->visitor->entry ? scan->visitor->entry(scan->visitor->context, &entry, why)
                                : STATUS_OK;
}

static enum status check_segment(struct scan *scan, const uint8_t *bytes, uint64_t size,
                                 uint64_t number, struct journal_segment_header *header,
                                 struct explain *why)
{
    memset(header, 0, sizeof *header);
    memcpy(header, bytes, size < sizeof *header ? size : sizeof *header);
    enum status status = journal_format_check_segment(header, scan->identity, number, why);
    if (status != STATUS_OK)
        return status;
    if (size < (uint64_t)(header->records + 1) * JOURNAL_RECORD_SIZE)
        return explain(why, STATUS_DAMAGED, "it has %" PRIu64 " bytes, too few for %u records",
                       size, header->records);
    return STATUS_OK;
}

static enum status take_segment(struct scan *scan, const uint8_t *bytes, uint64_t size,
                                uint64_t number, uint64_t *sequence, struct explain *why)
{
    struct journal_segment_header header;
    enum status status = check_segment(scan, bytes, size, number, &header, why);
    if (status != STATUS_OK)
        return status;
    if (*sequence && header.first_sequence != *sequence)
        return explain(why, STATUS_DAMAGED, "it begins with record %" PRIu64 ", not %" PRIu64,
                       header.first_sequence, *sequence);
    *sequence = header.first_sequence + header.records;
    if (!scan->bad_sequence) {
        scan->end->segment = number;
        scan->end->used = 0;
        scan->end->records = header.records;
        scan->end->seed = header.checksum;
        scan->end->next_sequence = header.first_sequence;
    }
    for (uint32_t i = 0; status == STATUS_OK && i < header.records; i++) {
        struct journal_record record;
        memcpy(&record, bytes + (size_t)(i + 1) * JOURNAL_RECORD_SIZE, sizeof record);
        status =
            take_record(scan, &record, number, i, header.checksum, header.first_sequence + i, why);
    }
    return status;
}

static enum status read_segment(struct scan *scan, uint64_t number, uint64_t *sequence,
                                struct explain *why)
{
    char name[JOURNAL_NAME_SIZE];
    uint64_t size = 0;
    enum status status;
    struct explain reason = {{0}};
    journal_format_segment_name(name, number);
    uint8_t *bytes = read_file(scan->disk, scan->directory, name, &size, &status, why);
    if (!bytes)
        return status;
    status = take_segment(scan, bytes, size, number, sequence, &reason);
    free(bytes);
    if (status == STATUS_OK)
        return status;
    /* It names its place already where it tells of a record. */
    bool is_placed = strstr(reason.text, name) != NULL;
    return is_placed ? explain(why, status, "%s", reason.text)
                     : in_file(why, status, scan->directory, name, &reason);
}

enum status journal_scan_segment(const struct journal_disk *disk, const char *directory,
                                 const struct journal_identity *identity, uint64_t number,
                                 const struct journal_visitor *visitor, struct explain *why)
{
    struct journal_end end = {0};
    struct scan scan = {.disk = disk,
                        .directory = directory,
                        .identity = identity,
                        .visitor = visitor,
                        .end = &end};
    uint64_t sequence = 0;
    enum status status = read_segment(&scan, number, &sequence, why);
    if (status == STATUS_OK && scan.bad_sequence)
        return explain(why, STATUS_DAMAGED, "the journal is damaged in %.300s", scan.bad_place);
    return status;
}

static enum status scan_digests(struct scan *scan, struct journal_files *files, uint64_t *sequence,
                                struct explain *why)
{
    if (files->digest_count == 0)
        return explain(why, files->segment_count ? STATUS_DAMAGED : STATUS_NOT_FOUND,
                       "there is no digest in %s", scan->directory);
    size_t length = journal_files_chain(files, scan->disk, scan->directory, scan->identity, why);
    if (length == 0)
        return STATUS_DAMAGED;
    enum status status = STATUS_OK;
    struct journal_digest_header header = {0};
    for (size_t i = 0; scan->visitor->digest && status == STATUS_OK && i < length; i++)
        status = journal_scan_digest(scan->disk, scan->directory, scan->identity, files->digests[i],
                                     scan->visitor, why);
    if (status == STATUS_OK)
        status = read_digest_header(scan->disk, scan->directory, files->digests[length - 1],
                                    &header, why);
    scan->end->last_digest = header.last;
    scan->end->next_sequence = *sequence = header.next_sequence;
    return status;
}

static enum status scan_segments(struct scan *scan, const struct journal_files *files,
                                 uint64_t sequence, struct explain *why)
{
    enum status status = STATUS_OK;
    uint64_t number = scan->end->last_digest;
    for (size_t i = 0; status == STATUS_OK && i < files->segment_count; i++) {
        if (files->segments[i] <= scan->end->last_digest)
            continue; /* digested; its removal was cut short */
        if (files->segments[i] != ++number)
            return explain(why, STATUS_DAMAGED, "%s: segment %016" PRIx64 " is missing",
                           scan->directory, number);
        scan->end->segments++;
        status = read_segment(scan, number, &sequence, why);
    }
    if (scan->end->cut)
        memcpy(scan->end->where, scan->bad_place, sizeof scan->end->where);
    return status;
}

enum status journal_scan(const struct journal_disk *disk, const char *directory,
                         const struct journal_identity *identity,
                         const struct journal_visitor *visitor, struct journal_end *end,
                         struct explain *why)
{
    struct journal_files files;
    struct scan scan = {
        .disk = disk, .directory = directory, .identity = identity, .visitor = visitor, .end = end};
    uint64_t sequence = 0;
    *end = (struct journal_end){0};
    enum status status = journal_files_list(&files, disk, directory, why);
    if (status != STATUS_OK)
        return status;
    status = scan_digests(&scan, &files, &sequence, why);
    if (status == STATUS_OK)
        status = scan_segments(&scan, &files, sequence, why);
    journal_files_free(&files);
    return status;
}
