/* One lane, small enough to visit every state that it can reach.
 *
 * The automaton under test is the worker's own object file, payment_protocol.o.
 * Around it the model plays everybody else: clients, the API, the lane's driver,
 * the two processors, the clock and death. A file each:
 *
 *   model.h      a state, its bounds, a move
 *   lane.c       the worker: makes the automaton's stores one by one, dies between any two
 *   moves.c      what may happen in a state; the honest completion
 *   cold.c       the journal on disk, and the life that begins with it (a cold start)
 *   promises.c   what must be true in a state
 *   rules.c      the rules, and how to break each (for the self-test)
 *   explore.c    breadth first over all states: the first violation has the shortest trace
 *   self_test.c  each rule broken in turn
 *   words.c      a trace in words
 *   bounds.c     bounds by name
 *
 * Not in the model: memory order between processes (a dead worker's stores are seen in program
 * order, which is what the release stores are for), readers in the middle of a move, a full
 * ledger, the routing. Several lanes share no id and no byte that a lane writes.
 *
 * Times are small numbers, 0 = none: t ms since the Epoch. The clock may show any
 * time of 2, 4 .. 2 * bounds.times at any moment, so it stands still, jumps and steps back.
 * Amounts are 1 or 2 cents, 0 = none.
 */
#ifndef PAYRING_TEST_MODEL_MODEL_H
#define PAYRING_TEST_MODEL_MODEL_H

#include <assert.h>
#include <stdbool.h>
#include <stdint.h>

#include "shm/shm_layout.h"

enum {
    MODEL_IDS = 3,
    MODEL_RECORDS = 3,
    MODEL_RINGS = 2,
    MODEL_RING_SLOTS = 2,
    MODEL_ROWS = 8,
    MODEL_ASLEEP = 4,
    MODEL_AMOUNTS = 2,
    MODEL_REFUSALS_MAX = 3,       /* the worker's is larger and costs nothing but states */
    MODEL_TIME_CREATED = 3,       /* the region's creation, which the clock may step behind */
    MODEL_TIME_FOREIGN_EARLY = 1, /* of inserts by others: before any time that the clock shows, */
    MODEL_TIME_FOREIGN_LATE = 3,  /* or between two of them */
};

/* The clock shows even times only, so that they are told apart. */
static inline bool model_is_foreign(int64_t time)
{
    return time & 1;
}

/* What the worker waits for on behalf of a record. Lost with the worker. */
enum model_waiting {
    WAITING_NOT,
    WAITING_READY,        /* QUEUED: for the routing, or to be asked for */
    WAITING_POST,         /* a POST is out and not executed */
    WAITING_POST_OK,      /* a POST was executed; its 200 is on the way */
    WAITING_RESEND,       /* pinned */
    WAITING_ASKED,        /* + processor: a look-up is out */
    WAITING_ABSENT = 7,   /* + processor: it found nothing; its 404 is on the way */
    WAITING_VISIT = 9,    /* only without RULE_VISIT_ALL_FIRST: not yet visited by the take-over */
    WAITING_DECIDED = 10, /* a look-up is out for an operator's decision */
    WAITING_DECIDED_ABSENT = 11, /* it found nothing; its 404 is on the way */
};

struct model_record {
    uint8_t state; /* enum payment_state; FREE: all zero */
    uint8_t processor;
    uint8_t flags;
    uint8_t refusals;
    uint8_t id;
    uint8_t amount;
    uint8_t requested_at;
    uint8_t row_name;
    uint8_t generation;
    uint8_t waiting; /* enum model_waiting */
};

struct model_entry {
    uint8_t id;
    uint8_t amount;
    uint8_t generation;
};

struct model_row {
    uint8_t processor;
    uint8_t id; /* a real row has none: for the promises only, as is generation */
    uint8_t amount;
    uint8_t requested_at;
    uint8_t generation;
};

/* A request nobody waits for any more, which may still insert. A second identical one
 * (a hidden resend) could only find the first one's insert, so that one stands for all. */
struct model_request {
    uint8_t processor;
    uint8_t id;
    uint8_t amount;
    uint8_t requested_at;
    uint8_t is_old; /* of a life before the last cold start */
};

/* Only without RULE_STALE_ANSWER_DROPPED: a look-up whose record a purge has freed. */
struct model_stray {
    uint8_t waiting; /* enum model_waiting; WAITING_NOT: none */
    uint8_t id;
};

struct model_insert {
    uint8_t amount; /* 0: the id is not in this book */
    uint8_t requested_at;
    uint8_t foreign; /* inserted by somebody else, before this region was */
};

/* What of the journal is on disk (bounds.cold): a prefix of the moves, as what they come to. */
struct model_disk {
    struct model_record open[MODEL_RECORDS]; /* payments that have not ended; sorted */
    uint8_t row_count;
    uint8_t lowest_bound; /* with the times of adopted rows */
    uint8_t accepted;     /* bit = id */
};

/* Compared and hashed as bytes: no padding. */
struct model_state {
    /* the region */
    struct model_record record[MODEL_RECORDS];
    struct model_entry ring[MODEL_RINGS][MODEL_RING_SLOTS]; /* the head first */
    uint8_t ring_length[MODEL_RINGS];
    struct model_row row[MODEL_ROWS];
    uint8_t row_count;
    uint8_t first_row;
    uint8_t lowest_bound;
    uint8_t generation;
    uint8_t purge_applied;
    uint8_t filter_active;
    uint8_t filter_ids[2]; /* bit = id */
    uint8_t filter_adopted[2];

    /* the processors */
    struct model_insert book[SHM_PROCESSORS][MODEL_IDS];
    struct model_request asleep[MODEL_ASLEEP]; /* sorted */
    uint8_t asleep_count;

    uint8_t worker_down;

    /* what may still happen */
    uint8_t posts_left[MODEL_IDS][MODEL_AMOUNTS];
    uint8_t crashes_left;
    uint8_t purges_left;
    uint8_t rotations_left;
    uint8_t decisions_left;

    /* an operator's decision that the lane has not answered; 0: none */
    uint8_t decided; /* enum shm_decision */
    uint8_t decided_id;
    uint8_t decided_spoiled; /* an attempt that was out meanwhile ended unknown */

    /* known to the promises only; bit = id */
    uint8_t promised;      /* answered 2xx since the last purge was asked for */
    uint8_t rejected;      /* ended as REJECTED */
    uint8_t forgotten;     /* dropped by the filter: beyond the horizon */
    uint8_t purge_floor;   /* rows that the last purge asked for must at least clear */
    uint8_t told;          /* a processor has answered 422: no other may get it */
    uint8_t charged_again; /* ... and one did */
    struct model_stray stray;

    /* the journal; all zero without bounds.cold */
    struct model_disk disk;
    uint8_t accepted; /* ids that the journal tells of; bit = id */
    uint8_t colds_left;
    uint8_t quarantine; /* of the region since its cold start: not over */
    uint8_t recounted;  /* open at a cold start, and forgotten before: a stated limit; bit = id */
    uint8_t lost; /* async: what was not on disk cannot be told from somebody else's; bit = id */
    uint8_t reserved[7];
};
static_assert(sizeof(struct model_state) % 8 == 0, "hashed by words");

struct model_bounds {
    const char *name;
    unsigned ids, records, rings;
    unsigned copies;    /* of each id, with amount 1 */
    unsigned conflicts; /* of the first id, with amount 2 */
    unsigned crashes, purges;
    unsigned rotations; /* of the filter: two make it forget */
    unsigned times;     /* that the clock can show */
    unsigned foreign;   /* ids that may stand in a book before */
    /* 0 or 1 */
    unsigned bad_requests;    /* processors answer 400 */
    unsigned false_positives; /* the filter may claim to know any id */
    unsigned decisions;       /* of an operator who tells the truth */
    unsigned cold;            /* cold starts: the region is lost, and made of what is on disk */
    unsigned sync;            /* durability of the journal, else async */
    unsigned journal_forgets; /* what the filter forgets */
    unsigned sleepers;        /* requests may sleep for longer than the quarantine */
    unsigned strict;          /* the stated limits of cold starts are violations, too */
    unsigned early; /* async: what is unknown is asked for before the quarantine is over */
    unsigned young; /* the region may be young: ids are asked for before the first binding */
    unsigned long states_max; /* the exploration ends there; 0 = no limit */
};
extern struct model_bounds model_bounds;

/* Posts come first once no purge or cold start can come between them and anything else: they and
 * what the worker does can be swapped. A post that is left out stands for the copies that come too
 * late to matter, or that an API answers by itself. */
extern bool model_posts_first;

enum model_move_kind {
    MOVE_BEGIN,      /* what: number of the initial state */
    MOVE_POST,       /* who: id; what: amount | ring << 2 */
    MOVE_POST_KNOWN, /* who: id; what: amount */
    MOVE_NOT_POSTED, /* who: id; what: amount; only in the compact exploration */
    MOVE_ASK_PURGE,
    MOVE_AWAKE,        /* who: request */
    MOVE_INTAKE,       /* who: ring; what: bit 0 false positive, bit 1 young */
    MOVE_READY,        /* who: record; what: processor | time << 1 (unused if it asks first) */
    MOVE_ANSWER,       /* who: record; what: enum model_answer */
    MOVE_STRAY_ANSWER, /* who: record */
    MOVE_RESEND,       /* who: record */
    MOVE_RECYCLE,      /* who: record */
    MOVE_VISIT,        /* who: record */
    MOVE_ROTATE,
    MOVE_PURGE,   /* what: 1 = look-ups for sent payments were waiting, and become resends */
    MOVE_DECIDE,  /* who: record; what: enum shm_decision */
    MOVE_RESOLVE, /* who: record: the lane takes it aside and asks its book */
    MOVE_TAKE_OVER,
    MOVE_SYNC, /* what the journal tells of so far is on disk */
    MOVE_COLD, /* what: 1: the ids fit the filter */
    MOVE_QUARANTINE_OVER,
    MOVE_CRASH,
};

/* Of a POST or a look-up, whichever the record waits for. */
enum model_answer {
    ANSWER_HONEST,      /* executed and answered at once */
    ANSWER_LATE,        /* executed; the answer takes its time */
    ANSWER_REFUSED,     /* POST: never connected, 429, empty 500 */
    ANSWER_BAD_REQUEST, /* POST: 400 */
    ANSWER_UNKNOWN, /* POST: time-out or reset; it may have been executed, may be later, or never */
    ANSWER_RESENT,  /* POST: the same, after libcurl sent it twice by itself */
    ANSWER_NONE,    /* look-up */
    ANSWERS,
};

#define MODEL_NEVER 255u

struct model_move {
    uint8_t kind; /* enum model_move_kind */
    uint8_t who;
    uint8_t what;
    uint8_t fuse; /* the worker dies after this many stores of the move; MODEL_NEVER */
};

/* One move under way. */
struct model_run {
    struct model_state state;
    unsigned stores; /* made so far */
    unsigned fuse;   /* dies after so many */
    bool dead;
    bool cut;          /* the move leads beyond what a state can hold */
    struct text *text; /* NULL: silent */
};

static inline bool model_asks(unsigned waiting)
{
    return waiting >= WAITING_ASKED && waiting < WAITING_VISIT;
}

/* The processor that a look-up was sent to. */
static inline unsigned model_asked(unsigned waiting)
{
    return waiting - (waiting >= WAITING_ABSENT ? 0u + WAITING_ABSENT : 0u + WAITING_ASKED);
}

static inline bool model_is_pinned(const struct model_record *r)
{
    return r->state == PAYMENT_SENT && (r->flags & PAYMENT_FLAG_UNKNOWN);
}

/* lane.c */
void model_perform(struct model_run *run, const struct model_state *from, struct model_move move,
                   struct text *text);
/* Where the lane puts a payment of this id: its record, a free one, or MODEL_RECORDS. */
unsigned model_record_for(const struct model_state *state, unsigned id);
/* The request of this record has left: in sync it waits until its binding is on disk. */
bool model_has_left(const struct model_state *state, const struct model_record *record);
/* cold.c */
bool model_disk_is_behind(const struct model_state *state);
void model_sync(struct model_state *state);
void model_open_journal(struct model_state *state);
void model_forget_in_journal(struct model_state *state, unsigned ids);
void model_start_cold(struct model_run *run, unsigned what);
void model_end_quarantine(struct model_state *state);
/* This record is to be asked for, and not yet. */
bool model_waits_for_quarantine(const struct model_state *state, const struct model_record *r);
/* A journal in async was cut: unknown ids are asked for. */
bool model_end_may_be_lost(const struct model_state *state);
bool model_journal_may_know(const struct model_state *state, unsigned id);
/* lane.c: somebody's request that nobody waits for any more. */
void model_abandon(struct model_run *run, const struct model_record *record);
/* moves.c */
typedef void model_visit(void *context, const struct model_run *run, struct model_move move);
unsigned model_initial_count(void);
void model_initial(struct model_state *state, unsigned number);
void model_each_move(const struct model_state *from, model_visit *visit, void *context);
/* The next step towards the end when nobody misbehaves; false: this is the end. */
bool model_honest_move(const struct model_state *state, struct model_move *move);
void model_normalise(struct model_state *state);

/* promises.c: NULL, or the promise that is broken. */
const char *model_broken_promise(const struct model_state *state);
const char *model_broken_at_end(const struct model_state *state);

#endif
