// Integer work in registers and small tables: sorting, checksums, long arithmetic, divisions.
#include "bench.h"

#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

enum { sort_count = 60000 };
static uint64_t *sort_input, *sort_values;

static void prepare_sort(void) {
    uint64_t state = 42;
    sort_input = take(sort_count * sizeof *sort_input);
    sort_values = take(sort_count * sizeof *sort_values);
    for (size_t i = 0; i < sort_count; i++)
        sort_input[i] = next_random(&state);
}

static int compare(const void* a, const void* b) {
    uint64_t x = *(const uint64_t*)a, y = *(const uint64_t*)b;
    return (x > y) - (x < y);
}

// The C library's sort: calls through a pointer, unpredictable branches.
static uint64_t unit_sort(void) {
    uint64_t sum = 0;
    memcpy(sort_values, sort_input, sort_count * sizeof *sort_values);
    qsort(sort_values, sort_count, sizeof *sort_values, compare);
    for (size_t i = 0; i < sort_count; i += 97)
        sum = mix(sum, sort_values[i]);
    return sum;
}

enum { crc_size = 1 << 20 };
static uint32_t crc_table[256];
static uint8_t* crc_data;

static void prepare_crc(void) {
    uint64_t state = 3;
    crc_data = take(crc_size);
    for (uint32_t i = 0; i < 256; i++) {
        crc_table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            crc_table[i] = crc_table[i] >> 1 ^ (crc_table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < crc_size; i++)
        crc_data[i] = (uint8_t)next_random(&state);
}

// CRC-32 by table, a byte at a time: a chain of dependent loads.
static uint64_t unit_crc(void) {
    uint32_t crc = ~0u;
    for (size_t i = 0; i < crc_size; i++)
        crc = crc >> 8 ^ crc_table[(crc ^ crc_data[i]) & 0xff];
    return ~crc;
}

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t sha256_k[64];

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2), found here
// rather than listed: the root r of p << 96 is 2^32 times the real one.
static void prepare_sha256(void) {
    int found = 0;
    for (uint32_t p = 2; found < 64; p++) {
        int prime = 1;
        for (uint32_t d = 2; d * d <= p; d++)
            prime &= p % d != 0;
        if (!prime) continue;
        unsigned __int128 low = 0, high = (unsigned __int128)8 << 32;
        while (high - low > 1) {
            unsigned __int128 middle = (low + high) / 2;
            if (middle * middle * middle <= (unsigned __int128)p << 96)
                low = middle;
            else
                high = middle;
        }
        sha256_k[found++] = (uint32_t)low;
    }
}

// SHA-256 blocks: rotates, adds and logic on registers.
static uint64_t unit_sha256(void) {
    enum { blocks = 12000 };
    uint32_t w[64], h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    for (uint32_t block = 0; block < blocks; block++) {
        for (int i = 0; i < 16; i++)
            w[i] = block * 2654435761u + (uint32_t)i * 40503u;
        for (int i = 16; i < 64; i++) {
            uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
            uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
        for (int i = 0; i < 64; i++) {
            uint32_t t1 =
                last + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + sha256_k[i] + w[i];
            uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            last = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += last;
    }
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++)
        sum = mix(sum, h[i]);
    return sum;
}

// Long multiplication: chains of MUL, ADD and ADC over 2048-bit numbers.
enum { limbs = 32 };

static void multiply_long(uint64_t* product, const uint64_t* a, const uint64_t* b) {
    memset(product, 0, 2 * limbs * sizeof *product);
    for (int i = 0; i < limbs; i++) {
        uint64_t carry = 0;
        for (int j = 0; j < limbs; j++) {
            unsigned __int128 wide = (unsigned __int128)a[i] * b[j] + product[i + j] + carry;
            product[i + j] = (uint64_t)wide;
            carry = (uint64_t)(wide >> 64);
        }
        product[i + limbs] = carry;
    }
}

// Unrolled by hand, so that the carry stays in the flag.
static unsigned char add_long(uint64_t* to, const uint64_t* from) {
    unsigned char carry = 0;
    for (int i = 0; i < limbs; i += 8) {
        for (int j = i; j < i + 8; j += 4) {
            carry = _addcarry_u64(carry, to[j], from[j], (unsigned long long*)&to[j]);
            carry = _addcarry_u64(carry, to[j + 1], from[j + 1], (unsigned long long*)&to[j + 1]);
            carry = _addcarry_u64(carry, to[j + 2], from[j + 2], (unsigned long long*)&to[j + 2]);
            carry = _addcarry_u64(carry, to[j + 3], from[j + 3], (unsigned long long*)&to[j + 3]);
        }
    }
    return carry;
}

static uint64_t unit_bignum(void) {
    uint64_t a[limbs], b[limbs], product[2 * limbs], state = 8, sum = 0;
    for (int i = 0; i < limbs; i++)
        a[i] = next_random(&state), b[i] = next_random(&state);
    for (int round = 0; round < 1500; round++) {
        multiply_long(product, a, b);
        sum += add_long(product, product + limbs);
        for (int times = 0; times < 8; times++)
            sum += add_long(a, product);
        b[round % limbs] ^= a[0];
    }
    for (int i = 0; i < limbs; i++)
        sum = mix(sum, a[i]);
    return sum;
}

static uint64_t gcd(uint64_t a, uint64_t b) {
    while (b != 0) {
        uint64_t rest = a % b;
        a = b, b = rest;
    }
    return a;
}

// Divisions of 32 and 64 bits, signed and unsigned, by numbers that the compiler does not know.
static uint64_t unit_divide(void) {
    uint64_t state = 21, sum = 0;
    for (int i = 0; i < 9000; i++) {
        uint64_t a = next_random(&state), b = next_random(&state) >> (a & 31) | 1;
        sum += gcd(a, b);
        for (int times = 0; times < 8; times++) {
            sum += (uint64_t)((int64_t)a / (int64_t)b) ^ (uint32_t)a % ((uint32_t)b | 1);
            sum ^= (uint64_t)(int64_t)((int32_t)a / ((int32_t)(sum >> 40) | 3));
            a += sum << 7;
        }
    }
    return sum;
}

const struct workload integer_workloads[] = {
    {"sort", 45, prepare_sort, unit_sort, NULL},        {"crc", 250, prepare_crc, unit_crc, NULL},
    {"sha256", 180, prepare_sha256, unit_sha256, NULL}, {"bignum", 150, NULL, unit_bignum, NULL},
    {"divide", 500, NULL, unit_divide, NULL},           {NULL, 0, NULL, NULL, NULL},
};
