#define _GNU_SOURCE /* SOCK_CLOEXEC, SOCK_NONBLOCK */
#include "api/api_listen.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static int new_socket(int family)
{
    return socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
}

/* ---------------------------------------------------------------------- unix */

/* Make way for a new socket if the path is free or holds what a dead server left. */
static enum status make_way(const char *setting, const struct sockaddr_un *address,
                            struct explain *why)
{
    struct stat file;

    if (lstat(address->sun_path, &file) != 0)
        return STATUS_OK; /* nothing there, or bind will say what is wrong */
    /* Connecting to a plain file is refused too: it must not be taken for a dead socket. */
    if (!S_ISSOCK(file.st_mode))
        return explain(why, STATUS_EXISTS, "%s: %s exists and is not a socket", setting,
                       address->sun_path);
    int probe = new_socket(AF_UNIX);
    int result = probe < 0 ? -1 : connect(probe, (const struct sockaddr *)address, sizeof *address);
    bool is_dead = probe >= 0 && result != 0 && errno == ECONNREFUSED;
    if (probe >= 0)
        close(probe);
    if (!is_dead)
        return explain(why, STATUS_BUSY, "%s: another process is listening on %s, or may be",
                       setting, address->sun_path);
    if (unlink(address->sun_path) != 0 && errno != ENOENT)
        return explain(why, STATUS_SYSTEM, "%s: %s cannot be replaced: %m", setting,
                       address->sun_path);
    return STATUS_OK;
}

/* A socket file is made with 0777 less the umask. */
static int bind_with_mode(int fd, const struct sockaddr_un *address, mode_t mode)
{
    mode_t before = umask(~mode & 0777);
    int result = bind(fd, (const struct sockaddr *)address, sizeof *address);
    umask(before);
    return result;
}

int api_listen_unix(const char *setting, const char *path, mode_t mode,
                    struct api_listen_path *made, struct explain *why)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct stat file;

    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    if (make_way(setting, &address, why) != STATUS_OK)
        return -1;
    int fd = new_socket(AF_UNIX);
    if (fd < 0 || bind_with_mode(fd, &address, mode) != 0 || lstat(path, &file) != 0) {
        explain_in(why, "%s: cannot listen on %s: %m", setting, path);
        goto fail;
    }
    *made = (struct api_listen_path){.path = path, .device = file.st_dev, .inode = file.st_ino};
    if (listen(fd, API_LISTEN_BACKLOG) == 0)
        return fd;
    explain_in(why, "%s: cannot listen on %s: %m", setting, path);
    api_listen_remove(made);
fail:
    if (fd >= 0)
        close(fd);
    return -1;
}

void api_listen_remove(struct api_listen_path *made)
{
    struct stat file;

    if (made->path != NULL && lstat(made->path, &file) == 0 && file.st_dev == made->device &&
        file.st_ino == made->inode)
        unlink(made->path);
    made->path = NULL;
}

/* ----------------------------------------------------------------------- TCP */

static int listen_on_address(const struct addrinfo *address)
{
    int on = 1;
    int fd = new_socket(address->ai_family);

    if (fd < 0)
        return -1;
    /* IPV6_V6ONLY: "localhost" is an address of each kind, and one may not take the other's port.
     * An address given as such, [::] say, serves both. */
    bool has_siblings = address->ai_next != NULL;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) == 0 &&
        (address->ai_family != AF_INET6 || !has_siblings ||
         setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on) == 0) &&
        bind(fd, address->ai_addr, address->ai_addrlen) == 0 && listen(fd, API_LISTEN_BACKLOG) == 0)
        return fd;
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static void close_all(const int *fds, int count)
{
    int error = errno;
    while (count > 0)
        close(fds[--count]);
    errno = error;
}

/* "localhost" may stand for an address of a kind that this machine does not have; any other failure
 * means that clients would be missed. */
static int listen_on_all(const struct addrinfo *list, int fds[static API_LISTEN_TCP_MAX])
{
    int count = 0;

    for (; list != NULL && count < API_LISTEN_TCP_MAX; list = list->ai_next) {
        fds[count] = listen_on_address(list);
        if (fds[count] >= 0) {
            count++;
        } else if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT) {
            close_all(fds, count);
            return -1;
        }
    }
    return count > 0 ? count : -1;
}

int api_listen_tcp(const char *setting, const struct config_endpoint *endpoint,
                   int fds[static API_LISTEN_TCP_MAX], struct explain *why)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *list;

    int error = getaddrinfo(endpoint->host, endpoint->port, &hints, &list);
    if (error != 0) {
        explain_in(why, "%s: %s is no address: %s", setting, endpoint->host, gai_strerror(error));
        return -1;
    }
    int count = listen_on_all(list, fds);
    if (count < 0)
        explain_in(why, "%s: cannot listen on %s, port %s: %m", setting, endpoint->host,
                   endpoint->port);
    freeaddrinfo(list);
    return count;
}
