/* payring-api: accepts payments over HTTP into the rings of the region, and tells what became of
 * them. */
#define _GNU_SOURCE /* environ */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "api/api.h"
#include "api/api_listen.h"
#include "api/api_router.h"
#include "api/api_server.h"
#include "api/peers.h"
#include "common/log.h"
#include "common/service_notify.h"

/* Listeners of one door, and the socket file that was made for them. */
struct entrance {
    enum api_server_door door;
    const char *path_setting, *tcp_setting;
    const char *path; /* "": none */
    const struct config_endpoint *tcp;
    struct api_listen_path made;
};

/* By reference to the settings. */
static void name_entrances(struct entrance entrances[static API_SERVER_DOORS],
                           const struct config *config)
{
    entrances[0] = (struct entrance){.door = API_SERVER_CLIENTS,
                                     .path_setting = "PAYRING_API_SOCKET",
                                     .tcp_setting = "PAYRING_API_TCP",
                                     .path = config->api_socket,
                                     .tcp = &config->api_tcp};
    entrances[1] = (struct entrance){.door = API_SERVER_PEERS,
                                     .path_setting = "PAYRING_PEER_LISTEN",
                                     .tcp_setting = "PAYRING_PEER_LISTEN",
                                     .path = config->peer_listen.path,
                                     .tcp = &config->peer_listen.tcp};
}

static enum status open_entrance(struct api *api, struct entrance *entrance, struct explain *why)
{
    int fds[API_LISTEN_TCP_MAX], count = 0;

    if (entrance->path[0] != '\0') {
        int fd = api_listen_unix(entrance->path_setting, entrance->path,
                                 api->config->api_socket_mode, &entrance->made, why);
        if (fd < 0)
            return STATUS_SYSTEM;
        api_server_listen(api->server, entrance->door, fd);
    }
    if (entrance->tcp->host[0] != '\0')
        count = api_listen_tcp(entrance->tcp_setting, entrance->tcp, fds, why);
    for (int i = 0; i < count; i++)
        api_server_listen(api->server, entrance->door, fds[i]);
    return count < 0 ? STATUS_SYSTEM : STATUS_OK;
}

static enum status open_server(struct api *api, struct explain *why)
{
    const struct config *config = api->config;
    struct api_server_settings settings = {
        .body_limit = config->body_limit,
        .request_timeout_ms = config->request_timeout_ms,
        .connection_age_ms = config->connection_age_s * 1000,
        .own_connections = config->peer_count * PEERS_ASKING_MAX,
        .timers = &api->timers,
        .doors = {[API_SERVER_CLIENTS] = {config->max_connections, api_router_answer},
                  [API_SERVER_PEERS] = {PEERS_CONNECTIONS_MAX, api_router_answer_peer}},
        .owner = api,
    };

    api->server = api_server_create(&settings, why);
    return api->server != NULL ? STATUS_OK : STATUS_SYSTEM;
}

static const char *or_none(const char *text)
{
    return text[0] != '\0' ? text : "none";
}

static void close_entrances(struct entrance entrances[static API_SERVER_DOORS])
{
    for (int i = 0; i < API_SERVER_DOORS; i++)
        api_listen_remove(&entrances[i].made);
}

static void serve(struct api *api, struct entrance entrances[static API_SERVER_DOORS])
{
    const struct config *config = api->config;

    LOG_INFO("ready",
             "region=%s slot=%u socket=%s tcp=%s port=%s peers=%u peer_socket=%s peer_tcp=%s "
             "peer_port=%s",
             api->region.name, api->slot, or_none(config->api_socket),
             or_none(config->api_tcp.host), or_none(config->api_tcp.port), config->peer_count,
             or_none(config->peer_listen.path), or_none(config->peer_listen.tcp.host),
             or_none(config->peer_listen.tcp.port));
    service_notify("READY=1");
    int signal_number = api_server_run(api->server);
    LOG_INFO("stopping", "signal=%d", signal_number);
    service_notify("STOPPING=1");
    close_entrances(entrances); /* the balancer turns to another API from here on */
    api_server_stop(api->server, config->stop_timeout_ms);
}

int main(int argc, char **argv)
{
    static struct config config;
    static struct api api;
    struct entrance entrances[API_SERVER_DOORS];
    struct explain why = {{0}};
    struct config_invocation invocation = {.program = CONFIG_PROGRAM_API,
                                           .argc = argc,
                                           .argv = argv,
                                           .environment = environ,
                                           .usage = ""};

    log_open("payring-api", LOG_LEVEL_INFO);
    if (config_load(&config, &invocation, &why) != STATUS_OK) {
        LOG_ERROR("not_started", "why=%s", why.text);
        return EXIT_FAILURE;
    }
    log_open("payring-api", config.log_level);
    if (config_answer(&config, &invocation, stdout))
        return EXIT_SUCCESS;
    config_warn_unknown(environ);
    signal(SIGPIPE, SIG_IGN);
    name_entrances(entrances, &config);

    enum status status = api_begin(&api, &config, &why); /* attach, lease, presence */
    if (status == STATUS_OK)
        status = open_server(&api, &why); /* the loop; signals are its own from here on */
    for (int i = 0; i < API_SERVER_DOORS && status == STATUS_OK; i++)
        status = open_entrance(&api, &entrances[i], &why);
    if (status == STATUS_OK)
        serve(&api, entrances); /* until told to stop, then until all is answered */
    else
        LOG_ERROR("not_started", "why=%s", why.text);

    close_entrances(entrances);
    api_end(&api);
    log_close();
    return status == STATUS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
