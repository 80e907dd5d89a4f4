/* The bytes of the shared region: types and assertions, nothing else.
 *
 *   +-----------------+ 0
 *   | header          |  identity and geometry        one page
 *   +-----------------+
 *   | purge           |  the purge generation         one page
 *   +-----------------+
 *   | health          |  the processors' own reports  one page
 *   +-----------------+
 *   | operator        |  intake's stop, decisions     one page
 *   +-----------------+
 *   | bells           |  what sleepers sleep at       one page
 *   +-----------------+
 *   | api 0           |  control page, then one ring of slots per lane
 *   | api 1 ...       |
 *   +-----------------+
 *   | lane 0          |  control pages, payment table, index, filter,
 *   | lane 1 ...      |  index of times, ledger rows
 *   +-----------------+ total_size
 *
 * Who writes what (everybody may read everything):
 *
 *   area            sole writer                        published by
 *   header          the creator; then whoever removes  `state`, release
 *   purge           holder of the purge lease          `generation`, seq_cst
 *   health          holder of the health lease         each word, release
 *   operator        holder of the operator lease       `intake`, `request`, seq_cst
 *   bells           whoever rings (no lease)           each word, added to
 *   api[a] control  tenant of API slot a               `tail[]`, release
 *   api[a] rings    tenant of API slot a               `tail[]`, release
 *   lane[l] control owner of lane l                    each word, as noted
 *   lane[l] rest    owner of lane l                    record `state`, ledger `row_count`
 *
 * A writer is whoever holds the area's lease: a kernel-held lock on one byte
 * of the region's file (shm_lease.h). Pages of different writers never mix,
 * so that each process maps only its own writable, and the bells.
 *
 * Every word that another process reads while it may change is a C11 atomic.
 * Locations are offsets from the region's first byte. A change of any struct
 * here changes SHM_LAYOUT_FINGERPRINT or needs a new SHM_LAYOUT_VERSION.
 */
#ifndef PAYRING_SHM_LAYOUT_H
#define PAYRING_SHM_LAYOUT_H

#include <assert.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define SHM_MAGIC          UINT64_C(0x474e495259415000) /* "\0PAYRING", little endian */
#define SHM_LAYOUT_VERSION 5u

#define SHM_PAGE_SIZE       4096u
#define SHM_CACHE_LINE_SIZE 64u
#define SHM_API_SLOTS_MAX   16u
#define SHM_LANES_MAX       16u
#define SHM_PROCESSORS      2u /* 0 = default, 1 = fallback */

/* Rows of one slice, block and group of the time index: 16 of each make the next. A
 * segment of the ledger is so many whole blocks at most; its own entry is the highest
 * level. One that is not whole groups has none, and its blocks are looked at instead.
 * Smaller ones are the simulator's (test/sim/step.h), which is to see full ones. */
#ifndef SHM_BLOCK_ROWS
#define SHM_SLICE_ROWS         256u
#define SHM_BLOCK_ROWS         4096u
#define SHM_GROUP_ROWS         65536u
#define SHM_SEGMENT_BLOCKS_MAX 256u
#endif
#define SHM_SEGMENT_ROWS_MAX (SHM_BLOCK_ROWS * SHM_SEGMENT_BLOCKS_MAX)

/* Rows that one unsettled payment may still need: an escape takes two. A filler
 * needs none of its own: segments begin at even rows, so one that ends with an
 * odd row left holds a plain row, which took one less than was reserved. */
#define SHM_ROWS_PER_PAYMENT_MAX 2u

/* ------------------------------------------------------------------ header */

enum shm_region_state {
    SHM_REGION_READY = 1,   /* set before the region has a name: nobody sees another value */
    SHM_REGION_REMOVED = 2, /* set with every lease held, before the name goes away */
};

/* How many of what. Chosen at creation, never changed. */
struct shm_geometry {
    uint32_t api_slots;           /* 1..SHM_API_SLOTS_MAX */
    uint32_t lanes;               /* 1..SHM_LANES_MAX */
    uint32_t ring_slots;          /* of one ring; a power of two */
    uint32_t payment_slots;       /* records of one lane's payment table */
    uint32_t ledger_rows;         /* of one lane, in memory; at most 2^31 */
    uint32_t horizon_payments;    /* ids one lane remembers at least after recycling */
    uint32_t ledger_segment_rows; /* a multiple of SHM_BLOCK_ROWS that divides ledger_rows */
};
static_assert(sizeof(struct shm_geometry) == 28, "geometry");

/* What a 2xx means. Chosen at creation, never changed (docs/JOURNAL.md). */
enum shm_durability {
    SHM_DURABILITY_MEMORY = 0, /* it is in the region */
    SHM_DURABILITY_ASYNC = 1,  /* and on disk within an interval */
    SHM_DURABILITY_SYNC = 2,   /* and on disk */
};

/* Where its contents came from. */
enum shm_origin {
    SHM_ORIGIN_EMPTY = 0,
    SHM_ORIGIN_JOURNAL = 1,       /* of which nothing that was acknowledged is missing */
    SHM_ORIGIN_JOURNAL_ASYNC = 2, /* of which the end may be missing */
};

struct shm_header {
    uint64_t magic;
    uint32_t layout_version;
    uint32_t durability;         /* enum shm_durability */
    uint64_t layout_fingerprint; /* SHM_LAYOUT_FINGERPRINT of the creator's build */
    uint64_t total_size;         /* bytes */
    uint64_t region_id_hi;       /* random: no two regions share it */
    uint64_t region_id_lo;
    int64_t created_at_ms; /* wall clock, ms since the Unix epoch */
    int64_t base_time_ms;  /* what packed ledger rows count from: a day before its creation */
    struct shm_geometry geometry;
    uint32_t reserved_1;
    uint64_t created_at_monotonic_ms; /* for the age of the region; dies with the boot, as the
                                         region does */
    _Atomic uint32_t state;           /* enum shm_region_state */
    uint32_t origin;                  /* enum shm_origin */
    /* Of the ledger. It is in all its files, and older than the region that adopted them. */
    uint64_t ledger_id_hi;
    uint64_t ledger_id_lo;
};
static_assert(offsetof(struct shm_header, geometry) == 64, "header");
static_assert(offsetof(struct shm_header, state) == 104, "header");
static_assert(sizeof(struct shm_header) <= SHM_PAGE_SIZE, "header");

/* ------------------------------------------------------------------- purge */

struct shm_purge {
    _Atomic uint64_t generation; /* starts at 0, goes up by one with each purge */
};
static_assert(sizeof(struct shm_purge) <= SHM_PAGE_SIZE, "purge");

/* ------------------------------------------------------------------ health */

/* The findings of the cluster's one caller of service-health. `report` is one
 * packed word, so that no reader sees half a report (shm_health.h). */
struct shm_health {
    struct {
        _Atomic uint64_t called_at_monotonic_ms; /* last call, answered or not; 0 = never */
        _Atomic uint64_t report;                 /* 0 = none yet */
        uint64_t reserved[6];
    } processor[SHM_PROCESSORS];
};
static_assert(sizeof(struct shm_health) == 128, "health");

/* ---------------------------------------------------------------- operator */

/* What a person decides about a pinned payment, having asked at the processor
 * what has become of it (payment_protocol.h, PAYMENT_EVENT_RESOLVE). */
enum shm_decision {
    SHM_DECISION_SETTLED = 1, /* it stands in the processor's book */
    SHM_DECISION_REQUEUE = 2, /* it never will: send it anew, to either processor */
    SHM_DECISION_REJECT = 3,  /* it never will, and is not to be paid at all */
};

/* What a lane did with a decision. */
enum shm_verdict {
    SHM_VERDICT_DONE = 1,            /* detail: enum payment_state that it led to */
    SHM_VERDICT_NOT_HERE = 2,        /* the lane has no record of that id */
    SHM_VERDICT_NOT_PINNED = 3,      /* detail: enum payment_state */
    SHM_VERDICT_BOOK_HOLDS = 4,      /* detail: the processor */
    SHM_VERDICT_BOOK_LACKS = 5,      /* detail: the processor */
    SHM_VERDICT_BOOK_SILENT = 6,     /* detail: the HTTP status that it answered, 0: none */
    SHM_VERDICT_ATTEMPT_UNKNOWN = 7, /* an attempt of ours was out meanwhile and ended unknown */
    SHM_VERDICT_OWNER_CHANGED = 8,   /* the lane has a new owner, who dropped it */
    SHM_VERDICT_WITHDRAWN = 9,       /* the operator gave up first; nothing was done */
};

/* What a lane has begun to do about a request. Only ever goes up in one request. */
enum shm_decision_phase {
    SHM_DECISION_SEEN = 1,   /* waits for the answer to an attempt that is out */
    SHM_DECISION_ASKING = 2, /* asks the processor's book */
    SHM_DECISION_ACTING = 3, /* too late to withdraw it */
};

#define SHM_OPERATOR_NAME_SIZE   64u  /* with NUL */
#define SHM_OPERATOR_REASON_SIZE 256u /* with NUL */

/* `request` counts like a record's sequence: even = the number of the request
 * that stands below, odd = none does (it is being written, or was withdrawn). */
struct shm_operator {
    _Atomic uint64_t intake; /* changes so far; odd = APIs accept nothing (shm_operator.h) */
    uint64_t reserved_0[7];

    _Atomic uint64_t request;
    _Atomic uint64_t id_hi;
    _Atomic uint64_t id_lo;
    _Atomic uint64_t decision; /* enum shm_decision */
    uint64_t reserved_1[4];
    _Atomic uint64_t by[SHM_OPERATOR_NAME_SIZE / 8]; /* texts, filled up with NULs */
    _Atomic uint64_t reason[SHM_OPERATOR_REASON_SIZE / 8];
};
static_assert(offsetof(struct shm_operator, request) == 64, "operator");
static_assert(offsetof(struct shm_operator, by) == 128, "operator");
static_assert(offsetof(struct shm_operator, reason) == 192, "operator");
static_assert(sizeof(struct shm_operator) <= SHM_PAGE_SIZE, "operator");

/* ------------------------------------------------------------------- bells */

/* What a lane's owner sleeps at while nothing but a doorbell could wake it (shm_doorbell.h).
 * The only words with several writers, in the only page that whoever attaches to work has writable:
 * who rings adds one. They decide nothing: another value costs a look at empty rings. */
struct shm_bell {
    _Atomic uint32_t rung; /* times */
    uint32_t reserved[15];
};
static_assert(sizeof(struct shm_bell) == SHM_CACHE_LINE_SIZE, "bell");
static_assert(SHM_LANES_MAX * sizeof(struct shm_bell) <= SHM_PAGE_SIZE, "bells");

/* --------------------------------------------------------------------- API */

/* One accepted payment on its way to its lane. The consumer reads a slot
 * between the producer's release of tail and its own of head; a third party
 * that searches the ring may meet the producer, hence atomic words: each is
 * stored with release, so that whoever sees a new word sees the head that
 * allowed it (shm_ring_find). */
struct shm_ring_slot {
    _Atomic uint64_t id_hi;
    _Atomic uint64_t id_lo;
    _Atomic int64_t amount_cents;
    _Atomic int64_t accepted_at_ms;
    _Atomic uint64_t purge_generation; /* as it stood when the payment was accepted */
    uint64_t reserved[3];
};
static_assert(sizeof(struct shm_ring_slot) == SHM_CACHE_LINE_SIZE, "ring slot");

/* A free-running count on a cache line of its own. */
struct shm_line_counter {
    _Atomic uint64_t value;
    uint64_t reserved[7];
};
static_assert(sizeof(struct shm_line_counter) == SHM_CACHE_LINE_SIZE, "line counter");

#define SHM_API_COUNTERS_MAX  64u
#define SHM_LANE_COUNTERS_MAX 64u

/* A tenant's presence: for people, never for decisions. */
struct shm_presence {
    _Atomic uint64_t epoch; /* tenancies so far; +1 right after the lease was taken */
    _Atomic uint64_t pid;   /* in its owner's namespace */
    _Atomic uint64_t since_ms;
    _Atomic uint64_t beat_ms; /* wall clock of the last beat */
    uint64_t reserved[4];
};
static_assert(sizeof(struct shm_presence) == SHM_CACHE_LINE_SIZE, "presence");

struct shm_api {
    struct shm_presence presence;
    struct shm_line_counter tail[SHM_LANES_MAX]; /* payments ever pushed to ring[this api][lane] */
    _Atomic uint64_t counters[SHM_API_COUNTERS_MAX]; /* shm_counters.def */
    /* shm_operator.intake as this tenant saw it last: whatever it accepted under an
     * earlier value lies in the rings. Stored with release after those pushes. */
    _Atomic uint64_t intake_seen;
};
static_assert(offsetof(struct shm_api, tail) == 64, "api");
static_assert(offsetof(struct shm_api, counters) == 1088, "api");
static_assert(offsetof(struct shm_api, intake_seen) == 1600, "api");
static_assert(sizeof(struct shm_api) <= SHM_PAGE_SIZE, "api");

/* -------------------------------------------------------------------- lane */

enum payment_state {
    PAYMENT_FREE = 0,
    PAYMENT_QUEUED = 1,    /* accepted; no request of it may still act anywhere */
    PAYMENT_SENT = 2,      /* bound to a processor and a requestedAt */
    PAYMENT_SETTLED = 3,   /* has its ledger row */
    PAYMENT_DUPLICATE = 4, /* stands in a processor's book already; not counted here again */
    PAYMENT_CONFLICT = 5,  /* the id stands in a processor's book with another amount */
    PAYMENT_REJECTED = 6,  /* the processors refuse it as malformed, every time */
};

enum payment_flag {
    PAYMENT_FLAG_UNKNOWN = 1,    /* an attempt's outcome is unknown: pinned to its processor */
    PAYMENT_FLAG_ASK = 2,        /* ask both processors for the id before going on */
    PAYMENT_FLAG_SEEN = 4,       /* the filter knows the id: may have been counted here before */
    PAYMENT_FLAG_RESOLVED = 8,   /* an operator has decided about it */
    PAYMENT_FLAG_UNCOUNTED = 16, /* of a journal, in which it had not ended: not counted here */
};

/* One payment. The sequence number is odd while the owner changes the record;
 * readers in other processes try again, a bounded number of times. */
struct shm_payment {
    _Atomic uint32_t sequence;
    _Atomic uint8_t state;     /* enum payment_state */
    _Atomic uint8_t processor; /* bound to; meaningful from SENT on */
    _Atomic uint8_t flags;     /* enum payment_flag */
    _Atomic uint8_t refusals;  /* 400s in a row */
    _Atomic uint64_t id_hi;
    _Atomic uint64_t id_lo;
    _Atomic int64_t amount_cents;
    _Atomic int64_t accepted_at_ms;
    _Atomic int64_t requested_at_us; /* as sent, or as found in a book; meaningful from SENT on */
    _Atomic uint32_t row_name;       /* names its ledger row (shm_ledger.h); 0 = none */
    _Atomic uint16_t attempts;       /* POSTs begun, stays at 65535 */
    _Atomic uint16_t epoch;          /* low bits of the lane epoch of the last attempt */
    _Atomic uint32_t purge_generation;
    _Atomic uint32_t checksum; /* over id, amount, accepted_at, purge_generation */
};
static_assert(sizeof(struct shm_payment) == SHM_CACHE_LINE_SIZE, "payment");
static_assert(offsetof(struct shm_payment, id_hi) == 8, "payment");
static_assert(offsetof(struct shm_payment, requested_at_us) == 40, "payment");
static_assert(offsetof(struct shm_payment, checksum) == 60, "payment");

/* Sums over a full slice, block, group or segment of rows. Immutable once row_count has
 * passed the last row of it. */
struct shm_block {
    int64_t lowest_us; /* requestedAt, us since the Unix epoch; INT64_MAX when empty */
    int64_t highest_us;
    uint64_t payments[SHM_PROCESSORS];
    uint64_t sum_cents_low[SHM_PROCESSORS]; /* 128-bit sums in two words */
    uint64_t sum_cents_high[SHM_PROCESSORS];
};
static_assert(sizeof(struct shm_block) == SHM_CACHE_LINE_SIZE, "block");

/* What a lane knows of one processor, for the other lanes (monotonic ms, 0 = never). */
struct shm_processor_view {
    _Atomic uint64_t last_success_ms;
    _Atomic uint64_t last_failure_ms;
    _Atomic uint64_t probing_since_ms; /* one probe at a time over all lanes (lane.c) */
    _Atomic uint64_t in_flight;
    _Atomic uint64_t in_flight_limit;
    _Atomic uint64_t latency_us;
    _Atomic uint64_t failing; /* 0 or 1 */
    uint64_t reserved;
};
static_assert(sizeof(struct shm_processor_view) == SHM_CACHE_LINE_SIZE, "processor view");

/* The filter of ids whose records are gone: two generations of blocked Bloom
 * filters; the older is forgotten as a whole when the younger is full. */
struct shm_filter {
    _Atomic uint64_t active;                     /* 0 or 1: where ids are added */
    _Atomic uint64_t remembered[2];              /* ids added to each */
    _Atomic uint64_t started_at_monotonic_ms[2]; /* when each became active */
    /* Lowest requestedAt among the adopted payments remembered in each; INT64_MAX = none.
     * Forgetting them lowers lowest_bound_us first: they must not be adopted again. */
    _Atomic int64_t adopted_lowest_us[2];
    uint64_t reserved;
};
static_assert(sizeof(struct shm_filter) == SHM_CACHE_LINE_SIZE, "filter");

enum shm_journal_state {
    SHM_JOURNAL_NONE = 0,    /* not kept, or nobody has opened it yet */
    SHM_JOURNAL_WORKING = 1, /* whatever the lane does is in it */
    SHM_JOURNAL_FAILED = 2,  /* nothing more comes into it until its lane has a new owner */
};

struct shm_lane {
    struct shm_presence presence;

    /* line 1: the sleeper's counter: odd = asleep, enum shm_sleep; seq_cst (shm_doorbell.h) */
    _Atomic uint64_t sleep_count;
    uint64_t reserved_0[7];

    /* line 2: what summaries read. Order: row words, then row_count (release);
     * first_row, then purge_applied (release); a file on disk, then segments_filed
     * (release); segments_dropped, then the row words that it gives up. Row r is
     * word r % ledger_rows of the lane's rows while its segment is not dropped. */
    _Atomic uint64_t row_count;     /* rows published; the only publication point of a row */
    _Atomic uint64_t first_row;     /* rows below were purged */
    _Atomic uint64_t purge_applied; /* generation of the last purge applied here */
    /* Payments in the table that have not ended. Raised before the ring's head
     * moves and lowered after row_count, so that a reader who looks at rings,
     * then this, then row_count never counts too few. */
    _Atomic uint64_t unsettled;
    _Atomic int64_t
        lowest_bound_us; /* lowest requestedAt ever bound (or adopted and forgotten) here */
    /* Segments from 0 on whose files are on disk for good: their words may be used
     * again. Stored by the owner's filing thread. Never moves without a state directory. */
    _Atomic uint64_t segments_filed;
    _Atomic uint64_t segments_dropped; /* segments from 0 on whose words are used again */
    uint64_t reserved_1;

    struct shm_filter filter;
    struct shm_processor_view processor[SHM_PROCESSORS];
    struct shm_line_counter
        head[SHM_API_SLOTS_MAX]; /* payments ever taken from ring[api][this lane] */
    _Atomic uint64_t counters[SHM_LANE_COUNTERS_MAX]; /* shm_counters.def */

    /* What this lane does about an operator's request. Order: number and phase
     * (seq_cst) before it acts; verdict and detail, then `answered` (release). */
    struct {
        _Atomic uint64_t number; /* of the request that is being seen to */
        _Atomic uint64_t phase;  /* enum shm_decision_phase */
        _Atomic uint64_t verdict;
        _Atomic uint64_t detail;
        _Atomic uint64_t answered; /* number of the last one that has its verdict */
        uint64_t reserved[3];
    } decision;

    /* How the lane's journal stands. Sequence numbers of its records. */
    struct {
        _Atomic uint64_t state;   /* enum shm_journal_state */
        _Atomic uint64_t written; /* release, before the stores that the record tells of */
        _Atomic uint64_t durable; /* release: all up to this one are on disk */
        uint64_t reserved[5];
    } journal;
    /* In sync: payments of ring[api][this lane] that are on disk, or need not be. */
    struct shm_line_counter durable_head[SHM_API_SLOTS_MAX];
};
static_assert(offsetof(struct shm_lane, sleep_count) == 64, "lane");
static_assert(offsetof(struct shm_lane, row_count) == 128, "lane");
static_assert(offsetof(struct shm_lane, filter) == 192, "lane");
static_assert(offsetof(struct shm_lane, processor) == 256, "lane");
static_assert(offsetof(struct shm_lane, head) == 384, "lane");
static_assert(offsetof(struct shm_lane, counters) == 1408, "lane");
static_assert(offsetof(struct shm_lane, decision) == 1920, "lane");
static_assert(offsetof(struct shm_lane, journal) == 1984, "lane");
static_assert(offsetof(struct shm_lane, durable_head) == 2048, "lane");
static_assert(sizeof(struct shm_lane) <= SHM_PAGE_SIZE, "lane");

/* ------------------------------------------------------------- ledger rows */

/* A row is one 64-bit word; 0 is never a row.
 *
 *   63      62         61..24                          23..0
 *   0    processor     ms since header.base_time_ms    cents           a plain row
 *   1       0          processor (61), 0.. , cents in bits 43..0       escape, first word
 *   1       1          us since the Unix epoch + 2^61 in bits 61..0    escape, second word
 *   1       0          0                               0               a filler: no payment
 *
 * 38 bits of milliseconds are 8.7 years from the base, 24 bits of cents are
 * 167,772.15. What does not fit (larger amounts, earlier or later times,
 * microseconds found in a processor's book) takes an escape of two words that
 * one store of row_count publishes together. A reader that starts at a second
 * word skips it: the payment belongs to the block of its first word. Never do its
 * words lie in two segments: the last word of a segment is a filler then, which
 * is published together with them. */
#define SHM_ROW_ESCAPE             (UINT64_C(1) << 63)
#define SHM_ROW_CONTINUATION       (UINT64_C(1) << 62) /* with SHM_ROW_ESCAPE */
#define SHM_ROW_PROCESSOR_SHIFT    62                  /* of a plain row */
#define SHM_ROW_TIME_SHIFT         24
#define SHM_ROW_TIME_BITS          38
#define SHM_ROW_CENTS_BITS         24
#define SHM_ESCAPE_PROCESSOR_SHIFT 61
#define SHM_ESCAPE_CENTS_BITS      44
#define SHM_ESCAPE_TIME_BIAS       (INT64_C(1) << 61)
#define SHM_ROW_FILLER             SHM_ROW_ESCAPE /* an escape of no cents, which no payment is */

static_assert(UINT64_C(10000000000000) < (UINT64_C(1) << SHM_ESCAPE_CENTS_BITS),
              "10^13 cents fit an escape");
static_assert((UINT64_C(1) << SHM_ROW_TIME_BITS) / 1000 / 86400 / 366 >= 5,
              "a row's time spans 5 years");

/* Catches a build whose structs differ in size although the version does not.
 * Fields that change places are the version's affair. */
#define SHM_LAYOUT_FINGERPRINT                                                                     \
    ((uint64_t)SHM_LAYOUT_VERSION << 56 ^ (uint64_t)sizeof(struct shm_header) << 48 ^              \
     (uint64_t)sizeof(struct shm_api) << 34 ^ (uint64_t)sizeof(struct shm_lane) << 20 ^            \
     (uint64_t)offsetof(struct shm_lane, counters) << 8 ^ (uint64_t)sizeof(struct shm_payment) ^   \
     (uint64_t)SHM_BLOCK_ROWS << 40 ^ (uint64_t)SHM_SEGMENT_BLOCKS_MAX << 12 ^                     \
     (uint64_t)SHM_ROW_TIME_SHIFT << 3 ^ (uint64_t)SHM_SLICE_ROWS << 27)

#endif
