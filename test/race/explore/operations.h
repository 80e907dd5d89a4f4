/* What the instrumented production code calls, by way of tsan.c. */
#ifndef PAYRING_TEST_RACE_OPERATIONS_H
#define PAYRING_TEST_RACE_OPERATIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A step is under way and the byte belongs to the region. */
bool race_is_shared(const volatile void *address);

uint64_t race_load(const volatile void *address, unsigned size, int order);
void race_store(volatile void *address, unsigned size, uint64_t value, int order);
uint64_t race_add_to(volatile void *address, unsigned size, uint64_t value, int order); /* before */
void race_fence(int order);
void race_plain(const volatile void *address, size_t size, bool is_store);

/* The doorbell's FIFO: the process's calls end here, not in the kernel. */
int race_fifo_write(void); /* 1: a byte lies in it; 0: nobody listens */
int race_fifo_open(void);  /* the same */
int race_fifo_read(void);  /* how many bytes lay in it */

/* The bell, a futex of 4 bytes. */
void race_futex_wait(const volatile void *address, uint64_t expected);
void race_futex_wake(void);

#endif
