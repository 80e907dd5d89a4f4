#include "test/processor/amount.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum { CENT_DECIMALS = 2, FEE_DECIMALS_MAX = 6 };

/* An exponent is only followed this far: no body has room for enough digits
 * to bring a number with a larger one back into our limits. */
enum { EXPONENT_MAX = 10000000 };

struct number {
    bool negative;
    const char *text; /* digits with at most one point among them */
    size_t length;
    size_t digits;
    long fraction_digits;
    long exponent;
};

static void take_apart(const char *text, size_t length, struct number *n)
{
    *n = (struct number){.negative = text[0] == '-'};
    n->text = text + n->negative;
    const char *end = text + length;
    bool fraction = false;
    const char *at = n->text;
    for (; at < end && *at != 'e' && *at != 'E'; at++) {
        if (*at == '.') {
            fraction = true;
            continue;
        }
        n->digits++;
        n->fraction_digits += fraction;
    }
    n->length = (size_t)(at - n->text);
    if (at == end)
        return;
    bool negative = *++at == '-';
    for (at += negative || *at == '+'; at < end && n->exponent < EXPONENT_MAX; at++)
        n->exponent = n->exponent * 10 + (*at - '0');
    n->exponent = negative ? -n->exponent : n->exponent;
}

/* The first `kept` digits as an integer, and in *rest -1, 0 or 1: the digits
 * behind them are less than, exactly or more than half of the last kept one. */
static int128_t cut(const struct number *n, long kept, int *rest)
{
    int128_t sum = 0;
    long at = 0;
    bool beyond = false; /* something other than zeros behind the first digit cut off */
    int first = 0;
    for (size_t i = 0; i < n->length; i++) {
        if (n->text[i] == '.')
            continue;
        int digit = n->text[i] - '0';
        if (at < kept)
            sum = sum <= AMOUNT_LIMIT_CENTS ? sum * 10 + digit : sum;
        else if (at == kept)
            first = digit;
        else
            beyond = beyond || digit != 0;
        at++;
    }
    *rest = first > 5 || (first == 5 && beyond) ? 1 : first == 5 ? 0 : -1;
    return sum;
}

int amount_parse(const char *text, size_t length, int64_t *cents, unsigned *decimals)
{
    struct number n;
    take_apart(text, length, &n);
    long scale = n.fraction_digits - n.exponent;
    long kept = (long)n.digits - scale + CENT_DECIMALS;
    int rest = -1;
    int128_t sum = kept < 0 ? 0 : cut(&n, kept, &rest);
    for (long i = (long)n.digits; i < kept && sum != 0 && sum <= AMOUNT_LIMIT_CENTS; i++)
        sum *= 10;
    if (rest > 0 || (rest == 0 && sum % 2 != 0))
        sum++;
    if (sum > AMOUNT_LIMIT_CENTS)
        return -1;
    *cents = n.negative ? -(int64_t)sum : (int64_t)sum;
    *decimals = scale < 0 ? 0 : scale > CENT_DECIMALS ? CENT_DECIMALS : (unsigned)scale;
    return 0;
}

size_t amount_print_wide(int128_t value, unsigned decimals, char out[AMOUNT_TEXT_SIZE])
{
    char reversed[AMOUNT_TEXT_SIZE];
    bool negative = value < 0;
    int128_t left = negative ? -value : value;
    size_t length = 0;
    for (unsigned digit = 0; left != 0 || digit <= decimals; digit++, left /= 10) {
        if (digit == decimals && decimals > 0)
            reversed[length++] = '.';
        reversed[length++] = (char)('0' + (int)(left % 10));
    }
    if (negative)
        reversed[length++] = '-';
    for (size_t i = 0; i < length; i++)
        out[i] = reversed[length - 1 - i];
    out[length] = '\0';
    return length;
}

size_t amount_print(int64_t cents, unsigned decimals, char out[AMOUNT_TEXT_SIZE])
{
    int64_t value = cents;
    for (unsigned i = decimals; i < CENT_DECIMALS; i++)
        value /= 10;
    return amount_print_wide(value, decimals, out);
}

int fee_parse(const char *text, struct fee *fee)
{
    int64_t one = 1;
    bool fraction = false, any = false;
    *fee = (struct fee){0};
    for (; *text != '\0'; text++) {
        if (*text == '.' && !fraction && any) {
            fraction = true;
            continue;
        }
        if (*text < '0' || *text > '9' || fee->value > one || fee->decimals == FEE_DECIMALS_MAX)
            return -1;
        any = true;
        fee->value = fee->value * 10 + (*text - '0');
        fee->decimals += fraction;
        one *= fraction ? 10 : 1;
    }
    return any && text[-1] != '.' && fee->value <= one ? 0 : -1;
}
