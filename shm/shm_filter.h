/* The ids whose records are gone: two generations of blocked Bloom filters in
 * the lane's area.
 *
 * No false negatives for what was remembered and not forgotten. False positives
 * about 1 in 500 when both generations are full, fewer before; each costs two
 * look-ups at the processors. A generation takes geometry.horizon_payments ids; the older
 * one is forgotten as a whole, so at least that many are recognised at any time
 * after the first.
 *
 * All of it is the lane owner's alone; others read the counts for people.
 */
#ifndef PAYRING_SHM_FILTER_H
#define PAYRING_SHM_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"
#include "shm/shm_region.h"

struct shm_filter_handle {
    struct shm_filter *meta;
    uint64_t *lines[2]; /* of each generation; SHM_FILTER_LINE_WORDS words a line */
    uint32_t line_mask;
    uint64_t capacity; /* ids of one generation */
    struct uuid seed;  /* the region's id: who picks payment ids on purpose cannot crowd a line */
};

void shm_filter_open(struct shm_filter_handle *, const struct shm_region *, unsigned lane);

/* Was the id remembered, and not forgotten since? */
bool shm_filter_contains(const struct shm_filter_handle *, const struct uuid *);

/* The active generation is full: shm_filter_rotate must come before the next id. */
bool shm_filter_is_full(const struct shm_filter_handle *);

/* Age of the youngest id that a rotation would forget: none of the older
 * generation was added after the active one began. INT64_MAX: it would forget none. */
int64_t shm_filter_rotation_age_ms(const struct shm_filter_handle *, int64_t now_monotonic_ms);

/* Lowest requestedAt of the adopted payments that a rotation would forget;
 * INT64_MAX: none. See payment_protocol_forget. */
int64_t shm_filter_forgotten_adopted_us(const struct shm_filter_handle *);

/* Forget the older generation and make it the active one.
 *
 * Caller:  has made sure that it may be forgotten: it is old enough and
 *          lowest_bound_us is below what it adopted.
 * Crash:   before the switch, the next owner finds the active one still full
 *          and rotates again.
 */
void shm_filter_rotate(struct shm_filter_handle *, int64_t now_monotonic_ms);

/* Remember an id; adopted_us is its requestedAt if it was adopted from a book, else INT64_MAX.
 *
 * Order:   everything is stored when this returns, before the caller's release
 *          of the record as FREE.
 * Crash:   a part of the bits is set: the record still stands and the next
 *          owner remembers it again.
 */
void shm_filter_remember(struct shm_filter_handle *, const struct uuid *, int64_t adopted_us);

#endif
