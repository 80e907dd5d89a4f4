/* The books: every payment that was inserted, and every id that was ever POSTed.
 *
 * One entry per id, found through a hash table; inserted entries are also
 * listed in the order of their insertion. The table is cut into shards that
 * grow one by one, so that growing to ten million ids never stops the server
 * for longer than one small shard takes. One thread.
 */
#ifndef PROCESSOR_BOOKS_H
#define PROCESSOR_BOOKS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test/processor/amount.h"
#include "test/processor/instant.h"

/* A UUID as 16 bytes in the order they are written. */
struct payment_id {
    uint8_t bytes[16];
};

enum { PAYMENT_ID_TEXT_SIZE = 37 };

/* Read the 36 characters of a UUID, either case. -1 if it is not one. */
int payment_id_parse(const char *text, size_t length, struct payment_id *id);

/* Print it in lower case, with a NUL. */
void payment_id_print(const struct payment_id *id, char out[PAYMENT_ID_TEXT_SIZE]);

struct payment {
    struct payment_id id;
    int64_t amount_cents;
    unsigned amount_decimals; /* how many the sender wrote, at most 2 */
    int64_t requested_at_us;
    int64_t inserted_at_us;                   /* filled in by books_insert */
    char requested_at_text[INSTANT_TEXT_MAX]; /* as it was sent, NUL at its end */
};

struct books;

/* Empty books; ends with books_destroy. */
struct books *books_create(void);
void books_destroy(struct books *books);

/* Count one POST of this id, whatever becomes of it. */
void books_note_seen(struct books *books, const struct payment_id *id);

/* How many POSTs of this id were counted since books_forget_seen. */
uint32_t books_seen(const struct books *books, const struct payment_id *id);
void books_forget_seen(struct books *books);

/* Insert a copy of the payment. False: its id is in the books already, and
 * nothing was changed. */
bool books_insert(struct books *books, const struct payment *payment);

/* Fill *payment from the books. False: no such id was inserted. */
bool books_find(const struct books *books, const struct payment_id *id, struct payment *payment);

/* How many payments are in the books, and the nth of them by insertion. */
size_t books_count(const struct books *books);
void books_get(const struct books *books, size_t nth, struct payment *payment);

struct books_sum {
    int64_t count;
    int128_t cents;
};

/* Count and sum of the payments with from <= requested_at <= to. */
struct books_sum books_sum(const struct books *books, int64_t from_us, int64_t to_us);

/* Empty the books. The POST counts stay. */
void books_purge(struct books *books);

/* Goes up by one with each purge: whoever walks through the books in several
 * turns can tell that they are not the same any more. */
uint32_t books_edition(const struct books *books);

#endif
