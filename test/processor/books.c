#include "test/processor/books.h"

#include <stdlib.h>
#include <string.h>

#include "test/processor/memory.h"

/* 1024 shards: at ten million ids one has about ten thousand, and growing it
 * takes well under a millisecond. */
enum { SHARD_BITS = 10, SHARD_COUNT = 1 << SHARD_BITS, SHARD_FIRST_SIZE = 16 };

/* A requestedAt in the usual form is printed again from its time; only other
 * spellings are kept as text. */
enum { TEXT_USUAL = 0 };

struct entry {
    struct payment_id id;
    int64_t amount_cents;
    int64_t requested_at_us;
    int64_t inserted_at_us;
    uint64_t text_at; /* offset in texts, TEXT_USUAL if it is not kept */
    uint32_t seen_count;
    uint32_t edition;        /* inserted if this is the books' own edition */
    uint8_t amount_decimals; /* 0..2 */
};

struct slot {
    uint32_t tag;   /* hash bits not used for the shard: most misses are told by it */
    uint32_t entry; /* 1 + index, 0 = empty */
};

struct shard {
    struct slot *slots;
    uint32_t size; /* a power of two, or 0 */
    uint32_t used;
};

struct books {
    struct shard shards[SHARD_COUNT];
    struct entry *entries;
    size_t entry_count;
    size_t entry_room;
    uint32_t *inserted; /* indices of entries, in order of insertion */
    size_t inserted_count;
    size_t inserted_room;
    char *texts; /* NUL-terminated, one after the other; the first byte is unused */
    size_t texts_used;
    size_t texts_room;
    uint32_t edition;
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool is_hyphen_place(size_t at)
{
    return at == 8 || at == 13 || at == 18 || at == 23;
}

int payment_id_parse(const char *text, size_t length, struct payment_id *id)
{
    if (length != PAYMENT_ID_TEXT_SIZE - 1)
        return -1;
    size_t nibble = 0;
    for (size_t i = 0; i < length; i++) {
        if (is_hyphen_place(i)) {
            if (text[i] != '-')
                return -1;
            continue;
        }
        int value = hex_value(text[i]);
        if (value < 0)
            return -1;
        uint8_t high = nibble % 2 == 0 ? 0 : id->bytes[nibble / 2];
        id->bytes[nibble / 2] = (uint8_t)(high << 4 | value);
        nibble++;
    }
    return 0;
}

void payment_id_print(const struct payment_id *id, char out[PAYMENT_ID_TEXT_SIZE])
{
    static const char digits[] = "0123456789abcdef";
    size_t at = 0;
    for (size_t i = 0; i < sizeof(id->bytes); i++) {
        if (is_hyphen_place(at))
            out[at++] = '-';
        out[at++] = digits[id->bytes[i] >> 4];
        out[at++] = digits[id->bytes[i] & 15];
    }
    out[at] = '\0';
}

/* Ids need not be random, so both halves are mixed (the finalizer of MurmurHash3). */
static uint64_t hash_of(const struct payment_id *id)
{
    uint64_t halves[2];
    memcpy(halves, id->bytes, sizeof(halves));
    uint64_t h = halves[0] ^ (halves[1] * UINT64_C(0x9e3779b97f4a7c15));
    h = (h ^ h >> 33) * UINT64_C(0xff51afd7ed558ccd);
    h = (h ^ h >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return h ^ h >> 33;
}

struct books *books_create(void)
{
    struct books *books = memory_new(sizeof(*books));
    books->texts_used = 1;
    books->edition = 1;
    return books;
}

void books_destroy(struct books *books)
{
    for (size_t i = 0; i < SHARD_COUNT; i++)
        free(books->shards[i].slots);
    free(books->entries);
    free(books->inserted);
    free(books->texts);
    free(books);
}

/* The slot of this id, or the empty one where it belongs. The shard has room. */
static struct slot *slot_of(const struct books *books, const struct shard *shard,
                            const struct payment_id *id, uint32_t tag)
{
    for (uint32_t at = tag & (shard->size - 1);; at = (at + 1) & (shard->size - 1)) {
        struct slot *slot = &shard->slots[at];
        if (slot->entry == 0)
            return slot;
        if (slot->tag == tag && memcmp(&books->entries[slot->entry - 1].id, id, sizeof(*id)) == 0)
            return slot;
    }
}

static void shard_grow(struct shard *shard)
{
    struct shard grown = {.size = shard->size == 0 ? SHARD_FIRST_SIZE : shard->size * 2,
                          .used = shard->used};
    grown.slots = memory_new(grown.size * sizeof(*grown.slots));
    for (uint32_t i = 0; i < shard->size; i++) {
        struct slot slot = shard->slots[i];
        if (slot.entry == 0)
            continue;
        uint32_t at = slot.tag & (grown.size - 1);
        while (grown.slots[at].entry != 0)
            at = (at + 1) & (grown.size - 1);
        grown.slots[at] = slot;
    }
    free(shard->slots);
    *shard = grown;
}

static const struct entry *find(const struct books *books, const struct payment_id *id)
{
    uint64_t hash = hash_of(id);
    const struct shard *shard = &books->shards[hash >> (64 - SHARD_BITS)];
    if (shard->size == 0)
        return NULL;
    const struct slot *slot = slot_of(books, shard, id, (uint32_t)hash);
    return slot->entry == 0 ? NULL : &books->entries[slot->entry - 1];
}

static struct entry *find_or_add(struct books *books, const struct payment_id *id)
{
    uint64_t hash = hash_of(id);
    struct shard *shard = &books->shards[hash >> (64 - SHARD_BITS)];
    if (shard->used * 4 >= shard->size * 3)
        shard_grow(shard);
    struct slot *slot = slot_of(books, shard, id, (uint32_t)hash);
    if (slot->entry != 0)
        return &books->entries[slot->entry - 1];
    if (books->entry_count == books->entry_room) {
        books->entry_room = books->entry_room == 0 ? 4096 : books->entry_room * 2;
        books->entries = memory_resize(books->entries, books->entry_room, sizeof(*books->entries));
    }
    struct entry *entry = &books->entries[books->entry_count++];
    *entry = (struct entry){.id = *id};
    *slot = (struct slot){.tag = (uint32_t)hash, .entry = (uint32_t)books->entry_count};
    shard->used++;
    return entry;
}

void books_note_seen(struct books *books, const struct payment_id *id)
{
    find_or_add(books, id)->seen_count++;
}

uint32_t books_seen(const struct books *books, const struct payment_id *id)
{
    const struct entry *entry = find(books, id);
    return entry == NULL ? 0 : entry->seen_count;
}

void books_forget_seen(struct books *books)
{
    for (size_t i = 0; i < books->entry_count; i++)
        books->entries[i].seen_count = 0;
}

static uint64_t keep_text(struct books *books, const struct payment *payment)
{
    char usual[INSTANT_TEXT_MAX];
    instant_print_ms(payment->requested_at_us, usual);
    if (strcmp(usual, payment->requested_at_text) == 0)
        return TEXT_USUAL;
    if (books->texts_room - books->texts_used < INSTANT_TEXT_MAX || books->texts_room == 0) {
        books->texts_room = books->texts_room == 0 ? 65536 : books->texts_room * 2;
        books->texts = memory_resize(books->texts, books->texts_room, 1);
    }
    uint64_t at = books->texts_used;
    size_t size = strlen(payment->requested_at_text) + 1;
    memcpy(books->texts + at, payment->requested_at_text, size);
    books->texts_used += size;
    return at;
}

bool books_insert(struct books *books, const struct payment *payment)
{
    struct entry *entry = find_or_add(books, &payment->id);
    if (entry->edition == books->edition)
        return false;
    if (books->inserted_count == books->inserted_room) {
        books->inserted_room = books->inserted_room == 0 ? 4096 : books->inserted_room * 2;
        books->inserted =
            memory_resize(books->inserted, books->inserted_room, sizeof(*books->inserted));
    }
    books->inserted[books->inserted_count++] = (uint32_t)(entry - books->entries);
    entry->amount_cents = payment->amount_cents;
    entry->amount_decimals = (uint8_t)payment->amount_decimals;
    entry->requested_at_us = payment->requested_at_us;
    entry->inserted_at_us = instant_now_us();
    entry->text_at = keep_text(books, payment);
    entry->edition = books->edition;
    return true;
}

static void fill(const struct books *books, const struct entry *entry, struct payment *payment)
{
    payment->id = entry->id;
    payment->amount_cents = entry->amount_cents;
    payment->amount_decimals = entry->amount_decimals;
    payment->requested_at_us = entry->requested_at_us;
    payment->inserted_at_us = entry->inserted_at_us;
    if (entry->text_at == TEXT_USUAL)
        instant_print_ms(entry->requested_at_us, payment->requested_at_text);
    else
        memccpy(payment->requested_at_text, books->texts + entry->text_at, '\0', INSTANT_TEXT_MAX);
}

bool books_find(const struct books *books, const struct payment_id *id, struct payment *payment)
{
    const struct entry *entry = find(books, id);
    if (entry == NULL || entry->edition != books->edition)
        return false;
    fill(books, entry, payment);
    return true;
}

size_t books_count(const struct books *books)
{
    return books->inserted_count;
}

void books_get(const struct books *books, size_t nth, struct payment *payment)
{
    fill(books, &books->entries[books->inserted[nth]], payment);
}

struct books_sum books_sum(const struct books *books, int64_t from_us, int64_t to_us)
{
    struct books_sum sum = {0};
    for (size_t i = 0; i < books->inserted_count; i++) {
        const struct entry *entry = &books->entries[books->inserted[i]];
        if (entry->requested_at_us < from_us || entry->requested_at_us > to_us)
            continue;
        sum.count++;
        sum.cents += entry->amount_cents;
    }
    return sum;
}

void books_purge(struct books *books)
{
    books->inserted_count = 0;
    books->texts_used = 1;
    books->edition++;
}

uint32_t books_edition(const struct books *books)
{
    return books->edition;
}
