/* A cold start: what a journal tells of becomes a region again.
 *
 *   journal-<g>/lane-*  ──fold──▶  region without a name  ──▶  journal-<g + 1>/lane-*
 *
 * Settled payments become ledger rows, all accepted ids go into the filters, and
 * what had not ended goes on:
 *
 *   accepted, not bound   QUEUED, flags ASK and UNCOUNTED
 *   bound                 SENT as it was bound, flags UNKNOWN, ASK and UNCOUNTED: pinned
 *
 * ASK: both books are looked at first, because what the dead life did last may be
 * missing here. UNCOUNTED: if the id is found there, this ledger has not counted
 * it, whatever the time: it is in the journal as not ended.
 *
 * Lanes are computed from the ids, for as many as the new region has. Where the
 * ledger has files, it goes on from them (shm_archive_adopt, before this): lanes and
 * row numbers stay, and of the journal come the rows that were not filed yet.
 */
#ifndef PAYRING_WORKER_JOURNAL_REPLAY_H
#define PAYRING_WORKER_JOURNAL_REPLAY_H

#include "shm/shm_region.h"
#include "worker/journal_disk.h"

struct journal_replay {
    const struct journal_disk *disk;
    const char *state_directory;
    int64_t now_monotonic_ms;
    /* what came of it */
    bool made;           /* it has its name */
    uint64_t generation; /* the one that was made */
    unsigned lanes;      /* of the old journal; 0: there was none */
    uint64_t rows, ids, queued, sent, cut;
    uint64_t ids_forgotten;               /* more than the filters hold */
    char where[SHM_REGION_PATH_SIZE * 4]; /* the place of a cut */
};

/* Fill a new region, all of it writable and seen by nobody, and write the
 * beginnings of its journal.
 *
 * STATUS_DAMAGED, STATUS_UNSUPPORTED  the journal cannot be believed; names file and byte
 * STATUS_INVALID  the region is too small for it; names the setting
 * STATUS_FULL, STATUS_SYSTEM          the disk, memory
 * Crash:   the old generation stands, or the new one does; both tell the same.
 */
enum status journal_replay_into(struct journal_replay *, struct shm_region *, struct explain *why);

/* After the region has its name: the older generations go. Or, after it could
 * not get one: the new generation goes. */
void journal_replay_keep(const struct journal_replay *);
void journal_replay_drop(const struct journal_replay *);

#endif
