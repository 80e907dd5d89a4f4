#include "shm/shm_counters.h"

const struct shm_counter_text shm_api_counter_texts[SHM_API_COUNTER_COUNT] = {
#define COUNTER_API(name, meaning) {#name, meaning},
#define COUNTER_LANE(name, meaning)
#define COUNTER(scope, name, meaning) COUNTER_##scope(name, meaning)
#include "shm/shm_counters.def"
#undef COUNTER_API
#undef COUNTER_LANE
};

const struct shm_counter_text shm_lane_counter_texts[SHM_LANE_COUNTER_COUNT] = {
#define COUNTER_API(name, meaning)
#define COUNTER_LANE(name, meaning) {#name, meaning},
#include "shm/shm_counters.def"
#undef COUNTER
#undef COUNTER_API
#undef COUNTER_LANE
};
