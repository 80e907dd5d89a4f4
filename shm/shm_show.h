/* A region for people and for scripts: everything that payringctl shows and
 * lists. Only reads and takes no lease. What it says was true when it was read;
 * the values of one answer are not of one instant. */
#ifndef PAYRING_SHM_SHOW_H
#define PAYRING_SHM_SHOW_H

#include <stdio.h>

#include "shm/shm_region.h"

/* For people. */
void shm_show(const struct shm_region *, FILE *);

/* For scripts: `name value`, one a line, always the same names in the same
 * order for one geometry. `lane.0.rows` is lane 0's; `lane.rows` is the total.
 * Ages are in ms, -1 is never. The names of counters are those of
 * shm_counters.def. */
void shm_show_plain(const struct shm_region *, FILE *);

/* One line per record that is not FREE, tabs between:
 * id cents state processor requestedAt_us acceptedAt_ms flags attempts.
 * "-" and 0 for a processor and time that are not chosen; "-" for no flags.
 * Returns how many records could not be read (in motion, or damaged). */
unsigned shm_show_records(const struct shm_region *, FILE *);

/* One line per row that is published and not purged, tabs between:
 * lane row processor cents requestedAt_us. Not OK: a file of the ledger that has
 * some of them cannot be read (shm_ledger_sum_or_say), and what was written is not all. */
enum status shm_show_rows(const struct shm_region *, FILE *, struct explain *why);

const char *shm_show_processor_name(unsigned processor);

/* "unknown", "ask", ... of one flag of a record; NULL: there is no such flag. */
const char *shm_show_flag_name(unsigned flag);

/* The names of all that are set with commas between, "-" for none. */
void shm_show_flags(unsigned flags, FILE *);

#endif
