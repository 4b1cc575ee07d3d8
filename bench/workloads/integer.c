// Integer work in user space: sorting, checksums, an interpreter, calls, long arithmetic, divisions.
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

// clang-format off: the machine's program and its operations are a line each.
// A stack machine in threaded code: each operation ends in an indirect jump to the next. Its program has a recursive
// function and a loop over memory.
enum {
    op_push,
    op_local,
    op_add,
    op_sub,
    op_less,
    op_jump_if_zero,
    op_jump,
    op_call,
    op_return,
    op_load,
    op_store,
    op_xor,
    op_end
};

static const int32_t machine_program[] = {
    // 0: fib(16) into cell 0
    op_push,
    16,
    op_call,
    33,
    op_push,
    0,
    op_store,
    // 7: for cell 1 = 3000; cell 1 != 0; cell 1 = cell 1 - 1: cell 0 = (cell 0 + cell 1) ^ 12345
    op_push,
    3000,
    op_push,
    1,
    op_store,
    // 12
    op_push,
    1,
    op_load,
    op_jump_if_zero,
    55,
    // 17
    op_push,
    0,
    op_load,
    op_push,
    1,
    op_load,
    op_add,
    op_push,
    12345,
    op_xor,
    op_push,
    0,
    op_store,
    // 30
    op_jump,
    58,
    op_end,
    // 33: fib(n), n = local 0: n < 2 ? n : fib(n - 1) + fib(n - 2)
    op_local,
    op_push,
    2,
    op_less,
    op_jump_if_zero,
    41,
    op_local,
    op_return,
    // 41
    op_local,
    op_push,
    1,
    op_sub,
    op_call,
    33,
    op_local,
    op_push,
    2,
    op_sub,
    op_call,
    33,
    op_add,
    op_return,
    // 55: the end
    op_push,
    0,
    op_end,
    // 58: the loop's step
    op_push,
    1,
    op_load,
    op_push,
    1,
    op_sub,
    op_push,
    1,
    op_store,
    op_jump,
    12,
};

static uint64_t run_machine(const int32_t* program) {
    static const void* const targets[] = {&&push, &&local, &&add,  &&sub,   &&less,      &&jump_if_zero, &&jump,
                                          &&call, &&ret,   &&load, &&store, &&exclusive, &&end};
    int64_t stack[256], cells[4] = {0}, *top = stack;
    const int32_t *returns[64], **link = returns, *at = program;
    // A function's argument is where the stack's top was when it was called.
    int64_t *frames[64], **frame = frames;
    *frame = stack;
#define NEXT goto* targets[*at++]
    NEXT;
push:
    *++top = *at++;
    NEXT;
local:
    top++, *top = **frame;
    NEXT;
add:
    top--, *top += top[1];
    NEXT;
sub:
    top--, *top -= top[1];
    NEXT;
less:
    top--, *top = *top < top[1];
    NEXT;
jump_if_zero:
    at = *top-- == 0 ? program + *at : at + 1;
    NEXT;
jump:
    at = program + *at;
    NEXT;
call:
    *link++ = at + 1, *++frame = top, at = program + *at;
    NEXT;
ret:
    **frame = *top, top = *frame--, at = *--link;
    NEXT;
load:
    *top = cells[*top];
    NEXT;
store:
    cells[*top] = top[-1], top -= 2;
    NEXT;
exclusive:
    top--, *top ^= top[1];
    NEXT;
end:
#undef NEXT
    return (uint64_t)cells[0];
}

// clang-format on
static uint64_t unit_bytecode(void) {
    uint64_t sum = 0;
    for (int round = 0; round < 10; round++)
        sum = mix(sum, run_machine(machine_program));
    return sum;
}

// Bytecode without a pattern: the indirect jump is hard to predict.
enum { code_length = 4096 };
static uint8_t random_code[code_length];

static void prepare_dispatch(void) {
    uint64_t state = 99;
    for (size_t i = 0; i < code_length; i++)
        random_code[i] = (uint8_t)(next_random(&state) >> 32);
}

static uint64_t unit_dispatch(void) {
    enum { steps = 500000 };
    uint64_t registers[4] = {1, 2, 3, 4};
    size_t at = 0;
    for (size_t step = 0; step < steps; step++) {
        uint8_t op = random_code[at];
        uint64_t *to = &registers[op >> 3 & 3], from = registers[op >> 5 & 3];
        at = (at + 1) % code_length;
        switch (op & 7) {
        case 0: *to += from; break;
        case 1: *to ^= from << 3; break;
        case 2: *to *= from | 1; break;
        case 3: *to -= op; break;
        case 4: *to = *to >> 7 | from << 57; break;
        case 5: at = (at + (*to & 15)) % code_length; break;
        case 6: *to ^= random_code[from % code_length]; break;
        default: *to += step; break;
        }
    }
    return mix(mix(mix(registers[0], registers[1]), registers[2]), registers[3]);
}

// Calls: deep recursion with several arguments, and through pointers that change.
__attribute__((noinline)) static uint64_t queens(uint32_t columns, uint32_t left, uint32_t right, uint32_t all) {
    if (columns == all) return 1;
    uint64_t found = 0;
    for (uint32_t open = all & ~(columns | left | right); open != 0; open &= open - 1) {
        uint32_t place = open & -open;
        found += queens(columns | place, (left | place) << 1, (right | place) >> 1, all);
    }
    return found;
}

__attribute__((noinline)) static uint32_t ackermann(uint32_t m, uint32_t n) {
    if (m == 0) return n + 1;
    return ackermann(m - 1, n == 0 ? 1 : ackermann(m, n - 1));
}

typedef uint64_t (*step_function)(uint64_t);
__attribute__((noinline)) static uint64_t step_add(uint64_t x) { return x + 0x9e3779b97f4a7c15u; }
__attribute__((noinline)) static uint64_t step_turn(uint64_t x) { return x << 13 | x >> 51; }
__attribute__((noinline)) static uint64_t step_fold(uint64_t x) { return x ^ x >> 31; }
__attribute__((noinline)) static uint64_t step_scale(uint64_t x) { return x * 0xbf58476d1ce4e5b9u; }

static uint64_t unit_calls(void) {
    static step_function const steps[] = {step_add, step_turn, step_fold, step_scale};
    uint64_t sum = mix(queens(0, 0, 0, (1u << 8) - 1), ackermann(2, 200)), value = 1;
    for (int i = 0; i < 150000; i++)
        value = steps[(value >> 60 ^ (uint64_t)i) & 3](value);
    return mix(sum, value);
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
    {"sort", 45, prepare_sort, unit_sort, NULL},
    {"crc", 250, prepare_crc, unit_crc, NULL},
    {"sha256", 180, prepare_sha256, unit_sha256, NULL},
    {"bytecode", 160, NULL, unit_bytecode, NULL},
    {"dispatch", 160, prepare_dispatch, unit_dispatch, NULL},
    {"calls", 400, NULL, unit_calls, NULL},
    {"bignum", 150, NULL, unit_bignum, NULL},
    {"divide", 500, NULL, unit_divide, NULL},
    {NULL, 0, NULL, NULL, NULL},
};
