# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Stable hashes of rows, and key groups, compiled; the specification is in `hashing`."""

from libc.stdint cimport int32_t, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

import pyarrow as pa

from .columns import checked_groups, columns_of

cdef uint64_t NULL_HASH = 0x9E3779B97F4A7C15ULL
cdef uint64_t NAN_BITS = 0x7FF8000000000000ULL
cdef uint64_t FNV_START = 0xCBF29CE484222325ULL
cdef uint64_t FNV_PRIME = 0x100000001B3ULL


cdef struct Rows:
    const uint8_t* validity
    const uint8_t* values
    const uint8_t* data
    Py_ssize_t size
    Py_ssize_t start
    Py_ssize_t length


def key_groups(columns, groups):
    """The key group of every row, an int32 array with values in 0 .. groups - 1."""
    cdef uint64_t count = checked_groups(groups)
    hashes, length = _hashes(columns)
    if not length:
        return pa.array([], pa.int32())
    buffer = pa.allocate_buffer(4 * length)
    cdef const uint64_t[::1] source = memoryview(hashes).cast("B").cast("Q")
    cdef int32_t[::1] target = memoryview(buffer).cast("B").cast("i")
    cdef Py_ssize_t row
    with nogil:
        for row in range(source.shape[0]):
            target[row] = <int32_t>(((source[row] >> 32) * count) >> 32)
    return pa.Array.from_buffers(pa.int32(), length, [None, buffer])


def row_hashes(columns):
    """The hash of every row over `columns`, a uint64 array; raises as `key_groups` does."""
    hashes, length = _hashes(columns)
    return pa.Array.from_buffers(pa.uint64(), length, [None, hashes])


cdef tuple _hashes(columns):
    found = columns_of(columns)
    cdef Py_ssize_t length = found[0].length
    buffer = pa.allocate_buffer(8 * length)
    if not length:
        return buffer, 0
    cdef uint64_t[::1] hashes = memoryview(buffer).cast("B").cast("Q")
    hashes[:] = 0
    for column in found:
        _add(&hashes[0], column)
    return buffer, length


cdef int _add(uint64_t* hashes, column) except -1:
    cdef const uint8_t[::1] validity, values = column.values, data = column.data
    cdef Rows rows
    cdef bint floats = column.form == "float"
    cdef Py_ssize_t wrong = -1
    rows.validity = NULL
    if column.validity is not None:
        validity = column.validity
        rows.validity = &validity[0]
    rows.values = &values[0]
    rows.size = data.shape[0]
    rows.data = &data[0] if rows.size else NULL
    rows.start = column.start
    rows.length = column.length
    if column.form == "bytes":
        with nogil:
            wrong = _add_bytes(hashes, rows)
    else:
        with nogil:
            _add_words(hashes, rows, floats)
    if wrong >= 0:
        raise ValueError(f"row {wrong}: its offsets lie outside the data of the column")
    return 0


cdef void _add_words(uint64_t* hashes, Rows rows, bint floats) noexcept nogil:
    cdef Py_ssize_t row
    cdef uint64_t bits
    cdef double number
    for row in range(rows.length):
        if _is_null(rows, row):
            bits = NULL_HASH
        else:
            memcpy(&bits, rows.values + 8 * (rows.start + row), 8)
            if floats:
                memcpy(&number, &bits, 8)
                if number == 0.0:
                    bits = 0
                elif number != number:
                    bits = NAN_BITS
            bits = _finalizer(bits)
        hashes[row] = _finalizer(hashes[row] * 31 + bits)


cdef Py_ssize_t _add_bytes(uint64_t* hashes, Rows rows) noexcept nogil:
    """The first row whose offsets are wrong; -1 if there is none."""
    cdef Py_ssize_t row
    cdef int64_t begin, end, position
    cdef uint64_t h
    for row in range(rows.length):
        if _is_null(rows, row):
            h = NULL_HASH
        else:
            memcpy(&begin, rows.values + 8 * (rows.start + row), 8)
            memcpy(&end, rows.values + 8 * (rows.start + row + 1), 8)
            if not 0 <= begin <= end <= rows.size:
                return row
            h = FNV_START
            for position in range(begin, end):
                h = (h ^ rows.data[position]) * FNV_PRIME
            h = _finalizer(h)
        hashes[row] = _finalizer(hashes[row] * 31 + h)
    return -1


cdef inline bint _is_null(Rows rows, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t position = rows.start + row
    return rows.validity != NULL and not (rows.validity[position >> 3] >> (position & 7)) & 1


cdef inline uint64_t _finalizer(uint64_t z) noexcept nogil:
    z = (z ^ (z >> 30)) * <uint64_t>0xBF58476D1CE4E5B9ULL
    z = (z ^ (z >> 27)) * <uint64_t>0x94D049BB133111EBULL
    return z ^ (z >> 31)
