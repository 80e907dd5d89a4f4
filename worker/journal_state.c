#include "worker/journal_state.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/crash_point.h"

#define NAME "journal-%016" PRIx64

/* ------------------------------------------------------------------- names */

void journal_state_generation_path(char path[static JOURNAL_PATH_SIZE], const char *state_directory,
                                   uint64_t generation)
{
    int length = snprintf(path, JOURNAL_PATH_SIZE, "%s/" NAME, state_directory, generation);
    CHECK(length > 0 && length < (int)JOURNAL_PATH_SIZE);
}

void journal_state_lane_path(char path[static JOURNAL_PATH_SIZE], const char *state_directory,
                             uint64_t generation, unsigned lane)
{
    int length =
        snprintf(path, JOURNAL_PATH_SIZE, "%s/" NAME "/lane-%u", state_directory, generation, lane);
    CHECK(length > 0 && length < (int)JOURNAL_PATH_SIZE);
}

static void new_path(char path[static JOURNAL_PATH_SIZE], const char *state_directory,
                     uint64_t generation)
{
    int length = snprintf(path, JOURNAL_PATH_SIZE, "%s/" NAME ".new", state_directory, generation);
    CHECK(length > 0 && length < (int)JOURNAL_PATH_SIZE);
}

void journal_state_new_lane_path(char path[static JOURNAL_PATH_SIZE], const char *state_directory,
                                 uint64_t generation, unsigned lane)
{
    int length = snprintf(path, JOURNAL_PATH_SIZE, "%s/" NAME ".new/lane-%u", state_directory,
                          generation, lane);
    CHECK(length > 0 && length < (int)JOURNAL_PATH_SIZE);
}

/* journal-<16 hexadecimal digits>, and whether .new follows. */
static bool is_generation(const char *name, uint64_t *generation, bool *is_new)
{
    char again[JOURNAL_NAME_SIZE];
    if (sscanf(name, NAME, generation) != 1)
        return false;
    snprintf(again, sizeof again, NAME, *generation);
    *is_new = strncmp(name, again, strlen(again)) == 0 && strcmp(name + strlen(again), ".new") == 0;
    return *is_new || strcmp(name, again) == 0;
}

/* ------------------------------------------------------------------- finding */

#define GENERATIONS_MAX 16

struct generations {
    uint64_t numbers[GENERATIONS_MAX];
    bool is_new[GENERATIONS_MAX];
    unsigned count;
};

static void note_generation(void *context, const char *name)
{
    struct generations *found = context;
    if (found->count < GENERATIONS_MAX &&
        is_generation(name, &found->numbers[found->count], &found->is_new[found->count]))
        found->count++;
}

static void note_highest(void *context, const char *name)
{
    uint64_t *highest = context, generation;
    bool is_new;
    if (is_generation(name, &generation, &is_new) && !is_new && generation > *highest)
        *highest = generation;
}

static void note_lane(void *context, const char *name)
{
    char again[JOURNAL_NAME_SIZE];
    unsigned *lanes = context, lane;
    if (sscanf(name, "lane-%u", &lane) != 1 || lane >= SHM_LANES_MAX)
        return;
    snprintf(again, sizeof again, "lane-%u", lane);
    if (strcmp(name, again) == 0)
        *lanes |= 1u << lane;
}

static enum status count_lanes(const struct journal_disk *disk, const char *state_directory,
                               uint64_t generation, unsigned *lanes, struct explain *why)
{
    char path[JOURNAL_PATH_SIZE];
    unsigned found = 0;
    journal_state_generation_path(path, state_directory, generation);
    if (disk->list(disk->context, path, note_lane, &found) != 0)
        return explain(why, STATUS_SYSTEM, "%s cannot be read: %m", path);
    *lanes = 0;
    while (found & 1u << *lanes)
        ++*lanes;
    if (*lanes == 0 || found >> *lanes)
        return explain(why, STATUS_DAMAGED, "%s: the journal of lane %u is missing", path, *lanes);
    return STATUS_OK;
}

enum status journal_state_find(const struct journal_disk *disk, const char *state_directory,
                               uint64_t *generation, unsigned *lanes, struct explain *why)
{
    *generation = *lanes = 0;
    if (disk->list(disk->context, state_directory, note_highest, generation) != 0)
        return explain(why, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_SYSTEM,
                       "the state directory %s cannot be read: %m", state_directory);
    if (*generation == 0)
        return STATUS_OK;
    return count_lanes(disk, state_directory, *generation, lanes, why);
}

/* ------------------------------------------------------------------- removing */

struct removal {
    const struct journal_disk *disk;
    const char *directory;
    void (*next)(void *removal, const char *name); /* of what lies in a directory; NULL: files */
};

static void remove_named(void *context, const char *name);

/* Files of a lane; lanes of a generation. */
static void remove_tree(const struct journal_disk *disk, const char *path, int depth)
{
    struct removal removal = {.disk = disk, .directory = path, .next = depth ? remove_named : NULL};
    disk->list(disk->context, path, remove_named, &removal);
    disk->remove_directory(disk->context, path);
}

static void remove_named(void *context, const char *name)
{
    const struct removal *removal = context;
    char path[JOURNAL_PATH_SIZE];
    if (snprintf(path, sizeof path, "%s/%s", removal->directory, name) >= (int)sizeof path)
        return;
    if (removal->next)
        remove_tree(removal->disk, path, 0);
    else
        removal->disk->remove(removal->disk->context, path);
}

void journal_state_remove(const struct journal_disk *disk, const char *state_directory,
                          uint64_t generation)
{
    char path[JOURNAL_PATH_SIZE], half[JOURNAL_PATH_SIZE];
    journal_state_generation_path(path, state_directory, generation);
    new_path(half, state_directory, generation);
    remove_tree(disk, half, 1); /* or it is not there */
    if (disk->rename(disk->context, path, half) != 0)
        return;
    disk->sync_directory(disk->context, state_directory);
    remove_tree(disk, half, 1);
    disk->sync_directory(disk->context, state_directory);
}

void journal_state_keep_only(const struct journal_disk *disk, const char *state_directory,
                             uint64_t generation)
{
    struct generations found = {.count = 0};
    disk->list(disk->context, state_directory, note_generation, &found);
    for (unsigned i = 0; i < found.count; i++) {
        char path[JOURNAL_PATH_SIZE];
        if (found.is_new[i]) {
            new_path(path, state_directory, found.numbers[i]);
            remove_tree(disk, path, 1);
        } else if (found.numbers[i] != generation) {
            journal_state_remove(disk, state_directory, found.numbers[i]);
            CRASH_POINT(older_generation_gone);
        }
    }
}

/* ------------------------------------------------------------------- making */

static enum status make_directory(const struct journal_disk *disk, const char *path,
                                  struct explain *why)
{
    if (disk->make_directory(disk->context, path) == 0)
        return STATUS_OK;
    return explain(why, errno == ENOSPC || errno == EDQUOT ? STATUS_FULL : STATUS_SYSTEM,
                   "%s cannot be made: %m", path);
}

static enum status sync_directory(const struct journal_disk *disk, const char *path,
                                  struct explain *why)
{
    if (disk->sync_directory(disk->context, path) == 0)
        return STATUS_OK;
    return explain(why, STATUS_SYSTEM, "%s could not be synced: %m", path);
}

enum status journal_state_begin(const struct journal_disk *disk, const char *state_directory,
                                uint64_t generation, unsigned lanes, struct explain *why)
{
    char path[JOURNAL_PATH_SIZE];
    new_path(path, state_directory, generation);
    remove_tree(disk, path, 1);
    enum status status = make_directory(disk, path, why);
    for (unsigned lane = 0; status == STATUS_OK && lane < lanes; lane++) {
        journal_state_new_lane_path(path, state_directory, generation, lane);
        status = make_directory(disk, path, why);
        CRASH_POINT_IF(status == STATUS_OK, generation_lane_made);
    }
    return status;
}

enum status journal_state_finish(const struct journal_disk *disk, const char *state_directory,
                                 uint64_t generation, struct explain *why)
{
    char half[JOURNAL_PATH_SIZE], path[JOURNAL_PATH_SIZE];
    new_path(half, state_directory, generation);
    journal_state_generation_path(path, state_directory, generation);
    enum status status = sync_directory(disk, half, why);
    if (status != STATUS_OK)
        return status;
    if (disk->rename(disk->context, half, path) != 0)
        return explain(why, STATUS_SYSTEM, "%s cannot be renamed: %m", half);
    CRASH_POINT(generation_named);
    return sync_directory(disk, state_directory, why);
}

/* --------------------------------------------------------------------- the lock */

enum status journal_state_lock(const char *state_directory, bool exclusive, int *fd,
                               struct explain *why)
{
    char path[JOURNAL_PATH_SIZE];
    struct flock lock = {.l_type = exclusive ? F_WRLCK : F_RDLCK, .l_whence = SEEK_SET};
    journal_files_path(path, state_directory, "lock");
    *fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*fd < 0)
        return explain(why, errno == ENOENT ? STATUS_NOT_FOUND : STATUS_SYSTEM,
                       "the lock %s of the state directory cannot be opened: %m", path);
    if (fcntl(*fd, F_OFD_SETLK, &lock) == 0)
        return STATUS_OK;
    bool busy = errno == EAGAIN || errno == EACCES;
    explain_in(why,
               busy ? "the state directory %s is in use: a worker still drives a region of it, or "
                      "another payringctl makes one"
                    : "the state directory %s cannot be locked",
               state_directory);
    close(*fd);
    *fd = -1;
    return busy ? STATUS_BUSY : STATUS_SYSTEM;
}
