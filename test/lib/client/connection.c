#include "test/lib/client/connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

/* Replies are small; more than this is somebody who does not stop talking. */
enum { IN_ROOM_FIRST = 2048, IN_ROOM_MAX = 16 << 20 };

void connection_close(struct connection *connection)
{
    if (connection->state != CONNECTION_CLOSED)
        close(connection->fd);
    connection->fd = -1;
    connection->state = CONNECTION_CLOSED;
}

void connection_free(struct connection *connection)
{
    connection_close(connection);
    free(connection->in);
    *connection = (struct connection){.fd = -1};
}

void connection_open(struct connection *connection, const struct target *target)
{
    int family = target->address.ss_family;
    connection->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        return;
    int on = 1;
    if (family != AF_UNIX)
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->in_size = 0;
    connection->state = CONNECTION_CONNECTING;
    /* A unix socket with a full backlog says EAGAIN and is not in progress. */
    if (connect(connection->fd, (const struct sockaddr *)&target->address, target->address_size) <
            0 &&
        errno != EINPROGRESS)
        connection_close(connection);
}

void connection_watch(const struct connection *connection, int epoll, bool is_new, void *tag)
{
    bool connecting = connection->state == CONNECTION_CONNECTING;
    struct epoll_event event = {.events = connecting ? EPOLLOUT : EPOLLIN, .data.ptr = tag};
    if (connection->state != CONNECTION_CLOSED)
        epoll_ctl(epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, connection->fd, &event);
}

static enum exchange lose(struct connection *connection)
{
    bool busy = connection->state == CONNECTION_BUSY;
    connection_close(connection);
    return busy ? EXCHANGE_LOST : EXCHANGE_PENDING;
}

void connection_send(struct connection *connection, const char *bytes, size_t size)
{
    connection->in_size = 0;
    connection->state = CONNECTION_BUSY;
    /* A few hundred bytes into an empty socket buffer go at once or not at all. If they do not, the
     * connection is broken: shut down, it is readable, and that event reports the loss. */
    if (send(connection->fd, bytes, size, MSG_NOSIGNAL) != (ssize_t)size)
        shutdown(connection->fd, SHUT_RDWR);
}

static enum exchange finish(struct connection *connection, bool ended)
{
    if (connection->in_size == 0)
        return ended ? lose(connection) : EXCHANGE_PENDING;
    switch (reply_parse(connection->in, connection->in_size, ended, &connection->reply)) {
    case REPLY_PARTIAL:
        return ended ? lose(connection) : EXCHANGE_PENDING;
    case REPLY_GARBLED:
        return lose(connection);
    case REPLY_COMPLETE:
        break;
    }
    connection->state = CONNECTION_IDLE;
    if (connection->reply.close)
        connection_close(connection);
    return EXCHANGE_ANSWERED;
}

static bool make_room(struct connection *connection)
{
    if (connection->in_size < connection->in_room)
        return true;
    size_t room = connection->in_room ? connection->in_room * 2 : IN_ROOM_FIRST;
    char *in = room <= IN_ROOM_MAX ? realloc(connection->in, room) : NULL;
    if (!in)
        return false;
    connection->in = in;
    connection->in_room = room;
    return true;
}

static enum exchange read_some(struct connection *connection)
{
    if (!make_room(connection))
        return lose(connection);
    ssize_t n = recv(connection->fd, connection->in + connection->in_size,
                     connection->in_room - connection->in_size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return EXCHANGE_PENDING;
    if (n < 0)
        return lose(connection);
    connection->in_size += (size_t)n;
    if (connection->state == CONNECTION_BUSY)
        return finish(connection, n == 0);
    /* Idle: the server closes it, or sends what nobody asked for. */
    return lose(connection);
}

enum exchange connection_on_event(struct connection *connection)
{
    if (connection->state == CONNECTION_CLOSED)
        return EXCHANGE_PENDING;
    if (connection->state == CONNECTION_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)
            return lose(connection);
        connection->state = CONNECTION_IDLE;
        return EXCHANGE_PENDING;
    }
    return read_some(connection);
}

size_t connection_body(const struct connection *connection, char *out, size_t room)
{
    return reply_body(connection->in, &connection->reply, out, room);
}
