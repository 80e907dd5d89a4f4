/* payringctl: the verbs, a group a file, and what the command line asks of them.
 *
 * A person stands in front of it: what it has to say goes to stdout, what is
 * wrong to stderr in one sentence, and how it ended is the exit status. Verbs
 * that only look open the region read-only; those that change something take the
 * lease of what they write. No daemon includes this.
 */
#ifndef PAYRING_WORKER_CTL_H
#define PAYRING_WORKER_CTL_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/config.h"
#include "common/iso8601.h"
#include "common/uuid.h"
#include "shm/shm_ledger.h"
#include "shm/shm_operator.h"

enum ctl_exit {
    CTL_DONE = 0,   /* done, or all is well */
    CTL_NO = 1,     /* refused, or there are findings or differences */
    CTL_USAGE = 2,  /* the command line or a setting is wrong; nothing was tried */
    CTL_FAILED = 3, /* could not be done: no region, no owner, time over, no answer, no room */
};

enum ctl_format {
    CTL_FORMAT_PRESET, /* not given: the verb's own */
    CTL_FORMAT_TEXT,
    CTL_FORMAT_TSV,
    CTL_FORMAT_JSON,
    CTL_FORMAT_CSV,
    CTL_FORMAT_JSONL,
};

#define CTL_STATE_ANY      (-1)
#define CTL_STATE_ACCEPTED 100 /* in a ring; else enum payment_state */

/* Everything that can be asked for; each field is its preset when it is not given. */
struct ctl {
    const struct config *config;
    bool if_missing, plain, force; /* create, show, remove */
    enum ctl_format format;
    /* payments */
    bool pinned;
    int state;     /* CTL_STATE_ANY, CTL_STATE_ACCEPTED, or enum payment_state */
    int processor; /* -1: any */
    int64_t older_than_ms;
    bool has_id;
    struct uuid id; /* resolve too */
    uint64_t limit;
    /* resolve */
    enum shm_decision decision;
    const char *by, *reason;
    /* reconcile, export */
    struct shm_window window;
    uint64_t sample; /* 0: all */
    bool has_seed;
    uint64_t seed;
    uint64_t rate; /* look-ups a second */
    const char *output;
    /* drain, resolve */
    bool resume;
    int64_t timeout_ms; /* 0: the verb's own */
    /* health */
    const char *target;
};

struct ctl_verb {
    const char *name;
    const char *words; /* that follow it, for --help; "": none */
    const char *help;
    unsigned formats; /* bits 1 << enum ctl_format */
    int64_t timeout_ms;
    enum ctl_exit (*run)(struct ctl *);
};

/* ---- ctl_options.c ---- */

/* Read settings and command line. CTL_DONE: *verb is to be run; or NULL, when the answer has been
 * given already (--help, --version, -n). Else `why` says what is wrong. */
enum ctl_exit ctl_options_read(struct ctl *, struct config *, const struct ctl_verb *verbs,
                               int argc, char **argv, const struct ctl_verb **verb,
                               struct explain *why);

/* ---- ctl_text.c ---- */

/* One sentence to stderr; returns the status that it was given. */
enum ctl_exit ctl_complain(enum ctl_exit, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Was everything written? Nobody believes half a list. */
enum ctl_exit ctl_finish(FILE *, enum ctl_exit);

/* With milliseconds, or with microseconds if there are any: as it was sent or found. */
void ctl_format_us(char text[static ISO8601_TEXT_SIZE], int64_t time_us);

/* Wait a little, unless SIGINT or SIGTERM has come: false. After ctl_catch_signals. */
bool ctl_pause_ms(int64_t ms);
bool ctl_is_interrupted(void);
void ctl_catch_signals(void);

/* ---- ctl_operator.c ---- */

/* Attach read-write and hold the operator's lease with its page open. Waits for another operator
 * until deadline_ms (monotonic). Complains by itself. Close in any case. */
enum ctl_exit ctl_operator_open(struct shm_region *, const struct ctl *, int64_t deadline_ms);
void ctl_operator_close(struct shm_region *);

/* The page and the lease alone, within an attached region. */
enum ctl_exit ctl_operator_take(struct shm_region *, int64_t deadline_ms);
void ctl_operator_give_back(struct shm_region *);

/* ---- ctl_journal.c ---- */

/* Create the region as the settings say, with what `first` puts into it, and then made of the
 * journal that the state directory holds. Tells what came of it. Statuses as of
 * shm_region_create_seeded and journal_replay_into. */
enum status ctl_create_region(const struct config *, const struct shm_geometry *,
                              const struct shm_region_seed *first, struct explain *why);

/* ---- the verbs ---- */

enum ctl_exit ctl_create(struct ctl *);
enum ctl_exit ctl_keep(struct ctl *);
enum ctl_exit ctl_show(struct ctl *);
enum ctl_exit ctl_check(struct ctl *);
enum ctl_exit ctl_list(struct ctl *);
enum ctl_exit ctl_rows(struct ctl *);
enum ctl_exit ctl_journal(struct ctl *);
enum ctl_exit ctl_remove(struct ctl *);
enum ctl_exit ctl_payments(struct ctl *);
enum ctl_exit ctl_resolve(struct ctl *);
enum ctl_exit ctl_reconcile(struct ctl *);
enum ctl_exit ctl_export(struct ctl *);
enum ctl_exit ctl_drain(struct ctl *);
enum ctl_exit ctl_health(struct ctl *);

#endif
