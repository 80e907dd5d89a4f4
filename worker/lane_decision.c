/* An operator's decision about a pinned payment, from the mailbox to its verdict.
 *
 *   SEEN ──── an attempt is out ────▶ wait for its answer
 *    │                                 │
 *    ▼ its slot waits in a list ◀──────┘
 *   ASKING: the slot is taken out, nothing else can send it; the book is asked
 *    │
 *    ▼ the book's answer
 *   ACTING, unless it was withdrawn: RESOLVE, verdict
 */
#include <inttypes.h>

#include "common/check.h"
#include "common/log.h"
#include "worker/lane_internal.h"

static const char *decision_name(enum shm_decision decision)
{
    static const char *const names[] = {[SHM_DECISION_SETTLED] = "settled",
                                        [SHM_DECISION_REQUEUE] = "requeue",
                                        [SHM_DECISION_REJECT] = "reject"};
    return names[decision];
}

static bool is_decision(uint64_t decision)
{
    return decision >= SHM_DECISION_SETTLED && decision <= SHM_DECISION_REJECT;
}

static const char *verdict_name(enum shm_verdict verdict)
{
    static const char *const names[] = {
        [SHM_VERDICT_DONE] = "done",
        [SHM_VERDICT_NOT_HERE] = "not_here",
        [SHM_VERDICT_NOT_PINNED] = "not_pinned",
        [SHM_VERDICT_BOOK_HOLDS] = "book_holds_it",
        [SHM_VERDICT_BOOK_LACKS] = "book_lacks_it",
        [SHM_VERDICT_BOOK_SILENT] = "book_silent",
        [SHM_VERDICT_ATTEMPT_UNKNOWN] = "attempt_unknown",
        [SHM_VERDICT_OWNER_CHANGED] = "owner_changed",
        [SHM_VERDICT_WITHDRAWN] = "withdrawn",
    };
    return names[verdict];
}

/* The lane's last word, to the operator and into the log. */
static void conclude(struct lane *lane, enum shm_verdict verdict, uint64_t detail)
{
    const struct shm_operator_request *request = &lane->decision.request;
    char id[UUID_TEXT_LENGTH + 1];
    uuid_format(id, &request->id);
    if (verdict == SHM_VERDICT_DONE) {
        lane_journal_commit(lane);
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_resolved);
        LOG_WARN("payment_resolved", "lane=%u id=%s decision=%s state=%s by=%s reason=%s",
                 lane->memory.number, id, decision_name(request->decision),
                 shm_payments_state_name((enum payment_state)detail), request->by, request->reason);
    } else {
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_resolve_refused);
        LOG_WARN("resolve_refused", "lane=%u id=%s decision=%s why=%s by=%s", lane->memory.number,
                 id, decision_name(request->decision), verdict_name(verdict), request->by);
    }
    shm_operator_conclude(lane->memory.control, request->number,
                          (struct shm_operator_answer){verdict, detail});
    /* Look again at what stands there: it may have come while a book was asked for this one. */
    lane->decision = (struct lane_decision){.seen = 0};
}

bool lane_decision_is_due(const struct lane *lane)
{
    return shm_operator_number(lane->region) != lane->decision.seen;
}

/* A request of this lane that stands in the mailbox and has no verdict yet. */
static bool read_own(const struct lane *lane, struct shm_operator_request *request)
{
    struct shm_operator_answer answer;
    return shm_operator_read(lane->region, request) && request->number == lane->decision.seen &&
           is_decision((uint64_t)request->decision) &&
           shm_payments_lane_of(lane->region, &request->id) == lane->memory.number &&
           !shm_operator_answered(lane->region, lane->memory.number, request->number, &answer);
}

/* What is being seen to was withdrawn if the number is another one. While a book
 * is asked for it, the answer is waited for first. */
static void look(struct lane *lane)
{
    struct lane_decision *decision = &lane->decision;
    struct shm_operator_request request;
    if (!lane_decision_is_due(lane))
        return;
    if (decision->request.number != 0 && !decision->asking)
        conclude(lane, SHM_VERDICT_WITHDRAWN, 0);
    decision->seen = shm_operator_number(lane->region);
    if (decision->asking || !read_own(lane, &request))
        return;
    decision->request = request;
    shm_operator_see(lane->memory.control, request.number, SHM_DECISION_SEEN);
}

bool lane_decide(struct lane *lane)
{
    struct lane_decision *decision = &lane->decision;
    look(lane);
    if (decision->request.number == 0 || decision->asking)
        return false;
    uint32_t slot = shm_payments_owner_find(&lane->memory.payments, &decision->request.id);
    if (slot == SHM_PAYMENTS_NONE) {
        conclude(lane, SHM_VERDICT_NOT_HERE, 0);
        return true;
    }
    struct payment_view payment = lane_memory_view(&lane->memory, slot);
    if (payment.state != PAYMENT_SENT || !(payment.flags & PAYMENT_FLAG_UNKNOWN)) {
        conclude(lane, SHM_VERDICT_NOT_PINNED, (uint64_t)payment.state);
        return true;
    }
    /* Out: its answer comes first, and its place in a list with it. */
    if (!lane_may_look_up(lane, payment.processor) || !lane_queues_withdraw(&lane->queues, slot))
        return false;
    decision->asking = true;
    shm_operator_see(lane->memory.control, decision->request.number, SHM_DECISION_ASKING);
    lane_look_up(lane, slot, payment.processor);
    return true;
}

void lane_decision_note(struct lane *lane, uint32_t slot,
                        const struct upstream_completion *completion)
{
    struct lane_decision *decision = &lane->decision;
    if (decision->request.number != 0 && completion->outcome == UPSTREAM_UNKNOWN &&
        slot == shm_payments_owner_find(&lane->memory.payments, &decision->request.id))
        decision->attempt_unknown = true;
}

static enum shm_verdict verdict_of(enum payment_resolution resolution)
{
    static const enum shm_verdict verdicts[] = {
        [PAYMENT_RESOLVE_DONE] = SHM_VERDICT_DONE,
        [PAYMENT_RESOLVE_BOOK_HOLDS] = SHM_VERDICT_BOOK_HOLDS,
        [PAYMENT_RESOLVE_BOOK_LACKS] = SHM_VERDICT_BOOK_LACKS,
        [PAYMENT_RESOLVE_BOOK_SILENT] = SHM_VERDICT_BOOK_SILENT,
        [PAYMENT_RESOLVE_ATTEMPT_UNKNOWN] = SHM_VERDICT_ATTEMPT_UNKNOWN,
    };
    return verdicts[resolution];
}

bool lane_decision_takes(struct lane *lane, uint32_t slot,
                         const struct upstream_completion *completion)
{
    struct lane_decision *decision = &lane->decision;
    if (!decision->asking ||
        slot != shm_payments_owner_find(&lane->memory.payments, &decision->request.id))
        return false;
    struct payment_event event = lane_event_of(completion);
    event.book = event.kind;
    event.kind = PAYMENT_EVENT_RESOLVE;
    event.decision = decision->request.decision;
    event.attempt_unknown = decision->attempt_unknown;
    bool acts = shm_operator_begin(lane->region, lane->memory.control, decision->request.number);
    if (!acts)
        event.book = PAYMENT_EVENT_UNANSWERED; /* refused: it is resent as before */
    struct payment_step step = lane_step_known(lane, slot, &event);
    enum shm_verdict verdict = acts ? verdict_of(step.resolution) : SHM_VERDICT_WITHDRAWN;
    uint64_t detail = verdict == SHM_VERDICT_BOOK_SILENT ? (uint64_t)completion->http_status
                      : verdict == SHM_VERDICT_DONE
                          ? (uint64_t)lane_memory_view(&lane->memory, slot).state
                          : (uint64_t)completion->processor;
    conclude(lane, verdict, detail);
    return true;
}

void lane_decision_drop(struct lane *lane)
{
    struct shm_operator_request request;
    lane->decision = (struct lane_decision){.seen = shm_operator_number(lane->region)};
    if (!read_own(lane, &request))
        return;
    lane->decision.request = request;
    conclude(lane, SHM_VERDICT_OWNER_CHANGED, 0);
}
