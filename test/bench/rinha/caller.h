/* Somebody who makes one HTTP call at a time and waits for its end, at most CALL_LIMIT_NS.
 *
 * Each caller has a connection of its own, opened with its first call, kept alive, and opened again
 * with the next call after it broke.
 */
#ifndef TEST_BENCH_RINHA_CALLER_H
#define TEST_BENCH_RINHA_CALLER_H

#include "test/lib/client/clock.h"
#include "test/lib/client/connection.h"
#include "test/lib/client/target.h"

#include <stdbool.h>
#include <stdint.h>

/* The public test gives up on every call of its own after 1.5 s, connecting included. */
#define CALL_LIMIT_NS (1500 * NS_PER_MS)

struct caller;

/* The call of this caller is over; it may begin another one at once. */
typedef void (*caller_done)(struct caller *caller);

enum call_failure { CALL_ANSWERED, CALL_TIMED_OUT, CALL_LOST, CALL_REFUSED, CALL_FAILURES };

struct caller {
    struct connection connection;
    const struct target *target;
    int epoll;
    caller_done done;
    void *owner;
    unsigned number; /* the owner's */

    bool out;
    char request[1024];
    size_t request_size;
    int64_t due_ns;     /* when the call should have begun */
    int64_t begun_ns;   /* when it did */
    int64_t connect_ns; /* spent on connecting, 0 if the connection was there */
    int64_t done_ns;
    enum call_failure failure;
    int status; /* of the answer, if CALL_ANSWERED */
};

/* The target must outlive the caller. */
void caller_init(struct caller *caller, int epoll, const struct target *target, caller_done done,
                 void *owner);

/* Begin a call that was due at that time. `headers` are whole lines or "", `body` may be NULL; all
 * are copied. The caller must not be out. `done` may be called before this returns. */
void caller_begin(struct caller *caller, int64_t due_ns, const char *method, const char *path,
                  const char *headers, const char *body);

/* Its connection has an event. */
void caller_on_event(struct caller *caller);

/* End the call if it takes too long. */
void caller_look_at_time(struct caller *caller, int64_t now_ns);

/* True if it was answered with a status of 2xx. */
bool caller_succeeded(const struct caller *caller);

void caller_free(struct caller *caller);

#endif
