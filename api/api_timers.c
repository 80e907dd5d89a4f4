#include "api/api_timers.h"

#include <stddef.h>

void api_timers_cancel(struct api_timer *timer)
{
    if (timer->link == NULL)
        return;
    *timer->link = timer->next;
    if (timer->next != NULL)
        timer->next->link = timer->link;
    timer->next = NULL;
    timer->link = NULL;
}

static void insert(struct api_timer **link, struct api_timer *timer)
{
    timer->next = *link;
    timer->link = link;
    if (timer->next != NULL)
        timer->next->link = &timer->next;
    *link = timer;
}

void api_timers_set(struct api_timers *timers, struct api_timer *timer, int64_t due_ms,
                    void (*ring)(struct api_timer *))
{
    struct api_timer **link = &timers->first;

    api_timers_cancel(timer);
    timer->due_ms = due_ms;
    timer->ring = ring;
    while (*link != NULL && (*link)->due_ms <= due_ms)
        link = &(*link)->next;
    insert(link, timer);
}

int32_t api_timers_wait_ms(const struct api_timers *timers, int64_t now_ms, int32_t longest_ms)
{
    if (timers->first == NULL || timers->first->due_ms - now_ms >= longest_ms)
        return longest_ms;
    int64_t wait_ms = timers->first->due_ms - now_ms;
    return wait_ms > 0 ? (int32_t)wait_ms : 0;
}

bool api_timers_ring(struct api_timers *timers, int64_t now_ms)
{
    struct api_timers due = {NULL};
    struct api_timer **end = &due.first;

    /* Moved to a list of its own first, so that what is set meanwhile waits its turn. On that list
     * a timer can still be cancelled by another one. */
    while (timers->first != NULL && timers->first->due_ms <= now_ms) {
        struct api_timer *timer = timers->first;
        api_timers_cancel(timer);
        insert(end, timer);
        end = &timer->next;
    }
    bool any = due.first != NULL;
    while (due.first != NULL) {
        struct api_timer *timer = due.first;
        api_timers_cancel(timer);
        timer->ring(timer);
    }
    return any;
}
