#include "worker/upstream_sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define ROOM_MIN 16

struct upstream_socket {
    int fd;
    int local_port; /* 0: not connected when we last looked */
    int remote_port;
};

static bool has_room(struct upstream_sockets *sockets)
{
    if (sockets->count < sockets->room)
        return true;
    int room = sockets->room > 0 ? 2 * sockets->room : ROOM_MIN;
    struct upstream_socket *more =
        realloc(sockets->sockets, (size_t)room * sizeof *sockets->sockets);
    if (!more)
        return false;
    sockets->sockets = more;
    sockets->room = room;
    return true;
}

static void forget(struct upstream_sockets *sockets, int fd)
{
    for (int i = 0; i < sockets->count; i++)
        if (sockets->sockets[i].fd == fd) {
            sockets->sockets[i] = sockets->sockets[--sockets->count];
            return;
        }
}

int upstream_sockets_open(struct upstream_sockets *sockets, int family, int type, int protocol)
{
    if (!has_room(sockets)) {
        errno = ENOMEM;
        return -1;
    }
    int fd = socket(family, type | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        return -1;
    forget(sockets, fd);
    sockets->sockets[sockets->count++] = (struct upstream_socket){.fd = fd};
    return fd;
}

int upstream_sockets_close(struct upstream_sockets *sockets, int fd)
{
    forget(sockets, fd);
    return close(fd);
}

static int port_of(int fd, int (*get)(int, struct sockaddr *, socklen_t *))
{
    struct sockaddr_storage address = {0};
    socklen_t size = sizeof address;
    if (get(fd, (struct sockaddr *)&address, &size) != 0)
        return 0;
    switch (address.ss_family) {
    case AF_INET:
        return ntohs(((const struct sockaddr_in *)&address)->sin_port);
    case AF_INET6:
        return ntohs(((const struct sockaddr_in6 *)&address)->sin6_port);
    default:
        return 0;
    }
}

/* A peer's port is there only once the connection is. */
static void learn_ports(struct upstream_socket *socket)
{
    socket->remote_port = port_of(socket->fd, getpeername);
    socket->local_port = socket->remote_port != 0 ? port_of(socket->fd, getsockname) : 0;
}

static bool has_arrivals(int fd)
{
    char byte;
    ssize_t size = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return size >= 0 || (errno != EAGAIN && errno != EINTR);
}

bool upstream_sockets_have_arrivals(struct upstream_sockets *sockets, int local_port,
                                    int remote_port)
{
    for (int i = 0; i < sockets->count; i++) {
        struct upstream_socket *socket = &sockets->sockets[i];
        if (socket->local_port == 0)
            learn_ports(socket);
        if (socket->local_port == local_port && socket->remote_port == remote_port &&
            has_arrivals(socket->fd))
            return true;
    }
    return false;
}

void upstream_sockets_free(struct upstream_sockets *sockets)
{
    free(sockets->sockets);
    *sockets = (struct upstream_sockets){0};
}
