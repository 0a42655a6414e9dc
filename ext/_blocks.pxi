# Blocks of rows into the entries of panes: their keys are read and hashed, the entry of each row
# is found or made, and then each column is folded. What a block needs stays in the nearest cache.

cdef extern from *:
    """
    /* `hw_bytes` of a text within its view, which has zeros after it. */
    static inline uint64_t hw_view(uint64_t first, uint64_t second) {
      return hw_block((uint32_t)first * 0x9E3779B97F4A7C15ULL, first >> 32 | second << 32,
                      second >> 32);
    }
    """
    uint64_t hash_of_view "hw_view"(uint64_t first, uint64_t second) noexcept nogil

cdef Stop add_block(
    Table* table, const Batch* batch, Py_ssize_t first, Py_ssize_t count, Pane* pane
) noexcept nogil:
    """Fold rows into `pane`, or if that is NULL, each into its own."""
    cdef Form form = table.store.layout.form
    cdef Rows rows
    cdef int fold
    cdef bint failed, wide
    if read_keys(table, batch, first, count):
        return BAD_KEY
    wide = (table.block.panes[count - 1] if pane == NULL else pane).capacity > NEAR_SLOTS
    if form == ONE_TEXT and pane != NULL and wide:
        failed = find_entries(table, count, pane, False, ONE_TEXT, True)
    elif form == ONE_TEXT and pane != NULL:
        failed = find_entries(table, count, pane, False, ONE_TEXT, False)
    elif form == ONE_TEXT:
        failed = find_entries(table, count, NULL, True, ONE_TEXT, wide)
    elif form == ONE_WORD:
        failed = find_entries(table, count, pane, pane == NULL, ONE_WORD, wide)
    else:
        failed = find_entries(table, count, pane, pane == NULL, MANY, wide)
    if failed or table.updates and touch_entries(table, count, pane):
        return NO_MEMORY
    rows.count, rows.first, rows.entries = count, first, table.block.entries
    rows.times, rows.sequence = batch.times, table.sequence
    for fold in range(table.fold_count):
        fold_column(&table.folds[fold], &batch.values[fold], &rows)
    return DONE


cdef inline int find_entries(
    Table* table, Py_ssize_t count, Pane* pane, bint several, Form form, bint wide
) noexcept nogil:
    """Find or make the entry of each row's key, and count the row; -1 without memory."""
    cdef Block* block = &table.block
    cdef const Layout* layout = &table.store.layout
    cdef int step = layout.key_words
    cdef Word** chunks = table.store.pool.chunks
    cdef const uint64_t* slots = NULL if several else pane.slots
    cdef int shift = 0 if several else pane.shift
    cdef Py_ssize_t row, place, last = 0 if several else pane.capacity - 1
    cdef const uint8_t* texts = NULL if several else pane.texts
    cdef const uint64_t* words = block.words
    cdef Word* entry
    for row in range(count):
        if wide and row % AHEAD == 0:
            fetch_ahead(table, row, count, pane, several)
        if several:
            pane = block.panes[row]
            slots, shift, last, texts = pane.slots, pane.shift, pane.capacity - 1, pane.texts
        entry = entry_at(
            layout, chunks, texts, slots, shift, last, block.hashes[row], words,
            block.nulls[row], form, wide, &place,
        )
        if entry == NULL:
            entry = entry_made(
                &table.store, pane, place, block.hashes[row], words, block.nulls[row], form
            )
            if entry == NULL:
                return -1
            chunks = table.store.pool.chunks
            slots, shift, last, texts = pane.slots, pane.shift, pane.capacity - 1, pane.texts
        entry[ROWS].whole += 1
        block.entries[row] = entry
        words += step
    return 0


cdef inline void fetch_ahead(
    Table* table, Py_ssize_t row, Py_ssize_t count, Pane* pane, bint several
) noexcept nogil:
    """Have what rows need on its way into the cache: the slots of rows that come later, the
    entries of those that come before them, and the long texts of those that are next."""
    cdef Block* block = &table.block
    cdef Word** chunks = table.store.pool.chunks
    cdef const uint64_t* slots = NULL if several else pane.slots
    cdef int shift = 0 if several else pane.shift
    cdef Py_ssize_t last = 0 if several else pane.capacity - 1
    cdef uint64_t slot, hashed
    cdef Py_ssize_t other
    for other in range(row + 2 * AHEAD if row else 0, min(count, row + 3 * AHEAD)):
        if several:
            slots, shift = block.panes[other].slots, block.panes[other].shift
            last = block.panes[other].capacity - 1
        HW_PREFETCH(slots + (block.hashes[other] >> shift & last))
    for other in range(row + AHEAD if row else 0, min(count, row + 2 * AHEAD)):
        if several:
            slots, shift = block.panes[other].slots, block.panes[other].shift
            last = block.panes[other].capacity - 1
        hashed = block.hashes[other]
        slot = slots[hashed >> shift & last]
        if slot >> 32 != hashed >> 32:
            slot = 0
        else:
            HW_PREFETCH(entry_of(chunks, slot))
        block.likely[other] = slot
    if table.store.layout.long_texts:
        for other in range(row, min(count, row + AHEAD)):
            if block.likely[other]:
                HW_PREFETCH(
                    (block.panes[other] if several else pane).texts
                    + (entry_of(chunks, block.likely[other])[KEYS + 1].bits >> 32)
                )


cdef int touch_entries(Table* table, Py_ssize_t count, Pane* pane) noexcept nogil:
    cdef Block* block = &table.block
    cdef Py_ssize_t row
    cdef Pane* each = pane
    for row in range(count):
        if block.entries[row][MARKS].bits & TOUCHED:
            continue
        if pane == NULL:
            each = block.panes[row]
        if touch(each, block.entries[row]):
            return -1
        table.touched_from = min(table.touched_from, each.begin)
        table.touched_to = max(table.touched_to, each.begin)
    return 0


cdef int read_keys(
    Table* table, const Batch* batch, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    """Hash the keys of a block and lay out their words; -1 for one that lies outside."""
    cdef Layout* layout = &table.store.layout
    cdef Block* block = &table.block
    cdef int key
    memset(block.nulls, 0, count * sizeof(uint32_t))
    if not layout.keys:
        memset(block.hashes, 0, count * sizeof(uint64_t))
    for key in range(layout.keys):
        if layout.orders[key] == TEXT:
            if read_texts(block, layout, key, &batch.keys[key].view, first, count):
                return -1
        else:
            read_words(block, layout, key, &batch.keys[key], first, count)
    return 0


cdef int read_texts(
    Block* block, Layout* layout, int key, const View* view, Py_ssize_t first, Py_ssize_t count
) noexcept nogil:
    if layout.form == ONE_TEXT and view.validity == NULL:
        return read_some_texts(block, layout, 0, 2, view, first, count, False)
    return read_some_texts(block, layout, key, layout.key_words, view, first, count, True)


cdef inline int read_some_texts(
    Block* block, Layout* layout, int key, int step, const View* view, Py_ssize_t first,
    Py_ssize_t count, bint nulls,
) noexcept nogil:
    cdef const uint8_t* place = view.values + 16 * (view.start + first)
    cdef uint64_t* words = block.words + layout.places[key]
    cdef uint64_t* hashes = block.hashes
    cdef const uint8_t** buffers = view.buffers
    cdef const int64_t* sizes = view.sizes
    cdef const uint8_t* text
    cdef Py_ssize_t row, held = view.count
    cdef bint some_long = False
    cdef uint64_t value
    cdef uint64_t parts[2]
    for row in range(count):
        memcpy(parts, place + 16 * row, 16)
        if nulls and not is_valid(view, first + row):
            note_null(block, layout, key, row)
            parts[0] = NO_TEXT
            parts[1] = 0
            value = hash_of_null()
        elif <uint32_t>parts[0] <= INLINE:
            value = hash_of_view(parts[0], parts[1])
        else:
            text = hw_text(place + 16 * row, buffers, sizes, held, <int32_t>parts[0])
            if text == NULL:
                return -1
            some_long = True
            parts[1] = <uint64_t>text
            value = hash_of_bytes(text, <int32_t>parts[0])
        words[step * row] = parts[0]
        words[step * row + 1] = parts[1]
        hashes[row] = hash_with(hashes[row] if key else 0, value)
    layout.long_texts |= some_long
    return 0


cdef void note_null(Block* block, Layout* layout, int key, Py_ssize_t row) noexcept nogil:
    block.nulls[row] |= 1U << key
    layout.nulls |= 1U << key


cdef void read_words(
    Block* block, Layout* layout, int key, const Column* column, Py_ssize_t first,
    Py_ssize_t count,
) noexcept nogil:
    cdef uint64_t* words = block.words + layout.places[key]
    cdef int step = layout.key_words
    cdef bint nulls = column.view.validity != NULL
    cdef Py_ssize_t row
    cdef uint64_t value
    for row in range(count):
        if nulls and not is_valid(&column.view, first + row):
            note_null(block, layout, key, row)
            words[0] = 0
            value = hash_of_null()
        else:
            words[0] = word_of(column, first + row)
            value = hash_of_word(words[0])
        block.hashes[row] = hash_with(block.hashes[row] if key else 0, value)
        words += step


cdef inline uint64_t word_of(const Column* column, Py_ssize_t row) noexcept nogil:
    cdef Word word
    cdef float single
    if column.kind == DOUBLES:
        word.real = float_at(&column.view, row)
    elif column.kind == SINGLES:
        memcpy(&single, place_of(column, row), 4)
        word.real = single
    elif column.kind == BOOLS:
        return bit_at(&column.view, row)
    else:
        return hw_integer(place_of(column, row), column.width, column.signed)
    # Equal numbers are one key.
    if word.real == 0.0:
        return 0
    return word.bits if word.real == word.real else 0x7FF8000000000000ULL
