/* The two payment processors, and the network to them, in simulated time.
 *
 * A request is sent, arrives, waits the configured delay, meets the failure flag, inserts, and is
 * answered; the answer takes its way back. Anything may go wrong on the way, as the weather says:
 * refused, 429, 400, 500 with and without a body, a reset whose request acts nonetheless (at once,
 * a minute later, or never), a second execution that nobody sees, an answer that is late, short or
 * lost. Who sent it may be dead by then. A definite no is given only for what does not act.
 */
#ifndef PAYRING_TEST_SIM_PROCESSORS_H
#define PAYRING_TEST_SIM_PROCESSORS_H

#include "test/sim/payments.h"
#include "worker/upstream.h"

/* Chances of 1024 for each request. */
struct sim_weather {
    bool failing;
    int64_t delay_us;
    int64_t service_us; /* of one payment, by one of `servers`; 0: no such limit */
    int running_max;    /* more are answered 429 */
    unsigned refused, busy, bad_request, body_500, reset, malformed, late, resent;
    unsigned lookup_lost, lookup_slow, lookup_busy;
};

extern struct sim_weather sim_weather[SHM_PROCESSORS];

/* Calls of service-health must be an interval apart, less what a caller may be held up between
 * noting a call and making it. */
void sim_processors_begin(int64_t health_interval_us, int64_t health_slack_us);
/* What still sleeps over there and may yet insert. */
unsigned sim_requests_alive(void);

/* Somebody else's insert; nothing if the id stands there already. */
void sim_insert_foreign(struct sim_payment *, unsigned processor, int64_t amount_cents,
                        int64_t requested_at_us, bool exact);

/* The gateway's process died: its requests go on without it. */
void sim_requests_orphan(const void *process);

struct sim_processor_tally {
    uint64_t requests, inserts, exists, refused, unknown, slept, orphaned, lookups, health_calls;
};
extern struct sim_processor_tally sim_processor_tally;

#endif
