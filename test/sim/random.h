/* The one source of chance of a seed: xoshiro256++ (Blackman and Vigna), started by splitmix64.
 * Whole numbers only, so that a seed means the same on every machine. */
#ifndef PAYRING_TEST_SIM_RANDOM_H
#define PAYRING_TEST_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

extern uint64_t sim_random_state[4];

static inline void sim_random_start(uint64_t seed)
{
    for (int i = 0; i < 4; i++) {
        uint64_t z = seed += UINT64_C(0x9e3779b97f4a7c15);
        z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
        z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
        sim_random_state[i] = z ^ z >> 31;
    }
}

static inline uint64_t sim_rotate_left(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static inline uint64_t sim_random(void)
{
    uint64_t *s = sim_random_state;
    uint64_t result = sim_rotate_left(s[0] + s[3], 23) + s[0];
    uint64_t t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = sim_rotate_left(s[3], 45);
    return result;
}

/* 0 .. count - 1 */
static inline uint32_t sim_below(uint32_t count)
{
    return (uint32_t)((sim_random() >> 32) * count >> 32);
}

/* low .. high */
static inline int64_t sim_between(int64_t low, int64_t high)
{
    return low + (int64_t)((unsigned __int128)sim_random() * (uint64_t)(high - low + 1) >> 64);
}

/* As likely between 1 and 10 as between 1,000 and 10,000 (nearly: by binary digits). */
static inline int64_t sim_spread(int64_t low, int64_t high)
{
    int bits = 0;
    while ((low << (bits + 1)) <= high)
        bits++;
    int64_t from = low << sim_below((uint32_t)bits + 1);
    int64_t to = from * 2 - 1;
    return sim_between(from, to < high ? to : high);
}

static inline bool sim_chance(uint32_t of_1024)
{
    return (sim_random() >> 54) < of_1024;
}

/* One of a list of numbers. */
#define SIM_ONE_OF(...)                                                                            \
    (((const int64_t[]){                                                                           \
        __VA_ARGS__})[sim_below(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))])

#endif
