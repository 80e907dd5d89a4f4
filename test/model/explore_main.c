/* Explore the payment protocol; prints TAP. Status 0: nothing is broken; 1: a promise is; 2: usage.
 */
#include <getopt.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#include "test/model/bounds.h"
#include "test/model/explore.h"
#include "test/model/model.h"
#include "test/model/rules.h"

struct exploration {
    const char *name;
    const char *usual; /* together: a minute of CPU, 320 MiB */
    const char *deep;  /* together: five minutes, 2 GiB */
};

/* More than any deep exploration reaches; keeps one that was made too large to about 4 GiB. */
#define DEEP_STATES_MAX 40000000ul

/* Each thing that can go wrong does in some of these; the deep ones let more of them meet. */
static const struct exploration explorations[] = {
    {"one payment: deaths, delays, refusals, copies through two APIs, forgetting",
     "rings=2 copies=3 conflicts=1 crashes=2 rotations=2 times=2 bad_requests=1",
     "rings=2 copies=4 conflicts=2 crashes=3 rotations=3 times=2 bad_requests=1"},
    {"a payment that may stand in a book before it comes",
     "copies=2 conflicts=1 crashes=2 rotations=2 times=1 foreign=1 false_positives=1 young=1 "
     "bad_requests=1",
     "rings=2 copies=3 conflicts=1 crashes=2 rotations=3 times=2 foreign=1 false_positives=1 "
     "young=1 bad_requests=1"},
    {"one payment and two purges", "rings=2 copies=3 conflicts=1 crashes=2 purges=2 times=1",
     "rings=2 copies=4 conflicts=1 crashes=3 purges=2 times=2"},
    {"two purges while the books are asked",
     "copies=2 crashes=2 purges=2 times=2 foreign=1 false_positives=1 young=1",
     "rings=2 copies=3 crashes=2 purges=2 rotations=2 times=1 foreign=1 false_positives=1 "
     "young=1 bad_requests=1"},
    {"two payments take turns with one record",
     "ids=2 rings=2 copies=2 crashes=2 rotations=2 times=1",
     "ids=2 rings=2 copies=2 crashes=3 rotations=3 times=2"},
    {"two payments take turns, are asked for and purged",
     "ids=2 copies=2 crashes=1 purges=1 times=1 foreign=1 false_positives=1 young=1",
     "ids=2 rings=2 copies=2 crashes=2 purges=1 times=1 foreign=1 false_positives=1 young=1"},
    {"two payments side by side", "ids=2 records=2 rings=2 copies=2 crashes=2 times=2",
     "ids=2 records=2 rings=2 copies=3 crashes=3 times=2"},
    {"two payments side by side and a purge", "ids=2 records=2 copies=2 crashes=1 purges=1 times=1",
     "ids=2 records=2 copies=2 conflicts=1 crashes=2 purges=1 times=1"},
    {"a payment that a person decides about, truthfully",
     "rings=2 copies=2 conflicts=1 crashes=2 times=2 decisions=2",
     "rings=2 copies=3 conflicts=1 crashes=3 rotations=2 times=2 decisions=3 bad_requests=1"},
    {"one that may stand in a book, decided about and purged",
     "copies=2 crashes=1 purges=1 times=1 foreign=1 false_positives=1 decisions=2",
     "copies=2 crashes=2 purges=2 times=1 foreign=1 false_positives=1 young=1 decisions=2"},
    {"one payment and cold starts of a journal in sync",
     "rings=2 copies=2 conflicts=1 crashes=1 rotations=2 times=2 cold=2 sync=1 sleepers=1",
     "rings=2 copies=3 conflicts=1 crashes=2 rotations=2 times=2 cold=2 sync=1 sleepers=1"},
    {"one payment and cold starts of a journal in async",
     "rings=2 copies=2 conflicts=1 crashes=1 times=2 cold=2",
     "rings=2 copies=3 conflicts=1 crashes=2 times=2 cold=2"},
    {"cold starts in sync, and a book that holds the payment already",
     "copies=2 conflicts=1 crashes=1 rotations=2 times=1 foreign=1 false_positives=1 cold=1 sync=1",
     "rings=2 copies=2 conflicts=1 crashes=1 rotations=2 times=1 foreign=1 false_positives=1 "
     "cold=2 sync=1"},
    {"cold starts in async, and a book that holds the payment already",
     "copies=2 conflicts=1 crashes=1 times=1 foreign=1 false_positives=1 cold=1",
     "copies=2 conflicts=1 crashes=1 times=2 foreign=1 false_positives=1 cold=2"},
    {"a cold start in sync of a journal that forgets",
     "copies=2 crashes=1 rotations=2 times=2 cold=1 sync=1 journal_forgets=1",
     "rings=2 copies=3 crashes=1 rotations=3 times=2 cold=2 sync=1 journal_forgets=1"},
    {"two payments and a cold start in sync",
     "ids=2 copies=2 crashes=1 times=1 cold=1 sync=1 sleepers=1",
     "ids=2 records=2 copies=2 crashes=1 times=1 cold=1 sync=1 sleepers=1"},
    {"two payments and a cold start in async", "ids=2 records=2 copies=1 crashes=1 times=1 cold=1",
     "ids=2 records=2 copies=2 crashes=1 times=1 cold=1"},
    {"three payments on two records", "ids=3 records=2 copies=1 crashes=2 times=1",
     "ids=3 records=2 rings=2 copies=1 crashes=2 times=2"},
};
/* In little memory: three ids, and what meets them. Together: two minutes, 1 GiB. */
static const struct exploration compact_explorations[] = {
    {"three payments, one of them in a book or conflicting, take turns with one record", NULL,
     "ids=3 records=1 rings=2 copies=1 conflicts=1 crashes=2 times=1 foreign=1"},
    {"three payments on three records", NULL, "ids=3 records=3 rings=2 copies=1 crashes=2 times=1"},
    {"three payments and their copies on two records", NULL,
     "ids=3 records=2 rings=2 copies=2 crashes=1 times=1"},
    {"two payments, a conflict, a book that holds one already, and a purge", NULL,
     "ids=2 records=1 rings=2 copies=1 conflicts=1 crashes=1 purges=1 times=1 foreign=1"},
    {"three payments, one of them in a book or conflicting, on two records", NULL,
     "ids=3 records=2 rings=2 copies=1 conflicts=1 crashes=2 times=1 foreign=1"},
    {"three payments, a conflict, a book that holds one already, and a purge", NULL,
     "ids=3 records=1 rings=2 copies=1 conflicts=1 crashes=1 purges=1 times=1 foreign=1"},
    {"three payments with a conflict, and a person who decides", NULL,
     "ids=3 records=1 rings=2 copies=1 conflicts=1 crashes=1 times=1 decisions=1"},
};
enum { COMPACT_EXPLORATIONS = sizeof compact_explorations / sizeof compact_explorations[0] };

enum { EXPLORATIONS = sizeof explorations / sizeof explorations[0] };

struct options {
    bool deep, self_test, verbose;
    const char *bounds; /* explore these instead */
    unsigned long states_max;
    unsigned long compact_mib; /* 0: breadth first */
};

static void usage(FILE *file)
{
    fprintf(file,
            "usage: model [--deep] [--without=RULE] [--states-max=N]\n"
            "       model --bounds='NAME=N ...' [--without=RULE] [--states-max=N]\n"
            "       model --self-test [--verbose]\n\n"
            "Visits every state that one lane can reach within small bounds, deaths between any\n"
            "two stores included, and says how the first broken promise comes about.\n\n"
            "  --deep          larger bounds: five minutes, 2 GiB\n"
            "  --states-max=N  end an exploration after N states, 0 = never (deep: %lu)\n"
            "  --compact=MIB   8 bytes a state in a table of so many MiB (a power of two): more "
            "states,\n"
            "                  no shortest trace\n"
            "  --bounds=...    one exploration within these bounds:\n",
            DEEP_STATES_MAX);
    model_bounds_help(file);
    fprintf(file, "  --self-test     break each rule of the protocol: each has to break a promise\n"
                  "  --verbose       and tell how\n"
                  "  --without=RULE  break one of them:\n");
    model_rules_help(file);
}

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

struct total {
    unsigned long states, transitions;
    unsigned broken, cut_off;
};

static void explore(struct total *total, unsigned number, const char *name,
                    unsigned long compact_mib)
{
    struct model_result result;
    double begun_s = cpu_s();
    printf("# %s:", name);
    model_bounds_print(&model_bounds, stdout);
    printf("\n");
    fflush(stdout);
    if (compact_mib)
        model_explore_compact(&result, compact_mib, stdout);
    else
        model_explore(&result, stdout);
    bool cut_off = result.full || result.cut;
    if (result.broken)
        printf("not ok %u - %s: %s after %u moves\n", number, name, result.broken, result.moves);
    else
        printf("ok %u - %s: %lu states, %lu transitions, depth %u, 0 violations\n", number, name,
               result.states, result.transitions, result.depth);
    if (result.full)
        printf("# cut off after %lu states: the others were not visited\n", result.states);
    if (result.cut)
        printf("# cut off: %lu moves led to states larger than the model holds\n", result.cut);
    printf("# %.1f s of CPU, %ld MiB so far\n", cpu_s() - begun_s, peak_mib());
    fflush(stdout);
    total->states += result.states;
    total->transitions += result.transitions;
    total->broken += result.broken != NULL;
    total->cut_off += cut_off;
}

static int report(const struct total *total)
{
    printf("# %lu states, %lu transitions, %u violations", total->states, total->transitions,
           total->broken);
    if (total->cut_off)
        printf("; %u explorations were cut off\n", total->cut_off);
    else
        printf(total->broken ? "\n" : "; every state was visited\n");
    return total->broken > 0;
}

static bool begin(const struct options *options, const char *bounds)
{
    model_bounds = (struct model_bounds){
        .ids = 1, .records = 1, .rings = 1, .times = 1, .states_max = options->states_max};
    return model_bounds_parse(&model_bounds, bounds);
}

static int run(const struct options *options)
{
    struct total total = {0};
    bool compact = options->compact_mib > 0;
    unsigned count = options->bounds ? 1 : compact ? COMPACT_EXPLORATIONS : EXPLORATIONS;
    if (options->bounds && !begin(options, options->bounds))
        return 2;
    printf("1..%u\n", count);
    for (unsigned i = 0; i < count; i++) {
        const struct exploration *e = compact ? &compact_explorations[i] : &explorations[i];
        if (!options->bounds && !begin(options, options->deep || compact ? e->deep : e->usual))
            return 2;
        explore(&total, i + 1, options->bounds ? "as asked" : e->name, options->compact_mib);
    }
    return report(&total);
}

static bool parse(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"deep", no_argument, NULL, 'd'},
        {"states-max", required_argument, NULL, 'm'},
        {"bounds", required_argument, NULL, 'b'},
        {"self-test", no_argument, NULL, 's'},
        {"compact", required_argument, NULL, 'c'},
        {"without", required_argument, NULL, 'w'},
        {"verbose", no_argument, NULL, 'v'},
        {"help", no_argument, NULL, 'h'},
        {0},
    };
    const char *states_max = NULL, *compact = NULL;
    char *end;
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        options->deep |= option == 'd';
        options->self_test |= option == 's';
        options->verbose |= option == 'v';
        options->bounds = option == 'b' ? optarg : options->bounds;
        compact = option == 'c' ? optarg : compact;
        states_max = option == 'm' ? optarg : states_max;
        if (option == 'h') {
            usage(stdout);
            exit(0);
        }
        if (option == 'w')
            model_rule_off = model_rule_named(optarg);
        if (option == '?' || model_rule_off == RULES)
            return false;
    }
    options->states_max = options->deep ? DEEP_STATES_MAX : 0;
    if (states_max)
        options->states_max = strtoul(states_max, &end, 10);
    if (compact)
        options->compact_mib = strtoul(compact, NULL, 10);
    return optind == argc && (!states_max || (end != states_max && !*end));
}

int main(int argc, char **argv)
{
    struct options options = {0};
    if (!parse(&options, argc, argv)) {
        fprintf(stderr, "model: not understood; --help says what is\n");
        return 2;
    }
    if (options.self_test)
        return model_self_test(options.verbose ? stdout : NULL);
    return run(&options);
}
