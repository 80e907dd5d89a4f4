#include "test/bench/load/schedule.h"

#include <math.h>

uint64_t schedule_count(const struct schedule *schedule)
{
    double mean_per_s = (schedule->first_per_s + schedule->last_per_s) / 2;
    return (uint64_t)(mean_per_s * schedule->duration_s);
}

int64_t schedule_due_ns(const struct schedule *schedule, uint64_t n)
{
    if (n == 0)
        return 0;
    /* t of n = first t + (last - first) t^2 / (2 duration), in the form that neither divides by
     * zero at a fixed rate nor cancels near it. */
    double first = schedule->first_per_s, count = (double)n;
    double slope = (schedule->last_per_s - first) / schedule->duration_s;
    double below = first * first + 2 * slope * count;
    double seconds = 2 * count / (first + sqrt(below > 0 ? below : 0));
    return (int64_t)(seconds * 1e9);
}

struct schedule schedule_until(const struct schedule *schedule, double seconds)
{
    double rise_per_s = schedule->last_per_s - schedule->first_per_s;
    return (struct schedule){.first_per_s = schedule->first_per_s,
                             .last_per_s = schedule->first_per_s +
                                           rise_per_s * seconds / schedule->duration_s,
                             .duration_s = seconds};
}
