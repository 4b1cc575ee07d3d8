// Work that enters the kernel: system calls, files, signals, page faults, processes that talk, come and go.
#define _GNU_SOURCE
#include "bench.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

// The shortest system call. It is made by number, since a C library may know the answer.
static uint64_t unit_getpid(void) {
    uint64_t sum = 0;
    for (int i = 0; i < 40000; i++)
        sum += (uint64_t)(syscall(SYS_getpid) > 0);
    return sum;
}

// In user space by the vDSO where the clock source allows it.
static uint64_t unit_gettimeofday(void) {
    uint64_t forward = 0;
    struct timeval before = {0, 0}, now;
    for (int i = 0; i < 80000; i++) {
        if (gettimeofday(&now, NULL) != 0) fail("gettimeofday fails");
        forward += now.tv_sec > before.tv_sec || (now.tv_sec == before.tv_sec && now.tv_usec >= before.tv_usec);
        before = now;
    }
    return forward;
}

// A file written, read at several places, looked at, renamed, removed.
static uint64_t unit_file(void) {
    static uint8_t block[16384];
    uint64_t sum = 0, state = 47;
    for (int file = 0; file < 30; file++) {
        int number = open("/tmp/bench.file", O_RDWR | O_CREAT | O_TRUNC, 0600);
        if (number < 0) fail("/tmp/bench.file cannot be made");
        for (int i = 0; i < 16; i++) {
            memset(block, file + i, sizeof block);
            if (write(number, block, sizeof block) != sizeof block) fail("a file cannot be written");
        }
        for (int i = 0; i < 100; i++) {
            off_t place = (off_t)(next_random(&state) % (16 * sizeof block - 512));
            if (pread(number, block, 512, place) != 512) fail("a file cannot be read");
            sum = mix(sum, block[i]);
        }
        struct stat about;
        if (fstat(number, &about) != 0 || close(number) != 0) fail("a file cannot be looked at");
        sum = mix(sum, (uint64_t)about.st_size);
        if (rename("/tmp/bench.file", "/tmp/bench.file2") != 0 || unlink("/tmp/bench.file2") != 0)
            fail("a file cannot be moved");
    }
    return sum;
}

static volatile uint64_t handled;

static void count_signal(int number) { handled += (uint64_t)number; }

static void count_fault(int number, siginfo_t* info, void* context) {
    (void)number, (void)context;
    handled += (uintptr_t)info->si_addr & 4095;
    mprotect((void*)((uintptr_t)info->si_addr & ~(uintptr_t)4095), 4096, PROT_READ | PROT_WRITE);
}

// Signals that a process sends to itself, and those that a protected page raises.
static uint64_t unit_signal(void) {
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = count_signal;
    sigaction(SIGUSR1, &action, NULL);
    action.sa_sigaction = count_fault;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGSEGV, &action, NULL);
    handled = 0;
    static uint8_t* page;
    if (page == NULL) page = take(4096);
    pid_t self = getpid();
    for (int i = 0; i < 2500; i++) {
        kill(self, SIGUSR1);
        if (i % 4 == 0) {
            mprotect(page, 4096, PROT_READ);
            ((volatile uint8_t*)page)[i % 4096] = (uint8_t)i;
        }
    }
    return handled;
}

// Pages mapped, touched for the first time, unmapped.
static uint64_t unit_faults(void) {
    enum { pages = 256 };
    uint64_t sum = 0;
    for (int round = 0; round < 16; round++) {
        volatile uint8_t* memory = mmap(NULL, pages * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (memory == MAP_FAILED) fail("mmap fails");
        madvise((void*)memory, pages * 4096, MADV_NOHUGEPAGE);
        for (int page = 0; page < pages; page++)
            memory[page * 4096 + page] = (uint8_t)(round + page);
        for (int page = 0; page < pages; page += 3)
            sum = mix(sum, memory[page * 4096 + page]);
        munmap((void*)memory, pages * 4096);
    }
    return sum;
}

// Two processes on one processor that wait for each other: every message is a switch of address spaces.
static uint64_t unit_pipe(void) {
    enum { messages = 2500 };
    int there[2], back[2];
    uint64_t sum = 0;
    if (pipe(there) != 0 || pipe(back) != 0) fail("no pipe");
    pid_t child = fork();
    if (child < 0) fail("fork fails");
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(0, &set);
    sched_setaffinity(0, sizeof set, &set);
    if (child == 0) {
        uint32_t value = 0;
        for (int i = 0; i < messages; i++) {
            if (read(there[0], &value, sizeof value) != sizeof value) _exit(1);
            value = value * 3 + 1;
            if (write(back[1], &value, sizeof value) != sizeof value) _exit(1);
        }
        _exit(0);
    }
    for (int i = 0; i < messages; i++) {
        uint32_t value = (uint32_t)i, answer = 0;
        if (write(there[1], &value, sizeof value) != sizeof value
            || read(back[0], &answer, sizeof answer) != sizeof answer)
            fail("a pipe broke");
        sum = mix(sum, answer);
    }
    int status = 0;
    if (waitpid(child, &status, 0) != child || status != 0) fail("a child failed");
    for (int end = 0; end < 2; end++)
        close(there[end]), close(back[end]);
    return sum;
}

// A process that writes to some pages of its own and ends.
static uint64_t unit_fork(void) {
    enum { pages = 64, rounds = 60 };
    uint64_t sum = 0;
    static uint8_t* memory;
    if (memory == NULL) memory = take(pages * 4096);
    for (int round = 0; round < rounds; round++) {
        pid_t child = fork();
        if (child == 0) {
            for (int page = 0; page < pages; page++)
                memory[page * 4096] = (uint8_t)round;
            _exit(round);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child) fail("fork fails");
        sum = mix(sum, (uint64_t)WEXITSTATUS(status));
    }
    return sum;
}

// The same with a program: this one, which lists its workloads to nowhere.
static uint64_t unit_exec(void) {
    uint64_t sum = 0;
    for (int round = 0; round < 40; round++) {
        pid_t child = fork();
        if (child == 0) {
            close(1);
            close(2);
            execl("/proc/self/exe", "bench", "--list", (char*)NULL);
            _exit(127);
        }
        int status = 0;
        if (child < 0 || waitpid(child, &status, 0) != child || status != 0) fail("fork or exec fails");
        sum = mix(sum, (uint64_t)round);
    }
    return sum;
}

const struct workload system_workloads[] = {
    {"getpid", 95, NULL, unit_getpid, NULL},
    {"gettimeofday", 270, NULL, unit_gettimeofday, NULL},
    {"file", 60, NULL, unit_file, NULL},
    {"signal", 50, NULL, unit_signal, NULL},
    {"faults", 55, NULL, unit_faults, NULL},
    {"pipe", 10, NULL, unit_pipe, NULL},
    {"fork_exit", 24, NULL, unit_fork, NULL},
    {"fork_exec", 20, NULL, unit_exec, NULL},
    {NULL, 0, NULL, NULL, NULL},
};
