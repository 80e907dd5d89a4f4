/* The state directory: one journal, and the lock of whoever uses it.
 *
 *   lock                       read-locked by every process that drives a lane,
 *                              write-locked by whoever makes a region of it
 *   journal-<generation>/      a region's whole journal; a new region, a new generation
 *   journal-<generation>/lane-<n>/
 *   journal-<generation>.new/  being made
 *
 * A generation appears whole, by a rename. The highest one is the journal; older
 * ones are left from a creation that was cut short after it.
 */
#ifndef PAYRING_WORKER_JOURNAL_STATE_H
#define PAYRING_WORKER_JOURNAL_STATE_H

#include "worker/journal_scan.h"

/* The highest generation and its number of lanes; 0 and 0: there is none. */
enum status journal_state_find(const struct journal_disk *, const char *state_directory,
                               uint64_t *generation, unsigned *lanes, struct explain *why);

void journal_state_generation_path(char path[static JOURNAL_PATH_SIZE], const char *state_directory,
                                   uint64_t generation);
void journal_state_lane_path(char path[static JOURNAL_PATH_SIZE], const char *state_directory,
                             uint64_t generation, unsigned lane);

/* Make journal-<generation>.new and its lanes' directories, empty. */
enum status journal_state_begin(const struct journal_disk *, const char *state_directory,
                                uint64_t generation, unsigned lanes, struct explain *why);
void journal_state_new_lane_path(char path[static JOURNAL_PATH_SIZE], const char *state_directory,
                                 uint64_t generation, unsigned lane);
/* Give it its name, durably. */
enum status journal_state_finish(const struct journal_disk *, const char *state_directory,
                                 uint64_t generation, struct explain *why);

/* Remove every generation but this one (0: all), and what is half made; as far as the disk lets us.
 */
void journal_state_keep_only(const struct journal_disk *, const char *state_directory,
                             uint64_t generation);
/* Remove one generation. */
void journal_state_remove(const struct journal_disk *, const char *state_directory,
                          uint64_t generation);

/* Lock a real state directory; the descriptor holds it. STATUS_BUSY: it is in use.
 * STATUS_NOT_FOUND: there is no such directory. */
enum status journal_state_lock(const char *state_directory, bool exclusive, int *fd,
                               struct explain *why);

#endif
