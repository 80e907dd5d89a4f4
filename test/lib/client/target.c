#include "test/lib/client/target.h"

#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/un.h>

static bool parse_unix(struct target *target, const char *path)
{
    struct sockaddr_un *address = (struct sockaddr_un *)&target->address;
    if (strlen(path) == 0 || strlen(path) >= sizeof address->sun_path)
        return false;
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, strlen(path) + 1);
    target->address_size = sizeof *address;
    snprintf(target->host, sizeof target->host, "localhost");
    return true;
}

static bool look_up(struct target *target, const char *host, const char *port, int family)
{
    struct addrinfo hints = {
        .ai_family = family, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *found;
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    memcpy(&target->address, found->ai_addr, found->ai_addrlen);
    target->address_size = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

bool target_parse(struct target *target, const char *text)
{
    memset(target, 0, sizeof *target);
    if (strncmp(text, "unix:", 5) == 0)
        return parse_unix(target, text + 5);
    bool url = strncmp(text, "http://", 7) == 0;
    text += url ? 7 : 0;
    size_t size = strlen(text);
    size -= url && size > 0 && text[size - 1] == '/';
    if (size == 0 || size >= sizeof target->host || memchr(text, '/', size))
        return false;
    memcpy(target->host, text, size);
    char host[sizeof target->host];
    memcpy(host, target->host, sizeof host);
    char *colon = strrchr(host, ':');
    if (colon)
        *colon = '\0';
    else if (!url)
        return false;
    const char *port = colon ? colon + 1 : "80";
    return look_up(target, host, port, AF_INET) || look_up(target, host, port, AF_INET6);
}
