#include "api/durable_waits.h"

#include "common/clock.h"

#define LOOK_MS 1

struct durable_wait {
    struct durable_wait *next, **link; /* what points to this one; NULL: answered */
    struct api *api;
    h2o_req_t *req;
    struct payment_intake_receipt receipt;
    int64_t deadline_ms; /* monotonic */
    void (*answer)(struct api *, h2o_req_t *, enum payment_intake_durability);
};

static void unlink_wait(struct durable_wait *wait)
{
    if (wait->link == NULL)
        return;
    *wait->link = wait->next;
    if (wait->next != NULL)
        wait->next->link = wait->link;
    else
        wait->api->durable_waits.end = wait->link;
    wait->link = NULL;
    wait->api->durable_waits.count--;
}

/* The pool is going: answered, or given up by the client. */
static void end(void *data)
{
    unlink_wait(data);
}

static void look(struct api_timer *timer)
{
    struct api *api = H2O_STRUCT_FROM_MEMBER(struct api, durable_waits.timer, timer);
    int64_t now_ms = clock_monotonic_ms();
    struct durable_wait *next;

    for (struct durable_wait *wait = api->durable_waits.first; wait != NULL; wait = next) {
        enum payment_intake_durability found = payment_intake_look(&api->intake, &wait->receipt);
        next = wait->next;
        if (found == PAYMENT_INTAKE_NOT_YET && now_ms < wait->deadline_ms)
            continue;
        unlink_wait(wait);
        wait->answer(api, wait->req, found);
    }
    if (api->durable_waits.first != NULL)
        api_timers_set(&api->timers, timer, now_ms + LOOK_MS, look);
}

bool durable_waits_add(struct api *api, h2o_req_t *req,
                       const struct payment_intake_receipt *receipt,
                       void (*answer)(struct api *, h2o_req_t *, enum payment_intake_durability))
{
    struct durable_waits *waits = &api->durable_waits;

    if (waits->count >= DURABLE_WAITS_MAX)
        return false;
    if (waits->end == NULL)
        waits->end = &waits->first;
    struct durable_wait *wait = h2o_mem_alloc_shared(&req->pool, sizeof *wait, end);
    int64_t now_ms = clock_monotonic_ms();
    *wait = (struct durable_wait){
        .link = waits->end,
        .api = api,
        .req = req,
        .receipt = *receipt,
        .deadline_ms = now_ms + api->config->durable_timeout_ms,
        .answer = answer,
    };
    *waits->end = wait;
    waits->end = &wait->next;
    if (waits->count++ == 0)
        api_timers_set(&api->timers, &waits->timer, now_ms + LOOK_MS, look);
    return true;
}
