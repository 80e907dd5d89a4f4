/* The reply to an HTTP/1.1 request, in a buffer that may still be filling. Pure. */
#ifndef TEST_LIB_CLIENT_REPLY_H
#define TEST_LIB_CLIENT_REPLY_H

#include <stdbool.h>
#include <stddef.h>

enum reply_progress {
    REPLY_PARTIAL,  /* more must come */
    REPLY_COMPLETE, /* *reply is filled */
    REPLY_GARBLED   /* this is no HTTP reply */
};

struct reply {
    int status;
    bool close;       /* the server is going to close the connection */
    bool chunked;     /* the body below is still in its chunks */
    size_t body_at;   /* offset in the buffer */
    size_t body_size; /* bytes in the buffer, chunk headers included */
};

/* What is in the buffer? With the end of the stream (`ended`) a reply without a length is complete,
 * any other that is not is PARTIAL for ever. Bytes after the reply are ignored: the caller has one
 * request out at a time. */
enum reply_progress reply_parse(const char *bytes, size_t size, bool ended, struct reply *reply);

/* Copy the body of a COMPLETE reply, chunks joined, and end it with a NUL; what does not fit in
 * `room` is cut off. Returns the length. */
size_t reply_body(const char *bytes, const struct reply *reply, char *out, size_t room);

#endif
