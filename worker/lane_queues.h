/* Where each record of a lane waits: the owner's private bookkeeping, rebuilt
 * from the payment table at take-over. Nothing here has to survive a crash.
 *
 * A record's slot is at exactly one place at a time:
 *
 *   FREE ─▶ READY ─▶ OUT ─▶ ENDED ─▶ FREE      OUT: a request of it is in flight
 *             ▲       │ ▲
 *             └───────┤ │                      PAUSED: waits for a time, then goes
 *                     ▼ │                      to the list it was paused for
 *        PAUSED ─▶ PINNED[p], ASKING[p], READY
 *
 * PRESSED: payments that wait for a dearer processor while younger ones need
 * not (routing.h, younger_wait).
 */
#ifndef PAYRING_WORKER_LANE_QUEUES_H
#define PAYRING_WORKER_LANE_QUEUES_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/shm_layout.h"

#define LANE_QUEUES_NONE UINT32_MAX

enum lane_place {
    LANE_FREE,    /* no payment */
    LANE_READY,   /* QUEUED, to be offered to the routing; oldest first */
    LANE_PRESSED, /* QUEUED, offered and held back, but younger ones are not */
    LANE_ENDED,   /* terminal, oldest first: the next to be recycled */
    LANE_ASKING,  /* + processor: its book is to be asked */
    LANE_PINNED = LANE_ASKING + SHM_PROCESSORS, /* + processor: unknown, due to be resent */
    LANE_LISTS = LANE_PINNED + SHM_PROCESSORS,
    LANE_PAUSED = LANE_LISTS,
    LANE_OUT,
    LANE_LOOSE, /* only between lane_queues_clear and being placed anew */
};

struct lane_slot {
    int64_t sent_us;     /* monotonic; of the POST in flight, 0 = none */
    int64_t unknown_us;  /* monotonic; when its last unknown outcome was told, 0 = never */
    int64_t accepted_us; /* monotonic; the payment's acceptance (payment_age.h) */
    uint32_t use;  /* goes up whenever the record changes hands: a late reply is recognised by it */
    uint32_t next; /* in its list, or among those in flight */
    uint32_t previous; /* among those in flight */
    uint8_t place;     /* enum lane_place */
    uint8_t target;    /* PAUSED: the list to go to */
    uint8_t tries;     /* pauses so far, for the length of the next */
};

struct lane_pause {
    int64_t due_ms; /* monotonic */
    uint32_t slot;
    uint32_t use;
};

struct lane_queues {
    struct lane_slot *slots;
    struct lane_list {
        uint32_t first, last, length;
    } lists[LANE_LISTS];
    struct lane_list flights[SHM_PROCESSORS]; /* POSTs in flight, oldest first */
    struct lane_overtaken {
        int64_t before_us; /* sent before */
        uint32_t count;    /* so many of a flights list, its first ones */
        uint32_t next;     /* the one behind them */
    } overtaken[SHM_PROCESSORS];
    struct lane_pause *pauses; /* binary heap, soonest first */
    uint32_t pause_count, pause_capacity;
    uint32_t slot_count;
};

/* false: out of memory. All slots start FREE. */
bool lane_queues_create(struct lane_queues *, uint32_t slot_count);
void lane_queues_destroy(struct lane_queues *);

/* Move a slot that is in no list (FREE popped, OUT, or PAUSED) to the end or the front of a list.
 */
void lane_queues_append(struct lane_queues *, enum lane_place list, uint32_t slot);
void lane_queues_prepend(struct lane_queues *, enum lane_place list, uint32_t slot);
/* Take the first of a list; it is OUT afterwards. LANE_QUEUES_NONE: empty. */
uint32_t lane_queues_pop(struct lane_queues *, enum lane_place list);
uint32_t lane_queues_first(const struct lane_queues *, enum lane_place list);
/* Take a slot out of whatever list it is in, or out of its pause; it is OUT afterwards. false: it
 * is OUT already. Walks the list or the pauses: for what a person asks for, not for every payment.
 */
bool lane_queues_withdraw(struct lane_queues *, uint32_t slot);
/* Let an OUT slot wait until due_ms and then join `list`. */
void lane_queues_pause(struct lane_queues *, uint32_t slot, enum lane_place list, int64_t due_ms);
/* Move all whose time has come; returns when the next is due (INT64_MAX: none). */
int64_t lane_queues_wake(struct lane_queues *, int64_t now_ms);
/* An OUT slot's POST leaves for a processor, and comes back (or is given up). */
void lane_queues_depart(struct lane_queues *, uint32_t slot, unsigned processor, int64_t sent_us);
void lane_queues_return(struct lane_queues *, uint32_t slot, unsigned processor);
/* When the oldest POST in flight there was sent; 0: none is. */
int64_t lane_queues_oldest_sent_us(const struct lane_queues *, unsigned processor);

/* How many POSTs in flight there were sent before that time, which never goes back. */
uint32_t lane_queues_overtaken(struct lane_queues *, unsigned processor, int64_t before_us);

/* Empty every list and the heap (take-over, purge): what was in one is LOOSE until the caller
 * places it anew; what was OUT stays OUT. */
void lane_queues_clear(struct lane_queues *);

#endif
