# Columns that grow by a value at a time, and the Arrow arrays that they become.

cdef uint8_t _MASKS[13][16]


cdef class _Memory:
    """Owns what a column's buffer points to."""

    cdef void* at

    def __dealloc__(self):
        free(self.at)


cdef void _rewind(Node* node) noexcept nogil:
    """Take back what the parts hold beyond the node's own rows."""
    cdef Py_ssize_t i
    for i in range(node.n_parts):
        if node.kind == LIST:
            node.parts.length = (<int64_t*>node.values)[node.length] if node.length else 0
        else:
            node.parts[i].length = node.length
        _rewind(&node.parts[i])
    if node.length == 0:
        node.filled = 0


cdef bint _resized(uint8_t** at, Py_ssize_t size) noexcept nogil:
    cdef void* found = realloc(at[0], size)
    if found == NULL:
        return False
    at[0] = <uint8_t*>found
    return True


cdef bint _grow(Node* node, Run* run) noexcept nogil:
    """Make room for more rows; False if there is no memory."""
    cdef Py_ssize_t rows = 2 * node.capacity if node.capacity else run.expected
    rows = (rows + 7) & ~7
    if node.kind == LIST:
        if not _resized(&node.values, 8 * (rows + 1)):
            run.starved = True
            return False
        (<int64_t*>node.values)[0] = 0
    elif node.kind != OBJECT:
        if not _resized(&node.values, node.width * rows if node.width else rows >> 3):
            run.starved = True
            return False
    if node.masked and not _resized(&node.validity, rows >> 3):
        run.starved = True
        return False
    node.capacity = rows
    return True


cdef bint _reserve(Node* node, Py_ssize_t size, Run* run) noexcept nogil:
    """Make room for `size` more bytes of text, and 16 that may be read beyond."""
    cdef Py_ssize_t room = node.filled + size + 16
    if room <= node.room:
        return True
    room = max(room, 2 * node.room, 4096)
    if not _resized(&node.data, room):
        run.starved = True
        return False
    node.room = room
    return True


cdef inline void _set(uint8_t* bits, Py_ssize_t place, bint value) noexcept nogil:
    bits[place >> 3] = (bits[place >> 3] & ~(1 << (place & 7))) | (value << (place & 7))


cdef inline void _done(Node* node) noexcept nogil:
    """The value at the end of the column is written and not null."""
    if node.masked:
        _set(node.validity, node.length, True)
    node.length += 1


cdef inline void _put_int(Node* node, int64_t value) noexcept nogil:
    if node.width == 8:
        (<int64_t*>node.values)[node.length] = value
    elif node.width == 4:
        (<int32_t*>node.values)[node.length] = <int32_t>value
    elif node.width == 2:
        (<int16_t*>node.values)[node.length] = <int16_t>value
    elif node.width == 1:
        (<int8_t*>node.values)[node.length] = <int8_t>value
    else:
        _set(node.values, node.length, value != 0)
    _done(node)


cdef inline bint _put_text(Node* node, const uint8_t* at, Py_ssize_t size, Run* run) noexcept nogil:
    """Write a view; 16 bytes can be read at `at`, which may be the end of the node's own data."""
    cdef uint8_t* view = node.values + 16 * node.length
    cdef uint64_t words[2]
    cdef uint64_t mask[2]
    cdef int32_t number = <int32_t>size
    if size <= 12:
        # The size stands in the first 4 bytes, the text in the other 12.
        memcpy(<uint8_t*>words + 4, at, 12)
        memcpy(words, &number, 4)
        memcpy(mask, _MASKS[size], 16)
        words[0] &= mask[0]
        words[1] &= mask[1]
        memcpy(view, words, 16)
    else:
        if node.data == NULL or at != node.data + node.filled:
            if not _reserve(node, size, run):
                return False
            memcpy(node.data + node.filled, at, size)
        memcpy(view, &number, 4)
        memcpy(view + 4, node.data + node.filled, 4)
        number = 0
        memcpy(view + 8, &number, 4)
        number = <int32_t>node.filled
        memcpy(view + 12, &number, 4)
        node.filled += size
    _done(node)
    return True


cdef bint _put_null(Node* node, Run* run) noexcept nogil:
    cdef Py_ssize_t i
    if node.length == node.capacity and not _grow(node, run):
        return False
    if node.kind == LIST:
        (<int64_t*>node.values)[node.length + 1] = (<int64_t*>node.values)[node.length]
    elif node.kind == OBJECT:
        for i in range(node.n_parts):
            if not _put_null(&node.parts[i], run):
                return False
    elif node.width:
        memset(node.values + node.width * node.length, 0, node.width)
    else:
        _set(node.values, node.length, False)
    _set(node.validity, node.length, False)
    node.length += 1
    return True


cdef bint _put_constant(Node* node, Run* run) noexcept nogil:
    cdef uint8_t room[16]
    if node.length == node.capacity and not _grow(node, run):
        return False
    if node.kind == TEXT:
        if node.constant_word.size > 12:
            return _put_text(node, node.constant_word.at, node.constant_word.size, run)
        memcpy(room, node.constant_word.at, node.constant_word.size)
        return _put_text(node, room, node.constant_word.size, run)
    if node.kind == FLOAT:
        (<double*>node.values)[node.length] = node.constant_float
        _done(node)
    else:
        _put_int(node, node.constant)
    return True


# --- arrays, from columns ---


cdef _given(void** at, Py_ssize_t size, Py_ssize_t room):
    """A buffer of `size` bytes, which owns the memory from now on."""
    cdef _Memory owner
    cdef void* smaller
    if size + size // 4 + 4096 < room:
        smaller = realloc(at[0], size)
        if smaller != NULL:
            at[0] = smaller
    owner = _Memory.__new__(_Memory)
    owner.at = at[0]
    at[0] = NULL
    return pa.foreign_buffer(<uintptr_t>owner.at, size, owner)


cdef Py_ssize_t _nulls(Node* node):
    cdef Py_ssize_t i, count = 0
    if node.masked:
        for i in range(node.length):
            count += not (node.validity[i >> 3] >> (i & 7)) & 1
    return count


cdef _array(Node* node, one):
    """The column, whose memory is given away."""
    cdef Py_ssize_t rows = node.length, bits = (rows + 7) >> 3, nulls, i
    cdef Py_ssize_t capacity = node.capacity, room = node.room
    if rows == 0:
        return pa.array([], one.type)
    nulls = _nulls(node)
    node.capacity = node.room = 0  # first, so that after an exception no row is put
    mask = _given(<void**>&node.validity, bits, capacity >> 3) if nulls else None
    buffers, children = [mask], []
    if node.kind == OBJECT:
        children = [_array(&node.parts[i], part) for i, part in enumerate(one.fields)]
    elif node.kind == LIST:
        children = [_array(node.parts, one.item)]
        buffers.append(_given(<void**>&node.values, 8 * (rows + 1), 8 * (capacity + 1)))
    elif node.width:
        buffers.append(_given(<void**>&node.values, node.width * rows, node.width * capacity))
    else:
        buffers.append(_given(<void**>&node.values, bits, capacity >> 3))
    if node.kind == TEXT and node.filled:
        buffers.append(_given(<void**>&node.data, node.filled, room))
    return pa.Array.from_buffers(one.type, rows, buffers, nulls, 0, children or None)
