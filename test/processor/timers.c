#include "test/processor/timers.h"

#include <time.h>

#include "test/processor/memory.h"

int64_t timers_now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static bool before(const struct timer *a, const struct timer *b)
{
    return a->due_us != b->due_us ? a->due_us < b->due_us : a->order < b->order;
}

static void put(struct timers *timers, size_t at, struct timer *timer)
{
    timers->heap[at] = timer;
    timer->place = at + 1;
}

static void sift_up(struct timers *timers, size_t at, struct timer *timer)
{
    while (at > 0 && before(timer, timers->heap[(at - 1) / 2])) {
        put(timers, at, timers->heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
    put(timers, at, timer);
}

static void sift_down(struct timers *timers, size_t at, struct timer *timer)
{
    for (;;) {
        size_t child = at * 2 + 1;
        if (child + 1 < timers->count && before(timers->heap[child + 1], timers->heap[child]))
            child++;
        if (child >= timers->count || !before(timers->heap[child], timer))
            break;
        put(timers, at, timers->heap[child]);
        at = child;
    }
    put(timers, at, timer);
}

void timers_set(struct timers *timers, struct timer *timer, int64_t after_ms,
                void (*ring)(struct timer *timer))
{
    if (timers->count == timers->room) {
        timers->room = timers->room == 0 ? 1024 : timers->room * 2;
        timers->heap = memory_resize(timers->heap, timers->room, sizeof(*timers->heap));
    }
    timer->due_us = timers_now_us() + after_ms * 1000;
    timer->order = timers->orders++;
    timer->ring = ring;
    sift_up(timers, timers->count++, timer);
}

void timers_cancel(struct timers *timers, struct timer *timer)
{
    if (timer->place == 0)
        return;
    size_t at = timer->place - 1;
    struct timer *last = timers->heap[--timers->count];
    timer->place = 0;
    if (last == timer)
        return;
    if (at > 0 && before(last, timers->heap[(at - 1) / 2]))
        sift_up(timers, at, last);
    else
        sift_down(timers, at, last);
}

int timers_wait_ms(const struct timers *timers, int longest_ms)
{
    if (timers->count == 0)
        return longest_ms;
    int64_t left_us = timers->heap[0]->due_us - timers_now_us();
    if (left_us <= 0)
        return 0;
    int64_t left_ms = (left_us + 999) / 1000;
    return left_ms < longest_ms ? (int)left_ms : longest_ms;
}

void timers_ring(struct timers *timers)
{
    int64_t now_us = timers_now_us();
    uint64_t first_new = timers->orders;
    while (timers->count > 0) {
        struct timer *timer = timers->heap[0];
        /* A timer set while ringing sorts behind this moment, or at it with a later order. */
        if (timer->due_us > now_us || timer->order >= first_new)
            break;
        timers_cancel(timers, timer);
        timer->ring(timer);
    }
}
