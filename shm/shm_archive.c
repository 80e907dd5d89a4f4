#include "shm/shm_archive.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "shm/shm_ledger.h"
#include "shm/shm_ledger_file.h"

#define VERIFIED_WORDS (SHM_SEGMENT_BLOCKS_MAX / 64)

/* What is known of a segment's file, besides its totals. */
struct file {
    uint32_t index_crc;
    bool loaded;
    struct shm_ledger_file_map map;
    uint64_t verified[VERIFIED_WORDS]; /* a bit for each block */
};

struct lane_files {
    uint64_t from, to;        /* loaded, all between */
    uint64_t room;            /* of the arrays, which are by the segment's number */
    struct shm_block *totals; /* apart from the rest: every sum walks over all of them */
    struct file *files;
};

struct shm_archive {
    char directory[256];
    struct lane_files lanes[SHM_LANES_MAX];
};

/* ------------------------------------------------------------ open and close */

enum status shm_archive_open(struct shm_region *region, const char *directory, struct explain *why)
{
    if (!*directory)
        return STATUS_OK;
    region->archive = calloc(1, sizeof *region->archive);
    if (!region->archive)
        return explain(why, STATUS_SYSTEM, "out of memory for the ledger's files");
    int length =
        snprintf(region->archive->directory, sizeof region->archive->directory, "%s", directory);
    CHECK(length < (int)sizeof region->archive->directory);
    return STATUS_OK;
}

static void let_go(struct lane_files *lane, uint64_t segment)
{
    shm_ledger_file_unmap(&lane->files[segment].map);
    lane->files[segment] = (struct file){.loaded = false};
}

void shm_archive_close(struct shm_region *region)
{
    if (!region->archive)
        return;
    for (unsigned i = 0; i < SHM_LANES_MAX; i++) {
        struct lane_files *lane = &region->archive->lanes[i];
        for (uint64_t segment = 0; segment < lane->room; segment++)
            let_go(lane, segment);
        free(lane->totals);
        free(lane->files);
    }
    free(region->archive);
    region->archive = NULL;
}

/* -------------------------------------------------------------------- files */

static enum status without_archive(struct explain *why)
{
    return explain(why, STATUS_NOT_FOUND,
                   "a part of the ledger is in files: PAYRING_STATE_DIR must say where");
}

static enum status make_room(struct lane_files *lane, uint64_t to, struct explain *why)
{
    if (to <= lane->room)
        return STATUS_OK;
    uint64_t room = to + to / 2 + 16;
    struct shm_block *totals = realloc(lane->totals, room * sizeof *totals);
    if (totals)
        lane->totals = totals;
    struct file *files = totals ? realloc(lane->files, room * sizeof *files) : NULL;
    if (!files)
        return explain(why, STATUS_SYSTEM, "out of memory for %" PRIu64 " files of the ledger", to);
    lane->files = files;
    memset(&files[lane->room], 0, (room - lane->room) * sizeof *files);
    lane->room = room;
    return STATUS_OK;
}

static enum status load_file(const struct shm_region *region, unsigned number, uint64_t segment,
                             struct explain *why)
{
    struct shm_archive *archive = region->archive;
    struct lane_files *lane = &archive->lanes[number];
    struct shm_ledger_file_header header;
    if (lane->files[segment].loaded)
        return STATUS_OK;
    enum status status =
        shm_ledger_file_read_header(archive->directory, number, segment, region, &header, why);
    if (status != STATUS_OK)
        return status;
    lane->files[segment] = (struct file){.loaded = true, .index_crc = header.index_crc};
    lane->totals[segment] = header.totals;
    return STATUS_OK;
}

enum status shm_archive_load(const struct shm_region *region, unsigned number, uint64_t from,
                             uint64_t to, const struct shm_block **totals, struct explain *why)
{
    if (!region->archive)
        return without_archive(why);
    struct lane_files *lane = &region->archive->lanes[number];
    if (from == lane->from && to <= lane->to) {
        *totals = lane->totals;
        return STATUS_OK;
    }
    for (uint64_t segment = lane->from; segment < from && segment < lane->to; segment++)
        let_go(lane, segment);
    enum status status = make_room(lane, to, why);
    for (uint64_t segment = from; segment < to && status == STATUS_OK; segment++)
        status = load_file(region, number, segment, why);
    if (status != STATUS_OK)
        return status;
    lane->from = from;
    lane->to = to > lane->to ? to : lane->to;
    *totals = lane->totals;
    return STATUS_OK;
}

static enum status map_file(const struct shm_region *region, unsigned lane, uint64_t segment,
                            struct explain *why)
{
    struct shm_archive *archive = region->archive;
    enum status status = make_room(&archive->lanes[lane], segment + 1, why);
    if (status == STATUS_OK)
        status = load_file(region, lane, segment, why);
    if (status != STATUS_OK)
        return status;
    struct file *file = &archive->lanes[lane].files[segment];
    if (file->map.base)
        return STATUS_OK;
    return shm_ledger_file_map(archive->directory, lane, segment, region, file->index_crc,
                               &file->map, why);
}

enum status shm_archive_open_part(const struct shm_region *region, unsigned lane, uint64_t segment,
                                  struct shm_archive_part *part, struct explain *why)
{
    *part = (struct shm_archive_part){.region = region, .lane = lane, .segment = segment};
    if (!region->archive)
        return without_archive(why);
    enum status status = map_file(region, lane, segment, why);
    if (status != STATUS_OK)
        return status;
    const uint8_t *base = region->archive->lanes[lane].files[segment].map.base;
    const void *rows = base + shm_ledger_file_rows_offset(region->geometry.ledger_segment_rows);
    const void *slices = base + shm_ledger_file_slices_offset(region->geometry.ledger_segment_rows);
    const void *blocks = base + SHM_PAGE_SIZE;
    if (region->places.group_count > 0)
        part->groups = (const struct shm_block *)blocks +
                       region->geometry.ledger_segment_rows / SHM_BLOCK_ROWS;
    part->rows = rows;
    part->slices = slices;
    part->blocks = blocks;
    return STATUS_OK;
}

enum status shm_archive_verify(const struct shm_archive_part *part, uint64_t from, uint64_t to,
                               struct explain *why)
{
    struct shm_archive *archive = part->region->archive;
    struct file *file = &archive->lanes[part->lane].files[part->segment];
    for (uint64_t block = from / SHM_BLOCK_ROWS; block * SHM_BLOCK_ROWS < to; block++) {
        uint64_t bit = UINT64_C(1) << block % 64;
        if (file->verified[block / 64] & bit)
            continue;
        enum status status = shm_ledger_file_verify_block(
            archive->directory, part->lane, part->segment, part->region, &file->map, block, why);
        if (status != STATUS_OK)
            return status;
        file->verified[block / 64] |= bit;
    }
    return STATUS_OK;
}

/* ---------------------------------------------------------------- directory */

enum status shm_archive_check_directory(const struct shm_region *region, unsigned lane,
                                        const char *directory, struct explain *why)
{
    struct shm_ledger_file_header header;
    const struct shm_lane *control = shm_region_lane(region, lane);
    uint64_t filed = atomic_load_explicit(&control->segments_filed, memory_order_acquire);
    uint64_t first = atomic_load_explicit(&control->first_row, memory_order_acquire);
    /* None is filed yet, or the last one was purged and need not be there. */
    if (filed * region->geometry.ledger_segment_rows <= first)
        return STATUS_OK;
    return shm_ledger_file_read_header(directory, lane, filed - 1, region, &header, why);
}

/* What a directory holds of a ledger. */
struct holding {
    uint64_t ends[SHM_LANES_MAX];      /* the highest segment + 1; 0: none */
    struct shm_ledger_identity ledger; /* of one of the files; all zeros: there is none */
};

static enum status refuse_directory(const char *directory, struct explain *why)
{
    return explain(why, STATUS_SYSTEM, "PAYRING_STATE_DIR %s cannot be read: %m", directory);
}

static enum status list_segments(const char *directory, struct holding *holding,
                                 struct explain *why)
{
    const struct dirent *entry;
    unsigned lane;
    uint64_t segment;
    DIR *listing = opendir(directory);
    if (!listing)
        return refuse_directory(directory, why);
    while (errno = 0, (entry = readdir(listing)) != NULL)
        if (shm_ledger_file_parse_name(entry->d_name, &lane, &segment) && lane < SHM_LANES_MAX &&
            segment + 1 > holding->ends[lane])
            holding->ends[lane] = segment + 1;
    int error = errno;
    closedir(listing);
    errno = error;
    return error ? refuse_directory(directory, why) : STATUS_OK;
}

static enum status look_at_lane(const char *directory, unsigned lane, struct holding *holding,
                                struct explain *why)
{
    struct shm_ledger_file_header file;
    struct shm_ledger_first first;
    enum status status = shm_ledger_file_read_first(directory, lane, NULL, &first, why);
    if (status == STATUS_OK)
        holding->ledger = first.ledger;
    else if (status == STATUS_NOT_FOUND)
        status = STATUS_OK; /* never purged */
    if (status != STATUS_OK || holding->ends[lane] == 0)
        return status;
    status =
        shm_ledger_file_read_header(directory, lane, holding->ends[lane] - 1, NULL, &file, why);
    if (status == STATUS_OK)
        holding->ledger = file.ledger;
    return status;
}

static enum status look_into(const char *directory, struct holding *holding, struct explain *why)
{
    enum status status = list_segments(directory, holding, why);
    for (unsigned lane = 0; lane < SHM_LANES_MAX && status == STATUS_OK; lane++)
        status = look_at_lane(directory, lane, holding, why);
    return status;
}

/* Take over id and base time, before any file is held against them. */
static enum status adopt_identity(struct shm_region *region,
                                  const struct shm_ledger_identity *ledger, struct explain *why)
{
    struct shm_header *header = shm_region_header(region);
    const struct shm_geometry *g = &region->geometry;
    if (ledger->lanes != g->lanes)
        return explain(why, STATUS_UNSUPPORTED,
                       "the ledger in PAYRING_STATE_DIR has %u lanes and PAYRING_LANES is %u",
                       ledger->lanes, g->lanes);
    if (ledger->segment_rows != g->ledger_segment_rows)
        return explain(why, STATUS_UNSUPPORTED,
                       "the ledger in PAYRING_STATE_DIR has segments of %u rows and "
                       "PAYRING_LEDGER_SEGMENT_ROWS is %u",
                       ledger->segment_rows, g->ledger_segment_rows);
    header->ledger_id_hi = region->ledger_id_hi = ledger->ledger_id_hi;
    header->ledger_id_lo = region->ledger_id_lo = ledger->ledger_id_lo;
    header->base_time_ms = region->base_time_ms = ledger->base_time_ms;
    return STATUS_OK;
}

/* Go on behind what is filed or purged. A segment that was purged before it was filed
 * has no file: its rows that are purged are filled up, so that those behind keep
 * their numbers. */
static void adopt_counts(struct shm_region *region, unsigned number, uint64_t end, uint64_t first)
{
    struct shm_lane *lane = shm_region_lane(region, number);
    uint64_t segment_rows = region->geometry.ledger_segment_rows;
    struct shm_ledger_writer writer;
    if (end < first / segment_rows)
        end = first / segment_rows;
    atomic_store_explicit(&lane->segments_filed, end, memory_order_relaxed);
    atomic_store_explicit(&lane->segments_dropped, end, memory_order_relaxed);
    atomic_store_explicit(&lane->row_count, end * segment_rows, memory_order_relaxed);
    if (first > end * segment_rows) {
        shm_ledger_writer_open(&writer, region, number);
        shm_ledger_skip_to(&writer, first);
    }
    atomic_store_explicit(&lane->first_row, first, memory_order_relaxed);
}

static enum status adopt_lane(struct shm_region *region, unsigned lane, const char *directory,
                              const struct holding *holding, struct explain *why)
{
    struct shm_ledger_file_header file;
    struct shm_ledger_first first;
    int64_t lowest_us = INT64_MAX;
    /* Again, now that it is known what ledger they must be of. */
    enum status status = shm_ledger_file_read_first(directory, lane, region, &first, why);
    if (status == STATUS_NOT_FOUND)
        status = STATUS_OK;
    for (uint64_t segment = first.first_row / region->geometry.ledger_segment_rows;
         segment < holding->ends[lane] && status == STATUS_OK; segment++) {
        status = shm_ledger_file_read_header(directory, lane, segment, region, &file, why);
        if (status == STATUS_OK && file.totals.lowest_us < lowest_us)
            lowest_us = file.totals.lowest_us;
    }
    if (status != STATUS_OK)
        return status;
    adopt_counts(region, lane, holding->ends[lane], first.first_row);
    atomic_store_explicit(&shm_region_lane(region, lane)->lowest_bound_us, lowest_us,
                          memory_order_relaxed);
    return STATUS_OK;
}

enum status shm_archive_adopt(struct shm_region *region, const char *directory, struct explain *why)
{
    struct holding holding = {.ledger = {.lanes = 0}};
    enum status status = look_into(directory, &holding, why);
    if (status != STATUS_OK || holding.ledger.lanes == 0)
        return status;
    status = adopt_identity(region, &holding.ledger, why);
    for (unsigned lane = 0; lane < region->geometry.lanes && status == STATUS_OK; lane++)
        status = adopt_lane(region, lane, directory, &holding, why);
    return status;
}
