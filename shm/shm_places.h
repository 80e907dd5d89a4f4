/* Where everything in a region is. Computed from the geometry alone, so that
 * an attacher compares with the object's size and never trusts a stored offset.
 */
#ifndef PAYRING_SHM_PLACES_H
#define PAYRING_SHM_PLACES_H

#include <stdint.h>

#include "common/status.h"
#include "shm/shm_layout.h"

/* Limits of a geometry. The slots and lanes have theirs in shm_layout.h. The least ones are lower
 * in the simulator (test/sim/step.h). */
#ifndef SHM_RING_SLOTS_MIN
#define SHM_RING_SLOTS_MIN    64u /* one page of slots */
#define SHM_PAYMENT_SLOTS_MIN 64u
#define SHM_HORIZON_MIN       64u
#endif
#define SHM_RING_SLOTS_MAX    1048576u
#define SHM_PAYMENT_SLOTS_MAX 4194304u
#define SHM_LEDGER_ROWS_MAX   2147483648u
#define SHM_HORIZON_MAX       268435456u

/* Bits of one generation of the filter per id that it is to remember: with 8
 * bits set per id, about one unknown id in 1,000 is taken for a known one. */
#define SHM_FILTER_BITS_PER_ID 16u
#define SHM_FILTER_LINE_WORDS  8u /* a line is 64 bytes, 512 bits */

/* Offsets are bytes; those of the pages before them are constants. */
struct shm_places {
    uint64_t api_offset;  /* of slot 0 */
    uint64_t api_stride;  /* control page + rings, a page multiple */
    uint64_t ring_offset; /* of lane 0's slots, from the API area's start */
    uint64_t ring_stride;
    uint64_t lane_offset;     /* of lane 0 */
    uint64_t lane_stride;     /* a page multiple */
    uint64_t payments_offset; /* this and the next ones are from the lane area's start */
    uint64_t index_heads_offset;
    uint64_t index_next_offset;
    uint64_t filter_offset[2]; /* of each generation */
    uint64_t slices_offset;    /* this and the next three are the entries of the index */
    uint64_t blocks_offset;
    uint64_t groups_offset;
    uint64_t segments_offset;
    uint64_t rows_offset;
    uint64_t total_size;
    uint32_t index_heads;  /* a power of two, at least payment_slots */
    uint32_t filter_lines; /* 64-byte lines of one generation, a power of two */
    uint32_t slice_count;
    uint32_t block_count;
    uint32_t group_count; /* 0: segments are not whole groups */
    uint32_t segment_count;
};

#define SHM_PURGE_OFFSET    SHM_PAGE_SIZE
#define SHM_HEALTH_OFFSET   (2u * SHM_PAGE_SIZE)
#define SHM_OPERATOR_OFFSET (3u * SHM_PAGE_SIZE)
#define SHM_BELLS_OFFSET    (4u * SHM_PAGE_SIZE)

/* Segments that a ledger must have in memory before any is filed: one is being
 * written, one is being filed, and one is what a slow disk has for time. */
#define SHM_SEGMENTS_MIN 3u
/* And at most: a summary looks at the entry of each. */
#define SHM_SEGMENTS_MAX 4096u

/* The rows of a segment where nobody chose them: at least four segments if the
 * ledger has four blocks, as long as can be. Pure. */
uint32_t shm_places_segment_rows(uint32_t ledger_rows);

/* Compute the places of a geometry. Pure.
 *
 * STATUS_INVALID names the setting that is out of its limits; *places is
 * untouched then.
 */
enum status shm_places_compute(struct shm_places *places, const struct shm_geometry *geometry,
                               struct explain *why);

#endif
