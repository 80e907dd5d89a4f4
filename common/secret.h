/* A secret that two programs share: a text of 16 to 256 printable characters without spaces, so
 * that it fits into a header of HTTP and into one line of a file. Nothing here prints it. */
#ifndef PAYRING_SECRET_H
#define PAYRING_SECRET_H

#include <stdbool.h>
#include <stddef.h>

#include "common/status.h"

#define SECRET_LENGTH_MIN 16
#define SECRET_LENGTH_MAX 256
#define SECRET_SIZE       (SECRET_LENGTH_MAX + 1)

#define SECRET_RULE "16 to 256 printable characters without spaces"

/* Keep the text, filled up with zeros. false: it breaks the rule, and *secret is as before. */
bool secret_set(char secret[static SECRET_SIZE], const char *text, size_t length);

/* Keep what the file holds, without the line's end. Blocks until the file has been read.
 * STATUS_SYSTEM: it cannot be read; STATUS_INVALID: it breaks the rule. The sentence goes on from
 * the name of a setting and a colon; it never holds what was read. *secret is as before then. */
enum status secret_read_file(char secret[static SECRET_SIZE], const char *path,
                             struct explain *why);

/* Is it the secret? Never true for an empty secret (all zeros).
 *
 * The time it takes depends on the length that was given, which its sender knows, and on nothing
 * else: not on the secret, its length, or how much of it was guessed.
 */
bool secret_equals(const char secret[static SECRET_SIZE], const char *given, size_t length);

#endif
