/* GET /internal/summary?from_us=&to_us= on the listener of peers: the sums of this region alone,
 * for a peer that adds them to others (api/peer_reply.h has the words). Bounds are inclusive, in us
 * since the Unix epoch; both must be given, the lowest and the highest int64 bound nothing. */
#include "api/api_reply.h"
#include "api/api_router.h"
#include "api/peers.h"

#include <errno.h>
#include <stdlib.h>

#include "common/query.h"

#define BOUND_SIZE 24 /* 20 characters and their NUL */

static bool speaks_our_version(const h2o_req_t *req)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT(PEERS_VERSION_HEADER), -1);

    if (at < 0)
        return false;
    h2o_iovec_t version = req->headers.entries[at].value;
    return h2o_memis(version.base, version.len, H2O_STRLIT(PEER_VERSION_TEXT));
}

static bool find_bound(const h2o_req_t *req, const char *key, int64_t *bound_us)
{
    const char *query = memchr(req->path.base, '?', req->path.len);
    char text[BOUND_SIZE], *end;
    size_t length;

    if (query++ == NULL || query_find(query, (size_t)(req->path.base + req->path.len - query), key,
                                      text, sizeof text, &length, NULL) != STATUS_OK)
        return false;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    *bound_us = value;
    return errno == 0 && end > text && end == text + length;
}

void route_peer_summary(struct api *api, h2o_req_t *req, h2o_iovec_t rest)
{
    const struct shm_region *region = &api->region;
    struct peer_sums sums = {.region_id_hi = region->region_id_hi,
                             .region_id_lo = region->region_id_lo};
    struct shm_window window;
    struct shm_totals totals = {{0}, {0}};
    struct explain why = {{0}};

    (void)rest;
    if (!speaks_our_version(req)) {
        api_reply_text(req, 400, API_JSON(PEER_FIRST_LINE)); /* this is what we speak */
        return;
    }
    if (!find_bound(req, "from_us", &window.from_us) || !find_bound(req, "to_us", &window.to_us)) {
        api_count(api, SHM_API_COUNTER_bad_requests);
        api_reply_error(req, 400, "from_us and to_us must be whole numbers", NULL);
        return;
    }
    /* Before the sums: these are of this generation or a later one, as the asker assumes. */
    sums.purge_generation =
        atomic_load_explicit(&shm_region_purge(region)->generation, memory_order_seq_cst);
    if (window.from_us <= window.to_us &&
        shm_ledger_sum_or_say(region, &window, &totals, &why) != STATUS_OK) {
        api_reply_unavailable(api, req, why.text);
        return;
    }
    for (unsigned i = 0; i < SHM_PROCESSORS; i++) {
        sums.totals.payments[i] = totals.payments[i];
        sums.totals.sum_cents[i] = totals.sum_cents[i];
    }
    char *body = h2o_mem_alloc_pool(&req->pool, PEER_SUMS_SIZE);
    size_t length = peer_sums_write(body, &sums);
    api_count(api, SHM_API_COUNTER_peers_answered);
    api_reply_text(req, 200, body, length);
}
