#include "worker/journal_disk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int real_open(void *context, const char *path, enum journal_disk_mode mode)
{
    static const int flags[] = {
        [JOURNAL_DISK_READ] = O_RDONLY,
        [JOURNAL_DISK_WRITE] = O_RDWR,
        [JOURNAL_DISK_CREATE] = O_RDWR | O_CREAT | O_TRUNC,
    };
    (void)context;
    return open(path, flags[mode] | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static void real_close(void *context, int fd)
{
    (void)context;
    close(fd);
}

static ssize_t real_read(void *context, int fd, void *bytes, size_t size, uint64_t offset)
{
    (void)context;
    return pread(fd, bytes, size, (off_t)offset);
}

static ssize_t real_write(void *context, int fd, const void *bytes, size_t size, uint64_t offset)
{
    (void)context;
    return pwrite(fd, bytes, size, (off_t)offset);
}

static int64_t real_size(void *context, int fd)
{
    struct stat file;
    (void)context;
    return fstat(fd, &file) == 0 ? (int64_t)file.st_size : -1;
}

static int real_allocate(void *context, int fd, uint64_t size)
{
    int error;
    (void)context;
    do
        error = posix_fallocate(fd, 0, (off_t)size);
    while (error == EINTR);
    errno = error;
    return error == 0 ? 0 : -1;
}

/* Once and never again: after a failure the kernel may call the lost pages clean. */
static int real_sync(void *context, int fd)
{
    (void)context;
    return fdatasync(fd);
}

static int real_rename(void *context, const char *from, const char *to)
{
    (void)context;
    return rename(from, to);
}

static int real_remove(void *context, const char *path)
{
    (void)context;
    return unlink(path);
}

static int real_make_directory(void *context, const char *path)
{
    (void)context;
    return mkdir(path, 0700);
}

static int real_remove_directory(void *context, const char *path)
{
    (void)context;
    return rmdir(path);
}

static int real_sync_directory(void *context, const char *path)
{
    (void)context;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int result = fsync(fd);
    int error = errno;
    close(fd);
    errno = error;
    return result;
}

static int real_list(void *context, const char *path, void (*name)(void *, const char *),
                     void *each)
{
    (void)context;
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    struct dirent *entry;
    for (errno = 0; (entry = readdir(directory)) != NULL; errno = 0)
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            name(each, entry->d_name);
    int error = errno;
    closedir(directory);
    errno = error;
    return error == 0 ? 0 : -1;
}

const struct journal_disk journal_disk_real = {
    .open = real_open,
    .close = real_close,
    .read = real_read,
    .write = real_write,
    .size = real_size,
    .allocate = real_allocate,
    .sync = real_sync,
    .rename = real_rename,
    .remove = real_remove,
    .make_directory = real_make_directory,
    .remove_directory = real_remove_directory,
    .sync_directory = real_sync_directory,
    .list = real_list,
};

int journal_disk_read_all(const struct journal_disk *disk, int fd, void *bytes, size_t size,
                          uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t n = disk->read(disk->context, fd, (char *)bytes + done, size - done, offset + done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = EIO;
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}

int journal_disk_write_all(const struct journal_disk *disk, int fd, const void *bytes, size_t size,
                           uint64_t offset)
{
    for (size_t done = 0; done < size;) {
        ssize_t n =
            disk->write(disk->context, fd, (const char *)bytes + done, size - done, offset + done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n == 0)
            errno = ENOSPC;
        if (n <= 0)
            return -1;
        done += (size_t)n;
    }
    return 0;
}
