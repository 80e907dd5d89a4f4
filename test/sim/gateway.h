/* The processes of a simulated gateway, each running the production objects: a creator of the
 * region (shm_region.c), APIs (payment_intake.c and what they lean on), workers with their lanes
 * and the health caller (lane*.c, health.c), and an inspector (shm_check.c, shm_ledger_sum).
 *
 * What stands here instead of production code is what belongs to HTTP, signals and main(): a
 * worker's main loop after worker_main.c, an API's beginning after api.c, a purge after
 * route_purge.c. */
#ifndef PAYRING_TEST_SIM_GATEWAY_H
#define PAYRING_TEST_SIM_GATEWAY_H

#include "api/payment_intake.h"
#include "shm/shm_ledger.h"
#include "shm/shm_region.h"
#include "test/sim/kernel.h"
#include "test/sim/payments.h"
#include "worker/lane.h"

#define SIM_REGION      "sim"
#define SIM_APIS_MAX    3
#define SIM_WORKERS_MAX 3
#define SIM_INBOX       512 /* of an API; a client that finds no room comes again later */

struct sim_settings {
    struct shm_geometry geometry;
    struct lane_settings lane;
    unsigned apis, workers;
    unsigned worker_lanes;
    int64_t takeover_ms;
    int64_t health_interval_ms;
    int64_t hold_up_us; /* what may pass in the midst of one turn of a thread: its idea of the time
                           is that old */
};
extern struct sim_settings sim_settings;

enum sim_job_kind { SIM_JOB_POST, SIM_JOB_PURGE, SIM_JOB_SUM };

struct sim_job {
    enum sim_job_kind kind;
    struct sim_payment *payment;
    unsigned amount; /* which of the payment's two */
    struct shm_window window;
};

/* An API process, whether it lives or not. */
struct sim_api {
    struct sim_process process;
    struct sim_job inbox[SIM_INBOX];
    unsigned first, count;
    bool serving;
};

struct sim_worker {
    struct sim_process process;
    bool stopping; /* asked to end gently */
};

extern struct sim_process sim_creator, sim_remover, sim_inspector;
extern struct sim_api sim_apis[SIM_APIS_MAX];
extern struct sim_worker sim_workers[SIM_WORKERS_MAX];

void sim_creator_main(void *unused);
void sim_remover_main(void *unused);
void sim_api_main(void *api);
void sim_worker_main(void *worker);
void sim_inspector_main(void *unused);

/* false: the inbox is full, or nobody serves. */
bool sim_api_offer(struct sim_api *, const struct sim_job *);

/* The simulator's own look at the region: no process, no step. NULL: there is none yet. */
const struct shm_region *sim_region(void);
void sim_region_forget(void);

/* What the inspector is to do next, at once; checks findings and bounds by itself. */
void sim_inspector_ask(bool whole_check, const struct shm_window *window);
bool sim_inspector_is_idle(void);

struct sim_gateway_tally {
    uint64_t accepted, known, differs, refused, ring_full, ledger_full, purges, purges_late, sums,
        checks, lanes_taken;
};
extern struct sim_gateway_tally sim_gateway_tally;

#endif
