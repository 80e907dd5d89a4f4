#include "test/sim/processors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "common/clock.h"
#include "test/sim/kernel.h"
#include "test/sim/random.h"

#define SLEEP_US_MAX         60000000
#define NETWORK_US(from, to) sim_between(from, to)

enum fault {
    FAULT_NONE,
    FAULT_BODY_500,  /* executed or not: nobody knows */
    FAULT_RESET,     /* the connection ends before an answer; the request sleeps, or is gone */
    FAULT_MALFORMED, /* executed, and an answer that proves nothing */
    FAULT_LATE,      /* executed, and the answer comes when nobody waits for it any more */
    FAULT_RESENT,    /* executed; libcurl was about to send it again: as upstream.c reports it */
};

struct request {
    bool used;
    bool running; /* takes one of running_max */
    bool decided; /* its completion is in the list of its owner, or was */
    bool ended;   /* will not act any more */
    enum upstream_kind kind;
    enum fault fault;
    int processor;
    uint32_t use;           /* a stale event is told by it */
    struct upstream *owner; /* NULL: has its answer, or is dead */
    uint64_t ticket;
    struct sim_payment *payment;
    int64_t amount_cents, requested_at_us;
    int64_t sent_us;
    struct upstream_completion completion;
    struct request *next; /* in its owner's list of completions, or free */
};

struct upstream {
    struct sim_process *process;
    struct upstream_settings settings;
    int in_flight[UPSTREAM_PROCESSORS];
    int used[UPSTREAM_PROCESSORS][UPSTREAM_KINDS];
    struct request *first, *last; /* completions to be delivered */
    bool fresh;                   /* something was started since the last perform */
    struct upstream *next;        /* all that live */
};

struct sim_weather sim_weather[SHM_PROCESSORS];
struct sim_processor_tally sim_processor_tally;
struct sim_payment sim_payments[SIM_PAYMENTS_MAX];
uint32_t sim_payment_count;

static const char *const names[SHM_PROCESSORS] = {"default", "fallback"};
static struct request **requests; /* never moved: events point at them */
static uint32_t request_count, request_capacity;
static struct request *free_requests;
static unsigned alive, running[SHM_PROCESSORS];
static struct upstream *upstreams;
static int64_t health_interval_us, health_slack_us, health_called_us[SHM_PROCESSORS];
static int64_t server_free_us[SHM_PROCESSORS];

/* -------------------------------------------------------------------- payments */

struct sim_payment *sim_payment_new(int64_t amount_cents, int64_t other_amount_cents)
{
    CHECK(sim_payment_count < SIM_PAYMENTS_MAX);
    struct sim_payment *payment = &sim_payments[sim_payment_count];
    *payment = (struct sim_payment){
        .id = {.hi = sim_random(), .lo = sim_random() << 16 | sim_payment_count},
        .amount_cents = {amount_cents, other_amount_cents},
    };
    sim_payment_count++;
    return payment;
}

struct sim_payment *sim_payment_of(const struct uuid *id)
{
    struct sim_payment *payment = &sim_payments[id->lo & (SIM_PAYMENTS_MAX - 1)];
    if ((id->lo & 0xffff) >= sim_payment_count || !uuid_equal(&payment->id, id))
        sim_fail("an id that nobody ever sent: %016" PRIx64 "%016" PRIx64, id->hi, id->lo);
    return payment;
}

void sim_insert_foreign(struct sim_payment *payment, unsigned processor, int64_t amount_cents,
                        int64_t requested_at_us, bool exact)
{
    struct sim_insert *insert = &payment->book[processor];
    if (insert->there)
        return;
    *insert = (struct sim_insert){true, true, exact, amount_cents, requested_at_us};
    sim_say("%s: somebody else inserts #%u, %" PRId64 " cents, %" PRId64 " us", names[processor],
            sim_number(payment), amount_cents, requested_at_us);
}

/* -------------------------------------------------------------------- requests */

void sim_processors_begin(int64_t interval_us, int64_t slack_us)
{
    sim_payment_count = 0;
    free_requests = NULL;
    for (uint32_t i = 0; i < request_count; i++) {
        requests[i]->next = free_requests;
        requests[i]->used = false;
        free_requests = requests[i];
    }
    alive = 0;
    upstreams = NULL;
    health_interval_us = interval_us;
    health_slack_us = slack_us;
    memset(running, 0, sizeof running);
    memset(health_called_us, 0, sizeof health_called_us);
    memset(server_free_us, 0, sizeof server_free_us);
}

static struct request *new_request(void)
{
    if (!free_requests) {
        if (request_count == request_capacity) {
            request_capacity = request_capacity ? 2 * request_capacity : 256;
            requests = sim_own_realloc(requests, request_capacity * sizeof(struct request *));
        }
        struct request *request = sim_own_realloc(NULL, sizeof *request);
        request->use = 0;
        request->next = NULL;
        requests[request_count++] = free_requests = request;
    }
    struct request *request = free_requests;
    free_requests = request->next;
    *request = (struct request){.used = true, .use = request->use + 1};
    alive++;
    return request;
}

static void free_if_over(struct request *request)
{
    if (request->owner || !request->ended)
        return;
    request->used = false;
    request->next = free_requests;
    free_requests = request;
    alive--;
}

unsigned sim_requests_alive(void)
{
    return alive;
}

static void end_request(struct request *request)
{
    request->ended = true;
    if (request->running)
        running[request->processor]--;
    request->running = false;
    free_if_over(request);
}

/* --------------------------------------------------------------------- answers */

static const char *const outcome_words[] = {
    [UPSTREAM_ACCEPTED] = "200",       [UPSTREAM_EXISTS] = "422",
    [UPSTREAM_UNREACHED] = "refused",  [UPSTREAM_BUSY] = "429",
    [UPSTREAM_FAILING] = "500, empty", [UPSTREAM_BAD_REQUEST] = "400",
    [UPSTREAM_FOUND] = "200, found",   [UPSTREAM_ABSENT] = "404",
    [UPSTREAM_REPORT] = "200, health", [UPSTREAM_UNKNOWN] = "no answer that proves anything",
};

static bool is_stale(const struct request *request, uint64_t value)
{
    return !request->used || request->use != (uint32_t)(value >> 8);
}

/* The first answer counts; what comes after a time-out reaches nobody. */
static void on_answer(void *context, uint64_t value)
{
    struct request *request = context;
    struct upstream *owner = request->owner;
    if (is_stale(request, value) || !owner || request->decided)
        return;
    request->decided = true;
    request->completion.outcome = (enum upstream_outcome)(value & 0xff);
    request->next = NULL;
    if (owner->last)
        owner->last->next = request;
    else
        owner->first = request;
    owner->last = request;
    sim_wake(owner);
}

/* After its way through the network; at the time-out at the latest, and then it proves nothing. */
static void answer(struct request *request, enum upstream_outcome outcome, int64_t at_us)
{
    if (!request->owner || request->decided)
        return;
    const struct upstream_settings *settings = &request->owner->settings;
    int64_t timeouts_ms[] = {settings->post_timeout_ms, settings->lookup_timeout_ms,
                             settings->health_timeout_ms};
    int64_t deadline_us = request->sent_us + timeouts_ms[request->kind] * 1000;
    if (at_us > deadline_us) {
        at_us = deadline_us;
        outcome = UPSTREAM_UNKNOWN;
    }
    sim_at(at_us, on_answer, request, (uint64_t)request->use << 8 | outcome);
}

/* ------------------------------------------------------------------ a POST acts */

static enum upstream_outcome execute(struct request *request)
{
    struct sim_payment *payment = request->payment;
    struct sim_insert *insert = &payment->book[request->processor];
    if (insert->there) {
        sim_processor_tally.exists++;
        sim_say("%s: #%u stands in the book already", names[request->processor],
                sim_number(payment));
        return UPSTREAM_EXISTS;
    }
    *insert =
        (struct sim_insert){true, false, true, request->amount_cents, request->requested_at_us};
    sim_processor_tally.inserts++;
    sim_digest_add(payment->id.lo ^ (uint64_t)request->requested_at_us);
    sim_say("%s: inserts #%u, %" PRId64 " cents, %" PRId64 " us", names[request->processor],
            sim_number(payment), request->amount_cents, request->requested_at_us);
    return UPSTREAM_ACCEPTED;
}

static void on_act(void *context, uint64_t value)
{
    struct request *request = context;
    if (is_stale(request, value))
        return;
    const struct sim_weather *weather = &sim_weather[request->processor];
    int64_t back_us = sim_now_us + NETWORK_US(20, 400);
    enum fault fault = request->fault;
    if (fault == FAULT_BODY_500) {
        if (sim_chance(512))
            execute(request);
        answer(request, UPSTREAM_UNKNOWN, back_us);
    } else if (fault == FAULT_NONE && weather->failing) {
        answer(request, UPSTREAM_FAILING, back_us);
    } else if (fault == FAULT_RESET) {
        if (!weather->failing)
            execute(request); /* the answer went at the reset */
    } else {
        enum upstream_outcome outcome = execute(request);
        if (fault == FAULT_MALFORMED || fault == FAULT_RESENT)
            outcome = UPSTREAM_UNKNOWN;
        if (fault == FAULT_RESENT && sim_chance(512))
            execute(request);
        if (fault == FAULT_LATE)
            back_us += sim_spread(1000, 2 * SLEEP_US_MAX);
        answer(request, outcome, back_us);
    }
    end_request(request);
}

/* --------------------------------------------------------------- a POST arrives */

static enum fault draw_fault(const struct sim_weather *w)
{
    uint32_t draw = sim_below(1024);
    const unsigned chances[] = {w->body_500, w->reset, w->malformed, w->late, w->resent};
    for (unsigned i = 0; i < sizeof chances / sizeof *chances; i++) {
        if (draw < chances[i])
            return (enum fault)(FAULT_BODY_500 + i);
        draw -= chances[i];
    }
    return FAULT_NONE;
}

static void turn_away(struct request *request, enum upstream_outcome outcome)
{
    if (outcome == UPSTREAM_BAD_REQUEST)
        request->payment->bad_requests++;
    sim_processor_tally.refused++;
    answer(request, outcome, sim_now_us + NETWORK_US(20, 400));
    end_request(request);
}

/* The reset comes before the request acts; it may sleep for long, or never have arrived. */
static void reset(struct request *request, int64_t act_us)
{
    answer(request, UPSTREAM_UNKNOWN, sim_between(sim_now_us, act_us));
    if (sim_chance(256)) {
        end_request(request);
        return;
    }
    if (sim_chance(512)) {
        act_us += sim_spread(1000, SLEEP_US_MAX);
        sim_processor_tally.slept++;
    }
    sim_at(act_us, on_act, request, (uint64_t)request->use << 8);
}

static int64_t act_time(const struct request *request)
{
    const struct sim_weather *weather = &sim_weather[request->processor];
    int64_t act_us = sim_now_us + weather->delay_us;
    if (weather->service_us == 0)
        return act_us + NETWORK_US(50, 1500);
    int64_t *free_us = &server_free_us[request->processor];
    if (*free_us < act_us)
        *free_us = act_us;
    return *free_us += weather->service_us;
}

static void on_post(void *context, uint64_t value)
{
    struct request *request = context;
    if (is_stale(request, value))
        return;
    const struct sim_weather *weather = &sim_weather[request->processor];
    if (running[request->processor] >= (unsigned)weather->running_max ||
        sim_chance(weather->busy)) {
        turn_away(request, UPSTREAM_BUSY);
        return;
    }
    if (sim_chance(weather->bad_request)) {
        turn_away(request, UPSTREAM_BAD_REQUEST);
        return;
    }
    request->running = true;
    running[request->processor]++;
    request->fault = draw_fault(weather);
    int64_t act_us = act_time(request);
    if (request->fault == FAULT_RESET) {
        reset(request, act_us);
        return;
    }
    if (request->owner &&
        act_us + 400 > request->sent_us + request->owner->settings.post_timeout_ms * 1000)
        answer(request, UPSTREAM_UNKNOWN,
               request->sent_us + request->owner->settings.post_timeout_ms * 1000);
    sim_at(act_us, on_act, request, (uint64_t)request->use << 8);
}

/* ----------------------------------------------------------- look-ups and health */

static void on_lookup(void *context, uint64_t value)
{
    struct request *request = context;
    if (is_stale(request, value))
        return;
    const struct sim_weather *weather = &sim_weather[request->processor];
    const struct sim_insert *insert = &request->payment->book[request->processor];
    int64_t back_us = sim_now_us + NETWORK_US(20, 600);
    enum upstream_outcome outcome = insert->there ? UPSTREAM_FOUND : UPSTREAM_ABSENT;
    request->completion.stored_amount_cents = insert->amount_cents;
    request->completion.stored_requested_at_us = insert->requested_at_us;
    request->completion.stored_requested_at_is_exact = insert->exact;
    if (sim_chance(weather->lookup_lost)) {
        outcome = UPSTREAM_UNKNOWN;
        back_us += sim_spread(1000, SLEEP_US_MAX); /* at the time-out at the latest */
    } else if (sim_chance(weather->lookup_busy)) {
        outcome = UPSTREAM_BUSY;
    } else if (sim_chance(weather->lookup_slow)) {
        back_us += sim_spread(1000, 4000000);
    }
    answer(request, outcome, back_us);
    end_request(request);
}

/* One caller for the whole cluster: whoever calls too often has broken the contract. */
static void on_health(void *context, uint64_t value)
{
    struct request *request = context;
    if (is_stale(request, value))
        return;
    const struct sim_weather *weather = &sim_weather[request->processor];
    int64_t *called_us = &health_called_us[request->processor];
    sim_processor_tally.health_calls++;
    if (*called_us != 0 && sim_now_us - *called_us < health_interval_us - health_slack_us)
        sim_fail("%s: service-health was called after %" PRId64 " ms, not %" PRId64,
                 names[request->processor], (sim_now_us - *called_us) / 1000,
                 health_interval_us / 1000);
    *called_us = sim_now_us;
    request->completion.report_failing = weather->failing;
    request->completion.report_min_response_ms = weather->delay_us / 1000;
    answer(request, sim_chance(weather->lookup_lost) ? UPSTREAM_UNKNOWN : UPSTREAM_REPORT,
           sim_now_us + NETWORK_US(20, 600));
    end_request(request);
}

/* ------------------------------------------------------------- worker/upstream.h */

struct upstream *upstream_create(const struct upstream_settings *settings, struct explain *why)
{
    (void)why;
    struct upstream *upstream = calloc(1, sizeof *upstream);
    upstream->process = sim_process_current();
    upstream->settings = *settings;
    upstream->next = upstreams;
    upstreams = upstream;
    return upstream;
}

static void cut(struct upstream *upstream)
{
    for (uint32_t i = 0; i < request_count; i++) {
        struct request *request = requests[i];
        if (!request->used || request->owner != upstream)
            continue;
        request->owner = NULL;
        sim_processor_tally.orphaned++;
        free_if_over(request);
    }
    struct upstream **link = &upstreams;
    while (*link != upstream)
        link = &(*link)->next;
    *link = upstream->next;
}

void upstream_destroy(struct upstream *upstream)
{
    if (!upstream)
        return;
    cut(upstream);
    free(upstream);
}

void sim_requests_orphan(const void *process)
{
    for (struct upstream *upstream = upstreams, *next; upstream; upstream = next) {
        next = upstream->next;
        if (upstream->process == process)
            cut(upstream);
    }
}

static struct request *start(struct upstream *upstream, enum upstream_kind kind, int processor,
                             uint64_t ticket)
{
    int most = kind == UPSTREAM_HEALTH ? 1 : upstream->settings.transfers_max;
    if (upstream->used[processor][kind] >= most)
        return NULL;
    struct request *request = new_request();
    request->kind = kind;
    request->processor = processor;
    request->owner = upstream;
    request->ticket = ticket;
    request->sent_us = sim_now_us;
    request->completion =
        (struct upstream_completion){.kind = kind, .processor = processor, .ticket = ticket};
    upstream->used[processor][kind]++;
    upstream->in_flight[processor]++;
    upstream->fresh = true;
    return request;
}

/* Refused before a byte has left, or on its way. */
static void send(struct request *request, sim_action *arrive)
{
    if (sim_chance(sim_weather[request->processor].refused)) {
        answer(request, UPSTREAM_UNREACHED, sim_now_us + NETWORK_US(20, 3000));
        end_request(request);
        return;
    }
    sim_at(sim_now_us + NETWORK_US(20, 500), arrive, request, (uint64_t)request->use << 8);
}

bool upstream_try_post(struct upstream *upstream, int processor, uint64_t ticket,
                       const struct uuid *id, int64_t amount_cents, int64_t requested_at_ms)
{
    struct request *request = start(upstream, UPSTREAM_POST, processor, ticket);
    if (!request)
        return false;
    request->payment = sim_payment_of(id);
    request->amount_cents = amount_cents;
    request->requested_at_us = requested_at_ms * 1000;
    sim_processor_tally.requests++;
    sim_say("POST #%u to %s, %" PRId64 " cents, %" PRId64 " ms", sim_number(request->payment),
            names[processor], amount_cents, requested_at_ms);
    send(request, on_post);
    return true;
}

bool upstream_try_lookup(struct upstream *upstream, int processor, uint64_t ticket,
                         const struct uuid *id)
{
    struct request *request = start(upstream, UPSTREAM_LOOKUP, processor, ticket);
    if (!request)
        return false;
    request->payment = sim_payment_of(id);
    sim_processor_tally.lookups++;
    sim_say("GET #%u at %s", sim_number(request->payment), names[processor]);
    send(request, on_lookup);
    return true;
}

bool upstream_try_health(struct upstream *upstream, int processor, uint64_t ticket)
{
    struct request *request = start(upstream, UPSTREAM_HEALTH, processor, ticket);
    if (!request)
        return false;
    send(request, on_health);
    return true;
}

static struct request *take_completion(struct upstream *upstream)
{
    struct request *request = upstream->first;
    if (!request)
        return NULL;
    upstream->first = request->next;
    if (!upstream->first)
        upstream->last = NULL;
    upstream->in_flight[request->processor]--;
    upstream->used[request->processor][request->kind]--;
    return request;
}

void upstream_perform(struct upstream *upstream, upstream_on_completion *on_completion,
                      void *context)
{
    struct request *request;
    sim_spend(sim_between(2, 30));
    upstream->fresh = false;
    while ((request = take_completion(upstream)) != NULL) {
        struct upstream_completion completion = request->completion;
        completion.latency_us = sim_now_us - request->sent_us;
        if (completion.kind != UPSTREAM_HEALTH)
            sim_say("answer for #%u from %s: %s", sim_number(request->payment),
                    names[request->processor], outcome_words[completion.outcome]);
        sim_processor_tally.unknown += completion.outcome == UPSTREAM_UNKNOWN;
        request->owner = NULL;
        free_if_over(request);
        on_completion(context, &completion);
        sim_spend(1);
    }
}

void upstream_wait(struct upstream *upstream, int fifo_fd, int64_t timeout_ms)
{
    const void *fifo = NULL;
    if (upstream->first || upstream->fresh)
        return;
    if (fifo_fd >= 0 && sim_fd_is_readable(fifo_fd, &fifo))
        return;
    sim_wait_on(upstream, fifo, sim_now_us + (timeout_ms > 0 ? timeout_ms * 1000 : 1));
}

int upstream_in_flight(const struct upstream *upstream, int processor)
{
    return upstream->in_flight[processor];
}
