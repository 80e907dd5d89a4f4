/* What follows from a number. Everybody computes it for himself and believes nobody. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "test/race/hammer/hammer.h"

/* How far back a copy looks for its payment, and how often an entry is one. */
#define COPY_DISTANCE_MAX 8
#define COPY_ONE_IN       16
/* How often an amount takes an escape of two words. */
#define ESCAPE_ONE_IN 97

uint64_t hammer_mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t hammer_random(struct hammer_party *party)
{
    return hammer_mix(party->random += UINT64_C(0x9e3779b97f4a7c15));
}

static uint64_t of_entry(const struct hammer *hammer, unsigned api, uint64_t number)
{
    return hammer_mix(hammer->seed + (number << 1 | api) * UINT64_C(0x9e3779b97f4a7c15));
}

bool hammer_is_copy(const struct hammer *hammer, unsigned api, uint64_t number)
{
    return number > COPY_DISTANCE_MAX && of_entry(hammer, api, number) % COPY_ONE_IN == 0;
}

uint64_t hammer_payment(const struct hammer *hammer, unsigned api, uint64_t number)
{
    while (hammer_is_copy(hammer, api, number))
        number -= 1 + (of_entry(hammer, api, number) >> 32) % COPY_DISTANCE_MAX;
    return number << 1 | api;
}

struct uuid hammer_id(const struct hammer *hammer, uint64_t payment)
{
    return (struct uuid){.hi = hammer_mix(payment ^ hammer->seed), .lo = payment};
}

int64_t hammer_amount_cents(uint64_t payment)
{
    int64_t cents = 1 + (int64_t)(payment * 7919 % 16000000);
    return payment % ESCAPE_ONE_IN == 0 ? cents + (INT64_C(1) << SHM_ROW_CENTS_BITS) : cents;
}

unsigned hammer_processor(uint64_t payment)
{
    return (unsigned)(hammer_mix(payment) & 1);
}

int64_t hammer_at_ms(const struct shm_region *region, uint64_t payment)
{
    return region->created_at_ms + (int64_t)payment;
}

bool hammer_goes_on(struct hammer_party *party)
{
    if (atomic_load_explicit(&party->hammer->failed, memory_order_relaxed) ||
        party->turns_left == 0)
        return false;
    if (party->turns_left != UINT64_MAX)
        party->turns_left--;
    return true;
}

void hammer_fail(struct hammer *hammer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    if (!atomic_exchange(&hammer->failed, 1))
        vsnprintf(hammer->failure, sizeof hammer->failure, format, arguments);
    va_end(arguments);
    fprintf(stderr, "# hammer: %s\n", hammer->failure);
    abort();
}
