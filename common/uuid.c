#include "common/uuid.h"

/* What a byte is as a hexadecimal digit, and IS_DIGIT if it is one. */
enum { IS_DIGIT = 16 };
static const uint8_t digit_of[256] = {
    ['0'] = 16, ['1'] = 17, ['2'] = 18, ['3'] = 19, ['4'] = 20, ['5'] = 21, ['6'] = 22, ['7'] = 23,
    ['8'] = 24, ['9'] = 25, ['a'] = 26, ['b'] = 27, ['c'] = 28, ['d'] = 29, ['e'] = 30, ['f'] = 31,
    ['A'] = 26, ['B'] = 27, ['C'] = 28, ['D'] = 29, ['E'] = 30, ['F'] = 31,
};

static bool is_hyphen_place(size_t place)
{
    return place == 8 || place == 13 || place == 18 || place == 23;
}

/* A group of `count` digits, behind those in `half`; `all` keeps IS_DIGIT if each is one. No byte
 * decides where to go: every payment's id comes through here. */
static inline uint64_t take_group(const char *text, unsigned count, uint64_t half, unsigned *all)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned digit = digit_of[(unsigned char)text[i]];
        *all &= digit;
        half = half << 4 | (digit & 15);
    }
    return half;
}

bool uuid_parse(const char *text, size_t length, struct uuid *id)
{
    unsigned all = IS_DIGIT;
    struct uuid read;

    if (length != UUID_TEXT_LENGTH || text[8] != '-' || text[13] != '-' || text[18] != '-' ||
        text[23] != '-')
        return false;
    read.hi = take_group(text, 8, 0, &all);
    read.hi = take_group(text + 9, 4, read.hi, &all);
    read.hi = take_group(text + 14, 4, read.hi, &all);
    read.lo = take_group(text + 19, 4, 0, &all);
    read.lo = take_group(text + 24, 12, read.lo, &all);
    if ((all & IS_DIGIT) == 0)
        return false;
    *id = read;
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
