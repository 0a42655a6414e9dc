# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Keyed windows, compiled; the contract is in `windowing`."""

from math import gcd

from libc.stdint cimport INT32_MAX
from libc.string cimport memchr, memmove

from .accumulators import gives_real
from .windowing import checked_keys, checked_parts, checked_window

include "_keycolumns.pxi"
include "_panes.pxi"
include "_paneorder.pxi"
include "_folds.pxi"
include "_windows.pxi"
include "_blocks.pxi"
include "_found.pxi"

cdef dict _GIVES = {
    "len": GIVES_ROWS, "count": GIVES_COUNT, "sum": GIVES_TOTAL, "mean": GIVES_MEAN,
    "min": GIVES_LEAST, "max": GIVES_MOST, "var": GIVES_VARIANCE, "std": GIVES_DEVIATION,
    "first": GIVES_END, "last": GIVES_END,
}


cdef class WindowTable:
    """The open windows of all keys."""

    cdef Table table
    cdef Column* columns  # the keys of a batch, without a batch their kinds alone
    cdef View* views
    cdef Arrow formats
    cdef object keys
    cdef list key_names
    cdef list fold_names
    cdef tuple parts
    cdef list part_types
    cdef bytes time
    cdef bytes watermark
    cdef dict buffers  # of what is found

    def __cinit__(
        self, keys, parts, *, size=None, every=None, offset=0, lateness=0, time=None,
        watermark=None, updates=False,
    ):
        cdef Table* table = &self.table
        self.keys, parts = checked_keys(keys), checked_parts(parts, time)
        size, every, offset, lateness = checked_window(size, every, offset, lateness)
        table.size, table.every, table.offset, table.lateness = size, every, offset, lateness
        table.width = gcd(size, every)
        table.due, table.passed = NEVER, START
        table.touched_from, table.touched_to = NEVER, START
        table.owner = <void*>self
        self.buffers = {}
        table.updates = updates
        self.time = None if time is None else time.encode()
        self.watermark = None if watermark is None else watermark.encode()
        self._lay_out_keys()
        self.parts = parts
        self._lay_out_parts(parts)
        table.block.words = <uint64_t*>zeroed(
            BLOCK * table.store.layout.key_words * sizeof(uint64_t)
        )

    def __dealloc__(self):
        cdef Table* table = &self.table
        cdef Py_ssize_t place
        for place in range(table.open):
            pane_freed(&table.store, table.panes[place])
        store_freed(&table.store)
        free(table.row)
        free(table.folds)
        free(table.parts)
        free(table.order)
        free(table.late)
        free(table.block.words)
        if table.found.valid != NULL:
            for place in range(table.part_count):
                free(table.found.valid[place])
        free(table.found.valid)
        free(table.found.valid_count)
        free(table.found.keys)
        free(table.found.values)
        free(table.found.nulls)
        free(self.columns)
        free(self.views)

    @property
    def live(self):
        """How many keys have rows, summed over open panes."""
        cdef Py_ssize_t place, found = 0
        for place in range(self.table.open):
            found += self.table.panes[place].count
        return found

    @property
    def passed(self):
        """The highest watermark so far."""
        return self.table.passed

    @property
    def sequence(self):
        """How many rows came so far."""
        return self.table.sequence

    def add(self, rows, now=None):
        """Fold rows; return the places of those that are late, None if there are none."""
        cdef Arrow source = Arrow(rows)
        cdef Table* table = &self.table
        cdef Batch batch
        cdef Stop stop
        cdef Py_ssize_t row = 0
        self._bind(source, &batch)
        stop = self._bind_times(source, &batch, now)
        if not batch.count:
            return None
        if stop == LATE:
            table.sequence += batch.count
            return pa.array(range(batch.count), pa.int64())
        table.late_count = 0
        if stop == DONE:
            with nogil:
                stop = add_rows(table, &batch, &row)
        if stop == NO_MEMORY:
            raise MemoryError
        if stop == BAD_KEY:
            raise ValueError("a key points outside the data of its column")
        if stop == BAD_TIME:
            found = batch.times[row] if now is None else now
            raise ValueError(f"a time of {found} µs is out of range")
        if batch.marks != NULL:
            table.passed = max(table.passed, batch.marks[batch.count - 1])
        if not table.late_count:
            return None
        buffer = pa.allocate_buffer(8 * table.late_count)
        memcpy(<void*><size_t>buffer.address, table.late, 8 * table.late_count)
        return pa.Array.from_buffers(pa.int64(), table.late_count, [None, buffer])

    def update(self):
        """Give the rows, as they are now, of the windows that rows came for since the last time."""
        cdef int failed
        with nogil:
            failed = give_updates(&self.table)
        if failed:
            raise MemoryError

    def close(self, int64_t watermark):
        """Close the windows whose end plus the lateness the watermark has reached."""
        cdef int failed
        with nogil:
            failed = advance(&self.table, watermark)
        if failed:
            raise MemoryError

    def take(self):
        """Return the rows given since the last time, None if there are none."""
        cdef Found* found = &self.table.found
        if not found.count:
            return None
        columns = [self._key_column(key) for key in range(self.table.store.layout.keys)]
        columns.append(self._array(pa.int64(), None, "ends"))
        for number, kind in enumerate(self.part_types):
            valid = None
            if found.valid_count[<int>number]:
                valid = _bits_of_bytes(found.valid[<int>number], found.count)
                found.valid_count[<int>number] = 0
            columns.append(self._array(kind, valid, f"part {number}"))
        self.buffers.clear()
        found.usual = max(found.count, found.usual - found.usual // 8)
        found.count = found.room = found.text_size = found.text_room = found.nulls_count = 0
        return pa.RecordBatch.from_arrays(columns, [str(place) for place in range(len(columns))])

    def entries(self):
        """Return a row for each key of each open pane."""
        return entries_of(self)

    def take_back(self, entries, *, passed, sequence):
        """Go on as the table that gave `entries`, `passed` and `sequence`."""
        entries_taken(self, entries, passed, sequence)

    cdef object _entry_schema(self):
        return entry_schema(self.keys, self.parts, whole=not self.table.width)

    # What a table is made of

    cdef int _lay_out_keys(self) except -1:
        cdef Layout* layout = &self.table.store.layout
        cdef int key
        layout.keys = len(self.keys)
        self.key_names = [name.encode() for name in self.keys.names]
        self.columns = <Column*>zeroed(layout.keys * sizeof(Column))
        self.table.found.keys = <uint64_t**>zeroed(layout.keys * sizeof(void*))
        self.formats = Arrow(pa.RecordBatch.from_pylist([], self.keys))
        for key in range(layout.keys):
            _fill(&self.columns[key], self.formats.schema.children[key], NULL)
            layout.places[key] = layout.key_words
            layout.orders[key] = _ORDERS[self.columns[key].kind, self.columns[key].signed]
            layout.key_words += 2 if layout.orders[key] == TEXT else 1
        if layout.keys == 1:
            layout.form = ONE_TEXT if layout.orders[0] == TEXT else ONE_WORD
        return 0

    cdef int _lay_out_parts(self, tuple parts) except -1:
        cdef Table* table = &self.table
        cdef int stride = KEYS + table.store.layout.key_words
        cdef Py_ssize_t number
        cdef Fold* fold
        named = {(part.column, part.real): None for part in parts if part.column is not None}
        self.fold_names = [column.encode() for column, _ in named]
        self.part_types = [pa.float64() if gives_real(part) else pa.int64() for part in parts]
        table.fold_count = len(named)
        table.part_count = len(parts)
        # Rows are counted without a column; a fold is there for them all the same.
        table.folds = <Fold*>zeroed((table.fold_count + 1) * sizeof(Fold))
        table.parts = <Part*>zeroed(table.part_count * sizeof(Part))
        table.found.values = <Word**>zeroed(table.part_count * sizeof(void*))
        table.found.valid = <uint8_t**>zeroed(table.part_count * sizeof(void*))
        table.found.valid_count = <Py_ssize_t*>zeroed(table.part_count * sizeof(Py_ssize_t))
        self.views = <View*>zeroed(table.fold_count * sizeof(View))
        places = {column: number for number, column in enumerate(named)}
        for number, part in enumerate(parts):
            table.parts[number].gives = _GIVES[part.kind]
            table.parts[number].ddof = part.ddof
            if part.column is not None:
                table.parts[number].fold = places[part.column, part.real]
                fold = &table.folds[table.parts[number].fold]
                fold.real = part.real
                stride = _accumulators(&table.parts[number], fold, part, stride)
        table.store.layout.stride = stride
        table.store.layout.per_chunk = CHUNK // stride
        blank = <Word*>zeroed(stride * sizeof(Word) + LINE)
        for number in range(table.fold_count):
            blanked(&table.folds[number], blank)
        table.store.layout.blank = blank
        return 0

    # What a batch holds

    cdef int _bind(self, Arrow source, Batch* batch) except -1:
        cdef Py_ssize_t number, place
        cdef View* view
        batch.count = source.height()
        batch.keys, batch.values = self.columns, self.views
        for number, name in enumerate(self.key_names):
            place = source.place(name)
            _check_same(source.schema.children[place], self.formats.schema.children[number], name)
            self.columns[number].view = source.column(place)
        for number, name in enumerate(self.fold_names):
            view = &self.views[number]
            view[0] = source.column(source.place(name))
            if only_counted(&self.table.folds[number]):
                if view.validity == NULL and view.format[0] == b"n":
                    raise TypeError(f"the column {name.decode()} has no values at all")
            else:
                _check_words(view, name, self.table.folds[number].real)
        return 0

    cdef Stop _bind_times(self, Arrow source, Batch* batch, now) except *:
        """The pane of all rows, if it is one; else their times and watermarks."""
        cdef Table* table = &self.table
        cdef Stop stop = DONE
        batch.pane = NULL
        batch.times = batch.marks = NULL
        if self.time is not None:
            batch.times = self._instants(source, self.time)
        if not table.width:
            batch.pane = table.panes[0] if table.open else pane_opened(table, 0, START, END)
            return DONE if batch.pane != NULL else NO_MEMORY
        if now is not None:
            batch.pane = pane_at(table, now, START, &stop)
            return stop
        if self.time is None or self.watermark is None:
            raise ValueError("rows without a time of their own need a column of times")
        batch.marks = self._instants(source, self.watermark)
        return DONE

    cdef const int64_t* _instants(self, Arrow source, bytes name) except? NULL:
        cdef View view = source.column(source.place(name))
        cdef Py_ssize_t row
        _check_words(&view, name, False)
        for row in range(view.length):
            if view.validity != NULL and not is_valid(&view, row):
                raise ValueError(f"the column {name.decode()} holds nulls")
        return <const int64_t*>view.values + view.start

    # What is given

    cdef int _reserve_rows(self, Py_ssize_t room) except -1:
        cdef Table* table = &self.table
        cdef Found* found = &table.found
        cdef int number
        for number in range(table.store.layout.keys):
            words = 2 if table.store.layout.orders[number] == TEXT else 1
            found.keys[number] = <uint64_t*>self._moved(
                f"key {number}", found.keys[number], 8 * words * found.count, 8 * words * room
            )
        found.ends = <int64_t*>self._moved("ends", found.ends, 8 * found.count, 8 * room)
        for number in range(table.part_count):
            found.values[number] = <Word*>self._moved(
                f"part {number}", found.values[number], 8 * found.count, 8 * room
            )
        found.room = room
        return 0

    cdef int _reserve_texts(self, Py_ssize_t room) except -1:
        cdef Found* found = &self.table.found
        found.texts = <uint8_t*>self._moved("texts", found.texts, found.text_size, room)
        found.text_room = room
        return 0

    cdef void* _moved(
        self, str name, const void* old, Py_ssize_t size, Py_ssize_t room
    ) except? NULL:
        buffer = pa.allocate_buffer(room)
        cdef void* place = <void*><size_t>buffer.address
        if size:
            memcpy(place, old, size)
        self.buffers[name] = buffer
        return place

    cdef object _key_column(self, int key):
        cdef Found* found = &self.table.found
        cdef const Column* column = &self.columns[key]
        kind = self.keys.types[key]
        valid = None
        if found.nulls_count:
            valid = _bits_of_nulls(found.nulls, key, found.count)
        if column.kind == BOOLS:
            bits = _bits_of_words(found.keys[key], found.count)
            return pa.Array.from_buffers(kind, found.count, [valid, bits])
        if column.width < 8:
            narrowed(found.keys[key], column, found.count)
        return self._array(kind, valid, f"key {key}")

    cdef object _array(self, kind, valid, str name):
        buffers = [valid, self.buffers[name]]
        if kind in (pa.string_view(), pa.binary_view()) and self.table.found.text_size:
            buffers.append(self.buffers["texts"].slice(0, self.table.found.text_size))
        return pa.Array.from_buffers(kind, self.table.found.count, buffers)


cdef bint rows_reserved(Table* table, Py_ssize_t room) noexcept nogil:
    # What is raised here is not handed on: False is what an exception that nobody expected gives.
    cdef bint done = False
    with gil:
        try:
            (<WindowTable>table.owner)._reserve_rows(room)
            done = True
        except MemoryError:
            pass
    return done


cdef bint texts_reserved(Table* table, Py_ssize_t room) noexcept nogil:
    cdef bint done = False
    with gil:
        try:
            (<WindowTable>table.owner)._reserve_texts(room)
            done = True
        except MemoryError:
            pass
    return done


cdef dict _ORDERS = {
    (INTEGERS, True): SIGNED, (INTEGERS, False): UNSIGNED, (BOOLS, False): UNSIGNED,
    (SINGLES, True): REAL, (DOUBLES, True): REAL, (VIEWS, False): TEXT,
}


cdef int _accumulators(Part* part, Fold* fold, given, int stride) except -1:
    """Give a part the words that it needs and does not have yet; return the stride after them."""
    kind = given.kind
    if kind in ("count", "mean", "min", "max") and not fold.nulls:
        fold.nulls, stride = stride, stride + 1
    if kind in ("sum", "mean") and not fold.total:
        fold.total, stride = stride, stride + 1
    if kind == "min" and not fold.least:
        fold.least, stride = stride, stride + 1
    if kind == "max" and not fold.most:
        fold.most, stride = stride, stride + 1
    if kind in ("var", "std") and not fold.moments:
        fold.moments, stride = stride, stride + 3
    if kind in ("first", "last"):
        stride = _end(part, _end_of(fold, kind == "last", given.skip_nulls), stride)
    return stride


cdef int* _end_of(Fold* fold, bint last, bint some) noexcept:
    if some:
        return &fold.last_some if last else &fold.first_some
    return &fold.last if last else &fold.first


cdef int _end(Part* part, int* place, int stride) noexcept:
    if not place[0]:
        place[0], stride = stride, stride + 3
    part.place = place[0]
    return stride


cdef bint only_counted(const Fold* fold) noexcept:
    return not (
        fold.total or fold.least or fold.most or fold.moments or fold.first or fold.last
        or fold.first_some or fold.last_some
    )


cdef int _check_words(const View* view, bytes name, bint real) except -1:
    head = (<bytes>view.format).partition(b":")[0]
    fits = head == b"g" if real else head in _WORDS
    if not fits or view.schema.dictionary != NULL:
        raise TypeError(
            f"the column {name.decode()} is of Arrow format {view.format.decode()!r}, and was "
            f"said to be {'float64' if real else 'int64'}"
        )
    return 0


cdef set _WORDS = {b"l", b"tdm", b"ttu", b"ttn"} | {
    kind + unit for kind in (b"ts", b"tD") for unit in (b"s", b"m", b"u", b"n")
}


cdef int _check_same(ArrowSchema* found, ArrowSchema* said, bytes name) except -1:
    if strcmp(found.format, said.format) or found.dictionary != NULL:
        raise TypeError(
            f"the key {name.decode()} is of Arrow format {found.format.decode()!r}, and was said "
            f"to be {said.format.decode()!r}"
        )
    return 0


cdef void* zeroed(Py_ssize_t size) except NULL:
    cdef void* found = calloc(max(size, 1), 1)
    if found == NULL:
        raise MemoryError
    return found


cdef object _bits_of_bytes(const uint8_t* valid, Py_ssize_t count):
    """Bits that are 1 where bytes are; None if all are."""
    cdef Py_ssize_t row
    if memchr(valid, 0, count) == NULL:
        return None
    buffer = _zeros((count + 7) // 8)
    cdef uint8_t* bits = <uint8_t*><size_t>buffer.address
    for row in range(count):
        bits[row >> 3] |= (valid[row] & 1) << (row & 7)
    return buffer


cdef object _bits_of_nulls(const uint32_t* nulls, int key, Py_ssize_t count):
    """Bits that are 0 where a key is null; None if none is."""
    cdef Py_ssize_t row
    cdef uint32_t some = 0
    for row in range(count):
        some |= nulls[row]
    if not some >> key & 1:
        return None
    buffer = _zeros((count + 7) // 8)
    cdef uint8_t* bits = <uint8_t*><size_t>buffer.address
    for row in range(count):
        bits[row >> 3] |= (~nulls[row] >> key & 1) << (row & 7)
    return buffer


cdef object _bits_of_words(const uint64_t* words, Py_ssize_t count):
    cdef Py_ssize_t row
    buffer = _zeros((count + 7) // 8)
    cdef uint8_t* bits = <uint8_t*><size_t>buffer.address
    for row in range(count):
        bits[row >> 3] |= (words[row] & 1) << (row & 7)
    return buffer


cdef object _zeros(Py_ssize_t size):
    buffer = pa.allocate_buffer(size)
    memset(<void*><size_t>buffer.address, 0, size)
    return buffer


cdef void narrowed(uint64_t* words, const Column* column, Py_ssize_t count) noexcept:
    """Write words as narrower numbers, at the front of where they are."""
    cdef Py_ssize_t row
    cdef Word word
    cdef float single
    cdef uint8_t* place = <uint8_t*>words
    for row in range(count):
        word.bits = words[row]
        if column.kind == SINGLES:
            single = word.real
            memcpy(place, &single, 4)
        else:
            memcpy(place, &word, column.width)  # the low bytes come first
        place += column.width


include "_windowstate.pxi"
