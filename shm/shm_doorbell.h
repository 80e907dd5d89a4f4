/* Waking a lane's owner that sleeps in poll.
 *
 *   owner                                 producer
 *   sleep_count := odd                    push (tail)
 *   fence (seq_cst)                       fence (seq_cst)
 *   look at the rings ── empty: poll      sleep_count odd and not rung for it:
 *   sleep_count := even, empty the FIFO       write one byte to the FIFO
 *
 * No wake-up is lost: of two seq_cst fences one comes first. If the owner's
 * does, the producer sees the odd count and writes; if the producer's does, the
 * owner sees the entry and does not sleep. The owner's wait has a limit all the
 * same, for a doorbell that somebody deleted and a producer that died or was
 * held up before it rang.
 *
 * The owner alone writes sleep_count and it never goes back, so an odd value
 * names one sleep; a producer writes once per odd value. Under load, and for
 * an owner that is awake, no system call is made. A byte that comes late, for a
 * sleep that is over, costs one look at empty rings.
 */
#ifndef PAYRING_SHM_DOORBELL_H
#define PAYRING_SHM_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "shm/shm_region.h"

/* The producer's side, one per lane. */
struct shm_doorbell {
    char path[SHM_REGION_PATH_SIZE];
    int fd;            /* -1: not open */
    uint64_t rung_for; /* the odd count that was rung for last; 0: none */
    const _Atomic uint64_t *sleep_count;
};

/* Opens no file yet: that is done by the first ring that finds the owner asleep. */
void shm_doorbell_open(struct shm_doorbell *, const struct shm_region *, unsigned lane);
void shm_doorbell_close(struct shm_doorbell *);

/* After one or more pushes: wake the owner if it sleeps and was not woken yet.
 *
 * Never waits. A missing listener is no error: its successor looks at the rings
 * when it comes. A FIFO that broke (its listener died) is opened again.
 * Caller:  the API's event loop. The program ignores SIGPIPE.
 */
void shm_doorbell_ring(struct shm_doorbell *);

/* ---- the owner ---- */

/* The FIFO to poll for reading, or -1 and `why`. Opened read-write, so that it
 * never reports a hang-up, non-blocking and close-on-exec. Made anew if
 * somebody deleted it. */
int shm_doorbell_listen(const struct shm_region *, unsigned lane, struct explain *why);

/* A new owner: awake, whatever the last one left. */
void shm_doorbell_reset(struct shm_lane *);

/* Announce sleep. Look at all rings after it, and poll only if they are empty. */
void shm_doorbell_sleep(struct shm_lane *);

/* Withdraw the announcement, then empty the FIFO. */
void shm_doorbell_awake(struct shm_lane *, int fd);

#endif
