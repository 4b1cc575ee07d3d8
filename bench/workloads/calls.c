// Jumps and calls that are hard to foresee: interpreters of bytecode, recursion, calls through pointers.
#include "bench.h"

// The program and the operations are a line each.
// clang-format off

// A stack machine in threaded code: each operation ends in an indirect jump to the next. Its program has a recursive
// function and a loop over memory.
enum { op_push, op_local, op_add, op_sub, op_less, op_jump_if_zero, op_jump, op_call, op_return, op_load, op_store, op_xor, op_end };

static const int32_t machine_program[] = {
    // 0: fib(16) into cell 0
    op_push, 16, op_call, 33, op_push, 0, op_store,
    // 7: for cell 1 = 3000; cell 1 != 0; cell 1 = cell 1 - 1: cell 0 = (cell 0 + cell 1) ^ 12345
    op_push, 3000, op_push, 1, op_store,
    // 12
    op_push, 1, op_load, op_jump_if_zero, 55,
    // 17
    op_push, 0, op_load, op_push, 1, op_load, op_add, op_push, 12345, op_xor, op_push, 0, op_store,
    // 30
    op_jump, 58, op_end,
    // 33: fib(n), n = local 0: n < 2 ? n : fib(n - 1) + fib(n - 2)
    op_local, op_push, 2, op_less, op_jump_if_zero, 41, op_local, op_return,
    // 41
    op_local, op_push, 1, op_sub, op_call, 33, op_local, op_push, 2, op_sub, op_call, 33, op_add, op_return,
    // 55: the end
    op_push, 0, op_end,
    // 58: the loop's step
    op_push, 1, op_load, op_push, 1, op_sub, op_push, 1, op_store, op_jump, 12,
};

static uint64_t run_machine(const int32_t *program) {
    static const void *const targets[] = {&&push, &&local, &&add, &&sub, &&less, &&jump_if_zero, &&jump, &&call,
                                          &&ret,  &&load,  &&store, &&exclusive, &&end};
    int64_t stack[256], cells[4] = {0}, *top = stack;
    const int32_t *returns[64], **link = returns, *at = program;
    // A function's argument is where the stack's top was when it was called.
    int64_t *frames[64], **frame = frames;
    *frame = stack;
#define NEXT goto *targets[*at++]
    NEXT;
push: *++top = *at++; NEXT;
local: top++, *top = **frame; NEXT;
add: top--, *top += top[1]; NEXT;
sub: top--, *top -= top[1]; NEXT;
less: top--, *top = *top < top[1]; NEXT;
jump_if_zero: at = *top-- == 0 ? program + *at : at + 1; NEXT;
jump: at = program + *at; NEXT;
call: *link++ = at + 1, *++frame = top, at = program + *at; NEXT;
ret: **frame = *top, top = *frame--, at = *--link; NEXT;
load: *top = cells[*top]; NEXT;
store: cells[*top] = top[-1], top -= 2; NEXT;
exclusive: top--, *top ^= top[1]; NEXT;
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

const struct workload call_workloads[] = {
    {"bytecode", 160, NULL, unit_bytecode, NULL},
    {"dispatch", 160, prepare_dispatch, unit_dispatch, NULL},
    {"calls", 400, NULL, unit_calls, NULL},
    {NULL, 0, NULL, NULL, NULL},
};
