/* Taking a payment in: from an id and an amount to the ring of its lane, or to the reason why not.
 * Nothing of HTTP.
 *
 *                       known, other amount ──▶ DIFFERS
 *   id, cents ──▶ lane ─▶ table ── known, will never be paid ──▶ REFUSED
 *                       │       └─ known, same amount ──▶ KNOWN (nothing to do)
 *                       ▼ not known
 *                    intake ── stopped ──▶ STOPPED
 *                       ▼
 *                    journal ── failed, behind ──▶ JOURNAL_FAILED, JOURNAL_BEHIND
 *                       ▼
 *                    ledger ── could not hold it ──▶ LEDGER_FULL
 *                       ▼
 *                     ring ── no slot ──▶ RING_FULL
 *                       ▼
 *                    ACCEPTED: it is the lane's
 *
 * In durability sync, ACCEPTED and KNOWN come with a receipt, and are answered when what it stands
 * for is on disk (payment_intake_look).
 *
 * The table is only a hint here. What is missed (it changes while we look; a payment may still be
 * in a ring) is enqueued, and its lane, which sees all copies of an id one after the other, drops
 * the copy. So a copy with another amount may be accepted before the first one stands in the table;
 * the lane does not pay it.
 */
#ifndef PAYRING_API_PAYMENT_INTAKE_H
#define PAYRING_API_PAYMENT_INTAKE_H

#include <stdbool.h>
#include <stdint.h>

#include "shm/shm_doorbell.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"

/* Offers between two wake-ups (payment_intake_wake), so that a ring does not fill up in front of an
 * owner that sleeps: a quarter of the smallest ring (config.c). */
#define PAYMENT_INTAKE_BATCH_MAX 16

enum payment_intake_verdict {
    PAYMENT_INTAKE_ACCEPTED,       /* pushed */
    PAYMENT_INTAKE_KNOWN,          /* the same payment is there already, or paid */
    PAYMENT_INTAKE_DIFFERS,        /* the id is known with another amount */
    PAYMENT_INTAKE_REFUSED,        /* known, and ended CONFLICT or REJECTED: it will not be paid */
    PAYMENT_INTAKE_RING_FULL,      /* its lane does not keep up */
    PAYMENT_INTAKE_LEDGER_FULL,    /* its row might not fit */
    PAYMENT_INTAKE_STOPPED,        /* an operator wants nothing new in here */
    PAYMENT_INTAKE_REGION_GONE,    /* what is accepted into it would be lost */
    PAYMENT_INTAKE_JOURNAL_FAILED, /* what is accepted now would not be on disk, soon or ever */
    PAYMENT_INTAKE_JOURNAL_BEHIND, /* async: what was accepted a second ago is in no journal yet */
};

/* What has to be on disk before a payment may be called durable. */
struct payment_intake_receipt {
    unsigned lane;
    bool is_entry; /* of our ring: the number of entries up to it; else a record of the journal */
    uint64_t upto;
};

enum payment_intake_durability {
    PAYMENT_INTAKE_DURABLE,
    PAYMENT_INTAKE_NOT_YET,
    PAYMENT_INTAKE_NEVER_KNOWN, /* the journal has failed: it may be on disk or not */
};

/* An API's way to one lane. */
struct payment_intake_lane {
    struct shm_ring_producer ring;
    struct shm_doorbell bell;
    struct shm_payments payments;
    unsigned budget; /* payments that the ledger is known to hold (shm_ledger_budget) */
    bool unwoken;    /* something was pushed since its owner was woken, if it slept */
};

struct payment_intake {
    const struct shm_region *region;
    bool region_gone;              /* set by whoever finds out; never taken back */
    uint64_t intake;               /* shm_operator_intake at the last look */
    _Atomic uint64_t *intake_seen; /* where that is said */
    unsigned api_slot;
    struct payment_intake_receipt receipt; /* of the last ACCEPTED or KNOWN */
    struct payment_intake_lane lanes[SHM_LANES_MAX];
};

/* Caller: holds the lease of the API slot, its area is writable. Goes on from the shared tails. The
 * region must outlive it. */
void payment_intake_open(struct payment_intake *, const struct shm_region *, unsigned api_slot);
void payment_intake_close(struct payment_intake *);

/* That id will be offered soon: its lane's lines of the table, which the lane writes, take longer
 * to come than anything else that is done for it. Called for each of a few, then the second for
 * each, then they are offered. */
void payment_intake_expect(const struct payment_intake *, const struct uuid *id);
void payment_intake_expect_record(const struct payment_intake *, const struct uuid *id);

/* Take a payment in, or say why not.
 *
 * Never waits. Only ACCEPTED changed anything; all others may be asked again at any time.
 * Caller:  the API's event loop, the only producer of its rings. amount_cents is positive;
 *          now_ms is the wall clock. Calls payment_intake_wake after the last of a few.
 * Order:   the purge generation is read (seq_cst) before the push, so that a payment whose
 *          acceptance a purge overtakes is older than that purge, never the other way round. Answer
 *          the client only after this returns: the release of the ring's tail is the acceptance.
 * Crash:   before that release the payment is lost and the client knows nothing; after it, it is
 *          the lane's, whether the client was told or not, and may be sent again safely.
 */
enum payment_intake_verdict payment_intake_offer(struct payment_intake *, const struct uuid *id,
                                                 int64_t amount_cents, int64_t now_ms);

/* Look whether intake was stopped or opened, and say that it was seen: true if it is stopped. An
 * operator waits for that, so an API looks now and then, not only when something is offered.
 * Order:   seen is stored (release) after every push under what was seen before. */
bool payment_intake_is_stopped(struct payment_intake *);

/* Is it on disk? Always, where nothing is to wait for. Never waits. */
enum payment_intake_durability payment_intake_look(const struct payment_intake *,
                                                   const struct payment_intake_receipt *);

/* Wake the owners that sleep of lanes into which something was pushed since the last call. A
 * wake-up costs as much as several answers: after a few payments, and after their answers.
 *
 * Caller:  the API's event loop, before it sleeps; PAYMENT_INTAKE_BATCH_MAX offers at most before.
 * Crash:   whoever dies, is stopped or held up between a push and this leaves an owner asleep that
 *          looks at its rings once a second all the same.
 */
void payment_intake_wake(struct payment_intake *);

/* Wake every lane's owner that sleeps, at once: something else than a payment waits for it. */
void payment_intake_wake_all(struct payment_intake *);

#endif
