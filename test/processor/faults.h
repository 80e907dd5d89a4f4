/* Misbehaviour on command: which of the next payments is treated how.
 *
 * Rules are tried in the order they were put; the first that applies to a
 * payment decides, and each has its own random numbers, so that a run can be
 * repeated from its seed. The names and meanings are in the manual
 * (processor_main.c); this file only picks, payments.c acts. One thread.
 */
#ifndef PROCESSOR_FAULTS_H
#define PROCESSOR_FAULTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "test/processor/books.h"

enum fault_kind {
    FAULT_NONE,
    FAULT_RESET_BEFORE,
    FAULT_RESET_AFTER,
    FAULT_RESET_THEN_INSERT,
    FAULT_LATE,
    FAULT_GARBAGE_BODY,
    FAULT_GARBAGE_HTTP,
    FAULT_SHORT,
    FAULT_ERROR_BEFORE,
    FAULT_ERROR_AFTER,
    FAULT_REFUSE_429,
    FAULT_REFUSE_400,
};

/* What is done to one payment. */
struct fault {
    enum fault_kind kind;
    int64_t ms; /* late: after inserting; reset-then-insert: after arrival */
    int status; /* error-before, error-after: 500..599 */
};

struct fault_rule {
    struct fault fault;
    bool forever;
    int64_t left; /* so many more, unless forever */
    int percent;  /* of the payments it could apply to */
    uint64_t seed;
    uint64_t random_state;
    bool one_id; /* only this id, else any */
    struct payment_id id;
    int64_t hit_count;
};

enum { FAULT_RULES_MAX = 16 };

struct faults {
    struct fault_rule rules[FAULT_RULES_MAX];
    size_t count;
};

/* FAULT_NONE if there is no such name. */
enum fault_kind fault_kind_of(const char *name, size_t length);
const char *fault_kind_name(enum fault_kind kind);

/* Add the rule (random_state and hit_count are set here), in the place of one
 * with the same kind and id if there is one. False: there are too many. */
bool faults_put(struct faults *faults, const struct fault_rule *rule);

/* Forget all rules. */
void faults_clear(struct faults *faults);

/* The fault for a payment that has just arrived; used up by this call. */
struct fault faults_pick(struct faults *faults, const struct payment_id *id);

#endif
