#include "shm/shm_show.h"

#include <inttypes.h>

#include "common/clock.h"
#include "common/iso8601.h"
#include "common/money.h"
#include "common/uuid.h"
#include "shm/shm_counters.h"
#include "shm/shm_health.h"
#include "shm/shm_lease.h"
#include "shm/shm_ledger.h"
#include "shm/shm_operator.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"

#define STATES (PAYMENT_REJECTED + 1)

const char *shm_show_processor_name(unsigned processor)
{
    static const char *const names[SHM_PROCESSORS] = {"default", "fallback"};
    return processor < SHM_PROCESSORS ? names[processor] : "damaged";
}

/* ------------------------------------------------------------------- facts */

static uint64_t load(const _Atomic uint64_t *word)
{
    return atomic_load_explicit(word, memory_order_acquire);
}

/* Of a time of either clock; 0 is never. */
static int64_t age_ms(uint64_t then_ms, int64_t now_ms)
{
    return then_ms == 0 ? -1 : now_ms - (int64_t)then_ms;
}

static void count_states(const struct shm_region *region, unsigned lane, uint64_t counts[STATES])
{
    const struct shm_payment *records = shm_region_payments(region, lane);
    for (uint32_t i = 0; i < region->geometry.payment_slots; i++) {
        uint8_t state = atomic_load_explicit(&records[i].state, memory_order_relaxed);
        if (state < STATES)
            counts[state]++;
    }
}

/* Ids of both generations, and how long ago the older one began: what is
 * remembered, and since when at most. */
static uint64_t remembered(const struct shm_lane *lane)
{
    return load(&lane->filter.remembered[0]) + load(&lane->filter.remembered[1]);
}

static int64_t remembers_since_ms(const struct shm_lane *lane)
{
    uint64_t older = 1 - (load(&lane->filter.active) & 1);
    return age_ms(load(&lane->filter.started_at_monotonic_ms[older]), clock_monotonic_ms());
}

/* ------------------------------------------------------------------- plain */

static void put_api(const struct shm_region *region, unsigned slot, FILE *out)
{
    const struct shm_api *api = shm_region_api(region, slot);
    fprintf(out, "api.%u.leased %d\n", slot, shm_lease_is_taken(region, SHM_LEASE_API + slot));
    fprintf(out, "api.%u.epoch %" PRIu64 "\n", slot, load(&api->presence.epoch));
    fprintf(out, "api.%u.pid %" PRIu64 "\n", slot, load(&api->presence.pid));
    fprintf(out, "api.%u.beat_age %" PRId64 "\n", slot,
            age_ms(load(&api->presence.beat_ms), clock_wall_ms()));
    for (unsigned i = 0; i < SHM_API_COUNTER_COUNT; i++)
        fprintf(out, "api.%u.%s %" PRIu64 "\n", slot, shm_api_counter_texts[i].name,
                load(&api->counters[i]));
}

static void put_apis(const struct shm_region *region, FILE *out)
{
    uint64_t totals[SHM_API_COUNTER_COUNT] = {0};
    for (unsigned slot = 0; slot < region->geometry.api_slots; slot++) {
        put_api(region, slot, out);
        for (unsigned i = 0; i < SHM_API_COUNTER_COUNT; i++)
            totals[i] += load(&shm_region_api(region, slot)->counters[i]);
    }
    for (unsigned i = 0; i < SHM_API_COUNTER_COUNT; i++)
        fprintf(out, "api.%s %" PRIu64 "\n", shm_api_counter_texts[i].name, totals[i]);
}

static void put_rings(const struct shm_region *region, FILE *out)
{
    uint64_t total = 0;
    for (unsigned api = 0; api < region->geometry.api_slots; api++) {
        for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
            uint64_t depth = shm_ring_depth(region, api, lane);
            fprintf(out, "ring.%u.%u.depth %" PRIu64 "\n", api, lane, depth);
            total += depth;
        }
    }
    fprintf(out, "ring.depth %" PRIu64 "\n", total);
}

static void put_view(const struct shm_processor_view *view, unsigned lane, const char *name,
                     FILE *out)
{
    int64_t now_ms = clock_monotonic_ms();
    fprintf(out, "lane.%u.%s.in_flight %" PRIu64 "\n", lane, name, load(&view->in_flight));
    fprintf(out, "lane.%u.%s.in_flight_limit %" PRIu64 "\n", lane, name,
            load(&view->in_flight_limit));
    fprintf(out, "lane.%u.%s.latency_us %" PRIu64 "\n", lane, name, load(&view->latency_us));
    fprintf(out, "lane.%u.%s.failing %" PRIu64 "\n", lane, name, load(&view->failing));
    fprintf(out, "lane.%u.%s.last_success_age %" PRId64 "\n", lane, name,
            age_ms(load(&view->last_success_ms), now_ms));
    fprintf(out, "lane.%u.%s.last_failure_age %" PRId64 "\n", lane, name,
            age_ms(load(&view->last_failure_ms), now_ms));
    fprintf(out, "lane.%u.%s.probing_age %" PRId64 "\n", lane, name,
            age_ms(load(&view->probing_since_ms), now_ms));
}

/* The numbers of a lane that can be added up over lanes, in an order of their own. */
enum {
    SUM_ROWS,
    SUM_ROWS_LEFT,
    SUM_PURGED_ROWS,
    SUM_SEGMENTS_FILED,
    SUM_SEGMENTS_DROPPED,
    SUM_UNSETTLED,
    SUM_REMEMBERED,
    SUM_STATES
};
enum { SUM_COUNTERS = SUM_STATES + STATES, SUMS = SUM_COUNTERS + SHM_LANE_COUNTER_COUNT };

static const char *sum_name(unsigned sum)
{
    static const char *const names[] = {"rows",           "rows_left",        "purged_rows",
                                        "segments_filed", "segments_dropped", "unsettled",
                                        "remembered"};
    if (sum < SUM_STATES)
        return names[sum];
    return sum < SUM_COUNTERS ? shm_payments_state_name((enum payment_state)(sum - SUM_STATES))
                              : shm_lane_counter_texts[sum - SUM_COUNTERS].name;
}

static void lane_sums(const struct shm_region *region, unsigned lane, uint64_t sums[SUMS])
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    sums[SUM_ROWS] = load(&control->row_count);
    sums[SUM_ROWS_LEFT] = shm_ledger_end(region, lane) - sums[SUM_ROWS];
    sums[SUM_SEGMENTS_FILED] = load(&control->segments_filed);
    sums[SUM_SEGMENTS_DROPPED] = load(&control->segments_dropped);
    sums[SUM_PURGED_ROWS] = load(&control->first_row);
    sums[SUM_UNSETTLED] = load(&control->unsettled);
    sums[SUM_REMEMBERED] = remembered(control);
    count_states(region, lane, &sums[SUM_STATES]);
    for (unsigned i = 0; i < SHM_LANE_COUNTER_COUNT; i++)
        sums[SUM_COUNTERS + i] = load(&control->counters[i]);
}

/* "records" before a state's name: there are counters of the same names. */
static const char *sum_group(unsigned sum)
{
    return sum >= SUM_STATES && sum < SUM_COUNTERS ? "records." : "";
}

/* How far the lane is with an operator's decision (enum shm_decision_phase); 0: none is open. */
static int deciding(const struct shm_lane *lane)
{
    bool open = load(&lane->decision.number) != load(&lane->decision.answered);
    return open ? (int)load(&lane->decision.phase) : 0;
}

static void put_lane(const struct shm_region *region, unsigned lane, uint64_t totals[SUMS],
                     FILE *out)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    uint64_t sums[SUMS] = {0};
    fprintf(out, "lane.%u.leased %d\n", lane, shm_lease_is_taken(region, SHM_LEASE_LANE + lane));
    fprintf(out, "lane.%u.epoch %" PRIu64 "\n", lane, load(&control->presence.epoch));
    fprintf(out, "lane.%u.pid %" PRIu64 "\n", lane, load(&control->presence.pid));
    fprintf(out, "lane.%u.beat_age %" PRId64 "\n", lane,
            age_ms(load(&control->presence.beat_ms), clock_wall_ms()));
    fprintf(out, "lane.%u.asleep %" PRIu64 "\n", lane, load(&control->sleep_count) & 1);
    fprintf(out, "lane.%u.deciding %d\n", lane, deciding(control));
    fprintf(out, "lane.%u.purge_applied %" PRIu64 "\n", lane, load(&control->purge_applied));
    fprintf(out, "lane.%u.remembers_since_age %" PRId64 "\n", lane, remembers_since_ms(control));
    fprintf(out, "lane.%u.ledger_used_percent %u\n", lane, shm_ledger_used_percent(region, lane));
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        put_view(&control->processor[p], lane, shm_show_processor_name(p), out);
    lane_sums(region, lane, sums);
    for (unsigned i = 0; i < SUMS; i++) {
        fprintf(out, "lane.%u.%s%s %" PRIu64 "\n", lane, sum_group(i), sum_name(i), sums[i]);
        totals[i] += sums[i];
    }
}

static void put_lanes(const struct shm_region *region, FILE *out)
{
    uint64_t totals[SUMS] = {0};
    unsigned fullest_percent = 0;
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        unsigned percent = shm_ledger_used_percent(region, lane);
        put_lane(region, lane, totals, out);
        if (percent > fullest_percent)
            fullest_percent = percent;
    }
    fprintf(out, "lane.ledger_used_percent %u\n", fullest_percent);
    for (unsigned i = 0; i < SUMS; i++)
        fprintf(out, "lane.%s%s %" PRIu64 "\n", sum_group(i), sum_name(i), totals[i]);
    fprintf(out, "unsettled %" PRIu64 "\n", totals[SUM_UNSETTLED]);
}

static void put_region(const struct shm_region *region, FILE *out)
{
    const struct shm_geometry *g = &region->geometry;
    fprintf(out, "region.name %s\n", region->name);
    fprintf(out, "region.id %016" PRIx64 "%016" PRIx64 "\n", region->region_id_hi,
            region->region_id_lo);
    fprintf(out, "region.layout_version %u\n", SHM_LAYOUT_VERSION);
    fprintf(out, "region.age %" PRId64 "\n",
            age_ms(region->created_at_monotonic_ms, clock_monotonic_ms()));
    fprintf(out, "region.bytes %" PRIu64 "\n", region->places.total_size);
    fprintf(out, "region.api_slots %u\nregion.lanes %u\nregion.ring_slots %u\n", g->api_slots,
            g->lanes, g->ring_slots);
    fprintf(out, "region.payment_slots %u\nregion.ledger_rows %u\nregion.horizon_payments %u\n",
            g->payment_slots, g->ledger_rows, g->horizon_payments);
    fprintf(out, "region.ledger_segment_rows %u\nregion.ledger_id %016" PRIx64 "%016" PRIx64 "\n",
            g->ledger_segment_rows, region->ledger_id_hi, region->ledger_id_lo);
    fprintf(out, "purge.generation %" PRIu64 "\n", load(&shm_region_purge(region)->generation));
    fprintf(out, "intake.stopped %d\n", shm_operator_is_stopped(shm_operator_intake(region)));
}

static const struct shm_window always = {.from_us = INT64_MIN, .to_us = INT64_MAX};

static void put_processors(const struct shm_region *region, FILE *out)
{
    int64_t now_ms = clock_monotonic_ms();
    struct shm_totals totals;
    bool summed = shm_ledger_sum(region, &always, &totals) == STATUS_OK;
    fprintf(out, "health.leased %d\n", shm_lease_is_taken(region, SHM_LEASE_HEALTH));
    for (unsigned p = 0; p < SHM_PROCESSORS; p++) {
        const char *name = shm_show_processor_name(p);
        struct shm_health_report report = {0};
        bool known = shm_health_read(region, p, &report);
        fprintf(out, "health.%s.called_age %" PRId64 "\n", name,
                age_ms(shm_health_called_at(region, p), now_ms));
        fprintf(out, "health.%s.report_age %" PRId64 "\n", name,
                known ? age_ms(report.checked_at_monotonic_ms, now_ms) : -1);
        fprintf(out, "health.%s.failing %d\n", name, report.failing);
        fprintf(out, "health.%s.min_response_ms %" PRId64 "\n", name, report.min_response_ms);
        if (!summed)
            continue;
        char text[MONEY_SUM_TEXT_SIZE];
        money_format_sum128(text, totals.sum_cents[p]);
        fprintf(out, "summary.%s.payments %" PRIu64 "\n", name, totals.payments[p]);
        fprintf(out, "summary.%s.amount %s\n", name, text);
    }
}

void shm_show_plain(const struct shm_region *region, FILE *out)
{
    put_region(region, out);
    put_processors(region, out);
    put_apis(region, out);
    put_rings(region, out);
    put_lanes(region, out);
}

/* -------------------------------------------------------------- for people */

static void show_age(const char *before, int64_t ms, FILE *out)
{
    if (ms < 0)
        fprintf(out, "%s never", before);
    else
        fprintf(out, "%s %" PRId64 ".%" PRId64 " s ago", before, ms / 1000, ms % 1000 / 100);
}

static void show_presence(const struct shm_region *region, unsigned lease, const char *what,
                          unsigned number, const struct shm_presence *presence, FILE *out)
{
    fprintf(out, "\n%s %u: ", what, number);
    if (shm_lease_is_taken(region, lease))
        fprintf(out, "leased, pid %" PRIu64, load(&presence->pid));
    else
        fputs("free", out);
    fprintf(out, ", tenancies %" PRIu64, load(&presence->epoch));
    show_age(", beat", age_ms(load(&presence->beat_ms), clock_wall_ms()), out);
    fputc('\n', out);
}

/* Those that are not zero: most never move. */
static void show_counters(const struct shm_counter_text *texts, const _Atomic uint64_t *counters,
                          unsigned count, FILE *out)
{
    for (unsigned i = 0; i < count; i++)
        if (load(&counters[i]) > 0)
            fprintf(out, "  %12" PRIu64 "  %s: %s\n", load(&counters[i]), texts[i].name,
                    texts[i].meaning);
}

static void show_api(const struct shm_region *region, unsigned slot, FILE *out)
{
    const struct shm_api *api = shm_region_api(region, slot);
    show_presence(region, SHM_LEASE_API + slot, "API slot", slot, &api->presence, out);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        fprintf(out, "  ring to lane %u: %" PRIu64 " of %u\n", lane,
                shm_ring_depth(region, slot, lane), region->geometry.ring_slots);
    show_counters(shm_api_counter_texts, api->counters, SHM_API_COUNTER_COUNT, out);
}

static void show_view(const struct shm_processor_view *view, const char *name, FILE *out)
{
    int64_t now_ms = clock_monotonic_ms();
    fprintf(out, "  %s: %s, in flight %" PRIu64 " of %" PRIu64 ", latency %" PRIu64 " us", name,
            load(&view->failing) ? "failing" : "not failing", load(&view->in_flight),
            load(&view->in_flight_limit), load(&view->latency_us));
    show_age(", success", age_ms(load(&view->last_success_ms), now_ms), out);
    show_age(", failure", age_ms(load(&view->last_failure_ms), now_ms), out);
    if (load(&view->probing_since_ms) > 0)
        show_age(", probe sent", age_ms(load(&view->probing_since_ms), now_ms), out);
    fputc('\n', out);
}

static void show_lane(const struct shm_region *region, unsigned number, FILE *out)
{
    const struct shm_lane *lane = shm_region_lane(region, number);
    uint64_t states[STATES] = {0};
    show_presence(region, SHM_LEASE_LANE + number, "lane", number, &lane->presence, out);
    fprintf(out, "  %s, %" PRIu64 " payments unsettled, purges applied %" PRIu64 "\n",
            load(&lane->sleep_count) & 1 ? "asleep" : "awake", load(&lane->unsettled),
            load(&lane->purge_applied));
    fprintf(out,
            "  ledger: %" PRIu64 " of %" PRIu64 " rows, the first %" PRIu64 " of them purged\n",
            load(&lane->row_count), shm_ledger_end(region, number), load(&lane->first_row));
    fprintf(out,
            "  %u %% of its memory is used; %" PRIu64 " segments of %u rows are filed, %" PRIu64
            " of them in files alone\n",
            shm_ledger_used_percent(region, number), load(&lane->segments_filed),
            region->geometry.ledger_segment_rows, load(&lane->segments_dropped));
    count_states(region, number, states);
    fputs("  table:", out);
    for (unsigned i = 0; i < STATES; i++)
        fprintf(out, " %" PRIu64 " %s", states[i], shm_payments_state_name((enum payment_state)i));
    fprintf(out, "\n  horizon: %" PRIu64 " ids of recycled payments remembered", remembered(lane));
    show_age(", since", remembers_since_ms(lane), out);
    fputc('\n', out);
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        show_view(&lane->processor[p], shm_show_processor_name(p), out);
    show_counters(shm_lane_counter_texts, lane->counters, SHM_LANE_COUNTER_COUNT, out);
}

static void show_region(const struct shm_region *region, FILE *out)
{
    const struct shm_geometry *g = &region->geometry;
    char created[ISO8601_TEXT_SIZE];
    iso8601_format_ms(created, region->created_at_ms);
    fprintf(out, "region %s, id %016" PRIx64 "%016" PRIx64 ", layout version %u\n", region->name,
            region->region_id_hi, region->region_id_lo, SHM_LAYOUT_VERSION);
    fprintf(out, "  created %s", created);
    show_age(",", age_ms(region->created_at_monotonic_ms, clock_monotonic_ms()), out);
    fprintf(out, ", %" PRIu64 " bytes, purges %" PRIu64 "\n", region->places.total_size,
            load(&shm_region_purge(region)->generation));
    fprintf(
        out,
        "  %u API slots, %u lanes; rings of %u, tables of %u, ledgers of %u rows in segments of "
        "%u, horizons of %u ids\n",
        g->api_slots, g->lanes, g->ring_slots, g->payment_slots, g->ledger_rows,
        g->ledger_segment_rows, g->horizon_payments);
    if (shm_operator_is_stopped(shm_operator_intake(region)))
        fputs("  INTAKE IS STOPPED: payringctl drain --resume opens it again\n", out);
}

static void show_processor(const struct shm_region *region, unsigned processor,
                           const struct shm_totals *totals, FILE *out)
{
    struct shm_health_report report;
    int64_t now_ms = clock_monotonic_ms();
    fprintf(out, "%s: ", shm_show_processor_name(processor));
    if (totals) {
        char text[MONEY_SUM_TEXT_SIZE];
        money_format_sum128(text, totals->sum_cents[processor]);
        fprintf(out, "%" PRIu64 " payments settled, %s; ", totals->payments[processor], text);
    }
    if (!shm_health_read(region, processor, &report)) {
        fputs("no health report yet\n", out);
        return;
    }
    fprintf(out, "%s, at least %" PRId64 " ms", report.failing ? "failing" : "healthy",
            report.min_response_ms);
    show_age(" as reported", age_ms(report.checked_at_monotonic_ms, now_ms), out);
    fputc('\n', out);
}

void shm_show(const struct shm_region *region, FILE *out)
{
    struct shm_totals totals;
    struct explain why = {{0}};
    bool summed = shm_ledger_sum_or_say(region, &always, &totals, &why) == STATUS_OK;
    show_region(region, out);
    if (!summed)
        fprintf(out, "  no sums: %s\n", why.text);
    fputc('\n', out);
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        show_processor(region, p, summed ? &totals : NULL, out);
    for (unsigned slot = 0; slot < region->geometry.api_slots; slot++)
        show_api(region, slot, out);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        show_lane(region, lane, out);
}

/* ------------------------------------------------------------------- lists */

const char *shm_show_flag_name(unsigned flag)
{
    switch (flag) {
    case PAYMENT_FLAG_UNKNOWN:
        return "unknown";
    case PAYMENT_FLAG_ASK:
        return "ask";
    case PAYMENT_FLAG_SEEN:
        return "seen";
    case PAYMENT_FLAG_RESOLVED:
        return "resolved";
    case PAYMENT_FLAG_UNCOUNTED:
        return "uncounted";
    default:
        return NULL;
    }
}

void shm_show_flags(unsigned flags, FILE *out)
{
    const char *separator = "";
    for (unsigned flag = 1; flag <= UINT8_MAX; flag <<= 1) {
        if (!(flags & flag) || !shm_show_flag_name(flag))
            continue;
        fprintf(out, "%s%s", separator, shm_show_flag_name(flag));
        separator = ",";
    }
    if (!*separator)
        fputc('-', out);
}

static void list_record(const struct shm_payment_snapshot *s, FILE *out)
{
    char id[UUID_TEXT_LENGTH + 1];
    /* A processor is bound from the first attempt on; a payment that goes back
     * to the queue is bound to none, whatever the words still hold. */
    bool bound = s->state == PAYMENT_SENT || s->state == PAYMENT_SETTLED ||
                 (s->state != PAYMENT_QUEUED && s->requested_at_us != 0);
    uuid_format(id, &s->id);
    fprintf(out, "%s\t%" PRId64 "\t%s\t%s\t%" PRId64 "\t%" PRId64 "\t", id, s->amount_cents,
            shm_payments_state_name(s->state), bound ? shm_show_processor_name(s->processor) : "-",
            bound ? s->requested_at_us : 0, s->accepted_at_ms);
    shm_show_flags(s->flags, out);
    fprintf(out, "\t%u\n", s->attempts);
}

unsigned shm_show_records(const struct shm_region *region, FILE *out)
{
    unsigned unread = 0;
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++) {
        struct shm_payments payments;
        struct shm_payment_snapshot snapshot;
        shm_payments_open(&payments, region, lane);
        for (uint32_t i = 0; i < payments.slots; i++) {
            if (!shm_payments_read(&payments, i, &snapshot))
                unread++;
            else if (snapshot.state != PAYMENT_FREE)
                list_record(&snapshot, out);
        }
    }
    return unread;
}

static enum status show_rows_of(const struct shm_region *region, unsigned lane, FILE *out,
                                struct explain *why)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    uint64_t at = load(&control->first_row), end = load(&control->row_count);
    for (; at < end; at++) {
        struct shm_row row;
        unsigned words;
        enum status status = shm_ledger_read_or_say(region, lane, at, &row, &words, why);
        if (status != STATUS_OK && at >= load(&control->first_row))
            return status; /* and not because it was purged meanwhile */
        if (status == STATUS_OK && words > 0)
            fprintf(out, "%u\t%" PRIu64 "\t%s\t%" PRId64 "\t%" PRId64 "\n", lane, at,
                    shm_show_processor_name(row.processor), row.amount_cents, row.requested_at_us);
    }
    return STATUS_OK;
}

enum status shm_show_rows(const struct shm_region *region, FILE *out, struct explain *why)
{
    enum status status = STATUS_OK;
    for (unsigned lane = 0; lane < region->geometry.lanes && status == STATUS_OK; lane++)
        status = show_rows_of(region, lane, out, why);
    return status;
}
