#include "test/lib/client/reply.h"

#include <stdint.h>
#include <string.h>
#include <strings.h>

/* What the header lines say about the body. */
struct framing {
    bool has_length;
    size_t length;
    bool chunked, close;
};

static const char *value_of(const char *line, const char *end, const char *name)
{
    size_t size = strlen(name);
    if ((size_t)(end - line) < size || strncasecmp(line, name, size) != 0)
        return NULL;
    line += size;
    while (line < end && (*line == ' ' || *line == '\t'))
        line++;
    return line;
}

/* A number in the given base; SIZE_MAX if there is none or it is out of all proportion. */
static size_t number(const char *text, const char *end, unsigned base)
{
    size_t value = 0;
    const char *at = text;
    for (; at < end; at++) {
        unsigned c = (unsigned char)*at, lower = c | 0x20U;
        unsigned digit = c - '0' < 10 ? c - '0' : lower - 'a' < 6 ? lower - 'a' + 10 : 99;
        if (digit >= base)
            break;
        if (value > UINT32_MAX)
            return SIZE_MAX;
        value = value * base + digit;
    }
    return at == text ? SIZE_MAX : value;
}

static void read_line(const char *line, const char *end, struct framing *framing)
{
    const char *value;
    switch (*line | 0x20) {
    case 'c':
        if ((value = value_of(line, end, "content-length:"))) {
            framing->has_length = true;
            framing->length = number(value, end, 10);
        } else if ((value = value_of(line, end, "connection:"))) {
            framing->close = end - value >= 5 && strncasecmp(value, "close", 5) == 0;
        }
        break;
    case 't':
        if ((value = value_of(line, end, "transfer-encoding:")))
            framing->chunked = end - value >= 7 && strncasecmp(value, "chunked", 7) == 0;
        break;
    default:
        break;
    }
}

/* Walk the chunks; with `out`, copy what is in them. Returns the bytes they take, 0 if they are not
 * all there, SIZE_MAX if they are no chunks. */
static size_t walk_chunks(const char *at, size_t size, char *out, size_t room, size_t *copied)
{
    const char *begin = at, *end = at + size;
    bool last = false;
    for (;;) {
        const char *line_end = memmem(at, (size_t)(end - at), "\r\n", 2);
        if (!line_end)
            return 0;
        if (last) { /* trailers, up to an empty line */
            if (line_end == at)
                return (size_t)(line_end + 2 - begin);
            at = line_end + 2;
            continue;
        }
        size_t chunk = number(at, line_end, 16);
        at = line_end + 2;
        last = chunk == 0;
        if (chunk == SIZE_MAX)
            return SIZE_MAX;
        if (last)
            continue;
        if ((size_t)(end - at) < chunk + 2)
            return 0;
        size_t fits = !out ? 0 : chunk < room - *copied ? chunk : room - *copied;
        if (fits > 0)
            memcpy(out + *copied, at, fits);
        *copied += fits;
        at += chunk + 2;
    }
}

static enum reply_progress find_body_end(const char *bytes, size_t size, bool ended,
                                         const struct framing *framing, struct reply *reply)
{
    size_t rest = size - reply->body_at, copied = 0;
    reply->chunked = framing->chunked;
    reply->close = framing->close || ended;
    if (framing->chunked) {
        reply->body_size = walk_chunks(bytes + reply->body_at, rest, NULL, 0, &copied);
        if (reply->body_size == SIZE_MAX)
            return REPLY_GARBLED;
        return reply->body_size > 0 ? REPLY_COMPLETE : REPLY_PARTIAL;
    }
    if (framing->has_length) {
        reply->body_size = framing->length;
        if (framing->length == SIZE_MAX)
            return REPLY_GARBLED;
        return rest >= framing->length ? REPLY_COMPLETE : REPLY_PARTIAL;
    }
    bool bodiless = reply->status == 204 || reply->status == 304;
    reply->body_size = bodiless ? 0 : rest;
    return bodiless || ended ? REPLY_COMPLETE : REPLY_PARTIAL;
}

enum reply_progress reply_parse(const char *bytes, size_t size, bool ended, struct reply *reply)
{
    static const char BEGIN[] = "HTTP/1.";
    size_t shown = size < sizeof BEGIN - 1 ? size : sizeof BEGIN - 1;
    if (memcmp(bytes, BEGIN, shown) != 0)
        return REPLY_GARBLED;
    const char *head_end = memmem(bytes, size, "\r\n\r\n", 4);
    if (!head_end)
        return REPLY_PARTIAL;
    size_t status = head_end - bytes >= 12 ? number(bytes + 9, bytes + 12, 10) : SIZE_MAX;
    if (status < 100 || status > 599)
        return REPLY_GARBLED;
    struct framing framing = {.close = bytes[7] == '0'};
    const char *line = memmem(bytes, size, "\r\n", 2);
    while (line < head_end) {
        const char *end = memmem(line + 2, size - (size_t)(line + 2 - bytes), "\r\n", 2);
        read_line(line + 2, end, &framing);
        line = end;
    }
    reply->status = (int)status;
    reply->body_at = (size_t)(head_end + 4 - bytes);
    return find_body_end(bytes, size, ended, &framing, reply);
}

size_t reply_body(const char *bytes, const struct reply *reply, char *out, size_t room)
{
    size_t copied = 0;
    if (reply->chunked) {
        walk_chunks(bytes + reply->body_at, reply->body_size, out, room - 1, &copied);
    } else {
        copied = reply->body_size < room - 1 ? reply->body_size : room - 1;
        memcpy(out, bytes + reply->body_at, copied);
    }
    out[copied] = '\0';
    return copied;
}
