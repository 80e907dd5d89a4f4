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
#include "api/service_notify.h"
#include "common/log.h"

static enum status open_listeners(struct api *api, struct api_listen_path *path,
                                  struct explain *why)
{
    const struct config *config = api->config;
    int fds[API_LISTEN_TCP_MAX], count = 0;

    if (config->api_socket[0] != '\0') {
        int fd = api_listen_unix(config->api_socket, config->api_socket_mode, path, why);
        if (fd < 0)
            return STATUS_SYSTEM;
        api_server_listen(api->server, fd);
    }
    if (config->api_tcp.host[0] != '\0')
        count = api_listen_tcp(&config->api_tcp, fds, why);
    for (int i = 0; i < count; i++)
        api_server_listen(api->server, fds[i]);
    return count < 0 ? STATUS_SYSTEM : STATUS_OK;
}

static enum status open_server(struct api *api, struct explain *why)
{
    struct api_server_settings settings = {
        .body_limit = api->config->body_limit,
        .max_connections = api->config->max_connections,
        .request_timeout_ms = api->config->request_timeout_ms,
        .timers = &api->timers,
        .handler = api_router_answer,
        .owner = api,
    };

    api->server = api_server_create(&settings, why);
    return api->server != NULL ? STATUS_OK : STATUS_SYSTEM;
}

static const char *or_none(const char *text)
{
    return text[0] != '\0' ? text : "none";
}

static void serve(struct api *api, struct api_listen_path *path)
{
    const struct config *config = api->config;

    LOG_INFO("ready", "region=%s slot=%u socket=%s tcp=%s port=%s", api->region.name, api->slot,
             or_none(config->api_socket), or_none(config->api_tcp.host),
             or_none(config->api_tcp.port));
    service_notify("READY=1");
    int signal_number = api_server_run(api->server);
    LOG_INFO("stopping", "signal=%d", signal_number);
    service_notify("STOPPING=1");
    api_listen_remove(path); /* the balancer turns to another API from here on */
    api_server_stop(api->server, config->stop_timeout_ms);
}

int main(int argc, char **argv)
{
    static struct config config;
    static struct api api;
    struct api_listen_path path = {.path = NULL};
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
    if (config_answer(&config, &invocation, stdout))
        return EXIT_SUCCESS;
    log_open("payring-api", config.log_level);
    config_warn_unknown(environ);
    signal(SIGPIPE, SIG_IGN);

    enum status status = api_begin(&api, &config, &why); /* attach, lease, presence */
    if (status == STATUS_OK)
        status = open_server(&api, &why); /* the loop; signals are its own from here on */
    if (status == STATUS_OK)
        status = open_listeners(&api, &path, &why);
    if (status == STATUS_OK)
        serve(&api, &path); /* until told to stop, then until all is answered */
    else
        LOG_ERROR("not_started", "why=%s", why.text);

    api_listen_remove(&path);
    api_end(&api);
    log_close();
    return status == STATUS_OK ? EXIT_SUCCESS : EXIT_FAILURE;
}
