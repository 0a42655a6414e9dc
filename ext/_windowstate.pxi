# The entries of open panes as columns, and back; `windowentries` says which columns. Entries are
# read and written a block at a time, column by column.

from .windowentries import checked_place, checked_schema, entry_schema, held_by

cdef enum Holds:
    HOLDS_ROWS
    HOLDS_COUNT
    HOLDS_WORD
    HOLDS_EXTREME  # null if there were no values
    HOLDS_TIME  # of an end; null if there is none
    HOLDS_VALUE  # of an end; may be null


cdef enum Wrong:
    RIGHT, NO_ROOM, WRONG_BEGIN, WRONG_KEY, TWICE, WRONG_HELD


cdef struct Held:
    # A column of words.
    Holds holds
    int place  # in an entry, of a count in moments; of an end
    Fold* fold
    View view  # taken back
    int64_t left  # rows that entries may have, of those that came
    Word* words  # written
    uint8_t* valid  # bits, written if it may hold nulls
    bint some_null


cdef struct Writing:
    # Where entries are written, all of them in one row of memory for each column.
    Py_ssize_t count  # so far
    int64_t* begins  # NULL if there is one window
    uint64_t** keys
    uint32_t* nulls  # a bit for each key that is null; NULL if none was
    Held* held
    int held_count
    uint64_t texts  # panes that had long texts


cdef class Memory:
    """Memory for the time of a call."""

    cdef void* place

    def __cinit__(self, Py_ssize_t size):
        self.place = zeroed(size)

    def __dealloc__(self):
        free(self.place)


# Entries into columns


cdef object entries_of(WindowTable owner):
    """The entries of all open panes as a record batch."""
    cdef Table* table = &owner.table
    cdef const Layout* layout = &table.store.layout
    cdef Py_ssize_t place, count = owner.live
    cdef Memory keys = Memory(layout.keys * sizeof(void*)), held = held_memory(owner)
    cdef Writing to
    memset(&to, 0, sizeof(Writing))
    for place in range(table.open):
        if table.updates and table.panes[place].touched_count:
            raise ValueError("there are rows of windows to be given and taken first")
    if table.found.count:
        raise ValueError("there are rows of windows to be given and taken first")
    to.keys, to.held = <uint64_t**>keys.place, <Held*>held.place
    to.held_count = laid_out(owner, to.held)
    buffers = [pa.allocate_buffer(8 * count)] if table.width else []
    if table.width:
        to.begins = <int64_t*>address(buffers[0])
    for place in range(layout.keys):
        buffers.append(pa.allocate_buffer((16 if layout.orders[place] == TEXT else 8) * count))
        to.keys[place] = <uint64_t*>address(buffers[len(buffers) - 1])
    nulls = pa.allocate_buffer(4 * count) if layout.nulls else None
    if nulls is not None:
        to.nulls = <uint32_t*>address(nulls)
    valid = [None] * to.held_count
    for place in range(to.held_count):
        buffers.append(pa.allocate_buffer(8 * count))
        to.held[place].words = <Word*>address(buffers[len(buffers) - 1])
        if to.held[place].holds >= HOLDS_EXTREME:
            valid[place] = _zeros((count + 7) // 8)
            to.held[place].valid = <uint8_t*>address(valid[place])
    with nogil:
        write_entries(table, &to)
    valid = [bits if to.held[<int>n].some_null else None for n, bits in enumerate(valid)]
    return arrays_of(owner, count, buffers, to.nulls, valid)


cdef object arrays_of(
    WindowTable owner, Py_ssize_t count, list buffers, const uint32_t* nulls, list valid
):
    cdef Table* table = &owner.table
    cdef int key, first = 1 if table.width else 0, keys = table.store.layout.keys
    cdef Column* column
    schema = owner._entry_schema()
    texts = copied_texts(table)
    made = []
    for number, (kind, buffer) in enumerate(zip(schema.types, buffers, strict=True)):
        key = <int>number - first
        bits = None if key < keys else valid[number - first - keys]
        if 0 <= key < keys:
            bits = None if nulls == NULL else _bits_of_nulls(nulls, key, count)
            column = &owner.columns[key]
            if column.kind == BOOLS:
                buffer = _bits_of_words(<uint64_t*>address(buffer), count)
            elif table.store.layout.orders[key] != TEXT and column.width < 8:
                narrowed(<uint64_t*>address(buffer), column, count)
        more = texts if 0 <= key < keys and table.store.layout.orders[key] == TEXT else []
        made.append(pa.Array.from_buffers(kind, count, [bits, buffer, *more]))
    return pa.RecordBatch.from_arrays(made, schema=schema)


cdef list copied_texts(const Table* table):
    """The long texts of each pane that has some."""
    cdef Py_ssize_t place
    cdef const Pane* pane
    found = []
    for place in range(table.open):
        pane = table.panes[place]
        if pane.text_size:
            buffer = pa.allocate_buffer(pane.text_size)
            memcpy(address(buffer), pane.texts, pane.text_size)
            found.append(buffer)
    return found


cdef void* address(buffer) except? NULL:
    return <void*><size_t>buffer.address


cdef Memory held_memory(WindowTable owner):
    return Memory((1 + len(list(held_by(owner.parts)))) * sizeof(Held))


cdef int laid_out(WindowTable owner, Held* held) except -1:
    """Say of each column of words, of which there is room for all, where it is in an entry."""
    cdef int number = 1, place
    cdef Fold* fold
    columns = {(part.column, part.real): None for part in owner.parts if part.column is not None}
    folds = {column: place for place, column in enumerate(columns)}
    held[0].holds = HOLDS_ROWS
    for each in held_by(owner.parts):
        place = folds[each.column, each.real]
        fold = &owner.table.folds[place]
        held[number].fold = fold
        if each.what == "count":
            held[number].holds, held[number].place = HOLDS_COUNT, fold.moments
        elif each.what in ("min", "max"):
            held[number].holds = HOLDS_EXTREME
            held[number].place = fold.least if each.what == "min" else fold.most
        elif each.what in ("sum", "mean", "squares"):
            held[number].holds = HOLDS_WORD
            held[number].place = fold.total if each.what == "sum" else fold.moments + (
                MEAN if each.what == "mean" else SQUARES
            )
        else:
            end = each.what.removesuffix("_time")
            held[number].holds = HOLDS_VALUE if end == each.what else HOLDS_TIME
            held[number].place = _end_of(fold, end.startswith("last"), end.endswith("some"))[0]
        number += 1
    return number


cdef void write_entries(Table* table, Writing* to) noexcept nogil:
    cdef Py_ssize_t place, first
    cdef Pane* pane
    for place in range(table.open):
        pane = table.panes[place]
        first = 0
        while first < pane.count:
            write_block(table, to, pane, first, min(BLOCK, pane.count - first))
            first += BLOCK
        to.texts += pane.text_size != 0


cdef void write_block(
    Table* table, Writing* to, const Pane* pane, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    cdef Word** entries = table.block.entries
    cdef Py_ssize_t row
    cdef int number
    for row in range(count):
        entries[row] = nth_entry(&table.store, pane, first + row)
    if to.begins != NULL:
        for row in range(count):
            to.begins[to.count + row] = pane.begin
    for number in range(table.store.layout.keys):
        write_keys(table, to, number, count)
    if to.nulls != NULL:
        for row in range(count):
            to.nulls[to.count + row] = <uint32_t>entries[row][MARKS].bits
    for number in range(to.held_count):
        write_held(&to.held[number], entries, to.count, count)
    to.count += count


cdef void write_keys(Table* table, Writing* to, int key, Py_ssize_t count) noexcept nogil:
    cdef int place = KEYS + table.store.layout.places[key]
    cdef Word** entries = table.block.entries
    cdef uint64_t* words = to.keys[key]
    cdef Py_ssize_t row
    if table.store.layout.orders[key] != TEXT:
        words += to.count
        for row in range(count):
            words[row] = entries[row][place].bits
        return
    words += 2 * to.count
    for row in range(count):
        words[0], words[1] = entries[row][place].bits, entries[row][place + 1].bits
        if <uint32_t>words[0] == NO_TEXT:
            words[0] = 0
        elif is_long(words[0]):
            words[1] |= to.texts  # the lower half says in which buffer it is
        words += 2


cdef void write_held(
    Held* held, Word** entries, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    cdef Word* words = held.words + first
    cdef const Fold* fold = held.fold
    cdef int place = held.place
    cdef Py_ssize_t row
    if held.holds == HOLDS_ROWS:
        for row in range(count):
            words[row] = entries[row][ROWS]
    elif held.holds == HOLDS_COUNT and fold.nulls:
        for row in range(count):
            words[row].whole = entries[row][ROWS].whole - entries[row][fold.nulls].whole
    elif held.holds == HOLDS_COUNT or held.holds == HOLDS_WORD:
        for row in range(count):
            words[row] = entries[row][place]
    elif held.holds == HOLDS_EXTREME:
        for row in range(count):
            write_one(
                held, first + row, entries[row][place],
                entries[row][ROWS].whole > entries[row][fold.nulls].whole,
            )
    elif held.holds == HOLDS_TIME:
        for row in range(count):
            write_one(
                held, first + row, entries[row][place + TIME],
                entries[row][place + STATE].whole != NOTHING,
            )
    else:
        for row in range(count):
            write_one(
                held, first + row, entries[row][place + VALUE],
                entries[row][place + STATE].whole == SOME_VALUE,
            )


cdef inline void write_one(Held* held, Py_ssize_t row, Word word, bint valid) noexcept nogil:
    held.words[row] = word
    held.valid[row >> 3] |= valid << (row & 7)
    held.some_null |= not valid


# Columns into entries


cdef dict _WRONG = {
    WRONG_BEGIN: "no open pane begins there, or not after the one before",
    WRONG_KEY: "a key points outside the data of its column",
    TWICE: "a key is there twice in a pane",
    WRONG_HELD: "what it says cannot be held after its rows",
}


cdef int entries_taken(WindowTable owner, entries, passed, sequence) except -1:
    """Fill a fresh table; ValueError for what no table like it gave."""
    cdef Table* table = &owner.table
    cdef Memory memory = held_memory(owner)
    cdef Held* held = <Held*>memory.place
    cdef int number, count = laid_out(owner, held), keys = table.store.layout.keys
    cdef int first = 1 if table.width else 0
    cdef Arrow source
    cdef Batch batch
    cdef View begins
    cdef Py_ssize_t row = 0
    cdef Wrong wrong
    if table.open or table.sequence or table.passed != START:
        raise ValueError("a table that is not fresh takes nothing back")
    checked_place(passed, sequence)
    reader = pa.RecordBatchReader.from_stream(entries)
    checked_schema(reader.schema, owner._entry_schema())
    source = Arrow(reader)
    batch.count = source.height()
    batch.keys, batch.values, batch.pane, batch.times = owner.columns, NULL, NULL, NULL
    begins = source.column(0)
    for number in range(keys):
        owner.columns[number].view = source.column(first + number)
    for number in range(count):
        held[number].view = source.column(first + keys + number)
    table.passed, table.sequence = passed, sequence
    held[0].left = sequence
    with nogil:
        wrong = take_entries(table, &batch, &begins, held, count, &row)
    if wrong == NO_ROOM:
        raise MemoryError
    if wrong:
        raise ValueError(f"entry {row}: {_WRONG[wrong]}")
    return 0


cdef Wrong take_entries(
    Table* table, const Batch* batch, const View* begins, Held* held, int held_count,
    Py_ssize_t* row,
) noexcept nogil:
    """Take in all entries; `row` is, to within a block, where it stopped."""
    cdef Py_ssize_t last, count
    cdef Pane* pane
    cdef Wrong wrong = RIGHT
    while row[0] < batch.count:
        last = batch.count
        if table.width:
            last = run_end(begins, row[0])
        pane = pane_taken_back(
            table, word_at(begins, row[0]) if table.width else START, last - row[0], &wrong
        )
        if pane == NULL:
            return wrong
        if table.width and not is_valid(begins, row[0]):
            return WRONG_BEGIN
        while row[0] < last:
            count = min(BLOCK, last - row[0])
            wrong = take_block(table, batch, row[0], count, pane, held, held_count)
            if wrong:
                return wrong
            row[0] += count
    table.due = due_of(table)
    return RIGHT


cdef Py_ssize_t run_end(const View* begins, Py_ssize_t row) noexcept nogil:
    """The first row after `row` with another begin, or one that is null."""
    cdef int64_t begin = word_at(begins, row)
    while row < begins.length and word_at(begins, row) == begin and is_valid(begins, row):
        row += 1
    return row


cdef Pane* pane_taken_back(
    Table* table, int64_t begin, Py_ssize_t count, Wrong* wrong
) noexcept nogil:
    """A new pane with room for `count` entries, after all others; NULL if something is wrong."""
    cdef int64_t last_end = END
    cdef Pane* pane
    wrong[0] = WRONG_BEGIN
    if table.width:
        # A pane may begin before the earliest time that a row may have.
        if begin > LIMIT or floored(max(begin, -LIMIT), table.width, table.offset) != begin:
            return NULL
        last_end = floored(begin, table.every, table.offset) + table.size
    if last_end + table.lateness <= table.passed:
        return NULL
    if table.open and begin <= table.panes[table.open - 1].begin:
        return NULL
    wrong[0] = NO_ROOM
    if table.panes + table.open == table.row + table.room and row_widened(table):
        return NULL
    pane = pane_made(&table.store, count)
    if pane == NULL:
        return NULL
    pane.begin, pane.last_end = begin, last_end
    table.panes[table.open] = pane
    table.open += 1
    return pane


cdef Wrong take_block(
    Table* table, const Batch* batch, Py_ssize_t first, Py_ssize_t count, Pane* pane, Held* held,
    int held_count,
) noexcept nogil:
    cdef Form form = table.store.layout.form
    cdef bint failed, wide = pane.capacity > NEAR_SLOTS
    cdef Py_ssize_t known = pane.count
    cdef int number
    if read_keys(table, batch, first, count):
        return WRONG_KEY
    if form == ONE_TEXT:
        failed = find_entries(table, count, pane, False, ONE_TEXT, wide)
    elif form == ONE_WORD:
        failed = find_entries(table, count, pane, False, ONE_WORD, wide)
    else:
        failed = find_entries(table, count, pane, False, MANY, wide)
    if failed:
        return NO_ROOM
    if pane.count != known + count:
        return TWICE
    for number in range(held_count):
        if not take_held(&held[number], table.block.entries, first, count):
            return WRONG_HELD
    return RIGHT


cdef bint take_held(Held* held, Word** entries, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    """Write a column into entries, of which the columns before it are written; False if it cannot
    be of them."""
    if held.holds == HOLDS_ROWS:
        return take_rows(held, entries, first, count)
    if held.holds == HOLDS_COUNT:
        return take_counts(held, entries, first, count)
    if held.holds == HOLDS_WORD:
        return take_words(held, entries, first, count)
    if held.holds == HOLDS_EXTREME:
        return take_extremes(held, entries, first, count)
    return take_ends(held, entries, first, count)


cdef bint take_rows(Held* held, Word** entries, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t row
    cdef int64_t rows
    for row in range(count):
        rows = word_at(&held.view, first + row)
        if not 1 <= rows <= held.left or not is_valid(&held.view, first + row):
            return False
        held.left -= rows
        entries[row][ROWS].whole = rows
    return True


cdef bint take_counts(
    Held* held, Word** entries, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    cdef Fold* fold = held.fold
    cdef Py_ssize_t row
    cdef int64_t values, rows
    cdef bint right = True
    for row in range(count):
        values, rows = word_at(&held.view, first + row), entries[row][ROWS].whole
        right &= 0 <= values <= rows and is_valid(&held.view, first + row)
        fold.some_nulls |= values != rows
        if fold.nulls:
            entries[row][fold.nulls].bits = <uint64_t>rows - <uint64_t>values
        if fold.moments:
            entries[row][fold.moments + COUNT].whole = values
    return right


cdef bint take_words(Held* held, Word** entries, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t row
    cdef bint right = True
    for row in range(count):
        entries[row][held.place].whole = word_at(&held.view, first + row)
        right &= is_valid(&held.view, first + row)
    return right


cdef bint take_extremes(
    Held* held, Word** entries, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    # Without a value, an entry has what it had before its first row.
    cdef Py_ssize_t row
    cdef bint right = True, some
    for row in range(count):
        some = entries[row][ROWS].whole > entries[row][held.fold.nulls].whole
        right &= some == is_valid(&held.view, first + row)
        if some:
            entries[row][held.place].whole = word_at(&held.view, first + row)
    return right


cdef bint take_ends(Held* held, Word** entries, Py_ssize_t first, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t row
    cdef bint right = True
    cdef Word* end
    for row in range(count):
        end = entries[row] + held.place
        if not is_valid(&held.view, first + row):
            held.fold.some_nulls = True
        elif held.holds == HOLDS_TIME:
            end[STATE].whole = NULL_VALUE
            end[TIME].whole = word_at(&held.view, first + row)
        else:
            right &= end[STATE].whole == NULL_VALUE
            end[STATE].whole = SOME_VALUE
            end[VALUE].whole = word_at(&held.view, first + row)
    return right
