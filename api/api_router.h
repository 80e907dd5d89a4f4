/* Which route answers a request. */
#ifndef PAYRING_API_ROUTER_H
#define PAYRING_API_ROUTER_H

#include <h2o.h>

#include "api/api.h"

/* Answer a request, at once or later. `rest` is what follows the route's path: the id of
 * /payments/{id}, else empty. Both live as long as the request. */
typedef void api_route(struct api *, h2o_req_t *, h2o_iovec_t rest);

api_route route_payments; /* POST /payments */
api_route route_payment;  /* GET /payments/{id} */
api_route route_summary;  /* GET /payments-summary */
api_route route_purge;    /* POST /purge-payments */
api_route route_health;   /* GET /healthz */

api_route route_peer_summary; /* GET /internal/summary, of peers */

/* The server's handler; the owner is a struct api.
 *
 * The path is compared byte for byte as it came, up to the "?". libh2o would take
 * /payments/../payments and /%70ayments for /payments; here only what is spelled like a route is
 * one. Who else looks at paths (a balancer's rules, a log) then sees what we see.
 */
void api_router_answer(void *api, h2o_req_t *req);

/* The same for the listener of peers, with routes of its own: what is answered here is at no path
 * of the other listeners, nor the other way round. Without the secret there is nothing but 403. */
void api_router_answer_peer(void *api, h2o_req_t *req);

#endif
