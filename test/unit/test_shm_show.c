/* What scripts read from payringctl: names, lists and their columns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "shm/shm_counters.h"
#include "shm/shm_ledger.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"
#include "shm/shm_show.h"
#include "test/unit/shm_fixture.h"

static char *said_by(struct shm_fixture *f, void (*show)(const struct shm_region *, FILE *))
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    show(&f->region, out);
    fclose(out);
    return text;
}

static void list_rows(const struct shm_region *region, FILE *out)
{
    assert_int_equal(shm_show_rows(region, out, NULL), STATUS_OK);
}

static void list_records(const struct shm_region *region, FILE *out)
{
    assert_int_equal(shm_show_records(region, out), 0);
}

static bool has_line(const char *text, const char *line)
{
    size_t length = strlen(line);
    for (const char *at = text; (at = strstr(at, line)) != NULL; at++)
        if ((at == text || at[-1] == '\n') && at[length] == '\n')
            return true;
    return false;
}

static void plain_values_have_their_names(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ring_producer ring;
    struct shm_ring_entry entry = {.id = {1, 2}, .amount_cents = 3};
    for (unsigned lane = 0; lane < 2; lane++)
        shm_counter_add(
            &shm_region_lane(&f->region, lane)->counters[SHM_LANE_COUNTER_settled_default],
            12 + lane);
    shm_counter_add(&shm_region_api(&f->region, 1)->counters[SHM_API_COUNTER_accepted], 7);
    shm_ring_producer_open(&ring, &f->region, 0, 1);
    assert_true(shm_ring_try_push(&ring, &entry));
    atomic_store(&shm_region_lane(&f->region, 0)->unsettled, 4);
    atomic_store(&shm_region_lane(&f->region, 1)->unsettled, 5);
    atomic_store(&shm_region_lane(&f->region, 1)->processor[0].in_flight_limit, 32);
    atomic_store(&shm_region_payments(&f->region, 0)[3].state, PAYMENT_SENT);

    char *text = said_by(f, shm_show_plain);
    static const char *const lines[] = {
        "region.lanes 2",
        "purge.generation 0",
        "ring.0.0.depth 0",
        "ring.0.1.depth 1",
        "ring.depth 1",
        "lane.0.settled_default 12",
        "lane.1.settled_default 13",
        "lane.settled_default 25",
        "lane.0.rows 0",
        "lane.0.rows_left 16384",
        "lane.0.unsettled 4",
        "unsettled 9",
        "lane.0.records.sent 1",
        "lane.records.sent 1",
        "lane.records.free 199",
        "lane.1.default.in_flight_limit 32",
        "lane.1.fallback.last_success_age -1",
        "api.0.accepted 0",
        "api.1.accepted 7",
        "api.accepted 7",
        "api.0.leased 0", /* by this very description */
        "health.default.failing 0",
        "health.default.report_age -1",
        "summary.fallback.amount 0.00",
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++)
        if (!has_line(text, lines[i]))
            fail_msg("no line \"%s\" in:\n%s", lines[i], text);
    free(text);
}

/* Every line is a name and a value, and no name stands there twice. */
static void plain_names_are_unique(void **state)
{
    struct shm_fixture *f = *state;
    char *text = said_by(f, shm_show_plain);
    unsigned lines = 0;
    for (char *line = text, *end; (end = strchr(line, '\n')) != NULL; line = end + 1, lines++) {
        char name[128];
        size_t length = strcspn(line, " \n");
        assert_true(line[length] == ' ' && length < sizeof name - 2);
        assert_int_equal(strcspn(line + length + 1, " \n"), end - line - (long)length - 1);
        snprintf(name, sizeof name, "\n%.*s ", (int)length, line);
        assert_null(strstr(end, name));
    }
    assert_true(lines > 2 * SHM_API_COUNTER_COUNT + 2 * SHM_LANE_COUNTER_COUNT);
    free(text);
}

static void counters_have_names_and_meanings(void **state)
{
    (void)state;
    for (unsigned i = 0; i < SHM_API_COUNTER_COUNT; i++)
        assert_true(shm_api_counter_texts[i].name[0] && shm_api_counter_texts[i].meaning[0]);
    for (unsigned i = 0; i < SHM_LANE_COUNTER_COUNT; i++)
        assert_true(shm_lane_counter_texts[i].name[0] && shm_lane_counter_texts[i].meaning[0]);
    assert_string_equal(shm_lane_counter_texts[SHM_LANE_COUNTER_sleeps].name, "sleeps");
    assert_string_equal(shm_lane_counter_texts[SHM_LANE_COUNTER_filings].name, "filings");
}

static void put(struct shm_fixture *f, uint32_t record, enum payment_state payment_state,
                unsigned flags)
{
    struct shm_payments payments;
    struct uuid id = {.hi = 0xab, .lo = record};
    shm_payments_open(&payments, &f->region, 1);
    shm_payments_begin_write(&payments, record);
    shm_payments_fill(&payments, record, &id, 1990, 111, 0, flags);
    atomic_store(&payments.records[record].attempts, 2);
    atomic_store(&payments.records[record].processor, 1);
    atomic_store(&payments.records[record].requested_at_us, 222);
    atomic_store(&payments.records[record].state, (uint8_t)payment_state);
    shm_payments_end_write(&payments, record);
}

static void records_are_listed(void **state)
{
    struct shm_fixture *f = *state;
    put(f, 5, PAYMENT_SETTLED, 0);
    put(f, 6, PAYMENT_QUEUED, PAYMENT_FLAG_ASK | PAYMENT_FLAG_SEEN); /* after a definite no */
    put(f, 7, PAYMENT_SENT, PAYMENT_FLAG_UNKNOWN);
    char *text = said_by(f, list_records);
    assert_string_equal(text, "00000000-0000-00ab-0000-000000000005\t1990\tsettled\tfallback\t222\t"
                              "111\t-\t2\n"
                              "00000000-0000-00ab-0000-000000000006\t1990\tqueued\t-\t0\t111\t"
                              "ask,seen\t2\n"
                              "00000000-0000-00ab-0000-000000000007\t1990\tsent\tfallback\t222\t"
                              "111\tunknown\t2\n");
    free(text);
    atomic_store(&shm_region_payments(&f->region, 1)[6].amount_cents, 1);
    assert_int_equal(shm_show_records(&f->region, stderr), 1);
}

static void rows_are_listed(void **state)
{
    struct shm_fixture *f = *state;
    struct shm_ledger_writer writer;
    const struct shm_row rows[] = {{0, 1, 5}, {1, 2, f->region.created_at_ms * 1000}, {0, 3, -7}};
    char wanted[200];
    shm_ledger_writer_open(&writer, &f->region, 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        shm_ledger_write(&writer, &rows[i]);
        shm_ledger_publish(&writer);
    }
    char *text = said_by(f, list_rows);
    snprintf(wanted, sizeof wanted,
             "1\t0\tdefault\t1\t5\n1\t2\tfallback\t2\t%lld\n1\t3\tdefault\t3\t-7\n",
             (long long)f->region.created_at_ms * 1000);
    assert_string_equal(text, wanted);
    free(text);
    atomic_store(&shm_region_lane(&f->region, 1)->first_row, 3); /* purged below */
    text = said_by(f, list_rows);
    assert_string_equal(text, "1\t3\tdefault\t3\t-7\n");
    free(text);
}

static void people_are_told_the_same(void **state)
{
    struct shm_fixture *f = *state;
    shm_counter_add(&shm_region_api(&f->region, 1)->counters[SHM_API_COUNTER_accepted], 7);
    char *text = said_by(f, shm_show);
    assert_non_null(strstr(text, f->name));
    assert_non_null(strstr(text, "API slot 1: free"));
    assert_non_null(strstr(text, "7  accepted: payments answered 2xx"));
    assert_non_null(strstr(text, "no health report yet"));
    assert_non_null(strstr(text, "ledger: 0 of 16384 rows"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SHM_FIXTURE_TEST(plain_values_have_their_names),
        SHM_FIXTURE_TEST(plain_names_are_unique),
        cmocka_unit_test(counters_have_names_and_meanings),
        SHM_FIXTURE_TEST(records_are_listed),
        SHM_FIXTURE_TEST(rows_are_listed),
        SHM_FIXTURE_TEST(people_are_told_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
