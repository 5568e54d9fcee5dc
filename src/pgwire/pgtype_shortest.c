/* pgwire/pgtype_shortest.c: the shortest decimal digits of a floating-point number.
 *
 * PostgreSQL 12 and later print a float with the fewest digits that read back as the same float, and the nearest such
 * (manual, 8.1.3 "Floating-Point Types", extra_float_digits). Two ways lead there:
 *
 *   - Most numbers that people store are decimals of at most 15 digits. If value x 10^k is such an integer for a small
 *     k, its digits are the answer: no two decimals of up to 15 digits are the same double.
 *   - All others: exact arithmetic after G. L. Steele and J. L. White ("How to print floating-point numbers
 *     accurately", 1990), with big integers on the stack. The value is R/S; digits come off one by one, until what is
 *     left lies within half the gap M to the neighbouring float.
 *
 * A decimal that lies exactly in the middle between two floats reads back as the even one, if the reader rounds as IEEE
 * 754 wants. PostgreSQL does not count on that and takes such a decimal for neither: 1e23 is 9.999999999999999e+22
 * there. SQLite prints 1.0e+23. The caller says whose way it wants (`takes_middle`). */
#include <math.h>

#include "pgwire/pgtype_internal.h"

/* The largest number here is 2^1024 x 4 or 10^324 x 2^54, some 1130 bits, times ten for the next digit. */
enum { BIG_LIMBS_MAX = 40, BIG_LIMB_BITS = 32 };

/* An unsigned number; limbs[0] is the least, limbs[count - 1] is not 0. */
struct big {
    int count;
    uint32_t limbs[BIG_LIMBS_MAX];
};

static void big_set(struct big *big, uint64_t value)
{
    big->limbs[0] = (uint32_t)value;
    big->limbs[1] = (uint32_t)(value >> BIG_LIMB_BITS);
    big->count = big->limbs[1] != 0 ? 2 : big->limbs[0] != 0;
}

static void big_multiply(struct big *big, uint32_t factor)
{
    uint64_t carry = 0;
    for (int i = 0; i < big->count; i++) {
        carry += (uint64_t)big->limbs[i] * factor;
        big->limbs[i] = (uint32_t)carry;
        carry >>= BIG_LIMB_BITS;
    }
    if (carry != 0) {
        sq_assert(big->count < BIG_LIMBS_MAX);
        big->limbs[big->count++] = (uint32_t)carry;
    }
}

static void big_multiply_pow10(struct big *big, int power)
{
    static const uint32_t pow10[] = {1, 10, 100, 1000, 10000, 100000, 1000000, 10000000, 100000000};
    for (; power >= 9; power -= 9)
        big_multiply(big, 1000000000);
    big_multiply(big, pow10[power]);
}

static void big_shift_left(struct big *big, int bits)
{
    int limbs = bits / BIG_LIMB_BITS;
    if (big->count == 0)
        return;
    sq_assert(big->count + limbs <= BIG_LIMBS_MAX);
    memmove(big->limbs + limbs, big->limbs, (size_t)big->count * sizeof(big->limbs[0]));
    memset(big->limbs, 0, (size_t)limbs * sizeof(big->limbs[0]));
    big->count += limbs;
    big_multiply(big, UINT32_C(1) << (bits % BIG_LIMB_BITS));
}

/* -1, 0, 1 as a + b is less than, equal to, greater than c. */
static int big_compare_sum(const struct big *a, const struct big *b, const struct big *c)
{
    int count = a->count > b->count ? a->count : b->count;
    if (c->count > count + 1)
        return -1;
    if (count > c->count)
        return 1;
    /* From the top: what c has more than a + b so far; a lower limb's carry can make up for 1, not for 2. */
    int64_t ahead = 0;
    for (int i = c->count - 1; i >= 0; i--) {
        int64_t sum = (int64_t)(i < a->count ? a->limbs[i] : 0) + (int64_t)(i < b->count ? b->limbs[i] : 0);
        ahead = ahead * (INT64_C(1) << BIG_LIMB_BITS) + (int64_t)c->limbs[i] - sum;
        if (ahead > 1)
            return -1;
        if (ahead < 0)
            return 1;
    }
    return ahead > 0 ? -1 : 0;
}

static int big_compare(const struct big *a, const struct big *b)
{
    if (a->count != b->count)
        return a->count < b->count ? -1 : 1;
    for (int i = a->count - 1; i >= 0; i--) {
        if (a->limbs[i] != b->limbs[i])
            return a->limbs[i] < b->limbs[i] ? -1 : 1;
    }
    return 0;
}

/* a -= b, for b <= a. */
static void big_subtract(struct big *a, const struct big *b)
{
    int64_t borrow = 0;
    for (int i = 0; i < a->count; i++) {
        borrow += (int64_t)a->limbs[i] - (int64_t)(i < b->count ? b->limbs[i] : 0);
        a->limbs[i] = (uint32_t)borrow;
        borrow >>= BIG_LIMB_BITS;
    }
    sq_assert(borrow == 0);
    while (a->count > 0 && a->limbs[a->count - 1] == 0)
        a->count--;
}

/* R, S and the half gaps to the neighbours, all times the same factor. */
struct shortest {
    struct big value;   /* R */
    struct big one;     /* S */
    struct big gap;     /* M, below */
    struct big gap_top; /* M, above */
    bool takes_middle;
};

/* Whether a decimal reads back as the value: `order` is -1 for one nearer than half the gap, 0 for one in the middle. */
static bool is_inside(const struct shortest *at, int order)
{
    return order < 0 || (order == 0 && at->takes_middle);
}

/* The next digit; value becomes what is left, times ten at the next call. */
static int shortest_digit(struct shortest *at)
{
    big_multiply(&at->value, 10);
    big_multiply(&at->gap, 10);
    big_multiply(&at->gap_top, 10);
    int digit = 0;
    while (big_compare(&at->value, &at->one) >= 0) {
        big_subtract(&at->value, &at->one);
        digit++;
    }
    sq_assert(digit <= 9);
    return digit;
}

/* Sets `at` to significand x 2^exponent, over a power of ten that makes it less than one; returns that power. */
static int shortest_begin(struct shortest *at, uint64_t significand, int exponent, bool is_lower_gap_half)
{
    int up = (exponent > 0 ? exponent : 0) + (is_lower_gap_half ? 2 : 1);
    big_set(&at->value, significand);
    big_shift_left(&at->value, up);
    big_set(&at->one, 1);
    big_shift_left(&at->one, up - exponent);
    big_set(&at->gap, 1);
    big_shift_left(&at->gap, exponent > 0 ? exponent : 0);
    at->gap_top = at->gap;
    if (is_lower_gap_half)
        big_shift_left(&at->gap_top, 1);

    /* log10(2) = 0.30103: from below, and at most one too small. */
    int bits = 64 - __builtin_clzll(significand);
    int power = (int)floor((exponent + bits - 1) * 0.30102999566398114);
    if (power >= 0) {
        big_multiply_pow10(&at->one, power);
    } else {
        big_multiply_pow10(&at->value, -power);
        big_multiply_pow10(&at->gap, -power);
        big_multiply_pow10(&at->gap_top, -power);
    }
    while (is_inside(at, -big_compare_sum(&at->value, &at->gap_top, &at->one))) {
        big_multiply(&at->one, 10);
        power++;
    }
    return power;
}

/* Digits of significand x 2^exponent (not 0); *ret_exponent is the power of ten of the first. */
static size_t shortest_digits(uint64_t significand, int exponent, bool is_lower_gap_half, bool takes_middle,
                              char digits[PGTYPE_DOUBLE_DIGITS_MAX], int *ret_exponent)
{
    struct shortest at = {.takes_middle = takes_middle && significand % 2 == 0};
    int power = shortest_begin(&at, significand, exponent, is_lower_gap_half);
    size_t count = 0;
    bool is_low;
    bool is_high;
    int digit;
    do {
        sq_assert(count < PGTYPE_DOUBLE_DIGITS_MAX);
        digit = shortest_digit(&at);
        is_low = is_inside(&at, big_compare(&at.value, &at.gap));
        is_high = is_inside(&at, -big_compare_sum(&at.value, &at.gap_top, &at.one));
        digits[count++] = (char)('0' + digit);
    } while (!is_low && !is_high);

    /* Both are near enough: the nearer one, and the even one of two. */
    int half = big_compare_sum(&at.value, &at.value, &at.one);
    if (is_high && (!is_low || half > 0 || (half == 0 && digit % 2 == 1))) {
        size_t i = count - 1;
        while (digits[i] == '9' && i > 0)
            digits[i--] = '0';
        sq_assert(digits[i] != '9');
        digits[i]++;
    }
    *ret_exponent = power - 1;
    return count;
}

/* The digits of an integer below 10^17. */
static size_t integer_digits(uint64_t value, char digits[PGTYPE_DOUBLE_DIGITS_MAX])
{
    char reversed[PGTYPE_DOUBLE_DIGITS_MAX];
    size_t count = 0;
    for (; value > 0; value /= 10) {
        sq_assert(count < sizeof(reversed));
        reversed[count++] = (char)('0' + value % 10);
    }
    for (size_t i = 0; i < count; i++)
        digits[i] = reversed[count - 1 - i];
    return count;
}

/* The first way: digits of a decimal of at most 15 digits with at most ten behind the point; 0: it is none. */
static size_t decimal_digits(double value, char digits[PGTYPE_DOUBLE_DIGITS_MAX], int *ret_exponent)
{
    /* All of these are doubles without error, so that the division below rounds once, as reading the decimal does. */
    static const double pow10[] = {1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10};
    for (int k = 0; k < (int)(sizeof(pow10) / sizeof(pow10[0])); k++) {
        double scaled = value * pow10[k];
        if (scaled >= 1e15)
            return 0;
        uint64_t integer = (uint64_t)scaled;
        if (integer > 0 && (double)integer == scaled && scaled / pow10[k] == value) {
            size_t count = integer_digits(integer, digits);
            *ret_exponent = (int)count - 1 - k;
            return count;
        }
    }
    return 0;
}

static void decimal_set(bool is_negative, const char *digits, size_t count, int exponent, struct pgtype_decimal *ret)
{
    while (count > 0 && digits[count - 1] == '0')
        count--;
    int64_t scale = (int64_t)count - 1 - exponent;
    *ret = (struct pgtype_decimal){
        .is_negative = is_negative,
        .digits = digits,
        .length = count,
        .digit_count = count,
        .exponent = exponent,
        .scale = scale > 0 ? scale : 0,
    };
}

/* IEEE 754 binary64: sign 1 bit, exponent 11, fraction 52; significand x 2^(exponent - 1075). */
void pgtype_decimal_of_double(double value, bool takes_middle, char digits[PGTYPE_DOUBLE_DIGITS_MAX],
                              struct pgtype_decimal *ret)
{
    const union {
        double value;
        uint64_t bits;
    } number = {value};
    _Static_assert(sizeof(number.bits) == sizeof(value), "double is binary64");
    uint64_t bits = number.bits;
    uint64_t fraction = bits & ((UINT64_C(1) << 52) - 1);
    int exponent = (int)(bits >> 52 & 0x7FF);
    bool is_negative = bits >> 63 != 0;
    sq_assert(exponent != 0x7FF);

    int first = 0;
    size_t count = 0;
    if (exponent != 0 || fraction != 0) {
        count = decimal_digits(fabs(value), digits, &first);
        if (count == 0) {
            uint64_t significand = exponent != 0 ? fraction | UINT64_C(1) << 52 : fraction;
            count = shortest_digits(significand, (exponent != 0 ? exponent : 1) - 1075, fraction == 0 && exponent > 1,
                                    takes_middle, digits, &first);
        }
    }
    decimal_set(is_negative, digits, count, first, ret);
}

/* IEEE 754 binary32: sign 1 bit, exponent 8, fraction 23; significand x 2^(exponent - 150). */
void pgtype_decimal_of_float(float value, char digits[PGTYPE_DOUBLE_DIGITS_MAX], struct pgtype_decimal *ret)
{
    const union {
        float value;
        uint32_t bits;
    } number = {value};
    _Static_assert(sizeof(number.bits) == sizeof(value), "float is binary32");
    uint32_t bits = number.bits;
    uint32_t fraction = bits & ((UINT32_C(1) << 23) - 1);
    int exponent = (int)(bits >> 23 & 0xFF);
    sq_assert(exponent != 0xFF);

    int first = 0;
    size_t count = 0;
    if (exponent != 0 || fraction != 0) {
        uint32_t significand = exponent != 0 ? fraction | UINT32_C(1) << 23 : fraction;
        count = shortest_digits(significand, (exponent != 0 ? exponent : 1) - 150, fraction == 0 && exponent > 1, false,
                                digits, &first);
    }
    decimal_set(bits >> 31 != 0, digits, count, first, ret);
}
