/* The life of one payment in one lane, as a pure automaton.
 *
 *                       ┌───────── definite no ─────────┐
 *                       ▼                               │
 *   ring ──INTAKE──▶ QUEUED ──────BIND──────▶ SENT(processor, requestedAt)
 *                       │                       │ 200, or 422 and ours ──▶ SETTLED
 *                       │                       │ 422 and not ours ──────▶ DUPLICATE, CONFLICT
 *                       │                       │ a lasting 400 ─────────▶ REJECTED
 *                       │ found in a book       │ unknown: pinned, resent as it was
 *                       ▼                       ▼
 *         SETTLED, DUPLICATE, CONFLICT      (SENT, UNKNOWN)
 *                                               │ RESOLVE, by a person: as after a 422,
 *                                               ▼ or QUEUED, or REJECTED
 *
 * State and event in; stores and one action out. No clock, no socket, no
 * memory of its own: the worker (lane.c), the model explorer and the tests all
 * drive this same object file. The rules are numbered as in
 * docs/ARCHITECTURE.md, "The protocol".
 *
 * Stores: the caller makes them in the given order, each a release store, and
 * only then begins the action. The process may be killed between any two of
 * them; what is left is what TAKE_OVER, and after it a PURGE that is due, must
 * make right. The automaton itself never looks back at what it stored.
 */
#ifndef PAYRING_WORKER_PAYMENT_PROTOCOL_H
#define PAYRING_WORKER_PAYMENT_PROTOCOL_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"
#include "shm/shm_layout.h"

/* The record as it stands in the payment table. A FREE one has only its state. */
struct payment_view {
    enum payment_state state;
    unsigned processor; /* meaningful from SENT on, as is requested_at_us */
    unsigned flags;     /* enum payment_flag */
    unsigned refusals;
    struct uuid id;
    int64_t amount_cents;
    int64_t accepted_at_ms;
    int64_t requested_at_us;
    bool row_named;            /* names a ledger row */
    uint64_t purge_generation; /* as stamped at acceptance */
};

/* What the automaton needs to know of the lane around the record. */
struct payment_lane_view {
    uint64_t purge_applied;  /* generation of the last purge applied */
    int64_t lowest_bound_us; /* lowest requestedAt ever bound here; INT64_MAX = none */
    unsigned refusals_max;   /* 400s in a row that make a payment REJECTED (rule 4, "lasting") */
};

enum payment_event_kind {
    /* An entry of a ring is at its head. The view is the record of that id, or
     * a FREE one to be filled. Its purge_generation must not be newer than
     * purge_applied: the purge comes first. */
    PAYMENT_EVENT_INTAKE,
    PAYMENT_EVENT_BIND,        /* the routing chose a processor (QUEUED, nothing left to ask) */
    PAYMENT_EVENT_ASK,         /* begin to ask the books (QUEUED with the flag ASK) */
    PAYMENT_EVENT_RESEND,      /* a pinned payment is due (SENT) */
    PAYMENT_EVENT_ACCEPTED,    /* POST: 200 */
    PAYMENT_EVENT_EXISTS,      /* POST: 422 */
    PAYMENT_EVENT_REFUSED,     /* POST: never connected, 429, empty 500 */
    PAYMENT_EVENT_BAD_REQUEST, /* POST: 400 */
    PAYMENT_EVENT_UNKNOWN,     /* POST: anything else */
    PAYMENT_EVENT_FOUND,       /* look-up: the book holds the id */
    PAYMENT_EVENT_ABSENT,      /* look-up: 404 */
    PAYMENT_EVENT_UNANSWERED,  /* look-up: no answer that counts */
    PAYMENT_EVENT_TAKE_OVER,   /* the lane has a new owner; comes before all others */
    PAYMENT_EVENT_PURGE,       /* this record is visited by the purge to `purge_generation` */
    PAYMENT_EVENT_RECYCLE,     /* its slot is wanted (a terminal state) */
    /* An operator has decided what a pinned payment (SENT, UNKNOWN) is, and its
     * processor's book was asked after that. No attempt of it may be in flight:
     * what has not answered yet could still act behind the decision's back. */
    PAYMENT_EVENT_RESOLVE,
};

struct payment_event {
    enum payment_event_kind kind;
    unsigned processor; /* BIND: the chosen one; FOUND, ABSENT, UNANSWERED: the one asked */
    int64_t now_ms;     /* BIND: wall clock, becomes requestedAt */

    /* INTAKE: the ring's entry */
    struct uuid id;
    int64_t amount_cents;
    int64_t accepted_at_ms;
    uint64_t purge_generation; /* PURGE: the generation to reach */
    bool remembered;           /* the filter knows the id */
    bool ask_first;            /* the region is young: ask the books before binding */

    /* RESOLVE */
    enum shm_decision decision;
    enum payment_event_kind book; /* FOUND, ABSENT or UNANSWERED: what the book said */
    bool attempt_unknown; /* an attempt that was out when it was decided ended unknown: it may
                             still act, which the operator cannot have known */

    /* FOUND, RESOLVE: what the book holds. TAKE_OVER: what the published row holds. */
    int64_t stored_amount_cents;
    int64_t stored_requested_at_us;
    bool row_published; /* TAKE_OVER: the named row is below row_count; processor is the row's */
};

enum payment_store_kind {
    PAYMENT_STORE_FIELDS,    /* id, amount, accepted_at, generation of the event; flags = value; the
                                rest cleared */
    PAYMENT_STORE_STATE,     /* value = enum payment_state */
    PAYMENT_STORE_FLAGS,     /* value = flags */
    PAYMENT_STORE_REFUSALS,  /* value = count */
    PAYMENT_STORE_PROCESSOR, /* value = processor */
    PAYMENT_STORE_REQUESTED_AT, /* value = us */
    PAYMENT_STORE_ROW_NAME,     /* value = 1: name the row at row_count; 0: none */
    PAYMENT_STORE_ROW, /* write the row at row_count: the record's amount, processor, value = us */
    PAYMENT_STORE_ROW_COUNT,    /* publish that row */
    PAYMENT_STORE_LOWEST_BOUND, /* value = us */
    PAYMENT_STORE_REMEMBER,     /* add the id to the filter; value = us if it was adopted, else
                                   INT64_MAX */
    PAYMENT_STORE_RING_HEAD,    /* the entry has been taken */
};

struct payment_store {
    enum payment_store_kind kind;
    unsigned processor; /* ROW */
    int64_t value;
};

enum payment_action {
    PAYMENT_ACTION_NONE,         /* nothing, or nothing before the caller's next event */
    PAYMENT_ACTION_READY,        /* QUEUED: offer it to the routing (or ASK first, if flagged) */
    PAYMENT_ACTION_POST,         /* send it as bound, now */
    PAYMENT_ACTION_LOOKUP,       /* GET it at `processor`, now */
    PAYMENT_ACTION_RETRY_LOOKUP, /* GET it at `processor` again, after a pause */
    PAYMENT_ACTION_RESEND,       /* pinned: RESEND after a pause */
    PAYMENT_ACTION_ENDED,        /* terminal state reached */
    PAYMENT_ACTION_FREED,        /* the record is FREE again */
};

/* Why an entry of a ring made no record. For counters. */
enum payment_intake_outcome {
    PAYMENT_INTAKE_TAKEN,
    PAYMENT_INTAKE_COPY,     /* a copy of a payment that is here: nothing to do */
    PAYMENT_INTAKE_CONFLICT, /* a copy with another amount: not counted */
    PAYMENT_INTAKE_PURGED,   /* accepted before the last purge */
};

/* What a RESOLVE came to. A refused one changes nothing: it is resent as before. */
enum payment_resolution {
    PAYMENT_RESOLVE_DONE,
    PAYMENT_RESOLVE_BOOK_HOLDS,
    PAYMENT_RESOLVE_BOOK_LACKS,
    PAYMENT_RESOLVE_BOOK_SILENT,
    PAYMENT_RESOLVE_ATTEMPT_UNKNOWN,
};

#define PAYMENT_STORES_MAX 8

struct payment_step {
    unsigned store_count;
    struct payment_store stores[PAYMENT_STORES_MAX];
    enum payment_action action;
    unsigned processor;                 /* POST, LOOKUP, RETRY_LOOKUP */
    enum payment_intake_outcome intake; /* INTAKE */
    enum payment_resolution resolution; /* RESOLVE */
};

/* One step of the automaton.
 *
 * An event that the state does not allow is a programmer's error and hits CHECK.
 * Owner:   `step` is the caller's and is filled whole.
 * Crash:   see the top of this file; every prefix of the stores is safe.
 */
void payment_protocol_step(struct payment_step *step, const struct payment_view *payment,
                           const struct payment_lane_view *lane, const struct payment_event *event);

/* Before a generation of the filter is forgotten: the lowest_bound_us to store
 * first (rule 9). Payments adopted from a book lie below lowest_bound_us and
 * only the filter keeps them from being adopted, and counted, again. */
int64_t payment_protocol_forget(const struct payment_lane_view *lane, int64_t adopted_lowest_us);

bool payment_state_is_terminal(enum payment_state state);

#endif
