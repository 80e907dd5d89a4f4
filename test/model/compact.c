#include "test/model/explore.h"

#include <pthread.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "common/check.h"
#include "test/model/model.h"
#include "test/model/words.h"

/* Touched only as deep as it gets. */
#define STACK_BYTES (size_t)(UINT64_C(8) << 30)

static struct {
    uint64_t *known; /* open addressing; 0: free */
    size_t slots, limit;
    unsigned depth;
    struct model_result *result;
    FILE *trace;
} explorer;

/* -------------------------------------------------------------- ids without a name */

static uint8_t swapped_bits(unsigned bits, unsigned a, unsigned b)
{
    unsigned differ = (bits >> a ^ bits >> b) & 1;
    return (uint8_t)(bits ^ (differ << a | differ << b));
}

static void rename_one(uint8_t *id, bool used, unsigned a, unsigned b)
{
    if (used && (*id == a || *id == b))
        *id = (uint8_t)(*id == a ? b : a);
}

static void swap_bytes(void *one, void *other, size_t size)
{
    uint8_t kept[16];
    CHECK(size <= sizeof kept);
    memcpy(kept, one, size);
    memcpy(one, other, size);
    memcpy(other, kept, size);
}

/* Every place that names an id. */
static void swap_ids(struct model_state *s, unsigned a, unsigned b)
{
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        rename_one(&s->record[i].id, s->record[i].state != PAYMENT_FREE, a, b);
    for (unsigned ring = 0; ring < MODEL_RINGS; ring++)
        for (unsigned i = 0; i < s->ring_length[ring]; i++)
            rename_one(&s->ring[ring][i].id, true, a, b);
    for (unsigned i = 0; i < MODEL_ROWS; i++)
        rename_one(&s->row[i].id, s->row[i].amount != 0, a, b);
    for (unsigned i = 0; i < s->asleep_count; i++)
        rename_one(&s->asleep[i].id, true, a, b);
    rename_one(&s->stray.id, s->stray.waiting != WAITING_NOT, a, b);
    rename_one(&s->decided_id, s->decided != 0, a, b);
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        swap_bytes(&s->book[p][a], &s->book[p][b], sizeof s->book[p][a]);
    swap_bytes(s->posts_left[a], s->posts_left[b], sizeof s->posts_left[a]);
    s->filter_ids[0] = swapped_bits(s->filter_ids[0], a, b);
    s->filter_ids[1] = swapped_bits(s->filter_ids[1], a, b);
    s->promised = swapped_bits(s->promised, a, b);
    s->rejected = swapped_bits(s->rejected, a, b);
    s->forgotten = swapped_bits(s->forgotten, a, b);
    s->told = swapped_bits(s->told, a, b);
    s->accepted = swapped_bits(s->accepted, a, b);
    s->lost = swapped_bits(s->lost, a, b);
    s->recounted = swapped_bits(s->recounted, a, b);
    s->disk.accepted = swapped_bits(s->disk.accepted, a, b);
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        rename_one(&s->disk.open[i].id, s->disk.open[i].state != PAYMENT_FREE, a, b);
    model_normalise(s);
}

/* Of all names that the ids could have, those that make the smallest bytes. */
static void forget_names(struct model_state *s)
{
    unsigned first = model_bounds.foreign > 0     ? model_bounds.foreign
                     : model_bounds.conflicts > 0 ? 1
                                                  : 0;
    unsigned alike = model_bounds.ids > first ? model_bounds.ids - first : 0;
    unsigned swaps = alike < 2 ? 0 : alike == 2 ? 1 : 5; /* two in turn reach all six orders */
    struct model_state other = *s;
    for (unsigned i = 0; i < swaps; i++) {
        swap_ids(&other, first + i % 2, first + i % 2 + 1);
        if (memcmp(&other, s, sizeof other) < 0)
            *s = other;
    }
}

/* ------------------------------------------------------------------------ the depth */

/* true: it was not known. */
static bool learn(const struct model_state *state)
{
    uint64_t hash[2];
    model_hash(hash, state);
    uint64_t key = hash[0] | (hash[0] == 0);
    size_t i = hash[1] & (explorer.slots - 1);
    while (explorer.known[i] && explorer.known[i] != key)
        i = (i + 1) & (explorer.slots - 1);
    if (explorer.known[i])
        return false;
    explorer.known[i] = key;
    explorer.result->states++;
    if (explorer.result->states >= explorer.limit)
        explorer.result->full = true;
    return true;
}

static void report(const char *broken, const struct model_state *state)
{
    struct text text = {.length = 0};
    if (explorer.result->broken)
        return;
    explorer.result->broken = broken;
    explorer.result->moves = explorer.depth;
    if (!explorer.trace)
        return;
    say_state(&text, state);
    fprintf(explorer.trace, "# broken: %s\n# %s\n# the moves to it, the last first:\n", broken,
            text.line);
}

static void tell_move(const struct model_state *from, struct model_move move)
{
    struct text text = {.length = 0};
    struct model_run run;
    if (!explorer.trace)
        return;
    model_perform(&run, from, move, &text);
    fprintf(explorer.trace, "# %3u  %s\n", explorer.depth, text.line);
}

static void expand(const struct model_state *state);

static void visit(void *context, const struct model_run *run, struct model_move move)
{
    struct model_result *result = explorer.result;
    if (result->broken || result->full)
        return;
    result->transitions++;
    if (run->cut) {
        result->cut++;
        return;
    }
    struct model_state state = run->state;
    forget_names(&state);
    if (!learn(&state))
        return;
    explorer.depth++;
    if (explorer.depth > result->depth)
        result->depth = explorer.depth;
    expand(&state);
    if (result->broken)
        tell_move(context, move);
    explorer.depth--;
}

static void expand(const struct model_state *state)
{
    struct model_move unused;
    const char *broken = model_broken_promise(state);
    if (!broken && !model_honest_move(state, &unused))
        broken = model_broken_at_end(state);
    if (broken)
        report(broken, state);
    else
        model_each_move(state, visit, (void *)(uintptr_t)state);
}

static void *explore_all(void *unused)
{
    for (unsigned i = 0; i < model_initial_count() && !explorer.result->broken; i++) {
        struct model_state state;
        model_initial(&state, i);
        forget_names(&state);
        if (learn(&state))
            expand(&state);
    }
    return unused;
}

void model_explore_compact(struct model_result *result, unsigned long mib, FILE *trace)
{
    pthread_attr_t attributes;
    pthread_t thread;
    memset(result, 0, sizeof *result);
    explorer.slots = 1;
    while (explorer.slots * 2 * sizeof explorer.known[0] <= mib << 20)
        explorer.slots *= 2;
    explorer.limit = explorer.slots / 8 * 7;
    explorer.known = mmap(NULL, explorer.slots * sizeof explorer.known[0], PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(explorer.known != MAP_FAILED);
    explorer.result = result;
    explorer.trace = trace;
    model_posts_first = true;
    CHECK(pthread_attr_init(&attributes) == 0 &&
          pthread_attr_setstacksize(&attributes, STACK_BYTES) == 0 &&
          pthread_create(&thread, &attributes, explore_all, NULL) == 0);
    pthread_join(thread, NULL);
    model_posts_first = false;
    munmap(explorer.known, explorer.slots * sizeof explorer.known[0]);
    memset(&explorer, 0, sizeof explorer);
}
