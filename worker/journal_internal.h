/* The inside of a journal, shared by journal.c (append and commit) and
 * journal_keeper.c (segments and digests). Nobody else includes this. */
#ifndef PAYRING_WORKER_JOURNAL_INTERNAL_H
#define PAYRING_WORKER_JOURNAL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "worker/journal.h"
#include "worker/journal_loader.h"

/* Segments with records that are not durable: one, two around a switch; more
 * only if the disk is slower than the lane. */
#define JOURNAL_UNSYNCED_MAX 8

struct journal_segment {
    int fd; /* -1: none */
    uint64_t number;
    uint64_t first_sequence;
    uint32_t records;
    uint32_t seed;
    bool is_full; /* nothing will be written to it any more */
};

struct journal {
    struct journal_settings settings;
    struct journal_identity identity;
    char directory[JOURNAL_PATH_SIZE];

    /* the lane's thread's alone */
    struct journal_segment current;
    uint32_t used;         /* records in it */
    uint64_t *latest;      /* per slot: the segment with its last image; 0 = ended or free */
    uint64_t kicked;       /* appended, as the commit thread was last told */
    uint64_t carried_upto; /* the last journal_carry that was done completely */

    struct journal_ids
        *ids; /* of all that is told of here; journal_ids.h says whose each part is */

    _Atomic uint64_t appended; /* release by the lane after the write */
    _Atomic uint64_t durable;  /* release by whoever commits */
    atomic_bool failed;

    pthread_mutex_t commit_lock; /* one commit at a time */

    pthread_mutex_t lock; /* all below */
    pthread_cond_t commit_wanted, keep_wanted, prepared_changed;
    struct journal_segment unsynced[JOURNAL_UNSYNCED_MAX]; /* oldest first; the last one is open */
    unsigned unsynced_count;
    struct journal_segment prepared;
    uint64_t current_number, next_first_sequence;
    bool kick, stopping, started;

    /* keeper and lane: digest up to here, please; done with this record */
    _Atomic uint64_t carry_wanted;
    _Atomic uint64_t carry_done;
    _Atomic uint64_t carry_sequence; /* released before carry_done */

    _Atomic uint64_t filed_rows; /* by the lane, for the next digest */

    /* the keeper's thread's alone */
    struct journal_loader loader;          /* of ids, before anything is digested */
    struct journal_digest_header digested; /* the youngest digest */
    uint64_t bytes;                        /* of all files */
    uint64_t highest;                      /* number of a segment file */
    bool told_of_bound;
    uint64_t bound_looked_at; /* the youngest digest at the last look, + 1; 0: none yet */

    pthread_t commit_thread, keeper_thread;
};

/* Say once why, and let nobody wait any more. Any thread. */
void journal_fail(struct journal *, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Make a segment file: named, durable, empty. STATUS_FULL: no room on the disk. */
enum status journal_segment_make(const struct journal *, uint64_t number, uint64_t first_sequence,
                                 struct journal_segment *, struct explain *why);

void *journal_keeper_run(void *journal);

/* Read a piece of the digests for their ids. */
void journal_keeper_load(struct journal *);

/* A segment file was made: a new one, or over an empty one that a dead owner had prepared. */
void journal_keeper_remove_segment(const struct journal *, uint64_t number);
void journal_keeper_note_made(struct journal *, uint64_t number);
uint64_t journal_keeper_bytes(const struct journal_digest_header *);

#endif
