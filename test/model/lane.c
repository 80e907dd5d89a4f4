/* The worker around the automaton: what lane.c does in production, on the model's state. */
#include <string.h>

#include "common/check.h"
#include "test/model/model.h"
#include "test/model/rules.h"
#include "test/model/words.h"
#include "worker/payment_protocol.h"

static uint8_t small(int64_t value)
{
    CHECK(value >= 0 && value <= UINT8_MAX);
    return (uint8_t)value;
}

static int64_t us_of(unsigned time)
{
    return (int64_t)time * 1000;
}

static uint8_t time_of(int64_t us)
{
    return us == INT64_MAX ? 0 : small(us / 1000);
}

/* As a time may be missing: 0 is none, and none is later than any. */
static int64_t us_or_none(unsigned time)
{
    return time ? us_of(time) : INT64_MAX;
}

static uint8_t earlier(unsigned a, unsigned b)
{
    return small(!a ? b : !b ? a : a < b ? a : b);
}

/* Every store of the worker passes here first. */
static bool lives_to_store(struct model_run *run)
{
    if (run->stores == run->fuse || run->cut)
        run->dead = true;
    else
        run->stores++;
    return !run->dead;
}

/* ------------------------------------------------------------------- the processors */

static void fall_asleep(struct model_run *run, struct model_request request)
{
    struct model_state *s = &run->state;
    for (unsigned i = 0; i < s->asleep_count; i++)
        if (!memcmp(&s->asleep[i], &request, sizeof request))
            return;
    if (s->asleep_count == MODEL_ASLEEP)
        run->cut = true;
    else
        s->asleep[s->asleep_count++] = request;
}

/* Nobody waits for the request of this record any more. */
void model_abandon(struct model_run *run, const struct model_record *r)
{
    fall_asleep(run, (struct model_request){r->processor, r->id, r->amount, r->requested_at, 0});
}

static bool execute(struct model_state *s, const struct model_request *request)
{
    struct model_insert *insert = &s->book[request->processor][request->id];
    if (insert->amount)
        return false;
    if (s->told & ~s->forgotten & 1u << request->id)
        s->charged_again = true;
    *insert =
        (struct model_insert){.amount = request->amount, .requested_at = request->requested_at};
    return true;
}

/* ------------------------------------------------------------------------ the stores */

static void make_record(struct model_record *r, const struct payment_event *event, unsigned flags)
{
    *r = (struct model_record){.state = r->state,
                               .flags = small(flags),
                               .id = small((int64_t)event->id.lo),
                               .amount = small(event->amount_cents),
                               .generation = small((int64_t)event->purge_generation)};
}

static void write_row(struct model_run *run, const struct model_record *r,
                      const struct payment_store *store)
{
    struct model_state *s = &run->state;
    unsigned number = s->row_count - !rule_holds(RULE_ROW_BEFORE_COUNT);
    if (number >= MODEL_ROWS)
        run->cut = true;
    else
        s->row[number] = (struct model_row){.processor = small(store->processor),
                                            .id = r->id,
                                            .amount = r->amount,
                                            .requested_at = time_of(store->value),
                                            .generation = r->generation};
}

static void set_state(struct model_state *s, struct model_record *r, int64_t state)
{
    r->state = small(state);
    if (state == PAYMENT_REJECTED)
        s->rejected = small(s->rejected | 1 << r->id);
}

static void remember(struct model_state *s, unsigned id, int64_t adopted_us)
{
    unsigned active = s->filter_active;
    s->filter_ids[active] = small(s->filter_ids[active] | 1 << id);
    s->filter_adopted[active] = earlier(s->filter_adopted[active], time_of(adopted_us));
}

static void take_from(struct model_state *s, unsigned ring)
{
    struct model_entry *entries = s->ring[ring];
    memmove(entries, entries + 1, sizeof entries[0] * (MODEL_RING_SLOTS - 1));
    entries[MODEL_RING_SLOTS - 1] = (struct model_entry){0};
    s->ring_length[ring]--;
}

static void put(struct model_run *run, struct model_record *r, const struct payment_store *store,
                const struct payment_event *event, unsigned ring)
{
    struct model_state *s = &run->state;
    switch (store->kind) {
    case PAYMENT_STORE_FIELDS:
        make_record(r, event, (unsigned)store->value);
        break;
    case PAYMENT_STORE_STATE:
        set_state(s, r, store->value);
        break;
    case PAYMENT_STORE_FLAGS:
        r->flags = small(store->value);
        break;
    case PAYMENT_STORE_REFUSALS:
        r->refusals = small(store->value);
        break;
    case PAYMENT_STORE_PROCESSOR:
        r->processor = small(store->value);
        break;
    case PAYMENT_STORE_REQUESTED_AT:
        r->requested_at = time_of(store->value);
        break;
    case PAYMENT_STORE_ROW_NAME:
        r->row_name = small(store->value ? s->row_count + rule_holds(RULE_ROW_NAMED_FIRST) : 0);
        break;
    case PAYMENT_STORE_ROW:
        write_row(run, r, store);
        break;
    case PAYMENT_STORE_ROW_COUNT:
        s->row_count++;
        break;
    case PAYMENT_STORE_LOWEST_BOUND:
        s->lowest_bound = time_of(store->value);
        break;
    case PAYMENT_STORE_REMEMBER:
        remember(s, r->id, store->value);
        break;
    case PAYMENT_STORE_RING_HEAD:
        take_from(s, ring);
        break;
    }
}

/* -------------------------------------------------------------------------- one step */

static struct payment_view view_of(const struct model_record *r)
{
    if (r->state == PAYMENT_FREE)
        return (struct payment_view){.state = PAYMENT_FREE};
    return (struct payment_view){.state = r->state,
                                 .processor = r->processor,
                                 .flags = r->flags,
                                 .refusals = r->refusals,
                                 .id = {.lo = r->id},
                                 .amount_cents = r->amount,
                                 .requested_at_us = us_of(r->requested_at),
                                 .row_named = r->row_name != 0,
                                 .purge_generation = r->generation};
}

static struct payment_lane_view lane_of(const struct model_state *s)
{
    return (struct payment_lane_view){.purge_applied = s->purge_applied,
                                      .lowest_bound_us = us_or_none(s->lowest_bound),
                                      .refusals_max = MODEL_REFUSALS_MAX};
}

static void begin(struct model_run *run, struct model_record *r, const struct payment_step *step)
{
    run->dead = run->dead || run->stores == run->fuse || run->cut;
    if (run->dead)
        return;
    switch (step->action) {
    case PAYMENT_ACTION_NONE:
        break;
    case PAYMENT_ACTION_READY:
        r->waiting = WAITING_READY;
        break;
    case PAYMENT_ACTION_POST:
        CHECK(step->processor == r->processor);
        r->waiting = WAITING_POST;
        break;
    case PAYMENT_ACTION_LOOKUP:
    case PAYMENT_ACTION_RETRY_LOOKUP:
        r->waiting = small(WAITING_ASKED + step->processor);
        break;
    case PAYMENT_ACTION_RESEND:
        r->waiting = WAITING_RESEND;
        break;
    case PAYMENT_ACTION_ENDED:
    case PAYMENT_ACTION_FREED:
        r->waiting = WAITING_NOT;
        break;
    }
}

static void take_step(struct model_run *run, unsigned record, struct payment_event event,
                      unsigned ring)
{
    struct model_record none = {0}; /* an entry that is dropped needs no record */
    struct model_record *r = record < MODEL_RECORDS ? &run->state.record[record] : &none;
    struct payment_view payment = view_of(r);
    struct payment_lane_view lane = lane_of(&run->state);
    struct payment_step step;
    model_rules_before(&run->state, &payment, &lane, &event);
    payment_protocol_step(&step, &payment, &lane, &event);
    model_rules_after(&payment, &lane, &event, &step);
    if (event.kind == PAYMENT_EVENT_BIND && !rule_holds(RULE_BIND_BEFORE_SEND))
        fall_asleep(run, (struct model_request){small(event.processor), r->id, r->amount,
                                                small(event.now_ms), 0});
    for (unsigned i = 0; i < step.store_count && lives_to_store(run); i++) {
        put(run, r, &step.stores[i], &event, ring);
        say_store(run->text, &step.stores[i]);
    }
    begin(run, r, &step);
}

static void happens(struct model_run *run, unsigned record, enum payment_event_kind kind)
{
    take_step(run, record, (struct payment_event){.kind = kind}, 0);
}

/* ------------------------------------------------------------------ what a worker does */

unsigned model_record_for(const struct model_state *s, unsigned id)
{
    unsigned free = MODEL_RECORDS;
    for (unsigned i = model_bounds.records; i-- > 0;)
        if (s->record[i].state == PAYMENT_FREE)
            free = i;
        else if (s->record[i].id == id && rule_holds(RULE_COPY_RECOGNISED))
            return i;
    return free;
}

static void intake(struct model_run *run, struct model_move move)
{
    struct model_state *s = &run->state;
    const struct model_entry *entry = &s->ring[move.who][0];
    bool known = (s->filter_ids[0] | s->filter_ids[1]) >> entry->id & 1;
    bool told_of = model_journal_may_know(s, entry->id);
    unsigned id = entry->id, record = model_record_for(s, id);
    take_step(run, record,
              (struct payment_event){.kind = PAYMENT_EVENT_INTAKE,
                                     .id = {.lo = entry->id},
                                     .amount_cents = entry->amount,
                                     .purge_generation = entry->generation,
                                     .remembered = known || told_of || (move.what & 1),
                                     .ask_first = (move.what & 2) || model_end_may_be_lost(s)},
              move.who);
    if (model_bounds.cold && !run->dead)
        s->accepted = small(s->accepted | 1 << id);
}

static void ready(struct model_run *run, struct model_move move)
{
    if (run->state.record[move.who].flags & PAYMENT_FLAG_ASK)
        happens(run, move.who, PAYMENT_EVENT_ASK);
    else
        take_step(run, move.who,
                  (struct payment_event){.kind = PAYMENT_EVENT_BIND,
                                         .processor = move.what & 1,
                                         .now_ms = move.what >> 1},
                  0);
}

/* The operator could not know of this attempt. */
static void spoil(struct model_state *s, const struct model_record *r)
{
    if (s->decided && s->decided_id == r->id)
        s->decided_spoiled = true;
}

static void answer_post(struct model_run *run, struct model_move move)
{
    struct model_record *r = &run->state.record[move.who];
    struct model_request request = {r->processor, r->id, r->amount, r->requested_at, 0};
    bool inserted = r->waiting == WAITING_POST_OK;
    r->waiting = WAITING_NOT;
    switch ((enum model_answer)move.what) {
    case ANSWER_LATE:
        execute(&run->state, &request);
        r->waiting = WAITING_POST_OK;
        break;
    case ANSWER_HONEST:
        inserted = inserted || execute(&run->state, &request);
        if (!inserted)
            run->state.told |= (uint8_t)(1u << r->id);
        happens(run, move.who, inserted ? PAYMENT_EVENT_ACCEPTED : PAYMENT_EVENT_EXISTS);
        break;
    case ANSWER_REFUSED:
        happens(run, move.who, PAYMENT_EVENT_REFUSED);
        break;
    case ANSWER_BAD_REQUEST:
        happens(run, move.who, PAYMENT_EVENT_BAD_REQUEST);
        break;
    case ANSWER_RESENT:
        model_abandon(run, r);
        spoil(&run->state, r);
        happens(run, move.who,
                rule_holds(RULE_HIDDEN_RESEND_UNKNOWN) ? PAYMENT_EVENT_UNKNOWN
                                                       : PAYMENT_EVENT_REFUSED);
        break;
    default:
        model_abandon(run, r);
        spoil(&run->state, r);
        happens(run, move.who, PAYMENT_EVENT_UNKNOWN);
    }
}

static struct payment_event what_book_says(const struct model_state *s, unsigned processor,
                                           unsigned id)
{
    const struct model_insert *insert = &s->book[processor][id];
    if (!insert->amount)
        return (struct payment_event){.kind = PAYMENT_EVENT_ABSENT, .processor = processor};
    return (struct payment_event){.kind = PAYMENT_EVENT_FOUND,
                                  .processor = processor,
                                  .stored_amount_cents = insert->amount,
                                  .stored_requested_at_us = us_of(insert->requested_at)};
}

static void answer_lookup(struct model_run *run, struct model_move move)
{
    struct model_record *r = &run->state.record[move.who];
    bool late = r->waiting >= WAITING_ABSENT;
    unsigned processor = model_asked(r->waiting);
    struct payment_event event = what_book_says(&run->state, processor, r->id);
    if (move.what == ANSWER_LATE) {
        r->waiting = small(WAITING_ABSENT + processor);
        return;
    }
    if (move.what == ANSWER_NONE)
        event = (struct payment_event){.kind = PAYMENT_EVENT_UNANSWERED, .processor = processor};
    else if (late)
        event = (struct payment_event){.kind = PAYMENT_EVENT_ABSENT, .processor = processor};
    take_step(run, move.who, event, 0);
}

static void drop_decision(struct model_state *s)
{
    s->decided = s->decided_id = s->decided_spoiled = 0;
}

/* The slot is taken out of its list: nothing but the look-up for the decision can follow. */
static void resolve(struct model_run *run, unsigned record)
{
    struct model_record *r = &run->state.record[record];
    if (r->waiting == WAITING_POST) /* only without RULE_RESOLVE_NOT_IN_FLIGHT */
        model_abandon(run, r);
    r->waiting = WAITING_DECIDED;
}

static void answer_decision(struct model_run *run, struct model_move move)
{
    struct model_state *s = &run->state;
    struct model_record *r = &s->record[move.who];
    struct payment_event event = what_book_says(s, r->processor, r->id);
    if (move.what == ANSWER_LATE) {
        r->waiting = WAITING_DECIDED_ABSENT;
        return;
    }
    if (r->waiting == WAITING_DECIDED_ABSENT)
        event.kind = PAYMENT_EVENT_ABSENT;
    event.book = move.what == ANSWER_NONE ? PAYMENT_EVENT_UNANSWERED : event.kind;
    event.kind = PAYMENT_EVENT_RESOLVE;
    event.decision = s->decided;
    event.attempt_unknown = s->decided_spoiled;
    drop_decision(s);
    take_step(run, move.who, event, 0);
}

/* Without RULE_STALE_ANSWER_DROPPED: the answer for a record that a purge has freed reaches the
 * payment that has the record now. */
static void answer_stray(struct model_run *run, struct model_move move)
{
    struct model_state *s = &run->state;
    struct model_stray stray = s->stray;
    s->stray = (struct model_stray){0};
    take_step(run, move.who, what_book_says(s, model_asked(stray.waiting), stray.id), 0);
}

static void leave_stray(struct model_state *s, const struct model_record *before,
                        const struct model_record *after)
{
    bool freed = before->state != PAYMENT_FREE && after->state == PAYMENT_FREE;
    if (freed && model_asks(before->waiting) && !rule_holds(RULE_STALE_ANSWER_DROPPED))
        s->stray = (struct model_stray){.waiting = before->waiting, .id = before->id};
}

static bool waits_for_post(const struct model_record *r)
{
    return r->waiting == WAITING_POST || r->waiting == WAITING_POST_OK;
}

static void answer(struct model_run *run, struct model_move move)
{
    if (run->state.record[move.who].waiting >= WAITING_DECIDED)
        answer_decision(run, move);
    else if (waits_for_post(&run->state.record[move.who]))
        answer_post(run, move);
    else
        answer_lookup(run, move);
}

/* Rule 9: first the lowest bound time, then the ids, then the other generation is active. */
static void rotate(struct model_run *run)
{
    struct model_state *s = &run->state;
    unsigned older = !s->filter_active;
    struct payment_lane_view lane = lane_of(s);
    int64_t lowest_us = payment_protocol_forget(&lane, us_or_none(s->filter_adopted[older]));
    bool lower = lowest_us != lane.lowest_bound_us && rule_holds(RULE_FORGET_LOWERS);
    bool first = rule_holds(RULE_FORGET_LOWERS_FIRST);
    if (lower && first && lives_to_store(run)) {
        s->lowest_bound = time_of(lowest_us);
        say(run->text, " lowest bound time = %u;", s->lowest_bound);
    }
    if (run->dead || !lives_to_store(run))
        return;
    uint8_t dropped = s->filter_ids[older] & (uint8_t)~s->filter_ids[!older];
    if (!model_bounds.cold || model_bounds.journal_forgets) /* else the journal tells of them */
        s->forgotten |= dropped;
    if (model_bounds.journal_forgets)
        model_forget_in_journal(s, dropped);
    s->filter_ids[older] = s->filter_adopted[older] = 0;
    say(run->text, " the older generation is cleared;");
    if (!lives_to_store(run))
        return;
    s->filter_active = small(older);
    say(run->text, " and made the active one;");
    if (lower && !first && lives_to_store(run))
        s->lowest_bound = time_of(lowest_us);
}

/* The lane places anew whatever waits, and nothing but a resend is right for all that was sent.
 * A look-up that is out stays out. */
static void resend_instead_of_asking(struct model_state *s)
{
    for (unsigned i = 0; i < model_bounds.records; i++) {
        struct model_record *r = &s->record[i];
        if (r->state == PAYMENT_SENT && r->waiting >= WAITING_ASKED && r->waiting < WAITING_ABSENT)
            r->waiting = WAITING_RESEND;
    }
}

static void apply_purge(struct model_run *run)
{
    struct model_state *s = &run->state;
    bool last = rule_holds(RULE_PURGE_APPLIED_LAST);
    if (!last && lives_to_store(run))
        s->purge_applied = s->generation;
    if (rule_holds(RULE_PURGE_ROWS) && lives_to_store(run)) {
        s->first_row = s->row_count;
        say(run->text, " first row = %u;", s->first_row);
    }
    for (unsigned i = 0; i < model_bounds.records && !run->dead; i++) {
        struct model_record before = s->record[i];
        take_step(
            run, i,
            (struct payment_event){.kind = PAYMENT_EVENT_PURGE, .purge_generation = s->generation},
            0);
        leave_stray(s, &before, &s->record[i]);
    }
    if (last && !run->dead && lives_to_store(run)) {
        s->purge_applied = s->generation;
        say(run->text, " purge %u applied;", s->purge_applied);
    }
}

static void visit(struct model_run *run, unsigned record)
{
    const struct model_state *s = &run->state;
    const struct model_record *r = &s->record[record];
    struct payment_event event = {.kind = PAYMENT_EVENT_TAKE_OVER};
    if (r->row_name && r->row_name <= s->row_count) {
        const struct model_row *row = &s->row[r->row_name - 1];
        event.row_published = true;
        event.processor = row->processor;
        event.stored_requested_at_us = us_of(row->requested_at);
    }
    take_step(run, record, event, 0);
}

static void take_over(struct model_run *run)
{
    for (unsigned i = 0; i < model_bounds.records && !run->dead; i++)
        if (run->state.record[i].waiting != WAITING_VISIT)
            visit(run, i);
    if (!run->dead)
        run->state.worker_down = false;
    if (!run->dead && model_bounds.cold)
        model_open_journal(&run->state);
}

/* Everything that only the worker knew is gone; what it had sent is not. */
static void crash(struct model_run *run)
{
    struct model_state *s = &run->state;
    bool lazy = !rule_holds(RULE_VISIT_ALL_FIRST);
    for (unsigned i = 0; i < MODEL_RECORDS; i++) {
        struct model_record *r = &s->record[i];
        if (r->waiting == WAITING_POST && model_has_left(s, r))
            model_abandon(run, r);
        bool open = r->state == PAYMENT_QUEUED || r->state == PAYMENT_SENT;
        r->waiting = lazy && open ? WAITING_VISIT : WAITING_NOT;
    }
    s->stray = (struct model_stray){0};
    drop_decision(s); /* by the next owner: it cannot know what was out */
    s->worker_down = true;
    s->crashes_left--;
}

/* ------------------------------------------------------------------ what others do */

static void promise(struct model_state *s, unsigned id)
{
    if (model_bounds.cold && model_bounds.sync && rule_holds(RULE_KNOWN_BEFORE_ANSWER))
        return; /* when it is on disk (cold.c) */
    s->promised = small(s->promised | 1 << id);
}

static void post(struct model_state *s, struct model_move move)
{
    unsigned ring = move.what >> 2, amount = move.what & 3;
    s->ring[ring][s->ring_length[ring]++] =
        (struct model_entry){.id = move.who, .amount = small(amount), .generation = s->generation};
    s->posts_left[move.who][amount - 1]--;
    promise(s, move.who);
}

static void ask_purge(struct model_state *s)
{
    s->generation++;
    s->purges_left--;
    s->purge_floor = s->row_count;
    s->promised = 0; /* whatever was accepted so far may be purged */
}

static void decide(struct model_state *s, struct model_move move)
{
    s->decisions_left--;
    s->decided = move.what;
    s->decided_id = s->record[move.who].id;
}

static void play(struct model_run *run, struct model_move move)
{
    struct model_state *s = &run->state;
    switch ((enum model_move_kind)move.kind) {
    case MOVE_BEGIN:
        break;
    case MOVE_POST:
        post(s, move);
        break;
    case MOVE_NOT_POSTED:
        s->posts_left[move.who][move.what - 1]--;
        break;
    case MOVE_POST_KNOWN:
        s->posts_left[move.who][move.what - 1]--;
        promise(s, move.who);
        break;
    case MOVE_ASK_PURGE:
        ask_purge(s);
        break;
    case MOVE_AWAKE:
        execute(s, &s->asleep[move.who]);
        break;
    case MOVE_INTAKE:
        intake(run, move);
        break;
    case MOVE_READY:
        ready(run, move);
        break;
    case MOVE_ANSWER:
        answer(run, move);
        break;
    case MOVE_STRAY_ANSWER:
        answer_stray(run, move);
        break;
    case MOVE_RESEND:
        happens(run, move.who,
                s->record[move.who].flags & PAYMENT_FLAG_ASK ? PAYMENT_EVENT_ASK
                                                             : PAYMENT_EVENT_RESEND);
        break;
    case MOVE_RECYCLE:
        happens(run, move.who, PAYMENT_EVENT_RECYCLE);
        break;
    case MOVE_VISIT:
        visit(run, move.who);
        break;
    case MOVE_ROTATE:
        s->rotations_left--;
        rotate(run);
        break;
    case MOVE_PURGE:
        if (move.what)
            resend_instead_of_asking(&run->state);
        apply_purge(run);
        break;
    case MOVE_DECIDE:
        decide(s, move);
        break;
    case MOVE_RESOLVE:
        resolve(run, move.who);
        break;
    case MOVE_TAKE_OVER:
        take_over(run);
        break;
    case MOVE_SYNC:
        model_sync(s);
        break;
    case MOVE_COLD:
        model_start_cold(run, move.what);
        break;
    case MOVE_QUARANTINE_OVER:
        model_end_quarantine(s);
        break;
    case MOVE_CRASH:
        run->dead = true;
        break;
    }
}

void model_perform(struct model_run *run, const struct model_state *from, struct model_move move,
                   struct text *text)
{
    run->state = *from;
    run->stores = 0;
    run->fuse = move.fuse;
    run->dead = run->cut = false;
    run->text = text;
    say_move(text, from, move);
    play(run, move);
    if (run->dead || run->stores == run->fuse) {
        crash(run);
        say(text, move.kind == MOVE_CRASH ? "" : " killed after %u stores", run->stores);
    }
    model_normalise(&run->state);
}
