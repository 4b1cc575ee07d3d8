// Packed work: SSE2 on doubles and integers, AVX2 on integers, AVX with fused multiplication.
#include "bench.h"

#include <immintrin.h>

enum { n = 128 };
static double a[n][n] __attribute__((aligned(32))), b[n][n] __attribute__((aligned(32))),
    c[n][n] __attribute__((aligned(32)));

static void prepare_matrix(void) {
    uint64_t state = 23;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            a[i][j] = (double)(next_random(&state) >> 50), b[i][j] = (double)(next_random(&state) >> 50);
    }
}

// Small whole numbers: the sums are exact, so every order of adding gives the same.
static uint64_t matrix_sum(void) {
    uint64_t sum = 0;
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j++)
            sum = mix(sum, bits_of(c[i][j]));
    }
    return sum;
}

static uint64_t unit_matrix_sse2(void) {
    for (int i = 0; i < n; i++) {
        for (int j = 0; j < n; j += 2)
            _mm_store_pd(&c[i][j], _mm_setzero_pd());
        for (int k = 0; k < n; k++) {
            __m128d one = _mm_set1_pd(a[i][k]);
            for (int j = 0; j < n; j += 2) {
                _mm_store_pd(&c[i][j], _mm_add_pd(_mm_load_pd(&c[i][j]), _mm_mul_pd(one, _mm_load_pd(&b[k][j]))));
            }
        }
    }
    return matrix_sum();
}

__attribute__((target("avx2,fma"))) static uint64_t unit_matrix_fma(void) {
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < n; j += 32) {
                __m256d sums[8];
#pragma GCC unroll 8
                for (int part = 0; part < 8; part++)
                    sums[part] = _mm256_setzero_pd();
                for (int k = 0; k < n; k++) {
                    __m256d one = _mm256_broadcast_sd(&a[i][k]);
#pragma GCC unroll 8
                    for (int part = 0; part < 8; part++)
                        sums[part] = _mm256_fmadd_pd(one, _mm256_load_pd(&b[k][j + 4 * part]), sums[part]);
                }
#pragma GCC unroll 8
                for (int part = 0; part < 8; part++)
                    _mm256_store_pd(&c[i][j + 4 * part], sums[part]);
            }
        }
    }
    return matrix_sum();
}

// Two pictures of bytes and one of 16-bit samples.
enum { pixels = 1 << 16 };
static uint8_t *picture, *other, *blend;

static void prepare_picture(void) {
    uint64_t state = 37;
    picture = take(pixels);
    other = take(pixels);
    blend = take(pixels);
    for (int i = 0; i < pixels; i++)
        picture[i] = (uint8_t)next_random(&state), other[i] = (uint8_t)(next_random(&state) >> 9);
}

// Blend with saturation, distance of two pictures, a dot product of 16-bit samples, counting and shuffling.
static uint64_t unit_sse2_integer(void) {
    const __m128i zero = _mm_setzero_si128(), bias = _mm_set1_epi8(23);
    __m128i distance = zero, products = zero, counts = zero, folded = zero;
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < pixels; i += 16) {
            __m128i x = _mm_load_si128((const __m128i*)(picture + i)), y = _mm_load_si128((const __m128i*)(other + i));
            __m128i mean = _mm_subs_epu8(_mm_adds_epu8(_mm_avg_epu8(x, y), bias), _mm_min_epu8(x, y));
            _mm_store_si128((__m128i*)(blend + i), mean);
            distance = _mm_add_epi64(distance, _mm_sad_epu8(x, y));
            __m128i low = _mm_unpacklo_epi8(x, zero), high = _mm_unpackhi_epi8(y, zero);
            products = _mm_add_epi32(products, _mm_madd_epi16(low, high));
            counts = _mm_sub_epi8(counts, _mm_cmpeq_epi8(mean, x));
            __m128i turned = _mm_or_si128(_mm_slli_epi32(mean, 5), _mm_srli_epi32(mean, 27));
            folded = _mm_add_epi32(_mm_xor_si128(folded, _mm_shuffle_epi32(turned, 0x39)), _mm_packus_epi16(low, high));
        }
    }
    uint64_t parts[8], sum = 0;
    _mm_storeu_si128((__m128i*)&parts[0], distance);
    _mm_storeu_si128((__m128i*)&parts[2], products);
    _mm_storeu_si128((__m128i*)&parts[4], counts);
    _mm_storeu_si128((__m128i*)&parts[6], folded);
    for (int i = 0; i < 8; i++)
        sum = mix(sum, parts[i]);
    return sum;
}

// The same kinds of work, 32 bytes wide, with AVX2's own shuffles, shifts by variables and gathers.
__attribute__((target("avx2"))) static uint64_t unit_avx2_integer(void) {
    const __m256i zero = _mm256_setzero_si256(), shifts = _mm256_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15);
    const __m256i order = _mm256_setr_epi32(7, 2, 5, 0, 3, 6, 1, 4), nibble = _mm256_set1_epi8(15);
    const __m256i bits = _mm256_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4, 0, 1, 1, 2, 1, 2, 2, 3, 1, 2,
                                          2, 3, 2, 3, 3, 4);
    __m256i distance = zero, ones = zero, folded = zero, gathered = zero;
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < pixels; i += 32) {
            __m256i x = _mm256_load_si256((const __m256i*)(picture + i)),
                    y = _mm256_load_si256((const __m256i*)(other + i));
            distance = _mm256_add_epi64(distance, _mm256_sad_epu8(x, y));
            __m256i low = _mm256_shuffle_epi8(bits, _mm256_and_si256(x, nibble));
            __m256i high = _mm256_shuffle_epi8(bits, _mm256_and_si256(_mm256_srli_epi16(x, 4), nibble));
            ones = _mm256_add_epi64(ones, _mm256_sad_epu8(_mm256_add_epi8(low, high), zero));
            __m256i mixed = _mm256_add_epi32(_mm256_mullo_epi32(x, y), _mm256_sllv_epi32(y, shifts));
            folded = _mm256_permutevar8x32_epi32(_mm256_xor_si256(folded, mixed), order);
            if (i % 256 == 0) {
                __m256i places = _mm256_srli_epi32(_mm256_and_si256(folded, _mm256_set1_epi32(pixels - 4)), 2);
                gathered = _mm256_add_epi32(gathered, _mm256_i32gather_epi32((const int*)picture, places, 4));
            }
            _mm256_store_si256((__m256i*)(blend + i), _mm256_blendv_epi8(x, y, mixed));
        }
    }
    uint64_t parts[16], sum = 0;
    _mm256_storeu_si256((__m256i*)&parts[0], distance);
    _mm256_storeu_si256((__m256i*)&parts[4], ones);
    _mm256_storeu_si256((__m256i*)&parts[8], folded);
    _mm256_storeu_si256((__m256i*)&parts[12], gathered);
    for (int i = 0; i < 16; i++)
        sum = mix(sum, parts[i]);
    return sum;
}

const struct workload vector_workloads[] = {
    {"matmul_sse2", 35, prepare_matrix, unit_matrix_sse2, NULL},
    {"sse2_int", 1700, prepare_picture, unit_sse2_integer, NULL},
    {"avx2_int", 350, prepare_picture, unit_avx2_integer, "avx2"},
    {"avx2_fma", 27, prepare_matrix, unit_matrix_fma, "fma"},
    {NULL, 0, NULL, NULL, NULL},
};
