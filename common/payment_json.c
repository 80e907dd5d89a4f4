#include "common/payment_json.h"

#include <inttypes.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/iso8601.h"
#include "common/json_grammar.h"
#include "common/money.h"

struct payment_json {
    struct json_tokener *tokener;
};

struct payment_json *payment_json_create(void)
{
    struct payment_json *reader = malloc(sizeof *reader);

    if (reader == NULL)
        return NULL;
    /* json-c counts one level more than there are; the limit that speaks is the grammar's. */
    reader->tokener = json_tokener_new_ex(PAYMENT_JSON_DEPTH_MAX + 1);
    if (reader->tokener == NULL) {
        free(reader);
        return NULL;
    }
    return reader;
}

void payment_json_destroy(struct payment_json *reader)
{
    if (reader == NULL)
        return;
    json_tokener_free(reader->tokener);
    free(reader);
}

/* --------------------------------------------------------------------- reading */

static enum status refuse(struct payment_json_fault *fault, const char *field, const char *reason)
{
    if (fault != NULL)
        *fault = (struct payment_json_fault){.field = field, .reason = reason};
    return STATUS_INVALID;
}

/* STATUS_OK: the caller puts *object back. */
static enum status parse_object(struct payment_json *reader, const char *text, size_t length,
                                struct json_object **object, struct payment_json_fault *fault)
{
    size_t members;

    if (length > INT_MAX)
        return refuse(fault, "body", "is too long");
    const char *reason = json_grammar_check_object(text, length, PAYMENT_JSON_DEPTH_MAX, &members);
    if (reason != NULL)
        return refuse(fault, "body", reason);

    json_tokener_reset(reader->tokener);
    *object = json_tokener_parse_ex(reader->tokener, text, (int)length);
    if (*object == NULL) /* whatever follows the grammar is read: only memory can be missing */
        return STATUS_SYSTEM;
    /* json-c keeps the last of several members of one decoded name: then it has fewer. */
    if ((size_t)json_object_object_length(*object) != members) {
        json_object_put(*object);
        return refuse(fault, "body", "has two members of the same name");
    }
    return STATUS_OK;
}

/* STATUS_OK: it is there and no other type, so *value is not NULL. */
static enum status find_member(struct json_object *object, const char *name, enum json_type type,
                               const char *type_reason, struct json_object **value,
                               struct payment_json_fault *fault)
{
    if (!json_object_object_get_ex(object, name, value))
        return refuse(fault, name, "is missing");
    if (!json_object_is_type(*value, type))
        return refuse(fault, name, type_reason);
    return STATUS_OK;
}

static enum status read_id(struct json_object *object, struct uuid *id,
                           struct payment_json_fault *fault)
{
    struct json_object *value;
    enum status status =
        find_member(object, "correlationId", json_type_string, "must be a string", &value, fault);

    if (status != STATUS_OK)
        return status;
    if (!uuid_parse(json_object_get_string(value), (size_t)json_object_get_string_len(value), id))
        return refuse(fault, "correlationId", "must be a UUID of 36 characters");
    return STATUS_OK;
}

/* From the text that json-c keeps of a number with a point or an exponent, never from its double.
 * Whole numbers beyond 64 bits it holds at their limits: as much too large, or as negative. */
static enum status read_number(struct json_object *object, enum money_result *result,
                               int64_t *cents, struct payment_json_fault *fault)
{
    struct json_object *value;
    size_t length;

    if (!json_object_object_get_ex(object, "amount", &value))
        return refuse(fault, "amount", "is missing");
    if (!json_object_is_type(value, json_type_double) && !json_object_is_type(value, json_type_int))
        return refuse(fault, "amount", "must be a number");
    const char *text = json_object_to_json_string_length(value, JSON_C_TO_STRING_PLAIN, &length);
    if (text == NULL)
        return STATUS_SYSTEM;
    *result = money_parse_cents(text, length, cents);
    return STATUS_OK;
}

static enum status read_payable(struct json_object *object, int64_t *cents,
                                struct payment_json_fault *fault)
{
    enum money_result result;
    enum status status = read_number(object, &result, cents, fault);

    if (status != STATUS_OK)
        return status;
    switch (result) {
    case MONEY_OK:
        break;
    case MONEY_NOT_A_NUMBER:
        return refuse(fault, "amount", "must be a number");
    case MONEY_NOT_POSITIVE:
        return refuse(fault, "amount", "must be at least 0.01 when rounded to two decimals");
    case MONEY_TOO_LARGE:
        return refuse(fault, "amount", "must be at most 100000000000.00");
    }
    return STATUS_OK;
}

/* ------------------------------------------------------------ the usual spelling
 *
 * Nearly every text is spelled in the plainest way: known members alone, each once, strings without
 * escapes. Those are read here, in a tenth of the time that a tree of objects takes. Nothing is
 * refused here: whatever is spelled otherwise, or is wrong, is left to the grammar and json-c, and
 * test_payment_json.c shows that a text means the same to both. */

struct plain {
    const char *next, *end;
};

static bool take(struct plain *plain, char c)
{
    if (plain->next == plain->end || *plain->next != c)
        return false;
    plain->next++;
    return true;
}

static void skip_space(struct plain *plain)
{
    while (plain->next < plain->end && (*plain->next == ' ' || *plain->next == '\t' ||
                                        *plain->next == '\n' || *plain->next == '\r'))
        plain->next++;
}

/* This very character, with white space on both sides at most. */
static bool take_mark(struct plain *plain, char mark)
{
    skip_space(plain);
    if (!take(plain, mark))
        return false;
    skip_space(plain);
    return true;
}

/* These very characters. */
static bool take_word(struct plain *plain, const char *word, size_t length)
{
    if ((size_t)(plain->end - plain->next) < length || memcmp(plain->next, word, length) != 0)
        return false;
    plain->next += length;
    return true;
}

static bool take_id(struct plain *plain, struct uuid *id)
{
    if (plain->end - plain->next < UUID_TEXT_LENGTH + 2 || plain->next[0] != '"' ||
        plain->next[1 + UUID_TEXT_LENGTH] != '"' ||
        !uuid_parse(plain->next + 1, UUID_TEXT_LENGTH, id))
        return false;
    plain->next += UUID_TEXT_LENGTH + 2;
    return true;
}

/* money.c knows the same numbers as JSON does, and no others. */
static bool take_amount(struct plain *plain, int64_t *cents)
{
    const char *text = plain->next;

    while (plain->next < plain->end && *plain->next != ',' && *plain->next != '}' &&
           *plain->next > ' ')
        plain->next++;
    return money_parse_cents(text, (size_t)(plain->next - text), cents) == MONEY_OK;
}

/* One member; `seen` gets the bit of what it is. */
static bool take_request_member(struct plain *plain, struct payment_request *request,
                                unsigned *seen)
{
    static const char id[] = "\"correlationId\"", amount[] = "\"amount\"";

    if ((*seen & 1) == 0 && take_word(plain, id, sizeof id - 1)) {
        *seen |= 1;
        return take_mark(plain, ':') && take_id(plain, &request->id);
    }
    if ((*seen & 2) == 0 && take_word(plain, amount, sizeof amount - 1)) {
        *seen |= 2;
        return take_mark(plain, ':') && take_amount(plain, &request->amount_cents);
    }
    return false;
}

static bool take_end(struct plain *plain)
{
    return take_mark(plain, '}') && plain->next == plain->end;
}

static bool read_plain_request(const char *text, size_t length, struct payment_request *request)
{
    struct plain plain = {text, text + length};
    unsigned seen = 0;

    return take_mark(&plain, '{') && take_request_member(&plain, request, &seen) &&
           take_mark(&plain, ',') && take_request_member(&plain, request, &seen) &&
           take_end(&plain);
}

/* -------------------------------------------------------------- every spelling */

enum status payment_json_parse_request(struct payment_json *reader, const char *text, size_t length,
                                       struct payment_request *request,
                                       struct payment_json_fault *fault)
{
    struct payment_request found;
    struct json_object *object;

    if (read_plain_request(text, length, &found)) {
        *request = found;
        return STATUS_OK;
    }
    enum status status = parse_object(reader, text, length, &object, fault);

    if (status != STATUS_OK)
        return status;
    status = read_id(object, &found.id, fault);
    if (status == STATUS_OK)
        status = read_payable(object, &found.amount_cents, fault);
    if (status == STATUS_OK)
        *request = found;
    json_object_put(object);
    return status;
}

static enum status read_requested_at(struct json_object *object, struct payment_stored *stored,
                                     struct payment_json_fault *fault)
{
    struct json_object *value;
    struct iso8601_time time;
    enum status status =
        find_member(object, "requestedAt", json_type_string, "must be a string", &value, fault);

    if (status != STATUS_OK)
        return status;
    if (iso8601_parse(json_object_get_string(value), (size_t)json_object_get_string_len(value),
                      ISO8601_ZONE_OR_UTC, &time, NULL) != STATUS_OK)
        return refuse(fault, "requestedAt", "must be a time");
    stored->requested_at_us = time.us;
    stored->requested_at_is_exact = time.below == 0;
    return STATUS_OK;
}

enum status payment_json_parse_stored(struct payment_json *reader, const char *text, size_t length,
                                      struct payment_stored *stored,
                                      struct payment_json_fault *fault)
{
    struct payment_stored found;
    enum money_result result;
    struct json_object *object;
    enum status status = parse_object(reader, text, length, &object, fault);

    if (status != STATUS_OK)
        return status;
    status = read_id(object, &found.id, fault);
    if (status == STATUS_OK)
        status = read_number(object, &result, &found.amount_cents, fault);
    if (status == STATUS_OK)
        status = read_requested_at(object, &found, fault);
    if (status == STATUS_OK) {
        if (result != MONEY_OK)
            found.amount_cents = 0;
        *stored = found;
    }
    json_object_put(object);
    return status;
}

static enum status read_health(struct json_object *object, struct payment_health *health,
                               struct payment_json_fault *fault)
{
    struct json_object *failing, *min_response;
    enum status status;

    if ((status = find_member(object, "failing", json_type_boolean, "must be true or false",
                              &failing, fault)) != STATUS_OK ||
        (status = find_member(object, "minResponseTime", json_type_int, "must be a whole number",
                              &min_response, fault)) != STATUS_OK)
        return status;
    health->failing = json_object_get_boolean(failing);
    health->min_response_ms = json_object_get_int64(min_response);
    if (health->min_response_ms < 0)
        return refuse(fault, "minResponseTime", "must not be negative");
    return STATUS_OK;
}

enum status payment_json_parse_health(struct payment_json *reader, const char *text, size_t length,
                                      struct payment_health *health,
                                      struct payment_json_fault *fault)
{
    struct payment_health found;
    struct json_object *object;
    enum status status = parse_object(reader, text, length, &object, fault);

    if (status != STATUS_OK)
        return status;
    status = read_health(object, &found, fault);
    if (status == STATUS_OK)
        *health = found;
    json_object_put(object);
    return status;
}

bool payment_json_says_processed(struct payment_json *reader, const char *text, size_t length)
{
    struct json_object *object, *message;

    if (parse_object(reader, text, length, &object, NULL) != STATUS_OK)
        return false;
    bool says = find_member(object, "message", json_type_string, "must be a string", &message,
                            NULL) == STATUS_OK;
    json_object_put(object);
    return says;
}

/* --------------------------------------------------------------------- writing */

size_t payment_json_write_request(char text[static PAYMENT_JSON_REQUEST_SIZE],
                                  const struct uuid *id, int64_t amount_cents,
                                  int64_t requested_at_ms)
{
    char *end = stpcpy(text, "{\"correlationId\":\"");

    uuid_format(end, id);
    end = stpcpy(end + UUID_TEXT_LENGTH, "\",\"amount\":");
    end += money_format_cents(end, amount_cents);
    end = stpcpy(end, ",\"requestedAt\":\"");
    end += iso8601_format_ms(end, requested_at_ms);
    end = stpcpy(end, "\"}");
    return (size_t)(end - text);
}

static char *put_processor(char *end, uint64_t payments, unsigned __int128 sum_cents)
{
    end += sprintf(end, "{\"totalRequests\":%" PRIu64 ",\"totalAmount\":", payments);
    end += money_format_sum128(end, sum_cents);
    return stpcpy(end, "}");
}

size_t payment_json_write_summary(char text[static PAYMENT_JSON_SUMMARY_SIZE],
                                  const struct payment_summary *summary)
{
    char *end = stpcpy(text, "{\"default\":");

    end = put_processor(end, summary->payments[0], summary->sum_cents[0]);
    end = stpcpy(end, ",\"fallback\":");
    end = put_processor(end, summary->payments[1], summary->sum_cents[1]);
    end = stpcpy(end, "}");
    return (size_t)(end - text);
}
