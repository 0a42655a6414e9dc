# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""JSON into columns, compiled; the contract is in `jsondecoding` and `jsonfields`."""

import threading

import pyarrow as pa

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_GET_SIZE
from libc.stdint cimport INT32_MAX, INT64_MAX, INT64_MIN, int8_t, int16_t, int32_t, int64_t
from libc.stdint cimport uint8_t, uint64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc, realloc
from libc.string cimport memchr, memcmp, memcpy, memset

from .jsonfields import FACTORS, REQUIRED, Decoded, Doubt, checked_fields, checked_sizes

cdef extern from "_numbers.h" nogil:
    const int HW_LOWEST_POWER, HW_HIGHEST_POWER, HW_DECIDED, HW_UNDECIDED
    ctypedef struct hw_decimal:
        int32_t count
        uint8_t negative, whole
    void hw_set_power(int power, uint64_t high, uint64_t low)
    const uint8_t* hw_number(const uint8_t* p, hw_decimal* out)
    int hw_int64(const hw_decimal* number, int64_t* value)
    int hw_double(const hw_decimal* number, double* value)
    int hw_rounded(double value, uint64_t factor, int64_t* out)

cdef extern from "_jsontext.h" nogil:
    const int HW_PADDING
    ctypedef struct hw_text:
        const uint8_t* at
        size_t size
        uint8_t wide, escaped
    const uint8_t* hw_spaces(const uint8_t* p, int feeds)
    const uint8_t* hw_string(const uint8_t* p, hw_text* out)
    Py_ssize_t hw_unescape(const hw_text* text, uint8_t* out)
    const uint8_t* hw_skip(const uint8_t* p, int feeds, const uint8_t** fault)

cdef extern from "_isotime.h" nogil:
    int hw_date(const uint8_t* p, size_t size, int64_t* days)
    size_t hw_clock(const uint8_t* p, size_t size, int64_t* micros)
    int hw_instant(const uint8_t* p, size_t size, int64_t* micros)

cdef extern from "Python.h":
    double PyOS_string_to_double(const char* s, char** end, void* overflow) except? -1.0

include "_jsonnodes.pxi"

cdef struct Mistrust:
    int64_t line
    Py_ssize_t start
    Py_ssize_t end
    Py_ssize_t offset
    Reason reason

cdef struct Run:
    Node* root
    int feeds
    Py_ssize_t longest
    Py_ssize_t expected  # rows
    int64_t line
    uint64_t stamp  # of the object that was begun last
    bint starved  # there is no memory
    Reason reason
    const uint8_t* at
    int64_t* rows
    Py_ssize_t rows_room
    Mistrust* doubts
    Py_ssize_t n_doubts
    Py_ssize_t doubts_room

cdef bint _ready = False

include "_jsoncolumns.pxi"
include "_jsonscalars.pxi"


def _prepare():
    """Fill the tables: powers of five in 128 bits, and masks of short strings."""
    global _ready
    cdef int size
    cdef object power, found, bits  # Python's own, which have no bound
    for power in range(HW_LOWEST_POWER, HW_HIGHEST_POWER + 1):
        found = pow(5, abs(power))
        if power < 0:
            bits = (found - 1).bit_length()
            found = (1 << (bits + 127 if power >= -27 else 2 * bits + 128)) // found + 1
        bits = found.bit_length() - 128
        found = found >> bits if bits > 0 else found << -bits
        hw_set_power(power, found >> 64, found & 0xFFFFFFFFFFFFFFFF)
    for size in range(13):
        memset(&_MASKS[size][0], 0, 16)
        memset(&_MASKS[size][0], 255, 4 + size)
    _ready = True


cdef class JsonDecoder:
    """Decodes JSON objects that have these fields; safe between threads."""

    cdef Node root
    cdef tuple fields
    cdef list kept
    cdef object lock
    cdef double density  # rows a byte, the last time
    cdef uint64_t stamp  # of the last object

    def __cinit__(self, fields):
        self.fields = checked_fields(fields)
        if not _ready:
            _prepare()
        self.kept = []
        self.lock = threading.Lock()
        self.density = 1.0 / 64
        self.root.kind = OBJECT
        _fill_parts(&self.root, self.fields, self.kept)

    def __dealloc__(self):
        _release(&self.root)

    def decode(self, block, bytes head not None=b"", int64_t first=0, longest=None):
        """Decode the lines of `head` and `block` together."""
        cdef Py_buffer view
        cdef Run run
        cdef const uint8_t* before = <const uint8_t*>PyBytes_AS_STRING(head)
        cdef Py_ssize_t size = PyBytes_GET_SIZE(head)
        PyObject_GetBuffer(block, &view, PyBUF_SIMPLE)
        if not view.readonly:
            # Another thread may write to it, and take away the line feed that ends the last line.
            PyBuffer_Release(&view)
            PyObject_GetBuffer(bytes(block), &view, PyBUF_SIMPLE)
        try:
            checked_sizes(size, view.len)
            with self.lock:
                self._begin(&run, False, size + view.len)
                run.line = first
                run.longest = -1 if longest is None else max(0, min(longest, INT32_MAX))
                with nogil:
                    _block(&run, <const uint8_t*>view.buf, view.len, before, size)
                return self._finish(&run, run.line - first, size + view.len)
        finally:
            PyBuffer_Release(&view)

    def decode_all(self, messages):
        """Decode messages that hold one object each."""
        cdef list every = list(messages)
        cdef Py_ssize_t count = len(every), i, size = sum(map(len, every))
        cdef Word* words
        cdef Run run
        checked_sizes(size)
        if not all(type(one) is bytes for one in every):
            raise TypeError("messages are bytes")
        words = <Word*>malloc((count + 1) * sizeof(Word))
        if words == NULL:
            raise MemoryError
        try:
            for i in range(count):
                words[i].at = <const uint8_t*>PyBytes_AS_STRING(every[i])
                words[i].size = PyBytes_GET_SIZE(every[i])
            with self.lock:
                self._begin(&run, True, size)
                with nogil:
                    _messages(&run, words, count)
                return self._finish(&run, count, size)
        finally:
            free(words)

    cdef _begin(self, Run* run, bint feeds, Py_ssize_t size):
        memset(run, 0, sizeof(Run))
        run.root = &self.root
        run.feeds = feeds
        run.longest = -1
        run.stamp = self.stamp
        run.expected = <Py_ssize_t>(size * self.density) + 8
        self.root.length = 0
        _rewind(&self.root)

    cdef _finish(self, Run* run, Py_ssize_t lines, Py_ssize_t size):
        cdef Py_ssize_t rows = self.root.length, i
        self.stamp = run.stamp
        try:
            if run.starved:
                raise MemoryError
            doubts = [
                Doubt(run.doubts[i].line, run.doubts[i].start, run.doubts[i].end,
                      _REASONS[run.doubts[i].reason], run.doubts[i].offset)
                for i in range(run.n_doubts)
            ]
            if rows:
                self.density = rows / <double>size * 1.05
            columns = [_array(&self.root.parts[i], one) for i, one in enumerate(self.fields)]
            numbers = pa.array([], pa.int64())
            if rows:
                buffer = _given(<void**>&run.rows, 8 * rows, 8 * run.rows_room)
                numbers = pa.Array.from_buffers(pa.int64(), rows, [None, buffer], 0)
            return Decoded(columns, numbers, lines, doubts)
        finally:
            free(run.rows)
            free(run.doubts)


# --- lines ---


cdef void _block(Run* run, const uint8_t* block, Py_ssize_t size, const uint8_t* head,
                 Py_ssize_t head_size) noexcept nogil:
    """Decode lines where they stand, but for those too near to an end of their memory."""
    cdef const uint8_t* feed = <const uint8_t*>memchr(block, 10, size) if size else NULL
    cdef Py_ssize_t begin = 0, middle, end = size
    if head_size:
        begin = size if feed == NULL else feed - block + 1
        _copied(run, head, head_size, block, begin, 0)
    while end > begin and block[end - 1] != 10:
        end -= 1
    middle = min(end, size - HW_PADDING)
    while middle > begin and block[middle - 1] != 10:
        middle -= 1
    if middle > begin:
        _lines(run, block + begin, block + middle, head_size + begin)
        begin = middle
    if end > begin:
        _copied(run, NULL, 0, block + begin, end - begin, head_size + begin)


cdef void _copied(Run* run, const uint8_t* head, Py_ssize_t head_size, const uint8_t* rest,
                  Py_ssize_t size, Py_ssize_t base) noexcept nogil:
    cdef Py_ssize_t end = head_size + size
    cdef uint8_t* text = <uint8_t*>malloc(end + HW_PADDING)
    if text == NULL:
        run.starved = True
        return
    if head_size:
        memcpy(text, head, head_size)
    if size:
        memcpy(text + head_size, rest, size)
    memset(text + end, 0, HW_PADDING)
    while end and text[end - 1] != 10:
        end -= 1
    _lines(run, text, text + end, base)
    free(text)


cdef void _lines(Run* run, const uint8_t* text, const uint8_t* end, Py_ssize_t base) noexcept nogil:
    """Decode lines, the last of which ends at `end`."""
    cdef const uint8_t* p = text
    cdef const uint8_t* feed
    cdef Py_ssize_t size
    while p < end:
        feed = _row(run, p)
        if run.starved:
            return
        if feed != NULL and feed[0] != 10:
            run.reason, run.at = JSON, feed
            feed = NULL
        if feed != NULL:
            size = feed - p - (feed > p and (feed - 1)[0] == 13)
            if run.longest < 0 or size <= run.longest:
                if not _keep(run):
                    return
            else:
                _distrust(run, base + (p - text), size, LONG, run.longest)
        else:
            feed = <const uint8_t*>memchr(run.at, 10, end - run.at)
            size = feed - p - (feed > p and (feed - 1)[0] == 13)
            if run.longest >= 0 and size > run.longest:
                _distrust(run, base + (p - text), size, LONG, run.longest)
            elif run.reason != JSON or not _is_blank(p):
                _distrust(run, base + (p - text), size, run.reason, run.at - p)
        run.line += 1
        p = feed + 1


cdef void _messages(Run* run, Word* words, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t i, room = 0
    cdef uint8_t* text = NULL
    cdef const uint8_t* end
    for i in range(count):
        if words[i].size >= room:
            room = 2 * words[i].size + 256
            if not _resized(&text, room + HW_PADDING):
                run.starved = True
                break
        memcpy(text, words[i].at, words[i].size)
        memset(text + words[i].size, 0, HW_PADDING)
        end = _row(run, text)
        if run.starved:
            break
        if end != NULL and end != text + words[i].size:
            run.reason, run.at = JSON, end
            end = NULL
        if end == NULL:
            _distrust(run, 0, words[i].size, run.reason, run.at - text)
        elif not _keep(run):
            break
        if run.starved:
            break
        run.line += 1
    free(text)


cdef bint _is_blank(const uint8_t* p) noexcept nogil:
    while p[0] == 32 or (9 <= p[0] <= 13 and p[0] != 10):
        p += 1
    return p[0] == 10


cdef bint _keep(Run* run) noexcept nogil:
    """Count what was read of a line as a row."""
    if run.root.length == run.rows_room:
        run.rows_room = max(run.expected, 2 * run.rows_room)
        if not _resized(<uint8_t**>&run.rows, 8 * run.rows_room):
            run.starved = True
            return False
    run.rows[run.root.length] = run.line
    run.root.length += 1
    return True


cdef void _distrust(Run* run, Py_ssize_t start, Py_ssize_t size, Reason reason,
                    Py_ssize_t offset) noexcept nogil:
    """Take back what was read of a line, and remember it."""
    cdef Mistrust* found
    _rewind(run.root)
    if run.n_doubts == run.doubts_room:
        run.doubts_room = 2 * run.doubts_room + 16
        if not _resized(<uint8_t**>&run.doubts, run.doubts_room * <Py_ssize_t>sizeof(Mistrust)):
            run.starved = True
            return
    found = &run.doubts[run.n_doubts]
    found.line, found.start, found.end = run.line, start, start + size
    found.reason, found.offset = reason, offset
    run.n_doubts += 1


# --- values; each function gives what follows the value, or NULL with the reason in `run` ---


cdef const uint8_t* _doubt(Run* run, Reason reason, const uint8_t* at) noexcept nogil:
    run.reason = reason
    run.at = at
    return NULL


cdef const uint8_t* _row(Run* run, const uint8_t* p) noexcept nogil:
    p = hw_spaces(p, run.feeds)
    if p[0] != c"{":
        return _doubt(run, JSON, p)
    p = _object(run.root, p, run)
    if p == NULL:
        return NULL
    return hw_spaces(p, run.feeds)


cdef inline bint _is_key(Node* node, const uint8_t* p) noexcept nogil:
    cdef uint64_t words[2]
    cdef Py_ssize_t i
    memcpy(words, p, 16)
    if ((words[0] ^ node.begins[0]) & node.mask[0]) | ((words[1] ^ node.begins[1]) & node.mask[1]):
        return False
    # A long key may reach past the end of the text, so no byte after the first other one is read.
    for i in range(16, node.key.size):
        if p[i] != node.key.at[i]:
            return False
    return True


cdef Py_ssize_t _found(Node* node, const uint8_t* p, Py_ssize_t size) noexcept nogil:
    """The part whose key stands at `p`, in `size` bytes with its quotes; -1 for none."""
    cdef Py_ssize_t i
    for i in range(node.n_parts):
        if node.parts[i].key.size == size and _is_key(&node.parts[i], p):
            return i
    return -1


cdef const uint8_t* _object(Node* node, const uint8_t* p, Run* run) noexcept nogil:
    cdef Py_ssize_t part, last = 0, count = 0
    cdef const uint8_t* key
    cdef hw_text text
    run.stamp += 1
    cdef uint64_t stamp = run.stamp
    p = hw_spaces(p + 1, run.feeds)
    if p[0] == c"}":
        return _completed(node, p + 1, stamp, count, run)
    while True:
        key = p
        part = node.after[last]
        if part < node.n_parts and _is_key(&node.parts[part], p):
            p += node.parts[part].key.size
        else:
            if p[0] != c'"':
                return _doubt(run, JSON, p)
            p = hw_string(p, &text)
            if p == NULL or (text.escaped and hw_unescape(&text, NULL) < 0):
                return _doubt(run, JSON, key)
            if text.escaped:
                return _doubt(run, KEY, key)
            part = _found(node, key, p - key)
            if part >= 0:
                node.after[last] = part
        p = hw_spaces(p, run.feeds)
        if p[0] != c":":
            return _doubt(run, JSON, p)
        p = hw_spaces(p + 1, run.feeds)
        if part < 0:
            p = hw_skip(p, run.feeds, &run.at)
            if p == NULL:
                run.reason = JSON
                return NULL
        else:
            if node.seen[part] == stamp:
                return _doubt(run, KEY, key)
            node.seen[part] = stamp
            p = _value(&node.parts[part], p, run)
            if p == NULL:
                return NULL
            count += 1
            last = part + 1
        p = hw_spaces(p, run.feeds)
        if p[0] == c",":
            p = hw_spaces(p + 1, run.feeds)
        elif p[0] == c"}":
            return _completed(node, p + 1, stamp, count, run)
        else:
            return _doubt(run, JSON, p)


cdef const uint8_t* _completed(Node* node, const uint8_t* p, uint64_t stamp, Py_ssize_t count,
                               Run* run) noexcept nogil:
    """Give the keys that an object lacks what stands for them."""
    cdef Py_ssize_t i
    cdef Node* part
    if count == node.n_parts:
        return p
    for i in range(node.n_parts):
        part = &node.parts[i]
        if node.seen[i] == stamp:
            continue
        if part.absent == DOUBTFUL:
            return _doubt(run, MISSING, p)
        if not (_put_null(part, run) if part.absent == NULL_VALUE else _put_constant(part, run)):
            return NULL
    return p


cdef const uint8_t* _value(Node* node, const uint8_t* p, Run* run) noexcept nogil:
    cdef const uint8_t* end = NULL
    if node.length == node.capacity and not _grow(node, run):
        return _doubt(run, VALUE, p)
    if p[0] == c"n" and node.nullable and memcmp(p, b"null", 4) == 0:
        return p + 4 if _put_null(node, run) else _doubt(run, VALUE, p)
    if node.kind == TEXT:
        end = _text(node, p, run)
    elif node.kind == FLOAT:
        end = _float(node, p)
    elif node.kind == INT:
        end = _int(node, p)
    elif node.kind == BOOL:
        end = _bool(node, p)
    elif node.kind == LIST:
        if p[0] == c"[":
            return _list(node, p, run)
    elif node.kind == OBJECT:
        if p[0] == c"{":
            end = _object(node, p, run)
            if end != NULL:
                _done(node)
            return end
    else:
        end = _moment(node, p)
    return _doubt(run, VALUE, p) if end == NULL else end


cdef const uint8_t* _list(Node* node, const uint8_t* p, Run* run) noexcept nogil:
    p = hw_spaces(p + 1, run.feeds)
    if p[0] == c"]":
        p += 1
    else:
        while True:
            p = _value(node.parts, p, run)
            if p == NULL:
                return NULL
            p = hw_spaces(p, run.feeds)
            if p[0] == c"]":
                p += 1
                break
            if p[0] != c",":
                return _doubt(run, JSON, p)
            p = hw_spaces(p + 1, run.feeds)
    (<int64_t*>node.values)[node.length + 1] = node.parts.length
    _done(node)
    return p
