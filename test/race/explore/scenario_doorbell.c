/* The sleep counter and the doorbell: an owner that falls asleep, in poll and at the bell,
 * producers that push, once or several times, and ring. The owner's turn is as in worker/lane.c:
 * take, announce sleep, look again, sleep, withdraw. */
#include <string.h>

#include "shm/shm_doorbell.h"
#include "test/race/explore/scenarios.h"

enum { OWNER, PRODUCER_0 };
enum { TAKE = 1, SLEEP, LOOK, WAIT, AWAKE };
enum { PUSH = 1, RING };
enum { BELL = 1000 }; /* tsan.c knows it */

/* A variant: how many producers, and how the owner sleeps. `readers`: pushes before a ring but one.
 */
enum { PRODUCERS_MASK = 15, IN_POLL = 0, ALONE = 16, BY_TURNS = 32, SLEEPS_MASK = 48 };

struct owner {
    uint8_t pc;
    bool alone; /* this sleep */
    uint32_t rung;
    struct shm_ring_consumer ring[2];
};

struct producer {
    uint8_t pc;
    uint8_t unrung; /* pushes */
    struct shm_ring_producer ring;
    struct shm_doorbell bell;
};

/* A producer died between a push and its ring: the wait's limit is for that. (Who rings next may
 * wake the owner for it, but nothing orders what it did after the dead one's push.) */
struct ghost {
    bool unrung;
};

static void setup(const struct race_parameters *p)
{
    unsigned apis = p->variant & PRODUCERS_MASK;
    race_region_make(&(struct race_region_shape){
        .apis = apis, .lanes = 1, .ring_slots = p->slots, .payment_slots = 1, .index_heads = 1});
    for (unsigned api = 0; api < apis; api++)
        race_add_ring(api, 0, PRODUCER_0 + api, OWNER, false);
    race_written_by(OWNER);
    race_add_lane(0);
    race_written_by(RACE_PARTIES); /* by any of them */
    race_add(&shm_region_bell(&race_region, 0)->rung, 4, RACE_BELL, "bell");
    if (apis < 2)
        race_absent(PRODUCER_0 + 1);
}

static bool look(struct owner *me, unsigned api)
{
    struct shm_ring_entry entry;
    return shm_ring_peek(&me->ring[api], &entry);
}

static bool look_at_all(struct owner *me)
{
    for (unsigned api = 0; api < race_region.geometry.api_slots; api++)
        if (look(me, api))
            return true;
    return false;
}

static bool take(struct owner *me)
{
    for (unsigned api = 0; api < race_region.geometry.api_slots; api++)
        if (look(me, api)) {
            shm_ring_take(&me->ring[api]);
            return true;
        }
    return false;
}

static void begin(struct owner *me)
{
    race_set_listener(true);
    shm_doorbell_reset(shm_region_lane(&race_region, 0));
    for (unsigned api = 0; api < race_region.geometry.api_slots; api++)
        shm_ring_consumer_open(&me->ring[api], &race_region, api, 0);
    me->pc = TAKE;
}

static void fall_asleep(struct owner *me)
{
    unsigned sleeps = race_parameters.variant & SLEEPS_MASK;
    me->alone = sleeps == ALONE || (sleeps == BY_TURNS && !me->alone);
    if (me->alone)
        me->rung = shm_doorbell_sleep_alone(&race_region, 0);
    else
        shm_doorbell_sleep(shm_region_lane(&race_region, 0));
}

static void own(struct owner *me)
{
    struct shm_lane *lane = shm_region_lane(&race_region, 0);
    switch (me->pc) {
    case RACE_OPEN:
        begin(me);
        return;
    case TAKE:
        me->pc = take(me) ? TAKE : SLEEP;
        return;
    case SLEEP:
        fall_asleep(me);
        me->pc = race_lie_is("no-second-look") ? WAIT : LOOK;
        return;
    case LOOK:
        me->pc = look_at_all(me) ? AWAKE : WAIT;
        return;
    case WAIT:
        if (race_lie_is("bell-noted-late"))
            me->rung = atomic_load(&shm_region_bell(&race_region, 0)->rung);
        if (me->alone)
            shm_doorbell_wait(&race_region, 0, me->rung, INT64_MAX);
        else
            race_await_fifo();
        me->pc = AWAKE;
        return;
    default:
        shm_doorbell_awake(lane, BELL);
        me->pc = TAKE;
    }
}

static void produce(struct producer *me, unsigned api)
{
    if (me->pc == RACE_OPEN) {
        shm_ring_producer_open(&me->ring, &race_region, api, 0);
        shm_doorbell_open(&me->bell, &race_region, 0);
        me->pc = PUSH;
    } else if (me->pc == RING) {
        shm_doorbell_ring(&me->bell);
        me->unrung = 0;
        me->pc = PUSH;
    } else if (me->ring.local_tail == race_parameters.entries) {
        race_done();
    } else {
        struct shm_ring_entry entry = race_entry(me->ring.local_tail, api);
        bool pushed = shm_ring_try_push(&me->ring, &entry);
        me->unrung += pushed;
        bool last = me->ring.local_tail == race_parameters.entries;
        if (me->unrung > 0 && (!pushed || last || me->unrung > race_parameters.readers))
            me->pc = RING;
    }
}

static void run(unsigned party, void *local)
{
    if (party == OWNER)
        own(local);
    else
        produce(local, party - PRODUCER_0);
}

/* A dead owner's FIFO is empty and nobody listens until there is a new one. */
static void on_crash(unsigned party, void *local)
{
    struct ghost *ghost = race_ghost();
    if (party == OWNER) {
        memset(local, 0, sizeof(struct owner));
        race_set_listener(false);
    } else {
        ghost->unrung = true;
        memset(local, 0, sizeof(struct producer));
    }
}

/* The producers are through, the owner sleeps. */
static const char *at_end(const struct race_state *state)
{
    const struct ghost *ghost = (const void *)state->ghost;
    for (unsigned api = 0; api < race_region.geometry.api_slots && !ghost->unrung; api++)
        if (race_newest(state, &shm_region_lane(&race_region, 0)->head[api].value) !=
            race_parameters.entries)
            return "a wake-up is lost: the owner sleeps, and entries lie in its ring";
    return NULL;
}

const struct race_scenario race_doorbell = {
    .name = "doorbell",
    .words = "an owner that falls asleep, and producers that push and ring",
    .parties = 3,
    .party = {"owner", "producer 0", "producer 1"},
    .local_size = {sizeof(struct owner), sizeof(struct producer), sizeof(struct producer)},
    .mortal = 1 << OWNER | 1 << PRODUCER_0,
    .setup = setup,
    .run = run,
    .on_crash = on_crash,
    .at_end = at_end,
};
