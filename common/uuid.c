#include "common/uuid.h"

/* The value of a hexadecimal digit plus one; 0: not one. */
static const uint8_t digit_plus_one[256] = {
    ['0'] = 1,  ['1'] = 2,  ['2'] = 3,  ['3'] = 4,  ['4'] = 5,  ['5'] = 6,  ['6'] = 7,  ['7'] = 8,
    ['8'] = 9,  ['9'] = 10, ['a'] = 11, ['b'] = 12, ['c'] = 13, ['d'] = 14, ['e'] = 15, ['f'] = 16,
    ['A'] = 11, ['B'] = 12, ['C'] = 13, ['D'] = 14, ['E'] = 15, ['F'] = 16,
};

static bool is_hyphen_place(size_t place)
{
    return place == 8 || place == 13 || place == 18 || place == 23;
}

bool uuid_parse(const char *text, size_t length, struct uuid *id)
{
    uint64_t halves[2] = {0, 0};

    if (length != UUID_TEXT_LENGTH)
        return false;
    for (size_t place = 0, digits = 0; place < UUID_TEXT_LENGTH; place++) {
        if (is_hyphen_place(place)) {
            if (text[place] != '-')
                return false;
            continue;
        }
        unsigned digit = digit_plus_one[(unsigned char)text[place]];
        if (digit == 0)
            return false;
        uint64_t *half = &halves[digits++ / 16];
        *half = *half << 4 | (digit - 1);
    }
    *id = (struct uuid){.hi = halves[0], .lo = halves[1]};
    return true;
}

void uuid_format(char text[static UUID_TEXT_LENGTH + 1], const struct uuid *id)
{
    unsigned digits = 0;

    for (size_t place = 0; place < UUID_TEXT_LENGTH; place++) {
        if (is_hyphen_place(place)) {
            text[place] = '-';
            continue;
        }
        uint64_t half = digits < 16 ? id->hi : id->lo;
        text[place] = "0123456789abcdef"[half >> (60 - digits % 16 * 4) & 15];
        digits++;
    }
    text[UUID_TEXT_LENGTH] = '\0';
}

/* The finalizer of SplitMix64 (Steele, Lea, Flood 2014; constants by Stafford, "Mix13"). */
static uint64_t mix(uint64_t x)
{
    x = (x ^ x >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    x = (x ^ x >> 27) * UINT64_C(0x94d049bb133111eb);
    return x ^ x >> 31;
}

uint64_t uuid_hash(const struct uuid *id)
{
    /* 2^64 divided by the golden ratio: keeps zero from being mixed to zero. */
    const uint64_t step = UINT64_C(0x9e3779b97f4a7c15);

    return mix(id->hi + mix(id->lo + step));
}
