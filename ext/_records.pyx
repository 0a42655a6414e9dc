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
    cdef PyObject** ahead  # the values of some rows, row by row; NULL for one that is read in time
    cdef bint calling  # for calls that let go of most records; only then rows are read ahead
    cdef Py_ssize_t begin  # of these rows
    cdef Py_ssize_t end
    cdef Py_ssize_t* offsets

    def __cinit__(self, RecordPlan plan, frame):
        cdef Py_ssize_t i, place
        cdef Field* field = plan.field
        cdef Source* source = &self.source
        self.plan, self.frame = plan, Arrow(frame)
        source.inner = <Source*>calloc(field.count + 1, sizeof(Source))
        self.ahead = <PyObject**>calloc(AHEAD * field.count + 1, sizeof(PyObject*))
        self.offsets = <Py_ssize_t*>calloc(field.count + 1, sizeof(Py_ssize_t))
        if source.inner == NULL or self.ahead == NULL or self.offsets == NULL:
            raise MemoryError
        source.field = field
        for i in range(field.count):
            place = self.frame.place(field.inner[i].name)
            check_column(&field.inner[i], self.frame.schema.children[place])
            open_source(&source.inner[i], &field.inner[i], self.frame.column(place))
            if field.inner[i].form != RECORD and field.inner[i].form != LIST:
                source.inner[i].ahead, source.inner[i].stride = self.ahead + i, field.count
            self.offsets[i] = field.inner[i].offset

    def __dealloc__(self):
        if self.source.field != NULL:
            close_source(&self.source)
        else:
            free(self.source.inner)
        free(self.ahead)
        free(self.offsets)

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
            self.fill(record)
        except:
            Py_DECREF(record)
            raise
        return record

    cdef int fill(self, PyObject* record) except -1:
        # Set the fields of a record to those of the next row.
        cdef Py_ssize_t count = self.source.field.count
        cdef PyObject** values
        cdef PyObject** slot
        cdef PyObject* value
        cdef PyObject* old
        cdef Py_ssize_t i
        if self.row >= self.end:
            if not self.calling:
                fill(record, &self.source, self.row)
                self.row += 1
                return 0
            self.look_ahead()
        values = self.values(self.row)
        for i in range(count):
            value = values[i]
            if value != NULL:
                Py_INCREF(value)
            else:
                value = value_at(&self.source.inner[i], self.row)
            slot = slot_at(record, self.offsets[i])
            old = slot[0]
            slot[0] = value
            Py_XDECREF(old)
        self.row += 1
        return 0

    cdef inline PyObject** values(self, Py_ssize_t row) noexcept:
        return self.ahead + (row - self.begin) * self.source.field.count

    cdef int look_ahead(self) except -1:
        cdef Source* source
        cdef Py_ssize_t i
        cdef Py_ssize_t most = min(AHEAD, self.frame.height() - self.row)
        if most <= 0:
            raise IndexError("there is no such row")
        self.begin = self.end = self.row
        for i in range(self.source.field.count):
            source = &self.source.inner[i]
            if source.ahead != NULL:
                read_ahead(source, self.row, most)
                most = min(most, source.count)
        self.end = self.row + most
        return 0


@cython.no_gc_clear
cdef class RecordWriter:
    """Columns that grow by a row with each record added that fits; see `records`."""

    cdef RecordPlan plan
    cdef Sink sink
    cdef Room places
    cdef Py_ssize_t room
    cdef bint in_step
    cdef list left
    cdef RecordReader reader  # whose columns have the values of some; None if there are none
    cdef Passed* passed  # which
    cdef Py_ssize_t passed_count
    cdef Py_ssize_t* kept  # the other fields
    cdef Py_ssize_t kept_count

    def __cinit__(self, RecordPlan plan, Py_ssize_t rows=0):
        self.plan = plan
        self.left = []
        self.in_step = True
        self.passed = <Passed*>calloc(plan.field.count + 1, sizeof(Passed))
        self.kept = <Py_ssize_t*>calloc(plan.field.count + 1, sizeof(Py_ssize_t))
        if self.passed == NULL or self.kept == NULL:
            raise MemoryError
        open_sink(&self.sink, plan.field, rows)

    def __dealloc__(self):
        free(self.passed)
        free(self.kept)
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
        if self.reader is not None and Py_TYPE(record) == self.sink.field.shape.type:
            self.keep()
        try:
            fits = append(&self.sink, record)
        finally:
            if not fits:
                cut(&self.sink, row)
        return self._settle(fits, row, place, record)

    cdef int append_handed(self, int64_t place, PyObject* record, PyObject** values) except -1:
        # Append what a call returned for the row that has these values.
        cdef Py_ssize_t row = self.sink.length
        cdef bint fits = False
        cdef Py_ssize_t i
        for i in range(self.passed_count):
            if slot_at(record, self.passed[i].offset)[0] != values[self.passed[i].column]:
                self._keep_others(record, values)
                break
        try:
            fits = self._append_kept(record)
        finally:
            if not fits:
                cut(&self.sink, row)
        return self._settle(fits, row, place, record)

    cdef inline int _append_kept(self, PyObject* record) except -1:
        # As `append` of the record, save what is passed on.
        cdef Sink* sink
        cdef PyObject* value
        cdef Py_ssize_t i
        cdef bint fits
        for i in range(self.kept_count):
            sink = &self.sink.inner[self.kept[i]]
            value = slot_at(record, sink.field.offset)[0]
            if value == NULL:
                return False
            Py_INCREF(value)
            try:
                fits = append(sink, value)
            finally:
                Py_DECREF(value)
            if not fits:
                return False
        self.sink.length += 1
        return True

    cdef inline int _settle(
        self, bint fits, Py_ssize_t row, int64_t place, PyObject* record
    ) except -1:
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

    cdef int pair(self, RecordReader reader) except -1:
        # From now on a value that is its column's own is not kept, until there is another.
        cdef Source* source = &reader.source
        cdef Py_ssize_t i, k
        self.keep()
        if reader.row or self.sink.length:
            return 0
        self.reader = reader
        for i in range(self.sink.field.count):
            for k in range(source.field.count):
                if passes(&source.inner[k], &self.sink.field.inner[i]):
                    self.sink.inner[i].passed = &source.inner[k]
        self._sort()
        return 0

    cdef int _sort(self) noexcept:
        # Which fields are passed on, and which are not.
        cdef Source* source
        cdef Py_ssize_t i
        self.passed_count = self.kept_count = 0
        for i in range(self.sink.field.count):
            source = self.sink.inner[i].passed
            if source == NULL:
                self.kept[self.kept_count] = i
                self.kept_count += 1
            else:
                self.passed[self.passed_count] = Passed(
                    i, self.sink.field.inner[i].offset, source - self.reader.source.inner
                )
                self.passed_count += 1
        return 0

    cdef int keep(self) except -1:
        # Have all values here.
        if self.reader is not None:
            self._keep_others(NULL, NULL)
            self.reader = None
        return 0

    cdef int _keep_others(self, PyObject* record, PyObject** values) except -1:
        # Have the values here of what a record has not passed on; of all without a record.
        cdef Py_ssize_t i
        cdef Passed* one
        try:
            for i in range(self.passed_count):
                one = &self.passed[i]
                if record == NULL or slot_at(record, one.offset)[0] != values[one.column]:
                    self._keep(&self.sink.inner[one.field])
        finally:
            self._sort()
        return 0

    cdef int _keep(self, Sink* sink) except -1:
        # Have the values of a column here that was passed on.
        cdef Source* source = sink.passed
        cdef Py_ssize_t row, place
        cdef PyObject* value
        sink.passed = NULL
        try:
            for row in range(self.sink.length):
                place = row if self.in_step else (<int64_t*>self.places.begin)[row]
                value = value_at(source, place)
                try:
                    append(sink, value)
                finally:
                    Py_DECREF(value)
        except:
            cut(sink, 0)
            sink.passed = source
            raise
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

    def finish(self, bint passing=False):
        """Return what was added, and start anew; see `records`."""
        cdef Sink* sink = &self.sink
        cdef Py_ssize_t i
        cdef list columns = []
        cdef list kept = []
        cdef list passed = []
        if not passing or sink.length == 0:
            self.keep()
        for i, field in enumerate(self.plan.fields):
            if sink.inner[i].passed == NULL:
                kept.append(field.name)
                columns.append(array_of(&sink.inner[i]))
            else:
                passed.append(field.name)
        places = None
        if not self.in_step:
            buffer = taken(&self.places, 8 * sink.length)
            places = pa.Array.from_buffers(pa.int64(), sink.length, [None, buffer])
        rows = pa.RecordBatch.from_arrays(columns, kept)
        written = Written(rows, places, self.left, sink.length, passed)
        self.reader = None
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
    reader.calling = True
    # A class may have been given a `__del__` since.
    read.bare = is_bare(read.type, read.count)
    if made != NULL:
        made.bare = is_bare(made.type, made.count)
        writer.pair(reader)
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
                    if writer.reader is not None and reader.row == row + 1:
                        writer.append_handed(row - first, result, reader.values(row))
                    else:
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
        reader.fill(record)
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
