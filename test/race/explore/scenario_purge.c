/* A purge over two lanes, summaries meanwhile, and one after it was answered. Who stores what, and
 * in what order, is as in api/route_purge.c and worker/lane_payments.c. */
#include <string.h>

#include "test/race/explore/scenarios.h"

enum { OWNER_0, OWNER_1, PURGER, READER };
enum { TURN = 1 };
enum { RAISE = 0, AWAIT, ADD_UP };
enum { ROWS_MAX = 4 };

struct owner {
    uint8_t pc;
    struct shm_ledger_writer writer;
};

struct purger {
    uint8_t pc;
};

struct reader {
    uint8_t calls;
};

struct ghost {
    uint8_t kept_from[2]; /* row + 1 that the purge left as the first one; 0: not applied */
};

/* A bit of the sum for each row of each lane. */
static struct shm_row row_of(unsigned lane, uint64_t number)
{
    return (struct shm_row){0, INT64_C(1) << (ROWS_MAX * lane + number), 1000000};
}

static void setup(const struct race_parameters *p)
{
    race_region_make(&(struct race_region_shape){.lanes = 2,
                                                 .ring_slots = 1,
                                                 .payment_slots = 1,
                                                 .index_heads = 1,
                                                 .ledger_rows = SHM_BLOCK_ROWS});
    CHECK(p->entries <= ROWS_MAX);
    for (unsigned lane = 0; lane < 2; lane++) {
        struct shm_row row = row_of(lane, 0);
        (void)shm_ledger_pack(shm_region_rows(&race_region, lane), &row, 0);
        atomic_init(&shm_region_lane(&race_region, lane)->row_count, 1);
        race_written_by(lane);
        race_add_lane(lane);
        race_add_rows(lane, 1, p->entries);
    }
    race_written_by(PURGER);
    race_add(&shm_region_purge(&race_region)->generation, 8, RACE_GENERATION, "generation");
    race_start_over_at(READER, RACE_GENERATION, 3);
    if (p->readers == 0)
        race_absent(READER);
}

static uint64_t generation(void)
{
    return atomic_load_explicit(&shm_region_purge(&race_region)->generation, memory_order_seq_cst);
}

static void apply(struct owner *me, uint64_t wanted)
{
    struct shm_lane *lane = me->writer.lane;
    atomic_store_explicit(&lane->first_row, me->writer.row_count, memory_order_release);
    atomic_store_explicit(&lane->purge_applied, wanted, memory_order_release);
}

static void settle(struct owner *me, unsigned number)
{
    if (me->pc == RACE_OPEN) {
        shm_ledger_writer_open(&me->writer, &race_region, number);
        me->pc = TURN;
        return;
    }
    uint64_t wanted = generation();
    uint64_t applied = atomic_load_explicit(&me->writer.lane->purge_applied, memory_order_relaxed);
    if (wanted != applied) {
        apply(me, wanted);
    } else if (me->writer.row_count < race_parameters.entries) {
        struct shm_row row = row_of(number, me->writer.row_count);
        shm_ledger_write(&me->writer, &row);
        shm_ledger_publish(&me->writer);
    } else if (wanted == 1) {
        race_done();
    }
}

/* Rows first..last of the lane, without a gap, and nothing else. */
static bool is_run(uint64_t rows, uint64_t first)
{
    rows >>= first;
    return (rows & (rows + 1)) == 0;
}

static bool is_before(const uint64_t rows[2])
{
    return (rows[0] & 1) && (rows[1] & 1) && is_run(rows[0], 0) && is_run(rows[1], 0);
}

static bool is_after(const uint64_t rows[2])
{
    const struct ghost *ghost = race_ghost();
    bool good = true;
    for (unsigned lane = 0; lane < 2; lane++) {
        unsigned from = ghost->kept_from[lane];
        good = good &&
               (from ? is_run(rows[lane], from - 1u) && !(rows[lane] & ((1u << (from - 1)) - 1))
                     : rows[lane] == 0);
    }
    return good;
}

static void check(bool was_answered)
{
    struct shm_window window = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    struct shm_totals totals;
    if (shm_ledger_sum(&race_region, &window, &totals) != STATUS_OK)
        return;
    uint64_t all = (uint64_t)totals.sum_cents[0];
    uint64_t rows[2] = {all & ((1 << ROWS_MAX) - 1), all >> ROWS_MAX};
    if (was_answered && !is_after(rows))
        race_broken("a purge was answered, and a row from before it still counts");
    if (!is_before(rows) && !is_after(rows))
        race_broken("a summary mixes the time before a purge with that after it");
}

static bool is_applied(void)
{
    bool applied = true;
    for (unsigned lane = 0; lane < 2 && applied; lane++)
        applied = atomic_load_explicit(&shm_region_lane(&race_region, lane)->purge_applied,
                                       memory_order_acquire) >= 1;
    return applied;
}

static void purge(struct purger *me)
{
    if (me->pc == RAISE) {
        atomic_store_explicit(&shm_region_purge(&race_region)->generation, 1, memory_order_seq_cst);
        me->pc = AWAIT;
    } else if (me->pc == AWAIT) {
        if (is_applied())
            me->pc = ADD_UP;
    } else {
        check(true);
        race_done();
    }
}

static void run(unsigned party, void *local)
{
    struct reader *reader = local;
    if (party == OWNER_0 || party == OWNER_1) {
        settle(local, party);
    } else if (party == PURGER) {
        purge(local);
    } else {
        check(false);
        if (++reader->calls >= race_parameters.readers)
            race_done();
    }
}

static void on_store(unsigned party, const struct race_word *word, uint64_t value)
{
    struct ghost *ghost = race_ghost();
    if (word->class == RACE_FIRST_ROW)
        ghost->kept_from[party] = (uint8_t)(value + 1);
}

static void on_crash(unsigned party, void *local)
{
    (void)party;
    memset(local, 0, sizeof(struct owner));
}

static const char *at_end(const struct race_state *state)
{
    for (unsigned lane = 0; lane < 2; lane++)
        if (race_newest(state, &shm_region_lane(&race_region, lane)->row_count) !=
            race_parameters.entries)
            return "a row is lost";
    return NULL;
}

const struct race_scenario race_purge = {
    .name = "purge",
    .words = "a purge over two lanes, and summaries before, during and after it",
    .parties = 4,
    .party = {"owner 0", "owner 1", "purger", "reader"},
    .local_size = {sizeof(struct owner), sizeof(struct owner), sizeof(struct purger),
                   sizeof(struct reader)},
    .mortal = 1 << OWNER_0 | 1 << OWNER_1,
    .setup = setup,
    .run = run,
    .on_store = on_store,
    .on_crash = on_crash,
    .at_end = at_end,
};
