/* Counters in the control pages: one writer each, relaxed, monotonic, never reset. */
#ifndef PAYRING_SHM_COUNTERS_H
#define PAYRING_SHM_COUNTERS_H

#include <stdint.h>

#include "shm/shm_layout.h"

enum shm_api_counter {
#define COUNTER_API(name) SHM_API_COUNTER_##name,
#define COUNTER_LANE(name)
#define COUNTER(scope, name, meaning) COUNTER_##scope(name)
#include "shm/shm_counters.def"
#undef COUNTER_API
#undef COUNTER_LANE
    SHM_API_COUNTER_COUNT
};
enum shm_lane_counter {
#define COUNTER_API(name)
#define COUNTER_LANE(name) SHM_LANE_COUNTER_##name,
#include "shm/shm_counters.def"
#undef COUNTER
#undef COUNTER_API
#undef COUNTER_LANE
    SHM_LANE_COUNTER_COUNT
};
static_assert(SHM_API_COUNTER_COUNT <= SHM_API_COUNTERS_MAX, "api counters");
static_assert(SHM_LANE_COUNTER_COUNT <= SHM_LANE_COUNTERS_MAX, "lane counters");

struct shm_counter_text {
    const char *name, *meaning;
};
extern const struct shm_counter_text shm_api_counter_texts[SHM_API_COUNTER_COUNT];
extern const struct shm_counter_text shm_lane_counter_texts[SHM_LANE_COUNTER_COUNT];

/* Single writer: a load and a store, no locked instruction. */
static inline void shm_counter_add(_Atomic uint64_t *counter, uint64_t n)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + n,
                          memory_order_relaxed);
}

#endif
