/* The arithmetic of the public test. Pure. */
#ifndef TEST_BENCH_RINHA_SCORE_H
#define TEST_BENCH_RINHA_SCORE_H

#include <stdbool.h>
#include <stdint.h>

struct score {
    /* What it follows from. */
    int64_t accepted;    /* payments answered 2xx */
    int64_t requests[2]; /* settled, by processor */
    int64_t cents[2];
    double fee[2]; /* a share of the amount */
    int64_t p99_us;
    int64_t inconsistencies;
    /* What follows; amounts are in units of money. */
    double p99_ms; /* rounded to 2 decimals */
    double bonus;  /* (11 - p99) * 2 %, rounded to 2 decimals, never below 0 */
    double fine;   /* 0.35 on any inconsistency */
    double total_amount, total_fees, fees[2];
    double value;      /* (amount - fees) * (1 + bonus - fine) */
    int64_t lag;       /* accepted and not settled */
    bool disqualified; /* more settled than accepted */
};

/* The bonus of a p99, in hundredths. */
int64_t score_bonus_percent(int64_t p99_us);

void score_compute(struct score *score);

#endif
