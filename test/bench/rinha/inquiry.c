#include "test/bench/rinha/inquiry.h"

#include <json-c/json.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

/* A sum of payments is far below 2^53 cents, so rounding a double gives back exactly what was
 * printed with two decimals. */
static bool read_book(struct json_object *object, struct book *book)
{
    struct json_object *requests, *amount, *fee;
    if (!json_object_object_get_ex(object, "totalRequests", &requests) ||
        !json_object_object_get_ex(object, "totalAmount", &amount))
        return false;
    book->requests = json_object_get_int64(requests);
    book->cents = llround(json_object_get_double(amount) * 100.0);
    if (json_object_object_get_ex(object, "feePerTransaction", &fee))
        book->fee = json_object_get_double(fee);
    return true;
}

static bool read_gateway(struct json_object *object, struct book books[PROCESSORS])
{
    struct json_object *parts[PROCESSORS];
    return json_object_object_get_ex(object, "default", &parts[DEFAULT]) &&
           json_object_object_get_ex(object, "fallback", &parts[FALLBACK]) &&
           read_book(parts[DEFAULT], &books[DEFAULT]) &&
           read_book(parts[FALLBACK], &books[FALLBACK]);
}

static bool read_answer(const struct caller *caller, struct answers *answers)
{
    char body[4096];
    if (!caller_succeeded(caller))
        return false;
    connection_body(&caller->connection, body, sizeof body);
    struct json_object *object = json_tokener_parse(body);
    bool read = caller->number < PROCESSORS
                    ? read_book(object, &answers->processors[caller->number])
                    : read_gateway(object, answers->gateway);
    json_object_put(object);
    return read;
}

static void on_done(struct caller *caller)
{
    struct inquiry *inquiry = caller->owner;
    struct answers *answers = &inquiry->answers;
    tally_note(inquiry->tally, caller, false);
    inquiry->outstanding--;
    if (read_answer(caller, answers))
        return;
    if (caller->number < PROCESSORS) {
        answers->processor_failed[caller->number] = true;
        answers->processors[caller->number] = (struct book){0};
    } else {
        answers->gateway_failed = true;
        answers->gateway[DEFAULT] = answers->gateway[FALLBACK] = (struct book){0};
    }
}

void inquiry_init(struct inquiry *inquiry, const struct settings *settings, struct tally *tally,
                  int epoll)
{
    *inquiry = (struct inquiry){.settings = settings, .tally = tally};
    for (unsigned i = 0; i <= PROCESSORS; i++) {
        const struct target *target =
            i < PROCESSORS ? &settings->processors[i] : &settings->gateway;
        caller_init(&inquiry->callers[i], epoll, target, on_done, inquiry);
        inquiry->callers[i].number = i;
    }
}

void inquiry_begin(struct inquiry *inquiry, int64_t due_ns, int64_t from_us, int64_t to_us)
{
    char from[CLOCK_TEXT_SIZE], to[CLOCK_TEXT_SIZE], path[160], token[160];
    clock_print_ms(from_us, from);
    clock_print_ms(to_us, to);
    snprintf(token, sizeof token, "X-Rinha-Token: %s\r\n", inquiry->settings->token);
    inquiry->answers = (struct answers){0};
    inquiry->outstanding = PROCESSORS + 1;
    snprintf(path, sizeof path, "/admin/payments-summary?from=%s&to=%s", from, to);
    for (unsigned i = 0; i < PROCESSORS; i++)
        caller_begin(&inquiry->callers[i], due_ns, "GET", path, token, NULL);
    snprintf(path, sizeof path, "/payments-summary?from=%s&to=%s", from, to);
    caller_begin(&inquiry->callers[PROCESSORS], due_ns, "GET", path, "", NULL);
}

void inquiry_look_at_time(struct inquiry *inquiry, int64_t now_ns)
{
    for (unsigned i = 0; i <= PROCESSORS; i++)
        caller_look_at_time(&inquiry->callers[i], now_ns);
}

static int64_t difference(const struct answers *answers, unsigned processor)
{
    return answers->gateway[processor].requests - answers->processors[processor].requests;
}

int64_t inquiry_inconsistency(const struct answers *answers)
{
    return llabs(difference(answers, DEFAULT) + difference(answers, FALLBACK));
}

int64_t inquiry_inconsistency_each(const struct answers *answers)
{
    return llabs(difference(answers, DEFAULT)) + llabs(difference(answers, FALLBACK));
}

void inquiry_free(struct inquiry *inquiry)
{
    for (unsigned i = 0; i <= PROCESSORS; i++)
        caller_free(&inquiry->callers[i]);
}
