/* Waking a lane's owner that sleeps.
 *
 *   owner                                 producer
 *   (alone: note what the bell says)      push (tail)
 *   sleep_count := odd                    fence (seq_cst)
 *   fence (seq_cst)                       sleep_count odd and not rung for it:
 *   look at the rings ── empty: sleep         alone: the bell says one more; wake
 *   sleep_count := even, empty the FIFO       in poll: write one byte to the FIFO
 *
 * An owner sleeps in one of two ways, and announces in which (enum shm_sleep): in poll, with the
 * lane's FIFO among its other descriptors; or, while nothing else could wake it, at the lane's
 * bell, a word of the region (shm_futex.h), which is quicker for both sides.
 *
 * No wake-up is lost: of two seq_cst fences one comes first. If the owner's does, the producer sees
 * the odd count and rings; if the producer's does, the owner sees the entry and does not sleep. Who
 * rings at the bell changes what it says before waking: if the owner had noted it before, it does
 * not sleep or is woken; if it has noted the ring itself, the producer's fence came first. The wait
 * has a limit all the same, for a FIFO that somebody deleted and a producer that died or was held
 * up before it rang.
 *
 * The owner alone writes sleep_count and it never goes back, so an odd value
 * names one sleep; a producer rings once per odd value. Under load, and for
 * an owner that is awake, no system call is made. A ring that comes late, for a
 * sleep that is over, costs one look at empty rings.
 */
#ifndef PAYRING_SHM_DOORBELL_H
#define PAYRING_SHM_DOORBELL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "shm/shm_region.h"

/* sleep_count modulo 4. */
enum shm_sleep {
    SHM_SLEEP_NONE = 0,  /* awake */
    SHM_SLEEP_POLL = 1,  /* wakes by the FIFO */
    SHM_SLEEP_ALONE = 3, /* wakes by the bell */
};

/* The producer's side, one per lane. */
struct shm_doorbell {
    char path[SHM_REGION_PATH_SIZE];
    int fd;            /* of the FIFO; -1: not open */
    uint64_t rung_for; /* the odd count that was rung for last; 0: none */
    const _Atomic uint64_t *sleep_count;
    _Atomic uint32_t *rung;
};

/* Opens no file yet: that is done by the first ring that finds the owner in poll. */
void shm_doorbell_open(struct shm_doorbell *, const struct shm_region *, unsigned lane);
void shm_doorbell_close(struct shm_doorbell *);

/* After one or more pushes: wake the owner if it sleeps and was not woken yet.
 *
 * Never waits. A missing listener is no error: its successor looks at the rings
 * when it comes. A FIFO that broke (its listener died) is opened again.
 * Crash:   the bell says one more and nobody was woken: the sleep ends by its limit,
 *          unless somebody else rings for it before.
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

/* Announce sleep in poll. Look at all rings after it, and poll only if they are empty. */
void shm_doorbell_sleep(struct shm_lane *);

/* Announce sleep at the bell. Look at all rings after it, and only if they are empty wait with
 * what this returns, for timeout_ms at most. */
uint32_t shm_doorbell_sleep_alone(const struct shm_region *, unsigned lane);
void shm_doorbell_wait(const struct shm_region *, unsigned lane, uint32_t rung, int64_t timeout_ms);

/* Withdraw the announcement; was it of a sleep in poll, empty the FIFO. */
void shm_doorbell_awake(struct shm_lane *, int fd);

/* By another thread of the owner's, after it has stored what the owner looks at before it
 * sleeps: wake it if it sleeps. `fd`: from shm_doorbell_listen. Never waits. */
void shm_doorbell_ring_own(const struct shm_region *, unsigned lane, int fd);

#endif
