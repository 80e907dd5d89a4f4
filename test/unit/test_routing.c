#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "worker/routing.h"

enum { MS = 1000, S = 1000000 };

/* ---- the decisions, one line each ---- */

/* clang-format off */
#define UP(latency)             {true, false, (latency), 0, 8, 0}
#define FULL(latency)           {true, false, (latency), 8, 8, 0}
#define DOWN(probe_after)       {true, true, 10 * MS, 0, 8, (probe_after)}
#define DOWN_FULL               {true, true, 10 * MS, 8, 8, 0}
#define BARRED                  {false, false, 10 * MS, 0, 8, 0}
#define HELD                    {true, false, 10 * MS, 0, 0, 0}
#define SEND(where, reason)     {ROUTING_SEND_##where, ROUTING_##reason, false, false, 0}
#define PROBE(where)            {ROUTING_SEND_##where, ROUTING_PROBE, true, false, 0}
#define WAIT(reason, ask)       {ROUTING_WAIT, ROUTING_##reason, false, true, (ask)}
#define WAIT_ALONE(reason, ask) {ROUTING_WAIT, ROUTING_##reason, false, false, (ask)}
/* clang-format on */

struct line {
    const char *what;
    enum routing_policy policy;
    struct routing_processor processors[ROUTING_PROCESSORS];
    int64_t backlog;
    int64_t age_us;
    struct routing_decision expected;
};

static const int64_t max_ask = ROUTING_ASK_AGAIN_MAX_US;

/* The deadline is 60 s, so the margin is 7.5 s. */
static const struct line lines[] = {
#define ONLY ROUTING_DEFAULT_ONLY
    {"only: up", ONLY, {UP(10 * MS), UP(MS)}, 1, 0, SEND(DEFAULT, CHEAPEST)},
    {"only: slow beyond the deadline",
     ONLY,
     {UP(99 * S), UP(MS)},
     9,
     70 * S,
     SEND(DEFAULT, CHEAPEST)},
    {"only: full", ONLY, {FULL(MS), UP(MS)}, 1, 0, WAIT(FULL, max_ask)},
    {"only: held after a 429", ONLY, {HELD, UP(MS)}, 1, 0, WAIT(FULL, max_ask)},
    {"only: down, probe due", ONLY, {DOWN(0), UP(MS)}, 1, 0, PROBE(DEFAULT)},
    {"only: down, probe later", ONLY, {DOWN(20 * MS), UP(MS)}, 1, 0, WAIT(FAILING, 20 * MS)},
    {"only: down, no room for a probe", ONLY, {DOWN_FULL, UP(MS)}, 1, 0, WAIT(FAILING, max_ask)},
    {"only: down past the deadline",
     ONLY,
     {DOWN(9 * S), UP(MS)},
     9,
     90 * S,
     WAIT(FAILING, max_ask)},
    {"only: barred", ONLY, {BARRED, UP(MS)}, 1, 90 * S, WAIT(NOT_USABLE, max_ask)},
#undef ONLY
#define BY ROUTING_DEADLINE
    {"both up", BY, {UP(10 * MS), UP(MS)}, 1, 0, SEND(DEFAULT, CHEAPEST)},
    {"default slow but in time", BY, {UP(5 * S), UP(MS)}, 1, 54 * S, SEND(DEFAULT, CHEAPEST)},
    {"default too slow for this one", BY, {UP(5 * S), UP(MS)}, 1, 56 * S, SEND(FALLBACK, PRESSED)},
    {"default too slow for this one, long before its deadline",
     BY,
     {UP(50 * S), UP(MS)},
     1,
     20 * S,
     SEND(FALLBACK, PRESSED)},
    {"default full, all in time", BY, {FULL(MS), UP(MS)}, 9, 0, WAIT(FULL, max_ask)},
    {"default full, backlog too long, fallback could still take it",
     BY,
     {FULL(2 * S), UP(MS)},
     1000,
     0,
     WAIT(FULL, max_ask)},
    {"default full, backlog too long, time for help",
     BY,
     {FULL(2 * S), UP(10 * MS)},
     1000,
     52 * S,
     SEND(FALLBACK, PRESSED)},
    {"default has room, in time: it works on while the fallback helps",
     BY,
     {UP(2 * S), UP(10 * MS)},
     1000,
     52 * S,
     SEND(DEFAULT, CHEAPEST)},
    {"default down, probe due", BY, {DOWN(0), UP(MS)}, 1, 0, PROBE(DEFAULT)},
    {"default down, slack left", BY, {DOWN(20 * MS), UP(MS)}, 1, 50 * S, WAIT(FAILING, 20 * MS)},
    {"default down, slack ends soon",
     BY,
     {DOWN(S), UP(MS)},
     1,
     52500 * MS - 11 * MS,
     WAIT(FAILING, 10 * MS)},
    {"default down, slack ends at once",
     BY,
     {DOWN(S), UP(MS)},
     1,
     52500 * MS - MS - 1,
     WAIT(FAILING, ROUTING_ASK_AGAIN_MIN_US)},
    {"default down, slack over",
     BY,
     {DOWN(S), UP(MS)},
     1,
     52500 * MS - MS,
     SEND(FALLBACK, PRESSED)},
    {"default down, a long backlog ends the slack earlier",
     BY,
     {DOWN(S), UP(100 * MS)},
     1600,
     33 * S,
     SEND(FALLBACK, PRESSED)},
    {"the same age, a short backlog",
     BY,
     {DOWN(S), UP(100 * MS)},
     16,
     33 * S,
     WAIT(FAILING, max_ask)},
    {"default down, slack over, its probe due", BY, {DOWN(0), UP(MS)}, 1, 55 * S, PROBE(DEFAULT)},
    {"default down, late: no more probing with it",
     BY,
     {DOWN(0), UP(MS)},
     1,
     61 * S,
     SEND(FALLBACK, PRESSED)},
    {"default down, fallback full", BY, {DOWN(S), FULL(MS)}, 1, 55 * S, WAIT(FULL, max_ask)},
    {"default down, its probe due, late, fallback full",
     BY,
     {DOWN(0), FULL(MS)},
     1,
     61 * S,
     WAIT_ALONE(FULL, max_ask)},
    {"default barred", BY, {BARRED, UP(MS)}, 1, 0, SEND(FALLBACK, PRESSED)},
    {"fallback barred, default down", BY, {DOWN(S), BARRED}, 1, 59 * S, WAIT(FAILING, max_ask)},
    {"fallback barred, default down, late", BY, {DOWN(0), BARRED}, 1, 61 * S, PROBE(DEFAULT)},
    {"both barred", BY, {BARRED, BARRED}, 1, 61 * S, WAIT(NOT_USABLE, max_ask)},
    {"default barred, fallback down", BY, {BARRED, DOWN(5 * MS)}, 1, 0, WAIT(FAILING, 5 * MS)},
    {"default barred, fallback down, probe due", BY, {BARRED, DOWN(0)}, 1, 0, PROBE(FALLBACK)},
    {"both down, slack left: default's probe", BY, {DOWN(0), DOWN(0)}, 1, 0, PROBE(DEFAULT)},
    {"both down, slack left: not the fallback's",
     BY,
     {DOWN(30 * MS), DOWN(0)},
     1,
     0,
     WAIT(FAILING, 30 * MS)},
    {"both down, slack over: default's first", BY, {DOWN(0), DOWN(0)}, 1, 58 * S, PROBE(DEFAULT)},
    {"both down, slack over: then the fallback's",
     BY,
     {DOWN(S), DOWN(0)},
     1,
     58 * S,
     PROBE(FALLBACK)},
    {"both down, late: then the fallback's", BY, {DOWN(S), DOWN(0)}, 1, 70 * S, PROBE(FALLBACK)},
    {"both down, no probe due", BY, {DOWN(S), DOWN(S)}, 1, 70 * S, WAIT(FAILING, max_ask)},
    {"late: default quicker", BY, {UP(MS), UP(2 * MS)}, 1, 61 * S, SEND(DEFAULT, CHEAPEST)},
    {"late: a tie goes to the cheaper", BY, {UP(MS), UP(MS)}, 1, 61 * S, SEND(DEFAULT, CHEAPEST)},
    {"late: fallback quicker", BY, {UP(2 * MS), UP(MS)}, 1, 61 * S, SEND(FALLBACK, PRESSED)},
    {"late: default full, fallback helps with the backlog",
     BY,
     {FULL(10 * MS), UP(15 * MS)},
     80,
     61 * S,
     SEND(FALLBACK, PRESSED)},
    {"late: default full, still quicker for all",
     BY,
     {FULL(MS), UP(S)},
     80,
     61 * S,
     WAIT(FULL, max_ask)},
    {"late: fallback full and quick, default slow; a younger one may take it",
     BY,
     {UP(30 * S), FULL(MS)},
     2,
     61 * S,
     WAIT_ALONE(FULL, max_ask)},
#undef BY
};

static struct routing_facts facts_of(const struct line *line)
{
    return (struct routing_facts){
        .processors = {line->processors[0], line->processors[1]},
        .fee_basis_points = {ROUTING_DEFAULT_FEE_BASIS_POINTS, ROUTING_FALLBACK_FEE_BASIS_POINTS},
        .backlog = line->backlog,
        .age_us = line->age_us,
        .deadline_us = 60 * S,
    };
}

static void every_line_of_the_table(void **state)
{
    (void)state;
    int wrong = 0;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        struct routing_facts facts = facts_of(&lines[i]);
        struct routing_decision got = routing_decide(lines[i].policy, &facts);
        const struct routing_decision *want = &lines[i].expected;
        if (got.action == want->action && got.reason == want->reason &&
            got.is_probe == want->is_probe && got.younger_wait == want->younger_wait &&
            got.ask_again_us == want->ask_again_us)
            continue;
        print_error("%s: action %d reason %s probe %d younger_wait %d ask %lld\n", lines[i].what,
                    (int)got.action, routing_reason_name(got.reason), got.is_probe,
                    got.younger_wait, (long long)got.ask_again_us);
        wrong++;
    }
    assert_int_equal(wrong, 0);
}

static void cheaper_is_a_matter_of_fees_not_of_numbers(void **state)
{
    (void)state;
    struct routing_facts facts = {
        .processors = {UP(MS), UP(10 * MS)},
        .fee_basis_points = {1500, 500},
        .backlog = 1,
        .deadline_us = 60 * S,
    };
    assert_int_equal(routing_decide(ROUTING_DEADLINE, &facts).action, ROUTING_SEND_FALLBACK);
    assert_int_equal(routing_decide(ROUTING_DEFAULT_ONLY, &facts).action, ROUTING_SEND_DEFAULT);
}

/* ---- what holds for all facts ---- */

static uint64_t random_state;

static int64_t random_below(int64_t bound)
{
    random_state ^= random_state << 13; /* xorshift64 */
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (int64_t)(random_state % (uint64_t)bound);
}

static int64_t random_time(void)
{
    static const int64_t scales[] = {1, MS, 100 * MS, S, 10 * S, 100 * S};
    return random_below(scales[random_below(6)]);
}

static struct routing_processor random_processor(void)
{
    int limit = (int)random_below(random_below(2) ? 6 : 300);
    return (struct routing_processor){
        .usable = random_below(8) != 0,
        .failing = random_below(2) != 0,
        .expected_latency_us = random_time(),
        .in_flight = (int)random_below(limit + 3),
        .limit = limit,
        .probe_after_us = random_below(2) ? 0 : random_time(),
    };
}

static struct routing_facts random_facts(void)
{
    return (struct routing_facts){
        .processors = {random_processor(), random_processor()},
        .fee_basis_points = {ROUTING_DEFAULT_FEE_BASIS_POINTS, ROUTING_FALLBACK_FEE_BASIS_POINTS},
        .backlog = 1 + random_below(random_below(2) ? 10 : 100000),
        .age_us = random_below(70 * S),
        .deadline_us = random_below(4) ? 60 * S : 1 + random_below(70 * S),
    };
}

static int64_t all_settled_us(const struct routing_processor *p, int64_t backlog)
{
    int64_t limit = p->limit > 0 ? p->limit : 1, waves = 0;
    for (int64_t left = p->in_flight + backlog; left > 0 && waves < 1000000; left -= limit)
        waves++;
    return waves * p->expected_latency_us;
}

static void check_send(enum routing_policy policy, const struct routing_facts *facts,
                       struct routing_decision decision)
{
    const struct routing_processor *to = &facts->processors[decision.action];
    assert_true(to->usable);
    assert_true(to->in_flight < to->limit);
    assert_int_equal(to->failing, decision.is_probe);
    assert_int_equal(decision.is_probe, decision.reason == ROUTING_PROBE);
    if (to->failing)
        assert_true(to->probe_after_us == 0);
    assert_int_equal(decision.ask_again_us, 0);
    if (decision.action != ROUTING_SEND_FALLBACK)
        return;
    assert_int_equal(policy, ROUTING_DEADLINE);
    const struct routing_processor *cheap = &facts->processors[ROUTING_DEFAULT];
    if (cheap->usable && !cheap->failing && facts->age_us < facts->deadline_us)
        assert_true(facts->age_us + all_settled_us(cheap, facts->backlog) > facts->deadline_us);
}

static void check_wait(enum routing_policy policy, const struct routing_facts *facts,
                       struct routing_decision decision)
{
    assert_false(decision.is_probe);
    assert_in_range(decision.ask_again_us, ROUTING_ASK_AGAIN_MIN_US, ROUTING_ASK_AGAIN_MAX_US);
    if (!decision.younger_wait)
        return;
    struct routing_facts younger = *facts;
    younger.age_us = random_below(facts->age_us + 1);
    younger.backlog = 1 + random_below(facts->backlog);
    assert_int_equal(routing_decide(policy, &younger).action, ROUTING_WAIT);
}

/* Neither processor may be idle, healthy and quick enough while a payment misses its deadline. */
static void check_late(enum routing_policy policy, const struct routing_facts *facts,
                       struct routing_decision decision)
{
    if (policy != ROUTING_DEADLINE || facts->age_us < facts->deadline_us)
        return;
    for (int i = 0; i < ROUTING_PROCESSORS && decision.action != ROUTING_WAIT; i++) {
        const struct routing_processor *p = &facts->processors[i];
        if (p->usable && !p->failing && p->in_flight < p->limit)
            assert_true(facts->processors[decision.action].expected_latency_us <=
                        p->expected_latency_us);
    }
}

static void what_holds_for_all_facts(void **state)
{
    (void)state;
    random_state = 20250824;
    int sends[ROUTING_POLICIES][ROUTING_WAIT + 1] = {0};
    for (int i = 0; i < 400000; i++) {
        struct routing_facts facts = random_facts();
        enum routing_policy policy = (enum routing_policy)random_below(ROUTING_POLICIES);
        struct routing_decision decision = routing_decide(policy, &facts);
        sends[policy][decision.action]++;
        if (decision.action == ROUTING_WAIT)
            check_wait(policy, &facts, decision);
        else
            check_send(policy, &facts, decision);
        check_late(policy, &facts, decision);
    }
    assert_int_equal(sends[ROUTING_DEFAULT_ONLY][ROUTING_SEND_FALLBACK], 0);
    assert_true(sends[ROUTING_DEADLINE][ROUTING_SEND_FALLBACK] > 10000); /* the facts do vary */
    assert_true(sends[ROUTING_DEADLINE][ROUTING_SEND_DEFAULT] > 10000);
    assert_true(sends[ROUTING_DEADLINE][ROUTING_WAIT] > 10000);
}

/* A healthy default with room is never left waiting for, and a payment never waits past its
 * deadline's margin for a failing default while a healthy fallback has room. */
static void no_payment_waits_in_vain(void **state)
{
    (void)state;
    random_state = 4711;
    for (int i = 0; i < 200000; i++) {
        struct routing_facts facts = random_facts();
        const struct routing_processor *c = &facts.processors[ROUTING_DEFAULT];
        const struct routing_processor *d = &facts.processors[ROUTING_FALLBACK];
        bool waits = routing_decide(ROUTING_DEADLINE, &facts).action == ROUTING_WAIT;
        int64_t slack_us = facts.deadline_us - facts.age_us;
        if (c->usable && !c->failing && c->in_flight < c->limit && slack_us > 0 &&
            c->expected_latency_us <= slack_us)
            assert_false(waits);
        if (c->failing && d->usable && !d->failing && d->in_flight < d->limit &&
            slack_us <= facts.deadline_us / ROUTING_MARGIN_PART)
            assert_false(waits);
    }
}

/* ---- names ---- */

static void names_are_parsed_back(void **state)
{
    (void)state;
    for (int i = 0; i < ROUTING_POLICIES; i++) {
        enum routing_policy policy = ROUTING_POLICIES;
        assert_true(routing_policy_parse(routing_policy_name((enum routing_policy)i), &policy));
        assert_int_equal(policy, i);
    }
    for (int i = 0; i < ROUTING_REASONS; i++)
        assert_non_null(routing_reason_name((enum routing_reason)i));
    assert_null(routing_policy_name(ROUTING_POLICIES));
    assert_null(routing_reason_name(ROUTING_REASONS));
}

static void other_names_are_refused(void **state)
{
    (void)state;
    enum routing_policy policy = ROUTING_DEADLINE;
    assert_false(routing_policy_parse("", &policy));
    assert_false(routing_policy_parse("Deadline", &policy));
    assert_false(routing_policy_parse("default", &policy));
    assert_false(routing_policy_parse("default-only ", &policy));
    assert_int_equal(policy, ROUTING_DEADLINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_line_of_the_table),
        cmocka_unit_test(cheaper_is_a_matter_of_fees_not_of_numbers),
        cmocka_unit_test(what_holds_for_all_facts),
        cmocka_unit_test(no_payment_waits_in_vain),
        cmocka_unit_test(names_are_parsed_back),
        cmocka_unit_test(other_names_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
