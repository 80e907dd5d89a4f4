/* What the simulator sees of the gateway's inside, without a word of it in production code: the
 * linker leads the calls of payment_protocol_step, shm_ledger_publish and the filter's remember and
 * rotate through here (--wrap). So each row is known by its payment, which the ledger itself does
 * not say, and by the purge generation in which it was published. */
#ifndef PAYRING_TEST_SIM_OBSERVE_H
#define PAYRING_TEST_SIM_OBSERVE_H

#include "shm/shm_ledger.h"
#include "test/sim/payments.h"

struct sim_row {
    struct sim_payment *payment; /* NULL: no row was written here */
    struct shm_row row;
    unsigned words;      /* with the filler before it */
    unsigned fillers;    /* of them */
    uint64_t generation; /* that the lane had applied */
    bool confirmed;      /* shm_ledger_publish returned */
};

void sim_observe_begin(void);
struct sim_row *sim_row_of(unsigned lane, uint64_t number);

/* Purges begun so far, each counted before and after its store; what is promised ends there. */
extern uint64_t sim_purges_begun;
void sim_purge_begins(void);

/* Sum a window as an API does and hold it against the rows seen: no less than was published when
 * it began, no more than when it ended. In a thread. */
void sim_check_sum(const struct shm_region *, const struct shm_window *);

/* ---- the production code with one rule less: mutations.c ---- */

/* X(NAME, within how many seeds it must be found, the rule that is broken) */
#define SIM_MUTATIONS(X)                                                                           \
    X(UNKNOWN_UNPINS, 100, "an unknown outcome does not pin")                                      \
    X(DEAD_OWNER_UNPINS, 100, "what a dead owner had sent is bound anew")                          \
    X(LATER_NO_UNPINS, 100, "a refusal of a resend unpins")                                        \
    X(TIME_ANEW, 100, "a resend carries another requestedAt")                                      \
    X(EXISTS_SETTLES, 100, "a 422 settles without asking the book")                                \
    X(SEEN_FORGOTTEN, 1000, "an id that the filter knows is taken for a new one")                  \
    X(REMEMBER_FORGOTTEN, 1000, "a recycled id is not remembered")                                 \
    X(NAME_STANDS, 40000, "at take-over the name of an unpublished row stays")                     \
    X(NAME_COUNTS, 1000, "at take-over a named row counts, published or not")                      \
    X(COUNTED_TWICE, 20, "a payment is published twice")                                           \
    X(SETTLED_FIRST, 1000, "SETTLED is stored before the row is published")                        \
    X(HEAD_FIRST, 1000, "the ring's head moves before the record is QUEUED")                       \
    X(ADOPTS_ANYTHING, 200, "whatever stands in a book is counted")                                \
    X(AMOUNT_IGNORED, 300, "another amount in the book is no conflict")                            \
    X(PURGE_DROPS_SENT, 300, "a purge clears payments in flight")                                  \
    X(PURGE_KEEPS_ROWS, 200, "a purge leaves the rows where they are")                             \
    X(COPY_OVERLOOKED, 100, "a copy in the ring is taken for a new payment")                       \
    X(BLOCK_LOSES, 300, "a block's sums lack a cent of each payment of the fallback")              \
    X(ROW_SHORT, 20, "a row holds a cent less")

enum sim_mutation {
    SIM_SOUND,
#define X(name, seeds, words) SIM_##name,
    SIM_MUTATIONS(X)
#undef X
        SIM_MUTATION_COUNT
};
extern enum sim_mutation sim_mutation;

struct payment_view;
struct payment_lane_view;
struct payment_event;
struct payment_step;
void sim_mutate_before(struct payment_view *, struct payment_lane_view *, struct payment_event *);
void sim_mutate_after(const struct payment_view *, const struct payment_event *,
                      struct payment_step *);

#endif
