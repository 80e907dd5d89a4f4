/* The log: one line an event, values that cannot break out of theirs, repeats that are counted. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/iso8601.h"
#include "common/log.h"

/* ---- stderr goes to a file while a test logs ---- */

static int real_stderr;
static FILE *captured_file;
static char captured[1 << 20];

static void capture(void)
{
    captured_file = tmpfile();
    assert_non_null(captured_file);
    real_stderr = dup(STDERR_FILENO);
    assert_true(real_stderr >= 0);
    assert_true(dup2(fileno(captured_file), STDERR_FILENO) >= 0);
}

static const char *release(void)
{
    assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
    close(real_stderr);
    rewind(captured_file);
    size_t length = fread(captured, 1, sizeof captured - 1, captured_file);
    captured[length] = '\0';
    fclose(captured_file);
    return captured;
}

/* The one line that was captured, behind its time. */
static const char *release_line(void)
{
    const char *text = release();
    struct iso8601_time time;

    assert_memory_equal(text, "time=", 5);
    assert_int_equal(iso8601_parse(text + 5, 24, ISO8601_ZONE_REQUIRED, &time, NULL), STATUS_OK);
    assert_true(llabs(time.us - clock_wall_us()) < 60 * 1000000LL);
    assert_int_equal(strcspn(text, "\n"), strlen(text) - 1);
    return text + 5 + 24 + 1;
}

static unsigned count(const char *text, const char *word)
{
    unsigned times = 0;

    while ((text = strstr(text, word)) != NULL) {
        times++;
        text += strlen(word);
    }
    return times;
}

/* ---- one line ---- */

static void a_line_says_who_what_and_how_bad(void **state)
{
    (void)state;
    log_open("payring-test", LOG_LEVEL_DEBUG);
    capture();
    LOG_INFO("lane_taken", "lane=%d epoch=%llu", 1, 42ULL);
    assert_string_equal(release_line(),
                        "program=payring-test level=info event=lane_taken lane=1 epoch=42\n");
    capture();
    LOG_ERROR("ready");
    assert_string_equal(release_line(), "program=payring-test level=error event=ready\n");
}

static void values_cannot_break_out(void **state)
{
    (void)state;
    log_open("t", LOG_LEVEL_DEBUG);
    capture();
    LOG_WARN("x", "a=%s b=%s c=%s d=%d", "two words", "level=error", "", 5);
    assert_string_equal(release_line(), "program=t level=warn event=x a=\"two words\" "
                                        "b=\"level=error\" c=\"\" d=5\n");
    capture();
    LOG_WARN("x", "a=%s b=%s", "x\ntime=0 \"event\"=\\", "\x7f\x01");
    assert_string_equal(release_line(), "program=t level=warn event=x "
                                        "a=\"x\\x0atime=0 \\\"event\\\"=\\\\\" b=\"\\x7f\\x01\"\n");
    capture();
    LOG_WARN("x", "pair=%s/%s percent=%d%%", "a b", "c", 5);
    assert_string_equal(release_line(), "program=t level=warn event=x pair=\"a b/c\" percent=5%\n");
}

static void a_line_is_cut_off(void **state)
{
    char long_text[3 * LOG_LINE_SIZE];

    (void)state;
    log_open("t", LOG_LEVEL_DEBUG);
    memset(long_text, 'y', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    capture();
    LOG_INFO("x", "a=%s b=%d", long_text, 5);
    const char *line = release_line();
    assert_int_equal(strlen(captured), LOG_LINE_SIZE);
    assert_non_null(strstr(line, " a=yyyy"));
    assert_int_equal(line[strlen(line) - 1], '\n');
}

/* What may be left of b="\n \n" last=5: no half an escape, no open quote, no half a key. */
static bool is_well_cut(const char *line)
{
    static const char *const rests[] = {
        "y\n",
        "y b=\"\"\n",
        "y b=\"\\x0a\"\n",
        "y b=\"\\x0a \"\n",
        "y b=\"\\x0a \\x0a\"\n",
        "y b=\"\\x0a \\x0a\" last=5\n",
    };
    const char *rest = strrchr(line, 'y');

    for (size_t i = 0; i < sizeof rests / sizeof rests[0]; i++)
        if (rest != NULL && strcmp(rest, rests[i]) == 0)
            return true;
    return false;
}

static void a_cut_leaves_pairs(void **state)
{
    char text[LOG_LINE_SIZE];

    (void)state;
    log_open("t", LOG_LEVEL_DEBUG);
    for (size_t length = LOG_LINE_SIZE - 120; length < sizeof text; length++) {
        struct log_site site = {.event = "x"}; /* a new one: no limit is reached */
        memset(text, 'y', length);
        text[length] = '\0';
        capture();
        log_write(&site, LOG_LEVEL_INFO, " a=%s b=%s last=%d", text, "\n \n", 5);
        assert_true(is_well_cut(release_line()));
        assert_in_range(strlen(captured), length, LOG_LINE_SIZE);
    }
    memset(text, '"', sizeof text - 1);
    capture();
    LOG_INFO("x", "a=%s", text);
    assert_non_null(strstr(release_line(), "\\\"\"\n"));
}

static void only_ascii_is_written_as_it_is(void **state)
{
    (void)state;
    log_open("t", LOG_LEVEL_DEBUG);
    capture();
    LOG_INFO("x", "a=%s b=%s", "\xc2\x85", "\xff");
    assert_string_equal(release_line(),
                        "program=t level=info event=x a=\"\\xc2\\x85\" b=\"\\xff\"\n");
}

static void log_at_every_level(void)
{
    LOG_ERROR("e");
    LOG_WARN("w");
    LOG_INFO("i");
    LOG_DEBUG("d");
}

static void the_threshold_decides(void **state)
{
    static const char *const events[] = {"event=e\n", "event=w\n", "event=i\n", "event=d\n"};

    (void)state;
    for (int threshold = LOG_LEVEL_ERROR; threshold <= LOG_LEVEL_DEBUG; threshold++) {
        log_open("t", (enum log_level)threshold);
        capture();
        log_at_every_level();
        const char *text = release();
        for (int level = 0; level < 4; level++)
            assert_int_equal(count(text, events[level]), level <= threshold);
    }
}

static void arguments_of_silent_levels_are_not_evaluated(void **state)
{
    int evaluated = 0;

    (void)state;
    log_open("t", LOG_LEVEL_INFO);
    LOG_DEBUG("d", "a=%d", ++evaluated);
    assert_int_equal(evaluated, 0);
}

static void errno_survives(void **state)
{
    (void)state;
    log_open("t", LOG_LEVEL_INFO);
    capture();
    close(STDERR_FILENO);
    errno = EXDEV;
    LOG_INFO("x");
    int after = errno;
    release();
    assert_int_equal(after, EXDEV);
}

/* ---- repeats ---- */

static void repeat(int times)
{
    for (int i = 0; i < times; i++)
        LOG_INFO("repeated", "i=%d", i);
}

static void wait_for_next_second(void)
{
    int64_t second = clock_monotonic_ms() / 1000;

    while (clock_monotonic_ms() / 1000 == second)
        usleep(5000);
}

/* Repeat within one second of the monotonic clock; what is captured stays captured. */
static void repeat_in_one_second(int times)
{
    for (;;) {
        int64_t second;
        wait_for_next_second();
        log_close();
        capture();
        second = clock_monotonic_ms() / 1000;
        repeat(times);
        if (clock_monotonic_ms() / 1000 == second)
            return;
        release();
    }
}

static void repeats_are_counted_and_said_at_the_end(void **state)
{
    (void)state;
    log_open("t", LOG_LEVEL_INFO);
    repeat_in_one_second(1000);
    LOG_INFO("another");
    log_close();
    log_close();
    const char *text = release();
    assert_int_equal(count(text, "event=repeated"), LOG_LINES_PER_SECOND);
    assert_int_equal(count(text, "i=9\n"), 1);
    assert_int_equal(count(text, "event=another"), 1);
    assert_int_equal(count(text, "level=warn event=log_held_back of=repeated lines=990\n"), 1);
    assert_int_equal(count(text, "log_held_back"), 1);
}

static void repeats_are_said_by_the_next_line_of_anybody(void **state)
{
    (void)state;
    log_open("t", LOG_LEVEL_INFO);
    repeat_in_one_second(25);
    wait_for_next_second();
    LOG_INFO("another");
    repeat(1);
    const char *text = release();
    assert_int_equal(count(text, "event=log_held_back of=repeated lines=15\n"), 1);
    assert_true(strstr(text, "event=log_held_back") < strstr(text, "event=another"));
    assert_int_equal(count(text, "event=repeated"), LOG_LINES_PER_SECOND + 1);
}

static void nothing_is_said_of_repeats_within_the_limit(void **state)
{
    (void)state;
    log_open("t", LOG_LEVEL_INFO);
    repeat_in_one_second(LOG_LINES_PER_SECOND);
    log_close();
    const char *text = release();
    assert_int_equal(count(text, "event=repeated"), LOG_LINES_PER_SECOND);
    assert_int_equal(count(text, "log_held_back"), 0);
}

/* ---- threads ---- */

enum { THREADS = 4, LINES = 2000 };

/* A pipe that is full and whose reader is asleep: the line is lost, nobody waits. */
static void a_log_that_nobody_reads_stops_nobody(void **state)
{
    int ends[2];
    char byte = 'x';

    (void)state;
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    while (write(ends[1], &byte, 1) == 1)
        continue;
    assert_int_equal(fcntl(ends[1], F_SETFL, 0), 0); /* a write would wait from here on */
    real_stderr = dup(STDERR_FILENO);
    assert_true(dup2(ends[1], STDERR_FILENO) >= 0);
    alarm(10); /* ends the test if it does wait */
    LOG_INFO("unread", "n=%d", 1);
    alarm(0);
    assert_true(dup2(real_stderr, STDERR_FILENO) >= 0);
    close(real_stderr);
    close(ends[0]);
    close(ends[1]);
}

static void *log_in_a_thread(void *name)
{
    for (int i = 0; i < LINES; i++)
        LOG_INFO("from_thread", "name=%s i=%d end=%s", (const char *)name, i, "here");
    return NULL;
}

/* Each line is whole, and written and held back together make all of them. */
static void threads_do_not_mix_or_lose_lines(void **state)
{
    static char names[THREADS][8] = {"a", "b", "c", "d"};
    pthread_t threads[THREADS];
    unsigned long lines = 0;

    (void)state;
    log_open("t", LOG_LEVEL_INFO);
    log_close();
    capture();
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, log_in_a_thread, names[i]), 0);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    log_close();
    release();
    for (char *rest = captured, *line; (line = strsep(&rest, "\n")) != NULL && *line != '\0';) {
        const char *held_back = strstr(line, "event=log_held_back of=from_thread lines=");
        assert_memory_equal(line, "time=", 5);
        if (held_back != NULL) {
            lines += strtoul(strrchr(line, '=') + 1, NULL, 10);
            continue;
        }
        assert_int_equal(count(line, "event="), 1);
        assert_string_equal(line + strlen(line) - 9, " end=here");
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_says_who_what_and_how_bad),
        cmocka_unit_test(values_cannot_break_out),
        cmocka_unit_test(a_line_is_cut_off),
        cmocka_unit_test(a_cut_leaves_pairs),
        cmocka_unit_test(only_ascii_is_written_as_it_is),
        cmocka_unit_test(the_threshold_decides),
        cmocka_unit_test(arguments_of_silent_levels_are_not_evaluated),
        cmocka_unit_test(errno_survives),
        cmocka_unit_test(repeats_are_counted_and_said_at_the_end),
        cmocka_unit_test(repeats_are_said_by_the_next_line_of_anybody),
        cmocka_unit_test(nothing_is_said_of_repeats_within_the_limit),
        cmocka_unit_test(a_log_that_nobody_reads_stops_nobody),
        cmocka_unit_test(threads_do_not_mix_or_lose_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
