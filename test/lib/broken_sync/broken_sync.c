/* A disk whose syncs fail, for plays: LD_PRELOAD=build/broken-sync.so BROKEN_SYNC=FILE.
 *
 * While FILE exists, each fdatasync fails with EIO. The path of what was to be synced is a line
 * more in FILE.log then, and from the first failure on: whoever asks the same file for a second
 * sync after a failed one stands there twice, also when FILE is gone. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static void note(const char *log, int fd)
{
    char link[64], line[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, line, sizeof line - 1);
    if (length < 0)
        abort();
    line[length] = '\n';
    int to = open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    if (to < 0 || write(to, line, (size_t)length + 1) != length + 1)
        abort();
    close(to);
}

int fdatasync(int fd)
{
    const char *broken = getenv("BROKEN_SYNC");
    char log[512];
    if (!broken)
        return (int)syscall(SYS_fdatasync, fd);
    snprintf(log, sizeof log, "%s.log", broken);
    int fails = access(broken, F_OK) == 0;
    if (fails || access(log, F_OK) == 0)
        note(log, fd);
    if (!fails)
        return (int)syscall(SYS_fdatasync, fd);
    errno = EIO;
    return -1;
}
