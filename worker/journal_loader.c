#include "worker/journal_loader.h"

#include <inttypes.h>
#include <stdlib.h>

#include "common/crc32c.h"

#define PIECE_SIZE (UINT64_C(256) * 1024) /* whole ids */

void journal_loader_begin(struct journal_loader *loader, const struct journal_disk *disk,
                          const char *directory, const struct journal_identity *identity,
                          const struct journal_files *files, size_t length, struct journal_ids *ids)
{
    *loader = (struct journal_loader){.disk = disk,
                                      .directory = directory,
                                      .identity = *identity,
                                      .ids = ids,
                                      .files = *files,
                                      .length = length,
                                      .fd = -1,
                                      .piece = malloc(PIECE_SIZE)};
}

static void close_file(struct journal_loader *loader)
{
    if (loader->disk && loader->fd >= 0)
        loader->disk->close(loader->disk->context, loader->fd);
    loader->fd = -1;
}

void journal_loader_end(struct journal_loader *loader)
{
    close_file(loader);
    free(loader->piece);
    journal_files_free(&loader->files);
    loader->piece = NULL;
    loader->done = true;
}

static void path_of(const struct journal_loader *loader, char path[static JOURNAL_PATH_SIZE])
{
    char name[JOURNAL_NAME_SIZE];
    journal_format_digest_name(name, loader->files.digests[loader->next]);
    journal_files_path(path, loader->directory, name);
}

static enum status open_digest(struct journal_loader *loader, struct explain *why)
{
    char path[JOURNAL_PATH_SIZE];
    enum status status =
        journal_scan_digest_header(loader->disk, loader->directory, &loader->identity,
                                   loader->files.digests[loader->next], &loader->header, why);
    if (status != STATUS_OK)
        return status;
    path_of(loader, path);
    loader->read = 0;
    loader->checksum = 0;
    loader->cost += 4096;
    loader->fd = loader->disk->open(loader->disk->context, path, JOURNAL_DISK_READ);
    return loader->fd >= 0 ? STATUS_OK
                           : explain(why, STATUS_SYSTEM, "%.400s cannot be opened: %m", path);
}

static void take_ids(struct journal_loader *loader, uint64_t size)
{
    uint64_t from = loader->read / sizeof(struct uuid);
    const void *piece = loader->piece; /* aligned, and holds whole ids */
    const struct uuid *ids = piece;
    for (uint64_t i = 0; i < size / sizeof *ids && from + i < loader->header.ids; i++)
        journal_ids_add_old(loader->ids, &ids[i]);
}

static enum status read_piece(struct journal_loader *loader, struct explain *why)
{
    char path[JOURNAL_PATH_SIZE];
    uint64_t body = journal_format_digest_body(&loader->header);
    uint64_t size = body - loader->read < PIECE_SIZE ? body - loader->read : PIECE_SIZE;
    path_of(loader, path);
    if (!loader->piece)
        return explain(why, STATUS_SYSTEM, "out of memory for the ids of %.400s", path);
    if (journal_disk_read_all(loader->disk, loader->fd, loader->piece, size,
                              sizeof loader->header + loader->read) != 0)
        return explain(why, STATUS_SYSTEM, "%.400s cannot be read: %m", path);
    loader->checksum = crc32c(loader->checksum, loader->piece, size);
    take_ids(loader, size);
    loader->read += size;
    loader->cost += size;
    if (loader->read < body)
        return STATUS_OK;
    if (loader->checksum != loader->header.body_checksum)
        return explain(why, STATUS_DAMAGED, "%.400s: the checksum of its contents does not fit",
                       path);
    close_file(loader);
    loader->next++;
    return STATUS_OK;
}

enum status journal_loader_read(struct journal_loader *loader, struct explain *why)
{
    enum status status = STATUS_OK;
    if (!loader->done && loader->next < loader->length) {
        if (loader->fd < 0)
            status = open_digest(loader, why);
        if (status == STATUS_OK)
            status = read_piece(loader, why);
    }
    bool is_whole = status == STATUS_OK && loader->next == loader->length;
    if (is_whole && !loader->done)
        journal_ids_loaded(loader->ids);
    if (status != STATUS_OK)
        journal_ids_give_up(loader->ids);
    if (is_whole || status != STATUS_OK)
        journal_loader_end(loader);
    return status;
}
