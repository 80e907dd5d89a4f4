#include "test/lib/client/clock.h"

#include <stdio.h>
#include <sys/prctl.h>
#include <time.h>

int64_t clock_now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * NS_PER_S + t.tv_nsec;
}

int64_t clock_wall_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

void clock_print_ms(int64_t wall_us, char out[CLOCK_TEXT_SIZE])
{
    struct tm parts;
    time_t seconds = (time_t)(wall_us / 1000000);
    gmtime_r(&seconds, &parts);
    size_t size = strftime(out, CLOCK_TEXT_SIZE, "%Y-%m-%dT%H:%M:%S", &parts);
    snprintf(out + size, CLOCK_TEXT_SIZE - size, ".%03uZ", (unsigned)(wall_us / 1000 % 1000));
}

void clock_wake_on_time(void)
{
    prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL);
}
