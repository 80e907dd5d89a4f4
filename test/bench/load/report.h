/* The results of a run as one line of JSON. */
#ifndef TEST_BENCH_LOAD_REPORT_H
#define TEST_BENCH_LOAD_REPORT_H

#include "test/bench/load/generator.h"

#include <stdio.h>

/* Write it all; every time is in microseconds unless its name says otherwise. */
void report_write(const struct load_settings *settings, const struct load_results *results,
                  FILE *out);

#endif
