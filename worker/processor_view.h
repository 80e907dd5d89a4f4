/* What one lane knows of one processor, from what it lived through and what it is told.
 *
 * Failing or not is a matter of the latest evidence, whoever has it: an answer to a payment (ours,
 * or another lane's from its page of the region) or a health report. Something definite after the
 * last sign of life means failing: an empty 500, never connected, an outcome unknown, a report that
 * says so. A sign of life after the last failure means not failing: a 200 or 422, or a report that
 * says so. Hence an old report cannot stop a processor that answers, and one failure is enough.
 * 429 and 400 are no evidence, nor is an outcome that is unknown for one payment again and again
 * while others are answered (such payments would be all the probes there are); a 429 shrinks the
 * limit and holds new payments back for a moment.
 *
 * A payment is overtaken when one that was sent long after it has been answered. It was lost, or
 * sleeps in a delay that is over: it takes nothing of what the processor can do now, so it does not
 * count against the limit, and if nobody ever answers it that says nothing of the processor.
 * Without this, a processor that swallows one payment in a hundred would stop a lane: what is
 * swallowed stays in flight until its time-out, fills the limit, and then fails all at once.
 *
 * While failing, one probe at a time goes there, over all lanes. Spacing after the last failure: as
 * long as it has been failing, at least 50 ms, at most 1 s; probes fall 50, 100, 200 ... ms after
 * the first failure without anything to remember or reset. The exclusion between lanes is the
 * driver's: before sending, publish processor_view_news (the probe is in it), read the others', and
 * take it back if another one probes. A probe older than 5 s excludes nobody: its lane may be dead.
 *
 * Pure: monotonic microseconds come in (milliseconds in the region), nothing is allocated. One
 * writer, the lane's thread. A crash loses nothing that the next owner does not learn by one probe.
 */
#ifndef PAYRING_WORKER_PROCESSOR_VIEW_H
#define PAYRING_WORKER_PROCESSOR_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "worker/concurrency_limit.h"
#include "worker/routing.h"

/* Long enough for a processor that restarts not to be hammered, short enough not to be noticed in a
 * deadline of a minute; an outage of the challenge lasts 10 s. */
#define PROCESSOR_VIEW_PROBE_MIN_US 50000
#define PROCESSOR_VIEW_PROBE_MAX_US 1000000
/* The challenge's processors delay by up to 5 s. */
#define PROCESSOR_VIEW_PROBE_STALE_US 5000000
/* After a 429: at the least limit of 4 that leaves 200 refusals a second at worst. */
#define PROCESSOR_VIEW_BUSY_HOLD_US 20000
/* After so long without an answer the next one, or a newer report, replaces the average. */
#define PROCESSOR_VIEW_SILENCE_US 1000000
/* Sent so much earlier than one that is answered (and four times as long as answers take) means
 * overtaken. Delays that differ from payment to payment are shorter. */
#define PROCESSOR_VIEW_OVERTAKEN_US        1000000
#define PROCESSOR_VIEW_OVERTAKEN_LATENCIES 4
/* Assumed before anything is known: a little more than a database insert over the network. */
#define PROCESSOR_VIEW_LATENCY_US 10000

enum processor_answer {
    PROCESSOR_OK,          /* 200 or 422 */
    PROCESSOR_UNREACHED,   /* never connected */
    PROCESSOR_BUSY,        /* 429 */
    PROCESSOR_FAILING,     /* empty 500 */
    PROCESSOR_BAD_REQUEST, /* 400 */
    PROCESSOR_UNKNOWN,     /* time-out, reset, anything else */
    PROCESSOR_DISLIKES,    /* the same again for one payment, others having been answered since */
};

/* The cluster's last health report. */
struct processor_report {
    int64_t at_us; /* monotonic, when it was received; 0: none yet */
    int64_t min_response_us;
    bool failing;
};

/* What a lane tells the others: the fields of its page, monotonic ms, 0 = never or no. */
struct processor_news {
    int64_t last_success_ms;
    int64_t last_failure_ms;
    int64_t probing_since_ms;
};

struct processor_view {
    struct concurrency_limit limit;
    int in_flight;
    int overtaken;               /* of them */
    int64_t overtaken_before_us; /* sent before: overtaken; never goes back */
    bool failing;
    int64_t failing_since_us;
    int64_t alive_us;     /* last sign of life, from anywhere */
    int64_t broken_us;    /* last failure, from anywhere */
    int64_t succeeded_us; /* our own, for the others */
    int64_t failed_us;
    int64_t probing_since_us; /* our own probe; 0: none */
    int64_t probed_us;        /* our last probe's end */
    int64_t others_probing_since_us;
    int64_t busy_until_us;
    int64_t own_us;     /* processor_view_took */
    int64_t latency_us; /* moving average, weight 1/8 */
    int64_t latency_at_us;
    struct processor_report report;
};

/* Nothing known: not failing, PROCESSOR_VIEW_LATENCY_US, the limit's start value, at most
 * in_flight_max. */
void processor_view_init(struct processor_view *view, int in_flight_max, int64_t now_us);

/* A payment (not a look-up) goes out now; to a failing processor it is the probe. */
void processor_view_sent(struct processor_view *view, int64_t now_us);

/* How long the lane's own last turn took. A request waits for its turn to be sent, and its answer
 * for one to be read: that is no work of the processor, and no queue over there. */
void processor_view_took(struct processor_view *view, int64_t turn_us);

/* Its outcome. sent_us is the very time given to processor_view_sent. Exactly one call for each. */
void processor_view_answered(struct processor_view *view, enum processor_answer answer,
                             int64_t sent_us, int64_t now_us);

/* How many of those in flight were sent before overtaken_before_us. To be told after each answer.
 */
void processor_view_overtaken(struct processor_view *view, int count);

/* The latest health report; telling the same one again changes nothing. */
void processor_view_reported(struct processor_view *view, const struct processor_report *report,
                             int64_t now_us);

/* The news of all other lanes at once (this lane's own left out); replaces what they said before.
 * Also where the view learns that time passes: at least once a turn. */
void processor_view_heard(struct processor_view *view, const struct processor_news *others,
                          size_t count, int64_t now_us);

/* This lane's news, to be published after each of the calls above. */
struct processor_news processor_view_news(const struct processor_view *view);

/* The facts for the routing, with usable = true.
 *
 * oldest_sent_us is when the oldest payment in flight there was sent, 0 for none: answers that do
 * not come tell of a delay before any answer does. Expected latency is the average of recent
 * answers, or the newer report after a silence, and never less than the time for which something
 * was in flight and nothing was answered (one lost payment among many that return counts not).
 * During the hold after a 429 the limit is what is in flight. What is overtaken is not in flight.
 */
struct routing_processor processor_view_facts(const struct processor_view *view, int64_t now_us,
                                              int64_t oldest_sent_us);

#endif
