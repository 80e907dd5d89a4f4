/* What a summary costs in the library: random windows over a ledger of so many rows, in memory
 * alone or most of it in files, while nothing happens or while rows are appended.
 *
 *   bench-summary --rows N [--files DIRECTORY] [--windows N] [--appending ROWS_PER_SECOND]
 *                 [--commit TEXT] [--serve]
 *
 * Rows are settled at 1,000 a second of their own time over two lanes. An answer takes 1 ms and an
 * exponential 4 ms more; one payment in 10,000 was pinned and settles up to 30 s late. A window's
 * ends are two moments of that time at random. Before anything is measured, three windows are
 * compared with a plain recount of the rows as they were made. Prints one line of JSON.
 *
 * With --serve it says "ready" instead, gives the API slot back and waits for words on its standard
 * input, each answered by one line of JSON: `library` and `http PATH` measure so many windows, in
 * the call and as GET /payments-summary on the unix socket of an API of the region; `append` and
 * `still` begin and end the appending, the second with the rate that was reached. The region is
 * PAYRING_REGION then, and somebody else removes it. */
#define _GNU_SOURCE
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "shm/shm_archive.h"
#include "shm/shm_lease.h"
#include "shm/shm_ledger.h"
#include "shm/shm_ledger_file.h"

#define LANES           2u
#define ROWS_PER_SECOND 1000u
#define LATE_ONE_IN     10000u
#define LATE_MOST_MS    30000u
#define COLD_WINDOWS    200u
#define MEMORY_ROWS     4194304u /* of a lane, the preset of PAYRING_LEDGER_ROWS */

struct options {
    uint64_t rows, windows, appending;
    const char *directory, *commit;
    bool serve;
};

struct bench {
    struct options options;
    char name[64];
    struct shm_region region;
    struct shm_ledger_writer writers[LANES];
    int64_t begin_us;
    uint64_t random, made;
    atomic_bool done;
    bool appends;
    double appended_per_s; /* of the last appender, when it has ended */
    pthread_t appender;
};

_Noreturn static void give_up(const char *what, const struct explain *why)
{
    fprintf(stderr, "bench-summary: %s: %s\n", what, why ? why->text : strerror(errno));
    exit(EXIT_FAILURE);
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double next_share(uint64_t *state)
{
    return (double)(next_random(state) >> 11) * 0x1p-53;
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* ------------------------------------------------------------------- rows */

/* The n-th row to be settled, the same whenever it is asked for. */
static struct shm_row row_number(const struct bench *bench, uint64_t n)
{
    uint64_t random = n * UINT64_C(0xd1342543de82ef95) + 1;
    int64_t settled_ms = (int64_t)(n * 1000 / ROWS_PER_SECOND);
    int64_t latency_ms = 1 + (int64_t)(-4.0 * log(1.0 - next_share(&random)));
    if (next_random(&random) % LATE_ONE_IN == 0)
        latency_ms += (int64_t)(next_random(&random) % LATE_MOST_MS);
    return (struct shm_row){
        .processor = next_random(&random) % 10 == 0,
        .amount_cents = 1 + (int64_t)(next_random(&random) % 10000),
        .requested_at_us = bench->begin_us + (settled_ms - latency_ms) * 1000,
    };
}

static void file_full_ones(struct bench *bench, unsigned lane)
{
    struct shm_lane *control = bench->writers[lane].lane;
    struct explain why;
    uint64_t filed = atomic_load(&control->segments_filed);
    while (*bench->options.directory &&
           (filed + 1) * bench->writers[lane].segment_rows <= bench->writers[lane].row_count) {
        if (shm_ledger_file_write(&bench->region, lane, filed, bench->options.directory, NULL,
                                  &why) != STATUS_OK)
            give_up("a segment cannot be filed", &why);
        atomic_store_explicit(&control->segments_filed, ++filed, memory_order_release);
    }
}

static void make_row(struct bench *bench)
{
    unsigned lane = (unsigned)(bench->made % LANES);
    struct shm_row row = row_number(bench, bench->made++);
    if (shm_ledger_rows_left(&bench->writers[lane]) <= SHM_ROWS_PER_PAYMENT_MAX)
        file_full_ones(bench, lane);
    shm_ledger_write(&bench->writers[lane], &row);
    shm_ledger_publish(&bench->writers[lane]);
}

static struct shm_window random_window(struct bench *bench)
{
    uint64_t span_us = bench->options.rows * 1000000 / ROWS_PER_SECOND;
    uint64_t a = next_random(&bench->random) % span_us, b = next_random(&bench->random) % span_us;
    return (struct shm_window){.from_us = bench->begin_us + (int64_t)(a < b ? a : b),
                               .to_us = bench->begin_us + (int64_t)(a < b ? b : a)};
}

/* ------------------------------------------------------------------ region */

static void create(struct bench *bench)
{
    struct explain why;
    uint64_t rows = bench->options.rows / LANES + bench->options.rows / 10 + 2000000;
    struct shm_geometry geometry = {.api_slots = 1,
                                    .lanes = LANES,
                                    .ring_slots = 64,
                                    .payment_slots = 64,
                                    .ledger_rows = MEMORY_ROWS,
                                    .horizon_payments = 64};
    if (!*bench->options.directory)
        geometry.ledger_rows = (uint32_t)((rows + SHM_SEGMENT_ROWS_MAX - 1) / SHM_SEGMENT_ROWS_MAX *
                                          SHM_SEGMENT_ROWS_MAX);
    geometry.ledger_segment_rows = SHM_SEGMENT_ROWS_MAX;
    const char *name = bench->options.serve ? getenv("PAYRING_REGION") : NULL;
    if (name)
        snprintf(bench->name, sizeof bench->name, "%s", name);
    else
        snprintf(bench->name, sizeof bench->name, "bench-summary.%d", (int)getpid());
    if (shm_region_create(bench->name, &geometry, &why) != STATUS_OK)
        give_up("no region", &why);
    if (shm_region_attach(&bench->region, bench->name, 0, &why) != STATUS_OK ||
        shm_lease_try_take_all(&bench->region, &why) != STATUS_OK ||
        shm_archive_open(&bench->region, bench->options.directory, &why) != STATUS_OK)
        give_up("no region", &why);
    for (unsigned lane = 0; lane < LANES; lane++) {
        if (shm_region_open_lane(&bench->region, lane, &why) != STATUS_OK)
            give_up("no lane", &why);
        shm_ledger_writer_open(&bench->writers[lane], &bench->region, lane);
    }
    bench->begin_us = bench->region.created_at_ms * 1000;
}

/* Remove what was made. Files are of this run: their ledger is new. */
static void clean_up(struct bench *bench)
{
    char path[SHM_LEDGER_FILE_PATH_SIZE];
    for (unsigned lane = 0; lane < LANES; lane++) {
        uint64_t filed = atomic_load(&bench->writers[lane].lane->segments_filed);
        for (uint64_t segment = 0; segment < filed; segment++) {
            shm_ledger_file_path(path, bench->options.directory, lane, segment);
            unlink(path);
        }
    }
    shm_archive_close(&bench->region);
    shm_region_detach(&bench->region);
    (void)shm_region_remove(bench->name, true, NULL);
}

/* --------------------------------------------------------------- measuring */

static int64_t measure_one(struct bench *bench, const struct shm_window *window,
                           struct shm_totals *totals)
{
    struct explain why;
    int64_t begin_ns = now_ns();
    if (shm_ledger_sum_or_say(&bench->region, window, totals, &why) != STATUS_OK)
        give_up("no sum", &why);
    return now_ns() - begin_ns;
}

static void verify(struct bench *bench)
{
    struct shm_window windows[3];
    struct shm_totals right[3] = {0}, sum;
    for (unsigned i = 0; i < 3; i++)
        windows[i] = random_window(bench);
    for (uint64_t n = 0; n < bench->options.rows; n++) {
        struct shm_row row = row_number(bench, n);
        for (unsigned i = 0; i < 3; i++) {
            bool inside = windows[i].from_us <= row.requested_at_us &&
                          row.requested_at_us <= windows[i].to_us;
            right[i].payments[row.processor] += inside;
            right[i].sum_cents[row.processor] += inside ? (unsigned __int128)row.amount_cents : 0;
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        measure_one(bench, &windows[i], &sum);
        if (memcmp(&sum, &right[i], sizeof sum) != 0) {
            fprintf(stderr, "bench-summary: a sum is wrong\n");
            exit(EXIT_FAILURE);
        }
    }
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

struct times {
    double median_us, p99_us;
};

static struct times measure(struct bench *bench, uint64_t count)
{
    int64_t *ns = malloc(count * sizeof *ns);
    struct shm_totals totals;
    if (!ns)
        give_up("no memory", NULL);
    for (uint64_t i = 0; i < count; i++) {
        struct shm_window window = random_window(bench);
        ns[i] = measure_one(bench, &window, &totals);
    }
    qsort(ns, count, sizeof *ns, by_size);
    struct times times = {(double)ns[count / 2] / 1000.0, (double)ns[count * 99 / 100] / 1000.0};
    free(ns);
    return times;
}

/* So many rows a second, as evenly as a sleeper can. */
static void *append(void *context)
{
    struct bench *bench = context;
    int64_t begin_ns = now_ns();
    uint64_t begin = bench->made;
    while (!atomic_load(&bench->done)) {
        uint64_t due =
            (uint64_t)((double)(now_ns() - begin_ns) * 1e-9 * (double)bench->options.appending);
        while (bench->made - begin < due)
            make_row(bench);
        nanosleep(&(struct timespec){.tv_nsec = 200000}, NULL);
    }
    bench->appended_per_s = (double)(bench->made - begin) / ((double)(now_ns() - begin_ns) * 1e-9);
    return NULL;
}

static void run(struct bench *bench)
{
    pthread_t appender;
    int64_t begin_ns = now_ns();
    while (bench->made < bench->options.rows)
        make_row(bench);
    double fill_ns = (double)(now_ns() - begin_ns) / (double)bench->options.rows;
    for (unsigned lane = 0; lane < LANES; lane++)
        file_full_ones(bench, lane);
    if (bench->options.appending > 0 && pthread_create(&appender, NULL, append, bench) != 0)
        give_up("no thread", NULL);
    struct times cold = measure(bench, COLD_WINDOWS);
    if (bench->options.appending == 0)
        verify(bench);
    (void)measure(bench, bench->options.windows); /* every page and block has been met */
    struct times warm = measure(bench, bench->options.windows);
    atomic_store(&bench->done, true);
    if (bench->options.appending > 0)
        pthread_join(appender, NULL);
    printf("{\"bench\":\"summary\",\"rows\":%" PRIu64 ",\"where\":\"%s\",\"appending\":%" PRIu64
           ",\"windows\":%" PRIu64
           ",\"median_us\":%.2f,\"p99_us\":%.2f,\"first_%u_median_us\":%.2f,"
           "\"first_p99_us\":%.2f,\"append_ns\":%.1f,\"commit\":\"%s\"}\n",
           bench->options.rows, *bench->options.directory ? "files" : "memory",
           bench->options.appending, bench->options.windows, warm.median_us, warm.p99_us,
           COLD_WINDOWS, cold.median_us, cold.p99_us, fill_ns, bench->options.commit);
}

/* --------------------------------------------------------------------- HTTP */

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (strlen(path) >= sizeof address.sun_path)
        give_up(path, &(struct explain){"is too long"});
    strcpy(address.sun_path, path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
        give_up(path, NULL);
    return fd;
}

static void print_time(int64_t time_us, char out[32])
{
    time_t seconds = time_us / 1000000;
    struct tm parts;
    size_t length;
    gmtime_r(&seconds, &parts);
    length = strftime(out, 32, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + length, 32 - length, ".%03dZ", (int)(time_us / 1000 % 1000));
}

/* One request, one whole answer. */
static int64_t ask_one(int fd, const struct shm_window *window, char *answer, size_t room)
{
    char from[32], to[32], request[256];
    ssize_t size = 0, got;
    print_time(window->from_us, from);
    print_time(window->to_us, to);
    int length =
        snprintf(request, sizeof request,
                 "GET /payments-summary?from=%s&to=%s HTTP/1.1\r\nHost: bench\r\n\r\n", from, to);
    int64_t begin_ns = now_ns();
    if (write(fd, request, (size_t)length) != length)
        give_up("a request", NULL);
    do {
        if ((got = read(fd, answer + size, room - 1 - (size_t)size)) <= 0)
            give_up("an answer", NULL);
        size += got;
        answer[size] = '\0';
    } while (strstr(answer, "}}") == NULL);
    int64_t took_ns = now_ns() - begin_ns;
    if (strncmp(answer, "HTTP/1.1 200 ", 13) != 0)
        give_up("an answer", &(struct explain){"is not 200"});
    return took_ns;
}

/* Whole milliseconds, as they are asked for. */
static struct shm_window random_window_ms(struct bench *bench)
{
    struct shm_window window = random_window(bench);
    window.from_us -= window.from_us % 1000;
    window.to_us -= window.to_us % 1000;
    return window;
}

/* What the API says is what the library says. */
static void compare_one(struct bench *bench, int fd)
{
    char answer[1024], wanted[64];
    struct shm_totals totals;
    struct shm_window window = random_window_ms(bench);
    ask_one(fd, &window, answer, sizeof answer);
    measure_one(bench, &window, &totals);
    snprintf(wanted, sizeof wanted, "\"totalRequests\":%" PRIu64 ",", totals.payments[0]);
    if (strstr(answer, wanted) == NULL)
        give_up("an answer", &(struct explain){"is wrong"});
}

static struct times measure_http(struct bench *bench, const char *path)
{
    int64_t *ns = malloc(bench->options.windows * sizeof *ns);
    char answer[1024];
    int fd = connect_to(path);
    if (!ns)
        give_up("no memory", NULL);
    if (!bench->appends)
        compare_one(bench, fd);
    for (uint64_t i = 0; i < bench->options.windows; i++) {
        struct shm_window window = random_window_ms(bench);
        ns[i] = ask_one(fd, &window, answer, sizeof answer);
    }
    qsort(ns, bench->options.windows, sizeof *ns, by_size);
    uint64_t count = bench->options.windows;
    struct times times = {(double)ns[count / 2] / 1000.0, (double)ns[count * 99 / 100] / 1000.0};
    free(ns);
    close(fd);
    return times;
}

/* --------------------------------------------------------------------- serve */

static void begin_appending(struct bench *bench)
{
    atomic_store(&bench->done, false);
    bench->appends = pthread_create(&bench->appender, NULL, append, bench) == 0;
    if (!bench->appends)
        give_up("no thread", NULL);
}

static void end_appending(struct bench *bench)
{
    atomic_store(&bench->done, true);
    if (bench->appends)
        pthread_join(bench->appender, NULL);
    bench->appends = false;
}

static void tell(struct times times)
{
    printf("{\"median_us\":%.2f,\"p99_us\":%.2f}\n", times.median_us, times.p99_us);
}

/* The word is one of those in the head. */
static void obey(struct bench *bench, const char *word)
{
    if (strcmp(word, "library") == 0) {
        tell(measure(bench, bench->options.windows));
    } else if (strncmp(word, "http ", 5) == 0) {
        tell(measure_http(bench, word + 5));
    } else if (strcmp(word, "append") == 0) {
        begin_appending(bench);
        puts("{}");
    } else if (strcmp(word, "still") == 0) {
        end_appending(bench);
        printf("{\"appended_per_s\":%.0f}\n", bench->appended_per_s);
    } else {
        give_up(word, &(struct explain){"is no word that is known"});
    }
}

static void serve(struct bench *bench)
{
    char word[256];
    while (bench->made < bench->options.rows)
        make_row(bench);
    verify(bench);
    (void)measure(bench, bench->options.windows); /* every page and block has been met */
    shm_region_close_api(&bench->region, 0);
    shm_lease_give_back(&bench->region, SHM_LEASE_API);
    puts("ready");
    fflush(stdout);
    while (fgets(word, sizeof word, stdin)) {
        word[strcspn(word, "\n")] = '\0';
        obey(bench, word);
        fflush(stdout);
    }
}

static uint64_t number(const char *text)
{
    char *end;
    errno = 0;
    uint64_t value = strtoull(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0') {
        fprintf(stderr, "bench-summary: \"%s\" is no number\n", text);
        exit(2);
    }
    return value;
}

int main(int argc, char **argv)
{
    static const struct option long_options[] = {{"rows", required_argument, NULL, 'r'},
                                                 {"files", required_argument, NULL, 'f'},
                                                 {"windows", required_argument, NULL, 'w'},
                                                 {"appending", required_argument, NULL, 'a'},
                                                 {"commit", required_argument, NULL, 'c'},
                                                 {"serve", no_argument, NULL, 's'},
                                                 {NULL, 0, NULL, 0}};
    static struct bench bench = {
        .options = {.rows = 100000, .windows = 20000, .directory = "", .commit = ""}, .random = 7};
    for (int option; (option = getopt_long(argc, argv, "", long_options, NULL)) != -1;) {
        switch (option) {
        case 'r':
            bench.options.rows = number(optarg);
            break;
        case 'f':
            bench.options.directory = optarg;
            break;
        case 'w':
            bench.options.windows = number(optarg);
            break;
        case 'a':
            bench.options.appending = number(optarg);
            break;
        case 'c':
            bench.options.commit = optarg;
            break;
        case 's':
            bench.options.serve = true;
            break;
        default:
            return 2;
        }
    }
    create(&bench);
    if (bench.options.serve) {
        serve(&bench);
        return EXIT_SUCCESS;
    }
    run(&bench);
    clean_up(&bench);
    return EXIT_SUCCESS;
}
