/* Where a new payment goes, as a pure function: facts in, decision out.
 *
 * No clock, no memory, no allocation; a few dozen instructions, so it is asked for every payment.
 * The lane offers its waiting payments oldest first, carries the decision out, updates the facts
 * (in_flight, backlog, probe_after_us) and asks for the next one, until a WAIT says that the
 * younger ones wait too. Payments with an unknown outcome are pinned to their processor and are not
 * offered here; where one is due, it takes the place of the probe.
 *
 * Policies
 *   default-only  the default processor or nobody: it never pays the dearer fee, whatever happens,
 *                 deadlines included.
 *   deadline      the cheaper processor as long as it is expected to settle in time; where it is
 *                 failing or full, waits for it as long as the dearer one could still take the
 *                 whole backlog in time, with a margin; then the dearer one helps. Past the
 *                 deadline, or when neither is expected in time: whoever is quickest. Both failing:
 *                 waits and probes the cheaper, and the dearer once its help would be needed.
 *
 * Never: a payment to a failing processor except as the one probe, or beyond a processor's limit.
 */
#ifndef PAYRING_WORKER_ROUTING_H
#define PAYRING_WORKER_ROUTING_H

#include <stdbool.h>
#include <stdint.h>

enum { ROUTING_DEFAULT, ROUTING_FALLBACK, ROUTING_PROCESSORS };

/* What the processors charge; the challenge's contract, it never changes. */
#define ROUTING_DEFAULT_FEE_BASIS_POINTS  500
#define ROUTING_FALLBACK_FEE_BASIS_POINTS 1500

/* The part of the deadline kept as a margin when waiting for a failing processor: 7.5 s of 60 s. It
 * covers a fallback that turns out slower than last seen, and two of its health reports. */
#define ROUTING_MARGIN_PART 8

/* A WAIT asks to be asked again after at most this: news from other lanes come without a wake-up,
 * and probes are spaced by as much at least. Lower bound: no busy loop. */
#define ROUTING_ASK_AGAIN_MAX_US 50000
#define ROUTING_ASK_AGAIN_MIN_US 1000

enum routing_policy {
    ROUTING_DEFAULT_ONLY,
    ROUTING_DEADLINE,
    ROUTING_POLICIES,
};

struct routing_processor {
    bool usable;                 /* false: never send there */
    bool failing;                /* only probes may go there */
    int64_t expected_latency_us; /* from sending to the answer, for one payment with room */
    int in_flight;               /* of this lane */
    int limit;                   /* of this lane; 0: not now */
    int64_t probe_after_us;      /* while failing: 0 = a probe may go now, else ask again then */
};

struct routing_facts {
    struct routing_processor processors[ROUTING_PROCESSORS];
    int fee_basis_points[ROUTING_PROCESSORS];
    int64_t backlog;     /* payments of this lane not yet sent, this one included */
    int64_t age_us;      /* of this payment, since it was accepted */
    int64_t deadline_us; /* age at which it should be settled */
};

/* The first ones are the processors' numbers. */
enum routing_action {
    ROUTING_SEND_DEFAULT = ROUTING_DEFAULT,
    ROUTING_SEND_FALLBACK = ROUTING_FALLBACK,
    ROUTING_WAIT,
};

enum routing_reason {
    ROUTING_CHEAPEST,   /* SEND: in time at the lowest fee (or the only one allowed) */
    ROUTING_PRESSED,    /* SEND: waiting longer for the cheaper one would miss the deadline */
    ROUTING_PROBE,      /* SEND: to find out whether a failing processor is back */
    ROUTING_FULL,       /* WAIT: the chosen processor has no room; an answer makes some */
    ROUTING_FAILING,    /* WAIT: the chosen processor fails; a probe is due or under way */
    ROUTING_NOT_USABLE, /* WAIT: no processor may be used */
    ROUTING_REASONS,
};

struct routing_decision {
    enum routing_action action;
    enum routing_reason reason;
    bool is_probe;
    /* WAIT: from the same facts every younger payment would get WAIT as well, so the lane need not
     * ask for them. False only where the cheaper processor could take something now, but not this
     * one: too slow for its deadline, or a probe that a late payment should not be. */
    bool younger_wait;
    int64_t ask_again_us; /* WAIT: from now, unless an answer or news arrive earlier; SEND: 0 */
};

/* Total: every combination of facts has a decision. Negative ages count as 0. */
struct routing_decision routing_decide(enum routing_policy policy,
                                       const struct routing_facts *facts);

/* "default-only", "deadline"; NULL for a number that is no policy. */
const char *routing_policy_name(enum routing_policy policy);

/* False: no policy has that name, nothing is written. */
bool routing_policy_parse(const char *name, enum routing_policy *policy);

/* One word per reason, for logs and the inspector; NULL for a number that is no reason. */
const char *routing_reason_name(enum routing_reason reason);

#endif
