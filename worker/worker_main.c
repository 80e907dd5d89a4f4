/* payring-worker: owns lanes of the region, drains their rings and settles
 * their payments with the processors. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/config.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "common/service_notify.h"
#include "shm/shm_lease.h"
#include "shm/shm_region.h"
#include "worker/health.h"
#include "worker/journal_state.h"
#include "worker/lane.h"

/* How often the process looks for lanes without an owner. */
#define LEASE_LOOK_MS 100

/* How often it looks, when told to stop, which lanes are done. */
#define STOP_LOOK_MS 10

/* How often it looks whether its region still has its name. */
#define REGION_LOOK_MS 1000

/* The region, the log, the health thread's, and room for what a library opens for a moment. */
#define DESCRIPTORS_BESIDES 32

struct worker {
    const struct config *config;
    struct shm_region region;
    struct lane_settings lane_settings;
    struct health *health;
    struct lane *lanes[SHM_LANES_MAX];
    bool given_up[SHM_LANES_MAX];            /* damaged: no owner could open it */
    int64_t unowned_since_ms[SHM_LANES_MAX]; /* monotonic; 0 = owned when last looked */
    unsigned lane_count;
    bool told_of_deletion;
    int state_lock; /* the state directory's, while a journal is kept there */
};

static void block_signals(sigset_t *set)
{
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(set);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGINT);
    pthread_sigmask(SIG_BLOCK, set, NULL);
}

/* Start a lane whose lease was just taken. */
static void own_lane(struct worker *worker, unsigned number)
{
    struct explain why = {{0}};
    CRASH_POINT(lane_leased);
    if (!shm_region_is_current(&worker->region)) {
        shm_lease_give_back(&worker->region, SHM_LEASE_LANE + number);
        return;
    }
    enum status status = shm_region_open_lane(&worker->region, number, &why);
    CRASH_POINT(lane_writable);
    if (status == STATUS_OK)
        status = lane_start(&worker->lanes[number], &worker->region, number, &worker->lane_settings,
                            &why);
    if (status == STATUS_OK) {
        worker->lane_count++;
        return;
    }
    LOG_ERROR("lane_not_started", "lane=%u why=%s", number, why.text);
    worker->given_up[number] = status == STATUS_DAMAGED;
    shm_region_close_lane(&worker->region, number);
    shm_lease_give_back(&worker->region, SHM_LEASE_LANE + number);
}

/* A process takes PAYRING_WORKER_LANES lanes at once and any other only when
 * nobody else wanted it for PAYRING_TAKEOVER_MS: so that processes that start
 * together share the lanes, and a dead one's lanes are not left alone. */
static void look_for_lanes(struct worker *worker)
{
    int64_t now = clock_monotonic_ms();
    for (unsigned i = 0; i < worker->region.geometry.lanes; i++) {
        if (worker->lanes[i] || worker->given_up[i])
            continue;
        if (shm_lease_is_taken(&worker->region, SHM_LEASE_LANE + i)) {
            worker->unowned_since_ms[i] = 0;
            continue;
        }
        if (!worker->unowned_since_ms[i])
            worker->unowned_since_ms[i] = now;
        bool mine = worker->lane_count < worker->config->worker_lanes;
        bool abandoned = now - worker->unowned_since_ms[i] >= worker->config->takeover_ms;
        if ((mine || abandoned) &&
            shm_lease_try_take(&worker->region, SHM_LEASE_LANE + i) == STATUS_OK)
            own_lane(worker, i);
    }
}

/* Files are for a ledger that goes on while one of them is written. */
static enum status check_segments(const struct worker *worker, struct explain *why)
{
    if (!*worker->config->state_dir || worker->region.places.segment_count >= SHM_SEGMENTS_MIN)
        return STATUS_OK;
    return explain(why, STATUS_INVALID,
                   "PAYRING_STATE_DIR is set, but the ledgers of region %s have %u segments and %u "
                   "are the least: create it with more PAYRING_LEDGER_ROWS or fewer "
                   "PAYRING_LEDGER_SEGMENT_ROWS",
                   worker->region.name, worker->region.places.segment_count, SHM_SEGMENTS_MIN);
}

static enum status start_health(struct worker *worker, struct explain *why)
{
    const struct config *config = worker->config;
    struct health_settings settings = {.urls = {config->default_url, config->fallback_url},
                                       .interval_ms = config->health_interval_ms};
    worker->health = health_start(&worker->region, &settings, why);
    return worker->health ? STATUS_OK : STATUS_SYSTEM;
}

/* Nobody makes another region of the journal while we drive this one. */
static enum status lock_state(struct worker *worker, struct explain *why)
{
    worker->state_lock = -1;
    if (worker->region.durability == SHM_DURABILITY_MEMORY)
        return STATUS_OK;
    if (!*worker->config->state_dir)
        return explain(why, STATUS_INVALID,
                       "region %s keeps a journal: PAYRING_STATE_DIR must say where",
                       worker->region.name);
    return journal_state_lock(worker->config->state_dir, false, &worker->state_lock, why);
}

static void prepare_lanes(struct worker *worker)
{
    const struct config *config = worker->config;
    worker->lane_settings = (struct lane_settings){
        .urls = {config->default_url, config->fallback_url},
        .policy =
            config->policy == CONFIG_POLICY_DEFAULT_ONLY ? ROUTING_DEFAULT_ONLY : ROUTING_DEADLINE,
        .deadline_ms = config->deadline_ms,
        .post_timeout_ms = config->post_timeout_ms,
        .lookup_timeout_ms = config->lookup_timeout_ms,
        .horizon_ms = (int64_t)config->horizon_s * 1000,
        .lookup_young_ms = (int64_t)config->lookup_young_s * 1000,
        .quarantine_ms = config->quarantine_ms,
        .state_dir = config->state_dir,
        .journal_interval_ms = config->journal_interval_ms,
        .journal_max_bytes = config->journal_max_bytes,
        .stop_timeout_ms = config->stop_timeout_ms,
        .in_flight_max = (int)config->in_flight_max,
    };
}

/* A process may come to own every lane. A connection that finds no descriptor counts as one that
 * nobody answers: the processor would look as if it were failing, under load of all times. */
static void raise_descriptor_limit(const struct worker *worker)
{
    struct rlimit limit;
    rlim_t wanted =
        (rlim_t)worker->region.geometry.lanes * lane_descriptors_max(&worker->lane_settings) +
        DESCRIPTORS_BESIDES;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < wanted)
        LOG_WARN("few_descriptors", "limit=%ju wanted=%ju", (uintmax_t)limit.rlim_cur,
                 (uintmax_t)wanted);
}

/* false: nothing is left to do here. A region whose file was deleted by hand
 * lives on while lanes of it are owned: what it holds is still settled, but
 * nobody else can come to it. */
static bool region_is_worth_it(struct worker *worker)
{
    bool current = shm_region_is_current(&worker->region);
    if (!current && worker->lane_count > 0 && !worker->told_of_deletion)
        LOG_ERROR("region_deleted", "region=%s lanes=%u", worker->region.name, worker->lane_count);
    worker->told_of_deletion = !current; /* once: it does not change back */
    return current || worker->lane_count > 0;
}

/* A lane that has not beaten for so long does not work any more, and the service manager is not
 * told that we do. A beat is a second apart; a take-over of a full table takes some. */
#define BEAT_AGE_MAX_MS 10000

static void tell_if_alive(const struct worker *worker, int64_t now_ms)
{
    for (unsigned i = 0; i < SHM_LANES_MAX; i++)
        if (worker->lanes[i] && now_ms - lane_beat_ms(worker->lanes[i]) > BEAT_AGE_MAX_MS)
            return;
    service_notify_alive();
}

/* Until a signal, or until the region is gone: whoever starts from then on uses
 * another one, so a process without lanes ends, to be started anew. */
static enum status run(struct worker *worker, const sigset_t *signals, struct explain *why)
{
    const struct timespec look = {.tv_nsec = LEASE_LOOK_MS * 1000000L};
    int64_t region_seen_ms = clock_monotonic_ms();
    int signal_number;
    LOG_INFO("ready", "region=%s lanes=%u", worker->region.name, worker->region.geometry.lanes);
    service_notify("READY=1");
    do {
        if (clock_monotonic_ms() - region_seen_ms >= REGION_LOOK_MS) {
            region_seen_ms = clock_monotonic_ms();
            tell_if_alive(worker, region_seen_ms);
            if (!region_is_worth_it(worker))
                return explain(why, STATUS_NOT_FOUND, "region %s was removed: start again",
                               worker->region.name);
        }
        look_for_lanes(worker);
        signal_number = sigtimedwait(signals, NULL, &look);
    } while (signal_number < 0);
    LOG_INFO("stopping", "signal=%d lanes=%u", signal_number, worker->lane_count);
    service_notify("STOPPING=1");
    return STATUS_OK;
}

static void leave_lane(struct worker *worker, unsigned number)
{
    lane_join(worker->lanes[number]);
    worker->lanes[number] = NULL;
    worker->lane_count--;
    shm_region_close_lane(&worker->region, number);
    shm_lease_give_back(&worker->region, SHM_LEASE_LANE + number);
}

/* Each lane is free for its successor as soon as it is done, whatever the others still wait for. */
static void stop_lanes(struct worker *worker)
{
    const struct timespec look = {.tv_nsec = STOP_LOOK_MS * 1000000L};
    for (unsigned i = 0; i < SHM_LANES_MAX; i++)
        if (worker->lanes[i])
            lane_request_stop(worker->lanes[i]);
    for (;;) {
        for (unsigned i = 0; i < SHM_LANES_MAX; i++)
            if (worker->lanes[i] && lane_has_ended(worker->lanes[i]))
                leave_lane(worker, i);
        if (worker->lane_count == 0)
            return;
        nanosleep(&look, NULL);
    }
}

static void stop(struct worker *worker)
{
    stop_lanes(worker);
    if (worker->health)
        health_stop(worker->health);
    shm_region_detach(&worker->region);
}

int main(int argc, char **argv)
{
    static struct config config;
    static struct worker worker;
    struct explain why = {{0}};
    sigset_t signals;
    struct config_invocation invocation = {.program = CONFIG_PROGRAM_WORKER,
                                           .argc = argc,
                                           .argv = argv,
                                           .environment = environ,
                                           .usage = ""};

    log_open("payring-worker", LOG_LEVEL_INFO);
    if (config_load(&config, &invocation, &why) != STATUS_OK) {
        LOG_ERROR("not_started", "why=%s", why.text);
        return EXIT_FAILURE;
    }
    log_open("payring-worker", config.log_level);
    if (config_answer(&config, &invocation, stdout))
        return EXIT_SUCCESS;
    config_warn_unknown(environ);

    worker.config = &config;
    prepare_lanes(&worker);
    enum status status =
        shm_region_attach(&worker.region, config.region, config.attach_timeout_ms, &why);
    if (status == STATUS_OK) {
        block_signals(&signals); /* before any thread: all of them inherit the mask */
        raise_descriptor_limit(&worker);
        status = check_segments(&worker, &why);
        if (status == STATUS_OK)
            status = lock_state(&worker, &why);
        if (status == STATUS_OK)
            status = start_health(&worker, &why);
        if (status == STATUS_OK)
            status = run(&worker, &signals, &why);
        stop(&worker);
    }
    if (status != STATUS_OK)
        LOG_ERROR("failed", "why=%s", why.text);
    log_close();
    return status == STATUS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
