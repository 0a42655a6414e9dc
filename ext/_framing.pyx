# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Frames that show whether they are whole, compiled; the format is in `framing`."""

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

from . import framing
from .framing import Ending, Frame, Scan, check_limits, check_range, check_sizes, view_of

cdef extern from "_crc32c.h" nogil:
    ctypedef uint32_t (*crc32c_way)(uint32_t crc, const uint8_t* data, size_t size)
    void crc32c_setup()
    crc32c_way crc32c_named(const char* name)
    uint32_t crc32c_of(uint32_t start, const uint8_t* data, size_t size)

crc32c_setup()

cdef const uint8_t* MAGIC = b"\x89HWF"
cdef enum:
    VERSION = 1
    PROLOGUE = 32
    ALIGNMENT = 64
    # Frames found before the interpreter lock is taken to make objects of them.
    CHUNK = 64
    # A lock let go for less than this many bytes costs more than it gives.
    WORTH_THE_LOCK = 8192

# Besides these, what is wrong with a frame as its place in REASONS.
cdef enum:
    TORN = -2
    WHOLE = -1
    BAD_MAGIC = 0
    BAD_ZEROS = 1
    BAD_PROLOGUE = 2
    BAD_VERSION = 3
    BAD_LENGTH = 4
    BAD_HEADER = 5
    BAD_BODY = 6
    BAD_PADDING = 7

cdef tuple REASONS = framing.REASONS
assert REASONS == (
    "magic", "zeros", "prologue", "version", "length", "header", "body", "padding"
)
cdef object END = Ending.END, TORN_END = Ending.TORN, CORRUPT = Ending.CORRUPT
cdef object MORE = Ending.MORE
cdef object _new = tuple.__new__  # that of a named tuple only calls it


cdef struct Span:
    int64_t start
    int64_t header_end
    int64_t body_start
    int64_t body_end
    int64_t end


cdef struct Limits:
    uint64_t header
    uint64_t body


def crc32c(data, start=0):
    """The CRC32C of `data`, or of what has the CRC32C `start` with `data` after it."""
    cdef uint32_t crc = _started(start)
    cdef Py_buffer view
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        return _checksum(crc, <const uint8_t*>view.buf, view.len)
    finally:
        PyBuffer_Release(&view)


def ways():
    """The ways to a CRC32C that this processor has, the slowest first."""
    return [name for name in ("soft", "hardware", "folding") if crc32c_named(name.encode())]


def crc32c_by(way, data, start=0):
    """`crc32c` by one of the `ways`, for tests; raises ValueError for one that there is not."""
    cdef uint32_t crc = _started(start)
    cdef bytes name = way.encode()
    cdef crc32c_way chosen = crc32c_named(name)
    cdef const uint8_t[::1] view = view_of(data)
    if chosen == NULL:
        raise ValueError(f"there is no way {way} here")
    if not view.shape[0]:
        return crc
    return ~chosen(~crc, &view[0], view.shape[0]) & 0xFFFFFFFF


def encode(header, body, *, max_header=framing.MAX_HEADER, max_body=framing.MAX_BODY):
    """The frame as buffers to be written one after the other; the body is not copied."""
    check_limits(max_header, max_body)
    cdef const uint8_t[::1] head = view_of(header), view
    parts = body if isinstance(body, (list, tuple)) else [body]
    views = [view_of(part) for part in parts]
    cdef int64_t size = 0
    for each in views:
        size += len(each)
    check_sizes(head.shape[0], size, max_header, max_body)
    cdef uint32_t crc = 0
    for each in views:
        if each:
            view = each
            crc = _checksum(crc, &view[0], view.shape[0])
    frame = [_first(head, size, crc)]
    frame += [part for part, each in zip(parts, views) if each]
    if size % ALIGNMENT:
        frame.append(bytes(_padding(size)))
    return frame


def scan(data, offset=0, *, max_frames=None, max_header=framing.MAX_HEADER,
         max_body=framing.MAX_BODY):
    """The whole frames from `offset` on, and how they end; every byte is checked once."""
    cdef Py_buffer view
    cdef Limits limits
    check_limits(max_header, max_body)
    limits.header = max_header
    limits.body = max_body
    PyObject_GetBuffer(data, &view, PyBUF_SIMPLE)
    try:
        check_range(offset, view.len, max_frames)
        return _scan(<const uint8_t*>view.buf, view.len, offset, max_frames, limits)
    finally:
        PyBuffer_Release(&view)


cdef uint32_t _started(start) except? 0:
    if not 0 <= start < 1 << 32:
        raise ValueError(f"start is in 0 .. 2**32 - 1, not {start}")
    return start


cdef uint32_t _checksum(uint32_t start, const uint8_t* data, Py_ssize_t size):
    if size < WORTH_THE_LOCK:
        return crc32c_of(start, data, size)
    with nogil:
        start = crc32c_of(start, data, size)
    return start


cdef bytes _first(const uint8_t[::1] header, int64_t size, uint32_t body_crc):
    """The prologue and the header, with what pads them."""
    cdef Py_ssize_t length = header.shape[0], used = PROLOGUE + length
    cdef const uint8_t* source = &header[0] if length else NULL
    cdef bytes first = PyBytes_FromStringAndSize(NULL, used + _padding(used))
    cdef uint8_t* target = <uint8_t*>PyBytes_AS_STRING(first)
    memcpy(target, MAGIC, 4)
    _put(target + 4, VERSION, 4)
    _put(target + 8, length, 4)
    _put(target + 12, crc32c_of(0, source, length), 4)
    _put(target + 16, size, 8)
    _put(target + 24, body_crc, 4)
    _put(target + 28, crc32c_of(0, target, 28), 4)
    if length:
        memcpy(target + PROLOGUE, source, length)
    memset(target + used, 0, _padding(used))
    return first


cdef _scan(const uint8_t* data, int64_t size, int64_t at, max_frames, Limits limits):
    cdef Span[CHUNK] spans
    cdef Span span
    cdef int wanted, found, status = WHOLE
    cdef int64_t left = size if max_frames is None else min(max_frames, size)
    cdef list frames = []
    while at < size and left:
        wanted = <int>min(left, CHUNK)
        if size - at < WORTH_THE_LOCK:
            found = _chunk(data, size, at, limits, wanted, spans, &status)
        else:
            with nogil:
                found = _chunk(data, size, at, limits, wanted, spans, &status)
        for span in spans[:found]:
            fields = (span.start, span.header_end, span.body_start, span.body_end, span.end)
            frames.append(_new(Frame, fields))
            at = span.end
        left -= found
        if status == TORN:
            return Scan(tuple(frames), TORN_END, at, spans[found].end - size)
        if status != WHOLE:
            return Scan(
                tuple(frames), CORRUPT, at, 0, REASONS[status],
                _resume(data, size, spans[found].end),
            )
    return Scan(tuple(frames), END if at == size else MORE, at)


cdef _resume(const uint8_t* data, int64_t size, int64_t at):
    cdef int64_t place
    with nogil:
        place = _prologue_from(data, size, at)
    return None if place < 0 else place


cdef int _chunk(const uint8_t* data, int64_t size, int64_t at, Limits limits, int wanted,
                Span* spans, int* status) noexcept nogil:
    """Fill `spans` with whole frames; where `status` is not WHOLE, one more says why."""
    cdef int found = 0
    while found < wanted and at < size:
        status[0] = _frame_at(data, size, at, limits, &spans[found])
        if status[0] != WHOLE:
            break
        at = spans[found].end
        found += 1
    return found


cdef int _frame_at(const uint8_t* data, int64_t size, int64_t at, Limits limits,
                   Span* span) noexcept nogil:
    """Check a frame; its `end` is where to look on if it is damaged."""
    cdef int64_t there = size - at
    cdef uint8_t[PROLOGUE] prologue
    cdef uint64_t h, b
    span.start = at
    span.end = at + ALIGNMENT
    if memcmp(data + at, MAGIC, <size_t>min(there, 4)):
        if not _zeros(data + at, there):
            return BAD_MAGIC
        span.end = size
        return BAD_ZEROS
    if there < PROLOGUE:
        return TORN
    # A copy, as what is mapped may change after it was checked.
    memcpy(prologue, data + at, PROLOGUE)
    if _get(prologue + 28, 4) != crc32c_of(0, prologue, 28):
        return BAD_PROLOGUE
    if _get(prologue + 4, 4) != VERSION:
        return BAD_VERSION
    h, b = _get(prologue + 8, 4), _get(prologue + 16, 8)
    if h > limits.header or b > limits.body:
        return BAD_LENGTH
    span.header_end = at + PROLOGUE + <int64_t>h
    span.body_start = span.header_end + _padding(PROLOGUE + <int64_t>h)
    span.body_end = span.body_start + <int64_t>b
    span.end = span.body_end + _padding(<int64_t>b)
    return _contents(data, size, prologue, span)


cdef int _contents(const uint8_t* data, int64_t size, const uint8_t* prologue,
                   Span* span) noexcept nogil:
    """Check header, body and what pads them, as far as they are there."""
    cdef int64_t header = span.start + PROLOGUE
    if span.header_end <= size:
        if _get(prologue + 12, 4) != crc32c_of(0, data + header, span.header_end - header):
            return BAD_HEADER
        if not _zeros(data + span.header_end, min(size, span.body_start) - span.header_end):
            return BAD_PADDING
    if span.body_end <= size:
        if _get(prologue + 24, 4) != crc32c_of(
            0, data + span.body_start, span.body_end - span.body_start
        ):
            return BAD_BODY
        if not _zeros(data + span.body_end, min(size, span.end) - span.body_end):
            return BAD_PADDING
    return WHOLE if span.end <= size else TORN


cdef int64_t _prologue_from(const uint8_t* data, int64_t size, int64_t at) noexcept nogil:
    """The first place from `at` on, in steps of 64, where an intact prologue stands, or -1."""
    while at <= size - PROLOGUE:
        if not memcmp(data + at, MAGIC, 4):
            if _get(data + at + 28, 4) == crc32c_of(0, data + at, 28):
                return at
        at += ALIGNMENT
    return -1


cdef bint _zeros(const uint8_t* data, int64_t size) noexcept nogil:
    cdef uint64_t words[8]
    cdef int64_t place = 0
    while size - place >= 64:
        memcpy(words, data + place, 64)
        if (words[0] | words[1] | words[2] | words[3] | words[4] | words[5] | words[6] | words[7]):
            return False
        place += 64
    while place < size:
        if data[place]:
            return False
        place += 1
    return True


cdef inline int64_t _padding(int64_t size) noexcept nogil:
    """Bytes from `size` to the next multiple of 64."""
    return (ALIGNMENT - size % ALIGNMENT) % ALIGNMENT


cdef inline uint64_t _get(const uint8_t* data, int size) noexcept nogil:
    """A little-endian integer; compilers make one load of it."""
    cdef uint64_t value = 0
    cdef int place
    for place in range(size):
        value |= <uint64_t>data[place] << (8 * place)
    return value


cdef inline void _put(uint8_t* data, uint64_t value, int size) noexcept nogil:
    cdef int place
    for place in range(size):
        data[place] = <uint8_t>(value >> (8 * place))
