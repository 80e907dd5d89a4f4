/* The director of the test: purges, sets the processors' stages, audits, and reads the totals. */
#ifndef TEST_BENCH_RINHA_DIRECTOR_H
#define TEST_BENCH_RINHA_DIRECTOR_H

#include "test/bench/rinha/caller.h"
#include "test/bench/rinha/inquiry.h"
#include "test/bench/rinha/settings.h"
#include "test/bench/rinha/tally.h"

#include <stdbool.h>
#include <stdint.h>

enum { STAGES = 6, AUDITS = 6 };

struct audit {
    bool made;
    double at_s;
    struct answers answers;
};

struct director {
    const struct settings *settings;
    struct tally *tally;
    int64_t begin_ns;
    /* Calls of a stage, one after the other; those of the purge likewise. */
    struct caller processors[PROCESSORS], gateway;
    unsigned next_stage, step; /* step: the call that is out, or STEPS if none is */
    unsigned stage_failures;   /* admin calls that did not succeed: the run is void */
    bool purged[PROCESSORS];
    int gateway_purge_status; /* 0: no answer */
    struct inquiry inquiry;   /* of audits and of the totals */
    unsigned next_audit, audit_out;
    bool auditing;
    struct audit audits[AUDITS];
};

/* Settings and tally must outlive it. */
void director_init(struct director *director, const struct settings *settings, struct tally *tally,
                   int epoll);

/* Purge all three, one after the other, up to the first processor that refuses; over when the
 * director is busy no longer. */
void director_purge(struct director *director);

/* The test begins. */
void director_start(struct director *director, int64_t begin_ns);

/* Do what is due. An audit that is still out when the next is due delays it, beyond the
 * end of the test for ever. */
void director_turn(struct director *director, int64_t now_ns);

/* When something is due next; INT64_MAX if nothing is. */
int64_t director_next_ns(const struct director *director);

/* Read the totals of the whole test; they are in inquiry.answers when it is no longer busy. */
void director_ask_totals(struct director *director);

void director_look_at_time(struct director *director, int64_t now_ns);

/* A call is out. */
bool director_is_busy(const struct director *director);

void director_free(struct director *director);

#endif
