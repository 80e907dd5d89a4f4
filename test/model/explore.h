/* Breadth first over all states that can be reached within model_bounds. */
#ifndef PAYRING_TEST_MODEL_EXPLORE_H
#define PAYRING_TEST_MODEL_EXPLORE_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

struct model_state;

struct model_result {
    unsigned long states, transitions;
    unsigned depth;     /* moves from an initial state to the farthest one */
    unsigned long cut;  /* moves left out because a state could not hold more */
    bool full;          /* states_max was reached: the rest is unexplored */
    const char *broken; /* the promise, or NULL */
    unsigned moves;     /* of the trace to it */
};

/* Stops at the first broken promise and, unless trace is NULL, tells there in words how it came
 * about. A state is known by 128 bits of hash: among 10^9 states the chance that any two share
 * theirs is below 10^-20. Memory: 32 to 48 bytes a state, and the states of two depths. */
void model_explore(struct model_result *result, FILE *trace);

/* The same in little memory, for more states than the above can hold: depth first, 8 bytes a state
 * (64 bits of hash: with N states the chance that any two share theirs is N^2 / 2^65), posts first,
 * ids that can be told apart by nothing but their names are one. The trace is not the shortest, and
 * circles are not looked for. mib: of the table of known states; full when it is 7/8 full. */
void model_explore_compact(struct model_result *result, unsigned long mib, FILE *trace);

void model_hash(uint64_t hash[2], const struct model_state *state);

#endif
