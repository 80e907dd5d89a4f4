/* Named places to die at, for tests: after every store that another process may meet.
 *
 *   CRASH_POINT(record_sent);
 *
 * is nothing at all in the programs that are installed. In a build with PAYRING_CRASH_POINTS (the
 * tree build/crash, made by the same rules) it is a visit to the point of that name, and
 * PAYRING_CRASH_POINT=record_sent:7 in the environment lets the process die at its seventh one.
 * common/crash_points.def lists the points and what a death at each of them leaves.
 *
 * crash_point_reached is alone in its object file: the simulator links one of its own instead.
 */
#ifndef PAYRING_CRASH_POINT_H
#define PAYRING_CRASH_POINT_H

enum crash_point {
#define CRASH_POINT_ROW(name, program, occasion, leaves) CRASH_POINT_##name,
#include "common/crash_points.def"
#undef CRASH_POINT_ROW
    CRASH_POINT_COUNT
};

/* A visit to a point: counted, over all threads of the process. The one that PAYRING_CRASH_POINT
 * names (name:n, counting from 1) appends a byte to the file PAYRING_CRASH_POINT_LOG and does not
 * return: the process is killed as by SIGKILL from outside. */
void crash_point_reached(enum crash_point point);

#ifdef PAYRING_CRASH_POINTS
#define CRASH_POINT(name) crash_point_reached(CRASH_POINT_##name)
/* A point that only some of those who come by visit. */
#define CRASH_POINT_IF(condition, name)                                                            \
    do {                                                                                           \
        if (condition)                                                                             \
            crash_point_reached(CRASH_POINT_##name);                                               \
    } while (0)
#else
#define CRASH_POINT(name)               ((void)0)
#define CRASH_POINT_IF(condition, name) ((void)0)
#endif

#endif
