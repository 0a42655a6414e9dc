/* Dates and times in text (ISO 8601) and as numbers since 1970; they read no byte past `size`. */

#ifndef HEADWATER_ISOTIME_H
#define HEADWATER_ISOTIME_H

#include <stddef.h>
#include <stdint.h>

static inline int hw_two(const uint8_t* p) {
    uint8_t tens = (uint8_t)(p[0] - '0'), ones = (uint8_t)(p[1] - '0');
    return tens < 10 && ones < 10 ? tens * 10 + ones : -1;
}

/* "YYYY-MM-DD" of the years 1000 to 2999 as days since 1970. */
static int hw_date(const uint8_t* p, size_t size, int64_t* days) {
    static const uint8_t lengths[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    int century, years, month, day, year, leap, shifted;
    if (size != 10 || p[4] != '-' || p[7] != '-') return 0;
    century = hw_two(p);
    years = hw_two(p + 2);
    month = hw_two(p + 5);
    day = hw_two(p + 8);
    if (century < 10 || century > 29 || years < 0 || month < 1 || month > 12 || day < 1) return 0;
    year = century * 100 + years;
    leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    if (day > lengths[month - 1] + (month == 2 && leap)) return 0;
    /* Counted from March, a leap day is the last of a year. */
    shifted = year - (month < 3);
    *days = 365 * (int64_t)shifted + shifted / 4 - shifted / 100 + shifted / 400 +
            (153 * (month + (month < 3 ? 9 : -3)) + 2) / 5 + day - 719469;
    return 1;
}

/* "HH:MM:SS", perhaps with a point and 1 to 6 digits, as µs; how many bytes, or 0. */
static size_t hw_clock(const uint8_t* p, size_t size, int64_t* micros) {
    int hour, minute, second;
    int64_t fraction = 0, unit = 1000000;
    size_t at = 8;
    if (size < 8 || p[2] != ':' || p[5] != ':') return 0;
    hour = hw_two(p);
    minute = hw_two(p + 3);
    second = hw_two(p + 6);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59) return 0;
    if (size > 8 && p[8] == '.') {
        for (at = 9; at < size && (uint8_t)(p[at] - '0') < 10 && unit > 1; at++) {
            unit /= 10;
            fraction += (p[at] - '0') * unit;
        }
        if (at == 9) return 0;
    }
    *micros = ((hour * 60 + minute) * 60 + second) * (int64_t)1000000 + fraction;
    return at;
}

/* A date, "T" or a space, a time, "Z" or an offset such as "+05:30", as µs since 1970. */
static int hw_instant(const uint8_t* p, size_t size, int64_t* micros) {
    int64_t days, clock;
    size_t used;
    int hours, minutes;
    if (size < 20 || (p[10] != 'T' && p[10] != ' ') || !hw_date(p, 10, &days)) return 0;
    used = hw_clock(p + 11, size - 11, &clock);
    if (used == 0) return 0;
    p += 11 + used;
    size -= 11 + used;
    *micros = days * 86400000000 + clock;
    if (size == 1 && *p == 'Z') return 1;
    if (size != 6 || (*p != '+' && *p != '-') || p[3] != ':') return 0;
    hours = hw_two(p + 1);
    minutes = hw_two(p + 4);
    if (hours < 0 || hours > 13 || minutes < 0 || minutes > 59) return 0;
    *micros -= (*p == '-' ? -1 : 1) * (hours * 60 + minutes) * (int64_t)60000000;
    return 1;
}

#endif
