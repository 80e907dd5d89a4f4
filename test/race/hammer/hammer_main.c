/* Rounds of the hammer; prints TAP. Status 0: nothing was lost, doubled or torn; 1: it was;
 * 2: usage. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "shm/shm_doorbell.h"
#include "shm/shm_lease.h"
#include "shm/shm_ledger.h"
#include "test/race/hammer/hammer.h"

/* A round ends after this, or when the ledger is full. */
#define ROUND_MS 2000
/* Of threads, which the sanitizer slows down. */
#define THREADS_ROUND_MS 20000

static const struct {
    const char *name;
    void (*run)(struct hammer_party *);
    bool mortal; /* killed and stopped */
} roles[HAMMER_ROLES] = {
    [HAMMER_OWNER] = {"the owner", hammer_owner, true},
    [HAMMER_PRODUCER_0] = {"producer 0", hammer_producer, true},
    [HAMMER_PRODUCER_1] = {"producer 1", hammer_producer, true},
    [HAMMER_RECORD_READER] = {"the record reader", hammer_record_reader, false},
    [HAMMER_RING_READER] = {"the ring reader", hammer_ring_reader, false},
    [HAMMER_SUM_READER] = {"the sum reader", hammer_sum_reader, false},
    [HAMMER_PURGER] = {"the purger", hammer_purger, true},
};

static struct {
    bool threads;
    long seconds;
    uint64_t seed;
} options = {.seconds = 4};

/* A round under way. */
static struct {
    struct hammer *hammer;
    size_t size;
    struct shm_region region; /* all of it leased only by threads, and at the end */
    struct explain why;
    pid_t pids[HAMMER_ROLES];
    pthread_t threads[HAMMER_ROLES];
    struct hammer_party parties[HAMMER_ROLES];
    bool running[HAMMER_ROLES];
    uint64_t random;
} now;

static struct {
    uint64_t rounds, kills, stops, payments, rows, tallies[HAMMER_TALLIES];
} total;

static uint64_t chance(uint64_t most)
{
    return hammer_mix(now.random += UINT64_C(0x9e3779b97f4a7c15)) % most;
}

static void need(enum status status, const char *what)
{
    if (status != STATUS_OK)
        hammer_fail(now.hammer, "%s: %s", what, now.why.text);
}

/* ------------------------------------------------------------------------- a region */

/* Rounds of few blocks, and now and then one that completes a segment of the longest. */
static uint32_t choose_rows(void)
{
    return SHM_BLOCK_ROWS *
           (chance(6) == 0 ? 2 * SHM_SEGMENT_BLOCKS_MAX : 4 + (uint32_t)chance(60));
}

static void create(void)
{
    struct shm_geometry geometry = {.api_slots = HAMMER_APIS,
                                    .lanes = 1,
                                    .ring_slots = SHM_RING_SLOTS_MIN,
                                    .payment_slots = SHM_PAYMENT_SLOTS_MIN,
                                    .ledger_rows = choose_rows()};
    if (geometry.ledger_rows > SHM_SEGMENT_ROWS_MAX)
        geometry.ledger_segment_rows = SHM_SEGMENT_ROWS_MAX;
    geometry.horizon_payments = 2 * geometry.ledger_rows; /* nothing is forgotten in a round */
    uint64_t numbers_max = geometry.ledger_rows;
    now.size = sizeof *now.hammer + HAMMER_APIS * numbers_max;
    now.hammer = mmap(NULL, now.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (now.hammer == MAP_FAILED) {
        perror("hammer");
        exit(2);
    }
    now.hammer->seed = chance(UINT64_MAX);
    now.hammer->numbers_max = numbers_max;
    now.hammer->threads = options.threads;
    snprintf(now.hammer->region_name, sizeof now.hammer->region_name, "hammer.%d", (int)getpid());
    need(shm_region_create(now.hammer->region_name, &geometry, &now.why), "create");
    need(shm_region_attach(&now.region, now.hammer->region_name, 0, &now.why), "attach");
}

static void open_all(void)
{
    need(shm_lease_try_take_all(&now.region, &now.why), "leases");
    for (unsigned api = 0; api < HAMMER_APIS; api++)
        need(shm_region_open_api(&now.region, api, &now.why), "api");
    need(shm_region_open_lane(&now.region, HAMMER_LANE, &now.why), "lane");
    need(shm_region_open_purge(&now.region, &now.why), "purge");
}

/* -------------------------------------------------------------------------- parties */

static void open_own(struct hammer_party *party, struct explain *why)
{
    static const unsigned leases[HAMMER_ROLES] = {
        [HAMMER_OWNER] = SHM_LEASE_LANE,
        [HAMMER_PRODUCER_0] = SHM_LEASE_API,
        [HAMMER_PRODUCER_1] = SHM_LEASE_API + 1,
        [HAMMER_PURGER] = SHM_LEASE_PURGE,
    };
    unsigned lease = leases[party->role];
    enum status status = lease ? shm_lease_try_take(party->region, lease) : STATUS_OK;
    if (status == STATUS_OK && party->role == HAMMER_OWNER)
        status = shm_region_open_lane(party->region, HAMMER_LANE, why);
    if (status == STATUS_OK &&
        (party->role == HAMMER_PRODUCER_0 || party->role == HAMMER_PRODUCER_1))
        status = shm_region_open_api(party->region, party->role - HAMMER_PRODUCER_0, why);
    if (status == STATUS_OK && party->role == HAMMER_PURGER)
        status = shm_region_open_purge(party->region, why);
    if (status != STATUS_OK)
        hammer_fail(party->hammer, "%s gets no lease although its predecessor is dead",
                    roles[party->role].name);
}

static _Noreturn void be_process(enum hammer_role role)
{
    struct shm_region region;
    struct explain why = {{0}};
    struct hammer_party party = {.hammer = now.hammer,
                                 .region = &region,
                                 .role = role,
                                 .random = chance(UINT64_MAX),
                                 .turns_left = UINT64_MAX};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    shm_region_detach(&now.region); /* the parent's description is not ours */
    if (shm_region_attach(&region, now.hammer->region_name, 0, &why) != STATUS_OK)
        hammer_fail(now.hammer, "attach: %s", why.text);
    open_own(&party, &why);
    roles[role].run(&party);
    _exit(0);
}

static void *be_thread(void *context)
{
    struct hammer_party *party = context;
    roles[party->role].run(party);
    return NULL;
}

static void start(enum hammer_role role)
{
    now.running[role] = true;
    if (options.threads) {
        now.parties[role] = (struct hammer_party){.hammer = now.hammer,
                                                  .region = &now.region,
                                                  .role = role,
                                                  .random = chance(UINT64_MAX),
                                                  .turns_left = 1 + chance(4000)};
        if (pthread_create(&now.threads[role], NULL, be_thread, &now.parties[role]) != 0)
            hammer_fail(now.hammer, "no thread");
        return;
    }
    fflush(stdout);
    chance(2); /* the child's numbers are not the next child's */
    now.pids[role] = fork();
    if (now.pids[role] == 0)
        be_process(role);
    if (now.pids[role] < 0)
        hammer_fail(now.hammer, "no process: %s", strerror(errno));
}

static void note_death(enum hammer_role role)
{
    if (role == HAMMER_PRODUCER_0 || role == HAMMER_PRODUCER_1)
        atomic_fetch_add(&now.hammer->producer_deaths, 1);
}

static void await_process(enum hammer_role role, bool killed)
{
    int status = 0;
    while (waitpid(now.pids[role], &status, 0) < 0 && errno == EINTR)
        continue;
    now.running[role] = false;
    bool as_expected = (killed && WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL) ||
                       (WIFEXITED(status) && WEXITSTATUS(status) == 0);
    if (!as_expected && !atomic_exchange(&now.hammer->failed, 1))
        snprintf(now.hammer->failure, sizeof now.hammer->failure, "%s died by itself: signal %d",
                 roles[role].name, WIFSIGNALED(status) ? WTERMSIG(status) : 0);
}

static void kill_one(void)
{
    enum hammer_role role = (enum hammer_role)chance(HAMMER_ROLES);
    if (!roles[role].mortal)
        return;
    if (chance(4) == 0) {
        kill(now.pids[role], SIGSTOP);
        usleep((useconds_t)chance(3000));
        kill(now.pids[role], SIGCONT);
        total.stops++;
        return;
    }
    note_death(role); /* before: its last push may go unrung from now on */
    kill(now.pids[role], SIGKILL);
    total.kills++;
    await_process(role, true);
    start(role);
}

static bool has_left(enum hammer_role role)
{
    if (!now.running[role] || pthread_tryjoin_np(now.threads[role], NULL) != 0)
        return false;
    now.running[role] = false;
    return true;
}

/* Threads leave by themselves, between two calls. */
static void revive_threads(void)
{
    for (enum hammer_role role = 0; role < HAMMER_ROLES; role++)
        if (has_left(role)) {
            note_death(role);
            total.kills++;
            start(role);
        }
}

static void revive_owner(void)
{
    if (has_left(HAMMER_OWNER))
        start(HAMMER_OWNER);
}

static void await(enum hammer_role role)
{
    while (options.threads && role != HAMMER_OWNER && now.running[role]) {
        struct timespec soon;
        clock_gettime(CLOCK_REALTIME, &soon);
        soon.tv_sec++;
        revive_owner(); /* somebody may wait for it */
        now.running[role] = pthread_timedjoin_np(now.threads[role], NULL, &soon) != 0;
    }
    if (!now.running[role])
        return;
    if (options.threads) {
        pthread_join(now.threads[role], NULL);
        now.running[role] = false;
    } else {
        await_process(role, false);
    }
}

/* ------------------------------------------------------------------- the comparison */

/* A doorbell that was not rung by who died before it could. */
static void ring(void)
{
    struct shm_doorbell bell;
    shm_doorbell_open(&bell, &now.region, HAMMER_LANE);
    shm_doorbell_ring(&bell);
    shm_doorbell_close(&bell);
}

static void drain(void)
{
    atomic_store(&now.hammer->phase, HAMMER_DRAIN);
    for (enum hammer_role role = HAMMER_OWNER + 1; role < HAMMER_ROLES; role++)
        await(role);
    atomic_store(&now.hammer->phase, HAMMER_END);
    do {
        if (!now.running[HAMMER_OWNER])
            start(HAMMER_OWNER);
        ring();
        await(HAMMER_OWNER);
    } while (!atomic_load(&now.hammer->failed) &&
             (atomic_load(&shm_region_lane(&now.region, HAMMER_LANE)->unsettled) > 0 ||
              shm_ring_depth(&now.region, 0, HAMMER_LANE) > 0 ||
              shm_ring_depth(&now.region, 1, HAMMER_LANE) > 0));
}

/* Count the rows of each payment into `rows`. */
static void count_rows(uint8_t *rows, uint64_t payments)
{
    struct shm_row row;
    uint64_t count = shm_region_lane(&now.region, HAMMER_LANE)->row_count;
    for (uint64_t at = 0; at < count; at++) {
        if (!shm_ledger_read(&now.region, HAMMER_LANE, at, &row))
            continue;
        uint64_t payment = (uint64_t)(row.requested_at_us / 1000 - now.region.created_at_ms);
        if (payment >= payments || row.processor != hammer_processor(payment) ||
            row.amount_cents != hammer_amount_cents(payment))
            hammer_fail(now.hammer, "row %" PRIu64 " is of no payment", at);
        rows[payment]++;
        total.rows++;
    }
}

static void compare_payment(const uint8_t *rows, unsigned api, uint64_t number)
{
    struct hammer *hammer = now.hammer;
    uint64_t payment = number << 1 | api;
    bool copy = hammer_is_copy(hammer, api, number);
    bool safe = number >= hammer->clean_from[api]; /* from every purge */
    if (rows[payment] != hammer->books[payment])
        hammer_fail(hammer, "payment %" PRIu64 " is charged %u times and counted %u times", payment,
                    (unsigned)hammer->books[payment], (unsigned)rows[payment]);
    if (copy ? rows[payment] != 0 : safe && rows[payment] != 1)
        hammer_fail(hammer, "payment %" PRIu64 " was accepted and is counted %u times", payment,
                    (unsigned)rows[payment]);
}

static void compare(void)
{
    struct hammer *hammer = now.hammer;
    uint64_t payments = HAMMER_APIS * hammer->numbers_max;
    uint8_t *rows = calloc(payments, 1);
    if (!rows)
        hammer_fail(hammer, "out of memory");
    count_rows(rows, payments);
    for (unsigned api = 0; api < HAMMER_APIS; api++) {
        uint64_t tail = shm_region_api(&now.region, api)->tail[HAMMER_LANE].value;
        for (uint64_t number = 0; number < tail; number++)
            compare_payment(rows, api, number);
        for (uint64_t number = tail; number < hammer->numbers_max; number++)
            if (rows[number << 1 | api])
                hammer_fail(hammer, "a payment that was never pushed is counted");
        total.payments += tail;
    }
    free(rows);
}

/* --------------------------------------------------------------------------- rounds */

static void stop_all(void)
{
    for (enum hammer_role role = 0; role < HAMMER_ROLES && !options.threads; role++)
        if (now.running[role]) {
            kill(now.pids[role], SIGKILL);
            await_process(role, true);
        }
}

static bool is_full(void)
{
    uint64_t rows = atomic_load(&shm_region_lane(&now.region, HAMMER_LANE)->row_count);
    return rows + 4 * SHM_LEDGER_BUDGET * SHM_ROWS_PER_PAYMENT_MAX >=
           now.region.geometry.ledger_rows;
}

static void play(int64_t until_ms)
{
    for (enum hammer_role role = 0; role < HAMMER_ROLES; role++)
        start(role);
    while (clock_monotonic_ms() < until_ms && !is_full() && !atomic_load(&now.hammer->failed)) {
        usleep((useconds_t)(500 + chance(4000)));
        if (options.threads)
            revive_threads();
        else
            kill_one();
    }
    drain();
}

static bool play_round(int64_t end_ms)
{
    int64_t until_ms = clock_monotonic_ms() + (options.threads ? THREADS_ROUND_MS : ROUND_MS);
    create();
    if (options.threads)
        open_all();
    play(until_ms < end_ms ? until_ms : end_ms);
    bool failed = atomic_load(&now.hammer->failed);
    if (!failed)
        compare();
    else
        printf("# broken in round %" PRIu64 ": %s\n", total.rounds + 1, now.hammer->failure);
    stop_all();
    for (unsigned i = 0; i < HAMMER_TALLIES; i++)
        total.tallies[i] += now.hammer->tallies[i];
    shm_region_detach(&now.region);
    (void)shm_region_remove(now.hammer->region_name, true, NULL);
    munmap(now.hammer, now.size);
    total.rounds++;
    return !failed;
}

/* What a run must have done, or it has shown nothing. */
static const struct {
    enum hammer_tally tally;
    const char *words;
} wanted[] = {
    {HAMMER_PUSHED, "payments pushed"},
    {HAMMER_RING_FULL, "times a ring was full"},
    {HAMMER_TAKEN, "entries taken, each the one that was pushed"},
    {HAMMER_SETTLED, "payments ended"},
    {HAMMER_RECYCLED, "records recycled"},
    {HAMMER_SLEPT, "times the owner slept"},
    {HAMMER_WOKEN, "times the doorbell woke it"},
    {HAMMER_RECORDS_READ, "records read whole"},
    {HAMMER_ENTRIES_READ, "entries read by searchers"},
    {HAMMER_SUMS, "summaries, exact to the cent"},
    {HAMMER_PURGES, "purges"},
};
enum { WANTED = sizeof wanted / sizeof wanted[0] };

static int report(bool good)
{
    unsigned missing = 0;
    printf("1..%d\n%s 1 - nothing is lost, doubled or torn in %" PRIu64 " rounds\n", 1 + WANTED,
           good ? "ok" : "not ok", total.rounds);
    for (unsigned i = 0; i < WANTED; i++) {
        uint64_t count = total.tallies[wanted[i].tally];
        missing += count == 0;
        printf("%s %u - %" PRIu64 " %s\n", count ? "ok" : "not ok", i + 2, count, wanted[i].words);
    }
    printf("# %" PRIu64 " records in motion for all tries, %" PRIu64
           " times the ledger was full, %" PRIu64 " summaries busy\n",
           total.tallies[HAMMER_RECORDS_IN_MOTION], total.tallies[HAMMER_LEDGER_FULL],
           total.tallies[HAMMER_SUMS_BUSY]);
    printf("# %s: %" PRIu64 " rounds, %" PRIu64 " %s, %" PRIu64 " stops, %" PRIu64
           " entries, %" PRIu64 " rows\n",
           options.threads ? "threads" : "processes", total.rounds, total.kills,
           options.threads ? "departures" : "kills", total.stops, total.payments, total.rows);
    return good && !missing ? 0 : 1;
}

static bool parse(int argc, char **argv)
{
    static const struct option known[] = {
        {"threads", no_argument, NULL, 't'},
        {"seconds", required_argument, NULL, 's'},
        {"seed", required_argument, NULL, 'r'},
        {0},
    };
    options.seed = (uint64_t)getpid() ^ (uint64_t)clock_wall_us();
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == '?')
            return false;
        options.threads |= option == 't';
        if (option == 's')
            options.seconds = strtol(optarg, NULL, 10);
        if (option == 'r')
            options.seed = strtoull(optarg, NULL, 0);
    }
    return optind == argc && options.seconds > 0;
}

int main(int argc, char **argv)
{
    bool good = true;
    if (!parse(argc, argv)) {
        fprintf(stderr, "usage: hammer [--threads] [--seconds=N] [--seed=N]\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    now.random = options.seed;
    printf("# hammer --seed=%" PRIu64 "%s\n", options.seed, options.threads ? " --threads" : "");
    int64_t end_ms = clock_monotonic_ms() + options.seconds * 1000;
    while (good && clock_monotonic_ms() < end_ms)
        good = play_round(end_ms);
    return report(good);
}
