# The fields of a decoder as C structures: what is taken, and the column that is written.

cdef enum Kind:
    BOOL, INT, FLOAT, TEXT, INSTANT, DATE, TIME, LIST, OBJECT

cdef enum Reason:
    LONG, JSON, KEY, VALUE, MISSING

cdef enum Absent:
    DOUBTFUL, NULL_VALUE, CONSTANT

cdef enum Unit:
    NO_UNIT, SECONDS, MILLIS, MICROS, NANOS

cdef dict _KINDS = {
    "bool": BOOL, "int": INT, "float": FLOAT, "text": TEXT, "instant": INSTANT, "date": DATE,
    "time": TIME, "list": LIST, "object": OBJECT,
}
cdef tuple _UNITS = (None, "s", "ms", "us", "ns")
cdef tuple _REASONS = ("long", "json", "key", "value", "missing")

cdef struct Word:
    const uint8_t* at
    Py_ssize_t size

cdef struct Node:
    Kind kind
    int width  # bytes of a value
    bint nullable
    bint masked  # there is a bitmap: this, or an object around it, may be null
    # How the key is written, with its quotes, and its first 16 bytes.
    Word key
    uint64_t begins[2]
    uint64_t mask[2]
    # What is taken.
    Unit unit
    uint64_t factor
    int64_t low
    int64_t high
    double least
    double most
    Py_ssize_t n_allowed
    Word* words
    int64_t* numbers
    # What stands for an absent key.
    Absent absent
    int64_t constant
    double constant_float
    Word constant_word
    # The parts of an object, which of them followed each last time, and those seen in this one.
    Py_ssize_t n_parts
    Node* parts
    Py_ssize_t* after
    uint64_t* seen
    # The column; of a list, `values` are offsets, one more than rows.
    Py_ssize_t length
    Py_ssize_t capacity
    uint8_t* values
    uint8_t* validity
    uint8_t* data
    Py_ssize_t filled
    Py_ssize_t room


cdef _fill_parts(Node* node, fields, list kept, bint masked=False):
    cdef Py_ssize_t i, count = len(fields)
    node.n_parts = 0
    node.parts = <Node*>calloc(count, sizeof(Node))
    node.after = <Py_ssize_t*>calloc(count + 1, sizeof(Py_ssize_t))
    node.seen = <uint64_t*>calloc(count, sizeof(uint64_t))
    if node.parts == NULL or node.after == NULL or node.seen == NULL:
        raise MemoryError
    node.n_parts = count
    for i in range(count):
        node.after[i] = i
        _fill(&node.parts[i], fields[i], kept, masked)


cdef _fill(Node* node, one, list kept, bint masked):
    cdef uint8_t room[16]
    node.kind = <Kind><int>_KINDS[one.kind]
    node.nullable = one.nullable
    node.masked = masked or one.nullable
    node.width = {TEXT: 16, LIST: 8, OBJECT: 0, BOOL: 0}.get(node.kind) \
        if node.kind in (TEXT, LIST, OBJECT, BOOL) else one.type.bit_width // 8
    node.key = _word(b'"' + one.name.encode() + b'"', kept)
    memset(room, 0, 16)
    memcpy(room, node.key.at, min(16, node.key.size))
    memcpy(node.begins, room, 16)
    memset(room, 0, 16)
    memset(room, 255, min(16, node.key.size))
    memcpy(node.mask, room, 16)
    node.unit = <Unit><int>_UNITS.index(one.unit)
    node.factor = FACTORS.get(one.unit, 0)
    node.low, node.high = INT64_MIN, INT64_MAX
    if node.kind in (INT, INSTANT):
        node.low, node.high = one.reach
    node.least = float("-inf") if one.low is None else one.low
    node.most = float("inf") if one.high is None else one.high
    _fill_allowed(node, one.allowed, kept)
    _fill_absent(node, one.default, kept)
    if node.kind == OBJECT:
        _fill_parts(node, one.fields, kept, node.masked)
    if node.kind == LIST:
        node.parts = <Node*>calloc(1, sizeof(Node))
        if node.parts == NULL:
            raise MemoryError
        node.n_parts = 1
        _fill(node.parts, one.item, kept, False)


cdef Word _word(text, list kept):
    cdef Word word
    cdef bytes found = text.encode() if isinstance(text, str) else text
    kept.append(found)
    word.at = <const uint8_t*>PyBytes_AS_STRING(found)
    word.size = len(found)
    return word


cdef _fill_allowed(Node* node, allowed, list kept):
    cdef Py_ssize_t i
    node.n_allowed = 0
    node.words = <Word*>calloc(len(allowed) + 1, sizeof(Word))
    node.numbers = <int64_t*>calloc(len(allowed) + 1, sizeof(int64_t))
    if node.words == NULL or node.numbers == NULL:
        raise MemoryError
    for i in range(len(allowed)):
        if node.kind == TEXT:
            node.words[i] = _word(allowed[i], kept)
        else:
            node.numbers[i] = allowed[i]
    node.n_allowed = len(allowed)


cdef _fill_absent(Node* node, default, list kept):
    node.absent = DOUBTFUL if default is REQUIRED else NULL_VALUE if default is None else CONSTANT
    if node.absent != CONSTANT:
        return
    if node.kind == TEXT:
        node.constant_word = _word(default, kept)
    elif node.kind == FLOAT:
        node.constant_float = default
    else:
        node.constant = default


cdef void _release(Node* node) noexcept:
    cdef Py_ssize_t i
    for i in range(node.n_parts):
        _release(&node.parts[i])
    free(node.parts)
    free(node.after)
    free(node.seen)
    free(node.words)
    free(node.numbers)
    free(node.values)
    free(node.validity)
    free(node.data)
