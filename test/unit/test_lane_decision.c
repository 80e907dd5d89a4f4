/* An operator's decision in the lane that owns the payment: what is refused at once, what waits,
 * what is dropped. The processors are addresses where nobody listens; those that answer are in
 * test/cluster/t71-resolve.sh. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test/unit/shm_fixture.h"
#include "worker/lane_internal.h"

#define LANE 1u

struct decided {
    struct shm_fixture *fixture;
    struct lane lane;
};

static struct uuid id_of(const struct decided *d, unsigned lane)
{
    struct uuid id = {.hi = 0x5eed, .lo = 0};
    while (shm_payments_lane_of(&d->fixture->region, &id) != lane)
        id.lo++;
    return id;
}

static int setup(void **state)
{
    const struct upstream_settings nobody = {
        .urls = {"http://127.0.0.1:1", "http://127.0.0.1:1"},
        .post_timeout_ms = 1000,
        .lookup_timeout_ms = 1000,
        .health_timeout_ms = 1000,
        .transfers_max = 4,
    };
    struct decided *d = calloc(1, sizeof *d);
    void *fixture = NULL;
    assert_non_null(d);
    shm_fixture_setup(&fixture);
    d->fixture = fixture;
    d->lane.region = &d->fixture->region;
    d->lane.settings.in_flight_max = 4;
    d->lane.now_us = 1000000;
    d->lane.upstream = upstream_create(&nobody, &d->fixture->why);
    assert_non_null(d->lane.upstream);
    assert_true(lane_queues_create(&d->lane.queues, d->fixture->geometry.payment_slots));
    assert_int_equal(lane_memory_open(&d->lane.memory, d->lane.region, LANE, &d->fixture->why),
                     STATUS_OK);
    lane_take_over(&d->lane);
    lane_dispatch_init(&d->lane);
    *state = d;
    return 0;
}

static int teardown(void **state)
{
    struct decided *d = *state;
    void *fixture = d->fixture;
    upstream_destroy(d->lane.upstream);
    lane_queues_destroy(&d->lane.queues);
    shm_fixture_teardown(&fixture);
    free(d);
    return 0;
}

/* A record in that state as a dead owner left it, and the take-over after it: SENT is pinned. */
static struct shm_payment *with_record(struct decided *d, enum payment_state record_state)
{
    struct shm_payments *payments = &d->lane.memory.payments;
    struct uuid id = id_of(d, LANE);
    shm_payments_begin_write(payments, 0);
    payments->records[0].state = PAYMENT_FREE;
    shm_payments_fill(payments, 0, &id, 1990, 1000, 0, 0);
    payments->records[0].processor = 1;
    payments->records[0].requested_at_us = d->fixture->region.created_at_ms * 1000;
    payments->records[0].state = (uint8_t)record_state;
    shm_payments_end_write(payments, 0);
    assert_int_equal(lane_memory_open(&d->lane.memory, d->lane.region, LANE, &d->fixture->why),
                     STATUS_OK);
    lane_take_over(&d->lane);
    return &payments->records[0];
}

static uint64_t publish(struct decided *d, unsigned lane, enum shm_decision decision)
{
    struct shm_operator_request request = {
        .id = id_of(d, lane), .decision = decision, .by = "ann", .reason = "because"};
    return shm_operator_publish(&d->fixture->region, &request);
}

static void expect_verdict(const struct decided *d, uint64_t number, enum shm_verdict verdict,
                           uint64_t detail)
{
    struct shm_operator_answer answer;
    assert_true(shm_operator_answered(&d->fixture->region, LANE, number, &answer));
    assert_int_equal(answer.verdict, verdict);
    assert_int_equal(answer.detail, detail);
}

static bool is_answered(const struct decided *d, uint64_t number)
{
    struct shm_operator_answer answer;
    return shm_operator_answered(&d->fixture->region, LANE, number, &answer);
}

static void finish_lookups(struct decided *d)
{
    while (upstream_in_flight(d->lane.upstream, 1) > 0) {
        upstream_perform(d->lane.upstream, lane_on_completion, &d->lane);
        upstream_wait(d->lane.upstream, -1, 100);
    }
}

static void another_lanes_request_is_left_alone(void **state)
{
    struct decided *d = *state;
    assert_false(lane_decision_is_due(&d->lane));
    uint64_t number = publish(d, 1 - LANE, SHM_DECISION_REQUEUE);
    assert_true(lane_decision_is_due(&d->lane));
    assert_false(lane_decide(&d->lane));
    assert_false(lane_decision_is_due(&d->lane)); /* it may sleep */
    assert_false(is_answered(d, number));
}

static void what_is_not_here_or_not_pinned_is_refused(void **state)
{
    struct decided *d = *state;
    uint64_t number = publish(d, LANE, SHM_DECISION_SETTLED);
    lane_decide(&d->lane);
    expect_verdict(d, number, SHM_VERDICT_NOT_HERE, 0);
    for (enum payment_state s = PAYMENT_QUEUED; s <= PAYMENT_REJECTED; s++) {
        struct shm_payment *record = with_record(d, s);
        if (s == PAYMENT_SENT)
            record->flags = 0; /* its first attempt is out */
        number = publish(d, LANE, SHM_DECISION_REQUEUE);
        assert_true(lane_decide(&d->lane));
        expect_verdict(d, number, SHM_VERDICT_NOT_PINNED, s);
    }
    assert_int_equal(d->lane.memory.control->counters[SHM_LANE_COUNTER_resolve_refused], 7);
}

static void a_book_that_does_not_answer_decides_nothing(void **state)
{
    struct decided *d = *state;
    struct shm_payment *record = with_record(d, PAYMENT_SENT);
    assert_int_equal(d->lane.queues.slots[0].place, LANE_PINNED + 1);
    uint64_t number = publish(d, LANE, SHM_DECISION_REQUEUE);
    assert_true(lane_decide(&d->lane));
    assert_int_equal(d->lane.queues.slots[0].place, LANE_OUT); /* nothing else can send it */
    assert_int_equal(shm_operator_phase(d->lane.region, LANE, number), SHM_DECISION_ASKING);
    assert_false(is_answered(d, number));
    finish_lookups(d);
    expect_verdict(d, number, SHM_VERDICT_BOOK_SILENT, 0);
    assert_int_equal(record->state, PAYMENT_SENT);
    assert_int_equal(record->flags, PAYMENT_FLAG_UNKNOWN);
    assert_int_equal(d->lane.queues.slots[0].place, LANE_PAUSED);
    lane_decide(&d->lane); /* looks again, and does not take the answered one for a new one */
    assert_int_equal(upstream_in_flight(d->lane.upstream, 1), 0);
    assert_false(lane_decision_is_due(&d->lane));
}

static void an_attempt_in_flight_is_waited_for(void **state)
{
    struct decided *d = *state;
    with_record(d, PAYMENT_SENT);
    assert_int_equal(lane_queues_pop(&d->lane.queues, LANE_PINNED + 1), 0);
    uint64_t number = publish(d, LANE, SHM_DECISION_REQUEUE);
    assert_false(lane_decide(&d->lane));
    assert_int_equal(shm_operator_phase(d->lane.region, LANE, number), SHM_DECISION_SEEN);
    assert_int_equal(upstream_in_flight(d->lane.upstream, 1), 0);
    lane_decision_note(&d->lane, 0, &(struct upstream_completion){.outcome = UPSTREAM_FAILING});
    assert_false(d->lane.decision.attempt_unknown);
    lane_decision_note(&d->lane, 0, &(struct upstream_completion){.outcome = UPSTREAM_UNKNOWN});
    assert_true(d->lane.decision.attempt_unknown);
    lane_queues_append(&d->lane.queues, LANE_PINNED + 1, 0);
    assert_true(lane_decide(&d->lane));
    assert_int_equal(shm_operator_phase(d->lane.region, LANE, number), SHM_DECISION_ASKING);
    finish_lookups(d);
    assert_true(is_answered(d, number));
}

static void what_is_withdrawn_is_not_carried_out(void **state)
{
    struct decided *d = *state;
    struct shm_payment *record = with_record(d, PAYMENT_SENT);
    assert_int_equal(lane_queues_pop(&d->lane.queues, LANE_PINNED + 1), 0);
    uint64_t waiting = publish(d, LANE, SHM_DECISION_REJECT);
    lane_decide(&d->lane);
    assert_true(shm_operator_withdraw(&d->fixture->region, LANE, waiting));
    assert_true(lane_decision_is_due(&d->lane));
    assert_false(lane_decide(&d->lane));
    expect_verdict(d, waiting, SHM_VERDICT_WITHDRAWN, 0);

    lane_queues_append(&d->lane.queues, LANE_PINNED + 1, 0);
    uint64_t asking = publish(d, LANE, SHM_DECISION_REJECT);
    assert_true(lane_decide(&d->lane));
    assert_true(shm_operator_withdraw(&d->fixture->region, LANE, asking));
    uint64_t next = publish(d, LANE, SHM_DECISION_REQUEUE);
    assert_false(lane_decide(&d->lane)); /* the book comes first */
    finish_lookups(d);
    struct shm_operator_answer answer;
    assert_true(shm_operator_answered(&d->fixture->region, LANE, asking, &answer));
    assert_int_equal(answer.verdict, SHM_VERDICT_WITHDRAWN);
    assert_int_equal(record->state, PAYMENT_SENT);
    assert_true(lane_decide(&d->lane)); /* and the next one after it */
    finish_lookups(d);
    expect_verdict(d, next, SHM_VERDICT_BOOK_SILENT, 0);
}

static void a_new_owner_drops_what_it_finds(void **state)
{
    struct decided *d = *state;
    uint64_t other = publish(d, 1 - LANE, SHM_DECISION_REQUEUE);
    with_record(d, PAYMENT_SENT);
    assert_false(is_answered(d, other));
    uint64_t number = publish(d, LANE, SHM_DECISION_REQUEUE);
    with_record(d, PAYMENT_SENT);
    expect_verdict(d, number, SHM_VERDICT_OWNER_CHANGED, 0);
    struct shm_payment *record = with_record(d, PAYMENT_SENT); /* once: it has its verdict now */
    assert_int_equal(d->lane.memory.control->counters[SHM_LANE_COUNTER_resolve_refused], 1);
    lane_decide(&d->lane);
    assert_int_equal(record->state, PAYMENT_SENT);
    assert_int_equal(upstream_in_flight(d->lane.upstream, 1), 0);
}

int main(void)
{
#define DECISION_TEST(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        DECISION_TEST(another_lanes_request_is_left_alone),
        DECISION_TEST(what_is_not_here_or_not_pinned_is_refused),
        DECISION_TEST(a_book_that_does_not_answer_decides_nothing),
        DECISION_TEST(an_attempt_in_flight_is_waited_for),
        DECISION_TEST(what_is_withdrawn_is_not_carried_out),
        DECISION_TEST(a_new_owner_drops_what_it_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
