#include "worker/ledger_filer.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "shm/shm_archive.h"
#include "shm/shm_counters.h"
#include "shm/shm_ledger_file.h"

/* Lanes, and whatever else the machine does, come first. */
#define NICE 10

/* Pauses after a failure: doubled from the first to the last. */
#define PAUSE_FIRST_MS 500
#define PAUSE_LAST_MS  8000

struct ledger_filer {
    struct shm_region *region;
    unsigned number;
    struct shm_lane *lane;
    const char *directory;
    bool is_known;            /* the directory is the one that the lane's files are in */
    uint64_t first_filed;     /* the first row, as the directory says it */
    uint64_t removed;         /* files below are gone */
    _Atomic uint64_t allowed; /* rows below may be filed, and be told to be purged */
    int64_t pause_ms;         /* after the next failure */
    sem_t work;
    atomic_bool stopping;
    pthread_t thread;
};

static uint64_t segment_rows(const struct ledger_filer *filer)
{
    return filer->region->geometry.ledger_segment_rows;
}

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* Not files of another directory, or none: a summary would miss those that are filed. */
static enum status know_directory(struct ledger_filer *filer, struct explain *why)
{
    struct shm_ledger_first first;
    if (filer->is_known)
        return STATUS_OK;
    enum status status =
        shm_archive_check_directory(filer->region, filer->number, filer->directory, why);
    if (status != STATUS_OK)
        return status;
    if (shm_ledger_file_read_first(filer->directory, filer->number, filer->region, &first, NULL) ==
        STATUS_OK)
        filer->first_filed = first.first_row; /* else it is written anew when there is one */
    filer->is_known = true;
    return STATUS_OK;
}

/* The first row goes to disk before any file below it goes away. */
static enum status file_purge(struct ledger_filer *filer, struct explain *why)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    uint64_t first = load(&filer->lane->first_row);
    if (first > load(&filer->allowed))
        return STATUS_OK; /* later */
    if (first != filer->first_filed) {
        enum status status =
            shm_ledger_file_write_first(filer->region, filer->number, first, filer->directory, why);
        if (status != STATUS_OK)
            return status;
        filer->first_filed = first;
    }
    for (; filer->removed < first / segment_rows(filer); filer->removed++) {
        shm_ledger_file_path(path, filer->directory, filer->number, filer->removed);
        if (unlink(path) != 0 && errno != ENOENT)
            return explain(why, STATUS_SYSTEM, "%s cannot be removed: %m", path);
    }
    return STATUS_OK;
}

static enum status file_segment(struct ledger_filer *filer, uint64_t segment, struct explain *why)
{
    int64_t begin_ms = clock_monotonic_ms();
    bool is_purged = (segment + 1) * segment_rows(filer) <= filer->first_filed;
    if (!is_purged) {
        enum status status = shm_ledger_file_write(filer->region, filer->number, segment,
                                                   filer->directory, &filer->stopping, why);
        if (status != STATUS_OK)
            return status;
        shm_counter_add(&filer->lane->counters[SHM_LANE_COUNTER_filings], 1);
        LOG_INFO("ledger_filed", "lane=%u segment=%" PRIu64 " rows=%" PRIu64 " ms=%" PRId64,
                 filer->number, segment, segment_rows(filer), clock_monotonic_ms() - begin_ms);
    }
    /* Pairs with the acquire of the owner, who may now use the place again, and of the APIs. */
    atomic_store_explicit(&filer->lane->segments_filed, segment + 1, memory_order_release);
    CRASH_POINT(segments_filed_raised);
    return STATUS_OK;
}

/* All that there is to do, or as far as the disk goes. */
static enum status work(struct ledger_filer *filer, struct explain *why)
{
    uint64_t rows = segment_rows(filer);
    enum status status = know_directory(filer, why);
    while (status == STATUS_OK) {
        status = file_purge(filer, why);
        uint64_t filed = load(&filer->lane->segments_filed);
        if (status != STATUS_OK || (filed + 1) * rows > load(&filer->lane->row_count) ||
            (filed + 1) * rows > load(&filer->allowed))
            return status;
        status = file_segment(filer, filed, why);
    }
    return status;
}

static void wait_until(struct ledger_filer *filer, int64_t deadline_ms)
{
    struct timespec deadline = {.tv_sec = deadline_ms / 1000,
                                .tv_nsec = deadline_ms % 1000 * 1000000};
    while (sem_clockwait(&filer->work, CLOCK_MONOTONIC, &deadline) != 0 && errno == EINTR)
        ;
}

static void complain(struct ledger_filer *filer, const struct explain *why)
{
    shm_counter_add(&filer->lane->counters[SHM_LANE_COUNTER_filing_failures], 1);
    LOG_ERROR("ledger_not_filed", "lane=%u segment=%" PRIu64 " retry_ms=%" PRId64 " why=%s",
              filer->number, load(&filer->lane->segments_filed), filer->pause_ms, why->text);
    wait_until(filer, clock_monotonic_ms() + filer->pause_ms);
    if (filer->pause_ms < PAUSE_LAST_MS)
        filer->pause_ms *= 2;
}

static bool is_stopping(const struct ledger_filer *filer)
{
    return atomic_load_explicit(&filer->stopping, memory_order_acquire);
}

static void *run(void *context)
{
    struct ledger_filer *filer = context;
    struct explain why;
    if (setpriority(PRIO_PROCESS, (id_t)gettid(), NICE) != 0) /* of this thread, with Linux */
        LOG_DEBUG("not_nice", "lane=%u", filer->number);
    while (!is_stopping(filer)) {
        why.text[0] = '\0';
        enum status status = work(filer, &why);
        if (status == STATUS_OK) {
            filer->pause_ms = PAUSE_FIRST_MS;
            while (sem_wait(&filer->work) != 0)
                CHECK(errno == EINTR);
        } else if (!is_stopping(filer)) {
            complain(filer, &why);
        }
    }
    return NULL;
}

struct ledger_filer *ledger_filer_start(struct shm_region *region, unsigned lane,
                                        const char *directory, struct explain *why)
{
    struct ledger_filer *filer = calloc(1, sizeof *filer);
    if (!filer) {
        explain_in(why, "out of memory for the thread that files the ledger");
        return NULL;
    }
    filer->region = region;
    filer->number = lane;
    filer->lane = shm_region_lane(region, lane);
    filer->directory = directory;
    filer->pause_ms = PAUSE_FIRST_MS;
    atomic_init(&filer->allowed, region->durability == SHM_DURABILITY_MEMORY ? UINT64_MAX : 0);
    CHECK(sem_init(&filer->work, 0, 0) == 0);
    if (pthread_create(&filer->thread, NULL, run, filer) == 0)
        return filer;
    explain_in(why, "cannot start the thread that files the ledger: %m");
    free(filer);
    return NULL;
}

void ledger_filer_allow(struct ledger_filer *filer, uint64_t rows)
{
    atomic_store_explicit(&filer->allowed, rows, memory_order_release);
}

void ledger_filer_wake(struct ledger_filer *filer)
{
    /* Posted often enough already, if it cannot be counted any more. */
    CHECK(sem_post(&filer->work) == 0 || errno == EOVERFLOW);
}

void ledger_filer_stop(struct ledger_filer *filer)
{
    if (!filer)
        return;
    atomic_store_explicit(&filer->stopping, true, memory_order_release);
    ledger_filer_wake(filer);
    pthread_join(filer->thread, NULL);
    sem_destroy(&filer->work);
    free(filer);
}
