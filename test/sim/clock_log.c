/* common/clock.h and common/log.h over simulated time: these objects take the place of clock.o and
 * log.o. A CHECK that fails is the seed's failure. */
#include <stdarg.h>
#include <stdio.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/log.h"
#include "test/sim/director.h"
#include "test/sim/kernel.h"

#define BASE_WALL_US      (INT64_C(1795492277000) * 1000)
#define BASE_MONOTONIC_US INT64_C(1000000000)

int64_t sim_wall_offset_us;
_Atomic int log_threshold = -1; /* nothing: only a trace wants to hear */

int64_t clock_wall_us(void)
{
    return BASE_WALL_US + sim_now_us + sim_wall_offset_us;
}

int64_t clock_wall_ms(void)
{
    return clock_wall_us() / 1000;
}

int64_t clock_monotonic_us(void)
{
    return BASE_MONOTONIC_US + sim_now_us;
}

int64_t clock_monotonic_ms(void)
{
    return clock_monotonic_us() / 1000;
}

void log_write(struct log_site *site, enum log_level level, const char *format, ...)
{
    char line[LOG_LINE_SIZE];
    va_list arguments;
    (void)level;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    sim_say("log: %s%s", site->event, line);
}

void check_failed(const char *file, int line, const char *condition)
{
    sim_fail("CHECK(%s) failed, %s:%d", condition, file, line);
    sim_leave_guarded();
}
