// bench NAME.. | all: runs workloads, each between two lines that the host times:
//   BENCH-BEGIN sort
//   BENCH-END sort 0123456789abcdef
#include "bench.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *name;
    uint64_t (*run)(void);
} workloads[] = {
    {"sort", bench_sort},         {"hash", bench_hash},     {"sieve", bench_sieve}, {"crc", bench_crc},
    {"sha256", bench_sha256},     {"bytecode", bench_bytecode}, {"chase", bench_chase}, {"memcpy", bench_memcpy},
    {"nbody", bench_nbody},       {"matrix", bench_matrix}, {"syscalls", bench_syscalls}, {"fork", bench_fork},
};

int main(int argc, char **argv) {
    int ran = 0;
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++) {
        for (int word = 1; word < argc; word++) {
            if (strcmp(argv[word], workloads[i].name) != 0 && strcmp(argv[word], "all") != 0) continue;
            printf("BENCH-BEGIN %s\n", workloads[i].name);
            fflush(stdout);
            uint64_t sum = workloads[i].run();
            printf("BENCH-END %s %016llx\n", workloads[i].name, (unsigned long long)sum);
            fflush(stdout);
            ran++;
        }
    }
    if (ran == 0) fprintf(stderr, "bench: name a workload, or all\n");
    return ran == 0;
}
