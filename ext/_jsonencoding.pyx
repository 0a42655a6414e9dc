# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Columns to JSON lines, compiled; the specification is in `jsonencoding`."""

from libc.stdint cimport uint32_t
from libc.stdlib cimport atoi, calloc, free
from libc.string cimport strchr, strlen, strncmp

from io import BytesIO

include "_arrow.pxi"

cdef extern from "_shortest.h":
    const int POWER_MIN
    const int POWER_MAX
    uint64_t powers_of_ten[][2]
    uint8_t* write_natural(uint8_t* out, uint64_t number) nogil
    uint8_t* write_integer(uint8_t* out, uint64_t bits, bint negative) nogil
    uint8_t* write_double(uint8_t* out, uint64_t bits) nogil
    uint8_t* write_float(uint8_t* out, uint32_t bits) nogil

cdef extern from "Python.h":
    bytearray bytearray_of_size "PyByteArray_FromStringAndSize"(const char*, Py_ssize_t)
    char* bytearray_begin "PyByteArray_AS_STRING"(bytearray)


cdef enum Kind:
    # Those from TEXT on stand in quotes.
    UNKNOWN, NOTHING, BOOLEAN, INTEGER, NATURAL, DOUBLE, SINGLE, STRUCT, LIST, ARRAY,
    TEXT, DICTIONARY, LOCAL, UTC, DATE, TIME, DURATION


cdef struct Column:
    Kind kind
    int width  # bytes of an integer or index; elements of an ARRAY
    uint64_t unit  # units of time in a second
    uint64_t nanoseconds  # in a unit
    uint8_t* name  # with what stands around it, and the quote that opens a value
    Py_ssize_t name_size
    View view
    Column* children
    Py_ssize_t count
    # What was written last: the day, the first moment of the minute, and both as text.
    int64_t day
    uint64_t minute
    uint8_t shown[32]
    Py_ssize_t shown_size


cdef struct Room:
    # Before a row, an element and a text, `slack` bytes are left: as much as all columns may need
    # for one row and one element of each list, beside texts. A writer returns NULL if there are
    # less, or if a view, an offset or an index points outside, which sets `broken`.
    uint8_t* end
    Py_ssize_t slack
    bint broken


cdef uint64_t ONES = 0x0101010101010101ULL
cdef uint64_t TOPS = 0x8080808080808080ULL
cdef enum:
    PIECE = 1 << 18  # bytes: what is written at a time stays in the processor's cache
    SECOND = 1_000_000_000  # in nanoseconds
cdef Py_ssize_t LONGEST = 48  # of a value of fixed size, and what is stored behind it
cdef uint64_t[21] WITHIN  # at 8 + n, the first n bytes of a word
cdef char[200] PAIRS  # 00 to 99

cdef const char* FORMS[9]  # of Arrow's C data interface
cdef Kind[9] KINDS
FORMS[:] = [b"n", b"b", b"f", b"g", b"vu", b"tdD", b"ttn", b"+s", b"+L"]
KINDS[:] = [NOTHING, BOOLEAN, SINGLE, DOUBLE, TEXT, DATE, TIME, STRUCT, LIST]


cdef int _fill() except -1:
    cdef int k
    cdef object power, leading
    for k in range(POWER_MIN, POWER_MAX + 1):
        power = 10 ** <object>abs(k)
        if k < 0:
            leading = -(-(<object>1 << power.bit_length() + 127) // power)
        else:
            leading = -((-power << 128) >> power.bit_length())
        powers_of_ten[k - POWER_MIN][0] = leading >> 64
        powers_of_ten[k - POWER_MIN][1] = leading & 0xFFFFFFFFFFFFFFFF
    for k in range(21):
        WITHIN[k] = (<object>1 << 8 * min(max(k - 8, 0), 8)) - 1
    for k in range(200):
        PAIRS[k] = c"0" + (k // 20 if k % 2 == 0 else k // 2 % 10)
    return 0


_fill()


def encodable(frame):
    """Whether `encode_lines` takes frames with the columns of this one."""
    cdef Arrow arrow = Arrow(frame)
    return is_known(&arrow.schema)


def encode_lines(frame):
    """The rows of a frame as JSON objects, a line each."""
    lines = BytesIO()
    write_lines(frame, lines.write)
    return lines.getvalue()


def write_lines(frame, write):
    """Hand the lines of `encode_lines` to `write` in pieces, whose memory is used again."""
    cdef Plan plan = Plan(frame)
    cdef Py_ssize_t rows = plan.arrow.height(), row = 0, used, size
    size = min(rows * plan.room.slack, PIECE) + plan.room.slack
    piece = bytearray_of_size(NULL, size)
    cdef uint8_t* begin = <uint8_t*>bytearray_begin(piece)
    while row < rows:
        plan.room.end = begin + size
        with nogil:
            used = plan.write(&row, rows, begin) - begin
        if used:
            with memoryview(piece) as whole, whole[:used] as lines:
                write(lines)
        elif not plan.room.broken:
            size *= 2
            piece = bytearray_of_size(NULL, size)
            begin = <uint8_t*>bytearray_begin(piece)
        if plan.room.broken:
            raise ValueError(f"row {row}: a view, an offset or an index points outside its column")


cdef class Plan:
    # The columns of a frame, ready to be written row by row.
    cdef Arrow arrow
    cdef Column top
    cdef Room room

    def __cinit__(self, frame):
        cdef Py_ssize_t number
        self.arrow = Arrow(frame)
        if strcmp(self.arrow.schema.format, b"+s") != 0:
            raise TypeError(f"{type(frame).__name__} is no frame")
        self.room.slack = 2 * LONGEST
        allot(&self.top, self.arrow.width())
        for number in range(self.top.count):
            self.top.children[number].view = self.arrow.column(number)
            self._begin(&self.top.children[number])
            self.room.slack += put_name(&self.top.children[number], number)

    def __dealloc__(self):
        forget(&self.top)

    cdef int _begin(self, Column* column) except -1:
        # From its view follows the rest.
        cdef View* view = &column.view
        cdef Py_ssize_t number
        if not is_known(view.schema):
            form = view.format.decode()
            raise TypeError(f"a column of Arrow's type {form!r} is not encoded here")
        column.kind = kind_of(view.schema, &column.width, &column.unit)
        self.room.slack += LONGEST
        if column.kind in (LOCAL, UTC, DURATION):
            column.nanoseconds = SECOND // column.unit
        if column.kind in (LOCAL, UTC, DATE):
            show_day(column, 0)
            put_time(&column.shown[column.shown_size - 8], 0)
        allot(column, 1 if column.kind == DICTIONARY else view.schema.n_children)
        for number in range(column.count):
            column.children[number].view = inner(view, column.kind, number)
            self._begin(&column.children[number])
            if column.kind == STRUCT:
                self.room.slack += put_name(&column.children[number], number)
        return 0

    cdef uint8_t* write(self, Py_ssize_t* row, Py_ssize_t rows, uint8_t* out) noexcept nogil:
        """Write from `row` on, which is moved, while there is room; where the lines end."""
        cdef uint8_t* end
        while row[0] < rows:
            if self.room.end - out < self.room.slack:
                return out
            end = write_struct(&self.top, row[0], out, &self.room)
            if end == NULL:
                return out
            end[0] = b"\n"
            out = end + 1
            row[0] += 1
        return out


cdef int allot(Column* column, Py_ssize_t count) except -1:
    column.children = <Column*>calloc(count + 1, sizeof(Column))
    if column.children == NULL:
        raise MemoryError
    column.count = count
    return 0


cdef void forget(Column* column) noexcept:
    cdef Py_ssize_t number
    for number in range(column.count):
        forget(&column.children[number])
    free(column.children)
    free(column.name)


cdef View inner(const View* view, Kind kind, Py_ssize_t number):
    """A column inside of another: of a struct by row, otherwise as a whole."""
    cdef ArrowArray* array = view.array
    cdef bint chosen = kind == DICTIONARY
    cdef ArrowSchema* schema = view.schema.dictionary if chosen else view.schema.children[number]
    if array == NULL:
        return view_of(schema, NULL, 0, 0)
    array = array.dictionary if chosen else array.children[number]
    if kind == STRUCT:
        return view_of(schema, array, view.start, view.length)
    return view_of(schema, array, 0, array.length)


cdef Py_ssize_t put_name(Column* column, Py_ssize_t number) except -1:
    """Render the name of the column that stands at `number` in its row; its size."""
    cdef const char* text = column.view.schema.name
    cdef Py_ssize_t size = 0 if text == NULL else strlen(text)
    cdef Py_ssize_t longest = 6 * size + 3 * LONGEST
    cdef uint8_t* end
    cdef Room room
    column.name = <uint8_t*>calloc(longest, 1)
    if column.name == NULL:
        raise MemoryError
    room.end, room.slack = column.name + longest, LONGEST
    column.name[0] = b"," if number else b"{"
    column.name[1] = b'"'
    end = write_text(<const uint8_t*>text, size, column.name + 2, &room)
    end[0], end[1] = b":", b'"'
    column.name_size = end + 1 + (column.kind >= TEXT) - column.name
    return column.name_size


cdef bint is_known(ArrowSchema* schema) noexcept nogil:
    cdef int width
    cdef uint64_t unit
    cdef Py_ssize_t number
    cdef Kind kind = kind_of(schema, &width, &unit)
    if kind == UNKNOWN:
        return False
    for number in range(schema.n_children):
        if not is_known(schema.children[number]):
            return False
    return kind != DICTIONARY or strcmp(schema.dictionary.format, b"vu") == 0


cdef Kind kind_of(const ArrowSchema* schema, int* width, uint64_t* unit) noexcept nogil:
    cdef const char* form = schema.format
    cdef const char* integers = b"cCsSiIlL"
    cdef const char* integer = strchr(integers, form[0])
    cdef int number
    if integer != NULL and strlen(form) == 1:
        number = <int>(integer - integers)
        width[0] = 1 << (number >> 1)
        if schema.dictionary != NULL:
            return DICTIONARY
        return NATURAL if number & 1 else INTEGER
    if schema.dictionary != NULL:
        return UNKNOWN
    for number in range(9):
        if strcmp(form, FORMS[number]) == 0:
            return KINDS[number]
    if strncmp(form, b"+w:", 3) == 0:
        width[0] = atoi(form + 3)
        return ARRAY
    return time_of(form, unit)


cdef Kind time_of(const char* form, uint64_t* unit) noexcept nogil:
    """The kind of a datetime or duration in milli-, micro- or nanoseconds."""
    if strncmp(form, b"ts", 2) != 0 and strncmp(form, b"tD", 2) != 0:
        return UNKNOWN
    if form[2] == 0 or strchr(b"mun", form[2]) == NULL:
        return UNKNOWN
    unit[0] = 1000 if form[2] == c"m" else 1_000_000 if form[2] == c"u" else SECOND
    if form[1] == c"D":
        return DURATION
    if strcmp(form + 3, b":UTC") == 0 or strcmp(form + 3, b":Etc/UTC") == 0:
        return UTC
    return LOCAL if strcmp(form + 3, b":") == 0 else UNKNOWN


cdef uint8_t* write_struct(Column* column, Py_ssize_t row, uint8_t* out, Room* room) noexcept nogil:
    cdef Py_ssize_t number
    cdef Column* field
    if column.count == 0:
        out[0] = b"{"
        out += 1
    for number in range(column.count):
        field = &column.children[number]
        memcpy(out, field.name, 16)
        if field.name_size > 16:
            memcpy(out + 16, field.name + 16, 16)
            if field.name_size > 32:
                memcpy(out + 32, field.name + 32, field.name_size - 32)
        out = write_value(field, row, out + field.name_size, room)
        if out == NULL:
            return NULL
    out[0] = b"}"
    return out + 1


cdef uint8_t* write_value(Column* column, Py_ssize_t row, uint8_t* out, Room* room) noexcept nogil:
    """Write a value, whose opening quote is there if it is one that stands in quotes."""
    cdef const View* view = &column.view
    cdef Kind kind = column.kind
    cdef int64_t number
    if not is_valid(view, row) or kind == NOTHING:
        return write_null(out, kind)
    if kind == TEXT:
        return write_view(view, row, out, room)
    if kind == DOUBLE:
        return write_double(out, word_at(view, row))
    if kind == UTC or kind == LOCAL:
        return write_moment(column, word_at(view, row), out)
    if kind == INTEGER or kind == NATURAL:
        number = int_at(view, row, column.width, kind == INTEGER)
        return write_integer(out, number, kind == INTEGER and number < 0)
    if kind == BOOLEAN:
        memcpy(out, b"true " if bit_at(view, row) else b"false", 5)
        return out + 5 - bit_at(view, row)
    if kind == SINGLE:
        return write_float(out, <uint32_t>int_at(view, row, 4, False))
    if kind == DICTIONARY:
        return write_chosen(column, row, out, room)
    if kind == STRUCT:
        return write_struct(column, row, out, room)
    if kind == LIST or kind == ARRAY:
        return write_items(column, row, out, room)
    if kind == DATE:
        return write_date(column, int_at(view, row, 4, True), out)
    if kind == TIME:
        return write_time(word_at(view, row), out)
    return write_duration(column, word_at(view, row), out)


cdef inline uint8_t* write_null(uint8_t* out, Kind kind) noexcept nogil:
    out -= kind >= TEXT
    memcpy(out, b"null", 4)
    return out + 4


cdef inline int64_t int_at(const View* view, Py_ssize_t row, int width, bint sign) noexcept nogil:
    """The bits of an integer, a negative one extended to 64."""
    cdef const uint8_t* place = view.values + width * (view.start + row)
    cdef uint64_t bits = 0
    cdef int unused = 64 - 8 * width
    if width == 8:
        memcpy(&bits, place, 8)
    elif width == 4:
        memcpy(&bits, place, 4)
    elif width == 2:
        memcpy(&bits, place, 2)
    else:
        bits = place[0]
    return (<int64_t>(bits << unused)) >> unused if sign else <int64_t>bits


cdef uint8_t* write_chosen(Column* column, Py_ssize_t row, uint8_t* out, Room* room) noexcept nogil:
    """Write the text that an index stands for."""
    cdef uint64_t index = int_at(&column.view, row, column.width, False)
    cdef const View* texts = &column.children[0].view
    if index >= <uint64_t>texts.length:
        room.broken = True
        return NULL
    if not is_valid(texts, index):
        return write_null(out, DICTIONARY)
    return write_view(texts, index, out, room)


cdef uint8_t* write_items(Column* column, Py_ssize_t row, uint8_t* out, Room* room) noexcept nogil:
    cdef const View* view = &column.view
    cdef Column* child = &column.children[0]
    cdef int64_t[2] bounds
    cdef int64_t element
    if column.kind == ARRAY:
        bounds[0] = (view.start + row) * column.width
        bounds[1] = bounds[0] + column.width
    else:
        memcpy(bounds, view.values + 8 * (view.start + row), 16)
    if not 0 <= bounds[0] <= bounds[1] <= child.view.length:
        room.broken = True
        return NULL
    out[0] = b"["
    out += 1
    for element in range(bounds[0], bounds[1]):
        if room.end - out < room.slack:
            return NULL
        if element > bounds[0]:
            out[0] = b","
            out += 1
        if child.kind >= TEXT:
            out[0] = b'"'
            out += 1
        out = write_value(child, element, out, room)
        if out == NULL:
            return NULL
    out[0] = b"]"
    return out + 1


cdef inline uint64_t escapes(uint64_t word) noexcept nogil:
    """Not 0 if one of the eight bytes is a control character, a quote or a backslash."""
    # With bit 1 turned over, a quote is 0x20 and what is below 0x20 stays there.
    cdef uint64_t low = (word ^ (ONES * 2)) - ONES * 0x21
    cdef uint64_t backslash = (word ^ (ONES * 0x5C)) - ONES
    return (low | backslash) & ~word & TOPS


cdef inline uint8_t* write_view(
    const View* view, Py_ssize_t row, uint8_t* out, Room* room
) noexcept nogil:
    cdef const uint8_t* text
    cdef Py_ssize_t size
    cdef uint64_t first = 0, last = 0
    if text_at(view, row, &text, &size) < 0:
        room.broken = True
        return NULL
    if size <= 12:  # all within the 16 bytes of the view
        memcpy(&first, text, 8)
        memcpy(&last, text + 8, 4)
        if not ((escapes(first) & WITHIN[size + 8]) | (escapes(last) & WITHIN[size])):
            memcpy(out, &first, 8)
            memcpy(out + 8, &last, 8)
            out[size] = b'"'
            return out + size + 1
    return write_text(text, size, out, room)


cdef uint8_t* write_text(
    const uint8_t* text, Py_ssize_t size, uint8_t* out, Room* room
) noexcept nogil:
    """Write a text and the quote that closes it."""
    cdef uint64_t word
    cdef Py_ssize_t number
    if room.end - out < size + room.slack:
        return NULL
    while size > 0:
        if size >= 8:
            memcpy(&word, text, 8)
            if not escapes(word):
                memcpy(out, &word, 8)
                out += 8
                text += 8
                size -= 8
                continue
        if room.end - out < size + 6 * 8 + room.slack:
            return NULL
        for number in range(8 if size > 8 else size):
            out = write_byte(text[0], out)
            text += 1
            size -= 1
    out[0] = b'"'
    return out + 1


cdef inline uint8_t* write_byte(uint8_t byte, uint8_t* out) noexcept nogil:
    if byte >= 0x20 and byte != b'"' and byte != b"\\":
        out[0] = byte
        return out + 1
    out[0] = b"\\"
    out[1] = b"uuuuuuuubtnufruuuuuuuuuuuuuuuuuu"[byte] if byte < 0x20 else byte
    if out[1] != b"u":
        return out + 2
    memcpy(out + 2, b"00", 2)
    out[4] = c"0" + (byte >> 4)
    out[5] = b"0123456789abcdef"[byte & 15]
    return out + 6


include "_jsontimes.pxi"
