# Days, moments, times of day and durations as JSON texts; the `Column` they are of, and `PAIRS`, are
# in `_jsonencoding.pyx`, which includes this.

cdef int64_t FIRST = -9_223_371_976_854_775_808  # from it on, the minute of a moment has a start


cdef inline void put_two(uint8_t* out, uint64_t number) noexcept nogil:
    memcpy(out, &PAIRS[2 * number], 2)


cdef inline void put_three(uint8_t* out, uint64_t number) noexcept nogil:
    out[0] = c"0" + <uint8_t>(number // 100)
    put_two(out + 1, number % 100)


cdef inline int64_t floor_divided(int64_t number, int64_t by) noexcept nogil:
    return number // by - (number % by < 0)


cdef inline uint8_t* write_moment(Column* column, int64_t moment, uint8_t* out) noexcept nogil:
    cdef uint64_t rest = <uint64_t>moment - column.minute
    if rest >= 60 * column.unit or moment < FIRST:
        rest = turn(column, moment)
    rest *= column.nanoseconds
    memcpy(out, column.shown, 32)
    out += column.shown_size
    put_two(out - 2, rest // SECOND)
    out = write_fraction(rest % SECOND, out)
    if column.kind == UTC:
        memcpy(out, b'+00:00"', 8)
        return out + 7
    out[0] = c'"'
    return out + 1


cdef uint64_t turn(Column* column, int64_t moment) noexcept nogil:
    """Show the minute of this moment; what is left of the moment."""
    cdef int64_t minutes = floor_divided(moment, 60 * column.unit)
    cdef int64_t day = floor_divided(minutes, 1440)
    cdef uint64_t rest
    if day != column.day:
        show_day(column, day)
    put_time(&column.shown[column.shown_size - 8], (minutes - day * 1440) * 60)
    column.minute = <uint64_t>minutes * 60 * column.unit
    rest = <uint64_t>moment - column.minute
    if moment < FIRST:
        column.minute = <uint64_t>1 << 63
    return rest


cdef void show_day(Column* column, int64_t day) noexcept nogil:
    """Show a day, counted from 1970, of the Gregorian calendar without end in both directions."""
    # Counted from a 1 March, leap days come last: in 4 centuries, in a century, in 4 years.
    cdef int64_t since = day + 719_468
    cdef int64_t era = floor_divided(since, 146_097)
    cdef int64_t left = since - era * 146_097
    cdef int64_t years = (left - left // 1460 + left // 36_524 - left // 146_096) // 365
    left -= 365 * years + years // 4 - years // 100
    cdef int64_t month = (5 * left + 2) // 153
    cdef int64_t year = years + 400 * era + (month >= 10)
    cdef uint8_t* out = column.shown
    column.day = day
    if not 0 <= year <= 9999:
        out[0] = b"-" if year < 0 else b"+"
        out += 1
        year = year if year > 0 else -year
    if year < 10_000:
        put_two(out, year // 100)
        put_two(out + 2, year % 100)
        out += 4
    else:
        out = write_natural(out, year)
    out[0] = out[3] = b"-"
    put_two(out + 1, month + 3 if month < 10 else month - 9)
    put_two(out + 4, left - (153 * month + 2) // 5 + 1)
    out[6] = b"T" if column.kind == UTC else b" "
    column.shown_size = out + 15 - column.shown


cdef inline void put_time(uint8_t* out, uint64_t second) noexcept nogil:
    put_two(out, second // 3600)
    put_two(out + 3, second // 60 % 60)
    put_two(out + 6, second % 60)
    out[2] = out[5] = b":"


cdef inline uint8_t* write_fraction(uint64_t nanoseconds, uint8_t* out) noexcept nogil:
    """Write 3, 6 or 9 places, whichever is exact, or nothing."""
    if nanoseconds == 0:
        return out
    out[0] = b"."
    put_three(out + 1, nanoseconds // 1_000_000)
    if nanoseconds % 1_000_000 == 0:
        return out + 4
    put_three(out + 4, nanoseconds // 1000 % 1000)
    if nanoseconds % 1000 == 0:
        return out + 7
    put_three(out + 7, nanoseconds % 1000)
    return out + 10


cdef uint8_t* write_date(Column* column, int64_t day, uint8_t* out) noexcept nogil:
    if day != column.day:
        show_day(column, day)
    memcpy(out, column.shown, 32)
    out += column.shown_size - 9
    out[0] = b'"'
    return out + 1


cdef uint8_t* write_time(uint64_t nanoseconds, uint8_t* out) noexcept nogil:
    if nanoseconds >= 86_400 * <uint64_t>SECOND:
        return write_null(out, TIME)
    put_time(out, nanoseconds // SECOND)
    out = write_fraction(nanoseconds % SECOND, out + 8)
    out[0] = b'"'
    return out + 1


cdef uint8_t* write_duration(Column* column, int64_t length, uint8_t* out) noexcept nogil:
    cdef uint64_t units = -<uint64_t>length if length < 0 else <uint64_t>length
    cdef uint64_t rest = units % column.unit * column.nanoseconds
    if length == 0:
        memcpy(out, b'P0D"', 4)
        return out + 4
    out[0] = b"-"
    out += length < 0
    memcpy(out, b"PT", 2)
    out = write_fraction(rest, write_natural(out + 2, units // column.unit))
    while rest and (out - 1)[0] == c"0":
        out -= 1
    memcpy(out, b'S"', 2)
    return out + 2
