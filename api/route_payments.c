/* POST /payments: 202 with nothing in it means that the payment is the gateway's. */
#include "api/api_reply.h"
#include "api/api_router.h"
#include "api/durable_waits.h"

#include "common/clock.h"
#include "common/crash_point.h"

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

static void answer_when_durable(struct api *api, h2o_req_t *req)
{
    struct payment_intake_receipt receipt = api->intake.receipt;
    enum payment_intake_durability found = payment_intake_look(&api->intake, &receipt);
    if (found != PAYMENT_INTAKE_NOT_YET || !durable_waits_add(api, req, &receipt, answer_durable))
        answer_durable(api, req, found);
}

static void answer(struct api *api, h2o_req_t *req, enum payment_intake_verdict verdict)
{
    switch (verdict) {
    case PAYMENT_INTAKE_ACCEPTED:
        api_count(api, SHM_API_COUNTER_accepted);
        answer_when_durable(api, req);
        break;
    case PAYMENT_INTAKE_KNOWN:
        api_count(api, SHM_API_COUNTER_known);
        answer_when_durable(api, req);
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

void route_payments(struct api *api, h2o_req_t *req, h2o_iovec_t rest)
{
    struct payment_request payment;
    struct payment_json_fault fault;
    h2o_iovec_t body = req->entity.base != NULL ? req->entity : h2o_iovec_init(H2O_STRLIT(""));

    (void)rest;
    switch (payment_json_parse_request(api->json, body.base, body.len, &payment, &fault)) {
    case STATUS_OK:
        answer(
            api, req,
            payment_intake_offer(&api->intake, &payment.id, payment.amount_cents, clock_wall_ms()));
        break;
    case STATUS_INVALID:
        refuse(api, req, &fault);
        break;
    default:
        api_reply_unavailable(api, req, "there is no memory to read it");
    }
}
