/* Time, processes and threads. */
#include "test/sim/kernel.h"

#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "common/check.h"
#include "test/sim/random.h"

#define THREADS_MAX 64
#define STACK_SIZE  (96u * 1024u)

/* A thread that was woken or created runs a little later: the scheduler's latency. */
#define WAKE_US_MAX 60

enum thread_state { THREAD_FREE, THREAD_READY };

struct sim_thread {
    enum thread_state state;
    bool entered;
    struct sim_process *process;
    int64_t wake_us;
    const void *channels[2]; /* of sim_wait_on */
    jmp_buf context;
    void *stack; /* stays with the slot */
    void *(*start)(void *);
    void *argument;
    bool is_main;
    uint64_t number; /* as pthread_t */
};

struct event {
    int64_t at_us;
    uint64_t order;
    sim_action *run;
    void *context;
    uint64_t value;
};

int64_t sim_now_us;
int sim_stores_left, sim_accesses_left;
int sim_preempt_accesses;
int64_t sim_preempt_us;
char sim_failure[512];
uint64_t sim_digest;
bool sim_tracing;
struct sim_tally sim_tally;
uint64_t sim_random_state[4];

static struct sim_thread threads[THREADS_MAX];
static unsigned thread_count; /* slots ever used in this seed */
static struct sim_thread *current;
static uint64_t threads_started;
static jmp_buf scheduler;

static struct event *events; /* binary heap */
static size_t event_count, event_capacity;
static uint64_t event_order;
static int64_t next_due_us; /* of everything but the running thread: until then it may spend */

/* ------------------------------------------------------------------ failures */

void sim_say(const char *format, ...)
{
    if (!sim_tracing)
        return;
    va_list arguments;
    va_start(arguments, format);
    printf("%5lld.%06lld  %-9s ", (long long)(sim_now_us / 1000000),
           (long long)(sim_now_us % 1000000), current ? current->process->name : "");
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
}

static _Noreturn void leave_for_good(void)
{
    _longjmp(scheduler, 1);
}

void sim_fail(const char *format, ...)
{
    if (!sim_failure[0]) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(sim_failure, sizeof sim_failure, format, arguments);
        va_end(arguments);
        sim_say("FAILED: %s", sim_failure);
    }
    if (current)
        leave_for_good();
}

static jmp_buf guard;
static bool is_guarded;

void sim_guarded(void (*part)(void))
{
    is_guarded = true;
    if (_setjmp(guard) == 0)
        part();
    is_guarded = false;
}

void sim_leave_guarded(void)
{
    if (current)
        leave_for_good();
    if (is_guarded)
        _longjmp(guard, 1);
    fprintf(stderr, "outside of every seed: %s\n", sim_failure);
    _Exit(1);
}

/* -------------------------------------------------------------------- events */

static bool is_before(const struct event *a, const struct event *b)
{
    return a->at_us != b->at_us ? a->at_us < b->at_us : a->order < b->order;
}

void sim_at(int64_t at_us, sim_action *run, void *context, uint64_t value)
{
    if (event_count == event_capacity) {
        event_capacity = event_capacity ? 2 * event_capacity : 256;
        events = sim_own_realloc(events, event_capacity * sizeof *events);
    }
    struct event event = {at_us > sim_now_us ? at_us : sim_now_us, event_order++, run, context,
                          value};
    size_t i = event_count++;
    for (; i > 0 && is_before(&event, &events[(i - 1) / 2]); i = (i - 1) / 2)
        events[i] = events[(i - 1) / 2];
    events[i] = event;
    if (event.at_us < next_due_us)
        next_due_us = event.at_us;
}

static struct event pop_event(void)
{
    struct event first = events[0], moved = events[--event_count];
    size_t i = 0;
    for (size_t child; (child = 2 * i + 1) < event_count; i = child) {
        if (child + 1 < event_count && is_before(&events[child + 1], &events[child]))
            child++;
        if (!is_before(&events[child], &moved))
            break;
        events[i] = events[child];
    }
    events[i] = moved;
    return first;
}

/* ------------------------------------------------------------------ switching */

/* Over at the processor's end: the counters of step.h are for the next one. */
static void load_counters(const struct sim_thread *thread)
{
    sim_stores_left =
        thread && thread->process->fate != SIM_LIVE ? thread->process->fate_stores : INT_MAX;
    sim_accesses_left = thread && sim_preempt_accesses
                            ? (int)sim_below(2 * (uint32_t)sim_preempt_accesses)
                            : INT_MAX;
}

static void save_counters(void)
{
    if (current->process->fate != SIM_LIVE)
        current->process->fate_stores = sim_stores_left > 0 ? sim_stores_left : 0;
}

/* Back to the scheduler, to go on here when it is this thread's turn again. */
static void leave(void)
{
    if (_setjmp(current->context) == 0) {
        save_counters();
        leave_for_good();
    }
}

static void end_thread(void)
{
    struct sim_thread *thread = current;
    thread->state = THREAD_FREE;
    if (thread->is_main)
        sim_process_kill(thread->process); /* its own end: nothing is left to run */
    sim_wake(thread);
    leave_for_good();
}

static void enter(void)
{
    (void)current->start(current->argument);
    end_thread();
}

static __attribute__((noinline)) void begin_on_own_stack(struct sim_thread *thread)
{
    static ucontext_t context;
    if (!thread->stack)
        thread->stack = sim_own_realloc(NULL, STACK_SIZE);
    CHECK(getcontext(&context) == 0);
    context.uc_stack.ss_sp = thread->stack;
    context.uc_stack.ss_size = STACK_SIZE;
    context.uc_link = NULL;
    makecontext(&context, enter, 0);
    thread->entered = true;
    setcontext(&context);
    CHECK(!"setcontext returned");
}

/* Nothing but the switch: no local of it outlives the jump. */
static __attribute__((noinline)) void run_thread(struct sim_thread *thread)
{
    if (_setjmp(scheduler) == 0) {
        if (thread->entered)
            _longjmp(thread->context, 1);
        begin_on_own_stack(thread);
    }
}

static int64_t ready_at(const struct sim_thread *thread)
{
    int64_t stopped_us = thread->process->stopped_until_us;
    return thread->wake_us > stopped_us ? thread->wake_us : stopped_us;
}

/* The first to run; *second_us: when the next one is. */
static struct sim_thread *find_first(int64_t *second_us)
{
    struct sim_thread *first = NULL;
    int64_t first_us = SIM_NEVER;
    *second_us = SIM_NEVER;
    for (unsigned i = 0; i < thread_count; i++) {
        if (threads[i].state != THREAD_READY)
            continue;
        int64_t at_us = ready_at(&threads[i]);
        if (at_us < first_us || !first) {
            *second_us = first_us;
            first_us = at_us;
            first = &threads[i];
        } else if (at_us < *second_us) {
            *second_us = at_us;
        }
    }
    return first;
}

static void advance(int64_t to_us)
{
    if (to_us > sim_now_us)
        sim_now_us = to_us;
}

static void take_turn(struct sim_thread *thread, int64_t second_us)
{
    next_due_us = second_us;
    if (event_count > 0 && events[0].at_us < next_due_us)
        next_due_us = events[0].at_us;
    advance(ready_at(thread));
    sim_digest_add((uint64_t)sim_now_us ^ thread->number << 48);
    thread->channels[0] = thread->channels[1] = NULL;
    sim_tally.switches++;
    current = thread;
    load_counters(thread);
    run_thread(thread);
    current = NULL;
    load_counters(NULL);
}

void sim_run(bool (*done)(void))
{
    while (!sim_failure[0] && !done()) {
        int64_t second_us;
        struct sim_thread *thread = find_first(&second_us);
        if (event_count > 0 && (!thread || events[0].at_us <= ready_at(thread))) {
            struct event event = pop_event();
            advance(event.at_us);
            sim_tally.events++;
            event.run(event.context, event.value);
        } else if (thread && ready_at(thread) < SIM_NEVER) {
            take_turn(thread, second_us);
        } else {
            sim_fail("nothing will ever happen again");
        }
    }
}

/* -------------------------------------------------------------------- waiting */

void sim_sleep_until(int64_t at_us)
{
    CHECK(current != NULL);
    current->wake_us = at_us;
    leave();
}

void sim_spend(int64_t us)
{
    if (sim_now_us + us < next_due_us)
        sim_now_us += us;
    else
        sim_sleep_until(sim_now_us + us);
}

void sim_wait_on(const void *channel, const void *other_channel, int64_t until_us)
{
    current->channels[0] = channel;
    current->channels[1] = other_channel;
    sim_sleep_until(until_us);
}

void sim_wake(const void *channel)
{
    for (unsigned i = 0; i < thread_count; i++) {
        struct sim_thread *thread = &threads[i];
        if (thread->state != THREAD_READY ||
            (thread->channels[0] != channel && thread->channels[1] != channel))
            continue;
        int64_t at_us = sim_now_us + sim_below(WAKE_US_MAX);
        if (at_us < thread->wake_us)
            thread->wake_us = at_us;
        if (at_us < next_due_us)
            next_due_us = at_us;
    }
}

/* ------------------------------------------------------------------ processes */

struct sim_process *sim_process_current(void)
{
    return current ? current->process : NULL;
}

static struct sim_thread *new_thread(struct sim_process *process, void *(*start)(void *),
                                     void *argument)
{
    unsigned i = 0;
    while (i < thread_count && threads[i].state != THREAD_FREE)
        i++;
    CHECK(i < THREADS_MAX);
    if (i == thread_count)
        thread_count++;
    void *stack = threads[i].stack;
    threads[i] = (struct sim_thread){
        .state = THREAD_READY,
        .process = process,
        .wake_us = sim_now_us + sim_below(WAKE_US_MAX),
        .stack = stack,
        .start = start,
        .argument = argument,
        .number = ++threads_started,
    };
    if (threads[i].wake_us < next_due_us)
        next_due_us = threads[i].wake_us;
    return &threads[i];
}

struct main_call {
    void (*main)(void *);
    void *argument;
};

static void *call_main(void *context)
{
    struct main_call *call = context;
    call->main(call->argument);
    return NULL;
}

void sim_process_start(struct sim_process *process, const char *name, void (*main)(void *),
                       void *argument)
{
    static struct main_call calls[THREADS_MAX];
    CHECK(!process->alive);
    process->alive = true;
    process->life++;
    process->stopped_until_us = 0;
    process->fate = SIM_LIVE;
    snprintf(process->name, sizeof process->name, "%s", name);
    struct sim_thread *thread = new_thread(process, call_main, NULL);
    thread->is_main = true;
    thread->argument = &calls[thread - threads];
    calls[thread - threads] = (struct main_call){main, argument};
}

void sim_process_kill(struct sim_process *process)
{
    if (!process->alive)
        return;
    process->alive = false;
    process->fate = SIM_LIVE;
    for (unsigned i = 0; i < thread_count; i++)
        if (threads[i].process == process)
            threads[i].state = THREAD_FREE;
    sim_files_close_all(process);
    if (process->on_death)
        process->on_death(process);
    sim_memory_release(process);
}

void sim_process_stop(struct sim_process *process, int64_t for_us)
{
    process->stopped_until_us = sim_now_us + for_us;
    sim_tally.stops++;
    sim_say("(%s is stopped for %lld ms)", process->name, (long long)for_us / 1000);
}

void sim_process_doom(struct sim_process *process, enum sim_fate fate, int stores, int64_t for_us)
{
    process->fate = fate;
    process->fate_stores = stores;
    process->fate_us = for_us;
    process->fate_point = -1;
}

/* ---------------------------------------------------------------------- steps */

void sim_die_here(void)
{
    sim_tally.kills_at_store++;
    sim_process_kill(current->process);
    leave_for_good();
}

void sim_fate_is_due(void)
{
    if (!current || current->process->fate == SIM_LIVE) {
        sim_stores_left = INT_MAX;
        return;
    }
    struct sim_process *process = current->process;
    if (process->fate == SIM_KILL) {
        sim_say("(killed at this store)");
        sim_die_here();
    }
    process->fate = SIM_LIVE;
    sim_stores_left = INT_MAX;
    sim_process_stop(process, process->fate_us);
    sim_sleep_until(sim_now_us);
}

void sim_let_others_run(void)
{
    sim_accesses_left = INT_MAX;
    if (!current || !sim_preempt_accesses)
        return;
    sim_tally.steps_preempted++;
    sim_sleep_until(sim_now_us + sim_between(0, sim_preempt_us));
}

/* ---------------------------------------------------------------- begin and end */

void sim_kernel_begin(void)
{
    sim_now_us = 0;
    sim_failure[0] = '\0';
    sim_digest = 0;
    event_count = 0;
    event_order = 0;
    next_due_us = SIM_NEVER;
    threads_started = 0;
    current = NULL;
    load_counters(NULL);
    sim_files_begin();
}

void sim_kernel_end(void)
{
    for (unsigned i = 0; i < thread_count; i++) {
        struct sim_process *process = threads[i].process;
        if (threads[i].state == THREAD_FREE || !process->alive)
            continue;
        process->on_death = NULL;
        sim_process_kill(process);
    }
    thread_count = 0;
}

/* ------------------------------------------------- what production code calls */

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument);
int __wrap_pthread_join(pthread_t id, void **result);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
pid_t __wrap_getpid(void);

int __wrap_pthread_create(pthread_t *id, const pthread_attr_t *attributes, void *(*start)(void *),
                          void *argument)
{
    (void)attributes;
    sim_store();
    *id = (pthread_t)new_thread(current->process, start, argument)->number;
    return 0;
}

static struct sim_thread *find_thread(uint64_t number)
{
    for (unsigned i = 0; i < thread_count; i++)
        if (threads[i].state == THREAD_READY && threads[i].number == number)
            return &threads[i];
    return NULL;
}

int __wrap_pthread_join(pthread_t id, void **result)
{
    struct sim_thread *thread;
    while ((thread = find_thread((uint64_t)id)) != NULL)
        sim_wait_on(thread, NULL, SIM_NEVER);
    if (result)
        *result = NULL;
    return 0;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
    (void)left;
    sim_sleep_until(sim_now_us + (int64_t)time->tv_sec * 1000000 + time->tv_nsec / 1000 + 1);
    return 0;
}

pid_t __wrap_getpid(void)
{
    return current ? (pid_t)(1000 + current->number) : 1;
}
