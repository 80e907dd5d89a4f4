#include "common/money.h"

#include <stdbool.h>

/* The parts of a JSON number: [-] whole [. fraction] [e exponent]. */
struct number {
    const char *whole, *fraction; /* digits */
    size_t whole_length, fraction_length;
    int64_t exponent; /* held at +-EXPONENT_LIMIT */
    bool negative;
};

/* Far beyond the length of any text, so that no number of digits makes up for it; and far from
 * the limits of int64, so that nothing below overflows. */
#define EXPONENT_LIMIT INT64_C(1000000000000000000)

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t count_digits(const char *text, const char *end)
{
    const char *start = text;

    while (text < end && is_digit(*text))
        text++;
    return (size_t)(text - start);
}

/* text: what follows the "e". Returns where it ends, or NULL. */
static const char *read_exponent(const char *text, const char *end, int64_t *exponent)
{
    bool negative = text < end && *text == '-';
    if (text < end && (*text == '-' || *text == '+'))
        text++;

    size_t length = count_digits(text, end);
    int64_t value = 0;
    for (size_t i = 0; i < length; i++) {
        if (value < EXPONENT_LIMIT / 10)
            value = value * 10 + (text[i] - '0');
        else
            value = EXPONENT_LIMIT;
    }
    *exponent = negative ? -value : value;
    return length > 0 ? text + length : NULL;
}

static bool read_number(const char *text, const char *end, struct number *number)
{
    *number = (struct number){.negative = text < end && *text == '-'};
    text += number->negative;

    number->whole = text;
    number->whole_length = count_digits(text, end);
    if (number->whole_length == 0 || (number->whole_length > 1 && *text == '0'))
        return false;
    text += number->whole_length;

    if (text < end && *text == '.') {
        number->fraction = ++text;
        number->fraction_length = count_digits(text, end);
        if (number->fraction_length == 0)
            return false;
        text += number->fraction_length;
    }
    if (text < end && (*text == 'e' || *text == 'E'))
        text = read_exponent(text + 1, end, &number->exponent);
    return text == end;
}

/* The digits before and behind the point as one row; zeros without end follow it. */
static int digit_at(const struct number *number, size_t place)
{
    if (place < number->whole_length)
        return number->whole[place] - '0';
    place -= number->whole_length;
    return place < number->fraction_length ? number->fraction[place] - '0' : 0;
}

static size_t count_leading_zeros(const struct number *number)
{
    size_t digits = number->whole_length + number->fraction_length;
    size_t place = 0;

    while (place < digits && digit_at(number, place) == 0)
        place++;
    return place;
}

/* Half to even: does the rest of the row, from `place` on, take `cents` one up? */
static bool rounds_up(const struct number *number, size_t place, int64_t cents)
{
    int next = digit_at(number, place);

    if (next != 5)
        return next > 5;
    for (place++; place < number->whole_length + number->fraction_length; place++)
        if (digit_at(number, place) != 0)
            return true;
    return cents % 2 != 0;
}

enum money_result money_parse_cents(const char *text, size_t length, int64_t *cents)
{
    struct number number;

    if (!read_number(text, text + length, &number))
        return MONEY_NOT_A_NUMBER;
    size_t first = count_leading_zeros(&number);
    if (number.negative || first == number.whole_length + number.fraction_length)
        return MONEY_NOT_POSITIVE;

    /* How many digits the whole cents have, counted from the first that is not zero. */
    int64_t width = (int64_t)number.whole_length - (int64_t)first + number.exponent + 2;
    if (width < 0)
        return MONEY_NOT_POSITIVE;
    if (width > 14) /* MONEY_MAX_CENTS has 14 */
        return MONEY_TOO_LARGE;

    int64_t value = 0;
    size_t last = first + (size_t)width;
    for (size_t place = first; place < last; place++)
        value = value * 10 + digit_at(&number, place);
    value += rounds_up(&number, last, value);

    if (value == 0)
        return MONEY_NOT_POSITIVE;
    if (value > MONEY_MAX_CENTS)
        return MONEY_TOO_LARGE;
    *cents = value;
    return MONEY_OK;
}

/* Cut the last digit off. Dividing 128 bits is a slow call; amounts and most sums need 64. */
static int take_digit(unsigned __int128 *value)
{
    if (*value > UINT64_MAX) {
        int digit = (int)(*value % 10);
        *value /= 10;
        return digit;
    }
    uint64_t low = (uint64_t)*value;
    *value = low / 10;
    return (int)(low % 10);
}

/* Digits are made from the last to the first, then turned round. */
static size_t format_magnitude(char *text, unsigned __int128 cents)
{
    char reversed[MONEY_SUM_TEXT_SIZE];
    size_t length = 0;

    for (unsigned digits = 0; cents != 0 || digits < 3; digits++) {
        if (digits == 2)
            reversed[length++] = '.';
        reversed[length++] = (char)('0' + take_digit(&cents));
    }
    for (size_t i = 0; i < length; i++)
        text[i] = reversed[length - 1 - i];
    text[length] = '\0';
    return length;
}

size_t money_format_cents(char text[static MONEY_TEXT_SIZE], int64_t cents)
{
    if (cents >= 0)
        return format_magnitude(text, (uint64_t)cents);
    text[0] = '-';
    return 1 + format_magnitude(text + 1, -(uint64_t)cents);
}

size_t money_format_sum128(char text[static MONEY_SUM_TEXT_SIZE], unsigned __int128 sum_cents)
{
    return format_magnitude(text, sum_cents);
}
