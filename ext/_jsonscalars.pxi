# Values that are neither lists nor objects; each function gives what follows, or NULL.


cdef inline const uint8_t* _text(Node* node, const uint8_t* p, Run* run) noexcept nogil:
    cdef hw_text text
    cdef const uint8_t* end
    cdef const uint8_t* at
    cdef Py_ssize_t size
    if p[0] != c'"':
        return NULL
    end = hw_string(p, &text)
    if end == NULL:
        return NULL
    at, size = text.at, <Py_ssize_t>text.size
    if text.escaped:
        if not _reserve(node, size, run):
            return NULL
        size = hw_unescape(&text, node.data + node.filled)
        at = node.data + node.filled
        if size < 0:
            return NULL
    if node.n_allowed and not _is_among(node, at, size):
        return NULL
    return end if _put_text(node, at, size, run) else NULL


cdef bint _is_among(Node* node, const uint8_t* at, Py_ssize_t size) noexcept nogil:
    cdef Py_ssize_t i
    for i in range(node.n_allowed):
        if node.words[i].size == size and memcmp(node.words[i].at, at, size) == 0:
            return True
    return False


cdef inline const uint8_t* _float(Node* node, const uint8_t* p) noexcept nogil:
    cdef hw_decimal number
    cdef const uint8_t* end = hw_number(p, &number)
    cdef double value = 0
    cdef int64_t whole = 0
    if end == NULL:
        return NULL
    if number.whole:
        if number.count > 18 or not hw_int64(&number, &whole):
            return NULL
        value = <double>whole
    elif not _nearest(&number, p, end, &value):
        return NULL
    if not node.least <= value <= node.most:
        return NULL
    (<double*>node.values)[node.length] = value
    _done(node)
    return end


cdef inline bint _nearest(hw_decimal* number, const uint8_t* p, const uint8_t* end,
                          double* value) noexcept nogil:
    """The double nearest to a number that is written from `p` to `end`, if it is finite."""
    cdef int found = hw_double(number, value)
    if found == HW_UNDECIDED:
        with gil:
            value[0] = PyOS_string_to_double(p[: end - p], NULL, NULL)
        return value[0] - value[0] == 0
    return found == HW_DECIDED


cdef inline const uint8_t* _int(Node* node, const uint8_t* p) noexcept nogil:
    cdef hw_decimal number
    cdef const uint8_t* end = hw_number(p, &number)
    cdef int64_t value = 0
    cdef Py_ssize_t i
    if end == NULL or not hw_int64(&number, &value) or not node.low <= value <= node.high:
        return NULL
    if node.n_allowed:
        for i in range(node.n_allowed):
            if node.numbers[i] == value:
                break
        else:
            return NULL
    _put_int(node, value)
    return end


cdef const uint8_t* _bool(Node* node, const uint8_t* p) noexcept nogil:
    cdef bint value = p[0] == c"t"
    cdef Py_ssize_t i
    if memcmp(p, b"true" if value else b"false", 4 if value else 5) != 0:
        return NULL
    if node.n_allowed:
        for i in range(node.n_allowed):
            if node.numbers[i] == value:
                break
        else:
            return NULL
    _put_int(node, value)
    return p + (4 if value else 5)


cdef inline const uint8_t* _moment(Node* node, const uint8_t* p) noexcept nogil:
    """An instant, a date or a time of day."""
    cdef hw_text text
    cdef const uint8_t* end
    cdef int64_t value = 0
    cdef bint known
    if p[0] != c'"':
        return _epoch(node, p) if node.unit != NO_UNIT else NULL
    end = hw_string(p, &text)
    if end == NULL or text.escaped:
        return NULL
    if node.kind == INSTANT:
        known = hw_instant(text.at, text.size, &value) and node.low <= value <= node.high
    elif node.kind == DATE:
        known = hw_date(text.at, text.size, &value)
    else:
        known = text.size != 0 and hw_clock(text.at, text.size, &value) == text.size
        value *= 1000
    if not known:
        return NULL
    _put_int(node, value)
    return end


cdef inline const uint8_t* _epoch(Node* node, const uint8_t* p) noexcept nogil:
    cdef hw_decimal number
    cdef const uint8_t* end = hw_number(p, &number)
    cdef int64_t value = 0, factor = <int64_t>node.factor, rest
    cdef double real = 0
    if end == NULL:
        return NULL
    if number.whole:
        if not hw_int64(&number, &value):
            return NULL
        if node.unit == NANOS:
            rest = value % 1000
            value = value / 1000 - (rest < 0)
        elif value > INT64_MAX / factor or value < INT64_MIN / factor:
            return NULL
        else:
            value *= factor
    elif (
        node.unit == NANOS
        or not _nearest(&number, p, end, &real)
        or not hw_rounded(real, node.factor, &value)
    ):
        return NULL
    if not node.low <= value <= node.high:
        return NULL
    _put_int(node, value)
    return end
