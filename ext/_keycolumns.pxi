# Key columns: Arrow columns by the kind of their values, whatever their layout; the twin is
# `keycolumns`. Includes `_arrow.pxi` and `_hash.pxi`.

from libc.stdlib cimport calloc, free

import pyarrow as pa

include "_arrow.pxi"
include "_hash.pxi"

cdef extern from *:
    """
    #include <math.h>

    #define HW_NUMBER(type) { type number; memcpy(&number, place, sizeof number); \\
                              return (int64_t)number; }
    static inline int64_t hw_integer(const uint8_t* place, int width, int is_signed) {
      switch (is_signed ? width : -width) {
        case 1: HW_NUMBER(int8_t)
        case 2: HW_NUMBER(int16_t)
        case 4: HW_NUMBER(int32_t)
        case -1: HW_NUMBER(uint8_t)
        case -2: HW_NUMBER(uint16_t)
        case -4: HW_NUMBER(uint32_t)
        default: HW_NUMBER(int64_t)
      }
    }
    static inline uint64_t hw_bits(const uint8_t* place) {
      uint64_t bits;
      memcpy(&bits, place, 8);
      return bits;
    }
    static inline int32_t hw_length(const uint8_t* place) {
      int32_t length;
      memcpy(&length, place, 4);
      return length;
    }
    /* Where the text of a view begins that is not in the view itself; NULL if it lies outside. */
    static inline const uint8_t* hw_text(const uint8_t* place, const uint8_t* const* buffers,
                                         const int64_t* sizes, int64_t count, int64_t length) {
      uint32_t where[2];
      memcpy(where, place + 8, 8);
      if (where[0] >= count || where[1] >> 31 || length < 0 ||
          where[1] + length > sizes[where[0]])
        return NULL;
      return buffers[where[0]] + where[1];
    }
    /* Out of the way of the loop over texts that views hold themselves. */
    static __attribute__((noinline)) uint64_t hw_long(const uint8_t* begin, int64_t size) {
      return hw_bytes(begin, size);
    }
    #define HW_WIDEN(type) \\
        for (int64_t row = 0; row < count; row++) { type number; \\
          memcpy(&number, place + row * sizeof number, sizeof number); \\
          words[row] = (uint64_t)(int64_t)number; } break;
    static void hw_widen(const uint8_t* place, int width, int is_signed, int64_t count,
                         uint64_t* words) {
      switch (is_signed ? width : -width) {
        case 1: HW_WIDEN(int8_t)
        case 2: HW_WIDEN(int16_t)
        case 4: HW_WIDEN(int32_t)
        case -1: HW_WIDEN(uint8_t)
        case -2: HW_WIDEN(uint16_t)
        case -4: HW_WIDEN(uint32_t)
        default: HW_WIDEN(int64_t)
      }
    }
    /* The bits of floats of 4 or 8 bytes as float64, of one zero and one NaN. */
    static void hw_canonical(const uint8_t* place, int width, int64_t count, uint64_t* words) {
      for (int64_t row = 0; row < count; row++) {
        double number;
        float single;
        if (width == 4) memcpy(&single, place + 4 * row, 4), number = single;
        else memcpy(&number, place + 8 * row, 8);
        uint64_t bits;
        memcpy(&bits, &number, 8);
        bits = number == 0.0 ? 0 : bits;
        words[row] = number != number ? 0x7FF8000000000000ULL : bits;
      }
    }
    static inline double hw_half(const uint8_t* place) {
      uint16_t half;
      memcpy(&half, place, 2);
      int exponent = (half >> 10) & 31, fraction = half & 1023;
      double found = exponent == 31 ? (fraction ? NAN : INFINITY)
                   : exponent ? ldexp(fraction + 1024, exponent - 25) : ldexp(fraction, -24);
      return half >> 15 ? -found : found;
    }
    /* number * 10**-scale without zeros at its end; the 16 bytes of the number go to `bytes`. */
    static inline int64_t hw_decimal(const uint8_t* place, int width, int64_t scale,
                                     uint64_t* bytes) {
      __int128_t number;
      if (width == 16) memcpy(&number, place, 16);
      else number = hw_integer(place, width, 1);
      while (number != (int64_t)number && number % 10 == 0) number /= 10, scale--;
      int64_t narrow = (int64_t)number;
      if (number == narrow) {
        while (narrow && narrow % 10 == 0) narrow /= 10, scale--;
        number = narrow;
      }
      bytes[0] = HW_LITTLE(64, (uint64_t)number);
      bytes[1] = HW_LITTLE(64, (uint64_t)((__uint128_t)number >> 64));
      return number ? scale : 0;
    }
    """
    int64_t hw_integer(const uint8_t* place, int width, bint is_signed) noexcept nogil
    uint64_t hw_bits(const uint8_t* place) noexcept nogil
    int hw_length(const uint8_t* place) noexcept nogil
    const uint8_t* hw_text(
        const uint8_t* place, const uint8_t** buffers, const int64_t* sizes, Py_ssize_t count,
        Py_ssize_t length,
    ) noexcept nogil
    uint64_t hw_long(const uint8_t* begin, Py_ssize_t size) noexcept nogil
    void hw_widen(
        const uint8_t* place, int width, bint is_signed, int64_t count, uint64_t* words
    ) noexcept nogil
    void hw_canonical(
        const uint8_t* place, int width, int64_t count, uint64_t* words
    ) noexcept nogil
    double hw_half(const uint8_t* place) noexcept nogil
    int64_t hw_decimal(
        const uint8_t* place, int width, int64_t scale, uint64_t* bytes
    ) noexcept nogil

cdef enum Kind:
    NULLS, BOOLS, INTEGERS, HALVES, SINGLES, DOUBLES, DECIMALS
    VIEWS, OFFSETS, LARGE_OFFSETS, FIXED, INDICES


cdef struct Column:
    View view
    Kind kind
    int width  # bytes of a number, an index or a value of fixed size
    bint signed
    int scale  # of decimals
    int64_t end  # of the bytes that offsets point into
    Column* values  # what indices stand for


cdef class Columns:
    # Columns of one length, of a sequence of objects that export Arrow. Raises TypeError and
    # ValueError as `keycolumns.arrays_of` does.
    cdef Column* items  # each column, then what it stands for if it has a dictionary
    cdef readonly Py_ssize_t count
    cdef readonly Py_ssize_t length
    cdef list owners

    def __cinit__(self, source):
        if _is_column(source) or not hasattr(source, "__iter__"):
            raise TypeError(f"columns is a sequence of columns, not {type(source).__name__}")
        self.owners = [_imported(column) for column in source]
        self.count = len(self.owners)
        if not self.count:
            raise ValueError("a key needs at least one column")
        self.items = <Column*>calloc(2 * self.count, sizeof(Column))
        if self.items == NULL:
            raise MemoryError
        cdef Py_ssize_t number
        for number in range(self.count):
            _describe(self.owners[number], &self.items[2 * number])
        lengths = {self.items[2 * number].view.length for number in range(self.count)}
        if len(lengths) > 1:
            raise ValueError(f"key columns differ in length: {sorted(lengths)}")
        self.length = lengths.pop()

    def __dealloc__(self):
        free(self.items)


cdef bint _is_column(source):
    return hasattr(source, "__arrow_c_array__") or hasattr(source, "__arrow_c_stream__")


cdef Arrow _imported(source):
    if isinstance(source, pa.Array | pa.ChunkedArray):
        source.validate()  # they can be made of buffers that are too short
    if not _is_column(source):
        raise TypeError(f"a column is a polars or Arrow column, not {type(source).__name__}")
    return Arrow(source)


cdef int _describe(Arrow arrow, Column* column) except -1:
    # A stream without chunks has no array.
    cdef ArrowArray* array = &arrow.array if arrow.array.release != NULL else NULL
    cdef ArrowSchema* schema = &arrow.schema
    _fill(column, schema, array)
    if schema.dictionary == NULL:
        return 0
    column.kind = INDICES
    column.values = column + 1
    _fill(column.values, schema.dictionary, NULL if array == NULL else array.dictionary)
    if schema.dictionary.dictionary != NULL:
        raise TypeError("a dictionary of dictionaries cannot be a key")
    return 0


cdef int _fill(Column* column, ArrowSchema* schema, ArrowArray* array) except -1:
    column.view = view_of(schema, array, 0, 0 if array == NULL else array.length)
    head, _, rest = (<bytes>schema.format).partition(b":")
    if head not in _KINDS:
        raise TypeError(f"a column of Arrow format {schema.format.decode()!r} cannot be a key")
    column.kind, column.width, column.signed = _KINDS[head]
    if column.kind == FIXED:
        column.width = int(rest)
    elif column.kind == DECIMALS:
        _, scale, *bits = rest.split(b",")
        column.scale = int(scale)
        column.width = int(bits[0]) // 8 if bits else 16
        if column.width > 16:
            raise TypeError("a column of decimals of 256 bits cannot be a key")
    elif column.kind == OFFSETS or column.kind == LARGE_OFFSETS:
        column.end = _offset(column, column.view.length) if column.view.length else 0
    return 0


# Of each Arrow format, up to its colon: kind, width in bytes, whether it has a sign.
cdef dict _KINDS = {
    b"n": (NULLS, 0, False),
    b"b": (BOOLS, 0, False),
    b"e": (HALVES, 2, True),
    b"f": (SINGLES, 4, True),
    b"g": (DOUBLES, 8, True),
    b"d": (DECIMALS, 16, True),
    b"w": (FIXED, 0, False),
}
for _letter, _bytes in (b"c", 1), (b"s", 2), (b"i", 4), (b"l", 8):
    _KINDS[_letter] = (INTEGERS, _bytes, True)
    _KINDS[_letter.upper()] = (INTEGERS, _bytes, False)
for _letter in (b"tdD", b"tts", b"ttm"):
    _KINDS[_letter] = (INTEGERS, 4, True)
for _letter in b"tdm tss tsm tsu tsn ttu ttn tDs tDm tDu tDn".split():
    _KINDS[_letter] = (INTEGERS, 8, True)
for _letter in (b"u", b"z"):
    _KINDS[_letter] = (OFFSETS, 4, True)
    _KINDS[_letter.upper()] = (LARGE_OFFSETS, 8, True)
    _KINDS[b"v" + _letter] = (VIEWS, 16, False)


cdef inline int64_t _offset(const Column* column, Py_ssize_t row) noexcept nogil:
    cdef int32_t narrow
    cdef int64_t wide
    cdef Py_ssize_t place = column.view.start + row
    if column.kind == OFFSETS:
        memcpy(&narrow, column.view.values + 4 * place, 4)
        return narrow
    memcpy(&wide, column.view.values + 8 * place, 8)
    return wide


cdef inline const uint8_t* place_of(const Column* column, Py_ssize_t row) noexcept nogil:
    # Of a value of fixed size.
    return column.view.values + column.width * (column.view.start + row)


cdef inline int bytes_at(
    const Column* column, Py_ssize_t row, const uint8_t** begin, Py_ssize_t* size
) noexcept nogil:
    # Of a column of VIEWS, OFFSETS, LARGE_OFFSETS or FIXED: 0, or -1 if the value lies outside.
    cdef int64_t first, last
    if column.kind == VIEWS:
        return text_at(&column.view, row, begin, size)
    if column.kind == FIXED:
        size[0] = column.width
        begin[0] = place_of(column, row)
        return 0
    first = _offset(column, row)
    last = _offset(column, row + 1)
    if not 0 <= first <= last <= column.end:
        return -1
    size[0] = last - first
    begin[0] = column.view.data + first
    return 0


cdef inline int stands_at(
    const Column* column, Py_ssize_t row, const Column** values, Py_ssize_t* place
) noexcept nogil:
    # Where the value of `row` is found: 0, 1 if it is null, -1 if it lies outside.
    cdef int64_t index
    values[0] = column
    place[0] = row
    if column.kind == NULLS or not is_valid(&column.view, row):
        return 1
    if column.kind != INDICES:
        return 0
    index = hw_integer(place_of(column, row), column.width, column.signed)
    if not 0 <= index < column.values.view.length:
        return -1
    values[0] = column.values
    place[0] = index
    return column.values.kind == NULLS or not is_valid(&column.values.view, index)


cdef object outside(Py_ssize_t row):
    return ValueError(f"row {row}: its value lies outside the data of the column")
