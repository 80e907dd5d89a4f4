/* The compiler and the linker know these names; nobody calls them in source text. */
#ifndef PAYRING_TEST_RACE_TSAN_H
#define PAYRING_TEST_RACE_TSAN_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

void __tsan_init(void);
void __tsan_func_entry(void *);
void __tsan_func_exit(void);
#define TSAN_PLAIN(bytes)                                                                          \
    void __tsan_read##bytes(void *);                                                               \
    void __tsan_write##bytes(void *);                                                              \
    void __tsan_unaligned_read##bytes(void *);                                                     \
    void __tsan_unaligned_write##bytes(void *);                                                    \
    void __tsan_volatile_read##bytes(void *);                                                      \
    void __tsan_volatile_write##bytes(void *);
TSAN_PLAIN(1)
TSAN_PLAIN(2)
TSAN_PLAIN(4)
TSAN_PLAIN(8)
TSAN_PLAIN(16)
void __tsan_read_range(void *, size_t);
void __tsan_write_range(void *, size_t);
void __tsan_vptr_update(void **, void *);
void __tsan_vptr_read(void **);
#define TSAN_ATOMIC(bits)                                                                          \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile void *, int);                         \
    void __tsan_atomic##bits##_store(volatile void *, uint##bits##_t, int);                        \
    uint##bits##_t __tsan_atomic##bits##_exchange(volatile void *, uint##bits##_t, int);           \
    uint##bits##_t __tsan_atomic##bits##_fetch_add(volatile void *, uint##bits##_t, int);          \
    uint##bits##_t __tsan_atomic##bits##_fetch_sub(volatile void *, uint##bits##_t, int);          \
    uint##bits##_t __tsan_atomic##bits##_fetch_or(volatile void *, uint##bits##_t, int);
TSAN_ATOMIC(8)
TSAN_ATOMIC(16)
TSAN_ATOMIC(32)
TSAN_ATOMIC(64)
void __tsan_atomic_thread_fence(int);

ssize_t __wrap_write(int, const void *, size_t);
ssize_t __wrap_read(int, void *, size_t);
int __wrap_open(const char *, int, ...);
int __wrap_close(int);
void __wrap_shm_futex_wait(const _Atomic uint32_t *, uint32_t, int64_t);
void __wrap_shm_futex_wake(_Atomic uint32_t *);
ssize_t __real_write(int, const void *, size_t);
ssize_t __real_read(int, void *, size_t);
int __real_close(int);

#endif
