/* One payment processor: its configuration, its books and what it is doing.
 *
 * Everything is in one struct that one thread owns. Times are wall clock
 * microseconds since the Unix epoch where they end in _at_us, lengths are
 * milliseconds where they end in _ms.
 */
#ifndef PROCESSOR_PROCESSOR_H
#define PROCESSOR_PROCESSOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test/processor/amount.h"
#include "test/processor/books.h"
#include "test/processor/faults.h"
#include "test/processor/server.h"
#include "test/processor/timers.h"

enum { TOKEN_SIZE = 128, STATUS_END = 600, HEALTH_TIMES_KEPT = 4096, HEALTH_QUEUE_MAX = 2 };

struct visit;

struct visit_queue {
    struct visit *first, *last;
    int64_t count;
};

/* Requests that look at or change the books: so many run, so many wait, the
 * rest is refused. */
struct concurrency {
    int64_t running_max; /* 800 */
    int64_t queued_max;  /* 500 */
    int64_t running;
    struct visit_queue queue;
    bool pumping;
};

/* The part of the work that only so many can do at once, as with a database
 * pool. concurrent_max 0 = no such limit. */
struct capacity {
    int64_t concurrent_max;
    int64_t service_ms;
    int64_t busy;
    struct visit_queue queue;
    bool pumping;
};

/* Service-health: one answer per window, two calls wait for the next ones. */
struct health {
    int64_t window_ms;     /* 5000 */
    int64_t window_end_us; /* monotonic clock; 0 = no call yet */
    bool used;
    struct exchange queue[HEALTH_QUEUE_MAX];
    size_t queued;
    struct timer turn;
};

/* Since the start or the last reset. */
struct stats {
    int64_t posts;
    int64_t lookups;
    int64_t max_running;
    int64_t statuses[STATUS_END]; /* of POST /payments, as answered */
    int64_t broken;               /* POSTs answered by a reset or by raw bytes */
    int64_t health_calls;
    int64_t health_answered;
    int64_t health_refused;
    int64_t health_at_us[HEALTH_TIMES_KEPT]; /* call n is at n % HEALTH_TIMES_KEPT */
};

struct processor {
    const char *name;
    char token[TOKEN_SIZE];
    struct fee fee;
    int64_t delay_ms;
    bool failing;
    struct concurrency concurrency;
    struct capacity capacity;
    struct health health;
    int64_t close_idle_ms; /* -1 = never */
    struct faults faults;
    struct stats stats;
    struct timers timers;
    struct books *books;
    struct server *server;
};

/* routes.c: answer one request, or have it answered later. */
void routes_handle(void *processor, struct request *request);

/* payments.c: POST /payments and GET /payments/{id}. */
void payments_post(struct processor *processor, struct request *request);
void payments_get(struct processor *processor, struct request *request,
                  const struct payment_id *id);

/* payments.c: the capacity was changed; whoever may go on goes on. */
void payments_capacity_changed(struct processor *processor);

/* health.c: GET /payments/service-health. */
void health_get(struct processor *processor, struct request *request);

#endif
