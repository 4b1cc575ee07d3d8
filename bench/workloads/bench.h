// The guest side of the benches: small programs whose work is the same on every machine and whose checksum proves it.
// Plain C and static, so that they run in an initramfs that holds nothing else.
#ifndef BENCH_H
#define BENCH_H

#include <stddef.h>
#include <stdint.h>

// A workload does its work in equal units: each starts from the same state and returns the same checksum, so that runs
// of different lengths can be compared. One unit takes some tens of milliseconds in QEMU's translator.
struct workload {
    const char* name;
    // Units in a run at full scale: one to three seconds in QEMU's translator.
    int units;
    // Called once before the clock starts; may be null.
    void (*prepare)(void);
    uint64_t (*unit)(void);
    // What the CPU must have beyond x86-64, in the words of __builtin_cpu_supports; may be null.
    const char* needs;
};

// The groups, each ended by an entry without a name.
extern const struct workload integer_workloads[];
extern const struct workload call_workloads[];
extern const struct workload memory_workloads[];
extern const struct workload string_workloads[];
extern const struct workload fp_workloads[];
extern const struct workload vector_workloads[];
extern const struct workload system_workloads[];
extern const struct workload jit_workloads[];

// Programs of the system, which /bench/programs.sh runs: their names, ended by a null pointer. A run at scale PERMILLE
// has that part of the full run's input.
extern const char* const program_names[];
int programs_present(void);
void prepare_program(const char* name, long permille);
void run_program(const char* name, long permille);
// Of what the last run printed.
uint64_t program_checksum(void);

// Memory for a workload, touched; ends the program when there is none.
void* take(size_t bytes);

// Ends the program with a sentence: a workload that cannot do its work must not look like one that is quick.
void fail(const char* what) __attribute__((noreturn));

// `bench --text BYTES` and `bench --csource LINES`: input for the programs that the benches run, on standard output.
void write_text(size_t bytes);
void write_c_source(size_t lines);

// xorshift64*: the same numbers everywhere.
static inline uint64_t next_random(uint64_t* state) {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 2685821657736338717u;
}

// Folds a value into a checksum (FNV-1a on 64-bit words).
static inline uint64_t mix(uint64_t sum, uint64_t value) { return (sum ^ value) * 1099511628211u; }

static inline uint64_t bits_of(double value) {
    union {
        double real;
        uint64_t bits;
    } both = {value};
    return both.bits;
}

#endif
