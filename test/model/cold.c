/* The journal, and a cold start: what journal_replay.c makes of it in production, on the model's
 * state.
 *
 * Whole moves are on disk or not, up to some moment; in sync before a 2xx and before a request
 * leaves. The quarantine is a time of its own: it ends at any moment, and with it what sleeps of
 * the dead life (bounds.sleepers: it does not).
 */
#include <string.h>

#include "test/model/model.h"
#include "test/model/rules.h"
#include "worker/payment_protocol.h"

static uint8_t earlier(uint8_t a, uint8_t b)
{
    return !a ? b : !b ? a : a < b ? a : b;
}

static struct model_record image_of(const struct model_record *r)
{
    bool open = r->state == PAYMENT_QUEUED || r->state == PAYMENT_SENT;
    if (!open)
        return (struct model_record){0};
    return (struct model_record){.state = r->state,
                                 .processor = r->state == PAYMENT_SENT ? r->processor : 0,
                                 .flags = r->flags & (PAYMENT_FLAG_SEEN | PAYMENT_FLAG_RESOLVED),
                                 .id = r->id,
                                 .amount = r->amount,
                                 .requested_at = r->state == PAYMENT_SENT ? r->requested_at : 0,
                                 .generation = r->generation};
}

static struct model_disk image(const struct model_state *s)
{
    struct model_disk disk = {
        .row_count = s->row_count, .lowest_bound = s->lowest_bound, .accepted = s->accepted};
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        disk.open[i] = image_of(&s->record[i]);
    for (unsigned i = 0; i < s->row_count; i++)
        disk.lowest_bound = earlier(disk.lowest_bound, s->row[i].requested_at);
    return disk;
}

static int by_bytes(const void *a, const void *b)
{
    return memcmp(b, a, sizeof(struct model_record));
}

static void sort_open(struct model_disk *disk)
{
    for (unsigned i = 1; i < MODEL_RECORDS; i++)
        for (unsigned j = i; j > 0 && by_bytes(&disk->open[j - 1], &disk->open[j]) > 0; j--) {
            struct model_record swap = disk->open[j];
            disk->open[j] = disk->open[j - 1];
            disk->open[j - 1] = swap;
        }
}

bool model_disk_is_behind(const struct model_state *s)
{
    struct model_disk disk = image(s);
    sort_open(&disk);
    return model_bounds.cold && memcmp(&disk, &s->disk, sizeof disk) != 0;
}

void model_sync(struct model_state *s)
{
    s->disk = image(s);
    sort_open(&s->disk);
    if (model_bounds.sync)
        s->promised |= s->accepted;
}

/* Only what has ended. */
void model_forget_in_journal(struct model_state *s, unsigned ids)
{
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        if (s->record[i].state != PAYMENT_FREE)
            ids &= ~(1u << s->record[i].id);
    s->accepted &= (uint8_t)~ids;
}

/* Whoever opens it writes first what the region holds. */
void model_open_journal(struct model_state *s)
{
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        if (s->record[i].state != PAYMENT_FREE)
            s->accepted |= (uint8_t)(1u << s->record[i].id);
    model_sync(s);
}

bool model_has_left(const struct model_state *s, const struct model_record *r)
{
    if (!model_bounds.cold || !model_bounds.sync || !rule_holds(RULE_BOUND_ON_DISK))
        return true;
    for (unsigned i = 0; i < MODEL_RECORDS; i++) {
        const struct model_record *d = &s->disk.open[i];
        if (d->state == PAYMENT_SENT && d->id == r->id && d->processor == r->processor &&
            d->requested_at == r->requested_at)
            return true;
    }
    return false;
}

bool model_journal_may_know(const struct model_state *s, unsigned id)
{
    if (!model_bounds.cold)
        return false;
    return s->accepted >> id & 1 && rule_holds(RULE_JOURNAL_ASKED);
}

bool model_end_may_be_lost(const struct model_state *s)
{
    bool end_lost = !model_bounds.sync && s->colds_left < model_bounds.cold;
    return end_lost && rule_holds(RULE_COLD_UNKNOWN_ASKED);
}

static unsigned flags_of(const struct model_record *r)
{
    bool sent = r->state == PAYMENT_SENT;
    unsigned flags = r->flags;
    if (rule_holds(sent ? RULE_COLD_BOUND_ASKED : RULE_COLD_QUEUED_ASKED))
        flags |= PAYMENT_FLAG_ASK;
    if (!(r->flags & PAYMENT_FLAG_SEEN) && rule_holds(RULE_COLD_UNCOUNTED))
        flags |= PAYMENT_FLAG_UNCOUNTED;
    if (sent)
        flags |= PAYMENT_FLAG_UNKNOWN;
    return flags;
}

bool model_waits_for_quarantine(const struct model_state *s, const struct model_record *r)
{
    bool told = r->flags & PAYMENT_FLAG_UNCOUNTED;
    return s->quarantine && r->flags & PAYMENT_FLAG_ASK && rule_holds(RULE_QUARANTINE) &&
           (told || (!model_bounds.sync && !model_bounds.early));
}

/* What slept at a processor has acted by now, or never will. */
void model_end_quarantine(struct model_state *s)
{
    unsigned kept = 0;
    s->quarantine = false;
    for (unsigned i = 0; i < s->asleep_count; i++) {
        struct model_request request = s->asleep[i];
        bool gone = request.is_old && !model_bounds.sleepers;
        request.is_old = false;
        if (!gone)
            s->asleep[kept++] = request;
    }
    for (unsigned i = kept; i < s->asleep_count; i++)
        s->asleep[i] = (struct model_request){0};
    s->asleep_count = (uint8_t)kept;
}

static bool may_be_charged_elsewhere(const struct model_state *s, const struct model_record *disk,
                                     unsigned processor)
{
    const struct model_insert *insert = &s->book[processor][disk->id];
    bool bound_here = disk->state == PAYMENT_SENT && disk->processor == processor;
    if (insert->amount && !insert->foreign)
        return !bound_here || insert->requested_at != disk->requested_at;
    for (unsigned i = 0; i < s->asleep_count; i++)
        if (s->asleep[i].id == disk->id && s->asleep[i].processor == processor &&
            (!bound_here || s->asleep[i].requested_at != disk->requested_at))
            return true;
    return false;
}

/* A stated limit of async: the last binding was not on disk. If somebody else has put the id into
 * the other book, that one may be counted instead of ours; if the id was taken for a known one
 * (SEEN), what is found is not counted at all. */
static uint8_t unbound_on_disk(const struct model_state *s)
{
    unsigned ids = 0;
    for (unsigned i = 0; i < MODEL_RECORDS; i++) {
        const struct model_record *disk = &s->disk.open[i];
        for (unsigned p = 0; p < SHM_PROCESSORS && disk->state; p++)
            if ((s->book[!p][disk->id].foreign || disk->flags & PAYMENT_FLAG_SEEN) &&
                may_be_charged_elsewhere(s, disk, p))
                ids |= 1u << disk->id;
    }
    return (uint8_t)ids;
}

/* What is promised of these is less, and documents say so. */
static void meet_limits(struct model_state *s)
{
    if (model_bounds.strict)
        return;
    if (!model_bounds.sync)
        s->lost |= (s->accepted & (uint8_t)~s->disk.accepted) | unbound_on_disk(s);
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        if (s->disk.open[i].state)
            s->recounted |= s->forgotten & (uint8_t)(1u << s->disk.open[i].id);
}

static void lose_region(struct model_state *s)
{
    memset(s->record, 0, sizeof s->record);
    memset(s->ring, 0, sizeof s->ring);
    memset(s->ring_length, 0, sizeof s->ring_length);
    memset(s->row + s->disk.row_count, 0, sizeof s->row[0] * (MODEL_ROWS - s->disk.row_count));
    memset(s->filter_ids, 0, sizeof s->filter_ids);
    memset(s->filter_adopted, 0, sizeof s->filter_adopted);
    s->filter_active = 0;
    s->stray = (struct model_stray){0};
    s->decided = s->decided_id = s->decided_spoiled = 0;
}

static void unbind(struct model_record *r)
{
    r->state = PAYMENT_QUEUED;
    r->processor = r->requested_at = 0;
    r->flags &= (uint8_t)~PAYMENT_FLAG_UNKNOWN;
}

void model_start_cold(struct model_run *run, unsigned what)
{
    struct model_state *s = &run->state;
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        if (s->record[i].waiting == WAITING_POST && model_has_left(s, &s->record[i]))
            model_abandon(run, &s->record[i]);
    meet_limits(s);
    if (!model_bounds.sync)
        s->promised &= s->disk.accepted;
    for (unsigned i = 0; i < s->asleep_count; i++)
        s->asleep[i].is_old = true;
    lose_region(s);
    s->quarantine = true;
    s->accepted = rule_holds(RULE_COLD_IDS_KNOWN) ? s->disk.accepted : 0;
    s->filter_ids[0] = what & 1 ? s->accepted : 0;
    s->row_count = s->disk.row_count;
    s->lowest_bound = rule_holds(RULE_COLD_LOWEST_BOUND) ? s->disk.lowest_bound : 0;
    for (unsigned i = 0; i < MODEL_RECORDS; i++) {
        s->record[i] = s->disk.open[i];
        s->record[i].flags = (uint8_t)flags_of(&s->disk.open[i]);
        if (s->record[i].state == PAYMENT_SENT && !rule_holds(RULE_COLD_STAYS_BOUND))
            unbind(&s->record[i]);
        if (s->record[i].state == PAYMENT_FREE)
            s->record[i] = (struct model_record){0};
    }
    s->worker_down = true;
    s->colds_left--;
}
