# Values into columns that grow.

cdef extern from "datetime.h":
    """
    #define headwater_is_datetime(o) (Py_TYPE(o) == PyDateTimeAPI->DateTimeType)
    #define headwater_is_date(o) (Py_TYPE(o) == PyDateTimeAPI->DateType)
    #define headwater_is_time(o) (Py_TYPE(o) == PyDateTimeAPI->TimeType)
    #define headwater_is_delta(o) (Py_TYPE(o) == PyDateTimeAPI->DeltaType)
    #define headwater_is_utc(o) ((o) == PyDateTime_TimeZone_UTC)
    """
    bint is_datetime "headwater_is_datetime"(PyObject*)
    bint is_date "headwater_is_date"(PyObject*)
    bint is_time "headwater_is_time"(PyObject*)
    bint is_delta "headwater_is_delta"(PyObject*)
    bint is_utc "headwater_is_utc"(PyObject*)
    int PyDateTime_GET_YEAR(PyObject*)
    int PyDateTime_GET_MONTH(PyObject*)
    int PyDateTime_GET_DAY(PyObject*)
    int PyDateTime_DATE_GET_HOUR(PyObject*)
    int PyDateTime_DATE_GET_MINUTE(PyObject*)
    int PyDateTime_DATE_GET_SECOND(PyObject*)
    int PyDateTime_DATE_GET_MICROSECOND(PyObject*)
    PyObject* PyDateTime_DATE_GET_TZINFO(PyObject*)
    int PyDateTime_TIME_GET_HOUR(PyObject*)
    int PyDateTime_TIME_GET_MINUTE(PyObject*)
    int PyDateTime_TIME_GET_SECOND(PyObject*)
    int PyDateTime_TIME_GET_MICROSECOND(PyObject*)
    PyObject* PyDateTime_TIME_GET_TZINFO(PyObject*)
    int PyDateTime_DELTA_GET_DAYS(PyObject*)
    int PyDateTime_DELTA_GET_SECONDS(PyObject*)
    int PyDateTime_DELTA_GET_MICROSECONDS(PyObject*)

cdef extern from "Python.h":
    bint is_text "PyUnicode_CheckExact"(PyObject*)
    bint is_bytes "PyBytes_CheckExact"(PyObject*)
    bint is_int "PyLong_CheckExact"(PyObject*)
    bint is_float "PyFloat_CheckExact"(PyObject*)
    bint is_bool "PyBool_Check"(PyObject*)
    bint is_list "PyList_CheckExact"(PyObject*)
    bint is_short "PyUnicode_IS_COMPACT_ASCII"(PyObject*)
    const char* text_of "PyUnicode_AsUTF8AndSize"(PyObject*, Py_ssize_t*) except NULL
    const void* ascii_of "PyUnicode_DATA"(PyObject*)
    Py_ssize_t ascii_size "PyUnicode_GET_LENGTH"(PyObject*)
    char* bytes_of "PyBytes_AS_STRING"(PyObject*)
    Py_ssize_t bytes_size "PyBytes_GET_SIZE"(PyObject*)
    long long int_of "PyLong_AsLongLongAndOverflow"(PyObject*, int*)
    double float_of "PyFloat_AS_DOUBLE"(PyObject*)
    double float_of_int "PyLong_AsDouble"(PyObject*) except? -1.0
    Py_ssize_t list_size "PyList_GET_SIZE"(PyObject*)
    PyObject* list_item "PyList_GET_ITEM"(PyObject*, Py_ssize_t)

cdef enum:
    BLOCK = 1 << 16  # bytes of the first block of long texts; each is twice the one before it,
    LARGEST_BLOCK = 1 << 24  # up to this, or as large as the text


cdef struct Room:
    # Memory of pyarrow's pool, which has its pages at hand where `malloc` asks for new ones.
    PyObject* owner  # a pyarrow buffer, or NULL
    char* begin


cdef int enlarge(Room* room, Py_ssize_t size) except -1:
    if room.owner == NULL:
        buffer = pa.allocate_buffer(size, resizable=True)
        room.owner = <PyObject*>buffer
        Py_INCREF(room.owner)
    else:
        (<object>room.owner).resize(size)
    room.begin = <char*><uintptr_t>(<object>room.owner).address
    return 0


cdef object taken(Room* room, Py_ssize_t size):
    # The first bytes as a buffer; the room is none afterwards.
    buffer = (<object>room.owner).slice(0, size)
    close_room(room)
    return buffer


cdef void close_room(Room* room) noexcept:
    cdef PyObject* owner = room.owner
    room.owner, room.begin = NULL, NULL
    Py_XDECREF(owner)


cdef struct Sink:
    # A column that values of a field are appended to.
    const Field* field
    Py_ssize_t length
    Py_ssize_t room  # rows that there is memory for
    Py_ssize_t expected  # rows that there may be
    Room values
    Room validity  # bits; none as long as nothing is null
    Py_ssize_t nulls
    Day day  # of the time written last
    Room block  # where long texts go, and how much of it is used
    Py_ssize_t used
    Py_ssize_t block_size
    PyObject* blocks  # a list of the full ones, as buffers
    Source* passed  # the column that has all the values so far, none of which is kept here; or NULL
    Sink* inner


cdef int open_sink(Sink* sink, const Field* field, Py_ssize_t rows) except -1:
    cdef Py_ssize_t i
    sink.field = field
    turn_to(&sink.day, 0)
    if field.count:
        sink.inner = <Sink*>calloc(field.count, sizeof(Sink))
        if sink.inner == NULL:
            raise MemoryError
        for i in range(field.count):
            # How many items there will be is anyone's guess.
            open_sink(&sink.inner[i], &field.inner[i], 0 if field.stored == LIST else rows)
    if field.stored in (TEXT, BYTES, DECIMAL):
        sink.blocks = new_list(0)
        if sink.blocks == NULL:
            raise MemoryError
    sink.expected = rows
    return 0


cdef void close_sink(Sink* sink) noexcept:
    cdef Py_ssize_t i
    if sink.inner != NULL:
        for i in range(sink.field.count):
            close_sink(&sink.inner[i])
        free(sink.inner)
    close_room(&sink.values)
    close_room(&sink.validity)
    close_room(&sink.block)
    Py_XDECREF(sink.blocks)
    memset(sink, 0, sizeof(Sink))


cdef int widen(Sink* sink, Py_ssize_t rows) except -1:
    # Make room for so many rows.
    cdef Py_ssize_t size = (rows + 1) * sink.field.width
    if sink.field.stored == BOOL:
        size = (rows >> 3) + 8
    if sink.field.stored != RECORD and sink.field.stored != DECIMAL:
        enlarge(&sink.values, size)
    if sink.field.stored == LIST and sink.length == 0:
        memset(sink.values.begin, 0, 8)
    if sink.validity.owner != NULL:
        enlarge(&sink.validity, (rows >> 3) + 8)
    sink.room = rows
    return 0


cdef inline int make_room(Sink* sink) except -1:
    if sink.length < sink.room:
        return 0
    return widen(sink, max(2 * sink.room, sink.expected, 64))


cdef inline void set_bit(char* bits, Py_ssize_t place, bint value) noexcept nogil:
    # The last bit for now: a byte that is begun has no others.
    if place & 7 == 0:
        bits[place >> 3] = value
    elif value:
        bits[place >> 3] |= <char>(1 << (place & 7))
    else:
        bits[place >> 3] &= <char>~(1 << (place & 7))


cdef void cut(Sink* sink, Py_ssize_t rows) noexcept:
    # Take back what was appended after so many rows, parts of a row included.
    cdef Py_ssize_t i
    if sink.validity.owner != NULL:
        for i in range(rows, sink.length):
            sink.nulls -= not (sink.validity.begin[i >> 3] >> (i & 7)) & 1
    sink.length = min(sink.length, rows)
    if sink.field.stored == DECIMAL:
        del (<list>sink.blocks)[rows:]
    elif sink.field.stored == RECORD:
        for i in range(sink.field.count):
            cut(&sink.inner[i], rows)
    elif sink.field.stored == LIST and sink.room:
        cut(&sink.inner[0], (<int64_t*>sink.values.begin)[rows])


cdef int append_null(Sink* sink) except -1:
    cdef Py_ssize_t row = sink.length
    cdef Py_ssize_t i
    make_room(sink)
    if sink.validity.owner == NULL:
        enlarge(&sink.validity, (sink.room >> 3) + 8)
        memset(sink.validity.begin, 0xFF, (row >> 3) + 1)
    set_bit(sink.validity.begin, row, False)
    sink.nulls += 1
    if sink.field.stored == RECORD:
        for i in range(sink.field.count):
            append_null(&sink.inner[i])
    elif sink.field.stored == DECIMAL:
        (<list>sink.blocks).append(None)
    elif sink.field.stored == BOOL:
        set_bit(sink.values.begin, row, False)
    elif sink.field.stored == LIST:
        (<int64_t*>sink.values.begin)[row + 1] = (<int64_t*>sink.values.begin)[row]
    else:
        memset(sink.values.begin + row * sink.field.width, 0, sink.field.width)
    sink.length = row + 1
    return 0


cdef int append(Sink* sink, PyObject* value) except -1:
    # Append a value; False if it does not fit, and then parts of it may have to be `cut`.
    cdef int form = sink.field.form
    if value == none:
        if not sink.field.nullable:
            return False
        append_null(sink)
        return True
    make_room(sink)
    if form == FLOAT:
        if not append_float(sink, value):
            return False
    elif form == TEXT:
        if not append_text(sink, value):
            return False
    elif form == INSTANT:
        if not append_instant(sink, value):
            return False
    elif form == RECORD:
        if Py_TYPE(value) != sink.field.shape.type or not append_fields(sink, value):
            return False
    elif not append_other(sink, value, form):
        return False
    if sink.validity.owner != NULL:
        set_bit(sink.validity.begin, sink.length, True)
    sink.length += 1
    return True


cdef bint passes(const Source* source, const Field* written) noexcept:
    # Whether any value that is read comes out as it was in its column when it is written.
    cdef const Field* read = source.field
    if read.form != written.form or strcmp(read.name, written.name) != 0:
        return False
    if strcmp(read.format, written.format) != 0:
        return False
    if source.view.validity != NULL and not written.nullable:
        return False
    if read.form == MEMBER:
        return read.of == written.of
    if read.form == INSTANT:
        return read.of == none and written.of == none
    return read.form <= BYTES or read.form == DATE


cdef struct Passed:
    # A column of a reader that has all the values of a field.
    Py_ssize_t field
    Py_ssize_t offset
    Py_ssize_t column


cdef int append_fields(Sink* sink, PyObject* record) except -1:
    cdef const Field* field = sink.field
    cdef Py_ssize_t i
    cdef PyObject* value
    cdef bint fits
    for i in range(field.count):
        value = slot_at(record, field.inner[i].offset)[0]
        if value == NULL:
            return False
        Py_INCREF(value)
        try:
            fits = append(&sink.inner[i], value)
        finally:
            Py_DECREF(value)
        if not fits:
            return False
    return True


cdef int append_other(Sink* sink, PyObject* value, int form) except -1:
    if form == MEMBER:
        return append_member(sink, value)
    if form == LITERAL:
        return append_literal(sink, value)
    if form == LIST:
        return append_list(sink, value)
    if form == BYTES:
        if not is_bytes(value):
            return False
        return append_bytes(sink, bytes_of(value), bytes_size(value))
    if form == BOOL:
        if not is_bool(value):
            return False
        set_bit(sink.values.begin, sink.length, value == true)
        return True
    if form == DECIMAL:
        return append_decimal(sink, value)
    if form == DATE:
        if not is_date(value):
            return False
        (<int32_t*>sink.values.begin)[sink.length] = <int32_t>day_number(&sink.day, value)
        return True
    if form == TIME:
        return append_time(sink, value)
    if form == DURATION:
        return append_duration(sink, value)
    return append_int(sink, value)


cdef inline int append_float(Sink* sink, PyObject* value) except -1:
    cdef double number
    if is_float(value):
        number = float_of(value)
    elif is_int(value):
        try:
            number = float_of_int(value)
        except OverflowError:
            return False
    else:
        return False
    (<double*>sink.values.begin)[sink.length] = number
    return True


cdef int append_int(Sink* sink, PyObject* value) except -1:
    cdef int overflow = 0
    cdef long long number
    cdef int width = sink.field.width
    if not is_int(value):
        return False
    number = int_of(value, &overflow)
    if overflow:
        return False
    if width == 8:
        (<int64_t*>sink.values.begin)[sink.length] = number
        return True
    if not -(1LL << (8 * width - 1)) <= number < 1LL << (8 * width - 1):
        return False
    if width == 4:
        (<int32_t*>sink.values.begin)[sink.length] = <int32_t>number
    elif width == 2:
        (<int16_t*>sink.values.begin)[sink.length] = <int16_t>number
    else:
        (<int8_t*>sink.values.begin)[sink.length] = <int8_t>number
    return True


cdef inline int append_text(Sink* sink, PyObject* value) except -1:
    cdef Py_ssize_t size
    cdef const char* begin
    if not is_text(value):
        return False
    if is_short(value):
        return append_bytes(sink, <const char*>ascii_of(value), ascii_size(value))
    try:
        begin = text_of(value, &size)
    except UnicodeEncodeError:
        return False
    return append_bytes(sink, begin, size)


cdef inline int append_bytes(Sink* sink, const char* begin, Py_ssize_t size) except -1:
    cdef int32_t* view = <int32_t*>(sink.values.begin + 16 * sink.length)
    if size <= 12:
        view[0] = <int32_t>size
        view[1] = view[2] = view[3] = 0
        memcpy(view + 1, begin, size)
        return True
    if size > ROOM:
        return False
    if size > sink.block_size - sink.used:
        next_block(sink, size)
    view[0] = <int32_t>size
    memcpy(view + 1, begin, 4)
    view[2] = <int32_t>len(<list>sink.blocks)
    view[3] = <int32_t>sink.used
    memcpy(sink.block.begin + sink.used, begin, size)
    sink.used += size
    return True


cdef int next_block(Sink* sink, Py_ssize_t size) except -1:
    cdef Py_ssize_t wanted = min(max(2 * sink.block_size, BLOCK), LARGEST_BLOCK)
    if sink.block.owner != NULL:
        (<list>sink.blocks).append(taken(&sink.block, sink.used))
    sink.used = sink.block_size = 0
    enlarge(&sink.block, max(wanted, size))
    sink.block_size = max(wanted, size)
    return 0


cdef inline int64_t day_number(Day* day, PyObject* value) noexcept:
    cdef int year = PyDateTime_GET_YEAR(value)
    cdef int month = PyDateTime_GET_MONTH(value)
    cdef int date = PyDateTime_GET_DAY(value)
    if date != day.date or month != day.month or year != day.year:
        day.year, day.month, day.date = year, month, date
        day.number = number_of(year, month, date)
    return day.number


cdef inline int append_instant(Sink* sink, PyObject* value) except -1:
    cdef int64_t seconds
    cdef int64_t micros
    cdef PyObject* zone
    if not is_datetime(value):
        return False
    seconds = PyDateTime_DATE_GET_HOUR(value) * 3600
    seconds += PyDateTime_DATE_GET_MINUTE(value) * 60 + PyDateTime_DATE_GET_SECOND(value)
    micros = day_number(&sink.day, value) * MICROS_A_DAY + seconds * 1_000_000
    micros += PyDateTime_DATE_GET_MICROSECOND(value)
    zone = PyDateTime_DATE_GET_TZINFO(value)
    if not is_utc(zone):
        if type(<object>zone) is not timezone and type(<object>zone) is not ZoneInfo:
            return False
        micros -= micros_of((<object>value).utcoffset())
        if not FIRST_MICRO <= micros <= LAST_MICRO:
            return False
    (<int64_t*>sink.values.begin)[sink.length] = micros
    return True


cdef int64_t micros_of(object duration) except? -1:
    cdef PyObject* value = <PyObject*>duration
    cdef int64_t seconds = PyDateTime_DELTA_GET_SECONDS(value)
    seconds += <int64_t>PyDateTime_DELTA_GET_DAYS(value) * 86_400
    return seconds * 1_000_000 + PyDateTime_DELTA_GET_MICROSECONDS(value)


cdef int append_time(Sink* sink, PyObject* value) except -1:
    cdef int64_t seconds
    if not is_time(value) or PyDateTime_TIME_GET_TZINFO(value) != none:
        return False
    seconds = PyDateTime_TIME_GET_HOUR(value) * 3600
    seconds += PyDateTime_TIME_GET_MINUTE(value) * 60 + PyDateTime_TIME_GET_SECOND(value)
    seconds = seconds * 1_000_000 + PyDateTime_TIME_GET_MICROSECOND(value)
    (<int64_t*>sink.values.begin)[sink.length] = seconds * 1000
    return True


cdef int append_duration(Sink* sink, PyObject* value) except -1:
    cdef int64_t days
    cdef int64_t limit = sink.field.limit
    if not is_delta(value):
        return False
    days = PyDateTime_DELTA_GET_DAYS(value)
    if not -limit <= days <= limit or days == limit and (
        PyDateTime_DELTA_GET_SECONDS(value) or PyDateTime_DELTA_GET_MICROSECONDS(value)
    ):
        return False
    (<int64_t*>sink.values.begin)[sink.length] = micros_of(<object>value)
    return True


cdef int append_decimal(Sink* sink, PyObject* value) except -1:
    if type(<object>value) is not Decimal:
        return False
    quantize, unit = <tuple>sink.field.extra
    try:
        scaled = quantize(<object>value, unit)
    except InvalidOperation:
        return False
    if scaled != <object>value:
        return False
    (<list>sink.blocks).append(scaled)
    return True


cdef int append_member(Sink* sink, PyObject* value) except -1:
    if type(<object>value) is not <object>sink.field.of:
        return False
    if sink.field.by_slot:
        return append_stored(sink, (<object>value)._value_)
    return append_stored(sink, (<object>value).value)


cdef int append_literal(Sink* sink, PyObject* value) except -1:
    for allowed in <object>sink.field.of:
        if <PyObject*>allowed == value:
            return append_stored(sink, allowed)
    if not (is_text(value) or is_int(value) or is_bool(value)):
        return False
    for allowed in <object>sink.field.of:
        if type(allowed) is type(<object>value) and allowed == <object>value:
            return append_stored(sink, allowed)
    return False


cdef int append_stored(Sink* sink, object value) except -1:
    if sink.field.stored == TEXT:
        return append_text(sink, <PyObject*>value)
    if sink.field.stored == BOOL:
        set_bit(sink.values.begin, sink.length, value is True)
        return True
    return append_int(sink, <PyObject*>value)


cdef int append_list(Sink* sink, PyObject* value) except -1:
    cdef Py_ssize_t i = 0
    cdef PyObject* item
    cdef bint fits
    if not is_list(value):
        return False
    while i < list_size(value):
        item = list_item(value, i)
        Py_INCREF(item)
        try:
            fits = append(&sink.inner[0], item)
        finally:
            Py_DECREF(item)
        if not fits:
            return False
        i += 1
    (<int64_t*>sink.values.begin)[sink.length + 1] = sink.inner.length
    return True


cdef object array_of(Sink* sink):
    # The column; the sink is empty afterwards, except of its blocks.
    cdef const Field* field = sink.field
    cdef Py_ssize_t i
    cdef Py_ssize_t length = sink.length
    cdef list buffers = [None]
    cdef list children = []
    if field.stored == DECIMAL:
        return pa.array(<list>sink.blocks, <object>field.kind)
    if sink.nulls:
        buffers[0] = taken(&sink.validity, (length + 7) >> 3)
    if field.stored != RECORD:
        if not sink.room:
            widen(sink, 0)
        buffers.append(taken(&sink.values, values_size(sink)))
    for i in range(field.count):
        children.append(array_of(&sink.inner[i]))
    if field.stored == TEXT or field.stored == BYTES:
        if sink.block.owner != NULL:
            (<list>sink.blocks).append(taken(&sink.block, sink.used))
        buffers.extend(<list>sink.blocks)
    return pa.Array.from_buffers(
        <object>field.kind, length, buffers, sink.nulls, children=children or None
    )


cdef Py_ssize_t values_size(Sink* sink) noexcept:
    if sink.field.stored == BOOL:
        return (sink.length + 7) >> 3
    return (sink.length + (sink.field.stored == LIST)) * sink.field.width
