/* health: one question, one exit status, for whoever watches over a component: a container's health
 * check, a service manager, a person. What is asked is what the component is there for, not whether
 * its process exists. */
#include <curl/curl.h>
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "shm/shm_lease.h"
#include "shm/shm_region.h"
#include "worker/ctl.h"

/* A lane's heartbeat is a second apart (lane.c), and a machine under load is late. */
#define BEAT_AGE_MAX_MS 5000

/* A health check that hangs is none. */
#define ANSWER_MAX_MS 2000

static enum ctl_exit look_at_region(const struct shm_region *region)
{
    printf("region %s is there, %u lanes\n", region->name, region->geometry.lanes);
    return CTL_DONE;
}

/* Owned, and its owner gets round to it. */
static enum ctl_exit look_at_lanes(const struct shm_region *region)
{
    uint64_t now_ms = (uint64_t)clock_wall_ms();
    for (unsigned i = 0; i < region->geometry.lanes; i++) {
        const struct shm_presence *presence = &shm_region_lane(region, i)->presence;
        uint64_t beat_ms = atomic_load_explicit(&presence->beat_ms, memory_order_acquire);
        if (!shm_lease_is_taken(region, SHM_LEASE_LANE + i))
            return ctl_complain(CTL_NO, "lane %u has no owner", i);
        if (beat_ms + BEAT_AGE_MAX_MS < now_ms)
            return ctl_complain(CTL_NO, "lane %u stands still for %" PRIu64 " ms", i,
                                now_ms - beat_ms);
    }
    printf("all %u lanes have owners at work\n", region->geometry.lanes);
    return CTL_DONE;
}

static enum ctl_exit look(const struct ctl *ctl, enum ctl_exit (*at)(const struct shm_region *))
{
    struct explain why;
    struct shm_region region;
    if (shm_region_attach_read_only(&region, ctl->config->region, &why) != STATUS_OK)
        return ctl_complain(CTL_NO, "%s", why.text);
    enum ctl_exit result = at(&region);
    shm_region_detach(&region);
    return ctl_finish(stdout, result);
}

static size_t ignore(char *data, size_t size, size_t count, void *context)
{
    (void)data;
    (void)context;
    return size * count;
}

/* GET /healthz of an API, on its unix socket or through the balancer. */
static enum ctl_exit ask(const char *target)
{
    static const char unix_scheme[] = "unix:";
    long status = 0;
    bool is_unix = strncmp(target, unix_scheme, strlen(unix_scheme)) == 0;
    CURL *curl = curl_easy_init();
    if (!curl)
        return ctl_complain(CTL_FAILED, "out of memory");
    curl_easy_setopt(curl, CURLOPT_URL, is_unix ? "http://payring/healthz" : target);
    if (is_unix)
        curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, target + strlen(unix_scheme));
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)ANSWER_MAX_MS);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, ignore);
    CURLcode code = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    curl_easy_cleanup(curl);
    if (code != CURLE_OK)
        return ctl_complain(CTL_NO, "%s: %s", target, curl_easy_strerror(code));
    if (status != 200)
        return ctl_complain(CTL_NO, "%s answers %ld", target, status);
    printf("%s answers 200\n", target);
    return ctl_finish(stdout, CTL_DONE);
}

enum ctl_exit ctl_health(struct ctl *ctl)
{
    if (strcmp(ctl->target, "region") == 0)
        return look(ctl, look_at_region);
    if (strcmp(ctl->target, "lanes") == 0)
        return look(ctl, look_at_lanes);
    return ask(ctl->target);
}
