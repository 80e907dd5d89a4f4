#include "test/bench/bare/waiting.h"

#include <stdlib.h>

static bool grow(struct waiting *waiting)
{
    size_t room = waiting->room ? waiting->room * 2 : 4096;
    struct waiter *ring = malloc(room * sizeof *ring);
    if (!ring)
        return false;
    for (size_t i = 0; i < waiting->count; i++)
        ring[i] = waiting->ring[(waiting->head + i) % waiting->room];
    free(waiting->ring);
    *waiting = (struct waiting){.ring = ring, .room = room, .count = waiting->count};
    return true;
}

bool waiting_push(struct waiting *waiting, const struct waiter *waiter)
{
    if (waiting->count == waiting->room && !grow(waiting))
        return false;
    waiting->ring[(waiting->head + waiting->count) % waiting->room] = *waiter;
    waiting->count++;
    return true;
}

const struct waiter *waiting_first(const struct waiting *waiting)
{
    return waiting->count > 0 ? &waiting->ring[waiting->head] : NULL;
}

void waiting_drop_first(struct waiting *waiting)
{
    waiting->head = (waiting->head + 1) % waiting->room;
    waiting->count--;
}
