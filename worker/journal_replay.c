#include "worker/journal_replay.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shm/shm_filter.h"
#include "shm/shm_ledger.h"
#include "shm/shm_payments.h"
#include "worker/journal_fold.h"
#include "worker/journal_region.h"
#include "worker/journal_state.h"

struct new_lane {
    struct shm_payments payments;
    struct shm_ledger_writer ledger;
    struct shm_filter_handle filter;
    struct journal_digest_writer base;
    uint32_t next_slot;
    uint64_t unsettled;
};

struct replay {
    struct journal_replay *result;
    struct shm_region *region;
    struct journal_fold folds[SHM_LANES_MAX];
    struct new_lane lanes[SHM_LANES_MAX];
    bool is_adopted; /* the region's ledger goes on from files (shm_archive_adopt) */
    int64_t lowest_bound_us;
    uint32_t purge_generation;
};

/* ----------------------------------------------------------------- reading */

/* Oldest first, so that a filter which is full forgets as a living lane's does. */
static void take_id(void *context, const struct uuid *id)
{
    struct replay *replay = context;
    struct new_lane *lane = &replay->lanes[shm_payments_lane_of(replay->region, id)];
    if (shm_filter_is_full(&lane->filter)) {
        unsigned older =
            1 - (atomic_load_explicit(&lane->filter.meta->active, memory_order_relaxed) & 1);
        replay->result->ids_forgotten +=
            atomic_load_explicit(&lane->filter.meta->remembered[older], memory_order_relaxed);
        shm_filter_rotate(&lane->filter, replay->result->now_monotonic_ms);
    }
    /* Adopted or not: lowest_bound_us goes below all of them. */
    shm_filter_remember(&lane->filter, id, INT64_MAX);
    journal_digest_put_ids(&lane->base, id, 1);
    replay->result->ids++;
}

static enum status fold_lane(struct replay *replay, uint64_t generation, unsigned lane,
                             struct journal_identity *whose, struct explain *why)
{
    char directory[JOURNAL_PATH_SIZE];
    struct journal_end end;
    struct journal_identity identity;
    struct journal_fold *fold = &replay->folds[lane];
    journal_state_lane_path(directory, replay->result->state_directory, generation, lane);
    enum status status = journal_scan_whose(replay->result->disk, directory, &identity, why);
    if (status == STATUS_NOT_FOUND)
        status = STATUS_DAMAGED; /* it was made with a digest */
    if (status != STATUS_OK)
        return status;
    if (lane == 0)
        *whose = identity;
    whose->lane = lane;
    fold->id = take_id;
    fold->context = replay;
    struct journal_visitor visitor = journal_fold_visitor(fold);
    status = journal_scan(replay->result->disk, directory, whose, &visitor, &end, why);
    if (status == STATUS_OK)
        status = journal_fold_check(fold, why);
    if (end.cut)
        snprintf(replay->result->where, sizeof replay->result->where, "%s", end.where);
    replay->result->cut += end.cut;
    return status;
}

/* A purge that some lanes had applied and others not is applied now. */
static void finish_purge(struct replay *replay)
{
    for (unsigned i = 0; i < replay->result->lanes; i++)
        if ((int32_t)(replay->folds[i].purge_generation - replay->purge_generation) > 0)
            replay->purge_generation = replay->folds[i].purge_generation;
    for (unsigned i = 0; i < replay->result->lanes; i++) {
        struct journal_fold *fold = &replay->folds[i];
        struct journal_payment purge = {.purge_generation = replay->purge_generation,
                                        .row = fold->row_start + fold->row_count};
        if (fold->purge_generation != replay->purge_generation)
            journal_fold_purge(fold, &purge);
    }
}

static enum status read_journal(struct replay *replay, uint64_t generation, struct explain *why)
{
    struct journal_identity whose = {0};
    enum status status = STATUS_OK;
    for (unsigned i = 0; status == STATUS_OK && i < replay->result->lanes; i++) {
        const struct journal_fold *fold = &replay->folds[i];
        status = fold_lane(replay, generation, i, &whose, why);
        if (status == STATUS_OK && fold->lanes != replay->result->lanes)
            status =
                explain(why, STATUS_DAMAGED, "the journal in %s is of %u lanes, and there are %u",
                        replay->result->state_directory, fold->lanes, replay->result->lanes);
        if (status == STATUS_OK && fold->base_time_ms != replay->folds[0].base_time_ms)
            status = explain(why, STATUS_DAMAGED,
                             "the lanes of the journal in %s are not of one "
                             "region",
                             replay->result->state_directory);
        if (fold->lowest_bound_us < replay->lowest_bound_us)
            replay->lowest_bound_us = fold->lowest_bound_us;
    }
    if (status == STATUS_OK)
        finish_purge(replay);
    return status;
}

/* ------------------------------------------------------------------ filling */

/* Rows before the journal's beginning stay plain only if they count from its base. A
 * ledger whose files were adopted has its base already: the journal must be that one's. */
static enum status take_header(struct replay *replay, struct explain *why)
{
    const struct journal_fold *fold = &replay->folds[0];
    struct shm_region *region = replay->region;
    if (replay->result->lanes == 0)
        return STATUS_OK;
    region->origin = SHM_ORIGIN_JOURNAL;
    for (unsigned i = 0; i < replay->result->lanes; i++)
        if (replay->folds[i].may_miss)
            region->origin = SHM_ORIGIN_JOURNAL_ASYNC;
    shm_region_header(region)->origin = (uint32_t)region->origin;
    if (!replay->is_adopted) {
        shm_region_header(region)->base_time_ms = region->base_time_ms = fold->base_time_ms;
        return STATUS_OK;
    }
    if (fold->ledger_id_hi == region->ledger_id_hi && fold->ledger_id_lo == region->ledger_id_lo &&
        fold->base_time_ms == region->base_time_ms &&
        replay->result->lanes == region->geometry.lanes)
        return STATUS_OK;
    return explain(why, STATUS_DAMAGED,
                   "the files of the ledger in %s are not of the ledger that the journal tells of",
                   replay->result->state_directory);
}

/* Where the rows of a fold begin that are to be put into the region. */
static enum status first_row_wanted(const struct replay *replay, const struct journal_fold *fold,
                                    const struct new_lane *lane, uint64_t *first,
                                    struct explain *why)
{
    uint64_t end = fold->row_start + fold->row_count;
    *first = fold->first_row > fold->row_start ? fold->first_row : fold->row_start;
    if (replay->is_adopted && lane->ledger.row_count > *first)
        *first = lane->ledger.row_count; /* those before are in files, or were purged */
    if (!replay->is_adopted && fold->filed_rows > fold->first_row)
        return explain(why, STATUS_DAMAGED,
                       "ledger rows %" PRIu64 " to %" PRIu64 " were filed, and their files are not "
                       "in %s",
                       fold->first_row, fold->filed_rows - 1, replay->result->state_directory);
    if (replay->is_adopted && (lane->ledger.row_count > end || fold->row_start > *first))
        return explain(why, STATUS_DAMAGED,
                       "the files of the ledger in %s end at row %" PRIu64
                       ", and the journal tells of rows %" PRIu64 " to %" PRIu64,
                       replay->result->state_directory, lane->ledger.row_count, fold->row_start,
                       end);
    if (replay->is_adopted && lane->ledger.row_count < *first &&
        lane->ledger.row_count < fold->filed_rows)
        return explain(why, STATUS_DAMAGED,
                       "ledger rows up to %" PRIu64 " were filed, and the files in %s end at row "
                       "%" PRIu64,
                       fold->filed_rows, replay->result->state_directory, lane->ledger.row_count);
    return STATUS_OK;
}

static enum status add_row(struct replay *replay, struct new_lane *lane, uint64_t number,
                           const struct shm_row *row, struct explain *why)
{
    uint64_t skipped =
        replay->is_adopted && number > lane->ledger.row_count ? number - lane->ledger.row_count : 0;
    if (shm_ledger_rows_left(&lane->ledger) < skipped + SHM_ROWS_PER_PAYMENT_MAX + 1)
        return explain(why, STATUS_INVALID,
                       "the journal in %s tells of more ledger rows than PAYRING_LEDGER_ROWS=%u "
                       "has room for",
                       replay->result->state_directory, replay->region->geometry.ledger_rows);
    /* In a ledger that goes on, each row has its number for ever. */
    if (skipped)
        shm_ledger_skip_to(&lane->ledger, number);
    shm_ledger_write(&lane->ledger, row);
    shm_ledger_publish(&lane->ledger);
    replay->result->rows++;
    return STATUS_OK;
}

static enum status add_rows(struct replay *replay, const struct journal_fold *fold,
                            struct new_lane *lane, struct explain *why)
{
    uint64_t first;
    enum status status = first_row_wanted(replay, fold, lane, &first, why);
    uint64_t at = status == STATUS_OK ? first - fold->row_start : fold->row_count;
    while (status == STATUS_OK && at < fold->row_count) {
        struct shm_row row;
        uint64_t words[2] = {fold->rows[at], at + 1 < fold->row_count ? fold->rows[at + 1] : 0};
        unsigned length = shm_ledger_unpack(&row, words, fold->base_time_ms);
        if (length == 0 && words[0] == SHM_ROW_FILLER) {
            at++;
            continue;
        }
        if (length == 0 || at + length > fold->row_count)
            return explain(why, STATUS_DAMAGED,
                           "ledger row %" PRIu64 " of the journal in %s is none",
                           fold->row_start + at, replay->result->state_directory);
        status = add_row(replay, lane, fold->row_start + at, &row, why);
        at += length;
    }
    return status;
}

/* A ledger that goes on goes on with the number of its next row, and with its purges. */
static enum status go_on(struct replay *replay, const struct journal_fold *fold,
                         struct new_lane *lane, unsigned number, struct explain *why)
{
    uint64_t end = fold->row_start + fold->row_count;
    if (!replay->is_adopted)
        return STATUS_OK;
    struct shm_lane *control = shm_region_lane(replay->region, number);
    if (end > lane->ledger.row_count) {
        if (end - lane->ledger.row_count > shm_ledger_rows_left(&lane->ledger))
            return explain(why, STATUS_INVALID,
                           "the journal in %s goes on at ledger row %" PRIu64
                           ", beyond what PAYRING_LEDGER_ROWS=%u has room for",
                           replay->result->state_directory, end,
                           replay->region->geometry.ledger_rows);
        shm_ledger_skip_to(&lane->ledger, end);
    }
    if (fold->first_row > atomic_load_explicit(&control->first_row, memory_order_relaxed))
        atomic_store_explicit(&control->first_row, fold->first_row, memory_order_release);
    return STATUS_OK;
}

#define RELEASE(field, value) atomic_store_explicit(&(field), (value), memory_order_release)

static enum status add_payment(struct replay *replay, const struct journal_payment *payment,
                               struct explain *why)
{
    struct new_lane *lane = &replay->lanes[shm_payments_lane_of(replay->region, &payment->id)];
    uint32_t slot = lane->next_slot++;
    bool is_sent = payment->state == PAYMENT_SENT;
    if (slot >= lane->payments.slots)
        return explain(why, STATUS_INVALID,
                       "the journal in %s tells of more payments that have not ended than "
                       "PAYRING_PAYMENT_SLOTS=%u has room for",
                       replay->result->state_directory, lane->payments.slots);
    unsigned flags = (payment->flags & (PAYMENT_FLAG_SEEN | PAYMENT_FLAG_RESOLVED)) |
                     PAYMENT_FLAG_ASK |
                     (payment->flags & PAYMENT_FLAG_SEEN ? 0u : PAYMENT_FLAG_UNCOUNTED) |
                     (is_sent ? PAYMENT_FLAG_UNKNOWN : 0u);
    shm_payments_begin_write(&lane->payments, slot);
    shm_payments_fill(&lane->payments, slot, &payment->id, payment->amount_cents,
                      payment->accepted_at_ms, payment->purge_generation, flags);
    if (is_sent) {
        RELEASE(lane->payments.records[slot].processor, (uint8_t)payment->processor);
        RELEASE(lane->payments.records[slot].requested_at_us, payment->requested_at_us);
    }
    shm_payments_index_add(&lane->payments, slot);
    RELEASE(lane->payments.records[slot].state, (uint8_t)payment->state);
    shm_payments_end_write(&lane->payments, slot);
    lane->unsettled++;
    replay->result->queued += !is_sent;
    replay->result->sent += is_sent;
    return STATUS_OK;
}

static int by_acceptance(const void *a, const void *b)
{
    const struct journal_payment *x = a, *y = b;
    if (x->accepted_at_ms != y->accepted_at_ms)
        return x->accepted_at_ms < y->accepted_at_ms ? -1 : 1;
    return x->id.hi < y->id.hi ? -1 : x->id.hi > y->id.hi;
}

/* The table is no table after this: in one run, sorted. */
static enum status add_payments(struct replay *replay, struct journal_fold *fold,
                                struct explain *why)
{
    enum status status = STATUS_OK;
    uint64_t count = 0;
    for (uint64_t i = 0; fold->open && i <= fold->open_mask; i++)
        if (fold->open[i].state != PAYMENT_FREE)
            fold->open[count++] = fold->open[i];
    CHECK(count == fold->open_count);
    if (count)
        qsort(fold->open, count, sizeof *fold->open, by_acceptance);
    for (uint64_t i = 0; status == STATUS_OK && i < count; i++)
        status = add_payment(replay, &fold->open[i], why);
    return status;
}

static enum status fill(struct replay *replay, struct explain *why)
{
    struct shm_region *region = replay->region;
    unsigned lanes = region->geometry.lanes;
    enum status status = STATUS_OK;
    for (unsigned i = 0; status == STATUS_OK && i < replay->result->lanes; i++) {
        status = add_rows(replay, &replay->folds[i], &replay->lanes[i % lanes], why);
        if (status == STATUS_OK)
            status = go_on(replay, &replay->folds[i], &replay->lanes[i % lanes], i, why);
    }
    for (unsigned i = 0; status == STATUS_OK && i < replay->result->lanes; i++)
        status = add_payments(replay, &replay->folds[i], why);
    for (unsigned i = 0; i < lanes; i++) {
        struct shm_lane *control = shm_region_lane(region, i);
        RELEASE(control->unsettled, replay->lanes[i].unsettled);
        if (replay->lowest_bound_us <
            atomic_load_explicit(&control->lowest_bound_us, memory_order_relaxed))
            RELEASE(control->lowest_bound_us, replay->lowest_bound_us);
        RELEASE(control->purge_applied, replay->purge_generation);
    }
    RELEASE(shm_region_purge(region)->generation, replay->purge_generation);
    return status;
}

/* ------------------------------------------------------------------ the journal's beginning */

static enum status begin_bases(struct replay *replay, struct explain *why)
{
    struct journal_replay *result = replay->result;
    unsigned lanes = replay->region->geometry.lanes;
    enum status status =
        journal_state_begin(result->disk, result->state_directory, result->generation, lanes, why);
    for (unsigned i = 0; status == STATUS_OK && i < lanes; i++) {
        char directory[JOURNAL_PATH_SIZE];
        struct journal_identity identity = journal_region_identity(replay->region, i);
        journal_state_new_lane_path(directory, result->state_directory, result->generation, i);
        journal_digest_begin(&replay->lanes[i].base, result->disk, directory, &identity, 0, 0);
    }
    return status;
}

static enum status finish_bases(struct replay *replay, struct explain *why)
{
    struct journal_replay *result = replay->result;
    enum status status = STATUS_OK;
    for (unsigned i = 0; status == STATUS_OK && i < replay->region->geometry.lanes; i++) {
        journal_region_put(&replay->lanes[i].base, replay->region, i);
        status = journal_digest_finish(&replay->lanes[i].base, why);
    }
    if (status == STATUS_OK)
        status =
            journal_state_finish(result->disk, result->state_directory, result->generation, why);
    result->made = status == STATUS_OK;
    return status;
}

static void open_lanes(struct replay *replay)
{
    for (unsigned i = 0; i < replay->region->geometry.lanes; i++) {
        struct new_lane *lane = &replay->lanes[i];
        shm_payments_open(&lane->payments, replay->region, i);
        shm_filter_open(&lane->filter, replay->region, i);
    }
}

/* After the base time is known. */
static void open_ledgers(struct replay *replay)
{
    for (unsigned i = 0; i < replay->region->geometry.lanes; i++)
        shm_ledger_writer_open(&replay->lanes[i].ledger, replay->region, i);
}

static void release(struct replay *replay, bool failed)
{
    for (unsigned i = 0; i < SHM_LANES_MAX; i++)
        journal_fold_end(&replay->folds[i]);
    for (unsigned i = 0; failed && i < replay->region->geometry.lanes; i++)
        if (replay->lanes[i].base.disk && replay->lanes[i].base.buffer)
            journal_digest_abandon(&replay->lanes[i].base);
    free(replay);
}

static enum status replay_all(struct replay *replay, struct explain *why)
{
    struct journal_replay *result = replay->result;
    uint64_t old;
    enum status status =
        journal_state_find(result->disk, result->state_directory, &old, &result->lanes, why);
    if (status != STATUS_OK)
        return status;
    result->generation = old + 1;
    open_lanes(replay);
    status = begin_bases(replay, why);
    if (status == STATUS_OK)
        status = read_journal(replay, old, why);
    if (status != STATUS_OK)
        return status;
    status = take_header(replay, why);
    if (status != STATUS_OK)
        return status;
    open_ledgers(replay);
    status = fill(replay, why);
    return status == STATUS_OK ? finish_bases(replay, why) : status;
}

enum status journal_replay_into(struct journal_replay *result, struct shm_region *region,
                                struct explain *why)
{
    struct replay *replay = calloc(1, sizeof *replay);
    if (!replay)
        return explain(why, STATUS_SYSTEM, "out of memory for a replay");
    replay->result = result;
    replay->region = region;
    replay->lowest_bound_us = INT64_MAX;
    replay->is_adopted = region->ledger_id_hi != region->region_id_hi ||
                         region->ledger_id_lo != region->region_id_lo;
    for (unsigned i = 0; i < SHM_LANES_MAX; i++)
        journal_fold_begin(&replay->folds[i]);
    enum status status = replay_all(replay, why);
    release(replay, status != STATUS_OK);
    return status;
}

void journal_replay_keep(const struct journal_replay *result)
{
    journal_state_keep_only(result->disk, result->state_directory, result->generation);
}

void journal_replay_drop(const struct journal_replay *result)
{
    journal_state_remove(result->disk, result->state_directory, result->generation);
}
