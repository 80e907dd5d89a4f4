/* The payment processors as seen by one thread: POST a payment, look one up, ask for the health.
 * What a reply proves is decided here, and in one direction only: a verdict other than
 * UPSTREAM_UNKNOWN is given when it is certain.
 *
 * An instance belongs to one thread. It never waits but in upstream_wait, follows no redirect, uses
 * no proxy and no 100-continue. The process ignores SIGPIPE (only TLS could raise it).
 */
#ifndef PAYRING_WORKER_UPSTREAM_H
#define PAYRING_WORKER_UPSTREAM_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "common/uuid.h"

#define UPSTREAM_PROCESSORS 2 /* 0 = default, 1 = fallback */

enum upstream_kind { UPSTREAM_POST, UPSTREAM_LOOKUP, UPSTREAM_HEALTH };
#define UPSTREAM_KINDS 3

/* Every verdict but UNREACHED and UNKNOWN takes a reply that arrived whole. */
enum upstream_outcome {
    UPSTREAM_ACCEPTED,    /* POST: 200 and one whole JSON object with a message */
    UPSTREAM_EXISTS,      /* POST: 422 */
    UPSTREAM_UNREACHED,   /* no byte of the request has left: the pre-request callback never ran */
    UPSTREAM_BUSY,        /* 429 */
    UPSTREAM_FAILING,     /* POST: 500 and a body that is known to be empty */
    UPSTREAM_BAD_REQUEST, /* POST: 400 */
    UPSTREAM_FOUND,       /* LOOKUP: 200, the id asked for, an amount and a time */
    UPSTREAM_ABSENT,      /* LOOKUP: 404 */
    UPSTREAM_REPORT,      /* HEALTH: 200 and a report */
    UPSTREAM_UNKNOWN,     /* anything else: time-out, reset, short, malformed or oversize reply,
                             another status, a request that libcurl was about to send twice */
};

struct upstream_settings {
    const char *urls[UPSTREAM_PROCESSORS]; /* copied: scheme, host, port, a path to go below */
    int64_t post_timeout_ms;               /* from try to the end of the reply; all three > 0 */
    int64_t lookup_timeout_ms;
    int64_t health_timeout_ms;
    int transfers_max; /* at one processor at once: so many POSTs, as many look-ups (and one health
                          call); 1 or more. Memory is taken as they are used, about 12 KiB each. */
};

struct upstream_completion {
    enum upstream_kind kind;
    enum upstream_outcome outcome;
    int processor;
    uint64_t ticket;    /* as given to try */
    int64_t latency_us; /* from try to the end, on the monotonic clock */
    long http_status;   /* as far as it was read, for the log only; 0: none was */

    /* FOUND */
    int64_t stored_amount_cents; /* 0: an amount that no payment of ours can have */
    int64_t stored_requested_at_us;
    bool stored_requested_at_is_exact; /* false: digits below the microsecond were cut off */

    /* REPORT */
    bool report_failing;
    int64_t report_min_response_ms;
};

/* May start new transfers. Must not call perform, wait or destroy. */
typedef void upstream_on_completion(void *context, const struct upstream_completion *);

struct upstream;

/* NULL: `why` names the setting at fault. Connects to nothing yet. */
struct upstream *upstream_create(const struct upstream_settings *, struct explain *why);

/* Cut what is in flight, without completions: each of those requests may still be executed. */
void upstream_destroy(struct upstream *); /* NULL is allowed */

/* Start a transfer; upstream_perform sends it and delivers exactly one completion for it.
 *
 * false: all transfers of this kind to this processor are in use (or there is no memory for one
 *        more); nothing was sent and nothing will be.
 * Caller: of a POST, has released SENT with these very values before (rule 1 of the protocol).
 */
bool upstream_try_post(struct upstream *, int processor, uint64_t ticket, const struct uuid *id,
                       int64_t amount_cents, int64_t requested_at_ms);
bool upstream_try_lookup(struct upstream *, int processor, uint64_t ticket, const struct uuid *id);
bool upstream_try_health(struct upstream *, int processor, uint64_t ticket);

/* Send and receive what is ready, deliver the completions. Never waits. What a completion starts is
 * sent by the next call; upstream_wait does not wait before that. */
void upstream_perform(struct upstream *, upstream_on_completion *, void *context);

/* Wait until upstream_perform has something to do, the doorbell is readable (it is not read; -1: no
 * doorbell), a signal came or the time is over. May return early for no reason. */
void upstream_wait(struct upstream *, int fifo_fd, int64_t timeout_ms);

/* Transfers of every kind that have been started and not completed. */
int upstream_in_flight(const struct upstream *, int processor);

#endif
