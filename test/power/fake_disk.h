/* A disk in memory that remembers every change, so that the power can be cut
 * after any of them.
 *
 * What was synced is there after a cut. Of what was not, anything may be: by
 * sectors of 512 bytes, in any order, the last one torn at any byte; new, renamed
 * and removed names each by itself. Nothing is shared between two disks. */
#ifndef PAYRING_TEST_POWER_FAKE_DISK_H
#define PAYRING_TEST_POWER_FAKE_DISK_H

#include <stdbool.h>
#include <stdint.h>

#include "worker/journal_disk.h"

struct fake_disk;

/* What of the changes that were not synced reached the disk. */
enum fake_cut {
    FAKE_CUT_NOTHING,
    FAKE_CUT_EVERYTHING,
    FAKE_CUT_PREFIX, /* a part, in order, with its last sector torn */
    FAKE_CUT_RANDOM, /* any sectors and names, one of them torn */
    FAKE_CUTS,
};

struct fake_disk *fake_disk_create(void); /* with an empty directory /state */
void fake_disk_destroy(struct fake_disk *);
struct journal_disk fake_disk_functions(struct fake_disk *);

/* Called before every change and sync. */
void fake_disk_watch(struct fake_disk *, void (*before)(void *context), void *context);

/* A sync says that it has, and has not: for the self-test. */
void fake_disk_lie(struct fake_disk *);

/* Changes and syncs so far. */
uint64_t fake_disk_length(const struct fake_disk *);

/* Is the change before this place a sync? */
bool fake_disk_is_flush(const struct fake_disk *, uint64_t place);

/* The disk as it is after the power went when `length` changes had been asked for. */
struct fake_disk *fake_disk_cut(const struct fake_disk *, uint64_t length, enum fake_cut,
                                uint64_t *random);

#endif
