#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <time.h>

#include "worker/ctl.h"

static volatile sig_atomic_t interrupted;

enum ctl_exit ctl_complain(enum ctl_exit result, const char *format, ...)
{
    va_list arguments;
    fputs("payringctl: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return result;
}

enum ctl_exit ctl_finish(FILE *file, enum ctl_exit result)
{
    errno = 0;
    if (fflush(file) == 0 && !ferror(file))
        return result;
    return ctl_complain(CTL_FAILED, "the answer could not be written: %s",
                        errno ? strerror(errno) : "an earlier error");
}

void ctl_format_us(char text[static ISO8601_TEXT_SIZE], int64_t time_us)
{
    if (time_us % 1000 == 0)
        iso8601_format_ms(text, time_us / 1000);
    else
        iso8601_format_us(text, time_us);
}

static void on_signal(int number)
{
    (void)number;
    interrupted = 1;
}

void ctl_catch_signals(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool ctl_is_interrupted(void)
{
    return interrupted;
}

bool ctl_pause_ms(int64_t ms)
{
    if (!interrupted)
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
    return !interrupted;
}
