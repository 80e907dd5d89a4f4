#include "shm/shm_health.h"

#include "common/check.h"

/* A report as one word; 0 is none.
 *
 *   63     62        61..42            41..0
 *   1      failing   min_response_ms   checked_at, monotonic ms (139 years) */
#define REPORT_IS_THERE       (UINT64_C(1) << 63)
#define REPORT_FAILING        (UINT64_C(1) << 62)
#define REPORT_RESPONSE_SHIFT 42
#define REPORT_RESPONSE_MAX   ((INT64_C(1) << 20) - 1)
#define REPORT_TIME_MASK      ((UINT64_C(1) << REPORT_RESPONSE_SHIFT) - 1)

bool shm_health_read(const struct shm_region *region, unsigned processor,
                     struct shm_health_report *report)
{
    CHECK(processor < SHM_PROCESSORS);
    /* Pairs with the release in shm_health_publish. */
    uint64_t word = atomic_load_explicit(&shm_region_health(region)->processor[processor].report,
                                         memory_order_acquire);
    if (!(word & REPORT_IS_THERE))
        return false;
    *report = (struct shm_health_report){
        .failing = word & REPORT_FAILING,
        .min_response_ms = (int64_t)(word >> REPORT_RESPONSE_SHIFT & REPORT_RESPONSE_MAX),
        .checked_at_monotonic_ms = word & REPORT_TIME_MASK,
    };
    return true;
}

uint64_t shm_health_called_at(const struct shm_region *region, unsigned processor)
{
    CHECK(processor < SHM_PROCESSORS);
    return atomic_load_explicit(
        &shm_region_health(region)->processor[processor].called_at_monotonic_ms,
        memory_order_acquire);
}

void shm_health_note_call(struct shm_region *region, unsigned processor, uint64_t now_monotonic_ms)
{
    CHECK(processor < SHM_PROCESSORS);
    atomic_store_explicit(&shm_region_health(region)->processor[processor].called_at_monotonic_ms,
                          now_monotonic_ms, memory_order_release);
}

void shm_health_publish(struct shm_region *region, unsigned processor,
                        const struct shm_health_report *report)
{
    CHECK(processor < SHM_PROCESSORS && report->min_response_ms >= 0);
    int64_t response_ms = report->min_response_ms < REPORT_RESPONSE_MAX ? report->min_response_ms
                                                                        : REPORT_RESPONSE_MAX;
    uint64_t word = REPORT_IS_THERE | (report->failing ? REPORT_FAILING : 0) |
                    (uint64_t)response_ms << REPORT_RESPONSE_SHIFT |
                    (report->checked_at_monotonic_ms & REPORT_TIME_MASK);
    atomic_store_explicit(&shm_region_health(region)->processor[processor].report, word,
                          memory_order_release);
}
