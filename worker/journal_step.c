#include "worker/journal_step.h"

static struct journal_payment image_of(const struct payment_view *view)
{
    return (struct journal_payment){
        .state = view->state,
        .processor = view->processor,
        .flags = view->flags,
        .id = view->id,
        .amount_cents = view->amount_cents,
        .accepted_at_ms = view->accepted_at_ms,
        .requested_at_us = view->requested_at_us,
        .purge_generation = (uint32_t)view->purge_generation,
    };
}

static void fill(struct journal_payment *payment, const struct payment_event *event, int64_t flags)
{
    *payment = (struct journal_payment){
        .flags = (unsigned)flags,
        .id = event->id,
        .amount_cents = event->amount_cents,
        .accepted_at_ms = event->accepted_at_ms,
        .purge_generation = (uint32_t)event->purge_generation,
    };
}

static void apply(struct journal_payment *payment, const struct payment_event *event,
                  const struct payment_store *store, uint64_t row_count)
{
    switch (store->kind) {
    case PAYMENT_STORE_FIELDS:
        fill(payment, event, store->value);
        return;
    case PAYMENT_STORE_STATE:
        payment->state = (enum payment_state)store->value;
        return;
    case PAYMENT_STORE_FLAGS:
        payment->flags = (unsigned)store->value;
        return;
    case PAYMENT_STORE_PROCESSOR:
        payment->processor = (unsigned)store->value;
        return;
    case PAYMENT_STORE_REQUESTED_AT:
        payment->requested_at_us = store->value;
        return;
    case PAYMENT_STORE_ROW_NAME:
        payment->row = store->value ? row_count + 1 : 0;
        return;
    default: /* of the lane, not of the payment */
        return;
    }
}

static enum journal_kind kind_of(enum payment_state before, enum payment_state after)
{
    static const enum journal_kind kinds[] = {
        [PAYMENT_SENT] = JOURNAL_BOUND,      [PAYMENT_SETTLED] = JOURNAL_SETTLED,
        [PAYMENT_DUPLICATE] = JOURNAL_ENDED, [PAYMENT_CONFLICT] = JOURNAL_ENDED,
        [PAYMENT_REJECTED] = JOURNAL_ENDED,
    };
    if (before == after || after == PAYMENT_FREE)
        return JOURNAL_NOTHING;
    if (after == PAYMENT_QUEUED)
        return before == PAYMENT_FREE ? JOURNAL_ACCEPTED : JOURNAL_UNBOUND;
    return kinds[after];
}

enum journal_kind journal_step_image(struct journal_payment *payment,
                                     const struct payment_view *before,
                                     const struct payment_event *event,
                                     const struct payment_step *step, uint64_t row_count)
{
    *payment = image_of(before);
    for (unsigned i = 0; i < step->store_count; i++)
        apply(payment, event, &step->stores[i], row_count);
    enum journal_kind kind = kind_of(before->state, payment->state);
    if (event->kind == PAYMENT_EVENT_TAKE_OVER)
        return JOURNAL_NOTHING;
    return event->kind == PAYMENT_EVENT_RESOLVE && kind != JOURNAL_NOTHING ? JOURNAL_DECIDED : kind;
}
