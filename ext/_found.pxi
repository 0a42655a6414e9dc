# The rows of windows, column by column, until they are taken.

cdef int give_rows(Table* table, Pane* pane, int64_t end) noexcept nogil:
    """Append the rows of a window, in their order; -1 without memory."""
    cdef Py_ssize_t first = 0, room = 2 * pane.count + 1
    cdef const uint64_t* slots
    if not pane.count:
        return 0
    if unfit(table.order_room, room):
        if resized(<void**>&table.order, 2 * room * sizeof(uint64_t)):
            return -1
        table.order_room = 2 * room
    if reserved(table, pane.count, pane.text_size):
        return -1
    slots = ordered(&table.store, pane, table.order)
    while first < pane.count:
        give_block(table, slots + first, min(BLOCK, pane.count - first), end)
        first += BLOCK
    # The views of this window point behind the texts of the windows before it.
    if pane.text_size:
        memcpy(table.found.texts + table.found.text_size, pane.texts, pane.text_size)
        table.found.text_size += pane.text_size
    return 0


cdef void give_block(
    Table* table, const uint64_t* slots, Py_ssize_t count, int64_t end
) noexcept nogil:
    cdef Found* found = &table.found
    cdef Word** entries = table.block.entries
    cdef Py_ssize_t row
    cdef int number
    for row in range(count):
        entries[row] = entry_of(table.store.pool.chunks, slots[row])
        HW_PREFETCH(entries[row])
    for number in range(table.store.layout.keys):
        give_keys(table, number, count)
    for row in range(count):
        found.ends[found.count + row] = end
    if table.store.layout.nulls:
        give_nulls(table, count)
    for number in range(table.part_count):
        give_part(table, number, count)
    found.count += count


cdef void give_nulls(Table* table, Py_ssize_t count) noexcept nogil:
    """Write which keys are null; none was in rows that this has not been written for."""
    cdef Found* found = &table.found
    cdef Py_ssize_t row
    memset(
        found.nulls + found.nulls_count, 0,
        (found.count - found.nulls_count) * sizeof(uint32_t),
    )
    for row in range(count):
        found.nulls[found.count + row] = <uint32_t>table.block.entries[row][MARKS].bits
    found.nulls_count = found.count + count


cdef void give_part(Table* table, int number, Py_ssize_t count) noexcept nogil:
    """Write what a part gives and, once it may be null, where it is not."""
    cdef Found* found = &table.found
    cdef const Part* part = &table.parts[number]
    cdef const Fold* fold = &table.folds[part.fold]
    cdef Py_ssize_t* known = &found.valid_count[number]
    read_part(part, fold, table.block.entries, count, found.values[number] + found.count)
    if ever_null(part, fold):
        memset(found.valid[number] + known[0], 1, found.count - known[0])
        read_valid(
            part, fold, table.block.entries, count, found.valid[number] + found.count
        )
        known[0] = found.count + count


cdef void give_keys(Table* table, int key, Py_ssize_t count) noexcept nogil:
    cdef const Layout* layout = &table.store.layout
    cdef Found* found = &table.found
    cdef int place = KEYS + layout.places[key]
    cdef uint64_t* words = found.keys[key]
    cdef Word** entries = table.block.entries
    cdef Py_ssize_t row
    if layout.orders[key] != TEXT:
        words += found.count
        for row in range(count):
            words[row] = entries[row][place].bits
        return
    words += 2 * found.count
    for row in range(count):
        memcpy(words, entries[row] + place, 16)
        if <uint32_t>words[0] == NO_TEXT:
            words[0] = 0
        elif <uint32_t>words[0] > INLINE:
            words[1] += <uint64_t>found.text_size << 32
        words += 2


cdef int reserved(Table* table, Py_ssize_t more, Py_ssize_t text) noexcept nogil:
    """Have room for more rows and their texts; -1 without memory."""
    cdef Found* found = &table.found
    cdef Py_ssize_t rows = found.count + more, texts = found.text_size + text
    if texts > found.text_room:
        # Views have 31 bits for the place of a text.
        if texts > INT32_MAX or not texts_reserved(table, max(texts, 2 * found.text_room)):
            return -1
    if rows > found.room and not rows_reserved(table, max(rows, 2 * found.room, found.usual)):
        return -1
    return kept(table, rows) if unfit(found.kept_room, rows) else 0


cdef int kept(Table* table, Py_ssize_t rows) noexcept nogil:
    cdef Found* found = &table.found
    cdef int number
    for number in range(table.part_count):
        if resized(<void**>&found.valid[number], 2 * rows):
            return -1
    if resized(<void**>&found.nulls, 2 * rows * sizeof(uint32_t)):
        return -1
    found.kept_room = 2 * rows
    return 0


cdef inline bint unfit(Py_ssize_t room, Py_ssize_t wanted) noexcept nogil:
    """Whether there is too little room, or so much that it had better be given back."""
    return room < wanted or room > 4096 + 16 * wanted
