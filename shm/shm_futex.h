/* Waiting for a word of shared memory to change, and waking who waits: futex(2) between
 * processes, which may have mapped it at different places. Both are for speed: who waits does so
 * for a time and looks for itself, so that nothing hangs on them. */
#ifndef PAYRING_SHM_FUTEX_H
#define PAYRING_SHM_FUTEX_H

#include <stdatomic.h>
#include <stdint.h>

/* Sleep while *word is `expected`: until somebody wakes, for timeout_ms at most (monotonic; below 0
 * is 0). Returns at once if it has another value; may return early for no reason (a signal).
 * Errors:  whatever else the kernel says counts as one of those, after 10 ms at most.
 * Order:   of a change of the word and a wake after it on one side, and the look at the word on
 *          the other, the kernel loses neither: who does not see the change is woken. No
 *          acquire: read what the waker stored behind a load or fence of your own. */
void shm_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ms);

/* Wake one who waits for the word; never waits. Change it first. Errors: as if nobody waited. */
void shm_futex_wake(_Atomic uint32_t *word);

#endif
