/* One question to all three at the same moment: what was settled in this window? */
#ifndef TEST_BENCH_RINHA_INQUIRY_H
#define TEST_BENCH_RINHA_INQUIRY_H

#include "test/bench/rinha/caller.h"
#include "test/bench/rinha/settings.h"
#include "test/bench/rinha/tally.h"

#include <stdbool.h>
#include <stdint.h>

struct book {
    int64_t requests;
    int64_t cents;
    double fee; /* a share of the amount; only processors tell it */
};

/* What they said. A call that failed counts as zeros. */
struct answers {
    struct book processors[PROCESSORS]; /* by themselves */
    struct book gateway[PROCESSORS];    /* by the gateway */
    bool processor_failed[PROCESSORS], gateway_failed;
};

struct inquiry {
    struct caller callers[PROCESSORS + 1]; /* the gateway's is the last */
    const struct settings *settings;
    struct tally *tally;
    unsigned outstanding;
    struct answers answers; /* complete when nothing is outstanding */
};

void inquiry_init(struct inquiry *inquiry, const struct settings *settings, struct tally *tally,
                  int epoll);

/* Ask; nothing may be outstanding. The window is inclusive, wall clock, cut to milliseconds. */
void inquiry_begin(struct inquiry *inquiry, int64_t due_ns, int64_t from_us, int64_t to_us);

void inquiry_look_at_time(struct inquiry *inquiry, int64_t now_ns);

/* |difference with the default + difference with the fallback|, in payments, as the rules of the
 * challenge tell it. */
int64_t inquiry_inconsistency(const struct answers *answers);

/* |difference with the default| + |difference with the fallback|: nothing can cancel out. */
int64_t inquiry_inconsistency_each(const struct answers *answers);

void inquiry_free(struct inquiry *inquiry);

#endif
