/* bare: the least that an HTTP server can do, to know what the generators and balancers cost.
 *
 * One thread, epoll, no allocation while it serves. Every complete request gets the same answer
 * (but GET /payments/ID: 404): at once, after a known delay, or with a known part of them delayed
 * more. What it really delayed (from having read a request to having written its answer) is told as
 * JSON when it is ended, so that a generator's figures can be held against the truth and not
 * against an intention.
 */
#include "test/bench/bare/waiting.h"
#include "test/lib/client/clock.h"
#include "test/lib/client/histogram.h"

#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS_MAX = 16384, LISTENERS_MAX = 16, IN_SIZE = 8192, EVENTS_MAX = 128 };
enum { LISTEN_BACKLOG = 4096 };

struct client {
    int fd;
    bool listener, in_use;
    uint32_t life; /* counts those who had this place */
    size_t in_size;
    char in[IN_SIZE];
};

struct bare {
    struct client *clients;
    unsigned client_count; /* places ever used */
    int epoll;
    char answer[4096];
    size_t answer_size;
    int64_t delay_ns, slow_ns;
    uint64_t slow_every; /* 0: never */
    int64_t stall_ns, stall_every_ns, next_stall_ns;
    uint64_t requests;
    struct waiting normal, slow; /* each in the order of their time */
    struct histogram delayed;
};

static volatile sig_atomic_t ending;

static void on_signal(int signal)
{
    (void)signal;
    ending = 1;
}

static void give_up(const char *what)
{
    fprintf(stderr, "bare: %s: %s\n", what, strerror(errno));
    exit(2);
}

/* --- clients ------------------------------------------------------------------------------ */

static struct client *new_client(struct bare *bare, int fd, bool listener)
{
    struct client *client = NULL;
    for (unsigned i = 0; i < bare->client_count && !client; i++) {
        if (!bare->clients[i].in_use)
            client = &bare->clients[i];
    }
    if (!client && bare->client_count < CLIENTS_MAX)
        client = &bare->clients[bare->client_count++];
    if (!client) {
        close(fd);
        return NULL;
    }
    client->fd = fd;
    client->listener = listener;
    client->in_use = true;
    client->in_size = 0;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    epoll_ctl(bare->epoll, EPOLL_CTL_ADD, fd, &event);
    return client;
}

static void drop(struct client *client)
{
    close(client->fd);
    client->in_use = false;
    client->life++;
}

static void answer(struct bare *bare, struct client *client, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        /* A client that does not read its answers is nobody to measure with. */
        if (send(client->fd, bare->answer, bare->answer_size, MSG_NOSIGNAL) !=
            (ssize_t)bare->answer_size) {
            drop(client);
            return;
        }
    }
}

/* The bytes of the first request in the buffer; 0 if it is not all there. */
static size_t request_size(const char *in, size_t size)
{
    static const char LENGTH[] = "content-length:";
    const char *end = memmem(in, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    size_t total = (size_t)(end + 4 - in);
    for (const char *line = in; line < end;) {
        if (strncasecmp(line, LENGTH, sizeof LENGTH - 1) == 0)
            total += strtoul(line + sizeof LENGTH - 1, NULL, 10);
        line = memchr(line, '\n', (size_t)(end + 2 - line));
        line = line ? line + 1 : end;
    }
    return size >= total ? total : 0;
}

/* Of a processor's book, in which nothing stands: a worker that is not sure of an id asks it. */
static bool is_lookup(const char *in, size_t size)
{
    static const char LOOKUP[] = "GET /payments/";
    return size >= sizeof LOOKUP - 1 && memcmp(in, LOOKUP, sizeof LOOKUP - 1) == 0;
}

static void find_nothing(struct client *client)
{
    static const char NOTHING[] = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n";
    if (send(client->fd, NOTHING, sizeof NOTHING - 1, MSG_NOSIGNAL) != sizeof NOTHING - 1)
        drop(client);
}

static void take_request(struct bare *bare, struct client *client)
{
    int64_t now = clock_now_ns();
    bare->requests++;
    bool slow = bare->slow_every > 0 && bare->requests % bare->slow_every == 0;
    int64_t delay = slow ? bare->slow_ns : bare->delay_ns;
    struct waiter waiter = {.due_ns = now + delay,
                            .since_ns = now,
                            .place = (uint32_t)(client - bare->clients),
                            .life = client->life};
    if (delay == 0)
        answer(bare, client, 1);
    else if (!waiting_push(slow ? &bare->slow : &bare->normal, &waiter))
        drop(client);
}

static void read_requests(struct bare *bare, struct client *client)
{
    ssize_t n = recv(client->fd, client->in + client->in_size, IN_SIZE - client->in_size, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        drop(client);
        return;
    }
    client->in_size += (size_t)n;
    size_t at = 0, size;
    uint32_t life = client->life;
    while (client->life == life &&
           (size = request_size(client->in + at, client->in_size - at)) > 0) {
        const char *request = client->in + at;
        at += size;
        if (is_lookup(request, size))
            find_nothing(client);
        else
            take_request(bare, client);
    }
    if (client->life != life)
        return;
    client->in_size -= at;
    memmove(client->in, client->in + at, client->in_size);
    if (client->in_size == IN_SIZE)
        drop(client);
}

static void accept_all(struct bare *bare, const struct client *listener)
{
    int fd, on = 1;
    while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        new_client(bare, fd, false);
    }
}

/* --- time --------------------------------------------------------------------------------- */

static void answer_due(struct bare *bare, struct waiting *waiting)
{
    const struct waiter *first;
    while ((first = waiting_first(waiting)) && first->due_ns <= clock_now_ns()) {
        struct waiter waiter = *first;
        waiting_drop_first(waiting);
        struct client *client = &bare->clients[waiter.place];
        if (client->life != waiter.life)
            continue;
        answer(bare, client, 1);
        histogram_note(&bare->delayed, clock_now_ns() - waiter.since_ns);
    }
}

/* Stand still, as a server does whose process or machine is held up. */
static void stall_if_due(struct bare *bare)
{
    if (bare->stall_every_ns == 0 || clock_now_ns() < bare->next_stall_ns)
        return;
    struct timespec pause = {.tv_sec = bare->stall_ns / NS_PER_S,
                             .tv_nsec = bare->stall_ns % NS_PER_S};
    nanosleep(&pause, NULL);
    bare->next_stall_ns += bare->stall_every_ns;
}

static int64_t next_event_ns(struct bare *bare)
{
    const struct waiter *normal = waiting_first(&bare->normal), *slow = waiting_first(&bare->slow);
    int64_t next = bare->stall_every_ns ? bare->next_stall_ns : INT64_MAX;
    if (normal && normal->due_ns < next)
        next = normal->due_ns;
    if (slow && slow->due_ns < next)
        next = slow->due_ns;
    return next;
}

static void serve(struct bare *bare)
{
    sigset_t none;
    sigemptyset(&none);
    struct epoll_event events[EVENTS_MAX];
    while (!ending) {
        int64_t next = next_event_ns(bare), wait = next - clock_now_ns();
        if (wait < 0)
            wait = 0;
        struct timespec timeout = {.tv_sec = wait / NS_PER_S, .tv_nsec = wait % NS_PER_S};
        /* The signals are let through only here: none falls between the test and the wait. */
        int n = epoll_pwait2(bare->epoll, events, EVENTS_MAX, next < INT64_MAX ? &timeout : NULL,
                             &none);
        stall_if_due(bare);
        for (int i = 0; i < n; i++) {
            struct client *client = events[i].data.ptr;
            if (client->listener)
                accept_all(bare, client);
            else if (client->in_use)
                read_requests(bare, client);
        }
        answer_due(bare, &bare->normal);
        answer_due(bare, &bare->slow);
    }
}

/* --- options ------------------------------------------------------------------------------ */

static const char USAGE[] =
    "bare [--listen IPV4:PORT] [--unix PATH] [options]   (either, several times)\n"
    "  --status N           of every answer (default 202)\n"
    "  --body TEXT          of every answer (default none)\n"
    "  --answer-bytes N     make every answer that long, by a header that says nothing\n"
    "  --delay-us D         before an answer (default 0)\n"
    "  --slow-every N       one request of N is delayed by --slow-us U instead\n"
    "  --slow-us U\n"
    "  --stall-every-ms E   so often, do nothing at all for --stall-ms S\n"
    "  --stall-ms S\n"
    "Ports may be 0: the kernel's choice is in the line that says \"ready\". TERM ends it, and it\n"
    "writes what it did as JSON: requests, and delayed_us (0 delays are not counted).\n";

static int64_t number(const char *text, const char *option)
{
    char *end;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (errno || end == text || *end || value < 0 || value > INT32_MAX) {
        fprintf(stderr, "bare: --%s: \"%s\" is not a whole number\n", option, text);
        exit(2);
    }
    return value;
}

static void listen_on(struct bare *bare, const struct sockaddr *address, socklen_t size)
{
    int on = 1, fd = socket(address->sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        give_up("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, address, size) < 0 || listen(fd, LISTEN_BACKLOG) < 0)
        give_up("listen");
    new_client(bare, fd, true);
    if (address->sa_family == AF_UNIX)
        return;
    struct sockaddr_in taken;
    socklen_t taken_size = sizeof taken;
    getsockname(fd, (struct sockaddr *)&taken, &taken_size);
    printf("bare listens on port %u\n", ntohs(taken.sin_port));
}

static void listen_tcp(struct bare *bare, char *text)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    char *colon = strrchr(text, ':');
    if (colon)
        *colon = '\0';
    if (!colon || inet_pton(AF_INET, text, &address.sin_addr) != 1) {
        fputs("bare: --listen: not IPV4:PORT\n", stderr);
        exit(2);
    }
    address.sin_port = htons((uint16_t)number(colon + 1, "listen"));
    listen_on(bare, (struct sockaddr *)&address, sizeof address);
}

static void listen_unix(struct bare *bare, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof address.sun_path) {
        fputs("bare: --unix: the path is too long\n", stderr);
        exit(2);
    }
    strcpy(address.sun_path, path);
    unlink(path);
    listen_on(bare, (struct sockaddr *)&address, sizeof address);
}

/* total 0: as long as it is without padding. */
static void write_answer(struct bare *bare, int64_t status, const char *body, size_t total)
{
    static const char FORMAT[] = "HTTP/1.1 %" PRId64 " OK\r\nContent-Length: %zu\r\n%s%s%s\r\n%s";
    static const char HEADER[] = "X: ", END[] = "\r\n";
    char padding[sizeof bare->answer] = "";
    size_t room = sizeof bare->answer, body_size = strlen(body);
    size_t least =
        (size_t)snprintf(bare->answer, room, FORMAT, status, body_size, "", "", "", body);
    size_t header = sizeof HEADER - 1 + sizeof END - 1;
    if (total == 0)
        total = least;
    if (total >= room || total < least || (total > least && total <= least + header)) {
        fputs("bare: --answer-bytes or --body: no answer can be that long\n", stderr);
        exit(2);
    }
    if (total > least) {
        memset(padding, 'x', total - least - header);
        snprintf(bare->answer, room, FORMAT, status, body_size, HEADER, padding, END, body);
    }
    bare->answer_size = total;
}

static void read_options(struct bare *bare, int argc, char **argv)
{
    static const struct option options[] = {
        {"listen", required_argument, NULL, 'l'},
        {"unix", required_argument, NULL, 'u'},
        {"status", required_argument, NULL, 's'},
        {"body", required_argument, NULL, 'b'},
        {"answer-bytes", required_argument, NULL, 'a'},
        {"delay-us", required_argument, NULL, 'd'},
        {"slow-every", required_argument, NULL, 'n'},
        {"slow-us", required_argument, NULL, 'w'},
        {"stall-every-ms", required_argument, NULL, 'e'},
        {"stall-ms", required_argument, NULL, 'S'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    const char *body = "";
    size_t answer_bytes = 0;
    int64_t status = 202;
    int option, index = 0;
    while ((option = getopt_long(argc, argv, "", options, &index)) != -1) {
        const char *name = option == '?' ? "" : options[index].name;
        switch (option) {
        case 'l':
            listen_tcp(bare, optarg);
            break;
        case 'u':
            listen_unix(bare, optarg);
            break;
        case 's':
            status = number(optarg, name);
            break;
        case 'b':
            body = optarg;
            break;
        case 'a':
            answer_bytes = (size_t)number(optarg, name);
            break;
        case 'd':
            bare->delay_ns = number(optarg, name) * NS_PER_US;
            break;
        case 'n':
            bare->slow_every = (uint64_t)number(optarg, name);
            break;
        case 'w':
            bare->slow_ns = number(optarg, name) * NS_PER_US;
            break;
        case 'e':
            bare->stall_every_ns = number(optarg, name) * NS_PER_MS;
            break;
        case 'S':
            bare->stall_ns = number(optarg, name) * NS_PER_MS;
            break;
        default:
            fputs(USAGE, option == 'h' ? stdout : stderr);
            exit(option == 'h' ? 0 : 2);
        }
    }
    if (optind < argc || bare->client_count == 0) {
        fputs(USAGE, stderr);
        exit(2);
    }
    write_answer(bare, status, body, answer_bytes);
}

int main(int argc, char **argv)
{
    static struct bare bare;
    bare.clients = calloc(CLIENTS_MAX, sizeof *bare.clients);
    bare.epoll = epoll_create1(EPOLL_CLOEXEC);
    if (!bare.clients || bare.epoll < 0)
        give_up("start");
    sigset_t ends;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    clock_wake_on_time();
    read_options(&bare, argc, argv);
    bare.next_stall_ns = clock_now_ns() + bare.stall_every_ns;
    puts("bare ready");
    fflush(stdout);
    serve(&bare);
    printf("{\"requests\":%" PRIu64 ",\"delayed_us\":", bare.requests);
    histogram_write(&bare.delayed, stdout);
    puts("}");
    return 0;
}
