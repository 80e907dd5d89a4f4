#include "shm/shm_doorbell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/crash_point.h"
#include "shm/shm_futex.h"

static enum shm_sleep sleep_of(uint64_t count)
{
    return (enum shm_sleep)(count % 4);
}

void shm_doorbell_open(struct shm_doorbell *bell, const struct shm_region *region, unsigned lane)
{
    *bell = (struct shm_doorbell){
        .fd = -1,
        .sleep_count = &shm_region_lane(region, lane)->sleep_count,
        .rung = &shm_region_bell(region, lane)->rung,
    };
    shm_region_fifo_path(region->name, lane, bell->path, sizeof bell->path);
}

void shm_doorbell_close(struct shm_doorbell *bell)
{
    if (bell->fd >= 0)
        close(bell->fd);
    bell->fd = -1;
}

/* false: the descriptor is of no use any more. EAGAIN is not that: a full FIFO has been rung. */
static bool try_write(int fd)
{
    ssize_t written;
    do
        written = write(fd, "", 1);
    while (written < 0 && errno == EINTR);
    return written == 1 || errno == EAGAIN;
}

static void write_fifo(struct shm_doorbell *bell)
{
    if (bell->fd >= 0 && try_write(bell->fd))
        return;
    shm_doorbell_close(bell);
    /* ENXIO: nobody listens. */
    bell->fd = open(bell->path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (bell->fd >= 0 && !try_write(bell->fd))
        shm_doorbell_close(bell);
}

/* Wraps around; nobody sleeps through 2^32 of them. */
static void ring_word(_Atomic uint32_t *rung)
{
    atomic_fetch_add_explicit(rung, 1, memory_order_relaxed);
    CRASH_POINT(bell_raised);
    shm_futex_wake(rung);
}

/* Orders what was stored before the look at the count, and both before the bell: see the header. */
static uint64_t look_at_sleep(const _Atomic uint64_t *sleep_count)
{
    atomic_thread_fence(memory_order_seq_cst);
    return atomic_load_explicit(sleep_count, memory_order_relaxed);
}

void shm_doorbell_ring(struct shm_doorbell *bell)
{
    uint64_t count = look_at_sleep(bell->sleep_count);
    enum shm_sleep sleep = sleep_of(count);
    if (sleep == SHM_SLEEP_NONE || count == bell->rung_for)
        return;
    /* Marked as rung even if nobody listens: whoever announced this sleep has
     * the FIFO open until it dies, and its successor's sleeps have other counts. */
    bell->rung_for = count;
    if (sleep == SHM_SLEEP_ALONE)
        ring_word(bell->rung);
    else
        write_fifo(bell);
    CRASH_POINT(doorbell_rung);
}

int shm_doorbell_listen(const struct shm_region *region, unsigned lane, struct explain *why)
{
    char path[SHM_REGION_PATH_SIZE];
    struct stat file;
    shm_region_fifo_path(region->name, lane, path, sizeof path);
    if (mkfifo(path, 0600) != 0 && errno != EEXIST) {
        explain_in(why, "the FIFO %s cannot be made: %m", path);
        return -1;
    }
    int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        explain_in(why, "the FIFO %s cannot be opened: %m", path);
        return -1;
    }
    if (fstat(fd, &file) == 0 && S_ISFIFO(file.st_mode))
        return fd;
    explain_in(why, "%s is no FIFO: remove it", path);
    close(fd);
    return -1;
}

/* Its own word: nobody else writes it. */
static uint64_t own_count(const struct shm_lane *lane)
{
    return atomic_load_explicit(&lane->sleep_count, memory_order_relaxed);
}

static void announce(struct shm_lane *lane, enum shm_sleep sleep)
{
    uint64_t count = own_count(lane);
    CHECK(sleep_of(count) == SHM_SLEEP_NONE);
    atomic_store_explicit(&lane->sleep_count, count + sleep, memory_order_release);
    /* Orders the announcement before the look at the rings: see the header. */
    atomic_thread_fence(memory_order_seq_cst);
    CRASH_POINT(lane_asleep);
}

static void withdraw(struct shm_lane *lane)
{
    atomic_store_explicit(&lane->sleep_count, (own_count(lane) | 3) + 1, memory_order_release);
}

void shm_doorbell_reset(struct shm_lane *lane)
{
    if (sleep_of(own_count(lane)) != SHM_SLEEP_NONE)
        withdraw(lane);
}

void shm_doorbell_sleep(struct shm_lane *lane)
{
    announce(lane, SHM_SLEEP_POLL);
}

uint32_t shm_doorbell_sleep_alone(const struct shm_region *region, unsigned lane)
{
    uint32_t rung =
        atomic_load_explicit(&shm_region_bell(region, lane)->rung, memory_order_relaxed);
    announce(shm_region_lane(region, lane), SHM_SLEEP_ALONE);
    return rung;
}

void shm_doorbell_wait(const struct shm_region *region, unsigned lane, uint32_t rung,
                       int64_t timeout_ms)
{
    shm_futex_wait(&shm_region_bell(region, lane)->rung, rung, timeout_ms);
}

void shm_doorbell_awake(struct shm_lane *lane, int fd)
{
    char bytes[64]; /* one byte a producer and sleep: usually all of them */
    enum shm_sleep sleep = sleep_of(own_count(lane));
    CHECK(sleep != SHM_SLEEP_NONE);
    withdraw(lane);
    CRASH_POINT(lane_awake);
    while (sleep == SHM_SLEEP_POLL && read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        continue;
}

void shm_doorbell_ring_own(const struct shm_region *region, unsigned lane, int fd)
{
    enum shm_sleep sleep = sleep_of(look_at_sleep(&shm_region_lane(region, lane)->sleep_count));
    if (sleep == SHM_SLEEP_ALONE)
        ring_word(&shm_region_bell(region, lane)->rung);
    else if (sleep == SHM_SLEEP_POLL)
        (void)try_write(fd);
}
