/* What may happen in a state, and what does happen when nobody misbehaves. */
#include <string.h>

#include "test/model/model.h"
#include "test/model/rules.h"
#include "worker/payment_protocol.h"

/* ------------------------------------------------------------------- initial states */

enum { FOREIGN_KINDS = 1 + SHM_PROCESSORS * MODEL_AMOUNTS * 2 };

unsigned model_initial_count(void)
{
    unsigned count = 1;
    for (unsigned id = 0; id < model_bounds.foreign; id++)
        count *= FOREIGN_KINDS;
    return count;
}

static void insert_foreign(struct model_state *s, unsigned id, unsigned kind)
{
    if (kind == 0)
        return;
    kind--;
    s->book[kind & 1][id] = (struct model_insert){
        .amount = (uint8_t)(1 + (kind >> 1 & 1)),
        .requested_at = kind >> 2 ? MODEL_TIME_FOREIGN_LATE : MODEL_TIME_FOREIGN_EARLY,
        .foreign = true};
}

void model_initial(struct model_state *s, unsigned number)
{
    memset(s, 0, sizeof *s);
    for (unsigned id = 0; id < model_bounds.ids; id++)
        s->posts_left[id][0] = (uint8_t)model_bounds.copies;
    s->posts_left[0][1] = (uint8_t)model_bounds.conflicts;
    s->crashes_left = (uint8_t)model_bounds.crashes;
    s->purges_left = (uint8_t)model_bounds.purges;
    s->rotations_left = (uint8_t)model_bounds.rotations;
    s->decisions_left = (uint8_t)model_bounds.decisions;
    s->colds_left = (uint8_t)model_bounds.cold;
    for (unsigned id = 0; id < model_bounds.foreign; id++, number /= FOREIGN_KINDS)
        insert_foreign(s, id, number % FOREIGN_KINDS);
}

/* ------------------------------------------------- one state for all that are alike */

/* A request whose id stands in the book can only be told so, and nobody listens. */
static void drop_inert(struct model_state *s)
{
    unsigned kept = 0;
    for (unsigned i = 0; i < s->asleep_count; i++)
        if (!s->book[s->asleep[i].processor][s->asleep[i].id].amount)
            s->asleep[kept++] = s->asleep[i];
    for (unsigned i = kept; i < MODEL_ASLEEP; i++)
        s->asleep[i] = (struct model_request){0};
    s->asleep_count = (uint8_t)kept;
}

static void sort(void *items, size_t count, size_t size)
{
    uint8_t *bytes = items, swap[sizeof(struct model_record)];
    for (size_t i = 1; i < count; i++)
        for (size_t j = i; j > 0; j--) {
            uint8_t *a = bytes + (j - 1) * size, *b = bytes + j * size;
            if (memcmp(a, b, size) >= 0)
                break;
            memcpy(swap, a, size);
            memcpy(a, b, size);
            memcpy(b, swap, size);
        }
}

/* The lane refuses at once what is not, or no longer, pinned. */
static void drop_refused_decision(struct model_state *s)
{
    for (unsigned i = 0; i < model_bounds.records; i++)
        if (s->record[i].id == s->decided_id && model_is_pinned(&s->record[i]))
            return;
    s->decided = s->decided_id = s->decided_spoiled = 0;
}

/* Records, rings and sleeping requests have no order that anything depends on. */
void model_normalise(struct model_state *s)
{
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        if (s->record[i].state == PAYMENT_FREE)
            s->record[i] = (struct model_record){0};
    drop_inert(s);
    drop_refused_decision(s);
    sort(s->record, MODEL_RECORDS, sizeof s->record[0]);
    sort(s->disk.open, MODEL_RECORDS, sizeof s->disk.open[0]);
    sort(s->asleep, MODEL_ASLEEP, sizeof s->asleep[0]);
    if (model_bounds.rings == 2 && memcmp(s->ring[0], s->ring[1], sizeof s->ring[0]) < 0) {
        struct model_entry swap[MODEL_RING_SLOTS];
        uint8_t length = s->ring_length[0];
        memcpy(swap, s->ring[0], sizeof swap);
        memcpy(s->ring[0], s->ring[1], sizeof swap);
        memcpy(s->ring[1], swap, sizeof swap);
        s->ring_length[0] = s->ring_length[1];
        s->ring_length[1] = length;
    }
}

/* ------------------------------------------------------------------------- each move */

struct offer {
    const struct model_state *from;
    model_visit *visit;
    void *context;
};

/* The move, and the move cut short by death after each of its stores. */
static void offer(const struct offer *o, enum model_move_kind kind, unsigned who, unsigned what)
{
    struct model_move move = {(uint8_t)kind, (uint8_t)who, (uint8_t)what, MODEL_NEVER};
    struct model_run run;
    model_perform(&run, o->from, move, NULL);
    o->visit(o->context, &run, move);
    unsigned stores = o->from->crashes_left ? run.stores : 0;
    for (unsigned fuse = 1; fuse <= stores; fuse++) {
        move.fuse = (uint8_t)fuse;
        model_perform(&run, o->from, move, NULL);
        o->visit(o->context, &run, move);
    }
}

static bool api_knows(const struct model_state *s, unsigned id, unsigned amount)
{
    for (unsigned i = 0; i < model_bounds.records; i++) {
        const struct model_record *r = &s->record[i];
        if (r->state != PAYMENT_FREE && r->id == id && r->amount == amount)
            return r->generation == s->generation || !rule_holds(RULE_KNOWN_BY_STAMP);
    }
    return false;
}

static void offer_posts(const struct offer *o, unsigned id, unsigned amount)
{
    const struct model_state *s = o->from;
    if (!s->posts_left[id][amount - 1])
        return;
    for (unsigned ring = 0; ring < model_bounds.rings; ring++)
        if (s->ring_length[ring] < MODEL_RING_SLOTS)
            offer(o, MOVE_POST, id, amount | ring << 2);
    if (api_knows(s, id, amount))
        offer(o, MOVE_POST_KNOWN, id, amount);
}

static void offer_outside(const struct offer *o)
{
    for (unsigned id = 0; id < model_bounds.ids; id++)
        for (unsigned amount = 1; amount <= MODEL_AMOUNTS; amount++)
            offer_posts(o, id, amount);
    if (o->from->purges_left)
        offer(o, MOVE_ASK_PURGE, 0, 0);
    for (unsigned i = 0; i < o->from->asleep_count; i++)
        offer(o, MOVE_AWAKE, i, 0);
}

/* Beyond the horizon a payment may be charged twice, but it is counted as it was charged.
 * The exception, a stated limit, is left out: the clock stepped back and showing the very
 * millisecond at which the same, forgotten payment was bound before. */
static bool may_bind(const struct model_state *s, unsigned id, unsigned processor, unsigned time)
{
    return !(s->forgotten >> id & 1) || s->book[processor][id].requested_at != time;
}

static void offer_ready(const struct offer *o, unsigned record)
{
    const struct model_record *r = &o->from->record[record];
    if (r->flags & PAYMENT_FLAG_ASK) {
        if (!model_waits_for_quarantine(o->from, r))
            offer(o, MOVE_READY, record, 0);
        return;
    }
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++)
        for (unsigned time = 2; time <= 2 * model_bounds.times; time += 2)
            if (may_bind(o->from, r->id, processor, time))
                offer(o, MOVE_READY, record, processor | time << 1);
}

static bool is_possible(const struct model_state *s, const struct model_record *r,
                        enum model_answer answer)
{
    unsigned waiting = r->waiting;
    bool post = waiting == WAITING_POST || waiting == WAITING_POST_OK;
    if (waiting == WAITING_POST && !model_has_left(s, r))
        return false;
    if (waiting >= WAITING_DECIDED && answer == ANSWER_LATE)
        return waiting == WAITING_DECIDED && !s->book[r->processor][r->id].amount;
    switch (answer) {
    case ANSWER_HONEST:
        return true;
    case ANSWER_LATE:
        if (waiting == WAITING_POST)
            return !s->book[r->processor][r->id].amount;
        return !post && waiting < WAITING_ABSENT && !s->book[waiting - WAITING_ASKED][r->id].amount;
    case ANSWER_BAD_REQUEST:
        return waiting == WAITING_POST && model_bounds.bad_requests;
    case ANSWER_REFUSED:
    case ANSWER_RESENT:
        return waiting == WAITING_POST;
    case ANSWER_UNKNOWN:
        return post;
    case ANSWER_NONE:
        return !post;
    case ANSWERS:
        break;
    }
    return false;
}

static void offer_record(const struct offer *o, unsigned record)
{
    const struct model_record *r = &o->from->record[record];
    const struct model_stray *stray = &o->from->stray;
    if (model_asks(stray->waiting) && model_asks(r->waiting) &&
        model_asked(stray->waiting) == model_asked(r->waiting))
        offer(o, MOVE_STRAY_ANSWER, record, 0);
    if (r->waiting == WAITING_VISIT)
        offer(o, MOVE_VISIT, record, 0);
    else if (r->waiting == WAITING_READY)
        offer_ready(o, record);
    else if (r->waiting == WAITING_RESEND && !model_waits_for_quarantine(o->from, r))
        offer(o, MOVE_RESEND, record, 0);
    else if (r->waiting != WAITING_NOT && r->waiting != WAITING_RESEND)
        for (unsigned answer = 0; answer < ANSWERS; answer++)
            if (is_possible(o->from, r, answer))
                offer(o, MOVE_ANSWER, record, answer);
}

/* What an operator who tells the truth says of a pinned payment: that it will never be
 * executed, only when nothing of it sleeps anywhere. Of an attempt that is out he cannot know.
 * "It stands in the book" may be said at any time: the book is asked. */
static bool is_true(const struct model_state *s, unsigned id, enum shm_decision decision)
{
    for (unsigned i = 0; i < s->asleep_count && decision != SHM_DECISION_SETTLED; i++)
        if (s->asleep[i].id == id)
            return false;
    return true;
}

static bool may_ask_for_decision(const struct model_record *r)
{
    return r->waiting == WAITING_RESEND ||
           (model_asks(r->waiting) && r->waiting < WAITING_ABSENT) ||
           (r->waiting == WAITING_POST && !rule_holds(RULE_RESOLVE_NOT_IN_FLIGHT));
}

static void offer_operator(const struct offer *o, unsigned record)
{
    const struct model_state *s = o->from;
    const struct model_record *r = &s->record[record];
    if (!model_is_pinned(r))
        return;
    for (unsigned decision = SHM_DECISION_SETTLED;
         s->decisions_left && !s->decided && decision <= SHM_DECISION_REJECT; decision++)
        if (is_true(s, r->id, decision))
            offer(o, MOVE_DECIDE, record, decision);
    if (s->decided && s->decided_id == r->id && may_ask_for_decision(r))
        offer(o, MOVE_RESOLVE, record, 0);
}

static bool may_recycle(const struct model_record *r)
{
    return payment_state_is_terminal(r->state) &&
           (r->state == PAYMENT_SETTLED || rule_holds(RULE_RECYCLE_ALL_ENDED));
}

static bool may_take(const struct model_state *s, unsigned ring)
{
    const struct model_entry *entry = &s->ring[ring][0];
    bool dropped = entry->generation < s->purge_applied && rule_holds(RULE_PURGE_BY_STAMP);
    return s->ring_length[ring] > 0 &&
           (entry->generation <= s->purge_applied || !rule_holds(RULE_PURGE_NEWER_WAITS)) &&
           (dropped || model_record_for(s, entry->id) != MODEL_RECORDS);
}

static void offer_intake(const struct offer *o, unsigned ring)
{
    if (!may_take(o->from, ring))
        return;
    for (unsigned what = 0; what < 4; what++)
        if ((!(what & 1) || model_bounds.false_positives) && (!(what & 2) || model_bounds.young))
            offer(o, MOVE_INTAKE, ring, what);
}

static bool asks_for_sent(const struct model_state *s)
{
    for (unsigned i = 0; i < model_bounds.records; i++)
        if (s->record[i].state == PAYMENT_SENT && s->record[i].waiting >= WAITING_ASKED &&
            s->record[i].waiting < WAITING_ABSENT)
            return true;
    return false;
}

static void offer_cold(const struct offer *o)
{
    if (o->from->quarantine)
        offer(o, MOVE_QUARANTINE_OVER, 0, 0);
    for (unsigned what = 0; what < 2 && o->from->colds_left; what++)
        offer(o, MOVE_COLD, 0, what);
}

static void offer_worker(const struct offer *o)
{
    const struct model_state *s = o->from;
    for (unsigned i = 0; i < model_bounds.records; i++) {
        offer_record(o, i);
        offer_operator(o, i);
        if (may_recycle(&s->record[i]))
            offer(o, MOVE_RECYCLE, i, 0);
    }
    for (unsigned ring = 0; ring < model_bounds.rings; ring++)
        offer_intake(o, ring);
    if (s->rotations_left)
        offer(o, MOVE_ROTATE, 0, 0);
    if (s->purge_applied != s->generation) {
        offer(o, MOVE_PURGE, 0, 0);
        if (asks_for_sent(s))
            offer(o, MOVE_PURGE, 0, 1);
    }
    if (s->crashes_left)
        offer(o, MOVE_CRASH, 0, 0);
}

bool model_posts_first;

static bool has_room(const struct model_state *s)
{
    for (unsigned ring = 0; ring < model_bounds.rings; ring++)
        if (s->ring_length[ring] < MODEL_RING_SLOTS)
            return true;
    return false;
}

/* false: there is nothing to post, or it does not come first. */
static bool offer_posts_first(const struct offer *o)
{
    const struct model_state *s = o->from;
    bool any = false;
    if (!model_posts_first || s->purges_left || s->colds_left ||
        s->purge_applied != s->generation || !has_room(s))
        return false;
    for (unsigned id = 0; id < model_bounds.ids; id++)
        for (unsigned amount = 1; amount <= MODEL_AMOUNTS; amount++) {
            if (!s->posts_left[id][amount - 1])
                continue;
            any = true;
            offer(o, MOVE_NOT_POSTED, id, amount);
            for (unsigned ring = 0; ring < model_bounds.rings; ring++)
                if (s->ring_length[ring] < MODEL_RING_SLOTS)
                    offer(o, MOVE_POST, id, amount | ring << 2);
        }
    return any;
}

void model_each_move(const struct model_state *from, model_visit *visit, void *context)
{
    struct offer o = {from, visit, context};
    if (offer_posts_first(&o))
        return;
    offer_outside(&o);
    offer_cold(&o);
    if (!from->worker_down && model_disk_is_behind(from))
        offer(&o, MOVE_SYNC, 0, 0);
    if (from->worker_down)
        offer(&o, MOVE_TAKE_OVER, 0, 0);
    else
        offer_worker(&o);
}

/* -------------------------------------------------------------------- the honest end */

static struct model_move honest(enum model_move_kind kind, unsigned who, unsigned what)
{
    return (struct model_move){(uint8_t)kind, (uint8_t)who, (uint8_t)what, MODEL_NEVER};
}

static struct model_move honest_ready(const struct model_state *s, unsigned record)
{
    const struct model_record *r = &s->record[record];
    unsigned what = 2 << 1;
    if (r->flags & PAYMENT_FLAG_ASK)
        return honest(MOVE_READY, record, 0);
    while (!may_bind(s, r->id, what & 1, what >> 1))
        what = what & 1 ? ((what >> 1) + 2) << 1 : what | 1;
    return honest(MOVE_READY, record, what);
}

static bool honest_record(const struct model_state *s, struct model_move *move)
{
    for (unsigned i = 0; i < model_bounds.records; i++) {
        unsigned waiting = s->record[i].waiting;
        if (waiting == WAITING_NOT)
            continue;
        *move = waiting == WAITING_READY    ? honest_ready(s, i)
                : waiting == WAITING_VISIT  ? honest(MOVE_VISIT, i, 0)
                : waiting == WAITING_RESEND ? honest(MOVE_RESEND, i, 0)
                                            : honest(MOVE_ANSWER, i, ANSWER_HONEST);
        return true;
    }
    return false;
}

static bool honest_intake(const struct model_state *s, struct model_move *move)
{
    for (unsigned ring = 0; ring < model_bounds.rings; ring++)
        if (may_take(s, ring)) {
            *move = honest(MOVE_INTAKE, ring, 0);
            return true;
        }
    for (unsigned i = 0; s->ring_length[0] + s->ring_length[1] > 0 && i < model_bounds.records; i++)
        if (may_recycle(&s->record[i])) {
            *move = honest(MOVE_RECYCLE, i, 0);
            return true;
        }
    return false;
}

bool model_honest_move(const struct model_state *s, struct model_move *move)
{
    if (s->worker_down) {
        *move = honest(MOVE_TAKE_OVER, 0, 0);
        return true;
    }
    if (s->purge_applied != s->generation) {
        *move = honest(MOVE_PURGE, 0, 0);
        return true;
    }
    if (s->quarantine) {
        *move = honest(MOVE_QUARANTINE_OVER, 0, 0);
        return true;
    }
    if (model_disk_is_behind(s)) {
        *move = honest(MOVE_SYNC, 0, 0);
        return true;
    }
    return honest_record(s, move) || honest_intake(s, move);
}
