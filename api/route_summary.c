/* GET /payments-summary?from=&to=&scope=: what was settled with each processor, by requestedAt,
 * over all lanes of the region and, unless the scope is local, over the regions of all peers. */
#include "api/api_reply.h"
#include "api/api_router.h"
#include "api/peers.h"

#include "common/iso8601.h"
#include "common/query.h"
#include "shm/shm_ledger.h"

/* The longest time of RFC 3339 that is taken has 35 characters; room to say what is wrong with a
 * longer one. */
#define TIME_SIZE 64

static h2o_iovec_t query_of(const h2o_req_t *req)
{
    const char *end = req->path.base + req->path.len;
    const char *mark = memchr(req->path.base, '?', req->path.len);

    return mark != NULL ? h2o_iovec_init(mark + 1, (size_t)(end - mark - 1))
                        : h2o_iovec_init(end, 0);
}

static enum status find_time(h2o_iovec_t query, const char *key, struct iso8601_time *time,
                             struct explain *why)
{
    char text[TIME_SIZE];
    size_t length;
    enum status status = query_find(query.base, query.len, key, text, sizeof text, &length, why);

    return status == STATUS_OK ? iso8601_parse(text, length, ISO8601_ZONE_REQUIRED, time, why)
                               : status;
}

/* NULL, or the name of the bound that is invalid. A bound that is not given does not bound. */
static const char *read_window(h2o_iovec_t query, struct shm_window *window, struct explain *why)
{
    struct iso8601_time time;

    *window = (struct shm_window){.from_us = INT64_MIN, .to_us = INT64_MAX};
    enum status status = find_time(query, "from", &time, why);
    if (status == STATUS_INVALID)
        return "from";
    if (status == STATUS_OK)
        window->from_us = iso8601_round_up_us(&time);
    status = find_time(query, "to", &time, why);
    if (status == STATUS_INVALID)
        return "to";
    if (status == STATUS_OK)
        window->to_us = iso8601_round_down_us(&time);
    return NULL;
}

/* "all", which is the preset: every region that we know; "local": ours alone, whoever else cannot
 * be asked just now. NULL, or what is invalid. */
static const char *read_scope(h2o_iovec_t query, bool *local, struct explain *why)
{
    char text[8] = "all";
    size_t length;
    enum status status =
        query_find(query.base, query.len, "scope", text, sizeof text, &length, why);

    *local = strcmp(text, "local") == 0;
    if (status == STATUS_INVALID)
        return "scope";
    if (*local || strcmp(text, "all") == 0)
        return NULL;
    explain_in(why, "must be all or local");
    return "scope";
}

/* Our own sums are taken last and at once, so that they are of the moment of the answer. */
static void answer(struct api *api, h2o_req_t *req, const struct shm_window *window,
                   const struct payment_summary *others)
{
    struct payment_summary summary = *others;
    struct shm_totals totals = {{0}, {0}};
    struct explain why = {{0}};

    if (window->from_us <= window->to_us &&
        shm_ledger_sum_or_say(&api->region, window, &totals, &why) != STATUS_OK) {
        api_reply_unavailable(api, req, why.text);
        return;
    }
    for (unsigned i = 0; i < SHM_PROCESSORS; i++) {
        summary.payments[i] += totals.payments[i];
        summary.sum_cents[i] += totals.sum_cents[i];
    }
    api_count(api, SHM_API_COUNTER_summaries);
    char *body = h2o_mem_alloc_pool(&req->pool, PAYMENT_JSON_SUMMARY_SIZE);
    size_t length = payment_json_write_summary(body, &summary);
    api_reply_json(req, 200, body, length);
}

void route_summary(struct api *api, h2o_req_t *req, h2o_iovec_t rest)
{
    static const struct payment_summary nothing;
    struct shm_window window;
    bool local;
    struct explain why = {{0}};

    (void)rest;
    const char *invalid = read_window(query_of(req), &window, &why);
    if (invalid == NULL)
        invalid = read_scope(query_of(req), &local, &why);
    if (invalid != NULL) {
        api_count(api, SHM_API_COUNTER_bad_requests);
        api_reply_error(req, 400, why.text, invalid);
        return;
    }
    /* A window that holds no moment holds no payments, wherever. */
    if (local || api->config->peer_count == 0 || window.from_us > window.to_us)
        answer(api, req, &window, &nothing);
    else
        peers_ask(api, req, &window, answer);
}
