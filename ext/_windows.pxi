# Windows over panes: rows go into the pane that their time lies in, a window is the panes from its
# begin to its end. Includes follow `_panes.pxi` and `_folds.pxi`; `_blocks.pxi` and `_found.pxi`
# are parts of it.

cdef enum:
    BLOCK = 256  # rows that go through each step together: what they need stays in the L1 cache
    NEAR_PANES = 16
    NEAR_SLOTS = 1 << 13  # so many are in a cache that is near
    AHEAD = 16  # rows

cdef int64_t NEVER = INT64_MAX
cdef int64_t LIMIT = 1LL << 61  # of times
cdef int64_t START = -(1LL << 62)
cdef int64_t END = 1LL << 62

cdef enum Stop:
    DONE, DUE, LATE, BAD_TIME, BAD_KEY, NO_MEMORY


cdef struct Batch:
    Py_ssize_t count
    const int64_t* times
    const int64_t* marks
    Column* keys
    View* values  # of each fold
    Pane* pane  # of all rows; NULL if their times tell


cdef struct Block:
    Pane* panes[BLOCK]
    Word* entries[BLOCK]
    uint64_t hashes[BLOCK]
    uint32_t nulls[BLOCK]
    uint64_t likely[BLOCK]  # the slot of a row's key, if it is the first that it may have
    uint64_t* words


cdef struct Found:
    # The rows of windows, until they are taken. What is handed out is in memory of Arrow's, which
    # keeps it for the next time; the rest is kept here.
    Py_ssize_t count
    Py_ssize_t room
    Py_ssize_t usual  # a falling mark of rows that were taken at once
    uint64_t** keys  # of each key column
    int64_t* ends
    Word** values  # of each part
    uint8_t* texts
    Py_ssize_t text_size
    Py_ssize_t text_room
    uint32_t* nulls
    Py_ssize_t nulls_count  # of rows that it is written for; if none, no key is null
    uint8_t** valid
    Py_ssize_t* valid_count
    Py_ssize_t kept_room


cdef struct Table:
    Store store
    Pane** panes  # open, by time; before them is room of those that have closed
    Py_ssize_t open
    Pane** row  # the memory that they stand in
    Py_ssize_t room
    int64_t touched_from  # the panes with touched entries begin in this stretch of time
    int64_t touched_to
    Pane* current  # of the row before; NULL if that was closed
    int64_t size
    int64_t every
    int64_t offset
    int64_t width  # of a pane; 0 if there is one without end
    int64_t lateness
    int64_t due  # the watermark at which the next window closes
    int64_t passed  # the highest watermark
    int64_t sequence  # rows so far
    Py_ssize_t expected  # entries of a pane
    bint updates
    Fold* folds
    int fold_count
    Part* parts
    int part_count
    Block block
    uint64_t* order
    Py_ssize_t order_room
    Found found
    void* owner  # the object that gets memory for what is found
    int64_t* late  # rows of the batch
    Py_ssize_t late_count
    Py_ssize_t late_room


cdef Stop add_rows(Table* table, const Batch* batch, Py_ssize_t* row) noexcept nogil:
    """Take in a batch; `row` is where it stopped."""
    cdef Stop stop, wrong
    cdef Py_ssize_t count
    cdef Pane* pane
    row[0] = 0
    while row[0] < batch.count:
        stop = DONE
        count = min(BLOCK, batch.count - row[0])
        pane = pane_of_all(table, batch, row[0], count)
        if pane == NULL:
            count = located(table, batch, row[0], count, &stop)
        if count:
            wrong = add_block(table, batch, row[0], count, pane)
            if wrong:
                return wrong
        row[0] += count
        if stop == DUE:
            if advance(table, batch.marks[row[0]]):
                return NO_MEMORY
        elif stop == LATE:
            if late_told(table, row[0]):
                return NO_MEMORY
            row[0] += 1
        elif stop:
            return stop
    table.sequence += batch.count
    return DONE


cdef Pane* pane_of_all(
    const Table* table, const Batch* batch, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    """The pane that all rows lie in, if it is that of the row before and none closes a window."""
    cdef const uint64_t* times
    cdef const uint64_t* marks
    cdef uint64_t begin, last, due, outside = 0
    cdef Py_ssize_t row
    if batch.pane != NULL or table.current == NULL:
        return batch.pane
    times = <const uint64_t*>batch.times + first
    marks = <const uint64_t*>batch.marks + first
    begin, due = table.current.begin, table.due - 1
    last = begin + table.width - 1
    for row in range(count):
        # The sign of one of them is set where a number is less than its bound.
        outside |= (times[row] - begin) | (last - times[row]) | (due - marks[row])
    return NULL if outside >> 63 else table.current


cdef int late_told(Table* table, Py_ssize_t row) noexcept nogil:
    cdef Py_ssize_t room = max(64, 2 * table.late_room)
    if table.late_count == table.late_room:
        if resized(<void**>&table.late, room * sizeof(int64_t)):
            return -1
        table.late_room = room
    table.late[table.late_count] = row
    table.late_count += 1
    return 0


cdef Py_ssize_t located(
    Table* table, const Batch* batch, Py_ssize_t first, Py_ssize_t count, Stop* stop
) noexcept nogil:
    """Find the pane of each row, up to one at which something else has to be done."""
    cdef const int64_t* times = batch.times + first
    cdef const int64_t* marks = batch.marks + first
    cdef Pane** panes = table.block.panes
    cdef Pane* pane
    cdef uint64_t width = table.width
    cdef int64_t due = table.due
    cdef Py_ssize_t row
    for row in range(count):
        if marks[row] >= due:
            stop[0] = DUE
            return row
        pane = pane_near(table, times[row]) if table.open else NULL
        if pane == NULL or <uint64_t>times[row] - <uint64_t>pane.begin >= width:
            pane = pane_at(table, times[row], marks[row], stop)
            if pane == NULL:
                return row
            due = table.due
        panes[row] = pane
    table.current = panes[count - 1]
    return count


cdef inline Pane* pane_near(const Table* table, int64_t time) noexcept nogil:
    """The pane that a time lies in, if it is among the last few; there is one at least."""
    cdef Py_ssize_t near = max(0, table.open - NEAR_PANES), place = near, other
    for other in range(near + 1, table.open):
        # Counted, as a branch would often be foretold wrong.
        place += time >= table.panes[other].begin
    return table.panes[place]


cdef Pane* pane_at(Table* table, int64_t time, int64_t mark, Stop* stop) noexcept nogil:
    """The pane of a row; NULL if it is late or cannot be taken."""
    cdef int64_t begin, last_end
    cdef Py_ssize_t place
    cdef Pane* pane
    if not -LIMIT <= time <= LIMIT:
        stop[0] = BAD_TIME
        return NULL
    place = place_from(table, time + 1)
    if place and time - table.panes[place - 1].begin < table.width:
        return table.panes[place - 1]
    table.passed = max(table.passed, mark)
    begin = floored(time, table.width, table.offset)
    last_end = floored(begin, table.every, table.offset) + table.size
    if last_end + table.lateness <= table.passed:
        stop[0] = LATE
        return NULL
    pane = pane_opened(table, place, begin, last_end)
    if pane == NULL:
        stop[0] = NO_MEMORY
    return pane


cdef Pane* pane_opened(
    Table* table, Py_ssize_t place, int64_t begin, int64_t last_end
) noexcept nogil:
    cdef Pane* pane
    if place and place == table.open:
        table.expected = table.panes[place - 1].count
    if table.panes + table.open == table.row + table.room and row_widened(table):
        return NULL
    # A pane that rows come late for has few of them, whatever those have that it lies between.
    pane = pane_made(&table.store, table.expected if place == table.open else 0)
    if pane == NULL:
        return NULL
    pane.begin = begin
    pane.last_end = last_end
    memmove(
        table.panes + place + 1, table.panes + place, (table.open - place) * sizeof(Pane*)
    )
    table.panes[place] = pane
    table.open += 1
    table.due = due_of(table)
    return pane


cdef int row_widened(Table* table) noexcept nogil:
    """Have room for one more pane behind the last; -1 without memory."""
    cdef Py_ssize_t closed = table.panes - table.row, room = max(8, 2 * table.room)
    if closed <= table.open:
        if resized(<void**>&table.row, room * sizeof(Pane*)):
            return -1
        table.room = room
        table.panes = table.row + closed
    if closed:
        memmove(table.row, table.panes, table.open * sizeof(Pane*))
        table.panes = table.row
    return 0


cdef int64_t floored(int64_t time, int64_t step, int64_t offset) noexcept nogil:
    cdef int64_t rest = (time - offset) % step
    return time - rest - (step if rest < 0 else 0)


cdef int64_t end_after(const Table* table, int64_t time) noexcept nogil:
    """The first end of a window after `time`."""
    return floored(time, table.every, table.offset + table.size) + table.every


cdef int64_t first_end(const Table* table, const Pane* pane) noexcept nogil:
    """The end of the first window that a pane is part of and that has not closed."""
    if not table.width:
        return END
    return end_after(table, max(pane.begin + table.width - 1, table.passed - table.lateness))


cdef int64_t due_of(const Table* table) noexcept nogil:
    return first_end(table, table.panes[0]) + table.lateness if table.open else NEVER


cdef Py_ssize_t place_from(const Table* table, int64_t begin) noexcept nogil:
    """The place of the first open pane that begins there or later."""
    cdef Py_ssize_t low = 0, high = table.open, middle
    while low < high:
        middle = (low + high) // 2
        if table.panes[middle].begin < begin:
            low = middle + 1
        else:
            high = middle
    return low


# Windows that close


cdef int advance(Table* table, int64_t mark) noexcept nogil:
    """Close the windows that end by a watermark; -1 without memory."""
    cdef int64_t end
    cdef Py_ssize_t ended
    while table.due <= mark:
        end = table.due - table.lateness
        if give_window(table, end, table.updates):
            return -1
        ended = 0
        while ended < table.open and table.panes[ended].last_end <= end:
            table.expected = table.panes[ended].count
            pane_dropped(&table.store, table.panes[ended])
            ended += 1
        table.open -= ended
        table.panes += ended
        table.current = NULL
        table.passed = max(table.passed, table.due)
        table.due = due_of(table)
    table.passed = max(table.passed, mark)
    return 0


cdef int give_updates(Table* table) noexcept nogil:
    """Give the rows that batches touched, of every open window; -1 without memory."""
    cdef Py_ssize_t place, row, first, following
    cdef int64_t end, given = START
    cdef Pane* pane
    if table.touched_from > table.touched_to:
        return 0
    first = place_from(table, table.touched_from)
    following = place_from(table, table.touched_to + 1)
    table.touched_from, table.touched_to = NEVER, START
    for place in range(first, following):
        pane = table.panes[place]
        if not pane.touched_count:
            continue
        end = first_end(table, pane)
        while end <= pane.last_end:
            if end > given and give_window(table, end, True):
                return -1
            given = max(given, end)
            if not table.width:
                break
            end += table.every
    for place in range(first, following):
        pane = table.panes[place]
        for row in range(pane.touched_count):
            pane.touched[row][MARKS].bits &= ~TOUCHED
        pane.touched_count = 0
    return 0


cdef int give_window(Table* table, int64_t end, bint touched) noexcept nogil:
    """Put out the rows of a window, all or those touched; -1 without memory."""
    cdef Py_ssize_t low = place_from(table, end - table.size) if table.width else 0
    cdef Py_ssize_t high = low
    cdef Pane* merged
    cdef int failed
    while high < table.open and table.panes[high].begin < end:
        high += 1
    if high == low + 1 and not touched:
        return give_rows(table, table.panes[low], end)
    merged = pane_made(&table.store, table.panes[low].count if not touched else 0)
    if merged == NULL:
        return -1
    if touched:
        failed = gather_touched(table, merged, low, high)
    else:
        failed = gather(table, merged, low, high)
    if not failed:
        failed = give_rows(table, merged, end)
    pane_dropped(&table.store, merged)
    return failed


cdef int gather(Table* table, Pane* merged, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """Merge the entries of panes, in order of time."""
    cdef Py_ssize_t place, number
    cdef Pane* pane
    cdef const Word* other
    cdef Word* entry
    for place in range(low, high):
        pane = table.panes[place]
        for number in range(pane.count):
            other = nth_entry(&table.store, pane, number)
            entry = entry_like(&table.store, merged, pane, other)
            if entry == NULL:
                return -1
            take_over(table, entry, other)
    return 0


cdef int gather_touched(
    Table* table, Pane* merged, Py_ssize_t low, Py_ssize_t high
) noexcept nogil:
    """Merge, in order of time, the entries of keys that are touched in one of the panes."""
    cdef Py_ssize_t place, number
    cdef Pane* pane
    cdef const Word* other
    cdef Word* entry
    for place in range(low, high):
        pane = table.panes[place]
        for number in range(pane.touched_count):
            if entry_like(&table.store, merged, pane, pane.touched[number]) == NULL:
                return -1
    for number in range(merged.count):
        entry = nth_entry(&table.store, merged, number)
        for place in range(low, high):
            other = entry_known(&table.store, table.panes[place], merged, entry)
            if other != NULL:
                take_over(table, entry, other)
    return 0


cdef inline void take_over(Table* table, Word* entry, const Word* other) noexcept nogil:
    cdef int held = KEYS + table.store.layout.key_words
    if entry[ROWS].whole:
        merge(table.folds, table.fold_count, entry, other)
    else:
        entry[ROWS] = other[ROWS]
        memcpy(entry + held, other + held, (table.store.layout.stride - held) * sizeof(Word))
