/* Answers. Each request is answered exactly once, by one of these.
 *
 * A body is not copied unless it says so: it must be a constant or come from the request's pool. A
 * HEAD gets the head only. A server that is stopping says "Connection: close".
 */
#ifndef PAYRING_API_REPLY_H
#define PAYRING_API_REPLY_H

#include <h2o.h>

#include "api/api.h"

#define API_JSON(text) text, sizeof(text) - 1

void api_reply_empty(h2o_req_t *, int status);
void api_reply_json(h2o_req_t *, int status, const char *body, size_t length);
void api_reply_text(h2o_req_t *, int status, const char *body, size_t length);

/* {"error":"…"} or {"error":"…","field":"…"} (field NULL: without it). Both are copied and
 * escaped: what a client sent can be in them. */
void api_reply_error(h2o_req_t *, int status, const char *error, const char *field);

/* 503 and Retry-After. */
void api_reply_unavailable(const struct api *, h2o_req_t *, const char *error);

/* 405 and Allow, a constant. */
void api_reply_not_allowed(h2o_req_t *, const char *allow);

#endif
