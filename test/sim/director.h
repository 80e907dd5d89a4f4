/* One seed: a gateway is drawn, and what happens to it; then everything heals, time runs on until
 * all that was accepted has ended, and the books are compared. */
#ifndef PAYRING_TEST_SIM_DIRECTOR_H
#define PAYRING_TEST_SIM_DIRECTOR_H

#include <stdbool.h>
#include <stdint.h>

extern uint64_t sim_seed;
extern int64_t sim_wall_offset_us; /* the wall clock's steps so far */

/* Run it; false: sim_failure says why. */
bool sim_run_seed(uint64_t seed);

/* promises.c: what must be true when all has ended. Fails by sim_fail. */
void sim_check_promises(void);
/* What beyond the horizon is no failure but a stated limit of FAILURE-MODES.md: copies that the
 * other processor charged again because the filter had dropped the id (limit 1), and copies that
 * were counted again because the clock was set back to the millisecond of the first (limit 3). */
extern uint64_t sim_charged_beyond_the_horizon, sim_counted_beyond_the_horizon;

/* Simulated time of all seeds so far. */
extern int64_t sim_simulated_us;

#endif
