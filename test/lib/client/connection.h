/* One HTTP/1.1 connection, kept alive and never blocking.
 *
 * At most one request is on it at a time. The caller waits for events (epoll) and passes them on.
 * All-zero bytes are a closed connection.
 */
#ifndef TEST_LIB_CLIENT_CONNECTION_H
#define TEST_LIB_CLIENT_CONNECTION_H

#include "test/lib/client/reply.h"
#include "test/lib/client/target.h"

#include <stdbool.h>
#include <stddef.h>

enum connection_state {
    CONNECTION_CLOSED,     /* no socket */
    CONNECTION_CONNECTING, /* writable when it is settled */
    CONNECTION_IDLE,       /* a request may be sent */
    CONNECTION_BUSY        /* a request is out, or partly so */
};

struct connection {
    enum connection_state state;
    int fd;   /* valid unless CLOSED */
    char *in; /* what has come of the reply */
    size_t in_size, in_room;
    struct reply reply; /* after EXCHANGE_ANSWERED, until the next request */
};

enum exchange {
    EXCHANGE_PENDING,  /* nothing to report */
    EXCHANGE_ANSWERED, /* BUSY is over, connection->reply holds the reply */
    EXCHANGE_LOST      /* BUSY is over without an answer: the request may have been executed */
};

/* Begin to connect. CLOSED afterwards if it is refused at once. */
void connection_open(struct connection *connection, const struct target *target);

/* Wait for what this connection can expect next, with `tag` as the event's data. Call it after
 * connection_open, and again when CONNECTING is over; a closed socket needs no farewell. */
void connection_watch(const struct connection *connection, int epoll, bool is_new, void *tag);

/* Send a whole request on an IDLE connection: BUSY from here on. The outcome comes from
 * connection_on_event, even if the connection is found broken while sending. */
void connection_send(struct connection *connection, const char *bytes, size_t size);

/* Writable while CONNECTING, readable after that. The connection may be CLOSED afterwards. */
enum exchange connection_on_event(struct connection *connection);

/* The body of the last reply, as reply_body gives it. */
size_t connection_body(const struct connection *connection, char *out, size_t room);

/* Give up whatever is on it. */
void connection_close(struct connection *connection);

/* Close it and release its memory. */
void connection_free(struct connection *connection);

#endif
