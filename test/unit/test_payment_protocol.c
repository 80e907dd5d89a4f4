/* The automaton, rule by rule (docs/ARCHITECTURE.md, "The protocol"): for an event, the exact
 * stores in their order, and the action. That every prefix of the stores is safe is what the model
 * shows; it runs this same object file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "shm/shm_payments.h"
#include "worker/payment_protocol.h"

enum { DEFAULT = 0, FALLBACK = 1 };

#define CENTS        1990
#define ACCEPTED_MS  INT64_C(1764000000000)
#define LOWEST_US    INT64_C(1764000001000000) /* the lowest time ever bound here */
#define BOUND_US     INT64_C(1764000005000000) /* of the payment in question */
#define EARLIER_US   (LOWEST_US - 1)           /* nothing of ours can be that early */
#define APPLIED      7u                        /* the last purge applied */
#define REFUSALS_MAX 3u                        /* 400s in a row that are lasting */
#define UNMARKED     INT64_MAX                 /* remembered, not adopted from a book */

static const struct uuid ID = {.hi = 0x1111, .lo = 0x2222};
static const struct payment_lane_view LANE = {
    .purge_applied = APPLIED, .lowest_bound_us = LOWEST_US, .refusals_max = REFUSALS_MAX};

/* ------------------------------------------------------------------------ vocabulary */

static struct payment_view payment_in(enum payment_state state, unsigned flags)
{
    if (state == PAYMENT_FREE)
        return (struct payment_view){.state = PAYMENT_FREE};
    return (struct payment_view){
        .state = state,
        .processor = state == PAYMENT_QUEUED ? DEFAULT : FALLBACK,
        .flags = flags,
        .id = ID,
        .amount_cents = CENTS,
        .accepted_at_ms = ACCEPTED_MS,
        .requested_at_us = state == PAYMENT_QUEUED ? 0 : BOUND_US,
        .row_named = state == PAYMENT_SETTLED,
        .purge_generation = APPLIED,
    };
}

static struct payment_view queued(unsigned flags)
{
    return payment_in(PAYMENT_QUEUED, flags);
}

/* Bound to the fallback, so that a forgotten processor shows: the default is 0. */
static struct payment_view sent(unsigned flags)
{
    return payment_in(PAYMENT_SENT, flags);
}

static struct payment_event event_of(enum payment_event_kind kind)
{
    return (struct payment_event){.kind = kind, .processor = FALLBACK};
}

static struct payment_event entry(int64_t amount_cents, uint64_t purge_generation)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_INTAKE,
                                  .id = ID,
                                  .amount_cents = amount_cents,
                                  .accepted_at_ms = ACCEPTED_MS,
                                  .purge_generation = purge_generation};
}

static struct payment_event bind_at(unsigned processor, int64_t now_ms)
{
    return (struct payment_event){
        .kind = PAYMENT_EVENT_BIND, .processor = processor, .now_ms = now_ms};
}

static struct payment_event found(unsigned processor, int64_t amount_cents, int64_t requested_at_us)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_FOUND,
                                  .processor = processor,
                                  .stored_amount_cents = amount_cents,
                                  .stored_requested_at_us = requested_at_us};
}

static struct payment_event absent(unsigned processor)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_ABSENT, .processor = processor};
}

static struct payment_event unanswered(unsigned processor)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_UNANSWERED, .processor = processor};
}

static struct payment_step step(struct payment_view payment, struct payment_event event)
{
    struct payment_step made;
    payment_protocol_step(&made, &payment, &LANE, &event);
    return made;
}

static void expect(struct payment_step made, enum payment_action action,
                   const struct payment_store *stores, unsigned count)
{
    for (unsigned i = 0; i < made.store_count && i < count; i++) {
        assert_int_equal(made.stores[i].kind, stores[i].kind);
        assert_int_equal(made.stores[i].processor, stores[i].processor);
        assert_int_equal(made.stores[i].value, stores[i].value);
    }
    assert_int_equal(made.store_count, count);
    assert_int_equal(made.action, action);
}

/* EXPECT(step, action, STORE(...), ...): exactly these stores, in this order, then the action. */
#define STORE(what, of_value)                                                                      \
    {                                                                                              \
        .kind = PAYMENT_STORE_##what, .value = (of_value)                                          \
    }
#define ROW(of_processor, us)                                                                      \
    {                                                                                              \
        .kind = PAYMENT_STORE_ROW, .processor = (of_processor), .value = (us)                      \
    }
#define EXPECT(made, action, ...)                                                                  \
    expect(made, PAYMENT_ACTION_##action, (const struct payment_store[]){__VA_ARGS__},             \
           sizeof((const struct payment_store[]){__VA_ARGS__}) / sizeof(struct payment_store))
#define EXPECT_NO_STORE(made, action) expect(made, PAYMENT_ACTION_##action, NULL, 0)

/* Rule 8: named, written, published; only then is the record what the row says. */
#define SETTLING(processor, us)                                                                    \
    STORE(ROW_NAME, 1), ROW(processor, us), STORE(ROW_COUNT, 0), STORE(PROCESSOR, processor),      \
        STORE(REQUESTED_AT, us), STORE(STATE, PAYMENT_SETTLED)

/* ---------------------------------------------------------------------------- intake */

static void intake_fills_a_free_record_then_queues_it_then_moves_the_head(void **state)
{
    (void)state;
    struct payment_step made = step(payment_in(PAYMENT_FREE, 0), entry(CENTS, APPLIED));
    EXPECT(made, READY, STORE(FIELDS, 0), STORE(STATE, PAYMENT_QUEUED), STORE(RING_HEAD, 0));
    assert_int_equal(made.intake, PAYMENT_INTAKE_TAKEN);
}

static void an_id_that_the_filter_knows_is_asked_for_and_never_counted_as_found(void **state)
{
    (void)state;
    struct payment_event event = entry(CENTS, APPLIED);
    event.remembered = true;
    EXPECT(step(payment_in(PAYMENT_FREE, 0), event), READY,
           STORE(FIELDS, PAYMENT_FLAG_SEEN | PAYMENT_FLAG_ASK), STORE(STATE, PAYMENT_QUEUED),
           STORE(RING_HEAD, 0));
}

static void in_a_young_region_an_id_is_asked_for(void **state)
{
    (void)state;
    struct payment_event event = entry(CENTS, APPLIED);
    event.ask_first = true;
    EXPECT(step(payment_in(PAYMENT_FREE, 0), event), READY, STORE(FIELDS, PAYMENT_FLAG_ASK),
           STORE(STATE, PAYMENT_QUEUED), STORE(RING_HEAD, 0));
}

/* Whatever became of the first one, REJECTED and SETTLED alike. */
static void a_copy_only_moves_the_head(void **state)
{
    (void)state;
    for (enum payment_state s = PAYMENT_QUEUED; s <= PAYMENT_REJECTED; s++) {
        struct payment_step made = step(payment_in(s, 0), entry(CENTS, APPLIED));
        EXPECT(made, NONE, STORE(RING_HEAD, 0));
        assert_int_equal(made.intake, PAYMENT_INTAKE_COPY);
    }
}

static void a_copy_with_another_amount_is_told_apart(void **state)
{
    (void)state;
    struct payment_step made = step(sent(0), entry(CENTS + 1, APPLIED));
    EXPECT(made, NONE, STORE(RING_HEAD, 0));
    assert_int_equal(made.intake, PAYMENT_INTAKE_CONFLICT);
}

static void an_entry_from_before_the_last_purge_is_dropped(void **state)
{
    (void)state;
    const struct payment_view records[] = {payment_in(PAYMENT_FREE, 0), sent(0)};
    for (unsigned i = 0; i < 2; i++) {
        struct payment_step made = step(records[i], entry(CENTS, APPLIED - 1));
        EXPECT(made, NONE, STORE(RING_HEAD, 0));
        assert_int_equal(made.intake, PAYMENT_INTAKE_PURGED);
    }
}

/* -------------------------------------------------------------- rule 1: bind, then send */

static void binding_is_stored_whole_before_the_post(void **state)
{
    (void)state;
    struct payment_step made = step(queued(0), bind_at(FALLBACK, BOUND_US / 1000));
    EXPECT(made, POST, STORE(PROCESSOR, FALLBACK), STORE(REQUESTED_AT, BOUND_US),
           STORE(STATE, PAYMENT_SENT));
    assert_int_equal(made.processor, FALLBACK);
}

/* Else a time could be bound that is "before anything ever bound here". */
static void a_new_lowest_time_is_stored_first_of_all(void **state)
{
    (void)state;
    const int64_t lower_ms = LOWEST_US / 1000 - 1;
    EXPECT(step(queued(0), bind_at(DEFAULT, lower_ms)), POST, STORE(LOWEST_BOUND, lower_ms * 1000),
           STORE(PROCESSOR, DEFAULT), STORE(REQUESTED_AT, lower_ms * 1000),
           STORE(STATE, PAYMENT_SENT));
    EXPECT(step(queued(0), bind_at(DEFAULT, LOWEST_US / 1000)), POST, STORE(PROCESSOR, DEFAULT),
           STORE(REQUESTED_AT, LOWEST_US), STORE(STATE, PAYMENT_SENT));
}

/* ----------------------------------------------------------------------- rule 2: a 200 */

static void a_200_settles_as_it_was_bound(void **state)
{
    (void)state;
    EXPECT(step(sent(0), event_of(PAYMENT_EVENT_ACCEPTED)), ENDED, SETTLING(FALLBACK, BOUND_US));
}

static void a_200_for_a_pinned_payment_settles_it_too(void **state)
{
    (void)state;
    EXPECT(step(sent(PAYMENT_FLAG_UNKNOWN), event_of(PAYMENT_EVENT_ACCEPTED)), ENDED,
           SETTLING(FALLBACK, BOUND_US));
}

/* ----------------------------------------------------------------------- rule 3: a 422 */

static void after_a_422_it_is_pinned_and_the_book_is_asked(void **state)
{
    (void)state;
    struct payment_step made = step(sent(0), event_of(PAYMENT_EVENT_EXISTS));
    EXPECT(made, LOOKUP, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN));
    assert_int_equal(made.processor, FALLBACK);
    EXPECT_NO_STORE(step(sent(PAYMENT_FLAG_UNKNOWN), event_of(PAYMENT_EVENT_EXISTS)), LOOKUP);
}

static void our_own_insert_settles(void **state)
{
    (void)state;
    EXPECT(step(sent(0), found(FALLBACK, CENTS, BOUND_US)), ENDED, SETTLING(FALLBACK, BOUND_US));
}

/* Even of an id that the filter knows: what was bound is ours beyond doubt. */
static void our_own_insert_settles_although_the_id_was_seen(void **state)
{
    (void)state;
    EXPECT(step(sent(PAYMENT_FLAG_SEEN | PAYMENT_FLAG_UNKNOWN), found(FALLBACK, CENTS, BOUND_US)),
           ENDED, SETTLING(FALLBACK, BOUND_US));
}

static void another_amount_in_the_book_is_a_conflict(void **state)
{
    (void)state;
    EXPECT(step(sent(0), found(FALLBACK, CENTS + 1, BOUND_US)), ENDED,
           STORE(STATE, PAYMENT_CONFLICT));
    EXPECT(step(sent(0), found(FALLBACK, CENTS - 1, EARLIER_US)), ENDED,
           STORE(STATE, PAYMENT_CONFLICT));
}

static void an_insert_older_than_anything_of_ours_is_adopted_with_its_own_time(void **state)
{
    (void)state;
    EXPECT(step(sent(0), found(FALLBACK, CENTS, EARLIER_US)), ENDED,
           SETTLING(FALLBACK, EARLIER_US));
}

static void an_insert_not_older_than_ours_may_have_been_counted(void **state)
{
    (void)state;
    EXPECT(step(sent(0), found(FALLBACK, CENTS, LOWEST_US)), ENDED,
           STORE(STATE, PAYMENT_DUPLICATE));
    EXPECT(step(sent(0), found(FALLBACK, CENTS, BOUND_US + 1)), ENDED,
           STORE(STATE, PAYMENT_DUPLICATE));
}

static void what_the_filter_knows_may_have_been_counted_however_old(void **state)
{
    (void)state;
    EXPECT(step(sent(PAYMENT_FLAG_SEEN), found(FALLBACK, CENTS, EARLIER_US)), ENDED,
           STORE(STATE, PAYMENT_DUPLICATE));
}

static void a_book_without_an_answer_is_asked_again(void **state)
{
    (void)state;
    struct payment_step made = step(sent(0), unanswered(FALLBACK));
    EXPECT_NO_STORE(made, RETRY_LOOKUP);
    assert_int_equal(made.processor, FALLBACK);
}

static void a_422_and_then_a_404_pins(void **state)
{
    (void)state;
    struct payment_step made = step(sent(0), absent(FALLBACK));
    EXPECT(made, RESEND, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN));
    assert_int_equal(made.processor, FALLBACK);
}

/* --------------------------------------------------------------- rule 4: a definite no */

static void a_refused_payment_is_queued_again(void **state)
{
    (void)state;
    EXPECT(step(sent(0), event_of(PAYMENT_EVENT_REFUSED)), READY, STORE(STATE, PAYMENT_QUEUED));
}

/* Accepted since the purge, a copy may have been answered because this record was seen. */
static void a_refused_survivor_of_a_purge_is_queued_again(void **state)
{
    (void)state;
    struct payment_view survivor = sent(0);
    survivor.purge_generation = APPLIED - 1;
    EXPECT(step(survivor, event_of(PAYMENT_EVENT_REFUSED)), READY, STORE(STATE, PAYMENT_QUEUED));
}

static void a_lasting_400_is_rejected(void **state)
{
    (void)state;
    struct payment_view payment = sent(0);
    for (payment.refusals = 0; payment.refusals + 1 < REFUSALS_MAX; payment.refusals++)
        EXPECT(step(payment, event_of(PAYMENT_EVENT_BAD_REQUEST)), READY,
               STORE(REFUSALS, payment.refusals + 1), STORE(STATE, PAYMENT_QUEUED));
    EXPECT(step(payment, event_of(PAYMENT_EVENT_BAD_REQUEST)), ENDED,
           STORE(STATE, PAYMENT_REJECTED));
}

static void another_refusal_in_between_starts_the_count_again(void **state)
{
    (void)state;
    struct payment_view payment = sent(0);
    payment.refusals = REFUSALS_MAX - 1;
    EXPECT(step(payment, event_of(PAYMENT_EVENT_REFUSED)), READY, STORE(REFUSALS, 0),
           STORE(STATE, PAYMENT_QUEUED));
}

/* ------------------------------------------------------------------- rule 5: pinned */

static void an_unknown_outcome_pins(void **state)
{
    (void)state;
    struct payment_step made = step(sent(0), event_of(PAYMENT_EVENT_UNKNOWN));
    EXPECT(made, RESEND, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN));
    assert_int_equal(made.processor, FALLBACK);
}

static void pinning_keeps_what_is_known_of_the_id(void **state)
{
    (void)state;
    EXPECT(step(sent(PAYMENT_FLAG_SEEN), event_of(PAYMENT_EVENT_UNKNOWN)), RESEND,
           STORE(FLAGS, PAYMENT_FLAG_SEEN | PAYMENT_FLAG_UNKNOWN));
}

static void a_pinned_payment_is_resent_as_it_was(void **state)
{
    (void)state;
    struct payment_step made = step(sent(PAYMENT_FLAG_UNKNOWN), event_of(PAYMENT_EVENT_RESEND));
    EXPECT_NO_STORE(made, POST);
    assert_int_equal(made.processor, FALLBACK);
}

/* Not even the third 400: the first attempt may still be executed. */
static void once_pinned_nothing_but_200_and_422_counts(void **state)
{
    (void)state;
    const enum payment_event_kind kinds[] = {PAYMENT_EVENT_REFUSED, PAYMENT_EVENT_BAD_REQUEST,
                                             PAYMENT_EVENT_UNKNOWN, PAYMENT_EVENT_ABSENT};
    for (unsigned i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct payment_view pinned = sent(PAYMENT_FLAG_UNKNOWN);
        pinned.refusals = REFUSALS_MAX - 1;
        struct payment_step made = step(pinned, event_of(kinds[i]));
        EXPECT_NO_STORE(made, RESEND);
        assert_int_equal(made.processor, FALLBACK);
    }
}

/* ---------------------------------------------------------------- rule 8: taking over */

static struct payment_event take_over(bool row_published)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_TAKE_OVER,
                                  .row_published = row_published,
                                  .processor = DEFAULT,
                                  .stored_requested_at_us = EARLIER_US};
}

static void what_was_queued_stays_queued(void **state)
{
    (void)state;
    EXPECT_NO_STORE(step(queued(PAYMENT_FLAG_ASK), take_over(false)), READY);
    EXPECT_NO_STORE(step(queued(0), take_over(true)), READY); /* names no row: not its row */
}

static void what_was_sent_is_unknown(void **state)
{
    (void)state;
    struct payment_step made = step(sent(0), take_over(false));
    EXPECT(made, RESEND, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN));
    assert_int_equal(made.processor, FALLBACK);
    EXPECT_NO_STORE(step(sent(PAYMENT_FLAG_UNKNOWN), take_over(false)), RESEND);
}

/* An adopted payment's row may differ from what was bound, hence the row's values. */
static void a_named_and_published_row_settles_with_its_values(void **state)
{
    (void)state;
    const struct payment_view views[] = {queued(PAYMENT_FLAG_ASK), sent(PAYMENT_FLAG_UNKNOWN)};
    for (unsigned i = 0; i < 2; i++) {
        struct payment_view payment = views[i];
        payment.row_named = true;
        EXPECT(step(payment, take_over(true)), ENDED, STORE(PROCESSOR, DEFAULT),
               STORE(REQUESTED_AT, EARLIER_US), STORE(STATE, PAYMENT_SETTLED));
    }
}

static void a_name_without_a_published_row_is_cleared(void **state)
{
    (void)state;
    struct payment_view payment = sent(0);
    payment.row_named = true;
    EXPECT(step(payment, take_over(false)), RESEND, STORE(ROW_NAME, 0),
           STORE(FLAGS, PAYMENT_FLAG_UNKNOWN));
    payment = queued(PAYMENT_FLAG_ASK);
    payment.row_named = true;
    EXPECT(step(payment, take_over(false)), READY, STORE(ROW_NAME, 0));
}

static void what_has_ended_is_left_alone(void **state)
{
    (void)state;
    EXPECT_NO_STORE(step(payment_in(PAYMENT_FREE, 0), take_over(false)), NONE);
    for (enum payment_state s = PAYMENT_SETTLED; s <= PAYMENT_REJECTED; s++)
        EXPECT_NO_STORE(step(payment_in(s, 0), take_over(true)), NONE);
}

/* ----------------------------------------------------- rule 9: forgetting and asking */

static void every_ended_payment_is_remembered_before_its_record_is_free(void **state)
{
    (void)state;
    for (enum payment_state s = PAYMENT_SETTLED; s <= PAYMENT_REJECTED; s++)
        EXPECT(step(payment_in(s, 0), event_of(PAYMENT_EVENT_RECYCLE)), FREED,
               STORE(REMEMBER, UNMARKED), STORE(STATE, PAYMENT_FREE));
}

static void an_adopted_payment_is_remembered_with_its_time(void **state)
{
    (void)state;
    struct payment_view adopted = payment_in(PAYMENT_SETTLED, 0);
    adopted.requested_at_us = EARLIER_US;
    EXPECT(step(adopted, event_of(PAYMENT_EVENT_RECYCLE)), FREED, STORE(REMEMBER, EARLIER_US),
           STORE(STATE, PAYMENT_FREE));
    adopted.requested_at_us = LOWEST_US; /* could not have been adopted */
    EXPECT(step(adopted, event_of(PAYMENT_EVENT_RECYCLE)), FREED, STORE(REMEMBER, UNMARKED),
           STORE(STATE, PAYMENT_FREE));
}

static void only_what_was_counted_counts_as_adopted(void **state)
{
    (void)state;
    struct payment_view rejected = payment_in(PAYMENT_REJECTED, 0);
    rejected.requested_at_us = EARLIER_US;
    EXPECT(step(rejected, event_of(PAYMENT_EVENT_RECYCLE)), FREED, STORE(REMEMBER, UNMARKED),
           STORE(STATE, PAYMENT_FREE));
}

static void forgetting_adopted_payments_lowers_the_lowest_time(void **state)
{
    (void)state;
    assert_int_equal(payment_protocol_forget(&LANE, EARLIER_US), EARLIER_US);
    assert_int_equal(payment_protocol_forget(&LANE, LOWEST_US + 1), LOWEST_US);
    assert_int_equal(payment_protocol_forget(&LANE, UNMARKED), LOWEST_US);
    const struct payment_lane_view fresh = {.lowest_bound_us = INT64_MAX};
    assert_int_equal(payment_protocol_forget(&fresh, EARLIER_US), EARLIER_US);
    assert_int_equal(payment_protocol_forget(&fresh, UNMARKED), INT64_MAX);
}

static void both_books_are_asked_one_after_the_other(void **state)
{
    (void)state;
    const unsigned flags = PAYMENT_FLAG_ASK | PAYMENT_FLAG_SEEN;
    struct payment_step made = step(queued(flags), event_of(PAYMENT_EVENT_ASK));
    EXPECT_NO_STORE(made, LOOKUP);
    assert_int_equal(made.processor, DEFAULT);
    made = step(queued(flags), absent(DEFAULT));
    EXPECT_NO_STORE(made, LOOKUP);
    assert_int_equal(made.processor, FALLBACK);
}

/* SEEN stays: what turns up later must not be counted here again. */
static void in_no_book_it_may_be_bound_and_is_still_seen(void **state)
{
    (void)state;
    EXPECT(step(queued(PAYMENT_FLAG_ASK | PAYMENT_FLAG_SEEN), absent(FALLBACK)), READY,
           STORE(FLAGS, PAYMENT_FLAG_SEEN));
    EXPECT(step(queued(PAYMENT_FLAG_ASK), absent(FALLBACK)), READY, STORE(FLAGS, 0));
}

static void no_answer_is_not_a_404(void **state)
{
    (void)state;
    for (unsigned processor = DEFAULT; processor <= FALLBACK; processor++) {
        struct payment_step made = step(queued(PAYMENT_FLAG_ASK), unanswered(processor));
        EXPECT_NO_STORE(made, RETRY_LOOKUP);
        assert_int_equal(made.processor, processor);
    }
}

static void found_while_queued_it_ends_as_after_a_422(void **state)
{
    (void)state;
    EXPECT(step(queued(PAYMENT_FLAG_ASK), found(FALLBACK, CENTS, EARLIER_US)), ENDED,
           SETTLING(FALLBACK, EARLIER_US));
    EXPECT(step(queued(PAYMENT_FLAG_ASK), found(DEFAULT, CENTS, LOWEST_US)), ENDED,
           STORE(STATE, PAYMENT_DUPLICATE));
    EXPECT(step(queued(PAYMENT_FLAG_ASK | PAYMENT_FLAG_SEEN), found(DEFAULT, CENTS, EARLIER_US)),
           ENDED, STORE(STATE, PAYMENT_DUPLICATE));
    EXPECT(step(queued(PAYMENT_FLAG_ASK), found(DEFAULT, CENTS + 1, EARLIER_US)), ENDED,
           STORE(STATE, PAYMENT_CONFLICT));
}

/* A record may still hold the time of a refused attempt; nothing of it was inserted. */
static void while_queued_no_time_in_a_book_is_ours(void **state)
{
    (void)state;
    struct payment_view payment = queued(PAYMENT_FLAG_ASK);
    payment.requested_at_us = BOUND_US;
    EXPECT(step(payment, found(DEFAULT, CENTS, BOUND_US)), ENDED, STORE(STATE, PAYMENT_DUPLICATE));
}

static void nothing_bound_yet_means_everything_found_is_older(void **state)
{
    (void)state;
    const struct payment_lane_view fresh = {.purge_applied = APPLIED, .lowest_bound_us = INT64_MAX};
    struct payment_view payment = queued(PAYMENT_FLAG_ASK);
    struct payment_event event = found(DEFAULT, CENTS, BOUND_US);
    struct payment_step made;
    payment_protocol_step(&made, &payment, &fresh, &event);
    EXPECT(made, ENDED, SETTLING(DEFAULT, BOUND_US));
}

/* ----------------------------------------------------------------------------- purge */

static struct payment_event purge_to(uint64_t generation)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_PURGE, .purge_generation = generation};
}

static void a_purge_frees_what_waits_and_what_has_ended_and_remembers_it(void **state)
{
    (void)state;
    EXPECT(step(queued(0), purge_to(APPLIED + 1)), FREED, STORE(REMEMBER, UNMARKED),
           STORE(STATE, PAYMENT_FREE));
    for (enum payment_state s = PAYMENT_SETTLED; s <= PAYMENT_REJECTED; s++)
        EXPECT(step(payment_in(s, 0), purge_to(APPLIED + 1)), FREED, STORE(REMEMBER, UNMARKED),
               STORE(STATE, PAYMENT_FREE));
}

static void a_purged_adopted_payment_is_remembered_with_its_time(void **state)
{
    (void)state;
    struct payment_view adopted = payment_in(PAYMENT_SETTLED, 0);
    adopted.requested_at_us = EARLIER_US;
    EXPECT(step(adopted, purge_to(APPLIED + 1)), FREED, STORE(REMEMBER, EARLIER_US),
           STORE(STATE, PAYMENT_FREE));
}

static void what_is_in_flight_survives_a_purge(void **state)
{
    (void)state;
    EXPECT_NO_STORE(step(sent(0), purge_to(APPLIED + 1)), NONE);
    EXPECT_NO_STORE(step(sent(PAYMENT_FLAG_UNKNOWN), purge_to(APPLIED + 1)), NONE);
}

/* Again after a crash in the middle, or accepted after it was asked for. */
static void what_is_not_older_than_the_purge_stays(void **state)
{
    (void)state;
    EXPECT_NO_STORE(step(queued(0), purge_to(APPLIED)), NONE);
    EXPECT_NO_STORE(step(payment_in(PAYMENT_SETTLED, 0), purge_to(APPLIED)), NONE);
    EXPECT_NO_STORE(step(payment_in(PAYMENT_FREE, 0), purge_to(APPLIED + 1)), NONE);
}

/* ----------------------------------------------------------- what cannot be is fatal */

static bool is_fatal(struct payment_view payment, struct payment_event event)
{
    int status;
    fflush(NULL);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        signal(SIGABRT, SIG_DFL);
        if (!freopen("/dev/null", "w", stderr))
            _exit(1);
        step(payment, event);
        _exit(0);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    bool aborted = WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
    assert_true(aborted || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    return aborted;
}

#define IN(state)  (1u << PAYMENT_##state)
#define ENDED      (IN(SETTLED) | IN(DUPLICATE) | IN(CONFLICT) | IN(REJECTED))
#define ANY        (IN(FREE) | IN(QUEUED) | IN(SENT) | ENDED)
#define EVENTS     (PAYMENT_EVENT_RESOLVE + 1)
#define QUEUED_ASK PAYMENT_FLAG_ASK /* BIND wants a payment without it, look-ups one with it */

static const struct {
    unsigned states; /* in which the event may happen */
    unsigned queued_flags, sent_flags;
} legal[EVENTS] = {
    [PAYMENT_EVENT_INTAKE] = {ANY, 0, 0},
    [PAYMENT_EVENT_BIND] = {IN(QUEUED), 0, 0},
    [PAYMENT_EVENT_ASK] = {IN(QUEUED), QUEUED_ASK, 0},
    [PAYMENT_EVENT_RESEND] = {IN(SENT), 0, 0},
    [PAYMENT_EVENT_ACCEPTED] = {IN(SENT), 0, 0},
    [PAYMENT_EVENT_EXISTS] = {IN(SENT), 0, 0},
    [PAYMENT_EVENT_REFUSED] = {IN(SENT), 0, 0},
    [PAYMENT_EVENT_BAD_REQUEST] = {IN(SENT), 0, 0},
    [PAYMENT_EVENT_UNKNOWN] = {IN(SENT), 0, 0},
    [PAYMENT_EVENT_FOUND] = {IN(QUEUED) | IN(SENT), QUEUED_ASK, 0},
    [PAYMENT_EVENT_ABSENT] = {IN(QUEUED) | IN(SENT), QUEUED_ASK, 0},
    [PAYMENT_EVENT_UNANSWERED] = {IN(QUEUED) | IN(SENT), QUEUED_ASK, 0},
    [PAYMENT_EVENT_TAKE_OVER] = {ANY, 0, 0},
    [PAYMENT_EVENT_PURGE] = {ANY, 0, 0},
    [PAYMENT_EVENT_RECYCLE] = {ENDED, 0, 0},
    [PAYMENT_EVENT_RESOLVE] = {IN(SENT), 0, PAYMENT_FLAG_UNKNOWN},
};

static void each_event_is_allowed_in_its_states_only(void **state)
{
    (void)state;
    for (enum payment_event_kind kind = 0; kind < EVENTS; kind++)
        for (enum payment_state s = PAYMENT_FREE; s <= PAYMENT_REJECTED; s++) {
            unsigned flags = s == PAYMENT_QUEUED ? legal[kind].queued_flags
                             : s == PAYMENT_SENT ? legal[kind].sent_flags
                                                 : 0;
            struct payment_event event = event_of(kind);
            event.decision = SHM_DECISION_REQUEUE;
            event.book = PAYMENT_EVENT_ABSENT;
            event.id = ID;
            event.purge_generation = APPLIED;
            bool fatal = is_fatal(payment_in(s, flags), event);
            if (fatal == (legal[kind].states >> s & 1))
                fail_msg("event %d in state %s: %s", (int)kind, shm_payments_state_name(s),
                         fatal ? "fatal" : "allowed");
        }
}

static void an_event_that_does_not_exist_is_fatal(void **state)
{
    (void)state;
    assert_true(is_fatal(sent(0), event_of((enum payment_event_kind)EVENTS)));
}

static void an_entry_newer_than_the_last_purge_is_fatal(void **state)
{
    (void)state;
    assert_true(is_fatal(payment_in(PAYMENT_FREE, 0), entry(CENTS, APPLIED + 1)));
}

static void an_entry_with_the_record_of_another_id_is_fatal(void **state)
{
    (void)state;
    struct payment_view other = queued(0);
    other.id.lo++;
    assert_true(is_fatal(other, entry(CENTS, APPLIED)));
}

static void binding_what_must_be_asked_for_or_is_pinned_or_counted_is_fatal(void **state)
{
    (void)state;
    struct payment_view named = queued(0);
    named.row_named = true;
    const struct payment_event event = bind_at(DEFAULT, BOUND_US / 1000);
    assert_true(is_fatal(queued(PAYMENT_FLAG_ASK), event));
    assert_true(is_fatal(queued(PAYMENT_FLAG_UNKNOWN), event));
    assert_true(is_fatal(named, event));
    assert_false(is_fatal(queued(PAYMENT_FLAG_SEEN), event));
}

static void asking_without_need_is_fatal(void **state)
{
    (void)state;
    assert_true(is_fatal(queued(PAYMENT_FLAG_SEEN), event_of(PAYMENT_EVENT_ASK)));
    assert_true(is_fatal(queued(PAYMENT_FLAG_SEEN), found(DEFAULT, CENTS, EARLIER_US)));
}

static void an_answer_from_a_processor_that_it_is_not_bound_to_is_fatal(void **state)
{
    (void)state;
    assert_true(is_fatal(sent(0), found(DEFAULT, CENTS, BOUND_US)));
}

/* ------------------------------------------------------------ of a journal, an earlier life's */

#define OF_A_JOURNAL (PAYMENT_FLAG_ASK | PAYMENT_FLAG_UNCOUNTED)

/* First where it was bound: somebody else's insert in the other book would hide our own charge. */
static void what_an_earlier_life_had_bound_is_asked_for_at_both(void **state)
{
    (void)state;
    const unsigned flags = OF_A_JOURNAL | PAYMENT_FLAG_UNKNOWN;
    for (unsigned bound = 0; bound < SHM_PROCESSORS; bound++) {
        struct payment_view payment = sent(flags);
        payment.processor = bound;
        struct payment_step made = step(payment, event_of(PAYMENT_EVENT_ASK));
        EXPECT_NO_STORE(made, LOOKUP);
        assert_int_equal(made.processor, bound);
        made = step(payment, absent(bound));
        EXPECT_NO_STORE(made, LOOKUP);
        assert_int_equal(made.processor, !bound);
        made = step(payment, unanswered(bound));
        EXPECT_NO_STORE(made, RETRY_LOOKUP);
        assert_int_equal(made.processor, bound);
    }
}

/* In no book: to the same processor, as it was bound, and to no other (rule 5). */
static void in_no_book_it_stays_pinned(void **state)
{
    (void)state;
    const unsigned flags = OF_A_JOURNAL | PAYMENT_FLAG_UNKNOWN;
    struct payment_step made = step(sent(flags), absent(DEFAULT));
    EXPECT(made, RESEND, STORE(FLAGS, PAYMENT_FLAG_UNCOUNTED | PAYMENT_FLAG_UNKNOWN));
    assert_int_equal(made.processor, FALLBACK);
    EXPECT(step(queued(OF_A_JOURNAL), absent(FALLBACK)), READY,
           STORE(FLAGS, PAYMENT_FLAG_UNCOUNTED));
}

/* The journal says that it had not ended: nobody here has counted it, whatever the time. */
static void wherever_it_is_found_it_is_counted_as_it_stands_there(void **state)
{
    (void)state;
    const unsigned flags = OF_A_JOURNAL | PAYMENT_FLAG_UNKNOWN;
    EXPECT(step(sent(flags), found(FALLBACK, CENTS, BOUND_US)), ENDED,
           SETTLING(FALLBACK, BOUND_US));
    EXPECT(step(sent(flags), found(FALLBACK, CENTS, BOUND_US + 5)), ENDED,
           SETTLING(FALLBACK, BOUND_US + 5));
    EXPECT(step(sent(flags), found(DEFAULT, CENTS, BOUND_US)), ENDED, SETTLING(DEFAULT, BOUND_US));
    EXPECT(step(queued(OF_A_JOURNAL), found(DEFAULT, CENTS, BOUND_US)), ENDED,
           SETTLING(DEFAULT, BOUND_US));
    EXPECT(step(sent(flags), found(DEFAULT, CENTS + 1, BOUND_US)), ENDED,
           STORE(STATE, PAYMENT_CONFLICT));
    /* And after it was bound anew, when what had slept wakes up. */
    EXPECT(step(sent(PAYMENT_FLAG_UNCOUNTED | PAYMENT_FLAG_UNKNOWN),
                found(FALLBACK, CENTS, LOWEST_US)),
           ENDED, SETTLING(FALLBACK, LOWEST_US));
}

static void what_is_to_be_asked_for_is_not_resent(void **state)
{
    (void)state;
    assert_true(is_fatal(sent(OF_A_JOURNAL), event_of(PAYMENT_EVENT_RESEND)));
    assert_true(is_fatal(sent(PAYMENT_FLAG_UNCOUNTED), event_of(PAYMENT_EVENT_ASK)));
}

/* ----------------------------------------------------------------------------- words */

static void states_have_names_and_ends(void **state)
{
    (void)state;
    static const char *const names[] = {"free",      "queued",   "sent",    "settled",
                                        "duplicate", "conflict", "rejected"};
    for (enum payment_state s = PAYMENT_FREE; s <= PAYMENT_REJECTED; s++) {
        assert_string_equal(shm_payments_state_name(s), names[s]);
        assert_int_equal(payment_state_is_terminal(s), ENDED >> s & 1);
    }
    assert_string_equal(shm_payments_state_name((enum payment_state)(PAYMENT_REJECTED + 1)),
                        "damaged");
    assert_false(payment_state_is_terminal((enum payment_state)(PAYMENT_REJECTED + 1)));
}

/* --------------------------------------------------------------- operators' decisions */

static struct payment_view pinned(void)
{
    return sent(PAYMENT_FLAG_UNKNOWN);
}

static struct payment_event resolve(enum shm_decision decision, enum payment_event_kind book)
{
    return (struct payment_event){.kind = PAYMENT_EVENT_RESOLVE,
                                  .processor = FALLBACK,
                                  .decision = decision,
                                  .book = book,
                                  .stored_amount_cents = CENTS,
                                  .stored_requested_at_us = BOUND_US};
}

static void a_decision_for_settled_settles_what_the_book_holds(void **state)
{
    (void)state;
    struct payment_step made = step(pinned(), resolve(SHM_DECISION_SETTLED, PAYMENT_EVENT_FOUND));
    EXPECT(made, ENDED, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN | PAYMENT_FLAG_RESOLVED),
           SETTLING(FALLBACK, BOUND_US));
    assert_int_equal(made.resolution, PAYMENT_RESOLVE_DONE);
}

static void a_decision_for_settled_judges_the_book_as_after_a_422(void **state)
{
    (void)state;
    struct payment_event event = resolve(SHM_DECISION_SETTLED, PAYMENT_EVENT_FOUND);
    event.stored_amount_cents = CENTS + 1;
    EXPECT(step(pinned(), event), ENDED, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN | PAYMENT_FLAG_RESOLVED),
           STORE(STATE, PAYMENT_CONFLICT));
    event.stored_amount_cents = CENTS;
    event.stored_requested_at_us = BOUND_US + 1;
    EXPECT(step(pinned(), event), ENDED, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN | PAYMENT_FLAG_RESOLVED),
           STORE(STATE, PAYMENT_DUPLICATE));
    event.stored_requested_at_us = EARLIER_US;
    EXPECT(step(pinned(), event), ENDED, STORE(FLAGS, PAYMENT_FLAG_UNKNOWN | PAYMENT_FLAG_RESOLVED),
           SETTLING(FALLBACK, EARLIER_US));
}

/* The flags first: SENT without UNKNOWN is what a take-over pins again, QUEUED with it nobody can
 * bind. */
static void a_decision_to_requeue_unpins(void **state)
{
    (void)state;
    struct payment_step made = step(pinned(), resolve(SHM_DECISION_REQUEUE, PAYMENT_EVENT_ABSENT));
    EXPECT(made, READY, STORE(FLAGS, PAYMENT_FLAG_RESOLVED), STORE(STATE, PAYMENT_QUEUED));
    assert_int_equal(made.resolution, PAYMENT_RESOLVE_DONE);
    EXPECT(step(sent(PAYMENT_FLAG_RESOLVED), event_of(PAYMENT_EVENT_TAKE_OVER)), RESEND,
           STORE(FLAGS, PAYMENT_FLAG_RESOLVED | PAYMENT_FLAG_UNKNOWN));
    EXPECT(step(queued(PAYMENT_FLAG_RESOLVED), bind_at(DEFAULT, BOUND_US / 1000)), POST,
           STORE(PROCESSOR, DEFAULT), STORE(REQUESTED_AT, BOUND_US), STORE(STATE, PAYMENT_SENT));
}

static void a_decision_to_reject_ends_it(void **state)
{
    (void)state;
    struct payment_step made = step(sent(PAYMENT_FLAG_UNKNOWN | PAYMENT_FLAG_SEEN),
                                    resolve(SHM_DECISION_REJECT, PAYMENT_EVENT_ABSENT));
    EXPECT(made, ENDED, STORE(FLAGS, PAYMENT_FLAG_SEEN | PAYMENT_FLAG_RESOLVED),
           STORE(STATE, PAYMENT_REJECTED));
    assert_int_equal(made.resolution, PAYMENT_RESOLVE_DONE);
}

static void a_decision_that_the_book_contradicts_changes_nothing(void **state)
{
    (void)state;
    const struct {
        enum shm_decision decision;
        enum payment_event_kind book;
        enum payment_resolution resolution;
    } cases[] = {
        {SHM_DECISION_SETTLED, PAYMENT_EVENT_ABSENT, PAYMENT_RESOLVE_BOOK_LACKS},
        {SHM_DECISION_REQUEUE, PAYMENT_EVENT_FOUND, PAYMENT_RESOLVE_BOOK_HOLDS},
        {SHM_DECISION_REJECT, PAYMENT_EVENT_FOUND, PAYMENT_RESOLVE_BOOK_HOLDS},
        {SHM_DECISION_SETTLED, PAYMENT_EVENT_UNANSWERED, PAYMENT_RESOLVE_BOOK_SILENT},
        {SHM_DECISION_REQUEUE, PAYMENT_EVENT_UNANSWERED, PAYMENT_RESOLVE_BOOK_SILENT},
        {SHM_DECISION_REJECT, PAYMENT_EVENT_UNANSWERED, PAYMENT_RESOLVE_BOOK_SILENT},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct payment_step made = step(pinned(), resolve(cases[i].decision, cases[i].book));
        EXPECT_NO_STORE(made, RESEND);
        assert_int_equal(made.processor, FALLBACK);
        assert_int_equal(made.resolution, cases[i].resolution);
    }
}

/* The operator looked before that attempt was out. What stands in the book stands there all the
 * same. */
static void an_attempt_that_ended_unknown_meanwhile_spoils_the_decision(void **state)
{
    (void)state;
    struct payment_event event = resolve(SHM_DECISION_REQUEUE, PAYMENT_EVENT_ABSENT);
    event.attempt_unknown = true;
    struct payment_step made = step(pinned(), event);
    EXPECT_NO_STORE(made, RESEND);
    assert_int_equal(made.resolution, PAYMENT_RESOLVE_ATTEMPT_UNKNOWN);
    event.decision = SHM_DECISION_REJECT;
    EXPECT_NO_STORE(step(pinned(), event), RESEND);
    event.decision = SHM_DECISION_SETTLED;
    event.book = PAYMENT_EVENT_FOUND;
    assert_int_equal(step(pinned(), event).resolution, PAYMENT_RESOLVE_DONE);
}

static void deciding_about_what_is_not_pinned_is_fatal(void **state)
{
    (void)state;
    struct payment_event event = resolve(SHM_DECISION_REQUEUE, PAYMENT_EVENT_ABSENT);
    assert_true(is_fatal(sent(0), event));
    assert_true(is_fatal(queued(0), event));
    assert_true(is_fatal(payment_in(PAYMENT_SETTLED, 0), event));
    event.processor = DEFAULT;
    assert_true(is_fatal(pinned(), event));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intake_fills_a_free_record_then_queues_it_then_moves_the_head),
        cmocka_unit_test(an_id_that_the_filter_knows_is_asked_for_and_never_counted_as_found),
        cmocka_unit_test(in_a_young_region_an_id_is_asked_for),
        cmocka_unit_test(a_copy_only_moves_the_head),
        cmocka_unit_test(a_copy_with_another_amount_is_told_apart),
        cmocka_unit_test(an_entry_from_before_the_last_purge_is_dropped),
        cmocka_unit_test(binding_is_stored_whole_before_the_post),
        cmocka_unit_test(a_new_lowest_time_is_stored_first_of_all),
        cmocka_unit_test(a_200_settles_as_it_was_bound),
        cmocka_unit_test(a_200_for_a_pinned_payment_settles_it_too),
        cmocka_unit_test(after_a_422_it_is_pinned_and_the_book_is_asked),
        cmocka_unit_test(our_own_insert_settles),
        cmocka_unit_test(our_own_insert_settles_although_the_id_was_seen),
        cmocka_unit_test(another_amount_in_the_book_is_a_conflict),
        cmocka_unit_test(an_insert_older_than_anything_of_ours_is_adopted_with_its_own_time),
        cmocka_unit_test(an_insert_not_older_than_ours_may_have_been_counted),
        cmocka_unit_test(what_the_filter_knows_may_have_been_counted_however_old),
        cmocka_unit_test(a_book_without_an_answer_is_asked_again),
        cmocka_unit_test(a_422_and_then_a_404_pins),
        cmocka_unit_test(a_refused_payment_is_queued_again),
        cmocka_unit_test(a_refused_survivor_of_a_purge_is_queued_again),
        cmocka_unit_test(a_lasting_400_is_rejected),
        cmocka_unit_test(another_refusal_in_between_starts_the_count_again),
        cmocka_unit_test(an_unknown_outcome_pins),
        cmocka_unit_test(pinning_keeps_what_is_known_of_the_id),
        cmocka_unit_test(a_pinned_payment_is_resent_as_it_was),
        cmocka_unit_test(once_pinned_nothing_but_200_and_422_counts),
        cmocka_unit_test(what_was_queued_stays_queued),
        cmocka_unit_test(what_was_sent_is_unknown),
        cmocka_unit_test(a_named_and_published_row_settles_with_its_values),
        cmocka_unit_test(a_name_without_a_published_row_is_cleared),
        cmocka_unit_test(what_has_ended_is_left_alone),
        cmocka_unit_test(every_ended_payment_is_remembered_before_its_record_is_free),
        cmocka_unit_test(an_adopted_payment_is_remembered_with_its_time),
        cmocka_unit_test(only_what_was_counted_counts_as_adopted),
        cmocka_unit_test(forgetting_adopted_payments_lowers_the_lowest_time),
        cmocka_unit_test(both_books_are_asked_one_after_the_other),
        cmocka_unit_test(in_no_book_it_may_be_bound_and_is_still_seen),
        cmocka_unit_test(no_answer_is_not_a_404),
        cmocka_unit_test(found_while_queued_it_ends_as_after_a_422),
        cmocka_unit_test(while_queued_no_time_in_a_book_is_ours),
        cmocka_unit_test(nothing_bound_yet_means_everything_found_is_older),
        cmocka_unit_test(a_purge_frees_what_waits_and_what_has_ended_and_remembers_it),
        cmocka_unit_test(a_purged_adopted_payment_is_remembered_with_its_time),
        cmocka_unit_test(what_is_in_flight_survives_a_purge),
        cmocka_unit_test(what_is_not_older_than_the_purge_stays),
        cmocka_unit_test(each_event_is_allowed_in_its_states_only),
        cmocka_unit_test(an_event_that_does_not_exist_is_fatal),
        cmocka_unit_test(an_entry_newer_than_the_last_purge_is_fatal),
        cmocka_unit_test(an_entry_with_the_record_of_another_id_is_fatal),
        cmocka_unit_test(binding_what_must_be_asked_for_or_is_pinned_or_counted_is_fatal),
        cmocka_unit_test(asking_without_need_is_fatal),
        cmocka_unit_test(an_answer_from_a_processor_that_it_is_not_bound_to_is_fatal),
        cmocka_unit_test(a_decision_for_settled_settles_what_the_book_holds),
        cmocka_unit_test(a_decision_for_settled_judges_the_book_as_after_a_422),
        cmocka_unit_test(a_decision_to_requeue_unpins),
        cmocka_unit_test(a_decision_to_reject_ends_it),
        cmocka_unit_test(a_decision_that_the_book_contradicts_changes_nothing),
        cmocka_unit_test(an_attempt_that_ended_unknown_meanwhile_spoils_the_decision),
        cmocka_unit_test(deciding_about_what_is_not_pinned_is_fatal),
        cmocka_unit_test(what_an_earlier_life_had_bound_is_asked_for_at_both),
        cmocka_unit_test(in_no_book_it_stays_pinned),
        cmocka_unit_test(wherever_it_is_found_it_is_counted_as_it_stands_there),
        cmocka_unit_test(what_is_to_be_asked_for_is_not_resent),
        cmocka_unit_test(states_have_names_and_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
