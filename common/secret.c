#include "common/secret.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

bool secret_set(char secret[static SECRET_SIZE], const char *text, size_t length)
{
    if (length < SECRET_LENGTH_MIN || length > SECRET_LENGTH_MAX)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    memset(secret, 0, SECRET_SIZE);
    memcpy(secret, text, length);
    return true;
}

/* Up to `size` bytes; -1 and errno. */
static ssize_t read_whole(const char *path, char *text, size_t size)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t length = 0;
    ssize_t count = 1;

    if (fd < 0)
        return -1;
    while (count != 0 && length < size) {
        count = read(fd, text + length, size - length);
        if (count < 0 && errno != EINTR)
            break;
        length += count > 0 ? (size_t)count : 0;
    }
    int error = errno;
    close(fd);
    errno = error;
    return count < 0 ? -1 : (ssize_t)length;
}

enum status secret_read_file(char secret[static SECRET_SIZE], const char *path, struct explain *why)
{
    char text[SECRET_LENGTH_MAX + 3]; /* and "\r\n", and one more: then it is too long */
    ssize_t count = read_whole(path, text, sizeof text);

    if (count < 0)
        return explain(why, STATUS_SYSTEM, "%.200s cannot be read: %m", path);
    size_t length = (size_t)count;
    if (length > 0 && text[length - 1] == '\n')
        length -= length > 1 && text[length - 2] == '\r' ? 2 : 1;
    bool taken = secret_set(secret, text, length);
    explicit_bzero(text, sizeof text);
    if (!taken)
        return explain(why, STATUS_INVALID, "%.200s must hold " SECRET_RULE " in one line", path);
    return STATUS_OK;
}

bool secret_equals(const char secret[static SECRET_SIZE], const char *given, size_t length)
{
    char padded[SECRET_SIZE] = {0};
    /* volatile: or a compiler may see that the loop can end at the first difference. */
    volatile unsigned char difference = 0;

    /* With no zero in either, being equal with their padding means being equal, length included. */
    if (length < SECRET_LENGTH_MIN || length > SECRET_LENGTH_MAX ||
        memchr(given, '\0', length) != NULL)
        return false;
    memcpy(padded, given, length);
    for (size_t i = 0; i < SECRET_SIZE; i++)
        difference = difference | (unsigned char)(padded[i] ^ secret[i]);
    return difference == 0;
}
