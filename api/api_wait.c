#include "api/api_wait.h"

#include "common/clock.h"

/* The pool is going: answered, or given up. */
static void end(void *data)
{
    struct api_wait *wait = data;

    api_timers_cancel(&wait->timer);
    wait->api->waiting--;
    if (wait->ended != NULL)
        wait->ended(wait);
}

void *api_wait_begin(struct api *api, h2o_req_t *req, size_t size)
{
    if (api->waiting >= API_WAITING_MAX)
        return NULL;
    struct api_wait *wait = h2o_mem_alloc_shared(&req->pool, size, end);
    memset(wait, 0, size);
    wait->api = api;
    wait->req = req;
    api->waiting++;
    return wait;
}

void api_wait_again(struct api_wait *wait, int64_t delay_ms, void (*ring)(struct api_timer *))
{
    api_timers_set(&wait->api->timers, &wait->timer, clock_monotonic_ms() + delay_ms, ring);
}
