#include "worker/health.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "shm/shm_health.h"
#include "shm/shm_lease.h"
#include "worker/upstream.h"

/* How often a process without the lease looks whether it is free. */
#define LEASE_RETRY_MS 1000

/* A call may take this long; the contract's answer is immediate. */
#define CALL_TIMEOUT_MS 4000

static const char *const processor_names[SHM_PROCESSORS] = {"default", "fallback"};

struct health {
    struct shm_region *region;
    int64_t interval_ms;
    struct upstream *upstream;
    pthread_t thread;
    int stop_fd; /* readable: stop */
    atomic_bool stopping;
    bool is_caller;
    bool in_flight[SHM_PROCESSORS];
};

static void on_completion(void *context, const struct upstream_completion *completion)
{
    struct health *health = context;
    unsigned processor = (unsigned)completion->processor;
    health->in_flight[processor] = false;
    if (completion->outcome != UPSTREAM_REPORT) {
        LOG_WARN("health_unanswered", "processor=%s http_status=%ld", processor_names[processor],
                 completion->http_status);
        return;
    }
    struct shm_health_report before = {0};
    bool first = !shm_health_read(health->region, processor, &before);
    struct shm_health_report report = {
        .failing = completion->report_failing,
        .min_response_ms = completion->report_min_response_ms,
        .checked_at_monotonic_ms = (uint64_t)clock_monotonic_ms(),
    };
    shm_health_publish(health->region, processor, &report);
    CRASH_POINT(health_reported);
    if (first || before.failing != report.failing)
        LOG_INFO("health", "processor=%s failing=%d min_response_ms=%lld",
                 processor_names[processor], (int)report.failing,
                 (long long)report.min_response_ms);
}

/* Call every processor whose turn it is; returns how long until the next turn. */
static int64_t call_those_due(struct health *health)
{
    int64_t now = clock_monotonic_ms();
    int64_t wait = health->interval_ms;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        uint64_t called_at = shm_health_called_at(health->region, p);
        int64_t due = called_at ? (int64_t)called_at + health->interval_ms : now;
        if (due <= now && !health->in_flight[p]) {
            shm_health_note_call(health->region, p, (uint64_t)now);
            CRASH_POINT(health_call_noted);
            health->in_flight[p] = upstream_try_health(health->upstream, (int)p, p);
            CRASH_POINT(health_call_made);
            due = now + health->interval_ms;
        }
        int64_t left = due > now ? due - now : health->interval_ms;
        wait = left < wait ? left : wait;
    }
    return wait;
}

static bool become_caller(struct health *health)
{
    if (shm_lease_try_take(health->region, SHM_LEASE_HEALTH) != STATUS_OK)
        return false;
    CRASH_POINT(health_leased);
    if (!shm_region_is_current(health->region)) {
        shm_lease_give_back(health->region, SHM_LEASE_HEALTH);
        return false; /* another region's caller may be at work */
    }
    struct explain why;
    if (shm_region_open_health(health->region, &why) != STATUS_OK) {
        LOG_ERROR("health_not_called", "why=%s", why.text);
        shm_lease_give_back(health->region, SHM_LEASE_HEALTH);
        return false;
    }
    LOG_INFO("health_caller", "interval_ms=%lld", (long long)health->interval_ms);
    return true;
}

static void stop_calling(struct health *health)
{
    shm_region_close_health(health->region);
    shm_lease_give_back(health->region, SHM_LEASE_HEALTH);
    health->is_caller = false;
}

static void *run(void *context)
{
    struct health *health = context;
    while (!atomic_load_explicit(&health->stopping, memory_order_acquire)) {
        int64_t wait_ms = LEASE_RETRY_MS;
        /* A region whose file was deleted lives on in its processes; another of
         * its name has a caller of its own. */
        if (health->is_caller && !shm_region_is_current(health->region))
            stop_calling(health);
        if (!health->is_caller)
            health->is_caller = become_caller(health);
        if (health->is_caller)
            wait_ms = call_those_due(health);
        upstream_wait(health->upstream, health->stop_fd, wait_ms);
        upstream_perform(health->upstream, on_completion, health);
    }
    if (health->is_caller)
        stop_calling(health);
    return NULL;
}

static void release(struct health *health)
{
    if (health->upstream)
        upstream_destroy(health->upstream);
    if (health->stop_fd >= 0)
        close(health->stop_fd);
    free(health);
}

struct health *health_start(struct shm_region *region, const struct health_settings *settings,
                            struct explain *why)
{
    struct health *health = calloc(1, sizeof *health);
    if (!health) {
        explain_in(why, "out of memory for the health thread");
        return NULL;
    }
    health->region = region;
    health->interval_ms = settings->interval_ms;
    health->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    struct upstream_settings upstream = {
        .urls = {settings->urls[0], settings->urls[1]},
        .post_timeout_ms = CALL_TIMEOUT_MS,
        .lookup_timeout_ms = CALL_TIMEOUT_MS,
        .health_timeout_ms = CALL_TIMEOUT_MS,
        .transfers_max = SHM_PROCESSORS,
    };
    health->upstream = upstream_create(&upstream, why);
    if (!health->upstream) {
        release(health);
        return NULL;
    }
    if (health->stop_fd < 0 || pthread_create(&health->thread, NULL, run, health) != 0) {
        explain_in(why, "cannot start the health thread: %m");
        release(health);
        return NULL;
    }
    return health;
}

void health_stop(struct health *health)
{
    atomic_store_explicit(&health->stopping, true, memory_order_release);
    if (eventfd_write(health->stop_fd, 1) != 0)
        LOG_WARN("stop_not_rung", "why=%s", strerror(errno));
    pthread_join(health->thread, NULL);
    release(health);
}
