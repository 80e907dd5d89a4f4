/* Which call is which: method and exact path, then the token where one is needed. */
#include <string.h>

#include "test/processor/admin.h"

typedef void (*plain_call)(struct processor *processor, struct request *request);
typedef void (*id_call)(struct processor *processor, struct request *request,
                        const struct payment_id *id);

/* With `by_id` the path goes on with a payment's id. */
struct route {
    const char *method;
    const char *path;
    bool needs_token;
    plain_call plain;
    id_call by_id;
};

static const struct route routes[] = {
    {"POST", "/payments", false, payments_post, NULL},
    {"GET", "/payments/service-health", false, health_get, NULL},
    {"GET", "/payments/", false, NULL, payments_get},
    {"GET", "/admin/payments-summary", true, admin_get_summary, NULL},
    {"PUT", "/admin/configurations/token", true, admin_put_token, NULL},
    {"PUT", "/admin/configurations/delay", true, admin_put_delay, NULL},
    {"PUT", "/admin/configurations/failure", true, admin_put_failure, NULL},
    {"POST", "/admin/purge-payments", true, admin_purge, NULL},
    {"GET", "/admin/payments", true, admin_get_payments, NULL},
    {"GET", "/admin/seen/", true, NULL, admin_get_seen},
    {"GET", "/admin/stats", true, admin_get_stats, NULL},
    {"POST", "/admin/stats/reset", true, admin_reset_stats, NULL},
    {"GET", "/admin/misbehave", true, admin_get_misbehave, NULL},
    {"PUT", "/admin/misbehave", true, admin_put_misbehave, NULL},
};

enum { ROUTE_COUNT = sizeof(routes) / sizeof(routes[0]) };

static h2o_iovec_t path_of(const h2o_req_t *req)
{
    size_t length = req->query_at == SIZE_MAX ? req->path.len : req->query_at;
    return h2o_iovec_init(req->path.base, length);
}

static bool path_matches(const struct route *route, h2o_iovec_t path)
{
    size_t length = strlen(route->path);
    bool longer_allowed = route->by_id != NULL;
    return path.len >= length && (path.len == length || longer_allowed) &&
           memcmp(path.base, route->path, length) == 0;
}

static bool has_token(const struct processor *processor, const h2o_req_t *req)
{
    ssize_t at = h2o_find_header_by_str(&req->headers, H2O_STRLIT("x-rinha-token"), -1);
    if (at < 0)
        return false;
    h2o_iovec_t value = req->headers.entries[at].value;
    return value.len == strlen(processor->token) &&
           memcmp(value.base, processor->token, value.len) == 0;
}

static void call(const struct route *route, struct processor *processor, struct request *request)
{
    struct payment_id id;
    h2o_iovec_t path = path_of(request->h2o);
    size_t length = strlen(route->path);
    if (route->needs_token && !has_token(processor, request->h2o))
        request_reply(request, &(struct reply){.status = 401});
    else if (route->by_id == NULL)
        route->plain(processor, request);
    else if (payment_id_parse(path.base + length, path.len - length, &id) == 0)
        route->by_id(processor, request, &id);
    else
        request_reply(request, &(struct reply){.status = 404});
}

void routes_handle(void *owner, struct request *request)
{
    struct processor *processor = owner;
    h2o_req_t *req = request->h2o;
    h2o_iovec_t path = path_of(req);
    const char *allow = NULL;
    for (size_t i = 0; i < ROUTE_COUNT; i++) {
        const struct route *route = &routes[i];
        if (!path_matches(route, path))
            continue;
        if (h2o_memis(req->method.base, req->method.len, route->method, strlen(route->method))) {
            call(route, processor, request);
            return;
        }
        if (allow == NULL)
            allow = route->method;
    }
    request_reply(request, &(struct reply){.status = allow == NULL ? 404 : 405, .allow = allow});
}
