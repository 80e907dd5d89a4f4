/* payringctl reconcile: what the processors' books say of the payments here.
 *
 *   records ──▶ candidates in the window ──▶ a sample? ──▶ ask both books, a few at a time
 *                                                            │
 *   differences ◀── judge, with our record as it stands now ◀┘
 *
 * Beside the running gateway: a record that has ended never changes, so what a book says later can
 * be held against it. One that is pinned is looked at again after the books have answered, and if
 * it stands there, once more when its lane has had the time to find that out by itself.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/money.h"
#include "shm/shm_archive.h"
#include "shm/shm_payments.h"
#include "shm/shm_show.h"
#include "worker/ctl.h"
#include "worker/payment_protocol.h"
#include "worker/upstream.h"

/* Payments whose books are being asked at the same time: a processor serves 800 requests at once,
 * and these must not be felt. */
#define ASKING_MAX 16

/* A book that does not answer is asked again after a pause, so often. */
#define TRIES_MAX      3
#define RETRY_PAUSE_US 200000
#define UNANSWERED_MAX                                                                             \
    20 /* payments in a row for which one processor said nothing: it is not there */
#define WAIT_MAX_MS     100
#define POST_TIMEOUT_MS 30000 /* none is sent */

/* A lane sends a pinned payment again within a second, if its processor answers. */
#define SECOND_LOOK_US 3000000

struct candidate {
    struct uuid id;
    struct shm_payment_snapshot record; /* as it was when it was chosen */
    int64_t not_before_us;              /* of a second look, monotonic; 0: the first */
};

/* What one book said. */
struct said {
    enum upstream_outcome outcome; /* FOUND, ABSENT, or anything else: nothing that counts */
    int64_t amount_cents, requested_at_us;
    unsigned tries;
    bool is_out, is_done;
    int64_t again_us; /* monotonic: when it may be asked again */
};

struct asking {
    bool used;
    size_t candidate;
    struct said said[SHM_PROCESSORS];
};

struct reconcile {
    const struct ctl *ctl;
    struct shm_region region;
    struct upstream *upstream;
    struct candidate *candidates;
    size_t count, room, next;
    size_t second_looks; /* candidates that stand there twice */
    struct asking asking[ASKING_MAX];
    int64_t next_us;                 /* monotonic: the next look-up may leave */
    unsigned silent[SHM_PROCESSORS]; /* payments in a row */
    bool gone[SHM_PROCESSORS];       /* given up */
    bool no_memory;
    /* for the report */
    uint64_t rows, settled_found, settled_asked, others_asked, unread, in_motion;
    uint64_t unanswered, differences;
    uint64_t seed;
};

/* ----------------------------------------------------------------- candidates */

static bool is_pinned(const struct shm_payment_snapshot *s)
{
    return s->state == PAYMENT_SENT && (s->flags & PAYMENT_FLAG_UNKNOWN);
}

/* A payment that was never bound has no requestedAt: when it was accepted tells the window. */
static int64_t time_of(const struct shm_payment_snapshot *s)
{
    return s->requested_at_us ? s->requested_at_us : s->accepted_at_ms * 1000;
}

static void append(struct reconcile *r, const struct candidate *candidate)
{
    if (r->count == r->room) {
        size_t room = r->room ? 2 * r->room : 1024;
        struct candidate *larger = realloc(r->candidates, room * sizeof *larger);
        r->no_memory |= !larger;
        if (!larger)
            return;
        r->candidates = larger;
        r->room = room;
    }
    r->candidates[r->count++] = *candidate;
}

static void consider(struct reconcile *r, const struct shm_payment_snapshot *s)
{
    const struct shm_window *window = &r->ctl->window;
    bool wanted = payment_state_is_terminal(s->state) || is_pinned(s);
    if (!wanted || time_of(s) < window->from_us || time_of(s) > window->to_us)
        return;
    append(r, &(struct candidate){.id = s->id, .record = *s});
    r->settled_found += s->state == PAYMENT_SETTLED;
}

/* Records first, rows after: whatever has a record by then has its row counted. */
static enum ctl_exit collect(struct reconcile *r)
{
    struct shm_totals totals = {{0}, {0}};
    struct explain why = {{0}};
    for (unsigned lane = 0; lane < r->region.geometry.lanes; lane++) {
        struct shm_payments payments;
        struct shm_payment_snapshot s;
        shm_payments_open(&payments, &r->region, lane);
        for (uint32_t i = 0; i < payments.slots; i++)
            if (shm_payments_read(&payments, i, &s))
                consider(r, &s);
            else
                r->unread++;
    }
    if (r->no_memory)
        return ctl_complain(CTL_FAILED, "out of memory for that many payments");
    if (shm_ledger_sum_or_say(&r->region, &r->ctl->window, &totals, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    r->rows = totals.payments[0] + totals.payments[1];
    return CTL_DONE;
}

static uint64_t random_below(uint64_t *state, uint64_t bound)
{
    /* SplitMix64: the same sample for the same seed and the same records. */
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return (uint64_t)(((unsigned __int128)(z ^ z >> 31) * bound) >> 64);
}

/* The first `sample` places get a candidate each, every one as likely. */
static void choose_sample(struct reconcile *r)
{
    r->seed = r->ctl->has_seed ? r->ctl->seed : (uint64_t)clock_wall_us();
    if (r->ctl->sample == 0 || r->ctl->sample >= r->count)
        return;
    uint64_t chance = r->seed;
    for (size_t i = 0; i < r->ctl->sample; i++) {
        size_t j = i + (size_t)random_below(&chance, r->count - i);
        struct candidate swap = r->candidates[i];
        r->candidates[i] = r->candidates[j];
        r->candidates[j] = swap;
    }
    r->count = (size_t)r->ctl->sample;
}

/* -------------------------------------------------------------------- judging */

static bool is_json(const struct reconcile *r)
{
    return r->ctl->format == CTL_FORMAT_JSON;
}

static void put_book(const char *name, const struct said *said)
{
    char amount[MONEY_TEXT_SIZE], time[ISO8601_TEXT_SIZE];
    money_format_cents(amount, said->amount_cents);
    ctl_format_us(time, said->requested_at_us);
    printf(said->outcome == UPSTREAM_FOUND ? ",\"%s\":{\"amount\":%s,\"requestedAt\":\"%s\"}"
                                           : ",\"%s\":null",
           name, amount, time);
}

static void put_json(struct reconcile *r, const char *what, const char *id,
                     const struct shm_payment_snapshot *s, const struct said said[SHM_PROCESSORS])
{
    char amount[MONEY_TEXT_SIZE], time[ISO8601_TEXT_SIZE];
    money_format_cents(amount, s->amount_cents);
    ctl_format_us(time, time_of(s));
    printf("%s\n{\"difference\":\"%s\",\"correlationId\":\"%s\",\"state\":\"%s\",\"amount\":%s,"
           "\"processor\":\"%s\",\"requestedAt\":\"%s\"",
           r->differences > 1 ? "," : "", what, id, shm_payments_state_name(s->state), amount,
           s->requested_at_us ? shm_show_processor_name(s->processor) : "none", time);
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        put_book(shm_show_processor_name(p), &said[p]);
    putchar('}');
}

static void put_text(const char *what, const char *id, const struct shm_payment_snapshot *s,
                     const struct said said[SHM_PROCESSORS])
{
    char amount[MONEY_TEXT_SIZE], time[ISO8601_TEXT_SIZE];
    money_format_cents(amount, s->amount_cents);
    ctl_format_us(time, time_of(s));
    printf("%s: %s; here %s %s %s %s", id, what, shm_payments_state_name(s->state), amount,
           s->requested_at_us ? shm_show_processor_name(s->processor) : "-", time);
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        money_format_cents(amount, said[p].amount_cents);
        ctl_format_us(time, said[p].requested_at_us);
        printf(said[p].outcome == UPSTREAM_FOUND ? "; %s %s %s" : "; %s has none",
               shm_show_processor_name(p), amount, time);
    }
    putchar('\n');
}

static void differ(struct reconcile *r, const char *what, const struct candidate *candidate,
                   const struct said said[SHM_PROCESSORS])
{
    char id[UUID_TEXT_LENGTH + 1];
    uuid_format(id, &candidate->id);
    r->differences++;
    if (is_json(r))
        put_json(r, what, id, &candidate->record, said);
    else
        put_text(what, id, &candidate->record, said);
}

static const char *judge_settled(const struct shm_payment_snapshot *s,
                                 const struct said said[SHM_PROCESSORS])
{
    const struct said *book = &said[s->processor];
    if (book->outcome == UPSTREAM_ABSENT)
        return said[!s->processor].outcome == UPSTREAM_FOUND ? "in the other book" : "in no book";
    if (book->amount_cents != s->amount_cents)
        return "another amount";
    return book->requested_at_us != s->requested_at_us ? "another requestedAt" : NULL;
}

/* Both books have answered. NULL: as it should be. */
static const char *judge(const struct shm_payment_snapshot *s,
                         const struct said said[SHM_PROCESSORS])
{
    bool found[SHM_PROCESSORS] = {said[0].outcome == UPSTREAM_FOUND,
                                  said[1].outcome == UPSTREAM_FOUND};
    bool other_amount = (found[0] && said[0].amount_cents != s->amount_cents) ||
                        (found[1] && said[1].amount_cents != s->amount_cents);
    if (found[0] && found[1])
        return "charged twice";
    switch (s->state) {
    case PAYMENT_SETTLED:
        return judge_settled(s, said);
    case PAYMENT_DUPLICATE:
        return found[0] || found[1] ? NULL : "duplicate of nothing";
    case PAYMENT_CONFLICT:
        return other_amount ? NULL : "no conflict";
    case PAYMENT_REJECTED:
        return found[0] || found[1] ? "rejected but charged" : NULL;
    default:
        return found[0] || found[1] ? "pinned but found" : NULL;
    }
}

/* A pinned one's record as it stands now. false: nothing can be said of it, since it is neither
 * pinned any more nor has it ended, or its record is gone. */
static bool look_again(struct reconcile *r, struct candidate *candidate)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s;
    shm_payments_open(&payments, &r->region, shm_payments_lane_of(&r->region, &candidate->id));
    if (shm_payments_find(&payments, &candidate->id, &s) != SHM_PAYMENTS_HIT)
        return false;
    candidate->record = s;
    return payment_state_is_terminal(s.state) || is_pinned(&s);
}

static void conclude(struct reconcile *r, struct asking *asking)
{
    struct candidate *candidate = &r->candidates[asking->candidate];
    bool answered = true;
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        answered &=
            asking->said[p].outcome == UPSTREAM_FOUND || asking->said[p].outcome == UPSTREAM_ABSENT;
    asking->used = false;
    if (!answered) {
        r->unanswered++;
        return;
    }
    if (is_pinned(&candidate->record)) {
        if (!look_again(r, candidate)) {
            r->in_motion++;
            return;
        }
        /* It has ended since: the books may have been asked too early. Now it stays as it is. */
        if (payment_state_is_terminal(candidate->record.state)) {
            *asking = (struct asking){.used = true, .candidate = asking->candidate};
            return;
        }
        if (candidate->not_before_us == 0 && judge(&candidate->record, asking->said)) {
            struct candidate again = *candidate;
            again.not_before_us = clock_monotonic_us() + SECOND_LOOK_US;
            append(r, &again);
            r->second_looks += !r->no_memory;
            return;
        }
    }
    if (candidate->record.state == PAYMENT_SETTLED)
        r->settled_asked++;
    else
        r->others_asked++;
    const char *what = judge(&candidate->record, asking->said);
    if (what)
        differ(r, what, candidate, asking->said);
}

/* --------------------------------------------------------------------- asking */

static uint64_t ticket_of(const struct reconcile *r, const struct asking *asking)
{
    return (uint64_t)(asking - r->asking);
}

/* Ticket: the place among those being asked. */
static void on_completion(void *context, const struct upstream_completion *completion)
{
    struct reconcile *r = context;
    struct asking *asking = &r->asking[completion->ticket];
    struct said *said = &asking->said[completion->processor];
    said->is_out = false;
    said->outcome = completion->outcome;
    said->amount_cents = completion->stored_amount_cents;
    /* Digits below the microsecond were never ours (lane_payments.c). */
    said->requested_at_us =
        completion->stored_requested_at_us + !completion->stored_requested_at_is_exact;
    bool counts = said->outcome == UPSTREAM_FOUND || said->outcome == UPSTREAM_ABSENT;
    if (said->outcome != UPSTREAM_FOUND)
        said->amount_cents = said->requested_at_us = 0;
    said->is_done = counts || said->tries == TRIES_MAX;
    said->again_us = clock_monotonic_us() + RETRY_PAUSE_US;
    if (!said->is_done)
        return;
    r->silent[completion->processor] = counts ? 0 : r->silent[completion->processor] + 1;
    if (r->silent[completion->processor] >= UNANSWERED_MAX)
        r->gone[completion->processor] = true;
}

/* One look-up, if one may leave now; false: none may. */
static bool ask_one(struct reconcile *r, int64_t now_us)
{
    if (now_us < r->next_us)
        return false;
    for (size_t i = 0; i < ASKING_MAX; i++)
        for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
            struct asking *asking = &r->asking[i];
            struct said *said = &asking->said[p];
            if (!asking->used || said->is_out || said->is_done || now_us < said->again_us)
                continue;
            if (!upstream_try_lookup(r->upstream, (int)p, ticket_of(r, asking),
                                     &r->candidates[asking->candidate].id))
                return false;
            said->is_out = true;
            said->tries++;
            /* Time that was not used is not made up for: the rate holds over any second. */
            int64_t step_us = 1000000 / (int64_t)r->ctl->rate;
            r->next_us = (r->next_us + step_us > now_us - step_us ? r->next_us : now_us) + step_us;
            return true;
        }
    return false;
}

static bool is_given_up(const struct reconcile *r)
{
    return r->gone[0] || r->gone[1] || ctl_is_interrupted();
}

static void begin(struct reconcile *r, struct asking *asking)
{
    int64_t not_before_us = r->candidates[r->next].not_before_us;
    *asking = (struct asking){.used = true, .candidate = r->next++};
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        asking->said[p].again_us = not_before_us;
}

/* Take new ones into free places, conclude those that are done; false: all are through. */
static bool turn_places(struct reconcile *r)
{
    bool any = false;
    for (size_t i = 0; i < ASKING_MAX; i++) {
        struct asking *asking = &r->asking[i];
        if (asking->used && asking->said[0].is_done && asking->said[1].is_done)
            conclude(r, asking);
        if (!asking->used && r->next < r->count && !is_given_up(r))
            begin(r, asking);
        bool is_out = asking->said[0].is_out || asking->said[1].is_out;
        any |= asking->used && (!is_given_up(r) || is_out);
    }
    return any || (r->next < r->count && !is_given_up(r));
}

static void ask_all(struct reconcile *r)
{
    r->next_us = clock_monotonic_us();
    while (turn_places(r)) {
        int64_t now_us = clock_monotonic_us();
        while (!is_given_up(r) && ask_one(r, now_us))
            continue;
        upstream_perform(r->upstream, on_completion, r);
        int64_t wait_ms = (r->next_us - now_us + 999) / 1000;
        upstream_wait(r->upstream, -1,
                      wait_ms < 1             ? 1
                      : wait_ms > WAIT_MAX_MS ? WAIT_MAX_MS
                                              : wait_ms);
        upstream_perform(r->upstream, on_completion, r);
    }
}

/* ------------------------------------------------------------------ reporting */

static uint64_t not_asked(const struct reconcile *r)
{
    /* Of the places that were not concluded, too: interrupted, or a processor gone. */
    return r->count - r->second_looks - r->settled_asked - r->others_asked - r->in_motion -
           r->unanswered;
}

static bool is_complete(const struct reconcile *r)
{
    return r->unanswered == 0 && not_asked(r) == 0 && r->unread == 0;
}

static void report_json(const struct reconcile *r)
{
    printf("%s],\"complete\":%s,\"rows\":%" PRIu64 ",\"settledAsked\":%" PRIu64
           ",\"rowsWithoutRecord\":%" PRIu64 ",\"othersAsked\":%" PRIu64 ",\"inMotion\":%" PRIu64
           ",\"unanswered\":%" PRIu64 ",\"notAsked\":%" PRIu64 ",\"unread\":%" PRIu64
           ",\"sample\":%" PRIu64 ",\"seed\":%" PRIu64 "}\n",
           r->differences ? "\n" : "", is_complete(r) ? "true" : "false", r->rows, r->settled_asked,
           r->rows > r->settled_found ? r->rows - r->settled_found : 0, r->others_asked,
           r->in_motion, r->unanswered, not_asked(r), r->unread, r->ctl->sample, r->seed);
}

static void report_text(const struct reconcile *r)
{
    printf("%" PRIu64 " differences in %" PRIu64 " settled payments and %" PRIu64
           " pinned, duplicate, conflicting or rejected ones\n",
           r->differences, r->settled_asked, r->others_asked);
    printf("%" PRIu64 " rows in the window, %" PRIu64 " asked by id; %" PRIu64
           " have no record any more, and rows carry no ids: not asked\n",
           r->rows, r->settled_asked, r->rows > r->settled_found ? r->rows - r->settled_found : 0);
    if (r->ctl->sample)
        printf("a sample of %" PRIu64 ", --seed %" PRIu64 "\n", r->ctl->sample, r->seed);
    if (r->in_motion)
        printf("%" PRIu64 " were pinned and have moved meanwhile: not compared\n", r->in_motion);
}

static enum ctl_exit report(const struct reconcile *r)
{
    if (is_json(r))
        report_json(r);
    else
        report_text(r);
    enum ctl_exit result = ctl_finish(stdout, r->differences ? CTL_NO : CTL_DONE);
    if (r->no_memory)
        result = ctl_complain(CTL_FAILED, "out of memory for a second look at pinned payments");
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        if (r->gone[p])
            result = ctl_complain(CTL_FAILED, "%s does not answer: given up",
                                  shm_show_processor_name(p));
    if (!is_complete(r))
        result = ctl_complain(CTL_FAILED,
                              "not complete: no answer for %" PRIu64 " payments, %" PRIu64
                              " not asked%s, %" PRIu64 " records unreadable",
                              r->unanswered, not_asked(r),
                              ctl_is_interrupted() ? " (interrupted)" : "", r->unread);
    return result;
}

static enum ctl_exit run(struct reconcile *r)
{
    struct explain why;
    const struct config *config = r->ctl->config;
    struct upstream_settings settings = {
        .urls = {config->default_url, config->fallback_url},
        .post_timeout_ms = POST_TIMEOUT_MS,
        .lookup_timeout_ms = config->lookup_timeout_ms,
        .health_timeout_ms = config->lookup_timeout_ms,
        .transfers_max = ASKING_MAX,
    };
    r->upstream = upstream_create(&settings, &why);
    if (!r->upstream)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    enum ctl_exit result = collect(r);
    if (result == CTL_DONE) {
        choose_sample(r);
        if (is_json(r))
            fputs("{\"differences\":[", stdout);
        ask_all(r);
        result = report(r);
    }
    upstream_destroy(r->upstream);
    free(r->candidates);
    return result;
}

enum ctl_exit ctl_reconcile(struct ctl *ctl)
{
    struct explain why;
    static struct reconcile r;
    r = (struct reconcile){.ctl = ctl};
    ctl_catch_signals();
    if (shm_region_attach_read_only(&r.region, ctl->config->region, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    enum ctl_exit result = CTL_FAILED;
    if (shm_archive_open(&r.region, ctl->config->state_dir, &why) == STATUS_OK)
        result = run(&r);
    else
        ctl_complain(CTL_FAILED, "%s", why.text);
    shm_archive_close(&r.region);
    shm_region_detach(&r.region);
    return result;
}
