/* POST /payments: 202 with nothing in it means that the payment is the gateway's.
 *
 * What came in one turn of the loop, one of each connection, is served together,
 * PAYMENT_INTAKE_BATCH_MAX at a time: all are read, then all are taken in, then all are answered,
 * and then the lanes are woken. One by one, a request costs a tenth more (docs/PERFORMANCE.md), and
 * whoever is still to be answered waits for a lane's wake-up.
 */
#include "api/api_reply.h"
#include "api/api_router.h"
#include "api/durable_waits.h"

#include "common/clock.h"
#include "common/crash_point.h"

/* One of a batch. */
struct posted {
    h2o_req_t *req;
    enum status read;
    struct payment_request payment;
    struct payment_json_fault fault;       /* STATUS_INVALID */
    enum payment_intake_verdict verdict;   /* STATUS_OK */
    struct payment_intake_receipt receipt; /* ACCEPTED and KNOWN */
};

/* -------------------------------------------------------------------- answering */

static void refuse(struct api *api, h2o_req_t *req, const struct payment_json_fault *fault)
{
    api_count(api, SHM_API_COUNTER_bad_requests);
    api_reply_error(req, 400, fault->reason, fault->field);
}

/* Whoever hears that it is not known sends the payment again: that is always safe. */
static void answer_durable(struct api *api, h2o_req_t *req, enum payment_intake_durability found)
{
    if (found == PAYMENT_INTAKE_DURABLE) {
        api_reply_empty(req, 202);
        CRASH_POINT(payment_answered);
        return;
    }
    api_count(api, SHM_API_COUNTER_not_durable);
    api_reply_unavailable(api, req,
                          found == PAYMENT_INTAKE_NEVER_KNOWN
                              ? "the journal has failed: the payment is not known to be durable"
                              : "the payment is not known to be durable yet");
}

static void answer_when_durable(struct api *api, const struct posted *posted)
{
    enum payment_intake_durability found = payment_intake_look(&api->intake, &posted->receipt);
    if (found != PAYMENT_INTAKE_NOT_YET ||
        !durable_waits_add(api, posted->req, &posted->receipt, answer_durable))
        answer_durable(api, posted->req, found);
}

static void answer_verdict(struct api *api, const struct posted *posted)
{
    h2o_req_t *req = posted->req;

    switch (posted->verdict) {
    case PAYMENT_INTAKE_ACCEPTED:
        api_count(api, SHM_API_COUNTER_accepted);
        answer_when_durable(api, posted);
        break;
    case PAYMENT_INTAKE_KNOWN:
        api_count(api, SHM_API_COUNTER_known);
        answer_when_durable(api, posted);
        break;
    case PAYMENT_INTAKE_JOURNAL_FAILED:
        api_count(api, SHM_API_COUNTER_journal_failed);
        api_reply_unavailable(api, req, "the journal has failed: nothing is accepted");
        break;
    case PAYMENT_INTAKE_JOURNAL_BEHIND:
        api_count(api, SHM_API_COUNTER_journal_behind);
        api_reply_unavailable(api, req, "the journal is behind: its lane does not keep up");
        break;
    case PAYMENT_INTAKE_DIFFERS:
        api_count(api, SHM_API_COUNTER_conflicts);
        api_reply_error(req, 409, "this id is known with another amount", "amount");
        break;
    case PAYMENT_INTAKE_REFUSED:
        api_count(api, SHM_API_COUNTER_conflicts);
        api_reply_error(req, 409, "the processors have refused this payment for good",
                        "correlationId");
        break;
    case PAYMENT_INTAKE_RING_FULL:
        api_count(api, SHM_API_COUNTER_ring_full);
        api_reply_unavailable(api, req, "the queue of accepted payments is full");
        break;
    case PAYMENT_INTAKE_LEDGER_FULL:
        api_count(api, SHM_API_COUNTER_ledger_full);
        api_reply_unavailable(api, req, "the ledger is full");
        break;
    case PAYMENT_INTAKE_STOPPED:
        api_count(api, SHM_API_COUNTER_intake_stopped);
        api_reply_unavailable(api, req, "intake is stopped: this gateway is draining");
        break;
    case PAYMENT_INTAKE_REGION_GONE:
        api_reply_unavailable(api, req, "the shared region is gone");
        break;
    }
}

static void answer(struct api *api, const struct posted *posted)
{
    switch (posted->read) {
    case STATUS_OK:
        answer_verdict(api, posted);
        break;
    case STATUS_INVALID:
        refuse(api, posted->req, &posted->fault);
        break;
    default:
        api_reply_unavailable(api, posted->req, "there is no memory to read it");
    }
}

/* ---------------------------------------------------------------------- a batch */

static void read_body(struct api *api, h2o_req_t *req, struct posted *posted)
{
    h2o_iovec_t body = req->entity.base != NULL ? req->entity : h2o_iovec_init(H2O_STRLIT(""));

    posted->req = req;
    posted->read = payment_json_parse_request(api->json, body.base, body.len, &posted->payment,
                                              &posted->fault);
}

static void take_in(struct api *api, struct posted *posted, int64_t now_ms)
{
    if (posted->read != STATUS_OK)
        return;
    posted->verdict = payment_intake_offer(&api->intake, &posted->payment.id,
                                           posted->payment.amount_cents, now_ms);
    posted->receipt = api->intake.receipt;
}

/* What a look for an id needs is on its way for all of them before it is waited for by one. */
static void expect_all(const struct payment_intake *intake, const struct posted *posted,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (posted[i].read == STATUS_OK)
            payment_intake_expect(intake, &posted[i].payment.id);
    for (unsigned i = 0; i < count; i++)
        if (posted[i].read == STATUS_OK)
            payment_intake_expect_record(intake, &posted[i].payment.id);
}

static void serve_batch(struct api *api)
{
    struct posted posted[PAYMENT_INTAKE_BATCH_MAX];
    unsigned count = api->batch.count;

    api->batch.count = 0;
    for (unsigned i = 0; i < count; i++)
        read_body(api, api->batch.requests[i], &posted[i]);
    expect_all(&api->intake, posted, count);
    int64_t now_ms = clock_wall_ms();
    for (unsigned i = 0; i < count; i++)
        take_in(api, &posted[i], now_ms);
    for (unsigned i = 0; i < count; i++)
        answer(api, &posted[i]);
    payment_intake_wake(&api->intake);
}

static void on_turn_end(h2o_timeout_entry_t *entry)
{
    serve_batch(H2O_STRUCT_FROM_MEMBER(struct api, batch.turn_end, entry));
}

/* libh2o rings what has no delay in the turn in which it was set, after all that could be read, and
 * completes in the same turn what is written then. Until it is answered libh2o neither reads from a
 * request's connection nor has a timer for it: it cannot go away meanwhile. */
void route_payments(struct api *api, h2o_req_t *req, h2o_iovec_t rest)
{
    struct payment_batch *batch = &api->batch;

    (void)rest;
    batch->requests[batch->count++] = req;
    if (batch->count == PAYMENT_INTAKE_BATCH_MAX) {
        serve_batch(api);
    } else if (!h2o_timeout_is_linked(&batch->turn_end)) {
        batch->turn_end.cb = on_turn_end;
        h2o_timeout_link(req->conn->ctx->loop, &req->conn->ctx->zero_timeout, &batch->turn_end);
    }
}
