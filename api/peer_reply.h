/* What one gateway answers another's question for its own sums, as text. Pure: nothing of libh2o,
 * no clock, no memory of its own.
 *
 *   HTTP/1.1 200 OK                            other header lines do not matter
 *   content-length: 96
 *
 *   payring-peer 1                             the version of all that follows
 *   region 0123456789abcdef0123456789abcdef    two answers of one region are of the same payments
 *   generation 7                               of purges, at or before the sums
 *   default 3 5970                             payments and cents, up to 128 bits
 *   fallback 0 0
 *
 * Each line ends with a line feed, numbers are decimal without leading zeros, words are separated
 * by one space. Both sides of an answer are this program, so it is taken exactly as it is written,
 * or not at all: money is added up from it.
 */
#ifndef PAYRING_API_PEER_REPLY_H
#define PAYRING_API_PEER_REPLY_H

#include <stddef.h>
#include <stdint.h>

#include "common/payment_json.h"
#include "common/status.h"

#define PEER_VERSION 1u /* goes up with every change of the question or of the answer */

/* Of the header's line in a question, and of the first line of an answer. */
#define PEER_VERSION_TEXT "1"
#define PEER_FIRST_LINE   "payring-peer " PEER_VERSION_TEXT "\n"

#define PEER_SUMS_SIZE  240  /* the longest takes 227 with its NUL */
#define PEER_REPLY_SIZE 2048 /* bytes of a whole reply, head and body; libh2o's head takes 150 */

struct peer_sums {
    uint64_t region_id_hi;
    uint64_t region_id_lo;
    uint64_t purge_generation;
    struct payment_summary totals;
};

/* Write the body and a NUL; returns the length without it. */
size_t peer_sums_write(char text[static PEER_SUMS_SIZE], const struct peer_sums *);

enum peer_reply {
    PEER_REPLY_SUMS,       /* whole and good; *sums is written */
    PEER_REPLY_INCOMPLETE, /* so far nothing is wrong with it */
    PEER_REPLY_BAD,        /* `why` goes on from the peer's name */
};

/* Read the reply of which `length` bytes have come.
 *
 * The head must say how long the body is: one that ends with its connection cannot be told from
 * one that was cut off. Chunked bodies are refused. An answer of another version is bad by that
 * name, whatever its status. Sums that no region can have are bad: more payments than a ledger
 * holds, or cents that so many payments cannot add up to.
 */
enum peer_reply peer_reply_read(const char *text, size_t length, struct peer_sums *sums,
                                struct explain *why);

/* The sums of all regions among `count` answers that are not our own, each region once. Of two
 * answers of one region the one of the later purge generation counts, for the other may be from
 * before that purge; else the first. The order of the answers is that of the settings, so that
 * equal answers always add up to the same. */
struct payment_summary peer_sums_add_up(const struct peer_sums *answers, unsigned count,
                                        uint64_t own_region_id_hi, uint64_t own_region_id_lo);

#endif
