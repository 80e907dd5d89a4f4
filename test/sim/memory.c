/* What simulated processes allocate: pieces of large blocks that belong to the process and go with
 * it, so that a killed one leaves nothing behind over a million seeds. free() keeps its piece until
 * then, but for the large ones. The simulator's own memory is the real machine's. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "test/sim/kernel.h"

#define BLOCK_SIZE 65536u
#define ALIGNMENT  64u
#define FREE_MAX   64 /* empty blocks that are kept for the next process */

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *place, size_t size);
void __wrap_free(void *place);
void *__real_malloc(size_t size);
void *__real_realloc(void *place, size_t size);
void *__real_calloc(size_t count, size_t size);
void __real_free(void *place);

/* Before each piece, so that free knows whose it is. */
struct piece {
    uint64_t mark;
    uint64_t size;
    uint8_t reserved[ALIGNMENT - 16];
};
#define MARK_OURS UINT64_C(0x51d0c0de0b10c4ed)
#define MARK_REAL UINT64_C(0x51d0c0de4ea10000)

struct sim_memory {
    struct sim_memory *next;
    size_t size, used;
    uint8_t *bytes;
};

static struct sim_memory *kept;
static unsigned kept_count;

static struct sim_memory *new_block(size_t size)
{
    if (size <= BLOCK_SIZE && kept) {
        struct sim_memory *block = kept;
        kept = block->next;
        kept_count--;
        block->used = 0;
        return block;
    }
    struct sim_memory *block = __real_malloc(sizeof *block);
    size = size > BLOCK_SIZE ? size : BLOCK_SIZE;
    CHECK(block != NULL);
    *block = (struct sim_memory){.size = size, .bytes = aligned_alloc(ALIGNMENT, size)};
    CHECK(block->bytes != NULL);
    return block;
}

void sim_memory_release(struct sim_process *process)
{
    for (struct sim_memory *block = process->memory, *next; block; block = next) {
        next = block->next;
        if (block->size == BLOCK_SIZE && kept_count < FREE_MAX) {
            block->next = kept;
            kept = block;
            kept_count++;
        } else {
            __real_free(block->bytes);
            __real_free(block);
        }
    }
    process->memory = NULL;
}

void *__wrap_malloc(size_t size)
{
    struct sim_process *process = sim_process_current();
    size_t whole = sizeof(struct piece) + (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    struct piece *piece;
    if (!process) {
        piece = __real_malloc(whole);
        CHECK(piece != NULL);
        *piece = (struct piece){.mark = MARK_REAL, .size = size};
        return piece + 1;
    }
    struct sim_memory *block = process->memory;
    if (!block || block->size - block->used < whole) {
        block = new_block(whole);
        block->next = process->memory;
        process->memory = block;
    }
    piece = (void *)(block->bytes + block->used);
    block->used += whole;
    *piece = (struct piece){.mark = MARK_OURS, .size = size};
    return piece + 1;
}

void *__wrap_calloc(size_t count, size_t size)
{
    void *place = __wrap_malloc(count * size);
    return memset(place, 0, count * size);
}

void __wrap_free(void *place)
{
    if (!place)
        return;
    struct piece *piece = (struct piece *)place - 1;
    CHECK(piece->mark == MARK_OURS || piece->mark == MARK_REAL);
    if (piece->mark == MARK_REAL)
        __real_free(piece);
}

void *__wrap_realloc(void *place, size_t size)
{
    void *larger = __wrap_malloc(size);
    if (place) {
        size_t old = ((struct piece *)place - 1)->size;
        memcpy(larger, place, old < size ? old : size);
        __wrap_free(place);
    }
    return larger;
}

/* The simulator's tables grow while a process runs, and are not its. */
void *sim_own_realloc(void *place, size_t size)
{
    void *larger = __real_realloc(place, size);
    CHECK(larger != NULL);
    return larger;
}
