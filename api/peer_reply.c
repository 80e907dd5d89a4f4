#include "api/peer_reply.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/money.h"
#include "shm/shm_layout.h"

/* More than a ledger ever gets: a million a second for nine years. */
#define PAYMENTS_MAX (UINT64_C(1) << 48)

#define SUM_DIGITS_MAX 39 /* of 2^128 - 1 */

/* -------------------------------------------------------------------- writing */

/* Digits from the end of `text` on towards its begin; returns the first. */
static const char *put_sum(char text[static SUM_DIGITS_MAX + 1], unsigned __int128 sum)
{
    char *at = text + SUM_DIGITS_MAX;

    *at = '\0';
    do {
        *--at = (char)('0' + (unsigned)(sum % 10));
        sum /= 10;
    } while (sum > 0);
    return at;
}

size_t peer_sums_write(char text[static PEER_SUMS_SIZE], const struct peer_sums *sums)
{
    char first[SUM_DIGITS_MAX + 1], second[SUM_DIGITS_MAX + 1];
    const struct payment_summary *totals = &sums->totals;

    return (size_t)snprintf(text, PEER_SUMS_SIZE,
                            PEER_FIRST_LINE "region %016" PRIx64 "%016" PRIx64
                                            "\ngeneration %" PRIu64 "\ndefault %" PRIu64
                                            " %s\nfallback %" PRIu64 " %s\n",
                            sums->region_id_hi, sums->region_id_lo, sums->purge_generation,
                            totals->payments[0], put_sum(first, totals->sum_cents[0]),
                            totals->payments[1], put_sum(second, totals->sum_cents[1]));
}

/* -------------------------------------------------------------------- reading */

/* What is left to read. */
struct text {
    const char *next, *end;
};

static bool take(struct text *text, const char *expected)
{
    size_t length = strlen(expected);

    if ((size_t)(text->end - text->next) < length || memcmp(text->next, expected, length) != 0)
        return false;
    text->next += length;
    return true;
}

/* A decimal number up to `highest`, spelled in the only way: no sign, no leading zero. */
static bool take_number(struct text *text, unsigned __int128 highest, unsigned __int128 *number)
{
    const char *first = text->next;
    unsigned __int128 value = 0;

    for (; text->next < text->end && *text->next >= '0' && *text->next <= '9'; text->next++) {
        unsigned digit = (unsigned)(*text->next - '0');
        if (digit > highest || value > (highest - digit) / 10)
            return false;
        value = value * 10 + digit;
    }
    *number = value;
    return text->next > first && (*first != '0' || text->next == first + 1);
}

static bool take_u64(struct text *text, uint64_t highest, uint64_t *number)
{
    unsigned __int128 value;

    if (!take_number(text, highest, &value))
        return false;
    *number = (uint64_t)value;
    return true;
}

/* Sixteen small hexadecimal digits. */
static bool take_hex(struct text *text, uint64_t *number)
{
    static const char digits[] = "0123456789abcdef";

    *number = 0;
    if (text->end - text->next < 16)
        return false;
    for (int i = 0; i < 16; i++, text->next++) {
        const char *digit = memchr(digits, *text->next, 16);
        if (digit == NULL)
            return false;
        *number = *number << 4 | (uint64_t)(digit - digits);
    }
    return true;
}

static bool take_totals(struct text *text, struct payment_summary *totals, unsigned processor)
{
    uint64_t *payments = &totals->payments[processor];
    unsigned __int128 *sum = &totals->sum_cents[processor];

    if (!take_u64(text, PAYMENTS_MAX, payments) || !take(text, " "))
        return false;
    /* Each payment is of one cent at least and of MONEY_MAX_CENTS at most. */
    return take_number(text, *payments * (unsigned __int128)MONEY_MAX_CENTS, sum) &&
           *sum >= *payments && take(text, "\n");
}

static bool take_sums(struct text text, struct peer_sums *sums)
{
    return take(&text, PEER_FIRST_LINE "region ") && take_hex(&text, &sums->region_id_hi) &&
           take_hex(&text, &sums->region_id_lo) && take(&text, "\ngeneration ") &&
           take_u64(&text, UINT64_MAX, &sums->purge_generation) && take(&text, "\ndefault ") &&
           take_totals(&text, &sums->totals, 0) && take(&text, "fallback ") &&
           take_totals(&text, &sums->totals, 1) && text.next == text.end;
}

/* ------------------------------------------------------------------- the head */

struct head {
    unsigned status;
    bool has_length;
    uint64_t body_length;
};

/* "HTTP/1.1 200 ..." */
static bool read_status(struct text line, struct head *head)
{
    uint64_t status;

    if (!take(&line, "HTTP/1.") || line.end - line.next < 5 || *line.next < '0' ||
        *line.next > '9' || *++line.next != ' ')
        return false;
    line.next++;
    if (!take_u64(&line, 599, &status) || status < 100 ||
        (line.next < line.end && *line.next != ' '))
        return false;
    head->status = (unsigned)status;
    return true;
}

static bool is_name(struct text line, const char *name)
{
    size_t length = strlen(name);

    return (size_t)(line.end - line.next) > length && line.next[length] == ':' &&
           strncasecmp(line.next, name, length) == 0;
}

/* false: it says of the body what we do not take. */
static bool read_header(struct text line, struct head *head)
{
    if (is_name(line, "transfer-encoding"))
        return false;
    if (!is_name(line, "content-length"))
        return true;
    if (head->has_length)
        return false;
    line.next += strlen("content-length:");
    while (line.next < line.end && *line.next == ' ')
        line.next++;
    head->has_length = take_u64(&line, UINT32_MAX, &head->body_length);
    return head->has_length && line.next == line.end;
}

/* Take a line off the front, without its end; false: its end is not here yet. */
static bool take_line(struct text *text, struct text *line)
{
    const char *end = memmem(text->next, (size_t)(text->end - text->next), "\r\n", 2);

    if (end == NULL)
        return false;
    *line = (struct text){.next = text->next, .end = end};
    text->next = end + 2;
    return true;
}

/* Take the head off the front. */
static enum peer_reply take_head(struct text *text, struct head *head)
{
    struct text line;

    if (!take_line(text, &line))
        return PEER_REPLY_INCOMPLETE;
    if (!read_status(line, head))
        return PEER_REPLY_BAD;
    for (;;) {
        if (!take_line(text, &line))
            return PEER_REPLY_INCOMPLETE;
        if (line.next == line.end)
            return head->has_length ? PEER_REPLY_SUMS : PEER_REPLY_BAD;
        if (!read_header(line, head))
            return PEER_REPLY_BAD;
    }
}

/* ------------------------------------------------------------------ the verdict */

static enum peer_reply bad(struct explain *why, const char *reason)
{
    explain_in(why, "%s", reason);
    return PEER_REPLY_BAD;
}

static bool is_of_other_version(struct text body, uint64_t *version)
{
    return take(&body, "payring-peer ") && take_u64(&body, UINT32_MAX, version) &&
           take(&body, "\n") && *version != PEER_VERSION;
}

static enum peer_reply judge(const struct head *head, struct text body, struct peer_sums *sums,
                             struct explain *why)
{
    uint64_t version;

    if (is_of_other_version(body, &version)) {
        explain_in(why, "speaks version %" PRIu64 " of the language of peers, not %u", version,
                   PEER_VERSION);
        return PEER_REPLY_BAD;
    }
    if (head->status == 403)
        return bad(why, "has another secret");
    if (head->status != 200) {
        explain_in(why, "answered with status %u", head->status);
        return PEER_REPLY_BAD;
    }
    return take_sums(body, sums) ? PEER_REPLY_SUMS : bad(why, "answered nonsense");
}

enum peer_reply peer_reply_read(const char *text, size_t length, struct peer_sums *sums,
                                struct explain *why)
{
    struct text rest = {.next = text, .end = text + length};
    struct head head = {.status = 0};
    struct peer_sums found;
    enum peer_reply verdict = take_head(&rest, &head);

    if (verdict == PEER_REPLY_BAD)
        return bad(why, "answered nonsense");
    size_t head_length = (size_t)(rest.next - text);
    /* Known before the body has come, and worth no wait. */
    if (verdict == PEER_REPLY_SUMS && head.body_length > PEER_REPLY_SIZE - head_length)
        return bad(why, "answered too much");
    if (verdict == PEER_REPLY_INCOMPLETE || (size_t)(rest.end - rest.next) < head.body_length)
        return length < PEER_REPLY_SIZE ? PEER_REPLY_INCOMPLETE : bad(why, "answered too much");
    if ((size_t)(rest.end - rest.next) > head.body_length)
        return bad(why, "answered too much");
    verdict = judge(&head, rest, &found, why);
    if (verdict == PEER_REPLY_SUMS)
        *sums = found;
    return verdict;
}

/* -------------------------------------------------------------------- adding up */

static bool is_same_region(const struct peer_sums *one, uint64_t id_hi, uint64_t id_lo)
{
    return one->region_id_hi == id_hi && one->region_id_lo == id_lo;
}

/* Another answer of its region is to be taken instead of answers[at]. */
static bool is_passed_over(const struct peer_sums *answers, unsigned count, unsigned at)
{
    const struct peer_sums *this = &answers[at];

    for (unsigned i = 0; i < count; i++) {
        if (!is_same_region(&answers[i], this->region_id_hi, this->region_id_lo))
            continue;
        if (answers[i].purge_generation > this->purge_generation ||
            (answers[i].purge_generation == this->purge_generation && i < at))
            return true;
    }
    return false;
}

struct payment_summary peer_sums_add_up(const struct peer_sums *answers, unsigned count,
                                        uint64_t own_region_id_hi, uint64_t own_region_id_lo)
{
    struct payment_summary sums = {{0}, {0}};

    for (unsigned at = 0; at < count; at++) {
        if (is_same_region(&answers[at], own_region_id_hi, own_region_id_lo) ||
            is_passed_over(answers, count, at))
            continue;
        for (unsigned i = 0; i < 2; i++) {
            sums.payments[i] += answers[at].totals.payments[i];
            sums.sum_cents[i] += answers[at].totals.sum_cents[i];
        }
    }
    return sums;
}
