/* POST /purge-payments: forget everything that was accepted so far, but for what is in flight.
 *
 *   raise the generation ──▶ wake the lanes ──▶ look ──▶ all have applied it: 200
 *     (under the lease)                         ▲  │
 *                                               └──┘ for a second, then 503
 *
 * From the moment that the generation is raised the purge will happen, whatever becomes of us or of
 * the client: each lane applies it before it does anything else, and so does a lane's next owner.
 */
#include "api/api_reply.h"
#include "api/api_router.h"
#include "api/api_wait.h"

#include <stdio.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "shm/shm_lease.h"

#define PURGE_DEADLINE_MS  1000
#define PURGE_LOOK_MOST_MS 20

struct purge {
    struct api_wait wait;
    uint64_t generation;
    int64_t begin_ms; /* monotonic */
};

/* Crash: before the store nothing was purged; after it the lease vanishes with us, and the purge
 * takes its course. */
static enum status raise_generation(struct api *api, uint64_t *generation, struct explain *why)
{
    enum status status = shm_lease_try_take(&api->region, SHM_LEASE_PURGE);
    if (status != STATUS_OK)
        return explain(why, status,
                       status == STATUS_BUSY ? "another purge is just beginning"
                                             : "the purge lease cannot be taken");
    CRASH_POINT(purge_leased);
    status = shm_region_open_purge(&api->region, why);
    if (status == STATUS_OK) {
        _Atomic uint64_t *current = &shm_region_purge(&api->region)->generation;
        *generation = atomic_load_explicit(current, memory_order_relaxed) + 1; /* ours alone now */
        /* In one order with the loads of it at each acceptance, in each lane and each summary. */
        atomic_store_explicit(current, *generation, memory_order_seq_cst);
        CRASH_POINT(purge_generation_raised);
        shm_region_close_purge(&api->region);
    }
    shm_lease_give_back(&api->region, SHM_LEASE_PURGE);
    return status;
}

/* The lanes that have not applied it, as "0, 3"; how many. */
static unsigned name_late_lanes(const struct purge *purge, char *text, size_t size)
{
    const struct shm_region *region = &purge->wait.api->region;
    unsigned count = 0;
    int length = 0;

    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        /* Pairs with the owner's release after first_row: our client's next summary sees it. */
        if (atomic_load_explicit(&shm_region_lane(region, lane)->purge_applied,
                                 memory_order_acquire) >= purge->generation)
            continue;
        length +=
            snprintf(text + length, size - (size_t)length, "%s%u", count > 0 ? ", " : "", lane);
        count++;
    }
    return count;
}

static void answer_late(struct purge *purge, const char *lanes)
{
    struct api *api = purge->wait.api;
    char error[256];

    snprintf(error, sizeof error,
             "lanes that have not applied the purge yet, but will when their worker is back: %s",
             lanes);
    LOG_WARN("purge_late", "generation=%ju lanes=%s", (uintmax_t)purge->generation, lanes);
    api_count(api, SHM_API_COUNTER_purges_late);
    api_reply_unavailable(api, purge->wait.req, error);
}

static void look(struct api_timer *timer)
{
    struct purge *purge = H2O_STRUCT_FROM_MEMBER(struct purge, wait.timer, timer);
    int64_t waited_ms = clock_monotonic_ms() - purge->begin_ms;
    int64_t delay_ms = 1 + waited_ms / 4;
    char lanes[SHM_LANES_MAX * 4 + 1];

    if (name_late_lanes(purge, lanes, sizeof lanes) == 0) {
        api_count(purge->wait.api, SHM_API_COUNTER_purges);
        api_reply_json(purge->wait.req, 200, API_JSON("{\"message\":\"all payments purged\"}"));
    } else if (waited_ms >= PURGE_DEADLINE_MS) {
        answer_late(purge, lanes);
    } else {
        if (delay_ms > PURGE_LOOK_MOST_MS)
            delay_ms = PURGE_LOOK_MOST_MS;
        api_wait_again(&purge->wait, delay_ms, look);
    }
}

void route_purge(struct api *api, h2o_req_t *req, h2o_iovec_t rest)
{
    struct explain why = {{0}};

    (void)rest;
    if (!api->config->purge) {
        api_reply_json(req, 403,
                       API_JSON("{\"error\":\"purging is off: PAYRING_PURGE=on enables it\"}"));
        return;
    }
    /* Before anything is purged: whoever cannot wait must not begin. */
    struct purge *purge = api_wait_begin(api, req, sizeof *purge);
    if (purge == NULL) {
        api_reply_unavailable(api, req, "too many requests are waiting");
        return;
    }
    if (raise_generation(api, &purge->generation, &why) != STATUS_OK) {
        api_reply_unavailable(api, req, why.text);
        return;
    }
    LOG_INFO("purge", "generation=%ju", (uintmax_t)purge->generation);
    payment_intake_wake_all(&api->intake);
    CRASH_POINT(purge_lanes_woken);
    purge->begin_ms = clock_monotonic_ms();
    look(&purge->wait.timer);
}
