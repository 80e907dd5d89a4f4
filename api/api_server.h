/* The HTTP server: one libh2o event loop in one thread, its listeners and its end.
 *
 * What is HTTP is libh2o's, with what it does not do well done here: it would spin when descriptors
 * run out, leave idle connections open when told to stop, and time by the wall clock.
 *
 * On framing that is ambiguous. libh2o takes Content-Length together with Transfer-Encoding (the
 * latter wins), two Content-Lengths (the first wins), bare line feeds and more, and a handler
 * cannot see that, because these headers are not handed to it. That is how requests are smuggled
 * past a proxy that reads the same bytes differently. Here nobody else reads them: the balancer
 * forwards bytes and does not parse HTTP, every byte of a connection comes from one client, and no
 * decision is made before this parser. Behind a proxy that parses and shares its connections to us
 * among clients, that proxy must refuse such requests itself.
 *
 * Memory: a connection holds at most its request, 408 KiB of headers (compiled into libh2o) and the
 * body limit; usually 4 KiB.
 */
#ifndef PAYRING_API_SERVER_H
#define PAYRING_API_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "api/api_timers.h"
#include "common/status.h"

struct api_server;
struct st_h2o_req_t; /* h2o_req_t */

/* Answer the request, now or later. One that is given up (its connection is closed) frees its pool:
 * hang what waits for it on that. */
typedef void api_server_handler(void *owner, struct st_h2o_req_t *);

/* Who comes through a listener. Each door has a handler of its own, and only the listeners that
 * were opened for a door lead to it, whatever a request says of its host or path. */
enum api_server_door {
    API_SERVER_CLIENTS,
    API_SERVER_PEERS,
    API_SERVER_DOORS,
};

struct api_server_settings {
    uint32_t body_limit;         /* bytes; a longer body is answered 413 */
    uint32_t request_timeout_ms; /* for headers and body together, and between two requests */
    uint32_t connection_age_ms;  /* an answer to an older one says close; 0: none is too old */
    uint32_t own_connections;    /* that the handlers open themselves, at most */
    struct api_timers *timers;   /* rung by the loop */
    struct {
        uint32_t max_connections; /* more wait in the listeners' backlog */
        api_server_handler *handler;
    } doors[API_SERVER_DOORS];
    void *owner;
};

/* What the server answered or did by itself since it was asked last. */
struct api_server_counts {
    uint64_t bad_requests;  /* 400 */
    uint64_t too_large;     /* 413 */
    uint64_t accept_paused; /* no descriptors were left */
};

/* NULL: `why` says why. The settings are copied.
 *
 * SIGTERM and SIGINT are taken from here on: they end api_server_run, and a second one ends
 * api_server_stop. Raises the soft limit of descriptors as far as all connections need; where the
 * hard limit is too low for that, it takes fewer of clients and says so in the log.
 *
 * There is one server in a process and it ends with it: libh2o 2.2 does not free all of a context.
 */
struct api_server *api_server_create(const struct api_server_settings *, struct explain *why);

/* Serve a listening socket (non-blocking); it is the server's from now on. */
void api_server_listen(struct api_server *, enum api_server_door, int fd);

/* Serve until a signal comes; returns it. Idle, it wakes up only for the timers. */
int api_server_run(struct api_server *);

/* Stop gracefully: take the connections that the kernel has completed already, accept no others,
 * answer what is asked with "Connection: close". For half of timeout_ms idle connections are kept,
 * which gives whoever asks again within that time an answer that tells him; then they are closed as
 * soon as nothing has been asked on them. Returns when no connection is left, or after timeout_ms,
 * when those that are left are cut off. */
void api_server_stop(struct api_server *, uint32_t timeout_ms);

struct api_server_counts api_server_take_counts(struct api_server *);

#endif
