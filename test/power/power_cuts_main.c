/* Power cuts. A small gateway lives at random on a fake disk; the power is cut
 * before and after every flush, and at places between them; what is left of the
 * disk becomes a region again, which goes on at random (in one of four cases until
 * the power is cut once more) and ends its payments. Then the books of the
 * processors and the ledger are compared by id.
 *
 *   sync    nothing that was acknowledged is missing
 *   async   nothing that was acknowledged longer than an interval before the cut is
 *   both    nothing is charged twice, counted twice, or counted otherwise than charged
 *
 * Every number comes from a seed that is printed: power-cuts --seed=N --lives=1.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/log.h"
#include "test/power/gateway.h"

enum { ACTS = 1000, ACTS_AFTER = 60, CHANGES_MAX = 8192 };

static const char *const cut_names[FAKE_CUTS] = {"nothing", "everything", "a prefix", "random"};

/* The world as it was just before each change of the disk. */
struct history {
    struct world *now;
    struct world *before; /* CHANGES_MAX */
    uint64_t count;
};

struct tally {
    unsigned long cuts, second_cuts, broken;
    const char *promise; /* the first that was broken */
};

static char region_name[SHM_REGION_NAME_MAX];

static void note_world(void *context)
{
    struct history *history = context;
    if (history->count >= CHANGES_MAX) {
        fprintf(stderr, "power-cuts: more changes than there is room for\n");
        exit(2);
    }
    history->before[history->count++] = *history->now;
}

static void begin_history(struct history *history, struct fake_disk *disk, struct world *world)
{
    history->now = world;
    history->count = fake_disk_length(disk);
    fake_disk_watch(disk, note_world, history);
}

static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* What the cut does to the world. In async, requests of the dead life end within
 * the quarantine, one way or the other; in sync they may sleep for ever. */
static void strike(struct world *world, bool sync, uint64_t *random)
{
    for (unsigned id = 0; id < GATEWAY_IDS; id++)
        if (!sync && world->acknowledged_ms[id] != 0 &&
            world->acknowledged_ms[id] >= world->now_ms - GATEWAY_INTERVAL_MS - GATEWAY_TICK_MS)
            world->may_be_lost[id] = true;
    while (!sync && world->asleep_count) {
        struct asleep request = world->asleep[--world->asleep_count];
        struct entry *entry = &world->book[request.processor][request.id];
        if (draw(random) % 2 && !entry->there) {
            *entry = (struct entry){true, request.requested_at_us};
            world->charged_twice |= world->book[1 - request.processor][request.id].there;
        }
    }
}

struct life {
    bool sync, may_purge, forgets;
    enum gateway_fault fault;
    uint64_t seed;
};

/* From what is left of a disk to the end of all payments. Returns what was broken. */
static const char *recover(const struct life *life, struct fake_disk *disk, struct world *world,
                           uint64_t *random, bool cut_again, struct tally *tally)
{
    struct gateway gateway = {
        .may_purge = life->may_purge, .forgets = life->forgets, .fault = life->fault};
    struct history history = {.before = NULL};
    const char *broken = NULL;
    strike(world, life->sync, random);
    if (!gateway_start(&gateway, region_name, disk, world, life->sync, draw(random))) {
        gateway_vanish(&gateway);
        return "the journal was refused";
    }
    if (cut_again) {
        history.before = malloc(CHANGES_MAX * sizeof *history.before);
        begin_history(&history, disk, world);
    }
    uint64_t begin = fake_disk_length(disk);
    for (unsigned i = 0; i < ACTS_AFTER; i++)
        gateway_act(&gateway);
    if (cut_again && fake_disk_length(disk) > begin) {
        uint64_t place = begin + draw(random) % (fake_disk_length(disk) - begin);
        struct world then = history.before[place];
        struct fake_disk *left = fake_disk_cut(disk, place, draw(random) % FAKE_CUTS, random);
        gateway_vanish(&gateway);
        tally->second_cuts++;
        broken = recover(life, left, &then, random, false, tally);
        fake_disk_destroy(left);
    } else {
        broken = gateway_finish(&gateway) ? gateway_broken_promise(&gateway)
                                          : "a payment does not come to an end";
        gateway_vanish(&gateway);
    }
    fake_disk_watch(disk, NULL, NULL);
    free(history.before);
    return broken;
}

static void try_cut(const struct life *life, const struct fake_disk *disk, uint64_t place,
                    enum fake_cut cut, const struct world *then, struct tally *tally)
{
    uint64_t random = life->seed * 1000003 + place * 31 + (uint64_t)cut;
    struct world world = *then;
    struct fake_disk *left = fake_disk_cut(disk, place, cut, &random);
    bool cut_again = draw(&random) % 4 == 0;
    const char *broken = recover(life, left, &world, &random, cut_again, tally);
    fake_disk_destroy(left);
    tally->cuts++;
    if (broken == NULL)
        return;
    tally->broken++;
    tally->promise = tally->promise ? tally->promise : broken;
    if (life->fault == GATEWAY_RIGHT)
        printf("# seed=%" PRIu64 " %s: cut at change %" PRIu64 ", %s of the unsynced: %s\n",
               life->seed, life->sync ? "sync" : "async", place, cut_names[cut], broken);
}

/* One life, and all its ends. `every`: of the places that are no flush, each how-manieth. */
static void live(const struct life *life, uint64_t every, struct tally *tally)
{
    struct world world = {.now_ms = clock_wall_ms()};
    struct gateway gateway = {
        .may_purge = life->may_purge, .forgets = life->forgets, .fault = life->fault};
    struct fake_disk *disk = fake_disk_create();
    struct history history = {.before = malloc(CHANGES_MAX * sizeof *history.before)};
    if (!history.before ||
        !gateway_start(&gateway, region_name, disk, &world, life->sync, life->seed))
        exit(2);
    if (life->fault == GATEWAY_SYNCS_NOTHING)
        fake_disk_lie(disk);
    uint64_t begin = fake_disk_length(disk);
    begin_history(&history, disk, &world);
    for (unsigned i = 0; i < ACTS; i++)
        gateway_act(&gateway);
    gateway_vanish(&gateway);
    uint64_t end = fake_disk_length(disk);
    for (uint64_t place = begin + 1; place < end; place++) {
        bool at_flush = fake_disk_is_flush(disk, place) || fake_disk_is_flush(disk, place + 1);
        if (!at_flush && place % every != 0)
            continue;
        /* The world right after the last change that counts, or right before the next one. */
        for (enum fake_cut cut = 0; cut < FAKE_CUTS; cut++)
            try_cut(life, disk, place, cut, &history.before[place - cut % 2], tally);
    }
    fake_disk_destroy(disk);
    free(history.before);
}

static void report(bool well, const char *what, const struct tally *tally)
{
    static unsigned number;
    printf("%sok %u - %s (%lu cuts, %lu second cuts)\n", well ? "" : "not ", ++number, what,
           tally->cuts, tally->second_cuts);
}

static bool self_test(uint64_t seed)
{
    static const char *const names[GATEWAY_FAULTS] = {
        [GATEWAY_ANSWERS_EARLY] = "answers that do not wait for the disk are found out",
        [GATEWAY_SENDS_EARLY] = "so are requests that do not wait for their binding",
        [GATEWAY_SYNCS_NOTHING] = "so is a disk that does not sync",
        [GATEWAY_BINDS_UNTOLD] = "so are bindings that are not journaled",
        [GATEWAY_STORES_FIRST] = "so is a journal that is behind the region",
        [GATEWAY_FORGETS_IDS] = "so are ids that are forgotten though the journal tells of them",
    };
    bool well = true;
    for (enum gateway_fault fault = GATEWAY_RIGHT + 1; fault < GATEWAY_FAULTS; fault++) {
        struct tally tally = {0};
        for (unsigned i = 0; i < 12 && tally.broken == 0; i++) {
            struct life life = {.sync = true,
                                .forgets = fault == GATEWAY_FORGETS_IDS,
                                .fault = fault,
                                .seed = seed + i};
            live(&life, 4, &tally);
        }
        report(tally.broken > 0, names[fault], &tally);
        if (tally.promise)
            printf("#   by: %s\n", tally.promise);
        well &= tally.broken > 0;
    }
    return well;
}

static bool try_mode(struct life life, unsigned lives, const char *what)
{
    struct tally tally = {0};
    for (unsigned i = 0; i < lives; i++, life.seed++)
        live(&life, 8, &tally);
    bool well = tally.broken == 0 && tally.cuts >= 200;
    report(well, what, &tally);
    return well;
}

static bool try_modes(uint64_t seed, unsigned lives)
{
    struct life life = {.seed = seed};
    bool well = true;
    for (int sync = 1; sync >= 0; sync--) {
        static const char *const whats[] = {"async: nothing older than an interval is lost",
                                            "sync: nothing acknowledged is lost"};
        life.sync = sync;
        well &= try_mode(life, lives, whats[sync]);
    }
    life.may_purge = true;
    well &= try_mode(life, lives, "async with a purge: charged and counted once");
    life.sync = true;
    well &= try_mode(life, lives, "sync with a purge: charged and counted once");
    life.may_purge = false;
    life.forgets = true;
    well &= try_mode(life, lives, "sync, ids known by the journal alone: charged and counted once");
    life.sync = false;
    well &=
        try_mode(life, lives, "async, ids known by the journal alone: charged and counted once");
    return well;
}

int main(int argc, char **argv)
{
    uint64_t seed = (uint64_t)clock_wall_us();
    unsigned lives = 2;
    for (int i = 1; i < argc; i++) {
        if (strncmp(argv[i], "--seed=", 7) == 0)
            seed = strtoull(argv[i] + 7, NULL, 0);
        else if (strncmp(argv[i], "--lives=", 8) == 0)
            lives = (unsigned)strtoul(argv[i] + 8, NULL, 0);
        else {
            fprintf(stderr, "usage: power-cuts [--seed=N] [--lives=N]\n");
            return 2;
        }
    }
    log_open("power-cuts", LOG_LEVEL_ERROR);
    snprintf(region_name, sizeof region_name, "power.%d", (int)getpid());
    printf("1..%d\n# --seed=%" PRIu64 "\n", 6 + GATEWAY_FAULTS - 1, seed);
    bool well = try_modes(seed, lives);
    well &= self_test(seed);
    return well ? 0 : 1;
}
