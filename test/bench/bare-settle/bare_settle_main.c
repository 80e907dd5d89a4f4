/* bare-settle: the least that a program has to do to post payments with libcurl, to know what the
 * worker's own work costs beside it. Libcurl is used as its manual says; with --lean the worker's
 * options that make it cheaper (worker/upstream.c) are this one's too.
 *
 *   bare-settle --url URL [--lanes N] [--concurrency C] [--warm-ms W] [--seconds S] [--rate R]
 * [--lean]
 *
 * Each lane is a thread with a libcurl multi of its own, and keeps C payments in flight all the
 * time: handles are set up once, nothing but the body changes, curl_multi_perform and
 * curl_multi_poll are all that is called in between (the cheaper one of libcurl's two ways). The
 * body is what payring-worker sends, by the same function. Of an answer no more is looked at than
 * its status. It remembers nothing, and what it was told is lost with it.
 *
 * Counted is what is answered with 200 in S seconds (default 5) after W ms (default 1000), and the
 * process's CPU of that time. With --rate it is no loop but sends R a second, from the start and
 * for S seconds; what cannot be sent when it is due, since C are in flight, is sent later, and what
 * has no answer GRACE_MS after the end has none. TERM ends it earlier. Prints one line of JSON; if
 * anything but a 200 was answered, it is no figure and the exit status is 1. */
#include "common/clock.h"
#include "common/payment_json.h"

#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { LANES_MAX = 16, CONCURRENCY_MAX = 1024, AMOUNT_CENTS = 1990, GRACE_MS = 1000 };

struct options {
    const char *url;
    unsigned lanes, concurrency;
    int64_t warm_ms, seconds;
    bool is_lean;
    int64_t rate; /* a second, of all lanes; 0: as many as are answered */
};

struct transfer {
    CURL *easy;
    char request[PAYMENT_JSON_REQUEST_SIZE];
};

struct lane {
    const struct options *options;
    pthread_t thread;
    struct uuid id;
    atomic_bool *done;
    _Atomic uint64_t settled, failed;
    int64_t begin_us;
    uint64_t started;
    unsigned idle_count;
    struct transfer *idle[CONCURRENCY_MAX];
    struct transfer transfers[CONCURRENCY_MAX];
};

_Noreturn static void give_up(const char *what)
{
    fprintf(stderr, "bare-settle: %s\n", what);
    exit(2);
}

static size_t ignore_body(char *bytes, size_t size, size_t count, void *context)
{
    (void)bytes, (void)context;
    return size * count;
}

/* What a transfer need not cost. */
static void make_lean(CURL *easy, CURLU *parsed)
{
    if (curl_easy_setopt(easy, CURLOPT_CURLU, parsed) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 1024L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_CAINFO, NULL) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_CAPATH, NULL) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PROXY_CAINFO, NULL) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PROXY_CAPATH, NULL) != CURLE_OK)
        give_up("libcurl refuses an option");
}

static void prepare(struct transfer *transfer, const char *url, struct curl_slist *headers)
{
    CURL *easy = transfer->easy = curl_easy_init();
    if (!easy || curl_easy_setopt(easy, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, transfer->request) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, ignore_body) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L) != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_PROXY, "") != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_NOPROXY, "*") != CURLE_OK ||
        curl_easy_setopt(easy, CURLOPT_TCP_NODELAY, 1L) != CURLE_OK)
        give_up("libcurl refuses an option");
}

static int64_t us_of(clockid_t clock)
{
    struct timespec now;
    clock_gettime(clock, &now);
    return now.tv_sec * INT64_C(1000000) + now.tv_nsec / 1000;
}

/* What --rate makes due by then, of one lane. */
static uint64_t due_until(const struct options *options, int64_t us)
{
    int64_t end_us = options->seconds * 1000000;
    return (uint64_t)((us < end_us ? us : end_us) * options->rate / options->lanes / 1000000);
}

static void post(struct lane *lane, CURLM *multi, struct transfer *transfer)
{
    lane->id.lo++;
    size_t length =
        payment_json_write_request(transfer->request, &lane->id, AMOUNT_CENTS, clock_wall_ms());
    if (curl_easy_setopt(transfer->easy, CURLOPT_POSTFIELDSIZE, (long)length) != CURLE_OK ||
        curl_multi_add_handle(multi, transfer->easy) != CURLM_OK)
        give_up("libcurl takes no request");
}

static void post_what_is_due(struct lane *lane, CURLM *multi)
{
    uint64_t due = UINT64_MAX;
    if (lane->options->rate > 0)
        due = due_until(lane->options, us_of(CLOCK_MONOTONIC) - lane->begin_us);
    for (; lane->idle_count > 0 && lane->started < due; lane->started++)
        post(lane, multi, lane->idle[--lane->idle_count]);
}

/* One that was answered is the next one to be sent. */
static void collect(struct lane *lane, CURLM *multi)
{
    int left;
    CURLMsg *message;
    while ((message = curl_multi_info_read(multi, &left)) != NULL) {
        long status = 0;
        struct transfer *transfer;
        curl_easy_getinfo(message->easy_handle, CURLINFO_RESPONSE_CODE, &status);
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
        _Atomic uint64_t *counter =
            message->data.result == CURLE_OK && status == 200 ? &lane->settled : &lane->failed;
        atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + 1,
                              memory_order_relaxed);
        curl_multi_remove_handle(multi, transfer->easy);
        lane->idle[lane->idle_count++] = transfer;
    }
}

static void *run(void *context)
{
    struct lane *lane = context;
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    if (!lane->options->is_lean)
        headers = curl_slist_append(headers, "Expect:");
    CURLU *parsed = curl_url();
    CURLM *multi = curl_multi_init();
    if (!multi || !headers ||
        curl_url_set(parsed, CURLUPART_URL, lane->options->url, 0) != CURLUE_OK ||
        curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS, (long)lane->options->concurrency) !=
            CURLM_OK)
        give_up("libcurl does not start");
    for (unsigned i = 0; i < lane->options->concurrency; i++) {
        prepare(&lane->transfers[i], lane->options->url, headers);
        if (lane->options->is_lean)
            make_lean(lane->transfers[i].easy, parsed);
        lane->idle[lane->idle_count++] = &lane->transfers[i];
    }
    lane->begin_us = us_of(CLOCK_MONOTONIC);
    post_what_is_due(lane, multi);
    /* What is due is looked for as often as libcurl can be told to. */
    int wait_ms = lane->options->rate > 0 ? 1 : 1000;
    while (!atomic_load_explicit(lane->done, memory_order_relaxed)) {
        int running;
        if (curl_multi_perform(multi, &running) != CURLM_OK)
            give_up("libcurl does not perform");
        collect(lane, multi);
        post_what_is_due(lane, multi);
        if (curl_multi_poll(multi, NULL, 0, wait_ms, NULL) != CURLM_OK)
            give_up("libcurl does not wait");
    }
    return NULL; /* the process ends with it */
}

/* --- measuring ---------------------------------------------------------------------------- */

struct reading {
    uint64_t settled, failed;
    int64_t at_us, cpu_us;
};

static struct reading read_all(const struct lane *lanes, unsigned count)
{
    struct reading reading = {.at_us = us_of(CLOCK_MONOTONIC),
                              .cpu_us = us_of(CLOCK_PROCESS_CPUTIME_ID)};
    for (unsigned i = 0; i < count; i++) {
        reading.settled += atomic_load_explicit(&lanes[i].settled, memory_order_relaxed);
        reading.failed += atomic_load_explicit(&lanes[i].failed, memory_order_relaxed);
    }
    return reading;
}

/* false: a signal came first. */
static bool pass(const sigset_t *signals, int64_t ms)
{
    struct timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    return sigtimedwait(signals, NULL, &time) < 0;
}

/* Of a run with --rate; else 0. */
static uint64_t due_of_all(const struct options *options)
{
    return options->lanes * due_until(options, INT64_MAX);
}

static int report(const struct options *options, const struct reading *begin,
                  const struct reading *end)
{
    uint64_t settled = end->settled - begin->settled;
    double seconds = (double)(end->at_us - begin->at_us) * 1e-6;
    double cpu_us = (double)(end->cpu_us - begin->cpu_us);
    printf("{\"lanes\":%u,\"concurrency\":%u,\"seconds\":%.3f,\"settled\":%" PRIu64
           ",\"per_s\":%.0f,\"cpu_us_per_payment\":%.3f,\"cpu_share\":%.3f,\"failed\":%" PRIu64
           ",\"due\":%" PRIu64 "}\n",
           options->lanes, options->concurrency, seconds, settled, (double)settled / seconds,
           settled ? cpu_us / (double)settled : 0.0, cpu_us * 1e-6 / seconds, end->failed,
           due_of_all(options));
    return settled > 0 && end->failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static int64_t number(const char *text, int64_t least, int64_t most)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < least || value > most)
        give_up("an option is no number, or out of range");
    return value;
}

static void read_options(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {{"url", required_argument, NULL, 'u'},
                                          {"lanes", required_argument, NULL, 'l'},
                                          {"concurrency", required_argument, NULL, 'c'},
                                          {"warm-ms", required_argument, NULL, 'w'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"lean", no_argument, NULL, 'n'},
                                          {NULL, 0, NULL, 0}};
    *options = (struct options){.lanes = 1, .concurrency = 32, .warm_ms = 1000, .seconds = 5};
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        switch (option) {
        case 'u':
            options->url = optarg;
            break;
        case 'l':
            options->lanes = (unsigned)number(optarg, 1, LANES_MAX);
            break;
        case 'c':
            options->concurrency = (unsigned)number(optarg, 1, CONCURRENCY_MAX);
            break;
        case 'w':
            options->warm_ms = number(optarg, 0, INT32_MAX);
            break;
        case 's':
            options->seconds = number(optarg, 1, INT32_MAX / 1000);
            break;
        case 'n':
            options->is_lean = true;
            break;
        case 'r':
            options->rate = number(optarg, 1, INT32_MAX);
            break;
        default:
            exit(2);
        }
    }
    if (!options->url || optind < argc)
        give_up("--url is wanted");
}

/* Until every payment that is due has been answered, or the time for that is over. */
static void pass_until_all(const struct options *options, const struct lane *lanes,
                           const sigset_t *signals)
{
    int64_t over_us = us_of(CLOCK_MONOTONIC) + options->seconds * 1000000 + GRACE_MS * 1000;
    struct reading now;
    do
        now = read_all(lanes, options->lanes);
    while (now.settled + now.failed < due_of_all(options) && now.at_us < over_us &&
           pass(signals, 5));
}

int main(int argc, char **argv)
{
    static struct lane lanes[LANES_MAX];
    static struct options options;
    static atomic_bool done;
    sigset_t signals;
    read_options(&options, argc, argv);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    if (curl_global_init(CURL_GLOBAL_ALL) != CURLE_OK)
        give_up("libcurl does not start");
    for (unsigned i = 0; i < options.lanes; i++) {
        lanes[i].options = &options;
        lanes[i].done = &done;
        /* No two of two runs alike, should somebody keep a book of them. */
        lanes[i].id = (struct uuid){(uint64_t)us_of(CLOCK_REALTIME), (uint64_t)i << 48};
        if (pthread_create(&lanes[i].thread, NULL, run, &lanes[i]) != 0)
            give_up("no thread");
    }
    struct reading begin = read_all(lanes, options.lanes);
    if (options.rate > 0) {
        pass_until_all(&options, lanes, &signals);
    } else if (pass(&signals, options.warm_ms)) {
        begin = read_all(lanes, options.lanes);
        (void)pass(&signals, options.seconds * 1000);
    }
    struct reading end = read_all(lanes, options.lanes);
    atomic_store(&done, true);
    for (unsigned i = 0; i < options.lanes; i++)
        pthread_join(lanes[i].thread, NULL);
    return report(&options, &begin, &end);
}
