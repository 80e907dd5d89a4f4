/* The bytes of a journal: records, headers, names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "worker/journal_format.h"

static const struct journal_entry example = {
    .kind = JOURNAL_SETTLED,
    .sequence = UINT64_C(0x123456789abc),
    .durable = UINT64_C(0x123456789abc) - 300,
    .payment = {.state = PAYMENT_SETTLED,
                .processor = 1,
                .flags = PAYMENT_FLAG_UNKNOWN | PAYMENT_FLAG_SEEN,
                .id = {UINT64_C(0x0123456789abcdef), UINT64_C(0xfedcba9876543210)},
                .amount_cents = INT64_C(9999999999999),
                .accepted_at_ms = INT64_C(1795829227013),
                .requested_at_us = INT64_C(1795829227013001),
                .purge_generation = 4000000000u,
                .row = UINT64_C(0xfedcba9876)},
};

static void a_record_is_read_as_it_was_written(void **state)
{
    struct journal_record record;
    struct journal_entry read;
    (void)state;
    journal_format_pack(&record, &example, 42);
    assert_true(journal_format_unpack(&read, &record, 42, example.sequence));
    assert_int_equal(read.kind, example.kind);
    assert_int_equal(read.sequence, example.sequence);
    assert_int_equal(read.durable, example.durable);
    assert_memory_equal(&read.payment, &example.payment, sizeof read.payment);
}

static void each_bit_matters(void **state)
{
    struct journal_record record;
    struct journal_entry read;
    (void)state;
    journal_format_pack(&record, &example, 42);
    for (unsigned bit = 0; bit < 8 * sizeof record; bit++) {
        uint8_t *bytes = (uint8_t *)&record;
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_false(journal_format_unpack(&read, &record, 42, example.sequence));
        bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
    }
    assert_true(journal_format_unpack(&read, &record, 42, example.sequence));
}

static void a_record_belongs_to_its_place_and_segment(void **state)
{
    struct journal_record record;
    struct journal_entry read;
    static const struct journal_record nothing;
    (void)state;
    journal_format_pack(&record, &example, 42);
    assert_false(journal_format_unpack(&read, &record, 43, example.sequence));
    assert_false(journal_format_unpack(&read, &record, 42, example.sequence + 1));
    assert_false(journal_format_unpack(&read, &nothing, 42, 1));
    assert_false(journal_format_unpack(&read, &nothing, 0, 0));
}

/* A whole checksum over what no writer writes. */
static void a_kind_and_a_state_that_do_not_fit_are_no_record(void **state)
{
    const struct {
        enum journal_kind kind;
        enum payment_state payment_state;
    } bad[] = {
        {JOURNAL_ACCEPTED, PAYMENT_SENT},  {JOURNAL_BOUND, PAYMENT_QUEUED},
        {JOURNAL_ENDED, PAYMENT_SETTLED},  {JOURNAL_SETTLED, PAYMENT_SENT},
        {JOURNAL_PURGED, PAYMENT_SETTLED}, {JOURNAL_CARRIED, PAYMENT_SETTLED},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct journal_record record;
        struct journal_entry entry = example, read;
        entry.kind = bad[i].kind;
        entry.payment.state = bad[i].payment_state;
        journal_format_pack(&record, &entry, 42);
        assert_false(journal_format_unpack(&read, &record, 42, entry.sequence));
    }
}

/* What lies on disks somewhere must be read for ever. */
static void the_bytes_are_these(void **state)
{
    static const uint8_t bytes[JOURNAL_RECORD_SIZE] = {
        [4] = JOURNAL_BOUND,
        [5] = 1 << 4 | PAYMENT_SENT,
        [6] = PAYMENT_FLAG_ASK,
        [8] = 7,
        [14] = 2,
        [16] = 0x22, /* little endian */
        [17] = 0x11,
        [24] = 0x44,
        [25] = 0x33,
        [32] = 0xc6,
        [33] = 0x07,
        [40] = 5,
        [48] = 6,
        [56] = 8,
    };
    const struct journal_entry entry = {.kind = JOURNAL_BOUND,
                                        .sequence = 7,
                                        .durable = 5,
                                        .payment = {.state = PAYMENT_SENT,
                                                    .processor = 1,
                                                    .flags = PAYMENT_FLAG_ASK,
                                                    .id = {0x1122, 0x3344},
                                                    .amount_cents = 1990,
                                                    .accepted_at_ms = 5,
                                                    .requested_at_us = 6,
                                                    .purge_generation = 8}};
    struct journal_record record;
    (void)state;
    journal_format_pack(&record, &entry, 0);
    assert_memory_equal((const uint8_t *)&record + 4, bytes + 4, sizeof bytes - 4);
    assert_int_equal(record.checksum, 0x551105c3u);
}

static void names_are_read_as_they_are_written(void **state)
{
    char name[JOURNAL_NAME_SIZE];
    uint64_t number;
    (void)state;
    journal_format_segment_name(name, UINT64_C(0xfedcba9876543210));
    assert_string_equal(name, "journal-fedcba9876543210.pj");
    assert_true(journal_format_is_segment_name(name, &number));
    assert_int_equal(number, UINT64_C(0xfedcba9876543210));
    assert_false(journal_format_is_digest_name(name, &number));
    journal_format_digest_name(name, 1);
    assert_true(journal_format_is_digest_name(name, &number));
    assert_int_equal(number, 1);
    const char *const bad[] = {"journal-fedcba9876543210.pj.new",
                               "journal-fedcba987654321.pj",
                               "journal-FEDCBA9876543210.pj",
                               "journal-fedcba9876543210",
                               "segment.new",
                               ""};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_false(journal_format_is_segment_name(bad[i], &number));
}

static const struct journal_identity ours = {.region_id_hi = 1, .region_id_lo = 2, .lane = 3};

static void a_segment_of_another_place_is_refused(void **state)
{
    struct journal_segment_header header;
    struct journal_identity other = ours;
    struct explain why;
    (void)state;
    journal_format_segment_header(&header, &ours, 5, 100, 16, 12345);
    assert_int_equal(journal_format_check_segment(&header, &ours, 5, &why), STATUS_OK);
    assert_int_equal(journal_format_check_segment(&header, &ours, 6, &why), STATUS_DAMAGED);
    other.lane = 4;
    assert_int_equal(journal_format_check_segment(&header, &other, 5, &why), STATUS_DAMAGED);
    other = ours;
    other.region_id_lo++;
    assert_int_equal(journal_format_check_segment(&header, &other, 5, &why), STATUS_DAMAGED);
    assert_non_null(strstr(why.text, "another region"));
    header.first_sequence++;
    assert_int_equal(journal_format_check_segment(&header, &ours, 5, &why), STATUS_DAMAGED);
    header.version++;
    assert_int_equal(journal_format_check_segment(&header, &ours, 5, &why), STATUS_UNSUPPORTED);
    assert_non_null(strstr(why.text, "version 2"));
}

static void so_is_a_digest(void **state)
{
    struct journal_digest_header header = {
        .first = 2, .last = 5, .next_sequence = 9, .rows = 3, .ids = 4, .images = 1};
    struct explain why;
    (void)state;
    journal_format_seal_digest(&header, &ours);
    assert_int_equal(journal_format_check_digest(&header, &ours, 5, &why), STATUS_OK);
    assert_int_equal(journal_format_digest_body(&header), 3 * 8 + 4 * 16 + 64);
    assert_int_equal(journal_format_check_digest(&header, &ours, 4, &why), STATUS_DAMAGED);
    header.rows++;
    assert_int_equal(journal_format_check_digest(&header, &ours, 5, &why), STATUS_DAMAGED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_record_is_read_as_it_was_written),
        cmocka_unit_test(each_bit_matters),
        cmocka_unit_test(a_record_belongs_to_its_place_and_segment),
        cmocka_unit_test(a_kind_and_a_state_that_do_not_fit_are_no_record),
        cmocka_unit_test(the_bytes_are_these),
        cmocka_unit_test(names_are_read_as_they_are_written),
        cmocka_unit_test(a_segment_of_another_place_is_refused),
        cmocka_unit_test(so_is_a_digest),
    };
    return cmocka_run_group_tests_name("journal_format", tests, NULL, NULL);
}
