#include "worker/lane_queues.h"

#include <stdlib.h>

#include "common/check.h"

static void lists_clear(struct lane_queues *queues)
{
    for (unsigned i = 0; i < LANE_LISTS; i++)
        queues->lists[i] = (struct lane_list){LANE_QUEUES_NONE, LANE_QUEUES_NONE, 0};
    queues->pause_count = 0;
}

bool lane_queues_create(struct lane_queues *queues, uint32_t slot_count)
{
    /* A pause whose slot went elsewhere stays in the heap until it is due; a
     * slot can be paused again only when it was OUT again, and a purge, which
     * alone takes a paused slot away, clears the heap. So one entry a slot is enough. */
    *queues = (struct lane_queues){.slot_count = slot_count, .pause_capacity = slot_count};
    queues->slots = calloc(slot_count, sizeof *queues->slots);
    queues->pauses = calloc(slot_count, sizeof *queues->pauses);
    if (!queues->slots || !queues->pauses) {
        lane_queues_destroy(queues);
        return false;
    }
    for (unsigned i = 0; i < SHM_PROCESSORS; i++) {
        queues->flights[i] = (struct lane_list){LANE_QUEUES_NONE, LANE_QUEUES_NONE, 0};
        queues->overtaken[i] = (struct lane_overtaken){.next = LANE_QUEUES_NONE};
    }
    lane_queues_clear(queues);
    for (uint32_t i = 0; i < slot_count; i++)
        lane_queues_append(queues, LANE_FREE, i);
    return true;
}

void lane_queues_destroy(struct lane_queues *queues)
{
    free(queues->slots);
    free(queues->pauses);
    *queues = (struct lane_queues){0};
}

static struct lane_slot *loose_slot(struct lane_queues *queues, uint32_t slot)
{
    CHECK(slot < queues->slot_count);
    CHECK(queues->slots[slot].place >= LANE_PAUSED);
    return &queues->slots[slot];
}

void lane_queues_append(struct lane_queues *queues, enum lane_place place, uint32_t slot)
{
    struct lane_slot *s = loose_slot(queues, slot);
    struct lane_list *list = &queues->lists[place];
    s->place = (uint8_t)place;
    s->next = LANE_QUEUES_NONE;
    if (list->last == LANE_QUEUES_NONE)
        list->first = slot;
    else
        queues->slots[list->last].next = slot;
    list->last = slot;
    list->length++;
}

void lane_queues_prepend(struct lane_queues *queues, enum lane_place place, uint32_t slot)
{
    struct lane_slot *s = loose_slot(queues, slot);
    struct lane_list *list = &queues->lists[place];
    s->place = (uint8_t)place;
    s->next = list->first;
    list->first = slot;
    if (list->last == LANE_QUEUES_NONE)
        list->last = slot;
    list->length++;
}

uint32_t lane_queues_first(const struct lane_queues *queues, enum lane_place place)
{
    return queues->lists[place].first;
}

uint32_t lane_queues_pop(struct lane_queues *queues, enum lane_place place)
{
    struct lane_list *list = &queues->lists[place];
    uint32_t slot = list->first;
    if (slot == LANE_QUEUES_NONE)
        return slot;
    list->first = queues->slots[slot].next;
    if (list->first == LANE_QUEUES_NONE)
        list->last = LANE_QUEUES_NONE;
    list->length--;
    queues->slots[slot].place = LANE_OUT;
    return slot;
}

void lane_queues_pause(struct lane_queues *queues, uint32_t slot, enum lane_place list,
                       int64_t due_ms)
{
    struct lane_slot *s = loose_slot(queues, slot);
    CHECK(s->place == LANE_OUT && queues->pause_count < queues->pause_capacity);
    s->place = LANE_PAUSED;
    s->target = (uint8_t)list;
    uint32_t i = queues->pause_count++;
    for (; i > 0 && queues->pauses[(i - 1) / 2].due_ms > due_ms; i = (i - 1) / 2)
        queues->pauses[i] = queues->pauses[(i - 1) / 2];
    queues->pauses[i] = (struct lane_pause){due_ms, slot, s->use};
}

/* Fill the hole at i with an entry that is not due sooner than any above it. */
static void sink(struct lane_queues *queues, uint32_t i, struct lane_pause moved)
{
    for (;;) {
        uint32_t child = 2 * i + 1;
        if (child >= queues->pause_count)
            break;
        if (child + 1 < queues->pause_count &&
            queues->pauses[child + 1].due_ms < queues->pauses[child].due_ms)
            child++;
        if (queues->pauses[child].due_ms >= moved.due_ms)
            break;
        queues->pauses[i] = queues->pauses[child];
        i = child;
    }
    queues->pauses[i] = moved;
}

static void remove_soonest(struct lane_queues *queues)
{
    struct lane_pause moved = queues->pauses[--queues->pause_count];
    sink(queues, 0, moved);
}

/* A hole anywhere: the last entry may belong above it. */
static void remove_pause(struct lane_queues *queues, uint32_t i)
{
    struct lane_pause moved = queues->pauses[--queues->pause_count];
    if (i == queues->pause_count)
        return;
    for (; i > 0 && queues->pauses[(i - 1) / 2].due_ms > moved.due_ms; i = (i - 1) / 2)
        queues->pauses[i] = queues->pauses[(i - 1) / 2];
    sink(queues, i, moved);
}

static void unlink_slot(struct lane_queues *queues, uint32_t slot)
{
    struct lane_list *list = &queues->lists[queues->slots[slot].place];
    uint32_t before = LANE_QUEUES_NONE, next = queues->slots[slot].next;
    for (uint32_t at = list->first; at != slot; at = queues->slots[at].next) {
        CHECK(at != LANE_QUEUES_NONE);
        before = at;
    }
    if (before == LANE_QUEUES_NONE)
        list->first = next;
    else
        queues->slots[before].next = next;
    if (next == LANE_QUEUES_NONE)
        list->last = before;
    list->length--;
}

bool lane_queues_withdraw(struct lane_queues *queues, uint32_t slot)
{
    CHECK(slot < queues->slot_count && queues->slots[slot].place != LANE_LOOSE);
    struct lane_slot *s = &queues->slots[slot];
    if (s->place == LANE_OUT)
        return false;
    if (s->place == LANE_PAUSED) {
        uint32_t i = 0;
        while (queues->pauses[i].slot != slot || queues->pauses[i].use != s->use)
            CHECK(++i < queues->pause_count);
        remove_pause(queues, i);
    } else {
        unlink_slot(queues, slot);
    }
    s->place = LANE_OUT;
    return true;
}

int64_t lane_queues_wake(struct lane_queues *queues, int64_t now_ms)
{
    while (queues->pause_count > 0 && queues->pauses[0].due_ms <= now_ms) {
        struct lane_pause pause = queues->pauses[0];
        remove_soonest(queues);
        struct lane_slot *s = &queues->slots[pause.slot];
        if (s->use == pause.use && s->place == LANE_PAUSED)
            lane_queues_append(queues, (enum lane_place)s->target, pause.slot);
    }
    return queues->pause_count > 0 ? queues->pauses[0].due_ms : INT64_MAX;
}

void lane_queues_depart(struct lane_queues *queues, uint32_t slot, unsigned processor,
                        int64_t sent_us)
{
    struct lane_slot *s = loose_slot(queues, slot);
    struct lane_list *flights = &queues->flights[processor];
    struct lane_overtaken *overtaken = &queues->overtaken[processor];
    CHECK(s->place == LANE_OUT && s->sent_us == 0 && sent_us > 0);
    CHECK(sent_us >= overtaken->before_us);
    if (overtaken->next == LANE_QUEUES_NONE)
        overtaken->next = slot;
    s->sent_us = sent_us;
    s->next = LANE_QUEUES_NONE;
    s->previous = flights->last;
    if (flights->last == LANE_QUEUES_NONE)
        flights->first = slot;
    else
        queues->slots[flights->last].next = slot;
    flights->last = slot;
    flights->length++;
}

void lane_queues_return(struct lane_queues *queues, uint32_t slot, unsigned processor)
{
    struct lane_slot *s = loose_slot(queues, slot);
    struct lane_list *flights = &queues->flights[processor];
    struct lane_overtaken *overtaken = &queues->overtaken[processor];
    CHECK(s->place == LANE_OUT && s->sent_us != 0);
    if (s->sent_us < overtaken->before_us)
        overtaken->count--;
    else if (overtaken->next == slot)
        overtaken->next = s->next;
    if (s->previous == LANE_QUEUES_NONE)
        flights->first = s->next;
    else
        queues->slots[s->previous].next = s->next;
    if (s->next == LANE_QUEUES_NONE)
        flights->last = s->previous;
    else
        queues->slots[s->next].previous = s->previous;
    flights->length--;
    s->sent_us = 0;
}

/* Each flight is passed once in its life: the list is in the order of sending. */
uint32_t lane_queues_overtaken(struct lane_queues *queues, unsigned processor, int64_t before_us)
{
    struct lane_overtaken *overtaken = &queues->overtaken[processor];
    if (before_us > overtaken->before_us)
        overtaken->before_us = before_us;
    while (overtaken->next != LANE_QUEUES_NONE &&
           queues->slots[overtaken->next].sent_us < overtaken->before_us) {
        overtaken->count++;
        overtaken->next = queues->slots[overtaken->next].next;
    }
    return overtaken->count;
}

int64_t lane_queues_oldest_sent_us(const struct lane_queues *queues, unsigned processor)
{
    uint32_t oldest = queues->flights[processor].first;
    return oldest == LANE_QUEUES_NONE ? 0 : queues->slots[oldest].sent_us;
}

void lane_queues_clear(struct lane_queues *queues)
{
    lists_clear(queues);
    for (uint32_t i = 0; i < queues->slot_count; i++)
        if (queues->slots[i].place != LANE_OUT)
            queues->slots[i].place = LANE_LOOSE;
}
