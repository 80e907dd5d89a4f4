/* The ring: a producer, a consumer, and a third party that looks into it. */
#include <string.h>

#include "test/race/explore/scenarios.h"

enum { PRODUCER, CONSUMER, READER };
enum { PUSH = 1, PEEK = 1, TAKE = 2 };
/* parameters.variant: what the reader does, and for which entry */
enum { NO_READER = 0, LOOKS = 16, FINDS = 32 };

struct producer {
    uint8_t pc, tenant;
    struct shm_ring_producer ring;
};

struct consumer {
    uint8_t pc;
    struct shm_ring_consumer ring;
};

struct reader {
    uint8_t calls;
};

struct ghost {
    uint8_t publisher[32]; /* tenant + 1 that released tail past entry n */
    uint8_t taken;
};

static void setup(const struct race_parameters *p)
{
    race_region_make(&(struct race_region_shape){
        .lanes = 1, .ring_slots = p->slots, .payment_slots = 1, .index_heads = 1});
    race_add_ring(0, 0, PRODUCER, CONSUMER, true);
    if (p->variant == NO_READER)
        race_absent(READER);
}

static void produce(struct producer *me)
{
    if (me->pc == RACE_OPEN) {
        shm_ring_producer_open(&me->ring, &race_region, 0, 0);
        me->pc = PUSH;
    } else if (me->ring.local_tail >= race_parameters.entries) {
        race_done();
    } else {
        struct shm_ring_entry entry = race_entry(me->ring.local_tail, me->tenant);
        (void)shm_ring_try_push(&me->ring, &entry); /* full: again */
    }
}

static void consume(struct consumer *me)
{
    struct shm_ring_entry entry;
    const struct ghost *ghost = race_ghost();
    uint64_t number = me->ring.local_head;
    if (me->pc == RACE_OPEN) {
        shm_ring_consumer_open(&me->ring, &race_region, 0, 0);
        me->pc = PEEK;
    } else if (me->pc == TAKE) {
        shm_ring_take(&me->ring);
        me->pc = PEEK;
    } else if (number >= race_parameters.entries) {
        race_done();
    } else if (shm_ring_peek(&me->ring, &entry)) {
        if (!ghost->publisher[number])
            race_broken("an entry is read that nobody has pushed");
        if (!race_is_entry(&entry, number, ghost->publisher[number] - 1u))
            race_broken("an entry is read that is not the one that was pushed");
        me->pc = TAKE;
    }
}

/* Of any tenant whose push of it was completed. */
static void check_found(uint64_t number, const struct shm_ring_entry *entry)
{
    const struct ghost *ghost = race_ghost();
    unsigned publisher = ghost->publisher[number];
    if (!publisher || !race_is_entry(entry, number, publisher - 1u))
        race_broken("a third party is given an entry that is not the one that was pushed");
}

static void search(struct reader *me)
{
    struct shm_ring_entry entry;
    uint64_t number = race_parameters.variant & 15;
    struct uuid id = race_entry(number, 0).id;
    bool found = race_parameters.variant & LOOKS ? shm_ring_look(&race_region, 0, 0, number, &entry)
                                                 : shm_ring_find(&race_region, 0, 0, &id, &entry);
    if (found)
        check_found(number, &entry);
    if (++me->calls >= race_parameters.readers)
        race_done();
}

static void run(unsigned party, void *local)
{
    if (party == PRODUCER)
        produce(local);
    else if (party == CONSUMER)
        consume(local);
    else
        search(local);
}

static void on_store(unsigned party, const struct race_word *word, uint64_t value)
{
    struct ghost *ghost = race_ghost();
    if (word->class == RACE_TAIL) {
        if (value == 0 || value > 31 || (value > 1 && !ghost->publisher[value - 2]) ||
            ghost->publisher[value - 1])
            race_broken("tail skips an entry, or goes back");
        ghost->publisher[value - 1] = 1 + ((struct producer *)race_local(party))->tenant;
    }
    if (word->class == RACE_HEAD && value != ++ghost->taken)
        race_broken("head skips an entry, or goes back");
}

static void on_crash(unsigned party, void *local)
{
    struct producer *producer = local;
    unsigned tenant = party == PRODUCER ? producer->tenant + 1u : 0;
    memset(local, 0, party == PRODUCER ? sizeof(struct producer) : sizeof(struct consumer));
    if (party == PRODUCER)
        producer->tenant = (uint8_t)tenant;
}

static const char *at_end(const struct race_state *state)
{
    const struct ghost *ghost = (const void *)state->ghost;
    return ghost->taken == race_parameters.entries
               ? NULL
               : "both sides have stopped, and not every entry was taken";
}

const struct race_scenario race_ring = {
    .name = "ring",
    .words = "one ring from its producer to its consumer",
    .parties = 3,
    .party = {"producer", "consumer", "searcher"},
    .local_size = {sizeof(struct producer), sizeof(struct consumer), sizeof(struct reader)},
    .mortal = 1 << PRODUCER | 1 << CONSUMER,
    .first = 1 << PRODUCER | 1 << CONSUMER,
    .setup = setup,
    .run = run,
    .on_store = on_store,
    .on_crash = on_crash,
    .at_end = at_end,
};
