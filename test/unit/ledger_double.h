/* A ledger's double: every row that was written, kept plainly, to sum it up the slow way. Rows at
 * random, as they come: nearly in order, some late, some that take two words. Include after
 * cmocka.h. */
#ifndef PAYRING_TEST_LEDGER_DOUBLE_H
#define PAYRING_TEST_LEDGER_DOUBLE_H

#include "shm/shm_ledger.h"
#include "test/unit/shm_fixture.h"

#define LEDGER_DOUBLE_MAX_CENTS INT64_C(10000000000000)

struct ledger_double {
    struct shm_row *rows;
    uint64_t *numbers; /* of each row's first word */
    uint32_t *names;
    size_t count, room;
};

static inline bool ledger_double_equal(const struct shm_row *a, const struct shm_row *b)
{
    return a->processor == b->processor && a->amount_cents == b->amount_cents &&
           a->requested_at_us == b->requested_at_us;
}

/* Write and publish a row, in the ledger and in its double. */
static inline void ledger_double_append(struct ledger_double *d, struct shm_ledger_writer *writer,
                                        const struct shm_row *row)
{
    if (d->count == d->room) {
        d->room = d->room ? d->room * 2 : 1024;
        d->rows = realloc(d->rows, d->room * sizeof *d->rows);
        d->numbers = realloc(d->numbers, d->room * sizeof *d->numbers);
        d->names = realloc(d->names, d->room * sizeof *d->names);
        assert_true(d->rows && d->numbers && d->names);
    }
    d->rows[d->count] = *row;
    d->names[d->count] = shm_ledger_next_name(writer);
    shm_ledger_write(writer, row);
    d->numbers[d->count++] = writer->row_count + writer->filler_words;
    shm_ledger_publish(writer);
}

static inline void ledger_double_forget(struct ledger_double *d)
{
    free(d->rows);
    free(d->numbers);
    free(d->names);
    *d = (struct ledger_double){0};
}

static inline void ledger_double_sum(const struct ledger_double *d, uint64_t first_row,
                                     const struct shm_window *window, struct shm_totals *totals)
{
    for (size_t i = 0; i < d->count; i++) {
        const struct shm_row *row = &d->rows[i];
        if (d->numbers[i] < first_row || row->requested_at_us < window->from_us ||
            row->requested_at_us > window->to_us)
            continue;
        totals->payments[row->processor]++;
        totals->sum_cents[row->processor] += (unsigned __int128)row->amount_cents;
    }
}

static inline bool ledger_double_totals_equal(const struct shm_totals *a,
                                              const struct shm_totals *b)
{
    return a->payments[0] == b->payments[0] && a->payments[1] == b->payments[1] &&
           a->sum_cents[0] == b->sum_cents[0] && a->sum_cents[1] == b->sum_cents[1];
}

/* Times nearly in order, some late by much, one in `escape_every` (0: none) needing two words for
 * one of the three reasons. */
static inline struct shm_row ledger_double_row(const struct shm_region *region, uint64_t *random,
                                               uint64_t n, unsigned escape_every)
{
    int64_t ms =
        region->created_at_ms + (int64_t)(n / 10) + (int64_t)(shm_fixture_random(random) % 50);
    if (shm_fixture_random(random) % 1000 == 0)
        ms -= 30000;
    struct shm_row row = {
        .processor = shm_fixture_random(random) % 4 == 0,
        .amount_cents = 1 + (int64_t)(shm_fixture_random(random) % 1000000),
        .requested_at_us = ms * 1000,
    };
    if (escape_every == 0 || shm_fixture_random(random) % escape_every)
        return row;
    uint64_t reason = shm_fixture_random(random) % 3;
    if (reason == 0)
        row.amount_cents = LEDGER_DOUBLE_MAX_CENTS - (int64_t)(n % 1000);
    else if (reason == 1)
        row.requested_at_us += 1 + (int64_t)(shm_fixture_random(random) % 999);
    else
        row.requested_at_us -= INT64_C(100000000000); /* before the base */
    return row;
}

static inline struct shm_window ledger_double_window(const struct shm_region *region,
                                                     uint64_t *random, uint64_t count)
{
    int64_t span_us = (int64_t)count * 100 + 100000;
    int64_t start = region->created_at_ms * 1000 - 50000;
    int64_t from = start + (int64_t)(shm_fixture_random(random) % (uint64_t)span_us);
    int64_t to = from + (int64_t)(shm_fixture_random(random) % (uint64_t)span_us);
    switch (shm_fixture_random(random) % 8) {
    case 0:
        return (struct shm_window){INT64_MIN, to};
    case 1:
        return (struct shm_window){from, INT64_MAX};
    case 2:
        return (struct shm_window){to, from}; /* empty, unless both are one */
    case 3: /* whole milliseconds, where rows lie exactly on the edges */
        return (struct shm_window){from / 1000 * 1000, to / 1000 * 1000};
    case 4:
        return (struct shm_window){from, from + (int64_t)(shm_fixture_random(random) % 3000)};
    default:
        return (struct shm_window){from, to};
    }
}

/* The sum of everything and of so many windows at random, of both lanes, is the doubles'. */
static inline void ledger_double_compare(const struct shm_region *region,
                                         const struct ledger_double *doubles, uint64_t *random,
                                         int windows)
{
    for (int i = 0; i <= windows; i++) {
        struct shm_window window = {INT64_MIN, INT64_MAX};
        struct shm_totals right = {0}, sum;
        struct explain why = {{0}};
        if (i > 0)
            window = ledger_double_window(region, random, doubles[0].count);
        for (unsigned lane = 0; lane < 2; lane++)
            ledger_double_sum(&doubles[lane],
                              atomic_load(&shm_region_lane(region, lane)->first_row), &window,
                              &right);
        if (shm_ledger_sum_or_say(region, &window, &sum, &why) != STATUS_OK)
            fail_msg("no sum: %s", why.text);
        if (!ledger_double_totals_equal(&sum, &right))
            fail_msg("window %lld..%lld: %llu + %llu payments, expected %llu + %llu",
                     (long long)window.from_us, (long long)window.to_us,
                     (unsigned long long)sum.payments[0], (unsigned long long)sum.payments[1],
                     (unsigned long long)right.payments[0], (unsigned long long)right.payments[1]);
    }
}

#endif
