#include "test/bench/rinha/score.h"

static const double FINE = 0.35;

/* In whole numbers, because 2 decimals decide over thousands: 10 us is the unit of the rounded p99,
 * 11 ms are 1100 of them, and each that is missing is worth 2 hundredths of a percent. */
static int64_t rounded_p99(int64_t p99_us)
{
    return (p99_us + 5) / 10;
}

int64_t score_bonus_percent(int64_t p99_us)
{
    int64_t missing = 1100 - rounded_p99(p99_us);
    return missing > 0 ? (missing * 2 + 50) / 100 : 0;
}

void score_compute(struct score *score)
{
    score->p99_ms = (double)rounded_p99(score->p99_us) / 100.0;
    score->bonus = (double)score_bonus_percent(score->p99_us) / 100.0;
    score->fine = score->inconsistencies > 0 ? FINE : 0.0;
    score->lag = score->accepted - score->requests[0] - score->requests[1];
    score->disqualified = score->lag < 0;
    score->total_amount = (double)(score->cents[0] + score->cents[1]) / 100.0;
    score->total_fees = 0;
    for (unsigned i = 0; i < 2; i++) {
        score->fees[i] = score->fee[i] * (double)score->cents[i] / 100.0;
        score->total_fees += score->fees[i];
    }
    score->value = (score->total_amount - score->total_fees) * (1.0 + score->bonus - score->fine);
}
