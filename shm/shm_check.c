#include "shm/shm_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/money.h"
#include "shm/shm_archive.h"
#include "shm/shm_lease.h"
#include "shm/shm_ledger.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"

/* An owner that is at work is done with one record long before this. */
#define SECOND_LOOK_MS 20

/* What one record says that must not be said twice. */
struct claim {
    struct uuid id;
    uint32_t row_name; /* 0: none */
    uint32_t record;
};

struct check {
    const struct shm_region *region;
    unsigned lane;
    const struct shm_lane *control;
    struct shm_payments payments;
    struct claim *claims;
    size_t claim_count;
    uint64_t open_records; /* QUEUED or SENT */
    FILE *out;
    struct shm_check_result *result;
};

__attribute__((format(printf, 2, 3))) static void find(struct check *check, const char *format, ...)
{
    va_list arguments;
    fprintf(check->out, "lane %u: ", check->lane);
    va_start(arguments, format);
    vfprintf(check->out, format, arguments);
    va_end(arguments);
    fputc('\n', check->out);
    check->result->findings++;
}

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

static void look_later(void)
{
    nanosleep(&(struct timespec){.tv_nsec = SECOND_LOOK_MS * 1000000L}, NULL);
}

/* ------------------------------------------------------------------- rings */

static void check_entry(struct check *check, unsigned api, uint64_t number)
{
    struct shm_ring_entry entry;
    uint64_t generation = load(&shm_region_purge(check->region)->generation);
    if (!shm_ring_look(check->region, api, check->lane, number, &entry))
        return; /* taken meanwhile */
    check->result->entries++;
    if (entry.amount_cents < 1 || entry.amount_cents > MONEY_MAX_CENTS)
        find(check, "entry %" PRIu64 " of API slot %u's ring has %" PRId64 " cents", number, api,
             entry.amount_cents);
    if (shm_payments_lane_of(check->region, &entry.id) != check->lane)
        find(check, "entry %" PRIu64 " of API slot %u's ring belongs to another lane", number, api);
    if (entry.purge_generation > generation)
        find(check,
             "entry %" PRIu64 " of API slot %u's ring is of purge generation %" PRIu64
             ", which is yet to come",
             number, api, entry.purge_generation);
}

static void check_ring(struct check *check, unsigned api)
{
    const _Atomic uint64_t *head = &check->control->head[api].value;
    uint64_t head_before = load(head);
    uint64_t tail = load(&shm_region_api(check->region, api)->tail[check->lane].value);
    uint64_t head_after = load(head);
    /* The head at the time of tail lies between the two, or the counts are wrong. */
    if (tail < head_before ||
        (tail > head_after && tail - head_after > check->region->geometry.ring_slots)) {
        find(check, "API slot %u's ring has head %" PRIu64 " and tail %" PRIu64, api, head_after,
             tail);
        return;
    }
    for (uint64_t number = head_after; number < tail; number++)
        check_entry(check, api, number);
}

/* ----------------------------------------------------------------- records */

static void check_settled(struct check *check, uint32_t record,
                          const struct shm_payment_snapshot *s)
{
    struct shm_row row;
    bool in_reach = check->region->archive || load(&check->control->segments_dropped) == 0;
    if (!shm_ledger_read_named(check->region, check->lane, s->row_name, &row)) {
        if (!in_reach && s->row_name)
            return; /* in a file, perhaps; that we have none is told of where rows are */
        find(check, "record %u is settled, but no published row is named by it (%u)", record,
             s->row_name);
    } else if (row.processor != s->processor || row.amount_cents != s->amount_cents ||
               row.requested_at_us != s->requested_at_us) {
        find(check,
             "record %u is settled with processor %u, %" PRId64 " cents, requestedAt %" PRId64
             " us, but its row (named %u) says %u, %" PRId64 ", %" PRId64,
             record, s->processor, s->amount_cents, s->requested_at_us, s->row_name, row.processor,
             row.amount_cents, row.requested_at_us);
    }
}

static void check_standing(struct check *check, uint32_t record,
                           const struct shm_payment_snapshot *s)
{
    check->result->records++;
    check->open_records += s->state == PAYMENT_QUEUED || s->state == PAYMENT_SENT;
    check->claims[check->claim_count++] = (struct claim){
        .id = s->id,
        .row_name = s->state == PAYMENT_SETTLED ? s->row_name : 0,
        .record = record,
    };
    if (s->amount_cents < 1 || s->amount_cents > MONEY_MAX_CENTS)
        find(check, "record %u has %" PRId64 " cents", record, s->amount_cents);
    if (shm_payments_lane_of(check->region, &s->id) != check->lane)
        find(check, "record %u belongs to another lane", record);
    if (s->state == PAYMENT_SETTLED)
        check_settled(check, record, s);
    /* Read after the record: it only ever goes down. */
    if (s->state == PAYMENT_SENT &&
        s->requested_at_us <
            atomic_load_explicit(&check->control->lowest_bound_us, memory_order_acquire))
        find(check, "record %u is sent with a requestedAt below the lane's lowest bound one",
             record);
}

/* Even and the same before and after a look that failed: nobody changed it meanwhile. */
static bool is_damaged(const struct check *check, uint32_t record)
{
    const _Atomic uint32_t *sequence = &check->payments.records[record].sequence;
    struct shm_payment_snapshot s;
    uint32_t before = atomic_load_explicit(sequence, memory_order_acquire);
    return !(before & 1) && !shm_payments_read(&check->payments, record, &s) &&
           atomic_load_explicit(sequence, memory_order_acquire) == before;
}

/* A record that cannot be read is in motion, or its owner was stopped or died
 * in the middle of a change (its successor will make it good), or damaged. */
static void check_record(struct check *check, uint32_t record)
{
    struct shm_payment_snapshot s;
    bool readable = shm_payments_read(&check->payments, record, &s);
    if (!readable) {
        look_later();
        readable = shm_payments_read(&check->payments, record, &s);
    }
    if (readable) {
        if (s.state != PAYMENT_FREE)
            check_standing(check, record, &s);
        return;
    }
    bool damaged = is_damaged(check, record);
    shm_payments_owner_get(&check->payments, record, &s);
    if (damaged)
        find(check, "record %u is damaged: state %u, processor %u, or its checksum", record,
             (unsigned)s.state, s.processor);
    else
        check->open_records += s.state == PAYMENT_QUEUED || s.state == PAYMENT_SENT;
}

static int by_id(const void *left, const void *right)
{
    const struct claim *a = left, *b = right;
    int high = (a->id.hi > b->id.hi) - (a->id.hi < b->id.hi);
    return high ? high : (a->id.lo > b->id.lo) - (a->id.lo < b->id.lo);
}

static int by_row(const void *left, const void *right)
{
    const struct claim *a = left, *b = right;
    return (a->row_name > b->row_name) - (a->row_name < b->row_name);
}

/* Does a claim still stand? A record may have been recycled since it was read. */
static bool stands(const struct check *check, const struct claim *claim)
{
    struct shm_payment_snapshot s;
    return shm_payments_read(&check->payments, claim->record, &s) && s.state != PAYMENT_FREE &&
           uuid_equal(&s.id, &claim->id);
}

static void check_claims(struct check *check)
{
    struct claim *claims = check->claims;
    qsort(claims, check->claim_count, sizeof *claims, by_id);
    for (size_t i = 1; i < check->claim_count; i++)
        if (uuid_equal(&claims[i - 1].id, &claims[i].id) && stands(check, &claims[i - 1]) &&
            stands(check, &claims[i]))
            find(check, "records %u and %u have the same id", claims[i - 1].record,
                 claims[i].record);
    qsort(claims, check->claim_count, sizeof *claims, by_row);
    for (size_t i = 1; i < check->claim_count; i++)
        if (claims[i].row_name > 0 && claims[i - 1].row_name == claims[i].row_name &&
            stands(check, &claims[i - 1]) && stands(check, &claims[i]))
            find(check, "records %u and %u name the same row", claims[i - 1].record,
                 claims[i].record);
}

/* A whole record that no chain leads to, although the owner has done its first turn. Until then it
 * may be building the index, for as long as it likes: it may be stopped in the middle. It beats in
 * its first turn, and sleeps after one. What a dead owner left of both ends before its successor
 * clears the index: the epoch goes up, and then the sleep count. */
static bool is_missing(const struct check *check, const struct claim *claim)
{
    const struct shm_presence *presence = &check->control->presence;
    struct shm_payment_snapshot s;
    uint64_t epoch = load(&presence->epoch);
    uint64_t sleep = load(&check->control->sleep_count);
    bool beats = load(&presence->beat_ms) != load(&presence->since_ms);
    if (!(beats || (sleep & 1)) || !stands(check, claim) ||
        shm_payments_find(&check->payments, &claim->id, &s) != SHM_PAYMENTS_MISS ||
        !stands(check, claim))
        return false;
    return load(&presence->epoch) == epoch &&
           (beats || load(&check->control->sleep_count) == sleep);
}

/* Only where an owner keeps it: a dead one's successor builds it anew. */
static void check_index(struct check *check)
{
    struct shm_payment_snapshot s;
    if (!shm_lease_is_taken(check->region, SHM_LEASE_LANE + check->lane))
        return;
    for (size_t i = 0; i < check->claim_count; i++) {
        if (shm_payments_find(&check->payments, &check->claims[i].id, &s) != SHM_PAYMENTS_MISS)
            continue;
        look_later();
        if (is_missing(check, &check->claims[i]))
            find(check, "record %u is not found through the index", check->claims[i].record);
    }
}

/* What tells whether a lane was worked on between two looks. */
struct stillness {
    uint64_t sleep_count, epoch;
    bool owned;
};

static struct stillness look_for_motion(const struct check *check)
{
    return (struct stillness){
        .owned = shm_lease_is_taken(check->region, SHM_LEASE_LANE + check->lane),
        .epoch = load(&check->control->presence.epoch),
        .sleep_count = load(&check->control->sleep_count),
    };
}

/* After a crash `unsettled` may be too high, until the next owner counts anew. It tells
 * nothing if somebody was at work while the records were read: an owner that may have died since.
 */
static void check_unsettled(struct check *check, const struct stillness *before)
{
    uint64_t unsettled = load(&check->control->unsettled);
    struct stillness after = look_for_motion(check);
    bool still = after.sleep_count == before->sleep_count && after.epoch == before->epoch &&
                 after.owned == before->owned;
    bool asleep = still && after.owned && (after.sleep_count & 1);
    bool orphaned = still && !after.owned;
    if ((asleep && unsettled != check->open_records) ||
        (orphaned && unsettled < check->open_records))
        find(check, "%" PRIu64 " payments are counted as unsettled, but %" PRIu64 " are", unsettled,
             check->open_records);
}

static enum status check_table(struct check *check, struct explain *why)
{
    struct stillness before = look_for_motion(check);
    shm_payments_open(&check->payments, check->region, check->lane);
    check->claims = calloc(check->payments.slots, sizeof *check->claims);
    if (!check->claims)
        return explain(why, STATUS_SYSTEM, "out of memory for the ids of lane %u", check->lane);
    for (uint32_t i = 0; i < check->payments.slots; i++)
        check_record(check, i);
    check_unsettled(check, &before);
    check_index(check);
    check_claims(check);
    free(check->claims);
    return STATUS_OK;
}

/* ------------------------------------------------------------------ ledger */

static void compare_blocks(struct check *check, const char *what, uint64_t number,
                           const struct shm_block *stored, const struct shm_block *counted)
{
    if (memcmp(stored, counted, sizeof *stored) != 0)
        find(check,
             "%s %" PRIu64 " says %" PRIu64 " + %" PRIu64 " payments, but its rows say %" PRIu64
             " + %" PRIu64 ", or sums or times differ",
             what, number, stored->payments[0], stored->payments[1], counted->payments[0],
             counted->payments[1]);
}

#define GROUP_BLOCKS (SHM_GROUP_ROWS / SHM_BLOCK_ROWS)

/* A segment as it was at one moment: what is checked may be given up meanwhile. */
struct segment {
    uint64_t number;
    uint64_t length; /* words published */
    uint64_t *rows;  /* of a whole segment */
    struct shm_block *slices, *blocks, *groups;
    struct shm_block totals; /* of a full one */
};

/* Build the index anew, block by block, beside the stored one. */
static void check_block(struct check *check, const struct segment *segment, uint64_t block,
                        const struct shm_block *counted, struct shm_block *totals)
{
    uint64_t segment_blocks = check->region->geometry.ledger_segment_rows / SHM_BLOCK_ROWS;
    compare_blocks(check, "block", segment->number * segment_blocks + block,
                   &segment->blocks[block], counted);
    shm_block_add_block(totals, counted);
}

/* Returns the number of words; a filler is one that holds no row. */
static unsigned check_row(struct check *check, const struct segment *segment, uint64_t at,
                          struct shm_block *block)
{
    struct shm_row row;
    const uint64_t *words = &segment->rows[at];
    uint64_t number = segment->number * check->region->geometry.ledger_segment_rows + at;
    const uint64_t second = SHM_ROW_ESCAPE | SHM_ROW_CONTINUATION;
    bool is_cut_off = (*words & second) == SHM_ROW_ESCAPE && at + 1 == segment->length;
    if (*words == SHM_ROW_FILLER)
        return 1;
    if (is_cut_off || shm_ledger_unpack(&row, words, check->region->base_time_ms) == 0) {
        find(check, "row %" PRIu64 " is none: %016" PRIx64, number, *words);
        return 1;
    }
    unsigned count = *words & SHM_ROW_ESCAPE ? 2 : 1;
    if (row.amount_cents < 1)
        find(check, "row %" PRIu64 " has %" PRId64 " cents", number, row.amount_cents);
    if (count == 2 && (words[1] & second) != second)
        find(check, "row %" PRIu64 " takes two words and the second is %016" PRIx64, number,
             words[1]);
    shm_block_add_row(block, &row);
    return count;
}

/* Returns where it ends: an escape's second word may lie in the next one. */
static uint64_t check_slice(struct check *check, const struct segment *segment, uint64_t at,
                            uint64_t slice, struct shm_block *block)
{
    uint64_t slices = check->region->geometry.ledger_segment_rows / SHM_SLICE_ROWS;
    uint64_t end = (slice + 1) * SHM_SLICE_ROWS;
    struct shm_block counted;
    shm_block_clear(&counted);
    while (at < end && at < segment->length) {
        at += check_row(check, segment, at, &counted);
        check->result->rows++;
    }
    if (at >= end)
        compare_blocks(check, "slice", segment->number * slices + slice, &segment->slices[slice],
                       &counted);
    shm_block_add_block(block, &counted);
    return at;
}

static void check_segment(struct check *check, const struct segment *segment)
{
    struct shm_block block, group, totals;
    uint64_t at = 0, groups = check->region->geometry.ledger_segment_rows / SHM_GROUP_ROWS;
    shm_block_clear(&totals);
    shm_block_clear(&group);
    shm_block_clear(&block);
    for (uint64_t slice = 0; at < segment->length; slice++) {
        uint64_t number = slice / (SHM_BLOCK_ROWS / SHM_SLICE_ROWS);
        at = check_slice(check, segment, at, slice, &block);
        if (at < (number + 1) * SHM_BLOCK_ROWS)
            continue;
        check_block(check, segment, number, &block, &totals);
        shm_block_add_block(&group, &block);
        shm_block_clear(&block);
        if ((number + 1) % GROUP_BLOCKS || check->region->places.group_count == 0)
            continue;
        number /= GROUP_BLOCKS;
        compare_blocks(check, "group", segment->number * groups + number, &segment->groups[number],
                       &group);
        shm_block_clear(&group);
    }
    if (segment->length == check->region->geometry.ledger_segment_rows)
        compare_blocks(check, "segment", segment->number, &segment->totals, &totals);
}

/* false: it was given up, or its place was used again, before it had been copied. */
static bool copy_from_memory(struct check *check, struct segment *segment)
{
    const struct shm_region *region = check->region;
    uint64_t rows = region->geometry.ledger_segment_rows, blocks = rows / SHM_BLOCK_ROWS;
    uint64_t slices = rows / SHM_SLICE_ROWS;
    uint64_t groups = region->places.group_count / region->places.segment_count;
    uint64_t place = segment->number % region->places.segment_count;
    const uint64_t *words = shm_region_rows(region, check->lane) + place * rows;
    for (uint64_t i = 0; i < segment->length; i++)
        segment->rows[i] = shm_word_load(&words[i]);
    for (uint64_t i = 0; i < slices; i++)
        shm_block_copy(&segment->slices[i],
                       &shm_region_slices(region, check->lane)[place * slices + i]);
    for (uint64_t i = 0; i < groups; i++)
        shm_block_copy(&segment->groups[i],
                       &shm_region_groups(region, check->lane)[place * groups + i]);
    for (uint64_t i = 0; i < blocks; i++)
        shm_block_copy(&segment->blocks[i],
                       &shm_region_blocks(region, check->lane)[place * blocks + i]);
    shm_block_copy(&segment->totals, &shm_region_segments(region, check->lane)[place]);
    /* Pairs with the owner's release fence behind segments_dropped. */
    atomic_thread_fence(memory_order_acquire);
    return segment->number >= load(&check->control->segments_dropped);
}

static enum status copy_from_file(struct check *check, struct segment *segment, struct explain *why)
{
    const struct shm_region *region = check->region;
    uint64_t rows = region->geometry.ledger_segment_rows;
    const struct shm_block *totals;
    struct shm_archive_part part;
    enum status status =
        shm_archive_load(region, check->lane, segment->number, segment->number + 1, &totals, why);
    if (status == STATUS_OK)
        status = shm_archive_open_part(region, check->lane, segment->number, &part, why);
    if (status == STATUS_OK)
        status = shm_archive_verify(&part, 0, rows, why);
    if (status != STATUS_OK)
        return status;
    segment->length = rows;
    memcpy(segment->rows, part.rows, rows * sizeof *part.rows);
    if (part.groups)
        memcpy(segment->groups, part.groups, rows / SHM_GROUP_ROWS * sizeof *part.groups);
    memcpy(segment->slices, part.slices, rows / SHM_SLICE_ROWS * sizeof *part.slices);
    memcpy(segment->blocks, part.blocks, rows / SHM_BLOCK_ROWS * sizeof *part.blocks);
    segment->totals = totals[segment->number];
    return STATUS_OK;
}

static void check_file(struct check *check, struct segment *segment)
{
    struct explain why = {{0}};
    uint64_t rows = check->region->geometry.ledger_segment_rows;
    if (copy_from_file(check, segment, &why) == STATUS_OK) {
        check->result->files++;
        check_segment(check, segment);
    } else if ((segment->number + 1) * rows > load(&check->control->first_row)) {
        find(check, "%s", why.text); /* and no purge has made it superfluous meanwhile */
    }
}

/* Files as far as there must be any, then what is in memory alone. Of a segment that
 * is in both, the copy in memory is looked at too. */
static void check_segments(struct check *check, struct segment *segment, uint64_t first,
                           uint64_t count)
{
    uint64_t rows = check->region->geometry.ledger_segment_rows;
    uint64_t filed = load(&check->control->segments_filed);
    uint64_t from = load(&check->control->segments_dropped);
    if (!check->region->archive && from * rows > first)
        find(check,
             "the rows from %" PRIu64 " to %" PRIu64
             " are in files, and PAYRING_STATE_DIR does not say where",
             first, from * rows - 1);
    for (uint64_t number = first / rows; check->region->archive && number < filed; number++) {
        segment->number = number;
        check_file(check, segment);
    }
    for (uint64_t number = from; number * rows < count; number++) {
        segment->number = number;
        segment->length = count - number * rows < rows ? count - number * rows : rows;
        if (copy_from_memory(check, segment))
            check_segment(check, segment);
        else if (check->region->archive && number >= filed)
            check_file(check, segment);
    }
}

static void check_first_row(struct check *check, uint64_t first, uint64_t count)
{
    const uint64_t second = SHM_ROW_ESCAPE | SHM_ROW_CONTINUATION;
    uint64_t rows = check->region->geometry.ledger_rows;
    if (first < count && first + rows > count && /* in memory, unless it moves on right now */
        (__atomic_load_n(&shm_region_rows(check->region, check->lane)[first % rows],
                         __ATOMIC_RELAXED) &
         second) == second &&
        load(&check->control->first_row) == first)
        find(check, "the first row that counts, %" PRIu64 ", is in the middle of one", first);
}

static enum status check_ledger(struct check *check, struct explain *why)
{
    /* What goes up last is read first. */
    uint64_t dropped = load(&check->control->segments_dropped);
    uint64_t filed = load(&check->control->segments_filed);
    uint64_t first = load(&check->control->first_row);
    uint64_t count = load(&check->control->row_count);
    uint64_t end = shm_ledger_end(check->region, check->lane);
    uint64_t rows = check->region->geometry.ledger_segment_rows;
    if (count > end || first > count || dropped > filed || filed * rows > count) {
        find(check,
             "the ledger has %" PRIu64 " rows of %" PRIu64 ", the first counted one is %" PRIu64
             "; %" PRIu64 " segments are filed, %" PRIu64 " dropped",
             count, end, first, filed, dropped);
        return STATUS_OK;
    }
    struct segment segment = {
        .rows = malloc(rows * sizeof(uint64_t)),
        .slices = malloc(rows / SHM_SLICE_ROWS * sizeof(struct shm_block)),
        .blocks = malloc(rows / SHM_BLOCK_ROWS * sizeof(struct shm_block)),
        .groups = malloc((rows / SHM_GROUP_ROWS + 1) * sizeof(struct shm_block)),
    };
    enum status status = STATUS_OK;
    if (segment.rows && segment.slices && segment.blocks && segment.groups) {
        check_segments(check, &segment, first, count);
        check_first_row(check, first, count);
    } else {
        status = explain(why, STATUS_SYSTEM, "out of memory for a segment of lane %u", check->lane);
    }
    free(segment.rows);
    free(segment.slices);
    free(segment.blocks);
    free(segment.groups);
    return status;
}

/* --------------------------------------------------------------------- all */

static void check_control(struct check *check)
{
    const struct shm_filter *filter = &check->control->filter;
    /* The generation goes first, so it is read last. */
    uint64_t applied = load(&check->control->purge_applied);
    uint64_t generation = load(&shm_region_purge(check->region)->generation);
    if (applied > generation)
        find(check, "purge %" PRIu64 " was applied, but only %" PRIu64 " are known", applied,
             generation);
    if (load(&filter->active) > 1)
        find(check, "the filter's active generation is %" PRIu64, load(&filter->active));
}

enum status shm_check(const struct shm_region *region, FILE *out, struct shm_check_result *result,
                      struct explain *why)
{
    enum status status = STATUS_OK;
    *result = (struct shm_check_result){0};
    for (unsigned lane = 0; lane < region->geometry.lanes && status == STATUS_OK; lane++) {
        struct check check = {
            .region = region,
            .lane = lane,
            .control = shm_region_lane(region, lane),
            .out = out,
            .result = result,
        };
        check_control(&check);
        for (unsigned api = 0; api < region->geometry.api_slots; api++)
            check_ring(&check, api);
        status = check_table(&check, why);
        if (status == STATUS_OK)
            status = check_ledger(&check, why);
    }
    return status;
}
