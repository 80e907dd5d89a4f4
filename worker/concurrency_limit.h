/* How many payments one lane keeps in flight at one processor.
 *
 * A processor has two hidden properties that look alike from here: a delay, which costs nothing
 * however many payments sit in it, and a capacity, beyond which more in flight only means a longer
 * queue over there. This limit follows the capacity and ignores the delay.
 *
 * Estimate: the payments of ours that wait rather than being worked on,
 *
 *     waiting = in flight x (mean latency of a round - base latency) / mean latency of the round
 *
 * (Little's law). The idea is TCP Vegas' (Brakmo and Peterson 1995): grow below 2 waiting, shrink
 * above 6, stay in between. Means are compared with means, not least with least: noise cancels out,
 * and payments that travel in step (a fixed service time makes them) hide a queue from the least.
 *
 * Settling level of a lane that always has payments to send:
 *
 *     limit = work + w, where work = (capacity / lanes) x (1 + delay / service time)
 *     w = 2..6, or what that work settles in 3 ms, or an eighth of it, whichever is most
 *
 * so capacity + 2..6 for one lane without delay up to 2,000 payments a second and a capacity of 48.
 * Lanes that share a processor keep 2..6 waiting each: together they settle at capacity + lanes x
 * (2..6), or what the processor settles in 3 ms and a growth step of each.
 *
 * Base latency is what answers take when little is in flight. It is measured, never guessed, in
 * dips: the limit falls to an eighth, the crowd drains, a few answers are timed. A dip comes every
 * 5 s, on the multiples of the machine's monotonic clock, so that lanes sharing a processor dip
 * together and the crowd of one does not hide the base from another; and at once when latencies
 * outgrow the known base, because then either the delay has changed (the base rises to it, the
 * limit stays and doubles on) or a queue has built up (the base stays, the limit drops to what the
 * processor really worked on, by half at most at a time). A lane that has so little in flight
 * anyway needs no dip. A dip that does not come to its end in time is given up: payments that are
 * never answered neither leave nor let anything be timed.
 *
 * Pure: time comes in, monotonic microseconds; nothing is allocated, no floating point. One writer,
 * the lane's thread. A crash loses the estimate only: the next owner starts at
 * CONCURRENCY_LIMIT_START.
 */
#ifndef PAYRING_WORKER_CONCURRENCY_LIMIT_H
#define PAYRING_WORKER_CONCURRENCY_LIMIT_H

#include <stdint.h>

/* PAYRING_IN_FLIGHT_MAX goes no higher: a real processor runs 800 at once and queues 500. */
#define CONCURRENCY_LIMIT_MAX 1024
/* Lowest limit outside a dip: with a latency of 10 ms still 400 payments a second. */
#define CONCURRENCY_LIMIT_FLOOR 4
/* After a start and after an outage; doubled per round, 8 rounds to 1024. */
#define CONCURRENCY_LIMIT_START 8
/* Least in flight during a dip: two lanes together do not overfill a capacity of 4. */
#define CONCURRENCY_LIMIT_DIP 2
/* A dip is this part of the limit, if that is more: enough samples from a long delay, and no queue
 * as long as the lanes together hold less than 8 times the capacity. */
#define CONCURRENCY_LIMIT_DIP_PART 8
/* Waiting payments: below the first grow, above the second shrink. Vegas uses 2 and 4 segments; the
 * band is wider than a growth step at limits below 64, so that the limit comes to rest in it. */
#define CONCURRENCY_LIMIT_WAITING_LOW  2
#define CONCURRENCY_LIMIT_WAITING_HIGH 6
/* Waits up to this are no queue: throttling would save nobody anything. Two cores that a cluster,
 * its load and the machine's neighbours share stall answers that long all the time, and a lane that
 * takes it for a queue sends in small batches, which cost more each (docs/PERFORMANCE.md, settle
 * path). */
#define CONCURRENCY_LIMIT_TOLERANCE_US 3000
/* Nor are waits up to this part of the base: what a dozen samples cannot tell from noise of 30 %.
 */
#define CONCURRENCY_LIMIT_TOLERANCE_PART 8
/* Time between dips; doubled until it is at least 32 latencies, so that dips cost a few percent. */
#define CONCURRENCY_LIMIT_DIP_INTERVAL_US 5000000

enum concurrency_phase {
    CONCURRENCY_SLOW_START, /* doubles per round until something waits */
    CONCURRENCY_STEADY,     /* small steps around the band */
    CONCURRENCY_DRAIN,      /* dip: waits for the crowd to leave */
    CONCURRENCY_MEASURE,    /* dip: times the answers of the few */
};

/* One round: from a moment until enough of what was sent after it has been answered. */
struct concurrency_round {
    int64_t started_us;
    int64_t latency_sum_us;
    int64_t in_flight_sum;
    int in_flight_peak;
    int count;
};

/* What the last whole round saw; a dip's finding is applied to it. */
struct concurrency_load {
    int64_t mean_us;
    int in_flight;
};

struct concurrency_limit {
    int floor;
    int max;
    int limit; /* outside dips; kept through a dip */
    enum concurrency_phase phase;
    enum concurrency_phase resume; /* after the dip */
    int rounds_over;               /* in a row above the band */
    int64_t base_us;               /* 0: not known yet */
    int64_t cut_us;                /* last multiplicative cut */
    int64_t dip_us;                /* last dip, or what was as good as one */
    int64_t dip_deadline_us;       /* a dip that has not ended by then is given up */
    struct concurrency_round round;
    struct concurrency_load load;
};

/* Start unknown: limit CONCURRENCY_LIMIT_START within 1 <= floor <= max <= CONCURRENCY_LIMIT_MAX
 * (values outside are brought inside; the settings' table refuses them with a sentence). */
void concurrency_limit_init(struct concurrency_limit *limit, int floor, int max, int64_t now_us);

/* The processor did its work for one payment (200 or 422): learn from its latency.
 *
 * sent_us is the time it was sent, in_flight counts what was in flight until now, this payment
 * included. Rounds in which the limit was never reached do not let it grow: an unused limit proves
 * nothing.
 */
void concurrency_limit_answered(struct concurrency_limit *limit, int64_t sent_us, int64_t now_us,
                                int in_flight);

/* Time has passed, with or without answers: a dip ends even if nothing ever answers again. To be
 * called before concurrency_limit_now is believed, as often as anybody waits for it. */
void concurrency_limit_pass(struct concurrency_limit *limit, int64_t now_us);

/* The processor asked for less (429) or did not answer in time: halve, at once.
 *
 * Once per crowd: payments sent before the last cut tell of the same overload and are ignored.
 */
void concurrency_limit_shed(struct concurrency_limit *limit, int64_t sent_us, int64_t now_us);

/* The processor is back after failing: forget the base (the outage may have changed it), go on from
 * CONCURRENCY_LIMIT_START or less, doubling per round. */
void concurrency_limit_restart(struct concurrency_limit *limit, int64_t now_us);

/* Payments that may be in flight now, at least 1. */
int concurrency_limit_now(const struct concurrency_limit *limit);

#endif
