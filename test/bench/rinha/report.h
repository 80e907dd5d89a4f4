/* What a run came to, as JSON. */
#ifndef TEST_BENCH_RINHA_REPORT_H
#define TEST_BENCH_RINHA_REPORT_H

#include "test/bench/rinha/director.h"
#include "test/bench/rinha/settings.h"
#include "test/bench/rinha/tally.h"

#include <stdio.h>

/* The score and all that it follows from. The totals must have been read. */
void report_write(const struct settings *settings, const struct tally *tally,
                  const struct director *director, FILE *out);

/* The same of a run that only posts: no score. */
void report_write_load(const struct settings *settings, const struct tally *tally, FILE *out);

#endif
