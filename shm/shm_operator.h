/* What a person asks of the running gateway: stop taking payments in, and what
 * to do with a pinned one. The words of the operator page, and the answers in
 * the pages of those who are asked.
 *
 *   payringctl (lease OPERATOR)            lane's owner, once a turn
 *   request := odd, fields, request := n   sees n, waits until no attempt is out,
 *   ring the doorbell                      asks the processor's book
 *   ...                                    phase := ACTING, request still n?
 *   deadline: request := n + 1                yes: acts, verdict, answered := n
 *   phase ACTING? ── yes: await the verdict   no:  withdrawn, nothing was done
 *                 └─ no:  nothing was done
 *
 * The last two lines on each side are seq_cst: of the lane's announcement and
 * the operator's withdrawal one comes first, so either the lane sees that it is
 * too late, or the operator sees that it has to wait for the verdict.
 */
#ifndef PAYRING_SHM_OPERATOR_H
#define PAYRING_SHM_OPERATOR_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"
#include "shm/shm_region.h"

/* ---- intake ---- */

/* How often intake was stopped or opened; odd = stopped. Any process.
 *
 * An API reads it before each push, and copies what it has read to intake_seen
 * of its own page. Its one thread does both, so from the moment that its
 * intake_seen is that of a stop it accepts nothing until the number changes,
 * and all that it had accepted before lies in its rings. A new tenant of a slot
 * whose lease was free after the stop reads the number after it took the lease. */
uint64_t shm_operator_intake(const struct shm_region *);

static inline bool shm_operator_is_stopped(uint64_t intake)
{
    return intake & 1;
}

/* Stop or open intake; returns the number from now on. As it is already: unchanged.
 * Caller: holds the operator lease, the page is open. */
uint64_t shm_operator_set_intake(struct shm_region *, bool stopped);

/* ---- requests ---- */

struct shm_operator_request {
    uint64_t number; /* even, from 2 on */
    struct uuid id;
    enum shm_decision decision;
    char by[SHM_OPERATOR_NAME_SIZE]; /* for the log: printable, but escape them all the same */
    char reason[SHM_OPERATOR_REASON_SIZE];
};

struct shm_operator_answer {
    enum shm_verdict verdict;
    uint64_t detail; /* as the verdict says */
};

/* Publish a request; returns its number. What stood there is withdrawn by it.
 * Order:   `request` odd, fields, `request` even (seq_cst). Then ring the doorbell.
 * Crash:   odd: nobody reads it. Even: the lane sees to it, nobody listens.
 * Caller:  holds the operator lease, the page is open. */
uint64_t shm_operator_publish(struct shm_region *, const struct shm_operator_request *);

/* Take it back. true: nothing was done and nothing will be. false: the lane had
 * begun to act, its verdict is a matter of microseconds unless its owner stands
 * still or dies just then. Caller: as above. */
bool shm_operator_withdraw(struct shm_region *, unsigned lane, uint64_t number);

/* The lane's verdict; false: none yet. Any process, as are the next two. */
bool shm_operator_answered(const struct shm_region *, unsigned lane, uint64_t number,
                           struct shm_operator_answer *);

/* How far the lane has come with it; 0: it has not seen it. */
enum shm_decision_phase shm_operator_phase(const struct shm_region *, unsigned lane,
                                           uint64_t number);

/* Changes whenever something is published or withdrawn: cheap, for every turn. */
uint64_t shm_operator_number(const struct shm_region *);

/* ---- the lane's owner ---- */

/* Copy the request that stands there. false: there is none, or it changes just
 * now; its number will be another one then. */
bool shm_operator_read(const struct shm_region *, struct shm_operator_request *);

/* Say how far it is. SEEN first: it makes the number this lane's. */
void shm_operator_see(struct shm_lane *, uint64_t number, enum shm_decision_phase);

/* Announce that it is carried out now. false: it was withdrawn, do nothing. */
bool shm_operator_begin(const struct shm_region *, struct shm_lane *, uint64_t number);

/* The last word. Crash: before it the next owner gives its own (OWNER_CHANGED). */
void shm_operator_conclude(struct shm_lane *, uint64_t number, struct shm_operator_answer);

#endif
