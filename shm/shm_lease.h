/* Who may write what: kernel-held leases on bytes of the region's file.
 *
 *   free ──try_take──▶ held ──give_back, or the process's end──▶ free
 *
 * A lease is an open-file-description lock: it vanishes with its owner, works
 * across containers, and a stopped owner keeps it. Leases hang on
 * shm_region.fd, which every process opens for itself and never inherits. All
 * threads of a process share that description and would all be granted the
 * same byte: each lease is asked for by one thread only.
 *
 * After taking one: ask shm_region_is_current, make the area writable
 * (shm_region_open_*), then note the new tenancy (shm_presence_begin).
 */
#ifndef PAYRING_SHM_LEASE_H
#define PAYRING_SHM_LEASE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "shm/shm_region.h"

/* The bytes. Not offsets of anything: a lock needs no byte to be there. */
enum shm_lease {
    SHM_LEASE_CREATION = 0, /* of <name>.new, by whoever builds it (shm_region.c) */
    SHM_LEASE_PURGE = 1,    /* the purge page: one purge at a time */
    SHM_LEASE_HEALTH = 2,   /* the health page: the one caller of service-health */
    SHM_LEASE_OPERATOR = 3, /* the operator page: one operator's request at a time */
    SHM_LEASE_API = 16,     /* + API slot: its area */
    SHM_LEASE_LANE = 64,    /* + lane: its area */
    SHM_LEASE_END = 128,
};
static_assert(SHM_LEASE_API + SHM_API_SLOTS_MAX <= SHM_LEASE_LANE, "leases");
static_assert(SHM_LEASE_LANE + SHM_LANES_MAX <= SHM_LEASE_END, "leases");

/* Never waits. STATUS_BUSY: another open file description holds it.
 * STATUS_SYSTEM: the kernel refused (errno). Taking it twice succeeds. */
enum status shm_lease_try_take(const struct shm_region *, unsigned lease);

/* Give back. Make the area read-only before: its next owner writes at once. */
void shm_lease_give_back(const struct shm_region *, unsigned lease);

/* Is it held by another open file description? The answer may be stale when it
 * arrives: for people, and to decide whether trying is worth while. */
bool shm_lease_is_taken(const struct shm_region *, unsigned lease);

/* Take all of them at once, to remove the region. STATUS_BUSY names one that
 * is held, an API's or a lane's before others, and none was taken then. */
enum status shm_lease_try_take_all(const struct shm_region *, struct explain *why);

/* Note a new tenancy of an area: epoch + 1, pid, since, beat. Returns the epoch.
 *
 * Caller:  the holder of the area's lease, right after it was taken.
 * Crash:   anything but the epoch may be of the next tenant already: all of it
 *          is for people, and an epoch that went up once too often is one too.
 */
uint64_t shm_presence_begin(struct shm_presence *);
void shm_presence_beat(struct shm_presence *); /* wall clock, about once a second */

#endif
