#define _GNU_SOURCE /* F_OFD_SETLK */
#include "shm/shm_lease.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/crash_point.h"

static struct flock bytes(short type, unsigned first, unsigned count)
{
    /* l_pid must be 0 for open-file-description locks. */
    return (struct flock){
        .l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = count, .l_pid = 0};
}

static enum status try_lock(int fd, unsigned first, unsigned count)
{
    struct flock lock = bytes(F_WRLCK, first, count);
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return STATUS_OK;
    return errno == EAGAIN || errno == EACCES ? STATUS_BUSY : STATUS_SYSTEM;
}

enum status shm_lease_try_take(const struct shm_region *region, unsigned lease)
{
    return try_lock(region->fd, lease, 1);
}

void shm_lease_give_back(const struct shm_region *region, unsigned lease)
{
    struct flock lock = bytes(F_UNLCK, lease, 1);
    (void)fcntl(region->fd, F_OFD_SETLK, &lock);
}

/* F_OFD_GETLK says who stands in the way; it does not see locks of its own description. */
static bool is_taken(int fd, unsigned lease)
{
    struct flock lock = bytes(F_WRLCK, lease, 1);
    return fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;
}

bool shm_lease_is_taken(const struct shm_region *region, unsigned lease)
{
    return is_taken(region->fd, lease);
}

/* Byte by byte, since of several locks in a range the kernel names any: the same one every time,
 * and one that tells which process to stop, before those that some worker or other holds. */
static unsigned first_taken(int fd)
{
    for (unsigned lease = SHM_LEASE_API; lease < SHM_LEASE_END; lease++)
        if (is_taken(fd, lease))
            return lease;
    for (unsigned lease = SHM_LEASE_CREATION + 1; lease < SHM_LEASE_API; lease++)
        if (is_taken(fd, lease))
            return lease;
    return SHM_LEASE_CREATION; /* or gone meanwhile: whoever it was, it was in use a moment ago */
}

static void describe(unsigned lease, char *text, size_t size)
{
    if (lease >= SHM_LEASE_LANE && lease < SHM_LEASE_LANE + SHM_LANES_MAX)
        snprintf(text, size, "lane %u", lease - SHM_LEASE_LANE);
    else if (lease >= SHM_LEASE_API && lease < SHM_LEASE_API + SHM_API_SLOTS_MAX)
        snprintf(text, size, "API slot %u", lease - SHM_LEASE_API);
    else if (lease == SHM_LEASE_HEALTH)
        snprintf(text, size, "the health caller's lease");
    else if (lease == SHM_LEASE_PURGE)
        snprintf(text, size, "the purge lease");
    else if (lease == SHM_LEASE_OPERATOR)
        snprintf(text, size, "the operator's lease");
    else
        snprintf(text, size, "the creation lock");
}

enum status shm_lease_try_take_all(const struct shm_region *region, struct explain *why)
{
    char holder[64];
    enum status status = try_lock(region->fd, SHM_LEASE_CREATION, SHM_LEASE_END);
    if (status == STATUS_OK)
        return STATUS_OK;
    if (status == STATUS_SYSTEM)
        return explain(why, status, "the leases of region %s cannot be taken: %m", region->name);
    describe(first_taken(region->fd), holder, sizeof holder);
    return explain(why, STATUS_BUSY, "%s of region %s is in use: stop its process first", holder,
                   region->name);
}

uint64_t shm_presence_begin(struct shm_presence *presence)
{
    uint64_t epoch = atomic_load_explicit(&presence->epoch, memory_order_relaxed) + 1;
    uint64_t now_ms = (uint64_t)clock_wall_ms();
    atomic_store_explicit(&presence->pid, (uint64_t)getpid(), memory_order_relaxed);
    atomic_store_explicit(&presence->since_ms, now_ms, memory_order_relaxed);
    atomic_store_explicit(&presence->beat_ms, now_ms, memory_order_relaxed);
    CRASH_POINT(presence_written);
    /* Pairs with the acquire of whoever shows it: the new epoch comes with the new pid. */
    atomic_store_explicit(&presence->epoch, epoch, memory_order_release);
    return epoch;
}

void shm_presence_beat(struct shm_presence *presence)
{
    atomic_store_explicit(&presence->beat_ms, (uint64_t)clock_wall_ms(), memory_order_relaxed);
}
