#include "worker/journal_ids.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "common/bloom.h"

/* A line of 512 bits for each 32 ids. */
#define IDS_OF_A_LINE 32u
#define PART_IDS_MIN  UINT64_C(4096)
#define PARTS_MAX     64u

struct part {
    uint64_t *lines;
    uint64_t capacity, count;
};

/* Oldest first. */
struct list {
    struct part parts[PARTS_MAX];
    unsigned count;
};

struct journal_ids {
    struct uuid seed;
    uint64_t part_ids_max;
    struct list old, young;
    uint64_t dropped; /* ids whose parts are gone */
    atomic_bool loaded;
    atomic_bool incomplete; /* an id found no memory */
    _Atomic uint64_t forgotten;
};

struct journal_ids *journal_ids_create(uint64_t ids_max, const struct uuid *seed)
{
    struct journal_ids *ids = calloc(1, sizeof *ids);
    if (!ids)
        return NULL;
    ids->seed = *seed;
    ids->part_ids_max = PART_IDS_MIN;
    while (ids->part_ids_max < ids_max / 4)
        ids->part_ids_max *= 2;
    return ids;
}

static void free_list(struct list *list)
{
    for (unsigned i = 0; i < list->count; i++)
        free(list->parts[i].lines);
}

void journal_ids_destroy(struct journal_ids *ids)
{
    if (!ids)
        return;
    free_list(&ids->old);
    free_list(&ids->young);
    free(ids);
}

/* Each twice as large as the one before: few of them, and not much more than is needed. */
static struct part *begin_part(const struct journal_ids *ids, struct list *list)
{
    uint64_t capacity = PART_IDS_MIN;
    if (list->count == PARTS_MAX)
        return NULL;
    if (list->count > 0)
        capacity = list->parts[list->count - 1].capacity * 2;
    if (capacity > ids->part_ids_max)
        capacity = ids->part_ids_max;
    uint64_t *lines = calloc(capacity / IDS_OF_A_LINE, BLOOM_LINE_WORDS * sizeof *lines);
    if (!lines)
        return NULL;
    list->parts[list->count] = (struct part){.lines = lines, .capacity = capacity};
    return &list->parts[list->count++];
}

static uint64_t *line_of(const struct part *part, const struct bloom_pattern *pattern)
{
    return part->lines + (pattern->hash & (part->capacity / IDS_OF_A_LINE - 1)) * BLOOM_LINE_WORDS;
}

void journal_ids_give_up(struct journal_ids *ids)
{
    atomic_store_explicit(&ids->incomplete, true, memory_order_release);
}

static void add(struct journal_ids *ids, struct list *list, const struct uuid *id)
{
    struct part *part = list->count ? &list->parts[list->count - 1] : NULL;
    if (atomic_load_explicit(&ids->incomplete, memory_order_acquire))
        return; /* nobody asks any more */
    if (!part || part->count == part->capacity)
        part = begin_part(ids, list);
    if (!part) {
        journal_ids_give_up(ids);
        return;
    }
    struct bloom_pattern pattern = bloom_pattern_of(id, &ids->seed);
    uint64_t *line = line_of(part, &pattern);
    for (unsigned i = 0; i < BLOOM_LINE_WORDS; i++)
        line[i] |= pattern.words[i];
    part->count++;
}

void journal_ids_add_old(struct journal_ids *ids, const struct uuid *id)
{
    add(ids, &ids->old, id);
}

void journal_ids_add(struct journal_ids *ids, const struct uuid *id)
{
    add(ids, &ids->young, id);
}

void journal_ids_loaded(struct journal_ids *ids)
{
    /* Pairs with the acquire in journal_ids_may_know. */
    atomic_store_explicit(&ids->loaded, true, memory_order_release);
}

void journal_ids_forget(struct journal_ids *ids, uint64_t count)
{
    atomic_fetch_add_explicit(&ids->forgotten, count, memory_order_relaxed);
}

/* Parts that are wholly forgotten, but for the last `kept`. */
static void drop(struct journal_ids *ids, struct list *list, unsigned kept, uint64_t forgotten)
{
    unsigned gone = 0;
    while (gone + kept < list->count && list->parts[gone].count <= forgotten - ids->dropped) {
        free(list->parts[gone].lines);
        ids->dropped += list->parts[gone++].count;
    }
    list->count -= gone;
    for (unsigned i = 0; gone > 0 && i < list->count; i++)
        list->parts[i] = list->parts[i + gone];
}

/* All old ones are older than any young one, of which the last is still being filled. */
static void drop_forgotten(struct journal_ids *ids)
{
    uint64_t forgotten = atomic_load_explicit(&ids->forgotten, memory_order_relaxed);
    drop(ids, &ids->old, 0, forgotten);
    if (ids->old.count == 0)
        drop(ids, &ids->young, 1, forgotten);
}

static bool list_has(const struct list *list, const struct bloom_pattern *pattern)
{
    for (unsigned i = list->count; i-- > 0;)
        if (bloom_line_has(line_of(&list->parts[i], pattern), pattern))
            return true;
    return false;
}

bool journal_ids_may_know(struct journal_ids *ids, const struct uuid *id)
{
    if (!atomic_load_explicit(&ids->loaded, memory_order_acquire) ||
        atomic_load_explicit(&ids->incomplete, memory_order_acquire))
        return true;
    drop_forgotten(ids);
    struct bloom_pattern pattern = bloom_pattern_of(id, &ids->seed);
    return list_has(&ids->young, &pattern) || list_has(&ids->old, &pattern);
}

static uint64_t bytes_of(const struct list *list)
{
    uint64_t bytes = 0;
    for (unsigned i = 0; i < list->count; i++)
        bytes += list->parts[i].capacity / IDS_OF_A_LINE * BLOOM_LINE_WORDS * sizeof(uint64_t);
    return bytes;
}

uint64_t journal_ids_bytes(const struct journal_ids *ids)
{
    return bytes_of(&ids->old) + bytes_of(&ids->young);
}
