#include "api/peers.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "api/api_reply.h"
#include "api/api_wait.h"
#include "common/log.h"

/* Of one name, tried one after the other until one connects. */
#define ADDRESSES_MAX 4

#define REQUEST_SIZE 640 /* the longest takes 429 with its NUL: the secret has 256 */

struct address {
    struct sockaddr_storage bytes;
    socklen_t length;
};

/* What goes on with one peer: a lookup, then a connection, then nothing any more. */
struct exchange {
    struct question *question;
    const struct config_peer *peer;
    h2o_hostinfo_getaddr_req_t *lookup; /* NULL: none is under way */
    h2o_socket_t *socket;               /* NULL: none is open */
    struct address addresses[ADDRESSES_MAX];
    unsigned address_count, address_next;
    bool has_answered;
    size_t length;
    char reply[PEER_REPLY_SIZE];
};

/* A request that waits for peers. The timer is its deadline. */
struct question {
    struct api_wait wait;
    struct shm_window window;
    peers_answered *answered;
    unsigned missing; /* exchanges without an answer */
    size_t request_length;
    char request[REQUEST_SIZE];
    struct peer_sums sums[CONFIG_PEERS_MAX]; /* in the order of the settings */
    struct exchange exchanges[];
};

static unsigned peer_count(const struct question *question)
{
    return question->wait.api->config->peer_count;
}

/* -------------------------------------------------------------------- the end */

static void close_exchange(struct exchange *exchange)
{
    if (exchange->lookup != NULL)
        h2o_hostinfo_getaddr_cancel(exchange->lookup);
    if (exchange->socket != NULL)
        h2o_socket_close(exchange->socket);
    exchange->lookup = NULL;
    exchange->socket = NULL;
}

/* From here on nothing that belongs to it calls back. */
static void close_question(struct question *question)
{
    api_timers_cancel(&question->wait.timer);
    for (unsigned i = 0; i < peer_count(question); i++)
        close_exchange(&question->exchanges[i]);
}

static void on_end(struct api_wait *wait)
{
    close_question(H2O_STRUCT_FROM_MEMBER(struct question, wait, wait));
    wait->api->asking--;
}

static void answer_missing(struct question *question, const char *error)
{
    struct api *api = question->wait.api;

    close_question(question);
    api_count(api, SHM_API_COUNTER_peers_missing);
    LOG_WARN("peers_missing", "why=%s", error);
    api_reply_unavailable(api, question->wait.req, error);
}

/* The reason goes on from the peer's name. The question is over: whoever calls this returns. */
static void fail(struct exchange *exchange, const char *reason)
{
    char error[sizeof exchange->peer->name + sizeof(struct explain) + sizeof "peer  "];

    snprintf(error, sizeof error, "peer %s %s", exchange->peer->name, reason);
    answer_missing(exchange->question, error);
}

static void fail_by_errno(struct exchange *exchange, const char *what, int error)
{
    char reason[160];

    snprintf(reason, sizeof reason, "%s: %s", what, strerror(error));
    fail(exchange, reason);
}

static void on_deadline(struct api_timer *timer)
{
    struct question *question = H2O_STRUCT_FROM_MEMBER(struct question, wait.timer, timer);
    char error[CONFIG_PEERS_MAX * sizeof question->exchanges[0].peer->name + 80];
    int length = snprintf(error, sizeof error, "no answer within %" PRIu32 " ms from peer",
                          question->wait.api->config->peer_timeout_ms);
    const char *separator = " ";

    for (unsigned i = 0; i < peer_count(question); i++) {
        const struct exchange *exchange = &question->exchanges[i];
        if (exchange->has_answered)
            continue;
        length += snprintf(error + length, sizeof error - (size_t)length, "%s%s", separator,
                           exchange->peer->name);
        separator = ", ";
    }
    answer_missing(question, error);
}

static void finish(struct question *question)
{
    const struct shm_region *region = &question->wait.api->region;
    struct payment_summary others = peer_sums_add_up(question->sums, peer_count(question),
                                                     region->region_id_hi, region->region_id_lo);

    close_question(question);
    question->answered(question->wait.api, question->wait.req, &question->window, &others);
}

/* ---------------------------------------------------------------- the exchange */

static void judge(struct exchange *exchange)
{
    struct question *question = exchange->question;
    struct explain why = {{0}};

    switch (peer_reply_read(exchange->reply, exchange->length,
                            &question->sums[exchange - question->exchanges], &why)) {
    case PEER_REPLY_INCOMPLETE:
        return;
    case PEER_REPLY_BAD:
        fail(exchange, why.text);
        return;
    case PEER_REPLY_SUMS:
        break;
    }
    close_exchange(exchange);
    exchange->has_answered = true;
    if (--question->missing == 0)
        finish(question);
}

/* Once a turn, as much as there is room for. peer_reply_read sees to it that there always is. */
static void on_readable(h2o_socket_t *socket, const char *error)
{
    struct exchange *exchange = socket->data;

    (void)error; /* recv says more */
    ssize_t count = recv(h2o_socket_get_fd(socket), exchange->reply + exchange->length,
                         sizeof exchange->reply - exchange->length, 0);
    if (count < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (count < 0) {
        fail_by_errno(exchange, "broke off", errno);
    } else if (count == 0) {
        fail(exchange, "closed the connection before it had answered");
    } else {
        exchange->length += (size_t)count;
        judge(exchange);
    }
}

/* A new connection has room for our few hundred bytes; one that has not is as good as broken. */
static void send_request(struct exchange *exchange)
{
    const struct question *question = exchange->question;
    ssize_t count = send(h2o_socket_get_fd(exchange->socket), question->request,
                         question->request_length, MSG_NOSIGNAL);

    if (count == (ssize_t)question->request_length)
        h2o_socket_read_start(exchange->socket, on_readable);
    else
        fail_by_errno(exchange, "takes no question", count < 0 ? errno : EAGAIN);
}

static void connect_next(struct exchange *exchange, int last_error);

static void on_connected(h2o_socket_t *socket, const char *error_text)
{
    struct exchange *exchange = socket->data;
    socklen_t size = sizeof(int);
    int error = 0;

    (void)error_text;
    if (getsockopt(h2o_socket_get_fd(socket), SOL_SOCKET, SO_ERROR, &error, &size) != 0)
        error = errno;
    if (error == 0) {
        send_request(exchange);
        return;
    }
    close_exchange(exchange);
    connect_next(exchange, error);
}

/* 0, or why it has failed already. libh2o is told not to read: it would as long as there is
 * something to be read. */
static int begin_connect(struct exchange *exchange, const struct address *address)
{
    int fd = socket(address->bytes.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return errno;
    if (connect(fd, (const struct sockaddr *)&address->bytes, address->length) != 0 &&
        errno != EINPROGRESS) {
        int error = errno;
        close(fd);
        return error;
    }
    exchange->socket = h2o_evloop_socket_create(exchange->question->wait.req->conn->ctx->loop, fd,
                                                H2O_SOCKET_FLAG_DONT_READ);
    exchange->socket->data = exchange;
    h2o_socket_notify_write(exchange->socket, on_connected);
    return 0;
}

static void connect_next(struct exchange *exchange, int last_error)
{
    while (exchange->address_next < exchange->address_count) {
        last_error = begin_connect(exchange, &exchange->addresses[exchange->address_next++]);
        if (last_error == 0)
            return;
    }
    fail_by_errno(exchange, "cannot be reached", last_error);
}

/* ------------------------------------------------------------------- addresses */

static void take_addresses(struct exchange *exchange, const struct addrinfo *list)
{
    for (; list != NULL && exchange->address_count < ADDRESSES_MAX; list = list->ai_next) {
        struct address *address = &exchange->addresses[exchange->address_count++];
        memcpy(&address->bytes, list->ai_addr, list->ai_addrlen);
        address->length = list->ai_addrlen;
    }
}

static void take_path(struct exchange *exchange, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    memcpy(address.sun_path, path, strnlen(path, sizeof address.sun_path - 1));
    memcpy(&exchange->addresses[0].bytes, &address, sizeof address);
    exchange->addresses[0].length = sizeof address;
    exchange->address_count = 1;
}

/* An address in digits needs no lookup, and must not wait behind one. */
static bool take_digits(struct exchange *exchange, const struct config_endpoint *endpoint)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *list;

    if (getaddrinfo(endpoint->host, endpoint->port, &hints, &list) != 0)
        return false;
    take_addresses(exchange, list);
    freeaddrinfo(list);
    return true;
}

static void on_lookup(h2o_hostinfo_getaddr_req_t *lookup, const char *error, struct addrinfo *list,
                      void *data)
{
    struct exchange *exchange = data;
    char reason[160];

    (void)lookup;
    exchange->lookup = NULL;
    if (error == NULL) {
        take_addresses(exchange, list);
        connect_next(exchange, EADDRNOTAVAIL);
        return;
    }
    snprintf(reason, sizeof reason, "cannot be found: %s", error);
    fail(exchange, reason);
}

/* ---------------------------------------------------------------- the question */

static void begin(struct exchange *exchange)
{
    const struct config_endpoint *tcp = &exchange->peer->address.tcp;
    h2o_context_t *context = exchange->question->wait.req->conn->ctx;

    if (exchange->peer->address.path[0] != '\0') {
        take_path(exchange, exchange->peer->address.path);
    } else if (!take_digits(exchange, tcp)) {
        exchange->lookup = h2o_hostinfo_getaddr(
            &context->receivers.hostinfo_getaddr, h2o_iovec_init(tcp->host, strlen(tcp->host)),
            h2o_iovec_init(tcp->port, strlen(tcp->port)), AF_UNSPEC, SOCK_STREAM, IPPROTO_TCP,
            AI_ADDRCONFIG | AI_NUMERICSERV, on_lookup, exchange);
        return;
    }
    connect_next(exchange, EADDRNOTAVAIL);
}

static void write_request(struct question *question)
{
    int length = snprintf(question->request, sizeof question->request,
                          "GET " PEERS_PATH "?from_us=%" PRId64 "&to_us=%" PRId64 " HTTP/1.1\r\n"
                          "host: payring\r\nconnection: close\r\n" PEERS_VERSION_HEADER
                          ": " PEER_VERSION_TEXT "\r\n" PEERS_SECRET_HEADER ": %s\r\n\r\n",
                          question->window.from_us, question->window.to_us,
                          question->wait.api->config->peer_secret);
    question->request_length = (size_t)length;
}

static struct question *new_question(struct api *api, h2o_req_t *req)
{
    unsigned count = api->config->peer_count;

    if (api->asking >= PEERS_ASKING_MAX)
        return NULL;
    struct question *question =
        api_wait_begin(api, req, sizeof *question + count * sizeof question->exchanges[0]);
    if (question == NULL)
        return NULL;
    question->wait.ended = on_end;
    question->missing = count;
    api->asking++;
    return question;
}

void peers_ask(struct api *api, h2o_req_t *req, const struct shm_window *window,
               peers_answered *answered)
{
    struct question *question = new_question(api, req);

    if (question == NULL) {
        api_reply_unavailable(api, req, "too many summaries are waiting for peers");
        return;
    }
    question->window = *window;
    question->answered = answered;
    write_request(question);
    api_wait_again(&question->wait, api->config->peer_timeout_ms, on_deadline);
    for (unsigned i = 0; i < api->config->peer_count; i++) {
        question->exchanges[i].question = question;
        question->exchanges[i].peer = &api->config->peers[i];
    }
    /* A timer that is not set any more: one could not even be asked, and it is over. The question
     * is still there to be looked at, since a pool does not go before its answer has gone out, and
     * that is never in the turn of the loop that gave it. */
    for (unsigned i = 0; i < api->config->peer_count && question->wait.timer.link != NULL; i++)
        begin(&question->exchanges[i]);
}
