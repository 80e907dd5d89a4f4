#include "test/sim/director.h"

#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "test/sim/gateway.h"
#include "test/sim/kernel.h"
#include "test/sim/observe.h"
#include "test/sim/processors.h"
#include "test/sim/random.h"

#define SECOND        INT64_C(1000000)
#define CLIENT_TRIES  6
#define HEAL_LIMIT_US (3600 * SECOND) /* of an hour's simulated time everything must have ended */
#define LOOK_US       (SECOND / 4)

uint64_t sim_seed;
int64_t sim_simulated_us;

/* What one seed does to its gateway. */
static struct plan {
    int64_t active_us;
    unsigned payments, copies_of_1024, conflicts_of_1024, foreign_of_1024, large_of_1024;
    unsigned deaths, stops, gentle_ends, purges, clock_steps, inspections;
    bool stormy; /* the processors misbehave in every way */
    bool calm;   /* not at all */
    bool healing;
    bool over;
    enum { HEAL, LAST_CHECK, ENDING, CHECK_AFTER, PROMISES, REMOVING } phase;
} plan;

static bool is_over(void)
{
    return plan.over;
}

/* ------------------------------------------------------------------------- drawing */

static void draw_geometry(void)
{
    struct sim_settings *s = &sim_settings;
    s->geometry = (struct shm_geometry){
        .api_slots = s->apis + (uint32_t)sim_below(2),
        .lanes = (uint32_t)SIM_ONE_OF(1, 1, 2, 2, 3),
        .ring_slots = (uint32_t)SIM_ONE_OF(4, 8, 16, 64),
        .payment_slots = (uint32_t)SIM_ONE_OF(4, 6, 10, 16, 32, 100),
        .ledger_rows = 16 * (uint32_t)sim_between(20, 60),
        .horizon_payments = (uint32_t)SIM_ONE_OF(8, 8, 16, 64),
    };
}

static void draw_settings(void)
{
    struct sim_settings *s = &sim_settings;
    s->apis = (unsigned)SIM_ONE_OF(1, 2, 2, 2, 3);
    s->workers = (unsigned)SIM_ONE_OF(1, 2, 2, 3);
    draw_geometry();
    s->worker_lanes = (unsigned)sim_between(1, s->geometry.lanes);
    s->takeover_ms = sim_spread(100, 3000);
    s->health_interval_ms = 5000;
    s->lane = (struct lane_settings){
        .urls = {"default", "fallback"},
        .state_dir = "",
        .policy = sim_chance(256) ? ROUTING_DEFAULT_ONLY : ROUTING_DEADLINE,
        .deadline_ms = sim_spread(100, 60000),
        .post_timeout_ms = SIM_ONE_OF(1000, 5000, 30000),
        .lookup_timeout_ms = SIM_ONE_OF(200, 1000, 5000),
        .horizon_ms = SIM_ONE_OF(0, 0, 100, 3000),
        .lookup_young_ms = SIM_ONE_OF(0, 0, 0, 4000),
        .stop_timeout_ms = SIM_ONE_OF(10, 1000, 10000),
        .in_flight_max = (int)SIM_ONE_OF(1, 2, 4, 8, 32),
    };
    sim_preempt_accesses = (int)SIM_ONE_OF(0, 0, 1000, 200, 40);
    sim_preempt_us = SIM_ONE_OF(20, 200, 3000);
}

static unsigned sometimes(unsigned of_1024, unsigned most)
{
    return sim_chance(of_1024) ? 1 + sim_below(most) : 0;
}

static void draw_plan(void)
{
    unsigned weather = sim_below(8);
    plan = (struct plan){
        .active_us = sim_spread(SECOND / 2, 30 * SECOND),
        .payments = (unsigned)sim_spread(4, 120),
        .copies_of_1024 = (unsigned)SIM_ONE_OF(0, 100, 300, 600),
        .conflicts_of_1024 = (unsigned)SIM_ONE_OF(0, 0, 200),
        .foreign_of_1024 = (unsigned)SIM_ONE_OF(0, 0, 50, 300),
        .large_of_1024 = (unsigned)SIM_ONE_OF(0, 50, 500),
        .deaths = sometimes(800, 10),
        .stops = sometimes(300, 4),
        .gentle_ends = sometimes(300, 3),
        .purges = sometimes(300, 3),
        .clock_steps = sometimes(300, 3),
        .inspections = sometimes(512, 10),
        .calm = weather == 0,
        .stormy = weather >= 5,
    };
}

/* ------------------------------------------------------------------------- weather */

static const struct sim_weather fair = {.delay_us = 1000, .running_max = 1000};

/* Each of these lies in wait for itself alone now and then, or all at once. */
static void draw_troubles(struct sim_weather *w, unsigned most)
{
    unsigned *const chances[] = {&w->refused,     &w->busy,        &w->bad_request, &w->body_500,
                                 &w->reset,       &w->malformed,   &w->late,        &w->resent,
                                 &w->lookup_lost, &w->lookup_slow, &w->lookup_busy};
    bool all = sim_chance(200);
    for (unsigned i = 0; i < sizeof chances / sizeof *chances; i++)
        if (all || sim_chance(200))
            *chances[i] = sim_below(most) + 1;
}

static void change_weather(void *context, uint64_t processor)
{
    struct sim_weather *w = &sim_weather[processor];
    (void)context;
    if (plan.healing)
        return;
    *w = fair;
    if (!plan.calm) {
        w->delay_us = sim_chance(512) ? 0 : sim_spread(1000, 6 * SECOND);
        w->failing = sim_chance(300);
        w->running_max = (int)SIM_ONE_OF(2, 8, 1000, 1000);
        draw_troubles(w, plan.stormy ? 500 : 60);
    }
    sim_say("weather at %s: delay %" PRId64 " ms%s, at most %d at once; of 1024: %u refused, %u "
            "429, %u 400, %u 500 with a body, %u reset, %u malformed, %u late, %u sent twice",
            processor ? "fallback" : "default", w->delay_us / 1000, w->failing ? ", failing" : "",
            w->running_max, w->refused, w->busy, w->bad_request, w->body_500, w->reset,
            w->malformed, w->late, w->resent);
    sim_at(sim_now_us + sim_spread(50000, 10 * SECOND), change_weather, NULL, processor);
}

/* ------------------------------------------------------------------------- clients */

struct errand { /* a client on its way; value of its event: which one */
    struct sim_job job;
    unsigned tries;
};

static struct errand errands[2048];
static unsigned errand_count;

static void knock(void *context, uint64_t number)
{
    struct errand *errand = &errands[number];
    (void)context;
    if (plan.phase != HEAL)
        return; /* too late: everything has been counted */
    struct sim_api *api = &sim_apis[sim_below(sim_settings.apis)];
    if (sim_api_offer(api, &errand->job) || ++errand->tries >= CLIENT_TRIES || plan.healing)
        return;
    sim_at(sim_now_us + sim_spread(1000, SECOND), knock, NULL, number);
}

static void send_errand(const struct sim_job *job, int64_t at_us)
{
    if (errand_count == sizeof errands / sizeof *errands)
        return;
    errands[errand_count] = (struct errand){.job = *job};
    sim_at(at_us, knock, NULL, errand_count++);
}

/* Before the region's first day, in it, or about now; whole milliseconds or not. */
static int64_t foreign_time(void)
{
    int64_t now_us = clock_wall_ms() * 1000;
    int64_t back_us = SIM_ONE_OF(0, 1, 1, 60, 90000, 400000) * SECOND;
    int64_t us = now_us - sim_between(0, back_us + 2000);
    return sim_chance(512) ? us / 1000 * 1000 : us;
}

static void insert_elsewhere(void *context, uint64_t processor)
{
    struct sim_payment *payment = context;
    int64_t cents = sim_chance(800) ? payment->amount_cents[0] : payment->amount_cents[1];
    sim_insert_foreign(payment, (unsigned)processor, cents, foreign_time(), sim_chance(900));
}

static int64_t draw_amount(void)
{
    if (sim_chance(plan.large_of_1024))
        return SIM_ONE_OF(16777215, 16777216, 10000000000000, 99999999);
    return SIM_ONE_OF(1990, 1990, 1, 100, 123456);
}

static struct sim_payment *draw_payment(void)
{
    if (sim_payment_count > 0 && sim_chance(plan.copies_of_1024)) {
        /* A recent one rather than an old one. */
        uint32_t back = sim_chance(512) ? sim_below(4) : sim_below(sim_payment_count);
        return &sim_payments[sim_payment_count - 1 - back % sim_payment_count];
    }
    int64_t cents = draw_amount();
    struct sim_payment *payment = sim_payment_new(cents, cents > 5 ? cents - 5 : cents + 5);
    payment->first_offered_us = -1;
    payment->lane = UINT8_MAX;
    if (sim_chance(plan.foreign_of_1024)) {
        int64_t at_us = sim_chance(512) ? sim_now_us : sim_now_us + sim_spread(1000, SECOND);
        sim_at(at_us, insert_elsewhere, payment, sim_below(SHM_PROCESSORS));
    }
    return payment;
}

/* One payment or a burst of them, sometimes through two APIs at once; `left` are still to come. */
static void arrive(void *context, uint64_t left)
{
    (void)context;
    for (unsigned burst = sim_chance(100) ? 1 + sim_below(20) : 1; burst > 0 && left > 0; burst--) {
        struct sim_job job = {.kind = SIM_JOB_POST, .payment = draw_payment()};
        job.amount = sim_chance(plan.conflicts_of_1024);
        send_errand(&job, sim_now_us);
        if (sim_chance(plan.copies_of_1024 / 4)) {
            job.amount = sim_chance(plan.conflicts_of_1024);
            send_errand(&job, sim_now_us + sim_between(0, 300));
        }
        left--;
    }
    if (left > 0 && !plan.healing)
        sim_at(sim_now_us + sim_between(0, 2 * plan.active_us / plan.payments), arrive, NULL, left);
}

/* --------------------------------------------------------------------------- fates */

static void start_process(struct sim_process *process);
static void kill_somebody(void *context, uint64_t unused);
static void make_sure(void *context, uint64_t life);
static void on_api_death(struct sim_process *process);

/* Some die before they are at work: at a point of their beginning. */
static void doom_at_start(struct sim_process *process)
{
    if (plan.healing || !sim_chance(plan.deaths > 0 ? 60 : 0))
        return;
    sim_tally.kills++;
    sim_process_doom(process, SIM_KILL, INT_MAX, 0);
    if (process == &sim_creator)
        process->fate_point =
            (int)sim_between(CRASH_POINT_region_half_locked, CRASH_POINT_region_linked);
    else if (process->on_death == on_api_death)
        process->fate_point =
            (int)sim_between(CRASH_POINT_api_leased, CRASH_POINT_api_epoch_raised);
    else
        process->fate_point = (int)sim_between(CRASH_POINT_lane_leased, CRASH_POINT_take_over_done);
    sim_at(sim_now_us + SECOND, make_sure, process, process->life);
}

static void start_again(void *context, uint64_t life)
{
    struct sim_process *process = context;
    bool is_needed = process != &sim_creator || !sim_region();
    if (process->alive || process->life != life || !is_needed)
        return;
    start_process(process);
    doom_at_start(process);
}

static int64_t absence_us(void)
{
    return plan.healing ? sim_spread(1000, SECOND) : sim_spread(1000, 8 * SECOND);
}

static void on_api_death(struct sim_process *process)
{
    struct sim_api *api = process->owner;
    api->serving = false;
    sim_at(sim_now_us + absence_us(), start_again, process, process->life);
}

static void on_worker_death(struct sim_process *process)
{
    struct sim_worker *worker = process->owner;
    sim_requests_orphan(process);
    worker->stopping = false;
    if (!plan.healing && sim_chance(300)) /* the next owner finds it half done, and dies too */
        sim_at(sim_now_us + sim_spread(1000, 3 * SECOND), kill_somebody, NULL, 0);
    if (plan.phase != ENDING)
        sim_at(sim_now_us + absence_us(), start_again, process, process->life);
}

/* It is needed until the region is there. */
static void on_creator_death(struct sim_process *process)
{
    if (!sim_region())
        sim_at(sim_now_us + absence_us(), start_again, process, process->life);
}

static void start_process(struct sim_process *process)
{
    char name[24];
    sim_say("%s starts", process->name);
    if (process == &sim_creator) {
        sim_process_start(process, "creator", sim_creator_main, NULL);
        return;
    }
    if (process == &sim_remover) {
        sim_process_start(process, "remover", sim_remover_main, NULL);
        return;
    }
    for (unsigned i = 0; i < SIM_APIS_MAX; i++) {
        snprintf(name, sizeof name, "api %u", i);
        if (process == &sim_apis[i].process)
            sim_process_start(process, name, sim_api_main, &sim_apis[i]);
    }
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++) {
        snprintf(name, sizeof name, "worker %u", i);
        if (process == &sim_workers[i].process)
            sim_process_start(process, name, sim_worker_main, &sim_workers[i]);
    }
}

static struct sim_process *draw_victim(void)
{
    unsigned n = sim_below(sim_settings.apis + 2 * sim_settings.workers);
    if (sim_creator.alive && sim_chance(512))
        return &sim_creator;
    return n < sim_settings.apis ? &sim_apis[n].process
                                 : &sim_workers[(n - sim_settings.apis) / 2].process;
}

/* Who was to die at a store and made none dies where it is. */
static void make_sure(void *context, uint64_t life)
{
    struct sim_process *process = context;
    if (process->life != life || process->fate != SIM_KILL || !process->alive)
        return;
    sim_say("%s is killed", process->name);
    sim_process_kill(process);
}

/* Any of them, but more often where a payment settles: two deaths there make a story. */
static int draw_point(void)
{
    return sim_chance(300) ? (int)sim_between(CRASH_POINT_row_named, CRASH_POINT_row_published)
                           : (int)sim_below(SIM_POINT_COUNT);
}

static void kill_somebody(void *context, uint64_t unused)
{
    (void)context, (void)unused;
    struct sim_process *process = draw_victim();
    if (!process->alive || plan.healing || process->fate != SIM_LIVE)
        return;
    sim_tally.kills++;
    if (sim_chance(512)) {
        sim_process_doom(process, SIM_KILL, (int)sim_spread(1, 400), 0);
    } else {
        sim_process_doom(process, SIM_KILL, INT_MAX, 0);
        process->fate_point = draw_point();
    }
    sim_at(sim_now_us + sim_spread(1000, 4 * SECOND), make_sure, process, process->life);
}

static void stop_somebody(void *context, uint64_t unused)
{
    (void)context, (void)unused;
    struct sim_process *process = draw_victim();
    if (process->alive && !plan.healing && process->fate == SIM_LIVE)
        sim_process_doom(process, SIM_STOP, (int)sim_spread(1, 400), sim_spread(1000, 8 * SECOND));
}

static void end_somebody(void *context, uint64_t unused)
{
    struct sim_worker *worker = &sim_workers[sim_below(sim_settings.workers)];
    (void)context, (void)unused;
    if (worker->process.alive && !plan.healing)
        worker->stopping = true;
}

static void purge(void *context, uint64_t unused)
{
    (void)context, (void)unused;
    if (!plan.healing)
        send_errand(&(struct sim_job){.kind = SIM_JOB_PURGE}, sim_now_us);
}

static void step_clock(void *context, uint64_t unused)
{
    (void)context, (void)unused;
    int64_t by_us = SIM_ONE_OF(-3600, 3600, -10, 10, -1) * SECOND + sim_between(-2000, 2000);
    sim_wall_offset_us += by_us;
    sim_say("the wall clock steps by %" PRId64 " ms", by_us / 1000);
}

static void inspect(void *context, uint64_t unused)
{
    (void)context, (void)unused;
    int64_t now_us = clock_wall_us();
    struct shm_window window = {now_us - sim_spread(1000, 60 * SECOND),
                                now_us - sim_between(-1000, SECOND)};
    if (sim_chance(256))
        window = (struct shm_window){INT64_MIN, INT64_MAX};
    if (sim_chance(512))
        send_errand(&(struct sim_job){.kind = SIM_JOB_SUM, .window = window}, sim_now_us);
    else if (sim_inspector_is_idle())
        sim_inspector_ask(sim_chance(512), &window);
}

static void scatter(sim_action *action, unsigned count)
{
    for (; count > 0; count--)
        sim_at(sim_between(0, plan.active_us), action, NULL, 0);
}

/* ------------------------------------------------------------------------- the end */

static bool is_resting(void)
{
    const struct shm_region *region = sim_region();
    bool resting = region && sim_inspector_is_idle() && sim_requests_alive() == 0;
    for (unsigned i = 0; i < sim_settings.apis; i++)
        resting = resting && sim_apis[i].serving && sim_apis[i].count == 0;
    for (unsigned i = 0; i < sim_settings.workers; i++)
        resting = resting && sim_workers[i].process.alive && !sim_workers[i].stopping;
    for (unsigned lane = 0; resting && lane < region->geometry.lanes; lane++) {
        const struct shm_lane *control = shm_region_lane(region, lane);
        resting = control->unsettled == 0 &&
                  control->purge_applied == shm_region_purge(region)->generation &&
                  (control->sleep_count & 1);
        for (unsigned api = 0; api < region->geometry.api_slots; api++)
            resting = resting && shm_ring_depth(region, api, lane) == 0;
    }
    return resting;
}

static void say_what_has_not_ended(void)
{
    const struct shm_region *region = sim_region();
    char text[300] = "there is no region";
    int length = 0;
    for (unsigned lane = 0; region && lane < region->geometry.lanes; lane++)
        length +=
            snprintf(text + length, sizeof text - (size_t)length,
                     "lane %u: %" PRIu64 " unsettled, %" PRIu64 " in rings; ", lane,
                     (uint64_t)shm_region_lane(region, lane)->unsettled,
                     shm_ring_depth(region, 0, lane) +
                         (region->geometry.api_slots > 1 ? shm_ring_depth(region, 1, lane) : 0));
    sim_fail("after an hour with everybody well, not all has ended: %s%u requests alive", text,
             sim_requests_alive());
}

static bool workers_are_gone(void)
{
    for (unsigned i = 0; i < sim_settings.workers; i++)
        if (sim_workers[i].process.alive)
            return false;
    return true;
}

static void on_remover_death(struct sim_process *process)
{
    if (sim_file_exists("/dev/shm/" SIM_REGION))
        sim_at(sim_now_us + absence_us(), start_again, process, process->life);
}

static void remove_region(void)
{
    for (unsigned i = 0; i < sim_settings.apis; i++) {
        sim_apis[i].process.on_death = NULL;
        sim_process_kill(&sim_apis[i].process);
    }
    sim_process_kill(&sim_inspector);
    sim_remover.on_death = on_remover_death;
    start_process(&sim_remover);
    if (!sim_chance(512))
        return;
    sim_process_doom(&sim_remover, SIM_KILL, (int)sim_spread(1, 40), 0);
    if (sim_chance(512))
        sim_remover.fate_point =
            (int)sim_between(CRASH_POINT_removal_leased, CRASH_POINT_region_unnamed);
}

/* Rest, look at everything, let the workers end gently, look once more at what they left, compare
 * the books, remove the region. */
static void look_whether_over(void *context, uint64_t unused)
{
    static const struct shm_window all = {INT64_MIN, INT64_MAX};
    (void)context, (void)unused;
    if (sim_now_us > plan.active_us + HEAL_LIMIT_US) {
        say_what_has_not_ended();
    } else if (plan.phase == HEAL && is_resting()) {
        plan.phase = LAST_CHECK;
        sim_inspector_ask(true, &all);
    } else if (plan.phase == LAST_CHECK && sim_inspector_is_idle()) {
        plan.phase = ENDING;
        for (unsigned i = 0; i < sim_settings.workers; i++)
            sim_workers[i].stopping = true;
    } else if (plan.phase == ENDING && workers_are_gone()) {
        plan.phase = CHECK_AFTER;
        sim_inspector_ask(true, &all);
    } else if (plan.phase == CHECK_AFTER && sim_inspector_is_idle()) {
        plan.phase = PROMISES;
        sim_check_promises();
    } else if (plan.phase == PROMISES) {
        plan.phase = REMOVING;
        remove_region();
    } else if (plan.phase == REMOVING && !sim_remover.alive &&
               !sim_file_exists("/dev/shm/" SIM_REGION)) {
        plan.over = true;
        if (sim_file_exists("/dev/shm/" SIM_REGION ".bell0"))
            sim_fail("the region was removed and its FIFOs were not");
    }
    sim_at(sim_now_us + LOOK_US, look_whether_over, NULL, 0);
}

static void heal(void *context, uint64_t unused)
{
    (void)context, (void)unused;
    sim_say("everybody is well from here on");
    plan.healing = true;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        sim_weather[p] = fair;
    struct sim_process *all[1 + SIM_APIS_MAX + SIM_WORKERS_MAX] = {&sim_creator};
    for (unsigned i = 0; i < SIM_APIS_MAX; i++)
        all[1 + i] = &sim_apis[i].process;
    for (unsigned i = 0; i < SIM_WORKERS_MAX; i++)
        all[1 + SIM_APIS_MAX + i] = &sim_workers[i].process;
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        all[i]->fate = SIM_LIVE;
        if (all[i]->stopped_until_us > sim_now_us)
            all[i]->stopped_until_us = sim_now_us;
    }
    look_whether_over(NULL, 0);
}

/* --------------------------------------------------------------------------- a seed */

static void start_everybody(void)
{
    sim_region_forget();
    sim_creator.on_death = on_creator_death;
    start_process(&sim_creator);
    doom_at_start(&sim_creator);
    for (unsigned i = 0; i < sim_settings.apis; i++) {
        sim_apis[i].process.owner = &sim_apis[i];
        sim_apis[i].process.on_death = on_api_death;
        sim_apis[i].serving = false;
        start_process(&sim_apis[i].process);
    }
    for (unsigned i = 0; i < sim_settings.workers; i++) {
        sim_workers[i].process.owner = &sim_workers[i];
        sim_workers[i].process.on_death = on_worker_death;
        sim_workers[i].stopping = false;
        start_process(&sim_workers[i].process);
    }
    sim_process_start(&sim_inspector, "inspector", sim_inspector_main, NULL);
}

static void set_the_scene(void)
{
    for (uint64_t p = 0; p < SHM_PROCESSORS; p++)
        change_weather(NULL, p);
    sim_at(0, arrive, NULL, plan.payments);
    scatter(kill_somebody, plan.deaths);
    scatter(stop_somebody, plan.stops);
    scatter(end_somebody, plan.gentle_ends);
    scatter(purge, plan.purges);
    scatter(step_clock, plan.clock_steps);
    scatter(inspect, plan.inspections);
    sim_at(plan.active_us, heal, NULL, 0);
}

static void play(void)
{
    sim_run(is_over);
}

bool sim_run_seed(uint64_t seed)
{
    sim_seed = seed;
    sim_random_start(seed);
    sim_kernel_begin();
    errand_count = 0;
    sim_wall_offset_us = 0;
    draw_settings();
    draw_plan();
    sim_settings.hold_up_us =
        plan.stops ? 3600 * SECOND : 3000 + (sim_preempt_accesses ? 100 * sim_preempt_us : 0);
    sim_processors_begin(sim_settings.health_interval_ms * 1000, sim_settings.hold_up_us);
    sim_observe_begin();
    start_everybody();
    set_the_scene();
    sim_guarded(play);
    sim_simulated_us += sim_now_us;
    sim_kernel_end();
    return !sim_failure[0];
}
