/* Ids: one text form, case set aside, and a hash whose every bit is worth taking. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <ctype.h>
#include <string.h>

#include "common/uuid.h"

static const char example[] = "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3";

static uint64_t random_state;

static uint64_t random_64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

static void reads_the_digits_in_order(void **state)
{
    struct uuid id;

    (void)state;
    assert_true(uuid_parse(example, 36, &id));
    assert_true(id.hi == UINT64_C(0x4a7901b87d264d9d));
    assert_true(id.lo == UINT64_C(0xaa194dc1c7cf60b3));
    assert_true(uuid_parse("00000000-0000-0000-0000-000000000000", 36, &id));
    assert_true(id.hi == 0 && id.lo == 0);
    assert_true(uuid_parse("ffffffff-FFFF-ffff-FFFF-ffffffffffff", 36, &id));
    assert_true(id.hi == UINT64_MAX && id.lo == UINT64_MAX);
}

static void upper_case_is_the_same_id(void **state)
{
    char upper[37], back[37];
    struct uuid a, b;

    (void)state;
    for (size_t i = 0; i <= 36; i++)
        upper[i] = (char)toupper((unsigned char)example[i]);
    assert_true(uuid_parse(example, 36, &a));
    assert_true(uuid_parse(upper, 36, &b));
    assert_true(uuid_equal(&a, &b));
    uuid_format(back, &b);
    assert_string_equal(back, example);
}

static void refuses_other_lengths_and_forms(void **state)
{
    static const char *const texts[] = {
        "",
        "4a7901b87d264d9daa194dc1c7cf60b3",
        "{4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3}",
        "urn:uuid:4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3",
        "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b",
        "4a7901b8-7d26-4d9d-aa19-4dc1c7cf60b3 ",
        "4a7901b87-d26-4d9d-aa19-4dc1c7cf60b3",
        "4a7901b8-7d26-4d9d-aa194-dc1c7cf60b3",
        "4a7901b8_7d26_4d9d_aa19_4dc1c7cf60b3",
    };

    (void)state;
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct uuid id = {.hi = 7, .lo = 8};
        assert_false(uuid_parse(texts[i], strlen(texts[i]), &id));
        assert_true(id.hi == 7 && id.lo == 8);
    }
}

/* Every byte in every place: a hyphen's place takes a hyphen, any other a hexadecimal digit. */
static void judges_every_byte_in_every_place(void **state)
{
    (void)state;
    for (size_t place = 0; place < 36; place++) {
        for (int byte = 0; byte < 256; byte++) {
            char text[36];
            struct uuid id;
            bool good = example[place] == '-' ? byte == '-' : isxdigit(byte) != 0;
            memcpy(text, example, 36);
            text[place] = (char)byte;
            assert_int_equal(uuid_parse(text, 36, &id), good);
        }
    }
}

static void reads_back_what_it_wrote(void **state)
{
    (void)state;
    random_state = 1;
    for (int i = 0; i < 100000; i++) {
        struct uuid id = {.hi = random_64(), .lo = random_64()}, back;
        char text[UUID_TEXT_LENGTH + 1];
        uuid_format(text, &id);
        assert_int_equal(strlen(text), 36);
        assert_true(uuid_parse(text, 36, &back));
        assert_true(uuid_equal(&id, &back));
    }
}

static void equality_looks_at_both_halves(void **state)
{
    const struct uuid id = {.hi = 1, .lo = 2}, other_hi = {.hi = 3, .lo = 2},
                      other_lo = {.hi = 1, .lo = 3}, swapped = {.hi = 2, .lo = 1};

    (void)state;
    assert_true(uuid_equal(&id, &id));
    assert_false(uuid_equal(&id, &other_hi));
    assert_false(uuid_equal(&id, &other_lo));
    assert_false(uuid_equal(&id, &swapped));
}

/* ---- the hash ---- */

typedef struct uuid make_id(uint64_t n);

static struct uuid sequential_low(uint64_t n)
{
    return (struct uuid){.hi = 0, .lo = n};
}
static struct uuid sequential_high(uint64_t n)
{
    return (struct uuid){.hi = n, .lo = 0};
}
static struct uuid sequential_top_bits(uint64_t n)
{
    return (struct uuid){.hi = n << 44, .lo = UINT64_MAX};
}
static struct uuid both_halves_alike(uint64_t n)
{
    return (struct uuid){.hi = n, .lo = n};
}
static struct uuid halves_that_cancel(uint64_t n)
{
    return (struct uuid){.hi = n, .lo = 0 - n};
}
static struct uuid random_version_4(uint64_t n)
{
    (void)n;
    return (struct uuid){.hi = (random_64() & ~UINT64_C(0xf000)) | 0x4000,
                         .lo = random_64() >> 2 | UINT64_C(1) << 63};
}

static make_id *const families[] = {sequential_low,    sequential_high,    sequential_top_bits,
                                    both_halves_alike, halves_that_cancel, random_version_4};
#define FAMILIES (sizeof families / sizeof families[0])

/* chi^2 over 256 buckets has mean 255 and deviation 22.6; 400 is beyond 6 of them. Fixed ids. */
static double chi_squared_of_byte(make_id *make, unsigned shift)
{
    enum { IDS = 1 << 16 };
    unsigned counts[256] = {0};
    double sum = 0;

    for (uint64_t n = 0; n < IDS; n++) {
        struct uuid id = make(n);
        counts[uuid_hash(&id) >> shift & 255]++;
    }
    for (int i = 0; i < 256; i++) {
        double off = counts[i] - IDS / 256.0;
        sum += off * off / (IDS / 256.0);
    }
    return sum;
}

static void every_byte_of_the_hash_spreads(void **state)
{
    (void)state;
    random_state = 2;
    for (size_t family = 0; family < FAMILIES; family++) {
        for (unsigned shift = 0; shift < 64; shift += 8) {
            double chi = chi_squared_of_byte(families[family], shift);
            if (chi > 400)
                fail_msg("family %zu, byte at bit %u: chi^2 %.0f", family, shift, chi);
        }
    }
}

/* The lane takes some bits and the index within it others: knowing one must not tell the other. */
static void different_bits_are_independent(void **state)
{
    enum { IDS = 1 << 16, CELLS = 256 };

    (void)state;
    random_state = 3;
    for (size_t family = 0; family < FAMILIES; family++) {
        for (unsigned a = 0; a < 64; a += 4) {
            for (unsigned b = a + 4; b < 64; b += 4) {
                unsigned counts[CELLS] = {0};
                double sum = 0;
                for (uint64_t n = 0; n < IDS / 8; n++) {
                    struct uuid id = families[family](n);
                    uint64_t hash = uuid_hash(&id);
                    counts[(hash >> a & 15) << 4 | (hash >> b & 15)]++;
                }
                for (int i = 0; i < CELLS; i++) {
                    double off = counts[i] - IDS / 8.0 / CELLS;
                    sum += off * off / (IDS / 8.0 / CELLS);
                }
                if (sum > 400)
                    fail_msg("family %zu, bits at %u and %u: chi^2 %.0f", family, a, b, sum);
            }
        }
    }
}

/* Flipping one bit of the id flips each bit of the hash about every second time. */
static void one_bit_changes_half_of_the_hash(void **state)
{
    enum { IDS = 2000 };

    (void)state;
    random_state = 4;
    for (unsigned bit = 0; bit < 128; bit++) {
        unsigned flips[64] = {0};
        for (int i = 0; i < IDS; i++) {
            struct uuid id = {.hi = random_64(), .lo = random_64()}, flipped = id;
            *(bit < 64 ? &flipped.lo : &flipped.hi) ^= UINT64_C(1) << bit % 64;
            uint64_t changed = uuid_hash(&id) ^ uuid_hash(&flipped);
            for (unsigned out = 0; out < 64; out++)
                flips[out] += (unsigned)(changed >> out) & 1;
        }
        for (unsigned out = 0; out < 64; out++)
            if (flips[out] < IDS * 2 / 5 || flips[out] > IDS * 3 / 5)
                fail_msg("bit %u of the id flips bit %u of the hash %u times in %d", bit, out,
                         flips[out], (int)IDS);
    }
}

/* A payment's lane must survive an upgrade: the hash is part of the region's layout. */
static void the_hash_never_changes(void **state)
{
    const struct uuid zero = {0, 0};
    struct uuid id;

    (void)state;
    assert_true(uuid_parse(example, 36, &id));
    assert_true(uuid_hash(&zero) == UINT64_C(0x48218226ff3cd4bf));
    assert_true(uuid_hash(&id) == UINT64_C(0x8f7ab64ff5474db4));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_the_digits_in_order),
        cmocka_unit_test(upper_case_is_the_same_id),
        cmocka_unit_test(refuses_other_lengths_and_forms),
        cmocka_unit_test(judges_every_byte_in_every_place),
        cmocka_unit_test(reads_back_what_it_wrote),
        cmocka_unit_test(equality_looks_at_both_halves),
        cmocka_unit_test(every_byte_of_the_hash_spreads),
        cmocka_unit_test(different_bits_are_independent),
        cmocka_unit_test(one_bit_changes_half_of_the_hash),
        cmocka_unit_test(the_hash_never_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
