/* The JSON texts of payments: what clients send us, what we send the processors and what they
 * answer, and the summary. Reading is strict (RFC 8259 and valid UTF-8); two members of one name
 * are refused however they are spelled, since two readers could take different ones. */
#ifndef PAYRING_PAYMENT_JSON_H
#define PAYRING_PAYMENT_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/status.h"
#include "common/uuid.h"

#define PAYMENT_JSON_DEPTH_MAX    16
#define PAYMENT_JSON_REQUEST_SIZE 160 /* the longest takes 129 with its NUL */
#define PAYMENT_JSON_SUMMARY_SIZE 256 /* the longest takes 211 with its NUL */

/* A reader: the parser's buffers, used again from text to text. One thread at a time. */
struct payment_json;

struct payment_json *payment_json_create(void);   /* NULL: no memory */
void payment_json_destroy(struct payment_json *); /* NULL is allowed */

/* What is wrong with a text. Both are constants of plain ASCII without quotes or backslashes,
 * ready to be put into a JSON string. */
struct payment_json_fault {
    const char *field;  /* "body", "correlationId", "amount", ... */
    const char *reason; /* "must be a number", ... */
};

/* What a client posts. */
struct payment_request {
    struct uuid id;
    int64_t amount_cents; /* 1..MONEY_MAX_CENTS */
};

/* What a processor has in its book. */
struct payment_stored {
    struct uuid id;
    int64_t amount_cents; /* 0: an amount that no payment of ours can have */
    int64_t requested_at_us;
    bool requested_at_is_exact; /* false: digits below the microsecond were cut off */
};

/* What a processor says of itself. */
struct payment_health {
    bool failing;
    int64_t min_response_ms; /* 0 or more */
};

/* Read one text. Additional members are ignored. A result is written for STATUS_OK only.
 *
 * STATUS_INVALID  the fault says what is wrong (NULL allowed)
 * STATUS_SYSTEM   no memory
 */
enum status payment_json_parse_request(struct payment_json *, const char *text, size_t length,
                                       struct payment_request *, struct payment_json_fault *);
enum status payment_json_parse_stored(struct payment_json *, const char *text, size_t length,
                                      struct payment_stored *, struct payment_json_fault *);
enum status payment_json_parse_health(struct payment_json *, const char *text, size_t length,
                                      struct payment_health *, struct payment_json_fault *);

/* Is this what a processor says of a payment that it has inserted: one whole JSON object with a
 * message? A reply that was cut off is not, and whatever else speaks JSON in its place (a proxy
 * that says 200 and {"error":...}) does not say so. No memory: false, which is never wrong. */
bool payment_json_says_processed(struct payment_json *, const char *text, size_t length);

/* {"correlationId":"…","amount":19.90,"requestedAt":"2025-07-15T12:34:56.000Z"} and a NUL;
 * returns the length. The same payment and time always make the same bytes. */
size_t payment_json_write_request(char text[static PAYMENT_JSON_REQUEST_SIZE],
                                  const struct uuid *id, int64_t amount_cents,
                                  int64_t requested_at_ms);

/* Payments settled with each processor: 0 = default, 1 = fallback. */
struct payment_summary {
    uint64_t payments[2];
    unsigned __int128 sum_cents[2];
};

/* {"default":{"totalRequests":1,"totalAmount":19.90},"fallback":{…}} and a NUL; returns the
 * length. */
size_t payment_json_write_summary(char text[static PAYMENT_JSON_SUMMARY_SIZE],
                                  const struct payment_summary *);

#endif
