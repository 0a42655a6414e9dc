# Values out of columns.

from cpython.datetime cimport PyDateTime_CAPI
from libc.string cimport memcmp, memset

cdef extern from "datetime.h":
    """
    #define headwater_datetime(y, mo, d, h, mi, s, us) PyDateTimeAPI->DateTime_FromDateAndTime( \
        y, mo, d, h, mi, s, us, PyDateTime_TimeZone_UTC, PyDateTimeAPI->DateTimeType)
    """
    PyObject* new_datetime "headwater_datetime"(int, int, int, int, int, int, int)
    PyObject* new_date "PyDate_FromDate"(int, int, int)
    PyObject* new_time "PyTime_FromTime"(int, int, int, int)
    PyObject* new_delta "PyDelta_FromDSU"(int, int, int)

cdef extern from "Python.h":
    PyObject* new_float "PyFloat_FromDouble"(double)
    PyObject* new_int "PyLong_FromLongLong"(long long)
    PyObject* new_text "PyUnicode_DecodeUTF8"(const char*, Py_ssize_t, const char*)
    PyObject* new_bytes "PyBytes_FromStringAndSize"(const char*, Py_ssize_t)
    PyObject* new_list "PyList_New"(Py_ssize_t)
    void set_item "PyList_SET_ITEM"(PyObject*, Py_ssize_t, PyObject*)
    PyObject* found_in "PyDict_GetItemWithError"(PyObject*, PyObject*)
    PyObject* call_method "PyObject_CallMethodOneArg"(PyObject*, PyObject*, PyObject*)
    PyObject* PyErr_Occurred()
    PyObject* none "Py_None"
    PyObject* true "Py_True"
    PyObject* false "Py_False"


cdef enum:
    AHEAD = 32  # rows whose values are made at a time, which stay in the processor's cache
    AHEAD_BYTES = 1 << 14  # of text or bytes that are made so


cdef struct Entry:
    # A value that a column had: text or bytes by its view, a member by what stands for it.
    uint64_t low
    uint64_t high
    PyObject* value


cdef struct Source:
    # A column that a field is read from.
    const Field* field
    View view
    Day day  # of the time read last
    Entry* memory  # what was read of late, in fours; NULL if the same values do not come again
    size_t mask
    Py_ssize_t met  # below 0 if it knew less than half of them, a first filling aside
    PyObject** ahead  # of a frame's column: values of rows that are due next; NULL if read in time
    Py_ssize_t stride  # from one of them to the next
    Py_ssize_t count  # of them, each with a reference
    Source* inner


cdef int open_source(Source* source, const Field* field, View view) except -1:
    cdef Py_ssize_t i
    cdef ArrowArray* array = view.array
    cdef size_t size = 64
    source.field, source.view = field, view
    source.memory, source.inner = NULL, NULL
    source.ahead, source.count = NULL, 0
    turn_to(&source.day, 0)
    if field.count:
        source.inner = <Source*>calloc(field.count, sizeof(Source))
        if source.inner == NULL:
            raise MemoryError
    for i in range(field.count):
        check_column(&field.inner[i], view.schema.children[i])
        open_source(&source.inner[i], &field.inner[i], inner_view(&view, i))
    if field.stored in (TEXT, BYTES) or field.form == MEMBER:
        while size < 4096 and <Py_ssize_t>size < 2 * view.length:
            size *= 2
        source.memory = <Entry*>calloc(size, sizeof(Entry))
        source.mask = size - 1
        source.met = size
        if source.memory == NULL:
            raise MemoryError
    return 0


cdef View inner_view(const View* view, Py_ssize_t number):
    # Of a struct's field, as long as the struct; or of all the items of a list.
    cdef ArrowSchema* schema = view.schema.children[number]
    if view.array == NULL or view.array.n_children == 0:
        return view_of(schema, NULL, 0, 0)
    cdef ArrowArray* array = view.array.children[number]
    if view.format[1] == b"s":
        return view_of(schema, array, view.start, view.length)
    return view_of(schema, array, 0, array.length)


cdef int check_column(const Field* field, ArrowSchema* schema) except -1:
    cdef Py_ssize_t i
    if strcmp(schema.format, field.format) != 0:
        raise TypeError(
            f"column '{field.name.decode()}' is of Arrow format '{schema.format.decode()}', "
            f"not '{field.format.decode()}'"
        )
    if field.count and schema.n_children != field.count:
        raise TypeError(f"column '{field.name.decode()}' has {schema.n_children} fields")
    if field.form == RECORD:
        for i in range(field.count):
            if strcmp(schema.children[i].name, field.inner[i].name) != 0:
                raise TypeError(f"column '{field.name.decode()}' has other fields")
    return 0


cdef void close_source(Source* source) noexcept:
    cdef Py_ssize_t i
    if source.inner != NULL:
        for i in range(source.field.count):
            close_source(&source.inner[i])
        free(source.inner)
        source.inner = NULL
    forget_ahead(source)
    forget_values(source)


cdef void forget_values(Source* source) noexcept:
    cdef size_t i
    if source.memory != NULL:
        for i in range(source.mask + 1):
            Py_XDECREF(source.memory[i].value)
        free(source.memory)
        source.memory = NULL


cdef void forget_ahead(Source* source) noexcept:
    cdef PyObject* value
    while source.count:
        source.count -= 1
        value = source.ahead[source.count * source.stride]
        Py_DECREF(value)


cdef int read_ahead(Source* source, Py_ssize_t row, Py_ssize_t most) except -1:
    # Values of so many rows, or of less if one cannot be read or they are large, but of one.
    # What is made one column at a time is made by code that the processor has just run.
    forget_ahead(source)
    try:
        box(source, row, most)
    except Exception:
        if source.count == 0:
            raise
    return 0


cdef inline bint same_view(const View* view, Py_ssize_t row) noexcept nogil:
    # Whether a text is that of the row before.
    cdef const uint8_t* place = view.values + 16 * (view.start + row)
    return memcmp(place, place - 16, 16) == 0


cdef int box(Source* source, Py_ssize_t row, Py_ssize_t most) except -1:
    cdef const View* view = &source.view
    cdef bint sized = source.field.form == TEXT or source.field.form == BYTES
    cdef bint numbers = source.field.form == FLOAT and view.validity == NULL
    cdef bint texts = sized and view.validity == NULL
    cdef PyObject** place = source.ahead
    cdef int64_t size = 0
    cdef Py_ssize_t i
    cdef int32_t one
    for i in range(row, row + most):
        if numbers:
            place[0] = given(new_float(float_at(view, i)))
        elif texts and i > row and same_view(view, i):
            place[0] = place[-source.stride]
            Py_INCREF(place[0])
        else:
            place[0] = value_at(source, i)
        source.count += 1
        if sized and place[0] != none:
            memcpy(&one, view.values + 16 * (view.start + i), 4)
            size += one
            if size > AHEAD_BYTES:
                break
        place += source.stride
    return 0


cdef int fill(PyObject* record, Source* source, Py_ssize_t row) except -1:
    # Set the fields of a record to those of a row.
    cdef const Field* field = source.field
    cdef Py_ssize_t i
    cdef PyObject* value
    cdef PyObject* old
    cdef PyObject** slot
    for i in range(field.count):
        value = value_at(&source.inner[i], row)
        slot = slot_at(record, field.inner[i].offset)
        old = slot[0]
        slot[0] = value
        Py_XDECREF(old)
    return 0


cdef PyObject* value_at(Source* source, Py_ssize_t row) except NULL:
    # A value of a column; a new reference.
    cdef const View* view = &source.view
    cdef int form = source.field.form
    if not is_valid(view, row):
        Py_INCREF(none)
        return none
    if form == FLOAT:
        return given(new_float(float_at(view, row)))
    if form == TEXT or form == BYTES or form == MEMBER or form == LITERAL:
        return known_at(source, row)
    if form == INSTANT:
        return instant_at(source, row)
    if form == RECORD:
        return record_at(source, row)
    if form == LIST:
        return list_at(source, row)
    return plain_at(source, source.field.stored, row)


cdef inline PyObject* given(PyObject* value) except NULL:
    return value


cdef PyObject* plain_at(Source* source, int stored, Py_ssize_t row) except NULL:
    cdef const View* view = &source.view
    cdef int64_t count
    cdef PyObject* found
    if stored == TEXT or stored == BYTES:
        return bytes_at(view, stored, row)
    if stored == BOOL:
        found = true if bit_at(view, row) else false
        Py_INCREF(found)
        return found
    if stored == DECIMAL:
        return decimal_at(source, row)
    count = number_at(view, source.field.width, row)
    if stored == DATE:
        return date_at(source, count)
    if stored == TIME:
        return time_at(count)
    if stored == DURATION:
        return duration_at(count)
    return given(new_int(count))


cdef inline int64_t number_at(const View* view, int width, Py_ssize_t row) noexcept nogil:
    cdef const uint8_t* place = view.values + width * (view.start + row)
    cdef int32_t four
    cdef int16_t two
    if width == 8:
        return word_at(view, row)
    if width == 4:
        memcpy(&four, place, 4)
        return four
    if width == 2:
        memcpy(&two, place, 2)
        return two
    return <int8_t>place[0]


cdef PyObject* bytes_at(const View* view, int stored, Py_ssize_t row) except NULL:
    cdef const uint8_t* begin
    cdef Py_ssize_t size
    if text_at(view, row, &begin, &size) < 0:
        raise ValueError("a view points outside of its buffer")
    if stored == TEXT:
        return given(new_text(<const char*>begin, size, NULL))
    return given(new_bytes(<const char*>begin, size))


cdef PyObject* known_at(Source* source, Py_ssize_t row) except NULL:
    # A text, bytes or member; one that came of late is the same object again.
    cdef uint64_t key[2]
    cdef Entry* entry
    cdef PyObject* found
    cdef int i
    if source.memory == NULL:
        return met_first(source, row)
    key[1] = 0
    if source.field.stored == TEXT or source.field.stored == BYTES:
        # Equal views of one array have equal text.
        memcpy(key, source.view.values + 16 * (source.view.start + row), 16)
    elif source.field.stored == BOOL:
        key[0] = bit_at(&source.view, row)
    else:
        key[0] = <uint64_t>number_at(&source.view, source.field.width, row)
    entry = &source.memory[mixed(key[0], key[1]) & source.mask & ~<size_t>3]
    for i in range(4):
        if entry[i].value == NULL:
            break
        if entry[i].low == key[0] and entry[i].high == key[1]:
            source.met += 1
            Py_INCREF(entry[i].value)
            return entry[i].value
    found = met_first(source, row)
    source.met -= 1
    if source.met < 0:
        forget_values(source)
    else:
        remember(entry, key, found, source.met & 3)
    return found


cdef void remember(Entry* four, uint64_t* key, PyObject* value, int otherwise) noexcept:
    # Keep a value in the first of four entries that is free, or in place of one.
    cdef PyObject* old
    cdef int i
    for i in range(4):
        if four[i].value == NULL:
            otherwise = i
            break
    old = four[otherwise].value
    Py_INCREF(value)
    four[otherwise].low, four[otherwise].high = key[0], key[1]
    four[otherwise].value = value
    Py_XDECREF(old)


cdef inline uint64_t mixed(uint64_t low, uint64_t high) noexcept nogil:
    cdef uint64_t hash = (low ^ (high * 0x9E3779B97F4A7C15ULL)) * 0xD6E8FEB86659FD93ULL
    return hash >> 40


cdef PyObject* met_first(Source* source, Py_ssize_t row) except NULL:
    cdef PyObject* value = plain_at(source, source.field.stored, row)
    cdef PyObject* member
    if source.field.form != MEMBER:
        return value
    member = found_in(source.field.extra, value)
    if member == NULL and PyErr_Occurred() == NULL:
        text = f"{<object>value!r} is no {(<object>source.field.of).__name__}"
        Py_DECREF(value)
        raise NoMember(text)
    if member != NULL:
        Py_INCREF(member)
    Py_DECREF(value)
    return given(member)


cdef PyObject* instant_at(Source* source, Py_ssize_t row) except NULL:
    cdef int64_t micros = word_at(&source.view, row)
    cdef int64_t rest = micros - source.day.number * MICROS_A_DAY
    cdef int64_t number
    cdef int seconds
    cdef PyObject* at
    cdef PyObject* local
    if not 0 <= rest < MICROS_A_DAY:
        if not FIRST_MICRO <= micros <= LAST_MICRO:
            raise OverflowError("date value out of range")
        number = micros // MICROS_A_DAY
        rest = micros - number * MICROS_A_DAY
        if rest < 0:
            rest += MICROS_A_DAY
            number -= 1
        turn_to(&source.day, number)
    seconds = <int>(rest // 1_000_000)
    at = given(new_datetime(
        source.day.year, source.day.month, source.day.date,
        seconds // 3600, seconds // 60 % 60, seconds % 60, <int>(rest % 1_000_000),
    ))
    if source.field.of == none:
        return at
    local = call_method(at, <PyObject*>ASTIMEZONE, source.field.of)
    Py_DECREF(at)
    return given(local)


cdef PyObject* date_at(Source* source, int64_t number) except NULL:
    if number != source.day.number:
        if not FIRST_MICRO // MICROS_A_DAY <= number <= LAST_MICRO // MICROS_A_DAY:
            raise OverflowError("date value out of range")
        turn_to(&source.day, number)
    return given(new_date(source.day.year, source.day.month, source.day.date))


cdef PyObject* time_at(int64_t nanos) except NULL:
    cdef int64_t micros = nanos // 1000
    cdef int seconds = <int>(micros // 1_000_000)
    return given(new_time(
        seconds // 3600, seconds // 60 % 60, seconds % 60, <int>(micros % 1_000_000)
    ))


cdef PyObject* duration_at(int64_t micros) except NULL:
    cdef int64_t days = micros // MICROS_A_DAY
    cdef int64_t rest = micros - days * MICROS_A_DAY
    if rest < 0:
        rest += MICROS_A_DAY
        days -= 1
    return given(new_delta(<int>days, <int>(rest // 1_000_000), <int>(rest % 1_000_000)))


cdef PyObject* decimal_at(Source* source, Py_ssize_t row) except NULL:
    # By way of text, which is exact: the digits, and the places behind an E.
    cdef char text[64]
    cdef int places = (<object>source.field.of)[1]
    cdef Py_ssize_t begin = spell(source.view.values + 16 * (source.view.start + row), text)
    cdef object found = Decimal(f"{(text + begin).decode()}E-{places}")
    Py_INCREF(<PyObject*>found)
    return <PyObject*>found


cdef Py_ssize_t spell(const uint8_t* number, char* text) noexcept nogil:
    # Write an integer of 128 bits in decimal to the end of `text` (64 bytes); returns where it
    # begins.
    cdef uint32_t limbs[4]
    cdef uint64_t rest
    cdef Py_ssize_t at = 63
    cdef int i, digit
    cdef bint negative
    memcpy(limbs, number, 16)
    negative = limbs[3] >> 31
    if negative:
        rest = 1
        for i in range(4):
            rest += <uint32_t>~limbs[i]
            limbs[i] = <uint32_t>rest
            rest >>= 32
    text[at] = 0
    while at == 63 or limbs[0] | limbs[1] | limbs[2] | limbs[3]:
        rest = 0
        for i in range(3, -1, -1):
            rest = (rest << 32) | limbs[i]
            limbs[i] = <uint32_t>(rest // 1_000_000_000)
            rest %= 1_000_000_000
        for digit in range(9):
            at -= 1
            text[at] = <char>(48 + rest % 10)
            rest //= 10
    if negative:
        at -= 1
        text[at] = b"-"
    return at


cdef PyObject* record_at(Source* source, Py_ssize_t row) except NULL:
    cdef PyObject* record = given(new_record(source.field.shape))
    try:
        fill(record, source, row)
    except:
        Py_DECREF(record)
        raise
    return record


cdef PyObject* list_at(Source* source, Py_ssize_t row) except NULL:
    cdef int64_t begin = word_at(&source.view, row)
    cdef int64_t end = word_at(&source.view, row + 1)
    cdef Py_ssize_t i
    cdef PyObject* found
    if not 0 <= begin <= end <= source.inner.view.length:
        raise ValueError("a list reaches outside of its items")
    found = given(new_list(end - begin))
    try:
        for i in range(end - begin):
            set_item(found, i, value_at(&source.inner[0], begin + i))
    except:
        Py_DECREF(found)
        raise
    return found
