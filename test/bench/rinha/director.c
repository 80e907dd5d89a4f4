#include "test/bench/rinha/director.h"

#include <stdio.h>
#include <string.h>

/* The timeline of the public test, as its admin calls set it. */
static const struct stage {
    int at_s;
    struct {
        int delay_ms;
        bool failing;
    } of[PROCESSORS];
} STAGE[STAGES] = {
    {1, {{0, false}, {0, false}}},    {10, {{100, false}, {0, false}}},
    {20, {{100, true}, {0, false}}},  {30, {{2000, true}, {1000, true}}},
    {40, {{20, false}, {20, false}}}, {50, {{0, false}, {5000, false}}},
};

static const int AUDIT_EVERY_S = 10;

/* The auditor's window ends 1.5 s ago: what was sent before has been answered by then. */
static const int64_t WINDOW_FROM_US = 15 * 1000 * 1000;
static const int64_t WINDOW_TO_US = 1500 * 1000;

/* The totals are those of the test and a little more before it. */
static const double TOTALS_MARGIN_S = 10;

/* A stage's calls: the delay of the default, of the fallback, the failure of the default, of the
 * fallback; each begins when the one before is answered. */
enum { STEPS = 4 };

static int64_t when_ns(const struct director *director, int at_s)
{
    double scaled_s = at_s * director->settings->seconds / PUBLIC_SECONDS;
    return director->begin_ns + (int64_t)(scaled_s * 1e9);
}

static void admin_headers(const struct director *director, char *out, size_t size)
{
    snprintf(out, size, "X-Rinha-Token: %s\r\n", director->settings->token);
}

/* --- stages ------------------------------------------------------------------------------- */

static void begin_step(struct director *director, int64_t due_ns)
{
    unsigned processor = director->step % PROCESSORS;
    const struct stage *stage = &STAGE[director->next_stage - 1];
    char headers[160], body[64];
    admin_headers(director, headers, sizeof headers);
    bool delay = director->step < PROCESSORS;
    if (delay)
        snprintf(body, sizeof body, "{\"delay\":%d}", stage->of[processor].delay_ms);
    else
        snprintf(body, sizeof body, "{\"failure\":%s}",
                 stage->of[processor].failing ? "true" : "false");
    caller_begin(&director->processors[processor], due_ns, "PUT",
                 delay ? "/admin/configurations/delay" : "/admin/configurations/failure", headers,
                 body);
}

static void on_step_done(struct director *director, const struct caller *caller)
{
    if (!caller_succeeded(caller)) {
        director->stage_failures++;
        fprintf(stderr, "rinha: stage %u: %s refuses its admin call: status %d\n",
                director->next_stage - 1, caller->number == DEFAULT ? "default" : "fallback",
                caller->status);
    }
    director->step++;
    if (director->step < STEPS)
        begin_step(director, caller->done_ns);
}

/* --- purge -------------------------------------------------------------------------------- */

static void on_processor_done(struct caller *caller)
{
    struct director *director = caller->owner;
    tally_note(director->tally, caller, false);
    if (director->begin_ns > 0) {
        on_step_done(director, caller);
        return;
    }
    director->purged[caller->number] = caller_succeeded(caller);
    /* Whoever cannot be purged is not what we were told it is: nothing else is to be forgotten. */
    if (!caller_succeeded(caller))
        return;
    char headers[160];
    admin_headers(director, headers, sizeof headers);
    if (caller->number == DEFAULT)
        caller_begin(&director->processors[FALLBACK], caller->done_ns, "POST",
                     "/admin/purge-payments", headers, "");
    else
        caller_begin(&director->gateway, caller->done_ns, "POST", "/purge-payments", "", "");
}

static void on_gateway_done(struct caller *caller)
{
    struct director *director = caller->owner;
    tally_note(director->tally, caller, false);
    director->gateway_purge_status = caller->status;
}

void director_purge(struct director *director)
{
    char headers[160];
    admin_headers(director, headers, sizeof headers);
    caller_begin(&director->processors[DEFAULT], clock_now_ns(), "POST", "/admin/purge-payments",
                 headers, "");
}

/* --- audits and totals -------------------------------------------------------------------- */

static void begin_audit(struct director *director, int64_t due_ns)
{
    int64_t now_us = clock_wall_us();
    director->auditing = true;
    director->audit_out = director->next_audit++;
    director->audits[director->audit_out].at_s =
        (double)(clock_now_ns() - director->begin_ns) / (double)NS_PER_S;
    inquiry_begin(&director->inquiry, due_ns, now_us - WINDOW_FROM_US, now_us - WINDOW_TO_US);
}

static void end_audit(struct director *director)
{
    struct audit *audit = &director->audits[director->audit_out];
    director->auditing = false;
    audit->made = true;
    audit->answers = director->inquiry.answers;
}

void director_ask_totals(struct director *director)
{
    int64_t now_us = clock_wall_us();
    double before_s = director->settings->seconds + TOTALS_MARGIN_S;
    inquiry_begin(&director->inquiry, clock_now_ns(), now_us - (int64_t)(before_s * 1e6), now_us);
}

/* --- time --------------------------------------------------------------------------------- */

static int64_t next_stage_ns(const struct director *director)
{
    if (director->next_stage == STAGES || director->step < STEPS)
        return INT64_MAX;
    return when_ns(director, STAGE[director->next_stage].at_s);
}

static int64_t next_audit_ns(const struct director *director)
{
    if (director->next_audit == AUDITS || director->auditing)
        return INT64_MAX;
    return when_ns(director, (int)director->next_audit * AUDIT_EVERY_S);
}

void director_turn(struct director *director, int64_t now_ns)
{
    if (director->auditing && director->inquiry.outstanding == 0)
        end_audit(director);
    /* One that was held up until the end is not made any more. */
    if (now_ns >= when_ns(director, PUBLIC_SECONDS))
        director->next_audit = AUDITS;
    int64_t stage_ns = next_stage_ns(director), audit_ns = next_audit_ns(director);
    if (audit_ns <= now_ns)
        begin_audit(director, audit_ns);
    if (stage_ns <= now_ns) {
        director->next_stage++;
        director->step = 0;
        begin_step(director, stage_ns);
    }
}

int64_t director_next_ns(const struct director *director)
{
    int64_t stage_ns = next_stage_ns(director), audit_ns = next_audit_ns(director);
    return stage_ns < audit_ns ? stage_ns : audit_ns;
}

void director_look_at_time(struct director *director, int64_t now_ns)
{
    for (unsigned i = 0; i < PROCESSORS; i++)
        caller_look_at_time(&director->processors[i], now_ns);
    caller_look_at_time(&director->gateway, now_ns);
    inquiry_look_at_time(&director->inquiry, now_ns);
}

bool director_is_busy(const struct director *director)
{
    return director->processors[DEFAULT].out || director->processors[FALLBACK].out ||
           director->gateway.out || director->auditing || director->inquiry.outstanding > 0;
}

/* --- its life ----------------------------------------------------------------------------- */

void director_init(struct director *director, const struct settings *settings, struct tally *tally,
                   int epoll)
{
    memset(director, 0, sizeof *director);
    director->settings = settings;
    director->tally = tally;
    director->step = STEPS;
    for (unsigned i = 0; i < PROCESSORS; i++) {
        caller_init(&director->processors[i], epoll, &settings->processors[i], on_processor_done,
                    director);
        director->processors[i].number = i;
    }
    caller_init(&director->gateway, epoll, &settings->gateway, on_gateway_done, director);
    inquiry_init(&director->inquiry, settings, tally, epoll);
}

void director_start(struct director *director, int64_t begin_ns)
{
    director->begin_ns = begin_ns;
}

void director_free(struct director *director)
{
    for (unsigned i = 0; i < PROCESSORS; i++)
        caller_free(&director->processors[i]);
    caller_free(&director->gateway);
    inquiry_free(&director->inquiry);
}
