/* The findings of the cluster's one caller of the processors' service-health:
 * the holder of SHM_LEASE_HEALTH. Times are CLOCK_MONOTONIC, which all
 * processes of the machine share. */
#ifndef PAYRING_SHM_HEALTH_H
#define PAYRING_SHM_HEALTH_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/shm_region.h"

struct shm_health_report {
    bool failing;
    int64_t min_response_ms; /* 0 or more; 2^20 - 1 stands for that and all above */
    uint64_t checked_at_monotonic_ms;
};

/* The last report of a processor; false: none yet. Any process. One word, so
 * never half of one report and half of another. */
bool shm_health_read(const struct shm_region *, unsigned processor, struct shm_health_report *);

/* When it was called last, answered or not; 0 = never. Any process. */
uint64_t shm_health_called_at(const struct shm_region *, unsigned processor);

/* Note a call before it is made.
 *
 * Caller:  the holder of the health lease, with the page writable.
 * Crash:   noted and not made: the successor waits once for nothing. Never the
 *          other way round, which would break the processor's call limit.
 */
void shm_health_note_call(struct shm_region *, unsigned processor, uint64_t now_monotonic_ms);
void shm_health_publish(struct shm_region *, unsigned processor, const struct shm_health_report *);

#endif
