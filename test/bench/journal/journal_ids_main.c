/* What it costs to recognise the ids that only the journal tells of: disk, memory and processor
 * time for so many payments of one lane.
 *
 *   bench-journal-ids [--ids N] [--directory DIRECTORY]      (1,000,000, below TMPDIR)
 *
 * A journal is written (each payment accepted, bound and settled), all of it but the open segment
 * is digested, and it is opened anew, as after a take-over. Then ids that it knows are looked for,
 * each of which must be found, and others. Prints one line of JSON; what it has written goes. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "worker/journal_digest.h"
#include "worker/journal_internal.h"

#define BASE_MS  INT64_C(1700000000000)
#define LOOKS    1000000u
#define PATH_MAX 256

struct bench {
    char directory[PATH_MAX];
    uint64_t ids;
    struct journal_settings settings;
    struct journal_identity identity;
    struct journal *journal;
};

_Noreturn static void give_up(const char *what, const struct explain *why)
{
    fprintf(stderr, "bench-journal-ids: %s: %s\n", what, why ? why->text : "");
    exit(EXIT_FAILURE);
}

static uint64_t mix(uint64_t z)
{
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* As random as a correlationId, and the same whenever it is asked for. */
static struct uuid id_of(uint64_t number)
{
    return (struct uuid){.hi = mix(number * 2 + 1), .lo = mix(number * 2 + 2)};
}

static int64_t ns_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static int64_t cpu_ns(void)
{
    return ns_of(CLOCK_PROCESS_CPUTIME_ID);
}

static void begin(struct bench *bench)
{
    struct explain why = {{0}};
    struct journal_digest_writer writer;
    if (!mkdtemp(bench->directory))
        give_up("no directory", NULL);
    bench->identity = (struct journal_identity){.region_id_hi = mix(1), .region_id_lo = mix(2)};
    bench->settings = (struct journal_settings){.disk = &journal_disk_real,
                                                .sync = true,
                                                .segment_records = JOURNAL_SEGMENT_RECORDS,
                                                .bytes_max = UINT32_MAX,
                                                .slots = 64};
    journal_digest_begin(&writer, &journal_disk_real, bench->directory, &bench->identity, 0, 0);
    writer.header.base_time_ms = BASE_MS;
    writer.header.lanes = 1;
    if (journal_digest_finish(&writer, &why) != STATUS_OK)
        give_up("no digest", &why);
}

static void open_it(struct bench *bench)
{
    struct explain why = {{0}};
    if (journal_open(&bench->journal, bench->directory, &bench->identity, &bench->settings, &why) !=
        STATUS_OK)
        give_up("the journal cannot be opened", &why);
}

static void image(void *context, uint32_t slot, struct journal_payment *payment)
{
    (void)context, (void)slot;
    *payment = (struct journal_payment){.state = PAYMENT_FREE};
}

/* All that a keeper would do meanwhile. */
static void keep(struct journal *journal)
{
    journal_commit_now(journal);
    for (int idle = 0; idle < 2; idle++) {
        journal_carry(journal, image, NULL);
        journal_commit_now(journal);
        while (journal_keep_now(journal))
            idle = 0;
    }
}

static void append(struct bench *bench, uint64_t number)
{
    struct journal_payment payment = {.state = PAYMENT_QUEUED,
                                      .id = id_of(number),
                                      .amount_cents = 1990,
                                      .accepted_at_ms = BASE_MS + (int64_t)number};
    uint32_t slot = (uint32_t)(number % 64);
    journal_append(bench->journal, JOURNAL_ACCEPTED, &payment, slot);
    payment.state = PAYMENT_SENT;
    payment.requested_at_us = (BASE_MS + (int64_t)number) * 1000;
    journal_append(bench->journal, JOURNAL_BOUND, &payment, slot);
    payment.state = PAYMENT_SETTLED;
    payment.row = number + 1;
    if (journal_append(bench->journal, JOURNAL_SETTLED, &payment, slot) == 0)
        give_up("the journal has failed", NULL);
    if (number % 50000 == 49999)
        keep(bench->journal);
}

static uint64_t digest_bytes(const struct bench *bench)
{
    struct journal_files files;
    struct journal_digest_header header;
    uint64_t bytes = 0, ids = 0;
    if (journal_files_list(&files, &journal_disk_real, bench->directory, NULL) != STATUS_OK)
        give_up("no files", NULL);
    for (size_t i = 0; i < files.digest_count; i++) {
        if (journal_scan_digest_header(&journal_disk_real, bench->directory, &bench->identity,
                                       files.digests[i], &header, NULL) != STATUS_OK)
            give_up("a digest cannot be read", NULL);
        bytes += sizeof header + journal_format_digest_body(&header);
        ids += header.ids;
    }
    journal_files_free(&files);
    return ids ? bytes * 1000000 / ids : 0;
}

static uint64_t count_known(struct bench *bench, uint64_t from, uint64_t among)
{
    uint64_t known = 0;
    for (uint64_t i = 0; i < LOOKS; i++) {
        struct uuid id = id_of(from + mix(i) % among);
        known += journal_may_know(bench->journal, &id);
    }
    return known;
}

/* What making up the ids takes of the time that looking takes. */
static int64_t ids_alone_ns(uint64_t among)
{
    uint64_t all = 0;
    int64_t begin_ns = cpu_ns();
    for (uint64_t i = 0; i < LOOKS; i++)
        all += id_of(mix(i) % among).lo;
    return all == 0 ? 0 : cpu_ns() - begin_ns;
}

static double add_ns(const struct bench *bench)
{
    struct uuid seed = {.hi = 1, .lo = 2};
    struct journal_ids *ids = journal_ids_create(UINT32_MAX / 16, &seed);
    int64_t begin_ns = cpu_ns();
    for (uint64_t i = 0; ids && i < bench->ids; i++) {
        struct uuid id = id_of(i);
        journal_ids_add(ids, &id);
    }
    int64_t spent_ns = cpu_ns() - begin_ns;
    journal_ids_destroy(ids);
    return (double)spent_ns / (double)bench->ids;
}

static void measure(struct bench *bench)
{
    int64_t cpu_begin_ns = cpu_ns(), begin_ns = ns_of(CLOCK_MONOTONIC);
    open_it(bench);
    int64_t open_ns = ns_of(CLOCK_MONOTONIC) - begin_ns;
    while (!bench->journal->loader.done)
        (void)journal_keep_now(bench->journal);
    int64_t load_ns = ns_of(CLOCK_MONOTONIC) - begin_ns, load_cpu_ns = cpu_ns() - cpu_begin_ns;
    if (count_known(bench, 0, bench->ids) != LOOKS)
        give_up("an id is not known", NULL);
    int64_t look_begin_ns = cpu_ns();
    uint64_t wrong = count_known(bench, UINT32_MAX, UINT32_MAX);
    double look_ns = (double)(cpu_ns() - look_begin_ns - ids_alone_ns(UINT32_MAX)) / LOOKS;
    printf("{\"ids\":%" PRIu64 ",\"disk_bytes_per_million\":%" PRIu64
           ",\"memory_bytes_per_million\":%" PRIu64 ",\"add_ns\":%.0f,\"look_ns\":%.0f"
           ",\"false_per_million\":%" PRIu64 ",\"open_ms\":%.1f,\"read_ms\":%.1f"
           ",\"read_cpu_ms\":%.1f}\n",
           bench->ids, digest_bytes(bench),
           journal_ids_bytes(bench->journal->ids) * 1000000 / bench->ids, add_ns(bench), look_ns,
           wrong * 1000000 / LOOKS, (double)open_ns / 1e6, (double)load_ns / 1e6,
           (double)load_cpu_ns / 1e6);
    journal_close(bench->journal);
}

static void remove_file(void *directory, const char *name)
{
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/%s", (const char *)directory, name);
    unlink(path);
}

int main(int argc, char **argv)
{
    struct bench bench = {.ids = 1000000};
    const char *below = getenv("TMPDIR");
    for (int option; (option = getopt_long(argc, argv, "",
                                           (const struct option[]){{"ids", 1, NULL, 'n'},
                                                                   {"directory", 1, NULL, 'd'},
                                                                   {NULL, 0, NULL, 0}},
                                           NULL)) != -1;) {
        if (option == 'n')
            bench.ids = strtoull(optarg, NULL, 10);
        else if (option == 'd')
            below = optarg;
        else
            return EXIT_FAILURE;
    }
    log_open("bench-journal-ids", LOG_LEVEL_ERROR);
    snprintf(bench.directory, sizeof bench.directory, "%s/payring-ids.XXXXXX",
             below ? below : "/tmp");
    begin(&bench);
    open_it(&bench);
    for (uint64_t i = 0; i < bench.ids; i++)
        append(&bench, i);
    keep(bench.journal);
    journal_close(bench.journal);
    measure(&bench);
    journal_disk_real.list(NULL, bench.directory, remove_file, bench.directory);
    rmdir(bench.directory);
    return EXIT_SUCCESS;
}
