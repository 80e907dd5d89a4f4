/* The row count across the end of a block, and a reader of sums: rows, an escape, a block entry. */
#include <string.h>

#include "test/race/explore/scenarios.h"

enum { OWNER, READER };
enum { WRITE = 1 };

struct owner {
    uint8_t pc;
    struct shm_ledger_writer writer;
};

struct reader {
    uint8_t calls;
    uint8_t least; /* payments that an earlier summary has seen */
};

/* Payment n after those that were there: the second takes an escape. */
static struct shm_row row_of(unsigned n)
{
    return (struct shm_row){.processor = n & 1,
                            .amount_cents = n == 1 ? INT64_C(1) << SHM_ROW_CENTS_BITS : 1000 << n,
                            .requested_at_us = 1000000 + 1000 * (int64_t)n};
}

/* The entries of the slices that the rows which are there fill; nobody changes them any more. */
static void fill_slices(unsigned rows)
{
    struct shm_block *slices = shm_region_slices(&race_region, 0);
    unsigned full = rows / SHM_SLICE_ROWS;
    for (unsigned slice = 0; slice < full; slice++) {
        shm_block_clear(&slices[slice]);
        for (unsigned i = 0; i < SHM_SLICE_ROWS; i++)
            shm_block_add_row(&slices[slice], &(struct shm_row){0, 1, 1000000});
    }
    race_ignore(slices, full * sizeof *slices);
}

/* parameters.slots rows of a cent each are there. */
static void setup(const struct race_parameters *p)
{
    race_region_make(&(struct race_region_shape){.lanes = 1,
                                                 .ring_slots = 1,
                                                 .payment_slots = 1,
                                                 .index_heads = 1,
                                                 .ledger_rows = SHM_BLOCK_ROWS + 8});
    uint64_t *rows = shm_region_rows(&race_region, 0);
    for (unsigned i = 0; i < p->slots; i++)
        (void)shm_ledger_pack(&rows[i], &(struct shm_row){0, 1, 1000000}, 0);
    fill_slices(p->slots);
    atomic_init(&shm_region_lane(&race_region, 0)->row_count, p->slots);
    race_written_by(OWNER);
    race_add_lane(0);
    race_add_rows(0, p->slots, p->entries + 1);
    race_add_plain(shm_region_blocks(&race_region, 0), sizeof(struct shm_block), RACE_BLOCK,
                   "block 0");
    race_add_plain(&shm_region_slices(&race_region, 0)[p->slots / SHM_SLICE_ROWS],
                   sizeof(struct shm_block), RACE_BLOCK, "the open slice");
    race_written_by(RACE_NOBODY);
    race_add(&shm_region_purge(&race_region)->generation, 8, RACE_GENERATION, "generation");
    race_start_over_at(READER, RACE_GENERATION, 3);
}

/* How many payments of this scenario lie below a row count; the second takes two rows. */
static unsigned payments_below(uint64_t count)
{
    unsigned rows = (unsigned)(count - race_parameters.slots);
    return rows > 2 ? rows - 1 : rows;
}

static void settle(struct owner *me)
{
    if (me->pc == RACE_OPEN) {
        shm_ledger_writer_open(&me->writer, &race_region, 0);
        me->pc = WRITE;
        return;
    }
    unsigned next = payments_below(me->writer.row_count);
    if (next == race_parameters.entries) {
        race_done();
        return;
    }
    struct shm_row row = row_of(next);
    shm_ledger_write(&me->writer, &row);
    shm_ledger_publish(&me->writer);
}

static void expect(struct shm_totals *totals, unsigned payments)
{
    *totals = (struct shm_totals){.payments = {race_parameters.slots},
                                  .sum_cents = {race_parameters.slots}};
    for (unsigned n = 0; n < payments; n++) {
        struct shm_row row = row_of(n);
        totals->payments[row.processor]++;
        totals->sum_cents[row.processor] += (unsigned __int128)row.amount_cents;
    }
}

static bool are_equal(const struct shm_totals *a, const struct shm_totals *b)
{
    bool equal = true;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        equal = equal && a->payments[p] == b->payments[p] && a->sum_cents[p] == b->sum_cents[p];
    return equal;
}

static void add_up(struct reader *me)
{
    struct shm_window window = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    struct shm_totals found, wanted;
    if (shm_ledger_sum(&race_region, &window, &found) == STATUS_OK) {
        unsigned payments = me->least;
        for (expect(&wanted, payments); !are_equal(&wanted, &found); expect(&wanted, payments))
            if (++payments > race_parameters.entries)
                race_broken("a summary tells of sums that never were, or goes back");
        me->least = (uint8_t)payments;
    }
    if (++me->calls >= race_parameters.readers)
        race_done();
}

static void run(unsigned party, void *local)
{
    if (party == OWNER)
        settle(local);
    else
        add_up(local);
}

static void on_crash(unsigned party, void *local)
{
    (void)party;
    memset(local, 0, sizeof(struct owner));
}

static const char *at_end(const struct race_state *state)
{
    uint64_t count = race_newest(state, &shm_region_lane(&race_region, 0)->row_count);
    return payments_below(count) == race_parameters.entries ? NULL : "a row is lost";
}

const struct race_scenario race_ledger = {
    .name = "ledger",
    .words = "rows, an escape and a block's entry, and a reader of sums",
    .parties = 2,
    .party = {"owner", "reader"},
    .local_size = {sizeof(struct owner), sizeof(struct reader)},
    .mortal = 1 << OWNER,
    .first = 1 << OWNER,
    .setup = setup,
    .run = run,
    .on_crash = on_crash,
    .at_end = at_end,
};
