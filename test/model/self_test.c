/* Each rule broken in turn, within bounds just large enough to miss it. */
#include <ctype.h>
#include <stdio.h>

#include "test/model/explore.h"
#include "test/model/rules.h"

static const struct model_bounds
    ONE_ID = {.ids = 1, .records = 1, .rings = 1, .copies = 2, .crashes = 2, .times = 2},
    TWO_IDS = {.ids = 2, .records = 2, .rings = 1, .copies = 1, .crashes = 2, .times = 1},
    TWO_RECORDS = {.ids = 1, .records = 2, .rings = 1, .copies = 2, .times = 1},
    TURNS = {.ids = 2,
             .records = 1,
             .rings = 1,
             .copies = 1,
             .crashes = 1,
             .purges = 1,
             .times = 1,
             .foreign = 1,
             .false_positives = 1},
    RECYCLE = {.ids = 1, .records = 1, .rings = 1, .copies = 2, .crashes = 1, .times = 2},
    HORIZON = {.ids = 1,
               .records = 1,
               .rings = 1,
               .copies = 2,
               .crashes = 1,
               .rotations = 2,
               .times = 2,
               .foreign = 1},
    BOOKS = {.ids = 1,
             .records = 1,
             .rings = 1,
             .copies = 2,
             .conflicts = 1,
             .crashes = 1,
             .times = 2,
             .foreign = 1,
             .false_positives = 1},
    DECIDED =
        {.ids = 1, .records = 1, .rings = 1, .copies = 2, .crashes = 1, .times = 1, .decisions = 2},
    COLD_SYNC = {.ids = 1,
                 .records = 1,
                 .rings = 1,
                 .copies = 2,
                 .crashes = 1,
                 .rotations = 2,
                 .times = 1,
                 .cold = 1,
                 .sync = 1,
                 .sleepers = 1},
    COLD_BOOKS = {.ids = 1,
                  .records = 1,
                  .rings = 1,
                  .copies = 1,
                  .crashes = 1,
                  .times = 1,
                  .foreign = 1,
                  .cold = 1,
                  .sync = 1},
    COLD_SHORT = {.ids = 1,
                  .records = 1,
                  .rings = 1,
                  .copies = 2,
                  .crashes = 1,
                  .rotations = 2,
                  .times = 2,
                  .cold = 1,
                  .sync = 1,
                  .journal_forgets = 1},
    COLD_ASYNC =
        {.ids = 1, .records = 1, .rings = 1, .copies = 2, .crashes = 1, .times = 2, .cold = 1},
    PURGE = {.ids = 1,
             .records = 1,
             .rings = 1,
             .copies = 2,
             .crashes = 1,
             .purges = 2,
             .times = 1,
             .foreign = 1,
             .false_positives = 1};

static const struct {
    const struct model_bounds *bounds;
    const char *name, *words;
} rules[RULES] = {
#define X(name, bounds, words) [RULE_##name] = {&bounds, #name, words},
    MODEL_RULES(X)
#undef X
};

static char dashed(char c)
{
    return c == '_' ? '-' : (char)tolower(c);
}

static bool is_name(enum model_rule rule, const char *text)
{
    const char *name = rules[rule].name;
    while (*name && dashed(*name) == *text)
        name++, text++;
    return !*name && !*text;
}

enum model_rule model_rule_named(const char *name)
{
    enum model_rule rule = RULE_NONE + 1;
    while (rule < RULES && !is_name(rule, name))
        rule++;
    return rule;
}

void model_rules_help(FILE *file)
{
    for (enum model_rule rule = RULE_NONE + 1; rule < RULES; rule++) {
        fprintf(file, "  ");
        for (const char *c = rules[rule].name; *c; c++)
            fputc(dashed(*c), file);
        fprintf(file, "\n      %s\n", rules[rule].words);
    }
}

static bool is_found(enum model_rule rule, FILE *trace)
{
    struct model_result result;
    model_bounds = *rules[rule].bounds;
    model_rule_off = rule;
    model_explore(&result, trace);
    model_rule_off = RULE_NONE;
    if (result.broken)
        printf("ok %d - without %s: found in %u moves\n# %s\n", rule, rules[rule].words,
               result.moves, result.broken);
    else
        printf("not ok %d - without %s: nothing found in %lu states\n", rule, rules[rule].words,
               result.states);
    return result.broken;
}

/* Nothing is found where nothing is broken: else the findings above would mean nothing. */
static bool is_sound(int number, const char *name, const struct model_bounds *bounds)
{
    struct model_result result;
    model_bounds = *bounds;
    model_explore(&result, stdout);
    printf("%s %d - with every rule, in the bounds %s: %s\n", result.broken ? "not ok" : "ok",
           number, name, result.broken ? result.broken : "nothing is found");
    return !result.broken;
}

int model_self_test(FILE *trace)
{
    static const struct {
        const char *name;
        const struct model_bounds *bounds;
    } sound[] = {
        {"ONE_ID", &ONE_ID},        {"TWO_IDS", &TWO_IDS},       {"TWO_RECORDS", &TWO_RECORDS},
        {"TURNS", &TURNS},          {"RECYCLE", &RECYCLE},       {"HORIZON", &HORIZON},
        {"BOOKS", &BOOKS},          {"PURGE", &PURGE},           {"DECIDED", &DECIDED},
        {"COLD_SYNC", &COLD_SYNC},  {"COLD_ASYNC", &COLD_ASYNC}, {"COLD_BOOKS", &COLD_BOOKS},
        {"COLD_SHORT", &COLD_SHORT}};
    const int count = sizeof sound / sizeof sound[0];
    int missed = 0, unsound = 0;
    printf("1..%d\n", RULES - 1 + count);
    for (enum model_rule rule = RULE_NONE + 1; rule < RULES; rule++)
        missed += !is_found(rule, trace);
    for (int i = 0; i < count; i++)
        unsound += !is_sound(RULES + i, sound[i].name, sound[i].bounds);
    printf("# %d of %d rules found to be needed\n", RULES - 1 - missed, RULES - 1);
    return missed + unsound > 0;
}
