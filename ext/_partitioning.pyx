# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Kafka's partitioner, and splitting rows by part, compiled; the contract is in `partitioning`."""

from libc.stdint cimport uint32_t
from libc.string cimport memset

include "_keycolumns.pxi"

cdef enum:
    LANES = 4
    FEW = 256  # parts of which every lane has counters of its own

cdef extern from *:
    """
    /* MurmurHash2, 32 bits, with Kafka's seed. */
    static inline uint32_t hw_murmur2(const uint8_t* begin, int64_t size) {
      const uint32_t m = 0x5BD1E995U;
      uint32_t h = 0x9747B28CU ^ (uint32_t)size;
      for (; size >= 4; begin += 4, size -= 4) {
        uint32_t k = (uint32_t)hw_four(begin) * m;
        h = h * m ^ (k ^ k >> 24) * m;
      }
      if (size) {
        if (size == 3) h ^= (uint32_t)begin[2] << 16;
        if (size >= 2) h ^= (uint32_t)begin[1] << 8;
        h = (h ^ begin[0]) * m;
      }
      h = (h ^ h >> 13) * m;
      return h ^ h >> 15;
    }
    """
    unsigned int hw_murmur2(const uint8_t* begin, Py_ssize_t size) noexcept nogil


def murmur2(keys):
    """Kafka's hash of every key, an int32 array; null of a null key."""
    return _hashed(keys, 0)


def kafka_partitions(keys, partitions):
    """The partition that Kafka's clients choose for every key, an int32 array; null of a null."""
    if not 1 <= partitions < 1 << 31:
        raise ValueError(f"partitions must be in 1 .. 2**31 - 1, not {partitions}")
    return _hashed(keys, partitions)


cdef object _hashed(keys, unsigned int partitions):
    cdef Columns columns = Columns([keys])
    cdef Column* column = columns.items
    if not _is_text(column if column.kind != INDICES else column.values):
        raise TypeError(f"a key of Kafka is a string or bytes, not of format {_format(column)!r}")
    buffer = pa.allocate_buffer(4 * columns.length)
    bits = pa.allocate_buffer((columns.length + 7) // 8)
    cdef uint8_t* validity = <uint8_t*><size_t>bits.address
    cdef int32_t* found = <int32_t*><size_t>buffer.address
    cdef Py_ssize_t nulls = 0, wrong
    memset(validity, 255, (columns.length + 7) // 8)
    with nogil:
        wrong = _hash(column, partitions, found, validity, &nulls)
    if wrong >= 0:
        raise outside(wrong)
    return pa.Array.from_buffers(
        pa.int32(), columns.length, [bits if nulls else None, buffer], nulls
    )


cdef bint _is_text(const Column* column):
    return column.kind in (NULLS, VIEWS, OFFSETS, LARGE_OFFSETS, FIXED)


cdef str _format(const Column* column):
    return column.view.format.decode()


cdef Py_ssize_t _hash(
    const Column* column, unsigned int partitions, int32_t* found, uint8_t* validity,
    Py_ssize_t* nulls,
) noexcept nogil:
    # The first row with a value outside, or -1. Without `partitions`, the hash itself.
    cdef Py_ssize_t row, place, size, missing = 0
    cdef const Column* values
    cdef const uint8_t* begin
    cdef unsigned int h
    cdef int state
    for row in range(column.view.length):
        state = stands_at(column, row, &values, &place)
        if state == 0:
            state = bytes_at(values, place, &begin, &size)
        if state < 0:
            return row
        if state > 0:
            validity[row >> 3] &= ~(1 << (row & 7))
            missing += 1
            found[row] = 0
            continue
        h = hw_murmur2(begin, size)
        found[row] = <int32_t>((h & 0x7FFFFFFF) % partitions if partitions else h)
    nulls[0] = missing
    return -1


def split(parts, count):
    """The numbers of the rows part by part, each in row order, and where each part begins."""
    if not 1 <= count < 1 << 31:
        raise ValueError(f"count must be in 1 .. 2**31 - 1, not {count}")
    cdef Columns columns = Columns([parts])
    cdef Column* column = columns.items
    cdef Py_ssize_t length = columns.length, size = count, part
    if strcmp(column.view.format, b"i") or column.kind != INTEGERS:
        raise TypeError(f"parts are int32, not of format {_format(column)!r}")
    if length >= 1 << 32:
        raise ValueError(f"{length} rows; their numbers are 32 bits wide")
    cdef Py_ssize_t lanes = LANES if size <= FEW else 1
    numbers = pa.allocate_buffer(4 * length)
    starts = pa.allocate_buffer(8 * lanes * size)
    cdef uint32_t* target = <uint32_t*><size_t>numbers.address
    cdef int64_t* places = <int64_t*><size_t>starts.address
    cdef const uint8_t* found = place_of(column, 0)
    cdef bint counted
    memset(places, 0, 8 * lanes * size)
    with nogil:
        counted = column.view.validity == NULL or _first_null(&column.view) < 0
        if lanes > 1:
            counted = counted and _count(found, length, size, LANES, places)
        else:
            counted = counted and _count(found, length, size, 1, places)
    if not counted:
        raise _wrong(column, size)
    offsets = [places[part] for part in range(size)]
    offsets.append(length)
    with nogil:
        if lanes > 1:
            _place(found, length, size, LANES, places, target)
        else:
            _place(found, length, size, 1, places, target)
    return pa.Array.from_buffers(pa.uint32(), length, [None, numbers]), offsets


cdef object _wrong(const Column* column, Py_ssize_t size):
    # About the first row without a part.
    cdef Py_ssize_t row
    cdef int32_t part
    for row in range(column.view.length):
        part = _part(place_of(column, 0), row)
        if not is_valid(&column.view, row):
            return ValueError(f"row {row}: its part is null")
        if not 0 <= part < size:
            return IndexError(f"row {row}: there is no part {part} of {size}")


cdef Py_ssize_t _first_null(const View* view) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(view.length):
        if not is_valid(view, row):
            return row
    return -1


cdef inline int32_t _part(const uint8_t* parts, Py_ssize_t row) noexcept nogil:
    cdef int32_t part
    memcpy(&part, parts + 4 * row, 4)
    return part


cdef inline bint _count(
    const uint8_t* parts, Py_ssize_t length, Py_ssize_t size, Py_ssize_t lanes, int64_t* places
) noexcept nogil:
    # Stretches of rows, one a lane, are worked off side by side, so that no row waits for the
    # counter that the row before has changed. Afterwards `places` says where the rows of each lane
    # and part go. False for a row without a part.
    cdef Py_ssize_t stretch = length // lanes, row, lane, part, rows
    cdef int64_t before = 0
    for row in range(stretch):
        for lane in range(lanes):
            part = _part(parts, lane * stretch + row)
            if not 0 <= part < size:
                return False
            places[lane * size + part] += 1
    for row in range(lanes * stretch, length):
        part = _part(parts, row)
        if not 0 <= part < size:
            return False
        places[(lanes - 1) * size + part] += 1
    for part in range(size):
        for lane in range(lanes):
            rows = places[lane * size + part]
            places[lane * size + part] = before
            before += rows
    return True


cdef inline void _place(
    const uint8_t* parts, Py_ssize_t length, Py_ssize_t size, Py_ssize_t lanes, int64_t* places,
    uint32_t* numbers,
) noexcept nogil:
    cdef Py_ssize_t stretch = length // lanes, row, lane, place
    for row in range(stretch):
        for lane in range(lanes):
            place = lane * size + _part(parts, lane * stretch + row)
            numbers[places[place]] = <uint32_t>(lane * stretch + row)
            places[place] += 1
    for row in range(lanes * stretch, length):
        place = (lanes - 1) * size + _part(parts, row)
        numbers[places[place]] = <uint32_t>row
        places[place] += 1
