#include "api/api_server.h"

#include <errno.h>
#include <h2o.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"

#define LISTENERS_MAX 8

/* Of one listener in one turn of the loop: a crowd of new clients must not hold up those who are
 * there. */
#define ACCEPTS_PER_TURN 16

/* Out of descriptors, we try again when a connection ends, or after this: it may be the system's
 * table that is full, not ours. */
#define ACCEPT_PAUSE_MS 100

/* Descriptors that are not connections: region, loop, signals, listeners, doorbells, log, spare. */
#define OTHER_DESCRIPTORS 64

#define LONGEST_WAIT_MS 60000 /* nothing depends on it */

/* When stopping: how often we look, which part of the time is for clients to ask once more and be
 * told, and how long libh2o gets to notice that all connections are closed. */
#define STOP_LOOK_MS     20
#define STOP_GRACE_PARTS 2
#define STOP_CUT_OFF_MS  200

/* Connections that came together shall not all end together: the limits of their ages are spread
 * over a quarter of it. */
#define AGE_STEPS 16

struct door;

struct listener {
    struct door *door;
    h2o_socket_t *socket;
};

/* libh2o owns the socket and tells us when it closes it. */
struct connection {
    struct door *door;
    h2o_socket_t *socket;
    int64_t old_at_ms; /* monotonic: an answer from then on is the last one; INT64_MAX: none is */
    struct connection *next, *previous;
};

struct handler {
    h2o_handler_t super;
    struct door *door;
};

/* A crowd at one door does not shut the others. */
struct door {
    struct api_server *server;
    api_server_handler *answer;
    h2o_hostconf_t *hosts[2]; /* libh2o chooses among these by the Host header: there is one */
    h2o_accept_ctx_t accept;
    struct listener listeners[LISTENERS_MAX];
    unsigned listener_count;
    bool accepting;
    uint32_t connection_count, max_connections;
};

struct api_server {
    h2o_globalconf_t config;
    h2o_context_t context;
    struct api_server_settings settings;

    struct door doors[API_SERVER_DOORS];
    bool is_short; /* of descriptors, since the last connection that was taken */
    struct api_timer resume;

    struct connection *connections;
    uint32_t connection_count;
    uint64_t connections_taken;

    h2o_socket_t *signals;
    int signal; /* the last one that came; 0: none */
    unsigned signal_count;

    int64_t now_ms;   /* monotonic, at the end of the last turn */
    bool timers_rang; /* ... and what they sent is not yet completed */
    uint64_t accept_paused;
    struct api_server_counts taken; /* as of the last api_server_take_counts */
};

/* ---------------------------------------------------------------- connections */

static void resume_accepting(struct api_server *server);

static void on_connection_closed(void *data)
{
    struct connection *connection = data;
    struct api_server *server = connection->door->server;

    if (connection->next != NULL)
        connection->next->previous = connection->previous;
    if (connection->previous != NULL)
        connection->previous->next = connection->next;
    else
        server->connections = connection->next;
    server->connection_count--;
    connection->door->connection_count--;
    free(connection);
    resume_accepting(server);
}

/* When the next connection has grown old. */
static int64_t next_old_at_ms(struct api_server *server)
{
    int64_t age_ms = server->settings.connection_age_ms;
    int64_t step = (int64_t)(server->connections_taken++ % AGE_STEPS);

    if (age_ms == 0)
        return INT64_MAX;
    return clock_monotonic_ms() + age_ms - age_ms / 4 * step / AGE_STEPS;
}

static void take_connection(struct door *door, h2o_socket_t *socket)
{
    struct api_server *server = door->server;
    struct connection *connection = h2o_mem_alloc(sizeof *connection);

    *connection = (struct connection){.door = door,
                                      .socket = socket,
                                      .old_at_ms = next_old_at_ms(server),
                                      .next = server->connections};
    if (connection->next != NULL)
        connection->next->previous = connection;
    server->connections = connection;
    server->connection_count++;
    door->connection_count++;
    server->is_short = false;
    socket->on_close.cb = on_connection_closed;
    socket->on_close.data = connection;
    h2o_accept(&door->accept, socket);
}

static void pause_accepting(struct door *door)
{
    for (unsigned i = 0; i < door->listener_count; i++)
        h2o_socket_read_stop(door->listeners[i].socket);
    door->accepting = false;
}

static void on_pause_over(struct api_timer *timer)
{
    resume_accepting(H2O_STRUCT_FROM_MEMBER(struct api_server, resume, timer));
}

/* The listener stays readable when no descriptor is left for what it holds, and level-triggered as
 * the loop is, it would spin: so we look away for a while. */
static void pause_for_descriptors(struct api_server *server)
{
    if (!server->is_short)
        LOG_WARN("accept_paused", "connections=%" PRIu32 " why=%s", server->connection_count,
                 strerror(errno));
    server->is_short = true;
    server->accept_paused++;
    for (int i = 0; i < API_SERVER_DOORS; i++)
        pause_accepting(&server->doors[i]);
    api_timers_set(server->settings.timers, &server->resume, clock_monotonic_ms() + ACCEPT_PAUSE_MS,
                   on_pause_over);
}

/* false: there is none, or no descriptor for it. */
static bool accept_one(struct listener *listener)
{
    errno = 0;
    h2o_socket_t *socket = h2o_evloop_socket_accept(listener->socket);
    if (socket != NULL) {
        take_connection(listener->door, socket);
        return true;
    }
    if (errno == ECONNABORTED || errno == EINTR)
        return true;                        /* that one went away: look for the next */
    if (errno != EAGAIN && errno != EINVAL) /* the latter: refuse_clients, and all are taken */
        pause_for_descriptors(listener->door->server);
    return false;
}

static bool is_crowded(const struct door *door)
{
    return door->connection_count >= door->max_connections;
}

static void on_accept(h2o_socket_t *socket, const char *error)
{
    struct listener *listener = socket->data;
    int accepts = 0;

    if (error != NULL)
        return;
    while (accepts++ < ACCEPTS_PER_TURN && !is_crowded(listener->door) && accept_one(listener))
        continue;
    if (is_crowded(listener->door))
        pause_accepting(listener->door); /* until a connection of it ends */
}

static void open_door(struct door *door)
{
    if (door->accepting || is_crowded(door))
        return;
    for (unsigned i = 0; i < door->listener_count; i++)
        h2o_socket_read_start(door->listeners[i].socket, on_accept);
    door->accepting = true;
}

static void resume_accepting(struct api_server *server)
{
    api_timers_cancel(&server->resume);
    for (int i = 0; i < API_SERVER_DOORS; i++)
        open_door(&server->doors[i]);
}

void api_server_listen(struct api_server *server, enum api_server_door which, int fd)
{
    struct door *door = &server->doors[which];
    CHECK(door->listener_count < LISTENERS_MAX);
    struct listener *listener = &door->listeners[door->listener_count++];
    listener->door = door;
    listener->socket =
        h2o_evloop_socket_create(server->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    listener->socket->data = listener;
    if (door->accepting)
        h2o_socket_read_start(listener->socket, on_accept);
}

/* -------------------------------------------------------------------- signals */

static void on_signal(h2o_socket_t *socket, const char *error)
{
    struct api_server *server = socket->data;
    struct signalfd_siginfo info;

    (void)error;
    while (read(h2o_socket_get_fd(socket), &info, sizeof info) == (ssize_t)sizeof info) {
        server->signal = (int)info.ssi_signo;
        server->signal_count++;
    }
}

/* A descriptor instead of handlers: a signal that comes just before the loop goes to sleep wakes
 * it all the same. */
static enum status watch_signals(struct api_server *server, struct explain *why)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    int fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (fd < 0)
        return explain(why, STATUS_SYSTEM, "signals cannot be watched: %m");
    server->signals = h2o_evloop_socket_create(server->context.loop, fd, H2O_SOCKET_FLAG_DONT_READ);
    server->signals->data = server;
    h2o_socket_read_start(server->signals, on_signal);
    return STATUS_OK;
}

/* --------------------------------------------------------- creating */

/* How many clients there are descriptors for, besides the `needed` others. Those come first:
 * without one for a doorbell, a lane would sleep on. */
static uint32_t raise_descriptor_limit(uint32_t max_connections, uint32_t needed)
{
    struct rlimit limit;
    rlim_t wanted = (rlim_t)max_connections + needed;

    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= wanted)
        return max_connections;
    limit.rlim_cur = wanted < limit.rlim_max ? wanted : limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur == wanted)
        return max_connections;
    rlim_t others = limit.rlim_cur / 2 < needed ? limit.rlim_cur / 2 : needed;
    uint32_t left = (uint32_t)(limit.rlim_cur - others);
    LOG_WARN("few_descriptors", "limit=%ju PAYRING_MAX_CONNECTIONS=%" PRIu32 " instead=%" PRIu32,
             (uintmax_t)limit.rlim_cur, max_connections, left);
    return left;
}

static bool is_old(const h2o_req_t *req)
{
    const struct connection *connection =
        req->conn->callbacks->get_socket(req->conn)->on_close.data;

    /* The time of the last turn: a connection may grow old a turn later. */
    return connection->door->server->now_ms >= connection->old_at_ms;
}

static int on_request(h2o_handler_t *super, h2o_req_t *req)
{
    struct door *door = H2O_STRUCT_FROM_MEMBER(struct handler, super, super)->door;

    if (is_old(req))
        req->http1_is_persistent = 0; /* "Connection: close" */
    door->answer(door->server->settings.owner, req);
    return 0;
}

static void handle(struct door *door, h2o_pathconf_t *path)
{
    struct handler *handler = (struct handler *)h2o_create_handler(path, sizeof *handler);

    handler->super.on_req = on_request;
    handler->door = door;
}

static void make_door(struct api_server *server, enum api_server_door which, const char *name)
{
    struct door *door = &server->doors[which];
    h2o_hostconf_t *host =
        h2o_config_register_host(&server->config, h2o_iovec_init(name, strlen(name)), 65535);

    *door = (struct door){.server = server,
                          .answer = server->settings.doors[which].handler,
                          .max_connections = server->settings.doors[which].max_connections,
                          .hosts = {host, NULL},
                          .accepting = true};
    door->accept = (h2o_accept_ctx_t){.ctx = &server->context, .hosts = door->hosts};
    handle(door, h2o_config_register_path(host, "/", 0));
    handle(door, &host->fallback_path); /* "OPTIONS *" and the like */
}

static void configure(struct api_server *server)
{
    h2o_globalconf_t *config = &server->config;

    h2o_config_init(config);
    config->server_name = h2o_iovec_init(H2O_STRLIT(""));
    config->max_request_entity_size = server->settings.body_limit;
    config->http1.req_timeout = server->settings.request_timeout_ms;
    /* No HTTP/2, by upgrade or by preface: its rapid resets were never answered in this version. */
    config->http1.upgrade_to_http2 = 0;
    config->http2.callbacks = (h2o_protocol_callbacks_t){NULL, NULL};
    make_door(server, API_SERVER_CLIENTS, "default");
    make_door(server, API_SERVER_PEERS, "peers");
}

struct api_server *api_server_create(const struct api_server_settings *settings,
                                     struct explain *why)
{
    struct api_server *server = calloc(1, sizeof *server);

    if (server == NULL) {
        explain_in(why, "there is no memory for the server");
        return NULL;
    }
    server->settings = *settings;
    configure(server);
    server->doors[API_SERVER_CLIENTS].max_connections =
        raise_descriptor_limit(settings->doors[API_SERVER_CLIENTS].max_connections,
                               settings->doors[API_SERVER_PEERS].max_connections +
                                   settings->own_connections + OTHER_DESCRIPTORS);
    h2o_context_init(&server->context, h2o_evloop_create(), &server->config);
    server->now_ms = clock_monotonic_ms();
    return watch_signals(server, why) == STATUS_OK ? server : NULL;
}

/* ------------------------------------------------------------------- the loop */

/* The timers ring outside of the loop's callbacks, and what is sent there is completed by the next
 * turn only: so that one does not wait. */
static void turn(struct api_server *server, int32_t longest_ms)
{
    struct api_timers *timers = server->settings.timers;
    int32_t wait_ms =
        server->timers_rang ? 0 : api_timers_wait_ms(timers, server->now_ms, longest_ms);

    /* -1 is EINTR (stopped and continued, say): the next turn makes up for it. */
    (void)h2o_evloop_run(server->context.loop, wait_ms);
    server->now_ms = clock_monotonic_ms();
    server->timers_rang = api_timers_ring(timers, server->now_ms);
}

int api_server_run(struct api_server *server)
{
    while (server->signal == 0)
        turn(server, LONGEST_WAIT_MS);
    return server->signal;
}

/* A unix socket that is shut down refuses whoever comes and still gives up those who have come, so
 * that nobody can slip in between the last accept and the close. One of TCP would reset them. */
static void refuse_clients(const struct listener *listener)
{
    int fd = h2o_socket_get_fd(listener->socket), domain = 0;
    socklen_t size = sizeof domain;

    if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX)
        shutdown(fd, SHUT_RDWR);
}

/* The kernel has told these clients that they are connected: closing the listener would reset them.
 */
static void close_listeners(struct door *door)
{
    for (unsigned i = 0; i < door->listener_count; i++) {
        refuse_clients(&door->listeners[i]);
        while (!is_crowded(door) && accept_one(&door->listeners[i]))
            continue;
    }
    while (door->listener_count > 0)
        h2o_socket_close(door->listeners[--door->listener_count].socket);
}

/* libh2o keeps a request's bytes in `input` until it is answered: none there and none in the
 * kernel, none asked. A request that is still on its way when we shut is lost to the client all the
 * same. */
static bool is_idle(const struct connection *connection)
{
    int unread = 0;

    return connection->socket->input->size == 0 &&
           (ioctl(h2o_socket_get_fd(connection->socket), FIONREAD, &unread) != 0 || unread == 0);
}

static void shut_connections(struct api_server *server, bool idle_only)
{
    for (struct connection *at = server->connections; at != NULL; at = at->next)
        if (!idle_only || is_idle(at))
            shutdown(h2o_socket_get_fd(at->socket), SHUT_RDWR);
}

static void finish_until(struct api_server *server, int64_t deadline_ms)
{
    while (server->connection_count > 0 && server->now_ms < deadline_ms)
        turn(server, STOP_LOOK_MS);
}

void api_server_stop(struct api_server *server, uint32_t timeout_ms)
{
    int64_t begin_ms = clock_monotonic_ms();
    int64_t grace_ms = timeout_ms / STOP_GRACE_PARTS;

    for (int i = 0; i < API_SERVER_DOORS; i++)
        close_listeners(&server->doors[i]);
    api_timers_cancel(&server->resume);
    h2o_context_request_shutdown(&server->context);
    while (server->connection_count > 0 && server->now_ms < begin_ms + grace_ms &&
           server->signal_count < 2)
        turn(server, STOP_LOOK_MS);
    while (server->connection_count > 0 && server->now_ms < begin_ms + timeout_ms &&
           server->signal_count < 2) {
        shut_connections(server, true);
        turn(server, STOP_LOOK_MS);
    }
    if (server->connection_count == 0)
        return;
    LOG_WARN("stop_cut_off", "connections=%" PRIu32, server->connection_count);
    shut_connections(server, false);
    finish_until(server, server->now_ms + STOP_CUT_OFF_MS);
}

/* --------------------------------------------------------------------- counts */

struct api_server_counts api_server_take_counts(struct api_server *server)
{
    struct api_server_counts now = {
        .bad_requests = server->context.emitted_error_status[H2O_STATUS_ERROR_400],
        .too_large = server->context.emitted_error_status[H2O_STATUS_ERROR_413],
        .accept_paused = server->accept_paused,
    };
    struct api_server_counts before = server->taken;

    server->taken = now;
    return (struct api_server_counts){
        .bad_requests = now.bad_requests - before.bad_requests,
        .too_large = now.too_large - before.too_large,
        .accept_paused = now.accept_paused - before.accept_paused,
    };
}
