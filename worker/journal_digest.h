/* Writing digests: what takes the place of segments that are done with, and what
 * a journal begins with.
 *
 * A digest keeps of a payment its id (16 bytes) and its ledger row (8, rarely
 * 16) where a segment has three records (192). It is made under another name,
 * synced, renamed, and its directory synced: whoever sees its name sees all of
 * it.
 */
#ifndef PAYRING_WORKER_JOURNAL_DIGEST_H
#define PAYRING_WORKER_JOURNAL_DIGEST_H

#include "worker/journal_scan.h"

/* A digest being written: ids first, then rows, then images. */
struct journal_digest_writer {
    const struct journal_disk *disk;
    struct journal_identity identity;
    struct journal_digest_header header; /* scalars: the caller's, before the end */
    char directory[JOURNAL_PATH_SIZE];
    char path[JOURNAL_PATH_SIZE]; /* the .new */
    int fd;
    uint32_t checksum;
    uint64_t written; /* bytes of the body */
    uint8_t *buffer;
    size_t filled;
    enum status status; /* of the first thing that went wrong; the rest does nothing */
    struct explain why;
};

/* Begin the digest of segments first..last; whatever goes wrong is told at the end. */
void journal_digest_begin(struct journal_digest_writer *, const struct journal_disk *,
                          const char *directory, const struct journal_identity *, uint64_t first,
                          uint64_t last);
void journal_digest_put_ids(struct journal_digest_writer *, const struct uuid *, uint64_t count);
void journal_digest_put_rows(struct journal_digest_writer *, const uint64_t *words, uint64_t count);
void journal_digest_put_image(struct journal_digest_writer *, const struct journal_payment *);

/* Make it durable under its name. On a failure the file is removed, if the disk
 * lets us. Crash: a .new that nobody reads. */
enum status journal_digest_finish(struct journal_digest_writer *, struct explain *why);
void journal_digest_abandon(struct journal_digest_writer *);

/* Digest one full segment whose payments have all ended or been told of again in
 * a later one. `before` is the header of the digest before it and becomes that of
 * the new one; its filed_rows may be raised before. The segment itself is left;
 * remove it afterwards. */
enum status journal_digest_segment(const struct journal_disk *, const char *directory,
                                   const struct journal_identity *,
                                   struct journal_digest_header *before, uint64_t number,
                                   struct explain *why);

/* Make one digest of the first `count` ones of the chain, and remove those:
 * their rows, without those that no longer count or are filed and, if `forget_ids`,
 * without their ids. */
enum status journal_digest_merge(const struct journal_disk *, const char *directory,
                                 const struct journal_identity *, const struct journal_files *,
                                 size_t count, bool forget_ids, struct explain *why);

#endif
