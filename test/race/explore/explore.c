#include "test/race/explore/explore.h"

#include <stdlib.h>
#include <string.h>

#include "common/check.h"

#define NONE  UINT32_MAX
#define DEATH 255u

struct node {
    uint64_t hash[2];
    uint32_t parent;
    uint8_t party;
    uint8_t option; /* DEATH: it was killed */
};

/* States of one depth, packed one after the other. */
struct layer {
    uint8_t *bytes;
    size_t size, room;
    size_t *at;
    size_t count, at_room;
};

static struct {
    const struct race_scenario *scenario;
    struct node *nodes;
    size_t count, room;
    uint32_t *slots;
    size_t slot_count;
    struct layer now, next;
    struct race_result *result;
    struct race_state initial;
} explorer;

static void *grown(void *memory, size_t count, size_t size)
{
    void *larger = reallocarray(memory, count, size);
    CHECK(larger);
    return larger;
}

static void hash_bytes(uint64_t hash[2], const uint8_t *bytes, size_t size)
{
    uint64_t a = size, b = ~size;
    for (size_t i = 0; i < size; i += 8) {
        uint64_t word = 0;
        memcpy(&word, bytes + i, size - i < 8 ? size - i : 8);
        a = (a ^ word) * UINT64_C(0x9e3779b97f4a7c15);
        a ^= a >> 29;
        b = (b + word) * UINT64_C(0xc2b2ae3d27d4eb4f);
        b ^= b >> 31;
    }
    hash[0] = (a ^ b >> 7) * UINT64_C(0xd6e8feb86659fd93);
    hash[0] ^= hash[0] >> 32;
    hash[1] = b * UINT64_C(0xd6e8feb86659fd93) ^ a;
}

static uint32_t *slot_of(const uint64_t hash[2])
{
    size_t mask = explorer.slot_count - 1, i = hash[0] & mask;
    while (explorer.slots[i] &&
           memcmp(explorer.nodes[explorer.slots[i] - 1].hash, hash, sizeof(uint64_t[2])) != 0)
        i = (i + 1) & mask;
    return &explorer.slots[i];
}

static void grow(void)
{
    explorer.room = explorer.room ? 2 * explorer.room : 1u << 14;
    explorer.nodes = grown(explorer.nodes, explorer.room, sizeof explorer.nodes[0]);
    free(explorer.slots);
    explorer.slot_count = 2 * explorer.room;
    explorer.slots = calloc(explorer.slot_count, sizeof explorer.slots[0]);
    CHECK(explorer.slots);
    for (size_t i = 0; i < explorer.count; i++)
        *slot_of(explorer.nodes[i].hash) = (uint32_t)i + 1;
}

static void push(struct layer *layer, const uint8_t *bytes, size_t size)
{
    while (layer->size + size > layer->room) {
        layer->room = layer->room ? 2 * layer->room : 1u << 20;
        layer->bytes = grown(layer->bytes, layer->room, 1);
    }
    if (layer->count == layer->at_room) {
        layer->at_room = layer->at_room ? 2 * layer->at_room : 1u << 10;
        layer->at = grown(layer->at, layer->at_room, sizeof layer->at[0]);
    }
    layer->at[layer->count++] = layer->size;
    memcpy(layer->bytes + layer->size, bytes, size);
    layer->size += size;
}

static void reach(struct race_state *state, uint32_t parent, unsigned party, unsigned option)
{
    static uint8_t bytes[sizeof(struct race_state)];
    uint64_t hash[2];
    race_normalise(state);
    size_t size = race_pack(state, bytes);
    hash_bytes(hash, bytes, size);
    if (explorer.count == explorer.room)
        grow();
    uint32_t *slot = slot_of(hash);
    if (*slot)
        return;
    explorer.nodes[explorer.count] =
        (struct node){{hash[0], hash[1]}, parent, (uint8_t)party, (uint8_t)option};
    *slot = (uint32_t)++explorer.count;
    push(&explorer.next, bytes, size);
}

/* ------------------------------------------------------------------------- the trace */

static void tell_move(struct race_state *state, const struct node *node, FILE *words)
{
    unsigned options;
    if (node->option == DEATH) {
        fprintf(words, "    %s: is killed; a new one takes its place\n",
                explorer.scenario->party[node->party]);
        race_crash(state, node->party);
    } else {
        (void)race_step(state, node->party, node->option, &options, words);
    }
    race_normalise(state);
}

static unsigned length_of(uint32_t node)
{
    unsigned length = 0;
    for (; explorer.nodes[node].parent != NONE; node = explorer.nodes[node].parent)
        length++;
    return length;
}

/* From the beginning to that node, and from there one move more unless party is NONE. */
static void tell(uint32_t node, unsigned party, unsigned option, const char *broken, FILE *words)
{
    static struct race_state state;
    unsigned length = length_of(node);
    explorer.result->broken = broken;
    explorer.result->moves = length + (party != NONE);
    if (!words)
        return;
    uint32_t *path = grown(NULL, length + 1, sizeof *path);
    for (unsigned i = length + 1; i-- > 0; node = explorer.nodes[node].parent)
        path[i] = node;
    state = explorer.initial;
    for (unsigned i = 1; i <= length; i++)
        tell_move(&state, &explorer.nodes[path[i]], words);
    free(path);
    if (party != NONE)
        tell_move(&state, &(struct node){.party = (uint8_t)party, .option = (uint8_t)option},
                  words);
    fprintf(words, "    broken: %s\n", broken);
}

/* ----------------------------------------------------------------------- the breadth */

static void unpack(struct race_state *state, size_t index)
{
    race_unpack(state, explorer.now.bytes + explorer.now.at[index]);
}

/* All steps of one party from this state. false: a violation. */
static bool step_party(struct race_state *state, size_t index, uint32_t node, unsigned party,
                       bool *goes_on, FILE *words)
{
    unsigned options = 1;
    for (unsigned option = 0; option < options; option++) {
        unpack(state, index);
        if (state->party[party].done)
            return true;
        enum race_outcome outcome = race_step(state, party, option, &options, NULL);
        if (outcome == RACE_BLOCKED)
            return true;
        explorer.result->steps++;
        *goes_on = true;
        if (outcome == RACE_BROKEN) {
            tell(node, party, option, race_what_is_broken(), words);
            return false;
        }
        reach(state, node, party, option);
    }
    return true;
}

static void kill_party(struct race_state *state, size_t index, uint32_t node, unsigned party)
{
    unpack(state, index);
    if (!state->crashes_left || state->party[party].done ||
        !(explorer.scenario->mortal >> party & 1))
        return;
    race_crash(state, party);
    explorer.result->crashes++;
    reach(state, node, party, DEATH);
}

static bool expand_some(unsigned parties, size_t index, uint32_t node, bool *goes_on, FILE *words)
{
    static struct race_state state;
    for (unsigned party = 0; party < explorer.scenario->parties; party++) {
        if (!(parties >> party & 1))
            continue;
        if (!step_party(&state, index, node, party, goes_on, words))
            return false;
        kill_party(&state, index, node, party);
    }
    return true;
}

static bool expand(size_t index, uint32_t node, FILE *words)
{
    static struct race_state state;
    bool goes_on = false;
    /* A shortest trace wants every order. */
    unsigned first = race_lie && !(race_lie->parties & RACE_IN_TURN) ? 0 : explorer.scenario->first;
    if (first && !expand_some(first, index, node, &goes_on, words))
        return false;
    if (!goes_on && !expand_some(~first, index, node, &goes_on, words))
        return false;
    if (goes_on)
        return true;
    unpack(&state, index);
    const char *broken = explorer.scenario->at_end(&state);
    if (broken)
        tell(node, NONE, 0, broken, words);
    return broken == NULL;
}

static void clear(void)
{
    free(explorer.nodes);
    free(explorer.slots);
    free(explorer.now.bytes);
    free(explorer.now.at);
    free(explorer.next.bytes);
    free(explorer.next.at);
    memset(&explorer, 0, sizeof explorer);
}

void race_explore(const struct race_scenario *scenario, const struct race_parameters *parameters,
                  unsigned long states_max, struct race_result *result, FILE *words)
{
    static struct race_state state;
    bool good = true;
    memset(result, 0, sizeof *result);
    explorer.scenario = scenario;
    explorer.result = result;
    race_begin(scenario, parameters, &explorer.initial);
    race_normalise(&explorer.initial);
    state = explorer.initial;
    reach(&state, NONE, 0, 0);
    while (good && !result->full && explorer.next.count > 0) {
        struct layer done = explorer.now;
        explorer.now = explorer.next;
        explorer.next = done;
        explorer.next.size = explorer.next.count = 0;
        size_t first = explorer.count - explorer.now.count;
        for (size_t i = 0; i < explorer.now.count && good && !result->full; i++) {
            good = expand(i, (uint32_t)(first + i), words);
            result->full = states_max && explorer.count >= states_max;
        }
        result->depth += explorer.next.count > 0;
    }
    result->states = explorer.count;
    clear();
}
