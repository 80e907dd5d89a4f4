/* Explore the shared memory's protocols; prints TAP. Status 0: nothing is broken, and every lie is
 * found; 1: otherwise; 2: usage. */
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "test/race/explore/explore.h"

struct exploration {
    const struct race_scenario *scenario;
    bool deep; /* with --deep only */
    struct race_parameters parameters;
};

/* {slots, entries, crashes, readers, variant} */
static const struct exploration explorations[] = {
    {&race_ring, false, {1, 4, 1, 0, 0}},      {&race_ring, false, {2, 5, 2, 0, 0}},
    {&race_ring, false, {4, 9, 1, 0, 0}},      {&race_ring, false, {1, 3, 1, 1, 16}},
    {&race_ring, false, {2, 5, 1, 1, 17}},     {&race_ring, false, {2, 4, 0, 1, 32}},
    {&race_ring, true, {4, 9, 2, 0, 0}},       {&race_ring, true, {2, 4, 1, 1, 32}},
    {&race_doorbell, false, {2, 3, 1, 0, 1}},  {&race_doorbell, false, {2, 2, 2, 0, 1}},
    {&race_doorbell, false, {1, 1, 0, 0, 2}},  {&race_doorbell, true, {1, 1, 1, 0, 2}},
    {&race_doorbell, false, {2, 3, 1, 0, 17}}, {&race_doorbell, false, {2, 2, 2, 0, 17}},
    {&race_doorbell, false, {1, 1, 0, 0, 18}}, {&race_doorbell, true, {1, 1, 1, 0, 18}},
    {&race_doorbell, false, {2, 3, 1, 0, 33}}, {&race_doorbell, false, {4, 4, 1, 1, 33}},
    {&race_doorbell, false, {1, 1, 0, 0, 34}}, {&race_doorbell, true, {1, 1, 1, 0, 34}},
    {&race_record, false, {1, 2, 2, 0, 0}},    {&race_record, false, {2, 2, 1, 0, 0}},
    {&race_record, false, {1, 1, 0, 1, 0}},    {&race_record, false, {1, 1, 0, 1, 16}},
    {&race_record, true, {1, 1, 1, 1, 0}},     {&race_record, true, {1, 2, 0, 1, 0}},
    {&race_ledger, false, {4094, 3, 2, 2, 0}}, {&race_purge, false, {0, 2, 0, 1, 0}},
    {&race_purge, true, {0, 2, 1, 1, 0}},      {&race_budget, false, {1, 2, 1, 1, 0}},
    {&race_budget, true, {2, 2, 1, 1, 0}},
};
enum { EXPLORATIONS = sizeof explorations / sizeof explorations[0] };

static const struct lie {
    const struct race_scenario *scenario;
    struct race_parameters parameters;
    struct race_lie lie;
} lies[] = {
    {&race_ring,
     {1, 2, 0, 0, 0},
     {"tail-before-slot", "tail is released before the slot is filled", LIE_HOLD, RACE_SLOT,
      RACE_TAIL, 0}},
    {&race_ring,
     {1, 2, 0, 0, 0},
     {"tail-relaxed", "tail is stored relaxed", LIE_RELAX_STORE, RACE_TAIL, 0, 0}},
    {&race_ring,
     {1, 2, 0, 0, 0},
     {"tail-read-relaxed", "the consumer reads tail relaxed", LIE_RELAX_LOAD, RACE_TAIL, 0, 0}},
    {&race_ring,
     {1, 2, 0, 0, 0},
     {"head-relaxed", "head is stored relaxed", LIE_RELAX_STORE, RACE_HEAD, 0, 0}},
    {&race_ring,
     {1, 2, 0, 0, 0},
     {"head-read-relaxed", "the producer reads head relaxed", LIE_RELAX_LOAD, RACE_HEAD, 0, 0}},
    {&race_ring,
     {2, 3, 0, 0, 0},
     {"full-unseen", "the producer does not look whether the ring is full", LIE_ALL_TAKEN,
      RACE_HEAD, 0, 1}},
    {&race_ring,
     {2, 3, 1, 0, 0},
     {"tail-from-zero", "a new producer starts at 0 instead of the shared tail", LIE_ZERO,
      RACE_TAIL, 0, 1}},
    {&race_ring,
     {2, 3, 1, 0, 0},
     {"head-from-zero", "a new consumer starts at 0 instead of the shared head", LIE_ZERO,
      RACE_HEAD, 0, 2}},
    {&race_ring,
     {1, 2, 0, 1, 32},
     {"head-once", "a searcher does not look at head again", LIE_SAME_FOR_EVER, RACE_HEAD, 0, 4}},
    {&race_ring,
     {1, 2, 0, 1, 16},
     {"slot-relaxed", "a slot's words are stored relaxed", LIE_RELAX_STORE, RACE_SLOT, 0, 0}},
    {&race_ring,
     {1, 2, 0, 1, 16},
     {"slot-read-relaxed", "a searcher reads a slot's words relaxed", LIE_RELAX_LOAD, RACE_SLOT, 0,
      4}},
    {&race_doorbell,
     {2, 1, 0, 0, 1},
     {"no-fence-owner", "the owner announces its sleep without a fence", LIE_NO_FENCE, 0, 0, 1}},
    {&race_doorbell,
     {2, 1, 0, 0, 1},
     {"no-fence-producer", "a producer looks at the sleep counter without a fence", LIE_NO_FENCE, 0,
      0, 2}},
    {&race_doorbell,
     {2, 1, 0, 0, 1},
     {"no-second-look", "the owner does not look again after announcing its sleep", LIE_TOLD, 0, 0,
      0}},
    {&race_doorbell,
     {2, 1, 0, 0, 17},
     {"no-fence-owner-alone", "the same before it sleeps at the bell", LIE_NO_FENCE, 0, 0, 1}},
    {&race_doorbell,
     {2, 1, 0, 0, 17},
     {"no-fence-producer-alone", "a producer does so before it looks at a sleep at the bell",
      LIE_NO_FENCE, 0, 0, 2}},
    {&race_doorbell,
     {2, 1, 0, 0, 17},
     {"bell-noted-late", "the owner notes what the bell says after its second look", LIE_TOLD, 0, 0,
      0}},
    {&race_doorbell,
     {2, 1, 0, 0, 17},
     {"bell-unchanged", "a producer wakes and the bell says the same as before", LIE_NO_ADD,
      RACE_BELL, 0, 2}},
    {&race_doorbell,
     {2, 1, 0, 0, 17},
     {"bell-unheard", "a producer changes what the bell says and wakes nobody", LIE_NO_WAKE, 0, 0,
      2}},
    {&race_record,
     {1, 1, 0, 1, 0},
     {"never-odd", "the sequence is not made odd", LIE_HIDE_ODD, RACE_SEQUENCE, 0, 1}},
    {&race_record,
     {1, 1, 0, 1, 0},
     {"sequence-once", "a reader does not look at the sequence again", LIE_SAME_AGAIN,
      RACE_SEQUENCE, 0, 2}},
    {&race_record,
     {1, 1, 0, 1, 0},
     {"even-relaxed", "the sequence is made even relaxed", LIE_RELAX_STORE, RACE_SEQUENCE, 0, 1}},
    {&race_record,
     {1, 1, 0, 1, 0},
     {"record-relaxed", "a record's words are stored relaxed", LIE_RELAX_STORE, RACE_RECORD, 0,
      1 | RACE_IN_TURN}},
    {&race_record,
     {1, 1, 0, 1, 0},
     {"record-read-relaxed", "a record's words are read relaxed", LIE_RELAX_LOAD, RACE_RECORD, 0,
      2 | RACE_IN_TURN}},
    {&race_record,
     {1, 1, 1, 0, 0},
     {"head-before-queued", "head is released before the record is QUEUED", LIE_HOLD, RACE_STATE,
      RACE_HEAD, 1}},
    {&race_record,
     {1, 1, 1, 0, 0},
     {"queued-before-fields", "QUEUED is stored before the fields", LIE_HOLD, RACE_RECORD,
      RACE_STATE, 1}},
    {&race_ledger,
     {4094, 2, 0, 1, 0},
     {"count-before-row", "row_count is released before the row is written", LIE_EARLY, RACE_ROW, 0,
      1}},
    {&race_ledger,
     {4095, 1, 0, 1, 0},
     {"count-before-block", "row_count is released before the block is finished", LIE_EARLY,
      RACE_BLOCK, 0, 1}},
    {&race_ledger,
     {4094, 2, 0, 1, 0},
     {"count-relaxed", "row_count is stored relaxed", LIE_RELAX_STORE, RACE_ROW_COUNT, 0, 1}},
    {&race_ledger,
     {4094, 2, 0, 1, 0},
     {"count-read-relaxed", "row_count is read relaxed", LIE_RELAX_LOAD, RACE_ROW_COUNT, 0, 2}},
    {&race_purge,
     {0, 1, 0, 1, 0},
     {"generation-once", "a summary does not look at the generation again", LIE_SAME_AGAIN,
      RACE_GENERATION, 0, 8}},
    {&race_purge,
     {0, 1, 0, 0, 0},
     {"applied-before-first", "purge_applied is stored before first_row", LIE_HOLD, RACE_FIRST_ROW,
      RACE_PURGE_APPLIED, 3}},
    {&race_purge,
     {0, 1, 0, 0, 0},
     {"applied-relaxed", "purge_applied is stored relaxed", LIE_RELAX_STORE, RACE_PURGE_APPLIED, 0,
      3}},
    {&race_budget,
     {1, 2, 0, 1, 0},
     {"unsettled-late", "`unsettled` is raised after head was released", LIE_HOLD, RACE_UNSETTLED,
      RACE_HEAD, 1}},
    {&race_budget,
     {1, 2, 0, 1, 0},
     {"unsettled-early", "`unsettled` is lowered before row_count is released", LIE_HOLD,
      RACE_ROW_COUNT, RACE_UNSETTLED, 1}},
    {&race_budget,
     {1, 2, 0, 1, 0},
     {"taken-relaxed", "head is stored relaxed, `unsettled` with it", LIE_RELAX_STORE, RACE_HEAD, 0,
      1}},
};
enum { LIES = sizeof lies / sizeof lies[0] };

static struct {
    bool deep, truth, verbose;
    const char *lie, *scenario;
    unsigned long states_max;
    struct race_parameters parameters;
    bool has_parameters;
} options;

static double cpu_s(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)used.ru_utime.tv_sec + (double)used.ru_utime.tv_usec / 1e6 +
           (double)used.ru_stime.tv_sec + (double)used.ru_stime.tv_usec / 1e6;
}

static long peak_mib(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_maxrss / 1024;
}

static void say_parameters(const struct race_parameters *p)
{
    printf("slots %u, entries %u, deaths %u, reads %u, variant %u", p->slots, p->entries,
           p->crashes, p->readers, p->variant);
}

static struct {
    unsigned long states, steps, crashes;
    unsigned number, broken;
} total;

static void explore(const struct race_scenario *scenario, const struct race_parameters *parameters)
{
    struct race_result result;
    double begun_s = cpu_s();
    race_lie = NULL;
    race_explore(scenario, parameters, options.states_max, &result, stdout);
    bool good = !result.broken && !result.full;
    printf("%s %u - %s (", good ? "ok" : "not ok", ++total.number, scenario->name);
    say_parameters(parameters);
    printf("): %lu states, %lu steps, %lu deaths, depth %u: %s\n", result.states, result.steps,
           result.crashes, result.depth,
           result.broken ? result.broken
           : result.full ? "cut off, farther states were not visited"
                         : "0 violations");
    printf("# %.1f s of CPU, %ld MiB so far\n", cpu_s() - begun_s, peak_mib());
    fflush(stdout);
    total.states += result.states;
    total.steps += result.steps;
    total.crashes += result.crashes;
    total.broken += !good;
}

static void find_lie(const struct lie *one)
{
    struct race_result result;
    race_lie = &one->lie;
    race_explore(one->scenario, &one->parameters, 0, &result,
                 options.verbose || options.lie ? stdout : NULL);
    race_lie = NULL;
    if (result.broken)
        printf("ok %u - %s: found in %u steps: %s\n", ++total.number, one->lie.words, result.moves,
               result.broken);
    else
        printf("not ok %u - %s: nothing found in %lu states\n", ++total.number, one->lie.words,
               result.states);
    fflush(stdout);
    total.broken += !result.broken;
}

static void usage(FILE *file)
{
    fprintf(file, "usage: race [--deep] [--truth] [--verbose] [--states-max=N]\n"
                  "       race --lie=NAME\n"
                  "       race --scenario=NAME [--bounds=slots,entries,deaths,reads,variant]\n\n"
                  "Visits every state that the parties of a scenario can reach, stale reads and\n"
                  "deaths included, then tells the production code lies that have to be found.\n\n"
                  "  --deep     larger bounds, too\n"
                  "  --truth    no lies\n"
                  "  --verbose  how each lie is found\n\nscenarios:\n");
    const struct race_scenario *last = NULL;
    for (unsigned i = 0; i < EXPLORATIONS; i++) {
        if (explorations[i].scenario != last)
            fprintf(file, "  %-10s %s\n", explorations[i].scenario->name,
                    explorations[i].scenario->words);
        last = explorations[i].scenario;
    }
    fprintf(file, "\nlies:\n");
    for (unsigned i = 0; i < LIES; i++)
        fprintf(file, "  %-22s %s\n", lies[i].lie.name, lies[i].lie.words);
}

static bool parse_bounds(const char *text)
{
    struct race_parameters *p = &options.parameters;
    options.has_parameters = true;
    return sscanf(text, "%u,%u,%u,%u,%u", &p->slots, &p->entries, &p->crashes, &p->readers,
                  &p->variant) == 5;
}

static bool parse(int argc, char **argv)
{
    static const struct option known[] = {{"deep", no_argument, NULL, 'd'},
                                          {"truth", no_argument, NULL, 't'},
                                          {"verbose", no_argument, NULL, 'v'},
                                          {"lie", required_argument, NULL, 'l'},
                                          {"scenario", required_argument, NULL, 's'},
                                          {"bounds", required_argument, NULL, 'b'},
                                          {"states-max", required_argument, NULL, 'm'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        options.deep |= option == 'd';
        options.truth |= option == 't';
        options.verbose |= option == 'v';
        options.lie = option == 'l' ? optarg : options.lie;
        options.scenario = option == 's' ? optarg : options.scenario;
        if (option == 'm')
            options.states_max = strtoul(optarg, NULL, 10);
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (option == '?' || (option == 'b' && !parse_bounds(optarg)))
            return false;
    }
    return optind == argc;
}

static bool is_wanted(const struct exploration *e)
{
    return !options.lie && (!e->deep || options.deep) &&
           (!options.scenario || !strcmp(options.scenario, e->scenario->name));
}

static bool is_wanted_lie(const struct lie *one)
{
    return options.lie ? !strcmp(options.lie, one->lie.name) : !options.truth && !options.scenario;
}

int main(int argc, char **argv)
{
    if (!parse(argc, argv)) {
        usage(stderr);
        return 2;
    }
    for (unsigned i = 0; i < EXPLORATIONS; i++)
        if (is_wanted(&explorations[i])) {
            explore(explorations[i].scenario,
                    options.has_parameters ? &options.parameters : &explorations[i].parameters);
            if (options.has_parameters)
                break;
        }
    for (unsigned i = 0; i < LIES; i++)
        if (is_wanted_lie(&lies[i]))
            find_lie(&lies[i]);
    printf("# %lu states, %lu steps, %lu deaths\n1..%u\n", total.states, total.steps, total.crashes,
           total.number);
    return total.broken || !total.number;
}
