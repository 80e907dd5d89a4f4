/* The sockets that the API listens on. Nothing of libh2o. A failure is one sentence that begins
 * with `setting`, the name of what the address comes from. */
#ifndef PAYRING_API_LISTEN_H
#define PAYRING_API_LISTEN_H

#include <stdbool.h>
#include <sys/stat.h>

#include "common/config.h"
#include "common/status.h"

/* Connections that the kernel completes before we accept them. It cuts this down to
 * net.core.somaxconn, 4096 since Linux 5.4. */
#define API_LISTEN_BACKLOG 4096

#define API_LISTEN_TCP_MAX 4 /* addresses that one host name stands for */

/* A unix socket's path and the file that we made there. All zeros: none. */
struct api_listen_path {
    const char *path;
    dev_t device;
    ino_t inode;
};

/* Listen on `path`; returns the descriptor (close-on-exec, non-blocking), or -1 and a
 * sentence.
 *
 * What a dead server left there is removed: a socket on which nobody accepts. Anything else is not
 * ours to remove and is an error. The file has exactly `mode`, from its first moment on, whatever
 * the umask. `made` keeps `path` by reference.
 * Caller:  one thread; the process's umask changes for an instant.
 */
int api_listen_unix(const char *setting, const char *path, mode_t mode,
                    struct api_listen_path *made, struct explain *why);

/* Remove the path, if it is still the file that we made: a successor may have taken the place.
 * New clients are refused from now on, those that are connected are not touched. */
void api_listen_remove(struct api_listen_path *);

/* Listen on every address that the host name stands for; returns how many (at least 1), or -1 and a
 * sentence. */
int api_listen_tcp(const char *setting, const struct config_endpoint *,
                   int fds[static API_LISTEN_TCP_MAX], struct explain *why);

#endif
