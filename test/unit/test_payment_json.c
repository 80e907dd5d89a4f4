/* The JSON of payments: what is taken, what is refused and with which words, what is written. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <inttypes.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json_grammar.h"
#include "common/money.h"
#include "common/payment_json.h"

#define ID "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3"
static const struct uuid example_id = {UINT64_C(0x4a7901b87d264d9d), UINT64_C(0xaa194dc1c7cf60b3)};

static int create_reader(void **state)
{
    *state = payment_json_create();
    return *state == NULL;
}

static int destroy_reader(void **state)
{
    payment_json_destroy(*state);
    return 0;
}

static uint64_t random_state;

static unsigned random_below(unsigned bound)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (unsigned)(random_state % bound);
}

/* ---- what clients post ---- */

static void expect_request(struct payment_json *reader, const char *text, int64_t cents)
{
    struct payment_request request = {.amount_cents = -1};
    struct payment_json_fault fault = {"", ""};

    if (payment_json_parse_request(reader, text, strlen(text), &request, &fault) != STATUS_OK)
        fail_msg("%s: %s %s", text, fault.field, fault.reason);
    assert_true(uuid_equal(&request.id, &example_id));
    if (request.amount_cents != cents)
        fail_msg("%s: %" PRId64 " cents", text, request.amount_cents);
}

static void expect_fault_in(struct payment_json *reader, const char *text, size_t length,
                            const char *field, const char *reason)
{
    struct payment_request request = {.amount_cents = -1};
    struct payment_json_fault fault = {"", ""};
    enum status status = payment_json_parse_request(reader, text, length, &request, &fault);

    if (status != STATUS_INVALID || strcmp(fault.field, field) != 0 ||
        strstr(fault.reason, reason) == NULL)
        fail_msg("%.200s: status %d, \"%s %s\" instead of \"%s ... %s\"", text, (int)status,
                 fault.field, fault.reason, field, reason);
    assert_int_equal(request.amount_cents, -1);
    assert_null(strpbrk(fault.reason, "\"\\"));
    assert_int_equal(payment_json_parse_request(reader, text, length, &request, NULL),
                     STATUS_INVALID);
}

static void expect_fault(struct payment_json *reader, const char *text, const char *field,
                         const char *reason)
{
    expect_fault_in(reader, text, strlen(text), field, reason);
}

static void takes_a_payment_however_it_is_spelled(void **state)
{
    expect_request(*state, "{\"correlationId\":\"" ID "\",\"amount\":19.90}", 1990);
    expect_request(*state, "{\"amount\":19.90,\"correlationId\":\"" ID "\"}", 1990);
    expect_request(*state, " \t\r\n{ \"amount\" :\n1 , \"correlationId\" : \"" ID "\" } \n", 100);
    expect_request(*state,
                   "{\"correlationId\":\"4A7901B8-7D26-4D9D-AA19-4DC1C7CF60B3\",\"amount\":1e2}",
                   10000);
    expect_request(*state,
                   "{\"correlationId\":\"\\u0034a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3\","
                   "\"\\u0061mount\":0.015}",
                   2);
    expect_request(*state, "{\"correlationId\":\"" ID "\",\"amount\":100000000000}",
                   MONEY_MAX_CENTS);
    expect_request(*state,
                   "{\"correlationId\":\"" ID
                   "\",\"amount\":1E+2,\"x\":null,\"y\":[1,{\"amount\":5}],"
                   "\"Amount\":-3,\"\":\"\xc3\xa9\",\"z\":{\"a\":1,\"a\":2}}",
                   10000);
}

static void amounts_come_from_their_text(void **state)
{
    static const struct {
        const char *text;
        int64_t cents;
    } cases[] = {
        {"99999999999.985", 9999999999998},
        {"0.0050000000000000000000000000000001", 1},
        {"19.9000000000000000000000000000000001", 1990},
        {"0.025", 2},
        {"1.005", 100},
        {"1e-2", 1},
        {"1990e-2", 1990},
        {"0.000000000000000000000000000000199e31", 199},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"correlationId\":\"" ID "\",\"amount\":%s}", cases[i].text);
        expect_request(*state, body, cases[i].cents);
    }
}

/* A member more, and json-c reads the text: whatever the short way took, it has to take too, and as
 * the same, and the other way round. */
static void expect_both_to_agree(struct payment_json *reader, const char *text, size_t length)
{
    static const char MORE[] = "{\"more\":0,";
    char longer[256];
    struct payment_request one = {.amount_cents = -1}, other = {.amount_cents = -1};
    assert_true(length + sizeof MORE < sizeof longer);
    if (length == 0 || text[0] != '{')
        return;
    memcpy(longer, MORE, sizeof MORE - 1);
    memcpy(longer + sizeof MORE - 1, text + 1, length - 1);
    enum status status = payment_json_parse_request(reader, text, length, &one, NULL);
    enum status again =
        payment_json_parse_request(reader, longer, length + sizeof MORE - 2, &other, NULL);
    if (status != again || one.amount_cents != other.amount_cents ||
        (status == STATUS_OK && !uuid_equal(&one.id, &other.id)))
        fail_msg("%.*s: %d, %" PRId64 " cents, and with a member more %d, %" PRId64, (int)length,
                 text, (int)status, one.amount_cents, (int)again, other.amount_cents);
}

static const char *const usual_texts[] = {
    "{\"correlationId\":\"" ID "\",\"amount\":19.90}",
    "{\"amount\":1e2,\"correlationId\":\"" ID "\"}",
    "{ \"correlationId\" : \"" ID "\" ,\n\t\"amount\" :\r 0.005 } ",
    "{\"amount\":-12.5E-1,\"correlationId\":\"" ID "\"}",
    "{\"amount\":99999999999999999999,\"correlationId\":\"" ID "\"}",
    "{\"correlationId\":\"" ID "\",\"amount\":1,\"amount\":1}",
};

/* Every byte of a usual text as every other byte, left out, and as the last one. */
static void the_short_way_takes_what_the_long_one_takes(void **state)
{
    char text[200];
    for (size_t n = 0; n < sizeof usual_texts / sizeof usual_texts[0]; n++) {
        size_t length = strlen(usual_texts[n]);
        for (size_t place = 1; place < length; place++) {
            for (int byte = 0; byte < 256; byte++) {
                memcpy(text, usual_texts[n], length);
                text[place] = (char)byte;
                expect_both_to_agree(*state, text, length);
            }
            memmove(text + place, usual_texts[n] + place + 1, length - place - 1);
            memcpy(text, usual_texts[n], place);
            expect_both_to_agree(*state, text, length - 1);
            expect_both_to_agree(*state, usual_texts[n], place);
        }
    }
}

/* Amounts of any spelling, made of the characters that numbers are made of. */
static void the_short_way_reads_the_same_amounts(void **state)
{
    random_state = 20261128;
    for (int n = 0; n < 200000; n++) {
        char amount[16], text[200];
        size_t length = 1 + random_below(9);
        for (size_t i = 0; i < length; i++)
            amount[i] = "00123599..-+eE "[random_below(15)];
        amount[length] = '\0';
        int size =
            snprintf(text, sizeof text, "{\"amount\":%s,\"correlationId\":\"" ID "\"}", amount);
        expect_both_to_agree(*state, text, (size_t)size);
    }
}

static void names_the_wrong_field(void **state)
{
    static const char *const too_small[] = {
        "0",     "-0",   "0.0", "-0.0", "0.004",        "0.005",
        "-19.9", "1e-9", "0e5", "-1",   "1e-999999999", "-99999999999999999999999"};
    static const char *const too_large[] = {"100000000000.01",
                                            "1e12",
                                            "1e400",
                                            "9223372036854775808",
                                            "99999999999999999999999",
                                            "1e999999999999999999999",
                                            "18446744073709551617",
                                            "9007199254740993"};
    static const char *const no_number[] = {"\"19.90\"", "null", "true", "[1]", "{}", "\"\""};
    static const char *const no_string[] = {"1", "null", "true", "[\"" ID "\"]", "{}"};
    static const char *const no_uuid[] = {"\"\"", "\"x\"", "\"" ID " \"", "\"{" ID "}\"",
                                          "\"4a7901b87d264d9daa194dc1c7cf60b3\""};
    char body[256];

#define FOR_EACH(list) for (size_t i = 0; i < sizeof(list) / sizeof(list)[0]; i++)
#define WITH_AMOUNT(amount)                                                                        \
    snprintf(body, sizeof body, "{\"correlationId\":\"" ID "\",\"amount\":%s}", amount)
#define WITH_ID(id) snprintf(body, sizeof body, "{\"amount\":1,\"correlationId\":%s}", id)
    FOR_EACH(too_small)
    {
        WITH_AMOUNT(too_small[i]);
        expect_fault(*state, body, "amount", "at least 0.01");
    }
    FOR_EACH(too_large)
    {
        WITH_AMOUNT(too_large[i]);
        expect_fault(*state, body, "amount", "at most 100000000000.00");
    }
    FOR_EACH(no_number)
    {
        WITH_AMOUNT(no_number[i]);
        expect_fault(*state, body, "amount", "must be a number");
    }
    FOR_EACH(no_string)
    {
        WITH_ID(no_string[i]);
        expect_fault(*state, body, "correlationId", "must be a string");
    }
    FOR_EACH(no_uuid)
    {
        WITH_ID(no_uuid[i]);
        expect_fault(*state, body, "correlationId", "must be a UUID");
    }
    expect_fault(*state, "{}", "correlationId", "is missing");
    expect_fault(*state, "{\"amount\":1}", "correlationId", "is missing");
    expect_fault(*state, "{\"amount\":1,\"correlationid\":\"" ID "\"}", "correlationId", "missing");
    expect_fault(*state, "{\"correlationId\":\"" ID "\"}", "amount", "is missing");
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"AMOUNT\":1}", "amount", "is missing");
}

static void refuses_two_members_of_one_name(void **state)
{
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":1,\"amount\":2}", "body",
                 "same name");
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":1,\"amount\":1}", "body",
                 "same name");
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":1,\"\\u0061mount\":2}", "body",
                 "same name");
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"\\u0061mount\":1,\"am\\u006Funt\":2}",
                 "body", "same name");
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":1,\"correlationId\":\"" ID "\"}",
                 "body", "same name");
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":1,\"x\":1,\"x\":1}", "body",
                 "same name");
    /* json-c would take each of these for "amount". */
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\\u0000\":1}", "body", "NUL");
    expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":1,\"amount\\u0000\":2}", "body",
                 "NUL");
}

static void refuses_what_is_no_object(void **state)
{
    static const char *const texts[] = {"null", "true", "1",      "\"x\"",
                                        "[]",   "[{}]", "x",      "}",
                                        "\"{}", "NaN",  "/**/{}", "\xef\xbb\xbf{}"};

    expect_fault(*state, "", "body", "is empty");
    expect_fault(*state, " \n", "body", "is empty");
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        expect_fault(*state, texts[i], "body", "is not a JSON object");
}

/* What follows {"x": in an otherwise good body. Most of it json-c takes, even when strict. */
static void refuses_what_is_no_json(void **state)
{
    static const struct {
        const char *value, *reason;
    } cases[] = {
        {"NaN", "malformed value"},
        {"nan", "malformed value"},
        {"Infinity", "malformed value"},
        {"-Infinity", "malformed value"},
        {"inf", "malformed value"},
        {"undefined", "malformed value"},
        {"True", "malformed value"},
        {"tru", "malformed value"},
        {"nulll", "malformed object"},
        {"01", "malformed object"},
        {"-01", "malformed object"},
        {"00", "malformed object"},
        {"+1", "malformed value"},
        {".5", "malformed value"},
        {"1.", "malformed value"},
        {"1.e5", "malformed value"},
        {"1e", "malformed value"},
        {"1e+", "malformed value"},
        {"-", "malformed value"},
        {"--1", "malformed value"},
        {"0x10", "malformed object"},
        {"1 2", "malformed object"},
        {"1_000", "malformed object"},
        {"'x'", "malformed value"},
        {"\"x\" \"y\"", "malformed object"},
        {"\"\t\"", "control character"},
        {"\"\n\"", "control character"},
        {"\"\x1f\"", "control character"},
        {"\"\\x\"", "malformed escape"},
        {"\"\\'\"", "malformed escape"},
        {"\"\\u12\"", "malformed escape"},
        {"\"\\u12g4\"", "malformed escape"},
        {"\"\\U1234\"", "malformed escape"},
        {"\"\\u0000\"", "NUL"},
        {"\"\x80\"", "not UTF-8"},     /* a continuation alone */
        {"\"\xc3\"", "not UTF-8"},     /* nothing behind the lead */
        {"\"\xc0\xaf\"", "not UTF-8"}, /* overlong */
        {"\"\xc1\xbf\"", "not UTF-8"},
        {"\"\xe0\x9f\xbf\"", "not UTF-8"},
        {"\"\xf0\x8f\xbf\xbf\"", "not UTF-8"},
        {"\"\xed\xa0\x80\"", "not UTF-8"},     /* a surrogate */
        {"\"\xf4\x90\x80\x80\"", "not UTF-8"}, /* beyond U+10FFFF */
        {"\"\xf5\x80\x80\x80\"", "not UTF-8"},
        {"\"\xe2\x82\"", "not UTF-8"},
        {"\"\xff\"", "not UTF-8"},
        {"[1,]", "malformed value"},
        {"[,1]", "malformed value"},
        {"[1 2]", "malformed array"},
        {"[1}", "malformed array"},
        {"{\"a\":1]", "malformed object"},
        {"{\"a\":1,}", "no string in double quotes"},
        {"{a:1}", "no string in double quotes"},
        {"{'a':1}", "no string in double quotes"},
        {"{\"a\"}", "without a colon"},
        {"{\"a\":}", "malformed value"},
        {"{\"a\" 1}", "without a colon"},
        {"{,}", "no string in double quotes"},
        {"1,", "no string in double quotes"},
        {"1 /* */", "malformed object"},
        {"1 // \n", "malformed object"},
        {"\x0b"
         "1",
         "malformed value"}, /* white space elsewhere, not here */
        {"\xc2\xa0"
         "1",
         "malformed value"},
        {"", "malformed value"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"correlationId\":\"" ID "\",\"amount\":1,\"x\":%s}",
                 cases[i].value);
        expect_fault(*state, body, "body", cases[i].reason);
    }
}

static void refuses_what_goes_on_or_ends_too_early(void **state)
{
    static const char body[] =
        "{\"correlationId\":\"" ID "\",\"amount\":19.90,\"x\":[true,\"\\u12aF\"]}";
    static const char *const tails[] = {"x", "}", "{}", ",", "]", "null", " \n/", "\""};

    expect_request(*state, body, 1990);
    for (size_t length = 1; length < sizeof body - 1; length++)
        expect_fault_in(*state, body, length, "body", "ends too early");
    for (size_t i = 0; i < sizeof tails / sizeof tails[0]; i++) {
        char text[256];
        snprintf(text, sizeof text, "%s%s", body, tails[i]);
        expect_fault(*state, text, "body", "goes on after the end");
    }
    expect_fault_in(*state, body, sizeof body, "body", "goes on after the end"); /* its NUL */
    expect_fault_in(*state, "{\"a\":\"\0\"}", 9, "body", "control character");
    expect_fault_in(*state, "{\0}", 3, "body", "no string in double quotes");
    expect_fault_in(*state, "\0{}", 3, "body", "is not a JSON object");
}

/* A good body with a value that is `levels` arrays or objects deep, itself one level. */
static void make_nested(char *text, unsigned levels, const char *open, const char *close)
{
    strcpy(text, "{\"correlationId\":\"" ID "\",\"amount\":1,\"x\":");
    for (unsigned i = 1; i < levels; i++)
        strcat(text, open);
    strcat(text, "0");
    for (unsigned i = 1; i < levels; i++)
        strcat(text, close);
    strcat(text, "}");
}

static void limits_the_depth(void **state)
{
    char text[4096];

    for (unsigned levels = 1; levels <= PAYMENT_JSON_DEPTH_MAX; levels++) {
        make_nested(text, levels, "[", "]");
        expect_request(*state, text, 100);
        make_nested(text, levels, "{\"y\":", "}");
        expect_request(*state, text, 100);
    }
    make_nested(text, PAYMENT_JSON_DEPTH_MAX + 1, "[", "]");
    expect_fault(*state, text, "body", "nested too deeply");
    make_nested(text, PAYMENT_JSON_DEPTH_MAX + 1, "{\"y\":", "}");
    expect_fault(*state, text, "body", "nested too deeply");
    make_nested(text, 400, "[", "]");
    expect_fault(*state, text, "body", "nested too deeply");
    /* Levels that were left again do not count. */
    expect_request(*state,
                   "{\"correlationId\":\"" ID "\",\"amount\":1,\"x\":[[],[],[],[],[],[],[],[],[],"
                   "[],[],[],[],[],[],[],[],[],[],{},{},{},{},{},{},{},{},{},{},{},{},{}]}",
                   100);
}

/* ---- the grammar against json-c: whatever the one lets through, the other must read ---- */

struct text {
    char bytes[4096];
    size_t length;
};

static void put(struct text *text, const char *bytes)
{
    size_t length = strlen(bytes);

    assert_true(text->length + length < sizeof text->bytes);
    memcpy(text->bytes + text->length, bytes, length + 1);
    text->length += length;
}

static const char *any_of(const char *const *list, unsigned count)
{
    return list[random_below(count)];
}

static void put_random_value(struct text *text, unsigned depth)
{
    static const char *const scalars[] = {"0",
                                          "-0",
                                          "1",
                                          "19.90",
                                          "1e5",
                                          "1E-7",
                                          "-2.5e+300",
                                          "1e400",
                                          "123456789012345678901234567",
                                          "true",
                                          "false",
                                          "null",
                                          "\"\"",
                                          "\"x\"",
                                          "\"\\u00e9\\ud83d\\ude00\"",
                                          "\"\\ud800\"",
                                          "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"",
                                          "\"\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9\x7f\"",
                                          "-1e-999"};
    static const char *const spaces[] = {"", "", "", " ", "\n", "\t \r"};
    unsigned kind = depth == 0 ? 0 : random_below(4);
    unsigned members = random_below(4);

    put(text, any_of(spaces, 6));
    if (kind < 2) {
        put(text, any_of(scalars, sizeof scalars / sizeof scalars[0]));
    } else {
        put(text, kind == 2 ? "[" : "{");
        for (unsigned i = 0; i < members; i++) {
            char name[16];
            snprintf(name, sizeof name, "\"%u\":", i);
            put(text, i > 0 ? "," : "");
            put(text, any_of(spaces, 6));
            put(text, kind == 3 ? name : "");
            put_random_value(text, depth - 1);
        }
        put(text, any_of(spaces, 6));
        put(text, kind == 2 ? "]" : "}");
    }
    put(text, any_of(spaces, 6));
}

static void takes_every_good_document(void **state)
{
    random_state = 20250715;
    for (int i = 0; i < 30000; i++) {
        struct text text = {.length = 0};
        struct payment_request request;
        struct payment_json_fault fault = {"", ""};
        put(&text, "{\"x\":");
        put_random_value(&text, 4);
        put(&text, ",\"correlationId\":\"" ID "\",\"amount\":0.07}");
        if (payment_json_parse_request(*state, text.bytes, text.length, &request, &fault) !=
            STATUS_OK)
            fail_msg("%s: %s %s", text.bytes, fault.field, fault.reason);
        assert_true(uuid_equal(&request.id, &example_id));
        assert_int_equal(request.amount_cents, 7);
    }
}

/* One-sided: json-c takes much that is not JSON, but what it refuses must not pass. */
static void passes_nothing_that_json_c_refuses(void **state)
{
    static const char alphabet[] = "{}[]\",:\\u01.eE+-tfn \n\x01\x80\xc3\xff/'N";
    enum { ROUNDS = 200000 };
    struct json_tokener *strict = json_tokener_new_ex(PAYMENT_JSON_DEPTH_MAX + 1);
    int passed = 0;

    (void)state;
    assert_non_null(strict);
    json_tokener_set_flags(strict, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    random_state = 31337;
    for (int i = 0; i < ROUNDS; i++) {
        char text[] = "{\"id\":\"\\u00e9\xc3\xa9\",\"amount\":-19.90e+1,\"x\":[true,null,{}]}";
        size_t length = sizeof text - 1, members;
        for (unsigned changes = 1 + random_below(3); changes > 0; changes--)
            text[random_below((unsigned)length)] = alphabet[random_below(sizeof alphabet - 1)];
        if (json_grammar_check_object(text, length, PAYMENT_JSON_DEPTH_MAX, &members) != NULL)
            continue;
        json_tokener_reset(strict);
        struct json_object *object = json_tokener_parse_ex(strict, text, (int)length);
        if (object == NULL)
            fail_msg("%s", text);
        assert_true((size_t)json_object_object_length(object) <= members);
        json_object_put(object);
        passed++;
    }
    json_tokener_free(strict);
    assert_true(passed > ROUNDS / 100 && passed < ROUNDS / 2);
}

static void a_fault_leaves_nothing_behind(void **state)
{
    for (int i = 0; i < 1000; i++) {
        expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":[[[1", "body", "too early");
        expect_fault(*state, "{\"correlationId\":\"" ID "\",\"amount\":{\"x\":[1]}}", "amount",
                     "number");
        expect_request(*state, "{\"correlationId\":\"" ID "\",\"amount\":19.90}", 1990);
    }
}

/* ---- what processors answer ---- */

static bool says_processed(void **state, const char *text)
{
    return payment_json_says_processed(*state, text, strlen(text));
}

static void knows_what_a_processor_says_of_an_insert(void **state)
{
    static const char good[] = "{\"message\":\"payment processed successfully\"}";

    assert_true(says_processed(state, good));
    assert_true(says_processed(state, " {\"id\":1, \"message\" : \"\" }\r\n"));
    for (size_t length = 0; length < sizeof good - 1; length++)
        assert_false(payment_json_says_processed(*state, good, length));
    static const char *const others[] = {
        "",
        "null",
        "[]",
        "{}",
        "{}{}",
        "<html>",
        "\"message\"",
        "{\"error\":\"no upstream\"}",
        "{\"message\":null}",
        "{\"message\":{}}",
        "{\"reply\":{\"message\":\"processed\"}}",
        "{\"Message\":\"processed\"}",
        "{\"message\":\"a\",\"message\":\"b\"}",
        "{\"message\":\"a\"}x",
    };
    for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
        assert_false(says_processed(state, others[i]));
}

static enum status parse_stored(struct payment_json *reader, const char *text,
                                struct payment_stored *stored, struct payment_json_fault *fault)
{
    return payment_json_parse_stored(reader, text, strlen(text), stored, fault);
}

static void reads_what_a_processor_stored(void **state)
{
    struct payment_stored stored;

    assert_int_equal(parse_stored(*state,
                                  "{\"correlationId\":\"" ID "\",\"amount\":19.9,"
                                  "\"requestedAt\":\"2025-07-15T12:34:56.789\"}",
                                  &stored, NULL),
                     STATUS_OK);
    assert_true(uuid_equal(&stored.id, &example_id));
    assert_int_equal(stored.amount_cents, 1990);
    assert_true(stored.requested_at_us == 1752582896789000);
    assert_true(stored.requested_at_is_exact);

    assert_int_equal(parse_stored(*state,
                                  "{\"requestedAt\":\"2025-07-15T12:34:56.7890001Z\",\"x\":1,"
                                  "\"amount\":19.90,\"correlationId\":\"" ID "\"}",
                                  &stored, NULL),
                     STATUS_OK);
    assert_true(stored.requested_at_us == 1752582896789000);
    assert_false(stored.requested_at_is_exact);
}

static void a_stored_amount_that_is_not_ours_is_zero(void **state)
{
    static const char *const amounts[] = {"0", "-5", "0.004", "1e12", "1e999999", "-0.0"};

    for (size_t i = 0; i < sizeof amounts / sizeof amounts[0]; i++) {
        struct payment_stored stored = {.amount_cents = 99};
        char text[256];
        snprintf(text, sizeof text,
                 "{\"correlationId\":\"" ID "\",\"amount\":%s,"
                 "\"requestedAt\":\"2025-07-15T12:34:56\"}",
                 amounts[i]);
        assert_int_equal(parse_stored(*state, text, &stored, NULL), STATUS_OK);
        assert_int_equal(stored.amount_cents, 0);
    }
}

static void refuses_a_stored_payment_that_is_incomplete(void **state)
{
    static const struct {
        const char *text, *field, *reason;
    } cases[] = {
        {"", "body", "is empty"},
        {"null", "body", "is not a JSON object"},
        {"{\"amount\":1,\"requestedAt\":\"2025-07-15T12:34:56\"}", "correlationId", "is missing"},
        {"{\"correlationId\":\"x\",\"amount\":1,\"requestedAt\":\"2025-07-15T12:34:56\"}",
         "correlationId", "must be a UUID"},
        {"{\"correlationId\":\"" ID "\",\"requestedAt\":\"2025-07-15T12:34:56\"}", "amount",
         "is missing"},
        {"{\"correlationId\":\"" ID "\",\"amount\":\"1\",\"requestedAt\":\"2025-07-15T12:34:56\"}",
         "amount", "must be a number"},
        {"{\"correlationId\":\"" ID "\",\"amount\":1}", "requestedAt", "is missing"},
        {"{\"correlationId\":\"" ID "\",\"amount\":1,\"requestedAt\":null}", "requestedAt",
         "must be a string"},
        {"{\"correlationId\":\"" ID "\",\"amount\":1,\"requestedAt\":\"yesterday\"}", "requestedAt",
         "must be a time"},
        {"{\"correlationId\":\"" ID "\",\"amount\":1,\"amount\":2,"
         "\"requestedAt\":\"2025-07-15T12:34:56\"}",
         "body", "same name"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct payment_stored stored = {.amount_cents = -5};
        struct payment_json_fault fault = {"", ""};
        assert_int_equal(parse_stored(*state, cases[i].text, &stored, &fault), STATUS_INVALID);
        assert_string_equal(fault.field, cases[i].field);
        assert_non_null(strstr(fault.reason, cases[i].reason));
        assert_int_equal(stored.amount_cents, -5);
    }
}

static void reads_a_processors_health(void **state)
{
    static const struct {
        const char *text;
        bool failing;
        int64_t min_response_ms;
    } cases[] = {
        {"{\"failing\":false,\"minResponseTime\":0}", false, 0},
        {"{\"failing\":true,\"minResponseTime\":2000}", true, 2000},
        {"{\"minResponseTime\":100,\"x\":[],\"failing\":false}", false, 100},
        {"{\"failing\":true,\"minResponseTime\":99999999999999999999}", true, INT64_MAX},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct payment_health health;
        const char *text = cases[i].text;
        assert_int_equal(payment_json_parse_health(*state, text, strlen(text), &health, NULL),
                         STATUS_OK);
        assert_int_equal(health.failing, cases[i].failing);
        assert_true(health.min_response_ms == cases[i].min_response_ms);
    }
}

static void refuses_a_health_that_is_none(void **state)
{
    static const struct {
        const char *text, *field, *reason;
    } cases[] = {
        {"", "body", "is empty"},
        {"{\"failing\":false,\"minResponseTime\":1", "body", "too early"},
        {"{\"minResponseTime\":1}", "failing", "is missing"},
        {"{\"failing\":0,\"minResponseTime\":1}", "failing", "must be true or false"},
        {"{\"failing\":null,\"minResponseTime\":1}", "failing", "must be true or false"},
        {"{\"failing\":true}", "minResponseTime", "is missing"},
        {"{\"failing\":true,\"minResponseTime\":\"1\"}", "minResponseTime", "whole number"},
        {"{\"failing\":true,\"minResponseTime\":1.5}", "minResponseTime", "whole number"},
        {"{\"failing\":true,\"minResponseTime\":-1}", "minResponseTime", "negative"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct payment_health health = {.min_response_ms = -5};
        struct payment_json_fault fault = {"", ""};
        const char *text = cases[i].text;
        assert_int_equal(payment_json_parse_health(*state, text, strlen(text), &health, &fault),
                         STATUS_INVALID);
        assert_string_equal(fault.field, cases[i].field);
        assert_non_null(strstr(fault.reason, cases[i].reason));
        assert_int_equal(health.min_response_ms, -5);
    }
}

/* ---- what is written ---- */

static void writes_a_request(void **state)
{
    char text[PAYMENT_JSON_REQUEST_SIZE];
    size_t length = payment_json_write_request(text, &example_id, 1990, 1752582896007);

    (void)state;
    assert_string_equal(text, "{\"correlationId\":\"" ID "\",\"amount\":19.90,"
                              "\"requestedAt\":\"2025-07-15T12:34:56.007Z\"}");
    assert_int_equal(length, strlen(text));
    length = payment_json_write_request(text, &example_id, INT64_MIN, INT64_MIN);
    assert_int_equal(length, strlen(text));
    assert_int_equal(length + 1, 129); /* as the header says */
}

/* What we send reads back as what a processor with our rules would store. */
static void a_request_reads_back(void **state)
{
    random_state = 5;
    for (int i = 0; i < 20000; i++) {
        char text[PAYMENT_JSON_REQUEST_SIZE];
        struct payment_stored stored;
        struct uuid id = {random_below(UINT32_MAX), (uint64_t)random_below(UINT32_MAX) << 32};
        int64_t cents = 1 + random_below(1000000), at_ms = 1752582896000 + random_below(1 << 30);
        size_t length = payment_json_write_request(text, &id, cents, at_ms);
        assert_int_equal(payment_json_parse_stored(*state, text, length, &stored, NULL), STATUS_OK);
        assert_true(uuid_equal(&stored.id, &id));
        assert_int_equal(stored.amount_cents, cents);
        assert_true(stored.requested_at_us == at_ms * 1000 && stored.requested_at_is_exact);
    }
}

static void writes_a_summary(void **state)
{
    char text[PAYMENT_JSON_SUMMARY_SIZE];
    struct payment_summary summary = {.payments = {0, 0}};

    (void)state;
    payment_json_write_summary(text, &summary);
    assert_string_equal(text, "{\"default\":{\"totalRequests\":0,\"totalAmount\":0.00},"
                              "\"fallback\":{\"totalRequests\":0,\"totalAmount\":0.00}}");
    summary = (struct payment_summary){.payments = {20000, 1}, .sum_cents = {39800000, 7}};
    payment_json_write_summary(text, &summary);
    assert_string_equal(text, "{\"default\":{\"totalRequests\":20000,\"totalAmount\":398000.00},"
                              "\"fallback\":{\"totalRequests\":1,\"totalAmount\":0.07}}");
    const unsigned __int128 most = ~(unsigned __int128)0;
    summary = (struct payment_summary){{UINT64_MAX, UINT64_MAX}, {most, most}};
    size_t length = payment_json_write_summary(text, &summary);
    assert_int_equal(length, strlen(text));
    assert_int_equal(length + 1, 211); /* as the header says */
    size_t members;
    assert_null(json_grammar_check_object(text, length, PAYMENT_JSON_DEPTH_MAX, &members));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, create_reader, destroy_reader)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(takes_a_payment_however_it_is_spelled),
        TEST(amounts_come_from_their_text),
        TEST(the_short_way_takes_what_the_long_one_takes),
        TEST(the_short_way_reads_the_same_amounts),
        TEST(names_the_wrong_field),
        TEST(refuses_two_members_of_one_name),
        TEST(refuses_what_is_no_object),
        TEST(refuses_what_is_no_json),
        TEST(refuses_what_goes_on_or_ends_too_early),
        TEST(limits_the_depth),
        TEST(takes_every_good_document),
        TEST(passes_nothing_that_json_c_refuses),
        TEST(a_fault_leaves_nothing_behind),
        TEST(knows_what_a_processor_says_of_an_insert),
        TEST(reads_what_a_processor_stored),
        TEST(a_stored_amount_that_is_not_ours_is_zero),
        TEST(refuses_a_stored_payment_that_is_incomplete),
        TEST(reads_a_processors_health),
        TEST(refuses_a_health_that_is_none),
        TEST(writes_a_request),
        TEST(a_request_reads_back),
        TEST(writes_a_summary),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
