/* payringctl: the inspector and keeper of the region. The verbs that only look
 * open it read-only. */
#define _GNU_SOURCE /* environ */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/config.h"
#include "shm/shm_archive.h"
#include "shm/shm_check.h"
#include "shm/shm_region.h"
#include "shm/shm_show.h"

static const char usage[] =
    "\n"
    "Verbs:\n"
    "  create   make the region; fails if there is one of that name\n"
    "  show     who is there and how it stands\n"
    "  check    read everything and say what contradicts what; exits with 1 if anything does\n"
    "  list     every payment in the tables: id, cents, state, processor, requestedAt (us),\n"
    "           acceptedAt (ms), flags, attempts; tabs between\n"
    "  rows     every payment in the ledgers: lane, row, processor, cents, requestedAt (us)\n"
    "  remove   make the region go away; refuses while a process uses it or while it holds\n"
    "           payments that have not ended\n";

/* What the command line says besides settings. */
struct options {
    bool if_missing, plain, force;
};

static int complain(const struct explain *why)
{
    fprintf(stderr, "payringctl: %s\n", why->text);
    return EXIT_FAILURE;
}

/* ------------------------------------------------------------------ create */

static struct shm_geometry wanted_geometry(const struct config *config)
{
    return (struct shm_geometry){
        .api_slots = config->api_slots,
        .lanes = config->lanes,
        .ring_slots = config->ring_slots,
        .payment_slots = config->payment_slots,
        .ledger_rows = config->ledger_rows,
        .horizon_payments = config->horizon_payments,
        .ledger_segment_rows = config->ledger_segment_rows == CONFIG_SEGMENT_ROWS_AUTO
                                   ? shm_places_segment_rows(config->ledger_rows)
                                   : config->ledger_segment_rows,
    };
}

/* A region of another geometry is not the one that was asked for. */
static enum status compare_geometry(const struct shm_geometry *is,
                                    const struct shm_geometry *wanted, struct explain *why)
{
    const struct {
        const char *setting;
        uint32_t is, wanted;
    } pairs[] = {
        {"PAYRING_API_SLOTS", is->api_slots, wanted->api_slots},
        {"PAYRING_LANES", is->lanes, wanted->lanes},
        {"PAYRING_RING_SLOTS", is->ring_slots, wanted->ring_slots},
        {"PAYRING_PAYMENT_SLOTS", is->payment_slots, wanted->payment_slots},
        {"PAYRING_LEDGER_ROWS", is->ledger_rows, wanted->ledger_rows},
        {"PAYRING_HORIZON_PAYMENTS", is->horizon_payments, wanted->horizon_payments},
        {"PAYRING_LEDGER_SEGMENT_ROWS", is->ledger_segment_rows, wanted->ledger_segment_rows},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof pairs[0]; i++)
        if (pairs[i].is != pairs[i].wanted)
            return explain(why, STATUS_EXISTS,
                           "the region exists already and was created with %s=%u, not %u; remove "
                           "it first, or ask for what it has",
                           pairs[i].setting, pairs[i].is, pairs[i].wanted);
    return STATUS_OK;
}

static int accept_existing(const struct config *config, const struct shm_geometry *wanted)
{
    struct explain why;
    struct shm_region region;
    if (shm_region_attach_read_only(&region, config->region, &why) != STATUS_OK)
        return complain(&why);
    enum status status = compare_geometry(&region.geometry, wanted, &why);
    shm_region_detach(&region);
    if (status != STATUS_OK)
        return complain(&why);
    printf("region %s exists already, as it was asked for\n", config->region);
    return EXIT_SUCCESS;
}

/* What survived on disk of an older region's ledger. */
struct survival {
    const char *state_dir;
    uint64_t rows;
};

static enum status seed(struct shm_region *region, void *context, struct explain *why)
{
    struct survival *survival = context;
    if (!*survival->state_dir)
        return STATUS_OK;
    if (region->places.segment_count < SHM_SEGMENTS_MIN)
        return explain(why, STATUS_INVALID,
                       "PAYRING_STATE_DIR is set, and PAYRING_LEDGER_ROWS %u makes %u segments of "
                       "PAYRING_LEDGER_SEGMENT_ROWS %u: %u are the least",
                       region->geometry.ledger_rows, region->places.segment_count,
                       region->geometry.ledger_segment_rows, SHM_SEGMENTS_MIN);
    enum status status = shm_archive_adopt(region, survival->state_dir, why);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        survival->rows += atomic_load(&shm_region_lane(region, lane)->row_count);
    return status;
}

static int create(const struct config *config, const struct options *options)
{
    struct explain why;
    struct shm_places places;
    struct survival survival = {.state_dir = config->state_dir};
    struct shm_geometry geometry = wanted_geometry(config);
    enum status status = shm_region_create_seeded(config->region, &geometry,
                                                  &(struct shm_region_seed){seed, &survival}, &why);
    if (status == STATUS_EXISTS && options->if_missing)
        return accept_existing(config, &geometry);
    if (status != STATUS_OK || shm_places_compute(&places, &geometry, &why) != STATUS_OK)
        return complain(&why);
    printf("region %s created: %" PRIu64 " bytes\n", config->region, places.total_size);
    if (survival.rows > 0)
        printf("its ledger goes on from %s: %" PRIu64 " rows are filed there or were purged\n",
               config->state_dir, survival.rows);
    return EXIT_SUCCESS;
}

/* ----------------------------------------------------------------- looking */

static int show(const struct shm_region *region, const struct options *options)
{
    if (options->plain)
        shm_show_plain(region, stdout);
    else
        shm_show(region, stdout);
    return EXIT_SUCCESS;
}

static int check(const struct shm_region *region, const struct options *options)
{
    struct explain why;
    struct shm_check_result result;
    (void)options;
    if (shm_check(region, stdout, &result, &why) != STATUS_OK)
        return complain(&why);
    printf("%" PRIu64 " findings in %" PRIu64 " records, %" PRIu64 " rows and %" PRIu64
           " ring entries",
           result.findings, result.records, result.rows, result.entries);
    if (result.files > 0)
        printf(", %" PRIu64 " files", result.files);
    putchar('\n');
    return result.findings ? EXIT_FAILURE : EXIT_SUCCESS;
}

static int list(const struct shm_region *region, const struct options *options)
{
    (void)options;
    unsigned unread = shm_show_records(region, stdout);
    if (unread == 0)
        return EXIT_SUCCESS;
    fprintf(stderr, "payringctl: %u records could not be read (see payringctl check)\n", unread);
    return EXIT_FAILURE;
}

static int rows(const struct shm_region *region, const struct options *options)
{
    (void)options;
    struct explain why;
    return shm_show_rows(region, stdout, &why) == STATUS_OK ? EXIT_SUCCESS : complain(&why);
}

static int look(const struct config *config, const struct options *options,
                int (*verb)(const struct shm_region *, const struct options *))
{
    struct explain why;
    struct shm_region region;
    if (shm_region_attach_read_only(&region, config->region, &why) != STATUS_OK)
        return complain(&why);
    if (shm_archive_open(&region, config->state_dir, &why) != STATUS_OK) {
        shm_region_detach(&region);
        return complain(&why);
    }
    int result = verb(&region, options);
    shm_archive_close(&region);
    shm_region_detach(&region);
    if (fflush(stdout) == 0)
        return result;
    perror("payringctl: the answer could not be written");
    return EXIT_FAILURE;
}

/* ------------------------------------------------------------------ remove */

static int remove_region(const struct config *config, const struct options *options)
{
    struct explain why;
    enum status status = shm_region_remove(config->region, options->force, &why);
    if (status == STATUS_OK) {
        printf("region %s removed\n", config->region);
        return EXIT_SUCCESS;
    }
    bool may_be_forced =
        status == STATUS_EXISTS || status == STATUS_DAMAGED || status == STATUS_UNSUPPORTED;
    fprintf(stderr, "payringctl: %s%s\n", why.text,
            may_be_forced ? " (--force-lose-payments removes it all the same)" : "");
    return EXIT_FAILURE;
}

static int run(const struct config *config, const struct options *options)
{
    const char *verb = config->word_count == 1 ? config->words[0] : "";
    if (strcmp(verb, "create") == 0)
        return create(config, options);
    if (strcmp(verb, "show") == 0)
        return look(config, options, show);
    if (strcmp(verb, "check") == 0)
        return look(config, options, check);
    if (strcmp(verb, "list") == 0)
        return look(config, options, list);
    if (strcmp(verb, "rows") == 0)
        return look(config, options, rows);
    if (strcmp(verb, "remove") == 0)
        return remove_region(config, options);
    fprintf(stderr, "payringctl: one verb is wanted: create, show, check, list, rows or remove; "
                    "see --help\n");
    return EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    static struct config config;
    static struct options options;
    struct explain why;
    const struct config_flag flags[] = {
        {"if-missing", "create: a region that is there and as asked for is good",
         &options.if_missing},
        {"plain", "show: one \"name value\" a line, for scripts", &options.plain},
        {"force-lose-payments", "remove: even if payments in it have not ended; they are lost",
         &options.force},
        {NULL, NULL, NULL},
    };
    struct config_invocation invocation = {.program = CONFIG_PROGRAM_CTL,
                                           .argc = argc,
                                           .argv = argv,
                                           .environment = environ,
                                           .flags = flags,
                                           .usage = usage};
    if (config_load(&config, &invocation, &why) != STATUS_OK)
        return complain(&why);
    if (config_answer(&config, &invocation, stdout))
        return EXIT_SUCCESS;
    return run(&config, &options);
}
