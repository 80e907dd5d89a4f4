/* A disk that forgets what was not synced, for plays that lose the power and not only a process:
 * LD_PRELOAD=build/forgetful-disk.so FORGETFUL_DISK=FILE.
 *
 * FILE is mapped and outlives whoever is killed: a line of 32 bytes for each file that was written,
 * { inode, end of what was written, end of what is synced, 0 }. What lies between the two ends is
 * on its way to the disk; test/lib/forget takes it away. Right for files that are written from the
 * front to the back, as segments of the journal are: a write at 0 begins one anew.
 *
 * Of the writes that are under way while a sync begins none counts as synced by it. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LINES 65536

struct line {
    _Atomic uint64_t inode, written, synced, reserved;
};

static struct line *lines;

__attribute__((constructor)) static void map_lines(void)
{
    const char *path = getenv("FORGETFUL_DISK");
    if (!path)
        return;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, LINES * sizeof *lines) != 0)
        abort();
    lines = mmap(NULL, LINES * sizeof *lines, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (lines == MAP_FAILED)
        abort();
    close(fd);
}

/* NULL: of no regular file. Whoever is first takes the free line. */
static struct line *line_of(int fd)
{
    struct stat file;
    if (!lines || fstat(fd, &file) != 0 || !S_ISREG(file.st_mode))
        return NULL;
    for (uint64_t n = 0; n < LINES; n++) {
        struct line *line = &lines[(file.st_ino + n) % LINES];
        uint64_t free_one = 0;
        if (atomic_load(&line->inode) == file.st_ino ||
            atomic_compare_exchange_strong(&line->inode, &free_one, file.st_ino) ||
            free_one == file.st_ino)
            return line;
    }
    abort();
}

ssize_t pwrite(int fd, const void *bytes, size_t size, off_t offset)
{
    struct line *line = line_of(fd);
    ssize_t written = syscall(SYS_pwrite64, fd, bytes, size, offset);
    if (!line || written < 0)
        return written;
    if (offset == 0)
        atomic_store(&line->synced, 0);
    atomic_store(&line->written, (uint64_t)(offset + written));
    return written;
}

int fdatasync(int fd)
{
    struct line *line = line_of(fd);
    uint64_t written = line ? atomic_load(&line->written) : 0;
    int result = (int)syscall(SYS_fdatasync, fd);
    if (line && result == 0)
        atomic_store(&line->synced, written);
    return result;
}
