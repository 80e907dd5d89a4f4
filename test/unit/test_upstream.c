/* worker/upstream against a server of its own that answers byte for byte what a case says, and
 * counts what it was sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/clock.h"
#include "worker/upstream.h"

#define DEFAULT         0
#define FALLBACK        1
#define CONNECTIONS_MAX 160
#define REQUESTS_MAX    512
#define REQUEST_SIZE    1024
#define CASE_LIMIT_MS   10000

#define OK_BODY  "{\"message\":\"payment processed successfully\"}"
#define OK_REPLY "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n" OK_BODY

/* --- the server --------------------------------------------------------------------------- */

enum then {
    KEEP,           /* the connection */
    SAY_TWICE,      /* the same once more, 10 ms after it, and keep the connection */
    CLOSE,          /* it, orderly */
    RESET,          /* it, at once */
    CLOSE_ENTIRELY, /* it and the listening socket: a program that ended */
    HOLD            /* answer nothing before so many requests are here as the script says */
};

/* The answer to one request. */
struct step {
    const char *reply; /* NULL: none */
    enum then then;
    int after_ms;
};

struct connection {
    int fd; /* -1: closed */
    bool is_held;
    size_t length;
    char text[REQUEST_SIZE];
};

struct server {
    pthread_t thread;
    int listen_fd;
    int stop_fd;
    int port;
    const struct step *steps; /* one a request, in order of arrival; the last one stays */
    int step_count;
    int hold_count;
    struct connection connections[CONNECTIONS_MAX];
    pthread_mutex_t lock; /* over what follows */
    int accepted;
    int requests;
    int connection_of[REQUESTS_MAX];
    char request[REQUESTS_MAX][REQUEST_SIZE];
};

static void end_connection(struct connection *connection, bool with_reset)
{
    struct linger none = {.l_onoff = 1, .l_linger = 0};
    if (with_reset)
        setsockopt(connection->fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
    close(connection->fd);
    connection->fd = -1;
}

static void send_all(int fd, const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        ssize_t sent = send(fd, text, left, MSG_NOSIGNAL);
        if (sent <= 0)
            return;
        text += sent;
        left -= (size_t)sent;
    }
}

static void answer(struct server *server, struct connection *connection, const struct step *step)
{
    if (step->after_ms > 0)
        usleep((useconds_t)step->after_ms * 1000);
    if (step->reply != NULL)
        send_all(connection->fd, step->reply);
    if (step->then == SAY_TWICE) {
        usleep(10 * 1000);
        send_all(connection->fd, step->reply);
    }
    if (step->then == CLOSE_ENTIRELY) {
        close(server->listen_fd);
        server->listen_fd = -1;
    }
    if (step->then == CLOSE || step->then == CLOSE_ENTIRELY)
        end_connection(connection, false);
    else if (step->then == RESET)
        end_connection(connection, true);
}

static void answer_held(struct server *server, const struct step *step)
{
    int held = 0;
    for (int i = 0; i < server->accepted; i++)
        held += server->connections[i].is_held;
    if (held < server->hold_count)
        return;
    for (int i = 0; i < server->accepted; i++)
        if (server->connections[i].is_held) {
            server->connections[i].is_held = false;
            send_all(server->connections[i].fd, step->reply);
        }
}

/* How long the request at the start of the text is; 0: it is not whole yet. */
static size_t request_length(const char *text, size_t length)
{
    const char *end = strstr(text, "\r\n\r\n");
    if (end == NULL)
        return 0;
    size_t whole = (size_t)(end - text) + 4;
    const char *field = strstr(text, "\r\nContent-Length:");
    if (field != NULL && field < end)
        whole += strtoul(field + 17, NULL, 10);
    return whole <= length ? whole : 0;
}

static void take_request(struct server *server, int number)
{
    struct connection *connection = &server->connections[number];
    size_t length = request_length(connection->text, connection->length);
    if (length == 0)
        return;
    pthread_mutex_lock(&server->lock);
    int request = server->requests < REQUESTS_MAX ? server->requests++ : REQUESTS_MAX - 1;
    memcpy(server->request[request], connection->text, length);
    server->request[request][length] = '\0';
    server->connection_of[request] = number;
    pthread_mutex_unlock(&server->lock);
    connection->length -= length;
    memmove(connection->text, connection->text + length, connection->length + 1);
    int last = server->step_count - 1;
    const struct step *step = &server->steps[request < last ? request : last];
    connection->is_held = step->then == HOLD;
    if (connection->is_held)
        answer_held(server, step);
    else
        answer(server, connection, step);
}

static void read_connection(struct server *server, int number)
{
    struct connection *connection = &server->connections[number];
    ssize_t got = recv(connection->fd, connection->text + connection->length,
                       REQUEST_SIZE - 1 - connection->length, 0);
    if (got <= 0) {
        end_connection(connection, false);
        return;
    }
    connection->length += (size_t)got;
    connection->text[connection->length] = '\0';
    take_request(server, number);
}

static void accept_connection(struct server *server)
{
    int fd = accept(server->listen_fd, NULL, NULL);
    if (fd < 0 || server->accepted == CONNECTIONS_MAX)
        abort();
    server->connections[server->accepted] = (struct connection){.fd = fd};
    pthread_mutex_lock(&server->lock);
    server->accepted++;
    pthread_mutex_unlock(&server->lock);
}

static void *serve(void *context)
{
    struct server *server = context;
    struct pollfd wanted[CONNECTIONS_MAX + 2];
    for (;;) {
        int open = server->accepted;
        for (int i = 0; i < open; i++)
            wanted[i] = (struct pollfd){.fd = server->connections[i].fd, .events = POLLIN};
        wanted[open] = (struct pollfd){.fd = server->listen_fd, .events = POLLIN};
        wanted[open + 1] = (struct pollfd){.fd = server->stop_fd, .events = POLLIN};
        poll(wanted, (nfds_t)open + 2, -1);
        if (wanted[open + 1].revents)
            return NULL;
        for (int i = 0; i < open; i++)
            if (wanted[i].revents)
                read_connection(server, i);
        if (wanted[open].revents && server->listen_fd >= 0)
            accept_connection(server);
    }
}

static int listen_somewhere(int backlog, int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(fd, backlog), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&address, &size), 0);
    *port = ntohs(address.sin_port);
    return fd;
}

static struct server *server_start(const struct step *steps, int step_count)
{
    struct server *server = calloc(1, sizeof *server);
    assert_non_null(server);
    server->listen_fd = listen_somewhere(CONNECTIONS_MAX, &server->port);
    server->stop_fd = eventfd(0, 0);
    server->steps = steps;
    server->step_count = step_count;
    pthread_mutex_init(&server->lock, NULL);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
    return server;
}

static void server_stop(struct server *server)
{
    assert_int_equal(eventfd_write(server->stop_fd, 1), 0);
    pthread_join(server->thread, NULL);
    for (int i = 0; i < server->accepted; i++)
        if (server->connections[i].fd >= 0)
            close(server->connections[i].fd);
    if (server->listen_fd >= 0)
        close(server->listen_fd);
    close(server->stop_fd);
    pthread_mutex_destroy(&server->lock);
    free(server);
}

static int requests_seen(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    int requests = server->requests;
    pthread_mutex_unlock(&server->lock);
    return requests;
}

static int connections_seen(struct server *server)
{
    pthread_mutex_lock(&server->lock);
    int accepted = server->accepted;
    pthread_mutex_unlock(&server->lock);
    return accepted;
}

/* --- the client side ---------------------------------------------------------------------- */

static const struct uuid an_id = {UINT64_C(0x4a7901b88d264d9d), UINT64_C(0xaa194dc1c7cf60b3)};
#define AN_ID        "4a7901b8-8d26-4d9d-aa19-4dc1c7cf60b3"
#define SOME_TIME_MS INT64_C(1752582896000) /* 2025-07-15T12:34:56.000Z */

/* Both URLs lead to the server at this port. */
static struct upstream *upstream_for(int port, int transfers_max, int64_t timeout_ms)
{
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    struct upstream_settings settings = {.urls = {url, url},
                                         .post_timeout_ms = timeout_ms,
                                         .lookup_timeout_ms = timeout_ms,
                                         .health_timeout_ms = timeout_ms,
                                         .transfers_max = transfers_max};
    struct explain why = {""};
    struct upstream *upstream = upstream_create(&settings, &why);
    if (upstream == NULL)
        fail_msg("upstream_create: %s", why.text);
    return upstream;
}

struct collected {
    int count;
    struct upstream_completion last;
};

static void collect(void *context, const struct upstream_completion *completion)
{
    struct collected *collected = context;
    collected->count++;
    collected->last = *completion;
}

/* Nothing starts anything here: what is not complete at the limit never will be. */
static void run_until(struct upstream *upstream, struct collected *collected, int count)
{
    int64_t limit_ms = clock_monotonic_ms() + CASE_LIMIT_MS;
    while (collected->count < count && clock_monotonic_ms() < limit_ms) {
        upstream_wait(upstream, -1, 1000);
        upstream_perform(upstream, collect, collected);
    }
    assert_int_equal(collected->count, count);
}

static struct upstream_completion post(struct upstream *upstream)
{
    struct collected collected = {0};
    assert_true(upstream_try_post(upstream, DEFAULT, 7, &an_id, 1990, SOME_TIME_MS));
    run_until(upstream, &collected, 1);
    assert_int_equal(collected.last.kind, UPSTREAM_POST);
    assert_int_equal(collected.last.ticket, 7);
    assert_int_equal(collected.last.processor, DEFAULT);
    assert_int_equal(upstream_in_flight(upstream, DEFAULT), 0);
    return collected.last;
}

static struct upstream_completion lookup(struct upstream *upstream)
{
    struct collected collected = {0};
    assert_true(upstream_try_lookup(upstream, DEFAULT, 8, &an_id));
    run_until(upstream, &collected, 1);
    assert_int_equal(collected.last.kind, UPSTREAM_LOOKUP);
    assert_int_equal(collected.last.ticket, 8);
    return collected.last;
}

static struct upstream_completion health(struct upstream *upstream)
{
    struct collected collected = {0};
    assert_true(upstream_try_health(upstream, FALLBACK, 9));
    run_until(upstream, &collected, 1);
    assert_int_equal(collected.last.kind, UPSTREAM_HEALTH);
    assert_int_equal(collected.last.ticket, 9);
    assert_int_equal(collected.last.processor, FALLBACK);
    return collected.last;
}

/* --- one request, one answer -------------------------------------------------------------- */

struct verdict {
    const char *name;
    const char *reply;
    enum then then;
    enum upstream_outcome outcome;
    long http_status;
};

/* Each on a server and an upstream of its own; each sees its request exactly once. */
static void check_verdict(const struct verdict *verdict,
                          struct upstream_completion (*ask)(struct upstream *))
{
    const struct step step = {verdict->reply, verdict->then, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    struct upstream_completion completion = ask(upstream);
    if (completion.outcome != verdict->outcome || completion.http_status != verdict->http_status)
        fail_msg("%s: outcome %d, status %ld", verdict->name, (int)completion.outcome,
                 completion.http_status);
    if (requests_seen(server) != 1)
        fail_msg("%s: %d requests", verdict->name, requests_seen(server));
    upstream_destroy(upstream);
    server_stop(server);
}

#define CHUNKED "Transfer-Encoding: chunked\r\n\r\n"
#define EMPTY   "Content-Length: 0\r\n\r\n"

static const struct verdict post_verdicts[] = {
    {"200", OK_REPLY, KEEP, UPSTREAM_ACCEPTED, 200},
    {"200 of HTTP/1.0", "HTTP/1.0 200 OK\r\nContent-Length: 44\r\n\r\n" OK_BODY, CLOSE,
     UPSTREAM_ACCEPTED, 200},
    {"200 in chunks",
     "HTTP/1.1 200 OK\r\n" CHUNKED "1\r\n{\r\ne\r\n\"message\":\"ok\"\r\n1\r\n}\r\n0\r\n\r\n", KEEP,
     UPSTREAM_ACCEPTED, 200},
    {"200 in chunks with a trailer",
     "HTTP/1.1 200 OK\r\n" CHUNKED "2c\r\n" OK_BODY "\r\n0\r\nX-Checksum: 1\r\n\r\n", KEEP,
     UPSTREAM_ACCEPTED, 200},
    {"200 up to the close", "HTTP/1.1 200 OK\r\n\r\n" OK_BODY, CLOSE, UPSTREAM_ACCEPTED, 200},
    {"200 after 100", "HTTP/1.1 100 Continue\r\n\r\n" OK_REPLY, KEEP, UPSTREAM_ACCEPTED, 200},
    {"200 without a body", "HTTP/1.1 200 OK\r\n" EMPTY, KEEP, UPSTREAM_UNKNOWN, 200},
    {"200 with an object without a message", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", KEEP,
     UPSTREAM_UNKNOWN, 200},
    {"200 of something in between",
     "HTTP/1.1 200 OK\r\nContent-Length: 23\r\n\r\n{\"error\":\"no upstream\"}", KEEP,
     UPSTREAM_UNKNOWN, 200},
    {"200 with a list", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]", KEEP, UPSTREAM_UNKNOWN,
     200},
    {"200 with more behind", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}x", KEEP,
     UPSTREAM_UNKNOWN, 200},
    {"200, length too large", "HTTP/1.1 200 OK\r\nContent-Length: 45\r\n\r\n" OK_BODY, CLOSE,
     UPSTREAM_UNKNOWN, 200},
    {"200, length too small", "HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n" OK_BODY, KEEP,
     UPSTREAM_UNKNOWN, 200},
    {"200, last chunk missing", "HTTP/1.1 200 OK\r\n" CHUNKED "2\r\n{}\r\n", CLOSE,
     UPSTREAM_UNKNOWN, 200},
    {"200, cut off, no length", "HTTP/1.1 200 OK\r\n\r\n{\"message\":\"pay", CLOSE,
     UPSTREAM_UNKNOWN, 200},
    {"200, cut off by reset", "HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n{\"mes", RESET,
     UPSTREAM_UNKNOWN, 200},
    {"201", "HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\n{}", KEEP, UPSTREAM_UNKNOWN, 201},
    {"204", "HTTP/1.1 204 No Content\r\n\r\n", KEEP, UPSTREAM_UNKNOWN, 204},
    {"400", "HTTP/1.1 400 Bad Request\r\n" EMPTY, KEEP, UPSTREAM_BAD_REQUEST, 400},
    {"400 cut off", "HTTP/1.1 400 Bad Request\r\nContent-Length: 9\r\n\r\n{", CLOSE,
     UPSTREAM_UNKNOWN, 400},
    {"401", "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\n" EMPTY, KEEP,
     UPSTREAM_UNKNOWN, 401},
    {"404", "HTTP/1.1 404 Not Found\r\n" EMPTY, KEEP, UPSTREAM_UNKNOWN, 404},
    {"417", "HTTP/1.1 417 Expectation Failed\r\n" EMPTY, KEEP, UPSTREAM_UNKNOWN, 417},
    {"422", "HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 2\r\n\r\n{}", KEEP,
     UPSTREAM_EXISTS, 422},
    {"422 in the middle of the header", "HTTP/1.1 422 Unprocessable Entity\r\nContent-Le", CLOSE,
     UPSTREAM_UNKNOWN, 422},
    {"429", "HTTP/1.1 429 Too Many Requests\r\n" EMPTY, KEEP, UPSTREAM_BUSY, 429},
    {"429 of a closing server", "HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\n\r\n",
     CLOSE, UPSTREAM_BUSY, 429},
    {"429 before the empty line", "HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n", CLOSE,
     UPSTREAM_UNKNOWN, 429},
    {"429 in the status line", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too", CLOSE,
     UPSTREAM_UNKNOWN, 100},
    {"429 after 100, before the empty line",
     "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\n", CLOSE,
     UPSTREAM_UNKNOWN, 429},
    {"500 empty", "HTTP/1.1 500 Internal Server Error\r\n" EMPTY, KEEP, UPSTREAM_FAILING, 500},
    {"500 empty in chunks", "HTTP/1.1 500 Internal Server Error\r\n" CHUNKED "0\r\n\r\n", KEEP,
     UPSTREAM_FAILING, 500},
    {"500 with a body", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n{}", KEEP,
     UPSTREAM_UNKNOWN, 500},
    {"500 with a chunk", "HTTP/1.1 500 Internal Server Error\r\n" CHUNKED "1\r\n{\r\n0\r\n\r\n",
     KEEP, UPSTREAM_UNKNOWN, 500},
    {"500 before its body", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 2\r\n\r\n",
     CLOSE, UPSTREAM_UNKNOWN, 500},
    {"500 before its chunk", "HTTP/1.1 500 Internal Server Error\r\n" CHUNKED, CLOSE,
     UPSTREAM_UNKNOWN, 500},
    {"500, nothing declared", "HTTP/1.1 500 Internal Server Error\r\n\r\n", CLOSE, UPSTREAM_UNKNOWN,
     500},
    {"500 before the empty line", "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n",
     CLOSE, UPSTREAM_UNKNOWN, 500},
    {"502 empty", "HTTP/1.1 502 Bad Gateway\r\n" EMPTY, KEEP, UPSTREAM_UNKNOWN, 502},
    {"503 empty", "HTTP/1.1 503 Service Unavailable\r\n" EMPTY, KEEP, UPSTREAM_UNKNOWN, 503},
    {"garbage", "\x16\x03\x01 not HTTP at all\r\n\r\n", CLOSE, UPSTREAM_UNKNOWN, 0},
    {"JSON without HTTP", OK_BODY, CLOSE, UPSTREAM_UNKNOWN, 0},
    {"a redirect", "HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\n" EMPTY, KEEP,
     UPSTREAM_UNKNOWN, 307},
    {"closed without a word", NULL, CLOSE, UPSTREAM_UNKNOWN, 0},
    {"reset without a word", NULL, RESET, UPSTREAM_UNKNOWN, 0},
    {"ended without a word", NULL, CLOSE_ENTIRELY, UPSTREAM_UNKNOWN, 0},
};

static void test_what_a_reply_to_a_post_proves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof post_verdicts / sizeof post_verdicts[0]; i++)
        check_verdict(&post_verdicts[i], post);
}

#define STORED "HTTP/1.1 200 OK\r\n" /* closed afterwards: its length need not be counted */

static const struct verdict lookup_verdicts[] = {
    {"found",
     STORED "\r\n{\"correlationId\":\"" AN_ID
            "\",\"amount\":19.9,\"requestedAt\":\"2025-07-15T12:34:56.789\"}",
     CLOSE, UPSTREAM_FOUND, 200},
    {"another id",
     STORED "\r\n{\"correlationId\":\"4a7901b8-8d26-4d9d-aa19-4dc1c7cf60b4"
            "\",\"amount\":19.9,\"requestedAt\":\"2025-07-15T12:34:56.789\"}",
     CLOSE, UPSTREAM_UNKNOWN, 200},
    {"no time", STORED "\r\n{\"correlationId\":\"" AN_ID "\",\"amount\":19.9}", CLOSE,
     UPSTREAM_UNKNOWN, 200},
    {"no amount",
     STORED "\r\n{\"correlationId\":\"" AN_ID "\",\"requestedAt\":\"2025-07-15T12:34:56.789\"}",
     CLOSE, UPSTREAM_UNKNOWN, 200},
    {"cut off",
     STORED "\r\n{\"correlationId\":\"" AN_ID
            "\",\"amount\":19.9,\"requestedAt\":\"2025-07-15T12:34:56",
     CLOSE, UPSTREAM_UNKNOWN, 200},
    {"absent", "HTTP/1.1 404 Not Found\r\n" EMPTY, KEEP, UPSTREAM_ABSENT, 404},
    {"absent, cut off", "HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n", CLOSE,
     UPSTREAM_UNKNOWN, 404},
    {"busy", "HTTP/1.1 429 Too Many Requests\r\n" EMPTY, KEEP, UPSTREAM_BUSY, 429},
    {"failing", "HTTP/1.1 500 Internal Server Error\r\n" EMPTY, KEEP, UPSTREAM_UNKNOWN, 500},
    {"reset", NULL, RESET, UPSTREAM_UNKNOWN, 0},
};

static void test_what_a_reply_to_a_lookup_proves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof lookup_verdicts / sizeof lookup_verdicts[0]; i++)
        check_verdict(&lookup_verdicts[i], lookup);
}

static const struct verdict health_verdicts[] = {
    {"report", STORED "\r\n{\"failing\":true,\"minResponseTime\":137}", CLOSE, UPSTREAM_REPORT,
     200},
    {"half a report", STORED "\r\n{\"failing\":true}", CLOSE, UPSTREAM_UNKNOWN, 200},
    {"words for values", STORED "\r\n{\"failing\":\"no\",\"minResponseTime\":1}", CLOSE,
     UPSTREAM_UNKNOWN, 200},
    {"asked too often", "HTTP/1.1 429 Too Many Requests\r\n" EMPTY, KEEP, UPSTREAM_BUSY, 429},
    {"absent", "HTTP/1.1 404 Not Found\r\n" EMPTY, KEEP, UPSTREAM_UNKNOWN, 404},
};

static void test_what_a_reply_to_a_health_call_proves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof health_verdicts / sizeof health_verdicts[0]; i++)
        check_verdict(&health_verdicts[i], health);
}

static void test_values_found(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {lookup_verdicts[0].reply, CLOSE, 0},
        {health_verdicts[0].reply, CLOSE, 0},
    };
    struct server *server = server_start(steps, 2);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    struct upstream_completion completion = lookup(upstream);
    assert_int_equal(completion.stored_amount_cents, 1990);
    assert_int_equal(completion.stored_requested_at_us, SOME_TIME_MS * 1000 + 789000);
    assert_true(completion.stored_requested_at_is_exact);
    completion = health(upstream);
    assert_true(completion.report_failing);
    assert_int_equal(completion.report_min_response_ms, 137);
    assert_string_equal(strtok(server->request[0], "\r"), "GET /payments/" AN_ID " HTTP/1.1");
    assert_string_equal(strtok(server->request[1], "\r"), "GET /payments/service-health HTTP/1.1");
    upstream_destroy(upstream);
    server_stop(server);
}

/* --- what goes over the wire -------------------------------------------------------------- */

static void test_request_bytes(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, KEEP, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    struct collected collected = {0};
    char expected[REQUEST_SIZE];
    snprintf(expected, sizeof expected,
             "POST /payments HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept: */*\r\n"
             "Content-Type: application/json\r\nContent-Length: 112\r\n\r\n"
             "{\"correlationId\":\"" AN_ID
             "\",\"amount\":19.90,\"requestedAt\":\"2025-07-15T12:34:56.000Z\"}",
             server->port);
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    assert_string_equal(server->request[0], expected);
    assert_true(upstream_try_post(upstream, DEFAULT, 1, &an_id, 100000005, SOME_TIME_MS + 7));
    run_until(upstream, &collected, 1);
    assert_string_equal(strstr(server->request[1], "{"),
                        "{\"correlationId\":\"" AN_ID
                        "\",\"amount\":1000000.05,\"requestedAt\":\"2025-07-15T12:34:56.007Z\"}");
    assert_non_null(strstr(server->request[1], "Content-Length: 117\r\n"));
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    assert_string_equal(server->request[2], expected);
    assert_int_equal(connections_seen(server), 1);
    upstream_destroy(upstream);
    server_stop(server);
}

static void test_path_below_a_url_with_a_path(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, KEEP, 0};
    struct server *server = server_start(&step, 1);
    char url[64];
    snprintf(url, sizeof url, "http://127.0.0.1:%d/below//", server->port);
    struct upstream_settings settings = {.urls = {url, "https://localhost"},
                                         .post_timeout_ms = 5000,
                                         .lookup_timeout_ms = 5000,
                                         .health_timeout_ms = 5000,
                                         .transfers_max = 1};
    struct upstream *upstream = upstream_create(&settings, NULL);
    assert_non_null(upstream);
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    assert_string_equal(strtok(server->request[0], "\r"), "POST /below/payments HTTP/1.1");
    upstream_destroy(upstream);
    server_stop(server);
}

static void test_each_processor_has_its_own_server(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, KEEP, 0};
    struct server *servers[2] = {server_start(&step, 1), server_start(&step, 1)};
    char urls[2][64];
    for (int i = 0; i < 2; i++)
        snprintf(urls[i], sizeof urls[i], "http://127.0.0.1:%d", servers[i]->port);
    struct upstream_settings settings = {.urls = {urls[0], urls[1]},
                                         .post_timeout_ms = 5000,
                                         .lookup_timeout_ms = 5000,
                                         .health_timeout_ms = 5000,
                                         .transfers_max = 2};
    struct upstream *upstream = upstream_create(&settings, NULL);
    struct collected collected = {0};
    assert_true(upstream_try_post(upstream, FALLBACK, 3, &an_id, 1990, SOME_TIME_MS));
    assert_int_equal(upstream_in_flight(upstream, DEFAULT), 0);
    assert_int_equal(upstream_in_flight(upstream, FALLBACK), 1);
    run_until(upstream, &collected, 1);
    assert_int_equal(collected.last.processor, FALLBACK);
    assert_int_equal(collected.last.outcome, UPSTREAM_ACCEPTED);
    assert_int_equal(requests_seen(servers[0]), 0);
    assert_int_equal(requests_seen(servers[1]), 1);
    upstream_destroy(upstream);
    server_stop(servers[0]);
    server_stop(servers[1]);
}

static void test_environment_proxy_is_not_used(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, KEEP, 0};
    struct server *server = server_start(&step, 1);
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    upstream_destroy(upstream);
    server_stop(server);
}

/* --- sizes -------------------------------------------------------------------------------- */

/* A 200 whose body is an object of so many bytes, after so many bytes of one header field. */
static enum upstream_outcome outcome_of_size(int field_length, int body_length)
{
    char *reply = malloc((size_t)field_length + (size_t)body_length + 200);
    assert_non_null(reply);
    sprintf(reply,
            "HTTP/1.1 200 OK\r\nX-Field: %0*d\r\nContent-Length: %d\r\n\r\n{\"message\":\"%0*d\"}",
            field_length, 0, body_length, body_length - 14, 0);
    const struct step step = {reply, KEEP, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    enum upstream_outcome outcome = post(upstream).outcome;
    assert_int_equal(requests_seen(server), 1);
    upstream_destroy(upstream);
    server_stop(server);
    free(reply);
    return outcome;
}

static void test_sizes(void **state)
{
    (void)state;
    assert_int_equal(outcome_of_size(1, 4096), UPSTREAM_ACCEPTED);
    assert_int_equal(outcome_of_size(1, 4097), UPSTREAM_UNKNOWN);
    assert_int_equal(outcome_of_size(1, 100000), UPSTREAM_UNKNOWN);
    assert_int_equal(outcome_of_size(15000, 100), UPSTREAM_ACCEPTED);
    assert_int_equal(outcome_of_size(17000, 100), UPSTREAM_UNKNOWN);
}

/* What was accepted once is compared with, not parsed: the comparison must not accept more. */
static void test_repeated_replies(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {OK_REPLY, KEEP, 0},
        {OK_REPLY, KEEP, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 43\r\n\r\n"
         "{\"message\":\"payment processed successfully\"",
         KEEP, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 44\r\n\r\n"
         "{\"message\":\"payment processed successfully\"]",
         KEEP, 0},
        {"HTTP/1.1 200 OK\r\nContent-Length: 14\r\n\r\n{\"message\":\"\"}", KEEP, 0},
        {OK_REPLY, KEEP, 0},
    };
    static const enum upstream_outcome outcomes[] = {
        UPSTREAM_ACCEPTED, UPSTREAM_ACCEPTED, UPSTREAM_UNKNOWN,  UPSTREAM_UNKNOWN,
        UPSTREAM_UNKNOWN,  UPSTREAM_ACCEPTED, UPSTREAM_ACCEPTED,
    };
    struct server *server = server_start(steps, 7);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    for (int i = 0; i < 7; i++)
        assert_int_equal(post(upstream).outcome, outcomes[i]);
    assert_int_equal(requests_seen(server), 7);
    assert_int_equal(connections_seen(server), 1);
    upstream_destroy(upstream);
    server_stop(server);
}

/* --- connections that fail ---------------------------------------------------------------- */

static void test_closed_port_is_unreached(void **state)
{
    (void)state;
    int port;
    close(listen_somewhere(1, &port));
    struct upstream *upstream = upstream_for(port, 1, 5000);
    for (int i = 0; i < 3; i++) {
        struct upstream_completion completion = post(upstream);
        assert_int_equal(completion.outcome, UPSTREAM_UNREACHED);
        assert_int_equal(completion.http_status, 0);
        assert_int_equal(lookup(upstream).outcome, UPSTREAM_UNREACHED);
        assert_int_equal(health(upstream).outcome, UPSTREAM_UNREACHED);
    }
    upstream_destroy(upstream);
}

/* A backlog that is full leaves the next connection unanswered. */
static void test_connection_never_made_is_unreached(void **state)
{
    (void)state;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int port;
    int fillers[4];
    int listen_fd = listen_somewhere(0, &port);
    address.sin_port = htons((uint16_t)port);
    for (int i = 0; i < 4; i++) {
        fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        int rc = connect(fillers[i], (struct sockaddr *)&address, sizeof address);
        assert_true(rc == 0 || errno == EINPROGRESS);
    }
    struct upstream *upstream = upstream_for(port, 1, 300);
    struct upstream_completion completion = post(upstream);
    assert_int_equal(completion.outcome, UPSTREAM_UNREACHED);
    assert_in_range(completion.latency_us, 250000, 5000000);
    upstream_destroy(upstream);
    for (int i = 0; i < 4; i++)
        close(fillers[i]);
    close(listen_fd);
}

/* libcurl would send the second request again on a new connection. The server has taken it once,
 * and may have executed it. */
static void check_hidden_resend(enum then then)
{
    const struct step steps[] = {{OK_REPLY, KEEP, 0}, {NULL, then, 0}, {OK_REPLY, KEEP, 0}};
    struct server *server = server_start(steps, 3);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    struct upstream_completion completion = post(upstream);
    assert_int_equal(completion.outcome, UPSTREAM_UNKNOWN);
    assert_int_equal(completion.http_status, 0);
    upstream_wait(upstream, -1, 50);
    assert_int_equal(requests_seen(server), 2);
    assert_int_equal(server->connection_of[0], server->connection_of[1]);
    enum upstream_outcome next = then == CLOSE_ENTIRELY ? UPSTREAM_UNREACHED : UPSTREAM_ACCEPTED;
    assert_int_equal(post(upstream).outcome, next);
    assert_int_equal(requests_seen(server), then == CLOSE_ENTIRELY ? 2 : 3);
    upstream_destroy(upstream);
    server_stop(server);
}

static void test_reused_connection_closed_without_a_word(void **state)
{
    (void)state;
    check_hidden_resend(CLOSE);
}

static void test_reused_connection_reset_without_a_word(void **state)
{
    (void)state;
    check_hidden_resend(RESET);
}

/* The second connection is refused, and libcurl reports that nothing could be connected to: still
 * unknown, the first sending arrived. */
static void test_reused_connection_and_server_gone(void **state)
{
    (void)state;
    check_hidden_resend(CLOSE_ENTIRELY);
}

static void test_idle_connection_closed_is_replaced(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, CLOSE, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
        upstream_wait(upstream, -1, 30); /* lets the end of the connection arrive */
    }
    assert_int_equal(requests_seen(server), 5);
    assert_int_equal(connections_seen(server), 5);
    upstream_destroy(upstream);
    server_stop(server);
}

/* The second answer would be taken for that to the second request, which is not accepted. */
static void test_second_answer_on_an_idle_connection(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {OK_REPLY, SAY_TWICE, 0},
        {"HTTP/1.1 422 Unprocessable Entity\r\nContent-Length: 0\r\n\r\n", KEEP, 0},
    };
    struct server *server = server_start(steps, 2);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    usleep(50 * 1000); /* lets it arrive */
    assert_int_equal(post(upstream).outcome, UPSTREAM_UNREACHED);
    assert_int_equal(requests_seen(server), 1);
    assert_int_equal(post(upstream).outcome, UPSTREAM_EXISTS);
    assert_int_equal(post(upstream).outcome, UPSTREAM_EXISTS);
    assert_int_equal(requests_seen(server), 3);
    assert_int_equal(connections_seen(server), 2);
    upstream_destroy(upstream);
    server_stop(server);
}

/* --- time --------------------------------------------------------------------------------- */

static void test_time_out_is_unknown(void **state)
{
    (void)state;
    static const struct step steps[] = {
        {NULL, KEEP, 0},
        {NULL, KEEP, 0},
        {NULL, KEEP, 0},
        {"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 5\r\n\r\n1234", KEEP, 0},
        {OK_REPLY, KEEP, 0},
    };
    struct server *server = server_start(steps, 5);
    struct upstream *upstream = upstream_for(server->port, 1, 200);
    struct upstream_completion completion = post(upstream);
    assert_int_equal(completion.outcome, UPSTREAM_UNKNOWN);
    assert_in_range(completion.latency_us, 190000, 5000000);
    assert_int_equal(lookup(upstream).outcome, UPSTREAM_UNKNOWN);
    assert_int_equal(health(upstream).outcome, UPSTREAM_UNKNOWN);
    completion = post(upstream);
    assert_int_equal(completion.outcome, UPSTREAM_UNKNOWN);
    assert_int_equal(completion.http_status, 429);
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    assert_int_equal(requests_seen(server), 5);
    upstream_destroy(upstream);
    server_stop(server);
}

static void test_latency(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, KEEP, 120};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    struct upstream_completion completion = post(upstream);
    assert_int_equal(completion.outcome, UPSTREAM_ACCEPTED);
    assert_in_range(completion.latency_us, 120000, 5000000);
    upstream_destroy(upstream);
    server_stop(server);
}

static void test_wait(void **state)
{
    (void)state;
    struct upstream *upstream = upstream_for(1, 1, 5000);
    struct collected none = {0};
    int doorbell = eventfd(0, EFD_NONBLOCK);
    int64_t before_ms = clock_monotonic_ms();
    upstream_wait(upstream, doorbell, 60);
    assert_in_range(clock_monotonic_ms() - before_ms, 55, 5000);
    assert_int_equal(eventfd_write(doorbell, 1), 0);
    before_ms = clock_monotonic_ms();
    upstream_wait(upstream, doorbell, 60000);
    assert_in_range(clock_monotonic_ms() - before_ms, 0, 5000);
    eventfd_t rung = 0;
    assert_int_equal(eventfd_read(doorbell, &rung), 0);
    assert_int_equal(rung, 1);
    upstream_wait(upstream, doorbell, -1); /* a deadline that has passed */
    upstream_perform(upstream, collect, &none);
    assert_int_equal(none.count, 0);
    close(doorbell);
    upstream_destroy(upstream);
}

/* The same doorbell while a request is out that nobody answers. */
static void test_wait_while_something_is_out(void **state)
{
    (void)state;
    static const struct step step = {NULL, KEEP, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 60000);
    struct collected none = {0};
    int doorbell = eventfd(0, EFD_NONBLOCK);
    assert_true(upstream_try_post(upstream, DEFAULT, 1, &an_id, 1990, SOME_TIME_MS));
    int64_t limit_ms = clock_monotonic_ms() + CASE_LIMIT_MS;
    while (requests_seen(server) == 0 && clock_monotonic_ms() < limit_ms) {
        upstream_perform(upstream, collect, &none);
        upstream_wait(upstream, doorbell, 10);
    }
    assert_int_equal(requests_seen(server), 1);
    assert_int_equal(upstream_in_flight(upstream, DEFAULT), 1);
    int64_t before_ms = clock_monotonic_ms();
    upstream_wait(upstream, doorbell, 60);
    assert_in_range(clock_monotonic_ms() - before_ms, 55, 5000);
    assert_int_equal(eventfd_write(doorbell, 1), 0);
    before_ms = clock_monotonic_ms();
    upstream_wait(upstream, doorbell, 60000);
    assert_in_range(clock_monotonic_ms() - before_ms, 0, 5000);
    assert_int_equal(none.count, 0);
    close(doorbell);
    upstream_destroy(upstream);
    server_stop(server);
}

/* What was started has to be sent before anything is waited for. */
static void test_wait_does_not_hold_up_a_start(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, KEEP, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    assert_int_equal(post(upstream).outcome, UPSTREAM_ACCEPTED);
    int64_t before_ms = clock_monotonic_ms();
    assert_true(upstream_try_post(upstream, DEFAULT, 1, &an_id, 1990, SOME_TIME_MS));
    upstream_wait(upstream, -1, 60000);
    assert_in_range(clock_monotonic_ms() - before_ms, 0, 2000);
    upstream_destroy(upstream);
    server_stop(server);
}

/* --- many --------------------------------------------------------------------------------- */

#define MANY 64

struct tally {
    int count;
    int of_ticket[2 * MANY];
};

static void count_tickets(void *context, const struct upstream_completion *completion)
{
    struct tally *tally = context;
    assert_int_equal(completion->outcome, UPSTREAM_ACCEPTED);
    assert_true(completion->ticket < 2 * MANY);
    tally->count++;
    tally->of_ticket[completion->ticket]++;
}

static void run_tally(struct upstream *upstream, struct tally *tally, int count)
{
    int64_t limit_ms = clock_monotonic_ms() + CASE_LIMIT_MS;
    while (tally->count < count && clock_monotonic_ms() < limit_ms) {
        upstream_wait(upstream, -1, 1000);
        upstream_perform(upstream, count_tickets, tally);
    }
    assert_int_equal(tally->count, count);
}

/* The server answers none before all are there: they are in flight at once. */
static void test_many_in_flight(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, HOLD, 0};
    struct server *server = server_start(&step, 1);
    server->hold_count = MANY;
    struct upstream *upstream = upstream_for(server->port, MANY, 5000);
    struct tally tally = {0};
    for (int round = 0; round < 2; round++) {
        for (uint64_t i = 0; i < MANY; i++)
            assert_true(upstream_try_post(upstream, DEFAULT, (uint64_t)round * MANY + i, &an_id,
                                          1990, SOME_TIME_MS));
        assert_false(upstream_try_post(upstream, DEFAULT, 0, &an_id, 1990, SOME_TIME_MS));
        assert_int_equal(upstream_in_flight(upstream, DEFAULT), MANY);
        run_tally(upstream, &tally, MANY * (round + 1));
        assert_int_equal(upstream_in_flight(upstream, DEFAULT), 0);
    }
    for (int i = 0; i < 2 * MANY; i++)
        assert_int_equal(tally.of_ticket[i], 1);
    assert_int_equal(requests_seen(server), 2 * MANY);
    assert_int_equal(connections_seen(server), MANY);
    upstream_destroy(upstream);
    server_stop(server);
}

/* No free POST does not stop a look-up or a health call, which may be what frees it. */
static void test_kinds_do_not_crowd_each_other(void **state)
{
    (void)state;
    static const struct step step = {NULL, KEEP, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    assert_true(upstream_try_post(upstream, DEFAULT, 1, &an_id, 1990, SOME_TIME_MS));
    assert_false(upstream_try_post(upstream, DEFAULT, 2, &an_id, 1990, SOME_TIME_MS));
    assert_true(upstream_try_lookup(upstream, DEFAULT, 3, &an_id));
    assert_false(upstream_try_lookup(upstream, DEFAULT, 4, &an_id));
    assert_true(upstream_try_health(upstream, DEFAULT, 5));
    assert_false(upstream_try_health(upstream, DEFAULT, 6));
    assert_true(upstream_try_post(upstream, FALLBACK, 7, &an_id, 1990, SOME_TIME_MS));
    assert_int_equal(upstream_in_flight(upstream, DEFAULT), 3);
    assert_int_equal(upstream_in_flight(upstream, FALLBACK), 1);
    upstream_destroy(upstream);
    server_stop(server);
}

struct chain {
    struct upstream *upstream;
    int left;
    int accepted;
};

static void start_next(void *context, const struct upstream_completion *completion)
{
    struct chain *chain = context;
    assert_int_equal(completion->outcome, UPSTREAM_ACCEPTED);
    chain->accepted++;
    if (chain->left-- > 0)
        assert_true(upstream_try_post(chain->upstream, DEFAULT, 1, &an_id, 1990, SOME_TIME_MS));
}

static void test_completion_starts_the_next(void **state)
{
    (void)state;
    static const struct step step = {OK_REPLY, KEEP, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 1, 5000);
    struct chain chain = {upstream, 50, 0};
    int64_t limit_ms = clock_monotonic_ms() + CASE_LIMIT_MS;
    assert_true(upstream_try_post(upstream, DEFAULT, 1, &an_id, 1990, SOME_TIME_MS));
    while (chain.accepted < 51 && clock_monotonic_ms() < limit_ms) {
        upstream_wait(upstream, -1, 1000);
        upstream_perform(upstream, start_next, &chain);
    }
    assert_int_equal(chain.accepted, 51);
    assert_int_equal(requests_seen(server), 51);
    assert_int_equal(connections_seen(server), 1);
    upstream_destroy(upstream);
    server_stop(server);
}

/* --- beginning and end -------------------------------------------------------------------- */

static void never(void *context, const struct upstream_completion *completion)
{
    (void)context, (void)completion;
    fail_msg("a completion of a transfer that was never answered");
}

static void test_destroy_with_transfers_in_flight(void **state)
{
    (void)state;
    static const struct step step = {NULL, KEEP, 0};
    struct server *server = server_start(&step, 1);
    struct upstream *upstream = upstream_for(server->port, 8, 60000);
    int64_t limit_ms = clock_monotonic_ms() + CASE_LIMIT_MS;
    for (uint64_t i = 0; i < 8; i++)
        assert_true(upstream_try_post(upstream, DEFAULT, i, &an_id, 1990, SOME_TIME_MS));
    while (requests_seen(server) < 8 && clock_monotonic_ms() < limit_ms) {
        upstream_wait(upstream, -1, 10);
        upstream_perform(upstream, never, NULL);
    }
    assert_int_equal(requests_seen(server), 8);
    assert_true(upstream_try_post(upstream, FALLBACK, 9, &an_id, 1990, SOME_TIME_MS));
    upstream_destroy(upstream);
    upstream_destroy(NULL);
    server_stop(server);
}

static void test_urls_that_are_refused(void **state)
{
    (void)state;
    static const char *const refused[] = {
        "",
        "processor:8080",
        "ftp://processor",
        "file:///etc/passwd",
        "http://",
        "http://user:secret@processor:8080",
        "http://processor:8080/?a=b",
        "http://processor:8080/#here",
        "http://processor:99999",
        "http://two words",
    };
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        struct explain why = {""};
        struct upstream_settings settings = {.urls = {"http://processor:8080", refused[i]},
                                             .post_timeout_ms = 1,
                                             .lookup_timeout_ms = 1,
                                             .health_timeout_ms = 1,
                                             .transfers_max = 1};
        if (upstream_create(&settings, &why) != NULL)
            fail_msg("accepted: %s", refused[i]);
        assert_ptr_equal(strstr(why.text, "PAYRING_FALLBACK_URL"), why.text);
        settings.urls[0] = refused[i];
        assert_null(upstream_create(&settings, &why));
        assert_ptr_equal(strstr(why.text, "PAYRING_DEFAULT_URL"), why.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_a_reply_to_a_post_proves),
        cmocka_unit_test(test_what_a_reply_to_a_lookup_proves),
        cmocka_unit_test(test_what_a_reply_to_a_health_call_proves),
        cmocka_unit_test(test_values_found),
        cmocka_unit_test(test_request_bytes),
        cmocka_unit_test(test_path_below_a_url_with_a_path),
        cmocka_unit_test(test_each_processor_has_its_own_server),
        cmocka_unit_test(test_environment_proxy_is_not_used),
        cmocka_unit_test(test_sizes),
        cmocka_unit_test(test_repeated_replies),
        cmocka_unit_test(test_closed_port_is_unreached),
        cmocka_unit_test(test_connection_never_made_is_unreached),
        cmocka_unit_test(test_reused_connection_closed_without_a_word),
        cmocka_unit_test(test_reused_connection_reset_without_a_word),
        cmocka_unit_test(test_reused_connection_and_server_gone),
        cmocka_unit_test(test_idle_connection_closed_is_replaced),
        cmocka_unit_test(test_second_answer_on_an_idle_connection),
        cmocka_unit_test(test_time_out_is_unknown),
        cmocka_unit_test(test_latency),
        cmocka_unit_test(test_wait),
        cmocka_unit_test(test_wait_while_something_is_out),
        cmocka_unit_test(test_wait_does_not_hold_up_a_start),
        cmocka_unit_test(test_many_in_flight),
        cmocka_unit_test(test_kinds_do_not_crowd_each_other),
        cmocka_unit_test(test_completion_starts_the_next),
        cmocka_unit_test(test_destroy_with_transfers_in_flight),
        cmocka_unit_test(test_urls_that_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
