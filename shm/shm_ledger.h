/* A lane's ledger: packed rows in the order of settling, and their sums over a
 * window of requestedAt.
 *
 * A row counts if and only if it is published (below row_count), not purged
 * (at or above first_row) and from <= requestedAt <= to.
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
    int64_t requested_at_us;
};

/* Pack into words[0..1]; returns how many words (1 or 2). Pure. */
unsigned shm_ledger_pack(uint64_t words[2], const struct shm_row *, int64_t base_time_ms);
/* Decode at words[0] (words[1] is read for an escape only). 0: a continuation, not a row's start;
 * else the number of words. */
unsigned shm_ledger_unpack(struct shm_row *, const uint64_t *words, int64_t base_time_ms);

/* ---- the owner ---- */
struct shm_ledger_writer {
    struct shm_lane *lane;
    uint64_t *rows;
    uint64_t capacity;
    uint64_t row_count;        /* as published */
    int64_t base_time_ms;
    struct shm_block_index_writer index;
    struct shm_row pending;    /* written, not yet published */
    unsigned pending_words;
};
/* Rebuilds the sums of the open block from the published rows. */
void shm_ledger_writer_open(struct shm_ledger_writer *, const struct shm_region *, unsigned lane);
uint64_t shm_ledger_rows_left(const struct shm_ledger_writer *);
/* Write the words at row_count; not visible yet. CHECKs that there is room. */
void shm_ledger_write(struct shm_ledger_writer *, const struct shm_row *);
/* Finish full blocks, then release row_count. */
void shm_ledger_publish(struct shm_ledger_writer *);
/* Read a published row by its number (take-over). */
bool shm_ledger_read(const struct shm_region *, unsigned lane, uint64_t row, struct shm_row *);

/* ---- any process ---- */
struct shm_window { /* inclusive; us since the Unix epoch */
    int64_t from_us; /* INT64_MIN: no bound */
    int64_t to_us;   /* INT64_MAX: no bound */
};
struct shm_totals {
    uint64_t payments[SHM_PROCESSORS];
    unsigned __int128 sum_cents[SHM_PROCESSORS];
};
/* Sum all lanes of the region at one purge generation. A lane that has not yet applied the
 * current purge contributes nothing (all it has published will be purged). STATUS_BUSY:
 * purges kept changing the generation for all tries. Cost: independent of the row count but for edges. */
enum status shm_ledger_sum(const struct shm_region *, const struct shm_window *, struct shm_totals *);

/* How many more payments an API may accept for a lane without looking again; 0 = the ledger could not
 * hold all that may still settle. Reads rings, then unsettled, then row_count (in the direction a payment
 * moves, so none is missed). Each API slot may hold SHM_LEDGER_BUDGET unused at a time; the refusal margin
 * covers all slots' budgets. */
#define SHM_LEDGER_BUDGET 64u
unsigned shm_ledger_budget(const struct shm_region *, unsigned lane);

#endif
