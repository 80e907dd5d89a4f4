#include "test/model/explore.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "test/model/model.h"
#include "test/model/words.h"

struct model_bounds model_bounds;

#define NONE UINT32_MAX

/* A state that was reached: how, and by what it is known. */
struct node {
    uint64_t hash[2];
    uint32_t parent; /* NONE: an initial state */
    struct model_move move;
};

struct frontier {
    struct model_state *states;
    size_t count, room;
};

static struct {
    struct node *nodes;
    uint32_t *honest; /* the state after the honest move; NONE: it ends here, or is not known */
    size_t count, room;
    uint32_t *slots; /* open addressing: node number + 1 */
    size_t slot_count;
    struct frontier now, next;
    size_t first_now; /* number of the first state of `now` */
    uint32_t expanding;
    struct model_move honest_move;
    bool has_honest;
    struct model_result *result;
    FILE *trace;
} explorer;

static void *grown(void *memory, size_t count, size_t size)
{
    void *larger = reallocarray(memory, count, size);
    CHECK(larger);
    return larger;
}

/* ---------------------------------------------------------------------- known states */

static uint64_t mixed(uint64_t x)
{
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    x ^= x >> 32;
    x *= UINT64_C(0xd6e8feb86659fd93);
    return x ^ x >> 32;
}

/* Two multiplications by odd constants and a rotation a word: each word moves all bits of both. */
void model_hash(uint64_t hash[2], const struct model_state *state)
{
    uint64_t words[sizeof *state / 8], a = 1, b = 2;
    memcpy(words, state, sizeof words);
    for (size_t i = 0; i < sizeof words / 8; i++) {
        a = (a ^ words[i]) * UINT64_C(0x9e3779b97f4a7c15);
        a ^= a >> 29;
        b = (b + words[i]) * UINT64_C(0xc2b2ae3d27d4eb4f);
        b ^= b >> 31;
    }
    hash[0] = mixed(a);
    hash[1] = mixed(b ^ hash[0]);
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
    explorer.room = explorer.room ? explorer.room * 2 : 1u << 16;
    CHECK(explorer.room < NONE);
    explorer.nodes = grown(explorer.nodes, explorer.room, sizeof explorer.nodes[0]);
    explorer.honest = grown(explorer.honest, explorer.room, sizeof explorer.honest[0]);
    free(explorer.slots);
    explorer.slot_count = explorer.room * 2;
    explorer.slots = calloc(explorer.slot_count, sizeof explorer.slots[0]);
    CHECK(explorer.slots);
    for (size_t i = 0; i < explorer.count; i++)
        *slot_of(explorer.nodes[i].hash) = (uint32_t)i + 1;
}

static void push(struct frontier *frontier, const struct model_state *state)
{
    if (frontier->count == frontier->room) {
        frontier->room = frontier->room ? frontier->room * 2 : 1u << 12;
        frontier->states = grown(frontier->states, frontier->room, sizeof *state);
    }
    frontier->states[frontier->count++] = *state;
}

/* ------------------------------------------------------------------------- the trace */

static void tell_move(const struct model_state *from, struct model_move move, unsigned number,
                      struct model_state *to)
{
    struct text text = {.length = 0};
    struct model_run run;
    model_perform(&run, from, move, &text);
    fprintf(explorer.trace, "# %3u  %s\n", number, text.line);
    *to = run.state;
}

static unsigned path_length(uint32_t node)
{
    unsigned length = 0;
    for (; explorer.nodes[node].parent != NONE; node = explorer.nodes[node].parent)
        length++;
    return length;
}

/* Replays the moves from the initial state, with words. Returns their number. */
static unsigned tell_path(uint32_t node, struct model_state *state)
{
    unsigned length = path_length(node);
    struct model_move *moves = grown(NULL, length + 1, sizeof *moves);
    for (unsigned i = length + 1; i-- > 0; node = explorer.nodes[node].parent)
        moves[i] = explorer.nodes[node].move;
    model_initial(state, moves[0].what);
    for (unsigned i = 0; i <= length; i++)
        tell_move(state, moves[i], i, state);
    free(moves);
    return length;
}

static void report(const char *broken, uint32_t node)
{
    struct model_state state;
    struct text text = {.length = 0};
    if (explorer.result->broken)
        return;
    explorer.result->broken = broken;
    explorer.result->moves = path_length(node);
    if (!explorer.trace)
        return;
    tell_path(node, &state);
    say_state(&text, &state);
    fprintf(explorer.trace, "# broken: %s\n# %s\n", broken, text.line);
}

/* A CHECK of the automaton was hit: tell how far it came. The process dies of it all the same. */
static void tell_abort(int number)
{
    struct model_state state;
    signal(number, SIG_DFL);
    if (explorer.trace && explorer.expanding != NONE) {
        tell_path(explorer.expanding, &state);
        fprintf(explorer.trace, "# broken: a CHECK is hit by a move from here\n");
        fflush(explorer.trace);
    }
    raise(number);
}

/* --------------------------------------------------------------------- breadth first */

static uint32_t reach(const struct model_state *state, uint32_t parent, struct model_move move)
{
    uint64_t hash[2];
    if (explorer.count == explorer.room)
        grow();
    model_hash(hash, state);
    uint32_t *slot = slot_of(hash);
    if (*slot)
        return *slot - 1;
    uint32_t number = (uint32_t)explorer.count++;
    *slot = number + 1;
    explorer.nodes[number] = (struct node){{hash[0], hash[1]}, parent, move};
    explorer.honest[number] = NONE;
    push(&explorer.next, state);
    const char *broken = model_broken_promise(state);
    if (broken)
        report(broken, number);
    return number;
}

static void visit(void *context, const struct model_run *run, struct model_move move)
{
    (void)context;
    explorer.result->transitions++;
    if (run->cut) {
        explorer.result->cut++;
        return;
    }
    uint32_t number = reach(&run->state, explorer.expanding, move);
    if (explorer.has_honest && memcmp(&move, &explorer.honest_move, sizeof move) == 0)
        explorer.honest[explorer.expanding] = number;
}

static void expand(const struct model_state *state, uint32_t number)
{
    explorer.expanding = number;
    explorer.has_honest = model_honest_move(state, &explorer.honest_move);
    if (!explorer.has_honest) {
        const char *broken = model_broken_at_end(state);
        if (broken)
            report(broken, number);
    }
    model_each_move(state, visit, NULL);
}

static void begin(void)
{
    explorer.expanding = NONE;
    for (unsigned i = 0; i < model_initial_count(); i++) {
        struct model_state state;
        model_initial(&state, i);
        reach(&state, NONE, (struct model_move){MOVE_BEGIN, 0, (uint8_t)i, MODEL_NEVER});
    }
}

/* The states reached last become those to expand. */
static bool descend(void)
{
    struct frontier done = explorer.now;
    explorer.now = explorer.next;
    explorer.next = done;
    explorer.next.count = 0;
    explorer.first_now = explorer.count - explorer.now.count;
    return explorer.now.count > 0;
}

/* Whoever follows honest moves must come to an end, not walk in a circle. */
static void look_for_circles(void)
{
    uint32_t *walk =
        calloc(explorer.count, sizeof *walk); /* number of the first walk that came by */
    CHECK(walk);
    for (uint32_t start = 0; start < explorer.count; start++) {
        uint32_t at = start;
        while (at != NONE && !walk[at]) {
            walk[at] = start + 1;
            at = explorer.honest[at];
        }
        if (at != NONE && walk[at] == start + 1)
            report("an accepted payment goes round in a circle for ever", at);
    }
    free(walk);
}

static void clear(void)
{
    free(explorer.nodes);
    free(explorer.honest);
    free(explorer.slots);
    free(explorer.now.states);
    free(explorer.next.states);
    memset(&explorer, 0, sizeof explorer);
}

void model_explore(struct model_result *result, FILE *trace)
{
    memset(result, 0, sizeof *result);
    explorer.result = result;
    explorer.trace = trace;
    signal(SIGABRT, tell_abort);
    begin();
    while (!result->broken && !result->full && descend()) {
        for (size_t i = 0; i < explorer.now.count && !result->broken && !result->full; i++) {
            expand(&explorer.now.states[i], (uint32_t)(explorer.first_now + i));
            result->full = model_bounds.states_max && explorer.count >= model_bounds.states_max;
        }
        result->depth += explorer.next.count > 0;
    }
    if (!result->broken)
        look_for_circles();
    result->states = explorer.count;
    clear();
}
