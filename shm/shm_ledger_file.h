/* One filed segment of a lane's ledger, and what a purge leaves: files of the state
 * directory.
 *
 *   ledger-lane<l>-<segment>.rows   immutable from the moment that it has its name
 *   ledger-lane<l>.first            the lane's first row that counts; replaced as a whole
 *   ledger-lane<l>.new              being made, by the lane's filing thread; nobody reads it
 *
 *   0        one page: identity, totals, checksum of itself and of the index
 *   4,096    index: an entry per block, one per group, a checksum per block; up to a page
 *            slices: 16 entries per block
 *            rows, as they were in memory
 *
 * So every byte is under a checksum, and a reader verifies what he reads: the page,
 * then the index, then each block that he scans, its slices and its rows, once each.
 * Little endian.
 *
 * A file gets its name (link, which replaces nothing) when its contents are on
 * disk; then the directory is synced. A file of that name is therefore whole, or
 * somebody damaged it. Crash: leaves the .new file, or a whole file that the lane
 * does not know of yet: the next filing finds it to be what it would write.
 * An fsync that failed is never asked again: the file is thrown away and written
 * anew from memory, where the segment still is.
 */
#ifndef PAYRING_SHM_LEDGER_FILE_H
#define PAYRING_SHM_LEDGER_FILE_H

#include <stdatomic.h>
#include <stdbool.h>

#include "shm/shm_region.h"

#define SHM_LEDGER_FILE_MAGIC     UINT64_C(0x3152474c52594150) /* "PAYRLGR1" */
#define SHM_LEDGER_FIRST_MAGIC    UINT64_C(0x3152534652594150) /* "PAYRFSR1" */
#define SHM_LEDGER_FILE_VERSION   1u
#define SHM_LEDGER_FILE_PATH_SIZE 320 /* of a directory of at most 255 bytes, with NUL */

/* What all files of a ledger say of it. */
struct shm_ledger_identity {
    uint64_t ledger_id_hi, ledger_id_lo;
    int64_t base_time_ms; /* what plain rows count from */
    uint32_t segment_rows;
    uint32_t lanes;
};
static_assert(sizeof(struct shm_ledger_identity) == 32, "ledger identity");

struct shm_ledger_file_header {
    uint64_t magic;
    uint32_t version;
    uint32_t lane;
    struct shm_ledger_identity ledger;
    uint64_t segment;                    /* rows segment x segment_rows and on */
    uint64_t region_id_hi, region_id_lo; /* that filed it: for people */
    int64_t filed_at_ms;                 /* wall clock: for people */
    struct shm_block totals;             /* of the segment */
    uint32_t index_crc;                  /* over the index and its page's rest */
    uint8_t reserved[SHM_PAGE_SIZE - 152];
    uint32_t header_crc; /* over all before it */
};
static_assert(offsetof(struct shm_ledger_file_header, totals) == 80, "ledger file");
static_assert(offsetof(struct shm_ledger_file_header, index_crc) == 144, "ledger file");
static_assert(sizeof(struct shm_ledger_file_header) == SHM_PAGE_SIZE, "ledger file");

struct shm_ledger_first {
    uint64_t magic;
    uint32_t version;
    uint32_t lane;
    struct shm_ledger_identity ledger;
    uint64_t first_row; /* those below were purged */
    uint32_t reserved;
    uint32_t crc; /* over all before it */
};
static_assert(sizeof(struct shm_ledger_first) == 64, "ledger first");

/* Where things are in a file of that many rows. Pure. */
uint64_t shm_ledger_file_index_size(uint32_t segment_rows);
uint64_t shm_ledger_file_slices_offset(uint32_t segment_rows);
uint64_t shm_ledger_file_rows_offset(uint32_t segment_rows);
uint64_t shm_ledger_file_size(uint32_t segment_rows);

/* "ledger-lane0-0000000007.rows", in the directory. */
void shm_ledger_file_path(char path[static SHM_LEDGER_FILE_PATH_SIZE], const char *directory,
                          unsigned lane, uint64_t segment);

/* The lane and segment that a file's name tells; false: it is no name of a segment. */
bool shm_ledger_file_parse_name(const char *name, unsigned *lane, uint64_t *segment);

/* ---- the lane's filing thread ---- */

/* File a full segment that is still in memory; durable when this returns OK. Where
 * the very same file is there already (a predecessor died before he could say so),
 * it is made durable and taken.
 *
 * STATUS_FULL     the disk is full: try again later
 * STATUS_SYSTEM   the disk refused
 * STATUS_EXISTS   another file stands there: of another ledger, or with other rows
 * STATUS_BUSY     *stopping became true in between
 * In all these cases nothing is filed, and everything may be tried again.
 */
enum status shm_ledger_file_write(const struct shm_region *, unsigned lane, uint64_t segment,
                                  const char *directory, const atomic_bool *stopping,
                                  struct explain *why);

/* Say that the lane's rows below first_row do not count any more; durable when OK.
 * Only then may files below it be removed. Errors as above. */
enum status shm_ledger_file_write_first(const struct shm_region *, unsigned lane,
                                        uint64_t first_row, const char *directory,
                                        struct explain *why);

/* ---- readers ---- */

/* Read and verify a file's first page and size. `region` says what ledger and lane
 * it must be of; NULL: any.
 *
 * STATUS_NOT_FOUND  there is none
 * STATUS_DAMAGED    size, checksum, or not what its name says, or of another ledger
 * STATUS_SYSTEM     it cannot be read
 */
enum status shm_ledger_file_read_header(const char *directory, unsigned lane, uint64_t segment,
                                        const struct shm_region *region,
                                        struct shm_ledger_file_header *, struct explain *why);

/* A file in this process's memory, read-only. */
struct shm_ledger_file_map {
    const uint8_t *base; /* NULL: not mapped */
    uint64_t size;
};

/* Map a file whose header was read, and verify its index; statuses as above. What is
 * mapped stays readable when the file is removed, but not when it is cut off:
 * nobody may do that to a file that is in use. */
enum status shm_ledger_file_map(const char *directory, unsigned lane, uint64_t segment,
                                const struct shm_region *, uint32_t index_crc,
                                struct shm_ledger_file_map *, struct explain *why);
void shm_ledger_file_unmap(struct shm_ledger_file_map *);

/* Verify one block of a mapped file, slices and rows; they are read, not looked at, so that
 * a disk that refuses is an error and not the death of the process. Statuses as above. */
enum status shm_ledger_file_verify_block(const char *directory, unsigned lane, uint64_t segment,
                                         const struct shm_region *,
                                         const struct shm_ledger_file_map *, uint64_t block,
                                         struct explain *why);

/* What the lane's last purge that was filed said. STATUS_NOT_FOUND: none was, all
 * zeros. Other statuses as above. */
enum status shm_ledger_file_read_first(const char *directory, unsigned lane,
                                       const struct shm_region *region, struct shm_ledger_first *,
                                       struct explain *why);

#endif
