/* What every route of the API works with: the place in the region that this process holds, and the
 * tools of its one thread. */
#ifndef PAYRING_API_API_H
#define PAYRING_API_API_H

#include <h2o.h>
#include <stdbool.h>
#include <stdint.h>

#include "api/api_timers.h"
#include "api/payment_intake.h"
#include "common/config.h"
#include "common/payment_json.h"
#include "common/status.h"
#include "shm/shm_counters.h"
#include "shm/shm_region.h"

/* Requests that may wait for a timer at once; more are answered 503. Waiting is rare, and the list
 * of timers is walked for each. */
#define API_WAITING_MAX 256

/* Answers that wait for the disk (durable_waits.h). */
#define DURABLE_WAITS_MAX 8192
struct durable_wait;
struct durable_waits {
    struct durable_wait *first, **end; /* end NULL: never used so far */
    unsigned count;
    struct api_timer timer;
};

/* Requests of this turn of the loop that are served together (route_payments.c). More at a time
 * would be dearer: who collects all of a crowd has nobody to talk to meanwhile
 * (docs/PERFORMANCE.md). */
struct payment_batch {
    h2o_timeout_entry_t turn_end;
    unsigned count;
    h2o_req_t *requests[PAYMENT_INTAKE_BATCH_MAX];
};

struct api_server;

struct api {
    const struct config *config;
    struct shm_region region;
    bool holds_slot;
    unsigned slot;          /* our API slot; its lease is held */
    struct shm_api *shared; /* the slot's control page; this thread is its only writer */
    bool region_is_current; /* at the last look, once a second */
    struct payment_intake intake;
    struct payment_json *json;
    struct api_timers timers;
    struct payment_batch batch;
    struct durable_waits durable_waits;
    struct api_timer heartbeat;
    struct api_server *server; /* set by main, between begin and end */
    unsigned waiting;          /* requests that wait for a timer */
    unsigned asking;           /* those of them that wait for peers */
    char retry_after[12];      /* PAYRING_RETRY_AFTER_S as text */
};

/* Attach the region, become the tenant of an API slot and start the heart: once a second it beats
 * in the region, asks whether the region still is the one of its name and brings the server's own
 * counts to the control page.
 *
 * Waits up to PAYRING_ATTACH_TIMEOUT_MS in all; a failure is one sentence that says for what.
 * All zeros before. Call api_end in any case.
 * Crash:   the lease vanishes with the process; what is in the rings is the lanes'.
 */
enum status api_begin(struct api *, const struct config *, struct explain *why);

/* Give everything back. The rings keep what they hold. */
void api_end(struct api *);

static inline void api_count(struct api *api, enum shm_api_counter counter)
{
    shm_counter_add(&api->shared->counters[counter], 1);
}

#endif
