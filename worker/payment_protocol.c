#include "worker/payment_protocol.h"

#include "common/check.h"

bool payment_state_is_terminal(enum payment_state state)
{
    return state >= PAYMENT_SETTLED && state <= PAYMENT_REJECTED;
}

static void store(struct payment_step *step, enum payment_store_kind kind, int64_t value)
{
    CHECK(step->store_count < PAYMENT_STORES_MAX);
    step->stores[step->store_count++] = (struct payment_store){.kind = kind, .value = value};
}

static void end(struct payment_step *step, enum payment_state state)
{
    store(step, PAYMENT_STORE_STATE, state);
    step->action = PAYMENT_ACTION_ENDED;
}

/* Rule 8. The record names its row before the row exists, so that a new owner
 * can tell a settled payment (row published) from an unknown one (not
 * published) without searching the ledger. */
static void settle(struct payment_step *step, unsigned processor, int64_t requested_at_us)
{
    store(step, PAYMENT_STORE_ROW_NAME, 1);
    store(step, PAYMENT_STORE_ROW, requested_at_us);
    step->stores[step->store_count - 1].processor = processor;
    store(step, PAYMENT_STORE_ROW_COUNT, 0);
    /* Only now may the bound values be overwritten by adopted ones: until the
     * row is published they are what would have to be resent. */
    store(step, PAYMENT_STORE_PROCESSOR, processor);
    store(step, PAYMENT_STORE_REQUESTED_AT, requested_at_us);
    end(step, PAYMENT_SETTLED);
}

/* Rule 9: whoever frees a record that may stand in a book remembers the id first. */
static void forget(struct payment_step *step, const struct payment_view *payment,
                   const struct payment_lane_view *lane)
{
    bool adopted =
        payment->state == PAYMENT_SETTLED && payment->requested_at_us < lane->lowest_bound_us;
    store(step, PAYMENT_STORE_REMEMBER, adopted ? payment->requested_at_us : INT64_MAX);
    store(step, PAYMENT_STORE_STATE, PAYMENT_FREE);
    step->action = PAYMENT_ACTION_FREED;
}

static void pin(struct payment_step *step, const struct payment_view *payment)
{
    if (!(payment->flags & PAYMENT_FLAG_UNKNOWN))
        store(step, PAYMENT_STORE_FLAGS, payment->flags | PAYMENT_FLAG_UNKNOWN);
    step->action = PAYMENT_ACTION_RESEND;
    step->processor = payment->processor;
}

static void ask(struct payment_step *step, enum payment_action action, unsigned processor)
{
    step->action = action;
    step->processor = processor;
}

static void intake(struct payment_step *step, const struct payment_view *payment,
                   const struct payment_lane_view *lane, const struct payment_event *event)
{
    CHECK(event->purge_generation <= lane->purge_applied);
    if (event->purge_generation < lane->purge_applied) {
        step->intake = PAYMENT_INTAKE_PURGED;
    } else if (payment->state != PAYMENT_FREE) {
        CHECK(uuid_equal(&payment->id, &event->id));
        step->intake = payment->amount_cents == event->amount_cents ? PAYMENT_INTAKE_COPY
                                                                    : PAYMENT_INTAKE_CONFLICT;
    } else {
        unsigned flags = (event->remembered ? PAYMENT_FLAG_SEEN | PAYMENT_FLAG_ASK : 0u) |
                         (event->ask_first ? PAYMENT_FLAG_ASK : 0u);
        step->intake = PAYMENT_INTAKE_TAKEN;
        store(step, PAYMENT_STORE_FIELDS, flags);
        store(step, PAYMENT_STORE_STATE, PAYMENT_QUEUED);
        step->action = PAYMENT_ACTION_READY;
    }
    /* Last: a crash before it reads the entry again and finds the record. */
    store(step, PAYMENT_STORE_RING_HEAD, 0);
}

/* Rule 1. lowest_bound_us goes first, so that it is never above a bound time. */
static void bind(struct payment_step *step, const struct payment_view *payment,
                 const struct payment_lane_view *lane, const struct payment_event *event)
{
    CHECK(payment->state == PAYMENT_QUEUED && !payment->row_named);
    CHECK(!(payment->flags & (PAYMENT_FLAG_ASK | PAYMENT_FLAG_UNKNOWN)));
    int64_t requested_at_us = event->now_ms * 1000;
    if (requested_at_us < lane->lowest_bound_us)
        store(step, PAYMENT_STORE_LOWEST_BOUND, requested_at_us);
    store(step, PAYMENT_STORE_PROCESSOR, event->processor);
    store(step, PAYMENT_STORE_REQUESTED_AT, requested_at_us);
    store(step, PAYMENT_STORE_STATE, PAYMENT_SENT);
    step->action = PAYMENT_ACTION_POST;
    step->processor = event->processor;
}

/* A definite no (rule 4): back to the queue, unless an earlier attempt may
 * still act (rule 5). Even if a purge has passed while it was out: a copy that
 * was accepted since then may lean on this record. */
static void refused(struct payment_step *step, const struct payment_view *payment,
                    const struct payment_lane_view *lane, bool bad_request)
{
    CHECK(lane->refusals_max > 0 && lane->refusals_max <= UINT8_MAX);
    if (payment->flags & PAYMENT_FLAG_UNKNOWN) {
        pin(step, payment);
    } else if (bad_request && payment->refusals + 1 >= lane->refusals_max) {
        end(step, PAYMENT_REJECTED);
    } else {
        unsigned refusals = bad_request ? payment->refusals + 1 : 0;
        if (refusals != payment->refusals)
            store(step, PAYMENT_STORE_REFUSALS, refusals);
        store(step, PAYMENT_STORE_STATE, PAYMENT_QUEUED);
        step->action = PAYMENT_ACTION_READY;
    }
}

/* A look-up is out for this record at this processor, and no other answer can come. */
static void check_asked(const struct payment_view *payment, unsigned processor)
{
    if (payment->flags & PAYMENT_FLAG_ASK)
        CHECK(payment->state == PAYMENT_QUEUED || payment->state == PAYMENT_SENT);
    else
        CHECK(payment->state == PAYMENT_SENT && processor == payment->processor);
}

/* Rules 3 and 9: the id stands in a book. Whose insert is it? */
static void found(struct payment_step *step, const struct payment_view *payment,
                  const struct payment_lane_view *lane, const struct payment_event *event)
{
    bool sent = payment->state == PAYMENT_SENT;
    if (event->stored_amount_cents != payment->amount_cents) {
        end(step, PAYMENT_CONFLICT);
    } else if (sent && event->processor == payment->processor &&
               event->stored_requested_at_us == payment->requested_at_us) {
        settle(step, payment->processor, payment->requested_at_us);
    } else if (payment->flags & PAYMENT_FLAG_UNCOUNTED) {
        /* Of a journal, in which it had not ended: wherever its dead life sent it
         * last, nobody has counted it here. */
        settle(step, event->processor, event->stored_requested_at_us);
    } else if (!(payment->flags & PAYMENT_FLAG_SEEN) &&
               event->stored_requested_at_us < lane->lowest_bound_us) {
        /* Older than anything this lane ever bound, and nothing that it adopted
         * and forgot: this ledger cannot have counted it. */
        settle(step, event->processor, event->stored_requested_at_us);
    } else {
        end(step, PAYMENT_DUPLICATE);
    }
}

/* Where its last attempt went, if it was ever bound: what is ours stands there, and what somebody
 * else put into another book is not to be met before it. */
static unsigned first_book(const struct payment_view *payment)
{
    return payment->state == PAYMENT_SENT ? payment->processor : 0;
}

static void absent(struct payment_step *step, const struct payment_view *payment,
                   const struct payment_event *event)
{
    unsigned next = (event->processor + 1) % SHM_PROCESSORS;
    if (!(payment->flags & PAYMENT_FLAG_ASK)) {
        /* 422 and then 404: the book was cleared in between, or is not yet
         * visible. Resending the identical request is right either way. */
        pin(step, payment);
    } else if (next != first_book(payment)) {
        ask(step, PAYMENT_ACTION_LOOKUP, next);
    } else {
        /* In no book. SEEN stays: a later find must not be counted here again.
         * What an earlier life had bound stays pinned (rule 5). */
        store(step, PAYMENT_STORE_FLAGS, payment->flags & ~(unsigned)PAYMENT_FLAG_ASK);
        ask(step, payment->state == PAYMENT_SENT ? PAYMENT_ACTION_RESEND : PAYMENT_ACTION_READY,
            payment->processor);
    }
}

static enum payment_resolution judge(const struct payment_event *event)
{
    if (event->book == PAYMENT_EVENT_UNANSWERED)
        return PAYMENT_RESOLVE_BOOK_SILENT;
    CHECK(event->book == PAYMENT_EVENT_FOUND || event->book == PAYMENT_EVENT_ABSENT);
    bool holds = event->book == PAYMENT_EVENT_FOUND;
    if (event->decision == SHM_DECISION_SETTLED)
        return holds ? PAYMENT_RESOLVE_DONE : PAYMENT_RESOLVE_BOOK_LACKS;
    CHECK(event->decision == SHM_DECISION_REQUEUE || event->decision == SHM_DECISION_REJECT);
    if (holds)
        return PAYMENT_RESOLVE_BOOK_HOLDS;
    return event->attempt_unknown ? PAYMENT_RESOLVE_ATTEMPT_UNKNOWN : PAYMENT_RESOLVE_DONE;
}

/* Rule 10. A person knows what no answer can tell: that no earlier attempt will
 * act any more. The book has the last word where it has one. The flags go
 * first: a death in between leaves it SENT, which a take-over pins again. */
static void resolve(struct payment_step *step, const struct payment_view *payment,
                    const struct payment_lane_view *lane, const struct payment_event *event)
{
    CHECK(payment->state == PAYMENT_SENT && (payment->flags & PAYMENT_FLAG_UNKNOWN) &&
          !payment->row_named);
    step->resolution = judge(event);
    if (step->resolution != PAYMENT_RESOLVE_DONE) {
        pin(step, payment);
        return;
    }
    unsigned kept = event->decision == SHM_DECISION_SETTLED ? PAYMENT_FLAG_UNKNOWN : 0;
    store(step, PAYMENT_STORE_FLAGS,
          (payment->flags & (~(unsigned)PAYMENT_FLAG_UNKNOWN | kept)) | PAYMENT_FLAG_RESOLVED);
    if (event->decision == SHM_DECISION_SETTLED) {
        found(step, payment, lane, event);
    } else if (event->decision == SHM_DECISION_REJECT) {
        end(step, PAYMENT_REJECTED);
    } else {
        store(step, PAYMENT_STORE_STATE, PAYMENT_QUEUED);
        step->action = PAYMENT_ACTION_READY;
    }
}

/* Rule 8, the other half. Every record is visited before anything settles:
 * a name left standing would be "published" by somebody else's row. */
static void take_over(struct payment_step *step, const struct payment_view *payment,
                      const struct payment_event *event)
{
    if (payment->state != PAYMENT_QUEUED && payment->state != PAYMENT_SENT) {
        step->action = PAYMENT_ACTION_NONE;
    } else if (payment->row_named && event->row_published) {
        store(step, PAYMENT_STORE_PROCESSOR, event->processor);
        store(step, PAYMENT_STORE_REQUESTED_AT, event->stored_requested_at_us);
        end(step, PAYMENT_SETTLED);
    } else {
        if (payment->row_named)
            store(step, PAYMENT_STORE_ROW_NAME, 0);
        if (payment->state == PAYMENT_SENT)
            pin(step, payment);
        else
            step->action = PAYMENT_ACTION_READY;
    }
}

static void purge(struct payment_step *step, const struct payment_view *payment,
                  const struct payment_lane_view *lane, const struct payment_event *event)
{
    bool idle = payment->state == PAYMENT_QUEUED || payment_state_is_terminal(payment->state);
    if (idle && payment->purge_generation < event->purge_generation)
        forget(step, payment, lane);
}

void payment_protocol_step(struct payment_step *step, const struct payment_view *payment,
                           const struct payment_lane_view *lane, const struct payment_event *event)
{
    *step = (struct payment_step){.action = PAYMENT_ACTION_NONE};
    bool sent = payment->state == PAYMENT_SENT;
    switch (event->kind) {
    case PAYMENT_EVENT_INTAKE:
        intake(step, payment, lane, event);
        return;
    case PAYMENT_EVENT_BIND:
        bind(step, payment, lane, event);
        return;
    case PAYMENT_EVENT_ASK:
        CHECK((payment->state == PAYMENT_QUEUED || sent) && (payment->flags & PAYMENT_FLAG_ASK));
        ask(step, PAYMENT_ACTION_LOOKUP, first_book(payment));
        return;
    case PAYMENT_EVENT_RESEND:
        CHECK(sent && !(payment->flags & PAYMENT_FLAG_ASK));
        step->action = PAYMENT_ACTION_POST;
        step->processor = payment->processor;
        return;
    case PAYMENT_EVENT_ACCEPTED:
        CHECK(sent);
        settle(step, payment->processor, payment->requested_at_us);
        return;
    case PAYMENT_EVENT_EXISTS: /* rule 3: always ask */
        CHECK(sent);
        /* Whoever inserted it, it stands in this book and must go to no other:
         * a purge or a new owner may have it resent before the book has
         * answered, and a definite no to that must not unbind it. */
        pin(step, payment);
        ask(step, PAYMENT_ACTION_LOOKUP, payment->processor);
        return;
    case PAYMENT_EVENT_REFUSED:
    case PAYMENT_EVENT_BAD_REQUEST:
        CHECK(sent);
        refused(step, payment, lane, event->kind == PAYMENT_EVENT_BAD_REQUEST);
        return;
    case PAYMENT_EVENT_UNKNOWN:
        CHECK(sent);
        pin(step, payment);
        return;
    case PAYMENT_EVENT_FOUND:
        check_asked(payment, event->processor);
        found(step, payment, lane, event);
        return;
    case PAYMENT_EVENT_ABSENT:
        check_asked(payment, event->processor);
        absent(step, payment, event);
        return;
    case PAYMENT_EVENT_UNANSWERED:
        check_asked(payment, event->processor);
        ask(step, PAYMENT_ACTION_RETRY_LOOKUP, event->processor);
        return;
    case PAYMENT_EVENT_TAKE_OVER:
        take_over(step, payment, event);
        return;
    case PAYMENT_EVENT_PURGE:
        purge(step, payment, lane, event);
        return;
    case PAYMENT_EVENT_RECYCLE:
        CHECK(payment_state_is_terminal(payment->state));
        forget(step, payment, lane);
        return;
    case PAYMENT_EVENT_RESOLVE:
        CHECK(event->processor == payment->processor);
        resolve(step, payment, lane, event);
        return;
    }
    CHECK(!"an unknown event");
}

int64_t payment_protocol_forget(const struct payment_lane_view *lane, int64_t adopted_lowest_us)
{
    return adopted_lowest_us < lane->lowest_bound_us ? adopted_lowest_us : lane->lowest_bound_us;
}
