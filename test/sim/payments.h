/* All payments of a seed, as the world outside knows them: what clients asked for and were told,
 * and what stands in the processors' books. What the gateway does is judged by this. */
#ifndef PAYRING_TEST_SIM_PAYMENTS_H
#define PAYRING_TEST_SIM_PAYMENTS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"
#include "shm/shm_layout.h"

#define SIM_PAYMENTS_MAX 32768 /* an id tells its number: see sim_payment_of */
#define SIM_AMOUNTS      2

struct sim_insert {
    bool there;
    bool foreign; /* by somebody else, not by a request of this gateway */
    bool exact;   /* false: requestedAt has digits below the microsecond */
    int64_t amount_cents;
    int64_t requested_at_us;
};

struct sim_payment {
    struct uuid id;
    int64_t amount_cents[SIM_AMOUNTS]; /* that clients send; the second is a conflicting one */
    bool offered[SIM_AMOUNTS];
    bool promised;      /* answered 2xx, asked for after the last purge began */
    bool rejected;      /* a record of it ended REJECTED */
    bool forgotten;     /* the filter dropped it: beyond the horizon */
    uint8_t remembered; /* in which generations of the filter; bit = generation */
    uint8_t lane;
    uint16_t bad_requests;                /* 400s that were answered */
    int64_t first_offered_us, settled_us; /* for the report on routing */
    int64_t remembered_us;                /* when its last record was forgotten, monotonic */
    struct sim_insert book[SHM_PROCESSORS];
};

extern struct sim_payment sim_payments[SIM_PAYMENTS_MAX];
extern uint32_t sim_payment_count;

/* A new one, of the next number. */
struct sim_payment *sim_payment_new(int64_t amount_cents, int64_t other_amount_cents);

/* By its id. A CHECK for one that nobody ever sent: the gateway made it up. */
struct sim_payment *sim_payment_of(const struct uuid *id);

static inline unsigned sim_number(const struct sim_payment *payment)
{
    return (unsigned)(payment - sim_payments);
}

#endif
