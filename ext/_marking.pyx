# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The watermark that each row of a partition carries, compiled; the contract is in `marking`."""

import pyarrow as pa

include "_arrow.pxi"

cdef enum:
    BLOCK = 16


def watermarks(times, int64_t newest, int64_t disorder):
    """The watermark just before each row (int64, µs), and the newest time after all of them."""
    cdef Arrow source = Arrow(times)
    cdef View view = source.itself()
    cdef Py_ssize_t length = view.length
    if strcmp(view.format, b"l") and view.format[:4] != b"tsu:":
        raise TypeError(f"times are int64 or timestamps in µs, not {times.dtype}")
    if source.array.null_count > 0:
        raise ValueError(f"times hold {source.array.null_count} nulls")
    buffer = pa.allocate_buffer(8 * length)
    cdef int64_t[::1] marks
    if length:
        marks = memoryview(buffer).cast("B").cast("q")
        with nogil:
            newest = _mark(&view, &marks[0], newest, disorder)
    return pa.Array.from_buffers(pa.int64(), length, [None, buffer]), newest


cdef int64_t _mark(const View* view, int64_t* marks, int64_t newest, int64_t disorder) noexcept nogil:
    # By blocks: times that fall behind the newest, as most do, only have to be compared.
    cdef const int64_t* times = <const int64_t*>view.values + view.start
    cdef Py_ssize_t row = 0, place
    cdef int64_t mark
    cdef bint later
    while row < view.length:
        mark = newest - disorder
        later = row + BLOCK > view.length
        if not later:
            for place in range(BLOCK):
                later |= times[row + place] > newest
        if not later:
            for place in range(BLOCK):
                marks[row + place] = mark
            row += BLOCK
            continue
        for row in range(row, min(row + BLOCK, view.length)):
            marks[row] = newest - disorder
            newest = times[row] if times[row] > newest else newest
        row += 1
    return newest
