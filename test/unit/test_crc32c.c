/* CRC-32C: the published values, and both ways of computing it against each other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "common/crc32c.h"

/* RFC 3720, appendix B.4, and the check value of the catalogue of Koopman and others. */
static void published_values(void **state)
{
    (void)state;
    uint8_t bytes[32];
    assert_int_equal(crc32c(0, "", 0), 0);
    assert_int_equal(crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x8a9136aa);
    memset(bytes, 0xff, sizeof bytes);
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x62a8ab43);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = i;
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x46dd794e);
    for (uint8_t i = 0; i < 32; i++)
        bytes[i] = (uint8_t)(31 - i);
    assert_int_equal(crc32c(0, bytes, sizeof bytes), 0x113fdb5c);
}

static void both_ways_agree_in_any_pieces(void **state)
{
    (void)state;
    uint8_t bytes[257];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * i * 31 + i * 7 + 5);
    for (size_t from = 0; from < 9; from++) {
        for (size_t to = from; to <= sizeof bytes; to++) {
            uint32_t whole = crc32c(0, bytes + from, to - from);
            size_t middle = from + (to - from) * 5 / 7;
            assert_int_equal(crc32c_by_tables(0, bytes + from, to - from), whole);
            assert_int_equal(
                crc32c(crc32c(0, bytes + from, middle - from), bytes + middle, to - middle), whole);
            assert_int_equal(crc32c_by_tables(crc32c(0, bytes + from, middle - from),
                                              bytes + middle, to - middle),
                             whole);
        }
    }
}

/* Whatever bit is turned, the sum tells. */
static void every_bit_counts(void **state)
{
    (void)state;
    uint8_t bytes[64] = {0};
    uint32_t good = crc32c(0, bytes, sizeof bytes);
    for (size_t bit = 0; bit < sizeof bytes * 8; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(crc32c(0, bytes, sizeof bytes), good);
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_values),
        cmocka_unit_test(both_ways_agree_in_any_pieces),
        cmocka_unit_test(every_bit_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
