#include "test/race/explore/region.h"

#include "common/check.h"
#include "shm/shm_ring.h"
#include "test/race/explore/memory.h"

struct shm_region race_region;

/* One after the other, in pages; a ledger of up to a block and some rows. */
enum { API = 5, LANE = 9, LANE_PAGES = 24 };

void race_region_make(const struct race_region_shape *shape)
{
    const uint64_t page = SHM_PAGE_SIZE;
    race_region = (struct shm_region){
        .name = "race",
        .fd = -1,
        .base = race_arena,
        .geometry = {.api_slots = shape->apis ? shape->apis : 1,
                     .lanes = shape->lanes,
                     .ring_slots = shape->ring_slots,
                     .payment_slots = shape->payment_slots,
                     .ledger_rows = (uint32_t)shape->ledger_rows,
                     .ledger_segment_rows = (uint32_t)shape->ledger_rows,
                     .horizon_payments = 64},
        .places = {.api_offset = API * page,
                   .api_stride = 2 * page,
                   .ring_offset = page,
                   .ring_stride = shape->ring_slots * sizeof(struct shm_ring_slot),
                   .lane_offset = LANE * page,
                   .lane_stride = LANE_PAGES * page,
                   .payments_offset = page,
                   .index_heads_offset = page + 512,
                   .index_next_offset = page + 1024,
                   .filter_offset = {2 * page, 3 * page},
                   .blocks_offset = 4 * page,
                   .segments_offset = 5 * page,
                   .rows_offset = 6 * page,
                   .slices_offset = 20 * page,
                   .slice_count = SHM_BLOCK_ROWS / SHM_SLICE_ROWS + 1,
                   .block_count = 2,
                   .segment_count = 1,
                   .index_heads = shape->index_heads,
                   .filter_lines = 1},
    };
    CHECK((LANE + shape->lanes * LANE_PAGES) * page <= RACE_ARENA);
    for (unsigned n = 0; n < race_region.geometry.api_slots; n++) {
        struct shm_api *api = shm_region_api(&race_region, n);
        race_ignore(api->counters, sizeof api->counters);
        race_ignore(&api->presence, sizeof api->presence);
    }
    for (unsigned n = 0; n < shape->lanes; n++) {
        struct shm_lane *lane = shm_region_lane(&race_region, n);
        race_ignore(lane->counters, sizeof lane->counters);
        race_ignore(&lane->presence, sizeof lane->presence);
        race_ignore(&lane->filter, sizeof lane->filter);
        race_ignore(&lane->segments_filed, sizeof lane->segments_filed); /* nothing is filed here */
        race_ignore(&lane->segments_dropped, sizeof lane->segments_dropped);
        race_ignore(shm_region_filter(&race_region, n, 0), 64);
        race_ignore(shm_region_filter(&race_region, n, 1), 64);
    }
}

static void add_slot(struct shm_ring_slot *slot, unsigned number, unsigned guard)
{
    char name[24];
    struct {
        const volatile void *address;
        const char *field;
    } fields[] = {{&slot->id_hi, "id_hi"},
                  {&slot->id_lo, "id_lo"},
                  {&slot->amount_cents, "amount"},
                  {&slot->accepted_at_ms, "accepted_at"},
                  {&slot->purge_generation, "generation"}};
    for (unsigned i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        snprintf(name, sizeof name, "slot[%u].%s", number, fields[i].field);
        race_guard(race_add(fields[i].address, 8, RACE_SLOT, name), guard);
    }
}

void race_fill_slot(struct shm_ring_slot *slot, const struct shm_ring_entry *entry)
{
    atomic_init(&slot->id_hi, entry->id.hi);
    atomic_init(&slot->id_lo, entry->id.lo);
    atomic_init(&slot->amount_cents, entry->amount_cents);
    atomic_init(&slot->accepted_at_ms, entry->accepted_at_ms);
    atomic_init(&slot->purge_generation, entry->purge_generation);
}

void race_add_ring(unsigned api, unsigned lane, unsigned producer, unsigned consumer,
                   bool has_slots)
{
    race_written_by(consumer);
    race_add(&shm_region_lane(&race_region, lane)->head[api].value, 8, RACE_HEAD, "head");
    race_written_by(producer);
    race_add(&shm_region_api(&race_region, api)->tail[lane].value, 8, RACE_TAIL, "tail");
    struct shm_ring_slot *slots = shm_region_ring_slots(&race_region, api, lane);
    if (!has_slots)
        race_ignore(slots, race_region.geometry.ring_slots * sizeof *slots);
    for (unsigned i = 0; has_slots && i < race_region.geometry.ring_slots; i++)
        add_slot(&slots[i], i,
                 consumer == producer ? 0 : race_add_guard("guard", consumer, producer));
}

void race_add_record(unsigned lane, uint32_t record)
{
    struct shm_payment *r = &shm_region_payments(&race_region, lane)[record];
    race_add(&r->sequence, 4, RACE_SEQUENCE, "sequence");
    race_add(&r->state, 1, RACE_STATE, "state");
    race_add(&r->processor, 1, RACE_RECORD, "processor");
    race_add(&r->flags, 1, RACE_RECORD, "flags");
    race_add(&r->refusals, 1, RACE_RECORD, "refusals");
    race_add(&r->id_hi, 8, RACE_RECORD, "id_hi");
    race_add(&r->id_lo, 8, RACE_RECORD, "id_lo");
    race_add(&r->amount_cents, 8, RACE_RECORD, "amount");
    race_add(&r->accepted_at_ms, 8, RACE_RECORD, "accepted_at");
    race_add(&r->requested_at_us, 8, RACE_RECORD, "requested_at");
    race_add(&r->row_name, 4, RACE_RECORD, "row_name");
    race_add(&r->purge_generation, 4, RACE_RECORD, "generation");
    race_add(&r->checksum, 4, RACE_RECORD, "checksum");
    race_ignore(&r->attempts, sizeof r->attempts); /* for people, outside the sequence */
    race_ignore(&r->epoch, sizeof r->epoch);
}

void race_add_index(unsigned lane)
{
    _Atomic uint32_t *heads = shm_region_index_heads(&race_region, lane);
    _Atomic uint32_t *next = shm_region_index_next(&race_region, lane);
    for (uint32_t i = 0; i < race_region.places.index_heads; i++)
        race_add(&heads[i], 4, RACE_INDEX, "index head");
    for (uint32_t i = 0; i < race_region.geometry.payment_slots; i++)
        race_add(&next[i], 4, RACE_INDEX, "index next");
}

void race_add_lane(unsigned number)
{
    struct shm_lane *lane = shm_region_lane(&race_region, number);
    race_add(&lane->row_count, 8, RACE_ROW_COUNT, "row_count");
    race_add(&lane->first_row, 8, RACE_FIRST_ROW, "first_row");
    race_add(&lane->purge_applied, 8, RACE_PURGE_APPLIED, "purge_applied");
    race_add(&lane->unsettled, 8, RACE_UNSETTLED, "unsettled");
    race_add(&lane->lowest_bound_us, 8, RACE_OTHER, "lowest_bound");
    race_add(&lane->sleep_count, 8, RACE_SLEEP_COUNT, "sleep_count");
}

void race_add_rows(unsigned lane, uint64_t first, unsigned count)
{
    char name[24];
    uint64_t *rows = shm_region_rows(&race_region, lane);
    for (unsigned i = 0; i < count; i++) {
        snprintf(name, sizeof name, "row %u of lane %u", (unsigned)first + i, lane);
        race_add_plain(&rows[first + i], 8, RACE_ROW, name);
    }
}
