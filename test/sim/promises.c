/* The books, compared by id, amount and requestedAt, when all that was accepted has ended. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "test/sim/director.h"
#include "test/sim/gateway.h"
#include "test/sim/kernel.h"
#include "test/sim/observe.h"
#include "test/sim/random.h"

#define WINDOWS 12

uint64_t sim_charged_beyond_the_horizon, sim_counted_beyond_the_horizon;

static const char *const names[SHM_PROCESSORS] = {"default", "fallback"};
static uint8_t counted[SIM_PAYMENTS_MAX][SHM_PROCESSORS]; /* rows of each insert */
static uint8_t current[SIM_PAYMENTS_MAX][SHM_PROCESSORS]; /* those of the last purge generation */

/* --------------------------------------------------------------------------- rows */

/* The bytes of the ledger are what was seen to be published, and each row is of one insert. */
static void read_ledger(const struct shm_region *region, unsigned lane, uint64_t generation)
{
    struct shm_row row;
    uint64_t count = shm_region_lane(region, lane)->row_count;
    for (uint64_t at = 0; at < count && !sim_failure[0];) {
        const struct sim_row *seen = sim_row_of(lane, at);
        if (!seen->payment || !shm_ledger_read(region, lane, at + seen->fillers, &row)) {
            sim_fail("row %" PRIu64 " of lane %u is none that was published", at, lane);
            return;
        }
        if (row.processor != seen->row.processor || row.amount_cents != seen->row.amount_cents ||
            row.requested_at_us != seen->row.requested_at_us)
            sim_fail("row %" PRIu64 " of lane %u is not what was written", at, lane);
        counted[sim_number(seen->payment)][row.processor]++;
        if (seen->generation == generation)
            current[sim_number(seen->payment)][row.processor]++;
        at += seen->words;
    }
}

/* ------------------------------------------------------------------------ payments */

static bool was_offered(const struct sim_payment *payment, int64_t amount_cents)
{
    for (unsigned i = 0; i < SIM_AMOUNTS; i++)
        if (payment->offered[i] && payment->amount_cents[i] == amount_cents)
            return true;
    return false;
}

static void check_insert(const struct sim_payment *payment, unsigned processor)
{
    const struct sim_insert *insert = &payment->book[processor];
    unsigned rows = counted[sim_number(payment)][processor];
    if (!insert->there && rows > 0)
        sim_fail("#%u is counted with %s, which never had it", sim_number(payment),
                 names[processor]);
    /* Beyond the horizon, bound once more to the same processor at the very millisecond that it was
     * bound at before, since when the clock was set back: it looks like our own insert. A stated
     * limit, and the only way to be counted twice. */
    if (rows > 1 && payment->forgotten && sim_wall_offset_us != 0)
        sim_counted_beyond_the_horizon++;
    else if (rows > 1)
        sim_fail("#%u is counted %u times with %s", sim_number(payment), rows, names[processor]);
    if (!insert->there || insert->foreign)
        return;
    if (rows == 0)
        sim_fail("#%u was charged by %s and is not counted", sim_number(payment), names[processor]);
    if (!was_offered(payment, insert->amount_cents))
        sim_fail("#%u was charged %" PRId64 " cents, which nobody sent", sim_number(payment),
                 insert->amount_cents);
}

static void check_payment(const struct sim_payment *payment)
{
    const struct sim_insert *a = &payment->book[0], *b = &payment->book[1];
    int ours = (a->there && !a->foreign) + (b->there && !b->foreign);
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        check_insert(payment, p);
    /* Beyond the horizon a copy may be charged again: a stated limit. */
    if (ours > 1 && payment->forgotten)
        sim_charged_beyond_the_horizon++;
    else if (ours > 1)
        sim_fail("#%u was charged twice", sim_number(payment));
    /* Nor is it charged at all if somebody else's insert stood there. */
    if (payment->promised && !a->there && !b->there && !payment->rejected)
        sim_fail("#%u was accepted and stands in no book", sim_number(payment));
}

/* ----------------------------------------------------------------------- summaries */

static int64_t counted_us(const struct sim_insert *insert)
{
    return insert->requested_at_us + !insert->exact;
}

/* From the books alone, but for what a purge took out. */
static struct shm_totals books_say(const struct shm_window *window)
{
    struct shm_totals totals = {{0}, {0}};
    for (uint32_t i = 0; i < sim_payment_count; i++) {
        for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
            const struct sim_insert *insert = &sim_payments[i].book[p];
            if (counted_us(insert) < window->from_us || counted_us(insert) > window->to_us)
                continue;
            totals.payments[p] += current[i][p];
            totals.sum_cents[p] += current[i][p] * (unsigned __int128)insert->amount_cents;
        }
    }
    return totals;
}

/* The time of an insert, or one beside it. */
static int64_t random_edge(void)
{
    const struct sim_payment *payment = &sim_payments[sim_below(sim_payment_count)];
    const struct sim_insert *insert = &payment->book[sim_below(SHM_PROCESSORS)];
    if (!insert->there)
        return sim_chance(512) ? INT64_MIN : INT64_MAX;
    return counted_us(insert) + SIM_ONE_OF(-1000, -1, 0, 0, 1, 1000);
}

static void check_window(const struct shm_region *region)
{
    struct shm_window window = {random_edge(), random_edge()};
    struct shm_totals said, books;
    if (window.from_us > window.to_us)
        window = (struct shm_window){window.to_us, window.from_us};
    books = books_say(&window);
    if (shm_ledger_sum(region, &window, &said) != STATUS_OK)
        sim_fail("a summary at rest is busy");
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        if (said.payments[p] != books.payments[p] || said.sum_cents[p] != books.sum_cents[p])
            sim_fail("the summary of %" PRId64 " to %" PRId64 " says %" PRIu64 " payments, %" PRIu64
                     " cents with %s; its book says %" PRIu64 ", %" PRIu64,
                     window.from_us, window.to_us, said.payments[p], (uint64_t)said.sum_cents[p],
                     names[p], books.payments[p], (uint64_t)books.sum_cents[p]);
}

void sim_check_promises(void)
{
    const struct shm_region *region = sim_region();
    uint64_t generation = shm_region_purge(region)->generation;
    memset(counted, 0, sim_payment_count * sizeof counted[0]);
    memset(current, 0, sim_payment_count * sizeof current[0]);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        read_ledger(region, lane, generation);
    for (uint32_t i = 0; i < sim_payment_count && !sim_failure[0]; i++)
        check_payment(&sim_payments[i]);
    for (int i = 0; i < WINDOWS && !sim_failure[0]; i++)
        check_window(region);
}
