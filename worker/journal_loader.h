/* Reading the ids of a journal's digests, a piece at a time, while its lane goes on.
 *
 * A digest is believed as a whole or not at all: one that is damaged, or cannot be read, leaves the
 * ids not loaded, and the lane looks every id up that it does not know.
 */
#ifndef PAYRING_WORKER_JOURNAL_LOADER_H
#define PAYRING_WORKER_JOURNAL_LOADER_H

#include "worker/journal_ids.h"
#include "worker/journal_scan.h"

struct journal_loader {
    const struct journal_disk *disk;
    const char *directory;
    struct journal_identity identity;
    struct journal_ids *ids;
    struct journal_files files;
    size_t length, next; /* of the chain in files; the digest at hand, or to come */
    int fd;              /* of the one at hand; -1: none */
    struct journal_digest_header header;
    uint64_t read; /* bytes of its body */
    uint32_t checksum;
    uint8_t *piece;
    uint64_t cost; /* bytes read so far, and a page for each file */
    bool done;     /* all, or as much as could be read */
};

/* Owner:   `files` becomes the loader's; its first `length` digests are the chain, oldest first.
 *          Directory and ids must outlive it. */
void journal_loader_begin(struct journal_loader *, const struct journal_disk *,
                          const char *directory, const struct journal_identity *,
                          const struct journal_files *files, size_t length, struct journal_ids *);

/* Read a piece, a quarter of a MiB at most. After the last one the ids are told to be loaded. An
 * error ends it: done, and not loaded. */
enum status journal_loader_read(struct journal_loader *, struct explain *why);

void journal_loader_end(struct journal_loader *); /* frees; also one that was never begun */

#endif
