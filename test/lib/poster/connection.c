#include "test/lib/poster/connection.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/un.h>
#include <unistd.h>

static bool parse_unix(struct target *target, const char *path)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&target->address;
    if (strlen(path) == 0 || strlen(path) >= sizeof address->sun_path)
        return false;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, strlen(path) + 1);
    target->address_size = sizeof *address;
    return true;
}

static bool parse_inet(struct target *target, const char *text)
{
    struct sockaddr_in *address = (struct sockaddr_in *)&target->address;
    char host[INET_ADDRSTRLEN];
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        return false;
    memcpy(host, text, (size_t)(colon - text));
    host[colon - text] = '\0';
    long port = strtol(colon + 1, NULL, 10);
    if (port < 1 || port > 65535 || inet_pton(AF_INET, host, &address->sin_addr) != 1)
        return false;
    address->sin_family = AF_INET;
    address->sin_port = htons((uint16_t)port);
    target->address_size = sizeof *address;
    return true;
}

bool target_parse(struct target *target, const char *text)
{
    memset(target, 0, sizeof *target);
    return strncmp(text, "unix:", 5) == 0 ? parse_unix(target, text + 5) : parse_inet(target, text);
}

void connection_close(struct connection *connection)
{
    if (connection->state != CONNECTION_CLOSED)
        close(connection->fd);
    connection->fd = -1;
    connection->state = CONNECTION_CLOSED;
}

void connection_open(struct connection *connection, const struct target *target)
{
    int family = target->address.ss_family;
    connection->fd = socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        return;
    int on = 1;
    if (family == AF_INET)
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    connection->in_size = 0;
    connection->state = CONNECTION_CONNECTING;
    /* A unix socket with a full backlog says EAGAIN and is not in progress. */
    if (connect(connection->fd, (const struct sockaddr *)&target->address, target->address_size) <
            0 &&
        errno != EINPROGRESS)
        connection_close(connection);
}

static enum exchange lose(struct connection *connection)
{
    bool busy = connection->state == CONNECTION_BUSY;
    connection_close(connection);
    return busy ? EXCHANGE_LOST : EXCHANGE_PENDING;
}

void connection_post(struct connection *connection, const struct payment *payment)
{
    char body[160], out[512];
    int body_size = snprintf(body, sizeof body, "{\"correlationId\":\"%s\",\"amount\":%s}",
                             payment->id, payment->amount);
    int size = snprintf(out, sizeof out,
                        "POST /payments HTTP/1.1\r\nHost: payring\r\n"
                        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                        body_size, body);
    connection->payment = *payment;
    connection->payment.tries++;
    connection->in_size = 0;
    connection->state = CONNECTION_BUSY;
    /* A few hundred bytes into an empty socket buffer go at once or not at all. If they do not, the
     * connection is broken: shut down, it is readable, and that event reports the loss. */
    if (send(connection->fd, out, (size_t)size, MSG_NOSIGNAL) != size)
        shutdown(connection->fd, SHUT_RDWR);
}

/* The value of one header of a complete head, or NULL. */
static const char *header(const char *head, const char *name)
{
    for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n")) {
        if (strncasecmp(line + 2, name, strlen(name)) == 0 && line[2 + strlen(name)] == ':')
            return line + 3 + strlen(name);
    }
    return NULL;
}

/* Is the reply in the buffer complete? With the end of the stream a reply without a length is. */
static bool reply_complete(const char *reply, size_t size, bool ended)
{
    const char *end = strstr(reply, "\r\n\r\n");
    if (!end)
        return false;
    size_t body_size = size - (size_t)(end + 4 - reply);
    const char *length = header(reply, "content-length");
    if (length && length < end)
        return body_size >= strtoul(length, NULL, 10);
    const char *coding = header(reply, "transfer-encoding");
    if (coding && coding < end)
        return size >= 5 && memcmp(reply + size - 5, "0\r\n\r\n", 5) == 0;
    return ended || strncmp(reply, "HTTP/1.1 204", 12) == 0;
}

static enum exchange finish(struct connection *connection, bool ended, int *status)
{
    connection->in[connection->in_size] = '\0';
    if (!reply_complete(connection->in, connection->in_size, ended))
        return ended ? lose(connection) : EXCHANGE_PENDING;
    *status = connection->in_size > 12 ? (int)strtol(connection->in + 9, NULL, 10) : 0;
    const char *keep = header(connection->in, "connection");
    connection->state = CONNECTION_IDLE;
    if (ended || (keep && strncasecmp(keep + strspn(keep, " "), "close", 5) == 0))
        connection_close(connection);
    return EXCHANGE_ANSWERED;
}

static enum exchange read_some(struct connection *connection, int *status)
{
    size_t room = sizeof connection->in - 1 - connection->in_size;
    ssize_t n = recv(connection->fd, connection->in + connection->in_size, room, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return EXCHANGE_PENDING;
    if (n < 0)
        return lose(connection);
    connection->in_size += (size_t)n;
    if (connection->state == CONNECTION_BUSY)
        return finish(connection, n == 0, status);
    /* Idle: the gateway closes it, or sends what nobody asked for. */
    return lose(connection);
}

enum exchange connection_on_event(struct connection *connection, int *status)
{
    if (connection->state == CONNECTION_CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error != 0)
            return lose(connection);
        connection->state = CONNECTION_IDLE;
        return EXCHANGE_PENDING;
    }
    return read_some(connection, status);
}
