#include "common/log.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/iso8601.h"

_Atomic int log_threshold = LOG_LEVEL_INFO;

/* Over everything below and over the contents of every site. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *program_name;
static struct log_site *unsaid_sites; /* those with a count to be said */

static const char *const level_names[] = {"error", "warn", "info", "debug"};

/* A line in the making; room for the newline is kept. */
struct line {
    char text[LOG_LINE_SIZE];
    size_t length;
};

static size_t room_of(const struct line *line)
{
    return sizeof line->text - 1 - line->length;
}

static void put_bytes(struct line *line, const char *bytes, size_t count)
{
    size_t room = room_of(line);

    if (count > room)
        count = room;
    memcpy(line->text + line->length, bytes, count);
    line->length += count;
}

static void put_text(struct line *line, const char *text)
{
    put_bytes(line, text, strlen(text));
}

/* What is not ASCII may be no UTF-8 either, or a line break to some reader. */
static bool is_printable(char c)
{
    return c >= ' ' && c <= '~';
}

static bool needs_quotes(const char *value, size_t length)
{
    for (size_t i = 0; i < length; i++)
        if (!is_printable(value[i]) || strchr(" \"=\\", value[i]) != NULL)
            return true;
    return length == 0;
}

static void put_value(struct line *line, const char *value, size_t length)
{
    if (!needs_quotes(value, length)) {
        put_bytes(line, value, length);
        return;
    }
    put_text(line, "\"");
    for (size_t i = 0; i < length; i++) {
        char escaped[5] = {value[i]};
        if (value[i] == '"' || value[i] == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", value[i]);
        else if (!is_printable(value[i]))
            snprintf(escaped, sizeof escaped, "\\x%02x", (unsigned char)value[i]);
        if (room_of(line) <= strlen(escaped)) /* the quote has to be closed */
            break;
        put_text(line, escaped);
    }
    put_text(line, "\"");
}

static void put_pair(struct line *line, const char *key, const char *value)
{
    put_text(line, " ");
    put_text(line, key);
    put_text(line, "=");
    put_value(line, value, strlen(value));
}

static void start_line(struct line *line, enum log_level level, const char *event)
{
    char time[ISO8601_TEXT_SIZE];

    iso8601_format_ms(time, clock_wall_ms());
    line->length = 0;
    put_text(line, "time=");
    put_text(line, time);
    if (program_name != NULL)
        put_pair(line, "program", program_name);
    put_pair(line, "level", level_names[level]);
    put_pair(line, "event", event);
}

/* Never waits: a log that nobody reads (a full pipe, a stopped terminal) must not stop payments.
 * poll promises room for PIPE_BUF bytes, and a line is no longer. A line that does not fit is lost;
 * one that cannot be written has nobody to tell. */
static void end_line(struct line *line)
{
    static_assert(LOG_LINE_SIZE <= PIPE_BUF, "a line fits where poll says that there is room");
    struct pollfd log = {.fd = STDERR_FILENO, .events = POLLOUT};
    line->text[line->length++] = '\n';
    if (poll(&log, 1, 0) != 1 || !(log.revents & POLLOUT))
        return;
    ssize_t written = write(STDERR_FILENO, line->text, line->length);
    (void)written;
}

/* How long the first `count` bytes of a format are when printed. */
static size_t printed_length(const char *format, size_t count, va_list arguments)
{
    char part[LOG_LINE_SIZE];
    va_list copy;

    snprintf(part, sizeof part, "%.*s", (int)count, format);
    va_copy(copy, arguments);
    int length = vsnprintf(NULL, 0, part, copy);
    va_end(copy);
    return length < 0 ? 0 : (size_t)length;
}

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Values may hold spaces and even "key=": only the format knows where each of them begins and
 * ends, so it is printed word by word. */
static void put_pairs(struct line *line, const char *format, va_list arguments)
{
    char printed[LOG_LINE_SIZE];
    va_list copy;

    va_copy(copy, arguments);
    vsnprintf(printed, sizeof printed, format, copy);
    va_end(copy);

    size_t printed_size = strlen(printed);
    for (const char *word = format + strspn(format, " "); *word != '\0';
         word += strspn(word, " ")) {
        const char *end = word + strcspn(word, " ");
        size_t key_length = lesser(strcspn(word, "=") + 1, (size_t)(end - word));
        size_t from = printed_length(format, (size_t)(word - format), arguments) + key_length;
        size_t to = printed_length(format, (size_t)(end - format), arguments);

        /* A pair that the line is cut off before is left out: no half a key. */
        if (room_of(line) < 1 + key_length + sizeof "\"\"" - 1)
            break;
        put_text(line, " ");
        put_bytes(line, word, key_length);
        from = lesser(from, printed_size);
        put_value(line, printed + from, lesser(to, printed_size) - from);
        word = end;
    }
}

/* Say and forget the counts of the seconds before `second`. */
static void say_unsaid(int64_t second)
{
    struct log_site **link = &unsaid_sites;

    while (*link != NULL) {
        struct log_site *site = *link;
        if (site->second >= second) {
            link = &site->next_unsaid;
            continue;
        }
        char count[24];
        snprintf(count, sizeof count, "%" PRIu64, site->unsaid);
        struct line line;
        start_line(&line, LOG_LEVEL_WARN, "log_held_back");
        put_pair(&line, "of", site->event);
        put_pair(&line, "lines", count);
        end_line(&line);
        site->unsaid = 0;
        *link = site->next_unsaid;
    }
}

static bool may_write(struct log_site *site, int64_t second)
{
    if (site->second != second) {
        site->second = second;
        site->lines = 0;
    }
    if (site->lines < LOG_LINES_PER_SECOND) {
        site->lines++;
        return true;
    }
    if (site->unsaid++ == 0) {
        site->next_unsaid = unsaid_sites;
        unsaid_sites = site;
    }
    return false;
}

void log_write(struct log_site *site, enum log_level level, const char *format, ...)
{
    int saved_errno = errno;
    struct line line;
    va_list arguments;

    pthread_mutex_lock(&lock);
    int64_t second = clock_monotonic_ms() / 1000;
    say_unsaid(second);
    if (may_write(site, second)) {
        start_line(&line, level, site->event);
        va_start(arguments, format);
        put_pairs(&line, format, arguments);
        va_end(arguments);
        end_line(&line);
    }
    pthread_mutex_unlock(&lock);
    errno = saved_errno;
}

/* Without the lock: whoever holds it may be the one that failed. */
void check_failed(const char *file, int line_number, const char *condition)
{
    struct line line;
    char place[256];

    snprintf(place, sizeof place, "%s:%d", file, line_number);
    start_line(&line, LOG_LEVEL_ERROR, "check_failed");
    put_pair(&line, "place", place);
    put_pair(&line, "condition", condition);
    end_line(&line);
    abort();
}

void log_open(const char *program, enum log_level level)
{
    pthread_mutex_lock(&lock);
    program_name = program;
    pthread_mutex_unlock(&lock);
    atomic_store_explicit(&log_threshold, (int)level, memory_order_relaxed);
}

void log_close(void)
{
    pthread_mutex_lock(&lock);
    say_unsaid(INT64_MAX);
    pthread_mutex_unlock(&lock);
}
