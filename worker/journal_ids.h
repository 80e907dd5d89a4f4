/* The ids that a lane's journal tells of, as filters in the memory of whoever has it open.
 *
 * The filter in the region (shm_filter.h) forgets beyond PAYRING_HORIZON_PAYMENTS; what it has
 * forgotten and the journal has not is found here. A hit is what a hit of that one is: it costs two
 * look-ups at the processors, and what a book holds of it is not adopted. So no more is kept of an
 * id than its bits: no false negatives, false positives as bloom.h says, of each part.
 *
 *   old    what digests held when the journal was opened    the keeper's until it says loaded
 *   young  what has been accepted since, and what lay in segments then    the lane's
 *
 * Both in the order of acceptance, in parts: the journal forgets its oldest ids, and a part goes
 * when all of its ids are forgotten. 2 bytes an id, at most twice as much with the part being
 * filled; a part holds at most a quarter of what the bound has room for.
 */
#ifndef PAYRING_WORKER_JOURNAL_IDS_H
#define PAYRING_WORKER_JOURNAL_IDS_H

#include <stdbool.h>
#include <stdint.h>

#include "common/uuid.h"

struct journal_ids;

/* ids_max: about as many as the journal's bound has room for. NULL: no memory. */
struct journal_ids *journal_ids_create(uint64_t ids_max, const struct uuid *seed);
void journal_ids_destroy(struct journal_ids *);

/* By the keeper. Without memory for it nothing is ever known for sure again. */
void journal_ids_add_old(struct journal_ids *, const struct uuid *);
/* All old ones are there. Order: pairs with the acquire of the lane, which owns them from here on.
 */
void journal_ids_loaded(struct journal_ids *);
/* They will never be: an id may be known for good, and no more memory is spent on it. */
void journal_ids_give_up(struct journal_ids *);
/* The journal has forgotten so many of the oldest ids. */
void journal_ids_forget(struct journal_ids *, uint64_t count);

/* By the lane's thread, as is the next one. */
void journal_ids_add(struct journal_ids *, const struct uuid *);

/* false: the journal does not tell of that id. true: it may; always, until the old ones are loaded.
 */
bool journal_ids_may_know(struct journal_ids *, const struct uuid *);

/* For whoever measures: bytes of the filters. By the lane's thread, after they are loaded. */
uint64_t journal_ids_bytes(const struct journal_ids *);

#endif
