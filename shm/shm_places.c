#include "shm/shm_places.h"

#include <stdbool.h>
#include <stddef.h>

static uint64_t round_up(uint64_t value, uint64_t multiple)
{
    return (value + multiple - 1) / multiple * multiple;
}

static uint32_t power_of_two_from(uint64_t value)
{
    uint32_t power = 1;
    while (power < value)
        power *= 2;
    return power;
}

static enum status check_limits(const char *setting, uint32_t value, uint32_t least, uint32_t most,
                                struct explain *why)
{
    if (value >= least && value <= most)
        return STATUS_OK;
    return explain(why, STATUS_INVALID, "%s is %u; it must be between %u and %u", setting, value,
                   least, most);
}

static enum status check_geometry(const struct shm_geometry *g, struct explain *why)
{
    const struct {
        const char *setting;
        uint32_t value, least, most;
    } limits[] = {
        {"PAYRING_API_SLOTS", g->api_slots, 1, SHM_API_SLOTS_MAX},
        {"PAYRING_LANES", g->lanes, 1, SHM_LANES_MAX},
        {"PAYRING_RING_SLOTS", g->ring_slots, SHM_RING_SLOTS_MIN, SHM_RING_SLOTS_MAX},
        {"PAYRING_PAYMENT_SLOTS", g->payment_slots, SHM_PAYMENT_SLOTS_MIN, SHM_PAYMENT_SLOTS_MAX},
        {"PAYRING_LEDGER_ROWS", g->ledger_rows, SHM_BLOCK_ROWS, SHM_LEDGER_ROWS_MAX},
        {"PAYRING_HORIZON_PAYMENTS", g->horizon_payments, SHM_HORIZON_MIN, SHM_HORIZON_MAX},
        {"PAYRING_LEDGER_SEGMENT_ROWS", g->ledger_segment_rows, SHM_BLOCK_ROWS,
         SHM_SEGMENT_ROWS_MAX},
    };
    for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
        enum status status =
            check_limits(limits[i].setting, limits[i].value, limits[i].least, limits[i].most, why);
        if (status != STATUS_OK)
            return status;
    }
    if (g->ring_slots & (g->ring_slots - 1))
        return explain(why, STATUS_INVALID, "PAYRING_RING_SLOTS is %u; it must be a power of two",
                       g->ring_slots);
    if (g->ledger_rows % SHM_BLOCK_ROWS)
        return explain(why, STATUS_INVALID,
                       "PAYRING_LEDGER_ROWS is %u; it must be a multiple of %u", g->ledger_rows,
                       SHM_BLOCK_ROWS);
    if (g->ledger_segment_rows % SHM_BLOCK_ROWS || g->ledger_rows % g->ledger_segment_rows)
        return explain(why, STATUS_INVALID,
                       "PAYRING_LEDGER_SEGMENT_ROWS is %u; it must be a multiple of %u, and "
                       "PAYRING_LEDGER_ROWS, which is %u, a multiple of it",
                       g->ledger_segment_rows, SHM_BLOCK_ROWS, g->ledger_rows);
    if (g->ledger_rows / g->ledger_segment_rows > SHM_SEGMENTS_MAX)
        return explain(why, STATUS_INVALID,
                       "PAYRING_LEDGER_ROWS is %u, which makes %u segments of %u rows and %u are "
                       "the most: choose a multiple of %u rows",
                       g->ledger_rows, g->ledger_rows / g->ledger_segment_rows,
                       g->ledger_segment_rows, SHM_SEGMENTS_MAX, SHM_SEGMENT_ROWS_MAX);
    return STATUS_OK;
}

uint32_t shm_places_segment_rows(uint32_t ledger_rows)
{
    uint32_t blocks = ledger_rows / SHM_BLOCK_ROWS;
    uint32_t most = blocks / 4 < SHM_SEGMENT_BLOCKS_MAX ? blocks / 4 : SHM_SEGMENT_BLOCKS_MAX;
    for (uint32_t segment = most; segment > 1; segment--)
        if (blocks % segment == 0)
            return segment * SHM_BLOCK_ROWS;
    return SHM_BLOCK_ROWS;
}

/* Every array starts on a page of its own: simple, and no line is shared. */
static uint64_t place(uint64_t *end, uint64_t count, uint64_t size)
{
    uint64_t offset = *end;
    *end = round_up(offset + count * size, SHM_PAGE_SIZE);
    return offset;
}

static void place_api(struct shm_places *p, const struct shm_geometry *g)
{
    uint64_t end = SHM_PAGE_SIZE; /* the control page */
    p->ring_offset = place(&end, (uint64_t)g->ring_slots * g->lanes, sizeof(struct shm_ring_slot));
    p->ring_stride = g->ring_slots * sizeof(struct shm_ring_slot);
    p->api_stride = end;
}

static void place_lane(struct shm_places *p, const struct shm_geometry *g)
{
    uint64_t end = SHM_PAGE_SIZE; /* the control page */
    p->payments_offset = place(&end, g->payment_slots, sizeof(struct shm_payment));
    p->index_heads_offset = place(&end, p->index_heads, sizeof(uint32_t));
    p->index_next_offset = place(&end, g->payment_slots, sizeof(uint32_t));
    for (unsigned generation = 0; generation < 2; generation++)
        p->filter_offset[generation] = place(&end, p->filter_lines, SHM_CACHE_LINE_SIZE);
    p->slices_offset = place(&end, p->slice_count, sizeof(struct shm_block));
    p->blocks_offset = place(&end, p->block_count, sizeof(struct shm_block));
    p->groups_offset = place(&end, p->group_count, sizeof(struct shm_block));
    p->segments_offset = place(&end, p->segment_count, sizeof(struct shm_block));
    p->rows_offset = place(&end, g->ledger_rows, sizeof(uint64_t));
    p->lane_stride = end;
}

enum status shm_places_compute(struct shm_places *places, const struct shm_geometry *geometry,
                               struct explain *why)
{
    enum status status = check_geometry(geometry, why);
    if (status != STATUS_OK)
        return status;
    struct shm_places p = {0};
    uint64_t filter_bits = (uint64_t)geometry->horizon_payments * SHM_FILTER_BITS_PER_ID;
    p.index_heads = power_of_two_from(geometry->payment_slots);
    p.filter_lines = power_of_two_from(round_up(filter_bits, SHM_FILTER_LINE_WORDS * 64) /
                                       (SHM_FILTER_LINE_WORDS * 64));
    p.slice_count = geometry->ledger_rows / SHM_SLICE_ROWS;
    p.block_count = geometry->ledger_rows / SHM_BLOCK_ROWS;
    if (geometry->ledger_segment_rows % SHM_GROUP_ROWS == 0)
        p.group_count = geometry->ledger_rows / SHM_GROUP_ROWS;
    p.segment_count = geometry->ledger_rows / geometry->ledger_segment_rows;
    place_api(&p, geometry);
    place_lane(&p, geometry);
    p.api_offset = SHM_BELLS_OFFSET + SHM_PAGE_SIZE;
    p.lane_offset = p.api_offset + p.api_stride * geometry->api_slots;
    p.total_size = p.lane_offset + p.lane_stride * geometry->lanes;
    *places = p;
    return STATUS_OK;
}
