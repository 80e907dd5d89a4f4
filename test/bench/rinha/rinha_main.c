/* rinha: the public test of the challenge as a program, against any gateway and any processors.
 *
 * Purges everything, lets virtual users post for 60 s while the processors go through their stages
 * and an auditor compares the books, and writes the score and all that it follows from as JSON.
 */
#include "test/bench/rinha/director.h"
#include "test/bench/rinha/report.h"
#include "test/bench/rinha/settings.h"
#include "test/bench/rinha/tally.h"
#include "test/bench/rinha/users.h"
#include "test/lib/client/clock.h"

#include <getopt.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

enum { EVENTS_MAX = 256, USERS_MAX = 10000, TOKEN_MAX = 128 };

/* How often calls are looked at for having taken too long. */
static const int64_t ROUND_NS = 10 * NS_PER_MS;

/* Awake so long before a user is to post: waking takes the kernel 20 to 60 us, which would
 * otherwise be part of every latency. At the test's 550 posts a second it costs 3 % of a
 * processor. */
static const int64_t SPIN_NS = 60 * NS_PER_US;

struct run {
    struct settings settings;
    struct tally tally;
    struct director director;
    struct users users;
    int epoll;
    int64_t next_round_ns;
};

/* --- the loop ----------------------------------------------------------------------------- */

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* Handle what comes until `next_ns` or the next round of looking, whichever is first. */
static void wait_and_handle(struct run *run, int64_t next_ns)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t now = clock_now_ns();
    int64_t until = earlier(next_ns == INT64_MAX ? next_ns : next_ns - SPIN_NS, run->next_round_ns);
    int64_t wait = until > now ? until - now : 0;
    struct timespec timeout = {.tv_sec = wait / NS_PER_S, .tv_nsec = wait % NS_PER_S};
    int n = epoll_pwait2(run->epoll, events, EVENTS_MAX, &timeout, NULL);
    for (int i = 0; i < n; i++)
        caller_on_event(events[i].data.ptr);
    now = clock_now_ns();
    if (now < run->next_round_ns)
        return;
    run->next_round_ns = now + ROUND_NS;
    users_look_at_time(&run->users, now);
    director_look_at_time(&run->director, now);
}

static void wait_for_director(struct run *run)
{
    while (director_is_busy(&run->director))
        wait_and_handle(run, INT64_MAX);
}

static void load(struct run *run)
{
    int64_t begin = clock_now_ns(), now = begin;
    int64_t end = begin + (int64_t)(run->settings.seconds * 1e9);
    bool directed = !run->settings.load_only;
    users_start(&run->users, begin, end);
    if (directed)
        director_start(&run->director, begin);
    while (!users_are_done(&run->users, now) || director_is_busy(&run->director)) {
        if (directed)
            director_turn(&run->director, now);
        users_turn(&run->users, now);
        int64_t next = users_next_ns(&run->users);
        if (directed)
            next = earlier(next, director_next_ns(&run->director));
        wait_and_handle(run, next);
        now = clock_now_ns();
    }
}

/* --- the whole of it ---------------------------------------------------------------------- */

static bool play(struct run *run)
{
    director_purge(&run->director);
    wait_for_director(run);
    if (!run->director.purged[DEFAULT] || !run->director.purged[FALLBACK]) {
        fputs("rinha: a processor cannot be purged: is it there, is --token right?\n", stderr);
        return false;
    }
    if (run->director.gateway_purge_status / 100 != 2)
        fprintf(stderr, "rinha: the gateway was not purged: status %d\n",
                run->director.gateway_purge_status);
    load(run);
    director_ask_totals(&run->director);
    wait_for_director(run);
    const struct answers *totals = &run->director.inquiry.answers;
    if (totals->processor_failed[DEFAULT] || totals->processor_failed[FALLBACK]) {
        fputs("rinha: a processor does not tell its total\n", stderr);
        return false;
    }
    report_write(&run->settings, &run->tally, &run->director, stdout);
    return run->director.stage_failures == 0;
}

static bool begin_and_play(struct run *run)
{
    run->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (run->epoll < 0 || !users_create(&run->users, &run->settings, &run->tally, run->epoll))
        return false;
    director_init(&run->director, &run->settings, &run->tally, run->epoll);
    bool worked = true;
    if (run->settings.load_only) {
        load(run);
        report_write_load(&run->settings, &run->tally, stdout);
    } else {
        worked = play(run);
    }
    if (worked && run->tally.accepted == 0) {
        fputs("rinha: the gateway accepted nothing\n", stderr);
        worked = false;
    }
    director_free(&run->director);
    users_destroy(&run->users);
    return worked;
}

/* --- options ------------------------------------------------------------------------------ */

static const char USAGE[] =
    "rinha [options]: the public 60 s test; the score as JSON on standard output\n"
    "  --gateway URL    (default http://127.0.0.1:9999)\n"
    "  --default URL    (default http://127.0.0.1:8001)\n"
    "  --fallback URL   (default http://127.0.0.1:8002)\n"
    "  --token TEXT     of the processors' admin calls (default 123)\n"
    "  --seconds S      other than 60: stages and audits are scaled (default 60)\n"
    "  --vus N          virtual users at the end (default 550)\n"
    "  --seed X         decides the ids (default: a new one each time)\n"
    "  --load-only      post to the gateway and do nothing else: no purge, stages, audits, score\n"
    "A URL is http://HOST[:PORT], HOST:PORT or unix:PATH.\n"
    "Status 0: the run worked, whatever its score; 1: it did not; 2: a bad option.\n";

static double number(const char *text, const char *option, double max)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end || !isfinite(value) || value <= 0 || value > max) {
        fprintf(stderr, "rinha: --%s: \"%s\" is not a number above 0 and up to %.0f\n", option,
                text, max);
        exit(2);
    }
    return value;
}

static void set_target(struct target *target, const char *text, const char *option)
{
    if (target_parse(target, text))
        return;
    fprintf(stderr, "rinha: --%s: \"%s\" is no URL, or its host is not known\n", option, text);
    exit(2);
}

static void set_token(struct settings *settings, const char *text)
{
    if (strlen(text) > TOKEN_MAX || strpbrk(text, "\r\n")) {
        fputs("rinha: --token: too long, or more than a line\n", stderr);
        exit(2);
    }
    settings->token = text;
}

static void read_options(struct settings *settings, int argc, char **argv)
{
    static const struct option options[] = {
        {"gateway", required_argument, NULL, 'g'},  {"default", required_argument, NULL, 'd'},
        {"fallback", required_argument, NULL, 'f'}, {"token", required_argument, NULL, 't'},
        {"seconds", required_argument, NULL, 's'},  {"vus", required_argument, NULL, 'v'},
        {"seed", required_argument, NULL, 'x'},     {"load-only", no_argument, NULL, 'l'},
        {"help", no_argument, NULL, 'h'},           {NULL, 0, NULL, 0},
    };
    const char *gateway = "http://127.0.0.1:9999";
    const char *urls[PROCESSORS] = {"http://127.0.0.1:8001", "http://127.0.0.1:8002"};
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        const char *name = option == '?' ? "" : options[index].name;
        switch (option) {
        case 'g':
            gateway = optarg;
            break;
        case 'd':
            urls[DEFAULT] = optarg;
            break;
        case 'f':
            urls[FALLBACK] = optarg;
            break;
        case 't':
            set_token(settings, optarg);
            break;
        case 's':
            settings->seconds = number(optarg, name, 86400);
            break;
        case 'v':
            settings->users = (unsigned)ceil(number(optarg, name, USERS_MAX));
            break;
        case 'x':
            settings->seed = (uint64_t)number(optarg, name, 9007199254740992.0);
            break;
        case 'l':
            settings->load_only = true;
            break;
        default:
            fputs(USAGE, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (optind < argc) {
        fputs(USAGE, stderr);
        exit(2);
    }
    set_target(&settings->gateway, gateway, "gateway");
    set_target(&settings->processors[DEFAULT], urls[DEFAULT], "default");
    set_target(&settings->processors[FALLBACK], urls[FALLBACK], "fallback");
}

int main(int argc, char **argv)
{
    static struct run run;
    run.settings = (struct settings){.token = "123",
                                     .seconds = PUBLIC_SECONDS,
                                     .users = PUBLIC_USERS,
                                     .seed = (uint64_t)clock_wall_us()};
    read_options(&run.settings, argc, argv);
    clock_wake_on_time();
    bool worked = begin_and_play(&run);
    if (fflush(stdout) != 0) {
        perror("rinha");
        return 1;
    }
    return worked ? 0 : 1;
}
