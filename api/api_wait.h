/* A request that is answered later, when something in the region has changed. */
#ifndef PAYRING_API_WAIT_H
#define PAYRING_API_WAIT_H

#include <h2o.h>

#include "api/api.h"

/* First member of what a route keeps of such a request. Lives in the request's pool and ends with
 * it: a connection that is closed meanwhile takes its timer with it. */
struct api_wait {
    struct api_timer timer;
    struct api *api;
    h2o_req_t *req;
    void (*ended)(struct api_wait *); /* NULL: nothing else has to be given back at its end */
};

/* Make room for `size` bytes that begin with a struct api_wait; NULL: API_WAITING_MAX requests are
 * waiting, answer at once. The rest is zeros. */
void *api_wait_begin(struct api *, h2o_req_t *, size_t size);

/* Ring in delay_ms. Within it, answer the request, or wait again. */
void api_wait_again(struct api_wait *, int64_t delay_ms, void (*ring)(struct api_timer *));

#endif
