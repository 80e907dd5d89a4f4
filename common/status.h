/* How an operation went, and the sentence that says why it did not go well. */
#ifndef PAYRING_STATUS_H
#define PAYRING_STATUS_H

#include <stdarg.h>
#include <stdio.h>

enum status {
    STATUS_OK = 0,
    STATUS_INVALID,     /* the caller's input breaks a rule */
    STATUS_NOT_FOUND,   /* no such thing */
    STATUS_EXISTS,      /* it is there already */
    STATUS_FULL,        /* no room; nothing was changed */
    STATUS_BUSY,        /* somebody else holds it */
    STATUS_TIMED_OUT,   /* the deadline passed first */
    STATUS_UNSUPPORTED, /* another version, or not on this system */
    STATUS_DAMAGED,     /* what is stored contradicts itself */
    STATUS_SYSTEM,      /* the system refused: memory, descriptors, permissions */
};

/* One sentence for the person who has to act on it. */
struct explain {
    char text[512];
};

static inline void explain_in(struct explain *why, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

static inline void explain_in(struct explain *why, const char *format, ...)
{
    va_list arguments;

    if (why == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(why->text, sizeof why->text, format, arguments);
    va_end(arguments);
}

/* Write the sentence (cut off where the text is full) and be the status, so that a failure is one
 * statement: `return explain(why, STATUS_INVALID, "...", ...)`. A NULL explain is allowed. A macro,
 * so that the compiler sees which status it is. */
#define explain(why, status, ...) (explain_in((why), __VA_ARGS__), (status))

#endif
