/* The journal of one lane, as its owner writes it.
 *
 *   lane's thread      append ──▶ page cache          records, in program order
 *   commit thread      fdatasync ──▶ `durable`        group commit: whatever has come meanwhile
 *   keeper's thread    prepares the next segment, digests old ones, keeps to the bound
 *
 * Write-ahead: a step is appended before any of its stores is made, so that the
 * journal is never behind the region, and at most one step ahead of it. Whoever
 * opens it after its owner died tells of everything that has not ended anew.
 *
 * A write that fails, a full disk, an fsync that fails: the journal has failed for
 * good. An fsync is never tried again: after a failure the kernel may call pages
 * clean that never reached the disk. Nothing is appended any more; whoever opens
 * the journal next has to begin it anew from the region (journal_begin_anew).
 */
#ifndef PAYRING_WORKER_JOURNAL_H
#define PAYRING_WORKER_JOURNAL_H

#include "worker/journal_disk.h"
#include "worker/journal_format.h"

/* Records of a segment: 16 MiB, about 87,000 payments, and less where the bound is small, so that
 * there are always some to digest within it. */
#define JOURNAL_SEGMENT_RECORDS 262143u
#define JOURNAL_SEGMENTS_MIN    16u
uint32_t journal_segment_records(uint64_t bytes_max);

#define JOURNAL_NO_SLOT UINT32_MAX

/* With so many records not yet durable a lane takes nothing in and binds nothing.
 * What is in flight may still settle; JOURNAL_BEHIND_MAX leaves room for that. */
#define JOURNAL_BEHIND_SOFT 32768u

struct journal_settings {
    const struct journal_disk *disk;
    bool sync;           /* commit at once, and not every interval_ms */
    int64_t interval_ms; /* between two commits otherwise */
    uint32_t segment_records;
    uint64_t bytes_max; /* of digests and segments together; ids are forgotten for it */
    uint32_t slots;     /* of the lane's payment table */
    /* Called by any thread, any number of times, before the journal is known to have failed: note
     * it where a successor of this process finds it. */
    void (*failed)(void *context);
    /* Called by the commit thread after `durable` has grown, and by any of the
     * threads when the journal has failed or wants journal_carry: wake the lane. */
    void (*wake)(void *context);
    void *context;
};

struct journal;

/* Open the journal of a living region's lane at its end. No thread runs yet.
 *
 * Everything that is there is synced before this returns; then append OPENED and
 * CARRIED for every payment that has not ended, and journal_start.
 * STATUS_DAMAGED   something in it is not whole: begin it anew from the region
 * STATUS_SYSTEM    the disk refuses
 * Owner:   directory and identity are copied; settings' disk must outlive it.
 */
enum status journal_open(struct journal **, const char *directory, const struct journal_identity *,
                         const struct journal_settings *, struct explain *why);

/* Commit what was appended since journal_open and start the threads. */
enum status journal_start(struct journal *, struct explain *why);

/* Commit, end the threads, free. What is appended is durable unless it had failed. */
void journal_close(struct journal *);

/* ---- the lane's thread ---- */

/* Append one record; returns its sequence number, 0 if the journal has failed.
 *
 * May wait for the disk: when the next segment is not ready, or when too much is
 * not durable. `slot` is the payment's record in the table, so that it can be
 * told of again before its segment goes; JOURNAL_NO_SLOT for PURGED and OPENED.
 * Order:   written to the page cache when this returns: the death of the process
 *          loses nothing of it.
 */
uint64_t journal_append(struct journal *, enum journal_kind, const struct journal_payment *,
                        uint32_t slot);

/* Once a turn: tell the commit thread if anything was appended. */
void journal_kick(struct journal *);

/* Rows of the ledger below this one are on disk in its files: digests need not keep them. */
void journal_note_filed(struct journal *, uint64_t rows);

/* Once a turn: tell of payments again that stand in the way of a digest.
 * `image` fills in what stands in a slot. */
void journal_carry(struct journal *,
                   void (*image)(void *context, uint32_t slot, struct journal_payment *),
                   void *context);

/* May the journal tell of that id's acceptance? For an id that neither the table nor the filter
 * knows: only false is certain. Always true while the digests are still being read, and for good if
 * one of them cannot be. Costs a cache line for each part of its ids (journal_ids.h). */
bool journal_may_know(struct journal *, const struct uuid *);

/* ---- any thread ---- */

bool journal_wants_carry(const struct journal *);

uint64_t journal_appended(const struct journal *);
uint64_t journal_durable(const struct journal *); /* acquire: pairs with the commit thread */
bool journal_has_failed(const struct journal *);
bool journal_is_behind(const struct journal *); /* by JOURNAL_BEHIND_SOFT */

/* ---- for tests without threads, and what the threads call ---- */

void journal_commit_now(struct journal *);
bool journal_keep_now(struct journal *); /* do one piece of the keeper's work; false: none */

#endif
