#include "test/sim/gateway.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "shm/shm_check.h"
#include "shm/shm_lease.h"
#include "test/sim/observe.h"
#include "test/sim/processors.h"
#include "test/sim/random.h"
#include "worker/health.h"

#define ATTACH_WAIT_MS 60000
#define API_LOOK_MS    200
#define PURGE_WAIT_MS  1000
#define WORKER_LOOK_MS 100

struct sim_settings sim_settings;
struct sim_process sim_creator, sim_remover, sim_inspector;
struct sim_api sim_apis[SIM_APIS_MAX];
struct sim_worker sim_workers[SIM_WORKERS_MAX];
struct sim_gateway_tally sim_gateway_tally;

static void sleep_ms(int64_t ms)
{
    sim_sleep_until(sim_now_us + ms * 1000);
}

static void must(enum status status, const struct explain *why)
{
    if (status != STATUS_OK)
        sim_fail("%s", why->text);
}

/* Of the simulator itself: no process, no step. All mappings are one: the first to attach lends
 * its own. */
static struct shm_region own_look;

const struct shm_region *sim_region(void)
{
    return own_look.base ? &own_look : NULL;
}

void sim_region_forget(void)
{
    own_look = (struct shm_region){.fd = -1};
}

static void sim_region_is_at(const struct shm_region *region)
{
    if (!own_look.base)
        own_look = *region;
}

/* --------------------------------------------------------------------- creator */

void sim_creator_main(void *unused)
{
    struct explain why = {{0}};
    (void)unused;
    enum status status = shm_region_create(SIM_REGION, &sim_settings.geometry, &why);
    if (status != STATUS_EXISTS) /* the one before may have died after it was done */
        must(status, &why);
}

/* As `payringctl remove` does, without force. Whoever was killed in it has it done again. */
void sim_remover_main(void *unused)
{
    struct explain why = {{0}};
    (void)unused;
    enum status status = shm_region_remove(SIM_REGION, false, &why);
    if (status != STATUS_NOT_FOUND)
        must(status, &why);
}

/* ------------------------------------------------------------------------ API */

bool sim_api_offer(struct sim_api *api, const struct sim_job *job)
{
    if (!api->serving || api->count == SIM_INBOX)
        return false;
    api->inbox[(api->first + api->count++) % SIM_INBOX] = *job;
    sim_wake(api);
    return true;
}

/* A payment of a batch that was offered, and what came of it. */
struct offered {
    struct sim_payment *payment;
    unsigned amount;
    uint64_t purges_before;
    enum payment_intake_verdict verdict;
};

static void tell_client(const struct offered *offered)
{
    struct sim_payment *payment = offered->payment;
    enum payment_intake_verdict verdict = offered->verdict;
    unsigned amount = offered->amount;
    static uint64_t *const counts[] = {
        [PAYMENT_INTAKE_ACCEPTED] = &sim_gateway_tally.accepted,
        [PAYMENT_INTAKE_KNOWN] = &sim_gateway_tally.known,
        [PAYMENT_INTAKE_DIFFERS] = &sim_gateway_tally.differs,
        [PAYMENT_INTAKE_REFUSED] = &sim_gateway_tally.refused,
        [PAYMENT_INTAKE_RING_FULL] = &sim_gateway_tally.ring_full,
        [PAYMENT_INTAKE_LEDGER_FULL] = &sim_gateway_tally.ledger_full,
    };
    static const char *const words[] = {"202",          "202, known",     "409, another amount",
                                        "409, refused", "503, ring full", "503, ledger full"};
    if (verdict == PAYMENT_INTAKE_REGION_GONE) {
        sim_fail("the region is gone, says the intake");
        return;
    }
    ++*counts[verdict];
    sim_say("POST #%u, %" PRId64 " cents: %s", sim_number(payment), payment->amount_cents[amount],
            words[verdict]);
    if (verdict <= PAYMENT_INTAKE_KNOWN && offered->purges_before == sim_purges_begun)
        payment->promised = true;
    if (verdict == PAYMENT_INTAKE_DIFFERS && !payment->offered[!amount])
        sim_fail("#%u is said to be known with another amount, which nobody sent",
                 sim_number(payment));
}

static void offer(struct payment_intake *intake, const struct sim_job *job, int64_t now_ms,
                  struct offered *offered)
{
    struct sim_payment *payment = job->payment;
    *offered = (struct offered){payment, job->amount, sim_purges_begun, 0};
    if (payment->first_offered_us < 0)
        payment->first_offered_us = sim_now_us;
    payment->offered[job->amount] = true;
    offered->verdict =
        payment_intake_offer(intake, &payment->id, payment->amount_cents[job->amount], now_ms);
}

static unsigned payments_waiting(const struct sim_api *api)
{
    unsigned n = 0;
    while (n < api->count && api->inbox[(api->first + n) % SIM_INBOX].kind == SIM_JOB_POST)
        n++;
    return n;
}

/* As route_payments.c does: some are taken in, then all of them are answered, then the lanes are
 * woken. Returns how many. */
static unsigned serve_batch(const struct sim_api *api, struct payment_intake *intake)
{
    struct offered offered[PAYMENT_INTAKE_BATCH_MAX];
    unsigned waiting = payments_waiting(api),
             most = (unsigned)sim_between(1, PAYMENT_INTAKE_BATCH_MAX);
    unsigned count = waiting < most ? waiting : most;
    int64_t now_ms = clock_wall_ms();

    for (unsigned i = 0; i < count; i++) {
        sim_spend(sim_between(2, 20));
        offer(intake, &api->inbox[(api->first + i) % SIM_INBOX], now_ms, &offered[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        sim_spend(sim_between(1, 5));
        tell_client(&offered[i]);
        CRASH_POINT(payment_answered);
    }
    sim_spend(sim_between(0, 2));
    payment_intake_wake(intake);
    return count;
}

/* As route_purge.c does, its timer made a sleep. */
static void serve_purge(struct shm_region *region, struct payment_intake *intake)
{
    struct explain why;
    if (shm_lease_try_take(region, SHM_LEASE_PURGE) != STATUS_OK)
        return;
    CRASH_POINT(purge_leased);
    must(shm_region_open_purge(region, &why), &why);
    _Atomic uint64_t *current = &shm_region_purge(region)->generation;
    uint64_t generation = atomic_load_explicit(current, memory_order_relaxed) + 1;
    sim_purge_begins(); /* what it may reach is promised no more */
    atomic_store_explicit(current, generation, memory_order_seq_cst);
    sim_purge_begins(); /* nor what was accepted between that and the store */
    CRASH_POINT(purge_generation_raised);
    shm_region_close_purge(region);
    shm_lease_give_back(region, SHM_LEASE_PURGE);
    payment_intake_wake_all(intake);
    CRASH_POINT(purge_lanes_woken);
    for (int64_t end_us = sim_now_us + PURGE_WAIT_MS * 1000; sim_now_us < end_us; sleep_ms(5)) {
        unsigned late = 0;
        for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
            late += atomic_load_explicit(&shm_region_lane(region, lane)->purge_applied,
                                         memory_order_acquire) < generation;
        if (late == 0) {
            sim_gateway_tally.purges++;
            return;
        }
    }
    sim_gateway_tally.purges_late++;
}

static bool take_slot(struct shm_region *region, unsigned *slot)
{
    for (*slot = 0; *slot < region->geometry.api_slots; ++*slot)
        if (shm_lease_try_take(region, SHM_LEASE_API + *slot) == STATUS_OK)
            return true;
    return false;
}

static void serve(struct sim_api *api, struct shm_region *region, struct payment_intake *intake)
{
    while (api->count == 0)
        sim_wait_on(api, NULL, sim_now_us + API_LOOK_MS * 1000);
    struct sim_job job = api->inbox[api->first];
    unsigned served = 1;
    if (job.kind == SIM_JOB_POST) {
        served = serve_batch(api, intake);
    } else {
        sim_spend(sim_between(2, 20));
        if (job.kind == SIM_JOB_PURGE)
            serve_purge(region, intake);
        else
            sim_check_sum(region, &job.window);
    }
    api->first = (api->first + served) % SIM_INBOX;
    api->count -= served; /* only now: there is work as long as it is not 0 */
}

void sim_api_main(void *context)
{
    struct sim_api *api = context;
    struct shm_region *region = calloc(1, sizeof *region);
    struct payment_intake *intake = calloc(1, sizeof *intake);
    struct explain why;
    unsigned slot;
    api->first = api->count = 0;
    must(shm_region_attach(region, SIM_REGION, ATTACH_WAIT_MS, &why), &why);
    sim_region_is_at(region);
    while (!take_slot(region, &slot))
        sleep_ms(20);
    CRASH_POINT(api_leased);
    if (!shm_region_is_current(region))
        sim_fail("the region is not current");
    must(shm_region_open_api(region, slot, &why), &why);
    CRASH_POINT(api_writable);
    shm_presence_begin(&shm_region_api(region, slot)->presence);
    CRASH_POINT(api_epoch_raised);
    payment_intake_open(intake, region, slot);
    sim_say("serves with slot %u", slot);
    api->serving = true;
    for (;;)
        serve(api, region, intake);
}

/* --------------------------------------------------------------------- worker */

struct worker {
    struct shm_region region;
    struct health *health;
    struct lane *lanes[SHM_LANES_MAX];
    int64_t unowned_since_ms[SHM_LANES_MAX];
    unsigned lane_count;
};

static void own_lane(struct worker *worker, unsigned number)
{
    struct explain why;
    CRASH_POINT(lane_leased);
    if (!shm_region_is_current(&worker->region))
        sim_fail("the region is not current");
    must(shm_region_open_lane(&worker->region, number, &why), &why);
    CRASH_POINT(lane_writable);
    must(lane_start(&worker->lanes[number], &worker->region, number, &sim_settings.lane, &why),
         &why);
    worker->lane_count++;
    sim_gateway_tally.lanes_taken++;
}

/* As in worker_main.c. */
static void look_for_lanes(struct worker *worker)
{
    int64_t now = clock_monotonic_ms();
    for (unsigned i = 0; i < worker->region.geometry.lanes; i++) {
        if (worker->lanes[i])
            continue;
        if (shm_lease_is_taken(&worker->region, SHM_LEASE_LANE + i)) {
            worker->unowned_since_ms[i] = 0;
            continue;
        }
        if (!worker->unowned_since_ms[i])
            worker->unowned_since_ms[i] = now;
        bool mine = worker->lane_count < sim_settings.worker_lanes;
        bool abandoned = now - worker->unowned_since_ms[i] >= sim_settings.takeover_ms;
        if ((mine || abandoned) &&
            shm_lease_try_take(&worker->region, SHM_LEASE_LANE + i) == STATUS_OK)
            own_lane(worker, i);
    }
}

static void stop(struct worker *worker)
{
    for (unsigned i = 0; i < SHM_LANES_MAX; i++)
        if (worker->lanes[i])
            lane_request_stop(worker->lanes[i]);
    for (unsigned i = 0; i < SHM_LANES_MAX; i++) {
        if (!worker->lanes[i])
            continue;
        lane_join(worker->lanes[i]);
        shm_region_close_lane(&worker->region, i);
        shm_lease_give_back(&worker->region, SHM_LEASE_LANE + i);
    }
    health_stop(worker->health);
    shm_region_detach(&worker->region);
}

void sim_worker_main(void *context)
{
    const struct sim_worker *self = context;
    struct worker *worker = calloc(1, sizeof *worker);
    struct health_settings health = {.urls = {"default", "fallback"},
                                     .interval_ms = sim_settings.health_interval_ms};
    struct explain why;
    must(shm_region_attach(&worker->region, SIM_REGION, ATTACH_WAIT_MS, &why), &why);
    sim_region_is_at(&worker->region);
    worker->health = health_start(&worker->region, &health, &why);
    while (!self->stopping) {
        look_for_lanes(worker);
        /* Nothing to look for: nobody's lane can become free of an owner that is ourselves. */
        sleep_ms(worker->lane_count == worker->region.geometry.lanes ? 1000 : WORKER_LOOK_MS);
    }
    stop(worker);
    sim_say("ended gently");
}

/* -------------------------------------------------------------------- inspector */

static struct {
    bool asked, whole_check;
    struct shm_window window;
} inspection;

void sim_inspector_ask(bool whole_check, const struct shm_window *window)
{
    inspection.asked = true;
    inspection.whole_check = whole_check;
    inspection.window = *window;
    sim_wake(&inspection);
}

bool sim_inspector_is_idle(void)
{
    return sim_inspector.alive && !inspection.asked;
}

/* Every finding is a sentence; the first one is the seed's failure. */
static void check_whole(const struct shm_region *region)
{
    static char text[4096];
    struct shm_check_result result;
    struct explain why;
    FILE *out = fmemopen(text, sizeof text, "w");
    CHECK(out != NULL);
    text[0] = '\0';
    must(shm_check(region, out, &result, &why), &why);
    fclose(out);
    text[strcspn(text, "\n")] = '\0';
    sim_gateway_tally.checks++;
    if (result.findings > 0)
        sim_fail("shm_check: %.400s", text);
}

void sim_inspector_main(void *unused)
{
    struct shm_region *region = calloc(1, sizeof *region);
    struct explain why;
    (void)unused;
    must(shm_region_attach(region, SIM_REGION, ATTACH_WAIT_MS, &why), &why);
    sim_region_is_at(region);
    inspection.asked = false;
    for (;;) {
        while (!inspection.asked)
            sim_wait_on(&inspection, NULL, SIM_NEVER);
        if (inspection.whole_check)
            check_whole(region);
        else
            sim_check_sum(region, &inspection.window);
        inspection.asked = false;
    }
}
