/* One HTTP/1.1 connection to the gateway, kept alive and never blocking.
 *
 * At most one request is on it at a time. The caller waits for events (epoll) and passes them on.
 */
#ifndef TEST_LIB_POSTER_CONNECTION_H
#define TEST_LIB_POSTER_CONNECTION_H

#include "test/lib/poster/plan.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

struct target {
    struct sockaddr_storage address;
    socklen_t address_size;
};

enum connection_state {
    CONNECTION_CLOSED,     /* no socket; may be opened from reopen_at_us on */
    CONNECTION_CONNECTING, /* writable when it is settled */
    CONNECTION_IDLE,       /* a request may be sent */
    CONNECTION_BUSY        /* a request is out, or partly so */
};

struct connection {
    enum connection_state state;
    int fd;
    unsigned target;         /* index of the target it is connected to */
    struct payment payment;  /* the one that is out while BUSY */
    int64_t due_us, sent_us; /* CLOCK_MONOTONIC: when it should have been sent, when it was */
    int64_t reopen_at_us;
    char in[8192];
    size_t in_size;
};

enum exchange {
    EXCHANGE_PENDING,  /* nothing to report */
    EXCHANGE_ANSWERED, /* BUSY is over, *status holds the reply's status */
    EXCHANGE_LOST      /* BUSY is over without an answer: the payment may have been accepted */
};

/* "unix:/path" or "address:port" (numeric IPv4). False if it is neither. */
bool target_parse(struct target *target, const char *text);

/* Begin to connect. Closed afterwards if it is refused at once. */
void connection_open(struct connection *connection, const struct target *target);

/* Send this payment on an IDLE connection: copied, and BUSY from here on. The outcome comes from
 * connection_on_event, even if the connection is found broken while sending. */
void connection_post(struct connection *connection, const struct payment *payment);

/* Writable while CONNECTING, readable after that. The connection may be CLOSED afterwards. */
enum exchange connection_on_event(struct connection *connection, int *status);

/* Give up whatever is on it. */
void connection_close(struct connection *connection);

#endif
