/* What a run of the public test is told. */
#ifndef TEST_BENCH_RINHA_SETTINGS_H
#define TEST_BENCH_RINHA_SETTINGS_H

#include "test/lib/client/target.h"

#include <stdbool.h>
#include <stdint.h>

enum { DEFAULT = 0, FALLBACK = 1, PROCESSORS = 2 };

/* The public test: 550 virtual users in the end, 60 s. */
enum { PUBLIC_USERS = 550, PUBLIC_SECONDS = 60 };

#define PAYMENT_AMOUNT "19.90"

struct settings {
    struct target gateway;
    struct target processors[PROCESSORS];
    const char *token; /* of the processors' admin calls */
    double seconds;    /* other than 60: the times of stages and audits shrink with it */
    unsigned users;
    uint64_t seed;  /* decides the ids */
    bool load_only; /* post, and nothing else: no purge, stages, audits or score */
};

#endif
