/* load: an open-loop load generator for the gateway.
 *
 * Requests begin when the schedule says so, whatever the server does, and their latency counts from
 * then on. One thread; the results are one line of JSON on standard output.
 */
#include "test/bench/load/generator.h"
#include "test/bench/load/report.h"
#include "test/lib/client/clock.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

/* Bytes of an amount's text and of a path: a request is written into a buffer of fixed size, with
 * two digits of Content-Length. */
enum { AMOUNT_MAX = 30, PATH_BYTES_MAX = 1024 };

static const char USAGE[] =
    "load --target unix:PATH|HOST:PORT|http://HOST:PORT [--target ...] [options]\n"
    "  --rate R              requests a second (default 100)\n"
    "  --ramp-to R           change the rate linearly to R at the end\n"
    "  --seconds S           for how long requests begin (default 10)\n"
    "  --connections K       spread evenly over the targets (default 64)\n"
    "  --get PATH            GET that path instead of POST /payments\n"
    "  --amounts A,B,...     JSON numbers to choose from (default 19.90)\n"
    "  --duplicates PERCENT  repeat an earlier id with its amount\n"
    "  --conflicts PERCENT   repeat an earlier id with --conflict-amount (default 7777.77)\n"
    "  --seed X              decides ids, amounts and repetitions (default: a new one each time)\n"
    "  --timeout-ms T        without an answer it has failed (default 10000)\n"
    "  --patience-s S        after the end, for what is still due or out (default 10)\n"
    "  --spin-us U           poll for the last U us before a request is due: begins on time, and\n"
    "                        takes a processor for that long (default 0)\n"
    "  --awake               never sleep: nobody has to wake us, and a processor is ours alone\n"
    "  --log FILE            a line a request: id, amount, status or \"lost\", target, sent_us\n"
    "                        (wall clock), latency_us (from when it was due), tabs between\n"
    "Latencies are in us, correct to 1 %, from when a request was due (latency_us: those answered\n"
    "2xx; refused_us: any other status), and from when it was sent (service_us). send_delay_us is\n"
    "how late requests were sent, generator_lag_us the part of it that is not the server's.\n"
    "TERM ends it early: nothing more becomes due, what is out is waited for.\n"
    "Status 0: something was answered; 1: nothing; 2: it could not begin.\n";

static double number(const char *text, const char *option, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value < 0 || value > max) {
        fprintf(stderr, "load: --%s: \"%s\" is not a number up to %.0f\n", option, text, max);
        exit(2);
    }
    return value;
}

static uint64_t seed_of(const char *text)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-') {
        fprintf(stderr, "load: --seed: \"%s\" is not a whole number\n", text);
        exit(2);
    }
    return value;
}

static void set_amounts(struct plan *plan, char *list)
{
    plan->amount_count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (plan->amount_count == PLAN_AMOUNTS_MAX || strlen(word) > AMOUNT_MAX) {
            fputs("load: --amounts: too many or too long\n", stderr);
            exit(2);
        }
        plan->amounts[plan->amount_count++] = word;
    }
}

static void add_target(struct load_settings *settings, const char *text)
{
    if (settings->target_count == LOAD_TARGETS_MAX ||
        !target_parse(&settings->targets[settings->target_count], text)) {
        fprintf(stderr, "load: --target: \"%s\" is no target, or one too many\n", text);
        exit(2);
    }
    settings->target_count++;
}

static void open_log(struct load_settings *settings, const char *path)
{
    settings->log = fopen(path, "we");
    if (!settings->log) {
        fprintf(stderr, "load: --log: %s: %s\n", path, strerror(errno));
        exit(2);
    }
}

static void set_option(struct load_settings *settings, int option, const char *name, char *value)
{
    switch (option) {
    case 't':
        add_target(settings, value);
        break;
    case 'r':
        settings->schedule.first_per_s = number(value, name, 1e7);
        break;
    case 'R':
        settings->schedule.last_per_s = number(value, name, 1e7);
        break;
    case 's':
        settings->schedule.duration_s = number(value, name, 86400);
        break;
    case 'k':
        settings->connection_count = (unsigned)number(value, name, LOAD_CONNECTIONS_MAX);
        break;
    case 'g':
        settings->get_path = value;
        break;
    case 'a':
        set_amounts(&settings->plan, value);
        break;
    case 'd':
        settings->plan.duplicate_percent = (unsigned)number(value, name, 100);
        break;
    case 'c':
        settings->plan.conflict_percent = (unsigned)number(value, name, 100);
        break;
    case 'C':
        if (strlen(value) > AMOUNT_MAX) {
            fputs("load: --conflict-amount: too long\n", stderr);
            exit(2);
        }
        settings->plan.conflict_amount = value;
        break;
    case 'x':
        settings->plan.seed = seed_of(value);
        break;
    case 'T':
        settings->timeout_ns = (int64_t)(number(value, name, 3.6e6) * (double)NS_PER_MS);
        break;
    case 'p':
        settings->patience_ns = (int64_t)(number(value, name, 3600) * (double)NS_PER_S);
        break;
    case 'S':
        settings->spin_ns = (int64_t)(number(value, name, 1e6) * (double)NS_PER_US);
        break;
    case 'w':
        settings->awake = true;
        break;
    case 'l':
        open_log(settings, value);
        break;
    default:
        fputs(USAGE, option == 'h' ? stdout : stderr);
        exit(option == 'h' ? 0 : 2);
    }
}

static void read_options(struct load_settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        {"target", required_argument, NULL, 't'},
        {"rate", required_argument, NULL, 'r'},
        {"ramp-to", required_argument, NULL, 'R'},
        {"seconds", required_argument, NULL, 's'},
        {"connections", required_argument, NULL, 'k'},
        {"get", required_argument, NULL, 'g'},
        {"amounts", required_argument, NULL, 'a'},
        {"duplicates", required_argument, NULL, 'd'},
        {"conflicts", required_argument, NULL, 'c'},
        {"conflict-amount", required_argument, NULL, 'C'},
        {"seed", required_argument, NULL, 'x'},
        {"timeout-ms", required_argument, NULL, 'T'},
        {"patience-s", required_argument, NULL, 'p'},
        {"spin-us", required_argument, NULL, 'S'},
        {"awake", no_argument, NULL, 'w'},
        {"log", required_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1)
        set_option(settings, option, option == '?' ? "" : options[index].name, optarg);
    const struct schedule *schedule = &settings->schedule;
    if (settings->schedule.last_per_s < 0)
        settings->schedule.last_per_s = schedule->first_per_s;
    if (optind < argc || settings->target_count == 0 || settings->connection_count == 0 ||
        settings->plan.amount_count == 0 || schedule_count(schedule) == 0 ||
        (settings->get_path &&
         (*settings->get_path != '/' || strlen(settings->get_path) > PATH_BYTES_MAX))) {
        fputs(USAGE, stderr);
        exit(2);
    }
}

static volatile sig_atomic_t told_to_end;

static void on_term(int number)
{
    (void)number;
    told_to_end = 1;
}

int main(int argc, char **argv)
{
    static struct load_settings settings = {
        .schedule = {.first_per_s = 100, .last_per_s = -1, .duration_s = 10},
        .plan = {.amounts = {"19.90"}, .amount_count = 1, .conflict_amount = "7777.77"},
        .connection_count = 64,
        .timeout_ns = 10 * NS_PER_S,
        .patience_ns = 10 * NS_PER_S,
        .enough = &told_to_end,
    };
    static struct load_results results;
    settings.plan.seed = (uint64_t)clock_wall_us();
    read_options(&settings, argc, argv);
    plan_begin(&settings.plan);
    clock_wake_on_time();
    signal(SIGTERM, on_term);
    if (!generator_run(&settings, &results))
        return 2;
    report_write(&settings, &results, stdout);
    if ((settings.log && fclose(settings.log) != 0) || fflush(stdout) != 0) {
        perror("load");
        return 2;
    }
    return results.took_ns > 0 ? 0 : 1;
}
