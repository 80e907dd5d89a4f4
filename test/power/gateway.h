/* A small gateway in one thread, whose journal lies on a fake disk, and the world
 * around it: clients, two processors with their books, a clock, process deaths.
 *
 * The region, the lanes' memory, the protocol, the journal and its replay are the
 * real ones. The lane's driver is the play's: it does at random what a lane may
 * do at any time, so that orders come about that a real lane would hardly ever
 * take. Every amount is its payment's own, so that a ledger row says whose it is.
 */
#ifndef PAYRING_TEST_POWER_GATEWAY_H
#define PAYRING_TEST_POWER_GATEWAY_H

#include "shm/shm_lease.h"
#include "test/power/fake_disk.h"
#include "worker/journal.h"
#include "worker/lane_memory.h"

enum {
    GATEWAY_IDS = 160,
    GATEWAY_ASLEEP = 16,
    GATEWAY_LANES = 2,
    GATEWAY_SLOTS = 64,
    GATEWAY_INTERVAL_MS = 20, /* of async */
    GATEWAY_TICK_MS = 4,      /* at most between two looks at the clock */
};

/* A processor's entry, or a request that sleeps at one and may still be entered. */
struct entry {
    bool there;
    int64_t requested_at_us;
};

struct asleep {
    unsigned processor, id;
    int64_t requested_at_us;
};

/* Everything outside of the gateway: it goes on when the power is cut. Copied as a whole. */
struct world {
    int64_t now_ms;
    struct entry book[SHM_PROCESSORS][GATEWAY_IDS];
    struct asleep asleep[GATEWAY_ASLEEP];
    unsigned asleep_count;
    int64_t acknowledged_ms[GATEWAY_IDS]; /* the first 2xx; 0 = none */
    bool may_be_lost[GATEWAY_IDS];        /* acknowledged too shortly before a cut, in async */
    bool purge_asked;
    bool charged_twice; /* the promise that must never be broken */
};

struct lane_driver {
    struct lane_memory memory;
    struct journal *journal;
    uint64_t bound[GATEWAY_SLOTS]; /* the record that has to be durable before the first send; 0 =
                                      sent before */
    struct { /* waits in sync: entries taken in, to be acknowledged when durable */
        unsigned id;
        uint64_t sequence;
    } waiting[256];
    unsigned waiting_count;
    int64_t committed_ms;
};

/* Ways to be wrong, for the self-test: each must be found out. */
enum gateway_fault {
    GATEWAY_RIGHT,
    GATEWAY_ANSWERS_EARLY, /* a 2xx does not wait for the disk */
    GATEWAY_SENDS_EARLY,   /* a request does not wait until its binding is on disk */
    GATEWAY_SYNCS_NOTHING, /* the disk only says that it has synced */
    GATEWAY_BINDS_UNTOLD,  /* bindings are not journaled */
    GATEWAY_STORES_FIRST,  /* the region before the journal, and a death in between */
    GATEWAY_FORGETS_IDS,   /* the journal is not asked for an id that the filter has forgotten */
    GATEWAY_FAULTS,
};

struct gateway {
    enum gateway_fault fault;
    bool sync;
    bool ask_all; /* ask the books for every id: the region was made of an async journal */
    bool may_purge;
    bool forgets; /* the filter forgets each id at once, and records are freed at random: what has
                     ended stands in the journal alone */
    char name[SHM_REGION_NAME_MAX + 1];
    struct shm_region region;
    struct journal_disk disk;
    struct shm_ring_producer rings[GATEWAY_LANES];
    struct lane_driver lanes[GATEWAY_LANES];
    uint64_t random;
    struct world *world;
    bool known[GATEWAY_IDS]; /* the replay found it */
};

/* Make a region of what the disk holds; false: said why. */
bool gateway_start(struct gateway *, const char *name, struct fake_disk *, struct world *,
                   bool sync, uint64_t seed);
/* The power is gone, for this region: nothing is written. */
void gateway_vanish(struct gateway *);

/* Do something at random that may happen now. */
void gateway_act(struct gateway *);
/* Until everything accepted has ended and is durable; nothing goes wrong any more. */
bool gateway_finish(struct gateway *);

/* What is broken, in words; NULL: nothing. After gateway_finish. */
const char *gateway_broken_promise(struct gateway *);

struct uuid gateway_id(unsigned id);
int64_t gateway_cents(unsigned id);

#endif
