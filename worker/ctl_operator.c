#include "common/clock.h"
#include "shm/shm_lease.h"
#include "worker/ctl.h"

#define LOOK_MS 20

enum ctl_exit ctl_operator_take(struct shm_region *region, int64_t deadline_ms)
{
    struct explain why;
    for (;;) {
        enum status status = shm_lease_try_take(region, SHM_LEASE_OPERATOR);
        if (status == STATUS_OK)
            break;
        if (status != STATUS_BUSY)
            return ctl_complain(CTL_FAILED, "the operator's lease of region %s cannot be taken",
                                region->name);
        if (clock_monotonic_ms() >= deadline_ms || !ctl_pause_ms(LOOK_MS))
            return ctl_complain(CTL_FAILED,
                                "another payringctl is resolving or draining in region %s; nothing "
                                "was done",
                                region->name);
    }
    if (shm_region_is_current(region) && shm_region_open_operator(region, &why) == STATUS_OK)
        return CTL_DONE;
    shm_lease_give_back(region, SHM_LEASE_OPERATOR);
    return ctl_complain(CTL_FAILED, "region %s was removed just now, or cannot be written to",
                        region->name);
}

void ctl_operator_give_back(struct shm_region *region)
{
    shm_region_close_operator(region);
    shm_lease_give_back(region, SHM_LEASE_OPERATOR);
}

enum ctl_exit ctl_operator_open(struct shm_region *region, const struct ctl *ctl,
                                int64_t deadline_ms)
{
    struct explain why;
    if (shm_region_attach(region, ctl->config->region, 0, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    enum ctl_exit result = ctl_operator_take(region, deadline_ms);
    if (result != CTL_DONE)
        shm_region_detach(region);
    return result;
}

void ctl_operator_close(struct shm_region *region)
{
    ctl_operator_give_back(region);
    shm_region_detach(region);
}
