#include "worker/journal_fold.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shm/shm_ledger.h"

#define TABLE_FIRST UINT64_C(1024)

void journal_fold_begin(struct journal_fold *fold)
{
    *fold = (struct journal_fold){.lowest_bound_us = INT64_MAX};
}

void journal_fold_end(struct journal_fold *fold)
{
    free(fold->rows);
    free(fold->open);
    *fold = (struct journal_fold){0};
}

struct journal_visitor journal_fold_visitor(struct journal_fold *fold)
{
    return (struct journal_visitor){
        .context = fold, .digest = journal_fold_digest, .entry = journal_fold_entry};
}

/* --------------------------------------------------- payments that have not ended */

/* Where that id is or would be. Linear probing; the table is never more than half full. */
static uint64_t place_of(const struct journal_fold *fold, const struct uuid *id)
{
    uint64_t place = uuid_hash(id) & fold->open_mask;
    while (fold->open[place].state != PAYMENT_FREE && !uuid_equal(&fold->open[place].id, id))
        place = (place + 1) & fold->open_mask;
    return place;
}

const struct journal_payment *journal_fold_find(const struct journal_fold *fold,
                                                const struct uuid *id)
{
    if (!fold->open)
        return NULL;
    const struct journal_payment *payment = &fold->open[place_of(fold, id)];
    return payment->state == PAYMENT_FREE ? NULL : payment;
}

static bool grow(struct journal_fold *fold)
{
    struct journal_fold larger = {.open_mask =
                                      fold->open ? fold->open_mask * 2 + 1 : TABLE_FIRST - 1};
    larger.open = calloc(larger.open_mask + 1, sizeof *larger.open);
    if (!larger.open)
        return false;
    for (uint64_t i = 0; fold->open && i <= fold->open_mask; i++)
        if (fold->open[i].state != PAYMENT_FREE)
            larger.open[place_of(&larger, &fold->open[i].id)] = fold->open[i];
    free(fold->open);
    fold->open = larger.open;
    fold->open_mask = larger.open_mask;
    return true;
}

static enum status put(struct journal_fold *fold, const struct journal_payment *payment,
                       struct explain *why)
{
    if ((!fold->open || fold->open_count * 2 > fold->open_mask) && !grow(fold))
        return explain(why, STATUS_SYSTEM, "out of memory for %" PRIu64 " payments",
                       fold->open_count);
    struct journal_payment *place = &fold->open[place_of(fold, &payment->id)];
    fold->open_count += place->state == PAYMENT_FREE;
    *place = *payment;
    place->row = 0;
    return STATUS_OK;
}

/* Close the gap: whatever lies behind it in its run and could stand in it moves up. */
static void take_out_place(struct journal_fold *fold, uint64_t hole)
{
    uint64_t mask = fold->open_mask;
    fold->open[hole].state = PAYMENT_FREE;
    fold->open_count--;
    for (uint64_t at = (hole + 1) & mask; fold->open[at].state != PAYMENT_FREE;
         at = (at + 1) & mask) {
        uint64_t home = uuid_hash(&fold->open[at].id) & mask;
        if (((at - home) & mask) < ((at - hole) & mask))
            continue;
        fold->open[hole] = fold->open[at];
        fold->open[at].state = PAYMENT_FREE;
        hole = at;
    }
}

static void take_out(struct journal_fold *fold, const struct uuid *id)
{
    if (!fold->open)
        return;
    uint64_t place = place_of(fold, id);
    if (fold->open[place].state != PAYMENT_FREE)
        take_out_place(fold, place);
}

/* -------------------------------------------------------------------- rows */

static enum status make_room(struct journal_fold *fold, uint64_t more, struct explain *why)
{
    uint64_t wanted = fold->row_count + more;
    if (wanted <= fold->row_capacity)
        return STATUS_OK;
    uint64_t capacity = fold->row_capacity * 2 > wanted ? fold->row_capacity * 2 : wanted + 1024;
    uint64_t *rows = realloc(fold->rows, capacity * sizeof *rows);
    if (!rows)
        return explain(why, STATUS_SYSTEM, "out of memory for %" PRIu64 " ledger rows", wanted);
    fold->rows = rows;
    fold->row_capacity = capacity;
    return STATUS_OK;
}

static uint64_t rows_end(const struct journal_fold *fold)
{
    return fold->row_start + fold->row_count;
}

unsigned journal_fold_fillers(uint64_t row, unsigned words, uint32_t segment_rows)
{
    return segment_rows != 0 && words > segment_rows - row % segment_rows;
}

static void lower_bound(struct journal_fold *fold, int64_t us)
{
    if (us < fold->lowest_bound_us)
        fold->lowest_bound_us = us;
}

/* ------------------------------------------------------------------ digests */

static enum status take_rows(struct journal_fold *fold, const struct journal_digest *digest,
                             struct explain *why)
{
    const struct journal_digest_header *header = &digest->header;
    bool is_beginning =
        header->row_first > rows_end(fold) &&
        (header->first_row >= header->row_first || header->filed_rows >= header->row_first);
    if (fold->digests == 0 || header->row_first < fold->row_start || is_beginning) {
        fold->row_start = header->row_first;
        fold->row_count = 0;
    }
    if (header->row_first > rows_end(fold))
        return explain(why, STATUS_DAMAGED,
                       "ledger rows %" PRIu64 " to %" PRIu64 " are missing before it",
                       rows_end(fold), header->row_first - 1);
    fold->row_count = header->row_first - fold->row_start;
    enum status status = make_room(fold, header->rows, why);
    if (status != STATUS_OK)
        return status;
    if (header->rows)
        memcpy(fold->rows + fold->row_count, digest->rows, header->rows * sizeof(uint64_t));
    fold->row_count += header->rows;
    return STATUS_OK;
}

/* Whatever had not ended when a digest was made is told of again after it, or in its images. */
static void forget_open(struct journal_fold *fold)
{
    if (fold->open_count)
        memset(fold->open, 0, (fold->open_mask + 1) * sizeof *fold->open);
    fold->open_count = 0;
}

enum status journal_fold_digest(void *context, const struct journal_digest *digest,
                                struct explain *why)
{
    struct journal_fold *fold = context;
    const struct journal_digest_header *header = &digest->header;
    if (fold->digests > 0 && header->base_time_ms != fold->base_time_ms)
        return explain(why, STATUS_DAMAGED, "its ledger rows count from another time");
    enum status status = take_rows(fold, digest, why);
    forget_open(fold);
    for (uint64_t i = 0; fold->id && i < header->ids; i++)
        fold->id(fold->context, &digest->ids[i]);
    for (uint64_t i = 0; status == STATUS_OK && i < header->images; i++) {
        struct journal_payment payment;
        if (!journal_scan_image(digest, i, &payment) || payment.state == PAYMENT_FREE)
            return explain(why, STATUS_DAMAGED, "its image %" PRIu64 " cannot be", i);
        status = put(fold, &payment, why);
    }
    fold->digests++;
    fold->lanes = header->lanes;
    fold->may_miss |= header->flags & JOURNAL_MAY_MISS;
    fold->base_time_ms = header->base_time_ms;
    fold->first_row = header->first_row;
    fold->filed_rows = header->filed_rows;
    fold->segment_rows = header->segment_rows;
    fold->ledger_id_hi = header->ledger_id_hi;
    fold->ledger_id_lo = header->ledger_id_lo;
    fold->purge_generation = header->purge_generation;
    fold->last_row = 0;
    lower_bound(fold, header->lowest_bound_us);
    return status;
}

/* ------------------------------------------------------------------ entries */

static enum status settle(struct journal_fold *fold, const struct journal_payment *payment,
                          struct explain *why)
{
    const struct journal_payment *before = journal_fold_find(fold, &payment->id);
    struct shm_row row = {payment->processor, payment->amount_cents, payment->requested_at_us};
    if (payment->row != rows_end(fold) + 1)
        return explain(why, STATUS_DAMAGED,
                       "a payment was settled in ledger row %" PRIu64 ", and the next is %" PRIu64,
                       payment->row - 1, rows_end(fold));
    if (payment->amount_cents <= 0 || payment->amount_cents >> SHM_ESCAPE_CENTS_BITS)
        return explain(why, STATUS_DAMAGED, "a payment was settled with %" PRId64 " cents",
                       payment->amount_cents);
    enum status status = make_room(fold, SHM_ROWS_PER_PAYMENT_MAX + 1, why);
    if (status != STATUS_OK)
        return status;
    fold->before_last = before ? *before : *payment;
    fold->before_last.state = PAYMENT_SENT;
    fold->last_row = payment->row;
    uint64_t words[SHM_ROWS_PER_PAYMENT_MAX];
    unsigned count = shm_ledger_pack(words, &row, fold->base_time_ms);
    if (journal_fold_fillers(rows_end(fold), count, fold->segment_rows))
        fold->rows[fold->row_count++] = SHM_ROW_FILLER;
    memcpy(fold->rows + fold->row_count, words, count * sizeof *words);
    fold->row_count += count;
    fold->settled++;
    lower_bound(fold, payment->requested_at_us);
    take_out(fold, &payment->id);
    return STATUS_OK;
}

/* What waited and is older than the purge: cleared, as the lane did. A payment
 * that was told of as bound was sent, or may have been. */
void journal_fold_purge(struct journal_fold *fold, const struct journal_payment *purge)
{
    fold->first_row = purge->row;
    fold->purge_generation = purge->purge_generation;
    for (uint64_t i = 0; fold->open && i <= fold->open_mask;) {
        const struct journal_payment *payment = &fold->open[i];
        bool cleared = payment->state == PAYMENT_QUEUED &&
                       (int32_t)(payment->purge_generation - purge->purge_generation) < 0;
        if (cleared)
            take_out_place(fold, i); /* another one may stand there now: look again */
        else
            i++;
    }
}

static enum status open_again(struct journal_fold *fold, const struct journal_payment *opened,
                              struct explain *why)
{
    lower_bound(fold, opened->requested_at_us);
    fold->may_miss |= opened->flags & JOURNAL_MAY_MISS;
    if (opened->row > rows_end(fold) || opened->row < fold->row_start)
        return explain(why, STATUS_DAMAGED,
                       "the region had %" PRIu64 " ledger rows when its lane was opened, and the "
                       "journal tells of %" PRIu64,
                       opened->row, rows_end(fold));
    if (opened->row == rows_end(fold))
        return STATUS_OK;
    if (fold->last_row == 0 && fold->digests > 0) {
        /* It was settled in a segment that is digested, and the payment was told
         * of again, durably, before that was done. */
        fold->row_count = opened->row - fold->row_start;
        return STATUS_OK;
    }
    if (fold->last_row != opened->row + 1)
        return explain(why, STATUS_DAMAGED,
                       "ledger row %" PRIu64 " is not in the region, and not the last one",
                       opened->row);
    fold->row_count = opened->row - fold->row_start;
    fold->last_row = 0;
    return put(fold, &fold->before_last, why);
}

enum status journal_fold_entry(void *context, const struct journal_entry *entry,
                               struct explain *why)
{
    struct journal_fold *fold = context;
    const struct journal_payment *payment = &entry->payment;
    fold->entries++;
    switch (entry->kind) {
    case JOURNAL_ACCEPTED:
        if (fold->id)
            fold->id(fold->context, &payment->id);
        return put(fold, payment, why);
    case JOURNAL_BOUND:
        lower_bound(fold, payment->requested_at_us);
        return put(fold, payment, why);
    case JOURNAL_UNBOUND:
    case JOURNAL_CARRIED:
        return put(fold, payment, why);
    case JOURNAL_ENDED:
        take_out(fold, &payment->id);
        return STATUS_OK;
    case JOURNAL_SETTLED:
        return settle(fold, payment, why);
    case JOURNAL_DECIDED:
        if (payment->state == PAYMENT_SETTLED)
            return settle(fold, payment, why);
        if (payment->state == PAYMENT_QUEUED)
            return put(fold, payment, why);
        take_out(fold, &payment->id);
        return STATUS_OK;
    case JOURNAL_PURGED:
        journal_fold_purge(fold, payment);
        return STATUS_OK;
    case JOURNAL_OPENED:
        return open_again(fold, payment, why);
    default:
        return explain(why, STATUS_DAMAGED, "a record of an unknown kind");
    }
}

enum status journal_fold_check(const struct journal_fold *fold, struct explain *why)
{
    if (fold->first_row < fold->row_start && fold->filed_rows < fold->row_start)
        return explain(why, STATUS_DAMAGED,
                       "ledger rows %" PRIu64 " to %" PRIu64 " count and are not there",
                       fold->first_row > fold->filed_rows ? fold->first_row : fold->filed_rows,
                       fold->row_start - 1);
    if (fold->first_row > rows_end(fold))
        return explain(why, STATUS_DAMAGED, "a purge cleared more ledger rows than there are");
    return STATUS_OK;
}
