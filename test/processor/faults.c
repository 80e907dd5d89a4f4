#include "test/processor/faults.h"

#include <string.h>

static const char *const kind_names[] = {
    [FAULT_NONE] = "none",
    [FAULT_RESET_BEFORE] = "reset-before",
    [FAULT_RESET_AFTER] = "reset-after",
    [FAULT_RESET_THEN_INSERT] = "reset-then-insert",
    [FAULT_LATE] = "late",
    [FAULT_GARBAGE_BODY] = "garbage-body",
    [FAULT_GARBAGE_HTTP] = "garbage-http",
    [FAULT_SHORT] = "short",
    [FAULT_ERROR_BEFORE] = "error-before",
    [FAULT_ERROR_AFTER] = "error-after",
    [FAULT_REFUSE_429] = "refuse-429",
    [FAULT_REFUSE_400] = "refuse-400",
};

enum { KIND_COUNT = sizeof(kind_names) / sizeof(kind_names[0]) };

enum fault_kind fault_kind_of(const char *name, size_t length)
{
    for (size_t i = FAULT_NONE + 1; i < KIND_COUNT; i++)
        if (strlen(kind_names[i]) == length && memcmp(kind_names[i], name, length) == 0)
            return (enum fault_kind)i;
    return FAULT_NONE;
}

const char *fault_kind_name(enum fault_kind kind)
{
    return kind_names[kind];
}

/* splitmix64: any seed will do, neighbouring ones too. */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static bool same_target(const struct fault_rule *a, const struct fault_rule *b)
{
    return a->fault.kind == b->fault.kind && a->one_id == b->one_id &&
           (!a->one_id || memcmp(&a->id, &b->id, sizeof(a->id)) == 0);
}

static bool is_used_up(const struct fault_rule *rule)
{
    return !rule->forever && rule->left == 0;
}

/* Where the rule goes, FAULT_RULES_MAX if nowhere. Rules that are used up keep
 * their place, to be looked at, for as long as nobody else needs it. */
static size_t place_for(const struct faults *faults, const struct fault_rule *rule)
{
    for (size_t i = 0; i < faults->count; i++)
        if (same_target(&faults->rules[i], rule))
            return i;
    size_t at = faults->count;
    for (size_t i = 0; at == FAULT_RULES_MAX && i < FAULT_RULES_MAX; i++)
        if (is_used_up(&faults->rules[i]))
            return i;
    return at;
}

bool faults_put(struct faults *faults, const struct fault_rule *rule)
{
    size_t at = place_for(faults, rule);
    if (at == FAULT_RULES_MAX)
        return false;
    faults->rules[at] = *rule;
    faults->rules[at].random_state = rule->seed;
    faults->rules[at].hit_count = 0;
    if (at == faults->count)
        faults->count++;
    return true;
}

void faults_clear(struct faults *faults)
{
    faults->count = 0;
}

static bool applies(struct fault_rule *rule, const struct payment_id *id)
{
    if (is_used_up(rule))
        return false;
    if (rule->one_id && memcmp(&rule->id, id, sizeof(*id)) != 0)
        return false;
    return rule->percent >= 100 || next_random(&rule->random_state) % 100 < (uint64_t)rule->percent;
}

struct fault faults_pick(struct faults *faults, const struct payment_id *id)
{
    for (size_t i = 0; i < faults->count; i++) {
        struct fault_rule *rule = &faults->rules[i];
        if (!applies(rule, id))
            continue;
        rule->hit_count++;
        rule->left -= !rule->forever;
        return rule->fault;
    }
    return (struct fault){.kind = FAULT_NONE};
}
