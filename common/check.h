/* CHECK says what must hold however the program is driven from outside. It stays on in release
 * builds: a process that finds its own state impossible must not go on with other people's money,
 * and dying at any instruction is a case that the design covers. */
#ifndef PAYRING_CHECK_H
#define PAYRING_CHECK_H

#include <stdio.h>
#include <stdlib.h>

static inline _Noreturn __attribute__((cold)) void check_failed(const char *file, int line,
                                                                const char *condition)
{
    fprintf(stderr, "level=error event=check_failed place=%s:%d condition=\"%s\"\n", file, line,
            condition);
    abort();
}

#define CHECK(condition) ((condition) ? (void)0 : check_failed(__FILE__, __LINE__, #condition))

#endif
