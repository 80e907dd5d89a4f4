/* Loaded into a worker (LD_PRELOAD): when it has slept at a bell (a futex, shm_futex.c), the time
 * (CLOCK_MONOTONIC, ns) goes into the eight bytes of the file that WAKE_STAMP names. That is just
 * before it withdraws the announcement of its sleep (shm_doorbell_awake). Only the first one
 * after somebody has put a 0 there. */
#include <dlfcn.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static _Atomic int64_t *stamp;
static long (*real_syscall)(long, ...);

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("WAKE_STAMP");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *found = fd < 0 ? MAP_FAILED
                         : mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (found != MAP_FAILED)
        stamp = found;
    if (fd >= 0)
        close(fd);
    *(void **)&real_syscall = dlsym(RTLD_NEXT, "syscall");
}

static void note_time(void)
{
    struct timespec now;
    int64_t nothing = 0;
    clock_gettime(CLOCK_MONOTONIC, &now);
    (void)atomic_compare_exchange_strong(stamp, &nothing,
                                         now.tv_sec * INT64_C(1000000000) + now.tv_nsec);
}

/* Of any call as many arguments as the kernel takes at most. */
long syscall(long number, ...)
{
    va_list list;
    va_start(list, number);
    long a = va_arg(list, long), b = va_arg(list, long), c = va_arg(list, long);
    long d = va_arg(list, long), e = va_arg(list, long), f = va_arg(list, long);
    va_end(list);
    long result = real_syscall(number, a, b, c, d, e, f);
    if (stamp && number == SYS_futex && (b & FUTEX_CMD_MASK) == FUTEX_WAIT)
        note_time();
    return result;
}
