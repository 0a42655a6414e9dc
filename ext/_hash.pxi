# The stable hash of values and rows; the specification is in `hashing`, which is its twin.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcpy

cdef extern from *:
    """
    #include <stdint.h>
    static inline uint64_t hw_mum(uint64_t a, uint64_t b) {
      __uint128_t product = (__uint128_t)a * b;
      return (uint64_t)product ^ (uint64_t)(product >> 64);
    }
    """
    uint64_t hw_mum(uint64_t a, uint64_t b) noexcept nogil



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
    # Blocks of 16 bytes as two little-endian words; the last one (there is one always) is padded
    # with zeros.
    cdef uint64_t words[2]
    cdef uint64_t found = <uint64_t>size
    cdef Py_ssize_t left = size
    while left > 16:
        memcpy(words, begin, 16)
        found = hw_mum(words[0] ^ 0xA0761D6478BD642FULL ^ found, words[1] ^ 0xE7037ED1A0B428DBULL)
        begin += 16
        left -= 16
    words[0] = words[1] = 0
    memcpy(words, begin, left)
    return hw_mum(words[0] ^ 0xA0761D6478BD642FULL ^ found, words[1] ^ 0xE7037ED1A0B428DBULL)


cdef inline uint64_t hash_of_null() noexcept nogil:
    return 0x8EBC6AF09C88C6E3ULL


cdef inline uint64_t hash_with(uint64_t row, uint64_t value) noexcept nogil:
    # The hash of a row, which starts at 0, with one more column.
    return hw_mum(row ^ value ^ 0x8EBC6AF09C88C6E3ULL, 0x589965CC75374CC3ULL)
