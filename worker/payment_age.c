#include "worker/payment_age.h"

int64_t payment_age_accepted_us(int64_t accepted_at_wall_ms, int64_t now_wall_ms, int64_t now_us,
                                int64_t not_before_us)
{
    int64_t age_ms;
    int64_t longest_ms = not_before_us < now_us ? (now_us - not_before_us) / 1000 : 0;
    if (__builtin_sub_overflow(now_wall_ms, accepted_at_wall_ms, &age_ms))
        age_ms = now_wall_ms < 0 ? 0 : longest_ms;
    if (age_ms < 0)
        age_ms = 0;
    return now_us - (age_ms < longest_ms ? age_ms : longest_ms) * 1000;
}
