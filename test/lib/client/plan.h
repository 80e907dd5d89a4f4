/* Which payment is posted next.
 *
 * Everything follows from the seed: payment n always has the same id and amount, so a run can be
 * repeated, and a duplicate needs no memory of what was sent. Shares no code with the gateway.
 */
#ifndef TEST_LIB_CLIENT_PLAN_H
#define TEST_LIB_CLIENT_PLAN_H

#include <stdint.h>

enum { PLAN_ID_SIZE = 37, PLAN_AMOUNTS_MAX = 64 };

struct plan {
    uint64_t seed;
    const char *amounts[PLAN_AMOUNTS_MAX]; /* the texts of JSON numbers, sent as they are */
    unsigned amount_count;
    unsigned duplicate_percent;  /* posts that repeat an earlier id with its amount */
    unsigned conflict_percent;   /* posts that repeat an earlier id with conflict_amount */
    const char *conflict_amount; /* the text of an amount that is not among amounts */
    uint64_t fresh_count;        /* new ids handed out so far */
    uint64_t random_state;
};

struct payment {
    char id[PLAN_ID_SIZE];
    const char *amount; /* belongs to the plan */
    unsigned tries;     /* times it was sent already */
};

/* Start at the first payment. The seed must be set, and at least one amount. */
void plan_begin(struct plan *plan);

/* The next payment to post: a new one, or by the percentages an earlier one once more. Half of the
 * repeated ones are among the last eight, where the first copy is still on its way. */
void plan_next(struct plan *plan, struct payment *payment);

/* The next pseudo-random number of the plan's own sequence (splitmix64). */
uint64_t plan_random(struct plan *plan);

#endif
