#include "test/race/explore/memory.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/check.h"
#include "test/race/explore/operations.h"

_Alignas(4096) uint8_t race_arena[RACE_ARENA];
struct race_parameters race_parameters;
const struct race_lie *race_lie;

/* Of the scenario under way. Word 0 is nobody. */
static struct {
    const struct race_scenario *scenario;
    struct race_state *initial; /* only during setup */
    struct race_word words[RACE_WORDS];
    unsigned count;
    uint8_t at[RACE_ARENA]; /* number of the word at that byte; IGNORED */
    unsigned plain_bytes;
    unsigned writer;
    struct {
        unsigned reader, writer;
    } guards[RACE_WORDS];
    struct {
        enum race_class class;
        unsigned nth;
    } start_over[RACE_PARTIES];
} now;

#define IGNORED 255u

/* Of the step under way. */
static struct {
    struct race_state *state;
    unsigned party, option, options;
    unsigned at;           /* operations of the call so far */
    unsigned replayed;     /* of which so many come from the log */
    bool early;            /* row_count has been released by a lie */
    bool performed, first; /* first: the call begins with this step */
    bool done;
    unsigned seen; /* loads of the class that a lie is about, in this call */
    uint64_t seen_value;
    const char *broken;
    FILE *words;
    jmp_buf out;
} run;

/* ------------------------------------------------------------------------------ setup */

void race_written_by(unsigned party)
{
    now.writer = party;
}

unsigned race_add(const volatile void *address, unsigned size, enum race_class class,
                  const char *name)
{
    size_t offset = (size_t)((const volatile uint8_t *)address - race_arena);
    CHECK(now.count + 1 < RACE_WORDS && offset + size <= RACE_ARENA);
    struct race_word *word = &now.words[++now.count];
    *word = (struct race_word){.address = race_arena + offset,
                               .size = size,
                               .class = class,
                               .writer = (uint8_t)now.writer};
    snprintf(word->name, sizeof word->name, "%s", name);
    memset(now.at + offset, (int)now.count, size);
    return now.count;
}

void race_add_plain(const void *address, unsigned size, enum race_class class, const char *name)
{
    struct race_word *word = &now.words[race_add(address, size, class, name)];
    word->plain = true;
    CHECK(size % 8 == 0 && now.plain_bytes + size <= RACE_PLAIN);
    word->plain_offset = (uint8_t)(now.plain_bytes / 8);
    now.plain_bytes += size;
}

void race_ignore(const volatile void *address, size_t size)
{
    memset(now.at + ((const volatile uint8_t *)address - race_arena), IGNORED, size);
}

unsigned race_add_guard(const char *name, unsigned reader, unsigned writer)
{
    CHECK(now.count + 1 < RACE_WORDS);
    struct race_word *word = &now.words[++now.count];
    *word = (struct race_word){.class = RACE_GUARD, .plain = true};
    snprintf(word->name, sizeof word->name, "%s", name);
    now.guards[now.count].reader = reader;
    now.guards[now.count].writer = writer;
    return now.count;
}

void race_guard(unsigned word, unsigned guard)
{
    now.words[word].guard = (uint8_t)guard;
}

void *race_local(unsigned party)
{
    return (now.initial ? now.initial : run.state)->party[party].local;
}

void *race_ghost(void)
{
    return (now.initial ? now.initial : run.state)->ghost;
}

void race_start_over_at(unsigned party, enum race_class class, unsigned nth)
{
    now.start_over[party].class = class;
    now.start_over[party].nth = nth;
}

void race_set_listener(bool listens)
{
    (now.initial ? now.initial : run.state)->listeners = listens;
    if (!listens)
        (now.initial ? now.initial : run.state)->bell_waits = 0;
}

static uint64_t native(const struct race_word *word)
{
    uint64_t value = 0;
    memcpy(&value, word->address, word->size);
    return value;
}

static struct race_message *message_of(struct race_state *s, unsigned word, unsigned number)
{
    unsigned index = number;
    for (unsigned w = 1; w < word; w++)
        if (!now.words[w].plain)
            index += s->last[w] + 1u;
    CHECK(index < s->message_count);
    return &s->message[index];
}

void race_begin(const struct race_scenario *scenario, const struct race_parameters *parameters,
                struct race_state *initial)
{
    memset(&now, 0, sizeof now);
    memset(race_arena, 0, sizeof race_arena);
    memset(initial, 0, sizeof *initial);
    now.scenario = scenario;
    now.initial = initial;
    race_parameters = *parameters;
    initial->crashes_left = (uint8_t)parameters->crashes;
    scenario->setup(parameters);
    for (unsigned w = 1; w <= now.count; w++) {
        const struct race_word *word = &now.words[w];
        if (word->plain && word->size)
            memcpy(initial->plain + 8 * word->plain_offset, word->address, word->size);
        else if (!word->plain)
            initial->message[initial->message_count++].value = native(word);
    }
    now.initial = NULL;
}

unsigned race_word_count(void)
{
    return now.count;
}

/* ------------------------------------------------------------------------------ words */

void race_say(const char *format, ...)
{
    va_list arguments;
    if (!run.words)
        return;
    va_start(arguments, format);
    vfprintf(run.words, format, arguments);
    va_end(arguments);
}

static const char *order_name(int order)
{
    return order == memory_order_relaxed   ? "relaxed"
           : order == memory_order_acquire ? "acquire"
           : order == memory_order_release ? "release"
           : order == memory_order_seq_cst ? "seq_cst"
                                           : "acq_rel";
}

_Noreturn void race_broken(const char *what)
{
    run.broken = what;
    longjmp(run.out, 1);
}

/* The production code's own opinion. */
_Noreturn void check_failed(const char *file, int line, const char *condition)
{
    static char text[256];
    snprintf(text, sizeof text, "a CHECK is hit: %s:%d: %s", file, line, condition);
    if (!run.state || now.initial || !strncmp(file, "test/", 5)) {
        fprintf(stderr, "%s\n", text);
        abort();
    }
    race_broken(text);
}

const char *race_what_is_broken(void)
{
    return run.broken;
}

/* --------------------------------------------------------------------------- the step */

static bool lie_is(enum race_lie_kind kind)
{
    return race_lie && race_lie->kind == kind &&
           (race_lie->parties == 0 || race_lie->parties >> run.party & 1);
}

bool race_lie_is(const char *name)
{
    return race_lie && !strcmp(race_lie->name, name);
}

static struct race_party *me(void)
{
    return &run.state->party[run.party];
}

/* true: the operation lies behind us, *value is what came of it. Otherwise it is the one to be
 * performed now, or the one before which to stop. */
static bool is_logged(uint64_t *value)
{
    if (run.at >= run.replayed)
        return false;
    *value = me()->log[run.at++];
    return true;
}

static bool is_behind(uint64_t *value)
{
    if (is_logged(value))
        return true;
    if (run.performed)
        longjmp(run.out, 2);
    run.performed = true;
    return false;
}

static uint64_t note(uint64_t value)
{
    struct race_party *p = me();
    CHECK(p->log_count < RACE_LOG);
    p->log[p->log_count++] = value;
    run.at++;
    return value;
}

static void join(uint8_t *view, const uint8_t *other)
{
    for (unsigned w = 1; w <= now.count; w++)
        if (other[w] > view[w])
            view[w] = other[w];
}

static uint64_t masked(const struct race_word *word, uint64_t value)
{
    return word->size == 8 ? value : value & ((UINT64_C(1) << 8 * word->size) - 1);
}

static void append(unsigned word, uint64_t value, int order)
{
    struct race_state *s = run.state;
    struct race_party *p = me();
    CHECK(s->message_count < RACE_MESSAGES && s->last[word] < 250);
    struct race_message *last = message_of(s, word, s->last[word]);
    memmove(last + 2, last + 1,
            (size_t)(s->message + s->message_count - (last + 1)) * sizeof *last);
    s->message_count++;
    s->last[word]++;
    p->view[word] = s->last[word];
    struct race_message *message = last + 1;
    memset(message, 0, sizeof *message);
    message->value = value;
    memcpy(message->view, order == memory_order_relaxed ? p->released : p->view,
           sizeof message->view);
    message->view[word] = s->last[word];
    if (order == memory_order_seq_cst)
        s->seq_cst[word] = s->last[word];
}

static void publish(unsigned word, uint64_t value, int order)
{
    const struct race_word *w = &now.words[word];
    struct race_party *p = me();
    if (w->guard && p->view[w->guard] != run.state->last[w->guard])
        race_broken("a slot is overwritten that the other side may still be reading");
    race_say("    %s: %s := %llu (%s)\n", now.scenario->party[run.party], w->name,
             (unsigned long long)value, order_name(order));
    append(word, value, order);
    if (now.scenario->on_store)
        now.scenario->on_store(run.party, w, value);
}

/* Stores that a lie holds back: its party sees them, nobody else does. */
static struct race_held *held(unsigned word)
{
    struct race_party *p = me();
    for (unsigned i = p->held_count; i-- > 0;)
        if (p->held[i].word == word)
            return &p->held[i];
    return NULL;
}

static void hold(unsigned word, uint64_t value)
{
    struct race_party *p = me();
    struct race_held *one = held(word);
    if (!one) {
        CHECK(p->held_count < RACE_HELD);
        one = &p->held[p->held_count++];
    }
    *one = (struct race_held){.value = value, .word = word};
}

static void unhold(struct race_held *one)
{
    struct race_party *p = me();
    memmove(one, one + 1, (size_t)(p->held + p->held_count - (one + 1)) * sizeof *one);
    p->held_count--;
    p->held[p->held_count] = (struct race_held){0};
}

/* What was held and is due comes first, one store a step. */
static void let_go(void)
{
    uint64_t unused;
    for (;;) {
        if (run.at >= run.replayed && !(me()->held_ready && me()->held_count))
            break;
        if (run.at < run.replayed && me()->log[run.at] != UINT64_C(0x1e7600))
            break;
        if (is_behind(&unused))
            continue;
        struct race_held one = me()->held[0];
        unhold(&me()->held[0]);
        if (me()->held_count == 0)
            me()->held_ready = false;
        publish((unsigned)one.word, one.value, memory_order_release);
        note(UINT64_C(0x1e7600));
    }
}

static unsigned known(const volatile void *address, unsigned size)
{
    size_t offset = (size_t)((const volatile uint8_t *)address - race_arena);
    unsigned word = now.at[offset];
    if (word != IGNORED && (word == 0 || now.words[word].address != address ||
                            now.words[word].size != size || now.words[word].plain)) {
        fprintf(stderr,
                "race: an atomic access to byte %zu of the region, which the scenario %s "
                "does not know\n",
                offset, now.scenario->name);
        abort();
    }
    return word;
}

bool race_is_shared(const volatile void *address)
{
    const volatile uint8_t *byte = address;
    return run.state && byte >= race_arena && byte < race_arena + RACE_ARENA;
}

static bool is_lied_about(unsigned word)
{
    return race_lie && now.words[word].class == race_lie->class &&
           (race_lie->parties == 0 || race_lie->parties >> run.party & 1);
}

/* How a lie changes what a load returns. true: no operation is performed. */
static bool is_told_otherwise(unsigned word, uint64_t *value)
{
    if (!is_lied_about(word))
        return false;
    bool again = race_lie->kind == LIE_SAME_AGAIN && run.seen % 2 == 1;
    bool for_ever = race_lie->kind == LIE_SAME_FOR_EVER && run.seen > 0;
    if (again || for_ever) {
        *value = run.seen_value;
        run.seen++;
        return true;
    }
    if (race_lie->kind == LIE_ZERO) {
        *value = 0;
        return me()->local[0] == 0; /* the first call of a tenant: it opens */
    }
    return false;
}

static void begin_anew(unsigned word)
{
    struct race_party *p = me();
    unsigned seen = 0, first = 0;
    if (now.start_over[run.party].nth == 0 ||
        now.words[word].class != now.start_over[run.party].class)
        return;
    /* The log holds the loads of this word among others; the scenario says how many make a try. */
    for (unsigned i = p->log_count; i-- > 0;)
        if (p->log[i] >> 63) {
            seen++;
            first = i;
        }
    if (seen + 1 < now.start_over[run.party].nth)
        return;
    /* Back to where the first try began: nothing but the number of tries is different. */
    memset(p->log + first, 0, (p->log_count - first) * sizeof p->log[0]);
    p->log_count = (uint8_t)first;
    run.at = run.replayed = first;
}

static uint64_t newest(struct race_state *s, enum race_class class)
{
    for (unsigned w = 1; w <= now.count; w++)
        if (now.words[w].class == class)
            return message_of(s, w, s->last[w])->value;
    return 0;
}

/* Words that start a call over are logged with their highest bit set, for begin_anew. */
static uint64_t mark_of(const struct race_word *word)
{
    unsigned nth = now.start_over[run.party].nth;
    return nth > 0 && word->class == now.start_over[run.party].class ? UINT64_C(1) << 63 : 0;
}

/* The number of the value that this load returns: the option-th newest. */
static unsigned choose(unsigned word, bool silent)
{
    struct race_state *s = run.state;
    if (silent)
        return s->last[word]; /* nobody else stores to it */
    run.options = 1u + s->last[word] - me()->view[word];
    CHECK(run.option < run.options);
    return s->last[word] - run.option;
}

static uint64_t perform_load(unsigned word, int order, bool silent)
{
    const struct race_word *w = &now.words[word];
    struct race_state *s = run.state;
    struct race_party *p = me();
    if (lie_is(LIE_RELAX_LOAD) && is_lied_about(word))
        order = memory_order_relaxed;
    if (order == memory_order_seq_cst && s->seq_cst[word] > p->view[word])
        p->view[word] = s->seq_cst[word];
    unsigned number = choose(word, silent);
    const struct race_message *message = message_of(s, word, number);
    p->view[word] = (uint8_t)number;
    join(order == memory_order_relaxed ? p->acquired : p->view, message->view);
    if (w->guard && now.guards[w->guard].reader == run.party) {
        CHECK(s->last[w->guard] < 250);
        p->view[w->guard] = ++s->last[w->guard];
    }
    uint64_t value = message->value;
    if (lie_is(LIE_ALL_TAKEN) && is_lied_about(word))
        value = newest(s, RACE_TAIL);
    if (!silent)
        race_say("    %s: reads %s = %llu (%s)%s\n", now.scenario->party[run.party], w->name,
                 (unsigned long long)value, order_name(order),
                 number < s->last[word] ? ", an older value" : "");
    return value;
}

/* A party's loads of its own words are no steps: nobody can tell when they happen. */
uint64_t race_load(const volatile void *address, unsigned size, int order)
{
    uint64_t value;
    unsigned word = known(address, size);
    if (word == IGNORED)
        return 0;
    let_go();
    if (is_told_otherwise(word, &value))
        return value;
    uint64_t mark = mark_of(&now.words[word]);
    bool silent = now.words[word].writer == run.party;
    if (!(silent ? is_logged(&value) : is_behind(&value))) {
        if (held(word)) {
            value = held(word)->value;
        } else {
            begin_anew(word);
            value = perform_load(word, order, silent);
        }
        note(value | mark);
    }
    value &= ~mark;
    if (is_lied_about(word)) {
        run.seen++;
        run.seen_value = value;
    }
    return value;
}

static bool is_withheld(unsigned word, uint64_t value)
{
    struct race_held *one = held(word);
    if (!is_lied_about(word))
        return false;
    if (race_lie->kind == LIE_HIDE_ODD && (value & 1)) {
        hold(word, value);
        return true;
    }
    if (race_lie->kind == LIE_HIDE_ODD && one)
        unhold(one);
    if (race_lie->kind != LIE_HOLD)
        return false;
    hold(word, value);
    return true;
}

void race_store(volatile void *address, unsigned size, uint64_t value, int order)
{
    uint64_t unused;
    unsigned word = known(address, size);
    if (word == IGNORED)
        return;
    value = masked(&now.words[word], value);
    let_go();
    if (is_behind(&unused)) {
        return;
    }
    if (lie_is(LIE_RELAX_STORE) && is_lied_about(word))
        order = memory_order_relaxed;
    if (!is_withheld(word, value))
        publish(word, value, order);
    if (lie_is(LIE_HOLD) && now.words[word].class == race_lie->until && me()->held_count)
        me()->held_ready = true;
    note(value);
}

/* The last value that anybody stored, and the next one: nothing comes between the two. */
uint64_t race_add_to(volatile void *address, unsigned size, uint64_t value, int order)
{
    uint64_t before;
    unsigned word = known(address, size);
    if (word == IGNORED)
        return 0;
    let_go();
    if (is_behind(&before))
        return before;
    before = message_of(run.state, word, run.state->last[word])->value;
    if (!(lie_is(LIE_NO_ADD) && is_lied_about(word)))
        publish(word, masked(&now.words[word], before + value), order);
    return note(before);
}

void race_fence(int order)
{
    uint64_t unused;
    if (!run.state)
        return;
    let_go();
    if (is_behind(&unused))
        return;
    struct race_party *p = me();
    if (!lie_is(LIE_NO_FENCE)) {
        race_say("    %s: fence (%s)\n", now.scenario->party[run.party], order_name(order));
        CHECK(order == memory_order_seq_cst || order == memory_order_acquire ||
              order == memory_order_release);
        if (order != memory_order_release)
            join(p->view, p->acquired);
        if (order == memory_order_seq_cst) {
            join(p->view, run.state->fenced);
            memcpy(run.state->fenced, p->view, sizeof p->view);
        }
        if (order != memory_order_acquire)
            memcpy(p->released, p->view, sizeof p->view);
    }
    note(0);
}

/* ------------------------------------------------------------------------ plain words */

/* Code between two operations runs in the step of the first; a replay comes by again. */
static bool is_fresh(void)
{
    return run.at >= run.replayed && (run.performed || run.first);
}

static void check_ordered(unsigned word)
{
    static char text[128];
    if (me()->view[word] == run.state->last[word])
        return;
    snprintf(text, sizeof text, "a data race on %s", now.words[word].name);
    race_say("    %s: comes to %s, and nothing orders this after the last store\n",
             now.scenario->party[run.party], now.words[word].name);
    race_broken(text);
}

static void release_early(void)
{
    for (unsigned w = 1; w <= now.count && !run.early; w++)
        if (now.words[w].class == RACE_ROW_COUNT) {
            run.early = true;
            publish(w, newest(run.state, RACE_ROW_COUNT) + 1, memory_order_release);
        }
}

static void access_plain(const volatile void *address, size_t size, bool is_store)
{
    size_t offset = (size_t)((const volatile uint8_t *)address - race_arena);
    unsigned word = now.at[offset];
    if (word == IGNORED || !is_fresh())
        return;
    if (word == 0 && !is_store)
        return; /* constant in this scenario */
    if (word == 0 || !now.words[word].plain) {
        fprintf(stderr,
                "race: a plain access to %zu bytes at byte %zu of the region, which the "
                "scenario %s does not know\n",
                size, offset, now.scenario->name);
        abort();
    }
    check_ordered(word);
    if (!is_store)
        return;
    if (lie_is(LIE_EARLY) && is_lied_about(word))
        release_early();
    CHECK(run.state->last[word] < 250);
    me()->view[word] = ++run.state->last[word];
}

void race_plain(const volatile void *address, size_t size, bool is_store)
{
    for (size_t done = 0; done < size; done += 8)
        access_plain((const volatile uint8_t *)address + done, size - done, is_store);
}

/* -------- the doorbell */

void race_done(void)
{
    run.done = true;
}

void race_await_fifo(void)
{
    uint64_t unused;
    if (is_behind(&unused))
        return;
    if (run.state->fifo_bytes == 0)
        longjmp(run.out, 3);
    race_say("    %s: is woken\n", now.scenario->party[run.party]);
    note(1);
}

/* The kernel looks at the word and puts the sleeper to those who wait for it in one; who changes
 * the word and wakes after it is seen here or finds the sleeper there. It looks on the party's
 * behalf, which reads no older value from then on. */
void race_futex_wait(const volatile void *address, uint64_t expected)
{
    uint64_t slept, unused;
    unsigned word = known(address, 4);
    let_go();
    if (!is_behind(&slept)) {
        slept = message_of(run.state, word, run.state->last[word])->value == expected;
        run.state->bell_waits = (uint8_t)slept;
        me()->view[word] = run.state->last[word];
        race_say("    %s: %s\n", now.scenario->party[run.party],
                 slept ? "sleeps at the bell" : "does not sleep: the bell says more");
        note(slept);
    }
    if (!slept || is_behind(&unused))
        return;
    if (run.state->bell_waits)
        longjmp(run.out, 3);
    race_say("    %s: is woken\n", now.scenario->party[run.party]);
    note(1);
}

void race_futex_wake(void)
{
    uint64_t unused;
    let_go();
    if (is_behind(&unused))
        return;
    race_say("    %s: wakes who sleeps at the bell\n", now.scenario->party[run.party]);
    if (!lie_is(LIE_NO_WAKE))
        run.state->bell_waits = 0;
    note(0);
}

int race_fifo_write(void)
{
    uint64_t value;
    let_go();
    if (is_behind(&value))
        return (int)value;
    race_say("    %s: rings%s\n", now.scenario->party[run.party],
             run.state->listeners ? "" : ", and nobody listens");
    if (run.state->listeners && run.state->fifo_bytes < 8)
        run.state->fifo_bytes++;
    return (int)note(run.state->listeners);
}

int race_fifo_open(void)
{
    uint64_t value;
    let_go();
    if (is_behind(&value))
        return (int)value;
    race_say("    %s: opens the FIFO%s\n", now.scenario->party[run.party],
             run.state->listeners ? "" : ", but nobody listens");
    return (int)note(run.state->listeners);
}

int race_fifo_read(void)
{
    uint64_t value;
    let_go();
    if (is_behind(&value))
        return (int)value;
    value = run.state->fifo_bytes;
    run.state->fifo_bytes = 0;
    race_say("    %s: empties the FIFO\n", now.scenario->party[run.party]);
    return (int)note(value);
}

/* ------------------------------------------------------------------------------ steps */

static void copy_plain(struct race_state *s, bool out)
{
    for (unsigned w = 1; w <= now.count; w++) {
        const struct race_word *word = &now.words[w];
        if (!word->plain || !word->size)
            continue;
        void *kept = s->plain + 8 * word->plain_offset;
        memcpy(out ? kept : word->address, out ? word->address : kept, word->size);
    }
}

enum race_outcome race_step(struct race_state *state, unsigned party, unsigned option,
                            unsigned *options, FILE *words)
{
    static uint8_t local[RACE_LOCAL];
    size_t size = now.scenario->local_size[party];
    memset(&run, 0, sizeof run);
    run.state = state;
    run.party = party;
    run.option = option;
    run.options = 1;
    run.replayed = me()->log_count;
    run.first = run.replayed == 0;
    run.words = words;
    copy_plain(state, false);
    memcpy(local, me()->local, size);
    int why = setjmp(run.out);
    if (why == 0) {
        now.scenario->run(party, me()->local);
        let_go();
        /* The call has ended: what is left of it is in the local bytes. */
        me()->log_count = 0;
        memset(me()->log, 0, sizeof me()->log);
        me()->done = run.done;
    } else {
        memcpy(me()->local, local, size); /* it starts from these again */
    }
    copy_plain(state, true);
    *options = run.options;
    run.state = NULL;
    return run.broken                 ? RACE_BROKEN
           : why == 3                 ? RACE_BLOCKED
           : state->party[party].done ? RACE_IS_DONE
                                      : RACE_WENT_ON;
}

/* Its view stays: the next tenant comes after the lease, which orders all of it before. */
void race_crash(struct race_state *state, unsigned party)
{
    struct race_party *p = &state->party[party];
    memset(&run, 0, sizeof run);
    run.state = state;
    run.party = party;
    state->crashes_left--;
    p->log_count = p->held_count = p->held_ready = 0;
    memset(p->log, 0, sizeof p->log);
    memset(p->held, 0, sizeof p->held);
    join(p->view, p->acquired);
    /* What it read and never used is nobody's concern any more. */
    for (unsigned w = 1; w <= now.count; w++)
        if (now.words[w].class == RACE_GUARD && now.guards[w].reader == party)
            for (unsigned other = 0; other < RACE_PARTIES; other++)
                state->party[other].view[w] = state->last[w];
    now.scenario->on_crash(party, p->local);
    run.state = NULL;
}

const struct race_state *race_now(void)
{
    return run.state;
}

void race_absent(unsigned party)
{
    now.initial->party[party].done = true;
}

uint64_t race_newest_plain(const struct race_state *state, const void *address)
{
    uint64_t value;
    unsigned word = now.at[(const uint8_t *)address - race_arena];
    CHECK(word && now.words[word].plain);
    memcpy(&value,
           state->plain + 8 * now.words[word].plain_offset +
               ((const uint8_t *)address - (const uint8_t *)now.words[word].address),
           8);
    return value;
}

uint64_t race_newest(const struct race_state *state, const volatile void *address)
{
    unsigned word = now.at[(const volatile uint8_t *)address - race_arena];
    struct race_state *s = (struct race_state *)(uintptr_t)state;
    return message_of(s, word, s->last[word])->value;
}

/* ------------------------------------------------------------------------- the bytes */

/* A party that is through reads nothing any more; a guard concerns two only. */
static bool may_read(const struct race_state *s, unsigned party, unsigned word)
{
    if (party >= now.scenario->parties)
        return false;
    if (now.words[word].class == RACE_GUARD)
        return party == now.guards[word].writer;
    return !s->party[party].done;
}

static void lower(uint8_t *view, const uint8_t *base)
{
    for (unsigned w = 1; w <= now.count; w++)
        view[w] = view[w] > base[w] ? (uint8_t)(view[w] - base[w]) : 0;
}

void race_normalise(struct race_state *s)
{
    uint8_t base[RACE_WORDS];
    unsigned kept = 0, at = 0;
    for (unsigned w = 1; w <= now.count; w++) {
        base[w] = s->last[w];
        for (unsigned p = 0; p < now.scenario->parties; p++) {
            if (!may_read(s, p, w))
                s->party[p].view[w] = s->last[w];
            if (s->party[p].view[w] < base[w])
                base[w] = s->party[p].view[w];
        }
        if (now.words[w].plain)
            continue;
        for (unsigned n = 0; n <= s->last[w]; n++, at++)
            if (n >= base[w]) {
                if (kept != at)
                    s->message[kept] = s->message[at];
                kept++;
            }
    }
    s->message_count = (uint16_t)kept;
    for (unsigned m = 0; m < kept; m++)
        lower(s->message[m].view, base);
    lower(s->last, base);
    lower(s->seq_cst, base);
    lower(s->fenced, base);
    for (unsigned p = 0; p < now.scenario->parties; p++) {
        lower(s->party[p].view, base);
        lower(s->party[p].acquired, base);
        lower(s->party[p].released, base);
    }
}

struct packing {
    uint8_t *to;
    const uint8_t *from;
    size_t at;
};

static void transfer(struct packing *packing, void *bytes, size_t size)
{
    if (packing->to)
        memcpy(packing->to + packing->at, bytes, size);
    else
        memcpy(bytes, packing->from + packing->at, size);
    packing->at += size;
}

static void transfer_party(struct packing *packing, struct race_party *p, size_t local_size)
{
    size_t words = now.count + 1;
    transfer(packing, &p->done, 1);
    transfer(packing, &p->log_count, 1);
    transfer(packing, &p->held_count, 1);
    transfer(packing, &p->held_ready, 1);
    transfer(packing, p->view, words);
    transfer(packing, p->acquired, words);
    transfer(packing, p->released, words);
    transfer(packing, p->held, p->held_count * sizeof p->held[0]);
    transfer(packing, p->log, p->log_count * sizeof p->log[0]);
    transfer(packing, p->local, local_size);
}

static size_t transfer_all(struct packing *packing, struct race_state *s)
{
    size_t words = now.count + 1;
    transfer(packing, s->last, words);
    transfer(packing, s->seq_cst, words);
    transfer(packing, s->fenced, words);
    transfer(packing, &s->crashes_left, 1);
    transfer(packing, &s->fifo_bytes, 1);
    transfer(packing, &s->listeners, 1);
    transfer(packing, &s->bell_waits, 1);
    transfer(packing, &s->message_count, sizeof s->message_count);
    for (unsigned p = 0; p < now.scenario->parties; p++)
        transfer_party(packing, &s->party[p], now.scenario->local_size[p]);
    transfer(packing, s->plain, now.plain_bytes);
    transfer(packing, s->ghost, sizeof s->ghost);
    for (unsigned m = 0; m < s->message_count; m++) {
        transfer(packing, &s->message[m].value, 8);
        transfer(packing, s->message[m].view, words);
    }
    return packing->at;
}

size_t race_pack(const struct race_state *state, uint8_t *bytes)
{
    struct packing packing = {.to = bytes};
    return transfer_all(&packing, (struct race_state *)(uintptr_t)state);
}

void race_unpack(struct race_state *state, const uint8_t *bytes)
{
    struct packing packing = {.from = bytes};
    memset(state, 0, offsetof(struct race_state, message));
    transfer_all(&packing, state);
}
