# Accumulators of the entries of panes: folding rows into them, merging those of two entries, and
# reading what they give. `windowing` says what each is; includes follow `_panes.pxi`.

from libc.math cimport NAN, sqrt
from libc.stdint cimport INT64_MAX, INT64_MIN

cdef enum:
    # Words of a moment and of an end.
    COUNT = 0
    MEAN = 1
    SQUARES = 2
    STATE = 0
    TIME = 1
    VALUE = 2
    # States of an end.
    NOTHING = 0
    NULL_VALUE = 1
    SOME_VALUE = 2


cdef struct Fold:
    # The accumulators over one column: where they are in an entry, 0 if they are not wanted.
    bint real
    bint some_nulls  # whether a value may have been null
    int nulls
    int total
    int least
    int most
    int moments
    int first
    int last
    int first_some  # skips nulls
    int last_some


cdef struct Rows:
    # Some rows of a batch and the entries that they are folded into.
    Py_ssize_t count
    Py_ssize_t first
    Word** entries
    const int64_t* times  # of all rows; NULL if they go by their order
    int64_t sequence  # of the first of them all


cdef void blanked(const Fold* fold, Word* entry) noexcept nogil:
    """Make accumulators what they are before the first row; the others are 0."""
    if fold.least and fold.real:
        entry[fold.least].real = NAN
    elif fold.least:
        entry[fold.least].whole = INT64_MAX
    if fold.most and fold.real:
        entry[fold.most].real = NAN
    elif fold.most:
        entry[fold.most].whole = INT64_MIN


# Rows into entries


cdef void fold_column(Fold* fold, const View* view, const Rows* rows) noexcept nogil:
    if view.validity != NULL:
        fold.some_nulls = True
        if fold.nulls:
            count_nulls(fold, view, rows)
    if fold.total:
        if fold.real:
            add_reals(fold.total, view, rows)
        else:
            add_wholes(fold.total, view, rows)
    if fold.least:
        if fold.real:
            least_reals(fold.least, view, rows)
        else:
            least_wholes(fold.least, view, rows)
    if fold.most:
        if fold.real:
            most_reals(fold.most, view, rows)
        else:
            most_wholes(fold.most, view, rows)
    if fold.moments:
        fold_moments(fold, view, rows)
    if fold.first:
        fold_ends(fold, fold.first, False, False, view, rows)
    if fold.last:
        fold_ends(fold, fold.last, True, False, view, rows)
    if fold.first_some:
        fold_ends(fold, fold.first_some, False, True, view, rows)
    if fold.last_some:
        fold_ends(fold, fold.last_some, True, True, view, rows)


cdef void count_nulls(const Fold* fold, const View* view, const Rows* rows) noexcept nogil:
    cdef Py_ssize_t row
    for row in range(rows.count):
        if not is_valid(view, rows.first + row):
            rows.entries[row][fold.nulls].whole += 1


cdef void add_reals(int place, const View* view, const Rows* rows) noexcept nogil:
    cdef const uint8_t* values = view.values + 8 * (view.start + rows.first)
    cdef Py_ssize_t row, count = rows.count
    cdef Word** entries = rows.entries
    cdef bint nulls = view.validity != NULL
    cdef double value
    for row in range(count):
        if nulls and not is_valid(view, rows.first + row):
            continue
        memcpy(&value, values + 8 * row, 8)
        entries[row][place].real += value


cdef void add_wholes(int place, const View* view, const Rows* rows) noexcept nogil:
    cdef const uint8_t* values = view.values + 8 * (view.start + rows.first)
    cdef Py_ssize_t row, count = rows.count
    cdef Word** entries = rows.entries
    cdef bint nulls = view.validity != NULL
    cdef uint64_t value
    for row in range(count):
        if nulls and not is_valid(view, rows.first + row):
            continue
        memcpy(&value, values + 8 * row, 8)
        # Unsigned, as signed overflow is undefined in C.
        entries[row][place].bits += value


cdef void least_reals(int place, const View* view, const Rows* rows) noexcept nogil:
    cdef const uint8_t* values = view.values + 8 * (view.start + rows.first)
    cdef Py_ssize_t row, count = rows.count
    cdef Word** entries = rows.entries
    cdef bint nulls = view.validity != NULL
    cdef double value
    for row in range(count):
        if nulls and not is_valid(view, rows.first + row):
            continue
        memcpy(&value, values + 8 * row, 8)
        if value == value:
            keep_less(&entries[row][place].real, value)


cdef void most_reals(int place, const View* view, const Rows* rows) noexcept nogil:
    cdef const uint8_t* values = view.values + 8 * (view.start + rows.first)
    cdef Py_ssize_t row, count = rows.count
    cdef Word** entries = rows.entries
    cdef bint nulls = view.validity != NULL
    cdef double value
    for row in range(count):
        if nulls and not is_valid(view, rows.first + row):
            continue
        memcpy(&value, values + 8 * row, 8)
        if value == value:
            keep_more(&entries[row][place].real, value)


cdef void least_wholes(int place, const View* view, const Rows* rows) noexcept nogil:
    cdef const uint8_t* values = view.values + 8 * (view.start + rows.first)
    cdef Py_ssize_t row, count = rows.count
    cdef Word** entries = rows.entries
    cdef bint nulls = view.validity != NULL
    cdef int64_t value
    for row in range(count):
        if nulls and not is_valid(view, rows.first + row):
            continue
        memcpy(&value, values + 8 * row, 8)
        entries[row][place].whole = min(entries[row][place].whole, value)


cdef void most_wholes(int place, const View* view, const Rows* rows) noexcept nogil:
    cdef const uint8_t* values = view.values + 8 * (view.start + rows.first)
    cdef Py_ssize_t row, count = rows.count
    cdef Word** entries = rows.entries
    cdef bint nulls = view.validity != NULL
    cdef int64_t value
    for row in range(count):
        if nulls and not is_valid(view, rows.first + row):
            continue
        memcpy(&value, values + 8 * row, 8)
        entries[row][place].whole = max(entries[row][place].whole, value)


cdef inline void keep_less(double* held, double value) noexcept nogil:
    # One instruction: of equal numbers, and of a NaN and a number, it takes the second.
    held[0] = held[0] if held[0] < value else value


cdef inline void keep_more(double* held, double value) noexcept nogil:
    held[0] = held[0] if held[0] > value else value


cdef void fold_moments(const Fold* fold, const View* view, const Rows* rows) noexcept nogil:
    cdef Py_ssize_t row
    cdef Word* moment
    cdef double value, delta
    for row in range(rows.count):
        if not is_valid(view, rows.first + row):
            continue
        moment = rows.entries[row] + fold.moments
        value = float_at(view, rows.first + row)
        moment[COUNT].whole += 1
        delta = value - moment[MEAN].real
        moment[MEAN].real += delta / <double>moment[COUNT].whole
        moment[SQUARES].real += delta * (value - moment[MEAN].real)


cdef void fold_ends(
    const Fold* fold, int place, bint last, bint some, const View* view, const Rows* rows
) noexcept nogil:
    cdef Py_ssize_t row
    cdef Word end[3]
    for row in range(rows.count):
        end[STATE].whole = SOME_VALUE
        end[VALUE].whole = 0
        if is_valid(view, rows.first + row):
            end[VALUE].whole = word_at(view, rows.first + row)
        elif some:
            continue
        else:
            end[STATE].whole = NULL_VALUE
        if rows.times == NULL:
            end[TIME].whole = rows.sequence + rows.first + row
        else:
            memcpy(&end[TIME], rows.times + rows.first + row, 8)
        end_merged(rows.entries[row] + place, end, last, fold.real)


cdef inline void end_merged(Word* held, const Word* other, bint last, bint real) noexcept nogil:
    cdef bint better
    if other[STATE].whole == NOTHING:
        return
    if held[STATE].whole == NOTHING:
        better = True
    elif held[TIME].whole != other[TIME].whole:
        better = (other[TIME].whole > held[TIME].whole) == last
    elif last:
        better = end_before(held, other, real)
    else:
        better = end_before(other, held, real)
    if better:
        memcpy(held, other, 3 * sizeof(Word))


cdef inline bint end_before(const Word* one, const Word* other, bint real) noexcept nogil:
    # Of ends at one time: a null is before all values.
    if one[STATE].whole != other[STATE].whole:
        return one[STATE].whole < other[STATE].whole
    if real:
        return rank(one[VALUE]) < rank(other[VALUE])
    return one[VALUE].whole < other[VALUE].whole


cdef inline int64_t rank(Word number) noexcept nogil:
    # An order of all floats: -0.0 is before 0.0, a NaN is the last.
    if number.real != number.real:
        return INT64_MAX
    return number.whole ^ (number.whole >> 63 & INT64_MAX)


# One entry into another that is before it in time


cdef void merge(const Fold* folds, int count, Word* entry, const Word* other) noexcept nogil:
    cdef const Fold* fold
    cdef int number
    entry[ROWS].whole += other[ROWS].whole
    for number in range(count):
        fold = &folds[number]
        if fold.nulls:
            entry[fold.nulls].whole += other[fold.nulls].whole
        if fold.real:
            merge_reals(fold, entry, other)
        else:
            merge_wholes(fold, entry, other)
        if fold.moments:
            merge_moments(entry + fold.moments, other + fold.moments)
        if fold.first:
            end_merged(entry + fold.first, other + fold.first, False, fold.real)
        if fold.last:
            end_merged(entry + fold.last, other + fold.last, True, fold.real)
        if fold.first_some:
            end_merged(entry + fold.first_some, other + fold.first_some, False, fold.real)
        if fold.last_some:
            end_merged(entry + fold.last_some, other + fold.last_some, True, fold.real)


cdef inline void merge_reals(const Fold* fold, Word* entry, const Word* other) noexcept nogil:
    cdef double value
    if fold.total:
        entry[fold.total].real += other[fold.total].real
    if fold.least:
        value = other[fold.least].real
        if value == value:
            keep_less(&entry[fold.least].real, value)
    if fold.most:
        value = other[fold.most].real
        if value == value:
            keep_more(&entry[fold.most].real, value)


cdef inline void merge_wholes(const Fold* fold, Word* entry, const Word* other) noexcept nogil:
    if fold.total:
        entry[fold.total].bits += other[fold.total].bits
    if fold.least:
        entry[fold.least].whole = min(entry[fold.least].whole, other[fold.least].whole)
    if fold.most:
        entry[fold.most].whole = max(entry[fold.most].whole, other[fold.most].whole)


cdef inline void merge_moments(Word* moment, const Word* other) noexcept nogil:
    cdef double delta, some = <double>moment[COUNT].whole, more = <double>other[COUNT].whole
    if not other[COUNT].whole:
        return
    if not moment[COUNT].whole:
        memcpy(moment, other, 3 * sizeof(Word))
        return
    delta = other[MEAN].real - moment[MEAN].real
    moment[MEAN].real += delta * (more / (some + more))
    moment[SQUARES].real += other[SQUARES].real + delta * delta * (some * more / (some + more))
    moment[COUNT].whole += other[COUNT].whole


# What entries give

cdef enum Gives:
    GIVES_ROWS, GIVES_COUNT, GIVES_TOTAL, GIVES_MEAN, GIVES_LEAST, GIVES_MOST, GIVES_END
    GIVES_VARIANCE, GIVES_DEVIATION


cdef struct Part:
    Gives gives
    int fold
    int place  # of an end
    int ddof


cdef bint ever_null(const Part* part, const Fold* fold) noexcept nogil:
    """Whether what a part gives may be null, by what was folded so far."""
    if part.gives == GIVES_ROWS or part.gives == GIVES_COUNT or part.gives == GIVES_TOTAL:
        return False
    return fold.some_nulls or part.gives >= GIVES_VARIANCE


cdef void read_part(
    const Part* part, const Fold* fold, Word** entries, Py_ssize_t count, Word* values
) noexcept nogil:
    """Write what a part gives for each entry, anything where that is null."""
    cdef Py_ssize_t row
    cdef int place
    cdef Word* moment
    if part.gives == GIVES_ROWS:
        for row in range(count):
            values[row] = entries[row][ROWS]
    elif part.gives == GIVES_COUNT:
        for row in range(count):
            values[row].whole = entries[row][ROWS].whole - entries[row][fold.nulls].whole
    elif part.gives == GIVES_MEAN:
        for row in range(count):
            values[row].real = entries[row][fold.total].real / <double>(
                entries[row][ROWS].whole - entries[row][fold.nulls].whole
            )
    elif part.gives >= GIVES_VARIANCE:
        for row in range(count):
            moment = entries[row] + fold.moments
            values[row].real = moment[SQUARES].real / <double>(moment[COUNT].whole - part.ddof)
            if part.gives == GIVES_DEVIATION:
                values[row].real = sqrt(values[row].real)
    else:
        place = fold.total
        if part.gives == GIVES_LEAST:
            place = fold.least
        elif part.gives == GIVES_MOST:
            place = fold.most
        elif part.gives == GIVES_END:
            place = part.place + VALUE
        for row in range(count):
            values[row] = entries[row][place]


cdef void read_valid(
    const Part* part, const Fold* fold, Word** entries, Py_ssize_t count, uint8_t* valid
) noexcept nogil:
    """Write, of a part that may give null, 1 for each entry of which it does not."""
    cdef Py_ssize_t row
    if part.gives == GIVES_END:
        for row in range(count):
            valid[row] = entries[row][part.place + STATE].whole == SOME_VALUE
    elif part.gives >= GIVES_VARIANCE:
        for row in range(count):
            valid[row] = entries[row][fold.moments + COUNT].whole > part.ddof
    else:
        for row in range(count):
            valid[row] = entries[row][ROWS].whole > entries[row][fold.nulls].whole
