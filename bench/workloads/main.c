// bench [--scale PERMILLE] [--copies N] NAME..: runs workloads, each between lines that the host times:
//   BENCH-BEGIN sort 12
//   BENCH-DONE sort 812345 815001  microseconds of CPU time and of the clock, which count on the host itself only
//   BENCH-SUM sort 0123456789abcdef
// or, where the CPU lacks what it needs, BENCH-SKIP avx2fma avx2
// bench --list names them with their groups and units; --text and --csource write input for programs.
#define _GNU_SOURCE
#include "bench.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static const struct group {
    const char* name;
    const struct workload* workloads;
} groups[] = {
    {"integer", integer_workloads}, {"integer", call_workloads}, {"integer", memory_workloads},
    {"integer", string_workloads},  {"fp", fp_workloads},        {"fp", vector_workloads},
    {"system", system_workloads},   {"jit", jit_workloads},
};

enum { group_count = sizeof groups / sizeof *groups };

void fail(const char* what) {
    printf("BENCH-FAIL %s\n", what);
    exit(1);
}

void* take(size_t bytes) {
    void* memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (memory == MAP_FAILED) fail("memory cannot be had");
    return memory;
}

static int supported(const char* needs) {
    __builtin_cpu_init();
    if (needs == NULL) return 1;
    if (strcmp(needs, "avx2") == 0) return __builtin_cpu_supports("avx2");
    if (strcmp(needs, "fma") == 0) return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return 0;
}

struct times {
    long cpu, wall;
};

// In microseconds; CPU time is this process's and its children's.
static struct times times_now(void) {
    struct times now = {0, 0};
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        struct rusage usage;
        getrusage(who, &usage);
        now.cpu += (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000L;
        now.cpu += usage.ru_utime.tv_usec + usage.ru_stime.tv_usec;
    }
    struct timespec clock;
    clock_gettime(CLOCK_MONOTONIC, &clock);
    now.wall = clock.tv_sec * 1000000L + clock.tv_nsec / 1000;
    return now;
}

static struct times begin(const char* name, long units) {
    printf("BENCH-BEGIN %s %ld\n", name, units);
    fflush(stdout);
    return times_now();
}

static void done(const char* name, struct times since) {
    struct times now = times_now();
    printf("BENCH-DONE %s %ld %ld\n", name, now.cpu - since.cpu, now.wall - since.wall);
    fflush(stdout);
}

static void print_sum(const char* name, uint64_t sum) {
    printf("BENCH-SUM %s %016llx\n", name, (unsigned long long)sum);
    fflush(stdout);
}

static uint64_t run_units(const struct workload* workload, long units) {
    uint64_t first = workload->unit();
    for (long unit = 1; unit < units; unit++) {
        if (workload->unit() != first) fail("two units of the same work differ");
    }
    return first;
}

// The same work in several processes at once, the nth on processor n, all prepared before the clock starts.
static uint64_t run_copies(const struct workload* workload, long units, int copies) {
    int ready[2], go[2], results[2];
    if (pipe(ready) != 0 || pipe(go) != 0 || pipe(results) != 0) fail("no pipe");
    fflush(stdout);
    for (int copy = 0; copy < copies; copy++) {
        pid_t child = fork();
        if (child < 0) fail("fork fails");
        if (child > 0) continue;
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(copy, &set);
        char byte = 0;
        if (sched_setaffinity(0, sizeof set, &set) != 0) _exit(1);
        if (workload->prepare != NULL) workload->prepare();
        if (write(ready[1], &byte, 1) != 1 || read(go[0], &byte, 1) != 1) _exit(1);
        uint64_t sum = run_units(workload, units);
        _exit(write(results[1], &sum, sizeof sum) != sizeof sum);
    }
    char byte = 0;
    for (int copy = 0; copy < copies; copy++) {
        if (read(ready[0], &byte, 1) != 1) fail("a copy did not start");
    }
    struct times since = begin(workload->name, units);
    for (int copy = 0; copy < copies; copy++) {
        if (write(go[1], &byte, 1) != 1) fail("a copy cannot be told to go");
    }
    uint64_t sum = 0, one = 0;
    for (int copy = 0; copy < copies; copy++) {
        int status = 0;
        if (wait(&status) < 0 || status != 0) fail("a copy failed; are there enough processors?");
        if (read(results[0], &one, sizeof one) != sizeof one || (copy > 0 && one != sum)) fail("two copies differ");
        sum = one;
    }
    done(workload->name, since);
    return sum;
}

static void run(const struct workload* workload, long permille, int copies) {
    if (!supported(workload->needs)) {
        printf("BENCH-SKIP %s %s\n", workload->name, workload->needs);
        return;
    }
    long units = workload->units * permille / 1000;
    if (units < 1) units = 1;
    uint64_t sum = 0;
    if (copies > 0) {
        sum = run_copies(workload, units, copies);
    } else {
        if (workload->prepare != NULL) workload->prepare();
        struct times since = begin(workload->name, units);
        sum = run_units(workload, units);
        done(workload->name, since);
    }
    print_sum(workload->name, sum);
}

static void run_of_program(const char* name, long permille) {
    if (!programs_present()) {
        printf("BENCH-SKIP %s programs\n", name);
        return;
    }
    prepare_program(name, permille);
    struct times since = begin(name, 1);
    run_program(name, permille);
    done(name, since);
    print_sum(name, program_checksum());
}

static void list(void) {
    for (int group = 0; group < group_count; group++) {
        for (const struct workload* workload = groups[group].workloads; workload->name != NULL; workload++) {
            printf("%s %s %d\n", groups[group].name, workload->name, workload->units);
        }
    }
    for (const char* const* name = program_names; *name != NULL; name++)
        printf("programs %s 1\n", *name);
}

static int run_named(const char* name, long permille, int copies) {
    int ran = 0;
    for (int group = 0; group < group_count; group++) {
        for (const struct workload* workload = groups[group].workloads; workload->name != NULL; workload++) {
            if (strcmp(name, "all") != 0 && strcmp(name, workload->name) != 0) continue;
            run(workload, permille, copies);
            ran++;
        }
    }
    for (const char* const* program = program_names; *program != NULL; program++) {
        if (strcmp(name, *program) != 0) continue;
        run_of_program(name, permille);
        ran++;
    }
    return ran;
}

int main(int argc, char** argv) {
    long permille = 1000;
    int copies = 0, ran = 0;
    for (int word = 1; word < argc; word++) {
        const char* next = word + 1 < argc ? argv[word + 1] : "0";
        if (strcmp(argv[word], "--scale") == 0)
            permille = atol(next), word++;
        else if (strcmp(argv[word], "--copies") == 0)
            copies = atoi(next), word++;
        else if (strcmp(argv[word], "--text") == 0)
            write_text((size_t)atol(next)), word++, ran++;
        else if (strcmp(argv[word], "--csource") == 0)
            write_c_source((size_t)atol(next)), word++, ran++;
        else if (strcmp(argv[word], "--list") == 0)
            list(), ran++;
        else if (run_named(argv[word], permille, copies) > 0)
            ran++;
        else
            printf("BENCH-FAIL there is no workload %s; bench --list names them\n", argv[word]);
    }
    if (ran == 0) fprintf(stderr, "bench: name a workload, or all\n");
    return ran == 0;
}
