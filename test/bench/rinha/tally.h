/* What came of all the calls of a run. */
#ifndef TEST_BENCH_RINHA_TALLY_H
#define TEST_BENCH_RINHA_TALLY_H

#include "test/bench/rinha/caller.h"
#include "test/lib/client/histogram.h"

#include <stdint.h>

struct tally {
    struct histogram all;             /* every successful call of the test: what the bonus is for */
    struct histogram posts;           /* successful posts of payments */
    struct histogram with_connect;    /* the same posts, connecting included */
    struct histogram connects;        /* of the posts that had to connect, connecting alone */
    struct histogram lag;             /* of posts: how late we ourselves began */
    uint64_t accepted;                /* posts answered 2xx */
    uint64_t refused;                 /* posts with any other answer */
    uint64_t failures[CALL_FAILURES]; /* posts without one; that of CALL_ANSWERED stays 0 */
};

/* A call is over. Its latency is from when it was due, without connecting: k6, whose measure the
 * bonus is for, leaves that out too. */
void tally_note(struct tally *tally, const struct caller *caller, bool is_post);

/* Posts that were not accepted. */
uint64_t tally_failures(const struct tally *tally);

#endif
