/* payringctl resolve: a person's decision about a pinned payment, through the mailbox to the lane
 * that owns it, and the lane's verdict in words. */
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "shm/shm_doorbell.h"
#include "shm/shm_lease.h"
#include "shm/shm_payments.h"
#include "shm/shm_show.h"
#include "worker/ctl.h"

#define LOOK_MS 5

/* For a lane that has begun to act: it needs microseconds, unless its owner dies or is stopped. */
#define ACTING_MS 2000

struct resolution {
    struct shm_region region;
    const struct ctl *ctl;
    unsigned lane;
    uint64_t number; /* of the request */
    int64_t deadline_ms;
    char id[UUID_TEXT_LENGTH + 1];
};

static const char *decided(const struct resolution *r)
{
    return r->ctl->decision == SHM_DECISION_SETTLED   ? "settled"
           : r->ctl->decision == SHM_DECISION_REQUEUE ? "requeue"
                                                      : "reject";
}

/* As it stands now, for people. */
static const char *state_now(const struct resolution *r)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s;
    shm_payments_open(&payments, &r->region, r->lane);
    if (shm_payments_find(&payments, &r->ctl->id, &s) != SHM_PAYMENTS_HIT)
        return "not in the table";
    return s.state == PAYMENT_SENT && (s.flags & PAYMENT_FLAG_UNKNOWN)
               ? "still pinned"
               : shm_payments_state_name(s.state);
}

static const char *pinned_to(const struct resolution *r)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s;
    shm_payments_open(&payments, &r->region, r->lane);
    return shm_payments_find(&payments, &r->ctl->id, &s) == SHM_PAYMENTS_HIT
               ? shm_show_processor_name(s.processor)
               : "its processor";
}

/* ------------------------------------------------------------------ verdicts */

static enum ctl_exit tell_silent(const struct resolution *r, uint64_t http_status)
{
    char answered[64] = "did not answer";
    if (http_status)
        snprintf(answered, sizeof answered, "answered with HTTP status %" PRIu64, http_status);
    return ctl_complain(CTL_NO,
                        "refused: asked whether its book holds %s, %s %s; what it holds is still "
                        "unknown, and the payment stays pinned",
                        r->id, pinned_to(r), answered);
}

static enum ctl_exit tell_owner_changed(const struct resolution *r)
{
    if (shm_operator_phase(&r->region, r->lane, r->number) == SHM_DECISION_ACTING)
        return ctl_complain(
            CTL_FAILED,
            "the owner of lane %u died while it carried the decision out; %s is now "
            "%s: look at it again before you decide anew",
            r->lane, r->id, state_now(r));
    return ctl_complain(CTL_FAILED,
                        "not done: lane %u has got a new owner meanwhile, and an attempt of %s may "
                        "have been in flight; look at it again before you decide anew",
                        r->lane, r->id);
}

static enum ctl_exit tell(const struct resolution *r, const struct shm_operator_answer *answer)
{
    const char *processor =
        shm_show_processor_name(answer->detail < SHM_PROCESSORS ? (unsigned)answer->detail : 0);
    const char *state = shm_payments_state_name((enum payment_state)answer->detail);
    switch (answer->verdict) {
    case SHM_VERDICT_DONE:
        printf("%s: %s, done: it is %s now\n", r->id, decided(r), state);
        return ctl_finish(stdout, CTL_DONE);
    case SHM_VERDICT_NOT_HERE:
        return ctl_complain(CTL_NO,
                            "refused: lane %u has no payment %s (it may still be in a ring)",
                            r->lane, r->id);
    case SHM_VERDICT_NOT_PINNED:
        return ctl_complain(CTL_NO, "refused: %s is not pinned, it is %s", r->id, state);
    case SHM_VERDICT_BOOK_HOLDS:
        return ctl_complain(CTL_NO,
                            "refused: %s holds %s in its book: it was charged, and will be settled",
                            processor, r->id);
    case SHM_VERDICT_BOOK_LACKS:
        return ctl_complain(CTL_NO,
                            "refused: %s does not hold %s in its book: it cannot be settled there",
                            processor, r->id);
    case SHM_VERDICT_BOOK_SILENT:
        return tell_silent(r, answer->detail);
    case SHM_VERDICT_ATTEMPT_UNKNOWN:
        return ctl_complain(CTL_NO,
                            "refused: an attempt of %s was in flight while you decided, and %s has "
                            "left its outcome unknown too: it may still act",
                            r->id, processor);
    case SHM_VERDICT_OWNER_CHANGED:
        return tell_owner_changed(r);
    case SHM_VERDICT_WITHDRAWN:
        break;
    }
    return ctl_complain(CTL_FAILED, "not done: it was withdrawn");
}

/* ------------------------------------------------------------------- waiting */

static const char *waited_for(const struct resolution *r)
{
    if (!shm_lease_is_taken(&r->region, SHM_LEASE_LANE + r->lane))
        return "an owner of the lane";
    switch (shm_operator_phase(&r->region, r->lane, r->number)) {
    case SHM_DECISION_SEEN:
        return "the answer to an attempt of the payment that is in flight";
    case SHM_DECISION_ASKING:
        return "the book of its processor";
    default:
        return "the owner of the lane to look at it (is it stopped?)";
    }
}

/* Its time is over, or we are to stop. */
static enum ctl_exit give_up(struct resolution *r)
{
    struct shm_operator_answer answer;
    const char *why = waited_for(r);
    if (shm_operator_withdraw(&r->region, r->lane, r->number))
        return ctl_complain(CTL_FAILED, "not done: %s %" PRId64 " s for %s, then withdrawn",
                            ctl_is_interrupted() ? "interrupted while waiting up to" : "waited",
                            r->ctl->timeout_ms / 1000, why);
    int64_t deadline_ms = clock_monotonic_ms() + ACTING_MS;
    while (clock_monotonic_ms() < deadline_ms) {
        if (shm_operator_answered(&r->region, r->lane, r->number, &answer))
            return tell(r, &answer);
        (void)ctl_pause_ms(LOOK_MS);
    }
    return ctl_complain(
        CTL_FAILED,
        "lane %u began to carry it out and did not say more; it may have been done: "
        "%s is now %s",
        r->lane, r->id, state_now(r));
}

static enum ctl_exit await(struct resolution *r)
{
    struct shm_operator_answer answer;
    do {
        if (shm_operator_answered(&r->region, r->lane, r->number, &answer))
            return tell(r, &answer);
    } while (clock_monotonic_ms() < r->deadline_ms && ctl_pause_ms(LOOK_MS));
    return give_up(r);
}

static enum ctl_exit ask(struct resolution *r)
{
    struct shm_operator_request request = {.id = r->ctl->id, .decision = r->ctl->decision};
    struct shm_doorbell bell;
    if (!shm_lease_is_taken(&r->region, SHM_LEASE_LANE + r->lane))
        return ctl_complain(CTL_FAILED, "not done: no worker owns lane %u, whose payment %s is",
                            r->lane, r->id);
    /* Their sizes were seen to when they were read. */
    snprintf(request.by, sizeof request.by, "%s", r->ctl->by);
    snprintf(request.reason, sizeof request.reason, "%s", r->ctl->reason);
    r->number = shm_operator_publish(&r->region, &request);
    shm_doorbell_open(&bell, &r->region, r->lane);
    shm_doorbell_ring(&bell);
    enum ctl_exit result = await(r);
    shm_doorbell_close(&bell);
    return result;
}

enum ctl_exit ctl_resolve(struct ctl *ctl)
{
    struct resolution r = {.ctl = ctl, .deadline_ms = clock_monotonic_ms() + ctl->timeout_ms};
    ctl_catch_signals();
    enum ctl_exit result = ctl_operator_open(&r.region, ctl, r.deadline_ms);
    if (result != CTL_DONE)
        return result;
    uuid_format(r.id, &ctl->id);
    r.lane = shm_payments_lane_of(&r.region, &ctl->id);
    result = ask(&r);
    ctl_operator_close(&r.region);
    return result;
}
