/* The cluster's one caller of GET /payments/service-health.
 *
 * Every worker process runs this thread; whoever holds SHM_LEASE_HEALTH calls,
 * the others wait for the lease. The processors allow one call per 5 s and per
 * cluster; the time of the last call lies in the region, so that a successor
 * keeps the limit too. Findings are shared through the region with their age.
 */
#ifndef PAYRING_WORKER_HEALTH_H
#define PAYRING_WORKER_HEALTH_H

#include "common/status.h"
#include "shm/shm_region.h"

struct health_settings {
    const char *urls[SHM_PROCESSORS];
    int64_t interval_ms; /* between two calls to one processor, at least 5000 */
};

struct health;

/* Start the thread. The region and the URLs must outlive it. NULL: `why` says what failed. */
struct health *health_start(struct shm_region *, const struct health_settings *,
                            struct explain *why);

/* Stop and join; gives the lease back. A call in flight is abandoned. */
void health_stop(struct health *);

#endif
