/* payringctl payments: what is there, oldest first. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/clock.h"
#include "common/money.h"
#include "shm/shm_payments.h"
#include "shm/shm_ring.h"
#include "shm/shm_show.h"
#include "worker/ctl.h"

/* One payment, from a record or from a ring. */
struct entry {
    struct uuid id;
    int64_t amount_cents;
    int64_t accepted_at_ms;
    int64_t requested_at_us; /* 0: bound to no processor */
    uint8_t state;           /* enum payment_state, or CTL_STATE_ACCEPTED */
    uint8_t processor;
    uint8_t flags;
    uint16_t attempts;
};

struct entries {
    struct entry *all;
    size_t count, room;
    unsigned unread;
    bool no_memory;
};

static bool is_pinned(const struct entry *e)
{
    return e->state == PAYMENT_SENT && (e->flags & PAYMENT_FLAG_UNKNOWN);
}

static const char *state_name(const struct entry *e)
{
    return e->state == CTL_STATE_ACCEPTED ? "accepted"
                                          : shm_payments_state_name((enum payment_state)e->state);
}

static const char *processor_name(const struct entry *e)
{
    return e->requested_at_us ? shm_show_processor_name(e->processor) : "-";
}

static int64_t age_ms(const struct entry *e, int64_t now_ms)
{
    return now_ms > e->accepted_at_ms ? now_ms - e->accepted_at_ms : 0;
}

/* ---------------------------------------------------------------- collecting */

static bool is_wanted(const struct ctl *ctl, const struct entry *e, int64_t now_ms)
{
    return (ctl->state == CTL_STATE_ANY || ctl->state == e->state) &&
           (!ctl->pinned || is_pinned(e)) &&
           (ctl->processor < 0 || (e->requested_at_us && ctl->processor == e->processor)) &&
           age_ms(e, now_ms) >= ctl->older_than_ms &&
           (!ctl->has_id || uuid_equal(&ctl->id, &e->id));
}

static void add(struct entries *entries, const struct entry *e)
{
    if (entries->count == entries->room) {
        size_t room = entries->room ? 2 * entries->room : 1024;
        struct entry *larger = realloc(entries->all, room * sizeof *larger);
        entries->no_memory |= !larger;
        if (!larger)
            return;
        entries->all = larger;
        entries->room = room;
    }
    entries->all[entries->count++] = *e;
}

/* A copy of what stands in the table makes no payment: the table's is told of, if both are seen. */
static void collect_ring(const struct shm_region *region, unsigned api, unsigned lane,
                         struct entries *entries)
{
    const struct shm_lane *control = shm_region_lane(region, lane);
    struct shm_ring_entry found;
    uint64_t number = atomic_load_explicit(&control->head[api].value, memory_order_acquire);
    uint64_t depth = shm_ring_depth(region, api, lane);
    if (depth > region->geometry.ring_slots)
        depth = region->geometry.ring_slots; /* head moved in between; see shm_ring_find */
    for (uint64_t end = number + depth; number < end; number++)
        if (shm_ring_look(region, api, lane, number, &found))
            add(entries, &(struct entry){.id = found.id,
                                         .amount_cents = found.amount_cents,
                                         .accepted_at_ms = found.accepted_at_ms,
                                         .state = CTL_STATE_ACCEPTED});
}

static void collect_records(const struct shm_region *region, unsigned lane, struct entries *entries)
{
    struct shm_payments payments;
    struct shm_payment_snapshot s;
    shm_payments_open(&payments, region, lane);
    for (uint32_t i = 0; i < payments.slots; i++) {
        if (!shm_payments_read(&payments, i, &s)) {
            entries->unread++;
            continue;
        }
        /* What goes back to the queue is bound to none, whatever the words still hold. */
        if (s.state != PAYMENT_FREE)
            add(entries, &(struct entry){
                             .id = s.id,
                             .amount_cents = s.amount_cents,
                             .accepted_at_ms = s.accepted_at_ms,
                             .requested_at_us = s.state == PAYMENT_QUEUED ? 0 : s.requested_at_us,
                             .state = (uint8_t)s.state,
                             .processor = (uint8_t)s.processor,
                             .flags = (uint8_t)s.flags,
                             .attempts = (uint16_t)s.attempts,
                         });
    }
}

static int by_id(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (!uuid_equal(&a->id, &b->id))
        return a->id.hi != b->id.hi ? (a->id.hi < b->id.hi ? -1 : 1)
                                    : (a->id.lo < b->id.lo ? -1 : 1);
    /* The table's before the rings' copies of it; of those the oldest. */
    if (a->state != b->state)
        return a->state < b->state ? -1 : 1;
    return (a->accepted_at_ms > b->accepted_at_ms) - (a->accepted_at_ms < b->accepted_at_ms);
}

static int by_age(const void *left, const void *right)
{
    const struct entry *a = left, *b = right;
    if (a->accepted_at_ms != b->accepted_at_ms)
        return a->accepted_at_ms < b->accepted_at_ms ? -1 : 1;
    return by_id(a, b);
}

/* Rings first: a payment stands in the table before it leaves its ring, so it is in one of them. */
static void collect(const struct shm_region *region, const struct ctl *ctl, int64_t now_ms,
                    struct entries *entries)
{
    size_t kept = 0;
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        for (unsigned api = 0; api < region->geometry.api_slots; api++)
            collect_ring(region, api, lane, entries);
    for (unsigned lane = 0; lane < region->geometry.lanes; lane++)
        collect_records(region, lane, entries);
    if (entries->count == 0)
        return;
    qsort(entries->all, entries->count, sizeof *entries->all, by_id);
    struct uuid last = entries->all[0].id;
    for (size_t i = 0; i < entries->count; i++) {
        struct entry e = entries->all[i];
        bool is_copy = i > 0 && uuid_equal(&e.id, &last);
        last = e.id;
        if (!is_copy && is_wanted(ctl, &e, now_ms))
            entries->all[kept++] = e;
    }
    entries->count = kept;
    qsort(entries->all, kept, sizeof *entries->all, by_age);
}

/* ------------------------------------------------------------------ printing */

struct texts {
    char id[UUID_TEXT_LENGTH + 1], amount[MONEY_TEXT_SIZE];
    char accepted_at[ISO8601_TEXT_SIZE], requested_at[ISO8601_TEXT_SIZE];
};

static void write_texts(struct texts *t, const struct entry *e)
{
    uuid_format(t->id, &e->id);
    money_format_cents(t->amount, e->amount_cents);
    iso8601_format_ms(t->accepted_at, e->accepted_at_ms);
    strcpy(t->requested_at, "-");
    if (e->requested_at_us)
        ctl_format_us(t->requested_at, e->requested_at_us);
}

static void put_text(const struct entry *e, int64_t now_ms)
{
    struct texts t;
    char age[32];
    write_texts(&t, e);
    snprintf(age, sizeof age, "%" PRId64 ".%" PRId64, age_ms(e, now_ms) / 1000,
             age_ms(e, now_ms) % 1000 / 100);
    printf("%-36s %15s %-9s %-8s %10s %5u  %-24s %-24s ", t.id, t.amount, state_name(e),
           processor_name(e), age, e->attempts, t.requested_at,
           is_pinned(e) ? t.requested_at : "-");
    shm_show_flags(e->flags, stdout);
    putchar('\n');
}

static void put_tsv(const struct entry *e, int64_t now_ms)
{
    struct texts t;
    write_texts(&t, e);
    printf("%s\t%s\t%s\t%s\t%s\t%s\t%" PRId64 "\t%s\t%u\t", t.id, t.amount, state_name(e),
           processor_name(e), t.requested_at, t.accepted_at, age_ms(e, now_ms),
           is_pinned(e) ? t.requested_at : "-", e->attempts);
    shm_show_flags(e->flags, stdout);
    putchar('\n');
}

static void put_string_or_null(const char *name, const char *value)
{
    if (strcmp(value, "-") == 0)
        printf(",\"%s\":null", name);
    else
        printf(",\"%s\":\"%s\"", name, value);
}

static void put_json(const struct entry *e, int64_t now_ms)
{
    struct texts t;
    const char *separator = "";
    write_texts(&t, e);
    printf("{\"correlationId\":\"%s\",\"amount\":%s,\"state\":\"%s\"", t.id, t.amount,
           state_name(e));
    put_string_or_null("processor", processor_name(e));
    put_string_or_null("requestedAt", t.requested_at);
    put_string_or_null("acceptedAt", t.accepted_at);
    printf(",\"ageMs\":%" PRId64, age_ms(e, now_ms));
    put_string_or_null("pinnedSince", is_pinned(e) ? t.requested_at : "-");
    printf(",\"attempts\":%u,\"flags\":[", e->attempts);
    for (unsigned flag = 1; flag <= UINT8_MAX; flag <<= 1) {
        if (!(e->flags & flag) || !shm_show_flag_name(flag))
            continue;
        printf("%s\"%s\"", separator, shm_show_flag_name(flag));
        separator = ",";
    }
    fputs("]}", stdout);
}

static void put_all(const struct ctl *ctl, const struct entries *entries, int64_t now_ms)
{
    size_t count = entries->count < ctl->limit ? entries->count : (size_t)ctl->limit;
    bool is_json = ctl->format == CTL_FORMAT_JSON, is_tsv = ctl->format == CTL_FORMAT_TSV;
    size_t pinned = 0;
    if (!is_json && !is_tsv)
        printf("%-36s %15s %-9s %-8s %10s %5s  %-24s %-24s %s\n", "ID", "AMOUNT", "STATE", "WITH",
               "AGE s", "TRIES", "REQUESTED AT", "PINNED SINCE", "FLAGS");
    if (is_json)
        putchar('[');
    for (size_t i = 0; i < count; i++) {
        const struct entry *e = &entries->all[i];
        pinned += is_pinned(e);
        if (is_json)
            fputs(i > 0 ? ",\n" : "\n", stdout);
        (is_json ? put_json : is_tsv ? put_tsv : put_text)(e, now_ms);
    }
    if (is_json)
        fputs(count > 0 ? "\n]\n" : "]\n", stdout);
    else if (!is_tsv)
        printf("%zu of %zu payments, %zu of them pinned%s\n", count, entries->count, pinned,
               pinned ? ". Since when is not recorded: PINNED SINCE is the\nrequestedAt of the "
                        "attempt that they are pinned with; it became unknown after that."
                      : "");
}

enum ctl_exit ctl_payments(struct ctl *ctl)
{
    struct explain why;
    struct shm_region region;
    struct entries entries = {.all = NULL};
    int64_t now_ms = clock_wall_ms();
    if (shm_region_attach_read_only(&region, ctl->config->region, &why) != STATUS_OK)
        return ctl_complain(CTL_FAILED, "%s", why.text);
    collect(&region, ctl, now_ms, &entries);
    shm_region_detach(&region);
    if (!entries.no_memory)
        put_all(ctl, &entries, now_ms);
    free(entries.all);
    if (entries.no_memory)
        return ctl_complain(CTL_FAILED, "out of memory for that many payments");
    if (entries.unread)
        return ctl_complain(CTL_FAILED, "%u records could not be read (see payringctl check)",
                            entries.unread);
    return ctl_finish(stdout, CTL_DONE);
}
