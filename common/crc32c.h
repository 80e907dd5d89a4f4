/* CRC-32C (Castagnoli): what is stored with everything that this program writes to disk. */
#ifndef PAYRING_CRC32C_H
#define PAYRING_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of what was summed so far (0: nothing) and these bytes after it. In pieces or at
 * once: the result is the same. By the processor's own instruction where it has one (8 bytes in 3
 * cycles), else by tables. Any thread. */
uint32_t crc32c(uint32_t so_far, const void *bytes, size_t length);

/* By tables alone: for the unit test, which compares the two. */
uint32_t crc32c_by_tables(uint32_t so_far, const void *bytes, size_t length);

#endif
