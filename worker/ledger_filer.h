/* Who moves a lane's ledger to files: a thread of low priority beside the lane's own,
 * which never waits for a disk.
 *
 *   segment full ──▶ file written and synced ──▶ segments_filed + 1 (release)
 *   rows purged  ──▶ first row written and synced ──▶ files below it removed
 *
 * While the disk is slow, full or broken, nothing is filed and nothing lost: the
 * segments stay in memory, and intake stops by the ledger's budget before there
 * is no place left. Every failure is tried again after a pause, from the beginning:
 * a file whose fsync failed is thrown away and written anew from memory.
 *
 * Writer of segments_filed and of its own two counters; the lane's lease is held as
 * long as it runs. Crash: what was filed and not yet said is found by the successor.
 */
#ifndef PAYRING_WORKER_LEDGER_FILER_H
#define PAYRING_WORKER_LEDGER_FILER_H

#include "common/status.h"
#include "shm/shm_region.h"

struct ledger_filer;

/* Start the thread for a lane whose area is open and whose ledger stands. Region and
 * directory must outlive it. NULL: `why` says what failed. */
struct ledger_filer *ledger_filer_start(struct shm_region *, unsigned lane, const char *directory,
                                        struct explain *why);

/* Where a journal is kept, rows are filed only when it knows durably of their settling: else a cold
 * start could count them twice, from the file and from a book. Nothing is filed before this says up
 * to which row that is so; without a journal everything may be. Any thread; wake it then. */
void ledger_filer_allow(struct ledger_filer *, uint64_t rows);

/* There may be something to do. Never waits; any thread. */
void ledger_filer_wake(struct ledger_filer *);

/* Stop and join; a file that is being written is left to the successor. Waits for an
 * fsync that is under way. Nothing for NULL. */
void ledger_filer_stop(struct ledger_filer *);

#endif
