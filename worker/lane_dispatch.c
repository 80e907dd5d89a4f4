#include <inttypes.h>

#include "common/check.h"
#include "common/clock.h"
#include "common/crash_point.h"
#include "common/log.h"
#include "shm/shm_health.h"
#include "worker/lane_internal.h"

/* Books asked at the same time, of one processor. */
#define LOOKUPS_MAX 32

/* After another lane's probe was in the way: look again soon, each lane at a time of its own. */
#define PROBE_RETRY_US 5000

/* A lane's doorbell, its journal, and what libcurl opens for itself: its waker, a resolver's pair
 * of sockets. */
#define DESCRIPTORS_BESIDES 24

const char *const lane_processor_names[SHM_PROCESSORS] = {"default", "fallback"};

static struct shm_processor_view *own_page(const struct lane *lane, unsigned processor)
{
    return &lane->memory.control->processor[processor];
}

/* --- what this lane and the others know -------------------------------------------- */

static void publish(struct lane *lane, unsigned processor)
{
    const struct processor_view *view = &lane->views[processor];
    struct shm_processor_view *page = own_page(lane, processor);
    struct processor_news news = processor_view_news(view);
    const struct {
        _Atomic uint64_t *word;
        int64_t value;
    } words[] = {
        {&page->last_success_ms, news.last_success_ms},
        {&page->last_failure_ms, news.last_failure_ms},
        {&page->probing_since_ms, news.probing_since_ms},
        {&page->in_flight, view->in_flight},
        {&page->in_flight_limit, concurrency_limit_now(&view->limit)},
        {&page->latency_us, view->latency_us},
        {&page->failing, view->failing},
    };
    for (unsigned i = 0; i < sizeof words / sizeof *words; i++)
        atomic_store_explicit(words[i].word, (uint64_t)words[i].value, memory_order_release);
}

static void hear(struct lane *lane, unsigned processor)
{
    struct processor_news others[SHM_LANES_MAX];
    size_t count = 0;
    for (unsigned i = 0; i < lane->region->geometry.lanes; i++) {
        const struct shm_processor_view *page =
            &shm_region_lane(lane->region, i)->processor[processor];
        if (i == lane->memory.number)
            continue;
        others[count++] = (struct processor_news){
            .last_success_ms =
                (int64_t)atomic_load_explicit(&page->last_success_ms, memory_order_acquire),
            .last_failure_ms =
                (int64_t)atomic_load_explicit(&page->last_failure_ms, memory_order_acquire),
            .probing_since_ms =
                (int64_t)atomic_load_explicit(&page->probing_since_ms, memory_order_acquire),
        };
    }
    processor_view_heard(&lane->views[processor], others, count, lane->now_us);

    struct shm_health_report report;
    if (shm_health_read(lane->region, processor, &report))
        processor_view_reported(&lane->views[processor],
                                &(struct processor_report){
                                    .at_us = (int64_t)report.checked_at_monotonic_ms * 1000,
                                    .min_response_us = report.min_response_ms * 1000,
                                    .failing = report.failing,
                                },
                                lane->now_us);
}

static void listen_to_the_others(struct lane *lane)
{
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        bool was_failing = lane->views[p].failing;
        hear(lane, p);
        if (lane->views[p].failing != was_failing)
            publish(lane, p);
    }
}

/* Nothing, not even a probe, goes beyond the transfers that there are. */
static struct routing_processor facts_of(const struct lane *lane, unsigned processor)
{
    struct routing_processor facts =
        processor_view_facts(&lane->views[processor], lane->now_us,
                             lane_queues_oldest_sent_us(&lane->queues, processor));
    if (lane->views[processor].in_flight < lane->settings.in_flight_max)
        return facts;
    if (facts.limit > facts.in_flight) /* what is overtaken has its transfer still */
        facts.limit = facts.in_flight;
    if (facts.probe_after_us == 0)
        facts.probe_after_us = ROUTING_ASK_AGAIN_MAX_US;
    return facts;
}

/* One probe at a time over all lanes: announce, look at the others, take it
 * back if one of them probes. Both sides use seq_cst, so of two lanes that
 * announce at once at least one sees the other. A flag too old to be believed
 * (its lane was killed or stopped) excludes nobody. */
static bool claim_probe(struct lane *lane, unsigned processor)
{
    uint64_t now_ms = (uint64_t)lane->now_us / 1000;
    _Atomic uint64_t *own = &own_page(lane, processor)->probing_since_ms;
    atomic_store_explicit(own, now_ms, memory_order_seq_cst);
    CRASH_POINT(probe_claimed);
    for (unsigned i = 0; i < lane->region->geometry.lanes; i++) {
        if (i == lane->memory.number)
            continue;
        uint64_t since = atomic_load_explicit(
            &shm_region_lane(lane->region, i)->processor[processor].probing_since_ms,
            memory_order_seq_cst);
        if (since != 0 && now_ms < since + PROCESSOR_VIEW_PROBE_STALE_US / 1000) {
            atomic_store_explicit(own, 0, memory_order_seq_cst);
            return false;
        }
    }
    return true;
}

static int64_t probe_retry_us(const struct lane *lane)
{
    return lane->now_us + PROBE_RETRY_US * (1 + lane->memory.number);
}

/* --- sending -------------------------------------------------------------------- */

static uint64_t ticket_of(const struct lane *lane, uint32_t slot)
{
    return (uint64_t)lane->queues.slots[slot].use << 32 | slot;
}

/* There are as many transfers as may be in flight, so this is want of memory.
 * Nothing has left, and nothing will: as if nobody had listened. */
static void not_begun(struct lane *lane, uint32_t slot, unsigned processor, enum upstream_kind kind)
{
    lane_on_completion(lane, &(struct upstream_completion){.kind = kind,
                                                           .outcome = UPSTREAM_UNREACHED,
                                                           .processor = (int)processor,
                                                           .ticket = ticket_of(lane, slot)});
}

void lane_begin_post(struct lane *lane, uint32_t slot, unsigned processor)
{
    struct payment_view payment = lane_memory_view(&lane->memory, slot);
    if (!upstream_try_post(lane->upstream, (int)processor, ticket_of(lane, slot), &payment.id,
                           payment.amount_cents, payment.requested_at_us / 1000))
        not_begun(lane, slot, processor, UPSTREAM_POST);
    CRASH_POINT(post_begun);
}

void lane_send_post(struct lane *lane, uint32_t slot, unsigned processor, bool is_bound_now)
{
    lane_memory_note_attempt(&lane->memory, slot);
    CRASH_POINT(post_noted);
    lane_memory_count(&lane->memory, SHM_LANE_COUNTER_posts);
    processor_view_sent(&lane->views[processor], lane->now_us);
    lane_queues_depart(&lane->queues, slot, processor, lane->now_us);
    publish(lane, processor);
    if (!is_bound_now || !lane_journal_holds(lane, slot, processor))
        lane_begin_post(lane, slot, processor);
}

/* An outcome that is unknown again, of a payment alone: the processor has answered others since it
 * failed at this one. Whatever it is that it dislikes, it says nothing of the others' chances. */
static bool is_disliked(const struct processor_view *view, const struct lane_slot *slot)
{
    return slot->unknown_us != 0 && view->succeeded_us > slot->unknown_us;
}

static enum processor_answer answer_of(const struct processor_view *view, struct lane_slot *slot,
                                       enum upstream_outcome outcome, int64_t now_us)
{
    static const enum processor_answer answers[] = {
        [UPSTREAM_ACCEPTED] = PROCESSOR_OK,         [UPSTREAM_EXISTS] = PROCESSOR_OK,
        [UPSTREAM_UNREACHED] = PROCESSOR_UNREACHED, [UPSTREAM_BUSY] = PROCESSOR_BUSY,
        [UPSTREAM_FAILING] = PROCESSOR_FAILING,     [UPSTREAM_BAD_REQUEST] = PROCESSOR_BAD_REQUEST,
        [UPSTREAM_UNKNOWN] = PROCESSOR_UNKNOWN,
    };
    if (outcome != UPSTREAM_UNKNOWN)
        return answers[outcome];
    enum processor_answer answer = is_disliked(view, slot) ? PROCESSOR_DISLIKES : PROCESSOR_UNKNOWN;
    slot->unknown_us = now_us;
    return answer;
}

void lane_note_answer(struct lane *lane, uint32_t slot,
                      const struct upstream_completion *completion)
{
    unsigned processor = (unsigned)completion->processor;
    struct processor_view *view = &lane->views[processor];
    bool was_failing = view->failing;
    struct lane_slot *s = &lane->queues.slots[slot];
    processor_view_answered(view, answer_of(view, s, completion->outcome, lane->now_us), s->sent_us,
                            lane->now_us);
    lane_queues_return(&lane->queues, slot, processor);
    processor_view_overtaken(
        view, (int)lane_queues_overtaken(&lane->queues, processor, view->overtaken_before_us));
    publish(lane, processor);
    if (view->failing != was_failing)
        LOG_INFO("processor", "lane=%u processor=%s failing=%d", lane->memory.number,
                 lane_processor_names[processor], (int)view->failing);
}

/* A payment of an earlier life may be out: one that the journal tells of, and after async any that
 * comes now, since its acceptance may be what was lost. It is looked up first, and not before a
 * request of that life that sleeps at a processor has had the time to wake. (The model, early=1:
 * both processors charge it.) */
static bool is_of_an_earlier_life(const struct lane *lane, uint32_t slot)
{
    return lane->region->origin == SHM_ORIGIN_JOURNAL_ASYNC ||
           (lane_memory_view(&lane->memory, slot).flags & PAYMENT_FLAG_UNCOUNTED) != 0;
}

static void ask_first(struct lane *lane, uint32_t slot, enum lane_place list)
{
    int64_t due_ms = (int64_t)lane->region->created_at_monotonic_ms + lane->settings.quarantine_ms;
    if (is_of_an_earlier_life(lane, slot) && lane->now_us / 1000 < due_ms)
        lane_queues_pause(&lane->queues, slot, list, due_ms);
    else
        lane_step(lane, slot, &(struct payment_event){.kind = PAYMENT_EVENT_ASK});
}

/* Those at the head of the list that are to be looked up before anything else. */
static void ask_pinned(struct lane *lane, unsigned processor)
{
    enum lane_place list = LANE_PINNED + processor;
    uint32_t slot;
    while ((slot = lane_queues_first(&lane->queues, list)) != LANE_QUEUES_NONE &&
           lane_memory_view(&lane->memory, slot).flags & PAYMENT_FLAG_ASK)
        ask_first(lane, lane_queues_pop(&lane->queues, list), list);
}

/* Pinned payments: to a processor that answers within its limit; to a failing
 * one they are the probe. */
static int64_t send_pinned(struct lane *lane, unsigned processor, bool *sent)
{
    const struct payment_event resend = {.kind = PAYMENT_EVENT_RESEND};
    for (;;) {
        struct routing_processor facts = facts_of(lane, processor);
        ask_pinned(lane, processor);
        if (lane_queues_first(&lane->queues, LANE_PINNED + processor) == LANE_QUEUES_NONE)
            return INT64_MAX;
        if (facts.in_flight >= facts.limit && !facts.failing)
            return lane->now_us + ROUTING_ASK_AGAIN_MAX_US; /* if no answer makes room earlier */
        if (facts.failing && facts.probe_after_us > 0)
            return lane->now_us + facts.probe_after_us;
        if (facts.failing && !claim_probe(lane, processor))
            return probe_retry_us(lane);
        lane_memory_count(&lane->memory, SHM_LANE_COUNTER_resends);
        lane->probed_pinned[processor] = facts.failing;
        lane_step(lane, lane_queues_pop(&lane->queues, LANE_PINNED + processor), &resend);
        *sent = true;
    }
}

bool lane_may_look_up(const struct lane *lane, unsigned processor)
{
    int most =
        lane->settings.in_flight_max < LOOKUPS_MAX ? lane->settings.in_flight_max : LOOKUPS_MAX;
    return lane->lookups[processor] < most;
}

void lane_look_up(struct lane *lane, uint32_t slot, unsigned processor)
{
    struct payment_view payment = lane_memory_view(&lane->memory, slot);
    CHECK(lane_may_look_up(lane, processor));
    lane->lookups[processor]++;
    lane_memory_count(&lane->memory, SHM_LANE_COUNTER_books_asked);
    if (!upstream_try_lookup(lane->upstream, (int)processor, ticket_of(lane, slot), &payment.id))
        not_begun(lane, slot, processor, UPSTREAM_LOOKUP);
}

static void ask_book(struct lane *lane, unsigned processor, bool *sent)
{
    while (lane_may_look_up(lane, processor)) { /* an answer makes room */
        uint32_t slot = lane_queues_pop(&lane->queues, LANE_ASKING + processor);
        if (slot == LANE_QUEUES_NONE)
            return;
        lane_look_up(lane, slot, processor);
        *sent = true;
    }
}

static struct routing_decision decide(const struct lane *lane, uint32_t slot)
{
    struct routing_facts facts = {
        .processors = {facts_of(lane, ROUTING_DEFAULT), facts_of(lane, ROUTING_FALLBACK)},
        .fee_basis_points = {ROUTING_DEFAULT_FEE_BASIS_POINTS, ROUTING_FALLBACK_FEE_BASIS_POINTS},
        .backlog = lane->queues.lists[LANE_READY].length + lane->queues.lists[LANE_PRESSED].length,
        .age_us = lane->now_us - lane->queues.slots[slot].accepted_us,
        .deadline_us = lane->settings.deadline_ms * 1000,
    };
    return routing_decide(lane->settings.policy, &facts);
}

/* Offer one list to the routing, oldest first, until one has to wait. */
static int64_t send_new(struct lane *lane, enum lane_place list, bool *sent)
{
    int64_t look_again_us = INT64_MAX;
    for (;;) {
        uint32_t slot = lane_queues_first(&lane->queues, list);
        if (slot == LANE_QUEUES_NONE)
            return look_again_us;
        struct payment_view payment = lane_memory_view(&lane->memory, slot);
        if (payment.flags & PAYMENT_FLAG_ASK) {
            ask_first(lane, lane_queues_pop(&lane->queues, list), list);
            continue;
        }
        if (lane_journal_is_behind(lane))
            return look_again_us; /* what becomes durable wakes us */
        struct routing_decision decision = decide(lane, slot);
        if (decision.action == ROUTING_WAIT) {
            int64_t again_us = lane->now_us + decision.ask_again_us;
            look_again_us = again_us < look_again_us ? again_us : look_again_us;
            if (decision.younger_wait || list == LANE_PRESSED)
                return look_again_us;
            lane_queues_pop(&lane->queues, list);
            lane_queues_append(&lane->queues, LANE_PRESSED, slot);
            continue;
        }
        if (decision.is_probe && !claim_probe(lane, (unsigned)decision.action))
            return probe_retry_us(lane);
        lane->probed_pinned[decision.action] = false;
        lane_queues_pop(&lane->queues, list);
        lane_step(lane, slot,
                  &(struct payment_event){.kind = PAYMENT_EVENT_BIND,
                                          .processor = (unsigned)decision.action,
                                          .now_ms = clock_wall_ms()});
        *sent = true;
    }
}

static int64_t sooner(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t lane_dispatch(struct lane *lane, bool *sent)
{
    int64_t woken_ms = lane_queues_wake(&lane->queues, lane->now_us / 1000);
    int64_t look_again_us = woken_ms == INT64_MAX ? INT64_MAX : woken_ms * 1000;
    listen_to_the_others(lane);
    /* Pinned payments first, they are the older ones; but of two probes one, lest those that a
     * processor will never take are all that it is judged by. */
    bool new_first[SHM_PROCESSORS];
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        new_first[p] = lane->views[p].failing && lane->probed_pinned[p];
        if (!new_first[p])
            look_again_us = sooner(look_again_us, send_pinned(lane, p, sent));
    }
    look_again_us = sooner(look_again_us, send_new(lane, LANE_PRESSED, sent));
    look_again_us = sooner(look_again_us, send_new(lane, LANE_READY, sent));
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        if (new_first[p])
            look_again_us = sooner(look_again_us, send_pinned(lane, p, sent));
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        ask_book(lane, p, sent);
    return look_again_us;
}

unsigned lane_descriptors_max(const struct lane_settings *settings)
{
    return SHM_PROCESSORS * ((unsigned)settings->in_flight_max + LOOKUPS_MAX) + DESCRIPTORS_BESIDES;
}

void lane_dispatch_init(struct lane *lane)
{
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        processor_view_init(&lane->views[p], lane->settings.in_flight_max, lane->now_us);
        publish(lane, p); /* a dead owner's probe ends here */
    }
}
