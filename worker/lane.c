#include "worker/lane.h"

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "shm/shm_doorbell.h"
#include "shm/shm_lease.h"
#include "worker/lane_internal.h"

/* Longest sleep. The doorbell and the sockets end it; this is the limit for what
 * nobody rang for: a producer that died before it did, a doorbell that was deleted. */
#define SLEEP_MAX_MS 1000

/* With a full table only replies help, and the ids' age (horizon): look now and then. */
#define SLEEP_FULL_MS 50

/* The same of a lane that waits for its last answers: its time may be over sooner. */
#define FINISHING_SLEEP_MAX_MS 100

/* Heartbeats are for people. */
#define BEAT_MS 1000

static bool is_stopping(const struct lane *lane)
{
    return atomic_load_explicit(&lane->stopping, memory_order_acquire);
}

static void beat(struct lane *lane)
{
    if (lane->now_us / 1000 - lane_beat_ms(lane) < BEAT_MS)
        return;
    atomic_store_explicit(&lane->beat_ms, lane->now_us / 1000, memory_order_relaxed);
    shm_presence_beat(&lane->memory.control->presence);
}

/* Something to take in, or the disk has got on. */
static bool has_arrivals(struct lane *lane)
{
    struct shm_ring_entry entry;
    if (lane_journal_has_news(lane))
        return true;
    for (unsigned api = 0; !lane->full && api < lane->region->geometry.api_slots; api++)
        if (shm_ring_peek(&lane->memory.rings[api], &entry))
            return true;
    return false;
}

static bool has_news(struct lane *lane)
{
    return is_stopping(lane) || lane_purge_is_due(lane) || lane_decision_is_due(lane) ||
           has_arrivals(lane);
}

static int in_flight(const struct lane *lane)
{
    int count = 0;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        count += upstream_in_flight(lane->upstream, (int)p);
    return count;
}

/* Announce sleep, look once more, sleep (shm_doorbell.h says why no ring is lost). With nothing in
 * flight libcurl 7.88 has no socket and no timer to wait for (what it keeps open it looks at when
 * it sends), and a doorbell is all that can wake the lane. */
static void rest(struct lane *lane, int64_t look_again_us)
{
    int64_t limit_ms = lane->full ? SLEEP_FULL_MS : SLEEP_MAX_MS;
    int64_t wait_ms = limit_ms;
    if (look_again_us != INT64_MAX)
        wait_ms = (look_again_us - lane->now_us + 999) / 1000;
    wait_ms = wait_ms < 0 ? 0 : wait_ms > limit_ms ? limit_ms : wait_ms;
    bool alone = in_flight(lane) == 0;
    uint32_t rung = 0;
    if (alone)
        rung = shm_doorbell_sleep_alone(lane->region, lane->memory.number);
    else
        shm_doorbell_sleep(lane->memory.control);
    if (!has_news(lane)) {
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_sleeps);
        if (alone)
            shm_doorbell_wait(lane->region, lane->memory.number, rung, wait_ms);
        else
            upstream_wait(lane->upstream, lane->fifo_fd, wait_ms);
    }
    shm_doorbell_awake(lane->memory.control, lane->fifo_fd);
}

/* Wake who files when a segment is full, and warn long before memory is. */
static void watch_ledger(struct lane *lane)
{
    static const unsigned warnings[] = {95, 80};
    uint64_t count = lane->memory.ledger.row_count, rows = lane->memory.ledger.segment_rows;
    if (lane->filer && count >= lane->filing_row) {
        lane->filing_row = (count / rows + 1) * rows;
        ledger_filer_wake(lane->filer);
    }
    unsigned used = shm_ledger_used_percent(lane->region, lane->memory.number), warned = 0;
    for (unsigned i = 0; i < sizeof warnings / sizeof *warnings && warned == 0; i++)
        warned = used >= warnings[i] ? warnings[i] : 0;
    if (warned > lane->ledger_warned) {
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_ledger_warnings);
        LOG_WARN("ledger_filling", "lane=%u used_percent=%u rows_left=%" PRIu64 " filing=%s",
                 lane->memory.number, used, shm_ledger_rows_left(&lane->memory.ledger),
                 lane->filer ? "on" : "off");
    }
    lane->ledger_warned = warned;
}

static void note_own_time(struct lane *lane, int64_t begin_us)
{
    int64_t turn_us = clock_monotonic_us() - begin_us;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        processor_view_took(&lane->views[p], turn_us);
}

/* One turn: a purge, what has come, what is new, what a person wants, what may go. */
static void turn(struct lane *lane)
{
    bool sent = false;
    int64_t begin_us = lane->now_us = clock_monotonic_us();
    /* First: what a reply settles from here on is after the purge. */
    bool busy = lane_purge_if_due(lane);
    if (busy && lane->filer)
        ledger_filer_wake(lane->filer);
    upstream_perform(lane->upstream, lane_on_completion, lane);
    busy |= lane_journal_turn(lane);
    watch_ledger(lane);
    busy |= lane_take_in(lane);
    busy |= lane_decide(lane);
    int64_t look_again_us = lane_dispatch(lane, &sent);
    lane_journal_kick(lane);
    beat(lane);
    note_own_time(lane, begin_us);
    if (!busy && !sent)
        rest(lane, look_again_us);
}

/* Nothing is bound or sent any more; what is out may still come back. Meanwhile entries are taken
 * in as ever: where there is a journal they have to be in it before everybody is gone. The rest
 * stays in the region. */
static void finishing_turn(struct lane *lane)
{
    upstream_perform(lane->upstream, lane_on_completion, lane);
    bool busy = lane_journal_turn(lane);
    busy |= lane_take_in(lane);
    lane_journal_kick(lane);
    if (busy)
        return;
    shm_doorbell_sleep(lane->memory.control);
    if (!has_arrivals(lane))
        upstream_wait(lane->upstream, lane->fifo_fd, FINISHING_SLEEP_MAX_MS);
    shm_doorbell_awake(lane->memory.control, lane->fifo_fd);
}

static void finish(struct lane *lane)
{
    int64_t deadline_us = clock_monotonic_us() + lane->settings.stop_timeout_ms * 1000;
    lane_journal_flush(lane);
    while (in_flight(lane) > 0 && (lane->now_us = clock_monotonic_us()) < deadline_us)
        finishing_turn(lane);
    while (lane_take_in(lane) && clock_monotonic_us() < deadline_us)
        continue;
    lane_journal_flush(lane);
    LOG_INFO("lane_left", "lane=%u in_flight=%d unsettled=%" PRIu64, lane->memory.number,
             in_flight(lane), (uint64_t)atomic_load(&lane->memory.control->unsettled));
}

static void *run(void *context)
{
    struct lane *lane = context;
    lane_take_over(lane);
    while (!is_stopping(lane))
        turn(lane);
    finish(lane);
    atomic_store_explicit(&lane->ended, true, memory_order_release); /* lane_has_ended */
    return NULL;
}

static void release(struct lane *lane)
{
    ledger_filer_stop(lane->filer);
    lane_journal_close(lane);
    if (lane->upstream)
        upstream_destroy(lane->upstream);
    if (lane->fifo_fd >= 0)
        close(lane->fifo_fd);
    lane_queues_destroy(&lane->queues);
    free(lane);
}

static enum status prepare(struct lane *lane, unsigned number, struct explain *why)
{
    struct upstream_settings upstream = {
        .urls = {lane->settings.urls[0], lane->settings.urls[1]},
        .post_timeout_ms = lane->settings.post_timeout_ms,
        .lookup_timeout_ms = lane->settings.lookup_timeout_ms,
        .health_timeout_ms = lane->settings.lookup_timeout_ms,
        .transfers_max = lane->settings.in_flight_max,
    };
    lane->fifo_fd = shm_doorbell_listen(lane->region, number, why);
    if (lane->fifo_fd < 0)
        return STATUS_SYSTEM;
    CRASH_POINT(lane_fifo_opened);
    lane->upstream = upstream_create(&upstream, why);
    if (!lane->upstream)
        return STATUS_SYSTEM;
    if (!lane_queues_create(&lane->queues, lane->region->geometry.payment_slots))
        return explain(why, STATUS_SYSTEM, "out of memory for the lane's queues");
    enum status status = lane_memory_open(&lane->memory, lane->region, number, why);
    if (status != STATUS_OK || !*lane->settings.state_dir)
        return status;
    lane->filer = ledger_filer_start(lane->region, number, lane->settings.state_dir, why);
    return lane->filer ? STATUS_OK : STATUS_SYSTEM;
}

enum status lane_start(struct lane **started, struct shm_region *region, unsigned number,
                       const struct lane_settings *settings, struct explain *why)
{
    *started = NULL;
    struct lane *lane = calloc(1, sizeof *lane);
    if (!lane)
        return explain(why, STATUS_SYSTEM, "out of memory for a lane");
    lane->settings = *settings;
    lane->region = region;
    lane->fifo_fd = -1;
    lane->beat_ms = clock_monotonic_ms();
    lane->now_us = clock_monotonic_us();
    enum status status = prepare(lane, number, why);
    if (status == STATUS_OK) {
        lane_dispatch_init(lane);
        if (pthread_create(&lane->thread, NULL, run, lane) != 0)
            status = explain(why, STATUS_SYSTEM, "cannot start a lane's thread: %m");
    }
    if (status == STATUS_OK)
        *started = lane;
    else
        release(lane);
    return status;
}

void lane_request_stop(struct lane *lane)
{
    atomic_store_explicit(&lane->stopping, true, memory_order_release);
    shm_doorbell_ring_own(lane->region, lane->memory.number, lane->fifo_fd);
}

int64_t lane_beat_ms(const struct lane *lane)
{
    return atomic_load_explicit(&lane->beat_ms, memory_order_relaxed);
}

bool lane_has_ended(const struct lane *lane)
{
    return atomic_load_explicit(&lane->ended, memory_order_acquire);
}

void lane_join(struct lane *lane)
{
    pthread_join(lane->thread, NULL);
    release(lane);
}
