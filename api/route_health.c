/* GET /healthz: can payments be accepted here? For balancers and for people. A lane without an
 * owner does not make an API unwell: what is accepted waits in the rings. */
#include "api/api_reply.h"
#include "api/api_router.h"

#include <inttypes.h>
#include <stdio.h>

#include "shm/shm_lease.h"
#include "shm/shm_ledger.h"
#include "shm/shm_operator.h"

#define HEAD_SIZE 320 /* all but the lanes; the region's name has 64 characters at most */
#define LANE_SIZE 256 /* of one lane; three numbers of 20 digits */

static uint64_t read_count(const _Atomic uint64_t *count)
{
    return atomic_load_explicit(count, memory_order_acquire);
}

/* "" where none is kept. */
static const char *journal_of(const struct shm_region *region, unsigned lane)
{
    static const char *const names[] = {
        [SHM_JOURNAL_NONE] = ",\"journal\":\"not open\"",
        [SHM_JOURNAL_WORKING] = ",\"journal\":\"working\"",
        [SHM_JOURNAL_FAILED] = ",\"journal\":\"failed\"",
    };
    uint64_t state = read_count(&shm_region_lane(region, lane)->journal.state);

    return region->durability == SHM_DURABILITY_MEMORY || state > SHM_JOURNAL_FAILED ? ""
                                                                                     : names[state];
}

static int put_lane(char *text, const struct shm_region *region, unsigned lane)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    uint64_t queued = 0;

    for (unsigned slot = 0; slot < region->geometry.api_slots; slot++)
        queued += shm_ring_depth(region, slot, lane);
    return snprintf(text, LANE_SIZE,
                    "%s{\"lane\":%u,\"owned\":%s,\"queued\":%" PRIu64 ",\"unsettled\":%" PRIu64
                    ",\"rowsLeft\":%" PRIu64 ",\"ledgerUsedPercent\":%u%s}",
                    lane > 0 ? "," : "", lane,
                    shm_lease_is_taken(region, SHM_LEASE_LANE + lane) ? "true" : "false", queued,
                    read_count(&control->unsettled),
                    shm_ledger_end(region, lane) - read_count(&control->row_count),
                    shm_ledger_used_percent(region, lane), journal_of(region, lane));
}

static const char *status_of(const struct api *api)
{
    if (!api->region_is_current)
        return "region gone";
    for (unsigned lane = 0; lane < api->region.geometry.lanes; lane++)
        if (read_count(&shm_region_lane(&api->region, lane)->journal.state) == SHM_JOURNAL_FAILED)
            return "journal failed";
    return shm_operator_is_stopped(shm_operator_intake(&api->region)) ? "draining" : "ok";
}

static int put_head(char *text, const struct api *api, const char *status)
{
    const struct shm_region *region = &api->region;

    return snprintf(text, HEAD_SIZE,
                    "{\"status\":\"%s\",\"region\":\"%s\",\"regionId\":\"%016" PRIx64 "%016" PRIx64
                    "\",\"apiSlot\":%u,\"purgeGeneration\":%" PRIu64 ",\"lanes\":[",
                    status, region->name, region->region_id_hi, region->region_id_lo, api->slot,
                    read_count(&shm_region_purge(region)->generation));
}

void route_health(struct api *api, h2o_req_t *req, h2o_iovec_t rest)
{
    const char *status = status_of(api);
    char *body =
        h2o_mem_alloc_pool(&req->pool, HEAD_SIZE + (size_t)api->region.geometry.lanes * LANE_SIZE);
    char *end = body + put_head(body, api, status);

    (void)rest;
    for (unsigned lane = 0; lane < api->region.geometry.lanes; lane++)
        end += put_lane(end, &api->region, lane);
    *end++ = ']';
    *end++ = '}';
    api_reply_json(req, strcmp(status, "ok") == 0 ? 200 : 503, body, (size_t)(end - body));
}
