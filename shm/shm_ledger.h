/* A lane's ledger: packed rows in the order of settling, and their sums over a
 * window of requestedAt.
 *
 *   0            first_row               row_count            capacity
 *   │ purged     │ counted               │ being written      │
 *
 * A row counts if and only if it is published (below row_count), not purged (at
 * or above first_row) and from <= requestedAt <= to. What a summary may miss: a
 * payment that a processor has executed and whose reply has not been worked on,
 * because until then nobody here can know; and a row that is published while
 * the summary is being made, because it may as well have come after it.
 *
 * Rows are never used again: the ledger's capacity is the number of rows of a
 * region's whole life, and intake stops before it could be passed.
 */
#ifndef PAYRING_SHM_LEDGER_H
#define PAYRING_SHM_LEDGER_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/shm_block_index.h"
#include "shm/shm_region.h"

struct shm_row { /* one payment's row, decoded */
    unsigned processor;
    int64_t amount_cents;
    int64_t requested_at_us; /* since the Unix epoch */
};

/* Pack into words[0..1]; returns how many words (1 or 2). Pure. CHECKs what no
 * row can hold: cents outside 1..2^44 - 1, times beyond 2^61 us. */
unsigned shm_ledger_pack(uint64_t words[2], const struct shm_row *, int64_t base_time_ms);

/* Decode at words[0] (words[1] is read for an escape only). Returns the number
 * of words; 0: no row starts here (an escape's second word, or never written). */
unsigned shm_ledger_unpack(struct shm_row *, const uint64_t *words, int64_t base_time_ms);

/* ---- the owner ---- */

struct shm_ledger_writer {
    struct shm_lane *lane;
    uint64_t *rows;
    uint64_t capacity;
    uint64_t row_count; /* as published */
    int64_t base_time_ms;
    struct shm_block_index_writer index;
    struct shm_row pending; /* written, not yet published */
    unsigned pending_words; /* 0: none */
};

/* Go on at row_count. Makes the sums of the open block and superblock again from
 * the published rows and the full blocks. */
void shm_ledger_writer_open(struct shm_ledger_writer *, const struct shm_region *, unsigned lane);

/* Rows that are not published yet. A payment takes SHM_ROWS_PER_PAYMENT_MAX at most. */
uint64_t shm_ledger_rows_left(const struct shm_ledger_writer *);

/* Write the words at row_count; nobody sees them yet. CHECKs that there is room,
 * which shm_ledger_budget has seen to. Crash: overwritten by the next row. */
void shm_ledger_write(struct shm_ledger_writer *, const struct shm_row *);

/* Finish the blocks that the written row completes, then release row_count: the
 * only publication point of a row, of both words of an escape, and of blocks. */
void shm_ledger_publish(struct shm_ledger_writer *);

/* Read a published row by the number of its first word. Any process. false: not
 * published, or no row starts there. */
bool shm_ledger_read(const struct shm_region *, unsigned lane, uint64_t row, struct shm_row *);

/* ---- any process ---- */

struct shm_window {  /* inclusive; us since the Unix epoch */
    int64_t from_us; /* INT64_MIN: no bound */
    int64_t to_us;   /* INT64_MAX: no bound */
};

struct shm_totals {
    uint64_t payments[SHM_PROCESSORS];
    unsigned __int128 sum_cents[SHM_PROCESSORS];
};

/* Sum all lanes of the region at one purge generation.
 *
 * A lane that has not yet applied the current purge contributes nothing: all
 * that it has published will be purged. The generation is looked at again after
 * the scan; STATUS_BUSY: purges kept changing it for all tries.
 * Cost:    independent of the row count but for the blocks across the window's
 *          edges and the open ones; never a wait for a lane's owner.
 */
enum status shm_ledger_sum(const struct shm_region *, const struct shm_window *,
                           struct shm_totals *);

/* The rows of one lane that count: first..end - 1. */
struct shm_extent {
    uint64_t first, end;
};

/* Which rows of each lane count, at one purge generation: those of a summary that is
 * made at the same time. They never change, whatever is settled or purged later.
 * STATUS_BUSY as above. */
enum status shm_ledger_extents(const struct shm_region *, struct shm_extent extents[SHM_LANES_MAX]);

/* Payments that one API slot may accept for one lane after one look. */
#define SHM_LEDGER_BUDGET 64u

/* How many more payments the API slot of the caller may accept for a lane
 * before it looks again: SHM_LEDGER_BUDGET, or 0 = the ledger might not hold
 * all that may still settle; accept nothing.
 *
 * Why the ledger can never be overfilled. Call a look granted if it returned a
 * budget, and take, of all API slots' latest granted looks, the one whose fence
 * comes last in the order of all seq_cst fences. It saw every payment accepted
 * before any slot's latest look: the acceptance (a tail) is sequenced before
 * that look's fence. Each of them was counted in a ring, in `unsettled` or in
 * row_count, in the direction in which payments move, so none slipped through
 * in between; some were counted twice. All others were accepted out of some
 * slot's latest budget: at most SHM_LEDGER_BUDGET for each slot. So all that
 * may ever become a row is within what the look added up, and it was granted
 * because that, at SHM_ROWS_PER_PAYMENT_MAX rows each, fits. A new tenant of a
 * slot has no budget before its own first look.
 */
unsigned shm_ledger_budget(const struct shm_region *, unsigned lane);

#endif
