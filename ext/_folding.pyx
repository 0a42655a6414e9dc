# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Incremental aggregates over flat state, compiled; the contract is in `folding`."""

from libc.stdint cimport INT64_MAX, int64_t, uint8_t, uint64_t
from libc.string cimport memcpy

from .rows import check_running, check_state, numbers, pair, presence

ctypedef fused number:
    int64_t
    double


cdef struct Places:
    const uint8_t* slots
    const uint8_t* values
    const uint8_t* validity
    Py_ssize_t start
    Py_ssize_t length
    int64_t lowest
    int64_t highest


def fold_count(slots, values, counts, running=None):
    """Count the rows of each slot in `counts` ("q"), or the values that are not null."""
    rows = presence(slots, values)
    cdef Places places = _places(rows)
    check_state(rows, places.lowest, places.highest, counts=(counts, "q"))
    check_running(rows, "q", running)
    cdef int64_t[::1] state = counts
    cdef int64_t[::1] after = running
    cdef int64_t* trace = NULL if running is None else &after[0]
    with nogil:
        _count(places, &state[0], trace)


def fold_sum(slots, values, sums, running=None):
    """Add the values of each slot to `sums` ("q" for int64, which wraps; "d" for float64)."""
    rows = numbers(slots, values)
    cdef Places places = _places(rows)
    check_state(rows, places.lowest, places.highest, sums=(sums, rows.code))
    check_running(rows, rows.code, running)
    if rows.code == "q":
        _sum_in[int64_t](places, sums, running)
    else:
        _sum_in[double](places, sums, running)


def fold_min(slots, values, best, seen, running=None):
    """Keep the least value of each slot in `best`; `seen` ("b") becomes 1 where there is one."""
    _fold_best(numbers(slots, values), True, best, seen, running)


def fold_max(slots, values, best, seen, running=None):
    """Keep the greatest value of each slot in `best`, as `fold_min` does the least."""
    _fold_best(numbers(slots, values), False, best, seen, running)


def fold_moments(slots, values, counts, means, squares, running=None):
    """Welford's moments of each slot, of int64 or float64 values."""
    rows = numbers(slots, values)
    cdef Places places = _places(rows)
    check_state(
        rows,
        places.lowest,
        places.highest,
        counts=(counts, "q"),
        means=(means, "d"),
        squares=(squares, "d"),
    )
    running_means, running_squares = pair(running)
    check_running(rows, "d", running_means, running_squares)
    _moments_in(
        places, counts, means, squares, running_means, running_squares, rows.code == "q"
    )


cdef _fold_best(rows, bint least, best, seen, running):
    cdef Places places = _places(rows)
    check_state(rows, places.lowest, places.highest, best=(best, rows.code), seen=(seen, "b"))
    check_running(rows, rows.code, running)
    if rows.code == "q":
        _best_in[int64_t](places, least, best, seen, running)
    else:
        _best_in[double](places, least, best, seen, running)


cdef Places _places(rows):
    """Pointers into the views of `rows`, which the caller keeps alive, and the slots' bounds."""
    cdef Places places
    cdef const uint8_t[::1] slots = rows.slots, values = rows.values, validity
    places.slots = &slots[0]
    places.values = &values[0]
    places.validity = NULL
    if rows.validity is not None:
        validity = rows.validity
        places.validity = &validity[0]
    places.start = rows.start
    places.length = rows.length
    with nogil:
        _bound(&places)
    return places


cdef void _bound(Places* places) noexcept nogil:
    cdef Py_ssize_t row
    cdef int64_t slot
    places.lowest = INT64_MAX if places.length else 0
    places.highest = -1
    for row in range(places.length):
        memcpy(&slot, places.slots + 8 * row, 8)
        if slot < places.lowest:
            places.lowest = slot
        if slot > places.highest:
            places.highest = slot


cdef _sum_in(Places places, number[::1] sums, number[::1] running):
    cdef number* trace = NULL if running is None else &running[0]
    with nogil:
        _sum(places, &sums[0], trace)


cdef _best_in(Places places, bint least, number[::1] best, signed char[::1] seen,
              number[::1] running):
    cdef number* trace = NULL if running is None else &running[0]
    with nogil:
        _best(places, least, &best[0], &seen[0], trace)


cdef _moments_in(Places places, int64_t[::1] counts, double[::1] means, double[::1] squares,
                 double[::1] running_means, double[::1] running_squares, bint ints):
    cdef double* trace = NULL if running_means is None else &running_means[0]
    cdef double* spread = NULL if running_squares is None else &running_squares[0]
    with nogil:
        if ints:
            _moments[int64_t](places, 0, &counts[0], &means[0], &squares[0], trace, spread)
        else:
            _moments[double](places, 0, &counts[0], &means[0], &squares[0], trace, spread)


cdef inline int64_t _slot(Places* places, Py_ssize_t row) noexcept nogil:
    cdef int64_t slot
    memcpy(&slot, places.slots + 8 * row, 8)
    return slot


cdef inline bint _is_valid(Places* places, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t position = places.start + row
    if places.validity == NULL:
        return True
    return (places.validity[position >> 3] >> (position & 7)) & 1


cdef void _count(Places places, int64_t* counts, int64_t* trace) noexcept nogil:
    cdef Py_ssize_t row
    cdef int64_t slot
    for row in range(places.length):
        slot = _slot(&places, row)
        if _is_valid(&places, row):
            counts[slot] += 1
        if trace != NULL:
            trace[row] = counts[slot]


cdef void _sum(Places places, number* sums, number* trace) noexcept nogil:
    cdef Py_ssize_t row
    cdef int64_t slot
    cdef number value
    for row in range(places.length):
        slot = _slot(&places, row)
        if _is_valid(&places, row):
            memcpy(&value, places.values + 8 * row, 8)
            if number is int64_t:
                # Signed overflow is undefined in C.
                sums[slot] = <int64_t>(<uint64_t>sums[slot] + <uint64_t>value)
            else:
                sums[slot] += value
        if trace != NULL:
            trace[row] = sums[slot]


cdef void _best(Places places, bint least, number* best, signed char* seen,
                number* trace) noexcept nogil:
    cdef Py_ssize_t row
    cdef int64_t slot
    cdef number value, old
    for row in range(places.length):
        slot = _slot(&places, row)
        if _is_valid(&places, row):
            memcpy(&value, places.values + 8 * row, 8)
            old = best[slot]
            if not seen[slot] or old != old or (value <= old if least else value >= old):
                best[slot] = value
                seen[slot] = 1
        if trace != NULL:
            trace[row] = best[slot]


cdef void _moments(Places places, number kind, int64_t* counts, double* means, double* squares,
                   double* trace, double* spread) noexcept nogil:
    cdef Py_ssize_t row
    cdef int64_t slot
    cdef number item
    cdef double value, delta
    for row in range(places.length):
        slot = _slot(&places, row)
        if _is_valid(&places, row):
            memcpy(&item, places.values + 8 * row, 8)
            value = <double>item
            counts[slot] += 1
            delta = value - means[slot]
            means[slot] += delta / <double>counts[slot]
            squares[slot] += delta * (value - means[slot])
        if trace != NULL:
            trace[row] = means[slot]
            spread[row] = squares[slot]
