/* The simulator: seeds, one after the other, until one fails. */
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/log.h"
#include "test/sim/director.h"
#include "test/sim/gateway.h"
#include "test/sim/kernel.h"
#include "test/sim/observe.h"
#include "test/sim/processors.h"
#include "test/sim/routing_report.h"

ssize_t __real_write(int fd, const void *bytes, size_t size);

/* By --count, in words. */
#define FAILURES_TOLD 100

static const char usage[] =
    "simulator [--seed=FIRST] [--seeds=COUNT]  run seeds; the first failure is told in words\n"
    "simulator --trace --seed=SEED             tell one seed in words\n"
    "simulator --self-test                     each mutation must be found, each seed repeatable\n"
    "simulator --routing                       what the routing policies earn\n"
    "simulator --mutation=NAME ...             run a mutation\n"
    "simulator --count ...                     say how many seeds fail instead of stopping at "
    "one\n";

static int64_t read_us(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static const struct {
    const char *name, *words;
    unsigned seeds;
} mutations[SIM_MUTATION_COUNT] = {
#define X(name, seeds, words) [SIM_##name] = {#name, words, seeds},
    SIM_MUTATIONS(X)
#undef X
};

/* A fault in production code or here: say at least which seed it was. */
static void on_fault(int number)
{
    char text[96];
    int length = snprintf(text, sizeof text, "seed %" PRIu64 ": signal %d\n", sim_seed, number);
    _exit(__real_write(2, text, (size_t)length) == length ? 1 : 2);
}

static void catch_faults(void)
{
    static uint8_t stack[16384];
    static const int numbers[] = {SIGSEGV, SIGBUS, SIGILL, SIGFPE};
    stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK};
    sigaltstack(&alternate, NULL);
    for (unsigned i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
}

static void set_tracing(bool on)
{
    sim_tracing = on;
    log_threshold = on ? LOG_LEVEL_INFO : -1;
}

static void report(uint64_t seeds, int64_t took_us)
{
    const struct sim_gateway_tally *g = &sim_gateway_tally;
    const struct sim_processor_tally *p = &sim_processor_tally;
    int64_t cpu_us = read_us(CLOCK_PROCESS_CPUTIME_ID);
    took_us = took_us > 0 ? took_us : 1;
    printf("# %" PRIu64 " seeds in %" PRId64 ".%03" PRId64 " s: %" PRIu64
           " a second; simulated %" PRId64 " s, %" PRId64 " x faster than real time\n",
           seeds, took_us / 1000000, took_us / 1000 % 1000, seeds * 1000000 / (uint64_t)took_us,
           sim_simulated_us / 1000000, sim_simulated_us / took_us);
    printf("# CPU time %" PRId64 ".%03" PRId64 " s: %" PRIu64 " seeds a second of it, %" PRId64
           " x faster than real time\n",
           cpu_us / 1000000, cpu_us / 1000 % 1000, seeds * 1000000 / (uint64_t)cpu_us,
           sim_simulated_us / cpu_us);
    printf("# answers: %" PRIu64 " accepted, %" PRIu64 " known, %" PRIu64 " other amount, %" PRIu64
           " refused, %" PRIu64 " ring full, %" PRIu64 " ledger full; %" PRIu64 " purges, %" PRIu64
           " late ones; %" PRIu64 " sums, %" PRIu64 " checks during the run and at its end\n",
           g->accepted, g->known, g->differs, g->refused, g->ring_full, g->ledger_full, g->purges,
           g->purges_late, g->sums, g->checks);
    printf("# processors: %" PRIu64 " POSTs, %" PRIu64 " inserts, %" PRIu64
           " found the id there, %" PRIu64 " turned away, %" PRIu64 " outcomes unknown, %" PRIu64
           " slept on, %" PRIu64 " orphaned; %" PRIu64 " GETs; %" PRIu64 " health calls\n",
           p->requests, p->inserts, p->exists, p->refused, p->unknown, p->slept, p->orphaned,
           p->lookups, p->health_calls);
    printf("# %" PRIu64 " lanes taken, %" PRIu64 " processes killed, %" PRIu64
           " of them at a store, %" PRIu64 " stopped; %" PRIu64 " turns, %" PRIu64
           " interrupted at an access; %" PRIu64 " events\n",
           g->lanes_taken, sim_tally.kills, sim_tally.kills_at_store, sim_tally.stops,
           sim_tally.switches, sim_tally.steps_preempted, sim_tally.events);
    printf("# %" PRIu64
           " copies beyond the horizon were charged by the other processor too (limit 1), %" PRIu64
           " counted twice (limit 3)\n",
           sim_charged_beyond_the_horizon, sim_counted_beyond_the_horizon);
    sim_points_report();
}

static int replay(uint64_t seed)
{
    set_tracing(true);
    bool good = sim_run_seed(seed);
    set_tracing(false);
    printf("seed %" PRIu64 ": %s\n", seed, good ? "nothing broken" : sim_failure);
    return good ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int run_seeds(uint64_t first, uint64_t count)
{
    int64_t began_us = read_us(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < count; i++) {
        if (sim_run_seed(first + i))
            continue;
        printf("not ok 1 - seed %" PRIu64 ": %s\n# again, in words: make sim SEED=%" PRIu64
               "\n1..1\n",
               first + i, sim_failure, first + i);
        return EXIT_FAILURE;
    }
    printf("ok 1 - seeds %" PRIu64 " to %" PRIu64
           ": nothing lost, charged twice or miscounted\n1..1\n",
           first, first + count - 1);
    report(count, read_us(CLOCK_MONOTONIC) - began_us);
    return EXIT_SUCCESS;
}

/* How many of the seeds fail: how easily a mutation is found, or all that a long run finds. */
static int count_failures(uint64_t first, uint64_t count)
{
    int64_t began_us = read_us(CLOCK_MONOTONIC);
    uint64_t failures = 0;
    for (uint64_t i = 0; i < count; i++)
        if (!sim_run_seed(first + i) && ++failures <= FAILURES_TOLD && !sim_mutation)
            printf("# seed %" PRIu64 ": %s\n", first + i, sim_failure);
    printf("# %s: %" PRIu64 " of %" PRIu64 " seeds fail\n",
           sim_mutation ? mutations[sim_mutation].name : "as it is", failures, count);
    report(count, read_us(CLOCK_MONOTONIC) - began_us);
    return EXIT_SUCCESS;
}

/* ----------------------------------------------------------------------- self-test */

static bool finds(enum sim_mutation mutation)
{
    unsigned seed = 1;
    sim_mutation = mutation;
    while (seed <= mutations[mutation].seeds && sim_run_seed(seed))
        seed++;
    sim_mutation = SIM_SOUND;
    bool found = seed <= mutations[mutation].seeds;
    printf("%s %d - %s: ", found ? "ok" : "not ok", (int)mutation, mutations[mutation].words);
    if (found)
        printf("found by seed %u of %u: %s\n", seed, mutations[mutation].seeds, sim_failure);
    else
        printf("not found by %u seeds\n", mutations[mutation].seeds);
    return found;
}

/* The same seed twice, with other seeds in between: every choice is the seed's. */
static bool is_repeatable(int number)
{
    static uint64_t digests[100];
    const unsigned count = sizeof digests / sizeof *digests;
    unsigned same = 0;
    for (unsigned i = 0; i < count; i++) {
        sim_run_seed(i + 1);
        digests[i] = sim_digest;
    }
    for (unsigned i = count; i > 0; i--) {
        sim_run_seed(i);
        same += digests[i - 1] == sim_digest;
    }
    printf("%s %d - %u of %u seeds go the same way when they are run again\n",
           same == count ? "ok" : "not ok", number, same, count);
    return same == count;
}

static int self_test(void)
{
    unsigned missed = 0;
    printf("1..%d\n", SIM_MUTATION_COUNT);
    for (int mutation = SIM_SOUND + 1; mutation < SIM_MUTATION_COUNT; mutation++)
        missed += !finds((enum sim_mutation)mutation);
    missed += !is_repeatable(SIM_MUTATION_COUNT);
    return missed > 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}

static enum sim_mutation mutation_named(const char *name)
{
    for (int i = SIM_SOUND + 1; i < SIM_MUTATION_COUNT; i++)
        if (strcmp(mutations[i].name, name) == 0)
            return (enum sim_mutation)i;
    fprintf(stderr, "there is no mutation %s\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"seed", required_argument, NULL, 's'},     {"seeds", required_argument, NULL, 'n'},
        {"trace", no_argument, NULL, 't'},          {"self-test", no_argument, NULL, 'x'},
        {"mutation", required_argument, NULL, 'm'}, {"routing", no_argument, NULL, 'r'},
        {"count", no_argument, NULL, 'c'},          {NULL, 0, NULL, 0},
    };
    uint64_t seed = 1, seeds = 1000;
    bool trace = false, test = false, count = false;
    int option;
    setvbuf(stdout, NULL, _IOLBF, 0);
    catch_faults();
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 's')
            seed = strtoull(optarg, NULL, 10);
        else if (option == 'n')
            seeds = strtoull(optarg, NULL, 10);
        else if (option == 't')
            trace = true;
        else if (option == 'x')
            test = true;
        else if (option == 'c')
            count = true;
        else if (option == 'r')
            return sim_routing_report();
        else if (option == 'm')
            sim_mutation = mutation_named(optarg);
        else
            return fputs(usage, stderr), 2;
    }
    if (test)
        return self_test();
    if (trace)
        return replay(seed);
    return count ? count_failures(seed, seeds) : run_seeds(seed, seeds);
}
