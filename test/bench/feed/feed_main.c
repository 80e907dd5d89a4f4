/* feed: payments for the lanes without HTTP, so that what is measured is the worker.
 *
 *   feed --seconds S [--warm-ms W] [--worker PID] [--outstanding N]
 *   feed --count N [--outstanding N]
 *
 * Takes an API slot of the region that PAYRING_REGION names and accepts payments of 19.90 as an API
 * does, by the same functions, as long as fewer than N (4096) of them are not settled: the lanes
 * always have work and their tables never fill up. A millisecond passes between two looks.
 *
 * With --seconds it says what was settled in that time, after W ms (1000) that do not count, how
 * many POSTs were in flight, and how much CPU the process PID took for it, and the feeder. With
 * --count it ends when so many payments are settled.
 *
 * Prints one line of JSON. Status 1: a POST was refused, or its outcome is unknown, or nothing was
 * settled; that is no figure then. */
#include "api/payment_intake.h"
#include "common/clock.h"
#include "shm/shm_counters.h"
#include "shm/shm_lease.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { AMOUNT_CENTS = 1990, LOOK_NS = 1000000 };

struct options {
    int64_t warm_ms, seconds;
    uint64_t count, outstanding;
    int worker; /* 0: nobody's CPU is of interest */
};

struct feed {
    struct options options;
    struct shm_region region;
    struct payment_intake intake;
    struct uuid id;
    uint64_t accepted, settled_before; /* by whoever was here earlier */
    uint64_t in_flight_sum, looks;
};

_Noreturn static void give_up(const char *what, const struct explain *why)
{
    fprintf(stderr, "feed: %s: %s\n", what, why ? why->text : strerror(errno));
    exit(2);
}

static uint64_t count_of(const struct feed *feed, enum shm_lane_counter counter)
{
    uint64_t sum = 0;
    for (unsigned lane = 0; lane < feed->region.geometry.lanes; lane++)
        sum += atomic_load_explicit(&shm_region_lane(&feed->region, lane)->counters[counter],
                                    memory_order_relaxed);
    return sum;
}

static uint64_t settled(const struct feed *feed)
{
    return count_of(feed, SHM_LANE_COUNTER_settled_default) +
           count_of(feed, SHM_LANE_COUNTER_settled_fallback);
}

static uint64_t went_wrong(const struct feed *feed)
{
    return count_of(feed, SHM_LANE_COUNTER_refused) + count_of(feed, SHM_LANE_COUNTER_unknown) +
           count_of(feed, SHM_LANE_COUNTER_bad_request);
}

static uint64_t in_flight(const struct feed *feed)
{
    uint64_t sum = 0;
    for (unsigned lane = 0; lane < feed->region.geometry.lanes; lane++)
        for (unsigned p = 0; p < SHM_PROCESSORS; p++)
            sum +=
                atomic_load_explicit(&shm_region_lane(&feed->region, lane)->processor[p].in_flight,
                                     memory_order_relaxed);
    return sum;
}

/* --- moving in ---------------------------------------------------------------------------- */

static void move_in(struct feed *feed)
{
    struct explain why = {{0}};
    const char *name = getenv("PAYRING_REGION");
    unsigned slot = 0;
    if (!name)
        give_up("PAYRING_REGION", &(struct explain){"is not set"});
    if (shm_region_attach(&feed->region, name, 0, &why) != STATUS_OK)
        give_up("no region", &why);
    while (slot < feed->region.geometry.api_slots &&
           shm_lease_try_take(&feed->region, SHM_LEASE_API + slot) != STATUS_OK)
        slot++;
    if (slot == feed->region.geometry.api_slots)
        give_up("no slot", &(struct explain){"all of them have an owner"});
    if (shm_region_open_api(&feed->region, slot, &why) != STATUS_OK)
        give_up("no slot", &why);
    shm_presence_begin(&shm_region_api(&feed->region, slot)->presence);
    payment_intake_open(&feed->intake, &feed->region, slot);
    feed->id.hi = (uint64_t)clock_wall_us() * UINT64_C(0x9e3779b97f4a7c15);
    feed->settled_before = settled(feed);
}

/* --- feeding ------------------------------------------------------------------------------ */

static void accept_some(struct feed *feed)
{
    uint64_t done = settled(feed) - feed->settled_before;
    uint64_t goal = done + feed->options.outstanding;
    if (feed->options.count > 0 && goal > feed->options.count)
        goal = feed->options.count;
    int64_t now_ms = clock_wall_ms();
    for (unsigned n = 1; feed->accepted < goal; n++) {
        feed->id.lo++;
        if (payment_intake_offer(&feed->intake, &feed->id, AMOUNT_CENTS, now_ms) !=
            PAYMENT_INTAKE_ACCEPTED)
            break; /* a ring or the ledger is full: later */
        feed->accepted++;
        if (n % PAYMENT_INTAKE_BATCH_MAX == 0)
            payment_intake_wake(&feed->intake);
    }
    payment_intake_wake(&feed->intake);
}

static void look(struct feed *feed)
{
    accept_some(feed);
    feed->in_flight_sum += in_flight(feed);
    feed->looks++;
    nanosleep(&(struct timespec){.tv_nsec = LOOK_NS}, NULL);
}

/* --- measuring ---------------------------------------------------------------------------- */

struct reading {
    uint64_t settled, wrong, in_flight_sum, looks;
    int64_t at_us, cpu_us;
    int64_t own_cpu_us;
};

static int64_t worker_cpu_us(const struct feed *feed)
{
    clockid_t clock;
    struct timespec now;
    if (feed->options.worker == 0)
        return 0;
    if (clock_getcpuclockid(feed->options.worker, &clock) != 0 || clock_gettime(clock, &now) != 0)
        give_up("the worker's CPU", NULL);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

static int64_t own_cpu_us(void)
{
    struct timespec spent;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &spent);
    return spent.tv_sec * INT64_C(1000000) + spent.tv_nsec / 1000;
}

static struct reading read_all(const struct feed *feed)
{
    return (struct reading){.settled = settled(feed),
                            .wrong = went_wrong(feed),
                            .in_flight_sum = feed->in_flight_sum,
                            .looks = feed->looks,
                            .at_us = clock_monotonic_us(),
                            .cpu_us = worker_cpu_us(feed),
                            .own_cpu_us = own_cpu_us()};
}

static void pass(struct feed *feed, int64_t ms)
{
    int64_t end_us = clock_monotonic_us() + ms * 1000;
    while (clock_monotonic_us() < end_us)
        look(feed);
}

static int report(const struct reading *begin, const struct reading *end)
{
    uint64_t count = end->settled - begin->settled, looks = end->looks - begin->looks;
    double seconds = (double)(end->at_us - begin->at_us) * 1e-6;
    double cpu_us = (double)(end->cpu_us - begin->cpu_us);
    printf("{\"seconds\":%.3f,\"settled\":%" PRIu64
           ",\"per_s\":%.0f,\"cpu_us_per_payment\":%.3f,\"cpu_share\":%.3f,\"in_flight\":%.1f,"
           "\"feeder_cpu_share\":%.3f,\"failed\":%" PRIu64 "}\n",
           seconds, count, (double)count / seconds, count ? cpu_us / (double)count : 0.0,
           cpu_us * 1e-6 / seconds,
           looks ? (double)(end->in_flight_sum - begin->in_flight_sum) / (double)looks : 0.0,
           (double)(end->own_cpu_us - begin->own_cpu_us) * 1e-6 / seconds, end->wrong);
    return count > 0 && end->wrong == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run(struct feed *feed)
{
    const struct options *options = &feed->options;
    struct reading begin = read_all(feed);
    if (options->count > 0) {
        while (settled(feed) - feed->settled_before < options->count)
            look(feed);
    } else {
        pass(feed, options->warm_ms);
        begin = read_all(feed);
        pass(feed, options->seconds * 1000);
    }
    struct reading end = read_all(feed);
    return report(&begin, &end);
}

static int64_t number(const char *text, int64_t least)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < least || value > INT32_MAX)
        give_up("no number, or out of range", &(struct explain){""});
    return value;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"seconds", required_argument, NULL, 's'}, {"warm-ms", required_argument, NULL, 'w'},
        {"worker", required_argument, NULL, 'p'},  {"outstanding", required_argument, NULL, 'o'},
        {"count", required_argument, NULL, 'c'},   {NULL, 0, NULL, 0}};
    static struct feed feed = {.options = {.warm_ms = 1000, .seconds = 5, .outstanding = 4096}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 's':
            feed.options.seconds = number(optarg, 1);
            break;
        case 'w':
            feed.options.warm_ms = number(optarg, 0);
            break;
        case 'p':
            feed.options.worker = (int)number(optarg, 1);
            break;
        case 'o':
            feed.options.outstanding = (uint64_t)number(optarg, 1);
            break;
        case 'c':
            feed.options.count = (uint64_t)number(optarg, 1);
            break;
        default:
            return 2;
        }
    }
    signal(SIGPIPE, SIG_IGN); /* as the doorbell asks for */
    move_in(&feed);
    int status = run(&feed);
    payment_intake_close(&feed.intake);
    shm_region_detach(&feed.region);
    return status;
}
