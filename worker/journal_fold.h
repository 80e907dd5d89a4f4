/* What a journal amounts to: the rows that count, the payments that have not
 * ended, and what else a lane has to know to go on.
 *
 * The last image of an id is the truth about it. Ids are not kept: each is given
 * to a function as it is met, once for every acceptance, in that order.
 *
 *   digest   its rows follow those before (or take their place from row_first on);
 *            what had not ended is told of again in its images or after it
 *   OPENED   the row count of the region at that time: a row that the journal
 *            told of before its owner died in the middle of settling is taken
 *            back, and its payment has not ended
 *   PURGED   rows up to here no longer count; what waited and was accepted before
 *            the purge is gone; what was sent goes on
 */
#ifndef PAYRING_WORKER_JOURNAL_FOLD_H
#define PAYRING_WORKER_JOURNAL_FOLD_H

#include "worker/journal_scan.h"

struct journal_fold {
    /* for whoever wants the ids; NULL: nobody */
    void (*id)(void *context, const struct uuid *);
    void *context;

    /* rows row_start .. row_start + row_count - 1, as ledger words */
    uint64_t *rows;
    uint64_t row_start, row_count, row_capacity;
    uint64_t first_row;  /* those below no longer count */
    uint64_t filed_rows; /* those below are in the ledger's files */
    uint64_t ledger_id_hi, ledger_id_lo;
    uint32_t segment_rows; /* of the ledger; 0: it has no segments, and no fillers */
    uint32_t lanes;        /* of the region that wrote it */
    int64_t base_time_ms;
    int64_t lowest_bound_us;
    uint32_t purge_generation;
    uint64_t digests; /* seen */
    uint64_t entries;
    uint64_t settled; /* payments told of as settled in records */
    bool may_miss;    /* what was acknowledged may be missing (JOURNAL_MAY_MISS) */

    /* payments that have not ended: an open hash table, state FREE = empty */
    struct journal_payment *open;
    uint64_t open_count, open_mask; /* 0: no table yet */

    /* the last payment that a record settled, as it was before */
    struct journal_payment before_last;
    uint64_t last_row; /* its row + 1; 0: none can be taken back */
};

void journal_fold_begin(struct journal_fold *);
void journal_fold_end(struct journal_fold *); /* frees */

/* For a scan: visitor whose context is the fold. */
struct journal_visitor journal_fold_visitor(struct journal_fold *);

enum status journal_fold_digest(void *fold, const struct journal_digest *, struct explain *why);
enum status journal_fold_entry(void *fold, const struct journal_entry *, struct explain *why);

/* Apply a purge: rows below purge->row count no more, what waited and is older than its generation
 * is gone. */
void journal_fold_purge(struct journal_fold *, const struct journal_payment *purge);

/* The payment of that id if it has not ended, or NULL. */
const struct journal_payment *journal_fold_find(const struct journal_fold *, const struct uuid *);

/* How many words come before a row of so many, which is the next at `row`: a filler, where it would
 * not fit in what is left of its segment (shm_ledger.h). */
unsigned journal_fold_fillers(uint64_t row, unsigned words, uint32_t segment_rows);

/* Rows that count and are not filed are there: none below row_start is missing. */
enum status journal_fold_check(const struct journal_fold *, struct explain *why);

#endif
