/* common/crash_point.h in the simulator: a place to die at, by name. */
#include "common/crash_point.h"

#include <stdio.h>

#include "test/sim/kernel.h"

static const char *const names[CRASH_POINT_COUNT] = {
#define CRASH_POINT_ROW(name, program, occasion, leaves) [CRASH_POINT_##name] = #name,
#include "common/crash_points.def"
#undef CRASH_POINT_ROW
};

static uint64_t visits[CRASH_POINT_COUNT], deaths[CRASH_POINT_COUNT];

void crash_point_reached(enum crash_point point)
{
    struct sim_process *process = sim_process_current();
    visits[point]++;
    if (process && process->fate == SIM_KILL && process->fate_point == (int)point) {
        deaths[point]++;
        sim_say("(killed at %s)", names[point]);
        sim_die_here();
    }
    sim_access();
}

unsigned sim_points_report(void)
{
    unsigned visited = 0, died_at = 0;
    printf("# crash points that nobody died at:");
    for (unsigned i = 0; i < SIM_POINT_COUNT; i++) {
        visited += visits[i] > 0;
        died_at += deaths[i] > 0;
        if (deaths[i] == 0)
            printf(" %s%s", names[i], visits[i] == 0 ? " (never visited)" : "");
    }
    printf("\n# %u of %u crash points visited; somebody died at %u of them\n", visited,
           SIM_POINT_COUNT, died_at);
    return visited;
}
