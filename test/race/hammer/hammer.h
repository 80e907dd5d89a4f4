/* The hammer: every party of a lane at once, on a real region, as fast as it goes.
 *
 *   producer 0 ──ring──▶ owner ──records, rows──▶ readers of records, rings and sums
 *   producer 1 ──ring──▶   │                      purger
 *                        books (the processors' memory, which no death clears)
 *
 * What a producer puts into its ring's entry number k follows from k alone, and what the owner
 * writes into a record and a row follows from the payment alone, so everybody can tell a torn
 * word, a gap or a second copy by looking. As processes the parties are killed with SIGKILL and
 * stopped at any instruction; as threads of one process they leave between two calls, and the
 * thread sanitizer sees all of them.
 *
 *   hammer.h        what is shared, what follows from a number
 *   numbers.c       the content of an entry, a record and a row
 *   owner.c         the lane's owner: the worker's stores through lane_memory, its sleep and wake
 *   parties.c       producers, readers, the purger
 *   hammer_main.c   rounds: start, kill, drain, compare
 */
#ifndef PAYRING_TEST_RACE_HAMMER_H
#define PAYRING_TEST_RACE_HAMMER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/shm_payments.h"
#include "shm/shm_region.h"
#include "shm/shm_ring.h"

enum { HAMMER_APIS = 2, HAMMER_LANE = 0 };

enum hammer_phase {
    HAMMER_RUN,
    HAMMER_DRAIN, /* all but the owner leave */
    HAMMER_END,   /* the owner settles what is there and leaves */
};

enum hammer_role {
    HAMMER_OWNER,
    HAMMER_PRODUCER_0,
    HAMMER_PRODUCER_1,
    HAMMER_RECORD_READER,
    HAMMER_RING_READER,
    HAMMER_SUM_READER,
    HAMMER_PURGER,
    HAMMER_ROLES,
};

/* What somebody looked at and found right. */
enum hammer_tally {
    HAMMER_PUSHED,
    HAMMER_RING_FULL,
    HAMMER_LEDGER_FULL,
    HAMMER_TAKEN,
    HAMMER_SETTLED,
    HAMMER_RECYCLED,
    HAMMER_SLEPT,
    HAMMER_WOKEN,
    HAMMER_RECORDS_READ,
    HAMMER_RECORDS_IN_MOTION,
    HAMMER_ENTRIES_READ,
    HAMMER_SUMS,
    HAMMER_SUMS_BUSY,
    HAMMER_PURGES,
    HAMMER_TALLIES,
};

/* Shared by all parties, and by their successors. Outside the region: this is the judge's. */
struct hammer {
    uint64_t seed;
    bool threads;
    char region_name[SHM_REGION_NAME_MAX + 1];
    uint64_t numbers_max; /* of one ring */
    _Atomic int phase;
    _Atomic uint64_t producer_deaths;
    /* All entries below have ended; rows of theirs are published. By the owner. */
    _Atomic uint64_t ended_below[HAMMER_APIS];
    /* All entries from here on were accepted after that purge was applied. By the purger. */
    _Atomic uint64_t clean_from[HAMMER_APIS];
    _Atomic uint64_t clean_generation;
    _Atomic uint64_t tallies[HAMMER_TALLIES];
    _Atomic int failed;
    char failure[512];
    _Atomic uint8_t books[]; /* by payment: a processor has executed it */
};

/* One party. As a process it has a region of its own, as a thread it shares one. */
struct hammer_party {
    struct hammer *hammer;
    struct shm_region *region;
    enum hammer_role role;
    uint64_t random;
    uint64_t turns_left; /* a thread leaves after so many; UINT64_MAX: killed from outside */
};

/* ---- numbers.c: a payment is 2 * number + API ---- */

uint64_t hammer_mix(uint64_t x);
uint64_t hammer_random(struct hammer_party *);
bool hammer_is_copy(const struct hammer *, unsigned api, uint64_t number);
uint64_t hammer_payment(const struct hammer *, unsigned api, uint64_t number);
struct uuid hammer_id(const struct hammer *, uint64_t payment);
int64_t hammer_amount_cents(uint64_t payment);
unsigned hammer_processor(uint64_t payment);
int64_t hammer_at_ms(const struct shm_region *, uint64_t payment); /* accepted and bound */

/* ---- parties ---- */

void hammer_owner(struct hammer_party *);
void hammer_producer(struct hammer_party *);
void hammer_record_reader(struct hammer_party *);
void hammer_ring_reader(struct hammer_party *);
void hammer_sum_reader(struct hammer_party *);
void hammer_purger(struct hammer_party *);

/* false: the party's time is over. */
bool hammer_goes_on(struct hammer_party *);

/* Say what is wrong, once, and abort. */
_Noreturn void hammer_fail(struct hammer *, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void hammer_count(struct hammer *hammer, enum hammer_tally tally, uint64_t count)
{
    atomic_fetch_add_explicit(&hammer->tallies[tally], count, memory_order_relaxed);
}

#endif
