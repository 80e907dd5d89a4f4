#include "test/bench/rinha/caller.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void caller_init(struct caller *caller, int epoll, const struct target *target, caller_done done,
                 void *owner)
{
    memset(caller, 0, sizeof *caller);
    caller->epoll = epoll;
    caller->target = target;
    caller->done = done;
    caller->owner = owner;
}

static void end_call(struct caller *caller, enum call_failure failure)
{
    caller->out = false;
    caller->failure = failure;
    caller->status = failure == CALL_ANSWERED ? caller->connection.reply.status : 0;
    caller->done_ns = clock_now_ns();
    caller->done(caller);
}

static void write_request(struct caller *caller, const char *method, const char *path,
                          const char *headers, const char *body)
{
    int size = snprintf(caller->request, sizeof caller->request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s",
                        method, path, caller->target->host, headers);
    size_t at = (size_t)size;
    if (body && at < sizeof caller->request)
        at += (size_t)snprintf(caller->request + at, sizeof caller->request - at,
                               "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
                               strlen(body), body);
    else if (at < sizeof caller->request)
        at += (size_t)snprintf(caller->request + at, sizeof caller->request - at, "\r\n");
    if (at >= sizeof caller->request) {
        fprintf(stderr, "rinha: %s %s is too long\n", method, path);
        exit(1);
    }
    caller->request_size = at;
}

static void send_now(struct caller *caller)
{
    connection_send(&caller->connection, caller->request, caller->request_size);
}

void caller_begin(struct caller *caller, int64_t due_ns, const char *method, const char *path,
                  const char *headers, const char *body)
{
    write_request(caller, method, path, headers, body);
    caller->out = true;
    caller->due_ns = due_ns;
    caller->begun_ns = clock_now_ns();
    caller->connect_ns = 0;
    if (caller->connection.state == CONNECTION_IDLE) {
        send_now(caller);
        return;
    }
    connection_open(&caller->connection, caller->target);
    connection_watch(&caller->connection, caller->epoll, true, caller);
    if (caller->connection.state == CONNECTION_CLOSED)
        end_call(caller, CALL_REFUSED);
}

void caller_on_event(struct caller *caller)
{
    struct connection *connection = &caller->connection;
    bool connecting = connection->state == CONNECTION_CONNECTING;
    switch (connection_on_event(connection)) {
    case EXCHANGE_ANSWERED:
        end_call(caller, CALL_ANSWERED);
        return;
    case EXCHANGE_LOST:
        end_call(caller, CALL_LOST);
        return;
    case EXCHANGE_PENDING:
        break;
    }
    if (!connecting || connection->state == CONNECTION_CONNECTING)
        return;
    caller->connect_ns = clock_now_ns() - caller->begun_ns;
    if (connection->state == CONNECTION_CLOSED) {
        end_call(caller, CALL_REFUSED);
        return;
    }
    connection_watch(connection, caller->epoll, false, caller);
    send_now(caller);
}

void caller_look_at_time(struct caller *caller, int64_t now_ns)
{
    if (!caller->out || now_ns - caller->begun_ns < CALL_LIMIT_NS)
        return;
    connection_close(&caller->connection);
    end_call(caller, CALL_TIMED_OUT);
}

bool caller_succeeded(const struct caller *caller)
{
    return caller->failure == CALL_ANSWERED && caller->status >= 200 && caller->status < 300;
}

void caller_free(struct caller *caller)
{
    connection_free(&caller->connection);
}
