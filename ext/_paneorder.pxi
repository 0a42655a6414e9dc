# The order of a pane's entries: by hash, unsigned, then by key, column by column. A null is before
# all values, a NaN after them.

cdef uint64_t* ordered(const Store* store, const Pane* pane, uint64_t* slots) noexcept nogil:
    """The slots of all entries in their order, in memory for one more than twice as many."""
    cdef Py_ssize_t place = 0, count = 0, last = pane.capacity - 1
    cdef int skipped = 64 - bits_of(pane.capacity) - pane.shift
    # What did not fit at the end stands at the front; its turn comes last.
    while place < pane.capacity and pane.slots[place]:
        slots[count] = pane.slots[place]
        count += <Py_ssize_t>(slots[count] >> pane.shift & last) <= place
        place += 1
    for place in range(place, pane.capacity):
        slots[count] = pane.slots[place]
        count += slots[count] != 0
    place = 0
    while count < pane.count:
        if <Py_ssize_t>(pane.slots[place] >> pane.shift & last) > place:
            slots[count] = pane.slots[place]
            count += 1
        place += 1
    if skipped:
        slots = gathered(slots, slots + count + 1, count, skipped)
    settled(store, pane.texts, slots, count)
    return slots


cdef uint64_t* gathered(
    const uint64_t* slots, uint64_t* target, Py_ssize_t count, int skipped
) noexcept nogil:
    """Copy slots to `target`, by their uppermost bits and then as they are."""
    cdef Py_ssize_t begins[(1 << SKIPPED) + 1]
    cdef Py_ssize_t place
    cdef uint64_t part
    memset(begins, 0, sizeof(begins))
    for place in range(count):
        begins[(slots[place] >> (64 - skipped)) + 1] += 1
    for place in range(1, 1 << SKIPPED):
        begins[place] += begins[place - 1]
    for place in range(count):
        part = slots[place] >> (64 - skipped)
        target[begins[part]] = slots[place]
        begins[part] += 1
    return target


cdef void settled(
    const Store* store, const uint8_t* texts, uint64_t* slots, Py_ssize_t count
) noexcept nogil:
    # They are nearly in order, so that each moves by a few places; most of those that do, by one,
    # which a loop without a branch puts right.
    cdef Py_ssize_t place, target
    cdef uint64_t slot, most = slots[0]
    for place in range(1, count):
        slot = slots[place]
        slots[place - 1] = min(most, slot)
        most = max(most, slot)
    slots[count - 1] = most
    for place in range(1, count):
        slot = slots[place]
        target = place
        while target and before(store, texts, slot, slots[target - 1]):
            slots[target] = slots[target - 1]
            target -= 1
        slots[target] = slot


cdef inline bint before(
    const Store* store, const uint8_t* texts, uint64_t left, uint64_t right
) noexcept nogil:
    cdef const Word* one
    cdef const Word* other
    if left >> 32 != right >> 32:
        return left >> 32 < right >> 32
    one = entry_of(store.pool.chunks, left)
    other = entry_of(store.pool.chunks, right)
    if one[HASH].bits != other[HASH].bits:
        return one[HASH].bits < other[HASH].bits
    return compared(&store.layout, texts, one, other) < 0


cdef int compared(
    const Layout* layout, const uint8_t* texts, const Word* one, const Word* other
) noexcept nogil:
    """Below, at or above 0 as the key of `one` is before, at or after that of `other`."""
    cdef int key, place, found
    cdef bint null
    for key in range(layout.keys):
        null = one[MARKS].bits >> key & 1
        if null != (other[MARKS].bits >> key & 1):
            return -1 if null else 1
        place = KEYS + layout.places[key]
        if null:
            found = 0
        elif layout.orders[key] == TEXT:
            found = compared_texts(texts, one + place, other + place)
        else:
            found = compared_words(layout.orders[key], one + place, other + place)
        if found:
            return found
    return 0


cdef int compared_words(Order order, const Word* one, const Word* other) noexcept nogil:
    if order == SIGNED:
        return (one.whole > other.whole) - (one.whole < other.whole)
    if order == UNSIGNED:
        return (one.bits > other.bits) - (one.bits < other.bits)
    # A NaN is the greatest.
    if one.real != one.real or other.real != other.real:
        return (one.real != one.real) - (other.real != other.real)
    return (one.real > other.real) - (one.real < other.real)


cdef int compared_texts(
    const uint8_t* texts, const Word* one, const Word* other
) noexcept nogil:
    cdef uint32_t size = <uint32_t>one[0].bits, other_size = <uint32_t>other[0].bits
    cdef int found = memcmp(
        bytes_of(texts, one), bytes_of(texts, other), min(size, other_size)
    )
    return found if found else (size > other_size) - (size < other_size)


cdef inline const uint8_t* bytes_of(const uint8_t* texts, const Word* text) noexcept nogil:
    if <uint32_t>text[0].bits <= INLINE:
        return <const uint8_t*>text + 4
    return texts + (text[1].bits >> 32)
