/* The open-loop generator: sends each request when the schedule says so, on whichever connection
 * has been free the longest, and notes what came of it.
 *
 * If no connection is free when a request is due, it waits for one, and its latency counts on from
 * when it was due. What is late because of the server (no free connection) and what is late because
 * of ourselves are noted apart: the second is how far these figures can be trusted.
 */
#ifndef TEST_BENCH_LOAD_GENERATOR_H
#define TEST_BENCH_LOAD_GENERATOR_H

#include "test/bench/load/schedule.h"
#include "test/lib/client/histogram.h"
#include "test/lib/client/plan.h"
#include "test/lib/client/target.h"

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

enum { LOAD_TARGETS_MAX = 16, LOAD_CONNECTIONS_MAX = 8192, LOAD_STATUS_MAX = 600 };

struct load_settings {
    struct schedule schedule;
    struct plan plan;
    struct target targets[LOAD_TARGETS_MAX];
    unsigned target_count;
    unsigned connection_count; /* spread evenly over the targets, for good */
    const char *get_path;      /* NULL: POST /payments */
    int64_t timeout_ns;        /* from sending: a request without an answer then has failed */
    int64_t patience_ns;       /* after the duration, for what is still due or out */
    int64_t spin_ns;           /* this long before a request is due, poll instead of sleeping */
    bool awake;                /* never sleep, whatever is waited for */
    FILE *log;                 /* NULL: none; one line a request */
    const volatile sig_atomic_t *enough; /* not 0: nothing more becomes due; may be NULL */
};

struct load_results {
    uint64_t scheduled, sent;
    uint64_t unsent; /* due, and no connection was free until patience ended */
    uint64_t statuses[LOAD_STATUS_MAX];
    uint64_t timeouts;   /* no answer in time */
    uint64_t lost;       /* the connection broke, or no HTTP came back */
    uint64_t unanswered; /* still out when patience ended */
    uint64_t connect_failures;
    uint64_t told_to_close;      /* connections that ended with an answer that says close */
    uint64_t closed_idle;        /* ... between two requests, untold */
    uint64_t answered_in_time;   /* within the duration */
    uint64_t waited;             /* requests that had no free connection when due */
    int64_t took_ns;             /* until the last answer */
    int64_t cpu_ns;              /* our own, user and system */
    struct histogram latency;    /* of 2xx, from when it was due */
    struct histogram service;    /* of 2xx, from when it was sent */
    struct histogram refused;    /* latency of every other status */
    struct histogram send_delay; /* sent - due, whoever's fault */
    struct histogram lag;        /* our own part of it */
};

/* Run it all, or until there is enough: then the schedule's duration is that of the run. False,
 * with a message on standard error, if no connection could be made at the start or memory is short.
 * The plan must have begun; the settings' texts must outlive the call. */
bool generator_run(struct load_settings *settings, struct load_results *results);

#endif
