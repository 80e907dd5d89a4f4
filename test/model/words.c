#include "test/model/words.h"
#include "shm/shm_payments.h"

#include <stdarg.h>
#include <stdio.h>

void say(struct text *text, const char *format, ...)
{
    va_list arguments;
    if (!text || text->length + 1 >= sizeof text->line)
        return;
    size_t room = sizeof text->line - text->length;
    va_start(arguments, format);
    int wanted = vsnprintf(text->line + text->length, room, format, arguments);
    va_end(arguments);
    if (wanted > 0)
        text->length += (size_t)wanted < room ? (size_t)wanted : room - 1;
}

const char *say_id(unsigned id)
{
    static const char *const names[] = {"A", "B", "C"};
    return id < MODEL_IDS ? names[id] : "?";
}

const char *say_processor(unsigned processor)
{
    return processor == 0 ? "default" : "fallback";
}

static const char *say_decision(unsigned decision)
{
    return decision == SHM_DECISION_SETTLED   ? "settled"
           : decision == SHM_DECISION_REQUEUE ? "queued again"
                                              : "rejected";
}

static void say_answer(struct text *text, const struct model_record *r, unsigned answer)
{
    static const char *const answers[ANSWERS] = {
        [ANSWER_HONEST] = "answers truly",
        [ANSWER_LATE] = "has its answer ready, but it takes its time",
        [ANSWER_REFUSED] = "refuses (a definite no)",
        [ANSWER_BAD_REQUEST] = "answers 400",
        [ANSWER_UNKNOWN] = "does not answer, but may still act",
        [ANSWER_RESENT] = "was sent it twice by libcurl and may still act",
        [ANSWER_NONE] = "does not answer",
    };
    bool post = r->waiting == WAITING_POST || r->waiting == WAITING_POST_OK;
    bool decided = r->waiting >= WAITING_DECIDED;
    say(text, "%s: the %s of %s %s;",
        say_processor(post || decided ? r->processor : model_asked(r->waiting)),
        post      ? "POST"
        : decided ? "look-up for the decision"
                  : "look-up",
        say_id(r->id), answers[answer]);
}

static void say_ready(struct text *text, const struct model_record *r, unsigned what)
{
    if (r->flags & PAYMENT_FLAG_ASK)
        say(text, "worker: asks for %s;", say_id(r->id));
    else
        say(text, "worker: binds %s to %s at t%u and sends it;", say_id(r->id),
            say_processor(what & 1), what >> 1);
}

static void say_begin(struct text *text, const struct model_state *s)
{
    say(text, "an empty region;");
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        for (unsigned id = 0; id < MODEL_IDS; id++)
            if (s->book[p][id].amount)
                say(text, " %s of %u c stands in %s's book already, with t%u;", say_id(id),
                    s->book[p][id].amount, say_processor(p), s->book[p][id].requested_at);
}

static void say_entry(struct text *text, const struct model_entry *entry, unsigned what)
{
    say(text, "worker: takes %s of %u c, stamped %u, from its ring%s%s;", say_id(entry->id),
        entry->amount, entry->generation, what & 1 ? ", the filter claims to know it" : "",
        what & 2 ? ", the region is young" : "");
}

void say_move(struct text *text, const struct model_state *from, struct model_move move)
{
    const struct model_record *r = &from->record[move.who < MODEL_RECORDS ? move.who : 0];
    const struct model_request *request = &from->asleep[move.who < MODEL_ASLEEP ? move.who : 0];
    switch (text ? (enum model_move_kind)move.kind : MOVE_CRASH + 1u) {
    case MOVE_BEGIN:
        say_begin(text, from);
        break;
    case MOVE_POST:
        say(text, "client: posts %s of %u c; the API answers 202 and stamps it %u;",
            say_id(move.who), move.what & 3, from->generation);
        break;
    case MOVE_POST_KNOWN:
        say(text, "client: posts %s of %u c; the API sees its record and answers 202;",
            say_id(move.who), move.what);
        break;
    case MOVE_NOT_POSTED:
        say(text, "client: does not post another %s of %u c;", say_id(move.who), move.what);
        break;
    case MOVE_ASK_PURGE:
        say(text, "client: asks for purge %u;", from->generation + 1);
        break;
    case MOVE_AWAKE:
        say(text, "%s: executes the forgotten request for %s with t%u;",
            say_processor(request->processor), say_id(request->id), request->requested_at);
        break;
    case MOVE_INTAKE:
        say_entry(text, &from->ring[move.who][0], move.what);
        break;
    case MOVE_READY:
        say_ready(text, r, move.what);
        break;
    case MOVE_ANSWER:
        say_answer(text, r, move.what);
        break;
    case MOVE_STRAY_ANSWER:
        say(text, "%s: the look-up of %s, begun before the purge, answers; it is taken for %s's;",
            say_processor(model_asked(from->stray.waiting)), say_id(from->stray.id), say_id(r->id));
        break;
    case MOVE_RESEND:
        say(text, "worker: resends %s as it was;", say_id(r->id));
        break;
    case MOVE_RECYCLE:
        say(text, "worker: recycles the record of %s;", say_id(r->id));
        break;
    case MOVE_VISIT:
        say(text, "worker: visits the record of %s;", say_id(r->id));
        break;
    case MOVE_ROTATE:
        say(text, "worker: rotates the filter;");
        break;
    case MOVE_PURGE:
        say(text, "worker: applies purge %u%s;", from->generation,
            move.what ? ", resending instead of asking" : "");
        break;
    case MOVE_DECIDE:
        say(text, "operator: decides that %s is to be %s;", say_id(r->id), say_decision(move.what));
        break;
    case MOVE_RESOLVE:
        say(text, "worker: asks the book because of the decision about %s;", say_id(r->id));
        break;
    case MOVE_TAKE_OVER:
        say(text, "a new worker: takes over;");
        break;
    case MOVE_SYNC:
        say(text, "worker: what the journal tells of is on disk;");
        break;
    case MOVE_COLD:
        say(text, "the region is lost, and made anew of what is on disk%s;",
            move.what & 1 ? "" : ", the filter too small for its ids");
        break;
    case MOVE_QUARANTINE_OVER:
        say(text, "the quarantine is over;");
        break;
    case MOVE_CRASH:
        say(text, "worker: killed between two steps");
        break;
    }
}

void say_store(struct text *text, const struct payment_store *store)
{
    long long value = store->value;
    switch (text ? store->kind : PAYMENT_STORE_RING_HEAD + 1u) {
    case PAYMENT_STORE_FIELDS:
        say(text, " fields;");
        break;
    case PAYMENT_STORE_STATE:
        say(text, " state = %s;", shm_payments_state_name((enum payment_state)value));
        break;
    case PAYMENT_STORE_FLAGS:
        say(text, " flags = %lld;", value);
        break;
    case PAYMENT_STORE_REFUSALS:
        say(text, " refusals = %lld;", value);
        break;
    case PAYMENT_STORE_PROCESSOR:
        say(text, " processor = %s;", say_processor((unsigned)value));
        break;
    case PAYMENT_STORE_REQUESTED_AT:
        say(text, " requestedAt = t%lld;", value / 1000);
        break;
    case PAYMENT_STORE_ROW_NAME:
        say(text, value ? " names the next row;" : " clears its row's name;");
        break;
    case PAYMENT_STORE_ROW:
        say(text, " writes the row (%s, t%lld);", say_processor(store->processor), value / 1000);
        break;
    case PAYMENT_STORE_ROW_COUNT:
        say(text, " publishes it;");
        break;
    case PAYMENT_STORE_LOWEST_BOUND:
        say(text, " lowest bound time = t%lld;", value / 1000);
        break;
    case PAYMENT_STORE_REMEMBER:
        say(text, value == INT64_MAX ? " remembers the id;" : " remembers the id as adopted;");
        break;
    case PAYMENT_STORE_RING_HEAD:
        say(text, " moves the ring's head;");
        break;
    }
}

static void say_record(struct text *text, const struct model_record *r)
{
    say(text, " %s %u c %s", say_id(r->id), r->amount,
        shm_payments_state_name((enum payment_state)r->state));
    if (r->state >= PAYMENT_SENT)
        say(text, " (%s, t%u)", say_processor(r->processor), r->requested_at);
    if (r->flags || r->row_name)
        say(text, " flags %u, row name %u", r->flags, r->row_name);
    say(text, ";");
}

void say_state(struct text *text, const struct model_state *s)
{
    say(text, "records:");
    for (unsigned i = 0; i < MODEL_RECORDS; i++)
        if (s->record[i].state != PAYMENT_FREE)
            say_record(text, &s->record[i]);
    say(text, "\n#   rows from %u on:", s->first_row);
    for (unsigned i = 0; i < s->row_count; i++)
        say(text, " %s %u c (%s, t%u);", say_id(s->row[i].id), s->row[i].amount,
            say_processor(s->row[i].processor), s->row[i].requested_at);
    say(text, "\n#   books:");
    for (unsigned p = 0; p < SHM_PROCESSORS; p++)
        for (unsigned id = 0; id < MODEL_IDS; id++)
            if (s->book[p][id].amount)
                say(text, " %s %u c (%s, t%u%s);", say_id(id), s->book[p][id].amount,
                    say_processor(p), s->book[p][id].requested_at,
                    s->book[p][id].foreign ? ", not ours" : "");
    say(text, "\n#   purge asked for %u, applied %u; lowest bound time t%u", s->generation,
        s->purge_applied, s->lowest_bound);
}
