/* The shortest decimal that reads back as the same binary float, and how JSON lines spell it.
 *
 * A finite float is c * 2**q. With 10**k the greatest power of ten that is at most 2**q, the
 * decimals that round to the float lie in an interval around V = c * 2**q / 10**k whose width
 * 2**q / 10**k is in [1, 10): so it holds an integer, and at most one multiple of ten
 * (R. Giulietti, "The Schubfach way to render doubles", 2022). The multiple of ten is shorter; if
 * there is none, the integer nearest to V is the shortest and closest.
 *
 * `decimal_nearby` needs one product. It compares in fixed point, whose error is below 2 units, and
 * where two sides are within 2 units of each other it leaves the float to `decimal_exactly`, which
 * is the paper's algorithm. So are powers of two, whose interval is not symmetric, and subnormal floats.
 *
 * `powers_of_ten` is filled before first use: at [k - POWER_MIN] the 128 leading bits of 10**k,
 * rounded up, the upper half first.
 */
#ifndef HEADWATER_SHORTEST_H
#define HEADWATER_SHORTEST_H

#include <stdint.h>
#include <string.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "digits are stored as little-endian words"
#endif

#define INLINED static inline __attribute__((always_inline))
#define OUTLINED static __attribute__((noinline))

#define POWER_MIN (-292)
#define POWER_MAX 324

static uint64_t powers_of_ten[POWER_MAX - POWER_MIN + 1][2];

typedef struct { uint64_t high, low; } wide;

static inline wide product(uint64_t a, uint64_t b) {
#ifdef __SIZEOF_INT128__
  unsigned __int128 p = (unsigned __int128)a * b;
  return (wide){(uint64_t)(p >> 64), (uint64_t)p};
#else
  uint64_t a0 = (uint32_t)a, a1 = a >> 32, b0 = (uint32_t)b, b1 = b >> 32;
  uint64_t low = a0 * b0, mid = a1 * b0 + (low >> 32), across = a0 * b1 + (uint32_t)mid;
  return (wide){a1 * b1 + (mid >> 32) + (across >> 32), across << 32 | (uint32_t)low};
#endif
}

/* floor(log10(2**q)), floor(log10(3/4 * 2**q)), floor(log2(10**k)) for the q and k of a float. */
static inline int log10_of_2(int q) { return (q * 1262611) >> 22; }
static inline int log10_of_2_less(int q) { return (q * 1262611 - 524031) >> 22; }
static inline int log2_of_10(int k) { return (k * 1741647) >> 19; }

/* floor(power * factor / 2**128), its last bit set if that is not exact. */
static inline uint64_t rounded_to_odd(const uint64_t* power, uint64_t factor) {
  wide low = product(power[1], factor), high = product(power[0], factor);
  high.low += low.high;
  high.high += high.low < low.high;
  return high.high | (high.low > 1);
}

/* A decimal of up to 17 digits: (tens * 10 + last) * 10**exponent. */
typedef struct { uint64_t tens; unsigned last; int exponent; } decimal;

OUTLINED decimal decimal_exactly(uint64_t c, int q, int symmetric) {
  const int odd = c & 1;
  const int k = symmetric ? log10_of_2(q) : log10_of_2_less(q);
  const int shift = q + log2_of_10(-k) + 1;
  const uint64_t* power = powers_of_ten[-k - POWER_MIN];
  /* in quarters */
  const uint64_t value = rounded_to_odd(power, 4 * c << shift);
  const uint64_t least = rounded_to_odd(power, (4 * c - 1 - symmetric) << shift) + odd;
  const uint64_t most = rounded_to_odd(power, (4 * c + 2) << shift) - odd;
  uint64_t whole = value / 4;
  const uint64_t tens = whole / 10;
  const int ten_below = least <= 40 * tens, ten_above = 40 * tens + 40 <= most;
  if (ten_below != ten_above) return (decimal){tens + ten_above, 0, k};
  const int below = least <= 4 * whole, above = 4 * whole + 4 <= most;
  const int up = value > 4 * whole + 2 || (value == 4 * whole + 2 && (whole & 1));
  whole += below != above ? above : up;
  return (decimal){whole / 10, (unsigned)(whole % 10), k};
}

INLINED decimal decimal_nearby(uint64_t c, int q) {
  const int k = log10_of_2(q);
  const int shift = q + log2_of_10(-k) + 1; /* in 1 .. 4 */
  const uint64_t* power = powers_of_ten[-k - POWER_MIN];
  wide v = product(power[0], c << shift);
  const uint64_t carried = product(power[1], c << shift).high;
  v.low += carried;
  v.high += v.low < carried;
  const uint64_t tens = v.high / 10, last = v.high - tens * 10;
  /* in units of 2**-60 */
  const uint64_t above_ten = last << 60 | v.low >> 4, below_next = (10ULL << 60) - above_ten;
  const uint64_t half = power[0] >> (5 - shift);
  const int unsure = (above_ten - half + 2 <= 4) | (below_next - half + 2 <= 4) |
                     (v.low - (1ULL << 63) + 4 <= 8);
  if (__builtin_expect(unsure, 0)) return decimal_exactly(c, q, 1);
  /* No predictor knows which of the three it is, so there is no branch. The last digit does not
   * become 10: the next multiple of ten would be within `half`. */
  const int ten_below = above_ten < half, ten_above = below_next < half;
  const unsigned nearest = (unsigned)(last + (v.low >> 63));
  return (decimal){tens + ten_above, nearest & ((unsigned)(ten_below | ten_above) - 1), k};
}

#define ZEROS 0x3030303030303030ULL
#define E15 1000000000000000ULL

static inline void store8(uint8_t* out, uint64_t word) { memcpy(out, &word, 8); }

/* Eight decimal digits of a number below 10**8, the first one in the lowest byte. */
INLINED uint64_t eight_digits(uint64_t number) {
  uint64_t fours = (number * 109951163) >> 40;
  fours |= (number - fours * 10000) << 32;
  uint64_t twos = ((fours * 5243) >> 19) & 0x7F0000007FULL;
  twos |= (fours - twos * 100) << 16;
  const uint64_t ones = ((twos * 103) >> 10) & 0x000F000F000F000FULL;
  return ones | (twos - ones * 10) << 8;
}

/* Writes up to 8 bytes more than the number has digits. */
INLINED uint8_t* write_below_e8(uint8_t* out, uint64_t number) {
  const uint64_t digits = eight_digits(number);
  const int skipped = __builtin_ctzll(digits | 1ULL << 56) >> 3;
  store8(out, (digits | ZEROS) >> 8 * skipped);
  return out + 8 - skipped;
}

/* Writes up to 24 bytes. */
OUTLINED uint8_t* write_natural(uint8_t* out, uint64_t number) {
  if (__builtin_expect(number < 100000000, 1)) return write_below_e8(out, number);
  const uint64_t upper = number / 100000000;
  if (upper < 100000000) {
    out = write_below_e8(out, upper);
  } else {
    out = write_below_e8(out, upper / 100000000);
    store8(out, eight_digits(upper % 100000000) | ZEROS);
    out += 8;
  }
  store8(out, eight_digits(number % 100000000) | ZEROS);
  return out + 8;
}

/* `bits` in two's complement if negative. */
static inline uint8_t* write_integer(uint8_t* out, uint64_t bits, int negative) {
  *out = '-';
  return write_natural(out + negative, negative ? -bits : bits);
}

static uint8_t* write_exponent(uint8_t* out, int exponent) {
  *out++ = 'e';
  *out++ = exponent < 0 ? '-' : '+';
  if (exponent < 0) exponent = -exponent;
  if (exponent >= 100) *out++ = (uint8_t)('0' + exponent / 100);
  if (exponent >= 10) *out++ = (uint8_t)('0' + exponent / 10 % 10);
  *out++ = (uint8_t)('0' + exponent % 10);
  return out;
}

/* Spells a decimal that is not 0: without an exponent of ten where that of its first digit is in
 * least .. most. Writes up to 26 bytes. */
INLINED uint8_t* write_decimal(uint8_t* out, decimal number, int least, int most) {
  uint64_t digits = number.tens, last = number.last;
  int exponent = number.exponent + 16;
  if (__builtin_expect(digits < E15, 1)) {
    digits = digits * 10 + last, last = 0, exponent--;
    while (__builtin_expect(digits < E15, 0)) digits *= 10, exponent--;
  }
  const uint64_t upper = digits / 100000000;
  uint64_t a = eight_digits(upper), b = eight_digits(digits - upper * 100000000);
  const uint64_t final = b ? b : a;
  int length = (b ? 16 : 8) - (__builtin_clzll(final) >> 3);
  length = last ? 17 : length;
  a |= ZEROS;
  b |= ZEROS;
  last |= '0';
  if (__builtin_expect(exponent >= 0 && exponent <= most, 1)) {
    const int shift = 8 * ((exponent + 1) & 7);
    const uint64_t before = (1ULL << shift) - 1, point = (uint64_t)'.' << shift;
    if (exponent < 7) {
      store8(out, (a & before) | point | (a & ~before) << 8);
      store8(out + 8, a >> 56 | b << 8);
      store8(out + 16, b >> 56 | last << 8);
    } else if (exponent < 15) {
      store8(out, a);
      store8(out + 8, (b & before) | point | (b & ~before) << 8);
      store8(out + 16, b >> 56 | last << 8);
    } else {
      store8(out, a);
      store8(out + 8, b);
      store8(out + 16, '.' | last << 8);
    }
    return out + 1 + (length > exponent + 2 ? length : exponent + 2);
  }
  const int small = exponent < 0 && exponent >= least;
  if (small) {
    memcpy(out, "0.000000", 8);
    out += 1 - exponent;
    store8(out, a);
  } else {
    out[0] = (uint8_t)a;
    out[1] = '.';
    store8(out + 2, a >> 8);
    out += length > 1;
  }
  store8(out + 8, b);
  out[16] = (uint8_t)last;
  return small ? out + length : write_exponent(out + length, exponent);
}

static inline uint8_t* write_null(uint8_t* out) {
  memcpy(out, "null", 4);
  return out + 4;
}

/* Spells number / 10**4, which is below 10**8; writes up to 16 bytes. */
static inline uint8_t* write_short(uint8_t* out, uint64_t number) {
  const uint64_t whole = number / 10000, places = number - whole * 10000;
  const uint64_t ones = eight_digits(places) >> 32;
  out = write_below_e8(out, whole);
  store8(out, '.' | (ones | (uint32_t)ZEROS) << 8);
  return out + 5 - (__builtin_clz((uint32_t)ones | 1) >> 3);
}

/* Fixed notation from 1e-5 to below 1e16; NaN and infinities are null. Writes up to 26 bytes. */
OUTLINED uint8_t* write_double(uint8_t* out, uint64_t bits) {
  const uint64_t magnitude = bits & ~(1ULL << 63), c = bits & ((1ULL << 52) - 1), one = 1ULL << 52;
  const int biased = (int)(magnitude >> 52);
  double value;
  memcpy(&value, &magnitude, 8);
  *out = '-';
  if (value < 1e8) {
    /* A decimal of up to 15 digits that reads back as the float is the only one. */
    const int64_t places = (int64_t)(value * 1e4 + 0.5);
    if ((double)places / 1e4 == value) return write_short(out + (bits >> 63), (uint64_t)places);
  }
  decimal shortest;
  if (__builtin_expect(c != 0 && biased != 0 && biased != 0x7FF, 1)) {
    shortest = decimal_nearby(c | one, biased - 1075);
  } else if (biased == 0x7FF) {
    memcpy(out, "null", 4);
    return out + 4;
  } else {
    shortest = decimal_exactly(biased ? c | one : c, biased ? biased - 1075 : -1074, biased <= 1);
  }
  return write_decimal(out + (bits >> 63), shortest, -5, 15);
}

/* Fixed notation from 1e-6 to below 1e13; NaN and infinities are null. Writes up to 26 bytes. */
OUTLINED uint8_t* write_float(uint8_t* out, uint32_t bits) {
  const int biased = (int)(bits >> 23 & 0xFF);
  const uint64_t c = bits & ((1U << 23) - 1), one = 1U << 23;
  if (biased == 0xFF) {
    memcpy(out, "null", 4);
    return out + 4;
  }
  *out = '-';
  out += bits >> 31;
  if ((bits << 1) == 0) {
    memcpy(out, "0.0", 3);
    return out + 3;
  }
  const uint64_t whole = biased ? c | one : c;
  const int q = biased ? biased - 150 : -149;
  const decimal shortest = c != 0 && biased != 0
                               ? decimal_nearby(whole, q)
                               : decimal_exactly(whole, q, c != 0 || biased <= 1);
  return write_decimal(out, shortest, -6, 12);
}

#endif
