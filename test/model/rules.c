#include "test/model/rules.h"

enum model_rule model_rule_off = RULE_NONE;

/* ------------------------------------------------------------ lies before the step */

static bool is_in_book(const struct model_state *s, const struct payment_view *payment)
{
    return s->book[payment->processor][payment->id.lo].amount != 0;
}

/* Without the rule that what was bound is asked for at its own processor first. */
static bool asks_default_first(const struct payment_view *payment)
{
    return payment->state == PAYMENT_SENT && payment->flags & PAYMENT_FLAG_ASK &&
           payment->processor != 0 && !rule_holds(RULE_BOUND_BOOK_FIRST);
}

static void lie_about_answer(const struct model_state *s, struct payment_view *payment,
                             struct payment_event *event)
{
    bool sent = payment->state == PAYMENT_SENT;
    if (event->kind == PAYMENT_EVENT_EXISTS && !rule_holds(RULE_ASK_AFTER_422))
        event->kind = PAYMENT_EVENT_ACCEPTED;
    if (event->kind == PAYMENT_EVENT_UNKNOWN &&
        (!rule_holds(RULE_UNKNOWN_PINS) ||
         (!rule_holds(RULE_NO_SWITCH_ON_404) && !is_in_book(s, payment))))
        event->kind = PAYMENT_EVENT_REFUSED;
    if (event->kind == PAYMENT_EVENT_REFUSED && !rule_holds(RULE_LATER_NO_CHANGES_NOTHING))
        payment->flags &= ~(unsigned)PAYMENT_FLAG_UNKNOWN;
    if (event->kind == PAYMENT_EVENT_ABSENT && !sent && !rule_holds(RULE_BOTH_ASKED))
        event->processor = SHM_PROCESSORS - 1;
    if (event->kind == PAYMENT_EVENT_ABSENT && asks_default_first(payment))
        event->processor = !event->processor;
    if (event->kind == PAYMENT_EVENT_UNANSWERED && !sent && !rule_holds(RULE_NO_ANSWER_IS_NO_404))
        event->kind = PAYMENT_EVENT_ABSENT;
    if (event->kind == PAYMENT_EVENT_UNANSWERED && sent &&
        !rule_holds(RULE_UNANSWERED_STAYS_SENT)) {
        event->kind = PAYMENT_EVENT_REFUSED;
        payment->flags &= ~(unsigned)PAYMENT_FLAG_UNKNOWN;
    }
}

static void lie_about_decision(struct payment_event *event)
{
    if (!rule_holds(RULE_RESOLVE_ASKS_BOOK) && event->decision != SHM_DECISION_SETTLED)
        event->book = PAYMENT_EVENT_ABSENT;
    if (!rule_holds(RULE_RESOLVE_SPOILED))
        event->attempt_unknown = false;
}

static void lie_about_find(struct payment_view *payment, struct payment_lane_view *lane,
                           struct payment_event *event)
{
    if (!rule_holds(RULE_COMPARE_AMOUNT))
        event->stored_amount_cents = payment->amount_cents;
    if (!rule_holds(RULE_COMPARE_TIME) && payment->state == PAYMENT_SENT)
        event->stored_requested_at_us = payment->requested_at_us;
    if (!rule_holds(RULE_LOWEST_BOUND_NOT_CREATION))
        lane->lowest_bound_us = MODEL_TIME_CREATED * 1000;
    if (!rule_holds(RULE_SEEN_NEVER_ADOPTED))
        payment->flags &= ~(unsigned)PAYMENT_FLAG_SEEN;
}

static void lie_about_entry(struct payment_lane_view *lane, struct payment_event *event)
{
    if (!rule_holds(RULE_FILTER_ASKED))
        event->remembered = false;
    if (!rule_holds(RULE_PURGE_BY_STAMP))
        event->purge_generation = lane->purge_applied;
    if (!rule_holds(RULE_PURGE_NEWER_WAITS))
        lane->purge_applied = event->purge_generation;
}

void model_rules_before(const struct model_state *state, struct payment_view *payment,
                        struct payment_lane_view *lane, struct payment_event *event)
{
    if (model_rule_off == RULE_NONE)
        return;
    lie_about_answer(state, payment, event);
    if (event->kind == PAYMENT_EVENT_FOUND)
        lie_about_find(payment, lane, event);
    if (event->kind == PAYMENT_EVENT_RESOLVE)
        lie_about_decision(event);
    if (event->kind == PAYMENT_EVENT_INTAKE)
        lie_about_entry(lane, event);
    if (event->kind == PAYMENT_EVENT_TAKE_OVER && payment->row_named && !event->row_published &&
        !rule_holds(RULE_NAME_NEEDS_ROW)) {
        event->row_published = true;
        event->processor = payment->processor;
        event->stored_requested_at_us = payment->requested_at_us;
    }
    if (event->kind == PAYMENT_EVENT_PURGE && payment->state == PAYMENT_SENT &&
        !rule_holds(RULE_PURGE_SPARES_SENT))
        payment->state = PAYMENT_QUEUED;
}

/* --------------------------------------------------------- other answers after it */

static unsigned find(const struct payment_step *step, enum payment_store_kind kind)
{
    unsigned i = 0;
    while (i < step->store_count && step->stores[i].kind != kind)
        i++;
    return i;
}

static void drop(struct payment_step *step, enum payment_store_kind kind)
{
    unsigned i = find(step, kind);
    if (i == step->store_count)
        return;
    for (step->store_count--; i < step->store_count; i++)
        step->stores[i] = step->stores[i + 1];
}

/* Make the store of one kind right after that of the other. */
static void delay(struct payment_step *step, enum payment_store_kind kind,
                  enum payment_store_kind after)
{
    unsigned i = find(step, kind), last = find(step, after);
    if (last == step->store_count || i >= last)
        return;
    for (struct payment_store moved = step->stores[i]; i < last; i++) {
        step->stores[i] = step->stores[i + 1];
        step->stores[i + 1] = moved;
    }
}

static void add(struct payment_step *step, enum payment_store_kind kind, int64_t value)
{
    step->stores[step->store_count++] = (struct payment_store){.kind = kind, .value = value};
}

static void break_settling(const struct payment_view *payment, struct payment_step *step)
{
    unsigned row = find(step, PAYMENT_STORE_ROW);
    if (row == step->store_count)
        return;
    if (!rule_holds(RULE_SETTLE_AS_BOUND)) /* a fresh time instead */
        step->stores[row].value = payment->requested_at_us + 2000;
    if (!rule_holds(RULE_ROW_NAMED_FIRST))
        delay(step, PAYMENT_STORE_ROW_NAME, PAYMENT_STORE_ROW_COUNT);
    if (!rule_holds(RULE_ROW_BEFORE_COUNT))
        delay(step, PAYMENT_STORE_ROW, PAYMENT_STORE_ROW_COUNT);
    if (!rule_holds(RULE_COUNT_BEFORE_SETTLED))
        delay(step, PAYMENT_STORE_ROW_COUNT, PAYMENT_STORE_STATE);
}

/* The two rules guard one another: were the lowest bound time not stored, every settled payment
 * would be marked as adopted when it is remembered, and forgetting would lower it in time. Each
 * is shown to be needed by marking only what was adopted indeed. */
static bool is_healed_by_mark(const struct payment_store *remembered)
{
    return remembered->value != INT64_MAX && !model_is_foreign(remembered->value / 1000) &&
           (!rule_holds(RULE_LOWEST_BOUND_KEPT) || !rule_holds(RULE_LOWEST_BOUND_FIRST));
}

static void break_forgetting(const struct payment_event *event, struct payment_step *step)
{
    if (!rule_holds(RULE_REMEMBER) ||
        (event->kind == PAYMENT_EVENT_PURGE && !rule_holds(RULE_PURGE_REMEMBERS)))
        drop(step, PAYMENT_STORE_REMEMBER);
    if (!rule_holds(RULE_REMEMBER_FIRST))
        delay(step, PAYMENT_STORE_REMEMBER, PAYMENT_STORE_STATE);
    unsigned remembered = find(step, PAYMENT_STORE_REMEMBER);
    if (remembered < step->store_count &&
        (!rule_holds(RULE_ADOPTED_MARKED) || is_healed_by_mark(&step->stores[remembered])))
        step->stores[remembered].value = INT64_MAX;
}

static void break_sending(const struct payment_view *payment, const struct payment_event *event,
                          struct payment_step *step)
{
    if (!rule_holds(RULE_LOWEST_BOUND_KEPT))
        drop(step, PAYMENT_STORE_LOWEST_BOUND);
    if (!rule_holds(RULE_LOWEST_BOUND_FIRST))
        delay(step, PAYMENT_STORE_LOWEST_BOUND, PAYMENT_STORE_STATE);
    if (event->kind == PAYMENT_EVENT_RESEND && !rule_holds(RULE_RESEND_SAME_TIME))
        add(step, PAYMENT_STORE_REQUESTED_AT, payment->requested_at_us == 2000 ? 4000 : 2000);
    if (event->kind == PAYMENT_EVENT_RESEND && !rule_holds(RULE_RESEND_SAME_PROCESSOR)) {
        step->processor = !payment->processor;
        add(step, PAYMENT_STORE_PROCESSOR, step->processor);
    }
}

static void break_take_over(const struct payment_view *payment, struct payment_step *step)
{
    if (!rule_holds(RULE_NAME_CLEARED))
        drop(step, PAYMENT_STORE_ROW_NAME);
    if (!rule_holds(RULE_DEAD_OWNER_PINS) && payment->state == PAYMENT_SENT &&
        step->action == PAYMENT_ACTION_RESEND) {
        drop(step, PAYMENT_STORE_FLAGS);
        add(step, PAYMENT_STORE_STATE, PAYMENT_QUEUED);
        step->action = PAYMENT_ACTION_READY;
    }
}

/* As if a refused survivor of a purge had been cleared by it: a copy accepted since then may have
 * been told that it is known. */
static void break_surviving(const struct payment_view *payment,
                            const struct payment_lane_view *lane, struct payment_step *step)
{
    if (step->action != PAYMENT_ACTION_READY || payment->purge_generation >= lane->purge_applied ||
        rule_holds(RULE_SURVIVOR_KEPT))
        return;
    step->store_count = 0;
    add(step, PAYMENT_STORE_REMEMBER, INT64_MAX);
    add(step, PAYMENT_STORE_STATE, PAYMENT_FREE);
    step->action = PAYMENT_ACTION_FREED;
}

void model_rules_after(const struct payment_view *payment, const struct payment_lane_view *lane,
                       const struct payment_event *event, struct payment_step *step)
{
    if (model_rule_off == RULE_NONE)
        return;
    break_settling(payment, step);
    break_forgetting(event, step);
    break_sending(payment, event, step);
    if (event->kind == PAYMENT_EVENT_ASK && asks_default_first(payment))
        step->processor = 0;
    if (event->kind == PAYMENT_EVENT_ABSENT && asks_default_first(payment) &&
        step->action == PAYMENT_ACTION_LOOKUP)
        step->processor = payment->processor;
    if (event->kind == PAYMENT_EVENT_REFUSED)
        break_surviving(payment, lane, step);
    if (event->kind == PAYMENT_EVENT_EXISTS && !rule_holds(RULE_EXISTS_PINS))
        drop(step, PAYMENT_STORE_FLAGS);
    if (event->kind == PAYMENT_EVENT_TAKE_OVER)
        break_take_over(payment, step);
    if (event->kind == PAYMENT_EVENT_INTAKE && !rule_holds(RULE_FIELDS_BEFORE_QUEUED))
        delay(step, PAYMENT_STORE_FIELDS, PAYMENT_STORE_STATE);
    if (event->kind == PAYMENT_EVENT_INTAKE && !rule_holds(RULE_QUEUED_BEFORE_HEAD))
        delay(step, PAYMENT_STORE_STATE, PAYMENT_STORE_RING_HEAD);
}
