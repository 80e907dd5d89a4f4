#include "shm/shm_futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* A wait that the kernel refuses (no memory for the word's page) must not become a busy one. */
#define REFUSED_WAIT_MS 10

static struct timespec time_of(int64_t ms)
{
    return (struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
}

/* Without FUTEX_PRIVATE_FLAG: the word is known by its file and not by its address. */
void shm_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ms)
{
    int64_t ms = timeout_ms < 0 ? 0 : timeout_ms;
    struct timespec timeout = time_of(ms),
                    nap = time_of(ms < REFUSED_WAIT_MS ? ms : REFUSED_WAIT_MS);
    if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0) != 0 && errno != EAGAIN &&
        errno != ETIMEDOUT && errno != EINTR)
        nanosleep(&nap, NULL);
}

void shm_futex_wake(_Atomic uint32_t *word)
{
    (void)syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
