/* The inspector finds every kind of contradiction, and none in what the processes leave behind. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shm/shm_check.h"
#include "shm/shm_ledger.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"
#include "test/unit/shm_fixture.h"

/* An id of that lane. */
static struct uuid id_in_lane(const struct shm_region *region, unsigned lane, uint64_t n)
{
    struct uuid id = {.hi = n << 16, .lo = n};
    while (shm_payments_lane_of(region, &id) != lane)
        id.hi++;
    return id;
}

static uint32_t put(struct shm_fixture *f, unsigned lane, uint32_t record,
                    enum payment_state payment_state)
{
    struct shm_payments payments;
    struct uuid id = id_in_lane(&f->region, lane, record + 1);
    shm_payments_open(&payments, &f->region, lane);
    shm_payments_begin_write(&payments, record);
    shm_payments_fill(&payments, record, &id, 1990, f->region.created_at_ms, 0, 0);
    shm_payments_index_add(&payments, record);
    atomic_store(&payments.records[record].requested_at_us, f->region.created_at_ms * 1000);
    atomic_store(&payments.records[record].state, (uint8_t)payment_state);
    shm_payments_end_write(&payments, record);
    return record;
}

static void settle(struct shm_fixture *f, unsigned lane, uint32_t record)
{
    struct shm_ledger_writer writer;
    struct shm_payment *r = &shm_region_payments(&f->region, lane)[record];
    struct shm_row row = {0, 1990, f->region.created_at_ms * 1000};
    put(f, lane, record, PAYMENT_SENT);
    shm_ledger_writer_open(&writer, &f->region, lane);
    atomic_store(&r->row_name, (uint32_t)writer.row_count + 1);
    shm_ledger_write(&writer, &row);
    shm_ledger_publish(&writer);
    atomic_store(&r->state, PAYMENT_SETTLED);
}

/* A region in the middle of its life: rings, tables and ledgers in use. */
static int setup(void **state)
{
    shm_fixture_setup(state);
    struct shm_fixture *f = *state;
    for (unsigned lane = 0; lane < 2; lane++) {
        struct shm_lane *control = shm_region_lane(&f->region, lane);
        struct shm_ring_producer ring;
        struct shm_ledger_writer writer;
        struct shm_row row = {1, 1 << 24, f->region.created_at_ms * 1000 + 1};
        atomic_store(&control->lowest_bound_us, f->region.created_at_ms * 1000);
        shm_ledger_writer_open(&writer, &f->region, lane);
        while (writer.row_count < 2 * SHM_BLOCK_ROWS - 1) { /* one escape across the edge */
            row.requested_at_us += writer.row_count == SHM_BLOCK_ROWS - 3 ? 999 : 0;
            shm_ledger_write(&writer, &row);
            shm_ledger_publish(&writer);
        }
        for (uint32_t record = 0; record < 5; record++)
            settle(f, lane, record);
        put(f, lane, 10, PAYMENT_QUEUED);
        put(f, lane, 11, PAYMENT_SENT);
        put(f, lane, 12, PAYMENT_DUPLICATE);
        atomic_store(&control->unsettled, 2);
        shm_ring_producer_open(&ring, &f->region, 1, lane);
        for (uint64_t n = 0; n < 3; n++) {
            struct shm_ring_entry entry = {.id = id_in_lane(&f->region, lane, 1000 + n),
                                           .amount_cents = 5};
            assert_true(shm_ring_try_push(&ring, &entry));
        }
    }
    return 0;
}

/* Findings, and whether the last check said `word`. */
static uint64_t findings(struct shm_fixture *f, const char *word)
{
    char *text = NULL;
    size_t size = 0;
    struct shm_check_result result;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    assert_int_equal(shm_check(&f->region, out, &result, &f->why), STATUS_OK);
    fclose(out);
    if (result.findings > 0 && (!word || !strstr(text, word)))
        print_message("# %s", text);
    bool said = !word || strstr(text, word);
    free(text);
    assert_true(said);
    return result.findings;
}

static void a_good_region_has_no_findings(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_check_result result;
    assert_int_equal(findings(f, NULL), 0);
    assert_int_equal(shm_check(&f->region, stderr, &result, NULL), STATUS_OK);
    assert_int_equal(result.records, 2 * 8);
    assert_int_equal(result.entries, 2 * 3);
    assert_int_equal(result.rows, 2 * (SHM_BLOCK_ROWS + 5));
}

static void what_a_crash_leaves_is_no_finding(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_payments payments;
    shm_payments_open(&payments, &f->region, 0);
    shm_payments_begin_write(&payments, 11);                     /* in the middle of a change */
    shm_payments_begin_write(&payments, 20);                     /* in the middle of filling */
    atomic_store(&payments.records[20].id_hi, 0x123456);         /* with half of its fields */
    atomic_store(&shm_region_lane(&f->region, 0)->unsettled, 3); /* raised, and died */
    shm_region_rows(&f->region, 0)[atomic_load(&shm_region_lane(&f->region, 0)->row_count)] = 77;
    assert_int_equal(findings(f, NULL), 0);
}

static struct shm_payment *record(struct shm_fixture *f, uint32_t number)
{
    return &shm_region_payments(&f->region, 0)[number];
}

static void damaged_records_are_found(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_payment good[3];
    memcpy(good, record(f, 10), sizeof good);

    atomic_store(&record(f, 10)->amount_cents, 1991);
    assert_int_equal(findings(f, "record 10 is damaged"), 1);
    memcpy(record(f, 10), good, sizeof good);

    atomic_store(&record(f, 11)->state, 9);
    assert_int_equal(findings(f, "record 11 is damaged"), 1);
    memcpy(record(f, 10), good, sizeof good);

    atomic_store(&record(f, 11)->requested_at_us, 5);
    assert_int_equal(findings(f, "record 11 is sent"), 1);
    memcpy(record(f, 10), good, sizeof good);

    memcpy(record(f, 30), &good[2], sizeof good[2]); /* the same id again */
    assert_int_equal(findings(f, "have the same id"), 1);
    memset(record(f, 30), 0, sizeof good[0]);

    memcpy(record(f, 30), &shm_region_payments(&f->region, 1)[12], sizeof good[0]);
    assert_int_equal(findings(f, "record 30 belongs to another lane"), 1);
}

static void settled_records_must_have_their_row(void **state)
{
    struct shm_fixture *f = *state;
    uint32_t row_name = atomic_load(&record(f, 2)->row_name);
    atomic_store(&record(f, 2)->row_name, 0);
    assert_int_equal(findings(f, "record 2 is settled"), 1);
    atomic_store(&record(f, 2)->row_name, row_name + 100);
    assert_int_equal(findings(f, "record 2 is settled"), 1);
    atomic_store(&record(f, 2)->row_name, row_name + 1); /* record 3's */
    assert_int_equal(findings(f, "name the same row"), 1);
    atomic_store(&record(f, 2)->row_name, row_name);
    atomic_store(&record(f, 2)->processor, 1);
    assert_int_equal(findings(f, "record 2 is settled with processor 1"), 1);
    atomic_store(&record(f, 2)->processor, 0);
    atomic_store(&record(f, 2)->requested_at_us, 1);
    assert_int_equal(findings(f, "requestedAt 1 us"), 1);
}

static void damaged_ledgers_are_found(void **state)
{
    struct shm_fixture *f = *state;
    uint64_t *rows = shm_region_rows(&f->region, 0);
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    uint64_t good = rows[100], count = atomic_load(&lane->row_count);
    rows[100] ^= 1; /* one cent more or less: the block says otherwise */
    assert_int_equal(findings(f, "block 0"), 2); /* and its slice */
    rows[100] = good;
    rows[100] = 0;
    assert_true(findings(f, "row 100 is none") >= 1);
    rows[100] = good;
    shm_region_blocks(&f->region, 0)[1].highest_us++;
    assert_int_equal(findings(f, "block 1"), 1);
    shm_region_blocks(&f->region, 0)[1].highest_us--;
    atomic_store(&lane->first_row, count + 1);
    assert_true(findings(f, "the ledger has") >= 1);
    atomic_store(&lane->first_row, 101); /* the second word of an escape */
    assert_int_equal(findings(f, "in the middle"), 1);
    atomic_store(&lane->first_row, count);
    assert_int_equal(findings(f, NULL), 0);
}

static void damaged_rings_are_found(void **state)
{
    struct shm_fixture *f = *state;
    _Atomic uint64_t *tail = &shm_region_api(&f->region, 1)->tail[0].value;
    struct shm_ring_slot *slot = &shm_region_ring_slots(&f->region, 1, 0)[1];
    atomic_store(&slot->amount_cents, 0);
    assert_int_equal(findings(f, "has 0 cents"), 1);
    atomic_store(&slot->amount_cents, 5);
    atomic_store(&slot->purge_generation, 1);
    assert_int_equal(findings(f, "yet to come"), 1);
    atomic_store(&slot->purge_generation, 0);
    *slot = *shm_region_ring_slots(&f->region, 1, 1);
    assert_int_equal(findings(f, "belongs to another lane"), 1);
    atomic_store(tail, 65);
    assert_true(findings(f, "head 0 and tail 65") >= 1);
    atomic_store(tail, 3);
    atomic_store(&shm_region_lane(&f->region, 0)->head[1].value, 4);
    assert_true(findings(f, "head 4 and tail 3") >= 1);
}

static void counts_that_are_too_low_are_found(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    atomic_store(&lane->unsettled, 1);
    assert_int_equal(findings(f, "1 payments are counted as unsettled, but 2 are"), 1);
    atomic_store(&lane->unsettled, 2);
    atomic_store(&lane->purge_applied, 1);
    assert_int_equal(findings(f, "purge 1 was applied"), 1);
}

/* With an owner that sleeps, nothing may be off at all. */
static void an_owned_lane_is_held_to_more(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_lane *lane = shm_region_lane(&f->region, 0);
    struct shm_region owner;
    shm_lease_give_back(&f->region, SHM_LEASE_LANE);
    assert_int_equal(shm_region_attach(&owner, f->name, 0, NULL), STATUS_OK);
    assert_int_equal(shm_lease_try_take(&owner, SHM_LEASE_LANE), STATUS_OK);
    atomic_store(&lane->sleep_count, 1);
    assert_int_equal(findings(f, NULL), 0);
    atomic_store(&lane->unsettled, 3);
    assert_int_equal(findings(f, "3 payments are counted"), 1);
    atomic_store(&lane->unsettled, 2);
    for (uint32_t i = 0; i < f->region.places.index_heads; i++)
        atomic_store(&shm_region_index_heads(&f->region, 0)[i], 0);
    assert_int_equal(findings(f, "is not found through the index"), 8);

    /* A new owner, stopped while it builds the index; then it has had its first turn. */
    atomic_store(&lane->sleep_count, 2);
    shm_presence_begin(&lane->presence);
    assert_int_equal(findings(f, NULL), 0);
    atomic_fetch_add(&lane->presence.beat_ms, 1);
    assert_int_equal(findings(f, "is not found through the index"), 8);
    shm_region_detach(&owner);
}

int main(void)
{
#define TEST(test) cmocka_unit_test_setup_teardown(test, setup, shm_fixture_teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_good_region_has_no_findings),     TEST(what_a_crash_leaves_is_no_finding),
        TEST(damaged_records_are_found),         TEST(settled_records_must_have_their_row),
        TEST(damaged_ledgers_are_found),         TEST(damaged_rings_are_found),
        TEST(counts_that_are_too_low_are_found), TEST(an_owned_lane_is_held_to_more),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
