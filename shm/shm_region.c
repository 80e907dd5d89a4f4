#include "shm/shm_region.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "shm/shm_lease.h"
#include "shm/shm_ring.h"

#define DIRECTORY "/dev/shm"

/* A creator fills at memory speed: 5 s is more than any region that fits takes,
 * and short for a person who waits. */
#define CREATION_WAIT_MS 5000
#define POLL_MS          20

/* Rows count from a day before creation: clocks that differ a little, and
 * payments adopted from a book, still make plain rows. */
#define BASE_BEFORE_CREATION_MS INT64_C(86400000)

/* ------------------------------------------------------------------- names */

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static enum status check_name(const char *name, struct explain *why)
{
    size_t length = strlen(name);
    bool good = length >= 1 && length <= SHM_REGION_NAME_MAX && name[0] != '.';
    for (size_t i = 0; good && i < length; i++)
        good = is_name_character(name[i]);
    if (!good)
        return explain(why, STATUS_INVALID,
                       "PAYRING_REGION must be 1 to %d of A-Z a-z 0-9 _ . - and not begin with a "
                       "dot",
                       SHM_REGION_NAME_MAX);
    /* These would be the half or a FIFO of another region. */
    if (strstr(name, ".bell") || (length > 4 && strcmp(name + length - 4, ".new") == 0))
        return explain(why, STATUS_INVALID,
                       "PAYRING_REGION must not contain .bell nor end in .new");
    return STATUS_OK;
}

static void object_path(char path[static SHM_REGION_PATH_SIZE], const char *name)
{
    snprintf(path, SHM_REGION_PATH_SIZE, DIRECTORY "/%s", name);
}

static void half_path(char path[static SHM_REGION_PATH_SIZE], const char *name)
{
    snprintf(path, SHM_REGION_PATH_SIZE, DIRECTORY "/%s.new", name);
}

void shm_region_fifo_path(const char *name, unsigned lane, char *path, size_t size)
{
    int length = snprintf(path, size, DIRECTORY "/%s.bell%u", name, lane);
    CHECK(length > 0 && (size_t)length < size);
}

static bool is_named(int fd, const char *path)
{
    struct stat named, opened;
    return lstat(path, &named) == 0 && fstat(fd, &opened) == 0 && named.st_ino == opened.st_ino &&
           named.st_dev == opened.st_dev;
}

static void sleep_ms(long ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* ---------------------------------------------------------------- creation */

/* Open <name>.new: a fresh file, or what another creator left or is building. */
static int open_half(const char *path, bool *is_fresh)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    int fd = open(path, flags | O_CREAT | O_EXCL, 0600);
    *is_fresh = fd >= 0;
    return fd >= 0 || errno != EEXIST ? fd : open(path, flags);
}

/* Hold the creation lock of a fresh, empty <name>.new.
 *
 * A file that was there and whose lock is free is a dead creator's. It is
 * unlinked and never used again: it may be a finished region (the creator died
 * between link and unlink) that others have mapped. Only the lock's holder
 * unlinks, and only while the name is this file's. */
static enum status lock_fresh_half(struct shm_region *half, const char *path, struct explain *why)
{
    int64_t deadline = clock_monotonic_ms() + CREATION_WAIT_MS;
    do {
        bool is_fresh;
        half->fd = open_half(path, &is_fresh);
        if (half->fd < 0 && errno != ENOENT)
            return explain(why, STATUS_SYSTEM, "%s cannot be created: %m", path);
        bool locked = half->fd >= 0 && shm_lease_try_take(half, SHM_LEASE_CREATION) == STATUS_OK;
        if (locked && is_named(half->fd, path)) {
            if (is_fresh)
                return STATUS_OK;
            unlink(path);
        }
        if (half->fd >= 0)
            close(half->fd);
        if (!locked)
            sleep_ms(POLL_MS);
    } while (clock_monotonic_ms() < deadline);
    return explain(why, STATUS_BUSY,
                   "waited %d ms for another process that is creating region %s (it holds the lock "
                   "of %s)",
                   CREATION_WAIT_MS, half->name, path);
}

static enum status allocate(const struct shm_region *half, struct explain *why)
{
    const uint64_t mib = 1024 * 1024;
    struct statvfs room = {0};
    int error;
    do
        error = posix_fallocate(half->fd, 0, (off_t)half->places.total_size);
    while (error == EINTR);
    if (error == 0)
        return STATUS_OK;
    if (error != ENOSPC && error != EFBIG) {
        errno = error;
        return explain(why, STATUS_SYSTEM, "memory for region %s cannot be allocated: %m",
                       half->name);
    }
    fstatvfs(half->fd, &room);
    return explain(why, STATUS_FULL,
                   "region %s takes %" PRIu64 " MiB and " DIRECTORY " had %" PRIu64
                   " MiB free: lower PAYRING_LEDGER_ROWS, PAYRING_PAYMENT_SLOTS, "
                   "PAYRING_RING_SLOTS or PAYRING_HORIZON_PAYMENTS, or enlarge " DIRECTORY,
                   half->name, half->places.total_size / mib + 1,
                   (uint64_t)room.f_bavail * room.f_frsize / mib);
}

/* All but what is right as zero. */
static void fill(const struct shm_region *half, const uint64_t region_id[2])
{
    int64_t now_ms = clock_wall_ms();
    uint64_t now_monotonic_ms = (uint64_t)clock_monotonic_ms();
    struct shm_header *header = shm_region_header(half);
    header->magic = SHM_MAGIC;
    header->layout_version = SHM_LAYOUT_VERSION;
    header->layout_fingerprint = SHM_LAYOUT_FINGERPRINT;
    header->total_size = half->places.total_size;
    header->region_id_hi = region_id[0];
    header->region_id_lo = region_id[1];
    header->created_at_ms = now_ms;
    header->base_time_ms = now_ms - BASE_BEFORE_CREATION_MS;
    header->geometry = half->geometry;
    header->ledger_id_hi = region_id[0]; /* a ledger that begins with this region */
    header->ledger_id_lo = region_id[1];
    header->created_at_monotonic_ms = now_monotonic_ms;
    CRASH_POINT(region_header_written);
    for (unsigned i = 0; i < half->geometry.lanes; i++) {
        struct shm_lane *lane = shm_region_lane(half, i);
        atomic_init(&lane->lowest_bound_us, INT64_MAX);
        for (unsigned generation = 0; generation < 2; generation++) {
            atomic_init(&lane->filter.adopted_lowest_us[generation], INT64_MAX);
            atomic_init(&lane->filter.started_at_monotonic_ms[generation], now_monotonic_ms);
        }
    }
}

static void read_header(struct shm_region *region)
{
    const struct shm_header *header = shm_region_header(region);
    region->base_time_ms = header->base_time_ms;
    region->created_at_ms = header->created_at_ms;
    region->created_at_monotonic_ms = header->created_at_monotonic_ms;
    region->region_id_hi = header->region_id_hi;
    region->region_id_lo = header->region_id_lo;
    region->ledger_id_hi = header->ledger_id_hi;
    region->ledger_id_lo = header->ledger_id_lo;
    region->durability = (enum shm_durability)header->durability;
    region->origin = (enum shm_origin)header->origin;
}

static enum status map_and_fill(struct shm_region *half, const struct shm_region_seed *seed,
                                struct explain *why)
{
    enum status status = STATUS_OK;
    uint64_t region_id[2];
    size_t size = half->places.total_size;
    if (getrandom(region_id, sizeof region_id, 0) != sizeof region_id)
        return explain(why, STATUS_SYSTEM, "no random bytes for the region's id: %m");
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, half->fd, 0);
    if (base == MAP_FAILED)
        return explain(why, STATUS_SYSTEM, "region %s cannot be mapped: %m", half->name);
    half->base = base;
    fill(half, region_id);
    read_header(half);
    if (seed)
        status = seed->seed(half, seed->context, why);
    CRASH_POINT(region_filled);
    /* Pairs with the acquire of an attacher. */
    if (status == STATUS_OK)
        atomic_store_explicit(&shm_region_header(half)->state, SHM_REGION_READY,
                              memory_order_release);
    munmap(base, size);
    half->base = NULL;
    return status;
}

/* Under the creation lock and before the region has its name: a FIFO that is
 * there belongs to no region. It may be of an older one that was removed by
 * hand, whose owners still listen: they are not to hear this one's. */
static enum status make_fifos(const struct shm_region *half, struct explain *why)
{
    for (unsigned lane = 0; lane < half->geometry.lanes; lane++) {
        char path[SHM_REGION_PATH_SIZE];
        shm_region_fifo_path(half->name, lane, path, sizeof path);
        if (unlink(path) != 0 && errno != ENOENT)
            return explain(why, STATUS_SYSTEM, "the old %s cannot be removed: %m", path);
        if (mkfifo(path, 0600) != 0)
            return explain(why, STATUS_SYSTEM, "the FIFO %s cannot be made: %m", path);
        CRASH_POINT(region_fifo_made);
    }
    return STATUS_OK;
}

enum status shm_region_refuse_existing(const char *name, struct explain *why)
{
    char path[SHM_REGION_PATH_SIZE];
    object_path(path, name);
    if (access(path, F_OK) != 0)
        return STATUS_OK;
    return explain(why, STATUS_EXISTS, "region %s exists already", name);
}

static enum status give_name(const struct shm_region *half, const char *new_path,
                             struct explain *why)
{
    char path[SHM_REGION_PATH_SIZE];
    object_path(path, half->name);
    CRASH_POINT(region_fifos_made);
    if (link(new_path, path) == 0)
        return STATUS_OK;
    enum status status = errno == EEXIST ? STATUS_EXISTS : STATUS_SYSTEM;
    return explain(why, status, "region %s cannot be named: %m", half->name);
}

static enum status build(struct shm_region *half, const char *new_path,
                         const struct shm_region_seed *seed, struct explain *why)
{
    /* Creators of one name come one after the other (creation lock) and removers
     * take the name away last: while it is free, the FIFOs are ours alone. */
    enum status status = shm_region_refuse_existing(half->name, why);
    if (status == STATUS_OK)
        status = allocate(half, why);
    CRASH_POINT_IF(status == STATUS_OK, region_allocated);
    if (status == STATUS_OK)
        status = map_and_fill(half, seed, why);
    if (status == STATUS_OK)
        status = make_fifos(half, why);
    if (status == STATUS_OK)
        status = give_name(half, new_path, why);
    return status;
}

enum status shm_region_create(const char *name, const struct shm_geometry *geometry,
                              struct explain *why)
{
    return shm_region_create_seeded(name, geometry, NULL, why);
}

enum status shm_region_create_seeded(const char *name, const struct shm_geometry *geometry,
                                     const struct shm_region_seed *seed, struct explain *why)
{
    char new_path[SHM_REGION_PATH_SIZE];
    struct shm_region half = {.geometry = *geometry};
    enum status status = check_name(name, why);
    if (half.geometry.ledger_segment_rows == 0)
        half.geometry.ledger_segment_rows = shm_places_segment_rows(geometry->ledger_rows);
    if (status == STATUS_OK)
        status = shm_places_compute(&half.places, &half.geometry, why);
    if (status == STATUS_OK)
        status =
            shm_region_refuse_existing(name, why); /* at once, even while a creator is stopped */
    if (status != STATUS_OK)
        return status;
    snprintf(half.name, sizeof half.name, "%s", name);
    half_path(new_path, name);
    status = lock_fresh_half(&half, new_path, why);
    if (status != STATUS_OK)
        return status;
    CRASH_POINT(region_half_locked);
    status = build(&half, new_path, seed, why);
    CRASH_POINT_IF(status == STATUS_OK, region_linked);
    unlink(new_path);
    close(half.fd);
    return status;
}

/* ------------------------------------------------------------------ attach */

static enum status open_object(struct shm_region *region, const char *name, int mode,
                               struct explain *why)
{
    char path[SHM_REGION_PATH_SIZE];
    *region = (struct shm_region){.fd = -1}; /* ready to be detached, whatever comes */
    enum status status = check_name(name, why);
    if (status != STATUS_OK)
        return status;
    snprintf(region->name, sizeof region->name, "%s", name);
    object_path(path, name);
    region->fd = open(path, mode | O_CLOEXEC | O_NOFOLLOW);
    if (region->fd >= 0)
        return STATUS_OK;
    if (errno == ENOENT)
        return explain(why, STATUS_NOT_FOUND,
                       "there is no region %s (%s): create it with payringctl create, or set "
                       "PAYRING_REGION",
                       name, path);
    return explain(why, STATUS_SYSTEM, "%s cannot be opened: %m", path);
}

static enum status map(struct shm_region *region, uint64_t *size, struct explain *why)
{
    struct stat object;
    if (fstat(region->fd, &object) != 0)
        return explain(why, STATUS_SYSTEM, "region %s cannot be examined: %m", region->name);
    *size = (uint64_t)object.st_size;
    if (!S_ISREG(object.st_mode) || *size < SHM_PAGE_SIZE)
        return explain(why, STATUS_DAMAGED,
                       DIRECTORY "/%s is no region: it has %" PRIu64 " bytes, not even a header",
                       region->name, *size);
    void *base = mmap(NULL, *size, PROT_READ, MAP_SHARED, region->fd, 0);
    if (base == MAP_FAILED)
        return explain(why, STATUS_SYSTEM, "region %s cannot be mapped: %m", region->name);
    region->base = base;
    region->places.total_size = *size; /* what detach unmaps */
    return STATUS_OK;
}

static enum status verify_layout(const struct shm_region *region, struct explain *why)
{
    const struct shm_header *header = shm_region_header(region);
    if (header->magic != SHM_MAGIC)
        return explain(why, STATUS_DAMAGED, DIRECTORY "/%s is no region of this program",
                       region->name);
    if (header->layout_version != SHM_LAYOUT_VERSION)
        return explain(why, STATUS_UNSUPPORTED,
                       "region %s has layout version %u and this program speaks version %u: use "
                       "the programs that created it, or let its payments end and create it anew",
                       region->name, header->layout_version, SHM_LAYOUT_VERSION);
    if (header->layout_fingerprint != SHM_LAYOUT_FINGERPRINT)
        return explain(why, STATUS_UNSUPPORTED,
                       "region %s has layout version %u like this program, but another build's "
                       "structs: use the programs that created it, or let its payments end and "
                       "create it anew",
                       region->name, header->layout_version);
    return STATUS_OK;
}

/* Copy the geometry before looking at it: what was validated is what is used. */
static enum status verify_geometry(struct shm_region *region, uint64_t size, struct explain *why)
{
    const struct shm_header *header = shm_region_header(region);
    struct shm_places places;
    struct explain reason;
    region->geometry = header->geometry;
    if (shm_places_compute(&places, &region->geometry, &reason) != STATUS_OK)
        return explain(why, STATUS_DAMAGED, "region %s is damaged: %.200s", region->name,
                       reason.text);
    if (header->durability > SHM_DURABILITY_SYNC || header->origin > SHM_ORIGIN_JOURNAL_ASYNC)
        return explain(why, STATUS_DAMAGED,
                       "region %s is damaged: its durability is %u and its "
                       "origin %u",
                       region->name, header->durability, header->origin);
    if (places.total_size != size || header->total_size != size)
        return explain(why, STATUS_DAMAGED,
                       "region %s is damaged: its geometry takes %" PRIu64
                       " bytes, its header says %" PRIu64 ", it has %" PRIu64,
                       region->name, places.total_size, header->total_size, size);
    region->places = places;
    return STATUS_OK;
}

static enum status verify_state(const struct shm_region *region, bool removed_too,
                                struct explain *why)
{
    /* Pairs with the release in fill, and with that of the remover. */
    uint32_t state = atomic_load_explicit(&shm_region_header(region)->state, memory_order_acquire);
    if (state == SHM_REGION_READY || (state == SHM_REGION_REMOVED && removed_too))
        return STATUS_OK;
    if (state == SHM_REGION_REMOVED)
        return explain(why, STATUS_NOT_FOUND,
                       "region %s is being removed; should it stay so, finish with payringctl "
                       "remove and create it anew",
                       region->name);
    return explain(why, STATUS_DAMAGED, "region %s is damaged: its state is %u", region->name,
                   state);
}

static enum status map_and_verify(struct shm_region *region, bool removed_too, struct explain *why)
{
    uint64_t size = 0;
    enum status status = map(region, &size, why);
    if (status == STATUS_OK)
        status = verify_layout(region, why);
    if (status == STATUS_OK)
        status = verify_geometry(region, size, why);
    if (status == STATUS_OK)
        status = verify_state(region, removed_too, why);
    if (status == STATUS_OK)
        read_header(region);
    return status;
}

static enum status protect(const struct shm_region *region, const void *area, uint64_t size,
                           int protection, struct explain *why)
{
    uint64_t offset = (uint64_t)((const uint8_t *)area - region->base);
    if (mprotect(region->base + offset, size, protection) == 0)
        return STATUS_OK;
    return explain(why, STATUS_SYSTEM, "pages of region %s cannot be made %s: %m", region->name,
                   protection & PROT_WRITE ? "writable" : "read-only");
}

static enum status open_area(const struct shm_region *region, const void *area, uint64_t size,
                             struct explain *why)
{
    return protect(region, area, size, PROT_READ | PROT_WRITE, why);
}

static enum status try_attach(struct shm_region *region, const char *name, int mode,
                              struct explain *why)
{
    enum status status = open_object(region, name, mode, why);
    if (status == STATUS_OK)
        status = map_and_verify(region, false, why);
    if (status == STATUS_OK && mode == O_RDWR)
        status = open_area(region, shm_region_bell(region, 0), SHM_PAGE_SIZE, why);
    if (status != STATUS_OK)
        shm_region_detach(region);
    return status;
}

enum status shm_region_attach(struct shm_region *region, const char *name, int64_t wait_ms,
                              struct explain *why)
{
    int64_t deadline = clock_monotonic_ms() + wait_ms;
    struct explain reason = {{0}};
    for (;;) {
        enum status status = try_attach(region, name, O_RDWR, &reason);
        if (status == STATUS_NOT_FOUND && wait_ms > 0 && clock_monotonic_ms() >= deadline)
            return explain(why, STATUS_TIMED_OUT, "waited %" PRId64 " ms: %.400s", wait_ms,
                           reason.text);
        if (status != STATUS_NOT_FOUND || wait_ms <= 0)
            return status == STATUS_OK ? status : explain(why, status, "%s", reason.text);
        sleep_ms(POLL_MS);
    }
}

enum status shm_region_attach_read_only(struct shm_region *region, const char *name,
                                        struct explain *why)
{
    return try_attach(region, name, O_RDONLY, why);
}

void shm_region_detach(struct shm_region *region)
{
    if (region->base)
        munmap(region->base, region->places.total_size);
    /* A handle of zeros was never attached: descriptor 0 is not its own. */
    if (region->fd >= 0 && region->name[0])
        close(region->fd);
    *region = (struct shm_region){.fd = -1};
}

bool shm_region_is_current(const struct shm_region *region)
{
    char path[SHM_REGION_PATH_SIZE];
    object_path(path, region->name);
    /* Acquire: pairs with the remover's release. */
    return is_named(region->fd, path) &&
           atomic_load_explicit(&shm_region_header(region)->state, memory_order_acquire) ==
               SHM_REGION_READY;
}

/* ------------------------------------------------------------------ access */

static void close_area(const struct shm_region *region, const void *area, uint64_t size)
{
    /* Cannot fail for pages that are mapped; if it did, wild writes would no longer be caught. */
    CHECK(protect(region, area, size, PROT_READ, NULL) == STATUS_OK);
}

enum status shm_region_open_api(struct shm_region *region, unsigned api_slot, struct explain *why)
{
    void *area = shm_region_api(region, api_slot);
    enum status status = open_area(region, area, region->places.api_stride, why);
    /* Every page of the rings is used in turn: mapped now, no payment waits for that. Where the
     * kernel does not do it, they wait. */
    if (status == STATUS_OK)
        (void)madvise(area, region->places.api_stride, MADV_POPULATE_WRITE);
    return status;
}

enum status shm_region_open_lane(struct shm_region *region, unsigned lane, struct explain *why)
{
    return open_area(region, shm_region_lane(region, lane), region->places.lane_stride, why);
}

enum status shm_region_open_health(struct shm_region *region, struct explain *why)
{
    return open_area(region, shm_region_health(region), SHM_PAGE_SIZE, why);
}

enum status shm_region_open_purge(struct shm_region *region, struct explain *why)
{
    return open_area(region, shm_region_purge(region), SHM_PAGE_SIZE, why);
}

enum status shm_region_open_operator(struct shm_region *region, struct explain *why)
{
    return open_area(region, shm_region_operator(region), SHM_PAGE_SIZE, why);
}

void shm_region_close_api(struct shm_region *region, unsigned api_slot)
{
    close_area(region, shm_region_api(region, api_slot), region->places.api_stride);
}

void shm_region_close_lane(struct shm_region *region, unsigned lane)
{
    close_area(region, shm_region_lane(region, lane), region->places.lane_stride);
}

void shm_region_close_health(struct shm_region *region)
{
    close_area(region, shm_region_health(region), SHM_PAGE_SIZE);
}

void shm_region_close_purge(struct shm_region *region)
{
    close_area(region, shm_region_purge(region), SHM_PAGE_SIZE);
}

void shm_region_close_operator(struct shm_region *region)
{
    close_area(region, shm_region_operator(region), SHM_PAGE_SIZE);
}

/* ----------------------------------------------------------------- removal */

/* With every lease held, so that what is counted stays. The records' states
 * are the truth; `unsettled` may be too high after a crash. */
static enum status refuse_open_payments(const struct shm_region *region, struct explain *why)
{
    uint64_t in_rings = 0, in_tables = 0;
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        const struct shm_payment *records = shm_region_payments(region, lane);
        for (unsigned api = 0; api < region->geometry.api_slots; api++)
            in_rings += shm_ring_depth(region, api, lane);
        for (uint32_t i = 0; i < region->geometry.payment_slots; i++) {
            uint8_t state = atomic_load_explicit(&records[i].state, memory_order_acquire);
            in_tables += state != PAYMENT_FREE && state != PAYMENT_SETTLED &&
                         state != PAYMENT_DUPLICATE && state != PAYMENT_CONFLICT &&
                         state != PAYMENT_REJECTED;
        }
    }
    if (in_rings + in_tables == 0)
        return STATUS_OK;
    return explain(why, STATUS_EXISTS,
                   "region %s holds payments that have not ended: %" PRIu64 " in rings and %" PRIu64
                   " in tables; let a worker settle them",
                   region->name, in_rings, in_tables);
}

static enum status mark_removed(struct shm_region *region, struct explain *why)
{
    struct shm_header *header = shm_region_header(region);
    enum status status = open_area(region, header, SHM_PAGE_SIZE, why);
    if (status == STATUS_OK)
        /* Pairs with the acquire in verify_state and is_current. */
        atomic_store_explicit(&header->state, SHM_REGION_REMOVED, memory_order_release);
    return status;
}

/* The name goes last: as long as it is there no creator touches the FIFOs. */
static enum status unlink_all(const struct shm_region *region, struct explain *why)
{
    char path[SHM_REGION_PATH_SIZE], new_path[SHM_REGION_PATH_SIZE];
    object_path(path, region->name);
    if (!is_named(region->fd, path))
        return explain(why, STATUS_NOT_FOUND, "another process removed region %s first",
                       region->name);
    for (unsigned lane = 0; lane < SHM_LANES_MAX; lane++) {
        char fifo[SHM_REGION_PATH_SIZE];
        shm_region_fifo_path(region->name, lane, fifo, sizeof fifo);
        unlink(fifo);
        CRASH_POINT(region_fifo_gone);
    }
    CRASH_POINT(region_fifos_gone);
    /* Its creator died after naming it: the same file, and as long as it has a name, memory. */
    half_path(new_path, region->name);
    if (is_named(region->fd, new_path))
        unlink(new_path);
    bool gone = unlink(path) == 0;
    CRASH_POINT_IF(gone, region_unnamed);
    if (gone)
        return STATUS_OK;
    return explain(why, STATUS_SYSTEM, "%s cannot be removed: %m", path);
}

static enum status remove_leased(struct shm_region *region, bool force, struct explain *why)
{
    CRASH_POINT(removal_leased);
    enum status status = map_and_verify(region, true, why);
    if (status == STATUS_OK && !force)
        status = refuse_open_payments(region, why);
    else if (status != STATUS_OK && force)
        return unlink_all(region, why); /* not understood, but meant: nothing to mark */
    if (status == STATUS_OK)
        status = mark_removed(region, why);
    CRASH_POINT_IF(status == STATUS_OK, region_marked_removed);
    return status == STATUS_OK ? unlink_all(region, why) : status;
}

enum status shm_region_remove(const char *name, bool force, struct explain *why)
{
    struct shm_region region;
    enum status status = open_object(&region, name, O_RDWR, why);
    if (status != STATUS_OK)
        return status;
    status = shm_lease_try_take_all(&region, why);
    if (status == STATUS_OK)
        status = remove_leased(&region, force, why);
    shm_region_detach(&region);
    return status;
}

/* ------------------------------------------------------------------ places */

static uint8_t *api_area(const struct shm_region *region, unsigned api_slot)
{
    CHECK(api_slot < region->geometry.api_slots);
    return region->base + region->places.api_offset + api_slot * region->places.api_stride;
}

static uint8_t *lane_area(const struct shm_region *region, unsigned lane)
{
    CHECK(lane < region->geometry.lanes);
    return region->base + region->places.lane_offset + lane * region->places.lane_stride;
}

/* A void pointer, because the places are aligned by construction and the
 * compiler is not to guess from the bytes. */
static void *at(uint8_t *area, uint64_t offset)
{
    return area + offset;
}

struct shm_header *shm_region_header(const struct shm_region *region)
{
    return at(region->base, 0);
}

struct shm_purge *shm_region_purge(const struct shm_region *region)
{
    return at(region->base, SHM_PURGE_OFFSET);
}

struct shm_health *shm_region_health(const struct shm_region *region)
{
    return at(region->base, SHM_HEALTH_OFFSET);
}

struct shm_operator *shm_region_operator(const struct shm_region *region)
{
    return at(region->base, SHM_OPERATOR_OFFSET);
}

struct shm_bell *shm_region_bell(const struct shm_region *region, unsigned lane)
{
    CHECK(lane < region->geometry.lanes);
    return at(region->base, SHM_BELLS_OFFSET + lane * sizeof(struct shm_bell));
}

struct shm_api *shm_region_api(const struct shm_region *region, unsigned api_slot)
{
    return at(api_area(region, api_slot), 0);
}

struct shm_ring_slot *shm_region_ring_slots(const struct shm_region *region, unsigned api_slot,
                                            unsigned lane)
{
    CHECK(lane < region->geometry.lanes);
    return at(api_area(region, api_slot),
              region->places.ring_offset + lane * region->places.ring_stride);
}

struct shm_lane *shm_region_lane(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), 0);
}

struct shm_payment *shm_region_payments(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.payments_offset);
}

_Atomic uint32_t *shm_region_index_heads(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.index_heads_offset);
}

_Atomic uint32_t *shm_region_index_next(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.index_next_offset);
}

uint64_t *shm_region_filter(const struct shm_region *region, unsigned lane, unsigned generation)
{
    CHECK(generation < 2);
    return at(lane_area(region, lane), region->places.filter_offset[generation]);
}

struct shm_block *shm_region_slices(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.slices_offset);
}

struct shm_block *shm_region_blocks(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.blocks_offset);
}

struct shm_block *shm_region_groups(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.groups_offset);
}

struct shm_block *shm_region_segments(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.segments_offset);
}

uint64_t *shm_region_rows(const struct shm_region *region, unsigned lane)
{
    return at(lane_area(region, lane), region->places.rows_offset);
}
