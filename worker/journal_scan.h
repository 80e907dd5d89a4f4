/* Reading a lane's journal from its beginning to its end.
 *
 *   digest ─▶ digest ─▶ ... ─▶ segment ─▶ segment ─▶ ... ─▶ end
 *
 * Where the end is. The power may have gone while records were on their way to
 * disk: what was not synced is there or not, in any order, and its last sector
 * may be torn. What was synced is there, or the disk has lost it. The two are
 * told apart by what every record says of its past: how much was known to be on
 * disk when it was written. So a bad record is the end if no whole record after
 * it calls it durable; what follows it was never acknowledged by anybody and is
 * cut. If one does, the journal is damaged, and nothing is made of it.
 *
 * Nothing here writes.
 */
#ifndef PAYRING_WORKER_JOURNAL_SCAN_H
#define PAYRING_WORKER_JOURNAL_SCAN_H

#include "worker/journal_disk.h"
#include "worker/journal_format.h"

#define JOURNAL_PATH_SIZE 512

/* A digest as it was read; the pointers are good during the call only. */
struct journal_digest {
    struct journal_digest_header header;
    const struct uuid *ids;
    const uint64_t *rows;
    const struct journal_record *images;
};

/* Either may be NULL; the contents of digests are not even read then. Anything
 * but STATUS_OK ends the scan. */
struct journal_visitor {
    void *context;
    enum status (*digest)(void *context, const struct journal_digest *, struct explain *why);
    enum status (*entry)(void *context, const struct journal_entry *, struct explain *why);
};

struct journal_end {
    uint64_t last_digest; /* segments up to this one are digested */
    uint64_t segment;     /* the last one with a record, or the first after last_digest; 0: none */
    uint32_t used;        /* whole records in it */
    uint32_t records;     /* that it has room for */
    uint32_t seed;        /* the checksum of its header */
    uint64_t next_sequence;        /* of the record to come */
    uint64_t segments;             /* files there are after last_digest */
    uint64_t cut;                  /* records that were cut: torn, or whole behind a missing one */
    char where[JOURNAL_PATH_SIZE]; /* the place of the cut, if anything was */
};

/* Read all of it, oldest first.
 *
 * STATUS_DAMAGED      names the file and the byte; also for files that are missing
 * STATUS_UNSUPPORTED  another version's
 * STATUS_NOT_FOUND    no such directory, or nothing of a journal in it
 * STATUS_SYSTEM       the disk or memory
 */
enum status journal_scan(const struct journal_disk *, const char *directory,
                         const struct journal_identity *, const struct journal_visitor *,
                         struct journal_end *, struct explain *why);

/* Whose journal is in that directory? From the header of its youngest digest. */
enum status journal_scan_whose(const struct journal_disk *, const char *directory,
                               struct journal_identity *, struct explain *why);

/* One segment, every record of which must be whole (as those behind the open one are). */
enum status journal_scan_segment(const struct journal_disk *, const char *directory,
                                 const struct journal_identity *, uint64_t number,
                                 const struct journal_visitor *, struct explain *why);

/* One digest, whole. */
enum status journal_scan_digest(const struct journal_disk *, const char *directory,
                                const struct journal_identity *, uint64_t last,
                                const struct journal_visitor *, struct explain *why);

/* The header of one digest, checked. */
enum status journal_scan_digest_header(const struct journal_disk *, const char *directory,
                                       const struct journal_identity *, uint64_t last,
                                       struct journal_digest_header *, struct explain *why);

/* Unpack image number `place` (from 0) of a digest; false: it contradicts itself. */
bool journal_scan_image(const struct journal_digest *, uint64_t place, struct journal_payment *);

/* ---- the files of a lane ---- */

struct journal_files {
    uint64_t *digests, *segments; /* ascending */
    size_t digest_count, segment_count;
};

enum status journal_files_list(struct journal_files *, const struct journal_disk *,
                               const char *directory, struct explain *why);
void journal_files_free(struct journal_files *);

/* Find the digests that stand for everything up to the youngest one: moves them
 * to the front of `digests`, oldest first, and returns how many, 0: one is
 * missing, named in why. Others are left from before a merge. */
size_t journal_files_chain(struct journal_files *, const struct journal_disk *,
                           const char *directory, const struct journal_identity *,
                           struct explain *why);

void journal_files_path(char path[static JOURNAL_PATH_SIZE], const char *directory,
                        const char *name);

#endif
