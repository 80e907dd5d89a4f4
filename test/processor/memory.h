/* Allocation that ends the program when there is none left: a test tool has
 * nothing better to do, and books with a hole would be worse than none. */
#ifndef PROCESSOR_MEMORY_H
#define PROCESSOR_MEMORY_H

#include <stddef.h>

/* Zeroed memory for one thing; the caller's to free(). Never NULL. */
void *memory_new(size_t size);

/* As reallocarray(), never NULL. New bytes are not zeroed. */
void *memory_resize(void *old, size_t count, size_t size);

#endif
