/* The disk as the journal sees it: a table of functions, so that tests can cut
 * the power, fill the disk or let an fsync fail.
 *
 * All return what the system call of that name returns, -1 with errno set. Paths
 * are absolute. Any thread. What is not synced may be lost, in any order, by
 * sectors of 512 bytes; what is synced stays. Names: after sync_directory.
 */
#ifndef PAYRING_WORKER_JOURNAL_DISK_H
#define PAYRING_WORKER_JOURNAL_DISK_H

#include <stdint.h>
#include <sys/types.h>

enum journal_disk_mode {
    JOURNAL_DISK_READ,
    JOURNAL_DISK_WRITE,  /* a file that is there */
    JOURNAL_DISK_CREATE, /* an empty file, whether there was one or not */
};

struct journal_disk {
    void *context;
    int (*open)(void *context, const char *path, enum journal_disk_mode);
    void (*close)(void *context, int fd);
    ssize_t (*read)(void *context, int fd, void *bytes, size_t size, uint64_t offset);
    ssize_t (*write)(void *context, int fd, const void *bytes, size_t size, uint64_t offset);
    int64_t (*size)(void *context, int fd);
    int (*allocate)(void *context, int fd, uint64_t size); /* zeros; ENOSPC now and not later */
    int (*sync)(void *context, int fd);                    /* contents and size */
    int (*rename)(void *context, const char *from, const char *to);
    int (*remove)(void *context, const char *path);
    int (*make_directory)(void *context, const char *path);
    int (*remove_directory)(void *context, const char *path); /* an empty one */
    int (*sync_directory)(void *context, const char *path);
    /* Calls `name` for every entry but . and ..; ENOENT: no such directory. */
    int (*list)(void *context, const char *path, void (*name)(void *each, const char *name),
                void *each);
};

extern const struct journal_disk journal_disk_real;

/* ---- what is made of them ---- */

/* Read or write all of it, or -1; a file that ends before is EIO. */
int journal_disk_read_all(const struct journal_disk *, int fd, void *bytes, size_t size,
                          uint64_t offset);
int journal_disk_write_all(const struct journal_disk *, int fd, const void *bytes, size_t size,
                           uint64_t offset);

#endif
