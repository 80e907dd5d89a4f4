/* bench-handover: how long a payment takes from being published to its lane's owner, and to the
 * first byte of its request at the processor.
 *
 *   bench-handover --listen PORT --stamp FILE [--idle N] [--brief N]
 *   bench-handover --listen PORT [--apart N] [--rate R [--seconds S]]...
 *
 * One thread is the API and both processors (on 127.0.0.1:PORT), so that one clock tells when what
 * happened. The worker is a real one, of the region that PAYRING_REGION names, with one lane; this
 * program waits for it.
 *
 * --idle N     N payments, each when nothing has run for 2 to 5 ms. As an API does, this thread
 *              sleeps until it publishes and as soon as it has, and the kernel may put all of them
 *              where it likes. The owner itself says when it woke: the worker has wake-stamp.so
 *              loaded (wake_stamp.c), with the same FILE.
 * --brief N    the same after 0.1 to 0.25 ms: the machine's caches and processors are still warm.
 * --apart N    the same with a processor each: this thread never sleeps, the worker is on another
 *              processor, says the script, which is halted when there is nothing to do.
 *              `push_us` is from before the payment is offered until it is published (the push has
 *              returned), `wake_us` from there until the owner has come back from its sleep (apart:
 *              has withdrawn the announcement of it), `ring_us` the part of that which the producer
 *              spends in its own call. Between two of them a bare sleeper is woken, who only
 *              waits for a word to change and notes the time: `floor_us`, what the machine takes
 *              for any wake-up of that kind.
 * --rate R     at random moments, R a second on average, for S seconds (3), this thread never
 *              asleep. `taken_us` is from before the push until the ring's head has passed the
 *              payment: it stands in the table.
 *
 * All: `first_byte_us` is from before the push until a read has brought the beginning of its
 * request. Prints one line of JSON: of each the percentiles. */
#include "api/payment_intake.h"
#include "common/clock.h"
#include "shm/shm_futex.h"
#include "shm/shm_lease.h"
#include "test/lib/client/histogram.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 2048, EVENTS_MAX = 64, PENDING = 65536, REQUEST_SIZE = 2048 };
enum { AMOUNT_CENTS = 1990, PAUSE_US = 2000, BRIEF_PAUSE_US = 100 };
enum { RATES_MAX = 7, PHASES = 3 + RATES_MAX + 1 };
enum { ANSWER_DEADLINE_S = 10, LOOK_US = 50, LONGEST_WAIT_US = 1000000 };

static const char ANSWER[] =
    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 80\r\n\r\n"
    "{\"message\":\"payment processed successfully\",\"failing\":false,\"minResponseTime\":0}";

struct phase {
    struct histogram push, ring, wake, floor, taken, first_byte;
};

/* Another process, in memory that both share. */
struct sleeper {
    _Atomic uint32_t bell;
    _Atomic int64_t woken_ns;
    _Atomic uint64_t woken; /* times */
};

struct bench {
    int listener, epoll;
    struct shm_region region;
    unsigned slot;
    struct payment_intake intake;
    struct shm_lane *lane;
    struct uuid id; /* lo: the number of the last payment */
    uint64_t random;
    int64_t published_ns[PENDING]; /* by number; 0: its request has come */
    uint64_t head;                 /* of our ring, as it was seen last */
    uint64_t first_tail;           /* where it stood when we moved in */
    uint64_t out;                  /* published, and no request for it yet */
    bool wants_taken;
    struct phase *phase;
    struct sleeper *sleeper;
    int sleeper_said;
    _Atomic int64_t *stamp; /* when the owner woke, says the owner; NULL: we watch it */
    struct {
        size_t size;
        char bytes[REQUEST_SIZE];
    } in[CLIENTS_MAX];
};

_Noreturn static void give_up(const char *what, const struct explain *why)
{
    fprintf(stderr, "bench-handover: %s: %s\n", what, why ? why->text : strerror(errno));
    exit(2);
}

static int64_t now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static uint64_t next_random(struct bench *bench)
{
    uint64_t z = (bench->random += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static double next_share(struct bench *bench)
{
    return (double)(next_random(bench) >> 11) * 0x1p-53;
}

/* --- the processor -------------------------------------------------------------------------- */

static void watch(const struct bench *bench, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (fd >= CLIENTS_MAX || epoll_ctl(bench->epoll, EPOLL_CTL_ADD, fd, &event) != 0)
        give_up("epoll", NULL);
}

static void listen_on(struct bench *bench, uint16_t port)
{
    int on = 1;
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons(port)};
    bench->listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    bench->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (bench->listener < 0 || bench->epoll < 0 ||
        setsockopt(bench->listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        bind(bench->listener, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(bench->listener, 1024) != 0)
        give_up("the port", NULL);
    watch(bench, bench->listener);
}

static void accept_all(struct bench *bench)
{
    int fd, on = 1;
    while ((fd = accept4(bench->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        watch(bench, fd);
        bench->in[fd].size = 0;
    }
}

/* The end of the first request, or NULL; `number` is its payment's, 0 if it is no payment's. */
static const char *find_request(const char *in, size_t size, uint64_t *number)
{
    static const char LENGTH[] = "Content-Length: ", ID[] = "\"correlationId\":\"";
    const char *head_end = memmem(in, size, "\r\n\r\n", 4);
    *number = 0;
    if (!head_end)
        return NULL;
    head_end += 4;
    const char *length = memmem(in, (size_t)(head_end - in), LENGTH, sizeof LENGTH - 1);
    size_t body = length ? strtoul(length + sizeof LENGTH - 1, NULL, 10) : 0;
    if ((size_t)(in + size - head_end) < body)
        return NULL;
    const char *id = memmem(head_end, body, ID, sizeof ID - 1);
    struct uuid uuid;
    if (id && uuid_parse(id + sizeof ID - 1, UUID_TEXT_LENGTH, &uuid))
        *number = uuid.lo;
    return head_end + body;
}

static void note_first_byte(struct bench *bench, uint64_t number, int64_t read_ns)
{
    int64_t *published = &bench->published_ns[number % PENDING];
    if (number == 0 || number > bench->id.lo || *published == 0)
        give_up("a request", &(struct explain){"that nobody waits for"});
    histogram_note(&bench->phase->first_byte, read_ns - *published);
    *published = 0;
    bench->out--;
}

static void serve(struct bench *bench, int fd)
{
    size_t *size = &bench->in[fd].size;
    char *in = bench->in[fd].bytes;
    ssize_t n = recv(fd, in + *size, REQUEST_SIZE - *size, 0);
    int64_t read_ns = now_ns();
    if (n < 0 && errno == EAGAIN)
        return;
    if (n <= 0) {
        close(fd);
        return;
    }
    *size += (size_t)n;
    uint64_t number;
    const char *end;
    while ((end = find_request(in, *size, &number)) != NULL) {
        if (number != 0)
            note_first_byte(bench, number, read_ns);
        if (send(fd, ANSWER, sizeof ANSWER - 1, MSG_NOSIGNAL) != (ssize_t)(sizeof ANSWER - 1))
            give_up("an answer", NULL);
        *size -= (size_t)(end - in);
        memmove(in, end, *size);
    }
}

static void serve_all(struct bench *bench, int64_t timeout_us)
{
    struct epoll_event events[EVENTS_MAX];
    struct timespec timeout = {timeout_us / 1000000, timeout_us % 1000000 * 1000};
    int count = epoll_pwait2(bench->epoll, events, EVENTS_MAX, &timeout, NULL);
    for (int i = 0; i < count; i++) {
        if (events[i].data.fd == bench->listener)
            accept_all(bench);
        else
            serve(bench, events[i].data.fd);
    }
}

/* --- the API -------------------------------------------------------------------------------- */

static void move_in(struct bench *bench)
{
    struct explain why = {{0}};
    const char *name = getenv("PAYRING_REGION");
    if (!name)
        give_up("PAYRING_REGION", &(struct explain){"is not set"});
    if (shm_region_attach(&bench->region, name, 0, &why) != STATUS_OK)
        give_up("no region", &why);
    if (bench->region.geometry.lanes != 1)
        give_up("the region", &(struct explain){"has more lanes than one"});
    if (shm_lease_try_take(&bench->region, SHM_LEASE_API) != STATUS_OK ||
        shm_region_open_api(&bench->region, 0, &why) != STATUS_OK)
        give_up("no API slot", &why);
    payment_intake_open(&bench->intake, &bench->region, 0);
    bench->lane = shm_region_lane(&bench->region, 0);
    bench->first_tail = bench->head = bench->intake.lanes[0].ring.local_tail;
    bench->random = (uint64_t)now_ns();
    bench->id.hi = next_random(bench);
}

/* The call began, the entry stands in the ring, the call has ended. */
struct published {
    int64_t began_ns, pushed_ns, rung_ns;
};

static struct published publish(struct bench *bench)
{
    uint64_t number = ++bench->id.lo;
    if (bench->published_ns[number % PENDING] != 0)
        give_up("the worker", &(struct explain){"does not keep up"});
    bench->out++;
    int64_t wall_ms = clock_wall_ms();
    struct published at = {.began_ns = now_ns()};
    bench->published_ns[number % PENDING] = at.began_ns;
    if (payment_intake_offer(&bench->intake, &bench->id, AMOUNT_CENTS, wall_ms) !=
        PAYMENT_INTAKE_ACCEPTED)
        give_up("a payment", &(struct explain){"was not accepted"});
    at.pushed_ns = now_ns();
    payment_intake_wake(&bench->intake);
    at.rung_ns = now_ns();
    return at;
}

static uint64_t sleep_count(const struct bench *bench)
{
    return atomic_load_explicit(&bench->lane->sleep_count, memory_order_acquire);
}

/* With nothing out: the only sleep whose end the worker's stamp tells. */
static bool owner_sleeps(const struct bench *bench)
{
    return sleep_count(bench) % 4 == SHM_SLEEP_ALONE;
}

/* The table has them from here on: numbers are counts of this ring. */
static void note_taken(struct bench *bench)
{
    uint64_t head = atomic_load_explicit(&bench->lane->head[0].value, memory_order_acquire);
    if (head == bench->head)
        return;
    int64_t seen_ns = now_ns();
    for (; bench->head < head; bench->head++) {
        int64_t published_ns = bench->published_ns[(bench->head - bench->first_tail + 1) % PENDING];
        if (bench->wants_taken && published_ns != 0)
            histogram_note(&bench->phase->taken, seen_ns - published_ns);
    }
}

/* --- the bare sleeper ----------------------------------------------------------------------- */

/* Says on `says` that it has noted the time. */
_Noreturn static void be_sleeper(struct sleeper *sleeper, pid_t parent, int says, bool apart)
{
    uint32_t seen = 0;
    cpu_set_t second;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(EXIT_FAILURE);
    if (apart && sysconf(_SC_NPROCESSORS_ONLN) > 1) { /* where the worker is, says the script */
        CPU_ZERO(&second);
        CPU_SET(1, &second);
        (void)sched_setaffinity(0, sizeof second, &second);
    }
    for (;;) {
        while (atomic_load_explicit(&sleeper->bell, memory_order_acquire) == seen)
            shm_futex_wait(&sleeper->bell, seen, LONGEST_WAIT_US / 1000);
        atomic_store_explicit(&sleeper->woken_ns, now_ns(), memory_order_relaxed);
        atomic_fetch_add_explicit(&sleeper->woken, 1, memory_order_release);
        seen++;
        if (write(says, "", 1) != 1)
            _exit(EXIT_FAILURE);
    }
}

static void start_sleeper(struct bench *bench)
{
    int said[2];
    bench->sleeper = mmap(NULL, sizeof *bench->sleeper, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (bench->sleeper == MAP_FAILED || pipe(said) != 0)
        give_up("the bare sleeper", NULL);
    pid_t parent = getpid(), child = fork();
    if (child < 0)
        give_up("the bare sleeper", NULL);
    if (child == 0) {
        close(said[0]);
        be_sleeper(bench->sleeper, parent, said[1], bench->stamp == NULL);
    }
    close(said[1]);
    bench->sleeper_said = said[0];
}

static void sleep_us(long us)
{
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

static void wake_sleeper(struct bench *bench)
{
    uint64_t before = atomic_load(&bench->sleeper->woken);
    struct pollfd said = {.fd = bench->sleeper_said, .events = POLLIN};
    char byte;
    int64_t began_ns = now_ns();
    atomic_fetch_add_explicit(&bench->sleeper->bell, 1, memory_order_release);
    shm_futex_wake(&bench->sleeper->bell);
    while (atomic_load_explicit(&bench->sleeper->woken, memory_order_acquire) == before)
        if (bench->stamp) /* as this thread sleeps when it has published */
            (void)poll(&said, 1, LONGEST_WAIT_US / 1000);
    if (read(bench->sleeper_said, &byte, 1) != 1)
        give_up("the bare sleeper", NULL);
    histogram_note(&bench->phase->floor, atomic_load(&bench->sleeper->woken_ns) - began_ns);
}

/* --- phases --------------------------------------------------------------------------------- */

/* Until the owner has slept for so long without a break, and nothing is out. */
static void serve_until_quiet(struct bench *bench, int64_t quiet_us)
{
    int64_t deadline_ns = now_ns() + ANSWER_DEADLINE_S * INT64_C(1000000000);
    uint64_t asleep;
    do {
        while (bench->out > 0 || !owner_sleeps(bench)) {
            serve_all(bench, LOOK_US);
            if (now_ns() > deadline_ns)
                give_up("the worker", &(struct explain){"does not come to rest"});
        }
        asleep = sleep_count(bench);
        int64_t end_ns = now_ns() + quiet_us * 1000;
        for (int64_t left_ns; (left_ns = end_ns - now_ns()) > 0;)
            serve_all(bench, left_ns / 1000 + 1);
    } while (bench->out > 0 || sleep_count(bench) != asleep);
    note_taken(bench);
}

/* By our own watch, which sees it at once, or by the owner's. */
static int64_t when_it_woke(const struct bench *bench, uint64_t asleep)
{
    if (bench->stamp) {
        int64_t deadline_ns = now_ns() + ANSWER_DEADLINE_S * INT64_C(1000000000);
        while (atomic_load_explicit(bench->stamp, memory_order_acquire) == 0) {
            if (now_ns() > deadline_ns)
                give_up("the worker", &(struct explain){"does not say when it woke"});
            sleep_us(LOOK_US);
        }
        return atomic_load_explicit(bench->stamp, memory_order_relaxed);
    }
    /* A change, not an even one: should we be held up, it may sleep again by then. */
    while (sleep_count(bench) == asleep)
        continue;
    return now_ns();
}

/* pause_us and up to one and a half times that more. */
static void rest(struct bench *bench, int64_t pause_us)
{
    serve_until_quiet(bench,
                      pause_us + (int64_t)(next_random(bench) % (uint64_t)(pause_us * 3 / 2)));
}

static void idle_one(struct bench *bench, int64_t pause_us)
{
    rest(bench, pause_us);
    wake_sleeper(bench);
    rest(bench, pause_us);
    uint64_t asleep = sleep_count(bench);
    if (asleep % 4 != SHM_SLEEP_ALONE)
        return; /* something else has just woken it */
    if (bench->stamp)
        atomic_store_explicit(bench->stamp, 0, memory_order_relaxed);
    struct published at = publish(bench);
    while (bench->stamp && bench->out > 0)
        serve_all(bench, LONGEST_WAIT_US);
    histogram_note(&bench->phase->wake, when_it_woke(bench, asleep) - at.pushed_ns);
    histogram_note(&bench->phase->push, at.pushed_ns - at.began_ns);
    histogram_note(&bench->phase->ring, at.rung_ns - at.pushed_ns);
    while (bench->out > 0)
        serve_all(bench, 0);
}

static void idle(struct bench *bench, int64_t pause_us, int64_t count)
{
    bench->wants_taken = false;
    for (int64_t i = 0; i < count; i++)
        idle_one(bench, pause_us);
}

static void loaded(struct bench *bench, double rate, int64_t seconds)
{
    int64_t end_ns = now_ns() + seconds * INT64_C(1000000000);
    double due_ns = (double)now_ns();
    bench->wants_taken = true;
    while (now_ns() < end_ns || bench->out > 0) {
        if ((double)now_ns() >= due_ns && due_ns < (double)end_ns) {
            publish(bench);
            due_ns -= log(1.0 - next_share(bench)) * 1e9 / rate;
        }
        note_taken(bench);
        serve_all(bench, 0);
    }
    note_taken(bench);
}

static void write_phase(const char *separator, const char *name, double rate,
                        const struct phase *phase)
{
    printf("%s\"%s", separator, name);
    if (rate > 0)
        printf("_%.0f", rate);
    printf("\":{\"first_byte_us\":");
    histogram_write(&phase->first_byte, stdout);
    if (rate > 0) {
        printf(",\"taken_us\":");
        histogram_write(&phase->taken, stdout);
    } else {
        printf(",\"wake_us\":");
        histogram_write(&phase->wake, stdout);
        printf(",\"push_us\":");
        histogram_write(&phase->push, stdout);
        printf(",\"ring_us\":");
        histogram_write(&phase->ring, stdout);
        printf(",\"floor_us\":");
        histogram_write(&phase->floor, stdout);
    }
    putchar('}');
}

static _Atomic int64_t *map_stamp(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || ftruncate(fd, sizeof(int64_t)) != 0)
        give_up(path, NULL);
    void *stamp = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (stamp == MAP_FAILED)
        give_up(path, NULL);
    close(fd);
    return stamp;
}

static int64_t number(const char *text)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 1 || value > INT32_MAX)
        give_up(text, &(struct explain){"is no number, or out of range"});
    return value;
}

int main(int argc, char **argv)
{
    static const struct option known[] = {
        {"listen", required_argument, NULL, 'l'},  {"idle", required_argument, NULL, 'i'},
        {"brief", required_argument, NULL, 'b'},   {"apart", required_argument, NULL, 'a'},
        {"stamp", required_argument, NULL, 't'},   {"rate", required_argument, NULL, 'r'},
        {"seconds", required_argument, NULL, 's'}, {NULL, 0, NULL, 0}};
    static struct bench bench;
    static struct phase phases[PHASES];
    double rates[RATES_MAX];
    int64_t idle_count = 0, brief_count = 0, apart_count = 0, seconds = 3, port = 0;
    unsigned rate_count = 0;
    const char *separator = "";
    for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
        if (option == 'l')
            port = number(optarg);
        else if (option == 'i')
            idle_count = number(optarg);
        else if (option == 'b')
            brief_count = number(optarg);
        else if (option == 'a')
            apart_count = number(optarg);
        else if (option == 't')
            bench.stamp = map_stamp(optarg);
        else if (option == 's')
            seconds = number(optarg);
        else if (option == 'r' && rate_count < RATES_MAX)
            rates[rate_count++] = (double)number(optarg);
        else
            return 2;
    }
    if (bench.stamp ? apart_count + rate_count > 0 : idle_count + brief_count > 0)
        return 2;
    signal(SIGPIPE, SIG_IGN);
    start_sleeper(&bench);
    listen_on(&bench, (uint16_t)port);
    move_in(&bench);
    bench.phase = &phases[PHASES - 1];
    fprintf(stderr, "bench-handover ready\n");
    serve_until_quiet(&bench, 200000); /* until the worker is there */
    idle(&bench, PAUSE_US, 50);        /* its pages and connections have been met */
    putchar('{');
    const struct {
        const char *name;
        int64_t pause_us, count;
    } rests[] = {{"idle", PAUSE_US, idle_count},
                 {"brief", BRIEF_PAUSE_US, brief_count},
                 {"apart", PAUSE_US, apart_count}};
    for (unsigned i = 0; i < 3; i++) {
        if (rests[i].count == 0)
            continue;
        bench.phase = &phases[i];
        idle(&bench, rests[i].pause_us, rests[i].count);
        write_phase(separator, rests[i].name, 0, bench.phase);
        separator = ",";
    }
    for (unsigned i = 0; i < rate_count; i++) {
        bench.phase = &phases[3 + i];
        loaded(&bench, rates[i], seconds);
        write_phase(separator, "loaded", rates[i], bench.phase);
        separator = ",";
    }
    puts("}");
    payment_intake_close(&bench.intake);
    shm_region_detach(&bench.region);
    return EXIT_SUCCESS;
}
