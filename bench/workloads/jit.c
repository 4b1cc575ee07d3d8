// Programs that write code: a compiler of expressions that runs what it made and makes it anew, and code that is
// patched between runs and while it runs.
#include "bench.h"

#include <string.h>
#include <sys/mman.h>

// An expression in postfix: what a parser would leave.
enum kind { variable_x, variable_y, constant, sum_of, difference, product, exclusive, shifted, larger };
struct term {
    uint8_t kind;
    int32_t value;
};

enum { terms_most = 64, arena_size = 1 << 16, code_most = 1024 };
static uint8_t* arena;
static size_t arena_used;

static void prepare_arena(int protection) {
    arena = mmap(NULL, arena_size, protection, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (arena == MAP_FAILED) fail("no memory for code");
}

static void prepare_writable(void) { prepare_arena(PROT_READ | PROT_WRITE | PROT_EXEC); }
static void prepare_protected(void) { prepare_arena(PROT_READ | PROT_EXEC); }

// A random expression; returns how many terms it has.
static int make_expression(struct term* terms, uint64_t* state) {
    int count = 0, depth = 0, wanted = 16 + (int)(next_random(state) % 32);
    while (count < wanted || depth > 1) {
        uint64_t random = next_random(state) >> 16;
        if (depth < 2 || (count < wanted && depth < 6 && random % 2 == 0)) {
            terms[count++] = (struct term){(uint8_t)(random / 2 % 3), (int32_t)(random >> 8)};
            depth++;
        } else {
            terms[count++] = (struct term){(uint8_t)(sum_of + random / 2 % 6), 0};
            depth--;
        }
    }
    return count;
}

static uint8_t* emit(uint8_t* at, const char* bytes, size_t length) {
    memcpy(at, bytes, length);
    return at + length;
}
#define EMIT(at, bytes) emit(at, bytes, sizeof bytes - 1)

static uint8_t* emit_immediate(uint8_t* at, int32_t value) {
    memcpy(at, &value, sizeof value);
    return at + sizeof value;
}

// An instruction a line.
// clang-format off

// The code: a stack machine with its top in RAX and the rest pushed; x in RDI, y in RSI, and a loop over ECX with x
// growing, as a compiled inner loop has.
static uint64_t (*compile(uint8_t *at, const struct term *terms, int count))(uint64_t, uint64_t, uint64_t) {
    uint8_t *start = at;
    at = EMIT(at, "\x48\x89\xd1"       // mov rcx, rdx
                  "\x45\x31\xc0");     // xor r8d, r8d
    uint8_t *loop = at;
    for (int i = 0; i < count; i++) {
        if (terms[i].kind <= constant && i > 0) at = EMIT(at, "\x50");  // push rax
        if (terms[i].kind > constant) at = EMIT(at, "\x48\x89\xc2\x58");  // mov rdx, rax; pop rax
        switch (terms[i].kind) {
        case variable_x: at = EMIT(at, "\x48\x89\xf8"); break;  // mov rax, rdi
        case variable_y: at = EMIT(at, "\x48\x89\xf0"); break;  // mov rax, rsi
        case constant: at = emit_immediate(EMIT(at, "\x48\xc7\xc0"), terms[i].value); break;  // mov rax, imm
        case sum_of: at = EMIT(at, "\x48\x01\xd0"); break;
        case difference: at = EMIT(at, "\x48\x29\xd0"); break;
        case product: at = EMIT(at, "\x48\x0f\xaf\xc2"); break;
        case exclusive: at = EMIT(at, "\x48\x31\xd0"); break;
        case shifted: at = EMIT(at, "\x48\xc1\xe0\x03\x48\x01\xd0"); break;  // shl rax, 3; add rax, rdx
        default: at = EMIT(at, "\x48\x39\xd0\x48\x0f\x4c\xc2"); break;  // cmp rax, rdx; cmovl rax, rdx
        }
    }
    at = EMIT(at, "\x49\x01\xc0"    // add r8, rax
                  "\x48\xff\xc7"    // inc rdi
                  "\xff\xc9"        // dec ecx
                  "\x0f\x85");      // jnz loop
    at = emit_immediate(at, (int32_t)(loop - (at + 4)));
    at = EMIT(at, "\x4c\x89\xc0\xc3");  // mov rax, r8; ret
    arena_used += (size_t)(at - start + 15) & ~(size_t)15;
    uint64_t (*function)(uint64_t, uint64_t, uint64_t);
    memcpy(&function, &start, sizeof function);
    return function;
}

// clang-format on

static uint64_t evaluate(const struct term* terms, int count, uint64_t x, uint64_t y) {
    uint64_t stack[terms_most], *top = stack;
    for (int i = 0; i < count; i++) {
        if (terms[i].kind > constant) top--;
        switch (terms[i].kind) {
        case variable_x: *top++ = x; break;
        case variable_y: *top++ = y; break;
        case constant: *top++ = (uint64_t)(int64_t)terms[i].value; break;
        case sum_of: top[-1] += *top; break;
        case difference: top[-1] -= *top; break;
        case product: top[-1] *= *top; break;
        case exclusive: top[-1] ^= *top; break;
        case shifted: top[-1] = (top[-1] << 3) + *top; break;
        default: top[-1] = (int64_t)top[-1] < (int64_t)*top ? *top : top[-1]; break;
        }
    }
    return stack[0];
}

// Makes functions one after another, round and round through the arena, and runs each.
static uint64_t compile_and_run(int protect) {
    enum { functions = 250, repeats = 60 };
    uint64_t state = 53, sum = 0;
    arena_used = 0;
    for (int i = 0; i < functions; i++) {
        struct term terms[terms_most];
        int count = make_expression(terms, &state);
        if (arena_used + code_most > arena_size) arena_used = 0;
        if (protect && mprotect(arena, arena_size, PROT_READ | PROT_WRITE) != 0) fail("mprotect fails");
        uint64_t (*function)(uint64_t, uint64_t, uint64_t) = compile(arena + arena_used, terms, count);
        if (protect && mprotect(arena, arena_size, PROT_READ | PROT_EXEC) != 0) fail("mprotect fails");
        if (function(5, (uint64_t)i, 1) != evaluate(terms, count, 5, (uint64_t)i))
            fail("compiled code computes something else");
        sum = mix(sum, function((uint64_t)i, 3, repeats));
        sum = mix(sum, function(sum, (uint64_t)i, repeats));
    }
    return sum;
}

static uint64_t unit_writable(void) { return compile_and_run(0); }
static uint64_t unit_protected(void) { return compile_and_run(1); }

// clang-format off

// A function whose constant is patched before each call, as inline caches and trampolines are.
static void prepare_patch_call(void) {
    prepare_writable();
    emit(arena, "\x48\x8d\x04\x7f"                      // lea rax, [rdi + rdi * 2]
                "\x48\x05\x00\x00\x00\x00"              // add rax, imm32 (at 6)
                "\x48\xc1\xc0\x07\xc3", 15);            // rol rax, 7; ret
}

// clang-format on

static uint64_t unit_patch_call(void) {
    uint64_t (*function)(uint64_t), value = 1;
    memcpy(&function, &arena, sizeof function);
    for (int32_t i = 0; i < 2500; i++) {
        memcpy(arena + 6, &i, sizeof i);
        __asm__ volatile("" ::: "memory");
        value = function(value);
    }
    return value;
}

// clang-format off

// A loop that patches its own next instruction, every time round.
static void prepare_patch_self(void) {
    prepare_writable();
    uint8_t *at = EMIT(arena, "\x31\xc0"                  // xor eax, eax
                              "\x89\xf9"                  // mov ecx, edi
                              "\x89\x0d\x04\x00\x00\x00"  // loop (4): mov [rip + 4], ecx: the immediate at 14
                              "\x01\xc8"                  // add eax, ecx (at 10)
                              "\x69\xc0\x01\x00\x00\x00"  // imul eax, eax, imm32 (its immediate at 14)
                              "\x83\xc0\x07"              // add eax, 7
                              "\xff\xc9"                  // dec ecx
                              "\x75\xeb"                  // jnz loop
                              "\xc3");
    if (at - arena != 26) fail("the patched loop has another length than its jump expects");
}

// clang-format on

static uint64_t unit_patch_self(void) {
    uint64_t (*function)(uint64_t);
    memcpy(&function, &arena, sizeof function);
    return (uint32_t)function(2500);
}

const struct workload jit_workloads[] = {
    {"jit_rwx", 30, prepare_writable, unit_writable, NULL},
    {"jit_mprotect", 30, prepare_protected, unit_protected, NULL},
    {"patch_call", 90, prepare_patch_call, unit_patch_call, NULL},
    {"patch_self", 50, prepare_patch_self, unit_patch_self, NULL},
    {NULL, 0, NULL, NULL, NULL},
};
