#include "test/bench/rinha/tally.h"

static void note_post(struct tally *tally, const struct caller *caller)
{
    histogram_note(&tally->lag, caller->begun_ns - caller->due_ns);
    if (caller->connect_ns > 0)
        histogram_note(&tally->connects, caller->connect_ns);
    if (caller->failure != CALL_ANSWERED) {
        tally->failures[caller->failure]++;
    } else if (!caller_succeeded(caller)) {
        tally->refused++;
    } else {
        int64_t whole = caller->done_ns - caller->due_ns;
        tally->accepted++;
        histogram_note(&tally->posts, whole - caller->connect_ns);
        histogram_note(&tally->with_connect, whole);
    }
}

void tally_note(struct tally *tally, const struct caller *caller, bool is_post)
{
    if (caller_succeeded(caller))
        histogram_note(&tally->all, caller->done_ns - caller->due_ns - caller->connect_ns);
    if (is_post)
        note_post(tally, caller);
}

uint64_t tally_failures(const struct tally *tally)
{
    uint64_t sum = tally->refused;
    for (unsigned i = 0; i < CALL_FAILURES; i++)
        sum += tally->failures[i];
    return sum;
}
