/* bare-h2o: the least that a server on libh2o can do, to hold payring-api against.
 *
 *   bare-h2o --unix PATH
 *
 * One thread, one loop, one listener, made like the API's (api/api_server.c): the same backlog, the
 * same settings of libh2o. Every request is read, its body too, and answered 202 with the very
 * bytes that the API answers a payment with. No path is looked at, no body parsed, nothing kept or
 * counted. Says "bare-h2o ready"; TERM ends it.
 */
#include <errno.h>
#include <fcntl.h>
#include <h2o.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

enum { LISTEN_BACKLOG = 4096, ACCEPTS_PER_TURN = 16, TIMEOUT_MS = 60000, BODY_MAX = 4096 };

static h2o_globalconf_t config;
static h2o_context_t context;
static h2o_accept_ctx_t accept_context;

static void give_up(const char *what)
{
    fprintf(stderr, "bare-h2o: %s: %s\n", what, strerror(errno));
    exit(2);
}

static int on_request(h2o_handler_t *handler, h2o_req_t *req)
{
    static h2o_generator_t whole = {NULL, NULL};
    h2o_iovec_t nothing = {NULL, 0};

    (void)handler;
    req->res.status = 202;
    req->res.reason = "Accepted";
    req->res.content_length = 0;
    h2o_start_response(req, &whole);
    h2o_send(req, &nothing, 0, H2O_SEND_STATE_FINAL);
    return 0;
}

static void on_accept(h2o_socket_t *listener, const char *error)
{
    h2o_socket_t *socket;

    for (int i = 0; error == NULL && i < ACCEPTS_PER_TURN; i++) {
        if ((socket = h2o_evloop_socket_accept(listener)) == NULL)
            return;
        h2o_accept(&accept_context, socket);
    }
}

static void configure(void)
{
    h2o_config_init(&config);
    config.server_name = h2o_iovec_init(H2O_STRLIT(""));
    config.max_request_entity_size = BODY_MAX;
    config.http1.req_timeout = TIMEOUT_MS;
    config.http1.upgrade_to_http2 = 0;
    config.http2.callbacks = (h2o_protocol_callbacks_t){NULL, NULL};
    h2o_hostconf_t *host =
        h2o_config_register_host(&config, h2o_iovec_init(H2O_STRLIT("default")), 65535);
    h2o_pathconf_t *path = h2o_config_register_path(host, "/", 0);
    h2o_create_handler(path, sizeof(h2o_handler_t))->on_req = on_request;
    h2o_context_init(&context, h2o_evloop_create(), &config);
    accept_context = (h2o_accept_ctx_t){.ctx = &context, .hosts = config.hosts};
}

static int listen_unix(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    if (strlen(path) >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        give_up(path);
    }
    strcpy(address.sun_path, path);
    unlink(path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) != 0 ||
        listen(fd, LISTEN_BACKLOG) != 0)
        give_up(path);
    return fd;
}

/* As many connections as the API would take. */
static void raise_descriptor_limit(void)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3 || strcmp(argv[1], "--unix") != 0) {
        fputs("bare-h2o --unix PATH\n", stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();
    configure();
    h2o_socket_t *listener =
        h2o_evloop_socket_create(context.loop, listen_unix(argv[2]), H2O_SOCKET_FLAG_DONT_READ);
    h2o_socket_read_start(listener, on_accept);
    puts("bare-h2o ready");
    fflush(stdout);
    for (;;)
        (void)h2o_evloop_run(context.loop, TIMEOUT_MS);
}
