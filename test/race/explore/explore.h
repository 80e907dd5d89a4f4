/* Breadth first over all states of a scenario: the first violation has a shortest trace. */
#ifndef PAYRING_TEST_RACE_EXPLORE_H
#define PAYRING_TEST_RACE_EXPLORE_H

#include <stdio.h>

#include "test/race/explore/memory.h"

struct race_result {
    unsigned long states, steps, crashes;
    unsigned depth;
    bool full;          /* states_max was reached: the rest is unexplored */
    const char *broken; /* or NULL */
    unsigned moves;     /* of the trace to it */
};

/* Stops at the first violation and, unless words is NULL, tells there how it came about. A state
 * is known by 128 bits of hash. */
void race_explore(const struct race_scenario *, const struct race_parameters *,
                  unsigned long states_max, struct race_result *, FILE *words);

#endif
