/* Requests that are answered later, first in first out: all of one queue wait equally long, so the
 * first is always the next. */
#ifndef TEST_BENCH_BARE_WAITING_H
#define TEST_BENCH_BARE_WAITING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct waiter {
    int64_t due_ns, since_ns;
    uint32_t place, life; /* which client, and which of those who had its place */
};

/* A ring that grows. All zeros is an empty one. */
struct waiting {
    struct waiter *ring;
    size_t room, head, count;
};

/* Queue a copy. False if there is no memory. */
bool waiting_push(struct waiting *waiting, const struct waiter *waiter);

/* The first one, or NULL; valid until the next change. */
const struct waiter *waiting_first(const struct waiting *waiting);

/* There must be one. */
void waiting_drop_first(struct waiting *waiting);

#endif
