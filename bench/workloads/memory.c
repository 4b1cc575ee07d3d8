// Work on memory: dependent loads that miss the caches, and copies.
#include "bench.h"

#include <stdlib.h>
#include <string.h>

// Follows one random cycle through 8 MiB.
uint64_t bench_chase(void) {
    enum { count = 1 << 20, steps = 4000000 };
    size_t *next = malloc(count * sizeof *next);
    uint64_t state = 5, sum = 0;
    for (size_t i = 0; i < count; i++) next[i] = i;
    // Sattolo's shuffle makes a single cycle.
    for (size_t i = count - 1; i > 0; i--) {
        size_t j = next_random(&state) % i, kept = next[i];
        next[i] = next[j];
        next[j] = kept;
    }
    size_t at = 0;
    for (size_t step = 0; step < steps; step++) {
        at = next[at];
        sum += at ^ step;
    }
    free(next);
    return sum;
}

// Copies, moves, fills and compares of many sizes through the C library.
uint64_t bench_memcpy(void) {
    enum { size = 4 << 20, rounds = 60000 };
    uint8_t *from = malloc(size), *to = malloc(size);
    uint64_t state = 11, sum = 0;
    for (size_t i = 0; i < size; i++) from[i] = (uint8_t)next_random(&state);
    memset(to, 1, size);
    for (size_t round = 0; round < rounds; round++) {
        size_t length = next_random(&state) % 8192, source = next_random(&state) % (size - 8192);
        size_t target = next_random(&state) % (size - 8192);
        switch (round % 4) {
        case 0: memcpy(to + target, from + source, length); break;
        case 1: memmove(to + target, to + target + length / 2, length / 2); break;
        case 2: memset(to + target, (int)length, length / 4); break;
        default: sum = mix(sum, (uint64_t)(memcmp(from + source, to + source, length) > 0)); break;
        }
    }
    for (size_t i = 0; i < size; i += 61) sum = mix(sum, to[i]);
    free(from);
    free(to);
    return sum;
}
