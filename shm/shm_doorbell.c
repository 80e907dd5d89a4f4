#include "shm/shm_doorbell.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/crash_point.h"

static bool is_asleep(uint64_t count)
{
    return count & 1;
}

void shm_doorbell_open(struct shm_doorbell *bell, const struct shm_region *region, unsigned lane)
{
    *bell = (struct shm_doorbell){
        .fd = -1,
        .sleep_count = &shm_region_lane(region, lane)->sleep_count,
    };
    shm_region_bell_path(region->name, lane, bell->path, sizeof bell->path);
}

void shm_doorbell_close(struct shm_doorbell *bell)
{
    if (bell->fd >= 0)
        close(bell->fd);
    bell->fd = -1;
}

/* false: the descriptor is of no use any more. EAGAIN is not that: a full FIFO has been rung. */
static bool try_write(const struct shm_doorbell *bell)
{
    ssize_t written;
    do
        written = write(bell->fd, "", 1);
    while (written < 0 && errno == EINTR);
    CRASH_POINT(bell_rung);
    return written == 1 || errno == EAGAIN;
}

void shm_doorbell_ring(struct shm_doorbell *bell)
{
    /* Orders the pushes before the look at the count: see the header. */
    atomic_thread_fence(memory_order_seq_cst);
    uint64_t count = atomic_load_explicit(bell->sleep_count, memory_order_relaxed);
    if (!is_asleep(count) || count == bell->rung_for)
        return;
    /* Marked as rung even if nobody listens: whoever announced this sleep has
     * the FIFO open until it dies, and its successor's sleeps have other counts. */
    bell->rung_for = count;
    if (bell->fd >= 0 && try_write(bell))
        return;
    shm_doorbell_close(bell);
    /* ENXIO: nobody listens. */
    bell->fd = open(bell->path, O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);
    if (bell->fd >= 0 && !try_write(bell))
        shm_doorbell_close(bell);
}

int shm_doorbell_listen(const struct shm_region *region, unsigned lane, struct explain *why)
{
    char path[SHM_REGION_PATH_SIZE];
    struct stat file;
    shm_region_bell_path(region->name, lane, path, sizeof path);
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

/* Single writer: the owner. */
static void step_count(struct shm_lane *lane)
{
    uint64_t count = atomic_load_explicit(&lane->sleep_count, memory_order_relaxed);
    atomic_store_explicit(&lane->sleep_count, count + 1, memory_order_release);
}

void shm_doorbell_reset(struct shm_lane *lane)
{
    if (is_asleep(atomic_load_explicit(&lane->sleep_count, memory_order_relaxed)))
        step_count(lane);
}

void shm_doorbell_sleep(struct shm_lane *lane)
{
    CHECK(!is_asleep(atomic_load_explicit(&lane->sleep_count, memory_order_relaxed)));
    step_count(lane);
    /* Orders the announcement before the look at the rings: see the header. */
    atomic_thread_fence(memory_order_seq_cst);
    CRASH_POINT(lane_asleep);
}

void shm_doorbell_awake(struct shm_lane *lane, int fd)
{
    char bytes[64]; /* one byte a producer and sleep: usually all of them */
    CHECK(is_asleep(atomic_load_explicit(&lane->sleep_count, memory_order_relaxed)));
    step_count(lane);
    CRASH_POINT(lane_awake);
    while (read(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes)
        continue;
}
