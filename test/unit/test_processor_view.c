#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "worker/processor_view.h"

enum { MS = 1000, S = 1000000, T0 = 50 * S };

static struct processor_view fresh(void)
{
    struct processor_view view;
    processor_view_init(&view, 256, T0);
    return view;
}

/* One payment there and back. */
static void round_trip(struct processor_view *view, enum processor_answer answer, int64_t sent_us,
                       int64_t now_us)
{
    processor_view_sent(view, sent_us);
    processor_view_answered(view, answer, sent_us, now_us);
}

static struct routing_processor facts_at(const struct processor_view *view, int64_t now_us)
{
    return processor_view_facts(view, now_us, 0);
}

static void hear(struct processor_view *view, int64_t success_us, int64_t failure_us,
                 int64_t probing_us, int64_t now_us)
{
    const struct processor_news others[] = {
        {.last_success_ms = success_us / MS, .probing_since_ms = probing_us / MS},
        {.last_failure_ms = failure_us / MS},
    };
    processor_view_heard(view, others, 2, now_us);
}

static void report(struct processor_view *view, bool failing, int64_t min_response_us,
                   int64_t at_us, int64_t now_us)
{
    const struct processor_report told = {at_us, min_response_us, failing};
    processor_view_reported(view, &told, now_us);
}

/* ---- failing or not ---- */

static void nothing_known_is_not_failing(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    struct routing_processor facts = facts_at(&view, T0);
    assert_true(facts.usable);
    assert_false(facts.failing);
    assert_int_equal(facts.in_flight, 0);
    assert_int_equal(facts.limit, CONCURRENCY_LIMIT_START);
    assert_int_equal(facts.expected_latency_us, PROCESSOR_VIEW_LATENCY_US);
    struct processor_news news = processor_view_news(&view);
    assert_int_equal(news.last_success_ms | news.last_failure_ms | news.probing_since_ms, 0);
}

static void what_each_answer_says(void **state)
{
    (void)state;
    static const struct {
        enum processor_answer answer;
        bool fails, sheds;
    } table[] = {
        {PROCESSOR_OK, false, false},          {PROCESSOR_UNREACHED, true, false},
        {PROCESSOR_BUSY, false, true},         {PROCESSOR_FAILING, true, false},
        {PROCESSOR_BAD_REQUEST, false, false}, {PROCESSOR_UNKNOWN, true, true},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        struct processor_view view = fresh();
        round_trip(&view, PROCESSOR_OK, T0, T0 + MS);
        round_trip(&view, table[i].answer, T0 + 2 * MS, T0 + 3 * MS);
        struct routing_processor facts = facts_at(&view, T0 + S);
        assert_int_equal(facts.failing, table[i].fails);
        assert_int_equal(facts.limit < CONCURRENCY_LIMIT_START, table[i].sheds);
        assert_int_equal(facts.in_flight, 0);
    }
}

static void one_failure_is_enough_and_one_success_ends_it(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    for (int i = 0; i < 100; i++)
        round_trip(&view, PROCESSOR_OK, T0 + i * MS, T0 + (i + 1) * MS);
    round_trip(&view, PROCESSOR_FAILING, T0 + 200 * MS, T0 + 201 * MS);
    assert_true(facts_at(&view, T0 + 201 * MS).failing);
    assert_int_equal(processor_view_news(&view).last_failure_ms, (T0 + 201 * MS) / MS);
    round_trip(&view, PROCESSOR_OK, T0 + 300 * MS, T0 + 301 * MS);
    assert_false(facts_at(&view, T0 + 301 * MS).failing);
    assert_int_equal(processor_view_news(&view).last_success_ms, (T0 + 301 * MS) / MS);
}

static void success_of_another_lane_counts_if_it_is_later(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_FAILING, T0, T0 + 10 * MS);
    hear(&view, T0 + 9 * MS, 0, 0, T0 + 20 * MS);
    assert_true(facts_at(&view, T0 + 20 * MS).failing);
    hear(&view, T0 + 10 * MS, 0, 0, T0 + 20 * MS); /* a tie is a failure */
    assert_true(facts_at(&view, T0 + 20 * MS).failing);
    hear(&view, T0 + 11 * MS, 0, 0, T0 + 20 * MS);
    assert_false(facts_at(&view, T0 + 20 * MS).failing);
    assert_int_equal(processor_view_news(&view).last_success_ms, 0); /* not ours to tell */
}

static void failure_of_another_lane_counts_if_it_is_later(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_OK, T0, T0 + 10 * MS);
    hear(&view, 0, T0 + 9 * MS, 0, T0 + 20 * MS);
    assert_false(facts_at(&view, T0 + 20 * MS).failing);
    hear(&view, 0, T0 + 11 * MS, 0, T0 + 20 * MS);
    assert_true(facts_at(&view, T0 + 20 * MS).failing);
    assert_int_equal(processor_view_news(&view).last_failure_ms, 0);
    hear(&view, T0 + 12 * MS, T0 + 11 * MS, 0, T0 + 20 * MS);
    assert_false(facts_at(&view, T0 + 20 * MS).failing);
}

static void report_newer_than_the_last_failure_ends_it(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_UNREACHED, T0, T0 + 10 * MS);
    report(&view, false, 0, T0 + 5 * MS, T0 + 20 * MS);
    assert_true(facts_at(&view, T0 + 20 * MS).failing);
    report(&view, false, 0, T0 + 15 * MS, T0 + 20 * MS);
    assert_false(facts_at(&view, T0 + 20 * MS).failing);
}

static void old_report_does_not_stop_a_processor_that_answers(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_OK, T0, T0 + 10 * MS);
    report(&view, true, 0, T0 + 5 * MS, T0 + 20 * MS);
    assert_false(facts_at(&view, T0 + 20 * MS).failing);
    processor_view_sent(&view, T0 + 12 * MS);
    report(&view, true, 0, T0 + 15 * MS, T0 + 20 * MS);
    assert_true(facts_at(&view, T0 + 20 * MS).failing);
    processor_view_answered(&view, PROCESSOR_OK, T0 + 12 * MS, T0 + 25 * MS);
    assert_false(facts_at(&view, T0 + 25 * MS).failing);
    report(&view, true, 0, T0 + 15 * MS, T0 + 30 * MS); /* the same one again */
    assert_false(facts_at(&view, T0 + 30 * MS).failing);
}

static void recovery_starts_from_a_small_limit(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    int64_t now_us = T0;
    for (int i = 0; i < 40; i++) { /* saturated, no queue: the limit doubles per round */
        int crowd = facts_at(&view, now_us).limit;
        for (int k = 0; k < crowd; k++)
            processor_view_sent(&view, now_us);
        for (int k = 0; k < crowd; k++)
            processor_view_answered(&view, PROCESSOR_OK, now_us, now_us + 5 * MS);
        now_us += 5 * MS;
    }
    assert_true(facts_at(&view, now_us).limit >= 128);
    round_trip(&view, PROCESSOR_FAILING, now_us, now_us + MS);
    round_trip(&view, PROCESSOR_OK, now_us + 100 * MS, now_us + 101 * MS);
    assert_int_equal(facts_at(&view, now_us + 101 * MS).limit, CONCURRENCY_LIMIT_START);
}

/* ---- probes ---- */

static void probes_are_spaced_by_how_long_it_has_been_failing(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_FAILING, T0, T0);
    static const int64_t at_ms[] = {50, 100, 200, 400, 800, 1600, 2600, 3600};
    for (size_t i = 0; i < sizeof at_ms / sizeof *at_ms; i++) {
        int64_t due_us = T0 + at_ms[i] * MS;
        assert_int_equal(facts_at(&view, due_us - 7).probe_after_us, 7);
        assert_int_equal(facts_at(&view, due_us).probe_after_us, 0);
        round_trip(&view, PROCESSOR_FAILING, due_us, due_us);
    }
    round_trip(&view, PROCESSOR_OK, T0 + 5 * S, T0 + 5 * S);
    round_trip(&view, PROCESSOR_FAILING, T0 + 6 * S, T0 + 6 * S);
    assert_int_equal(facts_at(&view, T0 + 6 * S).probe_after_us, PROCESSOR_VIEW_PROBE_MIN_US);
}

static void own_probe_excludes_another_until_it_is_answered(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    processor_view_sent(&view, T0); /* one of the crowd */
    round_trip(&view, PROCESSOR_FAILING, T0, T0 + MS);
    int64_t probe_us = T0 + 60 * MS;
    processor_view_sent(&view, probe_us);
    assert_int_equal(processor_view_news(&view).probing_since_ms, probe_us / MS);
    assert_true(facts_at(&view, T0 + 2 * S).probe_after_us > 0);
    processor_view_answered(&view, PROCESSOR_FAILING, T0, T0 + 2 * S); /* the crowd's, late */
    assert_true(facts_at(&view, T0 + 4 * S).probe_after_us > 0);
    processor_view_answered(&view, PROCESSOR_FAILING, probe_us, T0 + 4 * S);
    assert_int_equal(processor_view_news(&view).probing_since_ms, 0);
    assert_int_equal(facts_at(&view, T0 + 4 * S).probe_after_us, S);
    assert_int_equal(facts_at(&view, T0 + 5 * S).probe_after_us, 0);
}

static void probe_that_tells_nothing_is_spaced_too(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_FAILING, T0, T0);
    round_trip(&view, PROCESSOR_BUSY, T0 + 50 * MS, T0 + 70 * MS);
    assert_true(facts_at(&view, T0 + 70 * MS).failing);
    assert_int_equal(facts_at(&view, T0 + 70 * MS).probe_after_us, 50 * MS);
}

static void probe_of_another_lane_excludes_until_it_is_stale(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_FAILING, T0, T0);
    hear(&view, 0, 0, T0 + 50 * MS, T0 + 60 * MS);
    assert_int_equal(facts_at(&view, T0 + 60 * MS).probe_after_us,
                     PROCESSOR_VIEW_PROBE_STALE_US - 10 * MS);
    assert_int_equal(facts_at(&view, T0 + 50 * MS + PROCESSOR_VIEW_PROBE_STALE_US).probe_after_us,
                     0);
    hear(&view, 0, 0, 0, T0 + 80 * MS);
    assert_int_equal(facts_at(&view, T0 + 80 * MS).probe_after_us, 0);
}

static void recovery_ends_the_probe(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_FAILING, T0, T0);
    processor_view_sent(&view, T0 + 50 * MS);
    hear(&view, T0 + 60 * MS, 0, 0, T0 + 61 * MS);
    assert_int_equal(processor_view_news(&view).probing_since_ms, 0);
    assert_int_equal(facts_at(&view, T0 + 61 * MS).probe_after_us, 0);
    assert_int_equal(facts_at(&view, T0 + 61 * MS).in_flight, 1);
}

/* ---- latency ---- */

static void latency_is_averaged_and_replaced_after_a_silence(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_OK, T0, T0 + 8 * MS);
    assert_int_equal(facts_at(&view, T0 + 8 * MS).expected_latency_us, 8 * MS);
    round_trip(&view, PROCESSOR_OK, T0 + 8 * MS, T0 + 24 * MS);
    assert_int_equal(facts_at(&view, T0 + 24 * MS).expected_latency_us, 9 * MS);
    int64_t later_us = T0 + 2 * S;
    round_trip(&view, PROCESSOR_FAILING, later_us, later_us + 200 * MS);
    assert_int_equal(facts_at(&view, later_us + 200 * MS).expected_latency_us, 200 * MS);
}

static void newer_report_stands_in_after_a_silence(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    report(&view, false, 300 * MS, T0, T0);
    assert_int_equal(facts_at(&view, T0).expected_latency_us, 300 * MS);
    round_trip(&view, PROCESSOR_OK, T0 + MS, T0 + 3 * MS);
    assert_int_equal(facts_at(&view, T0 + 3 * MS).expected_latency_us, 2 * MS);
    report(&view, false, 400 * MS, T0 + 4 * MS, T0 + 5 * MS);
    assert_int_equal(facts_at(&view, T0 + 5 * MS).expected_latency_us, 2 * MS);
    assert_int_equal(facts_at(&view, T0 + 2 * S).expected_latency_us, 400 * MS);
    report(&view, false, 300 * MS, T0, T0 + 6 * MS); /* an older one, told again */
    assert_int_equal(facts_at(&view, T0 + 2 * S).expected_latency_us, 400 * MS);
}

static void silence_in_flight_tells_of_a_delay(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_OK, T0, T0 + 2 * MS);
    processor_view_sent(&view, T0 + 2 * MS);
    int64_t oldest_us = T0 + 2 * MS;
    assert_int_equal(processor_view_facts(&view, T0 + 502 * MS, oldest_us).expected_latency_us,
                     500 * MS);
    round_trip(&view, PROCESSOR_OK, T0 + 502 * MS, T0 + 504 * MS); /* others return: it is lost */
    assert_int_equal(processor_view_facts(&view, T0 + 504 * MS, oldest_us).expected_latency_us,
                     2 * MS);
}

/* ---- 429 ---- */

static void refusal_holds_new_payments_back_for_a_moment(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    processor_view_sent(&view, T0);
    round_trip(&view, PROCESSOR_BUSY, T0, T0 + MS);
    struct routing_processor held = facts_at(&view, T0 + 2 * MS);
    assert_int_equal(held.in_flight, 1);
    assert_int_equal(held.limit, 1);
    struct routing_processor after = facts_at(&view, T0 + MS + PROCESSOR_VIEW_BUSY_HOLD_US);
    assert_int_equal(after.limit, CONCURRENCY_LIMIT_START / 2);
    assert_false(after.failing);
}

/* ---- overtaken ---- */

/* Seven payments swallowed, as many as fit but for one; then this one is answered. */
static struct processor_view seven_swallowed(void)
{
    struct processor_view view = fresh();
    for (int i = 0; i < 7; i++)
        processor_view_sent(&view, T0);
    round_trip(&view, PROCESSOR_OK, T0 + 2 * S, T0 + 2 * S + MS);
    assert_true(T0 < view.overtaken_before_us);
    processor_view_overtaken(&view, 7);
    return view;
}

static void overtaken_payments_leave_room(void **state)
{
    (void)state;
    struct processor_view view = seven_swallowed();
    struct routing_processor facts = facts_at(&view, T0 + 3 * S);
    assert_int_equal(view.in_flight, 7);
    assert_int_equal(facts.in_flight, 0);
    assert_true(facts.limit >= CONCURRENCY_LIMIT_START);
}

static void time_out_of_an_overtaken_payment_is_no_evidence(void **state)
{
    (void)state;
    struct processor_view view = seven_swallowed();
    int limit = facts_at(&view, T0 + 35 * S).limit;
    processor_view_answered(&view, PROCESSOR_UNKNOWN, T0, T0 + 35 * S);
    processor_view_overtaken(&view, 6);
    struct routing_processor facts = facts_at(&view, T0 + 35 * S);
    assert_false(facts.failing);
    assert_int_equal(facts.limit, limit);
    assert_int_equal(processor_view_news(&view).last_failure_ms, 0);
    /* One that nobody has overtaken is. */
    round_trip(&view, PROCESSOR_UNKNOWN, T0 + 34 * S, T0 + 36 * S);
    assert_true(facts_at(&view, T0 + 36 * S).failing);
}

static void late_answer_of_a_sleeper_is_a_sign_of_life_alone(void **state)
{
    (void)state;
    struct processor_view view = seven_swallowed();
    int64_t latency_us = view.latency_us;
    round_trip(&view, PROCESSOR_FAILING, T0 + 3 * S, T0 + 3 * S + MS);
    assert_true(facts_at(&view, T0 + 4 * S).failing);
    processor_view_answered(&view, PROCESSOR_OK, T0, T0 + 4 * S);
    assert_false(facts_at(&view, T0 + 4 * S).failing);
    assert_true(view.latency_us <= latency_us);
}

static void long_turns_do_not_lower_the_base(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    int64_t now_us = T0;
    for (int i = 0; i < 100; i++) {
        round_trip(&view, PROCESSOR_OK, now_us, now_us + 10 * MS);
        processor_view_took(&view, 9 * MS);
        now_us += 20 * MS;
    }
    assert_int_equal(view.limit.base_us, 10 * MS);
}

/* As many at a time as may be: answered after 10 ms, and after latency_us if they are more than a
 * few. */
static int limit_after_turns_of(int64_t turn_us, int64_t latency_us)
{
    struct processor_view view = fresh();
    int64_t now_us = T0;
    for (int round = 0; round < 200; round++) {
        int crowd = facts_at(&view, now_us).limit;
        for (int i = 0; i < crowd; i++)
            processor_view_sent(&view, now_us);
        for (int i = 0; i < crowd; i++)
            processor_view_answered(&view, PROCESSOR_OK, now_us,
                                    now_us +
                                        (crowd <= CONCURRENCY_LIMIT_START ? 10 * MS : latency_us));
        processor_view_took(&view, turn_us);
        now_us += 20 * MS;
    }
    return facts_at(&view, now_us).limit;
}

static void our_own_turns_are_no_queue_at_the_processor(void **state)
{
    (void)state;
    assert_true(limit_after_turns_of(100, 10 * MS) >= 128);
    assert_true(limit_after_turns_of(100, 18 * MS) < 32);
    assert_true(limit_after_turns_of(4 * MS, 18 * MS) >= 128);
    assert_true(limit_after_turns_of(9 * MS, 10 * MS) >= 128);
}

static void dislike_of_one_payment_is_no_evidence(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    round_trip(&view, PROCESSOR_OK, T0, T0 + MS);
    int limit = facts_at(&view, T0 + S).limit;
    round_trip(&view, PROCESSOR_DISLIKES, T0 + S, T0 + S + MS);
    struct routing_processor facts = facts_at(&view, T0 + 2 * S);
    assert_false(facts.failing);
    assert_int_equal(facts.in_flight, 0);
    assert_int_equal(facts.limit, limit);
    assert_int_equal(processor_view_news(&view).last_failure_ms, 0);
}

/* Slow is not lost: the margin grows with what answers take. */
static void slow_payments_are_not_overtaken_by_their_like(void **state)
{
    (void)state;
    struct processor_view view = fresh();
    for (int i = 0; i < 100; i++)
        round_trip(&view, PROCESSOR_OK, T0 + i * S, T0 + i * S + 3 * S);
    assert_true(view.overtaken_before_us < T0 + 99 * S - 10 * S);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_known_is_not_failing),
        cmocka_unit_test(what_each_answer_says),
        cmocka_unit_test(one_failure_is_enough_and_one_success_ends_it),
        cmocka_unit_test(success_of_another_lane_counts_if_it_is_later),
        cmocka_unit_test(failure_of_another_lane_counts_if_it_is_later),
        cmocka_unit_test(report_newer_than_the_last_failure_ends_it),
        cmocka_unit_test(old_report_does_not_stop_a_processor_that_answers),
        cmocka_unit_test(recovery_starts_from_a_small_limit),
        cmocka_unit_test(probes_are_spaced_by_how_long_it_has_been_failing),
        cmocka_unit_test(own_probe_excludes_another_until_it_is_answered),
        cmocka_unit_test(probe_that_tells_nothing_is_spaced_too),
        cmocka_unit_test(probe_of_another_lane_excludes_until_it_is_stale),
        cmocka_unit_test(recovery_ends_the_probe),
        cmocka_unit_test(latency_is_averaged_and_replaced_after_a_silence),
        cmocka_unit_test(newer_report_stands_in_after_a_silence),
        cmocka_unit_test(silence_in_flight_tells_of_a_delay),
        cmocka_unit_test(refusal_holds_new_payments_back_for_a_moment),
        cmocka_unit_test(overtaken_payments_leave_room),
        cmocka_unit_test(time_out_of_an_overtaken_payment_is_no_evidence),
        cmocka_unit_test(late_answer_of_a_sleeper_is_a_sign_of_life_alone),
        cmocka_unit_test(slow_payments_are_not_overtaken_by_their_like),
        cmocka_unit_test(long_turns_do_not_lower_the_base),
        cmocka_unit_test(our_own_turns_are_no_queue_at_the_processor),
        cmocka_unit_test(dislike_of_one_payment_is_no_evidence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
