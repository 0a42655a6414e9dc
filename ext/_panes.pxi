# Panes: stretches of event time that no window cuts in two, each with a hash table of its keys.
#
# An entry is a few words: hash, rows, marks, the words of its key, accumulators. Entries lie in
# chunks of a pool that all panes share, so that they never move and a closed pane's memory goes to
# the next one. A slot of a pane's table holds the upper half of a hash and where its entry is: the
# number of a chunk and a word of it. The place of a slot is given by the uppermost bits, so entries
# in the order of slots are nearly in the order of their hashes, and a table grows in one pass that
# looks at no entry. Where all keys have hashes of one range, as those of a worker among several
# have, the bits below the `SKIPPED` uppermost give the place: else that range would be crowded.

from libc.stdint cimport uint32_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

cdef extern from *:
    """
    #include <string.h>
    /* Without the second statement, gcc drops functions that do nothing else. */
    #define HW_PREFETCH(place) do { __builtin_prefetch(place); __asm__ volatile(""); } while (0)
    #define TOUCHED (1ULL << 32)
    #define NO_TEXT 0xFFFFFFFFU
    #define HW_PREFETCH_TO_WRITE(place) __builtin_prefetch(place, 1)
    /* For a few words: gcc would make a call of memcpy of the loop. */
    static inline void hw_copy_words(uint64_t* target, const uint64_t* source, int count) {
      for (int word = 0; word < count; word++) {
        target[word] = source[word];
        __asm__ volatile("");
      }
    }
    /* A line at a time: what is copied too much lies where no entry is yet. */
    static inline void hw_copy_blank(void* target, const void* source, int words) {
      for (int word = 0; word < words; word += 8)
        memcpy((char*)target + 8 * word, (const char*)source + 8 * word, 64);
    }
    /* Texts of 13 bytes or more: up to 16 are two words that overlap. */
    static inline void hw_copy_text(void* target, const void* source, int64_t size) {
      uint64_t words[2];
      if (size > 16) { memcpy(target, source, size); return; }
      memcpy(words, source, 8);
      memcpy(words + 1, (const char*)source + size - 8, 8);
      memcpy(target, words, 8);
      memcpy((char*)target + size - 8, words + 1, 8);
    }
    static inline int hw_same_text(const void* one, const void* other, uint32_t size) {
      uint64_t words[4];
      if (size > 16) return memcmp(one, other, size) == 0;
      memcpy(words, one, 8);
      memcpy(words + 1, (const char*)one + size - 8, 8);
      memcpy(words + 2, other, 8);
      memcpy(words + 3, (const char*)other + size - 8, 8);
      return words[0] == words[2] && words[1] == words[3];
    }
    """
    void HW_PREFETCH(const void* place) noexcept nogil
    void HW_PREFETCH_TO_WRITE(const void* place) noexcept nogil
    const uint64_t TOUCHED
    const uint32_t NO_TEXT  # the size that stands for a null
    void copy_words "hw_copy_words"(
        uint64_t* target, const uint64_t* source, int count
    ) noexcept nogil
    void copy_blank "hw_copy_blank"(void* target, const void* source, int words) noexcept nogil
    void copy_bytes "hw_copy_text"(void* target, const void* source, int64_t size) noexcept nogil
    bint same_bytes "hw_same_text"(const void* one, const void* other, uint32_t size) noexcept nogil

cdef enum:
    # Words of an entry.
    HASH = 0
    ROWS = 1
    MARKS = 2  # a bit for each key that is null, and TOUCHED
    KEYS = 3
    MOST_KEYS = 32
    CHUNK_BITS = 10
    CHUNK = 1 << CHUNK_BITS  # words
    LINE = 64  # bytes of a cache line: entries of eight words are not to lie across two
    AHEAD_WORDS = 64  # from a new entry to those that are fetched
    FEWEST_SLOTS = 64
    SKIPPED = 7  # uppermost bits, of all that may tell which worker has a key
    NARROW = 72  # of 128 parts of all hashes: keys of a worker take 64 at most
    MOST_SPARSE = 1 << 14  # slots of a table that is to have four for each entry; others have two
    INLINE = 12  # bytes of a text that its view holds


cdef extern from "stdlib.h":
    int posix_memalign(void** place, size_t alignment, size_t size) noexcept nogil


cdef union Word:
    uint64_t bits
    int64_t whole
    double real


cdef enum Order:
    SIGNED, UNSIGNED, REAL, TEXT


cdef enum Form:
    MANY, ONE_WORD, ONE_TEXT


cdef struct Layout:
    Form form
    bint long_texts  # whether there was one that its view does not hold
    uint32_t nulls  # a bit for each key that was null once
    int keys
    Order orders[MOST_KEYS]
    int places[MOST_KEYS]  # of each key's words, counted from KEYS; a text has two
    int key_words
    int stride
    int per_chunk  # entries
    Word* blank  # an entry before its first row, and a line of zeros


cdef struct Pool:
    Word** chunks
    Py_ssize_t made
    Py_ssize_t room
    uint32_t* free
    Py_ssize_t unused  # how many of `free`
    Py_ssize_t cold  # so many of them, from the first, have no memory
    Py_ssize_t keep  # a falling mark of chunks in use: no more are held


cdef struct Pane:
    int64_t begin
    int64_t last_end  # of the last window that it is part of
    uint64_t* slots
    int shift
    Py_ssize_t capacity
    Py_ssize_t count
    Py_ssize_t full  # so many entries have room
    Word* fresh  # where the next one is to be
    uint64_t fresh_slot
    uint32_t* chunks
    Py_ssize_t chunk_count
    Py_ssize_t chunk_room
    Word** touched  # entries that have this mark
    Py_ssize_t touched_count
    Py_ssize_t touched_room
    uint8_t* texts  # those that their views do not hold; the second word says where, as in a view
    Py_ssize_t text_size
    Py_ssize_t text_room


cdef struct Store:
    # What panes share.
    Layout layout
    Pool pool
    Pane* spare
    int skipped  # uppermost bits that do not give the place of a slot in new tables


# The pool


cdef int chunk_taken(Pool* pool, uint32_t* number) noexcept nogil:
    cdef Py_ssize_t room
    if not pool.unused:
        if pool.made == pool.room:
            room = max(64, 2 * pool.room)
            if room >> (32 - CHUNK_BITS):
                return -1
            if resized(<void**>&pool.chunks, room * sizeof(Word*)):
                return -1
            if resized(<void**>&pool.free, room * sizeof(uint32_t)):
                return -1
            pool.room = room
        if pool.made == 0:
            # No entry has number 0: a slot of 0 is empty.
            pool.chunks[0] = NULL
            pool.made = 1
        pool.chunks[pool.made] = NULL
        pool.free[0] = pool.made
        pool.made += 1
        pool.unused = pool.cold = 1
    number[0] = pool.free[pool.unused - 1]
    if pool.unused == pool.cold:
        if posix_memalign(<void**>&pool.chunks[number[0]], LINE, CHUNK * sizeof(Word) + LINE):
            pool.chunks[number[0]] = NULL
            return -1
        pool.cold -= 1
    pool.unused -= 1
    return 0


cdef void chunks_returned(Pool* pool, const uint32_t* numbers, Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t place, used = pool.made - 1 - pool.unused
    pool.keep = max(used, pool.keep - pool.keep // 8)
    for place in range(count):
        pool.free[pool.unused + place] = numbers[place]
    pool.unused += count
    while pool.cold < pool.unused and pool.made - 1 - pool.cold > pool.keep:
        free(pool.chunks[pool.free[pool.cold]])
        pool.chunks[pool.free[pool.cold]] = NULL
        pool.cold += 1


cdef inline Word* entry_of(Word** chunks, uint64_t slot) noexcept nogil:
    return chunks[<uint32_t>slot >> CHUNK_BITS] + (slot & (CHUNK - 1))


cdef inline Word* nth_entry(const Store* store, const Pane* pane, Py_ssize_t number) noexcept nogil:
    cdef int per_chunk = store.layout.per_chunk
    return store.pool.chunks[pane.chunks[number // per_chunk]] + (
        number % per_chunk * store.layout.stride
    )


cdef int resized(void** memory, Py_ssize_t size) noexcept nogil:
    cdef void* found = realloc(memory[0], size)
    if found == NULL:
        return -1
    memory[0] = found
    return 0


# Panes


cdef Pane* pane_made(Store* store, Py_ssize_t expected) noexcept nogil:
    """An empty pane with room for `expected` entries; NULL without memory."""
    cdef Pane* pane = store.spare
    cdef Py_ssize_t capacity = FEWEST_SLOTS
    while capacity < needed(capacity, expected):
        capacity *= 2
    if pane == NULL:
        pane = <Pane*>calloc(1, sizeof(Pane))
        if pane == NULL:
            return NULL
    store.spare = NULL
    if pane.capacity < capacity or pane.capacity > 4 * capacity:
        free(pane.slots)
        pane.slots = <uint64_t*>calloc(capacity, sizeof(uint64_t))
        if pane.slots == NULL:
            pane_freed(store, pane)
            return NULL
        pane.capacity = capacity
    else:
        memset(pane.slots, 0, pane.capacity * sizeof(uint64_t))
    pane.shift = shift_of(pane.capacity, store.skipped)
    return pane


cdef inline Py_ssize_t needed(Py_ssize_t capacity, Py_ssize_t entries) noexcept nogil:
    """The slots that a table of this capacity should at least have for so many entries."""
    return entries * (4 if capacity <= MOST_SPARSE else 2)


cdef int shift_of(Py_ssize_t capacity, int skipped) noexcept nogil:
    """From a hash to the place of its slot, which higher bits may stand before."""
    # A slot has the upper half of a hash.
    return max(64 - bits_of(capacity) - skipped, 32)


cdef int bits_of(Py_ssize_t capacity) noexcept nogil:
    cdef int bits = 0
    while capacity > 1:
        capacity //= 2
        bits += 1
    return bits


cdef void pane_emptied(Store* store, Pane* pane) noexcept nogil:
    chunks_returned(&store.pool, pane.chunks, pane.chunk_count)
    if pane.text_room > 4 * pane.text_size:
        free(pane.texts)
        pane.texts = NULL
        pane.text_room = 0
    pane.count = pane.full = pane.chunk_count = pane.touched_count = pane.text_size = 0


cdef void pane_dropped(Store* store, Pane* pane) noexcept nogil:
    """Take back an open pane; one of them is kept as it is for the next."""
    pane_emptied(store, pane)
    if store.spare == NULL:
        store.spare = pane
    else:
        pane_freed(store, pane)


cdef void pane_freed(Store* store, Pane* pane) noexcept nogil:
    if pane == NULL:
        return
    pane_emptied(store, pane)
    free(pane.slots)
    free(pane.chunks)
    free(pane.texts)
    free(pane.touched)
    free(pane)


cdef void store_freed(Store* store) noexcept nogil:
    cdef Py_ssize_t number
    pane_freed(store, store.spare)
    for number in range(1, store.pool.made):
        free(store.pool.chunks[number])
    free(store.pool.chunks)
    free(store.pool.free)
    free(store.layout.blank)


# Entries and their keys


cdef inline Word* entry_at(
    const Layout* layout, Word** chunks, const uint8_t* texts, const uint64_t* slots, int shift,
    Py_ssize_t last, uint64_t hashed, const uint64_t* words, uint32_t nulls, Form form,
    bint wide, Py_ssize_t* place,
) noexcept nogil:
    """The entry of a key among slots 0 to `last`; NULL if there is none, and then its place.

    The second word of a long text in `words` is its address.
    """
    cdef uint64_t slot, tag = hashed >> 32
    cdef Word* entry
    place[0] = hashed >> shift & last
    if wide:
        # Whether the first slot is another key's would often be foretold wrong.
        slot = slots[place[0]]
        place[0] = (place[0] + ((slot != 0) & (slot >> 32 != tag))) & last
    while True:
        slot = slots[place[0]]
        if slot == 0:
            return NULL
        if slot >> 32 == tag:
            entry = entry_of(chunks, slot)
            if same_key(layout, texts, entry, hashed, words, nulls, form):
                return entry
        place[0] = (place[0] + 1) & last


cdef inline bint same_key(
    const Layout* layout, const uint8_t* texts, const Word* entry, uint64_t hashed,
    const uint64_t* words, uint32_t nulls, Form form,
) noexcept nogil:
    cdef const Word* held = entry + KEYS
    if form == ONE_TEXT:
        return held[0].bits == words[0] and same_text(texts, held, words)
    if <uint32_t>entry[MARKS].bits != nulls:
        return False
    if form == ONE_WORD:
        return held[0].bits == words[0]
    if entry[HASH].bits != hashed:
        return False
    return same_words(layout, texts, held, words)


cdef inline bint same_words(
    const Layout* layout, const uint8_t* texts, const Word* held, const uint64_t* words
) noexcept nogil:
    cdef uint64_t differs = 0
    cdef int word
    if layout.long_texts:
        return same_columns(layout, texts, held, words)
    for word in range(layout.key_words):
        differs |= held[word].bits ^ words[word]
    return differs == 0


cdef bint same_columns(
    const Layout* layout, const uint8_t* texts, const Word* held, const uint64_t* words
) noexcept nogil:
    cdef int key, place
    for key in range(layout.keys):
        place = layout.places[key]
        if held[place].bits != words[place]:
            return False
        if layout.orders[key] == TEXT and not same_text(texts, held + place, words + place):
            return False
    return True


cdef inline bint same_text(
    const uint8_t* texts, const Word* held, const uint64_t* words
) noexcept nogil:
    # The first words, with the size and the first four bytes, are equal.
    cdef uint32_t size = <uint32_t>words[0]
    if size <= INLINE or size == NO_TEXT:
        return held[1].bits == words[1]
    return same_bytes(texts + (held[1].bits >> 32), <void*>words[1], size)


cdef Word* entry_known(
    const Store* store, const Pane* pane, const Pane* other, const Word* like
) noexcept nogil:
    """The entry of the key that an entry of another pane has; NULL if there is none."""
    cdef uint64_t words[2 * MOST_KEYS]
    cdef Py_ssize_t place
    addressed(&store.layout, other, like, words)
    return entry_at(
        &store.layout, store.pool.chunks, pane.texts, pane.slots, pane.shift, pane.capacity - 1,
        like[HASH].bits, words, <uint32_t>like[MARKS].bits, MANY, False, &place,
    )


cdef Word* entry_like(
    Store* store, Pane* pane, const Pane* other, const Word* like
) noexcept nogil:
    """The entry of the key that an entry of another pane has, made if there is none."""
    cdef uint64_t words[2 * MOST_KEYS]
    cdef uint32_t nulls = <uint32_t>like[MARKS].bits
    cdef Py_ssize_t place
    cdef Word* found
    addressed(&store.layout, other, like, words)
    found = entry_at(
        &store.layout, store.pool.chunks, pane.texts, pane.slots, pane.shift, pane.capacity - 1,
        like[HASH].bits, words, nulls, MANY, False, &place,
    )
    if found != NULL:
        return found
    return entry_made(store, pane, place, like[HASH].bits, words, nulls, MANY)


cdef void addressed(
    const Layout* layout, const Pane* pane, const Word* entry, uint64_t* words
) noexcept nogil:
    """Write the words of an entry's key, with the addresses of long texts."""
    cdef int key, place
    memcpy(words, entry + KEYS, layout.key_words * sizeof(Word))
    for key in range(layout.keys):
        place = layout.places[key]
        if layout.orders[key] == TEXT and is_long(words[place]):
            words[place + 1] = <uint64_t>(pane.texts + (words[place + 1] >> 32))


cdef inline bint is_long(uint64_t word) noexcept nogil:
    """Whether a text, of which this is the first word, does not fit its view."""
    return INLINE < <uint32_t>word != NO_TEXT


cdef inline Word* entry_made(
    Store* store, Pane* pane, Py_ssize_t place, uint64_t hashed, const uint64_t* words,
    uint32_t nulls, Form form,
) noexcept nogil:
    """A new entry for a key that has none, for which there is a place; NULL without memory."""
    cdef const Layout* layout = &store.layout
    cdef Word* entry
    cdef uint64_t slot
    if pane.count == pane.full:
        if pane_widened(store, pane):
            return NULL
        place = free_place(pane, hashed)
    entry, slot = pane.fresh, pane.fresh_slot
    HW_PREFETCH_TO_WRITE(entry + AHEAD_WORDS)
    copy_blank(entry, layout.blank, layout.stride)
    entry[HASH].bits = hashed
    entry[MARKS].bits = nulls
    if form == ONE_TEXT:
        entry[KEYS].bits = words[0]
        entry[KEYS + 1].bits = words[1]
        if is_long(words[0]) and text_copied(pane, words, entry + KEYS):
            return NULL
    elif form == ONE_WORD:
        entry[KEYS].bits = words[0]
    else:
        copy_words(&entry[KEYS].bits, words, layout.key_words)
        if layout.long_texts and texts_copied(layout, pane, words, entry):
            return NULL
    pane.slots[place] = (hashed >> 32 << 32) | slot
    pane.count += 1
    pane.fresh = entry + layout.stride
    pane.fresh_slot = slot + layout.stride
    return entry


cdef int pane_widened(Store* store, Pane* pane) noexcept nogil:
    """Make room for more entries than `full`; -1 without memory."""
    cdef int per_chunk = store.layout.per_chunk
    if needed(pane.capacity, pane.count + 1) > pane.capacity and pane_grown(store, pane):
        return -1
    if pane.count == pane.chunk_count * per_chunk:
        if chunk_added(store, pane):
            return -1
        pane.fresh_slot = <uint64_t>pane.chunks[pane.chunk_count - 1] << CHUNK_BITS
        pane.fresh = entry_of(store.pool.chunks, pane.fresh_slot)
    pane.full = min(pane.capacity // needed(pane.capacity, 1), pane.chunk_count * per_chunk)
    return 0


cdef int chunk_added(Store* store, Pane* pane) noexcept nogil:
    cdef Py_ssize_t room = max(4, 2 * pane.chunk_room)
    if pane.chunk_count == pane.chunk_room:
        if resized(<void**>&pane.chunks, room * sizeof(uint32_t)):
            return -1
        pane.chunk_room = room
    if chunk_taken(&store.pool, &pane.chunks[pane.chunk_count]):
        return -1
    pane.chunk_count += 1
    return 0


cdef inline Py_ssize_t free_place(const Pane* pane, uint64_t hashed) noexcept nogil:
    cdef Py_ssize_t place = hashed >> pane.shift & (pane.capacity - 1)
    while pane.slots[place]:
        place = (place + 1) & (pane.capacity - 1)
    return place


cdef int pane_grown(Store* store, Pane* pane) noexcept nogil:
    cdef uint64_t* old = pane.slots
    cdef Py_ssize_t place, capacity = pane.capacity
    if pane.capacity >> 32:
        return -1
    pane.slots = <uint64_t*>calloc(2 * capacity, sizeof(uint64_t))
    if pane.slots == NULL:
        pane.slots = old
        return -1
    if not store.skipped and narrow(old, capacity):
        store.skipped = SKIPPED
    pane.capacity = 2 * capacity
    pane.shift = shift_of(pane.capacity, store.skipped)
    for place in range(capacity):
        if old[place]:
            pane.slots[free_place(pane, old[place])] = old[place]
    free(old)
    return 0


cdef bint narrow(const uint64_t* slots, Py_ssize_t capacity) noexcept nogil:
    """Whether the hashes of entries are so near to each other that they are but a part of all."""
    cdef uint64_t least = ~0ULL, most = 0
    cdef Py_ssize_t place
    for place in range(capacity):
        if slots[place]:
            least = min(least, slots[place])
            most = max(most, slots[place])
    return (most - least) >> 57 < NARROW


cdef int texts_copied(
    const Layout* layout, Pane* pane, const uint64_t* words, Word* entry
) noexcept nogil:
    """Have the pane hold the long texts of a new entry's key."""
    cdef int key, place
    for key in range(layout.keys):
        place = layout.places[key]
        if layout.orders[key] == TEXT and is_long(words[place]):
            if text_copied(pane, words + place, entry + KEYS + place):
                return -1
    return 0


cdef inline int text_copied(Pane* pane, const uint64_t* words, Word* held) noexcept nogil:
    cdef Py_ssize_t begin = pane.text_size, size = <uint32_t>words[0]
    if begin + size > pane.text_room and texts_widened(pane, begin + size):
        return -1
    HW_PREFETCH_TO_WRITE(pane.texts + begin + 8 * LINE)
    copy_bytes(pane.texts + begin, <void*>words[1], size)
    held[1].bits = <uint64_t>begin << 32
    pane.text_size = begin + size
    return 0


cdef int texts_widened(Pane* pane, Py_ssize_t needed) noexcept nogil:
    cdef Py_ssize_t room = max(1024, 2 * pane.text_room, needed)
    # Views have 31 bits for the place of a text.
    if needed > INT32_MAX or resized(<void**>&pane.texts, room):
        return -1
    pane.text_room = room
    return 0


cdef int touch(Pane* pane, Word* entry) noexcept nogil:
    cdef Py_ssize_t room = max(64, 2 * pane.touched_room)
    entry[MARKS].bits |= TOUCHED
    if pane.touched_count == pane.touched_room:
        if resized(<void**>&pane.touched, room * sizeof(Word*)):
            return -1
        pane.touched_room = room
    pane.touched[pane.touched_count] = entry
    pane.touched_count += 1
    return 0
