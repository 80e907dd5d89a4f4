#include "test/processor/server.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "test/processor/memory.h"

/* Kestrel, the real processor's server, closes an idle connection after 130 s
 * and refuses a body of more than 30 MB; nobody here sends more than 1 MiB. */
enum { IDLE_TIMEOUT_MS = 130000, BODY_LIMIT = 1024 * 1024 };

enum { ACCEPTS_PER_TURN = 64, LISTENERS_MAX = 2, ACCEPT_PAUSE_MS = 100 };

/* The loop wakes up at least this often; nothing depends on it. */
enum { LONGEST_WAIT_MS = 60000 };

struct listener {
    struct server *server;
    h2o_socket_t *socket;
    struct timer pause;
};

struct server {
    h2o_globalconf_t config;
    h2o_context_t context;
    h2o_accept_ctx_t accept;
    h2o_timeout_entry_t alarm; /* rings our timers from within the loop */
    struct timers *timers;
    server_handler handler;
    void *owner;
    struct listener listeners[LISTENERS_MAX];
    size_t listener_count;
    h2o_socket_t *signals;
    struct connection *connections; /* doubly linked */
    size_t open_connections;
    uint64_t accepted_connections;
    int64_t close_idle_ms; /* -1 = never */
    bool stopping;
};

struct connection {
    struct server *server;
    h2o_socket_t *socket;
    struct connection *previous, *next;
    struct timer idle;
    bool busy;   /* a request is being read or answered */
    bool broken; /* our end is shut: whatever still arrives on it is not executed */
};

struct handler {
    h2o_handler_t super;
    struct server *server;
};

/* Connections. libh2o owns the socket and tells us when it closes it. */

static void shut(struct connection *connection)
{
    connection->broken = true;
    shutdown(h2o_socket_get_fd(connection->socket), SHUT_RDWR);
}

static void on_idle_too_long(struct timer *timer)
{
    shut(H2O_STRUCT_FROM_MEMBER(struct connection, idle, timer));
}

static void watch_idle(struct connection *connection)
{
    struct server *server = connection->server;
    timers_cancel(server->timers, &connection->idle);
    if (connection->busy || connection->broken || server->close_idle_ms < 0)
        return;
    if (server->close_idle_ms == 0)
        shut(connection);
    else
        timers_set(server->timers, &connection->idle, server->close_idle_ms, on_idle_too_long);
}

static void on_connection_closed(void *data)
{
    struct connection *connection = data;
    struct server *server = connection->server;
    timers_cancel(server->timers, &connection->idle);
    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    server->open_connections--;
    free(connection);
}

static void take_connection(struct server *server, h2o_socket_t *socket)
{
    struct connection *connection = memory_new(sizeof(*connection));
    connection->server = server;
    connection->socket = socket;
    connection->next = server->connections;
    if (connection->next != NULL)
        connection->next->previous = connection;
    server->connections = connection;
    server->open_connections++;
    server->accepted_connections++;
    socket->on_close.cb = on_connection_closed;
    socket->on_close.data = connection;
    h2o_accept(&server->accept, socket);
}

static void on_accept(h2o_socket_t *socket, const char *error);

static void resume_accepting(struct timer *timer)
{
    struct listener *listener = H2O_STRUCT_FROM_MEMBER(struct listener, pause, timer);
    h2o_socket_read_start(listener->socket, on_accept);
}

static void on_accept(h2o_socket_t *socket, const char *error)
{
    struct listener *listener = socket->data;
    if (error != NULL)
        return;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        errno = 0;
        h2o_socket_t *accepted = h2o_evloop_socket_accept(socket);
        if (accepted != NULL) {
            take_connection(listener->server, accepted);
            continue;
        }
        /* Out of descriptors, the listener would stay readable and spin. */
        if (errno == EMFILE || errno == ENFILE) {
            h2o_socket_read_stop(socket);
            timers_set(listener->server->timers, &listener->pause, ACCEPT_PAUSE_MS,
                       resume_accepting);
        }
        return;
    }
}

void server_close_idle(struct server *server, int64_t after_ms)
{
    server->close_idle_ms = after_ms;
    for (struct connection *at = server->connections; at != NULL; at = at->next)
        watch_idle(at);
}

size_t server_open_connections(const struct server *server)
{
    return server->open_connections;
}

uint64_t server_accepted_connections(const struct server *server)
{
    return server->accepted_connections;
}

/* Requests */

static void on_request_gone(void *data)
{
    struct request *request = data;
    if (request->exchange != NULL)
        request->exchange->request = NULL;
    request->connection->busy = false;
    watch_idle(request->connection);
}

static int on_request(h2o_handler_t *super, h2o_req_t *req)
{
    struct server *server = H2O_STRUCT_FROM_MEMBER(struct handler, super, super)->server;
    struct request *request = h2o_mem_alloc_shared(&req->pool, sizeof(*request), on_request_gone);
    h2o_socket_t *socket = req->conn->callbacks->get_socket(req->conn);
    *request = (struct request){.h2o = req, .connection = socket->on_close.data};
    request->connection->busy = true;
    timers_cancel(server->timers, &request->connection->idle);
    if (request->connection->broken)
        request_reset(request);
    else
        server->handler(server->owner, request);
    return 0;
}

static const char *reason_of(int status)
{
    switch (status) {
    case 200:
        return "OK";
    case 204:
        return "No Content";
    case 400:
        return "Bad Request";
    case 401:
        return "Unauthorized";
    case 404:
        return "Not Found";
    case 405:
        return "Method Not Allowed";
    case 422:
        return "Unprocessable Entity";
    case 429:
        return "Too Many Requests";
    case 500:
        return "Internal Server Error";
    default:
        return "Answered On Command";
    }
}

static void add_headers(h2o_req_t *req, const struct reply *reply)
{
    if (reply->length > 0) {
        const char *type = reply->content_type;
        if (type == NULL)
            type = "application/json; charset=utf-8";
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_CONTENT_TYPE, NULL, type,
                       strlen(type));
    }
    if (reply->allow != NULL)
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_ALLOW, NULL, reply->allow,
                       strlen(reply->allow));
    if (reply->retry_after_s > 0) {
        char *seconds = h2o_mem_alloc_pool(&req->pool, 16);
        int length = snprintf(seconds, 16, "%d", reply->retry_after_s);
        h2o_add_header(&req->pool, &req->res.headers, H2O_TOKEN_RETRY_AFTER, NULL, seconds,
                       (size_t)length);
    }
}

void request_reply(struct request *request, const struct reply *reply)
{
    static h2o_generator_t whole = {NULL, NULL};
    h2o_req_t *req = request->h2o;
    req->res.status = reply->status;
    req->res.reason = reason_of(reply->status);
    /* A 204 has no length, not even 0. */
    req->res.content_length = reply->status == 204 ? SIZE_MAX : reply->length;
    add_headers(req, reply);
    h2o_iovec_t body = {NULL, 0};
    if (reply->length > 0)
        body = h2o_strdup(&req->pool, reply->body, reply->length);
    h2o_start_response(req, &whole);
    h2o_send(req, &body, reply->length > 0, H2O_SEND_STATE_FINAL);
}

/* The connection is dead below libh2o. An answer sent into it makes libh2o
 * find that out and dispose of request and connection by its usual way. */
static void let_go(struct request *request)
{
    request->connection->broken = true;
    request->h2o->http1_is_persistent = 0;
    request_reply(request, &(struct reply){.status = 500});
}

void request_reset(struct request *request)
{
    int fd = h2o_socket_get_fd(request->connection->socket);
    /* Dissolving the association of a TCP socket sends an RST at once (tcp_disconnect
     * in the kernel), while the descriptor stays open for libh2o. */
    struct sockaddr nobody = {.sa_family = AF_UNSPEC};
    if (connect(fd, &nobody, sizeof(nobody)) != 0)
        shutdown(fd, SHUT_RDWR);
    let_go(request);
}

void request_send_raw(struct request *request, const char *bytes, size_t length)
{
    int fd = h2o_socket_get_fd(request->connection->socket);
    /* All earlier answers on this connection are in the kernel already, and
     * these few bytes fit behind them; if they do not, the answer is just shorter. */
    ssize_t sent = send(fd, bytes, length, MSG_DONTWAIT | MSG_NOSIGNAL);
    (void)sent;
    shutdown(fd, SHUT_RDWR);
    let_go(request);
}

void exchange_open(struct exchange *exchange, struct request *request)
{
    exchange->request = request;
    request->exchange = exchange;
}

/* The request, if it is still there; the exchange is closed. */
static struct request *close_exchange(struct exchange *exchange)
{
    struct request *request = exchange->request;
    exchange->request = NULL;
    if (request != NULL)
        request->exchange = NULL;
    return request;
}

void exchange_reply(struct exchange *exchange, const struct reply *reply)
{
    struct request *request = close_exchange(exchange);
    if (request != NULL)
        request_reply(request, reply);
}

void exchange_reset(struct exchange *exchange)
{
    struct request *request = close_exchange(exchange);
    if (request != NULL)
        request_reset(request);
}

void exchange_send_raw(struct exchange *exchange, const char *bytes, size_t length)
{
    struct request *request = close_exchange(exchange);
    if (request != NULL)
        request_send_raw(request, bytes, length);
}

/* The loop */

static void on_alarm(h2o_timeout_entry_t *entry)
{
    struct server *server = H2O_STRUCT_FROM_MEMBER(struct server, alarm, entry);
    timers_ring(server->timers);
}

static void on_signal(h2o_socket_t *socket, const char *error)
{
    struct server *server = socket->data;
    (void)error;
    server->stopping = true;
}

static void watch_signals(struct server *server)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0) {
        perror("processor: signalfd");
        exit(1);
    }
    server->signals = h2o_evloop_socket_create(server->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    server->signals->data = server;
    h2o_socket_read_start(server->signals, on_signal);
}

struct server *server_create(struct timers *timers, server_handler handler, void *owner)
{
    struct server *server = memory_new(sizeof(*server));
    server->timers = timers;
    server->handler = handler;
    server->owner = owner;
    server->close_idle_ms = -1;
    server->alarm.cb = on_alarm;
    h2o_config_init(&server->config);
    server->config.http1.req_timeout = IDLE_TIMEOUT_MS;
    server->config.http1.upgrade_to_http2 = 0;
    server->config.max_request_entity_size = BODY_LIMIT;
    server->config.server_name = h2o_iovec_init(H2O_STRLIT("processor"));
    h2o_hostconf_t *host =
        h2o_config_register_host(&server->config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    struct handler *all = (struct handler *)h2o_create_handler(path, sizeof(*all));
    all->super.on_req = on_request;
    all->server = server;
    h2o_context_init(&server->context, h2o_evloop_create(), &server->config);
    server->accept.ctx = &server->context;
    server->accept.hosts = server->config.hosts;
    watch_signals(server);
    return server;
}

static int listen_on(struct server *server, int fd)
{
    if (listen(fd, SOMAXCONN) != 0 || server->listener_count == LISTENERS_MAX)
        return -1;
    struct listener *listener = &server->listeners[server->listener_count++];
    listener->server = server;
    listener->socket =
        h2o_evloop_socket_create(server->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    listener->socket->data = listener;
    h2o_socket_read_start(listener->socket, on_accept);
    return 0;
}

static uint16_t port_of(int fd)
{
    struct sockaddr_storage storage;
    socklen_t length = sizeof(storage);
    if (getsockname(fd, (struct sockaddr *)&storage, &length) != 0)
        return 0;
    return (uint16_t)h2o_socket_getport((struct sockaddr *)&storage);
}

int server_listen_tcp(struct server *server, const char *host, uint16_t *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *list;
    char service[8];
    int on = 1, result = -1;
    snprintf(service, sizeof(service), "%u", (unsigned)*port);
    if (getaddrinfo(host[0] == '\0' ? NULL : host, service, &hints, &list) != 0) {
        errno = EADDRNOTAVAIL;
        return -1;
    }
    int fd = socket(list->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
        bind(fd, list->ai_addr, list->ai_addrlen) == 0 && listen_on(server, fd) == 0) {
        *port = port_of(fd);
        result = 0;
    }
    freeaddrinfo(list);
    return result;
}

/* Whether a server answers on this path. */
static bool is_served(const struct sockaddr_un *address)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool served = connect(fd, (const struct sockaddr *)address, sizeof(*address)) == 0;
    close(fd);
    return served;
}

int server_listen_unix(struct server *server, const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (strlen(path) >= sizeof(address.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, path, strlen(path));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    int result = bind(fd, (struct sockaddr *)&address, sizeof(address));
    if (result != 0 && errno == EADDRINUSE && !is_served(&address)) {
        unlink(path);
        result = bind(fd, (struct sockaddr *)&address, sizeof(address));
    }
    return result == 0 ? listen_on(server, fd) : -1;
}

void server_run(struct server *server)
{
    while (!server->stopping) {
        int wait_ms = timers_wait_ms(server->timers, LONGEST_WAIT_MS);
        /* Our timers ring in a callback of the loop: what they send is only
         * completed in the same turn if it was sent from within one. */
        if (wait_ms == 0 && !h2o_timeout_is_linked(&server->alarm))
            h2o_timeout_link(server->context.loop, &server->context.zero_timeout, &server->alarm);
        h2o_evloop_run(server->context.loop, wait_ms);
    }
}
