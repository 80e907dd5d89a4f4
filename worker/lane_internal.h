/* The inside of a lane, shared by lane.c (its thread), lane_payments.c (what
 * happens to payments) and lane_dispatch.c (what is sent when). Nobody else
 * includes this. Everything belongs to the lane's thread but `stopping`. */
#ifndef PAYRING_WORKER_LANE_INTERNAL_H
#define PAYRING_WORKER_LANE_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "worker/lane.h"
#include "worker/lane_memory.h"
#include "worker/lane_queues.h"
#include "worker/ledger_filer.h"
#include "worker/processor_view.h"
#include "worker/upstream.h"

struct lane {
    struct lane_settings settings;
    struct shm_region *region;
    struct lane_memory memory;
    struct lane_queues queues;
    struct upstream *upstream;
    struct processor_view views[SHM_PROCESSORS];
    int lookups[SHM_PROCESSORS]; /* in flight */
    int bell_fd;
    pthread_t thread;
    atomic_bool stopping;
    bool full;                  /* the last entry found no room: do not spin on the rings */
    int64_t now_us;             /* monotonic, taken once a turn and at each reply */
    int64_t beat_ms;            /* monotonic, of the last heartbeat */
    struct ledger_filer *filer; /* NULL: no state directory */
    uint64_t filing_row;        /* where the open segment ends: then the filer has work */
    unsigned ledger_warned;     /* percent that was warned of last; 0: none */
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

/* ---- lane_dispatch.c ---- */

extern const char *const lane_processor_names[SHM_PROCESSORS];

/* Send what may be sent. Returns when to look again at the latest (monotonic
 * us; INT64_MAX: only an event can change anything). */
int64_t lane_dispatch(struct lane *, bool *sent);
/* Begin the POST of a slot that was just bound or is pinned. */
void lane_send_post(struct lane *, uint32_t slot, unsigned processor);
/* An answer to a POST came: tell the view, free the place. */
void lane_note_answer(struct lane *, uint32_t slot, const struct upstream_completion *);
void lane_dispatch_init(struct lane *);

#endif
