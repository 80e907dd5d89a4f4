#include "shm/shm_operator.h"

#include <string.h>

#include "common/check.h"
#include "common/crash_point.h"

static uint64_t own(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_relaxed); /* nobody else writes it */
}

/* ------------------------------------------------------------------ intake */

uint64_t shm_operator_intake(const struct shm_region *region)
{
    return atomic_load_explicit(&shm_region_operator(region)->intake, memory_order_seq_cst);
}

uint64_t shm_operator_set_intake(struct shm_region *region, bool stopped)
{
    _Atomic uint64_t *intake = &shm_region_operator(region)->intake;
    uint64_t number = own(intake);
    if (shm_operator_is_stopped(number) != stopped)
        atomic_store_explicit(intake, ++number, memory_order_seq_cst);
    CRASH_POINT(intake_number_stored);
    return number;
}

/* ---------------------------------------------------------------- requests */

static void store_text(_Atomic uint64_t *words, const char *text, size_t size)
{
    for (size_t i = 0; i < size / sizeof *words; i++) {
        uint64_t word;
        memcpy(&word, text + i * sizeof word, sizeof word);
        atomic_store_explicit(&words[i], word, memory_order_release);
    }
}

static void load_text(char *text, const _Atomic uint64_t *words, size_t size)
{
    for (size_t i = 0; i < size / sizeof *words; i++) {
        uint64_t word = atomic_load_explicit(&words[i], memory_order_acquire);
        memcpy(text + i * sizeof word, &word, sizeof word);
    }
    text[size - 1] = '\0';
}

uint64_t shm_operator_publish(struct shm_region *region, const struct shm_operator_request *request)
{
    struct shm_operator *page = shm_region_operator(region);
    uint64_t odd = own(&page->request) | 1;
    /* Published by the release of each store that follows, as a record's sequence is. */
    atomic_store_explicit(&page->request, odd, memory_order_relaxed);
    atomic_store_explicit(&page->id_hi, request->id.hi, memory_order_release);
    atomic_store_explicit(&page->id_lo, request->id.lo, memory_order_release);
    atomic_store_explicit(&page->decision, (uint64_t)request->decision, memory_order_release);
    CRASH_POINT(request_half_written);
    store_text(page->by, request->by, sizeof request->by);
    store_text(page->reason, request->reason, sizeof request->reason);
    /* Pairs with the acquire in shm_operator_number; seq_cst before the doorbell's look. */
    atomic_store_explicit(&page->request, odd + 1, memory_order_seq_cst);
    CRASH_POINT(request_published);
    return odd + 1;
}

bool shm_operator_withdraw(struct shm_region *region, unsigned lane, uint64_t number)
{
    struct shm_operator *page = shm_region_operator(region);
    CHECK(own(&page->request) == number && !(number & 1));
    /* Before the look at the phase: see the header. */
    atomic_store_explicit(&page->request, number + 1, memory_order_seq_cst);
    CRASH_POINT(request_withdrawn);
    return shm_operator_phase(region, lane, number) != SHM_DECISION_ACTING;
}

bool shm_operator_answered(const struct shm_region *region, unsigned lane, uint64_t number,
                           struct shm_operator_answer *answer)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    /* Pairs with the release in shm_operator_conclude. One request at a time, so
     * nothing overwrites the verdict before it was read. */
    if (atomic_load_explicit(&control->decision.answered, memory_order_acquire) != number)
        return false;
    answer->verdict =
        (enum shm_verdict)atomic_load_explicit(&control->decision.verdict, memory_order_relaxed);
    answer->detail = atomic_load_explicit(&control->decision.detail, memory_order_relaxed);
    return true;
}

enum shm_decision_phase shm_operator_phase(const struct shm_region *region, unsigned lane,
                                           uint64_t number)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    if (atomic_load_explicit(&control->decision.number, memory_order_seq_cst) != number)
        return (enum shm_decision_phase)0;
    return (enum shm_decision_phase)atomic_load_explicit(&control->decision.phase,
                                                         memory_order_seq_cst);
}

uint64_t shm_operator_number(const struct shm_region *region)
{
    return atomic_load_explicit(&shm_region_operator(region)->request, memory_order_acquire);
}

/* --------------------------------------------------------------- the owner */

bool shm_operator_read(const struct shm_region *region, struct shm_operator_request *request)
{
    const struct shm_operator *page = shm_region_operator(region);
    request->number = shm_operator_number(region);
    request->id.hi = atomic_load_explicit(&page->id_hi, memory_order_acquire);
    request->id.lo = atomic_load_explicit(&page->id_lo, memory_order_acquire);
    request->decision =
        (enum shm_decision)atomic_load_explicit(&page->decision, memory_order_acquire);
    load_text(request->by, page->by, sizeof request->by);
    load_text(request->reason, page->reason, sizeof request->reason);
    /* Acquire on every word: if one was a later request's, this sees its odd number. */
    return request->number != 0 && !(request->number & 1) &&
           atomic_load_explicit(&page->request, memory_order_relaxed) == request->number;
}

void shm_operator_see(struct shm_lane *lane, uint64_t number, enum shm_decision_phase phase)
{
    /* The phase goes first: with the new number nobody may see the last one's. */
    atomic_store_explicit(&lane->decision.phase, (uint64_t)phase, memory_order_seq_cst);
    atomic_store_explicit(&lane->decision.number, number, memory_order_seq_cst);
    CRASH_POINT_IF(phase == SHM_DECISION_SEEN, decision_seen);
    CRASH_POINT_IF(phase == SHM_DECISION_ASKING, decision_asking);
    CRASH_POINT_IF(phase == SHM_DECISION_ACTING, decision_acting);
}

bool shm_operator_begin(const struct shm_region *region, struct shm_lane *lane, uint64_t number)
{
    shm_operator_see(lane, number, SHM_DECISION_ACTING);
    /* After the announcement: see the header. */
    return atomic_load_explicit(&shm_region_operator(region)->request, memory_order_seq_cst) ==
           number;
}

void shm_operator_conclude(struct shm_lane *lane, uint64_t number,
                           struct shm_operator_answer answer)
{
    atomic_store_explicit(&lane->decision.verdict, (uint64_t)answer.verdict, memory_order_relaxed);
    atomic_store_explicit(&lane->decision.detail, answer.detail, memory_order_relaxed);
    /* Pairs with the acquire in shm_operator_answered. */
    atomic_store_explicit(&lane->decision.answered, number, memory_order_release);
    CRASH_POINT(decision_answered);
}
