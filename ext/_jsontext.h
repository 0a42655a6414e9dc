/* The tokens of JSON text (RFC 8259), read strictly.

   Text is handed over with HW_PADDING readable bytes after its last, which is followed by a stop:
   a line feed, or 0 where line feeds may be white space. No token holds a stop, so no function
   here goes past one; blocks of bytes are loaded past it and looked at only up to it. */

#ifndef HEADWATER_JSONTEXT_H
#define HEADWATER_JSONTEXT_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__SSE2__) && !defined(HW_PLAIN)
#include <emmintrin.h>
#endif

#include "_numbers.h"

#define HW_PADDING 64
#define HW_DEEPEST 64

typedef struct {
    const uint8_t* at; /* the first byte after the quote */
    size_t size;       /* bytes between the quotes */
    uint8_t wide;      /* some bytes are not ASCII */
    uint8_t escaped;   /* there are escapes, all of them well formed */
} hw_text;

static inline const uint8_t* hw_spaces(const uint8_t* p, int feeds) {
    if (*p > ' ') return p;
    while (*p == ' ' || *p == '\t' || *p == '\r' || (feeds && *p == '\n')) p++;
    return p;
}

/* Go on to the first quote, backslash or control character; `wide` tells of bytes before it. */
static inline const uint8_t* hw_ordinary(const uint8_t* p, uint8_t* wide) {
#if defined(__SSE2__) && !defined(HW_PLAIN)
    const __m128i quote = _mm_set1_epi8('"'), slash = _mm_set1_epi8('\\');
    const __m128i last = _mm_set1_epi8(0x1F);
    for (;;) {
        __m128i block = _mm_loadu_si128((const __m128i*)p);
        __m128i stops = _mm_or_si128(
            _mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, slash)),
            _mm_cmpeq_epi8(_mm_min_epu8(block, last), block));
        unsigned stop = (unsigned)_mm_movemask_epi8(stops);
        unsigned high = (unsigned)_mm_movemask_epi8(block);
        if (stop) {
            *wide |= (high & (stop - 1) & ~stop) != 0;
            return p + __builtin_ctz(stop);
        }
        *wide |= high != 0;
        p += 16;
    }
#else
    while (*p != '"' && *p != '\\' && *p >= 0x20) *wide |= *p++ >> 7;
    return p;
#endif
}

static inline int hw_hex(uint8_t byte) {
    if (hw_is_digit(byte)) return byte - '0';
    byte |= 0x20;
    return byte >= 'a' && byte <= 'f' ? byte - 'a' + 10 : -1;
}

/* The escape at `p`, a backslash; its end, or NULL. */
static inline const uint8_t* hw_escape(const uint8_t* p) {
    int i;
    switch (p[1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't':
        return p + 2;
    case 'u':
        for (i = 2; i < 6; i++)
            if (hw_hex(p[i]) < 0) return NULL;
        return p + 6;
    }
    return NULL;
}

static int hw_is_utf8(const uint8_t* p, const uint8_t* end) {
    while (p < end) {
        uint8_t lead = *p;
        int more;
        uint32_t code;
        if (lead < 0x80) {
            p++;
            continue;
        }
        if (lead < 0xC2 || lead > 0xF4) return 0;
        more = lead < 0xE0 ? 1 : lead < 0xF0 ? 2 : 3;
        if (end - p <= more) return 0;
        code = lead & (0x3F >> more);
        for (p++; more; more--, p++) {
            if ((*p & 0xC0) != 0x80) return 0;
            code = code << 6 | (*p & 0x3F);
        }
        if (lead >= 0xE0 && (code < (lead < 0xF0 ? 0x800u : 0x10000u) || code > 0x10FFFF ||
                             (code >= 0xD800 && code <= 0xDFFF)))
            return 0;
    }
    return 1;
}

/* The string at `p`, a quote; what follows it, or NULL. Bytes that are not ASCII are UTF-8. */
static inline const uint8_t* hw_string(const uint8_t* p, hw_text* out) {
    out->at = ++p;
    out->wide = out->escaped = 0;
    for (;;) {
        p = hw_ordinary(p, &out->wide);
        if (*p == '"') break;
        if (*p != '\\') return NULL;
        p = hw_escape(p);
        if (p == NULL) return NULL;
        out->escaped = 1;
    }
    out->size = (size_t)(p - out->at);
    if (out->wide && !hw_is_utf8(out->at, p)) return NULL;
    return p + 1;
}

static inline uint32_t hw_unit(const uint8_t* p) {
    return (uint32_t)(hw_hex(p[2]) << 12 | hw_hex(p[3]) << 8 | hw_hex(p[4]) << 4 | hw_hex(p[5]));
}

static inline uint8_t* hw_put(uint8_t* out, uint32_t code) {
    if (code < 0x80) {
        *out++ = (uint8_t)code;
    } else if (code < 0x800) {
        *out++ = (uint8_t)(0xC0 | code >> 6);
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    } else {
        if (code < 0x10000) {
            *out++ = (uint8_t)(0xE0 | code >> 12);
        } else {
            *out++ = (uint8_t)(0xF0 | code >> 18);
            *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        }
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    }
    return out;
}

/* Write what a string stands for, which has no more bytes than it; their number, or -1 for half
   of a surrogate pair. `out` may be NULL. */
static ptrdiff_t hw_unescape(const hw_text* text, uint8_t* out) {
    static const char codes[] = "bfnrt", stand[] = "\b\f\n\r\t";
    const uint8_t *p = text->at, *end = p + text->size;
    uint8_t *first = out, room[4];
    ptrdiff_t size = 0;
    while (p < end) {
        uint32_t code, low;
        const char* found;
        if (*p != '\\') {
            if (first) *out++ = *p;
            p++;
            size++;
            continue;
        }
        if (p[1] != 'u') {
            found = strchr(codes, p[1]);
            code = found ? (uint32_t)stand[found - codes] : p[1];
            p += 2;
        } else {
            code = hw_unit(p);
            p += 6;
            if (code >= 0xD800 && code < 0xE000) {
                if (code >= 0xDC00 || end - p < 6 || p[0] != '\\' || p[1] != 'u') return -1;
                low = hw_unit(p);
                if (low < 0xDC00 || low > 0xDFFF) return -1;
                code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                p += 6;
            }
        }
        if (first)
            out = hw_put(out, code);
        else
            size += hw_put(room, code) - room;
    }
    return first ? out - first : size;
}

/* A literal, a string or a number at `p`; what follows it, or NULL. */
static const uint8_t* hw_skip_scalar(const uint8_t* p) {
    hw_decimal number;
    hw_text text;
    switch (*p) {
    case '"':
        p = hw_string(p, &text);
        return p == NULL || (text.escaped && hw_unescape(&text, NULL) < 0) ? NULL : p;
    case 't':
        return memcmp(p, "true", 4) == 0 ? p + 4 : NULL;
    case 'f':
        return memcmp(p, "false", 5) == 0 ? p + 5 : NULL;
    case 'n':
        return memcmp(p, "null", 4) == 0 ? p + 4 : NULL;
    }
    return hw_number(p, &number);
}

/* Any value at `p`; what follows it, or NULL, and then `fault` is the token that is wrong. */
static const uint8_t* hw_skip(const uint8_t* p, int feeds, const uint8_t** fault) {
    uint64_t objects = 0; /* one bit for each bracket that is open: is it a brace? */
    int depth = 0, object;
    const uint8_t* next;
    for (;;) {
        *fault = p;
        if (*p == '{' || *p == '[') { /* a value begins */
            if (depth == HW_DEEPEST) return NULL;
            object = *p == '{';
            objects = objects << 1 | (uint64_t)object;
            depth++;
            p = hw_spaces(p + 1, feeds);
            if (*p != (object ? '}' : ']')) {
                if (!object) continue;
                goto key;
            }
        } else {
            p = hw_skip_scalar(p);
            if (p == NULL) return NULL;
            if (depth == 0) return p;
            p = hw_spaces(p, feeds);
        }
        for (;;) { /* a value has ended, or brackets without one */
            object = (int)(objects & 1);
            *fault = p;
            if (*p == ',') {
                p = hw_spaces(p + 1, feeds);
                break;
            }
            if (*p != (object ? '}' : ']')) return NULL;
            p++;
            objects >>= 1;
            if (--depth == 0) return p;
            p = hw_spaces(p, feeds);
        }
        if (!object) continue;
    key:
        *fault = p;
        if (*p != '"') return NULL;
        next = hw_skip_scalar(p);
        if (next == NULL) return NULL;
        p = hw_spaces(next, feeds);
        *fault = p;
        if (*p != ':') return NULL;
        p = hw_spaces(p + 1, feeds);
    }
}

#endif
