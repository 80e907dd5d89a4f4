/* GET /payments/service-health, one call per window.
 *
 * The windows are fixed: the first begins with the first call, and they follow
 * one another whether or not anybody calls. The oldest waiting call takes the
 * next window's only answer when the window turns.
 */
#include <stdio.h>
#include <string.h>

#include "test/processor/processor.h"

static void reply_of(const struct processor *processor, char *body, size_t size,
                     struct reply *reply)
{
    int length = snprintf(body, size, "{\"failing\":%s,\"minResponseTime\":%lld}",
                          processor->failing ? "true" : "false", (long long)processor->delay_ms);
    *reply = (struct reply){.status = 200, .body = body, .length = (size_t)length};
}

static void on_turn(struct timer *timer);

static void await_turn(struct processor *processor)
{
    struct health *health = &processor->health;
    int64_t left_us = health->window_end_us - timers_now_us();
    timers_cancel(&processor->timers, &health->turn);
    timers_set(&processor->timers, &health->turn, left_us > 0 ? (left_us + 999) / 1000 : 0,
               on_turn);
}

static void answer_oldest(struct processor *processor)
{
    struct health *health = &processor->health;
    char body[96];
    struct reply reply;
    struct exchange *oldest = &health->queue[0];
    reply_of(processor, body, sizeof(body), &reply);
    exchange_reply(oldest, &reply);
    processor->stats.health_answered++;
    health->used = true;
    health->queued--;
    /* An exchange knows its request and is known to it: it moves by being reopened. */
    if (health->queued > 0) {
        struct request *next = health->queue[1].request;
        health->queue[1].request = NULL;
        if (next != NULL)
            exchange_open(oldest, next);
    }
}

/* Bring the window up to now. */
static void turn(struct processor *processor)
{
    struct health *health = &processor->health;
    int64_t now_us = timers_now_us();
    int64_t window_us = health->window_ms * 1000;
    if (health->window_end_us == 0)
        health->window_end_us = now_us + window_us;
    if (now_us < health->window_end_us)
        return;
    int64_t missed = (now_us - health->window_end_us) / window_us;
    health->window_end_us += (missed + 1) * window_us;
    health->used = false;
    if (health->queued > 0)
        answer_oldest(processor);
    if (health->queued > 0)
        await_turn(processor);
}

static void on_turn(struct timer *timer)
{
    struct health *health = H2O_STRUCT_FROM_MEMBER(struct health, turn, timer);
    turn(H2O_STRUCT_FROM_MEMBER(struct processor, health, health));
}

static void refuse(struct processor *processor, struct request *request)
{
    static const char body[] = "Too many calls. Try again later.";
    processor->stats.health_refused++;
    request_reply(
        request, &(struct reply){.status = 429,
                                 .body = body,
                                 .length = strlen(body),
                                 .content_type = "text/plain",
                                 .retry_after_s = (int)(processor->health.window_ms + 999) / 1000});
}

void health_get(struct processor *processor, struct request *request)
{
    struct health *health = &processor->health;
    struct stats *stats = &processor->stats;
    stats->health_at_us[stats->health_calls++ % HEALTH_TIMES_KEPT] = instant_now_us();
    turn(processor);
    if (!health->used) {
        char body[96];
        struct reply reply;
        health->used = true;
        stats->health_answered++;
        reply_of(processor, body, sizeof(body), &reply);
        request_reply(request, &reply);
    } else if (health->queued < HEALTH_QUEUE_MAX) {
        exchange_open(&health->queue[health->queued++], request);
        await_turn(processor);
    } else {
        refuse(processor, request);
    }
}
