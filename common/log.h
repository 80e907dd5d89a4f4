/* The log: one line an event on stderr, written by one write(2), so that the lines of several
 * threads and processes never mix. The daemons say everything by it, from the first error of a
 * setting to the last CHECK; payringctl answers a person and has no log.
 *
 *   time=2025-07-15T12:34:56.000Z program=payring-api level=info event=ready socket=/run/a.sock
 *
 * A value that holds a space, a quote, '=', a backslash or anything but printable ASCII is quoted
 * and escaped, so that nothing a client sends can start a line or a key of its own. A line is cut
 * off at LOG_LINE_SIZE, between pairs or within a value, whose quote is closed. Never log a body, a
 * token or a shared secret: not even at level debug.
 */
#ifndef PAYRING_LOG_H
#define PAYRING_LOG_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define LOG_LINE_SIZE 1024

/* Lines that one call site may write in a second; what is more is counted instead, and the count
 * is said with the next line of any site after that second, or by log_close. */
#define LOG_LINES_PER_SECOND 10

enum log_level {
    LOG_LEVEL_ERROR,
    LOG_LEVEL_WARN,
    LOG_LEVEL_INFO,
    LOG_LEVEL_DEBUG,
};

/* A place in the code that logs; the macros below make one each. Everything is kept by log.c,
 * under its lock. */
struct log_site {
    const char *event;
    int64_t second; /* of the monotonic clock, that `lines` belongs to */
    uint32_t lines; /* written in that second */
    uint64_t unsaid;
    struct log_site *next_unsaid;
};

/* Name the program and the last level that is written. Before it: no program, level info.
 * The name is kept by reference. */
void log_open(const char *program, enum log_level level);

/* Say the counts of what was held back. The log stays usable. */
void log_close(void);

/* Use the macros. The format is a literal of `key=%x` words with a space between them; an event
 * without values has none. Any thread; leaves errno alone. */
void log_write(struct log_site *site, enum log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

extern _Atomic int log_threshold; /* enum log_level; private to log.c and the macro */

#define LOG_AT(level_, event_, ...)                                                                \
    do {                                                                                           \
        static struct log_site log_site_ = {.event = (event_)};                                    \
        if ((int)(level_) <= atomic_load_explicit(&log_threshold, memory_order_relaxed))           \
            log_write(&log_site_, (level_), " " __VA_ARGS__);                                      \
    } while (0)

/* LOG_INFO("lane_taken", "lane=%u epoch=%" PRIu64, lane, epoch); LOG_INFO("ready"); */
#define LOG_ERROR(event, ...) LOG_AT(LOG_LEVEL_ERROR, event, __VA_ARGS__)
#define LOG_WARN(event, ...)  LOG_AT(LOG_LEVEL_WARN, event, __VA_ARGS__)
#define LOG_INFO(event, ...)  LOG_AT(LOG_LEVEL_INFO, event, __VA_ARGS__)
#define LOG_DEBUG(event, ...) LOG_AT(LOG_LEVEL_DEBUG, event, __VA_ARGS__)

#endif
