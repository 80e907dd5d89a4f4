/* Files, FIFOs, locks and mapped memory: as much of a file system as shm_region.c, shm_lease.c,
 * shm_doorbell.c, shm_futex.c and health.c ask for, and a CHECK for whatever else they might. Every
 * call is a step at which its process may die or lose the processor, before it does anything. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/check.h"
#include "test/sim/kernel.h"
#include "test/sim/random.h"

#define FILES_MAX 64
#define NAMES_MAX 32
#define FDS_MAX   256
#define FD_FIRST  1000 /* none of the real machine's */
#define LOCKS     128  /* bytes of a file that can be locked */
#define PIPE_SIZE 65536
#define BLOCK     4096

enum file_kind { FILE_NONE, FILE_REGULAR, FILE_FIFO, FILE_EVENT };

struct file {
    enum file_kind kind;
    unsigned links, opened;
    uint64_t inode;
    uint8_t *data; /* REGULAR; kept for the next file of this place */
    size_t size, capacity;
    size_t bytes;        /* FIFO: in it; EVENT: not 0 = readable */
    unsigned listeners;  /* FIFO: descriptors open for reading */
    int16_t lock[LOCKS]; /* 0 = free, else the descriptor + 1 */
};

struct name {
    char path[112];
    struct file *file; /* NULL: free */
};

struct fd {
    struct file *file; /* NULL: free */
    struct sim_process *process;
    bool reads;
};

static struct file files[FILES_MAX];
static struct name names[NAMES_MAX];
static struct fd fds[FDS_MAX];
static uint64_t inodes;

/* --------------------------------------------------------------------- tables */

void sim_files_begin(void)
{
    for (unsigned i = 0; i < FILES_MAX; i++)
        files[i].kind = FILE_NONE;
    memset(names, 0, sizeof names);
    memset(fds, 0, sizeof fds);
    inodes = 0;
}

static struct name *find_name(const char *path)
{
    for (unsigned i = 0; i < NAMES_MAX; i++)
        if (names[i].file && strcmp(names[i].path, path) == 0)
            return &names[i];
    return NULL;
}

bool sim_file_exists(const char *path)
{
    return find_name(path) != NULL;
}

static void add_name(const char *path, struct file *file)
{
    unsigned i = 0;
    while (i < NAMES_MAX && names[i].file)
        i++;
    CHECK(i < NAMES_MAX);
    snprintf(names[i].path, sizeof names[i].path, "%s", path);
    names[i].file = file;
    file->links++;
}

static struct file *new_file(enum file_kind kind)
{
    unsigned i = 0;
    while (i < FILES_MAX && files[i].kind != FILE_NONE)
        i++;
    CHECK(i < FILES_MAX);
    struct file *file = &files[i];
    file->kind = kind;
    file->links = file->opened = file->listeners = 0;
    file->inode = ++inodes;
    file->size = file->bytes = 0;
    memset(file->lock, 0, sizeof file->lock);
    return file;
}

static void drop_if_unused(struct file *file)
{
    if (file->links == 0 && file->opened == 0)
        file->kind = FILE_NONE;
}

static int new_fd(struct file *file, bool reads)
{
    int i = 0;
    while (i < FDS_MAX && fds[i].file)
        i++;
    CHECK(i < FDS_MAX);
    fds[i] = (struct fd){file, sim_process_current(), reads};
    file->opened++;
    file->listeners += file->kind == FILE_FIFO && reads;
    return FD_FIRST + i;
}

static struct fd *get_fd(int fd)
{
    CHECK(fd >= FD_FIRST && fd < FD_FIRST + FDS_MAX && fds[fd - FD_FIRST].file);
    CHECK(fds[fd - FD_FIRST].process == sim_process_current());
    return &fds[fd - FD_FIRST];
}

static void close_fd(struct fd *fd)
{
    struct file *file = fd->file;
    int16_t holder = (int16_t)(fd - fds + 1);
    for (unsigned i = 0; file->kind == FILE_REGULAR && i < LOCKS; i++)
        if (file->lock[i] == holder)
            file->lock[i] = 0;
    file->opened--;
    file->listeners -= file->kind == FILE_FIFO && fd->reads;
    fd->file = NULL;
    drop_if_unused(file);
}

void sim_files_close_all(struct sim_process *process)
{
    for (unsigned i = 0; i < FDS_MAX; i++)
        if (fds[i].file && fds[i].process == process)
            close_fd(&fds[i]);
}

static int fails_with(int error)
{
    errno = error;
    return -1;
}

/* ------------------------------------------------------ names and descriptors */

int __wrap_open(const char *path, int flags, ...);
int __wrap_close(int fd);
int __wrap_access(const char *path, int mode);
int __wrap_link(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_mkfifo(const char *path, mode_t mode);
int __wrap_lstat(const char *path, struct stat *result);
int __wrap_fstat(int fd, struct stat *result);

int __wrap_open(const char *path, int flags, ...)
{
    sim_store();
    struct name *name = find_name(path);
    if (name && (flags & O_CREAT) && (flags & O_EXCL))
        return fails_with(EEXIST);
    if (!name && !(flags & O_CREAT))
        return fails_with(ENOENT);
    bool reads = (flags & O_ACCMODE) != O_WRONLY;
    if (name && name->file->kind == FILE_FIFO && !reads && name->file->listeners == 0)
        return fails_with(ENXIO);
    struct file *file = name ? name->file : new_file(FILE_REGULAR);
    if (!name)
        add_name(path, file);
    return new_fd(file, reads);
}

int __wrap_close(int fd)
{
    sim_store();
    close_fd(get_fd(fd));
    return 0;
}

int __wrap_access(const char *path, int mode)
{
    (void)mode;
    sim_store();
    return find_name(path) ? 0 : fails_with(ENOENT);
}

int __wrap_link(const char *from, const char *to)
{
    sim_store();
    struct name *old = find_name(from);
    if (!old)
        return fails_with(ENOENT);
    if (find_name(to))
        return fails_with(EEXIST);
    add_name(to, old->file);
    return 0;
}

int __wrap_unlink(const char *path)
{
    sim_store();
    struct name *name = find_name(path);
    if (!name)
        return fails_with(ENOENT);
    struct file *file = name->file;
    name->file = NULL;
    file->links--;
    drop_if_unused(file);
    return 0;
}

int __wrap_mkfifo(const char *path, mode_t mode)
{
    (void)mode;
    sim_store();
    if (find_name(path))
        return fails_with(EEXIST);
    add_name(path, new_file(FILE_FIFO));
    return 0;
}

static void describe(const struct file *file, struct stat *result)
{
    *result = (struct stat){
        .st_dev = 1,
        .st_ino = file->inode,
        .st_mode = file->kind == FILE_FIFO ? S_IFIFO | 0600 : S_IFREG | 0600,
        .st_size = (off_t)file->size,
    };
}

int __wrap_lstat(const char *path, struct stat *result)
{
    sim_store();
    struct name *name = find_name(path);
    if (!name)
        return fails_with(ENOENT);
    describe(name->file, result);
    return 0;
}

int __wrap_fstat(int fd, struct stat *result)
{
    describe(get_fd(fd)->file, result);
    return 0;
}

/* -------------------------------------------------------------- FIFOs, events */

ssize_t __wrap_read(int fd, void *buffer, size_t size);
ssize_t __wrap_write(int fd, const void *buffer, size_t size);
int __wrap_eventfd(unsigned value, int flags);
int __wrap_eventfd_write(int fd, eventfd_t value);

ssize_t __wrap_read(int fd, void *buffer, size_t size)
{
    sim_store();
    struct file *file = get_fd(fd)->file;
    CHECK(file->kind == FILE_FIFO);
    if (file->bytes == 0)
        return fails_with(EAGAIN);
    size_t count = file->bytes < size ? file->bytes : size;
    memset(buffer, 0, count);
    file->bytes -= count;
    return (ssize_t)count;
}

ssize_t __wrap_write(int fd, const void *buffer, size_t size)
{
    (void)buffer;
    sim_store();
    struct file *file = get_fd(fd)->file;
    CHECK(file->kind == FILE_FIFO && size == 1);
    if (file->listeners == 0)
        return fails_with(EPIPE);
    if (file->bytes == PIPE_SIZE)
        return fails_with(EAGAIN);
    file->bytes++;
    sim_wake(file);
    return 1;
}

int __wrap_eventfd(unsigned value, int flags)
{
    (void)flags;
    CHECK(value == 0);
    return new_fd(new_file(FILE_EVENT), true);
}

int __wrap_eventfd_write(int fd, eventfd_t value)
{
    struct file *file = get_fd(fd)->file;
    CHECK(file->kind == FILE_EVENT && value > 0);
    file->bytes = 1;
    sim_wake(file);
    return 0;
}

/* --------------------------------------------------------------------- bells */

void __wrap_shm_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ms);
void __wrap_shm_futex_wake(_Atomic uint32_t *word);

/* Every process has the region at one place. No step between the look and the sleep: the kernel
 * does both in one. */
void __wrap_shm_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ms)
{
    sim_store();
    if (*word == expected)
        sim_wait_on(word, NULL, sim_now_us + (timeout_ms > 0 ? timeout_ms * 1000 : 1));
}

void __wrap_shm_futex_wake(_Atomic uint32_t *word)
{
    sim_store();
    sim_wake(word);
}

/* --------------------------------------------------------------- what poll says */

bool sim_fd_is_readable(int fd, const void **channel)
{
    *channel = get_fd(fd)->file;
    return get_fd(fd)->file->bytes > 0;
}

/* ---------------------------------------------------------------------- locks */

int __wrap_fcntl(int fd, int command, ...);

static int first_conflict(const struct file *file, int16_t holder, const struct flock *lock)
{
    CHECK(lock->l_start >= 0 && lock->l_len > 0 && lock->l_start + lock->l_len <= LOCKS);
    for (int i = 0; i < lock->l_len; i++) {
        int16_t other = file->lock[lock->l_start + i];
        if (other != 0 && other != holder)
            return (int)lock->l_start + i;
    }
    return -1;
}

int __wrap_fcntl(int fd, int command, ...)
{
    va_list arguments;
    va_start(arguments, command);
    struct flock *lock = va_arg(arguments, struct flock *);
    va_end(arguments);
    sim_store();
    struct file *file = get_fd(fd)->file;
    int16_t holder = (int16_t)(fd - FD_FIRST + 1);
    int conflict = first_conflict(file, holder, lock);
    if (command == F_OFD_GETLK) {
        if (conflict < 0)
            lock->l_type = F_UNLCK;
        else
            lock->l_start = conflict;
        return 0;
    }
    CHECK(command == F_OFD_SETLK);
    if (lock->l_type == F_WRLCK && conflict >= 0)
        return fails_with(EAGAIN);
    for (int i = 0; i < lock->l_len; i++) {
        int16_t *byte = &file->lock[lock->l_start + i];
        if (lock->l_type == F_WRLCK)
            *byte = holder;
        else if (*byte == holder)
            *byte = 0;
    }
    return 0;
}

/* --------------------------------------------------------------------- memory */

int __wrap_posix_fallocate(int fd, off_t offset, off_t size);
int __wrap_fstatvfs(int fd, struct statvfs *result);
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset);
int __wrap_munmap(void *address, size_t size);
int __wrap_mprotect(void *address, size_t size, int protection);
ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags);

void *__real_malloc(size_t size);
void __real_free(void *place);

int __wrap_posix_fallocate(int fd, off_t offset, off_t size)
{
    sim_store();
    struct file *file = get_fd(fd)->file;
    CHECK(offset == 0 && file->kind == FILE_REGULAR);
    size_t wanted = (size_t)size;
    if (file->capacity < wanted) {
        /* A page of room in front, for an address that is a multiple of a page. */
        file->data = __real_malloc(wanted + BLOCK);
        CHECK(file->data != NULL);
        file->data += BLOCK - (uintptr_t)file->data % BLOCK;
        file->capacity = wanted;
    }
    memset(file->data, 0, wanted);
    file->size = wanted;
    return 0;
}

int __wrap_fstatvfs(int fd, struct statvfs *result)
{
    (void)fd, (void)result;
    CHECK(!"there is always room");
    return -1;
}

/* One mapping for all: who may write what is the real kernel's affair (the cluster plays). */
void *__wrap_mmap(void *address, size_t size, int protection, int flags, int fd, off_t offset)
{
    (void)address, (void)protection, (void)flags;
    sim_store();
    struct file *file = get_fd(fd)->file;
    CHECK(offset == 0 && size <= file->size);
    return file->data;
}

int __wrap_munmap(void *address, size_t size)
{
    (void)address, (void)size;
    return 0;
}

int __wrap_mprotect(void *address, size_t size, int protection)
{
    (void)address, (void)size, (void)protection;
    sim_store();
    return 0;
}

ssize_t __wrap_getrandom(void *buffer, size_t size, unsigned flags)
{
    (void)flags;
    uint8_t *bytes = buffer;
    for (size_t i = 0; i < size; i++)
        bytes[i] = (uint8_t)sim_random();
    return (ssize_t)size;
}
