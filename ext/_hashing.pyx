# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Stable hashes of rows, and key groups, compiled; the specification is in `hashing`."""

from libc.string cimport memset

include "_keycolumns.pxi"

cdef enum:
    BLOCK = 1024  # rows that are hashed together: their hashes stay in the nearest cache


def row_hashes(columns):
    """The hash of every row over `columns`, a uint64 array."""
    cdef Columns keys = Columns(columns)
    buffer = pa.allocate_buffer(8 * keys.length)
    cdef uint64_t* hashes = <uint64_t*><size_t>buffer.address
    cdef Py_ssize_t size, begin = 0, wrong = -1
    with nogil:
        while begin < keys.length and wrong < 0:
            size = min(BLOCK, keys.length - begin)
            wrong = _hash(keys.items, keys.count, begin, size, hashes + begin)
            begin += size
    if wrong >= 0:
        raise outside(wrong)
    return pa.Array.from_buffers(pa.uint64(), keys.length, [None, buffer])


def key_groups(columns, groups):
    """The key group of every row, an int32 array with values in 0 .. groups - 1."""
    return key_owners(columns, groups, groups)


def key_owners(columns, groups, owners):
    """Who has each row's key group, an int32 array with values in 0 .. owners - 1."""
    if not 1 <= groups < 1 << 31:
        raise ValueError(f"groups must be in 1 .. 2**31 - 1, not {groups}")
    if not 1 <= owners <= groups:
        raise ValueError(f"owners must be in 1 .. {groups}, not {owners}")
    cdef uint64_t all_groups = groups, all_owners = owners
    cdef Columns keys = Columns(columns)
    buffer = pa.allocate_buffer(4 * keys.length)
    cdef int32_t* found = <int32_t*><size_t>buffer.address
    cdef uint64_t hashes[BLOCK]
    cdef Py_ssize_t row, size, begin = 0, wrong = -1
    with nogil:
        while begin < keys.length and wrong < 0:
            size = min(BLOCK, keys.length - begin)
            wrong = _hash(keys.items, keys.count, begin, size, hashes)
            for row in range(size):
                found[begin + row] = <int32_t>(((hashes[row] >> 32) * all_groups) >> 32)
            if all_owners < all_groups:
                for row in range(begin, begin + size):
                    found[row] = <int32_t>(<uint64_t>found[row] * all_owners / all_groups)
            begin += size
    if wrong >= 0:
        raise outside(wrong)
    return pa.Array.from_buffers(pa.int32(), keys.length, [None, buffer])


cdef Py_ssize_t _hash(
    const Column* items, Py_ssize_t count, Py_ssize_t begin, Py_ssize_t size, uint64_t* hashes
) noexcept nogil:
    # Of rows `begin` to `begin + size`. The first row with a value outside, or -1.
    cdef const Column* column
    cdef Py_ssize_t number, row, wrong = -1
    cdef uint64_t value
    memset(hashes, 0, 8 * size)
    for number in range(count):
        column = &items[2 * number]
        if column.kind == INTEGERS or column.kind == SINGLES or column.kind == DOUBLES:
            _add_numbers(column, begin, size, hashes)
        elif column.kind == VIEWS:
            wrong = _add_views(&column.view, begin, size, hashes)
        else:
            for row in range(size):
                if _value(column, begin + row, &value):
                    return begin + row
                hashes[row] = hash_with(hashes[row], value)
        if wrong >= 0:
            return wrong
    return -1


cdef void _add_numbers(
    const Column* column, Py_ssize_t begin, Py_ssize_t size, uint64_t* hashes
) noexcept nogil:
    cdef uint64_t words[BLOCK]
    cdef const uint8_t* source = place_of(column, begin)
    cdef Py_ssize_t row
    if column.kind != INTEGERS:
        hw_canonical(source, column.width, size, words)
        source = <const uint8_t*>words
    elif column.width < 8:
        hw_widen(source, column.width, column.signed, size, words)
        source = <const uint8_t*>words
    if column.view.validity == NULL:
        for row in range(size):
            hashes[row] = hash_with(hashes[row], hash_of_word(hw_bits(source + 8 * row)))
        return
    for row in range(size):
        hashes[row] = hash_with(
            hashes[row],
            hash_of_word(hw_bits(source + 8 * row))
            if is_valid(&column.view, begin + row) else hash_of_null(),
        )


cdef Py_ssize_t _add_views(
    const View* view, Py_ssize_t begin, Py_ssize_t size, uint64_t* hashes
) noexcept nogil:
    # The first row with a value outside, or -1.
    cdef const uint8_t* place = view.values + 16 * (view.start + begin)
    cdef bint all_valid = view.validity == NULL
    cdef Py_ssize_t row, length
    cdef const uint8_t* text
    cdef uint64_t value
    for row in range(size):
        length = hw_length(place + 16 * row)
        if not (all_valid or is_valid(view, begin + row)):
            value = hash_of_null()
        elif 0 <= length <= 12:
            value = hash_of_inline(place + 16 * row + 4, length)
        else:
            text = hw_text(place + 16 * row, view.buffers, view.sizes, view.count, length)
            if text == NULL:
                return begin + row
            value = hw_long(text, length)
        hashes[row] = hash_with(hashes[row], value)
    return -1


cdef inline int _value(const Column* column, Py_ssize_t row, uint64_t* found) noexcept nogil:
    # The hash of any value: 0, or -1 if it lies outside.
    cdef const Column* where
    cdef const uint8_t* place
    cdef Py_ssize_t length, at
    cdef int state = stands_at(column, row, &where, &at)
    if state:
        found[0] = hash_of_null()
        return min(state, 0)
    if where.kind == BOOLS:
        found[0] = hash_of_word(bit_at(&where.view, at))
    elif where.kind in (VIEWS, OFFSETS, LARGE_OFFSETS, FIXED):
        if bytes_at(where, at, &place, &length):
            return -1
        found[0] = hash_of_bytes(place, length)
    else:
        found[0] = _number(where, place_of(where, at))
    return 0


cdef inline uint64_t _number(const Column* column, const uint8_t* place) noexcept nogil:
    cdef uint64_t words[2]
    cdef float single
    cdef double number
    cdef int64_t scale
    if column.kind == INTEGERS:
        return hash_of_word(hw_integer(place, column.width, column.signed))
    if column.kind == DECIMALS:
        scale = hw_decimal(place, column.width, column.scale, words)
        return hash_with(hash_of_bytes(<const uint8_t*>words, 16), hash_of_word(scale))
    if column.kind == HALVES:
        return hash_of_float(hw_half(place))
    if column.kind == SINGLES:
        memcpy(&single, place, 4)
        return hash_of_float(single)
    memcpy(&number, place, 8)
    return hash_of_float(number)
