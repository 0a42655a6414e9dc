# How the fields of a record are kept, as C: what readers and writers go by.

cdef enum:
    BOOL
    INT8
    INT16
    INT32
    INT64
    FLOAT
    TEXT
    BYTES
    INSTANT
    DATE
    TIME
    DURATION
    DECIMAL
    MEMBER
    LITERAL
    RECORD
    LIST

cdef dict FORMS = {
    "bool": BOOL, "int8": INT8, "int16": INT16, "int32": INT32, "int64": INT64, "float": FLOAT,
    "text": TEXT, "bytes": BYTES, "instant": INSTANT, "date": DATE, "time": TIME,
    "duration": DURATION, "decimal": DECIMAL, "member": MEMBER, "literal": LITERAL,
    "record": RECORD, "list": LIST,
}
# As the Arrow C data interface spells the types.
cdef dict FORMATS = {
    BOOL: b"b", INT8: b"c", INT16: b"s", INT32: b"i", INT64: b"l", FLOAT: b"g", TEXT: b"vu",
    BYTES: b"vz", DATE: b"tdD", TIME: b"ttn", DURATION: b"tDu", RECORD: b"+s", LIST: b"+L",
}


cdef struct Field:
    int form
    int stored  # the form that its column has: of a member or literal, that of its values
    bint nullable
    Py_ssize_t offset  # of its slot in the record
    int width  # bytes of a value in its column
    # What follows is kept by the RecordPlan.
    const char* name
    const char* format
    PyObject* kind  # the pyarrow type
    PyObject* of
    PyObject* extra  # of a member: its class's values to members; of a decimal: how it is rounded
    bint by_slot  # of a member: whether `_value_` is its value, as in any sane enum
    int64_t limit  # of a duration, in days
    Shape* shape  # of a record
    Py_ssize_t count  # of inner fields
    Field* inner


@cython.no_gc_clear  # what fields point to
cdef class RecordPlan:
    cdef readonly object cls
    cdef readonly tuple fields
    cdef list kept
    cdef Field* field
    cdef Py_ssize_t count

    def __cinit__(self, cls, fields):
        cdef Field* found = <Field*>calloc(1, sizeof(Field))
        self.kept = []
        self.field = found
        if found == NULL:
            raise MemoryError
        self.cls, self.fields = cls, tuple(fields)
        found.form = found.stored = RECORD
        found.of = <PyObject*>cls
        self._record(found, cls, self.fields)

    def __dealloc__(self):
        if self.field != NULL:
            free_fields(self.field)
            free(self.field)

    cdef PyObject* _hold(self, value) except NULL:
        self.kept.append(value)
        return <PyObject*>value

    cdef int _record(self, Field* field, cls, fields) except -1:
        cdef Py_ssize_t i
        layout = cls.__dict__.get("__record_layout__") or Layout(cls, [one.name for one in fields])
        self._hold(layout)
        field.shape = &(<Layout>layout).shape
        self._inside(field, fields)
        for i, one in enumerate(fields):
            slot = getattr_static(cls, one.name)
            field.inner[i].offset = slot_offset(field.shape.type, <PyObject*>slot)
            if field.inner[i].offset < 0:
                raise TypeError(f"{cls.__name__}.{one.name} is no slot")
        return 0

    cdef int _inside(self, Field* field, fields) except -1:
        cdef Py_ssize_t i
        field.inner = <Field*>calloc(len(fields) + 1, sizeof(Field))
        if field.inner == NULL:
            raise MemoryError
        field.count = len(fields)
        for i, one in enumerate(fields):
            self._field(&field.inner[i], one)
        return 0

    cdef int _field(self, Field* field, kept) except -1:
        of, kind = kept.of, kept.arrow
        field.of, field.kind = self._hold(of), self._hold(kind)
        field.form = field.stored = FORMS[kept.form]
        field.nullable = kept.nullable
        if field.form in (MEMBER, LITERAL):
            field.stored = FORMS[kept.inner[0].form]
        elif field.form == RECORD:
            self._record(field, of, kept.inner)
        elif field.form == LIST:
            self._inside(field, kept.inner)
        if field.form == MEMBER:
            field.extra = self._hold({member.value: member for member in of})
            field.by_slot = all([member.value is member._value_ for member in of])
        elif field.form == DECIMAL:
            field.extra = self._hold((rounding(of[0]).quantize, Decimal((0, (1,), -of[1]))))
        elif field.form == DURATION:
            field.limit = of.days
        field.width = width_of(field.stored)
        field.name = <bytes>self._hold(kept.name.encode())
        field.format = <bytes>self._hold(self._format(field, kind))
        return 0

    cdef bytes _format(self, Field* field, kind):
        if field.stored == INSTANT:
            return f"tsu:{kind.tz}".encode()
        if field.stored == DECIMAL:
            return f"d:{kind.precision},{kind.scale}".encode()
        return FORMATS[field.stored]


cdef void free_fields(Field* field) noexcept:
    cdef Py_ssize_t i
    if field.inner != NULL:
        for i in range(field.count):
            free_fields(&field.inner[i])
        free(field.inner)


cdef int width_of(int stored) noexcept:
    if stored in (TEXT, BYTES, DECIMAL):
        return 16
    if stored in (INT32, DATE):
        return 4
    if stored == INT16:
        return 2
    return 1 if stored == INT8 else 8
