#include "common/query.h"

#include <stdbool.h>
#include <string.h>

/* A decoder over one name or value. */
struct encoded {
    const char *next, *end;
};

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The next byte, 1 to 255; 0: a malformed one or a NUL. */
static unsigned char decode(struct encoded *text)
{
    if (*text->next != '%')
        return (unsigned char)*text->next++;
    if (text->end - text->next < 3)
        return 0;
    int high = hex_digit(text->next[1]), low = hex_digit(text->next[2]);
    text->next += 3;
    if (high < 0 || low < 0)
        return 0;
    return (unsigned char)((unsigned)high << 4 | (unsigned)low);
}

/* Take what stands before `separator` off the front of *rest. */
static struct encoded cut(struct encoded *rest, char separator)
{
    struct encoded part = *rest;
    const char *found = memchr(rest->next, separator, (size_t)(rest->end - rest->next));

    if (found != NULL)
        part.end = found;
    rest->next = found != NULL ? found + 1 : rest->end;
    return part;
}

static bool is_well_formed(struct encoded text)
{
    while (text.next < text.end)
        if (decode(&text) == 0)
            return false;
    return true;
}

static bool decodes_to(struct encoded name, const char *key)
{
    while (name.next < name.end)
        if (*key == '\0' || decode(&name) != (unsigned char)*key++)
            return false;
    return *key == '\0';
}

static bool decode_all(struct encoded text, char *value, size_t size, size_t *length)
{
    size_t count = 0;

    while (text.next < text.end) {
        if (count + 1 >= size)
            return false;
        value[count++] = (char)decode(&text);
    }
    value[count] = '\0';
    *length = count;
    return true;
}

enum status query_find(const char *query, size_t query_length, const char *key, char *value,
                       size_t size, size_t *length, struct explain *why)
{
    struct encoded rest = {.next = query, .end = query + query_length};
    bool found = false;

    /* Looked at as a whole first: what is cut out of it below cannot fail to decode. */
    if (!is_well_formed(rest))
        return explain(why, STATUS_INVALID, "the query holds a %% that encodes no character");
    while (rest.next < rest.end) {
        struct encoded text = cut(&rest, '&');
        struct encoded name = cut(&text, '=');
        if (!decodes_to(name, key))
            continue;
        if (found)
            return explain(why, STATUS_INVALID, "%s is given more than once", key);
        if (!decode_all(text, value, size, length))
            return explain(why, STATUS_INVALID, "%s is longer than %zu bytes", key, size - 1);
        found = true;
    }
    return found ? STATUS_OK : STATUS_NOT_FOUND;
}
