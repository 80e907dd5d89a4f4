/* One lane at work: a thread that drains the lane's rings, sends its payments
 * and settles them, for as long as this process holds the lane's lease.
 */
#ifndef PAYRING_WORKER_LANE_H
#define PAYRING_WORKER_LANE_H

#include <stdbool.h>

#include "common/status.h"
#include "shm/shm_region.h"
#include "worker/routing.h"

struct lane_settings {
    const char *urls[SHM_PROCESSORS];
    enum routing_policy policy;
    int64_t deadline_ms;
    int64_t post_timeout_ms; /* at least 30000 (rule 6) */
    int64_t lookup_timeout_ms;
    int64_t horizon_ms;      /* ids younger than this are not forgotten */
    int64_t lookup_young_ms; /* ask the books first while the region is younger; 0 = never */
    int64_t quarantine_ms;   /* of the region's age, before the books are asked for what it got
                                from a journal */
    int64_t journal_interval_ms;
    uint64_t journal_max_bytes;
    int64_t stop_timeout_ms; /* for what is in flight when the lane is stopped */
    int in_flight_max;       /* of one processor */
    const char *state_dir;   /* where the ledger is filed and the journal kept; "": nowhere */
};

struct lane;

/* Take over a lane whose lease this process holds and run it in a thread of
 * its own. STATUS_DAMAGED: a record does not check, and no owner can open the
 * lane before somebody has looked; STATUS_SYSTEM may pass. On a failure `lane`
 * is NULL and nothing was changed but the epoch.
 * Owner: the region and the texts must outlive the lane. */
enum status lane_start(struct lane **lane, struct shm_region *, unsigned number,
                       const struct lane_settings *, struct explain *why);

/* Ask it to stop: no more binding; it ends when nothing is in flight, or after
 * stop_timeout_ms. What is left unsettled is its successor's. Never waits. */
void lane_request_stop(struct lane *);

/* true: it was asked to stop and has; lane_join does not wait. */
bool lane_has_ended(const struct lane *);

/* Descriptors that a lane may have open at once: a connection for each request that may be in
 * flight, and what it needs besides. */
unsigned lane_descriptors_max(const struct lane_settings *);

/* When its thread last got round to beating, about once a second (monotonic ms). Any thread. */
int64_t lane_beat_ms(const struct lane *);

/* Wait for its end and free it. The lease is still the caller's to give back. */
void lane_join(struct lane *);

#endif
