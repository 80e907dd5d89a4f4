#include "common/json_grammar.h"

#include <stdbool.h>
#include <string.h>

/* The text from `next` on is still to be read. The scanning functions below return false with
 * `fault` set, and then nobody reads on. */
struct scanner {
    const unsigned char *next, *end;
    unsigned levels_left;
    const char *fault;
};

static bool refuse(struct scanner *scanner, const char *fault)
{
    scanner->fault = scanner->next == scanner->end ? "ends too early" : fault;
    return false;
}

static bool take(struct scanner *scanner, char c)
{
    if (scanner->next == scanner->end || *scanner->next != (unsigned char)c)
        return false;
    scanner->next++;
    return true;
}

static void skip_space(struct scanner *scanner)
{
    while (scanner->next < scanner->end && (*scanner->next == ' ' || *scanner->next == '\t' ||
                                            *scanner->next == '\n' || *scanner->next == '\r'))
        scanner->next++;
}

/* --------------------------------------------------------------------- strings */

/* The bytes of the character that is not ASCII and begins here; 0: no valid UTF-8 (RFC 3629). */
static size_t utf8_length(const unsigned char *c, size_t left)
{
    size_t length = c[0] >= 0xc2 && c[0] <= 0xdf   ? 2
                    : c[0] >= 0xe0 && c[0] <= 0xef ? 3
                    : c[0] >= 0xf0 && c[0] <= 0xf4 ? 4
                                                   : 0;

    if (length == 0 || left < length)
        return 0;
    for (size_t i = 1; i < length; i++)
        if ((c[i] & 0xc0) != 0x80)
            return 0;
    bool overlong = (c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xf0 && c[1] < 0x90);
    bool surrogate = c[0] == 0xed && c[1] > 0x9f;
    bool beyond_unicode = c[0] == 0xf4 && c[1] > 0x8f;
    return overlong || surrogate || beyond_unicode ? 0 : length;
}

static bool is_hex_digit(unsigned char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* What follows the backslash. */
static bool scan_escape(struct scanner *scanner)
{
    if (!take(scanner, 'u')) {
        if (scanner->next == scanner->end || *scanner->next == '\0' ||
            strchr("\"\\/bfnrt", *scanner->next) == NULL)
            return refuse(scanner, "has a malformed escape in a string");
        scanner->next++;
        return true;
    }
    const unsigned char *digits = scanner->next;
    for (int i = 0; i < 4; i++, scanner->next++)
        if (scanner->next == scanner->end || !is_hex_digit(*scanner->next))
            return refuse(scanner, "has a malformed escape in a string");
    return memcmp(digits, "0000", 4) != 0 || refuse(scanner, "has a NUL in a string");
}

static bool scan_string(struct scanner *scanner)
{
    if (!take(scanner, '"'))
        return refuse(scanner, "has no string in double quotes where one must be");
    while (!take(scanner, '"')) {
        if (take(scanner, '\\')) {
            if (!scan_escape(scanner))
                return false;
            continue;
        }
        if (scanner->next == scanner->end || *scanner->next < 0x20)
            return refuse(scanner, "has a control character in a string");
        size_t length = 1;
        if (*scanner->next >= 0x80)
            length = utf8_length(scanner->next, (size_t)(scanner->end - scanner->next));
        if (length == 0)
            return refuse(scanner, "has bytes that are not UTF-8");
        scanner->next += length;
    }
    return true;
}

/* ---------------------------------------------------------------- other values */

static bool scan_digits(struct scanner *scanner)
{
    const unsigned char *start = scanner->next;

    while (scanner->next < scanner->end && *scanner->next >= '0' && *scanner->next <= '9')
        scanner->next++;
    return scanner->next > start || refuse(scanner, "has a malformed value");
}

static bool scan_number(struct scanner *scanner)
{
    take(scanner, '-');
    /* A zero in front stands alone: a digit behind it is refused as what must not follow here. */
    if (!take(scanner, '0') && !scan_digits(scanner))
        return false;
    if (take(scanner, '.') && !scan_digits(scanner))
        return false;
    if (!take(scanner, 'e') && !take(scanner, 'E'))
        return true;
    if (!take(scanner, '+'))
        take(scanner, '-');
    return scan_digits(scanner);
}

static bool scan_word(struct scanner *scanner, const char *word)
{
    for (; *word != '\0'; word++)
        if (!take(scanner, *word))
            return refuse(scanner, "has a malformed value");
    return true;
}

static bool scan_object(struct scanner *scanner, size_t *members);
static bool scan_array(struct scanner *scanner);

static bool scan_value(struct scanner *scanner)
{
    size_t members;

    if (scanner->next == scanner->end)
        return refuse(scanner, "has no value where one must be");
    switch (*scanner->next) {
    case '{':
        return scan_object(scanner, &members);
    case '[':
        return scan_array(scanner);
    case '"':
        return scan_string(scanner);
    case 't':
        return scan_word(scanner, "true");
    case 'f':
        return scan_word(scanner, "false");
    case 'n':
        return scan_word(scanner, "null");
    default:
        return scan_number(scanner);
    }
}

static bool scan_array(struct scanner *scanner)
{
    if (scanner->levels_left == 0)
        return refuse(scanner, "is nested too deeply");
    scanner->levels_left--;
    take(scanner, '[');
    skip_space(scanner);
    if (!take(scanner, ']')) {
        do {
            skip_space(scanner);
            if (!scan_value(scanner))
                return false;
            skip_space(scanner);
        } while (take(scanner, ','));
        if (!take(scanner, ']'))
            return refuse(scanner, "has a malformed array");
    }
    scanner->levels_left++;
    return true;
}

static bool scan_member(struct scanner *scanner)
{
    skip_space(scanner);
    if (!scan_string(scanner))
        return false;
    skip_space(scanner);
    if (!take(scanner, ':'))
        return refuse(scanner, "has a name without a colon behind it");
    skip_space(scanner);
    if (!scan_value(scanner))
        return false;
    skip_space(scanner);
    return true;
}

static bool scan_object(struct scanner *scanner, size_t *members)
{
    *members = 0;
    if (scanner->levels_left == 0)
        return refuse(scanner, "is nested too deeply");
    scanner->levels_left--;
    take(scanner, '{');
    skip_space(scanner);
    if (!take(scanner, '}')) {
        do {
            if (!scan_member(scanner))
                return false;
            ++*members;
        } while (take(scanner, ','));
        if (!take(scanner, '}'))
            return refuse(scanner, "has a malformed object");
    }
    scanner->levels_left++;
    return true;
}

const char *json_grammar_check_object(const char *text, size_t length, unsigned depth_max,
                                      size_t *members)
{
    struct scanner scanner = {
        .next = (const unsigned char *)text,
        .end = (const unsigned char *)text + length,
        .levels_left = depth_max,
    };

    skip_space(&scanner);
    if (scanner.next == scanner.end)
        return "is empty";
    if (*scanner.next != '{')
        return "is not a JSON object";
    if (!scan_object(&scanner, members))
        return scanner.fault;
    skip_space(&scanner);
    return scanner.next == scanner.end ? NULL : "goes on after the end of the object";
}
