#include "test/bench/rinha/users.h"

#include <stdio.h>
#include <stdlib.h>

static const int64_t SLEEP_NS = NS_PER_S;

static void on_done(struct caller *caller)
{
    struct users *users = caller->owner;
    tally_note(users->tally, caller, true);
    unsigned at = (users->asleep_head + users->asleep_count++) % users->count;
    users->asleep[at] =
        (struct sleeper){.user = caller->number, .wake_ns = caller->done_ns + SLEEP_NS};
}

bool users_create(struct users *users, const struct settings *settings, struct tally *tally,
                  int epoll)
{
    *users = (struct users){.tally = tally, .count = settings->users};
    users->plan =
        (struct plan){.seed = settings->seed, .amounts = {PAYMENT_AMOUNT}, .amount_count = 1};
    plan_begin(&users->plan);
    users->callers = calloc(users->count, sizeof *users->callers);
    users->asleep = calloc(users->count, sizeof *users->asleep);
    if (!users->callers || !users->asleep) {
        perror("rinha");
        return false;
    }
    for (unsigned i = 0; i < users->count; i++) {
        caller_init(&users->callers[i], epoll, &settings->gateway, on_done, users);
        users->callers[i].number = i;
    }
    return true;
}

void users_start(struct users *users, int64_t begin_ns, int64_t end_ns)
{
    users->begin_ns = begin_ns;
    users->end_ns = end_ns;
}

static void post(struct users *users, unsigned user, int64_t due_ns)
{
    struct payment payment;
    char body[160];
    plan_next(&users->plan, &payment);
    snprintf(body, sizeof body, "{\"correlationId\":\"%s\",\"amount\":%s}", payment.id,
             payment.amount);
    caller_begin(&users->callers[user], due_ns, "POST", "/payments", "", body);
}

/* 1 user at the beginning, all of them at the end. */
static int64_t begins_ns(const struct users *users, unsigned user)
{
    int64_t span = users->end_ns - users->begin_ns;
    return users->begin_ns + (users->count > 1 ? span / (users->count - 1) * user : 0);
}

static bool somebody_is_to_begin(const struct users *users)
{
    return users->begun < users->count && begins_ns(users, users->begun) < users->end_ns;
}

void users_turn(struct users *users, int64_t now_ns)
{
    while (somebody_is_to_begin(users) && begins_ns(users, users->begun) <= now_ns) {
        users->begun++;
        post(users, users->begun - 1, begins_ns(users, users->begun - 1));
    }
    while (users->asleep_count > 0 && users->asleep[users->asleep_head].wake_ns <= now_ns) {
        struct sleeper sleeper = users->asleep[users->asleep_head];
        users->asleep_head = (users->asleep_head + 1) % users->count;
        users->asleep_count--;
        if (sleeper.wake_ns < users->end_ns)
            post(users, sleeper.user, sleeper.wake_ns);
        else
            users->ended++;
    }
}

int64_t users_next_ns(const struct users *users)
{
    int64_t next = somebody_is_to_begin(users) ? begins_ns(users, users->begun) : INT64_MAX;
    if (users->asleep_count > 0 && users->asleep[users->asleep_head].wake_ns < next)
        next = users->asleep[users->asleep_head].wake_ns;
    return next;
}

void users_look_at_time(struct users *users, int64_t now_ns)
{
    for (unsigned i = 0; i < users->begun; i++)
        caller_look_at_time(&users->callers[i], now_ns);
}

bool users_are_done(const struct users *users, int64_t now_ns)
{
    return now_ns >= users->end_ns && users->ended == users->begun;
}

void users_destroy(struct users *users)
{
    for (unsigned i = 0; users->callers && i < users->count; i++)
        caller_free(&users->callers[i]);
    free(users->callers);
    free(users->asleep);
}
