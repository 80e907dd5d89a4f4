#include "shm/shm_filter.h"

#include <assert.h>
#include <string.h>

#include "common/bloom.h"
#include "common/crash_point.h"

static_assert(SHM_FILTER_LINE_WORDS == BLOOM_LINE_WORDS, "a line is a line");

void shm_filter_open(struct shm_filter_handle *filter, const struct shm_region *region,
                     unsigned lane)
{
    *filter = (struct shm_filter_handle){
        .meta = &shm_region_lane(region, lane)->filter,
        .lines = {shm_region_filter(region, lane, 0), shm_region_filter(region, lane, 1)},
        .line_mask = region->places.filter_lines - 1,
        .capacity = region->geometry.horizon_payments,
        .seed = {.hi = region->region_id_hi, .lo = region->region_id_lo},
    };
}

static uint64_t *line_of(const struct shm_filter_handle *filter, unsigned generation,
                         const struct bloom_pattern *pattern)
{
    return filter->lines[generation] +
           (size_t)(pattern->hash & filter->line_mask) * SHM_FILTER_LINE_WORDS;
}

bool shm_filter_contains(const struct shm_filter_handle *filter, const struct uuid *id)
{
    struct bloom_pattern pattern = bloom_pattern_of(id, &filter->seed);
    return bloom_line_has(line_of(filter, 0, &pattern), &pattern) ||
           bloom_line_has(line_of(filter, 1, &pattern), &pattern);
}

/* Relaxed loads throughout: the words are the owner's own. */
static unsigned active(const struct shm_filter_handle *filter)
{
    return atomic_load_explicit(&filter->meta->active, memory_order_relaxed) & 1;
}

bool shm_filter_is_full(const struct shm_filter_handle *filter)
{
    return atomic_load_explicit(&filter->meta->remembered[active(filter)], memory_order_relaxed) >=
           filter->capacity;
}

int64_t shm_filter_rotation_age_ms(const struct shm_filter_handle *filter, int64_t now_monotonic_ms)
{
    unsigned now_active = active(filter);
    if (atomic_load_explicit(&filter->meta->remembered[1 - now_active], memory_order_relaxed) == 0)
        return INT64_MAX;
    return now_monotonic_ms -
           (int64_t)atomic_load_explicit(&filter->meta->started_at_monotonic_ms[now_active],
                                         memory_order_relaxed);
}

int64_t shm_filter_forgotten_adopted_us(const struct shm_filter_handle *filter)
{
    return atomic_load_explicit(&filter->meta->adopted_lowest_us[1 - active(filter)],
                                memory_order_relaxed);
}

void shm_filter_rotate(struct shm_filter_handle *filter, int64_t now_monotonic_ms)
{
    unsigned next = 1 - active(filter);
    struct shm_filter *meta = filter->meta;
    size_t words = ((size_t)filter->line_mask + 1) * SHM_FILTER_LINE_WORDS;
    memset(filter->lines[next], 0, words * sizeof(uint64_t));
    CRASH_POINT(rotation_bits_cleared);
    /* Counts after the bits: a generation that looks empty is empty. */
    atomic_store_explicit(&meta->remembered[next], 0, memory_order_release);
    CRASH_POINT(rotation_count_cleared);
    atomic_store_explicit(&meta->adopted_lowest_us[next], INT64_MAX, memory_order_release);
    CRASH_POINT(rotation_adopted_cleared);
    atomic_store_explicit(&meta->started_at_monotonic_ms[next], (uint64_t)now_monotonic_ms,
                          memory_order_release);
    CRASH_POINT(rotation_started);
    atomic_store_explicit(&meta->active, next, memory_order_release);
    CRASH_POINT(rotation_done);
}

void shm_filter_remember(struct shm_filter_handle *filter, const struct uuid *id,
                         int64_t adopted_us)
{
    unsigned generation = active(filter);
    struct bloom_pattern pattern = bloom_pattern_of(id, &filter->seed);
    uint64_t *line = line_of(filter, generation, &pattern);
    _Atomic uint64_t *remembered = &filter->meta->remembered[generation];
    _Atomic int64_t *lowest = &filter->meta->adopted_lowest_us[generation];
    if (adopted_us < atomic_load_explicit(lowest, memory_order_relaxed))
        atomic_store_explicit(lowest, adopted_us, memory_order_release);
    CRASH_POINT_IF(adopted_us != INT64_MAX, filter_adopted_lowest);
    for (unsigned i = 0; i < SHM_FILTER_LINE_WORDS; i++) {
        line[i] |= pattern.words[i];
        CRASH_POINT_IF(i == SHM_FILTER_LINE_WORDS / 2, filter_bits_half);
    }
    CRASH_POINT(filter_bits_set);
    /* Release: the bits stand before anything that comes after, the record's FREE above all. */
    atomic_store_explicit(remembered, atomic_load_explicit(remembered, memory_order_relaxed) + 1,
                          memory_order_release);
    CRASH_POINT(filter_remembered);
}
