// Integer work in user space: sorting, hashing, a sieve, checksums, an interpreter.
#include "bench.h"

#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

// The C library's sort: calls through a pointer, unpredictable branches.
uint64_t bench_sort(void) {
    enum { count = 600000 };
    uint64_t *values = malloc(count * sizeof *values), state = 42, sum = 0;
    for (size_t i = 0; i < count; i++) values[i] = next_random(&state);
    qsort(values, count, sizeof *values, compare);
    for (size_t i = 0; i < count; i += 97) sum = mix(sum, values[i]);
    free(values);
    return sum;
}

// An open-addressing hash table with inserts, hits and misses.
uint64_t bench_hash(void) {
    enum { slots = 1 << 18, rounds = 2000000 };
    uint64_t *keys = calloc(slots, sizeof *keys), *counts = calloc(slots, sizeof *counts), state = 7, sum = 0;
    for (size_t i = 0; i < rounds; i++) {
        uint64_t key = next_random(&state) % 100003 + 1;
        size_t slot = (key * 11400714819323198485u) >> 46;
        while (keys[slot] != 0 && keys[slot] != key) slot = (slot + 1) & (slots - 1);
        keys[slot] = key;
        counts[slot] += i;
    }
    for (size_t i = 0; i < slots; i++) sum = mix(sum, keys[i] ^ counts[i]);
    free(keys);
    free(counts);
    return sum;
}

// Eratosthenes on bytes: stores at a stride.
uint64_t bench_sieve(void) {
    enum { limit = 8000000 };
    uint8_t *composite = calloc(limit, 1);
    uint64_t sum = 0;
    for (size_t i = 2; i * i < limit; i++) {
        if (composite[i]) continue;
        for (size_t j = i * i; j < limit; j += i) composite[j] = 1;
    }
    for (size_t i = 2; i < limit; i++) sum += !composite[i];
    free(composite);
    return sum;
}

// CRC-32 by table, a byte at a time: a chain of dependent loads.
uint64_t bench_crc(void) {
    enum { size = 1 << 20, rounds = 40 };
    uint32_t table[256], crc = ~0u;
    uint8_t *data = malloc(size);
    uint64_t state = 3;
    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++) table[i] = table[i] >> 1 ^ (table[i] & 1 ? 0xedb88320u : 0);
    }
    for (size_t i = 0; i < size; i++) data[i] = (uint8_t)next_random(&state);
    for (int round = 0; round < rounds; round++) {
        for (size_t i = 0; i < size; i++) crc = crc >> 8 ^ table[(crc ^ data[i]) & 0xff];
    }
    free(data);
    return ~crc;
}

static uint32_t rotate(uint32_t x, int n) { return x >> n | x << (32 - n); }

// The first 32 bits of the fractional parts of the cube roots of the first 64 primes (FIPS 180-4, 4.2.2), found here
// rather than listed: the root r of p << 96 is 2^32 times the real one.
static void sha256_constants(uint32_t *k) {
    int found = 0;
    for (uint32_t p = 2; found < 64; p++) {
        int prime = 1;
        for (uint32_t d = 2; d * d <= p; d++) prime &= p % d != 0;
        if (!prime) continue;
        unsigned __int128 low = 0, high = (unsigned __int128)8 << 32;
        while (high - low > 1) {
            unsigned __int128 middle = (low + high) / 2;
            if (middle * middle * middle <= (unsigned __int128)p << 96) low = middle;
            else high = middle;
        }
        k[found++] = (uint32_t)low;
    }
}

// SHA-256 blocks: rotates, adds and logic on registers.
uint64_t bench_sha256(void) {
    enum { blocks = 400000 };
    uint32_t k[64], w[64], h[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    sha256_constants(k);
    for (uint32_t block = 0; block < blocks; block++) {
        for (int i = 0; i < 16; i++) w[i] = block * 2654435761u + (uint32_t)i * 40503u;
        for (int i = 16; i < 64; i++) {
            uint32_t s0 = rotate(w[i - 15], 7) ^ rotate(w[i - 15], 18) ^ w[i - 15] >> 3;
            uint32_t s1 = rotate(w[i - 2], 17) ^ rotate(w[i - 2], 19) ^ w[i - 2] >> 10;
            w[i] = w[i - 16] + s0 + w[i - 7] + s1;
        }
        uint32_t a = h[0], b = h[1], c = h[2], d = h[3], e = h[4], f = h[5], g = h[6], last = h[7];
        for (int i = 0; i < 64; i++) {
            uint32_t t1 = last + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + ((e & f) ^ (~e & g)) + k[i] + w[i];
            uint32_t t2 = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) ^ (a & c) ^ (b & c));
            last = g, g = f, f = e, e = d + t1, d = c, c = b, b = a, a = t1 + t2;
        }
        h[0] += a, h[1] += b, h[2] += c, h[3] += d, h[4] += e, h[5] += f, h[6] += g, h[7] += last;
    }
    uint64_t sum = 0;
    for (int i = 0; i < 8; i++) sum = mix(sum, h[i]);
    return sum;
}

// A bytecode interpreter's loop: an indirect jump per step that is hard to predict.
uint64_t bench_bytecode(void) {
    enum { length = 4096, steps = 25000000 };
    uint8_t code[length];
    uint64_t registers[4] = {1, 2, 3, 4}, state = 99;
    for (size_t i = 0; i < length; i++) code[i] = (uint8_t)(next_random(&state) >> 32);
    size_t at = 0;
    for (size_t step = 0; step < steps; step++) {
        uint8_t op = code[at];
        uint64_t *to = &registers[op >> 3 & 3], from = registers[op >> 5 & 3];
        at = (at + 1) % length;
        switch (op & 7) {
        case 0: *to += from; break;
        case 1: *to ^= from << 3; break;
        case 2: *to *= from | 1; break;
        case 3: *to -= op; break;
        case 4: *to = *to >> 7 | from << 57; break;
        case 5: at = (at + (*to & 15)) % length; break;
        case 6: *to ^= code[from % length]; break;
        default: *to += step; break;
        }
    }
    return mix(mix(mix(registers[0], registers[1]), registers[2]), registers[3]);
}
