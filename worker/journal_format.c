#include "worker/journal_format.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/crc32c.h"

/* ------------------------------------------------------------------- names */

void journal_format_segment_name(char name[static JOURNAL_NAME_SIZE], uint64_t number)
{
    snprintf(name, JOURNAL_NAME_SIZE, "journal-%016" PRIx64 ".pj", number);
}

void journal_format_digest_name(char name[static JOURNAL_NAME_SIZE], uint64_t last)
{
    snprintf(name, JOURNAL_NAME_SIZE, "digest-%016" PRIx64 ".pj", last);
}

/* prefix, 16 hexadecimal digits of lower case, ".pj" */
static bool is_name(const char *name, const char *prefix, uint64_t *number)
{
    static const char digits[] = "0123456789abcdef";
    size_t length = strlen(prefix);
    if (strncmp(name, prefix, length) != 0 || strlen(name) != length + 16 + 3 ||
        strcmp(name + length + 16, ".pj") != 0)
        return false;
    *number = 0;
    for (size_t i = length; i < length + 16; i++) {
        const char *digit = strchr(digits, name[i]);
        if (!digit)
            return false;
        *number = *number << 4 | (uint64_t)(digit - digits);
    }
    return true;
}

bool journal_format_is_segment_name(const char *name, uint64_t *number)
{
    return is_name(name, "journal-", number);
}

bool journal_format_is_digest_name(const char *name, uint64_t *last)
{
    return is_name(name, "digest-", last);
}

/* ---------------------------------------------------------------- checksums */

/* Over everything behind the checksum field, begun with what is before it and `seed`. */
#define CHECKSUM(header, seed)                                                                     \
    crc32c((seed), (const uint8_t *)(header) + offsetof(__typeof__(*(header)), checksum) + 4,      \
           sizeof *(header)-offsetof(__typeof__(*(header)), checksum) - 4)

/* ----------------------------------------------------------------- segments */

void journal_format_segment_header(struct journal_segment_header *header,
                                   const struct journal_identity *identity, uint64_t number,
                                   uint64_t first_sequence, uint32_t records, int64_t created_at_ms)
{
    *header = (struct journal_segment_header){
        .magic = JOURNAL_SEGMENT_MAGIC,
        .version = JOURNAL_VERSION,
        .lane = (uint16_t)identity->lane,
        .region_id_hi = identity->region_id_hi,
        .region_id_lo = identity->region_id_lo,
        .number = number,
        .first_sequence = first_sequence,
        .records = records,
        .created_at_ms = created_at_ms,
    };
    header->checksum = CHECKSUM(header, 0);
}

/* What a segment's and a digest's header have in common. */
static enum status check_common(bool magic, bool checksum, unsigned version, bool ours,
                                struct explain *why)
{
    if (!magic)
        return explain(why, STATUS_DAMAGED, "it does not begin like one");
    if (version != JOURNAL_VERSION)
        return explain(why, STATUS_UNSUPPORTED,
                       "it has version %u and this program speaks version %u: use the programs "
                       "that wrote it",
                       version, JOURNAL_VERSION);
    if (!checksum)
        return explain(why, STATUS_DAMAGED, "the checksum of its header does not fit");
    if (!ours)
        return explain(why, STATUS_DAMAGED, "it belongs to another region, lane or place");
    return STATUS_OK;
}

static bool is_of(const struct journal_identity *identity, uint64_t hi, uint64_t lo, unsigned lane)
{
    return hi == identity->region_id_hi && lo == identity->region_id_lo && lane == identity->lane;
}

enum status journal_format_check_segment(const struct journal_segment_header *header,
                                         const struct journal_identity *identity, uint64_t number,
                                         struct explain *why)
{
    bool ours = is_of(identity, header->region_id_hi, header->region_id_lo, header->lane) &&
                header->number == number && header->records > 0 && header->first_sequence > 0;
    return check_common(header->magic == JOURNAL_SEGMENT_MAGIC,
                        header->checksum == CHECKSUM(header, 0), header->version, ours, why);
}

void journal_format_pack(struct journal_record *record, const struct journal_entry *entry,
                         uint32_t seed)
{
    const struct journal_payment *payment = &entry->payment;
    uint64_t behind = entry->sequence - entry->durable;
    CHECK(entry->kind > JOURNAL_NOTHING && entry->kind < JOURNAL_KINDS);
    CHECK(entry->sequence > entry->durable && entry->sequence <= JOURNAL_SEQUENCE_MAX);
    CHECK(behind <= JOURNAL_BEHIND_MAX && payment->row <= JOURNAL_ROW_MAX);
    CHECK(payment->processor < SHM_PROCESSORS && payment->flags <= UINT8_MAX);
    *record = (struct journal_record){
        .kind = (uint8_t)entry->kind,
        .state_and_processor = (uint8_t)(payment->processor << 4 | (unsigned)payment->state),
        .flags = (uint8_t)payment->flags,
        .row_high = (uint8_t)(payment->row >> 32),
        .sequence_and_behind = behind << 48 | entry->sequence,
        .id_hi = payment->id.hi,
        .id_lo = payment->id.lo,
        .amount_cents = payment->amount_cents,
        .accepted_at_ms = payment->accepted_at_ms,
        .requested_at_us = payment->requested_at_us,
        .purge_generation = payment->purge_generation,
        .row_low = (uint32_t)payment->row,
    };
    record->checksum = CHECKSUM(record, seed);
}

/* What the kind says of the state: a record whose checksum fits and that still
 * contradicts itself was written by no version of this program. */
static bool fits(enum journal_kind kind, enum payment_state state)
{
    switch (kind) {
    case JOURNAL_ACCEPTED:
    case JOURNAL_UNBOUND:
        return state == PAYMENT_QUEUED;
    case JOURNAL_BOUND:
        return state == PAYMENT_SENT;
    case JOURNAL_SETTLED:
        return state == PAYMENT_SETTLED;
    case JOURNAL_ENDED:
        return state >= PAYMENT_DUPLICATE && state <= PAYMENT_REJECTED;
    case JOURNAL_DECIDED:
        return state == PAYMENT_QUEUED || (state >= PAYMENT_SETTLED && state <= PAYMENT_REJECTED);
    case JOURNAL_CARRIED:
        return state == PAYMENT_QUEUED || state == PAYMENT_SENT;
    case JOURNAL_PURGED:
    case JOURNAL_OPENED:
        return state == PAYMENT_FREE;
    default:
        return false;
    }
}

bool journal_format_unpack(struct journal_entry *entry, const struct journal_record *record,
                           uint32_t seed, uint64_t sequence)
{
    uint64_t behind = record->sequence_and_behind >> 48;
    *entry = (struct journal_entry){
        .kind = record->kind,
        .sequence = record->sequence_and_behind & JOURNAL_SEQUENCE_MAX,
        .payment =
            {
                .state = record->state_and_processor & 15u,
                .processor = record->state_and_processor >> 4,
                .flags = record->flags,
                .id = {.hi = record->id_hi, .lo = record->id_lo},
                .amount_cents = record->amount_cents,
                .accepted_at_ms = record->accepted_at_ms,
                .requested_at_us = record->requested_at_us,
                .purge_generation = record->purge_generation,
                .row = (uint64_t)record->row_high << 32 | record->row_low,
            },
    };
    if (record->checksum != CHECKSUM(record, seed) || entry->sequence != sequence || behind == 0 ||
        behind > sequence)
        return false;
    entry->durable = sequence - behind;
    return fits(entry->kind, entry->payment.state) && entry->payment.processor < SHM_PROCESSORS;
}

/* ------------------------------------------------------------------ digests */

void journal_format_seal_digest(struct journal_digest_header *header,
                                const struct journal_identity *identity)
{
    header->magic = JOURNAL_DIGEST_MAGIC;
    header->version = JOURNAL_VERSION;
    header->lane = (uint16_t)identity->lane;
    header->region_id_hi = identity->region_id_hi;
    header->region_id_lo = identity->region_id_lo;
    header->checksum = CHECKSUM(header, 0);
}

/* Counts that a body of less than 2^60 bytes can have. */
#define COUNT_MAX (UINT64_C(1) << 52)

enum status journal_format_check_digest(const struct journal_digest_header *header,
                                        const struct journal_identity *identity, uint64_t last,
                                        struct explain *why)
{
    bool ours = is_of(identity, header->region_id_hi, header->region_id_lo, header->lane) &&
                header->last == last && header->first <= last && header->next_sequence > 0 &&
                header->rows <= COUNT_MAX && header->ids <= COUNT_MAX &&
                header->images <= COUNT_MAX;
    return check_common(header->magic == JOURNAL_DIGEST_MAGIC,
                        header->checksum == CHECKSUM(header, 0), header->version, ours, why);
}

uint64_t journal_format_digest_body(const struct journal_digest_header *header)
{
    return header->rows * sizeof(uint64_t) + header->ids * sizeof(struct uuid) +
           header->images * sizeof(struct journal_record);
}
