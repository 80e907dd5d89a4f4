/* A region for people and for scripts: everything that payringctl shows and
 * lists. Only reads; takes no lease; values of one answer are not of one instant. */
#ifndef PAYRING_SHM_SHOW_H
#define PAYRING_SHM_SHOW_H

#include <stdio.h>

#include "shm/shm_region.h"

#define SHM_SHOW_NAME_SIZE 64

/* One value and its name ("lane.0.settled_default"). */
typedef void shm_show_value(void *context, const char *name, uint64_t value);

/* Every number there is, in an order that does not change: of each ring, API
 * slot and lane, and the totals over them (without the number in the name). */
void shm_show_each(const struct shm_region *, shm_show_value *, void *context);

/* `name value`, one a line, for scripts. Times are ages in ms; -1 is never. */
void shm_show_plain(const struct shm_region *, FILE *);

/* The same for people. */
void shm_show(const struct shm_region *, FILE *);

/* One line per record that is not FREE, tabs between:
 * id cents state processor requestedAt_us acceptedAt_ms flags attempts.
 * "-" for a processor that is not chosen, requestedAt_us 0 then, and for no flags.
 * Returns how many records could not be read (in motion, or damaged). */
unsigned shm_show_records(const struct shm_region *, FILE *);

/* One line per row that is published and not purged, tabs between:
 * lane row processor cents requestedAt_us. */
void shm_show_rows(const struct shm_region *, FILE *);

#endif
