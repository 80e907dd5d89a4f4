#include "shm/shm_ledger_file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/crc32c.h"

/* Written in pieces, so that a worker that is told to stop need not write to the end. */
#define WRITE_PIECE (1u << 20)

/* Of one block. */
#define SLICES_SIZE (SHM_BLOCK_ROWS / SHM_SLICE_ROWS * sizeof(struct shm_block))
#define ROWS_SIZE   (SHM_BLOCK_ROWS * sizeof(uint64_t))

/* ------------------------------------------------------------------ places */

static uint64_t blocks_of(uint32_t segment_rows)
{
    return segment_rows / SHM_BLOCK_ROWS;
}

static uint64_t groups_of(uint32_t segment_rows)
{
    return segment_rows % SHM_GROUP_ROWS == 0 ? segment_rows / SHM_GROUP_ROWS : 0;
}

/* In the index. */
static uint64_t crcs_offset(uint32_t segment_rows)
{
    return (blocks_of(segment_rows) + groups_of(segment_rows)) * sizeof(struct shm_block);
}

uint64_t shm_ledger_file_index_size(uint32_t segment_rows)
{
    uint64_t bytes = crcs_offset(segment_rows) + blocks_of(segment_rows) * sizeof(uint32_t);
    return (bytes + SHM_PAGE_SIZE - 1) / SHM_PAGE_SIZE * SHM_PAGE_SIZE;
}

uint64_t shm_ledger_file_slices_offset(uint32_t segment_rows)
{
    return SHM_PAGE_SIZE + shm_ledger_file_index_size(segment_rows);
}

uint64_t shm_ledger_file_rows_offset(uint32_t segment_rows)
{
    return shm_ledger_file_slices_offset(segment_rows) + blocks_of(segment_rows) * SLICES_SIZE;
}

uint64_t shm_ledger_file_size(uint32_t segment_rows)
{
    return shm_ledger_file_rows_offset(segment_rows) + (uint64_t)segment_rows * sizeof(uint64_t);
}

/* ------------------------------------------------------------------- names */

void shm_ledger_file_path(char path[static SHM_LEDGER_FILE_PATH_SIZE], const char *directory,
                          unsigned lane, uint64_t segment)
{
    int length = snprintf(path, SHM_LEDGER_FILE_PATH_SIZE, "%s/ledger-lane%u-%010" PRIu64 ".rows",
                          directory, lane, segment);
    CHECK(length > 0 && length < SHM_LEDGER_FILE_PATH_SIZE);
}

static void other_path(char path[static SHM_LEDGER_FILE_PATH_SIZE], const char *directory,
                       unsigned lane, const char *ending)
{
    int length =
        snprintf(path, SHM_LEDGER_FILE_PATH_SIZE, "%s/ledger-lane%u.%s", directory, lane, ending);
    CHECK(length > 0 && length < SHM_LEDGER_FILE_PATH_SIZE);
}

bool shm_ledger_file_parse_name(const char *name, unsigned *lane, uint64_t *segment)
{
    char again[SHM_LEDGER_FILE_PATH_SIZE];
    if (sscanf(name, "ledger-lane%u-%" SCNu64 ".rows", lane, segment) != 2)
        return false;
    /* Written again it must be the same: no sign, no space, nothing after it. */
    shm_ledger_file_path(again, "", *lane, *segment);
    return strcmp(again + 1, name) == 0;
}

/* ----------------------------------------------------------------- writing */

static enum status refuse_disk(struct explain *why, const char *verb, const char *path)
{
    enum status status = errno == ENOSPC || errno == EDQUOT ? STATUS_FULL : STATUS_SYSTEM;
    return explain(why, status, "%s cannot be %s: %m", path, verb);
}

static enum status write_all(int fd, const void *bytes, uint64_t size, const atomic_bool *stopping,
                             const char *path, struct explain *why)
{
    const uint8_t *at = bytes;
    while (size > 0) {
        if (stopping && atomic_load_explicit(stopping, memory_order_acquire))
            return explain(why, STATUS_BUSY, "told to stop");
        ssize_t written = write(fd, at, size < WRITE_PIECE ? size : WRITE_PIECE);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return refuse_disk(why, "written", path);
        at += written;
        size -= (uint64_t)written;
    }
    return STATUS_OK;
}

static enum status sync_directory(const char *directory, struct explain *why)
{
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool synced = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return synced ? STATUS_OK : refuse_disk(why, "synced", directory);
}

/* A file that nobody has the name of: an older one is of somebody who died or failed. */
static int open_new(const char *path)
{
    unlink(path);
    return open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

static const struct shm_block *slices_in_memory(const struct shm_region *region, unsigned lane,
                                                uint64_t segment)
{
    uint64_t place = segment % region->places.segment_count;
    return shm_region_slices(region, lane) +
           place * region->geometry.ledger_segment_rows / SHM_SLICE_ROWS;
}

static const uint64_t *rows_in_memory(const struct shm_region *region, unsigned lane,
                                      uint64_t segment)
{
    uint64_t place = segment % region->places.segment_count;
    return shm_region_rows(region, lane) + place * region->geometry.ledger_segment_rows;
}

static struct shm_ledger_identity identity_of(const struct shm_region *region)
{
    return (struct shm_ledger_identity){
        .ledger_id_hi = region->ledger_id_hi,
        .ledger_id_lo = region->ledger_id_lo,
        .base_time_ms = region->base_time_ms,
        .segment_rows = region->geometry.ledger_segment_rows,
        .lanes = region->geometry.lanes,
    };
}

static void make_header(struct shm_ledger_file_header *header, const struct shm_region *region,
                        unsigned lane, uint64_t segment, uint32_t index_crc)
{
    uint64_t place = segment % region->places.segment_count;
    memset(header, 0, sizeof *header);
    header->magic = SHM_LEDGER_FILE_MAGIC;
    header->version = SHM_LEDGER_FILE_VERSION;
    header->lane = lane;
    header->ledger = identity_of(region);
    header->region_id_hi = region->region_id_hi;
    header->region_id_lo = region->region_id_lo;
    header->filed_at_ms = clock_wall_ms();
    header->segment = segment;
    header->totals = shm_region_segments(region, lane)[place];
    header->index_crc = index_crc;
    header->header_crc = crc32c(0, header, offsetof(struct shm_ledger_file_header, header_crc));
}

/* Entries, then checksums of slices and rows. NULL: no memory. */
static uint8_t *make_index(const struct shm_region *region, unsigned lane, uint64_t segment)
{
    uint32_t segment_rows = region->geometry.ledger_segment_rows;
    uint64_t count = blocks_of(segment_rows), place = segment % region->places.segment_count;
    const uint64_t *rows = rows_in_memory(region, lane, segment);
    const struct shm_block *slices = slices_in_memory(region, lane, segment);
    uint8_t *index = calloc(1, shm_ledger_file_index_size(segment_rows));
    if (!index)
        return NULL;
    memcpy(index, &shm_region_blocks(region, lane)[place * count],
           count * sizeof(struct shm_block));
    if (groups_of(segment_rows) > 0)
        memcpy(index + count * sizeof(struct shm_block),
               &shm_region_groups(region, lane)[place * groups_of(segment_rows)],
               groups_of(segment_rows) * sizeof(struct shm_block));
    for (uint64_t block = 0; block < count; block++) {
        uint32_t crc = crc32c(0, slices + block * SHM_BLOCK_ROWS / SHM_SLICE_ROWS, SLICES_SIZE);
        crc = crc32c(crc, rows + block * SHM_BLOCK_ROWS, ROWS_SIZE);
        memcpy(index + crcs_offset(segment_rows) + block * sizeof crc, &crc, sizeof crc);
    }
    return index;
}

/* Is what stands there what would be written? All but when and by whom is compared:
 * the index has the checksums of all rows. */
static enum status accept_existing(const struct shm_ledger_file_header *wanted, const char *path,
                                   const char *directory, const struct shm_region *region,
                                   struct explain *why)
{
    struct shm_ledger_file_header found;
    struct explain reason = {{0}};
    enum status status = shm_ledger_file_read_header(directory, wanted->lane, wanted->segment,
                                                     region, &found, &reason);
    if (status != STATUS_OK)
        return explain(why, STATUS_EXISTS, "%.400s", reason.text);
    if (found.index_crc != wanted->index_crc ||
        memcmp(&found.totals, &wanted->totals, sizeof found.totals) != 0)
        return explain(why, STATUS_EXISTS, "%s is there already, with other rows", path);
    return sync_directory(directory, why);
}

static enum status write_contents(int fd, const struct shm_ledger_file_header *header,
                                  const uint8_t *index, const struct shm_region *region,
                                  const atomic_bool *stopping, const char *path,
                                  struct explain *why)
{
    uint64_t blocks = blocks_of(header->ledger.segment_rows);
    const struct shm_block *slices = slices_in_memory(region, header->lane, header->segment);
    const uint64_t *rows = rows_in_memory(region, header->lane, header->segment);
    uint64_t index_size = shm_ledger_file_index_size(header->ledger.segment_rows);
    enum status status = write_all(fd, header, sizeof *header, stopping, path, why);
    if (status == STATUS_OK)
        status = write_all(fd, index, index_size, stopping, path, why);
    if (status == STATUS_OK)
        status = write_all(fd, slices, blocks * SLICES_SIZE, stopping, path, why);
    if (status == STATUS_OK)
        status = write_all(fd, rows, blocks * ROWS_SIZE, stopping, path, why);
    if (status == STATUS_OK && fdatasync(fd) != 0)
        status = refuse_disk(why, "synced", path);
    return status;
}

static enum status write_new(const struct shm_ledger_file_header *header, const uint8_t *index,
                             const struct shm_region *region, const char *directory,
                             const atomic_bool *stopping, struct explain *why)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE], new_path[SHM_LEDGER_FILE_PATH_SIZE];
    shm_ledger_file_path(path, directory, header->lane, header->segment);
    other_path(new_path, directory, header->lane, "new");
    int fd = open_new(new_path);
    if (fd < 0)
        return refuse_disk(why, "created", new_path);
    enum status status = write_contents(fd, header, index, region, stopping, new_path, why);
    close(fd);
    CRASH_POINT_IF(status == STATUS_OK, rows_file_synced);
    if (status == STATUS_OK && link(new_path, path) == 0)
        status = sync_directory(directory, why);
    else if (status == STATUS_OK && errno == EEXIST)
        status = accept_existing(header, path, directory, region, why);
    else if (status == STATUS_OK)
        status = refuse_disk(why, "named", path);
    CRASH_POINT_IF(status == STATUS_OK, rows_file_named);
    unlink(new_path);
    return status;
}

enum status shm_ledger_file_write(const struct shm_region *region, unsigned lane, uint64_t segment,
                                  const char *directory, const atomic_bool *stopping,
                                  struct explain *why)
{
    struct shm_ledger_file_header *header = malloc(sizeof *header);
    uint8_t *index = header ? make_index(region, lane, segment) : NULL;
    enum status status = STATUS_SYSTEM;
    if (index) {
        make_header(
            header, region, lane, segment,
            crc32c(0, index, shm_ledger_file_index_size(region->geometry.ledger_segment_rows)));
        status = write_new(header, index, region, directory, stopping, why);
    } else {
        explain_in(why, "out of memory for the index of a segment");
    }
    free(index);
    free(header);
    return status;
}

enum status shm_ledger_file_write_first(const struct shm_region *region, unsigned lane,
                                        uint64_t first_row, const char *directory,
                                        struct explain *why)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE], new_path[SHM_LEDGER_FILE_PATH_SIZE];
    struct shm_ledger_first first = {.magic = SHM_LEDGER_FIRST_MAGIC,
                                     .version = SHM_LEDGER_FILE_VERSION,
                                     .lane = lane,
                                     .ledger = identity_of(region),
                                     .first_row = first_row};
    first.crc = crc32c(0, &first, offsetof(struct shm_ledger_first, crc));
    other_path(path, directory, lane, "first");
    other_path(new_path, directory, lane, "new");
    int fd = open_new(new_path);
    if (fd < 0)
        return refuse_disk(why, "created", new_path);
    enum status status = write_all(fd, &first, sizeof first, NULL, new_path, why);
    if (status == STATUS_OK && fdatasync(fd) != 0)
        status = refuse_disk(why, "synced", new_path);
    close(fd);
    if (status == STATUS_OK && rename(new_path, path) != 0)
        status = refuse_disk(why, "replaced", path);
    CRASH_POINT_IF(status == STATUS_OK, first_row_filed);
    return status == STATUS_OK ? sync_directory(directory, why) : status;
}

/* ----------------------------------------------------------------- reading */

/* Clients may read what readers say, and have no business with our directories. */
static const char *name_of(const char *path)
{
    return strrchr(path, '/') + 1;
}

static enum status open_file(const char *path, int *fd, struct explain *why)
{
    *fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (*fd >= 0)
        return STATUS_OK;
    if (errno == ENOENT)
        return explain(why, STATUS_NOT_FOUND, "the file %s of the ledger is missing",
                       name_of(path));
    return explain(why, STATUS_SYSTEM, "%s cannot be opened: %m", name_of(path));
}

static enum status read_all(int fd, void *bytes, uint64_t size, uint64_t offset, const char *path,
                            struct explain *why)
{
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t count = pread(fd, at, size, (off_t)offset);
        if (count < 0 && errno == EINTR)
            continue;
        if (count < 0)
            return explain(why, STATUS_SYSTEM, "%s cannot be read: %m", name_of(path));
        if (count == 0)
            return explain(why, STATUS_DAMAGED, "the file %s of the ledger is cut off",
                           name_of(path));
        at += count;
        offset += (uint64_t)count;
        size -= (uint64_t)count;
    }
    return STATUS_OK;
}

static enum status damaged(struct explain *why, const char *path, const char *what)
{
    return explain(why, STATUS_DAMAGED, "the file %s of the ledger is damaged: %s", name_of(path),
                   what);
}

static enum status verify_identity(const struct shm_ledger_identity *is,
                                   const struct shm_region *region, const char *path,
                                   struct explain *why)
{
    if (is->segment_rows < SHM_BLOCK_ROWS || is->segment_rows > SHM_SEGMENT_ROWS_MAX ||
        is->segment_rows % SHM_BLOCK_ROWS)
        return damaged(why, path, "the length of its segments");
    if (!region)
        return STATUS_OK;
    struct shm_ledger_identity wanted = identity_of(region);
    if (is->ledger_id_hi != wanted.ledger_id_hi || is->ledger_id_lo != wanted.ledger_id_lo)
        return explain(why, STATUS_DAMAGED, "the file %s is of another ledger", name_of(path));
    if (memcmp(is, &wanted, sizeof wanted) != 0)
        return damaged(why, path, "its geometry or base time is not that of its ledger");
    return STATUS_OK;
}

static enum status verify_header(const struct shm_ledger_file_header *header, unsigned lane,
                                 uint64_t segment, const struct shm_region *region,
                                 const char *path, struct explain *why)
{
    if (header->magic != SHM_LEDGER_FILE_MAGIC)
        return damaged(why, path, "it is none");
    if (header->version != SHM_LEDGER_FILE_VERSION)
        return explain(why, STATUS_DAMAGED, "the file %s of the ledger has version %u, not %u",
                       name_of(path), header->version, SHM_LEDGER_FILE_VERSION);
    if (header->header_crc !=
        crc32c(0, header, offsetof(struct shm_ledger_file_header, header_crc)))
        return damaged(why, path, "the checksum of its header");
    if (header->lane != lane || header->segment != segment)
        return damaged(why, path, "it is of another lane or segment than its name says");
    return verify_identity(&header->ledger, region, path, why);
}

static enum status verify_size(int fd, uint64_t size, const char *path, struct explain *why)
{
    struct stat file;
    if (fstat(fd, &file) != 0)
        return explain(why, STATUS_SYSTEM, "%s cannot be examined: %m", name_of(path));
    if (!S_ISREG(file.st_mode) || (uint64_t)file.st_size != size)
        return damaged(why, path, "its size");
    return STATUS_OK;
}

enum status shm_ledger_file_read_header(const char *directory, unsigned lane, uint64_t segment,
                                        const struct shm_region *region,
                                        struct shm_ledger_file_header *header, struct explain *why)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    int fd;
    shm_ledger_file_path(path, directory, lane, segment);
    enum status status = open_file(path, &fd, why);
    if (status != STATUS_OK)
        return status;
    status = read_all(fd, header, sizeof *header, 0, path, why);
    if (status == STATUS_OK)
        status = verify_header(header, lane, segment, region, path, why);
    if (status == STATUS_OK)
        status = verify_size(fd, shm_ledger_file_size(header->ledger.segment_rows), path, why);
    close(fd);
    return status;
}

static enum status verify_index(int fd, uint64_t size, uint32_t index_crc, const char *path,
                                struct explain *why)
{
    uint8_t *index = malloc(size);
    if (!index)
        return explain(why, STATUS_SYSTEM, "out of memory for the index of %s", name_of(path));
    enum status status = read_all(fd, index, size, SHM_PAGE_SIZE, path, why);
    if (status == STATUS_OK && crc32c(0, index, size) != index_crc)
        status = damaged(why, path, "the checksum of its index");
    free(index);
    return status;
}

static enum status map_open(int fd, uint32_t segment_rows, uint32_t index_crc, const char *path,
                            struct shm_ledger_file_map *map, struct explain *why)
{
    uint64_t size = shm_ledger_file_size(segment_rows);
    enum status status = verify_size(fd, size, path, why);
    if (status == STATUS_OK)
        status = verify_index(fd, shm_ledger_file_index_size(segment_rows), index_crc, path, why);
    if (status != STATUS_OK)
        return status;
    void *base = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED)
        return explain(why, STATUS_SYSTEM, "%s cannot be mapped: %m", name_of(path));
    *map = (struct shm_ledger_file_map){.base = base, .size = size};
    return STATUS_OK;
}

enum status shm_ledger_file_map(const char *directory, unsigned lane, uint64_t segment,
                                const struct shm_region *region, uint32_t index_crc,
                                struct shm_ledger_file_map *map, struct explain *why)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    int fd;
    *map = (struct shm_ledger_file_map){.base = NULL};
    shm_ledger_file_path(path, directory, lane, segment);
    enum status status = open_file(path, &fd, why);
    if (status != STATUS_OK)
        return status;
    status = map_open(fd, region->geometry.ledger_segment_rows, index_crc, path, map, why);
    close(fd);
    return status;
}

void shm_ledger_file_unmap(struct shm_ledger_file_map *map)
{
    if (map->base)
        CHECK(munmap((void *)(uintptr_t)map->base, map->size) == 0);
    map->base = NULL;
}

/* Of an index that was verified. */
static uint32_t crc_of_block(const struct shm_ledger_file_map *map, uint32_t segment_rows,
                             uint64_t block)
{
    uint32_t crc;
    uint64_t crcs = SHM_PAGE_SIZE + crcs_offset(segment_rows);
    CHECK(block < blocks_of(segment_rows));
    memcpy(&crc, map->base + crcs + block * sizeof crc, sizeof crc);
    return crc;
}

enum status shm_ledger_file_verify_block(const char *directory, unsigned lane, uint64_t segment,
                                         const struct shm_region *region,
                                         const struct shm_ledger_file_map *map, uint64_t block,
                                         struct explain *why)
{
    static _Thread_local uint8_t bytes[SLICES_SIZE + ROWS_SIZE];
    uint32_t segment_rows = region->geometry.ledger_segment_rows;
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    int fd;
    shm_ledger_file_path(path, directory, lane, segment);
    enum status status = open_file(path, &fd, why);
    if (status != STATUS_OK)
        return status;
    status = read_all(fd, bytes, SLICES_SIZE,
                      shm_ledger_file_slices_offset(segment_rows) + block * SLICES_SIZE, path, why);
    if (status == STATUS_OK)
        status = read_all(fd, bytes + SLICES_SIZE, ROWS_SIZE,
                          shm_ledger_file_rows_offset(segment_rows) + block * ROWS_SIZE, path, why);
    close(fd);
    if (status == STATUS_OK &&
        crc32c(0, bytes, sizeof bytes) != crc_of_block(map, segment_rows, block))
        status = damaged(why, path, "the checksum of some of its rows");
    return status;
}

enum status shm_ledger_file_read_first(const char *directory, unsigned lane,
                                       const struct shm_region *region,
                                       struct shm_ledger_first *first, struct explain *why)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    int fd;
    *first = (struct shm_ledger_first){.first_row = 0};
    other_path(path, directory, lane, "first");
    enum status status = open_file(path, &fd, why);
    if (status != STATUS_OK)
        return status;
    status = read_all(fd, first, sizeof *first, 0, path, why);
    close(fd);
    if (status == STATUS_OK &&
        (first->magic != SHM_LEDGER_FIRST_MAGIC || first->version != SHM_LEDGER_FILE_VERSION ||
         first->lane != lane ||
         first->crc != crc32c(0, first, offsetof(struct shm_ledger_first, crc))))
        status = damaged(why, path, "its checksum");
    return status == STATUS_OK ? verify_identity(&first->ledger, region, path, why) : status;
}
