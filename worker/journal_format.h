/* The bytes of a lane's journal: segments of 64-byte records, and digests.
 * docs/JOURNAL.md draws them.
 *
 *   lane-<n>/digest-<last>.pj      immutable: what segments `first`..`last` said
 *   lane-<n>/journal-<number>.pj   records, appended; the last one is open
 *   lane-<n>/<either>.new          being made; nobody reads it
 *
 * Every record of a payment is an image of the whole payment as it stands after
 * the step that it tells of: whoever reads takes the last image of an id, and
 * needs nothing that an older record said.
 *
 * Little endian, like the region. A record's checksum begins with its segment's,
 * and its sequence number is given by its place: a record that was written to
 * another place, or is left from another file, is no record here.
 */
#ifndef PAYRING_WORKER_JOURNAL_FORMAT_H
#define PAYRING_WORKER_JOURNAL_FORMAT_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/status.h"
#include "common/uuid.h"
#include "shm/shm_layout.h"

#define JOURNAL_SEGMENT_MAGIC UINT64_C(0x314c4e4a52594150) /* "PAYRJNL1" */
#define JOURNAL_DIGEST_MAGIC  UINT64_C(0x3147494452594150) /* "PAYRDIG1" */
#define JOURNAL_VERSION       1u
#define JOURNAL_RECORD_SIZE   64u

/* Where a file name's number stands, and how long names are, with NUL. */
#define JOURNAL_NAME_SIZE 40

enum journal_kind {
    JOURNAL_NOTHING = 0, /* never written */
    JOURNAL_ACCEPTED = 1,
    JOURNAL_BOUND = 2,   /* before its request is sent */
    JOURNAL_UNBOUND = 3, /* a definite no: back in the queue */
    JOURNAL_SETTLED = 4, /* names its ledger row */
    JOURNAL_ENDED = 5,   /* DUPLICATE, CONFLICT or REJECTED */
    JOURNAL_DECIDED = 6, /* by an operator: as SETTLED, ENDED or UNBOUND, by the image's state */
    JOURNAL_CARRIED = 7, /* not ended, told again so that older segments can go */
    /* no payments: */
    JOURNAL_PURGED = 8, /* purge_generation applied; rows below `row` no longer count */
    JOURNAL_OPENED = 9, /* a new owner goes on: `row` rows are published, requested_at_us is
                           lowest_bound_us, amount_cents the lane's epoch */
    JOURNAL_KINDS,
};

/* `flags` of OPENED and of a digest: what was acknowledged may be missing, of this life of the
 * region or of the one that it was made from. Once said of a journal it is said of all that
 * follows. */
#define JOURNAL_MAY_MISS 1u

/* A payment as a record tells of it. `row` is the number of its first ledger row
 * plus 1, 0 = none; of PURGED and OPENED it is a count. */
struct journal_payment {
    enum payment_state state;
    unsigned processor;
    unsigned flags; /* enum payment_flag */
    struct uuid id;
    int64_t amount_cents;
    int64_t accepted_at_ms;
    int64_t requested_at_us;
    uint32_t purge_generation;
    uint64_t row;
};

struct journal_entry {
    enum journal_kind kind;
    uint64_t sequence; /* from 1 on, over all segments */
    uint64_t durable;  /* all up to this one were known to be on disk when it was written */
    struct journal_payment payment;
};

struct journal_record {
    uint32_t checksum; /* over the other 60 bytes, begun with the segment header's */
    uint8_t kind;
    uint8_t state_and_processor; /* processor << 4 | state */
    uint8_t flags;
    uint8_t row_high;             /* bits 39..32 */
    uint64_t sequence_and_behind; /* how far `durable` was behind << 48 | sequence */
    uint64_t id_hi, id_lo;
    int64_t amount_cents;
    int64_t accepted_at_ms;
    int64_t requested_at_us;
    uint32_t purge_generation;
    uint32_t row_low;
};
static_assert(sizeof(struct journal_record) == JOURNAL_RECORD_SIZE, "record");

/* As far as `durable` may stay behind: the writer stops taking in long before. */
#define JOURNAL_BEHIND_MAX   UINT16_MAX
#define JOURNAL_SEQUENCE_MAX ((UINT64_C(1) << 48) - 1)
#define JOURNAL_ROW_MAX      ((UINT64_C(1) << 40) - 1)

/* Whose journal it is. */
struct journal_identity {
    uint64_t region_id_hi, region_id_lo;
    unsigned lane;
};

/* The first record of a segment. */
struct journal_segment_header {
    uint64_t magic;
    uint32_t checksum; /* over the rest */
    uint16_t version;
    uint16_t lane;
    uint64_t region_id_hi, region_id_lo;
    uint64_t number;
    uint64_t first_sequence;
    uint32_t records; /* that it has room for, this one not counted */
    uint32_t reserved;
    int64_t created_at_ms; /* for people */
};
static_assert(sizeof(struct journal_segment_header) == JOURNAL_RECORD_SIZE, "segment header");

/* In front of a digest: then `ids` ids of 16 bytes (hi, lo) in the order of
 * acceptance, `rows` ledger words, and `images` records (their checksum begins with 0,
 * their sequence is their place, from 1 on). */
struct journal_digest_header {
    uint64_t magic;
    uint32_t checksum; /* over the rest of this header */
    uint16_t version;
    uint16_t lane;
    uint64_t region_id_hi, region_id_lo;
    uint64_t first, last; /* segments that it stands for; 0 is the beginning, before all of them */
    uint64_t next_sequence; /* of the record after them */
    int64_t base_time_ms;   /* what the ledger words count from */
    uint64_t row_first;     /* the number of the first word below */
    uint64_t ids, rows, images;
    uint64_t first_row;  /* words below were purged */
    uint64_t filed_rows; /* words below are in the ledger's files, for good (shm_archive.h) */
    int64_t lowest_bound_us;
    uint32_t purge_generation;
    uint32_t body_checksum; /* over all that follows */
    uint32_t lanes;         /* of the region */
    uint32_t segment_rows;  /* of its ledger: where fillers are */
    uint64_t ledger_id_hi, ledger_id_lo;
    uint64_t flags; /* JOURNAL_MAY_MISS */
    uint64_t reserved[4];
};
static_assert(sizeof(struct journal_digest_header) == 192, "digest header");

/* ---- names ---- */

void journal_format_segment_name(char name[static JOURNAL_NAME_SIZE], uint64_t number);
void journal_format_digest_name(char name[static JOURNAL_NAME_SIZE], uint64_t last);
/* false: not such a name. */
bool journal_format_is_segment_name(const char *name, uint64_t *number);
bool journal_format_is_digest_name(const char *name, uint64_t *last);

/* ---- segments ---- */

void journal_format_segment_header(struct journal_segment_header *, const struct journal_identity *,
                                   uint64_t number, uint64_t first_sequence, uint32_t records,
                                   int64_t created_at_ms);

/* STATUS_UNSUPPORTED: another version. STATUS_DAMAGED: anything else that is not
 * the header of segment `number` of this journal. */
enum status journal_format_check_segment(const struct journal_segment_header *,
                                         const struct journal_identity *, uint64_t number,
                                         struct explain *why);

/* Pack one entry; `seed` is its segment's header checksum. CHECKs what a record cannot hold. */
void journal_format_pack(struct journal_record *, const struct journal_entry *, uint32_t seed);

/* false: no whole record of that sequence number (never written, torn, damaged). */
bool journal_format_unpack(struct journal_entry *, const struct journal_record *, uint32_t seed,
                           uint64_t sequence);

/* ---- digests ---- */

/* Stamp a header whose counts, scalars and body_checksum are set. */
void journal_format_seal_digest(struct journal_digest_header *, const struct journal_identity *);
enum status journal_format_check_digest(const struct journal_digest_header *,
                                        const struct journal_identity *, uint64_t last,
                                        struct explain *why);
/* Bytes after the header. */
uint64_t journal_format_digest_body(const struct journal_digest_header *);

#endif
