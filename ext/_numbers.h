/* Numbers as JSON and Python write them, exactly.

   A decimal becomes the nearest double by Clinger's fast path where both its parts are exact in a
   double, else by the algorithm of Eisel and Lemire ("Number parsing at a gigabyte per second",
   2021) over a table of 128-bit powers of five, which `hw_set_power` fills. What that cannot
   decide is said to be undecided.

   `hw_number` reads at most 8 bytes past the end of a number, and stops at any byte that cannot
   belong to one. */

#ifndef HEADWATER_NUMBERS_H
#define HEADWATER_NUMBERS_H

#include <float.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define HW_LOWEST_POWER (-342)
#define HW_HIGHEST_POWER 308
#define HW_LONGEST_NUMBER 64

typedef struct {
    uint64_t digits;   /* the first 19 digits that count */
    int32_t power;     /* the value is digits * 10^power */
    int32_t count;     /* how many digits were written, leading zeros among them */
    uint8_t negative;
    uint8_t whole;     /* neither a fraction nor an exponent was written */
    uint8_t cut;       /* digits other than 0 were left out */
} hw_decimal;

enum { HW_UNDECIDED, HW_DECIDED, HW_INFINITE };

static uint64_t hw_powers[2 * (HW_HIGHEST_POWER - HW_LOWEST_POWER + 1)];

static const double hw_exact_powers[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                         1e8,  1e9,  1e10, 1e11, 1e12, 1e13, 1e14, 1e15,
                                         1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};

static inline void hw_set_power(int power, uint64_t high, uint64_t low) {
    hw_powers[2 * (power - HW_LOWEST_POWER)] = high;
    hw_powers[2 * (power - HW_LOWEST_POWER) + 1] = low;
}

static inline void hw_multiply(uint64_t a, uint64_t b, uint64_t* high, uint64_t* low) {
#if defined(__SIZEOF_INT128__)
    unsigned __int128 product = (unsigned __int128)a * b;
    *high = (uint64_t)(product >> 64);
    *low = (uint64_t)product;
#else
    uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
    uint64_t low_low = a0 * b0, middle = a1 * b0 + (low_low >> 32);
    uint64_t other = a0 * b1 + (uint32_t)middle;
    *high = a1 * b1 + (middle >> 32) + (other >> 32);
    *low = (other << 32) | (uint32_t)low_low;
#endif
}

static inline int hw_leading_zeros(uint64_t x) {
#if defined(__GNUC__) || defined(__clang__)
    return __builtin_clzll(x);
#else
    int n = 0;
    while (!(x >> 63)) {
        x <<= 1;
        n++;
    }
    return n;
#endif
}

/* The bits of the double nearest to digits * 10^power; digits is not 0. */
static int hw_eisel_lemire(uint64_t digits, int power, uint64_t* bits) {
    uint64_t high, low, more, rest, mantissa;
    int zeros, upper, shift, exponent;
    const uint64_t* five;
    *bits = 0;
    if (power < HW_LOWEST_POWER) return HW_DECIDED;
    if (power > HW_HIGHEST_POWER) return HW_INFINITE;
    zeros = hw_leading_zeros(digits);
    digits <<= zeros;
    five = hw_powers + 2 * (power - HW_LOWEST_POWER);
    hw_multiply(digits, five[0], &high, &low);
    if ((high & 0x1FF) == 0x1FF) {
        hw_multiply(digits, five[1], &more, &rest);
        low += more;
        if (low < more) high++;
    }
    if (low == UINT64_MAX && (power < -27 || power > 55)) return HW_UNDECIDED;
    upper = (int)(high >> 63);
    shift = upper + 64 - 52 - 3;
    mantissa = high >> shift;
    exponent = (int)(((152170 + 65536) * (int64_t)power) >> 16) + 63 + upper - zeros + 1023;
    if (exponent <= 0) {
        if (1 - exponent >= 64) return HW_DECIDED;
        mantissa >>= 1 - exponent;
        mantissa += mantissa & 1;
        *bits = mantissa >> 1; /* a carry into bit 52 is the exponent of the first normal */
        return HW_DECIDED;
    }
    if (low <= 1 && power >= -4 && power <= 23 && (mantissa & 3) == 1 && mantissa << shift == high)
        mantissa &= ~(uint64_t)1; /* halfway: to even */
    mantissa += mantissa & 1;
    mantissa >>= 1;
    if (mantissa >> 53) {
        mantissa >>= 1;
        exponent++;
    }
    if (exponent >= 2047) return HW_INFINITE;
    *bits = (mantissa & (((uint64_t)1 << 52) - 1)) | ((uint64_t)exponent << 52);
    return HW_DECIDED;
}

/* The double nearest to a decimal that has a fraction or an exponent. */
static inline int hw_double(const hw_decimal* from, double* value) {
    uint64_t bits, next;
    int found;
#if FLT_EVAL_METHOD == 0
    if (from->digits >> 53 == 0 && !from->cut && from->power >= -22 && from->power <= 22) {
        double exact = (double)from->digits;
        if (from->power < 0)
            exact /= hw_exact_powers[-from->power];
        else
            exact *= hw_exact_powers[from->power];
        *value = from->negative ? -exact : exact;
        return HW_DECIDED;
    }
#endif
    bits = 0;
    if (from->digits) {
        found = hw_eisel_lemire(from->digits, from->power, &bits);
        if (found != HW_DECIDED) return found;
        if (from->cut) {
            if (hw_eisel_lemire(from->digits + 1, from->power, &next) != HW_DECIDED || next != bits)
                return HW_UNDECIDED;
        }
    }
    bits |= (uint64_t)from->negative << 63;
    memcpy(value, &bits, 8);
    return HW_DECIDED;
}

static inline int hw_is_digit(uint8_t byte) { return (uint8_t)(byte - '0') < 10; }

/* Take digits into `value`, which wraps if there are too many. */
static inline const uint8_t* hw_digits(const uint8_t* p, uint64_t* value) {
    uint64_t found = *value;
#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    uint64_t eight;
    for (;;) {
        memcpy(&eight, p, 8);
        if (((eight & 0xF0F0F0F0F0F0F0F0) |
             (((eight + 0x0606060606060606) & 0xF0F0F0F0F0F0F0F0) >> 4)) != 0x3333333333333333)
            break;
        eight -= 0x3030303030303030;
        eight = eight * 10 + (eight >> 8);
        eight = (((eight & 0x000000FF000000FF) * 0x000F424000000064) +
                 (((eight >> 16) & 0x000000FF000000FF) * 0x0000271000000001)) >>
                32;
        found = found * 100000000 + eight;
        p += 8;
    }
#endif
    while (hw_is_digit(*p)) found = found * 10 + (uint64_t)(*p++ - '0');
    *value = found;
    return p;
}

/* Read the digits of `p` .. `end` again, of which there are too many for 64 bits. */
static void hw_first_digits(const uint8_t* p, const uint8_t* end, hw_decimal* out) {
    int taken = 0, fraction = 0;
    out->digits = 0;
    for (; p < end && (hw_is_digit(*p) || *p == '.'); p++) {
        if (*p == '.') {
            fraction = 1;
        } else if (taken < 19) {
            out->digits = out->digits * 10 + (uint64_t)(*p - '0');
            taken += out->digits != 0;
            out->power -= fraction;
        } else {
            out->cut |= *p != '0';
            out->power += !fraction;
        }
    }
}

/* Read a JSON number; return its end, or NULL for what is none or has more than 64 bytes. */
static inline const uint8_t* hw_number(const uint8_t* p, hw_decimal* out) {
    const uint8_t *start = p, *first, *point;
    int32_t exponent = 0;
    uint8_t minus;
    out->negative = *p == '-';
    p += out->negative;
    out->digits = 0;
    out->power = 0;
    out->cut = 0;
    out->whole = 1;
    first = p;
    if (*p == '0')
        p++;
    else
        p = hw_digits(p, &out->digits);
    out->count = (int32_t)(p - first);
    if (out->count == 0) return NULL;
    if (*p == '.') {
        point = ++p;
        p = hw_digits(p, &out->digits);
        if (p == point) return NULL;
        out->power = (int32_t)(point - p);
        out->count += (int32_t)(p - point);
        out->whole = 0;
    }
    if ((*p | 0x20) == 'e') {
        p++;
        minus = *p == '-';
        if (*p == '+' || minus) p++;
        if (!hw_is_digit(*p)) return NULL;
        for (; hw_is_digit(*p); p++)
            if (exponent < 100000) exponent = exponent * 10 + (*p - '0');
        if (minus) exponent = -exponent;
        out->whole = 0;
    }
    if (hw_is_digit(*p) || *p == '.' || *p == '-' || *p == '+' || (*p | 0x20) == 'e') return NULL;
    if (p - start > HW_LONGEST_NUMBER) return NULL;
    if (out->count > 19) {
        out->power = 0;
        hw_first_digits(first, p, out);
    }
    out->power += exponent;
    return p;
}

/* The int64 that a whole decimal stands for; 0 if it does not fit. */
static inline int hw_int64(const hw_decimal* from, int64_t* value) {
    if (!from->whole || from->count > 19) return 0;
    if (from->digits > (uint64_t)INT64_MAX + from->negative) return 0;
    *value = from->negative ? (int64_t)(0 - from->digits) : (int64_t)from->digits;
    return 1;
}

/* value * factor, rounded half to even; 0 if it does not fit into 62 bits. factor < 2^20. */
static int hw_rounded(double value, uint64_t factor, int64_t* out) {
    uint64_t bits, high, low, rest_high, rest_low, half_high, half_low;
    int exponent, shift;
    memcpy(&bits, &value, 8);
    exponent = (int)(bits >> 52 & 0x7FF);
    if (exponent == 0x7FF) return 0;
    hw_multiply((bits & (((uint64_t)1 << 52) - 1)) | ((uint64_t)(exponent != 0) << 52), factor,
                &high, &low);
    shift = 1075 - (exponent ? exponent : 1);
    if (shift <= 0) {
        if (high || shift < -62 || low >> (62 + shift)) return 0;
        low <<= -shift;
    } else if (shift >= 128) {
        low = 0;
    } else {
        rest_high = shift > 64 ? high & (((uint64_t)1 << (shift - 64)) - 1) : 0;
        rest_low = shift >= 64 ? low : low & (((uint64_t)1 << shift) - 1);
        half_high = shift > 64 ? (uint64_t)1 << (shift - 65) : 0;
        half_low = shift > 64 ? 0 : (uint64_t)1 << (shift - 1);
        low = shift > 64 ? high >> (shift - 64)
            : shift == 64 ? high
                          : low >> shift | high << (64 - shift);
        high = shift >= 64 ? 0 : high >> shift;
        if (high || low >> 62) return 0;
        if (rest_high > half_high || (rest_high == half_high && rest_low > half_low) ||
            (rest_high == half_high && rest_low == half_low && (low & 1)))
            low++;
    }
    *out = bits >> 63 ? -(int64_t)low : (int64_t)low;
    return 1;
}

#endif
