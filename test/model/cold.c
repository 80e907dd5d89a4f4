/* The journal, and a cold start: what journal_replay.c makes of it in production, on the model's
 * state.
 *
 * Whole moves are on disk or not, up to some moment (sync and async), and before a 2xx and before a
 * request leaves (sync). A 2xx is promised in sync when the acceptance is on disk.
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
    if (sent && rule_holds(RULE_COLD_PINS))
        flags |= PAYMENT_FLAG_UNKNOWN;
    return flags;
}

/* What slept at a processor has acted within the quarantine, or never will. */
static void pass_quarantine(struct model_state *s, unsigned who_wakes)
{
    if (model_bounds.sync || !rule_holds(RULE_QUARANTINE))
        return;
    for (unsigned i = 0; i < s->asleep_count; i++) {
        const struct model_request *r = &s->asleep[i];
        struct model_insert *insert = &s->book[r->processor][r->id];
        if (who_wakes >> i & 1 && !insert->amount)
            *insert = (struct model_insert){.amount = r->amount, .requested_at = r->requested_at};
    }
    memset(s->asleep, 0, sizeof s->asleep);
    s->asleep_count = 0;
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

void model_start_cold(struct model_run *run, unsigned what)
{
    struct model_state *s = &run->state;
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        if (s->record[i].waiting == WAITING_POST && model_has_left(s, &s->record[i]))
            model_abandon(run, &s->record[i]);
    pass_quarantine(s, what >> 1);
    lose_region(s);
    if (!model_bounds.sync)
        s->lost |= s->accepted & (uint8_t)~s->disk.accepted;
    s->promised &= s->disk.accepted;
    s->accepted = rule_holds(RULE_COLD_IDS_KNOWN) ? s->disk.accepted : 0;
    s->filter_ids[0] = what & 1 ? s->accepted : 0;
    s->row_count = s->disk.row_count;
    s->lowest_bound = rule_holds(RULE_COLD_LOWEST_BOUND) ? s->disk.lowest_bound : 0;
    for (unsigned i = 0; i < MODEL_RECORDS; i++) {
        s->record[i] = s->disk.open[i];
        s->record[i].flags = (uint8_t)flags_of(&s->disk.open[i]);
        if (s->record[i].state == PAYMENT_FREE)
            s->record[i] = (struct model_record){0};
    }
    s->worker_down = true;
    s->colds_left--;
}
