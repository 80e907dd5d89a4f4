/* payringctl drain: no new payments, and wait until everything accepted has ended. */
#include <inttypes.h>
#include <string.h>

#include "common/clock.h"
#include "shm/shm_lease.h"
#include "shm/shm_ring.h"
#include "worker/ctl.h"

#define LOOK_MS     50
#define PROGRESS_MS 1000

struct rest {
    unsigned apis_unaware; /* API slots in use whose tenant has not seen the stop */
    unsigned lanes_alone;  /* lanes without an owner */
    uint64_t in_rings, unsettled;
};

/* In the direction in which payments move: APIs, rings, `unsettled`. An API that has seen the
 * stop, or a slot without a tenant, pushes nothing any more, so an empty ring stays empty; what
 * left it is in `unsettled`, which nothing raises but a ring. So nothing left is left for good.
 *
 * A slot's lease: free after the stop means that its next tenant comes after the stop (the kernel
 * orders the two by its lock on the file), and reads it before it accepts anything. */
static struct rest look(const struct shm_region *region, uint64_t stop)
{
    struct rest rest = {0};
    for (unsigned api = 0; api < region->geometry.api_slots; api++)
        /* Acquire: pairs with the release after the pushes before it. */
        rest.apis_unaware += shm_lease_is_taken(region, SHM_LEASE_API + api) &&
                             atomic_load_explicit(&shm_region_api(region, api)->intake_seen,
                                                  memory_order_acquire) != stop;
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        for (unsigned api = 0; api < region->geometry.api_slots; api++)
            rest.in_rings += shm_ring_depth(region, api, lane);
        rest.unsettled +=
            atomic_load_explicit(&shm_region_lane(region, lane)->unsettled, memory_order_acquire);
        rest.lanes_alone += !shm_lease_is_taken(region, SHM_LEASE_LANE + lane);
    }
    return rest;
}

static bool is_nothing(const struct rest *rest)
{
    return rest->apis_unaware == 0 && rest->in_rings == 0 && rest->unsettled == 0;
}

static void describe(char *text, size_t size, const struct rest *rest)
{
    snprintf(text, size,
             "%" PRIu64 " payments in rings, %" PRIu64 " unsettled, %u APIs that have not seen it, "
             "%u lanes without an owner",
             rest->in_rings, rest->unsettled, rest->apis_unaware, rest->lanes_alone);
}

static enum ctl_exit give_up(const struct ctl *ctl, const struct rest *rest)
{
    char text[200];
    describe(text, sizeof text, rest);
    return ctl_complain(CTL_FAILED,
                        "not drained %s %" PRId64 " s: %s; intake stays stopped (payringctl "
                        "payments shows what is there, drain --resume opens intake)",
                        ctl_is_interrupted() ? "before an interruption, within" : "within",
                        ctl->timeout_ms / 1000, text);
}

static enum ctl_exit await(const struct shm_region *region, const struct ctl *ctl, uint64_t stop,
                           int64_t deadline_ms)
{
    struct rest rest;
    int64_t told_ms = 0;
    char text[200];
    do {
        if (shm_operator_intake(region) != stop)
            return ctl_complain(CTL_NO, "not drained: somebody else has opened intake meanwhile");
        rest = look(region, stop);
        if (is_nothing(&rest)) {
            printf("region %s is drained: everything that was accepted has ended\n", region->name);
            return ctl_finish(stdout, CTL_DONE);
        }
        if (clock_monotonic_ms() - told_ms >= PROGRESS_MS) {
            told_ms = clock_monotonic_ms();
            describe(text, sizeof text, &rest);
            printf("waiting for %s\n", text);
            fflush(stdout);
        }
    } while (clock_monotonic_ms() < deadline_ms && ctl_pause_ms(LOOK_MS));
    return give_up(ctl, &rest);
}

enum ctl_exit ctl_drain(struct ctl *ctl)
{
    struct shm_region region;
    int64_t deadline_ms = clock_monotonic_ms() + ctl->timeout_ms;
    ctl_catch_signals();
    enum ctl_exit result = ctl_operator_open(&region, ctl, deadline_ms);
    if (result != CTL_DONE)
        return result;
    uint64_t intake = shm_operator_set_intake(&region, !ctl->resume);
    /* Not held while we wait: resolving may be what it takes to drain. */
    ctl_operator_give_back(&region);
    printf("intake of region %s is %s\n", region.name, ctl->resume ? "open" : "stopped");
    result = ctl_finish(stdout, CTL_DONE);
    if (!ctl->resume && result == CTL_DONE)
        result = await(&region, ctl, intake, deadline_ms);
    shm_region_detach(&region);
    return result;
}
