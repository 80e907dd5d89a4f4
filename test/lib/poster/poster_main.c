/* poster: post payments to the gateway and write down what it said.
 *
 * One line a request on standard output:
 *
 *     id <TAB> amount as sent <TAB> status <TAB> target <TAB> sent_us <TAB> latency_us
 *
 * status is the HTTP status, or "lost": no answer, the payment may or may not have been accepted.
 * sent_us is the wall clock in microseconds; latency counts from when the request was due, so a
 * gateway that stalls cannot hide it by slowing us down. A sum is written to standard error.
 */
#include "test/lib/client/connection.h"
#include "test/lib/client/plan.h"

#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

enum { TARGETS_MAX = 16, CONNECTIONS_MAX = 4096, TRIES_MAX = 200 };

/* How soon a refused connection is tried again, at the next target. */
static const int64_t REOPEN_US = 20 * 1000;

/* A connection and what is out on it. */
struct post {
    struct connection connection;
    unsigned target;         /* index of the target it is connected to */
    struct payment payment;  /* the one that is out while BUSY */
    int64_t due_us, sent_us; /* CLOCK_MONOTONIC: when it should have been sent, when it was */
    int64_t reopen_at_us;
};

struct poster {
    struct plan plan;
    struct target targets[TARGETS_MAX];
    unsigned target_count;
    struct post *posts;
    unsigned post_count, next_post;
    uint64_t count;      /* requests to make; 0: by time */
    int64_t duration_us; /* 0: by count */
    int64_t interval_us; /* between requests; 0: as fast as they are answered */
    int64_t timeout_us;  /* for one answer */
    int64_t patience_us; /* for outstanding and repeated requests at the end */
    bool retry;          /* repeat what was lost, with the same id */
    int epoll;
    int64_t begin_us;
    uint64_t issued;       /* taken from the plan */
    struct payment *again; /* lost, to be sent once more */
    size_t again_count, again_room;
    uint32_t *latencies_us; /* of answered requests */
    size_t answered, latency_room;
    uint64_t accepted, refused, lost;
};

static int64_t now_us(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void *grown(void *array, size_t *room, size_t item_size)
{
    *room = *room ? *room * 2 : 1024;
    array = realloc(array, *room * item_size);
    if (!array) {
        fputs("poster: out of memory\n", stderr);
        exit(2);
    }
    return array;
}

/* --- what happened ------------------------------------------------------------------------ */

static void write_line(const struct post *post, const char *status, int64_t now)
{
    int64_t wall = now_us(CLOCK_REALTIME) - (now - post->sent_us);
    printf("%s\t%s\t%s\t%u\t%" PRId64 "\t%" PRId64 "\n", post->payment.id, post->payment.amount,
           status, post->target, wall, now - post->due_us);
}

static void note_answer(struct poster *poster, const struct post *post)
{
    int64_t now = now_us(CLOCK_MONOTONIC);
    int status = post->connection.reply.status;
    char text[16];
    snprintf(text, sizeof text, "%d", status);
    write_line(post, text, now);
    if (status >= 200 && status < 300)
        poster->accepted++;
    else
        poster->refused++;
    if (poster->answered == poster->latency_room)
        poster->latencies_us =
            grown(poster->latencies_us, &poster->latency_room, sizeof *poster->latencies_us);
    poster->latencies_us[poster->answered++] = (uint32_t)(now - post->due_us);
}

static void note_loss(struct poster *poster, const struct post *post)
{
    write_line(post, "lost", now_us(CLOCK_MONOTONIC));
    poster->lost++;
    if (!poster->retry || post->payment.tries >= TRIES_MAX)
        return;
    if (poster->again_count == poster->again_room)
        poster->again = grown(poster->again, &poster->again_room, sizeof *poster->again);
    poster->again[poster->again_count++] = post->payment;
}

static void send_payment(struct post *post, const struct payment *payment)
{
    char body[160], out[512];
    int body_size = snprintf(body, sizeof body, "{\"correlationId\":\"%s\",\"amount\":%s}",
                             payment->id, payment->amount);
    int size = snprintf(out, sizeof out,
                        "POST /payments HTTP/1.1\r\nHost: payring\r\n"
                        "Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
                        body_size, body);
    post->payment = *payment;
    post->payment.tries++;
    connection_send(&post->connection, out, (size_t)size);
}

/* --- connections -------------------------------------------------------------------------- */

static void reopen(struct poster *poster, int64_t now)
{
    for (unsigned i = 0; i < poster->post_count; i++) {
        struct post *post = &poster->posts[i];
        if (post->connection.state != CONNECTION_CLOSED || post->reopen_at_us > now)
            continue;
        connection_open(&post->connection, &poster->targets[post->target]);
        connection_watch(&post->connection, poster->epoll, true, post);
        if (post->connection.state == CONNECTION_CLOSED) {
            post->target = (post->target + 1) % poster->target_count;
            post->reopen_at_us = now + REOPEN_US;
        }
    }
}

static void give_up_on_the_late(struct poster *poster, int64_t now)
{
    for (unsigned i = 0; i < poster->post_count; i++) {
        struct post *post = &poster->posts[i];
        if (post->connection.state != CONNECTION_BUSY || now - post->sent_us < poster->timeout_us)
            continue;
        connection_close(&post->connection);
        post->target = (post->target + 1) % poster->target_count;
        note_loss(poster, post);
    }
}

static void on_event(struct poster *poster, struct post *post)
{
    bool connecting = post->connection.state == CONNECTION_CONNECTING;
    switch (connection_on_event(&post->connection)) {
    case EXCHANGE_ANSWERED:
        note_answer(poster, post);
        break;
    case EXCHANGE_LOST:
        note_loss(poster, post);
        break;
    case EXCHANGE_PENDING:
        break;
    }
    if (connecting)
        connection_watch(&post->connection, poster->epoll, false, post);
    if (post->connection.state == CONNECTION_CLOSED) {
        post->target = (post->target + 1) % poster->target_count;
        post->reopen_at_us = connecting ? now_us(CLOCK_MONOTONIC) + REOPEN_US : 0;
    }
}

/* --- the run ------------------------------------------------------------------------------ */

static volatile sig_atomic_t told_to_stop;

static void note_signal(int number)
{
    (void)number;
    told_to_stop = 1;
}

static bool plan_is_over(const struct poster *poster, int64_t now)
{
    if (told_to_stop)
        return true;
    if (poster->count > 0)
        return poster->issued >= poster->count;
    return now - poster->begin_us >= poster->duration_us;
}

static int64_t due_us(const struct poster *poster, int64_t now)
{
    if (poster->interval_us == 0)
        return now;
    return poster->begin_us + (int64_t)poster->issued * poster->interval_us;
}

static struct post *idle_post(struct poster *poster)
{
    for (unsigned i = 0; i < poster->post_count; i++) {
        unsigned at = (poster->next_post + i) % poster->post_count;
        if (poster->posts[at].connection.state == CONNECTION_IDLE) {
            poster->next_post = (at + 1) % poster->post_count;
            return &poster->posts[at];
        }
    }
    return NULL;
}

static void post_what_is_due(struct poster *poster, int64_t now)
{
    struct post *post;
    while ((post = idle_post(poster))) {
        struct payment payment;
        int64_t due = due_us(poster, now);
        if (poster->again_count > 0) {
            payment = poster->again[--poster->again_count];
            due = now;
        } else if (!plan_is_over(poster, now) && due <= now) {
            plan_next(&poster->plan, &payment);
            poster->issued++;
        } else {
            return;
        }
        post->due_us = due;
        post->sent_us = now;
        send_payment(post, &payment);
    }
}

static bool anything_left(const struct poster *poster, int64_t now)
{
    if (!plan_is_over(poster, now) || poster->again_count > 0)
        return true;
    for (unsigned i = 0; i < poster->post_count; i++) {
        if (poster->posts[i].connection.state == CONNECTION_BUSY)
            return true;
    }
    return false;
}

static void wait_and_handle(struct poster *poster, int64_t now)
{
    struct epoll_event events[64];
    /* Bounded, for time-outs and reconnecting; shorter if a request is due before. */
    int64_t wait_us = 10 * 1000;
    int64_t due = due_us(poster, now);
    if (poster->interval_us > 0 && !plan_is_over(poster, now) && due - now < wait_us)
        wait_us = due > now ? due - now : 100;
    struct timespec wait = {.tv_sec = 0, .tv_nsec = (long)wait_us * 1000};
    int n = epoll_pwait2(poster->epoll, events, 64, &wait, NULL);
    for (int i = 0; i < n; i++)
        on_event(poster, events[i].data.ptr);
}

static void run(struct poster *poster)
{
    int64_t over_at_us = 0;
    poster->begin_us = now_us(CLOCK_MONOTONIC);
    int64_t now = poster->begin_us;
    while (anything_left(poster, now)) {
        if (over_at_us == 0 && plan_is_over(poster, now))
            over_at_us = now;
        if (over_at_us > 0 && now - over_at_us > poster->patience_us)
            break;
        reopen(poster, now);
        give_up_on_the_late(poster, now);
        post_what_is_due(poster, now);
        wait_and_handle(poster, now);
        now = now_us(CLOCK_MONOTONIC);
    }
    poster->retry = false;
    for (unsigned i = 0; i < poster->post_count; i++) {
        if (poster->posts[i].connection.state == CONNECTION_BUSY)
            note_loss(poster, &poster->posts[i]);
        connection_free(&poster->posts[i].connection);
    }
}

/* --- the sum ------------------------------------------------------------------------------ */

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static uint32_t percentile(const struct poster *poster, unsigned per_mille)
{
    if (poster->answered == 0)
        return 0;
    return poster->latencies_us[(poster->answered - 1) * per_mille / 1000];
}

static void print_sum(const struct poster *poster)
{
    int64_t took_us = now_us(CLOCK_MONOTONIC) - poster->begin_us;
    if (poster->answered > 0)
        qsort(poster->latencies_us, poster->answered, sizeof *poster->latencies_us, ascending);
    fprintf(
        stderr,
        "seed=%" PRIu64 " fresh=%" PRIu64 " accepted=%" PRIu64 " refused=%" PRIu64 " lost=%" PRIu64
        " unsent=%zu per_s=%" PRId64 " p50_us=%u p99_us=%u p999_us=%u max_us=%u\n",
        poster->plan.seed, poster->plan.fresh_count, poster->accepted, poster->refused,
        poster->lost, poster->again_count,
        took_us > 0 ? (int64_t)poster->answered * 1000000 / took_us : 0, percentile(poster, 500),
        percentile(poster, 990), percentile(poster, 999), percentile(poster, 1000));
}

/* --- options ------------------------------------------------------------------------------ */

static const char USAGE[] =
    "poster --target unix:PATH|IPV4:PORT [--target ...] [options]\n"
    "  --count N             requests to make (default 1)\n"
    "  --seconds S           or for how long; SIGTERM ends it earlier, as if the time were over\n"
    "  --rate R              requests a second; 0: as fast as they are answered (default 0)\n"
    "  --connections K       spread evenly over the targets (default 8)\n"
    "  --seed X              decides ids, amounts and repetitions (default 1)\n"
    "  --amounts A,B,...     JSON numbers to choose from (default 19.90)\n"
    "  --duplicates PERCENT  repeat an earlier id with its amount\n"
    "  --conflicts PERCENT   repeat an earlier id with --conflict-amount (default 7777.77)\n"
    "  --timeout-ms T        without an answer it is lost (default 10000)\n"
    "  --patience-s S        for what is out when the time or the count is over (default 15)\n"
    "  --retry               what was lost is sent again with the same id\n";

static uint64_t number(const char *text, const char *option, uint64_t max)
{
    char *end;
    errno = 0;
    unsigned long long value = strtoull(text, &end, 10);
    if (errno || end == text || *end || *text == '-' || value > max) {
        fprintf(stderr, "poster: --%s: \"%s\" is not a whole number up to %" PRIu64 "\n", option,
                text, max);
        exit(2);
    }
    return value;
}

static void set_amounts(struct plan *plan, char *list)
{
    plan->amount_count = 0;
    char *rest = NULL;
    for (char *word = strtok_r(list, ",", &rest); word; word = strtok_r(NULL, ",", &rest)) {
        if (plan->amount_count < PLAN_AMOUNTS_MAX && strlen(word) <= 32)
            plan->amounts[plan->amount_count++] = word;
    }
}

static void add_target(struct poster *poster, const char *text)
{
    if (poster->target_count == TARGETS_MAX ||
        !target_parse(&poster->targets[poster->target_count], text)) {
        fprintf(stderr, "poster: --target: \"%s\" is not unix:PATH or IPV4:PORT\n", text);
        exit(2);
    }
    poster->target_count++;
}

static void set_option(struct poster *poster, int option, const char *name, char *value)
{
    switch (option) {
    case 't':
        add_target(poster, value);
        break;
    case 'n':
        poster->count = number(value, name, UINT32_MAX);
        break;
    case 's':
        poster->duration_us = (int64_t)number(value, name, 86400) * 1000000;
        break;
    case 'r': {
        uint64_t rate = number(value, name, 1000000);
        poster->interval_us = rate ? (int64_t)(1000000 / rate) : 0;
        break;
    }
    case 'k':
        poster->post_count = (unsigned)number(value, name, CONNECTIONS_MAX);
        break;
    case 'x':
        poster->plan.seed = number(value, name, UINT64_MAX);
        break;
    case 'a':
        set_amounts(&poster->plan, value);
        break;
    case 'd':
        poster->plan.duplicate_percent = (unsigned)number(value, name, 100);
        break;
    case 'c':
        poster->plan.conflict_percent = (unsigned)number(value, name, 100);
        break;
    case 'C':
        poster->plan.conflict_amount = value;
        break;
    case 'T':
        poster->timeout_us = (int64_t)number(value, name, 3600000) * 1000;
        break;
    case 'p':
        poster->patience_us = (int64_t)number(value, name, 3600) * 1000000;
        break;
    case 'R':
        poster->retry = true;
        break;
    case 'h':
        fputs(USAGE, stdout);
        exit(0);
    default:
        fputs(USAGE, stderr);
        exit(2);
    }
}

static void read_options(struct poster *poster, int argc, char **argv)
{
    static const struct option options[] = {
        {"target", required_argument, NULL, 't'},
        {"count", required_argument, NULL, 'n'},
        {"seconds", required_argument, NULL, 's'},
        {"rate", required_argument, NULL, 'r'},
        {"connections", required_argument, NULL, 'k'},
        {"seed", required_argument, NULL, 'x'},
        {"amounts", required_argument, NULL, 'a'},
        {"duplicates", required_argument, NULL, 'd'},
        {"conflicts", required_argument, NULL, 'c'},
        {"conflict-amount", required_argument, NULL, 'C'},
        {"timeout-ms", required_argument, NULL, 'T'},
        {"patience-s", required_argument, NULL, 'p'},
        {"retry", no_argument, NULL, 'R'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1)
        set_option(poster, option, option == '?' ? "" : options[index].name, optarg);
    if (optind < argc || poster->target_count == 0 || poster->post_count == 0 ||
        poster->plan.amount_count == 0) {
        fputs(USAGE, stderr);
        exit(2);
    }
    if (poster->count == 0 && poster->duration_us == 0)
        poster->count = 1;
}

static void place_connections(struct poster *poster)
{
    poster->posts = calloc(poster->post_count, sizeof *poster->posts);
    poster->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!poster->posts || poster->epoll < 0) {
        perror("poster");
        exit(2);
    }
    for (unsigned i = 0; i < poster->post_count; i++)
        poster->posts[i].target = i % poster->target_count;
}

static void let_go(struct poster *poster)
{
    for (unsigned i = 0; i < poster->post_count; i++)
        connection_free(&poster->posts[i].connection);
    free(poster->posts);
    free(poster->again);
    free(poster->latencies_us);
}

int main(int argc, char **argv)
{
    struct poster poster = {
        .plan = {.seed = 1, .amounts = {"19.90"}, .amount_count = 1, .conflict_amount = "7777.77"},
        .post_count = 8,
        .timeout_us = 10 * 1000000,
        .patience_us = 15 * 1000000,
    };
    read_options(&poster, argc, argv);
    signal(SIGTERM, note_signal);
    place_connections(&poster);
    plan_begin(&poster.plan);
    run(&poster);
    print_sum(&poster);
    let_go(&poster);
    if (fflush(stdout) != 0)
        return 2;
    return poster.answered > 0 ? 0 : 1;
}
