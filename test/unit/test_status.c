/* explain() and CHECK: how an operation and a program say that something is wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/check.h"
#include "common/status.h"

static enum status fail_with(struct explain *why, int number)
{
    return explain(why, STATUS_FULL, "number %d of %s", number, "many");
}

static void explain_writes_and_is_the_status(void **state)
{
    struct explain why;

    (void)state;
    assert_int_equal(fail_with(&why, 7), STATUS_FULL);
    assert_string_equal(why.text, "number 7 of many");
    assert_int_equal(fail_with(NULL, 7), STATUS_FULL);
}

static void explain_cuts_off_what_is_too_long(void **state)
{
    char long_text[2 * sizeof(struct explain)];
    struct explain why;

    (void)state;
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[sizeof long_text - 1] = '\0';
    assert_int_equal(explain(&why, STATUS_INVALID, "%s", long_text), STATUS_INVALID);
    assert_int_equal(strlen(why.text), sizeof why.text - 1);
}

/* How a child ends that checks `condition`, and what it says on stderr. */
static int run_check(bool condition, char *said, size_t size)
{
    int ends[2], how;

    assert_int_equal(pipe(ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
        signal(SIGABRT, SIG_DFL);
        dup2(ends[1], STDERR_FILENO);
        CHECK(condition);
        _exit(0);
    }
    close(ends[1]);
    ssize_t length = read(ends[0], said, size - 1);
    assert_true(length >= 0);
    said[length] = '\0';
    close(ends[0]);
    assert_int_equal(waitpid(child, &how, 0), child);
    return how;
}

static void check_ends_the_program_when_it_fails(void **state)
{
    char said[256];
    int how;

    (void)state;
    how = run_check(true, said, sizeof said);
    assert_true(WIFEXITED(how) && WEXITSTATUS(how) == 0);
    assert_string_equal(said, "");

    how = run_check(false, said, sizeof said);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGABRT);
    assert_non_null(strstr(said, "test_status.c:"));
    assert_non_null(strstr(said, " level=error event=check_failed place="));
    assert_non_null(strstr(said, " condition=condition\n"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(explain_writes_and_is_the_status),
        cmocka_unit_test(explain_cuts_off_what_is_too_long),
        cmocka_unit_test(check_ends_the_program_when_it_fails),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
