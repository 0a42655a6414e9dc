# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Records out of columns, and columns out of records, compiled; the contract is in `records`."""

import sys
from datetime import timezone
from decimal import Decimal, InvalidOperation
from inspect import getattr_static
from zoneinfo import ZoneInfo

import pyarrow as pa

from cpython.datetime cimport import_datetime
from libc.stdint cimport int8_t, int16_t, uint32_t

from .records import Written
from .recordvalues import NoMember, rounding

include "_arrow.pxi"
include "_calendar.pxi"
include "_recordslots.pxi"
include "_recordfields.pxi"
include "_recordreading.pxi"
include "_recordwriting.pxi"

import_datetime()

cdef object ASTIMEZONE = "astimezone"

cdef enum:
    ROOM = 0x7FFFFFFF  # bytes of one text


@cython.no_gc_clear  # what it points to is the plan's
cdef class RecordReader:
    """The rows of a frame, one after the other as records; see `records`."""

    cdef RecordPlan plan
    cdef Arrow frame
    cdef Source source
    cdef Py_ssize_t row

    def __cinit__(self, RecordPlan plan, frame):
        cdef Py_ssize_t i, place
        cdef Field* field = plan.field
        cdef Source* source = &self.source
        self.plan, self.frame = plan, Arrow(frame)
        source.inner = <Source*>calloc(field.count + 1, sizeof(Source))
        if source.inner == NULL:
            raise MemoryError
        source.field = field
        for i in range(field.count):
            place = self.frame.place(field.inner[i].name)
            check_column(&field.inner[i], self.frame.schema.children[place])
            open_source(&source.inner[i], &field.inner[i], self.frame.column(place))

    def __dealloc__(self):
        if self.source.field != NULL:
            close_source(&self.source)

    def __len__(self):
        return self.frame.height()

    def __iter__(self):
        return self

    def __next__(self):
        if self.row >= self.frame.height():
            raise StopIteration
        record = <object>self.next()
        Py_DECREF(<PyObject*>record)
        return record

    def rest(self):
        """The records that have not been read yet."""
        cdef list found = []
        while self.row < self.frame.height():
            record = <object>self.next()
            Py_DECREF(<PyObject*>record)
            found.append(record)
        return found

    cdef PyObject* next(self) except NULL:
        # A new reference to the record of the next row, which there is.
        cdef PyObject* record = given(new_record(self.source.field.shape))
        try:
            fill(record, &self.source, self.row)
        except:
            Py_DECREF(record)
            raise
        self.row += 1
        return record


@cython.no_gc_clear
cdef class RecordWriter:
    """Columns that grow by a row with each record added that fits; see `records`."""

    cdef RecordPlan plan
    cdef Sink sink
    cdef Room places
    cdef Py_ssize_t room
    cdef bint in_step
    cdef list left

    def __cinit__(self, RecordPlan plan, Py_ssize_t rows=0):
        self.plan = plan
        self.left = []
        self.in_step = True
        open_sink(&self.sink, plan.field, rows)

    def __dealloc__(self):
        close_sink(&self.sink)
        close_room(&self.places)

    def add(self, Py_ssize_t place, record):
        """Append a record, or keep it as one that does not fit; `place` is the caller's."""
        self.append(place, <PyObject*>record)

    def extend(self, records):
        """Add records with the places 0, 1, 2 and so on."""
        cdef int64_t place = 0
        for record in records:
            self.append(place, <PyObject*>record)
            place += 1

    cdef int append(self, int64_t place, PyObject* record) except -1:
        cdef Py_ssize_t row = self.sink.length
        cdef bint fits = False
        try:
            fits = append(&self.sink, record)
        finally:
            if not fits:
                cut(&self.sink, row)
        if not fits:
            self.left.append((row, place, <object>record))
            return 0
        if place != row and self.in_step:
            self._step_out(row)
        if not self.in_step:
            if row >= self.room:
                self._step_out(row)
            (<int64_t*>self.places.begin)[row] = place
        return 0

    cdef int _step_out(self, Py_ssize_t row) except -1:
        # From now on places are written down.
        cdef Py_ssize_t i
        self.room = max(2 * row, self.sink.room, 64)
        enlarge(&self.places, 8 * self.room)
        if self.in_step:
            for i in range(row):
                (<int64_t*>self.places.begin)[i] = i
        self.in_step = False
        return 0

    def finish(self):
        """Return what was added, and start anew."""
        cdef Sink* sink = &self.sink
        cdef Py_ssize_t i
        cdef list columns = []
        for i in range(sink.field.count):
            columns.append(array_of(&sink.inner[i]))
        places = None
        if not self.in_step:
            buffer = taken(&self.places, 8 * sink.length)
            places = pa.Array.from_buffers(pa.int64(), sink.length, [None, buffer])
        rows = pa.RecordBatch.from_arrays(columns, [field.name for field in self.plan.fields])
        written = Written(rows, places, self.left)
        close_sink(sink)
        open_sink(sink, self.plan.field, 0)
        self.left, self.in_step, self.room = [], True, 0
        return written


def call_each(call, RecordReader reader, RecordWriter writer, bint optional, take, fail):
    """Call with every record that `reader` still has; see `records`."""
    cdef PyObject* record = NULL
    cdef PyObject* result
    cdef Shape* made = NULL if writer is None else writer.sink.field.shape
    cdef Shape* read = reader.source.field.shape
    cdef Py_ssize_t first = reader.row
    cdef Py_ssize_t row
    # A class may have been given a `__del__` since.
    read.bare = is_bare(read.type, read.count)
    if made != NULL:
        made.bare = is_bare(made.type, made.count)
    try:
        for row in range(first, reader.frame.height()):
            record = successor(reader, record)
            result = called(<PyObject*>call, record)
            if result == NULL:
                error = caught()
                if not isinstance(error, Exception):
                    raise error
                fail(row - first, error)
                error = None
            elif made != NULL and Py_TYPE(result) == made.type:
                try:
                    writer.append(row - first, result)
                finally:
                    let_go(made, result)
            else:
                hand_over(row - first, result, optional, take, fail)
    finally:
        Py_XDECREF(record)
        drop_spare(read)
        if made != NULL:
            drop_spare(made)


cdef PyObject* successor(RecordReader reader, PyObject* record) except NULL:
    # The next record; the last one again, filled anew, if nobody else has it.
    cdef PyObject* found
    if record != NULL and Py_REFCNT(record) == 1 and reader.source.field.shape.bare:
        fill(record, &reader.source, reader.row)
        reader.row += 1
        return record
    found = reader.next()
    Py_XDECREF(record)
    return found


cdef inline PyObject* called(PyObject* call, PyObject* record) noexcept:
    cdef PyObject* arguments[2]
    arguments[0] = NULL
    arguments[1] = record
    return vectorcall(call, arguments + 1, 1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL)


cdef int hand_over(int64_t number, PyObject* result, bint optional, take, fail) except -1:
    # Give a result, and the reference to it, to `take`.
    found = <object>result
    Py_DECREF(result)
    if found is None and optional:
        return 0
    try:
        take(number, found)
    except Exception as error:
        fail(number, error)
    return 0
