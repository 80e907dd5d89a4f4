/* What must be true in every state, and at the end when nobody misbehaves. */
#include <stddef.h>

#include "test/model/model.h"
#include "worker/payment_protocol.h"

static bool forgotten(const struct model_state *s, unsigned id)
{
    return s->forgotten >> id & 1;
}

static bool is_insert_of(const struct model_insert *insert, unsigned amount, unsigned requested_at)
{
    return insert->amount == amount && insert->requested_at == requested_at;
}

static const char *broken_by_row(const struct model_state *s, unsigned number)
{
    const struct model_row *row = &s->row[number];
    if (!is_insert_of(&s->book[row->processor][row->id], row->amount, row->requested_at) ||
        row->amount == 0)
        return "a row counts what stands in no book";
    if (number < s->first_row && row->generation >= s->generation)
        return "a row of a payment accepted after the purge is purged";
    for (unsigned i = 0; i < number; i++)
        if (s->row[i].id == row->id) {
            if (s->row[i].processor == row->processor && !(s->recounted >> row->id & 1))
                return "an insert is counted by two rows";
            if (!forgotten(s, row->id))
                return "a payment is counted by two rows";
        }
    return NULL;
}

static bool counted(const struct model_state *s, unsigned processor, unsigned id)
{
    for (unsigned i = 0; i < s->row_count; i++)
        if (s->row[i].processor == processor && s->row[i].id == id)
            return true;
    return false;
}

/* Only a payment in flight may stand in a book without a row. */
static bool in_flight(const struct model_state *s, unsigned processor, unsigned id)
{
    const struct model_insert *insert = &s->book[processor][id];
    for (unsigned i = 0; i < model_bounds.records; i++) {
        const struct model_record *r = &s->record[i];
        if (r->state == PAYMENT_SENT && r->id == id && r->processor == processor &&
            is_insert_of(insert, r->amount, r->requested_at))
            return true;
        /* Of a life whose end is not known: the books are asked, and it is counted as it stands. */
        if (r->id == id && (r->state == PAYMENT_QUEUED || r->state == PAYMENT_SENT) &&
            r->flags & PAYMENT_FLAG_ASK && r->flags & PAYMENT_FLAG_UNCOUNTED)
            return true;
    }
    return false;
}

static const char *broken_by_books(const struct model_state *s, unsigned id)
{
    unsigned charged = 0;
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        const struct model_insert *insert = &s->book[processor][id];
        if (!insert->amount || insert->foreign)
            continue;
        charged++;
        bool is_lost = s->lost >> id & 1; /* async: charged, and not counted: a stated limit */
        if (!counted(s, processor, id) && !in_flight(s, processor, id) && !is_lost)
            return "a charge that is not counted and not in flight";
    }
    return charged > 1 && !forgotten(s, id) ? "a payment is charged by both processors" : NULL;
}

static bool in_a_book(const struct model_state *s, unsigned id, unsigned not_amount)
{
    for (unsigned processor = 0; processor < SHM_PROCESSORS; processor++) {
        unsigned amount = s->book[processor][id].amount;
        if (amount && amount != not_amount)
            return true;
    }
    return false;
}

static bool has_its_row(const struct model_state *s, const struct model_record *r)
{
    if (r->row_name == 0 || r->row_name > s->row_count)
        return false;
    const struct model_row *row = &s->row[r->row_name - 1];
    return row->id == r->id && row->processor == r->processor && row->amount == r->amount &&
           row->requested_at == r->requested_at;
}

static const char *broken_by_record(const struct model_state *s, const struct model_record *r)
{
    bool open = r->state == PAYMENT_QUEUED || r->state == PAYMENT_SENT;
    if (r->state == PAYMENT_SETTLED && !has_its_row(s, r))
        return "a SETTLED record without its row";
    if (open && !s->worker_down && r->waiting != WAITING_VISIT && r->row_name &&
        r->row_name <= s->row_count)
        return "the row of a record is published, but the record is not SETTLED";
    if (r->state == PAYMENT_DUPLICATE && !in_a_book(s, r->id, 0))
        return "a DUPLICATE that stands in no book";
    if (r->state == PAYMENT_CONFLICT && !in_a_book(s, r->id, r->amount))
        return "a CONFLICT, but no book has another amount";
    if (r->state != PAYMENT_FREE && !r->amount)
        return "a record is in use before it is filled";
    if (r->state != PAYMENT_FREE && r->generation == s->generation && !(s->promised >> r->id & 1) &&
        !model_bounds.cold)
        return "a payment accepted before the purge passes for one accepted after it";
    return NULL;
}

static const char *broken_by_records(const struct model_state *s)
{
    for (unsigned i = 0; i < model_bounds.records; i++) {
        const struct model_record *r = &s->record[i];
        const char *broken = broken_by_record(s, r);
        if (broken)
            return broken;
        for (unsigned j = 0; j < i; j++)
            if (r->state != PAYMENT_FREE && s->record[j].state != PAYMENT_FREE &&
                r->id == s->record[j].id)
                return "two records of one id";
    }
    return NULL;
}

const char *model_broken_promise(const struct model_state *s)
{
    const char *broken = NULL;
    for (unsigned i = 0; i < s->row_count && !broken; i++)
        broken = broken_by_row(s, i);
    for (unsigned id = 0; id < model_bounds.ids && !broken; id++)
        broken = broken_by_books(s, id);
    if (!broken)
        broken = broken_by_records(s);
    if (!broken && s->charged_again)
        broken = "a payment is charged although another processor has said that it has it";
    if (!broken && s->purge_applied == s->generation && s->first_row < s->purge_floor)
        broken = "a row from before an applied purge still counts";
    return broken;
}

const char *model_broken_at_end(const struct model_state *s)
{
    for (unsigned ring = 0; ring < MODEL_RINGS; ring++)
        if (s->ring_length[ring])
            return "an accepted payment is never taken from its ring";
    for (unsigned i = 0; i < model_bounds.records; i++)
        if (s->record[i].state == PAYMENT_QUEUED || s->record[i].state == PAYMENT_SENT)
            return "an accepted payment never ends";
    for (unsigned id = 0; id < model_bounds.ids; id++)
        if (s->promised >> id & 1 && !(s->rejected >> id & 1) && !in_a_book(s, id, 0))
            return "an accepted payment is lost";
    return NULL;
}
