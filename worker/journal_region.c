#include "worker/journal_region.h"

#include "common/check.h"

struct journal_identity journal_region_identity(const struct shm_region *region, unsigned lane)
{
    return (struct journal_identity){
        .region_id_hi = region->region_id_hi,
        .region_id_lo = region->region_id_lo,
        .lane = lane,
    };
}

struct journal_payment journal_region_image(const struct shm_payments *payments, uint32_t record)
{
    struct shm_payment_snapshot s;
    shm_payments_owner_get(payments, record, &s);
    return (struct journal_payment){
        .state = s.state,
        .processor = s.processor,
        .flags = s.flags,
        .id = s.id,
        .amount_cents = s.amount_cents,
        .accepted_at_ms = s.accepted_at_ms,
        .requested_at_us = s.requested_at_us,
        .purge_generation = s.purge_generation,
    };
}

/* The words of the lane are the caller's own: relaxed. */
#define OWN(word) atomic_load_explicit(&(word), memory_order_relaxed)

/* An async journal's end, or that of the one that the region was made from. */
static unsigned flags_of(const struct shm_region *region)
{
    bool may_miss =
        region->durability == SHM_DURABILITY_ASYNC || region->origin == SHM_ORIGIN_JOURNAL_ASYNC;
    return may_miss ? JOURNAL_MAY_MISS : 0;
}

struct journal_payment journal_region_opened(const struct shm_region *region, unsigned lane)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    return (struct journal_payment){
        .flags = flags_of(region),
        .amount_cents = (int64_t)OWN(control->presence.epoch),
        .requested_at_us = OWN(control->lowest_bound_us),
        .purge_generation = (uint32_t)OWN(control->purge_applied),
        .row = OWN(control->row_count),
    };
}

static bool is_open(const struct journal_payment *payment)
{
    return payment->state == PAYMENT_QUEUED || payment->state == PAYMENT_SENT;
}

void journal_region_put(struct journal_digest_writer *writer, const struct shm_region *region,
                        unsigned lane)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    struct shm_payments payments;
    uint64_t first_row = OWN(control->first_row), row_count = OWN(control->row_count);
    /* Pairs with the release of who files: those rows are on disk. */
    uint64_t filed_rows = atomic_load_explicit(&control->segments_filed, memory_order_acquire) *
                          region->geometry.ledger_segment_rows;
    uint64_t from = first_row > filed_rows ? first_row : filed_rows;
    if (from > row_count) /* purged, and its segments were filed without files */
        from = row_count;
    shm_payments_open(&payments, region, lane);
    writer->header.lanes = region->geometry.lanes;
    writer->header.flags = flags_of(region);
    writer->header.segment_rows = region->geometry.ledger_segment_rows;
    writer->header.ledger_id_hi = region->ledger_id_hi;
    writer->header.ledger_id_lo = region->ledger_id_lo;
    writer->header.base_time_ms = region->base_time_ms;
    writer->header.row_first = from;
    writer->header.first_row = first_row;
    writer->header.filed_rows = filed_rows;
    writer->header.lowest_bound_us = OWN(control->lowest_bound_us);
    writer->header.purge_generation = (uint32_t)OWN(control->purge_applied);
    for (uint64_t row = from; row < row_count; row++)
        journal_digest_put_rows(
            writer, shm_region_rows(region, lane) + row % region->geometry.ledger_rows, 1);
    for (uint32_t i = 0; i < payments.slots; i++) {
        struct journal_payment payment = journal_region_image(&payments, i);
        if (is_open(&payment))
            journal_digest_put_image(writer, &payment);
    }
}

static enum status put_id(void *context, const struct journal_entry *entry, struct explain *why)
{
    (void)why;
    if (entry->kind == JOURNAL_ACCEPTED)
        journal_digest_put_ids(context, &entry->payment.id, 1);
    return STATUS_OK;
}

/* Whatever was accepted while the journal had failed is in the table alone: its id has to be told
 * of. */
static void put_ids_of_table(struct journal_digest_writer *writer, const struct shm_region *region,
                             unsigned lane)
{
    struct shm_payments payments;
    shm_payments_open(&payments, region, lane);
    for (uint32_t i = 0; i < payments.slots; i++) {
        struct journal_payment payment = journal_region_image(&payments, i);
        if (payment.state != PAYMENT_FREE)
            journal_digest_put_ids(writer, &payment.id, 1);
    }
}

/* Where the new beginning stands: behind everything that has a number. */
struct beginning {
    uint64_t first, last, next_sequence;
};

static struct beginning find_beginning(const struct journal_disk *disk, const char *directory,
                                       const struct journal_identity *identity,
                                       struct journal_files *files, uint32_t segment_records)
{
    struct beginning at = {.next_sequence = 1};
    struct journal_digest_header header;
    if (files->digest_count)
        at.last = files->digests[files->digest_count - 1];
    if (files->segment_count && files->segments[files->segment_count - 1] > at.last)
        at.last = files->segments[files->segment_count - 1];
    at.last++;
    size_t length =
        files->digest_count ? journal_files_chain(files, disk, directory, identity, NULL) : 0;
    if (length > 0 &&
        journal_scan_digest_header(disk, directory, identity, files->digests[length - 1], &header,
                                   NULL) == STATUS_OK) {
        at.first = header.last + 1;
        at.next_sequence =
            header.next_sequence + (uint64_t)(at.last - header.last) * segment_records;
    }
    return at;
}

enum status journal_begin_anew(const struct journal_disk *disk, const char *directory,
                               const struct shm_region *region, unsigned lane,
                               uint32_t segment_records, struct explain *why)
{
    struct journal_files files;
    struct journal_digest_writer writer;
    struct journal_identity identity = journal_region_identity(region, lane);
    enum status status = journal_files_list(&files, disk, directory, why);
    if (status != STATUS_OK)
        return status;
    struct beginning at = find_beginning(disk, directory, &identity, &files, segment_records);
    journal_digest_begin(&writer, disk, directory, &identity, at.first, at.last);
    struct journal_visitor ids = {.context = &writer, .entry = put_id};
    for (size_t i = 0; i < files.segment_count; i++)
        if (files.segments[i] >= at.first) /* as far as it goes */
            (void)journal_scan_segment(disk, directory, &identity, files.segments[i], &ids, NULL);
    journal_files_free(&files);
    put_ids_of_table(&writer, region, lane);
    journal_region_put(&writer, region, lane);
    writer.header.next_sequence = at.next_sequence;
    return journal_digest_finish(&writer, why);
}
