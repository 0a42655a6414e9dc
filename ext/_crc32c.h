/* CRC32C (Castagnoli; RFC 3720, appendix B.4) by the best way that the processor has.
 *
 * soft      slicing by eight: Kounavis and Berry, "Novel table lookup-based algorithms for
 *           high-performance CRC generation", IEEE Transactions on Computers 57 (2008)
 * hardware  three interleaved streams of the instruction of SSE4.2 or ARMv8, joined by tables:
 *           Gopal et al., "Fast CRC computation for iSCSI polynomial using CRC32 instruction",
 *           Intel (2011)
 * folding   carry-less products of four 512-bit accumulators (VPCLMULQDQ): Gopal et al., "Fast CRC
 *           computation for generic polynomials using PCLMULQDQ instruction", Intel (2009)
 *
 * `crc32c_setup` is called once, before anything else. Polynomials are reflected: bit 31 is x^0.
 */
#ifndef HEADWATER_CRC32C_H
#define HEADWATER_CRC32C_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CRC32C_POLYNOMIAL 0x82F63B78u
#define CRC32C_LONG 4096 /* bytes of each of the three streams, while there are so many */
#define CRC32C_SHORT 256

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#if defined(__clang__) && __clang_major__ >= 14 /* which counts it apart from SSE4.2 */
#define CRC32C_SSE42 "sse4.2,crc32"
#else
#define CRC32C_SSE42 "sse4.2"
#endif
#define CRC32C_TARGET __attribute__((target(CRC32C_SSE42)))
#define CRC32C_WORD(crc, word) ((uint32_t)_mm_crc32_u64((crc), (word)))
#define CRC32C_BYTE(crc, byte) _mm_crc32_u8((crc), (byte))
#define CRC32C_AVX512 \
    __attribute__((target("avx512f,avx512vl,avx512bw,vpclmulqdq,pclmul," CRC32C_SSE42)))
#elif defined(__aarch64__) && defined(__ARM_FEATURE_CRC32) && defined(__ARM_ACLE)
#include <arm_acle.h>
#define CRC32C_TARGET
#define CRC32C_WORD(crc, word) __crc32cd((crc), (word))
#define CRC32C_BYTE(crc, byte) __crc32cb((crc), (byte))
#elif defined(__aarch64__) && defined(__linux__) && defined(__GNUC__)
/* What compilers build for by default lacks the instruction; most boards have it. */
#include <sys/auxv.h>
#define CRC32C_ASK_KERNEL 1
#define CRC32C_TARGET
static inline uint32_t crc32c_arm_word(uint32_t crc, uint64_t word)
{
    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w0, %x1" : "+r"(crc) : "r"(word));
    return crc;
}
static inline uint32_t crc32c_arm_byte(uint32_t crc, uint8_t byte)
{
    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w0, %w1" : "+r"(crc) : "r"((uint32_t)byte));
    return crc;
}
#define CRC32C_WORD(crc, word) crc32c_arm_word((crc), (word))
#define CRC32C_BYTE(crc, byte) crc32c_arm_byte((crc), (byte))
#endif

/* Takes and gives the register, that is the complement of the checksum. */
typedef uint32_t (*crc32c_way)(uint32_t crc, const uint8_t *data, size_t size);

static uint32_t crc32c_slices[8][256];
static crc32c_way crc32c_chosen;

/* a times b modulo the polynomial. */
static uint32_t crc32c_times(uint32_t a, uint32_t b)
{
    uint32_t product = 0;
    for (uint32_t bit = 0x80000000u; bit; bit >>= 1) {
        if (a & bit)
            product ^= b;
        b = b & 1 ? (b >> 1) ^ CRC32C_POLYNOMIAL : b >> 1;
    }
    return product;
}

/* x to the power of n modulo the polynomial. */
static uint32_t crc32c_power(uint64_t n)
{
    uint32_t power = 0x80000000u, square = 0x40000000u;
    for (; n; n >>= 1) {
        if (n & 1)
            power = crc32c_times(square, power);
        square = crc32c_times(square, square);
    }
    return power;
}

/* What each byte becomes, standing `place` bytes up in a register, when times `factor`. */
static void crc32c_fill(uint32_t table[256], int place, uint32_t factor)
{
    table[0] = 0;
    for (uint32_t byte = 1; byte < 256; byte++) {
        const uint32_t rest = byte & (byte - 1); /* products add, so bits are taken one by one */
        table[byte] = rest ? table[rest] ^ table[byte ^ rest]
                           : crc32c_times(byte << (8 * place), factor);
    }
}

static uint32_t crc32c_soft(uint32_t crc, const uint8_t *data, size_t size)
{
    for (; size >= 8; data += 8, size -= 8)
        crc = crc32c_slices[7][(crc ^ data[0]) & 255] ^
              crc32c_slices[6][((crc >> 8) ^ data[1]) & 255] ^
              crc32c_slices[5][((crc >> 16) ^ data[2]) & 255] ^
              crc32c_slices[4][(crc >> 24) ^ data[3]] ^ crc32c_slices[3][data[4]] ^
              crc32c_slices[2][data[5]] ^ crc32c_slices[1][data[6]] ^ crc32c_slices[0][data[7]];
    for (; size; data++, size--)
        crc = crc32c_slices[0][(crc ^ *data) & 255] ^ (crc >> 8);
    return crc;
}

#ifdef CRC32C_WORD

/* What a register becomes when so many zero bytes follow, by each of its four bytes. */
static uint32_t crc32c_after_long[4][256], crc32c_after_short[4][256];

static void crc32c_shift_setup(uint32_t shift[4][256], size_t bytes)
{
    for (int place = 0; place < 4; place++)
        crc32c_fill(shift[place], place, crc32c_power(8 * (uint64_t)bytes));
}

static inline uint32_t crc32c_shifted(uint32_t shift[4][256], uint32_t crc)
{
    return shift[0][crc & 255] ^ shift[1][(crc >> 8) & 255] ^ shift[2][(crc >> 16) & 255] ^
           shift[3][crc >> 24];
}

static inline uint64_t crc32c_load(const uint8_t *data)
{
    uint64_t word;
    memcpy(&word, data, 8);
    return word;
}

CRC32C_TARGET static uint32_t crc32c_single(uint32_t crc, const uint8_t *data, size_t size)
{
    for (; size >= 8; data += 8, size -= 8)
        crc = CRC32C_WORD(crc, crc32c_load(data));
    for (; size; data++, size--)
        crc = CRC32C_BYTE(crc, *data);
    return crc;
}

CRC32C_TARGET static uint32_t crc32c_three(uint32_t crc, const uint8_t *data, size_t stride,
                                           uint32_t shift[4][256])
{
    uint32_t second = 0, third = 0;
    for (const uint8_t *end = data + stride; data < end; data += 8) {
        crc = CRC32C_WORD(crc, crc32c_load(data));
        second = CRC32C_WORD(second, crc32c_load(data + stride));
        third = CRC32C_WORD(third, crc32c_load(data + 2 * stride));
    }
    crc = crc32c_shifted(shift, crc) ^ second;
    return crc32c_shifted(shift, crc) ^ third;
}

CRC32C_TARGET static uint32_t crc32c_hardware(uint32_t crc, const uint8_t *data, size_t size)
{
    for (; size >= 3 * CRC32C_LONG; data += 3 * CRC32C_LONG, size -= 3 * CRC32C_LONG)
        crc = crc32c_three(crc, data, CRC32C_LONG, crc32c_after_long);
    for (; size >= 3 * CRC32C_SHORT; data += 3 * CRC32C_SHORT, size -= 3 * CRC32C_SHORT)
        crc = crc32c_three(crc, data, CRC32C_SHORT, crc32c_after_short);
    return crc32c_single(crc, data, size);
}

#endif

#ifdef CRC32C_AVX512

/* Multipliers that carry 128 bits forward by 256, 64 and 16 bytes: first their low half's. */
static uint64_t crc32c_by_256[2], crc32c_by_64[2], crc32c_by_16[2];

static void crc32c_fold_setup(uint64_t factor[2], uint64_t bytes)
{
    factor[0] = (uint64_t)crc32c_power(8 * bytes + 32) << 1;
    factor[1] = (uint64_t)crc32c_power(8 * bytes - 32) << 1;
}

CRC32C_AVX512 static inline __m512i crc32c_factor(const uint64_t factor[2])
{
    return _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)factor));
}

CRC32C_AVX512 static inline __m512i crc32c_fold(__m512i sum, __m512i factor, __m512i next)
{
    const __m512i low = _mm512_clmulepi64_epi128(sum, factor, 0x00);
    const __m512i high = _mm512_clmulepi64_epi128(sum, factor, 0x11);
    return _mm512_ternarylogic_epi64(low, high, next, 0x96); /* exclusive or of the three */
}

CRC32C_AVX512 static inline uint32_t crc32c_lanes(__m512i sum)
{
    const __m128i by = _mm_loadu_si128((const __m128i *)crc32c_by_16);
    __m128i lanes[4];
    _mm512_storeu_si512(lanes, sum);
    for (int lane = 0; lane < 3; lane++) {
        const __m128i low = _mm_clmulepi64_si128(lanes[lane], by, 0x00);
        const __m128i high = _mm_clmulepi64_si128(lanes[lane], by, 0x11);
        lanes[lane + 1] = _mm_xor_si128(lanes[lane + 1], _mm_xor_si128(low, high));
    }
    const uint32_t crc = CRC32C_WORD(0, (uint64_t)_mm_cvtsi128_si64(lanes[3]));
    return CRC32C_WORD(crc, (uint64_t)_mm_extract_epi64(lanes[3], 1));
}

CRC32C_AVX512 static uint32_t crc32c_folding(uint32_t crc, const uint8_t *data, size_t size)
{
    if (size < 256)
        return crc32c_single(crc, data, size);
    __m512i by = crc32c_factor(crc32c_by_256);
    __m512i a = _mm512_loadu_si512(data), b = _mm512_loadu_si512(data + 64);
    __m512i c = _mm512_loadu_si512(data + 128), d = _mm512_loadu_si512(data + 192);
    a = _mm512_xor_si512(a, _mm512_zextsi128_si512(_mm_cvtsi32_si128((int)crc)));
    for (data += 256, size -= 256; size >= 256; data += 256, size -= 256) {
        a = crc32c_fold(a, by, _mm512_loadu_si512(data));
        b = crc32c_fold(b, by, _mm512_loadu_si512(data + 64));
        c = crc32c_fold(c, by, _mm512_loadu_si512(data + 128));
        d = crc32c_fold(d, by, _mm512_loadu_si512(data + 192));
    }
    by = crc32c_factor(crc32c_by_64);
    d = crc32c_fold(crc32c_fold(crc32c_fold(a, by, b), by, c), by, d);
    for (; size >= 64; data += 64, size -= 64)
        d = crc32c_fold(d, by, _mm512_loadu_si512(data));
    return crc32c_single(crc32c_lanes(d), data, size);
}

#endif

/* The way of that name, or NULL where the processor or the compiler does not have it. */
static crc32c_way crc32c_named(const char *name)
{
    if (!strcmp(name, "soft"))
        return crc32c_soft;
#if defined(__x86_64__) && defined(CRC32C_WORD)
    __builtin_cpu_init();
    if (!strcmp(name, "hardware") && __builtin_cpu_supports("sse4.2"))
        return crc32c_hardware;
    if (!strcmp(name, "folding") && __builtin_cpu_supports("vpclmulqdq") &&
        __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("sse4.2"))
        return crc32c_folding;
#elif defined(CRC32C_ASK_KERNEL)
    if (!strcmp(name, "hardware") && getauxval(AT_HWCAP) & (1 << 7)) /* HWCAP_CRC32 */
        return crc32c_hardware;
#elif defined(CRC32C_WORD)
    if (!strcmp(name, "hardware"))
        return crc32c_hardware;
#endif
    return NULL;
}

static void crc32c_setup(void)
{
    for (int slice = 0; slice < 8; slice++)
        crc32c_fill(crc32c_slices[slice], 0, crc32c_power(8 * (uint64_t)(slice + 1)));
#ifdef CRC32C_WORD
    crc32c_shift_setup(crc32c_after_long, CRC32C_LONG);
    crc32c_shift_setup(crc32c_after_short, CRC32C_SHORT);
#endif
#ifdef CRC32C_AVX512
    crc32c_fold_setup(crc32c_by_256, 256);
    crc32c_fold_setup(crc32c_by_64, 64);
    crc32c_fold_setup(crc32c_by_16, 16);
#endif
    crc32c_chosen = crc32c_named("folding");
    if (!crc32c_chosen)
        crc32c_chosen = crc32c_named("hardware");
    if (!crc32c_chosen)
        crc32c_chosen = crc32c_soft;
}

/* The checksum of `size` bytes that follow what has the checksum `start` (0: nothing). */
static inline uint32_t crc32c_of(uint32_t start, const uint8_t *data, size_t size)
{
    return ~crc32c_chosen(~start, data, size);
}

#endif
