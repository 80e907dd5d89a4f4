/* HTTP over libh2o: one event loop, one thread, and what a well-behaved server
 * never does: resets, half answers and closed idle connections.
 *
 * A request lives as long as libh2o keeps it; whoever answers later than in the
 * handler holds an `exchange`, which notices when the request is gone, so that
 * what is being done for a client never depends on the client still being there.
 */
#ifndef PROCESSOR_SERVER_H
#define PROCESSOR_SERVER_H

#include <h2o.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test/processor/timers.h"

struct server;
struct connection;
struct exchange;

/* One request, in libh2o's memory pool: gone when its answer has been sent or
 * its connection has been closed. */
struct request {
    h2o_req_t *h2o;
    struct connection *connection;
    struct exchange *exchange; /* who is going to answer, NULL if nobody waits */
};

struct reply {
    int status;
    const char *body; /* copied */
    size_t length;
    const char *content_type; /* NULL = application/json; not sent with an empty body */
    const char *allow;        /* for 405, else NULL */
    int retry_after_s;        /* 0 = not sent */
};

typedef void (*server_handler)(void *owner, struct request *request);

/* Start the loop; `handler` is called with `owner` for each complete request
 * and must answer it or open an exchange on it. SIGTERM and SIGINT, blocked
 * here, end server_run. Timers that are set in `timers` ring in the loop. */
struct server *server_create(struct timers *timers, server_handler handler, void *owner);

/* Listen. *port may be 0 and is set to the port that was taken.
 * 0, or -1 with errno. An existing unix socket that nobody serves is replaced. */
int server_listen_tcp(struct server *server, const char *host, uint16_t *port);
int server_listen_unix(struct server *server, const char *path);

/* Serve until a signal says stop. Nothing is waited for then. */
void server_run(struct server *server);

/* From now on close a connection once it has been idle for so long (0 = as
 * soon as its answer is sent); those idle now included. -1 = leave them open. */
void server_close_idle(struct server *server, int64_t after_ms);

size_t server_open_connections(const struct server *server);
uint64_t server_accepted_connections(const struct server *server);

/* Answer at once, in the handler. */
void request_reply(struct request *request, const struct reply *reply);

/* Reset the connection (RST) without any answer; on a unix socket, which has
 * no reset, it is closed. */
void request_reset(struct request *request);

/* Send these bytes as they are, then close the connection. */
void request_send_raw(struct request *request, const char *bytes, size_t length);

/* The right to answer a request later; the holder's memory. Each of the three
 * endings does to the request what the function above of that name does, or
 * nothing if it is gone already, and closes the exchange. */
struct exchange {
    struct request *request; /* NULL: answered, or the client is gone */
};

void exchange_open(struct exchange *exchange, struct request *request);
void exchange_reply(struct exchange *exchange, const struct reply *reply);
void exchange_reset(struct exchange *exchange);
void exchange_send_raw(struct exchange *exchange, const char *bytes, size_t length);

#endif
