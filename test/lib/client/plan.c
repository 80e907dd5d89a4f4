#include "test/lib/client/plan.h"

#include <stdbool.h>
#include <string.h>

static uint64_t mix(uint64_t x)
{
    x += UINT64_C(0x9e3779b97f4a7c15);
    x = (x ^ (x >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

void plan_begin(struct plan *plan)
{
    plan->fresh_count = 0;
    plan->random_state = mix(plan->seed ^ UINT64_C(0x706f73746572));
}

uint64_t plan_random(struct plan *plan)
{
    plan->random_state += UINT64_C(0x9e3779b97f4a7c15);
    return mix(plan->random_state);
}

/* The lowest digits of a value, in lower-case hex. */
static void write_hex(char *out, uint64_t value, unsigned digits)
{
    while (digits-- > 0) {
        out[digits] = "0123456789abcdef"[value & 15];
        value >>= 4;
    }
}

/* Payment n of this seed: a version 4 UUID and one of the amounts. Not by printf, which would be a
 * tenth of what a request costs the load generator. */
static void describe(const struct plan *plan, uint64_t n, struct payment *payment)
{
    uint64_t high = mix(mix(plan->seed) + 2 * n);
    uint64_t low = mix(mix(plan->seed) + 2 * n + 1);
    memcpy(payment->id, "xxxxxxxx-xxxx-4xxx-xxxx-xxxxxxxxxxxx", PLAN_ID_SIZE);
    write_hex(payment->id, high >> 32, 8);
    write_hex(payment->id + 9, high >> 16, 4);
    write_hex(payment->id + 15, high, 3);
    write_hex(payment->id + 19, 0x8000U | ((low >> 48) & 0x3fffU), 4);
    write_hex(payment->id + 24, low, 12);
    payment->amount = plan->amounts[mix(high ^ low) % plan->amount_count];
    payment->tries = 0;
}

static uint64_t earlier(struct plan *plan)
{
    uint64_t choice = plan_random(plan);
    bool recent = choice & 1;
    uint64_t reach = recent && plan->fresh_count > 8 ? 8 : plan->fresh_count;
    return plan->fresh_count - 1 - (choice >> 1) % reach;
}

void plan_next(struct plan *plan, struct payment *payment)
{
    uint64_t percent = plan_random(plan) % 100;
    if (plan->fresh_count == 0 || percent >= plan->duplicate_percent + plan->conflict_percent) {
        describe(plan, plan->fresh_count, payment);
        plan->fresh_count++;
        return;
    }
    describe(plan, earlier(plan), payment);
    if (percent < plan->conflict_percent)
        payment->amount = plan->conflict_amount;
}
