/* Where a client connects to. */
#ifndef TEST_LIB_CLIENT_TARGET_H
#define TEST_LIB_CLIENT_TARGET_H

#include <stdbool.h>
#include <sys/socket.h>

struct target {
    struct sockaddr_storage address;
    socklen_t address_size;
    char host[128]; /* for the Host header */
};

/* "unix:/path", "HOST:PORT" or "http://HOST[:PORT][/]". A name is looked up now, once, and IPv4 is
 * preferred: a server that was told a port only often listens there alone. False if the text is
 * none of these or the name is not known. */
bool target_parse(struct target *target, const char *text);

#endif
