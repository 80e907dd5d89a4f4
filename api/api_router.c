#include "api/api_router.h"

#include "api/api_reply.h"
#include "api/peers.h"
#include "common/log.h"

struct route {
    const char *path;
    size_t path_length;
    bool takes_rest;   /* more follows: one segment that is not empty */
    bool needs_region; /* is of no use when the region is gone */
    bool is_post;      /* else it is GET, and HEAD with it */
    api_route *answer;
};

static const struct route client_routes[] = {
    {H2O_STRLIT("/payments"), false, true, true, route_payments},
    {H2O_STRLIT("/payments/"), true, true, false, route_payment},
    {H2O_STRLIT("/payments-summary"), false, true, false, route_summary},
    {H2O_STRLIT("/purge-payments"), false, true, true, route_purge},
    {H2O_STRLIT("/healthz"), false, false, false, route_health},
};

static const struct route peer_routes[] = {
    {H2O_STRLIT(PEERS_PATH), false, true, false, route_peer_summary},
};

#define END_OF(routes) ((routes) + sizeof(routes) / sizeof((routes)[0]))

/* The request target as it came, without its query. */
static h2o_iovec_t path_of(const h2o_req_t *req)
{
    const char *query = memchr(req->path.base, '?', req->path.len);

    return h2o_iovec_init(req->path.base,
                          query != NULL ? (size_t)(query - req->path.base) : req->path.len);
}

static bool matches(const struct route *route, h2o_iovec_t path, h2o_iovec_t *rest)
{
    if (path.len < route->path_length || memcmp(path.base, route->path, route->path_length) != 0)
        return false;
    *rest = h2o_iovec_init(path.base + route->path_length, path.len - route->path_length);
    if (!route->takes_rest)
        return rest->len == 0;
    return rest->len > 0 && memchr(rest->base, '/', rest->len) == NULL;
}

static bool is_allowed(const struct route *route, const h2o_req_t *req)
{
    h2o_iovec_t method = req->method;

    if (route->is_post)
        return h2o_memis(method.base, method.len, H2O_STRLIT("POST"));
    return h2o_memis(method.base, method.len, H2O_STRLIT("GET")) ||
           h2o_memis(method.base, method.len, H2O_STRLIT("HEAD"));
}

static void answer_among(struct api *api, h2o_req_t *req, const struct route *route,
                         const struct route *end)
{
    h2o_iovec_t path = path_of(req), rest;

    for (; route < end; route++) {
        if (!matches(route, path, &rest))
            continue;
        if (!is_allowed(route, req))
            api_reply_not_allowed(req, route->is_post ? "POST" : "GET, HEAD");
        else if (route->needs_region && !api->region_is_current)
            api_reply_unavailable(api, req, "the shared region is gone");
        else
            route->answer(api, req, rest);
        return;
    }
    api_count(api, SHM_API_COUNTER_not_found);
    api_reply_json(req, 404, API_JSON("{\"error\":\"there is nothing at this path\"}"));
}

void api_router_answer(void *owner, h2o_req_t *req)
{
    answer_among(owner, req, client_routes, END_OF(client_routes));
}

static bool knows_secret(const struct api *api, const h2o_req_t *req)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT(PEERS_SECRET_HEADER), -1);

    if (at < 0)
        return false;
    h2o_iovec_t given = req->headers.entries[at].value;
    return secret_equals(api->config->peer_secret, given.base, given.len);
}

void api_router_answer_peer(void *owner, h2o_req_t *req)
{
    struct api *api = owner;

    if (knows_secret(api, req)) {
        answer_among(api, req, peer_routes, END_OF(peer_routes));
        return;
    }
    api_count(api, SHM_API_COUNTER_peers_refused);
    LOG_WARN("peer_refused", "why=secret");
    api_reply_json(req, 403, API_JSON("{\"error\":\"this is for those who know the secret\"}"));
}
