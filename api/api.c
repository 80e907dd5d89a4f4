#include "api/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "api/api_server.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/service_notify.h"
#include "shm/shm_archive.h"
#include "shm/shm_lease.h"
#include "shm/shm_ledger.h"

#define HEARTBEAT_MS 1000

/* How often a slot that is taken is asked for again. */
#define SLOT_LOOK_MS 20

/* ------------------------------------------------------------------- the slot */

/* The wanted one, or the first that is free. */
static enum status try_take_slot(struct api *api)
{
    uint32_t wanted = api->config->api_slot;
    unsigned first = wanted == CONFIG_API_SLOT_AUTO ? 0 : wanted;
    unsigned last = wanted == CONFIG_API_SLOT_AUTO ? api->region.geometry.api_slots - 1 : wanted;

    for (api->slot = first; api->slot <= last; api->slot++) {
        enum status status = shm_lease_try_take(&api->region, SHM_LEASE_API + api->slot);
        api->holds_slot = status == STATUS_OK;
        if (status != STATUS_BUSY)
            return status;
    }
    return STATUS_BUSY;
}

static enum status explain_taken(const struct api *api, struct explain *why)
{
    const char *name = api->region.name;
    unsigned slots = api->region.geometry.api_slots;
    uint32_t waited_ms = api->config->attach_timeout_ms;

    if (api->config->api_slot == CONFIG_API_SLOT_AUTO)
        return explain(why, STATUS_TIMED_OUT,
                       "every API slot of region %s is taken (it has %u) and none became free "
                       "within PAYRING_ATTACH_TIMEOUT_MS, %u ms",
                       name, slots, waited_ms);
    return explain(why, STATUS_TIMED_OUT,
                   "PAYRING_API_SLOT: slot %u of region %s is taken by another process and did not "
                   "become free within PAYRING_ATTACH_TIMEOUT_MS, %u ms",
                   api->config->api_slot, name, waited_ms);
}

/* A predecessor may just be stopping. */
static enum status take_slot(struct api *api, int64_t deadline_ms, struct explain *why)
{
    const struct timespec look = {.tv_nsec = SLOT_LOOK_MS * 1000000L};
    uint32_t wanted = api->config->api_slot;

    if (wanted != CONFIG_API_SLOT_AUTO && wanted >= api->region.geometry.api_slots)
        return explain(why, STATUS_INVALID, "PAYRING_API_SLOT: region %s has slots 0 to %u, not %u",
                       api->region.name, api->region.geometry.api_slots - 1, wanted);
    for (;;) {
        enum status status = try_take_slot(api);
        if (status == STATUS_SYSTEM)
            return explain(why, status, "no API slot of region %s can be leased: %m",
                           api->region.name);
        if (status == STATUS_OK)
            return status;
        if (clock_monotonic_ms() >= deadline_ms)
            return explain_taken(api, why);
        nanosleep(&look, NULL);
    }
}

static enum status move_in(struct api *api, struct explain *why)
{
    CRASH_POINT(api_leased);
    /* Removing a region takes all leases first, so from here on it cannot be removed; asked now,
     * because it may have been between our attaching and our lease. */
    api->region_is_current = shm_region_is_current(&api->region);
    if (!api->region_is_current)
        return explain(why, STATUS_NOT_FOUND, "region %s was removed just now: start again",
                       api->region.name);
    enum status status = shm_region_open_api(&api->region, api->slot, why);
    if (status != STATUS_OK)
        return status;
    CRASH_POINT(api_writable);
    api->shared = shm_region_api(&api->region, api->slot);
    uint64_t epoch = shm_presence_begin(&api->shared->presence);
    CRASH_POINT(api_epoch_raised);
    payment_intake_open(&api->intake, &api->region, api->slot);
    LOG_DEBUG("slot_taken", "region=%s slot=%u epoch=%" PRIu64, api->region.name, api->slot, epoch);
    return STATUS_OK;
}

/* ------------------------------------------------------------------ the heart */

static void count_more(struct api *api, enum shm_api_counter counter, uint64_t *more)
{
    if (*more > 0)
        shm_counter_add(&api->shared->counters[counter], *more);
    *more = 0;
}

static void bring_counts(struct api *api)
{
    struct api_server_counts counts = api_server_take_counts(api->server);

    count_more(api, SHM_API_COUNTER_bad_requests, &counts.bad_requests);
    count_more(api, SHM_API_COUNTER_too_large, &counts.too_large);
    count_more(api, SHM_API_COUNTER_accept_paused, &counts.accept_paused);
}

static void look_at_region(struct api *api)
{
    if (!api->region_is_current || shm_region_is_current(&api->region))
        return;
    /* Somebody deleted its name. Whoever starts from now on would use another region, and what is
     * accepted into this one would never be settled. */
    api->region_is_current = false;
    api->intake.region_gone = true;
    LOG_ERROR("region_gone", "region=%s", api->region.name);
}

static void beat(struct api_timer *timer)
{
    struct api *api = (struct api *)(void *)((char *)timer - offsetof(struct api, heartbeat));

    shm_presence_beat(&api->shared->presence);
    service_notify_alive();
    look_at_region(api);
    (void)payment_intake_is_stopped(&api->intake); /* for an operator who waits until we know */
    if (api->server != NULL)
        bring_counts(api);
    api_timers_set(&api->timers, timer, clock_monotonic_ms() + HEARTBEAT_MS, beat);
}

/* A file that cannot be read makes summaries 503, and nothing else: say so from the beginning.
 * Afterwards every file has been met, and the first client does not wait for it. */
static void look_at_ledger(struct api *api)
{
    static const struct shm_window always = {.from_us = INT64_MIN, .to_us = INT64_MAX};
    struct shm_totals totals;
    struct explain why = {{0}};

    if (shm_ledger_sum_or_say(&api->region, &always, &totals, &why) != STATUS_OK)
        LOG_ERROR("ledger_not_readable", "why=%s", why.text);
}

/* -------------------------------------------------------------- begin and end */

enum status api_begin(struct api *api, const struct config *config, struct explain *why)
{
    int64_t deadline_ms = clock_monotonic_ms() + config->attach_timeout_ms;

    api->config = config;
    snprintf(api->retry_after, sizeof api->retry_after, "%u", config->retry_after_s);
    api->json = payment_json_create();
    if (api->json == NULL)
        return explain(why, STATUS_SYSTEM, "there is no memory to start with");
    enum status status =
        shm_region_attach(&api->region, config->region, config->attach_timeout_ms, why);
    if (status == STATUS_OK)
        status = shm_archive_open(&api->region, config->state_dir, why);
    if (status == STATUS_OK)
        status = take_slot(api, deadline_ms, why);
    if (status == STATUS_OK)
        status = move_in(api, why);
    if (status == STATUS_OK) {
        look_at_ledger(api);
        api_timers_set(&api->timers, &api->heartbeat, clock_monotonic_ms() + HEARTBEAT_MS, beat);
    }
    return status;
}

void api_end(struct api *api)
{
    api_timers_cancel(&api->heartbeat);
    if (api->shared != NULL) {
        if (api->server != NULL)
            bring_counts(api);
        payment_intake_close(&api->intake);
        shm_region_close_api(&api->region, api->slot);
        api->shared = NULL;
    }
    if (api->holds_slot)
        shm_lease_give_back(&api->region, SHM_LEASE_API + api->slot);
    api->holds_slot = false;
    shm_archive_close(&api->region);
    shm_region_detach(&api->region);
    payment_json_destroy(api->json);
}
