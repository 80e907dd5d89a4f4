/* The kernel and the machine under a simulated gateway, single-threaded and without a clock of its
 * own: processes with threads, files, FIFOs, locks and memory, and time that moves only when
 * everybody waits.
 *
 * A thread is a coroutine on a stack of its own. It runs until it waits (upstream_wait,
 * shm_futex_wait, nanosleep, pthread_join), until it has spent its time, or until one of its steps
 * (step.h) takes it off the processor. A process that is killed never runs again: its descriptors
 * are closed, which frees its locks, and its memory is given back, as it was: no destructor, no
 * cleanup label.
 *
 * The production objects call this through the linker (--wrap, see the Makefile): open, read,
 * write, fcntl, mmap, malloc, pthread_create, nanosleep and their like end in files.c, memory.c
 * and threads.c. Nothing here asks the real machine for anything but memory.
 */
#ifndef PAYRING_TEST_SIM_KERNEL_H
#define PAYRING_TEST_SIM_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SIM_NEVER INT64_MAX

/* ---- time: microseconds since the seed's beginning ---- */

extern int64_t sim_now_us;

/* Do something then. Events of one moment run in the order in which they were asked for. */
typedef void sim_action(void *context, uint64_t value);
void sim_at(int64_t at_us, sim_action *, void *context, uint64_t value);

/* ---- processes ---- */

enum sim_fate {
    SIM_LIVE,
    SIM_KILL, /* as by SIGKILL */
    SIM_STOP, /* as by SIGSTOP, and SIGCONT after fate_us */
};

struct sim_thread;
struct sim_memory;

struct sim_process {
    char name[24];
    bool alive;
    unsigned life;            /* goes up with each start: a stale event is told by it */
    int64_t stopped_until_us; /* its threads do not run before that */
    enum sim_fate fate;       /* what awaits it after fate_stores more stores */
    int fate_stores;
    int fate_point; /* SIM_KILL: when it visits this crash point, if that comes before; -1: none */
    int64_t fate_us;
    struct sim_memory *memory;              /* all that it allocated */
    void (*on_death)(struct sim_process *); /* however it ended; NULL: nobody cares */
    void *owner;                            /* on_death's */
};

/* Start it with one thread that runs main(argument); it ends when main returns. */
void sim_process_start(struct sim_process *, const char *name, void (*main)(void *),
                       void *argument);
void sim_process_kill(struct sim_process *);
void sim_process_stop(struct sim_process *, int64_t for_us);
/* Let the fate come after so many stores, whichever of its threads makes them. */
void sim_process_doom(struct sim_process *, enum sim_fate, int stores, int64_t for_us);

/* The running process dies now, in the midst of what it does. */
_Noreturn void sim_die_here(void);

/* Named points to die at (crash_points.c): what became of them. */
unsigned sim_points_report(void);

/* Those before the journal's, which there is none of in here. */
#define SIM_POINT_COUNT ((unsigned)CRASH_POINT_journal_record_written)

/* The process whose thread is running; NULL: the simulator itself. */
struct sim_process *sim_process_current(void);

/* ---- threads ---- */

/* How often a thread loses the processor in the midst of its work: after so many accesses on
 * average, for up to so long. 0: never. Chosen anew for each seed. */
extern int sim_preempt_accesses;
extern int64_t sim_preempt_us;

/* Of the thread that runs. sim_spend is work: others run meanwhile if their time comes. */
void sim_sleep_until(int64_t at_us);
void sim_spend(int64_t us);

/* Wait until somebody wakes this channel, or the time is over. A channel is any address. */
void sim_wait_on(const void *channel, const void *other_channel, int64_t until_us);
void sim_wake(const void *channel);

/* ---- a seed ---- */

void sim_kernel_begin(void);
/* Until `done` says so (asked after each event and turn), or something failed. */
void sim_run(bool (*done)(void));
void sim_kernel_end(void);

/* The seed has failed: remember the first reason, and run nothing more. Does not return to a
 * thread. */
void sim_fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
extern char sim_failure[512]; /* empty: none */

/* Run `part` and come back, at the latest at a CHECK that fails in it: of the simulator's own calls
 * of production code, which no thread makes. */
void sim_guarded(void (*part)(void));
_Noreturn void sim_leave_guarded(void);

/* Everything that happened, as one number: two runs of a seed must agree. */
extern uint64_t sim_digest;
static inline void sim_digest_add(uint64_t value)
{
    sim_digest = (sim_digest ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    sim_digest ^= sim_digest >> 29;
}

/* A line of the trace, if one is wanted. */
extern bool sim_tracing;
void sim_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* ---- files.c, memory.c ---- */

void sim_files_begin(void);
bool sim_file_exists(const char *path);
/* What poll would say, and what to wait on until it says otherwise (for upstream_wait). */
bool sim_fd_is_readable(int fd, const void **channel);
void sim_files_close_all(struct sim_process *);
void sim_memory_release(struct sim_process *);
void *sim_own_realloc(void *place, size_t size); /* for what belongs to no process */

/* ---- counted for the report ---- */

struct sim_tally {
    uint64_t switches, steps_preempted, kills, kills_at_store, stops, events;
};
extern struct sim_tally sim_tally;

#endif
