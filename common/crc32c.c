#include "common/crc32c.h"

#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#define POLYNOMIAL 0x82f63b78u /* of Castagnoli, lowest bit first */

/* tables[n][b]: what byte b does to the sum when n bytes follow it in its word of eight. */
static uint32_t tables[8][256];
static pthread_once_t tables_made = PTHREAD_ONCE_INIT;

static void make_tables(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t sum = byte;
        for (int bit = 0; bit < 8; bit++)
            sum = sum >> 1 ^ (sum & 1 ? POLYNOMIAL : 0);
        tables[0][byte] = sum;
    }
    for (int n = 1; n < 8; n++)
        for (int byte = 0; byte < 256; byte++)
            tables[n][byte] = tables[n - 1][byte] >> 8 ^ tables[0][tables[n - 1][byte] & 0xff];
}

/* Little endian, like everything that is stored. */
static uint64_t word_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

uint32_t crc32c_by_tables(uint32_t so_far, const void *bytes, size_t length)
{
    const uint8_t *at = bytes;
    uint32_t sum = ~so_far;
    pthread_once(&tables_made, make_tables);
    for (; length >= 8; at += 8, length -= 8) {
        uint64_t word = word_at(at) ^ sum;
        sum = 0;
        for (int n = 0; n < 8; n++)
            sum ^= tables[7 - n][word >> 8 * n & 0xff];
    }
    for (; length > 0; at++, length--)
        sum = sum >> 8 ^ tables[0][(sum ^ *at) & 0xff];
    return ~sum;
}

#ifdef __x86_64__

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t so_far, const void *bytes,
                                                                 size_t length)
{
    const uint8_t *at = bytes;
    uint64_t sum = ~so_far;
    for (; length >= 8; at += 8, length -= 8)
        sum = __builtin_ia32_crc32di(sum, word_at(at));
    uint32_t last = (uint32_t)sum;
    for (; length > 0; at++, length--)
        last = __builtin_ia32_crc32qi(last, *at);
    return ~last;
}

uint32_t crc32c(uint32_t so_far, const void *bytes, size_t length)
{
    return __builtin_cpu_supports("sse4.2") ? by_instruction(so_far, bytes, length)
                                            : crc32c_by_tables(so_far, bytes, length);
}

#else

uint32_t crc32c(uint32_t so_far, const void *bytes, size_t length)
{
    return crc32c_by_tables(so_far, bytes, length);
}

#endif
