/* The rules of the protocol, each with the way to break it.
 *
 * The automaton is the production object and cannot be changed, so a rule is
 * broken around it: what it is told before a step, what it answers after it,
 * or in the driver. The self-test demands that each broken rule breaks a
 * promise: a rule that nothing needs is no rule, and an explorer that
 * overlooks one proves nothing.
 */
#ifndef PAYRING_TEST_MODEL_RULES_H
#define PAYRING_TEST_MODEL_RULES_H

#include <stdio.h>

#include "test/model/model.h"
#include "worker/payment_protocol.h"

/* X(name, bounds, the rule in words) */
#define MODEL_RULES(X)                                                                             \
    X(BIND_BEFORE_SEND, ONE_ID, "1: bind before the first byte goes out")                          \
    X(LOWEST_BOUND_KEPT, HORIZON, "1, and its guard in 9: the lowest bound time is kept")          \
    X(LOWEST_BOUND_FIRST, HORIZON, "1, and its guard in 9: the lowest bound time before SENT")     \
    X(SETTLE_AS_BOUND, ONE_ID, "2: a 200 settles with the requestedAt that was sent")              \
    X(ASK_AFTER_422, BOOKS, "3: after a 422 the book is asked")                                    \
    X(EXISTS_PINS, PURGE, "3: a 422 pins: a refusal of a later resend does not unbind it")         \
    X(COMPARE_AMOUNT, BOOKS, "3: another amount in the book is a CONFLICT")                        \
    X(COMPARE_TIME, BOOKS, "3: another requestedAt in the book is not ours")                       \
    X(UNANSWERED_STAYS_SENT, ONE_ID, "3: a look-up without an answer leaves it SENT")              \
    X(LOWEST_BOUND_NOT_CREATION, HORIZON, "3: \"older than ours\" is by the lowest bound time")    \
    X(UNKNOWN_PINS, ONE_ID, "5: an unknown outcome pins")                                          \
    X(DEAD_OWNER_PINS, ONE_ID, "5: the death of the owner while SENT pins")                        \
    X(LATER_NO_CHANGES_NOTHING, ONE_ID, "5: a refusal after an unknown outcome changes nothing")   \
    X(RESEND_SAME_TIME, ONE_ID, "5: a resend carries the same requestedAt")                        \
    X(RESEND_SAME_PROCESSOR, ONE_ID, "5: a resend goes to the same processor")                     \
    X(NO_SWITCH_ON_404, ONE_ID, "5: unknown, then 404 at a GET, does not unpin")                   \
    X(HIDDEN_RESEND_UNKNOWN, ONE_ID, "7: a resend by libcurl itself is an unknown outcome")        \
    X(ROW_NAMED_FIRST, ONE_ID, "8: the record names its row before the row is published")          \
    X(ROW_BEFORE_COUNT, ONE_ID, "8: the row is written before it is published")                    \
    X(COUNT_BEFORE_SETTLED, ONE_ID, "8: the row is published before SETTLED")                      \
    X(NAME_NEEDS_ROW, ONE_ID, "8: at take-over a named row counts only if published")              \
    X(NAME_CLEARED, TWO_IDS, "8: at take-over the name of an unpublished row is cleared")          \
    X(VISIT_ALL_FIRST, TWO_IDS, "8: a take-over visits every record before anything settles")      \
    X(REMEMBER, RECYCLE, "9: a recycled id is remembered")                                         \
    X(REMEMBER_FIRST, RECYCLE, "9: it is remembered before its record is free")                    \
    X(FILTER_ASKED, RECYCLE, "9: an id that the filter knows is asked for")                        \
    X(BOTH_ASKED, RECYCLE, "9: both processors are asked")                                         \
    X(NO_ANSWER_IS_NO_404, RECYCLE, "9: a book that does not answer is asked again")               \
    X(SEEN_NEVER_ADOPTED, BOOKS, "9: what may have been counted is never adopted")                 \
    X(FORGET_LOWERS, HORIZON, "9: forgetting adopted ids lowers the lowest bound time")            \
    X(FORGET_LOWERS_FIRST, HORIZON, "9: it is lowered before they are forgotten")                  \
    X(ADOPTED_MARKED, HORIZON, "9: an adopted id is remembered as adopted")                        \
    X(RESOLVE_ASKS_BOOK, DECIDED, "10: the book is asked before a decision is carried out")        \
    X(RESOLVE_NOT_IN_FLIGHT, DECIDED, "10: never while an attempt is out")                         \
    X(RESOLVE_SPOILED, DECIDED, "10: nor if one that was out meanwhile has ended unknown")         \
    X(FIELDS_BEFORE_QUEUED, ONE_ID, "record: its fields before QUEUED")                            \
    X(QUEUED_BEFORE_HEAD, ONE_ID, "record: QUEUED before the ring's head")                         \
    X(COPY_RECOGNISED, TWO_RECORDS, "record: a copy is recognised by its id")                      \
    X(RECYCLE_ALL_ENDED, TURNS, "record: every terminal state can be recycled")                    \
    X(PURGE_BY_STAMP, PURGE, "purge: entries accepted before it are dropped")                      \
    X(PURGE_NEWER_WAITS, PURGE, "purge: nothing newer is drained before it is done")               \
    X(PURGE_REMEMBERS, PURGE, "purge: purged ids are remembered")                                  \
    X(PURGE_SPARES_SENT, PURGE, "purge: payments in flight survive")                               \
    X(SURVIVOR_KEPT, PURGE, "purge: what survives it and is then refused stays queued")            \
    X(PURGE_ROWS, PURGE, "purge: the first row moves up to the row count")                         \
    X(PURGE_APPLIED_LAST, PURGE, "purge: applied is stored last")                                  \
    X(KNOWN_BY_STAMP, PURGE, "purge: an API answers for a record of this generation only")         \
    X(STALE_ANSWER_DROPPED, TURNS, "purge: an answer for a record that it freed is dropped")       \
    X(KNOWN_BEFORE_ANSWER, COLD_SYNC, "sync: a 2xx waits until the acceptance is on disk")         \
    X(BOUND_BOOK_FIRST, COLD_BOOKS,                                                                \
      "cold start: the book of what was bound is asked before the other")                          \
    X(BOUND_ON_DISK, COLD_SYNC, "sync: a request leaves when its binding is on disk")              \
    X(JOURNAL_ASKED, COLD_SYNC,                                                                    \
      "journal: an id that it tells of, beyond the filter, is asked for")                          \
    X(COLD_STAYS_BOUND, COLD_SYNC, "cold start: what was bound stays bound")                       \
    X(COLD_IDS_KNOWN, COLD_SYNC, "cold start: ids of what has ended are known")                    \
    X(COLD_LOWEST_BOUND, COLD_SHORT, "cold start: the lowest bound time is kept")                  \
    X(COLD_QUEUED_ASKED, COLD_ASYNC, "cold start: what was not bound is asked for")                \
    X(COLD_BOUND_ASKED, COLD_ASYNC, "cold start: what was bound is asked for")                     \
    X(COLD_UNCOUNTED, COLD_ASYNC,                                                                  \
      "cold start: what had not ended is counted wherever it is found")                            \
    X(COLD_UNKNOWN_ASKED, COLD_ASYNC, "cold start in async: unknown ids are asked for")            \
    X(QUARANTINE, COLD_ASYNC, "cold start in async: nothing is asked before the quarantine is over")

enum model_rule {
    RULE_NONE,
#define X(name, bounds, words) RULE_##name,
    MODEL_RULES(X)
#undef X
        RULES
};

extern enum model_rule model_rule_off;

static inline bool rule_holds(enum model_rule rule)
{
    return model_rule_off != rule;
}

/* Lie to the automaton, or alter its answer, if that is how the rule that is off is broken. */
void model_rules_before(const struct model_state *state, struct payment_view *payment,
                        struct payment_lane_view *lane, struct payment_event *event);
void model_rules_after(const struct payment_view *payment, const struct payment_lane_view *lane,
                       const struct payment_event *event, struct payment_step *step);

/* The rule of this name, as above but in lower case with dashes; RULES: there is none. */
enum model_rule model_rule_named(const char *name);
void model_rules_help(FILE *file);

/* Break each rule in turn; TAP. 0: every one broke a promise. A trace in words of each goes to
 * `trace` unless that is NULL. */
int model_self_test(FILE *trace);

#endif
