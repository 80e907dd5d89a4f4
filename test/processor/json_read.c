#include "test/processor/json_read.h"

#include <string.h>

/* Deeper nesting than this is refused: the recursion must be bounded, and
 * 64 is the limit of the real processor's reader. */
enum { MAX_DEPTH = 64 };

struct cursor {
    const char *at;
    const char *end;
};

struct value {
    enum json_kind kind;
    const char *text;
    size_t length;
};

static int read_value(struct cursor *c, int depth, struct value *value);

static void skip_space(struct cursor *c)
{
    while (c->at < c->end && (*c->at == ' ' || *c->at == '\t' || *c->at == '\n' || *c->at == '\r'))
        c->at++;
}

static bool next_is(struct cursor *c, char expected)
{
    skip_space(c);
    if (c->at == c->end || *c->at != expected)
        return false;
    c->at++;
    return true;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static size_t skip_digits(struct cursor *c)
{
    const char *first = c->at;
    while (c->at < c->end && is_digit(*c->at))
        c->at++;
    return (size_t)(c->at - first);
}

/* c->at is behind the backslash. */
static int skip_escape(struct cursor *c)
{
    if (c->at == c->end)
        return -1;
    char kind = *c->at++;
    if (kind != 'u')
        return kind != '\0' && strchr("\"\\/bfnrt", kind) != NULL ? 0 : -1;
    for (int i = 0; i < 4; i++, c->at++)
        if (c->at == c->end || !is_hex(*c->at))
            return -1;
    return 0;
}

/* c->at is behind the opening quote. */
static int read_string(struct cursor *c, struct value *value)
{
    *value = (struct value){.kind = JSON_STRING, .text = c->at};
    while (c->at < c->end && *c->at != '"') {
        unsigned char byte = (unsigned char)*c->at++;
        if (byte < 0x20)
            return -1;
        if (byte == '\\') {
            value->kind = JSON_OTHER;
            if (skip_escape(c) != 0)
                return -1;
        }
    }
    if (c->at == c->end)
        return -1;
    value->length = (size_t)(c->at - value->text);
    c->at++;
    return 0;
}

static int read_number(struct cursor *c, struct value *value)
{
    *value = (struct value){.kind = JSON_NUMBER, .text = c->at};
    if (c->at < c->end && *c->at == '-')
        c->at++;
    const char *whole = c->at;
    size_t digits = skip_digits(c);
    if (digits == 0 || (digits > 1 && *whole == '0'))
        return -1;
    if (c->at < c->end && *c->at == '.') {
        c->at++;
        if (skip_digits(c) == 0)
            return -1;
    }
    if (c->at < c->end && (*c->at == 'e' || *c->at == 'E')) {
        c->at++;
        if (c->at < c->end && (*c->at == '+' || *c->at == '-'))
            c->at++;
        if (skip_digits(c) == 0)
            return -1;
    }
    value->length = (size_t)(c->at - value->text);
    return 0;
}

static int read_word(struct cursor *c, const char *word, enum json_kind kind, struct value *value)
{
    size_t length = strlen(word);
    if ((size_t)(c->end - c->at) < length || memcmp(c->at, word, length) != 0)
        return -1;
    *value = (struct value){.kind = kind, .text = c->at, .length = length};
    c->at += length;
    return 0;
}

static int read_array(struct cursor *c, int depth)
{
    struct value ignored;
    if (next_is(c, ']'))
        return 0;
    do {
        if (read_value(c, depth + 1, &ignored) != 0)
            return -1;
    } while (next_is(c, ','));
    return next_is(c, ']') ? 0 : -1;
}

static void store(struct json_field *fields, size_t count, const struct value *name,
                  const struct value *value)
{
    for (size_t i = 0; i < count; i++) {
        if (strlen(fields[i].name) != name->length ||
            memcmp(fields[i].name, name->text, name->length) != 0)
            continue;
        fields[i].kind = value->kind;
        fields[i].text = value->text;
        fields[i].length = value->length;
    }
}

static int read_members(struct cursor *c, int depth, struct json_field *fields, size_t count)
{
    struct value name, value;
    if (next_is(c, '}'))
        return 0;
    do {
        if (!next_is(c, '"') || read_string(c, &name) != 0 || !next_is(c, ':') ||
            read_value(c, depth + 1, &value) != 0)
            return -1;
        store(fields, count, &name, &value);
    } while (next_is(c, ','));
    return next_is(c, '}') ? 0 : -1;
}

static int read_value(struct cursor *c, int depth, struct value *value)
{
    skip_space(c);
    if (c->at == c->end || depth > MAX_DEPTH)
        return -1;
    *value = (struct value){.kind = JSON_OTHER, .text = c->at};
    switch (*c->at) {
    case '{':
        c->at++;
        return read_members(c, depth, NULL, 0);
    case '[':
        c->at++;
        return read_array(c, depth);
    case '"':
        c->at++;
        return read_string(c, value);
    case 't':
        return read_word(c, "true", JSON_TRUE, value);
    case 'f':
        return read_word(c, "false", JSON_FALSE, value);
    case 'n':
        return read_word(c, "null", JSON_NULL, value);
    default:
        return read_number(c, value);
    }
}

int json_read_object(const char *text, size_t length, struct json_field *fields, size_t count)
{
    struct cursor c = {text, text + length};
    for (size_t i = 0; i < count; i++)
        fields[i].kind = JSON_ABSENT;
    if (text == NULL || !next_is(&c, '{') || read_members(&c, 0, fields, count) != 0)
        return -1;
    skip_space(&c);
    return c.at == c.end ? 0 : -1;
}

bool json_field_integer(const struct json_field *field, int64_t lowest, int64_t highest,
                        int64_t *value)
{
    if (field->kind != JSON_NUMBER || field->length > 18)
        return false;
    bool negative = field->text[0] == '-';
    int64_t sum = 0;
    for (size_t i = negative; i < field->length; i++) {
        if (!is_digit(field->text[i]))
            return false;
        sum = sum * 10 + (field->text[i] - '0');
    }
    *value = negative ? -sum : sum;
    return *value >= lowest && *value <= highest;
}

bool json_field_is(const struct json_field *field, const char *expected)
{
    return field->kind == JSON_STRING && field->length == strlen(expected) &&
           memcmp(field->text, expected, field->length) == 0;
}
