// The guest side of the benches: small programs whose work is the same on every machine and whose checksum proves it.
// Plain C and static, so that they run in an initramfs that holds nothing else.
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

// One workload: does its fixed work, returns a checksum of what it computed.
uint64_t bench_sort(void);
uint64_t bench_hash(void);
uint64_t bench_sieve(void);
uint64_t bench_crc(void);
uint64_t bench_sha256(void);
uint64_t bench_bytecode(void);
uint64_t bench_chase(void);
uint64_t bench_memcpy(void);
uint64_t bench_nbody(void);
uint64_t bench_matrix(void);
uint64_t bench_syscalls(void);
uint64_t bench_fork(void);

// xorshift64*: the same numbers everywhere.
static inline uint64_t next_random(uint64_t* state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

// Folds a value into a checksum (FNV-1a on 64-bit words).
static inline uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 1099511628211u; }

#endif
