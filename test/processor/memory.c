#include "test/processor/memory.h"

#include <stdio.h>
#include <stdlib.h>

static void *checked(void *memory)
{
    if (memory == NULL) {
        fputs("processor: out of memory\n", stderr);
        abort();
    }
    return memory;
}

void *memory_new(size_t size)
{
    return checked(calloc(1, size));
}

void *memory_resize(void *old, size_t count, size_t size)
{
    return checked(reallocarray(old, count, size));
}
