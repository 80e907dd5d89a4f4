/* The journal: making a region of it, and looking at it. */
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/ctl.h"
#include "worker/journal_fold.h"
#include "worker/journal_replay.h"
#include "worker/journal_state.h"

/* ------------------------------------------------------------------ create */

struct seeding {
    struct journal_replay replay;
    enum shm_durability durability;
    const struct shm_region_seed *first;
};

static enum status seed(struct shm_region *region, void *context, struct explain *why)
{
    struct seeding *seeding = context;
    shm_region_header(region)->durability = seeding->durability;
    region->durability = seeding->durability;
    seeding->replay.now_monotonic_ms = clock_monotonic_ms();
    enum status status = seeding->first->seed(region, seeding->first->context, why);
    return status == STATUS_OK ? journal_replay_into(&seeding->replay, region, why) : status;
}

static void tell(const struct journal_replay *replay)
{
    if (replay->lanes == 0)
        return;
    printf("made of the journal in %s: %" PRIu64 " settled payments, %" PRIu64 " ids, and %" PRIu64
           " payments that have not ended (%" PRIu64 " of them bound)\n",
           replay->state_directory, replay->rows, replay->ids, replay->queued + replay->sent,
           replay->sent);
    if (replay->cut)
        printf("its end was cut: %" PRIu64 " records, the first in %s\n", replay->cut,
               replay->where);
    if (replay->ids_forgotten)
        printf("%" PRIu64
               " ids are beyond PAYRING_HORIZON_PAYMENTS: the journal alone knows them\n",
               replay->ids_forgotten);
}

/* Without a journal: is there one that would be left behind? */
static enum status refuse_journal(const char *state_dir, struct explain *why)
{
    uint64_t generation;
    unsigned lanes;
    struct explain ignored;
    if (!*state_dir ||
        journal_state_find(&journal_disk_real, state_dir, &generation, &lanes, &ignored) !=
            STATUS_OK ||
        generation == 0)
        return STATUS_OK;
    return explain(why, STATUS_INVALID,
                   "PAYRING_STATE_DIR %s holds a journal, and PAYRING_DURABILITY is memory: choose "
                   "async or sync, or move the journal away",
                   state_dir);
}

enum status ctl_create_region(const struct config *config, const struct shm_geometry *geometry,
                              const struct shm_region_seed *first, struct explain *why)
{
    struct seeding seeding = {
        .replay = {.disk = &journal_disk_real, .state_directory = config->state_dir},
        .durability = (enum shm_durability)config->durability,
        .first = first,
    };
    struct shm_region_seed with = {seed, &seeding};
    int lock;
    if (config->durability == CONFIG_DURABILITY_MEMORY) {
        enum status refused = refuse_journal(config->state_dir, why);
        return refused == STATUS_OK ? shm_region_create_seeded(config->region, geometry, first, why)
                                    : refused;
    }
    if (!*config->state_dir)
        return explain(why, STATUS_INVALID,
                       "PAYRING_DURABILITY is not memory: PAYRING_STATE_DIR must say where the "
                       "journal is kept");
    /* One that is there, with workers that hold the lock, is no matter of the state directory. */
    enum status status = shm_region_refuse_existing(config->region, why);
    if (status == STATUS_OK)
        status = journal_state_lock(config->state_dir, true, &lock, why);
    if (status != STATUS_OK)
        return status;
    status = shm_region_create_seeded(config->region, geometry, &with, why);
    if (status == STATUS_OK)
        journal_replay_keep(&seeding.replay);
    else if (seeding.replay.made)
        journal_replay_drop(&seeding.replay);
    close(lock);
    if (status == STATUS_OK)
        tell(&seeding.replay);
    return status;
}

/* ----------------------------------------------------------------- looking */

struct lane_look {
    uint64_t ids;
};

static void count_id(void *context, const struct uuid *id)
{
    struct lane_look *look = context;
    (void)id;
    look->ids++;
}

static enum status look_at_lane(const char *directory, unsigned lane, struct explain *why)
{
    struct lane_look look = {0};
    struct journal_fold fold;
    struct journal_end end;
    struct journal_identity whose;
    journal_fold_begin(&fold);
    fold.id = count_id;
    fold.context = &look;
    struct journal_visitor visitor = journal_fold_visitor(&fold);
    enum status status = journal_scan_whose(&journal_disk_real, directory, &whose, why);
    whose.lane = lane;
    if (status == STATUS_OK)
        status = journal_scan(&journal_disk_real, directory, &whose, &visitor, &end, why);
    if (status == STATUS_OK)
        status = journal_fold_check(&fold, why);
    if (status == STATUS_OK) {
        printf("lane %u: region %016" PRIx64 "%016" PRIx64 ", %" PRIu64 " digests, %" PRIu64
               " segments, %" PRIu64 " records, %" PRIu64 " rows, %" PRIu64 " ids, %" PRIu64
               " payments that have not ended\n",
               lane, whose.region_id_hi, whose.region_id_lo, fold.digests, end.segments,
               fold.entries, fold.row_start + fold.row_count - fold.first_row, look.ids,
               fold.open_count);
        if (end.cut)
            printf("lane %u: %" PRIu64 " records behind the end, the first in %s\n", lane, end.cut,
                   end.where);
    }
    journal_fold_end(&fold);
    return status;
}

/* While a worker writes, the end that is found is the end as it was some time ago. */
enum ctl_exit ctl_journal(struct ctl *ctl)
{
    struct explain why;
    uint64_t generation;
    unsigned lanes;
    const char *state_dir = ctl->config->state_dir;
    enum ctl_exit result = CTL_DONE;
    if (!*state_dir)
        return ctl_complain(CTL_USAGE, "PAYRING_STATE_DIR says where the journal is");
    enum status status =
        journal_state_find(&journal_disk_real, state_dir, &generation, &lanes, &why);
    if (status == STATUS_OK && generation == 0)
        return ctl_complain(CTL_FAILED, "there is no journal in %s", state_dir);
    if (status != STATUS_OK)
        return ctl_complain(status == STATUS_DAMAGED ? CTL_NO : CTL_FAILED, "%s", why.text);
    printf("generation %" PRIu64 ", %u lanes\n", generation, lanes);
    for (unsigned lane = 0; lane < lanes; lane++) {
        char directory[JOURNAL_PATH_SIZE];
        journal_state_lane_path(directory, state_dir, generation, lane);
        status = look_at_lane(directory, lane, &why);
        if (status != STATUS_OK)
            result = ctl_complain(status == STATUS_SYSTEM ? CTL_FAILED : CTL_NO, "lane %u: %s",
                                  lane, why.text);
    }
    return ctl_finish(stdout, result);
}
