#include "test/power/gateway.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "worker/journal_internal.h"
#include "worker/journal_region.h"
#include "worker/journal_replay.h"
#include "worker/journal_state.h"
#include "worker/journal_step.h"
#include "worker/journal_tell.h"

#define STATE_DIRECTORY "/state"

struct uuid gateway_id(unsigned id)
{
    return (struct uuid){.hi = UINT64_C(0x5a5a0000) + id, .lo = id * UINT64_C(0x9e3779b97f4a7c15)};
}

int64_t gateway_cents(unsigned id)
{
    return 1000 + (int64_t)id;
}

static unsigned draw(struct gateway *gateway, unsigned below)
{
    uint64_t z = (gateway->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (unsigned)((z ^ z >> 31) >> 32) % below;
}

/* ------------------------------------------------------------------- the world */

/* true: it was not there. */
static bool insert(struct world *world, unsigned processor, unsigned id, int64_t requested_at_us)
{
    struct entry *entry = &world->book[processor][id];
    if (entry->there)
        return false;
    *entry = (struct entry){true, requested_at_us};
    world->charged_twice |= world->book[1 - processor][id].there;
    return true;
}

static void wake_request(struct world *world, unsigned which)
{
    struct asleep request = world->asleep[which];
    world->asleep[which] = world->asleep[--world->asleep_count];
    (void)insert(world, request.processor, request.id, request.requested_at_us);
}

static unsigned id_of(const struct payment_view *payment)
{
    return (unsigned)(payment->amount_cents - 1000);
}

/* --------------------------------------------------------------- steps and the journal */

/* Write-ahead: first the journal, then the region. `dies`: in between. */
static struct payment_step step(struct gateway *gateway, struct lane_driver *lane, uint32_t record,
                                const struct payment_event *event, uint64_t *sequence, bool dies)
{
    static const struct payment_view nothing = {.state = PAYMENT_FREE};
    struct payment_view view =
        record == SHM_PAYMENTS_NONE ? nothing : lane_memory_view(&lane->memory, record);
    struct payment_lane_view lane_view = lane_memory_lane_view(&lane->memory);
    struct journal_payment image;
    struct payment_step s;
    payment_protocol_step(&s, &view, &lane_view, event);
    enum journal_kind kind =
        journal_step_image(&image, &view, event, &s, lane->memory.ledger.row_count);
    bool is_told = kind != JOURNAL_NOTHING &&
                   !(kind == JOURNAL_BOUND && gateway->fault == GATEWAY_BINDS_UNTOLD);
    bool stores_first = dies && gateway->fault == GATEWAY_STORES_FIRST;
    if (dies && !stores_first) {
        if (is_told)
            *sequence = journal_append(lane->journal, kind, &image, record);
        return s;
    }
    lane->memory.journal = is_told && !stores_first ? lane->journal : NULL;
    s = lane_memory_step(&lane->memory, record, event);
    if (lane->memory.journal)
        *sequence = lane->memory.told;
    return s;
}

static struct payment_step simple_step(struct gateway *gateway, struct lane_driver *lane,
                                       uint32_t record, const struct payment_event *event)
{
    uint64_t sequence;
    return step(gateway, lane, record, event, &sequence, false);
}

/* ------------------------------------------------------------------------ taking over */

static void visit(struct gateway *gateway, struct lane_driver *lane, uint32_t slot)
{
    struct payment_event event = {.kind = PAYMENT_EVENT_TAKE_OVER};
    struct shm_payment_snapshot record;
    struct shm_row row;
    shm_payments_owner_get(&lane->memory.payments, slot, &record);
    if (record.row_name &&
        shm_ledger_read_named(&gateway->region, lane->memory.number, record.row_name, &row)) {
        event.row_published = true;
        event.processor = row.processor;
        event.stored_requested_at_us = row.requested_at_us;
    }
    if (record.state != PAYMENT_FREE)
        (void)simple_step(gateway, lane, slot, &event);
}

static bool open_journal(struct gateway *gateway, struct lane_driver *lane)
{
    char directory[JOURNAL_PATH_SIZE];
    struct explain why = {{0}};
    uint64_t generation;
    unsigned lanes;
    struct journal_identity identity =
        journal_region_identity(&gateway->region, lane->memory.number);
    struct journal_settings settings = {.disk = &gateway->disk,
                                        .sync = gateway->sync,
                                        .interval_ms = GATEWAY_INTERVAL_MS,
                                        .segment_records = 24,
                                        .bytes_max = 1 << 30,
                                        .slots = GATEWAY_SLOTS};
    enum status status =
        journal_state_find(&gateway->disk, STATE_DIRECTORY, &generation, &lanes, &why);
    assert(status == STATUS_OK && generation > 0);
    journal_state_lane_path(directory, STATE_DIRECTORY, generation, lane->memory.number);
    status = journal_open(&lane->journal, directory, &identity, &settings, &why);
    if (status != STATUS_OK)
        printf("# the journal of lane %u: %s\n", lane->memory.number, why.text);
    return status == STATUS_OK;
}

/* As a lane does: visits, then the journal is told who goes on and with what. */
static bool take_over(struct gateway *gateway, unsigned number)
{
    struct lane_driver *lane = &gateway->lanes[number];
    struct explain why = {{0}};
    *lane = (struct lane_driver){.committed_ms = gateway->world->now_ms};
    if (lane_memory_open(&lane->memory, &gateway->region, number, &why) != STATUS_OK ||
        !open_journal(gateway, lane)) {
        printf("# lane %u: %s\n", number, why.text);
        return false;
    }
    lane->memory.tell = journal_tell;
    for (uint32_t slot = 0; slot < GATEWAY_SLOTS; slot++)
        visit(gateway, lane, slot);
    struct journal_payment opened = journal_region_opened(&gateway->region, number);
    journal_append(lane->journal, JOURNAL_OPENED, &opened, JOURNAL_NO_SLOT);
    for (uint32_t slot = 0; slot < GATEWAY_SLOTS; slot++) {
        struct journal_payment image = journal_region_image(&lane->memory.payments, slot);
        if (image.state == PAYMENT_QUEUED || image.state == PAYMENT_SENT)
            journal_append(lane->journal, JOURNAL_CARRIED, &image, slot);
    }
    journal_commit_now(lane->journal);
    return true;
}

/* The process dies: what it had written stays in the page cache, it syncs nothing more. */
static void drop_journal(struct lane_driver *lane)
{
    atomic_store(&lane->journal->failed, true);
    journal_close(lane->journal);
    lane->journal = NULL;
}

static void die(struct gateway *gateway, unsigned number)
{
    drop_journal(&gateway->lanes[number]);
    bool well = take_over(gateway, number);
    assert(well);
}

/* ---------------------------------------------------------------------------- intake */

static bool is_acknowledged_early(const struct gateway *gateway)
{
    return !gateway->sync || gateway->fault == GATEWAY_ANSWERS_EARLY;
}

static void acknowledge(struct gateway *gateway, unsigned id)
{
    if (gateway->world->acknowledged_ms[id] == 0)
        gateway->world->acknowledged_ms[id] = gateway->world->now_ms;
}

/* What the filter forgets of what was adopted lowers lowest_bound_us (rule 9); it is forgotten at
 * once. */
static void forget_adopted(struct lane_driver *lane, uint32_t slot)
{
    struct payment_lane_view view = lane_memory_lane_view(&lane->memory);
    int64_t requested_at_us = lane_memory_view(&lane->memory, slot).requested_at_us;
    if (lane_memory_view(&lane->memory, slot).state == PAYMENT_SETTLED)
        atomic_store(&lane->memory.control->lowest_bound_us,
                     payment_protocol_forget(&view, requested_at_us));
}

static void recycle(struct gateway *gateway, struct lane_driver *lane, uint32_t slot)
{
    if (gateway->forgets)
        forget_adopted(lane, slot);
    (void)simple_step(gateway, lane, slot, &(struct payment_event){.kind = PAYMENT_EVENT_RECYCLE});
}

static uint32_t free_slot(struct gateway *gateway, struct lane_driver *lane)
{
    for (uint32_t slot = 0; slot < GATEWAY_SLOTS; slot++)
        if (lane_memory_view(&lane->memory, slot).state == PAYMENT_FREE)
            return slot;
    for (uint32_t slot = 0; slot < GATEWAY_SLOTS; slot++)
        if (payment_state_is_terminal(lane_memory_view(&lane->memory, slot).state)) {
            recycle(gateway, lane, slot);
            return slot;
        }
    return SHM_PAYMENTS_NONE;
}

static void recycle_one(struct gateway *gateway, struct lane_driver *lane, uint32_t from)
{
    for (uint32_t i = 0; gateway->forgets && i < GATEWAY_SLOTS; i++) {
        uint32_t slot = (from + i) % GATEWAY_SLOTS;
        if (payment_state_is_terminal(lane_memory_view(&lane->memory, slot).state)) {
            recycle(gateway, lane, slot);
            return;
        }
    }
}

/* The filter, or in its place the journal. */
static void look_for_id(struct gateway *gateway, struct lane_driver *lane,
                        struct payment_event *event)
{
    bool asks_journal = gateway->fault != GATEWAY_FORGETS_IDS;
    if (!gateway->forgets)
        event->remembered = shm_filter_contains(&lane->memory.filter, &event->id);
    if (!event->remembered && asks_journal)
        event->remembered = journal_may_know(lane->journal, &event->id);
    event->ask_first = gateway->ask_all;
}

static bool apply_purge(struct gateway *gateway, struct lane_driver *lane)
{
    uint64_t wanted = atomic_load(&shm_region_purge(&gateway->region)->generation);
    struct shm_lane *control = lane->memory.control;
    if (wanted == lane_memory_lane_view(&lane->memory).purge_applied)
        return false;
    struct payment_event event = {.kind = PAYMENT_EVENT_PURGE, .purge_generation = wanted};
    struct journal_payment purged = {.purge_generation = (uint32_t)wanted,
                                     .row = lane->memory.ledger.row_count};
    journal_append(lane->journal, JOURNAL_PURGED, &purged, JOURNAL_NO_SLOT);
    atomic_store(&control->first_row, lane->memory.ledger.row_count);
    for (uint32_t slot = 0; slot < GATEWAY_SLOTS; slot++)
        if (lane_memory_view(&lane->memory, slot).state != PAYMENT_FREE)
            (void)simple_step(gateway, lane, slot, &event);
    atomic_store(&control->purge_applied, wanted);
    return true;
}

static bool take_in(struct gateway *gateway, struct lane_driver *lane, bool dies)
{
    struct shm_ring_entry entry;
    (void)apply_purge(gateway, lane);
    lane->memory.ring = &lane->memory.rings[0];
    if (!shm_ring_peek(lane->memory.ring, &entry) || lane->waiting_count == 256)
        return false;
    uint64_t applied = lane_memory_lane_view(&lane->memory).purge_applied;
    struct payment_event event = {
        .kind = PAYMENT_EVENT_INTAKE,
        .id = entry.id,
        .amount_cents = entry.amount_cents,
        .accepted_at_ms = entry.accepted_at_ms,
        .purge_generation = entry.purge_generation,
    };
    look_for_id(gateway, lane, &event);
    uint32_t record = shm_payments_owner_find(&lane->memory.payments, &entry.id);
    bool is_new = record == SHM_PAYMENTS_NONE && entry.purge_generation >= applied;
    if (is_new)
        record = free_slot(gateway, lane);
    if (is_new && record == SHM_PAYMENTS_NONE)
        return false;
    uint64_t sequence = journal_appended(lane->journal);
    (void)step(gateway, lane, record, &event, &sequence, dies);
    if (dies)
        return true;
    /* A copy leans on the record that it found, which was told of before. */
    lane->waiting[lane->waiting_count].id = (unsigned)(entry.amount_cents - 1000);
    lane->waiting[lane->waiting_count++].sequence = sequence;
    return true;
}

static void post(struct gateway *gateway)
{
    unsigned id = draw(gateway, GATEWAY_IDS);
    struct shm_ring_entry entry = {
        .id = gateway_id(id),
        .amount_cents = gateway_cents(id),
        .accepted_at_ms = gateway->world->now_ms,
        .purge_generation = atomic_load(&shm_region_purge(&gateway->region)->generation),
    };
    unsigned number = shm_payments_lane_of(&gateway->region, &entry.id);
    if (!shm_ring_try_push(&gateway->rings[number], &entry))
        return;
    if (is_acknowledged_early(gateway)) {
        /* The interval of async counts from when the lane has it: at once. */
        while (!gateway->sync && take_in(gateway, &gateway->lanes[number], false))
            ;
        acknowledge(gateway, id);
    }
}

/* What is durable may be answered, in order. */
static bool answer(struct gateway *gateway, struct lane_driver *lane)
{
    unsigned count = 0;
    while (count < lane->waiting_count &&
           lane->waiting[count].sequence <= journal_durable(lane->journal))
        acknowledge(gateway, lane->waiting[count++].id);
    lane->waiting_count -= count;
    memmove(lane->waiting, lane->waiting + count, lane->waiting_count * sizeof *lane->waiting);
    return count > 0;
}

/* ------------------------------------------------------------------------- processors */

/* Look-ups, one after the other, until one is not answered or the books have no more to say. */
static void look_up(struct gateway *gateway, struct lane_driver *lane, uint32_t slot,
                    struct payment_step s, bool honest)
{
    while (s.action == PAYMENT_ACTION_LOOKUP) {
        struct payment_view view = lane_memory_view(&lane->memory, slot);
        const struct entry *entry = &gateway->world->book[s.processor][id_of(&view)];
        struct payment_event event = {.kind = PAYMENT_EVENT_ABSENT, .processor = s.processor};
        if (!honest && draw(gateway, 8) == 0) {
            event.kind = PAYMENT_EVENT_UNANSWERED;
        } else if (entry->there) {
            event.kind = PAYMENT_EVENT_FOUND;
            event.stored_amount_cents = view.amount_cents;
            event.stored_requested_at_us = entry->requested_at_us;
        }
        s = simple_step(gateway, lane, slot, &event);
    }
}

/* What may come of a request; the order is that of the draw. */
enum fate { EXECUTED, EXECUTED_UNHEARD, ASLEEP, REFUSED, LOST, FATES };

static bool fall_asleep(struct world *world, unsigned processor, unsigned id, int64_t us)
{
    if (world->asleep_count == GATEWAY_ASLEEP)
        return false;
    world->asleep[world->asleep_count++] = (struct asleep){processor, id, us};
    return true;
}

static void send(struct gateway *gateway, struct lane_driver *lane, uint32_t slot, bool honest)
{
    struct payment_view view = lane_memory_view(&lane->memory, slot);
    struct payment_event event = {.kind = PAYMENT_EVENT_UNKNOWN};
    enum fate fate = honest ? EXECUTED : draw(gateway, FATES);
    unsigned id = id_of(&view);
    lane->bound[slot] = 0;
    if (fate == EXECUTED)
        event.kind = insert(gateway->world, view.processor, id, view.requested_at_us)
                         ? PAYMENT_EVENT_ACCEPTED
                         : PAYMENT_EVENT_EXISTS;
    else if (fate == EXECUTED_UNHEARD)
        (void)insert(gateway->world, view.processor, id, view.requested_at_us);
    else if (fate == ASLEEP)
        (void)fall_asleep(gateway->world, view.processor, id, view.requested_at_us);
    else if (fate == REFUSED)
        event.kind = PAYMENT_EVENT_REFUSED;
    event.processor = view.processor;
    /* Now and then the process dies between the journal and the region. */
    if (!honest && draw(gateway, 16) == 0) {
        uint64_t sequence;
        (void)step(gateway, lane, slot, &event, &sequence, true);
        die(gateway, lane->memory.number);
        return;
    }
    look_up(gateway, lane, slot, simple_step(gateway, lane, slot, &event), honest);
}

static bool may_send(const struct gateway *gateway, const struct lane_driver *lane, uint32_t slot)
{
    return !gateway->sync || gateway->fault == GATEWAY_SENDS_EARLY ||
           lane->bound[slot] <= journal_durable(lane->journal);
}

static void bind(struct gateway *gateway, struct lane_driver *lane, uint32_t slot, bool dies)
{
    struct payment_event event = {.kind = PAYMENT_EVENT_BIND,
                                  .processor = draw(gateway, SHM_PROCESSORS),
                                  .now_ms = gateway->world->now_ms};
    lane->bound[slot] = 0;
    (void)step(gateway, lane, slot, &event, &lane->bound[slot], dies);
    if (dies)
        die(gateway, lane->memory.number);
}

/* true: something was done for it. */
static bool work_on(struct gateway *gateway, struct lane_driver *lane, uint32_t slot, bool honest)
{
    struct payment_view view = lane_memory_view(&lane->memory, slot);
    if (view.state != PAYMENT_QUEUED && view.state != PAYMENT_SENT)
        return false;
    if (view.flags & PAYMENT_FLAG_ASK) {
        struct payment_event ask = {.kind = PAYMENT_EVENT_ASK};
        look_up(gateway, lane, slot, simple_step(gateway, lane, slot, &ask), honest);
    } else if (view.state == PAYMENT_QUEUED) {
        bind(gateway, lane, slot, !honest && draw(gateway, 16) == 0);
    } else if (may_send(gateway, lane, slot)) {
        send(gateway, lane, slot, honest);
    } else {
        return false;
    }
    return true;
}

/* ------------------------------------------------------------------------------ acting */

static void commit(struct gateway *gateway, struct lane_driver *lane)
{
    journal_commit_now(lane->journal);
    lane->committed_ms = gateway->world->now_ms;
}

static void tick(struct gateway *gateway)
{
    gateway->world->now_ms += 1 + draw(gateway, GATEWAY_TICK_MS);
    for (unsigned i = 0; i < GATEWAY_LANES; i++)
        if (!gateway->sync &&
            gateway->world->now_ms - gateway->lanes[i].committed_ms >= GATEWAY_INTERVAL_MS)
            commit(gateway, &gateway->lanes[i]);
}

static void image_of_slot(void *context, uint32_t slot, struct journal_payment *payment)
{
    *payment = journal_region_image(context, slot);
}

static void keep(struct lane_driver *lane)
{
    journal_carry(lane->journal, image_of_slot, &lane->memory.payments);
    (void)journal_keep_now(lane->journal);
}

static void ask_purge(struct gateway *gateway)
{
    if (!gateway->may_purge || gateway->world->purge_asked || draw(gateway, 8))
        return;
    gateway->world->purge_asked = true;
    atomic_fetch_add(&shm_region_purge(&gateway->region)->generation, 1);
}

void gateway_act(struct gateway *gateway)
{
    unsigned number = draw(gateway, GATEWAY_LANES), slot = draw(gateway, GATEWAY_SLOTS);
    struct lane_driver *lane = &gateway->lanes[number];
    bool dies;
    switch (draw(gateway, 12)) {
    case 0:
    case 1:
        post(gateway);
        return;
    case 2:
        dies = draw(gateway, 32) == 0;
        if (take_in(gateway, lane, dies) && dies)
            die(gateway, number);
        return;
    case 3:
        tick(gateway);
        return;
    case 4:
        if (gateway->sync)
            commit(gateway, lane);
        return;
    case 5:
        (void)answer(gateway, lane);
        return;
    case 6:
        keep(lane);
        return;
    case 7:
        if (gateway->world->asleep_count && draw(gateway, 3) == 0)
            wake_request(gateway->world, draw(gateway, gateway->world->asleep_count));
        return;
    case 8:
        ask_purge(gateway);
        recycle_one(gateway, lane, slot);
        return;
    default:
        /* The first from a random one on that there is something to do for. */
        for (unsigned i = 0; i < GATEWAY_SLOTS; i++)
            if (work_on(gateway, lane, (slot + i) % GATEWAY_SLOTS, false))
                return;
    }
}

bool gateway_finish(struct gateway *gateway)
{
    bool busy = true;
    for (int rounds = 0; busy && rounds < 1000; rounds++) {
        busy = false;
        tick(gateway);
        for (unsigned i = 0; i < GATEWAY_LANES; i++) {
            struct lane_driver *lane = &gateway->lanes[i];
            busy |= apply_purge(gateway, lane);
            while (take_in(gateway, lane, false))
                busy = true;
            keep(lane);
            commit(gateway, lane);
            busy |= answer(gateway, lane);
            for (uint32_t slot = 0; slot < GATEWAY_SLOTS; slot++)
                busy |= work_on(gateway, lane, slot, true);
        }
    }
    /* What slept longest wakes last: too late to be asked for, and bound to be recognised. */
    while (gateway->world->asleep_count)
        wake_request(gateway->world, 0);
    return !busy;
}

/* ---------------------------------------------------------------------------- starting */

static bool make_region(struct gateway *gateway, const char *name, struct explain *why)
{
    const struct shm_geometry geometry = {.api_slots = 1,
                                          .lanes = GATEWAY_LANES,
                                          .ring_slots = 64,
                                          .payment_slots = GATEWAY_SLOTS,
                                          .ledger_rows = SHM_BLOCK_ROWS,
                                          .horizon_payments = 4096};
    struct shm_region *region = &gateway->region;
    snprintf(gateway->name, sizeof gateway->name, "%s", name);
    (void)shm_region_remove(name, true, NULL);
    if (shm_region_create(name, &geometry, why) != STATUS_OK ||
        shm_region_attach(region, name, 0, why) != STATUS_OK ||
        shm_lease_try_take_all(region, why) != STATUS_OK)
        return false;
    /* As its creator has it: all of it writable. */
    return mprotect(region->base, region->places.total_size, PROT_READ | PROT_WRITE) == 0;
}

static void note_known(struct gateway *gateway)
{
    for (unsigned id = 0; id < GATEWAY_IDS; id++) {
        struct uuid uuid = gateway_id(id);
        struct shm_filter_handle filter;
        shm_filter_open(&filter, &gateway->region, shm_payments_lane_of(&gateway->region, &uuid));
        gateway->known[id] = shm_filter_contains(&filter, &uuid);
    }
}

bool gateway_start(struct gateway *gateway, const char *name, struct fake_disk *disk,
                   struct world *world, bool sync, uint64_t seed)
{
    struct explain why = {{0}};
    *gateway = (struct gateway){.fault = gateway->fault,
                                .may_purge = gateway->may_purge,
                                .forgets = gateway->forgets,
                                .sync = sync,
                                .disk = fake_disk_functions(disk),
                                .world = world,
                                .random = seed};
    struct journal_replay replay = {
        .disk = &gateway->disk, .state_directory = STATE_DIRECTORY, .now_monotonic_ms = 1};
    if (!make_region(gateway, name, &why) ||
        journal_replay_into(&replay, &gateway->region, &why) != STATUS_OK) {
        if (gateway->fault == GATEWAY_RIGHT)
            printf("# no region: %s\n", why.text);
        return false;
    }
    journal_replay_keep(&replay);
    gateway->ask_all = !sync && replay.lanes > 0;
    note_known(gateway);
    for (unsigned i = 0; i < GATEWAY_LANES; i++) {
        shm_ring_producer_open(&gateway->rings[i], &gateway->region, 0, i);
        if (!take_over(gateway, i))
            return false;
    }
    return true;
}

void gateway_vanish(struct gateway *gateway)
{
    for (unsigned i = 0; i < GATEWAY_LANES; i++)
        if (gateway->lanes[i].journal)
            drop_journal(&gateway->lanes[i]);
    shm_region_detach(&gateway->region);
    (void)shm_region_remove(gateway->name, true, NULL);
}

/* ---------------------------------------------------------------------------- promises */

static const char *count_rows(struct gateway *gateway, unsigned counted[GATEWAY_IDS])
{
    for (unsigned lane = 0; lane < GATEWAY_LANES; lane++) {
        const struct shm_lane *control = shm_region_lane(&gateway->region, lane);
        for (uint64_t at = control->first_row; at < control->row_count; at++) {
            struct shm_row row;
            if (!shm_ledger_read(&gateway->region, lane, at, &row))
                continue;
            unsigned id = (unsigned)(row.amount_cents - 1000);
            if (id >= GATEWAY_IDS)
                return "a row of nobody's";
            const struct entry *entry = &gateway->world->book[row.processor][id];
            if (!entry->there)
                return "a row that stands in no book";
            if (entry->requested_at_us != row.requested_at_us)
                return "a row with another requestedAt than the book's";
            if (++counted[id] > 1)
                return "a payment was counted twice";
        }
    }
    return NULL;
}

const char *gateway_broken_promise(struct gateway *gateway)
{
    const struct world *world = gateway->world;
    unsigned counted[GATEWAY_IDS] = {0};
    if (world->charged_twice)
        return "a payment was charged twice";
    const char *broken = count_rows(gateway, counted);
    for (unsigned id = 0; broken == NULL && id < GATEWAY_IDS; id++) {
        bool is_charged = world->book[0][id].there || world->book[1][id].there;
        if (counted[id] || world->may_be_lost[id] || world->purge_asked)
            continue;
        if (world->acknowledged_ms[id] != 0 && !is_charged)
            broken = "a payment that was acknowledged is lost";
        else if (is_charged)
            broken = "a payment that was charged is not counted";
    }
    return broken;
}
