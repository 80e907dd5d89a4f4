/* A lane and its journal: opening it at a take-over, telling the APIs what is on
 * disk, and keeping requests back until their bindings are (durability sync).
 *
 *   ring ──take in──▶ ACCEPTED ──▶ mark: heads, record     durable ≥ record: durable_head[]
 *   bind ──▶ BOUND ──▶ held: slot, record                  durable ≥ record: POST
 *
 * When the journal has failed the lane goes on with what is in the region: it is
 * the truth as long as it lives. Nothing is kept back any more, and the APIs
 * accept nothing for it until a new owner has begun the journal anew.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "shm/shm_doorbell.h"
#include "worker/journal_disk.h"
#include "worker/journal_region.h"
#include "worker/journal_state.h"
#include "worker/journal_tell.h"
#include "worker/lane_internal.h"

static void publish_state(const struct lane *lane, enum shm_journal_state state)
{
    /* Pairs with the acquire in payment_intake.c. */
    atomic_store_explicit(&lane->memory.control->journal.state, state, memory_order_release);
    CRASH_POINT(journal_state_published);
}

static enum shm_journal_state published_state(const struct lane *lane)
{
    return (enum shm_journal_state)atomic_load_explicit(&lane->memory.control->journal.state,
                                                        memory_order_relaxed);
}

static bool is_kept(const struct lane *lane)
{
    return lane->region->durability != SHM_DURABILITY_MEMORY;
}

static bool works(const struct lane *lane)
{
    return lane->memory.journal && !journal_has_failed(lane->memory.journal);
}

static bool is_sync(const struct lane *lane)
{
    return lane->region->durability == SHM_DURABILITY_SYNC && works(lane);
}

/* By the journal's threads: the lane may sleep. */
static void wake(void *context)
{
    const struct lane *lane = context;
    shm_doorbell_ring_own(lane->region, lane->memory.number, lane->fifo_fd);
}

/* By any of the journal's threads and the lane's own. */
static void note_failed(void *context)
{
    publish_state(context, SHM_JOURNAL_FAILED);
}

/* ----------------------------------------------------------------- opening */

static enum status find_directory(const struct lane *lane, char directory[JOURNAL_PATH_SIZE],
                                  struct explain *why)
{
    uint64_t generation;
    unsigned lanes;
    struct journal_identity whose,
        ours = journal_region_identity(lane->region, lane->memory.number);
    if (!*lane->settings.state_dir)
        return explain(why, STATUS_INVALID,
                       "the region keeps a journal: PAYRING_STATE_DIR must say where");
    enum status status =
        journal_state_find(&journal_disk_real, lane->settings.state_dir, &generation, &lanes, why);
    if (status == STATUS_OK && lanes != lane->region->geometry.lanes)
        status =
            explain(why, STATUS_INVALID, "PAYRING_STATE_DIR %s holds no journal of this region",
                    lane->settings.state_dir);
    if (status != STATUS_OK)
        return status;
    journal_state_lane_path(directory, lane->settings.state_dir, generation, lane->memory.number);
    status = journal_scan_whose(&journal_disk_real, directory, &whose, why);
    if (status == STATUS_OK &&
        (whose.region_id_hi != ours.region_id_hi || whose.region_id_lo != ours.region_id_lo))
        status = explain(why, STATUS_INVALID, "the journal in %s is another region's", directory);
    return status;
}

static enum status open_there(struct lane *lane, const char *directory, struct explain *why)
{
    struct journal_identity identity = journal_region_identity(lane->region, lane->memory.number);
    struct journal_settings settings = {
        .disk = &journal_disk_real,
        .sync = lane->region->durability == SHM_DURABILITY_SYNC,
        .interval_ms = lane->settings.journal_interval_ms,
        .segment_records = journal_segment_records(lane->settings.journal_max_bytes),
        .bytes_max = lane->settings.journal_max_bytes,
        .slots = lane->region->geometry.payment_slots,
        .failed = note_failed,
        .wake = wake,
        .context = lane,
    };
    return journal_open(&lane->journal, directory, &identity, &settings, why);
}

/* From the region, which is whole: the lane is ours and every record was visited. */
static enum status begin_anew(struct lane *lane, const char *directory,
                              const struct explain *reason, struct explain *why)
{
    enum status status = journal_begin_anew(&journal_disk_real, directory, lane->region,
                                            lane->memory.number, JOURNAL_SEGMENT_RECORDS, why);
    CRASH_POINT_IF(status == STATUS_OK, journal_anew);
    if (status == STATUS_OK)
        LOG_WARN("journal_begun_anew", "lane=%u why=%s", lane->memory.number, reason->text);
    return status == STATUS_OK ? open_there(lane, directory, why) : status;
}

static enum status open_journal(struct lane *lane, struct explain *why)
{
    char directory[JOURNAL_PATH_SIZE];
    struct explain reason = {"it had failed under the owner before"};
    enum status status = find_directory(lane, directory, why);
    if (status != STATUS_OK)
        return status;
    if (published_state(lane) != SHM_JOURNAL_FAILED) {
        status = open_there(lane, directory, &reason);
        if (status == STATUS_OK)
            return status;
        if (status != STATUS_DAMAGED)
            return explain(why, status, "%s", reason.text);
    }
    return begin_anew(lane, directory, &reason, why);
}

/* Who goes on, and with what: whatever the last owner had not finished. */
static enum status tell_all(struct lane *lane, struct explain *why)
{
    struct journal_payment opened = journal_region_opened(lane->region, lane->memory.number);
    journal_append(lane->journal, JOURNAL_OPENED, &opened, JOURNAL_NO_SLOT);
    CRASH_POINT(journal_opened_told);
    for (uint32_t slot = 0; slot < lane->queues.slot_count; slot++) {
        struct journal_payment image = journal_region_image(&lane->memory.payments, slot);
        if (image.state == PAYMENT_QUEUED || image.state == PAYMENT_SENT)
            journal_append(lane->journal, JOURNAL_CARRIED, &image, slot);
    }
    return journal_start(lane->journal, why);
}

/* Everything that the rings' heads have passed is in the table, and that is told. */
static void publish_heads(struct lane *lane, const uint64_t *heads)
{
    for (unsigned api = 0; api < lane->region->geometry.api_slots; api++)
        /* Pairs with the acquire in payment_intake_look. */
        atomic_store_explicit(&lane->memory.control->durable_head[api].value, heads[api],
                              memory_order_release);
    CRASH_POINT(durable_heads_published);
}

static void read_heads(const struct lane *lane, uint64_t *heads)
{
    for (unsigned api = 0; api < lane->region->geometry.api_slots; api++)
        heads[api] = lane->memory.rings[api].local_head;
}

static void publish_durable(struct lane *lane, uint64_t durable)
{
    lane->published_durable = durable;
    atomic_store_explicit(&lane->memory.control->journal.durable, durable, memory_order_release);
    CRASH_POINT(durable_published);
}

/* Rows may go to a file of the ledger when the journal knows durably of them. */
static void allow_filing(struct lane *lane, uint64_t rows)
{
    if (!lane->filer || rows == lane->rows_allowed)
        return;
    uint64_t segment_rows = lane->memory.ledger.segment_rows;
    bool is_news = rows / segment_rows != lane->rows_allowed / segment_rows ||
                   atomic_load_explicit(&lane->memory.control->first_row, memory_order_relaxed) >
                       lane->rows_allowed;
    lane->rows_allowed = rows;
    ledger_filer_allow(lane->filer, rows);
    if (is_news)
        ledger_filer_wake(lane->filer);
}

static void mark_rows(struct lane *lane, uint64_t durable)
{
    if (lane->row_mark.sequence > durable)
        return;
    allow_filing(lane, lane->row_mark.rows);
    lane->row_mark.sequence = journal_appended(lane->journal);
    lane->row_mark.rows = lane->memory.ledger.row_count;
    journal_note_filed(lane->journal, atomic_load_explicit(&lane->memory.control->segments_filed,
                                                           memory_order_acquire) *
                                          lane->memory.ledger.segment_rows);
}

void lane_journal_open(struct lane *lane)
{
    struct explain why = {{0}};
    uint64_t heads[SHM_API_SLOTS_MAX];
    if (!is_kept(lane))
        return;
    enum status status = open_journal(lane, &why);
    if (status == STATUS_OK)
        status = tell_all(lane, &why);
    if (status != STATUS_OK) {
        LOG_ERROR("journal_failed", "lane=%u why=%s", lane->memory.number, why.text);
        publish_state(lane, SHM_JOURNAL_FAILED);
        /* Nothing is told to it from here on, so nothing may rest on it, the filing of rows least.
         */
        if (lane->journal)
            journal_close(lane->journal);
        lane->journal = NULL;
        return;
    }
    lane->memory.tell = journal_tell;
    lane->memory.journal = lane->journal;
    read_heads(lane, heads);
    memcpy(lane->marked_heads, heads, sizeof heads);
    publish_heads(lane, heads);
    atomic_store_explicit(&lane->memory.control->journal.written, journal_appended(lane->journal),
                          memory_order_release);
    publish_durable(lane, journal_durable(lane->journal));
    lane->row_mark.sequence = journal_durable(lane->journal);
    lane->row_mark.rows = lane->memory.ledger.row_count;
    mark_rows(lane, journal_durable(lane->journal));
    publish_state(lane, SHM_JOURNAL_WORKING);
    if (journal_has_failed(lane->journal)) /* meanwhile */
        publish_state(lane, SHM_JOURNAL_FAILED);
}

void lane_journal_close(struct lane *lane)
{
    lane->memory.journal = NULL;
    if (lane->journal)
        journal_close(lane->journal);
    lane->journal = NULL;
    free(lane->held);
}

/* ------------------------------------------------------------------ acceptance */

/* Remember which record the entries taken in so far wait for. A full list grows
 * coarser: its last mark stands for more. */
void lane_journal_mark(struct lane *lane)
{
    uint64_t heads[SHM_API_SLOTS_MAX] = {0};
    if (!is_sync(lane))
        return;
    read_heads(lane, heads);
    if (memcmp(heads, lane->marked_heads, sizeof heads) == 0)
        return;
    memcpy(lane->marked_heads, heads, sizeof heads);
    if (lane->mark_count < LANE_MARKS)
        lane->mark_count++;
    struct lane_mark *mark = &lane->marks[(lane->mark_first + lane->mark_count - 1) % LANE_MARKS];
    memcpy(mark->heads, heads, sizeof heads);
    mark->sequence = journal_appended(lane->journal);
}

static void publish_marks(struct lane *lane, uint64_t durable)
{
    const struct lane_mark *reached = NULL;
    while (lane->mark_count > 0 && lane->marks[lane->mark_first].sequence <= durable) {
        reached = &lane->marks[lane->mark_first];
        lane->mark_first = (lane->mark_first + 1) % LANE_MARKS;
        lane->mark_count--;
    }
    if (reached)
        publish_heads(lane, reached->heads);
}

bool lane_journal_is_behind(const struct lane *lane)
{
    return works(lane) && journal_is_behind(lane->journal);
}

/* A journal that cannot be opened may tell of anything. */
bool lane_journal_may_know(const struct lane *lane, const struct uuid *id)
{
    return lane->journal ? journal_may_know(lane->journal, id) : is_kept(lane);
}

/* --------------------------------------------------------------------- sending */

bool lane_journal_holds(struct lane *lane, uint32_t slot, unsigned processor)
{
    if (!is_sync(lane) || lane->memory.told <= journal_durable(lane->journal))
        return false;
    if (!lane->held)
        lane->held = calloc(lane->queues.slot_count, sizeof *lane->held);
    CHECK(lane->held != NULL && lane->held_count < lane->queues.slot_count);
    uint32_t place = (lane->held_first + lane->held_count++) % lane->queues.slot_count;
    lane->held[place] =
        (struct lane_held){.sequence = lane->memory.told, .slot = slot, .processor = processor};
    return true;
}

static bool send_held(struct lane *lane, uint64_t durable)
{
    bool any = false;
    while (lane->held_count > 0 &&
           (lane->held[lane->held_first].sequence <= durable || !works(lane))) {
        struct lane_held held = lane->held[lane->held_first];
        lane->held_first = (lane->held_first + 1) % lane->queues.slot_count;
        lane->held_count--;
        lane_begin_post(lane, held.slot, held.processor);
        any = true;
    }
    return any;
}

/* ------------------------------------------------------------------------ a turn */

bool lane_journal_has_news(const struct lane *lane)
{
    if (!lane->journal)
        return false;
    return journal_durable(lane->journal) != lane->published_durable ||
           (journal_has_failed(lane->journal) && published_state(lane) == SHM_JOURNAL_WORKING) ||
           (journal_wants_carry(lane->journal) && !journal_is_behind(lane->journal));
}

static void image_of(void *context, uint32_t slot, struct journal_payment *payment)
{
    *payment = journal_region_image(context, slot);
}

bool lane_journal_turn(struct lane *lane)
{
    if (!lane->journal)
        return false;
    uint64_t durable = journal_durable(lane->journal);
    if (durable != lane->published_durable) {
        publish_durable(lane, durable);
        publish_marks(lane, durable);
    }
    if (journal_has_failed(lane->journal)) {
        if (published_state(lane) == SHM_JOURNAL_WORKING)
            publish_state(lane, SHM_JOURNAL_FAILED);
    } else {
        mark_rows(lane, durable);
        journal_carry(lane->journal, image_of, &lane->memory.payments);
    }
    return send_held(lane, durable);
}

void lane_journal_commit(struct lane *lane)
{
    if (is_sync(lane))
        journal_commit_now(lane->journal);
}

void lane_journal_kick(struct lane *lane)
{
    if (works(lane))
        journal_kick(lane->journal);
}

void lane_journal_flush(struct lane *lane)
{
    if (works(lane))
        journal_commit_now(lane->journal);
    (void)lane_journal_turn(lane);
}
