/* GET /payments/{id}: where a payment is. */
#include "api/api_reply.h"
#include "api/api_router.h"
#include "api/api_wait.h"

#include <stdio.h>

#include "common/iso8601.h"
#include "common/money.h"

/* Looks before an id counts as unknown, and the time between two of them. A wrong miss takes a
 * record or a chain that its owner is changing at the very moment, which takes it nanoseconds. */
#define LOOKS_MAX     3
#define LOOK_AGAIN_MS 1

#define ANSWER_SIZE 400

/* What is known of a payment, from wherever. */
struct finding {
    const char *state, *processor;
    int64_t amount_cents, accepted_at_ms;
    int64_t requested_at_us; /* 0: not bound */
    unsigned attempts;
    bool pinned;
};

struct lookup {
    struct api_wait wait;
    struct uuid id;
    unsigned looks;
};

/* ---------------------------------------------------------------------- finding */

static void from_record(struct finding *finding, const struct shm_payment_snapshot *payment)
{
    static const char *const processors[SHM_PROCESSORS] = {"default", "fallback"};
    /* A definite no leaves the last binding behind: it means nothing any more. */
    bool is_bound = payment->state != PAYMENT_QUEUED && payment->requested_at_us != 0;

    *finding = (struct finding){
        .state = shm_payments_state_name(payment->state),
        .processor = is_bound ? processors[payment->processor] : "none",
        .amount_cents = payment->amount_cents,
        .accepted_at_ms = payment->accepted_at_ms,
        .requested_at_us = is_bound ? payment->requested_at_us : 0,
        .attempts = payment->attempts,
        .pinned = payment->state == PAYMENT_SENT && (payment->flags & PAYMENT_FLAG_UNKNOWN) != 0,
    };
}

static enum shm_payments_finding find_in_table(const struct api *api, unsigned lane,
                                               const struct uuid *id, struct finding *finding)
{
    struct shm_payment_snapshot payment;
    enum shm_payments_finding found =
        shm_payments_find(&api->intake.lanes[lane].payments, id, &payment);

    if (found == SHM_PAYMENTS_HIT)
        from_record(finding, &payment);
    return found;
}

/* The other APIs' rings too, and those of slots without a tenant. */
static bool find_in_rings(const struct api *api, unsigned lane, const struct uuid *id,
                          struct finding *finding)
{
    struct shm_ring_entry entry;
    unsigned slot = 0;

    while (slot < api->region.geometry.api_slots &&
           !shm_ring_find(&api->region, slot, lane, id, &entry))
        slot++;
    if (slot == api->region.geometry.api_slots)
        return false;
    *finding = (struct finding){.state = "accepted",
                                .processor = "none",
                                .amount_cents = entry.amount_cents,
                                .accepted_at_ms = entry.accepted_at_ms};
    return true;
}

/* A payment stands in the table before it leaves its ring. So it is the look at the table after
 * that at the rings that cannot miss one on its way: what was in no ring any more has been in the
 * table since. The look before them is for the common case, and spares the walk along the rings. */
static enum shm_payments_finding find(const struct api *api, const struct uuid *id,
                                      struct finding *finding)
{
    unsigned lane = shm_payments_lane_of(&api->region, id);
    enum shm_payments_finding found = find_in_table(api, lane, id, finding);

    if (found != SHM_PAYMENTS_MISS)
        return found;
    if (find_in_rings(api, lane, id, finding))
        return SHM_PAYMENTS_HIT;
    return find_in_table(api, lane, id, finding);
}

/* -------------------------------------------------------------------- answering */

/* As it was sent: with milliseconds, unless a processor's book says more. */
static void put_requested_at(char text[static ISO8601_TEXT_SIZE + 2], int64_t requested_at_us)
{
    char time[ISO8601_TEXT_SIZE];

    if (requested_at_us == 0) {
        strcpy(text, "null");
        return;
    }
    if (requested_at_us % 1000 == 0)
        iso8601_format_ms(time, requested_at_us / 1000);
    else
        iso8601_format_us(time, requested_at_us);
    snprintf(text, ISO8601_TEXT_SIZE + 2, "\"%s\"", time);
}

static void answer_found(h2o_req_t *req, const struct uuid *id, const struct finding *finding)
{
    char id_text[UUID_TEXT_LENGTH + 1], amount[MONEY_TEXT_SIZE], accepted_at[ISO8601_TEXT_SIZE],
        requested_at[ISO8601_TEXT_SIZE + 2];
    char *body = h2o_mem_alloc_pool(&req->pool, ANSWER_SIZE);

    uuid_format(id_text, id);
    money_format_cents(amount, finding->amount_cents);
    iso8601_format_ms(accepted_at, finding->accepted_at_ms);
    put_requested_at(requested_at, finding->requested_at_us);
    int length = snprintf(body, ANSWER_SIZE,
                          "{\"correlationId\":\"%s\",\"state\":\"%s\",\"amount\":%s,"
                          "\"processor\":\"%s\",\"acceptedAt\":\"%s\",\"requestedAt\":%s,"
                          "\"attempts\":%u,\"pinned\":%s}",
                          id_text, finding->state, amount, finding->processor, accepted_at,
                          requested_at, finding->attempts, finding->pinned ? "true" : "false");
    api_reply_json(req, 200, body, (size_t)length);
}

static void answer_unknown(struct api *api, h2o_req_t *req)
{
    api_count(api, SHM_API_COUNTER_not_found);
    api_reply_json(req, 404, API_JSON("{\"error\":\"unknown or no longer kept\"}"));
}

static void look_again(struct api_timer *timer)
{
    struct lookup *lookup = H2O_STRUCT_FROM_MEMBER(struct lookup, wait.timer, timer);
    struct finding finding;

    enum shm_payments_finding found = find(lookup->wait.api, &lookup->id, &finding);

    if (found == SHM_PAYMENTS_HIT)
        answer_found(lookup->wait.req, &lookup->id, &finding);
    else if (++lookup->looks < LOOKS_MAX)
        api_wait_again(&lookup->wait, LOOK_AGAIN_MS, look_again);
    else if (found == SHM_PAYMENTS_IN_MOTION)
        api_reply_unavailable(lookup->wait.api, lookup->wait.req,
                              "the payment is being changed by a worker that does not go on");
    else
        answer_unknown(lookup->wait.api, lookup->wait.req);
}

void route_payment(struct api *api, h2o_req_t *req, h2o_iovec_t rest)
{
    struct uuid id;
    struct finding finding;

    if (!uuid_parse(rest.base, rest.len, &id)) {
        api_count(api, SHM_API_COUNTER_bad_requests);
        api_reply_error(req, 400, "must be a UUID", "id");
        return;
    }
    api_count(api, SHM_API_COUNTER_lookups);
    if (find(api, &id, &finding) == SHM_PAYMENTS_HIT) {
        answer_found(req, &id, &finding);
        return;
    }
    struct lookup *lookup = api_wait_begin(api, req, sizeof *lookup);
    if (lookup == NULL) {
        api_reply_unavailable(api, req, "too many requests are waiting");
        return;
    }
    lookup->id = id;
    lookup->looks = 1;
    api_wait_again(&lookup->wait, LOOK_AGAIN_MS, look_again);
}
