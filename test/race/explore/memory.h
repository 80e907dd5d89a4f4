/* A memory as weak as C11 allows, for a few words and a few parties.
 *
 * The production code runs as it is: compiled with -fsanitize=thread, but linked with our own
 * __tsan_ functions (tsan.c) instead of the sanitizer's, every load, store and fence of it comes
 * here. A word is the list of all values that were ever stored to it (mostly one writer each; an
 * addition takes the last value and adds the next). A party has a view: for each word the oldest
 * value that it may still read. A load may return any value from there on; each is explored. A
 * release store carries its writer's view and an acquire load takes it over; a seq_cst fence
 * exchanges views with all earlier ones; a seq_cst load sees the last seq_cst store of that word.
 * What else C11 would order is not: more is explored than can happen, never less, but for two
 * things: nobody wakes for no reason or because their time is over, and a load is never later than
 * a store that follows it. Where the protocol forbids just that
 * (the slot of a ring is read before head is released) words have a guard, and a store that is not
 * ordered after the other side's loads is a violation at once.
 *
 * Plain words (ledger rows, blocks) are where C11 says they are: a plain access that is not
 * ordered after the last store is a data race, and a violation.
 *
 * Parties do not run as threads. A step is one load, store, fence or call of the system: the
 * party's current call is run from its beginning, what it did before is replayed from the log,
 * then one operation is performed, and everything up to the next one. So a state is plain bytes:
 * it can be copied, compared, and a party can be dropped in the middle of a call, which is death.
 */
#ifndef PAYRING_TEST_RACE_MEMORY_H
#define PAYRING_TEST_RACE_MEMORY_H

#include <setjmp.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum {
    RACE_WORDS = 80,
    RACE_PARTIES = 4,
    RACE_LOG = 200,
    RACE_LOCAL = 2048,
    RACE_HELD = 24,
    RACE_MESSAGES = 600,
    RACE_PLAIN = 512,
    RACE_GHOST = 384,
    RACE_ARENA = 1 << 18,
};

/* What a word is, for the rules and the lies. */
enum race_class {
    RACE_IGNORED, /* reads as 0, stores vanish: what decides nothing */
    RACE_TAIL,
    RACE_HEAD,
    RACE_SLOT,
    RACE_SEQUENCE,
    RACE_RECORD,
    RACE_STATE,
    RACE_INDEX,
    RACE_UNSETTLED,
    RACE_ROW_COUNT,
    RACE_FIRST_ROW,
    RACE_PURGE_APPLIED,
    RACE_GENERATION,
    RACE_SLEEP_COUNT,
    RACE_BELL,
    RACE_OTHER,
    RACE_ROW,   /* plain */
    RACE_BLOCK, /* plain */
    RACE_GUARD, /* no memory: counts the loads of other words */
};

struct race_word {
    void *address;
    unsigned size;
    char name[24];
    enum race_class class;
    bool plain;
    uint8_t writer;       /* the one party that stores to it: its own loads cannot be told apart */
    uint8_t guard;        /* word whose loads by `guarded_from` must come before a store; 0: none */
    uint8_t plain_offset; /* of its bytes in the state, in 8 byte units */
};

struct race_message {
    uint64_t value;
    uint8_t view[RACE_WORDS];
};

struct race_party {
    bool done;
    uint8_t log_count;
    uint8_t held_count, held_ready;
    uint8_t view[RACE_WORDS];
    uint8_t acquired[RACE_WORDS]; /* by relaxed loads, until a fence */
    uint8_t released[RACE_WORDS]; /* by the last fence */
    struct race_held {
        uint64_t value;
        uint64_t word;
    } held[RACE_HELD];
    uint64_t log[RACE_LOG];
    _Alignas(16) uint8_t local[RACE_LOCAL];
};

struct race_state {
    uint8_t last[RACE_WORDS];    /* number of the last value; older ones that nobody can read go */
    uint8_t seq_cst[RACE_WORDS]; /* number of the last seq_cst store */
    uint8_t fenced[RACE_WORDS];  /* view of all seq_cst fences so far */
    uint8_t crashes_left;
    uint8_t fifo_bytes, listeners;
    uint8_t bell_waits; /* an owner sleeps at the bell, and nobody has woken it */
    uint16_t message_count;
    struct race_party party[RACE_PARTIES];
    _Alignas(16) uint8_t plain[RACE_PLAIN];
    _Alignas(16) uint8_t ghost[RACE_GHOST]; /* what the judge knows */
    struct race_message message[RACE_MESSAGES];
};

/* ------------------------------------------------------------------------- scenarios */

struct race_parameters {
    unsigned slots, entries, crashes, readers, variant;
};

struct race_scenario {
    const char *name;
    const char *words;
    unsigned parties;
    const char *party[RACE_PARTIES];
    size_t local_size[RACE_PARTIES];
    unsigned mortal; /* bits: who may die */
    /* Bits: who goes first as long as they can. The others only read, without seq_cst: they may
     * still read every older value, so that nothing is lost by letting them come last. */
    unsigned first;
    void (*setup)(const struct race_parameters *);
    /* One call of the party, from its local bytes; it may set race_done. */
    void (*run)(unsigned party, void *local);
    void (*on_store)(unsigned party, const struct race_word *, uint64_t value); /* or NULL */
    void (*on_crash)(unsigned party, void *local);
    const char *(*at_end)(const struct race_state *); /* nobody can go on */
};

extern const struct race_scenario race_ring, race_record, race_ledger, race_purge, race_doorbell,
    race_budget;

/* For setup: the region's bytes, the words in it, the local bytes that parties start with. */
extern uint8_t race_arena[RACE_ARENA];
void race_written_by(unsigned party); /* the words that are added from here on */
unsigned race_add(const volatile void *address, unsigned size, enum race_class, const char *name);
void race_add_plain(const void *address, unsigned size, enum race_class, const char *name);
void race_ignore(const volatile void *address, size_t size);
unsigned race_add_guard(const char *name, unsigned reader, unsigned writer);
void race_guard(unsigned word, unsigned guard);
void *race_local(unsigned party);
void *race_ghost(void);
void race_start_over_at(unsigned party, enum race_class, unsigned nth);
void race_set_listener(bool);
void race_absent(unsigned party); /* it takes no part */

/* For run. */
void race_done(void); /* this party is through */
_Noreturn void race_broken(const char *what);
void race_await_fifo(void);         /* blocks while no byte lies in the FIFO */
bool race_lie_is(const char *name); /* for the lies that a scenario tells by itself */
void race_say(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern struct race_parameters race_parameters;

/* The newest value of a word, whoever may see it: for the judge. */
uint64_t race_newest(const struct race_state *, const volatile void *address);
uint64_t race_newest_plain(const struct race_state *, const void *address);
const struct race_state *race_now(void);

/* ------------------------------------------------------------------------------- lies */

enum race_lie_kind {
    LIE_NONE,
    LIE_RELAX_STORE, /* stores of `class` are relaxed */
    LIE_RELAX_LOAD,  /* loads of `class` are relaxed */
    LIE_NO_FENCE,
    LIE_HOLD,          /* stores of `class` come after the next store of `until` */
    LIE_EARLY,         /* before a plain store to `class` row_count is released */
    LIE_SAME_AGAIN,    /* the second look at a word of `class` is none */
    LIE_SAME_FOR_EVER, /* nor is any later one of the call */
    LIE_HIDE_ODD,      /* odd values are not stored */
    LIE_ZERO,          /* loads of `class` in a party's first call return 0 */
    LIE_ALL_TAKEN,     /* loads of head return the newest tail */
    LIE_NO_ADD,        /* nothing is added to words of `class` */
    LIE_NO_WAKE,       /* nobody is woken at a bell */
    LIE_TOLD,          /* by the scenario */
};

/* Beside the bits of parties: who only reads comes last here, too; quicker, no shortest trace. */
#define RACE_IN_TURN 0x80u

struct race_lie {
    const char *name, *words;
    enum race_lie_kind kind;
    enum race_class class, until;
    unsigned parties; /* bits: who is lied to; 0: all */
};

extern const struct race_lie *race_lie; /* NULL: the truth */

/* ----------------------------------------------------------------------- the explorer's */

enum race_outcome { RACE_WENT_ON, RACE_BLOCKED, RACE_IS_DONE, RACE_BROKEN };

void race_begin(const struct race_scenario *, const struct race_parameters *,
                struct race_state *initial);
/* One operation of a party, in place; of a load the option-th newest value. */
enum race_outcome race_step(struct race_state *, unsigned party, unsigned option, unsigned *options,
                            FILE *words);
void race_crash(struct race_state *, unsigned party);
/* Drop what nobody can read any more, number anew. */
void race_normalise(struct race_state *);
size_t race_pack(const struct race_state *, uint8_t *bytes);
void race_unpack(struct race_state *, const uint8_t *bytes);
const char *race_what_is_broken(void);
unsigned race_word_count(void);

#endif
