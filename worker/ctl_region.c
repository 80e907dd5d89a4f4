/* Keeping the region: create, remove, and the verbs that show it as it is. */
#include <inttypes.h>

#include "shm/shm_archive.h"
#include "shm/shm_check.h"
#include "shm/shm_region.h"
#include "shm/shm_show.h"
#include "worker/ctl.h"

/* ------------------------------------------------------------------ create */

static struct shm_geometry wanted_geometry(const struct config *config)
{
    return (struct shm_geometry){
        .api_slots = config->api_slots,
        .lanes = config->lanes,
        .ring_slots = config->ring_slots,
        .payment_slots = config->payment_slots,
        .ledger_rows = config->ledger_rows,
        .horizon_payments = config->horizon_payments,
        .ledger_segment_rows = config->ledger_segment_rows == CONFIG_SEGMENT_ROWS_AUTO
                                   ? shm_places_segment_rows(config->ledger_rows)
                                   : config->ledger_segment_rows,
    };
}

/* A region of another geometry is not the one that was asked for. */
static enum status compare_geometry(const struct shm_geometry *is,
                                    const struct shm_geometry *wanted, struct explain *why)
{
    const struct {
        const char *setting;
        uint32_t is, wanted;
    } pairs[] = {
        {"PAYRING_API_SLOTS", is->api_slots, wanted->api_slots},
        {"PAYRING_LANES", is->lanes, wanted->lanes},
        {"PAYRING_RING_SLOTS", is->ring_slots, wanted->ring_slots},
        {"PAYRING_PAYMENT_SLOTS", is->payment_slots, wanted->payment_slots},
        {"PAYRING_LEDGER_ROWS", is->ledger_rows, wanted->ledger_rows},
        {"PAYRING_HORIZON_PAYMENTS", is->horizon_payments, wanted->horizon_payments},
        {"PAYRING_LEDGER_SEGMENT_ROWS", is->ledger_segment_rows, wanted->ledger_segment_rows},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].is != pairs[i].wanted)
            return explain(why, STATUS_EXISTS,
                           "the region exists already and was created with %s=%u, not %u; remove "
                           "it first, or ask for what it has",
                           pairs[i].setting, pairs[i].is, pairs[i].wanted);
    return STATUS_OK;
}

static enum ctl_exit accept_existing(const struct config *config, const struct shm_geometry *wanted)
{
    struct explain why;
    struct shm_region region;
    if (shm_region_attach_read_only(&region, config->region, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    enum status status = compare_geometry(&region.geometry, wanted, &why);
    if (status == STATUS_OK && (uint32_t)region.durability != (uint32_t)config->durability)
        status = explain(&why, STATUS_EXISTS,
                         "the region exists already and was created with another "
                         "PAYRING_DURABILITY; remove it first, or ask for what it has");
    shm_region_detach(&region);
    if (status != STATUS_OK)
        return ctl_complain(CTL_NO, "%s", why.text);
    printf("region %s exists already, as it was asked for\n", config->region);
    return ctl_finish(stdout, CTL_DONE);
}

/* What survived on disk of an older region's ledger. */
struct survival {
    const char *state_dir;
    uint64_t rows;
};

static enum status seed(struct shm_region *region, void *context, struct explain *why)
{
    struct survival *survival = context;
    if (!*survival->state_dir)
        return STATUS_OK;
    if (region->places.segment_count < SHM_SEGMENTS_MIN)
        return explain(why, STATUS_INVALID,
                       "PAYRING_STATE_DIR is set, and PAYRING_LEDGER_ROWS %u makes %u segments of "
                       "PAYRING_LEDGER_SEGMENT_ROWS %u: %u are the least",
                       region->geometry.ledger_rows, region->places.segment_count,
                       region->geometry.ledger_segment_rows, SHM_SEGMENTS_MIN);
    enum status status = shm_archive_adopt(region, survival->state_dir, why);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        survival->rows += atomic_load(&shm_region_lane(region, lane)->row_count);
    return status;
}

enum ctl_exit ctl_create(struct ctl *ctl)
{
    struct explain why;
    struct shm_places places;
    const struct config *config = ctl->config;
    struct survival survival = {.state_dir = config->state_dir};
    struct shm_geometry geometry = wanted_geometry(config);
    enum status status =
        ctl_create_region(config, &geometry, &(struct shm_region_seed){seed, &survival}, &why);
    if (status == STATUS_EXISTS && ctl->if_missing)
        return accept_existing(config, &geometry);
    if (status != STATUS_OK || shm_places_compute(&places, &geometry, &why) != STATUS_OK)
        return ctl_complain(status == STATUS_EXISTS ? CTL_NO : CTL_FAILED, "%s", why.text);
    printf("region %s created: %" PRIu64 " bytes\n", config->region, places.total_size);
    if (survival.rows > 0)
        printf("its ledger goes on from %s: %" PRIu64 " rows are filed there or were purged\n",
               config->state_dir, survival.rows);
    return ctl_finish(stdout, CTL_DONE);
}

/* How often the keeper looks whether the region still has its name. */
#define KEEP_LOOK_MS 1000

/* A tmpfs volume that containers share lives as long as one of them uses it, and what is in it is
 * charged to the container that made it. So the one that makes the region also stays. */
enum ctl_exit ctl_keep(struct ctl *ctl)
{
    struct explain why;
    struct shm_region region;
    ctl_catch_signals();
    ctl->if_missing = true;
    enum ctl_exit result = ctl_create(ctl);
    if (result != CTL_DONE)
        return result;
    if (shm_region_attach_read_only(&region, ctl->config->region, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    while (shm_region_is_current(&region) && ctl_pause_ms(KEEP_LOOK_MS))
        ;
    if (!ctl_is_interrupted())
        result = ctl_complain(CTL_FAILED, "region %s is gone", region.name);
    shm_region_detach(&region);
    return result;
}

/* ----------------------------------------------------------------- looking */

static enum ctl_exit show(const struct shm_region *region, const struct ctl *ctl)
{
    if (ctl->plain)
        shm_show_plain(region, stdout);
    else
        shm_show(region, stdout);
    return CTL_DONE;
}

static enum ctl_exit check(const struct shm_region *region, const struct ctl *ctl)
{
    struct explain why;
    struct shm_check_result result;
    (void)ctl;
    if (shm_check(region, stdout, &result, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    printf("%" PRIu64 " findings in %" PRIu64 " records, %" PRIu64 " rows and %" PRIu64
           " ring entries",
           result.findings, result.records, result.rows, result.entries);
    if (result.files > 0)
        printf(", %" PRIu64 " files", result.files);
    putchar('\n');
    return result.findings ? CTL_NO : CTL_DONE;
}

static enum ctl_exit list(const struct shm_region *region, const struct ctl *ctl)
{
    (void)ctl;
    unsigned unread = shm_show_records(region, stdout);
    if (unread == 0)
        return CTL_DONE;
    return ctl_complain(CTL_FAILED, "%u records could not be read (see payringctl check)", unread);
}

static enum ctl_exit rows(const struct shm_region *region, const struct ctl *ctl)
{
    struct explain why;
    (void)ctl;
    if (shm_show_rows(region, stdout, &why) == STATUS_OK)
        return CTL_DONE;
    return ctl_complain(CTL_FAILED, "%s", why.text);
}

static enum ctl_exit look(const struct ctl *ctl,
                          enum ctl_exit (*verb)(const struct shm_region *, const struct ctl *))
{
    struct explain why;
    struct shm_region region;
    if (shm_region_attach_read_only(&region, ctl->config->region, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    enum ctl_exit result = CTL_FAILED;
    if (shm_archive_open(&region, ctl->config->state_dir, &why) == STATUS_OK)
        result = verb(&region, ctl);
    else
        ctl_complain(CTL_FAILED, "%s", why.text);
    shm_archive_close(&region);
    shm_region_detach(&region);
    return ctl_finish(stdout, result);
}

enum ctl_exit ctl_show(struct ctl *ctl)
{
    return look(ctl, show);
}

enum ctl_exit ctl_check(struct ctl *ctl)
{
    return look(ctl, check);
}

enum ctl_exit ctl_list(struct ctl *ctl)
{
    return look(ctl, list);
}

enum ctl_exit ctl_rows(struct ctl *ctl)
{
    return look(ctl, rows);
}

/* ------------------------------------------------------------------ remove */

enum ctl_exit ctl_remove(struct ctl *ctl)
{
    struct explain why;
    enum status status = shm_region_remove(ctl->config->region, ctl->force, &why);
    if (status == STATUS_OK) {
        printf("region %s removed\n", ctl->config->region);
        return ctl_finish(stdout, CTL_DONE);
    }
    bool may_be_forced =
        status == STATUS_EXISTS || status == STATUS_DAMAGED || status == STATUS_UNSUPPORTED;
    return ctl_complain(may_be_forced || status == STATUS_BUSY ? CTL_NO : CTL_FAILED, "%s%s",
                        why.text,
                        may_be_forced ? " (--force-lose-payments removes it all the same)" : "");
}
