#include "test/bench/load/generator.h"

#include "test/lib/client/clock.h"
#include "test/lib/client/connection.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

/* How often connections are looked at for time-outs and reopening, and how soon a refused one is
 * tried again. */
static const int64_t ROUND_NS = 10 * NS_PER_MS;
static const int64_t REOPEN_NS = 20 * NS_PER_MS;
static const int64_t CONNECT_LIMIT_NS = NS_PER_S;

enum { EVENTS_MAX = 256 };

struct slot {
    struct connection connection;
    struct payment payment; /* what is out while BUSY, if payments are posted */
    bool queued;            /* is among the free ones, perhaps closed since */
    int64_t due_ns, sent_ns;
    int64_t free_since_ns;
    int64_t reopen_at_ns;
};

struct generator {
    struct load_settings *settings;
    struct load_results *results;
    struct slot *slots;
    struct slot **free; /* ring of connection_count, the one that is free the longest first */
    unsigned free_head, free_count;
    int epoll;
    int64_t begin_ns, end_ns, next_round_ns;
    uint64_t next; /* number of the next request */
    int64_t next_due_ns;
    unsigned out; /* requests that are out */
};

/* --- free connections --------------------------------------------------------------------- */

static void set_free(struct generator *generator, struct slot *slot, int64_t now)
{
    if (slot->queued)
        return;
    unsigned room = generator->settings->connection_count;
    slot->queued = true;
    slot->free_since_ns = now;
    generator->free[(generator->free_head + generator->free_count++) % room] = slot;
}

/* A connection that the server closed stays in the ring until its turn comes: then it is dropped,
 * or used if it has been opened again. */
static struct slot *take_free(struct generator *generator)
{
    while (generator->free_count > 0) {
        struct slot *slot = generator->free[generator->free_head];
        generator->free_head = (generator->free_head + 1) % generator->settings->connection_count;
        generator->free_count--;
        slot->queued = false;
        if (slot->connection.state == CONNECTION_IDLE)
            return slot;
    }
    return NULL;
}

/* --- what happened ------------------------------------------------------------------------ */

static void write_line(const struct generator *generator, const struct slot *slot,
                       const char *status, int64_t now)
{
    const struct load_settings *settings = generator->settings;
    if (!settings->log)
        return;
    bool get = settings->get_path != NULL;
    unsigned target = (unsigned)(slot - generator->slots) % settings->target_count;
    fprintf(settings->log, "%s\t%s\t%s\t%u\t%" PRId64 "\t%" PRId64 "\n",
            get ? "-" : slot->payment.id, get ? "-" : slot->payment.amount, status, target,
            clock_wall_us() - (now - slot->sent_ns) / NS_PER_US, (now - slot->due_ns) / NS_PER_US);
}

static void note_answer(struct generator *generator, struct slot *slot, int64_t now)
{
    struct load_results *results = generator->results;
    int status = slot->connection.reply.status;
    results->statuses[status]++;
    results->took_ns = now - generator->begin_ns;
    if (now <= generator->end_ns)
        results->answered_in_time++;
    if (status >= 200 && status < 300) {
        histogram_note(&results->latency, now - slot->due_ns);
        histogram_note(&results->service, now - slot->sent_ns);
    } else {
        histogram_note(&results->refused, now - slot->due_ns);
    }
    if (generator->settings->log) {
        char text[16];
        snprintf(text, sizeof text, "%d", status);
        write_line(generator, slot, text, now);
    }
}

static void note_failure(struct generator *generator, const struct slot *slot, uint64_t *counter)
{
    (*counter)++;
    generator->out--;
    write_line(generator, slot, "lost", clock_now_ns());
}

/* Which of its ends is allowed any time; a connection that ends under a request is `lost`. */
static void note_end(struct load_results *results, enum exchange exchange)
{
    if (exchange == EXCHANGE_ANSWERED)
        results->told_to_close++;
    else if (exchange == EXCHANGE_PENDING)
        results->closed_idle++;
}

static void on_event(struct generator *generator, struct slot *slot)
{
    struct connection *connection = &slot->connection;
    bool connecting = connection->state == CONNECTION_CONNECTING;
    enum exchange exchange = connection_on_event(connection);
    int64_t now = clock_now_ns();
    if (exchange == EXCHANGE_ANSWERED) {
        generator->out--;
        note_answer(generator, slot, now);
    } else if (exchange == EXCHANGE_LOST) {
        note_failure(generator, slot, &generator->results->lost);
    }
    if (!connecting && connection->state == CONNECTION_CLOSED)
        note_end(generator->results, exchange);
    if (connecting && connection->state == CONNECTION_IDLE)
        connection_watch(connection, generator->epoll, false, slot);
    if (connecting && connection->state == CONNECTION_CLOSED) {
        generator->results->connect_failures++;
        slot->reopen_at_ns = now + REOPEN_NS;
    }
    if (connection->state == CONNECTION_IDLE && (connecting || exchange == EXCHANGE_ANSWERED))
        set_free(generator, slot, now);
}

/* --- connections -------------------------------------------------------------------------- */

static void open_slot(struct generator *generator, struct slot *slot, int64_t now)
{
    const struct load_settings *settings = generator->settings;
    unsigned number = (unsigned)(slot - generator->slots);
    connection_open(&slot->connection, &settings->targets[number % settings->target_count]);
    connection_watch(&slot->connection, generator->epoll, true, slot);
    if (slot->connection.state == CONNECTION_CLOSED) {
        generator->results->connect_failures++;
        slot->reopen_at_ns = now + REOPEN_NS;
    }
}

static void look_at_connections(struct generator *generator, int64_t now)
{
    const struct load_settings *settings = generator->settings;
    if (now < generator->next_round_ns)
        return;
    generator->next_round_ns = now + ROUND_NS;
    for (unsigned i = 0; i < settings->connection_count; i++) {
        struct slot *slot = &generator->slots[i];
        if (slot->connection.state == CONNECTION_BUSY &&
            now - slot->sent_ns >= settings->timeout_ns) {
            connection_close(&slot->connection);
            note_failure(generator, slot, &generator->results->timeouts);
        }
        if (slot->connection.state == CONNECTION_CLOSED && now >= slot->reopen_at_ns)
            open_slot(generator, slot, now);
    }
}

/* --- requests ----------------------------------------------------------------------------- */

static char *put(char *at, const char *text, size_t size)
{
    memcpy(at, text, size);
    return at + size;
}

/* Not by printf, which would be a tenth of what a request costs us. Up to 99 bytes of body: an id
 * and the longest amount that is allowed stay below. */
static size_t write_post(char *out, const struct payment *payment, const char *host)
{
    static const char HEAD[] = "POST /payments HTTP/1.1\r\nHost: ";
    static const char LENGTH[] = "\r\nContent-Type: application/json\r\nContent-Length: ";
    static const char BODY[] = "\r\n\r\n{\"correlationId\":\"", AMOUNT[] = "\",\"amount\":";
    static const char FRAME[] = "{\"correlationId\":\"\",\"amount\":}";
    size_t amount_size = strlen(payment->amount);
    size_t body_size = sizeof FRAME - 1 + PLAN_ID_SIZE - 1 + amount_size;
    char digits[2] = {(char)('0' + body_size / 10), (char)('0' + body_size % 10)};
    char *at = put(out, HEAD, sizeof HEAD - 1);
    at = put(at, host, strlen(host));
    at = put(at, LENGTH, sizeof LENGTH - 1);
    at = put(at, digits, sizeof digits);
    at = put(at, BODY, sizeof BODY - 1);
    at = put(at, payment->id, PLAN_ID_SIZE - 1);
    at = put(at, AMOUNT, sizeof AMOUNT - 1);
    at = put(at, payment->amount, amount_size);
    *at++ = '}';
    return (size_t)(at - out);
}

static void send_request(struct generator *generator, struct slot *slot)
{
    struct load_settings *settings = generator->settings;
    unsigned number = (unsigned)(slot - generator->slots);
    const char *host = settings->targets[number % settings->target_count].host;
    char out[2048];
    size_t size;
    if (settings->get_path) {
        size = (size_t)snprintf(out, sizeof out, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n",
                                settings->get_path, host);
    } else {
        plan_next(&settings->plan, &slot->payment);
        size = write_post(out, &slot->payment, host);
    }
    slot->sent_ns = clock_now_ns();
    connection_send(&slot->connection, out, size);
}

static void move_on(struct generator *generator)
{
    generator->next++;
    if (generator->next < generator->results->scheduled)
        generator->next_due_ns =
            generator->begin_ns + schedule_due_ns(&generator->settings->schedule, generator->next);
}

static bool all_begun(const struct generator *generator)
{
    return generator->next >= generator->results->scheduled;
}

/* Waiting for a connection is the server's doing until one gets free; what comes after is ours. */
static void send_what_is_due(struct generator *generator)
{
    struct load_results *results = generator->results;
    while (!all_begun(generator) && clock_now_ns() >= generator->next_due_ns) {
        struct slot *slot = take_free(generator);
        if (!slot)
            return;
        slot->due_ns = generator->next_due_ns;
        send_request(generator, slot);
        generator->out++;
        results->sent++;
        bool waited = slot->free_since_ns > slot->due_ns;
        results->waited += waited;
        histogram_note(&results->send_delay, slot->sent_ns - slot->due_ns);
        histogram_note(&results->lag,
                       slot->sent_ns - (waited ? slot->free_since_ns : slot->due_ns));
        move_on(generator);
    }
}

/* --- the run ------------------------------------------------------------------------------ */

/* How long to wait for events: until the next request is due, or the next round of looking. */
static int64_t wait_ns(const struct generator *generator, int64_t now)
{
    if (generator->settings->awake)
        return 0;
    int64_t until = generator->next_round_ns;
    if (!all_begun(generator) && generator->free_count > 0) {
        int64_t due = generator->next_due_ns - generator->settings->spin_ns;
        until = due < until ? due : until;
    }
    return until > now ? until - now : 0;
}

static void wait_and_handle(struct generator *generator)
{
    struct epoll_event events[EVENTS_MAX];
    int64_t wait = wait_ns(generator, clock_now_ns());
    struct timespec timeout = {.tv_sec = wait / NS_PER_S, .tv_nsec = wait % NS_PER_S};
    int n = epoll_pwait2(generator->epoll, events, EVENTS_MAX, &timeout, NULL);
    for (int i = 0; i < n; i++) {
        on_event(generator, events[i].data.ptr);
        /* A batch of answers takes long enough to make the next request late. */
        send_what_is_due(generator);
    }
}

/* All connections stand before the clock starts: connecting is not what is measured. */
static bool connect_all(struct generator *generator)
{
    int64_t limit = clock_now_ns() + CONNECT_LIMIT_NS;
    unsigned wanted = generator->settings->connection_count;
    while (generator->free_count < wanted && clock_now_ns() < limit) {
        look_at_connections(generator, clock_now_ns());
        wait_and_handle(generator);
    }
    if (generator->free_count == 0)
        fputs("load: nobody accepts a connection\n", stderr);
    return generator->free_count > 0;
}

static int64_t cpu_ns(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * NS_PER_S +
           (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * NS_PER_US;
}

/* What is due by now is still sent and waited for. */
static void end_when_enough(struct generator *generator)
{
    struct schedule *schedule = &generator->settings->schedule;
    const volatile sig_atomic_t *enough = generator->settings->enough;
    int64_t now = clock_now_ns();
    if (!enough || !*enough || now >= generator->end_ns)
        return;
    uint64_t due = generator->next;
    while (due < generator->results->scheduled &&
           generator->begin_ns + schedule_due_ns(schedule, due) <= now)
        due++;
    generator->results->scheduled = due;
    generator->end_ns = now;
    *schedule = schedule_until(schedule, (double)(now - generator->begin_ns) / 1e9);
}

static void run(struct generator *generator)
{
    struct load_settings *settings = generator->settings;
    int64_t cpu_before = cpu_ns();
    generator->begin_ns = clock_now_ns();
    generator->next_due_ns = generator->begin_ns;
    generator->end_ns = generator->begin_ns + (int64_t)(settings->schedule.duration_s * 1e9);
    generator->results->scheduled = schedule_count(&settings->schedule);
    while ((!all_begun(generator) || generator->out > 0) &&
           clock_now_ns() < generator->end_ns + settings->patience_ns) {
        end_when_enough(generator);
        look_at_connections(generator, clock_now_ns());
        send_what_is_due(generator);
        wait_and_handle(generator);
    }
    generator->results->cpu_ns = cpu_ns() - cpu_before;
}

static void end(struct generator *generator)
{
    struct load_results *results = generator->results;
    results->unsent = results->scheduled - generator->next;
    for (unsigned i = 0; i < generator->settings->connection_count; i++) {
        struct slot *slot = &generator->slots[i];
        if (slot->connection.state == CONNECTION_BUSY)
            note_failure(generator, slot, &results->unanswered);
        connection_free(&slot->connection);
    }
}

bool generator_run(struct load_settings *settings, struct load_results *results)
{
    struct generator generator = {.settings = settings, .results = results};
    generator.slots = calloc(settings->connection_count, sizeof *generator.slots);
    generator.free = calloc(settings->connection_count, sizeof(struct slot *));
    generator.epoll = epoll_create1(EPOLL_CLOEXEC);
    bool ready = generator.slots && generator.free && generator.epoll >= 0;
    if (!ready)
        perror("load");
    ready = ready && connect_all(&generator);
    if (ready) {
        run(&generator);
        end(&generator);
    }
    if (generator.epoll >= 0)
        close(generator.epoll);
    free(generator.free);
    free(generator.slots);
    return ready;
}
