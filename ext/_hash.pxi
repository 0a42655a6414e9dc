# The stable hash of values and rows; the specification is in `hashing`, which is its twin.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    #include <string.h>
    #if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    #define HW_LITTLE(bits, word) __builtin_bswap##bits(word)
    #else
    #define HW_LITTLE(bits, word) (word)
    #endif

    static inline uint64_t hw_mum(uint64_t a, uint64_t b) {
      __uint128_t product = (__uint128_t)a * b;
      return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    static inline uint64_t hw_eight(const uint8_t* place) {
      uint64_t word;
      memcpy(&word, place, 8);
      return HW_LITTLE(64, word);
    }
    static inline uint64_t hw_four(const uint8_t* place) {
      uint32_t word;
      memcpy(&word, place, 4);
      return HW_LITTLE(32, word);
    }
    static inline uint64_t hw_block(uint64_t found, uint64_t first, uint64_t second) {
      return hw_mum(first ^ 0xA0761D6478BD642FULL ^ found, second ^ 0xE7037ED1A0B428DBULL);
    }

    static inline uint64_t hw_blocks(uint64_t found, const uint8_t* one, const uint8_t* other) {
      found = hw_block(found, hw_eight(one), hw_eight(one + 8));
      return hw_block(found, hw_eight(other), hw_eight(other + 8));
    }
    static inline uint64_t hw_bytes(const uint8_t* begin, int64_t size) {
      uint64_t found = (uint64_t)size * 0x9E3779B97F4A7C15ULL;
      const uint8_t* end = begin + size;
      if (size > 16) {
        for (; end - begin > 64; begin += 64)
          found = hw_blocks(hw_blocks(found, begin, begin + 16), begin + 32, begin + 48);
        if (size > 64) begin = end - 64;
        if (size > 32) {
          found = hw_blocks(found, begin, begin + 16);
          begin = end - 32;
        }
        return hw_blocks(found, begin, end - 16);
      }
      /* Without reading past the end: words that overlap, shifted. */
      if (size >= 8) {
        int half = 4 * (int)(16 - size);
        return hw_block(found, hw_eight(begin), (hw_eight(begin + size - 8) >> half) >> half);
      }
      if (size >= 4) {
        uint64_t high = hw_four(begin + size - 4) >> (8 * (8 - size));
        return hw_block(found, hw_four(begin) | high << 32, 0);
      }
      if (size > 0) {
        uint64_t last = (uint64_t)begin[size - 1] << (8 * (size - 1));
        return hw_block(found, begin[0] | (uint64_t)begin[size / 2] << (8 * (size / 2)) | last, 0);
      }
      return hw_block(found, 0, 0);
    }
    static inline uint64_t hw_twelve(const uint8_t* begin, int64_t size) {
      /* Of the bytes that can be read, those that count, without a branch on the size. */
      static const uint8_t counted[24] = {255, 255, 255, 255, 255, 255, 255, 255,
                                          255, 255, 255, 255};
      const uint8_t* mask = counted + 12 - size;
      return hw_block((uint64_t)size * 0x9E3779B97F4A7C15ULL, hw_eight(begin) & hw_eight(mask),
                      hw_four(begin + 8) & hw_four(mask + 8));
    }
    """
    uint64_t hw_mum(uint64_t a, uint64_t b) noexcept nogil
    uint64_t hw_bytes(const uint8_t* begin, Py_ssize_t size) noexcept nogil
    uint64_t hw_twelve(const uint8_t* begin, Py_ssize_t size) noexcept nogil


cdef inline uint64_t hash_of_word(uint64_t bits) noexcept nogil:
    return hw_mum(bits ^ 0xA0761D6478BD642FULL, 0xE7037ED1A0B428DBULL)


cdef inline uint64_t hash_of_float(double number) noexcept nogil:
    cdef uint64_t bits
    memcpy(&bits, &number, 8)
    if number != number:
        bits = 0x7FF8000000000000ULL
    elif number == 0.0:
        bits = 0
    return hash_of_word(bits)


cdef inline uint64_t hash_of_bytes(const uint8_t* begin, Py_ssize_t size) noexcept nogil:
    # Blocks of 16 bytes as two little-endian words; they overlap where the size is no power of two,
    # so that few branches depend on it. It is spread over all bits: "a" and "b\0" must not collide.
    return hw_bytes(begin, size)


cdef inline uint64_t hash_of_inline(const uint8_t* begin, Py_ssize_t size) noexcept nogil:
    # `hash_of_bytes` of at most 12 bytes, where 12 can be read: those within a view.
    return hw_twelve(begin, size)


cdef inline uint64_t hash_of_null() noexcept nogil:
    return 0x8EBC6AF09C88C6E3ULL


cdef inline uint64_t hash_with(uint64_t row, uint64_t value) noexcept nogil:
    # The hash of a row, which starts at 0, with one more column.
    return hw_mum(row ^ value ^ 0x8EBC6AF09C88C6E3ULL, 0x589965CC75374CC3ULL)
