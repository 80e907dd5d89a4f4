#include "test/model/bounds.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* The greatest values are what a state, or the number of an initial state, can hold. */
static const struct bound {
    const char *name;
    size_t offset;
    unsigned least, most;
    const char *words;
} table[] = {
#define BOUND(name, least, most, words)                                                            \
    {                                                                                              \
#name, offsetof(struct model_bounds, name), least, most, words                             \
    }
    BOUND(ids, 1, MODEL_IDS, "payments"),
    BOUND(records, 1, MODEL_RECORDS, "slots of the payment table"),
    BOUND(rings, 1, MODEL_RINGS, "rings, each of two slots"),
    BOUND(copies, 0, 9, "times that each payment is posted"),
    BOUND(conflicts, 0, 9, "times that the first is posted with another amount"),
    BOUND(crashes, 0, 9, "deaths of the worker, between any two stores"),
    BOUND(purges, 0, 9, "purges asked for"),
    BOUND(rotations, 0, 9, "rotations of the filter; two make it forget"),
    BOUND(times, 1, 9, "times that the clock can show, in any order"),
    BOUND(foreign, 0, 2, "payments that may stand in a book before"),
    BOUND(bad_requests, 0, 1, "processors may answer 400"),
    BOUND(false_positives, 0, 1, "the filter may claim to know any id"),
    BOUND(decisions, 0, 9, "decisions of an operator who tells the truth"),
    BOUND(cold, 0, 2, "cold starts of the journal; not together with purges or decisions"),
    BOUND(sync, 0, 1, "the journal's durability is sync, else async"),
    BOUND(journal_forgets, 0, 1, "sync: the journal forgets the ids that the filter forgets"),
    BOUND(sleepers, 0, 1, "requests may sleep for longer than the quarantine"),
    BOUND(strict, 0, 1, "the stated limits of cold starts are violations, too"),
    BOUND(early, 0, 1, "async: unknown ids are asked for before the quarantine is over"),
    BOUND(young, 0, 1, "the region may be young: books are asked first"),
#undef BOUND
};
enum { BOUNDS = sizeof table / sizeof table[0] };

static unsigned *field(struct model_bounds *bounds, const struct bound *bound)
{
    return (unsigned *)(void *)((char *)bounds + bound->offset);
}

static bool set(struct model_bounds *bounds, const char *name, size_t length, const char *value)
{
    char *end;
    errno = 0;
    unsigned long number = strtoul(value, &end, 10);
    for (unsigned i = 0; i < BOUNDS; i++)
        if (strlen(table[i].name) == length && memcmp(table[i].name, name, length) == 0 &&
            end != value && (*end == '\0' || *end == ' ') && number >= table[i].least &&
            number <= table[i].most) {
            *field(bounds, &table[i]) = (unsigned)number;
            return true;
        }
    return false;
}

bool model_bounds_parse(struct model_bounds *bounds, const char *text)
{
    while (*(text += strspn(text, " "))) {
        size_t length = strcspn(text, " ");
        const char *equals = memchr(text, '=', length);
        if (!equals || !set(bounds, text, (size_t)(equals - text), equals + 1)) {
            fprintf(stderr, "model: no such bound, or out of its range: %.*s\n", (int)length, text);
            return false;
        }
        text += length;
    }
    return true;
}

void model_bounds_print(const struct model_bounds *bounds, FILE *file)
{
    struct model_bounds copy = *bounds;
    for (unsigned i = 0; i < BOUNDS; i++)
        if (*field(&copy, &table[i]))
            fprintf(file, " %s=%u", table[i].name, *field(&copy, &table[i]));
}

void model_bounds_help(FILE *file)
{
    for (unsigned i = 0; i < BOUNDS; i++)
        fprintf(file, "  %-16s %u..%u  %s\n", table[i].name, table[i].least, table[i].most,
                table[i].words);
}
