#include "worker/routing.h"

#include <stddef.h>
#include <string.h>

static const char *const policy_names[ROUTING_POLICIES] = {
    [ROUTING_DEFAULT_ONLY] = "default-only",
    [ROUTING_DEADLINE] = "deadline",
};

static const char *const reason_names[ROUTING_REASONS] = {
    [ROUTING_CHEAPEST] = "cheapest", [ROUTING_PRESSED] = "pressed",
    [ROUTING_PROBE] = "probe",       [ROUTING_FULL] = "full",
    [ROUTING_FAILING] = "failing",   [ROUTING_NOT_USABLE] = "not-usable",
};

static bool healthy(const struct routing_processor *p)
{
    return p->usable && !p->failing;
}

static bool has_room(const struct routing_processor *p)
{
    return p->in_flight < p->limit;
}

static bool may_probe(const struct routing_processor *p)
{
    return p->usable && p->failing && p->probe_after_us <= 0 && has_room(p);
}

static int cheaper(const struct routing_facts *facts)
{
    const int *fee = facts->fee_basis_points;
    return fee[ROUTING_DEFAULT] <= fee[ROUTING_FALLBACK] ? ROUTING_DEFAULT : ROUTING_FALLBACK;
}

/* Until the last of `payments` is settled there: full processors work in waves of the limit. */
static int64_t time_to_settle(const struct routing_processor *p, int64_t payments)
{
    int64_t limit = p->limit > 0 ? p->limit : 1;
    return p->expected_latency_us * (1 + (p->in_flight + payments - 1) / limit);
}

static struct routing_decision send_to(int number, enum routing_reason reason)
{
    return (struct routing_decision){
        .action = (enum routing_action)number,
        .reason = reason,
        .is_probe = reason == ROUTING_PROBE,
    };
}

static struct routing_decision wait_for(const struct routing_processor *p, int64_t at_most_us)
{
    struct routing_decision wait = {.action = ROUTING_WAIT, .younger_wait = true};
    wait.reason = !p->usable ? ROUTING_NOT_USABLE : p->failing ? ROUTING_FAILING : ROUTING_FULL;
    wait.ask_again_us = ROUTING_ASK_AGAIN_MAX_US;
    if (wait.reason == ROUTING_FAILING && p->probe_after_us > 0 &&
        p->probe_after_us < wait.ask_again_us)
        wait.ask_again_us = p->probe_after_us;
    if (at_most_us < wait.ask_again_us)
        wait.ask_again_us = at_most_us;
    if (wait.ask_again_us < ROUTING_ASK_AGAIN_MIN_US)
        wait.ask_again_us = ROUTING_ASK_AGAIN_MIN_US;
    return wait;
}

/* This one and nobody else: send, probe or wait, as it allows. */
static struct routing_decision stay_with(const struct routing_facts *facts, int number,
                                         int64_t at_most_us)
{
    const struct routing_processor *p = &facts->processors[number];
    if (may_probe(p))
        return send_to(number, ROUTING_PROBE);
    if (healthy(p) && has_room(p))
        return send_to(number, ROUTING_CHEAPEST);
    return wait_for(p, at_most_us);
}

/* With room, what one payment takes; without, what the whole backlog takes: the one with room may
 * be the slower for this payment and still help those behind it. */
static int64_t quickness(const struct routing_facts *facts, int number)
{
    const struct routing_processor *p = &facts->processors[number];
    if (!healthy(p))
        return INT64_MAX;
    return has_room(p) ? p->expected_latency_us : time_to_settle(p, facts->backlog);
}

/* Fees do not matter any more; the cheaper one wins a tie. */
static struct routing_decision go_to_quickest(const struct routing_facts *facts, int cheap,
                                              int dear)
{
    int64_t cheap_us = quickness(facts, cheap), dear_us = quickness(facts, dear);
    int number = cheap_us <= dear_us ? cheap : dear;
    const struct routing_processor *p = &facts->processors[number];
    if (healthy(p) && has_room(p))
        return send_to(number, number == cheap ? ROUTING_CHEAPEST : ROUTING_PRESSED);
    if (healthy(p))
        return wait_for(p, INT64_MAX);
    if (may_probe(&facts->processors[dear]) && !may_probe(&facts->processors[cheap]))
        return send_to(dear, ROUTING_PROBE);
    bool only_dear = !facts->processors[cheap].usable && facts->processors[dear].usable;
    return stay_with(facts, only_dear ? dear : cheap, INT64_MAX);
}

/* The whole backlog is looked at from the age of this payment, which is the oldest: if all of it
 * can be settled within this one's slack, every younger one is in time too. That makes the decision
 * monotone: the older a payment, the less it waits. */
static struct routing_decision decide_by_deadline(const struct routing_facts *facts)
{
    int cheap = cheaper(facts);
    int dear = ROUTING_PROCESSORS - 1 - cheap;
    const struct routing_processor *c = &facts->processors[cheap], *d = &facts->processors[dear];
    int64_t slack_us = facts->deadline_us - (facts->age_us > 0 ? facts->age_us : 0);
    if (slack_us <= 0)
        return go_to_quickest(facts, cheap, dear);

    bool one_in_time = c->expected_latency_us <= slack_us;
    bool all_in_time = time_to_settle(c, facts->backlog) <= slack_us;
    if (healthy(c) && (all_in_time || (one_in_time && has_room(c))))
        return stay_with(facts, cheap, INT64_MAX);

    int64_t spare_us =
        slack_us - time_to_settle(d, facts->backlog) - facts->deadline_us / ROUTING_MARGIN_PART;
    bool worth_waiting = c->usable && (c->failing || one_in_time);
    if (worth_waiting && (!d->usable || spare_us > 0))
        return stay_with(facts, cheap, d->usable ? spare_us : INT64_MAX);
    /* A probe that fails at once costs this payment little, and it may end the expense. */
    if (may_probe(c) && one_in_time)
        return send_to(cheap, ROUTING_PROBE);
    return go_to_quickest(facts, cheap, dear);
}

struct routing_decision routing_decide(enum routing_policy policy,
                                       const struct routing_facts *facts)
{
    if (policy != ROUTING_DEADLINE)
        return stay_with(facts, ROUTING_DEFAULT, INT64_MAX);
    struct routing_decision decision = decide_by_deadline(facts);
    const struct routing_processor *c = &facts->processors[cheaper(facts)];
    if (decision.action == ROUTING_WAIT && (may_probe(c) || (healthy(c) && has_room(c))))
        decision.younger_wait = false;
    return decision;
}

const char *routing_policy_name(enum routing_policy policy)
{
    return (unsigned)policy < ROUTING_POLICIES ? policy_names[policy] : NULL;
}

bool routing_policy_parse(const char *name, enum routing_policy *policy)
{
    for (int i = 0; i < ROUTING_POLICIES; i++) {
        if (strcmp(name, policy_names[i]) == 0) {
            *policy = (enum routing_policy)i;
            return true;
        }
    }
    return false;
}

const char *routing_reason_name(enum routing_reason reason)
{
    return (unsigned)reason < ROUTING_REASONS ? reason_names[reason] : NULL;
}
