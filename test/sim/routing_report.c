#include "test/sim/routing_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "test/sim/director.h"
#include "test/sim/gateway.h"
#include "test/sim/kernel.h"
#include "test/sim/observe.h"
#include "test/sim/processors.h"
#include "test/sim/random.h"

#define SECOND       INT64_C(1000000)
#define TEST_US      (60 * SECOND)
#define USERS_MAX    550 /* after 60 s; each sends one payment a second */
#define AMOUNT_CENTS 1990
#define STAGES_MAX   8

/* One insert of a real processor takes about so long, and 16 of them run at once. */
#define SERVICE_US (2000 / 16)

struct stage {
    int64_t at_s;
    struct {
        int64_t delay_ms;
        bool failing;
    } processor[SHM_PROCESSORS];
};

static const struct scenario {
    const char *name;
    struct stage stages[STAGES_MAX];
} scenarios[] = {
    {"the public test's stages",
     {{0, {{0, false}, {0, false}}},
      {10, {{100, false}, {0, false}}},
      {20, {{100, true}, {0, false}}},
      {30, {{2000, true}, {1000, true}}},
      {40, {{20, false}, {20, false}}},
      {50, {{0, false}, {5000, false}}}}},
    {"default fails from 10 s to 50 s",
     {{0, {{0, false}, {0, false}}},
      {10, {{0, true}, {0, false}}},
      {50, {{0, false}, {0, false}}}}},
    {"default fails from 10 s on", {{0, {{0, false}, {0, false}}}, {10, {{0, true}, {0, false}}}}},
    {"default takes 3 s from 10 s on",
     {{0, {{0, false}, {0, false}}}, {10, {{3000, false}, {0, false}}}}},
    {"default fails every other 5 s",
     {{0, {{0, false}, {100, false}}},
      {10, {{0, true}, {100, false}}},
      {15, {{0, false}, {100, false}}},
      {20, {{0, true}, {100, false}}},
      {25, {{0, false}, {100, false}}},
      {30, {{0, true}, {100, false}}},
      {35, {{0, false}, {100, false}}}}},
};

static const struct policy {
    const char *name;
    enum routing_policy policy;
    int64_t deadline_ms;
} policies[] = {
    {"default-only", ROUTING_DEFAULT_ONLY, 60000},
    {"deadline, 60 s", ROUTING_DEADLINE, 60000},
    {"deadline, 10 s", ROUTING_DEADLINE, 10000},
    {"deadline, 2 s", ROUTING_DEADLINE, 2000},
};

static void set_stage(void *context, uint64_t unused)
{
    const struct stage *stage = context;
    (void)unused;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        sim_weather[p] = (struct sim_weather){
            .delay_us = stage->processor[p].delay_ms * 1000,
            .failing = stage->processor[p].failing,
            .service_us = SERVICE_US,
            .running_max = 1300,
        };
}

/* Users come one after the other over the whole test and send once a second. */
static void user_sends(void *context, uint64_t number)
{
    (void)context;
    struct sim_job job = {.kind = SIM_JOB_POST,
                          .payment = sim_payment_new(AMOUNT_CENTS, AMOUNT_CENTS + 1)};
    job.payment->first_offered_us = sim_now_us;
    if (!sim_api_offer(&sim_apis[number % 2], &job))
        sim_fail("an API does not take what comes");
    if (sim_now_us + SECOND < TEST_US)
        sim_at(sim_now_us + SECOND + sim_between(500, 3000), user_sends, NULL, number);
}

static bool is_over(void)
{
    return sim_now_us >= TEST_US;
}

static void tick(void *context, uint64_t unused)
{
    (void)context, (void)unused;
}

/* The presets of the settings, but for a table and rings of the size that is needed. */
static void set_up(const struct policy *policy)
{
    sim_settings = (struct sim_settings){
        .geometry = {.api_slots = 2,
                     .lanes = 2,
                     .ring_slots = 16384,
                     .payment_slots = 16384,
                     .ledger_rows = 65536,
                     .horizon_payments = 32768},
        .lane = {.urls = {"default", "fallback"},
                 .policy = policy->policy,
                 .state_dir = "",
                 .deadline_ms = policy->deadline_ms,
                 .post_timeout_ms = 35000,
                 .lookup_timeout_ms = 5000,
                 .horizon_ms = 60000,
                 .stop_timeout_ms = 5000,
                 .in_flight_max = 256},
        .apis = 2,
        .workers = 2,
        .worker_lanes = 1,
        .takeover_ms = 500,
        .health_interval_ms = 5000,
        .hold_up_us = 3000,
    };
    sim_preempt_accesses = 0;
}

static void start(const struct scenario *scenario)
{
    set_stage((void *)(uintptr_t)&scenario->stages[0], 0);
    for (unsigned i = 1; i < STAGES_MAX && scenario->stages[i].at_s > 0; i++)
        sim_at(scenario->stages[i].at_s * SECOND, set_stage,
               (void *)(uintptr_t)&scenario->stages[i], 0);
    sim_region_forget();
    sim_process_start(&sim_creator, "creator", sim_creator_main, NULL);
    for (unsigned i = 0; i < 2; i++) {
        sim_process_start(&sim_apis[i].process, "api", sim_api_main, &sim_apis[i]);
        sim_workers[i].stopping = false;
        sim_process_start(&sim_workers[i].process, "worker", sim_worker_main, &sim_workers[i]);
    }
    for (uint64_t user = 0; user < USERS_MAX; user++)
        sim_at(SECOND / 10 + (int64_t)user * (TEST_US - SECOND / 10) / USERS_MAX, user_sends, NULL,
               user);
    sim_at(TEST_US, tick, NULL, 0);
}

static void play(void)
{
    sim_run(is_over);
}

/* ----------------------------------------------------------------------- the table */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void print_row(const char *policy)
{
    static int64_t took_ms[SIM_PAYMENTS_MAX];
    static const int64_t fees[SHM_PROCESSORS] = {ROUTING_DEFAULT_FEE_BASIS_POINTS,
                                                 ROUTING_FALLBACK_FEE_BASIS_POINTS};
    int64_t settled[SHM_PROCESSORS] = {0}, fee_cents = 0, count = 0;
    for (unsigned lane = 0; lane < sim_settings.geometry.lanes; lane++) {
        uint64_t rows = shm_region_lane(sim_region(), lane)->row_count;
        for (uint64_t at = 0; at < rows; at++) {
            const struct sim_row *row = sim_row_of(lane, at);
            settled[row->row.processor]++;
            fee_cents += row->row.amount_cents * fees[row->row.processor] / 10000;
            took_ms[count++] = (row->payment->settled_us - row->payment->first_offered_us) / 1000;
        }
    }
    qsort(took_ms, (size_t)count, sizeof *took_ms, by_size);
    int64_t profit_cents = count * AMOUNT_CENTS - fee_cents;
    printf("| %s | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64 " | %" PRId64
           " | %" PRId64 " |\n",
           policy, settled[0], settled[1], (int64_t)sim_payment_count - count, fee_cents / 100,
           profit_cents / 100, count ? took_ms[count / 2] : 0,
           count ? took_ms[count * 99 / 100] : 0);
}

static bool run(const struct scenario *scenario, const struct policy *policy)
{
    sim_random_start(1);
    sim_kernel_begin();
    set_up(policy);
    sim_processors_begin(sim_settings.health_interval_ms * 1000, sim_settings.hold_up_us);
    sim_observe_begin();
    start(scenario);
    sim_guarded(play);
    if (sim_failure[0])
        printf("# %s, %s: %s\n", scenario->name, policy->name, sim_failure);
    else
        print_row(policy->name);
    sim_kernel_end();
    return !sim_failure[0];
}

int sim_routing_report(void)
{
    bool good = true;
    for (unsigned s = 0; s < sizeof scenarios / sizeof *scenarios; s++) {
        printf(
            "\n**%s**\n\n| policy | settled by default | by fallback | not at 60 s | fees | profit "
            "| ms to settle, p50 | p99 |\n|---|---|---|---|---|---|---|---|\n",
            scenarios[s].name);
        for (unsigned p = 0; p < sizeof policies / sizeof *policies; p++)
            good = run(&scenarios[s], &policies[p]) && good;
    }
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}
