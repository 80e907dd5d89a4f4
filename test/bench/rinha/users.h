/* The virtual users: each posts a payment, sleeps 1 s, posts the next.
 *
 * The first begins at once, the others one after the other, so that their number grows linearly. A
 * user's next post is due 1 s after the end of the one before, as in the public test; whoever wakes
 * after the end is done.
 */
#ifndef TEST_BENCH_RINHA_USERS_H
#define TEST_BENCH_RINHA_USERS_H

#include "test/bench/rinha/caller.h"
#include "test/bench/rinha/settings.h"
#include "test/bench/rinha/tally.h"
#include "test/lib/client/plan.h"

#include <stdbool.h>
#include <stdint.h>

struct sleeper {
    unsigned user;
    int64_t wake_ns;
};

struct users {
    struct caller *callers;
    struct plan plan;
    struct tally *tally;
    unsigned count, begun, ended;
    int64_t begin_ns, end_ns;
    /* All sleep equally long, so a ring in the order of falling asleep is one in that of waking. */
    struct sleeper *asleep;
    unsigned asleep_head, asleep_count;
};

/* False, with a message, if there is no memory. Settings and tally must outlive the users. */
bool users_create(struct users *users, const struct settings *settings, struct tally *tally,
                  int epoll);

/* From now on, until end_ns (both CLOCK_MONOTONIC). */
void users_start(struct users *users, int64_t begin_ns, int64_t end_ns);

/* Let those post whose time has come. */
void users_turn(struct users *users, int64_t now_ns);

/* When somebody is to post next; INT64_MAX if nobody is until one of those who are out is back. */
int64_t users_next_ns(const struct users *users);

/* Give up calls that take too long. */
void users_look_at_time(struct users *users, int64_t now_ns);

/* The time is over and all are done, their last sleep included. */
bool users_are_done(const struct users *users, int64_t now_ns);

void users_destroy(struct users *users);

#endif
