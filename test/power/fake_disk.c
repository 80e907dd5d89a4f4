#include "test/power/fake_disk.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECTOR    512u
#define NAMES_MAX 512u
#define FILES_MAX 4096u
#define NAME_SIZE 64u
#define ROOT      0 /* the inode of /state */

enum change_kind { WRITE, ALLOCATE, TRUNCATE, LINK, UNLINK, RENAME, SYNC, SYNC_DIRECTORY };

struct change {
    enum change_kind kind;
    int inode; /* of the file, or of the directory that changes */
    int to;    /* RENAME: the other directory */
    int what;  /* LINK, UNLINK, RENAME: the inode that has the name */
    uint64_t offset, size;
    uint8_t *bytes;
    uint64_t settled_by; /* the place of the first sync that makes it durable; UINT64_MAX: none */
    char name[NAME_SIZE], new_name[NAME_SIZE];
};

struct name {
    int directory, inode; /* -1: this place is free */
    char name[NAME_SIZE];
};

struct inode {
    bool is_directory;
    uint8_t *bytes;
    uint64_t size;
};

struct fake_disk {
    struct inode inodes[FILES_MAX];
    int inode_count;
    struct name names[NAMES_MAX];
    struct change *changes;
    uint64_t change_count, change_capacity;
    void (*before)(void *context);
    void *watcher;
    bool lies;
};

/* ---------------------------------------------------------------- what there is */

static struct name *find(struct fake_disk *disk, int directory, const char *name)
{
    for (unsigned i = 0; i < NAMES_MAX; i++)
        if (disk->names[i].inode >= 0 && disk->names[i].directory == directory &&
            strcmp(disk->names[i].name, name) == 0)
            return &disk->names[i];
    return NULL;
}

static void put_name(struct fake_disk *disk, int directory, const char *name, int inode)
{
    struct name *place = find(disk, directory, name);
    for (unsigned i = 0; place == NULL && i < NAMES_MAX; i++)
        if (disk->names[i].inode < 0)
            place = &disk->names[i];
    assert(place != NULL);
    *place = (struct name){.directory = directory, .inode = inode};
    snprintf(place->name, sizeof place->name, "%s", name);
}

static void take_name(struct fake_disk *disk, int directory, const char *name)
{
    struct name *place = find(disk, directory, name);
    if (place)
        place->inode = -1;
}

static void resize(struct inode *inode, uint64_t size)
{
    inode->bytes = realloc(inode->bytes, size + 1);
    assert(inode->bytes != NULL);
    if (size > inode->size)
        memset(inode->bytes + inode->size, 0, size - inode->size);
    inode->size = size;
}

/* `from` to `to` of a write's bytes reach the file. */
static void apply_bytes(struct fake_disk *disk, const struct change *c, uint64_t from, uint64_t to)
{
    struct inode *inode = &disk->inodes[c->inode];
    if (c->offset + to > inode->size)
        resize(inode, c->offset + to);
    memcpy(inode->bytes + c->offset + from, c->bytes + from, to - from);
}

static void apply(struct fake_disk *disk, const struct change *c)
{
    switch (c->kind) {
    case WRITE:
        apply_bytes(disk, c, 0, c->size);
        return;
    case ALLOCATE:
        if (c->size > disk->inodes[c->inode].size)
            resize(&disk->inodes[c->inode], c->size);
        return;
    case TRUNCATE:
        resize(&disk->inodes[c->inode], 0);
        return;
    case LINK:
        put_name(disk, c->inode, c->name, c->what);
        return;
    case UNLINK:
        take_name(disk, c->inode, c->name);
        return;
    case RENAME:
        take_name(disk, c->inode, c->name);
        put_name(disk, c->to, c->new_name, c->what);
        return;
    case SYNC:
    case SYNC_DIRECTORY:
        return;
    }
}

static bool settles(const struct change *sync, const struct change *c)
{
    if (sync->kind == SYNC)
        return c->kind <= TRUNCATE && c->inode == sync->inode;
    return c->kind >= LINK && c->kind <= RENAME &&
           (c->inode == sync->inode || (c->kind == RENAME && c->to == sync->inode));
}

static void change(struct fake_disk *disk, struct change c)
{
    if (disk->before)
        disk->before(disk->watcher);
    if (disk->change_count == disk->change_capacity) {
        disk->change_capacity = disk->change_capacity * 2 + 256;
        disk->changes = realloc(disk->changes, disk->change_capacity * sizeof *disk->changes);
        assert(disk->changes != NULL);
    }
    for (uint64_t i = 0; c.kind >= SYNC && !disk->lies && i < disk->change_count; i++)
        if (disk->changes[i].settled_by == UINT64_MAX && settles(&c, &disk->changes[i]))
            disk->changes[i].settled_by = disk->change_count;
    c.settled_by = UINT64_MAX;
    disk->changes[disk->change_count++] = c;
    apply(disk, &c);
}

/* Every path lies below /state. Returns the directory, and the last name. */
static int walk(struct fake_disk *disk, const char *path, char last[NAME_SIZE])
{
    int directory = ROOT;
    assert(strncmp(path, "/state", 6) == 0);
    path += 6;
    last[0] = '\0';
    while (*path == '/') {
        size_t length = strcspn(++path, "/");
        assert(length > 0 && length < NAME_SIZE);
        if (last[0]) {
            const struct name *entry = find(disk, directory, last);
            if (!entry)
                return -1;
            directory = entry->inode;
        }
        memcpy(last, path, length);
        last[length] = '\0';
        path += length;
    }
    return directory;
}

static int inode_of(struct fake_disk *disk, const char *path)
{
    char last[NAME_SIZE];
    int directory = walk(disk, path, last);
    if (!last[0])
        return ROOT;
    const struct name *entry = directory < 0 ? NULL : find(disk, directory, last);
    if (!entry)
        errno = ENOENT;
    return entry ? entry->inode : -1;
}

static int new_inode(struct fake_disk *disk, bool is_directory)
{
    assert(disk->inode_count < (int)FILES_MAX);
    disk->inodes[disk->inode_count] = (struct inode){.is_directory = is_directory};
    return disk->inode_count++;
}

/* -------------------------------------------------------------------- the functions */

static int fake_open(void *context, const char *path, enum journal_disk_mode mode)
{
    struct fake_disk *disk = context;
    char last[NAME_SIZE];
    int inode = inode_of(disk, path);
    if (mode != JOURNAL_DISK_CREATE || inode >= 0) {
        if (inode >= 0 && mode == JOURNAL_DISK_CREATE)
            change(disk, (struct change){.kind = TRUNCATE, .inode = inode});
        return inode;
    }
    int directory = walk(disk, path, last);
    if (directory < 0)
        return -1;
    inode = new_inode(disk, false);
    struct change c = {.kind = LINK, .inode = directory, .what = inode};
    memcpy(c.name, last, sizeof c.name);
    change(disk, c);
    return inode;
}

static void fake_close(void *context, int fd)
{
    (void)context;
    (void)fd;
}

static ssize_t fake_read(void *context, int fd, void *bytes, size_t size, uint64_t offset)
{
    const struct inode *inode = &((struct fake_disk *)context)->inodes[fd];
    if (offset >= inode->size)
        return 0;
    if (size > inode->size - offset)
        size = inode->size - offset;
    memcpy(bytes, inode->bytes + offset, size);
    return (ssize_t)size;
}

static ssize_t fake_write(void *context, int fd, const void *bytes, size_t size, uint64_t offset)
{
    struct change c = {.kind = WRITE, .inode = fd, .offset = offset, .size = size};
    c.bytes = malloc(size);
    assert(c.bytes != NULL);
    memcpy(c.bytes, bytes, size);
    change(context, c);
    return (ssize_t)size;
}

static int64_t fake_size(void *context, int fd)
{
    return (int64_t)((struct fake_disk *)context)->inodes[fd].size;
}

static int fake_allocate(void *context, int fd, uint64_t size)
{
    change(context, (struct change){.kind = ALLOCATE, .inode = fd, .size = size});
    return 0;
}

static int fake_sync(void *context, int fd)
{
    change(context, (struct change){.kind = SYNC, .inode = fd});
    return 0;
}

static int fake_rename(void *context, const char *from, const char *to)
{
    struct fake_disk *disk = context;
    struct change c = {.kind = RENAME, .what = inode_of(disk, from)};
    c.inode = walk(disk, from, c.name);
    c.to = walk(disk, to, c.new_name);
    if (c.what < 0 || c.to < 0)
        return -1;
    change(disk, c);
    return 0;
}

static int fake_remove(void *context, const char *path)
{
    struct fake_disk *disk = context;
    struct change c = {.kind = UNLINK, .what = inode_of(disk, path)};
    if (c.what < 0)
        return -1;
    c.inode = walk(disk, path, c.name);
    change(disk, c);
    return 0;
}

static int fake_make_directory(void *context, const char *path)
{
    struct fake_disk *disk = context;
    struct change c = {.kind = LINK};
    if (inode_of(disk, path) >= 0) {
        errno = EEXIST;
        return -1;
    }
    c.inode = walk(disk, path, c.name);
    if (c.inode < 0)
        return -1;
    c.what = new_inode(disk, true);
    change(disk, c);
    return 0;
}

static int fake_sync_directory(void *context, const char *path)
{
    int inode = inode_of(context, path);
    if (inode < 0)
        return -1;
    change(context, (struct change){.kind = SYNC_DIRECTORY, .inode = inode});
    return 0;
}

static int fake_list(void *context, const char *path, void (*name)(void *, const char *),
                     void *each)
{
    struct fake_disk *disk = context;
    char found[NAMES_MAX][NAME_SIZE];
    unsigned count = 0;
    int inode = inode_of(disk, path);
    if (inode < 0)
        return -1;
    for (unsigned i = 0; i < NAMES_MAX; i++)
        if (disk->names[i].inode >= 0 && disk->names[i].directory == inode)
            memcpy(found[count++], disk->names[i].name, NAME_SIZE);
    for (unsigned i = 0; i < count; i++)
        name(each, found[i]);
    return 0;
}

struct journal_disk fake_disk_functions(struct fake_disk *disk)
{
    return (struct journal_disk){
        .context = disk,
        .open = fake_open,
        .close = fake_close,
        .read = fake_read,
        .write = fake_write,
        .size = fake_size,
        .allocate = fake_allocate,
        .sync = fake_sync,
        .rename = fake_rename,
        .remove = fake_remove,
        .make_directory = fake_make_directory,
        .remove_directory = fake_remove,
        .sync_directory = fake_sync_directory,
        .list = fake_list,
    };
}

/* ------------------------------------------------------------------------- cutting */

struct fake_disk *fake_disk_create(void)
{
    struct fake_disk *disk = calloc(1, sizeof *disk);
    assert(disk != NULL);
    for (unsigned i = 0; i < NAMES_MAX; i++)
        disk->names[i].inode = -1;
    (void)new_inode(disk, true);
    return disk;
}

void fake_disk_destroy(struct fake_disk *disk)
{
    for (int i = 0; i < disk->inode_count; i++)
        free(disk->inodes[i].bytes);
    for (uint64_t i = 0; i < disk->change_count; i++)
        free(disk->changes[i].bytes);
    free(disk->changes);
    free(disk);
}

void fake_disk_watch(struct fake_disk *disk, void (*before)(void *context), void *context)
{
    disk->before = before;
    disk->watcher = context;
}

void fake_disk_lie(struct fake_disk *disk)
{
    disk->lies = true;
}

uint64_t fake_disk_length(const struct fake_disk *disk)
{
    return disk->change_count;
}

bool fake_disk_is_flush(const struct fake_disk *disk, uint64_t place)
{
    return place > 0 && disk->changes[place - 1].kind >= SYNC;
}

/* SplitMix64 */
static uint64_t draw(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A write by its sectors, each there or not; `torn`: one that is there is there
 * up to some byte only. */
static void apply_sectors(struct fake_disk *disk, const struct change *c, bool all, bool torn,
                          uint64_t *random)
{
    for (uint64_t from = 0; from < c->size;) {
        uint64_t to = ((c->offset + from) / SECTOR + 1) * SECTOR - c->offset;
        if (to > c->size)
            to = c->size;
        uint64_t until = torn && draw(random) % 4 == 0 ? from + draw(random) % (to - from) : to;
        if (all || draw(random) % 2)
            apply_bytes(disk, c, from, until);
        from = to;
    }
}

static void apply_some(struct fake_disk *disk, const struct change *c, enum fake_cut cut,
                       bool is_last, uint64_t *random)
{
    bool is_random = cut == FAKE_CUT_RANDOM;
    if (c->kind == WRITE)
        apply_sectors(disk, c, !is_random, is_random ? draw(random) % 8 == 0 : is_last, random);
    else if (!is_random || draw(random) % 2)
        apply(disk, c);
}

struct fake_disk *fake_disk_cut(const struct fake_disk *disk, uint64_t length, enum fake_cut cut,
                                uint64_t *random)
{
    struct fake_disk *left = fake_disk_create();
    uint64_t pending = 0, seen = 0;
    assert(length <= disk->change_count);
    for (int i = 1; i < disk->inode_count; i++)
        (void)new_inode(left, disk->inodes[i].is_directory);
    for (uint64_t i = 0; i < length; i++)
        pending += disk->changes[i].settled_by >= length && disk->changes[i].kind < SYNC;
    uint64_t reached = cut == FAKE_CUT_PREFIX && pending ? draw(random) % (pending + 1) : pending;
    /* In the order in which they were asked for: a later change of a place that
     * was synced covers an earlier one that was not. */
    for (uint64_t i = 0; i < length; i++) {
        const struct change *c = &disk->changes[i];
        if (c->kind >= SYNC)
            continue;
        if (c->settled_by < length)
            apply(left, c);
        else if (cut != FAKE_CUT_NOTHING && seen++ < reached)
            apply_some(left, c, cut, cut == FAKE_CUT_PREFIX && seen == reached, random);
    }
    return left;
}
