/* What -fsanitize=thread makes the production code call: here, not in the sanitizer's library. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "test/race/explore/operations.h"
#include "test/race/explore/tsan.h"

void __tsan_init(void)
{
}
void __tsan_func_entry(void *pc)
{
    (void)pc;
}
void __tsan_func_exit(void)
{
}

static void plain(const volatile void *address, size_t size, bool is_store)
{
    if (race_is_shared(address))
        race_plain(address, size, is_store);
}

#define PLAIN(bytes)                                                                               \
    void __tsan_read##bytes(void *address)                                                         \
    {                                                                                              \
        plain(address, bytes, false);                                                              \
    }                                                                                              \
    void __tsan_write##bytes(void *address)                                                        \
    {                                                                                              \
        plain(address, bytes, true);                                                               \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(void *address)                                               \
    {                                                                                              \
        plain(address, bytes, false);                                                              \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void *address)                                              \
    {                                                                                              \
        plain(address, bytes, true);                                                               \
    }                                                                                              \
    void __tsan_volatile_read##bytes(void *address)                                                \
    {                                                                                              \
        plain(address, bytes, false);                                                              \
    }                                                                                              \
    void __tsan_volatile_write##bytes(void *address)                                               \
    {                                                                                              \
        plain(address, bytes, true);                                                               \
    }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *address, size_t size)
{
    plain(address, size, false);
}
void __tsan_write_range(void *address, size_t size)
{
    plain(address, size, true);
}
void __tsan_vptr_update(void **address, void *value)
{
    (void)address;
    (void)value;
}
void __tsan_vptr_read(void **address)
{
    (void)address;
}

/* Atomics of our own (the harness's, the counters' in local memory) are what they are. */
#define ATOMIC(bits)                                                                               \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void *address, int order)             \
    {                                                                                              \
        if (race_is_shared(address))                                                               \
            return (uint##bits##_t)race_load(address, bits / 8, order);                            \
        return *(const volatile uint##bits##_t *)address;                                          \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile void *address, uint##bits##_t value, int order)      \
    {                                                                                              \
        if (race_is_shared(address))                                                               \
            race_store(address, bits / 8, value, order);                                           \
        else                                                                                       \
            *(volatile uint##bits##_t *)address = value;                                           \
    }
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

void __tsan_atomic_thread_fence(int order)
{
    race_fence(order);
}

uint32_t __tsan_atomic32_fetch_add(volatile void *address, uint32_t value, int order)
{
    CHECK(race_is_shared(address));
    return (uint32_t)race_add_to(address, 4, value, order);
}

/* Nothing else that is explored reads, changes and writes in one: other words have one writer. */
#define NONE(bits, name)                                                                           \
    uint##bits##_t __tsan_atomic##bits##_##name(volatile void *address, uint##bits##_t value,      \
                                                int order)                                         \
    {                                                                                              \
        (void)address;                                                                             \
        (void)value;                                                                               \
        (void)order;                                                                               \
        fprintf(stderr, "race: an atomic " #name ", which the explorer does not know\n");          \
        abort();                                                                                   \
    }
NONE(8, exchange)
NONE(32, exchange)
NONE(64, exchange)
NONE(64, fetch_add)
NONE(64, fetch_sub)
NONE(64, fetch_or)

/* ------------------------------------------------------ calls of the system (--wrap) */

enum { FIFO_READ = 1000, FIFO_WRITE = 1001 };

ssize_t __wrap_write(int fd, const void *bytes, size_t size)
{
    if (fd != FIFO_WRITE)
        return __real_write(fd, bytes, size);
    if (race_fifo_write())
        return 1;
    errno = EPIPE;
    return -1;
}

ssize_t __wrap_read(int fd, void *bytes, size_t size)
{
    return fd == FIFO_READ ? race_fifo_read() : __real_read(fd, bytes, size);
}

int __wrap_open(const char *path, int flags, ...)
{
    (void)path;
    (void)flags;
    if (race_fifo_open())
        return FIFO_WRITE;
    errno = ENXIO;
    return -1;
}

int __wrap_close(int fd)
{
    return fd == FIFO_READ || fd == FIFO_WRITE ? 0 : __real_close(fd);
}

void __wrap_shm_futex_wait(const _Atomic uint32_t *word, uint32_t expected, int64_t timeout_ms)
{
    (void)timeout_ms;
    race_futex_wait(word, expected);
}

void __wrap_shm_futex_wake(_Atomic uint32_t *word)
{
    (void)word;
    race_futex_wake();
}
