/* Secrets: what may be one, where from, and that comparing tells a guesser nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/secret.h"

#define SIXTEEN "0123456789abcdef"

static char longest[SECRET_SIZE + 2]; /* of characters that may be in one, and longer */

static int fill_longest(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = (char)('!' + i % 94);
    return 0;
}

static bool is_taken(const char *text, size_t length)
{
    char secret[SECRET_SIZE], before[SECRET_SIZE];

    memset(secret, 'x', sizeof secret);
    memcpy(before, secret, sizeof secret);
    bool taken = secret_set(secret, text, length);
    if (!taken) {
        assert_memory_equal(secret, before, sizeof secret);
        return false;
    }
    assert_memory_equal(secret, text, length);
    for (size_t i = length; i < sizeof secret; i++)
        assert_int_equal(secret[i], 0);
    return true;
}

static void a_secret_has_a_rule(void **state)
{
    (void)state;
    assert_true(is_taken(SIXTEEN, 16));
    assert_true(is_taken("!#$%&'()*+,-./~\"\\", 17));
    assert_true(is_taken(longest, SECRET_LENGTH_MAX));
    assert_false(is_taken(longest, SECRET_LENGTH_MAX + 1));
    assert_false(is_taken(SIXTEEN, 15));
    assert_false(is_taken("", 0));
    static const char others[] = {' ', '\t', '\r', '\n', '\0', '\x1f', '\x7f', '\x80', '\xff'};
    for (size_t i = 0; i < sizeof others; i++)
        for (size_t place = 0; place < 16; place++) {
            char text[] = SIXTEEN;
            text[place] = others[i];
            if (is_taken(text, 16))
                fail_msg("character %d is taken at %zu", others[i], place);
        }
}

static void it_equals_itself_and_nothing_else(void **state)
{
    static const size_t lengths[] = {16, 17, 100, SECRET_LENGTH_MAX};
    char secret[SECRET_SIZE], guess[SECRET_SIZE + 2] = "";

    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        size_t length = lengths[i];
        assert_true(secret_set(secret, longest, length));
        memcpy(guess, longest, sizeof guess);
        assert_true(secret_equals(secret, guess, length));
        for (size_t shorter = 0; shorter < length; shorter++)
            assert_false(secret_equals(secret, guess, shorter));
        assert_false(secret_equals(secret, guess, length + 1));
        for (size_t place = 0; place < length; place++)
            for (int bit = 0; bit < 8; bit++) {
                guess[place] = (char)(longest[place] ^ 1 << bit);
                if (secret_equals(secret, guess, length))
                    fail_msg("bit %d of character %zu does not matter", bit, place);
                guess[place] = longest[place];
            }
        guess[length] = '\0'; /* as it is kept: but nothing that is sent may end so */
        assert_false(secret_equals(secret, guess, length + 1));
    }
}

static void no_secret_equals_nothing(void **state)
{
    static const char none[SECRET_SIZE], zeros[SECRET_SIZE];

    (void)state;
    for (size_t length = 0; length <= sizeof zeros; length++)
        assert_false(secret_equals(none, zeros, length));
    assert_false(secret_equals(none, SIXTEEN, 16));
}

/* The least of many runs is what the comparison itself takes, however busy the machine is. */
static int64_t least_time_us(const char *secret, const char *guess, size_t length)
{
    int64_t least = INT64_MAX;

    for (int run = 0; run < 200; run++) {
        int64_t begin = clock_monotonic_us();
        unsigned equal = 0;
        for (int i = 0; i < 200; i++)
            equal += secret_equals(secret, guess, length);
        int64_t took = clock_monotonic_us() - begin;
        assert_true(equal == 0 || equal == 200);
        if (took < least)
            least = took;
    }
    return least;
}

/* An end at the first difference would make the first of these many times faster than the last. */
static void the_time_tells_nothing(void **state)
{
    char secret[SECRET_SIZE], first[SECRET_SIZE], last[SECRET_SIZE];

    (void)state;
    assert_true(secret_set(secret, longest, SECRET_LENGTH_MAX));
    memcpy(first, secret, sizeof first);
    memcpy(last, secret, sizeof last);
    first[0] = '~';
    last[SECRET_LENGTH_MAX - 1] = '~';
    int64_t times[] = {least_time_us(secret, first, SECRET_LENGTH_MAX),
                       least_time_us(secret, last, SECRET_LENGTH_MAX),
                       least_time_us(secret, secret, SECRET_LENGTH_MAX)};
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            if (times[i] > times[j] * 2 + 2)
                fail_msg("%jd us against %jd us", (intmax_t)times[i], (intmax_t)times[j]);
}

/* ---- files ---- */

static enum status read_from(const void *text, size_t length, char *secret, struct explain *why)
{
    char path[] = "/tmp/payring-test-secret-XXXXXX";
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, length), length);
    close(fd);
    enum status status = secret_read_file(secret, path, why);
    unlink(path);
    return status;
}

static void a_file_holds_one_line(void **state)
{
    static const char *const good[] = {SIXTEEN, SIXTEEN "\n", SIXTEEN "\r\n"};
    static const char *const bad[] = {"",           "\n",           "short\n",
                                      SIXTEEN "\r", SIXTEEN "\n\n", SIXTEEN "\n" SIXTEEN,
                                      "\n" SIXTEEN, " " SIXTEEN,    SIXTEEN " \n"};
    char secret[SECRET_SIZE] = "", text[SECRET_LENGTH_MAX + 4];
    struct explain why = {{0}};

    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        memset(secret, 0, sizeof secret);
        assert_int_equal(read_from(good[i], strlen(good[i]), secret, &why), STATUS_OK);
        assert_string_equal(secret, SIXTEEN);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (read_from(bad[i], strlen(bad[i]), secret, &why) != STATUS_INVALID)
            fail_msg("\"%s\" is taken", bad[i]);
        assert_string_equal(secret, SIXTEEN);
        assert_null(strstr(why.text, SIXTEEN));
    }
    memcpy(text, longest, SECRET_LENGTH_MAX);
    strcpy(text + SECRET_LENGTH_MAX, "\r\n");
    assert_int_equal(read_from(text, SECRET_LENGTH_MAX + 2, secret, &why), STATUS_OK);
    assert_memory_equal(secret, longest, SECRET_LENGTH_MAX);
    strcpy(text + SECRET_LENGTH_MAX, "x\r\n");
    assert_int_equal(read_from(text, SECRET_LENGTH_MAX + 3, secret, &why), STATUS_INVALID);
}

static void a_file_that_cannot_be_read(void **state)
{
    char secret[SECRET_SIZE] = SIXTEEN;
    struct explain why = {{0}};

    (void)state;
    assert_int_equal(secret_read_file(secret, "/nowhere/secret", &why), STATUS_SYSTEM);
    assert_string_equal(why.text, "/nowhere/secret cannot be read: No such file or directory");
    assert_int_equal(secret_read_file(secret, "/tmp", &why), STATUS_SYSTEM);
    assert_string_equal(why.text, "/tmp cannot be read: Is a directory");
    assert_string_equal(secret, SIXTEEN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_secret_has_a_rule),
        cmocka_unit_test(it_equals_itself_and_nothing_else),
        cmocka_unit_test(no_secret_equals_nothing),
        cmocka_unit_test(the_time_tells_nothing),
        cmocka_unit_test(a_file_holds_one_line),
        cmocka_unit_test(a_file_that_cannot_be_read),
    };
    return cmocka_run_group_tests(tests, fill_longest, NULL);
}
