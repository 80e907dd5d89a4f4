#include "test/processor/admin.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/processor/json_read.h"

/* Milliseconds as the real processor's int has them. */
enum { DELAY_MAX_MS = INT32_MAX };

__attribute__((format(printf, 2, 3))) static void reply_json(struct request *request,
                                                             const char *format, ...)
{
    char body[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(body, sizeof(body), format, arguments);
    va_end(arguments);
    request_reply(request, &(struct reply){.status = 200, .body = body, .length = (size_t)length});
}

static void reply_bad(struct request *request, const char *what)
{
    request_reply(request, &(struct reply){.status = 400,
                                           .body = what,
                                           .length = strlen(what),
                                           .content_type = "text/plain"});
}

static bool read_body(struct request *request, struct json_field *fields, size_t count)
{
    const h2o_iovec_t *body = &request->h2o->entity;
    return json_read_object(body->base, body->len, fields, count) == 0;
}

/* Summary */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* -1: too long or a broken escape. */
static int percent_decode(const char *text, size_t length, char out[INSTANT_TEXT_MAX])
{
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        if (used == INSTANT_TEXT_MAX - 1)
            return -1;
        if (text[i] != '%') {
            out[used++] = text[i];
            continue;
        }
        if (length - i < 3 || hex_value(text[i + 1]) < 0 || hex_value(text[i + 2]) < 0)
            return -1;
        out[used++] = (char)(hex_value(text[i + 1]) * 16 + hex_value(text[i + 2]));
        i += 2;
    }
    out[used] = '\0';
    return (int)used;
}

enum bound { BOUND_MISSING, BOUND_GIVEN, BOUND_BROKEN };

/* The time in the query parameter of this name; an empty one counts as missing. */
static enum bound query_time(const h2o_req_t *req, const char *name, int64_t *us)
{
    if (req->query_at == SIZE_MAX)
        return BOUND_MISSING;
    const char *at = req->path.base + req->query_at + 1;
    const char *end = req->path.base + req->path.len;
    size_t name_length = strlen(name);
    while (at < end) {
        const char *next = memchr(at, '&', (size_t)(end - at));
        const char *stop = next == NULL ? end : next;
        if ((size_t)(stop - at) > name_length && memcmp(at, name, name_length) == 0 &&
            at[name_length] == '=') {
            char text[INSTANT_TEXT_MAX];
            const char *value = at + name_length + 1;
            int length = percent_decode(value, (size_t)(stop - value), text);
            if (length == 0)
                return BOUND_MISSING;
            return length > 0 && instant_parse(text, (size_t)length, us) == 0 ? BOUND_GIVEN
                                                                              : BOUND_BROKEN;
        }
        at = stop + 1;
    }
    return BOUND_MISSING;
}

void admin_get_summary(struct processor *processor, struct request *request)
{
    int64_t from_us = 0, to_us = 0;
    enum bound from = query_time(request->h2o, "from", &from_us);
    enum bound to = query_time(request->h2o, "to", &to_us);
    if (from == BOUND_BROKEN || to == BOUND_BROKEN) {
        reply_bad(request, "from and to are ISO 8601 times");
        return;
    }
    bool filter = from == BOUND_GIVEN && to == BOUND_GIVEN;
    struct books_sum sum =
        books_sum(processor->books, filter ? from_us : INT64_MIN, filter ? to_us : INT64_MAX);
    char amount[AMOUNT_TEXT_SIZE], fees[AMOUNT_TEXT_SIZE], fee[AMOUNT_TEXT_SIZE];
    amount_print_wide(sum.cents, 2, amount);
    amount_print_wide(sum.cents * processor->fee.value, 2 + processor->fee.decimals, fees);
    amount_print_wide(processor->fee.value, processor->fee.decimals, fee);
    reply_json(request,
               "{\"totalAmount\":%s,\"totalRequests\":%lld,\"totalFee\":%s,"
               "\"feePerTransaction\":%s}",
               amount, (long long)sum.count, fees, fee);
}

/* Configuration */

void admin_put_token(struct processor *processor, struct request *request)
{
    struct json_field token = {.name = "token"};
    if (!read_body(request, &token, 1) || token.kind != JSON_STRING || token.length == 0 ||
        token.length >= TOKEN_SIZE) {
        reply_bad(request, "token is a string of 1 to 127 bytes without escapes");
        return;
    }
    memcpy(processor->token, token.text, token.length);
    processor->token[token.length] = '\0';
    request_reply(request, &(struct reply){.status = 204});
}

void admin_put_delay(struct processor *processor, struct request *request)
{
    struct json_field delay = {.name = "delay"};
    int64_t is_ms, was_ms = processor->delay_ms;
    if (!read_body(request, &delay, 1) || !json_field_integer(&delay, 0, DELAY_MAX_MS, &is_ms)) {
        reply_bad(request, "delay is a whole number of milliseconds");
        return;
    }
    processor->delay_ms = is_ms;
    reply_json(request, "{\"config\":\"delay\",\"was\":%lld,\"is\":%lld}", (long long)was_ms,
               (long long)is_ms);
}

void admin_put_failure(struct processor *processor, struct request *request)
{
    struct json_field failure = {.name = "failure"};
    bool was = processor->failing;
    if (!read_body(request, &failure, 1) ||
        (failure.kind != JSON_TRUE && failure.kind != JSON_FALSE)) {
        reply_bad(request, "failure is true or false");
        return;
    }
    processor->failing = failure.kind == JSON_TRUE;
    reply_json(request, "{\"config\":\"failure\",\"was\":%s,\"is\":%s}", was ? "true" : "false",
               processor->failing ? "true" : "false");
}

void admin_purge(struct processor *processor, struct request *request)
{
    books_purge(processor->books);
    reply_json(request, "{\"message\":\"All payments purged.\"}");
}

/* Listing the books: piece by piece, because ten million lines are a gigabyte. */

enum { PIECE_SIZE = 65536, LINE_MAX_SIZE = 256 };

struct listing {
    h2o_generator_t super;
    const struct books *books;
    size_t next, end;
    uint32_t edition;
    char piece[PIECE_SIZE];
};

static size_t print_line(const struct payment *payment, char *out)
{
    char id[PAYMENT_ID_TEXT_SIZE];
    payment_id_print(&payment->id, id);
    int length = snprintf(out, LINE_MAX_SIZE, "%s\t%lld\t%lld\t%lld\t%s\n", id,
                          (long long)payment->amount_cents, (long long)payment->requested_at_us,
                          (long long)payment->inserted_at_us, payment->requested_at_text);
    return (size_t)length;
}

/* A purge in the middle ends the answer as broken, never as a short list. */
static void send_piece(h2o_generator_t *super, h2o_req_t *req)
{
    struct listing *listing = H2O_STRUCT_FROM_MEMBER(struct listing, super, super);
    h2o_iovec_t piece = {listing->piece, 0};
    if (listing->edition != books_edition(listing->books)) {
        h2o_send(req, NULL, 0, H2O_SEND_STATE_ERROR);
        return;
    }
    while (listing->next < listing->end && PIECE_SIZE - piece.len >= LINE_MAX_SIZE) {
        struct payment payment;
        books_get(listing->books, listing->next++, &payment);
        piece.len += print_line(&payment, piece.base + piece.len);
    }
    h2o_send(req, &piece, piece.len > 0,
             listing->next < listing->end ? H2O_SEND_STATE_IN_PROGRESS : H2O_SEND_STATE_FINAL);
}

void admin_get_payments(struct processor *processor, struct request *request)
{
    h2o_req_t *req = request->h2o;
    struct listing *listing = h2o_mem_alloc_pool(&req->pool, sizeof(*listing));
    listing->super = (h2o_generator_t){.proceed = send_piece};
    listing->books = processor->books;
    listing->next = 0;
    listing->end = books_count(processor->books);
    listing->edition = books_edition(processor->books);
    req->res.status = 200;
    req->res.reason = "OK";
    h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL,
                   H2O_STRLIT("text/tab-separated-values"));
    h2o_start_response(req, &listing->super);
    send_piece(&listing->super, req);
}

void admin_get_seen(struct processor *processor, struct request *request,
                    const struct payment_id *id)
{
    char body[16];
    int length = snprintf(body, sizeof(body), "%u\n", (unsigned)books_seen(processor->books, id));
    request_reply(request, &(struct reply){.status = 200,
                                           .body = body,
                                           .length = (size_t)length,
                                           .content_type = "text/plain"});
}

/* Statistics */

static void print_statuses(FILE *out, const struct stats *stats)
{
    fputs("\"statuses\":{", out);
    for (int status = 0; status < STATUS_END; status++)
        if (stats->statuses[status] > 0)
            fprintf(out, "\"%d\":%lld,", status, (long long)stats->statuses[status]);
    fprintf(out, "\"broken\":%lld}", (long long)stats->broken);
}

static void print_health(FILE *out, const struct stats *stats)
{
    int64_t first = stats->health_calls - HEALTH_TIMES_KEPT;
    fprintf(out, "\"health_calls\":%lld,\"health_answered\":%lld,\"health_refused\":%lld",
            (long long)stats->health_calls, (long long)stats->health_answered,
            (long long)stats->health_refused);
    fputs(",\"health_calls_at_us\":[", out);
    for (int64_t i = first > 0 ? first : 0; i < stats->health_calls; i++)
        fprintf(out, "%s%lld", i > 0 && i != first ? "," : "",
                (long long)stats->health_at_us[i % HEALTH_TIMES_KEPT]);
    fputs("]", out);
}

static void print_stats(FILE *out, const struct processor *processor)
{
    const struct stats *stats = &processor->stats;
    fprintf(out, "{\"name\":\"%s\",\"running\":%lld,\"queued\":%lld,\"max_running\":%lld",
            processor->name, (long long)processor->concurrency.running,
            (long long)processor->concurrency.queue.count, (long long)stats->max_running);
    fprintf(out, ",\"waiting_for_capacity\":%lld,\"payments\":%zu",
            (long long)processor->capacity.queue.count, books_count(processor->books));
    fprintf(out, ",\"posts\":%lld,\"lookups\":%lld,", (long long)stats->posts,
            (long long)stats->lookups);
    print_statuses(out, stats);
    fprintf(out, ",\"connections\":%zu,\"connections_accepted\":%llu,",
            server_open_connections(processor->server),
            (unsigned long long)server_accepted_connections(processor->server));
    print_health(out, stats);
    fputs("}\n", out);
}

/* Reply with what `print` writes. */
static void reply_printed(struct processor *processor, struct request *request,
                          void (*print)(FILE *out, const struct processor *processor))
{
    struct reply reply = {.status = 200};
    char *body = NULL;
    FILE *out = open_memstream(&body, &reply.length);
    if (out == NULL)
        abort();
    print(out, processor);
    fclose(out);
    reply.body = body;
    request_reply(request, &reply);
    free(body);
}

void admin_get_stats(struct processor *processor, struct request *request)
{
    reply_printed(processor, request, print_stats);
}

void admin_reset_stats(struct processor *processor, struct request *request)
{
    processor->stats = (struct stats){.max_running = processor->concurrency.running};
    books_forget_seen(processor->books);
    request_reply(request, &(struct reply){.status = 204});
}

/* Misbehaviour */

static void print_rule(FILE *out, const struct fault_rule *rule)
{
    char id[PAYMENT_ID_TEXT_SIZE];
    fprintf(out, "{\"kind\":\"%s\",\"count\":", fault_kind_name(rule->fault.kind));
    if (rule->forever)
        fputs("null", out);
    else
        fprintf(out, "%lld", (long long)rule->left);
    fprintf(out, ",\"percent\":%d,\"seed\":%llu,\"ms\":%lld,\"status\":%d", rule->percent,
            (unsigned long long)rule->seed, (long long)rule->fault.ms, rule->fault.status);
    if (rule->one_id) {
        payment_id_print(&rule->id, id);
        fprintf(out, ",\"correlationId\":\"%s\"", id);
    }
    fprintf(out, ",\"hits\":%lld}", (long long)rule->hit_count);
}

static void print_misbehaviour(FILE *out, const struct processor *processor)
{
    fputs("{\"rules\":[", out);
    for (size_t i = 0; i < processor->faults.count; i++) {
        if (i > 0)
            fputs(",", out);
        print_rule(out, &processor->faults.rules[i]);
    }
    fprintf(out,
            "],\"capacity\":{\"concurrent\":%lld,\"service_ms\":%lld},"
            "\"close_idle_after_ms\":%lld}\n",
            (long long)processor->capacity.concurrent_max,
            (long long)processor->capacity.service_ms, (long long)processor->close_idle_ms);
}

void admin_get_misbehave(struct processor *processor, struct request *request)
{
    reply_printed(processor, request, print_misbehaviour);
}

enum misbehave_field {
    KIND,
    PAYMENT_COUNT,
    PERCENT,
    SEED,
    MS,
    STATUS,
    CORRELATION_ID,
    CONCURRENT,
    SERVICE_MS,
    AFTER_MS,
    FIELD_COUNT
};

/* An integer that may be left out. False: it is there and wrong. */
static bool optional(const struct json_field *field, int64_t lowest, int64_t highest,
                     int64_t otherwise, int64_t *value)
{
    *value = otherwise;
    return field->kind == JSON_ABSENT || json_field_integer(field, lowest, highest, value);
}

/* NULL, or what is wrong. */
static const char *set_capacity(struct processor *processor, const struct json_field *f)
{
    int64_t concurrent, service_ms;
    if (!json_field_integer(&f[CONCURRENT], 0, 1000000, &concurrent) ||
        !optional(&f[SERVICE_MS], 0, DELAY_MAX_MS, 0, &service_ms))
        return "capacity wants concurrent (0 = no limit) and service_ms";
    processor->capacity.concurrent_max = concurrent;
    processor->capacity.service_ms = service_ms;
    payments_capacity_changed(processor);
    return NULL;
}

static const char *set_close_idle(struct processor *processor, const struct json_field *f)
{
    int64_t after_ms;
    if (!json_field_integer(&f[AFTER_MS], -1, DELAY_MAX_MS, &after_ms))
        return "close-idle wants after_ms (0 = at once, -1 = never)";
    processor->close_idle_ms = after_ms;
    server_close_idle(processor->server, after_ms);
    return NULL;
}

static const char *behave(struct processor *processor)
{
    faults_clear(&processor->faults);
    processor->capacity.concurrent_max = 0;
    processor->capacity.service_ms = 0;
    payments_capacity_changed(processor);
    processor->close_idle_ms = -1;
    server_close_idle(processor->server, -1);
    return NULL;
}

static bool read_target(const struct json_field *field, struct fault_rule *rule)
{
    rule->one_id = field->kind != JSON_ABSENT;
    return !rule->one_id || (field->kind == JSON_STRING &&
                             payment_id_parse(field->text, field->length, &rule->id) == 0);
}

static const char *add_rule(struct processor *processor, const struct json_field *f)
{
    struct fault_rule rule = {.forever = f[PAYMENT_COUNT].kind == JSON_ABSENT ||
                                         f[PAYMENT_COUNT].kind == JSON_NULL};
    int64_t percent, seed, status;
    rule.fault.kind = fault_kind_of(f[KIND].text, f[KIND].length);
    if (rule.fault.kind == FAULT_NONE)
        return "kind is unknown";
    if (!rule.forever && !json_field_integer(&f[PAYMENT_COUNT], 0, INT64_MAX, &rule.left))
        return "count is a whole number of payments, or null for ever";
    if (!optional(&f[PERCENT], 0, 100, 100, &percent))
        return "percent is 0 to 100";
    if (!optional(&f[SEED], 0, INT64_MAX, 1, &seed))
        return "seed is a whole number";
    if (!optional(&f[MS], 0, DELAY_MAX_MS, 0, &rule.fault.ms))
        return "ms is a whole number of milliseconds";
    if (!optional(&f[STATUS], 500, 599, 500, &status))
        return "status is 500 to 599";
    if (!read_target(&f[CORRELATION_ID], &rule))
        return "correlationId is a UUID";
    rule.percent = (int)percent;
    rule.seed = (uint64_t)seed;
    rule.fault.status = (int)status;
    return faults_put(&processor->faults, &rule) ? NULL : "there are too many rules";
}

void admin_put_misbehave(struct processor *processor, struct request *request)
{
    struct json_field f[FIELD_COUNT] = {
        [KIND] = {.name = "kind"},
        [PAYMENT_COUNT] = {.name = "count"},
        [PERCENT] = {.name = "percent"},
        [SEED] = {.name = "seed"},
        [MS] = {.name = "ms"},
        [STATUS] = {.name = "status"},
        [CORRELATION_ID] = {.name = "correlationId"},
        [CONCURRENT] = {.name = "concurrent"},
        [SERVICE_MS] = {.name = "service_ms"},
        [AFTER_MS] = {.name = "after_ms"},
    };
    const char *wrong;
    if (!read_body(request, f, FIELD_COUNT) || f[KIND].kind != JSON_STRING)
        wrong = "the body is an object with a kind";
    else if (json_field_is(&f[KIND], "none"))
        wrong = behave(processor);
    else if (json_field_is(&f[KIND], "capacity"))
        wrong = set_capacity(processor, f);
    else if (json_field_is(&f[KIND], "close-idle"))
        wrong = set_close_idle(processor, f);
    else
        wrong = add_rule(processor, f);
    if (wrong != NULL)
        reply_bad(request, wrong);
    else
        admin_get_misbehave(processor, request);
}
