/* The inside of a lane, shared by lane.c (its thread), lane_payments.c (what
 * happens to payments) lane_dispatch.c (what is sent when), lane_journal.c (what waits for the
 * disk) and lane_decision.c (what an operator asks for). Nobody else includes this. Everything
 * belongs to the lane's thread but `stopping`. */
#ifndef PAYRING_WORKER_LANE_INTERNAL_H
#define PAYRING_WORKER_LANE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "shm/shm_operator.h"
#include "worker/lane.h"
#include "worker/lane_memory.h"
#include "worker/lane_queues.h"
#include "worker/ledger_filer.h"
#include "worker/processor_view.h"
#include "worker/upstream.h"

/* An operator's request about one of our payments. */
struct lane_decision {
    uint64_t seen;                       /* shm_operator_number at the last look */
    struct shm_operator_request request; /* number 0: none is being seen to */
    bool asking;          /* the book is asked for it: its slot is OUT for that alone */
    bool attempt_unknown; /* an attempt that was out when it came ended unknown */
};

/* In sync: rings' entries up to `heads` are durable when that record is. */
struct lane_mark {
    uint64_t sequence;
    uint64_t heads[SHM_API_SLOTS_MAX];
};
#define LANE_MARKS 64u

/* In sync: a request that waits until its binding is durable. */
struct lane_held {
    uint64_t sequence;
    uint32_t slot;
    unsigned processor;
};

struct lane {
    struct lane_settings settings;
    struct shm_region *region;
    struct lane_memory memory;
    struct lane_queues queues;
    struct upstream *upstream;
    struct processor_view views[SHM_PROCESSORS];
    struct lane_decision decision;
    int lookups[SHM_PROCESSORS];        /* in flight */
    bool probed_pinned[SHM_PROCESSORS]; /* the last probe was a pinned payment */
    int fifo_fd;
    pthread_t thread;
    atomic_bool stopping, ended;
    bool full;               /* the last entry found no room: do not spin on the rings */
    int64_t now_us;          /* monotonic, taken once a turn and at each reply */
    _Atomic int64_t beat_ms; /* monotonic, of the last heartbeat; others read it */
    struct journal *journal; /* open, whether it works or not; NULL: none */
    uint64_t published_durable;
    struct {
        uint64_t sequence, rows; /* when that record is durable, so is the settling of those rows */
    } row_mark;
    uint64_t rows_allowed;              /* to be filed */
    struct lane_mark marks[LANE_MARKS]; /* a ring of them, oldest first */
    unsigned mark_first, mark_count;
    uint64_t marked_heads[SHM_API_SLOTS_MAX];
    struct lane_held *held; /* a ring of as many as there are slots; NULL: never needed so far */
    uint32_t held_first, held_count;
    int64_t emptied_us[SHM_API_SLOTS_MAX]; /* monotonic, when each ring was last seen empty; 0 = not
                                              yet */
    struct ledger_filer *filer;            /* NULL: no state directory */
    uint64_t filing_row;    /* where the open segment ends: then the filer has work */
    unsigned ledger_warned; /* percent that was warned of last; 0: none */
};

/* ---- lane_payments.c ---- */

/* Visit every record after the lane changed hands (rule 8), place all slots. */
void lane_take_over(struct lane *);
/* Apply a purge that is due; true if one was. */
bool lane_purge_if_due(struct lane *);
bool lane_purge_is_due(const struct lane *);
/* Take entries from the rings into the table; true if any was. */
bool lane_take_in(struct lane *);
/* Deliver one reply (upstream_on_completion). */
void lane_on_completion(void *lane, const struct upstream_completion *);
/* Run one event through the protocol, store, and see to what follows: the slot is OUT. */
void lane_step(struct lane *, uint32_t slot, const struct payment_event *);

/* Run a step of which the caller wants to know more than what follows from it. */
struct payment_step lane_step_known(struct lane *, uint32_t slot, const struct payment_event *);
/* The event that a reply is for the protocol. */
struct payment_event lane_event_of(const struct upstream_completion *);

/* ---- lane_decision.c ---- */

/* Is there a request that has not been looked at? */
bool lane_decision_is_due(const struct lane *);
/* Look at a new request, and go on with the one that is being seen to; true if
 * something was sent or decided. Before lane_dispatch, which may send again
 * what a decision waits for. */
bool lane_decide(struct lane *);
/* At take-over: drop what the last owner has not answered. An attempt of the
 * payment may have been out when it died. */
void lane_decision_drop(struct lane *);
/* A reply to a POST: did it spoil the decision about that payment? */
void lane_decision_note(struct lane *, uint32_t slot, const struct upstream_completion *);
/* A reply to a look-up: true if it was the one that a decision waited for. */
bool lane_decision_takes(struct lane *, uint32_t slot, const struct upstream_completion *);

/* ---- lane_journal.c ---- */

/* At take-over, after the last visit: open the journal and tell it of everything. */
void lane_journal_open(struct lane *);
void lane_journal_close(struct lane *);
/* After taking in: what was taken is durable when the journal is, up to here. */
void lane_journal_mark(struct lane *);
/* So much is not durable that nothing more is to be taken in or bound. */
bool lane_journal_is_behind(const struct lane *);
/* true: neither the table nor the filter knows the id, and the journal may tell of it. */
bool lane_journal_may_know(const struct lane *, const struct uuid *);
/* true: the POST that was just bound waits for the disk, and begins by itself. */
bool lane_journal_holds(struct lane *, uint32_t slot, unsigned processor);
/* Tell the APIs what has become durable, send what has waited for it; true if anything was sent. */
bool lane_journal_turn(struct lane *);
bool lane_journal_has_news(const struct lane *);
/* At the end of a turn. */
void lane_journal_kick(struct lane *);
/* In sync: what was told so far is on disk when this returns, or the journal has failed. For the
 * rare answers that are given by the lane itself; it waits for the disk. */
void lane_journal_commit(struct lane *);
/* When the lane stops: wait for the disk, tell the APIs, send what was held. */
void lane_journal_flush(struct lane *);

/* ---- lane_dispatch.c ---- */

extern const char *const lane_processor_names[SHM_PROCESSORS];

/* Send what may be sent. Returns when to look again at the latest (monotonic
 * us; INT64_MAX: only an event can change anything). */
int64_t lane_dispatch(struct lane *, bool *sent);
/* Send the POST of a slot that was just bound or is pinned: its place among those in flight is
 * taken now, and the request begins now, or when its binding is durable (lane_journal_holds). */
void lane_send_post(struct lane *, uint32_t slot, unsigned processor, bool is_bound_now);
void lane_begin_post(struct lane *, uint32_t slot, unsigned processor);
/* Ask a book for an OUT slot; only if it may be asked for one more. An answer makes room. */
bool lane_may_look_up(const struct lane *, unsigned processor);
void lane_look_up(struct lane *, uint32_t slot, unsigned processor);
/* An answer to a POST came: tell the view, free the place. */
void lane_note_answer(struct lane *, uint32_t slot, const struct upstream_completion *);
void lane_dispatch_init(struct lane *);

#endif
