/* The descriptors of the connections to processors, so that a connection can be looked at before a
 * request leaves on it: what has arrived there by then answers nothing that was asked.
 *
 * libcurl opens and closes sockets through us, and names a connection by its ports when it is about
 * to send. One lane's, used by its thread alone.
 */
#ifndef PAYRING_WORKER_UPSTREAM_SOCKETS_H
#define PAYRING_WORKER_UPSTREAM_SOCKETS_H

#include <stdbool.h>

struct upstream_socket;

/* All zero: empty. */
struct upstream_sockets {
    struct upstream_socket *sockets;
    int count;
    int room;
};

/* A new socket, close-on-exec, or -1 and errno. libcurl closes one that never came to be connected
 * by itself (7.88): it is forgotten when its number comes again, and until then says nothing. */
int upstream_sockets_open(struct upstream_sockets *, int family, int type, int protocol);

/* 0, or -1 and errno. */
int upstream_sockets_close(struct upstream_sockets *, int fd);

/* Is there something to read, or an end, on the connection between these ports? Of two connections
 * that share both ports (to two addresses), either one. false for one that is not ours. */
bool upstream_sockets_have_arrivals(struct upstream_sockets *, int local_port, int remote_port);

/* Closes none. */
void upstream_sockets_free(struct upstream_sockets *);

#endif
