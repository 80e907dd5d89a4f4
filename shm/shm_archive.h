/* The files of a region's ledger, as one process reads them: mapped read-only,
 * each when it is first needed, verified before it is believed.
 *
 * What is held per file: its totals, so that most windows take it whole or leave it
 * out without touching it, and once a window's edge lies in it, the mapping and which
 * of its blocks were verified. The pages are the kernel's to take back: memory stays
 * bounded however long the ledger is.
 *
 * Cost, besides the sum: a file that is new to this process 10 us or so (its first
 * page); a file that a window's edge lies in for the first time 50 us; a block of
 * rows that is scanned for the first time 20 us, and what the disk takes. A file that
 * cannot be read is tried again by every sum that needs it: put it back, and all is
 * well again.
 *
 * One thread. The functions take the region whose archive it is; one without an
 * archive says STATUS_NOT_FOUND with the setting.
 */
#ifndef PAYRING_SHM_ARCHIVE_H
#define PAYRING_SHM_ARCHIVE_H

#include "shm/shm_region.h"

/* Open the archive of an attached region (region->archive) in the state directory,
 * which is not looked at yet. "" is none: nothing is done. STATUS_SYSTEM: no memory. */
enum status shm_archive_open(struct shm_region *, const char *directory, struct explain *why);

/* Unmap everything. Nothing for a region without one. Before shm_region_detach. */
void shm_archive_close(struct shm_region *);

/* The totals of a lane's segments from..to - 1, by their numbers: all of them are
 * read, those below `from` are let go. Valid until the next call for the lane.
 * Statuses as shm_ledger_file_read_header. */
enum status shm_archive_load(const struct shm_region *, unsigned lane, uint64_t from, uint64_t to,
                             const struct shm_block **totals, struct explain *why);

/* One file: its rows and the entries of its index, by their places in it. */
struct shm_archive_part {
    const uint64_t *rows;           /* verify before you believe */
    const struct shm_block *slices; /* likewise */
    const struct shm_block *blocks;
    const struct shm_block *groups; /* NULL: the segment has none */
    const struct shm_region *region;
    unsigned lane;
    uint64_t segment;
};

/* Map the file of a segment, unless it is. Statuses as shm_ledger_file_map. */
enum status shm_archive_open_part(const struct shm_region *, unsigned lane, uint64_t segment,
                                  struct shm_archive_part *, struct explain *why);

/* Verify the blocks that hold rows from..to - 1 of the part, those that were not yet.
 * Statuses as shm_ledger_file_verify_block. */
enum status shm_archive_verify(const struct shm_archive_part *, uint64_t from, uint64_t to,
                               struct explain *why);

/* Look whether the last file that a lane has filed is there, and of its ledger: is
 * this the directory that its predecessors used? OK too where there is none yet. */
enum status shm_archive_check_directory(const struct shm_region *, unsigned lane,
                                        const char *directory, struct explain *why);

/* Make the ledger of a region that is being created (shm_region_create_seeded) the
 * one whose files are in the directory: the ledger's id, base time and purges; row
 * numbers go on behind the last file of each lane, and lowest_bound_us is no higher
 * than any row of theirs, so that nothing of them is counted again.
 *
 * Afterwards, for whoever knows rows that were not filed yet (a journal): open a
 * shm_ledger_writer for the lane; rows below its row_count are in files, or were
 * purged; for each other in the order of their numbers: shm_ledger_skip_to its
 * number, shm_ledger_write, shm_ledger_publish. A row named by a filler comes out
 * behind that same filler again. There are at most as many as memory has places for.
 *
 * OK                  also where there are no files: then the ledger is new
 * STATUS_UNSUPPORTED  their ledger has other lanes or segments; names the setting
 * and those of shm_ledger_file_read_header: every file from the first row that counts
 * on must be there, and of one ledger. Rows are not read (payringctl check does).
 */
enum status shm_archive_adopt(struct shm_region *, const char *directory, struct explain *why);

#endif
