#include "worker/processor_view.h"

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The latest evidence decides; a tie is a failure: one probe too many is cheaper than a crowd. */
static void judge(struct processor_view *view, int64_t now_us)
{
    bool failing = view->broken_us > 0 && view->broken_us >= view->alive_us;
    if (failing == view->failing)
        return;
    view->failing = failing;
    view->failing_since_us = failing ? view->broken_us : 0;
    if (!failing) {
        view->probing_since_us = 0;
        concurrency_limit_restart(&view->limit, now_us);
    }
}

static void learn_latency(struct processor_view *view, int64_t sent_us, int64_t now_us)
{
    int64_t latency_us = max64(now_us - sent_us, 0);
    bool silence = now_us - view->latency_at_us > PROCESSOR_VIEW_SILENCE_US;
    if (view->latency_at_us == 0 || silence)
        view->latency_us = latency_us;
    else
        view->latency_us += (latency_us - view->latency_us) / 8;
    view->latency_at_us = now_us;
}

/* When it would have been sent, had neither it nor its answer waited for us. Own time explains what
 * goes beyond the base latency and never lowers that: a turn that was long for itself says nothing
 * of it. */
static int64_t without_own_time(const struct processor_view *view, int64_t sent_us, int64_t now_us)
{
    int64_t latency_us = now_us - sent_us, base_us = view->limit.base_us;
    int64_t least_us = base_us == 0 || latency_us < base_us ? latency_us : base_us;
    return now_us - max64(latency_us - 2 * view->own_us, least_us);
}

static int64_t expected_latency(const struct processor_view *view, int64_t now_us)
{
    bool silence = now_us - view->latency_at_us > PROCESSOR_VIEW_SILENCE_US;
    bool newer = view->report.at_us > view->latency_at_us;
    return newer && (silence || view->latency_at_us == 0) ? view->report.min_response_us
                                                          : view->latency_us;
}

static int64_t next_probe_us(const struct processor_view *view)
{
    int64_t spacing_us = view->broken_us - view->failing_since_us;
    if (spacing_us < PROCESSOR_VIEW_PROBE_MIN_US)
        spacing_us = PROCESSOR_VIEW_PROBE_MIN_US;
    if (spacing_us > PROCESSOR_VIEW_PROBE_MAX_US)
        spacing_us = PROCESSOR_VIEW_PROBE_MAX_US;
    int64_t next_us = max64(view->broken_us, view->probed_us) + spacing_us;
    int64_t probing_us = max64(view->probing_since_us, view->others_probing_since_us);
    return probing_us > 0 ? max64(next_us, probing_us + PROCESSOR_VIEW_PROBE_STALE_US) : next_us;
}

void processor_view_init(struct processor_view *view, int in_flight_max, int64_t now_us)
{
    *view = (struct processor_view){.latency_us = PROCESSOR_VIEW_LATENCY_US};
    concurrency_limit_init(&view->limit, CONCURRENCY_LIMIT_FLOOR, in_flight_max, now_us);
}

void processor_view_sent(struct processor_view *view, int64_t now_us)
{
    view->in_flight++;
    if (view->failing)
        view->probing_since_us = now_us;
}

/* What was sent before the probe is of the crowd: its failures are evidence, not the probe's end.
 */
static void end_probe(struct processor_view *view, int64_t sent_us, int64_t now_us)
{
    if (view->probing_since_us == 0 || sent_us < view->probing_since_us)
        return;
    view->probing_since_us = 0;
    view->probed_us = now_us;
}

static bool is_overtaken(const struct processor_view *view, int64_t sent_us)
{
    return sent_us < view->overtaken_before_us;
}

static void overtake(struct processor_view *view, int64_t sent_us)
{
    int64_t margin_us =
        max64(PROCESSOR_VIEW_OVERTAKEN_US, PROCESSOR_VIEW_OVERTAKEN_LATENCIES * view->latency_us);
    view->overtaken_before_us = max64(view->overtaken_before_us, sent_us - margin_us);
}

/* A sleeper's answer is a sign of life; how long it slept is old news. */
static void succeeded(struct processor_view *view, int64_t sent_us, int64_t now_us)
{
    bool old_news = is_overtaken(view, sent_us);
    view->succeeded_us = view->alive_us = now_us;
    if (!old_news)
        learn_latency(view, sent_us, now_us);
    judge(view, now_us);
    if (old_news)
        return;
    concurrency_limit_answered(&view->limit, without_own_time(view, sent_us, now_us), now_us,
                               view->in_flight - view->overtaken);
    overtake(view, sent_us);
}

static void failed(struct processor_view *view, int64_t now_us)
{
    view->failed_us = view->broken_us = now_us;
    judge(view, now_us);
}

void processor_view_took(struct processor_view *view, int64_t turn_us)
{
    view->own_us = turn_us;
}

void processor_view_answered(struct processor_view *view, enum processor_answer answer,
                             int64_t sent_us, int64_t now_us)
{
    end_probe(view, sent_us, now_us);
    switch (answer) {
    case PROCESSOR_OK:
        succeeded(view, sent_us, now_us);
        break;
    case PROCESSOR_FAILING: /* comes after the delay, like a success */
        learn_latency(view, sent_us, now_us);
        failed(view, now_us);
        break;
    case PROCESSOR_UNKNOWN:
        if (is_overtaken(view, sent_us))
            break;
        concurrency_limit_shed(&view->limit, sent_us, now_us);
        failed(view, now_us);
        break;
    case PROCESSOR_UNREACHED:
        failed(view, now_us);
        break;
    case PROCESSOR_BUSY:
        concurrency_limit_shed(&view->limit, sent_us, now_us);
        view->busy_until_us = now_us + PROCESSOR_VIEW_BUSY_HOLD_US;
        break;
    case PROCESSOR_BAD_REQUEST:
    case PROCESSOR_DISLIKES:
        break;
    }
    view->in_flight--;
}

void processor_view_overtaken(struct processor_view *view, int count)
{
    view->overtaken = count;
}

void processor_view_reported(struct processor_view *view, const struct processor_report *report,
                             int64_t now_us)
{
    if (report->at_us <= view->report.at_us)
        return;
    view->report = *report;
    int64_t *evidence_us = report->failing ? &view->broken_us : &view->alive_us;
    *evidence_us = max64(*evidence_us, report->at_us);
    judge(view, now_us);
}

void processor_view_heard(struct processor_view *view, const struct processor_news *others,
                          size_t count, int64_t now_us)
{
    view->others_probing_since_us = 0;
    for (size_t i = 0; i < count; i++) {
        view->alive_us = max64(view->alive_us, others[i].last_success_ms * 1000);
        view->broken_us = max64(view->broken_us, others[i].last_failure_ms * 1000);
        view->others_probing_since_us =
            max64(view->others_probing_since_us, others[i].probing_since_ms * 1000);
    }
    judge(view, now_us);
    concurrency_limit_pass(&view->limit, now_us);
}

struct processor_news processor_view_news(const struct processor_view *view)
{
    return (struct processor_news){
        .last_success_ms = view->succeeded_us / 1000,
        .last_failure_ms = view->failed_us / 1000,
        .probing_since_ms = view->probing_since_us / 1000,
    };
}

struct routing_processor processor_view_facts(const struct processor_view *view, int64_t now_us,
                                              int64_t oldest_sent_us)
{
    struct routing_processor facts = {
        .usable = true,
        .failing = view->failing,
        .expected_latency_us = expected_latency(view, now_us),
        .in_flight = view->in_flight - view->overtaken,
        .limit = concurrency_limit_now(&view->limit),
    };
    if (oldest_sent_us > 0)
        facts.expected_latency_us =
            max64(facts.expected_latency_us, now_us - max64(oldest_sent_us, view->latency_at_us));
    if (now_us < view->busy_until_us && facts.in_flight < facts.limit)
        facts.limit = facts.in_flight;
    if (view->failing)
        facts.probe_after_us = max64(next_probe_us(view) - now_us, 0);
    return facts;
}
