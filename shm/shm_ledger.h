/* A lane's ledger: packed rows in the order of settling, and their sums over a
 * window of requestedAt.
 *
 *   0            first_row                              row_count     end
 *   │ purged     │ counted                              │             │
 *   ├──── files alone ────┼──── memory, files too ──┼── memory ───────┤
 *   0            segments_dropped          segments_filed             + segments in memory
 *
 * Rows are numbered for ever and never used again. They are a chain of segments
 * of equal length; memory has places for some, row r at r modulo ledger_rows.
 * With a state directory a full segment is written to a file (shm_ledger_file.h);
 * from then on its place may be used for the segment that comes so many later.
 * Without one nothing is ever filed, the end stays where it was at creation, and
 * intake stops before it could be passed. Of that there is one rule for both:
 *
 *   rows are written below (segments_filed + segments in memory) x segment rows.
 *
 * The owner stores segments_dropped before it writes over a segment's first
 * word. Readers sum what is in memory, look at segments_dropped again, and throw
 * the sum away if a segment that they read was given up: it is a file now.
 *
 * A row counts if and only if it is published (below row_count), not purged (at
 * or above first_row) and from <= requestedAt <= to. What a summary may miss: a
 * payment that a processor has executed and whose reply has not been worked on,
 * because until then nobody here can know; and a row that is published while
 * the summary is being made, because it may as well have come after it.
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
 * of words; 0: no row starts here (an escape's second word, a filler, or never
 * written). */
unsigned shm_ledger_unpack(struct shm_row *, const uint64_t *words, int64_t base_time_ms);

/* ---- the owner ---- */

struct shm_ledger_writer {
    struct shm_lane *lane;
    uint64_t *rows; /* by place */
    uint64_t places;
    uint64_t segment_rows;
    uint64_t row_count;  /* as published */
    uint64_t places_end; /* rows below have a place that nobody reads any more */
    int64_t base_time_ms;
    struct shm_block_index_writer index;
    struct shm_row pending; /* written, not yet published */
    unsigned pending_words; /* 0: none */
    unsigned filler_words;  /* before them */
};

/* Go on at row_count. Makes the sums of what is open in the index again
 * from the published rows and the full entries. */
void shm_ledger_writer_open(struct shm_ledger_writer *, const struct shm_region *, unsigned lane);

/* Rows from row_count to the end. A payment takes SHM_ROWS_PER_PAYMENT_MAX at most. */
uint64_t shm_ledger_rows_left(const struct shm_ledger_writer *);

/* Write the words at row_count; nobody sees them yet. CHECKs that there is room,
 * which shm_ledger_budget has seen to.
 *
 * Order:   an escape that finds one word left in its segment leaves a filler
 *          there; a segment's old words are given up (segments_dropped) first.
 * Crash:   overwritten by the next row.
 */
void shm_ledger_write(struct shm_ledger_writer *, const struct shm_row *);

/* Finish the blocks that the written row completes, then release row_count: the
 * only publication point of a row, of both words of an escape, of the filler
 * before it, and of blocks. */
void shm_ledger_publish(struct shm_ledger_writer *);

/* Fill up with words that hold no payment until row_count is `row`, and publish
 * them. For whoever makes a ledger again (shm_archive_adopt, a journal): a row that
 * is known by its number gets that number again, whatever lay before it. */
void shm_ledger_skip_to(struct shm_ledger_writer *, uint64_t row);

/* What a record calls the row that would be written next (shm_payment.row_name;
 * never 0): the row's number modulo 2^32 - 1, + 1. Whoever resolves a name looks
 * for its row less than 2^32 - 1 rows behind row_count, and that is the right one:
 * a record that stands named at a take-over named row_count or, if the row was
 * published, what row_count was before it; and a settled record is recycled long
 * before so many more rows have been settled, because the table, which has room
 * for a thousandth of them, recycles the oldest first. */
uint32_t shm_ledger_next_name(const struct shm_ledger_writer *);

/* ---- any process ---- */

/* Read a published row by the number of its first word. OK with 0 words: not
 * published, or no row starts there. Other statuses: as of shm_ledger_sum_or_say,
 * of the file that it is in. */
enum status shm_ledger_read_or_say(const struct shm_region *, unsigned lane, uint64_t number,
                                   struct shm_row *, unsigned *words, struct explain *why);

/* Is there a row, and can it be read here? */
bool shm_ledger_read(const struct shm_region *, unsigned lane, uint64_t number, struct shm_row *);

/* The number of the published row of that name: an escape's first word, also where a
 * filler before it was named. false: not published, or it cannot be read here. */
bool shm_ledger_find_named(const struct shm_region *, unsigned lane, uint32_t name,
                           uint64_t *number);

/* Read the published row of that name; an escape that a filler comes before is
 * named by the filler. */
bool shm_ledger_read_named(const struct shm_region *, unsigned lane, uint32_t name,
                           struct shm_row *);

/* The number of rows that the lane may have in all, as it stands. */
uint64_t shm_ledger_end(const struct shm_region *, unsigned lane);

/* How much of what memory holds is used up by rows that are not filed, in percent. */
unsigned shm_ledger_used_percent(const struct shm_region *, unsigned lane);

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
 * the scan.
 * Cost:    independent of the row count but for the blocks across the window's
 *          edges and the open ones, and some ns for each segment; never a wait
 *          for a lane's owner. Of files, see shm_archive.h.
 *
 * STATUS_BUSY        purges, or rows that came faster than they could be read,
 *                    kept changing what was to be summed, for all tries
 * STATUS_NOT_FOUND   a file that the window needs is not there, or this process
 *                    has no archive (shm_region.archive)
 * STATUS_DAMAGED     it is not what was filed
 * STATUS_SYSTEM      it cannot be read
 * and nothing is known of the sums: never are they too small.
 */
enum status shm_ledger_sum_or_say(const struct shm_region *, const struct shm_window *,
                                  struct shm_totals *, struct explain *why);

static inline enum status shm_ledger_sum(const struct shm_region *region,
                                         const struct shm_window *window, struct shm_totals *totals)
{
    return shm_ledger_sum_or_say(region, window, totals, NULL);
}

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
 * slot has no budget before its own first look. The end only ever moves up.
 *
 * Why fillers need no rows of their own. Let p payments, and as many as 2 p
 * rows, be left to come. Segments begin and the ledger ends at an even row, so
 * what is left has the parity of row_count. A filler is needed only at an odd
 * row: then 2 p is even, what is left is odd and at least 2 p, so 2 p + 1; the
 * filler and the escape take 3, which leaves 2 (p - 1).
 */
unsigned shm_ledger_budget(const struct shm_region *, unsigned lane);

#endif
