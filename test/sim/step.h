/* Included before everything else in every file of the simulator's build (-include), production's
 * and its own: the same sources, seen through a magnifying glass.
 *
 *   - Before each atomic store, addition and load of production code stands a step, at which the
 * simulated kernel may kill the process, stop it for a while or let others run (kernel.h). A store
 * is thus a place to die at whether it has a name or not.
 *   - Blocks, tables and rings may be small, so that they are full, wrap and are used again within
 *     a simulated minute.
 */
#ifndef PAYRING_TEST_SIM_STEP_H
#define PAYRING_TEST_SIM_STEP_H

#include <stdatomic.h>

#define SHM_SLICE_ROWS         4u
#define SHM_BLOCK_ROWS         16u
#define SHM_GROUP_ROWS         32u
#define SHM_SEGMENT_BLOCKS_MAX 4u
#define SHM_RING_SLOTS_MIN     4u
#define SHM_PAYMENT_SLOTS_MIN  4u
#define SHM_HORIZON_MIN        8u

/* Until the fate of the process is due, in stores; until others may run, in accesses. */
extern int sim_stores_left, sim_accesses_left;
void sim_fate_is_due(void);
void sim_let_others_run(void);

static inline void sim_access(void)
{
    if (__builtin_expect(--sim_accesses_left < 0, 0))
        sim_let_others_run();
}

static inline void sim_store(void)
{
    if (__builtin_expect(--sim_stores_left < 0, 0))
        sim_fate_is_due();
    sim_access();
}

/* The builtins that gcc's own stdatomic.h is made of. */
#undef atomic_store_explicit
#define atomic_store_explicit(place, what, order)                                                  \
    __extension__({                                                                                \
        __auto_type sim_place_ = (place);                                                          \
        __typeof__((void)0, *sim_place_) sim_what_ = (what);                                       \
        sim_store();                                                                               \
        __atomic_store(sim_place_, &sim_what_, (order));                                           \
    })

#undef atomic_fetch_add_explicit
#define atomic_fetch_add_explicit(place, what, order)                                              \
    __extension__({                                                                                \
        sim_store();                                                                               \
        __atomic_fetch_add((place), (what), (order));                                              \
    })

#undef atomic_load_explicit
#define atomic_load_explicit(place, order)                                                         \
    __extension__({                                                                                \
        __auto_type sim_from_ = (place);                                                           \
        __typeof__((void)0, *sim_from_) sim_read_;                                                 \
        sim_access();                                                                              \
        __atomic_load(sim_from_, &sim_read_, (order));                                             \
        sim_read_;                                                                                 \
    })

#endif
