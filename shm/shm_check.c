#include "shm/shm_check.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/money.h"
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
    if (s->row_name == 0 || !shm_ledger_read(check->region, check->lane, s->row_name - 1, &row)) {
        find(check, "record %u is settled, but no published row is named by it (%u)", record,
             s->row_name);
    } else if (row.processor != s->processor || row.amount_cents != s->amount_cents ||
               row.requested_at_us != s->requested_at_us) {
        find(check,
             "record %u is settled with processor %u, %" PRId64 " cents, requestedAt %" PRId64
             " us, but its row %u says %u, %" PRId64 ", %" PRId64,
             record, s->processor, s->amount_cents, s->requested_at_us, s->row_name - 1,
             row.processor, row.amount_cents, row.requested_at_us);
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

/* Build the index anew, block by block, beside the stored one. */
struct recount {
    struct shm_block block, superblock;
    uint64_t block_number; /* that `block` is of */
};

static void finish_block(struct check *check, struct recount *recount)
{
    uint64_t number = recount->block_number++;
    compare_blocks(check, "block", number, &shm_region_blocks(check->region, check->lane)[number],
                   &recount->block);
    shm_block_add_block(&recount->superblock, &recount->block);
    shm_block_clear(&recount->block);
    if (recount->block_number % SHM_SUPERBLOCK_BLOCKS)
        return;
    number /= SHM_SUPERBLOCK_BLOCKS;
    compare_blocks(check, "superblock", number,
                   &shm_region_superblocks(check->region, check->lane)[number],
                   &recount->superblock);
    shm_block_clear(&recount->superblock);
}

static uint64_t check_row(struct check *check, struct recount *recount, uint64_t at)
{
    struct shm_row row;
    const uint64_t *words = shm_region_rows(check->region, check->lane) + at;
    if (!shm_ledger_read(check->region, check->lane, at, &row)) {
        find(check, "row %" PRIu64 " is none: %016" PRIx64, at, *words);
        return 1;
    }
    unsigned count = *words & SHM_ROW_ESCAPE ? 2 : 1;
    if (row.amount_cents < 1)
        find(check, "row %" PRIu64 " has %" PRId64 " cents", at, row.amount_cents);
    if (count == 2 && (words[1] & (SHM_ROW_ESCAPE | SHM_ROW_CONTINUATION)) !=
                          (SHM_ROW_ESCAPE | SHM_ROW_CONTINUATION))
        find(check, "row %" PRIu64 " takes two words and the second is %016" PRIx64, at, words[1]);
    shm_block_add_row(&recount->block, &row);
    return count;
}

static void check_ledger(struct check *check)
{
    uint64_t first = load(&check->control->first_row);
    uint64_t count = load(&check->control->row_count);
    struct recount recount = {.block_number = 0};
    bool first_is_a_row = first == 0;
    if (count > check->region->geometry.ledger_rows || first > count) {
        find(check, "the ledger has %" PRIu64 " rows of %u, the first counted one is %" PRIu64,
             count, check->region->geometry.ledger_rows, first);
        return;
    }
    shm_block_clear(&recount.block);
    shm_block_clear(&recount.superblock);
    for (uint64_t at = 0; at < count;) {
        at += check_row(check, &recount, at);
        check->result->rows++;
        first_is_a_row |= at == first;
        if (at / SHM_BLOCK_ROWS > recount.block_number)
            finish_block(check, &recount);
    }
    if (!first_is_a_row)
        find(check, "the first row that counts, %" PRIu64 ", is in the middle of one", first);
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
        check_ledger(&check);
    }
    return status;
}
