# Days and microseconds since 1970 as dates and times of the proleptic Gregorian calendar, and back.

from libc.stdint cimport int64_t

cdef extern from *:
    """
    #define HEADWATER_MICROS_A_DAY 86400000000LL
    #define HEADWATER_FIRST_MICRO (-62135596800000000LL)
    #define HEADWATER_LAST_MICRO 253402300799999999LL
    """
    const int64_t MICROS_A_DAY "HEADWATER_MICROS_A_DAY"
    const int64_t FIRST_MICRO "HEADWATER_FIRST_MICRO"  # of the year 1
    const int64_t LAST_MICRO "HEADWATER_LAST_MICRO"  # of the year 9999


cdef struct Day:
    # A day, and which it is in the calendar. The years are 1 to 9999.
    int64_t number  # since 1970
    int year
    int month
    int date


cdef inline int64_t number_of(int year, int month, int date) noexcept nogil:
    # Years that begin in March end with the leap day; 400 of them are an era.
    cdef int64_t shifted = year - (month <= 2)
    cdef int64_t era = shifted // 400
    cdef int64_t of_era = shifted - era * 400
    cdef int64_t of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + date - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


cdef inline void turn_to(Day* day, int64_t number) noexcept nogil:
    cdef int64_t shifted = number + 719_468
    cdef int64_t era = shifted // 146_097
    cdef int64_t of_era = shifted - era * 146_097
    cdef int64_t year = (of_era - of_era // 1460 + of_era // 36_524 - of_era // 146_096) // 365
    cdef int64_t of_year = of_era - (365 * year + year // 4 - year // 100)
    cdef int64_t month = (5 * of_year + 2) // 153
    day.number = number
    day.date = <int>(of_year - (153 * month + 2) // 5 + 1)
    day.month = <int>(month + 3 if month < 10 else month - 9)
    day.year = <int>(year + era * 400 + (day.month <= 2))
