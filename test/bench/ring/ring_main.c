/* bench-ring: records a second from one process to another, through the region's ring and through
 * ConcurrencyKit's ck_ring_spsc, in turns.
 *
 *   bench-ring --batch B [--records N]
 *
 * All three rings have 16,384 slots, in memory that both processes share. `payring` is the ring of
 * a real region, with the very functions of API and lane. `ck_slot` passes records of 64 bytes, the
 * size of our slot; `ck_entry` records of 40 bytes, what a payment says and no more, which is less
 * memory to move than ours. The producer publishes B records one by one and then looks whether the
 * owner sleeps (shm_doorbell_ring), as an API does after what it has pushed; the consumer takes up
 * to B before it looks for the end. It is the same doorbell for all three, and nobody sleeps. Each
 * process has a processor of its own, if there are two.
 *
 * The consumer verifies every record's number. Prints one line of JSON. */
#include "common/clock.h"
#include "shm/shm_doorbell.h"
#include "shm/shm_lease.h"
#include "shm/shm_ring.h"

#include <ck_ring.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SLOTS = 16384 };

struct slot {
    struct shm_ring_entry entry;
    uint64_t reserved[3];
};
static_assert(sizeof(struct slot) == sizeof(struct shm_ring_slot), "of the same size as ours");

CK_RING_PROTOTYPE(slot, slot)
CK_RING_PROTOTYPE(entry, shm_ring_entry)

struct bench {
    uint64_t records;
    unsigned batch;
    char name[64];
    struct shm_region region; /* this process's handle */
    struct shm_ring_producer producer;
    struct shm_ring_consumer consumer;
    struct shm_doorbell bell;
    ck_ring_t *ck; /* shared, and so are its records */
    struct slot *slots;
    struct shm_ring_entry *entries;
};

_Noreturn static void give_up(const char *what, const struct explain *why)
{
    fprintf(stderr, "bench-ring: %s: %s\n", what, why ? why->text : strerror(errno));
    exit(2);
}

/* --- the three rings: as many as the batch has, fewer if it is full or empty --------------- */

static struct shm_ring_entry record(uint64_t number)
{
    return (struct shm_ring_entry){
        .id = {~number, number}, .amount_cents = 1990, .accepted_at_ms = 1, .purge_generation = 1};
}

static bool is_record(const struct shm_ring_entry *entry, uint64_t number)
{
    return entry->id.lo == number && entry->id.hi == ~number && entry->amount_cents == 1990 &&
           entry->accepted_at_ms == 1 && entry->purge_generation == 1;
}

static bool payring_push(struct bench *bench, uint64_t number)
{
    struct shm_ring_entry entry = record(number);
    return shm_ring_try_push(&bench->producer, &entry);
}

static bool payring_take(struct bench *bench, struct shm_ring_entry *entry)
{
    if (!shm_ring_peek(&bench->consumer, entry))
        return false;
    shm_ring_take(&bench->consumer);
    return true;
}

static bool ck_slot_push(struct bench *bench, uint64_t number)
{
    struct slot slot = {.entry = record(number)};
    return CK_RING_ENQUEUE_SPSC(slot, bench->ck, bench->slots, &slot);
}

static bool ck_slot_take(struct bench *bench, struct shm_ring_entry *entry)
{
    struct slot slot;
    if (!CK_RING_DEQUEUE_SPSC(slot, bench->ck, bench->slots, &slot))
        return false;
    *entry = slot.entry;
    return true;
}

static bool ck_entry_push(struct bench *bench, uint64_t number)
{
    struct shm_ring_entry entry = record(number);
    return CK_RING_ENQUEUE_SPSC(entry, bench->ck, bench->entries, &entry);
}

static bool ck_entry_take(struct bench *bench, struct shm_ring_entry *entry)
{
    return CK_RING_DEQUEUE_SPSC(entry, bench->ck, bench->entries, entry);
}

/* Each ring gets loops of its own, with its functions in them. */
#define LOOPS(ring)                                                                                \
    static void ring##_produce(struct bench *bench)                                                \
    {                                                                                              \
        for (uint64_t number = 0; number < bench->records;) {                                      \
            uint64_t end =                                                                         \
                number + bench->batch < bench->records ? number + bench->batch : bench->records;   \
            while (number < end)                                                                   \
                if (ring##_push(bench, number))                                                    \
                    number++;                                                                      \
                else                                                                               \
                    ck_pr_stall();                                                                 \
            shm_doorbell_ring(&bench->bell);                                                       \
        }                                                                                          \
    }                                                                                              \
    static bool ring##_consume(struct bench *bench)                                                \
    {                                                                                              \
        struct shm_ring_entry entry;                                                               \
        for (uint64_t number = 0; number < bench->records;) {                                      \
            unsigned taken = 0;                                                                    \
            while (taken < bench->batch && ring##_take(bench, &entry)) {                           \
                if (!is_record(&entry, number++))                                                  \
                    return false;                                                                  \
                taken++;                                                                           \
            }                                                                                      \
            if (taken == 0)                                                                        \
                ck_pr_stall();                                                                     \
        }                                                                                          \
        return true;                                                                               \
    }
LOOPS(payring)
LOOPS(ck_slot)
LOOPS(ck_entry)

static const struct {
    const char *name;
    void (*produce)(struct bench *);
    bool (*consume)(struct bench *);
} rings[] = {{"payring", payring_produce, payring_consume},
             {"ck_slot", ck_slot_produce, ck_slot_consume},
             {"ck_entry", ck_entry_produce, ck_entry_consume}};

/* --- two processes -------------------------------------------------------------------------- */

static void run_on(unsigned processor)
{
    cpu_set_t set;
    if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
        return;
    CPU_ZERO(&set);
    CPU_SET(processor, &set);
    (void)sched_setaffinity(0, sizeof set, &set);
}

static void attach(struct bench *bench, unsigned lease)
{
    struct explain why = {{0}};
    if (shm_region_attach(&bench->region, bench->name, 0, &why) != STATUS_OK ||
        shm_lease_try_take(&bench->region, lease) != STATUS_OK)
        give_up("the region", &why);
    enum status status = lease == SHM_LEASE_LANE ? shm_region_open_lane(&bench->region, 0, &why)
                                                 : shm_region_open_api(&bench->region, 0, &why);
    if (status != STATUS_OK)
        give_up("the region", &why);
}

_Noreturn static void be_consumer(struct bench *bench, unsigned ring, int ready)
{
    run_on(1);
    attach(bench, SHM_LEASE_LANE);
    shm_ring_consumer_open(&bench->consumer, &bench->region, 0, 0);
    if (write(ready, "r", 1) != 1)
        _exit(EXIT_FAILURE);
    _exit(rings[ring].consume(bench) ? EXIT_SUCCESS : EXIT_FAILURE);
}

/* From the first push until the last record was taken and verified. */
static double records_per_s(struct bench *bench, unsigned ring)
{
    int ready[2], status;
    char byte;
    ck_ring_init(bench->ck, SLOTS);
    if (pipe(ready) != 0)
        give_up("pipe", NULL);
    pid_t child = fork();
    if (child < 0)
        give_up("fork", NULL);
    if (child == 0)
        be_consumer(bench, ring, ready[1]);
    close(ready[1]);
    attach(bench, SHM_LEASE_API);
    shm_ring_producer_open(&bench->producer, &bench->region, 0, 0);
    shm_doorbell_open(&bench->bell, &bench->region, 0);
    if (read(ready[0], &byte, 1) != 1)
        give_up("the consumer did not begin", NULL);
    int64_t began_us = clock_monotonic_us();
    rings[ring].produce(bench);
    if (waitpid(child, &status, 0) != child || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        give_up(rings[ring].name, &(struct explain){"a record came wrong, or none any more"});
    double us = (double)(clock_monotonic_us() - began_us);
    close(ready[0]);
    shm_doorbell_close(&bench->bell);
    shm_region_detach(&bench->region);
    return (double)bench->records * 1e6 / us;
}

static void *shared(size_t size)
{
    void *memory =
        mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED)
        give_up("memory", NULL);
    return memory;
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno || end == text || *end || value == 0 || value > INT32_MAX)
        give_up(text, &(struct explain){"is no number, or out of range"});
    return value;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {{"batch", required_argument, NULL, 'b'},
                                          {"records", required_argument, NULL, 'r'},
                                          {NULL, 0, NULL, 0}};
    static struct bench bench = {.records = 8000000, .batch = 1};
    struct explain why = {{0}};
    struct shm_geometry geometry = {.api_slots = 1,
                                    .lanes = 1,
                                    .ring_slots = SLOTS,
                                    .payment_slots = 64,
                                    .ledger_rows = 4096,
                                    .horizon_payments = 64};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == '?')
            return 2;
        if (option == 'b')
            bench.batch = (unsigned)number(optarg);
        else
            bench.records = number(optarg);
    }
    signal(SIGPIPE, SIG_IGN);
    run_on(0);
    const char *name = getenv("PAYRING_REGION"); /* who names it sees to it that it goes */
    if (name)
        snprintf(bench.name, sizeof bench.name, "%s", name);
    else
        snprintf(bench.name, sizeof bench.name, "bench-ring.%d", (int)getpid());
    if (shm_region_create(bench.name, &geometry, &why) != STATUS_OK)
        give_up("no region", &why);
    bench.ck = shared(sizeof *bench.ck);
    bench.slots = shared(SLOTS * sizeof *bench.slots);
    bench.entries = shared(SLOTS * sizeof *bench.entries);
    printf("{\"batch\":%u", bench.batch);
    for (unsigned ring = 0; ring < sizeof rings / sizeof rings[0]; ring++)
        printf(",\"%s\":%.0f", rings[ring].name, records_per_s(&bench, ring));
    puts("}");
    (void)shm_region_remove(bench.name, true, NULL);
    return EXIT_SUCCESS;
}
