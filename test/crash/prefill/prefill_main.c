/* prefill LANE ROWS: bring a lane's ledger up to that many rows, purged ones of one cent, so that a
 * test need not wait for a million payments to see what the next one does to the index of blocks.
 *
 * Of the region that PAYRING_REGION names, while nobody owns the lane. Writes with the very
 * functions of the worker, as the lane's owner.
 *
 * prefill ids DIRECTORY COUNT: the same of a lane's journal, which has just begun: so many ids that
 * nobody sends, in the digest that it begins with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/status.h"
#include "shm/shm_lease.h"
#include "shm/shm_ledger.h"
#include "shm/shm_region.h"
#include "worker/journal_digest.h"
#include "worker/journal_disk.h"

static void give_up(const char *why)
{
    fprintf(stderr, "prefill: %s\n", why);
    exit(EXIT_FAILURE);
}

static void fill(const struct shm_region *region, unsigned lane, uint64_t rows)
{
    struct shm_ledger_writer ledger;
    const struct shm_row row = {.amount_cents = 1, .requested_at_us = region->created_at_ms * 1000};
    shm_ledger_writer_open(&ledger, region, lane);
    while (ledger.row_count < rows) {
        shm_ledger_write(&ledger, &row);
        shm_ledger_publish(&ledger);
    }
    /* As after a purge: they stand in no processor's book. */
    atomic_store_explicit(&shm_region_lane(region, lane)->first_row, rows, memory_order_release);
}

/* The beginning once more, with ids in front of nothing: it has neither rows nor images yet. */
static void fill_ids(const char *directory, uint64_t count)
{
    struct explain why = {{0}};
    struct journal_identity whose;
    struct journal_digest_header header;
    struct journal_digest_writer writer;
    if (journal_scan_whose(&journal_disk_real, directory, &whose, &why) != STATUS_OK ||
        journal_scan_digest_header(&journal_disk_real, directory, &whose, 0, &header, &why) !=
            STATUS_OK)
        give_up(why.text);
    if (header.rows || header.images || header.ids)
        give_up("the journal has more than a beginning");
    journal_digest_begin(&writer, &journal_disk_real, directory, &whose, header.first, header.last);
    writer.header = header;
    for (uint64_t n = 0; n < count; n++)
        journal_digest_put_ids(&writer, &(struct uuid){.hi = 0x4000, .lo = n}, 1);
    if (journal_digest_finish(&writer, &why) != STATUS_OK)
        give_up(why.text);
}

int main(int argc, char **argv)
{
    struct shm_region region;
    struct explain why = {{0}};
    const char *name = getenv("PAYRING_REGION");
    if (argc == 4 && strcmp(argv[1], "ids") == 0) {
        fill_ids(argv[2], strtoull(argv[3], NULL, 10));
        return EXIT_SUCCESS;
    }
    if (argc != 3 || !name)
        give_up("LANE and ROWS are wanted, and PAYRING_REGION");
    unsigned lane = (unsigned)strtoul(argv[1], NULL, 10);
    uint64_t rows = strtoull(argv[2], NULL, 10);
    if (shm_region_attach(&region, name, 0, &why) != STATUS_OK)
        give_up(why.text);
    if (lane >= region.geometry.lanes || rows > region.geometry.ledger_rows)
        give_up("there is no such lane, or it has fewer rows");
    if (shm_lease_try_take(&region, SHM_LEASE_LANE + lane) != STATUS_OK)
        give_up("the lane has an owner");
    if (shm_region_open_lane(&region, lane, &why) != STATUS_OK)
        give_up(why.text);
    fill(&region, lane, rows);
    shm_region_detach(&region);
    return EXIT_SUCCESS;
}
