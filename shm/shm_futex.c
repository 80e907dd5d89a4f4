#include "shm/shm_futex.h"

#include <errno.h>
#include <linux/futex.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "common/check.h"

/* Without FUTEX_PRIVATE_FLAG: the word is known by its file and not by its address. */
void shm_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ms)
{
    int64_t ms = timeout_ms < 0 ? 0 : timeout_ms;
    struct timespec timeout = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    if (syscall(SYS_futex, word, FUTEX_WAIT, expected, &timeout, NULL, 0) != 0)
        CHECK(errno == EAGAIN || errno == ETIMEDOUT || errno == EINTR);
}

void shm_futex_wake(_Atomic uint32_t *word)
{
    CHECK(syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0) >= 0);
}
