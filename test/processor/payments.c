/* The way of one request through the processor:
 *
 *   arrive: well formed? room? which fault?  -> 400, 429, reset
 *   wait for a place among the running       (GETs too)
 *   wait the delay that was set at arrival   (POSTs only, as the next step)
 *   look at the failure flag                 -> 500, empty
 *   wait for and take up capacity, if it is limited
 *   insert or find                           -> 200, 422, 404
 *   answer, as the fault wants it
 *
 * A visit owns all that the request said. Its client may leave at any time;
 * the visit goes on to the end.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/processor/json_read.h"
#include "test/processor/memory.h"
#include "test/processor/processor.h"

struct visit {
    struct timer timer;
    struct exchange exchange;
    struct processor *processor;
    struct visit *next;
    struct payment payment; /* of a lookup only the id, until it is found */
    int64_t delay_ms;
    struct fault fault;
    bool is_lookup;
    int status; /* the outcome, once there is one */
};

static void push(struct visit_queue *queue, struct visit *visit)
{
    visit->next = NULL;
    if (queue->last != NULL)
        queue->last->next = visit;
    else
        queue->first = visit;
    queue->last = visit;
    queue->count++;
}

static struct visit *pop(struct visit_queue *queue)
{
    struct visit *visit = queue->first;
    queue->first = visit->next;
    if (queue->first == NULL)
        queue->last = NULL;
    queue->count--;
    return visit;
}

static void start(struct visit *visit);

/* A loop with a guard, because each that starts may end at once and come here
 * again: without it five hundred waiting ones would be as many nested calls. */
static void pump_waiting(struct processor *processor)
{
    struct concurrency *c = &processor->concurrency;
    if (c->pumping)
        return;
    c->pumping = true;
    while (c->queue.count > 0 && c->running < c->running_max)
        start(pop(&c->queue));
    c->pumping = false;
}

static void leave(struct visit *visit)
{
    struct processor *processor = visit->processor;
    processor->concurrency.running--;
    free(visit);
    pump_waiting(processor);
}

static void count_answer(struct visit *visit, int status)
{
    if (!visit->is_lookup)
        visit->processor->stats.statuses[status]++;
}

static void answer(struct visit *visit, int status, const char *body)
{
    count_answer(visit, status);
    exchange_reply(&visit->exchange,
                   &(struct reply){.status = status, .body = body, .length = strlen(body)});
    leave(visit);
}

static void print_payment(const struct payment *payment, char *out, size_t size)
{
    char id[PAYMENT_ID_TEXT_SIZE], amount[AMOUNT_TEXT_SIZE], at[INSTANT_TEXT_MAX];
    payment_id_print(&payment->id, id);
    amount_print(payment->amount_cents, payment->amount_decimals, amount);
    instant_print(payment->requested_at_us, at);
    snprintf(out, size, "{\"correlationId\":\"%s\",\"amount\":%s,\"requestedAt\":\"%s\"}", id,
             amount, at);
}

static void print_outcome(const struct visit *visit, char *out, size_t size)
{
    char id[PAYMENT_ID_TEXT_SIZE];
    out[0] = '\0';
    if (visit->is_lookup && visit->status == 200) {
        print_payment(&visit->payment, out, size);
    } else if (visit->status == 422) {
        payment_id_print(&visit->payment.id, id);
        snprintf(out, size,
                 "{\"message\":\"Payment could not be processed. "
                 "CorrelationId already exists: %s.\"}",
                 id);
    } else if (visit->status == 200) {
        snprintf(out, size, "{\"message\":\"payment processed successfully\"}");
    }
}

static const char exception_body[] =
    "{\"message\":\"Npgsql.NpgsqlException: Exception while reading from stream\"}";

static void send_raw(struct visit *visit, const char *bytes)
{
    visit->processor->stats.broken++;
    exchange_send_raw(&visit->exchange, bytes, strlen(bytes));
    leave(visit);
}

static void answer_outcome(struct visit *visit)
{
    char body[320];
    switch (visit->fault.kind) {
    case FAULT_RESET_AFTER:
        visit->processor->stats.broken++;
        exchange_reset(&visit->exchange);
        leave(visit);
        return;
    case FAULT_RESET_THEN_INSERT: /* counted and reset when it arrived */
        leave(visit);
        return;
    case FAULT_GARBAGE_BODY:
        answer(visit, visit->status, "{\"message\": \x01\xff<<not json");
        return;
    case FAULT_GARBAGE_HTTP:
        send_raw(visit, "\x16\x03\x01 this is no HTTP at all\r\n\r\n");
        return;
    case FAULT_SHORT:
        send_raw(visit, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                        "Content-Length: 1000\r\n\r\n{\"message\":\"payment proc");
        return;
    case FAULT_ERROR_AFTER:
        answer(visit, visit->fault.status, exception_body);
        return;
    default:
        print_outcome(visit, body, sizeof(body));
        answer(visit, visit->status, body);
    }
}

static void on_late_enough(struct timer *timer)
{
    answer_outcome(H2O_STRUCT_FROM_MEMBER(struct visit, timer, timer));
}

static void execute(struct visit *visit)
{
    struct processor *processor = visit->processor;
    if (visit->is_lookup)
        visit->status =
            books_find(processor->books, &visit->payment.id, &visit->payment) ? 200 : 404;
    else
        visit->status = books_insert(processor->books, &visit->payment) ? 200 : 422;
    if (visit->fault.kind == FAULT_LATE)
        timers_set(&processor->timers, &visit->timer, visit->fault.ms, on_late_enough);
    else
        answer_outcome(visit);
}

static void serve(struct visit *visit);

static void pump_capacity(struct processor *processor)
{
    struct capacity *c = &processor->capacity;
    if (c->pumping)
        return;
    c->pumping = true;
    while (c->queue.count > 0 && (c->concurrent_max == 0 || c->busy < c->concurrent_max))
        serve(pop(&c->queue));
    c->pumping = false;
}

static void on_served(struct timer *timer)
{
    struct visit *visit = H2O_STRUCT_FROM_MEMBER(struct visit, timer, timer);
    struct processor *processor = visit->processor;
    processor->capacity.busy--;
    execute(visit);
    pump_capacity(processor);
}

static void serve(struct visit *visit)
{
    struct capacity *c = &visit->processor->capacity;
    c->busy++;
    if (c->concurrent_max == 0 || c->service_ms == 0)
        on_served(&visit->timer);
    else
        timers_set(&visit->processor->timers, &visit->timer, c->service_ms, on_served);
}

static void take_capacity(struct visit *visit)
{
    push(&visit->processor->capacity.queue, visit);
    pump_capacity(visit->processor);
}

void payments_capacity_changed(struct processor *processor)
{
    pump_capacity(processor);
}

static void on_delay_over(struct timer *timer)
{
    struct visit *visit = H2O_STRUCT_FROM_MEMBER(struct visit, timer, timer);
    if (visit->fault.kind == FAULT_RESET_THEN_INSERT && visit->processor->failing)
        leave(visit);
    else if (visit->processor->failing)
        answer(visit, 500, "");
    else if (visit->fault.kind == FAULT_ERROR_BEFORE)
        answer(visit, visit->fault.status, exception_body);
    else
        take_capacity(visit);
}

static void start(struct visit *visit)
{
    struct processor *processor = visit->processor;
    processor->concurrency.running++;
    if (processor->concurrency.running > processor->stats.max_running)
        processor->stats.max_running = processor->concurrency.running;
    if (visit->is_lookup)
        take_capacity(visit);
    else if (visit->delay_ms > 0)
        timers_set(&processor->timers, &visit->timer, visit->delay_ms, on_delay_over);
    else
        on_delay_over(&visit->timer);
}

static bool is_full(const struct processor *processor)
{
    const struct concurrency *c = &processor->concurrency;
    return c->running >= c->running_max && c->queue.count >= c->queued_max;
}

/* There is room: the caller has looked. */
static void admit(struct visit *visit)
{
    push(&visit->processor->concurrency.queue, visit);
    pump_waiting(visit->processor);
}

static struct visit *visit_create(struct processor *processor, struct request *request)
{
    struct visit *visit = memory_new(sizeof(*visit));
    visit->processor = processor;
    exchange_open(&visit->exchange, request);
    return visit;
}

static bool read_payment(const h2o_iovec_t *body, struct payment *payment, bool *has_id)
{
    enum { ID, AMOUNT, REQUESTED_AT, COUNT };
    struct json_field f[COUNT] = {[ID] = {.name = "correlationId"},
                                  [AMOUNT] = {.name = "amount"},
                                  [REQUESTED_AT] = {.name = "requestedAt"}};
    *has_id = json_read_object(body->base, body->len, f, COUNT) == 0 && f[ID].kind == JSON_STRING &&
              payment_id_parse(f[ID].text, f[ID].length, &payment->id) == 0;
    if (!*has_id || f[AMOUNT].kind != JSON_NUMBER || f[REQUESTED_AT].kind != JSON_STRING ||
        amount_parse(f[AMOUNT].text, f[AMOUNT].length, &payment->amount_cents,
                     &payment->amount_decimals) != 0 ||
        instant_parse(f[REQUESTED_AT].text, f[REQUESTED_AT].length, &payment->requested_at_us) != 0)
        return false;
    memcpy(payment->requested_at_text, f[REQUESTED_AT].text, f[REQUESTED_AT].length);
    payment->requested_at_text[f[REQUESTED_AT].length] = '\0';
    return true;
}

static void refuse(struct processor *processor, struct request *request, int status,
                   const char *body)
{
    processor->stats.statuses[status]++;
    request_reply(request, &(struct reply){.status = status, .body = body, .length = strlen(body)});
}

static void accept_post(struct processor *processor, struct request *request,
                        const struct payment *payment, struct fault fault)
{
    struct visit *visit = visit_create(processor, request);
    visit->payment = *payment;
    visit->fault = fault;
    visit->delay_ms = processor->delay_ms;
    if (fault.kind == FAULT_RESET_THEN_INSERT) {
        processor->stats.broken++;
        exchange_reset(&visit->exchange);
        visit->delay_ms = fault.ms;
    }
    admit(visit);
}

void payments_post(struct processor *processor, struct request *request)
{
    struct payment payment;
    bool has_id;
    bool well_formed = read_payment(&request->h2o->entity, &payment, &has_id);
    processor->stats.posts++;
    if (has_id)
        books_note_seen(processor->books, &payment.id);
    if (!well_formed) {
        refuse(processor, request, 400, "");
        return;
    }
    if (is_full(processor)) {
        refuse(processor, request, 429, "");
        return;
    }
    struct fault fault = faults_pick(&processor->faults, &payment.id);
    if (fault.kind == FAULT_REFUSE_429 || fault.kind == FAULT_REFUSE_400) {
        refuse(processor, request, fault.kind == FAULT_REFUSE_429 ? 429 : 400, "");
    } else if (fault.kind == FAULT_RESET_BEFORE) {
        processor->stats.broken++;
        request_reset(request);
    } else {
        accept_post(processor, request, &payment, fault);
    }
}

void payments_get(struct processor *processor, struct request *request, const struct payment_id *id)
{
    processor->stats.lookups++;
    if (is_full(processor)) {
        request_reply(request, &(struct reply){.status = 429});
        return;
    }
    struct visit *visit = visit_create(processor, request);
    visit->payment.id = *id;
    visit->is_lookup = true;
    admit(visit);
}
